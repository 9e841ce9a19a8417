/*
 * The walk, for a history in topological order with states S(0)..S(n):
 *
 *     climb      at each revision i:  up -> S(i)   down -> must equal S(i-1)   up -> must equal
 * S(i) descent    from the last revision down, each stop must equal the state recorded on the way
 * up straight   base to head in one go, on a fresh scratch; must equal S(n)
 *
 * A revision that cannot be taken back cleanly (its downgrade is missing, fails, raises on purpose
 * or leaves a trace) splits the history into segments: the line is replaced by a clean one at S(i),
 * and the segment below is descended on a copy of the clean S(i-1), so that every stop that can be
 * reached is compared and no revision is blamed for another's fault.
 *
 * Clean states come from the `clean` line, which only ever goes up, one revision at a time, and is
 * copied: over a whole check it costs one replay, however many revisions are at fault. Roles belong
 * to the whole server, so a history that makes roles cannot have two lines alive: there the clean
 * line is replayed for each use, after the roles were dropped (exclusive mode).
 *
 * A difference is reported only after the same steps, run a second time from a clean state, did not
 * differ from the first run by themselves; what did is `nondeterministic`.
 */
#include "runner/roundtrip.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "harness/base/file.h"
#include "harness/schema/delta.h"
#include "harness/schema/diff.h"
#include "runner/line.h"
#include "runner/policy.h"

/* A difference, with the snapshots it points into. */
struct noise {
    struct snapshot *first, *second;
    struct diff diff;
};

struct walk {
    const struct check_options *o;
    const struct graph *graph;
    struct check_result *result;
    struct policy policy;
    struct line_env env;
    size_t n;

    struct snapshot *base;  /* S(0) */
    struct snapshot *state; /* S(at), as recorded */
    size_t at;              /* revisions applied on the line, topologically */
    struct delta *deltas;   /* deltas[i]: S(i) to S(i+1); empty where revision i is not applied */
    bool *skipped;          /* the revision does not upgrade, or needs one that does not */
    size_t segment;         /* position below which the line cannot go down */

    struct line *line;
    struct line *clean; /* at S(clean_at), or NULL */
    size_t clean_at;
    bool exclusive;      /* the history makes roles */
    bool stopped;        /* the verdict is in the findings; nothing more can be run */
    struct strv roles;   /* roles the history made so far */
    struct noise *noise; /* what is known to differ between two runs of the same steps */
    size_t nnoise, noise_cap;
    size_t done, total; /* for the progress line */
};

static double now_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void progress(struct walk *w, const char *phase, const char *revision)
{
    const struct progress *p = &w->o->progress;
    if (p->step)
        p->step(p->data, w->done, w->total, phase, revision);
}

static struct revision_result *result_of(struct walk *w, size_t i)
{
    return &w->result->revisions[i];
}

/* --- findings ------------------------------------------------------------------------------- */

static struct finding *add_finding(struct walk *w, const char *id, const struct revision *r,
                                   enum step_direction direction)
{
    struct finding *f = result_add_finding(w->result, id, r ? r->id : NULL);
    if (r) {
        bool down = direction == STEP_DOWN && r->down_file;
        f->file = xstrdup(down ? r->down_file : r->file);
        f->line = down ? r->down_line : r->line;
    }
    return f;
}

static void add_changes(struct finding *f, const struct diff *d)
{
    _cleanup_diff_lines_ struct diff_lines lines = {0};
    diff_lines(d, &lines);
    for (size_t i = 0; i < lines.n; i++) {
        const struct change *c = lines.v[i].change;
        const struct object *o = c->before ? c->before : c->after;
        f->changes = xgrow(f->changes, f->nchanges, &f->changes_cap, sizeof(*f->changes));
        f->changes[f->nchanges++] = (struct finding_change){
            .object = xasprintf("%s %s", o->kind, o->identity),
            .property = xstrdup(c->property),
            .before = xstrdup(c->old_value),
            .after = xstrdup(c->new_value),
            .text = diff_line_text(&lines.v[i], false),
        };
    }
}

