#include "backup/sqlite_copy.h"

#include <stdio.h>
#include <string.h>

#include "harness/base/str.h"

char *sqlite_url_frozen(const char *path)
{
    _cleanup_str_ struct str url = {0};
    str_add(&url, "file:");
    while (path[0] == '/' && path[1] == '/') /* would begin the name of a host */
        path++;
    for (const char *p = path; *p; p++) {
        if (strchr("%?#", *p))
            str_addf(&url, "%%%02X", (unsigned char)*p);
        else
            str_addc(&url, *p);
    }
    str_add(&url, "?immutable=1");
    return str_take(&url);
}

static int failed(const char *what, const char *path, const char *why, int code, struct err *err)
{
    err_set(err, ERR_ENV, "cannot %s %s: %s", what, path, why);
    if ((code & 0xff) == SQLITE_BUSY || (code & 0xff) == SQLITE_LOCKED)
        return err_hint(err, "another program is using the database: let it finish, or close it");
    if ((code & 0xff) == SQLITE_FULL)
        return err_hint(err, "the disk is full: free some space");
    return -1;
}

int sqlite_copy_open(const char *path, int flags, sqlite3 **ret, struct err *err)
{
    sqlite3 *db = NULL;
    int rc = sqlite3_open_v2(path, &db, flags | SQLITE_OPEN_NOMUTEX, NULL);
    if (rc != SQLITE_OK) {
        failed("open", path, sqlite3_errmsg(db), rc, err);
        sqlite3_close(db);
        return -1;
    }
    sqlite3_extended_result_codes(db, 1);
    *ret = db;
    return 0;
}

int sqlite_copy_run(sqlite3_backup *b, sqlite3 *to, int page_size, struct meter *meter,
                    struct err *err)
{
    int pages = (4 << 20) / page_size, rc;
    do {
        int before = sqlite3_backup_remaining(b);
        rc = sqlite3_backup_step(b, pages);
        int copied = before ? before - sqlite3_backup_remaining(b) : pages;
        if (meter_add(meter, (uint64_t)(copied > 0 ? copied : 0) * (uint64_t)page_size, 0, err) < 0)
            return -1;
    } while (rc == SQLITE_OK);
    return rc == SQLITE_DONE
               ? 0
               : failed("write", sqlite3_db_filename(to, "main"), sqlite3_errstr(rc), rc, err);
}

int sqlite_number(sqlite3 *db, const char *sql, int64_t *ret)
{
    sqlite3_stmt *stmt = NULL;
    int rc = sqlite3_prepare_v2(db, sql, -1, &stmt, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_step(stmt);
    if (rc == SQLITE_ROW)
        *ret = sqlite3_column_int64(stmt, 0);
    sqlite3_finalize(stmt);
    return rc;
}

int sqlite_pragma(sqlite3 *db, const char *name, int64_t *ret, struct err *err)
{
    _cleanup_free_ char *sql = xasprintf("pragma main.%s", name);
    int rc = sqlite_number(db, sql, ret);
    return rc == SQLITE_ROW
               ? 0
               : failed("read", sqlite3_db_filename(db, "main"), sqlite3_errmsg(db), rc, err);
}
