/*
 * Between the parts of the observer; for harness/observe only.
 */
#ifndef BELAY_OBSERVER_IMPL_H
#define BELAY_OBSERVER_IMPL_H

#include <pthread.h>

#include "harness/base/clock.h"
#include "harness/base/str.h"
#include "harness/observe/observer.h"

/* A statement as it was told, with what the session saw after it. */
struct told {
    struct statement_event event; /* texts are owned */
};

struct observer_ops {
    int (*open)(const struct observer_options *o, struct observer **ret, struct err *err);
    void (*close)(struct observer *o);
    const char *look; /* for migrator_observe(), or NULL */
    /* After a statement, while its session waits; or NULL. */
    void (*heard)(struct observer *o);
    int (*begin)(struct observer *o, struct db *session, struct err *err);
    /* Stops what begin started; always. */
    void (*stop)(struct observer *o);
    /* Times in m are of CLOCK_MONOTONIC: observer.c makes them relative. */
    int (*end)(struct observer *o, struct measures *m, struct err *err);
};
extern const struct observer_ops observer_postgres, observer_sqlite;

/* Every kind's observer begins with this. */
struct observer {
    const struct observer_ops *ops;
    double began;
    struct told *told; /* of the step, in order */
    size_t ntold, told_cap;
};

/* The statement that ran at that time, or the last one before it; SIZE_MAX: none had begun. */
size_t observer_statement_at(const struct observer *o, double time);
/* When a lock was taken that was not there at a time, and was seen at another: with the statement that
 * ran, unless that had begun before. */
double observer_taken(const struct observer *o, double not_yet, double seen);

#endif
