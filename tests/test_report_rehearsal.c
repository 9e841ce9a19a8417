/* The reports of a rehearsal, of rich results with hostile text in them. */
#include <jansson.h>
#include <string.h>

#include "runner/report_rehearsal.h"
#include "tests/rich_results.h"
#include "tests/suite.h"
#include "tests/well_formed.h"

static char *report(const char *format)
{
    const struct report_options o = {.terminal = {.utf8 = true, .width = 80},
                                     .fail_on = SEVERITY_ERROR,
                                     .exit_code = 1,
                                     .command = "belay rehearse --from app.belay"};
    _cleanup_(rehearsal_release) struct rehearsal r;
    rich_rehearsal(&r);
    struct str out = {0};
    report_rehearsal_find(format)(&r, &o, &out);
    return str_take(&out);
}

START_TEST(page_is_well_formed_and_shows_what_was_measured)
{
    _cleanup_free_ char *page = report("html");
    check_well_formed(page);
    static const char *const there[] = {
        "<h1>✗ 1 error, 2 warnings</h1>",
        "<strong>19.2 s</strong>",
        "<li class=\"part\"><span></span><span>table public.posts</span>",
        "id=\"revision-3\"",
        "href=\"#revision-3\"",
        "AccessExclusiveLock for 21.8 s",
        "1234567 rows",
        "22 shorter ones",
        "the schema: 41 changes",
        "not run: stopped before it",
        "<span class=\"id\">failed</span>",
        "<pre>belay rehearse --from app.belay</pre>",
    };
    for (size_t i = 0; i < ARRAY_LEN(there); i++)
        ck_assert_msg(strstr(page, there[i]) != NULL, "no %s", there[i]);
    static const char *const absent[] = {"<script", "<img", "<!-- ",
                                         "\x1b",    "\x01", "\xe2\x80\xae"};
    for (size_t i = 0; i < ARRAY_LEN(absent); i++)
        ck_assert_msg(strstr(page, absent[i]) == NULL, "there is %s", absent[i]);
    ck_assert(utf8_valid(page, strlen(page), NULL));
}
END_TEST

START_TEST(markdown_is_short_and_keeps_hostile_text_in_code_and_fences)
{
    _cleanup_free_ char *text = report("markdown");
    ck_assert_uint_lt(strlen(text), 65536);
    ck_assert(utf8_valid(text, strlen(text), NULL));
    ck_assert_ptr_nonnull(strstr(text, "### ✗ belay rehearse: 1 error, 2 warnings"));
    bool fenced = false;
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
        bool fence = strncmp(line, "```", 3) == 0;
        fenced = fenced != fence;
        if (!fenced && !fence)
            ck_assert_msg(!strstr(line, "<script") && !strstr(line, "<img"), "%s", line);
        const char *mention = fenced || fence ? NULL : strstr(line, "@all");
        ck_assert_msg(!mention || strstr(mention, "</code>"), "%s", line);
    }
    ck_assert(!fenced);
}
END_TEST

START_TEST(text_holds_no_control_characters)
{
    _cleanup_free_ char *text = report("text");
    for (const char *p = text; *p; p++)
        ck_assert(*p == '\n' || (unsigned char)*p >= 0x20);
}
END_TEST

START_TEST(json_is_json_whatever_the_bytes)
{
    _cleanup_free_ char *text = report("json");
    json_error_t e;
    json_t *j = json_loads(text, 0, &e);
    ck_assert_msg(j != NULL, "%s", e.text);
    ck_assert_str_eq(json_string_value(json_object_get(j, "type")), "belay-rehearsal");
    ck_assert_uint_eq(json_array_size(json_object_get(j, "revisions")), 6);
    json_decref(j);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("report_rehearsal");
    SUITE_ADD(s, page_is_well_formed_and_shows_what_was_measured);
    SUITE_ADD(s, markdown_is_short_and_keeps_hostile_text_in_code_and_fences);
    SUITE_ADD(s, text_holds_no_control_characters);
    SUITE_ADD(s, json_is_json_whatever_the_bytes);
    return suite_run(s);
}
