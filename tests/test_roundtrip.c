/*
 * The check itself: histories with planted faults, each with the findings that must come out, and
 * only those. One case is one history in dbmate's format, run on the engines it names.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness/base/file.h"
#include "runner/roundtrip.h"
#include "tests/fixture.h"

enum {
    LITE = 1,
    PG = 2,
    BOTH = 3,
};

#define MAX_STEPS 6

/* dbmate's sections; down NULL: none. */
struct step {
    const char *up, *down;
};

struct history {
    const char *name;
    unsigned engines;
    struct step steps[MAX_STEPS];
    const char *expected; /* "finding revision: object, object; ...", sorted by revision */
    const char *straight, *descent; /* NULL: whatever it is */
};

/* A test case with the findings alone, and one with the two runs at the end as well. */
#define HISTORY(name, engines, expected, ...)                                                      \
    {                                                                                              \
        name, engines, {__VA_ARGS__}, expected, NULL, NULL                                         \
    }
#define HISTORY_RUNS(name, engines, straight, descent, expected, ...)                              \
    {                                                                                              \
        name, engines, {__VA_ARGS__}, expected, straight, descent                                  \
    }

#define USERS                                                                                      \
    {                                                                                              \
        "create table users (id integer primary key, name text);", "drop table users;"             \
    }
#define TOUCH(n)                                                                                   \
    {                                                                                              \
        "create table t" #n " (a integer);", "drop table t" #n ";"                                 \
    }

