/* What an Alembic project's revisions do: steps, graphs, models. */
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include "harness/schema/schema.h"
#include "runner/roundtrip.h"
#include "tests/alembic_project.h"

/* ---- every driver ---- */

static const struct {
    const struct engine *engine;
    const char *driver, *env;
} setups[] = {
    {&engine_sqlite, "sqlite", sync_env},
    {&engine_sqlite, "sqlite+aiosqlite", async_env},
    {&engine_postgres, "postgresql", sync_env},
    {&engine_postgres, "postgresql+psycopg2", sync_env},
    {&engine_postgres, "postgresql+asyncpg", async_env},
};

static void open_setup(struct project *p, int i, const char *options, const struct rev *revisions)
{
    _cleanup_free_ char *env = env_with(setups[i].env, options);
    project_open_env(p, setups[i].engine, setups[i].driver, env, revisions);
}

START_TEST(steps_go_up_and_down_and_are_recorded)
{
    static const char *const options[] = {"", "transaction_per_migration=True",
                                          "render_as_batch=True"};
    for (size_t i = 0; i < ARRAY_LEN(options); i++) {
        struct project p;
        open_setup(&p, _i, options[i], two_revisions);
        ck_assert_str_eq(source_format(p.source), "alembic");
        ck_assert_ptr_eq(source_engine_hint(p.source), p.engine);
        expect_current(&p, "");
        expect(&p, "r1", STEP_UP, STEP_OK);
        expect_value(&p, "select count(*) from a", "0");
        expect(&p, "r2", STEP_UP, STEP_OK);
        expect_value(&p, "select count(b) from a", "0");
        expect_current(&p, "r1 r2");
        expect(&p, "r2", STEP_DOWN, STEP_OK);
        expect_current(&p, "r1");
        expect(&p, "r1", STEP_DOWN, STEP_OK);
        expect_current(&p, "");
        expect_value(&p, "select count(*) from a", "error");
        project_close(&p);
    }
}
END_TEST

START_TEST(all_revisions_run_in_one_go)
{
    struct project p;
    struct step_result r = {0};
    open_setup(&p, _i, "", two_revisions);
    run_straight(&p, 2, STEP_OK, &r);
    step_result_release(&r);
    expect_value(&p, "select count(b) from a", "0");
    expect_current(&p, "r1 r2");
    project_close(&p);
}
END_TEST

START_TEST(a_failed_step_names_its_line_and_the_next_one_works)
{
    static const struct rev revisions[] = {
        {"r1", "down_revision = None",
         "op.execute('create table a (id int)')\n"
         "op.execute('insert into nowhere values (1)')",
         "pass"},
        {"r2", "down_revision = None", "op.execute('create table b (id int)')",
         "op.execute('drop table b')"},
        {0},
    };
    struct project p;
    struct step_result r = {0};
    open_setup(&p, _i, "", revisions);
    step(&p, "r1", STEP_UP, &r);
    ck_assert_int_eq(r.outcome, STEP_FAILED);
    ck_assert_msg(strstr(r.err.message, "nowhere") != NULL, "%s", r.err.message);
    ck_assert_str_eq(r.err.statement, "insert into nowhere values (1)");
    ck_assert_msg(str_ends(r.err.file, "alembic/versions/r1_x.py"), "%s", r.err.file);
    ck_assert_int_eq(r.err.line, 8);
    ck_assert_str_eq(r.err.sqlstate, p.engine == &engine_postgres ? "42P01" : "");
    ck_assert_ptr_nonnull(strstr(r.err.trace, "Traceback"));
    step_result_release(&r);
    expect(&p, "r2", STEP_UP, STEP_OK);
    expect_current(&p, "r2");
    project_close(&p);
}
END_TEST

START_TEST(each_step_is_committed_though_env_begins_a_transaction)
{
    static const char env[] =
        "from alembic import context\n"
        "from sqlalchemy import engine_from_config, pool\n"
        "config = context.config\n"
        "engine = engine_from_config(config.get_section(config.config_ini_section),\n"
        "                            prefix='sqlalchemy.', poolclass=pool.NullPool)\n"
        "with engine.begin() as connection:\n"
        "    context.configure(connection=connection, transaction_per_migration=False)\n"
        "    context.run_migrations()\n";
    for (size_t i = 0; engines[i]; i++) {
        struct project p;
        project_open_env(&p, engines[i], driver_of(engines[i]), env, two_revisions);
        expect(&p, "r1", STEP_UP, STEP_OK);
        expect_value(&p, "select count(*) from a", "0");
        expect_value(&p, "select version_num from alembic_version", "r1");
        expect(&p, "r1", STEP_DOWN, STEP_OK);
        expect_value(&p, "select count(*) from a", "error");
        project_close(&p);
    }
}
END_TEST

