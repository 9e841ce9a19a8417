#include "harness/data/generate.h"

#include <string.h>

#include "harness/base/cleanup.h"
#include "harness/data/compare.h"
#include "tests/belay_run.h"
#include "tests/fixture.h"

struct schema {
    const char *title;
    const char *sql;
    const char *holds; /* an expression that is true of the rows; or NULL */
    const char *fails; /* "table: why" of the one that cannot be filled; NULL: all can be */
};

#define PG &engine_postgres
#define LITE &engine_sqlite

#include "tests/generate_schemas.h"

static const struct generate_options usual = {.rows = 6, .seed = 1, .kind = GENERATE_ALL};

static char *joined(const struct strv *l)
{
    return strv_join(l, "; ");
}

static void generate(struct db *db, const struct generate_options *o, struct generate_report *ret)
{
    _cleanup_err_ struct err err = {0};
    int r = generate_rows(db, NULL, o, ret, &err);
    ck_assert_msg(r == 0, "%s (%s)", err.message, err.statement ? err.statement : "");
}

static char *text_of(struct db *db, const char *sql)
{
    _cleanup_err_ struct err err = {0};
    char *text = NULL;
    int r = db_query_text(db, sql, NULL, 0, &text, &err);
    ck_assert_msg(r == 0, "%s: %s", sql, err.message);
    return text;
}

static void run(struct db *db, const char *sql)
{
    _cleanup_err_ struct err err = {0};
    ck_assert_msg(db_run(db, sql, 0, NULL, &err) == 0, "%s: %s", sql, err.message);
}

static void check_schema(const struct engine *e, const struct schema *s,
                         const struct generate_options *o)
{
    struct fixture f;
    fixture_open(&f, e);
    run(f.db, s->sql);
    struct generate_report report = {0};
    generate(f.db, o, &report);
    _cleanup_free_ char *filled = joined(&report.filled), *failed = joined(&report.failed),
                        *why = joined(&report.why);
    if (s->fails) {
        _cleanup_free_ char *said = xasprintf("%s: %s", failed, why);
        ck_assert_msg(strstr(said, s->fails) != NULL, "%s: \"%s\" is not in \"%s\"", s->title,
                      s->fails, said);
    } else {
        ck_assert_msg(report.failed.n == 0, "%s: %s: %s", s->title, failed, why);
    }
    if (s->holds) {
        _cleanup_free_ char *sql =
            xasprintf("select case when %s then 'yes' else 'no' end", s->holds);
        _cleanup_free_ char *holds = text_of(f.db, sql);
        ck_assert_msg(holds && strcmp(holds, "yes") == 0, "%s: not true: %s", s->title, s->holds);
    }
    if (e == &engine_sqlite && !strstr(s->title, "reference to no")) {
        _cleanup_free_ char *wrong = text_of(f.db, "select count(*) from pragma_foreign_key_check");
        _cleanup_free_ char *ok = text_of(f.db, "pragma integrity_check");
        ck_assert_str_eq(wrong, "0");
        ck_assert_str_eq(ok, "ok");
    }
    generate_report_release(&report);
    fixture_close(&f);
}

START_TEST(every_postgres_table_gets_rows)
{
    check_schema(PG, &postgres_schemas[_i], &usual);
}
END_TEST

START_TEST(every_sqlite_table_gets_rows)
{
    check_schema(LITE, &sqlite_schemas[_i], &usual);
}
END_TEST

/* ---- what holds on every engine ---- */

static const char library[] =
    "create table author (id integer primary key, name varchar(40) not null, mail text unique, "
    "born date);"
    "create table book (id integer primary key, author integer not null references author,"
    " title varchar(80), price numeric(6,2) check (price > 0), pages integer, printed timestamp "
    "not null);"
    "create table loan (book integer references book, reader integer references author,"
    " primary key (book, reader));";

static void digests(const struct engine *e, const struct generate_options *o,
                    struct digest_set *ret)
{
    struct fixture f;
    _cleanup_err_ struct err err = {0};
    fixture_open(&f, e);
    run(f.db, library);
    struct generate_report report = {0};
    generate(f.db, o, &report);
    ck_assert_uint_eq(report.filled.n, 3);
    generate_report_release(&report);
    ASSERT_OK(digest_read(f.db, NULL, &(struct digest_options){0}, ret, &err), &err);
    fixture_close(&f);
}

