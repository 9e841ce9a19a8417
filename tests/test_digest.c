#include "harness/data/digest.h"

#include <inttypes.h>
#include <string.h>
#include <xxhash.h>

#include "tests/fixture.h"

static bool is_postgres(const struct fixture *f)
{
    return db_engine(f->db) == &engine_postgres;
}

static void run(const struct fixture *f, const char *sql)
{
    _cleanup_err_ struct err err = {0};
    ASSERT_OK(db_run(f->db, sql, DB_RUN_WHOLE, NULL, &err), &err);
}

/* The identity of table t, as the engine's snapshot writes it. */
static char *identity(const struct fixture *f, const char *t)
{
    return xasprintf("%s%s", is_postgres(f) ? "public." : "", t);
}

static void read_names(const struct fixture *f, const struct strv *names, struct digest_set *ret)
{
    _cleanup_err_ struct err err = {0};
    *ret = (struct digest_set){0};
    ASSERT_OK(digest_read(f->db, names, NULL, ret, &err), &err);
    ck_assert(!db_in_transaction(f->db));
}

static void read_all(const struct fixture *f, struct digest_set *ret)
{
    read_names(f, NULL, ret);
}

static const struct digest *find(const struct fixture *f, const struct digest_set *s, const char *t)
{
    _cleanup_free_ char *name = identity(f, t);
    const struct digest *d = digest_find(s, name);
    ck_assert_msg(d != NULL, "no digest of %s", name);
    return d;
}

static const struct digest_column *column(const struct digest *d, const char *name)
{
    for (size_t i = 0; i < d->sum.ncolumns; i++)
        if (strcmp(d->sum.columns[i].name, name) == 0)
            return &d->sum.columns[i];
    ck_abort_msg("no column %s", name);
}

/* All that a digest says, in words that can be compared. Columns are sorted by name. */
static char *text_of(const struct digest *d)
{
    _cleanup_strv_ struct strv columns = {0};
    for (size_t i = 0; i < d->sum.ncolumns; i++) {
        const struct digest_column *c = &d->sum.columns[i];
        strv_add_take(&columns, xasprintf("%s %" PRIx64 " %" PRIu64, c->name, c->sum, c->nulls));
    }
    strv_sort(&columns);
    _cleanup_free_ char *joined = strv_join(&columns, ", ");
    return xasprintf("%" PRIu64 " rows %" PRIx64 " %" PRIx64 " next %" PRId64 ": %s", d->sum.rows,
                     d->sum.lo, d->sum.hi, d->next, joined);
}

static char *digest_text(const struct fixture *f, const char *t)
{
    struct digest_set s;
    read_all(f, &s);
    char *text = text_of(find(f, &s, t));
    digest_set_release(&s);
    return text;
}

#define ASSERT_SAME(f, a, b)                                                                       \
    do {                                                                                           \
        _cleanup_free_ char *_a = digest_text(f, a), *_b = digest_text(f, b);                      \
        ck_assert_str_eq(_a, _b);                                                                  \
    } while (0)

#define ASSERT_DIFFERENT(f, a, b)                                                                  \
    do {                                                                                           \
        _cleanup_free_ char *_a = digest_text(f, a), *_b = digest_text(f, b);                      \
        ck_assert_str_ne(_a, _b);                                                                  \
    } while (0)

static const struct engine *const both[] = {&engine_sqlite, &engine_postgres};

START_TEST(the_order_of_rows_and_of_columns_does_not_matter)
{
    struct fixture f;
    fixture_open(&f, both[_i]);
    run(&f, "create table a (id int, name text); create table b (name text, id int);"
            "insert into a values (1, 'x'), (2, 'y'), (3, null), (3, null);"
            "insert into b values (null, 3), ('y', 2), (null, 3), ('x', 1)");
    ASSERT_SAME(&f, "a", "b");
    fixture_close(&f);
}
END_TEST

/* What is done to a table of which there is a copy. */
static const char *const changes[] = {
    "update t set name = 'z' where id = 1",
    "update t set name = '' where id = 3",   /* was NULL */
    "update t set name = null where id = 4", /* was '' */
    "update t set name = 'x ' where id = 1",
    "update t set name = 'X' where id = 1",
    "delete from t where id = 2",
    "insert into t values (5, 'x')",
    "insert into t select * from t where id = 1",
    "insert into t values (null, null)",
    /* values swapped between rows: each column alone is the same */
    "update t set name = case id when 1 then 'y' else 'x' end where id in (1, 2)",
    "update t set id = id + 1",
    "delete from t",
};

