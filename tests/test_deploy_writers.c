/*
 * An application goes on writing while a deploy fails and the database goes back: every row that it was told is
 * committed is there afterwards, or in the exported SQL, or the deploy has stopped and said so. And the fence.
 */
#include <signal.h>
#include <sys/stat.h>
#include <string.h>
#include <unistd.h>

#include "harness/base/file.h"
#include "harness/base/proc.h"
#include "tests/alembic_project.h"
#include "tests/belay_run.h"
#include "tests/deploy_site.h"

/* ---- projects, the same for all kinds ---- */

enum kind { FOLDER, ALEMBIC, ASYNC };
static const char *const kind_names[] = {"SQL folder", "Alembic", "Alembic with async"};

/* Statements, a line each; down NULL: there is no way back. */
struct change {
    const char *up, *down;
};
static const struct change base = {
    "create table people (id int primary key, name text not null)\n"
    "create table orders (id int primary key, note text)\n"
    "insert into people values (1, 'ann'), (2, 'bo''b'), (3, 'cy\\')\n",
    "drop table orders\ndrop table people\n"};

static void add_statements(struct str *s, const char *sql, const char *before, const char *after)
{
    for (size_t n; *sql; sql += n + 1) {
        n = strcspn(sql, "\n");
        str_add(s, before);
        str_addn(s, sql, n);
        str_add(s, after);
    }
}

static char *folder_project(const struct change *changes)
{
    char *dir = folder_new();
    for (int n = 0; n == 0 || changes[n - 1].up; n++) {
        const struct change *c = n ? &changes[n - 1] : &base;
        _cleanup_str_ struct str s = {0};
        for (int down = 0; down < (c->down ? 2 : 1); down++) {
            str_addf(&s, "-- migrate:%s\n", down ? "down" : "up");
            add_statements(&s, down ? c->down : c->up, "", ";\n");
        }
        _cleanup_free_ char *name = xasprintf("db/migrations/%d_x.sql", n + 1);
        folder_write(dir, name, s.p, s.len);
    }
    return dir;
}

static char *python(const char *sql)
{
    struct str s = {0};
    add_statements(&s, sql, "op.execute(r\"\"\"", "\"\"\")\n");
    return str_take(&s);
}

static char *alembic_project(const struct engine *e, bool async, const struct change *changes)
{
    struct rev revs[4] = {{0}};
    bool postgres = e == &engine_postgres;
    for (int n = 0; n == 0 || changes[n - 1].up; n++) {
        const struct change *c = n ? &changes[n - 1] : &base;
        revs[n] = (struct rev){
            .id = xasprintf("%d", n + 1),
            .head = n ? xasprintf("down_revision = '%d'", n) : xstrdup("down_revision = None"),
            .up = python(c->up),
            .down = c->down ? python(c->down) : NULL,
        };
    }
    _cleanup_free_ char *env = env_with(async ? async_env : sync_env, "");
    char *dir = project_write(postgres ? (async ? "postgresql+asyncpg" : "postgresql")
                                       : (async ? "sqlite+aiosqlite" : "sqlite"),
                              env, revs);
    for (struct rev *r = revs; r->id; r++) {
        free((char *)r->id);
        free((char *)r->head);
        free((char *)r->up);
        free((char *)r->down);
    }
    return dir;
}

/* ---- a database with an application ---- */

struct scene {
    const struct engine *engine;
    struct site site; /* PostgreSQL */
    char *dir, *url;
    char *said; /* by the last belay */
};

static void scene_belay(struct scene *s, int expect, const char *args)
{
    free(s->said);
    if (s->engine == &engine_postgres) {
        site_belay(&s->site, expect, args);
        s->said = xasprintf("%s%s", s->site.out, s->site.errors);
        return;
    }
    _cleanup_free_ char *url = xasprintf("DATABASE_URL=%s", s->url);
    _cleanup_run_ struct run r =
        belay_run(s->dir, (const char *[]){url, "BELAY_PYTHON=" PYTHON, NULL}, args);
    s->said = xasprintf("%s%s", r.out, r.errors);
    ck_assert_msg(r.r.status == expect, "belay %s: %d, not %d\n%s", args, r.r.status, expect,
                  s->said);
}

static void scene_open(struct scene *s, const struct engine *e, enum kind kind,
                       const struct change *changes)
{
    *s = (struct scene){.engine = e};
    s->dir = kind == FOLDER ? folder_project(changes) : alembic_project(e, kind == ASYNC, changes);
    if (e == &engine_postgres) {
        site_open(&s->site, NULL, s->dir);
        s->url = xstrdup(s->site.url);
    } else {
        s->url = xasprintf("sqlite:///%s/d.db", s->dir);
    }
    scene_belay(s, 0, "upgrade 1 -q");
}

