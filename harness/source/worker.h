/*
 * The Python process that an Alembic project runs in: started, asked, watched, ended. What is asked
 * and answered is the matter of worker.py and the belay_worker_*.py beside it; here it is one JSON
 * object a line in each direction, over a socket of its own, so that whatever the project prints does
 * no harm.
 *
 *     worker_start(&(struct worker_options){.python = "python3", .dir = dir, ...}, &w, &hello, err);
 *     worker_call(w, json_pack("{s:s}", "op", "load"), 0, &answer, err);
 *     worker_free(w);
 *
 * The process leads a group of its own, which is killed as a whole by worker_free(); the process
 * itself is killed when the thread that started it dies.
 */
#ifndef BELAY_WORKER_H
#define BELAY_WORKER_H

#include <jansson.h>
#include <stdbool.h>

#include "harness/base/cleanup.h"
#include "harness/base/err.h"

struct worker;

struct worker_options {
    const char *python; /* looked up in PATH when it holds no slash */
    const char *dir;    /* working folder */
    int timeout_ms;     /* for the handshake, and for calls that name no time of their own */
};

/* Starts the process and takes its handshake, owned by the caller. ERR_ENV when the program cannot
 * be started, is no Python, or does not answer; *ret and *ret_hello are untouched then. */
int worker_start(const struct worker_options *o, struct worker **ret, json_t **ret_hello,
                 struct err *err);
void worker_free(struct worker *w);
DEFINE_CLEANUP(struct worker *, worker_free);
DEFINE_CLEANUP(json_t *, json_decref);
#define _cleanup_json_ _cleanup_(cleanup_json_decref)

/*
 * Sends the request (taken over) and waits for the answer, owned by the caller. timeout_ms: 0 for
 * the worker's own, -1 for none. -1 when there is none, and the worker is of no use any more:
 * ERR_INTERRUPTED after worker_cancel(); else ERR_SOURCE, which says how the process ended or where
 * it hangs, with its stack or the end of what it printed as the trace.
 */
int worker_call(struct worker *w, json_t *request, int timeout_ms, json_t **ret, struct err *err);

/* False after a failed call, when the process has ended, and where the thread that started it may
 * end before the caller does. */
bool worker_usable(const struct worker *w);

/*
 * Makes the call that is under way, or else the next one, fail soon with ERR_INTERRUPTED: the
 * process is asked to stop its statement, and killed when it does not. Async-signal-safe; must not
 * race with worker_free().
 */
void worker_cancel(struct worker *w);

#endif
