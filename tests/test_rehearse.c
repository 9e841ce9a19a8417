/* Rehearsals on SQLite: the walk up, down and up again on a copy, and the command around it. */
#include <fcntl.h>
#include <glob.h>
#include <jansson.h>
#include <signal.h>
#include <sqlite3.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "runner/rehearsal.h"
#include "tests/alembic_project.h"
#include "tests/belay_process.h"
#include "tests/belay_run.h"
#include "tests/fixture.h"
#include "tests/migration_folder.h"
#include "tests/rehearse_world.h"

static const struct file users[] = {
    {"migrations/1_users.up.sql",
     "create table users (id integer primary key, email text, bio text);"},
    {"migrations/1_users.down.sql", "drop table users;"},
    {NULL, NULL},
};

static const char rows[] = "insert into users with recursive n(i) as (select 1 union all select i "
                           "+ 1 from n where i < 100) select i, 'u' || i, 'b' from n;";

START_TEST(rehearsal_of_reversible_revisions_is_clean)
{
    struct world w;
    world_open(&w, &engine_sqlite, users, 1, rows);
    world_add(&w, (const struct file[]){
                      {"migrations/2_index.up.sql", "create index users_email on users (email);"},
                      {"migrations/2_index.down.sql", "drop index users_email;"},
                      {"migrations/3_posts.up.sql", "create table posts (id integer primary key);"},
                      {"migrations/3_posts.down.sql", "drop table posts;"},
                      {NULL, NULL},
                  });
    world_rehearse(&w);
    ck_assert_uint_eq(w.result.check.nfindings, 0);
    ck_assert_uint_eq(w.result.check.nrevisions, 2);
    ck_assert_str_eq(w.result.from, "1");
    ck_assert_str_eq(w.result.to, "3");
    ck_assert_str_eq(w.result.descent, "equal");
    ck_assert_str_eq(w.result.reupgrade, "equal");
    ck_assert(w.result.steps[1].up.worked && w.result.steps[1].down.worked &&
              w.result.steps[1].again.worked);
    ck_assert_str_eq(w.result.steps[1].changes.v[0], "+ table posts (with 1 column, 1 constraint)");
    world_close(&w);
}
END_TEST

START_TEST(rows_that_do_not_come_back_are_a_lossy_downgrade)
{
    struct world w;
    world_open(&w, &engine_sqlite, users, 1, rows);
    world_add(&w, (const struct file[]){
                      {"migrations/2_less.up.sql", "delete from users where id % 10 = 0;"},
                      {"migrations/2_less.down.sql", "select 1;"},
                      {NULL, NULL},
                  });
    world_rehearse(&w);
    const struct finding *f = world_finding(&w, "lossy-downgrade", "2");
    ck_assert_int_eq(f->severity, SEVERITY_ERROR);
    ck_assert_str_eq(f->changes[0].text, "table users: 10 of 100 rows lost");
    ck_assert_str_eq(w.result.descent, "differs");
    world_close(&w);
}
END_TEST

START_TEST(dropped_column_is_lost_also_when_later_rows_are_lost)
{
    struct world w;
    world_open(&w, &engine_sqlite, users, 1, rows);
    world_add(&w, (const struct file[]){
                      {"migrations/2_bio.up.sql", "alter table users drop column bio;"},
                      {"migrations/2_bio.down.sql", "alter table users add column bio text;"},
                      {"migrations/3_less.up.sql", "delete from users where id % 10 = 0;"},
                      {"migrations/3_less.down.sql", "select 1;"},
                      {NULL, NULL},
                  });
    world_rehearse(&w);
    const struct finding *f = world_finding(&w, "lossy-downgrade", "2");
    ck_assert_int_eq(f->severity, SEVERITY_WARNING);
    ck_assert_ptr_nonnull(strstr(f->changes[0].text, "column users.bio: dropped by the upgrade"));
    ck_assert_int_eq(world_finding(&w, "lossy-downgrade", "3")->severity, SEVERITY_ERROR);
    world_close(&w);
}
END_TEST

