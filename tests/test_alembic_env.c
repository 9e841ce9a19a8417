/* The env.py and the configuration of an Alembic project: what is found, understood and refused. */
#include <sys/stat.h>
#include <unistd.h>

#include "tests/alembic_project.h"

/* ---- env.py ---- */

static const struct {
    const char *name, *env;
    enum err_code code;
    const char *message, *hint, *file;
} bad_envs[] = {
    {"raises", "def f():\n    raise KeyError('DB_HOST')\nf()\n", ERR_SOURCE, "KeyError: 'DB_HOST'",
     NULL, "alembic/env.py"},
    {"exits", "import sys\nsys.exit(3)\n", ERR_CONFIG, "exit status 3", "run_migrations", NULL},
    {"exits hard", "import os\nprint('bye', flush=True)\nos._exit(4)\n", ERR_SOURCE,
     "exit status 4", NULL, NULL},
    {"does nothing", "from alembic import context\n", ERR_CONFIG, "without calling", NULL, NULL},
    {"hangs", "import time\n\ndef wait():\n    time.sleep(3600)\nwait()\n", ERR_SOURCE,
     "did not answer within 2 s", "--timeout", "alembic/env.py"},
    {"has no driver",
     ENGINE "from sqlalchemy import create_engine\ncreate_engine('postgresql+nothing://x/y')\n",
     ERR_SOURCE, "nothing", NULL, "alembic/env.py"},
    {"ends the channel", "import os\nos.closerange(3, 50)\n", ERR_SOURCE, "ended by itself", NULL,
     NULL},
};

START_TEST(a_bad_env_is_one_clear_error)
{
    struct project p = {.engine = &engine_sqlite};
    _cleanup_err_ struct err err = {0};
    p.dir = project_write("sqlite", bad_envs[_i].env, two_revisions);
    ASSERT_OK(source_open(&(struct source_options){.dir = p.dir, .python = PYTHON, .timeout = 2},
                          &p.source, &err),
              &err);
    ASSERT_OK(scratch_new(fixture_pool(p.engine), &p.scratch, &err), &err);
    ck_assert_int_lt(project_migrator(&p, &err), 0);
    ck_assert_msg(strstr(err.message, bad_envs[_i].message) != NULL, "%s: %s", bad_envs[_i].name,
                  err.message);
    ck_assert_msg(err.code == bad_envs[_i].code, "%s: %d %s", bad_envs[_i].name, err.code,
                  err.message);
    if (bad_envs[_i].hint)
        ck_assert_msg(err.hint && strstr(err.hint, bad_envs[_i].hint), "%s", err.hint);
    if (bad_envs[_i].file)
        ck_assert_msg(err.file && str_ends(err.file, bad_envs[_i].file), "%s: %s", err.file,
                      err.trace);
    project_close(&p);
}
END_TEST

START_TEST(a_revision_that_hangs_names_its_line)
{
    static const struct rev revisions[] = {
        {"r1", "down_revision = None", "import time\ntime.sleep(3600)", "pass"},
        {"r2", "down_revision = None", "op.execute('create table a (id int)')", "pass"},
        {0},
    };
    struct project p = {.engine = &engine_sqlite};
    struct step_result r = {0};
    _cleanup_err_ struct err err = {0};
    _cleanup_free_ char *env = env_with(sync_env, "");
    p.dir = project_write("sqlite", env, revisions);
    ASSERT_OK(source_open(&(struct source_options){.dir = p.dir, .python = PYTHON, .timeout = 3},
                          &p.source, &err),
              &err);
    ASSERT_OK(scratch_new(fixture_pool(p.engine), &p.scratch, &err), &err);
    ASSERT_OK(project_migrator(&p, &err), &err);
    step(&p, "r1", STEP_UP, &r);
    ck_assert_int_eq(r.outcome, STEP_FAILED);
    ck_assert_msg(strstr(r.err.message, "within 3 s") != NULL, "%s", r.err.message);
    ck_assert_msg(str_ends(r.err.file, "r1_x.py"), "%s", r.err.file);
    ck_assert_int_eq(r.err.line, 8);
    step_result_release(&r);
    expect(&p, "r2", STEP_UP, STEP_OK);
    project_close(&p);
}
END_TEST

