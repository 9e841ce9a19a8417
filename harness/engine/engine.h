/*
 * What a database is. One vtable per engine (SQLite, PostgreSQL); everything above calls the db_*
 * functions and knows no driver.
 *
 * Calling sequence:
 *
 *     const struct engine *e = engine_for_url(url, err);
 *     struct db *db;
 *     db_open(e, url, DB_OPEN_DEFAULT, &db, err);
 *     db_run(db, "create table t (a int); insert into t values (1)", 0, NULL, err);
 *     struct rows *rows;
 *     db_query(db, "select a from t where a = $1", (const char *[]){"1"}, 1, &rows, err);
 *     rows_get(rows, 0, 0) -> "1"
 *     rows_free(rows);
 *     db_close(db);
 *
 * A struct db is used by one thread at a time; two handles may be used by two threads. Values are
 * always bound; identifiers go through db_quote_ident().
 *
 * URLs are taken as SQLAlchemy writes them (postgresql+asyncpg://, sqlite:///relative.db,
 * sqlite:////absolute.db) and as libpq does (postgres://, key=value strings).
 */
#ifndef BELAY_ENGINE_H
#define BELAY_ENGINE_H

#include <stdbool.h>
#include <stddef.h>

#include "harness/base/cleanup.h"
#include "harness/base/err.h"

struct db;
struct engine;
struct strv;

extern const struct engine engine_sqlite;
extern const struct engine engine_postgres;

/* NULL-terminated, for loops over all engines. */
extern const struct engine *const engines[];

const char *engine_name(const struct engine *e);       /* "sqlite", "postgres" */
const struct engine *engine_by_name(const char *name); /* also "postgresql"; NULL when unknown */

/* The engine that a URL (or a bare path of an SQLite file that exists) belongs to, or NULL with
 * ERR_USAGE. */
const struct engine *engine_for_url(const char *url, struct err *err);

/* The URL without its password, for display. The caller owns the result. Never fails: what cannot
 * be parsed is shown as "<unreadable url>". When in doubt it hides more than the password. */
char *url_redact(const char *url);

enum db_open_flags {
    DB_OPEN_DEFAULT = 0,
    DB_OPEN_READONLY = 1, /* the session refuses writes */
    DB_OPEN_CREATE = 2,   /* SQLite: create the file when missing; otherwise missing is an error */
    DB_OPEN_SCRATCH = 4,  /* durability off: only for databases that belay made */
};

/*
 * Opens a session. Failing to connect is ERR_ENV, a malformed URL ERR_USAGE; the message carries no
 * password. The server must be PostgreSQL 12 or newer, the file an SQLite database (or empty). A
 * server that does not answer is given up after 10 s, unless the URL or PGCONNECT_TIMEOUT says
 * otherwise. DB_OPEN_READONLY also pins what changes how values read: TimeZone UTC, ISO dates, no
 * timeouts.
 */
int db_open(const struct engine *e, const char *url, unsigned flags, struct db **ret,
            struct err *err);
void db_close(struct db *db);
DEFINE_CLEANUP(struct db *, db_close);
#define _cleanup_db_ _cleanup_(cleanup_db_close)

const struct engine *db_engine(const struct db *db);
/* Major * 10000 + minor for PostgreSQL (150018), sqlite3_libversion_number() for SQLite. */
int db_version(const struct db *db);

enum db_run_flags {
    DB_RUN_WHOLE = 0, /* the text is sent as one: PostgreSQL's simple query protocol runs several
                         statements in one implicit transaction; SQLite runs them in turn */
    DB_RUN_STATEMENTS = 1, /* split by the engine's own parser, each statement on its own */
};

/*
 * Runs SQL that may hold several statements and throws rows away. On failure the error (ERR_SQL
 * when the SQL is at fault; ERR_CONNECTION, ERR_ENV, ERR_INTERRUPTED otherwise) holds SQLSTATE
 * (PostgreSQL), hint, detail, the failing statement, and line and column within sql (1-based);
 * where the engine names no position, the line is where the failing statement begins and the column
 * is 0. *ret_ran, when not NULL, is set in any case: the number of statements that succeeded (on
 * PostgreSQL a failed DB_RUN_WHOLE has rolled them back, unless the text commits by itself). The
 * session is left as the failure left it: see db_in_transaction().
 */
int db_run(struct db *db, const char *sql, unsigned flags, int *ret_ran, struct err *err);

