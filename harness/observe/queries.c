#include "harness/observe/queries.h"

#include <stdlib.h>
#include <string.h>

#include "harness/engine/pgsplit.h"
#include "harness/engine/url.h"
#include "harness/observe/queries_impl.h"

enum { STATISTICS_MAX = 10000 };

static const struct query_engine *engine_for(const struct engine *e)
{
    return e == &engine_postgres ? &query_postgres : &query_sqlite;
}

static void query_release(struct query *q)
{
    for (size_t i = 0; i < q->ninserts; i++) {
        free(q->inserts[i].table);
        strv_release(&q->inserts[i].columns);
        strv_release(&q->inserts[i].missing);
    }
    free(q->inserts);
    free(q->name);
    free(q->text);
    free(q->reason);
}

void queries_release(struct queries *q)
{
    for (size_t i = 0; i < q->n; i++)
        query_release(&q->v[i]);
    free(q->v);
    *q = (struct queries){0};
}

struct query_insert *query_add_insert(struct query *q, char *table)
{
    q->inserts = xgrow(q->inserts, q->ninserts, &q->inserts_cap, sizeof(*q->inserts));
    q->inserts[q->ninserts] = (struct query_insert){.table = table};
    return &q->inserts[q->ninserts++];
}

/* Takes name and text over. */
static void add_one(struct queries *q, const struct engine *e, char *name, char *text,
                    bool no_catalog)
{
    struct query one = {.name = name, .text = text};
    if (!engine_for(e)->parse(&one) || (no_catalog && one.catalog)) {
        q->utility++;
        query_release(&one);
        return;
    }
    q->v = xgrow(q->v, q->n, &q->cap, sizeof(*q->v));
    q->v[q->n++] = one;
}

void queries_add(struct queries *q, const struct engine *e, const char *file, int line,
                 const char *text)
{
    _cleanup_statements_ struct statements s = {0};
    pg_split(text, &s);
    for (size_t i = 0; i < s.n; i++) {
        int at, column;
        text_place(text, s.v[i].start, &at, &column);
        add_one(q, e, xasprintf("%s:%d", file, line + at - 1),
                xstrndup(text + s.v[i].start, s.v[i].len), false);
    }
}

/* ---- pg_stat_statements ---- */

/* clang-format off */

static const char view_sql[] =
    "select quote_ident(n.nspname) || '.pg_stat_statements' from pg_extension x"
    " join pg_namespace n on n.oid = x.extnamespace where x.extname = 'pg_stat_statements'";

/* One row for each text: roles and versions of a table make more of them. */
static const char statistics_sql[] =
    "select min(s.queryid::text), s.query, sum(s.calls) from %s s"
    " join pg_database d on d.oid = s.dbid where d.datname = current_database()"
    " group by s.query order by 3 desc, 2 limit %d";

/* clang-format on */

static bool is_hidden(const char *text)
{
    return !text || !*text || strcmp(text, "<insufficient privilege>") == 0;
}

static int read_statistics(struct queries *q, struct db *db, struct err *err)
{
    _cleanup_free_ char *view = NULL;
    _cleanup_rows_ struct rows *rows = NULL;
    if (db_query_text(db, view_sql, NULL, 0, &view, err) < 0)
        return -1;
    if (!view) {
        err_set(err, ERR_ENV, "pg_stat_statements is not installed in that database");
        return err_hint(err, "CREATE EXTENSION pg_stat_statements there, or list the queries under "
                             "\"queries:\" in belay.yaml");
    }
    _cleanup_free_ char *sql = xasprintf(statistics_sql, view, STATISTICS_MAX);
    if (db_query(db, sql, NULL, 0, &rows, err) < 0) {
        err->code = err->code == ERR_SQL ? ERR_ENV : err->code;
        return err_prefix(err, "cannot read pg_stat_statements");
    }
    for (int i = 0; i < rows_count(rows); i++) {
        const char *text = rows_get(rows, i, 1);
        if (is_hidden(text)) {
            q->unseen++;
            continue;
        }
        add_one(q, &engine_postgres,
                xasprintf("pg_stat_statements %s, %s call%s", rows_get(rows, i, 0),
                          rows_get(rows, i, 2), str_eq(rows_get(rows, i, 2), "1") ? "" : "s"),
                xstrdup(text), true);
    }
    return 0;
}