START_TEST(an_env_that_forks_keeps_its_children_to_itself)
{
    static const char env[] = ENGINE "import os, time\n"
                                     "if os.fork() == 0:\n"
                                     "    if os.fork() == 0:\n"
                                     "        time.sleep(3600)\n" RUN;
    struct project p;
    struct step_result r = {0};
    static const struct rev revisions[] = {
        {"r1", "down_revision = None", "op.execute('create table a (id int)')",
         "import os\nos._exit(5)"},
        {0},
    };
    project_open_env(&p, &engine_sqlite, "sqlite", env, revisions);
    expect(&p, "r1", STEP_UP, STEP_OK);
    expect_current(&p, "r1");
    /* the sleeping child holds the channel open: the end of its parent is noticed all the same */
    step(&p, "r1", STEP_DOWN, &r);
    ck_assert_msg(strstr(r.err.message, "exit status 5") != NULL, "%s", r.err.message);
    step_result_release(&r);
    project_close(&p);
}
END_TEST

START_TEST(an_env_that_ignores_the_url_is_refused_and_writes_nothing)
{
    const struct engine *e = engines[_i];
    struct project p = {.engine = e};
    struct scratch *elsewhere = NULL;
    _cleanup_err_ struct err err = {0};
    ASSERT_OK(scratch_new(fixture_pool(e), &elsewhere, &err), &err);
    const char *url = scratch_url(elsewhere);
    /* with a password, which must not be shown; the private server does not ask for it */
    const char *at = strstr(url, "@");
    _cleanup_free_ char *with_password =
        at ? xasprintf("%.*s:sesame%s", (int)(at - url), url, at) : xstrdup(url);
    _cleanup_free_ char *env = xasprintf(ENGINE "url = '%s'\n" RUN, with_password);
    p.dir = project_write(driver_of(e), env, two_revisions);
    ASSERT_OK(open_source(p.dir, &p.source, &err), &err);
    ASSERT_OK(scratch_new(fixture_pool(e), &p.scratch, &err), &err);
    ck_assert_int_lt(project_migrator(&p, &err), 0);
    ck_assert_int_eq(err.code, ERR_CONFIG);
    _cleanup_free_ char *name = xstrdup(strrchr(url, '/') + 1);
    name[strcspn(name, "?")] = '\0';
    ck_assert_msg(strstr(err.message, name) != NULL, "%s", err.message);
    ck_assert_ptr_null(strstr(err.message, "sesame"));
    ck_assert_ptr_null(err.trace ? strstr(err.trace, "sesame") : NULL);
    ck_assert_ptr_nonnull(strstr(err.hint, "url_env"));
    project_close(&p);
    _cleanup_db_ struct db *db = NULL;
    _cleanup_free_ char *tables = NULL;
    ASSERT_OK(db_open(e, url, DB_OPEN_SCRATCH, &db, &err), &err);
    ASSERT_OK(db_query_text(db,
                            e == &engine_sqlite
                                ? "select count(*) from sqlite_schema"
                                : "select count(*) from pg_class where relname = 'alembic_version'",
                            NULL, 0, &tables, &err),
              &err);
    ck_assert_str_eq(tables, "0");
    db_close(TAKE_PTR(db));
    scratch_free(elsewhere);
}
END_TEST

START_TEST(an_env_that_ignores_the_url_is_refused_though_it_cannot_connect)
{
    static const char *const urls[] = {"sqlite:////nowhere/at/all.db",
                                       "postgresql://me:sesame@/live?host=/nowhere"};
    static const char *const shown[] = {"/nowhere/at/all.db", "/live"};
    for (size_t i = 0; engines[i]; i++) {
        struct project p = {.engine = engines[i]};
        _cleanup_err_ struct err err = {0};
        _cleanup_free_ char *env = xasprintf(ENGINE "url = '%s'\n" RUN, urls[i]);
        p.dir = project_write(driver_of(p.engine), env, two_revisions);
        ASSERT_OK(open_source(p.dir, &p.source, &err), &err);
        ASSERT_OK(scratch_new(fixture_pool(p.engine), &p.scratch, &err), &err);
        ck_assert_int_lt(project_migrator(&p, &err), 0);
        ck_assert_msg(err.code == ERR_CONFIG, "%s", err.message);
        ck_assert_msg(strstr(err.message, "another database") && strstr(err.message, shown[i]),
                      "%s", err.message);
        ck_assert_ptr_null(strstr(err.message, "sesame"));
        ck_assert_ptr_nonnull(strstr(err.hint, "url_env"));
        project_close(&p);
    }
}
END_TEST

