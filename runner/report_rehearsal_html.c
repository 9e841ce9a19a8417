/*
 * A rehearsal as a page: the numbers a team decides by, the revisions on one line of time, and of
 * each what it ran, what it locked and what others waited for.
 */
#include <inttypes.h>
#include <stdio.h>

#include "harness/base/cleanup.h"
#include "runner/page.h"
#include "runner/report_rehearsal.h"

#define CHANGES_OPEN 12    /* of the schema, by a revision; more are folded */
#define STATEMENTS_OPEN 12 /* the longest of a revision */

static void add_number(struct str *out, const char *value, const char *what)
{
    str_add(out, "<li>");
    page_element(out, "strong", NULL, value);
    page_element(out, "span", "soft", what);
    str_add(out, "</li>\n");
}

static void add_numbers(struct str *out, const struct rehearsal *r)
{
    char up[32], wait[32] = "none";
    size_t step = 0;
    const struct measured_wait *w = rehearsal_longest(r, &step);
    _cleanup_free_ char *growth = report_bytes(r->growth), *peak = report_bytes(r->peak);
    _cleanup_free_ char *room = xasprintf("more room afterwards; %s at its largest", peak);
    _cleanup_str_ struct str who = {0};
    report_seconds(r->up_seconds, up, sizeof(up));
    if (w) {
        report_seconds(w->seconds, wait, sizeof(wait));
        str_addf(&who, "the longest wait: a %s of %s, in %s", w->writer ? "writer" : "reader",
                 w->table, r->check.revisions[step].id);
    }
    str_add(out, "<ul class=\"numbers\">\n");
    add_number(out, up, "upgrade, all pending revisions");
    add_number(out, wait, w ? str_get(&who) : "of the readers and writers beside it had to wait");
    add_number(out, growth, room);
    add_number(out, r->descent ? r->descent : "?", "schema and rows after the way down");
    str_add(out, "</ul>\n");
}

static void add_header(struct str *out, const struct rehearsal *r, const struct report_options *o)
{
    _cleanup_str_ struct str verdict = {0}, way = {0};
    report_verdict(&r->check, o, &verdict);
    page_verdict(out, report_verdict_mark(&r->check, o), str_get(&verdict));
    if (o->stopped)
        page_stopped(out, o->stopped);
    if (r->from)
        str_addf(&way, "%s → %s", r->from, r->to ? r->to : "?");
    const char *const parts[] = {"rehearsal", r->check.format, r->check.engine,
                                 r->from ? str_get(&way) : NULL};
    page_line(out, r->check.project ? r->check.project : "?", parts, ARRAY_LEN(parts));
    if (r->check.nrevisions)
        add_numbers(out, r);
    else if (report_has_verdict(&r->check, o))
        page_element(out, "p", NULL, "nothing is pending");
    str_add(out, "</header>\n");
}

/* ---- the copy ---- */

static void add_copy(struct str *out, const struct rehearsal *r)
{
    const struct rehearsal_basis *b = &r->basis;
    if (!b->from)
        return;
    _cleanup_free_ char *from = report_copied_from(b), *on = report_run_on(r),
                        *sizes = report_sizes(b);
    str_add(out, "<section>\n<h2>The copy</h2>\n<dl>\n");
    page_term(out, "copy of", from);
    for (size_t i = 0; i < b->read.n; i++)
        page_term(out, "read", b->read.v[i]);
    page_term(out, "run on", on);
    page_term(out, "sizes", sizes);
    for (size_t i = 0; i < b->limits.n; i++)
        page_term(out, "cannot show", b->limits.v[i]);
    str_add(out, "</dl>\n</section>\n");
}

/* ---- bars ---- */

static const char *lock_class(const struct measured_lock *l)
{
    return l->blocks == LOCK_BLOCKS_READS ? "reads" : "writes";
}

