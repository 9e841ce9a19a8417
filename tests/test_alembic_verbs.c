/* The everyday verbs on Alembic projects, from end to end: the program, on a database of its
 * user's, taking turns with the alembic command. */
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/alembic_project.h"
#include "tests/belay_process.h"
#include "tests/belay_run.h"

/* ---- a user with a project and a database ---- */

struct user {
    const struct engine *engine;
    char *dir, *url;
    struct scratch *scratch;
};

/* Reads its database from DATABASE_URL, and what its tables should be from models.py. */
static const char env[] = "import os\n" ENGINE "from models import metadata\n"
                          "url = os.environ.get('DATABASE_URL', url)\n"
                          "if context.is_offline_mode():\n"
                          "    context.configure(url=url, target_metadata=metadata,\n"
                          "                      literal_binds=True)\n"
                          "    with context.begin_transaction():\n"
                          "        context.run_migrations()\n"
                          "else:\n"
                          "    with create_engine(url, poolclass=pool.NullPool).connect() as c:\n"
                          "        context.configure(connection=c, target_metadata=metadata,\n"
                          "                          render_as_batch=True)\n"
                          "        with context.begin_transaction():\n"
                          "            context.run_migrations()\n";

#define MODELS                                                                                     \
    "import sqlalchemy as sa\n"                                                                    \
    "metadata = sa.MetaData()\n"                                                                   \
    "a = sa.Table('a', metadata, sa.Column('id', sa.Integer), sa.Column('b', sa.Text))\n"

static void user_open(struct user *u, const struct engine *e, const struct rev *revisions)
{
    _cleanup_err_ struct err err = {0};
    *u = (struct user){.engine = e, .dir = project_write(driver_of(e), env, revisions)};
    write_text(u->dir, "models.py", MODELS);
    if (e == &engine_sqlite) {
        u->url = xasprintf("sqlite:///%s/d.db", u->dir);
        return;
    }
    ASSERT_OK(scratch_new(fixture_pool(e), &u->scratch, &err), &err);
    u->url = xstrdup(scratch_url(u->scratch));
}

static void user_close(struct user *u)
{
    free(u->url);
    scratch_free(u->scratch);
    folder_free(&u->dir);
}

static struct run run(const struct user *u, const char *args)
{
    _cleanup_free_ char *url = xasprintf("DATABASE_URL=%s", u->url);
    /* on the fixture's server a scratch database is there at once */
    _cleanup_free_ char *server =
        u->scratch ? xasprintf("BELAY_SCRATCH_URL=%s", u->url) : xstrdup("BELAY_SCRATCH_URL");
    return belay_run(u->dir, (const char *[]){url, server, "BELAY_PYTHON=" PYTHON, NULL}, args);
}

/* Runs, and looks at how it ended and at a part of what it printed (either stream), NULL: any. */
static void belay(const struct user *u, const char *args, int status, const char *part)
{
    _cleanup_run_ struct run r = run(u, args);
    ck_assert_msg(r.r.status == status && (!part || strstr(r.out, part) || strstr(r.errors, part)),
                  "%s on %s: status %d, expected %d and \"%s\"\n-- out:\n%s-- errors:\n%s", args,
                  engine_name(u->engine), r.r.status, status, part ? part : "", r.out, r.errors);
}

/* The alembic command itself. */
static void alembic(const struct user *u, const char *verb, const char *arg, const char *part)
{
    _cleanup_free_ char *url = xasprintf("DATABASE_URL=%s", u->url);
    const char *const argv[] = {PYTHON, "-m", "alembic.config", verb, arg, NULL};
    const struct proc_options o = {.argv = argv, .env = (const char *[]){url, NULL}, .dir = u->dir};
    _cleanup_proc_result_ struct proc_result r = {0};
    _cleanup_err_ struct err err = {0};
    ASSERT_OK(proc_run(&o, &r, &err), &err);
    ck_assert_msg(r.status == 0 && (!part || strstr(str_get(&r.output), part)),
                  "alembic %s: %d %s%s", verb, r.status, str_get(&r.output), str_get(&r.errors));
}

/* SQL by the user's own hand. */
static void sql(const struct user *u, const char *text)
{
    _cleanup_err_ struct err err = {0};
    _cleanup_db_ struct db *db = NULL;
    ASSERT_OK(db_open(u->engine, u->url, DB_OPEN_CREATE, &db, &err), &err);
    ASSERT_OK(db_run(db, text, DB_RUN_STATEMENTS, NULL, &err), &err);
}

/* ---- the verbs ---- */