START_TEST(every_change_of_a_row_is_seen)
{
    for (size_t i = 0; i < ARRAY_LEN(changes); i++) {
        struct fixture f;
        fixture_open(&f, both[_i]);
        run(&f, "create table t (id int, name text);"
                "insert into t values (1, 'x'), (2, 'y'), (3, null), (4, '');"
                "create table t2 as select * from t");
        ASSERT_SAME(&f, "t", "t2");
        run(&f, changes[i]);
        ASSERT_DIFFERENT(&f, "t", "t2");
        fixture_close(&f);
    }
}
END_TEST

START_TEST(a_swap_between_rows_leaves_the_columns_equal)
{
    struct fixture f;
    fixture_open(&f, both[_i]);
    run(&f, "create table a (id int, name text); insert into a values (1, 'x'), (2, 'y');"
            "create table b (id int, name text); insert into b values (1, 'y'), (2, 'x')");
    struct digest_set s;
    read_all(&f, &s);
    const struct digest *a = find(&f, &s, "a"), *b = find(&f, &s, "b");
    ck_assert_uint_eq(column(a, "id")->sum, column(b, "id")->sum);
    ck_assert_uint_eq(column(a, "name")->sum, column(b, "name")->sum);
    ck_assert_uint_ne(a->sum.lo, b->sum.lo);
    ck_assert_uint_ne(a->sum.hi, b->sum.hi);
    digest_set_release(&s);
    fixture_close(&f);
}
END_TEST

START_TEST(the_name_of_a_column_is_part_of_its_values)
{
    struct fixture f;
    fixture_open(&f, both[_i]);
    run(&f, "create table a (x text, y text); insert into a values ('1', '2');"
            "create table b (x text, y text); insert into b values ('2', '1')");
    ASSERT_DIFFERENT(&f, "a", "b");
    fixture_close(&f);
}
END_TEST

START_TEST(only_the_named_tables_are_read)
{
    struct fixture f;
    fixture_open(&f, both[_i]);
    run(&f, "create table \"b\"\"B c\" (id int); insert into \"b\"\"B c\" values (1);"
            "create table a (id int); create table c (id int)");
    _cleanup_strv_ struct strv names = {0};
    strv_add_take(&names, identity(&f, "\"b\"\"B c\""));
    strv_add_take(&names, identity(&f, "a"));
    strv_add_take(&names, identity(&f, "a"));
    strv_add_take(&names, identity(&f, "missing"));
    strv_add(&names, "missing.missing");
    struct digest_set s;
    read_names(&f, &names, &s);
    ck_assert_uint_eq(s.n, 2);
    ck_assert_uint_eq(find(&f, &s, "a")->sum.rows, 0);
    ck_assert_uint_eq(find(&f, &s, "\"b\"\"B c\"")->sum.rows, 1);
    digest_set_release(&s);
    fixture_close(&f);
}
END_TEST

START_TEST(names_and_values_of_any_kind_are_read)
{
    struct fixture f;
    fixture_open(&f, both[_i]);
    run(&f, "create table \"a\"\"b.c\n\" (\"x\"\"y\" text, \"select\" text, \"\xc3\xa4\" text);"
            "insert into \"a\"\"b.c\n\" values ('tab\tnew\nline\r\\N', '\\', '\xf0\x9f\x90\xb4');"
            "create table copy as select * from \"a\"\"b.c\n\"");
    ASSERT_SAME(&f, "\"a\"\"b.c\n\"", "copy");
    run(&f, "update copy set \"select\" = '\\\\'");
    ASSERT_DIFFERENT(&f, "\"a\"\"b.c\n\"", "copy");
    fixture_close(&f);
}
END_TEST

START_TEST(generated_columns_have_a_sum_and_take_no_part_in_the_row)
{
    struct fixture f;
    fixture_open(&f, both[_i]);
    run(&f, "create table a (id int, twice int generated always as (id * 2) stored);"
            "insert into a values (1), (2);"
            "create table b (id int, twice int generated always as (id + id) stored);"
            "insert into b values (2), (1);"
            "create table c (id int); insert into c values (1), (2)");
    ASSERT_SAME(&f, "a", "b");
    struct digest_set s;
    read_all(&f, &s);
    const struct digest *a = find(&f, &s, "a"), *c = find(&f, &s, "c");
    ck_assert(column(a, "twice")->generated);
    ck_assert_uint_ne(column(a, "twice")->sum, 0);
    ck_assert_uint_eq(a->sum.lo, c->sum.lo);
    ck_assert_uint_eq(a->sum.hi, c->sum.hi);
    digest_set_release(&s);
    fixture_close(&f);
}
END_TEST

START_TEST(version_tables_are_left_out)
{
    struct fixture f;
    fixture_open(&f, both[_i]);
    run(&f, is_postgres(&f) ? "create table versions (id serial); create table t (id int)"
                            : "create table versions (id integer primary key autoincrement);"
                              "create table t (id int)");
    const struct digest_options o = {.leave_out = (const char *[]){"versions", NULL}, .keep = true};
    for (int i = 0; i < 2; i++) {
        struct digest_set s = {0};
        _cleanup_err_ struct err err = {0};
        ASSERT_OK(digest_read(f.db, NULL, &o, &s, &err), &err);
        ck_assert_uint_eq(s.n, 1);
        ck_assert_uint_eq(find(&f, &s, "t")->sum.ncolumns, 1);
        digest_set_release(&s);
    }
    fixture_close(&f);
}
END_TEST

