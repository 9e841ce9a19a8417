/*
 * source/source.h without a database: which folder, which format, which order, what a file means,
 * and how bad input is refused.
 */
#include "tests/suite.h"

#include <string.h>

#include "harness/source/source.h"
#include "harness/source/sql_format.h"
#include "tests/migration_folder.h"

#define MAX_FILES 8

static struct source *opened(const char *dir, const char *format)
{
    _cleanup_err_ struct err e = {0};
    struct source *s = NULL;
    ck_assert_msg(source_open(&(struct source_options){.dir = dir, .format = format}, &s, &e) == 0,
                  "%s", e.message);
    return s;
}

static char *order_of(const struct source *s)
{
    struct str text = {0};
    const struct graph *g = source_graph(s);
    for (size_t i = 0; i < graph_size(g); i++)
        str_addf(&text, "%s%s", i ? " " : "", graph_at(g, i)->id);
    return str_take(&text);
}

/* The sections of a revision, ready to compare. */
static const struct script *script_at(const struct source *s, size_t i)
{
    return ((const struct sql_source *)s)->by_position[i];
}

START_TEST(each_format_is_recognised_and_keeps_its_order)
{
    static const struct {
        const char *format, *order, *title;
        struct file files[MAX_FILES];
    } cases[] = {
        {"dbmate",
         "10 1 9",
         "b",
         {{"9_c.sql", "-- migrate:up\nselect 1;\n-- migrate:down\n"},
          {"10_b.sql", "-- migrate:up\n"},
          {"1_a.sql", "-- comment\n\n-- migrate:up transaction:false\n"},
          {"README.md", "no"},
          {"schema.sql", "create table x (a int);"},
          {".gitkeep", ""}}},
        {"golang-migrate",
         "1 9 10",
         "a",
         {{"10_c.up.sql", "select 1;"},
          {"9_b.up.sql", ""},
          {"9_b.down.sql", ""},
          {"1_a.up.sql", "-- nothing"},
          {"2_code.go", "package x"},
          {"embed.go", "package x"}}},
        {"golang-migrate",
         "0001 0002",
         "Initial_Schema",
         {{"V0001.Initial_Schema.up.sql", "select 1;"},
          {"V0001.Initial_Schema.down.sql", "select 1;"},
          {"V0002.WebAuthn.up.sql", "select 1;"}}},
        {"goose",
         "002 10 20240101000000",
         "b",
         {{"10_a.sql", "-- +goose Up\n"},
          {"002_b.sql", "-- +goose up\nselect 1;\n-- +goose down\n"},
          {"20240101000000_c.sql", "-- +goose Up\n"},
          {"seeds.sql", "insert"},
          {"x1_d.sql", "no"}}},
        {"diesel",
         "00000000000000 20180422093322 20180422093323",
         "diesel_initial_setup",
         {{"2018-04-22-093323_b/up.sql", "select 1;"},
          {"20180422093322_a/up.sql", "select 1;"},
          {"00000000000000_diesel_initial_setup/up.sql", "select 1;"},
          {"00000000000000_diesel_initial_setup/down.sql", "select 1;"},
          {"notes/README", "x"},
          {".hidden/up.sql", "x"}}},
        {"belay",
         "a c b",
         "first things",
         {{"1.sql", "-- revision: a\n-- first things\n-- upgrade\nselect 1;\n"},
          {"2.sql", "-- revision: b\n-- revises: c\n-- upgrade\nselect 1;\n-- downgrade\n"},
          {"3.sql", "-- Revision: c\n-- Revises:  a\n-- upgrade\nselect 1;\n-- downgrade\n"},
          {"schema.sql", "create table x (a int);"}}},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        _cleanup_folder_ char *dir = folder_new();
        folder_fill(dir, cases[i].files);
        _cleanup_source_ struct source *s = opened(dir, NULL);
        ck_assert_str_eq(source_format(s), cases[i].format);
        ck_assert_str_eq(source_dir(s), dir);
        _cleanup_free_ char *order = order_of(s);
        ck_assert_str_eq(order, cases[i].order);
        ck_assert_str_eq(graph_at(source_graph(s), 0)->title, cases[i].title);
    }
}
END_TEST

