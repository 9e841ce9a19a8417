#include "harness/data/generate_fill.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "harness/base/cleanup.h"

#define MOST_PARENTS 1000 /* keys of a parent that are read, unless each may be used once */
#define MOST_LIMITED 2000 /* values of a limited type in a key */

bool in_pool(const struct fill *f, size_t column)
{
    for (size_t i = 0; i < f->npools; i++)
        if (columns_has(&f->pools[i].columns, column))
            return true;
    return false;
}

static struct pool *add_pool(struct fill *f)
{
    f->pools = xgrow(f->pools, f->npools, &f->pools_cap, sizeof(*f->pools));
    f->pools[f->npools] = (struct pool){0};
    return &f->pools[f->npools++];
}

bool used_once(const struct gen_table *t, const struct gen_reference *r)
{
    for (size_t i = 0; i < t->nkeys; i++) {
        bool all = t->keys[i].columns.n > 0;
        for (size_t k = 0; k < t->keys[i].columns.n && all; k++)
            all = columns_has(&r->columns, t->keys[i].columns.v[k]);
        if (all)
            return true;
    }
    return false;
}

static size_t widest_reference(const struct gen_table *t)
{
    size_t n = 0;
    for (size_t i = 0; i < t->nreferences; i++)
        if (t->references[i].columns.n > n)
            n = t->references[i].columns.n;
    return n;
}

/* Reads the keys of all parents in one query: number of the reference, its columns. */
static int read_parents(struct fill *f, const size_t *order, struct rows **ret, struct err *err)
{
    bool postgres = f->c->engine == &engine_postgres;
    size_t width = widest_reference(f->t), n = 0;
    _cleanup_str_ struct str sql = {0};
    for (size_t i = 0; i < f->t->nreferences; i++) {
        const struct gen_reference *r = &f->t->references[order[i]];
        if (r->self || f->open[order[i]])
            continue;
        str_addf(&sql, "%sselect * from (select %zu as belay_n", n++ ? " union all " : "", i);
        for (size_t k = 0; k < width; k++) {
            const char *column = k < r->target_quoted.n ? r->target_quoted.v[k] : NULL;
            str_addf(&sql, ", ");
            if (!column)
                str_addf(&sql, "null");
            else
                str_addf(&sql, postgres ? "%s::text" : "quote(%s)", column);
            str_addf(&sql, " as belay_%zu", k);
        }
        str_addf(&sql, " from %s where ", r->target);
        for (size_t k = 0; k < r->target_quoted.n; k++)
            str_addf(&sql, "%s%s is not null", k ? " and " : "", r->target_quoted.v[k]);
        str_add(&sql, " order by ");
        for (size_t k = 0; k < r->target_quoted.n; k++)
            str_addf(&sql, "%s%s.%s", k ? ", " : "", r->target, r->target_quoted.v[k]);
        uint64_t limit = f->rows;
        if (limit > MOST_PARENTS && !used_once(f->t, r))
            limit = MOST_PARENTS;
        str_addf(&sql, " limit %llu) belay_r%zu", (unsigned long long)limit, i);
    }
    if (!n)
        return 0;
    return db_query(f->c->db, str_get(&sql), NULL, 0, ret, err);
}

/* The keys that an unfilled parent is going to have, where they are not chosen by anything else. */
static bool plan_parent(struct fill *f, const struct gen_reference *r, struct pool *p)
{
    const struct gen_table *parent = NULL;
    for (size_t i = 0; i < f->c->schema.n && !parent; i++)
        if (gen_reference_is_to(r, f->c->schema.v[i]))
            parent = f->c->schema.v[i];
    if (!parent)
        return false;
    uint64_t n = f->rows < MOST_PARENTS ? f->rows : MOST_PARENTS;
    char **cells = xcalloc(r->columns.n, sizeof(*cells));
    for (uint64_t row = 0; row < n; row++) {
        for (size_t k = 0; k < r->columns.n; k++) {
            _cleanup_str_ struct str plain = {0}, cell = {0};
            for (size_t c = 0; c < parent->ncolumns; c++) {
                if (strcmp(parent->columns[c].name, r->target_names.v[k]) != 0)
                    continue;
                value_benign(parent->columns[c].type, gen_base(parent, c, f->seed) + row, &plain);
                value_cell(f->c->engine, parent->columns[c].type, str_get(&plain), &cell);
            }
            cells[k] = xstrdup(str_get(&cell));
        }
        pool_add(p, cells);
    }
    free(cells);
    return true;
}

