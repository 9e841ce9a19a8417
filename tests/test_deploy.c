/*
 * belay deploy, recover and status from end to end on SQLite: the program, on an SQL folder and on an
 * Alembic project. What a database holds is told by the shell of SQLite, not by belay.
 */
#include <fcntl.h>
#include <jansson.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/alembic_project.h"
#include "tests/deploy_world.h"
#include "tests/report_keys.h"
#include "tests/suite.h"

/* ---- going well ---- */

START_TEST(a_deploy_upgrades_and_says_so)
{
    struct world w;
    world_open(&w, _i, two_changes);
    expect_run(&w, "deploy", 0, "r1 -> r3");
    expect_sql(&w, "select count(*), sum(mail = name || '@x') from people", "300|300");
    expect_sql(&w, "select id from towns", "7");
    expect_newest(&w, "state", "done");
    expect_newest(&w, "from", "r1");
    expect_newest(&w, "to", "r3");
    expect_newest(&w, "rung", "null");
    _cleanup_free_ char *bundle = newest(&w, "bundle");
    ck_assert(file_exists(bundle));
    _cleanup_free_ char *verify = xasprintf("verify %s", bundle);
    expect_run(&w, verify, 0, NULL);
    expect_run(&w, "recover", 0, "nothing to recover");
    world_close(&w);
}
END_TEST

START_TEST(with_nothing_pending_no_bundle_is_taken)
{
    struct world w;
    world_open(&w, _i, two_changes);
    expect_run(&w, "deploy --to r1", 0, "nothing to deploy");
    ck_assert_uint_eq(deploys(&w), 0);
    expect_run(&w, "bundles --bundles belay-bundles", 0, NULL);
    expect_run(&w, "deploy --to r2", 0, "r1 -> r2");
    expect_run(&w, "deploy", 0, "r2 -> r3");
    expect_run(&w, "deploy", 0, "nothing to deploy");
    ck_assert_uint_eq(deploys(&w), 2);
    world_close(&w);
}
END_TEST

START_TEST(a_database_that_is_not_there_yet_is_made)
{
    struct world w;
    world_open(&w, _i, two_changes);
    ck_assert_int_eq(unlink(w.path), 0);
    expect_run(&w, "deploy", 0, "base -> r3");
    expect_sql(&w, "select id from towns", "7");
    world_close(&w);
}
END_TEST

START_TEST(a_dry_run_changes_nothing)
{
    struct world w;
    world_open(&w, _i, two_changes);
    _cleanup_free_ char *before = dump(&w);
    expect_run(&w, "deploy --dry-run", 0, "insert into towns");
    _cleanup_free_ char *after = dump(&w);
    ck_assert_str_eq(before, after);
    _cleanup_free_ char *bundles = path_join(w.dir, "belay-bundles");
    ck_assert(!dir_exists(bundles));
    world_close(&w);
}
END_TEST

/* ---- upgrades that fail ---- */

#define GOOD(n)                                                                                    \
    {                                                                                              \
        "create table g" n " (x)\ninsert into g" n " values (1)", "drop table g" n, false          \
    }
#define ENDLESS                                                                                    \
    "with recursive n(i) as (select 1 union all select i + 1 from n) select max(i) from n"

