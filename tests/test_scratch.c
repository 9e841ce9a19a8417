/* Scratch databases: made, copied, proved, dropped, swept and kept, on every kind of pool. */
#include <glob.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness/base/file.h"
#include "harness/base/proc.h"
#include "harness/base/str.h"
#include "harness/engine/url.h"
#include "tests/belay_process.h"
#include "tests/fixture.h"
#include "tests/migration_folder.h"

/* ---- helpers ---- */

static void run(struct db *db, const char *sql)
{
    _cleanup_err_ struct err err = {0};
    ASSERT_OK(db_run(db, sql, DB_RUN_WHOLE, NULL, &err), &err);
}

static void assert_text(struct db *db, const char *sql, const char *expected)
{
    _cleanup_err_ struct err err = {0};
    _cleanup_free_ char *value = NULL;
    ASSERT_OK(db_query_text(db, sql, NULL, 0, &value, &err), &err);
    ck_assert_pstr_eq(value, expected);
}

static struct db *open_url(const struct engine *e, const char *url)
{
    _cleanup_err_ struct err err = {0};
    struct db *db;
    ASSERT_OK(db_open(e, url, DB_OPEN_DEFAULT, &db, &err), &err);
    return db;
}

static struct scratch *make(struct scratch_pool *pool)
{
    _cleanup_err_ struct err err = {0};
    struct scratch *s;
    ASSERT_OK(scratch_new(pool, &s, &err), &err);
    return s;
}

static struct scratch *copy(struct scratch *from)
{
    _cleanup_err_ struct err err = {0};
    struct scratch *s;
    ASSERT_OK(scratch_copy(from, &s, &err), &err);
    return s;
}

static struct scratch_pool *open_pool(const struct engine *e, const char *url, bool keep)
{
    _cleanup_err_ struct err err = {0};
    struct scratch_pool *pool;
    ASSERT_OK(
        scratch_pool_open(e, &(struct scratch_options){.url = url, .keep = keep}, &pool, &err),
        &err);
    return pool;
}

/* The fixture's server as somebody's: its database postgres, for a role (NULL: the superuser). */
static char *server_url(const char *role)
{
    _cleanup_err_ struct err err = {0};
    _cleanup_conninfo_ struct conninfo c = {0};
    struct scratch *s = make(fixture_pool(&engine_postgres));
    ASSERT_OK(conninfo_parse(scratch_url(s), &c, &err), &err);
    scratch_free(s);
    conninfo_set(&c, "dbname", "postgres");
    if (role)
        conninfo_set(&c, "user", role);
    return conninfo_url(&c);
}

static struct db *open_server(void)
{
    _cleanup_free_ char *url = server_url(NULL);
    return open_url(&engine_postgres, url);
}

static char *url_of_role(const char *name, const char *options)
{
    struct db *db = open_server();
    _cleanup_free_ char *sql = xasprintf("do $$ begin if not exists (select from pg_roles"
                                         " where rolname = '%s') then create role %s login %s;"
                                         " end if; end $$",
                                         name, name, options);
    run(db, sql);
    db_close(db);
    return server_url(name);
}

/* The database or file that s is, for looking whether it is there. */
static char *place_of(const struct scratch *s, const struct engine *e)
{
    _cleanup_err_ struct err err = {0};
    _cleanup_conninfo_ struct conninfo c = {0};
    char *path;
    if (e == &engine_sqlite) {
        ASSERT_OK(url_sqlite_path(scratch_url(s), &path, &err), &err);
        return path;
    }
    ASSERT_OK(conninfo_parse(scratch_url(s), &c, &err), &err);
    return xstrdup(conninfo_get(&c, "dbname"));
}

static bool database_exists(const char *name)
{
    _cleanup_err_ struct err err = {0};
    _cleanup_free_ char *found = NULL;
    struct db *db = open_server();
    ASSERT_OK(db_query_text(db, "select 'yes' from pg_database where datname = $1",
                            (const char *[]){name}, 1, &found, &err),
              &err);
    db_close(db);
    return found;
}

static bool is_there(const char *place, const struct engine *e)
{
    return e == &engine_sqlite ? file_exists(place) : database_exists(place);
}

/* Runs part in a child, which may change what belongs to the whole process; the child's exit code
 * is 0 when all went well. */
static void in_child(void (*part)(void))
{
    fflush(stdout);
    pid_t pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        part();
        fflush(stderr);
        _exit(0);
    }
    int status;
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_msg(status == 0, "the child ended with status %#x; see its output", status);
}

/* For such a child: Check's own assertions would return into the parent's test. */
#define CHILD_MUST(condition, text)                                                                \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: %s: %s\n", __FILE__, __LINE__, #condition,                     \
                    (text) ? (text) : "");                                                         \
            _exit(1);                                                                              \
        }                                                                                          \
    } while (0)

