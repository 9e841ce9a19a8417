#include "runner/check.h"

#include <stdio.h>
#include <string.h>

#include "harness/base/cleanup.h"
#include "harness/base/clock.h"
#include "harness/engine/scratch.h"
#include "runner/git.h"
#include "runner/interrupt.h"
#include "runner/project.h"
#include "runner/roundtrip.h"
#include "runner/terminal.h"

/* Enough for duplicates, NULLs and extremes beside plain values. */
#define DEFAULT_ROWS 6

/* A project that cannot say where its database is may still be checked: the error asks for the
 * engine, which is what matters here. */
static const struct engine *engine_of_own_url(const struct source *source)
{
    _cleanup_free_ char *url = NULL;
    _cleanup_err_ struct err ignored = {0};
    return source_own_url(source, &url, &ignored) == 0 && url ? engine_for_url(url, &ignored)
                                                              : NULL;
}

int check_engine(const struct check_request *q, const struct source *source,
                 const struct engine **ret, struct err *err)
{
    const struct engine *e = q->engine;
    if (!e && settings_engine(q->settings, &e, err) < 0)
        return -1;
    if (!e)
        e = source_engine_hint(source);
    if (!e)
        e = engine_of_own_url(source);
    if (!e) {
        err_set(err, ERR_USAGE, "nothing in %s shows which engine it is for", source_dir(source));
        return err_hint(err,
                        "add --engine sqlite or --engine postgres, or \"engine:\" to belay.yaml");
    }
    /* in the environment or a file it may be meant for other projects */
    const char *origin = settings_origin(q->settings, OPT_SCRATCH_URL);
    if (origin && str_starts(origin, "--") && !q->engine && e != &engine_postgres) {
        err_set(err, ERR_USAGE, "%s is for PostgreSQL, and the engine is %s", origin,
                engine_name(e));
        return err_hint(err, "scratch databases of SQLite are files that belay makes by itself");
    }
    *ret = e;
    return 0;
}

int check_run(const struct check_request *q, struct check_result *ret, struct err *err)
{
    const struct settings *s = q->settings;
    _cleanup_source_ struct source *source = NULL;
    if (project_open(s, q->config, q->dir, &source, err) < 0)
        return -1;
    const struct engine *engine = NULL;
    if (check_engine(q, source, &engine, err) < 0)
        return -1;

    if (project_extensions(q->config, engine, err) < 0)
        return -1;

    _cleanup_strv_ struct strv files = {0};
    const char *ref = settings_get(s, OPT_GIT_BASE);
    if (ref && git_added_files(source_dir(source), ref, &files, err) < 0)
        return -1;

    if (q->progress.step)
        q->progress.step(q->progress.data, 0, 0,
                         engine == &engine_postgres ? "starting PostgreSQL" : "scratch database",
                         NULL);
    _cleanup_pool_ struct scratch_pool *pool = NULL;
    const struct scratch_options scratch = {
        .url = engine == &engine_postgres ? settings_get(s, OPT_SCRATCH_URL) : NULL,
        .keep = settings_on(s, OPT_KEEP_SCRATCH),
    };
    if (scratch_pool_open(engine, &scratch, &pool, err) < 0)
        return -1;

    _cleanup_free_ char *today = clock_local_date();
    const struct check_options o = {
        .source = source,
        .engine = engine,
        .pool = pool,
        .project = source_dir(source),
        .baseline = settings_get(s, OPT_BASELINE),
        .keep_scratch = scratch.keep,
        .quick = settings_on(s, OPT_QUICK),
        .since = settings_get(s, OPT_SINCE),
        .latest = settings_number(s, OPT_LATEST),
        .min_revision = settings_get(s, OPT_MIN_REVISION),
        .only_files = ref ? &files : q->only_files,
        .waivers = q->config->waivers,
        .nwaivers = q->config->nwaivers,
        .ignores = q->config->ignores,
        .nignores = q->config->nignores,
        .rows = settings_get(s, OPT_ROWS) ? settings_number(s, OPT_ROWS) : DEFAULT_ROWS,
        .seed = settings_get(s, OPT_SEED) ? (uint64_t)settings_number(s, OPT_SEED) : 1,
        .given = q->config->rows,
        .ngiven = q->config->nrows,
        .today = today,
        .progress = q->progress,
        .stop = &interrupt_signal,
    };
    int rc = roundtrip_check(&o, ret, err);
    if (ret->kept_url) {
        char *shown = url_redact(ret->kept_url);
        free(ret->kept_url);
        ret->kept_url = shown;
    }
    return rc;
}

/*
 * The progress line.
 */

static struct {
    struct terminal terminal;
    double last; /* when it was drawn, in seconds */
    bool shown;
} live;

static void draw(void *data, size_t done, size_t total, const char *phase, const char *revision)
{
    (void)data;
    double now = clock_seconds();
    if (live.shown && now - live.last < 0.1)
        return; /* more often than anyone can read costs time of the check */
    live.last = now;
    _cleanup_str_ struct str s = {0};
    if (total)
        str_addf(&s, "%3zu%%  ", done * 100 / total);
    str_addf(&s, "%s%s%s", phase, revision ? "  " : "", revision ? revision : "");
    _cleanup_free_ char *text = text_printable(str_get(&s));
    _cleanup_str_ struct str line = {0};
    str_add(&line, "\r\033[K");
    text_fit(&line, &live.terminal, text, live.terminal.width - 1, false);
    fputs(str_get(&line), stderr);
    fflush(stderr);
    live.shown = true;
}

struct progress live_progress(void)
{
    const char *term = getenv("TERM");
    if (!isatty(STDERR_FILENO) || !term || strcmp(term, "dumb") == 0)
        return (struct progress){0};
    live.terminal = terminal_for(stderr, NULL);
    return (struct progress){.step = draw};
}

void live_clear(void)
{
    if (!live.shown)
        return;
    fputs("\r\033[K", stderr);
    fflush(stderr);
    live.shown = false;
}
