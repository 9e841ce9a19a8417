/*
 * The check: every revision up, down and up again on scratch databases, the descent, and the
 * straight run, compared at every stop.
 *
 *     struct check_options o = {.source = s, .engine = e, .pool = pool, ...};
 *     struct check_result r = {0};
 *     roundtrip_check(&o, &r, err);
 *
 * Returns 0 when the check came to a verdict (findings or none), -1 when the environment failed:
 * then r holds what was seen so far and the error says why it stopped.
 */
#ifndef BELAY_ROUNDTRIP_H
#define BELAY_ROUNDTRIP_H

#include <signal.h>
#include <stdint.h>

#include "harness/engine/scratch.h"
#include "harness/source/source.h"
#include "runner/result.h"

/* From belay.yaml. Reason is mandatory; expires is "YYYY-MM-DD" or NULL; the place is for findings
 * about the waiver itself. */
struct waiver {
    char *finding;  /* finding id */
    char *revision; /* id or unique prefix; NULL: any revision */
    char *object;   /* "kind identity" with * and ?, as findings print it; NULL: any */
    char *reason;
    char *expires;
    char *file; /* where the waiver is written */
    int line;
};

/* An object left out of every comparison. */
struct ignore {
    char *object; /* as struct waiver.object; mandatory */
    char *reason;
    char *expires;
    char *file;
    int line;
};

struct config_rows; /* config.h */

struct check_options {
    const struct source *source;
    const struct engine *engine;
    struct scratch_pool *pool;
    const char *project;      /* the folder as the user named it */
    const char *baseline;     /* SQL file that runs first, or NULL */
    bool keep_scratch;        /* leave the database of the climb to the pool, and say where */
    int two_threads;          /* 1: for any history, -1: never, 0: when it is long enough to pay */
    bool quick;               /* the climb only: every revision up, nothing down */
    const char *since;        /* check only revisions that REV does not contain */
    int latest;               /* check only the last N revisions; 0: all */
    const char *min_revision; /* never downgrade below REV */
    const struct strv
        *only_files; /* --git-base: check only revisions written in these files; or NULL */
    const struct waiver *waivers;
    size_t nwaivers;
    const struct ignore *ignores;
    size_t nignores;
    int rows;                        /* generated rows a table; 0: migrations run on empty tables */
    uint64_t seed;                   /* of their values */
    const struct config_rows *given; /* rows of the user's own */
    size_t ngiven;
    bool rehearsal;    /* of the pending revisions: what a waiver is for may not come up */
    const char *today; /* "YYYY-MM-DD", for expiry */
    struct progress progress;
    const volatile sig_atomic_t *stop; /* set by a signal handler: stop cleanly; or NULL */
};

int roundtrip_check(const struct check_options *o, struct check_result *ret, struct err *err);

#endif
