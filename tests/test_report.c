/*
 * The reports, against golden texts in tests/golden. BELAY_UPDATE_GOLDEN=1 writes them anew: look
 * at the difference before it is committed.
 */
#include <jansson.h>
#include <locale.h>
#include <string.h>
#include <unistd.h>

#include "harness/base/cleanup.h"
#include "harness/base/file.h"
#include "runner/report.h"
#include "tests/report_keys.h"
#include "tests/rich_results.h"
#include "tests/suite.h"
#include "tests/well_formed.h"

static const struct terminal plain = {.color = false, .utf8 = true, .width = 80};

static struct revision_result *add_revision(struct check_result *r, const char *id,
                                            const char *title, enum revision_status status)
{
    r->revisions = xgrow(r->revisions, r->nrevisions, &r->revisions_cap, sizeof(*r->revisions));
    struct revision_result *rev = &r->revisions[r->nrevisions++];
    *rev = (struct revision_result){
        .id = xstrdup(id),
        .title = xstrdup(title),
        .file = xasprintf("migrations/%s.sql", id),
        .status = status,
        .up_seconds = 0.0021,
        .down_seconds = 0.0004,
    };
    return rev;
}

/* One of everything, as a round trip could have found it. */
static void everything(struct check_result *r)
{
    *r = (struct check_result){
        .project = xstrdup("migrations"),
        .format = xstrdup("goose"),
        .engine = xstrdup("postgres"),
        .scratch = xstrdup("private PostgreSQL 15.18 on /dev/shm"),
        .nsteps = 31,
        .seconds = 0.4213,
        .rows = 6,
        .seed = 1,
        .straight_run = xstrdup("differs"),
        .descent = xstrdup("equal"),
    };
    add_revision(r, "0001", "create users", REVISION_REPLAYED)->down_seconds = 0;
    add_revision(r, "0002", "create posts", REVISION_OK)->up_seconds = 12.31;
    add_revision(r, "0003", "posts belong to users, and go when the user goes, which takes long",
                 REVISION_FINDINGS);
    add_revision(r, "0004", "naïve 日本語 title", REVISION_FINDINGS)->down_seconds = 0;
    add_revision(r, "0005", "no way back", REVISION_FINDINGS);
    add_revision(r, "0006", "an \x1b[31mevil\x1b[0m\ntitle \xff", REVISION_FINDINGS);
    add_revision(r, "0007", "a comment", REVISION_FINDINGS);
    struct revision_result *last = add_revision(r, "0008", "tags", REVISION_NOT_RUN);
    last->up_seconds = last->down_seconds = 0;
    last->not_run_reason = xstrdup("needs 0004, which does not upgrade");

    struct finding *f = result_add_finding(r, "downgrade-leaves-trace", "0003");
    f->file = xstrdup("migrations/0003.sql");
    f->line = 9;
    f->message = xstrdup("the downgrade of 0003 leaves a trace");
    f->hint = xstrdup("take back in the downgrade what the upgrade does, in the opposite order; "
                      "what should stay behind can be listed under ignore in belay.yaml");
    rich_change(f, "constraint public.posts.fk_posts_user", "on delete", "CASCADE", "NO ACTION");
    rich_change(f, "index public.posts_user_idx", NULL, NULL, "");
    rich_change(f, "column public.posts.slug", NULL, "", NULL);
    for (int i = 0; i < 12; i++) {
        _cleanup_free_ char *name = xasprintf("column public.posts.c%d", i);
        rich_change(f, name, "type", "integer", "bigint");
    }

    f = result_add_finding(r, "upgrade-fails", "0004");
    f->file = xstrdup("posts.sql");
    f->line = 3;
    f->column = 14;
    f->message = xstrdup("relation \"post\" does not exist");
    f->statement = xstrdup("ALTER TABLE post ADD COLUMN body text");
    f->hint = xstrdup("Perhaps you meant \"posts\".");
    memcpy(f->sqlstate, "42P01", 6);

    f = result_add_finding(r, "irreversible", "0005");
    f->message = xstrdup("the downgrade raises: cannot be undone");
    f->waived_reason = xstrdup("the data is gone for good");
    f->waived_expires = xstrdup("2031-01-31");

    f = result_add_finding(r, "column-order-differs", "0006");
    f->message = xstrdup("the columns of public.posts stand in another order");
    f->file = xstrdup("migrations/0006.sql");
    rich_change(f, "column public.posts.title", "position", "2", "4");

    f = result_add_finding(r, "comment-differs", "0007");
    f->message = xstrdup("a comment differs & \"quotes\" <tags> \x01");

    f = result_add_finding(r, "straight-run-differs", NULL);
    f->message = xstrdup("the schema after all upgrades in one go is another one");
    f->severity = SEVERITY_ERROR;
    rich_change(f, "table public.extra", NULL, NULL, "");
}

