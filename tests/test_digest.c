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
    return fixture_run(s);
}