static const struct change *first_real(const struct diff *d)
{
    for (size_t i = 0; i < d->n; i++)
        if (d->changes[i].class == diff_class(d))
            return &d->changes[i];
    return NULL;
}

/* What the downgrade should have done about the first difference. */
static char *trace_hint(const struct diff *d)
{
    const struct change *c = first_real(d);
    if (!c)
        return NULL;
    const struct object *o = c->before ? c->before : c->after;
    if (c->class == CHANGE_COLUMN_ORDER)
        return xstrdup(
            "a column that was dropped can only come back last; code that names its columns "
            "does not notice");
    if (!c->before)
        return xasprintf("the downgrade leaves %s %s behind: drop it there", o->kind, o->identity);
    if (!c->after)
        return xasprintf("%s %s existed before the upgrade: the downgrade must keep or recreate it",
                         o->kind, o->identity);
    return xasprintf("the downgrade must put %s of %s %s back to %s", c->property, o->kind,
                     o->identity, c->old_value ? c->old_value : "nothing");
}

/* The id of a difference: what matters least has ids of its own. */
static const char *difference_id(const struct diff *d, const char *real)
{
    switch (diff_class(d)) {
    case CHANGE_COMMENT:
        return "comment-differs";
    case CHANGE_WHITESPACE:
        return "whitespace-differs";
    case CHANGE_COLUMN_ORDER:
        return "column-order-differs";
    case CHANGE_REAL:
        break;
    }
    return real;
}

static struct finding *add_difference(struct walk *w, const char *real_id, const struct revision *r,
                                      enum step_direction direction, const struct diff *d,
                                      const char *message)
{
    struct finding *f = add_finding(w, difference_id(d, real_id), r, direction);
    f->message = xstrdup(message);
    add_changes(f, d);
    return f;
}

/* The difference less the noise; *ret is empty when the snapshots are as good as equal. */
static bool differs(struct walk *w, const struct snapshot *expected, const struct snapshot *actual,
                    struct diff *ret)
{
    if (snapshot_equal(expected, actual))
        return false;
    diff_snapshots(expected, actual, ret);
    for (size_t i = 0; i < w->nnoise; i++)
        diff_subtract(ret, &w->noise[i].diff);
    return ret->n > 0;
}

/* Differences between two runs of the same steps: reported once, then left out of every comparison.
 */
static void add_noise(struct walk *w, const struct revision *r, const struct snapshot *first,
                      const struct snapshot *second)
{
    struct noise n = {.first = snapshot_copy(first), .second = snapshot_copy(second)};
    if (!differs(w, n.first, n.second, &n.diff)) {
        diff_release(&n.diff);
        snapshot_free(n.first);
        snapshot_free(n.second);
        return;
    }
    struct finding *f = add_finding(w, "nondeterministic", r, STEP_UP);
    f->message = xstrdup("two runs of the same steps give different schemas");
    f->hint = xstrdup("write the value out instead of computing it when the revision runs");
    add_changes(f, &n.diff);
    w->noise = xgrow(w->noise, w->nnoise, &w->noise_cap, sizeof(*w->noise));
    w->noise[w->nnoise++] = n;
}

/* A step that did not work: leaving a transaction open has an id of its own. */
static const char *failure_id(const struct step_result *s, const char *id)
{
    return s->transaction_open ? "leaves-transaction-open" : id;
}

static void note_session(struct walk *w, const struct revision *r, enum step_direction direction,
                         const struct step_result *s)
{
    const char *what = direction == STEP_UP ? "upgrade" : "downgrade";
    if (s->session_change) {
        struct finding *f = add_finding(w, "changes-session", r, direction);
        f->message =
            xasprintf("after the %s %s: revisions that run later in the same session feel it", what,
                      s->session_change);
        f->hint = xstrdup("use SET LOCAL, or put the setting back at the end of the revision");
    }
}

/* --- lines ---------------------------------------------------------------------------------- */

static int filter_snapshot(void *data, struct snapshot **s, struct err *err)
{
    return policy_filter(data, s, err);
}

