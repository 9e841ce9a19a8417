/* Each revision up, down and up again. */
#include "runner/walk.h"

#include <stdlib.h>
#include <string.h>

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
        walk_revision(w, k)->status = REVISION_NOT_RUN;
        walk_revision(w, k)->not_run_reason = xasprintf("needs %s, which does not upgrade", id);
    }
}

/* after: the schema that it left; NULL for the second upgrade. */
static void upgrade_failed(struct walk *w, size_t i, const char *id, const struct step_result *s,
                           const struct snapshot *after)
{
    const struct revision *r = graph_at(w->graph, i);
    struct finding *f = walk_add_finding(w, id, r, STEP_UP);
    finding_from_err(f, &s->err);
    if (strcmp(id, "reupgrade-fails") == 0) {
        free(f->hint);
        f->hint = xstrdup(
            "the upgrade worked the first time: something outside the schema stayed behind");
        return;
    }
    skip_dependents(w, i);
    _cleanup_diff_ struct diff d = {0};
    if (walk_differs(w, w->state, after, &d)) {
        f = walk_add_difference(w, "half-applied", r, STEP_UP, &d,
                                "the failed upgrade leaves a part of its work");
        bool python = str_eq(source_format(w->o->source), "alembic");
        f->hint = xstrdup(
            python && w->o->engine == &engine_sqlite
                ? "Python's sqlite3 makes and changes tables outside of transactions: let a "
                  "revision do one thing, or write it so that it can run again"
                : "a revision that cannot run in a transaction should do one thing, or be written "
                  "so that it can run again");
    }
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
    if (walk_clean_line(w, i, &l, err) < 0 || walk_replay(w, l, i, STEP_UP, err) < 0 ||
        line_read(l, true, &again, err) < 0)
        return -1;
    walk_add_noise(w, r, top, again);
    snapshot_free(TAKE_PTR(again));
    if (walk_replay(w, l, i, STEP_DOWN, err) < 0 || line_read(l, true, &again, err) < 0)
        return -1;
    walk_add_noise(w, r, down, again);
    if (!reup)
        return 0;
    snapshot_free(TAKE_PTR(again));
    if (walk_replay(w, l, i, STEP_UP, err) < 0 || line_read(l, true, &again, err) < 0)
        return -1;
    walk_add_noise(w, r, reup, again);
    return 0;
}

/* What one revision does, while it is climbed. */
struct pitch {
    size_t i;
    struct snapshot *top; /* S(i+1) */
    bool empty_upgrade;
    struct strv touched;     /* tables whose rows any of the steps may have changed */
    bool unknown;            /* they are not known: any may be */
    struct row_state before; /* R(i) */
    struct row_state first;  /* after the first upgrade, before anything was filled */
};

static void pitch_release(struct pitch *p)
{
    snapshot_free(p->top);
    strv_release(&p->touched);
    row_state_release(&p->before);
    row_state_release(&p->first);
}

/*
 * Adds what a step touched to what the pitch knows. *ret: what to read after the step, NULL: all. What
 * came, went or was renamed is in the difference of the schemas, up and down.
 */
static const struct strv *note_touched(struct walk *w, struct pitch *p, const struct step_result *s,
                                       struct strv *names)
{
    const struct strv *step = walk_rows_touched(w, p->i, s, names);
    if (!step)
        p->unknown = true;
    for (size_t i = 0; step && i < step->n; i++)
        if (!strv_has(&p->touched, step->v[i]))
            strv_add(&p->touched, step->v[i]);
    return step;
}

static const struct strv *touched_so_far(const struct pitch *p)
{
    return p->unknown ? NULL : &p->touched;
}

/* The second upgrade worked: its rows against those of the first. */
static int compare_again(struct walk *w, struct pitch *p, enum verdict *verdict, struct err *err)
{
    bool blamed = false;
    if (!walk_has_rows(w))
        return 0;
    if (walk_rows_read(w, w->line, touched_so_far(p), &w->rows.now, &w->rows.deltas[p->i], err) < 0)
        return -1;
    walk_judge_again(w, p->i, &p->first, &w->rows.now, touched_so_far(p), &blamed);
    if (blamed)
        *verdict = VERDICT_DIRTY;
    return 0;
}

