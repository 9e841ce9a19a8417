#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "backup/deploy_lock.h"
#include "harness/base/file.h"
#include "harness/engine/url.h"
#include "tests/fixture.h"

static struct fixture f;
static struct err err;
static struct deploy_lock *lock, *second;
static char *holder;

static const struct engine *engine_of(int i)
{
    return engines[i];
}

static void begin(int i)
{
    fixture_open(&f, engine_of(i));
    db_close(TAKE_PTR(f.db));
}

static void end(void)
{
    deploy_lock_free(TAKE_PTR(lock));
    deploy_lock_free(TAKE_PTR(second));
    free(TAKE_PTR(holder));
    err_release(&err);
    fixture_close(&f);
}

static int take(int i, struct deploy_lock **ret)
{
    int rc = deploy_lock_take(engine_of(i), scratch_url(f.scratch), ret, &holder, &err);
    ASSERT_OK(rc, &err);
    return rc;
}

START_TEST(a_lock_is_taken_once_and_free_again_afterwards)
{
    begin(_i);
    ck_assert_int_eq(take(_i, &lock), 1);
    ck_assert_int_eq(take(_i, &second), 0);
    ck_assert_ptr_null(second);
    ck_assert_ptr_nonnull(strstr(holder, "process"));
    ASSERT_OK(deploy_lock_confirm(lock, &err), &err);
    deploy_lock_free(TAKE_PTR(lock));
    ck_assert_int_eq(take(_i, &second), 1);
    end();
}
END_TEST

START_TEST(another_database_has_a_lock_of_its_own)
{
    struct scratch *other = NULL;
    begin(_i);
    ASSERT_OK(scratch_new(fixture_pool(engine_of(_i)), &other, &err), &err);
    ck_assert_int_eq(take(_i, &lock), 1);
    ck_assert_int_eq(deploy_lock_take(engine_of(_i), scratch_url(other), &second, &holder, &err),
                     1);
    deploy_lock_free(TAKE_PTR(second));
    scratch_free(other);
    end();
}
END_TEST

START_TEST(the_lock_of_a_killed_process_is_free)
{
    int ready[2];
    char c;
    begin(_i);
    ck_assert_int_eq(pipe(ready), 0);
    pid_t child = fork();
    if (child == 0) {
        int rc = deploy_lock_take(engine_of(_i), scratch_url(f.scratch), &lock, &holder, &err);
        if (rc == 1 && write(ready[1], "1", 1) == 1)
            pause();
        _exit(1);
    }
    close(ready[1]);
    ck_assert_int_eq(read(ready[0], &c, 1), 1);
    ck_assert_int_eq(take(_i, &second), 0);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    /* the server notices the end of the session in its own time */
    for (int i = 0; i < 500 && !second; i++) {
        free(TAKE_PTR(holder));
        if (take(_i, &second) == 0)
            usleep(10000);
    }
    ck_assert_ptr_nonnull(second);
    close(ready[0]);
    end();
}
END_TEST

/* Between fork() and exec() a child holds what its parent had opened. */
START_TEST(a_lock_that_lives_on_in_a_child_of_a_killed_process_is_waited_for)
{
    int ready[2];
    pid_t orphan;
    begin(0);
    ck_assert_int_eq(pipe(ready), 0);
    pid_t child = fork();
    if (child == 0) {
        int rc = deploy_lock_take(engine_of(0), scratch_url(f.scratch), &lock, &holder, &err);
        pid_t mine = rc == 1 ? fork() : -1;
        if (mine == 0) {
            usleep(300000);
            _exit(0);
        }
        _exit(write(ready[1], &mine, sizeof(mine)) != sizeof(mine));
    }
    ck_assert_int_eq(read(ready[0], &orphan, sizeof(orphan)), sizeof(orphan));
    ck_assert_int_gt(orphan, 0);
    waitpid(child, NULL, 0);
    ck_assert_int_eq(take(0, &second), 1);
    close(ready[0]);
    end();
}
END_TEST

START_TEST(a_lock_that_was_lost_with_its_session_is_noticed)
{
    struct db *db = NULL;
    begin(1);
    ck_assert_int_eq(take(1, &lock), 1);
    ASSERT_OK(db_open(&engine_postgres, scratch_url(f.scratch), DB_OPEN_DEFAULT, &db, &err), &err);
    ASSERT_OK(db_run(db,
                     "select pg_terminate_backend(pid) from pg_locks where locktype = 'advisory'"
                     " and classid = 1651270009",
                     DB_RUN_WHOLE, NULL, &err),
              &err);
    db_close(db);
    ck_assert_int_lt(deploy_lock_confirm(lock, &err), 0);
    ck_assert_int_eq(err.code, ERR_ENV);
    end();
}
END_TEST

START_TEST(a_missing_sqlite_file_leaves_nothing_behind)
{
    char dir[] = "/tmp/belay-test-XXXXXX";
    ck_assert_ptr_nonnull(mkdtemp(dir));
    char *path = path_join(dir, "new.db"), *url = url_for_sqlite_path(path);
    ck_assert_int_eq(deploy_lock_take(&engine_sqlite, url, &lock, &holder, &err), 1);
    ck_assert(file_exists(path));
    ck_assert_int_eq(deploy_lock_take(&engine_sqlite, url, &second, &holder, &err), 0);
    deploy_lock_free(TAKE_PTR(lock));
    ck_assert(!file_exists(path));

    /* unless somebody filled it meanwhile */
    ck_assert_int_eq(deploy_lock_take(&engine_sqlite, url, &lock, &holder, &err), 1);
    ck_assert_int_eq(truncate(path, 1), 0);
    deploy_lock_free(TAKE_PTR(lock));
    ck_assert(file_exists(path));
    free(path);
    free(url);
    free(TAKE_PTR(holder));
    ASSERT_OK(tree_remove(dir, &err), &err);
}
END_TEST

START_TEST(a_database_that_is_not_there_is_an_error)
{
    begin(1);
    _cleanup_conninfo_ struct conninfo c = {0};
    ASSERT_OK(conninfo_parse(scratch_url(f.scratch), &c, &err), &err);
    conninfo_set(&c, "dbname", "there_is_no_such_database");
    char *url = conninfo_url(&c);
    ck_assert_int_lt(deploy_lock_take(&engine_postgres, url, &lock, &holder, &err), 0);
    ck_assert_int_eq(err.code, ERR_ENV);
    free(url);
    end();
}
END_TEST

int main(void)
{
    Suite *s = suite_create("deploy_lock");
    SUITE_ADD_LOOP(s, a_lock_is_taken_once_and_free_again_afterwards, 2);
    SUITE_ADD_LOOP(s, another_database_has_a_lock_of_its_own, 2);
    SUITE_ADD_LOOP(s, the_lock_of_a_killed_process_is_free, 2);
    SUITE_ADD(s, a_lock_that_lives_on_in_a_child_of_a_killed_process_is_waited_for);
    SUITE_ADD(s, a_lock_that_was_lost_with_its_session_is_noticed);
    SUITE_ADD(s, a_missing_sqlite_file_leaves_nothing_behind);
    SUITE_ADD(s, a_database_that_is_not_there_is_an_error);
    return fixture_run(s);
}
