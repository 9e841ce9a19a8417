#include "harness/schema/ddl_table.h"

#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

#include "harness/engine/engine.h"

enum constraint_type {
    PRIMARY_KEY,
    UNIQUE,
    CHECK,
    FOREIGN_KEY,
};

static const char *const type_names[] = {"primary key", "unique", "check", "foreign key"};

struct constraint {
    enum constraint_type type;
    char *name;              /* or NULL */
    struct ddl_range range;  /* columns with COLLATE and DESC, or the expression */
    long column;             /* written behind this column, -1: at the end of the table */
    bool descending;         /* PRIMARY KEY DESC behind a column */
    const char *on_conflict; /* upper case, or NULL */
    /* foreign key */
    struct strv columns; /* empty behind a column */
    char *target;
    struct strv target_columns;
    const char *on_delete, *on_update;
    char *match;
    bool deferrable, initially_deferred;
    /* for the objects */
    char *identity, *text, *content;
};

struct column {
    char *name;
    struct ddl_range type, default_value, expression;
    char *default_text; /* when the text is not that of the tokens */
    const char *generated;
    char *collate;
    bool not_null;
    const char *not_null_conflict;
    char *not_null_name, *default_name, *collate_name, *generated_name;
};

struct table {
    struct column *columns;
    size_t ncolumns, columns_cap;
    struct constraint *constraints;
    size_t nconstraints, constraints_cap;
    bool autoincrement, strict, without_rowid;
};

static void table_release(struct table *t)
{
    for (size_t i = 0; i < t->ncolumns; i++) {
        struct column *c = &t->columns[i];
        char *owned[] = {c->name,         c->default_text, c->collate,       c->not_null_name,
                         c->default_name, c->collate_name, c->generated_name};
        for (size_t k = 0; k < ARRAY_LEN(owned); k++)
            free(owned[k]);
    }
    for (size_t i = 0; i < t->nconstraints; i++) {
        struct constraint *c = &t->constraints[i];
        char *owned[] = {c->name, c->target, c->match, c->identity, c->text, c->content};
        for (size_t k = 0; k < ARRAY_LEN(owned); k++)
            free(owned[k]);
        strv_release(&c->columns);
        strv_release(&c->target_columns);
    }
    free(t->columns);
    free(t->constraints);
}

/*
 * Parsing. Anything that would be said twice, such as a second DEFAULT of a column, is left to the
 * caller's fallback rather than decided here.
 */

static void set_once(struct ddl_parser *p, char **place, char *value)
{
    if (*place) {
        p->failed = true;
        free(value);
    } else {
        *place = value;
    }
}

/* ON CONFLICT ABORT is what SQLite does anyway. */
static const char *parse_conflict(struct ddl_parser *p)
{
    static const char *const ways[][2] = {
        {"rollback", "ROLLBACK"}, {"fail", "FAIL"}, {"ignore", "IGNORE"}, {"replace", "REPLACE"}};
    if (!ddl_accept2(p, "on", "conflict"))
        return NULL;
    for (size_t i = 0; i < ARRAY_LEN(ways); i++)
        if (ddl_accept(p, ways[i][0]))
            return ways[i][1];
    ddl_expect(p, "abort");
    return NULL;
}

static const char *parse_action(struct ddl_parser *p)
{
    if (ddl_accept2(p, "set", "null"))
        return "SET NULL";
    if (ddl_accept2(p, "set", "default"))
        return "SET DEFAULT";
    if (ddl_accept2(p, "no", "action"))
        return "NO ACTION";
    if (ddl_accept(p, "cascade"))
        return "CASCADE";
    ddl_expect(p, "restrict");
    return "RESTRICT";
}

/* [NOT] DEFERRABLE [INITIALLY DEFERRED|IMMEDIATE], what is not said being NOT DEFERRABLE and
 * INITIALLY IMMEDIATE. */