START_TEST(bad_folders_are_refused_with_place_and_hint)
{
    static const struct {
        const char *name;
        struct file files[MAX_FILES];
        enum err_code code;
        const char *fails_like, *hint_like, *file;
        int line;
    } cases[] = {
        {"nothing there", {{"README", "x"}}, ERR_CONFIG, "no migrations found", "diesel", "", 0},
        {"two formats",
         {{"1_a.up.sql", ""}, {"2_b.sql", "-- +goose Up\n"}},
         ERR_CONFIG,
         "1_a.up.sql is golang-migrate and 2_b.sql is goose",
         "--format golang-migrate",
         "",
         0},
        {"no markers at all",
         {{"1_a.sql", "create table t (a int);"}},
         ERR_SOURCE,
         "it has no markers",
         "migrate:up",
         "1_a.sql",
         1},
        {"a file without markers among others",
         {{"1_a.sql", "-- migrate:up\n"}, {"2_b.sql", "select 1;"}},
         ERR_SOURCE,
         "2_b.sql: there is no marker of dbmate",
         "-- migrate:up",
         "2_b.sql",
         1},
        {"down alone",
         {{"1_a.up.sql", ""}, {"2_b.down.sql", ""}},
         ERR_SOURCE,
         "revision 2 has a downgrade and no upgrade",
         "write the upgrade",
         "2_b.down.sql",
         0},
        {"one number twice",
         {{"1_a.up.sql", ""}, {"0001_b.up.sql", ""}},
         ERR_SOURCE,
         "version 1 is written twice",
         "another number",
         "1_a.up.sql",
         0},
        {"one dbmate version twice",
         {{"1_a.sql", "-- migrate:up\n"}, {"1_b.sql", "-- migrate:up\n"}},
         ERR_SOURCE,
         "revision \"1\" is written twice",
         "another id",
         "1_b.sql",
         0},
        {"one goose number twice",
         {{"1_a.sql", "-- +goose Up\n"}, {"01_b.sql", "-- +goose Up\n"}},
         ERR_SOURCE,
         "version 1 is written twice",
         "another number",
         "1_a.sql",
         0},
        {"a huge number",
         {{"99999999999999999999_a.up.sql", ""}},
         ERR_SOURCE,
         "too large",
         "64",
         "",
         0},
        {"dbmate: statement first",
         {{"1_a.sql", "-- x\nselect 1;\n-- migrate:up\n"}},
         ERR_SOURCE,
         "a statement stands before \"-- migrate:up\"",
         "below",
         "1_a.sql",
         2},
        {"dbmate: down first",
         {{"1_a.sql", "-- migrate:down\n-- migrate:up\n"}},
         ERR_SOURCE,
         "\"-- migrate:down\" stands before",
         "first",
         "1_a.sql",
         1},
        {"dbmate: twice",
         {{"1_a.sql", "-- migrate:up\n-- migrate:down\n-- migrate:up\n"}},
         ERR_SOURCE,
         "a second time",
         "file of its own",
         "1_a.sql",
         3},
        {"goose: unfinished",
         {{"1_a.sql", "-- +goose Up\nselect 1;\nselect 2\n-- +goose Down\n"}},
         ERR_SOURCE,
         "no end of the statement",
         "StatementBegin",
         "1_a.sql",
         3},
        {"goose: no end of block",
         {{"1_a.sql", "-- +goose Up\n-- +goose StatementBegin\nselect 1;\n"}},
         ERR_SOURCE,
         "has no \"-- +goose StatementEnd\"",
         "after",
         "1_a.sql",
         2},
        {"goose: end without begin",
         {{"1_a.sql", "-- +goose Up\n-- +goose StatementEnd\n"}},
         ERR_SOURCE,
         "ends nothing",
         "",
         "1_a.sql",
         2},
        {"goose: down first",
         {{"1_a.sql", "-- +goose Down\n"}},
         ERR_SOURCE,
         "cannot stand here",
         "",
         "",
         1},
        {"goose: up twice",
         {{"1_a.sql", "-- +goose Up\n-- +goose Up\n"}},
         ERR_SOURCE,
         "a second time",
         "",
         "",
         2},
        {"goose: unknown word",
         {{"1_a.sql", "-- +goose Upp\n"}},
         ERR_SOURCE,
         "does not know \"-- +goose Upp\"",
         "NO TRANSACTION",
         "",
         1},
        {"goose: indented",
         {{"1_a.sql", "  -- +goose Up\n"}},
         ERR_SOURCE,
         "white space",
         "",
         "",
         1},
        {"goose: statement first",
         {{"1_a.sql", "select 1;\n-- +goose Up\n"}},
         ERR_SOURCE,
         "stands before",
         "",
         "",
         1},
        {"goose: variable",
         {{"1_a.sql", "-- +goose Up\n-- +goose ENVSUB ON\nselect ${BELAY_NOT_SET?say who};\n"}},
         ERR_SOURCE,
         "BELAY_NOT_SET is not set: say who",
         "ENVSUB OFF",
         "1_a.sql",
         3},
        {"belay: misspelt key",
         {{"a.sql", "-- revision: a\n-- revise: b\n-- upgrade\n"}},
         ERR_SOURCE,
         "no key \"revise\"",
         "did you mean \"revises\"?",
         "a.sql",
         2},
        {"belay: no sections",
         {{"a.sql", "-- revision: a\n"}},
         ERR_SOURCE,
         "there is no \"-- upgrade\"",
         "begin the upgrade",
         "a.sql",
         1},
        {"belay: no header",
         {{"a.sql", "-- revision: a\n-- upgrade\n"}, {"b.sql", "-- upgrade\nselect 1;\n"}},
         ERR_SOURCE,
         "no marker of belay",
         "-- revision: ID",
         "b.sql",
         1},
        {"belay: no id",
         {{"a.sql", "-- revision:\n-- upgrade\n"}},
         ERR_SOURCE,
         "has no id",
         "",
         "",
         1},
        {"belay: a target's name",
         {{"a.sql", "-- revision: head\n-- upgrade\n"}},
         ERR_SOURCE,
         "names a target",
         "",
         "",
         1},
        {"belay: a space in the id",
         {{"a.sql", "-- revision: a b\n-- upgrade\n"}},
         ERR_SOURCE,
         "holds \" \"",
         "",
         "",
         1},
        {"belay: missing parent",
         {{"a.sql", "-- revision: alpha\n-- revises: alhpa0\n-- upgrade\n"}},
         ERR_SOURCE,
         "revision alpha revises \"alhpa0\"",
         "did you mean alpha?",
         "a.sql",
         0},
        {"belay: one id twice",
         {{"a.sql", "-- revision: a\n-- upgrade\n"}, {"b.sql", "-- revision: a\n-- upgrade\n"}},
         ERR_SOURCE,
         "revision \"a\" is written twice",
         "",
         "b.sql",
         0},
        {"several folders",
         {{"migrations/postgres/1_a.up.sql", ""}, {"migrations/sqlite/1_a.up.sql", ""}},
         ERR_CONFIG,
         "holds several folders of migrations",
         "name one",
         "",
         0},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        _cleanup_folder_ char *dir = folder_new();
        folder_fill(dir, cases[i].files);
        _cleanup_err_ struct err e = {0};
        _cleanup_source_ struct source *s = NULL;
        ck_assert_msg(source_open(&(struct source_options){.dir = dir}, &s, &e) < 0, "%s: accepted",
                      cases[i].name);
        ck_assert_msg(e.code == cases[i].code, "%s: code %d: %s", cases[i].name, e.code, e.message);
        ck_assert_msg(strstr(e.message, cases[i].fails_like), "%s: %s", cases[i].name, e.message);
        ck_assert_msg(e.hint && strstr(e.hint, cases[i].hint_like), "%s: hint %s", cases[i].name,
                      e.hint);
        ck_assert_msg(e.file && strstr(e.file, cases[i].file), "%s: file %s", cases[i].name,
                      e.file);
        ck_assert_msg(e.line == cases[i].line, "%s: line %d", cases[i].name, e.line);
    }
}
END_TEST

