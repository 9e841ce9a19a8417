#include "harness/schema/schema_postgres.h"

#include <assert.h>
#include <jansson.h>
#include <libpq-fe.h>
#include <stdlib.h>
#include <string.h>

#include "harness/schema/schema_impl.h"

/* A kind of scope is read with no more queries than this. */
#define MAX_SCOPE_QUERIES 16

/*
 * The text of catalog queries.
 */

/* The value of a word that a condition can be, as in text: "only{". NULL: it is none. */
static const bool *word_value(const char *text, const struct catalog_text *t)
{
    const struct {
        const char *word;
        const bool *value;
    } words[] = {
        {"only{", &t->only},       {"super{", &t->superuser},         {"rare{", &t->needs.rare},
        {"gaps{", &t->needs.gaps}, {"comments{", &t->needs.comments},
    };
    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        if (strncmp(text, words[i].word, strlen(words[i].word)) == 0)
            return words[i].value;
    return NULL;
}

/* Length of the condition after '@' when text begins a block, else 0; whether it holds. */
static size_t condition_length(const char *text, const struct catalog_text *t, bool *ret_holds)
{
    size_t n = strcspn(text, "{ ");
    bool below = *text == '<';
    const char *p = text + below;
    if (text[n] != '{' || n <= below)
        return 0;
    if (strspn(p, "0123456789") == n - below) {
        *ret_holds = (t->major < atoi(p)) == below;
        return n;
    }
    const bool *word = word_value(p, t);
    if (!word)
        return 0;
    *ret_holds = *word != below;
    return n;
}

void catalog_expand(const char *sql, const struct catalog_text *t, struct str *ret)
{
    int depth = 0;    /* of blocks that are kept */
    int skipping = 0; /* depth inside a block that is left out */
    while (*sql) {
        size_t plain = strcspn(sql, "@}");
        if (!skipping)
            str_addn(ret, sql, plain);
        sql += plain;
        bool holds = false;
        size_t n = *sql == '@' ? condition_length(sql + 1, t, &holds) : 0;
        if (n && (skipping || !holds))
            skipping++;
        else if (n)
            depth++;
        else if (*sql == '}' && skipping)
            skipping--;
        else if (*sql == '}' && depth)
            depth--;
        else if (*sql && !skipping)
            str_addc(ret, *sql);
        sql += n ? n + 2 : *sql != '\0';
    }
}

/*
 * Rows to objects.
 */

static uint32_t oid_at(const struct rows *rows, int row, int column)
{
    const char *text = rows_get(rows, row, column);
    return text ? (uint32_t)strtoul(text, NULL, 10) : 0;
}

