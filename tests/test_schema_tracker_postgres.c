/*
 * The tracker gives what a full read gives: after every mutation of the mutation suite, after
 * random DDL of all kinds, and whatever is done to what it installed.
 */
#include "harness/schema/schema_postgres.h"
#include "tests/mutations_postgres.h"
#include "tests/schema_postgres_fixture.h"
#include "tests/suite.h"

static const struct schema_options everything = {.roles = true, .instrument = true};
static struct schema_tracker *tracker;
static struct db *second; /* full reads are on a session of their own */

static void begin_tracking(void)
{
    begin();
    ck_ok(db_open(&engine_postgres, scratch_url(scratch), DB_OPEN_SCRATCH, &second, err));
    ck_ok(schema_tracker_new(reader, &everything, &tracker, err));
}

static void end_tracking(void)
{
    schema_tracker_free(tracker);
    db_close(second);
    end();
}

static struct snapshot *tracked(void)
{
    struct snapshot *s = NULL;
    ck_ok(schema_tracker_read(tracker, false, &s, err));
    return s;
}

/* Adds to failures when the tracker does not give what a full read gives. */
static void compare(const char *after, struct str *failures)
{
    struct snapshot *mine = tracked(), *full = read_schema(second, &everything);
    if (!snapshot_equal(mine, full)) {
        _cleanup_free_ char *text = changes(mine, full);
        str_addf(failures, "after: %s\n%s", after, text);
        /* from here on as it should be, so that one fault is not reported again and again */
        struct snapshot *repaired = NULL;
        ck_ok(schema_tracker_read(tracker, true, &repaired, err));
        snapshot_free(repaired);
    }
    snapshot_free(mine);
    snapshot_free(full);
}

START_TEST(the_tracker_follows_every_mutation)
{
    const struct mutation_group *g = &mutation_groups[_i];
    begin_tracking();
    run("create role mut_owner superuser");
    run("set session authorization mut_owner");
    for (const char *const *sql = g->setup; *sql; sql++)
        run(*sql);
    _cleanup_str_ struct str failures = {0};
    for (const struct mutation *m = g->mutations; m->sql; m++) {
        _cleanup_free_ char *sql = with_database(m->sql);
        run(sql);
        /* writes to the catalogs themselves are what nobody sees */
        if (str_starts(sql, "update pg_seclabel") || str_starts(sql, "insert into pg_seclabel") ||
            str_starts(sql, "delete from pg_seclabel"))
            continue;
        compare(sql, &failures);
    }
    end_tracking();
    ck_assert_msg(failures.len == 0, "%s:\n%s", g->name, str_get(&failures));
}
END_TEST

/*
 * Random DDL. %t, %u: tables t0 to t5; %c: a column c0 to c3; %n: a number; %f: a function; %s: one
 * of the schemas a and b. Many statements fail, as they do in life; some run in a transaction that
 * is rolled back, under another role, or in the second session.
 */
