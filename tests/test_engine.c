/*
 * engine/: one conformance suite looped over both engines, then what each has alone. URLs:
 * test_url.c.
 */
#include "tests/fixture.h"

#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "harness/base/file.h"
#include "harness/base/str.h"
#include "harness/engine/pgsplit.h"
#include "harness/engine/url.h"

/* ---- helpers ---- */

static void run(struct db *db, const char *sql)
{
    _cleanup_err_ struct err err = {0};
    ASSERT_OK(db_run(db, sql, DB_RUN_WHOLE, NULL, &err), &err);
}

static char *text(struct db *db, const char *sql)
{
    _cleanup_err_ struct err err = {0};
    char *value = NULL;
    ASSERT_OK(db_query_text(db, sql, NULL, 0, &value, &err), &err);
    return value;
}

static void assert_text(struct db *db, const char *sql, const char *expected)
{
    _cleanup_free_ char *value = text(db, sql);
    ck_assert_pstr_eq(value, expected);
}

/* Runs sql, which must fail. */
static void fails(struct db *db, const char *sql, unsigned flags, int *ran, struct err *err)
{
    ck_assert_int_eq(db_run(db, sql, flags, ran, err), -1);
    ck_assert_ptr_nonnull(err->message);
}

static bool is_postgres(int i)
{
    return engines[i] == &engine_postgres;
}

/* ---- both engines ---- */

START_TEST(a_script_runs_and_its_rows_are_read_back)
{
    struct fixture f;
    fixture_open(&f, engines[_i]);
    _cleanup_err_ struct err err = {0};
    int ran = 0;
    ASSERT_OK(db_run(f.db,
                     "create table t (a int, b text); -- one; not two\n"
                     "insert into t values (1, 'x;y'); /* ; */ insert into t values (2, null);;",
                     DB_RUN_WHOLE, &ran, &err),
              &err);
    ck_assert_int_eq(ran, 3);
    struct rows *rows;
    ASSERT_OK(db_query(f.db, "select a, b from t order by a", NULL, 0, &rows, &err), &err);
    ck_assert_int_eq(rows_count(rows), 2);
    ck_assert_int_eq(rows_columns(rows), 2);
    ck_assert_str_eq(rows_get(rows, 0, 0), "1");
    ck_assert_str_eq(rows_get(rows, 0, 1), "x;y");
    ck_assert_uint_eq(rows_length(rows, 0, 1), 3);
    ck_assert_ptr_null(rows_get(rows, 1, 1));
    rows_free(rows);
    ck_assert_ptr_eq(db_engine(f.db), engines[_i]);
    ck_assert_int_gt(db_version(f.db), is_postgres(_i) ? 120000 : 3000000);
    fixture_close(&f);
}
END_TEST

START_TEST(text_without_a_statement_runs_nothing)
{
    static const char *const empty[] = {"", " \n", ";", "-- only a comment", "/* a */ ; -- b\n"};
    struct fixture f;
    fixture_open(&f, engines[_i]);
    for (size_t i = 0; i < ARRAY_LEN(empty); i++) {
        for (unsigned flags = 0; flags < 2; flags++) {
            _cleanup_err_ struct err err = {0};
            int ran = -1;
            ASSERT_OK(db_run(f.db, empty[i], flags, &ran, &err), &err);
            ck_assert_int_eq(ran, 0);
        }
    }
    fixture_close(&f);
}
END_TEST

START_TEST(an_error_names_statement_line_and_column)
{
    static const struct {
        const char *sql, *statement;
        int line, column;
    } cases[] = {
        {"selekt 1", "selekt 1", 1, 1},
        {"select 1;\n\n  select nope from (select 1 as a) s;\nselect 2",
         "select nope from (select 1 as a) s", 3, 10},
        /* columns count characters, not bytes */
        {"select 'äöü', nope from (select 1 as a) s", "select 'äöü', nope from (select 1 as a) s",
         1, 15},
        {"/* ä\n ; */ select 1;\n-- x;\nselect 'a;b', nope\n from (select 1 as a) s",
         "select 'a;b', nope\n from (select 1 as a) s", 4, 15},
    };
    struct fixture f;
    fixture_open(&f, engines[_i]);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        for (unsigned flags = 0; flags < 2; flags++) {
            _cleanup_err_ struct err err = {0};
            fails(f.db, cases[i].sql, flags, NULL, &err);
            ck_assert_int_eq(err.code, ERR_SQL);
            ck_assert_pstr_eq(err.statement, cases[i].statement);
            ck_assert_int_eq(err.line, cases[i].line);
            ck_assert_int_eq(err.column, cases[i].column);
        }
    }
    fixture_close(&f);
}
END_TEST

