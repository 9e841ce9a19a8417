/* The way down from the end, and the straight run up. */
#include "runner/walk.h"

#include <stdlib.h>
#include <string.h>

/* --- the descent ---------------------------------------------------------------------------- */

/* A descent that failed goes on below from a fresh replay; after so many it is enough. */
#define MAX_RESUMES 8

/* What the descent came to; the worst that was said stays. */
static void set_descent(struct walk *w, const char *word)
{
    bool failed = str_eq(w->result->descent, "failed") && str_eq(word, "differs");
    if (!failed) {
        free(w->result->descent);
        w->result->descent = xstrdup(word);
    }
}

int walk_read_stop(struct walk *w, struct line *l, size_t i, const struct step_result *s,
                   struct row_state *actual, struct strv *names, const struct strv **ret,
                   struct err *err)
{
    const struct row_delta *up = &w->rows.deltas[i];
    const struct strv *touched = walk_rows_touched(w, i, s, names);
    if (walk_rows_read(w, l, touched, actual, NULL, err) < 0)
        return -1;
    for (size_t k = 0; touched && k < up->n; k++)
        strv_add(names, (up->v[k].before ? up->v[k].before : up->v[k].after)->digest.name);
    *ret = touched;
    return 0;
}

static int compare_stop(struct walk *w, struct line *l, size_t i, size_t from,
                        const struct row_state *expected, struct row_state *actual,
                        const struct step_result *s, struct err *err)
{
    _cleanup_strv_ struct strv names = {0};
    const struct strv *looked_at;
    bool blamed;
    if (!walk_has_rows(w))
        return 0;
    if (walk_read_stop(w, l, i, s, actual, &names, &looked_at, err) < 0 ||
        walk_judge_stop(w, i, from, expected, actual, looked_at, &blamed, err) < 0)
        return -1;
    if (blamed)
        set_descent(w, "differs");
    return 0;
}

static int descent_failed(struct walk *w, size_t i, size_t from, const struct step_result *s,
                          struct err *err)
{
    enum rows_guilt guilt = ROWS_INNOCENT;
    if (walk_has_rows(w) && !w->exclusive &&
        walk_judge_stop_failure(w, i, &s->err, &guilt, err) < 0)
        return -1;
    _cleanup_free_ char *meaning =
        guilt == ROWS_INNOCENT
            ? xasprintf("the downgrade works right after the upgrade, and fails on the way down "
                        "from %s",
                        graph_at(w->graph, from - 1)->id)
        : guilt == ROWS_ANY
            ? xstrdup("the downgrade works on what the upgrade leaves, and fails on rows that are "
                      "written after it")
            : xstrdup("the downgrade fails on rows that the schema above it allows");
    struct finding *f = walk_add_finding(w,
                                         guilt == ROWS_INNOCENT ? "descent-fails"
                                         : guilt == ROWS_ANY    ? "downgrade-fails-on-rows"
                                                                : "downgrade-depends-on-data",
                                         graph_at(w->graph, i), STEP_DOWN);
    finding_from_err(f, &s->err);
    finding_explain(f, meaning);
    if (guilt == ROWS_INNOCENT)
        set_descent(w, "failed");
    return 0;
}

/*
 * Takes the line from S(from) down to S(to), comparing each stop. The line may be replaced.
 * *state is S(from) and is used up.
 */
static int descend(struct walk *w, struct line **line, struct snapshot **expected,
                   struct row_state *rows, size_t from, size_t to, struct err *err)
{
    struct row_state actual_rows = {0};
    int resumes = 0, rc = -1;
    bool exact = true;
    row_state_copy(rows, &actual_rows);
    for (size_t i = from; i-- > to;) {
        const struct revision *r = graph_at(w->graph, i);
        if (exact && walk_relay_take(w, i + 1, to, *expected, rows, &actual_rows))
            break;
        row_state_undo(rows, &w->rows.deltas[i]);
        if (w->skipped[i])
            continue;
        struct snapshot *below = delta_apply(*expected, &w->deltas[i], true);
        snapshot_free(*expected);
        *expected = below;

        _cleanup_(step_result_release) struct step_result s = {0};
        _cleanup_snapshot_ struct snapshot *actual = NULL;
        _cleanup_diff_ struct diff d = {0};
        walk_progress(w, "descent", r->id);
        w->done++;
        if (line_step(*line, r, STEP_DOWN, &s, err) < 0)
            goto out;
        bool worked = s.outcome == STEP_OK || s.outcome == STEP_EMPTY;
        if (!worked && descent_failed(w, i, from, &s, err) < 0)
            goto out;
        if (worked && line_read(*line, false, &actual, err) < 0)
            goto out;
        if (worked && compare_stop(w, *line, i, from, rows, &actual_rows, &s, err) < 0)
            goto out;
        exact = worked && snapshot_equal(*expected, actual);
        if (worked && !walk_differs(w, *expected, actual, &d))
            continue;
        if (worked) {
            struct finding *f =
                walk_add_difference(w, "descent-differs", r, STEP_DOWN, &d,
                                    "on the way down from the end, the downgrade does not "
                                    "give back the schema of the way up");
            f->hint = diff_hint(&d);
            set_descent(w, "differs");
        }
        if (i == to)
            break;
        if (++resumes > MAX_RESUMES || w->exclusive) {
            _cleanup_free_ char *word = xasprintf("not run below %s", r->id);
            set_descent(w, word);
            break;
        }
        line_free(TAKE_PTR(*line));
        if (walk_new_line(w, i, line, err) < 0)
            goto out;
        row_state_release(&actual_rows);
        if (walk_has_rows(w) && walk_rows_read(w, *line, NULL, &actual_rows, NULL, err) < 0)
            goto out;
    }
    rc = 0;
out:
    row_state_release(&actual_rows);
    return rc;
}

