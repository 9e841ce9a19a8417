/*
 * Where a deploy would go, and what stands in its way: reads only.
 */
#include "backup/deploy_impl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "harness/base/file.h"
#include "harness/engine/pgprogram.h"
#include "harness/engine/url.h"

/*
 * For estimates, per second: what two ordinary cores do. A bundle is not often larger than a third of the tables
 * and indexes.
 */
enum { BUNDLE_RATE = 200 << 20, RESTORE_RATE = 80 << 20, BUNDLE_PART = 3 };

static char *revision_names(const struct revisions *l)
{
    _cleanup_strv_ struct strv ids = {0};
    for (size_t i = 0; i < l->n; i++)
        strv_add(&ids, l->v[i]->id);
    return strv_join(&ids, ",");
}

/* ---- where to ---- */

static bool is_new_file(const struct deploy_options *o)
{
    _cleanup_free_ char *path = NULL;
    _cleanup_err_ struct err ignored = {0}; /* opening it tells the same */
    return o->engine == &engine_sqlite && url_sqlite_path(o->url, &path, &ignored) == 0 &&
           access(path, F_OK) < 0 && errno == ENOENT;
}

int deploy_make_plan(struct deploy *d, struct err *err)
{
    const struct graph *g = source_graph(d->o->source);
    _cleanup_strv_ struct strv unknown = {0};
    _cleanup_revisions_ struct revisions last = {0};
    bool tracked = false;
    if (is_new_file(d->o))
        d->current.complete = true;
    else if (deploy_current(d, &d->current, &unknown, &tracked, err) < 0)
        return -1;
    d->untracked = !tracked;
    if (unknown.n) {
        _cleanup_free_ char *names = strv_join(&unknown, ", ");
        err_set(err, ERR_SOURCE, "the database is at %s, which the project does not have", names);
        return err_hint(err,
                        "deploy from a checkout that has it; \"belay stamp --detect\" finds the "
                        "revision that the schema is at");
    }
    const char *to = d->o->to ? d->o->to : "head";
    if (graph_resolve(g, to, &d->current, &d->targets, err) < 0) {
        _cleanup_revisions_ struct revisions heads = {0};
        graph_heads(g, &heads);
        if (heads.n > 1 &&
            str_eq(to, "head")) /* not what was asked for is wrong, but the project */
            err->code = ERR_SOURCE;
        return -1;
    }
    graph_upgrade_path(g, &d->current, &d->targets, &d->list);
    graph_last(g, &d->current, &last);
    free(d->entry->from);
    free(d->entry->to);
    d->entry->from = revision_names(&last);
    d->entry->to = revision_names(&d->targets);
    return 0;
}

/* ---- room ---- */

/* Bytes of the database as it lies on the server's disk. */
static int database_bytes(const struct deploy *d, struct db *db, uint64_t *ret, struct err *err)
{
    bool postgres = d->o->engine == &engine_postgres;
    _cleanup_free_ char *text = NULL;
    if (db_query_text(
            db,
            postgres ? "select pg_database_size(current_database())::text"
                     : "select page_count * page_size from pragma_page_count, pragma_page_size",
            NULL, 0, &text, err) < 0)
        return -1;
    *ret = text ? strtoull(text, NULL, 10) : 0;
    return 0;
}

/* The bundle, and on SQLite the failed database that a restore keeps and the journal of SQLite's own. */
static int check_room(const struct deploy *d, uint64_t bytes, struct err *err)
{
    _cleanup_free_ char *path = NULL, *dir = NULL;
    const char *bundles = dir_exists(d->o->dir) ? d->o->dir : ".";
    if (dir_room(bundles, bytes / BUNDLE_PART, err) < 0)
        return err_prefix(err, "no room for the bundle");
    if (d->o->engine != &engine_sqlite)
        return 0;
    if (url_sqlite_path(d->url, &path, err) < 0)
        return -1;
    dir = path_dir(path);
    if (access(dir, W_OK) < 0) {
        err_errno(err, "cannot write in %s", dir);
        return err_hint(err, "SQLite needs to, and so does a restore");
    }
    return dir_room(dir, bytes, err) < 0 ? err_prefix(err, "no room to go back") : 0;
}

/* ---- PostgreSQL: what would keep a bundle from being restored and swapped in ---- */

static const struct {
    const char *sql; /* one text when there is something in the way, else none */
    const char *message, *hint;
} obstacles[] = {
    {"select string_agg(quote_literal(gid), ', ' order by gid) from pg_prepared_xacts"
     " where database = current_database()",
     "there are prepared transactions (%s), which hold locks and keep the database from being "
     "swapped",
     "end them with COMMIT PREPARED or ROLLBACK PREPARED"},
    {"select string_agg(slot_name::text, ', ' order by slot_name) from pg_replication_slots"
     " where active and database = current_database()",
     "active replication slots (%s) hold on to the database: a bundle cannot be swapped in under "
     "them",
     "stop what reads from them for the time of the deploy"},
    {"select current_user from pg_roles r, pg_database d where r.rolname = current_user"
     " and d.datname = current_database() and not r.rolsuper"
     " and not (r.rolcreatedb and pg_has_role(d.datdba, 'usage'))",
     "the role %s could not restore: it may not create databases, or does not own this one",
     "grant it with \"ALTER ROLE ... CREATEDB\" and \"ALTER DATABASE ... OWNER TO\", or deploy "
     "with "
     "another role"},
};

