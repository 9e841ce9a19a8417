/*
 * What one revision changed, kept instead of a whole snapshot: with the snapshot on one side of the
 * revision it gives the snapshot on the other. A history of n revisions costs memory for what
 * changed, not n times the schema.
 *
 *     delta_between(before, after, &d);
 *     delta_apply(after, &d, true, &s);      s equals before; shares the objects
 *     delta_release(&d);
 */
#ifndef BELAY_DELTA_H
#define BELAY_DELTA_H

#include "harness/schema/snapshot.h"

struct delta {
    struct object **removed; /* sorted, in `before` only */
    size_t nremoved;
    struct object **added; /* sorted, in `after` only; a changed object is in both lists */
    size_t nadded;
};

void delta_between(const struct snapshot *before, const struct snapshot *after, struct delta *ret);
/* The other side of s: `after` of a delta whose `before` is s, or with reverse the opposite. */
struct snapshot *delta_apply(const struct snapshot *s, const struct delta *d, bool reverse);
/* True when both change the same objects in the same way. */
bool delta_equal(const struct delta *a, const struct delta *b);
/* True when the delta adds, removes or changes that object. */
bool delta_touches(const struct delta *d, const struct object *o);
void delta_release(struct delta *d);

#endif
