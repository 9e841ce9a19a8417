/*
 * Database URLs, in the forms that SQLAlchemy, libpq and the migration tools write:
 *
 *     postgresql://u@host/db  postgresql+asyncpg://...  postgres://...  "host=/run/pg dbname=x"
 *     sqlite:///relative.db  sqlite:////absolute.db  sqlite+aiosqlite:///x.db  sqlite:x.db
 *     sqlite3://x.db  file:x.db  a bare path of an SQLite file that exists
 *
 * A password may be part of a URL; nothing here puts it into an error message.
 */
#ifndef BELAY_URL_H
#define BELAY_URL_H

#include <stdbool.h>

#include "harness/base/cleanup.h"
#include "harness/base/err.h"

bool url_is_postgres(const char *url);
bool url_is_sqlite(const char *url);

/*
 * The path (or "file:" URI) in an SQLite URL, percent-decoded. An in-memory database is ERR_USAGE:
 * two sessions could not share it. The caller owns the result.
 */
int url_sqlite_path(const char *url, char **ret, struct err *err);
/* The URL of an SQLite file. The caller owns the result. */
char *url_for_sqlite_path(const char *path);

/*
 * A PostgreSQL URL as libpq's keywords and values, both NULL-terminated. Drivers are stripped,
 * parameters that only a driver knows (asyncpg's ssl=, SQLAlchemy's and golang-migrate's own) are
 * converted or dropped, search_path= becomes a startup option. Empty values are left out, so that
 * the PG* variables and libpq's defaults apply. ERR_USAGE for what cannot be read.
 */
struct conninfo {
    char **keywords;
    char **values;
    int n;
};
int conninfo_parse(const char *url, struct conninfo *ret, struct err *err);
const char *conninfo_get(const struct conninfo *c, const char *keyword); /* NULL when absent */
/* value NULL takes the keyword out. */
void conninfo_set(struct conninfo *c, const char *keyword, const char *value);
/* Adds "-c name=value" to the startup options: the session's own default, which RESET goes back to.
 */
void conninfo_add_setting(struct conninfo *c, const char *name, const char *value);
void conninfo_release(struct conninfo *c);
#define _cleanup_conninfo_ __attribute__((cleanup(conninfo_release)))

/* As a "postgresql:///?host=..&dbname=.." URL that libpq, psql and SQLAlchemy read, the password
 * included. The caller owns the result. */
char *conninfo_url(const struct conninfo *c);

#endif
