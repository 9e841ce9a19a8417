/*
 * One page to look at and to hand around: self-contained, without scripts, light and dark, for a
 * phone, a screen and paper. It is well-formed XML too, so that a test can parse it. All text of
 * the project goes through add_text().
 */
#include "runner/report.h"

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
    ".times { font-size: .85rem; text-align: right; font-variant-numeric: tabular-nums; }\n"
    "svg { display: block; width: 100%; height: 14px; }\n"
    ".up { fill: var(--up); } .down { fill: var(--down); }\n"
    ".key svg { display: inline-block; width: 12px; height: 12px; vertical-align: -1px; }\n"
    ".diff { list-style: none; margin: .5rem 0; padding: 0; }\n"
    ".diff li { padding: .1rem .4rem; border-radius: .2rem; white-space: pre-wrap; }\n"
    ".added, ins { background: var(--added); } .removed, del { background: var(--removed); }\n"
    "ins, del { text-decoration: none; padding: 0 .2rem; border-radius: .2rem; }\n"
    "summary { cursor: pointer; color: var(--soft); }\n"
    "@media (max-width: 40rem) { .revisions li { grid-template-columns: 1.2rem minmax(0, 1fr); }\n"
    "  .revisions svg, .times { grid-column: 2; text-align: left; } }\n"
    "@media print { :root { --text: #000; --soft: #444; --back: #fff; --card: #fff;\n"
    "  --line: #bbb; --error: #b3261e; --warning: #8a5a00; --note: #1f5fbf; --ok: #1b6e3c;\n"
    "  --added: #e2f4e7; --removed: #fbe5e3; } body { max-width: none; padding: 0; }\n"
    "  .revisions li, .finding { break-inside: avoid; }\n"
    "  * { print-color-adjust: exact; } }\n"
    "</style>\n";

/* Text of any bytes, each line made harmless, escaped. */
static void add_text(struct str *out, const char *text)
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

/* <element>text</element>; the class may be NULL. */
static void add_element(struct str *out, const char *element, const char *class, const char *text)
{
    str_addf(out, "<%s", element);
    if (class)
        str_addf(out, " class=\"%s\"", class);
    str_addc(out, '>');
    add_text(out, text);
    str_addf(out, "</%s>", element);
}

static void add_mark(struct str *out, enum mark mark)
{
    str_addf(out, "<span class=\"mark\" title=\"%s\">%s</span>", report_mark_word(mark),
             report_mark_symbol(mark));
}

static void add_header(struct str *out, const struct check_result *r,
                       const struct report_options *o)
{
    _cleanup_str_ struct str verdict = {0}, work = {0};
    report_verdict(r, o, &verdict);
    report_work(r, " · ", &work);
    enum mark mark = report_verdict_mark(r, o);
    str_addf(out, "<header class=\"verdict %s\">\n<h1>%s ", report_mark_word(mark),
             report_mark_symbol(mark));
    add_text(out, str_get(&verdict));
    str_add(out, "</h1>\n");
    if (o->stopped) {
        add_element(out, "p", NULL, o->stopped->message);
        if (o->stopped->hint)
            add_element(out, "p", "soft", o->stopped->hint);
    }
    str_add(out, "<p>");
    add_element(out, "strong", NULL, r->project ? r->project : "?");
    const char *const parts[] = {r->format, r->engine, r->scratch, r->quick ? "quick" : NULL};
    for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
        if (parts[i]) {
            str_add(out, " · ");
            add_text(out, parts[i]);
        }
    }
    str_add(out, "</p>\n");
    add_element(out, "p", "soft", str_get(&work));
    str_add(out, "\n</header>\n");
}

static double slowest(const struct check_result *r)
{
    double max = 0;
    for (size_t i = 0; i < r->nrevisions; i++) {
        max = r->revisions[i].up_seconds > max ? r->revisions[i].up_seconds : max;
        max = r->revisions[i].down_seconds > max ? r->revisions[i].down_seconds : max;
    }
    return max;
}

