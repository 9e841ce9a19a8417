/* Scratch copies of live databases and of bundles. */
#include <pthread.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "backup/copy.h"
#include "harness/base/file.h"
#include "harness/engine/url.h"
#include "harness/schema/schema.h"
#include "tests/bundle_fixture.h"
#include "tests/pg_text.h"
#include "tests/zoo_postgres.h"

static void sql(struct db *db, const char *text)
{
    _cleanup_err_ struct err err = {0};
    int ran;
    ck_assert_msg(db_run(db, text, DB_RUN_WHOLE, &ran, &err) == 0, "%s: %s", text, err.message);
}

static void ck_query(const struct engine *e, const char *url, const char *text, const char *want)
{
    _cleanup_free_ char *value = fixture_value(e, url, text);
    ck_assert_msg(str_eq(value, want), "%s: \"%s\", not \"%s\"", text, value ? value : "NULL",
                  want);
}

static int try_copy(const struct engine *e, const char *from, struct scratch **ret,
                    struct copy_result *r, struct err *err)
{
    return copy_make(&(struct copy_options){.from = from, .jobs = 2, .lock_timeout_ms = 300},
                     fixture_pool(e), ret, r, err);
}

static struct scratch *copy(const struct engine *e, const char *from, struct copy_result *r)
{
    _cleanup_err_ struct err err = {0};
    struct scratch *s = NULL;
    int rc = try_copy(e, from, &s, r, &err);
    ck_assert_msg(rc == 0, "%s\n%s", err.message, err.detail ? err.detail : "");
    return s;
}

static void backup(const char *url, const char *path)
{
    _cleanup_err_ struct err err = {0};
    _cleanup_(backup_summary_release) struct backup_summary s = {0};
    ASSERT_OK(
        backup_create(&(struct backup_options){.url = url, .path = path, .jobs = 2}, &s, &err),
        &err);
}

/* Databases of belay's on the fixture's server. */
static char *databases(void)
{
    _cleanup_err_ struct err err = {0};
    char *n = NULL;
    ASSERT_OK(db_query_text(scratch_pool_db(fixture_pool(&engine_postgres)),
                            "select count(*) from pg_database", NULL, 0, &n, &err),
              &err);
    return n;
}

static void fill_zoo(struct db *db)
{
    sql(scratch_pool_db(fixture_pool(&engine_postgres)), zoo_roles);
    for (size_t i = 0; zoo_postgres[i]; i++)
        sql(db, zoo_postgres[i]);
}

/* ---- PostgreSQL ---- */

START_TEST(the_zoo_is_copied_alive)
{
    struct fixture f;
    fixture_open(&f, &engine_postgres);
    fill_zoo(f.db);
    struct copy_result r = {0};
    struct scratch *s = copy(&engine_postgres, scratch_url(f.scratch), &r);
    pg_must_be_same_text(scratch_url(f.scratch), scratch_url(s));
    _cleanup_free_ char *notes = strv_join(&r.notes, "\n");
    ck_assert_str_eq(notes, "");
    ck_assert_uint_gt(r.rows, 0);
    ck_assert_uint_gt(r.copy_bytes, 0);
    ck_assert_uint_gt(r.bytes, 0);
    copy_result_release(&r);
    scratch_free(s);
    fixture_close(&f);
}
END_TEST

START_TEST(the_zoo_is_copied_from_a_bundle)
{
    struct fixture f;
    fixture_open(&f, &engine_postgres);
    fill_zoo(f.db);
    char *dir = dir_new();
    _cleanup_free_ char *path = path_join(dir, "app.belay");
    backup(scratch_url(f.scratch), path);
    struct copy_result r = {0};
    struct scratch *s = copy(&engine_postgres, path, &r);
    pg_must_be_same_text(scratch_url(f.scratch), scratch_url(s));
    ck_assert_uint_gt(r.rows, 0);
    copy_result_release(&r);
    scratch_free(s);
    dir_drop(dir);
    fixture_close(&f);
}
END_TEST

START_TEST(large_tables_are_copied_in_pieces)
{
    struct fixture f;
    fixture_open(&f, &engine_postgres);
    sql(f.db, "create table big as select i as id, repeat(md5(i::text), 20) as filler"
              " from generate_series(1, 120000) i; alter table big add primary key (id);"
              "create table empty (a int); create table narrow ()");
    struct copy_result r = {0};
    struct scratch *s = copy(&engine_postgres, scratch_url(f.scratch), &r);
    ck_query(&engine_postgres, scratch_url(s), "select sum(id) || ' ' || count(*) from big",
             "7200060000 120000");
    ck_assert_uint_eq(r.rows, 120000);
    ck_assert_uint_eq(r.tables, 3);
    copy_result_release(&r);
    scratch_free(s);
    fixture_close(&f);
}
END_TEST

/* Moves money for as long as it is let: every state that was committed has the same sum. */
struct mover {
    const char *url;
    atomic_bool stop;
    atomic_int moves;
};