START_TEST(failing_upgrade_ends_the_way_up_and_the_way_down_is_still_walked)
{
    struct world w;
    world_open(&w, &engine_sqlite, users, 1, rows);
    world_add(&w,
              (const struct file[]){
                  {"migrations/2_index.up.sql", "create index users_email on users (email);"},
                  {"migrations/2_index.down.sql", "drop index users_email;"},
                  {"migrations/3_unique.up.sql", "create unique index users_bio on users (bio);"},
                  {"migrations/3_unique.down.sql", "drop index users_bio;"},
                  {"migrations/4_more.up.sql", "create table more (id int);"},
                  {"migrations/4_more.down.sql", "drop table more;"},
                  {NULL, NULL},
              });
    world_rehearse(&w);
    ck_assert_ptr_nonnull(
        strstr(world_finding(&w, "upgrade-fails", "3")->message, "on the copy of the data"));
    ck_assert_int_eq(w.result.check.revisions[2].status, REVISION_NOT_RUN);
    ck_assert_str_eq(w.result.descent, "equal");
    ck_assert(w.result.steps[0].down.worked);
    world_close(&w);
}
END_TEST

START_TEST(nothing_pending_is_a_clean_rehearsal)
{
    struct world w;
    world_open(&w, &engine_sqlite, users, 1, rows);
    world_rehearse(&w);
    ck_assert_uint_eq(w.result.check.nrevisions, 0);
    ck_assert_uint_eq(w.result.check.nfindings, 0);
    world_close(&w);
}
END_TEST

/* ---- hazards: what every table of this size does, whatever the clock says ---- */

static const char many[] =
    "insert into users with recursive n(i) as (select 1 union all select i "
    "+ 1 from n where i < 20000) select i, 'u' || i, hex(zeroblob(40)) from n;";

struct hazard {
    const char *id; /* NULL: a safe twin */
    const char *up, *down;
};

static const struct hazard hazards[] = {
    {"rewrites-table",
     "create table copy (id integer primary key, email text not null, bio text);\n"
     "insert into copy select * from users;\n"
     "drop table users;\n"
     "alter table copy rename to users;",
     "select 1;"},
    {NULL, "alter table users add column state text not null default 'new';",
     "alter table users drop column state;"},
    {"blocks-writes", "update users set bio = bio || 'x';", "update users set bio = bio;"},
    {NULL, "update users set bio = bio || 'x' where id < 10;", "select 1;"},
};

START_TEST(hazards_are_found_and_their_safe_twins_are_not)
{
    const struct hazard *h = &hazards[_i];
    struct world w;
    world_open(&w, &engine_sqlite, users, 1, many);
    const struct file files[] = {{"migrations/2_hazard.up.sql", h->up},
                                 {"migrations/2_hazard.down.sql", h->down},
                                 {NULL, NULL}};
    world_add(&w, files);
    w.thresholds = (struct rehearsal_thresholds){.long_lock = 1e9, .big_table = 1 << 20};
    world_rehearse(&w);
    if (h->id)
        world_finding(&w, h->id, "2");
    for (size_t i = 0; i < w.result.check.nfindings; i++) {
        const char *id = w.result.check.findings[i].id->id;
        ck_assert_msg(!finding_id_is_rehearsals(id) || str_eq(id, h->id) ||
                          strcmp(id, "lossy-downgrade") == 0,
                      "%s: %s", h->up, id);
    }
    world_close(&w);
}
END_TEST

