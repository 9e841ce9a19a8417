#include "tests/alembic_project.h"

#include "harness/base/proc.h"

/* ---- a project ---- */

static const char ini[] = "[alembic]\n"
                          "script_location = alembic\n"
                          "prepend_sys_path = .\n"
                          "sqlalchemy.url = %s://user:secret@nowhere.invalid/app\n";

/* %s: what configure() is given besides, and lines before and after run_migrations(). */
const char sync_env[] =
    "from alembic import context\n"
    "from sqlalchemy import engine_from_config, pool, text\n"
    "config = context.config\n"
    "if context.is_offline_mode():\n"
    "    context.configure(url=config.get_main_option('sqlalchemy.url'), literal_binds=True)\n"
    "    with context.begin_transaction():\n"
    "        context.run_migrations()\n"
    "else:\n"
    "    engine = engine_from_config(config.get_section(config.config_ini_section),\n"
    "                                prefix='sqlalchemy.', poolclass=pool.NullPool)\n"
    "    with engine.connect() as connection:\n"
    "        context.configure(connection=connection, %s)\n"
    "        with context.begin_transaction():\n"
    "            context.run_migrations()\n";

const char async_env[] =
    "import asyncio\n"
    "from alembic import context\n"
    "from sqlalchemy import pool\n"
    "from sqlalchemy.ext.asyncio import create_async_engine\n"
    "def run(connection):\n"
    "    context.configure(connection=connection, %s)\n"
    "    with context.begin_transaction():\n"
    "        context.run_migrations()\n"
    "async def main():\n"
    "    engine = create_async_engine(context.config.get_main_option('sqlalchemy.url'),\n"
    "                                 poolclass=pool.NullPool)\n"
    "    async with engine.connect() as connection:\n"
    "        await connection.run_sync(run)\n"
    "    await engine.dispose()\n"
    "asyncio.run(main())\n";

static void add_function(struct str *s, const char *name, const char *body)
{
    if (!body)
        return;
    str_addf(s, "def %s():\n", name);
    for (const char *p = body; *p;) {
        size_t n = strcspn(p, "\n");
        str_addf(s, "    %.*s\n", (int)n, p);
        p += n + (p[n] == '\n');
    }
}

static void add_revision(const char *dir, const struct rev *r)
{
    _cleanup_str_ struct str s = {0};
    str_addf(&s, "\"\"\"revision %s\"\"\"\nfrom alembic import op\nimport sqlalchemy as sa\n",
             r->id);
    str_addf(&s, "revision = '%s'\n%s\n", r->id, r->head);
    add_function(&s, "upgrade", r->up);
    add_function(&s, "downgrade", r->down);
    _cleanup_free_ char *name = xasprintf("alembic/versions/%s_x.py", r->id);
    folder_write(dir, name, str_get(&s), s.len);
}

void write_text(const char *dir, const char *name, const char *text)
{
    folder_write(dir, name, text, strlen(text));
}

/* Writes a project; revisions end with id NULL. */
char *project_write(const char *driver, const char *env, const struct rev *revisions)
{
    char *dir = folder_new();
    _cleanup_free_ char *config = xasprintf(ini, driver);
    write_text(dir, "alembic.ini", config);
    write_text(dir, "alembic/env.py", env);
    write_text(dir, "alembic/script.py.mako",
               "\"\"\"${message}\"\"\"\nfrom alembic import op\nimport sqlalchemy as sa\n"
               "revision = ${repr(up_revision)}\n"
               "down_revision = ${repr(down_revision)}\nbranch_labels = ${repr(branch_labels)}\n"
               "depends_on = ${repr(depends_on)}\n"
               "def upgrade():\n    ${upgrades if upgrades else \"pass\"}\n"
               "def downgrade():\n    ${downgrades if downgrades else \"pass\"}\n");
    folder_write(dir, "alembic/versions/.keep", "", 0);
    for (; revisions->id; revisions++)
        add_revision(dir, revisions);
    return dir;
}

char *env_with(const char *template, const char *options)
{
    struct str s = {0};
    const char *at = strstr(template, "%s");
    str_addn(&s, template, (size_t)(at - template));
    str_addf(&s, "%s%s", options, at + 2);
    return str_take(&s);
}

int open_source(const char *dir, struct source **ret, struct err *err)
{
    return source_open(&(struct source_options){.dir = dir, .python = PYTHON, .timeout = 60}, ret,
                       err);
}

void project_begin(struct project *p, const struct engine *e, char *dir)
{
    _cleanup_err_ struct err err = {0};
    *p = (struct project){.engine = e, .dir = dir};
    ASSERT_OK(open_source(dir, &p->source, &err), &err);
    ASSERT_OK(scratch_new(fixture_pool(e), &p->scratch, &err), &err);
}

int project_migrator(struct project *p, struct err *err)
{
    struct db_proof proof = scratch_proof(p->scratch);
    return migrator_open(p->source, p->engine, scratch_url(p->scratch), DB_OPEN_SCRATCH, &proof,
                         &p->m, err);
}