static int check_postgres(struct db *db, struct err *err)
{
    _cleanup_free_ char *program = NULL;
    for (size_t i = 0; i < ARRAY_LEN(obstacles); i++) {
        _cleanup_free_ char *found = NULL;
        if (db_query_text(db, obstacles[i].sql, NULL, 0, &found, err) < 0)
            return -1;
        if (!found)
            continue;
        char *message = strstr(obstacles[i].message, "%s") + 2;
        err_set(err, ERR_SOURCE, "%.*s%s%s", (int)(message - 2 - obstacles[i].message),
                obstacles[i].message, found, message);
        return err_hint(err, "%s", obstacles[i].hint);
    }
    /* one that is older than the server cannot read it */
    return pg_program_find("pg_dump", db_version(db) / 10000, &program, NULL, err);
}

/* ---- the schema ---- */

static int check_schema(struct deploy *d, struct err *err)
{
    _cleanup_strv_ struct strv differences = {0};
    const struct revisions nothing = {0};
    if (!d->o->expect)
        return 0;
    deploy_progress(d, "preflight", "schema");
    if (d->o->expect(d->o->data, d->url, &d->current, &nothing, &differences, err) < 0)
        return err_prefix(err, "comparing with a scratch database");
    if (!differences.n)
        return 0;
    if (d->untracked) {
        err_set(err, ERR_SOURCE, "the database is not empty, and has no version table");
        err_hint(err, "\"belay stamp --detect\" finds the revision that its schema is at");
    } else {
        err_set(err, ERR_SOURCE,
                "the schema is not the one that the applied revisions give on a scratch database");
        err_hint(err, "mend it, name what is not the project's under \"ignore:\" in belay.yaml, or "
                      "say --allow-drift");
    }
    err->trace = strv_join(&differences, "\n");
    return -1;
}

int deploy_preflight(struct deploy *d, struct err *err)
{
    _cleanup_db_ struct db *db = NULL;
    deploy_progress(d, "preflight", NULL);
    if (d->o->fence && d->o->engine != &engine_postgres)
        return deploy_fence_raise(d, err); /* which says why not */
    if (db_open(d->o->engine, d->url, DB_OPEN_READONLY, &db, err) < 0 ||
        database_bytes(d, db, &d->bytes, err) < 0 || check_room(d, d->bytes, err) < 0 ||
        (d->o->engine == &engine_postgres && check_postgres(db, err) < 0))
        return -1;
    db_close(TAKE_PTR(db));
    if (deploy_invalid_before(d, err) < 0)
        return -1;
    if (d->o->admit && d->o->admit(d->o->admit_data, &d->list, err) < 0)
        return -1;
    return check_schema(d, err);
}

/* ---- for people ---- */

/* What the lock does for a deploy. */
static int refuse_pool(const struct deploy_options *o, struct err *err)
{
    _cleanup_db_ struct db *db = NULL;
    if (o->engine != &engine_postgres)
        return 0;
    return db_open(o->engine, o->url, DB_OPEN_DEFAULT, &db, err) < 0 ? -1
                                                                     : deploy_refuse_pool(db, err);
}

int deploy_plan(const struct deploy_options *o, struct deploy_plan *ret, struct err *err)
{
    struct deploy_result result = {0};
    _cleanup_(deploy_release) struct deploy d = {
        .o = o, .result = &result, .entry = &result.entry, .url = xstrdup(o->url)};
    bool new = is_new_file(o);
    int rc = refuse_pool(o, err) < 0 ? -1 : deploy_make_plan(&d, err);
    if (rc == 0) {
        *ret = (struct deploy_plan){.from = TAKE_PTR(result.entry.from),
                                    .to = TAKE_PTR(result.entry.to)};
        for (size_t i = 0; i < d.list.n; i++)
            revisions_add(&ret->list, d.list.v[i]);
        if (d.list.n && !new)
            rc = deploy_preflight(&d, err);
        ret->bytes = d.bytes;
        ret->bundle_bytes = d.bytes / BUNDLE_PART;
        ret->bundle_seconds = (double)d.bytes / BUNDLE_RATE;
        ret->restore_seconds = (double)d.bytes / RESTORE_RATE;
    }
    deploy_result_release(&result);
    return rc;
}

void deploy_plan_release(struct deploy_plan *p)
{
    free(p->from);
    free(p->to);
    revisions_release(&p->list);
    *p = (struct deploy_plan){0};
}
