/*
 * Finding the folder, telling its format, reading its revisions.
 */
#include "harness/source/sql_format.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "harness/base/file.h"

/* What lies in a folder: .sql files with their text, and folders. */
struct entry {
    char *name;
    char *path;
    bool folder;
    char *text; /* NULL: a folder, or err says why it cannot be read */
    struct err err;
    bool shows[8]; /* per format: the entry is one of its migrations */
};

struct listing {
    struct entry *v;
    size_t n, cap;
};

static void listing_release(struct listing *l)
{
    for (size_t i = 0; i < l->n; i++) {
        free(l->v[i].name);
        free(l->v[i].path);
        free(l->v[i].text);
        err_release(&l->v[i].err);
    }
    free(l->v);
    memset(l, 0, sizeof(*l));
}

static int compare_entries(const void *a, const void *b)
{
    return strcmp(((const struct entry *)a)->name, ((const struct entry *)b)->name);
}

static size_t format_count(void)
{
    size_t n = 0;
    while (sql_formats[n].name)
        n++;
    return n;
}

static const struct sql_format *format_find(const char *name)
{
    for (const struct sql_format *f = sql_formats; f->name; f++)
        if (strcmp(f->name, name) == 0)
            return f;
    return NULL;
}

static bool has_file(const char *dir, const char *name)
{
    _cleanup_free_ char *path = path_join(dir, name);
    return file_exists(path);
}

/* Marks the formats of which e is a migration. A marker in the text says more than a name. */
static void classify(struct entry *e)
{
    bool marked = false;
    for (size_t pass = 0; pass < 2; pass++) {
        for (size_t i = 0; sql_formats[i].name; i++) {
            const struct sql_format *f = &sql_formats[i];
            _cleanup_(file_name_release) struct file_name name = {0};
            if (e->folder != (f->layout == LAYOUT_FOLDER) ||
                (pass == 0) != (f->is_marker != NULL) || !f->parse_name(e->name, &name))
                continue;
            if (f->layout == LAYOUT_FOLDER)
                e->shows[i] = has_file(e->path, "up.sql") || has_file(e->path, "down.sql");
            else if (f->is_marker)
                e->shows[i] = e->text && any_line(e->text, f->is_marker);
            else
                e->shows[i] = !marked;
            marked |= e->shows[i];
        }
    }
}

static int list_folder(const char *dir, struct listing *ret, struct err *err)
{
    DIR *d = opendir(dir);
    if (!d) {
        err_set(err, ERR_CONFIG, "cannot read the folder %s: %s", dir, strerror(errno));
        return err_at(err, dir, 0, 0);
    }
    struct dirent *de;
    while ((de = readdir(d))) {
        if (de->d_name[0] == '.')
            continue;
        _cleanup_free_ char *path = path_join(dir, de->d_name);
        struct stat st;
        bool folder = stat(path, &st) == 0 && S_ISDIR(st.st_mode);
        if (!folder && !str_ends(de->d_name, ".sql") && !str_ends(de->d_name, ".go"))
            continue;
        ret->v = xgrow(ret->v, ret->n, &ret->cap, sizeof(*ret->v));
        struct entry *e = &ret->v[ret->n++];
        *e = (struct entry){.name = xstrdup(de->d_name), .path = TAKE_PTR(path), .folder = folder};
        if (!folder && str_ends(e->name, ".sql"))
            file_read_text(e->path, &e->text, NULL, &e->err);
        classify(e);
    }
    closedir(d);
    if (ret->n)
        qsort(ret->v, ret->n, sizeof(*ret->v), compare_entries);
    return 0;
}

static const struct entry *first_of(const struct listing *l, size_t format)
{
    for (size_t i = 0; i < l->n; i++)
        if (l->v[i].shows[format])
            return &l->v[i];
    return NULL;
}

static bool shows_any(const struct listing *l)
{
    for (size_t f = 0; f < format_count(); f++)
        if (first_of(l, f))
            return true;
    return false;
}

/* ---- which folder ---- */

