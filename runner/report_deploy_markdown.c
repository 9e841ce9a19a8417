/* A deploy as a few lines of Markdown, for a comment, a chat or a job's summary. */
#include <stdio.h>

#include "harness/base/cleanup.h"
#include "runner/markdown.h"
#include "runner/report_deploy.h"

/* what is of any bytes, how is belay's own text */
static void add_item(struct str *out, const char *label, const char *what, const char *how)
{
    str_addf(out, "<li>%s", label);
    if (what) {
        str_addc(out, ' ');
        markdown_code(out, what);
    }
    if (how) {
        str_add(out, ": ");
        report_xml(out, how, false);
    }
    str_add(out, "</li>\n");
}

void report_deploy_markdown(const struct deploy_report *r, const struct report_options *o,
                            struct str *out)
{
    (void)o;
    const struct deploy_result *d = r->result;
    const struct deploy_entry *e = &d->entry;
    const char *rung = report_rung(r);
    bool proved = d->outcome == DEPLOY_OUTCOME_RESTORED && !r->aborted;
    str_addf(out, "### %s belay %s: %s\n\n<p>", report_mark_symbol(report_deploy_mark(r)),
             r->command, report_deploy_verdict(r));
    markdown_code(out, r->database);
    if (e->id) {
        str_addc(out, ' ');
        markdown_code(out, report_or_base(e->from));
        str_add(out, " → ");
        markdown_code(out, report_or_base(e->to));
    }
    str_add(out, "</p>\n\n");
    if (err_is_set(r->failure))
        markdown_failure(out, r->failure);
    if (rung) {
        str_add(out, "<ul>\n");
        add_item(out, proved ? "went back by" : "tried last", e->rung, rung);
        str_add(out, "</ul>\n\n");
    }
    if (d->words.n) {
        _cleanup_free_ char *words = strv_join(&d->words, "\n");
        markdown_fenced(out, "", words);
        str_addc(out, '\n');
    }
    struct deploy_advices list = {0};
    report_deploy_advices(r, &list);
    for (size_t i = 0; i < list.n; i++) {
        str_add(out, i ? "" : "<ul>\n");
        add_item(out, list.v[i].label, list.v[i].what, list.v[i].how);
        str_add(out, i + 1 == list.n ? "</ul>\n\n" : "");
    }
    deploy_advices_release(&list);
    for (size_t i = 0; i < d->nphases; i++) {
        char seconds[32];
        report_seconds(d->phases[i].seconds, seconds, sizeof(seconds));
        str_addf(out, "%s%s ", i ? " · " : "<p>", d->phases[i].name);
        report_xml(out, seconds, false);
        str_add(out, i + 1 == d->nphases ? "</p>\n" : "");
    }
}
