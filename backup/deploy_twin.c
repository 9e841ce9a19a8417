/*
 * The twin: a copy of the database on its own server, made before the upgrade, to swap back by rename. It is in
 * the journal before it is made, so that whoever finishes the deploy can drop it.
 */
#include "backup/deploy_impl.h"

#include <libpq-fe.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "backup/postgres_restore.h"
#include "harness/engine/pgdatabase.h"
#include "harness/engine/url.h"

static int copy(struct db *db, const char *name, const char *twin, struct err *err)
{
    _cleanup_strv_ struct strv statements = {0};
    _cleanup_free_ char *a = db_quote_ident(db, twin), *b = db_quote_ident(db, name);
    _cleanup_free_ char *sql = xasprintf("create database %s template %s", a, b);
    if (db_run(db, sql, DB_RUN_WHOLE, NULL, err) < 0) {
        if (strcmp(err->sqlstate, "55006") == 0) {
            err->code = ERR_ENV;
            err_hint(
                err,
                "a twin can be made while no session is on the database: stop what connects, or "
                "deploy without --twin");
        }
        return -1;
    }
    if (pg_database_statements(db, name, twin, &statements, err) < 0)
        return -1;
    for (size_t i = 0; i < statements.n; i++)
        if (db_run(db, statements.v[i], DB_RUN_WHOLE, NULL, err) < 0)
            return -1;
    return 0;
}

int deploy_twin_make(struct deploy *d, struct err *err)
{
    if (!d->o->twin)
        return 0;
    if (d->o->engine != &engine_postgres)
        return err_set(err, ERR_USAGE, "--twin is for PostgreSQL");
    deploy_progress(d, "twin", NULL);
    _cleanup_free_ char *twin = deploy_second_name(d, "twin");
    if (journal_note(d->journal, d->entry->id, "twin", twin, err) < 0 ||
        copy(deploy_lock_db(d->lock), d->fenced ? d->fenced : deploy_lock_name(d->lock), twin,
             err) < 0)
        return err_prefix(err, "the twin");
    d->entry->twin = TAKE_PTR(twin);
    return 0;
}

int deploy_twin_swap(struct deploy *d, struct err *err)
{
    _cleanup_free_ char *nobody = NULL; /* had the name */
    char *url = deploy_maintenance_url(d, err);
    if (!url)
        return -1;
    int rc = pg_swap(url, deploy_lock_name(d->lock), d->entry->twin, NULL, &nobody, err);
    explicit_bzero(url, strlen(url));
    free(url);
    return rc;
}

void deploy_twin_drop(struct deploy *d)
{
    struct deploy_notes notes = {0};
    _cleanup_err_ struct err err = {0};
    struct db *db = d->lock ? deploy_lock_db(d->lock) : NULL;
    if (!db || journal_notes(d->journal, d->entry->id, &notes, &err) < 0)
        return;
    for (size_t i = 0; i < notes.n; i++) {
        if (!str_eq(notes.v[i].what, "twin"))
            continue;
        _cleanup_free_ char *name = db_quote_ident(db, notes.v[i].detail);
        _cleanup_free_ char *sql = xasprintf("drop database if exists %s", name);
        if (db_run(db, sql, DB_RUN_WHOLE, NULL, &err) < 0)
            deploy_say(d, "the twin %s is still there: %s", notes.v[i].detail, err.message);
        err_release(&err);
    }
    deploy_notes_release(&notes);
}