START_TEST(a_step_runs_in_the_transaction_that_env_begins_by_a_listener)
{
    /* as SQLAlchemy advises for SQLite, whose driver begins none before DDL */
    static const char env[] =
        ENGINE "from sqlalchemy import event\n"
               "engine = create_engine(url, poolclass=pool.NullPool, future=True)\n"
               "@event.listens_for(engine, 'connect')\n"
               "def connect(dbapi_connection, record):\n"
               "    dbapi_connection.isolation_level = None\n"
               "@event.listens_for(engine, 'begin')\n"
               "def begin(connection):\n"
               "    connection.exec_driver_sql('BEGIN')\n"
               "with engine.connect() as connection:\n"
               "    context.configure(connection=connection, transaction_per_migration=True)\n"
               "    with context.begin_transaction():\n"
               "        context.run_migrations()\n";
    static const struct rev revisions[] = {
        {"r1", "down_revision = None",
         "op.execute('create table a (id int)')\n"
         "op.execute('insert into nowhere values (1)')",
         "pass"},
        {"r2", "down_revision = None",
         "op.execute('pragma foreign_keys = on')\n"
         "op.execute('create table b (id int)')",
         "op.execute('drop table b')"},
        {0},
    };
    struct project p;
    project_open_env(&p, &engine_sqlite, "sqlite", env, revisions);
    expect(&p, "r1", STEP_UP, STEP_FAILED);
    expect_value(&p, "select count(*) from a", "error");
    expect(&p, "r2", STEP_UP, STEP_OK); /* and so the pragma changes nothing */
    expect(&p, "r2", STEP_DOWN, STEP_OK);
    expect(&p, "r1", STEP_UP, STEP_FAILED);
    expect_value(&p, "select count(*) from a", "error");
    project_close(&p);
}
END_TEST

START_TEST(every_step_may_have_an_env_of_its_own)
{
    _cleanup_err_ struct err err = {0};
    struct project p = {.engine = &engine_sqlite};
    _cleanup_free_ char *env = env_with(sync_env, "**open('runs', 'a').write('x') and {}");
    p.dir = project_write("sqlite", env, two_revisions);
    ASSERT_OK(
        source_open(&(struct source_options){.dir = p.dir, .isolate_steps = true}, &p.source, &err),
        &err);
    ASSERT_OK(scratch_new(fixture_pool(p.engine), &p.scratch, &err), &err);
    ASSERT_OK(project_migrator(&p, &err), &err);
    expect(&p, "r1", STEP_UP, STEP_OK);
    expect(&p, "r2", STEP_UP, STEP_OK);
    expect(&p, "r2", STEP_DOWN, STEP_OK);
    _cleanup_free_ char *path = path_join(p.dir, "runs"), *runs = NULL;
    ASSERT_OK(file_read(path, &runs, NULL, &err), &err);
    ck_assert_str_eq(runs, "xxx");
    project_close(&p);
}
END_TEST

/* One tracker takes the rows that the steps tell of, the other reads: both say the same. */
START_TEST(the_rows_of_the_schema_come_along_with_each_step)
{
    static const struct rev revisions[] = {
        {"r1", "down_revision = None",
         "op.create_table('a', sa.Column('id', sa.Integer, primary_key=True),\n"
         "    sa.Column('b', sa.Text))\n"
         "op.execute('create trigger t after insert on a begin delete from a; end')",
         "op.drop_table('a')"},
        {"r2", "down_revision = 'r1'",
         "op.execute('create view \"v \\u00e9\" as select b from a')\n"
         "op.create_index('i', 'a', ['b'])\nop.execute('create virtual table f using fts5(x)')",
         "op.execute('drop table f')\nop.drop_index('i')\nop.execute('drop view \"v \\u00e9\"')"},
        {"r3", "down_revision = 'r2'", "op.execute('insert into a (b) values (1)')", "pass\n1 + 1"},
        {"r4", "down_revision = 'r3'", "op.execute('pragma user_version = 7')",
         "op.execute('pragma user_version = 0')"},
        {"r5", "down_revision = 'r4'",
         "op.execute('drop view \"v \\u00e9\"')\n"
         "with op.batch_alter_table('a') as batch:\n"
         "    batch.add_column(sa.Column('c', sa.Integer, server_default='1'))",
         "raise ValueError('no')"},
        {0},
    };
    static const char *const walk[] = {"r1", "r2", "-r2", "r2", "r3", "-r3",
                                       "r3", "r4", "-r4", "r4", "r5", NULL};
    struct project p;
    struct step_result r = {0};
    _cleanup_err_ struct err err = {0};
    _cleanup_db_ struct db *db = NULL;
    struct schema_tracker *told, *reading;
    open_setup(&p, _i, "", revisions);
    const struct schema_options o = {.version_tables = source_version_tables(p.source)};
    ASSERT_OK(db_open(p.engine, scratch_url(p.scratch), DB_OPEN_SCRATCH, &db, &err), &err);
    ASSERT_OK(schema_tracker_new(db, &o, &told, &err), &err);
    ASSERT_OK(schema_tracker_new(db, &o, &reading, &err), &err);
    ck_assert_ptr_null(migrator_schema_rows(p.m));
    for (size_t i = 0; walk[i]; i++) {
        bool down = *walk[i] == '-';
        _cleanup_snapshot_ struct snapshot *a = NULL, *b = NULL;
        expect(&p, walk[i] + down, down ? STEP_DOWN : STEP_UP, STEP_OK);
        ck_assert_ptr_nonnull(migrator_schema_rows(p.m));
        schema_tracker_offer(told, migrator_schema_rows(p.m));
        ASSERT_OK(schema_tracker_read(told, false, &a, &err), &err);
        ASSERT_OK(schema_tracker_read(reading, true, &b, &err), &err);
        ck_assert_msg(snapshot_equal(a, b), "after %s", walk[i]);
    }
    step(&p, "r5", STEP_DOWN, &r);
    ck_assert_int_eq(r.outcome, STEP_IRREVERSIBLE);
    ck_assert_ptr_null(migrator_schema_rows(p.m)); /* half of it may be there */
    step_result_release(&r);
    schema_tracker_free(told);
    schema_tracker_free(reading);
    project_close(&p);
}
END_TEST

