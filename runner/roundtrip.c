#include "runner/roundtrip.h"

#include <stdlib.h>
#include <string.h>

#include "harness/base/clock.h"
#include "runner/walk.h"

/* --- all of it ------------------------------------------------------------------------------ */

static int find_heads(struct walk *w)
{
    _cleanup_revisions_ struct revisions heads = {0};
    graph_heads(w->graph, &heads);
    if (heads.n < 2)
        return 0;
    _cleanup_strv_ struct strv ids = {0};
    for (size_t i = 0; i < heads.n; i++)
        strv_add(&ids, heads.v[i]->id);
    _cleanup_free_ char *list = strv_join(&ids, ", ");
    struct finding *f = walk_add_finding(w, "multiple-heads", NULL, STEP_UP);
    f->message = xasprintf("%zu heads: %s", heads.n, list);
    _cleanup_free_ char *names = strv_join(&ids, " ");
    f->hint =
        str_eq(source_format(w->o->source), "alembic")
            ? xasprintf("belay merge %s (or: alembic merge -m \"merge heads\" %s)", names, names)
            : xstrdup("add a revision that names all of them as its parents");
    return 0;
}

/* The models against the schema at the top, where every revision has come to be applied. */
static int find_drift(struct walk *w, struct err *err)
{
    _cleanup_strv_ struct strv operations = {0};
    _cleanup_err_ struct err failed = {0};
    for (size_t i = 0; i < w->n; i++)
        if (w->skipped[i])
            return 0;
    if (!w->line || w->at < w->n)
        return 0;
    walk_progress(w, "models", NULL);
    if (line_drift(w->line, &operations, &failed) < 0) {
        if (failed.code != ERR_SOURCE) {
            err_move(err, &failed);
            return -1;
        }
        struct finding *f = walk_add_finding(w, "model-drift", NULL, STEP_UP);
        finding_from_err(f, &failed);
        finding_explain(f, "the models cannot be compared with the schema");
        return 0;
    }
    if (!operations.n)
        return 0;
    struct finding *f = walk_add_finding(w, "model-drift", NULL, STEP_UP);
    f->message = xasprintf("the models and the revisions disagree: autogenerate would write %zu "
                           "operation%s",
                           operations.n, operations.n == 1 ? "" : "s");
    f->hint = xstrdup("write a revision for it (belay revision --autogenerate -m MESSAGE), or mend "
                      "the models");
    for (size_t i = 0; i < operations.n; i++) {
        f->changes = xgrow(f->changes, f->nchanges, &f->changes_cap, sizeof(*f->changes));
        f->changes[f->nchanges++] = (struct finding_change){.object = xstrdup(operations.v[i]),
                                                            .text = xstrdup(operations.v[i])};
    }
    return 0;
}

static void finish_statuses(struct walk *w)
{
    for (size_t k = 0; k < w->n; k++) {
        struct revision_result *rr = walk_revision(w, k);
        if (rr->status == REVISION_NOT_RUN)
            continue;
        rr->status = k >= w->at             ? REVISION_NOT_RUN
                     : w->policy.checked[k] ? REVISION_OK
                                            : REVISION_REPLAYED;
        if (rr->status == REVISION_NOT_RUN)
            rr->not_run_reason = xstrdup("the check stopped before it");
        for (size_t i = 0; i < w->result->nfindings; i++)
            if (str_eq(w->result->findings[i].revision, rr->id))
                rr->status = REVISION_FINDINGS;
    }
}

static size_t finding_position(const struct walk *w, const struct finding *f)
{
    const struct revision *r = f->revision ? graph_find(w->graph, f->revision) : NULL;
    return r ? r->position : w->n;
}

/* Revisions in their order, the project last; of one revision as they were found. */
static void sort_findings(struct walk *w)
{
    struct check_result *r = w->result;
    size_t *next = xcalloc(w->n + 2, sizeof(*next));
    struct finding *sorted = xcalloc(r->nfindings, sizeof(*sorted));
    for (size_t i = 0; i < r->nfindings; i++)
        next[finding_position(w, &r->findings[i]) + 1]++;
    for (size_t k = 1; k < w->n + 2; k++)
        next[k] += next[k - 1];
    for (size_t i = 0; i < r->nfindings; i++)
        sorted[next[finding_position(w, &r->findings[i])]++] = r->findings[i];
    free(next);
    free(r->findings);
    r->findings = sorted;
    r->findings_cap = r->nfindings;
}

/* The proof that reading only what changed missed nothing. */
static int proved(struct walk *w, bool *ret, struct err *err)
{
    *ret = true;
    return w->env.full_reads || !w->line ? 0 : line_proved(w->line, ret, err);
}

/* What --keep-scratch keeps is the head of the history: after the descent there is nothing to look at. */
static int keep_head(struct walk *w, struct err *err)
{
    _cleanup_line_ struct line *head = NULL;
    return line_copy(w->line, NULL, &head, err) < 0 ? -1
                                                    : line_keep(head, &w->result->kept_url, err);
}