static const struct history histories[] = {
    HISTORY_RUNS("a clean history has no findings", BOTH, "equal", "equal", "", USERS, TOUCH(2),
                 TOUCH(3)),
    HISTORY("an index left behind is a trace of the revision that made it", BOTH,
            "downgrade-leaves-trace 2: index users_name", USERS,
            {"create index users_name on users (name);", "select 1;"}, TOUCH(3)),
    HISTORY("a table dropped without being recreated is a trace", BOTH,
            "downgrade-leaves-trace 3: table t2", USERS, TOUCH(2), {"drop table t2;", "select 1;"},
            TOUCH(4)),
    HISTORY_RUNS("a failing upgrade is reported, and nothing above it is blamed", BOTH,
                 "not run: 2 does not upgrade", "equal", "upgrade-fails 2", USERS,
                 {"create table users (id integer);", "select 1;"}, TOUCH(3)),
    HISTORY("a failing downgrade is reported, and the check goes on above it", BOTH,
            "downgrade-fails 2", USERS, {"create table t2 (a integer);", "drop table t3;"},
            TOUCH(3)),
    HISTORY("every fault of a history is found in one run", BOTH,
            "downgrade-fails 2; downgrade-leaves-trace 3: index users_name; "
            "downgrade-leaves-trace 5: view v",
            USERS, {"create table t2 (a integer);", "drop table nothere;"},
            {"create index users_name on users (name);", "select 1;"}, TOUCH(4),
            {"create view v as select id from users;", "select 1;"}),
    HISTORY("a missing downgrade and an empty one are findings", BOTH,
            "downgrade-missing 2; downgrade-missing 3", USERS,
            {"create table t2 (a integer);", NULL}, {"create table t3 (a integer);", "-- later\n"}),
    HISTORY_RUNS("a revision that is empty both ways has no finding", BOTH, "equal", "equal", "",
                 USERS, {"-- nothing", "-- nothing"}, TOUCH(3)),
    HISTORY("an upgrade that cannot run twice is found", BOTH, "reupgrade-fails 2",
            {"create table log (a integer);", "drop table log;"},
            {"create table u (n integer not null); "
             "insert into u select case when count(*) = 0 then 1 end from log; "
             "insert into log values (1);",
             "drop table u;"}),
    HISTORY("columns that come back last are told apart from a trace", BOTH,
            "column-order-differs 2: column t.b",
            {"create table t (a integer, b integer, c integer);", "drop table t;"},
            {"alter table t drop column b;", "alter table t add column b integer;"}, TOUCH(3)),
    HISTORY("a column that comes back with another type is a trace", BOTH,
            "downgrade-leaves-trace 2: column t.b",
            {"create table t (a integer, b integer);", "drop table t;"},
            {"alter table t drop column b;", "alter table t add column b text;"}),
    HISTORY("a downgrade that raises on purpose is irreversible", PG, "irreversible 2", USERS,
            {"create table t2 (a integer);",
             "do $$ begin raise exception 'there is no way back'; end $$;"},
            TOUCH(3)),
    HISTORY("white space alone in a function body is told apart", PG,
            "whitespace-differs 2: function public.f()",
            {"create function f() returns int language sql as 'select  1';", "drop function f();"},
            {"create or replace function f() returns int language sql as 'select 1 + 1';",
             "create or replace function f() returns int language sql as 'select 1';"}),
    HISTORY("a comment alone is told apart", PG, "comment-differs 2: table public.users", USERS,
            {"comment on table users is 'people';", "select 1;"}),
    HISTORY("an enum type left behind is a trace", PG, "downgrade-leaves-trace 1: enum public.mood",
            {"create type mood as enum ('ok'); create table t (m mood);", "drop table t;"}),
    HISTORY("a role left behind on the server is a trace", PG,
            "downgrade-leaves-trace 1: role belay_test_left",
            {"create role belay_test_left;", "select 1;"}, TOUCH(2)),
    HISTORY_RUNS("a history that makes roles and drops them is clean", PG, "equal", "equal", "",
                 USERS,
                 {"create role belay_test_app; grant select on users to belay_test_app;",
                  "revoke select on users from belay_test_app; drop role belay_test_app;"},
                 TOUCH(3)),
    HISTORY_RUNS("a trace above a revision that makes a role is found all the same", PG, "equal",
                 "equal", "downgrade-leaves-trace 2: table public.t2",
                 {"create role belay_test_other;", "drop role belay_test_other;"},
                 {"create table t2 (a integer);", "select 1;"}, TOUCH(3)),
    HISTORY_RUNS("what differs from run to run by itself is nondeterministic, not a trace", PG,
                 "equal", "equal", "nondeterministic 2: view public.v",
                 {"create table t (a integer);", "drop table t;"},
                 {"do $$ begin execute format('create view v as select %L::text as made', "
                  "clock_timestamp()); end $$;",
                  "drop view v;"},
                 TOUCH(3)),
    HISTORY("a revision that leaves a transaction open is found", PG, "leaves-transaction-open 2",
            USERS, {"transaction:false\nbegin; create table t2 (a integer);", "select 1;"}),
    HISTORY("an index left invalid is found", PG,
            "invalid-index 2; downgrade-leaves-trace 2: constraint public.users.users_pkey", USERS,
            {"transaction:false\nupdate pg_index set indisvalid = false where indexrelid = "
             "'users_pkey'::regclass;",
             "select 1;"}),
    HISTORY_RUNS("a search_path that stays changed is found where production would feel it", PG,
                 "differs", "equal",
                 "changes-session 1; straight-run-differs 2: table public.users, table s.users",
                 {"create schema s; set search_path = s, public;", "drop schema s;"}, USERS),
    HISTORY_RUNS("a new enum value used by the next revision works step by step", PG, "equal",
                 "equal", "downgrade-missing 2",
                 {"create type mood as enum ('ok'); create table t (m mood);",
                  "drop table t; drop type mood;"},
                 {"alter type mood add value 'sad';", NULL},
                 {"insert into t values ('sad');", "delete from t;"}),
    HISTORY("a downgrade that only fails on the way down from the end is found", BOTH,
            "descent-fails 2", {"create table a (x integer);", "drop table a;"},
            /* its downgrade works until a later revision has left a row in its table */
            {"create table b (x integer); create table guard (n integer not null);",
             "insert into guard select case when count(*) = 0 then 1 end from b; "
             "drop table guard; drop table b;"},
            {"insert into b values (1);", "select 1;"}),
};

static char *folder_of(const struct history *h)
{
    char template[] = "/tmp/belay-history-XXXXXX";
    ck_assert_ptr_nonnull(mkdtemp(template));
    for (int i = 0; i < MAX_STEPS && h->steps[i].up; i++) {
        struct err err = {0};
        struct str s = {0};
        /* options stand on the marker's own line */
        bool options = str_starts(h->steps[i].up, "transaction:false");
        str_addf(&s, "-- migrate:up%s%s\n", options ? " " : "\n", h->steps[i].up);
        if (h->steps[i].down)
            str_addf(&s, "\n-- migrate:down\n%s\n", h->steps[i].down);
        char *path = xasprintf("%s/%d_step.sql", template, i + 1);
        ck_assert_int_eq(file_replace(path, s.p, s.len, 0644, &err), 0);
        free(path);
        str_release(&s);
    }
    return xstrdup(template);
}

/* "id revision: object, object; ..." without schema "public." on SQLite. */
static char *findings_of(const struct check_result *r)
{
    struct str s = {0};
    for (size_t i = 0; i < r->nfindings; i++) {
        const struct finding *f = &r->findings[i];
        str_addf(&s, "%s%s %s", s.len ? "; " : "", f->id->id, f->revision ? f->revision : "-");
        for (size_t k = 0; k < f->nchanges; k++)
            str_addf(&s, "%s %s", k ? "," : ":", f->changes[k].object);
    }
    return str_take(&s);
}

