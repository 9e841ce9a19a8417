/* PostgreSQL databases into a bundle and back. */
#include <libpq-fe.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>

#include "backup/backup.h"
#include "harness/base/file.h"
#include "harness/engine/url.h"
#include "harness/schema/schema.h"
#include "tests/backup_place.h"
#include "tests/bundle_fixture.h"
#include "tests/pg_text.h"
#include "tests/zoo_postgres.h"

static void fill_zoo(struct db *db)
{
    place_sql(scratch_pool_db(fixture_pool(&engine_postgres)), zoo_roles);
    for (size_t i = 0; zoo_postgres[i]; i++)
        place_sql(db, zoo_postgres[i]);
}

/* ---- back and forth ---- */

START_TEST(the_zoo_comes_back_as_it_was)
{
    struct place p;
    place_open(&p);
    fill_zoo(p.f.db);
    place_backup(&p);
    place_verify(&p, false);
    _cleanup_free_ char *url = place_url(&p, "zoo_back");
    _cleanup_free_ char *notes = place_restore(&p, url);
    ck_assert_str_eq(notes, "");
    pg_must_be_same_text(scratch_url(p.f.scratch), url);
    place_close(&p);
}
END_TEST

START_TEST(a_drill_finds_the_zoo_whole)
{
    struct place p;
    place_open(&p);
    fill_zoo(p.f.db);
    place_backup(&p);
    place_verify(&p, true);
    place_close(&p);
}
END_TEST

START_TEST(bytes_that_are_no_text_come_back)
{
    struct place p;
    place_open(&p);
    static const char *const options[] = {"template template0 encoding 'SQL_ASCII' locale 'C'",
                                          "template template0 encoding 'LATIN1' locale 'C'"};
    _cleanup_err_ struct err err = {0};
    _cleanup_scratch_ struct scratch *source = NULL;
    ASSERT_OK(scratch_new_like(fixture_pool(&engine_postgres), options[_i], &source, &err), &err);
    struct db *db = place_db(scratch_url(source));
    place_sql(
        db,
        "create table \"gr\xc3\xb6\xc3\x9f\x65\" (a text); insert into \"gr\xc3\xb6\xc3\x9f\x65\""
        " values ('\xc3\xa4'), ('plain'), (null)");
    if (_i == 0)
        place_sql(db, "set client_encoding = 'SQL_ASCII'; insert into \"gr\xc3\xb6\xc3\x9f\x65\""
                      " values (e'\\xff\\xfe')");
    ASSERT_OK(place_backup_url(&p, scratch_url(source), &err), &err);
    place_verify(&p, true);
    _cleanup_free_ char *url = place_url(&p, "bytes_back");
    _cleanup_free_ char *notes = place_restore(&p, url);
    struct db *back = place_db(url);
    static const char hash[] = "set client_encoding = 'SQL_ASCII'";
    place_sql(db, hash);
    place_sql(back, hash);
    static const char all[] =
        "select string_agg(coalesce(a, '-'), ' ' order by a) || getdatabaseencoding()"
        " from \"gr\xc3\xb6\xc3\x9f\x65\"";
    static const char all_latin[] =
        "select string_agg(coalesce(a, '-'), ' ' order by a) || getdatabaseencoding()"
        " from \"gr\xf6\xdf\x65\"";
    _cleanup_free_ char *a = place_query(db, _i ? all_latin : all),
                        *b = place_query(back, _i ? all_latin : all);
    ck_assert_str_eq(a, b);
    db_close(db);
    db_close(back);
    place_close(&p);
}
END_TEST

START_TEST(a_table_cut_into_ranges_comes_back)
{
    struct place p;
    place_open(&p);
    /* more than two of the smallest ranges */
    place_sql(p.f.db, "create table long (id int, t text); insert into long"
                      " select i, repeat(md5(i::text), 20) from generate_series(1, 120000) i;"
                      " delete from long where id % 7 = 0");
    place_backup(&p);
    place_verify(&p, false);
    _cleanup_free_ char *url = place_url(&p, "ranges_back");
    _cleanup_free_ char *notes = place_restore(&p, url);
    place_close(&p);
}
END_TEST