/* ---- both engines ---- */

START_TEST(a_copy_has_the_rows_and_a_life_of_its_own)
{
    const struct engine *e = engines[_i];
    struct fixture f;
    fixture_open(&f, e);
    run(f.db, "create table t (a text); insert into t values ('x')");
    db_close(f.db);
    struct scratch *b = copy(f.scratch);
    ck_assert_str_ne(scratch_url(f.scratch), scratch_url(b));
    _cleanup_free_ char *first = place_of(f.scratch, e), *second = place_of(b, e);
    struct db *db = open_url(e, scratch_url(b));
    assert_text(db, "select a from t", "x");
    run(db, "drop table t");
    f.db = open_url(e, scratch_url(f.scratch));
    assert_text(f.db, "select a from t", "x");
    db_close(db);
    ck_assert(is_there(first, e) && is_there(second, e));
    fixture_close(&f);
    ck_assert(!is_there(first, e) && is_there(second, e));
    scratch_free(b);
    ck_assert(!is_there(second, e));
}
END_TEST

START_TEST(a_new_database_is_empty)
{
    const struct engine *e = engines[_i];
    struct fixture f;
    fixture_open(&f, e);
    assert_text(f.db,
                e == &engine_sqlite ? "select count(*) from sqlite_schema"
                                    : "select count(*) from pg_class where oid >= 16384",
                "0");
    if (e == &engine_postgres)
        assert_text(f.db, "select datconnlimit from pg_database where datname = current_database()",
                    "-1");
    fixture_close(&f);
}
END_TEST

START_TEST(a_database_is_dropped_although_a_session_is_on_it)
{
    const struct engine *e = engines[_i];
    struct fixture f;
    fixture_open(&f, e);
    run(f.db, "begin; create table t (a text)");
    _cleanup_free_ char *place = place_of(f.scratch, e);
    scratch_free(f.scratch);
    ck_assert(!is_there(place, e));
    db_close(f.db);
}
END_TEST

START_TEST(proof_accepts_its_own_database_and_no_other)
{
    const struct engine *e = engines[_i];
    _cleanup_err_ struct err err = {0};
    struct fixture a, b;
    fixture_open(&a, e);
    fixture_open(&b, e);
    ASSERT_OK(scratch_prove(a.scratch, a.db, &err), &err);
    ck_assert_int_eq(scratch_prove(a.scratch, b.db, &err), -1);
    ck_assert_int_eq(err.code, ERR_ENV);
    ck_assert_ptr_nonnull(strstr(err.message, "on another database"));
    assert_text(a.db, scratch_proof(a.scratch).query, scratch_proof(a.scratch).answer);
    if (e == &engine_postgres) { /* what a revision may say of its database */
        run(a.db, "do $$ begin execute format('comment on database %I is $c$x$c$',"
                  " current_database()); end $$");
        ASSERT_OK(scratch_prove(a.scratch, a.db, &err), &err);
    }
    db_close(b.db);
    struct scratch *c = copy(b.scratch);
    struct db *db = open_url(e, scratch_url(c));
    ck_assert_int_eq(scratch_prove(b.scratch, db, &err), -1);
    ASSERT_OK(scratch_prove(c, db, &err), &err);
    db_close(db);
    scratch_free(c);
    scratch_free(b.scratch);
    fixture_close(&a);
}
END_TEST

static void *make_and_free(void *pool)
{
    for (int i = 0; i < 5; i++) {
        struct scratch *a = make(pool), *b = copy(a);
        scratch_free(a);
        scratch_free(b);
    }
    return NULL;
}

START_TEST(several_threads_share_a_pool)
{
    pthread_t threads[4];
    for (size_t i = 0; i < ARRAY_LEN(threads); i++)
        ck_assert_int_eq(
            pthread_create(&threads[i], NULL, make_and_free, fixture_pool(engines[_i])), 0);
    for (size_t i = 0; i < ARRAY_LEN(threads); i++)
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
}
END_TEST

START_TEST(two_pools_do_not_disturb_each_other)
{
    const struct engine *e = engines[_i];
    struct scratch_pool *a = open_pool(e, NULL, false);
    struct scratch *in_a = make(a);
    struct scratch_pool *b = open_pool(e, NULL, false);
    struct scratch *in_b = make(b);
    ck_assert(scratch_pool_is_private(a));
    ck_assert_str_ne(scratch_url(in_a), scratch_url(in_b));
    struct db *db = open_url(e, scratch_url(in_a));
    scratch_pool_close(b);
    run(db, "create table t (a text)");
    db_close(db);
    scratch_pool_close(a);
}
END_TEST

