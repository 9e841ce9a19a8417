#include "backup/backup.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "backup/backup_impl.h"
#include "backup/canceller.h"
#include "backup/part.h"
#include "harness/base/file.h"
#include "harness/data/compare.h"
#include "harness/schema/diff.h"
#include "harness/schema/schema.h"

enum { LOCK_TIMEOUT_MS = 10000, DIFFERENCES_MAX = 20 };

void backup_summary_release(struct backup_summary *s)
{
    strv_release(&s->notes);
    *s = (struct backup_summary){0};
}

void restore_result_release(struct restore_result *r)
{
    backup_summary_release(&r->summary);
    free(r->kept);
    free(r->drop);
    *r = (struct restore_result){0};
}

const struct backup_engine *backup_engine_find(const char *name)
{
    static const struct backup_engine *const all[] = {&backup_postgres, &backup_sqlite};
    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        if (strcmp(engine_name(all[i]->engine), name) == 0)
            return all[i];
    return NULL;
}

int backup_open(const char *path, const char *key_file, struct bundle_reader **ret,
                const struct backup_engine **ret_engine, struct err *err)
{
    _cleanup_bundle_reader_ struct bundle_reader *r = NULL;
    if (bundle_open(path, key_file, &r, err) < 0)
        return -1;
    const char *engine = bundle_manifest(r)->engine;
    const struct backup_engine *e = backup_engine_find(engine);
    if (!e)
        return err_set(err, ERR_CONFIG, "%s is of a %s database, which this belay does not know",
                       path, engine);
    *ret = TAKE_PTR(r);
    *ret_engine = e;
    return 0;
}

int backup_jobs(int jobs)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    return jobs > 0 ? jobs : cores > 0 ? (int)cores : 1;
}

/* ---- create ---- */

int dump_begin(struct dump *d, uint64_t raw, uint64_t stored, struct err *err)
{
    const struct backup_options *o = d->options;
    _cleanup_free_ char *dir = path_dir(o->path);
    if (dir_room(dir, stored, err) < 0)
        return -1;
    meter_phase(d->meter, "rows", raw);
    return bundle_create(o->path, &(struct bundle_write_options){.key_file = o->key_file},
                         &d->writer, err);
}

static void release_dump(struct dump *d)
{
    bundle_writer_free(d->writer);
    manifest_release(&d->manifest);
    meter_free(d->meter);
}

void backup_summarise(const struct manifest *m, uint64_t stored, struct backup_summary *s)
{
    s->stored = stored;
    for (size_t i = 0; i < m->nmembers; i++)
        s->raw += m->members[i].raw;
    manifest_count(m, &s->tables, &s->rows);
}

int backup_create(const struct backup_options *options, struct backup_summary *ret, struct err *err)
{
    struct backup_options o = *options;
    o.level = o.level ? o.level : PART_LEVEL;
    o.jobs = backup_jobs(o.jobs);
    o.lock_timeout_ms = o.lock_timeout_ms ? o.lock_timeout_ms : LOCK_TIMEOUT_MS;
    const struct engine *engine = engine_for_url(o.url, err);
    if (!engine || bundle_create_check(o.path, o.key_file, err) < 0)
        return -1;
    _cleanup_(backup_summary_release) struct backup_summary summary = {0};
    _cleanup_(release_dump) struct dump d = {.options = &o, .summary = &summary};
    d.meter = meter_new(&o.control);
    d.manifest.engine = xstrdup(engine_name(engine));
    d.manifest.version_table = xstrdup(o.version_table);
    for (size_t i = 0; o.revisions && i < o.revisions->n; i++)
        strv_add(&d.manifest.revisions, o.revisions->v[i]);
    const struct backup_engine *e = backup_engine_find(engine_name(engine));
    if (!e)
        return err_set(err, ERR_USAGE, "belay makes no bundles of %s", engine_name(engine));
    /* a stop that came after the last row still means: no bundle */
    if (e->dump(&d, err) < 0)
        return -1;
    if (o.database) {
        free(d.manifest.database);
        d.manifest.database = xstrdup(o.database);
    }
    if (meter_add(d.meter, 0, 0, err) < 0 || bundle_finish(d.writer, &d.manifest, err) < 0)
        return -1;
    backup_summarise(&d.manifest, bundle_written(d.writer), &summary);
    *ret = summary;
    summary = (struct backup_summary){0};
    return 0;
}

