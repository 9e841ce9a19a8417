/*
 * What the pages have in common. They are well-formed XML too, so that a test can parse them.
 */
#include "runner/page.h"

#include <string.h>

#include "harness/base/cleanup.h"

#define CHANGES_OPEN 12 /* of a finding; more are folded */

/* The first line of defence is escaping; the policy lets nothing load or run should one be missed. */
static const char head[] =
    "<!DOCTYPE html>\n"
    "<html xmlns=\"http://www.w3.org/1999/xhtml\" lang=\"en\">\n<head>\n"
    "<meta charset=\"utf-8\"/>\n"
    "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n"
    "<meta name=\"color-scheme\" content=\"light dark\"/>\n"
    "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; "
    "style-src 'unsafe-inline'; img-src data:\"/>\n"
    "<link rel=\"icon\" href=\"data:,\"/>\n";

static const char style[] =
    "<style>\n"
    ":root { --text: #1c2024; --soft: #5b6570; --back: #fff; --card: #f5f6f8; --line: #d5d9de;\n"
    "  --error: #b3261e; --warning: #8a5a00; --note: #1f5fbf; --ok: #1b6e3c; --up: #2a78c2;\n"
    "  --down: #c77d1e; --added: #e2f4e7; --removed: #fbe5e3; }\n"
    "@media (prefers-color-scheme: dark) { :root { --text: #e5e8eb; --soft: #a0aab4;\n"
    "  --back: #14171a; --card: #1e2327; --line: #3a424a; --error: #ff8d84; --warning: #f0b955;\n"
    "  --note: #86b7ff; --ok: #6fd397; --up: #5fa8ec; --down: #e5a250; --added: #15361f;\n"
    "  --removed: #45201d; } }\n"
    "* { box-sizing: border-box; }\n"
    "body { margin: 0 auto; max-width: 62rem; padding: 1rem; color: var(--text);\n"
    "  background: var(--back); font: 1rem/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }\n"
    "h1 { font-size: 1.5rem; line-height: 1.25; margin: 0 0 .5rem; }\n"
    "h2 { font-size: 1.15rem; margin: 2rem 0 .5rem; }\n"
    "h3 { font-size: 1rem; margin: 0; }\n"
    "p { margin: .3rem 0; }\n"
    "a { color: inherit; }\n"
    "code, pre, .diff { font: .875rem/1.45 ui-monospace, monospace; }\n"
    "pre { margin: .5rem 0; padding: .5rem .7rem; white-space: pre-wrap; border-radius: .3rem;\n"
    "  background: var(--back); border: 1px solid var(--line); }\n"
    ".soft, .times { color: var(--soft); }\n"
    ".error { --own: var(--error); } .warning { --own: var(--warning); }\n"
    ".note { --own: var(--note); } .ok { --own: var(--ok); }\n"
    ".waived, .replayed, .not-run { --own: var(--soft); }\n"
    ".mark, .id { color: var(--own); font-weight: 600; }\n"
    ".verdict, .finding { padding: .8rem 1rem; border-left: .3rem solid var(--own);\n"
    "  background: var(--card); border-radius: .3rem; }\n"
    ".verdict h1 { color: var(--own); }\n"
    ".finding { margin: .8rem 0; }\n"
    ".revisions { list-style: none; margin: 0; padding: 0; }\n"
    ".revisions li { display: grid; grid-template-columns: 1.2rem minmax(0, 3fr) minmax(0, 2fr)\n"
    "  11.5rem; gap: .6rem; align-items: center; padding: .3rem 0;\n"
    "  border-top: 1px solid var(--line); }\n"
    ".revisions.spans li { grid-template-columns: 1.2rem minmax(0, 2fr) minmax(0, 3fr) 4.5rem; }\n"
    ".revisions .part { border-top: 0; padding: 0 0 .2rem; font-size: .85rem; }\n"
    ".revisions .part span:nth-child(2) { padding-left: 1rem; color: var(--soft); }\n"
    ".times { font-size: .85rem; text-align: right; font-variant-numeric: tabular-nums; }\n"
    "svg { display: block; width: 100%; height: 14px; }\n"
    ".up { fill: var(--up); } .down { fill: var(--down); } .axis { fill: var(--line); }\n"
    ".reads { fill: var(--error); } .writes { fill: var(--down); }\n"
    ".numbers { list-style: none; display: grid; gap: .6rem; margin: .8rem 0 0; padding: 0;\n"
    "  grid-template-columns: repeat(auto-fit, minmax(11rem, 1fr)); }\n"
    ".numbers strong { display: block; font-size: 1.25rem; }\n"
    ".numbers span { font-size: .85rem; }\n"
    "dl { display: grid; grid-template-columns: 7.5rem minmax(0, 1fr); gap: .15rem .6rem;\n"
    "  margin: .5rem 0; }\n"
    "dt { color: var(--soft); } dd { margin: 0; }\n"
    ".revision { margin: 1.2rem 0; padding-top: .8rem; border-top: 1px solid var(--line); }\n"
    "table { width: 100%; border-collapse: collapse; }\n"
    "th { text-align: left; color: var(--soft); font-weight: 400; }\n"
    "td { vertical-align: top; padding: .15rem .6rem .15rem 0; white-space: nowrap; }\n"
    "td:last-child { width: 100%; white-space: normal; } td pre { margin: 0; }\n"
    ".key svg { display: inline-block; width: 12px; height: 12px; vertical-align: -1px; }\n"
    ".diff { list-style: none; margin: .5rem 0; padding: 0; }\n"
    ".diff li { padding: .1rem .4rem; border-radius: .2rem; white-space: pre-wrap; }\n"
    ".added, ins { background: var(--added); } .removed, del { background: var(--removed); }\n"
    "ins, del { text-decoration: none; padding: 0 .2rem; border-radius: .2rem; }\n"
    "summary { cursor: pointer; color: var(--soft); }\n"
    "@media (max-width: 40rem) { .revisions li, .revisions.spans li {\n"
    "  grid-template-columns: 1.2rem minmax(0, 1fr) auto; gap: .1rem .6rem; }\n"
    "  .revisions svg { grid-column: 2 / 4; grid-row: 2; }\n"
    "  .revisions .times { grid-column: 3; grid-row: 1; max-width: 8rem; }\n"
    "  .revisions .mark { align-self: start; }\n"
    "  tr { display: grid; grid-template-columns: auto 1fr; } td:last-child { grid-column: 1 / 3; "
    "}\n"
    "  th { display: none; } td { padding-right: 0; } td + td { padding-left: .6rem; }\n"
    "  td.times { text-align: left; } td:last-child { padding: 0 0 .6rem; }\n"
    "  dl { grid-template-columns: minmax(0, 1fr); } dd { margin: 0 0 .3rem; } }\n"
    "@media print { :root { --text: #000; --soft: #444; --back: #fff; --card: #fff;\n"
    "  --line: #bbb; --error: #b3261e; --warning: #8a5a00; --note: #1f5fbf; --ok: #1b6e3c;\n"
    "  --added: #e2f4e7; --removed: #fbe5e3; } body { max-width: none; padding: 0; }\n"
    "  .revisions li, .finding, tr { break-inside: avoid; } h2, h3 { break-after: avoid; }\n"
    "  details::details-content { content-visibility: visible; height: auto; }\n"
    "  * { print-color-adjust: exact; } }\n"
    "</style>\n";

