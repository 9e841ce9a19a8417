#include "runner/report.h"

#include <string.h>

#include "harness/base/cleanup.h"

report_fn report_find(const char *format)
{
    static const struct {
        const char *name;
        report_fn report;
    } reports[] = {
        {"text", report_text},
        {"json", report_json},
        {"junit", report_junit},
        {"sarif", report_sarif},
    };
    for (size_t i = 0; i < ARRAY_LEN(reports); i++)
        if (strcmp(reports[i].name, format) == 0)
            return reports[i].report;
    return NULL;
}

void report_change(const char *text, const struct terminal *t, int indent, struct str *out)
{
    _cleanup_free_ char *line = text_printable(text);
    enum style style = *line == '+' ? STYLE_GREEN : *line == '-' ? STYLE_RED : STYLE_PLAIN;
    str_addf(out, "%*s", indent, "");
    /* a property that changed lines up with the objects that came and went */
    if (style == STYLE_PLAIN)
        str_add(out, "  ");
    style_add(out, t, style, line);
    str_addc(out, '\n');
}

char *utf8_clean(const char *text)
{
    struct str s = {0};
    size_t len = strlen(text), bad;
    while (!utf8_valid(text, len, &bad)) {
        str_addn(&s, text, bad);
        str_add(&s, "\xef\xbf\xbd");
        text += bad + 1;
        len -= bad + 1;
    }
    str_addn(&s, text, len);
    return str_take(&s);
}

json_t *report_string(const char *text)
{
    if (!text)
        return json_null();
    _cleanup_free_ char *clean = utf8_clean(text);
    return json_string(clean);
}

json_t *report_change_json(const char *object, const char *property, const char *before,
                           const char *after, const char *text)
{
    json_t *j = json_object();
    json_object_set_new(j, "object", report_string(object));
    json_object_set_new(j, "property", report_string(property));
    json_object_set_new(j, "before", report_string(before));
    json_object_set_new(j, "after", report_string(after));
    json_object_set_new(j, "text", report_string(text));
    return j;
}

char *report_place(const struct finding *f)
{
    struct str s = {0};
    if (f->file)
        str_add(&s, f->file);
    if (f->file && f->line)
        str_addf(&s, ":%d", f->line);
    if (f->file && f->line && f->column)
        str_addf(&s, ":%d", f->column);
    return str_take(&s);
}

const char *report_message(const struct finding *f)
{
    return f->message ? f->message : f->id->meaning;
}

static const struct revision_result *find_revision(const struct check_result *r, const char *id)
{
    for (size_t i = 0; id && i < r->nrevisions; i++)
        if (strcmp(r->revisions[i].id, id) == 0)
            return &r->revisions[i];
    return NULL;
}

const char *report_file(const struct check_result *r, const struct finding *f)
{
    const struct revision_result *revision = f->file ? NULL : find_revision(r, f->revision);
    return revision ? revision->file : f->file;
}

const char *report_title(const struct check_result *r, const char *id)
{
    const struct revision_result *revision = find_revision(r, id);
    return revision && revision->title ? revision->title : "";
}

const char *report_not_run_reason(const struct revision_result *r)
{
    return r->not_run_reason ? r->not_run_reason : "stopped before it";
}

bool report_has_verdict(const struct check_result *r, const struct report_options *o)
{
    return !o->stopped && !r->interrupted;
}

bool report_fails(const struct finding *f, const struct report_options *o)
{
    return !f->waived_reason && f->severity >= o->fail_on;
}

int *report_worst(const struct check_result *r)
{
    int *worst = xcalloc(r->nrevisions + 1, sizeof(*worst));
    for (size_t i = 0; i < r->nrevisions; i++)
        worst[i] = -1;
    size_t at = 0; /* findings come in the order of revisions: the next one is mostly near */
    for (size_t i = 0; i < r->nfindings; i++) {
        const struct finding *f = &r->findings[i];
        if (!f->revision || f->waived_reason)
            continue;
        for (size_t tries = 0; tries < r->nrevisions; tries++, at = (at + 1) % r->nrevisions) {
            if (strcmp(r->revisions[at].id, f->revision) == 0) {
                if ((int)f->severity > worst[at])
                    worst[at] = (int)f->severity;
                break;
            }
        }
    }
    return worst;
}