/* Runs a step that worked before on a line that is not under test. */
static int replay_step(struct walk *w, struct line *l, size_t i, enum step_direction direction,
                       struct err *err)
{
    struct step_result s = {0};
    const struct revision *r = graph_at(w->graph, i);
    int rc = line_step(l, r, direction, false, &s, err);
    if (rc == 0 && s.outcome != STEP_OK && s.outcome != STEP_EMPTY) {
        struct finding *f = add_finding(w, "not-repeatable", r, direction);
        finding_from_err(f, &s.err);
        char *message = xasprintf("the %s worked once and fails on a fresh database: %s",
                                  direction == STEP_UP ? "upgrade" : "downgrade", f->message);
        free(f->message);
        f->message = message;
        free(f->hint);
        f->hint = xstrdup(
            "it changes something outside its database, which is still there the second time");
        w->stopped = true;
        err_move(err, &s.err);
        rc = -1;
    }
    step_result_release(&s);
    return rc;
}

static bool is_role(const struct object *o)
{
    return strcmp(o->kind, "role") == 0;
}

static bool is_cluster_wide(const struct object *o)
{
    return is_role(o) || strcmp(o->kind, "membership") == 0 || strcmp(o->kind, "role setting") == 0;
}

static void note_roles(struct walk *w, const struct snapshot *s)
{
    for (size_t i = 0; i < s->n; i++) {
        const struct object *o = s->objects[i];
        if (!is_cluster_wide(o) || snapshot_find(w->base, o->kind, o->identity))
            continue;
        w->exclusive = true;
        if (is_role(o) && !strv_has(&w->roles, o->identity))
            strv_add(&w->roles, o->identity);
    }
}

static int reset_server(struct walk *w, struct err *err)
{
    if (!scratch_pool_is_private(w->o->pool)) {
        err_set(err, ERR_ENV,
                "the history makes roles, which belong to the whole server, and the "
                "check must start again from none");
        return err_hint(err, "leave out --scratch-url: belay then starts a server of its own");
    }
    return line_drop_roles(&w->env, &w->roles, err);
}

/* Brings the clean line to S(upto). In exclusive mode nothing else may be alive. */
static int advance_clean(struct walk *w, size_t upto, struct err *err)
{
    if (w->exclusive) {
        line_free(TAKE_PTR(w->line));
        line_free(TAKE_PTR(w->clean));
        if (reset_server(w, err) < 0)
            return -1;
    }
    if (!w->clean) {
        if (line_new(&w->env, &w->clean, err) < 0)
            return -1;
        w->clean_at = 0;
    }
    for (; w->clean_at < upto; w->clean_at++) {
        size_t i = w->clean_at;
        progress(w, "back to a clean state", graph_at(w->graph, i)->id);
        if (!w->skipped[i] && replay_step(w, w->clean, i, STEP_UP, err) < 0)
            return -1;
    }
    return 0;
}

/* A line at the clean S(upto), for any use. */
static int clean_line(struct walk *w, size_t upto, struct line **ret, struct err *err)
{
    if (advance_clean(w, upto, err) < 0)
        return -1;
    if (!w->exclusive)
        return line_copy(w->clean, ret, err);
    *ret = TAKE_PTR(w->clean);
    return 0;
}

/* Replaces the line by a clean one at S(upto), which must be the recorded state. */
static int restore_line(struct walk *w, size_t upto, struct err *err)
{
    _cleanup_snapshot_ struct snapshot *s = NULL;
    line_free(TAKE_PTR(w->line));
    if (clean_line(w, upto, &w->line, err) < 0 || line_read(w->line, true, &s, err) < 0)
        return -1;
    add_noise(w, upto ? graph_at(w->graph, upto - 1) : NULL, w->state, s);
    return 0;
}

/* --- the descent ---------------------------------------------------------------------------- */

/* A descent that failed goes on below from a fresh replay; after so many it is enough. */
#define MAX_RESUMES 8

/*
 * Takes the line from S(from) down to S(to), comparing each stop. The line may be replaced.
 * *state is S(from) and is used up.
 */
