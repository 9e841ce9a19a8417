/*
 * migrator_*: one conformance suite for every format on every engine. A revision is written once,
 * as SQL for up and down, and rendered as each format writes it.
 */
#include "tests/migration_project.h"

#include <pthread.h>
#include <string.h>
#include <unistd.h>

/* ---- the suite ---- */

START_TEST(steps_go_up_and_down_and_are_recorded)
{
    struct project p;
    EACH_PROJECT(p, {"create table a (x int);", "drop table a;", false},
                 {"create table b (x int);\ninsert into b values (1);", "drop table b;", false},
                 {"create table c (x int)\n;\n-- the end", "drop table c;", false})
    {
        expect_current(&p, "");
        expect_step(&p, 0, STEP_UP, STEP_OK);
        expect_step(&p, 1, STEP_UP, STEP_OK);
        expect_current(&p, "1 2");
        expect_step(&p, 2, STEP_UP, STEP_OK);
        expect_current(&p, "1 2 3");
        ck_assert(table_exists(&p, "b") && table_exists(&p, "c"));
        expect_step(&p, 2, STEP_DOWN, STEP_OK);
        expect_step(&p, 1, STEP_DOWN, STEP_OK);
        expect_current(&p, "1");
        ck_assert(table_exists(&p, "a") && !table_exists(&p, "b"));
        expect_step(&p, 0, STEP_DOWN, STEP_OK);
        expect_current(&p, "");
    }
}
END_TEST

START_TEST(a_second_session_finds_what_the_first_recorded)
{
    struct project p;
    EACH_PROJECT(p, {"create table a (x int);", "drop table a;", false},
                 {"create table b (x int);", NULL, false})
    {
        _cleanup_err_ struct err err = {0};
        expect_step(&p, 0, STEP_UP, STEP_OK);
        migrator_close(p.m);
        ck_assert_msg(
            migrator_open(p.source, p.engine, scratch_url(p.scratch), 0, NULL, &p.m, &err) == 0,
            "%s", err.message);
        expect_current(&p, "1");
        expect_step(&p, 1, STEP_UP, STEP_OK);
        expect_current(&p, "1 2");
    }
}
END_TEST

START_TEST(a_failed_step_in_a_transaction_leaves_nothing)
{
    struct project p;
    EACH_PROJECT(p, {"create table a (x int);", "drop table a;", false},
                 {"create table b (x int);\ninsert into nowhere values (1);", NULL, false})
    {
        expect_step(&p, 0, STEP_UP, STEP_OK);
        expect_step(&p, 1, STEP_UP, STEP_FAILED);
        ck_assert_msg(!table_exists(&p, "b"), WHERE, WHERE_ARGS(&p));
        if (strcmp(p.format, "golang-migrate") != 0)
            expect_current(&p, "1");
        ck_assert(!db_in_transaction(migrator_db(p.m)));
    }
}
END_TEST

START_TEST(without_a_transaction_the_first_statement_stays)
{
    struct project p;
    EACH_PROJECT(p, {"create table b (x int);\ninsert into nowhere values (1);", NULL, true})
    {
        if (strcmp(p.format, "golang-migrate") == 0)
            continue; /* has no such option */
        expect_step(&p, 0, STEP_UP, STEP_FAILED);
        expect_current(&p, "");
        /* PostgreSQL runs what is sent as one in one transaction; goose sends one by one */
        bool stays = p.engine == &engine_sqlite || strcmp(p.format, "goose") == 0;
        ck_assert_msg(table_exists(&p, "b") == stays, WHERE, WHERE_ARGS(&p));
    }
}
END_TEST

START_TEST(golang_migrate_marks_what_it_left_dirty)
{
    for (size_t i = 0; engines[i]; i++) {
        struct project p;
        _cleanup_err_ struct err err = {0};
        _cleanup_strv_ struct strv ids = {0};
        project_open(&p, "golang-migrate", engines[i],
                     (const struct revision_text[]){
                         {"create table a (x int);", "drop table nowhere;", false},
                         {"select * from nowhere;", NULL, false},
                         {0}});
        expect_step(&p, 0, STEP_UP, STEP_OK);
        expect_step(&p, 1, STEP_UP, STEP_FAILED);
        ck_assert_int_lt(migrator_current(p.m, &ids, &err), 0);
        ck_assert_int_eq(err.code, ERR_SOURCE);
        ck_assert_msg(strstr(err.message, "dirty at version 2"), "%s", err.message);
        ck_assert(strstr(err.hint, "force"));
        expect_step(&p, 0, STEP_DOWN, STEP_FAILED);
        ck_assert_int_lt(migrator_current(p.m, &ids, &err), 0);
        ck_assert_msg(strstr(err.message, "dirty at version -1"), "%s", err.message);
        project_close(&p);
    }
}
END_TEST