START_TEST(rows_that_the_project_gets_as_bytes_are_not_told)
{
    struct project p;
    project_open_env(&p, &engine_sqlite, "sqlite",
                     ENGINE "with create_engine(url).connect() as connection:\n"
                            "    context.configure(connection=connection)\n"
                            "    with context.begin_transaction():\n"
                            "        connection.connection.dbapi_connection.text_factory = bytes\n"
                            "        context.run_migrations()\n",
                     two_revisions);
    expect(&p, "r1", STEP_UP, STEP_OK);
    ck_assert_ptr_null(migrator_schema_rows(p.m));
    project_close(&p);
}
END_TEST

/* ---- the graph ---- */

START_TEST(branches_merges_and_dependencies_are_read)
{
    static const struct rev revisions[] = {
        {"root", "down_revision = None", "op.execute('create table base (id int)')",
         "op.execute('drop table base')"},
        {"left", "down_revision = 'root'\nbranch_labels = ('l', 'links')",
         "op.execute('create table l (id int)')", "op.execute('drop table l')"},
        {"right", "down_revision = 'root'", "op.execute('create table r (id int)')",
         "op.execute('drop table r')"},
        {"merged", "down_revision = ('left', 'right')", "pass", "pass"},
        {"other", "down_revision = None\ndepends_on = 'left'\nbranch_labels = 'alone'",
         "op.execute('create table o (id int)')", "op.execute('drop table o')"},
        {0},
    };
    for (size_t e = 0; engines[e]; e++) {
        struct project p;
        project_open(&p, engines[e], revisions);
        const struct graph *g = source_graph(p.source);
        const struct revision *merged = graph_find(g, "merged"), *other = graph_find(g, "other");
        ck_assert_uint_eq(merged->parents.n, 2);
        ck_assert(graph_is_ancestor(graph_find(g, "left"), other));
        ck_assert_str_eq(graph_find(g, "left")->title, "revision left");
        ck_assert(strv_has(&graph_find(g, "left")->labels, "links"));
        for (size_t i = 0; i < graph_size(g); i++) {
            const char *id = graph_at(g, i)->id;
            enum step_outcome up = strcmp(id, "merged") == 0 ? STEP_EMPTY : STEP_OK;
            expect(&p, id, STEP_UP, up);
            expect(&p, id, STEP_DOWN, up);
            expect(&p, id, STEP_UP, up);
        }
        _cleanup_err_ struct err err = {0};
        _cleanup_strv_ struct strv all = {0};
        ASSERT_OK(migrator_current(p.m, &all, &err), &err);
        ck_assert_uint_eq(all.n, 5);
        for (size_t i = graph_size(g); i-- > 0;) {
            const char *id = graph_at(g, i)->id;
            expect(&p, id, STEP_DOWN, strcmp(id, "merged") == 0 ? STEP_EMPTY : STEP_OK);
        }
        expect_current(&p, "");
        project_close(&p);
    }
}
END_TEST

#define REVISION(id, down)                                                                         \
    "revision = '" id "'\ndown_revision = " down "\ndef upgrade():\n    pass\n"

static const struct {
    const char *name;
    struct file files[3]; /* into alembic/versions */
    const char *message, *file, *other;
} broken_graphs[] = {
    {"syntax error",
     {{"a.py", "revision = 'a'\ndown_revision = None\ndef upgrade(:\n    pass\n"}},
     "syntax error",
     "versions/a.py",
     NULL},
    {"two files with one id",
     {{"a.py", REVISION("a", "None")}, {"b.py", REVISION("a", "None")}},
     "written twice",
     NULL,
     "versions/a.py"},
    {"missing parent", {{"b.py", REVISION("b", "'a'")}}, "a", "versions/b.py", NULL},
    {"a label used twice",
     {{"a.py", REVISION("a", "None") "branch_labels = 'x'\n"},
      {"b.py", REVISION("b", "None") "branch_labels = 'x'\n"}},
     "x",
     "versions/b.py",
     "a and b"},
    {"cycle", {{"a.py", REVISION("a", "'b'")}, {"b.py", REVISION("b", "'a'")}}, "b", NULL, NULL},
    {"an import that fails",
     {{"a.py", "import nothing_of_this_name\n" REVISION("a", "None")}},
     "nothing_of_this_name",
     "versions/a.py",
     NULL},
    {"no revision at all", {{0}}, "no revisions", NULL, NULL},
};