static bool parse_deferrable(struct ddl_parser *p, struct constraint *c)
{
    bool not = ddl_accept2(p, "not", "deferrable");
    if (!not &&!ddl_accept(p, "deferrable"))
        return false;
    c->deferrable = !not ;
    c->initially_deferred = ddl_accept2(p, "initially", "deferred");
    if (!c->initially_deferred)
        ddl_accept2(p, "initially", "immediate");
    return true;
}

static void parse_references(struct ddl_parser *p, struct constraint *c)
{
    c->on_delete = c->on_update = "NO ACTION";
    c->target = ddl_name(p);
    if (ddl_next_is(p, "("))
        ddl_names(p, &c->target_columns);
    for (;;) {
        if (ddl_accept2(p, "on", "delete"))
            c->on_delete = parse_action(p);
        else if (ddl_accept2(p, "on", "update"))
            c->on_update = parse_action(p);
        else if (ddl_accept(p, "match"))
            set_once(p, &c->match, ddl_name(p));
        else
            return;
    }
}

static struct constraint *add_constraint(struct table *t, enum constraint_type type, char **name,
                                         long column)
{
    t->constraints =
        xgrow(t->constraints, t->nconstraints, &t->constraints_cap, sizeof(*t->constraints));
    struct constraint *c = &t->constraints[t->nconstraints++];
    *c = (struct constraint){.type = type, .name = TAKE_PTR(*name), .column = column};
    return c;
}

/* Words and at most one list in parentheses; GENERATED ALWAYS is not a part of it. */
static struct ddl_range parse_type(struct ddl_parser *p)
{
    struct ddl_range r = {.from = p->at};
    while (!p->failed && !ddl_at_end(p)) {
        const struct sql_token *t = &p->t[p->at];
        bool word = t->kind == SQL_QUOTED || t->kind == SQL_STRING ||
                    (t->kind == SQL_WORD && !sql_is_reserved(t));
        if (!word || (ddl_next_is(p, "generated") && ddl_following_is(p, 1, "always")))
            break;
        p->at++;
    }
    if (p->at > r.from && ddl_next_is(p, "("))
        ddl_parenthesised(p);
    r.n = p->at - r.from;
    return r;
}

static void parse_default(struct ddl_parser *p, struct column *c)
{
    if (c->default_value.n || ddl_at_end(p)) {
        p->failed = true;
        return;
    }
    if (ddl_next_is(p, "(")) {
        c->default_value = ddl_parenthesised(p);
        return;
    }
    c->default_value.from = p->at;
    bool sign = ddl_accept(p, "+") || ddl_accept(p, "-");
    if (ddl_at_end(p)) {
        p->failed = true;
        return;
    }
    const struct sql_token *t = &p->t[p->at];
    if (t->kind == SQL_OPERATOR || t->kind == SQL_BAD ||
        (sql_is_reserved(t) && !sql_is(t, "null"))) {
        p->failed = true;
        return;
    }
    static const char *const values[] = {
        "true", "false", "current_date", "current_time", "current_timestamp", "null"};
    bool value = t->kind != SQL_WORD && t->kind != SQL_QUOTED;
    for (size_t i = 0; i < ARRAY_LEN(values) && !value; i++)
        value = sql_is(t, values[i]);
    if (!value && !sign) { /* DEFAULT abc is DEFAULT 'abc' */
        _cleanup_free_ char *name = sql_name(t);
        struct str string = {0};
        sql_add_string(&string, name);
        c->default_text = str_take(&string);
    }
    p->at++;
    c->default_value.n = p->at - c->default_value.from;
}

static void parse_generated(struct ddl_parser *p, struct column *c)
{
    if (c->generated)
        p->failed = true;
    c->expression = ddl_parenthesised(p);
    c->generated = "virtual";
    if (ddl_accept(p, "stored"))
        c->generated = "stored";
    else
        ddl_accept(p, "virtual");
}

