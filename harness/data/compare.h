/*
 * What happened to the rows between two states of a database. Digests say whether and where; only
 * for tables that differ, both databases are read side by side, in the order of the primary key (of
 * all columns where there is none), to say which rows.
 *
 *     struct digest_changes differences = {0};
 *     digest_compare(&before, &after, &differences);
 *     struct rows_changes changes = {0};
 *     rows_explain(before, after, "public.posts", NULL, 5, &changes, err);   two sessions, two databases
 */
#ifndef BELAY_COMPARE_H
#define BELAY_COMPARE_H

#include "harness/data/digest.h"

/* What is different about one table or sequence, told from the digests alone. Columns that one side
 * lacks are left out. */
enum digest_difference {
    DIGEST_EQUAL = 0,
    DIGEST_ROWS = 1,     /* another number of rows */
    DIGEST_COLUMNS = 2,  /* a column's values differ: named */
    DIGEST_PAIRING = 4,  /* every column holds the same values, but not in the same rows; seen where
                            both sides have the same columns */
    DIGEST_SEQUENCE = 8, /* a sequence's next value */
    DIGEST_MISSING = 16, /* after has no such table */
};

struct digest_change {
    const struct digest *before, *after; /* after is NULL for DIGEST_MISSING */
    unsigned difference;                 /* of enum digest_difference */
    struct strv columns;                 /* whose values differ, in both */
};

/* Appends a change for each table and sequence of before that is not the same in after. Tables that
 * before lacks are none. The changes point into the sets. */
struct digest_changes {
    struct digest_change *v;
    size_t n, cap;
};
void digest_compare(const struct digest_set *before, const struct digest_set *after,
                    struct digest_changes *ret);
void digest_changes_release(struct digest_changes *c);
/* "rows of public.posts: 3 -> 2", "sequence ...: next value 5 -> 4"; owned by the caller. */
char *digest_change_text(const struct digest_change *c);

struct column_change {
    char *name;
    uint64_t rows;        /* in which the value is another */
    uint64_t became_null; /* of these */
    char *before, *after; /* of the first such row, shortened; NULL for SQL NULL */
};

/* Texts of keys and values are safe to print and shortened: "3"; "(3, x)" for several columns. */
struct rows_changes {
    char *key;                     /* "id"; "a, b"; NULL: no primary key, rows are compared whole */
    uint64_t before, after;        /* rows */
    uint64_t lost, added, changed; /* rows; whole rows are never changed: lost and added */
    struct strv lost_keys, added_keys, changed_keys; /* of the first ones, in the order of text */
    struct column_change *columns;
    size_t ncolumns, columns_cap;
};
void rows_changes_release(struct rows_changes *c);

/*
 * At most examples keys of each kind. Streams both; memory does not grow with the tables. The
 * sessions serve nothing else meanwhile. Only columns that both sides have are compared; rows are
 * identified by the primary key of before (else of after) where the other side has its columns, even
 * when they are no key there. Without a column in common only the rows are counted. On failure *ret
 * is untouched.
 *
 * differ: columns whose values are known to differ, or NULL. Where the primary key is among them, or
 * there is none, rows are paired by the columns that do not differ, if no two rows are the same in
 * them: then key is NULL, and columns are told.
 */
int rows_explain(struct db *before, struct db *after, const char *table, const struct strv *differ,
                 int examples, struct rows_changes *ret, struct err *err);

#endif
