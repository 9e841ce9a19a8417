/*
 * Digests of PostgreSQL's tables: one query for what there is, then one text of COPY statements for
 * all that is to be read, whose lines are added up as they come. Three round trips, however many
 * tables there are.
 */
#include <libpq-fe.h>
#include <stdlib.h>
#include <string.h>

#include "harness/data/digest_impl.h"
#include "harness/engine/postgres_copy.h"
#include "harness/schema/schema_postgres.h"

/* Sequences that one statement reads. */
#define SEQUENCES_AT_ONCE 100

/*
 * The output of types depends on these: reg* types on search_path and quote_all_identifiers, money
 * on lc_monetary. The others keep what reads rows from hiding them, giving up, planning anew, or
 * starting workers for a small table.
 */
/* clang-format off */
#define SET(name, value, local) "set_config('" name "', '" value "', " local ")"
#define SETTINGS(local)                                               \
    "select " SET("search_path", "pg_catalog", local)                 \
    ", " SET("timezone", "UTC", local)                                \
    ", " SET("datestyle", "ISO, YMD", local)                          \
    ", " SET("intervalstyle", "postgres", local)                      \
    ", " SET("extra_float_digits", "3", local)                        \
    ", " SET("bytea_output", "hex", local)                            \
    ", " SET("lc_monetary", "C", local)                               \
    ", " SET("quote_all_identifiers", "off", local)                   \
    ", " SET("row_security", "off", local)                            \
    ", " SET("statement_timeout", "0", local)                         \
    ", " SET("jit", "off", local)                                     \
    ", " SET("max_parallel_workers_per_gather", "0", local)           \
    ", " SET("plan_cache_mode", "force_generic_plan", local)
/* clang-format on */

const char digest_settings_sql[] = SETTINGS("false");
const char digest_settings_local_sql[] = SETTINGS("true");

enum catalog_column {
    KIND, /* c: a column; p: one of a partitioned table; l: a partition; S: a sequence */
    SCHEMA,
    NAME,   /* of the table, or of the sequence */
    COLUMN, /* c, p: NULL in a table without any */
    GENERATED,
    CONDITION, /* which rows of an extension's table are the users': "WHERE ..."; or NULL */
    LEAF_SCHEMA = COLUMN, /* l */
    LEAF,
    INCREMENT = COLUMN, /* S */
    LOWEST,
    HIGHEST,
    CYCLE,
    OWNER_SCHEMA, /* the table whose column owns it, or NULL */
    OWNER,
};

/* clang-format off */

/* c is what to read: tables, the roots of partition trees, sequences. */
#define CATALOG_SQL(wanted)                                                                        \
    "with r as (select c.oid, c.relkind, n.nspname, c.relname"                                     \
    "  from pg_class c join pg_namespace n on n.oid = c.relnamespace"                              \
    "  where c.relkind in ('r', 'p', 'S')"                                                         \
    "  and c.relpersistence <> 't' and not c.relispartition and" SCHEMA_FILTER                     \
    "  and " wanted                                                                                \
    /* what an extension keeps for itself */                                                       \
    "  and not exists (select from pg_depend e join pg_extension x on x.oid = e.refobjid"          \
    "   where e.classid = 'pg_class'::regclass and e.objid = c.oid and e.deptype = 'e'"            \
    "   and e.refclassid = 'pg_extension'::regclass"                                               \
    "   and c.oid <> all(coalesce(x.extconfig, '{}'))))"                                           \
    " select case r.relkind when 'p' then 'p' else 'c' end, r.nspname, r.relname, a.attname::text, a.attgenerated::text,"  \
    /* asked only where an extension has such tables at all */                                     \
    "  case when exists (select from pg_extension where extconfig is not null) then"               \
    "   (select nullif(x.extcondition[array_position(x.extconfig, r.oid)], '')"                    \
    "    from pg_extension x where r.oid = any(x.extconfig)) end,"                                 \
    "  null, null, null, r.oid, a.attnum"                                                          \
    " from r left join pg_attribute a on a.attrelid = r.oid and a.attnum > 0"                      \
    "  and not a.attisdropped where r.relkind <> 'S'"                                              \
    " union all"                                                                                   \
    " select 'l', r.nspname, r.relname, n.nspname, l.relname, null, null, null, null, r.oid, null" \
    " from r cross join pg_partition_tree(r.oid) p join pg_class l on l.oid = p.relid"             \
    "  join pg_namespace n on n.oid = l.relnamespace"                                              \
    " where r.relkind = 'p' and l.relkind = 'r'"                                                   \
    " union all"                                                                                   \
    " select 'S', r.nspname, r.relname, s.seqincrement::text, s.seqmin::text, s.seqmax::text,"     \
    "  s.seqcycle::text, o.nspname, o.relname, r.oid, null"                                        \
    " from r join pg_sequence s on s.seqrelid = r.oid"                                             \
    " left join lateral (select n.nspname, t.relname from pg_depend d"                             \
    "  join pg_class t on t.oid = d.refobjid join pg_namespace n on n.oid = t.relnamespace"        \
    "  where d.classid = 'pg_class'::regclass and d.objid = r.oid and d.deptype in ('a', 'i')"     \
    "  and d.refclassid = 'pg_class'::regclass limit 1) o on true"                                 \
    " where r.relkind = 'S'"                                                                       \
    " order by 10, 11" /* columns before partitions: null is last */