/* One constraint behind a column; false when there is none. */
static bool parse_column_constraint(struct ddl_parser *p, struct table *t, long column)
{
    struct column *c = &t->columns[column];
    _cleanup_free_ char *name = NULL;
    if (ddl_accept(p, "constraint"))
        name = ddl_name(p);
    if (ddl_accept2(p, "primary", "key")) {
        struct constraint *k = add_constraint(t, PRIMARY_KEY, &name, column);
        k->descending = ddl_accept(p, "desc");
        if (!k->descending)
            ddl_accept(p, "asc");
        k->on_conflict = parse_conflict(p);
        t->autoincrement = ddl_accept(p, "autoincrement") || t->autoincrement;
    } else if (ddl_accept(p, "unique")) {
        add_constraint(t, UNIQUE, &name, column)->on_conflict = parse_conflict(p);
    } else if (ddl_accept(p, "check")) {
        add_constraint(t, CHECK, &name, column)->range = ddl_parenthesised(p);
    } else if (ddl_accept(p, "references")) {
        parse_references(p, add_constraint(t, FOREIGN_KEY, &name, column));
    } else if (ddl_next_is(p, "deferrable") ||
               (ddl_next_is(p, "not") && ddl_following_is(p, 1, "deferrable"))) {
        struct constraint *last = t->nconstraints ? &t->constraints[t->nconstraints - 1] : NULL;
        if (name || !last || last->type != FOREIGN_KEY || last->column != column)
            p->failed = true;
        else
            parse_deferrable(p, last);
    } else if (ddl_accept2(p, "not", "null")) {
        p->failed = p->failed || c->not_null;
        c->not_null = true;
        c->not_null_conflict = parse_conflict(p);
        set_once(p, &c->not_null_name, TAKE_PTR(name));
    } else if (ddl_accept(p, "null")) {
        parse_conflict(p); /* says nothing */
        p->failed = p->failed || name;
    } else if (ddl_accept(p, "default")) {
        parse_default(p, c);
        set_once(p, &c->default_name, TAKE_PTR(name));
    } else if (ddl_accept(p, "collate")) {
        set_once(p, &c->collate, ddl_name(p));
        set_once(p, &c->collate_name, TAKE_PTR(name));
    } else if (ddl_accept2(p, "generated", "always")) {
        ddl_expect(p, "as");
        parse_generated(p, c);
        set_once(p, &c->generated_name, TAKE_PTR(name));
    } else if (ddl_accept(p, "as")) {
        parse_generated(p, c);
        set_once(p, &c->generated_name, TAKE_PTR(name));
    } else {
        p->failed = p->failed || name; /* a name without a constraint */
        return false;
    }
    return !p->failed;
}

static void parse_column(struct ddl_parser *p, struct table *t)
{
    t->columns = xgrow(t->columns, t->ncolumns, &t->columns_cap, sizeof(*t->columns));
    t->columns[t->ncolumns] = (struct column){.name = ddl_name(p)};
    t->ncolumns++;
    t->columns[t->ncolumns - 1].type = parse_type(p);
    while (parse_column_constraint(p, t, (long)t->ncolumns - 1))
        ;
}

/* The columns of a key, AUTOINCREMENT at their end taken off. */
static struct ddl_range parse_key(struct ddl_parser *p, struct table *t)
{
    struct ddl_range r = ddl_parenthesised(p);
    if (r.n && sql_is(&p->t[r.from + r.n - 1], "autoincrement")) {
        t->autoincrement = true;
        r.n--;
    }
    return r;
}