START_TEST(errors_are_placed_in_the_file)
{
    static const struct {
        const char *up, *message, *statement;
        int line, column; /* from the first line of the SQL */
        const char *sqlstate;
        const struct engine *only;
    } cases[] = {
        {"create table a (x int);\n\n  insert into\n    b\u00e4h values (1);", "b\u00e4h",
         "insert into\n    b\u00e4h values (1)", 4, 5, "42P01", &engine_postgres},
        {"select 1 from nowhere;", "nowhere", "select 1 from nowhere", 1, 15, "42P01",
         &engine_postgres},
        {"create table a (x int);\n-- why\nselect 1/0;\nselect 2;", "division by zero",
         "select 1/0", 3, 0, "22012", &engine_postgres},
        {"create table a (x int);\ncreate tabel b (x int);\n", "syntax error",
         "create tabel b (x int)", 2, 8, "42601", &engine_postgres},
        {"create table a (x int);\n\n  insert into\n    b\u00e4h values (1);", "b\u00e4h",
         "insert into\n    b\u00e4h values (1)", 3, 0, "", &engine_sqlite},
        {"create table a (x int);\ncreate tabel b (x int);\n", "syntax error",
         "create tabel b (x int)", 2, 8, "", &engine_sqlite},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct project p;
        EACH_PROJECT(p, {cases[i].up, NULL, false}, {cases[i].up, NULL, true})
        {
            if (p.engine != cases[i].only)
                continue;
            for (size_t n = 0; n < 2; n++) {
                struct step_result r = {0};
                step(&p, n, STEP_UP, &r);
                ck_assert_msg(r.outcome == STEP_FAILED, WHERE "case %zu", WHERE_ARGS(&p), i);
                ck_assert_msg(strstr(r.err.message, cases[i].message), "%s", r.err.message);
                ck_assert_msg(r.err.line == p.up_line + cases[i].line - 1,
                              WHERE "case %zu: line %d, SQL from line %d", WHERE_ARGS(&p), i,
                              r.err.line, p.up_line);
                ck_assert_msg(r.err.column == cases[i].column, WHERE "case %zu: column %d",
                              WHERE_ARGS(&p), i, r.err.column);
                ck_assert_str_eq(r.err.sqlstate, cases[i].sqlstate);
                ck_assert_str_eq(r.err.statement, cases[i].statement);
                ck_assert_str_eq(r.err.file, graph_at(source_graph(p.source), n)->file);
                step_result_release(&r);
                if (n == 0 && p.engine == &engine_sqlite) {
                    _cleanup_err_ struct err err = {0};
                    db_run(migrator_db(p.m), "drop table if exists a", 0, NULL, &err);
                }
            }
        }
    }
}
END_TEST

START_TEST(missing_and_empty_downgrades_are_told_apart)
{
    struct project p;
    EACH_PROJECT(p, {"create table a (x int);", NULL, false},
                 {"create table b (x int);", "-- nothing to do here\n\n", false},
                 {"-- nothing up\n", "drop table b;", false})
    {
        expect_step(&p, 0, STEP_UP, STEP_OK);
        expect_step(&p, 1, STEP_UP, STEP_OK);
        expect_step(&p, 2, STEP_UP, STEP_EMPTY);
        expect_current(&p, "1 2 3");
        expect_step(&p, 2, STEP_DOWN, STEP_OK);
        expect_step(&p, 1, STEP_DOWN, STEP_EMPTY);
        expect_current(&p, "1");
        expect_step(&p, 0, STEP_DOWN, STEP_MISSING);
        expect_current(&p, "1");
        ck_assert(graph_at(source_graph(p.source), 0)->down_file == NULL);
    }
}
END_TEST

