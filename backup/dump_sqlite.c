/*
 * SQLite into a bundle. The pages are copied into a file beside the bundle first, as fast as the disk
 * can: only that long other programs' writes wait (with a WAL they do not wait at all). Checks, digests
 * and compression then read the copy, which is removed in the end.
 */
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "backup/backup_impl.h"
#include "backup/canceller.h"
#include "backup/part.h"
#include "backup/partial.h"
#include "backup/restore_sqlite.h"
#include "backup/sqlite_copy.h"
#include "backup/sqlite_source.h"
#include "backup/workers.h"
#include "harness/base/file.h"
#include "harness/engine/url.h"
#include "harness/schema/schema.h"

enum {
    PART_SIZE = 8 << 20, /* plain bytes of a part */
    PIECE = 256 << 10,
};

/* ---- the copy ---- */

/* Copies the database into a new file in the bundle's folder, and begins the bundle. */
static int copy(struct dump *d, struct partial *ret, struct err *err)
{
    _cleanup_(sqlite_source_close) struct sqlite_source source = {0};
    if (sqlite_source_open(&source, d->options->url, d->options->lock_timeout_ms, err) < 0)
        return -1;
    sqlite3 *from = db_handle(source.db);
    int64_t page_size, pages;
    if (sqlite_pragma(from, "page_size", &page_size, err) < 0 ||
        sqlite_pragma(from, "page_count", &pages, err) < 0)
        return -1;
    uint64_t size = (uint64_t)page_size * (uint64_t)pages;
    _cleanup_free_ char *dir = path_dir(d->options->path);
    /* the copy, and what it comes to when it does not compress at all */
    if (dump_begin(d, size, 2 * size + size / 64, err) < 0)
        return -1;
    meter_phase(d->meter, "copy", size);
    const char *path = sqlite3_db_filename(from, "main"); /* absolute */
    d->manifest.database = xstrdup(path_base(path));
    d->manifest.host = path_dir(path);
    if (partial_create(dir, ret, err) < 0)
        return -1;
    if (pages && sqlite_source_copy(&source, ret->path, (int)page_size, d->meter, err) < 0) {
        partial_release(ret);
        return -1;
    }
    return 0;
}

/* ---- what is known of it ---- */

static int run_checks(struct db *db, struct manifest *m, struct err *err)
{
    return sqlite_check(db, &m->checks, err);
}

static int read_contents(struct db *db, struct manifest *m, struct err *err)
{
    m->server = xstrdup(sqlite3_libversion());
    m->version = db_version(db);
    if (db_query_text(db, "pragma main.encoding", NULL, 0, &m->encoding, err) < 0 ||
        schema_read(db, &(struct schema_options){0}, &m->snapshot, err) < 0)
        return -1;
    return digest_read(db, NULL, &(struct digest_options){.keep = true}, &m->digests, err);
}

/* ---- parts ---- */

/* What the threads share out: two of them look into the copy first, each in a session of its own,
 * and the others begin to compress it. */
struct packing {
    struct dump *dump;
    struct db **sessions; /* on the copy: for the checks, for the contents */
    _Atomic size_t next_task;
    int fd;
    uint64_t size;
    size_t nparts;
    _Atomic size_t next, packed;
    size_t *positions; /* of the parts */
};

static int read_at(int fd, void *ret, size_t len, uint64_t offset, struct err *err)
{
    char *p = ret;
    while (len) {
        ssize_t n = pread(fd, p, len, (off_t)offset);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_errno(err, "cannot read the copy of the database");
        if (n == 0)
            return err_set(err, ERR_ENV, "the copy of the database is shorter than it was");
        p += n;
        len -= (size_t)n;
        offset += (uint64_t)n;
    }
    return 0;
}