static void scene_close(struct scene *s)
{
    if (s->engine == &engine_postgres)
        site_close(&s->site);
    else
        folder_free(&s->dir);
    free(s->url);
    free(s->said);
}

static void says(const struct scene *s, const char *part)
{
    ck_assert_msg(strstr(s->said, part) != NULL, "no \"%s\" in\n%s", part, s->said);
}

static struct db *scene_db(const struct scene *s)
{
    _cleanup_err_ struct err err = {0};
    struct db *db = NULL;
    ASSERT_OK(db_open(s->engine, s->url, DB_OPEN_DEFAULT, &db, &err), &err);
    return db;
}

static void expect_scene(const struct scene *s, const char *sql, const char *value)
{
    _cleanup_err_ struct err err = {0};
    _cleanup_db_ struct db *db = scene_db(s);
    _cleanup_free_ char *got = NULL;
    ASSERT_OK(db_query_text(db, sql, NULL, 0, &got, &err), &err);
    ck_assert_msg(str_eq(got, value), "%s: %s, not %s\n%s", sql, got, value, s->said);
}

/* ---- the application ---- */

/*
 * Its log: "? table id value" before a statement, "! table id value" once it knows that it is committed; the value
 * of a row that is deleted is "-".
 */
struct writer {
    pid_t pid;
    char *log;
};

static void note(FILE *f, char what, const char *table, int id, const char *value)
{
    fprintf(f, "%c %s %d %s\n", what, table, id, value);
    fflush(f);
}

/* One that changes no row was of no row that is there. */
static bool change(struct db *db, FILE *f, const char *table, int id, const char *value,
                   const char *sql)
{
    _cleanup_err_ struct err err = {0};
    _cleanup_rows_ struct rows *rows = NULL;
    note(f, '?', table, id, value);
    if (db_query(db, sql, NULL, 0, &rows, &err) < 0)
        return err.code == ERR_SQL; /* a table or a row that is not there, a lock */
    if (rows_count(rows))
        note(f, '!', table, id, value);
    return true;
}

static bool work(struct db *db, FILE *f, int n)
{
    _cleanup_free_ char *value = xasprintf("it's-%d", n), *quoted = quote_with(value, '\'');
    _cleanup_free_ char *sql = NULL;
    int id = 1000 + n;
    if (n % 4 == 3) {
        sql = xasprintf("update orders set note = %s where id = %d returning id", quoted, id - 3);
        return change(db, f, "orders", id - 3, value, sql);
    }
    if (n % 7 == 6) {
        sql = xasprintf("delete from orders where id = %d returning id", id - 5);
        return change(db, f, "orders", id - 5, "-", sql);
    }
    const char *table = n % 3 ? "orders" : "people";
    sql = xasprintf("insert into %s (id, %s) values (%d, %s) returning id", table,
                    n % 3 ? "note" : "name", id, quoted);
    return change(db, f, table, id, value, sql);
}

static void write_on(const struct scene *s, const char *log)
{
    _cleanup_fclose_ FILE *f = fopen(log, "ae");
    struct db *db = NULL;
    for (int n = 0;; n++) {
        _cleanup_err_ struct err err = {0};
        if ((!db && db_open(s->engine, s->url, DB_OPEN_DEFAULT, &db, &err) < 0) || !work(db, f, n))
            db_close(TAKE_PTR(db));
        usleep(3000);
    }
}

static int committed(const char *log)
{
    _cleanup_fclose_ FILE *f = fopen(log, "re");
    char line[128];
    int n = 0;
    while (f && fgets(line, sizeof(line), f))
        n += *line == '!';
    return n;
}

static void writer_start(struct writer *w, const struct scene *s)
{
    w->log = path_join(s->dir, "written");
    w->pid = fork();
    ck_assert_int_ge(w->pid, 0);
    if (w->pid == 0)
        write_on(s, w->log);
    while (committed(w->log) < 20)
        usleep(5000);
}

static void writer_stop(struct writer *w)
{
    kill(w->pid, SIGKILL);
    site_wait(w->pid);
}

/* The last that the log says of a row was "? VALUE" or "! VALUE" with this value, or was not answered any more. */
static bool may_be(FILE *f, const char *table, int id, const char *value)
{
    char line[128], what, in[16], of[64];
    int row;
    bool good = false;
    rewind(f);
    while (fgets(line, sizeof(line), f)) {
        if (sscanf(line, "%c %15s %d %63s", &what, in, &row, of) != 4 || row != id ||
            strcmp(in, table) != 0)
            continue;
        good = what == '!' ? strcmp(of, value) == 0 : good || strcmp(of, value) == 0;
    }
    return good;
}

