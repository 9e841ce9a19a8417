/*
 * belay itself, killed or interrupted in the middle of a check: nothing stays, or the next run
 * clears it.
 */
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness/base/file.h"
#include "harness/base/proc.h"
#include "harness/base/str.h"
#include "harness/engine/guard.h"
#include "harness/engine/url.h"
#include "tests/belay_process.h"
#include "tests/fixture.h"
#include "tests/migration_folder.h"

#define REVISIONS 200
/* The revision that says that it runs, and the one after it, which never ends. */
#define MIDDLE 100

static const char endless_sqlite[] =
    "with recursive n(i) as (select 1 union all select i from n) select count(*) from n;";

static void write_revision(const char *dir, int n, const char *options, const char *up,
                           const char *down)
{
    _cleanup_free_ char *name = xasprintf("%04d_r.sql", n);
    _cleanup_free_ char *text =
        xasprintf("-- migrate:up%s\n%s\n-- migrate:down\n%s\n", options, up, down);
    folder_write(dir, name, text, strlen(text));
}

/* A history whose middle never ends once it has made the file `reached`; or a plain one. */
static char *make_history(const struct engine *e, bool endless)
{
    char *dir = folder_new();
    ck_assert_int_eq(chmod(dir, 0777), 0); /* for the server's user */
    for (int i = 1; i <= REVISIONS; i++) {
        _cleanup_free_ char *up = xasprintf("create table t%d (a integer);", i);
        _cleanup_free_ char *down = xasprintf("drop table t%d;", i);
        _cleanup_free_ char *reached =
            xasprintf(e == &engine_sqlite ? "vacuum into '%s/reached';"
                                          : "copy (select 1) to program 'touch %s/reached';",
                      dir);
        bool lite = e == &engine_sqlite;
        if (endless && i == MIDDLE)
            write_revision(dir, i, " transaction:false", reached, down);
        else if (endless && i == MIDDLE + 1)
            write_revision(dir, i, "", lite ? endless_sqlite : "select pg_sleep(600);", down);
        else
            write_revision(dir, i, "", up, down);
    }
    return dir;
}

enum { AS_NOBODY = 1 };

/* Starts belay check, its output in DIR/out. */
static pid_t start_check(const char *dir, const struct engine *e, const char *scratch_url,
                         const char *cache, unsigned how)
{
    _cleanup_free_ char *out = path_join(dir, "out");
    fflush(stdout);
    /* opened as who we are: nobody may be unable to enter the folder that holds it */
    _cleanup_close_ int program = open(getenv("BELAY_BIN"), O_RDONLY | O_CLOEXEC);
    ck_assert_int_ge(program, 0);
    pid_t pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid != 0)
        return pid;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (how & AS_NOBODY) {
        become_nobody();
        unsetenv("HOME");
        prctl(PR_SET_PDEATHSIG, SIGKILL);
    }
    int fd = open(out, O_WRONLY | O_CREAT | O_TRUNC, 0666);
    dup2(fd, 1);
    dup2(fd, 2);
    if (cache)
        setenv("XDG_CACHE_HOME", cache, 1);
    unsetenv("DATABASE_URL");
    const char *argv[] = {
        getenv("BELAY_BIN"), "check",  "--engine", engine_name(e),
        "--format",          "dbmate", dir,        scratch_url ? "--scratch-url" : NULL,
        scratch_url,         NULL};
    fexecve(program, (char *const *)argv, environ);
    perror(argv[0]);
    _exit(127);
}

struct way {
    const char *middle;
    pid_t pid;
};

static bool at_middle_or_ended(void *data)
{
    struct way *w = data;
    return file_exists(w->middle) || !process_alive(w->pid);
}

static void wait_for_middle(const char *dir, pid_t pid)
{
    _cleanup_free_ char *middle = path_join(dir, "reached");
    struct way w = {.middle = middle, .pid = pid};
    if (!wait_until(at_middle_or_ended, &w) || !file_exists(middle)) {
        _cleanup_err_ struct err err = {0};
        _cleanup_free_ char *path = path_join(dir, "out"), *out = NULL;
        file_read(path, &out, NULL, &err);
        ck_abort_msg("the check %s: %s",
                     process_alive(pid) ? "does not come to its middle" : "ends before its middle",
                     out ? out : "no output");
    }
}

