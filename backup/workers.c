#include "backup/workers.h"

#include <pthread.h>
#include <stdatomic.h>

enum { THREADS_MAX = 64 };

struct workers {
    int (*work)(struct workers *w, void *data, struct err *err);
    void *data;
    struct canceller *cancel; /* or NULL */
    atomic_bool stopped;
    pthread_mutex_t lock; /* of err */
    struct err err;
};

bool workers_stopped(struct workers *w)
{
    return atomic_load(&w->stopped);
}

static void *run(void *data)
{
    struct workers *w = data;
    _cleanup_err_ struct err err = {0};
    if (w->work(w, w->data, &err) < 0) {
        pthread_mutex_lock(&w->lock);
        bool first = !atomic_exchange(&w->stopped, true);
        if (first)
            err_move(&w->err, &err);
        pthread_mutex_unlock(&w->lock);
        if (first && w->cancel)
            canceller_now(w->cancel);
    }
    return NULL;
}

int workers_run(int n, int (*work)(struct workers *w, void *data, struct err *err), void *data,
                struct canceller *cancel, struct err *err)
{
    struct workers w = {.work = work, .data = data, .cancel = cancel};
    pthread_t threads[THREADS_MAX];
    int started = 0;
    pthread_mutex_init(&w.lock, NULL);
    /* fewer threads do the same work */
    while (started < n - 1 && started < THREADS_MAX &&
           pthread_create(&threads[started], NULL, run, &w) == 0)
        started++;
    run(&w);
    while (started)
        pthread_join(threads[--started], NULL);
    pthread_mutex_destroy(&w.lock);
    if (!atomic_load(&w.stopped))
        return 0;
    err_move(err, &w.err);
    return -1;
}

/* ---- members ---- */

struct reading {
    struct bundle_reader *reader; /* one thread at a time takes the next member */
    pthread_mutex_t lock;
    int (*member)(void *data, size_t position, const struct str *stored, struct part_reader *d,
                  struct err *err);
    void *data;
};

static int take(struct reading *r, size_t *ret, struct str *ret_stored, struct err *err)
{
    pthread_mutex_lock(&r->lock);
    int rc = bundle_next(r->reader, ret, err);
    if (rc > 0 && bundle_read(r->reader, ret_stored, err) < 0)
        rc = -1;
    pthread_mutex_unlock(&r->lock);
    return rc;
}

static int read_members(struct workers *w, void *data, struct err *err)
{
    struct reading *r = data;
    _cleanup_part_reader_ struct part_reader *d = NULL;
    _cleanup_str_ struct str stored = {0};
    size_t position;
    int rc = part_reader_new(&d, err);
    while (rc == 0 && !workers_stopped(w) && (rc = take(r, &position, &stored, err)) > 0)
        rc = r->member(r->data, position, &stored, d, err);
    return rc;
}

int workers_read(int n, struct bundle_reader *reader,
                 int (*member)(void *data, size_t position, const struct str *stored,
                               struct part_reader *d, struct err *err),
                 void *data, struct canceller *cancel, struct err *err)
{
    struct reading r = {.reader = reader, .member = member, .data = data};
    pthread_mutex_init(&r.lock, NULL);
    int rc = workers_run(n, read_members, &r, cancel, err);
    pthread_mutex_destroy(&r.lock);
    return rc;
}
