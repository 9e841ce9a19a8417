/* A check as a few lines of Markdown, for a comment on a pull request or a job's summary page. */
#include "harness/base/cleanup.h"
#include "runner/markdown.h"

void report_markdown(const struct check_result *r, const struct report_options *o, struct str *out)
{
    _cleanup_str_ struct str verdict = {0}, work = {0};
    report_verdict(r, o, &verdict);
    report_work(r, " · ", &work);
    str_addf(out, "### %s belay check: %s\n\n", report_mark_symbol(report_verdict_mark(r, o)),
             str_get(&verdict));
    str_add(out, "<p>");
    markdown_code(out, r->project ? r->project : "?");
    str_addf(out, " · %s · ", r->engine ? r->engine : "?");
    report_xml(out, str_get(&work), false);
    str_add(out, "</p>\n\n");
    markdown_stopped(out, o->stopped);
    size_t not_run = 0;
    for (size_t i = 0; i < r->nrevisions; i++)
        not_run += r->revisions[i].status == REVISION_NOT_RUN;
    if (not_run)
        str_addf(out, "%zu %s not run.\n\n", not_run,
                 not_run == 1 ? "revision was" : "revisions were");
    markdown_findings(out, r);
}