static char *golden_path(const char *name)
{
    return xasprintf("%s/tests/golden/%s", getenv("BELAY_SOURCE_DIR"), name);
}

static void check_golden(const char *name, const char *text)
{
    _cleanup_free_ char *path = golden_path(name);
    _cleanup_err_ struct err err = {0};
    if (getenv("BELAY_UPDATE_GOLDEN"))
        ck_assert_int_eq(file_replace(path, text, strlen(text), 0644, &err), 0);
    _cleanup_free_ char *want = NULL;
    ck_assert_msg(file_read(path, &want, NULL, &err) == 0, "%s", err.message);
    if (strcmp(want, text) != 0)
        ck_abort_msg("%s differs; this is the new text:\n%s", name, text);
}

static void check_report(const char *golden, report_fn report, const struct report_options *o)
{
    _cleanup_(check_result_release) struct check_result r;
    everything(&r);
    /* the excerpt of a finding reads the file that it names */
    _cleanup_free_ char *posts = golden_path("posts.sql");
    free(r.findings[1].file);
    r.findings[1].file = xstrdup("posts.sql");
    char before[4096];
    ck_assert_ptr_nonnull(getcwd(before, sizeof(before)));
    _cleanup_free_ char *dir = path_dir(posts);
    ck_assert_int_eq(chdir(dir), 0);
    _cleanup_str_ struct str out = {0};
    report(&r, o, &out);
    ck_assert_int_eq(chdir(before), 0);
    check_golden(golden, str_get(&out));
}

START_TEST(text_report_says_cause_place_diff_and_hint)
{
    struct report_options o = {.terminal = plain, .fail_on = SEVERITY_ERROR, .exit_code = 1};
    check_report("report.txt", report_text, &o);
}
END_TEST

START_TEST(text_report_without_utf8_is_ascii)
{
    struct report_options o = {
        .terminal = {.width = 80}, .fail_on = SEVERITY_ERROR, .exit_code = 1};
    check_report("report-ascii.txt", report_text, &o);
}
END_TEST

START_TEST(text_report_in_colour_has_the_same_words)
{
    struct report_options o = {.terminal = plain, .fail_on = SEVERITY_ERROR, .exit_code = 1};
    _cleanup_(check_result_release) struct check_result r;
    everything(&r);
    _cleanup_str_ struct str without = {0}, with = {0}, stripped = {0};
    report_text(&r, &o, &without);
    o.terminal.color = true;
    report_text(&r, &o, &with);
    ck_assert_str_ne(str_get(&with), str_get(&without));
    for (const char *p = str_get(&with); *p; p++) {
        if (*p == '\033')
            p += strcspn(p, "m");
        else
            str_addc(&stripped, *p);
    }
    ck_assert_str_eq(str_get(&stripped), str_get(&without));
}
END_TEST

START_TEST(text_report_fits_eighty_columns_and_holds_no_control_characters)
{
    struct report_options o = {.terminal = plain, .fail_on = SEVERITY_ERROR, .exit_code = 1};
    _cleanup_(check_result_release) struct check_result r;
    everything(&r);
    _cleanup_str_ struct str out = {0};
    report_text(&r, &o, &out);
    ck_assert(utf8_valid(str_get(&out), out.len, NULL));
    for (char *line = strtok(out.p, "\n"); line; line = strtok(NULL, "\n")) {
        ck_assert_msg(text_width(line) <= 80, "%s", line);
        for (const char *p = line; *p; p++)
            ck_assert_msg((unsigned char)*p >= 0x20, "%s", line);
    }
}
END_TEST

START_TEST(verbose_text_report_leaves_nothing_out)
{
    struct report_options o = {.terminal = plain, .verbose = true, .exit_code = 1};
    check_report("report-verbose.txt", report_text, &o);
}
END_TEST

