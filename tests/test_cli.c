/* The program from end to end: what it prints, where, and how it ends. */
#include <jansson.h>
#include <string.h>
#include <unistd.h>

#include <sqlite3.h>

#include "harness/base/cleanup.h"
#include "harness/base/file.h"
#include "tests/belay_run.h"
#include "tests/suite.h"

static char folder[] = "/tmp/belay_test_cli_XXXXXX";

static struct run run(const char *args)
{
    return belay_run(folder, NULL, args);
}

static void has(const char *text, const char *part)
{
    ck_assert_msg(strstr(text, part) != NULL, "\"%s\" is not in:\n%s", part, text);
}

static void write_file(const char *name, const char *text)
{
    _cleanup_free_ char *path = path_join(folder, name);
    _cleanup_free_ char *dir = path_dir(path);
    _cleanup_err_ struct err err = {0};
    ck_assert_int_eq(dir_make(dir, 0755, &err), 0);
    ck_assert_msg(file_replace(path, text, strlen(text), 0644, &err) == 0, "%s", err.message);
}

static void make_database(const char *name, const char *sql)
{
    _cleanup_free_ char *path = path_join(folder, name);
    sqlite3 *db;
    unlink(path);
    ck_assert_int_eq(sqlite3_open(path, &db), SQLITE_OK);
    ck_assert_int_eq(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
}

/* One revision that only SQLite takes. */
static void write_project(void)
{
    write_file("project/1_a.up.sql", "create table t (a integer primary key autoincrement);\n");
    write_file("project/1_a.down.sql", "drop table t;\n");
}

START_TEST(help_lists_the_commands_and_each_has_help_of_its_own)
{
    _cleanup_run_ struct run r = run("help");
    ck_assert_int_eq(r.r.status, 0);
    ck_assert_str_eq(r.errors, "");
    size_t commands = 0;
    for (const char *p = strstr(r.out, "\n  "); p; p = strstr(p + 1, "\n  ")) {
        char name[32];
        ck_assert_int_eq(sscanf(p, "\n  %31s", name), 1);
        commands++;
        _cleanup_free_ char *help = xasprintf("help %s", name);
        _cleanup_free_ char *flag = xasprintf("%s --help", name);
        _cleanup_run_ struct run a = run(help), b = run(flag);
        ck_assert_int_eq(a.r.status, 0);
        ck_assert_int_eq(b.r.status, 0);
        ck_assert_str_eq(a.out, b.out);
        _cleanup_free_ char *usage = xasprintf("usage: belay %s", name);
        has(a.out, usage);
        for (const char *line = a.out; line && *line; line = strchr(line, '\n')) {
            line += *line == '\n';
            ck_assert_msg(strcspn(line, "\n") <= 80, "%.*s", (int)strcspn(line, "\n"), line);
        }
    }
    ck_assert_uint_ge(commands, 8);
}
END_TEST

START_TEST(without_a_command_the_help_goes_to_stderr)
{
    _cleanup_run_ struct run r = run("");
    ck_assert_int_eq(r.r.status, 2);
    ck_assert_str_eq(r.out, "");
    has(r.errors, "usage: belay COMMAND");
}
END_TEST

START_TEST(version_names_belay_and_its_libraries)
{
    _cleanup_run_ struct run r = run("version"), flag = run("--version");
    ck_assert_int_eq(r.r.status, 0);
    ck_assert_int_eq(flag.r.status, 0);
    ck_assert(strncmp(r.out, flag.out, strlen(flag.out)) == 0);
    static const char *const libraries[] = {"libpq",   "sqlite",   "zstd",   "libsodium",
                                            "jansson", "libcyaml", "xxhash", "libpg_query"};
    for (size_t i = 0; i < ARRAY_LEN(libraries); i++)
        has(r.out, libraries[i]);
    has(r.out, sqlite3_libversion());
}
END_TEST

static const struct {
    const char *args, *message, *hint;
} misuse[] = {
    {"chekc", "unknown command \"chekc\"", "did you mean \"belay check\"?"},
    {"frobnicate", "unknown command \"frobnicate\"", "\"belay help\" lists the commands"},
    {"help chekc", "unknown command \"chekc\"", NULL},
    {"check --quik", "unknown option --quik", "did you mean --quick?"},
    {"check --quik=no", "unknown option --quik\n", "did you mean --quick?"},
    {"--quik check", "unknown option --quik", "did you mean --quick?"},
    {"check -z", "unknown option -z", "\"belay help check\" lists the options"},
    {"version --dir x", "option --dir does not go with \"belay version\"", NULL},
    {"diff a", "too few arguments for \"belay diff\"", "usage: belay diff A B"},
    {"diff a b c", "too many arguments for \"belay diff\"", NULL},
    {"diff - -", "stdin can be one side only", NULL},
    {"check --latest", "option --latest needs an argument", NULL},
    {"check --latest x", "--latest: \"x\" is not a number", NULL},
    {"check --latest 0", "--latest: \"0\" is not a number", NULL},
    {"rehearse --sample 0", "--sample: \"0\" is not a number from 1 to 100", NULL},
    {"rehearse --sample 101", "--sample: \"101\" is not a number from 1 to 100", NULL},
    {"rehearse --sample ten", "--sample: \"ten\" is not a number from 1 to 100", NULL},
    {"check --fail-on erorr", "--fail-on: \"erorr\" is not one of", "did you mean \"error\"?"},
    {"check --format jnuit", "--format: \"jnuit\" is not one of", "did you mean \"junit\"?"},
    {"check --engine oracle", "--engine: \"oracle\" is not one of sqlite, postgres", NULL},
    {"check --quick=perhaps", "--quick: \"perhaps\" is not yes or no", NULL},
    {"check --format json --format junit", "two reports cannot share stdout", NULL},
    {"check --output x.pdf", "which report should go to x.pdf?", "put --format"},
    {"check --config none.yaml", "none.yaml", NULL},
    {"check nowhere", "nowhere", NULL},
    {"check project --git-base -x", "git", NULL},
    {"snapshot mysql://u:secret@h/db", "mysql://", NULL},
    {"run nowhere", "no folder nowhere", NULL},
    {"run .", "no scenario.yaml in . or below", NULL},
};

START_TEST(misuse_ends_with_2_and_one_clear_error)
{
    write_project();
    _cleanup_run_ struct run r = run(misuse[_i].args);
    ck_assert_msg(r.r.status == 2, "%s: %d\n%s", misuse[_i].args, r.r.status, r.errors);
    ck_assert_str_eq(r.out, "");
    has(r.errors, misuse[_i].message);
    if (misuse[_i].hint)
        has(r.errors, misuse[_i].hint);
    ck_assert_msg(strncmp(r.errors, "belay: ", 7) == 0, "%s", r.errors);
    ck_assert_ptr_null(strstr(r.errors, "secret"));
    ck_assert_ptr_null(strstr(r.errors + 1, "belay: "));
}
END_TEST

START_TEST(options_may_stand_before_and_after_arguments)
{
    make_database("a.db", "create table t (a int)");
    make_database("b.db", "create table t (a int, b int)");
    static const char *const orders[] = {"diff a.db b.db -q", "diff -q a.db b.db",
                                         "-q diff a.db b.db", "diff a.db -q b.db",
                                         "diff a.db b.db --quiet=yes"};
    for (size_t i = 0; i < ARRAY_LEN(orders); i++) {
        _cleanup_run_ struct run r = run(orders[i]);
        ck_assert_int_eq(r.r.status, 1);
        ck_assert_str_eq(r.out, "+ column t.b (int)\n");
    }
    _cleanup_run_ struct run r = run("diff a.db b.db -q --quiet=no");
    has(r.out, "1 difference\n");
}
END_TEST

START_TEST(flags_win_over_the_environment_and_that_over_the_file)
{
    static const struct {
        const char *env[4];
        const char *args, *database;
    } cases[] = {
        {{NULL}, "snapshot", "file.db"},
        {{"DATABASE_URL=sqlite:///database.db"}, "snapshot", "database.db"},
        {{"DATABASE_URL=sqlite:///database.db", "BELAY_URL=sqlite:///belay.db"},
         "snapshot",
         "belay.db"},
        {{"BELAY_URL=sqlite:///belay.db"}, "snapshot --url sqlite:///flag.db", "flag.db"},
        {{"BELAY_URL=sqlite:///belay.db"}, "--url sqlite:///flag.db snapshot", "flag.db"},
        {{"BELAY_URL=sqlite:///belay.db"}, "snapshot sqlite:///argument.db", "argument.db"},
        {{"BELAY_CONFIG=other.yaml"}, "snapshot", "other.db"},
        {{"BELAY_CONFIG=other.yaml", "DATABASE_URL=sqlite:///database.db"}, "snapshot", "other.db"},
        {{"BELAY_CONFIG=other.yaml", "OTHER_URL=sqlite:///named.db",
          "DATABASE_URL=sqlite:///database.db"},
         "snapshot",
         "named.db"},
    };
    write_file("order/belay.yaml", "url: sqlite:///file.db\n");
    write_file("order/other.yaml", "url: sqlite:///other.db\nurl_env: [OTHER_URL]\n");
    _cleanup_free_ char *dir = path_join(folder, "order");
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        _cleanup_run_ struct run r = belay_run(dir, cases[i].env, cases[i].args);
        ck_assert_int_eq(r.r.status, 3);
        _cleanup_free_ char *name = xasprintf("database %s:", cases[i].database);
        has(r.errors, name);
    }
}
END_TEST

