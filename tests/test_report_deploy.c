/* The reports of deploys: every outcome, in every format, with hostile text everywhere. */
#include <jansson.h>
#include <string.h>

#include "harness/base/cleanup.h"
#include "tests/report_keys.h"
#include "tests/rich_results.h"
#include "tests/suite.h"
#include "tests/well_formed.h"

#define OUTCOMES (DEPLOY_OUTCOME_LOCKED + 1)

static char *report(enum deploy_outcome outcome, const char *format, bool aborted)
{
    const struct report_options o = {.exit_code = 4, .command = "belay deploy --to 0007"};
    _cleanup_(rich_deploy_release) struct rich_deploy d;
    rich_deploy(outcome, &d);
    d.report.aborted = aborted;
    struct str out = {0};
    report_deploy_find(format)(&d.report, &o, &out);
    return str_take(&out);
}

static void check_holds(const char *text, const char *const *there)
{
    for (; *there; there++)
        ck_assert_msg(strstr(text, *there) != NULL, "no %s in\n%s", *there, text);
}

static void check_harmless(const char *text)
{
    static const char *const absent[] = {"<script", "<img", "<!-- ",
                                         "\x1b",    "\x01", "\xe2\x80\xae"};
    for (size_t i = 0; i < ARRAY_LEN(absent); i++)
        ck_assert_msg(strstr(text, absent[i]) == NULL, "there is %s", absent[i]);
    ck_assert(utf8_valid(text, strlen(text), NULL));
}

START_TEST(page_of_every_outcome_is_well_formed_and_harmless)
{
    _cleanup_free_ char *page =
        report((enum deploy_outcome)(_i % OUTCOMES), "html", _i >= OUTCOMES);
    check_well_formed(page);
    check_harmless(page);
    check_holds(page, (const char *const[]){"<h2>Phases</h2>", "How to reproduce",
                                            "<pre>belay deploy --to 0007</pre>", NULL});
}
END_TEST

START_TEST(page_of_a_failure_says_what_why_and_what_now)
{
    _cleanup_free_ char *page = report(DEPLOY_OUTCOME_RESTORED, "html", false);
    check_holds(page,
                (const char *const[]){
                    "<h1>✗ the upgrade failed; the database is back as it was, proved</h1>",
                    "migrations/versions/0005_slugs.py:31:5", "SQLSTATE 40P01",
                    "<pre>UPDATE public.a_table", "<strong>hint:</strong>",
                    "<dt>went back by</dt><dd>restore</dd>",
                    "<dt>proof</dt><dd>the bundle was restored beside",
                    "the downgrade of 0004 failed", "app-before-17-20261121T043000Z.belay</code>",
                    "app_failed_17_20261121T043112Z", "belay.lost</code>", "correct the revision",
                    NULL});
}
END_TEST

START_TEST(what_was_not_proved_is_not_called_so)
{
    _cleanup_free_ char *page = report(DEPLOY_OUTCOME_STUCK, "html", false);
    check_holds(page, (const char *const[]){"✗ a person must look", "<dt>tried last</dt>",
                                            "belay recover", NULL});
    ck_assert_ptr_null(strstr(page, "<dt>proof</dt>"));
    _cleanup_free_ char *aborted = report(DEPLOY_OUTCOME_NOTHING, "html", true);
    check_holds(aborted, (const char *const[]){"✗ nothing was changed", NULL});
}
END_TEST

START_TEST(markdown_keeps_hostile_text_in_code_and_fences)
{
    _cleanup_free_ char *text = report((enum deploy_outcome)_i, "markdown", false);
    ck_assert(utf8_valid(text, strlen(text), NULL));
    bool fenced = false;
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
        bool fence = strncmp(line, "```", 3) == 0;
        fenced = fenced != fence;
        if (fenced || fence)
            continue;
        ck_assert_msg(!strstr(line, "<script") && !strstr(line, "@all"), "%s", line);
    }
    ck_assert(!fenced);
}
END_TEST

START_TEST(json_and_its_schema_agree_whatever_the_outcome)
{
    static const char *const outcomes[] = {"nothing", "done", "restored", "stuck", "locked"};
    _cleanup_free_ char *text = report((enum deploy_outcome)_i, "json", false);
    json_t *j = json_loads(text, 0, NULL);
    ck_assert_ptr_nonnull(j);
    check_report_keys("deploy.schema.json", j);
    ck_assert_str_eq(json_string_value(json_object_get(j, "outcome")), outcomes[_i]);
    json_decref(j);
}
END_TEST

START_TEST(text_with_its_failure_is_lines_without_control_characters)
{
    _cleanup_(rich_deploy_release) struct rich_deploy d;
    rich_deploy(DEPLOY_OUTCOME_RESTORED, &d);
    _cleanup_str_ struct str out = {0};
    report_deploy_failure(&d.report, &out);
    check_holds(str_get(&out),
                (const char *const[]){"upgrade of 0005: ", "  hint: ", "  statement: ", NULL});
    for (const char *p = str_get(&out); *p; p++)
        ck_assert(*p == '\n' || (unsigned char)*p >= 0x20);
}
END_TEST

START_TEST(plan_is_told_in_every_format_with_what_is_against_it)
{
    static const char *const formats[] = {"text", "json", "html", "markdown"};
    struct revision rev = {.id = xstrdup(hostile_text), .title = xstrdup(hostile_text)};
    struct revision *list[] = {&rev};
    char from[] = "0001", to[] = "0002";
    const struct deploy_plan plan = {
        .from = from, .to = to, .list = {.v = list, .n = 1}, .bytes = 1 << 20};
    _cleanup_err_ struct err against = {0};
    err_set(&against, ERR_SOURCE, "%s", hostile_text);
    const struct plan_report r = {.database = "postgresql://app@db/app",
                                  .engine = "postgres",
                                  .dir = "bundles",
                                  .plan = &plan,
                                  .sql = "create table t ();\n",
                                  .against = &against};
    const struct report_options o = {0};
    _cleanup_str_ struct str out = {0};
    report_plan_find(formats[_i])(&r, &o, &out);
    ck_assert_ptr_nonnull(strstr(out.p, "0001"));
    if (str_eq(formats[_i], "html")) {
        check_well_formed(out.p);
        check_harmless(out.p);
        check_holds(out.p, (const char *const[]){"✗ a deploy would be refused", "(no downgrade)",
                                                 "create table t ();", NULL});
    }
    free(rev.id);
    free(rev.title);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("report_deploy");
    SUITE_ADD_LOOP(s, page_of_every_outcome_is_well_formed_and_harmless, 2 * OUTCOMES);
    SUITE_ADD(s, page_of_a_failure_says_what_why_and_what_now);
    SUITE_ADD(s, what_was_not_proved_is_not_called_so);
    SUITE_ADD_LOOP(s, markdown_keeps_hostile_text_in_code_and_fences, OUTCOMES);
    SUITE_ADD_LOOP(s, json_and_its_schema_agree_whatever_the_outcome, OUTCOMES);
    SUITE_ADD(s, text_with_its_failure_is_lines_without_control_characters);
    SUITE_ADD_LOOP(s, plan_is_told_in_every_format_with_what_is_against_it, 4);
    return suite_run(s);
}