/* Where projects keep their migrations, below the project's folder. */
static const char *const usual_folders[] = {
    "", "migrations", "db/migrations", "database/migrations", "sql/migrations", NULL};
static const char *const engine_folders[] = {"postgres", "postgresql", "pg",      "psql", "sqlite",
                                             "sqlite3",  "mysql",      "mariadb", NULL};

static bool holds_migrations(const char *dir)
{
    struct listing l = {0};
    _cleanup_err_ struct err ignored = {0};
    bool found = dir_exists(dir) && list_folder(dir, &l, &ignored) == 0 && shows_any(&l);
    listing_release(&l);
    return found;
}

static void look_below(const char *dir, struct strv *found)
{
    for (size_t i = 0; usual_folders[i]; i++) {
        _cleanup_free_ char *usual =
            *usual_folders[i] ? path_join(dir, usual_folders[i]) : xstrdup(dir);
        if (*usual_folders[i] && holds_migrations(usual)) {
            strv_add(found, usual);
            continue;
        }
        for (size_t k = 0; engine_folders[k]; k++) {
            _cleanup_free_ char *path = path_join(usual, engine_folders[k]);
            if (holds_migrations(path))
                strv_add(found, path);
        }
    }
}

static int nothing_found(const char *dir, struct err *err)
{
    _cleanup_str_ struct str looked = {0};
    for (size_t i = 0; sql_formats[i].name; i++)
        str_addf(&looked, "%s%s", i ? ", " : "", sql_formats[i].looks_like);
    err_set(err, ERR_CONFIG, "no migrations found in %s", dir);
    err_hint(err, "looked for alembic.ini, and there, in migrations and in db/migrations for %s",
             str_get(&looked));
    return err_at(err, dir, 0, 0);
}

/* The folder holds .sql files that look like migrations, and none has a marker. */
static int nothing_marked(const struct listing *l, struct err *err)
{
    for (size_t i = 0; i < l->n; i++)
        if (l->v[i].err.code && l->v[i].name[strcspn(l->v[i].name, "0123456789")]) {
            err_copy(err, &l->v[i].err);
            return -1;
        }
    for (size_t i = 0; i < l->n; i++) {
        const struct entry *e = &l->v[i];
        if (!e->text || !e->name[strcspn(e->name, "0123456789")])
            continue;
        err_set(err, ERR_SOURCE, "%s is of no format that belay knows: it has no markers", e->path);
        _cleanup_str_ struct str markers = {0};
        for (size_t f = 0; sql_formats[f].name; f++)
            if (sql_formats[f].markers)
                str_addf(&markers, "%s%s has %s", markers.len ? "; " : "", sql_formats[f].name,
                         sql_formats[f].markers);
        err_hint(err, "%s; golang-migrate has NAME.up.sql and NAME.down.sql", str_get(&markers));
        return err_at(err, e->path, 1, 0);
    }
    return 0;
}

/* dir itself, or the one usual folder below it that holds migrations. */
static int choose_folder(const char *dir, const struct sql_format *format, char **ret,
                         struct listing *ret_listing, struct err *err)
{
    struct listing here = {0};
    _cleanup_strv_ struct strv found = {0};
    int r = list_folder(dir, &here, err);
    if (r == 0 &&
        (format ? first_of(&here, (size_t)(format - sql_formats)) != NULL : shows_any(&here))) {
        *ret = xstrdup(dir);
        *ret_listing = here;
        return 0;
    }
    if (r == 0)
        look_below(dir, &found);
    if (r == 0 && found.n == 0) {
        r = nothing_marked(&here, err);
        if (r == 0)
            r = nothing_found(dir, err);
    }
    listing_release(&here);
    if (r < 0)
        return -1;
    if (found.n > 1) {
        _cleanup_free_ char *names = strv_join(&found, ", ");
        err_set(err, ERR_CONFIG, "%s holds several folders of migrations: %s", dir, names);
        err_hint(err, "name one of them");
        return err_at(err, dir, 0, 0);
    }
    if (list_folder(found.v[0], ret_listing, err) < 0)
        return -1;
    *ret = xstrdup(found.v[0]);
    return 0;
}

