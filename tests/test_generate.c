#include "harness/data/generate.h"

#include <string.h>

#include "harness/base/cleanup.h"
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

int main(void)
{
    Suite *s = suite_create("generate");
    SUITE_ADD_LOOP(s, every_postgres_table_gets_rows, ARRAY_LEN(postgres_schemas));
    SUITE_ADD_LOOP(s, every_sqlite_table_gets_rows, ARRAY_LEN(sqlite_schemas));
    return fixture_run(s);
}
