#include "backup/deploy_impl.h"

#include <stdlib.h>
#include <string.h>

#include "harness/base/proc.h"
#include "harness/engine/url.h"

int deploy_shell(struct deploy *d, const char *what, const char *command, const char *const *env,
                 int timeout_ms, struct err *err)
{
    /* a shell, because the user wrote shell; the URL goes where other users cannot read it */
    _cleanup_free_ char *url = xasprintf("DATABASE_URL=%s", d->url);
    const char *all[16] = {url};
    size_t n = 1;
    for (size_t i = 0; env && env[i] && n + 1 < ARRAY_LEN(all); i++)
        all[n++] = env[i];
    _cleanup_proc_result_ struct proc_result r = {0};
    const struct proc_options o = {
        .argv = (const char *[]){"/bin/sh", "-c", command, NULL},
        .env = all,
        .timeout_ms = timeout_ms,
        .late_is_result = true,
        .keep = 4096,
    };
    deploy_progress(d, what, command);
    if (proc_run(&o, &r, err) < 0)
        return err_prefix(err, "%s \"%s\"", what, command);
    if (r.status == 0)
        return 0;
    if (r.status == PROC_LATE)
        err_set(err, ERR_SOURCE, "%s \"%s\" did not end within %d s", what, command,
                timeout_ms / 1000);
    else
        err_set(err, ERR_SOURCE, "%s \"%s\" ended with %d", what, command, r.status);
    if (r.errors.len || r.output.len)
        err->trace = xasprintf("%s%s", str_get(&r.output), str_get(&r.errors));
    return -1;
}

static int check_revisions(struct deploy *d, struct err *err)
{
    _cleanup_revisions_ struct revisions now = {0}, left = {0};
    _cleanup_strv_ struct strv unknown = {0};
    if (deploy_current(d, &now, &unknown, NULL, err) < 0)
        return -1;
    graph_upgrade_path(source_graph(d->o->source), &now, &d->targets, &left);
    if (left.n)
        return err_set(err, ERR_SOURCE, "after the upgrade %s is not applied", left.v[0]->id);
    return 0;
}

static int check_schema(struct deploy *d, struct err *err)
{
    _cleanup_strv_ struct strv differences = {0};
    if (!d->o->expect)
        return 0;
    deploy_progress(d, "check", "schema");
    if (d->o->expect(d->o->data, d->url, &d->current, &d->list, &differences, err) < 0)
        return err_prefix(err, "comparing with a scratch database");
    if (!differences.n)
        return 0;
    err_set(err, ERR_SOURCE,
            "the schema is not the one that the same revisions give on a scratch database");
    err->trace = strv_join(&differences, "\n");
    return -1;
}

static const char invalid_postgres_sql[] =
    "select 'index ' || i.indexrelid::regclass || ' is invalid' from pg_index i"
    " where not i.indisvalid"
    "   and not exists (select from pg_class c where c.oid = i.indexrelid and c.relkind = 'I')"
    " union all "
    "select 'constraint ' || quote_ident(conname) || ' of ' || conrelid::regclass"
    "   || ' is not validated'"
    " from pg_constraint where not convalidated and conrelid <> 0 order by 1";
static const char invalid_sqlite_sql[] =
    "select 'row ' || coalesce(rowid, '?') || ' of ' || \"table\" || ' refers to a row of '"
    "   || parent || ' that is not there' from pragma_foreign_key_check"
    " union all "
    "select integrity_check from pragma_integrity_check where integrity_check <> 'ok'";

/* Only what the upgrade brought counts: a production database may have had such things before. */
static int check_valid(struct deploy *d, struct db *db, struct err *err)
{
    _cleanup_rows_ struct rows *r = NULL;
    bool postgres = d->o->engine == &engine_postgres;
    deploy_progress(d, "check", "constraints");
    if (db_query(db, postgres ? invalid_postgres_sql : invalid_sqlite_sql, NULL, 0, &r, err) < 0)
        return -1;
    for (int i = 0; i < rows_count(r); i++)
        if (!strv_has(&d->invalid_before, rows_get(r, i, 0)))
            return err_set(err, ERR_SOURCE, "after the upgrade %s", rows_get(r, i, 0));
    return 0;
}

int deploy_invalid_before(struct deploy *d, struct err *err)
{
    _cleanup_db_ struct db *db = NULL;
    _cleanup_rows_ struct rows *r = NULL;
    bool postgres = d->o->engine == &engine_postgres;
    if (db_open(d->o->engine, d->url, DB_OPEN_READONLY, &db, err) < 0 ||
        db_query(db, postgres ? invalid_postgres_sql : invalid_sqlite_sql, NULL, 0, &r, err) < 0)
        return -1;
    for (int i = 0; i < rows_count(r); i++)
        strv_add(&d->invalid_before, rows_get(r, i, 0));
    return 0;
}

static int check_assertion(struct deploy *d, struct db *db, const struct deploy_assertion *a,
                           struct err *err)
{
    _cleanup_rows_ struct rows *r = NULL;
    const char *name = a->name ? a->name : a->sql;
    deploy_progress(d, "check", name);
    if (db_query(db, a->sql, NULL, 0, &r, err) < 0)
        return err_prefix(err, "assertion \"%s\"", name);
    if (!rows_count(r))
        return err_set(err, ERR_SOURCE, "assertion \"%s\": no row%s%s", name,
                       a->expect ? ", expected " : "", a->expect ? a->expect : "");
    const char *got = rows_get(r, 0, 0);
    if (a->expect && !str_eq(got, a->expect))
        return err_set(err, ERR_SOURCE, "assertion \"%s\": %s, expected %s", name,
                       got ? got : "NULL", a->expect);
    return 0;
}

static int check_all(struct deploy *d, struct err *err)
{
    _cleanup_db_ struct db *db = NULL;
    if (check_revisions(d, err) < 0 ||
        db_open(d->o->engine, d->url, DB_OPEN_READONLY, &db, err) < 0 ||
        check_valid(d, db, err) < 0 || check_schema(d, err) < 0)
        return -1;
    for (size_t i = 0; i < d->o->nafter; i++)
        if (check_assertion(d, db, &d->o->after[i], err) < 0)
            return -1;
    db_close(TAKE_PTR(db)); /* a probe may need the last connection, or want to write */
    /* and what it probes must get in */
    if (d->o->probes && d->o->probes[0] && deploy_fence_lift(d, err) < 0)
        return -1;
    for (size_t i = 0; d->o->probes && d->o->probes[i]; i++)
        if (deploy_shell(d, "probe", d->o->probes[i], NULL, d->o->probe_timeout_ms, err) < 0)
            return -1;
    return 0;
}

int deploy_check(struct deploy *d, struct err *ret_failure)
{
    return check_all(d, ret_failure) < 0 ? 1 : 0;
}
