/*
 * As test_deploy_crash.c, on PostgreSQL: belay, or the Python that runs its revisions, is killed at the n-th system
 * call that changes a file or tells the server something; then `belay recover` must end with the old database or the
 * new one. What the database holds is told by pg_dump and plain SQL.
 *
 * BELAY_CRASH_STEP=1 tries every n; without it only a few.
 */
#include <stdlib.h>
#include <string.h>

#include "harness/base/file.h"
#include "tests/alembic_project.h"
#include "tests/bundle_fixture.h"
#include "tests/deploy_killed.h"
#include "tests/deploy_site.h"

#define BASE "create table people (id int primary key, name text not null);\n"
#define ROWS "insert into people select i, 'person ' || i from generate_series(1, 40) i"
#define ADD_UP "create table a (x int); alter table people add a int default 4;"
#define ADD_DOWN "drop table a; alter table people drop a;"
#define BROKEN "insert into people values (99, 'lost'); select 1 / 0;"

static const struct crash {
    const char *name;
    bool alembic;
    const char *up, *down, *second; /* of the pending revisions; down NULL: none */
    const char *args, *who;
} crashes[] = {
    {"an upgrade that works", false, ADD_UP, ADD_DOWN, "select 1;", "", "belay"},
    {"an upgrade that is taken back", false, ADD_UP, ADD_DOWN, BROKEN, "", "belay"},
    {"an upgrade that a bundle undoes", false, ADD_UP, NULL, BROKEN, "", "belay"},
    {"an upgrade that a twin undoes", false, ADD_UP, NULL, BROKEN, " --twin", "belay"},
    {"an upgrade behind a fence that a bundle undoes", false, ADD_UP, NULL, BROKEN, " --fence",
     "belay"},
    {"Alembic's upgrade that works", true, ADD_UP, ADD_DOWN, "select 1;", "", "belay"},
    {"Alembic's own process", true, ADD_UP, ADD_DOWN, "select 1;", "", "python3"},
};
enum { FIRST_OF_ALEMBIC = 5 };

static char *folder_of(const struct crash *c)
{
    char *dir = folder_new();
    _cleanup_free_ char *first =
        xasprintf("-- migrate:up\n%s\n%s%s\n", c->up, c->down ? "-- migrate:down\n" : "",
                  c->down ? c->down : "");
    _cleanup_free_ char *second = xasprintf("-- migrate:up\n%s\n-- migrate:down\n", c->second);
    folder_fill(
        dir, (const struct file[]){{"db/migrations/1_base.sql",
                                    "-- migrate:up\n" BASE "-- migrate:down\ndrop table people;\n"},
                                   {"db/migrations/2_x.sql", first},
                                   {"db/migrations/3_x.sql", second},
                                   {0}});
    return dir;
}

static char *alembic_of(const struct crash *c)
{
    _cleanup_free_ char *env = env_with(sync_env, "");
    _cleanup_free_ char *up = xasprintf("op.execute('''%s''')", c->up);
    _cleanup_free_ char *down = xasprintf("op.execute('''%s''')", c->down);
    _cleanup_free_ char *second = xasprintf("op.execute('''%s''')", c->second);
    const struct rev revisions[] = {
        {"1", "down_revision = None", "op.execute('''" BASE "''')",
         "op.execute('drop table people')"},
        {"2", "down_revision = '1'", up, down},
        {"3", "down_revision = '2'", second, "pass"},
        {0},
    };
    return project_write("postgresql", env, revisions);
}

/* As it was at first, and no other database of the site but the one it is copied from. */
static void put_back(struct site *s)
{
    _cleanup_free_ char *others = site_value(
        s, "select string_agg(format('drop database %I with (force)', datname), ';') from "
           "pg_database where datname like current_database() || '\\_%' and datname not like "
           "'%\\_kept'");
    _cleanup_free_ char *drop = xasprintf("drop database %s with (force)", s->name);
    _cleanup_free_ char *copy = xasprintf("create database %s template %s_kept", s->name, s->name);
    if (others)
        site_server_sql(s, others);
    site_server_sql(s, drop);
    site_server_sql(s, copy);
    dir_drop(s->bundles);
    s->bundles = dir_new();
}

