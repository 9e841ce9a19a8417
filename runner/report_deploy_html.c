/* A deploy as a page: how it ended, what failed, what was done about it and proved, and what is left. */
#include <stdio.h>

#include "harness/base/cleanup.h"
#include "runner/page.h"
#include "runner/report_deploy.h"

static void add_header(struct str *out, const struct deploy_report *r)
{
    const struct deploy_entry *e = &r->result->entry;
    _cleanup_str_ struct str way = {0}, when = {0};
    page_verdict(out, report_deploy_mark(r), report_deploy_verdict(r));
    if (e->id)
        str_addf(&way, "%s → %s", report_or_base(e->from), report_or_base(e->to));
    const char *const parts[] = {r->command, r->engine, e->id ? str_get(&way) : NULL};
    page_line(out, r->database ? r->database : "?", parts, ARRAY_LEN(parts));
    if (r->project)
        str_addf(&when, "%s", r->project);
    if (e->started)
        str_addf(&when, "%s%s", when.len ? " · " : "", e->started);
    if (e->finished)
        str_addf(&when, " – %s", e->finished);
    if (e->host)
        str_addf(&when, " · on %s", e->host);
    page_element(out, "p", "soft", str_get(&when));
    if (r->result->holder)
        page_element(out, "p", NULL, r->result->holder);
    str_add(out, "</header>\n");
}

static void add_phases(struct str *out, const struct deploy_result *d)
{
    double all = 0, at = 0;
    for (size_t i = 0; i < d->nphases; i++)
        all += d->phases[i].seconds;
    if (!d->nphases)
        return;
    str_add(out, "<section>\n<h2>Phases</h2>\n<ol class=\"revisions spans\">\n");
    for (size_t i = 0; i < d->nphases; i++) {
        const struct deploy_phase *p = &d->phases[i];
        page_bar_line(out, NULL, p->name, "up", at, at + p->seconds, all);
        at += p->seconds;
    }
    str_add(out, "</ol>\n</section>\n");
}

static void add_story(struct str *out, const struct deploy_report *r)
{
    const struct deploy_result *d = r->result;
    const char *rung = report_rung(r);
    if (!d->words.n && !rung)
        return;
    str_add(out, "<section>\n<h2>The way back</h2>\n");
    if (rung) {
        bool proved = d->outcome == DEPLOY_OUTCOME_RESTORED && !r->aborted;
        const struct page_term terms[] = {{proved ? "went back by" : "tried last", d->entry.rung},
                                          {proved ? "proof" : "how", rung}};
        page_term_list(out, terms, ARRAY_LEN(terms));
    }
    for (size_t i = 0; i < d->words.n; i++) {
        str_add(out, i ? "" : "<ul>\n");
        page_element(out, "li", NULL, d->words.v[i]);
        str_add(out, i + 1 == d->words.n ? "\n</ul>\n" : "\n");
    }
    str_add(out, "</section>\n");
}

static void add_advices(struct str *out, const struct deploy_report *r)
{
    struct deploy_advices list = {0};
    report_deploy_advices(r, &list);
    if (list.n)
        str_add(out, "<section>\n<h2>What is left, and what to do</h2>\n<dl>\n");
    for (size_t i = 0; i < list.n; i++) {
        page_element(out, "dt", NULL, list.v[i].label);
        str_add(out, "<dd>");
        if (list.v[i].what)
            page_element(out, "code", NULL, list.v[i].what);
        if (list.v[i].how)
            page_element(out, "p", NULL, list.v[i].how);
        str_add(out, "</dd>\n");
    }
    if (list.n)
        str_add(out, "</dl>\n</section>\n");
    deploy_advices_release(&list);
}

void report_deploy_html(const struct deploy_report *r, const struct report_options *o,
                        struct str *out)
{
    _cleanup_free_ char *title = xasprintf("belay %s: %s", r->command, r->database);
    page_begin(out, title);
    add_header(out, r);
    if (err_is_set(r->failure))
        page_failure(out, r->aborted ? "Why not" : "What failed", r->failure);
    add_story(out, r);
    add_advices(out, r);
    add_phases(out, r->result);
    page_end(out, o->command);
}