static void check_row(const struct scene *s, FILE *f, struct db *db, const char *table, int id)
{
    _cleanup_err_ struct err err = {0};
    _cleanup_free_ char *sql =
        xasprintf("select %s from %s where id = %d", *table == 'o' ? "note" : "name", table, id);
    _cleanup_free_ char *value = NULL;
    ASSERT_OK(db_query_text(db, sql, NULL, 0, &value, &err), &err);
    ck_assert_msg(may_be(f, table, id, value ? value : "-"), "%s %d is %s\n%s", table, id,
                  value ? value : "not there", s->said);
}

/* Everything that the application was told is committed. Releases w. */
static void nothing_is_lost(const struct scene *s, struct writer *w)
{
    _cleanup_db_ struct db *db = scene_db(s);
    _cleanup_fclose_ FILE *f = fopen(w->log, "re");
    char line[128], seen[2][20000] = {{0}}, in[16];
    int row;
    _cleanup_strv_ struct strv lines = {0};
    while (fgets(line, sizeof(line), f))
        if (*line == '!')
            strv_add(&lines, line);
    for (size_t i = 0; i < lines.n; i++) {
        ck_assert_int_eq(sscanf(lines.v[i], "! %15s %d", in, &row), 2);
        char *once = &seen[*in == 'o'][row < 20000 ? row : 0];
        if (!*once)
            check_row(s, f, db, in, row);
        *once = 1;
    }
    free(w->log);
}

/* As docs/deploy.md says how. False: there is no such file. */
static bool apply(const struct scene *s, const char *name)
{
    _cleanup_err_ struct err err = {0};
    _cleanup_proc_result_ struct proc_result r = {0};
    const char *bundles = s->engine == &engine_postgres ? s->site.bundles : "belay-bundles";
    _cleanup_free_ char *command =
        xasprintf("set -e; f=$(ls %s/*.lost/%s) || exit 9; %s", bundles, name,
                  s->engine == &engine_postgres ? "psql -q -v ON_ERROR_STOP=1 -d \"$URL\" -f \"$f\""
                                                : "sqlite3 -bail d.db < \"$f\"");
    _cleanup_free_ char *url = xasprintf("URL=%s", s->url);
    const struct proc_options o = {.argv = (const char *[]){"sh", "-c", command, NULL},
                                   .env = (const char *[]){url, NULL},
                                   .dir = s->dir};
    ASSERT_OK(proc_run(&o, &r, &err), &err);
    ck_assert_msg(r.status == 0 || r.status == 9, "%s: %s\n%s", name, str_get(&r.errors), s->said);
    return r.status == 0;
}

/* ---- every way back ---- */

/* The first leaves no way back, and changes rows of a table that the application writes to as well. */
static const struct change no_way_back[] = {
    {"update people set name = upper(name) where id < 1000\ncreate table a (x int)\n", NULL}, {0}};
static const struct change way_back[] = {{"create table a (x int)\n", "drop table a\n"}, {0}};

#define LATER " --probe ./later"
static const struct way {
    const struct engine *engine;
    enum kind kind;
    const struct change *changes;
    const char *args;
    int exit;
} ways[] = {
    {&engine_sqlite, FOLDER, way_back, "deploy" LATER, 4},
    {&engine_sqlite, ALEMBIC, no_way_back, "deploy" LATER, 5},
    {&engine_sqlite, FOLDER, no_way_back, "deploy --lost-writes=export" LATER, 4},
    {&engine_sqlite, ASYNC, no_way_back, "deploy --lost-writes=export" LATER, 4},
    {&engine_postgres, ALEMBIC, way_back, "deploy" LATER, 4},
    {&engine_postgres, ASYNC, way_back, "deploy --fence" LATER, 4},
    {&engine_postgres, FOLDER, no_way_back, "deploy" LATER, 5},
    {&engine_postgres, FOLDER, no_way_back, "deploy --fence --twin" LATER, 5},
    {&engine_postgres, FOLDER, no_way_back, "deploy --lost-writes=export" LATER, 4},
    {&engine_postgres, FOLDER, no_way_back, "deploy --fence --twin --lost-writes=export" LATER, 4},
    {&engine_postgres, ASYNC, no_way_back, "deploy --lost-writes=export" LATER, 4},
    {&engine_postgres, ALEMBIC, no_way_back, "deploy --fence --lost-writes=export" LATER, 4},
};