START_TEST(quiet_text_report_has_findings_and_summary_only)
{
    struct report_options o = {
        .terminal = plain, .quiet = true, .fail_on = SEVERITY_ERROR, .exit_code = 1};
    _cleanup_(check_result_release) struct check_result r;
    everything(&r);
    _cleanup_str_ struct str out = {0};
    report_text(&r, &o, &out);
    ck_assert_ptr_null(strstr(out.p, "create posts"));
    ck_assert_ptr_nonnull(strstr(out.p, "downgrade-leaves-trace"));
    ck_assert_ptr_nonnull(strstr(out.p, "exit 1"));
}
END_TEST

START_TEST(findings_that_say_the_same_are_counted)
{
    struct report_options o = {.terminal = plain, .fail_on = SEVERITY_ERROR, .exit_code = 1};
    _cleanup_(check_result_release) struct check_result r = {.project = xstrdup("m")};
    for (int i = 0; i < 20; i++) {
        char id[8];
        snprintf(id, sizeof(id), "%04d", i);
        add_revision(&r, id, "x", REVISION_FINDINGS);
        struct finding *f = result_add_finding(&r, "downgrade-missing", id);
        f->message = xstrdup("no downgrade");
        f->hint = xasprintf("waive it for %s", id); /* a hint may name the revision */
    }
    _cleanup_str_ struct str out = {0};
    report_text(&r, &o, &out);
    ck_assert_ptr_nonnull(
        strstr(out.p, "… and 17 more with downgrade-missing: 0003, 0004, 0005, 0006, 0007,"));
    ck_assert_ptr_nonnull(strstr(out.p, "20 errors"));
    str_clear(&out);
    o.verbose = true;
    report_text(&r, &o, &out);
    ck_assert_ptr_null(strstr(out.p, "more with"));
}
END_TEST

START_TEST(revisions_that_were_only_upgraded_share_a_line)
{
    struct report_options o = {.terminal = plain, .fail_on = SEVERITY_ERROR};
    _cleanup_(check_result_release) struct check_result r = {.project = xstrdup("m")};
    for (int i = 0; i < 9; i++) {
        char id[8];
        snprintf(id, sizeof(id), "%04d", i);
        add_revision(&r, id, "x", i == 5 ? REVISION_OK : REVISION_REPLAYED);
    }
    _cleanup_str_ struct str out = {0};
    report_text(&r, &o, &out);
    ck_assert_ptr_nonnull(strstr(out.p, "· 0000 … 0004: 5 revisions, only upgraded\n✓ 0005"));
    ck_assert_ptr_nonnull(strstr(out.p, "· 0006  x"));
    str_clear(&out);
    o.verbose = true;
    report_text(&r, &o, &out);
    ck_assert_ptr_nonnull(strstr(out.p, "· 0001  x"));
}
END_TEST

START_TEST(a_clean_result_says_clean)
{
    struct report_options o = {.terminal = plain, .fail_on = SEVERITY_ERROR};
    _cleanup_(check_result_release) struct check_result r = {
        .project = xstrdup("db/migrations"),
        .format = xstrdup("dbmate"),
        .engine = xstrdup("sqlite"),
        .scratch = xstrdup("/dev/shm"),
        .nsteps = 7,
        .seconds = 0.0123,
        .descent = xstrdup("equal"),
        .rows = 6,
        .seed = 1,
        .straight_run = xstrdup("equal"),
    };
    add_revision(&r, "20240101000000", "create users", REVISION_OK);
    add_revision(&r, "20240102000000", "create posts", REVISION_OK);
    _cleanup_str_ struct str out = {0};
    report_text(&r, &o, &out);
    check_golden("report-clean.txt", str_get(&out));
}
END_TEST

