#include <stdlib.h>
#include <string.h>

#include "backup/mask.h"

static struct mask_column *add_column(struct mask_model *m, const char *table, char *name,
                                      const char *type)
{
    m->columns = xgrow(m->columns, m->ncolumns, &m->columns_cap, sizeof(*m->columns));
    struct mask_column *c = &m->columns[m->ncolumns++];
    *c = (struct mask_column){.table = xstrdup(table), .name = name, .type = xstrdup(type)};
    return c;
}

static struct mask_link *add_link(struct mask_model *m)
{
    m->links = xgrow(m->links, m->nlinks, &m->links_cap, sizeof(*m->links));
    m->links[m->nlinks] = (struct mask_link){0};
    return &m->links[m->nlinks++];
}

/* ---- PostgreSQL, from what the snapshot says of columns and constraints ---- */

/* The length of the identity's first part: all but the last name. */
static size_t table_length(const char *identity)
{
    size_t at = 0;
    bool quoted = false;
    for (size_t i = 0; identity[i]; i++) {
        quoted ^= identity[i] == '"';
        if (identity[i] == '.' && !quoted)
            at = i;
    }
    return at;
}

static char *unquoted(const char *name)
{
    if (*name != '"')
        return xstrdup(name);
    struct str s = {0};
    for (const char *p = name + 1; *p && !(p[0] == '"' && p[1] != '"'); p += 1 + (*p == '"'))
        str_addc(&s, *p);
    str_add(&s, "");
    return str_take(&s);
}

/* "a, \"B c\"" as names. */
static void add_names(const char *list, struct strv *ret)
{
    while (*list) {
        size_t n = 0;
        bool quoted = false;
        for (; list[n] && (quoted || (list[n] != ',' && list[n] != ')')); n++)
            quoted ^= list[n] == '"';
        _cleanup_free_ char *one = xstrndup(list, n);
        strv_add_take(ret, unquoted(one));
        if (list[n] != ',')
            return;
        list += n + 1;
        list += strspn(list, " ");
    }
}

static const struct {
    const char *name;
    enum mask_type kind;
} types[] = {
    {"text", MASK_TEXT},       {"character varying", MASK_TEXT},
    {"character", MASK_TEXT},  {"name", MASK_TEXT},
    {"uuid", MASK_UUID},       {"smallint", MASK_SMALL},
    {"integer", MASK_INTEGER}, {"bigint", MASK_BIGINT},
    {"bytea", MASK_BYTES},     {"inet", MASK_ADDRESS},
    {"cidr", MASK_ADDRESS},    {"date", MASK_DATE},
};

/* "character varying(40)"; "public.citext" and its like by the last name. */
static void set_type(struct mask_column *c, const char *type)
{
    size_t n = strcspn(type, "(");
    c->kind = MASK_OTHER;
    if (strchr(type, '['))
        return;
    if (str_ends(type, ".citext") || strcmp(type, "citext") == 0)
        c->kind = MASK_TEXT;
    for (size_t i = 0; i < ARRAY_LEN(types); i++)
        if (strlen(types[i].name) == n && strncmp(types[i].name, type, n) == 0)
            c->kind = types[i].kind;
    if (str_starts(type, "timestamp"))
        c->kind = MASK_TIME;
    if (c->kind == MASK_TEXT && type[n] == '(')
        c->limit = strtoul(type + n + 1, NULL, 10);
    if (str_starts(type, "character("))
        c->pad = c->limit;
    c->zoned = str_ends(type, "with time zone") || strcmp(type, "cidr") == 0;
}

static void add_snapshot_column(struct mask_model *m, const struct snapshot *s,
                                const struct object *o)
{
    const char *type = object_get(o, "type");
    _cleanup_free_ char *table = xstrndup(o->identity, table_length(o->identity));
    const struct object *t = snapshot_find(s, "table", table);
    if (!t || !type || object_get(t, "partition of"))
        return;
    struct mask_column *c = add_column(m, table, unquoted(o->identity + strlen(table) + 1), type);
    c->not_null = object_get(o, "not null") != NULL;
    for (const struct object *d; (d = snapshot_find(s, "domain", type));) {
        c->not_null = c->not_null || object_get(d, "not null");
        type = object_get(d, "type");
    }
    set_type(c, type);
    if (object_get(o, "generated"))
        c->kind = MASK_OTHER;
}

/* A name among the words of a definition: it may be within an expression. */
static bool mentions(const char *definition, const char *name)
{
    size_t n = strlen(name);
    static const char word[] = "abcdefghijklmnopqrstuvwxyz0123456789_ABCDEFGHIJKLMNOPQRSTUVWXYZ";
    for (const char *p = definition; (p = strstr(p, name)); p++)
        if ((p == definition || !strchr(word, p[-1])) && (!p[n] || !strchr(word, p[n])))
            return true;
    return false;
}

static void mark_unique(struct mask_model *m, const char *table, const char *definition)
{
    for (size_t i = 0; i < m->ncolumns; i++)
        if (strcmp(m->columns[i].table, table) == 0 && mentions(definition, m->columns[i].name))
            m->columns[i].unique = true;
}