/* Fails when the application has written for a while. */
static void write_probe(const struct scene *s)
{
    static const char script[] =
        "#!/bin/sh\nn=$(wc -l <written)\n"
        "while [ $(wc -l <written) -lt $((n + 40)) ]; do sleep 0.02; done\n"
        "exit 1\n";
    folder_write(s->dir, "later", script, strlen(script));
    _cleanup_free_ char *path = path_join(s->dir, "later");
    ck_assert_int_eq(chmod(path, 0755), 0);
}

START_TEST(no_row_that_was_committed_is_lost)
{
    const struct way *way = &ways[_i];
    struct scene s;
    struct writer w;
    scene_open(&s, way->engine, way->kind, way->changes);
    write_probe(&s);
    writer_start(&w, &s);
    printf("# %s, %s: %s\n", engine_name(way->engine), kind_names[way->kind], way->args);
    fflush(stdout);
    scene_belay(&s, way->exit, way->args);
    if (way->exit == 5) {
        says(&s, "others have written since the bundle was taken");
        writer_stop(&w);
        expect_scene(&s, "select name from people where id = 1", "ANN");
        nothing_is_lost(&s, &w);
        scene_close(&s);
        return;
    }
    bool restored = way->changes == no_way_back;
    writer_stop(&w);
    expect_scene(&s, "select name from people where id = 1", "ann");
    if (restored) {
        says(&s, ".lost");
        /* SQLite does not know who wrote which row */
        apply(&s, "others.sql");
        apply(&s, "undecided.sql");
    }
    nothing_is_lost(&s, &w);
    scene_close(&s);
}
END_TEST

/* Without the rows that the upgrade itself has changed. */
START_TEST(what_is_certainly_of_others_stands_apart)
{
    struct scene s;
    struct writer w;
    scene_open(&s, &engine_postgres, FOLDER, no_way_back);
    write_probe(&s);
    writer_start(&w, &s);
    scene_belay(&s, 5, "deploy" LATER);
    writer_stop(&w);
    scene_belay(&s, 4, "recover --lost-writes=export");
    ck_assert(apply(&s, "others.sql"));
    expect_scene(&s, "select string_agg(name, ' ' order by id) from people where id < 1000",
                 "ann bo'b cy\\");
    nothing_is_lost(&s, &w);
    ck_assert(apply(&s, "undecided.sql"));
    expect_scene(&s, "select string_agg(name, ' ' order by id) from people where id < 1000",
                 "ANN BO'B CY\\");
    scene_close(&s);
}
END_TEST

START_TEST(without_others_rows_that_the_upgrade_changed_stop_nothing)
{
    struct scene s;
    scene_open(&s, _i % 2 ? &engine_postgres : &engine_sqlite, (enum kind)(_i / 2), no_way_back);
    scene_belay(&s, 4, "deploy --probe false");
    says(&s, "the bundle was restored");
    expect_scene(&s, "select name from people where id = 1", "ann");
    scene_close(&s);
}
END_TEST

/* Rows of all types and tables of all kinds, changed by somebody else and by nobody else. */
#define ODD_TABLES                                                                                 \
    "create table keyless (a int, b text)\n"                                                       \
    "create table two (a int, b text, c text, primary key (a, b))\n"

START_TEST(an_export_brings_back_every_kind_of_change)
{
    static const char before[] = "insert into keyless values (1, 'x'), (1, 'x'), (2, null);"
                                 "insert into two values (1, 'k', 'old'), (2, 'gone', null);"
                                 "insert into orders values (1, 'o')";
    static const char later[] =
        "delete from keyless where a = 2; insert into keyless values (null, 'new'), (1, 'x');"
        "update two set c = 'line' where a = 1; delete from two where a = 2;"
        "insert into two values (3, '', null); update orders set note = null";
    static const char sum[] =
        "select (select count(*) from keyless where a = 1) || ' ' || (select count(*) from keyless)"
        " || ' ' || (select c from two where a = 1) || ' ' || (select count(*) from two where b = "
        "'')"
        " || ' ' || (select count(*) from two) || ' '"
        " || (select count(*) from orders where note is null)";
    static const struct change changes[] = {{ODD_TABLES, "select 1\n"}, no_way_back[0], {0}};
    _cleanup_err_ struct err err = {0};
    struct scene s;
    scene_open(&s, _i ? &engine_postgres : &engine_sqlite, FOLDER, changes);
    scene_belay(&s, 0, "upgrade 2 -q");
    struct db *db = scene_db(&s);
    ASSERT_OK(db_run(db, before, DB_RUN_STATEMENTS, NULL, &err), &err);
    db_close(db);
    _cleanup_free_ char *script =
        xasprintf("#!/bin/sh\n%s <<'.'\n%s;\n.\nexit 1\n",
                  _i ? "psql -q -d \"$DATABASE_URL\"" : "sqlite3 d.db", later);
    folder_write(s.dir, "later", script, strlen(script));
    _cleanup_free_ char *path = path_join(s.dir, "later");
    ck_assert_int_eq(chmod(path, 0755), 0);
    scene_belay(&s, 4, "deploy --lost-writes=export" LATER);
    expect_scene(&s, sum, "2 3 old 0 2 0");
    ck_assert(apply(&s, "others.sql"));
    expect_scene(&s, sum, "3 4 line 1 2 1");
    scene_close(&s);
}
END_TEST