START_TEST(a_revision_that_connects_elsewhere_fails)
{
    static const struct rev revisions[] = {
        {"r1", "down_revision = None",
         "with sa.create_engine('sqlite:///elsewhere.db').begin() as c:\n"
         "    c.execute(sa.text('create table a (id int)'))",
         "pass"},
        {"r2", "down_revision = None",
         "with sa.create_engine('sqlite://').begin() as c:\n"
         "    c.execute(sa.text('create table in_memory (id int)'))",
         "pass"},
        {0},
    };
    struct project p;
    struct step_result r = {0};
    project_open(&p, &engine_sqlite, revisions);
    step(&p, "r1", STEP_UP, &r);
    ck_assert_int_eq(r.outcome, STEP_FAILED);
    ck_assert_msg(strstr(r.err.message, "another database") != NULL, "%s", r.err.message);
    step_result_release(&r);
    expect(&p, "r2", STEP_UP, STEP_OK);
    project_close(&p);
}
END_TEST

START_TEST(an_engine_that_the_project_keeps_does_not_hold_on_to_a_database)
{
    static const char env[] = "from alembic import context\n"
                              "from app_db import engine\n"
                              "with engine.connect() as connection:\n"
                              "    context.configure(connection=connection)\n"
                              "    with context.begin_transaction():\n"
                              "        context.run_migrations()\n";
    struct project p;
    _cleanup_err_ struct err err = {0};
    char *dir = project_write("postgresql", env, two_revisions);
    write_text(dir, "app_db.py",
               "import os\nfrom sqlalchemy import create_engine\n"
               "engine = create_engine(os.environ['DATABASE_URL'])\n");
    project_begin(&p, &engine_postgres, dir);
    ASSERT_OK(project_migrator(&p, &err), &err);
    expect(&p, "r1", STEP_UP, STEP_OK);
    migrator_close(TAKE_PTR(p.m));
    struct scratch *copy = NULL;
    ASSERT_OK(scratch_copy(p.scratch, &copy, &err), &err); /* nobody is connected any more */
    scratch_free(p.scratch);
    p.scratch = copy;
    ASSERT_OK(project_migrator(&p, &err), &err);
    expect_current(&p, "r1");
    expect(&p, "r2", STEP_UP, STEP_OK);
    project_close(&p);
}
END_TEST

START_TEST(the_url_reaches_the_variable_that_env_reads)
{
    static const char env[] = "import os\n"
                              "from alembic import context\n"
                              "from sqlalchemy import create_engine, pool\n"
                              "url = os.environ%s.replace('postgres://', 'postgresql://')\n" RUN;
    static const char *const lookups[] = {"['DATABASE_URL']", ".get('APP_DB_URL')",
                                          "[''.join(['ODD', '_NAME'])]"};
    _cleanup_strv_ struct strv names = {0};
    strv_add(&names, "ODD_NAME");
    setenv("APP_DB_URL", "postgres://me@nowhere.invalid/app", 1);
    for (size_t i = 0; i < ARRAY_LEN(lookups); i++) {
        _cleanup_err_ struct err err = {0};
        _cleanup_free_ char *text = env_with(env, lookups[i]);
        struct project p = {.engine = &engine_postgres};
        p.dir = project_write("postgresql", text, two_revisions);
        ASSERT_OK(
            source_open(&(struct source_options){.dir = p.dir, .python = PYTHON, .url_env = &names},
                        &p.source, &err),
            &err);
        ASSERT_OK(scratch_new(fixture_pool(p.engine), &p.scratch, &err), &err);
        ASSERT_OK(project_migrator(&p, &err), &err);
        expect(&p, "r1", STEP_UP, STEP_OK);
        project_close(&p);
    }
    unsetenv("APP_DB_URL");
}
END_TEST