int queries_add_statistics(struct queries *q, const char *url, struct err *err)
{
    _cleanup_db_ struct db *db = NULL;
    if (!url_is_postgres(url))
        return err_set(err, ERR_USAGE, "only PostgreSQL has pg_stat_statements");
    if (db_open(&engine_postgres, url, DB_OPEN_READONLY, &db, err) < 0)
        return -1;
    return read_statistics(q, db, err);
}

/* ---- checking ---- */

/* The columns that each INSERT now misses become *ret; those that it missed before are left alone. */
static int look_at_insert(struct query_insert *i, const struct query_engine *e, struct db *db,
                          struct strv *ret_new, struct err *err)
{
    _cleanup_strv_ struct strv now = {0};
    if (e->missing(i, db, &now, err) < 0)
        return -1;
    for (size_t k = 0; k < now.n; k++)
        if (!strv_has(&i->missing, now.v[k]))
            strv_add(ret_new, now.v[k]);
    return 0;
}

int queries_begin(struct queries *q, struct db *db, struct err *err)
{
    const struct query_engine *e = engine_for(db_engine(db));
    for (size_t i = 0; i < q->n; i++) {
        struct query *one = &q->v[i];
        _cleanup_err_ struct err refusal = {0};
        int rc = e->accept(q, one, db, &refusal, err);
        if (rc < 0)
            return -1;
        one->broken = false;
        free(TAKE_PTR(one->reason));
        if (rc == 0)
            one->reason = xstrdup(refusal.message);
        for (size_t k = 0; rc && k < one->ninserts; k++) {
            strv_release(&one->inserts[k].missing);
            if (e->missing(&one->inserts[k], db, &one->inserts[k].missing, err) < 0)
                return -1;
        }
    }
    return 0;
}

/* 1: accepted, 0: broken with *refusal filled. */
static int check_one(struct queries *all, struct query *q, const struct query_engine *e,
                     struct db *db, struct err *refusal, struct err *err)
{
    int rc = e->accept(all, q, db, refusal, err);
    for (size_t i = 0; rc > 0 && i < q->ninserts; i++) {
        _cleanup_strv_ struct strv missing = {0};
        if (look_at_insert(&q->inserts[i], e, db, &missing, err) < 0)
            return -1;
        if (!missing.n)
            continue;
        _cleanup_free_ char *names = strv_join(&missing, ", ");
        err_set(refusal, ERR_SQL,
                "it inserts into %s without %s, which %s NOT NULL without a default now",
                q->inserts[i].table, names, missing.n > 1 ? "are" : "is");
        err_hint(refusal,
                 "give the column a default until the code that knows it is everywhere, or "
                 "add it without NOT NULL and set that in a later revision");
        rc = 0;
    }
    return rc;
}

static void add_break(struct query_breaks *b, const struct query *q, struct err *refusal)
{
    b->v = xgrow(b->v, b->n, &b->cap, sizeof(*b->v));
    struct query_break *one = &b->v[b->n++];
    *one = (struct query_break){
        .query = q, .message = TAKE_PTR(refusal->message), .hint = TAKE_PTR(refusal->hint)};
    memcpy(one->sqlstate, refusal->sqlstate, sizeof(one->sqlstate));
}

int queries_check(struct queries *q, struct db *db, struct query_breaks *ret, struct err *err)
{
    const struct query_engine *e = engine_for(db_engine(db));
    struct query_breaks b = {0};
    for (size_t i = 0; i < q->n; i++) {
        struct query *one = &q->v[i];
        _cleanup_err_ struct err refusal = {0};
        int rc = one->reason ? 1 : check_one(q, one, e, db, &refusal, err);
        if (rc < 0) {
            query_breaks_release(&b);
            return -1;
        }
        if (rc == 0 && !one->broken)
            add_break(&b, one, &refusal);
        one->broken = rc == 0;
    }
    *ret = b;
    return 0;
}

void query_breaks_release(struct query_breaks *b)
{
    for (size_t i = 0; i < b->n; i++) {
        free(b->v[i].message);
        free(b->v[i].hint);
    }
    free(b->v);
    *b = (struct query_breaks){0};
}

size_t queries_checked(const struct queries *q)
{
    size_t n = 0;
    for (size_t i = 0; i < q->n; i++)
        n += !q->v[i].reason;
    return n;
}
