/* belay.yaml: what is read, and one clear error for each way to get it wrong. */
#include <string.h>
#include <unistd.h>

#include "harness/base/cleanup.h"
#include "harness/base/file.h"
#include "runner/cli.h"
#include "tests/suite.h"

static char dir[] = "/tmp/belay_test_config_XXXXXX";
static char *path;

static void write_file(const char *to, const char *text)
{
    _cleanup_err_ struct err err = {0};
    ck_assert_msg(file_replace(to, text, strlen(text), 0644, &err) == 0, "%s", err.message);
}

/* "file:line: message | hint", as the user reads it. */
static char *failure_of(const char *text, bool scenario)
{
    write_file(path, text);
    _cleanup_config_ struct config c = {0};
    _cleanup_err_ struct err err = {0};
    int rc = scenario ? config_read_scenario(path, &c, &err) : config_read(path, &c, &err);
    _cleanup_(settings_release) struct settings s = {0};
    if (rc == 0)
        rc = config_settings(&c, &s, &err);
    if (rc == 0)
        return xstrdup("no error");
    ck_assert_int_eq(err.code, ERR_CONFIG);
    ck_assert_str_eq(err.file, path);
    return xasprintf("%d: %s%s%s", err.line, err.message, err.hint ? " | " : "",
                     err.hint ? err.hint : "");
}

START_TEST(everything_that_is_documented_is_read)
{
    write_file(path, "# what lasts\n"
                     "dir: db/migrations\n"
                     "format: goose, junit\n"
                     "engine: postgres\n"
                     "url: postgres://localhost/app\n"
                     "url_env: [APP_URL, OTHER_URL]\n"
                     "scratch_url: postgres://localhost/postgres\n"
                     "baseline: schema.sql\n"
                     "fail_on: warning\n"
                     "quick: true\n"
                     "command:\n"
                     "  list: ./tool list\n"
                     "  up: |\n"
                     "    cd sub\n"
                     "    ./tool up {revision}\n"
                     "  version_tables: [done, s.log]\n"
                     "min_revision: '0003'\n"
                     "rows:\n"
                     "  - {table: public.plans, sql: insert into plans values (1)}\n"
                     "  - {table: posts, file: belay.yaml, at: 4f1c}\n"
                     "after:\n"
                     "  - {sql: select count(*) from t, expect: '', name: none}\n"
                     "  - sql: select 1\n"
                     "probes: [./alive, ./well]\n"
                     "queries: [select 1, belay.yaml]\n"
                     "mask: {users.email: fake, a.b.c: null, users.name: keep-length}\n"
                     "hooks: {before: ./off, after: ./on, on_failure: ./tell}\n"
                     "waivers:\n"
                     "  - finding: irreversible\n"
                     "    revision: 20240101\n"
                     "    reason: the data is gone\n"
                     "    expires: 2028-02-29\n"
                     "  - finding: downgrade-leaves-trace\n"
                     "    object: index *\n"
                     "    reason: 'kept: on purpose'\n"
                     "ignore:\n"
                     "  - object: table spatial_ref_sys\n"
                     "    reason: belongs to the extension\n");
    _cleanup_config_ struct config c = {0};
    _cleanup_err_ struct err err = {0};
    ck_assert_msg(config_read(path, &c, &err) == 0, "%s", err.message);
    _cleanup_free_ char *folder = path_join(dir, "db/migrations");
    ck_assert_str_eq(c.options[OPT_DIR], folder);
    ck_assert_str_eq(c.options[OPT_ENGINE], "postgres");
    ck_assert_int_eq(c.option_lines[OPT_ENGINE], 4);
    ck_assert_uint_eq(c.url_env.n, 2);
    ck_assert_str_eq(c.url_env.v[1], "OTHER_URL");
    ck_assert_str_eq(c.command->list, "./tool list");
    ck_assert_str_eq(c.command->up, "cd sub\n./tool up {revision}\n");
    ck_assert_ptr_null(c.command->down);
    ck_assert_str_eq(c.command->version_tables.v[1], "s.log");
    ck_assert_uint_eq(c.nwaivers, 2);
    ck_assert_str_eq(c.waivers[0].revision, "20240101");
    ck_assert_str_eq(c.waivers[0].expires, "2028-02-29");
    ck_assert_int_eq(c.waivers[1].line, 33);
    ck_assert_str_eq(c.waivers[1].object, "index *");
    ck_assert_ptr_null(c.waivers[1].revision);
    ck_assert_uint_eq(c.nrows, 2);
    ck_assert_str_eq(c.rows[0].table, "public.plans");
    ck_assert_str_eq(c.rows[0].sql, "insert into plans values (1)");
    ck_assert_ptr_null(c.rows[0].at);
    ck_assert_int_eq(c.rows[1].line, 20);
    ck_assert_str_eq(c.rows[1].at, "4f1c");
    ck_assert_msg(str_starts(c.rows[1].sql, "# what lasts"), "%s", c.rows[1].sql);
    ck_assert_uint_eq(c.nafter, 2);
    ck_assert_str_eq(c.after[0].name, "none");
    ck_assert_str_eq(c.after[0].expect, "");
    ck_assert_str_eq(c.after[1].sql, "select 1");
    ck_assert_ptr_null(c.after[1].expect);
    ck_assert_uint_eq(c.probes.n, 2);
    ck_assert_str_eq(c.probes.v[1], "./well");
    ck_assert_uint_eq(c.nqueries, 2);
    ck_assert_str_eq(c.queries[0].text, "select 1");
    ck_assert_int_eq(c.queries[0].line, 25);
    ck_assert_str_eq(c.queries[0].file, path);
    ck_assert_msg(str_starts(c.queries[1].text, "# what lasts"), "%s", c.queries[1].text);
    ck_assert_int_eq(c.queries[1].line, 1);
    ck_assert_uint_eq(c.masks.n, 3);
    ck_assert_str_eq(c.masks.v[1].column, "a.b.c");
    ck_assert_int_eq(c.masks.v[0].how, MASK_FAKE);
    ck_assert_int_eq(c.masks.v[1].how, MASK_NULL);
    ck_assert_int_eq(c.masks.v[2].how, MASK_KEEP_LENGTH);
    ck_assert_int_eq(c.masks.v[2].line, 26);
    ck_assert_str_eq(c.hooks.before, "./off");
    ck_assert_str_eq(c.hooks.on_failure, "./tell");
    ck_assert_uint_eq(c.nignores, 1);
    ck_assert_int_eq(c.ignores[0].line, 37);
    ck_assert_str_eq(c.ignores[0].file, path);

    _cleanup_(settings_release) struct settings s = {0};
    ck_assert_msg(config_settings(&c, &s, &err) == 0, "%s", err.message);
    ck_assert_str_eq(settings_get(&s, OPT_FORMAT), "goose");
    ck_assert_str_eq(settings_get(&s, OPT_REPORT), "junit");
    ck_assert(settings_on(&s, OPT_QUICK));
}
END_TEST