static size_t differences(const struct engine *e, const struct generate_options *a,
                          const struct generate_options *b)
{
    struct digest_set before = {0}, after = {0};
    struct digest_changes changes = {0};
    digests(e, a, &before);
    digests(e, b, &after);
    digest_compare(&before, &after, &changes);
    size_t n = changes.n;
    digest_changes_release(&changes);
    digest_set_release(&before);
    digest_set_release(&after);
    return n;
}

START_TEST(the_same_seed_makes_the_same_rows)
{
    struct generate_options other = usual;
    other.seed = 2;
    ck_assert_uint_eq(differences(engines[_i], &usual, &usual), 0);
    ck_assert_uint_gt(differences(engines[_i], &usual, &other), 0);
}
END_TEST

START_TEST(benign_rows_are_distinct_and_complete)
{
    struct fixture f;
    fixture_open(&f, engines[_i]);
    run(f.db, "create table t (id integer primary key, a text, b varchar(2), c integer, d date,"
              " e numeric(5,2), f boolean, g char(1))");
    struct generate_report report = {0};
    generate(f.db, &(struct generate_options){.rows = 9, .seed = 3, .kind = GENERATE_BENIGN},
             &report);
    _cleanup_free_ char *holds = text_of(
        f.db, "select case when count(*) = 9 and count(a) = 9 and count(d) = 9 and count(f) = 9"
              " and count(distinct a) = 9 and count(distinct b) = 9 and count(distinct c) = 9"
              " and count(distinct d) = 9 and count(distinct e) = 9 and count(distinct g) = 9"
              " and max(length(a)) = 3 and sum(cast(a as integer)) > 900 then 'yes' else 'no' end "
              "from t");
    ck_assert_str_eq(holds, "yes");
    generate_report_release(&report);
    fixture_close(&f);
}
END_TEST

START_TEST(only_named_and_empty_tables_are_filled)
{
    struct fixture f;
    _cleanup_err_ struct err err = {0};
    bool postgres = engines[_i] == &engine_postgres;
    fixture_open(&f, engines[_i]);
    run(f.db, "create table a (x int); create table b (x int); create table c (x int);"
              " create table alembic_version (version_num varchar(32)); insert into b values (1)");
    _cleanup_strv_ struct strv names = {0};
    strv_add(&names, postgres ? "public.a" : "a");
    strv_add(&names, postgres ? "public.b" : "b");
    strv_add(&names, postgres ? "public.gone" : "gone");
    strv_add(&names, postgres ? "public.alembic_version" : "alembic_version");
    struct generate_options o = usual;
    o.leave_out = (const char *const[]){"alembic_version", NULL};
    struct generate_report report = {0};
    ASSERT_OK(generate_rows(f.db, &names, &o, &report, &err), &err);
    ck_assert_uint_eq(report.filled.n, 1);
    ck_assert_uint_eq(report.failed.n, 0);
    ck_assert_str_eq(report.filled.v[0], names.v[0]);
    _cleanup_free_ char *counts =
        text_of(f.db, "select (select count(*) from a) * 100 + (select count(*) from b) * 10"
                      " + (select count(*) from c) + (select count(*) from alembic_version)");
    ck_assert_str_eq(counts, "610");
    generate_report_release(&report);
    fixture_close(&f);
}
END_TEST

START_TEST(given_rows_win_and_children_refer_to_them)
{
    struct fixture f;
    _cleanup_err_ struct err err = {0};
    fixture_open(&f, engines[_i]);
    run(f.db, library);
    const struct given_rows given[] = {
        {"author", "insert into author (id, name) values (70, 'A'); insert into author (id, name)"
                   " values (71, 'B')"}};
    struct generate_options o = usual;
    o.given = given;
    o.ngiven = 1;
    struct generate_report report = {0};
    generate(f.db, &o, &report);
    ck_assert_uint_eq(report.filled.n, 3);
    _cleanup_free_ char *authors = text_of(f.db, "select sum(id) from author");
    _cleanup_free_ char *books =
        text_of(f.db, "select count(*) from book where author in (70, 71)");
    ck_assert_str_eq(authors, "141");
    ck_assert_str_eq(books, "6");
    generate_report_release(&report);
    fixture_close(&f);
}
END_TEST

