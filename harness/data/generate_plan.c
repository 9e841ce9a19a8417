#include "harness/data/generate_fill.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "harness/base/cleanup.h"

/* ---- keys that were used ---- */

static bool remember(struct fill *f, uint64_t hash)
{
    if (f->nseen * 2 >= f->seen_size) {
        size_t size = f->seen_size ? f->seen_size * 2 : 64;
        uint64_t *wider = xcalloc(size, sizeof(*wider));
        for (size_t i = 0; i < f->seen_size; i++) {
            if (!f->seen[i])
                continue;
            size_t at = f->seen[i] % size;
            while (wider[at])
                at = (at + 1) % size;
            wider[at] = f->seen[i];
        }
        free(f->seen);
        f->seen = wider;
        f->seen_size = size;
    }
    hash += hash == 0;
    size_t at = hash % f->seen_size;
    for (; f->seen[at]; at = (at + 1) % f->seen_size)
        if (f->seen[at] == hash)
            return false;
    f->seen[at] = hash;
    f->nseen++;
    return true;
}

void plan_forget(struct fill *f)
{
    if (f->seen)
        memset(f->seen, 0, f->seen_size * sizeof(*f->seen));
    f->nseen = 0;
}

bool is_null(const char *cell)
{
    return cell && strcmp(cell, "NULL") == 0;
}

/* False when a key of the row was used before. */
static bool keys_are_new(struct fill *f, char *const *cells)
{
    for (size_t i = 0; i < f->t->nkeys; i++) {
        const struct gen_key *k = &f->t->keys[i];
        if (!f->tracked[i])
            continue;
        uint64_t hash = i + 1;
        bool counts = true;
        for (size_t j = 0; j < k->columns.n; j++) {
            const char *cell = cells[k->columns.v[j]];
            counts = counts && cell && (k->nulls_equal || !is_null(cell));
            if (cell)
                hash = XXH3_64bits_withSeed(cell, strlen(cell), hash);
        }
        if (counts && !remember(f, hash))
            return false;
    }
    return true;
}

/* ---- planning ---- */

void set_cell(char **cells, size_t column, const char *cell)
{
    if (cells[column] == cell)
        return;
    free(cells[column]);
    cells[column] = xstrdup(cell);
}

static bool tuple_fits(const struct pool *p, size_t tuple, char *const *cells)
{
    for (size_t k = 0; k < p->columns.n; k++) {
        const char *cell = cells[p->columns.v[k]];
        if (cell && strcmp(cell, p->cells[tuple * p->columns.n + k]) != 0)
            return false;
    }
    return true;
}

static bool tuple_has_null(const struct pool *p, size_t tuple)
{
    for (size_t k = 0; k < p->columns.n; k++)
        if (is_null(p->cells[tuple * p->columns.n + k]))
            return true;
    return false;
}

static bool pool_is_in_key(const struct fill *f, const struct pool *p)
{
    for (size_t k = 0; k < p->columns.n; k++)
        if (f->t->columns[p->columns.v[k]].key)
            return true;
    return false;
}

static void set_tuple(const struct fill *f, const struct pool *p, size_t tuple, char **cells)
{
    for (size_t k = 0; k < p->columns.n; k++)
        if (f->t->columns[p->columns.v[k]].writable)
            set_cell(cells, p->columns.v[k], p->cells[tuple * p->columns.n + k]);
}

static void set_null(const struct fill *f, const struct pool *p, char **cells)
{
    for (size_t k = 0; k < p->columns.n; k++)
        if (!f->t->columns[p->columns.v[k]].not_null && !cells[p->columns.v[k]])
            set_cell(cells, p->columns.v[k], "NULL");
}

static bool pool_can_be_null(const struct fill *f, const struct pool *p)
{
    for (size_t k = 0; k < p->columns.n; k++)
        if (!f->t->columns[p->columns.v[k]].not_null)
            return true;
    return false;
}

/* Takes a tuple of the pool: for a benign row one without NULL where there is one. */
static void plan_pool(struct fill *f, size_t number, size_t start, const struct row *row)
{
    const struct pool *p = &f->pools[number];
    bool hostile = row->hostile >= 0 && !pool_is_in_key(f, p);
    if (p->free)
        return;
    if (hostile && p->reference && pool_can_be_null(f, p) && (row->hostile + number) % 3 == 0) {
        set_null(f, p, row->cells);
        return;
    }
    if (hostile)
        start = p->reference || !p->n ? 0 : p->n - 1 - ((size_t)row->hostile + number) % p->n;
    for (int nulls = 0; nulls < 2; nulls++) {
        for (size_t i = 0; i < p->n; i++) {
            size_t tuple =
                hostile && !p->reference ? (start + p->n - i) % p->n : (start + i) % p->n;
            if (tuple_fits(p, tuple, row->cells) &&
                (nulls || hostile || !tuple_has_null(p, tuple))) {
                set_tuple(f, p, tuple, row->cells);
                return;
            }
        }
    }
    if (p->reference)
        set_null(f, p, row->cells);
}

