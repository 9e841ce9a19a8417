/* A rehearsal as a few lines of Markdown, for a comment on a pull request or a job's summary. */
#include <inttypes.h>
#include <stdio.h>

#include "harness/base/cleanup.h"
#include "runner/markdown.h"
#include "runner/report_rehearsal.h"

#define ROWS 30 /* revisions: a comment has room for 65536 characters */

static void add_cell(struct str *out, double seconds)
{
    char text[32] = "";
    if (seconds > 0)
        report_seconds(seconds, text, sizeof(text));
    str_add(out, "<td>");
    report_xml(out, text, false);
    str_add(out, "</td>");
}

static void add_row(struct str *out, const struct rehearsal *r, size_t i, int worst)
{
    const struct revision_result *rev = &r->check.revisions[i];
    const struct rehearsed *step = &r->steps[i];
    const struct measured_wait *w = measures_longest(&step->up.measures);
    _cleanup_free_ char *growth =
        step->up.ran ? report_bytes(step->up.measures.after - step->up.measures.before)
                     : xstrdup("");
    str_addf(out, "<tr><td>%s ", report_mark_symbol(report_revision_mark(rev, worst)));
    markdown_code(out, rev->id);
    str_add(out, "</td>");
    add_cell(out, step->up.ran ? step->up.seconds : 0);
    add_cell(out, step->down.ran ? step->down.seconds : 0);
    add_cell(out, w ? w->seconds : 0);
    str_addf(out, "<td>%s</td></tr>\n", growth);
}

void report_rehearsal_markdown(const struct rehearsal *r, const struct report_options *o,
                               struct str *out)
{
    const struct check_result *c = &r->check;
    _cleanup_str_ struct str verdict = {0};
    _cleanup_free_ int *worst = report_worst(c);
    report_verdict(c, o, &verdict);
    str_addf(out, "### %s belay rehearse: %s\n\n<p>", report_mark_symbol(report_verdict_mark(c, o)),
             str_get(&verdict));
    markdown_code(out, c->project ? c->project : "?");
    str_add(out, " on a copy of ");
    markdown_code(out, r->basis.from ? r->basis.from : "?");
    str_add(out, "</p>\n\n");
    markdown_stopped(out, o->stopped);
    if (c->nrevisions) {
        char up[32];
        _cleanup_free_ char *longest = report_longest(r), *growth = report_bytes(r->growth);
        report_seconds(r->up_seconds, up, sizeof(up));
        str_add(out, "<p>up <b>");
        report_xml(out, up, false);
        str_add(out, "</b> · ");
        report_xml(out, longest, false);
        str_addf(out, " · growth %s · the way down: ", growth);
        report_xml(out, r->descent ? r->descent : "?", false);
        str_add(out, "</p>\n\n<table>\n<tr><th>revision</th><th>up</th><th>down</th>"
                     "<th>longest wait</th><th>growth</th></tr>\n");
        for (size_t i = 0; i < c->nrevisions && i < ROWS; i++)
            add_row(out, r, i, worst[i]);
        str_add(out, "</table>\n\n");
        if (c->nrevisions > ROWS)
            str_addf(out, "… and %zu more revisions\n\n", c->nrevisions - ROWS);
    } else if (report_has_verdict(c, o)) {
        str_add(out, "Nothing is pending.\n");
    }
    markdown_findings(out, c);
}
