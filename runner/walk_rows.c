/* Rows on the lines: filling tables, and reading what steps touched. */
#include <stdlib.h>
#include <string.h>

#include "harness/data/compare.h"
#include "harness/data/generate.h"
#include "runner/config.h"
#include "runner/walk.h"

bool walk_has_rows(const struct walk *w)
{
    return w->rows.nstarts > 0;
}

/* --- what is no evidence -------------------------------------------------------------------- */

bool walk_rows_marked(const struct walk *w, size_t revision, const char *table, const char *column)
{
    for (size_t i = 0; i < w->rows.nmarks; i++) {
        const struct rows_mark *m = &w->rows.marks[i];
        bool here = m->revision == SIZE_MAX || (revision != SIZE_MAX && m->revision >= revision);
        if (here && strcmp(m->table, table) == 0 && (!m->column || str_eq(m->column, column)))
            return true;
    }
    return false;
}

void walk_rows_add_mark(struct walk *w, size_t revision, const char *table, const char *column)
{
    struct walk_rows *x = &w->rows;
    x->marks = xgrow(x->marks, x->nmarks, &x->marks_cap, sizeof(*x->marks));
    x->marks[x->nmarks++] = (struct rows_mark){revision, xstrdup(table), xstrdup(column)};
}

/* --- reading -------------------------------------------------------------------------------- */

static struct digest_options reading(const struct walk *w)
{
    /* on SQLite the session may be the one that migrates */
    return (struct digest_options){.leave_out = w->env.schema.version_tables,
                                   .keep = w->o->engine == &engine_postgres};
}

static void add_relations(struct object *const *v, size_t n, struct strv *names)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(v[i]->kind, "table") == 0 || strcmp(v[i]->kind, "sequence") == 0)
            strv_add(names, v[i]->identity);
}

/* The text of values may change with their type, in tables that nothing touched: labels of an enum. */
static bool renames_values(const struct delta *d)
{
    for (size_t i = 0; i < d->nremoved; i++)
        if (strcmp(d->removed[i]->kind, "enum") == 0)
            return true;
    return false;
}

const struct strv *walk_rows_touched(const struct walk *w, size_t i, const struct step_result *s,
                                     struct strv *names)
{
    /* SQLite's own table of sequences stands for any of them */
    if (!s->touched.known || strv_has(&s->touched.names, "sqlite_sequence"))
        return NULL;
    for (size_t k = 0; k < s->touched.names.n; k++)
        strv_add(names, s->touched.names.v[k]);
    if (renames_values(&w->deltas[i]))
        return NULL;
    add_relations(w->deltas[i].removed, w->deltas[i].nremoved, names);
    add_relations(w->deltas[i].added, w->deltas[i].nadded, names);
    return names;
}

int walk_rows_read(struct walk *w, struct line *l, const struct strv *touched,
                   struct row_state *state, struct row_delta *delta, struct err *err)
{
    const struct digest_options o = reading(w);
    struct digest_set set = {0};
    struct db *db = NULL;
    if (touched && !touched->n)
        return 0;
    if (w->env.full_reads)
        touched = NULL;
    if (line_rows(l, &db, err) < 0 || digest_read(db, touched, &o, &set, err) < 0)
        return -1;
    row_state_record(state, touched, &set, delta);
    return 0;
}

/* --- filling -------------------------------------------------------------------------------- */

/* The user's rows: those for any time, and those for after revision i. */
static struct given_rows *given_rows(const struct walk *w, size_t i, bool late, size_t *ret_n)
{
    struct given_rows *list = xcalloc(w->o->ngiven, sizeof(*list));
    *ret_n = 0;
    for (size_t k = 0; k < w->o->ngiven; k++) {
        const struct config_rows *g = &w->o->given[k];
        bool here = !g->at || (i < w->n && str_starts(graph_at(w->graph, i)->id, g->at));
        if (here && !g->at == !late)
            list[(*ret_n)++] = (struct given_rows){g->table, g->sql};
    }
    return list;
}