static void parse_table_constraint(struct ddl_parser *p, struct table *t)
{
    _cleanup_free_ char *name = NULL;
    if (ddl_accept(p, "constraint"))
        name = ddl_name(p);
    if (ddl_accept2(p, "primary", "key")) {
        struct constraint *c = add_constraint(t, PRIMARY_KEY, &name, -1);
        c->range = parse_key(p, t);
        c->on_conflict = parse_conflict(p);
    } else if (ddl_accept(p, "unique")) {
        struct constraint *c = add_constraint(t, UNIQUE, &name, -1);
        c->range = ddl_parenthesised(p);
        c->on_conflict = parse_conflict(p);
    } else if (ddl_accept(p, "check")) {
        struct constraint *c = add_constraint(t, CHECK, &name, -1);
        c->range = ddl_parenthesised(p);
        c->on_conflict = parse_conflict(p);
    } else if (ddl_accept2(p, "foreign", "key")) {
        struct constraint *c = add_constraint(t, FOREIGN_KEY, &name, -1);
        ddl_names(p, &c->columns);
        ddl_expect(p, "references");
        parse_references(p, c);
        parse_deferrable(p, c);
    } else {
        p->failed = true;
    }
}

static bool is_table_constraint(const struct ddl_parser *p)
{
    static const char *const words[] = {"constraint", "primary", "unique", "check", "foreign"};
    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        if (ddl_next_is(p, words[i]))
            return true;
    return false;
}

static void parse_table(struct ddl_parser *p, struct table *t)
{
    static const char *const words[] = {"temp", "temporary", NULL};
    ddl_create(p, words, "table");
    ddl_expect(p, "(");
    do {
        parse_column(p, t);
        if (!ddl_accept(p, ","))
            break;
    } while (!p->failed && !is_table_constraint(p));
    while (!p->failed && is_table_constraint(p)) {
        parse_table_constraint(p, t);
        ddl_accept(p, ","); /* SQLite does not ask for it */
    }
    p->failed = p->failed || sql_is(&p->t[p->at - 1], ",");
    ddl_expect(p, ")");
    while (!p->failed && !ddl_at_end(p)) {
        if (ddl_accept2(p, "without", "rowid"))
            t->without_rowid = true;
        else if (ddl_accept(p, "strict"))
            t->strict = true;
        else
            p->failed = true;
        if (!ddl_at_end(p))
            ddl_expect(p, ",");
    }
}

/*
 * Objects.
 */

static char *lower_text(char *text)
{
    for (char *c = text; c && *c; c++)
        if (*c >= 'A' && *c <= 'Z')
            *c = (char)(*c + 32);
    return text;
}

/* varchar(10), unsigned big int: SQLite takes any words. */
static void add_type(const struct ddl_parser *p, struct ddl_range r, struct object_builder *b)
{
    _cleanup_str_ struct str s = {0};
    const struct sql_token *t = p->t + r.from;
    size_t i;
    for (i = 0; i < r.n && t[i].kind != SQL_OPERATOR; i++) {
        _cleanup_free_ char *word = sql_name(&t[i]);
        str_add(&s, i ? " " : "");
        str_add(&s, word);
    }
    sql_render_raw(t + i, r.n - i, &s);
    object_prop(b, "type", lower_text(s.p));
}

static void add_columns(struct ddl_parser *p, const struct table *t, const char *identity,
                        const struct sql_scope *scope, uint32_t own, struct object_builder *b,
                        struct ddl_objects *ret)
{
    for (size_t i = 0; i < t->ncolumns; i++) {
        const struct column *c = &t->columns[i];
        _cleanup_free_ char *quoted = engine_sqlite.quote_ident(c->name);
        _cleanup_free_ char *full = xasprintf("%s.%s", identity, quoted);
        _cleanup_free_ char *value = ddl_text(p, c->default_value, scope);
        _cleanup_free_ char *expression = ddl_text(p, c->expression, scope);
        object_begin(b, "column", full);
        object_scope(b, 0, own);
        if (c->collate)
            object_prop(b, "collate", lower_text(c->collate));
        object_prop(b, "collate constraint", c->collate_name);
        object_prop(b, "default", c->default_text ? c->default_text : value);
        object_prop(b, "default constraint", c->default_name);
        object_prop(b, "expression", expression);
        object_prop(b, "generated", c->generated);
        object_prop(b, "generated constraint", c->generated_name);
        object_prop(b, "not null", c->not_null ? "yes" : NULL);
        object_prop(b, "not null constraint", c->not_null_name);
        object_prop(b, "not null on conflict", c->not_null_conflict);
        object_propf(b, "position", "%zu", i + 1);
        add_type(p, c->type, b);
        ddl_objects_add(ret, object_end(b));
    }
}