static void add_constraint(struct mask_model *m, const struct object *o)
{
    const char *type = object_get(o, "type"), *references = object_get(o, "references");
    const char *definition = object_get(o, "definition");
    _cleanup_free_ char *table = xstrndup(o->identity, table_length(o->identity));
    if (str_eq(type, "foreign key") && references && object_get(o, "columns")) {
        const char *list = strstr(references, " (");
        if (!list)
            return;
        struct mask_link *l = add_link(m);
        l->name = xstrdup(o->identity);
        l->table = TAKE_PTR(table);
        l->to = xstrndup(references, (size_t)(list - references));
        add_names(object_get(o, "columns"), &l->columns);
        add_names(list + 2, &l->to_columns);
    } else if (definition &&
               (str_eq(type, "unique") || str_eq(type, "primary key") || str_eq(type, "exclude"))) {
        mark_unique(m, table, definition);
    }
}

void mask_model_postgres(struct mask_model *m, const struct snapshot *s)
{
    *m = (struct mask_model){.engine = &engine_postgres};
    for (size_t i = 0; i < s->n; i++) {
        const struct object *o = s->objects[i];
        const char *of = strcmp(o->kind, "table") == 0 ? object_get(o, "partition of") : NULL;
        if (strcmp(o->kind, "column") == 0)
            add_snapshot_column(m, s, o);
        else if (of)
            strv_add_take(&m->partitions, xasprintf("%s %s", o->identity, of));
    }
    for (size_t i = 0; i < s->n; i++) {
        const struct object *o = s->objects[i];
        if (strcmp(o->kind, "constraint") == 0)
            add_constraint(m, o);
        else if (strcmp(o->kind, "index") == 0 && object_get(o, "unique") &&
                 object_get(o, "table") && object_get(o, "definition"))
            mark_unique(m, object_get(o, "table"), object_get(o, "definition"));
    }
}

/* ---- SQLite ---- */

/* clang-format off */

static const char lite_columns_sql[] =
    "select t.name, c.name, c.type, c.\"notnull\", c.pk, c.hidden,"
    "  c.pk = 1 and c.type = 'INTEGER' collate nocase"
    "   and (select count(*) from pragma_table_info(t.name) where pk) = 1,"
    "  exists (select 1 from pragma_index_list(t.name) i, pragma_index_info(i.name) k"
    "   where i.\"unique\" and k.cid = c.cid) or c.pk > 0 and t.wr"
    " from pragma_table_list t, pragma_table_xinfo(t.name) c"
    " where t.schema = 'main' and t.type = 'table' and t.name not like 'sqlite\\_%' escape '\\'"
    " order by t.name, c.cid";

static const char lite_links_sql[] =
    "select t.name, f.id, f.\"table\", f.\"from\", coalesce(f.\"to\","
    "  (select name from pragma_table_info(f.\"table\") where pk = f.seq + 1))"
    " from pragma_table_list t, pragma_foreign_key_list(t.name) f"
    " where t.schema = 'main' and t.type = 'table' order by t.name, f.id, f.seq";

/* clang-format on */

/* Names are the same in any case. */
static const char *as_declared(const struct mask_model *m, const char *table, const char *name)
{
    for (size_t i = 0; i < m->ncolumns; i++)
        if (strcasecmp(m->columns[i].table, table) == 0 &&
            (!name || strcasecmp(m->columns[i].name, name) == 0))
            return name ? m->columns[i].name : m->columns[i].table;
    return name ? name : table;
}

int mask_model_sqlite(struct mask_model *m, struct db *db, struct err *err)
{
    _cleanup_rows_ struct rows *columns = NULL, *links = NULL;
    if (db_query(db, lite_columns_sql, NULL, 0, &columns, err) < 0 ||
        db_query(db, lite_links_sql, NULL, 0, &links, err) < 0)
        return -1;
    *m = (struct mask_model){.engine = &engine_sqlite};
    for (int i = 0; i < rows_count(columns); i++) {
        const char *type = rows_get(columns, i, 2);
        struct mask_column *c = add_column(m, rows_get(columns, i, 0),
                                           xstrdup(rows_get(columns, i, 1)), *type ? type : "any");
        c->not_null = !str_eq(rows_get(columns, i, 3), "0");
        c->rowid = str_eq(rows_get(columns, i, 6), "1");
        c->unique = str_eq(rows_get(columns, i, 7), "1");
        c->kind = str_eq(rows_get(columns, i, 5), "0") ? MASK_DYNAMIC : MASK_OTHER;
    }
    struct mask_link *l = NULL;
    for (int i = 0; i < rows_count(links); i++) {
        const char *table = rows_get(links, i, 0), *to = rows_get(links, i, 2);
        if (!i || strcmp(rows_get(links, i - 1, 0), table) != 0 ||
            strcmp(rows_get(links, i - 1, 1), rows_get(links, i, 1)) != 0) {
            l = add_link(m);
            l->name = xasprintf("%s (%s)", table, rows_get(links, i, 3));
            l->table = xstrdup(table);
            l->to = xstrdup(as_declared(m, to, NULL));
        }
        strv_add(&l->columns, as_declared(m, table, rows_get(links, i, 3)));
        const char *column = rows_get(links, i, 4);
        strv_add(&l->to_columns, column ? as_declared(m, l->to, column) : "");
    }
    return 0;
}
