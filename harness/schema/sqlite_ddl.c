#include "harness/schema/sqlite_ddl.h"

#include <stdlib.h>
#include <string.h>

#include "harness/engine/engine.h"
#include "harness/schema/ddl_parser.h"
#include "harness/schema/ddl_table.h"

void ddl_objects_add(struct ddl_objects *o, struct object *object)
{
    o->v = xgrow(o->v, o->n, &o->cap, sizeof(*o->v));
    o->v[o->n++] = object;
}

void ddl_objects_release(struct ddl_objects *o)
{
    for (size_t i = 0; i < o->n; i++)
        object_unref(o->v[i]);
    free(o->v);
    strv_release(&o->columns);
    memset(o, 0, sizeof(*o));
}

/* From here to the end of the text. */
static struct ddl_range rest(struct ddl_parser *p)
{
    struct ddl_range r = {.from = p->at, .n = p->failed ? 0 : p->n - p->at};
    p->failed = p->failed || r.n == 0;
    p->at = p->n;
    return r;
}

/* CREATE VIRTUAL TABLE t USING module (arguments): what the arguments mean is the module's affair.
 */
static bool read_virtual(struct ddl_parser *p, const char *identity, uint32_t scope,
                         struct object_builder *b, struct ddl_objects *ret)
{
    static const char *const words[] = {"virtual", NULL};
    ddl_create(p, words, "table");
    ddl_expect(p, "using");
    _cleanup_free_ char *module = ddl_name(p);
    struct ddl_range arguments = {0};
    if (ddl_next_is(p, "("))
        arguments = ddl_parenthesised(p);
    if (p->failed || !ddl_at_end(p))
        return false;
    _cleanup_str_ struct str text = {0};
    sql_render_raw(p->t + arguments.from, arguments.n, &text);
    object_begin(b, "table", identity);
    object_scope(b, 0, scope);
    object_prop(b, "arguments", arguments.n ? str_get(&text) : NULL);
    object_prop(b, "module", module);
    ddl_objects_add(ret, object_end(b));
    return true;
}

static bool read_index(struct ddl_parser *p, const struct ddl_row *row, const char *identity,
                       const struct strv *columns, uint32_t scope, struct object_builder *b,
                       struct ddl_objects *ret)
{
    static const char *const words[] = {"unique", NULL};
    static const struct strv none = {0};
    bool unique = ddl_following_is(p, 1, "unique");
    ddl_create(p, words, "index");
    ddl_expect(p, "on");
    free(ddl_name(p));
    struct ddl_range keys = ddl_parenthesised(p), where = {0};
    if (ddl_accept(p, "where"))
        where = rest(p);
    if (p->failed || !ddl_at_end(p))
        return false;
    struct sql_scope names;
    ddl_scope_init(&names, row->table, columns ? columns : &none);
    _cleanup_free_ char *table = engine_sqlite.quote_ident(row->table);
    _cleanup_free_ char *text = ddl_columns(p, keys, &names);
    _cleanup_free_ char *predicate = ddl_text(p, where, &names);
    free(names.columns);
    if (p->failed)
        return false;
    object_begin(b, "index", identity);
    object_scope(b, 0, scope);
    object_prop(b, "columns", text);
    object_prop(b, "table", table);
    object_prop(b, "unique", unique ? "yes" : NULL);
    object_prop(b, "where", predicate);
    ddl_objects_add(ret, object_end(b));
    return true;
}

/* WHEN's expression ends where BEGIN opens the first statement. */
static struct ddl_range parse_when(struct ddl_parser *p)
{
    static const char *const statements[] = {"select", "insert",  "update",
                                             "delete", "replace", "with"};
    struct ddl_range r = {.from = p->at};
    int depth = 0;
    for (; !p->failed && !ddl_at_end(p); p->at++) {
        depth += ddl_next_is(p, "(");
        depth -= ddl_next_is(p, ")");
        if (depth || !ddl_next_is(p, "begin"))
            continue;
        for (size_t i = 0; i < ARRAY_LEN(statements); i++) {
            if (ddl_following_is(p, 1, statements[i])) {
                r.n = p->at - r.from;
                return r;
            }
        }
    }
    p->failed = true;
    return r;
}

