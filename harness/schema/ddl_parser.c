#include "harness/schema/ddl_parser.h"

#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

#include "harness/base/cleanup.h"

bool ddl_at_end(const struct ddl_parser *p)
{
    return p->at >= p->n;
}

bool ddl_following_is(const struct ddl_parser *p, size_t ahead, const char *word)
{
    return !p->failed && p->at + ahead < p->n && sql_is(&p->t[p->at + ahead], word);
}

bool ddl_next_is(const struct ddl_parser *p, const char *word)
{
    return ddl_following_is(p, 0, word);
}

bool ddl_accept(struct ddl_parser *p, const char *word)
{
    if (!ddl_next_is(p, word))
        return false;
    p->at++;
    return true;
}

bool ddl_accept2(struct ddl_parser *p, const char *first, const char *second)
{
    if (!ddl_next_is(p, first) || !ddl_following_is(p, 1, second))
        return false;
    p->at += 2;
    return true;
}

void ddl_expect(struct ddl_parser *p, const char *word)
{
    if (!ddl_accept(p, word))
        p->failed = true;
}

char *ddl_name(struct ddl_parser *p)
{
    if (!p->failed && !ddl_at_end(p)) {
        const struct sql_token *t = &p->t[p->at];
        if (t->kind == SQL_QUOTED || t->kind == SQL_STRING ||
            (t->kind == SQL_WORD && !sql_is_reserved(t))) {
            p->at++;
            return sql_name(t);
        }
    }
    p->failed = true;
    return NULL;
}

void ddl_names(struct ddl_parser *p, struct strv *ret)
{
    ddl_expect(p, "(");
    do {
        char *name = ddl_name(p);
        if (name)
            strv_add_take(ret, name);
    } while (ddl_accept(p, ","));
    ddl_expect(p, ")");
}

struct ddl_range ddl_parenthesised(struct ddl_parser *p)
{
    ddl_expect(p, "(");
    struct ddl_range r = {.from = p->at};
    int depth = 1;
    for (; !p->failed && !ddl_at_end(p); p->at++) {
        depth += ddl_next_is(p, "(");
        depth -= ddl_next_is(p, ")");
        if (depth == 0) {
            r.n = p->at++ - r.from;
            return r;
        }
    }
    p->failed = true;
    return r;
}

void ddl_create(struct ddl_parser *p, const char *const *words, const char *what)
{
    ddl_expect(p, "create");
    for (; *words; words++)
        ddl_accept(p, *words);
    ddl_expect(p, what);
    if (ddl_accept2(p, "if", "not"))
        ddl_expect(p, "exists");
    free(ddl_name(p));
    if (ddl_accept(p, "."))
        free(ddl_name(p));
}

void ddl_render(const struct ddl_parser *p, struct ddl_range r, const struct sql_scope *scope,
                struct str *out)
{
    sql_render(p->t + r.from, r.n, scope, out);
}

/* Parentheses round the whole of an expression are no part of SQLite's parse tree. */
static struct ddl_range without_parentheses(const struct ddl_parser *p, struct ddl_range r)
{
    while (r.n > 2 && sql_is(&p->t[r.from], "(")) {
        size_t i = 0;
        for (int depth = 0; i < r.n; i++) {
            depth += sql_is(&p->t[r.from + i], "(");
            depth -= sql_is(&p->t[r.from + i], ")");
            if (depth == 0)
                break;
        }
        if (i != r.n - 1)
            break;
        r.from++;
        r.n -= 2;
    }
    return r;
}

char *ddl_text(const struct ddl_parser *p, struct ddl_range r, const struct sql_scope *scope)
{
    if (r.n == 0)
        return NULL;
    struct str s = {0};
    ddl_render(p, without_parentheses(p, r), scope, &s);
    return str_take(&s);
}

char *ddl_columns(struct ddl_parser *p, struct ddl_range r, const struct sql_scope *scope)
{
    struct str s = {0};
    int depth = 0;
    size_t start = r.from, end = r.from + r.n;
    for (size_t i = r.from; i <= end; i++) {
        if (i < end) {
            depth += sql_is(&p->t[i], "(");
            depth -= sql_is(&p->t[i], ")");
            if (depth || !sql_is(&p->t[i], ","))
                continue;
        }
        size_t n = i - start;
        if (n == 0) {
            p->failed = true;
            break;
        }
        bool descending = n > 1 && sql_is(&p->t[i - 1], "desc");
        if (descending || (n > 1 && sql_is(&p->t[i - 1], "asc")))
            n--; /* ASC is as without it */
        struct ddl_range item = without_parentheses(p, (struct ddl_range){start, n});
        struct sql_token *first = &p->t[item.from];
        if (first->kind == SQL_STRING && (item.n == 1 || sql_is(&first[1], "collate")))
            first->kind = SQL_QUOTED; /* SQLite takes it for the name of a column */
        if (s.len)
            str_add(&s, ", ");
        ddl_render(p, item, scope, &s);
        if (descending)
            str_add(&s, " desc");
        start = i + 1;
    }
    return str_take(&s);
}

static int compare_names(const void *a, const void *b)
{
    return sqlite3_stricmp(*(const char *const *)a, *(const char *const *)b);
}

void ddl_scope_init(struct sql_scope *scope, const char *table, const struct strv *columns)
{
    *scope = (struct sql_scope){.table = table, .n = columns->n};
    scope->columns = xmalloc(columns->n * sizeof(*scope->columns));
    for (size_t i = 0; i < columns->n; i++)
        scope->columns[i] = columns->v[i];
    if (scope->n)
        qsort(scope->columns, scope->n, sizeof(*scope->columns), compare_names);
}