static char *quoted_list(const struct strv *names)
{
    struct str s = {0};
    for (size_t i = 0; i < names->n; i++) {
        if (i)
            str_add(&s, ", ");
        sql_add_name(&s, names->v[i]);
    }
    return str_take(&s);
}

/* The columns of the table that an expression names: a, b. */
static char *used_columns(const struct sql_scope *scope)
{
    struct str s = {0};
    for (size_t i = 0; i < scope->n; i++) {
        if (!scope->used[i])
            continue;
        if (s.len)
            str_add(&s, ", ");
        sql_add_name(&s, scope->columns[i]);
    }
    return str_take(&s);
}

/* Spells the child columns of a foreign key as the table declares them. */
static void spell_columns(struct strv *names, const struct sql_scope *scope)
{
    for (size_t i = 0; i < names->n; i++) {
        long found = sql_scope_find(scope, names->v[i]);
        if (found >= 0) {
            free(names->v[i]);
            names->v[i] = xstrdup(scope->columns[found]);
        }
    }
}

/* Renders what the constraint is about (c->text) and calls it after that when it has no name. */
static void name_constraint(struct ddl_parser *p, const struct table *t, struct constraint *c,
                            const char *identity, struct sql_scope *scope)
{
    _cleanup_free_ char *about = NULL;
    const char *column = c->column < 0 ? NULL : t->columns[c->column].name;
    if (c->type == CHECK) {
        scope->used = xcalloc(scope->n + 1, sizeof(*scope->used));
        c->text = ddl_text(p, c->range, scope);
        about = used_columns(scope);
        free(scope->used);
        scope->used = NULL;
    } else if (c->type == FOREIGN_KEY) {
        if (column)
            strv_add(&c->columns, column);
        spell_columns(&c->columns, scope);
        c->text = quoted_list(&c->columns);
    } else if (column) {
        struct str s = {0};
        sql_add_name(&s, column);
        str_add(&s, c->descending ? " desc" : "");
        c->text = str_take(&s);
    } else {
        c->text = ddl_columns(p, c->range, scope);
    }
    if (!c->text)
        c->text = xstrdup("");
    if (c->name) {
        _cleanup_free_ char *quoted = engine_sqlite.quote_ident(c->name);
        c->identity = xasprintf("%s.%s", identity, quoted);
    } else if (c->type == PRIMARY_KEY) {
        c->identity = xasprintf("%s.primary key", identity);
    } else {
        c->identity =
            xasprintf("%s.%s(%s)", identity, type_names[c->type], about ? about : c->text);
    }
    _cleanup_free_ char *target = quoted_list(&c->target_columns);
    c->content =
        xasprintf("%d %s %s (%s) %s %s %s %d%d %s", c->type, c->text, c->target ? c->target : "",
                  target, c->on_delete ? c->on_delete : "", c->on_update ? c->on_update : "",
                  c->match ? c->match : "", c->deferrable, c->initially_deferred,
                  c->on_conflict ? c->on_conflict : "");
}

static int compare_constraints(const void *a, const void *b)
{
    const struct constraint *p = a, *q = b;
    int c = strcmp(p->identity, q->identity);
    return c ? c : strcmp(p->content, q->content);
}

/*
 * Whether the key is the rowid itself. A quirk of SQLite: INTEGER PRIMARY KEY DESC behind the
 * column is not, PRIMARY KEY (a DESC) is.
 */
