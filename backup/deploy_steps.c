#include "backup/deploy_impl.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    BACKOFF_MS = 200,      /* before a step is tried again, doubled each time */
    BACKOFF_DOUBLINGS = 6, /* up to 13 s */
    PAUSE_STEP_MS = 50,
    LOCK_RETRIES_BACK = 10, /* of a downgrade, whatever was asked for */
};

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

/* The deadline has come, or a signal: no use in trying again. */
static bool watch_is_over(const struct watch *w)
{
    return (w->deadline.tv_sec && is_past(&w->deadline)) || (w->stop && *w->stop);
}

static void watch_pause(const struct watch *w, int ms)
{
    for (; ms > 0 && !watch_is_over(w); ms -= PAUSE_STEP_MS)
        nanosleep(&(struct timespec){.tv_nsec = PAUSE_STEP_MS * 1000000L}, NULL);
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

/* As the timeouts of the session; the way back must not fail for a statement that takes long. */
static int prepare(struct deploy *d, struct migrator *m, enum step_direction direction,
                   struct err *err)
{
    _cleanup_strv_ struct strv sql = {0};
    if (d->o->engine != &engine_postgres)
        return 0;
    if (d->o->lock_timeout_ms)
        strv_add_take(&sql, xasprintf("set lock_timeout = %d", d->o->lock_timeout_ms));
    if (d->o->statement_timeout_ms && direction == STEP_UP)
        strv_add_take(&sql, xasprintf("set statement_timeout = %d", d->o->statement_timeout_ms));
    return sql.n ? migrator_prepare(m, &sql, err) : 0;
}

static void add_hint(const struct deploy *d, struct err *failure)
{
    if (strcmp(failure->sqlstate, "55P03") == 0)
        err_hint(
            failure,
            "others hold the lock for longer: deploy when less is going on, or give it more with "
            "--lock-timeout or --lock-retries");
    else if (strcmp(failure->sqlstate, "57014") == 0 && d->o->statement_timeout_ms)
        err_hint(failure, "no statement may take longer than --statement-timeout, %d ms",
                 d->o->statement_timeout_ms);
}

/* One step, once. *ret_again: it got no lock, and nothing of it was committed. */
static int run_once(struct deploy *d, struct migrator *m, const struct revision *r,
                    enum step_direction direction, bool *ret_again, struct err *ret_failure,
                    struct err *err)
{
    const struct step_touched nothing = {.known = true};
    const char *name = direction_name(direction);
    _cleanup_err_ struct err failed = {0};
    struct step_result s = {0};
    deploy_progress(d, name, r->id);
    if (deploy_ours_session(d, m, err) < 0 ||
        journal_note(d->journal, d->entry->id, name, r->id, err) < 0)
        return -1;
    judge(migrator_step(m, r, direction, true, &s, &failed), r, direction, &s, &failed,
          ret_failure);
    bool good = !err_is_set(ret_failure);
    bool back = !good && migrator_rolled_back(m);
    *ret_again = back && strcmp(ret_failure->sqlstate, "55P03") == 0;
    _cleanup_free_ char *text = xasprintf("%s: %.3f s", r->id, s.seconds);
    int rc = deploy_ours_add(d, good ? &s.touched : back ? &nothing : NULL, err);
    step_result_release(&s);
    return rc < 0 || (good && journal_note(d->journal, d->entry->id, "done", text, err) < 0) ? -1
                                                                                             : 0;
}

/* Waits longer each time, for others to let go of what the step wants to lock. */
static int run_one(struct deploy *d, struct watch *w, const struct revision *r,
                   enum step_direction direction, struct err *ret_failure, struct err *err)
{
    int retries = d->o->lock_retries;
    if (direction == STEP_DOWN && retries < LOCK_RETRIES_BACK)
        retries = LOCK_RETRIES_BACK;
    for (int n = 0;; n++) {
        bool again = false;
        if (run_once(d, w->migrator, r, direction, &again, ret_failure, err) < 0)
            return -1;
        if (!again || n == retries || watch_is_over(w)) {
            if (n)
                deploy_say(d, "%s: tried %d times, for want of a lock", r->id, n + 1);
            add_hint(d, ret_failure);
            return 0;
        }
        if (journal_note(d->journal, d->entry->id, "no lock", r->id, err) < 0)
            return -1;
        err_release(ret_failure);
        deploy_progress(d, "waiting for a lock", r->id);
        watch_pause(w, BACKOFF_MS << (n < BACKOFF_DOUBLINGS ? n : BACKOFF_DOUBLINGS));
    }
}

static int run(struct deploy *d, struct watch *w, const struct revisions *list,
               enum step_direction direction, struct err *ret_failure, struct err *err)
{
    for (size_t i = 0; i < list->n && !err_is_set(ret_failure); i++) {
        const struct revision *r = list->v[i];
        if (direction == STEP_UP && d->o->stop && *d->o->stop)
            return err_set(ret_failure, ERR_INTERRUPTED, "interrupted before %s", r->id), 0;
        if (run_one(d, w, r, direction, ret_failure, err) < 0)
            return -1;
    }
    return 0;
}

int deploy_steps(struct deploy *d, const struct revisions *list, enum step_direction direction,
                 struct err *ret_failure, struct err *err)
{
    _cleanup_(cleanup_migrator_close) struct migrator *m = NULL;
    if (migrator_open_own(d->o->source, d->o->engine, d->url, DB_OPEN_DEFAULT, &m, ret_failure) < 0)
        return 0;
    migrator_watch(m);
    migrator_on_transaction(m, deploy_ours_transaction, d);
    deploy_ours_begin(d, m);
    if (prepare(d, m, direction, ret_failure) < 0)
        return 0;
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
    int rc = run(d, &w, list, direction, ret_failure, err);
    watch_end(&w);
    deploy_ours_done(d, m);
    deploy_lost_after_steps(d);
    if (w.late && err_is_set(ret_failure)) {
        err_prefix(ret_failure, "the deadline of %d ms has come", d->o->deadline_ms);
        err_hint(ret_failure, "give it more with --deadline, or find out in a rehearsal how long "
                              "the revision takes");
    }
    return rc;
}