START_TEST(an_empty_file_and_comments_alone_are_a_configuration)
{
    static const char *const texts[] = {"", "# nothing yet\n", "dir:\nengine: sqlite\n"};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        _cleanup_free_ char *text = failure_of(texts[i], false);
        ck_assert_str_eq(text, "no error");
    }
}
END_TEST

static const struct {
    const char *name, *yaml, *fails_like;
} wrong[] = {
    {"unknown key", "dir: a\nwaviers: []\n",
     "2: unknown key \"waviers\" (did you mean \"waivers\"?)"},
    {"no such mask", "mask:\n  a.b: hash\n  a.c: hide\n",
     "3: mask: a.c: \"hide\" is not one of hash, fake, keep-length, null or keep"},
    {"mask misspelt", "mask: {a.b: hsah}\n",
     "1: mask: a.b: \"hsah\" is not one of hash, fake, keep-length, null or keep | did you mean"
     " \"hash\"?"},
    {"mask twice", "mask:\n  a.b: hash\n  a.b: 'null'\n", "3: mask: a.b stands twice"},
    {"mask as a list", "mask: [a]\n", "1: mask: expected a mapping (users.email: hash)"},
    {"queries as text", "queries: select 1\n",
     "1: queries: expected a list of SQL, or of files of it"},
    {"queries without a file", "queries:\n  - select 1\n  - nowhere.sql\n", "3: queries: "},
    {"dashes", "dir: a\n\nfail-on: error\n",
     "3: unknown key \"fail-on\" (did you mean \"fail_on\"?)"},
    {"far key", "database: x\n",
     "1: unknown key \"database\" | the keys here are alembic_config, allow_drift,"},
    {"unknown key of the commands", "command:\n  list: a\n  up: b\n  dwon: c\n",
     "4: unknown key \"dwon\" (did you mean \"down\"?)"},
    {"a command that is missing", "dir: x\ncommand:\n  list: a\n", "3: command: \"up\" is missing"},
    {"a command that is empty", "command:\n  list: a\n  up:\n", "3: command: \"up\" is empty"},
    {"commands that are none", "engine: sqlite\ncommand: python3 manage.py migrate\n",
     "2: command: expected a mapping (key: value), found a single value"},
    {"a command that is a list", "command:\n  list: a\n  up: [b, c]\n",
     "3: command: up: expected a single value, found a list"},
    {"unknown key in a waiver",
     "waivers:\n  - finding: irreversible\n    reason: x\n  - finding: irreversible\n"
     "    reason: y\n    expire: 2030-01-01\n",
     "6: unknown key \"expire\" (did you mean \"expires\"?)"},
    {"list for a value", "engine: sqlite\ndir: [a, b]\n",
     "2: dir: expected a single value, found a list"},
    {"mapping for a value", "dir:\n  a: b\n", "1: dir: expected a single value, found a mapping"},
    {"value for a list", "quick: no\nwaivers: none\n",
     "2: waivers: expected a list, found a single value"},
    {"list blank", "waivers:\n", "1: waivers: expected a list, found a single value"},
    {"list at the top", "- a\n", "1: expected a mapping (key: value), found a list"},
    {"text at the top", "hello\n", "1: expected a mapping (key: value), found a single value"},
    {"list in a waiver", "waivers:\n  - finding: irreversible\n    reason: [a]\n",
     "3: waivers: reason: expected a single value, found a list"},
    {"text as waiver", "waivers:\n  - irreversible\n",
     "2: waivers: expected a mapping (key: value), found a single value"},
    {"no reason", "\nwaivers:\n  - finding: irreversible\n",
     "3: waivers: \"reason\" is missing | say why"},
    {"blank reason", "waivers:\n  - finding: irreversible\n    reason: ' '\n",
     "3: waivers: the reason is empty | say why"},
    {"reason of the second", "ignore:\n  - {object: table a, reason: x}\n  - object: table b\n",
     "3: ignore: \"reason\" is missing"},
    {"no finding", "waivers:\n  - reason: x\n", "2: waivers: \"finding\" is missing"},
    {"unknown finding", "waivers:\n  - reason: x\n    finding: irreversble\n",
     "3: waivers: unknown finding \"irreversble\" | did you mean \"irreversible\"?"},
    {"bad date", "waivers:\n  - finding: irreversible\n    reason: x\n    expires: 2026-02-30\n",
     "4: waivers: expires: \"2026-02-30\" is not a date | write it as YYYY-MM-DD"},
    {"date in words", "ignore:\n  - {object: x, reason: y, expires: tomorrow}\n",
     "2: ignore: expires: \"tomorrow\" is not a date"},
    {"rows without any", "rows:\n  - table: a\n",
     "2: rows: give either \"sql\" or \"file\" | write"},
    {"rows twice", "rows:\n  - {table: a, sql: b, file: c}\n", "2: rows: give either \"sql\""},
    {"rows of no table", "rows:\n  - sql: a\n", "2: rows: \"table\" is missing"},
    {"rows from a file that is not there", "rows:\n  - table: a\n    file: nowhere.sql\n",
     "3: rows: cannot read"},
    {"an assertion without SQL", "after:\n  - name: a\n", "2: after: \"sql\" is missing"},
    {"an assertion with empty SQL", "after:\n  - sql: ''\n", "2: after: \"sql\" is empty"},
    {"an unknown hook", "hooks:\n  on_failed: x\n",
     "2: unknown key \"on_failed\" (did you mean \"on_failure\"?)"},
    {"twice", "dir: a\nengine: sqlite\ndir: b\n", "key \"dir\" stands twice"},
    {"tab", "dir: a\n\tengine: sqlite\n", "2: found a tab character that violates indentation"},
    {"colon in text", "dir: a: b\n",
     "1: mapping values are not allowed in this context | text that"},
    {"truncated list", "dir: a\nurl_env: [A, \n", ": is it truncated?"},
    {"truncated quote", "dir: a\nformat: \"goo", "the file ends too early: is it truncated?"},
    {"truncated waiver", "waivers:\n  - finding: irrev", "2: waivers: \"reason\" is missing"},
    {"second document", "dir: a\n---\ndir: b\n", "3: a second document begins here"},
    {"alias", "dir: &x a\nbaseline: *x\n", "2: baseline: aliases (*name) are not read here"},
    {"not a severity", "fail_on: errors\n",
     "1: fail_on: \"errors\" is not one of error, warning or note | did you mean \"error\"?"},
    {"not an engine", "\nengine: mysql\n", "2: engine: \"mysql\" is not one of sqlite, postgres"},
    {"not a switch", "quick: perhaps\n", "1: quick: \"perhaps\" is not yes or no"},
    {"not UTF-8", "dir: a\xff\n", "1:"},
    {"scenario key", "expect: []\n", "1: unknown key \"expect\""},
};

