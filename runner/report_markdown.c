/*
 * A short Markdown report, for a comment on a pull request or a job's summary page: the verdict,
 * and each finding folded behind a line. What comes from the project stands in HTML elements or
 * code fences, where nothing of it is markup, a mention or a link.
 */
#include "runner/report.h"

#include <string.h>

#include "harness/base/cleanup.h"

#define SHOWN 20         /* findings: a comment has room for 65536 characters */
#define FINDING_MAX 2000 /* bytes of one */

static void add_code(struct str *out, const char *text)
{
    _cleanup_free_ char *clean = text_printable(text);
    str_add(out, "<code>");
    report_xml(out, clean, false);
    str_add(out, "</code>");
}

/* Text between fences that are longer than any row of backticks in it. */
static void add_fenced(struct str *out, const char *language, const char *text)
{
    size_t longest = 2;
    for (const char *p = text; *p; p++) {
        size_t n = strspn(p, "`");
        longest = n > longest ? n : longest;
        p += n ? n - 1 : 0;
    }
    _cleanup_str_ struct str fence = {0}, shown = {0};
    for (size_t i = 0; i <= longest; i++)
        str_addc(&fence, '`');
    for (const char *p = text; *p; p += *p == '\n') {
        size_t n = strcspn(p, "\n");
        str_add_printable(&shown, p, n);
        str_addc(&shown, '\n');
        p += n;
    }
    str_addf(out, "%s%s\n%s%s\n", str_get(&fence), language, str_get(&shown), str_get(&fence));
}

static void add_finding(struct str *out, const struct check_result *r, const struct finding *f)
{
    str_addf(out, "<details><summary>%s <b>%s</b>", report_mark_symbol(report_finding_mark(f)),
             f->id->id);
    if (f->revision) {
        const char *title = report_title(r, f->revision);
        _cleanup_free_ char *name = xasprintf("%s%s%s", f->revision, *title ? " " : "", title);
        str_addc(out, ' ');
        add_code(out, name);
    }
    str_add(out, "</summary>\n\n");
    _cleanup_str_ struct str lines = {0};
    report_finding_lines(f, &lines);
    if (lines.len > FINDING_MAX) {
        size_t end = FINDING_MAX; /* a whole character */
        while (end && ((unsigned char)lines.p[end] & 0xc0) == 0x80)
            end--;
        lines.p[lines.len = end] = '\0';
        str_add(&lines, "…\n");
    }
    add_fenced(out, "diff", str_get(&lines));
    str_add(out, "\n</details>\n");
}

void report_markdown(const struct check_result *r, const struct report_options *o, struct str *out)
{
    _cleanup_str_ struct str verdict = {0}, work = {0};
    report_verdict(r, o, &verdict);
    report_work(r, " · ", &work);
    str_addf(out, "### %s belay check: %s\n\n", report_mark_symbol(report_verdict_mark(r, o)),
             str_get(&verdict));
    str_add(out, "<p>");
    add_code(out, r->project ? r->project : "?");
    str_addf(out, " · %s · ", r->engine ? r->engine : "?");
    report_xml(out, str_get(&work), false);
    str_add(out, "</p>\n\n");
    if (o->stopped) {
        _cleanup_free_ char *why =
            xasprintf("%s%s%s", o->stopped->message, o->stopped->hint ? "\nhint: " : "",
                      o->stopped->hint ? o->stopped->hint : "");
        add_fenced(out, "", why);
    }
    size_t not_run = 0, shown = 0;
    for (size_t i = 0; i < r->nrevisions; i++)
        not_run += r->revisions[i].status == REVISION_NOT_RUN;
    if (not_run)
        str_addf(out, "%zu %s not run.\n\n", not_run,
                 not_run == 1 ? "revision was" : "revisions were");
    for (size_t i = 0; i < r->nfindings; i++) {
        if (r->findings[i].waived_reason)
            continue; /* known and accepted: the count is enough */
        if (shown++ < SHOWN)
            add_finding(out, r, &r->findings[i]);
    }
    if (shown > SHOWN)
        str_addf(out, "\n… and %zu more findings\n", shown - SHOWN);
}
