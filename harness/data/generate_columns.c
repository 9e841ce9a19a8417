/* Values for columns that were added to tables with rows. */
#include <stdlib.h>
#include <string.h>

#include "harness/base/cleanup.h"
#include "harness/data/generate_impl.h"

/* Rows that get a value: each is looked for by its place, and so many show what there is to see. */
#define MOST_ROWS 64

/* The column's cell in row n: extremes first, then NULL where it may be, then plain values. */
static void cell_for(const struct gen_context *c, const struct gen_table *t, size_t column,
                     uint64_t n, bool benign, struct str *ret)
{
    const struct gen_column *g = &t->columns[column];
    _cleanup_str_ struct str plain = {0};
    const struct strv *plain_tables = c->options->plain;
    bool hostile = !benign && !g->key && c->options->kind == GENERATE_ALL &&
                   !(plain_tables && strv_has(plain_tables, t->identity));
    if (hostile && n == 2 && !g->not_null) {
        str_add(ret, "NULL");
        return;
    }
    if (!hostile || n > 1 || !value_hostile(g->type, (size_t)n, &plain)) {
        str_clear(&plain);
        value_benign(g->type, gen_base(t, column, c->options->seed) + n, &plain);
    }
    value_cell(c->engine, g->type, str_get(&plain), ret);
}

/* "a, b": the primary key, by which rows are counted; NULL: none. */
static char *order_of(const struct gen_table *t)
{
    for (size_t i = 0; i < t->nkeys; i++) {
        if (!t->keys[i].primary)
            continue;
        struct str s = {0};
        for (size_t k = 0; k < t->keys[i].columns.n; k++)
            str_addf(&s, "%s%s", k ? ", " : "", t->columns[t->keys[i].columns.v[k]].quoted);
        return str_take(&s);
    }
    return NULL;
}

/* The reference that the column belongs to, or NULL. */
static const struct gen_reference *reference_of(const struct gen_table *t, size_t column)
{
    for (size_t i = 0; i < t->nreferences; i++)
        if (columns_has(&t->references[i].columns, column))
            return &t->references[i];
    return NULL;
}

/* The key of the parent's row n. */
static void parent_for(const struct gen_reference *r, uint64_t n, struct str *ret)
{
    const char *key = r->target_quoted.v[0];
    str_addf(ret, "(select %s from %s where %s is not null order by 1 limit 1 offset %llu)", key,
             r->target, key, (unsigned long long)n);
}

static void add_update(const struct gen_context *c, const struct gen_table *t, const char *order,
                       size_t column, uint64_t n, bool benign, const struct strv *hints,
                       struct str *sql)
{
    const char *only = c->engine == &engine_postgres ? "only " : "";
    const struct gen_reference *r = reference_of(t, column);
    _cleanup_str_ struct str cell = {0};
    if (r)
        parent_for(r, n, &cell);
    else if (hints)
        str_add(&cell, hints->v[n % hints->n]);
    else
        cell_for(c, t, column, n, benign, &cell);
    str_addf(sql,
             "update %s%s set %s = %s where (%s) = (select %s from %s%s order by %s limit 1 offset "
             "%llu);",
             only, t->identity, t->columns[column].quoted, str_get(&cell), order, order, only,
             t->identity, order, (unsigned long long)n);
}

/* One value alone, or none: what added the column wrote nothing of its own into it. */
static int is_uniform(const struct gen_context *c, const struct gen_table *t, size_t column,
                      bool *ret, struct err *err)
{
    const char *name = t->columns[column].quoted;
    bool postgres = c->engine == &engine_postgres;
    _cleanup_free_ char *one = NULL;
    _cleanup_free_ char *sql = xasprintf(
        "select count(%s) = 0 or (count(distinct %s%s) = 1 and count(%s) = count(*)) from %s%s",
        name, name, postgres ? "::text" : "", name, postgres ? "only " : "", t->identity);
    if (db_query_text(c->db, sql, NULL, 0, &one, err) < 0)
        return -1;
    *ret = one && strchr("t1", *one);
    return 0;
}

