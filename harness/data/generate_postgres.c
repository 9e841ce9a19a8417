/*
 * What PostgreSQL's catalog says about tables that are to be filled: five queries in one round
 * trip.
 */
#include <stdlib.h>
#include <string.h>

#include "harness/base/cleanup.h"
#include "harness/data/generate_impl.h"

/* Between the items of a list. */
#define SEPARATOR "\x1f"
#define SQL_SEPARATOR "E'\\x1f'"

/*
 * $1 the tables (text[]) or NULL, $2 those to leave out. Names are looked up, not compared: most
 * tables of a large schema are not among them. A partition is meant by its parent's name too.
 */
#define WANTED "any (array(select pg_catalog.to_regclass(x)::oid from unnest($1::text[]) x))"
static const char tables_sql[] =
    "select c.oid, quote_ident(n.nspname) || '.' || quote_ident(c.relname),"
    " case when c.relispartition then pg_catalog.pg_get_partition_constraintdef(c.oid) end,"
    " case when c.relispartition then (select string_agg(a.relid::oid::text, ' ')"
    "  from pg_catalog.pg_partition_ancestors(c.oid) a) end,"
    " (select string_agg(p.prosrc, ' ' order by g.tgname) from pg_catalog.pg_trigger g"
    "  join pg_catalog.pg_proc p on p.oid = g.tgfoid"
    "  where g.tgrelid = c.oid and not g.tgisinternal and g.tgtype & 4 <> 0),"
    " (select string_agg(concat_ws(' ', pg_catalog.pg_get_expr(o.polwithcheck, o.polrelid),"
    "   pg_catalog.pg_get_expr(o.polqual, o.polrelid)), ' ' order by o.polname)"
    "  from pg_catalog.pg_policy o where o.polrelid = c.oid), c.relkind"
    " from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace"
    " where (c.relkind = 'r' or c.relkind = 'p' and not c.relispartition and not exists"
    "  (select from pg_catalog.pg_partition_tree(c.oid) where isleaf))"
    " and c.relpersistence <> 't'"
    " and n.nspname <> 'information_schema' and n.nspname !~ '^pg_'"
    " and ($1::text[] is null or c.oid = " WANTED " or c.relispartition and exists (select"
    "   from pg_catalog.pg_partition_ancestors(c.oid) a where a.relid = " WANTED "))"
    " and not quote_ident(n.nspname) || '.' || quote_ident(c.relname) = any($2::text[])"
    " and not quote_ident(c.relname) = any($2::text[])"
    " and not exists (select from pg_catalog.pg_depend d where d.classid = 'pg_class'::regclass"
    "  and d.objid = c.oid and d.deptype = 'e') order by 2";

/* The other queries: $1 is the oids of these tables. */
#define TABLES "unnest($1::oid[]) t(oid)"

/* A sequence belongs to a column, or its default reads it; a partition's columns take those of the
 * partitioned table. */
static const char columns_sql[] =
    "select a.attrelid, a.attnum, a.attname, quote_ident(a.attname), a.atttypid, a.atttypmod,"
    " a.attnotnull, a.attgenerated <> '',"
    " coalesce((select d.objid::regclass::text from pg_catalog.pg_depend d"
    "   join pg_catalog.pg_class s on s.oid = d.objid and s.relkind = 'S'"
    "   join pg_catalog.pg_attribute o on o.attrelid = d.refobjid and o.attnum = d.refobjsubid"
    "   where d.classid = 'pg_class'::regclass and d.refclassid = 'pg_class'::regclass"
    "   and d.deptype in ('a', 'i') and o.attname = a.attname"
    "   and d.refobjid in (t.oid, pg_catalog.pg_partition_root(t.oid)::oid) order by 1 limit 1),"
    "  (select d.refobjid::regclass::text from pg_catalog.pg_attrdef f"
    "   join pg_catalog.pg_depend d on d.classid = 'pg_attrdef'::regclass and d.objid = f.oid"
    "    and d.refclassid = 'pg_class'::regclass"
    "   join pg_catalog.pg_class s on s.oid = d.refobjid and s.relkind = 'S'"
    "   where f.adrelid = a.attrelid and f.adnum = a.attnum order by 1 limit 1))"
    " from " TABLES " join pg_catalog.pg_attribute a on a.attrelid = t.oid"
    " where a.attnum > 0 and not a.attisdropped order by a.attrelid, a.attnum";