/* Rows that the user wants after revision i, whether the table is empty or not. */
static int add_late_rows(struct walk *w, struct db *db, size_t i, bool *ret_any, struct err *err)
{
    size_t n;
    _cleanup_free_ struct given_rows *late = given_rows(w, i, true, &n);
    *ret_any = n > 0;
    for (size_t k = 0; k < n; k++) {
        if (db_run(db, late[k].sql, DB_RUN_STATEMENTS, NULL, err) == 0)
            continue;
        if (err->code == ERR_SQL)
            err->code = ERR_CONFIG;
        return err_prefix(err, "rows for %s", late[k].table);
    }
    return 0;
}

/* kind: "table" or "column". */
static void note_unfilled(struct walk *w, size_t i, const char *kind,
                          const struct generate_report *report)
{
    struct finding *f = NULL;
    for (size_t k = 0; k < report->failed.n; k++) {
        const char *table = report->failed.v[k];
        if (strv_has(&w->rows.unfilled, table))
            continue;
        strv_add(&w->rows.unfilled, table);
        if (!f) {
            f = walk_add_finding(w, "rows-not-generated", i < w->n ? graph_at(w->graph, i) : NULL,
                                 STEP_UP);
            f->message = xasprintf(strcmp(kind, "table") == 0
                                       ? "no row could be made for %s: it stays empty"
                                       : "no value was made for %s, which was added to rows: they "
                                         "keep its default",
                                   table);
            f->hint = xstrdup("give rows for it in belay.yaml (rows:)");
        }
        f->changes = xgrow(f->changes, f->nchanges, &f->changes_cap, sizeof(*f->changes));
        f->changes[f->nchanges++] = (struct finding_change){
            .object = xasprintf("%s %s", kind, table),
            .text = xasprintf("%s %s: %s", kind, table, report->why.v[k]),
        };
    }
}

/* Fills what is empty among the tables (NULL: all), as after revision i (w->n: before the first). */
static int fill(struct walk *w, struct line *l, size_t i, const struct strv *tables,
                enum rows_kind kind, struct generate_report *ret,
                struct generate_report *ret_columns, bool *ret_late, struct err *err)
{
    size_t n;
    _cleanup_free_ struct given_rows *given = given_rows(w, i, false, &n);
    const struct generate_options o = {
        .rows = w->o->rows,
        .seed = w->o->seed,
        .kind = kind == ROWS_BENIGN ? GENERATE_BENIGN : GENERATE_ALL,
        .plain = &w->rows.plain,
        .given = given,
        .ngiven = n,
        .leave_out = w->env.schema.version_tables,
    };
    struct db *db = NULL;
    bool late = false;
    if (line_rows(l, &db, err) < 0)
        return -1;
    if ((!tables || tables->n) && generate_rows(db, tables, &o, ret, err) < 0)
        return -1;
    const struct rows_fill *f = i < w->n ? &w->rows.fills[i] : NULL;
    for (int left = 0; f && left < 2; left++) {
        const struct strv *new = left ? &f->left : &f->columns;
        for (size_t k = 0; k < new->n; k += 2)
            if (generate_column(db, new->v[k], new->v[k + 1],
                                left ? "its table has triggers or rules, which might change more"
                                     : NULL,
                                &o, ret_columns, err) < 0)
                return -1;
    }
    for (size_t k = 0; k < ret_columns->filled.n; k++)
        if (!strv_has(&ret->filled, ret_columns->filled.v[k]))
            strv_add(&ret->filled, ret_columns->filled.v[k]);
    if (add_late_rows(w, db, i, &late, err) < 0)
        return -1;
    if (ret_late)
        *ret_late = late;
    return 0;
}

int walk_rows_start(struct walk *w, struct line *l, size_t at, enum rows_kind kind, struct err *err)
{
    struct generate_report report = {0}, columns = {0};
    int rc = 0;
    if (kind != ROWS_NONE)
        rc = fill(w, l, at ? at - 1 : w->n, NULL, kind, &report, &columns, NULL, err);
    if (rc == 0)
        note_unfilled(w, at ? at - 1 : w->n, "table", &report);
    generate_report_release(&report);
    generate_report_release(&columns);
    return rc;
}

void walk_rows_add_start(struct walk *w, size_t at, enum rows_kind kind)
{
    struct walk_rows *x = &w->rows;
    x->starts = xgrow(x->starts, x->nstarts, &x->starts_cap, sizeof(*x->starts));
    x->starts[x->nstarts++] = (struct rows_start){at, kind};
    if (!x->next)
        return;
    line_free(w->clean);
    w->clean = TAKE_PTR(x->next);
    w->clean_at = at;
    x->clean_start = x->nstarts;
}