static const char *const random_ddl[] = {
    "create table %s.%t (id serial primary key, c0 int, c1 text default 'x')",
    "create table %s.%t (id int generated always as identity, c0 int unique, c2 numeric(8, 2))",
    "create table %s.%t (c0 int, c1 int) partition by range (c0)",
    "create table %s.%t partition of %s.%u for values from (%n) to (1000)",
    "create table %s.%t partition of %s.%u default",
    "create table %s.%t () inherits (%s.%u)",
    "create table %s.%t (like %s.%u including all)",
    "create table %s.%t as select 1 as c0, 'x' as c1",
    "create unlogged table %s.%t (c0 int check (c0 > %n))",
    "create temp table %t (c0 serial)",
    "drop table %s.%t",
    "drop table %s.%t cascade",
    "drop table %s.%t, %s.%u cascade",
    "alter table %s.%t add column %c int",
    "alter table %s.%t add column %c text not null default 'd%n'",
    "alter table %s.%t drop column %c",
    "alter table %s.%t drop column %c cascade",
    "alter table %s.%t drop column %c, add column %c bigint",
    "alter table %s.%t rename column %c to %c",
    "alter table %s.%t drop column c0; alter table %s.%t rename column c1 to c0",
    "alter table %s.%t rename to %u",
    "alter table %s.%t set schema %s",
    "alter table %s.%t alter column %c type bigint",
    "alter table %s.%t alter column %c set default %n",
    "alter table %s.%t alter column %c drop default",
    "alter table %s.%t alter column %c set not null",
    "alter table %s.%t add constraint k%n check (%c <> %n)",
    "alter table %s.%t add constraint k%n foreign key (%c) references %s.%u (id)",
    "alter table %s.%t add constraint k%n foreign key (%c) references %s.%u (c0) on delete cascade",
    "alter table %s.%t drop constraint k%n",
    "alter table %s.%t drop constraint %t_pkey cascade",
    "alter table %s.%t rename constraint k%n to k%n",
    "alter table %s.%t owner to other",
    "alter table %s.%t inherit %s.%u",
    "alter table %s.%t no inherit %s.%u",
    "alter table %s.%t attach partition %s.%u default",
    "alter table %s.%t detach partition %s.%u",
    "alter table %s.%t enable row level security",
    "alter table %s.%t set (fillfactor = 7%n)",
    "alter table %s.%t replica identity full",
    "alter table %s.%t set unlogged",
    "alter table %s.%t disable trigger all",
    "create index on %s.%t (%c)",
    "create unique index i%n on %s.%t (%c) where %c is not null",
    "create index concurrently i%n on %s.%t (%c)",
    "drop index %s.i%n",
    "drop index concurrently %s.i%n",
    "reindex table concurrently %s.%t",
    "alter index %s.i%n rename to i%n",
    "alter table %s.%t replica identity using index i%n",
    "cluster %s.%t using i%n",
    "alter table %s.%t set without cluster",
    "create statistics %s.st%n on %c, %c from %s.%t",
    "drop statistics %s.st%n",
    "create view %s.v%n as select * from %s.%t",
    "create or replace view %s.v%n as select c0 from %s.%t where c0 > %n",
    "create view %s.v%n as select * from %s.v%n",
    "drop view %s.v%n",
    "drop view %s.v%n cascade",
    "alter view %s.v%n rename column c0 to %c",
    "alter view %s.v%n rename to v%n",
    "create materialized view %s.m%n as select c0 from %s.%t",
    "refresh materialized view %s.m%n with no data",
    "refresh materialized view %s.m%n",
    "create index on %s.m%n (c0)",
    "drop materialized view %s.m%n",
    "create sequence %s.s%n",
    "alter sequence %s.s%n increment %n owned by %s.%t.%c",
    "drop sequence %s.s%n cascade",
    "alter table %s.%t alter %c set default nextval('%s.s%n')",
    "create function %s.%f() returns int language sql as 'select %n'",
    "create or replace function %s.%f(a int default %n) returns int language sql as 'select a'",
    "create function %s.%f(%s.%t) returns int language sql as 'select 1'",
    "create or replace function %s.%f() returns trigger language plpgsql as 'begin return new; "
    "end'",
    "create function %s.%f(a %s.e%n) returns int begin atomic select count(*) from %s.%t; end",
    "alter function %s.%f() rename to %f",
    "alter function %s.%f() immutable",
    "drop function %s.%f() cascade",
    "drop routine %s.%f",
    "create trigger tr%n before insert on %s.%t for each row execute function %s.%f()",
    "alter trigger tr%n on %s.%t rename to tr%n",
    "drop trigger tr%n on %s.%t",
    "create policy p%n on %s.%t using (%c > %n)",
    "alter policy p%n on %s.%t to other",
    "drop policy p%n on %s.%t",
    "create rule r%n as on insert to %s.%t do also notify x",
    "drop rule r%n on %s.%t",
    "create type %s.e%n as enum ('a', 'b%n')",
    "alter type %s.e%n add value 'c%n'",
    "alter type %s.e%n rename value 'a' to 'z'",
    "create type %s.ct%n as (x int, y text)",
    "alter type %s.ct%n add attribute z%n int",
    "alter type %s.ct%n rename attribute x to w cascade",
    "create table %s.%t of %s.ct%n",
    "create type %s.rg%n as range (subtype = float8)",
    "create domain %s.d%n as int check (value > %n)",
    "alter domain %s.d%n add check (value <> %n)",
    "alter table %s.%t add column %c %s.e%n default 'a'",
    "alter table %s.%t add column %c %s.d%n",
    "alter table %s.%t add column %c %s.ct%n",
    "drop type %s.e%n",
    "drop type %s.e%n cascade",
    "drop type %s.ct%n cascade",
    "drop type %s.rg%n cascade",
    "drop domain %s.d%n cascade",
    "create schema a",
    "create schema b",
    "drop schema b cascade",
    "alter schema b rename to a",
    "grant select on %s.%t to other",
    "revoke all on %s.%t from other",
    "grant execute on function %s.%f() to other",
    "alter default privileges in schema %s grant select on tables to other",
    "comment on table %s.%t is 'c%n'",
    "comment on column %s.%t.%c is 'c%n'",
    "comment on constraint k%n on %s.%t is 'c%n'",
    "comment on function %s.%f() is 'c%n'",
    "comment on index %s.i%n is 'c%n'",
    "comment on type %s.e%n is 'c%n'",
    "comment on schema %s is 'c%n'",
    "create publication pub%n for table %s.%t",
    "drop publication pub%n",
    "create extension if not exists citext schema a",
    "drop extension citext cascade",
    "alter function %s.%f() depends on extension citext",
    "alter index %s.i%n depends on extension citext",
    "create collation %s.l%n from \"C\"",
    "drop collation %s.l%n",
    "create aggregate %s.agg%n(int) (sfunc = int4pl, stype = int)",
    "drop aggregate %s.agg%n(int)",
    "create operator %s.=== (leftarg = int, rightarg = int, function = int4eq)",
    "drop operator %s.=== (int, int)",
    "create event trigger et execute function %s.%f()",
    "alter role other set work_mem = '%n%nMB'",
    "alter role other login",
    "comment on role other is 'c%n'",
    "drop owned by other",
    "reassign owned by other to current_user",
    "do $$begin create table %s.%t (c0 int); alter table %s.%t add c1 int; end$$",
    "do $$begin drop table %s.%t cascade; create table %s.%t (c1 text); end$$",
    "do $$begin begin create table %s.%t (c9 int); raise 'no'; exception when others then null; "
    "end;"
    " create table %s.%u (c8 int); end$$",
    "create table %s.%t (c0 int); drop table %s.%t; create table %s.%t (c0 text)",
    "alter table %s.%t rename to x; alter table x rename to %t",
    "alter table %s.%t rename to x; alter table %s.%u rename to %t; alter table %s.x rename to %u",
    "set role other",
    "set role none",
    "set search_path = %s",
    "set session_replication_role = replica",
    "reset all",
};