/* The expectations leave out "public." where both engines share a case. */
static char *without_public(const char *s)
{
    struct str out = {0};
    while (*s) {
        if (str_starts(s, "public."))
            s += strlen("public.");
        else
            str_addc(&out, *s++);
    }
    return str_take(&out);
}

static void check_history(const struct history *h, const struct engine *e, int two_threads)
{
    _cleanup_err_ struct err err = {0};
    _cleanup_source_ struct source *source = NULL;
    _cleanup_free_ char *dir = folder_of(h);
    struct check_result r = {0};
    if (source_open(&(struct source_options){.dir = dir, .format = "dbmate"}, &source, &err) < 0)
        ck_abort_msg("%s: %s", h->name, err.message);
    struct check_options o = {.source = source,
                              .engine = e,
                              .pool = fixture_pool(e),
                              .project = dir,
                              .two_threads = two_threads,
                              .today = "2026-01-01"};
    if (roundtrip_check(&o, &r, &err) < 0)
        ck_abort_msg("%s: %s", h->name, err.message);
    _cleanup_free_ char *found = findings_of(&r);
    _cleanup_free_ char *actual = without_public(found);
    _cleanup_free_ char *expected = without_public(h->expected);
    ck_assert_msg(strcmp(actual, expected) == 0, "%s (%s):\n  expected %s\n  found    %s", h->name,
                  engine_name(e), expected, actual);
    if (h->straight)
        ck_assert_str_eq(r.straight_run, h->straight);
    if (h->descent)
        ck_assert_str_eq(r.descent, h->descent);
    check_result_release(&r);
    tree_remove(dir, &err);
}

/* Roles that an earlier history left on the fixture's server. */
static void drop_roles(void)
{
    _cleanup_err_ struct err err = {0};
    _cleanup_scratch_ struct scratch *s = NULL;
    _cleanup_db_ struct db *db = NULL;
    ck_assert_int_eq(scratch_new(fixture_pool(&engine_postgres), &s, &err), 0);
    ck_assert_int_eq(db_open(&engine_postgres, scratch_url(s), DB_OPEN_SCRATCH, &db, &err), 0);
    ck_assert_int_eq(db_run(db,
                            "do $$ declare r text; begin for r in select rolname from pg_roles "
                            "where rolname like 'belay_test_%' loop execute format('drop role %I', "
                            "r); end loop; end $$",
                            DB_RUN_WHOLE, NULL, &err),
                     0);
}

static void check_case(int i, int two_threads)
{
    const struct history *h = &histories[i / 2];
    if (i % 2 == 0 && (h->engines & LITE))
        check_history(h, &engine_sqlite, two_threads);
    if (i % 2 == 1 && (h->engines & PG)) {
        drop_roles();
        check_history(h, &engine_postgres, two_threads);
    }
}

START_TEST(history_gives_the_findings_planted_in_it)
{
    check_case(_i, -1);
}
END_TEST

START_TEST(two_threads_give_the_same_findings)
{
    check_case(_i, 1);
}
END_TEST

static size_t steps_of(const struct history *h, int two_threads)
{
    _cleanup_err_ struct err err = {0};
    _cleanup_source_ struct source *source = NULL;
    _cleanup_free_ char *dir = folder_of(h);
    struct check_result r = {0};
    ck_assert_int_eq(
        source_open(&(struct source_options){.dir = dir, .format = "dbmate"}, &source, &err), 0);
    struct check_options o = {.source = source,
                              .engine = &engine_sqlite,
                              .pool = fixture_pool(&engine_sqlite),
                              .project = dir,
                              .two_threads = two_threads};
    ck_assert_int_eq(roundtrip_check(&o, &r, &err), 0);
    size_t steps = r.nsteps;
    check_result_release(&r);
    tree_remove(dir, &err);
    return steps;
}

START_TEST(two_threads_count_the_steps_that_one_counts)
{
    ck_assert_uint_eq(steps_of(&histories[0], -1), 3 * 5);
    ck_assert_uint_eq(steps_of(&histories[0], 1), 3 * 5);
    ck_assert_uint_eq(steps_of(&histories[1], 1), steps_of(&histories[1], -1));
}
END_TEST

int main(void)
{
    Suite *s = suite_create("roundtrip");
    SUITE_ADD_LOOP(s, history_gives_the_findings_planted_in_it, 2 * ARRAY_LEN(histories));
    SUITE_ADD_LOOP(s, two_threads_give_the_same_findings, 2 * ARRAY_LEN(histories));
    SUITE_ADD(s, two_threads_count_the_steps_that_one_counts);
    return fixture_run(s);
}
