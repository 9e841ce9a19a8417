/* Up, down and up again on the copy; schema and rows compared at every stop. */
#include "runner/rehearsal_impl.h"

#include <stdlib.h>
#include <string.h>

#include "harness/base/clock.h"
#include "runner/database.h"

static void progress(struct rehearse *h, const char *phase, const char *revision)
{
    walk_progress(&h->walk, phase, revision);
}

/* ---- where the copy is, and where it is to go ---- */

static int no_version_table(const struct rehearse *h, struct err *err)
{
    err_set(err, ERR_SOURCE,
            "the copy has no version table of %s, so that nothing says which "
            "revisions are pending",
            source_format(h->o->check.source));
    return err_hint(err, "\"belay stamp --detect\" on the database itself finds the revision that "
                         "its schema is at");
}

static int unknown_versions(const struct rehearse *h, const struct strv *unknown, struct err *err)
{
    _cleanup_free_ char *names = strv_join(unknown, ", ");
    err_set(err, ERR_SOURCE, "the copy is at %s, and there is no such revision in %s", names,
            source_dir(h->o->check.source));
    return err_hint(err, "a newer or another checkout of the project may have it");
}

static char *names_of(const struct rehearse *h, const struct revisions *applied)
{
    _cleanup_revisions_ struct revisions last = {0};
    struct str s = {0};
    graph_last(h->walk.graph, applied, &last);
    for (size_t i = 0; i < last.n; i++)
        str_addf(&s, "%s%s", i ? ", " : "", last.v[i]->id);
    if (!last.n)
        str_add(&s, "base");
    return str_take(&s);
}

static int find_pending(struct rehearse *h, struct err *err)
{
    const struct check_options *o = &h->o->check;
    _cleanup_strv_ struct strv unknown = {0};
    _cleanup_revisions_ struct revisions current = {0}, targets = {0};
    bool tracked = false;
    {
        _cleanup_db_ struct db *db = NULL;
        if (db_open(o->engine, scratch_url(h->copy), DB_OPEN_SCRATCH, &db, err) < 0 ||
            scratch_prove(h->copy, db, err) < 0 || source_tracks(o->source, db, &tracked, err) < 0)
            return -1;
    }
    if (!tracked)
        return no_version_table(h, err);
    {
        struct db_proof proof = scratch_proof(h->copy);
        _cleanup_(cleanup_migrator_close) struct migrator *m = NULL;
        if (migrator_open(o->source, o->engine, scratch_url(h->copy), DB_OPEN_SCRATCH, &proof, &m,
                          err) < 0 ||
            migrator_applied(m, h->walk.graph, &current, &unknown, err) < 0)
            return -1;
    }
    if (unknown.n)
        return unknown_versions(h, &unknown, err);
    if (graph_resolve(h->walk.graph, h->o->to ? h->o->to : "head", &current, &targets, err) < 0)
        return -1;
    graph_upgrade_path(h->walk.graph, &current, &targets, &h->pending);
    h->result->from = names_of(h, &current);
    for (size_t i = 0; i < h->pending.n; i++)
        revisions_add(&current, h->pending.v[i]);
    h->result->to = names_of(h, &current);
    return 0;
}

static void fill_result(struct rehearse *h)
{
    struct check_result *r = &h->result->check;
    size_t n = h->pending.n;
    r->revisions = xcalloc(n, sizeof(*r->revisions));
    r->nrevisions = r->revisions_cap = n;
    h->result->steps = xcalloc(n, sizeof(*h->result->steps));
    h->stops = xcalloc(n + 1, sizeof(*h->stops));
    for (size_t i = 0; i < n; i++) {
        const struct revision *rev = h->pending.v[i];
        r->revisions[i] = (struct revision_result){.id = xstrdup(rev->id),
                                                   .title = xstrdup(rev->title),
                                                   .file = xstrdup(rev->file),
                                                   .status = REVISION_NOT_RUN};
    }
    h->walk.total = 3 * n;
}

/* ---- steps ---- */