static int descend(struct walk *w, struct line **line, struct snapshot *state, size_t from,
                   size_t to, struct err *err)
{
    _cleanup_snapshot_ struct snapshot *expected = state;
    int resumes = 0;
    for (size_t i = from; i-- > to;) {
        const struct revision *r = graph_at(w->graph, i);
        if (w->skipped[i])
            continue;
        struct snapshot *below = delta_apply(expected, &w->deltas[i], true);
        snapshot_free(expected);
        expected = below;

        struct step_result s = {0};
        _cleanup_snapshot_ struct snapshot *actual = NULL;
        _cleanup_diff_ struct diff d = {0};
        progress(w, "descent", r->id);
        w->done++;
        if (line_step(*line, r, STEP_DOWN, false, &s, err) < 0) {
            step_result_release(&s);
            return -1;
        }
        bool worked = s.outcome == STEP_OK || s.outcome == STEP_EMPTY;
        if (!worked) {
            struct finding *f = add_finding(w, "descent-fails", r, STEP_DOWN);
            finding_from_err(f, &s.err);
            char *message =
                xasprintf("the downgrade works right after the upgrade, and fails on the way "
                          "down from %s: %s",
                          graph_at(w->graph, from - 1)->id, f->message);
            free(f->message);
            f->message = message;
            free(w->result->descent);
            w->result->descent = xstrdup("failed");
        }
        step_result_release(&s);
        if (worked && line_read(*line, false, &actual, err) < 0)
            return -1;
        if (worked && !differs(w, expected, actual, &d))
            continue;
        if (worked) {
            struct finding *f =
                add_difference(w, "descent-differs", r, STEP_DOWN, &d,
                               "on the way down from the end, the downgrade does not "
                               "give back the schema of the way up");
            f->hint = trace_hint(&d);
            if (!str_eq(w->result->descent, "failed")) {
                free(w->result->descent);
                w->result->descent = xstrdup("differs");
            }
        }
        if (i == to)
            break;
        if (++resumes > MAX_RESUMES || w->exclusive) {
            free(w->result->descent);
            w->result->descent = xasprintf("not run below %s", r->id);
            break;
        }
        line_free(TAKE_PTR(*line));
        if (line_new(&w->env, line, err) < 0)
            return -1;
        for (size_t k = 0; k < i; k++)
            if (!w->skipped[k] && replay_step(w, *line, k, STEP_UP, err) < 0)
                return -1;
    }
    return 0;
}

/* Descends the segment that ends at S(w->at), on a copy of the clean state. A segment of one
 * revision has been down already. */
static int descend_segment(struct walk *w, size_t end, const struct snapshot *state,
                           struct err *err)
{
    if (end < w->segment + 2 || w->o->quick)
        return 0;
    _cleanup_line_ struct line *l = NULL;
    if (clean_line(w, end, &l, err) < 0)
        return -1;
    return descend(w, &l, snapshot_copy(state), end, w->segment, err);
}

/* --- the climb ------------------------------------------------------------------------------ */

/* Everything that needs revision i cannot run either. */
static void skip_dependents(struct walk *w, size_t i)
{
    const char *id = graph_at(w->graph, i)->id;
    w->skipped[i] = true;
    for (size_t k = i + 1; k < w->n; k++) {
        const struct revision *r = graph_at(w->graph, k);
        if (w->skipped[k] || !graph_is_ancestor(graph_at(w->graph, i), r))
            continue;
        w->skipped[k] = true;
        result_of(w, k)->status = REVISION_NOT_RUN;
        result_of(w, k)->not_run_reason = xasprintf("needs %s, which does not upgrade", id);
    }
}