static void wait_killed(pid_t pid)
{
    int status;
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

/* engine and user by the number of the loop: 0 .. 3 */
#define ENGINE(i) engines[(i)&1]
#define HOW(i) ((i)&2 ? AS_NOBODY : 0u)
#define ENGINES_AND_USERS (geteuid() == 0 ? 4 : 2)

START_TEST(killed_in_the_middle_nothing_is_left)
{
    _cleanup_folder_ char *dir = make_history(ENGINE(_i), true);
    struct belay_process b = {.pid = start_check(dir, ENGINE(_i), NULL, NULL, HOW(_i))};
    wait_for_middle(dir, b.pid);
    ck_assert(belay_process_find(&b));
    kill(b.pid, SIGKILL);
    wait_killed(b.pid);
    belay_process_left_nothing(&b);
}
END_TEST

START_TEST(killed_with_its_guardian_the_next_run_clears)
{
    _cleanup_folder_ char *dir = make_history(ENGINE(_i), true);
    struct belay_process b = {.pid = start_check(dir, ENGINE(_i), NULL, NULL, HOW(_i))};
    wait_for_middle(dir, b.pid);
    ck_assert(belay_process_find(&b));
    kill(b.guardian, SIGSTOP); /* it must not be quicker than we are */
    kill(b.pid, SIGKILL);
    wait_killed(b.pid);
    kill(b.guardian, SIGKILL);
    belay_process_stopped(&b);

    _cleanup_folder_ char *plain = make_history(ENGINE(_i), false);
    pid_t next = start_check(plain, ENGINE(_i), NULL, NULL, HOW(_i));
    int status;
    ck_assert_int_eq(waitpid(next, &status, 0), next);
    ck_assert_int_eq(status, 0);
    ck_assert(!dir_exists(b.dir));
}
END_TEST

/* Wherever it is: at its start, while it prepares the cluster (no cache, so initdb runs), in the
 * check, and at its end. The moments differ from run to run; what must hold does not. */
START_TEST(killed_at_any_moment_nothing_is_left)
{
    static const int moments_ms[] = {0, 1, 5, 20, 60, 150, 400, 800, 1500, 3000};
    const struct engine *e = ENGINE(_i);
    _cleanup_folder_ char *dir = make_history(e, false);
    _cleanup_free_ char *cache = path_join(dir, "cache");
    for (size_t i = 0; i < ARRAY_LEN(moments_ms); i++) {
        struct belay_process b = {.pid = start_check(dir, e, NULL, cache, 0)};
        if (belay_process_find(&b))
            usleep((unsigned)moments_ms[i] * 1000);
        kill(b.pid, SIGKILL);
        ck_assert_int_eq(waitpid(b.pid, NULL, 0), b.pid);
        if (b.guardian)
            belay_process_left_nothing(&b);
        _cleanup_err_ struct err err = {0};
        if (i % 2) /* every second start has the cache that the one before it made, if it could */
            ck_assert_int_eq(tree_remove(cache, &err), 0);
    }
}
END_TEST

START_TEST(interrupted_in_a_long_statement_it_ends_with_code_3)
{
    _cleanup_err_ struct err err = {0};
    _cleanup_folder_ char *dir = make_history(ENGINE(_i), true);
    struct belay_process b = {.pid = start_check(dir, ENGINE(_i), NULL, NULL, HOW(_i))};
    wait_for_middle(dir, b.pid);
    ck_assert(belay_process_find(&b));
    kill(b.pid, SIGINT);
    int status;
    ck_assert_int_eq(waitpid(b.pid, &status, 0), b.pid);
    _cleanup_free_ char *path = path_join(dir, "out"), *out = NULL;
    ck_assert_int_eq(file_read(path, &out, NULL, &err), 0);
    ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 3, "status %#x: %s", status, out);
    ck_assert_ptr_nonnull(strstr(out, "interrupted"));
    /* gone already, not a moment later */
    ck_assert(!dir_exists(b.dir));
    ck_assert(!process_alive(b.guardian));
    belay_process_left_nothing(&b);
}
END_TEST

/* ---- on somebody's server: the fixture's, as a role that may create databases ---- */

static struct db *open_server(const char *role, char **ret_url)
{
    _cleanup_err_ struct err err = {0};
    _cleanup_conninfo_ struct conninfo c = {0};
    struct scratch *s;
    struct db *db;
    ASSERT_OK(scratch_new(fixture_pool(&engine_postgres), &s, &err), &err);
    ASSERT_OK(conninfo_parse(scratch_url(s), &c, &err), &err);
    scratch_free(s);
    conninfo_set(&c, "dbname", "postgres");
    _cleanup_free_ char *url = conninfo_url(&c);
    ASSERT_OK(db_open(&engine_postgres, url, DB_OPEN_DEFAULT, &db, &err), &err);
    _cleanup_free_ char *sql = xasprintf("drop role if exists %s; create role %s login createdb"
                                         " in role pg_execute_server_program",
                                         role, role);
    ASSERT_OK(db_run(db, sql, DB_RUN_STATEMENTS, NULL, &err), &err);
    conninfo_set(&c, "user", role);
    *ret_url = conninfo_url(&c);
    return db;
}

struct sweep {
    struct db *db;
    const char *url, *role;
};

/* The server needs a moment to see that a session is gone, and may be making a database for it:
 * only then does the sweep count. */