START_TEST(a_stopped_check_has_no_verdict_in_any_report)
{
    _cleanup_err_ struct err err = {0};
    err_set(&err, ERR_INTERRUPTED, "interrupted");
    struct report_options o = {
        .terminal = plain, .fail_on = SEVERITY_ERROR, .exit_code = 3, .stopped = &err};
    _cleanup_(check_result_release) struct check_result r = {.project = xstrdup("m"),
                                                             .interrupted = true};
    add_revision(&r, "1", "x", REVISION_OK);
    _cleanup_str_ struct str text = {0}, json = {0}, junit = {0};
    report_text(&r, &o, &text);
    report_json(&r, &o, &json);
    report_junit(&r, &o, &junit);
    ck_assert_ptr_nonnull(strstr(text.p, "no verdict"));
    ck_assert_ptr_null(strstr(text.p, "clean"));
    ck_assert_ptr_nonnull(strstr(json.p, "\"verdict\": \"none\""));
    _cleanup_str_ struct str sarif = {0};
    report_sarif(&r, &o, &sarif);
    _cleanup_str_ struct str markdown = {0};
    report_markdown(&r, &o, &markdown);
    ck_assert_ptr_nonnull(strstr(markdown.p, "### ✗ belay check: no verdict\n"));
    ck_assert_ptr_nonnull(strstr(markdown.p, "```\ninterrupted\n```"));
    ck_assert_ptr_nonnull(strstr(sarif.p, "\"executionSuccessful\": false"));
    ck_assert_ptr_nonnull(strstr(junit.p, "errors=\"1\""));
    ck_assert_ptr_nonnull(strstr(junit.p, "<error type=\"no-verdict\" message=\"interrupted\">"));
}
END_TEST

START_TEST(json_report_holds_everything)
{
    struct report_options o = {.fail_on = SEVERITY_ERROR, .exit_code = 1};
    check_report("report.json", report_json, &o);
}
END_TEST

START_TEST(json_report_and_its_schema_agree)
{
    _cleanup_free_ char *report_path = golden_path("report.json");
    json_error_t error;
    json_t *report = json_load_file(report_path, 0, &error);
    ck_assert_msg(report != NULL, "%s:%d: %s", report_path, error.line, error.text);
    check_report_keys("report.schema.json", report);
    json_decref(report);
}
END_TEST

START_TEST(junit_report_has_one_case_per_revision)
{
    struct report_options o = {.fail_on = SEVERITY_ERROR, .exit_code = 1};
    check_report("report.xml", report_junit, &o);
}
END_TEST

/* The SARIF report of r. The caller owns it. */
static json_t *sarif_run(const struct check_result *r, const struct report_options *o,
                         json_t **ret_log)
{
    _cleanup_str_ struct str out = {0};
    report_sarif(r, o, &out);
    json_error_t error;
    *ret_log = json_loads(str_get(&out), 0, &error);
    ck_assert_msg(*ret_log != NULL, "line %d: %s", error.line, error.text);
    ck_assert_str_eq(json_string_value(json_object_get(*ret_log, "version")), "2.1.0");
    json_t *runs = json_object_get(*ret_log, "runs");
    ck_assert_uint_eq(json_array_size(runs), 1);
    return json_array_get(runs, 0);
}

/* The string or number at a path such as "a/0/b", as text; "" when nothing is there. A ~ in the path
 * is a slash in a key. */
static const char *at(json_t *j, const char *path)
{
    static char text[32];
    while (j && *path) {
        size_t n = strcspn(path, "/");
        _cleanup_free_ char *key = xstrndup(path, n);
        for (char *p = strchr(key, '~'); p; p = strchr(p, '~'))
            *p = '/';
        j = json_is_array(j) ? json_array_get(j, (size_t)atoi(key)) : json_object_get(j, key);
        path += n + (path[n] == '/');
    }
    if (json_is_integer(j))
        snprintf(text, sizeof(text), "%lld", (long long)json_integer_value(j));
    return json_is_string(j) ? json_string_value(j) : json_is_integer(j) ? text : "";
}