static const struct failing {
    const char *name;
    struct change changes[4];
    const char *args;
    const char *rung[KINDS]; /* NULL: not for this kind */
    int exit;
    const char *says;
} failing[] = {
    {"the first revision fails",
     {{"insert into nowhere values (1)", "select 1", false}, GOOD("3"), GOOD("4")},
     "",
     {"unchanged", "unchanged"},
     4,
     "no such table: nowhere"},
    {"a revision in the middle fails",
     {GOOD("2"), {"insert into nowhere values (1)", "select 1", false}, GOOD("4")},
     "",
     {"downgrade", "downgrade"},
     4,
     "upgrade of r3"},
    {"the last revision fails",
     {GOOD("2"), GOOD("3"), {"insert into people values (1, 'twice', 0)", "select 1", false}},
     "",
     {"downgrade", "downgrade"},
     4,
     "UNIQUE"},
    {"a revision fails after its DDL, which pysqlite has committed",
     {{"create table half (x)\nalter table people add column late text\ninsert into nowhere "
       "values (1)",
       "drop table half", false}},
     "",
     {"unchanged", "restore"},
     4,
     "nowhere"},
    {"a revision without a transaction fails in the middle",
     {{"create table half (x)\ninsert into nowhere values (1)", "drop table half", true}},
     "",
     {"restore", NULL},
     4,
     "nowhere"},
    {"there is no way down",
     {{"create table g2 (x)", NULL, false}, {"insert into nowhere values (1)", "select 1", false}},
     "",
     {"restore", "restore"},
     4,
     "r2 has none"},
    {"the way down leaves a trace",
     {{"create table g2 (x)", "select 1", false},
      {"insert into nowhere values (1)", "select 1", false}},
     "",
     {"restore", "restore"},
     4,
     "not what it was"},
    {"the way down fails",
     {{"create table g2 (x)", "drop table nothing_of_the_kind", false},
      {"insert into nowhere values (1)", "select 1", false}},
     "",
     {"restore", "restore"},
     4,
     "nothing_of_the_kind"},
    {"the deadline comes",
     {{ENDLESS, "select 1", false}},
     "--deadline=1s",
     {"unchanged", "unchanged"},
     4,
     "deadline"},
    {"a probe fails", {GOOD("2")}, "--probe=false", {"downgrade", "downgrade"}, 4, "probe"},
    {"rows are left without what they refer to",
     {{"create table pets (id integer primary key, owner int references people (id))\n"
       "insert into pets values (1, 4711)",
       "drop table pets", false}},
     "",
     {"downgrade", "downgrade"},
     4,
     "that is not there"},
};

/* Each case and kind that there is: a test for each. */
static struct {
    const struct failing *f;
    enum kind kind;
} failing_points[ARRAY_LEN(failing) * KINDS];

static size_t fill_failing_points(void)
{
    size_t n = 0;
    for (size_t i = 0; i < ARRAY_LEN(failing) * KINDS; i++) {
        const struct failing *f = &failing[i / KINDS];
        enum kind kind = (enum kind)(i % KINDS);
        if (!f->rung[kind])
            continue;
        failing_points[n].f = f;
        failing_points[n++].kind = kind;
    }
    return n;
}

START_TEST(a_failed_upgrade_ends_with_the_old_database)
{
    const struct failing *f = failing_points[_i].f;
    struct world w;
    enum kind kind = failing_points[_i].kind;
    world_open(&w, kind, f->changes);
    _cleanup_free_ char *before = dump(&w);
    _cleanup_free_ char *args = xasprintf("deploy %s", f->args);
    _cleanup_run_ struct run r = belay(&w, args);
    ck_assert_msg(r.r.status == f->exit, "%s: " SAID, f->name, SAID_ARGS(&w, args, r));
    ck_assert_msg(strstr(r.errors, f->says) != NULL, "%s: " SAID, f->name, SAID_ARGS(&w, args, r));
    _cleanup_free_ char *after = dump(&w), *rung = newest(&w, "rung");
    ck_assert_msg(strcmp(before, after) == 0, "%s: now %s\n" SAID, f->name, after,
                  SAID_ARGS(&w, args, r));
    ck_assert_msg(strcmp(rung, f->rung[kind]) == 0, "%s: by %s\n" SAID, f->name, rung,
                  SAID_ARGS(&w, args, r));
    expect_newest(&w, "state", "restored");
    expect_newest(&w, "from", "r1");
    expect_run(&w, "recover", 0, "nothing to recover");
    world_close(&w);
}
END_TEST

/* With nothing applied, and with what was applied taken back. */
START_TEST(a_failed_first_deploy_leaves_no_version_table)
{
    static const struct change broken[] = {{"insert into nowhere values (1)", "select 1", false},
                                           {0}};
    struct world w;
    bool first = _i / KINDS;
    world_open(&w, (enum kind)(_i % KINDS), broken);
    ck_assert_int_eq(unlink(w.path), 0);
    sql(&w, first ? "create table people (other)" : "create table other (x)");
    _cleanup_free_ char *before = dump(&w);
    expect_run(&w, "deploy --allow-drift", 4, first ? "already exists" : "nowhere");
    _cleanup_free_ char *after = dump(&w);
    ck_assert_str_eq(before, after);
    expect_newest(&w, "rung", first ? "unchanged" : "downgrade");
    world_close(&w);
}
END_TEST

