#include "harness/data/generate_fill.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "harness/base/cleanup.h"

#define MOST_ATTEMPTS 300 /* for the first row; enough to tell that a table defeats us */

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

bool is_collision(const struct err *why)
{
    return strcmp(why->sqlstate, "23505") == 0 || strcmp(why->sqlstate, "23P01") == 0 ||
           str_starts(why->message, "UNIQUE constraint failed");
}

/* The columns whose values were refused; all where nothing tells (false). sql is the INSERT,
 * values where its row begins. */
static bool blame(const struct fill *f, const struct err *why, const char *sql, size_t values,
                  const size_t *ends, bool *fault)
{
    const struct gen_table *t = f->t;
    static const char prefix[] = GEN_TRY_BEGINS;
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
    if (!any && why->column && why->line == 1) {
        /* the place counts characters of all that was sent, ends count bytes of the INSERT */
        size_t byte = 0;
        for (int seen = (int)sizeof(prefix); sql[byte] && seen < why->column; byte++)
            seen += ((unsigned char)sql[byte + 1] & 0xc0) != 0x80;
        for (size_t i = 0; byte > values && i < t->ncolumns && !any; i++)
            any = fault[i] = t->columns[i].writable && byte < ends[i];
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

/* What else a column may hold: literals of triggers, policies and checks, parents, hostile
 * values. */
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

int insert_one(struct fill *f, struct row *row, int most, struct err *err)
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
        size_t values = sql.len;
        add_row(f, row, true, &sql, ends);
        r = gen_try(f->c->db, str_get(&sql), &f->why, err);
        if (r != 0)
            break;
        bool known = blame(f, &f->why, str_get(&sql), values, ends, fault);
        if (!changed && is_collision(&f->why)) {
            if (!plan_row(f, row, f->inserted ? f->last : NULL))
                break;
            continue;
        }
        if (plan_soften(f, row, fault, known))
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
