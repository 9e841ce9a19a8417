/*
 * The journal: the durable record of every deploy, from which `belay recover` finishes one that was
 * cut off. An SQLite database, journal.db, in the folder of the bundles.
 *
 * Invariants:
 *
 *     1. What is about to be done is written, and on the disk, before it is done.
 *     2. A deploy is in exactly one state, and moves only as drawn:
 *
 *            PREPARING ---> UPGRADING ---> CHECKING ---> DONE
 *                |              |              |
 *                |              +------+-------+
 *                v                     v
 *             ABORTED            ROLLING_BACK ---> RESTORED
 *                                      |
 *                                      +---------> STUCK ---> ROLLING_BACK | RESTORED
 *
 *        In PREPARING the database was only read. From UPGRADING on it is either proved to be one of the two
 *        ends, or not yet decided. STUCK is left by `belay recover` alone.
 *     3. One database has at most one deploy that is not at an end (ABORTED, DONE, RESTORED).
 *     4. A rung that is written is being tried or was cut off: trying it again must be harmless.
 *
 * If belay dies between two lines of the journal, what the earlier one announced may have happened wholly,
 * partly or not at all: whoever reads it must look at the database.
 *
 * Calling sequence:
 *
 *     journal_open(dir, &j, err);                     made when it is missing
 *     journal_begin(j, &deploy, err);                 PREPARING; fills deploy.id and started
 *     journal_note(j, deploy.id, "bundle", path, err);
 *     journal_move(j, &deploy, DEPLOY_UPGRADING, NULL, err);
 *     journal_note(j, deploy.id, "step", "0004", err);
 *     journal_move(j, &deploy, DEPLOY_DONE, "at 0007", err);
 *     journal_close(j);
 *
 * Nothing that is written holds a password: URLs are url_redact()ed by the caller.
 */
#ifndef BELAY_JOURNAL_H
#define BELAY_JOURNAL_H

#include <stdbool.h>
#include <stdint.h>

#include "harness/base/cleanup.h"
#include "harness/base/err.h"
#include "harness/base/str.h"

enum deploy_state {
    DEPLOY_PREPARING,
    DEPLOY_UPGRADING,
    DEPLOY_CHECKING,
    DEPLOY_ROLLING_BACK,
    DEPLOY_DONE,
    DEPLOY_RESTORED,
    DEPLOY_STUCK,
    DEPLOY_ABORTED,
};
const char *deploy_state_name(enum deploy_state s); /* "preparing", "rolling back", ... */
bool deploy_state_is_end(enum deploy_state s);

/* A deploy as the journal knows it. Strings are owned; NULL is unknown or none. */
struct deploy_entry {
    int64_t id;
    enum deploy_state state;
    char *database;  /* which one it is: URL without password; the key of invariant 3 */
    char *engine;    /* "sqlite", "postgres" */
    char *project;   /* folder of the migrations */
    char *from, *to; /* revisions, comma-separated; from empty: base */
    char *bundle;    /* path, once it is whole */
    char *twin;      /* name of the copy on the server */
    char *rung;      /* of the ladder, while rolling back and afterwards */
    char *evidence;  /* where the failed database was kept */
    char *message;   /* why it failed, or how it ended */
    char *host;      /* where the belay runs that does it */
    int64_t pid;
    char *process;            /* tells this process from a later one of the same pid */
    char *started, *finished; /* UTC, "2026-11-21T04:30:00Z"; finished NULL: not at an end */
};
void deploy_entry_release(struct deploy_entry *e);

struct deploy_note {
    char *at; /* UTC */
    char *what, *detail;
};

struct journal;

/* Whether the folder has one. */
bool journal_exists(const char *dir);
/* The folder must exist. A file that is no journal, or one of a newer belay, is ERR_CONFIG. */
int journal_open(const char *dir, struct journal **ret, struct err *err);
void journal_close(struct journal *j);
DEFINE_CLEANUP(struct journal *, journal_close);
#define _cleanup_journal_ _cleanup_(cleanup_journal_close)

/* Records e as PREPARING and owned by this process. Another one of the same database that is not at an end is
 * ERR_CONFIG with a hint. */
int journal_begin(struct journal *j, struct deploy_entry *e, struct err *err);
/* Writes the state, and bundle, twin, rung and evidence as they are in e now; message NULL keeps it. A move that
 * is not drawn above is a bug: it aborts. */
int journal_move(struct journal *j, struct deploy_entry *e, enum deploy_state to,
                 const char *message, struct err *err);
/* The deploy now belongs to this process (`belay recover`). */
int journal_adopt(struct journal *j, struct deploy_entry *e, struct err *err);
/* What happens within a state, for whoever recovers and for `belay status`. */
int journal_note(struct journal *j, int64_t id, const char *what, const char *detail,
                 struct err *err);

/* The deploy of this database that is not at an end; *ret_found false when there is none. */
int journal_unfinished(struct journal *j, const char *database, struct deploy_entry *ret,
                       bool *ret_found, struct err *err);
struct deploy_entries {
    struct deploy_entry *v;
    size_t n, cap;
};
/* Newest first; database NULL: of all. */
int journal_list(struct journal *j, const char *database, struct deploy_entries *ret,
                 struct err *err);
void deploy_entries_release(struct deploy_entries *l);
struct deploy_notes {
    struct deploy_note *v;
    size_t n, cap;
};
int journal_notes(struct journal *j, int64_t id, struct deploy_notes *ret, struct err *err);
void deploy_notes_release(struct deploy_notes *l);

/* Whether the process that owns e still runs, for display. One on another host (in another container) cannot be
 * asked: it counts as running, and *ret_known is false. What decides is the lock on the database. */
bool deploy_entry_alive(const struct deploy_entry *e, bool *ret_known);

#endif