static void stop_kept(const char *url, const struct engine *e)
{
    /* the folder is what all kept things share; its guardian's end removes it */
    _cleanup_err_ struct err err = {0};
    _cleanup_conninfo_ struct conninfo c = {0};
    _cleanup_free_ char *inside = NULL;
    if (e == &engine_sqlite) {
        ASSERT_OK(url_sqlite_path(url, &inside, &err), &err);
    } else {
        ASSERT_OK(conninfo_parse(url, &c, &err), &err);
        inside = xstrdup(conninfo_get(&c, "host"));
    }
    _cleanup_free_ char *dir = path_dir(inside);
    struct belay_process b = {.pid = getpid()};
    ck_assert(belay_process_find(&b)); /* finds this process's last guardian */
    snprintf(b.dir, sizeof(b.dir), "%s", dir);
    kill(b.guardian, SIGTERM);
    ck_assert_int_eq(waitpid(b.guardian, NULL, 0), b.guardian);
    belay_process_left_nothing(&b);
}

START_TEST(a_kept_private_pool_stays_for_other_programs)
{
    const struct engine *e = engines[_i];
    struct scratch_pool *pool = open_pool(e, NULL, true);
    struct scratch *s = make(pool), *freed = make(pool);
    _cleanup_free_ char *url = xstrdup(scratch_url(s)), *gone = place_of(freed, e);
    struct db *db = open_url(e, url);
    run(db, "create table t (a text); insert into t values ('kept')");
    db_close(db);
    scratch_free(freed);
    scratch_pool_close(pool);
    scratch_pool_close(open_pool(e, NULL, false)); /* sweeps what it may */
    db = open_url(e, url);
    assert_text(db, "select a from t", "kept");
    db_close(db);
    if (e == &engine_postgres) {
        struct proc_result r = {0};
        _cleanup_err_ struct err err = {0};
        const char *argv[] = {"psql", "-XAtc", "select a from t", url, NULL};
        ASSERT_OK(proc_run(&(struct proc_options){.argv = argv}, &r, &err), &err);
        ck_assert_str_eq(str_get(&r.output), "kept\n");
        proc_result_release(&r);
    }
    stop_kept(url, e);
}
END_TEST

/* ---- PostgreSQL: copies ---- */

START_TEST(a_copy_carries_what_template_copies_leave_out)
{
    struct fixture f;
    fixture_open(&f, &engine_postgres);
    run(f.db, "create schema \"A,b\"; create role \"r \"\"1\" nologin; create role r2 nologin");
    run(f.db, "do $$ declare d text := quote_ident(current_database()); begin"
              " execute 'alter database '||d||' set search_path = \"A,b\", \"$user\", public';"
              " execute 'alter database '||d||' set \"App.Tenant\" = ''it''''s \\ 100%''';"
              " execute 'alter database '||d||' set default_transaction_read_only = on';"
              " execute 'alter database '||d||' set statement_timeout = ''5min''';"
              " execute 'alter role \"r \"\"1\" in database '||d||' set search_path = ''''';"
              " execute 'alter database '||d||' connection limit 7';"
              " execute 'grant create on database '||d||' to r2 with grant option';"
              " execute 'revoke connect on database '||d||' from public'; end $$");
    db_close(f.db);
    struct scratch *b = copy(f.scratch), *c = copy(b);
    static const char settings[] =
        "select string_agg(coalesce(r.rolname, '') || array_to_string(setconfig, ';'), E'\\n'"
        " order by r.rolname nulls first) from pg_db_role_setting s"
        " join pg_database d on d.oid = setdatabase left join pg_roles r on r.oid = setrole"
        " where datname = current_database()";
    static const char others[] =
        "select (select string_agg(coalesce(nullif(grantee, 0)::regrole::text, 'public') || ' ' ||"
        "  privilege_type || is_grantable, ', ' order by 1) from aclexplode(datacl)"
        "  where grantee <> datdba) || ' ' || datconnlimit"
        " from pg_database where datname = current_database()";
    struct scratch *const all[] = {f.scratch, b, c};
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        struct db *db = open_url(&engine_postgres, scratch_url(all[i]));
        assert_text(db, settings,
                    "search_path=\"A,b\", \"$user\", public;App.Tenant=it's \\ 100%;"
                    "default_transaction_read_only=on;statement_timeout=5min\n"
                    "r \"1search_path=\"\"");
        assert_text(db, others, "public TEMPORARYfalse, r2 CREATEtrue 7");
        assert_text(db, "select array_to_string(current_schemas(false), '|')", "A,b|public");
        db_close(db);
    }
    /* and the pool's own session has none of it */
    struct scratch *fresh = make(fixture_pool(&engine_postgres));
    struct db *db = open_url(&engine_postgres, scratch_url(fresh));
    run(db, "create table t (a text)");
    db_close(db);
    scratch_free(fresh);
    scratch_free(c);
    scratch_free(b);
    scratch_free(f.scratch);
    db = open_server();
    run(db, "drop role \"r \"\"1\"; drop role r2");
    db_close(db);
}
END_TEST