START_TEST(text_that_is_not_utf8_is_refused_with_its_line)
{
    static const char text[] = "-- migrate:up\nselect 1;\nselect '\xff';\n";
    _cleanup_folder_ char *dir = folder_new();
    folder_write(dir, "1_a.sql", text, strlen(text));
    _cleanup_err_ struct err e = {0};
    _cleanup_source_ struct source *s = NULL;
    ck_assert_int_lt(source_open(&(struct source_options){.dir = dir}, &s, &e), 0);
    ck_assert_int_eq(e.code, ERR_SOURCE);
    ck_assert_msg(strstr(e.message, "1_a.sql is not UTF-8"), "%s", e.message);
    ck_assert_int_eq(e.line, 3);
}
END_TEST

START_TEST(a_file_that_cannot_be_read_is_named)
{
    _cleanup_folder_ char *dir = folder_new();
    _cleanup_free_ char *link = path_join(dir, "2_b.sql");
    folder_write(dir, "1_a.sql", "-- migrate:up\n", 14);
    ck_assert_int_eq(symlink("/nonexistent", link), 0);
    _cleanup_err_ struct err e = {0};
    _cleanup_source_ struct source *s = NULL;
    ck_assert_int_lt(source_open(&(struct source_options){.dir = dir}, &s, &e), 0);
    ck_assert_int_eq(e.code, ERR_CONFIG);
    ck_assert_msg(strstr(e.message, "cannot read") && strstr(e.file, "2_b.sql"), "%s", e.message);
}
END_TEST