static bool is_gone(void *data)
{
    struct sweep *s = data;
    _cleanup_err_ struct err err = {0};
    _cleanup_free_ char *session = NULL;
    ASSERT_OK(db_query_text(s->db, "select 1 from pg_stat_activity where usename = $1",
                            (const char *[]){s->role}, 1, &session, &err),
              &err);
    return !session;
}

static void must_be_swept(struct sweep *s)
{
    _cleanup_err_ struct err err = {0};
    _cleanup_free_ char *left = NULL;
    struct scratch_pool *pool;
    ck_assert(wait_until(is_gone, s));
    ASSERT_OK(
        scratch_pool_open(&engine_postgres, &(struct scratch_options){.url = s->url}, &pool, &err),
        &err);
    scratch_pool_close(pool);
    ASSERT_OK(db_query_text(s->db,
                            "select string_agg(datname, ' ') from pg_database"
                            " where datdba = $1::regrole",
                            (const char *[]){s->role}, 1, &left, &err),
              &err);
    ck_assert_pstr_eq(left, NULL);
}

START_TEST(killed_on_somebodys_server_the_next_run_drops_its_databases)
{
    _cleanup_err_ struct err err = {0};
    _cleanup_free_ char *url = NULL, *n = NULL;
    struct db *db = open_server("killed_one", &url);
    struct sweep s = {.db = db, .url = url, .role = "killed_one"};
    _cleanup_folder_ char *dir = make_history(&engine_postgres, true);
    pid_t pid = start_check(dir, &engine_postgres, url, NULL, 0);
    wait_for_middle(dir, pid);
    kill(pid, SIGKILL);
    wait_killed(pid);
    ASSERT_OK(db_query_text(db, "select count(*) > 0 from pg_database where datdba = $1::regrole",
                            (const char *[]){s.role}, 1, &n, &err),
              &err);
    ck_assert_str_eq(n, "t");
    must_be_swept(&s);
    db_close(db);
}
END_TEST

static bool is_creating(struct db *db)
{
    _cleanup_err_ struct err err = {0};
    _cleanup_free_ char *creating = NULL;
    ASSERT_OK(db_query_text(db,
                            "select 1 from pg_stat_activity where usename = 'killed_often'"
                            " and state = 'active' and query like 'create database%'",
                            NULL, 0, &creating, &err),
              &err);
    return creating;
}

/* The server goes on with what it does for a client that is dead. */
START_TEST(killed_while_the_server_makes_a_database_the_next_run_drops_it)
{
    _cleanup_free_ char *url = NULL;
    struct db *db = open_server("killed_often", &url);
    struct sweep s = {.db = db, .url = url, .role = "killed_often"};
    _cleanup_folder_ char *dir = make_history(&engine_postgres, false);
    int hits = 0;
    for (int i = 0; i < 10; i++) {
        pid_t pid = start_check(dir, &engine_postgres, url, NULL, 0);
        bool creating = false;
        while (process_alive(pid) && !creating)
            creating = is_creating(db);
        hits += creating;
        kill(pid, SIGKILL);
        ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
        must_be_swept(&s);
    }
    ck_assert_int_gt(hits, 0);
    db_close(db);
}
END_TEST

START_TEST(interrupted_on_somebodys_server_it_leaves_no_database)
{
    _cleanup_err_ struct err err = {0};
    _cleanup_free_ char *url = NULL, *n = NULL;
    struct db *db = open_server("interrupted_one", &url);
    _cleanup_folder_ char *dir = make_history(&engine_postgres, true);
    pid_t pid = start_check(dir, &engine_postgres, url, NULL, 0);
    wait_for_middle(dir, pid);
    kill(pid, SIGTERM);
    int status;
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert(WIFEXITED(status));
    ck_assert_int_eq(WEXITSTATUS(status), 3);
    ASSERT_OK(db_query_text(db,
                            "select count(*) from pg_database"
                            " where datdba = 'interrupted_one'::regrole",
                            NULL, 0, &n, &err),
              &err);
    ck_assert_str_eq(n, "0");
    db_close(db);
}
END_TEST

int main(void)
{
    if (!getenv("BELAY_BIN"))
        return suite_skip("BELAY_BIN names no belay to run");
    Suite *s = suite_create("killed");
    SUITE_ADD_LOOP(s, killed_in_the_middle_nothing_is_left, ENGINES_AND_USERS);
    SUITE_ADD_LOOP(s, killed_with_its_guardian_the_next_run_clears, ENGINES_AND_USERS);
    SUITE_ADD_LOOP(s, killed_at_any_moment_nothing_is_left, 2);
    SUITE_ADD_LOOP(s, interrupted_in_a_long_statement_it_ends_with_code_3, ENGINES_AND_USERS);
    SUITE_ADD(s, killed_on_somebodys_server_the_next_run_drops_its_databases);
    SUITE_ADD(s, killed_while_the_server_makes_a_database_the_next_run_drops_it);
    SUITE_ADD(s, interrupted_on_somebodys_server_it_leaves_no_database);
    return fixture_run(s);
}
