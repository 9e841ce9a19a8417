/*
 * The PostgreSQL reader, on real servers: each test has a private one, so that roles and
 * tablespaces of one test are not in another's way.
 */
#include <pg_query.h>
#include <string.h>
#include <sys/wait.h>

#include "harness/schema/schema_postgres.h"
#include "tests/mutations_postgres.h"
#include "tests/schema_postgres_fixture.h"
#include "tests/suite.h"

/*
 * The mutation suite.
 */

static char *bindir;

/* Adds what a pg_dump program prints, without comments and the key that is new on every run. */
static void add_dump(struct str *s, const char *program, const char *options)
{
    _cleanup_free_ char *command =
        xasprintf("'%s/%s' %s --dbname='%s'", bindir, program, options, scratch_url(scratch));
    FILE *f = popen(command, "r");
    ck_assert(f);
    char *line = NULL;
    size_t cap = 0;
    while (getline(&line, &cap, f) > 0)
        if (strncmp(line, "--", 2) != 0 && !str_starts(line, "\\restrict") &&
            !str_starts(line, "\\unrestrict"))
            str_add(s, line);
    free(line);
    int status = pclose(f);
    ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "%s failed", command);
}

static char *dump(bool roles)
{
    struct str s = {0};
    add_dump(&s, "pg_dump", "--schema-only");
    if (roles)
        add_dump(&s, "pg_dumpall", "--roles-only");
    return str_take(&s);
}

/* Adds to failures what is wrong with one mutation. */
static void judge(const struct mutation *m, const struct snapshot *before,
                  const struct snapshot *after, bool dumps_differ, struct str *failures)
{
    struct diff d = {0};
    diff_snapshots(before, after, &d);
    _cleanup_free_ char *first = d.n ? change_text(&d.changes[0], false) : NULL;
    if (dumps_differ && snapshot_equal(before, after))
        str_addf(failures, "%s\n    pg_dump differs, the snapshot does not\n", m->sql);
    else if (!m->change && dumps_differ)
        str_addf(failures, "%s\n    pg_dump differs after a control\n", m->sql);
    else if (m->change && !m->beyond_dump && !dumps_differ)
        str_addf(failures, "%s\n    pg_dump does not differ\n", m->sql);
    if (!str_eq(first, m->change))
        str_addf(failures, "%s\n    expected: %s\n    is:       %s\n", m->sql,
                 m->change ? m->change : "nothing", first ? first : "nothing");
    if (!m->change && !snapshot_equal(before, after))
        str_addf(failures, "%s\n    the snapshots are not equal\n", m->sql);
    diff_release(&d);
}

START_TEST(whatever_pg_dump_shows_is_a_difference_and_nothing_else)
{
    const struct mutation_group *g = &mutation_groups[_i];
    const struct schema_options options = {.roles = g->roles};
    begin();
    run("create role mut_owner superuser");
    run("set session authorization mut_owner");
    for (const char *const *sql = g->setup; *sql; sql++)
        run(*sql);

    _cleanup_str_ struct str failures = {0};
    struct snapshot *before = read_schema(reader, &options);
    char *dump_before = dump(g->roles);
    for (const struct mutation *m = g->mutations; m->sql; m++) {
        _cleanup_free_ char *sql = with_database(m->sql);
        run(sql);
        struct snapshot *after = read_schema(reader, &options);
        char *dump_after = dump(g->roles);
        judge(m, before, after, strcmp(dump_before, dump_after) != 0, &failures);
        snapshot_free(before);
        free(dump_before);
        before = after;
        dump_before = dump_after;
    }
    snapshot_free(before);
    free(dump_before);
    end();
    ck_assert_msg(failures.len == 0, "%s:\n%s", g->name, str_get(&failures));
}
END_TEST

/*
 * What is left out.
 */