START_TEST(sarif_report_has_rules_results_places_and_suppressions)
{
    struct report_options o = {.fail_on = SEVERITY_ERROR, .exit_code = 1};
    _cleanup_(check_result_release) struct check_result r;
    everything(&r);
    json_t *log, *run = sarif_run(&r, &o, &log), *rule, *result;
    json_t *rules =
        json_object_get(json_object_get(json_object_get(run, "tool"), "driver"), "rules");
    size_t i;
    json_array_foreach(rules, i, rule)
    {
        ck_assert_str_eq(at(rule, "id"), finding_ids[i].id);
        ck_assert_str_eq(at(rule, "shortDescription/text"), finding_ids[i].meaning);
        ck_assert_str_ne(at(rule, "fullDescription/text"), "");
        ck_assert_str_ne(at(rule, "help/text"), "");
        ck_assert_str_eq(at(rule, "defaultConfiguration/level"),
                         severity_name(finding_ids[i].severity));
    }
    ck_assert_ptr_null(finding_ids[i].id);

    json_t *results = json_object_get(run, "results");
    ck_assert_uint_eq(json_array_size(results), r.nfindings);
    json_array_foreach(results, i, result)
    {
        json_t *index = json_object_get(result, "ruleIndex");
        ck_assert_str_eq(at(json_array_get(rules, (size_t)json_integer_value(index)), "id"),
                         at(result, "ruleId"));
        ck_assert_str_eq(at(result, "ruleId"), r.findings[i].id->id);
        ck_assert_str_eq(at(result, "level"), severity_name(r.findings[i].severity));
        ck_assert_uint_eq(strlen(at(result, "partialFingerprints/belayFinding~v1")), 16);
        ck_assert_str_ne(at(result, "locations/0/physicalLocation/artifactLocation/uri"), "");
        ck_assert_uint_eq(json_array_size(json_object_get(result, "suppressions")),
                          r.findings[i].waived_reason != NULL);
    }

    json_t *fails = json_array_get(results, 1);
    ck_assert_str_eq(at(fails, "locations/0/physicalLocation/artifactLocation/uri"), "posts.sql");
    ck_assert_str_eq(at(fails, "locations/0/physicalLocation/region/startLine"), "3");
    ck_assert_str_eq(at(fails, "locations/0/physicalLocation/region/startColumn"), "14");
    ck_assert_str_eq(at(fails, "message/text"), "relation \"post\" does not exist\n"
                                                "hint: Perhaps you meant \"posts\".");
    ck_assert_str_eq(at(fails, "properties/sqlstate"), "42P01");
    /* a finding without a place of its own is its revision's, or the project's */
    json_t *waived = json_array_get(results, 2), *project = json_array_get(results, 5);
    ck_assert_str_eq(at(waived, "locations/0/physicalLocation/artifactLocation/uri"),
                     "migrations/0005.sql");
    ck_assert_str_eq(at(waived, "suppressions/0/justification"), "the data is gone for good");
    ck_assert_str_eq(at(waived, "suppressions/0/properties/expires"), "2031-01-31");
    ck_assert_str_eq(at(project, "locations/0/physicalLocation/artifactLocation/uri"),
                     "migrations");
    ck_assert(json_is_true(json_object_get(json_array_get(json_object_get(run, "invocations"), 0),
                                           "executionSuccessful")));
    ck_assert_str_eq(at(run, "invocations/0/toolExecutionNotifications/0/message/text"),
                     "revision 0008 was not run: needs 0004, which does not upgrade");
    json_decref(log);
}
END_TEST

START_TEST(sarif_fingerprint_outlives_moved_lines_and_other_values)
{
    struct report_options o = {.fail_on = SEVERITY_ERROR};
    _cleanup_(check_result_release) struct check_result r, moved;
    everything(&r);
    everything(&moved);
    moved.findings[0].line = 40;
    free(moved.findings[0].changes[0].after);
    moved.findings[0].changes[0].after = xstrdup("RESTRICT");
    free(moved.findings[3].changes[0].object);
    moved.findings[3].changes[0].object = xstrdup("column public.posts.body");
    json_t *log, *other_log;
    json_t *a = json_object_get(sarif_run(&r, &o, &log), "results");
    json_t *b = json_object_get(sarif_run(&moved, &o, &other_log), "results");
    ck_assert_str_eq(at(a, "0/partialFingerprints/belayFinding~v1"),
                     at(b, "0/partialFingerprints/belayFinding~v1"));
    ck_assert_str_ne(at(a, "3/partialFingerprints/belayFinding~v1"),
                     at(b, "3/partialFingerprints/belayFinding~v1"));
    json_decref(log);
    json_decref(other_log);
}
END_TEST

