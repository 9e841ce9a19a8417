#include "harness/engine/postgres_copy.h"

#include "harness/engine/postgres_impl.h"

enum { COPY_IN_PIECE = 1 << 20 }; /* bytes of a message; libpq takes an int */

int pg_copy_begin(struct pg_copy *c, struct db *db, const char *sql, struct err *err)
{
    struct pg_db *p = pg_self(db);
    *c = (struct pg_copy){.db = db, .sql = sql};
    if (pg_interrupted(p, err) < 0)
        return -1;
    if (!PQsendQuery(p->conn, sql))
        return pg_fail_query(p, PQmakeEmptyPGresult(p->conn, PGRES_FATAL_ERROR), sql, 0, err);
    c->open = true;
    return 0;
}

/* 1 within a COPY, 0 at the end of the text, -1 on failure. */
static int next_copy(struct pg_copy *c, struct err *err)
{
    struct pg_db *p = pg_self(c->db);
    PGresult *res;
    while ((res = pg_next_result(p))) {
        ExecStatusType status = PQresultStatus(res);
        if (status != PGRES_COPY_OUT && status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK) {
            pg_fail_query(p, res, c->sql, c->ran, err);
            pg_copy_end(c);
            return -1;
        }
        PQclear(res);
        if (status == PGRES_COPY_OUT) {
            c->copying = true;
            c->statement = c->begun++;
            return 1;
        }
        c->ran++;
    }
    c->open = false;
    return 0;
}

int pg_copy_next(struct pg_copy *c, const char **ret_line, size_t *ret_len, struct err *err)
{
    struct pg_db *p = pg_self(c->db);
    PQfreemem(TAKE_PTR(c->line));
    while (c->open) {
        int r = c->copying ? PQgetCopyData(p->conn, &c->line, 1) : next_copy(c, err);
        if (r < 0 && !c->copying)
            return -1;
        if (!c->copying)
            return 0;
        if (r > 0 && c->line) {
            *ret_line = c->line;
            *ret_len = (size_t)r;
            return 1;
        }
        if (r < 0) /* the COPY has ended, or failed: its result tells */
            c->copying = false;
        else if (r == 0 && pg_wait(p) < 0)
            c->copying =
                false; /* the connection broke: libpq would say for ever that no line has come */
    }
    return 0;
}

void pg_copy_end(struct pg_copy *c)
{
    struct pg_db *p = pg_self(c->db);
    PQfreemem(TAKE_PTR(c->line));
    if (!c->open)
        return;
    c->open = false;
    char ignored[256]; /* a server that cannot be reached is found out by the next statement */
    if (c->copying && p->cancel)
        PQcancel(p->cancel, ignored, sizeof(ignored));
    char *line;
    PGresult *res;
    while (c->copying && PQgetCopyData(p->conn, &line, 0) > 0)
        PQfreemem(line);
    c->copying = false;
    while ((res = PQgetResult(p->conn))) {
        bool more = PQresultStatus(res) == PGRES_COPY_OUT;
        PQclear(res);
        while (more && PQgetCopyData(p->conn, &line, 0) > 0)
            PQfreemem(line);
    }
}

/* ---- the other way ---- */

int pg_copy_in_begin(struct db *db, const char *sql, struct err *err)
{
    struct pg_db *p = pg_self(db);
    if (pg_interrupted(p, err) < 0)
        return -1;
    PGresult *res = PQexec(p->conn, sql);
    if (PQresultStatus(res) != PGRES_COPY_IN)
        return pg_fail_query(p, res, sql, 0, err);
    PQclear(res);
    return 0;
}

int pg_copy_in_put(struct db *db, const void *data, size_t len, struct err *err)
{
    const char *p = data;
    while (len) {
        int n = len < COPY_IN_PIECE ? (int)len : COPY_IN_PIECE;
        if (PQputCopyData(pg_self(db)->conn, p, n) != 1)
            return err_set(err, ERR_CONNECTION, "the connection to the server was lost");
        p += n;
        len -= (size_t)n;
    }
    return 0;
}

int pg_copy_in_end(struct db *db, const char *sql, const char *abort, struct err *err)
{
    struct pg_db *p = pg_self(db);
    PGresult *failed = NULL, *res;
    PQputCopyEnd(p->conn, abort);
    while ((res = pg_next_result(p))) {
        if (PQresultStatus(res) == PGRES_COMMAND_OK || failed)
            PQclear(res);
        else
            failed = res;
    }
    if (!failed)
        return 0;
    err_release(err);
    return pg_fail_query(p, failed, sql, 0, err);
}
