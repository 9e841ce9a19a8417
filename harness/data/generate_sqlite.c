/*
 * What SQLite knows about tables that are to be filled: the pragmas, and for checks the stored
 * text.
 */
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

#include "harness/base/cleanup.h"
#include "harness/data/generate_impl.h"
#include "harness/schema/schema_impl.h"
#include "harness/schema/sqlite_ddl.h"

/* Shadow tables belong to their virtual tables. */
static const char tables_sql[] =
    "select s.name, s.sql, l.type from main.sqlite_schema s join pragma_table_list l"
    " on l.schema = 'main' and l.name = s.name where s.type = 'table'"
    " and l.type in ('table', 'virtual') and s.name not like 'sqlite\\_%' escape '\\' order by "
    "s.name";
static const char columns_sql[] = "select name, type, \"notnull\", pk, hidden"
                                  " from pragma_table_xinfo($1) order by cid";
static const char references_sql[] = "select id, \"table\", \"from\", \"to\""
                                     " from pragma_foreign_key_list($1) order by id, seq";
static const char keys_sql[] =
    "select l.name, l.origin = 'pk', l.partial, x.cid, x.name from pragma_index_list($1) l,"
    " pragma_index_xinfo(l.name) x where l.\"unique\" and x.key order by l.name, x.seqno";
static const char triggers_sql[] = "select group_concat(sql, ';') from main.sqlite_schema"
                                   " where type = 'trigger' and tbl_name = $1 collate nocase";

/* ---- types ---- */

/* As SQLite finds the affinity of a declared type, and beyond it what people mean by the name. */
static struct value_type *read_type(const char *declared)
{
    _cleanup_free_ char *name = xstrdup(declared ? declared : "");
    for (char *p = name; *p; p++)
        if (*p >= 'A' && *p <= 'Z')
            *p = (char)(*p + 32);
    static const struct {
        const char *part;
        enum value_class class;
        int bytes;
        const char *template;
    } known[] = {
        {"bool", VALUE_BOOL, 0, NULL},
        {"smallint", VALUE_INTEGER, 2, NULL},
        {"interval", VALUE_TEXT, 0, NULL},
        {"point", VALUE_TEXT, 0, NULL},
        {"int", VALUE_INTEGER, 8, NULL},
        {"json", VALUE_TEMPLATE, 0, "json"},
        {"uuid", VALUE_TEMPLATE, 0, "uuid"},
        {"char", VALUE_TEXT, 0, NULL},
        {"clob", VALUE_TEXT, 0, NULL},
        {"text", VALUE_TEXT, 0, NULL},
        {"blob", VALUE_BYTES, 0, NULL},
        {"binary", VALUE_BYTES, 0, NULL},
        {"real", VALUE_FLOAT, 8, NULL},
        {"floa", VALUE_FLOAT, 8, NULL},
        {"doub", VALUE_FLOAT, 8, NULL},
        {"datetime", VALUE_TEMPLATE, 0, "timestamp"},
        {"timestamp", VALUE_TEMPLATE, 0, "timestamp"},
        {"date", VALUE_TEMPLATE, 0, "date"},
        {"time", VALUE_TEMPLATE, 0, "time"},
        {"num", VALUE_NUMERIC, 0, NULL},
        {"dec", VALUE_NUMERIC, 0, NULL},
    };
    struct value_type *t = NULL;
    for (size_t i = 0; i < ARRAY_LEN(known) && !t; i++) {
        if (!strstr(name, known[i].part))
            continue;
        t = value_type_new(known[i].class);
        t->bytes = known[i].bytes;
        if (known[i].template)
            t->template = value_template_find(known[i].template);
    }
    if (!t) {
        t = value_type_new(VALUE_TEXT);
        t->any = true;
    }
    const char *limits = strchr(name, '(');
    int first = 0, second = 0;
    if (limits && sscanf(limits, "(%d , %d", &first, &second) >= 1 && first > 0) {
        t->length = t->class == VALUE_TEXT || t->class == VALUE_BYTES ? first : 0;
        t->precision = t->class == VALUE_NUMERIC ? (first < 18 ? first : 18) : 0;
        t->scale = t->class == VALUE_NUMERIC ? second : 0;
    }
    return t;
}

/* ---- the stored text ---- */

/* The columns that an expression names. */
static void add_named_columns(const struct gen_table *t, const char *expression,
                              struct columns *ret)
{
    _cleanup_tokens_ struct sql_tokens tokens = {0};
    sql_tokenise(expression, &tokens);
    for (size_t i = 0; i < tokens.n; i++) {
        if (tokens.v[i].kind != SQL_WORD && tokens.v[i].kind != SQL_QUOTED)
            continue;
        _cleanup_free_ char *name = sql_name(&tokens.v[i]);
        for (size_t k = 0; k < t->ncolumns; k++)
            if (sqlite3_stricmp(t->columns[k].name, name) == 0 && !columns_has(ret, k))
                columns_add(ret, k);
    }
}

