/*
 * Checks are not understood, they are asked: candidates for each column are crossed, and the
 * database says which combinations its own checks accept. One query answers for a group of columns
 * that checks tie together.
 */
#include <stdlib.h>
#include <string.h>

#include "harness/base/cleanup.h"
#include "harness/data/generate_impl.h"

/* Combinations that are tried: all of them are sorted; in the second try, the first that fit. */
#define FIRST_TRY 4096
#define SECOND_TRY 200000
#define MOST_TUPLES 256
#define MOST_BENIGN 8

void pool_release(struct pool *p)
{
    for (size_t i = 0; i < p->n * p->columns.n; i++)
        free(p->cells[i]);
    free(p->cells);
    free(p->columns.v);
    *p = (struct pool){0};
}

void pool_add(struct pool *p, char **cells)
{
    for (size_t i = 0; i < p->columns.n; i++) {
        p->cells = xgrow(p->cells, p->n * p->columns.n + i, &p->cap, sizeof(*p->cells));
        p->cells[p->n * p->columns.n + i] = cells[i];
    }
    p->n++;
}

/* ---- candidates ---- */

static void add_plain(const struct engine *e, const struct value_type *t, const char *plain,
                      struct strv *cells)
{
    _cleanup_str_ struct str cell = {0};
    value_cell(e, t, plain, &cell);
    if (!strv_has(cells, str_get(&cell)))
        strv_add(cells, str_get(&cell));
}

static void add_benign(const struct engine *e, const struct value_type *t, uint64_t from,
                       uint64_t n, struct strv *cells)
{
    for (uint64_t i = from; i < from + n; i++) {
        _cleanup_str_ struct str plain = {0};
        value_benign(t, i, &plain);
        add_plain(e, t, str_get(&plain), cells);
    }
}

/* Benign ones first, what the expression suggests, hostile ones; at most `most`. */
static void candidates(const struct engine *e, const struct value_type *t, uint64_t base,
                       uint64_t rows, const char *hints, bool can_be_null, size_t most,
                       struct strv *ret)
{
    struct strv all = {0};
    add_benign(e, t, base, 2, &all);
    if (hints)
        hints_add(e, t, hints, &all);
    add_benign(e, t, base + 2, MOST_BENIGN - 2, &all);
    if (rows > MOST_BENIGN)
        add_benign(e, t, base + rows - 1, 1, &all);
    if (t->class == VALUE_INTEGER || t->class == VALUE_NUMERIC || t->class == VALUE_FLOAT)
        add_benign(e, t, 0, 4, &all);
    for (size_t k = 0;; k++) {
        _cleanup_str_ struct str plain = {0};
        if (!value_hostile(t, k, &plain))
            break;
        add_plain(e, t, str_get(&plain), &all);
    }
    size_t room = can_be_null ? most - 1 : most;
    for (size_t i = 0; i < all.n && i < room; i++)
        strv_add(ret, all.v[i]);
    if (can_be_null)
        strv_add(ret, "NULL");
    strv_release(&all);
}

/* ---- the query ---- */

/* from item: one column of candidates with their rank */
static void add_candidates(const struct engine *e, const char *name, const struct value_type *t,
                           const struct strv *cells, size_t k, struct str *sql)
{
    bool postgres = e == &engine_postgres;
    if (postgres)
        str_addf(sql, "(select v::%s as %s, belay_rank from (values ", t->cast, name);
    else
        str_addf(sql, "(select column1 as %s, column2 as belay_rank from (values ", name);
    for (size_t i = 0; i < cells->n; i++)
        str_addf(sql, "%s(%s%s,%zu)", i ? "," : "", cells->v[i], postgres && !i ? "::text" : "", i);
    str_addf(sql, ")%s) belay_%zu", postgres ? " belay_v(v, belay_rank)" : "", k);
}

struct question {
    const struct engine *engine;
    const char **names; /* quoted */
    const struct value_type **types;
    struct strv *cells;
    size_t n;
    struct str where;
};