START_TEST(a_folder_that_is_not_there_is_a_configuration_error)
{
    _cleanup_err_ struct err e = {0};
    _cleanup_source_ struct source *s = NULL;
    ck_assert_int_lt(
        source_open(&(struct source_options){.dir = "/nonexistent/migrations"}, &s, &e), 0);
    ck_assert_int_eq(e.code, ERR_CONFIG);
    ck_assert(strstr(e.message, "/nonexistent/migrations"));
    ck_assert_int_lt(
        source_open(&(struct source_options){.dir = "/tmp", .format = "flyweight"}, &s, &e), 0);
    ck_assert_int_eq(e.code, ERR_USAGE);
    ck_assert(strstr(e.hint, "golang-migrate"));
}
END_TEST

START_TEST(a_named_format_leaves_the_others_alone)
{
    static const struct file files[] = {
        {"1_a.up.sql", "select 1;"}, {"2_b.sql", "-- +goose Up\nselect 1;\n"}, {NULL, NULL}};
    _cleanup_folder_ char *dir = folder_new();
    folder_fill(dir, files);
    _cleanup_source_ struct source *s = opened(dir, "golang-migrate");
    ck_assert_uint_eq(graph_size(source_graph(s)), 1);
}
END_TEST

START_TEST(migrations_are_found_below_the_project)
{
    static const char *const places[] = {"migrations", "db/migrations", "migrations/postgres",
                                         "db/migrations/sqlite", "postgres"};
    for (size_t i = 0; i < ARRAY_LEN(places); i++) {
        _cleanup_folder_ char *dir = folder_new();
        _cleanup_free_ char *name = xasprintf("%s/1_a.up.sql", places[i]);
        _cleanup_free_ char *expected = path_join(dir, places[i]);
        folder_write(dir, name, "", 0);
        folder_write(dir, "notes.sql", "", 0);
        _cleanup_source_ struct source *s = opened(dir, NULL);
        ck_assert_str_eq(source_dir(s), expected);
    }
}
END_TEST