static void read_text(struct gen_table *t, const char *name, const char *sql)
{
    struct ddl_objects objects = {0};
    ddl_read(&(struct ddl_row){.type = "table", .name = name, .table = name, .sql = sql}, NULL, 0,
             &objects);
    for (size_t i = 0; i < objects.n; i++) {
        const struct object *o = objects.v[i];
        const char *type = object_get(o, "type");
        if (strcmp(o->kind, "constraint") != 0 || !type)
            continue;
        const char *expression = object_get(o, "expression");
        if (strcmp(type, "check") == 0 && expression) {
            const char *own = o->identity + strlen(t->identity);
            struct gen_check *c = gen_table_check(t, *own == '.' ? own + 1 : NULL, expression);
            add_named_columns(t, expression, &c->columns);
        }
        if (object_get(o, "rowid alias"))
            for (size_t k = 0; k < t->ncolumns; k++)
                t->columns[k].counted = t->columns[k].counted || t->columns[k].primary;
    }
    ddl_objects_release(&objects);
}

/* ---- tables ---- */

static int read_columns(struct db *db, struct gen_table *t, const char *name, bool virtual,
                        struct err *err)
{
    _cleanup_rows_ struct rows *rows = NULL;
    if (db_query_prepared(db, columns_sql, &name, 1, &rows, err) < 0)
        return -1;
    struct gen_key primary = {.primary = true};
    for (int i = 0; i < rows_count(rows); i++) {
        const char *hidden = rows_get(rows, i, 4);
        struct gen_column *c = gen_table_column(t, rows_get(rows, i, 0));
        c->quoted = engine_sqlite.quote_ident(c->name);
        c->type = read_type(rows_get(rows, i, 1));
        c->primary = atoi(rows_get(rows, i, 3)) > 0;
        /* a key may hold NULL in SQLite, and nobody means it to */
        c->not_null = *rows_get(rows, i, 2) == '1' || c->primary;
        c->writable = *hidden == '0';
        /* the columns of an R-tree are the ends of ranges */
        c->counted = virtual && c->type->class != VALUE_TEXT;
        if (c->primary)
            columns_add(&primary.columns, t->ncolumns - 1);
    }
    if (primary.columns.n) {
        struct gen_key *k = gen_table_key(t, "");
        k->columns = primary.columns;
        k->primary = true;
    }
    return 0;
}

static int read_keys(struct db *db, struct gen_table *t, const char *name, struct err *err)
{
    _cleanup_rows_ struct rows *rows = NULL;
    if (db_query_prepared(db, keys_sql, &name, 1, &rows, err) < 0)
        return -1;
    struct gen_key *k = NULL;
    for (int i = 0; i < rows_count(rows); i++) {
        const char *index = rows_get(rows, i, 0);
        if (*rows_get(rows, i, 1) == '1') /* read with the columns */
            continue;
        if (!k || strcmp(k->name, index) != 0)
            k = gen_table_key(t, index);
        long column = atol(rows_get(rows, i, 3));
        k->loose = k->loose || column < 0 || *rows_get(rows, i, 2) == '1';
        if (column >= 0)
            columns_add(&k->columns, (size_t)column);
        if (column == -2) { /* which columns an expression reads, its text says */
            _cleanup_free_ char *sql = NULL;
            if (db_query_text(db, "select sql from main.sqlite_schema where name = $1", &index, 1,
                              &sql, err) < 0)
                return -1;
            if (sql)
                add_named_columns(t, strchr(sql, '(') ? strchr(sql, '(') : sql, &k->columns);
        }
    }
    return 0;
}

/* Without columns a reference is to the parent's primary key. *ret_exists: there is such a
 * table. */
static int read_primary_key(struct db *db, const char *table, struct strv *ret, bool *ret_exists,
                            struct err *err)
{
    _cleanup_rows_ struct rows *rows = NULL;
    if (db_query_prepared(db, "select name, pk from pragma_table_xinfo($1) order by pk", &table, 1,
                          &rows, err) < 0)
        return -1;
    for (int i = 0; i < rows_count(rows); i++)
        if (atoi(rows_get(rows, i, 1)) > 0)
            strv_add(ret, rows_get(rows, i, 0));
    *ret_exists = rows_count(rows) > 0;
    return 0;
}