START_TEST(a_mistake_in_the_environment_names_the_variable)
{
    _cleanup_run_ struct run r =
        belay_run(folder, (const char *const[]){"BELAY_FORMAT=jsn", NULL}, "diff a b");
    ck_assert_int_eq(r.r.status, 2);
    has(r.errors, "BELAY_FORMAT: \"jsn\" is not one of");
}
END_TEST

START_TEST(a_mistake_in_the_file_names_file_and_line)
{
    write_file("mistake/belay.yaml", "dir: .\nwaviers: []\n");
    write_file("mistake/below/x", "");
    _cleanup_free_ char *dir = path_join(folder, "mistake");
    _cleanup_free_ char *below = path_join(folder, "mistake/below");
    _cleanup_run_ struct run here = belay_run(dir, NULL, "snapshot"),
                             under = belay_run(below, NULL, "snapshot"),
                             named = run("check mistake/below");
    ck_assert_int_eq(here.r.status, 2);
    ck_assert_str_eq(here.errors, "belay: belay.yaml:2: unknown key \"waviers\" (did you mean "
                                  "\"waivers\"?)\n");
    has(under.errors, "/mistake/belay.yaml:2: unknown key");
    has(named.errors, "/mistake/belay.yaml:2: unknown key");
}
END_TEST

