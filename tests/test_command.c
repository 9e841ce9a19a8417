/*
 * Commands as a source: a small tool written in shell, on both engines.
 *
 * The tool has one folder of files, m/ID.up.sql and m/ID.down.sql, and a version table of its own.
 */
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>

#include "harness/base/proc.h"
#include "harness/source/command_env.h"
#include "harness/source/source.h"
#include "tests/fixture.h"
#include "tests/migration_folder.h"

static const char tool[] =
    "db() {\n"
    "    if [ -n \"$BELAY_SQLITE_FILE\" ]; then\n"
    "        sqlite3 -batch -bail \"$BELAY_SQLITE_FILE\" \"$1\"\n"
    "    else\n"
    "        psql -X -q -A -t -v ON_ERROR_STOP=1 -c \"$1\" \"$DATABASE_URL\"\n"
    "    fi\n"
    "}\n"
    "case $1 in\n"
    "list) for f in m/*.up.sql; do f=${f#m/}; echo \"${f%.up.sql} the title\"; done ;;\n"
    "up) db \"create table if not exists done (id text); $(cat m/$2.up.sql);"
    "        insert into done values ('$2')\" ;;\n"
    "down) db \"$(cat m/$2.down.sql); delete from done where id = '$2'\" ;;\n"
    "current) db 'create table if not exists done (id text)' 2>/dev/null\n"
    "    db 'select id from done order by id' ;;\n"
    "all) for f in m/*.up.sql; do f=${f#m/}; f=${f%.up.sql}\n"
    "    db 'create table if not exists done (id text)' 2>/dev/null\n"
    "    db 'select id from done' | grep -qx $f || sh ./tool up $f || exit; done ;;\n"
    "esac\n";

struct project {
    const struct engine *engine;
    char *dir;
    struct scratch *scratch, *other;
    struct source *source;
    struct migrator *m;
};

#define LIST "sh ./tool list"
#define UP "sh ./tool up {revision}"
#define DOWN "sh ./tool down {revision}"
#define CURRENT "sh ./tool current"

static const struct command_options good = {
    .list = LIST, .up = UP, .down = DOWN, .current = CURRENT};

/* 1 and 2, which make a table each. */
static void project_init(struct project *p, const struct engine *e)
{
    static const struct file files[] = {{"tool", tool},
                                        {"m/1.up.sql", "create table a (x int)"},
                                        {"m/1.down.sql", "drop table a"},
                                        {"m/2.up.sql", "create table b (x int)"},
                                        {"m/2.down.sql", "drop table b"},
                                        {NULL, NULL}};
    struct err err = {0};
    *p = (struct project){.engine = e, .dir = folder_new()};
    folder_fill(p->dir, files);
    ASSERT_OK(scratch_new(fixture_pool(e), &p->scratch, &err), &err);
    ASSERT_OK(scratch_new(fixture_pool(e), &p->other, &err), &err);
}

static int project_source(struct project *p, const struct command_options *c, struct err *err)
{
    char name[] = "APP_URL";
    const struct strv url_env = {.v = (char *[]){name}, .n = 1};
    const struct source_options o = {.dir = p->dir,
                                     .command = c,
                                     .engine = p->engine,
                                     .url_env = &url_env,
                                     .timeout = 60,
                                     .scratch_url = scratch_url(p->other)};
    return source_open(&o, &p->source, err);
}

static int project_migrator(struct project *p, struct err *err)
{
    struct db_proof proof = scratch_proof(p->scratch);
    return migrator_open(p->source, p->engine, scratch_url(p->scratch), DB_OPEN_SCRATCH, &proof,
                         &p->m, err);
}

static void project_open(struct project *p, const struct engine *e, const struct command_options *c)
{
    struct err err = {0};
    project_init(p, e);
    ASSERT_OK(project_source(p, c, &err), &err);
    ASSERT_OK(project_migrator(p, &err), &err);
}