START_TEST(a_broken_graph_is_one_error_with_its_files)
{
    _cleanup_err_ struct err err = {0};
    _cleanup_source_ struct source *s = NULL;
    _cleanup_folder_ char *dir = project_write("sqlite", sync_env, &(struct rev){0});
    for (const struct file *f = broken_graphs[_i].files; f->path; f++) {
        _cleanup_free_ char *name = path_join("alembic/versions", f->path);
        write_text(dir, name, f->text);
    }
    ck_assert_int_lt(open_source(dir, &s, &err), 0);
    ck_assert_msg(strstr(err.message, broken_graphs[_i].message) != NULL, "%s", err.message);
    if (broken_graphs[_i].file)
        ck_assert_msg(err.file && str_ends(err.file, broken_graphs[_i].file), "%s: %s", err.message,
                      err.file);
    if (broken_graphs[_i].other)
        ck_assert_msg(strstr(err.message, broken_graphs[_i].other) != NULL, "%s", err.message);
}
END_TEST

/* ---- what revisions do ---- */

START_TEST(downgrades_are_empty_missing_irreversible_or_fail)
{
    static const struct rev revisions[] = {
        {"empty", "down_revision = None", "op.execute('select 1')", "\"\"\"nothing\"\"\"\npass"},
        {"missing", "down_revision = 'empty'", "op.execute('select 1')", NULL},
        {"raises", "down_revision = 'missing'", "op.execute('select 1')",
         "raise Exception('no way back')"},
        {"refuses", "down_revision = 'raises'", "op.execute('select 1')",
         "if op.get_bind():\n    raise NotImplementedError()"},
        {"breaks", "down_revision = 'refuses'", "op.execute('select 1')",
         "if op.get_bind():\n    raise ValueError('rows')"},
        {0},
    };
    static const enum step_outcome expected[] = {STEP_EMPTY, STEP_MISSING, STEP_IRREVERSIBLE,
                                                 STEP_IRREVERSIBLE, STEP_FAILED};
    static const char *const words[] = {NULL, NULL, "no way back", "NotImplementedError", "rows"};
    struct project p;
    project_open(&p, &engine_sqlite, revisions);
    for (size_t i = 0; i < ARRAY_LEN(expected); i++) {
        struct step_result r = {0};
        const char *id = revisions[i].id;
        expect(&p, id, STEP_UP, STEP_OK);
        step(&p, id, STEP_DOWN, &r);
        ck_assert_msg(r.outcome == expected[i], "%s: %d %s", id, r.outcome, r.err.message);
        if (words[i])
            ck_assert_msg(strstr(r.err.message, words[i]) != NULL, "%s", r.err.message);
        if (expected[i] == STEP_EMPTY)
            expect(&p, id, STEP_UP, STEP_OK);
        step_result_release(&r);
    }
    project_close(&p);
}
END_TEST

START_TEST(the_version_table_may_have_another_name_and_schema)
{
    static const char env[] =
        "from alembic import context\n"
        "from sqlalchemy import create_engine, text\n"
        "names = {'version_table': 'ver' + 'sions', 'version_table_schema': 'op' + 's'}\n"
        "engine = create_engine(context.config.get_main_option('sqlalchemy.url'))\n"
        "with engine.begin() as connection:\n"
        "    connection.execute(text('create schema if not exists ops'))\n"
        "with engine.connect() as connection:\n"
        "    context.configure(connection=connection, **names)\n"
        "    with context.begin_transaction():\n"
        "        context.run_migrations()\n";
    struct project p;
    project_open_env(&p, &engine_postgres, "postgresql", env, two_revisions);
    expect(&p, "r1", STEP_UP, STEP_OK);
    expect_value(&p, "select version_num from ops.versions", "r1");
    ck_assert_str_eq(source_version_tables(p.source)[0], "ops.versions");
    project_close(&p);
}
END_TEST

START_TEST(autocommit_blocks_run_outside_of_transactions)
{
    static const struct rev revisions[] = {
        {"r1", "down_revision = None",
         "op.execute('create table a (id int)')\n"
         "with op.get_context().autocommit_block():\n"
         "    op.execute('create index concurrently a_id on a (id)')\n"
         "op.execute('create table b (id int)')",
         "op.execute('drop table b')\n"
         "with op.get_context().autocommit_block():\n"
         "    op.execute('drop index concurrently a_id')\n"
         "op.execute('drop table a')"},
        {0},
    };
    static const int postgres[] = {2, 4};
    struct project p;
    open_setup(&p, postgres[_i], "", revisions);
    for (int i = 0; i < 2; i++) {
        expect(&p, "r1", STEP_UP, STEP_OK);
        expect_value(&p, "select count(*) from pg_index where indexrelid = 'a_id'::regclass", "1");
        expect(&p, "r1", STEP_DOWN, STEP_OK);
    }
    project_close(&p);
}
END_TEST