START_TEST(an_error_without_a_position_names_the_line_of_its_statement)
{
    struct fixture f;
    fixture_open(&f, engines[_i]);
    for (unsigned flags = 0; flags < 2; flags++) {
        _cleanup_err_ struct err err = {0};
        int ran;
        run(f.db, "drop table if exists t; create table t (id int primary key)");
        fails(f.db, "insert into t values (1);\n-- why\n  insert into t\n values (1);\nselect 1",
              flags, &ran, &err);
        ck_assert_int_eq(ran, 1);
        ck_assert_pstr_eq(err.statement, "insert into t\n values (1)");
        ck_assert_int_eq(err.line, 3);
        ck_assert_int_eq(err.column, 0);
        if (is_postgres(_i)) {
            ck_assert_str_eq(err.sqlstate, "23505");
            ck_assert_pstr_eq(err.detail, "Key (id)=(1) already exists.");
        }
    }
    fixture_close(&f);
}
END_TEST

START_TEST(statements_that_ran_before_the_failure_stay_when_each_runs_alone)
{
    struct fixture f;
    fixture_open(&f, engines[_i]);
    _cleanup_err_ struct err err = {0};
    int ran;
    fails(f.db,
          "create table a (x int); create table b (x int); select nope; create table c (x int)",
          DB_RUN_STATEMENTS, &ran, &err);
    ck_assert_int_eq(ran, 2);
    run(f.db, "select * from a; select * from b");
    err_release(&err);
    fails(f.db, "select * from c", 0, NULL, &err);
    fixture_close(&f);
}
END_TEST

START_TEST(an_open_transaction_shows_and_an_aborted_one_too)
{
    struct fixture f;
    fixture_open(&f, engines[_i]);
    _cleanup_err_ struct err err = {0};
    ck_assert(!db_in_transaction(f.db));
    run(f.db, "begin; create table t (a int)");
    ck_assert(db_in_transaction(f.db));
    fails(f.db, "select nope", 0, NULL, &err);
    ck_assert(db_in_transaction(f.db));
    run(f.db, "rollback");
    ck_assert(!db_in_transaction(f.db));
    err_release(&err);
    fails(f.db, "select * from t", 0, NULL, &err);
    fixture_close(&f);
}
END_TEST

START_TEST(a_script_may_hold_transactions_of_its_own)
{
    struct fixture f;
    fixture_open(&f, engines[_i]);
    for (unsigned flags = 0; flags < 2; flags++) {
        _cleanup_err_ struct err err = {0};
        int ran;
        ASSERT_OK(db_run(f.db,
                         "begin; create table t (a int); commit; begin; drop table t; commit; "
                         "begin; create table u (a int); rollback;",
                         flags, &ran, &err),
                  &err);
        ck_assert_int_eq(ran, 9);
        ck_assert(!db_in_transaction(f.db));
    }
    fixture_close(&f);
}
END_TEST

START_TEST(values_are_bound_not_pasted)
{
    struct fixture f;
    fixture_open(&f, engines[_i]);
    _cleanup_err_ struct err err = {0};
    run(f.db, "create table t (a int, b text, c text)");
    const char *values[] = {"7", "'); drop table t; --\n\"%$1", NULL};
    struct rows *rows;
    ASSERT_OK(db_query(f.db, "insert into t values ($1, $2, $3)", values, 3, &rows, &err), &err);
    ck_assert_int_eq(rows_count(rows), 0);
    rows_free(rows);
    /* out of order, and one of them twice */
    ASSERT_OK(db_query(f.db, "select c, b from t where b = $2 and a = $1 and b = $2", values, 2,
                       &rows, &err),
              &err);
    ck_assert_int_eq(rows_count(rows), 1);
    ck_assert_ptr_null(rows_get(rows, 0, 0));
    ck_assert_str_eq(rows_get(rows, 0, 1), values[1]);
    rows_free(rows);
    fixture_close(&f);
}
END_TEST

