/*
 * A line: one scratch database on its way through the history, with the migrating session, the
 * reading session and the tracker that belong to it.
 *
 *     struct line *l;
 *     line_new(&env, &l, err);                      empty, or as the baseline leaves it
 *     line_step(l, revision, STEP_UP, &result, err);
 *     line_read(l, false, &snapshot, err);
 *     line_copy(l, NULL, &copy, err);               closes l's sessions; they open again when needed
 *     line_free(l);                                 drops the database
 */
#ifndef BELAY_LINE_H
#define BELAY_LINE_H

#include <signal.h>

#include "harness/engine/scratch.h"
#include "harness/observe/observer.h"
#include "harness/schema/schema.h"
#include "harness/source/source.h"

struct line_env {
    const struct source *source;
    const struct engine *engine;
    struct scratch_pool *pool;
    const char *baseline; /* path of an SQL file that runs first, or NULL */
    struct schema_options schema;
    bool full_reads; /* read the whole schema every time */
    bool watch;      /* steps say which tables they touched */
    /* Called on every snapshot that was read; may replace *s by one with fewer objects. */
    int (*filter)(void *data, struct snapshot **s, struct err *err);
    void *data;
    const volatile sig_atomic_t *stop;
    size_t steps; /* counted by line_step() */
};

struct line;

int line_new(struct line_env *env, struct line **ret, struct err *err);
/* On a database that is there already; takes the scratch over, also on failure. */
int line_adopt(struct line_env *env, struct scratch *scratch, struct line **ret, struct err *err);
/* env: of the copy; NULL: the same as from's. */
int line_copy(struct line *from, struct line_env *env, struct line **ret, struct err *err);
/* True when the error speaks of the server, the disk or a signal, not of the revision that ran. */
bool line_is_environment(const struct err *e);
/*
 * Like migrator_step(), with two differences: a session that the revision itself killed is a
 * STEP_FAILED when the server still answers, and a lack of resources (disk, memory, connections) is
 * a failure of the environment, not of the revision.
 */
int line_step(struct line *l, const struct revision *r, enum step_direction direction,
              struct step_result *ret, struct err *err);
/* From now on its steps tell the observer, of which line_watched_step() takes the measures. The observer must live
 * until the line's sessions are closed. NULL: no more. */
void line_observe(struct line *l, struct observer *o);
/* line_step() with the observer watching. */
int line_watched_step(struct line *l, const struct revision *r, enum step_direction direction,
                      struct step_result *ret, struct measures *ret_measures, struct err *err);
/* Like migrator_straight(), with the same two differences. */
int line_straight(struct line *l, const struct revisions *list, size_t *ret_done,
                  struct step_result *ret, struct err *err);
/* Closes the sessions, so that nothing of them is left; the next call opens new ones. */
void line_close_sessions(struct line *l);
/* Like migrator_drift(). */
int line_drift(struct line *l, struct strv *ret, struct err *err);
int line_read(struct line *l, bool full, struct snapshot **ret, struct err *err);
/* Whether reading only what changed has missed nothing: a full read gives the same. */
int line_proved(struct line *l, bool *ret, struct err *err);
/* A session to read and write rows with, between steps. It is the line's, until its sessions are
 * closed. */
int line_rows(struct line *l, struct db **ret, struct err *err);
/* Drops cluster-wide objects that the history made (PostgreSQL roles named in the list). Only on a
 * private server, when no other line is alive. */
int line_drop_roles(struct line_env *env, const struct strv *roles, struct err *err);
/* Leaves the database to the pool (--keep-scratch) without a trace of the tracker; the URL is owned
 * by the caller. */
int line_keep(struct line *l, char **ret_url, struct err *err);
void line_free(struct line *l);
DEFINE_CLEANUP(struct line *, line_free);
#define _cleanup_line_ _cleanup_(cleanup_line_free)

#endif