int walk_descend(struct walk *w, struct line **line, struct snapshot *state,
                 const struct row_state *rows, size_t from, size_t to, struct err *err)
{
    _cleanup_snapshot_ struct snapshot *expected = state;
    struct row_state expected_rows = {0};
    row_state_copy(rows, &expected_rows);
    int rc = descend(w, line, &expected, &expected_rows, from, to, err);
    row_state_release(&expected_rows);
    return rc;
}

/* Descends the segment that ends at S(w->at), on a copy of the clean state. A segment of one
 * revision has been down already. */
int walk_descend_segment(struct walk *w, size_t end, const struct snapshot *state,
                         const struct row_state *rows, struct err *err)
{
    /* a single revision has been down already, but not with rows in the tables that it made */
    if (end < w->segment + (walk_has_rows(w) ? 1 : 2) || w->o->quick)
        return 0;
    _cleanup_line_ struct line *l = NULL;
    if (walk_clean_line(w, end, &l, err) < 0)
        return -1;
    return walk_descend(w, &l, snapshot_copy(state), rows, end, w->segment, err);
}

/* --- the straight run ----------------------------------------------------------------------- */

/* The last revision that touched an object that differs; what only the straight run made, none did.
 */
static const struct revision *last_to_touch(struct walk *w, const struct diff *d)
{
    for (size_t i = w->n; i-- > 0;) {
        for (size_t k = 0; k < d->n; k++) {
            const struct change *c = &d->changes[k];
            if (delta_touches(&w->deltas[i], c->before ? c->before : c->after))
                return graph_at(w->graph, i);
        }
    }
    return NULL;
}

int walk_straight_run(struct walk *w, char **ret, struct err *err)
{
    for (size_t i = 0; i < w->n; i++) {
        if (w->skipped[i]) {
            *ret = xasprintf("not run: %s does not upgrade", graph_at(w->graph, i)->id);
            return 0;
        }
    }
    if (w->exclusive) {
        if (!scratch_pool_is_private(w->o->pool)) {
            *ret = xstrdup("not run: the history makes roles, and the server is not belay's own");
            return 0;
        }
        line_free(TAKE_PTR(w->line));
        line_free(TAKE_PTR(w->clean));
        if (walk_reset_server(w, err) < 0)
            return -1;
    }
    _cleanup_line_ struct line *l = NULL;
    _cleanup_snapshot_ struct snapshot *s = NULL, *stepwise = NULL;
    _cleanup_diff_ struct diff d = {0};
    _cleanup_revisions_ struct revisions all = {0};
    _cleanup_(step_result_release) struct step_result step = {0};
    size_t done = 0;
    for (size_t i = 0; i < w->n; i++)
        revisions_add(&all, graph_at(w->graph, i));
    walk_progress(w, "straight run", NULL);
    if (line_new(&w->env, &l, err) < 0 || line_straight(l, &all, &done, &step, err) < 0)
        return -1;
    w->done += done;
    if (step.outcome == STEP_FAILED) {
        struct finding *f =
            walk_add_finding(w, "straight-run-fails", done < w->n ? all.v[done] : NULL, STEP_UP);
        finding_from_err(f, &step.err);
        finding_explain(
            f, "upgrading from base to head in one go fails here, though each revision works "
               "alone");
        *ret = xstrdup("failed");
        return 0;
    }
    if (line_read(l, true, &s, err) < 0)
        return -1;
    *ret = xstrdup("equal");
    if (!walk_differs(w, w->state, s, &d))
        return 0;
    /* is it the one go, or any second run? */
    _cleanup_line_ struct line *again = NULL;
    line_free(TAKE_PTR(l));
    if (walk_clean_line(w, w->n, &again, err) < 0 || line_read(again, true, &stepwise, err) < 0)
        return -1;
    walk_add_noise(w, NULL, w->state, stepwise);
    diff_release(&d);
    if (!walk_differs(w, w->state, s, &d))
        return 0;
    free(*ret);
    *ret = xstrdup("differs");
    walk_add_difference(
        w, "straight-run-differs", last_to_touch(w, &d), STEP_UP, &d,
        "upgrading from base to head in one go gives another schema than step by step");
    return 0;
}
