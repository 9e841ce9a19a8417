#include "harness/data/compare.h"

#include <string.h>

#include "tests/fixture.h"

/* Two databases: before and after. */
struct pair {
    struct fixture before, after;
};

static void pair_open(struct pair *p, const struct engine *e, const char *sql)
{
    _cleanup_err_ struct err err = {0};
    fixture_open(&p->before, e);
    fixture_open(&p->after, e);
    ASSERT_OK(db_run(p->before.db, sql, DB_RUN_WHOLE, NULL, &err), &err);
    ASSERT_OK(db_run(p->after.db, sql, DB_RUN_WHOLE, NULL, &err), &err);
}

static void pair_close(struct pair *p)
{
    fixture_close(&p->before);
    fixture_close(&p->after);
}

static void change(struct pair *p, const char *sql)
{
    _cleanup_err_ struct err err = {0};
    ASSERT_OK(db_run(p->after.db, sql, DB_RUN_WHOLE, NULL, &err), &err);
}

static void add_keys(struct str *s, const char *what, uint64_t n, const struct strv *keys)
{
    if (!n)
        return;
    _cleanup_free_ char *joined = strv_join(keys, ", ");
    str_addf(s, "%s %d of %s; ", what, (int)n, joined);
}

/* All that was found, in words. */
static char *explain(const struct pair *p, const char *table, int examples)
{
    _cleanup_err_ struct err err = {0};
    bool postgres = db_engine(p->before.db) == &engine_postgres;
    _cleanup_free_ char *name = xasprintf("%s%s", postgres ? "public." : "", table);
    struct rows_changes c = {0};
    ASSERT_OK(rows_explain(p->before.db, p->after.db, name, NULL, examples, &c, &err), &err);
    ck_assert(!db_in_transaction(p->before.db) && !db_in_transaction(p->after.db));
    struct str s = {0};
    str_addf(&s, "%s: %d -> %d; ", c.key ? c.key : "no key", (int)c.before, (int)c.after);
    add_keys(&s, "lost", c.lost, &c.lost_keys);
    add_keys(&s, "added", c.added, &c.added_keys);
    add_keys(&s, "changed", c.changed, &c.changed_keys);
    for (size_t i = 0; i < c.ncolumns; i++) {
        const struct column_change *col = &c.columns[i];
        str_addf(&s, "%s %d (%d NULL) %s -> %s; ", col->name, (int)col->rows, (int)col->became_null,
                 col->before ? col->before : "NULL", col->after ? col->after : "NULL");
    }
    rows_changes_release(&c);
    return str_take(&s);
}

#define ASSERT_EXPLAINED(p, table, expected)                                                       \
    do {                                                                                           \
        _cleanup_free_ char *_found = explain(p, table, 3);                                        \
        ck_assert_str_eq(_found, expected);                                                        \
    } while (0)

static const struct engine *const both[] = {&engine_sqlite, &engine_postgres};

static const char ten_users[] =
    "create table users (id int primary key, nick text, age int);"
    "insert into users with recursive n(i) as (select 1 union all select i + 1 from n where i < 10)"
    " select i, 'nick ' || i, 20 + i from n;";

START_TEST(equal_tables_have_no_changes)
{
    struct pair p;
    pair_open(&p, both[_i], ten_users);
    ASSERT_EXPLAINED(&p, "users", "id: 10 -> 10; ");
    pair_close(&p);
}
END_TEST

START_TEST(lost_added_and_changed_rows_are_told_by_their_keys)
{
    struct pair p;
    pair_open(&p, both[_i], ten_users);
    change(&p, "delete from users where id in (3, 7, 9, 10);"
               "insert into users values (11, 'new', 1);"
               "update users set nick = null where id < 3;"
               "update users set nick = 'x', age = 0 where id = 4");
    ASSERT_EXPLAINED(&p, "users",
                     "id: 10 -> 7; lost 4 of 10, 3, 7; added 1 of 11; changed 3 of 1, 2, 4; "
                     "nick 3 (2 NULL) nick 1 -> NULL; age 1 (0 NULL) 24 -> 0; ");
    pair_close(&p);
}
END_TEST

START_TEST(rows_without_a_key_are_compared_whole_and_counted)
{
    struct pair p;
    pair_open(&p, both[_i],
              "create table t (a int, b text);"
              "insert into t values (1, 'x'), (1, 'x'), (1, 'x'), (2, null), (2, '')");
    change(&p,
           "delete from t; insert into t values (1, 'x'), (1, 'x'), (2, ''), (2, ''), (3, 'y')");
    ASSERT_EXPLAINED(&p, "t",
                     "no key: 5 -> 5; lost 2 of (1, x), (2, NULL); added 2 of (2, ), (3, y); ");
    pair_close(&p);
}
END_TEST

