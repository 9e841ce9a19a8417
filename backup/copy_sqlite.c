/*
 * A live SQLite database into a scratch file, page by page. With a WAL, nobody waits for its readers,
 * and the source's digests are read in the transaction that the pages were copied in. With a rollback
 * journal a reader keeps writers out: there only the pages are read, and the copy's own checks tell.
 */
#include <stdlib.h>
#include <string.h>

#include "backup/canceller.h"
#include "backup/copy_impl.h"
#include "backup/sqlite_copy.h"
#include "backup/sqlite_source.h"
#include "harness/base/clock.h"
#include "harness/engine/url.h"
#include "harness/schema/schema.h"

/* In the transaction that the pages were copied in. */
static int read_source(struct copying *c, struct db *source, struct err *err)
{
    struct manifest *m = &c->manifest;
    meter_phase(c->meter, "digests", 0);
    if (schema_read(source, &(struct schema_options){0}, &m->snapshot, err) < 0)
        return -1;
    return digest_read(source, NULL, &(struct digest_options){.keep = true}, &m->digests, err);
}

/* What the copy's own checks say; and whether it is what was read, or else what it holds. */
static int check_copy(struct copying *c, const char *url, bool compare, struct err *err)
{
    struct manifest *m = &c->manifest;
    const struct load l = {.manifest = m, .url = url, .control = &c->options->control};
    _cleanup_db_ struct db *db = NULL;
    _cleanup_canceller_ struct canceller *canceller = NULL;
    meter_phase(c->meter, "checks", 0);
    if (db_open(&engine_sqlite, url, DB_OPEN_READONLY, &db, err) < 0 ||
        canceller_start(&db, 1, &c->options->control, &canceller, err) < 0 ||
        sqlite_check(db, &c->result->notes, err) < 0)
        return -1;
    return compare
               ? copy_must_equal(&l, &backup_sqlite, err)
               : digest_read(db, NULL, &(struct digest_options){.keep = true}, &m->digests, err);
}

static int copy_from(struct copying *c, struct sqlite_source *source, const char *path,
                     struct err *err)
{
    int64_t page_size, pages;
    sqlite3 *from = db_handle(source->db);
    if (sqlite_pragma(from, "page_size", &page_size, err) < 0 ||
        sqlite_pragma(from, "page_count", &pages, err) < 0)
        return -1;
    c->result->bytes = (uint64_t)page_size * (uint64_t)pages;
    meter_phase(c->meter, "pages", c->result->bytes);
    return pages ? sqlite_source_copy(source, path, (int)page_size, c->meter, err) : 0;
}

static int read_all(struct copying *c, struct sqlite_source *source, const char *path,
                    struct err *err)
{
    _cleanup_canceller_ struct canceller *canceller = NULL;
    if (canceller_start(&source->db, 1, &c->options->control, &canceller, err) < 0 ||
        copy_from(c, source, path, err) < 0)
        return -1;
    return source->locked ? 0 : read_source(c, source->db, err);
}

static void say_what_was_read(struct copying *c, bool locked)
{
    struct copy_result *r = c->result;
    copy_count(c, &c->manifest);
    strv_add_take(&r->read,
                  xasprintf("%llu bytes of pages with %zu tables, %llu rows",
                            (unsigned long long)r->bytes, r->tables, (unsigned long long)r->rows));
    if (!locked) {
        strv_add(&r->read, "nobody had to wait: the database has a WAL");
        return;
    }
    strv_add_take(&r->read,
                  xasprintf("writers had to wait for %.1f s: the database has no WAL", r->reading));
    strv_add(&r->notes, "the rows were not read a second time to compare them: without a WAL, that "
                        "would keep writers out; the copy's own checks were run");
}

int copy_sqlite(struct copying *c, struct err *err)
{
    const struct copy_options *o = c->options;
    _cleanup_(sqlite_source_close) struct sqlite_source source = {0};
    _cleanup_free_ char *path = NULL;
    if (scratch_new(c->pool, &c->scratch, err) < 0 ||
        url_sqlite_path(scratch_url(c->scratch), &path, err) < 0)
        return -1;
    _cleanup_free_ char *frozen = sqlite_url_frozen(path);
    c->manifest.engine = xstrdup(engine_name(&engine_sqlite));
    c->manifest.digest_version = DIGEST_VERSION;
    double start = clock_seconds();
    if (sqlite_source_open(&source, o->from, o->lock_timeout_ms, err) < 0 ||
        read_all(c, &source, path, err) < 0)
        return -1;
    sqlite_source_close(&source);
    c->result->reading = clock_seconds() - start;
    if (check_copy(c, frozen, !source.locked, err) < 0)
        return -1;
    say_what_was_read(c, source.locked);
    return copy_sample_file(c, path, err) < 0 ? -1 : copy_mask_file(c, path, err);
}