START_TEST(a_new_enum_value_breaks_only_the_straight_run)
{
    static const struct rev revisions[] = {
        {"r1", "down_revision = None", "op.execute(\"create type t as enum ('a')\")",
         "op.execute('drop type t')"},
        {"r2", "down_revision = 'r1'", "op.execute(\"alter type t add value 'b'\")", "pass"},
        {"r3", "down_revision = 'r2'", "op.execute(\"create table x as select 'b'::t as v\")",
         "op.execute('drop table x')"},
        {0},
    };
    struct project p;
    struct step_result r = {0};
    project_open(&p, &engine_postgres, revisions);
    run_straight(&p, 2, STEP_FAILED, &r);
    ck_assert_str_eq(r.err.sqlstate, "55P04");
    ck_assert_msg(str_ends(r.err.file, "r3_x.py"), "%s", r.err.file);
    step_result_release(&r);
    expect(&p, "r1", STEP_UP, STEP_OK);
    expect(&p, "r2", STEP_UP, STEP_OK);
    expect(&p, "r3", STEP_UP, STEP_OK);
    project_close(&p);
}
END_TEST

START_TEST(what_a_revision_prints_does_no_harm)
{
    static const struct rev revisions[] = {
        {"r1", "down_revision = None",
         "import sys, os\n"
         "for i in range(3000):\n"
         "    print('{\"ok\": false}' + 'x' * 1000)\n"
         "    print('y' * 1000, file=sys.stderr)\n"
         "os.system('echo from a child')\n"
         "op.execute('create table a (id int)')",
         "pass"},
        {0},
    };
    struct project p;
    project_open(&p, &engine_sqlite, revisions);
    expect(&p, "r1", STEP_UP, STEP_OK);
    expect_current(&p, "r1");
    project_close(&p);
}
END_TEST

START_TEST(a_revision_may_open_a_second_connection)
{
    static const struct rev revisions[] = {
        {"r1", "down_revision = None",
         "from sqlalchemy.orm import Session\n"
         "from alembic import context\n"
         "engine = sa.create_engine(context.config.get_main_option('sqlalchemy.url'))\n"
         "with engine.begin() as c:\n"
         "    c.execute(sa.text('create table second (id int)'))\n"
         "s = Session(bind=op.get_bind())\n"
         "s.execute(sa.text('create table third (id int)'))",
         "pass"},
        {0},
    };
    for (size_t e = 0; engines[e]; e++) {
        struct project p;
        project_open(&p, engines[e], revisions);
        expect(&p, "r1", STEP_UP, STEP_OK);
        expect_value(&p, "select count(*) from second", "0");
        expect_value(&p, "select count(*) from third", "0");
        project_close(&p);
    }
}
END_TEST

START_TEST(what_a_revision_leaves_in_the_session_is_told_and_put_back)
{
    static const struct rev revisions[] = {
        {"r1", "down_revision = None", "op.execute('set search_path to pg_catalog')\n", "pass"},
        {"r2", "down_revision = 'r1'", "op.execute('create table public.a (id int)')", "pass"},
        {0},
    };
    static const int postgres[] = {2, 4};
    struct project p;
    struct step_result r = {0};
    open_setup(&p, postgres[_i], "version_table_schema='public'", revisions);
    step(&p, "r1", STEP_UP, &r);
    ck_assert_int_eq(r.outcome, STEP_OK);
    ck_assert_str_eq(r.session_change, "search_path is now pg_catalog");
    step_result_release(&r);
    expect(&p, "r2", STEP_UP, STEP_OK);
    project_close(&p);
}
END_TEST

START_TEST(notices_come_with_their_step)
{
    static const struct rev revisions[] = {
        {"r1", "down_revision = None",
         "op.execute(\"do $$ begin raise warning 'careful'; end $$\")\nop.execute('select 1')",
         "pass"},
        {"r2", "down_revision = 'r1'", "op.execute('select 1')", "pass"},
        {0},
    };
    static const int postgres[] = {2, 4};
    struct project p;
    struct step_result r = {0};
    open_setup(&p, postgres[_i], "", revisions);
    step(&p, "r1", STEP_UP, &r);
    ck_assert_uint_eq(r.notices.n, 1);
    ck_assert_str_eq(r.notices.v[0], "WARNING: careful");
    step(&p, "r2", STEP_UP, &r);
    ck_assert_uint_eq(r.notices.n, 0);
    step_result_release(&r);
    project_close(&p);
}
END_TEST

START_TEST(a_lost_connection_is_no_result)
{
    static const struct rev revisions[] = {
        {"r1", "down_revision = None",
         "op.execute('select pg_terminate_backend(pg_backend_pid())')", "pass"},
        {0},
    };
    static const int postgres[] = {2, 4};
    struct project p;
    struct step_result r = {0};
    _cleanup_err_ struct err err = {0};
    open_setup(&p, postgres[_i], "", revisions);
    ck_assert_int_lt(migrator_step(p.m, revision_of(&p, "r1"), STEP_UP, false, &r, &err), 0);
    ck_assert_int_eq(err.code, ERR_CONNECTION);
    expect_current(&p, "");
    project_close(&p);
}
END_TEST

