/*
 * What the files of the PostgreSQL engine share; for harness/engine/postgres*.c only.
 */
#ifndef BELAY_POSTGRES_IMPL_H
#define BELAY_POSTGRES_IMPL_H

#include <libpq-fe.h>
#include <stdatomic.h>

#include "harness/base/str.h"
#include "harness/engine/engine.h"

struct pg_db {
    struct db base;
    PGconn *conn;
    PGcancel *cancel;
    atomic_bool cancelled;
    struct strv notices;
    size_t notices_lost;
    struct strv kept; /* db_query_prepared: text i is prepared under the name "belay_<i>" */
};

static inline struct pg_db *pg_self(const struct db *db)
{
    return (struct pg_db *)db;
}

/* -1 with ERR_INTERRUPTED when a request to stop is waiting. */
int pg_interrupted(struct pg_db *p, struct err *err);
/* Waits for input, for half a second at most, and repeats a request to stop that came meanwhile:
 * one that reaches the server before the statement does has no effect there. -1 when the connection
 * broke. */
int pg_wait(struct pg_db *p);
/* PQgetResult() with pg_wait(). */
PGresult *pg_next_result(struct pg_db *p);
/* The result of a query that failed, taken over: reads what is left of it and fills err. ran: the
 * statements of sql that worked. */
int pg_fail_query(struct pg_db *p, PGresult *res, const char *sql, int ran, struct err *err);

#endif