/* In the middle of a revision of which pysqlite has committed a part. */
START_TEST(a_python_that_is_killed_ends_with_the_old_database)
{
    static const char killed[] = "from alembic import op\nimport os\nrevision = 'r3'\n"
                                 "down_revision = 'r2'\n"
                                 "def upgrade():\n    op.execute('create table half (x)')\n"
                                 "    os.kill(os.getpid(), 9)\n"
                                 "def downgrade():\n    op.execute('drop table half')\n";
    struct world w;
    world_open(&w, ALEMBIC, two_changes);
    write_text(w.dir, "alembic/versions/r3_x.py", killed);
    _cleanup_free_ char *before = dump(&w);
    expect_run(&w, "deploy", 4, "killed by SIGKILL");
    _cleanup_free_ char *after = dump(&w);
    ck_assert_str_eq(before, after);
    expect_newest(&w, "rung", "restore");
    world_close(&w);
}
END_TEST

/* ---- checks of the user's own, hooks ---- */

static const struct change corrupting[] = {
    {"update people set born = born + 100 where id % 7 = 0",
     "update people set born = born where id % 7 = 0", false},
    {0},
};
static const char assertion[] = "after:\n"
                                "  - name: nobody is born tomorrow\n"
                                "    sql: select count(*) from people where born > 1999\n"
                                "    expect: 0\n"
                                "  - sql: select 1 from people\n";

/* Its rows may be of others: they are kept until somebody decides. */
START_TEST(an_assertion_catches_rows_that_a_revision_corrupted)
{
    struct world w;
    world_open(&w, (enum kind)_i, corrupting);
    write_text(w.dir, "belay.yaml", assertion);
    _cleanup_free_ char *before = dump(&w);
    /* nobody else has written: what differs is the upgrade's own doing */
    expect_run(&w, "deploy", 4, "assertion \"nobody is born tomorrow\": 42, expected 0");
    _cleanup_free_ char *after = dump(&w);
    ck_assert_str_eq(before, after);
    expect_newest(&w, "rung", "restore");
    expect_newest(&w, "state", "restored");
    world_close(&w);
}
END_TEST

START_TEST(assertions_that_hold_let_a_deploy_pass)
{
    struct world w;
    world_open(&w, FOLDER, two_changes);
    write_text(w.dir, "belay.yaml",
               "after:\n  - {sql: select count(*) from people, expect: 300}\n"
               "  - {sql: \"select ''\", expect: ''}\n"
               "probes: ['test -n \"$DATABASE_URL\"']\n");
    expect_run(&w, "deploy", 0, "r1 -> r3");
    world_close(&w);
}
END_TEST

