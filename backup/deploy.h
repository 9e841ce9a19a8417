/*
 * The deploy: the upgrade that puts the database back.
 *
 *     lock -> preflight -> bundle -> verify -> upgrade -> check -> done
 *                                                | fails
 *                                                v
 *          1. unchanged   nothing of it was committed: schema, version table and rows are the bundle's
 *          2. downgrade   the project's own, kept only when that is proved again
 *          3. twin        swap by rename, when one was made
 *          4. restore     the bundle, beside, compared, swapped
 *
 * Every arrow is a line of the journal (journal.h) before it is walked. Whatever happens ends in one of: the new state,
 * complete; the old state, proved equal; or a person must look, with the words that say at what.
 *
 *     struct deploy_options o = {.source = s, .engine = e, .url = url, .dir = "belay-bundles", ...};
 *     struct deploy_plan plan = {0};
 *     deploy_plan(&o, &plan, err);            reads only; what --dry-run prints
 *     struct deploy_result r = {0};
 *     deploy_run(&o, &r, err);
 *     deploy_recover(&o, &found, &r, err);    finishes the decision of a deploy that was cut off
 *
 * Both return 0 when there is an outcome, -1 when nothing was decided and nothing was changed (no connection, preflight,
 * disk full, a signal before the upgrade began).
 *
 * Written by others. An application may go on writing. Rungs 1 and 2 keep the live rows, so nothing of
 * theirs can be lost; they are proved by schema, version table, and by the digests of the tables that the steps
 * touched. Rungs 3 and 4 go back to the rows of the copy: what others committed since is looked for first
 * (deploy_lost.c), and options.lost_writes decides. Where it cannot be told, that counts as found. On PostgreSQL
 * nobody is let in between that look and the end of the rung; with options.fence, from before the bundle on
 * (deploy_fence.c).
 */
#ifndef BELAY_DEPLOY_H
#define BELAY_DEPLOY_H

#include <signal.h>

#include "backup/journal.h"
#include "harness/engine/engine.h"
#include "harness/source/source.h"

enum lost_writes {
    LOST_WRITES_STOP,   /* leave the failed database as it is: DEPLOY_OUTCOME_STUCK */
    LOST_WRITES_EXPORT, /* write them to SQL files beside the bundle, then go back */
    LOST_WRITES_ACCEPT, /* go back */
};

/* A query of the user's and what it must answer. */
struct deploy_assertion {
    char *sql;
    char *expect; /* the first column of the first row; NULL: at least one row */
    char *name;   /* for messages */
};

struct deploy_options {
    const struct source *source;
    const struct engine *engine;
    const char *url;
    const char *dir;      /* bundles and journal; made when missing, 0700 */
    const char *to;       /* target, as graph_resolve() takes it; NULL: head */
    const char *key_file; /* of the bundle, or NULL */
    int jobs, level;      /* of the bundle; 0: default */
    bool drill;           /* restore the bundle into scratch before the upgrade */
    bool twin;            /* PostgreSQL: a copy on the server, to swap back to */
    bool fence;           /* PostgreSQL: nobody else is on the database meanwhile */
    enum lost_writes lost_writes;
    const char *scratch_url; /* for the drill, or NULL */
    /*
     * What the database, which is at that URL at present, differs in from a scratch database with
     * `applied` and then `more` applied, a line each, less what it differed in before. NULL: not compared.
     */
    int (*expect)(void *data, const char *url, const struct revisions *applied,
                  const struct revisions *more, struct strv *ret_differences, struct err *err);
    void *data;
    /* ERR_SOURCE when the pending revisions must not be deployed; or NULL. */
    int (*admit)(void *data, const struct revisions *pending, struct err *err);
    void *admit_data;
    int lock_timeout_ms, statement_timeout_ms, deadline_ms; /* 0: none */
    int lock_retries;
    int patience_ms; /* for a server that is away while the deploy rolls back; 0: a minute */
    const struct deploy_assertion *after;
    size_t nafter;
    const char *const *probes; /* shell commands that must end with 0; NULL-terminated, or NULL */
    int probe_timeout_ms;
    const char *hook_before, *hook_after, *hook_on_failure; /* shell commands, or NULL */
    struct deploy_progress {
        void *data;
        /* phase: "bundle", "upgrade", ...; what: a revision, a table; fraction < 0: unknown */
        void (*step)(void *data, const char *phase, const char *what, double fraction);
    } progress;
    const volatile sig_atomic_t *stop;
};

enum deploy_outcome {
    DEPLOY_OUTCOME_NOTHING,  /* nothing was pending */
    DEPLOY_OUTCOME_DONE,     /* the new state, complete */
    DEPLOY_OUTCOME_RESTORED, /* the old state, proved equal: the upgrade failed */
    DEPLOY_OUTCOME_STUCK,    /* a person must look */
    DEPLOY_OUTCOME_LOCKED,   /* another deploy holds the lock; nothing was done */
};

struct deploy_phase {
    char *name;
    double seconds;
};

struct deploy_result {
    enum deploy_outcome outcome;
    struct deploy_entry entry; /* as the journal has it: revisions, bundle, rung, evidence */
    struct err failure;        /* what failed; for STUCK what a person must know, in its hint */
    struct strv words;         /* what was done about it, a sentence each */
    char *holder;              /* LOCKED: who */
    char *exported;            /* folder of the files with others' rows, or NULL */
    struct deploy_phase *phases;
    size_t nphases, phases_cap;
};
void deploy_result_release(struct deploy_result *r);

/* What deploy_run() would do now. Sizes and times are rough. */
struct deploy_plan {
    char *from, *to;
    struct revisions list;
    uint64_t bytes, bundle_bytes;
    double bundle_seconds, restore_seconds;
};
/* With the preflight, whose objection is the error; what was known until then is filled in all the same. */
int deploy_plan(const struct deploy_options *o, struct deploy_plan *ret, struct err *err);
void deploy_plan_release(struct deploy_plan *p);

int deploy_run(const struct deploy_options *o, struct deploy_result *ret, struct err *err);
/* *ret_found false: there is nothing to recover. A folder without a journal is ERR_USAGE. */
int deploy_recover(const struct deploy_options *o, bool *ret_found, struct deploy_result *ret,
                   struct err *err);

/* Whether a deploy has fenced off the database of o->url, so that it cannot be connected to at present. */
bool deploy_is_fenced(const struct deploy_options *o);

#endif