START_TEST(a_key_of_several_columns_and_odd_names_is_told)
{
    struct pair p;
    pair_open(&p, both[_i],
              "create table \"a\"\"b\" (\"c d\" int, \"e\"\"f\" text, v text,"
              " primary key (\"e\"\"f\", \"c d\"));"
              "insert into \"a\"\"b\" values (1, 'x', 'v'), (2, 'x', 'v'), (3, 'y', 'v')");
    change(
        &p,
        "delete from \"a\"\"b\" where \"c d\" = 2; update \"a\"\"b\" set v = '' where \"c d\" = 3");
    ASSERT_EXPLAINED(&p, "\"a\"\"b\"",
                     "e\"f, c d: 3 -> 2; lost 1 of (x, 2); changed 1 of (y, 3); "
                     "v 1 (0 NULL) v -> ; ");
    pair_close(&p);
}
END_TEST

START_TEST(only_columns_that_both_sides_have_are_compared)
{
    struct pair p;
    pair_open(&p, both[_i], ten_users);
    change(&p, "alter table users drop column age; alter table users add column mail text");
    ASSERT_EXPLAINED(&p, "users", "id: 10 -> 10; ");
    change(&p, "update users set mail = 'x', nick = 'other' where id = 5");
    ASSERT_EXPLAINED(&p, "users",
                     "id: 10 -> 10; changed 1 of 5; nick 1 (0 NULL) nick 5 -> other; ");
    pair_close(&p);
}
END_TEST

START_TEST(tables_without_a_common_column_are_counted)
{
    struct pair p;
    pair_open(&p, both[_i], ten_users);
    change(&p, "drop table users; create table users (other int); insert into users values (1)");
    ASSERT_EXPLAINED(&p, "users", "no key: 10 -> 1; lost 9 of ; ");
    pair_close(&p);
}
END_TEST

START_TEST(a_primary_key_that_is_gone_still_tells_rows_apart)
{
    struct pair p;
    pair_open(&p, both[_i], ten_users);
    change(&p, "create table copy as select * from users; drop table users;"
               "alter table copy rename to users; insert into users values (3, 'twice', 1);"
               "delete from users where id = 5");
    ASSERT_EXPLAINED(&p, "users", "id: 10 -> 10; lost 1 of 5; added 1 of 3; ");
    pair_close(&p);
}
END_TEST

START_TEST(values_are_shortened_and_safe_to_print)
{
    struct pair p;
    pair_open(
        &p, both[_i],
        "create table t (id int primary key, v text);"
        "insert into t values (1, 'a\nb\x1b[31m\\'), (2, '1234567890123456789012345678901234567"
        "8901234567890123456789\xc3\xa4\xc3\xa4')");
    change(&p, "update t set v = 'x' where id = 1");
    ASSERT_EXPLAINED(&p, "t", "id: 2 -> 2; changed 1 of 1; v 1 (0 NULL) a\\nb\\x1b[31m\\ -> x; ");
    change(&p, "delete from t; insert into t select id, 'x' from (select 2 as id) s");
    ASSERT_EXPLAINED(&p, "t",
                     "id: 2 -> 1; lost 1 of 1; changed 1 of 2; v 1 (0 NULL) "
                     "12345678901234567890123456789012345678901234567890123456789… -> x; ");
    pair_close(&p);
}
END_TEST

START_TEST(a_missing_table_is_an_error)
{
    struct pair p;
    pair_open(&p, both[_i], ten_users);
    _cleanup_err_ struct err err = {0};
    struct rows_changes c = {0};
    ck_assert_int_eq(rows_explain(p.before.db, p.after.db, "public.nothing", NULL, 3, &c, &err),
                     -1);
    ck_assert_ptr_nonnull(strstr(err.message, "there is no table public.nothing"));
    ck_assert(!db_in_transaction(p.before.db));
    pair_close(&p);
}
END_TEST

static void read_both(const struct pair *p, struct digest_set *before, struct digest_set *after)
{
    _cleanup_err_ struct err err = {0};
    ASSERT_OK(digest_read(p->before.db, NULL, NULL, before, &err), &err);
    ASSERT_OK(digest_read(p->after.db, NULL, NULL, after, &err), &err);
}

