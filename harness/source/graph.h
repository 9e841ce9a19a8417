/*
 * The revision graph: revisions, their parents and dependencies, in one topological order; targets
 * as people type them; the way from one state of a database to another.
 *
 *     struct graph *g = graph_new();
 *     struct revision *r = graph_add(g, "ae10f4", err);    fill in title, parents, ...
 *     graph_finish(g, err);                                checks and orders
 *     graph_resolve(g, "head", &current, &targets, err);
 *     graph_upgrade_path(g, &current, targets, ...);
 *     graph_free(g);
 */
#ifndef BELAY_GRAPH_H
#define BELAY_GRAPH_H

#include <stdbool.h>
#include <stddef.h>

#include "harness/base/cleanup.h"
#include "harness/base/err.h"
#include "harness/base/str.h"

struct revision {
    char *id;
    char *title;     /* "" when the source has none */
    char *file;      /* where the upgrade is written */
    int line;        /* 1-based line of the upgrade in file, 0 when unknown */
    char *down_file; /* where the downgrade is written, NULL when there is none */
    int down_line;
    struct strv parents;    /* ids; none: a base */
    struct strv depends_on; /* ids or labels */
    struct strv labels;     /* branch labels; graph_finish() adds those of the branch it is on */
    /* set by graph_finish() */
    size_t position;      /* place in graph_order() */
    struct revision **up; /* parents and dependencies */
    size_t nup;
    struct revision **down; /* children and dependents */
    size_t ndown;
};

struct graph;

struct graph *graph_new(void);
/* A duplicate id is ERR_SOURCE naming both files. */
struct revision *graph_add(struct graph *g, const char *id, const char *file, struct err *err);
/* Missing parents, missing dependencies, cycles, duplicate labels: ERR_SOURCE, naming revisions. */
int graph_finish(struct graph *g, struct err *err);
void graph_free(struct graph *g);
DEFINE_CLEANUP(struct graph *, graph_free);

size_t graph_size(const struct graph *g);
/* In topological order; among revisions that are free to go, in the order they were added. */
struct revision *graph_at(const struct graph *g, size_t position);
struct revision *graph_find(const struct graph *g,
                            const char *id); /* exact id; NULL when unknown */

/*
 * A list of revisions, owned by the caller; the revisions stay the graph's. A list serves as the
 * state of a database ("current"), and as the result of resolving a target: the revisions that are
 * to be the last ones applied.
 */
struct revisions {
    struct revision **v;
    size_t n, cap;
    /* As current: v holds every applied revision (tools that record each may have left some out).
     * Otherwise v may hold the last ones only, and what they need counts as applied. */
    bool complete;
    /* As a target: the state just before this revision ("ID-1", "label@base"). v holds its parents.
     * A downgrade takes back this revision and what needs it, and leaves its siblings alone. */
    struct revision *below;
};
void revisions_add(struct revisions *l, struct revision *r);
bool revisions_has(const struct revisions *l, const struct revision *r);
void revisions_release(struct revisions *l);
#define _cleanup_revisions_ __attribute__((cleanup(revisions_release)))

/* Revisions that no other names as a parent; that have no parent. */
void graph_heads(const struct graph *g, struct revisions *ret);
void graph_bases(const struct graph *g, struct revisions *ret);

/* True when a is b, or an ancestor of b by parents and dependencies. */
bool graph_is_ancestor(const struct revision *a, const struct revision *b);

/*
 * Resolves a target to revisions. Current is what the database has, and may be NULL where nothing
 * is relative to it. Errors are ERR_USAGE and name the candidates.
 *
 *     ID             a revision; a unique prefix of its id does, and so does its number: 3 for 0003
 *     head           the only head; several are an error that says the way out
 *     heads          every head
 *     base           nothing applied: an empty list
 *     +2, -1         relative to current: two more, one less. Where the walk could go two ways (two
 *                    heads, a branch point, a merge) it is an error, never a choice
 *     ID+1, ID-1     relative to a revision. ID-1 is the state just before ID (see struct
 * revisions) label          the revision that carries the branch label X@head         the head of
 * the branch: X is a label or an id; also X@heads X@base         the state just before the branch
 *     X@+1, X@-1     relative to current, on the branch of X alone
 *     label@ID       ID, which must lie on the branch
 */
int graph_resolve(const struct graph *g, const char *target, const struct revisions *current,
                  struct revisions *ret, struct err *err);
/* Like graph_resolve, for targets that must be one revision. */
int graph_resolve_one(const struct graph *g, const char *target, const struct revisions *current,
                      struct revision **ret, struct err *err);

/* The applied revisions that no other applied one follows. */
void graph_last(const struct graph *g, const struct revisions *current, struct revisions *ret);

/* The revisions to upgrade, in order, so that every target and all it needs is applied. */
void graph_upgrade_path(const struct graph *g, const struct revisions *current,
                        const struct revisions *targets, struct revisions *ret);
/*
 * The revisions to downgrade, in order: what descends from the targets, and what depends on that;
 * with targets->below that revision too; with no target at all everything. Revisions on other
 * branches stay, and so does what a target needs. A target that is not applied is ERR_USAGE.
 */
int graph_downgrade_path(const struct graph *g, const struct revisions *current,
                         const struct revisions *targets, struct revisions *ret, struct err *err);

#endif