static int second_upgrade(struct walk *w, struct pitch *p, const struct snapshot *down,
                          enum verdict *ret, struct err *err)
{
    size_t i = p->i;
    const struct revision *r = graph_at(w->graph, i);
    struct step_result s = {0};
    _cleanup_snapshot_ struct snapshot *reup = NULL;
    _cleanup_diff_ struct diff d = {0};
    int rc = line_step(w->line, r, STEP_UP, &s, err);
    w->done++;
    bool failed = rc == 0 && s.outcome == STEP_FAILED;
    if (failed)
        upgrade_failed(w, i, "reupgrade-fails", &s, NULL);
    _cleanup_strv_ struct strv names = {0};
    note_touched(w, p, &s, &names);
    step_result_release(&s);
    *ret = VERDICT_DIRTY;
    if (rc < 0 || failed)
        return rc;
    if (line_read(w->line, false, &reup, err) < 0)
        return -1;
    *ret = VERDICT_CLEAN;
    if (!walk_differs(w, p->top, reup, &d))
        return compare_again(w, p, ret, err);
    *ret = VERDICT_DIRTY;
    if (confirm(w, i, p->top, down, reup, err) < 0 && !w->stopped)
        return -1;
    diff_release(&d);
    if (walk_differs(w, p->top, reup, &d))
        walk_add_difference(
            w, "reupgrade-differs", r, STEP_UP, &d,
            "upgraded a second time, the revision gives another schema than the first time");
    return w->stopped ? -1 : 0;
}

/* There were rows wherever the revision may have changed some. */
static bool had_rows(const struct pitch *p)
{
    const struct strv *names = touched_so_far(p);
    for (size_t i = 0; i < p->before.n; i++) {
        const struct digest *d = &p->before.v[i]->digest;
        if (!d->sequence && !d->sum.rows && (!names || strv_has(names, d->name)))
            return false;
    }
    return true;
}

/* The rows after the downgrade against those before the upgrade. */
static int compare_rows(struct walk *w, struct pitch *p, const struct strv *touched,
                        bool *ret_blamed, struct err *err)
{
    struct row_state after = {0};
    *ret_blamed = false;
    if (!walk_has_rows(w))
        return 0;
    row_state_copy(&p->first, &after);
    int rc = walk_rows_read(w, w->line, touched, &after, NULL, err);
    const struct rows_suspicion s = {.i = p->i,
                                     .before = &p->before,
                                     .top = &p->first,
                                     .after = &after,
                                     .schema = p->top,
                                     .names = touched_so_far(p)};
    if (rc == 0)
        rc = walk_judge_rows(w, &s, ret_blamed, err);
    w->policy.judged[p->i] = rc == 0 && had_rows(p);
    row_state_release(&after);
    return rc;
}

static void add_trace(struct walk *w, const struct revision *r, const struct diff *d)
{
    struct finding *f = walk_add_difference(w, "downgrade-leaves-trace", r, STEP_DOWN, d,
                                            "up and down again, the schema is not what it was");
    f->hint = diff_hint(d);
}

/* The downgrade did not work. Where there are rows, they may be why. */
static int downgrade_failed(struct walk *w, size_t i, const struct step_result *s, struct err *err)
{
    const struct revision *r = graph_at(w->graph, i);
    enum rows_guilt guilt = ROWS_INNOCENT;
    _cleanup_snapshot_ struct snapshot *down = NULL;
    _cleanup_diff_ struct diff d = {0};
    if (s->outcome == STEP_FAILED && !s->transaction_open && walk_has_rows(w) &&
        walk_judge_downgrade(w, i, &s->err, &guilt, &down, err) < 0)
        return -1;
    const char *id = s->outcome == STEP_IRREVERSIBLE ? "irreversible"
                     : guilt == ROWS_INNOCENT        ? "downgrade-fails"
                     : guilt == ROWS_ANY             ? "downgrade-fails-on-rows"
                                                     : "downgrade-depends-on-data";
    struct finding *f = walk_add_finding(w, step_failure_id(s, id), r, STEP_DOWN);
    finding_from_err(f, &s->err);
    if (guilt != ROWS_INNOCENT)
        finding_explain(f, guilt == ROWS_ANY
                               ? "the downgrade works on empty tables and fails on rows that the "
                                 "upgrade took along"
                               : "the downgrade fails on some rows that the upgrade took along");
    if (down && walk_differs(w, w->state, down, &d)) /* the one fault does not hide the other */
        add_trace(w, r, &d);
    return 0;
}