static void project_close(struct project *p)
{
    migrator_close(p->m);
    source_free(p->source);
    scratch_free(p->scratch);
    scratch_free(p->other);
    folder_free(&p->dir);
}

/* A command on the other database: what a project does that reads a .env file of its own. */
static char *elsewhere(const struct project *p, const char *command)
{
    const char *url = scratch_url(p->other);
    _cleanup_free_ char *env =
        p->engine == &engine_postgres
            ? xasprintf("DATABASE_URL='%s'\n", url)
            : xasprintf("BELAY_SQLITE_FILE='%s'\n", url + strlen("sqlite:///"));
    folder_write(p->dir, ".env", env, strlen(env));
    return xasprintf("set -a; . ./.env; %s", command);
}

static struct revision *revision(const struct project *p, size_t i)
{
    return graph_at(source_graph(p->source), i);
}

static void step(struct project *p, size_t i, enum step_direction d, struct step_result *ret)
{
    struct err err = {0};
    ASSERT_OK(migrator_step(p->m, revision(p, i), d, false, ret, &err), &err);
}

static void expect_step(struct project *p, size_t i, enum step_direction d,
                        enum step_outcome outcome)
{
    struct step_result r = {0};
    step(p, i, d, &r);
    ck_assert_msg(r.outcome == outcome, "outcome %d: %s", (int)r.outcome,
                  r.err.message ? r.err.message : "");
    step_result_release(&r);
}

static void expect_current(struct project *p, const char *expected)
{
    struct err err = {0};
    _cleanup_strv_ struct strv ids = {0};
    ASSERT_OK(migrator_current(p->m, &ids, &err), &err);
    _cleanup_free_ char *got = strv_join(&ids, " ");
    ck_assert_str_eq(got, expected);
}

static bool has_table(const struct project *p, const struct scratch *s, const char *table)
{
    struct err err = {0};
    _cleanup_db_ struct db *db = NULL;
    _cleanup_rows_ struct rows *rows = NULL;
    _cleanup_free_ char *sql = xasprintf("select count(*) from %s", table);
    ASSERT_OK(db_open(p->engine, scratch_url(s), DB_OPEN_SCRATCH, &db, &err), &err);
    bool has = db_query(db, sql, NULL, 0, &rows, &err) == 0;
    err_release(&err);
    return has;
}

static void has(const char *text, const char *part)
{
    ck_assert_msg(text && strstr(text, part), "\"%s\" is not in:\n%s", part, text ? text : "NULL");
}

static void lacks(const char *text, const char *part)
{
    const char *at = strstr(text, part);
    ck_assert_msg(!at, "\"%s\" is in: %.80s", part, at);
}

static char *read_text(const struct project *p, const char *name)
{
    struct err err = {0};
    char *text = NULL;
    _cleanup_free_ char *path = path_join(p->dir, name);
    ASSERT_OK(file_read(path, &text, NULL, &err), &err);
    return text;
}

static void write_text(const struct project *p, const char *name, const char *text)
{
    folder_write(p->dir, name, text, strlen(text));
}

/* ---- what works ---- */

START_TEST(commands_list_apply_and_take_back_revisions)
{
    struct project p;
    project_open(&p, engines[_i], &good);
    ck_assert_str_eq(source_format(p.source), "command");
    ck_assert_uint_eq(graph_size(source_graph(p.source)), 2);
    ck_assert_str_eq(revision(&p, 1)->id, "2");
    ck_assert_str_eq(revision(&p, 1)->title, "the title");
    ck_assert_str_eq(revision(&p, 1)->parents.v[0], "1");
    ck_assert_ptr_null(migrator_db(p.m));
    expect_current(&p, "");
    expect_step(&p, 0, STEP_UP, STEP_OK);
    expect_step(&p, 1, STEP_UP, STEP_OK);
    expect_current(&p, "1 2");
    ck_assert(has_table(&p, p.scratch, "b"));
    expect_step(&p, 1, STEP_DOWN, STEP_OK);
    expect_current(&p, "1");
    ck_assert(!has_table(&p, p.scratch, "b"));
    project_close(&p);
}
END_TEST

