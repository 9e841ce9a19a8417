/*
 * What differs between two snapshots, one entry per object added, removed, or property changed.
 *
 *     struct diff d = {0};
 *     diff_snapshots(before, after, &d);
 *     for (size_t i = 0; i < d.n; i++) ... d.changes[i] ...
 *     diff_release(&d);
 *
 * Positions are compared by order, not by number: a column that comes or goes does not show as a
 * change of all columns after it. Of the columns that both sides have, the fewest whose moving
 * explains the new order are named.
 *
 * A diff points into both snapshots: keep them as long as it.
 *
 * For people, diff_lines() gives the same with what came or went together in one line:
 *
 *     struct diff_lines lines = {0};
 *     diff_lines(&d, &lines);
 *     for (size_t i = 0; i < lines.n; i++) ... diff_line_text(&lines.v[i], false) ...
 *     diff_lines_release(&lines);
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
    struct object *before; /* NULL: the object was added */
    struct object *after;  /* NULL: the object was removed */
    const char *property;  /* NULL for a whole object; else points into before or after */
    const char *old_value; /* NULL when the property is absent before */
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

/* Takes out of d what `noise` also changes (same kind, identity and property), whatever the values.
 */
void diff_subtract(struct diff *d, const struct diff *noise);

/*
 * One line: "constraint public.posts.fk: on delete CASCADE -> NO ACTION", "+ index public.i (on
 * public.t (a))", "- table t". A value that is absent is (none), an empty one is ''; line breaks
 * and other control characters are written \n, \t, \xNN. Long values are cut around the first
 * difference, with an ellipsis, unless full is set. The caller owns the result.
 *
 * What an added or removed object is told by comes from its properties: "table", then "columns" (or
 * "type", "columns", "expression" and "not null", or "definition").
 */
char *change_text(const struct change *c, bool full);

/* A change with all that came or went with its object: columns, constraints, indexes and triggers
 * of a table, the tables of a schema, a sequence owned by a column. */
struct diff_line {
    const struct change *change; /* in the diff */
    char *with;                  /* "5 columns, 2 indexes, 1 constraint"; NULL: nothing */
};

struct diff_lines {
    struct diff_line *v; /* in the order of the diff */
    size_t n, cap;
};

void diff_lines(const struct diff *d, struct diff_lines *ret);
void diff_lines_release(struct diff_lines *lines);
#define _cleanup_diff_lines_ __attribute__((cleanup(diff_lines_release)))

/* Like change_text(), "- table public.t (with 5 columns, 1 index)". The caller owns the result. */
char *diff_line_text(const struct diff_line *line, bool full);

#endif