static int upgrade_failed(struct walk *w, size_t i, const char *id, struct step_result *s,
                          struct err *err)
{
    const struct revision *r = graph_at(w->graph, i);
    struct finding *f = add_finding(w, id, r, STEP_UP);
    finding_from_err(f, &s->err);
    if (strcmp(id, "reupgrade-fails") == 0) {
        free(f->hint);
        f->hint = xstrdup(
            "the upgrade worked the first time: something outside the schema stayed behind");
        return 0;
    }
    skip_dependents(w, i);
    _cleanup_snapshot_ struct snapshot *after = NULL;
    _cleanup_diff_ struct diff d = {0};
    if (line_read(w->line, true, &after, err) < 0)
        return -1;
    if (differs(w, w->state, after, &d)) {
        f = add_difference(w, "half-applied", r, STEP_UP, &d,
                           "the failed upgrade leaves a part of its work");
        f->hint = xstrdup(
            "a revision that cannot run in a transaction should do one thing, or be written "
            "so that it can run again");
    }
    return 0;
}

/* Where a line stands after the downgrade was tried, and what it says. */
enum verdict {
    VERDICT_CLEAN, /* the line is at S(i) again, and can go below it */
    VERDICT_STAYS, /* the line is at S(i), and cannot go below it */
    VERDICT_DIRTY, /* the line is not at S(i) */
};

/*
 * The difference after the downgrade (or, with reup, after the second upgrade), confirmed: the same
 * steps from a clean S(i) tell what differs from run to run by itself.
 */
static int confirm(struct walk *w, size_t i, const struct snapshot *top,
                   const struct snapshot *down, const struct snapshot *reup, struct err *err)
{
    const struct revision *r = graph_at(w->graph, i);
    _cleanup_line_ struct line *l = NULL;
    _cleanup_snapshot_ struct snapshot *again = NULL;
    line_free(TAKE_PTR(w->line)); /* it holds roles in exclusive mode, and is not used again */
    if (clean_line(w, i, &l, err) < 0 || replay_step(w, l, i, STEP_UP, err) < 0 ||
        line_read(l, true, &again, err) < 0)
        return -1;
    add_noise(w, r, top, again);
    snapshot_free(TAKE_PTR(again));
    if (replay_step(w, l, i, STEP_DOWN, err) < 0 || line_read(l, true, &again, err) < 0)
        return -1;
    add_noise(w, r, down, again);
    if (!reup)
        return 0;
    snapshot_free(TAKE_PTR(again));
    if (replay_step(w, l, i, STEP_UP, err) < 0 || line_read(l, true, &again, err) < 0)
        return -1;
    add_noise(w, r, reup, again);
    return 0;
}

static int second_upgrade(struct walk *w, size_t i, const struct snapshot *top,
                          const struct snapshot *down, enum verdict *ret, struct err *err)
{
    const struct revision *r = graph_at(w->graph, i);
    struct step_result s = {0};
    _cleanup_snapshot_ struct snapshot *reup = NULL;
    _cleanup_diff_ struct diff d = {0};
    int rc = line_step(w->line, r, STEP_UP, false, &s, err);
    w->done++;
    bool failed = rc == 0 && s.outcome == STEP_FAILED;
    if (failed)
        rc = upgrade_failed(w, i, "reupgrade-fails", &s, err);
    step_result_release(&s);
    *ret = VERDICT_DIRTY;
    if (rc < 0 || failed)
        return rc;
    if (line_read(w->line, false, &reup, err) < 0)
        return -1;
    *ret = VERDICT_CLEAN;
    if (!differs(w, top, reup, &d))
        return 0;
    *ret = VERDICT_DIRTY;
    if (confirm(w, i, top, down, reup, err) < 0)
        return -1;
    diff_release(&d);
    if (differs(w, top, reup, &d))
        add_difference(
            w, "reupgrade-differs", r, STEP_UP, &d,
            "upgraded a second time, the revision gives another schema than the first time");
    return 0;
}

