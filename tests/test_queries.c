/* Queries of the running application against schemas that change below them. */
#include <string.h>

#include "harness/observe/queries.h"
#include "tests/fixture.h"
#include "tests/rehearse_world.h"

struct bench {
    struct fixture f;
    const struct engine *e;
    struct queries q;
};

static void sql(struct db *db, const char *text)
{
    _cleanup_err_ struct err err = {0};
    int ran;
    ck_assert_msg(db_run(db, text, DB_RUN_WHOLE, &ran, &err) == 0, "%s: %s", text, err.message);
}

static void bench_open(struct bench *b, const struct engine *e, const char *schema,
                       const char *queries)
{
    _cleanup_err_ struct err err = {0};
    *b = (struct bench){.e = e};
    fixture_open(&b->f, e);
    sql(b->f.db, schema);
    queries_add(&b->q, e, "app.sql", 1, queries);
    ASSERT_OK(queries_begin(&b->q, b->f.db, &err), &err);
}

static void bench_close(struct bench *b)
{
    queries_release(&b->q);
    fixture_close(&b->f);
}

/* What is newly broken, "name: message" a line. */
static char *broken(struct bench *b)
{
    _cleanup_err_ struct err err = {0};
    struct query_breaks breaks = {0};
    struct str s = {0};
    ASSERT_OK(queries_check(&b->q, b->f.db, &breaks, &err), &err);
    for (size_t i = 0; i < breaks.n; i++)
        str_addf(&s, "%s: %s\n", breaks.v[i].query->name, breaks.v[i].message);
    query_breaks_release(&breaks);
    str_add(&s, "");
    return str_take(&s);
}

static void ck_broken(struct bench *b, const char *want)
{
    _cleanup_free_ char *is = broken(b);
    ck_assert_str_eq(is, want);
}

static const struct engine *engine_of(int i)
{
    return i ? &engine_postgres : &engine_sqlite;
}

#define SCHEMA                                                                                     \
    "create table users (id integer primary key, name varchar(40) not null, mail text);"           \
    "create unique index users_mail on users (mail)"

START_TEST(a_renamed_column_breaks_the_queries_that_name_it_and_no_others)
{
    struct bench b;
    bench_open(&b, engine_of(_i), SCHEMA,
               "select id from users;\n\nselect name\n  from users where id = $1;\n"
               "update users set name = $1");
    ck_broken(&b, "");
    sql(b.f.db, "alter table users rename column name to full_name");
    ck_broken(&b, _i ? "app.sql:3: column \"name\" does not exist\n"
                       "app.sql:5: column \"name\" of relation \"users\" does not exist\n"
                     : "app.sql:3: no such column: name\napp.sql:5: no such column: name\n");
    ck_broken(&b, ""); /* said once */
    sql(b.f.db, "alter table users rename column full_name to name");
    ck_broken(&b, "");
    sql(b.f.db, "drop table users");
    _cleanup_free_ char *all = broken(&b);
    ck_assert_ptr_nonnull(strstr(all, "app.sql:1"));
    bench_close(&b);
}
END_TEST

START_TEST(an_insert_without_a_column_that_became_required_is_broken)
{
    struct bench b;
    bench_open(&b, &engine_postgres, SCHEMA,
               "insert into users (id, name) values ($1, $2);\n"
               "insert into users values ($1, $2);\n"
               "insert into users values ($1, $2, $3);\n"
               "insert into users (id, name, mail) values ($1, $2, default);\n"
               "with x as (insert into public.users (name, id) select name, id from users"
               " returning id) select id from x;\n"
               "insert into users (id, name, mail) select id, name, mail from users;\n"
               "insert into users select * from users");
    ck_broken(&b, "");
    sql(b.f.db, "alter table users alter mail set not null");
    ck_broken(&b, "app.sql:1: it inserts into \"users\" without mail, which is NOT NULL without a"
                  " default now\n"
                  "app.sql:2: it inserts into \"users\" without mail, which is NOT NULL without a"
                  " default now\n"
                  "app.sql:4: it inserts into \"users\" without mail, which is NOT NULL without a"
                  " default now\n"
                  "app.sql:5: it inserts into \"public\".\"users\" without mail, which is NOT NULL"
                  " without a default now\n");
    bench_close(&b);
}
END_TEST

