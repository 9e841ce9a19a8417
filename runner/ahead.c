/* The straight run and the descent, while another thread climbs. */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "runner/walk.h"

/* Below this many revisions a second server takes longer to start than it saves. */
#define WORTH_A_THREAD 50

struct ahead {
    pthread_t thread;
    atomic_bool stop;
    const struct graph *graph;
    size_t n;
    bool own_server;
    bool descend;        /* with rows the descent needs those of the climb */
    struct line_env env; /* the thread's own until it has ended, as all below */

    struct snapshot *top; /* S(n), where the straight run arrived; NULL: it did not */
    struct delta *deltas; /* deltas[i]: S(i) to S(i+1), as seen on the way down */
    size_t reached;       /* the lowest stop that was read */
    bool proved;          /* reading only what changed missed nothing */
};

static int straight(struct ahead *a, struct line *l, struct err *err)
{
    _cleanup_revisions_ struct revisions all = {0};
    _cleanup_(step_result_release) struct step_result step = {0};
    size_t done = 0;
    for (size_t i = 0; i < a->n; i++)
        revisions_add(&all, graph_at(a->graph, i));
    if (line_straight(l, &all, &done, &step, err) < 0 || step.outcome == STEP_FAILED)
        return -1;
    if (line_read(l, true, &a->top, err) < 0)
        return -1;
    line_close_sessions(l); /* they have gone through the whole history, as no descent has */
    return 0;
}

static int descend(struct ahead *a, struct line *l, struct err *err)
{
    _cleanup_snapshot_ struct snapshot *above = snapshot_ref(a->top);
    for (a->reached = a->n; a->reached > 0 && !atomic_load(&a->stop); a->reached--) {
        size_t i = a->reached - 1;
        _cleanup_(step_result_release) struct step_result step = {0};
        struct snapshot *below = NULL;
        if (line_step(l, graph_at(a->graph, i), STEP_DOWN, &step, err) < 0)
            return -1;
        if (step.outcome != STEP_OK && step.outcome != STEP_EMPTY)
            break;
        if (line_read(l, false, &below, err) < 0)
            return -1;
        delta_between(below, above, &a->deltas[i]);
        snapshot_free(above);
        above = below;
    }
    return line_proved(l, &a->proved, err);
}

static void *run(void *data)
{
    struct ahead *a = data;
    _cleanup_err_ struct err ignored = {0}; /* it comes again when its turn has come */
    _cleanup_pool_ struct scratch_pool *own = NULL;
    _cleanup_line_ struct line *l = NULL;
    if (a->own_server &&
        scratch_pool_open(a->env.engine, &(struct scratch_options){0}, &own, &ignored) < 0)
        return NULL;
    if (own)
        a->env.pool = own;
    if (!atomic_load(&a->stop) && line_new(&a->env, &l, &ignored) == 0 &&
        straight(a, l, &ignored) == 0 && a->descend)
        descend(a, l, &ignored);
    return NULL;
}

static void ahead_free(struct ahead *a)
{
    snapshot_free(a->top);
    for (size_t i = 0; i < a->n; i++)
        delta_release(&a->deltas[i]);
    free(a->deltas);
    free(a);
}

bool walk_may_go_ahead(const struct walk *w)
{
    const struct check_options *o = w->o;
    /* roles belong to the whole server, so that on somebody's server nothing runs beside the climb;
     * what is ignored is noted in the policy, which is not for two threads */
    bool worth = o->two_threads > 0 || (o->two_threads == 0 && w->n >= WORTH_A_THREAD);
    return worth && !o->quick && !o->nignores && scratch_pool_is_private(o->pool);
}

/* Signals are for the main thread, whose waits they end. */
int walk_start_thread(pthread_t *ret, void *(*body)(void *), void *data)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int rc = pthread_create(ret, NULL, body, data);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return rc;
}

void walk_ahead_start(struct walk *w)
{
    const struct check_options *o = w->o;
    if (!walk_may_go_ahead(w))
        return;
    struct ahead *a = xcalloc(1, sizeof(*a));
    a->graph = w->graph;
    a->n = a->reached = w->n;
    a->deltas = xcalloc(a->n, sizeof(*a->deltas));
    a->own_server = o->engine == &engine_postgres;
    a->descend = o->rows <= 0;
    a->env = w->env;
    a->env.filter = NULL;
    a->env.watch = false;
    if (walk_start_thread(&a->thread, run, a) == 0)
        w->ahead = a;
    else
        ahead_free(a);
}

void walk_ahead_finish(struct walk *w, bool *ret_straight, bool *ret_descent)
{
    struct ahead *a = TAKE_PTR(w->ahead);
    if (!a)
        return;
    walk_progress(w, "descent and straight run", NULL);
    pthread_join(a->thread, NULL);
    bool equal = a->top && snapshot_equal(a->top, w->state);
    bool down = equal && a->proved && a->reached <= w->segment;
    for (size_t i = w->segment; down && i < a->n; i++)
        down = delta_equal(&a->deltas[i], &w->deltas[i]);
    size_t steps = (equal ? a->n : 0) + (down ? a->n - w->segment : 0);
    w->env.steps += steps;
    w->done += steps;
    *ret_straight = equal;
    *ret_descent = down;
    ahead_free(a);
}

void walk_ahead_free(struct walk *w)
{
    struct ahead *a = TAKE_PTR(w->ahead);
    if (!a)
        return;
    atomic_store(&a->stop, true);
    pthread_join(a->thread, NULL);
    ahead_free(a);
}
