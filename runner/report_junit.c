/*
 * JUnit XML: one test case per revision and one for the project as a whole. A case has one
 * <failure> at most, because GitLab shows one; it holds the text of all findings of the revision
 * that fail.
 */
#include "runner/report.h"

#include <string.h>

#include "harness/base/cleanup.h"

static void add_attribute(struct str *out, const char *name, const char *value)
{
    str_addf(out, " %s=\"", name);
    report_xml(out, value, true);
    str_addc(out, '"');
}

static void add_finding(struct str *out, const struct finding *f)
{
    _cleanup_str_ struct str s = {0};
    report_finding_lines(f, &s);
    report_xml(out, str_get(&s), false);
}

/* The findings of one case; NULL are those of the project. */
static bool belongs(const struct finding *f, const struct revision_result *revision)
{
    return revision ? str_eq(f->revision, revision->id) : f->revision == NULL;
}

/* Adds what a case holds; returns 'f', 's' or 'p' for failed, skipped, passed. */
static char add_outcome(struct str *out, const struct check_result *r,
                        const struct report_options *o, const struct revision_result *revision)
{
    const struct finding *first = NULL, *waived = NULL;
    size_t failing = 0, others = 0;
    /* a revision without findings, which is most of them, needs no look at the list */
    bool any = !revision || revision->status == REVISION_FINDINGS;
    for (size_t i = 0; any && i < r->nfindings; i++) {
        const struct finding *f = &r->findings[i];
        if (!belongs(f, revision))
            continue;
        if (report_fails(f, o)) {
            failing++;
            first = first ? first : f;
        } else {
            others++;
            waived = f->waived_reason && !waived ? f : waived;
        }
    }

    char outcome = 'p';
    if (failing) {
        outcome = 'f';
        str_add(out, "      <failure");
        add_attribute(out, "type", first->id->id);
        _cleanup_free_ char *message =
            failing == 1 ? xasprintf("%s: %s", first->id->id, report_message(first))
                         : xasprintf("%s: %s (and %zu more)", first->id->id, report_message(first),
                                     failing - 1);
        add_attribute(out, "message", message);
        str_add(out, ">");
        for (size_t i = 0; i < r->nfindings; i++)
            if (belongs(&r->findings[i], revision) && report_fails(&r->findings[i], o))
                add_finding(out, &r->findings[i]);
        str_add(out, "</failure>\n");
    } else if (revision && (revision->status == REVISION_NOT_RUN ||
                            revision->status == REVISION_REPLAYED || waived)) {
        outcome = 's';
        str_add(out, "      <skipped");
        _cleanup_free_ char *why =
            waived ? xasprintf("waived: %s", waived->waived_reason)
            : revision->status == REVISION_REPLAYED
                ? xstrdup("only upgraded on the way to the revisions to check")
                : xasprintf("not run: %s", report_not_run_reason(revision));
        add_attribute(out, "message", why);
        str_add(out, "/>\n");
    }
    if (others) {
        str_add(out, "      <system-out>");
        for (size_t i = 0; i < r->nfindings; i++)
            if (belongs(&r->findings[i], revision) && !report_fails(&r->findings[i], o))
                add_finding(out, &r->findings[i]);
        str_add(out, "</system-out>\n");
    }
    return outcome;
}

static char add_case(struct str *out, const struct check_result *r, const struct report_options *o,
                     const struct revision_result *revision)
{
    str_add(out, "    <testcase");
    _cleanup_free_ char *class =
        xasprintf("%s/%s", r->format ? r->format : "unknown", r->engine ? r->engine : "unknown");
    add_attribute(out, "classname", class);
    _cleanup_free_ char *name = !revision ? xstrdup("the project as a whole")
                                : revision->title && *revision->title
                                    ? xasprintf("%s %s", revision->id, revision->title)
                                    : xstrdup(revision->id);
    add_attribute(out, "name", name);
    if (revision && revision->file)
        add_attribute(out, "file", revision->file);
    str_addf(out, " time=\"%.3f\">\n",
             revision ? revision->up_seconds + revision->down_seconds : 0.0);
    char outcome;
    if (!revision && o->stopped) {
        outcome = 'e';
        str_add(out, "      <error type=\"no-verdict\"");
        add_attribute(out, "message", o->stopped->message);
        str_add(out, ">");
        if (o->stopped->hint)
            report_xml(out, o->stopped->hint, false);
        str_add(out, "</error>\n");
    } else {
        outcome = add_outcome(out, r, o, revision);
    }
    str_add(out, "    </testcase>\n");
    return outcome;
}

void report_junit(const struct check_result *r, const struct report_options *o, struct str *out)
{
    _cleanup_str_ struct str cases = {0};
    size_t failed = 0, skipped = 0, errors = 0;
    for (size_t i = 0; i <= r->nrevisions; i++) {
        char outcome = add_case(&cases, r, o, i < r->nrevisions ? &r->revisions[i] : NULL);
        failed += outcome == 'f';
        skipped += outcome == 's';
        errors += outcome == 'e';
    }
    _cleanup_free_ char *counts =
        xasprintf(" tests=\"%zu\" failures=\"%zu\" errors=\"%zu\" skipped=\"%zu\" time=\"%.3f\"",
                  r->nrevisions + 1, failed, errors, skipped, r->seconds);
    str_addf(out,
             "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"belay check\"%s>\n"
             "  <testsuite",
             counts);
    add_attribute(out, "name", r->project ? r->project : "");
    str_addf(out, "%s>\n    <properties>\n", counts);
    const char *const properties[][2] = {
        {"belay", BELAY_VERSION},
        {"scratch", r->scratch},
        {"descent", r->descent},
        {"straight run", r->straight_run},
    };
    for (size_t i = 0; i < ARRAY_LEN(properties); i++) {
        if (!properties[i][1])
            continue;
        str_add(out, "      <property");
        add_attribute(out, "name", properties[i][0]);
        add_attribute(out, "value", properties[i][1]);
        str_add(out, "/>\n");
    }
    str_add(out, "    </properties>\n");
    str_add(out, str_get(&cases));
    str_add(out, "  </testsuite>\n</testsuites>\n");
}