START_TEST(sections_are_cut_at_markers_with_their_lines)
{
    static const struct file files[] = {
        {"1_a.sql", "\n-- about\n-- migrate:up transaction:false\n\n-- x\ncreate table t (a int);\n"
                    "-- migrate:down\n\n/* two\nlines */ drop table t;"},
        {"2_b.sql",
         "--migrate:up\nselect 1;\n-- migrate:downtown\n-- migrate:down foo\n-- bye\n;\n"},
        {"3_c.sql",
         "\xef\xbb\xbf-- migrate:up\r\nselect 1;\r\n-- migrate:down transaction:false\r\n"},
        {"4_d.sql", "-- migrate:up\nselect 1;"},
        {NULL, NULL}};
    _cleanup_folder_ char *dir = folder_new();
    folder_fill(dir, files);
    _cleanup_source_ struct source *s = opened(dir, NULL);
    const struct script *a = script_at(s, 0), *b = script_at(s, 1), *c = script_at(s, 2),
                        *d = script_at(s, 3);
    ck_assert(a->up.no_transaction && !a->down.no_transaction);
    ck_assert_int_eq(a->revision->line, 6);
    ck_assert_int_eq(a->revision->down_line, 10);
    ck_assert_int_eq(a->up.chunks[0].line, 4);
    ck_assert_str_eq(a->up.chunks[0].sql, "\n-- x\ncreate table t (a int);\n");
    ck_assert_str_eq(b->up.chunks[0].sql, "select 1;\n-- migrate:downtown\n");
    ck_assert(b->down.present && b->down.empty && !b->down.no_transaction);
    ck_assert(!c->up.no_transaction && c->down.no_transaction && c->down.empty);
    ck_assert_str_eq(c->up.chunks[0].sql, "select 1;\r\n");
    ck_assert(!d->down.present);
    ck_assert_ptr_null(d->revision->down_file);
}
END_TEST

START_TEST(goose_statements_end_where_goose_ends_them)
{
    static const char text[] = "-- +goose NO TRANSACTION\n"
                               "-- +goose Up\n"
                               "-- dropped\n"
                               "create table t ( -- kept\n"
                               "  -- kept too;\n"
                               "  a int); -- the end\n"
                               "select ';' as a,\n"
                               "  1; select -- not yet;\n"
                               "  2;\n"
                               "-- +goose StatementBegin\n"
                               "create function f() as $$\n"
                               "begin\n"
                               "  x; y;\n"
                               "end $$\n"
                               "-- +goose StatementEnd\n"
                               "\n"
                               "-- +goose Down\n"
                               "-- nothing\n";
    _cleanup_folder_ char *dir = folder_new();
    folder_write(dir, "1_a.sql", text, strlen(text));
    _cleanup_source_ struct source *s = opened(dir, NULL);
    const struct section *up = &script_at(s, 0)->up;
    ck_assert_uint_eq(up->n, 3);
    ck_assert(up->no_transaction);
    ck_assert_str_eq(up->chunks[0].sql,
                     "create table t ( -- kept\n  -- kept too;\n  a int); -- the end\n");
    ck_assert_int_eq(up->chunks[0].line, 4);
    ck_assert_str_eq(up->chunks[1].sql, "select ';' as a,\n  1; select -- not yet;\n  2;\n");
    ck_assert_int_eq(up->chunks[1].line, 7);
    ck_assert_str_eq(up->chunks[2].sql, "create function f() as $$\nbegin\n  x; y;\nend $$\n");
    ck_assert_int_eq(up->chunks[2].line, 11);
    ck_assert(script_at(s, 0)->down.present && script_at(s, 0)->down.empty);
}
END_TEST

START_TEST(goose_variables_are_substituted_only_when_asked)
{
    static const char text[] = "-- +goose Up\n"
                               "select '$BELAY_A';\n"
                               "-- +goose ENVSUB ON\n"
                               "select '$BELAY_A', '${BELAY_A}x', '${BELAY_B:-b}', '${BELAY_C-c}', "
                               "'${BELAY_B-b}', $$x$$, '${BELAY_C}';\n"
                               "-- +goose ENVSUB OFF\n"
                               "select $$x$$;\n";
    setenv("BELAY_A", "one", 1);
    setenv("BELAY_B", "", 1);
    unsetenv("BELAY_C");
    _cleanup_folder_ char *dir = folder_new();
    folder_write(dir, "1_a.sql", text, strlen(text));
    _cleanup_source_ struct source *s = opened(dir, NULL);
    const struct section *up = &script_at(s, 0)->up;
    ck_assert_uint_eq(up->n, 3);
    ck_assert_str_eq(up->chunks[0].sql, "select '$BELAY_A';\n");
    ck_assert_str_eq(up->chunks[1].sql, "select 'one', 'onex', 'b', 'c', '', $x$, '';\n");
    ck_assert_str_eq(up->chunks[2].sql, "select $$x$$;\n");
}
END_TEST