START_TEST(a_column_with_a_default_an_identity_or_a_trigger_breaks_no_insert)
{
    static const char *const ways[] = {
        "alter table users add a int not null default 1",
        "alter table users add a int not null generated always as identity",
        "alter table users add a int not null generated always as (1) stored",
        "create domain filled as int default 3; alter table users add a filled not null",
        "create function fill() returns trigger language plpgsql as $$ begin new.a := 1; return "
        "new;"
        " end $$; create trigger fill before insert on users for each row execute function fill();"
        "alter table users add a int not null",
        "alter table users add a int",
    };
    struct bench b;
    bench_open(&b, &engine_postgres, SCHEMA, "insert into users (id, name) values ($1, $2)");
    sql(b.f.db, ways[_i]);
    ck_broken(&b, "");
    bench_close(&b);
}
END_TEST

START_TEST(an_insert_that_missed_a_column_before_is_not_blamed_on_a_revision)
{
    struct bench b;
    bench_open(&b, &engine_postgres, SCHEMA, "insert into users (id) values ($1)");
    sql(b.f.db, "alter table users add a int");
    ck_broken(&b, "");
    bench_close(&b);
}
END_TEST

START_TEST(sqlite_inserts_are_held_against_required_columns_too)
{
    struct bench b;
    bench_open(&b, &engine_sqlite, SCHEMA,
               "insert into users (name) values (?);\n"
               "INSERT OR IGNORE INTO main.[users] (\"name\", id) VALUES (?, ?);\n"
               "insert into users (name, mail) values (?, ?);\n"
               "with x as (select 1) insert into users as u (name) select 'a' from x");
    ck_broken(&b, "");
    sql(b.f.db,
        "drop table users;"
        "create table users (id integer primary key, name text not null, mail text not null)");
    ck_broken(
        &b,
        "app.sql:1: it inserts into users without mail, which is NOT NULL without a default now\n"
        "app.sql:2: it inserts into users without mail, which is NOT NULL without a default now\n"
        "app.sql:4: it inserts into users without mail, which is NOT NULL without a default now\n");
    bench_close(&b);
}
END_TEST

START_TEST(an_on_conflict_clause_whose_index_went_is_found)
{
    struct bench b;
    bench_open(&b, engine_of(_i), SCHEMA,
               "insert into users (id, name, mail) values ($1, $2, $3) on conflict (mail)"
               " do update set name = excluded.name");
    ck_broken(&b, "");
    sql(b.f.db, "drop index users_mail");
    ck_broken(&b, _i ? "app.sql:1: there is no unique or exclusion constraint matching the ON"
                       " CONFLICT specification\n"
                     : "app.sql:1: ON CONFLICT clause does not match any PRIMARY KEY or UNIQUE"
                       " constraint\n");
    bench_close(&b);
}
END_TEST

START_TEST(nothing_is_executed)
{
    struct bench b;
    bench_open(&b, engine_of(_i), SCHEMA,
               "insert into users (id, name) values (1, 'a');"
               "insert into users (id, name) values (2, 'a') on conflict (id) do nothing;"
               "delete from users");
    sql(b.f.db, "insert into users (id, name) values (7, 'b')");
    ck_broken(&b, "");
    _cleanup_err_ struct err err = {0};
    _cleanup_free_ char *n = NULL;
    ASSERT_OK(
        db_query_text(b.f.db, "select count(*) || '/' || max(id) from users", NULL, 0, &n, &err),
        &err);
    ck_assert_str_eq(n, "1/7");
    bench_close(&b);
}
END_TEST