START_TEST(every_mistake_has_one_error_with_line_and_key)
{
    _cleanup_free_ char *text = failure_of(wrong[_i].yaml, false);
    ck_assert_msg(strstr(text, wrong[_i].fails_like) != NULL, "%s: %s", wrong[_i].name, text);
    ck_assert_msg(strchr(text, '\n') == NULL, "%s: %s", wrong[_i].name, text);
}
END_TEST

START_TEST(a_scenario_takes_its_own_keys_and_no_others)
{
    static const struct {
        const char *yaml, *fails_like;
    } cases[] = {
        {"title: x\nengines: [sqlite]\nlatest: 2\nexpect:\n  - finding: irreversible\n",
         "no error"},
        {"engines: [sqlite]\n", "1: \"title\" is missing"},
        {"title: x\nexpect:\n  - finding: nonsense\n", "3: expect: unknown finding \"nonsense\""},
        {"title: x\nexpect:\n  - finding: irreversible\n    reason: y\n",
         "4: unknown key \"reason\""},
        {"title: x\nexpct: []\n", "2: unknown key \"expct\" (did you mean \"expect\"?)"},
        {"title: x\nlatest: two\n", "2: latest: \"two\" is not a number"},
        {"title: x\nsteps:\n  - upgrade: head\n  - sql: select 1\n  - snapshot: s\n"
         "  - downgrade: \"-1\"\n  - check: yes\n  - expect:\n      revision: [base]\n"
         "      objects: [table t]\n      absent: [table u]\n      snapshot: s\n"
         "      rows: [{query: select 1, are: [\"1\"]}]\n"
         "      findings: [{finding: irreversible, revision: a, object: table t}]\n",
         "no error"},
        {"title: x\nsteps:\n  - preview: base:head\n  - revision: {message: m, id: a, head: b,\n"
         "      branch_label: c, autogenerate: yes}\n  - merge: {message: m, id: d}\n",
         "no error"},
        {"title: x\nsteps:\n  - revision: {id: a}\n", "3: steps: \"message\" is missing"},
        {"title: x\nsteps:\n  - merge: {message: m, head: b}\n", "3: unknown key \"head\""},
        {"title: x\nsteps:\n  - revision: {message: m, autogenerate: maybe}\n",
         "3: steps: revision: there is only \"autogenerate: yes\""},
        {"title: x\nsteps:\n  - upgrade: head\n    merge: {message: m}\n",
         "a step does one thing, and this one does 2"},
        {"title: x\nsteps:\n  - upgrade: head\n    sql: select 1\n",
         "4: steps: a step does one thing, and this one does 2"},
        {"title: x\nsteps:\n  - {}\n", "steps: a step does one thing, and this one does 0"},
        {"title: x\nsteps:\n  - upgrad: head\n",
         "3: unknown key \"upgrad\" (did you mean \"upgrade\"?)"},
        {"title: x\nsteps:\n  - expect: {rowz: []}\n",
         "3: unknown key \"rowz\" (did you mean \"rows\"?)"},
        {"title: x\nsteps:\n  - expect: all\n",
         "3: steps: expect: expected a mapping (key: value), found a single value"},
        {"title: x\nsteps:\n  - check: no\n", "3: steps: check: there is only \"check: yes\""},
        {"title: x\nsteps:\n  - upgrade: \"\"\n", "3: steps: upgrade: empty"},
        {"title: x\nsteps:\n  - expect: {findings: [{finding: nonsense}]}\n",
         "3: steps: unknown finding \"nonsense\""},
        {"title: x\nexpect: [{finding: irreversible}]\nsteps: [{upgrade: head}]\n",
         "2: expect stands among the steps"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        _cleanup_free_ char *text = failure_of(cases[i].yaml, true);
        ck_assert_msg(strstr(text, cases[i].fails_like) != NULL, "%s", text);
    }
}
END_TEST

START_TEST(a_missing_file_is_an_error_that_names_it)
{
    _cleanup_config_ struct config c = {0};
    _cleanup_err_ struct err err = {0};
    ck_assert_int_eq(config_read("/nonexistent/belay.yaml", &c, &err), -1);
    ck_assert_int_eq(err.code, ERR_CONFIG);
    ck_assert_str_eq(err.file, "/nonexistent/belay.yaml");
}
END_TEST

START_TEST(the_nearest_file_above_is_found)
{
    _cleanup_free_ char *below = path_join(dir, "a/b");
    _cleanup_err_ struct err err = {0};
    ck_assert_int_eq(dir_make(below, 0755, &err), 0);
    write_file(path, "dir: x\n");
    _cleanup_free_ char *found = NULL;
    config_find(below, &found);
    ck_assert_str_eq(found, path);
    ck_assert_int_eq(unlink(path), 0);
    _cleanup_free_ char *none = NULL;
    config_find(below, &none);
    ck_assert_ptr_null(none);
}
END_TEST

START_TEST(every_key_is_documented)
{
    _cleanup_free_ char *doc = xasprintf("%s/docs/belay-yaml.md", getenv("BELAY_SOURCE_DIR"));
    _cleanup_free_ char *text = NULL;
    _cleanup_err_ struct err err = {0};
    ck_assert_msg(file_read(doc, &text, NULL, &err) == 0, "%s", err.message);
    for (unsigned o = 0; o < OPT_COUNT; o++) {
        if (!(option_specs[o].flags & OPTION_CONFIG))
            continue;
        _cleanup_free_ char *row = xasprintf("\n| `%s` |", option_specs[o].name);
        for (char *p = row; *p; p++)
            *p = *p == '-' ? '_' : *p;
        ck_assert_msg(strstr(text, row) != NULL, "docs/belay-yaml.md lacks %s", row);
    }
}
END_TEST

START_TEST(dates_are_days_of_the_calendar)
{
    ck_assert(config_is_date("2028-02-29"));
    ck_assert(config_is_date("2026-12-31"));
    ck_assert(!config_is_date("2026-02-29"));
    ck_assert(!config_is_date("2100-02-29"));
    ck_assert(!config_is_date("2028-02-30"));
    ck_assert(!config_is_date("2026-04-31"));
    ck_assert(!config_is_date("2026-13-01"));
    ck_assert(!config_is_date("2026-00-10"));
    ck_assert(!config_is_date("2026-1-01"));
    ck_assert(!config_is_date("26-01-01"));
    ck_assert(!config_is_date("2026-01-011"));
    ck_assert(!config_is_date("2026--1-01"));
}
END_TEST

int main(void)
{
    if (!mkdtemp(dir))
        return EXIT_FAILURE;
    path = path_join(dir, "belay.yaml");
    Suite *s = suite_create("config");
    SUITE_ADD(s, everything_that_is_documented_is_read);
    SUITE_ADD(s, an_empty_file_and_comments_alone_are_a_configuration);
    TCase *mistakes = tcase_create("mistakes");
    tcase_set_timeout(mistakes, 0);
    tcase_add_loop_test(mistakes, every_mistake_has_one_error_with_line_and_key, 0,
                        (int)ARRAY_LEN(wrong));
    suite_add_tcase(s, mistakes);
    SUITE_ADD(s, a_scenario_takes_its_own_keys_and_no_others);
    SUITE_ADD(s, a_missing_file_is_an_error_that_names_it);
    SUITE_ADD(s, the_nearest_file_above_is_found);
    SUITE_ADD(s, every_key_is_documented);
    SUITE_ADD(s, dates_are_days_of_the_calendar);
    int rc = suite_run(s);
    struct err err = {0};
    tree_remove(dir, &err);
    err_release(&err);
    free(path);
    return rc;
}