START_TEST(of_an_extension_s_table_the_users_rows_are_stored)
{
    struct place p;
    place_open(&p);
    /* what pg_extension_config_dump() does in an extension's script */
    place_sql(p.f.db,
              "create extension file_fdw; create table kept (a int, mine bool);"
              "create table own (a int); insert into own values (1);"
              "insert into kept select i, i % 3 = 0 from generate_series(1, 30) i;"
              "alter extension file_fdw add table kept; alter extension file_fdw add table own;"
              "update pg_extension set extconfig = array['kept'::regclass::oid],"
              " extcondition = array['WHERE mine'] where extname = 'file_fdw'");
    place_backup(&p);
    place_verify(&p, false);
    _cleanup_err_ struct err err = {0};
    _cleanup_bundle_reader_ struct bundle_reader *reader = NULL;
    struct digest_set now = {0};
    ASSERT_OK(bundle_open(p.bundle, NULL, &reader, &err), &err);
    ASSERT_OK(digest_read(p.f.db, NULL, NULL, &now, &err), &err);
    const struct digest_set *then = &bundle_manifest(reader)->digests;
    const struct digest *a = digest_find(then, "public.kept"),
                        *b = digest_find(&now, "public.kept");
    ck_assert_ptr_nonnull(a);
    ck_assert_ptr_nonnull(b);
    ck_assert_uint_eq(a->sum.rows, 10);
    ck_assert_uint_eq(b->sum.lo, a->sum.lo);
    ck_assert_ptr_null(digest_find(then, "public.own"));
    digest_set_release(&now);
    place_close(&p);
}
END_TEST

/* ---- the target ---- */

static const char database_state[] =
    "select d.datconnlimit || ' ' || coalesce(shobj_description(d.oid, 'pg_database'), '-') || ' '"
    " || coalesce(d.datacl::text, '-') || ' ' || coalesce((select string_agg(setrole::text ||"
    " array_to_string(setconfig, ','), ';' order by setrole) from pg_db_role_setting s"
    " where s.setdatabase = d.oid), '-') from pg_database d where datname = current_database()";

START_TEST(the_old_database_is_kept_and_the_settings_come_along)
{
    struct place p;
    place_open(&p);
    place_sql(scratch_pool_db(fixture_pool(&engine_postgres)), zoo_roles);
    _cleanup_free_ char *url = place_url(&p, "live db");
    place_sql(p.f.db, "create database \"live db\" connection limit 7");
    struct db *live = place_db(url);
    place_sql(live, "create table t (a int); insert into t values (1);"
                    "alter database \"live db\" set search_path = '', public;"
                    "alter role zoo_reader in database \"live db\" set work_mem = '5MB';"
                    "comment on database \"live db\" is 'it''s :\"database\"';"
                    "grant create on database \"live db\" to zoo_reader with grant option;"
                    "revoke temporary on database \"live db\" from public");
    _cleanup_free_ char *before = place_query(live, database_state);
    _cleanup_err_ struct err err = {0};
    ASSERT_OK(place_backup_url(&p, url, &err), &err);
    place_sql(live, "update t set a = 2");
    /* `live` stays open: the swap ends it */
    _cleanup_(restore_result_release) struct restore_result r = {0};
    int rc = place_try_restore(&p, url, &r, &err);
    ck_assert_msg(rc == 0, "%s\n%s", err.message, err.detail ? err.detail : "");
    ck_assert_ptr_nonnull(r.kept);
    ck_assert(str_starts(r.kept, "live db_before_restore_2"));
    ck_assert(str_starts(r.drop, "DROP DATABASE \"live db_before_restore_2"));
    ck_assert_int_lt(db_run(live, "select 1", DB_RUN_WHOLE, NULL, &err), 0);
    db_close(live);
    struct db *now = place_db(url);
    _cleanup_free_ char *kept_url = place_url(&p, r.kept);
    struct db *kept = place_db(kept_url);
    _cleanup_free_ char *a = place_query(now, "select a from public.t"),
                        *b = place_query(kept, "select a from public.t");
    _cleanup_free_ char *after = place_query(now, database_state);
    ck_assert_str_eq(a, "1");
    ck_assert_str_eq(b, "2");
    ck_assert_str_eq(after, before);
    db_close(now);
    db_close(kept);
    place_close(&p);
}
END_TEST

