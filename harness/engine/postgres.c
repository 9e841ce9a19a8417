#include "harness/engine/postgres_impl.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness/engine/pgpooler.h"
#include "harness/engine/pgsplit.h"
#include "harness/engine/url.h"

#define OLDEST_SERVER 120000
#define MAX_NOTICES 1000
#define MAX_KEPT 1000

static void pg_close(struct db *db)
{
    struct pg_db *p = pg_self(db);
    PQfreeCancel(p->cancel);
    PQfinish(p->conn);
    strv_release(&p->notices);
    strv_release(&p->kept);
    free(p);
}

static void receive_notice(void *arg, const PGresult *res)
{
    struct pg_db *p = arg;
    if (p->notices.n >= MAX_NOTICES) {
        p->notices_lost++;
        return;
    }
    const char *severity = PQresultErrorField(res, PG_DIAG_SEVERITY_NONLOCALIZED);
    const char *text = PQresultErrorField(res, PG_DIAG_MESSAGE_PRIMARY);
    strv_add_take(&p->notices,
                  xasprintf("%s: %s", severity ? severity : "NOTICE", text ? text : "(no text)"));
}

static void pg_take_notices(struct db *db, struct strv *ret)
{
    struct pg_db *p = pg_self(db);
    for (size_t i = 0; i < p->notices.n; i++)
        strv_add_take(ret, TAKE_PTR(p->notices.v[i]));
    p->notices.n = 0;
    if (p->notices_lost)
        strv_add_take(ret, xasprintf("... and %zu more", p->notices_lost));
    p->notices_lost = 0;
}

/* libpq's multi-line text as one line; its own guesses are left out, we have hints. */
static char *one_line(const char *text)
{
    struct str out = {0};
    while (*text) {
        size_t n = strcspn(text, "\n");
        while (n && (*text == '\t' || *text == ' ')) {
            text++;
            n--;
        }
        if (n && !str_starts(text, "Is the server running")) {
            if (out.len)
                str_add(&out, out.p[out.len - 1] == ':' ? " " : "; ");
            str_addn(&out, text, n);
        }
        text += n + (text[n] == '\n');
    }
    return str_take(&out);
}

static int connection_lost(const char *why, struct err *err)
{
    /* the first line says what happened, the following ones guess why */
    _cleanup_free_ char *first = xstrndup(why, strcspn(why, "\n"));
    const char *text = str_starts(first, "FATAL:  ") ? first + 8 : first;
    return err_set(err, ERR_CONNECTION, "the connection to the server was lost: %s",
                   *text ? text : "no reason given");
}

static enum err_code code_for_sqlstate(const char *state)
{
    /* insufficient resources (disk full, out of memory), system errors: no fault of the SQL */
    if (str_starts(state, "53") || strcmp(state, "58000") == 0 || strcmp(state, "58030") == 0)
        return ERR_ENV;
    return ERR_SQL;
}

/* Fills err from a failed result: everything but the place. */
static int fail_result(struct pg_db *p, const PGresult *res, struct err *err)
{
    const char *state = PQresultErrorField(res, PG_DIAG_SQLSTATE);
    const char *text = PQresultErrorField(res, PG_DIAG_MESSAGE_PRIMARY);
    const char *hint = PQresultErrorField(res, PG_DIAG_MESSAGE_HINT);
    const char *detail = PQresultErrorField(res, PG_DIAG_MESSAGE_DETAIL);
    const char *context = PQresultErrorField(res, PG_DIAG_CONTEXT);
    if (state && strcmp(state, "57014") == 0 && atomic_exchange(&p->cancelled, false)) {
        err_set(err, ERR_INTERRUPTED, "interrupted");
    } else if (!text) { /* made by libpq, not by the server */
        _cleanup_free_ char *line = one_line(PQresultErrorMessage(res));
        err_set(err, ERR_SQL, "%s", line);
    } else {
        err_set(err, state ? code_for_sqlstate(state) : ERR_SQL, "%s", text);
    }
    if (hint)
        err_hint(err, "%s", hint);
    else if (state && strcmp(state, "53100") == 0)
        err_hint(err, "the server's disk is full: free some space");
    if (detail || context)
        err->detail = xasprintf("%s%s%s", detail ? detail : "", detail && context ? "\n" : "",
                                context ? context : "");
    if (state)
        snprintf(err->sqlstate, sizeof(err->sqlstate), "%s", state);
    err->db_column = xstrdup(PQresultErrorField(res, PG_DIAG_COLUMN_NAME));
    err->db_constraint = xstrdup(PQresultErrorField(res, PG_DIAG_CONSTRAINT_NAME));
    return -1;
}