START_TEST(what_is_not_accepted_before_says_why_and_is_not_checked)
{
    struct bench b;
    bench_open(&b, &engine_postgres, SCHEMA,
               "select nope from users; select 1; set x.y = 1; begin; create table t (a int);"
               "select interval $1; commit; select id into other from users");
    ck_assert_uint_eq(b.q.n, 3);
    ck_assert_uint_eq(b.q.utility, 5);
    ck_assert_uint_eq(queries_checked(&b.q), 1);
    ck_assert_str_eq(b.q.v[0].reason, "column \"nope\" does not exist");
    ck_assert_ptr_null(b.q.v[1].reason);
    ck_assert_ptr_nonnull(b.q.v[2].reason);
    sql(b.f.db, "drop table users");
    ck_broken(&b, "");
    bench_close(&b);
}
END_TEST

START_TEST(a_type_that_changed_below_a_comparison_is_found)
{
    struct bench b;
    bench_open(&b, &engine_postgres, "create table t (a int, b int)",
               "select * from t where a = b; select a + 1 from t; select $1 = a from t");
    sql(b.f.db, "alter table t alter a type text");
    ck_broken(&b, "app.sql:1: operator does not exist: text = integer\n"
                  "app.sql:1: operator does not exist: text + integer\n");
    bench_close(&b);
}
END_TEST

/* ---- pg_stat_statements ---- */

START_TEST(without_pg_stat_statements_it_says_how_to_get_it)
{
    struct fixture f;
    _cleanup_err_ struct err err = {0};
    struct queries q = {0};
    fixture_open(&f, &engine_postgres);
    ck_assert_int_eq(queries_add_statistics(&q, scratch_url(f.scratch), &err), -1);
    ck_assert_int_eq(err.code, ERR_ENV);
    ck_assert_str_eq(err.message, "pg_stat_statements is not installed in that database");
    ck_assert_ptr_nonnull(err.hint);
    ck_assert_int_eq(queries_add_statistics(&q, "sqlite:///x.db", &err), -1);
    ck_assert_int_eq(err.code, ERR_USAGE);
    fixture_close(&f);
}
END_TEST

/* The view as its extension makes it, which needs a server that was started with it. */
START_TEST(what_pg_stat_statements_has_seen_is_checked)
{
    struct bench b = {.e = &engine_postgres};
    _cleanup_err_ struct err err = {0};
    fixture_open(&b.f, b.e);
    sql(b.f.db,
        SCHEMA ";create extension pg_stat_statements;"
               "drop extension pg_stat_statements; create schema stats;"
               "create table stats.pg_stat_statements (queryid bigint, dbid oid, query text,"
               " calls bigint)");
    sql(b.f.db, "set allow_system_table_mods = on;"
                "insert into pg_extension (oid, extname, extowner, extnamespace, extrelocatable,"
                " extversion) select 99999, 'pg_stat_statements', 10, 'stats'::regnamespace, true,"
                " '1.10'");
    sql(b.f.db, "insert into stats.pg_stat_statements select v.*"
                " from pg_database d, lateral (values"
                " (1, d.oid, 'select name from users where id = $1', 5),"
                " (2, d.oid, 'select name from users where id = $1', 8),"
                " (3, d.oid, 'select id from users where name in ($1, $2)', 90),"
                " (4, d.oid, '<insufficient privilege>', 7), (5, d.oid, 'select ''cut', 1),"
                " (6, d.oid, 'set search_path = $1', 1), (7, 1, 'select 1', 1),"
                " (8, d.oid, 'select relname from pg_class', 1)) v"
                " where d.datname = current_database()");
    ASSERT_OK(queries_add_statistics(&b.q, scratch_url(b.f.scratch), &err), &err);
    ck_assert_uint_eq(b.q.n, 3);
    ck_assert_uint_eq(b.q.utility, 2); /* SET, and what asks the catalog */
    ck_assert_uint_eq(b.q.unseen, 1);
    ck_assert_str_eq(b.q.v[0].name, "pg_stat_statements 3, 90 calls");
    ASSERT_OK(queries_begin(&b.q, b.f.db, &err), &err);
    ck_assert_uint_eq(queries_checked(&b.q), 2); /* a text that was cut off is not accepted */
    sql(b.f.db, "alter table users rename name to full_name");
    ck_broken(&b, "pg_stat_statements 3, 90 calls: column \"name\" does not exist\n"
                  "pg_stat_statements 1, 13 calls: column \"name\" does not exist\n");
    sql(b.f.db, "delete from pg_extension where oid = 99999");
    bench_close(&b);
}
END_TEST