/* A reference to a partitioned table has a row for each partition too: only the first speaks. */
static const char constraints_sql[] =
    "select c.conrelid, c.conname, c.contype, array_to_string(c.conkey, ' '), c.confrelid,"
    " (select quote_ident(n.nspname) || '.' || quote_ident(r.relname) from pg_catalog.pg_class r"
    "  join pg_catalog.pg_namespace n on n.oid = r.relnamespace where r.oid = c.confrelid),"
    " (select string_agg(quote_ident(a.attname), " SQL_SEPARATOR " order by k.i)"
    "  from unnest(c.confkey) with ordinality k(n, i) join pg_catalog.pg_attribute a"
    "  on a.attrelid = c.confrelid and a.attnum = k.n),"
    " (select string_agg(a.attname, " SQL_SEPARATOR " order by k.i)"
    "  from unnest(c.confkey) with ordinality k(n, i) join pg_catalog.pg_attribute a"
    "  on a.attrelid = c.confrelid and a.attnum = k.n),"
    " c.condeferrable, c.confmatchtype = 'f', pg_catalog.pg_get_expr(c.conbin, c.conrelid)"
    " from " TABLES " join pg_catalog.pg_constraint c on c.conrelid = t.oid"
    " where c.contype = 'c' or c.contype = 'f' and not exists (select from"
    "  pg_catalog.pg_constraint p where p.oid = c.conparentid and p.conrelid = c.conrelid)"
    " order by c.conrelid, c.conname";

/* Of a key over expressions, and for the predicate of a partial one, the columns that it depends
 * on. */
static const char keys_sql[] =
    "select i.indrelid, x.relname, case when i.indexprs is null and i.indpred is null"
    "  then (select string_agg(k.n::text, ' ' order by k.i)"
    "   from unnest(i.indkey::int2[]) with ordinality k(n, i) where k.i <= i.indnkeyatts)"
    "  else (select string_agg(distinct n::text, ' ') from (select d.refobjsubid as n"
    "    from pg_catalog.pg_depend d where d.classid = 'pg_class'::regclass"
    "    and d.objid = i.indexrelid and d.refclassid = 'pg_class'::regclass"
    "    and d.refobjid = i.indrelid and d.refobjsubid > 0"
    "    union select unnest(i.indkey::int2[])) u where n > 0) end,"
    " coalesce((to_jsonb(i) ->> 'indnullsnotdistinct')::bool, false),"
    " i.indexprs is not null or i.indpred is not null, i.indisprimary"
    " from " TABLES " join pg_catalog.pg_index i on i.indrelid = t.oid"
    " join pg_catalog.pg_class x on x.oid = i.indexrelid"
    " where i.indisunique or i.indisexclusion order by i.indrelid, x.relname";

/* All types that the columns are made of. */
static const char types_sql[] =
    "with recursive types(oid) as (select a.atttypid"
    "  from " TABLES " join pg_catalog.pg_attribute a on a.attrelid = t.oid"
    "  where a.attnum > 0 and not a.attisdropped"
    " union select p.oid from types s join pg_catalog.pg_type y on y.oid = s.oid"
    "  cross join lateral (select y.typbasetype union all"
    "   select y.typelem where y.typcategory = 'A' union all"
    "   select r.rngsubtype from pg_catalog.pg_range r where r.rngtypid = y.oid union all"
    "   select r.rngtypid from pg_catalog.pg_range r"
    "    where (to_jsonb(r) ->> 'rngmultitypid')::oid = y.oid union all"
    "   select a.atttypid from pg_catalog.pg_attribute a where a.attrelid = y.typrelid"
    "    and y.typtype = 'c' and a.attnum > 0 and not a.attisdropped) p(oid)"
    "  where p.oid <> 0)"
    "select y.oid, y.typname, y.typtype, y.typbasetype, y.typtypmod,"
    " case when y.typcategory = 'A' then y.typelem else 0 end,"
    " coalesce((select r.rngsubtype from pg_catalog.pg_range r where r.rngtypid = y.oid),"
    "  (select r.rngtypid from pg_catalog.pg_range r"
    "   where (to_jsonb(r) ->> 'rngmultitypid')::oid = y.oid), 0),"
    " (select string_agg(e.enumlabel, " SQL_SEPARATOR " order by e.enumsortorder)"
    "  from pg_catalog.pg_enum e where e.enumtypid = y.oid),"
    " (select string_agg(pg_catalog.pg_get_expr(c.conbin, 0), " SQL_SEPARATOR " order by c.conname)"
    "  from pg_catalog.pg_constraint c where c.contypid = y.oid and c.contype = 'c'),"
    " (select string_agg(a.atttypid || ' ' || a.atttypmod, " SQL_SEPARATOR " order by a.attnum)"
    "  from pg_catalog.pg_attribute a where y.typtype = 'c' and a.attrelid = y.typrelid"
    "  and a.attnum > 0 and not a.attisdropped),"
    " y.typnotnull, quote_ident(n.nspname) || '.' || quote_ident(y.typname)"
    " from types s join pg_catalog.pg_type y on y.oid = s.oid"
    " join pg_catalog.pg_namespace n on n.oid = y.typnamespace";