/* "t: rows, columns a b", a line each. */
static char *compare_text(const struct pair *p)
{
    static const char *const words[] = {"rows", "columns", "pairing", "sequence", "missing"};
    struct digest_set before, after;
    struct digest_changes changes = {0};
    struct str s = {0};
    read_both(p, &before, &after);
    digest_compare(&before, &after, &changes);
    for (size_t i = 0; i < changes.n; i++) {
        const struct digest_change *c = &changes.v[i];
        const char *dot = strrchr(c->before->name, '.');
        str_addf(&s, "%s:", dot ? dot + 1 : c->before->name);
        for (size_t k = 0; k < ARRAY_LEN(words); k++)
            if (c->difference & 1u << k)
                str_addf(&s, " %s", words[k]);
        for (size_t k = 0; k < c->columns.n; k++)
            str_addf(&s, " %s", c->columns.v[k]);
        ck_assert_int_eq(c->after == NULL, c->difference == DIGEST_MISSING);
        str_add(&s, "; ");
    }
    digest_changes_release(&changes);
    digest_set_release(&before);
    digest_set_release(&after);
    return str_take(&s);
}

static const struct {
    const char *sql, *expected;
} comparisons[] = {
    {"select 1", ""},
    {"delete from t where id = 1", "t: rows columns id name; "},
    {"update t set name = 'z' where id = 1", "t: columns name; "},
    {"update t set name = null where id = 1", "t: columns name; "},
    {"update t set name = case id when 1 then 'b' else 'a' end", "t: pairing; "},
    {"drop table t", "t: missing; "},
    {"alter table t drop column name", ""},
    {"alter table t add column more int", ""},
    {"alter table t rename column name to title", ""},
    {"create table other (id int)", ""},
};

START_TEST(digests_tell_what_is_different)
{
    for (size_t i = 0; i < ARRAY_LEN(comparisons); i++) {
        struct pair p;
        pair_open(&p, both[_i],
                  "create table t (id int, name text);"
                  "insert into t values (1, 'a'), (2, 'b')");
        change(&p, comparisons[i].sql);
        _cleanup_free_ char *found = compare_text(&p);
        ck_assert_msg(strcmp(found, comparisons[i].expected) == 0, "%s: found \"%s\"",
                      comparisons[i].sql, found);
        pair_close(&p);
    }
}
END_TEST

START_TEST(a_sequence_that_moved_is_told)
{
    bool postgres = both[_i] == &engine_postgres;
    struct pair p;
    pair_open(&p, both[_i],
              postgres ? "create table t (id serial); insert into t values (default), (default)"
                       : "create table t (id integer primary key autoincrement);"
                         "insert into t values (null), (null)");
    _cleanup_free_ char *same = compare_text(&p);
    ck_assert_str_eq(same, "");
    change(&p, postgres ? "select nextval('t_id_seq')"
                        : "insert into t values (null); delete from t where id = 3");
    _cleanup_free_ char *moved = compare_text(&p);
    ck_assert_str_eq(moved, postgres ? "t_id_seq: sequence; " : "t: sequence; ");
    pair_close(&p);
}
END_TEST

/* PostgreSQL's types, two different values each; the first is the key. */
static const char *const types[] = {
    "boolean",      "false",        "true",        "char(5)",
    "'a'",          "'a b'",        "inet",        "'10.0.0.1'",
    "'10.0.0.1/8'", "numeric",      "1.0",         "1.00",
    "jsonb",        "'{\"a\": 1}'", "'[]'",        "int[]",
    "'{1,2}'",      "'{}'",         "interval",    "'1 month'",
    "'30 days'",    "bytea",        "'\\x00ff'",   "'\\x'",
    "text",         "E'a\\tb'",     "E'a\\\\tb'",  "float8",
    "'NaN'",        "'-0'",         "timestamptz", "'2024-01-01 00:00+02'",
    "'infinity'",   "tsvector",     "'a b'",       "'a'",
    "xml",          "'<a/>'",       "'<a></a>'",   "point",
    "'(1,2)'",      "'(2,1)'",      "regclass",    "'pg_class'",
    "'pg_type'",
};

