/*
 * SARIF 2.1.0, for code scanning services and editors; docs/reports.md says what stands where.
 * Format: https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/sarif-v2.1.0-errata01.html
 */
#include "runner/report.h"

#include <ctype.h>
#include <inttypes.h>
#include <string.h>
#include <xxhash.h>

#include "harness/base/cleanup.h"

/* A message: in its text a brace that begins no placeholder is written twice. */
static json_t *message_json(const char *text)
{
    _cleanup_str_ struct str s = {0};
    for (const char *p = text; *p; p++) {
        if (*p == '{' || *p == '}')
            str_addc(&s, *p);
        str_addc(&s, *p);
    }
    json_t *j = json_object();
    json_object_set_new(j, "text", report_string(str_get(&s)));
    return j;
}

/* A path as a URI reference: relative ones stay so, with the bytes escaped that a URI cannot hold. */
static char *path_uri(const char *path)
{
    struct str s = {0};
    if (*path == '/')
        str_add(&s, "file://");
    while (str_starts(path, "./"))
        path += 2;
    for (const char *p = path; *p; p++) {
        unsigned char c = (unsigned char)*p;
        if (c < 0x80 && (isalnum(c) || strchr("-._~/", c)))
            str_addc(&s, *p);
        else
            str_addf(&s, "%%%02X", c);
    }
    return str_take(&s);
}

static json_t *location_json(const struct check_result *r, const struct finding *f)
{
    /* code scanning refuses a result without a place: what no file shows is the project folder's */
    const char *file = report_file(r, f);
    _cleanup_free_ char *uri = path_uri(file ? file : r->project ? r->project : ".");
    json_t *artifact = json_object();
    json_object_set_new(artifact, "uri", json_string(uri));
    if (!str_starts(uri, "file:"))
        json_object_set_new(artifact, "uriBaseId", json_string("%SRCROOT%"));
    json_t *physical = json_object();
    json_object_set_new(physical, "artifactLocation", artifact);
    if (f->file && f->line) {
        json_t *region = json_object();
        json_object_set_new(region, "startLine", json_integer(f->line));
        if (f->column)
            json_object_set_new(region, "startColumn", json_integer(f->column));
        json_object_set_new(physical, "region", region);
    }
    json_t *location = json_object();
    json_object_set_new(location, "physicalLocation", physical);
    if (f->revision) {
        json_t *logical = json_object();
        json_object_set_new(logical, "name", report_string(f->revision));
        json_object_set_new(logical, "kind", json_string("revision"));
        json_object_set_new(location, "logicalLocations", json_pack("[o]", logical));
    }
    return location;
}

/* What makes it the same finding tomorrow: not the line, which moves, nor values, which depend on
 * the server's version. */
static json_t *fingerprints_json(const struct finding *f)
{
    _cleanup_str_ struct str s = {0};
    str_addf(&s, "%s\n%s\n", f->id->id, f->revision ? f->revision : "");
    for (size_t i = 0; i < f->nchanges; i++) {
        const struct finding_change *c = &f->changes[i];
        str_addf(&s, "%s\n%s\n", c->object, c->property ? c->property : "");
    }
    if (!f->nchanges)
        str_add(&s, report_message(f));
    char hash[17];
    snprintf(hash, sizeof(hash), "%016" PRIx64, (uint64_t)XXH3_64bits(s.p, s.len));
    return json_pack("{s:s}", "belayFinding/v1", hash);
}

static json_t *suppressions_json(const struct finding *f)
{
    json_t *list = json_array();
    if (!f->waived_reason)
        return list; /* empty, and not left out: it is known that nothing suppresses the result */
    json_t *j = json_object();
    json_object_set_new(j, "kind", json_string("external"));
    json_object_set_new(j, "status", json_string("accepted"));
    json_object_set_new(j, "justification", report_string(f->waived_reason));
    if (f->waived_expires)
        json_object_set_new(j, "properties",
                            json_pack("{s:o}", "expires", report_string(f->waived_expires)));
    json_array_append_new(list, j);
    return list;
}

static void set_string(json_t *j, const char *key, const char *text)
{
    if (text && *text)
        json_object_set_new(j, key, report_string(text));
}