START_TEST(upgrade_and_downgrade_take_turns_with_alembic)
{
    struct user u;
    user_open(&u, engines[_i], two_revisions);
    belay(&u, "upgrade +1", 0, "upgrade <base> -> r1, revision r1  ");
    alembic(&u, "current", NULL, "r1");
    belay(&u, "current", 0, "r1");
    alembic(&u, "upgrade", "head", NULL);
    belay(&u, "current", 0, "r2 (head)");
    belay(&u, "upgrade", 0, "nothing to upgrade");
    belay(&u, "downgrade -1", 0, "downgrade r2 -> r1, revision r2  ");
    alembic(&u, "current", NULL, "r1");
    belay(&u, "upgrade r2", 0, "applied now: r2");
    alembic(&u, "downgrade", "base", NULL);
    belay(&u, "current", 0, NULL);
    belay(&u, "upgrade head", 0, "applied now: r2");
    belay(&u, "downgrade base", 0, "applied now: base");
    user_close(&u);
}
END_TEST

START_TEST(the_history_is_shown_as_alembic_shows_it)
{
    struct user u;
    user_open(&u, &engine_sqlite, two_revisions);
    belay(&u, "upgrade -q r1", 0, NULL);
    belay(&u, "history", 0, "r1 -> r2 (head), revision r2\n<base> -> r1, revision r1\n");
    belay(&u, "history -i", 0, "<base> -> r1 (current), revision r1");
    belay(&u, "history --verbose", 0,
          "Rev: r2 (head)\nParent: r1\nPath: alembic/versions/r2_x.py:");
    belay(&u, "history current:", 0, "r1 -> r2 (head)");
    belay(&u, "heads", 0, "r2 (head)\n");
    belay(&u, "branches", 0, "");
    belay(&u, "show head", 0, "Rev: r2 (head)\nParent: r1\n");
    belay(&u, "show r1", 0, "Parent: <base>\n");
    user_close(&u);
}
END_TEST

START_TEST(the_sql_of_a_range_runs_by_hand)
{
    struct user u;
    user_open(&u, &engine_postgres,
              (const struct rev[]){
                  {"r1", "down_revision = None",
                   "op.create_table('a', sa.Column('id', sa.Integer))", "op.drop_table('a')"},
                  {"r2", "down_revision = 'r1'",
                   "op.create_table('b', sa.Column('id', sa.Integer))", "op.drop_table('b')"},
                  {0}});
    _cleanup_run_ struct run all = run(&u, "upgrade r1 --sql"), more = run(&u, "sql r1:r2"),
                             back = run(&u, "sql r2:r1");
    ck_assert_msg(all.r.status == 0 && more.r.status == 0 && back.r.status == 0, "%s%s%s",
                  all.errors, more.errors, back.errors);
    sql(&u, all.out);
    belay(&u, "current", 0, "r1");
    sql(&u, more.out);
    belay(&u, "current", 0, "r2 (head)");
    sql(&u, "insert into b values (1)");
    sql(&u, back.out);
    belay(&u, "current", 0, "r1");
    belay(&u, "downgrade r1 --sql", 2, "FROM:TO");
    user_close(&u);
}
END_TEST

START_TEST(a_failed_step_shows_the_line_the_sql_and_what_is_applied)
{
    struct user u;
    user_open(&u, &engine_postgres,
              (const struct rev[]){
                  {"r1", "down_revision = None", "op.execute('create table a (id int)')", "pass"},
                  {"r2", "down_revision = 'r1'", "op.create_index('i', 'a', ['nowhere'])", "pass"},
                  {0}});
    _cleanup_run_ struct run r = run(&u, "upgrade"), v = run(&u, "upgrade -v");
    ck_assert_int_eq(r.r.status, 1);
    const char *const parts[] = {
        "alembic/versions/r2_x.py:7: revision r2 does not upgrade: ", "nowhere",
        "    | CREATE INDEX i ON a (nowhere)\n", "applied now: r1\n"};
    for (size_t i = 0; i < ARRAY_LEN(parts); i++)
        ck_assert_msg(strstr(r.errors, parts[i]) != NULL, "%s: %s", parts[i], r.errors);
    ck_assert_ptr_null(strstr(r.errors, "Traceback"));
    ck_assert_msg(strstr(v.errors, "op.create_index('i', 'a', ['nowhere'])") != NULL, "%s",
                  v.errors);
    ck_assert_msg(strstr(v.errors, "frames of libraries)") != NULL, "%s", v.errors);
    user_close(&u);
}
END_TEST

/* ---- the states of a database ---- */