static void add_list(struct strv *to, const char *list)
{
    for (const char *p = list; p;) {
        size_t n = strcspn(p, SEPARATOR);
        strv_add_take(to, xstrndup(p, n));
        p = p[n] ? p + n + 1 : NULL;
    }
}

static bool yes(const struct rows *rows, int row, int column)
{
    const char *v = rows_get(rows, row, column);
    return v && *v == 't';
}

static uint32_t number(const struct rows *rows, int row, int column)
{
    const char *v = rows_get(rows, row, column);
    return v ? (uint32_t)strtoul(v, NULL, 10) : 0;
}

/* ---- types ---- */

static struct value_type *read_type(const struct rows *types, uint32_t oid, int modifier);

static const struct {
    const char *name;
    enum value_class class;
    int bytes;
} plain_types[] = {
    {"int2", VALUE_INTEGER, 2},    {"int4", VALUE_INTEGER, 4}, {"int8", VALUE_INTEGER, 8},
    {"numeric", VALUE_NUMERIC, 0}, {"float4", VALUE_FLOAT, 4}, {"float8", VALUE_FLOAT, 8},
    {"bool", VALUE_BOOL, 0},       {"text", VALUE_TEXT, 0},    {"varchar", VALUE_TEXT, 0},
    {"bpchar", VALUE_TEXT, 0},     {"citext", VALUE_TEXT, 0},  {"name", VALUE_TEXT, 0},
    {"bit", VALUE_BITS, 0},        {"varbit", VALUE_BITS, 0},
};

/* vector(3) of pgvector: "[1,1,1]" */
static bool is_vector(const char *name)
{
    return strcmp(name, "vector") == 0 || strcmp(name, "halfvec") == 0;
}

static struct value_type *read_vector(int dimensions)
{
    struct value_type *t = value_type_new(VALUE_LABELS);
    for (int v = 1; v < 9; v++) {
        _cleanup_str_ struct str s = {0};
        for (int i = 0; i < (dimensions > 0 ? dimensions : 3); i++)
            str_addf(&s, "%s%d", i ? "," : "[", v);
        str_addc(&s, ']');
        strv_add(&t->allowed, s.p);
    }
    return t;
}

static struct value_type *read_base_type(const char *name, int modifier)
{
    if (is_vector(name))
        return read_vector(modifier);
    for (size_t i = 0; i < ARRAY_LEN(plain_types); i++) {
        if (strcmp(plain_types[i].name, name) != 0)
            continue;
        struct value_type *t = value_type_new(plain_types[i].class);
        t->bytes = plain_types[i].bytes;
        if (t->class == VALUE_TEXT)
            t->length = strcmp(name, "name") == 0 ? 31 : modifier > 4 ? modifier - 4 : 0;
        if (t->class == VALUE_BITS) {
            t->length = modifier > 0 ? modifier : 0;
            t->fixed = strcmp(name, "bit") == 0;
        }
        if (t->class == VALUE_NUMERIC && modifier >= 4) {
            t->precision = ((modifier - 4) >> 16) & 0xffff;
            t->scale = (((modifier - 4) & 0x7ff) ^ 1024) - 1024;
        }
        return t;
    }
    struct value_type *t = value_type_new(VALUE_TEMPLATE);
    t->template = value_template_find(name);
    if (!t->template)
        t->template = &value_template_unknown;
    return t;
}

static struct value_type *read_composite(const struct rows *types, const char *list)
{
    struct value_type *t = value_type_new(VALUE_COMPOSITE);
    struct strv fields = {0};
    add_list(&fields, list);
    t->fields = xcalloc(fields.n + 1, sizeof(*t->fields));
    for (size_t i = 0; i < fields.n; i++) {
        char *end;
        uint32_t oid = (uint32_t)strtoul(fields.v[i], &end, 10);
        t->fields[t->nfields++] = read_type(types, oid, atoi(end));
    }
    strv_release(&fields);
    return t;
}