START_TEST(diff_tells_equal_from_different_by_exit_code)
{
    make_database("a.db", "create table t (a int)");
    make_database("same.db", "CREATE TABLE \"t\" ( a  INT )");
    make_database("other.db", "create table t (a int not null); create table u (x)");
    _cleanup_run_ struct run equal = run("diff a.db same.db"),
                             different = run("diff a.db other.db");
    ck_assert_int_eq(equal.r.status, 0);
    ck_assert_str_eq(equal.out, "no differences\n");
    ck_assert_int_eq(different.r.status, 1);
    has(different.out, "  column t.a: not null");
    has(different.out, "+ table u");
    ck_assert_ptr_null(strchr(different.out, '\033'));
}
END_TEST

START_TEST(a_snapshot_file_stands_for_its_database)
{
    make_database("a.db", "create table t (a int); create index i on t (a)");
    _cleanup_run_ struct run write = run("snapshot a.db --output a.json"),
                             out = run("snapshot a.db");
    ck_assert_int_eq(write.r.status, 0);
    ck_assert_str_eq(write.out, "");
    _cleanup_free_ char *path = path_join(folder, "a.json");
    _cleanup_free_ char *text = NULL;
    _cleanup_err_ struct err err = {0};
    ck_assert_int_eq(file_read(path, &text, NULL, &err), 0);
    ck_assert_str_eq(text, out.out);
    _cleanup_run_ struct run same = run("diff a.json sqlite:///a.db");
    ck_assert_int_eq(same.r.status, 0);

    make_database("a.db", "create table t (a int)");
    _cleanup_run_ struct run json = run("diff a.json a.db --format json");
    ck_assert_int_eq(json.r.status, 1);
    json_t *j = json_loads(json.out, 0, NULL);
    ck_assert_ptr_nonnull(j);
    ck_assert(json_is_false(json_object_get(j, "equal")));
    ck_assert_uint_eq(json_array_size(json_object_get(j, "changes")), 1);
    json_decref(j);

    write_file("broken.json", "{\"belay snapshot\":1,");
    _cleanup_run_ struct run broken = run("diff broken.json a.db");
    ck_assert_int_eq(broken.r.status, 2);
    has(broken.errors, "broken.json");
}
END_TEST

