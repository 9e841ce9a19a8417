#include "backup/meter.h"

#include <pthread.h>

#include "harness/base/clock.h"
#include "harness/base/str.h"

enum { BETWEEN_MS = 200 };

struct meter {
    const struct backup_control *control;
    pthread_mutex_t lock; /* of what follows, and one report at a time */
    struct backup_progress progress;
    int64_t reported; /* ms */
};

struct meter *meter_new(const struct backup_control *control)
{
    struct meter *m = xcalloc(1, sizeof(*m));
    m->control = control;
    pthread_mutex_init(&m->lock, NULL);
    return m;
}

void meter_free(struct meter *m)
{
    if (!m)
        return;
    pthread_mutex_destroy(&m->lock);
    free(m);
}

static void report(struct meter *m, bool now)
{
    if (!m->control->report || (!now && clock_ms() - m->reported < BETWEEN_MS))
        return;
    m->reported = clock_ms();
    m->control->report(m->control->data, &m->progress);
}

void meter_phase(struct meter *m, const char *phase, uint64_t total)
{
    pthread_mutex_lock(&m->lock);
    m->progress = (struct backup_progress){.phase = phase, .total = total};
    report(m, true);
    pthread_mutex_unlock(&m->lock);
}

int meter_add(struct meter *m, uint64_t plain, uint64_t stored, struct err *err)
{
    pthread_mutex_lock(&m->lock);
    m->progress.done += plain;
    m->progress.stored += stored;
    report(m, false);
    pthread_mutex_unlock(&m->lock);
    const volatile sig_atomic_t *stop = m->control->stop;
    return stop && *stop ? err_set(err, ERR_INTERRUPTED, "interrupted") : 0;
}