/* ---- which format ---- */

static int choose_format(const char *dir, const struct listing *l, const struct sql_format **ret,
                         struct err *err)
{
    const struct sql_format *found = NULL;
    const struct entry *example = NULL;
    for (size_t i = 0; i < format_count(); i++) {
        const struct entry *e = first_of(l, i);
        if (!e)
            continue;
        if (found) {
            err_set(err, ERR_CONFIG, "%s holds migrations of two formats: %s is %s and %s is %s",
                    dir, example->name, found->name, e->name, sql_formats[i].name);
            err_hint(err, "say which one counts with --format %s or --format %s", found->name,
                     sql_formats[i].name);
            return err_at(err, dir, 0, 0);
        }
        found = &sql_formats[i];
        example = e;
    }
    *ret = found;
    return 0;
}

/* ---- reading ---- */

static int written_twice(const char *version, const char *first, const char *second,
                         struct err *err)
{
    err_set(err, ERR_SOURCE, "version %s is written twice: in %s and in %s", version, first,
            second);
    err_hint(err, "give one of the two another number");
    return err_at(err, second, 0, 0);
}

static struct script *script_new(struct sql_source *s, const struct file_name *name, const char *id,
                                 const char *file, struct err *err)
{
    _cleanup_free_ char *version = s->format->numbers ? plain_number(id) : xstrdup(id);
    /* sorted by number: 7 and 007 are neighbours */
    if (s->format->numbers && s->n && strcmp(s->scripts[s->n - 1].version, version) == 0) {
        written_twice(version, s->scripts[s->n - 1].revision->file, file, err);
        return NULL;
    }
    struct revision *r = graph_add(s->base.graph, id, file, err);
    if (!r)
        return NULL;
    free(r->title);
    r->title = xstrdup(name->title);
    s->scripts = xgrow(s->scripts, s->n, &s->cap, sizeof(*s->scripts));
    struct script *script = &s->scripts[s->n++];
    *script = (struct script){.revision = r};
    script->version = TAKE_PTR(version);
    return script;
}