START_TEST(what_cannot_be_written_is_an_error)
{
    make_database("a.db", "create table t (a int)");
    _cleanup_run_ struct run r = run("snapshot a.db -o no/such/folder/a.json"),
                             full = run("snapshot a.db -o /dev/full");
    ck_assert_int_eq(r.r.status, 3);
    has(r.errors, "no/such/folder");
    ck_assert_int_eq(full.r.status, 3);
    has(full.errors, "No space left");
}
END_TEST

/* Into a pipe that nobody reads any more, as `| head` leaves it: quiet, and the exit code stands. */
START_TEST(a_reader_that_has_seen_enough_is_no_error)
{
    static const char *const commands[] = {"help", "history --dir closed",
                                           "check closed --engine sqlite", "help check"};
    write_file("closed/1_a.sql", "-- migrate:up\ncreate table t (a int);\n"
                                 "-- migrate:down\ndrop table t;\n");
    for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
        _cleanup_free_ char *shell = xasprintf("rm -f f; mkfifo f; exec 3<>f 4>f 3<&-; %s %s >&4",
                                               getenv("BELAY_BIN"), commands[i]);
        const char *const argv[] = {"sh", "-c", shell, NULL};
        _cleanup_proc_result_ struct proc_result r = {0};
        _cleanup_err_ struct err err = {0};
        const struct proc_options o = {.argv = argv, .dir = folder};
        ck_assert_msg(proc_run(&o, &r, &err) == 0, "%s", err.message);
        ck_assert_msg(r.status == 0, "%s: %d %s", commands[i], r.status, str_get(&r.errors));
        ck_assert_str_eq(str_get(&r.errors), "");
    }
}
END_TEST

START_TEST(init_writes_a_file_that_belay_reads_and_never_overwrites)
{
    write_file("new/db/migrations/20240101000000_a.sql",
               "-- migrate:up\ncreate table t (a int);\n-- migrate:down\ndrop table t;\n");
    _cleanup_free_ char *dir = path_join(folder, "new");
    _cleanup_run_ struct run first = belay_run(dir, NULL, "init");
    ck_assert_msg(first.r.status == 0, "%s", first.errors);
    has(first.out, "dbmate");
    _cleanup_free_ char *path = path_join(dir, "belay.yaml");
    _cleanup_free_ char *text = NULL;
    _cleanup_err_ struct err err = {0};
    ck_assert_int_eq(file_read(path, &text, NULL, &err), 0);
    has(text, "\ndir: db/migrations\n");
    has(text, "\nformat: dbmate\n");
    _cleanup_run_ struct run again = belay_run(dir, NULL, "init");
    ck_assert_int_eq(again.r.status, 2);
    has(again.errors, "exists already");

    /* every commented line is valid too: a '#' before a key is all that keeps it out */
    _cleanup_str_ struct str all = {0};
    for (const char *p = text; *p; p++)
        if (!(*p == '#' && (p == text || p[-1] == '\n') && p[1] != ' ' && p[1] != '\n') &&
            !(*p == '#' && p[1] == ' ' && p[2] == ' '))
            str_addc(&all, *p);
    write_file("new/belay.yaml", str_get(&all));
    make_database("new/a.db", "create table t (a int)");
    _cleanup_run_ struct run uncommented = belay_run(dir, NULL, "diff a.db a.db");
    ck_assert_msg(uncommented.r.status == 0, "%s\n%s", uncommented.errors, str_get(&all));
}
END_TEST

/*
 * The check, on SQLite.
 */

static const char users[] = "-- migrate:up\ncreate table users (id integer primary key);\n"
                            "-- migrate:down\ndrop table users;\n";
static const char posts[] = "-- migrate:up\ncreate table posts (id integer primary key);\n"
                            "create index posts_idx on posts (id);\n"
                            "-- migrate:down\ndrop table posts;\n";