START_TEST(a_second_migrator_goes_on_where_the_first_ended)
{
    struct project p;
    struct err err = {0};
    project_open(&p, engines[_i], &good);
    expect_step(&p, 0, STEP_UP, STEP_OK);
    migrator_close(p.m);
    ASSERT_OK(project_migrator(&p, &err), &err);
    expect_current(&p, "1");
    expect_step(&p, 1, STEP_UP, STEP_OK);
    project_close(&p);
}
END_TEST

START_TEST(without_down_there_is_no_downgrade)
{
    struct project p;
    struct command_options c = good;
    c.down = NULL;
    project_open(&p, engines[_i], &c);
    expect_step(&p, 0, STEP_UP, STEP_OK);
    expect_step(&p, 0, STEP_DOWN, STEP_MISSING);
    expect_current(&p, "1");
    project_close(&p);
}
END_TEST

START_TEST(the_straight_run_is_up_all_where_there_is_one)
{
    struct project p;
    struct err err = {0};
    struct command_options c = good;
    c.up_all = "echo {revision} >last; sh ./tool all";
    project_open(&p, engines[_i], &c);
    struct revision *list[] = {revision(&p, 0), revision(&p, 1)};
    const struct revisions all = {.v = list, .n = 2};
    struct step_result r = {0};
    size_t done = 9;
    ASSERT_OK(migrator_straight(p.m, &all, &done, &r, &err), &err);
    ck_assert_int_eq((int)r.outcome, STEP_OK);
    ck_assert_uint_eq(done, 2);
    expect_current(&p, "1 2");
    _cleanup_free_ char *last = read_text(&p, "last");
    ck_assert_str_eq(last, "2\n");
    step_result_release(&r);
    project_close(&p);
}
END_TEST

START_TEST(the_straight_run_says_where_it_stopped)
{
    /* in one command, and revision by revision */
    for (int by_steps = 0; by_steps < 2; by_steps++) {
        struct project p;
        struct err err = {0};
        struct command_options c = good;
        c.up_all = by_steps ? NULL : "sh ./tool all";
        project_open(&p, engines[_i], &c);
        write_text(&p, "m/2.up.sql", "create tabel b (x int)");
        struct revision *list[] = {revision(&p, 0), revision(&p, 1)};
        const struct revisions all = {.v = list, .n = 2};
        struct step_result r = {0};
        size_t done = 9;
        ASSERT_OK(migrator_straight(p.m, &all, &done, &r, &err), &err);
        ck_assert_int_eq((int)r.outcome, STEP_FAILED);
        ck_assert_uint_eq(done, 1);
        has(r.err.message, by_steps ? "\"up\" ended with status" : "\"up_all\" ended with status");
        step_result_release(&r);
        project_close(&p);
    }
}
END_TEST

START_TEST(a_pattern_names_the_file_of_a_revision)
{
    struct project p;
    struct err err = {0};
    struct command_options c = good;
    c.file = "m/{revision}.up.*";
    project_init(&p, &engine_sqlite);
    ASSERT_OK(project_source(&p, &c, &err), &err);
    _cleanup_free_ char *path = path_join(p.dir, "m/2.up.sql");
    ck_assert_str_eq(revision(&p, 1)->file, path);
    ck_assert_str_eq(revision(&p, 1)->down_file, path);
    project_close(&p);
}
END_TEST

