/* The JSON report of a rehearsal; docs/report-json.md describes it. */
#include "runner/report_rehearsal.h"

#include <string.h>

#include "harness/base/cleanup.h"

static json_t *number(int64_t n)
{
    return n == MEASURE_UNKNOWN ? json_null() : json_integer(n);
}

static json_t *statement_index(size_t i)
{
    return i == SIZE_MAX ? json_null() : json_integer((json_int_t)i);
}

static json_t *list_json(const struct strv *l)
{
    json_t *a = json_array();
    for (size_t i = 0; i < l->n; i++)
        json_array_append_new(a, report_string(l->v[i]));
    return a;
}

/* ---- measures ---- */

static json_t *statements_json(const struct measures *m)
{
    json_t *a = json_array();
    for (size_t i = 0; i < m->nstatements; i++) {
        const struct measured_statement *s = &m->statements[i];
        json_t *j = json_object();
        json_object_set_new(j, "text", report_string(s->text));
        json_object_set_new(j, "file", report_string(s->file));
        json_object_set_new(j, "line", s->line ? json_integer(s->line) : json_null());
        json_object_set_new(j, "start", report_seconds_json(s->start));
        json_object_set_new(j, "seconds", report_seconds_json(s->seconds));
        json_object_set_new(j, "failed", json_boolean(s->failed));
        json_object_set_new(j, "rows", number(s->rows));
        json_object_set_new(j, "wal", number(s->wal));
        json_object_set_new(j, "pages", number(s->pages));
        json_array_append_new(a, j);
    }
    return a;
}

static json_t *locks_json(const struct measures *m)
{
    static const char *const blocks[] = {[LOCK_BLOCKS_NOTHING] = "nothing",
                                         [LOCK_BLOCKS_WRITES] = "writes",
                                         [LOCK_BLOCKS_READS] = "reads"};
    json_t *a = json_array();
    for (size_t i = 0; i < m->nlocks; i++) {
        const struct measured_lock *l = &m->locks[i];
        json_t *j = json_object();
        json_object_set_new(j, "relation", report_string(l->relation));
        json_object_set_new(j, "kind", report_string(l->kind));
        json_object_set_new(j, "mode", report_string(l->mode));
        json_object_set_new(j, "blocks", json_string(blocks[l->blocks]));
        json_object_set_new(j, "from", report_seconds_json(l->from));
        json_object_set_new(j, "until", report_seconds_json(l->until));
        json_object_set_new(j, "bytes", number(l->bytes));
        json_object_set_new(j, "statement", statement_index(l->statement));
        json_array_append_new(a, j);
    }
    return a;
}

static json_t *rewrites_json(const struct measures *m)
{
    json_t *a = json_array();
    for (size_t i = 0; i < m->nrewrites; i++) {
        const struct measured_rewrite *w = &m->rewrites[i];
        json_t *j = json_object();
        json_object_set_new(j, "relation", report_string(w->relation));
        json_object_set_new(j, "kind", report_string(w->kind));
        json_object_set_new(j, "before", number(w->before));
        json_object_set_new(j, "after", number(w->after));
        json_object_set_new(j, "statement", statement_index(w->statement));
        json_array_append_new(a, j);
    }
    return a;
}

static json_t *work_json(const struct measures *m)
{
    json_t *a = json_array();
    for (size_t i = 0; i < m->nwork; i++) {
        const struct measured_work *w = &m->work[i];
        json_t *j = json_object();
        json_object_set_new(j, "table", report_string(w->table));
        json_object_set_new(j, "bytes", number(w->bytes));
        json_object_set_new(j, "read", number(w->read));
        json_object_set_new(j, "written", number(w->written));
        json_object_set_new(j, "not_null", json_boolean(w->not_null));
        json_object_set_new(j, "validated", report_string(w->constraint));
        json_object_set_new(j, "statement", statement_index(w->statement));
        json_array_append_new(a, j);
    }
    return a;
}