/* ---- restore ---- */

int backup_restore(const struct restore_options *o, struct restore_result *ret, struct err *err)
{
    _cleanup_bundle_reader_ struct bundle_reader *reader = NULL;
    _cleanup_meter_ struct meter *meter = meter_new(&o->control);
    _cleanup_(restore_result_release) struct restore_result result = {0};
    const struct backup_engine *e;
    if (backup_open(o->path, o->key_file, &reader, &e, err) < 0)
        return -1;
    const struct manifest *m = bundle_manifest(reader);
    struct restore r = {
        .options = o,
        .load = {.reader = reader,
                 .manifest = m,
                 .jobs = backup_jobs(o->jobs),
                 .control = &o->control,
                 .summary = &result.summary,
                 .meter = meter},
        .result = &result,
    };
    if (e->restore(&r, err) < 0)
        return -1;
    *ret = result;
    result = (struct restore_result){0};
    return 0;
}

/* ---- comparing with the manifest ---- */

static void add_problem(struct strv *problems, size_t *n, char *owned)
{
    if ((*n)++ < DIFFERENCES_MAX)
        strv_add_take(problems, owned);
    else
        free(owned);
}

static void compare_schema(const struct manifest *m, const struct snapshot *now,
                           struct strv *problems, size_t *n)
{
    _cleanup_diff_ struct diff d = {0};
    _cleanup_diff_lines_ struct diff_lines lines = {0};
    diff_snapshots(m->snapshot, now, &d);
    diff_lines(&d, &lines);
    for (size_t i = 0; i < lines.n; i++)
        add_problem(problems, n, diff_line_text(&lines.v[i], false));
}

static void compare_digests(const struct manifest *m, const struct digest_set *now,
                            struct strv *problems, size_t *n)
{
    struct digest_changes changes = {0}, more = {0};
    digest_compare(&m->digests, now, &changes);
    digest_compare(now, &m->digests, &more);
    for (size_t i = 0; i < changes.n; i++)
        add_problem(problems, n, digest_change_text(&changes.v[i]));
    for (size_t i = 0; i < more.n; i++)
        if (more.v[i].difference & DIGEST_MISSING)
            add_problem(problems, n,
                        xasprintf("rows of %s: none were stored", more.v[i].before->name));
    digest_changes_release(&changes);
    digest_changes_release(&more);
}

int load_compare(const struct manifest *m, const char *url, const struct backup_control *control,
                 struct strv *problems, struct err *err)
{
    const struct engine *e = engine_by_name(m->engine);
    _cleanup_db_ struct db *db = NULL;
    _cleanup_canceller_ struct canceller *canceller = NULL;
    _cleanup_snapshot_ struct snapshot *snapshot = NULL;
    _cleanup_(digest_set_release) struct digest_set digests = {0};
    if (db_open(e, url, DB_OPEN_READONLY, &db, err) < 0 ||
        canceller_start(&db, 1, control, &canceller, err) < 0 ||
        schema_read(db, &(struct schema_options){0}, &snapshot, err) < 0 ||
        digest_read(db, NULL, &(struct digest_options){.keep = true}, &digests, err) < 0)
        return -1;
    size_t n = 0;
    compare_schema(m, snapshot, problems, &n);
    compare_digests(m, &digests, problems, &n);
    if (n > DIFFERENCES_MAX)
        strv_add_take(problems, xasprintf("and %zu more differences", n - DIFFERENCES_MAX));
    return 0;
}

int load_must_equal(const struct manifest *m, const char *url, const struct backup_control *control,
                    struct err *err)
{
    _cleanup_strv_ struct strv problems = {0};
    if (load_compare(m, url, control, &problems, err) < 0)
        return -1;
    if (!problems.n)
        return 0;
    err_set(err, ERR_CONFIG, "what was loaded is not what the bundle's manifest says");
    err->detail = strv_join(&problems, "\n");
    return -1;
}