static int try_downgrade(struct walk *w, struct pitch *p, enum verdict *ret, struct err *err)
{
    size_t i = p->i;
    const struct revision *r = graph_at(w->graph, i);
    struct step_result s = {0};
    _cleanup_snapshot_ struct snapshot *down = NULL;
    _cleanup_diff_ struct diff d = {0};
    if (line_step(w->line, r, STEP_DOWN, &s, err) < 0) {
        step_result_release(&s);
        return -1;
    }
    w->done++;
    walk_revision(w, i)->down_seconds = s.seconds;
    walk_note_session(w, r, STEP_DOWN, &s);
    enum step_outcome outcome = s.outcome;
    bool worked = outcome == STEP_OK || (outcome == STEP_EMPTY && p->empty_upgrade);
    int rc = 0;
    if (outcome == STEP_FAILED || outcome == STEP_IRREVERSIBLE) {
        rc = downgrade_failed(w, i, &s, err);
    } else if ((outcome == STEP_EMPTY || outcome == STEP_MISSING) && !p->empty_upgrade) {
        struct finding *f = walk_add_finding(w, "downgrade-missing", r, STEP_DOWN);
        f->message =
            xstrdup(outcome == STEP_EMPTY ? "the downgrade is empty" : "there is no downgrade");
        f->hint = xasprintf("write it; if there is no way back, say so with a waiver for "
                            "downgrade-missing of %s in belay.yaml",
                            r->id);
    }
    _cleanup_strv_ struct strv names = {0};
    const struct strv *touched = note_touched(w, p, &s, &names);
    step_result_release(&s);
    if (rc < 0)
        return -1;
    if (!worked) {
        *ret = outcome == STEP_MISSING ? VERDICT_STAYS : VERDICT_DIRTY;
        return 0;
    }

    bool blamed;
    if (line_read(w->line, false, &down, err) < 0 || compare_rows(w, p, touched, &blamed, err) < 0)
        return -1;
    *ret = VERDICT_DIRTY;
    if (!walk_differs(w, w->state, down, &d))
        return blamed || !w->line ? 0 : second_upgrade(w, p, down, ret, err);
    if (confirm(w, i, p->top, down, NULL, err) < 0 && !w->stopped)
        return -1; /* a walk that must stop here still says what it saw */
    diff_release(&d);
    if (walk_differs(w, w->state, down, &d))
        add_trace(w, r, &d);
    return w->stopped ? -1 : 0;
}

static void check_indexes(struct walk *w, const struct revision *r, const struct delta *d)
{
    for (size_t i = 0; i < d->nadded; i++) {
        const struct object *o = d->added[i];
        if (!object_get(o, "invalid"))
            continue;
        struct finding *f = walk_add_finding(w, "invalid-index", r, STEP_UP);
        f->message =
            xasprintf("the upgrade leaves %s %s with an invalid index", o->kind, o->identity);
        f->hint =
            xstrdup("drop it and build it again: an invalid index is kept up to date but never "
                    "used, and IF NOT EXISTS takes it for the real one");
    }
}

/* *ret: the failed upgrade has left the line as it was, to the row. */
static int is_unharmed(struct walk *w, const struct snapshot *failed, bool *ret, struct err *err)
{
    struct row_state rows = {0};
    struct row_delta changes = {0};
    *ret = false;
    if (!w->line || !snapshot_equal(failed, w->state))
        return 0;
    row_state_copy(&w->rows.now, &rows);
    int rc = walk_rows_read(w, w->line, NULL, &rows, &changes, err);
    *ret = rc == 0 && changes.n == 0;
    row_state_release(&rows);
    row_delta_release(&changes);
    return rc;
}

/* The line is not used again: where it can be, it is the one to go down. failed: the schema on it. */
static int descend_from(struct walk *w, size_t i, const struct snapshot *failed, struct err *err)
{
    bool unharmed = false;
    if (i <= w->segment || w->o->quick)
        return 0;
    if (is_unharmed(w, failed, &unharmed, err) < 0)
        return -1;
    return unharmed ? walk_descend(w, &w->line, snapshot_copy(w->state), &w->rows.now, i,
                                   w->segment, err)
                    : walk_descend_segment(w, i, w->state, &w->rows.now, err);
}

/*
 * The upgrade fails, and the rows are why: what is said, and how the walk goes on with rows that
 * pass. Below the revision the rows are others from now on: what was climbed until here is
 * descended first.
 */
static int upgrade_failed_on_rows(struct walk *w, size_t i, enum rows_guilt guilt,
                                  enum rows_kind passing, const struct step_result *s,
                                  const struct snapshot *failed, struct err *err)
{
    const struct revision *r = graph_at(w->graph, i);
    if (w->policy.checked[i]) {
        bool any = guilt == ROWS_ANY;
        struct finding *f = walk_add_finding(
            w, any ? "upgrade-fails-on-rows" : "upgrade-depends-on-data", r, STEP_UP);
        finding_from_err(f, &s->err);
        finding_explain(f, any ? "the upgrade works on empty tables and fails on any rows"
                               : "the upgrade fails on rows that the schema before it allows");
        if (!any && !f->hint)
            f->hint = xasprintf("%s: whether yours do, only an upgrade of a copy of the real data "
                                "can tell",
                                passing == ROWS_BENIGN ? "plain, distinct values pass"
                                                       : "only rows pass that already suit it");
        if (descend_from(w, i, failed, err) < 0)
            return -1;
    }
    w->segment = i;
    walk_rows_add_start(w, i, passing);
    return walk_restore(w, i, err);
}