START_TEST(an_assertion_without_a_row_or_that_is_no_sql_fails)
{
    static const char *const cases[][2] = {
        {"select 1 from people where id = 4711", "no row"},
        {"select 1 from nowhere", "no such table"},
        {"select null", NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct world w;
        world_open(&w, FOLDER, two_changes);
        _cleanup_free_ char *yaml =
            xasprintf("after:\n  - {sql: %s%s}\n", cases[i][0], cases[i][1] ? "" : ", expect: 1");
        write_text(w.dir, "belay.yaml", yaml);
        expect_run(&w, "deploy", 4, cases[i][1] ? cases[i][1] : "NULL, expected 1");
        expect_newest(&w, "rung", "downgrade");
        world_close(&w);
    }
}
END_TEST

START_TEST(a_probe_that_hangs_is_ended)
{
    struct world w;
    world_open(&w, FOLDER, two_changes);
    write_text(w.dir, "belay.yaml", "probes: [sleep 1000]\nprobe_timeout: 1s\n");
    expect_run(&w, "deploy", 4, "did not end within 1 s");
    expect_newest(&w, "rung", "downgrade");
    world_close(&w);
}
END_TEST

static void expect_file(const struct world *w, const char *name, const char *text)
{
    _cleanup_free_ char *path = path_join(w->dir, name), *got = NULL;
    _cleanup_err_ struct err err = {0};
    size_t len;
    ASSERT_OK(file_read_text(path, &got, &len, &err), &err);
    ck_assert_str_eq(got, text);
}

#define HOOK "echo \"$BELAY_OUTCOME $BELAY_FROM $BELAY_TO $BELAY_RUNG\" >>told"
#define HOOKS                                                                                      \
    "hooks:\n  before: '" HOOK "'\n  after: '" HOOK "'\n"                                          \
    "  on_failure: 'echo \"$BELAY_OUTCOME $BELAY_RUNG $BELAY_DEPLOY $BELAY_MESSAGE\" >>told'\n"

START_TEST(hooks_hear_what_became_of_it)
{
    struct world w;
    world_open(&w, FOLDER, two_changes);
    write_text(w.dir, "belay.yaml", HOOKS);
    expect_run(&w, "deploy --to r2", 0, "r1 -> r2");
    expect_file(&w, "told", "begun r1 r2 \ndone r1 r2 \n");
    write_text(w.dir, "told", "");
    expect_run(&w, "deploy --probe=false", 4, NULL);
    expect_file(&w, "told", "begun r2 r3 \nrestored downgrade 2 probe \"false\" ended with 1\n");
    world_close(&w);
}
END_TEST

START_TEST(a_hook_before_that_fails_stops_the_deploy_before_it_began)
{
    struct world w;
    world_open(&w, FOLDER, two_changes);
    _cleanup_free_ char *before = dump(&w);
    write_text(w.dir, "belay.yaml",
               "hooks:\n  before: 'echo no; exit 7'\n  on_failure: echo $BELAY_OUTCOME >told\n");
    expect_run(&w, "deploy", 3, "ended with 7");
    _cleanup_free_ char *after = dump(&w);
    ck_assert_str_eq(before, after);
    expect_newest(&w, "state", "aborted");
    expect_file(&w, "told", "aborted\n");
    world_close(&w);
}
END_TEST

START_TEST(a_hook_that_fails_afterwards_is_told_and_changes_nothing)
{
    struct world w;
    world_open(&w, FOLDER, two_changes);
    write_text(w.dir, "belay.yaml", "hooks:\n  after: exit 7\n");
    expect_run(&w, "deploy", 0, "ended with 7");
    expect_newest(&w, "state", "done");
    world_close(&w);
}
END_TEST

/* ---- what stands in the way ---- */

static const struct refusal {
    const char *name, *sql, *file, *text, *args;
    int exit;
    const char *says;
} refusals[] = {
    {"an unknown target", NULL, NULL, NULL, "deploy --to r9", 2, "no revision \"r9\""},
    {"an argument that is no command", NULL, NULL, NULL, "deploy head", 2, "unexpected argument"},
    {"two heads", NULL, "m/other.sql",
     "-- revision: other\n-- revises: r1\n-- upgrade\nselect 1;\n", "deploy", 1, "2 heads"},
    {"a command that is not there", NULL, NULL, NULL, "deploy -- no-such-program", 2, "cannot run"},
    {"a command that is a folder", NULL, NULL, NULL, "deploy -- ./m", 2, "cannot run"},
    {"a folder without a journal", NULL, NULL, NULL, "recover --bundles nowhere", 2,
     "no journal of deploys in nowhere"},
    {"a version of another project", "insert into belay_version values ('zz')", NULL, NULL,
     "deploy", 1, "is at zz"},
    {"tables without a version table", "drop table belay_version", NULL, NULL, "deploy", 1,
     "no version table"},
    {"drift", "create table odd (x)", NULL, NULL, "deploy", 1, "+ table odd"},
    {"a file in the place of the folder", NULL, "b", "", "deploy --bundles b", 2, "folder b"},
    {"a journal that is none", NULL, "belay-bundles/journal.db", "hello, I am text", "deploy", 3,
     "not an SQLite database"},
    {"a folder that cannot be made", NULL, NULL, NULL, "deploy --bundles /proc/none", 3,
     "cannot create folder"},
    {"a time that is none", NULL, NULL, NULL, "deploy --deadline=soon", 2, "is not a time"},
    {"a database in memory", NULL, NULL, NULL, "deploy --url sqlite://", 2, "in-memory"},
    {"a folder that is not there", NULL, NULL, NULL, "deploy --url sqlite:////nowhere/d.db", 3,
     "/nowhere/d.db"},
};

START_TEST(what_does_not_fit_is_refused_and_nothing_changes)
{
    const struct refusal *r = &refusals[_i];
    struct world w;
    world_open(&w, FOLDER, two_changes);
    if (r->sql)
        sql(&w, r->sql);
    if (r->file)
        write_text(w.dir, r->file, r->text);
    _cleanup_free_ char *before = dump(&w);
    expect_run(&w, r->args, r->exit, r->says);
    _cleanup_free_ char *dry = xasprintf("%s --dry-run", r->args);
    if (r->exit == 1)
        expect_run(&w, dry, r->exit, r->says);
    _cleanup_free_ char *after = dump(&w), *made = path_join(w.dir, "nowhere");
    ck_assert_msg(strcmp(before, after) == 0, "%s: %s", r->name, after);
    ck_assert(!dir_exists(made));
    world_close(&w);
}
END_TEST

START_TEST(drift_that_is_allowed_stays_and_is_put_back)
{
    struct world w;
    world_open(&w, _i, two_changes);
    sql(&w, "create table odd (x); insert into odd values (1)");
    _cleanup_free_ char *before = dump(&w);
    expect_run(&w, "deploy", 1, "--allow-drift");
    expect_run(&w, "deploy --allow-drift --probe=false", 4, NULL);
    _cleanup_free_ char *after = dump(&w);
    ck_assert_str_eq(before, after);
    expect_run(&w, "deploy --allow-drift", 0, "r1 -> r3");
    expect_sql(&w, "select x from odd", "1");
    world_close(&w);
}
END_TEST

/* A limit on the size of files: what a full disk does to whoever writes. */
START_TEST(no_room_for_the_bundle_changes_nothing)
{
    struct world w;
    world_open(&w, FOLDER, two_changes);
    sql(&w, "create index by_name on people (name); drop index by_name;"
            "update people set name = hex(randomblob(2000))");
    _cleanup_free_ char *before = dump(&w), *url = xasprintf("DATABASE_URL=%s", w.url);
    _cleanup_proc_result_ struct proc_result r = {0};
    _cleanup_err_ struct err err = {0};
    const struct proc_options o = {
        .argv =
            (const char *const[]){"sh", "-c",
                                  "trap '' XFSZ; ulimit -f 200; exec \"$BELAY_BIN\" deploy", NULL},
        .env = (const char *const[]){url, "BELAY_DIR=m", NULL},
        .dir = w.dir,
    };
    ASSERT_OK(proc_run(&o, &r, &err), &err);
    ck_assert_msg(r.status == 3 && strstr(str_get(&r.errors), "bundle"), "%d: %s", r.status,
                  str_get(&r.errors));
    _cleanup_free_ char *after = dump(&w);
    ck_assert_str_eq(before, after);
    expect_newest(&w, "state", "aborted");
    expect_run(&w, "deploy", 0, "r1 -> r3");
    world_close(&w);
}
END_TEST

START_TEST(a_commit_that_was_cut_off_before_is_rolled_back_first)
{
    struct world w;
    world_open(&w, _i, two_changes);
    _cleanup_free_ char *before = dump(&w);
    /* the file and its journal as a process that is killed in the middle leaves them */
    _cleanup_free_ char *script = xasprintf(
        "cd '%s' && printf '%%s\\n' 'pragma cache_size = 1;' 'begin immediate;'"
        " 'update people set name = hex(randomblob(900));'"
        " '.shell cp d.db half && cp d.db-journal half-journal' 'rollback;' | sqlite3 d.db"
        " && mv half d.db && mv half-journal d.db-journal && test -s d.db-journal",
        w.dir);
    free(output_of((const char *const[]){"sh", "-c", script, NULL}));
    expect_run(&w, "deploy --dry-run", 3, "must be rolled back");
    expect_run(&w, "deploy --probe=false", 4, NULL);
    _cleanup_free_ char *after = dump(&w);
    ck_assert_str_eq(before, after);
    expect_run(&w, "deploy --dry-run", 0, NULL);
    world_close(&w);
}
END_TEST

START_TEST(only_what_a_check_has_passed_is_deployed_where_that_is_asked_for)
{
    struct world w;
    world_open(&w, _i, two_changes);
    expect_run(&w, "deploy --require-check checked.txt", 2, "checked.txt");
    expect_run(&w, "check -q --record checked.txt --fail-on error", 0, NULL);
    const char *file = w.kind == FOLDER ? "m/r3.sql" : "alembic/versions/r3_x.py";
    _cleanup_free_ char *path = path_join(w.dir, file);
    expect_run(&w, "deploy --to r2 --require-check checked.txt", 0, "r1 -> r2");
    _cleanup_free_ char *edit = xasprintf("echo >>'%s'", path);
    free(output_of((const char *const[]){"sh", "-c", edit, NULL}));
    expect_run(&w, "deploy --require-check checked.txt", 1, "no check has passed r3");
    expect_newest(&w, "state", "aborted");
    world_close(&w);
}
END_TEST

/* ---- several at once ---- */

START_TEST(a_second_deploy_says_who_holds_the_lock)
{
    struct world w;
    world_open(&w, _i, two_changes);
    expect_run(&w, "deploy --to r1", 0, NULL); /* makes the journal */
    _cleanup_close_ int fd = open(w.path, O_RDWR | O_CLOEXEC);
    ck_assert_int_eq(flock(fd, LOCK_EX | LOCK_NB), 0);
    _cleanup_free_ char *holder = xasprintf("process %d", (int)getpid());
    expect_run(&w, "deploy", 6, holder);
    expect_run(&w, "recover", 6, holder);
    expect_run(&w, "deploy --wait 300ms", 6, holder);
    ck_assert_uint_eq(deploys(&w), 0);
    world_close(&w);
}
END_TEST

START_TEST(status_tells_every_deploy_newest_first)
{
    struct world w;
    world_open(&w, FOLDER, two_changes);
    expect_run(&w, "status", 0, "no deploys");
    expect_run(&w, "deploy --to r2", 0, NULL);
    expect_run(&w, "deploy --probe=false", 4, NULL);
    _cleanup_run_ struct run r = belay(&w, "status -v");
    const char *second = strstr(r.out, "2  20"), *one = strstr(r.out, "1  20");
    ck_assert_msg(second && one && second < one, "%s", r.out);
    static const char *const parts[] = {"restored",     "probe \"false\" ended with 1",
                                        "downgrade r3", "rung    downgrade",
                                        "done r2: ",    "r1 -> r2"};
    for (size_t i = 0; i < ARRAY_LEN(parts); i++)
        ck_assert_msg(strstr(r.out, parts[i]) != NULL, "no %s: %s", parts[i], r.out);
    world_close(&w);
}
END_TEST

static json_t *report_of(const struct world *w, const char *args, int status)
{
    _cleanup_run_ struct run r = belay(w, args);
    ck_assert_msg(r.r.status == status, SAID, SAID_ARGS(w, args, r));
    json_error_t e;
    json_t *j = json_loads(r.out, 0, &e);
    ck_assert_msg(j != NULL, "%s: %s%s", e.text, r.out, r.errors);
    return j;
}

static const char *text_of(const json_t *j, const char *key)
{
    const char *text = json_string_value(json_object_get(j, key));
    return text ? text : "null";
}

/* docs/deploy.schema.json says what is in it, whatever the outcome. */
START_TEST(the_report_is_json_where_that_is_wanted)
{
    static const struct {
        const char *args, *outcome, *rung, *failure;
        int exit;
    } reports[] = {
        {"deploy --to r9", "aborted", "null", "no revision \"r9\"", 2},
        {"deploy", "aborted", "null", "the schema is not the one", 1},
        {"deploy --allow-drift --probe=false", "restored", "downgrade", "probe", 4},
        {"deploy --allow-drift", "done", "null", "null", 0},
        {"deploy", "nothing", "null", "null", 0},
    };
    struct world w;
    world_open(&w, FOLDER, two_changes);
    sql(&w, "create table odd (x)");
    for (size_t i = 0; i < ARRAY_LEN(reports); i++) {
        _cleanup_free_ char *args = xasprintf("%s --format json", reports[i].args);
        json_t *j = report_of(&w, args, reports[i].exit), *d = json_object_get(j, "deploy");
        check_report_keys("deploy.schema.json", j);
        ck_assert_str_eq(text_of(j, "outcome"), reports[i].outcome);
        ck_assert_int_eq(json_integer_value(json_object_get(j, "exit_code")), reports[i].exit);
        ck_assert_str_eq(text_of(d, "rung"), reports[i].rung);
        ck_assert_msg(strstr(text_of(j, "failure"), reports[i].failure) != NULL, "%s",
                      text_of(j, "failure"));
        json_decref(j);
    }
    world_close(&w);
}
END_TEST

START_TEST(the_plan_is_json_where_that_is_wanted)
{
    struct world w;
    world_open(&w, _i, two_changes);
    json_t *j = report_of(&w, "deploy --dry-run --format json", 0);
    ck_assert_str_eq(text_of(j, "type"), "belay-deploy-plan");
    ck_assert_str_eq(text_of(j, "from"), "r1");
    ck_assert_uint_eq(json_array_size(json_object_get(j, "pending")), 2);
    ck_assert_ptr_nonnull(strstr(text_of(j, "sql"), "towns"));
    ck_assert_int_gt(json_integer_value(json_object_get(j, "bytes")), 0);
    ck_assert_str_eq(text_of(j, "against"), "null");
    json_decref(j);
    sql(&w, "create table odd (x)");
    j = report_of(&w, "deploy --dry-run --format json", 1);
    ck_assert_ptr_nonnull(strstr(text_of(j, "against"), "the schema is not the one"));
    json_decref(j);
    world_close(&w);
}
END_TEST

int main(void)
{
    const char *why = alembic_suite_begin();
    if (why)
        return suite_skip(why);
    Suite *s = suite_create("deploy");
    SUITE_ADD_LOOP(s, a_deploy_upgrades_and_says_so, KINDS);
    SUITE_ADD_LOOP(s, with_nothing_pending_no_bundle_is_taken, KINDS);
    SUITE_ADD_LOOP(s, a_database_that_is_not_there_yet_is_made, KINDS);
    SUITE_ADD_LOOP(s, a_dry_run_changes_nothing, KINDS);
    SUITE_ADD_LOOP(s, a_failed_upgrade_ends_with_the_old_database, fill_failing_points());
    SUITE_ADD_LOOP(s, a_failed_first_deploy_leaves_no_version_table, KINDS * 2);
    SUITE_ADD(s, a_python_that_is_killed_ends_with_the_old_database);
    SUITE_ADD_LOOP(s, an_assertion_catches_rows_that_a_revision_corrupted, KINDS);
    SUITE_ADD(s, assertions_that_hold_let_a_deploy_pass);
    SUITE_ADD(s, an_assertion_without_a_row_or_that_is_no_sql_fails);
    SUITE_ADD(s, a_probe_that_hangs_is_ended);
    SUITE_ADD(s, hooks_hear_what_became_of_it);
    SUITE_ADD(s, a_hook_before_that_fails_stops_the_deploy_before_it_began);
    SUITE_ADD(s, a_hook_that_fails_afterwards_is_told_and_changes_nothing);
    SUITE_ADD_LOOP(s, what_does_not_fit_is_refused_and_nothing_changes, ARRAY_LEN(refusals));
    SUITE_ADD_LOOP(s, drift_that_is_allowed_stays_and_is_put_back, KINDS);
    SUITE_ADD(s, no_room_for_the_bundle_changes_nothing);
    SUITE_ADD_LOOP(s, a_commit_that_was_cut_off_before_is_rolled_back_first, KINDS);
    SUITE_ADD_LOOP(s, only_what_a_check_has_passed_is_deployed_where_that_is_asked_for, KINDS);
    SUITE_ADD_LOOP(s, a_second_deploy_says_who_holds_the_lock, KINDS);
    SUITE_ADD(s, status_tells_every_deploy_newest_first);
    SUITE_ADD(s, the_report_is_json_where_that_is_wanted);
    SUITE_ADD_LOOP(s, the_plan_is_json_where_that_is_wanted, KINDS);
    return suite_run(s);
}