void page_text(struct str *out, const char *text)
{
    _cleanup_str_ struct str s = {0};
    for (const char *p = text; *p; p += *p == '\n') {
        size_t n = strcspn(p, "\n");
        str_add_printable(&s, p, n);
        p += n;
        if (*p)
            str_addc(&s, '\n');
    }
    report_xml(out, str_get(&s), false);
}

void page_element(struct str *out, const char *element, const char *class, const char *text)
{
    str_addf(out, "<%s", element);
    if (class)
        str_addf(out, " class=\"%s\"", class);
    str_addc(out, '>');
    page_text(out, text);
    str_addf(out, "</%s>", element);
}

void page_mark(struct str *out, enum mark mark)
{
    str_addf(out, "<span class=\"mark\" title=\"%s\">%s</span>", report_mark_word(mark),
             report_mark_symbol(mark));
}

static void add_change(struct str *out, const struct finding_change *c)
{
    if (!c->property || !c->before || !c->after) {
        page_element(out, "li",
                     *c->text == '+'   ? "added"
                     : *c->text == '-' ? "removed"
                                       : NULL,
                     c->text);
        str_addc(out, '\n');
        return;
    }
    str_add(out, "<li>");
    page_text(out, c->object);
    str_add(out, ": ");
    page_text(out, c->property);
    str_addc(out, ' ');
    page_element(out, "del", NULL, c->before);
    str_add(out, " → ");
    page_element(out, "ins", NULL, c->after);
    str_add(out, "</li>\n");
}

