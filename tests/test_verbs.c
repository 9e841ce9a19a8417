/*
 * The everyday verbs from end to end: the program, on a database of its user's, for every format on
 * every engine.
 */
#include "tests/migration_project.h"

#include <jansson.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/belay_run.h"

/* ---- a user with a project and a database ---- */

struct user {
    struct project p; /* only the folder of it */
    char *url;
};

static const struct revision_text three[] = {
    {"create table a (x integer primary key);", "drop table a;", false},
    {"create table b (x int);\ninsert into b values (1);", "drop table b;", false},
    {"create table c (x int)\n;\n-- the end", "drop table c;", false},
    {0},
};

static void user_open(struct user *u, const char *format, const struct engine *e,
                      const struct revision_text *revisions)
{
    _cleanup_err_ struct err err = {0};
    memset(u, 0, sizeof(*u));
    u->p.format = format;
    u->p.engine = e;
    u->p.dir = folder_new();
    for (int n = 0; revisions[n].up; n++)
        add_revision(&u->p, n + 1, &revisions[n]);
    if (e == &engine_sqlite) {
        u->url = xasprintf("sqlite:///%s/d.db", u->p.dir);
        return;
    }
    ASSERT_OK(scratch_new(fixture_pool(e), &u->p.scratch, &err), &err);
    u->url = xstrdup(scratch_url(u->p.scratch));
}

static void user_close(struct user *u)
{
    free(u->url);
    project_close(&u->p);
}

#define EACH_USER(u, revisions)                                                                    \
    for (size_t f_ = 0; source_formats[f_]; f_++)                                                  \
        for (size_t e_ = 0; engines[e_]; e_++)                                                     \
            for (bool once_ = is_sql(source_formats[f_]) &&                                        \
                              (user_open(&(u), source_formats[f_], engines[e_], revisions), true); \
                 once_; once_ = false, user_close(&(u)))

static bool is_sql(const char *format)
{
    static const char *const formats[] = {"belay", "dbmate", "golang-migrate", "goose", "diesel"};
    for (size_t i = 0; i < ARRAY_LEN(formats); i++)
        if (strcmp(formats[i], format) == 0)
            return true;
    return false;
}

/* The id of the n-th revision. */
static const char *id(const struct user *u, int n)
{
    static char text[4][32];
    static size_t next;
    char *t = text[next++ % ARRAY_LEN(text)];
    const char *f = u->p.format;
    snprintf(t, sizeof(text[0]), "%s",
             strcmp(f, "belay") == 0    ? "r"
             : strcmp(f, "diesel") == 0 ? "202001"
             : strcmp(f, "goose") == 0  ? "0000"
                                        : "");
    sprintf(t + strlen(t), strcmp(f, "diesel") == 0 ? "%02d000000" : "%d", n);
    return t;
}

/* ---- running belay ---- */

static struct run run_in(const char *dir, const char *url, const char *args)
{
    _cleanup_free_ char *set = url ? xasprintf("DATABASE_URL=%s", url) : xstrdup("DATABASE_URL");
    /* on the fixture's server a scratch database is there at once */
    bool server = url && str_starts(url, "postgresql:///");
    _cleanup_free_ char *scratch =
        xasprintf("BELAY_SCRATCH_URL%s%s", server ? "=" : "", server ? url : "");
    const char *const env[] = {set, scratch, NULL};
    return belay_run(dir, env, args);
}

static struct run run(const struct user *u, const char *args)
{
    _cleanup_free_ char *dir = path_join(u->p.dir, "m");
    return run_in(dir, u->url, args);
}

#define SAID "%s on %s: %s\n-- out:\n%s-- errors:\n%s"
#define SAID_ARGS(u, args, r) (u)->p.format, engine_name((u)->p.engine), args, (r).out, (r).errors

/* Runs, and looks at how it ended and at a part of what it printed (either stream), NULL: any. */
static void expect(const struct user *u, const char *args, int status, const char *part)
{
    _cleanup_run_ struct run r = run(u, args);
    ck_assert_msg(r.r.status == status, "status %d: " SAID, r.r.status, SAID_ARGS(u, args, r));
    ck_assert_msg(!part || strstr(r.out, part) || strstr(r.errors, part), "no \"%s\": " SAID, part,
                  SAID_ARGS(u, args, r));
}