void project_open_with(struct project *p, const struct engine *e, char *dir,
                       struct source_options o)
{
    _cleanup_err_ struct err err = {0};
    *p = (struct project){.engine = e, .dir = dir};
    o.dir = dir;
    o.python = PYTHON;
    ASSERT_OK(source_open(&o, &p->source, &err), &err);
    ASSERT_OK(scratch_new(fixture_pool(e), &p->scratch, &err), &err);
    ASSERT_OK(project_migrator(p, &err), &err);
}

const char *driver_of(const struct engine *e)
{
    return e == &engine_sqlite ? "sqlite" : "postgresql";
}

void project_open_env(struct project *p, const struct engine *e, const char *driver,
                      const char *env, const struct rev *revisions)
{
    project_open_with(p, e, project_write(driver, env, revisions),
                      (struct source_options){.timeout = 60});
}

void project_open(struct project *p, const struct engine *e, const struct rev *revisions)
{
    _cleanup_free_ char *env = env_with(sync_env, "");
    project_open_env(p, e, driver_of(e), env, revisions);
}

void project_close(struct project *p)
{
    migrator_close(p->m);
    source_free(p->source);
    scratch_free(p->scratch);
    folder_free(&p->dir);
}

const struct revision *revision_of(struct project *p, const char *id)
{
    const struct revision *r = graph_find(source_graph(p->source), id);
    ck_assert_msg(r != NULL, "no revision %s", id);
    return r;
}

void step(struct project *p, const char *id, enum step_direction d, struct step_result *ret)
{
    _cleanup_err_ struct err err = {0};
    ASSERT_OK(migrator_step(p->m, revision_of(p, id), d, false, ret, &err), &err);
}

void expect(struct project *p, const char *id, enum step_direction d, enum step_outcome outcome)
{
    struct step_result r = {0};
    step(p, id, d, &r);
    ck_assert_msg(r.outcome == outcome, "%s: outcome %d: %s %s", id, r.outcome, r.err.message,
                  r.err.trace);
    ck_assert_msg(!r.session_change, "%s", r.session_change);
    step_result_release(&r);
}

void expect_current(struct project *p, const char *expected)
{
    _cleanup_err_ struct err err = {0};
    _cleanup_strv_ struct strv ids = {0};
    ASSERT_OK(migrator_current(p->m, &ids, &err), &err);
    _cleanup_free_ char *text = strv_join(&ids, " ");
    ck_assert_str_eq(text, expected);
}

/* From a session of the test's own. */
char *value_of(struct project *p, const char *sql)
{
    _cleanup_err_ struct err err = {0};
    _cleanup_db_ struct db *db = NULL;
    char *value = NULL;
    ASSERT_OK(db_open(p->engine, scratch_url(p->scratch), DB_OPEN_SCRATCH, &db, &err), &err);
    if (db_query_text(db, sql, NULL, 0, &value, &err) < 0)
        return xstrdup("error");
    return value ? value : xstrdup("null");
}

void expect_value(struct project *p, const char *sql, const char *expected)
{
    _cleanup_free_ char *value = value_of(p, sql);
    ck_assert_msg(strcmp(value, expected) == 0, "%s: %s, not %s", sql, value, expected);
}

const struct rev two_revisions[] = {
    {"r1", "down_revision = None", "op.create_table('a', sa.Column('id', sa.Integer))",
     "op.drop_table('a')"},
    {"r2", "down_revision = 'r1'", "op.add_column('a', sa.Column('b', sa.Text))",
     "with op.batch_alter_table('a') as t:\n    t.drop_column('b')"},
    {0},
};

/* ---- all of it in one go ---- */

void run_straight(struct project *p, size_t expect_done, enum step_outcome outcome,
                  struct step_result *ret)
{
    _cleanup_err_ struct err err = {0};
    _cleanup_revisions_ struct revisions all = {0};
    size_t done = 99;
    for (size_t i = 0; i < graph_size(source_graph(p->source)); i++)
        revisions_add(&all, graph_at(source_graph(p->source), i));
    ASSERT_OK(migrator_straight(p->m, &all, &done, ret, &err), &err);
    ck_assert_msg(ret->outcome == outcome, "outcome %d: %s", ret->outcome, ret->err.message);
    ck_assert_uint_eq(done, expect_done);
}

/* ---- the suite ---- */

bool python_runs(const char *code)
{
    _cleanup_proc_result_ struct proc_result r = {0};
    _cleanup_err_ struct err err = {0};
    const char *const argv[] = {PYTHON, "-c", code, NULL};
    return proc_run(&(struct proc_options){.argv = argv}, &r, &err) == 0 && r.status == 0;
}

const char *alembic_suite_begin(void)
{
    unsetenv("DATABASE_URL");
    unsetenv("ALEMBIC_CONFIG");
    return python_runs("import alembic, psycopg2, asyncpg, aiosqlite") ? NULL
                                                                       : PYTHON
               " lacks alembic, psycopg2, asyncpg or aiosqlite";
}
