/* The JSON report; docs/report-json.md and docs/report.schema.json describe it. */
#include "runner/report.h"

#include <string.h>

#include "harness/base/cleanup.h"

static const char *status_name(enum revision_status s)
{
    static const char *const names[] = {
        [REVISION_OK] = "ok",
        [REVISION_FINDINGS] = "findings",
        [REVISION_REPLAYED] = "replayed",
        [REVISION_NOT_RUN] = "not-run",
    };
    return names[s];
}

json_t *report_seconds_json(double seconds)
{
    return json_real((double)(long long)(seconds * 1e6 + 0.5) / 1e6);
}

static json_t *place_number(int n)
{
    return n ? json_integer(n) : json_null();
}

json_t *report_revision_json(const struct revision_result *r)
{
    json_t *j = json_object();
    json_object_set_new(j, "id", report_string(r->id));
    json_object_set_new(j, "title", report_string(r->title));
    json_object_set_new(j, "file", report_string(r->file));
    json_object_set_new(j, "status", json_string(status_name(r->status)));
    json_object_set_new(j, "not_run_reason", report_string(r->not_run_reason));
    json_object_set_new(j, "up_seconds", report_seconds_json(r->up_seconds));
    json_object_set_new(j, "down_seconds", report_seconds_json(r->down_seconds));
    return j;
}

json_t *report_finding_json(const struct finding *f)
{
    json_t *j = json_object();
    json_object_set_new(j, "id", json_string(f->id->id));
    json_object_set_new(j, "severity", json_string(severity_name(f->severity)));
    json_object_set_new(j, "meaning", json_string(f->id->meaning));
    json_object_set_new(j, "revision", report_string(f->revision));
    json_object_set_new(j, "file", report_string(f->file));
    json_object_set_new(j, "line", place_number(f->line));
    json_object_set_new(j, "column", place_number(f->column));
    json_object_set_new(j, "message", report_string(f->message));
    json_object_set_new(j, "hint", report_string(f->hint));
    json_object_set_new(j, "statement", report_string(f->statement));
    json_object_set_new(j, "sqlstate", report_string(*f->sqlstate ? f->sqlstate : NULL));
    json_object_set_new(j, "detail", report_string(f->detail));
    json_object_set_new(j, "trace", report_string(f->trace));
    json_t *changes = json_array();
    for (size_t i = 0; i < f->nchanges; i++) {
        const struct finding_change *c = &f->changes[i];
        json_array_append_new(
            changes, report_change_json(c->object, c->property, c->before, c->after, c->text));
    }
    json_object_set_new(j, "changes", changes);
    json_t *waived = json_null();
    if (f->waived_reason) {
        waived = json_object();
        json_object_set_new(waived, "reason", report_string(f->waived_reason));
        json_object_set_new(waived, "expires", report_string(f->waived_expires));
    }
    json_object_set_new(j, "waived", waived);
    return j;
}

static json_t *summary_json(const struct check_result *r)
{
    size_t by_status[REVISION_NOT_RUN + 1] = {0};
    for (size_t i = 0; i < r->nrevisions; i++)
        by_status[r->revisions[i].status]++;
    json_t *j = json_object();
    json_object_set_new(j, "revisions", json_integer((json_int_t)r->nrevisions));
    json_object_set_new(j, "ok", json_integer((json_int_t)by_status[REVISION_OK]));
    json_object_set_new(j, "with_findings", json_integer((json_int_t)by_status[REVISION_FINDINGS]));
    json_object_set_new(j, "replayed", json_integer((json_int_t)by_status[REVISION_REPLAYED]));
    json_object_set_new(j, "not_run", json_integer((json_int_t)by_status[REVISION_NOT_RUN]));
    json_object_set_new(j, "errors", json_integer((json_int_t)result_count(r, SEVERITY_ERROR)));
    json_object_set_new(j, "warnings", json_integer((json_int_t)result_count(r, SEVERITY_WARNING)));
    json_object_set_new(j, "notes", json_integer((json_int_t)result_count(r, SEVERITY_NOTE)));
    json_object_set_new(j, "waived", json_integer((json_int_t)result_count_waived(r)));
    json_object_set_new(j, "steps", json_integer((json_int_t)r->nsteps));
    json_object_set_new(j, "seconds", report_seconds_json(r->seconds));
    return j;
}

void report_add_json(json_t *j, struct str *out)
{
    /* 12 digits: a microsecond shows as 0.002, not as 0.0020000000000000000416 */
    _cleanup_free_ char *text = json_dumps(j, JSON_INDENT(2) | JSON_REAL_PRECISION(12));
    json_decref(j);
    str_add(out, text);
    str_addc(out, '\n');
}

void report_add_verdict_json(json_t *j, const struct check_result *r,
                             const struct report_options *o)
{
    json_t *error = json_null();
    if (o->stopped) {
        error = json_object();
        json_object_set_new(error, "message", report_string(o->stopped->message));
        json_object_set_new(error, "hint", report_string(o->stopped->hint));
    }
    json_object_set_new(j, "error", error);
    const char *verdict = !report_has_verdict(r, o)            ? "none"
                          : result_worst(r) >= (int)o->fail_on ? "findings"
                                                               : "clean";
    json_object_set_new(j, "verdict", json_string(verdict));
    json_object_set_new(j, "fail_on", json_string(severity_name(o->fail_on)));
    json_object_set_new(j, "exit_code", json_integer(o->exit_code));
    json_object_set_new(j, "summary", summary_json(r));
}

void report_json(const struct check_result *r, const struct report_options *o, struct str *out)
{
    json_t *j = json_object();
    json_object_set_new(j, "type", json_string("belay-check"));
    json_object_set_new(j, "version", json_integer(1));
    json_object_set_new(j, "belay", json_string(BELAY_VERSION));
    json_object_set_new(j, "project", report_string(r->project));
    json_object_set_new(j, "format", report_string(r->format));
    json_object_set_new(j, "engine", report_string(r->engine));
    json_object_set_new(j, "scratch", report_string(r->scratch));
    json_object_set_new(j, "kept_url", report_string(r->kept_url));
    json_object_set_new(j, "quick", json_boolean(r->quick));
    json_object_set_new(j, "rows", json_integer(r->rows));
    json_object_set_new(j, "seed", json_integer((json_int_t)r->seed));
    json_object_set_new(j, "interrupted", json_boolean(r->interrupted));

    report_add_verdict_json(j, r, o);
    json_object_set_new(j, "descent", report_string(r->descent));
    json_object_set_new(j, "straight_run", report_string(r->straight_run));

    json_t *revisions = json_array(), *findings = json_array();
    for (size_t i = 0; i < r->nrevisions; i++)
        json_array_append_new(revisions, report_revision_json(&r->revisions[i]));
    for (size_t i = 0; i < r->nfindings; i++)
        json_array_append_new(findings, report_finding_json(&r->findings[i]));
    json_object_set_new(j, "revisions", revisions);
    json_object_set_new(j, "findings", findings);

    report_add_json(j, out);
}
