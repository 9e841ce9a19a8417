#include "harness/source/touched.h"

#include <jansson.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* ---- PostgreSQL ---- */

/*
 * Rows are written under RowExclusiveLock, or by rewriting, truncating and creating under
 * AccessExclusiveLock; ALTER SEQUENCE takes ShareRowExclusiveLock, which a foreign key takes on the
 * table that it references. Names are qualified, since the revision may have changed search_path,
 * and quoted by belay, since it may have changed quote_all_identifiers. The function beneath
 * pg_locks spares the server the view, which counts: after DDL its caches are cold.
 */
#define MARKED "pg_catalog.current_setting('belay.step', true) = 'runs'"
#define LOCKS                                                                                      \
    "pg_catalog.pg_lock_status() l where l.pid = pg_catalog.pg_backend_pid() and l.relation >= "   \
    "16384 and l.mode in ('RowExclusiveLock', 'AccessExclusiveLock', 'ShareRowExclusiveLock')"
#define TABLE(oid) "c.oid = coalesce(pg_catalog.pg_partition_root(" oid "), " oid ")"
#define KINDS "c.relkind in ('r', 'p', 'S') and c.relpersistence <> 't'"

const char touched_mark_sql[] = "select pg_catalog.set_config('belay.step', 'runs', true)";
/* Oids, those under the weaker lock negative. 0 is always there: the empty text says "not known". */
const char touched_keep_sql[] =
    "select pg_catalog.set_config('belay.touched', case when " MARKED
    " then (select '0' || coalesce(pg_catalog.string_agg(case l.mode when 'ShareRowExclusiveLock'"
    " then ',-' else ',' end || l.relation, ''), '') from " LOCKS ") else '' end, false)";
const char touched_tell_sql[] =
    "select case when " MARKED
    " then (select coalesce(pg_catalog.json_agg(pg_catalog.json_build_array(n.nspname, c.relname))"
    "::text, '[]') from pg_catalog.pg_class c"
    " join pg_catalog.pg_namespace n on n.oid = c.relnamespace, " LOCKS " and " TABLE(
        "l.relation") " and " KINDS
                      " and (l.mode <> 'ShareRowExclusiveLock' or c.relkind = 'S')) else '' end";

/* What touched_keep_sql kept, one row where that is not known. */
static const char kept_sql[] =
    "select n.nspname, c.relname, k.v from (select coalesce(pg_catalog.current_setting("
    "'belay.touched', true), '') as v) k left join lateral pg_catalog.unnest("
    "pg_catalog.string_to_array(k.v, ',')::int8[]) o(oid) on true"
    " left join pg_catalog.pg_class c on " TABLE(
        "pg_catalog.abs(o.oid)::oid") " and " KINDS " and (o.oid > 0 or c.relkind = 'S')"
                                      " left join pg_catalog.pg_namespace n on n.oid = "
                                      "c.relnamespace";

void touched_add(struct step_touched *t, const struct engine *e, const char *schema,
                 const char *table)
{
    _cleanup_free_ char *s = schema ? e->quote_ident(schema) : NULL;
    _cleanup_free_ char *n = e->quote_ident(table);
    _cleanup_free_ char *name = xasprintf("%s%s%s", s ? s : "", s ? "." : "", n);
    if (!strv_has(&t->names, name))
        strv_add(&t->names, name);
}

int touched_parse(const char *text, struct step_touched *ret, struct err *err)
{
    if (!text || !*text)
        return 0;
    json_error_t e;
    json_t *list = json_loads(text, 0, &e);
    if (!list)
        return err_set(err, ERR_ENV, "the server sent malformed JSON: %s", e.text);
    size_t i;
    json_t *pair;
    json_array_foreach(list, i, pair)
    {
        const char *schema = json_string_value(json_array_get(pair, 0));
        const char *table = json_string_value(json_array_get(pair, 1));
        if (schema && table)
            touched_add(ret, &engine_postgres, schema, table);
    }
    json_decref(list);
    ret->known = true;
    return 0;
}

