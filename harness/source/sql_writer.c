/*
 * New revisions of an SQL folder: the file, or the pair of files, as the format's own tool names
 * them.
 */
#include "harness/source/sql_format.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "harness/base/file.h"

/* ---- names ---- */

/* "Add users!" -> "add_users"; letters beyond ASCII stay. The caller owns it. */
static char *slug(const char *message)
{
    struct str s = {0};
    for (const char *p = message; *p; p++) {
        unsigned char c = (unsigned char)*p;
        if (isalnum(c) || c >= 0x80)
            str_addc(&s, (char)tolower(c));
        else if (s.len && s.p[s.len - 1] != '_')
            str_addc(&s, '_');
        if (s.len >= 60 && c < 0x80)
            break;
    }
    while (s.len && s.p[s.len - 1] == '_')
        s.p[--s.len] = '\0';
    return str_take(&s);
}

static bool all_digits(const char *s)
{
    return *s && !s[strspn(s, "0123456789")];
}

/*
 * The next version after the highest one, of the kind that the folder has: the time where those
 * before it are as long as one, else the next number in as many digits. Two within a second, or a
 * clock that is behind, give the number after the last.
 */
static int next_number(const struct sql_source *s, char **ret)
{
    uint64_t highest = 0;
    size_t width = 0;
    for (size_t i = 0; i < s->n; i++) {
        const char *id = s->scripts[i].revision->id;
        id += strcspn(id, "0123456789");
        uint64_t number = strtoull(id, NULL, 10);
        if (number >= highest) {
            highest = number;
            width = strlen(id);
        }
    }
    char text[32];
    time_t now = time(NULL);
    struct tm tm;
    if (width == 14)
        strftime(text, sizeof(text), "%Y%m%d%H%M%S", gmtime_r(&now, &tm));
    else if (width == 10 && highest > UINT64_C(1000000000))
        snprintf(text, sizeof(text), "%" PRIu64, (uint64_t)now);
    else
        text[0] = '\0';
    if (!*text || strtoull(text, NULL, 10) <= highest)
        snprintf(text, sizeof(text), "%0*" PRIu64, (int)width, highest + 1);
    *ret = xstrdup(text);
    return 0;
}

/* 2024-01-01-120000; a second later than now where one was made in this second. */
static int next_diesel(const struct sql_source *s, char **ret, struct err *err)
{
    const char *last = s->n ? s->scripts[s->n - 1].version : "";
    time_t now = time(NULL);
    for (int ahead = 0; ahead < 3600; ahead++, now++) {
        char text[32], version[32];
        struct tm tm;
        gmtime_r(&now, &tm);
        strftime(text, sizeof(text), "%Y-%m-%d-%H%M%S", &tm);
        strftime(version, sizeof(version), "%Y%m%d%H%M%S", &tm);
        if (strcmp(version, last) > 0) {
            *ret = xstrdup(text);
            return 0;
        }
    }
    err_set(err, ERR_USAGE, "now is before the last revision, %s",
            graph_at(s->base.graph, s->n - 1)->id);
    return err_hint(err, "is the clock right? --rev-id sets the version");
}

/* diesel's version of a folder's name. The caller owns it. */
static char *without_dashes(const char *name)
{
    struct str s = {0};
    for (; *name; name++)
        if (*name != '-')
            str_addc(&s, *name);
    return str_take(&s);
}

/* As Alembic makes them, unless all ids of the project are numbers. */
static int next_belay(const struct sql_source *s, char **ret, struct err *err)
{
    bool numbers = s->n > 0;
    for (size_t i = 0; i < s->n && numbers; i++)
        numbers = all_digits(s->scripts[i].revision->id) && strlen(s->scripts[i].revision->id) < 12;
    if (numbers)
        return next_number(s, ret);
    unsigned char random[6];
    if (getrandom(random, sizeof(random), 0) != sizeof(random))
        return err_errno(err, "cannot make an id");
    struct str id = {0};
    for (size_t i = 0; i < sizeof(random); i++)
        str_addf(&id, "%02x", random[i]);
    *ret = str_take(&id);
    return 0;
}

