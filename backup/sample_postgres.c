#include <stdlib.h>
#include <string.h>

#include "backup/sample_impl.h"

/* "only " before a table that others inherit from: a foreign key sees its own rows alone. */
static int name_in_sql(struct db *db, const char *table, char **ret, struct err *err)
{
    _cleanup_free_ char *partitioned = NULL;
    if (db_query_text(db, "select relkind = 'p' from pg_class where oid = $1::regclass",
                      (const char *[]){table}, 1, &partitioned, err) < 0)
        return -1;
    *ret = xasprintf("%s%s", str_eq(partitioned, "t") ? "" : "only ", table);
    return 0;
}

static int prune(void *data, const struct mask_link *link, uint64_t *ret, struct err *err)
{
    struct db *db = data;
    _cleanup_free_ char *child = NULL, *parent = NULL, *gone = NULL;
    if (name_in_sql(db, link->table, &child, err) < 0 ||
        name_in_sql(db, link->to, &parent, err) < 0)
        return -1;
    _cleanup_free_ char *delete = sample_delete_sql(link, child, parent);
    _cleanup_free_ char *sql =
        xasprintf("with gone as (%s returning 1) select count(*) from gone", delete);
    if (db_query_text(db, sql, NULL, 0, &gone, err) < 0)
        return -1;
    *ret = strtoull(gone, NULL, 10);
    return 0;
}

/*
 * Types of extensions have their operators in schemas of their own; every name but theirs is
 * qualified. There are no indexes yet, and no statistics: a nested loop would be chosen by mistake.
 * No transaction around all: the locks of many tables would fill the server's lock table.
 */
static const char settings_sql[] =
    "set enable_nestloop = off;"
    " select set_config('search_path', coalesce(string_agg(distinct quote_ident(n.nspname), ','),"
    "  ''), false) from pg_operator o join pg_namespace n on n.oid = o.oprnamespace"
    " where o.oprname = '=' and n.nspname <> 'pg_catalog'";

int sample_prune_postgres(struct sample *s, struct db *db, struct err *err)
{
    if (db_run(db, settings_sql, DB_RUN_STATEMENTS, NULL, err) < 0 ||
        sample_prune(s, prune, db, err) < 0 ||
        db_run(db, "reset enable_nestloop; set search_path = pg_catalog", DB_RUN_STATEMENTS, NULL,
               err) < 0)
        return -1;
    /* the room of what is gone would count as the table's: it is given back */
    for (size_t i = 0; i < s->n; i++) {
        if (!s->tables[i].pruned)
            continue;
        _cleanup_free_ char *sql = xasprintf("vacuum full %s", s->tables[i].name);
        if (db_run(db, sql, DB_RUN_WHOLE, NULL, err) < 0)
            return -1;
    }
    return 0;
}