static void add_bar(struct str *out, const char *class, int y, double seconds, double max)
{
    if (seconds <= 0)
        return;
    double percent = seconds / max * 100;
    /* what ran is never invisible */
    str_addf(out, "<rect class=\"%s\" y=\"%d\" height=\"5\" rx=\"1\" width=\"%.2f%%\"/>", class, y,
             percent < 0.8 ? 0.8 : percent);
}

static void add_revision(struct str *out, const struct revision_result *rev, int worst,
                         const char *link, double max)
{
    enum mark mark = report_revision_mark(rev, worst);
    str_addf(out, "<li class=\"%s\">", report_mark_word(mark));
    add_mark(out, mark);
    str_add(out, "<span>");
    str_add(out, link);
    add_element(out, "code", NULL, rev->id);
    str_add(out, *link ? "</a> " : " ");
    add_text(out, rev->title ? rev->title : "");
    if (rev->status == REVISION_NOT_RUN) {
        _cleanup_free_ char *why = xasprintf(" not run: %s", report_not_run_reason(rev));
        add_element(out, "span", "soft", why);
        str_add(out, "</span></li>\n");
        return;
    }
    str_add(out, "</span>");
    char up[32], down[32];
    report_seconds(rev->up_seconds, up, sizeof(up));
    report_seconds(rev->down_seconds, down, sizeof(down));
    _cleanup_str_ struct str times = {0};
    if (rev->up_seconds > 0)
        str_addf(&times, "up %s", up);
    if (rev->status == REVISION_REPLAYED)
        str_addf(&times, "%snot checked", times.len ? ", " : "");
    else if (rev->down_seconds > 0)
        str_addf(&times, "%sdown %s", times.len ? ", " : "", down);
    str_add(out, "<svg role=\"img\" aria-label=\"");
    report_xml(out, str_get(&times), true);
    str_add(out, "\">");
    add_bar(out, "up", 1, rev->up_seconds, max);
    add_bar(out, "down", 8, rev->down_seconds, max);
    str_add(out, "</svg>");
    add_element(out, "span", "times", str_get(&times));
    str_add(out, "</li>\n");
}

/* Each revision's link to its first finding, "" without one: owned by the caller, like the texts. */
static char **finding_links(const struct check_result *r)
{
    char **links = xcalloc(r->nrevisions + 1, sizeof(*links));
    size_t at = 0; /* findings come in the order of revisions */
    for (size_t i = 0; i < r->nfindings; i++) {
        const char *id = r->findings[i].revision;
        for (size_t n = 0; id && n < r->nrevisions; n++, at = (at + 1) % r->nrevisions) {
            if (strcmp(r->revisions[at].id, id) == 0) {
                if (!links[at])
                    links[at] = xasprintf("<a href=\"#finding-%zu\">", i + 1);
                break;
            }
        }
    }
    return links;
}

static void add_timeline(struct str *out, const struct check_result *r)
{
    if (!r->nrevisions)
        return;
    double max = slowest(r);
    char longest[32];
    report_seconds(max, longest, sizeof(longest));
    str_addf(out, "<section>\n<h2>Revisions</h2>\n<p class=\"soft key\">"
                  "<svg><rect class=\"up\" width=\"12\" height=\"12\"/></svg> up "
                  "<svg><rect class=\"down\" width=\"12\" height=\"12\"/></svg> down; "
                  "the longest bar is ");
    report_xml(out, longest, false);
    str_add(out, "</p>\n<ol class=\"revisions\">\n");
    _cleanup_free_ int *worst = report_worst(r);
    _cleanup_free_ char **links = finding_links(r);
    for (size_t i = 0; i < r->nrevisions;) {
        size_t replayed = report_count_replayed(r, i);
        bool fold = replayed >= REPORT_REPLAYED_SHOWN;
        size_t end = fold ? i + replayed : i + 1;
        if (fold)
            str_addf(out,
                     "</ol>\n<details><summary>%zu revisions, only upgraded</summary>\n"
                     "<ol class=\"revisions\">\n",
                     replayed);
        for (; i < end; i++)
            add_revision(out, &r->revisions[i], worst[i], links[i] ? links[i] : "", max);
        if (fold)
            str_add(out, "</ol>\n</details>\n<ol class=\"revisions\">\n");
    }
    for (size_t i = 0; i < r->nrevisions; i++)
        free(links[i]);
    str_add(out, "</ol>\n</section>\n");
}