static json_t *waits_json(const struct measures *m)
{
    json_t *a = json_array();
    for (size_t i = 0; i < m->nwaits; i++) {
        const struct measured_wait *w = &m->waits[i];
        json_t *j = json_object();
        json_object_set_new(j, "table", report_string(w->table));
        json_object_set_new(j, "who", json_string(w->writer ? "writer" : "reader"));
        json_object_set_new(j, "from", report_seconds_json(w->from));
        json_object_set_new(j, "seconds", report_seconds_json(w->seconds));
        json_object_set_new(j, "statement", statement_index(w->statement));
        json_array_append_new(a, j);
    }
    return a;
}

static json_t *pass_json(const struct rehearsed_pass *p, bool measured)
{
    json_t *j = json_object();
    const struct measures *m = &p->measures;
    if (!p->ran) {
        json_decref(j);
        return json_null();
    }
    json_object_set_new(j, "worked", json_boolean(p->worked));
    json_object_set_new(j, "seconds", report_seconds_json(p->seconds));
    if (!measured)
        return j;
    json_object_set_new(j, "statements", statements_json(m));
    json_object_set_new(j, "locks", locks_json(m));
    json_object_set_new(j, "rewrites", rewrites_json(m));
    json_object_set_new(j, "work", work_json(m));
    json_object_set_new(j, "blocked", waits_json(m));
    json_object_set_new(j, "tries", json_integer((json_int_t)m->tries));
    json_object_set_new(j, "bytes_before", number(m->before));
    json_object_set_new(j, "bytes_after", number(m->after));
    json_object_set_new(j, "bytes_peak", number(m->peak));
    json_object_set_new(j, "bytes_temporary", number(m->temp));
    json_object_set_new(j, "wal", number(m->wal));
    json_object_set_new(j, "pages", number(m->pages));
    json_object_set_new(j, "page_size", number(m->page_size));
    return j;
}

/* ---- the whole ---- */

static json_t *basis_json(const struct rehearsal_basis *b)
{
    json_t *j = json_object();
    json_object_set_new(j, "from", report_string(b->from));
    json_object_set_new(j, "kind", report_string(b->kind));
    json_object_set_new(j, "taken", report_string(b->taken));
    json_object_set_new(j, "server", report_string(b->server));
    json_object_set_new(j, "copy_server", report_string(b->copy_server));
    json_object_set_new(j, "bytes", number(b->bytes));
    json_object_set_new(j, "rows", number(b->rows));
    json_object_set_new(j, "copy_bytes", number(b->copy_bytes));
    json_object_set_new(j, "copy_rows", number(b->copy_rows));
    json_object_set_new(j, "sample", json_integer(b->sample));
    json_object_set_new(j, "seconds", report_seconds_json(b->seconds));
    json_object_set_new(j, "read", list_json(&b->read));
    json_object_set_new(j, "limits", list_json(&b->limits));
    return j;
}

static json_t *queries_json(const struct rehearsal_queries *q)
{
    json_t *j = json_object();
    json_object_set_new(j, "checked", json_integer((json_int_t)q->checked));
    json_object_set_new(j, "broken", json_integer((json_int_t)q->broken));
    json_object_set_new(j, "utility", json_integer((json_int_t)q->utility));
    json_object_set_new(j, "unseen", json_integer((json_int_t)q->unseen));
    json_object_set_new(j, "unchecked", list_json(&q->unchecked));
    return j;
}

static json_t *revision_json(const struct rehearsal *r, size_t i)
{
    const struct rehearsed *step = &r->steps[i];
    json_t *j = report_revision_json(&r->check.revisions[i]);
    json_object_set_new(j, "up", pass_json(&step->up, true));
    json_object_set_new(j, "down", pass_json(&step->down, true));
    json_object_set_new(j, "again", pass_json(&step->again, false));
    json_object_set_new(j, "changes", list_json(&step->changes));
    return j;
}

