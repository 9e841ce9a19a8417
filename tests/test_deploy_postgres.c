/*
 * Deploys to PostgreSQL that go wrong, through the program: after each the database is what it was, which is told by
 * pg_dump and plain SQL.
 */
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "harness/base/file.h"
#include "harness/base/proc.h"
#include "tests/alembic_project.h"
#include "tests/deploy_site.h"

/* ---- SQL folders ---- */

#define BASE                                                                                       \
    "create table people (id int primary key, name text not null);\n"                              \
    "create table log (id int generated always as identity, line text);\n"                         \
    "create table orders (id int generated always as identity primary key, note text);\n"
#define BASE_DOWN "drop table orders; drop table log; drop table people;\n"
#define ROWS                                                                                       \
    "insert into people select i, 'person ' || i % 7 from generate_series(1, 50) i;"               \
    " insert into log (line) select 'line ' || i from generate_series(1, 50) i"

#define GOOD_UP(t) "create table " t " (x int); alter table people add " t " int default 4;"
#define GOOD_DOWN(t) "drop table " t "; alter table people drop " t ";"
#define BROKEN "insert into log (line) values ('lost'); select 1 / 0;"

struct step_text {
    const char *up, *down; /* dbmate's sections; down NULL: none */
    const char *option;    /* "transaction:false" or NULL */
};

static char *dbmate(const struct step_text *steps, size_t n)
{
    char *dir = folder_new();
    struct file base = {"db/migrations/1_base.sql",
                        "-- migrate:up\n" BASE "-- migrate:down\n" BASE_DOWN};
    folder_fill(dir, (const struct file[]){base, {0}});
    for (size_t i = 0; i < n && steps[i].up; i++) {
        const char *option = steps[i].option ? steps[i].option : "";
        _cleanup_free_ char *name = xasprintf("db/migrations/%zu_x.sql", i + 2);
        _cleanup_free_ char *text =
            xasprintf("-- migrate:up %s\n%s\n%s%s\n%s\n", option, steps[i].up,
                      steps[i].down ? "-- migrate:down " : "", steps[i].down ? option : "",
                      steps[i].down ? steps[i].down : "");
        folder_write(dir, name, text, strlen(text));
    }
    return dir;
}

static void site_of(struct site *s, char *project, const char *first)
{
    _cleanup_free_ char *upgrade = xasprintf("upgrade %s", first);
    site_open(s, NULL, project);
    site_belay(s, 0, upgrade);
    site_sql(s, ROWS);
    site_begin(s);
}

struct failure {
    const char *name;
    struct step_text steps[3];
    const char *args, *rung;
};

static const struct failure failures[] = {
    {"first", {{BROKEN, "", NULL}, {GOOD_UP("b"), GOOD_DOWN("b"), NULL}}, "deploy", "unchanged"},
    {"middle",
     {{GOOD_UP("a"), GOOD_DOWN("a"), NULL}, {BROKEN, "", NULL}, {GOOD_UP("b"), "", NULL}},
     "deploy",
     "downgrade"},
    {"last",
     {{GOOD_UP("a"), GOOD_DOWN("a"), NULL},
      {GOOD_UP("b"), GOOD_DOWN("b"), NULL},
      {BROKEN, "", NULL}},
     "deploy",
     "downgrade"},
    {"after a committed revision without a way back",
     {{GOOD_UP("a"), NULL, NULL}, {BROKEN, "", NULL}},
     "deploy",
     "restore"},
    {"after one whose downgrade leaves a trace",
     {{GOOD_UP("a"), "drop table a;", NULL}, {BROKEN, "", NULL}},
     "deploy",
     "restore"},
    {"after an index made concurrently",
     {{"create index concurrently i on people (name);", "drop index concurrently i;",
       "transaction:false"},
      {BROKEN, "", NULL}},
     "deploy",
     "downgrade"},
    {"an index made concurrently that fails and stays",
     {{"create unique index concurrently i on people (name);", "drop index concurrently i;",
       "transaction:false"}},
     "deploy",
     "restore"},
    {"a hang",
     {{GOOD_UP("a"), GOOD_DOWN("a"), NULL}, {"select pg_sleep(1000);", "", NULL}},
     "deploy --deadline 1s",
     "downgrade"},
    {"a probe that fails",
     {{GOOD_UP("a"), GOOD_DOWN("a"), NULL}},
     "deploy --probe false",
     "downgrade"},
    {"an index that is not valid",
     {{"create index i on people (name); update pg_index set indisvalid = false"
       " where indexrelid = 'i'::regclass;",
       "drop index i;", NULL}},
     "deploy",
     "downgrade"},
    {"a constraint that is not valid",
     {{"alter table people add constraint c check (id < 9) not valid;",
       "alter table people drop constraint c;", NULL}},
     "deploy",
     "downgrade"},
};