START_TEST(an_env_that_only_imports_asyncio_keeps_its_driver)
{
    for (size_t i = 0; engines[i]; i++) {
        struct project p;
        project_open_env(&p, engines[i], driver_of(engines[i]), "import asyncio\n" ENGINE RUN,
                         two_revisions);
        expect(&p, "r1", STEP_UP, STEP_OK);
        project_close(&p);
    }
}
END_TEST

/* ---- opening ---- */

START_TEST(the_section_and_the_x_arguments_reach_env)
{
    static const char env[] =
        ENGINE "assert context.get_x_argument(as_dictionary=True) == {'tenant': 'a', 'k': 'v'}\n"
               "assert context.config.get_main_option('color') == 'blue'\n" RUN;
    _cleanup_err_ struct err err = {0};
    _cleanup_strv_ struct strv x = {0};
    struct project p = {.engine = &engine_sqlite};
    p.dir = project_write("sqlite", env, two_revisions);
    write_text(
        p.dir, "config/other.ini",
        "[alembic]\nscript_location = gone\n"
        "[blue]\nscript_location = alembic\ncolor = blue\nsqlalchemy.url = sqlite:///x.db\n");
    _cleanup_free_ char *config = path_join(p.dir, "config/other.ini");
    strv_add(&x, "tenant=a");
    strv_add(&x, "k=v");
    struct source_options o = {
        .dir = p.dir, .python = PYTHON, .config_file = config, .section = "blue", .x = &x};
    ASSERT_OK(source_open(&o, &p.source, &err), &err);
    ASSERT_OK(scratch_new(fixture_pool(p.engine), &p.scratch, &err), &err);
    ASSERT_OK(project_migrator(&p, &err), &err);
    expect(&p, "r1", STEP_UP, STEP_OK);
    project_close(&p);
}
END_TEST

START_TEST(a_project_is_found_from_beside_above_and_inside)
{
    static const char *const places[] = {".", "alembic", ".."};
    _cleanup_folder_ char *top = folder_new();
    _cleanup_free_ char *dir = path_join(top, "backend");
    _cleanup_folder_ char *made = project_write("sqlite", sync_env, two_revisions);
    ck_assert_int_eq(rename(made, dir), 0);
    write_text(dir, "seed/readme.sql", "select 1;\n"); /* SQL, but no migrations */
    write_text(dir, "schema.sql", "create table x (id int);\n");
    for (size_t i = 0; i < ARRAY_LEN(places); i++) {
        _cleanup_err_ struct err err = {0};
        _cleanup_source_ struct source *s = NULL;
        _cleanup_free_ char *place = path_join(dir, places[i]);
        ASSERT_OK(open_source(place, &s, &err), &err);
        ck_assert_uint_eq(graph_size(source_graph(s)), 2);
    }
}
END_TEST

static const struct {
    const char *name, *ini, *python, *config;
    enum err_code code;
    const char *message, *hint;
} bad_projects[] = {
    {"multidb", "[alembic]\nscript_location = alembic\ndatabases = one, two\n", PYTHON, NULL,
     ERR_SOURCE, "several databases", "-n"},
    {"no interpreter", NULL, "/nonexistent/python", NULL, ERR_ENV, "/nonexistent/python",
     "--python"},
    {"no Python", NULL, "/bin/true", NULL, ERR_ENV, "exit status 0", "--python"},
    {"no Alembic", NULL, "./bare", NULL, ERR_ENV, "cannot import alembic", "install Alembic"},
    {"no section", "[other]\nscript_location = alembic\n", PYTHON, NULL, ERR_SOURCE,
     "no section [alembic]", "other"},
    {"no script location", "[alembic]\nx = y\n", PYTHON, NULL, ERR_SOURCE, "script_location", NULL},
    {"no scripts", "[alembic]\nscript_location = elsewhere\n", PYTHON, NULL, ERR_SOURCE,
     "elsewhere", NULL},
    {"not an ini", "script_location = alembic\n", PYTHON, NULL, ERR_SOURCE, "section", NULL},
    {"no such file", NULL, PYTHON, "/nonexistent/alembic.ini", ERR_CONFIG,
     "/nonexistent/alembic.ini", "-c FILE"},
};