START_TEST(a_database_in_use_is_not_copied)
{
    _cleanup_err_ struct err err = {0};
    struct fixture f;
    struct scratch *b;
    fixture_open(&f, &engine_postgres);
    ck_assert_int_eq(scratch_copy(f.scratch, &b, &err), -1);
    ck_assert_int_eq(err.code, ERR_ENV);
    ck_assert_ptr_nonnull(strstr(err.message, "cannot create a scratch database"));
    ck_assert_str_eq(err.sqlstate, "55006");
    fixture_close(&f);
}
END_TEST

/* ---- PostgreSQL: somebody's server ---- */

START_TEST(a_role_that_may_create_databases_is_enough)
{
    _cleanup_free_ char *url = url_of_role("only_createdb", "createdb nosuperuser");
    struct scratch_pool *pool = open_pool(&engine_postgres, url, false);
    ck_assert(!scratch_pool_is_private(pool));
    struct scratch *a = make(pool), *b = copy(a), *left = copy(b);
    _cleanup_free_ char *left_name = place_of(left, &engine_postgres);
    struct db *db = open_url(&engine_postgres, scratch_url(b));
    assert_text(db, "select current_user", "only_createdb");
    run(db, "create table t (a text)");
    scratch_free(b); /* with our session on it */
    db_close(db);
    scratch_free(a);
    ck_assert(database_exists(left_name));
    scratch_pool_close(pool);
    ck_assert(!database_exists(left_name));
}
END_TEST

START_TEST(a_role_that_may_not_create_databases_is_one_clear_error)
{
    _cleanup_err_ struct err err = {0};
    _cleanup_free_ char *url = url_of_role("no_createdb", "nocreatedb");
    struct scratch_pool *pool;
    ck_assert_int_eq(
        scratch_pool_open(&engine_postgres, &(struct scratch_options){.url = url}, &pool, &err),
        -1);
    ck_assert_int_eq(err.code, ERR_ENV);
    ck_assert_str_eq(err.message,
                     "role \"no_createdb\" of the scratch server may not create databases");
    ck_assert_ptr_nonnull(strstr(err.hint, "ALTER ROLE \"no_createdb\" CREATEDB"));
}
END_TEST

START_TEST(a_scratch_server_is_for_postgres_only)
{
    _cleanup_err_ struct err err = {0};
    struct scratch_pool *pool;
    ck_assert_int_eq(scratch_pool_open(&engine_sqlite, &(struct scratch_options){.url = "sqlite:x"},
                                       &pool, &err),
                     -1);
    ck_assert_int_eq(err.code, ERR_USAGE);
    ck_assert_ptr_nonnull(err.hint);
}
END_TEST

static void abandon(struct scratch_pool *pool)
{
    (void)pool; /* the child ends without closing it: its session dies, the database stays */
    _exit(0);
}

