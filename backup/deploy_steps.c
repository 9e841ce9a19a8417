#include "backup/deploy_impl.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/*
 * Cancels the step that runs when the deadline has come or a signal asks for the end. A thread, because
 * the step itself waits for the server.
 */
struct watch {
    struct migrator *migrator;
    const volatile sig_atomic_t *stop;
    struct timespec deadline; /* tv_sec 0: none */
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    pthread_t thread;
    bool running, ended, late;
};

static bool is_past(const struct timespec *t)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec > t->tv_sec || (now.tv_sec == t->tv_sec && now.tv_nsec >= t->tv_nsec);
}

static void *watch_main(void *data)
{
    struct watch *w = data;
    bool cancelled = false;
    pthread_mutex_lock(&w->mutex);
    while (!w->ended) {
        struct timespec next;
        clock_gettime(CLOCK_MONOTONIC, &next);
        next.tv_nsec += 50000000; /* a signal handler cannot wake a condition */
        next.tv_sec += next.tv_nsec / 1000000000;
        next.tv_nsec %= 1000000000;
        pthread_cond_timedwait(&w->changed, &w->mutex, &next);
        bool late = w->deadline.tv_sec && is_past(&w->deadline);
        if (w->ended || cancelled || !(late || (w->stop && *w->stop)))
            continue;
        w->late = late;
        cancelled = true;
        migrator_cancel(w->migrator);
    }
    pthread_mutex_unlock(&w->mutex);
    return NULL;
}

static int watch_start(struct watch *w, struct err *err)
{
    pthread_condattr_t attr;
    pthread_mutex_init(&w->mutex, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&w->changed, &attr);
    pthread_condattr_destroy(&attr);
    errno = pthread_create(&w->thread, NULL, watch_main, w);
    w->running = errno == 0;
    return w->running ? 0 : err_errno(err, "cannot start a thread");
}

static void watch_end(struct watch *w)
{
    if (w->running) {
        pthread_mutex_lock(&w->mutex);
        w->ended = true;
        pthread_cond_signal(&w->changed);
        pthread_mutex_unlock(&w->mutex);
        pthread_join(w->thread, NULL);
    }
    pthread_cond_destroy(&w->changed);
    pthread_mutex_destroy(&w->mutex);
}

/* ---- the steps ---- */

static const char *direction_name(enum step_direction direction)
{
    return direction == STEP_UP ? "upgrade" : "downgrade";
}

/* What the migrator said, as one error; ERR_NONE when the step was done. */
static void judge(int rc, const struct revision *r, enum step_direction direction,
                  struct step_result *s, struct err *failed, struct err *ret)
{
    if (rc == 0 && (s->outcome == STEP_OK || s->outcome == STEP_EMPTY))
        return;
    err_move(ret, rc < 0 ? failed : &s->err);
    if (!err_is_set(ret))
        err_set(ret, ERR_SOURCE, "there is no downgrade");
    if (!ret->file)
        err_at(ret, direction == STEP_DOWN && r->down_file ? r->down_file : r->file, 0, 0);
    err_prefix(ret, "%s of %s", direction_name(direction), r->id);
}

static int note_touched(struct deploy *d, struct migrator *m, bool failed,
                        const struct step_touched *touched, struct err *err)
{
    const struct step_touched nothing = {.known = true};
    if (!failed)
        return deploy_ours_add(d, touched, err);
    return deploy_ours_add(d, migrator_rolled_back(m) ? &nothing : NULL, err);
}

static int run(struct deploy *d, struct migrator *m, const struct revisions *list,
               enum step_direction direction, struct err *ret_failure, struct err *err)
{
    const char *name = direction_name(direction);
    for (size_t i = 0; i < list->n && !err_is_set(ret_failure); i++) {
        const struct revision *r = list->v[i];
        _cleanup_err_ struct err failed = {0};
        struct step_result s = {0};
        if (direction == STEP_UP && d->o->stop && *d->o->stop)
            return err_set(ret_failure, ERR_INTERRUPTED, "interrupted before %s", r->id), 0;
        deploy_progress(d, name, r->id);
        if (deploy_ours_session(d, m, err) < 0 ||
            journal_note(d->journal, d->entry->id, name, r->id, err) < 0)
            return -1;
        judge(migrator_step(m, r, direction, true, &s, &failed), r, direction, &s, &failed,
              ret_failure);
        _cleanup_free_ char *text = xasprintf("%s: %.3f s", r->id, s.seconds);
        int rc = note_touched(d, m, err_is_set(ret_failure), &s.touched, err);
        step_result_release(&s);
        if (rc < 0)
            return -1;
        if (!err_is_set(ret_failure) &&
            journal_note(d->journal, d->entry->id, "done", text, err) < 0)
            return -1;
    }
    return 0;
}

int deploy_steps(struct deploy *d, const struct revisions *list, enum step_direction direction,
                 struct err *ret_failure, struct err *err)
{
    _cleanup_(cleanup_migrator_close) struct migrator *m = NULL;
    if (migrator_open_own(d->o->source, d->o->engine, d->o->url, DB_OPEN_DEFAULT, &m, ret_failure) <
        0)
        return 0;
    migrator_watch(m);
    /* nothing may keep the way back from its end */
    struct watch w = {.migrator = m, .stop = direction == STEP_UP ? d->o->stop : NULL};
    if (d->o->deadline_ms) {
        clock_gettime(CLOCK_MONOTONIC, &w.deadline);
        w.deadline.tv_sec += d->o->deadline_ms / 1000;
        w.deadline.tv_nsec += d->o->deadline_ms % 1000 * 1000000L;
    }
    if (watch_start(&w, ret_failure) < 0) {
        watch_end(&w);
        return 0;
    }
    int rc = run(d, m, list, direction, ret_failure, err);
    watch_end(&w);
    if (w.late && err_is_set(ret_failure)) {
        err_prefix(ret_failure, "the deadline of %d ms has come", d->o->deadline_ms);
        err_hint(ret_failure, "give it more with --deadline, or find out in a rehearsal how long "
                              "the revision takes");
    }
    return rc;
}