START_TEST(the_definition_is_what_the_header_says)
{
    struct fixture f;
    fixture_open(&f, both[_i]);
    run(&f, "create table t (id int, name text); insert into t values (7, 'x'), (8, null)");
    const char integer[] = "i\0\0\0\0\0\0\0\7", text[] = "tx";
    uint64_t id = XXH3_64bits("id", 2), name = XXH3_64bits("name", 4);
    uint64_t seven =
        is_postgres(&f) ? XXH3_64bits_withSeed("7", 1, id) : XXH3_64bits_withSeed(integer, 9, id);
    uint64_t x =
        is_postgres(&f) ? XXH3_64bits_withSeed("x", 1, name) : XXH3_64bits_withSeed(text, 2, name);
    uint64_t null = XXH3_64bits_withSeed("", 0, ~name);
    struct digest_set s;
    read_all(&f, &s);
    const struct digest *d = find(&f, &s, "t");
    ck_assert_uint_eq(d->sum.rows, 2);
    ck_assert_uint_eq(column(d, "name")->sum, x + null);
    ck_assert_uint_eq(column(d, "name")->nulls, 1);
    run(&f, "delete from t where id = 8");
    digest_set_release(&s);
    read_all(&f, &s);
    d = find(&f, &s, "t");
    uint64_t h = seven + x;
    h = (h ^ h >> 33) * 0xff51afd7ed558ccdu;
    h = (h ^ h >> 33) * 0xc4ceb9fe1a85ec53u;
    ck_assert_uint_eq(d->sum.lo, h ^ h >> 33);
    digest_set_release(&s);
    fixture_close(&f);
}
END_TEST

/* ---- PostgreSQL's kinds of tables ---- */

START_TEST(a_partitioned_table_is_one_table)
{
    struct fixture f;
    fixture_open(&f, &engine_postgres);
    run(&f, "create table p (id int, name text, twice int generated always as (id * 2) stored)"
            " partition by range (id);"
            "create table p1 partition of p for values from (0) to (10);"
            "create table p2 (name text, gone int, id int not null, twice int generated always as"
            " (id * 2) stored);"
            "alter table p2 drop column gone;"
            "alter table p attach partition p2 for values from (10) to (20);"
            "create table p3 partition of p for values from (20) to (40) partition by list (id);"
            "create table p31 partition of p3 default;"
            "create table empty_p (id int) partition by list (id);"
            "insert into p select i, 'n' || i from generate_series(1, 30) i;"
            "create table plain (id int, name text, twice int generated always as (id * 2) stored);"
            "insert into plain select id, name from p");
    ASSERT_SAME(&f, "p", "plain");
    struct digest_set s;
    read_all(&f, &s);
    ck_assert_uint_eq(s.n, 3);
    ck_assert_uint_eq(find(&f, &s, "empty_p")->sum.rows, 0);
    digest_set_release(&s);
    /* the name of a partition stands for the whole */
    _cleanup_strv_ struct strv names = {0};
    strv_add(&names, "public.p31");
    strv_add(&names, "public.p");
    read_names(&f, &names, &s);
    ck_assert_uint_eq(s.n, 1);
    ck_assert_uint_eq(find(&f, &s, "p")->sum.rows, 30);
    digest_set_release(&s);
    fixture_close(&f);
}
END_TEST

START_TEST(a_parent_is_read_without_its_children)
{
    struct fixture f;
    fixture_open(&f, &engine_postgres);
    run(&f, "create table parent (id int, g int generated always as (id) stored);"
            "create table child (x int) inherits (parent);"
            "insert into parent values (1); insert into child values (2)");
    struct digest_set s;
    read_all(&f, &s);
    ck_assert_uint_eq(find(&f, &s, "parent")->sum.rows, 1);
    ck_assert_uint_eq(find(&f, &s, "child")->sum.rows, 1);
    ck_assert_uint_eq(find(&f, &s, "child")->sum.ncolumns, 3);
    digest_set_release(&s);
    fixture_close(&f);
}
END_TEST