START_TEST(given_rows_that_are_refused_are_a_mistake_of_who_gave_them)
{
    struct fixture f;
    _cleanup_err_ struct err err = {0};
    fixture_open(&f, engines[_i]);
    run(f.db, library);
    const struct given_rows given[] = {{"book", "insert into book (id) values ('x', 1)"}};
    struct generate_options o = usual;
    o.given = given;
    o.ngiven = 1;
    struct generate_report report = {0};
    ck_assert_int_eq(generate_rows(f.db, NULL, &o, &report, &err), -1);
    ck_assert_int_eq(err.code, ERR_CONFIG);
    ck_assert_msg(strstr(err.message, "rows of ") == err.message, "%s", err.message);
    ck_assert(!db_in_transaction(f.db));
    _cleanup_free_ char *authors = text_of(f.db, "select count(*) from author");
    ck_assert_str_eq(authors, "0");
    fixture_close(&f);
}
END_TEST

START_TEST(many_rows_go_in_batches)
{
    struct fixture f;
    fixture_open(&f, engines[_i]);
    run(f.db, library);
    struct generate_report report = {0};
    generate(f.db, &(struct generate_options){.rows = 5000, .seed = 1, .kind = GENERATE_ALL},
             &report);
    _cleanup_free_ char *counts =
        text_of(f.db, "select min(n) from (select count(*) as n from author union all"
                      " select count(*) from book union all select count(*) from loan) x");
    ck_assert_str_eq(counts, "5000");
    generate_report_release(&report);
    fixture_close(&f);
}
END_TEST

/* A plain insert of an application, or of a migration, after the generated rows. */
START_TEST(the_next_key_is_free)
{
    struct fixture f;
    bool postgres = engines[_i] == &engine_postgres;
    fixture_open(&f, engines[_i]);
    run(f.db, postgres ? "create table t (id serial primary key, a text)"
                       : "create table t (id integer primary key autoincrement, a text)");
    struct generate_report report = {0};
    generate(f.db, &usual, &report);
    run(f.db, "insert into t (a) values ('seed')");
    _cleanup_free_ char *id = text_of(f.db, "select id from t where a = 'seed'");
    ck_assert_str_eq(id, "100007");
    generate_report_release(&report);
    fixture_close(&f);
}
END_TEST

START_TEST(sqlite_gets_its_foreign_keys_setting_back)
{
    static const char *const settings[] = {"on", "off"};
    for (size_t i = 0; i < ARRAY_LEN(settings); i++) {
        struct fixture f;
        fixture_open(&f, LITE);
        _cleanup_free_ char *set = xasprintf("pragma foreign_keys = %s", settings[i]);
        run(f.db, library);
        run(f.db, set);
        struct generate_report report = {0};
        generate(f.db, &usual, &report);
        _cleanup_free_ char *now = text_of(f.db, "pragma foreign_keys");
        ck_assert_str_eq(now, i ? "0" : "1");
        generate_report_release(&report);
        fixture_close(&f);
    }
}
END_TEST

/* ---- belay seed ---- */

static struct run seed(const struct fixture *f, const char *more)
{
    _cleanup_free_ char *args = xasprintf("seed %s %s", scratch_url(f->scratch), more);
    return belay_run("/", NULL, args);
}

