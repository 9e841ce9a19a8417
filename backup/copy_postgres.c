/*
 * A live PostgreSQL database into a scratch one. Each of the sessions that read has a session that
 * loads, in one thread: rows go from one to the other and are stored nowhere else.
 *
 *     source     locks, snapshot, pg_dump's archive, the catalog
 *     tables     on the copy
 *     rows       over several pairs of sessions
 *     sequences  and with them the source's locks are given back
 *     indexes ... on the copy
 *     compare    with what was read
 */
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "backup/canceller.h"
#include "backup/copy_impl.h"
#include "backup/postgres_load.h"
#include "backup/postgres_source.h"
#include "harness/base/clock.h"
#include "harness/base/file.h"
#include "harness/engine/postgres_copy.h"

/* Rows are sent on in pieces of this size. */
enum { PIECE = 256 << 10 };

struct pg_copying {
    struct copying *c;
    struct pg_source source;
    struct pg_loader loader;
    struct load load;
    struct str sequences;
    atomic_ullong bytes;
};

/* ---- rows ---- */

/* Where one thread's rows go. */
struct target {
    struct pg_copying *p;
    struct db *db;
    size_t table;
    bool copying; /* the COPY is open: from the first row on, so that empty tables cost nothing */
    bool has_object_table;
    char *sql; /* of the COPY */
    struct str buffer;
    struct row_pass pass;
};

static int flush(struct target *t, struct err *err)
{
    if (pg_copy_in_put(t->db, t->buffer.p, t->buffer.len, err) < 0) {
        t->copying = false;
        return pg_copy_in_end(t->db, t->sql, "given up", err);
    }
    atomic_fetch_add(&t->p->bytes, t->buffer.len);
    str_clear(&t->buffer);
    return 0;
}

static int failed(const struct target *t, struct err *err)
{
    row_pass_hide(&t->pass, err);
    return err_prefix(err, "on the copy");
}

static int target_begin(void *sink, size_t table, struct err *err)
{
    (void)err;
    struct target *t = sink;
    t->table = table;
    t->copying = false;
    str_clear(&t->buffer);
    row_pass_begin(&t->pass, t->p->load.filter,
                   table == SIZE_MAX ? SIZE_MAX : t->p->source.scan.tables[table].digest);
    return 0;
}

static int open_copy(struct target *t, struct err *err)
{
    const struct pg_scan *scan = &t->p->source.scan;
    free(t->sql);
    if (t->table == SIZE_MAX) {
        t->sql = xstrdup(PG_LOAD_OBJECTS_SQL);
        if (pg_load_objects_begin(t->db, &t->has_object_table, err) < 0)
            return -1;
    } else {
        const struct pg_table *table = &scan->tables[t->table];
        t->sql = pg_load_copy_sql(table->name, table->columns, scan->raw);
    }
    if (pg_copy_in_begin(t->db, t->sql, err) < 0)
        return -1;
    t->copying = true;
    return 0;
}

static int target_row(void *sink, const char *line, size_t len, struct err *err)
{
    struct target *t = sink;
    if (!t->copying && open_copy(t, err) < 0)
        return failed(t, err);
    if (row_pass_line(&t->pass, line, len, &t->buffer, err) < 0)
        return -1;
    return t->buffer.len < PIECE || flush(t, err) == 0 ? 0 : failed(t, err);
}

static int target_end(void *sink, struct err *err)
{
    struct target *t = sink;
    if (t->copying && t->buffer.len && flush(t, err) < 0)
        return failed(t, err);
    if (t->copying && (pg_copy_in_end(t->db, t->sql, NULL, err) < 0 ||
                       (t->table == SIZE_MAX && pg_load_objects_end(t->db, err) < 0)))
        return failed(t, err);
    t->copying = false;
    row_pass_end(&t->pass);
    return 0;
}

static const struct pg_scan_sink sink = {target_begin, target_row, target_end};

