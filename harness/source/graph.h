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
    char *title;              /* "" when the source has none */
    char *file;               /* where the upgrade is written */
    int line;                 /* 1-based line of the upgrade in file, 0 when unknown */
    char *down_file;          /* where the downgrade is written, NULL when there is none */
    int down_line;
    struct strv parents;      /* ids; none: a base */
    struct strv depends_on;   /* ids or labels */
    struct strv labels;       /* branch labels */
    /* set by graph_finish() */
    size_t position;          /* place in graph_order() */
    struct revision **up;     /* parents and dependencies */
    size_t nup;
    struct revision **down;   /* children and dependents */
    size_t ndown;
};

struct graph;

struct graph *graph_new(void);
/* A duplicate id is ERR_SOURCE naming both files (of the first one; set `file` before adding). */
struct revision *graph_add(struct graph *g, const char *id, const char *file, struct err *err);
/* Missing parents, missing dependencies, cycles, duplicate labels: ERR_SOURCE, naming revisions. */
int graph_finish(struct graph *g, struct err *err);
void graph_free(struct graph *g);
DEFINE_CLEANUP(struct graph *, graph_free);

size_t graph_size(const struct graph *g);
/* In topological order; among revisions that are free to go, in the order they were added. */
struct revision *graph_at(const struct graph *g, size_t position);
struct revision *graph_find(const struct graph *g, const char *id); /* exact id; NULL when unknown */

/* A list of revisions, owned by the caller; the revisions stay the graph's. */
struct revisions {
    struct revision **v;
    size_t n, cap;
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
 * Resolves a target to revisions: an id or a unique prefix of one, "head" (ERR_SOURCE with the way out
 * when there are several), "heads", "base" (an empty list), "label", "label@head", "label@base",
 * "ID+2", "ID-1", and relative to current "+2", "-1" ("-1" from the first revision is base). Current
 * is what the database has (its version table's rows), and may be NULL where nothing is relative.
 * Errors name the candidates.
 */
int graph_resolve(const struct graph *g, const char *target, const struct revisions *current,
                  struct revisions *ret, struct err *err);
/* Like graph_resolve, for targets that must be one revision. */
int graph_resolve_one(const struct graph *g, const char *target, const struct revisions *current,
                      struct revision **ret, struct err *err);

/* The revisions to upgrade, in order, so that every target and all it needs is applied. */
void graph_upgrade_path(const struct graph *g, const struct revisions *current,
                        const struct revisions *targets, struct revisions *ret);
/*
 * The revisions to downgrade, in order, so that what is left applied is the targets and what they
 * need; targets empty: everything. Revisions on branches that do not descend from a target stay. A
 * target that is not applied is ERR_SOURCE.
 */
int graph_downgrade_path(const struct graph *g, const struct revisions *current,
                         const struct revisions *targets, struct revisions *ret, struct err *err);

#endif
