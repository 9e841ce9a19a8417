/*
 * The part of an SQLite file: rows are deleted, and the file is rewritten. Its indexes are there, so
 * that parents are found by their keys.
 */
#include <stdlib.h>
#include <string.h>

#include "backup/sample_impl.h"
#include "backup/sqlite_copy.h"

static int failed(sqlite3 *db, const char *what, struct err *err)
{
    if (sqlite3_errcode(db) == SQLITE_INTERRUPT)
        return err_set(err, ERR_INTERRUPTED, "interrupted");
    return err_set(err, ERR_ENV, "cannot take a part of %s: %s", what, sqlite3_errmsg(db));
}

static void keeps(sqlite3_context *context, int n, sqlite3_value **values)
{
    const struct sample *s = sqlite3_user_data(context);
    _cleanup_str_ struct str row = {0};
    for (int i = 0; i < n; i++) {
        const void *bytes = sqlite3_value_blob(values[i]);
        size_t len = (size_t)sqlite3_value_bytes(values[i]);
        str_addf(&row, "%d %zu ", sqlite3_value_type(values[i]), len);
        str_addn(&row, bytes ? bytes : "", len);
    }
    sqlite3_result_int(context, sample_keeps(s, str_get(&row), row.len));
}

/* The primary key of a table, or of one that has none the rowid. */
static int key_of(sqlite3 *db, const char *table, struct str *ret, struct err *err)
{
    sqlite3_stmt *stmt = NULL;
    int rc = sqlite3_prepare_v2(db, "select name from pragma_table_info(?1) where pk order by pk",
                                -1, &stmt, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_bind_text(stmt, 1, table, -1, SQLITE_STATIC);
    while (rc == SQLITE_OK && (rc = sqlite3_step(stmt)) == SQLITE_ROW) {
        _cleanup_free_ char *name = quote_with((const char *)sqlite3_column_text(stmt, 0), '"');
        str_addf(ret, "%s%s", ret->len ? ", " : "", name);
        rc = SQLITE_OK;
    }
    sqlite3_finalize(stmt);
    if (!ret->len)
        str_add(ret, "rowid");
    return rc == SQLITE_DONE ? 0 : failed(db, table, err);
}

static int count(sqlite3 *db, const char *table, uint64_t *ret, struct err *err)
{
    _cleanup_free_ char *name = quote_with(table, '"');
    _cleanup_free_ char *sql = xasprintf("select count(*) from main.%s", name);
    int64_t n;
    if (sqlite_number(db, sql, &n) != SQLITE_ROW)
        return failed(db, table, err);
    *ret = (uint64_t)n;
    return 0;
}

static int thin(sqlite3 *db, const char *table, struct err *err)
{
    _cleanup_str_ struct str key = {0};
    _cleanup_free_ char *name = quote_with(table, '"');
    if (key_of(db, table, &key, err) < 0)
        return -1;
    _cleanup_free_ char *sql =
        xasprintf("delete from main.%s where not belay_keeps(%s)", name, str_get(&key));
    return sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK ? 0 : failed(db, table, err);
}

static int prune(void *data, const struct mask_link *link, uint64_t *ret, struct err *err)
{
    sqlite3 *db = data;
    _cleanup_free_ char *from = quote_with(link->table, '"'), *to = quote_with(link->to, '"');
    _cleanup_free_ char *child = xasprintf("main.%s", from), *parent = xasprintf("main.%s", to);
    _cleanup_free_ char *sql = sample_delete_sql(link, child, parent);
    if (sqlite3_exec(db, sql, NULL, NULL, NULL) != SQLITE_OK)
        return failed(db, link->table, err);
    *ret = (uint64_t)sqlite3_changes64(db);
    return 0;
}

int sample_sqlite(struct sample *s, const char *path, struct err *err)
{
    _cleanup_sqlite_ sqlite3 *db = NULL;
    if (sqlite_copy_open(path, SQLITE_OPEN_READWRITE, &db, err) < 0)
        return -1;
    sqlite3_db_config(db, SQLITE_DBCONFIG_ENABLE_TRIGGER, 0, NULL);
    if (sqlite3_create_function_v2(db, "belay_keeps", -1, SQLITE_UTF8 | SQLITE_DETERMINISTIC, s,
                                   keeps, NULL, NULL, NULL) != SQLITE_OK ||
        sqlite3_exec(db, "pragma foreign_keys = off; pragma synchronous = off; begin", NULL, NULL,
                     NULL) != SQLITE_OK)
        return failed(db, path, err);
    for (size_t i = 0; i < s->n; i++) {
        struct sample_table *table = &s->tables[i];
        if (count(db, table->name, &table->rows, err) < 0 ||
            (table->how == SAMPLE_BY_HASH && thin(db, table->name, err) < 0) ||
            count(db, table->name, &table->passed, err) < 0)
            return -1;
    }
    if (sample_prune(s, prune, db, err) < 0)
        return -1;
    if (sqlite3_exec(db, "commit; vacuum; pragma wal_checkpoint(truncate)", NULL, NULL, NULL) !=
        SQLITE_OK)
        return failed(db, path, err);
    return 0;
}