static const char trace[] = "-- migrate:up\ncreate index users_idx on users (id);\n"
                            "-- migrate:down\nselect 1;\n";
static const char one_way[] = "-- migrate:up\ncreate table t (a int);\n-- migrate:down\n";

/* A dbmate project of two or three revisions. */
static void write_dbmate(const char *name, const char *third)
{
    const char *const texts[] = {users, posts, third};
    for (int i = 0; i < 3 && texts[i]; i++) {
        _cleanup_free_ char *file =
            xasprintf("%s/db/migrations/2024010%d000000_r%d.sql", name, i + 1, i + 1);
        write_file(file, texts[i]);
    }
}

START_TEST(check_says_clean_with_0_and_findings_with_1)
{
    write_dbmate("clean", NULL);
    write_dbmate("bad", trace);
    _cleanup_run_ struct run clean = run("check clean --engine sqlite"),
                             bad = run("check bad --engine sqlite"),
                             quick = run("check bad --engine sqlite --quick"),
                             latest = run("check bad --engine sqlite --latest 1"),
                             min = run("check bad -e sqlite --min-revision 20240103000000");
    ck_assert_msg(clean.r.status == 0, "%s%s", clean.out, clean.errors);
    ck_assert_str_eq(clean.errors, ""); /* no progress where nobody looks */
    has(clean.out, "clean/db/migrations · dbmate · sqlite");
    has(clean.out, "✓ 20240102000000  r2");
    has(clean.out, "✓ clean\n");
    ck_assert_msg(bad.r.status == 1, "%s%s", bad.out, bad.errors);
    has(bad.out, "✗ 20240103000000 r3: downgrade-leaves-trace\n");
    has(bad.out, "bad/db/migrations/20240103000000_r3.sql:");
    has(bad.out, "+ index users_idx");
    has(bad.out, "✗ 1 error · exit 1\n");
    ck_assert_msg(quick.r.status == 0, "%s%s", quick.out, quick.errors);
    ck_assert_int_eq(latest.r.status, 1);
    has(latest.out, "· 20240101000000  r1");
    ck_assert_msg(min.r.status == 0, "%s%s", min.out, min.errors);
}
END_TEST

START_TEST(fail_on_decides_the_exit_code)
{
    write_dbmate("order", "-- migrate:up\nalter table posts add column b int;\n"
                          "alter table posts add column c int;\n"
                          "-- migrate:down\nalter table posts drop column c;\n"
                          "alter table posts drop column b;\n");
    write_file("order/db/migrations/20240104000000_r4.sql",
               "-- migrate:up\nalter table posts drop column b;\n"
               "-- migrate:down\nalter table posts add column b int;\n");
    static const struct {
        const char *args;
        int status;
    } cases[] = {
        {"check order -e sqlite", 0},
        {"check order -e sqlite --fail-on error", 0},
        {"check order -e sqlite --fail-on warning", 1},
        {"check order -e sqlite --fail-on note", 1},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        _cleanup_run_ struct run r = run(cases[i].args);
        has(r.out, "column-order-differs");
        ck_assert_msg(r.r.status == cases[i].status, "%s: %s", cases[i].args, r.out);
    }
}
END_TEST

START_TEST(the_page_says_how_to_check_again_without_secrets)
{
    write_project();
    _cleanup_run_ struct run r = run("check project -e sqlite --quick -q --latest 1 -x key=secret "
                                     "--url postgresql://u:secret@h/db --format html");
    ck_assert_int_eq(r.r.status, 0);
    has(r.out, "<pre>belay check project --engine sqlite --quick --latest 1 --x-arg ...</pre>");
    ck_assert_ptr_null(strstr(r.out, "secret"));
}
END_TEST

