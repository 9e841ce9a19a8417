/*
 * A guarded folder: a 0700 folder for scratch data, on tmpfs where there is room, that disappears
 * together with belay. A guardian process waits on a socket that only belay holds; when belay
 * closes it or dies in any way, SIGKILL included, the guardian stops the server that runs in the
 * folder, if any, removes the folder and ends. Should the guardian be killed as well, the kernel
 * stops the server (PR_SET_PDEATHSIG) and the next guard_open() removes the folder: an flock on it,
 * held by belay and by the guardian, tells live folders from dead ones.
 *
 *     guard_open(&(struct guard_options){.room = 512 << 20}, &g, err);
 *     ... prepare guard_dir(g)/data ...
 *     guard_start(g, "/dev/null", err)     runs the server
 *     guard_close(g);
 */
#ifndef BELAY_GUARD_H
#define BELAY_GUARD_H

#include <stdbool.h>
#include <sys/types.h>

#include "harness/base/err.h"
#include "harness/base/proc.h"

struct guard_options {
    unsigned long long room; /* bytes that tmpfs must have free to be chosen */
    const char *server; /* program that guard_start() runs as "<server> -D <dir>/data"; or NULL */
    struct proc_user user;      /* whom the server runs as: <dir>/run is made for it */
    const char *const *parents; /* folders to try, NULL-terminated; NULL: /dev/shm, $TMPDIR, /tmp */
};

struct guard;

/* Sweeps what dead belays left behind, makes the folder and starts the guardian. */
int guard_open(const struct guard_options *o, struct guard **ret, struct err *err);
const char *guard_dir(const struct guard *g);
/* The folder that guard_dir() lies in: "/dev/shm". */
const char *guard_parent(const struct guard *g);

/* Starts the server, its output going to <dir>/log. */
int guard_start(struct guard *g, struct err *err);
/* True when the server has ended by itself; waits up to timeout_ms for that. */
bool guard_server_ended(struct guard *g, int timeout_ms);

/* Stops the server, removes the folder, and waits until that is done. A process that merely
 * inherited the guard by fork() only forgets it. */
void guard_close(struct guard *g);
/* Forgets the guard and leaves folder, server and guardian behind: SIGTERM to the guardian, or the
 * end of the server, removes them. Returns the guardian's process id. */
pid_t guard_detach(struct guard *g);
pid_t guard_pid(const struct guard *g);

/* Removes folders in the parents (NULL: as above) whose belay and guardian are dead. */
void guard_sweep(const char *const *parents);

#endif