START_TEST(untracked_and_unknown_are_explained_and_stamped)
{
    struct user u;
    user_open(&u, engines[_i], two_revisions);
    sql(&u, "create table a (id integer)");
    belay(&u, "upgrade", 1, "\"belay stamp r1\"");
    belay(&u, "current", 1, "\"belay stamp r1\"");
    belay(&u, "stamp head", 1, "nothing was stamped");
    belay(&u, "stamp --detect", 0, "stamped r1");
    alembic(&u, "current", NULL, "r1");
    belay(&u, "upgrade", 0, "applied now: r2");
    belay(&u, "stamp r1", 1, "nothing was stamped");
    belay(&u, "stamp r1 --force", 0, "stamped r1");
    alembic(&u, "stamp", "head", NULL);
    sql(&u, "update alembic_version set version_num = 'r22'");
    belay(&u, "current", 1, "no such revision");
    belay(&u, "upgrade", 1, "the nearest is r2");
    belay(&u, "stamp --detect", 0, "stamped r2");
    belay(&u, "current", 0, "r2 (head)");
    user_close(&u);
}
END_TEST

/* ---- new revisions ---- */

START_TEST(an_autogenerated_revision_is_written_and_checked_at_once)
{
    struct user u;
    user_open(&u, engines[_i], two_revisions);
    write_text(u.dir, "models.py", MODELS "a.append_column(sa.Column('c', sa.Integer))\n");
    belay(&u, "revision --autogenerate -m early", 2, "\"belay upgrade\" first");
    belay(&u, "upgrade -q", 0, NULL);
    _cleanup_run_ struct run r = run(&u, "revision --autogenerate -m add_c --rev-id r3");
    ck_assert_msg(r.r.status == 0 && strstr(r.out, "alembic/versions/r3_add_c.py\n") &&
                      strstr(r.out, "i r3") && strstr(r.out, "i 1 note"),
                  "%d %s%s", r.r.status, r.out, r.errors); /* a has no key to fill c by */
    belay(&u, "show head", 0, "Parent: r2\n");
    belay(&u, "upgrade", 0, "upgrade r2 -> r3, add_c");
    sql(&u, "insert into a (c) values (1)");
    belay(&u, "check", 0, "i 2 notes");
    user_close(&u);
}
END_TEST

START_TEST(what_autogenerate_gets_wrong_is_the_verdict_on_its_revision)
{
    struct user u;
    user_open(&u, &engine_postgres, two_revisions);
    write_text(u.dir, "models.py",
               MODELS "sa.Table('t', metadata, sa.Column('m', sa.Enum('x', name='mood')))\n");
    belay(&u, "upgrade -q", 0, NULL);
    belay(&u, "revision --autogenerate -m moods --rev-id r3", 1, "+ enum public.mood");
    belay(&u, "current", 0, "r2"); /* on scratch alone */
    user_close(&u);
}
END_TEST

START_TEST(branches_are_labelled_and_merged_with_a_verdict)
{
    struct user u;
    user_open(&u, &engine_sqlite, two_revisions);
    belay(&u, "revision -m side --rev-id s1", 0, "✓ s1");
    belay(&u, "revision -m aside --rev-id s2 --head r1 --branch-label aside", 0,
          "belay merge s1 s2");
    belay(&u, "heads", 0, "s1 (head)\ns2 (aside) (head)\n");
    belay(&u, "branches", 0, "r1 (branchpoint), revision r1\n");
    belay(&u, "upgrade", 2, "2 heads");
    belay(&u, "upgrade aside@head", 0, "applied now: s2");
    belay(&u, "upgrade heads", 0, "applied now: s1, s2");
    belay(&u, "downgrade -1", 2, "ambiguous");
    belay(&u, "merge s1 r1", 2, "ancestor");
    _cleanup_run_ struct run r = run(&u, "merge -m joined --rev-id m1");
    ck_assert_msg(r.r.status == 0 && strstr(r.out, "alembic/versions/m1_joined.py\n") &&
                      strstr(r.out, "✓ m1") && strstr(r.out, "✓ clean"),
                  "%d %s%s", r.r.status, r.out, r.errors);
    belay(&u, "heads", 0, "m1 (aside) (head) (mergepoint)\n");
    alembic(&u, "upgrade", "head", NULL);
    belay(&u, "current", 0, "m1");
    belay(&u, "merge", 2, "a merge needs two revisions");
    user_close(&u);
}
END_TEST

/* ---- how a project is named ---- */

START_TEST(the_flags_of_alembic_work_as_they_do_there)
{
    struct user u;
    user_open(&u, &engine_sqlite, two_revisions);
    write_text(u.dir, "alembic/env.py",
               ENGINE "assert context.get_x_argument(as_dictionary=True)['tenant'] == 'a'\n"
                      "assert context.config.config_ini_section == 'blue'\n" RUN);
    write_text(u.dir, "alembic.ini", "[alembic]\nscript_location = gone\n");
    write_text(u.dir, "config/prod.ini",
               "[blue]\nscript_location = alembic\n"
               "sqlalchemy.url = sqlite:///blue.db\n");
    static const char args[] = "-c config/prod.ini -n blue -x tenant=a";
    static const char *const verbs[] = {"check", "upgrade", "current", "downgrade base"};
    for (size_t i = 0; i < ARRAY_LEN(verbs); i++) {
        _cleanup_free_ char *all = xasprintf("%s %s", verbs[i], args);
        belay(&u, all, 0, NULL);
    }
    belay(&u, "check", 2, "gone");
    belay(&u, "check -c config/prod.ini", 2, "-n names one");
    const char *const set[] = {"ALEMBIC_CONFIG=config/prod.ini", "BELAY_PYTHON=" PYTHON, NULL};
    _cleanup_run_ struct run r = belay_run(u.dir, set, "heads -n blue");
    ck_assert_msg(r.r.status == 0, "%s", r.errors);
    ck_assert_str_eq(r.out, "r2 (head)\n");
    user_close(&u);
}
END_TEST