START_TEST(a_sweep_drops_what_the_dead_left_and_nothing_else)
{
    _cleanup_free_ char *url = url_of_role("only_createdb", "createdb nosuperuser");
    int fds[2];
    char dead[64] = "";
    ck_assert_int_eq(pipe(fds), 0);
    pid_t pid = fork();
    if (pid == 0) {
        struct scratch_pool *pool = open_pool(&engine_postgres, url, false);
        _cleanup_free_ char *name = place_of(make(pool), &engine_postgres);
        if (write(fds[1], name, strlen(name)) < 0)
            _exit(1);
        abandon(pool);
    }
    ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
    ck_assert_int_gt(read(fds[0], dead, sizeof(dead) - 1), 0);
    ck_assert(database_exists(dead));

    struct scratch_pool *live = open_pool(&engine_postgres, url, false);
    struct scratch *in_use = make(live);
    _cleanup_free_ char *in_use_name = place_of(in_use, &engine_postgres);

    /* names, marks and owners that are almost ours; made by a session that holds no lock */
    static const struct {
        const char *name, *comment, *options;
        bool swept;
    } others[] = {
        {"belay_00000000000000a1", NULL, "owner only_createdb", false},
        {"belay_00000000000000a2", "belay scratch 00000000000000a2 by other", "owner only_createdb",
         false},
        {"belay_00000000000000a3", "belay scratch 00000000000000a1 by postgres",
         "owner only_createdb", false},
        {"belay_00000000000000a4", "belay kept 00000000000000a4", "owner only_createdb", false},
        {"belay_00000000000000a5", "belay scratch 00000000000000a5 by postgres", "", false},
        {"belay_00000000000000A6", "belay scratch 00000000000000A6 by postgres",
         "owner only_createdb", false},
        {"my_00000000000000a7", "belay scratch 00000000000000a7 by postgres", "owner only_createdb",
         false},
        {"belay_00000000000000a8", "belay scratch 00000000000000a8 by postgres",
         "owner only_createdb", true},
        {"belay_00000000000000a9", NULL, "owner only_createdb connection limit 5", false},
    };
    struct db *db = open_server();
    for (size_t i = 0; i < ARRAY_LEN(others); i++) {
        _cleanup_free_ char *create =
            xasprintf("create database \"%s\" %s", others[i].name, others[i].options);
        _cleanup_free_ char *comment =
            xasprintf("comment on database \"%s\" is '%s'", others[i].name, others[i].comment);
        run(db, create);
        if (others[i].comment)
            run(db, comment);
    }
    scratch_pool_close(open_pool(&engine_postgres, url, false));

    ck_assert(!database_exists(dead));
    ck_assert(database_exists(in_use_name));
    for (size_t i = 0; i < ARRAY_LEN(others); i++) {
        ck_assert_msg(database_exists(others[i].name) == !others[i].swept, "%s", others[i].name);
        _cleanup_free_ char *drop = xasprintf("drop database if exists \"%s\"", others[i].name);
        run(db, drop);
    }
    db_close(db);
    scratch_pool_close(live);
}
END_TEST

START_TEST(a_database_that_was_never_commented_is_swept)
{
    /* as after a death between CREATE DATABASE and the comment: the limit is the mark */
    _cleanup_free_ char *url = server_url(NULL);
    struct db *db = open_server();
    run(db, "create database belay_00000000000000b1");
    run(db, "do $$ begin execute 'alter database belay_00000000000000b1 connection limit ' ||"
            " (1650000000 + (select oid from pg_database where datname = 'postgres')::int8"
            " % 10000000); end $$");
    /* somebody still makes it */
    run(db, "select pg_advisory_lock(x'00000000000000b1'::bigint)");
    scratch_pool_close(open_pool(&engine_postgres, url, false));
    ck_assert(database_exists("belay_00000000000000b1"));
    run(db, "select pg_advisory_unlock_all()");
    scratch_pool_close(open_pool(&engine_postgres, url, false));
    ck_assert(!database_exists("belay_00000000000000b1"));
    db_close(db);
}
END_TEST

START_TEST(a_kept_database_is_never_swept)
{
    _cleanup_free_ char *url = url_of_role("only_createdb", "createdb nosuperuser");
    struct scratch_pool *pool = open_pool(&engine_postgres, url, true);
    _cleanup_free_ char *name = place_of(make(pool), &engine_postgres);
    scratch_pool_close(pool);
    scratch_pool_close(open_pool(&engine_postgres, url, false));
    ck_assert(database_exists(name));
    struct db *db = open_server();
    _cleanup_free_ char *drop = xasprintf("drop database \"%s\"", name);
    run(db, drop);
    db_close(db);
}
END_TEST

START_TEST(a_lost_session_leaves_its_database_to_the_next_sweep)
{
    _cleanup_err_ struct err err = {0};
    _cleanup_free_ char *url = url_of_role("only_createdb", "createdb nosuperuser");
    struct scratch_pool *pool = open_pool(&engine_postgres, url, false);
    struct scratch *a = make(pool), *b = make(pool), *c = NULL;
    _cleanup_free_ char *name = place_of(a, &engine_postgres);
    struct db *db = open_server();
    run(db, "select pg_terminate_backend(pid, 5000) from pg_stat_activity"
            " where usename = 'only_createdb'");
    ck_assert_int_eq(scratch_new(pool, &c, &err), -1);
    ck_assert_int_eq(err.code, ERR_CONNECTION);
    ck_assert_ptr_null(c);
    scratch_free(a);
    (void)b; /* left to the pool */
    scratch_pool_close(pool);
    ck_assert(database_exists(name));
    scratch_pool_close(open_pool(&engine_postgres, url, false));
    ck_assert(!database_exists(name));
    db_close(db);
}
END_TEST

/* ---- the private server ---- */

/* A program folder whose postgres says a version. */
static char *fake_programs(const char *dir, const char *name, const char *says)
{
    _cleanup_free_ char *postgres = xasprintf("%s/postgres", name);
    _cleanup_free_ char *initdb = xasprintf("%s/initdb", name);
    _cleanup_free_ char *script = xasprintf("#!/bin/sh\necho '%s'\n", says);
    folder_write(dir, postgres, script, strlen(script));
    folder_write(dir, initdb, script, strlen(script));
    _cleanup_free_ char *a = path_join(dir, postgres), *b = path_join(dir, initdb);
    ck_assert_int_eq(chmod(a, 0755), 0);
    ck_assert_int_eq(chmod(b, 0755), 0);
    return path_join(dir, name);
}