/* True while a transaction is open, aborted ones included. */
bool db_in_transaction(const struct db *db);

/*
 * Asks the statement that runs in another thread (or below a signal handler: the function is
 * async-signal-safe) to stop: it fails with ERR_INTERRUPTED. A request that finds nothing running
 * is not lost: the next db_run or db_query fails with ERR_INTERRUPTED instead of starting. One
 * failure consumes it. Must not race with db_close().
 */
void db_cancel(struct db *db);

/*
 * The server's notices and warnings since the last call, "NOTICE: table \"x\" does not exist,
 * skipping", appended to ret in order. Past the first 1000 they are only counted, in one last
 * entry. SQLite has none.
 */
void db_take_notices(struct db *db, struct strv *ret);

/*
 * One statement with bound values ($1, $2 on both engines; NULL is SQL NULL; all bound as text,
 * which the engine converts to the type of what they meet), all rows fetched. *ret is untouched on
 * failure.
 */
struct rows;
int db_query(struct db *db, const char *sql, const char *const *values, int nvalues,
             struct rows **ret, struct err *err);
/*
 * Like db_query, and keeps the statement prepared until the session ends: for texts that a session
 * repeats, such as catalog queries. The number of distinct texts must be small and bounded. Only
 * for sessions that run nothing but belay's own SQL: a migration's DISCARD ALL would drop the
 * statement.
 */
int db_query_prepared(struct db *db, const char *sql, const char *const *values, int nvalues,
                      struct rows **ret, struct err *err);
/*
 * n statements with the same values, each kept prepared as by db_query_prepared(), in one round
 * trip where the engine can. ret[i] are the rows of sql[i]; all untouched on failure, and the
 * error's statement says which one failed.
 */
int db_query_batch(struct db *db, const char *const *sql, size_t n, const char *const *values,
                   int nvalues, struct rows **ret, struct err *err);
int rows_count(const struct rows *r);
int rows_columns(const struct rows *r);
const char *rows_get(const struct rows *r, int row, int column); /* NULL for SQL NULL */
size_t rows_length(const struct rows *r, int row, int column);
void rows_free(struct rows *r);
DEFINE_CLEANUP(struct rows *, rows_free);
#define _cleanup_rows_ _cleanup_(cleanup_rows_free)

/* The first column of the first row, or NULL when there is no row or it is NULL. The caller owns
 * *ret. */
int db_query_text(struct db *db, const char *sql, const char *const *values, int nvalues,
                  char **ret, struct err *err);

/* What a session must answer to show which database it is on: a query of one value. */
struct db_proof {
    const char *query, *answer;
};

/* ERR_ENV when the session answers anything else. */
int db_prove(struct db *db, const struct db_proof *proof, struct err *err);

/* An identifier as SQL takes it, quoted only where it must be. The caller owns the result. */
char *db_quote_ident(const struct db *db, const char *name);

/* The driver's own handle, for the schema readers: sqlite3 * or PGconn *. */
void *db_handle(struct db *db);

/*
 * The vtable. Functions follow the db_* function of the same name above.
 */
struct engine {
    const char *name;
    bool (*owns_url)(const char *url);
    int (*open)(const char *url, unsigned flags, struct db **ret, struct err *err);
    void (*close)(struct db *db);
    int (*version)(const struct db *db);
    int (*run)(struct db *db, const char *sql, unsigned flags, int *ret_ran, struct err *err);
    bool (*in_transaction)(const struct db *db);
    void (*cancel)(struct db *db);
    void (*take_notices)(struct db *db, struct strv *ret);
    int (*query)(struct db *db, const char *sql, const char *const *values, int nvalues, bool keep,
                 struct rows **ret, struct err *err); /* keep: db_query_prepared */
    int (*query_batch)(struct db *db, const char *const *sql, size_t n, const char *const *values,
                       int nvalues, struct rows **ret, struct err *err); /* NULL: one by one */
    char *(*quote_ident)(const char *name);
    void *(*handle)(struct db *db);
};

/* Every engine's struct db begins with this. */
struct db {
    const struct engine *engine;
};

/* What an engine's query() makes: nrows * ncolumns cells, row by row, that point into owner. */
struct cell {
    const char *value; /* NULL for SQL NULL */
    size_t length;
};
struct rows {
    int nrows, ncolumns;
    struct cell *cells; /* freed by rows_free() */
    void *owner;
    void (*free_owner)(void *owner);
};

#endif