START_TEST(rows_of_every_type_are_matched)
{
    for (size_t i = 0; i < ARRAY_LEN(types); i += 3) {
        _cleanup_free_ char *sql =
            xasprintf("create table t (v %s); insert into t values (%s), (%s), (null)", types[i],
                      types[i + 1], types[i + 2]);
        _cleanup_free_ char *more = xasprintf("insert into t values (%s)", types[i + 2]);
        struct pair p;
        pair_open(&p, &engine_postgres, sql);
        change(&p, "create table u as select * from t order by ctid desc; drop table t;"
                   "alter table u rename to t");
        _cleanup_free_ char *same = explain(&p, "t", 0);
        ck_assert_msg(strcmp(same, "no key: 3 -> 3; ") == 0, "%s: %s", types[i], same);
        change(&p, more);
        _cleanup_free_ char *added = explain(&p, "t", 0);
        ck_assert_msg(strcmp(added, "no key: 3 -> 4; added 1 of ; ") == 0, "%s: %s", types[i],
                      added);
        pair_close(&p);
    }
}
END_TEST

/* A sibling of the scratch database, with options of CREATE DATABASE; dropped with its url's name. */
static char *sibling(const struct fixture *f, const char *options, char **ret_url)
{
    _cleanup_err_ struct err err = {0};
    _cleanup_free_ char *name = NULL;
    ASSERT_OK(db_query_text(f->db, "select current_database()", NULL, 0, &name, &err), &err);
    _cleanup_free_ char *sql =
        xasprintf("create database %s_2 template template0 %s", name, options);
    ASSERT_OK(db_run(f->db, sql, DB_RUN_WHOLE, NULL, &err), &err);
    const char *url = scratch_url(f->scratch), *at = strstr(url, name);
    *ret_url = xasprintf("%.*s%s_2%s", (int)(at - url), url, name, at + strlen(name));
    return xasprintf("%s_2", name);
}

START_TEST(collations_and_encodings_of_the_databases_do_not_matter)
{
    static const char *const options[] = {
        "encoding 'UTF8' locale_provider icu icu_locale 'en' locale 'C.UTF-8'",
        "encoding 'LATIN1' locale 'C'",
        "encoding 'EUC_JP' locale 'C'",
    };
    static const char table[] = "create table t (k text primary key, v int);"
                                "insert into t values ('a', 1), ('B', 2), ('c', 3), ('_', 4), ('A "
                                "b', 5), ('Ab', 6), (' ', 7),"
                                " ('\xc2\xa7', 8), ('\xc3\x97', 9)";
    struct fixture f;
    fixture_open(&f, &engine_postgres);
    _cleanup_err_ struct err err = {0};
    ASSERT_OK(db_run(f.db, table, DB_RUN_WHOLE, NULL, &err), &err);
    for (size_t i = db_version(f.db) < 150000; i < ARRAY_LEN(options); i++) {
        _cleanup_free_ char *url = NULL, *name = sibling(&f, options[i], &url);
        struct pair p = {.before = f};
        struct db *db;
        ASSERT_OK(db_open(&engine_postgres, url, DB_OPEN_DEFAULT, &db, &err), &err);
        ASSERT_OK(db_run(db, table, DB_RUN_WHOLE, NULL, &err), &err);
        p.after.db = db;
        ASSERT_EXPLAINED(&p, "t", "k: 9 -> 9; ");
        db_close(db);
        _cleanup_free_ char *drop = xasprintf("drop database %s", name);
        ASSERT_OK(db_run(f.db, drop, DB_RUN_WHOLE, NULL, &err), &err);
    }
    fixture_close(&f);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("compare");
    SUITE_ADD_LOOP(s, equal_tables_have_no_changes, 2);
    SUITE_ADD_LOOP(s, lost_added_and_changed_rows_are_told_by_their_keys, 2);
    SUITE_ADD_LOOP(s, rows_without_a_key_are_compared_whole_and_counted, 2);
    SUITE_ADD_LOOP(s, a_key_of_several_columns_and_odd_names_is_told, 2);
    SUITE_ADD_LOOP(s, only_columns_that_both_sides_have_are_compared, 2);
    SUITE_ADD_LOOP(s, tables_without_a_common_column_are_counted, 2);
    SUITE_ADD_LOOP(s, a_primary_key_that_is_gone_still_tells_rows_apart, 2);
    SUITE_ADD_LOOP(s, values_are_shortened_and_safe_to_print, 2);
    SUITE_ADD_LOOP(s, a_missing_table_is_an_error, 2);
    SUITE_ADD_LOOP(s, digests_tell_what_is_different, 2);
    SUITE_ADD_LOOP(s, a_sequence_that_moved_is_told, 2);
    SUITE_ADD(s, rows_of_every_type_are_matched);
    SUITE_ADD(s, collations_and_encodings_of_the_databases_do_not_matter);
    return fixture_run(s);
}
