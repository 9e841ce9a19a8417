/*
 * Masking in an SQLite file: every page is rewritten afterwards, so that nothing of the old values is
 * left in free space.
 */
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

#include "backup/mask.h"
#include "backup/sqlite_copy.h"

static void masked(sqlite3_context *context, int n, sqlite3_value **values)
{
    (void)n;
    const struct mask_column *c = sqlite3_user_data(context);
    struct mask_column as = *c;
    _cleanup_str_ struct str out = {0};
    int type = sqlite3_value_type(values[0]);
    if (type == SQLITE_NULL || c->how == MASK_NULL) {
        sqlite3_result_null(context);
        return;
    }
    /* a number and its text are different values in SQLite, and the same to hash */
    const char *text = (const char *)sqlite3_value_text(values[0]);
    size_t len = (size_t)sqlite3_value_bytes(values[0]);
    as.kind = type == SQLITE_INTEGER || type == SQLITE_FLOAT ? MASK_BIGINT : MASK_TEXT;
    if (c->how == MASK_KEEP_LENGTH)
        as.kind = MASK_TEXT;
    mask_value(&as, text ? text : "", len, &out);
    if (as.kind == MASK_BIGINT)
        sqlite3_result_int64(context, strtoll(str_get(&out), NULL, 10));
    else if (type == SQLITE_BLOB)
        sqlite3_result_blob64(context, str_get(&out), out.len, SQLITE_TRANSIENT);
    else
        sqlite3_result_text64(context, str_get(&out), out.len, SQLITE_TRANSIENT, SQLITE_UTF8);
}

static int failed(sqlite3 *db, const char *what, struct err *err)
{
    err_set(err, ERR_ENV, "cannot mask %s: %s", what, sqlite3_errmsg(db));
    return err_hint(err, "another rule, or none, may suit the column's constraints");
}

static int mask_column(sqlite3 *db, const struct mask_column *c, struct err *err)
{
    _cleanup_free_ char *name = xasprintf("%s.%s", c->table, c->name);
    char *sql = sqlite3_mprintf("update main.\"%w\" set \"%w\" = belay_masked(\"%w\")"
                                " where \"%w\" is not null",
                                c->table, c->name, c->name, c->name);
    int rc = sqlite3_create_function_v2(db, "belay_masked", 1, SQLITE_UTF8 | SQLITE_DETERMINISTIC,
                                        (void *)c, masked, NULL, NULL, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_exec(db, sql, NULL, NULL, NULL);
    sqlite3_free(sql);
    return rc == SQLITE_OK ? 0 : failed(db, name, err);
}

int mask_sqlite(const struct mask_plan *p, const char *path, struct err *err)
{
    _cleanup_sqlite_ sqlite3 *db = NULL;
    const struct mask_model *m = mask_plan_model(p);
    if (sqlite_copy_open(path, SQLITE_OPEN_READWRITE, &db, err) < 0)
        return -1;
    sqlite3_db_config(db, SQLITE_DBCONFIG_ENABLE_TRIGGER, 0, NULL);
    if (sqlite3_exec(db,
                     "pragma foreign_keys = off; pragma secure_delete = on;"
                     "pragma synchronous = off; begin",
                     NULL, NULL, NULL) != SQLITE_OK)
        return failed(db, path, err);
    for (size_t i = 0; i < m->ncolumns; i++) {
        const struct mask_column *c = mask_plan_find(p, m->columns[i].table, m->columns[i].name);
        if (c && mask_column(db, c, err) < 0)
            return -1;
    }
    if (sqlite3_exec(db, "commit; vacuum; pragma wal_checkpoint(truncate)", NULL, NULL, NULL) !=
        SQLITE_OK)
        return failed(db, path, err);
    return 0;
}
