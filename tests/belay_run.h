/*
 * The program belay, run to its end as a user runs it.
 *
 *     _cleanup_run_ struct run r = belay_run(dir, (const char *[]){"NO_COLOR=1", NULL}, "check -q");
 *     ck_assert_int_eq(r.r.status, 0);
 */
#ifndef BELAY_TESTS_BELAY_RUN_H
#define BELAY_TESTS_BELAY_RUN_H

#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "harness/base/cleanup.h"
#include "harness/base/proc.h"

struct run {
    struct proc_result r;
    const char *out, *errors;
};

static inline void run_release(struct run *r)
{
    proc_result_release(&r->r);
}
#define _cleanup_run_ __attribute__((cleanup(run_release)))

/* args are separated by blanks; env: NULL, or additions to an environment without anything of the
 * tester's own that belay heeds. */
static inline struct run belay_run(const char *dir, const char *const *env, const char *args)
{
    static const char *const clean[] = {"DATABASE_URL",      "ALEMBIC_CONFIG", "VIRTUAL_ENV",
                                        "BELAY_URL",         "BELAY_FORMAT",   "BELAY_FAIL_ON",
                                        "BELAY_SCRATCH_URL", "NO_COLOR",       "LC_ALL=C.UTF-8"};
    const char *argv[32] = {getenv("BELAY_BIN")}, *all[32] = {0};
    size_t n = 1, nenv = 0;
    _cleanup_free_ char *words = xstrdup(args);
    char *saved = NULL;
    for (char *w = strtok_r(words, " ", &saved); w; w = strtok_r(NULL, " ", &saved)) {
        ck_assert_uint_lt(n, ARRAY_LEN(argv) - 1);
        argv[n++] = w;
    }
    while (nenv < ARRAY_LEN(clean)) {
        all[nenv] = clean[nenv];
        nenv++;
    }
    for (; env && *env; env++) {
        ck_assert_uint_lt(nenv, ARRAY_LEN(all) - 1);
        all[nenv++] = *env;
    }
    struct run r = {0};
    _cleanup_err_ struct err err = {0};
    ck_assert_msg(
        proc_run(&(struct proc_options){.argv = argv, .env = all, .dir = dir}, &r.r, &err) == 0,
        "%s", err.message);
    r.out = str_get(&r.r.output);
    r.errors = str_get(&r.r.errors);
    return r;
}

#endif