static int try_downgrade(struct walk *w, size_t i, const struct snapshot *top, bool empty_upgrade,
                         enum verdict *ret, struct err *err)
{
    const struct revision *r = graph_at(w->graph, i);
    struct step_result s = {0};
    _cleanup_snapshot_ struct snapshot *down = NULL;
    _cleanup_diff_ struct diff d = {0};
    if (line_step(w->line, r, STEP_DOWN, false, &s, err) < 0) {
        step_result_release(&s);
        return -1;
    }
    w->done++;
    result_of(w, i)->down_seconds = s.seconds;
    note_session(w, r, STEP_DOWN, &s);
    enum step_outcome outcome = s.outcome;
    if (outcome == STEP_FAILED || outcome == STEP_IRREVERSIBLE) {
        const char *id = outcome == STEP_FAILED ? "downgrade-fails" : "irreversible";
        struct finding *f = add_finding(w, failure_id(&s, id), r, STEP_DOWN);
        finding_from_err(f, &s.err);
    } else if ((outcome == STEP_EMPTY || outcome == STEP_MISSING) && !empty_upgrade) {
        struct finding *f = add_finding(w, "downgrade-missing", r, STEP_DOWN);
        f->message =
            xstrdup(outcome == STEP_EMPTY ? "the downgrade is empty" : "there is no downgrade");
        f->hint = xasprintf("write it; if there is no way back, say so with a waiver for "
                            "downgrade-missing of %s in belay.yaml",
                            r->id);
    }
    step_result_release(&s);
    if (outcome == STEP_MISSING) {
        *ret = VERDICT_STAYS;
        return 0;
    }
    if (outcome == STEP_FAILED || outcome == STEP_IRREVERSIBLE ||
        (outcome == STEP_EMPTY && !empty_upgrade)) {
        *ret = VERDICT_DIRTY;
        return 0;
    }

    if (line_read(w->line, false, &down, err) < 0)
        return -1;
    if (!differs(w, w->state, down, &d))
        return second_upgrade(w, i, top, down, ret, err);
    *ret = VERDICT_DIRTY;
    if (confirm(w, i, top, down, NULL, err) < 0)
        return -1;
    diff_release(&d);
    if (differs(w, w->state, down, &d)) {
        struct finding *f = add_difference(w, "downgrade-leaves-trace", r, STEP_DOWN, &d,
                                           "up and down again, the schema is not what it was");
        f->hint = trace_hint(&d);
    }
    return 0;
}

static void check_indexes(struct walk *w, const struct revision *r, const struct delta *d)
{
    for (size_t i = 0; i < d->nadded; i++) {
        const struct object *o = d->added[i];
        if (!object_get(o, "invalid"))
            continue;
        struct finding *f = add_finding(w, "invalid-index", r, STEP_UP);
        f->message =
            xasprintf("the upgrade leaves %s %s with an invalid index", o->kind, o->identity);
        f->hint =
            xstrdup("drop it and build it again: an invalid index is kept up to date but never "
                    "used, and IF NOT EXISTS takes it for the real one");
    }
}

static int climb_one(struct walk *w, size_t i, struct err *err)
{
    const struct revision *r = graph_at(w->graph, i);
    struct step_result s = {0};
    _cleanup_snapshot_ struct snapshot *top = NULL;
    progress(w, "climb", r->id);
    if (line_step(w->line, r, STEP_UP, false, &s, err) < 0) {
        step_result_release(&s);
        return -1;
    }
    w->done++;
    result_of(w, i)->up_seconds = s.seconds;
    note_session(w, r, STEP_UP, &s);
    bool empty_upgrade = s.outcome == STEP_EMPTY;
    if (s.outcome == STEP_FAILED) {
        int rc = upgrade_failed(w, i, failure_id(&s, "upgrade-fails"), &s, err);
        step_result_release(&s);
        if (rc < 0)
            return -1;
        w->at = i + 1;
        /* whatever it left (half the work, rows, sequences): the next revision starts clean */
        return restore_line(w, i + 1, err);
    }
    step_result_release(&s);
    if (line_read(w->line, false, &top, err) < 0)
        return -1;
    note_roles(w, top);
    delta_between(w->state, top, &w->deltas[i]);
    check_indexes(w, r, &w->deltas[i]);

    enum verdict verdict = VERDICT_STAYS;
    if (w->policy.may_downgrade[i] && try_downgrade(w, i, top, empty_upgrade, &verdict, err) < 0)
        return -1;
    if (verdict != VERDICT_CLEAN) {
        if (w->policy.checked[i] && descend_segment(w, i, w->state, err) < 0)
            return -1;
        w->segment = i + 1;
    }
    snapshot_free(w->state);
    w->state = TAKE_PTR(top);
    w->at = i + 1;
    /* in exclusive mode descend_segment() has used up the line as well */
    if (verdict == VERDICT_DIRTY || !w->line)
        return restore_line(w, i + 1, err);
    return 0;
}

