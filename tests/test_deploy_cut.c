/*
 * Deploys to PostgreSQL in which something is killed while a revision runs: belay, the Python that runs it, the
 * server's process that serves it, the whole server. Each ends with the old database, told by pg_dump and plain SQL.
 * test_deploy_crash*.c kill at every system call; here is a statement that would run on.
 */
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "tests/alembic_project.h"
#include "tests/bundle_fixture.h"
#include "tests/deploy_site.h"
#include "tests/own_server.h"

static struct own_server server;

#define BASE "create table people (id int primary key, name text not null)"
#define GOOD "alter table people add a int default 4"
#define GOOD_DOWN "alter table people drop a"

enum kind { FOLDER, ALEMBIC, KINDS };

/* `sleep` is a statement that does not end. after_good: a revision that works comes before it. */
static char *project(enum kind kind, bool after_good, const char *sleep)
{
    if (kind == FOLDER) {
        char *dir = folder_new();
        _cleanup_free_ char *last = xasprintf(
            "-- migrate:up\ncreate table z (x int);\n%s;\n-- migrate:down\ndrop table z;\n", sleep);
        folder_fill(dir, (const struct file[]){
                             {"db/migrations/1_base.sql",
                              "-- migrate:up\n" BASE ";\n-- migrate:down\ndrop table people;\n"},
                             {"db/migrations/3_x.sql", last},
                             {after_good ? "db/migrations/2_x.sql" : NULL,
                              "-- migrate:up\n" GOOD ";\n-- migrate:down\n" GOOD_DOWN ";\n"},
                             {0}});
        return dir;
    }
    _cleanup_free_ char *env = env_with(sync_env, "");
    _cleanup_free_ char *last =
        xasprintf("op.execute('create table z (x int)')\nop.execute(\"%s\")", sleep);
    const struct rev base = {"1", "down_revision = None", "op.execute('" BASE "')",
                             "op.execute('drop table people')"};
    const struct rev good = {"2", "down_revision = '1'", "op.execute('" GOOD "')",
                             "op.execute('" GOOD_DOWN "')"};
    const struct rev hangs = {"3", after_good ? "down_revision = '2'" : "down_revision = '1'", last,
                              "op.execute('drop table z')"};
    return project_write("postgresql", env,
                         after_good ? (const struct rev[]){base, good, hangs, {0}}
                                    : (const struct rev[]){base, hangs, {0}});
}

/* A site with a deploy that hangs in its last revision. */
struct cut {
    struct site site;
    pid_t belay;
    char *sleeps; /* query: does it? */
};

static void cut_open(struct cut *c, enum kind kind, bool after_good, const char *args)
{
    struct site *s = &c->site;
    int seconds = 10000 + getpid(); /* a name for it, too */
    _cleanup_free_ char *sleep = xasprintf("select pg_sleep(%d)", seconds);
    c->sleeps = xasprintf("select exists (select from pg_stat_activity where state = 'active' and "
                          "query like '%%pg_sleep(%d)%%' and pid <> pg_backend_pid())",
                          seconds);
    site_open(s, server.url, project(kind, after_good, sleep));
    site_belay(s, 0, "upgrade 1");
    site_sql(s, "insert into people select i, 'person ' || i from generate_series(1, 50) i");
    site_begin(s);
    c->belay = site_start(s, args);
    site_until(s, c->sleeps);
}

static void cut_close(struct cut *c)
{
    _cleanup_free_ char *there = site_value(&c->site, c->sleeps);
    ck_assert_str_eq(there, "f");
    free(c->sleeps);
    site_close(&c->site);
}

static const char *rung_of(bool after_good)
{
    return after_good ? "downgrade" : "unchanged";
}

