/*
 * What a deploy did itself, as opposed to others who use the database meanwhile: the tables that its steps
 * wrote to, and the sessions they ran in. The journal has both, so that `belay recover` knows them too:
 *
 *     horizon   what transactions before this one wrote is in the bundle
 *     session   process id and start of the server's process, before its first step
 *     transaction  number of the one that a step works in, before it does
 *     alone     after the steps: nobody else had committed anything
 *     touched   after a step: tables, a line each; "?" when that is not known
 *
 * A step without "touched" was cut off: what it committed is not known, unless the server knows that its
 * transaction was rolled back.
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

/*
 * SQLite tells a session whether another one has changed the file (PRAGMA data_version), and never who. One session of the
 * deploy's watches from before the bundle on and never writes; what it sees is the deploy's own doing only while the
 * migrator writes, and that one's session sees whether somebody else did meanwhile. The watches overlap:
 *
 *     observer   |---------------------|            |------------------------
 *     migrator                      |------ steps ------|
 */
static char *observed(const struct deploy *d)
{
    _cleanup_err_ struct err ignored = {0}; /* then it is not known */
    char *version = NULL;
    return d->observer && db_query_text(d->observer, "pragma data_version", NULL, 0, &version,
                                        &ignored) == 0
               ? version
               : NULL;
}

static int observe(struct deploy *d, struct err *err)
{
    if (db_open(d->o->engine, d->url, DB_OPEN_DEFAULT, &d->observer, err) < 0)
        return -1;
    d->seen = observed(d);
    return 0;
}

bool deploy_ours_alone(struct deploy *d)
{
    _cleanup_free_ char *now = observed(d);
    if (!now || !str_eq(now, d->seen))
        free(TAKE_PTR(d->seen));
    return d->seen != NULL;
}

void deploy_ours_expect(struct deploy *d)
{
    if (!d->seen)
        return;
    free(d->seen);
    d->seen = observed(d);
}

/* At a moment between two looks of the migrator's session. */
static void look(void *data)
{
    struct deploy *d = data;
    free(d->seen_meanwhile);
    d->seen_meanwhile = observed(d);
}

void deploy_ours_begin(struct deploy *d, struct migrator *m)
{
    if (!d->observer)
        return;
    free(TAKE_PTR(d->seen_meanwhile));
    migrator_guard(m, look, d);
    if (d->untracked) /* it has made the version table */
        deploy_ours_expect(d);
    else
        deploy_ours_alone(d);
}

void deploy_ours_done(struct deploy *d, struct migrator *m)
{
    if (!d->observer)
        return;
    bool alone = migrator_alone(m);
    bool before = d->seen != NULL;
    free(d->seen);
    d->seen = TAKE_PTR(d->seen_meanwhile);
    if (!alone || !before)
        free(TAKE_PTR(d->seen));
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
    if (d->o->engine == &engine_sqlite)
        return observe(d, err);
    if (db_open(d->o->engine, d->url, DB_OPEN_READONLY, &db, err) < 0 ||
        db_query_text(db, "select txid_snapshot_xmin(txid_current_snapshot())", NULL, 0, &number,
                      err) < 0)
        return -1;
    d->horizon = strtoull(number, NULL, 10);
    return journal_note(d->journal, d->entry->id, "horizon", number, err);
}

int deploy_ours_transaction(void *data, const char *number, struct err *err)
{
    struct deploy *d = data;
    strv_add(&d->transactions, number);
    return journal_note(d->journal, d->entry->id, "transaction", number, err);
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

static int was_rolled_back(struct deploy *d, const char *number, bool *ret, struct err *err)
{
    _cleanup_free_ char *status = NULL;
    if (db_query_text(deploy_lock_db(d->lock), "select txid_status($1::bigint)", &number, 1,
                      &status, err) < 0)
        return -1;
    *ret = str_eq(status, "aborted");
    return 0;
}

int deploy_ours_read(struct deploy *d, struct err *err)
{
    struct deploy_notes notes = {0};
    bool open = false; /* a step has begun and not ended */
    bool known = true, back = false;
    const char *begun = NULL; /* the transaction that it began in */
    if (journal_notes(d->journal, d->entry->id, &notes, err) < 0)
        return -1;
    for (size_t i = 0; i < notes.n; i++) {
        const struct deploy_note *n = &notes.v[i];
        if (str_eq(n->what, "upgrade") || str_eq(n->what, "downgrade")) {
            known = known && !open;
            open = true;
            begun = NULL;
            d->alone = false;
        } else if (str_eq(n->what, "alone")) {
            d->alone = true;
        } else if (str_eq(n->what, "horizon")) {
            d->horizon = strtoull(n->detail, NULL, 10);
        } else if (str_eq(n->what, "transaction")) {
            strv_add(&d->transactions, n->detail);
            begun = n->detail;
        } else if (str_eq(n->what, "touched")) {
            open = false;
            if (str_eq(n->detail, "?"))
                known = false;
            else
                add_names(&d->ours.names, n->detail);
        }
    }
    /* its session has ended */
    int rc = open && begun ? was_rolled_back(d, begun, &back, err) : 0;
    d->ours.known = known && (!open || back);
    deploy_notes_release(&notes);
    return rc;
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