static int walk_all(struct walk *w, bool *ret_proved, struct err *err)
{
    const struct check_options *o = w->o;
    walk_progress(w, "scratch database", NULL);
    if (line_new(&w->env, &w->line, err) < 0 || line_read(w->line, true, &w->base, err) < 0)
        return -1;
    w->state = snapshot_copy(w->base);
    walk_ahead_start(w);
    if (walk_climb(w, err) < 0 || proved(w, ret_proved, err) < 0 ||
        (*ret_proved && walk_rows_proved(w, ret_proved, err) < 0))
        return -1;
    if (!*ret_proved)
        return 0;
    bool straight = false, descent = false;
    if (find_drift(w, err) < 0)
        return -1;
    walk_ahead_finish(w, &straight, &descent);
    if (o->keep_scratch && keep_head(w, err) < 0)
        return -1;
    if (o->quick) {
        w->result->descent = xstrdup("not run: --quick");
    } else if (!descent && w->at > w->segment &&
               walk_descend(w, &w->line, snapshot_copy(w->state), &w->rows.now, w->at, w->segment,
                            err) < 0) {
        return -1;
    }
    if (!w->result->descent)
        w->result->descent = xstrdup("equal");
    if (!descent && proved(w, ret_proved, err) < 0)
        return -1;
    if (!*ret_proved)
        return 0;
    if (o->quick)
        w->result->straight_run = xstrdup("not run: --quick");
    else if (straight)
        w->result->straight_run = xstrdup("equal");
    else if (walk_straight_run(w, &w->result->straight_run, err) < 0)
        return -1;
    return find_heads(w);
}

static void fill_result(struct walk *w)
{
    const struct check_options *o = w->o;
    struct check_result *r = w->result;
    walk_name(w);
    r->quick = o->quick;
    r->rows = o->rows;
    r->seed = o->seed;
    r->revisions = xcalloc(w->n, sizeof(*r->revisions));
    r->nrevisions = r->revisions_cap = w->n;
    for (size_t i = 0; i < w->n; i++) {
        const struct revision *rev = graph_at(w->graph, i);
        r->revisions[i].id = xstrdup(rev->id);
        r->revisions[i].title = xstrdup(rev->title);
        r->revisions[i].file = xstrdup(rev->file);
    }
}

static int check_once(const struct check_options *o, bool full_reads, struct check_result *result,
                      bool *ret_proved, struct err *err)
{
    struct walk w = {.o = o, .graph = source_graph(o->source), .result = result};
    double start = clock_seconds();
    w.n = graph_size(w.graph);
    w.total = w.n * (o->quick ? 1 : 5);
    w.deltas = xcalloc(w.n, sizeof(*w.deltas));
    w.skipped = xcalloc(w.n, sizeof(bool));
    w.rows.on = o->rows > 0;
    w.rows.deltas = xcalloc(w.n, sizeof(*w.rows.deltas));
    w.rows.fills = xcalloc(w.n, sizeof(*w.rows.fills));
    w.env = (struct line_env){
        .source = o->source,
        .engine = o->engine,
        .pool = o->pool,
        .baseline = o->baseline,
        .schema = {.version_tables = source_version_tables(o->source),
                   .roles = true,
                   .instrument = true},
        .full_reads = full_reads,
        .watch = o->rows > 0,
        .filter = walk_filter,
        .data = &w.policy,
        .stop = o->stop,
    };
    *ret_proved = true;
    int rc = policy_init(&w.policy, o, w.graph, err);
    if (rc == 0) {
        fill_result(&w);
        rc = walk_all(&w, ret_proved, err);
    }
    if (rc < 0 && w.stopped) {
        err_release(err);
        rc = 0;
    }
    result->interrupted = rc < 0 && err->code == ERR_INTERRUPTED;
    if (w.policy.checked) {
        finish_statuses(&w);
        sort_findings(&w);
        if (!result->descent)
            result->descent = xstrdup("not run: the check stopped before it");
        if (!result->straight_run)
            result->straight_run = xstrdup("not run: the check stopped before it");
        if (rc == 0)
            policy_apply_waivers(&w.policy, w.graph, result);
    }
    result->nsteps = w.env.steps;
    result->seconds = clock_seconds() - start;
    walk_release(&w);
    return rc;
}

int roundtrip_check(const struct check_options *o, struct check_result *ret, struct err *err)
{
    bool was_proved;
    int rc = check_once(o, false, ret, &was_proved, err);
    if (rc == 0 && !was_proved) {
        /* reading only what changed missed something: the verdict is worth nothing, so once more
         * with every snapshot read whole */
        check_result_release(ret);
        rc = check_once(o, true, ret, &was_proved, err);
    }
    return rc;
}