START_TEST(diesel_refuses_files_without_a_byte)
{
    struct project p;
    project_open(&p, "diesel", &engine_sqlite,
                 (const struct revision_text[]){{"select 1;", "", false}, {"", "", false}, {0}});
    expect_step(&p, 0, STEP_UP, STEP_OK);
    expect_step(&p, 0, STEP_DOWN, STEP_MISSING);
    struct step_result r = {0};
    step(&p, 1, STEP_UP, &r);
    ck_assert_int_eq(r.outcome, STEP_FAILED);
    ck_assert(strstr(r.err.message, "diesel refuses an empty file"));
    step_result_release(&r);
    project_close(&p);
}
END_TEST

START_TEST(downgrades_that_raise_on_purpose_are_irreversible)
{
    static const struct {
        const char *down;
        const struct engine *only;
        enum step_outcome outcome;
    } cases[] = {
        {"do $$ begin raise exception 'the birthdays are gone'; end $$;", &engine_postgres,
         STEP_IRREVERSIBLE},
        {"do $$ begin raise exception 'no' using errcode = '0A000', detail = 'x'; end $$;",
         &engine_postgres, STEP_IRREVERSIBLE},
        {"do $$ begin perform 1/0; end $$;", &engine_postgres, STEP_FAILED},
        {"do $$ begin perform boom(); end $$;", &engine_postgres, STEP_FAILED},
        {"select boom();", &engine_postgres, STEP_FAILED},
        {"select this_is_irreversible;", NULL, STEP_IRREVERSIBLE},
        {"select raise(abort, 'no way back');", &engine_sqlite, STEP_IRREVERSIBLE},
        {"drop table nowhere;", NULL, STEP_FAILED},
    };
    static const char boom[] = "create function boom() returns int language plpgsql as $$ begin "
                               "raise exception 'boom'; end $$";
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct project p;
        EACH_PROJECT(p, {"create table a (x int);", cases[i].down, false})
        {
            if (cases[i].only && cases[i].only != p.engine)
                continue;
            _cleanup_err_ struct err err = {0};
            if (p.engine == &engine_postgres)
                ck_assert_int_eq(db_run(migrator_db(p.m), boom, 0, NULL, &err), 0);
            struct step_result r = {0};
            expect_step(&p, 0, STEP_UP, STEP_OK);
            step(&p, 0, STEP_DOWN, &r);
            ck_assert_msg(r.outcome == cases[i].outcome, WHERE "%s: %d %s %s", WHERE_ARGS(&p),
                          cases[i].down, r.outcome, r.err.message, r.err.detail);
            ck_assert_ptr_nonnull(r.err.file);
            step_result_release(&r);
        }
    }
}
END_TEST

START_TEST(concurrently_works_where_it_works_in_the_tool)
{
    struct project p;
    EACH_PROJECT(p, {"create table a (x int);", "drop table a;", false},
                 {"create index concurrently a_x on a (x);", "drop index concurrently a_x;", true},
                 {"create index concurrently a_y on a (x);", NULL, false},
                 {"create index concurrently a_z on a (x);\nselect 1;", NULL, true})
    {
        if (p.engine == &engine_sqlite)
            continue;
        bool golang = strcmp(p.format, "golang-migrate") == 0;
        struct step_result r = {0};
        expect_step(&p, 0, STEP_UP, STEP_OK);
        expect_step(&p, 1, STEP_UP, STEP_OK);
        expect_step(&p, 1, STEP_DOWN, STEP_OK);
        step(&p, 2, STEP_UP, &r);
        ck_assert_msg(r.outcome == (golang ? STEP_OK : STEP_FAILED), WHERE, WHERE_ARGS(&p));
        if (!golang) {
            ck_assert_str_eq(r.err.sqlstate, "25001");
            ck_assert_msg(strstr(r.err.hint, "runs it in a transaction: "), "%s", r.err.hint);
        }
        step(&p, 3, STEP_UP, &r);
        bool one_by_one = strcmp(p.format, "goose") == 0;
        ck_assert_msg(r.outcome == (one_by_one ? STEP_OK : STEP_FAILED), WHERE, WHERE_ARGS(&p));
        if (!one_by_one)
            ck_assert_msg(strstr(r.err.hint, "sent together"), "%s", r.err.hint);
        step_result_release(&r);
    }
}
END_TEST