/* The revision may have dropped the prepared statement (DEALLOCATE ALL). */
static int read_kept(struct db *db, struct rows **ret, struct err *err)
{
    if (db_query_prepared(db, kept_sql, NULL, 0, ret, err) == 0)
        return 0;
    return strcmp(err->sqlstate, "26000") == 0 ? db_query(db, kept_sql, NULL, 0, ret, err) : -1;
}

int touched_read(struct db *db, struct step_touched *ret, struct err *err)
{
    _cleanup_rows_ struct rows *rows = NULL;
    if (read_kept(db, &rows, err) < 0)
        return -1;
    for (int i = 0; i < rows_count(rows); i++)
        if (rows_get(rows, i, 0))
            touched_add(ret, &engine_postgres, rows_get(rows, i, 0), rows_get(rows, i, 1));
    ret->known = rows_count(rows) > 0 && *rows_get(rows, 0, 2);
    return 0;
}

/* txid_*: the names that every version has. */
const char touched_transaction_sql[] = "select pg_catalog.txid_current()";
const char touched_backend_sql[] = "select pid, backend_start from pg_catalog.pg_stat_activity"
                                   " where pid = pg_catalog.pg_backend_pid()";

enum { ENDING_MS = 10000, ENDING_STEP_MS = 20 };

bool touched_rolled_back(const char *url, const char *transaction, const char *const backend[2])
{
    static const char end[] = "select pg_terminate_backend(pid) from pg_stat_activity"
                              " where pid = $1::int and backend_start = $2::timestamptz";
    _cleanup_err_ struct err ignored = {0}; /* then it is not known */
    _cleanup_db_ struct db *db = NULL;
    if (!transaction || db_open(&engine_postgres, url, DB_OPEN_DEFAULT, &db, &ignored) < 0)
        return false;
    for (int waited = 0; waited < ENDING_MS; waited += ENDING_STEP_MS) {
        _cleanup_free_ char *status = NULL, *done = NULL;
        if (db_query_text(db, "select txid_status($1::bigint)", &transaction, 1, &status,
                          &ignored) < 0)
            return false;
        if (!str_eq(status, "in progress"))
            return str_eq(status, "aborted");
        if (backend[0] && db_query_text(db, end, backend, 2, &done, &ignored) < 0)
            return false;
        nanosleep(&(struct timespec){.tv_nsec = ENDING_STEP_MS * 1000000L}, NULL);
    }
    return false;
}

/* ---- SQLite ---- */

struct touched_watch {
    sqlite3 *handle;
    bool on;
    struct strv tables;
};

static int authorize(void *data, int action, const char *a, const char *b, const char *database,
                     const char *trigger)
{
    struct touched_watch *w = data;
    const char *table = action == SQLITE_ALTER_TABLE ? b : a;
    (void)trigger;
    switch (action) {
    case SQLITE_ALTER_TABLE:
        database = a;
        break;
    case SQLITE_INSERT:
    case SQLITE_UPDATE:
    case SQLITE_DELETE:
    case SQLITE_CREATE_TABLE:
    case SQLITE_CREATE_VTABLE:
    case SQLITE_DROP_TABLE:
    case SQLITE_DROP_VTABLE:
        break;
    default:
        return SQLITE_OK;
    }
    if (w->on && table && database && strcmp(database, "main") == 0 && !strv_has(&w->tables, table))
        strv_add(&w->tables, table);
    return SQLITE_OK;
}

struct touched_watch *touched_watch_new(struct db *db)
{
    struct touched_watch *w = xcalloc(1, sizeof(*w));
    w->handle = db_handle(db);
    sqlite3_set_authorizer(w->handle, authorize, w);
    return w;
}

void touched_watch_free(struct touched_watch *w)
{
    if (!w)
        return;
    sqlite3_set_authorizer(w->handle, NULL, NULL);
    strv_release(&w->tables);
    free(w);
}

void touched_watch_begin(struct touched_watch *w)
{
    strv_release(&w->tables);
    w->on = true;
}

void touched_watch_end(struct touched_watch *w, struct step_touched *ret)
{
    w->on = false;
    for (size_t i = 0; i < w->tables.n; i++)
        if (strcmp(w->tables.v[i], "sqlite_master") != 0)
            touched_add(ret, &engine_sqlite, NULL, w->tables.v[i]);
    ret->known = true;
}