static int climb(struct walk *w, struct err *err)
{
    for (size_t i = 0; i < w->n; i++) {
        if (w->skipped[i]) {
            w->at = i + 1;
            continue;
        }
        if (climb_one(w, i, err) < 0)
            return -1;
    }
    return 0;
}

/* --- the straight run ----------------------------------------------------------------------- */

/* The last revision that touched an object that differs; what only the straight run made, none did.
 */
static const struct revision *last_to_touch(struct walk *w, const struct diff *d)
{
    for (size_t i = w->n; i-- > 0;) {
        for (size_t k = 0; k < d->n; k++) {
            const struct change *c = &d->changes[k];
            if (delta_touches(&w->deltas[i], c->before ? c->before : c->after))
                return graph_at(w->graph, i);
        }
    }
    return NULL;
}

static int straight_run(struct walk *w, char **ret, struct err *err)
{
    for (size_t i = 0; i < w->n; i++) {
        if (w->skipped[i]) {
            *ret = xasprintf("not run: %s does not upgrade", graph_at(w->graph, i)->id);
            return 0;
        }
    }
    if (w->exclusive) {
        if (!scratch_pool_is_private(w->o->pool)) {
            *ret = xstrdup("not run: the history makes roles, and the server is not belay's own");
            return 0;
        }
        line_free(TAKE_PTR(w->line));
        line_free(TAKE_PTR(w->clean));
        if (reset_server(w, err) < 0)
            return -1;
    }
    _cleanup_line_ struct line *l = NULL;
    _cleanup_snapshot_ struct snapshot *s = NULL, *stepwise = NULL;
    _cleanup_diff_ struct diff d = {0};
    if (line_new(&w->env, &l, err) < 0)
        return -1;
    for (size_t i = 0; i < w->n; i++) {
        const struct revision *r = graph_at(w->graph, i);
        struct step_result step = {0};
        progress(w, "straight run", r->id);
        if (line_step(l, r, STEP_UP, true, &step, err) < 0) {
            step_result_release(&step);
            return -1;
        }
        w->done++;
        bool failed = step.outcome == STEP_FAILED;
        if (failed) {
            struct finding *f = add_finding(w, "straight-run-fails", r, STEP_UP);
            finding_from_err(f, &step.err);
            char *message =
                xasprintf("upgrading from base to head in one go fails here, though each "
                          "revision works alone: %s",
                          f->message);
            free(f->message);
            f->message = message;
        }
        step_result_release(&step);
        if (failed) {
            *ret = xstrdup("failed");
            return 0;
        }
    }
    if (line_read(l, true, &s, err) < 0)
        return -1;
    *ret = xstrdup("equal");
    if (!differs(w, w->state, s, &d))
        return 0;
    /* is it the one go, or any second run? */
    _cleanup_line_ struct line *again = NULL;
    line_free(TAKE_PTR(l));
    if (clean_line(w, w->n, &again, err) < 0 || line_read(again, true, &stepwise, err) < 0)
        return -1;
    add_noise(w, NULL, w->state, stepwise);
    diff_release(&d);
    if (!differs(w, w->state, s, &d))
        return 0;
    free(*ret);
    *ret = xstrdup("differs");
    add_difference(w, "straight-run-differs", last_to_touch(w, &d), STEP_UP, &d,
                   "upgrading from base to head in one go gives another schema than step by step");
    return 0;
}

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
    struct finding *f = add_finding(w, "multiple-heads", NULL, STEP_UP);
    f->message = xasprintf("%zu heads: %s", heads.n, list);
    f->hint = xstrdup("add a revision that names all of them as its parents");
    return 0;
}

