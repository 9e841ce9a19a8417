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

static void add_update(const struct gen_context *c, const struct gen_table *t, const char *order,
                       size_t column, uint64_t n, bool benign, struct str *sql)
{
    const char *only = c->engine == &engine_postgres ? "only " : "";
    _cleanup_str_ struct str cell = {0};
    cell_for(c, t, column, n, benign, &cell);
    str_addf(sql,
             "update %s%s set %s = %s where (%s) = (select %s from %s%s order by %s limit 1 offset "
             "%llu);",
             only, t->identity, t->columns[column].quoted, str_get(&cell), order, order, only,
             t->identity, order, (unsigned long long)n);
}

static bool refers(const struct gen_table *t, size_t column)
{
    for (size_t i = 0; i < t->nreferences; i++)
        if (columns_has(&t->references[i].columns, column))
            return true;
    return false;
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
                       size_t column, bool *ret_any, struct err *err)
{
    _cleanup_err_ struct err why = {0};
    _cleanup_str_ struct str all = {0};
    uint64_t rows = (uint64_t)c->options->rows;
    rows = rows < MOST_ROWS ? rows : MOST_ROWS;
    for (uint64_t n = 0; n < rows; n++)
        add_update(c, t, order, column, n, false, &all);
    int done = gen_try(c->db, str_get(&all), &why, err);
    for (uint64_t n = 0; n < 2 * rows && done == 0; n++) {
        _cleanup_str_ struct str one = {0};
        add_update(c, t, order, column, n / 2, n % 2, &one);
        int rc = gen_try(c->db, str_get(&one), &why, err);
        if (rc < 0)
            return -1;
        *ret_any |= rc > 0;
        n += rc > 0 && n % 2 == 0; /* the plain value is not needed */
    }
    *ret_any |= done > 0;
    return done < 0 ? -1 : 0;
}

static int fill_columns(struct gen_context *c, const struct gen_table *t,
                        const struct strv *columns, bool *ret_any, struct err *err)
{
    _cleanup_free_ char *order = order_of(t);
    for (size_t i = 0; order && i < t->ncolumns; i++) {
        const struct gen_column *g = &t->columns[i];
        bool uniform = false;
        if (!strv_has(columns, g->name) || !g->writable || g->counted || refers(t, i))
            continue;
        if (is_uniform(c, t, i, &uniform, err) < 0 ||
            (uniform && fill_column(c, t, order, i, ret_any, err) < 0))
            return -1;
    }
    return 0;
}

int generate_columns(struct db *db, const char *table, const struct strv *columns,
                     const struct generate_options *o, bool *ret_any, struct err *err)
{
    struct gen_context c = {.db = db, .engine = db_engine(db), .options = o};
    _cleanup_strv_ struct strv names = {0};
    _cleanup_err_ struct err ignored = {0};
    bool any = false;
    strv_add(&names, table);
    if (o->rows <= 0)
        return 0;
    int r = db_run(db, c.engine == &engine_postgres ? gen_begin_postgres : "begin", 0, NULL, err);
    if (r == 0)
        r = (c.engine == &engine_postgres ? gen_read_postgres : gen_read_sqlite)(
            db, &names, o->leave_out, &c.schema, err);
    if (r == 0 && c.schema.n)
        r = fill_columns(&c, c.schema.v[0], columns, &any, err);
    if (r == 0)
        r = db_run(db, "commit", 0, NULL, err);
    if (r < 0 && db_in_transaction(db))
        db_run(db, "rollback", 0, NULL, &ignored);
    gen_schema_release(&c.schema);
    if (r == 0)
        *ret_any |= any;
    return r;
}