START_TEST(a_failing_upgrade_of_an_sql_folder_leaves_the_database_as_it_was)
{
    const struct failure *f = &failures[_i];
    struct site s;
    site_of(&s, dbmate(f->steps, ARRAY_LEN(f->steps)), "1");
    site_belay(&s, 4, f->args);
    site_is_back(&s, f->rung);
    /* the failed database is kept, and named */
    ck_assert_msg(!s.entry.evidence == !str_eq(f->rung, "restore"), "%s", f->name);
    ck_assert(!s.entry.evidence || strstr(s.errors, s.entry.evidence));
    site_close(&s);
}
END_TEST

START_TEST(a_good_upgrade_is_deployed_once)
{
    const struct step_text steps[] = {{GOOD_UP("a"), GOOD_DOWN("a"), NULL}};
    struct site s;
    site_of(&s, dbmate(steps, 1), "1");
    site_belay(&s, 0, "deploy");
    site_is_at(&s, DEPLOY_DONE);
    _cleanup_free_ char *n = site_value(&s, "select sum(a) from people");
    ck_assert_str_eq(n, "200");
    site_belay(&s, 0, "deploy");
    ck_assert_ptr_nonnull(strstr(s.out, "nothing to deploy"));
    site_close(&s);
}
END_TEST

/* ---- Alembic ---- */

#define ALEMBIC_BASE                                                                               \
    {                                                                                              \
        "r1", "down_revision = None",                                                              \
            "op.execute('create table people (id int primary key, name text not null)')\n"         \
            "op.execute('create table log (id int generated always as identity, line text)')",     \
            "op.execute('drop table log')\nop.execute('drop table people')"                        \
    }
#define PY_GOOD(id, parent)                                                                        \
    {                                                                                              \
        id, "down_revision = '" parent "'",                                                        \
            "op.create_table('t_" id "', sa.Column('x', sa.Integer))\n"                            \
            "op.add_column('people', sa.Column('" id "', sa.Integer))",                            \
            "op.drop_column('people', '" id "')\nop.drop_table('t_" id "')"                        \
    }
#define PY_BROKEN(id, parent)                                                                      \
    {                                                                                              \
        id, "down_revision = '" parent "'",                                                        \
            "op.execute(\"insert into log (line) values ('lost')\")\nop.execute('select 1 / 0')",  \
            "pass"                                                                                 \
    }

struct alembic_failure {
    const char *name;
    struct rev revisions[5];
    const char *args, *rung;
};

static const struct alembic_failure alembic_failures[] = {
    {"first", {ALEMBIC_BASE, PY_BROKEN("r2", "r1"), PY_GOOD("r3", "r2")}, "deploy", "unchanged"},
    {"middle",
     {ALEMBIC_BASE, PY_GOOD("r2", "r1"), PY_BROKEN("r3", "r2"), PY_GOOD("r4", "r3")},
     "deploy",
     "downgrade"},
    {"last",
     {ALEMBIC_BASE, PY_GOOD("r2", "r1"), PY_GOOD("r3", "r2"), PY_BROKEN("r4", "r3")},
     "deploy",
     "downgrade"},
    {"Python that raises",
     {ALEMBIC_BASE, PY_GOOD("r2", "r1"), {"r3", "down_revision = 'r2'", "x = {}['y']", "pass"}},
     "deploy",
     "downgrade"},
    {"after a revision that cannot be taken back",
     {ALEMBIC_BASE,
      {"r2", "down_revision = 'r1'", "op.add_column('people', sa.Column('x', sa.Integer))",
       "raise NotImplementedError"},
      PY_BROKEN("r3", "r2")},
     "deploy",
     "restore"},
    {"the worker killed",
     {ALEMBIC_BASE,
      PY_GOOD("r2", "r1"),
      {"r3", "down_revision = 'r2'",
       "op.execute('create table z (x int)')\nimport os\nos.kill(os.getpid(), 9)", "pass"}},
     "deploy",
     "downgrade"},
    {"a hang",
     {ALEMBIC_BASE,
      PY_GOOD("r2", "r1"),
      {"r3", "down_revision = 'r2'",
       "op.execute('create table z (x int)')\nop.execute('select pg_sleep(1000)')", "pass"}},
     "deploy --deadline 2s",
     "downgrade"},
    {"a hang outside of the database",
     {ALEMBIC_BASE,
      PY_GOOD("r2", "r1"),
      {"r3", "down_revision = 'r2'",
       "op.execute('create table z (x int)')\nimport time\ntime.sleep(1000)", "pass"}},
     "deploy --deadline 2s",
     "downgrade"},
    {"a part committed in an autocommit block",
     {ALEMBIC_BASE,
      {"r2", "down_revision = 'r1'",
       "with op.get_context().autocommit_block():\n"
       "    op.execute('create index concurrently i on people (name)')\n"
       "op.execute('select 1 / 0')",
       "pass"}},
     "deploy",
     "restore"},
    {"a probe that fails",
     {ALEMBIC_BASE, PY_GOOD("r2", "r1")},
     "deploy --probe false",
     "downgrade"},
};