/* ---- what the format can say ---- */

static int refuse(struct err *err, const char *hint, const char *message)
{
    err_set(err, ERR_USAGE, "%s", message);
    return err_hint(err, "%s", hint);
}

static int check_graph(const struct sql_source *s, const struct new_revision *n, struct err *err)
{
    const char *name = s->format->name;
    if (s->format->parse == parse_belay)
        return 0;
    const struct revision *last = graph_at(s->base.graph, s->n - 1);
    const char *what = NULL;
    if (n->parents->n > 1)
        what = "merges";
    else if (n->branch_label)
        what = "branch labels";
    else if (n->depends_on && n->depends_on->n)
        what = "dependencies";
    if (what) {
        err_set(err, ERR_USAGE, "%s has no %s", name, what);
        return err_hint(err, "its revisions form one line; belay's own format has %s", what);
    }
    if (n->parents->n != 1 || n->parents->v[0] != last) {
        err_set(err, ERR_USAGE, "a revision of %s can only follow the last one, %s", name,
                last->id);
        return err_hint(err, "leave --head out");
    }
    return 0;
}

static int check_id(const struct sql_source *s, const char *id, struct err *err)
{
    bool folder = s->format->layout == LAYOUT_FOLDER;
    _cleanup_free_ char *plain = folder ? without_dashes(id) : xstrdup(id);
    bool taken = graph_find(s->base.graph, plain);
    for (size_t i = 0; i < s->n && s->format->numbers && !taken; i++)
        taken = strtoull(s->scripts[i].version, NULL, 10) == strtoull(id, NULL, 10);
    if (taken) {
        err_set(err, ERR_USAGE, "there is a revision %s already", id);
        return err_hint(err, "choose another id, or let belay choose one");
    }
    static const char *const words[] = {"head", "heads", "base", NULL};
    for (size_t i = 0; words[i]; i++)
        if (strcmp(id, words[i]) == 0)
            return refuse(err, "choose another id", "head, heads and base name targets");
    if (s->format->parse == parse_belay) {
        for (const char *p = id; *p; p++)
            if (!isalnum((unsigned char)*p) && !strchr("._-", *p))
                return refuse(err, "use letters, digits, \".\", \"_\" and \"-\"",
                              "the id holds a character that ids cannot have");
        return *id ? 0 : refuse(err, "leave --rev-id out", "the id is empty");
    }
    if (folder) {
        if (!*plain || id[strspn(id, "0123456789-")])
            return refuse(err, "write it as 2024-01-01-120000", "the id is not a date and time");
        return 0;
    }
    if (!all_digits(id) || strlen(id) > 18)
        return refuse(err, "versions of this format are numbers", "the id is not a number");
    return 0;
}

static int check(const struct sql_source *s, const struct new_revision *n, struct err *err)
{
    size_t bad;
    if (n->autogenerate) {
        err_set(err, ERR_USAGE, "autogenerate needs models to compare with, and %s has none",
                s->format->name);
        return err_hint(err, "write the SQL yourself; leave --autogenerate out");
    }
    if (!utf8_valid(n->message, strlen(n->message), &bad))
        return refuse(err, "check the terminal's character set", "the message is not UTF-8");
    _cleanup_free_ char *name = slug(n->message);
    if (!*name)
        return refuse(err, "say in a few words what the revision does",
                      "the message holds no letter or digit");
    if (check_graph(s, n, err) < 0)
        return -1;
    return n->id ? check_id(s, n->id, err) : 0;
}

/* ---- files ---- */

struct new_file {
    char *path, *text;
};

static void add_ids(struct str *out, const char *key, const struct revisions *list)
{
    for (size_t i = 0; i < list->n; i++)
        str_addf(out, "%s%s", i ? ", " : key, list->v[i]->id);
    if (list->n)
        str_addc(out, '\n');
}