static void write_question(const struct question *q, bool sorted, struct str *sql)
{
    str_add(sql, "select ");
    for (size_t i = 0; i < q->n; i++)
        str_addf(sql,
                 q->engine == &engine_postgres ? "%sbelay_%zu.%s::text" : "%squote(belay_%zu.%s)",
                 i ? ", " : "", i, q->names[i]);
    str_add(sql, " from ");
    for (size_t i = 0; i < q->n; i++) {
        str_add(sql, i ? " cross join " : "");
        add_candidates(q->engine, q->names[i], q->types[i], &q->cells[i], i, sql);
    }
    str_addf(sql, " where %s", str_get(&q->where));
    if (sorted) {
        str_add(sql, " order by ");
        for (size_t i = 0; i < q->n; i++)
            str_addf(sql, "%sbelay_%zu.belay_rank", i ? " + " : "", i);
        for (size_t i = 0; i < q->n; i++)
            str_addf(sql, ", belay_%zu.belay_rank", i);
    }
    str_addf(sql, " limit %d", MOST_TUPLES);
}

/* Asks under a savepoint: a candidate that is no value of the type fails the whole question. 1:
 * *ret, 0: it could not be asked. */
static int ask(struct db *db, const char *sql, struct rows **ret, struct err *err)
{
    if (db_run(db, "savepoint belay_ask", 0, NULL, err) < 0)
        return -1;
    _cleanup_err_ struct err why = {0};
    int r = db_query(db, sql, NULL, 0, ret, &why) == 0;
    if (!r && why.code != ERR_SQL) {
        err_move(err, &why);
        return -1;
    }
    if (db_run(db,
               r ? "release savepoint belay_ask"
                 : "rollback to savepoint belay_ask; release savepoint belay_ask",
               0, NULL, err) < 0)
        return -1;
    return r;
}

/* ---- groups ---- */

/* Which columns' checks tie together: group[i] is the smallest column of i's group, or -1. */
static void find_groups(const struct gen_table *t, long *group)
{
    for (size_t i = 0; i < t->ncolumns; i++)
        group[i] = -1;
    for (size_t k = 0; k < t->nchecks; k++) {
        const struct columns *c = &t->checks[k].columns;
        for (size_t i = 0; i < c->n; i++) {
            if (group[c->v[i]] < 0)
                group[c->v[i]] = (long)c->v[i];
            long from = group[c->v[i]], to = group[c->v[0]];
            long low = from < to ? from : to, high = from < to ? to : from;
            for (size_t j = 0; j < t->ncolumns; j++)
                if (group[j] == high)
                    group[j] = low;
        }
    }
}

static size_t root_of(size_t n, size_t budget)
{
    size_t r = 2;
    for (;; r++) {
        size_t product = 1;
        for (size_t i = 0; i < n && product <= budget; i++)
            product *= r + 1;
        if (product > budget)
            return r;
    }
}

static const struct pool *reference_of(const struct pool *references, size_t n, size_t column)
{
    for (size_t i = 0; i < n; i++)
        if (references[i].columns.n == 1 && references[i].columns.v[0] == column)
            return &references[i];
    return NULL;
}

static void fill_candidates(struct question *q, const struct gen_table *t,
                            const struct columns *columns, uint64_t rows, uint64_t seed,
                            const struct pool *references, size_t nreferences, bool hints,
                            size_t budget)
{
    size_t most = root_of(columns->n, budget);
    if (most < 2)
        most = 2;
    for (size_t i = 0; i < columns->n; i++) {
        const struct gen_column *c = &t->columns[columns->v[i]];
        const struct pool *parent = reference_of(references, nreferences, columns->v[i]);
        strv_release(&q->cells[i]);
        if (!c->writable) /* a default, a sum: what it is, only the table knows */
            continue;
        if (parent) {
            bool null = !c->not_null;
            for (size_t k = 0; k < parent->n && k + null < most && k < 20; k++)
                strv_add(&q->cells[i], parent->cells[k]);
            if (null || !q->cells[i].n)
                strv_add(&q->cells[i], "NULL");
            continue;
        }
        _cleanup_str_ struct str all = {0};
        for (size_t k = 0; hints && k < t->nchecks; k++)
            if (columns_has(&t->checks[k].columns, columns->v[i]))
                str_addf(&all, "%s;", t->checks[k].expression);
        candidates(q->engine, c->type, gen_base(t, columns->v[i], seed), rows,
                   hints ? str_get(&all) : NULL, !c->not_null, most, &q->cells[i]);
    }
}

static void take_answer(const struct question *q, const struct rows *rows, struct pool *p)
{
    char **cells = xcalloc(q->n, sizeof(*cells));
    for (int r = 0; r < rows_count(rows); r++) {
        for (size_t i = 0; i < q->n; i++) {
            const char *value = rows_get(rows, r, (int)i);
            struct str cell = {0};
            if (q->engine == &engine_postgres || !value)
                value_cell(q->engine, q->types[i], value, &cell);
            else
                str_add(&cell, value);
            cells[i] = str_take(&cell);
        }
        pool_add(p, cells);
    }
    free(cells);
}

