/* What a deploy would do (--dry-run), in every format. What is to be said against it comes after the plan. */
#include <stdio.h>
#include <string.h>

#include "harness/base/cleanup.h"
#include "runner/markdown.h"
#include "runner/page.h"
#include "runner/report_deploy.h"
#include "runner/transfer.h"
#include "runner/verbs.h"

plan_report_fn report_plan_find(const char *format)
{
    static const struct {
        const char *name;
        plan_report_fn report;
    } reports[] = {
        {"text", report_plan_text},
        {"json", report_plan_json},
        {"html", report_plan_html},
        {"markdown", report_plan_markdown},
    };
    for (size_t i = 0; i < ARRAY_LEN(reports); i++)
        if (strcmp(reports[i].name, format) == 0)
            return reports[i].report;
    return NULL;
}

/* The caller owns it. */
static char *effort(const struct deploy_plan *p)
{
    _cleanup_free_ char *size = size_text(p->bytes), *bundle = size_text(p->bundle_bytes);
    return xasprintf("%s; bundle: about %s in %.0f s, restored in %.0f s (rough)", size, bundle,
                     p->bundle_seconds + 0.5, p->restore_seconds + 0.5);
}

void report_plan_text(const struct plan_report *r, const struct report_options *o, struct str *out)
{
    (void)o;
    const struct deploy_plan *p = r->plan;
    str_addf(out, "database   %s\nat         %s\nto         %s\nbundles    %s\n", r->database,
             report_or_base(p->from), report_or_base(p->to), r->dir);
    for (size_t i = 0; i < p->list.n; i++) {
        const struct revision *rev = p->list.v[i];
        _cleanup_free_ char *id = text_printable(rev->id), *title = text_printable(rev->title);
        str_addf(out, "%s%s %s%s\n", i ? "           " : "pending    ", id, title,
                 rev->down_file ? "" : "  (no downgrade)");
    }
    if (!p->list.n) {
        str_add(out, "pending    nothing\n");
        return;
    }
    _cleanup_free_ char *size = effort(p);
    str_addf(out, "size       %s\n", size);
    if (r->sql)
        str_addf(out, "SQL\n%s", r->sql);
    else
        str_addf(out, "SQL        not known without a database: %s\n", r->no_sql);
}

void report_plan_json(const struct plan_report *r, const struct report_options *o, struct str *out)
{
    (void)o;
    const struct deploy_plan *p = r->plan;
    json_t *j = json_object(), *pending = json_array();
    for (size_t i = 0; i < p->list.n; i++)
        json_array_append_new(pending, verb_json(p->list.v[i]));
    json_object_set_new(j, "type", json_string("belay-deploy-plan"));
    json_object_set_new(j, "version", json_integer(1));
    json_object_set_new(j, "database", report_string(r->database));
    json_object_set_new(j, "from", report_string(p->from));
    json_object_set_new(j, "to", report_string(p->to));
    json_object_set_new(j, "bundles", report_string(r->dir));
    json_object_set_new(j, "pending", pending);
    json_object_set_new(j, "bytes", json_integer((json_int_t)p->bytes));
    json_object_set_new(j, "bundle_bytes", json_integer((json_int_t)p->bundle_bytes));
    json_object_set_new(j, "bundle_seconds", report_seconds_json(p->bundle_seconds));
    json_object_set_new(j, "restore_seconds", report_seconds_json(p->restore_seconds));
    json_object_set_new(j, "sql", report_string(r->sql));
    json_object_set_new(j, "against", report_string(r->against->message));
    json_object_set_new(j, "details", report_string(r->against->trace));
    report_add_json(j, out);
}

/* "3 revisions pending", "nothing is pending"; the caller owns it. */
static char *verdict(const struct plan_report *r)
{
    size_t n = r->plan->list.n;
    if (err_is_set(r->against))
        return xstrdup("a deploy would be refused");
    return n ? xasprintf("%zu revision%s pending", n, n == 1 ? "" : "s")
             : xstrdup("nothing is pending");
}

static enum mark mark(const struct plan_report *r)
{
    return err_is_set(r->against) ? MARK_ERROR : MARK_OK;
}

void report_plan_html(const struct plan_report *r, const struct report_options *o, struct str *out)
{
    const struct deploy_plan *p = r->plan;
    _cleanup_free_ char *title = xasprintf("belay deploy --dry-run: %s", r->database);
    _cleanup_free_ char *words = verdict(r), *size = effort(p);
    _cleanup_free_ char *way = xasprintf("%s → %s", report_or_base(p->from), report_or_base(p->to));
    page_begin(out, title);
    page_verdict(out, mark(r), words);
    const char *const parts[] = {"dry run", r->engine, way};
    page_line(out, r->database, parts, ARRAY_LEN(parts));
    if (r->project)
        page_element(out, "p", "soft", r->project);
    str_add(out, "</header>\n");
    if (err_is_set(r->against))
        page_failure(out, "Why not", r->against);
    if (p->list.n)
        str_add(out, "<section>\n<h2>Pending</h2>\n<ul>\n");
    for (size_t i = 0; i < p->list.n; i++) {
        const struct revision *rev = p->list.v[i];
        str_add(out, "<li>");
        page_element(out, "code", NULL, rev->id);
        str_addc(out, ' ');
        page_text(out, rev->title);
        if (!rev->down_file)
            str_add(out, " <span class=\"soft\">(no downgrade)</span>");
        str_add(out, "</li>\n");
    }
    if (p->list.n) {
        const struct page_term terms[] = {{"bundles", r->dir}, {"size", size}};
        str_add(out, "</ul>\n");
        page_term_list(out, terms, ARRAY_LEN(terms));
        if (r->sql)
            page_folded(out, "SQL", r->sql);
        str_add(out, "</section>\n");
    }
    page_end(out, o->command);
}

void report_plan_markdown(const struct plan_report *r, const struct report_options *o,
                          struct str *out)
{
    (void)o;
    const struct deploy_plan *p = r->plan;
    _cleanup_free_ char *words = verdict(r);
    str_addf(out, "### %s belay deploy --dry-run: %s\n\n<p>", report_mark_symbol(mark(r)), words);
    markdown_code(out, r->database);
    str_addc(out, ' ');
    markdown_code(out, report_or_base(p->from));
    str_add(out, " → ");
    markdown_code(out, report_or_base(p->to));
    str_add(out, "</p>\n\n");
    if (err_is_set(r->against))
        markdown_failure(out, r->against);
    if (!p->list.n)
        return;
    _cleanup_free_ char *size = effort(p);
    str_add(out, "<ul>\n");
    for (size_t i = 0; i < p->list.n; i++) {
        const struct revision *rev = p->list.v[i];
        str_add(out, "<li>");
        markdown_code(out, rev->id);
        str_addc(out, ' ');
        markdown_code(out, rev->title);
        str_add(out, rev->down_file ? "</li>\n" : " (no downgrade)</li>\n");
    }
    str_addf(out, "</ul>\n\n<p>size %s</p>\n", size);
}