START_TEST(tables_of_every_kind_are_read)
{
    struct fixture f;
    fixture_open(&f, &engine_postgres);
    run(&f, "create table nothing (); insert into nothing default values; insert into nothing "
            "default values;"
            "create table dropped (a int, b int, c text); insert into dropped values (1, 2, 'x');"
            "alter table dropped drop column b;"
            "create table kept (a int, c text); insert into kept values (1, 'x');"
            "create unlogged table u (id int); insert into u values (1);"
            "create temporary table t (id int); insert into t values (1);"
            "create view v as select * from u; create materialized view m as select * from u;"
            "create table odd (j json, jb jsonb, x xml, a int[], p point, r int4range, ts tsvector,"
            " ti tid, ac aclitem, rc regclass, n money, b bytea);"
            "insert into odd values ('{\"a\" :  1}', '{}', '<a/>', '{1,NULL}', '(1,2)', '[1,3)',"
            " 'a b', '(1,2)', 'postgres=r/postgres', 'pg_class', 12.5, '\\x00')");
    ASSERT_SAME(&f, "dropped", "kept");
    struct digest_set s;
    read_all(&f, &s);
    ck_assert_uint_eq(s.n, 5);
    ck_assert_uint_eq(find(&f, &s, "nothing")->sum.rows, 2);
    ck_assert_uint_eq(find(&f, &s, "nothing")->sum.ncolumns, 0);
    ck_assert_uint_eq(find(&f, &s, "u")->sum.rows, 1);
    ck_assert_uint_eq(find(&f, &s, "odd")->sum.rows, 1);
    digest_set_release(&s);
    fixture_close(&f);
}
END_TEST

START_TEST(settings_of_the_session_do_not_matter)
{
    static const char *const settings =
        "set timezone = 'Asia/Tokyo'; set datestyle = 'German'; set intervalstyle = iso_8601;"
        "set extra_float_digits = -15; set bytea_output = escape; set search_path = public;"
        "set quote_all_identifiers = on; set lc_monetary = 'C'";
    struct fixture f;
    fixture_open(&f, &engine_postgres);
    run(&f, "create table t (a timestamptz, b date, c interval, d float8, e bytea, f regclass);"
            "insert into t values ('2024-01-02 03:04+00', '2024-01-02', '1 day', 1.0/3, '\\x00ff',"
            " 't')");
    _cleanup_free_ char *before = digest_text(&f, "t");
    run(&f, settings);
    _cleanup_free_ char *after = digest_text(&f, "t");
    ck_assert_str_eq(before, after);
    _cleanup_free_ char *zone = NULL;
    _cleanup_err_ struct err err = {0};
    ASSERT_OK(db_query_text(f.db, "show timezone", NULL, 0, &zone, &err), &err);
    ck_assert_str_eq(zone, "Asia/Tokyo");
    fixture_close(&f);
}
END_TEST

START_TEST(row_level_security_is_never_a_silent_hole)
{
    struct fixture f;
    fixture_open(&f, &engine_postgres);
    run(&f, "create table t (id int); insert into t values (1), (2);"
            "alter table t enable row level security; alter table t force row level security;"
            "create policy half on t using (id = 1);"
            "create role belay_digest_reader; grant select on t to belay_digest_reader;"
            "grant usage on schema public to belay_digest_reader");
    struct digest_set s;
    read_all(&f, &s);
    ck_assert_uint_eq(find(&f, &s, "t")->sum.rows, 2);
    digest_set_release(&s);
    run(&f, "set role belay_digest_reader");
    _cleanup_err_ struct err err = {0};
    s = (struct digest_set){0};
    ck_assert_int_eq(digest_read(f.db, NULL, NULL, &s, &err), -1);
    ck_assert_ptr_nonnull(strstr(err.message, "row-level security"));
    ck_assert_ptr_nonnull(strstr(err.statement, "public.t"));
    ck_assert(!db_in_transaction(f.db));
    ck_assert_uint_eq(s.n, 0);
    run(&f, "reset role; drop owned by belay_digest_reader; drop role belay_digest_reader");
    fixture_close(&f);
}
END_TEST

START_TEST(a_database_without_an_encoding_is_read_as_it_is)
{
    struct fixture f;
    fixture_open(&f, &engine_postgres);
    _cleanup_err_ struct err err = {0};
    _cleanup_db_ struct db *db = NULL;
    _cleanup_free_ char *name = NULL, *url = NULL;
    ASSERT_OK(db_query_text(f.db, "select current_database()", NULL, 0, &name, &err), &err);
    _cleanup_free_ char *create = xasprintf(
        "create database %s_raw template template0 encoding 'SQL_ASCII' locale 'C'", name);
    run(&f, create);
    const char *old = scratch_url(f.scratch), *at = strstr(old, name);
    url = xasprintf("%.*s%s_raw%s", (int)(at - old), old, name, at + strlen(name));
    ASSERT_OK(db_open(&engine_postgres, url, DB_OPEN_DEFAULT, &db, &err), &err);
    ASSERT_OK(db_run(db,
                     "set client_encoding = sql_ascii; create table t (v text);"
                     "insert into t values (E'caf\\xe9\\\\'); set client_encoding = utf8",
                     0, NULL, &err),
              &err);
    struct digest_set s = {0};
    ASSERT_OK(digest_read(db, NULL, NULL, &s, &err), &err);
    uint64_t seed = XXH3_64bits("v", 1);
    ck_assert_uint_eq(s.n, 1);
    ck_assert_uint_eq(s.v[0].sum.columns[0].sum, XXH3_64bits_withSeed("caf\xe9\\", 5, seed));
    digest_set_release(&s);
    db_close(TAKE_PTR(db));
    _cleanup_free_ char *drop = xasprintf("drop database %s_raw", name);
    run(&f, drop);
    fixture_close(&f);
}
END_TEST