static json_t *longest_json(const struct rehearsal *r)
{
    size_t step = 0;
    const struct measured_wait *w = rehearsal_longest(r, &step);
    if (!w)
        return json_null();
    const struct measures *m = &r->steps[step].up.measures;
    json_t *j = json_object();
    json_object_set_new(j, "seconds", report_seconds_json(w->seconds));
    json_object_set_new(j, "table", report_string(w->table));
    json_object_set_new(j, "who", json_string(w->writer ? "writer" : "reader"));
    json_object_set_new(j, "revision", report_string(r->check.revisions[step].id));
    json_object_set_new(
        j, "statement",
        report_string(w->statement < m->nstatements ? m->statements[w->statement].text : NULL));
    return j;
}

/* What a team decides by. */
static json_t *decide_json(const struct rehearsal *r)
{
    json_t *j = json_object();
    json_object_set_new(j, "blocked", longest_json(r));
    json_object_set_new(j, "up_seconds", report_seconds_json(r->up_seconds));
    json_object_set_new(j, "down_seconds", report_seconds_json(r->down_seconds));
    json_object_set_new(j, "again_seconds", report_seconds_json(r->again_seconds));
    json_object_set_new(j, "growth", number(r->growth));
    json_object_set_new(j, "peak", number(r->peak));
    return j;
}

/* Budgets that are none are null. */
static json_t *budgets_json(const struct rehearsal *r)
{
    const struct rehearsal_budgets *b = &r->budgets;
    json_t *j = json_object();
    json_object_set_new(j, "max_blocked",
                        b->max_blocked > 0 ? report_seconds_json(b->max_blocked) : json_null());
    json_object_set_new(j, "max_duration",
                        b->max_duration > 0 ? report_seconds_json(b->max_duration) : json_null());
    json_object_set_new(j, "max_growth", b->max_growth ? json_integer(b->max_growth) : json_null());
    json_object_set_new(j, "long_lock", report_seconds_json(r->thresholds.long_lock));
    json_object_set_new(j, "big_table", json_integer(r->thresholds.big_table));
    return j;
}

void report_rehearsal_json(const struct rehearsal *r, const struct report_options *o,
                           struct str *out)
{
    json_t *j = json_object();
    json_object_set_new(j, "type", json_string("belay-rehearsal"));
    json_object_set_new(j, "version", json_integer(1));
    json_object_set_new(j, "belay", json_string(BELAY_VERSION));
    json_object_set_new(j, "project", report_string(r->check.project));
    json_object_set_new(j, "format", report_string(r->check.format));
    json_object_set_new(j, "engine", report_string(r->check.engine));
    json_object_set_new(j, "scratch", report_string(r->check.scratch));
    json_object_set_new(j, "interrupted", json_boolean(r->check.interrupted));
    report_add_verdict_json(j, &r->check, o);
    json_object_set_new(j, "copy", basis_json(&r->basis));
    json_object_set_new(j, "from", report_string(r->from));
    json_object_set_new(j, "to", report_string(r->to));
    json_object_set_new(j, "decide", decide_json(r));
    json_object_set_new(j, "budgets", budgets_json(r));
    json_object_set_new(j, "queries", queries_json(&r->queries));
    json_object_set_new(j, "descent", report_string(r->descent));
    json_object_set_new(j, "reupgrade", report_string(r->reupgrade));
    json_t *revisions = json_array(), *findings = json_array();
    for (size_t i = 0; i < r->check.nrevisions; i++)
        json_array_append_new(revisions, revision_json(r, i));
    for (size_t i = 0; i < r->check.nfindings; i++)
        json_array_append_new(findings, report_finding_json(&r->check.findings[i]));
    json_object_set_new(j, "revisions", revisions);
    json_object_set_new(j, "findings", findings);
    report_add_json(j, out);
}