static void add_timeline(struct str *out, const struct rehearsal *r)
{
    double all = r->up_seconds, at = 0;
    if (!r->check.nrevisions)
        return;
    _cleanup_free_ int *worst = report_worst(&r->check);
    str_add(out,
            "<section>\n<h2>The upgrade, on one line of time</h2>\n<p class=\"soft key\">"
            "<svg><rect class=\"up\" width=\"12\" height=\"12\"/></svg> revision "
            "<svg><rect class=\"reads\" width=\"12\" height=\"12\"/></svg> reads and writes wait "
            "<svg><rect class=\"writes\" width=\"12\" height=\"12\"/></svg> writes wait</p>\n"
            "<ol class=\"revisions spans\">\n");
    for (size_t i = 0; i < r->check.nrevisions; i++) {
        const struct revision_result *rev = &r->check.revisions[i];
        const struct rehearsed_pass *up = &r->steps[i].up;
        enum mark mark = report_revision_mark(rev, worst[i]);
        str_addf(out, "<li class=\"%s\">", report_mark_word(mark));
        page_mark(out, mark);
        str_addf(out, "<span><a href=\"#revision-%zu\">", i + 1);
        page_element(out, "code", NULL, rev->id);
        str_add(out, "</a> ");
        page_text(out, rev->title ? rev->title : "");
        str_add(out, "</span>");
        if (!up->ran) {
            str_add(out, "<span></span><span class=\"times\">not run</span></li>\n");
            continue;
        }
        char seconds[32];
        report_seconds(up->seconds, seconds, sizeof(seconds));
        page_bar(out, "up", at, at + up->seconds, all, seconds);
        page_element(out, "span", "times", seconds);
        str_add(out, "</li>\n");
        for (size_t k = 0; k < up->measures.nlocks; k++) {
            const struct measured_lock *l = &up->measures.locks[k];
            if (l->blocks == LOCK_BLOCKS_NOTHING)
                continue;
            _cleanup_free_ char *what = xasprintf("%s %s", l->kind, l->relation);
            page_bar_line(out, "part", what, lock_class(l), at + l->from, at + l->until, all);
        }
        at += up->seconds;
    }
    str_add(out, "</ol>\n</section>\n");
}

/* ---- a revision ---- */

/* before: the one above it in the table, or NULL. */
static void add_statement(struct str *out, const struct measured_statement *s,
                          const struct measured_statement *before)
{
    char seconds[32], rows[32] = "";
    report_seconds(s->seconds, seconds, sizeof(seconds));
    if (s->rows > 0)
        snprintf(rows, sizeof(rows), "%" PRId64 " row%s", s->rows, s->rows == 1 ? "" : "s");
    str_addf(out, "<tr%s>", s->failed ? " class=\"error\"" : "");
    page_element(out, "td", "times", seconds);
    page_element(out, "td", "times", rows);
    str_add(out, s->failed ? "<td><span class=\"id\">failed</span>" : "<td>");
    page_element(out, "pre", NULL, s->text ? s->text : "");
    if (s->file && (!before || !str_eq(before->file, s->file) || before->line != s->line)) {
        _cleanup_free_ char *place =
            s->line ? xasprintf("%s:%d", s->file, s->line) : xstrdup(s->file);
        page_element(out, "code", "soft", place);
    }
    str_add(out, "</td></tr>\n");
}

static void add_table(struct str *out, const struct measures *m, bool longest)
{
    const struct measured_statement *before = NULL;
    str_add(out, "<table>\n<tr><th>took</th><th></th><th>statement</th></tr>\n");
    for (size_t i = 0; i < m->nstatements; i++) {
        if (measures_is_long(m, i, STATEMENTS_OPEN) != longest)
            continue;
        add_statement(out, &m->statements[i], before);
        before = &m->statements[i];
    }
    str_add(out, "</table>\n");
}

/* In the order in which they ran; where there are many, the shorter ones are folded. */
static void add_statements(struct str *out, const struct measures *m)
{
    if (!m->nstatements)
        return;
    add_table(out, m, true);
    if (m->nstatements <= STATEMENTS_OPEN)
        return;
    str_addf(out, "<details><summary>%zu shorter ones</summary>\n",
             m->nstatements - STATEMENTS_OPEN);
    add_table(out, m, false);
    str_add(out, "</details>\n");
}

