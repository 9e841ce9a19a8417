/*
 * Deploys to PostgreSQL that go wrong, through the program: after each the database is what it was, which is told by
 * pg_dump and plain SQL.
 */
#include <string.h>
#include <unistd.h>

#include "tests/alembic_project.h"
#include "tests/deploy_site.h"

static const char *no_alembic; /* why Alembic cannot run here, or NULL */

/* ---- SQL folders ---- */

#define BASE                                                                                       \
    "create table people (id int primary key, name text not null);\n"                              \
    "create table log (id int generated always as identity, line text);\n"
#define BASE_DOWN "drop table log; drop table people;\n"
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
    if (no_alembic)
        return;
    site_of(&s, alembic(f->revisions), "r1");
    site_belay(&s, 4, f->args);
    site_is_back(&s, f->rung);
    site_close(&s);
}
END_TEST

int main(void)
{
    no_alembic = alembic_suite_begin();
    Suite *s = suite_create("deploy_postgres");
    SUITE_ADD_LOOP(s, a_failing_upgrade_of_an_sql_folder_leaves_the_database_as_it_was,
                   ARRAY_LEN(failures));
    SUITE_ADD(s, a_good_upgrade_is_deployed_once);
    if (!no_alembic)
        SUITE_ADD_LOOP(s, a_failing_upgrade_of_alembic_leaves_the_database_as_it_was,
                       ARRAY_LEN(alembic_failures));
    return fixture_run(s);
}