int walk_rows_begin(struct walk *w, size_t i, struct err *err)
{
    if (!w->rows.on || walk_has_rows(w) || !w->policy.checked[i])
        return 0;
    if (walk_rows_start(w, w->line, i, ROWS_ALL, err) < 0)
        return -1;
    walk_rows_add_start(w, i, ROWS_ALL);
    return walk_rows_read(w, w->line, NULL, &w->rows.now, NULL, err);
}

static bool have_triggers(const struct snapshot *s, const struct strv *tables);

/* Columns that the revision added to rows that were there. Where a trigger answers to each update,
 * filling them would change more. */
static void plan_columns(struct rows_fill *f, const struct snapshot *schema,
                         const struct digest *before, const struct digest *after)
{
    _cleanup_strv_ struct strv table = {0};
    strv_add(&table, after->name);
    if (!before || !before->sum.rows || !after->sum.rows)
        return;
    struct strv *list = have_triggers(schema, &table) ? &f->left : &f->columns;
    for (size_t i = 0; i < after->sum.ncolumns; i++) {
        const struct digest_column *c = &after->sum.columns[i];
        bool old = c->generated;
        for (size_t k = 0; k < before->sum.ncolumns && !old; k++)
            old = strcmp(before->sum.columns[k].name, c->name) == 0;
        if (old)
            continue;
        strv_add(list, after->name);
        strv_add(list, c->name);
    }
}

static bool was_filled(const struct row_state *s, const char *name)
{
    const struct digest *d = row_state_find(s, name);
    return d && d->sum.rows > 0;
}

void walk_rows_plan(struct walk *w, size_t i, const struct snapshot *schema,
                    const struct row_state *before, const struct row_state *after)
{
    struct rows_fill *f = &w->rows.fills[i];
    const struct rows_start *last = &w->rows.starts[w->rows.nstarts - 1];
    f->all = last->at == i && last->kind == ROWS_NONE;
    /* both are sorted: what is new or empty now, and was not */
    size_t k = 0;
    for (size_t j = 0; j < after->n && !f->all; j++) {
        const struct row_digest *d = after->v[j];
        while (k < before->n && strcmp(before->v[k]->digest.name, d->digest.name) < 0)
            k++;
        if (k < before->n && before->v[k] == d)
            continue; /* as it was */
        if (!d->digest.sequence)
            plan_columns(f, schema, row_state_find(before, d->digest.name), &d->digest);
        if (!d->digest.sequence && d->digest.sum.rows == 0 &&
            (was_filled(before, d->digest.name) || !row_state_find(before, d->digest.name)))
            strv_add(&f->tables, d->digest.name);
    }
}

/* True when rows inserted into one of the tables may change others. */
static bool have_triggers(const struct snapshot *s, const struct strv *tables)
{
    for (size_t i = 0; i < s->n; i++) {
        const struct object *o = s->objects[i];
        if (strcmp(o->kind, "trigger") != 0 && strcmp(o->kind, "rule") != 0)
            continue;
        const char *table = object_get(o, "table");
        for (size_t k = 0; k < tables->n; k++) {
            size_t n = strlen(tables->v[k]);
            if (str_eq(table, tables->v[k]) ||
                (strncmp(o->identity, tables->v[k], n) == 0 && o->identity[n] == '.'))
                return true;
        }
    }
    return false;
}

/* The sequences of the tables, which filling sets forward. */
static void add_sequences(const struct snapshot *s, struct strv *tables)
{
    size_t ntables = tables->n;
    for (size_t i = 0; i < s->n; i++) {
        const struct object *o = s->objects[i];
        const char *owner = NULL;
        if (strcmp(o->kind, "sequence") == 0) {
            owner = object_get(o, "owned by");
            owner = owner ? owner : object_get(o, "identity of");
        }
        for (size_t k = 0; owner && k < ntables; k++) {
            size_t n = strlen(tables->v[k]);
            if (strncmp(owner, tables->v[k], n) == 0 && owner[n] == '.')
                strv_add(tables, o->identity);
        }
    }
}

