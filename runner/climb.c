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

static int upgrade_failed(struct walk *w, size_t i, const char *id, struct step_result *s,
                          struct err *err)
{
    const struct revision *r = graph_at(w->graph, i);
    struct finding *f = walk_add_finding(w, id, r, STEP_UP);
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

static int second_upgrade(struct walk *w, size_t i, const struct snapshot *top,
                          const struct snapshot *down, enum verdict *ret, struct err *err)
{
    const struct revision *r = graph_at(w->graph, i);
    struct step_result s = {0};
    _cleanup_snapshot_ struct snapshot *reup = NULL;
    _cleanup_diff_ struct diff d = {0};
    int rc = line_step(w->line, r, STEP_UP, &s, err);
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
    if (!walk_differs(w, top, reup, &d))
        return 0;
    *ret = VERDICT_DIRTY;
    if (confirm(w, i, top, down, reup, err) < 0 && !w->stopped)
        return -1;
    diff_release(&d);
    if (walk_differs(w, top, reup, &d))
        walk_add_difference(
            w, "reupgrade-differs", r, STEP_UP, &d,
            "upgraded a second time, the revision gives another schema than the first time");
    return w->stopped ? -1 : 0;
}

static int try_downgrade(struct walk *w, size_t i, const struct snapshot *top, bool empty_upgrade,
                         enum verdict *ret, struct err *err)
{
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
    if (outcome == STEP_FAILED || outcome == STEP_IRREVERSIBLE) {
        const char *id = outcome == STEP_FAILED ? "downgrade-fails" : "irreversible";
        struct finding *f = walk_add_finding(w, step_failure_id(&s, id), r, STEP_DOWN);
        finding_from_err(f, &s.err);
    } else if ((outcome == STEP_EMPTY || outcome == STEP_MISSING) && !empty_upgrade) {
        struct finding *f = walk_add_finding(w, "downgrade-missing", r, STEP_DOWN);
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
    if (!walk_differs(w, w->state, down, &d))
        return second_upgrade(w, i, top, down, ret, err);
    *ret = VERDICT_DIRTY;
    if (confirm(w, i, top, down, NULL, err) < 0 && !w->stopped)
        return -1; /* a walk that must stop here still says what it saw */
    diff_release(&d);
    if (walk_differs(w, w->state, down, &d)) {
        struct finding *f = walk_add_difference(w, "downgrade-leaves-trace", r, STEP_DOWN, &d,
                                                "up and down again, the schema is not what it was");
        f->hint = diff_hint(&d);
    }
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

static int climb_one(struct walk *w, size_t i, struct err *err)
{
    const struct revision *r = graph_at(w->graph, i);
    struct step_result s = {0};
    _cleanup_snapshot_ struct snapshot *top = NULL;
    walk_progress(w, "climb", r->id);
    if (line_step(w->line, r, STEP_UP, &s, err) < 0) {
        step_result_release(&s);
        return -1;
    }
    w->done++;
    walk_revision(w, i)->up_seconds = s.seconds;
    walk_note_session(w, r, STEP_UP, &s);
    bool empty_upgrade = s.outcome == STEP_EMPTY;
    if (s.outcome == STEP_FAILED) {
        int rc = upgrade_failed(w, i, step_failure_id(&s, "upgrade-fails"), &s, err);
        step_result_release(&s);
        if (rc < 0)
            return -1;
        w->at = i + 1;
        /* whatever it left (half the work, rows, sequences): the next revision starts clean */
        return walk_restore(w, i + 1, err);
    }
    step_result_release(&s);
    if (line_read(w->line, false, &top, err) < 0)
        return -1;
    walk_note_roles(w, top);
    delta_between(w->state, top, &w->deltas[i]);
    check_indexes(w, r, &w->deltas[i]);

    enum verdict verdict = VERDICT_STAYS;
    if (w->policy.may_downgrade[i] && try_downgrade(w, i, top, empty_upgrade, &verdict, err) < 0)
        return -1;
    if (verdict != VERDICT_CLEAN) {
        if (w->policy.checked[i] && walk_descend_segment(w, i, w->state, err) < 0)
            return -1;
        w->segment = i + 1;
    }
    snapshot_free(w->state);
    w->state = TAKE_PTR(top);
    w->at = i + 1;
    /* in exclusive mode walk_descend_segment() has used up the line as well */
    if (verdict == VERDICT_DIRTY || !w->line)
        return walk_restore(w, i + 1, err);
    return 0;
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
    }
    return 0;
}
