/*
 * The same work in several threads, until it is done or one of them fails.
 */
#ifndef BELAY_WORKERS_H
#define BELAY_WORKERS_H

#include <stdbool.h>

#include "backup/canceller.h"
#include "backup/part.h"
#include "harness/base/err.h"

struct workers;

/* True once one of the threads has failed: the others shall end. */
bool workers_stopped(struct workers *w);

/*
 * Runs work(w, data, err) in up to n threads (at least 1, this one among them); it divides the work
 * by itself, and must do all of it when it is called only once: there may be no more threads to have.
 * Returns when all have ended; -1 with the first failure. cancel: what ends the statements
 * that the others wait for when one fails; or NULL.
 */
int workers_run(int n, int (*work)(struct workers *w, void *data, struct err *err), void *data,
                struct canceller *cancel, struct err *err);

/*
 * Reads the members that are left, in the order of the file, and calls member() for each from n
 * threads: its position, what is stored of it (hash checked), and a reader for its part. cancel: as
 * for workers_run().
 */
int workers_read(int n, struct bundle_reader *r,
                 int (*member)(void *data, size_t position, const struct str *stored,
                               struct part_reader *d, struct err *err),
                 void *data, struct canceller *cancel, struct err *err);

#endif
