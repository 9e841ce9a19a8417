/*
 * One table. Rows are planned from pools (keys of parents, what checks accept) and the values of
 * the types, and inserted in one statement; nearly always that is all. What is refused goes in row
 * by row, and the refusal says what to change: first hostile values give way to benign ones, then
 * other values are tried.
 */
#include "harness/data/generate_fill.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "harness/base/cleanup.h"

#define MOST_HOSTILE 16 /* rows */
#define BATCH_ROWS 1000
#define BATCH_BYTES 200000
#define MOST_ATTEMPTS 300 /* for the first row; enough to tell that a table defeats us */
#define MOST_RETRIES 20   /* for another one */
#define MOST_REFUSED 50   /* rows in turn, after which a table gets no more */

int gen_try(struct db *db, const char *sql, struct err *why, struct err *err)
{
    _cleanup_str_ struct str all = {0};
    str_addf(&all, GEN_TRY_BEGINS "%s; release savepoint belay_row", sql);
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

/* ---- inserting ---- */

void begin_insert(const struct fill *f, struct str *sql)
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
void add_row(const struct fill *f, const struct row *row, bool first, struct str *sql,
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

void keep_last(struct fill *f, const struct row *row)
{
    for (size_t i = 0; i < f->t->ncolumns; i++)
        set_cell(f->last, i, row->cells[i] ? row->cells[i] : "NULL");
    f->inserted++;
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
 * Rows from .. to in one statement, as many as fit. *ret_to is the first one that was not tried.
 * 1: all are in, 0: refused.
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
        plan_forget(f);
        f->next = collision ? 1000 : 0;
        r = insert_batch(f, 0, f->benign, &to, err);
        if (r == 0) {
            plan_forget(f);
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
                 " %s s, pg_catalog.pg_sequence q where m >= s.last_value"
                 " and q.seqrelid = %s::regclass and m <= q.seqmax;",
                 text, c->quoted, f->t->identity, c->sequence, text);
    }
}

int gen_fill(struct gen_context *c, struct gen_table *t, const bool *open, struct err *err)
{
    const struct generate_options *o = c->options;
    struct fill f = {.c = c, .t = t, .open = open, .rows = (uint64_t)o->rows, .seed = o->seed};
    f.benign = f.rows;
    if (o->kind == GENERATE_ALL && !(o->plain && strv_has(o->plain, t->identity))) {
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
    int r = fill_prepare(&f, err);
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
