/*
 * Scratch databases on somebody's server (--scratch-url): a private server plays that server.
 */
#include "tests/fixture.h"

#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "harness/base/str.h"
#include "harness/engine/url.h"

static void run(struct db *db, const char *sql)
{
    _cleanup_err_ struct err err = {0};
    ASSERT_OK(db_run(db, sql, DB_RUN_STATEMENTS, NULL, &err), &err);
}

static char *text(struct db *db, const char *sql)
{
    _cleanup_err_ struct err err = {0};
    char *value = NULL;
    ASSERT_OK(db_query_text(db, sql, NULL, 0, &value, &err), &err);
    return value;
}

/* Polls a query that gives "t" in the end. */
static void wait_until(struct db *db, const char *sql)
{
    for (;;) {
        _cleanup_free_ char *value = text(db, sql);
        if (str_eq(value, "t"))
            return;
        nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
    }
}

/* The URL of one scratch database, for a role or another database of its server. */
static char *server_url(const struct fixture *f, const char *keyword, const char *value)
{
    _cleanup_err_ struct err err = {0};
    _cleanup_conninfo_ struct conninfo c = {0};
    ASSERT_OK(conninfo_parse(scratch_url(f->scratch), &c, &err), &err);
    conninfo_set(&c, keyword, value);
    return conninfo_url(&c);
}

static struct scratch_pool *open_pool(const char *url)
{
    _cleanup_err_ struct err err = {0};
    struct scratch_pool *pool;
    ASSERT_OK(
        scratch_pool_open(&engine_postgres, &(struct scratch_options){.url = url}, &pool, &err),
        &err);
    return pool;
}

static const char count_sql[] =
    "select count(*) from pg_database where datname ~ '^belay_' and datname <> current_database()";

START_TEST(a_role_that_may_create_databases_is_enough)
{
    struct fixture f;
    fixture_open(&f, &engine_postgres);
    _cleanup_err_ struct err err = {0};
    run(f.db, "drop role if exists maker; create role maker login createdb");
    _cleanup_free_ char *url = server_url(&f, "user", "maker");
    struct scratch_pool *pool = open_pool(url);
    ck_assert(!scratch_pool_is_private(pool));
    struct scratch *s, *copy;
    struct db *db;
    ASSERT_OK(scratch_new(pool, &s, &err), &err);
    ASSERT_OK(db_open(&engine_postgres, scratch_url(s), DB_OPEN_SCRATCH, &db, &err), &err);
    ASSERT_OK(scratch_prove(s, db, &err), &err);
    run(db, "create table t (a int)");
    db_close(db);
    ASSERT_OK(scratch_copy(s, &copy, &err), &err);
    ASSERT_OK(db_open(&engine_postgres, scratch_url(copy), DB_OPEN_SCRATCH, &db, &err), &err);
    ASSERT_OK(scratch_prove(copy, db, &err), &err);
    ck_assert_int_eq(scratch_prove(s, db, &err), -1);
    ck_assert_int_eq(err.code, ERR_ENV);
    run(db, "select * from t");
    db_close(db);
    scratch_free(s);
    scratch_free(copy);
    scratch_pool_close(pool);
    _cleanup_free_ char *left = text(f.db, count_sql);
    ck_assert_str_eq(left, "0");
    run(f.db, "drop role maker");
    fixture_close(&f);
}
END_TEST

START_TEST(a_role_that_may_not_is_told_what_it_needs)
{
    struct fixture f;
    fixture_open(&f, &engine_postgres);
    _cleanup_err_ struct err err = {0};
    run(f.db, "drop role if exists \"no \"\"body\"; create role \"no \"\"body\" login");
    _cleanup_free_ char *url = server_url(&f, "user", "no \"body");
    struct scratch_pool *pool;
    ck_assert_int_eq(
        scratch_pool_open(&engine_postgres, &(struct scratch_options){.url = url}, &pool, &err),
        -1);
    ck_assert_int_eq(err.code, ERR_ENV);
    ck_assert_str_eq(err.message,
                     "role \"no \"body\" of the scratch server may not create databases");
    ck_assert_ptr_nonnull(strstr(err.hint, "CREATEDB"));
    run(f.db, "drop role \"no \"\"body\"");
    fixture_close(&f);
}
END_TEST