/* ---- opening ---- */

static void add_connect_hint(const char *text, struct err *err)
{
    if (strstr(text, "Connection refused") || strstr(text, "No such file or directory"))
        err_hint(err, "is the server running there, and does it accept connections?");
    else if (strstr(text, "timeout expired") || strstr(text, "timed out"))
        err_hint(err,
                 "nothing answers there: check host and port, and that no firewall is in between");
    else if (strstr(text, "password authentication failed") || strstr(text, "no password supplied"))
        err_hint(err, "check user and password; PGPASSWORD and ~/.pgpass are read too");
    else if (strstr(text, "could not translate host name"))
        err_hint(err, "check the host name");
}

static int exec_setup(struct pg_db *p, const char *sql, struct err *err)
{
    PGresult *res = PQexec(p->conn, sql);
    ExecStatusType status = PQresultStatus(res);
    int r = 0;
    if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK) {
        r = fail_result(p, res, err);
        err->code = ERR_ENV;
    }
    PQclear(res);
    return r;
}

static int pg_open(const char *url, unsigned flags, struct db **ret, struct err *err)
{
    _cleanup_conninfo_ struct conninfo c = {0};
    if (conninfo_parse(url, &c, err) < 0)
        return -1;
    if (!conninfo_get(&c, "connect_timeout") && !getenv("PGCONNECT_TIMEOUT"))
        conninfo_set(&c, "connect_timeout", "10");
    if (!conninfo_get(&c, "application_name"))
        conninfo_set(&c, "application_name", "belay");
    conninfo_set(&c, "client_encoding", "UTF8");
    if (flags & DB_OPEN_SCRATCH)
        conninfo_add_setting(&c, "synchronous_commit", "off");

    struct pg_db *p = xcalloc(1, sizeof(*p));
    p->base.engine = &engine_postgres;
    p->conn = PQconnectdbParams((const char *const *)c.keywords, (const char *const *)c.values, 0);
    _cleanup_free_ char *shown = url_redact(url);
    if (PQstatus(p->conn) != CONNECTION_OK) {
        _cleanup_free_ char *why = one_line(PQerrorMessage(p->conn));
        err_set(err, ERR_ENV, "cannot connect to %s: %s", shown, why);
        add_connect_hint(why, err);
        pg_close(&p->base);
        return -1;
    }
    PQsetNoticeReceiver(p->conn, receive_notice, p);
    p->cancel = PQgetCancel(p->conn);
    int version = PQserverVersion(p->conn);
    if (version < OLDEST_SERVER) {
        err_set(err, ERR_ENV, "the server at %s is PostgreSQL %s, which is too old", shown,
                PQparameterStatus(p->conn, "server_version"));
        err_hint(err, "belay needs PostgreSQL 12 or newer");
        pg_close(&p->base);
        return -1;
    }
    if (flags & DB_OPEN_READONLY &&
        (pg_refuse_pooler(&p->base, url, err) < 0 ||
         exec_setup(p,
                    "set statement_timeout = 0; set default_transaction_read_only = on; set "
                    "timezone = 'UTC';"
                    " set datestyle = 'ISO, YMD'; set intervalstyle = postgres;"
                    " set extra_float_digits = 3; set bytea_output = hex; set xmloption = content;"
                    " set lock_timeout = 0;"
                    " set idle_in_transaction_session_timeout = 0",
                    err) < 0)) {
        pg_close(&p->base);
        return -1;
    }
    *ret = &p->base;
    return 0;
}