/* Takes the text over. */
static void add_fact(struct str *out, const char *label, char *text)
{
    _cleanup_free_ char *owned = text;
    page_term(out, label, owned);
}

static void add_facts(struct str *out, const struct measures *m)
{
    str_add(out, "<dl>\n");
    for (size_t i = 0; i < m->nlocks; i++)
        if (m->locks[i].blocks != LOCK_BLOCKS_NOTHING)
            add_fact(out, "lock", report_lock(&m->locks[i]));
    for (size_t i = 0; i < m->nwaits; i++)
        add_fact(out, "blocked", report_wait(m, &m->waits[i]));
    for (size_t i = 0; i < m->nrewrites; i++)
        add_fact(out, "rewritten", report_rewrite(&m->rewrites[i]));
    for (size_t i = 0; i < m->ninvalid; i++)
        page_term(out, "invalid index", m->invalid_indexes[i]);
    add_fact(out, "room", report_room(m));
    str_add(out, "</dl>\n");
}

static void add_changes(struct str *out, const struct strv *changes)
{
    if (!changes->n)
        return;
    str_addf(out, "<details%s><summary>the schema: %zu change%s</summary>\n<ul class=\"diff\">\n",
             changes->n <= CHANGES_OPEN ? " open=\"open\"" : "", changes->n,
             changes->n == 1 ? "" : "s");
    for (size_t i = 0; i < changes->n; i++) {
        const char *text = changes->v[i];
        page_element(out, "li", *text == '+' ? "added" : *text == '-' ? "removed" : NULL, text);
        str_addc(out, '\n');
    }
    str_add(out, "</ul></details>\n");
}

static void add_pass(struct str *out, const char *label, const struct rehearsed_pass *p)
{
    char seconds[32];
    if (!p->ran)
        return;
    report_seconds(p->seconds, seconds, sizeof(seconds));
    str_addf(out, "%s%s %s%s", out->len ? " · " : "", label, seconds, p->worked ? "" : ", failed");
}

static void add_revision(struct str *out, const struct rehearsal *r, size_t i, int worst)
{
    const struct revision_result *rev = &r->check.revisions[i];
    const struct rehearsed *step = &r->steps[i];
    enum mark mark = report_revision_mark(rev, worst);
    _cleanup_str_ struct str passes = {0};
    str_addf(out, "<article class=\"revision %s\" id=\"revision-%zu\">\n<h3>",
             report_mark_word(mark), i + 1);
    page_mark(out, mark);
    str_addc(out, ' ');
    page_element(out, "code", NULL, rev->id);
    str_addc(out, ' ');
    page_text(out, rev->title ? rev->title : "");
    str_add(out, "</h3>\n");
    if (rev->status == REVISION_NOT_RUN) {
        str_addf(&passes, "not run: %s", report_not_run_reason(rev));
    } else {
        add_pass(&passes, "up", &step->up);
        add_pass(&passes, "down", &step->down);
        add_pass(&passes, "up again", &step->again);
    }
    page_element(out, "p", "soft", str_get(&passes));
    if (rev->file)
        page_element(out, "code", "soft", rev->file);
    if (step->up.ran) {
        add_facts(out, &step->up.measures);
        add_changes(out, &step->changes);
        add_statements(out, &step->up.measures);
    }
    str_add(out, "</article>\n");
}

void report_rehearsal_html(const struct rehearsal *r, const struct report_options *o,
                           struct str *out)
{
    const struct check_result *c = &r->check;
    _cleanup_free_ char *title = xasprintf("belay rehearse: %s", c->project ? c->project : "?");
    page_begin(out, title);
    add_header(out, r, o);
    page_findings(out, c);
    add_timeline(out, r);
    if (c->nrevisions) {
        _cleanup_free_ int *worst = report_worst(c);
        str_add(out, "<section>\n<h2>Revision by revision</h2>\n");
        for (size_t i = 0; i < c->nrevisions; i++)
            add_revision(out, r, i, worst[i]);
        str_add(out, "</section>\n");
    }
    add_copy(out, r);
    page_end(out, o->command);
}
