/*
 * Digests: what the rows of a table come to, whatever their order and that of the columns. The
 * check, bundles, the deploy and the rehearsal all use this one definition, so that what a bundle
 * recorded while its rows streamed by can be compared with what a restored or a live table holds.
 *
 * The definition (version 1):
 *
 *     h(c, v)  = XXH3_64bits_withSeed(v, XXH3_64bits(name of c))   the hash of value v of column c;
 *                NULL is XXH3_64bits_withSeed("", ~XXH3_64bits(name of c))
 *     column   = sum of h(c, v) over all rows, modulo 2^64
 *     row      = sum of h(c, v) over the columns that are not generated, modulo 2^64
 *     table    = lo: sum over all rows of avalanche(row), hi: of avalanche(row ^ DIGEST_SECOND),
 *                each modulo 2^64; avalanche is MurmurHash3's 64-bit finaliser
 *
 * Generated columns follow from the others: they have a sum of their own where they are read, and
 * take no part in the row, so that a stream without them (COPY of a bundle) comes to the same.
 *
 * The bytes of a value:
 *
 *     PostgreSQL   the type's output text, as COPY's text format holds it before escaping, read
 *                  under the settings of digest_settings_sql. Dropped columns take no part. Column
 *                  names as pg_attribute has them. In UTF-8; in a database whose encoding is
 *                  SQL_ASCII the bytes as they are.
 *     SQLite       one byte for the storage class, then the bytes: 'i' and the 8 bytes of the
 *                  integer, 'r' and those of the double (-0.0 as 0.0), both most significant first,
 *                  't' and the text in UTF-8, 'b' and the blob. Rowids without a name take no part.
 *
 * Hashes are XXH3 of the xxHash library. They tell damage and difference, not malice.
 *
 * Calling sequence:
 *
 *     struct digest_set set = {0};
 *     digest_read(db, NULL, &options, &set, err);          every table
 *     digest_compare(&before, &set, &changes);             see compare.h
 *     digest_set_release(&set);
 *
 * or, where the rows stream by for another purpose, a struct digest_sum per table that is fed and
 * then added up: sums of parts of a table (chunks, threads) add up to the sum of the whole.
 */
#ifndef BELAY_DIGEST_H
#define BELAY_DIGEST_H

#include <stddef.h>
#include <stdint.h>

#include "harness/engine/engine.h"

#include "harness/base/str.h"

enum { DIGEST_VERSION = 1 };

#define DIGEST_SECOND 0x9e3779b97f4a7c15u

/* What PostgreSQL's session must have set before rows are read: one statement that sets it until
 * the session or another such statement ends it. digest_read() sees to it by itself. */
extern const char digest_settings_sql[];

struct digest_column {
    char *name;
    bool generated; /* takes no part in the row */
    uint64_t seed;  /* XXH3_64bits(name) */
    uint64_t null;  /* the hash of NULL */
    uint64_t sum;
    uint64_t nulls; /* rows in which it is NULL */
};

/* One table's sum, over the rows that were fed so far. */
struct digest_sum {
    struct digest_column *columns; /* in the order in which the values are fed */
    size_t ncolumns;
    uint64_t rows;
    uint64_t lo, hi;
};

/* Of columns none of which is generated; set columns[i].generated before the first row otherwise. */
void digest_sum_init(struct digest_sum *d, const char *const *names, size_t n);
void digest_sum_release(struct digest_sum *d);
/* The same columns, no rows. */
void digest_sum_init_like(struct digest_sum *d, const struct digest_sum *like);
/* One row. values[i].bytes NULL is SQL NULL; there are ncolumns values. */
struct digest_value {
    const void *bytes;
    size_t len;
};
void digest_sum_row(struct digest_sum *d, const struct digest_value *values);
/*
 * One row as COPY's text format writes it, with or without the line's end. *scratch holds the
 * unescaped values of rows that need it, and is reused. A line with another number of fields than
 * columns, or a wrong escape, is ERR_CONFIG: whoever stored it was wrong. *d is worth nothing then.
 */
int digest_sum_copy_row(struct digest_sum *d, const char *line, size_t len, struct str *scratch,
                        struct err *err);
/* Adds what another part of the same table came to. Both have the same columns in the same order. */
void digest_sum_add(struct digest_sum *to, const struct digest_sum *part);

/* The digest of a table or of a sequence. Names as the snapshot writes identities; SQLite's
 * AUTOINCREMENT of table t is the sequence "sqlite_sequence.t". */
struct digest {
    char *name;
    struct digest_sum sum; /* of a sequence: no columns */
    bool sequence;
    int64_t next; /* of a sequence: the value that it would give next */
};

/* What a PostgreSQL sequence gives next, from its last_value and is_called and its definition. */
int64_t digest_sequence_next(int64_t last, bool called, int64_t step, int64_t lowest,
                             int64_t highest, bool cycle);

struct digest_set {
    struct digest *v; /* by name */
    size_t n, cap;
    /* SQLite: virtual tables that this session cannot read, since their module is not loaded or
     * fails: "name: why". Never a table of PostgreSQL: there it is an error. */
    struct strv unread;
};
void digest_set_release(struct digest_set *s);
const struct digest *digest_find(const struct digest_set *s, const char *name);

struct digest_options {
    /* version tables, as struct schema_options has them; or NULL. The sequences that belong to them
     * are left out too. */
    const char *const *leave_out;
    /* Columns that a table of this name there does not have take no part in the row; or NULL. What such tables hold can
     * then be compared although they have got more columns. */
    const struct digest_set *like;
    bool keep; /* the session runs nothing but belay's own SQL: keep statements prepared */
};

/*
 * Reads tables and sequences: only those named (identities; one that does not exist is left out),
 * or all of them when names is NULL. Tables are streamed: memory does not grow with them.
 *
 * A partitioned table is one table, all its partitions' rows together, and has no digests for its
 * partitions: the name of a partition stands for the table it belongs to. A parent in an
 * inheritance tree is read without its children. Foreign tables, views, temporary tables, the
 * shadow tables of SQLite and what belongs to an extension (but for the tables that it marks as
 * holding users' data, of which the rows that it names are) are not read. In SQLite the name of a
 * table brings its sequence along, and "sqlite_sequence" stands for all sequences.
 *
 * All is read in one transaction, a read-only one, or the caller's when one is open (then
 * digest_settings_sql holds until that ends). Row-level security never hides rows: a session that
 * may not see all of them fails. On failure *ret is untouched and no transaction of its own is left
 * open.
 */
int digest_read(struct db *db, const struct strv *names, const struct digest_options *options,
                struct digest_set *ret, struct err *err);

#endif