/* clang-format on */

static const char all_sql[] = CATALOG_SQL("c.oid >= " FIRST_USER_OID);
/* $1: names. The lookup by name keeps the cost from growing with the other tables. */
static const char named_sql[] = CATALOG_SQL(
    "c.oid = any(array(select coalesce(pg_partition_root(to_regclass(u)), to_regclass(u))"
    " from unnest($1::text[]) u))");

struct reading {
    struct db *db;
    const struct digest_options *options;
    const struct rows *catalog;
    struct digest_set *set;
    bool raw; /* the database has no encoding: bytes as they are */
    struct str sql;
    /* what each COPY of sql reads: a digest of set, or NO_TABLE for sequences */
    size_t *targets;
    size_t ntargets, cap;
    struct sequence *sequences;
    size_t nsequences, sequences_cap;
};

#define NO_TABLE SIZE_MAX

struct sequence {
    size_t digest; /* in set */
    int row;       /* of the catalog */
};

static const char *get(const struct reading *r, int row, enum catalog_column column)
{
    return rows_get(r->catalog, row, (int)column);
}

static char *qualified(const struct reading *r, int row, enum catalog_column schema,
                       enum catalog_column name)
{
    _cleanup_free_ char *s = db_quote_ident(r->db, get(r, row, schema));
    _cleanup_free_ char *n = db_quote_ident(r->db, get(r, row, name));
    return xasprintf("%s.%s", s, n);
}

static bool left_out(const struct reading *r, int row, enum catalog_column schema,
                     enum catalog_column name)
{
    if (!r->options->leave_out || !get(r, row, name))
        return false;
    _cleanup_free_ char *s = db_quote_ident(r->db, get(r, row, schema));
    _cleanup_free_ char *n = db_quote_ident(r->db, get(r, row, name));
    return digest_left_out(r->options, s, n);
}

static void add_target(struct reading *r, size_t digest)
{
    r->targets = xgrow(r->targets, r->ntargets, &r->cap, sizeof(*r->targets));
    r->targets[r->ntargets++] = digest;
}

/* COPY of a table itself needs no plan, but refuses generated columns. */
static void add_copy(struct reading *r, const char *relation, const char *condition, size_t digest)
{
    const struct digest_sum *sum = &r->set->v[digest].sum;
    _cleanup_str_ struct str columns = {0};
    bool generated = false;
    for (size_t i = 0; i < sum->ncolumns; i++) {
        _cleanup_free_ char *name = db_quote_ident(r->db, sum->columns[i].name);
        str_addf(&columns, "%s%s", i ? ", " : "", name);
        generated = generated || sum->columns[i].generated;
    }
    if (generated || condition)
        str_addf(&r->sql, "copy (select %s from only %s %s)", str_get(&columns), relation,
                 condition ? condition : "");
    else if (columns.len)
        str_addf(&r->sql, "copy %s (%s)", relation, columns.p);
    else
        str_addf(&r->sql, "copy %s", relation);
    str_addf(&r->sql, " to stdout%s;\n", r->raw ? " with (encoding 'SQL_ASCII')" : "");
    add_target(r, digest);
}

/* Tables of the catalog's rows from row on; returns the row after them. */
static int plan_table(struct reading *r, int row)
{
    int rows = rows_count(r->catalog), first = row;
    const char *schema = get(r, row, SCHEMA), *name = get(r, row, NAME);
    while (row < rows && get(r, row, KIND)[0] != 'S' && strcmp(get(r, row, NAME), name) == 0 &&
           strcmp(get(r, row, SCHEMA), schema) == 0)
        row++;
    int end = row;
    if (left_out(r, first, SCHEMA, NAME))
        return end;

    int leaves = first;
    while (leaves < end && get(r, leaves, KIND)[0] != 'l')
        leaves++;
    size_t n = get(r, first, COLUMN) ? (size_t)(leaves - first) : 0;
    const char **names = xcalloc(n, sizeof(*names));
    for (size_t i = 0; i < n; i++)
        names[i] = get(r, first + (int)i, COLUMN);
    struct digest *d = digest_set_add(r->set, qualified(r, first, SCHEMA, NAME));
    digest_sum_init(&d->sum, names, n);
    free(names);
    for (size_t i = 0; i < n; i++)
        d->sum.columns[i].generated = *get(r, first + (int)i, GENERATED) != '\0';
    digest_like(r->options, d->name, &d->sum);
    size_t digest = r->set->n - 1;
    if (get(r, first, KIND)[0] == 'c')
        add_copy(r, d->name, get(r, first, CONDITION), digest);
    for (row = leaves; row < end; row++) {
        _cleanup_free_ char *leaf = qualified(r, row, LEAF_SCHEMA, LEAF);
        add_copy(r, leaf, NULL, digest);
    }
    return end;
}

