/*
 * What differs between two snapshots, one entry per object added, removed, or property changed.
 *
 *     struct diff d = {0};
 *     diff_snapshots(before, after, &d);
 *     for (size_t i = 0; i < d.n; i++) ... d.changes[i] ...
 *     diff_release(&d);
 */
#ifndef BELAY_DIFF_H
#define BELAY_DIFF_H

#include "harness/schema/snapshot.h"

/* How much a change matters, the least first. */
enum change_class {
    CHANGE_COMMENT,      /* comments alone */
    CHANGE_WHITESPACE,   /* white space in a body alone */
    CHANGE_COLUMN_ORDER, /* the order of columns alone */
    CHANGE_REAL,
};

struct change {
    enum change_class class;
    struct object *before;  /* NULL: the object was added */
    struct object *after;   /* NULL: the object was removed */
    const char *property;   /* NULL for a whole object; else points into before or after */
    const char *old_value;  /* NULL when the property is absent before */
    const char *new_value;
};

struct diff {
    struct change *changes; /* sorted by kind, identity, property */
    size_t n, cap;
};

void diff_snapshots(const struct snapshot *before, const struct snapshot *after, struct diff *d);
void diff_release(struct diff *d);
#define _cleanup_diff_ __attribute__((cleanup(diff_release)))

/* The highest class in it (CHANGE_COMMENT for an empty diff). */
enum change_class diff_class(const struct diff *d);

/* Takes out of d what `noise` also changes (same kind, identity and property), whatever the values. */
void diff_subtract(struct diff *d, const struct diff *noise);

/* One line, "constraint public.posts.fk: on delete CASCADE -> NO ACTION", "+ table t", "- index i".
 * Long values are cut around the first difference unless full is set. The caller owns the result. */
char *change_text(const struct change *c, bool full);

#endif
