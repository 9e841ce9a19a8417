/*
 * Digests: what the rows of a table come to, whatever their order and that of the columns. The check,
 * bundles, the deploy and the rehearsal all use this one definition, so that what a bundle recorded
 * while its rows streamed by can be compared with what a restored or a live table holds.
 *
 * The definition (version 1):
 *
 *     h(c, v)  = XXH3_64bits_withSeed(v, XXH3_64bits(name of c))   the hash of value v of column c;
 *                NULL is XXH3_64bits_withSeed("", ~XXH3_64bits(name of c))
 *     column   = sum of h(c, v) over all rows, modulo 2^64
 *     row      = sum of h(c, v) over the columns, modulo 2^64
 *     table    = lo: sum over all rows of avalanche(row), hi: of avalanche(row ^ DIGEST_SECOND), each
 *                modulo 2^64; avalanche is MurmurHash3's 64-bit finaliser
 *
 * The bytes of a value:
 *
 *     PostgreSQL   the type's output text, as COPY's text format holds it before escaping, read under
 *                  the settings of digest_settings_sql. Generated columns take part, dropped ones do
 *                  not. Column names as pg_attribute has them.
 *     SQLite       one byte for the storage class, then the bytes: 'i' and the integer in decimal,
 *                  'r' and the 8 bytes of the double, most significant first (-0.0 as 0.0), 't' and the text
 *                  in UTF-8, 'b' and the blob. Hidden rowids take no part.
 *
 * Hashes are XXH3 of the xxHash library. They tell damage and difference, not malice.
 *
 * Calling sequence, with a session of belay's own:
 *
 *     struct digest_set set = {0};
 *     digest_read(db, NULL, &options, &set, err);          every table
 *     digest_compare(&before, &after, report, data);
 *     digest_set_release(&set);
 *
 * or, where the rows stream by for another purpose, a struct digest_sum per table that is fed and then
 * added up: sums of parts of a table (chunks, threads) add up to the sum of the whole.
 */
#ifndef BELAY_DIGEST_H
#define BELAY_DIGEST_H

#include <stddef.h>
#include <stdint.h>

#include "harness/engine/engine.h"

#include "harness/base/str.h"

enum { DIGEST_VERSION = 1 };

/* What PostgreSQL's session must have set before rows are read. */
extern const char digest_settings_sql[];

struct digest_column {
    char *name;
    uint64_t seed; /* XXH3_64bits(name) */
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

void digest_sum_init(struct digest_sum *d, const char *const *names, size_t n);
void digest_sum_release(struct digest_sum *d);
/* One row. values[i] NULL is SQL NULL; n must be ncolumns. */
struct digest_value {
    const void *bytes;
    size_t len;
};
void digest_sum_row(struct digest_sum *d, const struct digest_value *values);
/*
 * One row as COPY's text format writes it, with or without the line's end. *scratch holds the
 * unescaped values of rows that need it, and is reused. A line with another number of fields than
 * columns, or a wrong escape, is ERR_CONFIG: whoever stored it was wrong.
 */
int digest_sum_copy_row(struct digest_sum *d, const char *line, size_t len, struct str *scratch,
                        struct err *err);
/* Adds what another part of the same table came to. Both have the same columns in the same order. */
void digest_sum_add(struct digest_sum *to, const struct digest_sum *part);

/* The digest of a table or of a sequence. Names as the snapshot writes identities. */
struct digest {
    char *name;
    struct digest_sum sum; /* of a sequence: no columns */
    bool sequence;
    int64_t next; /* of a sequence: the value that it would give next */
};

struct digest_set {
    struct digest *v; /* by name */
    size_t n, cap;
};
void digest_set_release(struct digest_set *s);
const struct digest *digest_find(const struct digest_set *s, const char *name);

struct digest_options {
    const char *const *leave_out; /* version tables, as struct schema_options has them; or NULL */
};

/*
 * Reads tables and sequences: only those named (identities; one that does not exist is left out), or all of them when names
 * is NULL. Tables are streamed: memory does not grow with them. Partitioned tables are read through their
 * leaves, a parent in an inheritance tree without its children, foreign tables not at all.
 */
int digest_read(struct db *db, const struct strv *names, const struct digest_options *options,
                struct digest_set *ret, struct err *err);

#endif