static struct value_type *read_type(const struct rows *types, uint32_t oid, int modifier)
{
    int row = 0;
    while (row < rows_count(types) && number(types, row, 0) != oid)
        row++;
    if (row == rows_count(types)) {
        struct value_type *t = value_type_new(VALUE_TEMPLATE);
        t->template = &value_template_unknown;
        t->cast = xstrdup("text");
        return t;
    }
    const char *name = rows_get(types, row, 1);
    char kind = *rows_get(types, row, 2);
    struct value_type *t;
    if (kind == 'd') {
        int own = atoi(rows_get(types, row, 4));
        t = read_type(types, number(types, row, 3), own >= 0 ? own : modifier);
        add_list(&t->checks, rows_get(types, row, 8));
        t->not_null = t->not_null || yes(types, row, 10);
        return t;
    }
    if (kind == 'e') {
        t = value_type_new(VALUE_LABELS);
        add_list(&t->allowed, rows_get(types, row, 7));
    } else if (kind == 'c') {
        t = read_composite(types, rows_get(types, row, 9));
    } else if (kind == 'r' || kind == 'm') {
        t = value_type_new(kind == 'r' ? VALUE_RANGE : VALUE_MULTIRANGE);
        t->element = read_type(types, number(types, row, 6), -1);
    } else if (number(types, row, 5)) {
        t = value_type_new(VALUE_ARRAY);
        t->element = read_type(types, number(types, row, 5), modifier);
    } else {
        t = read_base_type(name, modifier);
    }
    t->cast = xstrdup(rows_get(types, row, 11));
    return t;
}

/* ---- tables ---- */

static struct gen_table *table_by_oid(const struct gen_schema *s, uint32_t oid)
{
    for (size_t i = 0; i < s->n; i++)
        if (s->v[i]->oid == oid)
            return s->v[i];
    return NULL;
}

/* "1 3": attnums as columns of t. */
static void add_columns(const struct gen_table *t, const char *list, struct columns *ret)
{
    for (const char *p = list; p && *p;) {
        char *end;
        int n = (int)strtol(p, &end, 10);
        for (size_t i = 0; i < t->ncolumns; i++)
            if (t->columns[i].number == n)
                columns_add(ret, i);
        p = end + (*end == ' ');
    }
}

/* The columns of a partition's bounds are not listed anywhere: those whose names it holds. */
static void add_named_columns(const struct gen_table *t, const char *expression,
                              struct columns *ret)
{
    for (size_t i = 0; i < t->ncolumns; i++) {
        const char *name = t->columns[i].quoted;
        size_t n = strlen(name);
        for (const char *p = strstr(expression, name); p; p = strstr(p + 1, name)) {
            bool begins =
                p == expression || !strchr("abcdefghijklmnopqrstuvwxyz0123456789_\"'.", p[-1]);
            if (begins && !strchr("abcdefghijklmnopqrstuvwxyz0123456789_\"'(.", p[n])) {
                columns_add(ret, i);
                break;
            }
        }
    }
}

static void read_tables(const struct rows *rows, struct gen_schema *ret)
{
    for (int i = 0; i < rows_count(rows); i++) {
        if (*rows_get(rows, i, 6) == 'p') {
            strv_add(&ret->closed, rows_get(rows, i, 1));
            strv_add(&ret->closed_why, "it has no partition that could take a row");
            strv_add(&ret->closed_filled, "");
            continue;
        }
        struct gen_table *t = gen_schema_add(ret, rows_get(rows, i, 1));
        t->oid = number(rows, i, 0);
        const char *ancestors = rows_get(rows, i, 3);
        t->ancestors = xasprintf(" %s ", ancestors ? ancestors : "");
        for (int k = 4; k <= 5; k++) {
            const char *text = rows_get(rows, i, k);
            if (text)
                str_addf(&t->hints, "%s;", text);
        }
    }
}

static void read_columns(const struct rows *rows, const struct rows *types, struct gen_schema *ret)
{
    for (int i = 0; i < rows_count(rows); i++) {
        struct gen_table *t = table_by_oid(ret, number(rows, i, 0));
        if (!t)
            continue;
        struct gen_column *c = gen_table_column(t, rows_get(rows, i, 2));
        c->number = atoi(rows_get(rows, i, 1));
        c->quoted = xstrdup(rows_get(rows, i, 3));
        c->type = read_type(types, number(rows, i, 4), atoi(rows_get(rows, i, 5)));
        c->not_null = yes(rows, i, 6) || c->type->not_null;
        c->writable = !yes(rows, i, 7);
        c->sequence = xstrdup(rows_get(rows, i, 8));
        c->counted =
            c->sequence && (c->type->class == VALUE_INTEGER || c->type->class == VALUE_NUMERIC);
    }
}