START_TEST(diesel_reads_its_transaction_rule_from_metadata)
{
    static const struct {
        const char *metadata;
        bool no_transaction;
    } cases[] = {
        {"run_in_transaction = false\n", true},
        {"# why\nrun_in_transaction=false", true},
        {"run_in_transaction = true\n", false},
        {"# run_in_transaction = true\n", true}, /* diesel: no key is false */
        {"run_in_transaction = maybe\n", false}, /* diesel: what it cannot read it ignores */
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const struct file files[] = {{"2020-01-01-000000_a/up.sql", "select 1;"},
                                     {"2020-01-01-000000_a/metadata.toml", cases[i].metadata},
                                     {NULL, NULL}};
        _cleanup_folder_ char *dir = folder_new();
        folder_fill(dir, files);
        _cleanup_source_ struct source *s = opened(dir, NULL);
        ck_assert_msg(script_at(s, 0)->up.no_transaction == cases[i].no_transaction, "%s",
                      cases[i].metadata);
        ck_assert_str_eq(graph_at(source_graph(s), 0)->id, "20200101000000");
    }
}
END_TEST

START_TEST(belay_headers_carry_the_whole_graph)
{
    static const struct file files[] = {
        {"a.sql", "-- revision: r1\n-- title: The first\n-- branch: core\n\n-- Note: well\n"
                  "-- upgrade\nselect 1;\n-- upgrade the users\n-- downgrade\nselect 2;\n"},
        {"b.sql", "-- revision: r2\n-- transaction: false\n-- upgrade\nselect 1;\n"},
        {"c.sql", "-- revision: r3\n-- revises: r1, r2\n-- depends-on: r0x\n-- upgrade\nselect 1;\n"
                  "-- downgrade transaction:false\nselect 1;"},
        {"d.sql", "-- revision: r0x\n-- upgrade\n"},
        {NULL, NULL}};
    _cleanup_folder_ char *dir = folder_new();
    folder_fill(dir, files);
    _cleanup_source_ struct source *s = opened(dir, NULL);
    const struct graph *g = source_graph(s);
    const struct revision *r1 = graph_find(g, "r1"), *r3 = graph_find(g, "r3");
    ck_assert_str_eq(r1->title, "The first");
    ck_assert(strv_has(&r1->labels, "core") && strv_has(&r3->labels, "core"));
    ck_assert_uint_eq(r3->nup, 3);
    ck_assert_str_eq(script_at(s, r1->position)->up.chunks[0].sql,
                     "select 1;\n-- upgrade the users\n");
    ck_assert(script_at(s, graph_find(g, "r2")->position)->up.no_transaction);
    ck_assert(!script_at(s, r3->position)->up.no_transaction);
    ck_assert(script_at(s, r3->position)->down.no_transaction);
    ck_assert(script_at(s, graph_find(g, "r0x")->position)->up.empty);
    ck_assert_str_eq(graph_find(g, "r0x")->title, "d");
}
END_TEST

START_TEST(names_may_hold_anything_a_file_system_takes)
{
    static const struct file files[] = {{"1_it's \"50%s\"\n\xc3\xa4.up.sql", "select 1;"},
                                        {"2_%n%d.up.sql", "select 1;"},
                                        {"3.up.sql", "select 1;"},
                                        {NULL, NULL}};
    _cleanup_folder_ char *dir = folder_new();
    folder_fill(dir, files);
    _cleanup_source_ struct source *s = opened(dir, NULL);
    ck_assert_str_eq(graph_at(source_graph(s), 0)->title, "it's \"50%s\"\n\xc3\xa4");
    ck_assert_str_eq(graph_at(source_graph(s), 1)->title, "%n%d");
    ck_assert_str_eq(graph_at(source_graph(s), 2)->title, "");
}
END_TEST