static int run_step(struct rehearse *h, size_t i, enum step_direction direction,
                    struct rehearsed_pass *pass, struct step_result *s, struct err *err)
{
    const struct revision *r = h->pending.v[i];
    bool watched = pass != &h->result->steps[i].again;
    if ((watched ? line_watched_step(h->walk.line, r, direction, s, &pass->measures, err)
                 : line_step(h->walk.line, r, direction, s, err)) < 0)
        return -1;
    h->walk.done++;
    pass->ran = s->outcome != STEP_MISSING;
    pass->worked = s->outcome == STEP_OK || s->outcome == STEP_EMPTY;
    pass->seconds = s->seconds;
    return 0;
}

/* Reads schema and rows after a step: as was, but for what the step may have changed. */
static int read_stop(struct rehearse *h, size_t position, const struct snapshot *before,
                     const struct step_result *s, struct row_state *rows, struct snapshot **ret,
                     struct err *err)
{
    struct walk *w = &h->walk;
    _cleanup_snapshot_ struct snapshot *now = NULL;
    _cleanup_strv_ struct strv names = {0};
    if (line_read(w->line, s->outcome == STEP_FAILED, &now, err) < 0)
        return -1;
    delta_release(&w->deltas[position]);
    delta_between(before, now, &w->deltas[position]);
    if (walk_rows_read(w, w->line, walk_rows_touched(w, position, s, &names), rows, NULL, err) < 0)
        return -1;
    *ret = TAKE_PTR(now);
    return 0;
}

static void upgrade_failed(struct rehearse *h, size_t i, const struct step_result *s,
                           const struct snapshot *after)
{
    struct walk *w = &h->walk;
    const struct revision *r = h->pending.v[i];
    struct finding *f = walk_add_finding(w, step_failure_id(s, "upgrade-fails"), r, STEP_UP);
    finding_from_err(f, &s->err);
    finding_explain(f, "the upgrade fails on the copy of the data");
    _cleanup_diff_ struct diff d = {0};
    if (!walk_differs(w, h->stops[i].schema, after, &d))
        return;
    h->stuck = true;
    f = walk_add_difference(w, "half-applied", r, STEP_UP, &d,
                            "the failed upgrade leaves a part of its work");
    f->hint = xstrdup("a revision that cannot run in a transaction should do one thing, or be "
                      "written so that it can run again");
}

static void note_changes(struct rehearsed *step, const struct snapshot *before,
                         const struct snapshot *after)
{
    _cleanup_diff_ struct diff d = {0};
    _cleanup_diff_lines_ struct diff_lines lines = {0};
    diff_snapshots(before, after, &d);
    diff_lines(&d, &lines);
    for (size_t i = 0; i < lines.n; i++)
        strv_add_take(&step->changes, diff_line_text(&lines.v[i], false));
}

static int upgrade_one(struct rehearse *h, size_t i, struct err *err)
{
    struct walk *w = &h->walk;
    const struct revision *r = h->pending.v[i];
    struct rehearsed *step = &h->result->steps[i];
    _cleanup_(step_result_release) struct step_result s = {0};
    struct stop *from = &h->stops[i], *to = &h->stops[i + 1];
    progress(h, "up", r->id);
    if (run_step(h, i, STEP_UP, &step->up, &s, err) < 0)
        return -1;
    h->result->check.revisions[i].up_seconds = s.seconds;
    h->result->check.revisions[i].status = REVISION_OK;
    walk_note_session(w, r, STEP_UP, &s);
    row_state_copy(&from->rows, &to->rows);
    if (read_stop(h, r->position, from->schema, &s, &to->rows, &to->schema, err) < 0)
        return -1;
    note_changes(step, from->schema, to->schema);
    rehearse_judge(h, i);
    if (!step->up.worked) {
        upgrade_failed(h, i, &s, to->schema);
        return 0;
    }
    h->top = i + 1;
    return rehearse_queries_check(h, r, err);
}

