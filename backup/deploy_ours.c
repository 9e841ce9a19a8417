/*
 * What a deploy did itself, as opposed to others who use the database meanwhile: the tables that its steps
 * wrote to, and the sessions they ran in. The journal has both, so that `belay recover` knows them too:
 *
 *     horizon   what transactions before this one wrote is in the bundle
 *     session   process id and start of the server's process, before its first step
 *     touched   after a step: tables, a line each; "?" when that is not known
 *
 * A step without "touched" was cut off: what it committed is not known.
 */
#include "backup/deploy_impl.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    PATIENCE_MS = 60000,
    PATIENCE_STEP_MS = 200,
    ENDING_MS = 30000,
    ENDING_STEP_MS = 50,
};

static void pause_ms(int ms)
{
    nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L}, NULL);
}

int deploy_ours_add(struct deploy *d, const struct step_touched *touched, struct err *err)
{
    if (!touched || !touched->known) {
        d->ours.known = false;
        return journal_note(d->journal, d->entry->id, "touched", "?", err);
    }
    for (size_t i = 0; i < touched->names.n; i++)
        if (!strv_has(&d->ours.names, touched->names.v[i]))
            strv_add(&d->ours.names, touched->names.v[i]);
    _cleanup_free_ char *names = strv_join(&touched->names, "\n");
    return journal_note(d->journal, d->entry->id, "touched", names, err);
}

int deploy_ours_horizon(struct deploy *d, struct err *err)
{
    _cleanup_db_ struct db *db = NULL;
    _cleanup_free_ char *number = NULL;
    if (d->o->engine != &engine_postgres)
        return 0;
    if (db_open(d->o->engine, d->url, DB_OPEN_READONLY, &db, err) < 0 ||
        db_query_text(db, "select txid_snapshot_xmin(txid_current_snapshot())", NULL, 0, &number,
                      err) < 0)
        return -1;
    d->horizon = strtoull(number, NULL, 10);
    return journal_note(d->journal, d->entry->id, "horizon", number, err);
}

int deploy_ours_session(struct deploy *d, struct migrator *m, struct err *err)
{
    const char *session = migrator_backend(m);
    if (!session || str_eq(session, d->session))
        return 0;
    free(d->session);
    d->session = xstrdup(session);
    return journal_note(d->journal, d->entry->id, "session", session, err);
}

static void add_names(struct strv *names, const char *lines)
{
    while (lines && *lines) {
        size_t n = strcspn(lines, "\n");
        _cleanup_free_ char *name = xstrndup(lines, n);
        if (!strv_has(names, name))
            strv_add(names, name);
        lines += n + (lines[n] == '\n');
    }
}

int deploy_ours_read(struct deploy *d, struct err *err)
{
    struct deploy_notes notes = {0};
    bool open = false; /* a step has begun and not ended */
    if (journal_notes(d->journal, d->entry->id, &notes, err) < 0)
        return -1;
    d->ours.known = true;
    for (size_t i = 0; i < notes.n; i++) {
        const struct deploy_note *n = &notes.v[i];
        if (str_eq(n->what, "upgrade") || str_eq(n->what, "downgrade")) {
            d->ours.known = d->ours.known && !open;
            open = true;
        } else if (str_eq(n->what, "horizon")) {
            d->horizon = strtoull(n->detail, NULL, 10);
        } else if (str_eq(n->what, "touched")) {
            open = false;
            if (str_eq(n->detail, "?"))
                d->ours.known = false;
            else
                add_names(&d->ours.names, n->detail);
        }
    }
    d->ours.known = d->ours.known && !open;
    deploy_notes_release(&notes);
    return 0;
}

/* *ret_gone: it does not run any more. */
static int end_session(struct db *db, const char *session, bool *ret_gone, struct err *err)
{
    /* one text: the process id is what stands before the first blank */
    static const char sql[] = "select pg_terminate_backend(pid) from pg_stat_activity"
                              " where pid = split_part($1, ' ', 1)::int"
                              "   and backend_start = substr($1, strpos($1, ' ') + 1)::timestamptz";
    _cleanup_free_ char *there = NULL;
    if (db_query_text(db, sql, &session, 1, &there, err) < 0)
        return err_prefix(err, "cannot end the session of the upgrade, server process %s", session);
    *ret_gone = !there;
    return 0;
}

int deploy_ours_end(struct deploy *d, struct err *err)
{
    struct db *db = deploy_lock_db(d->lock);
    struct deploy_notes notes = {0};
    int rc = 0;
    if (!db)
        return 0; /* SQLite: they ended with their processes */
    if (journal_notes(d->journal, d->entry->id, &notes, err) < 0)
        return -1;
    for (size_t i = 0; i < notes.n && rc == 0; i++) {
        bool gone = !str_eq(notes.v[i].what, "session");
        for (int waited = 0; !gone && rc == 0; waited += ENDING_STEP_MS) {
            rc = end_session(db, notes.v[i].detail, &gone, err);
            if (rc == 0 && !gone && waited >= ENDING_MS)
                rc = err_set(err, ERR_ENV, "the server does not end process %s, of the upgrade",
                             notes.v[i].detail);
            else if (rc == 0 && !gone)
                pause_ms(ENDING_STEP_MS);
        }
    }
    deploy_notes_release(&notes);
    return rc;
}

/* The lock of a session that is gone is taken anew. */
static int reach_once(struct deploy *d, bool *ret_held, struct err *err)
{
    _cleanup_err_ struct err lost = {0};
    _cleanup_free_ char *holder = NULL;
    if (d->lock && deploy_lock_confirm(d->lock, &lost) == 0)
        return 0;
    deploy_lock_free(TAKE_PTR(d->lock));
    int got = deploy_lock_take(d->o->engine, d->o->url, &d->lock, &holder, err);
    if (got != 0)
        return got < 0 ? -1 : 0;
    *ret_held =
        true; /* perhaps by the session that we lost, which the server still has to notice */
    return err_set(err, ERR_ENV,
                   "the lock of this deploy was lost with its session, and now %s has it", holder);
}

int deploy_reach(struct deploy *d, struct err *err)
{
    int patience = d->o->patience_ms ? d->o->patience_ms : PATIENCE_MS;
    for (int waited = 0;; waited += PATIENCE_STEP_MS) {
        bool held = false;
        err_release(err);
        if (reach_once(d, &held, err) == 0)
            return 0;
        if (waited >= patience)
            return -1;
        deploy_progress(d, "roll back", held ? "waiting for the lock" : "waiting for the server");
        pause_ms(PATIENCE_STEP_MS);
    }
}