START_TEST(the_newest_server_programs_are_chosen)
{
    _cleanup_err_ struct err err = {0};
    _cleanup_folder_ char *dir = folder_new();
    _cleanup_free_ char *old = fake_programs(dir, "old", "postgres (PostgreSQL) 9.6.24");
    _cleanup_free_ char *first = fake_programs(dir, "first", "postgres (PostgreSQL) 98.2 (Fake 1)");
    _cleanup_free_ char *best = fake_programs(dir, "best", "postgres (PostgreSQL) 98.10");
    _cleanup_free_ char *broken = fake_programs(dir, "broken", "Segmentation fault");
    _cleanup_free_ char *alone = fake_programs(dir, "alone", "postgres (PostgreSQL) 99.1");
    _cleanup_free_ char *initdb = path_join(alone, "initdb");
    ck_assert_int_eq(unlink(initdb), 0);
    /* as distributions do it: links in one folder, the programs in another */
    folder_write(dir, "links/x", "", 0);
    _cleanup_free_ char *target = path_join(best, "initdb");
    _cleanup_free_ char *link = path_join(dir, "links/initdb");
    ck_assert_int_eq(symlink(target, link), 0);
    _cleanup_free_ char *path =
        xasprintf("%s:%s:/nonexistent::%s/links:%s:%s", old, first, dir, broken, alone);
    setenv("PATH", path, 1);
    _cleanup_free_ char *bindir = NULL, *version = NULL;
    ASSERT_OK(postgres_find_server(&bindir, &version, &err), &err);
    ck_assert_str_eq(bindir, best);
    ck_assert_str_eq(version, "98.10");
}
END_TEST

START_TEST(a_beta_counts_as_its_version)
{
    _cleanup_err_ struct err err = {0};
    _cleanup_folder_ char *dir = folder_new();
    _cleanup_free_ char *beta = fake_programs(dir, "beta", "postgres (PostgreSQL) 98beta1");
    setenv("PATH", beta, 1);
    _cleanup_free_ char *bindir = NULL, *version = NULL;
    ASSERT_OK(postgres_find_server(&bindir, &version, &err), &err);
    ck_assert_str_eq(version, "98beta1");
}
END_TEST

static void no_path_part(void)
{
    _cleanup_err_ struct err err = {0};
    setenv("PATH", "/nonexistent", 1);
    struct scratch_pool *pool;
    int r = scratch_pool_open(&engine_postgres, &(struct scratch_options){0}, &pool, &err);
    if (access("/usr/lib/postgresql", X_OK) == 0) {
        CHILD_MUST(r == 0, err.message);
        scratch_pool_close(pool);
    } else {
        CHILD_MUST(r < 0 && err.code == ERR_ENV && err.hint, err.message);
    }
}

START_TEST(without_a_path_the_packaged_server_is_found)
{
    in_child(no_path_part);
}
END_TEST

static void no_server_part(void)
{
    /* hides the packages' folder; what remains is PATH */
    CHILD_MUST(unshare(CLONE_NEWNS) == 0 &&
                   mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0,
               "unshare");
    CHILD_MUST(mount("none", "/usr/lib/postgresql", "tmpfs", 0, NULL) == 0, "mount");
    setenv("PATH", "/nonexistent", 1);
    _cleanup_err_ struct err err = {0};
    struct scratch_pool *pool;
    CHILD_MUST(scratch_pool_open(&engine_postgres, &(struct scratch_options){0}, &pool, &err) < 0,
               "it opens");
    CHILD_MUST(err.code == ERR_ENV && strstr(err.message, "no PostgreSQL server programs found"),
               err.message);
    CHILD_MUST(strstr(err.hint, "--scratch-url"), err.hint);
}

START_TEST(without_server_programs_there_is_one_clear_error)
{
    in_child(no_server_part);
}
END_TEST

START_TEST(a_host_address_in_the_environment_is_no_way_out)
{
    _cleanup_err_ struct err err = {0};
    setenv("PGHOSTADDR", "127.0.0.1", 1);
    struct scratch_pool *pool;
    ck_assert_int_eq(scratch_pool_open(&engine_postgres, &(struct scratch_options){0}, &pool, &err),
                     -1);
    ck_assert_int_eq(err.code, ERR_ENV);
    ck_assert_ptr_nonnull(strstr(err.message, "PGHOSTADDR"));
}
END_TEST