static unsigned random_state;

static unsigned pick(unsigned n)
{
    random_state = random_state * 1103515245 + 12345;
    return (random_state >> 16) % n;
}

static char *random_statement(void)
{
    struct str s = {0};
    unsigned t = pick(6), u = pick(6);
    for (const char *p = random_ddl[pick(ARRAY_LEN(random_ddl))]; *p; p++) {
        if (*p != '%') {
            str_addc(&s, *p);
            continue;
        }
        switch (*++p) {
        case 't':
            str_addf(&s, "t%u", t);
            break;
        case 'u':
            str_addf(&s, "t%u", u);
            break;
        case 'c':
            str_addf(&s, "c%u", pick(4));
            break;
        case 'n':
            str_addf(&s, "%u", pick(3) + 1);
            break;
        case 'f':
            str_addf(&s, "f%u", pick(3));
            break;
        case 's': /* mostly a, so that statements find what others made */
            str_addc(&s, pick(4) ? 'a' : 'b');
            break;
        default:
            ck_abort_msg("unknown placeholder %%%c", *p);
        }
    }
    return str_take(&s);
}

/* Runs sql, or fails to. */
static bool attempt(struct db *with, const char *sql)
{
    struct err e = {0};
    bool ok = db_run(with, sql, DB_RUN_WHOLE, NULL, &e) == 0;
    err_release(&e);
    return ok;
}

#define RANDOM_STEPS 300

