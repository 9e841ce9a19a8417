#include "backup/shelf.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "backup/bundle.h"
#include "harness/base/file.h"

static void item_release(struct shelf_item *i)
{
    char *const strings[] = {i->path, i->name,   i->problem, i->created, i->database,
                             i->host, i->engine, i->server,  i->belay};
    for (size_t k = 0; k < ARRAY_LEN(strings); k++)
        free(strings[k]);
    strv_release(&i->revisions);
}

void shelf_release(struct shelf *s)
{
    for (size_t i = 0; i < s->n; i++)
        item_release(&s->v[i]);
    free(s->v);
    free(s->dir);
    *s = (struct shelf){0};
}

static void describe(struct shelf_item *i, const struct manifest *m)
{
    struct tm tm = {0};
    i->created = xstrdup(m->created);
    i->database = xstrdup(m->database);
    i->host = xstrdup(m->host);
    i->engine = xstrdup(m->engine);
    i->server = xstrdup(m->server);
    i->belay = xstrdup(m->belay);
    for (size_t k = 0; k < m->revisions.n; k++)
        strv_add(&i->revisions, m->revisions.v[k]);
    manifest_count(m, &i->tables, &i->rows);
    const char *end = strptime(m->created, "%Y-%m-%dT%H:%M:%SZ", &tm);
    if (end && !*end)
        i->time = timegm(&tm);
    else
        i->problem = xasprintf("\"%s\" is not a time", m->created);
}

static void look(struct shelf_item *i, const char *key_file)
{
    _cleanup_bundle_reader_ struct bundle_reader *r = NULL;
    _cleanup_err_ struct err err = {0};
    struct stat st;
    if (stat(i->path, &st) == 0)
        i->size = (uint64_t)st.st_size;
    int rc = bundle_open(i->path, NULL, &r, &err);
    if (rc < 0 && err.code == ERR_USAGE) {
        i->encrypted = true;
        if (key_file)
            rc = bundle_open(i->path, key_file, &r, &err);
    }
    if (rc == 0)
        describe(i, bundle_manifest(r));
    else if (i->encrypted && !key_file)
        i->problem = xstrdup("encrypted");
    else
        i->problem = xstrdup(err.message);
}

static int newest_first(const void *a, const void *b)
{
    const struct shelf_item *x = a, *y = b;
    if (!x->problem != !y->problem)
        return x->problem ? 1 : -1;
    return x->time != y->time ? (x->time < y->time ? 1 : -1) : strcmp(x->name, y->name);
}

int shelf_read(const char *dir, const char *key_file, struct shelf *ret, struct err *err)
{
    DIR *d = opendir(dir);
    if (!d)
        return err_errno(err, "cannot read folder %s", dir);
    struct shelf s = {.dir = xstrdup(dir)};
    for (struct dirent *e; (e = readdir(d));) {
        if (!str_ends(e->d_name, ".belay") || e->d_name[0] == '.')
            continue;
        s.v = xgrow(s.v, s.n, &s.cap, sizeof(*s.v));
        struct shelf_item *i = &s.v[s.n++];
        *i = (struct shelf_item){.path = path_join(dir, e->d_name), .name = xstrdup(e->d_name)};
        look(i, key_file);
    }
    closedir(d);
    if (s.n)
        qsort(s.v, s.n, sizeof(*s.v), newest_first);
    *ret = s;
    return 0;
}

static bool same_database(const struct shelf_item *a, const struct shelf_item *b)
{
    return !a->problem && !b->problem && str_eq(a->engine, b->engine) && str_eq(a->host, b->host) &&
           str_eq(a->database, b->database);
}

void shelf_plan(struct shelf *s, int keep_last, int keep_days, time_t now)
{
    for (size_t i = 0; i < s->n; i++) {
        struct shelf_item *item = &s->v[i];
        int newer = 0;
        for (size_t k = 0; k < i; k++)
            newer += same_database(&s->v[k], item);
        bool young = keep_days && now - item->time < (time_t)keep_days * 24 * 60 * 60;
        item->remove = !item->problem && newer >= keep_last && !young;
    }
}

/* *ret: whether the bundle is good. */
static int is_good(const struct shelf_item *i, const struct verify_options *o, bool *ret,
                   struct err *err)
{
    struct verify_options verify = *o;
    struct verify_result result = {0};
    verify.path = i->path;
    verify.key_file = i->encrypted ? o->key_file : NULL;
    if (backup_verify(&verify, &result, err) < 0)
        return -1;
    *ret = result.problems.n == 0;
    verify_result_release(&result);
    return 0;
}

/* Of the bundles of the same database: those that stay first, each newest first. */
static int secure(struct shelf *s, const struct shelf_item *of, const struct verify_options *o,
                  struct err *err)
{
    for (int removing = 0; removing < 2; removing++) {
        for (size_t i = 0; i < s->n; i++) {
            struct shelf_item *item = &s->v[i];
            bool good = false;
            if (!same_database(item, of) || item->remove != (removing == 1))
                continue;
            if (is_good(item, o, &good, err) < 0)
                return -1;
            if (good) {
                item->only_good = item->remove;
                item->remove = false;
                return 0;
            }
        }
    }
    for (size_t i = 0; i < s->n; i++)
        if (same_database(&s->v[i], of))
            s->v[i].remove = false;
    return 0;
}

int shelf_secure(struct shelf *s, const struct verify_options *o, struct err *err)
{
    for (size_t i = 0; i < s->n; i++) {
        bool first = s->v[i].remove;
        for (size_t k = 0; first && k < i; k++)
            first = !(s->v[k].remove || s->v[k].only_good) || !same_database(&s->v[k], &s->v[i]);
        if (first && secure(s, &s->v[i], o, err) < 0)
            return -1;
    }
    return 0;
}

int shelf_remove(struct shelf *s, struct err *err)
{
    int rc = 0;
    for (size_t i = 0; i < s->n; i++) {
        if (!s->v[i].remove || unlink(s->v[i].path) == 0)
            continue;
        s->v[i].remove = false;
        if (rc == 0)
            rc = err_errno(err, "cannot remove %s", s->v[i].path);
    }
    return rc < 0 ? rc : dir_sync(s->dir, err);
}