static void finish_statuses(struct walk *w)
{
    for (size_t k = 0; k < w->n; k++) {
        struct revision_result *rr = result_of(w, k);
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

/* The proof that reading only what changed missed nothing. */
static int proved(struct walk *w, bool *ret, struct err *err)
{
    _cleanup_snapshot_ struct snapshot *quick = NULL, *full = NULL;
    *ret = true;
    if (w->env.full_reads || !w->line)
        return 0;
    if (line_read(w->line, false, &quick, err) < 0 || line_read(w->line, true, &full, err) < 0)
        return -1;
    *ret = snapshot_equal(quick, full);
    return 0;
}

static int walk_all(struct walk *w, bool *ret_proved, struct err *err)
{
    const struct check_options *o = w->o;
    progress(w, "scratch database", NULL);
    if (line_new(&w->env, &w->line, err) < 0 || line_read(w->line, true, &w->base, err) < 0)
        return -1;
    w->state = snapshot_copy(w->base);
    if (climb(w, err) < 0 || proved(w, ret_proved, err) < 0)
        return -1;
    if (!*ret_proved)
        return 0;
    if (o->quick) {
        w->result->descent = xstrdup("not run: --quick");
    } else if (w->at > w->segment &&
               descend(w, &w->line, snapshot_copy(w->state), w->at, w->segment, err) < 0) {
        return -1;
    }
    if (!w->result->descent)
        w->result->descent = xstrdup("equal");
    if (proved(w, ret_proved, err) < 0)
        return -1;
    if (!*ret_proved)
        return 0;
    if (o->keep_scratch && w->line && line_keep(w->line, &w->result->kept_url, err) < 0)
        return -1;
    if (o->quick)
        w->result->straight_run = xstrdup("not run: --quick");
    else if (straight_run(w, &w->result->straight_run, err) < 0)
        return -1;
    return find_heads(w);
}

static void walk_release(struct walk *w)
{
    line_free(w->line);
    line_free(w->clean);
    snapshot_free(w->base);
    snapshot_free(w->state);
    for (size_t i = 0; w->deltas && i < w->n; i++)
        delta_release(&w->deltas[i]);
    free(w->deltas);
    free(w->skipped);
    strv_release(&w->roles);
    for (size_t i = 0; i < w->nnoise; i++) {
        diff_release(&w->noise[i].diff);
        snapshot_free(w->noise[i].first);
        snapshot_free(w->noise[i].second);
    }
    free(w->noise);
    policy_release(&w->policy);
}

static void fill_result(struct walk *w)
{
    const struct check_options *o = w->o;
    struct check_result *r = w->result;
    r->project = xstrdup(o->project);
    r->format = xstrdup(source_format(o->source));
    r->engine = xstrdup(engine_name(o->engine));
    r->scratch = xstrdup(scratch_pool_describe(o->pool));
    r->quick = o->quick;
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
    double start = now_seconds();
    w.n = graph_size(w.graph);
    w.total = w.n * (o->quick ? 1 : 5);
    w.deltas = xcalloc(w.n, sizeof(*w.deltas));
    w.skipped = xcalloc(w.n, sizeof(bool));
    fill_result(&w);
    w.env = (struct line_env){
        .source = o->source,
        .engine = o->engine,
        .pool = o->pool,
        .baseline = o->baseline,
        .schema = {.version_tables = source_version_tables(o->source),
                   .roles = true,
                   .instrument = true},
        .full_reads = full_reads,
        .filter = filter_snapshot,
        .data = &w.policy,
        .stop = o->stop,
    };
    *ret_proved = true;
    int rc = policy_init(&w.policy, o, w.graph, err);
    if (rc == 0)
        rc = walk_all(&w, ret_proved, err);
    if (rc < 0 && w.stopped) {
        err_release(err);
        rc = 0;
    }
    result->interrupted = rc < 0 && err->code == ERR_INTERRUPTED;
    if (w.policy.checked) {
        finish_statuses(&w);
        if (rc == 0)
            policy_apply_waivers(&w.policy, result);
    }
    result->nsteps = w.env.steps;
    result->seconds = now_seconds() - start;
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
