/*
 * A bundle into an SQLite file. What holds at each moment:
 *
 *     load      the bundle's pages are in a temporary file beside the target, and were compared with
 *               the manifest: the target was not looked at yet
 *     keep      nobody else may write; the old content is copied into NAME_before_restore_TIME, which
 *               appears whole
 *     replace   the target is locked anew; when somebody wrote in between, the copy is made again
 *     commit    sqlite3_backup has filled the target in one transaction: killed before its end, the
 *               target's own journal brings the old content back
 *
 * A target that does not exist gets the temporary file itself.
 */
#include "backup/restore_sqlite.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "backup/partial.h"
#include "backup/sqlite_copy.h"
#include "backup/workers.h"
#include "harness/base/clock.h"
#include "harness/base/file.h"
#include "harness/engine/url.h"

enum { BUSY_MS = 5000, ATTEMPTS = 5 };

/* ---- the temporary file ---- */

struct assembly {
    const struct manifest *manifest;
    struct meter *meter;
    int fd;
    uint64_t *offsets; /* for each member where it belongs; UINT64_MAX: nowhere */
};

struct piece {
    const struct assembly *assembly;
    uint64_t offset;
};

static int put(void *data, const void *bytes, size_t len, struct err *err)
{
    struct piece *p = data;
    const char *from = bytes;
    if (meter_add(p->assembly->meter, len, 0, err) < 0)
        return -1;
    while (len) {
        ssize_t n = pwrite(p->assembly->fd, from, len, (off_t)p->offset);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_errno(err, "cannot write the restored database");
        from += n;
        len -= (size_t)n;
        p->offset += (uint64_t)n;
    }
    return 0;
}

static int put_member(void *data, size_t position, const struct str *stored, struct part_reader *d,
                      struct err *err)
{
    struct assembly *a = data;
    const struct bundle_member *m = &a->manifest->members[position];
    struct piece p = {.assembly = a, .offset = a->offsets[position]};
    if (p.offset == UINT64_MAX || !str_ends(m->name, ".zst"))
        return err_set(err, ERR_CONFIG, "%s belongs to no SQLite database", m->name);
    if (part_read(d, m, str_get(stored), stored->len, put, &p, err) < 0)
        return -1;
    return meter_add(a->meter, 0, stored->len, err);
}

/* The one object of a bundle of SQLite, with the size of the file. */
static int find_file(const struct manifest *m, const struct bundle_object **ret, uint64_t *ret_size,
                     struct err *err)
{
    uint64_t size = 0;
    const struct bundle_object *o = m->nobjects == 1 ? &m->objects[0] : NULL;
    if (!o || strcmp(o->kind, "file") != 0)
        return err_set(err, ERR_CONFIG, "the bundle holds something else than one SQLite file");
    for (size_t i = 0; i < o->nparts; i++)
        if (__builtin_add_overflow(size, m->members[o->parts[i]].raw, &size) || size > INT64_MAX)
            return err_set(err, ERR_CONFIG, "the sizes of the bundle's parts cannot be");
    *ret = o;
    *ret_size = size;
    return 0;
}