START_TEST(sarif_escapes_uris_and_braces)
{
    struct report_options o = {.fail_on = SEVERITY_ERROR};
    _cleanup_(check_result_release) struct check_result r = {.project = xstrdup("m")};
    struct finding *f = result_add_finding(&r, "upgrade-fails", "1");
    f->file = xstrdup("./my migrations/a%b#\xc3\xa9.sql");
    f->message = xstrdup("default '{0}' \xff");
    f = result_add_finding(&r, "upgrade-fails", "2");
    f->file = xstrdup("/srv/2.sql");
    json_t *log, *results = json_object_get(sarif_run(&r, &o, &log), "results");
    ck_assert_str_eq(at(results, "0/locations/0/physicalLocation/artifactLocation/uri"),
                     "my%20migrations/a%25b%23%C3%A9.sql");
    ck_assert_str_eq(at(results, "0/locations/0/physicalLocation/artifactLocation/uriBaseId"),
                     "%SRCROOT%");
    ck_assert_str_eq(at(results, "0/message/text"), "default '{{0}}' \xef\xbf\xbd");
    ck_assert_str_eq(at(results, "1/locations/0/physicalLocation/artifactLocation/uri"),
                     "file:///srv/2.sql");
    ck_assert_str_eq(at(results, "1/locations/0/physicalLocation/artifactLocation/uriBaseId"), "");
    json_decref(log);
}
END_TEST

START_TEST(markdown_report_folds_findings_and_leaves_waived_ones_out)
{
    struct report_options o = {.fail_on = SEVERITY_ERROR, .exit_code = 1};
    check_report("report.md", report_markdown, &o);
}
END_TEST

START_TEST(markdown_report_keeps_hostile_text_in_its_fences)
{
    struct report_options o = {.fail_on = SEVERITY_ERROR, .exit_code = 1};
    _cleanup_(check_result_release) struct check_result r = {.project = xstrdup("<b>`m`")};
    add_revision(&r, "1", "</code><img src=x>\n\n# @all", REVISION_FINDINGS);
    struct finding *f = result_add_finding(&r, "upgrade-fails", "1");
    f->message = xstrdup("a\n```\n</details> @all\n`````");
    _cleanup_str_ struct str out = {0};
    report_markdown(&r, &o, &out);
    ck_assert_ptr_nonnull(strstr(out.p, "\n<p><code>&lt;b&gt;`m`</code>"));
    ck_assert_ptr_nonnull(
        strstr(out.p, "<code>1 &lt;/code&gt;&lt;img src=x&gt;\\n\\n# @all</code></summary>"));
    ck_assert_ptr_nonnull(strstr(out.p, "\n``````diff\n"));
    ck_assert_ptr_nonnull(strstr(out.p, "\n``````\n\n</details>\n"));
}
END_TEST

START_TEST(markdown_report_stays_short)
{
    struct report_options o = {.fail_on = SEVERITY_ERROR, .exit_code = 1};
    _cleanup_(check_result_release) struct check_result r = {.project = xstrdup("m")};
    for (int i = 0; i < 100; i++) {
        struct finding *f = result_add_finding(&r, "downgrade-leaves-trace", "1");
        for (int k = 0; k < 1000; k++)
            rich_change(f, "view public.naïve", NULL, NULL, "");
    }
    _cleanup_str_ struct str out = {0};
    report_markdown(&r, &o, &out);
    ck_assert_uint_lt(out.len, 65536);
    ck_assert(utf8_valid(out.p, out.len, NULL));
    ck_assert_ptr_nonnull(strstr(out.p, "… and 80 more findings"));
}
END_TEST

START_TEST(html_report_is_well_formed_and_loads_and_runs_nothing)
{
    struct report_options o = {
        .fail_on = SEVERITY_ERROR, .exit_code = 1, .command = "belay check m --quick"};
    _cleanup_(check_result_release) struct check_result r;
    everything(&r);
    _cleanup_str_ struct str out = {0};
    report_html(&r, &o, &out);
    check_well_formed(out.p);
    static const char *const there[] = {
        "<h1>✗ 3 errors, 1 warning, 1 note, 1 waived</h1>",
        "href=\"#finding-1\"",
        "id=\"finding-1\"",
        "on delete <del>CASCADE</del> → <ins>NO ACTION</ins>",
        "<li class=\"added\">+ index public.posts_user_idx</li>",
        "<summary>3 more</summary>",
        "<pre>ALTER TABLE post ADD COLUMN body text</pre>",
        "waived: the data is gone for good, until 2031-01-31",
        "not run: needs 0004, which does not upgrade",
        "width=\"100.00%\"",
        "<pre>belay check m --quick</pre>",
        "prefers-color-scheme: dark",
        "@media print",
    };
    for (size_t i = 0; i < ARRAY_LEN(there); i++)
        ck_assert_msg(strstr(out.p, there[i]) != NULL, "no %s", there[i]);
    static const char *const absent[] = {"<script", "src=", "url(", "@import", "https:", "//cdn"};
    for (size_t i = 0; i < ARRAY_LEN(absent); i++)
        ck_assert_msg(strstr(out.p, absent[i]) == NULL, "there is %s", absent[i]);
}
END_TEST