START_TEST(a_statement_that_outlives_its_belay_is_ended_before_anything_is_decided)
{
    struct cut c;
    bool after_good = _i / KINDS;
    cut_open(&c, (enum kind)(_i % KINDS), after_good, "deploy");
    kill(c.belay, SIGKILL);
    ck_assert_int_eq(site_wait(c.belay), 128 + SIGKILL);
    site_belay(&c.site, 4, "recover");
    site_is_back(&c.site, rung_of(after_good));
    site_belay(&c.site, 0, "recover");
    ck_assert_ptr_nonnull(strstr(c.site.out, "nothing to recover"));
    cut_close(&c);
}
END_TEST

START_TEST(a_killed_python_is_noticed_and_its_statement_ended)
{
    struct cut c;
    cut_open(&c, ALEMBIC, _i, "deploy");
    _cleanup_free_ char *kill = xasprintf("pkill -KILL -P %d python3", (int)c.belay);
    ck_assert_int_eq(system(kill), 0);
    ck_assert_int_eq(site_wait(c.belay), 4);
    site_is_back(&c.site, rung_of(_i));
    cut_close(&c);
}
END_TEST

START_TEST(a_killed_session_is_noticed)
{
    struct cut c;
    bool after_good = _i / KINDS;
    cut_open(&c, (enum kind)(_i % KINDS), after_good, "deploy");
    site_sql(&c.site, "select pg_terminate_backend(pid) from pg_stat_activity"
                      " where query like '%pg_sleep%' and pid <> pg_backend_pid()");
    ck_assert_int_eq(site_wait(c.belay), 4);
    site_is_back(&c.site, rung_of(after_good));
    cut_close(&c);
}
END_TEST

/* waits: long enough for the server to come back; otherwise `belay recover` goes on. */
static void stop_server(enum kind kind, bool after_good, bool waits)
{
    struct cut c;
    cut_open(&c, kind, after_good, waits ? "deploy --patience 2m" : "deploy --patience 1s");
    own_server_down(&server);
    if (waits) {
        site_until_journal(&c.site, DEPLOY_ROLLING_BACK);
        own_server_up(&server);
        ck_assert_int_eq(site_wait(c.belay), 4);
    } else {
        ck_assert_int_eq(site_wait(c.belay), 5);
        site_is_at(&c.site, DEPLOY_ROLLING_BACK);
        own_server_up(&server);
        site_belay(&c.site, 4, "recover");
    }
    site_is_back(&c.site, rung_of(after_good));
    cut_close(&c);
    own_server_stop(&server);
}

START_TEST(a_server_that_stops_in_the_middle_is_waited_for)
{
    own_server_start(&server);
    stop_server((enum kind)(_i % KINDS), _i / KINDS, true);
}
END_TEST

START_TEST(a_server_that_stays_away_is_left_to_recover)
{
    own_server_start(&server);
    stop_server(FOLDER, _i, false);
}
END_TEST

static void server_begin(void)
{
    own_server_start(&server);
}

static void server_end(void)
{
    own_server_stop(&server);
}

int main(void)
{
    const char *no_alembic = alembic_suite_begin();
    if (no_alembic)
        return suite_skip(no_alembic);
    Suite *s = suite_create("deploy_cut");
    TCase *t = tcase_create("one server for all");
    tcase_set_timeout(t, 0);
    tcase_add_unchecked_fixture(t, server_begin, server_end);
    tcase_add_loop_test(t, a_statement_that_outlives_its_belay_is_ended_before_anything_is_decided,
                        0, 2 * KINDS);
    tcase_add_loop_test(t, a_killed_python_is_noticed_and_its_statement_ended, 0, 2);
    tcase_add_loop_test(t, a_killed_session_is_noticed, 0, 2 * KINDS);
    suite_add_tcase(s, t);
    SUITE_ADD_LOOP(s, a_server_that_stops_in_the_middle_is_waited_for, 2 * KINDS);
    SUITE_ADD_LOOP(s, a_server_that_stays_away_is_left_to_recover, 2);
    return suite_run(s);
}
