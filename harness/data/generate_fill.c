/*
 * One table. Rows are planned from pools (keys of parents, what checks accept) and the values of the types, and
 * inserted in one statement; nearly always that is all. What is refused goes in row by row, and the
 * refusal says what to change: first hostile values give way to benign ones, then other values are tried.
 */
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "harness/base/cleanup.h"
#include "harness/data/generate_impl.h"

#define MOST_HOSTILE 16   /* rows */
#define MOST_PARENTS 1000 /* keys of a parent that are read, unless each may be used once */
#define MOST_LIMITED 2000 /* values of a limited type in a key */
#define BATCH_ROWS 1000
#define BATCH_BYTES 200000
#define MOST_ATTEMPTS 300 /* for the first row; enough to tell that a table defeats us */
#define MOST_RETRIES 20   /* for another one */
#define MOST_REFUSED 50   /* rows in turn, after which a table gets no more */

struct row {
    char **cells; /* one a column; NULL where the database decides */
    long hostile; /* number among the hostile rows, -1: benign */
};

struct fill {
    struct gen_context *c;
    struct gen_table *t;
    const bool *open;
    uint64_t rows, seed;
    uint64_t benign, hostile; /* rows of each kind; what is left over is benign too */
    struct pool *pools;       /* references first, those of most columns first */
    size_t npools, pools_cap;
    struct strv *bad;   /* hostile cells, by column */
    struct strv *other; /* cells to try when nothing else goes, by column */
    char **fixed;       /* cells that proved to be necessary, by column */
    bool *tracked;      /* keys whose tuples must be remembered */
    uint64_t *seen;     /* them, in open addressing */
    size_t nseen, seen_size;
    uint64_t next; /* number of the next plan */
    char **last;   /* cells of the row inserted last, for references to the table itself */
    uint64_t inserted;
    struct err why; /* the last refusal */
};

int gen_try(struct db *db, const char *sql, struct err *why, struct err *err)
{
    _cleanup_str_ struct str all = {0};
    str_addf(&all, "savepoint belay_row; %s; release savepoint belay_row", sql);
    err_release(why);
    if (db_run(db, str_get(&all), 0, NULL, why) == 0)
        return 1;
    if (why->code != ERR_SQL) {
        err_move(err, why);
        return -1;
    }
    if (!db_in_transaction(db)) {
        err_move(err, why);
        return -1;
    }
    if (db_run(db, "rollback to savepoint belay_row; release savepoint belay_row", 0, NULL, err) <
        0)
        return -1;
    return 0;
}

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

static void forget(struct fill *f)
{
    if (f->seen)
        memset(f->seen, 0, f->seen_size * sizeof(*f->seen));
    f->nseen = 0;
}

static bool is_null(const char *cell)
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

/* ---- pools ---- */

static bool in_pool(const struct fill *f, size_t column)
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

/* A parent's keys may be used once each when they alone are a key of this table. */
static bool used_once(const struct gen_table *t, const struct gen_reference *r)
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

static void benign_cell(const struct fill *f, size_t column, uint64_t m, struct str *ret)
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

/* ---- planning ---- */