/* ---- ends ---- */

START_TEST(a_worker_that_is_killed_is_a_finding_and_the_scratch_goes)
{
    static const char count[] = "select count(*) from pg_database where datname like 'belay%'";
    struct user u;
    user_open(
        &u, engines[_i],
        (const struct rev[]){{"r1", "down_revision = None", "op.execute('create table a (id int)')",
                              "op.execute('drop table a')"},
                             {"r2", "down_revision = 'r1'",
                              "import os, signal\nop.execute('create table c (id int)')\n"
                              "os.kill(os.getpid(), signal.SIGKILL)",
                              "pass"},
                             {0}});
    struct project p = {.engine = u.engine, .scratch = u.scratch};
    _cleanup_free_ char *before = u.scratch ? value_of(&p, count) : NULL;
    _cleanup_run_ struct run r = run(&u, "check");
    ck_assert_int_eq(r.r.status, 1);
    ck_assert_msg(strstr(r.out, "r2 revision r2: upgrade-fails") && strstr(r.out, "SIGKILL") &&
                      strstr(r.out, "alembic/versions/r2_x.py:"),
                  "%s", r.out);
    if (before)
        expect_value(&p, count, before);
    user_close(&u);
}
END_TEST

/* A number that the file holds once it is written whole. */
static bool has_number(void *path)
{
    _cleanup_free_ char *text = NULL;
    _cleanup_err_ struct err err = {0};
    return file_read(path, &text, NULL, &err) == 0 && strchr(text, '\n');
}

static bool has_ended(void *pid)
{
    return !process_alive(*(pid_t *)pid);
}

START_TEST(the_worker_ends_when_belay_is_killed)
{
    static const char hangs[] =
        "import os, time\nwith open('worker', 'w') as f:\n    f.write('%d\\n' % os.getpid())\n"
        "time.sleep(3600)";
    struct user u;
    user_open(&u, &engine_sqlite,
              (const struct rev[]){{"r1", "down_revision = None", hangs, "pass"}, {0}});
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        int null = open("/dev/null", O_WRONLY);
        dup2(null, 1);
        if (chdir(u.dir) == 0)
            execl(getenv("BELAY_BIN"), "belay", "check", "--python", PYTHON, (char *)NULL);
        _exit(127);
    }
    _cleanup_free_ char *path = path_join(u.dir, "worker"), *text = NULL;
    _cleanup_err_ struct err err = {0};
    ck_assert(wait_until(has_number, path));
    ASSERT_OK(file_read(path, &text, NULL, &err), &err);
    pid_t worker = atoi(text);
    ck_assert(process_alive(worker));
    kill(pid, SIGKILL);
    ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
    ck_assert(wait_until(has_ended, &worker));
    user_close(&u);
}
END_TEST

int main(void)
{
    if (!getenv("BELAY_BIN"))
        return suite_skip("BELAY_BIN does not name the program");
    const char *missing = alembic_suite_begin();
    if (missing)
        return suite_skip(missing);
    Suite *s = suite_create("alembic_verbs");
    SUITE_ADD_LOOP(s, upgrade_and_downgrade_take_turns_with_alembic, 2);
    SUITE_ADD(s, the_history_is_shown_as_alembic_shows_it);
    SUITE_ADD(s, the_sql_of_a_range_runs_by_hand);
    SUITE_ADD(s, a_failed_step_shows_the_line_the_sql_and_what_is_applied);
    SUITE_ADD_LOOP(s, untracked_and_unknown_are_explained_and_stamped, 2);
    SUITE_ADD_LOOP(s, an_autogenerated_revision_is_written_and_checked_at_once, 2);
    SUITE_ADD(s, what_autogenerate_gets_wrong_is_the_verdict_on_its_revision);
    SUITE_ADD(s, branches_are_labelled_and_merged_with_a_verdict);
    SUITE_ADD(s, the_flags_of_alembic_work_as_they_do_there);
    SUITE_ADD_LOOP(s, a_worker_that_is_killed_is_a_finding_and_the_scratch_goes, 2);
    SUITE_ADD(s, the_worker_ends_when_belay_is_killed);
    return fixture_run(s);
}