START_TEST(a_new_enum_value_waits_for_the_end_of_its_transaction)
{
    struct project p;
    EACH_PROJECT(p, {"create type mood as enum ('ok'); create table a (m mood);", NULL, false},
                 {"alter type mood add value 'sad';", "-- stays", false},
                 {"insert into a values ('sad');", NULL, false},
                 {"alter type mood add value 'mad';\ninsert into a values ('mad');", NULL, false})
    {
        if (p.engine == &engine_sqlite)
            continue;
        for (size_t i = 0; i < 3; i++)
            expect_step(&p, i, STEP_UP, STEP_OK);
        struct step_result r = {0};
        step(&p, 3, STEP_UP, &r);
        ck_assert_int_eq(r.outcome, STEP_FAILED);
        ck_assert_str_eq(r.err.sqlstate, "55P04");
        ck_assert_msg(strstr(r.err.hint, "later revision"), "%s", r.err.hint);
        ck_assert_int_eq(r.err.line, p.up_line + 1);
        step_result_release(&r);
    }
}
END_TEST

START_TEST(what_a_revision_leaves_in_the_session_is_told_and_put_back)
{
    static const struct {
        const char *up, *change;
        const struct engine *engine;
    } cases[] = {
        {"set search_path = '';", "search_path is now \"\"", &engine_postgres},
        {"create schema app; set search_path = app, public;", "search_path is now app, public",
         &engine_postgres},
        {"set role pg_monitor;", "role is now pg_monitor", &engine_postgres},
        {"set session authorization pg_monitor;", "role is now pg_monitor", &engine_postgres},
        {"set statement_timeout = '3s';", "statement_timeout is now 3s", &engine_postgres},
        {"set timezone = 'Asia/Tokyo'; set row_security = off;",
         "row_security is now off, timezone is now Asia/Tokyo", &engine_postgres},
        {"set local search_path = '';", NULL, &engine_postgres},
        {"create temporary table tt (x int);", NULL, &engine_postgres},
        {"discard all;", NULL, &engine_postgres},
        {"select 1;", NULL, &engine_postgres},
        {"pragma recursive_triggers = on;", "recursive_triggers is now 1", &engine_sqlite},
        {"pragma foreign_keys = on;", "foreign_keys is now 1", &engine_sqlite},
        {"select 1;", NULL, &engine_sqlite},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct project p;
        EACH_PROJECT(p, {cases[i].up, NULL, true}, {"create table a (x int);", NULL, false})
        {
            if (p.engine != cases[i].engine)
                continue;
            bool golang = strcmp(p.format, "golang-migrate") == 0;
            bool diesel = strcmp(p.format, "diesel") == 0;
            const char *expected = cases[i].change;
            /* diesel puts it back itself; a role without rights cannot write the version table; a
             * pragma does nothing in golang-migrate's transaction */
            if (expected && diesel && strstr(expected, "search_path"))
                expected = NULL;
            if (expected && golang && strstr(expected, "foreign_keys"))
                expected = NULL;
            bool blocked = expected && strstr(expected, "pg_monitor");
            bool lost = strcmp(p.format, "goose") == 0 && expected &&
                        strstr(expected, "search_path") && strstr(expected, "\"\"");
            struct step_result r = {0};
            step(&p, 0, STEP_UP, &r);
            ck_assert_msg(r.outcome == (blocked || lost ? STEP_FAILED : STEP_OK), WHERE "%s: %s",
                          WHERE_ARGS(&p), cases[i].up, r.err.message);
            ck_assert_msg(str_eq(r.session_change, expected), WHERE "%s: %s", WHERE_ARGS(&p),
                          cases[i].up, r.session_change);
            if (blocked || lost)
                ck_assert_msg(strstr(r.err.message, "cannot be written"), "%s", r.err.message);
            step_result_release(&r);
            if (!golang || !blocked)
                expect_step(&p, 1, STEP_UP, STEP_OK);
            ck_assert(!table_exists(&p, "tt"));
        }
    }
}
END_TEST