static void add_parent_row(const struct fill *f, const struct rows *rows, int row, struct pool *p)
{
    char **cells = xcalloc(p->columns.n, sizeof(*cells));
    for (size_t k = 0; k < p->columns.n; k++) {
        _cleanup_str_ struct str cell = {0};
        const char *value = rows_get(rows, row, (int)k + 1);
        if (f->c->engine == &engine_postgres)
            value_cell(f->c->engine, f->t->columns[p->columns.v[k]].type, value, &cell);
        else
            str_add(&cell, value);
        cells[k] = xstrdup(str_get(&cell));
    }
    pool_add(p, cells);
    free(cells);
}

static char *why_no_parent(const struct fill *f, const struct gen_reference *r)
{
    for (size_t i = 0; i < f->c->schema.n; i++) {
        const struct gen_table *t = f->c->schema.v[i];
        if (gen_reference_is_to(r, t) && t->why)
            return xasprintf("it refers to %s, which could not be filled", r->target);
    }
    return xasprintf("it refers to %s, which has no rows", r->target);
}

/* Sets t->why when a parent that there must be has no rows. */
static int read_references(struct fill *f, struct err *err)
{
    struct gen_table *t = f->t;
    _cleanup_free_ size_t *order = xcalloc(t->nreferences + 1, sizeof(*order));
    for (size_t i = 0; i < t->nreferences; i++) { /* insertion sort, widest first */
        size_t k = i;
        for (; k && t->references[order[k - 1]].columns.n < t->references[i].columns.n; k--)
            order[k] = order[k - 1];
        order[k] = i;
    }
    _cleanup_rows_ struct rows *rows = NULL;
    if (read_parents(f, order, &rows, err) < 0)
        return -1;
    int at = 0;
    for (size_t i = 0; i < t->nreferences && !t->why; i++) {
        const struct gen_reference *r = &t->references[order[i]];
        if (r->self)
            continue;
        struct pool *p = add_pool(f);
        p->reference = true;
        for (size_t k = 0; k < r->columns.n; k++)
            columns_add(&p->columns, r->columns.v[k]);
        for (; rows && at < rows_count(rows) && (size_t)atol(rows_get(rows, at, 0)) == i; at++)
            add_parent_row(f, rows, at, p);
        bool null = gen_reference_can_be_null(t, r);
        if (!p->n && !null && !(f->open[order[i]] && r->deferrable && plan_parent(f, r, p)))
            t->why = f->open[order[i]]
                         ? xasprintf("it and %s refer to each other, and neither can be first",
                                     r->target)
                         : why_no_parent(f, r);
    }
    return 0;
}

/* Columns of few values that are part of a key: what there is. */
static void add_limited_pools(struct fill *f)
{
    for (size_t i = 0; i < f->t->ncolumns; i++) {
        const struct gen_column *c = &f->t->columns[i];
        if (!c->key || !c->writable || c->counted || !value_is_limited(c->type) || in_pool(f, i))
            continue;
        struct pool *p = add_pool(f);
        columns_add(&p->columns, i);
        struct strv cells = {0};
        uint64_t most = c->type->allowed.n               ? c->type->allowed.n
                        : c->type->class == VALUE_BOOL   ? 2
                        : f->rows * 2 + 8 < MOST_LIMITED ? f->rows * 2 + 8
                                                         : MOST_LIMITED;
        for (uint64_t k = 0; k < most; k++) {
            _cleanup_str_ struct str plain = {0}, cell = {0};
            value_benign(c->type, gen_base(f->t, i, f->seed) + k, &plain);
            value_cell(f->c->engine, c->type, str_get(&plain), &cell);
            if (strv_has(&cells, str_get(&cell)))
                continue;
            strv_add(&cells, str_get(&cell));
            pool_add(p, (char *[]){str_take(&cell)});
        }
        strv_release(&cells);
    }
}

