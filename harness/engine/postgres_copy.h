/*
 * COPY ... TO STDOUT as a stream of lines, for tables that do not fit in memory, and for many small
 * ones: a text of several COPY statements is one round trip.
 *
 *     struct pg_copy copy;
 *     pg_copy_begin(&copy, db, "copy a to stdout; copy b to stdout", err);
 *     while ((r = pg_copy_next(&copy, &line, &len, err)) > 0)
 *         ... line is one of statement copy.statement, counted from 0 ...
 *     pg_copy_end(&copy);
 *
 * The session serves nothing else between begin and end.
 */
#ifndef BELAY_POSTGRES_COPY_H
#define BELAY_POSTGRES_COPY_H

#include "harness/base/str.h"
#include "harness/engine/engine.h"

struct pg_copy {
    struct db *db;
    const char *sql; /* the caller's: must live until the end */
    char *line;
    size_t statement; /* the COPY, among the COPYs of the text, that the last line belongs to */
    size_t begun;     /* COPYs */
    int ran;          /* statements that worked */
    bool copying;     /* within a COPY */
    bool open;        /* there may be more results */
};

/* Runs sql: statements that give no rows (SET, COMMIT) may stand among the COPYs. */
int pg_copy_begin(struct pg_copy *c, struct db *db, const char *sql, struct err *err);
/* 1 and a line, its end included, which lives until the next call; 0 after the last; -1 on failure,
 * after which there is nothing more. */
int pg_copy_next(struct pg_copy *c, const char **ret_line, size_t *ret_len, struct err *err);
/* Cancels what still runs; a transaction is then left aborted. */
void pg_copy_end(struct pg_copy *c);

/*
 * COPY ... FROM STDIN: begin, put any number of times (bytes, cut anywhere), end. After a failed
 * begin there is nothing to end; after a failed put, end says what the server has against it.
 */
int pg_copy_in_begin(struct db *db, const char *sql, struct err *err);
int pg_copy_in_put(struct db *db, const void *data, size_t len, struct err *err);
/* abort: why the rows shall be given up, which fails; or NULL. */
int pg_copy_in_end(struct db *db, const char *sql, const char *abort, struct err *err);

#endif