START_TEST(a_kept_session_stays_as_the_revision_left_it)
{
    struct project p;
    EACH_PROJECT(p, {"set statement_timeout = '30s';", NULL, false}, {"select 1;", NULL, false})
    {
        if (p.engine == &engine_sqlite)
            continue;
        _cleanup_err_ struct err err = {0};
        struct step_result r = {0};
        const struct graph *g = source_graph(p.source);
        ck_assert_int_eq(migrator_step(p.m, graph_at(g, 0), STEP_UP, true, &r, &err), 0);
        ck_assert_str_eq(r.session_change, "statement_timeout is now 30s");
        ck_assert_int_eq(migrator_step(p.m, graph_at(g, 1), STEP_UP, true, &r, &err), 0);
        ck_assert_ptr_null(r.session_change);
        _cleanup_free_ char *now = NULL;
        db_query_text(migrator_db(p.m), "show statement_timeout", NULL, 0, &now, &err);
        ck_assert_str_eq(now, "30s");
        step_result_release(&r);
    }
}
END_TEST

START_TEST(a_transaction_left_open_is_rolled_back_and_told)
{
    struct project p;
    EACH_PROJECT(p, {"create table a (x int);", NULL, false},
                 {"begin;\ncreate table b (x int);", NULL, true})
    {
        /* SQLite and golang-migrate: a BEGIN within the tool's own transaction fails */
        if (p.engine == &engine_sqlite && strcmp(p.format, "golang-migrate") == 0)
            continue;
        struct step_result r = {0};
        expect_step(&p, 0, STEP_UP, STEP_OK);
        step(&p, 1, STEP_UP, &r);
        ck_assert_msg(r.transaction_open && r.outcome == STEP_FAILED, WHERE, WHERE_ARGS(&p));
        ck_assert(strstr(r.err.message, "leaves a transaction open"));
        step_result_release(&r);
        ck_assert(!table_exists(&p, "b"));
        ck_assert(!db_in_transaction(migrator_db(p.m)));
    }
}
END_TEST

START_TEST(a_revision_may_not_take_the_version_table_away)
{
    struct project p;
    EACH_PROJECT(p, {"create table a (x int);", NULL, false}, {NULL, NULL, false})
    {
        _cleanup_free_ char *sql = xasprintf("create table b (x int);\ndrop table %s;",
                                             source_version_tables(p.source)[0]);
        add_revision(&p, 2, &(struct revision_text){sql, NULL, false});
        _cleanup_free_ char *folder = path_join(p.dir, "m");
        _cleanup_err_ struct err err = {0};
        migrator_close(p.m);
        source_free(p.source);
        ck_assert_int_eq(source_open(&(struct source_options){.dir = folder}, &p.source, &err), 0);
        ck_assert_int_eq(migrator_open(p.source, p.engine, scratch_url(p.scratch), DB_OPEN_SCRATCH,
                                       NULL, &p.m, &err),
                         0);
        struct step_result r = {0};
        expect_step(&p, 0, STEP_UP, STEP_OK);
        step(&p, 1, STEP_UP, &r);
        ck_assert_msg(r.outcome == STEP_FAILED, WHERE, WHERE_ARGS(&p));
        ck_assert_msg(strstr(r.err.message, "the SQL ran, but"), "%s", r.err.message);
        ck_assert_msg(strstr(r.err.hint, "version table"), "%s", r.err.hint);
        step_result_release(&r);
        ck_assert(!db_in_transaction(migrator_db(p.m)));
    }
}
END_TEST

START_TEST(a_revision_that_commits_by_itself_is_told)
{
    struct project p;
    EACH_PROJECT(p, {"create table a (x int);\ncommit;", "drop table a;", false})
    {
        if (strcmp(p.format, "golang-migrate") == 0 && p.engine == &engine_postgres)
            continue;
        struct step_result r = {0};
        step(&p, 0, STEP_UP, &r);
        if (p.engine == &engine_sqlite) {
            ck_assert_msg(r.outcome == STEP_FAILED, WHERE, WHERE_ARGS(&p));
            ck_assert_msg(strstr(r.err.message, "ends the transaction that"), "%s", r.err.message);
        } else {
            ck_assert_msg(r.outcome == STEP_OK, WHERE "%s", WHERE_ARGS(&p), r.err.message);
            ck_assert_uint_ge(r.notices.n, 1);
            ck_assert_str_eq(r.notices.v[0], "WARNING: there is no transaction in progress");
        }
        step_result_release(&r);
    }
}
END_TEST