START_TEST(what_is_no_project_is_one_clear_error)
{
    _cleanup_err_ struct err err = {0};
    _cleanup_source_ struct source *s = NULL;
    _cleanup_folder_ char *dir = project_write("sqlite", sync_env, two_revisions);
    if (bad_projects[_i].ini)
        write_text(dir, "alembic.ini", bad_projects[_i].ini);
    const char *python = bad_projects[_i].python;
    _cleanup_free_ char *bare = path_join(dir, "bare");
    if (*python == '.') {
        /* an interpreter without site-packages */
        write_text(dir, "bare", "#!/bin/sh\nexec " PYTHON " -S \"$@\"\n");
        chmod(bare, 0755);
        python = bare;
    }
    struct source_options o = {
        .dir = dir, .python = python, .config_file = bad_projects[_i].config, .timeout = 20};
    ck_assert_int_lt(source_open(&o, &s, &err), 0);
    ck_assert_msg(err.code == bad_projects[_i].code, "%d %s", err.code, err.message);
    ck_assert_msg(strstr(err.message, bad_projects[_i].message) != NULL, "%s", err.message);
    if (bad_projects[_i].hint)
        ck_assert_msg(err.hint && strstr(err.hint, bad_projects[_i].hint), "%s | %s", err.message,
                      err.hint);
}
END_TEST

/* ---- what the configuration says ---- */

static const char *const separators[] = {"version_path_separator = os\nversion_locations = "
                                         "%(here)s/one/versions:%(here)s/two/versions\n",
                                         "version_locations = one/versions two/versions\n"};

START_TEST(several_version_locations_are_one_history)
{
    struct project p;
    _cleanup_err_ struct err err = {0};
    _cleanup_free_ char *id = NULL;
    _cleanup_strv_ struct strv files = {0};
    _cleanup_revisions_ struct revisions parents = {0};
    _cleanup_free_ char *env = env_with(sync_env, "");
    char *dir = project_write("sqlite", env, &(struct rev){0});
    _cleanup_free_ char *config = xasprintf("[alembic]\nscript_location = alembic\n%s"
                                            "sqlalchemy.url = sqlite:///x.db\n",
                                            separators[_i]);
    write_text(dir, "alembic.ini", config);
    write_text(dir, "one/versions/a.py",
               "from alembic import op\nrevision = 'a'\ndown_revision = None\n"
               "def upgrade():\n    op.execute('create table a (id int)')\n"
               "def downgrade():\n    op.execute('drop table a')\n");
    write_text(dir, "two/versions/b.py",
               "from alembic import op\nrevision = 'b'\ndown_revision = 'a'\n"
               "def upgrade():\n    op.execute('create table b (id int)')\n"
               "def downgrade():\n    op.execute('drop table b')\n");
    project_begin(&p, &engine_sqlite, dir);
    ASSERT_OK(project_migrator(&p, &err), &err);
    expect(&p, "a", STEP_UP, STEP_OK);
    expect(&p, "b", STEP_UP, STEP_OK);
    expect(&p, "b", STEP_DOWN, STEP_OK);
    expect_current(&p, "a");
    /* a new one goes where its parent is */
    revisions_add(&parents, graph_find(source_graph(p.source), "a"));
    const struct new_revision n = {.message = "beside", .parents = &parents, .id = "c"};
    ASSERT_OK(source_new_revision(p.source, &n, &id, &files, &err), &err);
    ck_assert_msg(strstr(files.v[0], "one/versions/c_beside.py") != NULL, "%s", files.v[0]);
    project_close(&p);
}
END_TEST