static int pg_version(const struct db *db)
{
    return PQserverVersion(pg_self(db)->conn);
}

/* ---- running ---- */

int pg_interrupted(struct pg_db *p, struct err *err)
{
    if (atomic_exchange(&p->cancelled, false))
        return err_set(err, ERR_INTERRUPTED, "interrupted");
    return 0;
}

static void drain_copy_out(PGconn *conn)
{
    char *line;
    while (PQgetCopyData(conn, &line, 0) > 0)
        PQfreemem(line);
}

/* Milliseconds between two looks at whether a request to stop has come. */
#define CANCEL_POLL_MS 500

static void request_cancel(struct pg_db *p)
{
    char ignored[256]; /* a server that cannot be reached has nothing left to cancel */
    if (p->cancel)
        PQcancel(p->cancel, ignored, sizeof(ignored));
}

int pg_wait(struct pg_db *p)
{
    struct pollfd fd = {.fd = PQsocket(p->conn), .events = POLLIN};
    if (poll(&fd, 1, CANCEL_POLL_MS) == 0 && atomic_load(&p->cancelled))
        request_cancel(p);
    return fd.revents && !PQconsumeInput(p->conn) ? -1 : 0;
}

PGresult *pg_next_result(struct pg_db *p)
{
    while (PQisBusy(p->conn) && pg_wait(p) == 0)
        ;
    return PQgetResult(p->conn);
}

/* The only result of a query that was just sent; all of them are read. */
static PGresult *last_result(struct pg_db *p, int sent)
{
    PGresult *last = NULL, *res;
    while (sent && (res = pg_next_result(p))) {
        PQclear(last);
        last = res;
        ExecStatusType status = PQresultStatus(res);
        if (status == PGRES_COPY_IN || status == PGRES_COPY_OUT)
            break;
    }
    return last ? last : PQmakeEmptyPGresult(p->conn, PGRES_FATAL_ERROR);
}

/*
 * Sends text by the simple query protocol and reads all results, so that the session is free again
 * whatever happened. Returns the first failed result, owned by the caller, or NULL.
 */
static PGresult *send_text(struct pg_db *p, const char *text, int *ran, bool *copy_in)
{
    PGresult *failed = NULL, *res;
    *copy_in = false;
    if (!PQsendQuery(p->conn, text))
        return PQmakeEmptyPGresult(p->conn, PGRES_FATAL_ERROR);
    while ((res = pg_next_result(p))) {
        switch (PQresultStatus(res)) {
        case PGRES_COMMAND_OK:
        case PGRES_TUPLES_OK:
            ++*ran;
            break;
        case PGRES_EMPTY_QUERY:
            break;
        case PGRES_COPY_IN:
            *copy_in = true;
            PQputCopyEnd(p->conn, "no data");
            break;
        case PGRES_COPY_OUT:
            drain_copy_out(p->conn);
            break;
        default:
            if (!failed) {
                failed = res;
                continue;
            }
        }
        PQclear(res);
    }
    return failed;
}

/* The byte offset of the n-th character (1-based). */
static size_t character_offset(const char *text, int n)
{
    size_t i = 0;
    for (int seen = 1; text[i]; i++) {
        if (((unsigned char)text[i] & 0xc0) == 0x80)
            continue;
        if (seen++ == n)
            break;
    }
    return i;
}

/* Records the statement of sql that failed, and its place: the server names a character for errors
 * of parsing and analysis; for others the count of statements that ran tells which one it was. */