/* ---- the fence ---- */

/* Long enough for an application that is not kept out. */
static const struct change broken_later[] = {
    {"update people set name = upper(name) where id < 1000\n", NULL},
    {"select pg_sleep(0.3)\nselect 1 / 0\n", "select 1\n"},
    {0}};

START_TEST(behind_a_fence_nobody_writes_and_so_nothing_is_lost)
{
    static const char *const args[] = {"deploy --fence", "deploy --fence --twin"};
    struct scene s;
    struct writer w;
    scene_open(&s, &engine_postgres, (enum kind)(_i / 2), broken_later);
    writer_start(&w, &s);
    scene_belay(&s, 4, args[_i % 2]);
    says(&s, _i % 2 ? "the twin took its place" : "the bundle was restored");
    /* and it gets in again */
    for (int n = committed(w.log); committed(w.log) < n + 5;)
        usleep(5000);
    writer_stop(&w);
    nothing_is_lost(&s, &w);
    scene_close(&s);
}
END_TEST

START_TEST(a_fence_that_was_left_standing_is_lifted)
{
    static const struct change hangs[] = {{"select pg_sleep(1000)\n", "select 1\n"}, {0}};
    static const char *const again[] = {"recover", "deploy --to 1"};
    struct scene s;
    scene_open(&s, &engine_postgres, FOLDER, hangs);
    site_begin(&s.site);
    pid_t belay = site_start(&s.site, "deploy --fence");
    site_until(&s.site, "select exists (select from pg_stat_activity where state = 'active'"
                        " and query like '%pg_sleep(1000)%' and pid <> pg_backend_pid())");
    _cleanup_err_ struct err err = {0};
    struct db *db = NULL;
    ck_assert_int_lt(db_open(s.engine, s.url, DB_OPEN_DEFAULT, &db, &err), 0);
    scene_belay(&s, 6, "deploy");
    kill(belay, SIGKILL);
    ck_assert_int_eq(site_wait(belay), 128 + SIGKILL);
    scene_belay(&s, 4, again[_i]);
    site_is_back(&s.site, "unchanged");
    scene_close(&s);
}
END_TEST

START_TEST(a_fence_ends_with_a_good_deploy)
{
    struct scene s;
    scene_open(&s, &engine_postgres, (enum kind)_i, way_back);
    scene_belay(&s, 0, "deploy --fence --probe true");
    expect_scene(&s, "select count(*) from a", "0");
    expect_scene(&s, "select count(*) from pg_database where datname ~ 'fenced'", "0");
    scene_close(&s);
}
END_TEST

START_TEST(sqlite_has_no_fence)
{
    struct scene s;
    scene_open(&s, &engine_sqlite, FOLDER, way_back);
    scene_belay(&s, 2, "deploy --fence");
    says(&s, "--fence is for PostgreSQL");
    scene_belay(&s, 0, "deploy");
    scene_close(&s);
}
END_TEST

int main(void)
{
    const char *why = alembic_suite_begin();
    if (why)
        return suite_skip(why);
    Suite *s = suite_create("deploy_writers");
    SUITE_ADD_LOOP(s, no_row_that_was_committed_is_lost, ARRAY_LEN(ways));
    SUITE_ADD(s, what_is_certainly_of_others_stands_apart);
    SUITE_ADD_LOOP(s, without_others_rows_that_the_upgrade_changed_stop_nothing, 6);
    SUITE_ADD_LOOP(s, an_export_brings_back_every_kind_of_change, 2);
    SUITE_ADD_LOOP(s, behind_a_fence_nobody_writes_and_so_nothing_is_lost, 4);
    SUITE_ADD_LOOP(s, a_fence_that_was_left_standing_is_lifted, 2);
    SUITE_ADD_LOOP(s, a_fence_ends_with_a_good_deploy, 3);
    SUITE_ADD(s, sqlite_has_no_fence);
    return fixture_run(s);
}