static json_t *result_json(const struct check_result *r, const struct finding *f)
{
    json_t *j = json_object();
    json_object_set_new(j, "ruleId", json_string(f->id->id));
    json_object_set_new(j, "ruleIndex", json_integer(f->id - finding_ids));
    json_object_set_new(j, "level", json_string(severity_name(f->severity)));
    _cleanup_str_ struct str text = {0};
    str_add(&text, report_message(f));
    for (size_t i = 0; i < f->nchanges; i++)
        str_addf(&text, "\n%s", f->changes[i].text);
    if (f->hint)
        str_addf(&text, "\nhint: %s", f->hint);
    json_object_set_new(j, "message", message_json(str_get(&text)));
    json_object_set_new(j, "locations", json_pack("[o]", location_json(r, f)));
    json_object_set_new(j, "partialFingerprints", fingerprints_json(f));
    json_object_set_new(j, "suppressions", suppressions_json(f));
    json_t *more = json_object();
    set_string(more, "revision", f->revision);
    set_string(more, "statement", f->statement);
    set_string(more, "sqlstate", f->sqlstate);
    set_string(more, "detail", f->detail);
    json_object_set_new(j, "properties", more);
    return j;
}

static json_t *rules_json(void)
{
    json_t *rules = json_array();
    for (const struct finding_id *f = finding_ids; f->id; f++) {
        json_t *j = json_object();
        _cleanup_free_ char *help =
            xasprintf("belay's docs/findings.md says what typically causes %s, and what to do. A "
                      "waiver in belay.yaml accepts it with a reason.",
                      f->id);
        json_object_set_new(j, "id", json_string(f->id));
        json_object_set_new(j, "shortDescription", message_json(f->meaning));
        json_object_set_new(j, "fullDescription", message_json(f->meaning));
        json_object_set_new(j, "help", message_json(help));
        json_object_set_new(j, "defaultConfiguration",
                            json_pack("{s:s}", "level", severity_name(f->severity)));
        json_array_append_new(rules, j);
    }
    return rules;
}

static json_t *notification_json(const char *level, const char *text)
{
    json_t *j = json_object();
    json_object_set_new(j, "level", json_string(level));
    json_object_set_new(j, "message", message_json(text));
    return j;
}

/* How the check itself went: why there is no verdict, and which revisions were left out. */
static json_t *invocation_json(const struct check_result *r, const struct report_options *o)
{
    json_t *notifications = json_array();
    if (o->stopped)
        json_array_append_new(notifications, notification_json("error", o->stopped->message));
    else if (r->interrupted)
        json_array_append_new(notifications, notification_json("error", "interrupted"));
    for (size_t i = 0; i < r->nrevisions; i++) {
        if (r->revisions[i].status != REVISION_NOT_RUN)
            continue;
        _cleanup_free_ char *text = xasprintf("revision %s was not run: %s", r->revisions[i].id,
                                              report_not_run_reason(&r->revisions[i]));
        json_array_append_new(notifications, notification_json("note", text));
    }
    json_t *j = json_object();
    json_object_set_new(j, "executionSuccessful", json_boolean(report_has_verdict(r, o)));
    json_object_set_new(j, "exitCode", json_integer(o->exit_code));
    json_object_set_new(j, "toolExecutionNotifications", notifications);
    return j;
}

void report_sarif(const struct check_result *r, const struct report_options *o, struct str *out)
{
    json_t *results = json_array();
    for (size_t i = 0; i < r->nfindings; i++)
        json_array_append_new(results, result_json(r, &r->findings[i]));
    json_t *driver = json_object();
    json_object_set_new(driver, "name", json_string("belay"));
    json_object_set_new(driver, "version", json_string(BELAY_VERSION));
    json_object_set_new(driver, "rules", rules_json());
    json_t *run = json_object();
    json_object_set_new(run, "tool", json_pack("{s:o}", "driver", driver));
    json_object_set_new(run, "columnKind", json_string("unicodeCodePoints"));
    json_object_set_new(run, "invocations", json_pack("[o]", invocation_json(r, o)));
    json_object_set_new(run, "results", results);
    json_t *properties = json_object();
    set_string(properties, "project", r->project);
    set_string(properties, "format", r->format);
    set_string(properties, "engine", r->engine);
    set_string(properties, "descent", r->descent);
    set_string(properties, "straightRun", r->straight_run);
    json_object_set_new(run, "properties", properties);
    json_t *log = json_object();
    json_object_set_new(log, "$schema",
                        json_string("https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/"
                                    "schemas/sarif-schema-2.1.0.json"));
    json_object_set_new(log, "version", json_string("2.1.0"));
    json_object_set_new(log, "runs", json_pack("[o]", run));
    _cleanup_free_ char *text = json_dumps(log, JSON_INDENT(2));
    json_decref(log);
    str_add(out, text);
    str_addc(out, '\n');
}