static void add_change(struct str *out, const struct finding_change *c)
{
    if (!c->property || !c->before || !c->after) {
        add_element(out, "li",
                    *c->text == '+'   ? "added"
                    : *c->text == '-' ? "removed"
                                      : NULL,
                    c->text);
        str_addc(out, '\n');
        return;
    }
    str_add(out, "<li>");
    add_text(out, c->object);
    str_add(out, ": ");
    add_text(out, c->property);
    str_addc(out, ' ');
    add_element(out, "del", NULL, c->before);
    str_add(out, " → ");
    add_element(out, "ins", NULL, c->after);
    str_add(out, "</li>\n");
}

static void add_folded(struct str *out, const char *summary, const char *text)
{
    str_addf(out, "<details><summary>%s</summary>", summary);
    add_element(out, "pre", NULL, text);
    str_add(out, "</details>\n");
}

static void add_finding(struct str *out, const struct check_result *r, size_t i)
{
    const struct finding *f = &r->findings[i];
    enum mark mark = report_finding_mark(f);
    str_addf(out, "<article class=\"finding %s\" id=\"finding-%zu\">\n<h3>", report_mark_word(mark),
             i + 1);
    add_mark(out, mark);
    str_addf(out, " <span class=\"id\">%s</span> ", f->id->id);
    if (f->revision) {
        add_element(out, "code", NULL, f->revision);
        str_addc(out, ' ');
    }
    add_text(out, f->revision ? report_title(r, f->revision) : "the project");
    str_add(out, "</h3>\n");
    add_element(out, "p", NULL, report_message(f));
    _cleanup_free_ char *place = report_place(f);
    if (*place || *f->sqlstate) {
        str_add(out, "<p class=\"soft\">");
        add_element(out, "code", NULL, place);
        if (*f->sqlstate) {
            str_add(out, " SQLSTATE ");
            add_text(out, f->sqlstate);
        }
        str_add(out, "</p>\n");
    }
    if (f->waived_reason) {
        _cleanup_free_ char *reason =
            xasprintf("waived: %s%s%s", f->waived_reason, f->waived_expires ? ", until " : "",
                      f->waived_expires ? f->waived_expires : "");
        add_element(out, "p", NULL, reason);
    }
    if (f->statement)
        add_element(out, "pre", NULL, f->statement);
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
    if (f->detail)
        add_folded(out, "detail", f->detail);
    if (f->trace)
        add_folded(out, "trace", f->trace);
    if (f->hint) {
        str_add(out, "<p><strong>hint:</strong> ");
        add_text(out, f->hint);
        str_add(out, "</p>\n");
    }
    str_add(out, "</article>\n");
}

void report_html(const struct check_result *r, const struct report_options *o, struct str *out)
{
    str_add(out, head);
    _cleanup_free_ char *title = xasprintf("belay check: %s", r->project ? r->project : "?");
    add_element(out, "title", NULL, title);
    str_addc(out, '\n');
    str_add(out, style);
    str_add(out, "</head>\n<body>\n");
    add_header(out, r, o);
    if (r->nfindings) {
        str_add(out, "<section>\n<h2>Findings</h2>\n");
        for (size_t i = 0; i < r->nfindings; i++)
            add_finding(out, r, i);
        str_add(out, "</section>\n");
    }
    add_timeline(out, r);
    if (o->command) {
        str_add(out, "<section>\n<h2>How to reproduce</h2>\n");
        add_element(out, "pre", NULL, o->command);
        str_add(out, "</section>\n");
    }
    add_element(out, "footer", "soft", "belay " BELAY_VERSION);
    str_add(out, "\n</body>\n</html>\n");
}