START_TEST(a_prepared_query_follows_what_it_reads)
{
    struct fixture f;
    fixture_open(&f, engines[_i]);
    _cleanup_err_ struct err err = {0};
    run(f.db, "create table t (a int); insert into t values (1)");
    for (int i = 1; i <= 3; i++) {
        struct rows *rows;
        ASSERT_OK(db_query_prepared(f.db, "select count(*) from t where a >= $1",
                                    (const char *[]){"1"}, 1, &rows, &err),
                  &err);
        _cleanup_free_ char *count = xasprintf("%d", i);
        ck_assert_str_eq(rows_get(rows, 0, 0), count);
        rows_free(rows);
        run(f.db, "alter table t add column b text; alter table t drop column b;"
                  " insert into t (a) values (5)");
    }
    /* one that fails, then one more that does not */
    struct rows *none;
    ck_assert_int_eq(db_query_prepared(f.db, "select nope", NULL, 0, &none, &err), -1);
    ck_assert_int_eq(err.column, 8);
    ASSERT_OK(db_query_prepared(f.db, "select 1", NULL, 0, &none, &err), &err);
    rows_free(none);
    fixture_close(&f);
}
END_TEST

START_TEST(a_query_is_one_statement)
{
    struct fixture f;
    fixture_open(&f, engines[_i]);
    _cleanup_err_ struct err err = {0};
    struct rows *rows = NULL;
    ck_assert_int_eq(db_query(f.db, "select 1; select 2", NULL, 0, &rows, &err), -1);
    ck_assert_int_eq(err.code, ERR_SQL);
    ck_assert_ptr_null(rows);
    fixture_close(&f);
}
END_TEST

START_TEST(any_name_survives_quoting)
{
    static const char *const names[] = {
        "plain", "Mixed Case", "select", "user", "a\"b", "a\nb", "a%sb",  "a'b",  "größe", "表",
        "1st",   "a.b",        "a;b",    "$1",   "a\\b", "--",   "order", "a`b]", " ",
    };
    struct fixture f;
    fixture_open(&f, engines[_i]);
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        _cleanup_err_ struct err err = {0};
        _cleanup_free_ char *quoted = db_quote_ident(f.db, names[i]);
        _cleanup_free_ char *sql =
            xasprintf("create table %s (%s int); insert into %s (%s) values (1);", quoted, quoted,
                      quoted, quoted);
        ASSERT_OK(db_run(f.db, sql, DB_RUN_STATEMENTS, NULL, &err), &err);
        _cleanup_free_ char *found = NULL;
        const char *catalog = is_postgres(_i)
                                  ? "select relname::text from pg_class where relname = $1"
                                  : "select name from sqlite_schema where name = $1";
        ASSERT_OK(db_query_text(f.db, catalog, &names[i], 1, &found, &err), &err);
        ck_assert_pstr_eq(found, names[i]);
    }
    _cleanup_free_ char *plain = db_quote_ident(f.db, "plain_1");
    ck_assert_str_eq(plain, "plain_1");
    fixture_close(&f);
}
END_TEST

static void *cancel_it(void *db)
{
    db_cancel(db);
    return NULL;
}

/* Whether the request comes before the statement, while it starts or while it runs: it never ends
 * by itself, so the test ends only when the request is heard. */
START_TEST(cancelling_stops_a_statement_that_runs_in_another_thread)
{
    struct fixture f;
    fixture_open(&f, engines[_i]);
    const char *endless = is_postgres(_i)
                              ? "select pg_sleep(100000)"
                              : "with recursive r(n) as (select 1 union all select n + 1 from r)"
                                " select count(*) from r";
    for (int i = 0; i < 20; i++) {
        _cleanup_err_ struct err err = {0};
        pthread_t thread;
        struct rows *rows = NULL;
        ck_assert_int_eq(pthread_create(&thread, NULL, cancel_it, f.db), 0);
        int rc = i % 2 ? db_run(f.db, endless, DB_RUN_WHOLE, NULL, &err)
                       : db_query(f.db, endless, NULL, 0, &rows, &err);
        ck_assert_int_eq(rc, -1);
        ck_assert_int_eq(err.code, ERR_INTERRUPTED);
        pthread_join(thread, NULL);
    }
    assert_text(f.db, "select 1", "1");
    fixture_close(&f);
}
END_TEST

START_TEST(a_request_to_stop_that_finds_nothing_running_stops_the_next_statement_once)
{
    struct fixture f;
    fixture_open(&f, engines[_i]);
    _cleanup_err_ struct err err = {0};
    db_cancel(f.db);
    fails(f.db, "create table t (a int)", 0, NULL, &err);
    ck_assert_int_eq(err.code, ERR_INTERRUPTED);
    run(f.db, "create table t (a int)");
    fixture_close(&f);
}
END_TEST