/* The first upgrade, with other rows where the rows alone make it fail. */
static int first_upgrade(struct walk *w, size_t i, struct step_result *s,
                         struct snapshot **ret_failed, struct err *err)
{
    const struct revision *r = graph_at(w->graph, i);
    for (int attempt = 0;; attempt++) {
        walk_progress(w, "climb", r->id);
        if (line_step(w->line, r, STEP_UP, s, err) < 0)
            return -1;
        if (s->outcome != STEP_FAILED)
            return 0;
        enum rows_guilt guilt;
        enum rows_kind passing;
        if (line_read(w->line, true, ret_failed, err) < 0)
            return -1;
        if (attempt || s->transaction_open || !walk_has_rows(w))
            return 0;
        if (walk_judge_upgrade(w, i, &s->err, &guilt, &passing, err) < 0)
            return -1;
        if (guilt == ROWS_INNOCENT)
            return 0;
        _cleanup_snapshot_ struct snapshot *failed = TAKE_PTR(*ret_failed);
        if (upgrade_failed_on_rows(w, i, guilt, passing, s, failed, err) < 0)
            return -1;
        step_result_release(s);
        *s = (struct step_result){0};
    }
}

/* The line stands where the revision is applied: R(i+1). */
static int fill_line(struct walk *w, size_t i, struct err *err)
{
    return walk_has_rows(w) ? walk_rows_fill(w, i, err) : 0;
}

static int climb_pitch(struct walk *w, struct pitch *p, struct err *err)
{
    size_t i = p->i;
    const struct revision *r = graph_at(w->graph, i);
    _cleanup_(step_result_release) struct step_result s = {0};
    _cleanup_snapshot_ struct snapshot *failed = NULL;
    if (walk_rows_begin(w, i, err) < 0 || first_upgrade(w, i, &s, &failed, err) < 0)
        return -1;
    w->done++;
    walk_revision(w, i)->up_seconds = s.seconds;
    walk_note_session(w, r, STEP_UP, &s);
    p->empty_upgrade = s.outcome == STEP_EMPTY;
    if (s.outcome == STEP_FAILED) {
        upgrade_failed(w, i, step_failure_id(&s, "upgrade-fails"), &s, failed);
        w->at = i + 1;
        /* whatever it left (half the work, rows, sequences): the next revision starts clean */
        return walk_restore(w, i + 1, err);
    }
    if (line_read(w->line, false, &p->top, err) < 0)
        return -1;
    walk_note_roles(w, p->top);
    delta_between(w->state, p->top, &w->deltas[i]);
    check_indexes(w, r, &w->deltas[i]);
    if (walk_has_rows(w)) {
        _cleanup_strv_ struct strv names = {0};
        const struct strv *touched = note_touched(w, p, &s, &names);
        row_state_copy(&w->rows.now, &p->before);
        if (walk_rows_read(w, w->line, touched, &w->rows.now, &w->rows.deltas[i], err) < 0)
            return -1;
        row_state_copy(&w->rows.now, &p->first);
        walk_rows_plan(w, i, p->top, &p->before, &p->first);
    }

    enum verdict verdict = VERDICT_STAYS;
    if (w->policy.may_downgrade[i] && try_downgrade(w, p, &verdict, err) < 0)
        return -1;
    if (verdict != VERDICT_CLEAN) {
        if (w->policy.checked[i] && walk_descend_segment(w, i, w->state, &p->before, err) < 0)
            return -1;
        w->segment = i + 1;
    }
    snapshot_free(w->state);
    w->state = TAKE_PTR(p->top);
    w->at = i + 1;
    /* in exclusive mode walk_descend_segment() has used up the line as well */
    if (verdict == VERDICT_DIRTY || !w->line)
        return walk_restore(w, i + 1, err);
    return fill_line(w, i, err);
}

static int climb_one(struct walk *w, size_t i, struct err *err)
{
    struct pitch p = {.i = i};
    int rc = climb_pitch(w, &p, err);
    pitch_release(&p);
    return rc;
}

int walk_climb(struct walk *w, struct err *err)
{
    for (size_t i = 0; i < w->n; i++) {
        if (w->skipped[i]) {
            w->at = i + 1;
            continue;
        }
        if (climb_one(w, i, err) < 0)
            return -1;
        walk_relay_start(w);
    }
    return 0;
}