START_TEST(revisions_read_files_next_to_them_and_import_from_the_project)
{
    static const struct rev revisions[] = {
        {"r1", "down_revision = None\nimport os\nfrom helpers import seeds",
         "here = os.path.dirname(__file__)\n"
         "op.execute(open(os.path.join(here, 'r1.sql')).read())\n"
         "op.execute(open('seed.sql').read())\n"
         "op.execute(seeds.MORE)",
         "op.execute('drop table a')"},
        {0},
    };
    for (size_t e = 0; engines[e]; e++) {
        struct project p;
        _cleanup_err_ struct err err = {0};
        _cleanup_free_ char *env = env_with(sync_env, "");
        char *dir = project_write(driver_of(engines[e]), env, revisions);
        write_text(dir, "alembic/versions/r1.sql", "create table a (id int)");
        write_text(dir, "seed.sql", "insert into a values (1)");
        write_text(dir, "helpers/__init__.py", "");
        write_text(dir, "helpers/seeds.py", "MORE = 'insert into a values (2)'\n");
        project_begin(&p, engines[e], dir);
        ASSERT_OK(project_migrator(&p, &err), &err);
        expect(&p, "r1", STEP_UP, STEP_OK);
        expect_value(&p, "select sum(id) from a", "3");
        expect(&p, "r1", STEP_DOWN, STEP_OK);
        project_close(&p);
    }
}
END_TEST

#define TOML "[project]\nname = 'x'\n\n[tool.alembic]\nscript_location = '%(here)s/alembic'\n"

/* pyproject.toml alone, and with the alembic.ini that Alembic's own template puts beside it */
START_TEST(pyproject_toml_configures_where_alembic_reads_it)
{
    static const char *const inis[] = {NULL, "[alembic]\nsqlalchemy.url = sqlite:///x.db\n",
                                       "[loggers]\nkeys = root\n"};
    static const char env[] = ENGINE RUN;
    bool reads = python_runs("from alembic.config import Config; Config(toml_file='x')");
    for (size_t i = 0; i < ARRAY_LEN(inis); i++) {
        struct project p = {.engine = &engine_sqlite};
        _cleanup_err_ struct err err = {0};
        p.dir = project_write("sqlite", env, two_revisions);
        _cleanup_free_ char *ini = path_join(p.dir, "alembic.ini");
        unlink(ini);
        write_text(p.dir, "pyproject.toml", TOML);
        if (inis[i])
            write_text(p.dir, "alembic.ini", inis[i]);
        int rc = open_source(p.dir, &p.source, &err);
        if (!reads) {
            ck_assert_int_lt(rc, 0);
            ck_assert_msg(strstr(err.message, i == 0   ? "does not read pyproject.toml"
                                              : i == 1 ? "script_location"
                                                       : "no section [alembic]") != NULL,
                          "%s", err.message);
        } else {
            ASSERT_OK(rc, &err);
            ASSERT_OK(scratch_new(fixture_pool(p.engine), &p.scratch, &err), &err);
            ASSERT_OK(project_migrator(&p, &err), &err);
            expect(&p, "r1", STEP_UP, STEP_OK);
            expect_current(&p, "r1");
        }
        project_close(&p);
    }
}
END_TEST

START_TEST(the_variable_names_the_configuration_of_the_folder_one_stands_in)
{
    _cleanup_err_ struct err err = {0};
    _cleanup_source_ struct source *s = NULL, *other = NULL;
    _cleanup_folder_ char *dir = project_write("sqlite", sync_env, two_revisions);
    _cleanup_folder_ char *elsewhere = project_write("sqlite", sync_env, two_revisions);
    write_text(dir, "alembic.ini", "[alembic]\nscript_location = nowhere\n");
    write_text(dir, "prod.ini", "[alembic]\nscript_location = alembic\n");
    setenv("ALEMBIC_CONFIG", "prod.ini", 1);
    ck_assert_int_eq(chdir(dir), 0);
    ASSERT_OK(open_source(".", &s, &err), &err);
    ck_assert_uint_eq(graph_size(source_graph(s)), 2);
    ASSERT_OK(open_source(elsewhere, &other, &err), &err); /* named: the folder's own */
    setenv("ALEMBIC_CONFIG", "gone.ini", 1);
    source_free(TAKE_PTR(s));
    ck_assert_int_lt(open_source(".", &s, &err), 0);
    ck_assert_msg(strstr(err.message, "gone.ini") != NULL, "%s", err.message);
}
END_TEST