static bool read_trigger(struct ddl_parser *p, const struct ddl_row *row, const char *identity,
                         uint32_t scope, struct object_builder *b, struct ddl_objects *ret)
{
    static const char *const words[] = {"temp", "temporary", NULL};
    ddl_create(p, words, "trigger");
    const char *timing = "BEFORE"; /* what SQLite does when nothing is said */
    if (ddl_accept(p, "after"))
        timing = "AFTER";
    else if (ddl_accept2(p, "instead", "of"))
        timing = "INSTEAD OF";
    else
        ddl_accept(p, "before");
    _cleanup_str_ struct str event = {0};
    if (ddl_accept(p, "insert"))
        str_add(&event, "INSERT");
    else if (ddl_accept(p, "delete"))
        str_add(&event, "DELETE");
    else
        ddl_expect(p, "update");
    if (!event.len)
        str_add(&event, "UPDATE");
    if (ddl_accept(p, "of")) {
        const char *separator = " OF ";
        do {
            _cleanup_free_ char *column = ddl_name(p);
            if (!column)
                return false;
            str_add(&event, separator);
            sql_add_name(&event, column);
            separator = ", ";
        } while (ddl_accept(p, ","));
    }
    ddl_expect(p, "on");
    free(ddl_name(p));
    if (ddl_accept(p, "for")) { /* the only kind there is */
        ddl_expect(p, "each");
        ddl_expect(p, "row");
    }
    struct ddl_range when = {0};
    if (ddl_accept(p, "when"))
        when = parse_when(p);
    ddl_expect(p, "begin");
    struct ddl_range body = rest(p);
    if (p->failed || !sql_is(&p->t[p->n - 1], "end"))
        return false;
    body.n--;
    _cleanup_free_ char *table = engine_sqlite.quote_ident(row->table);
    _cleanup_free_ char *condition = ddl_text(p, when, NULL);
    _cleanup_free_ char *text = ddl_text(p, body, NULL);
    object_begin(b, "trigger", identity);
    object_scope(b, 0, scope);
    object_prop(b, "body", text);
    object_prop(b, "event", str_get(&event));
    object_prop(b, "table", table);
    object_prop(b, "timing", timing);
    object_prop(b, "when", condition);
    ddl_objects_add(ret, object_end(b));
    return true;
}

static bool read_view(struct ddl_parser *p, const char *identity, uint32_t scope,
                      struct object_builder *b, struct ddl_objects *ret)
{
    static const char *const words[] = {"temp", "temporary", NULL};
    ddl_create(p, words, "view");
    _cleanup_strv_ struct strv names = {0};
    _cleanup_str_ struct str columns = {0};
    if (ddl_next_is(p, "("))
        ddl_names(p, &names);
    ddl_expect(p, "as");
    struct ddl_range body = rest(p);
    if (p->failed)
        return false;
    for (size_t i = 0; i < names.n; i++) {
        str_add(&columns, i ? ", " : "");
        sql_add_name(&columns, names.v[i]);
    }
    _cleanup_free_ char *text = ddl_text(p, body, NULL);
    object_begin(b, "view", identity);
    object_scope(b, 0, scope);
    object_prop(b, "body", text);
    object_prop(b, "columns", names.n ? str_get(&columns) : NULL);
    ddl_objects_add(ret, object_end(b));
    return true;
}

void ddl_read(const struct ddl_row *row, const struct strv *columns, uint32_t scope,
              struct ddl_objects *ret)
{
    _cleanup_tokens_ struct sql_tokens tokens = {0};
    _cleanup_free_ char *identity = engine_sqlite.quote_ident(row->name);
    struct object_builder b = {0};
    sql_tokenise(row->sql, &tokens);
    if (tokens.n && sql_is(&tokens.v[tokens.n - 1], ";"))
        tokens.n--;
    struct ddl_parser p = {.t = tokens.v, .n = tokens.n};
    for (size_t i = 0; i < tokens.n; i++)
        p.failed = p.failed || tokens.v[i].kind == SQL_BAD;
    bool virtual = ddl_following_is(&p, 1, "virtual");
    if (virtual)
        ret->understood = read_virtual(&p, identity, scope, &b, ret);
    else if (strcmp(row->type, "table") == 0)
        ret->understood = ddl_read_table(&p, row->name, identity, scope, &b, ret);
    else if (strcmp(row->type, "index") == 0)
        ret->understood = read_index(&p, row, identity, columns, scope, &b, ret);
    else if (strcmp(row->type, "trigger") == 0)
        ret->understood = read_trigger(&p, row, identity, scope, &b, ret);
    else if (strcmp(row->type, "view") == 0)
        ret->understood = read_view(&p, identity, scope, &b, ret);
    if (!ret->understood) {
        _cleanup_str_ struct str definition = {0};
        _cleanup_free_ char *table = engine_sqlite.quote_ident(row->table);
        sql_render(tokens.v, tokens.n, NULL, &definition);
        object_begin(&b, row->type, identity);
        object_scope(&b, 0, scope);
        object_prop(&b, "definition", str_get(&definition));
        object_prop(&b, "table", strcmp(table, identity) == 0 ? NULL : table);
        ddl_objects_add(ret, object_end(&b));
    }
    object_builder_release(&b);
}