START_TEST(a_read_only_session_refuses_writes)
{
    struct fixture f;
    fixture_open(&f, engines[_i]);
    run(f.db, "create table t (a int)");
    _cleanup_err_ struct err err = {0};
    _cleanup_db_ struct db *reader = NULL;
    ASSERT_OK(db_open(engines[_i], scratch_url(f.scratch), DB_OPEN_READONLY, &reader, &err), &err);
    assert_text(reader, "select count(*) from t", "0");
    fails(reader, "insert into t values (1)", 0, NULL, &err);
    ck_assert_int_eq(err.code, ERR_SQL);
    err_release(&err);
    fails(reader, "create table u (a int)", 0, NULL, &err);
    db_close(TAKE_PTR(reader));
    fixture_close(&f);
}
END_TEST

START_TEST(a_database_that_does_not_exist_is_the_environments_fault)
{
    struct fixture f;
    fixture_open(&f, engines[_i]);
    _cleanup_free_ char *url = NULL;
    if (is_postgres(_i)) {
        _cleanup_conninfo_ struct conninfo c = {0};
        _cleanup_err_ struct err none = {0};
        ASSERT_OK(conninfo_parse(scratch_url(f.scratch), &c, &none), &none);
        conninfo_set(&c, "dbname", "no such thing");
        url = conninfo_url(&c);
    } else {
        url = xasprintf("%s.missing", scratch_url(f.scratch));
    }
    _cleanup_err_ struct err err = {0};
    struct db *db = NULL;
    ck_assert_int_eq(db_open(engines[_i], url, DB_OPEN_DEFAULT, &db, &err), -1);
    ck_assert_int_eq(err.code, ERR_ENV);
    ck_assert_ptr_null(db);
    fixture_close(&f);
}
END_TEST

START_TEST(a_table_of_1600_columns_and_a_long_script_pass)
{
    struct fixture f;
    fixture_open(&f, engines[_i]);
    _cleanup_err_ struct err err = {0};
    _cleanup_str_ struct str sql = {0};
    str_add(&sql, "create table wide (c0 int");
    for (int i = 1; i < 1600; i++)
        str_addf(&sql, ", c%d int", i);
    str_add(&sql, ");");
    for (int i = 0; i < 2000; i++)
        str_addf(&sql, "insert into wide (c%d) values (%d);\n", i % 1600, i);
    int ran;
    ASSERT_OK(db_run(f.db, str_get(&sql), DB_RUN_WHOLE, &ran, &err), &err);
    ck_assert_int_eq(ran, 2001);
    assert_text(f.db, "select count(*) from wide", "2000");
    fixture_close(&f);
}
END_TEST

/* ---- SQLite ---- */

static char *temporary_file(const char *content)
{
    _cleanup_err_ struct err err = {0};
    char *path = xstrdup("/tmp/belay-test-XXXXXX");
    int fd = mkstemp(path);
    ck_assert_int_ge(fd, 0);
    close(fd);
    ASSERT_OK(file_replace(path, content, strlen(content), 0600, &err), &err);
    return path;
}

START_TEST(sqlite_refuses_what_is_no_database)
{
    _cleanup_free_ char *path = temporary_file("this is a text file, and quite a long one at that");
    _cleanup_err_ struct err err = {0};
    _cleanup_free_ char *expected = xasprintf("%s is not an SQLite database", path);
    struct db *db;
    ck_assert_int_eq(db_open(&engine_sqlite, path, DB_OPEN_CREATE, &db, &err), -1);
    ck_assert_int_eq(err.code, ERR_ENV);
    ck_assert_str_eq(err.message, expected);
    unlink(path);
    ck_assert_int_eq(db_open(&engine_sqlite, "sqlite:////tmp", DB_OPEN_CREATE, &db, &err), -1);
    ck_assert_str_eq(err.message, "cannot open the SQLite database /tmp: it is a folder");
    ck_assert_int_eq(db_open(&engine_sqlite, "sqlite://", DB_OPEN_CREATE, &db, &err), -1);
    ck_assert_int_eq(err.code, ERR_USAGE);
    ck_assert_int_eq(db_open(&engine_sqlite, "sqlite:///no/such/file", DB_OPEN_DEFAULT, &db, &err),
                     -1);
    ck_assert_str_eq(err.message,
                     "cannot open the SQLite database no/such/file: No such file or directory");
}
END_TEST