static void set_cell(char **cells, size_t column, const char *cell)
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
            if (h < n && (h > 0 || !is_null(bad->v[0]) || c->type->class != VALUE_BOOL)) {
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

/* False when there is no row that is new. */
static bool plan_row(struct fill *f, struct row *row, char *const *before)
{
    size_t n = f->t->ncolumns;
    for (uint64_t tries = 0; tries < 2000; tries++) {
        uint64_t m = f->next++, quotient = m;
        size_t previous = 0;
        for (size_t i = 0; i < n; i++) {
            free(row->cells[i]);
            row->cells[i] = NULL;
            if (f->fixed[i] && f->t->columns[i].writable && !f->t->columns[i].key)
                row->cells[i] = xstrdup(f->fixed[i]);
        }
        for (size_t i = 0; i < f->npools; i++) {
            /* counts through all combinations, the diagonal first */
            size_t size = f->pools[i].n ? f->pools[i].n : 1;
            previous = (size_t)(quotient % size + previous) % size;
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

/* ---- inserting ---- */

static void begin_insert(const struct fill *f, struct str *sql)
{
    bool any = false;
    str_addf(sql, "insert into %s", f->t->identity);
    for (size_t i = 0; i < f->t->ncolumns; i++) {
        if (!f->t->columns[i].writable)
            continue;
        str_addf(sql, "%s%s", any ? ", " : " (", f->t->columns[i].quoted);
        any = true;
    }
    if (!any) {
        str_add(sql, " default values");
        return;
    }
    str_add(sql,
            f->c->engine == &engine_postgres ? ") overriding system value values" : ") values");
}

/* ret_ends: where each cell ends in sql; or NULL. */
static void add_row(const struct fill *f, const struct row *row, bool first, struct str *sql,
                    size_t *ret_ends)
{
    bool any = false;
    for (size_t i = 0; i < f->t->ncolumns; i++) {
        if (f->t->columns[i].writable) {
            str_addf(sql, "%s%s", any ? "," : first ? " (" : ", (", row->cells[i]);
            any = true;
        }
        if (ret_ends)
            ret_ends[i] = sql->len;
    }
    if (any)
        str_addc(sql, ')');
}

static void keep_last(struct fill *f, const struct row *row)
{
    for (size_t i = 0; i < f->t->ncolumns; i++)
        set_cell(f->last, i, row->cells[i] ? row->cells[i] : "NULL");
    f->inserted++;
}

/* ---- blame ---- */

static bool is_word_in(const char *word, const char *text)
{
    size_t n = strlen(word);
    for (const char *p = strstr(text, word); n && p; p = strstr(p + 1, word)) {
        bool begins = p == text || strchr(" \"'.,(:;", p[-1]);
        if (begins && strchr(" \"'.,):;", p[n]))
            return true;
    }
    return false;
}

static void blame_columns(const struct columns *c, bool *fault)
{
    for (size_t i = 0; i < c->n; i++)
        fault[c->v[i]] = true;
}

static void blame_constraint(const struct gen_table *t, const char *name, bool *fault)
{
    for (size_t i = 0; i < t->nkeys; i++)
        if (strcmp(t->keys[i].name, name) == 0)
            blame_columns(&t->keys[i].columns, fault);
    for (size_t i = 0; i < t->nchecks; i++)
        if (t->checks[i].name && strcmp(t->checks[i].name, name) == 0)
            blame_columns(&t->checks[i].columns, fault);
    for (size_t i = 0; i < t->nreferences; i++)
        if (strcmp(t->references[i].name, name) == 0)
            blame_columns(&t->references[i].columns, fault);
}

static bool is_collision(const struct err *why)
{
    return strcmp(why->sqlstate, "23505") == 0 || strcmp(why->sqlstate, "23P01") == 0 ||
           str_starts(why->message, "UNIQUE constraint failed");
}

/* The columns whose values were refused; all where nothing tells. */
static bool blame(const struct fill *f, const struct err *why, const size_t *ends, bool *fault)
{
    const struct gen_table *t = f->t;
    static const char prefix[] = "savepoint belay_row; ";
    memset(fault, 0, t->ncolumns * sizeof(*fault));
    for (size_t i = 0; why->db_column && i < t->ncolumns; i++)
        fault[i] = strcmp(t->columns[i].name, why->db_column) == 0;
    if (why->db_constraint)
        blame_constraint(t, why->db_constraint, fault);
    if (strstr(why->message, "partition constraint"))
        for (size_t i = 0; i < t->nchecks; i++)
            if (!t->checks[i].name)
                blame_columns(&t->checks[i].columns, fault);
    bool any = false;
    for (size_t i = 0; i < t->ncolumns; i++)
        any = any || fault[i];
    if (!any && why->column > (int)sizeof(prefix) && why->line == 1) {
        /* characters, and ends are bytes: only longer before than in truth, so the first that fits */
        size_t at = (size_t)why->column - sizeof(prefix);
        for (size_t i = 0; i < t->ncolumns && !any; i++)
            any = fault[i] = t->columns[i].writable && at < ends[i] && at >= ends[0] / 2;
    }
    for (size_t i = 0; !any && i < t->ncolumns; i++)
        fault[i] = is_word_in(t->columns[i].name, why->message);
    if (str_starts(why->message, "CHECK constraint failed: ")) {
        const char *name = why->message + strlen("CHECK constraint failed: ");
        blame_constraint(t, name, fault);
        for (size_t i = 0; i < t->nchecks; i++)
            if (strcmp(t->checks[i].expression, name) == 0)
                blame_columns(&t->checks[i].columns, fault);
    }
    for (size_t i = 0; i < t->ncolumns; i++)
        any = any || fault[i];
    for (size_t i = 0; i < t->ncolumns; i++)
        fault[i] = (fault[i] || !any) && t->columns[i].writable;
    return any;
}

/* ---- changing ---- */

/* Puts benign cells in place of hostile ones among those at fault; where nobody knows whose fault it is, of one
 * column. False when there are none. */
static bool soften(struct fill *f, struct row *row, const bool *fault, bool known, uint64_t m)
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
            plan_column(f, i, m, &plain);
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

/* What else a column may hold: literals of triggers, policies and checks, parents, hostile values. */
static const struct strv *others(struct fill *f, size_t column)
{
    const struct gen_column *c = &f->t->columns[column];
    struct strv *list = &f->other[column];
    if (list->n)
        return list;
    if (f->t->hints.len)
        hints_add(f->c->engine, c->type, str_get(&f->t->hints), list);
    for (size_t i = 0; i < f->t->nchecks; i++)
        if (columns_has(&f->t->checks[i].columns, column))
            hints_add(f->c->engine, c->type, f->t->checks[i].expression, list);
    for (size_t i = 0; i < f->npools; i++)
        for (size_t k = 0; k < f->pools[i].n && k < 10; k++)
            if (f->pools[i].columns.n == 1 && f->pools[i].columns.v[0] == column)
                strv_add(list, f->pools[i].cells[k]);
    for (size_t i = 0; i < f->bad[column].n; i++)
        strv_add(list, f->bad[column].v[i]);
    if (!list->n)
        strv_add(list, c->not_null ? "''" : "NULL");
    return list;
}

/* The attempt-th other choice of cells for the columns at fault: first one column, then several. */
static void choose_others(struct fill *f, struct row *row, char *const *original, const bool *fault,
                          uint64_t attempt)
{
    size_t n = f->t->ncolumns, at = 0, nfault = 0, singles = 0;
    for (size_t i = 0; i < n; i++) {
        set_cell(row->cells, i, original[i]);
        nfault += fault[i];
        if (fault[i])
            singles += others(f, i)->n;
    }
    if (!nfault)
        return;
    if (attempt < singles && attempt < MOST_ATTEMPTS * 2 / 3) {
        /* the first of each column, the second of each, ... */
        uint64_t left = attempt;
        for (size_t k = 0;; k++) {
            for (at = 0; at < n; at++) {
                if (!fault[at] || others(f, at)->n <= k || left-- > 0)
                    continue;
                set_cell(row->cells, at, others(f, at)->v[k]);
                return;
            }
        }
    }
    for (at = 0; at < n; at++) {
        uint64_t random = XXH3_64bits_withSeed(&attempt, sizeof(attempt), f->seed + at * 977 + 1);
        if (fault[at] && random & 3)
            set_cell(row->cells, at, others(f, at)->v[(random >> 8) % others(f, at)->n]);
    }
}

static void keep_fixed(struct fill *f, const struct row *row, char *const *original)
{
    for (size_t i = 0; i < f->t->ncolumns; i++)
        if (row->cells[i] && original[i] && strcmp(row->cells[i], original[i]) != 0 &&
            !f->t->columns[i].key)
            set_cell(f->fixed, i, row->cells[i]);
}

/* One row, changed until it goes in. 1: it did; 0: not within so many attempts. */
static int insert_one(struct fill *f, struct row *row, int most, struct err *err)
{
    size_t n = f->t->ncolumns;
    _cleanup_free_ size_t *ends = xcalloc(n + 1, sizeof(*ends));
    _cleanup_free_ bool *fault = xcalloc(n + 1, sizeof(*fault));
    char **original = xcalloc(n + 1, sizeof(*original));
    uint64_t others_tried = 0;
    bool changed = false;
    int r = 0;
    for (int attempt = 0; attempt < most; attempt++) {
        _cleanup_str_ struct str sql = {0};
        begin_insert(f, &sql);
        add_row(f, row, true, &sql, ends);
        r = gen_try(f->c->db, str_get(&sql), &f->why, err);
        if (r != 0)
            break;
        bool known = blame(f, &f->why, ends, fault);
        if (!changed && is_collision(&f->why)) {
            if (!plan_row(f, row, f->inserted ? f->last : NULL))
                break;
            continue;
        }
        if (soften(f, row, fault, known, f->next))
            continue;
        if (!changed)
            for (size_t i = 0; i < n; i++)
                set_cell(original, i, row->cells[i]);
        changed = true;
        choose_others(f, row, original, fault, others_tried++);
    }
    if (r > 0) {
        if (changed && row->hostile < 0)
            keep_fixed(f, row, original);
        keep_last(f, row);
    }
    for (size_t i = 0; i < n; i++)
        free(original[i]);
    free(original);
    return r;
}

/* ---- rows in batches ---- */

static void row_init(const struct fill *f, struct row *row, long hostile)
{
    row->cells = xcalloc(f->t->ncolumns + 1, sizeof(*row->cells));
    row->hostile = hostile;
}

static void row_release(const struct fill *f, struct row *row)
{
    for (size_t i = 0; i < f->t->ncolumns; i++)
        free(row->cells[i]);
    free(row->cells);
}

static long hostile_number(const struct fill *f, uint64_t row)
{
    return row >= f->benign && row < f->benign + f->hostile ? (long)(row - f->benign) : -1;
}

/*
 * Rows from .. to in one statement, as many as fit. *ret_to is the first one that was not tried. 1: all are in,
 * 0: refused.
 */
static int insert_batch(struct fill *f, uint64_t from, uint64_t to, uint64_t *ret_to,
                        struct err *err)
{
    _cleanup_str_ struct str sql = {0};
    struct row row, before = {0};
    bool writable = false, any = false;
    for (size_t i = 0; i < f->t->ncolumns; i++)
        writable = writable || f->t->columns[i].writable;
    row_init(f, &before, -1);
    for (size_t i = 0; i < f->t->ncolumns; i++)
        set_cell(before.cells, i, f->last[i]);
    begin_insert(f, &sql);
    uint64_t i, planned = 0;
    bool more = true;
    for (i = from; i < to && i < from + BATCH_ROWS && sql.len < BATCH_BYTES && more; i++) {
        row_init(f, &row, hostile_number(f, i));
        bool first = !f->inserted && !planned;
        more = plan_row(f, &row, first ? NULL : before.cells);
        if (more) {
            add_row(f, &row, !any, &sql, NULL);
            any = true;
            planned++;
            row_release(f, &before);
            before = row;
        } else {
            row_release(f, &row);
        }
        if (!writable) /* DEFAULT VALUES is one row */
            to = i + 1;
    }
    *ret_to = more ? i : UINT64_MAX;
    int r = planned ? gen_try(f->c->db, str_get(&sql), &f->why, err) : 1;
    if (r > 0 && planned) {
        keep_last(f, &before);
        f->inserted += planned - 1;
    }
    row_release(f, &before);
    return r;
}

/* Row by row, after a batch was refused. */
static int insert_singly(struct fill *f, uint64_t from, uint64_t to, struct err *err)
{
    int refused = 0;
    for (uint64_t i = from; i < to && refused < MOST_REFUSED; i++) {
        struct row row;
        row_init(f, &row, hostile_number(f, i));
        int r = 0;
        bool planned = plan_row(f, &row, f->inserted ? f->last : NULL);
        if (planned)
            r = insert_one(f, &row,
                           f->inserted ? MOST_RETRIES + (int)f->t->ncolumns : MOST_ATTEMPTS, err);
        row_release(f, &row);
        if (r < 0)
            return -1;
        if (!planned || (!r && !f->inserted))
            break;
        refused = r ? 0 : refused + 1;
    }
    return 0;
}

static int insert_rows(struct fill *f, struct err *err)
{
    uint64_t at = 0, end = f->benign + f->hostile, to;
    int r = insert_batch(f, 0, end, &to, err);
    if (r < 0)
        return -1;
    if (r == 0) { /* together they do not go: the benign ones, then each hostile one */
        bool collision = is_collision(&f->why);
        forget(f);
        f->next = collision ? 1000 : 0;
        r = insert_batch(f, 0, f->benign, &to, err);
        if (r == 0) {
            forget(f);
            f->next = collision ? 2000 : 0;
            r = insert_singly(f, 0, f->benign, err);
        }
        if (r < 0 || (f->inserted && insert_singly(f, f->benign, end, err) < 0))
            return -1;
        to = end;
    }
    if (!f->inserted)
        return 0;
    for (at = to; at < f->rows; at = to) {
        uint64_t next = f->next;
        r = insert_batch(f, at, f->rows, &to, err);
        if (r == 0) {
            uint64_t before = f->inserted;
            f->next = next + BATCH_ROWS;
            r = insert_singly(f, at, to < f->rows ? to : f->rows, err);
            if (f->inserted == before)
                break;
        }
        if (r < 0)
            return -1;
    }
    return 0;
}

/* ---- the table ---- */

static int compare_pools(const void *a, const void *b)
{
    const struct pool *p = a, *q = b;
    if (p->reference != q->reference)
        return p->reference ? -1 : 1;
    return p->columns.n > q->columns.n ? -1 : p->columns.n < q->columns.n;
}

static int prepare(struct fill *f, struct err *err)
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

static void fill_release(struct fill *f)
{
    for (size_t i = 0; i < f->npools; i++)
        pool_release(&f->pools[i]);
    for (size_t i = 0; i < f->t->ncolumns; i++) {
        strv_release(&f->bad[i]);
        strv_release(&f->other[i]);
        free(f->fixed[i]);
        free(f->last[i]);
    }
    free(f->pools);
    free(f->bad);
    free(f->other);
    free(f->fixed);
    free(f->last);
    free(f->tracked);
    free(f->seen);
    err_release(&f->why);
}

/* An application would have taken these numbers from the sequence. */
static void move_sequences(struct fill *f)
{
    for (size_t i = 0; i < f->t->ncolumns; i++) {
        const struct gen_column *c = &f->t->columns[i];
        if (!c->sequence || !c->counted || !c->writable)
            continue;
        _cleanup_free_ char *text = quote_with(c->sequence, '\'');
        str_addf(&f->c->finish,
                 "select pg_catalog.setval(%s, m) from (select max(%s)::int8 as m from only %s) b,"
                 " %s s where m >= s.last_value;",
                 text, c->quoted, f->t->identity, c->sequence);
    }
}

int gen_fill(struct gen_context *c, struct gen_table *t, const bool *open, struct err *err)
{
    const struct generate_options *o = c->options;
    struct fill f = {.c = c, .t = t, .open = open, .rows = (uint64_t)o->rows, .seed = o->seed};
    f.benign = f.rows;
    if (o->kind == GENERATE_ALL) {
        f.benign = f.rows / 3 ? f.rows / 3 : 1;
        f.hostile = f.rows - f.benign < MOST_HOSTILE ? f.rows - f.benign : MOST_HOSTILE;
        f.benign = f.rows <= MOST_HOSTILE ? f.rows - f.hostile : f.benign < 16 ? f.benign : 16;
    } else if (f.benign > BATCH_ROWS) {
        f.benign = BATCH_ROWS;
    }
    size_t n = t->ncolumns + 1;
    f.bad = xcalloc(n, sizeof(*f.bad));
    f.other = xcalloc(n, sizeof(*f.other));
    f.fixed = xcalloc(n, sizeof(*f.fixed));
    f.last = xcalloc(n, sizeof(*f.last));
    f.tracked = xcalloc(t->nkeys + 1, sizeof(*f.tracked));
    int r = prepare(&f, err);
    if (r == 0 && !t->why)
        r = insert_rows(&f, err);
    if (r == 0 && f.inserted) {
        t->state = GEN_FILLED;
        move_sequences(&f);
    } else if (r == 0) {
        t->state = GEN_FAILED;
        if (!t->why)
            t->why = xstrdup(f.why.message ? f.why.message : "no row is possible");
    } else if (r < 0 && err->code == ERR_SQL && !db_in_transaction(c->db)) {
        strv_add(&c->enders, t->identity);
        strv_add(&c->enders_why, err->message);
    }
    fill_release(&f);
    return r;
}

int gen_close_cycle(struct gen_context *c, struct gen_table *t, const struct gen_reference *r,
                    struct err *err)
{
    _cleanup_str_ struct str sql = {0};
    _cleanup_err_ struct err why = {0};
    const struct gen_key *primary = NULL;
    for (size_t i = 0; i < t->nkeys; i++)
        if (t->keys[i].primary && t->keys[i].columns.n == 1)
            primary = &t->keys[i];
    str_addf(&sql, "update %s set ", t->identity);
    for (size_t k = 0; k < r->columns.n; k++) {
        str_addf(&sql, "%s%s = (select %s from %s where ", k ? ", " : "",
                 t->columns[r->columns.v[k]].quoted, r->target_quoted.v[k], r->target);
        for (size_t j = 0; j < r->target_quoted.n; j++)
            str_addf(&sql, "%s%s is not null", j ? " and " : "", r->target_quoted.v[j]);
        str_add(&sql, " order by ");
        for (size_t j = 0; j < r->target_quoted.n; j++)
            str_addf(&sql, "%s%s", j ? ", " : "", r->target_quoted.v[j]);
        str_add(&sql, " limit 1)");
    }
    if (primary) { /* some stay NULL; a key is used once */
        const char *key = t->columns[primary->columns.v[0]].quoted;
        bool once = used_once(t, r);
        str_addf(&sql, " where %s in (select %s from %s order by %s limit %d)", key, key,
                 t->identity, key, once ? 1 : (c->options->rows + 1) / 2);
    }
    return gen_try(c->db, str_get(&sql), &why, err) < 0 ? -1 : 0;
}
