/*
 * Runs of belay that are killed at the n-th system call which changes a file or tells a server something
 * (data/killer.c).
 *
 *     struct killer k;
 *     killer_init(&k, "belay", 17);       or "python3": the process that runs revisions
 *     ... run the program with k.env ...
 *     killer_release(&k);
 *
 * The environment variable BELAY_CRASH_STEP says how far the tries are apart: 1 for each and every call;
 * BELAY_CRASH_FIRST where they begin, so that several runs can share them.
 */
#ifndef BELAY_TESTS_DEPLOY_KILLED_H
#define BELAY_TESTS_DEPLOY_KILLED_H

struct killer {
    char *owned[3];
    const char *env[4]; /* additions to the environment */
};

void killer_init(struct killer *k, const char *who, int n);
void killer_release(struct killer *k);

int killer_step(int otherwise);
int killer_first(void);

#endif