START_TEST(version_tables_are_left_out_with_all_that_belongs_to_them)
{
    begin();
    struct snapshot *before = read_schema(reader, NULL);
    run("create table schema_migrations (id serial primary key, v text unique check (v <> ''),"
        " n int generated always as identity);"
        "create index on schema_migrations (v) where v > 'a';"
        "comment on column schema_migrations.v is 'version';"
        "grant select on schema_migrations to public");
    const char *const anywhere[] = {"schema_migrations", NULL};
    const char *const here[] = {"other", "public.schema_migrations", NULL};
    const char *const elsewhere[] = {"\"Public\".schema_migrations", NULL};
    struct snapshot *a = read_schema(reader, &(struct schema_options){.version_tables = anywhere});
    struct snapshot *h = read_schema(reader, &(struct schema_options){.version_tables = here});
    struct snapshot *e = read_schema(reader, &(struct schema_options){.version_tables = elsewhere});
    ck_same(before, a);
    ck_same(before, h);
    ck_assert(snapshot_find(e, "table", "public.schema_migrations"));
    snapshot_free(before);
    snapshot_free(a);
    snapshot_free(h);
    snapshot_free(e);
    end();
}
END_TEST

START_TEST(what_an_extension_made_is_the_extension)
{
    begin();
    run("create schema ext; create extension hstore schema ext; create extension citext schema ext;"
        "create extension btree_gist schema ext; create extension postgres_fdw schema ext;"
        "create extension pg_stat_statements schema ext; create extension earthdistance cascade");
    struct snapshot *s = read_schema(reader, NULL);
    size_t others = 0;
    for (size_t i = 0; i < s->n; i++)
        others += strcmp(s->objects[i]->kind, "extension") != 0;
    /* schema public, schema ext, the database */
    ck_assert_uint_eq(others, 3);
    ck_assert_uint_eq(s->n, 3 + 8);
    snapshot_free(s);
    end();
}
END_TEST

/*
 * Who reads, and how.
 */

static const char something_of_everything[] =
    "create schema s; create type s.e as enum ('a', 'b'); create domain s.d as int check (value > "
    "1);"
    "create type s.c as (a int, b text); create type s.r as range (subtype = float8);"
    "create table s.t (id serial primary key, a s.e default 'a', b numeric(10, 2), c s.c, d s.d,"
    "  t timestamptz default '2020-01-01 12:00:00+00', f float8 default 0.1, i interval default '1 "
    "day',"
    "  o bytea default '\\xff');"
    "create table s.u (t_id int references s.t on delete cascade, x int generated always as "
    "identity);"
    "create index on s.t (b desc) where a = 'a'; create statistics s.st on a, b from s.t;"
    "create view s.v as select id, a from s.t where t > now();"
    "create materialized view s.m as select 1 as a;"
    "create function s.f(a int, b text default 'x') returns int language plpgsql"
    " as 'begin return 1; end';"
    "create function s.g(a int) returns int return a + 1;"
    "create function s.trg() returns trigger language plpgsql as 'begin return new; end';"
    "create trigger tr before insert on s.t for each row execute function s.trg();"
    "create rule ru as on insert to s.u do nothing;"
    "alter table s.t enable row level security; create policy p on s.t using (b > 1);"
    "create publication p for table s.t where (b > 1); create role app;"
    "grant select on s.t to app; grant update (a) on s.t to app; comment on table s.t is 'x';"
    "alter default privileges in schema s grant select on tables to app;"
    "create extension file_fdw; create server srv foreign data wrapper file_fdw;"
    "create foreign table s.ft (a int) server srv options (filename '/dev/null');"
    "create aggregate s.agg(int) (sfunc = int4pl, stype = int);"
    "create operator s.=== (leftarg = int, rightarg = int, function = int4eq);"
    "create collation s.coll from \"C\"; create text search configuration s.ts (copy = english);"
    "create event trigger et on ddl_command_end execute function pg_catalog.suppress();";

static void make_something_of_everything(void)
{
    run("create function pg_catalog.suppress() returns event_trigger language plpgsql"
        " as 'begin end'");
    run(something_of_everything);
}

START_TEST(a_role_without_any_rights_reads_the_same)
{
    begin();
    make_something_of_everything();
    run("create role nobody login");
    const struct schema_options options = {.roles = true};
    struct snapshot *mine = read_schema(reader, &options);
    ck_ok(db_run(reader, "set session authorization nobody", DB_RUN_WHOLE, NULL, err));
    struct snapshot *theirs = read_schema(reader, &options);
    ck_same(mine, theirs);
    snapshot_free(mine);
    snapshot_free(theirs);
    end();
}
END_TEST

