/* PostgreSQL databases with more tables than a session may lock at once, and with values of 100 MB, on
 * a server as it is installed: those of belay's own have more locks. */
#include <string.h>
#include <unistd.h>

#include "harness/base/file.h"
#include "tests/backup_place.h"
#include "tests/own_server.h"

enum { TABLES = 5000, TABLES_A_TRANSACTION = 500 };

struct yard {
    struct own_server server;
    char *source, *back, *bundle;
    struct db *db;
};

static char *url_of(const struct yard *y, const char *name)
{
    return xasprintf("postgresql://postgres@/%s?host=%s", name, y->server.dir);
}

static void open_yard(struct yard *y)
{
    *y = (struct yard){0};
    own_server_start(&y->server);
    y->source = url_of(y, "source");
    y->back = url_of(y, "back");
    y->bundle = path_join(y->server.dir, "app.belay");
    struct db *db = place_db(y->server.url);
    place_sql(db, "create database source");
    db_close(db);
    y->db = place_db(y->source);
}

static void close_yard(struct yard *y)
{
    db_close(y->db);
    own_server_stop(&y->server);
    free(y->source);
    free(y->back);
    free(y->bundle);
}

static int try_backup(const struct yard *y, struct err *err)
{
    struct backup_summary s = {0};
    int rc = backup_create(&(struct backup_options){.url = y->source, .path = y->bundle, .jobs = 2},
                           &s, err);
    backup_summary_release(&s);
    return rc;
}

static void verify(const struct yard *y)
{
    _cleanup_err_ struct err err = {0};
    _cleanup_(verify_result_release) struct verify_result r = {0};
    ASSERT_OK(backup_verify(&(struct verify_options){.path = y->bundle, .jobs = 2}, &r, &err),
              &err);
    _cleanup_free_ char *problems = strv_join(&r.problems, "\n");
    ck_assert_str_eq(problems, "");
}

/* It compares what it has loaded with what the bundle says. */
static void restore(const struct yard *y)
{
    _cleanup_err_ struct err err = {0};
    _cleanup_(restore_result_release) struct restore_result r = {0};
    int rc = backup_restore(&(struct restore_options){.path = y->bundle, .url = y->back, .jobs = 2},
                            &r, &err);
    ck_assert_msg(rc == 0, "%s\n%s", err.message, err.detail ? err.detail : "");
}

static void must_be_same(const struct yard *y, const char *sql)
{
    struct db *db = place_db(y->back);
    _cleanup_free_ char *a = place_query(y->db, sql), *b = place_query(db, sql);
    ck_assert_str_eq(a, b);
    db_close(db);
}

/* A sequence each, which takes locks of its own; one in 50 has rows. */
static void make_tables(struct db *db)
{
    for (int i = 0; i < TABLES; i += TABLES_A_TRANSACTION) {
        _cleanup_free_ char *sql = xasprintf(
            "do $$begin for i in %d..%d loop execute format('create table t_%%s (a serial, b "
            "text)', i); if i %% 50 = 0 then execute format('insert into t_%%s (b)"
            " select ''x'' from generate_series(1, 3)', i); end if; end loop; end$$",
            i + 1, i + TABLES_A_TRANSACTION);
        place_sql(db, sql);
    }
}

START_TEST(thousands_of_tables_come_back_and_too_few_locks_are_said)
{
    struct yard y;
    _cleanup_err_ struct err err = {0};
    open_yard(&y);
    make_tables(y.db);
    ASSERT_OK(try_backup(&y, &err), &err);
    verify(&y);

    /* locks for hundreds: enough for a restore, not for a backup */
    db_close(TAKE_PTR(y.db));
    own_server_configure(&y.server, "max_locks_per_transaction = 10\nmax_connections = 10\n");
    restore(&y);
    y.db = place_db(y.source);
    must_be_same(&y, "select count(*) || ' ' || sum(hashtext(relname)) from pg_class"
                     " where oid >= 16384 and relkind in ('r', 'S')");
    struct db *db = place_db(y.back);
    _cleanup_free_ char *last = place_query(db, "select last_value from t_50_a_seq");
    ck_assert_str_eq(last, "3");
    db_close(db);
    ck_assert_int_eq(unlink(y.bundle), 0);
    ck_assert_int_eq(try_backup(&y, &err), -1);
    ck_assert_int_eq(err.code, ERR_ENV);
    ck_assert_str_eq(err.message,
                     "the server's lock table has no room for a lock on each of 5000 tables");
    ck_assert_ptr_nonnull(strstr(err.hint, "raise max_locks_per_transaction"));
    ck_assert(!file_exists(y.bundle));
    close_yard(&y);
}
END_TEST

/* 100 MB of text, and 100 MB of bytes, which are 200 MB when they are read. */
START_TEST(values_of_100_mb_come_back)
{
    struct yard y;
    _cleanup_err_ struct err err = {0};
    open_yard(&y);
    place_sql(y.db, "create table large (a text, b bytea);"
                    " insert into large (a) select repeat('0123456789', 10000000);"
                    " insert into large (b) select decode(repeat('00ff5c0a', 25000000), 'hex')");
    ASSERT_OK(try_backup(&y, &err), &err);
    verify(&y);
    restore(&y);
    must_be_same(&y, "select string_agg(coalesce(md5(a), md5(b)), ' ' order by a) from large");
    close_yard(&y);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("backup_large");
    SUITE_ADD(s, thousands_of_tables_come_back_and_too_few_locks_are_said);
    SUITE_ADD(s, values_of_100_mb_come_back);
    return suite_run(s);
}