START_TEST(the_tracker_follows_random_ddl)
{
    begin_tracking();
    random_state = 20240229 + (unsigned)_i;
    run("create schema a; create schema b; create role other; grant create on schema a to other");
    struct db *other = NULL;
    ck_ok(db_open(&engine_postgres, scratch_url(scratch), DB_OPEN_SCRATCH, &other, err));
    _cleanup_str_ struct str failures = {0};
    size_t done = 0;
    for (int i = 0; i < RANDOM_STEPS; i++) {
        _cleanup_str_ struct str log = {0};
        struct db *with = pick(8) ? db : other;
        unsigned way = pick(10); /* 0: rolled back; 1: one transaction; else each on its own */
        unsigned n = pick(3) + 1;
        if (way < 2)
            attempt(with, "begin");
        for (unsigned k = 0; k < n; k++) {
            _cleanup_free_ char *sql = random_statement();
            str_addf(&log, "%s;\n", sql);
            done += attempt(with, sql);
        }
        if (way < 2)
            attempt(with, way == 0 ? "rollback" : "commit");
        compare(str_get(&log), &failures);
        if (failures.len > 4000)
            break;
    }
    size_t full = postgres_tracker_full_reads(tracker);
    db_close(other);
    end_tracking();
    ck_assert_msg(failures.len == 0, "seed %d:\n%s", _i, str_get(&failures));
    ck_assert_uint_gt(done, RANDOM_STEPS / 4);
    ck_assert_uint_lt(full, RANDOM_STEPS * 3 / 4);
}
END_TEST

START_TEST(a_change_of_one_table_is_no_full_read)
{
    begin_tracking();
    run("create table one (a int); create table two (a int)");
    snapshot_free(tracked());
    size_t full = postgres_tracker_full_reads(tracker);
    const char *const steps[] = {
        "create table t (id serial primary key, a text)",
        "alter table t add column b int",
        "create index on t (b)",
        "alter table t add constraint k check (b > 0)",
        "create function f() returns int language sql as 'select 1'",
        "create type e as enum ('a')",
        "alter table t drop column b",
        "create view v as select * from t",
        "drop view v",
        "drop function f()",
        "drop table t",
        "drop type e",
    };
    _cleanup_str_ struct str failures = {0};
    for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
        run(steps[i]);
        compare(steps[i], &failures);
    }
    ck_assert_str_eq(str_get(&failures), "");
    ck_assert_uint_eq(postgres_tracker_full_reads(tracker), full);
    end_tracking();
}
END_TEST

START_TEST(an_unchanged_schema_gives_the_same_objects)
{
    begin_tracking();
    run("create table t (a int)");
    struct snapshot *a = tracked(), *b = tracked();
    ck_assert_uint_eq(a->n, b->n);
    for (size_t i = 0; i < a->n; i++)
        ck_assert_ptr_eq(a->objects[i], b->objects[i]);
    snapshot_free(a);
    snapshot_free(b);
    end_tracking();
}
END_TEST

static const char *const damage[] = {
    "drop schema belay_tracker cascade",
    "drop event trigger belay_tracker_ddl",
    "drop event trigger belay_tracker_drop",
    "alter event trigger belay_tracker_ddl disable",
    "drop table belay_tracker.log",
    "drop owned by current_user cascade",
    "alter schema belay_tracker rename to gone",
};

START_TEST(damaged_instrumentation_is_noticed)
{
    begin_tracking();
    run("create table t (a int)");
    snapshot_free(tracked());
    attempt(db, damage[_i]);
    _cleanup_str_ struct str failures = {0};
    const char *const steps[] = {"create table after (a int)", "alter table after add b int",
                                 "drop table after"};
    for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
        attempt(db, steps[i]);
        compare(steps[i], &failures);
    }
    end_tracking();
    ck_assert_msg(failures.len == 0, "%s:\n%s", damage[_i], str_get(&failures));
}
END_TEST

START_TEST(a_copy_of_an_instrumented_database_is_tracked)
{
    begin_tracking();
    run("create table t (a int)");
    schema_tracker_free(tracker);
    tracker = NULL;
    db_close(second);
    db_close(db);
    db_close(reader);
    struct scratch *copy = NULL;
    ck_ok(scratch_copy(scratch, &copy, err));
    ck_ok(db_open(&engine_postgres, scratch_url(copy), DB_OPEN_SCRATCH, &db, err));
    ck_ok(db_open(&engine_postgres, scratch_url(copy), DB_OPEN_SCRATCH, &reader, err));
    ck_ok(db_open(&engine_postgres, scratch_url(copy), DB_OPEN_SCRATCH, &second, err));
    ck_ok(schema_tracker_new(reader, &everything, &tracker, err));
    _cleanup_str_ struct str failures = {0};
    compare("the copy", &failures);
    run("alter table t add b int");
    compare("a change", &failures);
    ck_assert_str_eq(str_get(&failures), "");
    schema_tracker_free(tracker);
    db_close(second);
    db_close(db);
    db_close(reader);
    scratch_free(copy);
    ck_ok(db_open(&engine_postgres, scratch_url(scratch), DB_OPEN_SCRATCH, &db, err));
    ck_ok(db_open(&engine_postgres, scratch_url(scratch), DB_OPEN_SCRATCH, &reader, err));
    end();
}
END_TEST