START_TEST(commands_of_psql_are_named)
{
    struct project p;
    EACH_PROJECT(p, {"create table a (x int);\n\\connect app\nselect 1;", NULL, false},
                 {"copy a from stdin;", NULL, false})
    {
        if (p.engine == &engine_sqlite)
            continue;
        struct step_result r = {0};
        step(&p, 0, STEP_UP, &r);
        ck_assert_int_eq(r.outcome, STEP_FAILED);
        ck_assert_msg(r.err.hint && strstr(r.err.hint, "\\connect is a command of psql"),
                      WHERE "%s: %s", WHERE_ARGS(&p), r.err.message, r.err.hint);
        ck_assert_int_eq(r.err.line, p.up_line + 1);
        step(&p, 1, STEP_UP, &r);
        ck_assert_int_eq(r.outcome, STEP_FAILED);
        step_result_release(&r);
    }
}
END_TEST

START_TEST(notices_come_with_their_step)
{
    struct project p;
    EACH_PROJECT(p, {"do $$ begin raise warning 'careful'; end $$;", NULL, false},
                 {"select 1;", NULL, false})
    {
        if (p.engine == &engine_sqlite)
            continue;
        struct step_result r = {0};
        step(&p, 0, STEP_UP, &r);
        ck_assert_uint_eq(r.notices.n, 1);
        ck_assert_str_eq(r.notices.v[0], "WARNING: careful");
        step(&p, 1, STEP_UP, &r);
        ck_assert_uint_eq(r.notices.n, 0);
        step_result_release(&r);
    }
}
END_TEST

START_TEST(a_lost_connection_is_no_result)
{
    struct project p;
    EACH_PROJECT(p, {"select pg_terminate_backend(pg_backend_pid());", NULL, false})
    {
        if (p.engine == &engine_sqlite)
            continue;
        _cleanup_err_ struct err err = {0};
        struct step_result r = {0};
        const struct revision *first = graph_at(source_graph(p.source), 0);
        ck_assert_int_lt(migrator_step(p.m, first, STEP_UP, false, &r, &err), 0);
        ck_assert_int_eq(err.code, ERR_CONNECTION);
        ck_assert_str_eq(err.file, first->file);
        step_result_release(&r);
    }
}
END_TEST

/* PostgreSQL forgets a request that comes before the statement: wait until it runs. */
static void *cancel_it(void *arg)
{
    struct project *p = arg;
    if (p->engine == &engine_postgres) {
        _cleanup_err_ struct err err = {0};
        _cleanup_db_ struct db *db = NULL;
        _cleanup_free_ char *running = NULL;
        ASSERT_OK(db_open(p->engine, scratch_url(p->scratch), 0, &db, &err), &err);
        while (!running)
            ASSERT_OK(db_query_text(db,
                                    "select 1 from pg_stat_activity where state = 'active' and "
                                    "wait_event = 'PgSleep' and datname = current_database()",
                                    NULL, 0, &running, &err),
                      &err);
    }
    migrator_cancel(p->m);
    return NULL;
}

START_TEST(a_step_can_be_cancelled_from_another_thread)
{
    static const char *const sleepy[] = {
        "with recursive n(i) as (select 1 union all select i + 1 from n) select count(*) from n;",
        "select pg_sleep(600);",
    };
    for (size_t i = 0; i < 2; i++) {
        struct project p;
        EACH_PROJECT(p, {sleepy[i], NULL, false})
        {
            if ((p.engine == &engine_sqlite) != (i == 0))
                continue;
            _cleanup_err_ struct err err = {0};
            struct step_result r = {0};
            pthread_t thread;
            ck_assert_int_eq(pthread_create(&thread, NULL, cancel_it, &p), 0);
            int rc =
                migrator_step(p.m, graph_at(source_graph(p.source), 0), STEP_UP, false, &r, &err);
            pthread_join(thread, NULL);
            ck_assert_msg(rc < 0 && err.code == ERR_INTERRUPTED, WHERE "%d %s", WHERE_ARGS(&p), rc,
                          err.message);
            step_result_release(&r);
        }
    }
}
END_TEST