int walk_rows_refill(struct walk *w, struct line *l, size_t i, struct err *err)
{
    const struct rows_fill *f = &w->rows.fills[i];
    struct generate_report report = {0}, columns = {0};
    int rc = fill(w, l, i, f->all ? NULL : &f->tables, ROWS_ALL, &report, &columns, NULL, err);
    generate_report_release(&report);
    generate_report_release(&columns);
    return rc;
}

int walk_rows_fill(struct walk *w, size_t i, struct err *err)
{
    const struct rows_fill *f = &w->rows.fills[i];
    struct generate_report report = {0}, columns = {0};
    bool late = false;
    int rc =
        fill(w, w->line, i, f->all ? NULL : &f->tables, ROWS_ALL, &report, &columns, &late, err);
    if (rc == 0) {
        note_unfilled(w, i, "table", &report);
        note_unfilled(w, i, "column", &columns);
        bool all = f->all || late || have_triggers(w->state, &report.filled);
        if (!all)
            add_sequences(w->state, &report.filled);
        rc = walk_rows_read(w, w->line, all ? NULL : &report.filled, &w->rows.now,
                            &w->rows.deltas[i], err);
    }
    generate_report_release(&report);
    generate_report_release(&columns);
    return rc;
}

int walk_rows_restored(struct walk *w, size_t upto, struct err *err)
{
    if (!walk_has_rows(w))
        return 0;
    return walk_rows_read(w, w->line, NULL, &w->rows.now, upto ? &w->rows.deltas[upto - 1] : NULL,
                          err);
}

int walk_empty_line(struct walk *w, size_t upto, struct line **ret, struct err *err)
{
    struct walk_rows *x = &w->rows;
    if (x->empty && x->empty_at > upto)
        line_free(TAKE_PTR(x->empty));
    if (w->exclusive) {
        line_free(TAKE_PTR(w->line));
        line_free(TAKE_PTR(w->clean));
        line_free(TAKE_PTR(x->empty));
        if (walk_reset_server(w, err) < 0)
            return -1;
    }
    if (!x->empty) {
        if (line_new(&w->env, &x->empty, err) < 0)
            return -1;
        x->empty_at = 0;
    }
    for (; x->empty_at < upto; x->empty_at++) {
        walk_progress(w, "to an empty state", graph_at(w->graph, x->empty_at)->id);
        if (!w->skipped[x->empty_at] && walk_replay(w, x->empty, x->empty_at, STEP_UP, err) < 0)
            return -1;
    }
    if (!w->exclusive)
        return line_copy(x->empty, NULL, ret, err);
    *ret = TAKE_PTR(x->empty);
    return 0;
}

void walk_rows_release(struct walk *w)
{
    struct walk_rows *x = &w->rows;
    row_state_release(&x->now);
    for (size_t i = 0; x->deltas && i < w->n; i++)
        row_delta_release(&x->deltas[i]);
    for (size_t i = 0; x->fills && i < w->n; i++) {
        strv_release(&x->fills[i].tables);
        strv_release(&x->fills[i].columns);
        strv_release(&x->fills[i].left);
    }
    for (size_t i = 0; i < x->nmarks; i++) {
        free(x->marks[i].table);
        free(x->marks[i].column);
    }
    free(x->deltas);
    free(x->fills);
    free(x->starts);
    free(x->marks);
    strv_release(&x->unfilled);
    strv_release(&x->plain);
    line_free(x->empty);
    line_free(x->next);
}

int walk_rows_proved(struct walk *w, bool *ret, struct err *err)
{
    struct row_state all = {0};
    struct digest_set expected, actual;
    struct digest_changes changes = {0};
    *ret = true;
    if (!walk_has_rows(w) || w->env.full_reads || !w->line)
        return 0;
    if (walk_rows_read(w, w->line, NULL, &all, NULL, err) < 0)
        return -1;
    row_state_view(&w->rows.now, NULL, &expected);
    row_state_view(&all, NULL, &actual);
    digest_compare(&expected, &actual, &changes);
    *ret = changes.n == 0;
    digest_changes_release(&changes);
    free(expected.v);
    free(actual.v);
    row_state_release(&all);
    return 0;
}
