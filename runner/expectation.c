#include "runner/expectation.h"

#include <stdint.h>
#include <string.h>

#include "runner/fit.h"
#include "runner/interrupt.h"

void expectation_release(struct expectation *e)
{
    line_free(e->line);
    scratch_pool_close(e->pool);
    revisions_release(&e->applied);
    diff_release(&e->drift);
    snapshot_free(e->before[0]);
    snapshot_free(e->before[1]);
    memset(e, 0, sizeof(*e));
}

static int open_line(struct expectation *e, struct err *err)
{
    const struct database *d = e->database;
    const struct settings *s = &d->cli->settings;
    const struct scratch_options scratch = {
        .url = d->engine == &engine_postgres ? settings_get(s, OPT_SCRATCH_URL) : NULL,
    };
    if (e->line)
        return 0;
    if (scratch_pool_open(d->engine, &scratch, &e->pool, err) < 0)
        return -1;
    e->env = (struct line_env){
        .source = d->source,
        .engine = d->engine,
        .pool = e->pool,
        .baseline = settings_get(s, OPT_BASELINE),
        .schema = {.version_tables = source_version_tables(d->source), .instrument = true},
        .filter = database_filter,
        .data = (void *)d->cli,
        .stop = &interrupt_signal,
    };
    return line_new(&e->env, &e->line, err);
}

static int bring_up(struct expectation *e, const struct revisions *list, struct err *err)
{
    for (size_t i = 0; i < list->n; i++) {
        struct step_result s = {0};
        if (revisions_has(&e->applied, list->v[i]))
            continue;
        int rc = line_step(e->line, list->v[i], STEP_UP, &s, err);
        if (rc == 0 && s.outcome != STEP_OK && s.outcome != STEP_EMPTY) {
            err_move(err, &s.err);
            rc = err_prefix(err, "%s does not upgrade on a scratch database", list->v[i]->id);
        }
        step_result_release(&s);
        if (rc < 0)
            return -1;
        revisions_add(&e->applied, list->v[i]);
    }
    return 0;
}

static void keep_real(struct diff *d)
{
    size_t n = 0;
    for (size_t i = 0; i < d->n; i++)
        if (d->changes[i].class == CHANGE_REAL && !fit_is_servers_own(&d->changes[i]))
            d->changes[n++] = d->changes[i];
    d->n = n;
}

int expectation_compare(void *data, const char *url, const struct revisions *applied,
                        const struct revisions *more, struct strv *ret_differences, struct err *err)
{
    struct expectation *e = data;
    struct database at = *e->database; /* which may have another name at present */
    at.url = (char *)(uintptr_t)url;
    _cleanup_snapshot_ struct snapshot *expected = NULL, *found = NULL;
    _cleanup_diff_ struct diff diff = {0};
    _cleanup_diff_lines_ struct diff_lines lines = {0};
    _cleanup_revisions_ struct revisions list = {0};
    const struct revisions nothing = {0};
    /* in the order of the graph: a version table keeps none */
    graph_upgrade_path(source_graph(e->database->source), &nothing, applied, &list);
    if (open_line(e, err) < 0 || bring_up(e, &list, err) < 0 || bring_up(e, more, err) < 0 ||
        line_read(e->line, true, &expected, err) < 0 || database_schema(&at, &found, err) < 0)
        return -1;
    diff_snapshots(expected, found, &diff);
    keep_real(&diff);
    if (e->allow_drift && !more->n) {
        e->drift = diff;
        diff = (struct diff){0};
        e->before[0] = TAKE_PTR(expected); /* the diff points into them */
        e->before[1] = TAKE_PTR(found);
        return 0;
    }
    diff_subtract(&diff, &e->drift);
    diff_lines(&diff, &lines);
    for (size_t i = 0; i < lines.n; i++)
        strv_add_take(ret_differences, diff_line_text(&lines.v[i], false));
    return 0;
}