static int64_t next_of(const struct fixture *f, const char *name)
{
    struct digest_set s;
    _cleanup_strv_ struct strv names = {0};
    strv_add_take(&names, identity(f, name));
    read_names(f, &names, &s);
    const struct digest *d = find(f, &s, name);
    ck_assert(d->sequence);
    int64_t next = d->next;
    digest_set_release(&s);
    return next;
}

START_TEST(a_sequence_says_what_it_gives_next)
{
    struct fixture f;
    fixture_open(&f, &engine_postgres);
    run(&f, "create sequence a; create sequence down increment -2 start 10 minvalue 7 maxvalue 10"
            " cycle; create sequence big increment 9000000000000000000;"
            "create table t (id int generated always as identity, b serial)");
    ck_assert_int_eq(next_of(&f, "a"), 1);
    run(&f, "select nextval('a')");
    ck_assert_int_eq(next_of(&f, "a"), 2);
    run(&f, "select setval('a', 50, false)");
    ck_assert_int_eq(next_of(&f, "a"), 50);
    ck_assert_int_eq(next_of(&f, "down"), 10);
    run(&f, "select nextval('down'), nextval('down')");
    ck_assert_int_eq(next_of(&f, "down"), 10);
    run(&f, "select nextval('big'), nextval('big')");
    ck_assert_int_eq(next_of(&f, "big"), INT64_MAX);
    ck_assert_int_eq(next_of(&f, "t_id_seq"), 1);
    run(&f, "insert into t default values");
    ck_assert_int_eq(next_of(&f, "t_id_seq"), 2);
    ck_assert_int_eq(next_of(&f, "t_b_seq"), 2);
    fixture_close(&f);
}
END_TEST

START_TEST(more_sequences_than_one_statement_takes_are_read)
{
    struct fixture f;
    fixture_open(&f, &engine_postgres);
    run(&f, "do $$begin for i in 1..250 loop execute format('create sequence s%s start %s', i, i);"
            " end loop; end$$");
    struct digest_set s;
    read_all(&f, &s);
    ck_assert_uint_eq(s.n, 250);
    for (size_t i = 0; i < s.n; i++)
        ck_assert_int_eq(s.v[i].next, atoi(s.v[i].name + strlen("public.s")));
    digest_set_release(&s);
    fixture_close(&f);
}
END_TEST

START_TEST(the_callers_transaction_is_read_and_left_open)
{
    struct fixture f;
    fixture_open(&f, both[_i]);
    run(&f, "create table t (id int); begin; insert into t values (1)");
    struct digest_set s = {0};
    _cleanup_err_ struct err err = {0};
    ASSERT_OK(digest_read(f.db, NULL, NULL, &s, &err), &err);
    ck_assert_uint_eq(find(&f, &s, "t")->sum.rows, 1);
    ck_assert(db_in_transaction(f.db));
    digest_set_release(&s);
    run(&f, "rollback");
    fixture_close(&f);
}
END_TEST

/* A request to stop ends the reading, and only that. */
START_TEST(reading_can_be_interrupted)
{
    struct fixture f;
    fixture_open(&f, both[_i]);
    run(&f, "create table t (id int); insert into t values (1)");
    struct digest_set s = {0};
    _cleanup_err_ struct err err = {0};
    db_cancel(f.db);
    ck_assert_int_eq(digest_read(f.db, NULL, NULL, &s, &err), -1);
    ck_assert_int_eq(err.code, ERR_INTERRUPTED);
    ck_assert(!db_in_transaction(f.db));
    read_all(&f, &s);
    digest_set_release(&s);
    fixture_close(&f);
}
END_TEST

/* ---- SQLite's ---- */