START_TEST(sqlite_says_that_a_database_is_locked)
{
    struct fixture f;
    fixture_open(&f, &engine_sqlite);
    run(f.db, "create table t (a int); begin exclusive; insert into t values (1)");
    _cleanup_err_ struct err err = {0};
    struct db *other;
    ck_assert_int_eq(db_open(&engine_sqlite, scratch_url(f.scratch), DB_OPEN_DEFAULT, &other, &err),
                     -1);
    ck_assert_int_eq(err.code, ERR_ENV);
    ck_assert_ptr_nonnull(strstr(err.message, "database is locked"));
    ck_assert_ptr_nonnull(err.hint);
    fixture_close(&f);
}
END_TEST

START_TEST(sqlite_enforces_foreign_keys_only_when_asked)
{
    struct fixture f;
    fixture_open(&f, &engine_sqlite);
    assert_text(f.db, "pragma foreign_keys", "0");
    fixture_close(&f);
}
END_TEST

/* ---- PostgreSQL ---- */

START_TEST(postgres_quotes_exactly_the_names_that_the_server_quotes)
{
    struct fixture f;
    fixture_open(&f, &engine_postgres);
    _cleanup_err_ struct err err = {0};
    struct rows *rows;
    ASSERT_OK(db_query(f.db, "select word, quote_ident(word) from pg_get_keywords()", NULL, 0,
                       &rows, &err),
              &err);
    ck_assert_int_gt(rows_count(rows), 400);
    for (int i = 0; i < rows_count(rows); i++) {
        _cleanup_free_ char *quoted = db_quote_ident(f.db, rows_get(rows, i, 0));
        /* belay also quotes what newer servers reserve */
        if (strncmp(rows_get(rows, i, 0), "json", 4) != 0)
            ck_assert_str_eq(quoted, rows_get(rows, i, 1));
    }
    rows_free(rows);
    fixture_close(&f);
}
END_TEST

START_TEST(postgres_keeps_notices_and_prints_none)
{
    struct fixture f;
    fixture_open(&f, &engine_postgres);
    run(f.db, "drop table if exists nix; do $$ begin raise warning 'careful'; end $$");
    _cleanup_strv_ struct strv notices = {0};
    db_take_notices(f.db, &notices);
    ck_assert_uint_eq(notices.n, 2);
    ck_assert_str_eq(notices.v[0], "NOTICE: table \"nix\" does not exist, skipping");
    ck_assert_str_eq(notices.v[1], "WARNING: careful");
    strv_release(&notices);
    run(f.db, "do $$ begin for i in 1..1500 loop raise notice 'n%', i; end loop; end $$");
    db_take_notices(f.db, &notices);
    ck_assert_uint_eq(notices.n, 1001);
    ck_assert_str_eq(notices.v[1000], "... and 500 more");
    strv_release(&notices);
    db_take_notices(f.db, &notices);
    ck_assert_uint_eq(notices.n, 0);
    fixture_close(&f);
}
END_TEST

START_TEST(postgres_rolls_a_whole_text_back)
{
    struct fixture f;
    fixture_open(&f, &engine_postgres);
    _cleanup_err_ struct err err = {0};
    int ran;
    fails(f.db, "create table a (x int); select 1/0; create table b (x int)", DB_RUN_WHOLE, &ran,
          &err);
    ck_assert_int_eq(ran, 1);
    ck_assert_str_eq(err.sqlstate, "22012");
    ck_assert_pstr_eq(err.statement, "select 1/0");
    ck_assert(!db_in_transaction(f.db));
    assert_text(f.db, "select to_regclass('a')", NULL);
    fixture_close(&f);
}
END_TEST

START_TEST(postgres_runs_what_no_transaction_may_hold_statement_by_statement)
{
    struct fixture f;
    fixture_open(&f, &engine_postgres);
    _cleanup_err_ struct err err = {0};
    static const char sql[] =
        "create table t (a int); create index concurrently i on t (a);"
        "create function f() returns int begin atomic select 1; select 2; end;"
        "vacuum t";
    int ran;
    fails(f.db, sql, DB_RUN_WHOLE, NULL, &err);
    ck_assert_str_eq(err.sqlstate, "25001");
    err_release(&err);
    ASSERT_OK(db_run(f.db, sql, DB_RUN_STATEMENTS, &ran, &err), &err);
    ck_assert_int_eq(ran, 4);
    fixture_close(&f);
}
END_TEST