static void place_error(const PGresult *res, const char *sql, const struct statement *sent, int ran,
                        struct err *err)
{
    const char *position = PQresultErrorField(res, PG_DIAG_STATEMENT_POSITION);
    size_t base = sent ? sent->start : 0;
    size_t offset = position ? base + character_offset(sql + base, atoi(position)) : 0;
    _cleanup_statements_ struct statements all = {0};
    struct statement s = {0};
    if (sent) {
        s = *sent;
    } else {
        pg_split(sql, &all);
        for (size_t i = 0; i < all.n; i++)
            if (position ? all.v[i].start <= offset : i <= (size_t)ran)
                s = all.v[i];
    }
    if (s.len)
        err->statement = xstrndup(sql + s.start, s.len);
    int line, column;
    text_place(sql, position ? offset : s.start, &line, &column);
    err_at(err, NULL, line, position ? column : 0);
}

/* Runs sql whole, or only the statement `sent` of it. */
static int run_text(struct pg_db *p, const char *sql, const struct statement *sent, int *ran,
                    struct err *err)
{
    if (pg_interrupted(p, err) < 0)
        return -1;
    _cleanup_free_ char *part = sent ? xstrndup(sql + sent->start, sent->len) : NULL;
    int before = *ran;
    bool copy_in;
    PGresult *failed = send_text(p, part ? part : sql, ran, &copy_in);
    if (!failed)
        return 0;
    if (copy_in && PQstatus(p->conn) == CONNECTION_OK) {
        err_set(err, ERR_SQL, "COPY ... FROM STDIN has no data to read here");
        err_hint(err, "data after COPY is a feature of psql; use INSERT");
    } else {
        fail_result(p, failed, err);
    }
    if (PQstatus(p->conn) == CONNECTION_BAD) {
        char state[sizeof(err->sqlstate)];
        memcpy(state, err->sqlstate, sizeof(state));
        _cleanup_free_ char *why = xstrdup(state[0] ? err->message : PQerrorMessage(p->conn));
        connection_lost(why, err);
        memcpy(err->sqlstate, state, sizeof(state));
    }
    place_error(failed, sql, sent, *ran - before, err);
    PQclear(failed);
    return -1;
}

static int pg_run(struct db *db, const char *sql, unsigned flags, int *ret_ran, struct err *err)
{
    struct pg_db *p = pg_self(db);
    if (!(flags & DB_RUN_STATEMENTS))
        return run_text(p, sql, NULL, ret_ran, err);
    _cleanup_statements_ struct statements all = {0};
    pg_split(sql, &all);
    for (size_t i = 0; i < all.n; i++)
        if (run_text(p, sql, &all.v[i], ret_ran, err) < 0)
            return -1;
    return 0;
}

static bool pg_in_transaction(const struct db *db)
{
    PGTransactionStatusType s = PQtransactionStatus(pg_self(db)->conn);
    return s == PQTRANS_INTRANS || s == PQTRANS_INERROR || s == PQTRANS_ACTIVE;
}

static void pg_cancel(struct db *db)
{
    struct pg_db *p = pg_self(db);
    atomic_store(&p->cancelled, true);
    request_cancel(p);
}

/* ---- querying ---- */

static void clear_result(void *res)
{
    PQclear(res);
}

static struct rows *rows_from_result(PGresult *res)
{
    struct rows *rows = xcalloc(1, sizeof(*rows));
    rows->nrows = PQntuples(res);
    rows->ncolumns = PQnfields(res);
    rows->owner = res;
    rows->free_owner = clear_result;
    rows->cells = xcalloc((size_t)rows->nrows * (size_t)rows->ncolumns, sizeof(*rows->cells));
    struct cell *c = rows->cells;
    for (int i = 0; i < rows->nrows; i++) {
        for (int k = 0; k < rows->ncolumns; k++, c++) {
            if (PQgetisnull(res, i, k))
                continue;
            c->value = PQgetvalue(res, i, k);
            c->length = (size_t)PQgetlength(res, i, k);
        }
    }
    return rows;
}