void page_folded(struct str *out, const char *summary, const char *text)
{
    str_addf(out, "<details><summary>%s</summary>", summary);
    page_element(out, "pre", NULL, text);
    str_add(out, "</details>\n");
}

static void add_place(struct str *out, const struct finding *f)
{
    _cleanup_free_ char *place = report_place(f);
    if (*place || *f->sqlstate) {
        str_add(out, "<p class=\"soft\">");
        page_element(out, "code", NULL, place);
        if (*f->sqlstate) {
            str_add(out, " SQLSTATE ");
            page_text(out, f->sqlstate);
        }
        str_add(out, "</p>\n");
    }
}

static void add_rest(struct str *out, const struct finding *f)
{
    if (f->detail)
        page_folded(out, "detail", f->detail);
    if (f->trace)
        page_folded(out, "trace", f->trace);
    if (f->hint) {
        str_add(out, "<p><strong>hint:</strong> ");
        page_text(out, f->hint);
        str_add(out, "</p>\n");
    }
}

static void add_finding(struct str *out, const struct check_result *r, size_t i)
{
    const struct finding *f = &r->findings[i];
    enum mark mark = report_finding_mark(f);
    str_addf(out, "<article class=\"finding %s\" id=\"finding-%zu\">\n<h3>", report_mark_word(mark),
             i + 1);
    page_mark(out, mark);
    str_addf(out, " <span class=\"id\">%s</span> ", f->id->id);
    if (f->revision) {
        page_element(out, "code", NULL, f->revision);
        str_addc(out, ' ');
    }
    page_text(out, f->revision ? report_title(r, f->revision) : "the project");
    str_add(out, "</h3>\n");
    page_element(out, "p", NULL, report_message(f));
    add_place(out, f);
    if (f->waived_reason) {
        _cleanup_free_ char *reason =
            xasprintf("waived: %s%s%s", f->waived_reason, f->waived_expires ? ", until " : "",
                      f->waived_expires ? f->waived_expires : "");
        page_element(out, "p", NULL, reason);
    }
    if (f->statement)
        page_element(out, "pre", NULL, f->statement);
    for (size_t k = 0; k < f->nchanges; k++) {
        if (k == 0)
            str_add(out, "<ul class=\"diff\">\n");
        if (k == CHANGES_OPEN)
            str_addf(out, "</ul>\n<details><summary>%zu more</summary>\n<ul class=\"diff\">\n",
                     f->nchanges - k);
        add_change(out, &f->changes[k]);
    }
    if (f->nchanges)
        str_add(out, f->nchanges > CHANGES_OPEN ? "</ul></details>\n" : "</ul>\n");
    add_rest(out, f);
    str_add(out, "</article>\n");
}

void page_findings(struct str *out, const struct check_result *r)
{
    if (!r->nfindings)
        return;
    str_add(out, "<section>\n<h2>Findings</h2>\n");
    for (size_t i = 0; i < r->nfindings; i++)
        add_finding(out, r, i);
    str_add(out, "</section>\n");
}