START_TEST(postgres_copy_without_data_is_an_error_and_no_hang)
{
    struct fixture f;
    fixture_open(&f, &engine_postgres);
    _cleanup_err_ struct err err = {0};
    run(f.db, "create table t (a int); insert into t values (1), (2)");
    for (unsigned flags = 0; flags < 2; flags++) {
        fails(f.db, "select 1;\ncopy t from stdin; select 2", flags, NULL, &err);
        ck_assert_int_eq(err.code, ERR_SQL);
        ck_assert_str_eq(err.message, "COPY ... FROM STDIN has no data to read here");
        ck_assert_pstr_eq(err.statement, "copy t from stdin");
        ck_assert_int_eq(err.line, 2);
        err_release(&err);
    }
    struct rows *rows;
    ck_assert_int_eq(db_query(f.db, "copy t from stdin", NULL, 0, &rows, &err), -1);
    run(f.db, "copy t to stdout; select 1");
    assert_text(f.db, "select count(*) from t", "2");
    fixture_close(&f);
}
END_TEST

START_TEST(postgres_tells_a_lost_connection_from_a_failed_statement)
{
    for (int i = 0; i < 2; i++) {
        struct fixture f;
        fixture_open(&f, &engine_postgres);
        _cleanup_err_ struct err err = {0};
        struct rows *rows;
        static const char suicide[] = "select pg_terminate_backend(pg_backend_pid())";
        int rc = i ? db_query(f.db, suicide, NULL, 0, &rows, &err)
                   : db_run(f.db, suicide, DB_RUN_WHOLE, NULL, &err);
        ck_assert_int_eq(rc, -1);
        ck_assert_int_eq(err.code, ERR_CONNECTION);
        err_release(&err);
        /* and stays lost */
        fails(f.db, "select 1", 0, NULL, &err);
        ck_assert_int_eq(err.code, ERR_CONNECTION);
        err_release(&err);
        ck_assert_int_eq(db_query(f.db, "select 1", NULL, 0, &rows, &err), -1);
        ck_assert_int_eq(err.code, ERR_CONNECTION);
        ck_assert(!db_in_transaction(f.db));
        fixture_close(&f);
    }
}
END_TEST

START_TEST(postgres_reports_hint_and_context)
{
    struct fixture f;
    fixture_open(&f, &engine_postgres);
    _cleanup_err_ struct err err = {0};
    fails(f.db, "do $$ begin raise exception 'stop' using hint = 'go back', detail = 'why'; end $$",
          0, NULL, &err);
    ck_assert_str_eq(err.message, "stop");
    ck_assert_pstr_eq(err.hint, "go back");
    ck_assert_str_eq(err.sqlstate, "P0001");
    ck_assert_ptr_nonnull(strstr(err.detail, "why\nPL/pgSQL function inline_code_block"));
    fixture_close(&f);
}
END_TEST

START_TEST(postgres_readers_see_times_in_utc)
{
    struct fixture f;
    fixture_open(&f, &engine_postgres);
    _cleanup_free_ char *name = text(f.db, "select current_database()");
    _cleanup_free_ char *sql = xasprintf(
        "alter database %s set timezone = 'Asia/Tokyo'; alter database %s set datestyle = "
        "'German'; alter database %s set search_path = nowhere",
        name, name, name);
    run(f.db, sql);
    _cleanup_err_ struct err err = {0};
    _cleanup_db_ struct db *reader = NULL;
    ASSERT_OK(db_open(&engine_postgres, scratch_url(f.scratch), DB_OPEN_READONLY, &reader, &err),
              &err);
    assert_text(reader, "select timestamptz '2026-01-02 03:04:05+00'", "2026-01-02 03:04:05+00");
    assert_text(reader, "show search_path", "nowhere");
    assert_text(reader, "show application_name", "belay");
    db_close(TAKE_PTR(reader));
    fixture_close(&f);
}
END_TEST

START_TEST(postgres_url_parameters_reach_the_session)
{
    struct fixture f;
    fixture_open(&f, &engine_postgres);
    _cleanup_err_ struct err err = {0};
    _cleanup_db_ struct db *db = NULL;
    const char *rest = strstr(scratch_url(f.scratch), "://");
    _cleanup_free_ char *url = xasprintf(
        "postgresql+asyncpg%s&ssl=prefer&search_path=a,%%22b%%20c%%22&x-migrations-table=v"
        "&prepared_statement_cache_size=0&application_name=mine",
        rest);
    setenv("PGOPTIONS", "-c work_mem=7MB", 1);
    ASSERT_OK(db_open(&engine_postgres, url, DB_OPEN_SCRATCH, &db, &err), &err);
    unsetenv("PGOPTIONS");
    assert_text(db, "show search_path", "a,\"b c\"");
    assert_text(db, "show application_name", "mine");
    assert_text(db, "show work_mem", "7MB");
    assert_text(db, "show synchronous_commit", "off");
    db_close(TAKE_PTR(db));
    fixture_close(&f);
}
END_TEST

