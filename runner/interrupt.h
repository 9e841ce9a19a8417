/*
 * SIGINT and SIGTERM. The first one sets a flag and, through a self-pipe, lets a watcher thread
 * call what was registered: that is how a statement that runs on a server is cancelled while its
 * own thread waits for it. The second one ends the process at once; scratch databases are then
 * cleaned up by the guardian or by the next run.
 *
 *     interrupt_install(err);                          once, in main
 *     interrupt_add(cancel_migrator, m);               static void cancel_migrator(void *m)
 *     ... migrator_step(m, ...) ...                    fails with ERR_INTERRUPTED
 *     interrupt_remove(cancel_migrator, m);            before m is closed
 *
 * interrupt_add() and interrupt_remove() do nothing harmful without interrupt_install(), so that
 * code below main can be tested alone. A callback runs in the watcher thread, at most once per
 * signal, never after interrupt_remove() has returned, and immediately when the signal has already
 * come.
 */
#ifndef BELAY_INTERRUPT_H
#define BELAY_INTERRUPT_H

#include <signal.h>
#include <stdbool.h>

#include "harness/base/err.h"

int interrupt_install(struct err *err);
void interrupt_add(void (*cancel)(void *data), void *data);
void interrupt_remove(void (*cancel)(void *data), void *data);

/* Set by the first signal to its number; for struct check_options.stop. */
extern volatile sig_atomic_t interrupt_signal;

static inline bool interrupted(void)
{
    return interrupt_signal != 0;
}

#endif