START_TEST(reports_go_where_they_are_sent)
{
    write_dbmate("bad", trace);
    _cleanup_run_ struct run json = run("check bad -e sqlite --format json");
    ck_assert_int_eq(json.r.status, 1);
    json_t *j = json_loads(json.out, 0, NULL);
    ck_assert_msg(j != NULL, "%s", json.out);
    ck_assert_str_eq(json_string_value(json_object_get(j, "verdict")), "findings");
    ck_assert_uint_eq(json_array_size(json_object_get(j, "revisions")), 3);
    json_decref(j);

    _cleanup_run_ struct run files =
        run("check bad -e sqlite --output r.xml --output r.json --format text -o r.report "
            "-o r.sarif -o r.md -o r.html");
    has(files.out, "✗ 1 error");
    static const struct {
        const char *name, *part;
    } written[] = {{"r.xml", "<testsuites"},      {"r.json", "\"verdict\""},
                   {"r.sarif", "\"2.1.0\""},      {"r.md", "### ✗ belay check: 1 error"},
                   {"r.html", "<!DOCTYPE html>"}, {"r.report", "downgrade-leaves-trace"}};
    for (size_t i = 0; i < ARRAY_LEN(written); i++) {
        _cleanup_free_ char *path = path_join(folder, written[i].name);
        _cleanup_free_ char *text = NULL;
        _cleanup_err_ struct err err = {0};
        ck_assert_msg(file_read(path, &text, NULL, &err) == 0, "%s", err.message);
        has(text, written[i].part);
    }
    _cleanup_run_ struct run none = run("check nowhere --output gone.xml");
    ck_assert_int_eq(none.r.status, 2);
    _cleanup_free_ char *path = path_join(folder, "gone.xml");
    _cleanup_free_ char *text = NULL;
    _cleanup_err_ struct err err = {0};
    ck_assert_msg(file_read(path, &text, NULL, &err) == 0, "%s", err.message);
    has(text, "<error type=\"no-verdict\"");
}
END_TEST

START_TEST(waivers_take_findings_out_of_the_count)
{
    write_dbmate("waived", one_way);
    _cleanup_run_ struct run before = run("check waived -e sqlite");
    ck_assert_int_eq(before.r.status, 1);
    write_file("waived/belay.yaml", "engine: sqlite\n"
                                    "waivers:\n"
                                    "  - finding: downgrade-missing\n"
                                    "    revision: \"20240103\"\n"
                                    "    reason: there is no way back\n");
    _cleanup_run_ struct run waived = run("check waived");
    ck_assert_msg(waived.r.status == 0, "%s%s", waived.out, waived.errors);
    has(waived.out, "waived: there is no way back");
    has(waived.out, "1 waived");
    write_file("waived/belay.yaml", "engine: sqlite\n"
                                    "waivers:\n"
                                    "  - finding: downgrade-missing\n"
                                    "    reason: there is no way back\n"
                                    "    expires: 2001-01-01\n");
    _cleanup_run_ struct run expired = run("check waived");
    ck_assert_int_eq(expired.r.status, 1);
    has(expired.out, "expired-waiver");
    has(expired.out, "waived/belay.yaml:3");
}
END_TEST

START_TEST(an_engine_that_nothing_shows_is_asked_for)
{
    write_file("plain/migrations/1_a.up.sql", "create table t (a int);\n");
    write_file("plain/migrations/1_a.down.sql", "drop table t;\n");
    _cleanup_run_ struct run r = run("check plain");
    ck_assert_int_eq(r.r.status, 2);
    has(r.errors, "shows which engine");
    has(r.errors, "--engine sqlite");
    static const char *const answers[][2] = {
        {"BELAY_ENGINE=sqlite", NULL},
        {"DATABASE_URL=sqlite:////nonexistent/production.db", NULL}, /* never opened */
    };
    for (size_t i = 0; i < ARRAY_LEN(answers); i++) {
        _cleanup_run_ struct run answered = belay_run(folder, answers[i], "check plain");
        ck_assert_msg(answered.r.status == 0, "%s%s", answered.out, answered.errors);
    }
}
END_TEST

START_TEST(a_baseline_is_relative_to_the_file_that_names_it)
{
    write_file("based/migrations/1_a.up.sql", "alter table old add column b int;\n");
    write_file("based/migrations/1_a.down.sql", "alter table old drop column b;\n");
    write_file("based/schema.sql", "create table old (a int);\n");
    write_file("based/belay.yaml", "engine: sqlite\nbaseline: schema.sql\n");
    _cleanup_run_ struct run r = run("check based");
    ck_assert_msg(r.r.status == 0, "%s%s", r.out, r.errors);
}
END_TEST