/* ---- servers that do not serve ---- */

/* A listening Unix socket in a folder of its own. */
struct listener {
    char dir[32];
    int fd;
};

static void listener_open(struct listener *l)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    strcpy(l->dir, "/tmp/belay-test-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(l->dir));
    snprintf(a.sun_path, sizeof(a.sun_path), "%s/.s.PGSQL.5432", l->dir);
    l->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(bind(l->fd, (struct sockaddr *)&a, sizeof(a)), 0);
    ck_assert_int_eq(listen(l->fd, 1), 0);
}

static void listener_close(struct listener *l)
{
    _cleanup_err_ struct err err = {0};
    close(l->fd);
    ASSERT_OK(tree_remove(l->dir, &err), &err);
}

static void refused(const char *url, struct err *err)
{
    struct db *db = NULL;
    ck_assert_int_eq(db_open(&engine_postgres, url, DB_OPEN_DEFAULT, &db, err), -1);
    ck_assert_int_eq(err->code, ERR_ENV);
    ck_assert_ptr_null(strstr(err->message, "s3cret"));
    ck_assert_ptr_nonnull(err->hint);
}

START_TEST(postgres_that_refuses_is_a_clear_error)
{
    struct listener l;
    listener_open(&l);
    _cleanup_free_ char *url = xasprintf("postgres://u:s3cret@/db?host=%s&port=5432", l.dir);
    _cleanup_free_ char *shown = xasprintf("cannot connect to postgres://u:***@/db?host=%s", l.dir);
    _cleanup_err_ struct err err = {0};
    close(l.fd);
    refused(url, &err);
    ck_assert_ptr_nonnull(strstr(err.message, shown));
    ck_assert_ptr_nonnull(strstr(err.message, "Connection refused"));
    listener_close(&l);
}
END_TEST

START_TEST(postgres_that_never_answers_is_given_up)
{
    struct listener l;
    listener_open(&l); /* the kernel accepts, nobody answers */
    _cleanup_free_ char *url =
        xasprintf("postgres://u:s3cret@/db?host=%s&port=5432&connect_timeout=2", l.dir);
    _cleanup_err_ struct err err = {0};
    refused(url, &err);
    ck_assert_ptr_nonnull(strstr(err.message, "timeout expired"));
    listener_close(&l);
}
END_TEST

/* Greets one client as PostgreSQL 11 does. */
static void *serve_old(void *listener)
{
    static const char greeting[] = "R\0\0\0\x08\0\0\0\0" /* authenticated */
                                   "S\0\0\0\x18server_version\0"
                                   "11.2\0"                          /* parameter */
                                   "K\0\0\0\x0c\0\0\0\x01\0\0\0\x01" /* key for cancelling */
                                   "Z\0\0\0\x05I";                   /* ready */
    struct listener *l = listener;
    char request[1024];
    int fd = accept(l->fd, NULL, NULL);
    if (fd >= 0 && read(fd, request, sizeof(request)) > 0 &&
        write(fd, greeting, sizeof(greeting) - 1) > 0 && read(fd, request, sizeof(request)) >= 0)
        close(fd);
    return NULL;
}

START_TEST(postgres_that_is_too_old_is_refused)
{
    struct listener l;
    pthread_t thread;
    listener_open(&l);
    ck_assert_int_eq(pthread_create(&thread, NULL, serve_old, &l), 0);
    _cleanup_free_ char *url = xasprintf("postgres://u:s3cret@/db?host=%s&port=5432", l.dir);
    _cleanup_err_ struct err err = {0};
    refused(url, &err);
    ck_assert_ptr_nonnull(strstr(err.message, "is PostgreSQL 11.2, which is too old"));
    pthread_join(thread, NULL);
    listener_close(&l);
}
END_TEST

/* ---- splitting ---- */