static void read_constraints(const struct rows *rows, struct gen_schema *ret)
{
    for (int i = 0; i < rows_count(rows); i++) {
        struct gen_table *t = table_by_oid(ret, number(rows, i, 0));
        if (!t)
            continue;
        const char *name = rows_get(rows, i, 1);
        if (*rows_get(rows, i, 2) == 'c') {
            struct gen_check *c = gen_table_check(t, name, rows_get(rows, i, 10));
            add_columns(t, rows_get(rows, i, 3), &c->columns);
            continue;
        }
        struct gen_reference *r = gen_table_reference(t, name);
        add_columns(t, rows_get(rows, i, 3), &r->columns);
        r->target_oid = number(rows, i, 4);
        r->target = xstrdup(rows_get(rows, i, 5));
        add_list(&r->target_quoted, rows_get(rows, i, 6));
        add_list(&r->target_names, rows_get(rows, i, 7));
        r->deferrable = yes(rows, i, 8);
        r->full = yes(rows, i, 9);
        r->self = r->target_oid == t->oid;
    }
}

static void read_keys(const struct rows *rows, struct gen_schema *ret)
{
    for (int i = 0; i < rows_count(rows); i++) {
        struct gen_table *t = table_by_oid(ret, number(rows, i, 0));
        if (!t)
            continue;
        struct gen_key *k = gen_table_key(t, rows_get(rows, i, 1));
        add_columns(t, rows_get(rows, i, 2), &k->columns);
        k->nulls_equal = yes(rows, i, 3);
        k->loose = yes(rows, i, 4);
        k->primary = yes(rows, i, 5);
    }
}

static void read_bounds(const struct rows *rows, struct gen_schema *ret)
{
    for (int i = 0; i < rows_count(rows); i++) {
        struct gen_table *t = table_by_oid(ret, number(rows, i, 0));
        const char *bounds = rows_get(rows, i, 2);
        if (t && bounds)
            add_named_columns(t, bounds, &gen_table_check(t, NULL, bounds)->columns);
    }
}

static char *array_literal(const char *const *v, size_t n)
{
    struct str s = {0};
    str_addc(&s, '{');
    for (size_t i = 0; i < n; i++) {
        str_add(&s, i ? "," : "");
        value_add_element(&s, v[i], false);
    }
    str_addc(&s, '}');
    return str_take(&s);
}

int gen_read_postgres(struct db *db, const struct strv *names, const char *const *leave_out,
                      struct gen_schema *ret, struct err *err)
{
    static const char *const queries[] = {columns_sql, constraints_sql, keys_sql, types_sql};
    size_t left_out = 0;
    while (leave_out && leave_out[left_out])
        left_out++;
    _cleanup_free_ char *wanted =
        names ? array_literal((const char *const *)names->v, names->n) : NULL;
    _cleanup_free_ char *not_wanted = array_literal(leave_out, left_out);
    _cleanup_rows_ struct rows *tables = NULL;
    if (db_query_prepared(db, tables_sql, (const char *[]){wanted, not_wanted}, 2, &tables, err) <
        0)
        return -1;
    if (!rows_count(tables))
        return 0;
    read_tables(tables, ret);
    if (!ret->n)
        return 0;
    _cleanup_str_ struct str oids = {0};
    for (size_t i = 0; i < ret->n; i++)
        str_addf(&oids, "%s%u", i ? "," : "{", ret->v[i]->oid);
    str_addc(&oids, '}');
    struct rows *rows[ARRAY_LEN(queries)] = {0};
    if (db_query_batch(db, queries, ARRAY_LEN(queries), (const char *[]){str_get(&oids)}, 1, rows,
                       err) < 0)
        return -1;
    read_columns(rows[0], rows[3], ret);
    read_constraints(rows[1], ret);
    read_keys(rows[2], ret);
    read_bounds(tables, ret);
    for (size_t i = 0; i < ret->n; i++)
        gen_table_finish(ret->v[i]);
    int r = solve_domains(db, ret, err);
    for (size_t i = 0; i < ARRAY_LEN(queries); i++)
        rows_free(rows[i]);
    return r;
}