START_TEST(goose_splits_as_goose_does_even_when_that_is_wrong)
{
    static const char body[] = "create function f() returns int language plpgsql as $$\nbegin\n"
                               "  return 1;\nend $$;";
    _cleanup_free_ char *block =
        xasprintf("-- +goose StatementBegin\n%s\n-- +goose StatementEnd", body);
    struct project p;
    project_open(&p, "goose", &engine_postgres,
                 (const struct revision_text[]){{block, NULL, false}, {body, NULL, false}, {0}});
    expect_step(&p, 0, STEP_UP, STEP_OK);
    expect_step(&p, 1, STEP_UP, STEP_FAILED);
    project_close(&p);
}
END_TEST

START_TEST(an_unfinished_comment_does_not_swallow_the_record)
{
    static const char *const formats[] = {"belay", "dbmate", "golang-migrate", "diesel"};
    for (size_t i = 0; i < ARRAY_LEN(formats); i++) {
        struct project p;
        project_open(
            &p, formats[i], &engine_sqlite,
            (const struct revision_text[]){{"create table a (x int); /* to be", NULL, false}, {0}});
        expect_step(&p, 0, STEP_UP, STEP_OK);
        expect_current(&p, "1");
        project_close(&p);
    }
}
END_TEST

START_TEST(version_tables_are_the_tools_own)
{
    static const struct {
        const char *format, *postgres;
    } cases[] = {
        {"dbmate", "version character varying NOT NULL"},
        {"golang-migrate", "dirty boolean NOT NULL, version bigint NOT NULL"},
        {"goose",
         "id integer NOT NULL, is_applied boolean NOT NULL, tstamp timestamp without time zone "
         "NOT NULL, version_id bigint NOT NULL"},
        {"diesel",
         "run_on timestamp without time zone NOT NULL, version character varying(50) NOT NULL"},
        {"belay", "revision text NOT NULL"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct project p;
        _cleanup_err_ struct err err = {0};
        _cleanup_free_ char *got = NULL;
        project_open(&p, cases[i].format, &engine_postgres,
                     (const struct revision_text[]){{"select 1;", NULL, false}, {0}});
        ck_assert_int_eq(
            db_query_text(
                migrator_db(p.m),
                "select string_agg(attname || ' ' || format_type(atttypid, atttypmod) || "
                "case when attnotnull then ' NOT NULL' else '' end, ', ' order by attname) "
                "from pg_attribute where attrelid = to_regclass($1) and attnum > 0",
                source_version_tables(p.source), 1, &got, &err),
            0);
        ck_assert_str_eq(got, cases[i].postgres);
        project_close(&p);
    }
}
END_TEST

int main(void)
{
    Suite *s = suite_create("migrator");
    SUITE_ADD(s, steps_go_up_and_down_and_are_recorded);
    SUITE_ADD(s, a_second_session_finds_what_the_first_recorded);
    SUITE_ADD(s, a_failed_step_in_a_transaction_leaves_nothing);
    SUITE_ADD(s, without_a_transaction_the_first_statement_stays);
    SUITE_ADD(s, golang_migrate_marks_what_it_left_dirty);
    SUITE_ADD(s, errors_are_placed_in_the_file);
    SUITE_ADD(s, missing_and_empty_downgrades_are_told_apart);
    SUITE_ADD(s, diesel_refuses_files_without_a_byte);
    SUITE_ADD(s, downgrades_that_raise_on_purpose_are_irreversible);
    SUITE_ADD(s, concurrently_works_where_it_works_in_the_tool);
    SUITE_ADD(s, a_new_enum_value_waits_for_the_end_of_its_transaction);
    SUITE_ADD(s, what_a_revision_leaves_in_the_session_is_told_and_put_back);
    SUITE_ADD(s, a_kept_session_stays_as_the_revision_left_it);
    SUITE_ADD(s, a_transaction_left_open_is_rolled_back_and_told);
    SUITE_ADD(s, a_revision_may_not_take_the_version_table_away);
    SUITE_ADD(s, a_revision_that_commits_by_itself_is_told);
    SUITE_ADD(s, commands_of_psql_are_named);
    SUITE_ADD(s, notices_come_with_their_step);
    SUITE_ADD(s, a_lost_connection_is_no_result);
    SUITE_ADD(s, a_step_can_be_cancelled_from_another_thread);
    SUITE_ADD(s, goose_splits_as_goose_does_even_when_that_is_wrong);
    SUITE_ADD(s, an_unfinished_comment_does_not_swallow_the_record);
    SUITE_ADD(s, version_tables_are_the_tools_own);
    return fixture_run(s);
}