START_TEST(postgres_text_is_split_as_the_server_would)
{
    static const struct {
        const char *sql;
        bool parsed;
        const char *parts[4];
    } cases[] = {
        {"", true, {NULL}},
        {" ; ;-- x\n", true, {NULL}},
        {"select 1", true, {"select 1"}},
        {"select ';'; select $$;$$; select \"a;b\" from t -- ;",
         true,
         {"select ';'", "select $$;$$", "select \"a;b\" from t -- ;"}},
        {"create rule r as on insert to t do (select 1; select 2); select 3",
         true,
         {"create rule r as on insert to t do (select 1; select 2)", "select 3"}},
        {"/* a /* b */ ; */ select 1;", true, {"select 1"}},
        {"selekt 1; select 2", false, {"selekt 1", "select 2"}},
        {"select 1; select 'x", false, {"select 1; select 'x"}},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct statements s;
        size_t n = 0;
        pg_split(cases[i].sql, &s);
        ck_assert_int_eq(s.parsed, cases[i].parsed);
        for (; cases[i].parts[n]; n++) {
            ck_assert_uint_lt(n, s.n);
            _cleanup_free_ char *part = xstrndup(cases[i].sql + s.v[n].start, s.v[n].len);
            ck_assert_str_eq(part, cases[i].parts[n]);
        }
        ck_assert_uint_eq(s.n, n);
        statements_release(&s);
    }
}
END_TEST

#define ADD_FOR_EACH_ENGINE(suite, test)                                                           \
    do {                                                                                           \
        TCase *_tc = tcase_create(#test);                                                          \
        tcase_set_timeout(_tc, 0);                                                                 \
        tcase_add_loop_test(_tc, test, 0, 2);                                                      \
        suite_add_tcase((suite), _tc);                                                             \
    } while (0)

int main(void)
{
    Suite *s = suite_create("engine");
    ADD_FOR_EACH_ENGINE(s, a_script_runs_and_its_rows_are_read_back);
    ADD_FOR_EACH_ENGINE(s, text_without_a_statement_runs_nothing);
    ADD_FOR_EACH_ENGINE(s, an_error_names_statement_line_and_column);
    ADD_FOR_EACH_ENGINE(s, an_error_without_a_position_names_the_line_of_its_statement);
    ADD_FOR_EACH_ENGINE(s, statements_that_ran_before_the_failure_stay_when_each_runs_alone);
    ADD_FOR_EACH_ENGINE(s, an_open_transaction_shows_and_an_aborted_one_too);
    ADD_FOR_EACH_ENGINE(s, a_script_may_hold_transactions_of_its_own);
    ADD_FOR_EACH_ENGINE(s, values_are_bound_not_pasted);
    ADD_FOR_EACH_ENGINE(s, a_prepared_query_follows_what_it_reads);
    ADD_FOR_EACH_ENGINE(s, a_query_is_one_statement);
    ADD_FOR_EACH_ENGINE(s, any_name_survives_quoting);
    ADD_FOR_EACH_ENGINE(s, cancelling_stops_a_statement_that_runs_in_another_thread);
    ADD_FOR_EACH_ENGINE(s,
                        a_request_to_stop_that_finds_nothing_running_stops_the_next_statement_once);
    ADD_FOR_EACH_ENGINE(s, a_read_only_session_refuses_writes);
    ADD_FOR_EACH_ENGINE(s, a_database_that_does_not_exist_is_the_environments_fault);
    ADD_FOR_EACH_ENGINE(s, a_table_of_1600_columns_and_a_long_script_pass);
    SUITE_ADD(s, sqlite_refuses_what_is_no_database);
    SUITE_ADD(s, sqlite_says_that_a_database_is_locked);
    SUITE_ADD(s, sqlite_enforces_foreign_keys_only_when_asked);
    SUITE_ADD(s, postgres_quotes_exactly_the_names_that_the_server_quotes);
    SUITE_ADD(s, postgres_keeps_notices_and_prints_none);
    SUITE_ADD(s, postgres_rolls_a_whole_text_back);
    SUITE_ADD(s, postgres_runs_what_no_transaction_may_hold_statement_by_statement);
    SUITE_ADD(s, postgres_copy_without_data_is_an_error_and_no_hang);
    SUITE_ADD(s, postgres_tells_a_lost_connection_from_a_failed_statement);
    SUITE_ADD(s, postgres_reports_hint_and_context);
    SUITE_ADD(s, postgres_readers_see_times_in_utc);
    SUITE_ADD(s, postgres_url_parameters_reach_the_session);
    SUITE_ADD(s, postgres_that_refuses_is_a_clear_error);
    SUITE_ADD(s, postgres_that_never_answers_is_given_up);
    SUITE_ADD(s, postgres_that_is_too_old_is_refused);
    SUITE_ADD(s, postgres_text_is_split_as_the_server_would);
    return fixture_run(s);
}