START_TEST(settings_of_the_session_do_not_show)
{
    begin();
    make_something_of_everything();
    struct snapshot *plain = read_schema(reader, NULL);
    ck_ok(db_run(reader,
                 "set search_path = s, public; set timezone = 'Asia/Tokyo';"
                 "set datestyle = 'SQL, DMY'; set intervalstyle = iso_8601;"
                 "set extra_float_digits = -5; set bytea_output = escape;"
                 "set quote_all_identifiers = on; set standard_conforming_strings = off;"
                 "set default_transaction_isolation = serializable",
                 DB_RUN_WHOLE, NULL, err));
    struct snapshot *other = read_schema(reader, NULL);
    ck_same(plain, other);
    _cleanup_free_ char *path = NULL;
    ck_ok(db_query_text(reader, "show search_path", NULL, 0, &path, err));
    ck_assert_str_eq(path, "s, public");
    snapshot_free(plain);
    snapshot_free(other);
    end();
}
END_TEST

START_TEST(the_same_schema_in_another_database_reads_the_same)
{
    begin();
    run("create table oids (a int, b text); drop table oids");
    make_something_of_everything();
    struct snapshot *here = read_schema(reader, NULL);
    run("drop event trigger et; drop publication p; drop server srv cascade; drop extension"
        " file_fdw; drop schema s cascade; drop owned by app; drop role app");
    struct snapshot *empty = read_schema(reader, NULL);
    ck_assert(!snapshot_equal(here, empty));
    run("create table later (a int); drop table later");
    run(something_of_everything);
    struct snapshot *again = read_schema(reader, NULL);
    ck_same(here, again);
    snapshot_free(here);
    snapshot_free(empty);
    snapshot_free(again);
    end();
}
END_TEST

START_TEST(an_open_transaction_is_what_is_read)
{
    begin();
    run("create table before (a int)");
    ck_ok(
        db_run(reader, "begin isolation level repeatable read; select 1", DB_RUN_WHOLE, NULL, err));
    run("create table after (a int)");
    _cleanup_snapshot_ struct snapshot *s = read_schema(reader, NULL);
    ck_assert_ptr_nonnull(snapshot_find(s, "table", "public.before"));
    ck_assert_ptr_null(snapshot_find(s, "table", "public.after"));
    ck_assert(db_in_transaction(reader));
    end();
}
END_TEST

START_TEST(passwords_are_nowhere_in_a_snapshot)
{
    begin();
    run("create foreign data wrapper w; create server srv foreign data wrapper w;"
        "create user mapping for public server srv options (password 'hunter2', passcode 'hunter2',"
        " api_token 'hunter2'); create role r password 'hunter2';"
        "create subscription sub connection 'host=nowhere password=hunter2' publication p"
        " with (connect = false, slot_name = none, enabled = false)");
    struct snapshot *s = read_schema(reader, &(struct schema_options){.roles = true});
    _cleanup_free_ char *json = snapshot_to_json(s);
    ck_assert_ptr_nonnull(strstr(json, "user mapping"));
    ck_assert_ptr_null(strstr(json, "hunter2"));
    ck_assert_ptr_null(strstr(json, "SCRAM"));
    snapshot_free(s);
    run("drop subscription sub");
    end();
}
END_TEST

/*
 * Size.
 */

START_TEST(a_table_with_1600_columns_is_read_whole)
{
    begin();
    run("do $$begin execute 'create table wide (' || (select string_agg('c' || i || ' int', ', ')"
        " from generate_series(1, 1600) i) || ')'; end$$");
    struct snapshot *s = read_schema(reader, NULL);
    const struct object *last = snapshot_find(s, "column", "public.wide.c1600");
    ck_assert(last);
    ck_assert_str_eq(object_get(last, "position"), "1600");
    snapshot_free(s);
    end();
}
END_TEST

