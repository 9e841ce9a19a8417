/*
 * A process that owns a guarded folder, seen from outside through /proc: for tests that kill it.
 *
 *     struct belay_process b = {.pid = pid};
 *     belay_process_find(&b);              waits for its folder and its guardian
 *     kill(b.pid, SIGKILL);
 *     belay_process_left_nothing(&b);
 */
#ifndef BELAY_TESTS_BELAY_PROCESS_H
#define BELAY_TESTS_BELAY_PROCESS_H

#include <stdbool.h>
#include <sys/types.h>

struct belay_process {
    pid_t pid, guardian;
    char dir[4096];
};

/* True once holds(data) is; false when that takes longer than anything here may (2 min). */
bool wait_until(bool (*holds)(void *data), void *data);

/* False when the process ended before. */
bool belay_process_find(struct belay_process *b);
/* The server's process, or 0. */
pid_t belay_process_server(const struct belay_process *b);
/* Waits until folder, guardian and every process that works in the folder are gone, or fails the
 * test. */
void belay_process_left_nothing(struct belay_process *b);
/* The same without the folder: that the next belay sweeps. */
void belay_process_stopped(struct belay_process *b);

bool process_alive(pid_t pid); /* a zombie is not */

/* For a forked child: becomes the user nobody; nothing when the tests do not run as root. */
void become_nobody(void);

/* pgbouncer with the pgbouncer.ini of that folder, as nobody; it ends with the test at the latest. */
pid_t pooler_start(const char *dir);

#endif