/* Whether all benign candidates are among the answers. */
static bool passes_benign(const struct engine *e, const struct value_type *t, uint64_t base,
                          uint64_t rows, const struct pool *p)
{
    struct strv cells = {0};
    add_benign(e, t, base, MOST_BENIGN, &cells);
    if (rows > MOST_BENIGN)
        add_benign(e, t, base + rows - 1, 1, &cells);
    bool all = true;
    for (size_t i = 0; i < cells.n && all; i++) {
        bool found = false;
        for (size_t k = 0; k < p->n && !found; k++)
            found = strcmp(p->cells[k], cells.v[i]) == 0;
        all = found;
    }
    strv_release(&cells);
    return all;
}

static int solve_group(struct db *db, const struct gen_table *t, const struct columns *columns,
                       uint64_t rows, uint64_t seed, const struct pool *references,
                       size_t nreferences, struct pool *p, struct err *err)
{
    const struct engine *e = db_engine(db);
    struct question q = {.engine = e, .n = columns->n};
    q.names = xcalloc(q.n, sizeof(*q.names));
    q.types = xcalloc(q.n, sizeof(*q.types));
    q.cells = xcalloc(q.n, sizeof(*q.cells));
    for (size_t i = 0; i < q.n; i++) {
        q.names[i] = t->columns[columns->v[i]].quoted;
        q.types[i] = t->columns[columns->v[i]].type;
        columns_add(&p->columns, columns->v[i]);
    }
    for (size_t k = 0; k < t->nchecks; k++)
        if (t->checks[k].columns.n && columns_has(columns, t->checks[k].columns.v[0]))
            str_addf(&q.where, "%s(%s) is not false", q.where.len ? " and " : "",
                     t->checks[k].expression);
    int r = 0;
    bool hints = true;
    for (int attempt = 0; attempt < 4 && r >= 0 && !p->n; attempt++) {
        bool second = attempt >= 2;
        hints = !(attempt & 1);
        fill_candidates(&q, t, columns, rows, seed, references, nreferences, hints,
                        second ? SECOND_TRY : FIRST_TRY);
        bool askable = true;
        for (size_t i = 0; i < q.n; i++)
            askable = askable && q.cells[i].n > 0;
        if (!askable)
            break;
        _cleanup_str_ struct str sql = {0};
        _cleanup_rows_ struct rows *answer = NULL;
        write_question(&q, !second, &sql);
        r = ask(db, str_get(&sql), &answer, err);
        if (r > 0)
            take_answer(&q, answer, p);
        if (r > 0 && hints && !p->n)
            attempt++; /* without hints there is less, not more */
    }
    if (r >= 0 && q.n == 1 && p->n && !value_is_limited(q.types[0]) &&
        !reference_of(references, nreferences, columns->v[0]))
        p->free = passes_benign(e, q.types[0], gen_base(t, columns->v[0], seed), rows, p);
    for (size_t i = 0; i < q.n; i++)
        strv_release(&q.cells[i]);
    free(q.names);
    free(q.types);
    free(q.cells);
    str_release(&q.where);
    return r < 0 ? -1 : 0;
}

int solve_checks(struct db *db, const struct gen_table *t, uint64_t rows, uint64_t seed,
                 const struct pool *references, size_t nreferences, struct pool **ret,
                 size_t *ret_n, struct err *err)
{
    _cleanup_free_ long *group = xcalloc(t->ncolumns + 1, sizeof(*group));
    struct pool *pools = NULL;
    size_t n = 0, cap = 0;
    int r = 0;
    find_groups(t, group);
    for (size_t i = 0; i < t->ncolumns && r >= 0; i++) {
        if (group[i] != (long)i)
            continue;
        struct columns columns = {0};
        for (size_t k = i; k < t->ncolumns; k++)
            if (group[k] == (long)i)
                columns_add(&columns, k);
        struct pool p = {0};
        r = solve_group(db, t, &columns, rows, seed, references, nreferences, &p, err);
        free(columns.v);
        if (r >= 0 && p.n) {
            pools = xgrow(pools, n, &cap, sizeof(*pools));
            pools[n++] = p;
        } else {
            pool_release(&p);
        }
    }
    *ret = pools;
    *ret_n = n;
    return r < 0 ? -1 : 0;
}

/* ---- domains ---- */