static void git(const char *args)
{
    const char *argv[24] = {"git", "-c", "user.name=t", "-c", "user.email=t@example.org"};
    size_t n = 5;
    _cleanup_free_ char *words = xstrdup(args);
    char *saved = NULL;
    for (char *w = strtok_r(words, " ", &saved); w; w = strtok_r(NULL, " ", &saved))
        argv[n++] = w;
    _cleanup_free_ char *dir = path_join(folder, "repo");
    _cleanup_proc_result_ struct proc_result r = {0};
    _cleanup_err_ struct err err = {0};
    ck_assert_msg(proc_run(&(struct proc_options){.argv = argv, .dir = dir}, &r, &err) == 0, "%s",
                  err.message);
    ck_assert_msg(r.status == 0, "git %s: %s", args, str_get(&r.errors));
}

START_TEST(git_base_checks_only_what_was_added_since)
{
    write_dbmate("repo", trace);
    git("init -q -b main");
    git("add -A");
    git("commit -q -m x");
    git("checkout -q -b work");
    write_file("repo/db/migrations/20240104000000_r4.sql",
               "-- migrate:up\ncreate table v (a int);\n-- migrate:down\ndrop table v;\n");
    git("add -A");
    git("commit -q -m y");
    write_file("repo/db/migrations/20240105000000_r5.sql",
               "-- migrate:up\ncreate table w (a int);\n-- migrate:down\ndrop table w;\n");
    _cleanup_run_ struct run r = run("check repo -e sqlite --git-base main");
    ck_assert_msg(r.r.status == 0, "%s%s", r.out, r.errors);
    has(r.out, "· 20240103000000  r3");
    has(r.out, "✓ 20240104000000  r4");
    has(r.out, "✓ 20240105000000  r5"); /* not committed yet */

    _cleanup_run_ struct run unknown = run("check repo -e sqlite --git-base origin/man");
    ck_assert_int_eq(unknown.r.status, 2);
    has(unknown.errors, "git knows no commit \"origin/man\"");
    has(unknown.errors, "git fetch origin man");
    write_dbmate("bad", trace);
    _cleanup_run_ struct run outside = run("check bad -e sqlite --git-base main");
    ck_assert_int_eq(outside.r.status, 2);
    has(outside.errors, "is not in a git repository");
}
END_TEST

START_TEST(run_compares_findings_with_what_a_scenario_expects)
{
    write_file("scenarios/met/scenario.yaml",
               "title: as expected\nengines: [sqlite]\ndir: db/migrations\nexpect:\n"
               "  - finding: downgrade-leaves-trace\n    revision: \"20240103\"\n"
               "    object: index users_*\n");
    write_dbmate("scenarios/met", trace);
    _cleanup_run_ struct run met = run("run scenarios/met");
    ck_assert_msg(met.r.status == 0, "%s%s", met.out, met.errors);
    has(met.out, "✓ scenarios/met sqlite");
    has(met.out, "1 as expected");

    write_file("scenarios/other/scenario.yaml",
               "title: not as expected\nengines: [sqlite]\ndir: db/migrations\nexpect:\n"
               "  - finding: irreversible\n");
    write_dbmate("scenarios/other", trace);
    _cleanup_run_ struct run all = run("run scenarios");
    ck_assert_int_eq(all.r.status, 1);
    has(all.out, "✗ scenarios/other sqlite");
    has(all.out, "    expected, not found: irreversible\n");
    has(all.out, "    found, not expected: downgrade-leaves-trace of 20240103000000: ");
    has(all.out, "1 as expected, 1 differ");
}
END_TEST

START_TEST(doctor_says_what_is_found_and_shows_no_password)
{
    write_dbmate("clean", NULL);
    _cleanup_run_ struct run fine =
        belay_run(folder, (const char *const[]){"DATABASE_URL=postgresql://u:secret@h/db", NULL},
                  "doctor clean --engine sqlite");
    ck_assert_msg(fine.r.status == 0, "%s%s", fine.out, fine.errors);
    has(fine.out, "dbmate, 2 revisions in clean/db/migrations, sqlite");
    has(fine.out, "(from DATABASE_URL)");
    ck_assert_ptr_null(strstr(fine.out, "secret"));
    _cleanup_run_ struct run away =
        run("doctor clean --scratch-url postgresql://u:secret@127.0.0.1:1/db");
    ck_assert_int_eq(away.r.status, 3);
    has(away.out, "✗ scratch server");
    ck_assert_ptr_null(strstr(away.out, "secret"));
}
END_TEST