/* All rows at once; where one is refused, each on its own, at last with a plain value. */
static int fill_column(const struct gen_context *c, const struct gen_table *t, const char *order,
                       size_t column, bool *ret_any, struct err *why, struct err *err)
{
    _cleanup_str_ struct str all = {0};
    uint64_t rows = (uint64_t)c->options->rows;
    rows = rows < MOST_ROWS ? rows : MOST_ROWS;
    for (uint64_t n = 0; n < rows; n++)
        add_update(c, t, order, column, n, false, NULL, &all);
    int done = gen_try(c->db, str_get(&all), why, err);
    *ret_any = done > 0;
    for (uint64_t n = 0; n < 2 * rows && done == 0; n++) {
        _cleanup_str_ struct str one = {0};
        add_update(c, t, order, column, n / 2, n % 2, NULL, &one);
        int rc = gen_try(c->db, str_get(&one), why, err);
        if (rc < 0)
            return -1;
        *ret_any |= rc > 0;
        n += rc > 0 && n % 2 == 0; /* the plain value is not needed */
    }
    _cleanup_strv_ struct strv hints = {0};
    for (size_t i = 0; i < t->nchecks; i++)
        if (columns_has(&t->checks[i].columns, column))
            hints_add(c->engine, t->columns[column].type, t->checks[i].expression, &hints);
    bool none = done == 0 && !*ret_any;
    for (uint64_t n = 0; n < rows && hints.n && none; n++) {
        _cleanup_str_ struct str one = {0};
        add_update(c, t, order, column, n, false, &hints, &one);
        int rc = gen_try(c->db, str_get(&one), why, err);
        if (rc < 0)
            return -1;
        *ret_any |= rc > 0;
    }
    return done < 0 ? -1 : 0;
}

/* *ret_why: it stays as it is; the caller owns it. */
static int fill_uniform(const struct gen_context *c, const struct gen_table *t, size_t column,
                        const char *leave, bool *ret_any, char **ret_why, struct err *err)
{
    _cleanup_free_ char *order = order_of(t);
    _cleanup_err_ struct err why = {0};
    const struct gen_reference *r = reference_of(t, column);
    if (!leave && !order)
        leave = "the table has no primary key, by which its rows could be told apart";
    if (!leave && r && r->columns.n > 1)
        leave = "it refers to a table together with other columns";
    if (!leave && fill_column(c, t, order, column, ret_any, &why, err) < 0)
        return -1;
    if (!*ret_any)
        *ret_why = xstrdup(leave ? leave : why.message ? why.message : "no value fits");
    return 0;
}

int generate_column(struct db *db, const char *table, const char *column, const char *leave,
                    const struct generate_options *o, struct generate_report *ret, struct err *err)
{
    struct gen_context c = {.db = db, .engine = db_engine(db), .options = o};
    _cleanup_strv_ struct strv names = {0};
    _cleanup_err_ struct err ignored = {0};
    _cleanup_free_ char *why = NULL;
    bool any = false;
    strv_add(&names, table);
    if (o->rows <= 0)
        return 0;
    int r = db_run(db, c.engine == &engine_postgres ? gen_begin_postgres : "begin", 0, NULL, err);
    if (r == 0)
        r = (c.engine == &engine_postgres ? gen_read_postgres : gen_read_sqlite)(
            db, &names, o->leave_out, &c.schema, err);
    const struct gen_table *t = c.schema.n ? c.schema.v[0] : NULL;
    for (size_t i = 0; r == 0 && t && i < t->ncolumns; i++) {
        const struct gen_column *g = &t->columns[i];
        bool uniform = false;
        if (strcmp(g->name, column) != 0 || !g->writable || g->counted)
            continue;
        r = is_uniform(&c, t, i, &uniform, err);
        if (r == 0 && uniform)
            r = fill_uniform(&c, t, i, leave, &any, &why, err);
    }
    if (r == 0)
        r = db_run(db, "commit", 0, NULL, err);
    if (r < 0 && db_in_transaction(db))
        db_run(db, "rollback", 0, NULL, &ignored);
    gen_schema_release(&c.schema);
    if (r == 0 && any && !strv_has(&ret->filled, table))
        strv_add(&ret->filled, table);
    if (r == 0 && why) {
        strv_add_take(&ret->failed, xasprintf("%s.%s", table, column));
        strv_add(&ret->why, why);
    }
    return r;
}