START_TEST(seed_fills_what_is_empty)
{
    struct fixture f;
    fixture_open(&f, engines[_i]);
    run(f.db, library);
    run(f.db, "create table schema_migrations (version varchar(9));"
              "create table closed (a int not null check (a < 0 and a > 0))");
    _cleanup_run_ struct run r = seed(&f, "--yes --rows 4");
    ck_assert_msg(r.r.status == 1, "%d: %s", r.r.status, r.errors);
    ck_assert_msg(strstr(r.out, "book\n") != NULL, "%s", r.out);
    ck_assert_msg(strstr(r.out, "closed: ") != NULL, "%s", r.out);
    ck_assert_msg(strstr(r.out, "3 tables filled, 4 rows each, 1 not (seed 1)") != NULL, "%s",
                  r.out);
    _cleanup_free_ char *books = text_of(f.db, "select count(*) from book");
    _cleanup_free_ char *versions = text_of(f.db, "select count(*) from schema_migrations");
    ck_assert_str_eq(books, "4");
    ck_assert_str_eq(versions, "0");
    run(f.db, "drop table closed");
    _cleanup_run_ struct run again = seed(&f, "--yes");
    ck_assert_int_eq(again.r.status, 0);
    ck_assert_str_eq(again.out, "no table is empty: nothing was written\n");
    fixture_close(&f);
}
END_TEST

START_TEST(seed_writes_nothing_that_nobody_confirmed)
{
    struct fixture f;
    fixture_open(&f, engines[_i]);
    run(f.db, library);
    _cleanup_run_ struct run r = seed(&f, "");
    ck_assert_int_eq(r.r.status, 2);
    ck_assert_msg(strstr(r.errors, "nobody is there to confirm") != NULL, "%s", r.errors);
    ck_assert_msg(strstr(r.errors, "--yes") != NULL, "%s", r.errors);
    _cleanup_free_ char *books = text_of(f.db, "select count(*) from book");
    ck_assert_str_eq(books, "0");
    fixture_close(&f);
}
END_TEST

START_TEST(seed_says_what_it_cannot_write_to)
{
    static const struct {
        const char *args, *says;
        int status;
    } cases[] = {
        {"seed --yes", "URL", 2},
        {"seed mysql://u:secret@h/d --yes", "mysql", 2},
        {"seed sqlite:////nowhere/x.db --yes", "cannot open the SQLite database", 3},
        {"seed postgresql://u:secret@127.0.0.1:1/d --yes", "cannot connect", 3},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        _cleanup_run_ struct run r = belay_run("/", NULL, cases[i].args);
        ck_assert_msg(r.r.status == cases[i].status, "%s: %d: %s", cases[i].args, r.r.status,
                      r.errors);
        ck_assert_msg(strstr(r.errors, cases[i].says) != NULL, "%s", r.errors);
        ck_assert_msg(strstr(r.errors, "secret") == NULL, "%s", r.errors);
    }
    struct fixture f;
    fixture_open(&f, PG);
    run(f.db, "create table t (a int)");
    _cleanup_free_ char *name = text_of(f.db, "select current_database()");
    _cleanup_free_ char *set =
        xasprintf("alter database \"%s\" set default_transaction_read_only = on", name);
    run(f.db, set);
    _cleanup_run_ struct run r = seed(&f, "--yes");
    ck_assert_int_eq(r.r.status, 3);
    ck_assert_msg(strstr(r.errors, "its transactions are read-only") != NULL, "%s", r.errors);
    fixture_close(&f);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("generate");
    SUITE_ADD_LOOP(s, every_postgres_table_gets_rows, ARRAY_LEN(postgres_schemas));
    SUITE_ADD_LOOP(s, every_sqlite_table_gets_rows, ARRAY_LEN(sqlite_schemas));
    SUITE_ADD_LOOP(s, the_same_seed_makes_the_same_rows, 2);
    SUITE_ADD_LOOP(s, benign_rows_are_distinct_and_complete, 2);
    SUITE_ADD_LOOP(s, only_named_and_empty_tables_are_filled, 2);
    SUITE_ADD_LOOP(s, given_rows_win_and_children_refer_to_them, 2);
    SUITE_ADD_LOOP(s, given_rows_that_are_refused_are_a_mistake_of_who_gave_them, 2);
    SUITE_ADD_LOOP(s, many_rows_go_in_batches, 2);
    SUITE_ADD_LOOP(s, the_next_key_is_free, 2);
    SUITE_ADD(s, sqlite_gets_its_foreign_keys_setting_back);
    SUITE_ADD_LOOP(s, seed_fills_what_is_empty, 2);
    SUITE_ADD_LOOP(s, seed_writes_nothing_that_nobody_confirmed, 2);
    SUITE_ADD(s, seed_says_what_it_cannot_write_to);
    return fixture_run(s);
}