static void plan_sequence(struct reading *r, int row)
{
    if (left_out(r, row, SCHEMA, NAME) || left_out(r, row, OWNER_SCHEMA, OWNER))
        return;
    struct digest *d = digest_set_add(r->set, qualified(r, row, SCHEMA, NAME));
    d->sequence = true;
    bool first = r->nsequences % SEQUENCES_AT_ONCE == 0;
    if (first && r->nsequences)
        str_add(&r->sql, ") to stdout;\n");
    if (first)
        add_target(r, NO_TABLE);
    str_addf(&r->sql, "%sselect %zu, last_value, is_called from %s",
             first ? "copy (" : " union all ", r->nsequences, d->name);
    r->sequences = xgrow(r->sequences, r->nsequences, &r->sequences_cap, sizeof(*r->sequences));
    r->sequences[r->nsequences++] = (struct sequence){.digest = r->set->n - 1, .row = row};
}

/* Tables and then sequences: the catalog's rows are in the order of oids. */
static void plan(struct reading *r)
{
    int rows = rows_count(r->catalog);
    for (int row = 0; row < rows;)
        row = get(r, row, KIND)[0] == 'S' ? row + 1 : plan_table(r, row);
    for (int row = 0; row < rows; row++)
        if (get(r, row, KIND)[0] == 'S')
            plan_sequence(r, row);
    if (r->nsequences)
        str_add(&r->sql, ") to stdout;\n");
}

static int64_t number(const struct reading *r, int row, enum catalog_column column)
{
    return strtoll(get(r, row, column), NULL, 10);
}

int64_t digest_sequence_next(int64_t last, bool called, int64_t step, int64_t lowest,
                             int64_t highest, bool cycle)
{
    int64_t next = last;
    if (!called)
        return last;
    bool over = __builtin_add_overflow(last, step, &next);
    if (over)
        next = step > 0 ? INT64_MAX : INT64_MIN;
    if (cycle && (over || next > highest || next < lowest))
        next = step > 0 ? lowest : highest;
    return next;
}

/* "index, last value, whether it was given out" */
static int read_sequence(struct reading *r, const char *line, struct err *err)
{
    char *end;
    size_t i = strtoul(line, &end, 10);
    int64_t last = strtoll(end, &end, 10);
    if (i >= r->nsequences || *end != '\t')
        return err_set(err, ERR_ENV, "the server sent a malformed row of a sequence");
    int row = r->sequences[i].row;
    r->set->v[r->sequences[i].digest].next =
        digest_sequence_next(last, end[1] == 't', number(r, row, INCREMENT), number(r, row, LOWEST),
                             number(r, row, HIGHEST), get(r, row, CYCLE)[0] == 't');
    return 0;
}

static int read_rows(struct reading *r, struct err *err)
{
    struct pg_copy copy;
    _cleanup_str_ struct str scratch = {0};
    const char *line;
    size_t len;
    if (pg_copy_begin(&copy, r->db, r->sql.p, err) < 0)
        return -1;
    int result;
    while ((result = pg_copy_next(&copy, &line, &len, err)) > 0) {
        size_t target = r->targets[copy.statement];
        if (target == NO_TABLE) {
            if (read_sequence(r, line, err) < 0)
                result = -1;
        } else if (digest_sum_copy_row(&r->set->v[target].sum, line, len, &scratch, err) < 0) {
            result = err_prefix(err, "%s", r->set->v[target].name);
        }
        if (result < 0)
            break;
    }
    pg_copy_end(&copy);
    return result;
}

/* names as a text[]. */
static char *names_literal(const struct strv *names)
{
    struct str s = {0};
    for (size_t i = 0; i < names->n; i++) {
        str_add(&s, i ? ",\"" : "{\"");
        for (const char *p = names->v[i]; *p; p++) {
            if (*p == '"' || *p == '\\')
                str_addc(&s, '\\');
            str_addc(&s, *p);
        }
        str_addc(&s, '"');
    }
    str_add(&s, names->n ? "}" : "{}");
    return str_take(&s);
}

int digest_read_postgres(struct db *db, const struct strv *names, const struct digest_options *o,
                         struct digest_set *set, struct err *err)
{
    _cleanup_free_ char *literal = names ? names_literal(names) : NULL;
    const char *values[] = {literal}, *sql = names ? named_sql : all_sql;
    _cleanup_rows_ struct rows *catalog = NULL;
    if ((o->keep ? db_query_prepared : db_query)(db, sql, values, names ? 1 : 0, &catalog, err) < 0)
        return -1;
    const char *encoding = PQparameterStatus(db_handle(db), "server_encoding");
    struct reading r = {.db = db,
                        .options = o,
                        .catalog = catalog,
                        .set = set,
                        .raw = encoding && strcmp(encoding, "SQL_ASCII") == 0};
    plan(&r);
    int result = r.ntargets ? read_rows(&r, err) : 0;
    str_release(&r.sql);
    free(r.targets);
    free(r.sequences);
    return result;
}
