#include "runner/walk.h"

#include <stdlib.h>
#include <string.h>

void walk_progress(struct walk *w, const char *phase, const char *revision)
{
    const struct progress *p = &w->o->progress;
    if (p->step)
        p->step(p->data, w->done, w->total, phase, revision);
}

struct revision_result *walk_revision(struct walk *w, size_t i)
{
    return &w->result->revisions[i];
}

/* --- findings ------------------------------------------------------------------------------- */

struct finding *walk_add_finding(struct walk *w, const char *id, const struct revision *r,
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

/* Puts what it means before what the database said. */
void finding_explain(struct finding *f, const char *meaning)
{
    char *message = xasprintf("%s: %s", meaning, f->message);
    free(f->message);
    f->message = message;
}

/* What the downgrade should have done about the first difference. */
char *diff_hint(const struct diff *d)
{
    /* of the lines that people see: what came or went with a table is told by the table */
    _cleanup_diff_lines_ struct diff_lines lines = {0};
    const struct change *c = NULL;
    diff_lines(d, &lines);
    for (size_t i = 0; i < lines.n && !c; i++)
        if (lines.v[i].change->class == diff_class(d))
            c = lines.v[i].change;
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

struct finding *walk_add_difference(struct walk *w, const char *real_id, const struct revision *r,
                                    enum step_direction direction, const struct diff *d,
                                    const char *message)
{
    struct finding *f = walk_add_finding(w, difference_id(d, real_id), r, direction);
    f->message = xstrdup(message);
    add_changes(f, d);
    return f;
}

/* The difference less the noise; *ret is empty when the snapshots are as good as equal. */
bool walk_differs(struct walk *w, const struct snapshot *expected, const struct snapshot *actual,
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
void walk_add_noise(struct walk *w, const struct revision *r, const struct snapshot *first,
                    const struct snapshot *second)
{
    struct noise n = {.first = snapshot_copy(first), .second = snapshot_copy(second)};
    if (!walk_differs(w, n.first, n.second, &n.diff)) {
        diff_release(&n.diff);
        snapshot_free(n.first);
        snapshot_free(n.second);
        return;
    }
    struct finding *f = walk_add_finding(w, "nondeterministic", r, STEP_UP);
    f->message = xstrdup("two runs of the same steps give different schemas");
    f->hint = xstrdup("write the value out instead of computing it when the revision runs");
    add_changes(f, &n.diff);
    w->noise = xgrow(w->noise, w->nnoise, &w->noise_cap, sizeof(*w->noise));
    w->noise[w->nnoise++] = n;
}

/* A step that did not work: leaving a transaction open has an id of its own. */
const char *step_failure_id(const struct step_result *s, const char *id)
{
    return s->transaction_open ? "leaves-transaction-open" : id;
}

void walk_note_session(struct walk *w, const struct revision *r, enum step_direction direction,
                       const struct step_result *s)
{
    const char *what = direction == STEP_UP ? "upgrade" : "downgrade";
    if (s->session_change) {
        struct finding *f = walk_add_finding(w, "changes-session", r, direction);
        f->message =
            xasprintf("after the %s %s: revisions that run later in the same session feel it", what,
                      s->session_change);
        f->hint = xstrdup("use SET LOCAL, or put the setting back at the end of the revision");
    }
}

/* --- lines ---------------------------------------------------------------------------------- */

int walk_filter(void *data, struct snapshot **s, struct err *err)
{
    return policy_filter(data, s, err);
}

/* Runs a step that worked before on a line that is not under test. */
int walk_replay(struct walk *w, struct line *l, size_t i, enum step_direction direction,
                struct err *err)
{
    struct step_result s = {0};
    const struct revision *r = graph_at(w->graph, i);
    int rc = line_step(l, r, direction, &s, err);
    if (rc == 0 && s.outcome != STEP_OK && s.outcome != STEP_EMPTY) {
        struct finding *f = walk_add_finding(w, "not-repeatable", r, direction);
        finding_from_err(f, &s.err);
        finding_explain(f, direction == STEP_UP
                               ? "the upgrade worked once and fails on a fresh database"
                               : "the downgrade worked once and fails on a fresh database");
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

void walk_note_roles(struct walk *w, const struct snapshot *s)
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

int walk_reset_server(struct walk *w, struct err *err)
{
    if (scratch_pool_is_private(w->o->pool))
        return line_drop_roles(&w->env, &w->roles, err);
    _cleanup_free_ char *roles = strv_join(&w->roles, ", ");
    struct finding *f = walk_add_finding(w, "not-repeatable", NULL, STEP_UP);
    f->message =
        xasprintf("the history makes roles (%s), which belong to the whole server: the check "
                  "would have to start again without them, and cannot go on",
                  roles);
    f->hint =
        xstrdup("leave out --scratch-url: belay then starts a server of its own. A role that a "
                "downgrade leaves behind is still on the server");
    w->stopped = true;
    return err_set(err, ERR_SOURCE, "%s", f->message);
}

/* The last time that rows began anew on the way to S(upto), and how many times they did. */
static const struct rows_start *last_start(const struct walk *w, size_t upto, size_t *ret_count)
{
    size_t n = 0;
    while (n < w->rows.nstarts && w->rows.starts[n].at <= upto)
        n++;
    *ret_count = n;
    return n ? &w->rows.starts[n - 1] : NULL;
}

/* Takes a line that is not under test from S(*at) up to S(upto). */
static int replay_up(struct walk *w, struct line *l, size_t *at, size_t upto, bool rows,
                     struct err *err)
{
    for (; *at < upto; ++*at) {
        size_t i = *at;
        walk_progress(w, "back to a clean state", graph_at(w->graph, i)->id);
        if (w->skipped[i])
            continue;
        if (walk_replay(w, l, i, STEP_UP, err) < 0 || (rows && walk_rows_refill(w, l, i, err) < 0))
            return -1;
    }
    return 0;
}

int walk_new_line(struct walk *w, size_t upto, struct line **ret, struct err *err)
{
    _cleanup_line_ struct line *l = NULL;
    size_t at = 0, starts;
    const struct rows_start *s = last_start(w, upto, &starts);
    if (starts > 1) { /* the way there without rows is known to be needed again */
        at = s->at;
        if (walk_empty_line(w, at, &l, err) < 0)
            return -1;
    } else if (line_new(&w->env, &l, err) < 0) {
        return -1;
    }
    if (s && (replay_up(w, l, &at, s->at, false, err) < 0 ||
              walk_rows_start(w, l, s->at, s->kind, err) < 0))
        return -1;
    if (replay_up(w, l, &at, upto, s != NULL, err) < 0)
        return -1;
    *ret = TAKE_PTR(l);
    return 0;
}

/* Brings the clean line to S(upto). In exclusive mode nothing else may be alive. */
static int advance_clean(struct walk *w, size_t upto, struct err *err)
{
    size_t starts;
    const struct rows_start *s = last_start(w, upto, &starts);
    if (w->exclusive) {
        line_free(TAKE_PTR(w->line));
        line_free(TAKE_PTR(w->clean));
        line_free(TAKE_PTR(w->rows.empty));
        if (walk_reset_server(w, err) < 0)
            return -1;
    }
    if (w->clean && w->rows.clean_start != starts)
        line_free(TAKE_PTR(w->clean)); /* its rows are others */
    if (w->clean)
        return replay_up(w, w->clean, &w->clean_at, upto, s != NULL, err);
    w->rows.clean_start = starts;
    w->clean_at = upto;
    return walk_new_line(w, upto, &w->clean, err);
}

/* A line at the clean S(upto), for any use. */
int walk_clean_line(struct walk *w, size_t upto, struct line **ret, struct err *err)
{
    if (advance_clean(w, upto, err) < 0)
        return -1;
    if (!w->exclusive)
        return line_copy(w->clean, NULL, ret, err);
    *ret = TAKE_PTR(w->clean);
    return 0;
}

/* Replaces the line by a clean one at S(upto), which must be the recorded state. */
int walk_restore(struct walk *w, size_t upto, struct err *err)
{
    _cleanup_snapshot_ struct snapshot *s = NULL;
    line_free(TAKE_PTR(w->line));
    if (walk_clean_line(w, upto, &w->line, err) < 0 || line_read(w->line, true, &s, err) < 0)
        return -1;
    walk_add_noise(w, upto ? graph_at(w->graph, upto - 1) : NULL, w->state, s);
    return walk_rows_restored(w, upto, err);
}

void walk_name(struct walk *w)
{
    const struct check_options *o = w->o;
    struct check_result *r = w->result;
    r->project = xstrdup(o->project);
    r->format = xstrdup(source_format(o->source));
    r->engine = xstrdup(engine_name(o->engine));
    r->scratch = xstrdup(scratch_pool_describe(o->pool));
}

void walk_release(struct walk *w)
{
    walk_ahead_free(w);
    walk_relay_free(w);
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
    walk_rows_release(w);
}
