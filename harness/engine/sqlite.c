#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "harness/base/str.h"
#include "harness/engine/engine.h"
#include "harness/engine/pgsplit.h"
#include "harness/engine/sqlite_handle.h"
#include "harness/engine/url.h"

/* A statement that waits longer than this for another process's lock fails. */
#define BUSY_MS 5000
/* Steps of SQLite's machine (some microseconds a thousand) between looks for a request to stop. */
#define STEPS_BETWEEN_LOOKS 10000

struct kept {
    char *sql;
    sqlite3_stmt *stmt;
};

struct sqlite_db {
    struct db base;
    sqlite3 *handle;
    char *shown; /* the path, for messages */
    atomic_bool cancelled;
    struct kept *kept; /* db_query_prepared */
    size_t nkept, kept_cap;
};

static struct sqlite_db *self(const struct db *db)
{
    return (struct sqlite_db *)db;
}

static void sqlite_close(struct db *db)
{
    struct sqlite_db *s = self(db);
    for (size_t i = 0; i < s->nkept; i++) {
        sqlite3_finalize(s->kept[i].stmt);
        free(s->kept[i].sql);
    }
    free(s->kept);
    sqlite3_close(s->handle);
    free(s->shown);
    free(s);
}

/* sqlite3_interrupt() misses a statement that is about to start: the statement looks for itself. */
static int should_stop(void *db)
{
    return atomic_load(&((struct sqlite_db *)db)->cancelled);
}

/* Turns the handle's last error into *err. */
static int fail(struct sqlite_db *s, struct err *err)
{
    int code = sqlite3_extended_errcode(s->handle);
    if (code == SQLITE_READONLY_ROLLBACK || code == SQLITE_READONLY_RECOVERY) {
        err_set(err, ERR_ENV,
                "%s: a program was killed in the middle of a transaction, which "
                "must be rolled back before anybody can read the database",
                s->shown);
        return err_hint(err,
                        "this session may not write; the next one that may does it: sqlite3 "
                        "'%s' 'pragma schema_version'",
                        s->shown);
    }
    switch (code & 0xff) {
    case SQLITE_INTERRUPT:
        atomic_store(&s->cancelled, false);
        return err_set(err, ERR_INTERRUPTED, "interrupted");
    case SQLITE_NOTADB:
    case SQLITE_CORRUPT:
        return err_set(err, ERR_ENV, "%s: %s", s->shown, sqlite3_errmsg(s->handle));
    case SQLITE_FULL:
        err_set(err, ERR_ENV, "%s: %s", s->shown, sqlite3_errmsg(s->handle));
        return err_hint(err, "the disk is full: free some space, or set TMPDIR to a larger one");
    case SQLITE_IOERR:
    case SQLITE_CANTOPEN:
    case SQLITE_PERM:
        errno = sqlite3_system_errno(s->handle);
        return err_set(err, ERR_ENV, "%s: %s%s%s", s->shown, sqlite3_errmsg(s->handle),
                       errno ? ": " : "", errno ? strerror(errno) : "");
    case SQLITE_BUSY:
        err_set(err, ERR_ENV, "%s: %s", s->shown, sqlite3_errmsg(s->handle));
        return err_hint(err, "another program is using the database: let it finish, or close it");
    default:
        return err_set(err, ERR_SQL, "%s", sqlite3_errmsg(s->handle));
    }
}

int sqlite_handle_error(struct db *db, struct err *err)
{
    return fail(self(db), err);
}

static int interrupted(struct sqlite_db *s, struct err *err)
{
    if (atomic_exchange(&s->cancelled, false))
        return err_set(err, ERR_INTERRUPTED, "interrupted");
    return 0;
}

/* The length of the first statement of p, its semicolon left out: the compiler stops in the middle
 * of a statement that it refuses. */
static size_t statement_length(const char *p)
{
    for (const char *semicolon = p; (semicolon = strchr(semicolon, ';')); semicolon++) {
        _cleanup_free_ char *part = xstrndup(p, (size_t)(semicolon - p) + 1);
        if (sqlite3_complete(part))
            return (size_t)(semicolon - p);
    }
    return strlen(p);
}

/* Adds the statement that failed and where in sql it is. at: where its text begins in sql. */
static int fail_at(struct sqlite_db *s, const char *sql, size_t at, int offset, struct err *err)
{
    fail(s, err);
    size_t start = at + sql_skip_blank(sql + at), end = start + statement_length(sql + start);
    while (end > start && strchr(" \t\r\n", sql[end - 1]))
        end--;
    if (end > start)
        err->statement = xstrndup(sql + start, end - start);
    int line, column;
    text_place(sql, offset >= 0 ? at + (size_t)offset : start, &line, &column);
    return err_at(err, NULL, line, offset >= 0 ? column : 0);
}

/* Nobody asks SQLite how much memory it uses, and to count it all threads share one lock. */
static void configure(void)
{
    sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
}