START_TEST(places_and_variables_say_which_revision_is_meant)
{
    struct project p;
    struct err err = {0};
    struct command_options c = good;
    c.list = "echo auth.0001; echo shop.0001_a; echo auth.0002; echo shop.0002_b.c";
    c.up = "echo {revision} {previous} {app} {name} {previous_in_app} "
           "\"$BELAY_REVISION ${BELAY_PREVIOUS:-none} $BELAY_APP $BELAY_NAME "
           "$BELAY_PREVIOUS_IN_APP ${HOME:+{home\\}}\" >>places; " UP;
    write_text((project_init(&p, &engine_sqlite), &p), "m/auth.0001.up.sql", "select 1");
    write_text(&p, "m/shop.0001_a.up.sql", "select 1");
    write_text(&p, "m/auth.0002.up.sql", "select 1");
    write_text(&p, "m/shop.0002_b.c.up.sql", "select 1");
    ASSERT_OK(project_source(&p, &c, &err), &err);
    ASSERT_OK(project_migrator(&p, &err), &err);
    for (size_t i = 0; i < 4; i++)
        expect_step(&p, i, STEP_UP, STEP_OK);
    _cleanup_free_ char *text = read_text(&p, "places");
    has(text, "auth.0001 auth 0001 zero auth.0001 none auth 0001 zero {home}\n");
    has(text, "shop.0001_a auth.0001 shop 0001_a zero shop.0001_a auth.0001 ");
    has(text, "auth.0002 shop.0001_a auth 0002 0001 ");
    has(text, "shop.0002_b.c auth.0002 shop 0002_b.c 0001_a ");
    project_close(&p);
}
END_TEST

START_TEST(marks_and_titles_are_read_as_tools_print_them)
{
    struct project p;
    struct err err = {0};
    struct command_options c = good;
    c.list = "printf '[ ]  a.1\\r\\n\\n [X] b\\tThe title  \\n'; echo noise >&2";
    c.current = "sh ./tool current; printf '[X] a.1\\n[ ] b\\n[X] gone\\n'";
    project_init(&p, &engine_sqlite);
    ASSERT_OK(project_source(&p, &c, &err), &err);
    ck_assert_uint_eq(graph_size(source_graph(p.source)), 2);
    ck_assert_str_eq(revision(&p, 0)->id, "a.1");
    ck_assert_str_eq(revision(&p, 1)->title, "The title");
    /* the database is not empty, so that something may be applied */
    _cleanup_db_ struct db *db = NULL;
    ASSERT_OK(db_open(p.engine, scratch_url(p.scratch), DB_OPEN_SCRATCH, &db, &err), &err);
    ASSERT_OK(db_run(db, "create table t (a int)", DB_RUN_WHOLE, NULL, &err), &err);
    db_close(TAKE_PTR(db));
    ASSERT_OK(project_migrator(&p, &err), &err);
    expect_current(&p, "a.1 gone");
    project_close(&p);
}
END_TEST

/* ---- what fails ---- */

START_TEST(a_failing_command_is_told_with_its_status_and_last_lines)
{
    struct project p;
    project_open(&p, engines[_i], &good);
    write_text(&p, "m/1.up.sql", "create tabel a (x int)");
    struct step_result r = {0};
    step(&p, 0, STEP_UP, &r);
    ck_assert_int_eq((int)r.outcome, STEP_FAILED);
    has(r.err.message, "the command \"up\" ended with status 1: ");
    has(r.err.message, "tabel");
    ck_assert_str_eq(r.err.statement, "sh ./tool up 1");
    step_result_release(&r);
    expect_current(&p, "");
    project_close(&p);
}
END_TEST

START_TEST(the_line_with_the_error_is_the_message_and_the_rest_the_detail)
{
    struct project p;
    struct command_options c = good;
    c.up = CURRENT "; seq 1000 >&2; echo 'app.Error: no' >&2; echo '  at x' >&2; exit 7";
    project_open(&p, engines[_i], &c);
    struct step_result r = {0};
    step(&p, 0, STEP_UP, &r);
    ck_assert_int_eq((int)r.outcome, STEP_FAILED);
    ck_assert_str_eq(r.err.message, "the command \"up\" ended with status 7: app.Error: no");
    ck_assert(str_starts(r.err.detail, "991\n"));
    ck_assert(str_ends(r.err.detail, "1000\napp.Error: no\n  at x"));
    step_result_release(&r);
    project_close(&p);
}
END_TEST