START_TEST(five_thousand_tables_are_read_whole)
{
    begin();
    /* in batches: one transaction would need more locks than a server has by default */
    for (int i = 0; i < 50; i++) {
        _cleanup_free_ char *sql =
            xasprintf("do $$begin for i in %d..%d loop execute format('create table t%%s"
                      " (id int primary key, a text not null, b int default 7)', i);"
                      " end loop; end$$",
                      i * 100 + 1, i * 100 + 100);
        run(sql);
    }
    struct snapshot *s = read_schema(reader, NULL);
    size_t tables = 0, columns = 0, constraints = 0;
    for (size_t i = 0; i < s->n; i++) {
        tables += strcmp(s->objects[i]->kind, "table") == 0;
        columns += strcmp(s->objects[i]->kind, "column") == 0;
        constraints += strcmp(s->objects[i]->kind, "constraint") == 0;
    }
    ck_assert_uint_eq(tables, 5000);
    ck_assert_uint_eq(columns, 15000);
    ck_assert_uint_eq(constraints, 5000);
    snapshot_free(s);
    end();
}
END_TEST

/*
 * The queries' text, for versions that are not here.
 */

static const struct catalog_query *const groups[] = {
    postgres_relation_queries, postgres_routine_queries, postgres_type_queries,
    postgres_search_queries,   postgres_cluster_queries, postgres_foreign_queries,
};

START_TEST(queries_are_sql_for_every_version)
{
    for (int i = 0; i < 7 * 32; i++) {
        const struct catalog_needs needs = {~0u, i & 4, i & 8, i & 16};
        const struct catalog_text t = {12 + i / 32, i & 1, i & 2, needs};
        for (size_t g = 0; g < ARRAY_LEN(groups); g++) {
            for (const struct catalog_query *q = groups[g]; q->name; q++) {
                _cleanup_str_ struct str sql = {0};
                catalog_expand(q->sql, &t, &sql);
                PgQueryParseResult parsed = pg_query_parse(sql.p);
                ck_assert_msg(!parsed.error, "%s for %d: %s", q->name, t.major,
                              parsed.error ? parsed.error->message : "");
                pg_query_free_parse_result(parsed);
                bool narrowed = t.only && q->reach != REACH_ALL;
                ck_assert_msg((strstr(sql.p, "$2") != NULL) == narrowed, "%s: $2", q->name);
            }
        }
    }
}
END_TEST

START_TEST(blocks_are_kept_by_version)
{
    const struct catalog_text t = {.major = 15, .needs = {.gaps = true}};
    _cleanup_str_ struct str s = {0};
    catalog_expand("a@12{b}@15{c@<16{d}@16{e}f}@<15{g@12{h}i}@super{j}@only{k}{l}@> m"
                   "@gaps{n}@<gaps{o}@rare{p@gaps{q}}@<rare{r}@comments{s}",
                   &t, &s);
    ck_assert_str_eq(s.p, "abcdf{l}@> mnr");
}
END_TEST

int main(void)
{
    char *dir, *version;
    struct err e = {0};
    if (postgres_find_server(&dir, &version, &e) < 0)
        return suite_skip("no PostgreSQL server found");
    bool known = str_starts(version, "15");
    bindir = dir;
    free(version);
    if (!known)
        return suite_skip("the expected lines are PostgreSQL 15's");

    size_t ngroups = 0;
    while (mutation_groups[ngroups].name)
        ngroups++;
    Suite *s = suite_create("schema_postgres");
    SUITE_ADD(s, blocks_are_kept_by_version);
    SUITE_ADD(s, queries_are_sql_for_every_version);
    SUITE_ADD_LOOP(s, whatever_pg_dump_shows_is_a_difference_and_nothing_else, ngroups);
    SUITE_ADD(s, version_tables_are_left_out_with_all_that_belongs_to_them);
    SUITE_ADD(s, what_an_extension_made_is_the_extension);
    SUITE_ADD(s, a_role_without_any_rights_reads_the_same);
    SUITE_ADD(s, settings_of_the_session_do_not_show);
    SUITE_ADD(s, the_same_schema_in_another_database_reads_the_same);
    SUITE_ADD(s, an_open_transaction_is_what_is_read);
    SUITE_ADD(s, passwords_are_nowhere_in_a_snapshot);
    SUITE_ADD(s, a_table_with_1600_columns_is_read_whole);
    SUITE_ADD(s, five_thousand_tables_are_read_whole);
    return fixture_run(s);
}
