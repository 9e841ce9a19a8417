#include "backup/sqlite_source.h"

#include <stdlib.h>
#include <string.h>

#include "backup/sqlite_copy.h"
#include "harness/base/str.h"

enum { CHECK_LINES = 100 /* how many findings of a check are recorded */ };

void sqlite_source_close(struct sqlite_source *s)
{
    db_close(TAKE_PTR(s->db));
    db_close(TAKE_PTR(s->guard));
}

static int open_session(const char *url, int lock_timeout_ms, const char *sql, struct db **ret,
                        struct err *err)
{
    int ran;
    if (db_open(&engine_sqlite, url, DB_OPEN_DEFAULT, ret, err) < 0)
        return -1;
    sqlite3_busy_timeout(db_handle(*ret), lock_timeout_ms);
    return db_run(*ret, sql, DB_RUN_WHOLE, &ran, err);
}

int sqlite_source_open(struct sqlite_source *s, const char *url, int lock_timeout_ms,
                       struct err *err)
{
    static const char read[] = "begin; select count(*) from main.sqlite_schema";
    _cleanup_free_ char *mode = NULL;
    if (open_session(url, lock_timeout_ms, "", &s->guard, err) < 0 ||
        db_query_text(s->guard, "pragma main.journal_mode", NULL, 0, &mode, err) < 0)
        return -1;
    int ran;
    s->locked = !str_eq(mode, "wal") && sqlite3_db_readonly(db_handle(s->guard), "main") != 1;
    if (s->locked && db_run(s->guard, "begin immediate", DB_RUN_WHOLE, &ran, err) < 0)
        return -1;
    return open_session(url, lock_timeout_ms, read, &s->db, err);
}

int sqlite_source_copy(struct sqlite_source *s, const char *path, int page_size,
                       struct meter *meter, struct err *err)
{
    _cleanup_sqlite_ sqlite3 *to = NULL;
    if (sqlite_copy_open(path, SQLITE_OPEN_READWRITE, &to, err) < 0)
        return -1;
    sqlite3_exec(to, "pragma journal_mode = off; pragma synchronous = off", NULL, NULL, NULL);
    sqlite3_backup *b = sqlite3_backup_init(to, "main", db_handle(s->db), "main");
    if (!b)
        return err_set(err, ERR_ENV, "cannot copy to %s: %s", path, sqlite3_errmsg(to));
    int rc = sqlite_copy_run(b, to, page_size, meter, err);
    sqlite3_backup_finish(b);
    return rc;
}

/* Each row of the pragma as a line; that it cannot do its work is a line too. */
static int check(struct db *db, const char *pragma, struct strv *ret, struct err *err)
{
    _cleanup_free_ char *sql = xasprintf("pragma main.%s", pragma);
    _cleanup_rows_ struct rows *rows = NULL;
    _cleanup_err_ struct err why = {0};
    size_t name = strcspn(pragma, "(");
    if (db_query(db, sql, NULL, 0, &rows, &why) < 0) {
        if (why.code != ERR_SQL) {
            err_move(err, &why);
            return -1;
        }
        strv_add_take(ret, xasprintf("%.*s: %s", (int)name, pragma, why.message));
        return 0;
    }
    for (int i = 0; i < rows_count(rows) && i < CHECK_LINES; i++) {
        if (rows_columns(rows) == 1 && str_eq(rows_get(rows, i, 0), "ok"))
            continue;
        _cleanup_str_ struct str line = {0};
        str_addf(&line, "%.*s:", (int)name, pragma);
        for (int k = 0; k < rows_columns(rows); k++)
            str_addf(&line, " %s", rows_get(rows, i, k) ? rows_get(rows, i, k) : "NULL");
        strv_add_take(ret, str_take(&line));
    }
    return 0;
}

int sqlite_check(struct db *db, struct strv *ret, struct err *err)
{
    return check(db, "integrity_check(100)", ret, err) < 0
               ? -1
               : check(db, "foreign_key_check", ret, err);
}
