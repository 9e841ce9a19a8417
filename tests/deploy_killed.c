#include "tests/deploy_killed.h"

#include <stdlib.h>

#include "harness/base/str.h"

void killer_init(struct killer *k, const char *who, int n)
{
    const char *asan = getenv("ASAN_OPTIONS");
    k->owned[0] = xasprintf("LD_PRELOAD=%s", getenv("BELAY_TEST_KILLER"));
    k->owned[1] = xasprintf("BELAY_TEST_KILL=%s:%d", who, n);
    k->owned[2] =
        xasprintf("ASAN_OPTIONS=%s%sverify_asan_link_order=0", asan ? asan : "", asan ? ":" : "");
    for (int i = 0; i < 3; i++)
        k->env[i] = k->owned[i];
    k->env[3] = NULL;
}

void killer_release(struct killer *k)
{
    for (int i = 0; i < 3; i++)
        free(k->owned[i]);
}

static int number(const char *variable, int otherwise)
{
    const char *text = getenv(variable);
    return text ? atoi(text) : otherwise;
}

int killer_step(int otherwise)
{
    return number("BELAY_CRASH_STEP", otherwise);
}

int killer_first(void)
{
    return number("BELAY_CRASH_FIRST", 1);
}