START_TEST(numbered_code_between_the_revisions_is_named)
{
    static const struct file files[] = {{"1_a.up.sql", ""},
                                        {"2_code.go", ""},
                                        {"2_code_test.go", ""},
                                        {"embed.go", ""},
                                        {NULL, NULL}};
    _cleanup_folder_ char *dir = folder_new();
    folder_fill(dir, files);
    _cleanup_source_ struct source *s = opened(dir, NULL);
    ck_assert_uint_eq(source_skipped(s)->n, 1);
    ck_assert(strstr(source_skipped(s)->v[0], "2_code.go"));
}
END_TEST

START_TEST(five_thousand_files_are_read_in_order)
{
    enum { N = 5000 };
    _cleanup_folder_ char *dir = folder_new();
    for (int i = 1; i <= N; i++) {
        _cleanup_free_ char *up = xasprintf("%d_t.up.sql", i),
                            *down = xasprintf("%d_t.down.sql", i);
        _cleanup_free_ char *sql = xasprintf("create table t%d (a int);", i);
        folder_write(dir, up, sql, strlen(sql));
        folder_write(dir, down, "", 0);
    }
    _cleanup_source_ struct source *s = opened(dir, NULL);
    ck_assert_uint_eq(graph_size(source_graph(s)), N);
    ck_assert_str_eq(graph_at(source_graph(s), N - 1)->id, "5000");
    ck_assert_str_eq(graph_at(source_graph(s), 9)->id, "10");
}
END_TEST

START_TEST(the_engine_shows_in_the_sql)
{
    static const struct {
        const char *folder, *sql;
        const struct engine *engine;
    } cases[] = {
        {"m", "create table t (id serial);", &engine_postgres},
        {"m", "select 'a'::text;", &engine_postgres},
        {"m", "create table t (id integer primary key autoincrement);", &engine_sqlite},
        {"m", "-- serial\nselect 'serial', \"jsonb\" /* :: */;", NULL},
        {"m", "pragma foreign_keys = off; select 1::int;", NULL},
        {"sqlite", "create table t (a int);", &engine_sqlite},
        {"postgres", "create table t (a int);", &engine_postgres},
        {"m", "create table t (a int);", NULL},
        {"m", "select 'it''s ::';", NULL},
        {"m", "select 'unfinished ::", NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        _cleanup_folder_ char *dir = folder_new();
        _cleanup_free_ char *sub = path_join(dir, cases[i].folder);
        folder_write(sub, "1_a.up.sql", cases[i].sql, strlen(cases[i].sql));
        _cleanup_source_ struct source *s = opened(sub, NULL);
        ck_assert_msg(source_engine_hint(s) == cases[i].engine, "%s", cases[i].sql);
    }
}
END_TEST

int main(void)
{
    Suite *s = suite_create("source");
    SUITE_ADD(s, each_format_is_recognised_and_keeps_its_order);
    SUITE_ADD(s, bad_folders_are_refused_with_place_and_hint);
    SUITE_ADD(s, text_that_is_not_utf8_is_refused_with_its_line);
    SUITE_ADD(s, a_file_that_cannot_be_read_is_named);
    SUITE_ADD(s, a_folder_that_is_not_there_is_a_configuration_error);
    SUITE_ADD(s, a_named_format_leaves_the_others_alone);
    SUITE_ADD(s, migrations_are_found_below_the_project);
    SUITE_ADD(s, sections_are_cut_at_markers_with_their_lines);
    SUITE_ADD(s, goose_statements_end_where_goose_ends_them);
    SUITE_ADD(s, goose_variables_are_substituted_only_when_asked);
    SUITE_ADD(s, diesel_reads_its_transaction_rule_from_metadata);
    SUITE_ADD(s, belay_headers_carry_the_whole_graph);
    SUITE_ADD(s, names_may_hold_anything_a_file_system_takes);
    SUITE_ADD(s, numbered_code_between_the_revisions_is_named);
    SUITE_ADD(s, five_thousand_files_are_read_in_order);
    SUITE_ADD(s, the_engine_shows_in_the_sql);
    return suite_run(s);
}
