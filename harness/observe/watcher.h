/*
 * The thread that watches a PostgreSQL database while a step runs: it samples locks and sizes, and
 * lets canaries try the tables that are locked. One thread for all of its sessions, which are polled.
 * Private to harness/observe.
 *
 *     struct watcher *w;
 *     watcher_open(url, true, &w, err);
 *     watcher_begin(w, tables, n, err);
 *     watcher_stop(w);                    ends the thread; what was seen can be read now
 *     w->seen.v[i], w->waits.v[i], ...
 *     watcher_close(w);
 */
#ifndef BELAY_WATCHER_H
#define BELAY_WATCHER_H

#include <stdint.h>

#include "harness/observe/observer_impl.h"

/* Modes as pg_locks orders them; index in watcher_modes. */
enum { LOCK_MODES = 8 };
extern const char *const watcher_modes[LOCK_MODES + 1];
/* 1 to 8; 0 for a name that is none. */
int watcher_mode(const char *name);
/* True when two sessions cannot hold these on one relation. */
bool watcher_conflict(int a, int b);

struct held {
    uint32_t relation;
    int mode;
};

/* All locks that were held from a time until another: asked for the first time and the last, and seen
 * when the answers came. What an answer lacks was not held when it came, or later; what it has was held
 * when it was asked for, or later. */
struct sighting {
    double asked, seen;
    double asked_last, seen_last;
    struct held *v;
    size_t n;
};

/* A try of a canary that had to wait, or took long; whether it was a lock is the reader's to judge. */
struct canary_wait {
    uint32_t relation;
    bool writer;
    double from, until;
};

/* What may be tried. */
struct canary_table {
    uint32_t relation;
    char *name; /* qualified and quoted */
};

struct watcher {
    struct {
        struct sighting *v;
        size_t n, cap;
    } seen;
    struct {
        struct canary_wait *v;
        size_t n, cap;
    } waits;
    size_t tries;
    bool lost;          /* locks could not be seen for a part of the time, or for all of it */
    int64_t peak, temp; /* of the database with temporary files; of these */
};

int watcher_open(const char *url, bool canaries, struct watcher **ret, struct err *err);
/* The tables are borrowed until the thread is stopped. */
int watcher_begin(struct watcher *w, const struct canary_table *tables, size_t n, struct err *err);
void watcher_stop(struct watcher *w);
void watcher_close(struct watcher *w);

void sighting_add(struct sighting *s, size_t *cap, uint32_t relation, int mode);

#endif