START_TEST(html_report_escapes_hostile_text_everywhere)
{
    static const char hostile[] = "</code><img src=x onerror=alert(1)>\"'&\x1b\x01\xff]]>\n<!--";
    _cleanup_err_ struct err stopped = {0};
    err_set(&stopped, ERR_ENV, "%s", hostile);
    err_hint(&stopped, "%s", hostile);
    struct report_options o = {
        .fail_on = SEVERITY_ERROR, .exit_code = 3, .command = hostile, .stopped = &stopped};
    _cleanup_(check_result_release) struct check_result r = {
        .project = xstrdup(hostile),
        .format = xstrdup(hostile),
        .engine = xstrdup(hostile),
        .scratch = xstrdup(hostile),
        .descent = xstrdup(hostile),
        .straight_run = xstrdup(hostile),
    };
    add_revision(&r, hostile, hostile, REVISION_FINDINGS);
    add_revision(&r, "2", hostile, REVISION_NOT_RUN)->not_run_reason = xstrdup(hostile);
    struct finding *f = result_add_finding(&r, "upgrade-fails", hostile);
    f->file = xstrdup(hostile);
    f->message = xstrdup(hostile);
    f->hint = xstrdup(hostile);
    f->statement = xstrdup(hostile);
    f->detail = xstrdup(hostile);
    f->trace = xstrdup(hostile);
    f->waived_reason = xstrdup(hostile);
    f->waived_expires = xstrdup(hostile);
    memcpy(f->sqlstate, "<b>&<", 6);
    rich_change(f, hostile, NULL, NULL, "");
    rich_change(f, hostile, hostile, hostile, hostile);
    _cleanup_str_ struct str out = {0};
    report_html(&r, &o, &out);
    check_well_formed(out.p);
    ck_assert_ptr_null(strstr(out.p, "<img"));
    ck_assert_ptr_null(strstr(out.p, "<b>"));
    ck_assert_ptr_null(strstr(out.p, "<!--"));
    ck_assert_ptr_nonnull(strstr(out.p, "<code>&lt;/code&gt;&lt;img src=x onerror=alert(1)&gt;"));
}
END_TEST

START_TEST(html_report_folds_revisions_that_were_only_upgraded)
{
    struct report_options o = {.fail_on = SEVERITY_ERROR};
    _cleanup_(check_result_release) struct check_result r = {.project = xstrdup("m")};
    for (int i = 0; i < 9; i++) {
        char id[8];
        snprintf(id, sizeof(id), "%04d", i);
        add_revision(&r, id, "x", i == 8 ? REVISION_OK : REVISION_REPLAYED);
    }
    _cleanup_str_ struct str out = {0};
    report_html(&r, &o, &out);
    check_well_formed(out.p);
    ck_assert_ptr_nonnull(strstr(out.p, "<summary>8 revisions, only upgraded</summary>"));
    ck_assert_ptr_nonnull(strstr(out.p, "✓ clean"));
    ck_assert_ptr_null(strstr(out.p, "<h2>Findings</h2>"));
}
END_TEST

START_TEST(fail_on_decides_what_junit_calls_a_failure)
{
    _cleanup_(check_result_release) struct check_result r;
    everything(&r);
    static const struct {
        enum severity fail_on;
        const char *failures;
    } cases[] = {
        {SEVERITY_ERROR, "failures=\"3\""},
        {SEVERITY_WARNING, "failures=\"4\""},
        {SEVERITY_NOTE, "failures=\"5\""},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct report_options o = {.fail_on = cases[i].fail_on, .exit_code = 1};
        _cleanup_str_ struct str out = {0};
        report_junit(&r, &o, &out);
        ck_assert_msg(strstr(out.p, cases[i].failures) != NULL, "%s in %.200s", cases[i].failures,
                      out.p);
    }
}
END_TEST