START_TEST(sqlite_tables_of_every_kind_are_read)
{
    struct fixture f;
    fixture_open(&f, &engine_sqlite);
    run(&f,
        "create table w (a text primary key, b) without rowid; insert into w values ('x', 1);"
        "create table s (a text primary key, b any) strict; insert into s values ('x', 1);"
        "create virtual table docs using fts5(title, body);"
        "insert into docs values ('a title', 'a body');"
        "create virtual table boxes using rtree(id, x0, x1); insert into boxes values (1, 2, 3);"
        "create view v as select * from w;"
        "create table g (a int, b int generated always as (a + 1) virtual);"
        "insert into g values (1);"
        "create temporary table t (id int); insert into t values (1)");
    ASSERT_SAME(&f, "w", "s");
    struct digest_set s;
    read_all(&f, &s);
    ck_assert_uint_eq(s.n, 5);
    const struct digest *docs = find(&f, &s, "docs");
    ck_assert_uint_eq(docs->sum.ncolumns, 2);
    ck_assert_uint_eq(docs->sum.rows, 1);
    ck_assert_uint_eq(column(docs, "body")->sum,
                      XXH3_64bits_withSeed("ta body", 7, XXH3_64bits("body", 4)));
    ck_assert_uint_eq(find(&f, &s, "boxes")->sum.rows, 1);
    ck_assert(column(find(&f, &s, "g"), "b")->generated);
    ck_assert_uint_eq(s.unread.n, 0);
    digest_set_release(&s);
    fixture_close(&f);
}
END_TEST

START_TEST(a_virtual_table_without_its_module_is_named)
{
    struct fixture f;
    fixture_open(&f, &engine_sqlite);
    run(&f, "create table t (id int); pragma writable_schema = on;"
            "insert into sqlite_schema values ('table', 'far', 'far', 0,"
            " 'create virtual table far using nowhere(x)'); pragma writable_schema = reset");
    struct digest_set s;
    read_all(&f, &s);
    ck_assert_uint_eq(s.n, 1);
    ck_assert_uint_eq(s.unread.n, 1);
    ck_assert_str_eq(s.unread.v[0], "far: no such module: nowhere");
    digest_set_release(&s);
    fixture_close(&f);
}
END_TEST

START_TEST(storage_classes_are_told_apart)
{
    static const char *const values[] = {"1",   "1.0", "'1'", "x'31'",    "null",  "''",
                                         "x''", "0",   "0.0", "true + 1", "1e300", "-1e300"};
    struct fixture f;
    fixture_open(&f, &engine_sqlite);
    for (size_t i = 0; i < ARRAY_LEN(values); i++) {
        _cleanup_free_ char *sql =
            xasprintf("create table t%zu (v); insert into t%zu values (%s)", i, i, values[i]);
        run(&f, sql);
    }
    for (size_t i = 0; i < ARRAY_LEN(values); i++) {
        for (size_t k = 0; k < i; k++) {
            _cleanup_free_ char *a = xasprintf("t%zu", i), *b = xasprintf("t%zu", k);
            ASSERT_DIFFERENT(&f, a, b);
        }
    }
    run(&f, "create table minus (v); insert into minus values (-0.0)");
    ASSERT_SAME(&f, "minus", "t8");
    fixture_close(&f);
}
END_TEST

START_TEST(autoincrement_says_what_it_gives_next)
{
    struct fixture f;
    fixture_open(&f, &engine_sqlite);
    run(&f, "create table plain (id integer primary key);"
            "create table \"a b\" (x text, id integer primary key autoincrement)");
    ck_assert_int_eq(next_of(&f, "sqlite_sequence.\"a b\""), 1);
    run(&f, "insert into \"a b\" values ('x', 41)");
    ck_assert_int_eq(next_of(&f, "sqlite_sequence.\"a b\""), 42);
    run(&f, "delete from \"a b\"");
    ck_assert_int_eq(next_of(&f, "sqlite_sequence.\"a b\""), 42);
    run(&f, "delete from sqlite_sequence");
    ck_assert_int_eq(next_of(&f, "sqlite_sequence.\"a b\""), 1);
    struct digest_set s;
    read_all(&f, &s);
    ck_assert_uint_eq(s.n, 3);
    digest_set_release(&s);
    _cleanup_strv_ struct strv names = {0};
    strv_add(&names, "\"a b\"");
    strv_add(&names, "sqlite_sequence");
    strv_add(&names, "sqlite_sequence.\"a b\"");
    read_names(&f, &names, &s);
    ck_assert_uint_eq(s.n, 2);
    digest_set_release(&s);
    fixture_close(&f);
}
END_TEST

START_TEST(a_utf16_database_has_the_same_digests)
{
    struct fixture f, g;
    fixture_open(&f, &engine_sqlite);
    fixture_open(&g, &engine_sqlite);
    run(&g, "pragma encoding = 'UTF-16le'");
    run(&f, "create table t (v); insert into t values ('h\xc3\xa9'), (x'00')");
    run(&g, "create table t (v); insert into t values ('h\xc3\xa9'), (x'00')");
    _cleanup_free_ char *a = digest_text(&f, "t"), *b = digest_text(&g, "t");
    ck_assert_str_eq(a, b);
    fixture_close(&f);
    fixture_close(&g);
}
END_TEST

/* ---- streams ---- */

