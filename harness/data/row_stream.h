/*
 * The rows of a table in the order of a key, one at a time, so that two tables can be read side by
 * side. Keys are compared by their bytes, the same way on both sides whatever the collations.
 *
 *     struct table_shape shape = {0};
 *     row_stream_shape(db, "public.posts", &shape, err);
 *     struct row_stream *s;
 *     row_stream_open(db, "public.posts", &shape.key, &shape.columns, true, &s, err);
 *     struct stream_row row;
 *     while ((r = row_stream_next(s, &row, err)) > 0) ...
 *     row_stream_free(s);
 *
 * The session serves nothing else while a stream is open.
 */
#ifndef BELAY_ROW_STREAM_H
#define BELAY_ROW_STREAM_H

#include "harness/data/digest.h"

struct table_shape {
    struct strv columns; /* names, in order */
    struct strv key;     /* those of the primary key; empty when there is none */
};
/* ERR_CONFIG when there is no such table. */
int row_stream_shape(struct db *db, const char *table, struct table_shape *ret, struct err *err);
void table_shape_release(struct table_shape *s);

struct row_stream;
struct stream_row {
    struct digest_value key;           /* what the order is by */
    const struct digest_value *values; /* of each column asked for: see row_stream_add_text() */
};

/* key must not be empty and is a part of columns. unique: no two rows have the same key; otherwise
 * such rows are in the order of all columns. */
int row_stream_open(struct db *db, const char *table, const struct strv *key,
                    const struct strv *columns, bool unique, struct row_stream **ret,
                    struct err *err);
/* 1 and a row that lives until the next call, 0 at the end, -1 on failure. */
int row_stream_next(struct row_stream *s, struct stream_row *ret, struct err *err);
/* Closes the statement and the transaction it ran in. */
void row_stream_free(struct row_stream *s);
DEFINE_CLEANUP(struct row_stream *, row_stream_free);

/* Adds a value, which is not NULL, as people read it; it may hold anything. */
void row_stream_add_text(const struct row_stream *s, const struct digest_value *value,
                         struct str *ret);

/* What an engine gives; for row_stream*.c only. */
struct row_stream_ops {
    int (*shape)(struct db *db, const char *table, struct table_shape *ret, struct err *err);
    int (*open)(struct db *db, const char *table, const struct strv *key,
                const struct strv *columns, bool unique, struct row_stream **ret, struct err *err);
    int (*next)(struct row_stream *s, struct stream_row *ret, struct err *err);
    void (*free)(struct row_stream *s);
    void (*add_text)(const struct digest_value *value, struct str *ret);
};
struct row_stream {
    const struct row_stream_ops *ops;
    struct db *db;
    bool own; /* the transaction */
};
extern const struct row_stream_ops row_stream_postgres, row_stream_sqlite;

/* "a, b" with each name quoted and put between before and after. The caller owns the result. */
char *row_stream_list(struct db *db, const struct strv *names, const char *before,
                      const char *after, const char *separator);

#endif
