/* Integer keys that come near to what their type can hold, on the copy as the upgrades left it. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "runner/rehearsal_impl.h"

#define HEADROOM 0.7 /* of the type's range is where a finding begins */

/*
 * Columns of integer types that are the first of a primary key or have a sequence of their own: table,
 * column, the type, what it can hold at most, and what the sequence gave last.
 */
static const char keys_sql[] =
    "select pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(c.relname),"
    " pg_catalog.quote_ident(a.attname), pg_catalog.format_type(a.atttypid, null),"
    " case a.atttypid when 21 then 32767 when 23 then 2147483647 else 9223372036854775807 end,"
    " (select s.last_value from pg_catalog.pg_sequences s where "
    "(pg_catalog.quote_ident(s.schemaname)"
    " || '.' || pg_catalog.quote_ident(s.sequencename))::pg_catalog.regclass = q.objid),"
    " i.indexrelid is not null"
    " from pg_catalog.pg_attribute a join pg_catalog.pg_class c on c.oid = a.attrelid"
    " join pg_catalog.pg_namespace n on n.oid = c.relnamespace"
    " left join pg_catalog.pg_index i on i.indrelid = c.oid and i.indisprimary and i.indkey[0] ="
    " a.attnum"
    " left join pg_catalog.pg_depend q on q.classid = 'pg_catalog.pg_class'::pg_catalog.regclass "
    "and"
    " q.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass and q.refobjid = c.oid and"
    " q.refobjsubid = a.attnum and q.deptype in ('a', 'i') and exists (select 1 from"
    " pg_catalog.pg_class s where s.oid = q.objid and s.relkind = 'S')"
    " where a.attnum > 0 and not a.attisdropped and a.atttypid in (20, 21, 23) and c.relkind in "
    "('r',"
    " 'p') and n.nspname !~ '^pg_' and n.nspname <> 'information_schema' and c.relpersistence <> "
    "'t'"
    " and (i.indexrelid is not null or q.objid is not null) order by 1, 2";

static int64_t number(const char *text)
{
    return text ? strtoll(text, NULL, 10) : 0;
}

static void add(struct rehearse *h, const struct rows *rows, int i, int64_t used, bool sequence)
{
    const char *table = rows_get(rows, i, 0), *column = rows_get(rows, i, 1);
    int64_t limit = number(rows_get(rows, i, 3));
    struct finding *f = walk_add_finding(&h->walk, "id-headroom", NULL, STEP_UP);
    f->message = xasprintf("%s.%s (%s) is at %" PRId64 "%s, %d %% of what its type can hold", table,
                           column, rows_get(rows, i, 2), used, sequence ? " by its sequence" : "",
                           (int)(100.0 * (double)used / (double)limit));
    f->hint =
        xstrdup("change it to bigint before it is full, in two phases: a new bigint column, kept "
                "equal by a trigger and filled in batches, then swapped in a short transaction; "
                "the columns that reference it too");
    f->changes = xgrow(f->changes, f->nchanges, &f->changes_cap, sizeof(*f->changes));
    f->changes[f->nchanges++] = (struct finding_change){
        .object = xasprintf("column %s.%s", table, column),
        .text = xasprintf("column %s.%s: %" PRId64 " of %" PRId64, table, column, used, limit)};
}

int rehearse_judge_ids(struct rehearse *h, struct err *err)
{
    _cleanup_rows_ struct rows *rows = NULL;
    struct db *db = NULL;
    /* SQLite's integers all have eight bytes */
    if (h->o->check.engine != &engine_postgres)
        return 0;
    if (line_rows(h->walk.line, &db, err) < 0 || db_query(db, keys_sql, NULL, 0, &rows, err) < 0)
        return -1;
    for (int i = 0; i < rows_count(rows); i++) {
        _cleanup_free_ char *largest = NULL;
        _cleanup_free_ char *sql =
            xasprintf("select max(%s) from %s", rows_get(rows, i, 1), rows_get(rows, i, 0));
        /* only where an index gives it at once */
        if (*rows_get(rows, i, 5) == 't' && db_query_text(db, sql, NULL, 0, &largest, err) < 0)
            return -1;
        int64_t value = number(largest), last = number(rows_get(rows, i, 4));
        int64_t used = value > last ? value : last;
        if ((double)used >= HEADROOM * (double)number(rows_get(rows, i, 3)))
            add(h, rows, i, used, last > value);
    }
    return 0;
}