START_TEST(removing_leaves_no_trace)
{
    begin();
    static const char traces[] =
        "select (select count(*) from pg_namespace where nspname like 'belay%')"
        " + (select count(*) from pg_event_trigger) + (select count(*) from pg_proc p"
        "  where p.oid >= 16384) + (select count(*) from pg_class where oid >= 16384)";
    _cleanup_free_ char *before = NULL, *during = NULL, *after = NULL;
    ck_ok(db_query_text(db, traces, NULL, 0, &before, err));
    ck_ok(schema_tracker_new(reader, &everything, &tracker, err));
    snapshot_free(tracked());
    schema_tracker_free(tracker);
    ck_ok(db_query_text(db, traces, NULL, 0, &during, err));
    ck_ok(schema_tracker_remove(db, err));
    ck_ok(db_query_text(db, traces, NULL, 0, &after, err));
    ck_assert_str_ne(before, during);
    ck_assert_str_eq(before, after);
    end();
}
END_TEST

START_TEST(without_instrumentation_every_read_is_full)
{
    begin();
    run("create role plain login");
    ck_ok(db_run(reader, "set session authorization plain", DB_RUN_WHOLE, NULL, err));
    ck_ok(schema_tracker_new(reader, &everything, &tracker, err));
    snapshot_free(tracked());
    run("create table t (a int)");
    struct snapshot *s = tracked();
    ck_assert(snapshot_find(s, "table", "public.t"));
    ck_assert_uint_eq(postgres_tracker_full_reads(tracker), 2);
    snapshot_free(s);
    schema_tracker_free(tracker);
    end();
}
END_TEST

START_TEST(a_batch_that_fails_names_the_statement_and_leaves_the_session_usable)
{
    begin();
    struct rows *rows[3] = {0};
    struct err e = {0};
    const char *const bad[] = {"select $1::int + 1", "select 1 / ($1::int - 1)", "select $1::int"};
    ck_assert_int_eq(db_query_batch(db, bad, 3, (const char *[]){"1"}, 1, rows, &e), -1);
    ck_assert_str_eq(e.message, "division by zero");
    ck_assert_str_eq(e.statement, bad[1]);
    ck_assert_ptr_null(rows[0]);
    err_release(&e);
    ck_ok(db_query_batch(db, bad, 3, (const char *[]){"3"}, 1, rows, err));
    ck_assert_str_eq(rows_get(rows[0], 0, 0), "4");
    ck_assert_str_eq(rows_get(rows[2], 0, 0), "3");
    for (int i = 0; i < 3; i++)
        rows_free(rows[i]);
    run("select 1");
    end();
}
END_TEST

int main(void)
{
    char *dir, *version;
    struct err e = {0};
    if (postgres_find_server(&dir, &version, &e) < 0)
        return suite_skip("no PostgreSQL server found");
    bool known = str_starts(version, "15");
    free(dir);
    free(version);
    if (!known)
        return suite_skip("the statements are PostgreSQL 15's");

    size_t ngroups = 0;
    while (mutation_groups[ngroups].name)
        ngroups++;
    Suite *s = suite_create("schema_tracker_postgres");
    SUITE_ADD(s, a_batch_that_fails_names_the_statement_and_leaves_the_session_usable);
    SUITE_ADD(s, a_change_of_one_table_is_no_full_read);
    SUITE_ADD(s, an_unchanged_schema_gives_the_same_objects);
    SUITE_ADD(s, without_instrumentation_every_read_is_full);
    SUITE_ADD(s, removing_leaves_no_trace);
    SUITE_ADD(s, a_copy_of_an_instrumented_database_is_tracked);
    SUITE_ADD_LOOP(s, damaged_instrumentation_is_noticed, ARRAY_LEN(damage));
    SUITE_ADD_LOOP(s, the_tracker_follows_every_mutation, ngroups);
    SUITE_ADD_LOOP(s, the_tracker_follows_random_ddl, 3);
    return fixture_run(s);
}
