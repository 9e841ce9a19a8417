/* A check as a page. */
#include "runner/page.h"

#include <string.h>

#include "harness/base/cleanup.h"

static void add_header(struct str *out, const struct check_result *r,
                       const struct report_options *o)
{
    _cleanup_str_ struct str verdict = {0}, work = {0};
    report_verdict(r, o, &verdict);
    report_work(r, " · ", &work);
    enum mark mark = report_verdict_mark(r, o);
    page_verdict(out, mark, str_get(&verdict));
    if (o->stopped)
        page_stopped(out, o->stopped);
    const char *const parts[] = {r->format, r->engine, r->scratch, r->quick ? "quick" : NULL};
    page_line(out, r->project ? r->project : "?", parts, ARRAY_LEN(parts));
    page_element(out, "p", "soft", str_get(&work));
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
    page_mark(out, mark);
    str_add(out, "<span>");
    str_add(out, link);
    page_element(out, "code", NULL, rev->id);
    str_add(out, *link ? "</a> " : " ");
    page_text(out, rev->title ? rev->title : "");
    if (rev->status == REVISION_NOT_RUN) {
        _cleanup_free_ char *why = xasprintf(" not run: %s", report_not_run_reason(rev));
        page_element(out, "span", "soft", why);
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
    page_element(out, "span", "times", str_get(&times));
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

void report_html(const struct check_result *r, const struct report_options *o, struct str *out)
{
    _cleanup_free_ char *title = xasprintf("belay check: %s", r->project ? r->project : "?");
    page_begin(out, title);
    add_header(out, r, o);
    page_findings(out, r);
    add_timeline(out, r);
    page_end(out, o->command);
}
