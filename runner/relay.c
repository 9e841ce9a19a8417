/* The lower part of the descent, on a copy, while another thread climbs on. */
#include <stdatomic.h>
#include <stdlib.h>

#include "harness/data/compare.h"
#include "runner/walk.h"

struct relay {
    pthread_t thread;
    atomic_bool stop;
    struct walk *walk; /* of the climb: what it has recorded below S(from) stays as it is */
    size_t from, to;
    struct snapshot *top;  /* S(from) */
    struct row_state rows; /* R(from) */
    struct line_env env;   /* the thread's own until it has ended, as all below */
    struct line *line;
    bool done; /* the thread has ended and was waited for */

    bool equal; /* every stop down to S(to) was, and reading only what changed missed nothing */
};

/* Sequences are left out: filling moves them on, and the climb has compared them. */
static bool rows_equal(const struct row_state *a, const struct row_state *b,
                       const struct strv *names)
{
    struct digest_set before, after;
    struct digest_changes changes = {0};
    bool equal = true;
    row_state_view(a, names, &before);
    row_state_view(b, names, &after);
    digest_compare(&before, &after, &changes);
    for (size_t i = 0; i < changes.n; i++)
        equal = equal && changes.v[i].before->sequence;
    digest_changes_release(&changes);
    free(before.v);
    free(after.v);
    return equal;
}

/* From S(i+1) to S(i). *expected is the state at the one, then at the other. */
static int stop_at(struct relay *r, size_t i, struct snapshot **expected,
                   struct row_state *expected_rows, struct row_state *actual_rows, bool *ret_equal,
                   struct err *err)
{
    struct walk *w = r->walk;
    _cleanup_(step_result_release) struct step_result step = {0};
    _cleanup_snapshot_ struct snapshot *actual = NULL;
    _cleanup_strv_ struct strv names = {0};
    const struct strv *looked_at;
    *ret_equal = false;
    if (line_step(r->line, graph_at(w->graph, i), STEP_DOWN, &step, err) < 0)
        return -1;
    if (step.outcome != STEP_OK && step.outcome != STEP_EMPTY)
        return 0;
    if (line_read(r->line, false, &actual, err) < 0 ||
        walk_read_stop(w, r->line, i, &step, actual_rows, &names, &looked_at, err) < 0)
        return -1;
    struct snapshot *below = delta_apply(*expected, &w->deltas[i], true);
    snapshot_free(*expected);
    *expected = below;
    row_state_undo(expected_rows, &w->rows.deltas[i]);
    *ret_equal = snapshot_equal(below, actual) && rows_equal(expected_rows, actual_rows, looked_at);
    return 0;
}

static int descend(struct relay *r, struct row_state *expected_rows, struct row_state *actual_rows,
                   struct err *err)
{
    _cleanup_snapshot_ struct snapshot *expected = snapshot_ref(r->top);
    bool equal = true;
    for (size_t i = r->from; equal && i-- > r->to;) {
        if (atomic_load(&r->stop))
            return 0;
        if (stop_at(r, i, &expected, expected_rows, actual_rows, &equal, err) < 0)
            return -1;
    }
    return equal ? line_proved(r->line, &r->equal, err) : 0;
}

static void *run(void *data)
{
    struct relay *r = data;
    _cleanup_err_ struct err ignored = {0}; /* it comes again when its turn has come */
    struct row_state expected_rows = {0}, actual_rows = {0};
    row_state_copy(&r->rows, &expected_rows);
    row_state_copy(&r->rows, &actual_rows);
    descend(r, &expected_rows, &actual_rows, &ignored);
    row_state_release(&expected_rows);
    row_state_release(&actual_rows);
    line_free(TAKE_PTR(r->line));
    return NULL;
}

static void relay_free(struct relay *r)
{
    line_free(r->line);
    snapshot_free(r->top);
    row_state_release(&r->rows);
    free(r);
}

void walk_relay_start(struct walk *w)
{
    size_t from =
        w->n - w->n / 4; /* a step of the climb takes about as long as three of the descent */
    if (w->at != from || from <= w->segment || w->relay || !walk_has_rows(w) || w->exclusive ||
        !w->line || !walk_may_go_ahead(w))
        return;
    for (size_t i = w->segment; i < from; i++)
        if (w->skipped[i])
            return;
    _cleanup_err_ struct err ignored = {0};
    struct relay *r = xcalloc(1, sizeof(*r));
    *r = (struct relay){.walk = w, .from = from, .to = w->segment, .env = w->env};
    r->env.filter = NULL;
    r->top = snapshot_copy(w->state);
    row_state_copy(&w->rows.now, &r->rows);
    if (line_copy(w->line, &r->env, &r->line, &ignored) == 0 &&
        walk_start_thread(&r->thread, run, r) == 0)
        w->relay = r;
    else
        relay_free(r);
}

bool walk_relay_take(struct walk *w, size_t from, size_t to, const struct snapshot *state,
                     const struct row_state *rows, const struct row_state *actual)
{
    struct relay *r = w->relay;
    if (!r || r->from != from || r->to > to || to >= from)
        return false;
    walk_progress(w, "descent", NULL);
    if (!r->done)
        pthread_join(r->thread, NULL);
    r->done = true;
    if (!r->equal || !snapshot_equal(r->top, state) || !rows_equal(rows, actual, NULL) ||
        !rows_equal(&r->rows, rows, NULL))
        return false;
    w->env.steps += from - to;
    w->done += from - to;
    return true;
}

void walk_relay_free(struct walk *w)
{
    struct relay *r = TAKE_PTR(w->relay);
    if (!r)
        return;
    atomic_store(&r->stop, true);
    if (!r->done)
        pthread_join(r->thread, NULL);
    relay_free(r);
}