START_TEST(a_worker_that_dies_names_the_signal_and_another_takes_over)
{
    static const struct rev revisions[] = {
        {"r1", "down_revision = None",
         "import os, signal\nprint('last words', flush=True)\nos.kill(os.getpid(), signal.SIGKILL)",
         "import os\nos._exit(7)"},
        {"r2", "down_revision = None", "op.execute('create table a (id int)')",
         "op.execute('drop table a')"},
        {0},
    };
    for (size_t e = 0; engines[e]; e++) {
        struct project p;
        struct step_result r = {0};
        project_open(&p, engines[e], revisions);
        step(&p, "r1", STEP_UP, &r);
        ck_assert_int_eq(r.outcome, STEP_FAILED);
        ck_assert_msg(strstr(r.err.message, "SIGKILL") != NULL, "%s", r.err.message);
        ck_assert_msg(strstr(r.err.trace, "last words") != NULL, "%s", r.err.trace);
        ck_assert(str_ends(r.err.file, "r1_x.py"));
        ck_assert_ptr_nonnull(r.err.hint);
        expect(&p, "r2", STEP_UP, STEP_OK);
        step(&p, "r1", STEP_DOWN, &r);
        ck_assert_msg(strstr(r.err.message, "exit status 7") != NULL, "%s", r.err.message);
        step_result_release(&r);
        expect(&p, "r2", STEP_DOWN, STEP_OK);
        expect_current(&p, "");
        project_close(&p);
    }
}
END_TEST

START_TEST(a_worker_that_dies_in_the_straight_run_names_the_revision)
{
    static const struct rev revisions[] = {
        {"r1", "down_revision = None", "op.execute('select 1')", "pass"},
        {"r2", "down_revision = 'r1'", "import os\nos.abort()", "pass"},
        {"r3", "down_revision = 'r2'", "op.execute('select 1')", "pass"},
        {0},
    };
    struct project p;
    struct step_result r = {0};
    project_open(&p, &engine_sqlite, revisions);
    run_straight(&p, 1, STEP_FAILED, &r);
    ck_assert_msg(strstr(r.err.message, "SIGABRT") != NULL, "%s", r.err.message);
    ck_assert(str_ends(r.err.file, "r2_x.py"));
    step_result_release(&r);
    project_close(&p);
}
END_TEST

struct canceller {
    struct migrator *m;
    char *sign; /* a file that the step makes when it is under way */
};

static void *cancel_later(void *data)
{
    struct canceller *c = data;
    while (!file_exists(c->sign))
        usleep(1000);
    migrator_cancel(c->m);
    return NULL;
}

START_TEST(a_step_can_be_cancelled_from_another_thread)
{
    static const struct rev revisions[] = {
        {"r1", "down_revision = None",
         "open('begun', 'w').close()\n"
         "op.execute('select pg_sleep(600)')",
         "pass"},
        {0},
    };
    static const int postgres[] = {2, 4};
    struct project p;
    struct step_result r = {0};
    _cleanup_err_ struct err err = {0};
    open_setup(&p, postgres[_i], "", revisions);
    pthread_t thread;
    struct canceller c = {p.m, path_join(p.dir, "begun")};
    pthread_create(&thread, NULL, cancel_later, &c);
    ck_assert_int_lt(migrator_step(p.m, revision_of(&p, "r1"), STEP_UP, false, &r, &err), 0);
    ck_assert_int_eq(err.code, ERR_INTERRUPTED);
    pthread_join(thread, NULL);
    free(c.sign);
    /* the server's side stops as well, though not at once */
    for (bool stopped = false; !stopped; usleep(10000)) {
        _cleanup_free_ char *n =
            value_of(&p, "select count(*) from pg_stat_activity"
                         " where query like '%pg_sleep(600)%' and state = 'active'"
                         " and pid <> pg_backend_pid()");
        stopped = strcmp(n, "0") == 0;
    }
    expect_current(&p, "");
    project_close(&p);
}
END_TEST

START_TEST(a_request_to_stop_is_not_lost_when_nothing_runs)
{
    struct project p;
    struct step_result r = {0};
    _cleanup_err_ struct err err = {0};
    project_open(&p, &engine_sqlite, two_revisions);
    migrator_cancel(p.m);
    ck_assert_int_lt(migrator_step(p.m, revision_of(&p, "r1"), STEP_UP, false, &r, &err), 0);
    ck_assert_int_eq(err.code, ERR_INTERRUPTED);
    expect(&p, "r1", STEP_UP, STEP_OK);
    project_close(&p);
}
END_TEST

/* ---- models, stamps, SQL, new revisions ---- */

START_TEST(drift_lists_what_autogenerate_would_write)
{
    static const char env[] =
        "import sqlalchemy as sa\n" ENGINE "metadata = sa.MetaData()\n"
        "sa.Table('a', metadata, sa.Column('id', sa.Integer),\n"
        "         sa.Column('b', sa.Text), sa.Column('c', sa.Integer))\n"
        "sa.Table('d', metadata, sa.Column('id', sa.Integer, primary_key=True))\n"
        "with create_engine(url).connect() as connection:\n"
        "    context.configure(connection=connection, target_metadata=metadata)\n"
        "    with context.begin_transaction():\n"
        "        context.run_migrations()\n";
    for (size_t e = 0; engines[e]; e++) {
        struct project p;
        struct step_result r = {0};
        _cleanup_err_ struct err err = {0};
        _cleanup_strv_ struct strv drift = {0};
        project_open_env(&p, engines[e], driver_of(engines[e]), env, two_revisions);
        run_straight(&p, 2, STEP_OK, &r);
        step_result_release(&r);
        ASSERT_OK(migrator_drift(p.m, &drift, &err), &err);
        _cleanup_free_ char *text = strv_join(&drift, "; ");
        ck_assert_str_eq(text, "add_table d; add_column a.c INTEGER");
        project_close(&p);
    }
}
END_TEST