static int read_references(struct db *db, struct gen_table *t, const char *name, struct err *err)
{
    _cleanup_rows_ struct rows *rows = NULL;
    if (db_query_prepared(db, references_sql, &name, 1, &rows, err) < 0)
        return -1;
    struct gen_reference *r = NULL;
    for (int i = 0; i < rows_count(rows); i++) {
        if (!i || strcmp(rows_get(rows, i, 0), rows_get(rows, i - 1, 0)) != 0) {
            const char *target = rows_get(rows, i, 1);
            _cleanup_strv_ struct strv key = {0};
            bool exists = false;
            if (read_primary_key(db, target, &key, &exists, err) < 0)
                return -1;
            r = NULL;
            if (!exists) /* nothing can refer there; SQLite only minds while foreign_keys is on */
                continue;
            r = gen_table_reference(t, "");
            r->deferrable = true; /* all of them, by pragma defer_foreign_keys */
            r->target = engine_sqlite.quote_ident(target);
            r->self = sqlite3_stricmp(target, name) == 0;
            if (!rows_get(rows, i, 3)) {
                r->target_names = key;
                key = (struct strv){0};
            }
        }
        if (!r)
            continue;
        for (size_t k = 0; k < t->ncolumns; k++)
            if (sqlite3_stricmp(t->columns[k].name, rows_get(rows, i, 2)) == 0)
                columns_add(&r->columns, k);
        if (rows_get(rows, i, 3))
            strv_add(&r->target_names, rows_get(rows, i, 3));
    }
    for (size_t i = 0; i < t->nreferences; i++)
        for (size_t k = 0; k < t->references[i].target_names.n; k++)
            strv_add_take(&t->references[i].target_quoted,
                          engine_sqlite.quote_ident(t->references[i].target_names.v[k]));
    return 0;
}

static int read_table(struct db *db, const char *name, const char *sql, bool virtual,
                      struct gen_table *t, struct err *err)
{
    _cleanup_free_ char *triggers = NULL;
    t->name = xstrdup(name);
    if (read_columns(db, t, name, virtual, err) < 0 || read_keys(db, t, name, err) < 0 ||
        read_references(db, t, name, err) < 0 ||
        db_query_text(db, triggers_sql, &name, 1, &triggers, err) < 0)
        return -1;
    if (triggers)
        str_add(&t->hints, triggers);
    if (!virtual)
        read_text(t, name, sql);
    gen_table_finish(t);
    return 0;
}

/* An index over the content of another table. What is read from it comes from there: only its own
 * record of documents tells whether triggers have entered them. */
static void add_closed_index(const char *name, const char *identity, struct gen_schema *ret)
{
    _cleanup_free_ char *documents = xasprintf("%s_docsize", name);
    _cleanup_free_ char *quoted = engine_sqlite.quote_ident(documents);
    strv_add(&ret->closed, identity);
    strv_add(&ret->closed_why, "its content is another table's, and nothing enters that here");
    strv_add_take(&ret->closed_filled, xasprintf("select exists(select 1 from %s)", quoted));
}

int gen_read_sqlite(struct db *db, const struct strv *names, const char *const *leave_out,
                    struct gen_schema *ret, struct err *err)
{
    _cleanup_rows_ struct rows *rows = NULL;
    struct schema_options options = {.version_tables = leave_out};
    if (db_query_prepared(db, tables_sql, NULL, 0, &rows, err) < 0)
        return -1;
    for (int i = 0; i < rows_count(rows); i++) {
        const char *name = rows_get(rows, i, 0);
        _cleanup_free_ char *identity = engine_sqlite.quote_ident(name);
        bool virtual = strcmp(rows_get(rows, i, 2), "virtual") == 0;
        if ((names && !strv_has(names, identity)) ||
            schema_is_version_table(&options, NULL, identity))
            continue;
        if (virtual && sqlite3_strlike("%content=%", rows_get(rows, i, 1), 0) == 0) {
            add_closed_index(name, identity, ret);
            continue;
        }
        if (read_table(db, name, rows_get(rows, i, 1), virtual, gen_schema_add(ret, identity),
                       err) < 0)
            return -1;
    }
    return 0;
}

int gen_sqlite_can_enforce(struct db *db, const struct gen_schema *s, bool *ret, struct err *err)
{
    *ret = true;
    for (size_t i = 0; i < s->n && *ret; i++) {
        _cleanup_free_ char *sql =
            xasprintf("explain insert into %s default values", s->v[i]->identity);
        _cleanup_rows_ struct rows *rows = NULL;
        _cleanup_err_ struct err why = {0};
        if (db_query(db, sql, NULL, 0, &rows, &why) == 0)
            continue;
        if (why.code != ERR_SQL) {
            err_move(err, &why);
            return -1;
        }
        *ret = !str_starts(why.message, "foreign key mismatch") &&
               !str_starts(why.message, "no such table");
    }
    return 0;
}