START_TEST(missing_roles_are_named_before_anything_happens)
{
    struct place p;
    place_open(&p);
    place_sql(p.f.db, "create role passing_by; create table t (a int); insert into t values (1);"
                      " alter table t owner to passing_by; grant select on t to passing_by");
    place_backup(&p);
    place_sql(p.f.db, "drop table t; drop role passing_by");
    _cleanup_free_ char *url = place_url(&p, "roles_back");
    _cleanup_err_ struct err err = {0};
    _cleanup_(restore_result_release) struct restore_result r = {0};
    ck_assert_int_eq(place_try_restore(&p, url, &r, &err), -1);
    ck_assert_int_eq(err.code, ERR_ENV);
    ck_assert_str_eq(err.message, "the server lacks what the bundle needs: role passing_by");
    ck_assert_ptr_nonnull(strstr(err.hint, "--no-owner"));
    ASSERT_OK(
        backup_restore(&(struct restore_options){.path = p.bundle, .url = url, .no_owner = true},
                       &r, &err),
        &err);
    place_verify(&p, true); /* a private server gets the role */
    place_close(&p);
}
END_TEST

START_TEST(prepared_transactions_on_the_target_are_said_first)
{
    struct place p;
    place_open(&p);
    place_sql(p.f.db, "create table t (a int)");
    place_backup(&p);
    place_sql(p.f.db, "begin; insert into t values (1); prepare transaction 'belay_test_prepared'");
    _cleanup_err_ struct err err = {0};
    _cleanup_(restore_result_release) struct restore_result r = {0};
    ck_assert_int_eq(place_try_restore(&p, scratch_url(p.f.scratch), &r, &err), -1);
    ck_assert_ptr_nonnull(strstr(err.message, "prepared transactions"));
    place_sql(p.f.db, "rollback prepared 'belay_test_prepared'");
    place_close(&p);
}
END_TEST

START_TEST(a_role_with_createdb_restores_its_own)
{
    struct place p;
    place_open(&p);
    place_sql(scratch_pool_db(fixture_pool(&engine_postgres)),
              "do $$begin if not exists (select from pg_roles where rolname = 'maker') then"
              " create role maker login createdb; end if; end$$");
    place_sql(p.f.db, "create database made_by owner maker");
    _cleanup_free_ char *admin = place_url(&p, "made_by");
    _cleanup_conninfo_ struct conninfo c = {0};
    _cleanup_err_ struct err err = {0};
    ASSERT_OK(conninfo_parse(admin, &c, &err), &err);
    conninfo_set(&c, "user", "maker");
    _cleanup_free_ char *url = conninfo_url(&c);
    struct db *db = place_db(url);
    place_sql(db,
              "create schema s; create table s.t (id serial primary key, a text); insert into s.t "
              "(a) values ('x');"
              " select lo_from_bytea(99, 'abc')");
    db_close(db);
    ASSERT_OK(place_backup_url(&p, url, &err), &err);
    _cleanup_free_ char *notes = place_restore(&p, url);
    db = place_db(url);
    _cleanup_free_ char *a =
        place_query(db, "select a || convert_from(lo_get(99), 'UTF8') from s.t");
    ck_assert_str_eq(a, "xabc");
    db_close(db);
    place_close(&p);
}
END_TEST