START_TEST(a_downgrade_that_calls_itself_irreversible_is)
{
    struct project p;
    struct command_options c = good;
    c.down = CURRENT "; echo 'IrreversibleError: x' >&2; false";
    project_open(&p, engines[_i], &c);
    expect_step(&p, 0, STEP_UP, STEP_OK);
    expect_step(&p, 0, STEP_DOWN, STEP_IRREVERSIBLE);
    project_close(&p);
}
END_TEST

START_TEST(the_first_failing_line_of_a_command_ends_it)
{
    struct project p;
    struct command_options c = good;
    c.up = CURRENT "\nfalse\n" UP;
    project_open(&p, engines[_i], &c);
    expect_step(&p, 0, STEP_UP, STEP_FAILED);
    expect_current(&p, "");
    project_close(&p);
}
END_TEST

START_TEST(a_program_that_is_missing_is_no_fault_of_the_revision)
{
    struct project p;
    struct err err = {0};
    struct step_result r = {0};
    struct command_options c = good;
    c.up = "no-such-program {revision}";
    project_open(&p, engines[_i], &c);
    ck_assert_int_lt(migrator_step(p.m, revision(&p, 0), STEP_UP, false, &r, &err), 0);
    ck_assert_int_eq(err.code, ERR_ENV);
    has(err.message, "no-such-program");
    err_release(&err);
    project_close(&p);
}
END_TEST

START_TEST(a_command_that_hangs_is_ended_at_the_deadline)
{
    struct project p;
    struct err err = {0};
    struct command_options c = good;
    c.up = CURRENT "; echo waiting >&2; sleep 600";
    project_init(&p, engines[_i]);
    const struct source_options o = {.dir = p.dir, .command = &c, .engine = p.engine, .timeout = 5};
    ASSERT_OK(source_open(&o, &p.source, &err), &err);
    ASSERT_OK(project_migrator(&p, &err), &err);
    struct step_result r = {0};
    step(&p, 0, STEP_UP, &r);
    ck_assert_int_eq((int)r.outcome, STEP_FAILED);
    ck_assert_str_eq(r.err.message, "the command \"up\" did not end within 5 s: waiting");
    step_result_release(&r);
    project_close(&p);
}
END_TEST

START_TEST(what_a_command_leaves_running_is_ended_with_it)
{
    struct project p;
    struct command_options c = good;
    /* it holds the output pipes open */
    c.up = UP "\nsleep 600 &\necho $! >pid";
    project_open(&p, engines[_i], &c);
    expect_step(&p, 0, STEP_UP, STEP_OK);
    _cleanup_free_ char *pid = read_text(&p, "pid");
    /* it may be a zombie until init takes it */
    _cleanup_free_ char *path = xasprintf("/proc/%d/cmdline", atoi(pid));
    FILE *f = fopen(path, "r");
    if (f) {
        char buf[16];
        for (int i = 0; i < 1000 && fread(buf, 1, 1, f) == 1; i++) {
            usleep(10000);
            rewind(f);
            ck_assert_int_lt(i, 999);
        }
        fclose(f);
    }
    project_close(&p);
}
END_TEST

static void *cancel_when_started(void *data)
{
    struct project *p = data;
    _cleanup_free_ char *path = path_join(p->dir, "started");
    while (!file_exists(path))
        usleep(1000);
    migrator_cancel(p->m);
    return NULL;
}

START_TEST(a_running_command_can_be_cancelled)
{
    struct project p;
    struct err err = {0};
    struct step_result r = {0};
    struct command_options c = good;
    c.up = CURRENT "; touch started; sleep 600";
    project_open(&p, engines[_i], &c);
    pthread_t thread;
    ck_assert_int_eq(pthread_create(&thread, NULL, cancel_when_started, &p), 0);
    ck_assert_int_lt(migrator_step(p.m, revision(&p, 0), STEP_UP, false, &r, &err), 0);
    ck_assert_int_eq(err.code, ERR_INTERRUPTED);
    pthread_join(thread, NULL);
    err_release(&err);
    expect_current(&p, ""); /* one failure consumes it */
    project_close(&p);
}
END_TEST