/* The expression with a column's name in place of VALUE. */
static void add_about_value(const char *check, struct str *to)
{
    for (const char *p = check; *p;) {
        if (*p == '\'' || *p == '"') {
            char quote = *p;
            do
                str_addc(to, *p++);
            while (*p && *p != quote);
            if (*p)
                str_addc(to, *p++);
        } else if (str_starts(p, "VALUE") && (p == check || !strchr("_.", p[-1])) &&
                   (p[5] == '\0' || strchr(" )]:,[", p[5]))) {
            str_add(to, "belay_value");
            p += 5;
        } else {
            str_addc(to, *p++);
        }
    }
}

/* Domains that were solved, for the next column of the same one. */
struct solved {
    const struct value_type **v;
    size_t n, cap;
};

static bool same_domain(const struct value_type *a, const struct value_type *b)
{
    bool same = a->class == b->class && a->length == b->length && a->precision == b->precision &&
                a->scale == b->scale && a->checks.n == b->checks.n && strcmp(a->cast, b->cast) == 0;
    for (size_t i = 0; same && i < a->checks.n; i++)
        same = strcmp(a->checks.v[i], b->checks.v[i]) == 0;
    return same;
}

static bool copy_solved(const struct solved *solved, struct value_type *t)
{
    for (size_t i = 0; i < solved->n; i++) {
        const struct value_type *from = solved->v[i];
        if (!same_domain(from, t))
            continue;
        strv_release(&t->allowed);
        for (size_t k = 0; k < from->allowed.n; k++)
            strv_add(&t->allowed, from->allowed.v[k]);
        for (size_t k = 0; k < from->accepted.n; k++)
            strv_add(&t->accepted, from->accepted.v[k]);
        return true;
    }
    return false;
}

static int solve_domain(struct db *db, struct value_type *t, struct solved *solved, struct err *err)
{
    if (!t)
        return 0;
    if (solve_domain(db, t->element, solved, err) < 0)
        return -1;
    for (size_t i = 0; i < t->nfields; i++)
        if (solve_domain(db, t->fields[i], solved, err) < 0)
            return -1;
    if (!t->checks.n || copy_solved(solved, t))
        return 0;
    const char *name = "belay_value";
    const struct value_type *type = t;
    struct strv cells = {0}, found = {0};
    struct question q = {.engine = db_engine(db), .names = &name, .types = &type, .cells = &cells};
    q.n = 1;
    _cleanup_free_ char *hints = strv_join(&t->checks, ";");
    for (size_t i = 0; i < t->checks.n; i++) {
        str_addf(&q.where, "%s(", i ? " and " : "");
        add_about_value(t->checks.v[i], &q.where);
        str_add(&q.where, ") is not false");
    }
    int r = 0;
    for (int attempt = 0; attempt < 2 && r == 0; attempt++) {
        _cleanup_str_ struct str sql = {0};
        _cleanup_rows_ struct rows *answer = NULL;
        strv_release(&cells);
        candidates(q.engine, t, 1, 64, attempt ? NULL : hints, false, FIRST_TRY, &cells);
        write_question(&q, true, &sql);
        r = ask(db, str_get(&sql), &answer, err);
        for (int i = 0; r > 0 && i < rows_count(answer); i++)
            if (rows_get(answer, i, 0))
                strv_add(&found, rows_get(answer, i, 0));
    }
    /* found stays apart until here: benign values are those of the type without its domain */
    bool all = !value_is_limited(t);
    for (uint64_t i = 0; i < MOST_BENIGN && all; i++) {
        _cleanup_str_ struct str plain = {0};
        value_benign(t, 1 + i, &plain);
        all = strv_has(&found, str_get(&plain));
    }
    strv_release(&t->allowed); /* of an enum: its labels */
    *(all ? &t->accepted : &t->allowed) = found;
    solved->v = xgrow(solved->v, solved->n, &solved->cap, sizeof(*solved->v));
    solved->v[solved->n++] = t;
    strv_release(&cells);
    str_release(&q.where);
    return r < 0 ? -1 : 0;
}

int solve_domains(struct db *db, const struct gen_schema *s, struct err *err)
{
    struct solved solved = {0};
    int r = 0;
    for (size_t i = 0; i < s->n && r == 0; i++)
        for (size_t k = 0; k < s->v[i]->ncolumns && r == 0; k++)
            r = solve_domain(db, s->v[i]->columns[k].type, &solved, err);
    free(solved.v);
    return r;
}