static bool is_rowid_alias(const struct ddl_parser *p, const struct table *t,
                           const struct constraint *c)
{
    if (t->without_rowid || c->type != PRIMARY_KEY)
        return false;
    const struct column *column = NULL;
    if (c->column >= 0) {
        column = c->descending ? NULL : &t->columns[c->column];
    } else if (c->range.n && (c->range.n == 1 || sql_is(&p->t[c->range.from + 1], "collate") ||
                              sql_is(&p->t[c->range.from + 1], "desc") ||
                              sql_is(&p->t[c->range.from + 1], "asc"))) {
        bool single = true;
        for (size_t i = 0; i < c->range.n; i++)
            single = single && !sql_is(&p->t[c->range.from + i], ",");
        _cleanup_free_ char *name = sql_name(&p->t[c->range.from]);
        for (size_t i = 0; single && i < t->ncolumns; i++)
            if (sqlite3_stricmp(t->columns[i].name, name) == 0)
                column = &t->columns[i];
    }
    if (!column || column->type.n != 1)
        return false;
    _cleanup_free_ char *type = sql_name(&p->t[column->type.from]);
    return sqlite3_stricmp(type, "integer") == 0;
}

static void add_constraints(struct ddl_parser *p, struct table *t, uint32_t own,
                            struct object_builder *b, struct ddl_objects *ret)
{
    if (t->nconstraints)
        qsort(t->constraints, t->nconstraints, sizeof(*t->constraints), compare_constraints);
    int same = 1;
    for (size_t i = 0; i < t->nconstraints; i++) {
        const struct constraint *c = &t->constraints[i];
        same = i && strcmp(c->identity, t->constraints[i - 1].identity) == 0 ? same + 1 : 1;
        _cleanup_free_ char *numbered =
            same > 1 ? xasprintf("%s#%d", c->identity, same) : xstrdup(c->identity);
        object_begin(b, "constraint", numbered);
        object_scope(b, 0, own);
        object_prop(b, c->type == CHECK ? "expression" : "columns", c->text);
        if (c->type == FOREIGN_KEY) {
            _cleanup_free_ char *target = engine_sqlite.quote_ident(c->target);
            _cleanup_free_ char *columns = quoted_list(&c->target_columns);
            object_prop(b, "deferrable", c->deferrable ? "yes" : NULL);
            object_prop(b, "initially deferred", c->initially_deferred ? "yes" : NULL);
            object_prop(b, "match", lower_text(c->match));
            object_prop(b, "on delete", c->on_delete);
            object_prop(b, "on update", c->on_update);
            object_prop(b, "referenced columns", c->target_columns.n ? columns : NULL);
            object_prop(b, "references", target);
        }
        object_prop(b, "on conflict", c->on_conflict);
        object_prop(b, "rowid alias", is_rowid_alias(p, t, c) ? "yes" : NULL);
        object_prop(b, "type", type_names[c->type]);
        ddl_objects_add(ret, object_end(b));
    }
}

bool ddl_read_table(struct ddl_parser *p, const char *name, const char *identity, uint32_t scope,
                    struct object_builder *b, struct ddl_objects *ret)
{
    struct table t = {0};
    parse_table(p, &t);
    struct strv columns = {0};
    struct sql_scope names = {0};
    if (!p->failed) {
        for (size_t i = 0; i < t.ncolumns; i++)
            strv_add(&columns, t.columns[i].name);
        ddl_scope_init(&names, name, &columns);
        for (size_t i = 0; i < t.nconstraints; i++)
            name_constraint(p, &t, &t.constraints[i], identity, &names);
    }
    if (p->failed) {
        strv_release(&columns);
        free(names.columns);
        table_release(&t);
        return false;
    }
    ret->columns = columns;
    object_begin(b, "table", identity);
    object_scope(b, 0, scope);
    object_prop(b, "autoincrement", t.autoincrement ? "yes" : NULL);
    object_prop(b, "strict", t.strict ? "yes" : NULL);
    object_prop(b, "without rowid", t.without_rowid ? "yes" : NULL);
    ddl_objects_add(ret, object_end(b));
    add_columns(p, &t, identity, &names, scope, b, ret);
    add_constraints(p, &t, scope, b, ret);
    free(names.columns);
    table_release(&t);
    return true;
}
