#include "harness/engine/pgsplit.h"

#include <pg_query.h>
#include <stdlib.h>
#include <string.h>

#include "harness/base/str.h"

static const char *skip_block_comment(const char *p)
{
    int depth = 0;
    while (*p) {
        if (p[0] == '/' && p[1] == '*') {
            depth++;
            p += 2;
        } else if (p[0] == '*' && p[1] == '/') {
            p += 2;
            if (--depth == 0)
                break;
        } else {
            p++;
        }
    }
    return p;
}

size_t sql_skip_blank(const char *text)
{
    const char *p = text;
    for (;;) {
        p += strspn(p, " \t\r\n\f\v");
        if (p[0] == '-' && p[1] == '-')
            p += strcspn(p, "\n");
        else if (p[0] == '/' && p[1] == '*')
            p = skip_block_comment(p);
        else
            return (size_t)(p - text);
    }
}

static void add(struct statements *s, const char *sql, size_t start, size_t len)
{
    size_t blank = sql_skip_blank(sql + start);
    while (blank < len && sql[start + blank] == ';') /* an empty statement */
        blank += 1 + sql_skip_blank(sql + start + blank + 1);
    if (blank >= len)
        return;
    start += blank;
    len -= blank;
    while (len && strchr(" \t\r\n\f\v", sql[start + len - 1]))
        len--;
    s->v = xgrow(s->v, s->n, &s->cap, sizeof(*s->v));
    s->v[s->n++] = (struct statement){.start = start, .len = len};
}

/* What lies between two statements of the scanner's. */
static void add_gap(struct statements *s, const char *sql, size_t start, size_t end)
{
    while (end > start && strchr("; \t\r\n\f\v", sql[end - 1]))
        end--;
    if (end > start)
        add(s, sql, start, end - start);
}

/* Takes the bounds over. The scanner leaves out statements without any keyword ("selekt 1"): with
 * gaps they are added too, for somebody has to be told about them. */
static bool add_all(struct statements *s, const char *sql, PgQuerySplitResult split, bool gaps)
{
    bool ok = !split.error;
    size_t end = 0;
    for (int i = 0; ok && i < split.n_stmts; i++) {
        size_t start = (size_t)split.stmts[i]->stmt_location,
               len = (size_t)split.stmts[i]->stmt_len;
        if (gaps)
            add_gap(s, sql, end, start);
        add(s, sql, start, len);
        end = start + len + (sql[start + len] == ';');
    }
    if (ok && gaps)
        add_gap(s, sql, end, strlen(sql));
    pg_query_free_split_result(split);
    return ok;
}

void pg_split(const char *sql, struct statements *ret)
{
    memset(ret, 0, sizeof(*ret));
    ret->parsed = add_all(ret, sql, pg_query_split_with_parser(sql), false);
    if (!ret->parsed && !add_all(ret, sql, pg_query_split_with_scanner(sql), true))
        add(ret, sql, 0, strlen(sql));
}

void statements_release(struct statements *s)
{
    free(s->v);
    memset(s, 0, sizeof(*s));
}