int pg_fail_query(struct pg_db *p, PGresult *res, const char *sql, int ran, struct err *err)
{
    ExecStatusType status = PQresultStatus(res);
    if (status == PGRES_COPY_IN || status == PGRES_COPY_OUT) {
        err_set(err, ERR_SQL, "COPY is no query");
        if (status == PGRES_COPY_IN)
            PQputCopyEnd(p->conn, "no data");
        else
            drain_copy_out(p->conn);
        PGresult *rest;
        while ((rest = PQgetResult(p->conn)))
            PQclear(rest);
    } else if (PQstatus(p->conn) == CONNECTION_BAD) {
        connection_lost(PQerrorMessage(p->conn), err);
    } else {
        fail_result(p, res, err);
    }
    place_error(res, sql, NULL, ran, err);
    PQclear(res);
    return -1;
}

/* The name under which sql is prepared; NULL with *err set when that fails. */
static const char *kept_name(struct pg_db *p, const char *sql, char name[32], struct err *err)
{
    size_t i = 0;
    while (i < p->kept.n && strcmp(p->kept.v[i], sql) != 0)
        i++;
    snprintf(name, 32, "belay_%zu", i);
    if (i < p->kept.n)
        return name;
    PGresult *res = PQprepare(p->conn, name, sql, 0, NULL);
    if (PQresultStatus(res) != PGRES_COMMAND_OK) {
        pg_fail_query(p, res, sql, 0, err);
        return NULL;
    }
    PQclear(res);
    strv_add(&p->kept, sql);
    return name;
}

static int pg_query(struct db *db, const char *sql, const char *const *values, int nvalues,
                    bool keep, struct rows **ret, struct err *err)
{
    struct pg_db *p = pg_self(db);
    if (pg_interrupted(p, err) < 0)
        return -1;
    PGresult *res;
    if (keep && p->kept.n < MAX_KEPT) {
        char name[32];
        if (!kept_name(p, sql, name, err))
            return -1;
        res = last_result(p, PQsendQueryPrepared(p->conn, name, nvalues, values, NULL, NULL, 0));
    } else {
        res = last_result(p, PQsendQueryParams(p->conn, sql, nvalues, NULL, values, NULL, NULL, 0));
    }
    ExecStatusType status = PQresultStatus(res);
    if (status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK)
        return pg_fail_query(p, res, sql, 0, err);
    *ret = rows_from_result(res);
    return 0;
}

/* The result of the next statement of a pipeline. */
static PGresult *pipeline_result(struct pg_db *p)
{
    PGresult *res = PQgetResult(p->conn), *end = res ? PQgetResult(p->conn) : NULL;
    PQclear(end); /* NULL, which ends a statement */
    return res ? res : PQmakeEmptyPGresult(p->conn, PGRES_FATAL_ERROR);
}

static int pg_query_batch(struct db *db, const char *const *sql, size_t n,
                          const char *const *values, int nvalues, struct rows **ret,
                          struct err *err)
{
    struct pg_db *p = pg_self(db);
    if (pg_interrupted(p, err) < 0)
        return -1;
    char name[32];
    for (size_t i = 0; i < n; i++)
        if (!kept_name(p, sql[i], name, err))
            return -1;
    bool sent = PQenterPipelineMode(p->conn) == 1;
    for (size_t i = 0; sent && i < n; i++)
        sent = PQsendQueryPrepared(p->conn, kept_name(p, sql[i], name, err), nvalues, values, NULL,
                                   NULL, 0) == 1;
    if (!sent || !PQpipelineSync(p->conn))
        return connection_lost(PQerrorMessage(p->conn), err);

    /* After a failure the server skips the rest, up to the sync. */
    PGresult **results = xcalloc(n, sizeof(PGresult *)), *failed = NULL;
    size_t failed_at = 0;
    for (size_t i = 0; i < n; i++) {
        results[i] = pipeline_result(p);
        if (!failed && PQresultStatus(results[i]) != PGRES_TUPLES_OK) {
            failed = TAKE_PTR(results[i]);
            failed_at = i;
        }
    }
    PQclear(PQgetResult(p->conn)); /* the sync */
    PQexitPipelineMode(p->conn);
    for (size_t i = 0; i < n; i++) {
        if (failed)
            PQclear(results[i]);
        else
            ret[i] = rows_from_result(results[i]);
    }
    free(results);
    return failed ? pg_fail_query(p, failed, sql[failed_at], 0, err) : 0;
}

