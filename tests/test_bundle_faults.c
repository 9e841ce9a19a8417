/*
 * Every system call of writing a bundle, reading it, and restoring it fails in turn; and belay is
 * killed at each. The linker puts the functions below in the place of the calls (--wrap), SQLite
 * offers a table of its own.
 */
#include <errno.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "backup/backup.h"
#include "harness/base/file.h"
#include "tests/bundle_fixture.h"

enum fault {
    FAULT_NOSPACE,
    FAULT_IO,
    FAULT_INTR,  /* must go unnoticed */
    FAULT_SHORT, /* too: half of what was asked for */
    FAULT_KILL,
    FAULTS,
};

static struct {
    enum fault fault;
    atomic_int countdown; /* the call that fails; below 0: none */
    atomic_bool hit;
} plan = {.countdown = -1};

/* True when this call is the one. transfers: it moves bytes, so that it can do less. */
static bool fails(bool transfers, size_t *len)
{
    if (atomic_load(&plan.countdown) < 0 || atomic_fetch_sub(&plan.countdown, 1) != 0)
        return false;
    atomic_store(&plan.hit, true);
    switch (plan.fault) {
    case FAULT_KILL:
        kill(getpid(), SIGKILL);
        return true;
    case FAULT_SHORT:
        if (transfers && *len > 1)
            *len /= 2;
        return false;
    case FAULT_INTR:
        errno = EINTR;
        return transfers;
    default:
        errno = plan.fault == FAULT_NOSPACE ? ENOSPC : EIO;
        return true;
    }
}

#define WRAP(type, name, parameters, arguments, transfers, len)                                    \
    type __real_##name parameters;                                                                 \
    type __wrap_##name parameters;                                                                 \
    type __wrap_##name parameters                                                                  \
    {                                                                                              \
        return fails(transfers, len) ? -1 : __real_##name arguments;                               \
    }                                                                                              \
    struct wrap_##name##_semicolon

WRAP(ssize_t, write, (int fd, const void *p, size_t n), (fd, p, n), true, &n);
WRAP(ssize_t, read, (int fd, void *p, size_t n), (fd, p, n), true, &n);
WRAP(ssize_t, pwrite64, (int fd, const void *p, size_t n, off_t at), (fd, p, n, at), true, &n);
WRAP(ssize_t, pread64, (int fd, void *p, size_t n, off_t at), (fd, p, n, at), true, &n);
WRAP(int, fsync, (int fd), (fd), false, NULL);
WRAP(int, fchmod, (int fd, mode_t mode), (fd, mode), false, NULL);
WRAP(int, mkostemp64, (char *path, int flags), (path, flags), false, NULL);
WRAP(int, renameat2, (int a, const char *from, int b, const char *to, unsigned flags),
     (a, from, b, to, flags), false, NULL);

/* The mode is there only when a file is made, and harmless otherwise. */
int __real_open64(const char *path, int flags, mode_t mode);
int __wrap_open64(const char *path, int flags, mode_t mode);
int __wrap_open64(const char *path, int flags, mode_t mode)
{
    return fails(false, NULL) ? -1 : __real_open64(path, flags, mode);
}

/* ---- SQLite's own calls ---- */

static ssize_t (*sqlite_write)(int, const void *, size_t);
static ssize_t (*sqlite_read)(int, void *, size_t);
static ssize_t (*sqlite_pwrite)(int, const void *, size_t, off_t);
static ssize_t (*sqlite_pread)(int, void *, size_t, off_t);

static int (*sqlite_open_file)(const char *, int, int);
static int (*sqlite_truncate)(int, off_t);

static int fault_open(const char *path, int flags, int mode)
{
    return fails(false, NULL) ? -1 : sqlite_open_file(path, flags, mode);
}

static int fault_truncate(int fd, off_t size)
{
    return fails(false, NULL) ? -1 : sqlite_truncate(fd, size);
}

static ssize_t fault_write(int fd, const void *p, size_t n)
{
    return fails(true, &n) ? -1 : sqlite_write(fd, p, n);
}

static ssize_t fault_read(int fd, void *p, size_t n)
{
    return fails(true, &n) ? -1 : sqlite_read(fd, p, n);
}

static ssize_t fault_pwrite(int fd, const void *p, size_t n, off_t at)
{
    return fails(true, &n) ? -1 : sqlite_pwrite(fd, p, n, at);
}

static ssize_t fault_pread(int fd, void *p, size_t n, off_t at)
{
    return fails(true, &n) ? -1 : sqlite_pread(fd, p, n, at);
}

static void replace_call(const char *name, void *saved, void *with)
{
    sqlite3_vfs *vfs = sqlite3_vfs_find("unix");
    sqlite3_syscall_ptr old = vfs->xGetSystemCall(vfs, name);
    if (!old)
        return; /* this library was built without it */
    memcpy(saved, &old, sizeof(old));
    if (vfs->xSetSystemCall(vfs, name, (sqlite3_syscall_ptr)with) != SQLITE_OK)
        abort();
}