static int sqlite_open(const char *url, unsigned flags, struct db **ret, struct err *err)
{
    static pthread_once_t configured = PTHREAD_ONCE_INIT;
    pthread_once(&configured, configure);
    _cleanup_free_ char *path = NULL;
    if (url_sqlite_path(url, &path, err) < 0)
        return -1;
    bool uri = str_starts(path, "file:");
    struct stat st;
    if (!uri && stat(path, &st) < 0) {
        if (errno != ENOENT || !(flags & DB_OPEN_CREATE)) {
            err_set(err, ERR_ENV, "cannot open the SQLite database %s: %s", path, strerror(errno));
            return errno == ENOENT
                       ? err_hint(err, "check the path; it is relative to the current folder")
                       : -1;
        }
    } else if (!uri && S_ISDIR(st.st_mode)) {
        return err_set(err, ERR_ENV, "cannot open the SQLite database %s: it is a folder", path);
    }
    struct sqlite_db *s = xcalloc(1, sizeof(*s));
    s->base.engine = &engine_sqlite;
    s->shown = uri ? url_redact(path) : xstrdup(path);
    int mode = flags & DB_OPEN_READONLY ? SQLITE_OPEN_READONLY
               : flags & DB_OPEN_CREATE ? SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE
                                        : SQLITE_OPEN_READWRITE;
    if (uri)
        mode |= SQLITE_OPEN_URI;
    /* one thread at a time uses a handle; sqlite3_interrupt() needs no lock */
    int rc = sqlite3_open_v2(path, &s->handle, mode | SQLITE_OPEN_NOMUTEX, NULL);
    if (rc == SQLITE_OK) {
        sqlite3_extended_result_codes(s->handle, 1);
        sqlite3_busy_timeout(s->handle, BUSY_MS);
        sqlite3_progress_handler(s->handle, STEPS_BETWEEN_LOOKS, should_stop, s);
        /* the first statement that reads the file is also the one that finds out what it is */
        const char *setup =
            flags & DB_OPEN_SCRATCH
                ? "pragma schema_version; pragma synchronous = off; pragma journal_mode = memory"
                : "pragma schema_version";
        rc = sqlite3_exec(s->handle, setup, NULL, NULL, NULL);
    }
    if (rc != SQLITE_OK) {
        if ((rc & 0xff) == SQLITE_NOTADB) {
            err_set(err, ERR_ENV, "%s is not an SQLite database", s->shown);
        } else {
            fail(s, err);
            err->code = ERR_ENV;
            err_prefix(err, "cannot open the SQLite database");
        }
        sqlite_close(&s->base);
        return -1;
    }
    *ret = &s->base;
    return 0;
}

static int sqlite_version(const struct db *db)
{
    (void)db;
    return sqlite3_libversion_number();
}

/* Both modes are one: SQLite compiles and runs one statement after the other. */
static int sqlite_run(struct db *db, const char *sql, unsigned flags, int *ret_ran, struct err *err)
{
    (void)flags;
    struct sqlite_db *s = self(db);
    const char *p = sql;
    while (*p) {
        if (interrupted(s, err) < 0)
            return -1;
        size_t at = (size_t)(p - sql);
        sqlite3_stmt *stmt = NULL;
        const char *tail = NULL;
        if (sqlite3_prepare_v2(s->handle, p, -1, &stmt, &tail) != SQLITE_OK)
            return fail_at(s, sql, at, sqlite3_error_offset(s->handle), err);
        if (!stmt) { /* only a comment or white space was left */
            p = tail;
            continue;
        }
        int rc;
        do
            rc = sqlite3_step(stmt);
        while (rc == SQLITE_ROW);
        if (rc != SQLITE_DONE) {
            fail_at(s, sql, at, sqlite3_error_offset(s->handle), err);
            sqlite3_finalize(stmt);
            return -1;
        }
        sqlite3_finalize(stmt);
        p = tail;
        ++*ret_ran;
    }
    return 0;
}

static bool sqlite_in_transaction(const struct db *db)
{
    return !sqlite3_get_autocommit(self(db)->handle);
}

static void sqlite_cancel(struct db *db)
{
    atomic_store(&self(db)->cancelled, true);
    sqlite3_interrupt(self(db)->handle);
}

static void sqlite_take_notices(struct db *db, struct strv *ret)
{
    (void)db;
    (void)ret;
}

static int prepare_one(struct sqlite_db *s, const char *sql, sqlite3_stmt **ret, struct err *err)
{
    sqlite3_stmt *stmt = NULL;
    const char *tail = sql;
    if (sqlite3_prepare_v2(s->handle, sql, -1, &stmt, &tail) != SQLITE_OK)
        return fail_at(s, sql, 0, sqlite3_error_offset(s->handle), err);
    size_t blank = sql_skip_blank(tail);
    if (!stmt || tail[blank]) {
        sqlite3_finalize(stmt);
        return err_set(err, ERR_SQL,
                       stmt ? "more than one statement in a query" : "an empty query");
    }
    *ret = stmt;
    return 0;
}