static char *belay_text(const struct new_revision *n, const char *id)
{
    struct str s = {0};
    str_addf(&s, "-- revision: %s\n", id);
    add_ids(&s, "-- revises: ", n->parents);
    for (size_t i = 0; n->depends_on && i < n->depends_on->n; i++)
        str_addf(&s, "%s%s%s", i ? ", " : "-- depends-on: ", n->depends_on->v[i],
                 i + 1 == n->depends_on->n ? "\n" : "");
    if (n->branch_label)
        str_addf(&s, "-- branch: %s\n", n->branch_label);
    str_add(&s, "-- title: ");
    for (const char *p = n->message; *p; p++)
        str_addc(&s, iscntrl((unsigned char)*p) ? ' ' : *p);
    str_add(&s, "\n\n-- upgrade\n\n-- downgrade\n");
    return str_take(&s);
}

/* At most two files. */
static size_t plan(const struct sql_source *s, const struct new_revision *n, const char *id,
                   struct new_file *files)
{
    _cleanup_free_ char *title = slug(n->message);
    _cleanup_free_ char *stem = xasprintf("%s_%s", id, title);
    _cleanup_free_ char *base = path_join(s->base.dir, stem);
    switch (s->format->layout) {
    case LAYOUT_FILE:
        files[0].path = xasprintf("%s.sql", base);
        if (s->format->parse == parse_belay)
            files[0].text = belay_text(n, id);
        else if (s->format->parse == parse_dbmate)
            files[0].text = xstrdup("-- migrate:up\n\n-- migrate:down\n");
        else
            files[0].text = xstrdup("-- +goose Up\n\n-- +goose Down\n");
        return 1;
    case LAYOUT_PAIR:
        files[0] = (struct new_file){xasprintf("%s.up.sql", base), xstrdup("")};
        files[1] = (struct new_file){xasprintf("%s.down.sql", base), xstrdup("")};
        return 2;
    case LAYOUT_FOLDER:
        /* diesel refuses files without a byte */
        files[0] = (struct new_file){path_join(base, "up.sql"), xstrdup("-- upgrade\n")};
        files[1] = (struct new_file){path_join(base, "down.sql"), xstrdup("-- downgrade\n")};
        return 2;
    }
    return 0;
}

static int write_files(const struct new_file *files, size_t n, bool folder, struct err *err)
{
    _cleanup_free_ char *dir = path_dir(files[0].path);
    for (size_t i = 0; i < n; i++) {
        if (!file_exists(files[i].path))
            continue;
        err_set(err, ERR_USAGE, "%s exists already", files[i].path);
        return err_hint(err, "nothing was written; choose another message or id");
    }
    if (folder && dir_make(dir, 0777, err) < 0)
        return -1;
    for (size_t i = 0; i < n; i++) {
        if (file_replace(files[i].path, files[i].text, strlen(files[i].text), 0644, err) == 0)
            continue;
        while (i-- > 0)
            unlink(files[i].path);
        if (folder)
            rmdir(dir);
        return -1;
    }
    return 0;
}

int sql_new_revision(const struct source *base, const struct new_revision *n, char **ret_id,
                     struct strv *ret_files, struct err *err)
{
    const struct sql_source *s = (const struct sql_source *)base;
    _cleanup_free_ char *id = xstrdup(n->id);
    if (check(s, n, err) < 0)
        return -1;
    bool belay = s->format->parse == parse_belay, folder = s->format->layout == LAYOUT_FOLDER;
    if (!id && (belay    ? next_belay(s, &id, err)
                : folder ? next_diesel(s, &id, err)
                         : next_number(s, &id)) < 0)
        return -1;
    struct new_file files[2] = {0};
    size_t nfiles = plan(s, n, id, files);
    int rc = write_files(files, nfiles, folder, err);
    for (size_t i = 0; i < nfiles; i++) {
        if (rc == 0)
            strv_add(ret_files, files[i].path);
        free(files[i].path);
        free(files[i].text);
    }
    if (rc == 0)
        *ret_id = folder ? without_dashes(id) : TAKE_PTR(id);
    return rc;
}