static void plan_column(struct fill *f, size_t column, uint64_t m, struct row *row)
{
    const struct gen_column *c = &f->t->columns[column];
    const struct strv *bad = &f->bad[column];
    if (row->hostile >= 0 && !c->counted && bad->n) {
        size_t n = bad->n, h = (size_t)row->hostile;
        if (c->key) { /* each once */
            if (h < n) {
                set_cell(row->cells, column, bad->v[h]);
                return;
            }
        } else {
            size_t window = n < f->hostile ? n : (size_t)f->hostile;
            set_cell(row->cells, column, bad->v[(h + column + (size_t)f->seed) % window]);
            return;
        }
    }
    struct str cell = {0};
    benign_cell(f, column, m, &cell);
    free(row->cells[column]);
    row->cells[column] = str_take(&cell);
}

/* A row refers to the one before it, the first to nothing or to itself. */
static void plan_self(const struct fill *f, struct row *row, char *const *before)
{
    for (size_t i = 0; i < f->t->nreferences; i++) {
        const struct gen_reference *r = &f->t->references[i];
        bool null = gen_reference_can_be_null(f->t, r);
        if (!r->self)
            continue;
        char *const *target = before ? before : row->cells;
        for (size_t k = 0; k < r->columns.n; k++) {
            size_t column = r->columns.v[k];
            const struct gen_column *c = &f->t->columns[column];
            size_t to = 0;
            while (to + 1 < f->t->ncolumns &&
                   strcasecmp(f->t->columns[to].name, r->target_names.v[k]) != 0)
                to++;
            if (!c->writable || c->counted || in_pool(f, column))
                continue;
            bool nothing = null && !c->not_null && (!before || row->hostile == 0);
            set_cell(row->cells, column, nothing || !target[to] ? "NULL" : target[to]);
        }
    }
}

bool plan_row(struct fill *f, struct row *row, char *const *before)
{
    size_t n = f->t->ncolumns;
    for (uint64_t tries = 0; tries < 2000; tries++) {
        uint64_t m = f->next++, quotient = m;
        size_t previous = 0;
        /* one parent with several others, where a key made of references allows it */
        bool crowded = row->hostile >= 0 && tries < 8;
        if (crowded)
            quotient = (uint64_t)row->hostile + 1 + tries;
        for (size_t i = 0; i < n; i++) {
            free(row->cells[i]);
            row->cells[i] = NULL;
            if (f->fixed[i] && f->t->columns[i].writable && !f->t->columns[i].key)
                row->cells[i] = xstrdup(f->fixed[i]);
        }
        for (size_t i = 0; i < f->npools; i++) {
            /* counts through all combinations, the diagonal first */
            size_t size = f->pools[i].n ? f->pools[i].n : 1;
            previous = (size_t)(quotient % size + (crowded ? 0 : previous)) % size;
            quotient /= size;
            plan_pool(f, i, previous, row);
        }
        for (size_t i = 0; i < n; i++)
            if (f->t->columns[i].writable && !row->cells[i])
                plan_column(f, i, m, row);
        plan_self(f, row, before);
        if (keys_are_new(f, row->cells))
            return true;
    }
    return false;
}

bool plan_soften(struct fill *f, struct row *row, const bool *fault, bool known)
{
    bool any = false;
    if (row->hostile < 0)
        return false;
    struct row plain = {.cells = xcalloc(f->t->ncolumns, sizeof(char *)), .hostile = -1};
    for (size_t i = 0; i < f->t->ncolumns && (known || !any); i++) {
        const struct gen_column *c = &f->t->columns[i];
        if (!fault[i] || !c->writable || c->counted)
            continue;
        for (size_t p = 0; p < f->npools; p++) {
            const struct pool *pool = &f->pools[p];
            if (!columns_has(&pool->columns, i) || pool->free || !pool->n)
                continue;
            size_t tuple = 0;
            while (tuple + 1 < pool->n && tuple_has_null(pool, tuple))
                tuple++;
            set_tuple(f, pool, tuple, plain.cells);
        }
        if (!plain.cells[i])
            plan_column(f, i, f->next, &plain);
        for (size_t k = 0; k < f->t->ncolumns; k++) {
            if (!plain.cells[k] || !row->cells[k] || strcmp(plain.cells[k], row->cells[k]) == 0)
                continue;
            set_cell(row->cells, k, plain.cells[k]);
            any = true;
        }
    }
    for (size_t i = 0; i < f->t->ncolumns; i++)
        free(plain.cells[i]);
    free(plain.cells);
    return any;
}
