#include "backup/canceller.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "harness/base/str.h"

#define LOOK_MS 100

struct canceller {
    struct db **dbs;
    size_t n;
    const struct backup_control *control;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool now, ending, cancelled;
    int fd; /* an eventfd */
};

static bool wanted(const struct canceller *c)
{
    return c->now || (c->control && c->control->stop && *c->control->stop);
}

static void *watch(void *data)
{
    struct canceller *c = data;
    pthread_mutex_lock(&c->lock);
    while (!c->ending) {
        if (wanted(c) && !c->cancelled) {
            c->cancelled = true;
            eventfd_write(c->fd, 1);
            for (size_t i = 0; i < c->n; i++)
                db_cancel(c->dbs[i]);
        }
        struct timespec until;
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_nsec += LOOK_MS * 1000000L;
        until.tv_sec += until.tv_nsec / 1000000000L;
        until.tv_nsec %= 1000000000L;
        pthread_cond_timedwait(&c->changed, &c->lock, &until);
    }
    pthread_mutex_unlock(&c->lock);
    return NULL;
}

int canceller_start(struct db *const *dbs, size_t n, const struct backup_control *control,
                    struct canceller **ret, struct err *err)
{
    struct canceller *c = xcalloc(1, sizeof(*c));
    c->dbs = xcalloc(n, sizeof(struct db *));
    for (size_t i = 0; i < n; i++)
        if (dbs[i])
            c->dbs[c->n++] = dbs[i];
    c->control = control;
    c->fd = eventfd(0, EFD_CLOEXEC);
    if (c->fd < 0) {
        err_errno(err, "cannot make an eventfd");
        free(c->dbs);
        free(c);
        return -1;
    }
    pthread_mutex_init(&c->lock, NULL);
    pthread_cond_init(&c->changed, NULL);
    if (pthread_create(&c->thread, NULL, watch, c) != 0) {
        pthread_mutex_destroy(&c->lock);
        pthread_cond_destroy(&c->changed);
        close(c->fd);
        free(c->dbs);
        free(c);
        return err_set(err, ERR_ENV, "cannot start a thread");
    }
    *ret = c;
    return 0;
}

void canceller_now(struct canceller *c)
{
    pthread_mutex_lock(&c->lock);
    c->now = true;
    pthread_cond_signal(&c->changed);
    pthread_mutex_unlock(&c->lock);
}

const int *canceller_fd(const struct canceller *c)
{
    return &c->fd;
}

void canceller_stop(struct canceller *c)
{
    if (!c)
        return;
    pthread_mutex_lock(&c->lock);
    c->ending = true;
    pthread_cond_signal(&c->changed);
    pthread_mutex_unlock(&c->lock);
    pthread_join(c->thread, NULL);
    pthread_mutex_destroy(&c->lock);
    pthread_cond_destroy(&c->changed);
    close(c->fd);
    free(c->dbs);
    free(c);
}
