/*
 * What steps of Alembic projects say they touched, with every driver.
 */
#include "tests/alembic_project.h"
#include "tests/touched_text.h"

static const struct rev revisions[] = {
    {"r1", "down_revision = None",
     "op.create_table('a', sa.Column('x', sa.Integer, primary_key=True, autoincrement=False))\n"
     "op.create_table('b', sa.Column('x', sa.Integer))",
     "op.drop_table('b')\nop.drop_table('a')"},
    {"r2", "down_revision = 'r1'", "op.execute('insert into b values (1)')",
     "op.execute('delete from b')"},
    {"r3", "down_revision = 'r2'",
     "with op.batch_alter_table('b') as t:\n    t.add_column(sa.Column('y', sa.Integer))",
     "with op.batch_alter_table('b') as t:\n    t.drop_column('y')"},
    {"r4", "down_revision = 'r3'",
     "with op.get_context().autocommit_block():\n"
     "    op.execute('insert into a values (4)')\n"
     "op.execute('insert into b (x) values (4)')",
     "op.execute('delete from a')"},
    {"r5", "down_revision = 'r4'",
     "engine = sa.create_engine(op.get_bind().engine.url)\n"
     "with engine.connect() as c:\n    c.execute(sa.text('select 1'))\n"
     "engine.dispose()",
     "pass"},
    {0}};

static void expect_touched(struct project *p, const char *id, enum step_direction d,
                           const char *expected)
{
    struct step_result r = {0};
    step(p, id, d, &r);
    ck_assert_msg(r.outcome == STEP_OK, "%s: %s", id, r.err.message);
    _cleanup_free_ char *found = touched_text(p->source, &r.touched);
    ck_assert_msg(strcmp(found, expected) == 0, "%s touched \"%s\"", id, found);
    step_result_release(&r);
}

static void begin(struct project *p, const struct engine *e)
{
    project_open(p, e, revisions);
    migrator_watch(p->m);
    expect_touched(p, "r1", STEP_UP, "a b");
}

START_TEST(what_alembic_writes_is_touched)
{
    struct project p;
    begin(&p, engines[_i]);
    expect_touched(&p, "r2", STEP_UP, "b");
    expect_touched(&p, "r2", STEP_DOWN, "b");
    /* SQLite's driver keeps the statement compiled */
    expect_touched(&p, "r2", STEP_UP, "b");
    expect_touched(&p, "r3", STEP_UP, "b");
    project_close(&p);
}
END_TEST

START_TEST(what_commits_by_itself_is_not_known)
{
    struct project p;
    begin(&p, &engine_postgres);
    expect(&p, "r2", STEP_UP, STEP_OK);
    expect(&p, "r3", STEP_UP, STEP_OK);
    expect_touched(&p, "r4", STEP_UP, "unknown");
    expect_touched(&p, "r4", STEP_DOWN, "a");
    project_close(&p);
}
END_TEST

START_TEST(what_runs_through_another_connection_is_not_known)
{
    struct project p;
    begin(&p, &engine_sqlite);
    expect(&p, "r2", STEP_UP, STEP_OK);
    expect(&p, "r3", STEP_UP, STEP_OK);
    expect(&p, "r4", STEP_UP, STEP_OK);
    expect_touched(&p, "r5", STEP_UP, "unknown");
    project_close(&p);
}
END_TEST

START_TEST(nothing_is_known_unless_asked)
{
    struct project p;
    project_open(&p, engines[_i], revisions);
    expect_touched(&p, "r1", STEP_UP, "unknown");
    project_close(&p);
}
END_TEST

START_TEST(async_drivers_tell_it_too)
{
    struct project p;
    if (!python_runs("import asyncpg"))
        return;
    _cleanup_free_ char *env = env_with(async_env, "");
    project_open_env(&p, &engine_postgres, "postgresql+asyncpg", env, revisions);
    migrator_watch(p.m);
    expect_touched(&p, "r1", STEP_UP, "a b");
    expect_touched(&p, "r2", STEP_UP, "b");
    project_close(&p);
}
END_TEST

/* aiosqlite runs SQLite in a thread of its own, which takes no authorizer. */
START_TEST(a_driver_that_cannot_tell_is_not_known)
{
    struct project p;
    if (!python_runs("import aiosqlite"))
        return;
    _cleanup_free_ char *env = env_with(async_env, "");
    project_open_env(&p, &engine_sqlite, "sqlite+aiosqlite", env, revisions);
    migrator_watch(p.m);
    expect_touched(&p, "r1", STEP_UP, "unknown");
    expect_touched(&p, "r2", STEP_UP, "unknown");
    project_close(&p);
}
END_TEST

int main(void)
{
    const char *missing = alembic_suite_begin();
    if (missing)
        return suite_skip(missing);
    Suite *s = suite_create("alembic_touched");
    SUITE_ADD_LOOP(s, what_alembic_writes_is_touched, 2);
    SUITE_ADD(s, what_commits_by_itself_is_not_known);
    SUITE_ADD(s, what_runs_through_another_connection_is_not_known);
    SUITE_ADD_LOOP(s, nothing_is_known_unless_asked, 2);
    SUITE_ADD(s, async_drivers_tell_it_too);
    SUITE_ADD(s, a_driver_that_cannot_tell_is_not_known);
    return fixture_run(s);
}