static int pack_part(struct packing *k, struct part_writer *p, size_t i, char *buffer,
                     struct err *err)
{
    uint64_t offset = (uint64_t)i * PART_SIZE,
             end = offset + PART_SIZE < k->size ? offset + PART_SIZE : k->size;
    uint64_t before = bundle_written(k->dump->writer);
    _cleanup_(part_list_release) struct part_list done = {0};
    part_begin(p, 1, i + 1);
    while (offset < end) {
        size_t n = end - offset < PIECE ? (size_t)(end - offset) : PIECE;
        if (read_at(k->fd, buffer, n, offset, err) < 0 || part_bytes(p, buffer, n, err) < 0 ||
            meter_add(k->dump->meter, n, 0, err) < 0)
            return -1;
        offset += n;
    }
    if (part_end(p, &done, err) < 0)
        return -1;
    k->positions[i] = done.v[0];
    if (atomic_fetch_add(&k->packed, 1) + 1 == k->nparts)
        meter_phase(k->dump->meter, "checks", 0);
    return meter_add(k->dump->meter, 0, bundle_written(k->dump->writer) - before, err);
}

static int pack(struct workers *w, void *data, struct err *err)
{
    struct packing *k = data;
    _cleanup_part_writer_ struct part_writer *p = NULL;
    _cleanup_free_ char *buffer = xmalloc(PIECE);
    if (part_writer_new(k->dump->writer, k->dump->options->level, &p, err) < 0)
        return -1;
    size_t i;
    while (!workers_stopped(w) && (i = atomic_fetch_add(&k->next, 1)) < k->nparts)
        if (pack_part(k, p, i, buffer, err) < 0)
            return -1;
    return 0;
}

static int take_part(struct workers *w, void *data, struct err *err)
{
    static int (*const tasks[])(struct db *, struct manifest *, struct err *) = {run_checks,
                                                                                 read_contents};
    struct packing *k = data;
    size_t i;
    while (!workers_stopped(w) && (i = atomic_fetch_add(&k->next_task, 1)) < ARRAY_LEN(tasks))
        if (tasks[i](k->sessions[i], &k->dump->manifest, err) < 0)
            return -1;
    return pack(w, k, err);
}

static int pack_all(struct packing *k, struct canceller *canceller, struct err *err)
{
    struct dump *d = k->dump;
    k->nparts = (size_t)((k->size + PART_SIZE - 1) / PART_SIZE);
    k->positions = xcalloc(k->nparts, sizeof(*k->positions));
    meter_phase(d->meter, "pages", k->size);
    int rc = workers_run(d->options->jobs + 1, take_part, k, canceller, err);
    struct bundle_object *o = manifest_object(&d->manifest, "file", d->manifest.database);
    for (size_t i = 0; rc == 0 && i < k->nparts; i++)
        bundle_object_part(o, k->positions[i]);
    free(k->positions);
    return rc;
}

/* Compresses the copy and looks into it at the same time. */
static int bundle_copy(struct dump *d, const struct partial *file, struct err *err)
{
    _cleanup_free_ char *url = sqlite_url_frozen(file->path);
    _cleanup_db_ struct db *checks = NULL, *contents = NULL;
    _cleanup_canceller_ struct canceller *canceller = NULL;
    off_t size = lseek(file->fd, 0, SEEK_END);
    if (size < 0)
        return err_errno(err, "cannot read the copy of the database");
    if (db_open(&engine_sqlite, url, DB_OPEN_READONLY, &checks, err) < 0 ||
        db_open(&engine_sqlite, url, DB_OPEN_READONLY, &contents, err) < 0)
        return -1;
    struct db *sessions[] = {checks, contents};
    if (canceller_start(sessions, ARRAY_LEN(sessions), &d->options->control, &canceller, err) < 0)
        return -1;
    struct packing k = {.dump = d, .sessions = sessions, .fd = file->fd, .size = (uint64_t)size};
    return pack_all(&k, canceller, err);
}

static int dump_sqlite(struct dump *d, struct err *err)
{
    struct partial file;
    if (copy(d, &file, err) < 0)
        return -1;
    int rc = bundle_copy(d, &file, err);
    partial_release(&file);
    const struct manifest *m = &d->manifest;
    for (size_t i = 0; i < m->checks.n; i++)
        strv_add(&d->summary->notes, m->checks.v[i]);
    for (size_t i = 0; i < m->digests.unread.n; i++)
        strv_add_take(
            &d->summary->notes,
            xasprintf("virtual table %s: its pages are stored, its rows were not compared",
                      m->digests.unread.v[i]));
    return rc;
}

const struct backup_engine backup_sqlite = {
    .engine = &engine_sqlite,
    .dump = dump_sqlite,
    .load = load_sqlite,
    .restore = restore_sqlite,
};