static char *alembic(const struct rev *revisions)
{
    _cleanup_free_ char *env = env_with(sync_env, "");
    return project_write("postgresql", env, revisions);
}

START_TEST(a_failing_upgrade_of_alembic_leaves_the_database_as_it_was)
{
    const struct alembic_failure *f = &alembic_failures[_i];
    struct site s;
    site_of(&s, alembic(f->revisions), "r1");
    site_belay(&s, 4, f->args);
    site_is_back(&s, f->rung);
    site_close(&s);
}
END_TEST

/* ---- timeouts ---- */

static const struct step_text adds_column[] = {{GOOD_UP("a"), GOOD_DOWN("a"), NULL}};
static const struct rev alembic_adds_column[] = {ALEMBIC_BASE, PY_GOOD("r2", "r1"), {0}};

/* A session of somebody else's that has read people in a transaction. */
static struct db *reader(const struct site *s)
{
    _cleanup_err_ struct err err = {0};
    struct db *db = NULL;
    ASSERT_OK(db_open(&engine_postgres, s->url, DB_OPEN_DEFAULT, &db, &err), &err);
    ASSERT_OK(db_run(db, "begin; select count(*) from people", DB_RUN_STATEMENTS, NULL, &err),
              &err);
    return db;
}

static void site_of_kind(struct site *s, int alembic_too)
{
    if (alembic_too)
        site_of(s, alembic(alembic_adds_column), "r1");
    else
        site_of(s, dbmate(adds_column, 1), "1");
}

START_TEST(a_lock_that_cannot_be_had_is_tried_for_and_given_up)
{
    struct site s;
    site_of_kind(&s, _i);
    struct db *other = reader(&s);
    site_belay(&s, 4, "deploy --lock-timeout 50ms --lock-retries 2");
    ck_assert_ptr_nonnull(strstr(s.errors, "tried 3 times"));
    ck_assert_ptr_nonnull(strstr(s.errors, "55P03"));
    db_close(other);
    site_is_back(&s, "unchanged");
    site_close(&s);
}
END_TEST

START_TEST(a_lock_that_is_let_go_is_had)
{
    struct site s;
    site_of_kind(&s, _i);
    site_belay(&s, 0, _i ? "deploy --to r1" : "deploy --to 1"); /* makes the journal */
    struct db *other = reader(&s);
    pid_t belay = site_start(&s, "deploy --lock-timeout 50ms --lock-retries 100");
    for (bool seen = false; !seen; usleep(10000)) {
        _cleanup_free_ char *notes = site_notes(&s, "no lock");
        seen = *notes;
    }
    db_close(other);
    ck_assert_int_eq(site_wait(belay), 0);
    site_is_at(&s, DEPLOY_DONE);
    site_close(&s);
}
END_TEST

START_TEST(a_statement_that_takes_too_long_is_ended)
{
    const struct step_text slow[] = {{"select pg_sleep(1000);", "", NULL}};
    const struct rev slow_alembic[] = {
        ALEMBIC_BASE,
        {"r2", "down_revision = 'r1'", "op.execute('select pg_sleep(1000)')", "pass"},
        {0}};
    struct site s;
    if (_i)
        site_of(&s, alembic(slow_alembic), "r1");
    else
        site_of(&s, dbmate(slow, 1), "1");
    site_belay(&s, 4, "deploy --statement-timeout 100ms");
    ck_assert_ptr_nonnull(strstr(s.errors, "--statement-timeout, 100 ms"));
    site_is_back(&s, "unchanged");
    site_close(&s);
}
END_TEST

/* ---- several at once ---- */