START_TEST(write_lock_is_seen_with_its_statement_and_the_pages_written)
{
    struct world w;
    world_open(&w, &engine_sqlite, users, 1, many);
    world_add(&w, (const struct file[]){
                      {"migrations/2_all.up.sql", "create table log (a);\n"
                                                  "update users set bio = bio || 'x';\n"},
                      {"migrations/2_all.down.sql", "drop table log;"},
                      {NULL, NULL},
                  });
    world_rehearse(&w);
    const struct measures *m = &w.result.steps[0].up.measures;
    ck_assert_uint_eq(m->nstatements, 2);
    ck_assert_int_eq(m->statements[1].line, 2);
    ck_assert_int_eq(m->statements[1].rows, 20000);
    ck_assert_int_gt(m->pages, 100);
    ck_assert_uint_ge(m->nlocks, 1);
    ck_assert_str_eq(m->locks[0].kind, "database");
    const struct measured_wait *wait = measures_longest(m);
    ck_assert_ptr_nonnull(wait);
    ck_assert(wait->writer);
    world_close(&w);
}
END_TEST

/* ---- Alembic: another process writes ---- */

static const struct rev alembic[] = {
    {"r1", "down_revision = None",
     "op.create_table('users', sa.Column('id', sa.Integer, primary_key=True),\n"
     "                sa.Column('email', sa.Text), sa.Column('bio', sa.Text))",
     "op.drop_table('users')"},
    {"r2", "down_revision = 'r1'",
     "with op.batch_alter_table('users') as batch:\n"
     "    batch.alter_column('email', nullable=False)",
     "with op.batch_alter_table('users') as batch:\n"
     "    batch.alter_column('email', nullable=True)"},
    {"r3", "down_revision = 'r2'", "op.add_column('users', sa.Column('n', sa.Integer))",
     "op.drop_column('users', 'n')"},
    {0}};

START_TEST(batch_migration_of_alembic_rewrites_its_table)
{
    struct world w;
    _cleanup_free_ char *text = env_with(sync_env, "render_as_batch=True");
    world_open_in(&w, &engine_sqlite, project_write("sqlite", text, alembic), PYTHON, 1, many);
    w.thresholds = (struct rehearsal_thresholds){.long_lock = 1e9, .big_table = 1 << 20};
    world_rehearse(&w);
    const struct finding *f = world_finding(&w, "rewrites-table", "r2");
    ck_assert_str_eq(f->changes[0].object, "table users");
    ck_assert(str_ends(f->file, "r2_x.py"));
    ck_assert_uint_eq(w.result.check.nfindings, 1);
    const struct measures *m = &w.result.steps[0].up.measures;
    ck_assert_uint_ge(m->nstatements, 4);
    ck_assert_ptr_nonnull(measures_longest(m));
    world_close(&w);
}
END_TEST

/* ---- the command ---- */