/* ---- other databases ---- */

START_TEST(the_environment_leads_to_the_scratch_database_and_nowhere_else)
{
    struct project p;
    struct command_options c = good;
    static const char *const others[][2] = {
        {"PGSERVICE", "live"},          {"PGDATABASE", "live"},   {"PGPASSWORD", "secret"},
        {"APP_URL", "mysql://live/x"},  {"DB_HOST", "live"},      {"POSTGRES_DB", "live"},
        {"X", "postgresql+x://live/x"}, {"Y", "jdbc:db2://live"}, {"DATABASE_URL", "sqlite:live"}};
    c.up = "(echo; env) >env; " UP; /* no variable is the first line */
    project_init(&p, engines[_i]);
    struct err err = {0};
    ASSERT_OK(project_source(&p, &c, &err), &err);
    for (size_t i = 0; i < ARRAY_LEN(others); i++)
        setenv(others[i][0], others[i][1], 1);
    if (p.engine == &engine_postgres)
        unsetenv("PGSERVICE"); /* libpq itself would look for it */
    setenv("HARMLESS", "http://live", 1);
    ASSERT_OK(project_migrator(&p, &err), &err);
    expect_step(&p, 0, STEP_UP, STEP_OK);
    _cleanup_free_ char *env = read_text(&p, "env");
    has(env, "\nHARMLESS=http://live");
    _cleanup_free_ char *without = xstrdup(env);
    memset(strstr(without, "HARMLESS=http://live"), ' ', strlen("HARMLESS=http://live"));
    lacks(without, "live");
    lacks(without, "PGPASSWORD=secret");
    const char *url = strstr(env, "\nDATABASE_URL=");
    ck_assert_ptr_nonnull(url);
    _cleanup_free_ char *same =
        xasprintf("\nAPP_URL=%.*s\n", (int)strcspn(url + 14, "\n"), url + 14);
    has(env, same);
    if (p.engine == &engine_sqlite) {
        lacks(env, "\nPG");
    } else {
        has(env, "\nPGHOST=/");
        has(env, "\nPGDATABASE=belay_");
    }
    project_close(&p);
}
END_TEST

START_TEST(current_must_open_the_scratch_database)
{
    struct project p;
    struct err err = {0};
    struct command_options c = good;
    project_init(&p, engines[_i]);
    _cleanup_free_ char *current = elsewhere(&p, CURRENT);
    c.current = current;
    ASSERT_OK(project_source(&p, &c, &err), &err);
    ck_assert_int_lt(project_migrator(&p, &err), 0);
    ck_assert_int_eq(err.code, ERR_CONFIG);
    has(err.message,
        "the command \"current\" did not open the scratch database, so it reads another one");
    has(err.hint, "DATABASE_URL");
    err_release(&err);
    project_close(&p);
}
END_TEST

START_TEST(an_upgrade_that_goes_elsewhere_ends_the_check)
{
    /* whether it works there or fails */
    for (int fails = 0; fails < 2; fails++) {
        struct project p;
        struct err err = {0};
        struct step_result r = {0};
        struct command_options c = good;
        project_init(&p, engines[_i]);
        _cleanup_free_ char *up = elsewhere(&p, fails ? UP "; exit 3" : UP);
        c.up = up;
        ASSERT_OK(project_source(&p, &c, &err), &err);
        ASSERT_OK(project_migrator(&p, &err), &err);
        ck_assert_int_lt(migrator_step(p.m, revision(&p, 0), STEP_UP, false, &r, &err), 0);
        ck_assert_int_eq(err.code, ERR_CONFIG);
        has(err.message, "may have changed another one");
        has(err.message, fails ? "it ended with status 3" : "it ended with status 0");
        ck_assert(has_table(&p, p.other, "a")); /* as it was to be: the test is about something */
        err_release(&err);
        project_close(&p);
    }
}
END_TEST