static bool found(const struct check_result *r, const char *id, const char *text)
{
    for (size_t i = 0; i < r->nfindings; i++) {
        const struct finding *f = &r->findings[i];
        if (strcmp(f->id->id, id) == 0 &&
            (strstr(f->message, text) || (f->hint && strstr(f->hint, text)) ||
             finding_matches_object(f, text)))
            return true;
    }
    return false;
}

START_TEST(the_check_finds_drift_heads_and_one_way_revisions)
{
    static const char env[] =
        "import sqlalchemy as sa\n" ENGINE "metadata = sa.MetaData()\n"
        "sa.Table('d', metadata, sa.Column('id', sa.Integer, primary_key=True))\n"
        "with create_engine(url).connect() as connection:\n"
        "    context.configure(connection=connection, target_metadata=metadata)\n"
        "    with context.begin_transaction():\n"
        "        context.run_migrations()\n";
    static const struct rev revisions[] = {
        {"r1", "down_revision = None", "op.execute('create table d (id integer primary key)')",
         "op.execute('drop table d')"},
        {"r2", "down_revision = 'r1'", "op.execute('create table more (id int)')",
         "raise NotImplementedError('one way')"},
        {"r3", "down_revision = 'r1'", "op.execute('create table third (id int)')", "pass"},
        {0},
    };
    for (size_t e = 0; engines[e]; e++) {
        _cleanup_err_ struct err err = {0};
        _cleanup_(check_result_release) struct check_result r = {0};
        struct project p;
        project_begin(&p, engines[e], project_write(driver_of(engines[e]), env, revisions));
        const struct check_options o = {.source = p.source,
                                        .engine = p.engine,
                                        .pool = fixture_pool(p.engine),
                                        .project = p.dir,
                                        .today = "2026-01-01"};
        ASSERT_OK(roundtrip_check(&o, &r, &err), &err);
        ck_assert(found(&r, "irreversible", "one way"));
        ck_assert(found(&r, "downgrade-missing", "empty"));
        ck_assert(found(&r, "multiple-heads", "belay merge r2 r3"));
        ck_assert(found(&r, "model-drift", "remove_table more"));
        ck_assert(found(&r, "model-drift", "remove_table third"));
        ck_assert_uint_eq(r.nfindings, 4);
        ck_assert_str_eq(r.straight_run, "equal");
        project_close(&p);
    }
}
END_TEST

START_TEST(a_stamp_writes_the_version_table_alone)
{
    for (size_t e = 0; engines[e]; e++) {
        struct project p;
        _cleanup_err_ struct err err = {0};
        _cleanup_revisions_ struct revisions l = {0};
        project_open(&p, engines[e], two_revisions);
        revisions_add(&l, graph_find(source_graph(p.source), "r2"));
        ASSERT_OK(migrator_stamp(p.m, &l, &err), &err);
        expect_current(&p, "r1 r2");
        expect_value(&p, "select count(*) from a", "error");
        l.n = 0;
        ASSERT_OK(migrator_stamp(p.m, &l, &err), &err);
        expect_current(&p, "");
        expect(&p, "r1", STEP_UP, STEP_OK);
        project_close(&p);
    }
}
END_TEST

START_TEST(offline_sql_holds_the_steps_and_the_version_table)
{
    struct project p;
    _cleanup_err_ struct err err = {0};
    _cleanup_free_ char *up = NULL, *down = NULL, *own = NULL;
    _cleanup_revisions_ struct revisions l = {0};
    _cleanup_free_ char *env = env_with(sync_env, "");
    project_begin(&p, &engine_postgres, project_write("postgresql", env, two_revisions));
    revisions_add(&l, graph_find(source_graph(p.source), "r2"));
    ASSERT_OK(source_sql(p.source, p.engine, &l, STEP_UP, &up, &err), &err);
    ck_assert_msg(strstr(up, "ALTER TABLE a ADD COLUMN b TEXT;") &&
                      strstr(up, "SET version_num='r2' WHERE alembic_version.version_num = 'r1'"),
                  "%s", up);
    ASSERT_OK(source_sql(p.source, p.engine, &l, STEP_DOWN, &down, &err), &err);
    ck_assert_msg(strstr(down, "DROP COLUMN b;") && strstr(down, "SET version_num='r1'"), "%s",
                  down);
    ASSERT_OK(source_own_url(p.source, &own, &err), &err);
    ck_assert_str_eq(own, "postgresql://user:secret@nowhere.invalid/app");
    project_close(&p);
}
END_TEST