/* ---- in a rehearsal ---- */

START_TEST(a_rehearsal_names_the_revision_that_breaks_a_query)
{
    static const struct file users[] = {
        {"migrations/1_users.up.sql",
         "create table users (id integer primary key, email text, bio text);"},
        {"migrations/1_users.down.sql", "drop table users;"},
        {NULL, NULL},
    };
    struct world w;
    world_open(&w, engine_of(_i), users, 1, "insert into users (id) values (1)");
    world_add(&w,
              (const struct file[]){
                  {"migrations/2_posts.up.sql", "create table posts (id integer primary key);"},
                  {"migrations/2_posts.down.sql", "drop table posts;"},
                  {"migrations/3_mail.up.sql", "alter table users rename column email to mail;"},
                  {"migrations/3_mail.down.sql", "alter table users rename column mail to email;"},
                  {NULL, NULL},
              });
    queries_add(&w.queries, w.engine, "app.sql", 1,
                "select email from users;\nupdate users set email = 'a' where bio = email;\n"
                "select bio from users; select nothing from users; begin");
    world_rehearse(&w);
    ck_assert_uint_eq(w.result.queries.checked, 3);
    ck_assert_uint_eq(w.result.queries.broken, 2);
    ck_assert_uint_eq(w.result.queries.utility, 1);
    ck_assert_uint_eq(w.result.queries.unchecked.n, 1);
    ck_assert(str_starts(w.result.queries.unchecked.v[0], "app.sql:3: "));
    const struct finding *f = world_finding(&w, "breaks-running-code", "3");
    ck_assert_int_eq(f->severity, SEVERITY_ERROR);
    ck_assert_ptr_nonnull(strstr(f->message, "app.sql:1"));
    ck_assert_str_eq(f->statement, "select email from users");
    ck_assert_ptr_nonnull(f->hint);
    world_close(&w);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("queries");
    SUITE_ADD_LOOP(s, a_renamed_column_breaks_the_queries_that_name_it_and_no_others, 2);
    SUITE_ADD(s, an_insert_without_a_column_that_became_required_is_broken);
    SUITE_ADD_LOOP(s, a_column_with_a_default_an_identity_or_a_trigger_breaks_no_insert, 6);
    SUITE_ADD(s, an_insert_that_missed_a_column_before_is_not_blamed_on_a_revision);
    SUITE_ADD(s, sqlite_inserts_are_held_against_required_columns_too);
    SUITE_ADD_LOOP(s, an_on_conflict_clause_whose_index_went_is_found, 2);
    SUITE_ADD_LOOP(s, nothing_is_executed, 2);
    SUITE_ADD(s, what_is_not_accepted_before_says_why_and_is_not_checked);
    SUITE_ADD(s, a_type_that_changed_below_a_comparison_is_found);
    SUITE_ADD(s, without_pg_stat_statements_it_says_how_to_get_it);
    SUITE_ADD(s, what_pg_stat_statements_has_seen_is_checked);
    SUITE_ADD_LOOP(s, a_rehearsal_names_the_revision_that_breaks_a_query, 2);
    return fixture_run(s);
}
