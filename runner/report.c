#include "runner/report.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "harness/base/cleanup.h"

report_fn report_find(const char *format)
{
    static const struct {
        const char *name;
        report_fn report;
    } reports[] = {
        {"text", report_text},   {"json", report_json},         {"junit", report_junit},
        {"sarif", report_sarif}, {"markdown", report_markdown}, {"html", report_html},
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

static const struct {
    const char *symbol, *word;
} marks[] = {
    [MARK_OK] = {"✓", "ok"},           [MARK_ERROR] = {"✗", "error"},
    [MARK_WARNING] = {"!", "warning"}, [MARK_NOTE] = {"i", "note"},
    [MARK_WAIVED] = {"~", "waived"},   [MARK_REPLAYED] = {"·", "replayed"},
    [MARK_NOT_RUN] = {"-", "not-run"},
};

const char *report_mark_symbol(enum mark m)
{
    return marks[m].symbol;
}

const char *report_mark_word(enum mark m)
{
    return marks[m].word;
}

static enum mark severity_mark(int severity)
{
    return severity == SEVERITY_ERROR     ? MARK_ERROR
           : severity == SEVERITY_WARNING ? MARK_WARNING
                                          : MARK_NOTE;
}

enum mark report_finding_mark(const struct finding *f)
{
    return f->waived_reason ? MARK_WAIVED : severity_mark((int)f->severity);
}

enum mark report_revision_mark(const struct revision_result *r, int worst)
{
    return r->status == REVISION_REPLAYED   ? MARK_REPLAYED
           : r->status == REVISION_NOT_RUN  ? MARK_NOT_RUN
           : worst >= 0                     ? severity_mark(worst)
           : r->status == REVISION_FINDINGS ? MARK_WAIVED
                                            : MARK_OK;
}

enum mark report_verdict_mark(const struct check_result *r, const struct report_options *o)
{
    int worst = result_worst(r);
    return !report_has_verdict(r, o) ? MARK_ERROR : worst < 0 ? MARK_OK : severity_mark(worst);
}

size_t report_count_replayed(const struct check_result *r, size_t i)
{
    size_t n = 0;
    while (i + n < r->nrevisions && r->revisions[i + n].status == REVISION_REPLAYED)
        n++;
    return n;
}

void report_seconds(double seconds, char *text, size_t size)
{
    if (seconds < 0.0005)
        snprintf(text, size, "<1 ms");
    else if (seconds < 0.9995)
        snprintf(text, size, "%.0f ms", seconds * 1e3);
    else if (seconds < 99.95)
        snprintf(text, size, "%.1f s", seconds);
    else
        snprintf(text, size, "%.0f s", seconds);
}

static void add_count(struct str *s, size_t n, const char *word)
{
    if (n)
        str_addf(s, "%s%zu %s%s", s->len ? ", " : "", n, word, n == 1 ? "" : "s");
}

void report_work(const struct check_result *r, const char *separator, struct str *out)
{
    char seconds[32];
    report_seconds(r->seconds, seconds, sizeof(seconds));
    _cleanup_str_ struct str work = {0};
    add_count(&work, r->nrevisions, "revision");
    add_count(&work, r->nsteps, "step");
    str_addf(&work, "%s%s", work.len ? ", " : "", seconds);
    if (r->descent)
        str_addf(&work, "%sdescent: %s", separator, r->descent);
    if (r->straight_run)
        str_addf(&work, "%sstraight run: %s", separator, r->straight_run);
    if (r->rows)
        str_addf(&work, "%srows: %d, seed %" PRIu64, separator, r->rows, r->seed);
    str_add(out, str_get(&work));
}

void report_verdict(const struct check_result *r, const struct report_options *o, struct str *out)
{
    _cleanup_str_ struct str counts = {0};
    add_count(&counts, result_count(r, SEVERITY_ERROR), "error");
    add_count(&counts, result_count(r, SEVERITY_WARNING), "warning");
    add_count(&counts, result_count(r, SEVERITY_NOTE), "note");
    size_t waived = result_count_waived(r);
    if (waived)
        str_addf(&counts, "%s%zu waived", counts.len ? ", " : "", waived);
    if (!report_has_verdict(r, o))
        str_addf(out, "no verdict%s%s", counts.len ? ", so far " : "", str_get(&counts));
    else if (result_worst(r) < 0)
        str_addf(out, "clean%s%s", counts.len ? ", " : "", str_get(&counts));
    else
        str_add(out, str_get(&counts));
}

void report_finding_lines(const struct finding *f, struct str *out)
{
    str_addf(out, "%s %s: %s\n", severity_name(f->severity), f->id->id, report_message(f));
    report_finding_circumstances(f, out);
}

void report_finding_circumstances(const struct finding *f, struct str *out)
{
    _cleanup_free_ char *place = report_place(f);
    if (*place)
        str_addf(out, "at %s\n", place);
    for (size_t i = 0; i < f->nchanges; i++) {
        /* objects that came or went begin with + or -; the others line up with them */
        const char *text = f->changes[i].text;
        str_addf(out, "%s%s\n", *text == '+' || *text == '-' ? "" : "  ", text);
    }
    if (f->statement)
        str_addf(out, "statement: %s\n", f->statement);
    if (*f->sqlstate)
        str_addf(out, "SQLSTATE %s\n", f->sqlstate);
    if (f->detail)
        str_addf(out, "detail: %s\n", f->detail);
    if (f->hint)
        str_addf(out, "hint: %s\n", f->hint);
    if (f->waived_reason)
        str_addf(out, "waived: %s\n", f->waived_reason);
}

void report_xml(struct str *out, const char *text, bool attribute)
{
    _cleanup_free_ char *clean = utf8_clean(text);
    for (const char *p = clean; *p; p++) {
        unsigned char c = (unsigned char)*p;
        if (c == '&')
            str_add(out, "&amp;");
        else if (c == '<')
            str_add(out, "&lt;");
        else if (c == '>')
            str_add(out, "&gt;");
        else if (c == '"')
            str_add(out, "&quot;");
        else if (attribute && (c == '\n' || c == '\t'))
            str_addf(out, "&#%d;", c);
        else if (c == 0xef && strncmp(p, "\xef\xbf\xbe", 3) >= 0 &&
                 strncmp(p, "\xef\xbf\xbf", 3) <= 0)
            p += 2; /* U+FFFE and U+FFFF are no characters */
        else if (c >= 0x20 || c == '\n' || c == '\t')
            str_addc(out, *p);
    }
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