static const struct {
    const char *line;
    bool good;
} lines[] = {
    {"a\tb\n", true},        {"a\tb", true},       {"\t\n", true},       {"\\N\t\\N\n", true},
    {"\\t\\\\N\tx\n", true}, {"a\n", false},       {"a\tb\tc\n", false}, {"a\\", false},
    {"a\\qb\tc\n", false},   {"\\Nx\ty\n", false}, {"", false},          {"a\tb\\x41\n", false},
};

START_TEST(lines_of_copy_are_checked)
{
    for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
        struct digest_sum d;
        _cleanup_str_ struct str scratch = {0};
        _cleanup_err_ struct err err = {0};
        digest_sum_init(&d, (const char *[]){"x", "y"}, 2);
        int r = digest_sum_copy_row(&d, lines[i].line, strlen(lines[i].line), &scratch, &err);
        ck_assert_msg((r == 0) == lines[i].good, "line %zu", i);
        ck_assert(lines[i].good || err.code == ERR_CONFIG);
        ck_assert_uint_eq(d.rows, lines[i].good);
        digest_sum_release(&d);
    }
}
END_TEST

/* A generator of its own: the same numbers everywhere. */
static uint32_t random_below(uint64_t *state, uint32_t n)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*state >> 33) % n;
}

struct table {
    char *values[40][4]; /* NULL: SQL NULL */
    size_t rows;
};

static char *random_value(uint64_t *state)
{
    static const char *const parts[] = {"a",  "b",   "\t",       "\n", "\\",
                                        "N",  "\\N", "\xc3\xa9", "0",  " ",
                                        "\r", "\v",  "\f",       "\b", "twenty characters...."};
    if (random_below(state, 5) == 0)
        return NULL;
    struct str s = {0};
    for (uint32_t n = random_below(state, 6); n; n--)
        str_add(&s, parts[random_below(state, ARRAY_LEN(parts))]);
    return str_take(&s);
}

static void random_table(uint64_t *state, struct table *t)
{
    t->rows = 1 + random_below(state, 39);
    for (size_t i = 0; i < t->rows; i++)
        for (size_t k = 0; k < 4; k++)
            t->values[i][k] = random_value(state);
}

static void table_release(struct table *t)
{
    for (size_t i = 0; i < t->rows; i++)
        for (size_t k = 0; k < 4; k++)
            free(t->values[i][k]);
}

static void sum_table(const struct table *t, size_t from, size_t to, struct digest_sum *d)
{
    digest_sum_init(d, (const char *[]){"a", "b", "c", "d"}, 4);
    for (size_t i = from; i < to; i++) {
        struct digest_value values[4];
        for (size_t k = 0; k < 4; k++)
            values[k] = (struct digest_value){t->values[i][k],
                                              t->values[i][k] ? strlen(t->values[i][k]) : 0};
        digest_sum_row(d, values);
    }
}

static char *sum_text(const struct digest_sum *sum)
{
    const struct digest d = {.sum = *sum};
    return text_of(&d);
}

/* As PostgreSQL writes it. */
static void copy_line(char *const *values, struct str *ret)
{
    static const char special[] = "\b\f\n\r\t\v\\", letters[] = "bfnrtv\\";
    for (size_t k = 0; k < 4; k++) {
        str_add(ret, k ? "\t" : "");
        if (!values[k])
            str_add(ret, "\\N");
        for (const char *p = values[k]; p && *p; p++) {
            const char *at = strchr(special, *p);
            if (at)
                str_addc(ret, '\\');
            str_addc(ret, at ? letters[at - special] : *p);
        }
    }
    str_addc(ret, '\n');
}

START_TEST(lines_values_and_parts_come_to_the_same)
{
    uint64_t state = 1;
    for (int round = 0; round < 200; round++) {
        struct table t;
        struct digest_sum whole, by_lines, first, second;
        _cleanup_str_ struct str scratch = {0}, line = {0};
        _cleanup_err_ struct err err = {0};
        random_table(&state, &t);
        sum_table(&t, 0, t.rows, &whole);
        size_t half = random_below(&state, (uint32_t)t.rows + 1);
        sum_table(&t, 0, half, &first);
        sum_table(&t, half, t.rows, &second);
        digest_sum_add(&first, &second);
        digest_sum_init_like(&by_lines, &whole);
        for (size_t i = t.rows; i-- > 0;) {
            str_clear(&line);
            copy_line(t.values[i], &line);
            /* at an address of its own, so that reading past the end is found */
            char *exact = xmalloc(line.len);
            memcpy(exact, line.p, line.len);
            ASSERT_OK(digest_sum_copy_row(&by_lines, exact, line.len, &scratch, &err), &err);
            free(exact);
        }
        _cleanup_free_ char *a = sum_text(&whole), *b = sum_text(&first), *c = sum_text(&by_lines);
        ck_assert_str_eq(a, b);
        ck_assert_str_eq(a, c);
        digest_sum_release(&whole);
        digest_sum_release(&by_lines);
        digest_sum_release(&first);
        digest_sum_release(&second);
        table_release(&t);
    }
}
END_TEST