START_TEST(owners_out_of_reach_bring_no_owner_to_mind)
{
    struct place p;
    place_open(&p);
    place_sql(scratch_pool_db(fixture_pool(&engine_postgres)),
              "create role stranger; do $$begin if not exists (select from pg_roles where"
              " rolname = 'maker') then create role maker login createdb; end if; end$$");
    place_sql(p.f.db, "create table t (a int); alter table t owner to stranger");
    place_backup(&p);
    _cleanup_free_ char *admin = place_url(&p, "out_of_reach");
    _cleanup_conninfo_ struct conninfo c = {0};
    _cleanup_err_ struct err err = {0};
    ASSERT_OK(conninfo_parse(admin, &c, &err), &err);
    conninfo_set(&c, "user", "maker");
    _cleanup_free_ char *url = conninfo_url(&c);
    _cleanup_(restore_result_release) struct restore_result r = {0};
    ck_assert_int_eq(place_try_restore(&p, url, &r, &err), -1);
    ck_assert_str_eq(err.hint,
                     "restore as a superuser or a member of that role, or with --no-owner");
    place_sql(p.f.db, "drop table t; drop role stranger");
    place_close(&p);
}
END_TEST

/* ---- what stands in the way of a backup ---- */

static void must_leave_nothing(const struct place *p)
{
    ck_assert_uint_eq(dir_count(p->dir), 0);
}

START_TEST(a_locked_table_ends_the_backup)
{
    struct place p;
    place_open(&p);
    place_sql(p.f.db, "create table t (a int)");
    place_sql(p.f.db, "begin; lock table t in access exclusive mode");
    _cleanup_err_ struct err err = {0};
    ck_assert_int_eq(place_backup_url(&p, scratch_url(p.f.scratch), &err), -1);
    ck_assert_int_eq(err.code, ERR_ENV);
    ck_assert_str_eq(err.message, "no lock for reading the tables within 0.5 s");
    must_leave_nothing(&p);
    place_close(&p);
}
END_TEST

START_TEST(what_a_role_may_not_read_is_said_before_anything_is_written)
{
    struct place p;
    place_open(&p);
    place_sql(scratch_pool_db(fixture_pool(&engine_postgres)),
              "do $$begin if not exists (select from pg_roles where rolname = 'peeper') then"
              " create role peeper login; end if; end$$");
    place_sql(
        p.f.db,
        "create table secret (a int); create table mine (a int); grant select on mine to peeper;"
        "create table rows_hidden (a int); grant select on rows_hidden to peeper;"
        "alter table rows_hidden enable row level security;"
        "create policy one on rows_hidden to peeper using (a = 1);"
        "create sequence hidden_seq; select lo_create(5)");
    _cleanup_conninfo_ struct conninfo c = {0};
    _cleanup_err_ struct err err = {0};
    ASSERT_OK(conninfo_parse(scratch_url(p.f.scratch), &c, &err), &err);
    conninfo_set(&c, "user", "peeper");
    _cleanup_free_ char *url = conninfo_url(&c);
    ck_assert_int_eq(place_backup_url(&p, url, &err), -1);
    ck_assert_int_eq(err.code, ERR_ENV);
    ck_assert_str_eq(err.detail, "1 large objects: permission denied\n"
                                 "table public.secret: permission denied\n"
                                 "table public.rows_hidden: its row-level security may hide rows\n"
                                 "sequence public.hidden_seq: permission denied");
    must_leave_nothing(&p);
    place_close(&p);
}
END_TEST

/* Ends every session that copies, once rows have come. */
static void end_copies(void *data, const struct backup_progress *progress)
{
    struct db *db = data;
    _cleanup_err_ struct err ignored = {0};
    if (progress->done == 0) /* reports come 200 ms apart: the next is one with rows */
        nanosleep(&(struct timespec){.tv_nsec = 250000000}, NULL);
    else
        db_run(db,
               "select pg_terminate_backend(pid) from pg_stat_activity"
               " where datname = current_database() and query like 'savepoint belay%'",
               DB_RUN_WHOLE, NULL, &ignored);
}