static int walk_up(struct rehearse *h, struct err *err)
{
    struct walk *w = &h->walk;
    progress(h, "reading the copy", NULL);
    if (line_read(w->line, true, &h->stops[0].schema, err) < 0 ||
        walk_rows_read(w, w->line, NULL, &h->stops[0].rows, NULL, err) < 0 ||
        rehearse_queries_begin(h, err) < 0)
        return -1;
    w->base = snapshot_ref(h->stops[0].schema);
    for (size_t i = 0; i < h->pending.n && h->top == i; i++)
        if (upgrade_one(h, i, err) < 0)
            return -1;
    return rehearse_judge_ids(h, err);
}

/* ---- the way down ---- */

/* What differs here is known, and no stop further down is blamed for it. */
static void forgive(struct walk *w, const struct snapshot *expected, const struct snapshot *actual)
{
    struct noise n = {.first = snapshot_copy(expected), .second = snapshot_copy(actual)};
    diff_snapshots(n.first, n.second, &n.diff);
    w->noise = xgrow(w->noise, w->nnoise, &w->noise_cap, sizeof(*w->noise));
    w->noise[w->nnoise++] = n;
}

static void downgrade_failed(struct rehearse *h, size_t i, const struct step_result *s)
{
    const struct revision *r = h->pending.v[i];
    struct finding *f;
    if (s->outcome == STEP_MISSING) {
        f = walk_add_finding(&h->walk, "downgrade-missing", r, STEP_DOWN);
        f->message = xstrdup("there is no downgrade");
        return;
    }
    f = walk_add_finding(&h->walk,
                         s->outcome == STEP_IRREVERSIBLE ? "irreversible"
                                                         : step_failure_id(s, "downgrade-fails"),
                         r, STEP_DOWN);
    finding_from_err(f, &s->err);
    if (s->outcome != STEP_IRREVERSIBLE)
        finding_explain(f, "the downgrade fails on the copy of the data");
}

static int downgrade_one(struct rehearse *h, size_t i, struct stop *now, bool *ret_equal,
                         bool *ret_worked, struct err *err)
{
    struct walk *w = &h->walk;
    const struct revision *r = h->pending.v[i];
    struct rehearsed *step = &h->result->steps[i];
    const struct stop *expected = &h->stops[i];
    _cleanup_(step_result_release) struct step_result s = {0};
    _cleanup_snapshot_ struct snapshot *after = NULL;
    _cleanup_diff_ struct diff d = {0};
    progress(h, "down", r->id);
    if (run_step(h, i, STEP_DOWN, &step->down, &s, err) < 0)
        return -1;
    h->result->check.revisions[i].down_seconds = s.seconds;
    walk_note_session(w, r, STEP_DOWN, &s);
    *ret_worked = step->down.worked;
    if (!step->down.worked) {
        downgrade_failed(h, i, &s);
        return 0;
    }
    if (read_stop(h, r->position, now->schema, &s, &now->rows, &after, err) < 0)
        return -1;
    snapshot_free(now->schema);
    now->schema = TAKE_PTR(after);
    bool traces = walk_differs(w, expected->schema, now->schema, &d);
    bool lost = rehearse_compare_rows(h, i, &now->rows);
    if (traces) {
        bool empty = s.outcome == STEP_EMPTY;
        struct finding *f = walk_add_difference(
            w, empty ? "downgrade-missing" : "downgrade-leaves-trace", r, STEP_DOWN, &d,
            empty ? "the downgrade is empty" : "up and down again, the schema is not what it was");
        f->hint = diff_hint(&d);
        forgive(w, expected->schema, now->schema);
    }
    *ret_equal = *ret_equal && !traces && !lost;
    return 0;
}

static void stop_release(struct stop *s)
{
    snapshot_free(s->schema);
    row_state_release(&s->rows);
}