static int prepare_kept(struct sqlite_db *s, const char *sql, sqlite3_stmt **ret, struct err *err)
{
    for (size_t i = 0; i < s->nkept; i++) {
        if (strcmp(s->kept[i].sql, sql) == 0) {
            *ret = s->kept[i].stmt;
            return 0;
        }
    }
    if (prepare_one(s, sql, ret, err) < 0)
        return -1;
    s->kept = xgrow(s->kept, s->nkept, &s->kept_cap, sizeof(*s->kept));
    s->kept[s->nkept++] = (struct kept){.sql = xstrdup(sql), .stmt = *ret};
    return 0;
}

static int bind_values(struct sqlite_db *s, sqlite3_stmt *stmt, const char *const *values, int n,
                       struct err *err)
{
    for (int i = 0; i < n; i++) {
        char name[16];
        snprintf(name, sizeof(name), "$%d", i + 1);
        int index = sqlite3_bind_parameter_index(stmt, name);
        if (!index) /* PostgreSQL too accepts a value that the statement does not mention */
            continue;
        int rc = values[i] ? sqlite3_bind_text(stmt, index, values[i], -1, SQLITE_STATIC)
                           : sqlite3_bind_null(stmt, index);
        if (rc != SQLITE_OK)
            return fail(s, err);
    }
    return 0;
}

/* Fetches all rows. Texts are gathered in one block, and the cells pointed into it at the end. */
static int fetch(sqlite3_stmt *stmt, struct rows **ret)
{
    struct str block = {0};
    struct cell *cells = NULL;
    size_t n = 0, cap = 0;
    int rc, columns = sqlite3_column_count(stmt), nrows = 0;
    while ((rc = sqlite3_step(stmt)) == SQLITE_ROW) {
        for (int i = 0; i < columns; i++) {
            bool null = sqlite3_column_type(stmt, i) == SQLITE_NULL;
            const void *text = null ? NULL : sqlite3_column_text(stmt, i);
            size_t length = null ? 0 : (size_t)sqlite3_column_bytes(stmt, i);
            cells = xgrow(cells, n, &cap, sizeof(*cells));
            /* not NULL is remembered as any other pointer until the block stands still */
            cells[n++] = (struct cell){.value = null ? NULL : "", .length = length};
            if (!null) {
                str_addn(&block, text ? text : "", length);
                str_addn(&block, "", 1);
            }
        }
        nrows++;
    }
    if (rc != SQLITE_DONE) {
        str_release(&block);
        free(cells);
        return -1;
    }
    char *p = str_take(&block);
    struct rows *rows = xcalloc(1, sizeof(*rows));
    *rows = (struct rows){
        .nrows = nrows, .ncolumns = columns, .cells = cells, .owner = p, .free_owner = free};
    for (size_t i = 0; i < n; i++) {
        if (!cells[i].value)
            continue;
        cells[i].value = p;
        p += cells[i].length + 1;
    }
    *ret = rows;
    return 0;
}

static int sqlite_query(struct db *db, const char *sql, const char *const *values, int nvalues,
                        bool keep, struct rows **ret, struct err *err)
{
    struct sqlite_db *s = self(db);
    sqlite3_stmt *stmt;
    if (interrupted(s, err) < 0)
        return -1;
    if ((keep ? prepare_kept(s, sql, &stmt, err) : prepare_one(s, sql, &stmt, err)) < 0)
        return -1;
    int r = bind_values(s, stmt, values, nvalues, err);
    if (r == 0) {
        r = fetch(stmt, ret);
        if (r < 0)
            fail_at(s, sql, 0, -1, err);
    }
    if (keep) {
        sqlite3_reset(stmt);
        sqlite3_clear_bindings(stmt);
    } else {
        sqlite3_finalize(stmt);
    }
    return r;
}

static char *sqlite_quote_ident(const char *name)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_";
    static const char more[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789";
    size_t n = strlen(name);
    if (n && strchr(letters, name[0]) && strspn(name, more) == n &&
        !sqlite3_keyword_check(name, (int)n))
        return xstrdup(name);
    return quote_with(name, '"');
}

static void *sqlite_handle(struct db *db)
{
    return self(db)->handle;
}

const struct engine engine_sqlite = {
    .name = "sqlite",
    .owns_url = url_is_sqlite,
    .open = sqlite_open,
    .close = sqlite_close,
    .version = sqlite_version,
    .run = sqlite_run,
    .in_transaction = sqlite_in_transaction,
    .cancel = sqlite_cancel,
    .take_notices = sqlite_take_notices,
    .query = sqlite_query,
    .quote_ident = sqlite_quote_ident,
    .handle = sqlite_handle,
};