START_TEST(a_backend_that_is_ended_leaves_no_bundle)
{
    struct place p;
    place_open(&p);
    place_sql(p.f.db, "create table long (t text); insert into long"
                      " select repeat(md5(i::text), 30) from generate_series(1, 40000) i");
    _cleanup_err_ struct err err = {0};
    struct backup_summary s = {0};
    int rc =
        backup_create(&(struct backup_options){.url = scratch_url(p.f.scratch),
                                               .path = p.bundle,
                                               .jobs = 2,
                                               .control = {.report = end_copies, .data = p.f.db}},
                      &s, &err);
    ck_assert_int_eq(rc, -1);
    ck_assert_msg(err.code == ERR_CONNECTION || strcmp(err.sqlstate, "57P01") == 0, "%s",
                  err.message);
    must_leave_nothing(&p);
    place_close(&p);
}
END_TEST

struct writer {
    struct db *db;
    atomic_bool stop;
    atomic_int written;
};

static void *write_pairs(void *data)
{
    struct writer *w = data;
    _cleanup_err_ struct err err = {0};
    while (!atomic_load(&w->stop)) {
        if (db_run(w->db, "begin; insert into a select 1; insert into b select 1; commit",
                   DB_RUN_WHOLE, NULL, &err) < 0)
            break;
        atomic_fetch_add(&w->written, 1);
    }
    return NULL;
}

static void wait_for_writer(void *data, const struct backup_progress *progress)
{
    struct writer *w = data;
    int seen = atomic_load(&w->written);
    (void)progress;
    while (atomic_load(&w->written) < seen + 10) /* some are written between the tables */
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
}

START_TEST(writers_go_on_and_the_bundle_is_of_one_moment)
{
    struct place p;
    place_open(&p);
    place_sql(p.f.db, "create table a (x int); create table b (x int)");
    struct writer w = {.db = place_db(scratch_url(p.f.scratch))};
    pthread_t thread;
    ck_assert_int_eq(pthread_create(&thread, NULL, write_pairs, &w), 0);
    _cleanup_err_ struct err err = {0};
    struct backup_summary s = {0};
    int rc =
        backup_create(&(struct backup_options){.url = scratch_url(p.f.scratch),
                                               .path = p.bundle,
                                               .jobs = 2,
                                               .control = {.report = wait_for_writer, .data = &w}},
                      &s, &err);
    atomic_store(&w.stop, true);
    pthread_join(thread, NULL);
    ASSERT_OK(rc, &err);
    db_close(w.db);
    _cleanup_free_ char *url = place_url(&p, "writers_back");
    _cleanup_free_ char *notes = place_restore(&p, url);
    struct db *back = place_db(url);
    _cleanup_free_ char *same =
        place_query(back, "select (select count(*) from a) = (select count(*) from b)");
    ck_assert_str_eq(same, "t");
    db_close(back);
    place_close(&p);
}
END_TEST

/* ---- a restore that does not end ---- */

static const char *const phases[] = {"tables", "rows", "indexes", "statistics", "digests"};

struct end_at {
    const char *phase;
    bool kill;
    volatile sig_atomic_t stop;
};

static void end_at_phase(void *data, const struct backup_progress *progress)
{
    struct end_at *e = data;
    if (strcmp(progress->phase, e->phase) != 0)
        return;
    if (e->kill)
        kill(getpid(), SIGKILL);
    e->stop = 1;
}

static int restore_until(const struct place *p, const char *url, struct end_at *e, struct err *err)
{
    struct restore_result r = {0};
    int rc = backup_restore(
        &(struct restore_options){.path = p->bundle,
                                  .url = url,
                                  .jobs = 2,
                                  .control = {.stop = &e->stop, .report = end_at_phase, .data = e}},
        &r, err);
    restore_result_release(&r);
    return rc;
}

