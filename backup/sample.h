/*
 * A part of a database's rows in which every foreign key still holds.
 *
 *     struct sample *s = sample_new(&options, &model, snapshot);     snapshot: PostgreSQL
 *     sample_count(s, digests); or sample_count_tables(s, db, err);  how large the tables are
 *     sample_decide(s);
 *     sample_keeps(s, table, row, len)                               while rows stream by, or
 *     sample_sqlite(s, path, err);                                   in a file
 *     sample_prune_postgres(s, db, err);                             before there are foreign keys
 *     sample_count(s, &what_was_read); sample_settle(s, &what_went_through);
 *     sample_tell(s, &lines);
 *
 * A table of more than SAMPLE_WHOLE_ROWS rows that refers to none but whole tables keeps about
 * `percent` of its rows, by a hash of the row: the same rows each time. Smaller ones are whole. A
 * table that refers to one that is not whole keeps the rows whose parents are there, and so on; a row
 * with a NULL in the key has none. Where tables refer to each other in a circle, the one that most
 * foreign keys refer to begins.
 */
#ifndef BELAY_SAMPLE_H
#define BELAY_SAMPLE_H

#include "backup/mask.h"
#include "harness/data/digest.h"

enum { SAMPLE_WHOLE_ROWS = 1000 };

struct sample_options {
    int percent;              /* 1 to 99 */
    uint64_t seed;            /* another one, other rows */
    const char *const *whole; /* tables that stay whole ("app.versions", or in any schema
                                 "versions"), NULL-terminated; or NULL */
};

struct sample;

/* Takes the model's contents over. snapshot: says of which tables partitions are; NULL for SQLite. */
struct sample *sample_new(const struct sample_options *o, struct mask_model *model,
                          const struct snapshot *snapshot);
void sample_free(struct sample *s);

/* Rows of the tables, by name; those that the set lacks are left as they are. */
void sample_count(struct sample *s, const struct digest_set *digests);
/* The same, asked of the database, no further than matters. */
int sample_count_tables(struct sample *s, struct db *db, struct err *err);
void sample_decide(struct sample *s);

/* The table's number when only some of its rows are kept by their hash; SIZE_MAX: all go through. */
size_t sample_find(const struct sample *s, const char *table);
/* Whether a row stays. */
bool sample_keeps(const struct sample *s, const void *row, size_t len);

/* Removes rows without their parents. The database is scratch, holds all rows and no foreign keys. */
int sample_prune_postgres(struct sample *s, struct db *db, struct err *err);
/* Takes the part of a file that nobody has open, and rewrites it. */
int sample_sqlite(struct sample *s, const char *path, struct err *err);

/* PostgreSQL: takes the tables that lost rows after loading out of what the copy is compared with.
 * Returns their number. */
size_t sample_settle(struct sample *s, struct digest_set *expected);

/* After all: "public.users: 1013 of 10000 rows", for each table that is not whole. Returns the number
 * of rows left out. */
uint64_t sample_tell(const struct sample *s, struct strv *ret);

#endif