/* psycopg 3 is known to SQLAlchemy 2; with 1.4 it is one clear error. */
START_TEST(psycopg_3_works_where_sqlalchemy_knows_it)
{
    static const char *const envs[] = {sync_env, async_env};
    bool knows = python_runs("import sqlalchemy.dialects.postgresql.psycopg, psycopg");
    for (size_t i = 0; i < ARRAY_LEN(envs); i++) {
        struct project p;
        _cleanup_err_ struct err err = {0};
        _cleanup_free_ char *env = env_with(envs[i], "");
        project_begin(&p, &engine_postgres,
                      project_write("postgresql+psycopg", env, two_revisions));
        int rc = project_migrator(&p, &err);
        if (knows) {
            ASSERT_OK(rc, &err);
            expect(&p, "r1", STEP_UP, STEP_OK);
            expect(&p, "r2", STEP_UP, STEP_OK);
            expect(&p, "r2", STEP_DOWN, STEP_OK);
            expect_current(&p, "r1");
        } else {
            ck_assert_int_lt(rc, 0);
            ck_assert_msg(strstr(err.message, "postgresql.psycopg") != NULL, "%s", err.message);
            ck_assert_msg(str_ends(err.file, "alembic/env.py"), "%s", err.file);
        }
        project_close(&p);
    }
}
END_TEST

START_TEST(what_env_prints_does_no_harm)
{
    static const char env[] =
        ENGINE "import sys, os\n"
               "for i in range(3000):\n"
               "    print('{\"ok\": false}' + 'x' * 1000)\n"
               "    print('y' * 1000, file=sys.stderr)\n"
               "os.system('echo from a child')\n" RUN "print('z' * 3000000)\n";
    struct project p;
    project_open_env(&p, &engine_sqlite, "sqlite", env, two_revisions);
    expect(&p, "r1", STEP_UP, STEP_OK);
    expect_current(&p, "r1");
    project_close(&p);
}
END_TEST

int main(void)
{
    const char *missing = alembic_suite_begin();
    if (missing)
        return suite_skip(missing);
    Suite *s = suite_create("alembic_env");
    SUITE_ADD_LOOP(s, a_bad_env_is_one_clear_error, ARRAY_LEN(bad_envs));
    SUITE_ADD(s, a_revision_that_hangs_names_its_line);
    SUITE_ADD(s, an_env_that_forks_keeps_its_children_to_itself);
    SUITE_ADD_LOOP(s, an_env_that_ignores_the_url_is_refused_and_writes_nothing, 2);
    SUITE_ADD(s, an_env_that_ignores_the_url_is_refused_though_it_cannot_connect);
    SUITE_ADD(s, a_revision_that_connects_elsewhere_fails);
    SUITE_ADD(s, an_engine_that_the_project_keeps_does_not_hold_on_to_a_database);
    SUITE_ADD(s, the_url_reaches_the_variable_that_env_reads);
    SUITE_ADD(s, an_env_that_only_imports_asyncio_keeps_its_driver);
    SUITE_ADD(s, the_section_and_the_x_arguments_reach_env);
    SUITE_ADD(s, a_project_is_found_from_beside_above_and_inside);
    SUITE_ADD_LOOP(s, what_is_no_project_is_one_clear_error, ARRAY_LEN(bad_projects));
    SUITE_ADD_LOOP(s, several_version_locations_are_one_history, ARRAY_LEN(separators));
    SUITE_ADD(s, revisions_read_files_next_to_them_and_import_from_the_project);
    SUITE_ADD(s, pyproject_toml_configures_where_alembic_reads_it);
    SUITE_ADD(s, the_variable_names_the_configuration_of_the_folder_one_stands_in);
    SUITE_ADD(s, psycopg_3_works_where_sqlalchemy_knows_it);
    SUITE_ADD(s, what_env_prints_does_no_harm);
    return fixture_run(s);
}