/* A database "victim" with one row that differs from the bundle's. */
static char *make_victim(struct place *p)
{
    char *url = place_url(p, "victim");
    _cleanup_err_ struct err err = {0};
    place_sql(p->f.db, "create database victim");
    struct db *db = place_db(url);
    place_sql(db,
              "create table t (id serial primary key, a text); insert into t (a) select 'old' || i"
              " from generate_series(1, 1000) i");
    ASSERT_OK(place_backup_url(p, url, &err), &err);
    place_sql(db, "update t set a = 'new'");
    db_close(db);
    return url;
}

static void must_be_untouched(const char *url)
{
    struct db *db = place_db(url);
    _cleanup_free_ char *a = place_query(db, "select distinct a from t");
    ck_assert_str_eq(a, "new");
    db_close(db);
}

static char *count_databases(const struct place *p)
{
    return place_query(p->f.db, "select count(*) from pg_database");
}

START_TEST(a_restore_that_is_stopped_leaves_the_target_as_it_was)
{
    struct place p;
    place_open(&p);
    _cleanup_free_ char *url = make_victim(&p), *before = count_databases(&p);
    _cleanup_err_ struct err err = {0};
    struct end_at e = {.phase = phases[_i]};
    ck_assert_int_eq(restore_until(&p, url, &e, &err), -1);
    ck_assert_msg(err.code == ERR_INTERRUPTED, "%s", err.message);
    must_be_untouched(url);
    _cleanup_free_ char *after = count_databases(&p);
    ck_assert_str_eq(after, before);
    place_close(&p);
}
END_TEST

START_TEST(a_restore_that_is_killed_leaves_the_target_as_it_was)
{
    struct place p;
    place_open(&p);
    _cleanup_free_ char *url = make_victim(&p), *before = count_databases(&p);
    pid_t pid = fork();
    if (pid == 0) {
        struct err err = {0};
        struct end_at e = {.phase = phases[_i], .kill = true};
        restore_until(&p, url, &e, &err);
        _exit(1);
    }
    int status;
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    must_be_untouched(url);
    /* the next restore drops what that one had made beside */
    _cleanup_free_ char *notes = place_restore(&p, url);
    struct db *db = place_db(url);
    _cleanup_free_ char *a = place_query(db, "select count(*) from t where a like 'old%'");
    ck_assert_str_eq(a, "1000");
    db_close(db);
    place_sql(p.f.db, "do $$begin end$$");
    _cleanup_free_ char *after = place_query(
        p.f.db, "select count(*) from pg_database where datname not like 'victim\\_before\\_%'");
    ck_assert_str_eq(after, before);
    place_close(&p);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("backup_postgres");
    SUITE_ADD(s, the_zoo_comes_back_as_it_was);
    SUITE_ADD(s, a_drill_finds_the_zoo_whole);
    SUITE_ADD_LOOP(s, bytes_that_are_no_text_come_back, 2);
    SUITE_ADD(s, a_table_cut_into_ranges_comes_back);
    SUITE_ADD(s, of_an_extension_s_table_the_users_rows_are_stored);
    SUITE_ADD(s, the_old_database_is_kept_and_the_settings_come_along);
    SUITE_ADD(s, missing_roles_are_named_before_anything_happens);
    SUITE_ADD(s, prepared_transactions_on_the_target_are_said_first);
    SUITE_ADD(s, a_role_with_createdb_restores_its_own);
    SUITE_ADD(s, owners_out_of_reach_bring_no_owner_to_mind);
    SUITE_ADD(s, a_locked_table_ends_the_backup);
    SUITE_ADD(s, what_a_role_may_not_read_is_said_before_anything_is_written);
    SUITE_ADD(s, a_backend_that_is_ended_leaves_no_bundle);
    SUITE_ADD(s, writers_go_on_and_the_bundle_is_of_one_moment);
    SUITE_ADD_LOOP(s, a_restore_that_is_stopped_leaves_the_target_as_it_was, ARRAY_LEN(phases));
    SUITE_ADD_LOOP(s, a_restore_that_is_killed_leaves_the_target_as_it_was, ARRAY_LEN(phases));
    return fixture_run(s);
}
