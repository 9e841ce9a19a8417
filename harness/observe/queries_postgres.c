#include <jansson.h>
#include <pg_query.h>
#include <string.h>

#include "harness/observe/queries_impl.h"

/* ---- the parse tree: JSON, as libpg_query's pg_query.proto names things ---- */

static const char *text_of(const json_t *object, const char *key)
{
    return json_string_value(json_object_get(object, key));
}

/* A value that the query itself leaves to the column's default. */
static bool is_default(const json_t *row, size_t column)
{
    const json_t *items = json_object_get(json_object_get(row, "List"), "items");
    return json_object_get(json_array_get(items, column), "SetToDefault") != NULL;
}

static bool is_given(const json_t *lists, size_t column)
{
    size_t i;
    json_t *row;
    json_array_foreach((json_t *)lists, i, row)
    {
        if (is_default(row, column))
            return false;
    }
    return true;
}

/* How many columns an INSERT that names none gives; SIZE_MAX when the text does not tell. */
static size_t count_given(const json_t *select)
{
    const json_t *lists = json_object_get(select, "valuesLists");
    const json_t *targets = json_object_get(select, "targetList");
    size_t i, n = SIZE_MAX;
    json_t *value;
    if (json_array_size(lists)) {
        const json_t *row = json_object_get(json_array_get(lists, 0), "List");
        n = json_array_size(json_object_get(row, "items"));
        while (n && !is_given(lists, n - 1)) /* those in between stay unnoticed */
            n--;
    } else if (json_array_size(targets)) {
        n = json_array_size(targets);
        json_array_foreach((json_t *)targets, i, value)
        {
            const json_t *column = json_object_get(
                json_object_get(json_object_get(value, "ResTarget"), "val"), "ColumnRef");
            size_t k;
            json_t *field;
            json_array_foreach(json_object_get(column, "fields"), k, field)
            {
                if (json_object_get(field, "A_Star"))
                    return SIZE_MAX;
            }
        }
    }
    return n;
}

static void add_insert(struct query *q, const json_t *insert)
{
    const json_t *relation = json_object_get(insert, "relation");
    const json_t *columns = json_object_get(insert, "cols");
    const json_t *select = json_object_get(json_object_get(insert, "selectStmt"), "SelectStmt");
    const json_t *lists = json_object_get(select, "valuesLists");
    if (json_object_get(insert, "onConflictClause"))
        q->conflict = true;
    if (!text_of(relation, "relname"))
        return;
    _cleanup_free_ char *schema =
        quote_with(text_of(relation, "schemaname") ? text_of(relation, "schemaname") : "", '"');
    _cleanup_free_ char *name = quote_with(text_of(relation, "relname"), '"');
    struct query_insert *i = query_add_insert(
        q, text_of(relation, "schemaname") ? xasprintf("%s.%s", schema, name) : xstrdup(name));
    i->positional = select && !json_array_size(columns);
    i->given = i->positional ? count_given(select) : 0;
    size_t k;
    json_t *column;
    json_array_foreach((json_t *)columns, k, column)
    {
        const char *target = text_of(json_object_get(column, "ResTarget"), "name");
        if (target && is_given(lists, k))
            strv_add(&i->columns, target);
    }
}

static void walk(struct query *q, const json_t *node)
{
    const char *key;
    size_t i;
    json_t *value;
    if (json_is_array(node)) {
        json_array_foreach((json_t *)node, i, value) walk(q, value);
        return;
    }
    if (!json_is_object(node))
        return;
    json_object_foreach((json_t *)node, key, value)
    {
        if (strcmp(key, "relation") == 0 || strcmp(key, "RangeVar") == 0) {
            const char *schema = text_of(value, "schemaname"), *name = text_of(value, "relname");
            q->catalog = q->catalog || str_eq(schema, "information_schema") ||
                         (name && str_starts(name, "pg_"));
        } else if (strcmp(key, "InsertStmt") == 0) {
            add_insert(q, value);
        } else if (strcmp(key, "ParamRef") == 0) {
            int number = (int)json_integer_value(json_object_get(value, "number"));
            q->parameters = number > q->parameters ? number : q->parameters;
        }
        walk(q, value);
    }
}

