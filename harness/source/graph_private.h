/* The graph's own parts, shared by graph.c (building, walking) and graph_target.c (names). */
#ifndef BELAY_GRAPH_PRIVATE_H
#define BELAY_GRAPH_PRIVATE_H

#include "harness/source/graph.h"

struct label {
    const char *name;
    struct revision *revision; /* the one that carries it */
};

struct graph {
    struct revision **added; /* in the order of graph_add() */
    struct revision **order; /* topological, set by graph_finish() */
    struct revision **by_id; /* sorted by id */
    size_t n, cap, by_id_cap;
    struct label *labels; /* sorted by name */
    size_t nlabels;
};

/* The place of the first id that is not less than id, in by_id. */
size_t graph_lower_bound(const struct graph *g, const char *id);
const struct label *graph_label(const struct graph *g, const char *name); /* NULL when unknown */
bool revision_is_child(const struct revision *r, const struct revision *parent); /* by parents */

/* Marks, by position, what is applied when the database has current. The caller owns the array. */
bool *graph_applied(const struct graph *g, const struct revisions *current);

/* "a, b, c and 4 more": at most eight names. The caller owns the result. */
char *graph_names(struct revision *const *v, size_t n);

/* A hint that names the id or label nearest to name ("did you mean a?"), or NULL. The caller owns
 * it. */
char *graph_nearest(const struct graph *g, const char *name);

#endif