static void expectf(const struct user *u, int status, const char *part, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
static void expectf(const struct user *u, int status, const char *part, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    _cleanup_free_ char *args = xvasprintf(fmt, ap);
    va_end(ap);
    expect(u, args, status, part);
}

/* SQL by the user's own hand. */
static int try_sql(const struct user *u, const char *sql)
{
    _cleanup_err_ struct err err = {0};
    _cleanup_db_ struct db *db = NULL;
    ASSERT_OK(db_open(u->p.engine, u->url, DB_OPEN_CREATE, &db, &err), &err);
    return db_run(db, sql, DB_RUN_WHOLE, NULL, &err);
}

static void sql(const struct user *u, const char *text)
{
    ck_assert_msg(try_sql(u, text) == 0, "%s on %s: %s", u->p.format, engine_name(u->p.engine),
                  text);
}

static void has_table(const struct user *u, const char *name, bool expected)
{
    _cleanup_free_ char *query = xasprintf("delete from %s where 1 = 0", name);
    ck_assert_msg((try_sql(u, query) == 0) == expected, "%s on %s: table %s", u->p.format,
                  engine_name(u->p.engine), name);
}

static const char *version_table(const struct user *u)
{
    const char *f = u->p.format;
    return strcmp(f, "belay") == 0    ? "belay_version"
           : strcmp(f, "goose") == 0  ? "goose_db_version"
           : strcmp(f, "diesel") == 0 ? "__diesel_schema_migrations"
                                      : "schema_migrations";
}

static void forget(const struct user *u)
{
    _cleanup_free_ char *text = xasprintf("drop table %s", version_table(u));
    sql(u, text);
}

/* ---- up and down ---- */

START_TEST(upgrade_and_downgrade_go_where_they_are_told)
{
    struct user u;
    EACH_USER(u, three)
    {
        expect(&u, "upgrade +1", 0, NULL);
        has_table(&u, "a", true);
        has_table(&u, "b", false);
        expectf(&u, 0, id(&u, 2), "upgrade %s", id(&u, 2));
        expect(&u, "current", 0, id(&u, 2));
        expect(&u, "upgrade", 0, id(&u, 3));
        expect(&u, "upgrade heads", 0, "nothing to upgrade");
        expect(&u, "downgrade -1", 0, id(&u, 2));
        has_table(&u, "c", false);
        expectf(&u, 0, id(&u, 1), "downgrade %s", id(&u, 1));
        has_table(&u, "b", false);
        has_table(&u, "a", true);
        expect(&u, "downgrade base", 0, "applied now: base");
        has_table(&u, "a", false);
        expect(&u, "downgrade base", 0, "nothing to downgrade");
        expect(&u, "current", 0, NULL);
    }
}
END_TEST

START_TEST(a_step_is_printed_as_alembic_prints_it)
{
    struct user u;
    user_open(&u, "belay", &engine_sqlite, three);
    expect(&u, "upgrade", 0, "upgrade <base> -> r1, r1  ");
    expect(&u, "downgrade -2", 0, "downgrade r3 -> r2, r3  ");
    user_close(&u);
}
END_TEST

static const struct revision_text failing[] = {
    {"create table a (x int);", "drop table a;", false},
    {"create table b (x int);\nselect missing from nowhere;", "select 1;", false},
    {0},
};

START_TEST(a_failed_step_says_where_and_what_is_applied)
{
    struct user u;
    EACH_USER(u, failing)
    {
        _cleanup_run_ struct run r = run(&u, "upgrade");
        ck_assert_msg(r.r.status == 1, SAID, SAID_ARGS(&u, "upgrade", r));
        _cleanup_free_ char *place = xasprintf(".sql:%d", u.p.up_line + 1);
        ck_assert_msg(strstr(r.errors, place) != NULL, "%s " SAID, place,
                      SAID_ARGS(&u, "upgrade", r));
        ck_assert_ptr_nonnull(strstr(r.errors, "does not upgrade"));
        ck_assert_msg(strstr(r.errors, "nowhere") != NULL, SAID, SAID_ARGS(&u, "upgrade", r));
        _cleanup_free_ char *now = xasprintf("applied now: %s\n", id(&u, 1));
        /* golang-migrate leaves the mark of its own */
        bool dirty = strcmp(u.p.format, "golang-migrate") == 0;
        ck_assert_msg(strstr(r.errors, dirty ? "marked dirty" : now) != NULL, SAID,
                      SAID_ARGS(&u, "upgrade", r));
    }
}
END_TEST

START_TEST(a_missing_downgrade_is_found_before_anything_is_taken_back)
{
    static const struct revision_text revisions[] = {
        {"create table a (x int);", NULL, false},
        {"create table b (x int);", "drop table b;", false},
        {0},
    };
    struct user u;
    EACH_USER(u, revisions)
    {
        expect(&u, "upgrade -q", 0, NULL);
        expect(&u, "downgrade base", 1, "has no downgrade: nothing was taken back");
        has_table(&u, "b", true);
        expect(&u, "downgrade -1", 0, NULL);
    }
}
END_TEST

START_TEST(the_sql_of_a_range_runs_by_hand)
{
    struct user u;
    EACH_USER(u, three)
    {
        _cleanup_free_ char *up = xasprintf("upgrade %s --sql", id(&u, 2));
        _cleanup_free_ char *down = xasprintf("sql %s:%s", id(&u, 2), id(&u, 1));
        _cleanup_run_ struct run r = run(&u, up), d = run(&u, down);
        ck_assert_msg(r.r.status == 0 && d.r.status == 0, SAID, SAID_ARGS(&u, down, d));
        sql(&u, r.out);
        expect(&u, "current", 0, id(&u, 2));
        has_table(&u, "b", true);
        sql(&u, d.out);
        expect(&u, "current", 0, id(&u, 1));
        has_table(&u, "b", false);
        expectf(&u, 2, "FROM:TO", "downgrade %s --sql", id(&u, 1));
    }
}
END_TEST

/* ---- taking turns with the tool ---- */

/* What each tool runs when it applies the second revision to an empty database that has the first:
 * its version table, and the rows that it writes. */
static const struct {
    const char *format, *postgres, *sqlite, *rows, *back;
} tools[] = {
    {"dbmate",
     "create table if not exists \"schema_migrations\" (version varchar(128) primary key);",
     "create table if not exists schema_migrations (version varchar(128) primary key);",
     "insert into schema_migrations (version) values ('1');"
     "insert into schema_migrations (version) values ('2');",
     "delete from schema_migrations where version = '3';"},
    {"golang-migrate",
     "CREATE TABLE IF NOT EXISTS \"schema_migrations\" (version bigint not null primary key, dirty "
     "boolean not null);",
     "CREATE TABLE IF NOT EXISTS schema_migrations (version uint64,dirty bool);"
     "CREATE UNIQUE INDEX IF NOT EXISTS version_unique ON schema_migrations (version);",
     "insert into schema_migrations (version, dirty) values (2, false);",
     "delete from schema_migrations; insert into schema_migrations (version, dirty) values (2, "
     "false);"},
    {"goose",
     "CREATE TABLE goose_db_version (id integer PRIMARY KEY GENERATED BY DEFAULT AS IDENTITY, "
     "version_id bigint NOT NULL, is_applied boolean NOT NULL, tstamp timestamp NOT NULL DEFAULT "
     "now());",
     "CREATE TABLE goose_db_version (id INTEGER PRIMARY KEY AUTOINCREMENT, version_id INTEGER NOT "
     "NULL, is_applied INTEGER NOT NULL, tstamp TIMESTAMP DEFAULT (datetime('now')));",
     "insert into goose_db_version (version_id, is_applied) values (0, true), (1, true), (2, "
     "true);",
     "delete from goose_db_version where version_id = 3;"},
    {"diesel",
     "CREATE TABLE __diesel_schema_migrations (version VARCHAR(50) PRIMARY KEY NOT NULL, run_on "
     "TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP);",
     "CREATE TABLE __diesel_schema_migrations (version VARCHAR(50) PRIMARY KEY NOT NULL, run_on "
     "TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP);",
     "insert into __diesel_schema_migrations (version) values ('20200101000000'), "
     "('20200102000000');",
     "delete from __diesel_schema_migrations where version = '20200103000000';"},
};

START_TEST(belay_and_the_tool_take_turns_on_one_database)
{
    for (size_t i = 0; i < ARRAY_LEN(tools); i++)
        for (size_t e = 0; engines[e]; e++) {
            struct user u;
            user_open(&u, tools[i].format, engines[e], three);
            /* the tool goes first */
            sql(&u, "create table a (x integer primary key); create table b (x int);");
            sql(&u, engines[e] == &engine_postgres ? tools[i].postgres : tools[i].sqlite);
            sql(&u, tools[i].rows);
            expect(&u, "current", 0, id(&u, 2));
            expect(&u, "upgrade", 0, id(&u, 3));
            has_table(&u, "c", true);
            /* the tool takes it back */
            sql(&u, "drop table c");
            sql(&u, tools[i].back);
            expect(&u, "current", 0, id(&u, 2));
            expect(&u, "downgrade -1", 0, NULL);
            has_table(&u, "b", false);
            expect(&u, "upgrade", 0, "applied now");
            has_table(&u, "c", true);
            user_close(&u);
        }
}
END_TEST

/* ---- the states of a database ---- */

START_TEST(tables_without_a_version_table_are_refused_with_a_proposal)
{
    struct user u;
    EACH_USER(u, three)
    {
        expectf(&u, 0, NULL, "upgrade -q %s", id(&u, 2));
        forget(&u);
        _cleanup_free_ char *proposal = xasprintf("\"belay stamp %s\"", id(&u, 2));
        expect(&u, "upgrade", 1, proposal);
        has_table(&u, "c", false);
        has_table(&u, version_table(&u), false);
        expect(&u, "current", 1, proposal);
        expect(&u, "downgrade -1", 1, proposal);
        expect(&u, "current --format json", 1, "\"state\": \"untracked\"");
        expect(&u, "stamp --detect", 0, id(&u, 2));
        expect(&u, "upgrade", 0, id(&u, 3));
    }
}
END_TEST

START_TEST(what_fits_no_revision_is_listed_with_the_differences_and_not_stamped)
{
    struct user u;
    EACH_USER(u, three)
    {
        expectf(&u, 0, NULL, "upgrade -q %s", id(&u, 2));
        forget(&u);
        sql(&u, "alter table a add column surplus int");
        expect(&u, "stamp --detect", 1, "a.surplus");
        expect(&u, "upgrade", 1, "no revision has its schema");
        expectf(&u, 1, "nothing was stamped", "stamp %s", id(&u, 2));
        has_table(&u, version_table(&u), false);
        expectf(&u, 0, "stamped", "stamp %s --force", id(&u, 2));
        expect(&u, "current", 0, id(&u, 2));
    }
}
END_TEST

START_TEST(revisions_that_do_not_differ_in_schema_are_not_guessed_between)
{
    static const struct revision_text revisions[] = {
        {"create table a (x int);", "drop table a;", false},
        {"insert into a values (1);", "delete from a;", false},
        {0},
    };
    struct user u;
    EACH_USER(u, revisions)
    {
        expect(&u, "upgrade -q", 0, NULL);
        forget(&u);
        expect(&u, "stamp --detect", 1, "several revisions");
        has_table(&u, version_table(&u), false);
        expectf(&u, 0, "stamped", "stamp %s", id(&u, 1));
    }
}
END_TEST

START_TEST(a_stamp_is_compared_with_the_schema)
{
    struct user u;
    EACH_USER(u, three)
    {
        expectf(&u, 0, NULL, "upgrade -q %s", id(&u, 2));
        expect(&u, "stamp head", 1, "- table ");
        expect(&u, "current", 0, id(&u, 2));
        expect(&u, "stamp base", 1, "+ table ");
        expectf(&u, 0, NULL, "stamp %s", id(&u, 2));
        expect(&u, "stamp head --force", 0, "stamped");
        expect(&u, "current", 0, id(&u, 3));
    }
}
END_TEST

START_TEST(owners_and_grants_do_not_hinder_a_detection)
{
    struct user u;
    user_open(&u, "dbmate", &engine_postgres, three);
    expect(&u, "upgrade -q", 0, NULL);
    forget(&u);
    sql(&u, "create role belay_test_owner; alter table a owner to belay_test_owner;"
            " grant select on b to belay_test_owner");
    expect(&u, "stamp --detect", 0, "stamped 3");
    sql(&u, "drop owned by belay_test_owner cascade; drop role belay_test_owner");
    user_close(&u);
}
END_TEST

START_TEST(a_version_that_does_not_exist_is_explained)
{
    struct user u;
    EACH_USER(u, three)
    {
        expect(&u, "upgrade -q", 0, NULL);
        _cleanup_free_ char *update =
            strcmp(u.p.format, "belay") == 0 ? xstrdup("update belay_version set revision = 'r33'"
                                                       " where revision = 'r3'")
            : strcmp(u.p.format, "goose") == 0
                ? xstrdup("update goose_db_version set version_id = 33 where version_id = 3")
            : strcmp(u.p.format, "diesel") == 0
                ? xstrdup("update __diesel_schema_migrations set version = '20200104000000'"
                          " where version = '20200103000000'")
            : strcmp(u.p.format, "dbmate") == 0
                ? xstrdup("update schema_migrations set version = '33' where version = '3'")
                : xstrdup("update schema_migrations set version = 33");
        sql(&u, update);
        expect(&u, "upgrade", 1, "no such revision");
        expect(&u, "downgrade -1", 1, "--detect\" finds");
        expect(&u, "current", 1, "no such revision");
        expect(&u, "stamp --detect", 0, NULL);
        expect(&u, "current", 0, id(&u, 3));
    }
}
END_TEST

/* ---- branches ---- */

static void write_branches(struct user *u)
{
    folder_fill(u->p.dir,
                (const struct file[]){
                    {"m/1.sql", "-- revision: one\n-- upgrade\ncreate table a (x int);\n"
                                "-- downgrade\ndrop table a;\n"},
                    {"m/2.sql", "-- revision: two\n-- revises: one\n-- branch: left\n-- upgrade\n"
                                "create table b (x int);\n-- downgrade\ndrop table b;\n"},
                    {"m/3.sql", "-- revision: three\n-- revises: one\n-- branch: right\n"
                                "-- upgrade\ncreate table c (x int);\n-- downgrade\ndrop table "
                                "c;\n"},
                    {0}});
}

START_TEST(branches_are_shown_named_and_merged)
{
    static const struct revision_text none[] = {{0}};
    for (size_t e = 0; engines[e]; e++) {
        struct user u;
        user_open(&u, "belay", engines[e], none);
        write_branches(&u);
        expect(&u, "heads", 0, "two (left) (head)\nthree (right) (head)\n");
        expect(&u, "branches", 0, "one (branchpoint), 1\n    -> two (left) (head)");
        expect(&u, "history", 0, "one -> three (right) (head)");
        expect(&u, "history two:", 0, "one -> two (left) (head)");
        expect(&u, "show right", 0, "Rev: three (right) (head)\nParent: one\n");
        expect(&u, "upgrade", 2, "2 heads");
        expect(&u, "upgrade right@head", 0, "applied now: three");
        expect(&u, "upgrade left@head", 0, "applied now: two, three");
        expect(&u, "history -i", 0, "three (right) (head) (current)");
        expect(&u, "downgrade -1", 2, "ambiguous");
        expect(&u, "downgrade left@-1", 0, "applied now: three");
        forget(&u);
        expect(&u, "stamp --detect", 0, "stamped three");
        expect(&u, "revision -m x --engine sqlite", 2, "--head");
        expectf(&u, 0, "clean", "merge -m join --engine %s", engine_name(engines[e]));
        expect(&u, "upgrade", 0, "applied now");
        expect(&u, "heads", 0, "(mergepoint)");
        expect(&u, "merge", 2, "a merge needs two revisions");
        user_close(&u);
    }
}
END_TEST

/* ---- new revisions ---- */

START_TEST(a_new_revision_is_written_and_checked)
{
    struct user u;
    EACH_USER(u, three)
    {
        _cleanup_run_ struct run r = run(&u, "revision -m more");
        ck_assert_msg(r.r.status == 0, SAID, SAID_ARGS(&u, "revision -m more", r));
        ck_assert_msg(strstr(r.out, "wrote ") && strstr(r.out, "_more"), SAID,
                      SAID_ARGS(&u, "revision", r));
        ck_assert_msg(strstr(r.out, "clean") != NULL, SAID, SAID_ARGS(&u, "revision", r));
        expect(&u, "upgrade", 0, "more");
        _cleanup_run_ struct run quick = run(&u, "revision -m again --no-check");
        ck_assert_int_eq(quick.r.status, 0);
        ck_assert_ptr_null(strstr(quick.out, "clean"));
        expect(&u, "revision -m x --autogenerate", 2, "autogenerate needs models");
    }
}
END_TEST

/* ---- what the environment does ---- */

static const struct {
    const char *url, *args;
    int status;
    const char *part;
} misuse[] = {
    {NULL, "upgrade", 2, "which database?"},
    {NULL, "current", 2, "which database?"},
    {"mysql://app:secret@h/db", "upgrade", 2, "mysql://"},
    {"postgresql://app:secret@127.0.0.1:1/db", "upgrade", 3, "cannot connect"},
    {"postgresql://app:secret@127.0.0.1:1/db", "current", 3, "cannot connect"},
    {"sqlite:///none/x.db", "upgrade", 3, "none/x.db"},
    {"sqlite:///none.db", "current", 3, "there is no database"},
    {"sqlite:///none.db", "stamp head", 3, "there is no database"},
    {"sqlite:///r1.sql", "upgrade", 3, "not an SQLite database"},
    {"sqlite:///new.db", "upgrade nothing", 2, "no revision \"nothing\""},
    {"sqlite:///new.db", "downgrade", 2, "too few arguments"},
    {"sqlite:///new.db", "downgrade -1", 2, "nothing is applied"},
    {"sqlite:///new.db", "upgrade --sqll", 2, "did you mean --sql?"},
    {"sqlite:///new.db", "stamp", 2, "stamp what?"},
    {"sqlite:///new.db", "stamp head --detect", 2, "--detect"},
    {"sqlite:///new.db", "stamp --detect --force", 2, "do not go together"},
    {"sqlite:///new.db", "show base", 2, "a revision is needed"},
    {"sqlite:///new.db", "show r9", 2, "no revision \"r9\""},
    {"sqlite:///new.db", "history r1", 2, "not a range"},
    {"sqlite:///new.db", "history --format junit", 2, "does not write junit"},
    {"sqlite:///new.db", "revision", 2, "what does the revision do?"},
    {"sqlite:///new.db", "revision -m x --head r7", 2, "--head"},
    {"sqlite:///new.db", "revision -m x --rev-id r1", 2, "there is a revision r1 already"},
    {"sqlite:///new.db", "merge", 2, "a merge needs two"},
    {"sqlite:///new.db", "merge r1 r2", 2, "ancestor"},
};

START_TEST(misuse_and_missing_databases_are_one_clear_error)
{
    struct user u;
    user_open(&u, "belay", &engine_sqlite, three);
    _cleanup_free_ char *dir = path_join(u.p.dir, "m");
    _cleanup_run_ struct run r = run_in(dir, misuse[_i].url, misuse[_i].args);
    ck_assert_msg(r.r.status == misuse[_i].status && strstr(r.errors, misuse[_i].part),
                  "status %d " SAID, r.r.status, SAID_ARGS(&u, misuse[_i].args, r));
    ck_assert_msg(strncmp(r.errors, "belay: ", 7) == 0, "%s", r.errors);
    ck_assert_ptr_null(strstr(r.errors + 1, "belay: "));
    ck_assert_ptr_null(strstr(r.errors, "secret"));
    _cleanup_free_ char *made = path_join(dir, "new.db");
    ck_assert(!file_exists(made));
    user_close(&u);
}
END_TEST

START_TEST(a_missing_database_of_a_server_is_one_clear_error)
{
    struct user u;
    user_open(&u, "belay", &engine_postgres, three);
    const char *name = strstr(u.url, "belay_");
    ck_assert_ptr_nonnull(name);
    _cleanup_free_ char *url = xstrdup(u.url);
    memcpy(url + (name - u.url), "nelay", 5);
    _cleanup_free_ char *dir = path_join(u.p.dir, "m");
    _cleanup_run_ struct run r = run_in(dir, url, "upgrade");
    ck_assert_msg(r.r.status == 3 && strstr(r.errors, "does not exist"), "%s", r.errors);
    user_close(&u);
}
END_TEST

START_TEST(a_read_only_database_is_left_as_it_is)
{
    struct user u;
    EACH_USER(u, three)
    {
        bool sqlite = u.p.engine == &engine_sqlite;
        expect(&u, "upgrade -q +1", 0, NULL);
        if (sqlite) {
            _cleanup_free_ char *url = xasprintf("file:%s/d.db?mode=ro", u.p.dir);
            free(TAKE_PTR(u.url));
            u.url = TAKE_PTR(url);
        } else {
            sql(&u, "do $$ begin execute format('alter database %I set "
                    "default_transaction_read_only = on', current_database()); end $$");
        }
        expect(&u, "current", 0, id(&u, 1));
        _cleanup_run_ struct run r = run(&u, "upgrade");
        ck_assert_msg(r.r.status != 0 &&
                          (strstr(r.errors, "read-only") || strstr(r.errors, "readonly")),
                      "status %d " SAID, r.r.status, SAID_ARGS(&u, "upgrade", r));
        expect(&u, "current", 0, id(&u, 1));
    }
}
END_TEST

START_TEST(a_lock_that_others_hold_is_the_environments_fault)
{
    static const struct revision_text revisions[] = {
        {"create table a (x int);", "drop table a;", false},
        {"set local lock_timeout = '20ms'; alter table a add column y int;",
         "alter table a drop column y;", false},
        {0},
    };
    _cleanup_err_ struct err err = {0};
    _cleanup_db_ struct db *db = NULL;
    struct user u;
    user_open(&u, "dbmate", &engine_postgres, revisions);
    expect(&u, "upgrade +1", 0, NULL);
    ASSERT_OK(db_open(&engine_postgres, u.url, 0, &db, &err), &err);
    ASSERT_OK(db_run(db, "begin; lock table a", DB_RUN_WHOLE, NULL, &err), &err);
    expect(&u, "upgrade", 3, "another session holds a lock");
    ASSERT_OK(db_run(db, "rollback", DB_RUN_WHOLE, NULL, &err), &err);
    expect(&u, "upgrade", 0, "applied now: 2");
    db_close(TAKE_PTR(db));
    user_close(&u);
}
END_TEST

START_TEST(a_lost_connection_is_told_with_what_to_do)
{
    static const struct revision_text revisions[] = {
        {"create table a (x int);", "drop table a;", false},
        {"select pg_terminate_backend(pg_backend_pid());", "select 1;", false},
        {0},
    };
    struct user u;
    user_open(&u, "dbmate", &engine_postgres, revisions);
    _cleanup_run_ struct run r = run(&u, "upgrade");
    ck_assert_msg(r.r.status == 3 && strstr(r.errors, "revision 2") &&
                      strstr(r.errors, "\"belay current\" says whether"),
                  "%s", r.errors);
    expect(&u, "current", 0, "1\n");
    user_close(&u);
}
END_TEST

START_TEST(an_interrupt_stops_the_step_and_says_what_is_applied)
{
    static const struct revision_text revisions[] = {
        {"create table a (x int);", "drop table a;", false},
        {"select pg_sleep(600);", "select 1;", false},
        {"create table c (x int);", "drop table c;", false},
        {0},
    };
    struct user u;
    user_open(&u, "dbmate", &engine_postgres, revisions);
    _cleanup_free_ char *dir = path_join(u.p.dir, "m");
    int out[2];
    ck_assert_int_eq(pipe(out), 0);
    pid_t pid = fork();
    if (pid == 0) {
        dup2(out[1], 1);
        dup2(out[1], 2);
        close(out[0]);
        setenv("DATABASE_URL", u.url, 1);
        if (chdir(dir) == 0)
            execl(getenv("BELAY_BIN"), "belay", "upgrade", (char *)NULL);
        _exit(127);
    }
    close(out[1]);
    _cleanup_str_ struct str text = {0};
    char buffer[512];
    bool sent = false;
    ssize_t n;
    while ((n = read(out[0], buffer, sizeof(buffer))) > 0) {
        str_addn(&text, buffer, (size_t)n);
        if (!sent && strstr(str_get(&text), "upgrade 1 -> 2")) {
            kill(pid, SIGINT);
            sent = true;
        }
    }
    int status;
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    close(out[0]);
    ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 3, "%x %s", status, str_get(&text));
    ck_assert_msg(strstr(str_get(&text), "applied now: 1") != NULL, "%s", str_get(&text));
    ck_assert_msg(strstr(str_get(&text), "interrupted") != NULL, "%s", str_get(&text));
    has_table(&u, "c", false);
    user_close(&u);
}
END_TEST