static int walk_down(struct rehearse *h, struct err *err)
{
    struct stop now = {.schema = snapshot_ref(h->stops[h->top].schema)};
    bool equal = true, worked = true;
    int rc = 0;
    row_state_copy(&h->stops[h->top].rows, &now.rows);
    h->bottom = h->top;
    while (h->bottom > 0 && worked && rc == 0) {
        rc = downgrade_one(h, h->bottom - 1, &now, &equal, &worked, err);
        h->bottom -= rc == 0 && worked;
    }
    stop_release(&now);
    h->result->descent = !h->top   ? xstrdup("not run: no revision was applied")
                         : rc < 0  ? xstrdup("not run: the rehearsal stopped before its end")
                         : !worked ? xasprintf("stopped at %s", h->pending.v[h->bottom - 1]->id)
                         : equal   ? xstrdup("equal")
                                   : xstrdup("differs");
    return rc;
}

/* ---- up again ---- */

static int upgrade_again(struct rehearse *h, size_t i, bool *ret_equal, bool *ret_worked,
                         struct err *err)
{
    struct walk *w = &h->walk;
    const struct revision *r = h->pending.v[i];
    _cleanup_(step_result_release) struct step_result s = {0};
    _cleanup_snapshot_ struct snapshot *after = NULL;
    _cleanup_diff_ struct diff d = {0};
    struct rehearsed_pass *pass = &h->result->steps[i].again;
    progress(h, "up again", r->id);
    if (run_step(h, i, STEP_UP, pass, &s, err) < 0)
        return -1;
    *ret_worked = pass->worked;
    if (!pass->worked) {
        struct finding *f = walk_add_finding(w, "reupgrade-fails", r, STEP_UP);
        finding_from_err(f, &s.err);
        return 0;
    }
    if (line_read(w->line, false, &after, err) < 0)
        return -1;
    if (!walk_differs(w, h->stops[i + 1].schema, after, &d))
        return 0;
    *ret_equal = false;
    walk_add_difference(
        w, "reupgrade-differs", r, STEP_UP, &d,
        "upgraded a second time, the revision gives another schema than the first time");
    forgive(w, h->stops[i + 1].schema, after);
    return 0;
}

static int walk_again(struct rehearse *h, struct err *err)
{
    bool equal = true, worked = true;
    size_t i = h->bottom;
    int rc = 0;
    for (; i < h->top && worked && rc == 0; i++)
        rc = upgrade_again(h, i, &equal, &worked, err);
    h->result->reupgrade = h->bottom == h->top ? xstrdup("not run: nothing was taken back")
                           : rc < 0  ? xstrdup("not run: the rehearsal stopped before its end")
                           : !worked ? xstrdup("failed")
                           : equal   ? xstrdup("equal")
                                     : xstrdup("differs");
    return rc;
}

/* ---- all of it ---- */

static int rehearse_all(struct rehearse *h, struct err *err)
{
    if (find_pending(h, err) < 0)
        return -1;
    fill_result(h);
    if (!h->pending.n)
        return 0;
    const struct observer_options watching = {.engine = h->o->check.engine,
                                              .url = scratch_url(h->copy),
                                              .no_canaries = h->o->no_canaries};
    if (observer_open(&watching, &h->observer, err) < 0 ||
        line_adopt(&h->walk.env, TAKE_PTR(h->copy), &h->walk.line, err) < 0)
        return -1;
    line_observe(h->walk.line, h->observer);
    if (walk_up(h, err) < 0)
        return -1;
    if (h->stuck)
        h->result->descent = xstrdup("not run: an upgrade left a part of its work");
    else if (walk_down(h, err) < 0)
        return -1;
    if (h->stuck)
        h->result->reupgrade = xstrdup(h->result->descent);
    else {
        line_observe(h->walk.line, NULL);
        if (walk_again(h, err) < 0)
            return -1;
    }
    return 0;
}

static void sum_up(struct rehearsal *r)
{
    int64_t first = MEASURE_UNKNOWN;
    for (size_t i = 0; r->steps && i < r->check.nrevisions; i++) {
        const struct measures *m = &r->steps[i].up.measures;
        r->up_seconds += r->steps[i].up.seconds;
        r->down_seconds += r->steps[i].down.seconds;
        r->again_seconds += r->steps[i].again.seconds;
        if (!r->steps[i].up.ran)
            continue;
        first = first == MEASURE_UNKNOWN ? m->before : first;
        r->growth = m->after - first;
        r->peak = m->peak - first > r->peak ? m->peak - first : r->peak;
    }
}