static char *deploy_args(const struct crash *c)
{
    return xasprintf("deploy --lost-writes accept%s", c->args);
}

/* True when the run was hit. */
static bool run_killed(struct site *s, const struct crash *c, int n)
{
    bool belay = strcmp(c->who, "belay") == 0;
    _cleanup_free_ char *args = deploy_args(c);
    struct killer killer;
    killer_init(&killer, c->who, n);
    int status = site_try(s, args, killer.env);
    killer_release(&killer);
    /* when it lives, it decides */
    ck_assert_msg(status == 0 || status == 4 || status == (belay ? 137 : 3),
                  "%s, call %d: exit %d\n%s\n%s", c->name, n, status, s->out, s->errors);
    return belay ? status == 137 : status != 0;
}

static void expect_decided(struct site *s, const struct crash *c, int n, const char *new)
{
    if (!journal_exists(s->bundles)) {
        _cleanup_free_ char *now = site_state(s, s->name);
        ck_assert_str_eq(now, s->old);
        return;
    }
    int status = site_try(s, "recover --lost-writes accept", NULL);
    ck_assert_msg(status == 0 || status == 4, "%s, call %d: recover: exit %d\n%s\n%s", c->name, n,
                  status, s->out, s->errors);
    _cleanup_free_ char *now = site_state(s, s->name), *begun = site_notes(s, "bundle");
    bool any = s->entry.database != NULL, done = any && s->entry.state == DEPLOY_DONE;
    ck_assert_msg(!any || deploy_state_is_end(s->entry.state), "%s, call %d: %s", c->name, n,
                  any ? deploy_state_name(s->entry.state) : "");
    ck_assert_msg(strcmp(now, done ? new : s->old) == 0, "%s, call %d: %s, and now\n%s\n%s\n%s",
                  c->name, n, any ? deploy_state_name(s->entry.state) : "no deploy", now, s->out,
                  s->errors);
    /* nothing but the failed database, where it was replaced */
    _cleanup_free_ char *left =
        site_value(s, "select string_agg(datname, ' ') from pg_database where datname like "
                      "current_database() || '\\_%' and datname !~ '_(kept|fenced_[0-9_]*)$'");
    ck_assert_msg(!left, "%s, call %d: %s is left\n%s\n%s", c->name, n, left, s->out, s->errors);
    site_belay(s, 0, "recover");
    ck_assert_ptr_nonnull(strstr(s->out, "nothing to recover"));
}

START_TEST(killed_anywhere_it_ends_with_the_old_database_or_the_new)
{
    const struct crash *c = &crashes[_i];
    struct site s;
    site_open(&s, NULL, c->alembic ? alembic_of(c) : folder_of(c));
    site_belay(&s, 0, "upgrade 1");
    site_sql(&s, ROWS);
    site_begin(&s);
    _cleanup_free_ char *keep = xasprintf("create database %s_kept template %s", s.name, s.name);
    site_server_sql(&s, keep);
    bool hit = run_killed(&s, c, 1000000);
    ck_assert(!hit);
    _cleanup_free_ char *new = site_state(&s, s.name);
    int n = killer_first(), runs = 0, step = killer_step(173);
    for (hit = true; hit; n += step, runs++) {
        put_back(&s);
        hit = run_killed(&s, c, n);
        expect_decided(&s, c, n, new);
    }
    ck_assert_int_gt(runs, strcmp(c->who, "belay") == 0 ? 1 : 0);
    printf("# %s: %d runs, up to call %d\n", c->name, runs, n - step);
    site_close(&s);
}
END_TEST

int main(void)
{
    const char *why = alembic_suite_begin();
    if (why)
        printf("# without Alembic: %s\n", why);
    Suite *s = suite_create("deploy_crash_postgres");
    SUITE_ADD_LOOP(s, killed_anywhere_it_ends_with_the_old_database_or_the_new,
                   why ? FIRST_OF_ALEMBIC : ARRAY_LEN(crashes));
    return fixture_run(s);
}