START_TEST(nothing_can_be_applied_to_an_empty_database)
{
    struct project p;
    struct err err = {0};
    struct command_options c = good;
    c.current = CURRENT "; echo 1";
    project_init(&p, engines[_i]);
    ASSERT_OK(project_source(&p, &c, &err), &err);
    ck_assert_int_lt(project_migrator(&p, &err), 0);
    ck_assert_str_eq(err.message, "the command \"current\" says that 1 revisions are applied to "
                                  "the scratch database, which is empty");
    err_release(&err);
    project_close(&p);
}
END_TEST

/* A command that ends well and does something else. */
static const struct {
    const char *name, *up, *down, *fails_like;
} not_one[] = {
    {"up does nothing", CURRENT, DOWN, "for 1 ended well, but then it is not applied"},
    {"up applies all", "sh ./tool all", DOWN,
     "for 1 ended well, but then the next one, 2 is also applied"},
    {"down does nothing", UP, CURRENT, "for 1 ended well, but then it is still applied"},
};

START_TEST(a_command_must_do_one_step)
{
    struct project p;
    struct err err = {0};
    struct step_result r = {0};
    struct command_options c = good;
    c.up = not_one[_i].up;
    c.down = not_one[_i].down;
    project_open(&p, &engine_sqlite, &c);
    int rc = migrator_step(p.m, revision(&p, 0), STEP_UP, false, &r, &err);
    if (rc == 0)
        rc = migrator_step(p.m, revision(&p, 0), STEP_DOWN, false, &r, &err);
    ck_assert_int_lt(rc, 0);
    ck_assert_int_eq(err.code, ERR_CONFIG);
    has(err.message, not_one[_i].fails_like);
    step_result_release(&r);
    err_release(&err);
    project_close(&p);
}
END_TEST

/* ---- bad input ---- */

static const struct {
    const char *name, *list, *up, *fails_like;
} wrong[] = {
    {"nothing", "true", UP, "the command \"list\" printed no revision"},
    {"nothing, and why", "echo oops >&2", UP, "the command \"list\" printed no revision: oops"},
    {"an error", "echo oops >&2; exit 3", UP, "the command \"list\" ended with status 3: oops"},
    {"no program", "nosuch", UP, "the command \"list\" ended with status 127: "},
    {"a sentence", "echo '(no migrations)'", UP,
     "printed a line that does not begin with an id: \"(no migrations)\""},
    {"shell in an id", "echo 'a$(b)'", UP, "does not begin with an id: \"a$(b)\""},
    {"an option as id", "echo -- -rf", UP, "does not begin with an id: "},
    {"a mark alone", "echo '[X]'", UP, "does not begin with an id: \"[X]\""},
    {"the same twice", "echo 1; echo 1", UP, "the command \"list\" names 1 twice"},
    {"a slip", LIST, "x {revison}", "command: up: there is no place {revison}"},
    {"a URL", LIST, "psql 'postgres://u:pw@live/app'",
     "command: up: names a database of its own, postgres://u:***@live/app"},
};

START_TEST(every_mistake_has_one_clear_error)
{
    struct project p;
    struct err err = {0};
    struct command_options c = good;
    c.list = wrong[_i].list;
    c.up = wrong[_i].up;
    project_init(&p, &engine_sqlite);
    ck_assert_int_lt(project_source(&p, &c, &err), 0);
    ck_assert(err.code == ERR_SOURCE || err.code == ERR_CONFIG);
    has(err.message, wrong[_i].fails_like);
    err_release(&err);
    project_close(&p);
}
END_TEST

START_TEST(an_engine_is_needed_and_only_one_kind_of_source)
{
    struct source *s = NULL;
    struct err err = {0};
    ck_assert_int_lt(source_open(&(struct source_options){.command = &good}, &s, &err), 0);
    has(err.hint, "engine: sqlite");
    ck_assert_int_lt(
        source_open(&(struct source_options){.command = &good, .format = "goose"}, &s, &err), 0);
    has(err.message, "both commands and the format goose");
    err_release(&err);
}
END_TEST

