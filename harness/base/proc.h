/*
 * Child processes that are run to their end: an argv vector (never a shell), a process group of
 * their own, both output pipes drained, a deadline.
 *
 *     struct proc_result r = {0};
 *     proc_run(&(struct proc_options){.argv = (const char *[]){"initdb", "-D", dir, NULL}}, &r,
 * err); if (r.status != 0) ... str_get(&r.errors) ... proc_result_release(&r);
 *
 * The child gets /dev/null as its standard input and no other descriptor of belay's, and is killed
 * when the thread that runs it dies. What it leaves behind in its process group is killed when it
 * has ended.
 */
#ifndef BELAY_PROC_H
#define BELAY_PROC_H

#include <stdbool.h>
#include <sys/types.h>

#include "harness/base/err.h"
#include "harness/base/str.h"

/* Whom a process runs as. */
struct proc_user {
    bool change; /* false: as whoever runs belay */
    uid_t uid;
    gid_t gid;
};

struct proc_options {
    const char *const *argv; /* NULL-terminated; argv[0] is looked up in PATH */
    const char *const *env;  /* "NAME=value" added to the environment, "NAME" removed from it;
                                NULL-terminated, or NULL. Passwords go here, never into argv */
    const char *dir;         /* working folder, or NULL */
    struct proc_user user;
    int timeout_ms;       /* 0: none. At the deadline the whole process group is killed */
    bool late_is_result;  /* missing the deadline is a result, PROC_LATE, with the output so far */
    size_t keep;          /* bytes: of each output at most the end of this length; 0: all of it */
    const int *cancel_fd; /* once it can be read from (it is not read) the process group gets
                              SIGTERM, and 5 s later SIGKILL; NULL: nothing cancels it */
};

enum { PROC_LATE = -1 };

struct proc_result {
    int status; /* exit code, 128 + the signal that ended it, or PROC_LATE */
    struct str output, errors;
};

/* ERR_ENV when the program cannot be started or does not end in time, ERR_INTERRUPTED when it was
 * cancelled; how it ended is a result. */
int proc_run(const struct proc_options *o, struct proc_result *ret, struct err *err);
void proc_result_release(struct proc_result *r);
#define _cleanup_proc_result_ __attribute__((cleanup(proc_result_release)))

/* For a child between fork() and exec(): changes to the user (a no-op when it is not to change).
 * Async-signal-safe; -1 with errno set. */
int proc_become(const struct proc_user *user);

/* Whether execvp() would find a program of that name: along PATH, or where its path says. */
bool proc_can_run(const char *program);

/* The environment with additions, in one array: free() it; the strings are borrowed. */
char **proc_environment(const char *const *additions);

#endif