static void *move_money(void *data)
{
    struct mover *m = data;
    _cleanup_err_ struct err err = {0};
    _cleanup_db_ struct db *db = NULL;
    int rc = db_open(&engine_postgres, m->url, DB_OPEN_DEFAULT, &db, &err);
    while (rc == 0 && !atomic_load(&m->stop)) {
        rc = db_run(db,
                    "begin; update accounts set balance = balance - 7 where id = 1;"
                    " update accounts set balance = balance + 7 where id = 999;"
                    " insert into moves default values; commit",
                    DB_RUN_WHOLE, NULL, &err);
        atomic_fetch_add(&m->moves, rc == 0);
    }
    return rc == 0 ? NULL : m;
}

START_TEST(what_others_commit_meanwhile_is_not_in_the_copy)
{
    struct fixture f;
    fixture_open(&f, &engine_postgres);
    sql(f.db,
        "create table accounts (id int primary key, balance int not null, filler text);"
        "insert into accounts select i, 100, repeat('x', 100) from generate_series(1, 100000) i;"
        "create table moves (id bigint generated always as identity)");
    struct mover m = {.url = scratch_url(f.scratch)};
    pthread_t thread;
    ck_assert_int_eq(pthread_create(&thread, NULL, move_money, &m), 0);
    while (atomic_load(&m.moves) < 10)
        usleep(1000);
    int before = atomic_load(&m.moves);
    struct copy_result r = {0};
    struct scratch *s = copy(&engine_postgres, scratch_url(f.scratch), &r);
    int after = atomic_load(&m.moves);
    atomic_store(&m.stop, true);
    void *failed;
    pthread_join(thread, &failed);
    ck_assert_ptr_null(failed);
    ck_assert_int_gt(after, before); /* nobody was kept from writing */
    ck_query(&engine_postgres, scratch_url(s), "select sum(balance) from accounts", "10000000");
    ck_query(&engine_postgres, scratch_url(s),
             "select (select count(*) from moves) * 7 = balance - 100 from accounts where id = 999",
             "t");
    copy_result_release(&r);
    scratch_free(s);
    fixture_close(&f);
}
END_TEST

START_TEST(a_lock_that_cannot_be_had_ends_the_copy)
{
    struct fixture f;
    _cleanup_err_ struct err err = {0};
    struct copy_result r = {0};
    struct scratch *s = NULL;
    fixture_open(&f, &engine_postgres);
    sql(f.db, "create table t (a int)");
    sql(f.db, "begin; lock table t");
    _cleanup_free_ char *before = databases();
    ck_assert_int_eq(try_copy(&engine_postgres, scratch_url(f.scratch), &s, &r, &err), -1);
    ck_assert_str_eq(err.message, "no lock for reading the tables within 0.3 s");
    ck_assert_int_eq(err.code, ERR_ENV);
    _cleanup_free_ char *after = databases();
    ck_assert_str_eq(before, after);
    sql(f.db, "rollback");
    fixture_close(&f);
}
END_TEST

static volatile sig_atomic_t stop;

static void stop_in_rows(void *data, const struct backup_progress *p)
{
    if (strcmp(p->phase, (const char *)data) == 0)
        stop = 1;
}

static const char *const phases[] = {"locks",   "schema",     "tables", "rows",
                                     "indexes", "statistics", "digests"};

START_TEST(a_copy_that_is_stopped_leaves_nothing)
{
    struct fixture f;
    _cleanup_err_ struct err err = {0};
    struct copy_result r = {0};
    struct scratch *s = NULL;
    fixture_open(&f, &engine_postgres);
    sql(f.db, "create table t as select i, md5(i::text) from generate_series(1, 50000) i;"
              "create index on t (i)");
    _cleanup_free_ char *before = databases();
    char phase[32];
    snprintf(phase, sizeof(phase), "%s", phases[_i]);
    stop = 0;
    const struct copy_options o = {
        .from = scratch_url(f.scratch),
        .jobs = 2,
        .control = {.stop = &stop, .report = stop_in_rows, .data = phase},
    };
    ck_assert_int_eq(copy_make(&o, fixture_pool(&engine_postgres), &s, &r, &err), -1);
    ck_assert_int_eq(err.code, ERR_INTERRUPTED);
    _cleanup_free_ char *after = databases();
    ck_assert_str_eq(before, after);
    ck_query(&engine_postgres, scratch_url(f.scratch),
             "select count(*) from pg_stat_activity where datname = current_database()"
             " and state = 'active' and pid <> pg_backend_pid()",
             "0");
    fixture_close(&f);
}
END_TEST