static int stream_rows(struct pg_copying *p, struct err *err)
{
    const struct copy_options *o = p->c->options;
    size_t jobs = (size_t)o->jobs;
    struct target *targets = xcalloc(jobs, sizeof(*targets));
    struct db **dbs = xcalloc(jobs, sizeof(struct db *));
    void **sinks = xcalloc(jobs, sizeof(*sinks));
    struct canceller *canceller = NULL;
    int rc = pg_load_sessions(&p->load, dbs, err);
    for (size_t i = 0; i < jobs; i++) {
        targets[i] = (struct target){.p = p, .db = dbs[i]};
        sinks[i] = &targets[i];
    }
    if (rc == 0)
        rc = canceller_start(dbs, jobs, &o->control, &canceller, err);
    meter_phase(p->c->meter, "rows", p->source.scan.bytes);
    const struct pg_scan_options options = {
        .url = o->from,
        .snapshot = p->source.snapshot,
        .jobs = o->jobs,
        .sink = &sink,
        .sinks = sinks,
        .meter = p->c->meter,
        .control = &o->control,
    };
    if (rc == 0)
        rc = pg_scan_run(&p->source.scan, &options, err);
    canceller_stop(canceller);
    pg_load_sessions_close(&p->load, dbs);
    for (size_t i = 0; i < jobs; i++) {
        free(targets[i].sql);
        str_release(&targets[i].buffer);
        row_pass_release(&targets[i].pass);
    }
    free(sinks);
    free(dbs);
    free(targets);
    return rc;
}

/* ---- the schema ---- */

static int write_archive(const char *path, const struct str *archive, struct err *err)
{
    _cleanup_close_ int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0 || file_write(fd, archive->p, archive->len) < 0)
        return err_errno(err, "cannot write %s", path);
    return 0;
}

static int make_tables(struct pg_copying *p, const struct str *archive, struct err *err)
{
    struct copying *c = p->c;
    if (copy_prepare_load(c, &c->manifest, &p->load, err) < 0)
        return -1;
    if (copy_plan_sample(c, c->manifest.snapshot, NULL, p->source.db, &p->load, err) < 0 ||
        copy_plan_filter(c, c->manifest.snapshot, &p->source.scan.digests, &p->load, err) < 0)
        return -1;
    p->loader.l = &p->load;
    if (pg_loader_open(&p->loader, err) < 0 || write_archive(p->loader.archive, archive, err) < 0)
        return -1;
    return pg_loader_tables(&p->loader, err);
}

/* ---- the whole ---- */

static void say_what_was_read(struct pg_copying *p)
{
    struct copy_result *r = p->c->result;
    r->bytes = atomic_load(&p->bytes);
    strv_add_take(&r->read, xasprintf("%zu tables, %llu rows, in one read-only snapshot", r->tables,
                                      (unsigned long long)r->rows));
    strv_add_take(&r->read,
                  xasprintf("ACCESS SHARE locks were held for %.1f s; each was waited for at most "
                            "%.1f s",
                            r->reading, p->c->options->lock_timeout_ms / 1000.0));
}

static int read_source(struct pg_copying *p, struct canceller **canceller, struct err *err)
{
    struct copying *c = p->c;
    const struct copy_options *o = c->options;
    _cleanup_str_ struct str archive = {0};
    if (pg_source_open(&p->source, o->from, err) < 0 ||
        canceller_start(&p->source.db, 1, &o->control, canceller, err) < 0)
        return -1;
    double start = clock_seconds();
    meter_phase(c->meter, "locks", 0);
    if (pg_source_freeze(&p->source, o->lock_timeout_ms, err) < 0)
        return -1;
    meter_phase(c->meter, "schema", 0);
    c->manifest.engine = xstrdup(engine_name(&engine_postgres));
    if (pg_source_schema(&p->source, &o->control, &archive, err) < 0 ||
        pg_source_describe(&p->source, &c->manifest, err) < 0 ||
        make_tables(p, &archive, err) < 0 || stream_rows(p, err) < 0 ||
        pg_source_sequences(&p->source, &p->sequences, err) < 0)
        return -1;
    pg_source_take_digests(&p->source, &c->manifest);
    c->result->reading = clock_seconds() - start;
    return 0;
}

static int run(struct pg_copying *p, struct err *err)
{
    struct canceller *canceller = NULL;
    int rc = read_source(p, &canceller, err);
    canceller_stop(canceller);
    pg_source_close(&p->source);
    if (rc == 0)
        copy_count(p->c, &p->c->manifest);
    if (rc == 0 && p->load.sample)
        sample_count(p->load.sample, &p->c->manifest.digests);
    if (rc == 0 && p->load.filter)
        row_filter_digests(p->load.filter, &p->c->manifest.digests);
    if (rc < 0 || pg_loader_finish(&p->loader, str_get(&p->sequences), err) < 0)
        return -1;
    copy_settle_sample(p->c, &p->c->manifest.digests);
    if (copy_must_equal(&p->load, &backup_postgres, err) < 0)
        return -1;
    say_what_was_read(p);
    return 0;
}

int copy_postgres(struct copying *c, struct err *err)
{
    struct pg_copying p = {.c = c};
    int rc = run(&p, err);
    pg_loader_close(&p.loader);
    str_release(&p.sequences);
    return rc;
}