static void nobody_part(void)
{
    become_nobody();
    for (int i = 0; i < 2; i++) {
        if (i == 0)
            unsetenv("HOME");
        else
            setenv("HOME", "/proc", 1);
        unsetenv("XDG_CACHE_HOME");
        for (size_t k = 0; engines[k]; k++) {
            _cleanup_err_ struct err err = {0};
            struct scratch_pool *pool;
            struct scratch *s;
            struct db *db;
            CHILD_MUST(scratch_pool_open(engines[k], &(struct scratch_options){0}, &pool, &err) ==
                           0,
                       err.message);
            CHILD_MUST(scratch_new(pool, &s, &err) == 0, err.message);
            CHILD_MUST(db_open(engines[k], scratch_url(s), DB_OPEN_SCRATCH, &db, &err) == 0,
                       err.message);
            CHILD_MUST(db_run(db, "create table t (a text)", 0, NULL, &err) == 0, err.message);
            db_close(db);
            scratch_pool_close(pool);
        }
    }
}

START_TEST(an_unprivileged_user_without_a_home_has_scratch_databases)
{
    in_child(nobody_part);
}
END_TEST

/* A belay that was killed while it filled the cache leaves "initdb-VERSION-USER.PID" there. */
static void cache_part(void)
{
    char cache[] = "/tmp/belay-test-cache-XXXXXX";
    _cleanup_err_ struct err err = {0};
    CHILD_MUST(mkdtemp(cache), "mkdtemp");
    setenv("XDG_CACHE_HOME", cache, 1);
    _cleanup_free_ char *pattern = xasprintf("%s/belay/initdb-*", cache);
    _cleanup_free_ char *live = NULL, *dead = NULL;
    for (int i = 0; i < 2; i++) {
        struct scratch_pool *pool;
        CHILD_MUST(scratch_pool_open(&engine_postgres, &(struct scratch_options){0}, &pool, &err) ==
                       0,
                   err.message);
        scratch_pool_close(pool);
        glob_t found = {0};
        CHILD_MUST(glob(pattern, 0, NULL, &found) == 0, "no cache");
        if (i == 0) {
            pid_t gone = fork();
            if (gone == 0)
                _exit(0);
            waitpid(gone, NULL, 0);
            CHILD_MUST(found.gl_pathc == 1, "one cache");
            dead = xasprintf("%s.%d", found.gl_pathv[0], (int)gone);
            live = xasprintf("%s.%d", found.gl_pathv[0], (int)getppid());
            CHILD_MUST(rename(found.gl_pathv[0], dead) == 0 && mkdir(live, 0700) == 0, "rename");
        } else {
            CHILD_MUST(found.gl_pathc == 2, "the cache and what a live belay is filling");
            CHILD_MUST(dir_exists(live) && !dir_exists(dead), "the dead one's stayed");
        }
        globfree(&found);
    }
    tree_remove(cache, &err);
}

START_TEST(what_a_killed_belay_left_in_the_cache_is_removed)
{
    in_child(cache_part);
}
END_TEST

/* ---- full disks: file systems of a few megabytes that only the child sees ---- */

static char small[] = "/tmp/belay-test-small-XXXXXX";

static void mount_small(const char *where, const char *size)
{
    _cleanup_free_ char *options = xasprintf("size=%s,mode=1777", size);
    CHILD_MUST(mount("none", where, "tmpfs", 0, options) == 0, where);
}

static void own_mounts(void)
{
    CHILD_MUST(unshare(CLONE_NEWNS) == 0 &&
                   mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0,
               "unshare");
}

static void elsewhere_part(void)
{
    own_mounts();
    mount_small("/dev/shm", "32m");
    mount_small(small, "1g");
    setenv("TMPDIR", small, 1);
    for (size_t k = 0; engines[k]; k++) {
        _cleanup_err_ struct err err = {0};
        struct scratch_pool *pool;
        struct scratch *s;
        CHILD_MUST(scratch_pool_open(engines[k], &(struct scratch_options){0}, &pool, &err) == 0,
                   err.message);
        CHILD_MUST(strstr(scratch_pool_describe(pool), small), scratch_pool_describe(pool));
        CHILD_MUST(scratch_new(pool, &s, &err) == 0, err.message);
        scratch_pool_close(pool);
    }
}

START_TEST(without_room_in_memory_the_temporary_folder_is_used)
{
    in_child(elsewhere_part);
}
END_TEST