/* A database at revision 1, in the project's own folder. */
static char *make_project(void)
{
    char *dir = folder_new();
    folder_fill(dir, users);
    write_text(dir, "migrations/2_less.up.sql", "delete from users where id % 10 = 0;");
    write_text(dir, "migrations/2_less.down.sql", "select 1;");
    write_text(dir, "app.db", "");
    _cleanup_run_ struct run r = belay_run(dir, NULL, "upgrade 1 --url sqlite:///app.db");
    ck_assert_msg(r.r.status == 0, "%s", r.errors);
    _cleanup_free_ char *path = path_join(dir, "app.db");
    sqlite3 *db;
    ck_assert_int_eq(sqlite3_open(path, &db), SQLITE_OK);
    ck_assert_int_eq(sqlite3_exec(db, rows, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
    return dir;
}

START_TEST(command_reports_as_text_and_json_and_leaves_its_source_alone)
{
    _cleanup_folder_ char *dir = make_project();
    _cleanup_free_ char *path = path_join(dir, "app.db");
    struct err err = {0};
    char *before, *after;
    size_t nbefore, nafter;
    ck_assert_int_eq(file_read(path, &before, &nbefore, &err), 0);
    _cleanup_run_ struct run text =
        belay_run(dir, NULL, "rehearse --from sqlite:///app.db --output r.json");
    ck_assert_msg(text.r.status == 1, "%s%s", text.out, text.errors);
    ck_assert_ptr_nonnull(strstr(text.out, "copy of   sqlite:///app.db"));
    ck_assert_ptr_nonnull(strstr(text.out, "table users: 10 of 100 rows lost"));
    _cleanup_free_ char *report = path_join(dir, "r.json");
    json_t *j = json_load_file(report, 0, NULL);
    ck_assert_ptr_nonnull(j);
    ck_assert_str_eq(json_string_value(json_object_get(j, "type")), "belay-rehearsal");
    ck_assert_str_eq(json_string_value(json_object_get(j, "verdict")), "findings");
    const json_t *up = json_object_get(json_array_get(json_object_get(j, "revisions"), 0), "up");
    ck_assert_uint_eq(json_array_size(json_object_get(up, "statements")), 1);
    json_decref(j);
    ck_assert_int_eq(file_read(path, &after, &nafter, &err), 0);
    ck_assert(nbefore == nafter && memcmp(before, after, nafter) == 0);
    free(before);
    free(after);
}
END_TEST

/* Every key of the report is in the documented schema, and every one that it asks for in the report. */
static void check_keys(const json_t *root, const json_t *schema, const json_t *value,
                       const char *where)
{
    const char *ref = json_string_value(json_object_get(schema, "$ref")), *key;
    json_t *item;
    size_t i;
    if (ref && str_starts(ref, "report.schema.json"))
        return; /* as in a check, whose tests have it */
    if (ref)    /* the only one: down is as up */
        schema = json_object_get(
            json_object_get(
                json_object_get(
                    json_object_get(
                        json_object_get(json_object_get(root, "properties"), "revisions"), "items"),
                    "properties"),
                "up"),
            "properties");
    else
        schema = json_object_get(schema, json_is_array(value) ? "items" : "properties");
    json_array_foreach(value, i, item)
    {
        if (json_is_object(item))
            check_keys(root, schema, item, where);
    }
    json_object_foreach((json_t *)value, key, item)
    {
        const json_t *sub = json_object_get(schema, key);
        ck_assert_msg(sub != NULL, "%s.%s is not in docs/rehearsal.schema.json", where, key);
        if (json_is_object(item) || json_is_array(item))
            check_keys(root, sub, item, key);
    }
}

START_TEST(json_report_and_its_schema_agree)
{
    _cleanup_folder_ char *dir = make_project();
    _cleanup_run_ struct run r =
        belay_run(dir, NULL, "rehearse --from sqlite:///app.db --format json --max-blocked 1h");
    ck_assert_int_eq(r.r.status, 1);
    json_t *report = json_loads(r.out, 0, NULL);
    _cleanup_free_ char *path =
        xasprintf("%s/docs/rehearsal.schema.json", getenv("BELAY_SOURCE_DIR"));
    json_t *schema = json_load_file(path, 0, NULL), *key;
    ck_assert(report && schema);
    size_t i;
    json_array_foreach(json_object_get(schema, "required"), i, key)
        ck_assert_ptr_nonnull(json_object_get(report, json_string_value(key)));
    check_keys(schema, schema, report, "report");
    json_decref(report);
    json_decref(schema);
}
END_TEST

START_TEST(wrong_use_is_one_clear_error)
{
    static const struct {
        const char *args;
        int status;
        const char *says;
    } wrong[] = {
        {"rehearse", 2, "what is to be copied?"},
        {"rehearse --from nowhere.belay", 2, "nowhere.belay"},
        {"rehearse --from sqlite:///missing.db", 3, "missing.db"},
        {"rehearse --from sqlite:///app.db --to 9", 2, "9"},
        {"rehearse --from sqlite:///app.db --format sarif", 2, "does not write sarif"},
        {"rehearse --from sqlite:///app.db --max-growth much", 2, "is not a size such as 64MB"},
        {"rehearse --from sqlite:///untracked.db", 2, "no version table"},
    };
    _cleanup_folder_ char *dir = make_project();
    _cleanup_free_ char *path = path_join(dir, "untracked.db");
    sqlite3 *db;
    ck_assert_int_eq(sqlite3_open(path, &db), SQLITE_OK);
    ck_assert_int_eq(sqlite3_exec(db, "create table t (a)", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        _cleanup_run_ struct run r = belay_run(dir, NULL, wrong[i].args);
        ck_assert_msg(r.r.status == wrong[i].status && strstr(r.errors, wrong[i].says),
                      "%s: %d: %s", wrong[i].args, r.r.status, r.errors);
    }
}
END_TEST

/* Whose second revision never ends. */
static pid_t start_endless(const char *dir)
{
    write_text(
        dir, "migrations/2_less.up.sql",
        "insert into users with recursive n(i) as (select 101 union all select i + 1 from n) "
        "select i, 'u', 'b' from n;");
    fflush(stdout);
    pid_t pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid)
        return pid;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (chdir(dir) < 0)
        _exit(99);
    int fd = open("out", O_WRONLY | O_CREAT | O_TRUNC, 0600);
    dup2(fd, 1);
    dup2(fd, 2);
    execl(getenv("BELAY_BIN"), "belay", "rehearse", "--from", "sqlite:///app.db", NULL);
    _exit(99);
}

struct growing {
    const char *dir;
};

/* The copy is being written to: larger than what it was copied from. */
static bool is_growing(void *data)
{
    const struct growing *g = data;
    _cleanup_free_ char *pattern = xasprintf("%s/*.db", g->dir);
    glob_t found;
    bool grows = false;
    if (glob(pattern, 0, NULL, &found) == 0) {
        struct stat st;
        for (size_t i = 0; i < found.gl_pathc; i++)
            grows = grows || (stat(found.gl_pathv[i], &st) == 0 && st.st_size > 10000000);
        globfree(&found);
    }
    return grows;
}

START_TEST(interrupted_or_killed_in_a_revision_nothing_is_left)
{
    _cleanup_folder_ char *dir = make_project();
    struct belay_process b = {.pid = start_endless(dir)};
    int status;
    ck_assert(belay_process_find(&b));
    ck_assert(wait_until(is_growing, &(struct growing){b.dir}));
    kill(b.pid, _i ? SIGKILL : SIGINT);
    ck_assert_int_eq(waitpid(b.pid, &status, 0), b.pid);
    if (_i == 0)
        ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 3, "status %#x", status);
    belay_process_left_nothing(&b);
}
END_TEST

int main(void)
{
    const char *why = alembic_suite_begin();
    Suite *s = suite_create("rehearse");
    SUITE_ADD(s, rehearsal_of_reversible_revisions_is_clean);
    SUITE_ADD(s, rows_that_do_not_come_back_are_a_lossy_downgrade);
    SUITE_ADD(s, dropped_column_is_lost_also_when_later_rows_are_lost);
    SUITE_ADD(s, failing_upgrade_ends_the_way_up_and_the_way_down_is_still_walked);
    SUITE_ADD(s, nothing_pending_is_a_clean_rehearsal);
    SUITE_ADD_LOOP(s, hazards_are_found_and_their_safe_twins_are_not, ARRAY_LEN(hazards));
    SUITE_ADD(s, write_lock_is_seen_with_its_statement_and_the_pages_written);
    if (why)
        printf("# not run: Alembic: %s\n", why);
    else
        SUITE_ADD(s, batch_migration_of_alembic_rewrites_its_table);
    SUITE_ADD(s, command_reports_as_text_and_json_and_leaves_its_source_alone);
    SUITE_ADD(s, json_report_and_its_schema_agree);
    SUITE_ADD(s, wrong_use_is_one_clear_error);
    SUITE_ADD_LOOP(s, interrupted_or_killed_in_a_revision_nothing_is_left, 2);
    return fixture_run(s);
}