START_TEST(json_of_the_verbs_parses)
{
    static const char *const verbs[] = {"current", "history", "heads", "show head"};
    struct user u;
    user_open(&u, "goose", &engine_sqlite, three);
    expect(&u, "upgrade -q", 0, NULL);
    for (size_t i = 0; i < ARRAY_LEN(verbs); i++) {
        _cleanup_free_ char *args = xasprintf("%s --format json", verbs[i]);
        _cleanup_run_ struct run r = run(&u, args);
        json_t *j = json_loads(r.out, 0, NULL);
        ck_assert_msg(r.r.status == 0 && json_is_object(j), SAID, SAID_ARGS(&u, args, r));
        ck_assert_int_eq(json_integer_value(json_object_get(j, "version")), 1);
        json_decref(j);
    }
    user_close(&u);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("verbs");
    SUITE_ADD(s, upgrade_and_downgrade_go_where_they_are_told);
    SUITE_ADD(s, a_step_is_printed_as_alembic_prints_it);
    SUITE_ADD(s, a_failed_step_says_where_and_what_is_applied);
    SUITE_ADD(s, a_missing_downgrade_is_found_before_anything_is_taken_back);
    SUITE_ADD(s, the_sql_of_a_range_runs_by_hand);
    SUITE_ADD(s, belay_and_the_tool_take_turns_on_one_database);
    SUITE_ADD(s, tables_without_a_version_table_are_refused_with_a_proposal);
    SUITE_ADD(s, what_fits_no_revision_is_listed_with_the_differences_and_not_stamped);
    SUITE_ADD(s, revisions_that_do_not_differ_in_schema_are_not_guessed_between);
    SUITE_ADD(s, a_stamp_is_compared_with_the_schema);
    SUITE_ADD(s, owners_and_grants_do_not_hinder_a_detection);
    SUITE_ADD(s, a_version_that_does_not_exist_is_explained);
    SUITE_ADD(s, branches_are_shown_named_and_merged);
    SUITE_ADD(s, a_new_revision_is_written_and_checked);
    SUITE_ADD_LOOP(s, misuse_and_missing_databases_are_one_clear_error, ARRAY_LEN(misuse));
    SUITE_ADD(s, a_missing_database_of_a_server_is_one_clear_error);
    SUITE_ADD(s, a_read_only_database_is_left_as_it_is);
    SUITE_ADD(s, a_lock_that_others_hold_is_the_environments_fault);
    SUITE_ADD(s, a_lost_connection_is_told_with_what_to_do);
    SUITE_ADD(s, an_interrupt_stops_the_step_and_says_what_is_applied);
    SUITE_ADD(s, json_of_the_verbs_parses);
    return fixture_run(s);
}