/* A column whose values all differ makes every key that it is part of new. */
static bool is_carrier(const struct fill *f, size_t column)
{
    const struct gen_column *c = &f->t->columns[column];
    if (!c->writable)
        return false;
    for (size_t i = 0; i < f->npools; i++)
        if (columns_has(&f->pools[i].columns, column) && !f->pools[i].free)
            return false;
    for (size_t i = 0; i < f->t->nreferences; i++)
        if (columns_has(&f->t->references[i].columns, column))
            return false;
    return !value_is_limited(c->type);
}

/* ---- hostile cells ---- */

static bool pool_has(const struct pool *p, const char *cell)
{
    for (size_t i = 0; i < p->n; i++)
        if (strcmp(p->cells[i], cell) == 0)
            return true;
    return false;
}

void benign_cell(const struct fill *f, size_t column, uint64_t m, struct str *ret)
{
    const struct gen_column *c = &f->t->columns[column];
    _cleanup_str_ struct str plain = {0};
    value_benign(c->type, gen_base(f->t, column, f->seed) + m, &plain);
    value_cell(f->c->engine, c->type, str_get(&plain), ret);
}

static void list_hostile(struct fill *f, size_t column)
{
    const struct gen_column *c = &f->t->columns[column];
    struct strv *list = &f->bad[column];
    const struct pool *p = NULL;
    for (size_t i = 0; i < f->npools; i++)
        if (f->pools[i].free && columns_has(&f->pools[i].columns, column))
            p = &f->pools[i];
    if (c->type->template == value_template_find("uuid") && gen_is_random_key(f->t, column))
        return;
    if (!c->not_null)
        strv_add(list, "NULL");
    if (!c->key) {
        _cleanup_str_ struct str same = {0};
        benign_cell(f, column, 0, &same);
        strv_add(list, str_get(&same));
    }
    for (size_t k = 0;; k++) {
        _cleanup_str_ struct str plain = {0}, cell = {0};
        if (!value_hostile(c->type, k, &plain))
            break;
        value_cell(f->c->engine, c->type, str_get(&plain), &cell);
        if (!strv_has(list, str_get(&cell)) && (!p || pool_has(p, str_get(&cell))))
            strv_add(list, str_get(&cell));
    }
}

static int compare_pools(const void *a, const void *b)
{
    const struct pool *p = a, *q = b;
    if (p->reference != q->reference)
        return p->reference ? -1 : 1;
    return p->columns.n > q->columns.n ? -1 : p->columns.n < q->columns.n;
}

int fill_prepare(struct fill *f, struct err *err)
{
    struct pool *solved = NULL;
    size_t nsolved = 0;
    if (read_references(f, err) < 0)
        return -1;
    if (f->t->why)
        return 0;
    if (solve_checks(f->c->db, f->t, f->rows, f->seed, f->pools, f->npools, &solved, &nsolved,
                     err) < 0)
        return -1;
    for (size_t i = 0; i < nsolved; i++)
        *add_pool(f) = solved[i];
    free(solved);
    add_limited_pools(f);
    if (f->npools)
        qsort(f->pools, f->npools, sizeof(*f->pools), compare_pools);
    for (size_t i = 0; i < f->t->nkeys; i++) {
        const struct gen_key *k = &f->t->keys[i];
        f->tracked[i] = !k->loose && k->columns.n;
        for (size_t j = 0; j < k->columns.n; j++)
            f->tracked[i] = f->tracked[i] && !is_carrier(f, k->columns.v[j]);
    }
    for (size_t i = 0; i < f->t->ncolumns; i++)
        if (f->t->columns[i].writable)
            list_hostile(f, i);
    return 0;
}