START_TEST(a_copy_has_everything_that_belongs_to_the_database)
{
    static const char *const looks[] = {
        "select string_agg(o, E'\\n' order by coalesce(r.rolname, ''), o) from pg_db_role_setting s"
        " left join pg_roles r on r.oid = s.setrole, unnest(setconfig) o"
        " where setdatabase = (select oid from pg_database where datname = current_database())",
        "select datconnlimit || ' ' || pg_get_userbyid(datdba) || ' ' ||"
        " (select string_agg(a::text, ' ' order by a::text) from unnest(datacl) a)"
        " from pg_database where datname = current_database()",
        "select shobj_description(oid, 'pg_database') from pg_database"
        " where datname = current_database()",
    };
    struct fixture f;
    fixture_open(&f, &engine_postgres);
    _cleanup_err_ struct err err = {0};
    _cleanup_free_ char *name = text(f.db, "select current_database()");
    _cleanup_free_ char *sql = xasprintf(
        "drop role if exists guest; create role guest;"
        "alter database %1$s set search_path = \"$user\", 'a b', \"x\"\"y\";"
        "alter database %1$s set temp_tablespaces = '';"
        "alter database %1$s set app.greeting = 'it''s, \"so\"';"
        "alter database %1$s set default_transaction_read_only = on;"
        "alter database %1$s set statement_timeout = '10min';"
        "alter role guest in database %1$s set work_mem = '7MB';"
        "revoke connect on database %1$s from public; grant create on database %1$s to guest with "
        "grant option;"
        "alter database %1$s connection limit 17; comment on database %1$s is 'it''s mine';"
        "alter database %1$s owner to guest",
        name);
    run(f.db, sql);
    db_close(TAKE_PTR(f.db));
    struct scratch *copy;
    ASSERT_OK(scratch_copy(f.scratch, &copy, &err), &err);
    struct db *a, *b;
    ASSERT_OK(db_open(&engine_postgres, scratch_url(f.scratch), DB_OPEN_READONLY, &a, &err), &err);
    ASSERT_OK(db_open(&engine_postgres, scratch_url(copy), DB_OPEN_READONLY, &b, &err), &err);
    for (size_t i = 0; i < ARRAY_LEN(looks); i++) {
        _cleanup_free_ char *original = text(a, looks[i]), *copied = text(b, looks[i]);
        ck_assert_ptr_nonnull(original);
        ck_assert_pstr_eq(copied, original);
    }
    db_close(a);
    db_close(b);
    scratch_free(copy);
    fixture_close(&f);
}
END_TEST

/* A session on template1 keeps CREATE DATABASE waiting inside the server: there belay is killed. */
START_TEST(a_database_whose_maker_was_killed_meanwhile_is_swept)
{
    struct fixture f;
    fixture_open(&f, &engine_postgres);
    _cleanup_err_ struct err err = {0};
    run(f.db, "drop role if exists victim; create role victim login createdb");
    _cleanup_free_ char *template_url = server_url(&f, "dbname", "template1");
    _cleanup_free_ char *url = server_url(&f, "user", "victim");
    struct db *blocker;
    ASSERT_OK(db_open(&engine_postgres, template_url, DB_OPEN_DEFAULT, &blocker, &err), &err);
    pid_t child = fork();
    if (child == 0) {
        struct scratch_pool *pool;
        struct scratch *s;
        if (scratch_pool_open(&engine_postgres, &(struct scratch_options){.url = url}, &pool,
                              &err) == 0)
            scratch_new(pool, &s, &err);
        _exit(1);
    }
    wait_until(f.db, "select exists (select from pg_stat_activity where usename = 'victim'"
                     " and state = 'active' and query like 'create database%')");
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    db_close(blocker);
    wait_until(f.db, "select not exists (select from pg_stat_activity where usename = 'victim')");
    static const char count[] =
        "select count(*) from pg_database where pg_get_userbyid(datdba) = 'victim'";
    _cleanup_free_ char *made = text(f.db, count);
    ck_assert_str_eq(made, "1");
    scratch_pool_close(open_pool(url));
    _cleanup_free_ char *left = text(f.db, count);
    ck_assert_str_eq(left, "0");
    run(f.db, "drop role victim");
    fixture_close(&f);
}
END_TEST

START_TEST(a_sweep_leaves_what_is_alive_kept_or_not_marked)
{
    struct fixture f;
    fixture_open(&f, &engine_postgres);
    _cleanup_err_ struct err err = {0};
    struct scratch *s;
    run(f.db, "create database belay_0123456789abcdef; create database belay_fedcba9876543210;"
              "comment on database belay_fedcba9876543210 is 'belay kept 0123456789abcdef'");
    struct scratch_pool *pool = open_pool(scratch_url(f.scratch));
    ASSERT_OK(scratch_new(pool, &s, &err), &err);
    scratch_pool_close(open_pool(scratch_url(f.scratch)));
    _cleanup_free_ char *left = text(f.db, count_sql);
    ck_assert_str_eq(left, "3");
    scratch_pool_close(pool);
    run(f.db, "drop database belay_0123456789abcdef; drop database belay_fedcba9876543210");
    fixture_close(&f);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("scratch_server");
    SUITE_ADD(s, a_role_that_may_create_databases_is_enough);
    SUITE_ADD(s, a_role_that_may_not_is_told_what_it_needs);
    SUITE_ADD(s, a_copy_has_everything_that_belongs_to_the_database);
    SUITE_ADD(s, a_database_whose_maker_was_killed_meanwhile_is_swept);
    SUITE_ADD(s, a_sweep_leaves_what_is_alive_kept_or_not_marked);
    return fixture_run(s);
}