START_TEST(without_current_the_list_must_have_marks)
{
    struct project p;
    struct err err = {0};
    struct command_options c = good;
    c.current = NULL;
    c.list = CURRENT " >/dev/null; " LIST;
    project_init(&p, &engine_sqlite);
    ASSERT_OK(project_source(&p, &c, &err), &err);
    ck_assert_int_lt(project_migrator(&p, &err), 0);
    has(err.message, "\"current\" is missing");
    err_release(&err);
    project_close(&p);
}
END_TEST

START_TEST(urls_of_databases_are_found_in_commands)
{
    static const char *const found[][2] = {
        {"x --url=postgresql+psycopg2://a/b y", "postgresql+psycopg2://a/b"},
        {"x \"jdbc:postgresql://a/b\"", "jdbc:postgresql://a/b"},
        {"sqlite3 'sqlite:live.db'", "sqlite:live.db"},
        {"flyway -url=jdbc:postgresql://$PGHOST/$PGDATABASE", NULL},
        {"f ${DATABASE_URL#sqlite:///}", NULL},
        {"curl https://example.org/postgres", NULL},
        {"xpostgres://a", NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(found); i++) {
        _cleanup_free_ char *url = command_own_url(found[i][0]);
        ck_assert_msg(str_eq(url, found[i][1]), "%s: %s", found[i][0], url ? url : "none");
    }
}
END_TEST

int main(void)
{
    Suite *s = suite_create("command");
    SUITE_ADD_LOOP(s, commands_list_apply_and_take_back_revisions, 2);
    SUITE_ADD_LOOP(s, a_second_migrator_goes_on_where_the_first_ended, 2);
    SUITE_ADD_LOOP(s, without_down_there_is_no_downgrade, 2);
    SUITE_ADD_LOOP(s, the_straight_run_is_up_all_where_there_is_one, 2);
    SUITE_ADD_LOOP(s, the_straight_run_says_where_it_stopped, 2);
    SUITE_ADD(s, a_pattern_names_the_file_of_a_revision);
    SUITE_ADD(s, places_and_variables_say_which_revision_is_meant);
    SUITE_ADD(s, marks_and_titles_are_read_as_tools_print_them);
    SUITE_ADD_LOOP(s, a_failing_command_is_told_with_its_status_and_last_lines, 2);
    SUITE_ADD_LOOP(s, the_line_with_the_error_is_the_message_and_the_rest_the_detail, 2);
    SUITE_ADD_LOOP(s, a_downgrade_that_calls_itself_irreversible_is, 2);
    SUITE_ADD_LOOP(s, the_first_failing_line_of_a_command_ends_it, 2);
    SUITE_ADD_LOOP(s, a_program_that_is_missing_is_no_fault_of_the_revision, 2);
    SUITE_ADD_LOOP(s, a_command_that_hangs_is_ended_at_the_deadline, 2);
    SUITE_ADD_LOOP(s, what_a_command_leaves_running_is_ended_with_it, 2);
    SUITE_ADD_LOOP(s, a_running_command_can_be_cancelled, 2);
    SUITE_ADD_LOOP(s, the_environment_leads_to_the_scratch_database_and_nowhere_else, 2);
    SUITE_ADD_LOOP(s, current_must_open_the_scratch_database, 2);
    SUITE_ADD_LOOP(s, an_upgrade_that_goes_elsewhere_ends_the_check, 2);
    SUITE_ADD_LOOP(s, nothing_can_be_applied_to_an_empty_database, 2);
    SUITE_ADD_LOOP(s, a_command_must_do_one_step, ARRAY_LEN(not_one));
    SUITE_ADD_LOOP(s, every_mistake_has_one_clear_error, ARRAY_LEN(wrong));
    SUITE_ADD(s, an_engine_is_needed_and_only_one_kind_of_source);
    SUITE_ADD(s, without_current_the_list_must_have_marks);
    SUITE_ADD(s, urls_of_databases_are_found_in_commands);
    return fixture_run(s);
}
