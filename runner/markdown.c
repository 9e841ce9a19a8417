/* What comes from the project stands in HTML elements or code fences, where nothing of it is markup, a
 * mention or a link. */
#include "runner/markdown.h"

#include <string.h>

#include "harness/base/cleanup.h"

#define SHOWN 20         /* findings: a comment has room for 65536 characters */
#define FINDING_MAX 2000 /* bytes of one */

void markdown_code(struct str *out, const char *text)
{
    _cleanup_free_ char *clean = text_printable(text);
    str_add(out, "<code>");
    report_xml(out, clean, false);
    str_add(out, "</code>");
}

/* The fences are longer than any row of backticks in the text. */
void markdown_fenced(struct str *out, const char *language, const char *text)
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

static void cut(struct str *s)
{
    if (s->len <= FINDING_MAX)
        return;
    size_t end = FINDING_MAX; /* a whole character */
    while (end && ((unsigned char)s->p[end] & 0xc0) == 0x80)
        end--;
    s->p[s->len = end] = '\0';
    str_add(s, "…\n");
}

static void add_finding(struct str *out, const struct check_result *r, const struct finding *f)
{
    str_addf(out, "<details><summary>%s <b>%s</b>", report_mark_symbol(report_finding_mark(f)),
             f->id->id);
    if (f->revision) {
        const char *title = report_title(r, f->revision);
        _cleanup_free_ char *name = xasprintf("%s%s%s", f->revision, *title ? " " : "", title);
        str_addc(out, ' ');
        markdown_code(out, name);
    }
    str_add(out, "</summary>\n\n");
    _cleanup_str_ struct str lines = {0};
    report_finding_lines(f, &lines);
    cut(&lines);
    markdown_fenced(out, "diff", str_get(&lines));
    str_add(out, "\n</details>\n");
}

void markdown_findings(struct str *out, const struct check_result *r)
{
    size_t shown = 0;
    for (size_t i = 0; i < r->nfindings; i++) {
        if (r->findings[i].waived_reason)
            continue; /* known and accepted: the count is enough */
        if (shown++ < SHOWN)
            add_finding(out, r, &r->findings[i]);
    }
    if (shown > SHOWN)
        str_addf(out, "\n… and %zu more findings\n", shown - SHOWN);
}

void markdown_failure(struct str *out, const struct err *e)
{
    _cleanup_(check_result_release) struct check_result r = {0};
    struct finding *f = result_add_finding(&r, "upgrade-fails", NULL);
    finding_from_err(f, e);
    _cleanup_str_ struct str lines = {0};
    str_addf(&lines, "%s\n", report_message(f));
    report_finding_circumstances(f, &lines);
    if (f->trace)
        str_addf(&lines, "%s\n", f->trace);
    cut(&lines);
    markdown_fenced(out, "", str_get(&lines));
    str_addc(out, '\n');
}

void markdown_stopped(struct str *out, const struct err *why)
{
    if (!why)
        return;
    _cleanup_free_ char *text =
        xasprintf("%s%s%s", why->message, why->hint ? "\nhint: " : "", why->hint ? why->hint : "");
    markdown_fenced(out, "", text);
}