/* What PREPARE takes. */
static bool is_query(const json_t *statement)
{
    static const char *const kinds[] = {"SelectStmt", "InsertStmt", "UpdateStmt", "DeleteStmt",
                                        "MergeStmt"};
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
        if (json_object_get(statement, kinds[i]))
            return !json_object_get(json_object_get(statement, kinds[i]), "intoClause");
    return false;
}

static bool parse(struct query *q)
{
    PgQueryParseResult r = pg_query_parse(q->text);
    bool query = true;
    /* text that this parser does not know may be newer than it: the server will tell */
    if (!r.error) {
        json_t *tree = json_loads(r.parse_tree, 0, NULL);
        const json_t *first = json_array_get(json_object_get(tree, "stmts"), 0);
        query = is_query(json_object_get(first, "stmt"));
        if (query)
            walk(q, first);
        json_decref(tree);
    }
    pg_query_free_parse_result(r);
    return query;
}

/* ---- the server ---- */

/* The name is another one each time: a failure leaves the prepared statement behind. */
static int accept_query(struct queries *all, const struct query *q, struct db *db,
                        struct err *refusal, struct err *err)
{
    _cleanup_str_ struct str sql = {0};
    unsigned n = ++all->serial;
    str_addf(&sql, "prepare belay_query_%u as %s\n;", n, q->text);
    if (q->conflict) {
        /* generic: the NULLs must not be folded into the plan */
        str_addf(&sql,
                 "set local plan_cache_mode = force_generic_plan; explain execute "
                 "belay_query_%u",
                 n);
        for (int i = 0; i < q->parameters; i++)
            str_add(&sql, i ? ", null" : "(null");
        str_add(&sql, q->parameters ? ");" : ";");
    }
    str_addf(&sql, "deallocate belay_query_%u", n);
    if (db_run(db, sql.p, DB_RUN_WHOLE, NULL, refusal) == 0)
        return 1;
    if (refusal->code == ERR_SQL)
        return 0;
    err_move(err, refusal);
    return -1;
}

/* clang-format off */

/* $1: the table. The place among the columns that an INSERT without names fills. */
static const char required_sql[] =
    "select attname, place from (select a.attname, a.attnotnull or t.typnotnull as required,"
    "  a.atthasdef or a.attidentity <> '' or a.attgenerated <> '' or t.typdefault is not null"
    "   as filled, row_number() over (order by a.attnum) as place"
    "  from pg_attribute a join pg_class c on c.oid = a.attrelid"
    "  join pg_type t on t.oid = a.atttypid"
    "  where c.oid = to_regclass($1) and c.relkind in ('r', 'p') and a.attnum > 0"
    "  and not a.attisdropped"
    /* of rows, before, on insert; it may fill in what is missing */
    "  and not exists (select from pg_trigger g where g.tgrelid = c.oid and g.tgenabled <> 'D'"
    "   and g.tgtype & 7 = 7 and not g.tgisinternal)) a"
    " where required and not filled order by place";

/* clang-format on */

static int missing(const struct query_insert *i, struct db *db, struct strv *ret, struct err *err)
{
    _cleanup_rows_ struct rows *rows = NULL;
    if (db_query(db, required_sql, (const char *[]){i->table}, 1, &rows, err) < 0)
        return -1;
    for (int k = 0; k < rows_count(rows); k++) {
        const char *name = rows_get(rows, k, 0);
        bool given = i->positional ? strtoull(rows_get(rows, k, 1), NULL, 10) <= i->given
                                   : strv_has(&i->columns, name);
        if (!given)
            strv_add(ret, name);
    }
    return 0;
}

const struct query_engine query_postgres = {&engine_postgres, parse, accept_query, missing};