/* ---- names ---- */

/* Every keyword that the server's quote_ident() quotes: all but the unreserved ones; 12 to 18.
 * Sorted. */
static const char *const keywords[] = {
    "all",
    "analyse",
    "analyze",
    "and",
    "any",
    "array",
    "as",
    "asc",
    "asymmetric",
    "authorization",
    "between",
    "bigint",
    "binary",
    "bit",
    "boolean",
    "both",
    "case",
    "cast",
    "char",
    "character",
    "check",
    "coalesce",
    "collate",
    "collation",
    "column",
    "concurrently",
    "constraint",
    "create",
    "cross",
    "current_catalog",
    "current_date",
    "current_role",
    "current_schema",
    "current_time",
    "current_timestamp",
    "current_user",
    "dec",
    "decimal",
    "default",
    "deferrable",
    "desc",
    "distinct",
    "do",
    "else",
    "end",
    "except",
    "exists",
    "extract",
    "false",
    "fetch",
    "float",
    "for",
    "foreign",
    "freeze",
    "from",
    "full",
    "grant",
    "greatest",
    "group",
    "grouping",
    "having",
    "ilike",
    "in",
    "initially",
    "inner",
    "inout",
    "int",
    "integer",
    "intersect",
    "interval",
    "into",
    "is",
    "isnull",
    "join",
    "json",
    "json_array",
    "json_arrayagg",
    "json_exists",
    "json_object",
    "json_objectagg",
    "json_query",
    "json_scalar",
    "json_serialize",
    "json_table",
    "json_value",
    "lateral",
    "leading",
    "least",
    "left",
    "like",
    "limit",
    "localtime",
    "localtimestamp",
    "merge_action",
    "national",
    "natural",
    "nchar",
    "none",
    "normalize",
    "not",
    "notnull",
    "null",
    "nullif",
    "numeric",
    "offset",
    "on",
    "only",
    "or",
    "order",
    "out",
    "outer",
    "overlaps",
    "overlay",
    "placing",
    "position",
    "precision",
    "primary",
    "real",
    "references",
    "returning",
    "right",
    "row",
    "select",
    "session_user",
    "setof",
    "similar",
    "smallint",
    "some",
    "substring",
    "symmetric",
    "system_user",
    "table",
    "tablesample",
    "then",
    "time",
    "timestamp",
    "to",
    "trailing",
    "treat",
    "trim",
    "true",
    "union",
    "unique",
    "user",
    "using",
    "values",
    "varchar",
    "variadic",
    "verbose",
    "when",
    "where",
    "window",
    "with",
    "xmlattributes",
    "xmlconcat",
    "xmlelement",
    "xmlexists",
    "xmlforest",
    "xmlnamespaces",
    "xmlparse",
    "xmlpi",
    "xmlroot",
    "xmlserialize",
    "xmltable",
};

static int compare_keyword(const void *name, const void *keyword)
{
    return strcmp(name, *(const char *const *)keyword);
}

static char *pg_quote_ident(const char *name)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz_";
    static const char more[] = "abcdefghijklmnopqrstuvwxyz_0123456789";
    size_t n = strlen(name);
    bool keyword =
        bsearch(name, keywords, ARRAY_LEN(keywords), sizeof(keywords[0]), compare_keyword) != NULL;
    if (n && strchr(letters, name[0]) && strspn(name, more) == n && !keyword)
        return xstrdup(name);
    return quote_with(name, '"');
}

static void *pg_handle(struct db *db)
{
    return pg_self(db)->conn;
}

const struct engine engine_postgres = {
    .name = "postgres",
    .owns_url = url_is_postgres,
    .open = pg_open,
    .close = pg_close,
    .version = pg_version,
    .run = pg_run,
    .in_transaction = pg_in_transaction,
    .cancel = pg_cancel,
    .take_notices = pg_take_notices,
    .query = pg_query,
    .query_batch = pg_query_batch,
    .quote_ident = pg_quote_ident,
    .handle = pg_handle,
};
