#include "harness/source/touched.h"

#include <jansson.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

/* ---- PostgreSQL ---- */

/*
 * Rows are written under RowExclusiveLock, or by rewriting, truncating and creating under
 * AccessExclusiveLock; ALTER SEQUENCE takes ShareRowExclusiveLock, which a foreign key takes on the
 * table that it references. Names are qualified, since the revision may have changed search_path,
 * and quoted by belay, since it may have changed quote_all_identifiers.
 */
#define TOUCHED                                                                                    \
    "case when pg_catalog.current_setting('belay.step', true) = 'runs' then"                       \
    " (select coalesce(pg_catalog.json_agg(pg_catalog.json_build_array(n.nspname, c.relname))"     \
    "::text, '[]') from pg_catalog.pg_locks l join pg_catalog.pg_class c"                          \
    "  on c.oid = coalesce(pg_catalog.pg_partition_root(l.relation), l.relation)"                  \
    " join pg_catalog.pg_namespace n on n.oid = c.relnamespace"                                    \
    " where l.pid = pg_catalog.pg_backend_pid() and l.relation >= 16384"                           \
    " and c.relkind in ('r', 'p', 'S') and c.relpersistence <> 't'"                                \
    " and (l.mode in ('RowExclusiveLock', 'AccessExclusiveLock')"                                  \
    "  or l.mode = 'ShareRowExclusiveLock' and c.relkind = 'S')) else '' end"

const char touched_mark_sql[] = "select pg_catalog.set_config('belay.step', 'runs', true)";
const char touched_keep_sql[] = "select pg_catalog.set_config('belay.touched', " TOUCHED ", false)";
const char touched_tell_sql[] = "select " TOUCHED;

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

int touched_read(struct db *db, struct step_touched *ret, struct err *err)
{
    _cleanup_free_ char *text = NULL;
    if (db_query_text(db, "select pg_catalog.current_setting('belay.touched', true)", NULL, 0,
                      &text, err) < 0)
        return -1;
    return touched_parse(text, ret, err);
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