void page_failure(struct str *out, const char *heading, const struct err *e)
{
    _cleanup_(check_result_release) struct check_result r = {0};
    struct finding *f = result_add_finding(&r, "upgrade-fails", NULL);
    finding_from_err(f, e);
    str_addf(out, "<section>\n<h2>%s</h2>\n<article class=\"finding error\">\n", heading);
    page_element(out, "p", NULL, f->message ? f->message : "unknown error");
    add_place(out, f);
    if (f->statement)
        page_element(out, "pre", NULL, f->statement);
    add_rest(out, f);
    str_add(out, "</article>\n</section>\n");
}

void page_term(struct str *out, const char *term, const char *text)
{
    str_addf(out, "<dt>%s</dt>", term);
    page_element(out, "dd", NULL, text);
    str_addc(out, '\n');
}

void page_term_list(struct str *out, const struct page_term *terms, size_t n)
{
    str_add(out, "<dl>\n");
    for (size_t i = 0; i < n; i++)
        page_term(out, terms[i].term, terms[i].text);
    str_add(out, "</dl>\n");
}

void page_bar(struct str *out, const char *class, double from, double until, double all,
              const char *title)
{
    double x = all > 0 ? from / all * 100 : 0, width = all > 0 ? (until - from) / all * 100 : 0;
    x = x < 0 ? 0 : x > 99.4 ? 99.4 : x;
    width = width < 0.6 ? 0.6 : x + width > 100 ? 100 - x : width;
    str_add(out, "<svg role=\"img\"><title>");
    page_text(out, title);
    str_addf(
        out,
        "</title><rect class=\"axis\" y=\"6\" height=\"1\" width=\"100%%\"/>"
        "<rect class=\"%s\" x=\"%.2f%%\" y=\"1\" height=\"11\" rx=\"1\" width=\"%.2f%%\"/></svg>",
        class, x, width);
}

void page_bar_line(struct str *out, const char *item, const char *what, const char *class,
                   double from, double until, double all)
{
    char seconds[32];
    report_seconds(until - from, seconds, sizeof(seconds));
    _cleanup_free_ char *title = xasprintf("%s: %s", what, seconds);
    str_addf(out, "<li%s%s%s><span></span>", item ? " class=\"" : "", item ? item : "",
             item ? "\"" : "");
    page_element(out, "span", NULL, what);
    page_bar(out, class, from, until, all, title);
    page_element(out, "span", "times", seconds);
    str_add(out, "</li>\n");
}

void page_begin(struct str *out, const char *title)
{
    str_add(out, head);
    page_element(out, "title", NULL, title);
    str_addc(out, '\n');
    str_add(out, style);
    str_add(out, "</head>\n<body>\n");
}

void page_end(struct str *out, const char *command)
{
    if (command) {
        str_add(out, "<section>\n<h2>How to reproduce</h2>\n");
        page_element(out, "pre", NULL, command);
        str_add(out, "</section>\n");
    }
    page_element(out, "footer", "soft", "belay " BELAY_VERSION);
    str_add(out, "\n</body>\n</html>\n");
}

void page_verdict(struct str *out, enum mark mark, const char *verdict)
{
    str_addf(out, "<header class=\"verdict %s\">\n<h1>%s ", report_mark_word(mark),
             report_mark_symbol(mark));
    page_text(out, verdict);
    str_add(out, "</h1>\n");
}

void page_stopped(struct str *out, const struct err *why)
{
    page_element(out, "p", NULL, why->message);
    if (why->hint)
        page_element(out, "p", "soft", why->hint);
}

void page_line(struct str *out, const char *name, const char *const *parts, size_t n)
{
    str_add(out, "<p>");
    page_element(out, "strong", NULL, name);
    for (size_t i = 0; i < n; i++) {
        if (parts[i]) {
            str_add(out, " · ");
            page_text(out, parts[i]);
        }
    }
    str_add(out, "</p>\n");
}
