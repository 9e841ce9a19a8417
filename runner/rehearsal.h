/*
 * The rehearsal: the pending revisions on a copy of production, measured.
 *
 *     up        each pending revision in order; schema and rows are read at each stop
 *     down      back to where the copy was; each stop must be what it was on the way up
 *     up again  once more; must give the same schema
 *
 *     struct rehearsal r = {0};
 *     rehearsal_run(&options, &r, err);
 *     rehearsal_release(&r);
 *
 * The copy is the caller's: a scratch database that holds what production held. rehearsal_run()
 * never sees production itself.
 *
 * What a rehearsal has in common with a check (project, revisions, findings) is in a struct
 * check_result, so that waivers and the reports of findings serve both. Beside it stands what was
 * measured. Both lists of revisions are the pending ones, in the order in which they run.
 */
#ifndef BELAY_REHEARSAL_H
#define BELAY_REHEARSAL_H

#include "harness/observe/measures.h"
#include "harness/observe/queries.h"
#include "runner/roundtrip.h"

/* One run of a revision. */
struct rehearsed_pass {
    bool ran; /* false: not reached, or there is nothing to run */
    bool worked;
    double seconds;
    struct measures measures; /* of the first upgrade and of the downgrade; else empty */
};

struct rehearsed {
    struct rehearsed_pass up, down, again;
    struct strv changes; /* of the schema by the upgrade, a line each, as diff_line_text() has it */
};

/* Where the copy came from; for people. Whoever makes the copy fills it. */
struct rehearsal_basis {
    char *from;        /* the bundle's path, or the URL without its password */
    char *kind;        /* "bundle", "database" */
    char *taken;       /* when, "2026-11-21 07:30:00Z" in UTC; or NULL */
    char *server;      /* what production runs on: "PostgreSQL 15.18"; or NULL */
    char *copy_server; /* what the copy runs on: "private PostgreSQL 15.18 on /dev/shm" */
    int64_t bytes;     /* of production, as far as known; MEASURE_UNKNOWN */
    int64_t rows;      /* the same */
    int64_t copy_bytes, copy_rows;
    int sample;         /* percent of the rows that the copy has; 100: all */
    double seconds;     /* that the copy took */
    struct strv read;   /* what was read of production, a sentence each */
    struct strv limits; /* what this copy cannot show, a sentence each */
};

/* 0: no such budget. */
struct rehearsal_budgets {
    double max_blocked, max_duration; /* seconds */
    int64_t max_growth;               /* bytes */
};

/* From when on something that was observed is a hazard. */
struct rehearsal_thresholds {
    double long_lock;  /* seconds that a lock may be held which others wait for */
    int64_t big_table; /* bytes from which on work on a whole table under such a lock counts */
};
#define REHEARSAL_LONG_LOCK 0.5
#define REHEARSAL_BIG_TABLE ((int64_t)64 << 20)

/* What was prepared at every stop on the way up. */
struct rehearsal_queries {
    size_t checked;
    size_t broken;         /* that some revision made refused */
    size_t utility;        /* left out: SET, BEGIN, ... */
    size_t unseen;         /* whose text pg_stat_statements hides */
    struct strv unchecked; /* refused before the first revision: "name: why" */
};

struct rehearsal {
    struct check_result check; /* what it shares with a check: revisions, findings, scratch, ... */
    struct rehearsal_basis basis;
    char *from, *to;         /* revisions of the copy before and after: "0002"; "base" */
    struct rehearsed *steps; /* check.nrevisions of them */
    struct rehearsal_budgets budgets;
    struct rehearsal_thresholds thresholds;
    /* all upgrades together */
    double up_seconds, down_seconds, again_seconds;
    int64_t growth; /* of the database, from the first stop to the last */
    int64_t
        peak; /* of the database at its largest, temporary files included, less its size before */
    char *descent;   /* "equal", "differs", "failed", "not run: <why>" */
    char *reupgrade; /* same words */
    struct rehearsal_queries queries;
};
void rehearsal_release(struct rehearsal *r);

/* The longest wait of all upgrades; *ret_step: of which. NULL when nobody waited. */
const struct measured_wait *rehearsal_longest(const struct rehearsal *r, size_t *ret_step);

struct rehearsal_options {
    struct check_options
        check;            /* source, engine, pool, project, waivers, ignores, progress, stop */
    struct scratch *copy; /* taken over, and dropped in the end */
    const char *to;       /* target, as graph_resolve() takes it; NULL: head */
    struct rehearsal_budgets budgets;
    struct rehearsal_thresholds thresholds;
    struct queries *queries; /* of the running application; NULL: none */
    bool no_canaries;        /* nobody reads and writes beside the revisions */
};

/*
 * 0: a verdict is in *ret. -1: none; *ret holds what was seen until then. A copy that does not fit the
 * revisions (no version table, versions that the project does not have) is ERR_SOURCE. basis is left
 * alone: the caller fills it.
 */
int rehearsal_run(const struct rehearsal_options *o, struct rehearsal *ret, struct err *err);

/* What belay.yaml and --queries-from name, for options.queries; the caller's to release, also after
 * a failure. */
struct cli;
int rehearsal_gather_queries(const struct cli *cli, const struct engine *e, struct queries *ret,
                             struct err *err);

#endif