static void wrap_sqlite(void)
{
    replace_call("open", &sqlite_open_file, (void *)fault_open);
    replace_call("ftruncate", &sqlite_truncate, (void *)fault_truncate);
    replace_call("write", &sqlite_write, (void *)fault_write);
    replace_call("read", &sqlite_read, (void *)fault_read);
    replace_call("pwrite64", &sqlite_pwrite, (void *)fault_pwrite);
    replace_call("pread64", &sqlite_pread, (void *)fault_pread);
    if (!sqlite_pwrite)
        replace_call("pwrite", &sqlite_pwrite, (void *)fault_pwrite);
    if (!sqlite_pread)
        replace_call("pread", &sqlite_pread, (void *)fault_pread);
}

/* ---- one run with one fault ---- */

static void arm(enum fault fault, int n)
{
    plan.fault = fault;
    atomic_store(&plan.hit, false);
    atomic_store(&plan.countdown, n);
}

static bool disarm(void)
{
    atomic_store(&plan.countdown, -1);
    return atomic_load(&plan.hit);
}

/* Runs it in a child that is killed at call n; false when it came to its end. */
static bool killed(int (*run)(const char *dir, struct err *err), const char *dir, int n)
{
    pid_t pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        _cleanup_err_ struct err err = {0};
        arm(FAULT_KILL, n);
        _exit(run(dir, &err) < 0 ? 1 : 0);
    }
    int status;
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_msg(WIFSIGNALED(status) || WEXITSTATUS(status) == 0, "call %d", n);
    return WIFSIGNALED(status);
}

static int write_bundle(const char *dir, struct err *err)
{
    _cleanup_free_ char *path = path_join(dir, "x.belay");
    return sample_write(path, NULL, 60, 20, err);
}

static bool bundle_is_whole(const char *dir)
{
    _cleanup_err_ struct err err = {0};
    _cleanup_str_ struct str rows = {0};
    _cleanup_free_ char *path = path_join(dir, "x.belay");
    return sample_read(path, NULL, &rows, &err) == 0;
}

/* Whole, or not there at all. */
START_TEST(a_bundle_that_could_not_be_written_is_not_there)
{
    bool hit = true;
    int n;
    for (n = 0; hit; n++) {
        char *dir = dir_new();
        _cleanup_err_ struct err err = {0};
        int rc;
        if (_i == FAULT_KILL) {
            hit = killed(write_bundle, dir, n);
            size_t left = dir_count(dir);
            ck_assert_uint_le(left, 1);
            rc = hit && !bundle_is_whole(dir) ? -1 : 0;
            if (rc < 0 && left) { /* the next writer removes it */
                ASSERT_OK(write_bundle(dir, &err), &err);
                ck_assert_uint_eq(dir_count(dir), 1);
                ck_assert(bundle_is_whole(dir));
            }
        } else {
            arm((enum fault)_i, n);
            rc = write_bundle(dir, &err);
            hit = disarm();
            ck_assert_msg(rc == 0 || (_i != FAULT_INTR && _i != FAULT_SHORT), "call %d: %s", n,
                          err.message);
            ck_assert_msg(rc == 0 || err.code == ERR_ENV, "call %d: %s", n, err.message);
            ck_assert_uint_eq(dir_count(dir), rc < 0 ? 0 : 1);
            ck_assert(rc < 0 || bundle_is_whole(dir));
            ck_assert(rc < 0 || !hit || _i == FAULT_INTR || _i == FAULT_SHORT);
        }
        dir_drop(dir);
    }
    ck_assert_int_gt(n, 15);
}
END_TEST

START_TEST(a_bundle_that_cannot_be_read_is_an_error_of_the_environment)
{
    char *dir = dir_new();
    _cleanup_free_ char *path = path_join(dir, "x.belay");
    _cleanup_err_ struct err first = {0};
    ASSERT_OK(write_bundle(dir, &first), &first);
    bool hit = true;
    int n;
    for (n = 0; hit; n++) {
        _cleanup_err_ struct err err = {0};
        _cleanup_str_ struct str rows = {0};
        arm((enum fault)_i, n);
        int rc = sample_read(path, NULL, &rows, &err);
        hit = disarm();
        bool harmless = !hit || _i == FAULT_INTR || _i == FAULT_SHORT;
        ck_assert_msg((rc == 0) == harmless, "call %d: %s", n, err.message);
        ck_assert(rc == 0 || err.code == ERR_ENV);
    }
    ck_assert_int_gt(n, 5);
    dir_drop(dir);
}
END_TEST

/* ---- SQLite: backup and restore ---- */

static void sql(const char *path, const char *text)
{
    sqlite3 *db;
    ck_assert_int_eq(sqlite3_open(path, &db), SQLITE_OK);
    ck_assert_msg(sqlite3_exec(db, text, NULL, NULL, NULL) == SQLITE_OK, "%s", sqlite3_errmsg(db));
    sqlite3_close(db);
}