/* Built beside this program; meson names it too. */
static char *extension_path(void)
{
    char program[4096];
    const char *set = getenv("BELAY_TEST_EXTENSION");
    if (set)
        return xstrdup(set);
    ssize_t n = readlink("/proc/self/exe", program, sizeof(program) - 1);
    ck_assert_int_gt(n, 0);
    program[n] = '\0';
    _cleanup_free_ char *dir = path_dir(program);
    return path_join(dir, "libtwice.so");
}

START_TEST(functions_of_the_projects_driver_come_from_an_extension)
{
    write_file("driver/migrations/1_a.sql",
               "-- migrate:up\ncreate table t (a int);\ninsert into t values (twice(21));\n\n"
               "-- migrate:down\ndrop table t;\n");
    _cleanup_run_ struct run without = run("check driver --engine sqlite");
    ck_assert_int_eq(without.r.status, 1);
    has(without.out, "no such function: twice");
    _cleanup_free_ char *extension = extension_path();
    _cleanup_free_ char *config = xasprintf("sqlite_extensions: [%s]\n", extension);
    write_file("driver/belay.yaml", config);
    _cleanup_free_ char *args =
        xasprintf("check driver --config driver/belay.yaml --engine sqlite");
    _cleanup_run_ struct run with = run(args);
    ck_assert_msg(with.r.status == 0, "%s%s", with.out, with.errors);
    write_file("driver/belay.yaml", "sqlite_extensions: [belay.yaml]\n");
    _cleanup_run_ struct run wrong = run(args);
    ck_assert_int_eq(wrong.r.status, 2);
    has(wrong.errors, "cannot load the SQLite extension");
}
END_TEST

int main(void)
{
    if (!getenv("BELAY_BIN"))
        return suite_skip("BELAY_BIN does not name the program");
    if (!mkdtemp(folder))
        return EXIT_FAILURE;
    Suite *s = suite_create("cli");
    SUITE_ADD(s, help_lists_the_commands_and_each_has_help_of_its_own);
    SUITE_ADD(s, without_a_command_the_help_goes_to_stderr);
    SUITE_ADD(s, version_names_belay_and_its_libraries);
    TCase *table = tcase_create("misuse");
    tcase_set_timeout(table, 0);
    tcase_add_loop_test(table, misuse_ends_with_2_and_one_clear_error, 0, (int)ARRAY_LEN(misuse));
    suite_add_tcase(s, table);
    SUITE_ADD(s, options_may_stand_before_and_after_arguments);
    SUITE_ADD(s, flags_win_over_the_environment_and_that_over_the_file);
    SUITE_ADD(s, a_mistake_in_the_environment_names_the_variable);
    SUITE_ADD(s, a_mistake_in_the_file_names_file_and_line);
    SUITE_ADD(s, diff_tells_equal_from_different_by_exit_code);
    SUITE_ADD(s, a_snapshot_file_stands_for_its_database);
    SUITE_ADD(s, what_cannot_be_written_is_an_error);
    SUITE_ADD(s, a_reader_that_has_seen_enough_is_no_error);
    SUITE_ADD(s, init_writes_a_file_that_belay_reads_and_never_overwrites);
    SUITE_ADD(s, check_says_clean_with_0_and_findings_with_1);
    SUITE_ADD(s, fail_on_decides_the_exit_code);
    SUITE_ADD(s, the_page_says_how_to_check_again_without_secrets);
    SUITE_ADD(s, reports_go_where_they_are_sent);
    SUITE_ADD(s, waivers_take_findings_out_of_the_count);
    SUITE_ADD(s, an_engine_that_nothing_shows_is_asked_for);
    SUITE_ADD(s, a_baseline_is_relative_to_the_file_that_names_it);
    SUITE_ADD(s, git_base_checks_only_what_was_added_since);
    SUITE_ADD(s, run_compares_findings_with_what_a_scenario_expects);
    SUITE_ADD(s, doctor_says_what_is_found_and_shows_no_password);
    SUITE_ADD(s, functions_of_the_projects_driver_come_from_an_extension);
    int rc = suite_run(s);
    struct err err = {0};
    tree_remove(folder, &err);
    err_release(&err);
    return rc;
}