START_TEST(every_finding_is_documented_and_every_documented_finding_exists)
{
    _cleanup_free_ char *path = xasprintf("%s/docs/findings.md", getenv("BELAY_SOURCE_DIR"));
    _cleanup_free_ char *text = NULL;
    _cleanup_err_ struct err err = {0};
    ck_assert_msg(file_read(path, &text, NULL, &err) == 0, "%s", err.message);
    for (const struct finding_id *f = finding_ids; f->id; f++) {
        _cleanup_free_ char *heading =
            xasprintf("\n### %s (%s)\n\n%s", f->id, severity_name(f->severity), f->meaning);
        ck_assert_msg(strstr(text, heading) != NULL, "docs/findings.md lacks:%s", heading);
    }
    for (char *p = strstr(text, "\n### "); p; p = strstr(p + 1, "\n### ")) {
        char id[64];
        ck_assert_int_eq(sscanf(p, "\n### %63s", id), 1);
        ck_assert_msg(finding_id_find(id) != NULL, "docs/findings.md has %s", id);
    }
}
END_TEST

START_TEST(object_patterns_know_star_and_question_mark_alone)
{
    static const struct {
        const char *pattern, *object;
        bool match;
    } cases[] = {
        {"table public.a", "table public.a", true},
        {"table public.a", "table public.ab", false},
        {"table *", "table public.a", true},
        {"*", "", true},
        {"* public.?", "table public.é", true},
        {"* public.?", "table public.ab", false},
        {"*x*y", "axbxcy", true},
        {"*x*y", "axbxcyz", false},
        {"function f(integer[])", "function f(integer[])", true},
        {"function f(integer[])", "function f(integeri)", false},
        {"", "x", false},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        ck_assert_msg(object_matches(cases[i].pattern, cases[i].object) == cases[i].match,
                      "%s against %s", cases[i].pattern, cases[i].object);
}
END_TEST

int main(void)
{
    /* for the widths of characters; C.UTF-8 is part of the C library */
    if (!setlocale(LC_CTYPE, "C.UTF-8"))
        return suite_skip("no C.UTF-8 locale");
    Suite *s = suite_create("report");
    SUITE_ADD(s, text_report_says_cause_place_diff_and_hint);
    SUITE_ADD(s, text_report_without_utf8_is_ascii);
    SUITE_ADD(s, text_report_in_colour_has_the_same_words);
    SUITE_ADD(s, text_report_fits_eighty_columns_and_holds_no_control_characters);
    SUITE_ADD(s, verbose_text_report_leaves_nothing_out);
    SUITE_ADD(s, quiet_text_report_has_findings_and_summary_only);
    SUITE_ADD(s, findings_that_say_the_same_are_counted);
    SUITE_ADD(s, revisions_that_were_only_upgraded_share_a_line);
    SUITE_ADD(s, a_clean_result_says_clean);
    SUITE_ADD(s, a_stopped_check_has_no_verdict_in_any_report);
    SUITE_ADD(s, json_report_holds_everything);
    SUITE_ADD(s, json_report_and_its_schema_agree);
    SUITE_ADD(s, junit_report_has_one_case_per_revision);
    SUITE_ADD(s, sarif_report_has_rules_results_places_and_suppressions);
    SUITE_ADD(s, sarif_fingerprint_outlives_moved_lines_and_other_values);
    SUITE_ADD(s, sarif_escapes_uris_and_braces);
    SUITE_ADD(s, markdown_report_folds_findings_and_leaves_waived_ones_out);
    SUITE_ADD(s, markdown_report_keeps_hostile_text_in_its_fences);
    SUITE_ADD(s, markdown_report_stays_short);
    SUITE_ADD(s, html_report_is_well_formed_and_loads_and_runs_nothing);
    SUITE_ADD(s, html_report_escapes_hostile_text_everywhere);
    SUITE_ADD(s, html_report_folds_revisions_that_were_only_upgraded);
    SUITE_ADD(s, fail_on_decides_what_junit_calls_a_failure);
    SUITE_ADD(s, every_finding_is_documented_and_every_documented_finding_exists);
    SUITE_ADD(s, object_patterns_know_star_and_question_mark_alone);
    return suite_run(s);
}