START_TEST(ten_that_start_at_once_deploy_once)
{
    static const struct step_text counted[] = {
        {"create table runs (n int); insert into runs values (1);", "drop table runs;", NULL}};
    struct site s;
    pid_t belays[10];
    site_of(&s, dbmate(counted, 1), "1");
    for (size_t i = 0; i < ARRAY_LEN(belays); i++)
        belays[i] = site_start(&s, "deploy --wait 5m -- true");
    for (size_t i = 0; i < ARRAY_LEN(belays); i++)
        ck_assert_int_eq(site_wait(belays[i]), 0);
    _cleanup_free_ char *n = site_value(&s, "select count(*) from runs");
    ck_assert_str_eq(n, "1");
    site_is_at(&s, DEPLOY_DONE);
    ck_assert_int_eq(s.entry.id, 1);
    site_close(&s);
}
END_TEST

/* ---- the twin ---- */

static void expect_databases(const struct site *s, int n)
{
    _cleanup_free_ char *sql =
        xasprintf("select count(*) = %d from pg_database where datname like '%s%%'", n, s->name);
    _cleanup_free_ char *right = site_value(s, sql);
    ck_assert_str_eq(right, "t");
}

START_TEST(a_twin_takes_the_place_of_a_failed_database)
{
    const struct step_text steps[] = {{GOOD_UP("a"), NULL, NULL}, {BROKEN, "", NULL}};
    struct site s;
    site_of(&s, dbmate(steps, 2), "1");
    _cleanup_free_ char *own = xasprintf("alter database %s set work_mem = '5MB'", s.name);
    _cleanup_free_ char *expected = NULL;
    site_sql(&s, own);
    site_begin(&s);
    site_belay(&s, 4, "deploy --twin");
    site_is_back(&s, "twin");
    ck_assert_ptr_nonnull(s.entry.evidence);
    expect_databases(&s, 2); /* and the failed one */
    expected = site_value(&s, "show work_mem");
    ck_assert_str_eq(expected, "5MB");
    site_close(&s);
}
END_TEST

START_TEST(a_twin_is_dropped_when_it_is_not_needed)
{
    const struct step_text steps[] = {{GOOD_UP("a"), GOOD_DOWN("a"), NULL}};
    struct site s;
    site_of(&s, dbmate(steps, 1), "1");
    site_belay(&s, 4, "deploy --twin --probe false");
    site_is_back(&s, "downgrade");
    expect_databases(&s, 1);
    site_belay(&s, 0, "deploy --twin");
    expect_databases(&s, 1);
    site_close(&s);
}
END_TEST

START_TEST(a_twin_of_a_database_in_use_is_refused_and_nothing_is_changed)
{
    struct site s;
    site_of(&s, dbmate(adds_column, 1), "1");
    struct db *other = reader(&s);
    site_belay(&s, 3, "deploy --twin");
    ck_assert_ptr_nonnull(strstr(s.errors, "without --twin"));
    db_close(other);
    _cleanup_free_ char *now = site_state(&s, s.name);
    ck_assert_str_eq(now, s.old);
    site_is_at(&s, DEPLOY_ABORTED);
    expect_databases(&s, 1);
    site_close(&s);
}
END_TEST

int main(void)
{
    const char *no_alembic = alembic_suite_begin();
    int kinds = no_alembic ? 1 : 2; /* SQL folders, Alembic */
    if (no_alembic)
        printf("# without Alembic: %s\n", no_alembic);
    Suite *s = suite_create("deploy_postgres");
    SUITE_ADD_LOOP(s, a_failing_upgrade_of_an_sql_folder_leaves_the_database_as_it_was,
                   ARRAY_LEN(failures));
    SUITE_ADD(s, a_good_upgrade_is_deployed_once);
    SUITE_ADD_LOOP(s, a_lock_that_cannot_be_had_is_tried_for_and_given_up, kinds);
    SUITE_ADD_LOOP(s, a_lock_that_is_let_go_is_had, kinds);
    SUITE_ADD_LOOP(s, a_statement_that_takes_too_long_is_ended, kinds);
    SUITE_ADD(s, ten_that_start_at_once_deploy_once);
    SUITE_ADD(s, a_twin_takes_the_place_of_a_failed_database);
    SUITE_ADD(s, a_twin_is_dropped_when_it_is_not_needed);
    SUITE_ADD(s, a_twin_of_a_database_in_use_is_refused_and_nothing_is_changed);
    if (!no_alembic)
        SUITE_ADD_LOOP(s, a_failing_upgrade_of_alembic_leaves_the_database_as_it_was,
                       ARRAY_LEN(alembic_failures));
    return fixture_run(s);
}