/* Revisions in their order, the project last; of one revision as they were found. */
static size_t place_of(const struct rehearse *h, const struct finding *f)
{
    for (size_t i = 0; i < h->pending.n; i++)
        if (str_eq(h->pending.v[i]->id, f->revision))
            return i;
    return h->pending.n;
}

static void sort_findings(struct rehearse *h)
{
    struct check_result *c = &h->result->check;
    struct finding *sorted = xcalloc(c->nfindings, sizeof(*sorted));
    size_t n = 0;
    for (size_t at = 0; at <= h->pending.n; at++)
        for (size_t i = 0; i < c->nfindings; i++)
            if (place_of(h, &c->findings[i]) == at)
                sorted[n++] = c->findings[i];
    free(c->findings);
    c->findings = sorted;
    c->findings_cap = c->nfindings;
}

static void finish(struct rehearse *h, int rc)
{
    struct rehearsal *r = h->result;
    struct check_result *c = &r->check;
    sum_up(r);
    rehearse_judge_budgets(h);
    sort_findings(h);
    for (size_t i = 0; i < c->nrevisions; i++) {
        struct revision_result *rr = &c->revisions[i];
        if (rr->status == REVISION_NOT_RUN)
            rr->not_run_reason = xstrdup(rc < 0 ? "the rehearsal stopped before it"
                                                : "a revision before it does not upgrade");
        for (size_t k = 0; k < c->nfindings && rr->status != REVISION_NOT_RUN; k++)
            if (str_eq(c->findings[k].revision, rr->id))
                rr->status = REVISION_FINDINGS;
    }
    if (rc == 0)
        policy_apply_waivers(&h->walk.policy, h->walk.graph, c);
}

static void rehearse_release(struct rehearse *h)
{
    struct walk *w = &h->walk;
    if (w->line)
        line_close_sessions(w->line);
    observer_close(h->observer);
    for (size_t i = 0; h->stops && i <= h->pending.n; i++)
        stop_release(&h->stops[i]);
    free(h->stops);
    walk_release(w);
    scratch_free(h->copy);
    free(h->url);
    revisions_release(&h->pending);
}

int rehearsal_run(const struct rehearsal_options *options, struct rehearsal *ret, struct err *err)
{
    const struct check_options *o = &options->check;
    struct rehearse h = {.o = options,
                         .result = ret,
                         .copy = options->copy,
                         .url = xstrdup(scratch_url(options->copy))};
    struct walk *w = &h.walk;
    double start = clock_seconds();
    *w = (struct walk){.o = o, .graph = source_graph(o->source), .result = &ret->check};
    w->n = graph_size(w->graph);
    w->deltas = xcalloc(w->n, sizeof(*w->deltas));
    w->rows.on = true;
    w->rows.deltas = xcalloc(w->n, sizeof(*w->rows.deltas));
    w->rows.fills = xcalloc(w->n, sizeof(*w->rows.fills));
    w->env = (struct line_env){
        .source = o->source,
        .engine = o->engine,
        .pool = o->pool,
        /* nothing of belay's own in the copy that its statements would meet */
        .schema = {.version_tables = source_version_tables(o->source)},
        .watch = true,
        .filter = walk_filter,
        .data = &w->policy,
        .stop = o->stop,
    };
    walk_name(w);
    ret->budgets = options->budgets;
    ret->thresholds = options->thresholds;
    int rc = policy_init(&w->policy, o, w->graph, err);
    if (rc == 0)
        rc = rehearse_all(&h, err);
    ret->check.interrupted = rc < 0 && err->code == ERR_INTERRUPTED;
    finish(&h, rc);
    ret->check.nsteps = w->env.steps;
    ret->check.seconds = clock_seconds() - start;
    rehearse_release(&h);
    return rc;
}