/* Files in a belay folder that are no revision and may lie there all the same. */
static bool is_stray(const char *name)
{
    static const char *const names[] = {"schema.sql", "structure.sql", "baseline.sql", "seed.sql",
                                        "seeds.sql"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (strcmp(name, names[i]) == 0)
            return true;
    return false;
}

static int read_file(struct sql_source *s, const struct entry *e, const struct file_name *name,
                     struct err *err)
{
    const struct sql_format *f = s->format;
    _cleanup_free_ char *id = f->parse == parse_belay ? belay_revision_id(e->text) : NULL;
    if (!any_line(e->text, f->is_marker)) {
        if (!f->stray && is_stray(e->name))
            return 0;
        err_set(err, ERR_SOURCE, "%s: there is no marker of %s in the file", e->path, f->name);
        err_hint(err, "a migration has %s; move other files out of the folder", f->markers);
        return err_at(err, e->path, 1, 0);
    }
    struct script *script = script_new(s, name, id ? id : name->version, e->path, err);
    if (!script)
        return -1;
    if (id)
        *script->revision->title = '\0'; /* the header has a better one */
    if (f->parse(script, e->path, e->text, err) < 0)
        return -1;
    if (!*script->revision->title) {
        free(script->revision->title);
        script->revision->title = xstrdup(name->title);
    }
    return 0;
}

/* name.up.sql or name.down.sql: the other one may have come already. */
static int read_pair(struct sql_source *s, const struct entry *e, const struct file_name *name,
                     struct err *err)
{
    _cleanup_free_ char *version = plain_number(name->version);
    /* sorted by version: the other one came just before */
    struct script *script = s->n ? &s->scripts[s->n - 1] : NULL;
    if (script && strcmp(script->version, version) != 0)
        script = NULL;
    if (!script && !(script = script_new(s, name, name->version, e->path, err)))
        return -1;
    struct section *section = name->up ? &script->up : &script->down;
    if (section->present)
        return written_twice(version, section->file, e->path, err);
    section_whole(section, e->path, e->text);
    return 0;
}

/* diesel's rule: the key decides, a file without it says false, a file that is no TOML says
 * nothing. */
static bool runs_in_transaction(const char *metadata)
{
    static const char key[] = "run_in_transaction";
    for (const char *p = metadata; p; p = strchr(p, '\n')) {
        p += strspn(p, " \t\r\n");
        if (strncmp(p, key, strlen(key)) != 0)
            continue;
        p += strlen(key);
        p += strspn(p, " \t");
        if (*p != '=')
            continue;
        p++;
        p += strspn(p, " \t");
        return !str_starts(p, "false");
    }
    return false;
}

static int read_folder_file(const char *folder, const char *name, struct section *section,
                            struct err *err)
{
    _cleanup_free_ char *path = path_join(folder, name), *text = NULL;
    if (!file_exists(path))
        return 0;
    if (file_read_text(path, &text, NULL, err) < 0)
        return -1;
    section_whole(section, path, text);
    return 0;
}

static int read_folder(struct sql_source *s, const struct entry *e, const struct file_name *name,
                       struct err *err)
{
    _cleanup_free_ char *path = path_join(e->path, "metadata.toml"), *metadata = NULL;
    _cleanup_free_ char *up = path_join(e->path, "up.sql");
    struct script *script = script_new(s, name, name->version, up, err);
    if (!script || read_folder_file(e->path, "up.sql", &script->up, err) < 0 ||
        read_folder_file(e->path, "down.sql", &script->down, err) < 0)
        return -1;
    if (file_exists(path) && file_read_text(path, &metadata, NULL, err) < 0)
        return -1;
    if (metadata && !runs_in_transaction(metadata))
        script->up.no_transaction = script->down.no_transaction = true;
    return 0;
}

/* A numbered file of a language that belay does not run, between those that it does. */
static void note_skipped(struct sql_source *s, const struct entry *e)
{
    if (e->name[0] >= '0' && e->name[0] <= '9' && !str_ends(e->name, "_test.go"))
        strv_add(&s->base.skipped, e->path);
}

struct candidate {
    const struct entry *entry;
    struct file_name name;
    bool by_file_name, numbers;
};

static int compare_numbers(const char *a, const char *b)
{
    a += strspn(a, "0");
    b += strspn(b, "0");
    size_t n = strlen(a), m = strlen(b);
    return n != m ? (n < m ? -1 : 1) : strcmp(a, b);
}

/* The tool's own order. Ties (the two files of a pair, duplicates) by name. */
static int compare_candidates(const void *x, const void *y)
{
    const struct candidate *a = x, *b = y;
    int r = 0;
    if (a->numbers)
        r = compare_numbers(a->name.version, b->name.version);
    else if (!a->by_file_name)
        r = strcmp(a->name.version, b->name.version);
    if (r == 0 && a->name.up != b->name.up)
        r = a->name.up ? -1 : 1;
    return r ? r : strcmp(a->entry->name, b->entry->name);
}

static int read_entry(struct sql_source *s, const struct candidate *c, struct err *err)
{
    const struct entry *e = c->entry;
    if (s->format->numbers && strlen(c->name.version) - strspn(c->name.version, "0") > 18) {
        err_set(err, ERR_SOURCE, "%s: the version %s is too large a number", e->path,
                c->name.version);
        err_hint(err, "the version table holds 64 bits");
        return err_at(err, e->path, 0, 0);
    }
    if (!e->folder && !e->text) {
        err_copy(err, &e->err);
        return -1;
    }
    switch (s->format->layout) {
    case LAYOUT_FILE:
        return read_file(s, e, &c->name, err);
    case LAYOUT_PAIR:
        return read_pair(s, e, &c->name, err);
    case LAYOUT_FOLDER:
        return read_folder(s, e, &c->name, err);
    }
    return 0;
}

static int read_all(struct sql_source *s, const struct listing *l, struct err *err)
{
    size_t index = (size_t)(s->format - sql_formats), n = 0;
    struct candidate *all = xcalloc(l->n, sizeof(*all));
    for (size_t i = 0; i < l->n; i++) {
        const struct entry *e = &l->v[i];
        bool folders = s->format->layout == LAYOUT_FOLDER;
        if (str_ends(e->name, ".go") && !e->folder) {
            note_skipped(s, e);
            continue;
        }
        if (e->folder != folders || (folders && !e->shows[index]))
            continue;
        if (s->format->parse_name(e->name, &all[n].name)) {
            all[n].entry = e;
            all[n].by_file_name = s->format->by_file_name;
            all[n].numbers = s->format->numbers;
            n++;
        }
    }
    if (n)
        qsort(all, n, sizeof(*all), compare_candidates);
    int r = 0;
    for (size_t i = 0; i < n && r == 0; i++)
        r = read_entry(s, &all[i], err);
    for (size_t i = 0; i < n; i++)
        file_name_release(&all[i].name);
    free(all);
    return r;
}

/* ---- putting it together ---- */

static int check_script(const struct script *script, const char *format, struct err *err)
{
    if (script->up.present)
        return 0;
    err_set(err, ERR_SOURCE, "%s: revision %s has a downgrade and no upgrade", script->down.file,
            script->revision->id);
    err_hint(err, "write the upgrade; %s needs one, even an empty one", format);
    return err_at(err, script->down.file, 0, 0);
}

/* Places, and in formats without parents of their own the line from first to last. */
static int finish(struct sql_source *s, struct err *err)
{
    struct engine_signs signs = {0};
    for (size_t i = 0; i < s->n; i++) {
        struct script *script = &s->scripts[i];
        struct revision *r = script->revision;
        if (check_script(script, s->format->name, err) < 0)
            return -1;
        r->line = script->up.line;
        if (script->down.present) {
            r->down_file = xstrdup(script->down.file);
            r->down_line = script->down.line;
        }
        if (s->format->parse != parse_belay && i)
            strv_add(&r->parents, s->scripts[i - 1].revision->id);
        for (size_t k = 0; k < script->up.n; k++)
            engine_signs_read(&signs, script->up.chunks[k].sql);
    }
    s->base.engine_hint = engine_signs_judge(&signs, s->base.dir);
    if (graph_finish(s->base.graph, err) < 0)
        return -1;
    s->by_position = xcalloc(s->n, sizeof(struct script *));
    for (size_t i = 0; i < s->n; i++)
        s->by_position[s->scripts[i].revision->position] = &s->scripts[i];
    s->base.version_tables[0] = s->format->table.name;
    return 0;
}

int sql_source_open(const char *dir, const char *format, struct source **ret, struct err *err)
{
    struct sql_source *s = xcalloc(1, sizeof(*s));
    _cleanup_source_ struct source *base = &s->base;
    struct listing l = {0};
    s->base.ops = &sql_source_ops;
    s->base.graph = graph_new();
    s->format = format ? format_find(format) : NULL;
    if (choose_folder(dir, s->format, &s->base.dir, &l, err) < 0)
        return -1;
    int r = s->format ? 0 : choose_format(s->base.dir, &l, &s->format, err);
    if (r == 0)
        r = read_all(s, &l, err);
    if (r == 0 && s->n == 0)
        r = nothing_found(s->base.dir, err);
    listing_release(&l);
    if (r < 0 || finish(s, err) < 0)
        return -1;
    s->base.format = s->format->name;
    *ret = TAKE_PTR(base);
    return 0;
}

void sql_source_free(struct source *base)
{
    struct sql_source *s = (struct sql_source *)base;
    for (size_t i = 0; i < s->n; i++) {
        section_release(&s->scripts[i].up);
        section_release(&s->scripts[i].down);
        free(s->scripts[i].version);
    }
    free(s->scripts);
    free(s->by_position);
    free(s);
}
