/*
 * The rows of a database as the check recorded them: a digest for each table and sequence. As with
 * schemas, what a revision changed is kept as a delta, and what it did not touch is shared.
 *
 *     struct row_state now = {0};
 *     row_state_record(&now, NULL, &all, &delta);        everything was read
 *     row_state_record(&now, &touched, &set, &delta);    only these were: the others are as they were
 *     row_state_undo(&now, &delta);                      as it was before
 */
#ifndef BELAY_ROWS_H
#define BELAY_ROWS_H

#include "harness/data/digest.h"

/* Immutable once it is recorded, and shared: counted atomically, for states in two threads. */
struct row_digest {
    unsigned refs;
    struct digest digest;
};

struct row_state {
    struct row_digest **v; /* by name */
    size_t n, cap;
};

/* One table or sequence that changed; NULL: there was none. */
struct row_change {
    struct row_digest *before, *after;
};
struct row_delta {
    struct row_change *v;
    size_t n, cap;
};

const struct digest *row_state_find(const struct row_state *s, const char *name);
/*
 * What was read becomes the state: of names (NULL: of all), those that the set lacks are gone. The
 * set is used up. Changes are appended to delta (NULL: not kept).
 */
void row_state_record(struct row_state *s, const struct strv *names, struct digest_set *set,
                      struct row_delta *delta);
/* Takes back the changes, the last one first. */
void row_state_undo(struct row_state *s, const struct row_delta *delta);
void row_state_copy(const struct row_state *s, struct row_state *ret);
void row_state_release(struct row_state *s);
void row_delta_release(struct row_delta *d);

/* The named part of a state as a set that shares the state's digests: free(ret->v), and nothing
 * else. names NULL: all of it. */
void row_state_view(const struct row_state *s, const struct strv *names, struct digest_set *ret);

#endif