int load_sqlite(struct load *l, struct err *err)
{
    const struct manifest *m = l->manifest;
    const struct bundle_object *o;
    uint64_t size;
    if (find_file(m, &o, &size, err) < 0)
        return -1;
    _cleanup_close_ int fd = open(l->url, O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return err_errno(err, "cannot open %s", l->url);
    struct assembly a = {.manifest = m,
                         .meter = l->meter,
                         .fd = fd,
                         .offsets = xmalloc(m->nmembers * sizeof(*a.offsets))};
    uint64_t offset = 0;
    for (size_t i = 0; i < m->nmembers; i++)
        a.offsets[i] = UINT64_MAX;
    for (size_t i = 0; i < o->nparts; i++) {
        a.offsets[o->parts[i]] = offset;
        offset += m->members[o->parts[i]].raw;
    }
    meter_phase(l->meter, "pages", size);
    int rc = workers_read(l->jobs, l->reader, put_member, &a, NULL, err);
    free(a.offsets);
    return rc;
}

/* ---- the target ---- */

struct target {
    char *path, *dir;
    char *kept;   /* the old content's copy */
    bool writing; /* pages were given to the transaction that replaces it */
    struct meter *meter;
};

static void target_release(struct target *t)
{
    free(t->path);
    free(t->dir);
    free(t->kept);
}

/* A journal without its database would be taken for that of the restored one. */
static int refuse_orphans(const struct target *t, struct err *err)
{
    static const char *const suffixes[] = {"-journal", "-wal"};
    for (size_t i = 0; i < ARRAY_LEN(suffixes); i++) {
        _cleanup_free_ char *path = xasprintf("%s%s", t->path, suffixes[i]);
        if (file_exists(path)) {
            err_set(err, ERR_ENV, "%s is there, but not its database", path);
            return err_hint(err, "SQLite would apply it to the restored one: move it away");
        }
    }
    return 0;
}

static char *kept_name(const char *path)
{
    _cleanup_free_ char *text = clock_utc(CLOCK_STAMP);
    for (int n = 1;; n++) {
        char *name = n == 1 ? xasprintf("%s_before_restore_%s", path, text)
                            : xasprintf("%s_before_restore_%s_%d", path, text, n);
        if (!file_exists(name))
            return name;
        free(name);
    }
}

/* The old content under a name of its own, whole and on disk. *ret_version: of the content. */
static int keep_old(struct target *t, sqlite3 *live, unsigned *ret_version, struct err *err)
{
    int64_t page_size, pages;
    struct partial file;
    if (sqlite3_exec(live, "begin; select count(*) from main.sqlite_schema", NULL, NULL, NULL) !=
            SQLITE_OK ||
        sqlite3_file_control(live, "main", SQLITE_FCNTL_DATA_VERSION, ret_version) != SQLITE_OK) {
        err_set(err, ERR_ENV, "cannot read %s: %s", t->path, sqlite3_errmsg(live));
        return err_hint(err, "when it is damaged, move it away: the bundle is then restored to a "
                             "new file of that name");
    }
    if (sqlite_pragma(live, "page_size", &page_size, err) < 0 ||
        sqlite_pragma(live, "page_count", &pages, err) < 0 ||
        dir_room(t->dir, (uint64_t)(page_size * pages), err) < 0 ||
        partial_create(t->dir, &file, err) < 0)
        return -1;
    meter_phase(t->meter, "copy", (uint64_t)(page_size * pages));
    _cleanup_sqlite_ sqlite3 *to = NULL;
    int rc = sqlite_copy_open(file.path, SQLITE_OPEN_READWRITE, &to, err);
    if (rc == 0) {
        /* partial_publish() syncs it as a whole */
        sqlite3_exec(to, "pragma journal_mode = off; pragma synchronous = off", NULL, NULL, NULL);
        sqlite3_backup *b = sqlite3_backup_init(to, "main", live, "main");
        rc = sqlite_copy_run(b, to, (int)page_size, t->meter, err);
        sqlite3_backup_finish(b);
    }
    sqlite3_close(TAKE_PTR(to));
    sqlite3_exec(live, "rollback", NULL, NULL, NULL);
    if (rc == 0) {
        t->kept = kept_name(t->path);
        rc = partial_publish(&file, t->kept, err);
    }
    partial_release(&file);
    return rc;
}

/* What SQLite cannot do is found out before anything is copied. */
static int check_wal(const struct target *t, sqlite3 *live, sqlite3 *from, struct err *err)
{
    int64_t now, then;
    sqlite3_stmt *stmt = NULL;
    bool wal = sqlite3_prepare_v2(live, "pragma main.journal_mode", -1, &stmt, NULL) == SQLITE_OK &&
               sqlite3_step(stmt) == SQLITE_ROW &&
               str_eq((const char *)sqlite3_column_text(stmt, 0), "wal");
    sqlite3_finalize(stmt);
    if (sqlite_pragma(live, "page_size", &now, err) < 0 ||
        sqlite_pragma(from, "page_size", &then, err) < 0)
        return -1;
    if (!wal || now == then)
        return 0;
    err_set(err, ERR_ENV, "%s has a WAL and pages of %lld bytes, the bundle's have %lld", t->path,
            (long long)now, (long long)then);
    return err_hint(err,
                    "SQLite cannot change the size with a WAL: \"pragma journal_mode = delete\" "
                    "first, or restore to a new file");
}

/* 1: done; 0: somebody wrote since the old content was copied. */
static int replace(struct target *t, sqlite3 *live, sqlite3 *from, unsigned version,
                   struct err *err)
{
    int64_t page_size, pages;
    if (sqlite_pragma(from, "page_size", &page_size, err) < 0 ||
        sqlite_pragma(from, "page_count", &pages, err) < 0)
        return -1;
    sqlite3_backup *b = sqlite3_backup_init(live, "main", from, "main");
    if (!b)
        return err_set(err, ERR_ENV, "cannot write %s: %s", t->path, sqlite3_errmsg(live));
    /* no pages yet, but the locks of the transaction: from here on the version cannot change */
    unsigned now;
    int rc = sqlite3_backup_step(b, 0);
    if (rc == SQLITE_OK &&
        sqlite3_file_control(live, "main", SQLITE_FCNTL_DATA_VERSION, &now) == SQLITE_OK &&
        now != version) {
        sqlite3_backup_finish(b);
        return 0;
    }
    t->writing = rc == SQLITE_OK;
    meter_phase(t->meter, "write", (uint64_t)(page_size * pages));
    rc = sqlite_copy_run(b, live, (int)page_size, t->meter, err);
    int finished = sqlite3_backup_finish(b);
    if (rc == 0 && finished != SQLITE_OK)
        return err_set(err, ERR_ENV, "cannot write %s: %s", t->path, sqlite3_errstr(finished));
    return rc < 0 ? -1 : 1;
}

static int before_replace(const struct restore_options *o, const char *loaded, const char *kept,
                          struct err *err)
{
    _cleanup_free_ char *old = o->before ? sqlite_url_frozen(kept) : NULL;
    return o->before ? o->before(o->before_data, loaded, old, err) : 0;
}

static int overwrite(struct target *t, const struct restore_options *o, const char *from_path,
                     struct err *err)
{
    _cleanup_sqlite_ sqlite3 *live = NULL, *from = NULL, *lock = NULL;
    _cleanup_free_ char *url = sqlite_url_frozen(from_path);
    if (sqlite_copy_open(t->path, SQLITE_OPEN_READWRITE, &live, err) < 0 ||
        sqlite_copy_open(t->path, SQLITE_OPEN_READWRITE, &lock, err) < 0 ||
        sqlite_copy_open(url, SQLITE_OPEN_READONLY | SQLITE_OPEN_URI, &from, err) < 0)
        return -1;
    sqlite3_busy_timeout(live, BUSY_MS);
    sqlite3_busy_timeout(lock, BUSY_MS);
    sqlite3_exec(live, "pragma synchronous = full", NULL, NULL, NULL);
    if (check_wal(t, live, from, err) < 0)
        return -1;
    for (int attempt = 0; attempt < ATTEMPTS; attempt++) {
        unsigned version;
        /* sqlite3_backup wants to begin the transaction itself: others have only that moment to write. Who cannot be
         * kept out is found out all the same. */
        sqlite3_exec(lock, "begin immediate", NULL, NULL, NULL);
        if (keep_old(t, live, &version, err) < 0 || before_replace(o, url, t->kept, err) < 0)
            return -1;
        sqlite3_exec(lock, "rollback", NULL, NULL, NULL);
        int rc = replace(t, live, from, version, err);
        if (rc != 0)
            return rc < 0 ? -1 : 0;
        unlink(t->kept);
        free(TAKE_PTR(t->kept));
    }
    err_set(err, ERR_ENV, "%s is being written to", t->path);
    return err_hint(err, "stop the programs that use it");
}

int restore_sqlite(struct restore *r, struct err *err)
{
    _cleanup_(target_release) struct target t = {.meter = r->load.meter};
    const struct bundle_object *o;
    struct partial file;
    uint64_t size;
    if (url_sqlite_path(r->options->url, &t.path, err) < 0)
        return -1;
    if (str_starts(t.path, "file:"))
        return err_set(err, ERR_USAGE, "name the path of the file to restore to, not a URI");
    t.dir = path_dir(t.path);
    if (find_file(r->load.manifest, &o, &size, err) < 0 || dir_room(t.dir, size, err) < 0 ||
        partial_create(t.dir, &file, err) < 0)
        return -1;
    _cleanup_free_ char *url = sqlite_url_frozen(file.path);
    r->load.url = file.path;
    int rc = load_sqlite(&r->load, err);
    if (rc == 0)
        rc = load_must_equal(r->load.manifest, url, r->load.control, err);
    if (rc == 0 && file_exists(t.path)) {
        rc = overwrite(&t, r->options, file.path, err);
    } else if (rc == 0) {
        rc = refuse_orphans(&t, err);
        if (rc == 0)
            rc = partial_publish(&file, t.path, err);
    }
    partial_release(&file);
    if (rc < 0) {
        /* the old content is where it was, or comes back from the target's journal */
        if (t.kept && t.writing)
            return err_hint(err, "the old content is in %s too", t.kept);
        if (t.kept)
            unlink(t.kept);
        return -1;
    }
    if (t.kept) {
        r->result->drop = xasprintf("rm '%s'", t.kept);
        r->result->kept = TAKE_PTR(t.kept);
    }
    return 0;
}
