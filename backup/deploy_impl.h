/*
 * Between deploy.c and its parts; for backup/deploy*.c only.
 */
#ifndef BELAY_DEPLOY_IMPL_H
#define BELAY_DEPLOY_IMPL_H

#include "backup/bundle.h"
#include "backup/deploy.h"
#include "backup/deploy_lock.h"

struct deploy {
    const struct deploy_options *o;
    struct deploy_result *result;
    struct deploy_entry *entry; /* the result's */
    char *url; /* where the database is now: the options' URL but for its name while it is fenced */
    char *fenced; /* its name then; NULL: no fence */
    bool sealed;  /* the fence has stood since before the bundle: nobody else can have written */
    struct journal *journal;
    struct deploy_lock *lock;
    struct bundle_reader *bundle; /* once there is one: its manifest is the old state */
    struct revisions current;     /* before the upgrade, complete */
    bool begun;                   /* the hook before has been called */
    uint64_t bytes;               /* of the database, once the preflight has looked */
    bool untracked;               /* before the upgrade there was no version table */
    struct revisions targets, list;
    struct step_touched ours; /* what the steps of this deploy committed to */
    uint64_t horizon;         /* PostgreSQL: transactions before it are in the bundle; 0: unknown */
    bool alone; /* PostgreSQL: nobody else had committed anything when the last step ended */
    struct db *observer;  /* SQLite: looks at the file since before the bundle */
    char *seen;           /* what it said last; NULL: others have written, or nobody knows */
    char *seen_meanwhile; /* while the migrator was watching as well */
    struct strv
        transactions; /* PostgreSQL: of the deploy's own since then, as far as they are known */
    bool refused;     /* it was said why nothing goes back to the rows of a copy */
    char *session;    /* the migrator's, as noted in the journal; or NULL */
    struct strv invalid_before; /* constraints and indexes, as check_valid() words them */
};

const struct manifest *deploy_old(const struct deploy *d);