/* A column "grant to *" with {"app": "SELECT"} is the property "grant to app". */
static int add_json(struct object_builder *b, const char *name, const char *text, struct err *err)
{
    json_error_t e;
    json_t *json = json_loads(text, 0, &e);
    if (!json)
        return err_set(err, ERR_ENV, "the server sent malformed JSON: %s", e.text);
    const char *key;
    json_t *value;
    json_object_foreach(json, key, value)
    {
        _cleanup_free_ char *full = xasprintf("%.*s%s", (int)strlen(name) - 1, name, key);
        if (json_is_string(value))
            object_prop(b, full, json_string_value(value));
        else
            object_propf(b, full, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
    }
    json_decref(json);
    return 0;
}

static int add_objects(const struct catalog_query *q, const struct rows *rows,
                       struct object_builder *b, struct snapshot *s, struct err *err)
{
    const PGresult *res = rows->owner;
    for (int row = 0; row < rows_count(rows); row++) {
        const char *kind = rows_get(rows, row, 0), *identity = rows_get(rows, row, 1);
        if (!kind || !identity) /* dropped by another session since the snapshot was taken */
            continue;
        object_begin(b, kind, identity);
        object_scope(b, q->reach, oid_at(rows, row, 2));
        object_own(b, q->own_class, oid_at(rows, row, 3));
        for (int column = 4; column < rows_columns(rows); column++) {
            const char *name = PQfname(res, column), *value = rows_get(rows, row, column);
            if (!value)
                continue;
            if (!str_ends(name, "*"))
                object_prop(b, name, value);
            else if (add_json(b, name, value, err) < 0)
                return -1;
        }
        if (b->nprops || !q->sparse)
            snapshot_add(s, object_end(b));
    }
    return 0;
}

/*
 * The reader.
 */

static const struct catalog_query *const groups[] = {
    postgres_relation_queries, postgres_routine_queries, postgres_type_queries,
    postgres_search_queries,   postgres_cluster_queries, postgres_foreign_queries,
};

/*
 * Relations to leave out: version tables ($1, a text[]) and the tracker's with the sequences they
 * own, and what the scripts of extensions made. A composite type is a member through its type.
 */
static const char left_out_sql[] =
    "with named as (select c.oid from pg_class c join pg_namespace n on n.oid = c.relnamespace"
    "  where c.oid >= " FIRST_USER_OID " and c.relkind in ('r', 'p', 'v', 'm', 'f')"
    "  and (" NAME(
        "c.relname") " = any($1::text[]) or quote_ident(c.relname) = any($1::text[])"
                     "   or n.nspname = '" TRACKER_SCHEMA "')@only{ and c.oid = any($2)})"
                     " select array_agg(x.oid) from ("
                     "  select oid from named"
                     "  union select d.objid from pg_depend d join named on d.refobjid = named.oid"
                     "   where d.classid = 'pg_class'::regclass and d.refclassid = "
                     "'pg_class'::regclass"
                     "   and d.deptype in ('a', 'i')"
                     "  union select d.objid from pg_depend d where d.refclassid = "
                     "'pg_extension'::regclass"
                     "   and d.classid = 'pg_class'::regclass and d.deptype = 'e'@only{ and "
                     "d.objid = any($2)}"
                     "  union select t.typrelid from pg_depend d join pg_type t on t.oid = d.objid"
                     "   where d.refclassid = 'pg_extension'::regclass and d.classid = "
                     "'pg_type'::regclass"
                     "   and d.deptype = 'e' and t.typrelid <> 0@only{ and t.typrelid = any($2)}) "
                     "x";

/* An array of names as its literal. */
static char *array_literal(const char *const *names)
{
    struct str s = {0};
    str_addc(&s, '{');
    for (; names && *names; names++) {
        str_add(&s, s.len > 1 ? ",\"" : "\"");
        for (const char *p = *names; *p; p++) {
            if (*p == '"' || *p == '\\')
                str_addc(&s, '\\');
            str_addc(&s, *p);
        }
        str_addc(&s, '"');
    }
    str_addc(&s, '}');
    return str_take(&s);
}

static int run_query(struct catalog_reader *r, const char *sql, bool only,
                     const char *const *values, struct rows **ret, struct err *err)
{
    const struct catalog_text t = {r->version / 10000, r->superuser, only, NEEDS_ALL};
    _cleanup_str_ struct str text = {0};
    catalog_expand(sql, &t, &text);
    int nvalues = strstr(text.p, "$2") ? 2 : strstr(text.p, "$1") ? 1 : 0;
    return r->keep ? db_query_prepared(r->db, text.p, values, nvalues, ret, err)
                   : db_query(r->db, text.p, values, nvalues, ret, err);
}

int catalog_reader_init(struct catalog_reader *r, struct db *db,
                        const struct schema_options *options, bool keep, struct err *err)
{
    _cleanup_free_ char *superuser = NULL;
    if (db_query_text(db, "select current_setting('is_superuser')", NULL, 0, &superuser, err) < 0)
        return -1;
    *r = (struct catalog_reader){
        .db = db,
        .version = db_version(db),
        .superuser = str_eq(superuser, "on"),
        .roles = options && options->roles,
        .keep = keep,
        .version_tables = array_literal(options ? options->version_tables : NULL),
        .left_out = xstrdup("{}"),
    };
    return 0;
}

void catalog_reader_release(struct catalog_reader *r)
{
    object_builder_release(&r->builder);
    free(r->version_tables);
    free(r->left_out);
}

int catalog_left_out(struct catalog_reader *r, const char *oids, struct err *err)
{
    _cleanup_rows_ struct rows *rows = NULL;
    if (run_query(r, left_out_sql, oids != NULL, (const char *[]){r->version_tables, oids}, &rows,
                  err) < 0)
        return -1;
    const char *found = rows_get(rows, 0, 0);
    if (oids && !found)
        return 0;
    char *old = r->left_out;
    if (oids && strlen(old) > 2) /* "{1,2}" and "{3}" make "{1,2,3}" */
        r->left_out = xasprintf("%.*s,%s", (int)strlen(old) - 1, old, found + 1);
    else
        r->left_out = xstrdup(found ? found : "{}");
    free(old);
    return 0;
}

int catalog_read_scopes(struct catalog_reader *r, enum catalog_reach reach, const char *oids,
                        const struct catalog_needs *needs, struct snapshot *s, struct err *err)
{
    const struct catalog_query *queries = reach == REACH_RELATION  ? postgres_relation_queries
                                          : reach == REACH_ROUTINE ? postgres_routine_queries
                                                                   : postgres_type_queries;
    const struct catalog_text t = {r->version / 10000, r->superuser, true, *needs};
    const struct catalog_query *used[MAX_SCOPE_QUERIES];
    struct str text[MAX_SCOPE_QUERIES] = {0};
    const char *sql[MAX_SCOPE_QUERIES] = {0};
    struct rows *rows[MAX_SCOPE_QUERIES] = {0};
    size_t n = 0;
    for (const struct catalog_query *q = queries; q->name; q++) {
        if (q->reach == REACH_ALL || !(needs->queries & 1u << (q - queries)))
            continue;
        assert(n < MAX_SCOPE_QUERIES);
        catalog_expand(q->sql, &t, &text[n]);
        sql[n] = text[n].p;
        used[n++] = q;
    }
    int result = db_query_batch(r->db, sql, n, (const char *[]){r->left_out, oids}, 2, rows, err);
    for (size_t i = 0; i < n; i++) {
        if (result == 0)
            result = add_objects(used[i], rows[i], &r->builder, s, err);
        rows_free(rows[i]);
        str_release(&text[i]);
    }
    return result;
}

static int read_all_queries(struct catalog_reader *r, struct snapshot *s, struct err *err)
{
    for (size_t g = 0; g < ARRAY_LEN(groups); g++) {
        for (const struct catalog_query *q = groups[g]; q->name; q++) {
            if ((q->roles && !r->roles) || q->since > r->version / 10000)
                continue;
            _cleanup_rows_ struct rows *rows = NULL;
            if (run_query(r, q->sql, false, (const char *[]){r->left_out}, &rows, err) < 0 ||
                add_objects(q, rows, &r->builder, s, err) < 0)
                return err_prefix(err, "cannot read %s", q->name);
        }
    }
    return 0;
}

/* Everything that changes how the catalog is written, pinned. quote_all_identifiers would make
 * every name differ. */
#define SETTINGS(set)                                                                              \
    set " search_path = pg_catalog; " set " timezone = 'UTC'; " set                                \
        " datestyle = 'ISO, YMD'; " set " intervalstyle = postgres; " set                          \
        " extra_float_digits = 3; " set " quote_all_identifiers = off; " set                       \
        " bytea_output = hex; " set " standard_conforming_strings = on; " set                      \
        " row_security = off; " set " jit = off; "

const char catalog_settings_sql[] = SETTINGS("set");

/* Runs read(r, data, err) in one transaction, so that all its queries see the same. */
int catalog_transaction(struct catalog_reader *r, const char *begin,
                        int (*read)(struct catalog_reader *r, void *data, struct err *err),
                        void *data, struct err *err)
{
    int result = db_run(r->db, begin, DB_RUN_WHOLE, NULL, err);
    if (result == 0)
        result = read(r, data, err);
    struct err ignored = {0}; /* the first error is the one to report */
    if (db_run(r->db, "rollback", DB_RUN_WHOLE, NULL, result == 0 ? err : &ignored) < 0)
        result = -1;
    err_release(&ignored);
    return result;
}

int catalog_read_all(struct catalog_reader *r, void *data, struct err *err)
{
    struct snapshot **ret = data;
    _cleanup_snapshot_ struct snapshot *s = snapshot_new(engine_postgres.name, r->version);
    if (catalog_left_out(r, NULL, err) < 0 || read_all_queries(r, s, err) < 0 ||
        snapshot_finish(s, err) < 0)
        return -1;
    *ret = TAKE_PTR(s);
    return 0;
}

static int postgres_read(struct db *db, const struct schema_options *options, struct snapshot **ret,
                         struct err *err)
{
    struct catalog_reader r;
    if (catalog_reader_init(&r, db, options, false, err) < 0)
        return -1;
    _cleanup_snapshot_ struct snapshot *s = NULL;
    int result;
    if (db_in_transaction(db)) {
        result = db_run(db, SETTINGS("set local"), DB_RUN_WHOLE, NULL, err);
        if (result == 0)
            result = catalog_read_all(&r, &s, err);
    } else {
        result = catalog_transaction(&r, CATALOG_BEGIN "; " SETTINGS("set local"), catalog_read_all,
                                     &s, err);
    }
    catalog_reader_release(&r);
    if (result < 0)
        return -1;
    *ret = TAKE_PTR(s);
    return 0;
}

const struct schema_reader schema_reader_postgres = {
    .engine = "postgres",
    .read = postgres_read,
    .tracker_new = postgres_tracker_new,
    .tracker_read = postgres_tracker_read,
    .tracker_free = postgres_tracker_free,
    .tracker_remove = postgres_tracker_remove,
};