/* /tmp is the last resort, so it is taken however small it is. */
static void full(const struct engine *e, const char *size, const char *fill)
{
    own_mounts();
    mount_small("/dev/shm", "32m");
    mount_small("/tmp", size);
    unsetenv("TMPDIR");
    setenv("XDG_CACHE_HOME", "/tmp", 1);
    _cleanup_err_ struct err err = {0};
    struct scratch_pool *pool;
    int r = scratch_pool_open(e, &(struct scratch_options){0}, &pool, &err);
    if (fill) {
        struct scratch *s;
        struct db *db;
        CHILD_MUST(r == 0, err.message);
        CHILD_MUST(scratch_new(pool, &s, &err) == 0, err.message);
        CHILD_MUST(db_open(e, scratch_url(s), DB_OPEN_SCRATCH, &db, &err) == 0, err.message);
        r = db_run(db, fill, 0, NULL, &err);
        db_close(db);
        scratch_pool_close(pool);
    }
    CHILD_MUST(r < 0, "it has room");
    CHILD_MUST(err.code == ERR_ENV, err.message);
    CHILD_MUST(err.hint && (strstr(err.hint, "disk is full") || strstr(err.hint, "disk space")),
               err.message);
    CHILD_MUST(system("test -z \"$(ls -d /tmp/belay.* 2>/dev/null)\"") == 0, "a folder is left");
}

static void full_sqlite(void)
{
    full(&engine_sqlite, "1m",
         "create table t as with recursive n(i) as (select 1 union all select i + 1 from n"
         " limit 100000) select i, randomblob(100) from n");
}

static void full_postgres(void)
{
    full(&engine_postgres, "200m",
         "create table t as select i, repeat(md5(i::text), 4) from generate_series(1, 9000000) i");
}

static void full_at_start(void)
{
    full(&engine_postgres, "8m", NULL);
}

START_TEST(a_full_disk_is_the_environments_fault)
{
    static void (*const parts[])(void) = {full_sqlite, full_postgres, full_at_start};
    in_child(parts[_i]);
}
END_TEST

static void try_mounts(void)
{
    if (unshare(CLONE_NEWNS) < 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
        _exit(1);
    _exit(0);
}

/* A container may forbid mounts even to root. */
static bool may_mount(void)
{
    pid_t pid = fork();
    int status = 1;
    if (pid == 0)
        try_mounts();
    return waitpid(pid, &status, 0) == pid && status == 0;
}

int main(void)
{
    Suite *s = suite_create("scratch");
    SUITE_ADD_LOOP(s, a_copy_has_the_rows_and_a_life_of_its_own, 2);
    SUITE_ADD_LOOP(s, a_new_database_is_empty, 2);
    SUITE_ADD_LOOP(s, a_database_is_dropped_although_a_session_is_on_it, 2);
    SUITE_ADD_LOOP(s, proof_accepts_its_own_database_and_no_other, 2);
    SUITE_ADD_LOOP(s, several_threads_share_a_pool, 2);
    SUITE_ADD_LOOP(s, two_pools_do_not_disturb_each_other, 2);
    SUITE_ADD_LOOP(s, a_kept_private_pool_stays_for_other_programs, 2);
    SUITE_ADD(s, a_copy_carries_what_template_copies_leave_out);
    SUITE_ADD(s, a_database_in_use_is_not_copied);
    SUITE_ADD(s, a_role_that_may_create_databases_is_enough);
    SUITE_ADD(s, a_role_that_may_not_create_databases_is_one_clear_error);
    SUITE_ADD(s, a_scratch_server_is_for_postgres_only);
    SUITE_ADD(s, a_sweep_drops_what_the_dead_left_and_nothing_else);
    SUITE_ADD(s, a_database_that_was_never_commented_is_swept);
    SUITE_ADD(s, a_kept_database_is_never_swept);
    SUITE_ADD(s, a_lost_session_leaves_its_database_to_the_next_sweep);
    SUITE_ADD(s, what_a_killed_belay_left_in_the_cache_is_removed);
    SUITE_ADD(s, the_newest_server_programs_are_chosen);
    SUITE_ADD(s, a_beta_counts_as_its_version);
    SUITE_ADD(s, without_a_path_the_packaged_server_is_found);
    SUITE_ADD(s, a_host_address_in_the_environment_is_no_way_out);
    SUITE_ADD(s, an_unprivileged_user_without_a_home_has_scratch_databases);
    bool mounts = may_mount() && mkdtemp(small);
    if (mounts) {
        if (access("/usr/lib/postgresql", X_OK) == 0)
            SUITE_ADD(s, without_server_programs_there_is_one_clear_error);
        SUITE_ADD(s, without_room_in_memory_the_temporary_folder_is_used);
        SUITE_ADD_LOOP(s, a_full_disk_is_the_environments_fault, 3);
    } else {
        printf("# tests of full disks are left out: mounting is not permitted here\n");
    }
    int rc = fixture_run(s);
    if (mounts)
        rmdir(small);
    return rc;
}