/* A sentence for people about what was done. */
void deploy_say(struct deploy *d, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void deploy_progress(const struct deploy *d, const char *phase, const char *what);

void deploy_release(struct deploy *d);

/* ---- deploy_plan.c: where to, and what stands in the way ---- */

/* Fills current, targets and list, and from and to of the entry. */
int deploy_make_plan(struct deploy *d, struct err *err);
/* ERR_SOURCE: the database or the project does not fit; trace: differences of the schema, a line each. */
int deploy_preflight(struct deploy *d, struct err *err);

/* ---- deploy_state.c: what a database is at ---- */

/* What is different from the old state, a line each. */
struct deploy_differences {
    struct strv wrong;  /* schema, revisions, version tables, sequences that went back */
    struct strv ours;   /* rows of tables that the deploy's own steps wrote to, or may have */
    struct strv others; /* rows of other tables: somebody else's doing */
    struct strv moved;  /* sequences that went on, which PostgreSQL never takes back */
};
void deploy_differences_release(struct deploy_differences *l);
/* Nothing wrong and no rows of ours: the old state again. */
bool deploy_is_old(const struct deploy_differences *l);
/* Drops version tables that were not there before and hold nothing: opening a migrator made them. */
int deploy_drop_version_tables(const struct deploy *d, struct err *err);
/* everything: also of tables that the deploy did not write to, so that others is filled in. Otherwise rows are read
 * only where the schema and the revisions are the old ones. */
int deploy_compare_old(const struct deploy *d, bool everything, struct deploy_differences *ret,
                       struct err *err);
bool deploy_is_version_table(const struct deploy *d, const char *name);
/* What is applied now; in a session that is closed again. *ret_tracked (may be NULL): there is a version
 * table; without one nothing is applied. */
int deploy_current(const struct deploy *d, struct revisions *ret, struct strv *ret_unknown,
                   bool *ret_tracked, struct err *err);

/* ---- deploy_steps.c: revisions, under a deadline ---- */

/* Runs the list until its end or the first failure, which goes to *ret_failure (with code ERR_NONE when all went well).
 * Every step is noted in the journal before and after. -1: the journal cannot be written. */
int deploy_steps(struct deploy *d, const struct revisions *list, enum step_direction direction,
                 struct err *ret_failure, struct err *err);

/* ---- deploy_ours.c: what the deploy did itself ---- */

/* Adds what a step committed to; NULL: nothing is known about it. */
int deploy_ours_add(struct deploy *d, const struct step_touched *touched, struct err *err);
/* Before the bundle is taken: what is written from now on may not be in it. */
int deploy_ours_horizon(struct deploy *d, struct err *err);
/* For migrator_on_transaction(): data is the deploy. */
int deploy_ours_transaction(void *data, const char *number, struct err *err);
/* The session that the next step runs in, noted before. */
int deploy_ours_session(struct deploy *d, struct migrator *m, struct err *err);
/* What a deploy that was cut off has noted, once its sessions have ended. */
int deploy_ours_read(struct deploy *d, struct err *err);
/* Ends the sessions of its steps, wherever they still run: a statement goes on when its belay is gone, and would
 * commit later. */
int deploy_ours_end(struct deploy *d, struct err *err);
/* SQLite: around what the deploy itself writes through m, which is open already. */
void deploy_ours_begin(struct deploy *d, struct migrator *m);
void deploy_ours_done(struct deploy *d, struct migrator *m);
/* SQLite: what has changed since the last look was the deploy's own doing: where there was no version table before. */
void deploy_ours_expect(struct deploy *d);
/* SQLite: whether nobody else has written to the file since deploy_ours_horizon(); false when that is not known. */
bool deploy_ours_alone(struct deploy *d);
/* Waits, with patience, for a server that is away, and has the lock again. */
int deploy_reach(struct deploy *d, struct err *err);

/* ---- deploy_lost.c: what others committed since the bundle was taken ---- */

struct deploy_lost {
    struct strv others;    /* for people, a line each: certainly of others */
    struct strv undecided; /* where the deploy's own writes may hide those of others */
    struct strv tables;    /* to be compared row by row; with those that only one side has */
    struct digest_set now; /* what the failed database holds */
};
void deploy_lost_release(struct deploy_lost *l);
bool deploy_lost_any(const struct deploy_lost *l);
/* Whenever steps have run: remembers whether nobody else had committed anything yet. */
void deploy_lost_after_steps(struct deploy *d);
/* failed: a session on the database that is to be given up. */
int deploy_find_lost(struct deploy *d, struct db *failed, struct deploy_lost *ret, struct err *err);

/* ---- deploy_export.c: the same, row by row ---- */

/*
 * Writes SQL that brings the rows of others into the old state, to files in BUNDLE.lost; docs/deploy.md says how they
 * look. old: a session on a database in the old state, which nobody else uses.
 */
int deploy_export(struct deploy *d, const struct deploy_lost *lost, struct db *old,
                  struct db *failed, struct err *err);

/* ---- deploy_fence.c: nobody but the deploy is on the database ---- */

/* Ends all sessions on it. Nothing when it stands. ERR_USAGE on SQLite. After another failure it may stand: it is to be
 * lifted. */
int deploy_fence_raise(struct deploy *d, struct err *err);
/* Before the journal says that the deploy has ended; no session of the deploy's own may be in use on the database. */
int deploy_fence_lift(struct deploy *d, struct err *err);
/* Notes that the fenced database is to stay where it is, as evidence: before another one takes its place. */
int deploy_fence_leave(struct deploy *d, struct err *err);
/* Another one has taken its place. */
void deploy_fence_replaced(struct deploy *d);
/* Finds the database of a deploy that was cut off, under whichever name it left it. */
int deploy_fence_adopt(struct deploy *d, struct err *err);
void deploy_url_release(struct deploy *d);

/* The database's name with "_what_ID_TIME" after it, no longer than a name may be. Caller owns it. */
char *deploy_second_name(const struct deploy *d, const char *what);
/* The URL of another database of the server, and of the one that holds the lock; the caller owns it. */
char *deploy_url_of(const struct deploy *d, const char *name, struct err *err);
char *deploy_maintenance_url(const struct deploy *d, struct err *err);

/* ---- deploy_twin.c ---- */

/* Nothing when it was not asked for. ERR_ENV when others use the database. */
int deploy_twin_make(struct deploy *d, struct err *err);
/* In the place of the database, which is fenced off. */
int deploy_twin_swap(struct deploy *d, struct err *err);
/* When it is not needed any more; also one that was being made. A failure is a word. */
void deploy_twin_drop(struct deploy *d);

/* ---- deploy_check.c: is the new state complete? ---- */

/* 0: every check passed; 1: one did not, *ret_failure says which; never -1: a check that could not be done did not pass. */
int deploy_check(struct deploy *d, struct err *ret_failure);
/* Notes what is invalid already. */
int deploy_invalid_before(struct deploy *d, struct err *err);
/* Runs a shell command of the user's with DATABASE_URL and what is in env set. */
int deploy_shell(struct deploy *d, const char *what, const char *command, const char *const *env,
                 int timeout_ms, struct err *err);

/* ---- deploy_ladder.c ---- */

/* From ROLLING_BACK to RESTORED or STUCK. */
int deploy_ladder(struct deploy *d, struct err *err);

#endif
