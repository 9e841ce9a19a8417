/*
 * The climb of a check and no more: each revision up, down and up again with every comparison, and
 * the full read that proves them. The check is stopped where it would go on to the descent.
 *
 *     climb FOLDER ENGINE PYTHON [SCRATCH_URL]
 *
 * PYTHON is the interpreter of an Alembic project. Anything found ends it with exit status 1.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runner/roundtrip.h"

static volatile sig_atomic_t stop;

static void step(void *data, size_t done, size_t total, const char *phase, const char *revision)
{
    (void)data, (void)done, (void)total, (void)revision;
    if (strcmp(phase, "scratch database") != 0 && strcmp(phase, "climb") != 0)
        stop = 1;
}

static _Noreturn void die(const char *what, const struct err *err)
{
    fprintf(stderr, "climb: %s: %s\n", what, err->message);
    exit(1);
}

int main(int argc, char **argv)
{
    if (argc != 4 && argc != 5) {
        fprintf(stderr, "usage: climb FOLDER ENGINE PYTHON [SCRATCH_URL]\n");
        return 2;
    }
    struct err err = {0};
    const struct engine *engine = engine_by_name(argv[2]);
    const struct source_options so = {.dir = argv[1], .python = argv[3]};
    const struct scratch_options scratch = {.url = argv[4]};
    struct source *source = NULL;
    struct scratch_pool *pool = NULL;
    if (source_open(&so, &source, &err) < 0)
        die(argv[1], &err);
    if (scratch_pool_open(engine, &scratch, &pool, &err) < 0)
        die("scratch databases", &err);
    const struct check_options o = {
        .source = source,
        .engine = engine,
        .pool = pool,
        .project = argv[1],
        .two_threads = -1,
        .today = "2000-01-01",
        .progress = {.step = step},
        .stop = &stop,
    };
    struct check_result result = {0};
    if (roundtrip_check(&o, &result, &err) == 0 || !stop || err.code != ERR_INTERRUPTED)
        die("the check did not come to the end of the climb", &err);
    if (result.nfindings) {
        fprintf(stderr, "climb: %zu findings, the first is %s of %s\n", result.nfindings,
                result.findings[0].id->id, result.findings[0].revision);
        return 1;
    }
    check_result_release(&result);
    scratch_pool_close(pool);
    source_free(source);
    return 0;
}