START_TEST(an_env_without_an_offline_branch_is_never_connected)
{
    struct project p;
    _cleanup_err_ struct err err = {0};
    _cleanup_free_ char *sql = NULL, *own = NULL;
    _cleanup_revisions_ struct revisions l = {0};
    project_begin(&p, &engine_postgres, project_write("postgresql", ENGINE RUN, two_revisions));
    revisions_add(&l, graph_find(source_graph(p.source), "r1"));
    ck_assert_int_lt(source_sql(p.source, p.engine, &l, STEP_UP, &sql, &err), 0);
    ck_assert_msg(strstr(err.message, "only SQL is asked for") != NULL, "%s", err.message);
    ck_assert_ptr_nonnull(strstr(err.hint, "is_offline_mode"));
    ASSERT_OK(source_own_url(p.source, &own, &err), &err);
    ck_assert_str_eq(own, "postgresql://user:secret@nowhere.invalid/app");
    project_close(&p);
}
END_TEST

START_TEST(a_new_revision_follows_its_parents)
{
    struct project p;
    _cleanup_err_ struct err err = {0};
    _cleanup_free_ char *id = NULL;
    _cleanup_strv_ struct strv files = {0};
    _cleanup_revisions_ struct revisions parents = {0};
    _cleanup_free_ char *env = env_with(sync_env, "");
    project_begin(&p, &engine_sqlite, project_write("sqlite", env, two_revisions));
    revisions_add(&parents, graph_find(source_graph(p.source), "r2"));
    const struct new_revision n = {.message = "add more", .parents = &parents, .id = "r3"};
    ASSERT_OK(source_new_revision(p.source, &n, &id, &files, &err), &err);
    ck_assert_str_eq(id, "r3");
    ck_assert_uint_eq(files.n, 1);
    source_free(TAKE_PTR(p.source));
    ASSERT_OK(open_source(p.dir, &p.source, &err), &err);
    const struct revision *r = graph_find(source_graph(p.source), "r3");
    ck_assert_ptr_nonnull(r);
    ck_assert_str_eq(r->parents.v[0], "r2");
    ck_assert_str_eq(r->title, "add more");
    project_close(&p);
}
END_TEST

int main(void)
{
    const char *missing = alembic_suite_begin();
    if (missing)
        return suite_skip(missing);
    Suite *s = suite_create("alembic");
    SUITE_ADD_LOOP(s, steps_go_up_and_down_and_are_recorded, ARRAY_LEN(setups));
    SUITE_ADD_LOOP(s, all_revisions_run_in_one_go, ARRAY_LEN(setups));
    SUITE_ADD_LOOP(s, a_failed_step_names_its_line_and_the_next_one_works, ARRAY_LEN(setups));
    SUITE_ADD(s, each_step_is_committed_though_env_begins_a_transaction);
    SUITE_ADD(s, a_step_runs_in_the_transaction_that_env_begins_by_a_listener);
    SUITE_ADD(s, every_step_may_have_an_env_of_its_own);
    SUITE_ADD_LOOP(s, the_rows_of_the_schema_come_along_with_each_step, 2);
    SUITE_ADD(s, rows_that_the_project_gets_as_bytes_are_not_told);
    SUITE_ADD(s, branches_merges_and_dependencies_are_read);
    SUITE_ADD_LOOP(s, a_broken_graph_is_one_error_with_its_files, ARRAY_LEN(broken_graphs));
    SUITE_ADD(s, downgrades_are_empty_missing_irreversible_or_fail);
    SUITE_ADD(s, the_version_table_may_have_another_name_and_schema);
    SUITE_ADD_LOOP(s, autocommit_blocks_run_outside_of_transactions, 2);
    SUITE_ADD(s, a_new_enum_value_breaks_only_the_straight_run);
    SUITE_ADD(s, what_a_revision_prints_does_no_harm);
    SUITE_ADD(s, a_revision_may_open_a_second_connection);
    SUITE_ADD_LOOP(s, what_a_revision_leaves_in_the_session_is_told_and_put_back, 2);
    SUITE_ADD_LOOP(s, notices_come_with_their_step, 2);
    SUITE_ADD_LOOP(s, a_lost_connection_is_no_result, 2);
    SUITE_ADD(s, a_worker_that_dies_names_the_signal_and_another_takes_over);
    SUITE_ADD(s, a_worker_that_dies_in_the_straight_run_names_the_revision);
    SUITE_ADD_LOOP(s, a_step_can_be_cancelled_from_another_thread, 2);
    SUITE_ADD(s, a_request_to_stop_is_not_lost_when_nothing_runs);
    SUITE_ADD(s, drift_lists_what_autogenerate_would_write);
    SUITE_ADD(s, the_check_finds_drift_heads_and_one_way_revisions);
    SUITE_ADD(s, a_stamp_writes_the_version_table_alone);
    SUITE_ADD(s, offline_sql_holds_the_steps_and_the_version_table);
    SUITE_ADD(s, an_env_without_an_offline_branch_is_never_connected);
    SUITE_ADD(s, a_new_revision_follows_its_parents);
    return fixture_run(s);
}