START_TEST(a_look_says_what_a_source_is)
{
    struct fixture f;
    _cleanup_err_ struct err err = {0};
    struct copy_look l = {0};
    fixture_open(&f, &engine_postgres);
    sql(f.db, "create table t as select generate_series(1, 1000)");
    ASSERT_OK(copy_look(scratch_url(f.scratch), NULL, &l, &err), &err);
    ck_assert_ptr_eq(l.engine, &engine_postgres);
    ck_assert(!l.bundle);
    ck_assert(str_starts(l.server, "PostgreSQL "));
    ck_assert_ptr_null(strchr(l.server, '('));
    ck_assert_uint_gt(l.bytes, 1 << 20);
    copy_look_release(&l);
    char *dir = dir_new();
    _cleanup_free_ char *path = path_join(dir, "app.belay");
    backup(scratch_url(f.scratch), path);
    ASSERT_OK(copy_look(path, NULL, &l, &err), &err);
    ck_assert(l.bundle);
    ck_assert_ptr_eq(l.engine, &engine_postgres);
    ck_assert(str_starts(l.server, "PostgreSQL "));
    ck_assert_ptr_nonnull(l.taken);
    ck_assert_uint_gt(l.bytes, 0);
    copy_look_release(&l);
    ck_assert_int_eq(copy_look("/nowhere/at/all", NULL, &l, &err), -1);
    ck_assert_int_eq(err.code, ERR_USAGE);
    dir_drop(dir);
    fixture_close(&f);
}
END_TEST

/* ---- SQLite ---- */

static char *lite_database(const char *dir, bool wal)
{
    _cleanup_err_ struct err err = {0};
    _cleanup_db_ struct db *db = NULL;
    char *path = path_join(dir, "app.db");
    ASSERT_OK(db_open(&engine_sqlite, path, DB_OPEN_CREATE, &db, &err), &err);
    if (wal)
        sql(db, "pragma journal_mode = wal");
    sql(db, "create table t (id integer primary key autoincrement, a text);"
            "insert into t (a) values ('x'), (null), (''); create view v as select a from t");
    return path;
}

START_TEST(an_sqlite_file_is_copied_while_others_have_it_open)
{
    char *dir = dir_new();
    _cleanup_free_ char *path = lite_database(dir, _i);
    _cleanup_err_ struct err err = {0};
    _cleanup_db_ struct db *other = NULL;
    ASSERT_OK(db_open(&engine_sqlite, path, DB_OPEN_DEFAULT, &other, &err), &err);
    sql(other, "begin; select count(*) from t");
    struct copy_result r = {0};
    struct scratch *s = copy(&engine_sqlite, path, &r);
    ck_query(&engine_sqlite, scratch_url(s), "select count(*) || '/' || max(id) from t", "3/3");
    ck_query(&engine_sqlite, scratch_url(s), "select seq from sqlite_sequence", "3");
    ck_assert_uint_eq(r.rows, 3);
    ck_assert_uint_eq(r.tables, 1);
    ck_assert_uint_eq(r.notes.n, _i ? 0 : 1); /* without a WAL it was not compared: it says so */
    copy_result_release(&r);
    scratch_free(s);
    sql(other, "commit");
    dir_drop(dir);
}
END_TEST

START_TEST(an_sqlite_bundle_is_copied)
{
    char *dir = dir_new();
    _cleanup_free_ char *path = lite_database(dir, false);
    _cleanup_free_ char *bundle = path_join(dir, "app.belay");
    backup(path, bundle);
    struct copy_result r = {0};
    struct scratch *s = copy(&engine_sqlite, bundle, &r);
    ck_query(&engine_sqlite, scratch_url(s), "select count(*) from v", "3");
    ck_assert_uint_eq(r.rows, 3);
    copy_result_release(&r);
    scratch_free(s);
    dir_drop(dir);
}
END_TEST

START_TEST(an_sqlite_file_that_is_being_written_is_waited_for_and_given_up)
{
    char *dir = dir_new();
    _cleanup_free_ char *path = lite_database(dir, false);
    _cleanup_err_ struct err err = {0};
    _cleanup_db_ struct db *other = NULL;
    struct copy_result r = {0};
    struct scratch *s = NULL;
    ASSERT_OK(db_open(&engine_sqlite, path, DB_OPEN_DEFAULT, &other, &err), &err);
    sql(other, "begin immediate; insert into t (a) values ('y')");
    ck_assert_int_eq(try_copy(&engine_sqlite, path, &s, &r, &err), -1);
    ck_assert_ptr_nonnull(strstr(err.message, "locked"));
    sql(other, "rollback");
    dir_drop(dir);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("copy");
    SUITE_ADD(s, the_zoo_is_copied_alive);
    SUITE_ADD(s, the_zoo_is_copied_from_a_bundle);
    SUITE_ADD(s, large_tables_are_copied_in_pieces);
    SUITE_ADD(s, what_others_commit_meanwhile_is_not_in_the_copy);
    SUITE_ADD(s, a_lock_that_cannot_be_had_ends_the_copy);
    SUITE_ADD_LOOP(s, a_copy_that_is_stopped_leaves_nothing, ARRAY_LEN(phases));
    SUITE_ADD(s, a_look_says_what_a_source_is);
    SUITE_ADD_LOOP(s, an_sqlite_file_is_copied_while_others_have_it_open, 2);
    SUITE_ADD(s, an_sqlite_bundle_is_copied);
    SUITE_ADD(s, an_sqlite_file_that_is_being_written_is_waited_for_and_given_up);
    return fixture_run(s);
}