/* The one value, and a database that is sound. */
static char *content(const char *dir)
{
    _cleanup_free_ char *path = path_join(dir, "target.db"), *sound = NULL;
    _cleanup_err_ struct err err = {0};
    _cleanup_db_ struct db *db = NULL;
    char *value;
    ASSERT_OK(db_open(&engine_sqlite, path, DB_OPEN_DEFAULT, &db, &err), &err);
    ASSERT_OK(db_query_text(db, "pragma integrity_check", NULL, 0, &sound, &err), &err);
    ck_assert_str_eq(sound, "ok");
    ASSERT_OK(db_query_text(db, "select a || ' ' || count(*) from t", NULL, 0, &value, &err), &err);
    return value;
}

static int backup_sqlite_file(const char *dir, struct err *err)
{
    _cleanup_free_ char *url = xasprintf("sqlite:///%s/target.db", dir),
                        *bundle = path_join(dir, "x.belay");
    struct backup_summary s = {0};
    int rc =
        backup_create(&(struct backup_options){.url = url, .path = bundle, .jobs = 1}, &s, err);
    backup_summary_release(&s);
    return rc;
}

static int restore_sqlite_file(const char *dir, struct err *err)
{
    _cleanup_free_ char *path = path_join(dir, "target.db"), *bundle = path_join(dir, "x.belay");
    struct restore_result r = {0};
    int rc =
        backup_restore(&(struct restore_options){.path = bundle, .url = path, .jobs = 1}, &r, err);
    restore_result_release(&r);
    return rc;
}

static char *place_new(void)
{
    char *dir = dir_new();
    _cleanup_free_ char *path = path_join(dir, "target.db");
    sql(path,
        "create table t (a, b); with recursive n(i) as (select 1 union all select i + 1 from n"
        " where i < 50) insert into t select 'bundled', randomblob(500) from n");
    return dir;
}

/* As a bundle of it was made, with other content since. */
static char *place_with_bundle(void)
{
    _cleanup_err_ struct err err = {0};
    char *dir = place_new();
    _cleanup_free_ char *path = path_join(dir, "target.db");
    ASSERT_OK(backup_sqlite_file(dir, &err), &err);
    sql(path, "update t set a = 'mine'; delete from t where rowid > 20");
    return dir;
}

START_TEST(a_backup_of_sqlite_that_failed_leaves_nothing)
{
    bool hit = true;
    for (int n = 0; hit; n++) {
        _cleanup_err_ struct err err = {0};
        char *dir = place_new();
        arm((enum fault)_i, n);
        int rc = backup_sqlite_file(dir, &err);
        hit = disarm();
        bool harmless = _i == FAULT_INTR || _i == FAULT_SHORT;
        ck_assert_msg(rc == 0 || !harmless, "call %d: %s", n, err.message);
        ck_assert_uint_eq(dir_count(dir), rc == 0 ? 2 : 1);
        dir_drop(dir);
    }
}
END_TEST

START_TEST(a_restore_that_failed_leaves_the_old_content_or_the_new)
{
    bool hit = true;
    int n, old = 0, new = 0;
    for (n = 0; hit; n++) {
        _cleanup_err_ struct err err = {0};
        char *dir = place_with_bundle();
        int rc = 0;
        if (_i == FAULT_KILL) {
            hit = killed(restore_sqlite_file, dir, n);
        } else {
            arm((enum fault)_i, n);
            rc = restore_sqlite_file(dir, &err);
            hit = disarm();
        }
        bool harmless = !hit || _i == FAULT_INTR || _i == FAULT_SHORT;
        ck_assert_msg(rc == 0 || !harmless, "call %d: %s", n, err.message);
        _cleanup_free_ char *now = content(dir);
        bool is_new = strcmp(now, "bundled 50") == 0;
        ck_assert_msg(is_new || strcmp(now, "mine 20") == 0, "call %d: %s", n, now);
        ck_assert_msg(is_new || !harmless, "call %d: still the old content", n);
        ck_assert_msg(is_new || rc < 0 || _i == FAULT_KILL, "call %d: done, and nothing done", n);
        old += !is_new;
        new += is_new;
        dir_drop(dir);
    }
    ck_assert_int_gt(n, 20);
    ck_assert_int_gt(new, 0);
    ck_assert(old > 0 || _i == FAULT_INTR || _i == FAULT_SHORT);
}
END_TEST

int main(void)
{
    wrap_sqlite();
    Suite *s = suite_create("bundle_faults");
    SUITE_ADD_LOOP(s, a_bundle_that_could_not_be_written_is_not_there, FAULTS);
    SUITE_ADD_LOOP(s, a_bundle_that_cannot_be_read_is_an_error_of_the_environment, FAULT_KILL);
    SUITE_ADD_LOOP(s, a_backup_of_sqlite_that_failed_leaves_nothing, FAULT_KILL);
    SUITE_ADD_LOOP(s, a_restore_that_failed_leaves_the_old_content_or_the_new, FAULTS);
    return suite_run(s);
}