static int compare_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The rows as a sorted list: what a digest must tell apart. */
static char *contents(const struct table *t)
{
    _cleanup_strv_ struct strv rows = {0};
    for (size_t i = 0; i < t->rows; i++) {
        struct str line = {0};
        copy_line(t->values[i], &line);
        strv_add_take(&rows, str_take(&line));
    }
    qsort(rows.v, rows.n, sizeof(*rows.v), compare_text);
    return strv_join(&rows, "");
}

static void swap(char **a, char **b)
{
    char *was = *a;
    *a = *b;
    *b = was;
}

/* Changes values, swaps them between rows or columns, or swaps whole rows. */
static void mutate(uint64_t *state, struct table *t)
{
    size_t i = random_below(state, (uint32_t)t->rows), k = random_below(state, 4);
    size_t i2 = random_below(state, (uint32_t)t->rows), k2 = random_below(state, 4);
    switch (random_below(state, 4)) {
    case 0:
        free(t->values[i][k]);
        t->values[i][k] = random_value(state);
        break;
    case 1:
        swap(&t->values[i][k], &t->values[i2][k]);
        break;
    case 2:
        swap(&t->values[i][k], &t->values[i][k2]);
        break;
    default:
        for (size_t c = 0; c < 4; c++)
            swap(&t->values[i][c], &t->values[i2][c]);
    }
}

START_TEST(no_change_leaves_the_digest_equal)
{
    uint64_t state = 20240101;
    size_t changed = 0;
    for (int round = 0; round < 300; round++) {
        struct table t;
        struct digest_sum before, after;
        random_table(&state, &t);
        sum_table(&t, 0, t.rows, &before);
        _cleanup_free_ char *old = contents(&t);
        for (uint32_t n = 1 + random_below(&state, 3); n; n--)
            mutate(&state, &t);
        sum_table(&t, 0, t.rows, &after);
        _cleanup_free_ char *new = contents(&t);
        bool same = strcmp(old, new) == 0;
        ck_assert_msg(same == (before.lo == after.lo && before.hi == after.hi), "round %d", round);
        changed += !same;
        digest_sum_release(&before);
        digest_sum_release(&after);
        table_release(&t);
    }
    ck_assert_uint_gt(changed, 100);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("digest");
    SUITE_ADD_LOOP(s, the_order_of_rows_and_of_columns_does_not_matter, 2);
    SUITE_ADD_LOOP(s, every_change_of_a_row_is_seen, 2);
    SUITE_ADD_LOOP(s, a_swap_between_rows_leaves_the_columns_equal, 2);
    SUITE_ADD_LOOP(s, the_name_of_a_column_is_part_of_its_values, 2);
    SUITE_ADD_LOOP(s, only_the_named_tables_are_read, 2);
    SUITE_ADD_LOOP(s, names_and_values_of_any_kind_are_read, 2);
    SUITE_ADD_LOOP(s, generated_columns_have_a_sum_and_take_no_part_in_the_row, 2);
    SUITE_ADD_LOOP(s, version_tables_are_left_out, 2);
    SUITE_ADD_LOOP(s, the_definition_is_what_the_header_says, 2);
    SUITE_ADD(s, a_partitioned_table_is_one_table);
    SUITE_ADD(s, a_parent_is_read_without_its_children);
    SUITE_ADD(s, tables_of_every_kind_are_read);
    SUITE_ADD(s, settings_of_the_session_do_not_matter);
    SUITE_ADD(s, row_level_security_is_never_a_silent_hole);
    SUITE_ADD(s, a_database_without_an_encoding_is_read_as_it_is);
    SUITE_ADD(s, a_sequence_says_what_it_gives_next);
    SUITE_ADD(s, more_sequences_than_one_statement_takes_are_read);
    SUITE_ADD_LOOP(s, the_callers_transaction_is_read_and_left_open, 2);
    SUITE_ADD_LOOP(s, reading_can_be_interrupted, 2);
    SUITE_ADD(s, sqlite_tables_of_every_kind_are_read);
    SUITE_ADD(s, a_virtual_table_without_its_module_is_named);
    SUITE_ADD(s, storage_classes_are_told_apart);
    SUITE_ADD(s, autoincrement_says_what_it_gives_next);
    SUITE_ADD(s, a_utf16_database_has_the_same_digests);
    SUITE_ADD(s, lines_of_copy_are_checked);
    SUITE_ADD(s, lines_values_and_parts_come_to_the_same);
    SUITE_ADD(s, no_change_leaves_the_digest_equal);
    return fixture_run(s);
}
