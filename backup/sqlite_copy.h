/*
 * SQLite files copied page by page, and read while nobody changes them.
 */
#ifndef BELAY_SQLITE_COPY_H
#define BELAY_SQLITE_COPY_H

#include <sqlite3.h>

#include "backup/meter.h"
#include "harness/base/err.h"

/* A URL for db_open() with DB_OPEN_READONLY, of a file that nobody writes to: it is read without
 * locks, journal or WAL, and nothing appears beside it. The caller owns the result. */
char *sqlite_url_frozen(const char *path);

/* Opens a file to write to. flags: SQLITE_OPEN_... */
int sqlite_copy_open(const char *path, int flags, sqlite3 **ret, struct err *err);
static inline void sqlite_copy_close(sqlite3 **db)
{
    sqlite3_close(*db);
}
#define _cleanup_sqlite_ _cleanup_(sqlite_copy_close)

/*
 * Goes on with a backup to its end, a bounded number of pages at a time. Nobody else may write to
 * the source meanwhile (a transaction that reads it is enough): it would begin again and again.
 */
int sqlite_copy_run(sqlite3_backup *b, sqlite3 *to, int page_size, struct meter *meter,
                    struct err *err);

/* *ret: the number that a query gives. Returns SQLITE_ROW, or what was wrong. */
int sqlite_number(sqlite3 *db, const char *sql, int64_t *ret);
/* The same of a pragma, with its error. */
int sqlite_pragma(sqlite3 *db, const char *name, int64_t *ret, struct err *err);

#endif
