/*
 * SQLite's SQL as tokens and as canonical text.
 */
#include "tests/suite.h"

#include <sqlite3.h>
#include <string.h>

#include "harness/base/cleanup.h"
#include "harness/schema/sql_token.h"

static char *canonical(const char *sql, const struct sql_scope *scope)
{
    _cleanup_tokens_ struct sql_tokens t = {0};
    struct str s = {0};

    sql_tokenise(sql, &t);
    sql_render(t.v, t.n, scope, &s);
    return str_take(&s);
}

static const struct {
    const char *sql, *kinds;
} tokens[] = {
    {"", ""},
    {" -- nothing\n /* at all */ \t\f\r", ""},
    {"a _b $c \xc3\xa9t\xc3\xa9 a$1", "wwpww"},
    {"\"a\"\"b\" `c``d` [e f]", "qqq"},
    {"'a''b' '' 'a\n--b'", "sss"},
    {"x'00ff' X'AB' x''", "bbb"},
    {"x'0'", "x"},
    {"x'0g'", "xwx"},
    {"1 1.5 .5 1. 1e5 1.5E-3 0xFF 1_000", "nnnnnnnn"},
    {"1a 1.5x 1e", "xxx"},
    {"? ?12 :a @b $c #d", "pppppp"},
    {"a||b a<<1 a>=b a<>b a!=b a==b a->b a->>b", "wowwonwowwowwowwowwowwow"},
    {"(,);.*/%+-~&|=<>", "ooooooooooooooo"},
    {"'open", "x"},
    {"\"open ''", "x"},
    {"[open", "x"},
    {"a /* open", "w"},
    {"a -- open", "w"},
    {"a\\b ^ !", "wxwxx"},
    {": @", "xx"},
    {"\xef\xbb\xbf"
     "a",
     "w"},
};

START_TEST(tokens_are_those_of_sqlite)
{
    static const char letters[] = "wqsbnpox";
    _cleanup_tokens_ struct sql_tokens t = {0};
    _cleanup_str_ struct str kinds = {0};

    sql_tokenise(tokens[_i].sql, &t);
    for (size_t i = 0; i < t.n; i++)
        str_addc(&kinds, letters[t.v[i].kind]);
    ck_assert_str_eq(str_get(&kinds), tokens[_i].kinds);
}
END_TEST

static const struct {
    const char *sql, *text;
} texts[] = {
    {"SELECT  a,b\nFROM\tt -- x\nWHERE a=1", "select a, b from t where a = 1"},
    {"select \"a\",[b],`c` from \"t\"", "select a, b, c from t"},
    {"select \"order\", \"two words\", \"1a\", \"\"",
     "select \"order\", \"two words\", \"1a\", \"\""},
    {"select [x\"y], `x\"y`", "select \"x\"\"y\", \"x\"\"y\""},
    {"select \"TRUE\", true, \"left\", TRUE", "select \"TRUE\", true, \"left\", true"},
    {"select Key, \"Key\"", "select key, key"},
    {"LOWER ( a ) , Coalesce(b,  1)", "lower(a), coalesce(b, 1)"},
    {"a COLLATE NoCase", "a collate nocase"},
    {"a IN (1,2) AND (b OR c)", "a in (1, 2) and (b or c)"},
    {"-1 , a - 1 , a- -1, - a, (-1), not -a, +1, ~a",
     "-1, a - 1, a - -1, -a, (-1), not -a, +1, ~a"},
    {"count( * ), t . a, 2*3", "count(*), t.a, 2 * 3"},
    {"NEW.a = Old.b", "new.a = old.b"},
    {"X'AB', 0XFF, 1E5, 'Ab'", "x'ab', 0xff, 1e5, 'Ab'"},
    {"Total, \"Total\"", "Total, Total"},
    {"\xc3\x89t\xc3\xa9", "\xc3\x89t\xc3\xa9"},
    {"insert into \"T\" (A) values(1);", "insert into t(A) values (1);"},
};

START_TEST(canonical_text_folds_all_but_names_and_strings)
{
    _cleanup_free_ char *text = canonical(texts[_i].sql, NULL);
    _cleanup_free_ char *again = canonical(text, NULL);

    ck_assert_str_eq(text, texts[_i].text);
    ck_assert_str_eq(again, text);
}
END_TEST

static const struct {
    const char *sql, *text;
} resolved[] = {
    {"\"AMOUNT\" > 0 and [amount] < 9", "Amount > 0 and Amount < 9"},
    {"AMOUNT > \"x\"", "Amount > 'x'"},
    {"state in (\"New\", \"it's\")", "state in ('New', 'it''s')"},
    {"`New` = 1", "new = 1"},
    {"\"Two Words\" = 1", "\"two words\" = 1"},
    {"ORDERS.\"Amount\" > 0", "Orders.Amount > 0"},
    {"\"other\".amount", "other.Amount"},
    {"\"lower\"(state)", "lower(state)"},
    {"\"rowid\" > RowId", "rowid > rowid"},
    {"cast(state as Amount)", "cast(state as amount)"},
    {"state collate \"Amount\"", "state collate amount"},
    {"TRUE and \"true\" <> state", "true and 'true' <> state"},
};

START_TEST(names_in_a_table_are_resolved_as_sqlite_does_it)
{
    const char *columns[] = {"Amount", "state", "two words"};
    const struct sql_scope scope = {.table = "Orders", .columns = columns, .n = 3};
    _cleanup_free_ char *text = canonical(resolved[_i].sql, &scope);

    ck_assert_str_eq(text, resolved[_i].text);
}
END_TEST

/* Every keyword of the library, as the name of a column without quotes: what SQLite refuses must be
 * reserved for us, and the other way round. */
START_TEST(reserved_words_are_those_that_sqlite_reserves)
{
    sqlite3 *db;

    ck_assert_int_eq(sqlite3_open(":memory:", &db), SQLITE_OK);
    ck_assert_int_gt(sqlite3_keyword_count(), 100);
    for (int i = 0; i < sqlite3_keyword_count(); i++) {
        const char *word;
        int n;
        sqlite3_keyword_name(i, &word, &n);
        _cleanup_free_ char *sql = xasprintf("create table t(%.*s int, a)", n, word);
        bool accepted = sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK;
        if (accepted)
            sqlite3_exec(db, "drop table t", NULL, NULL, NULL);
        const struct sql_token t = {.kind = SQL_WORD, .text = word, .n = (size_t)n};
        ck_assert_msg(accepted != sql_is_reserved(&t), "%.*s is %s by SQLite", n, word,
                      accepted ? "accepted" : "refused");
    }
    sqlite3_close(db);
}
END_TEST

/* Any bytes: the tokens cover all of the text, and the canonical text of canonical text is itself
 * (unless something in it was refused). */
START_TEST(any_text_is_taken_apart_without_a_gap)
{
    static const char some[] = "aZ_9 \n'\"`[](),.;-/*+xX'eE0=<>|~$?:@#\\\xc3\xa9\xff%";

    srand(5);
    for (int round = 0; round < 20000; round++) {
        char sql[64];
        size_t n = (size_t)rand() % (sizeof(sql) - 1);
        for (size_t i = 0; i < n; i++)
            sql[i] = some[(size_t)rand() % (sizeof(some) - 1)];
        sql[n] = '\0';
        _cleanup_tokens_ struct sql_tokens t = {0};
        sql_tokenise(sql, &t);
        const char *end = sql;
        bool bad = false;
        for (size_t i = 0; i < t.n; i++) {
            ck_assert(t.v[i].text >= end);
            ck_assert_uint_gt(t.v[i].n, 0);
            end = t.v[i].text + t.v[i].n;
            ck_assert(end <= sql + n);
            bad = bad || t.v[i].kind == SQL_BAD;
        }
        _cleanup_free_ char *text = canonical(sql, NULL);
        _cleanup_free_ char *again = canonical(text, NULL);
        if (!bad)
            ck_assert_str_eq(again, text);
    }
}
END_TEST

int main(void)
{
    Suite *s = suite_create("sql_token");

    SUITE_ADD_LOOP(s, tokens_are_those_of_sqlite, ARRAY_LEN(tokens));
    SUITE_ADD_LOOP(s, canonical_text_folds_all_but_names_and_strings, ARRAY_LEN(texts));
    SUITE_ADD_LOOP(s, names_in_a_table_are_resolved_as_sqlite_does_it, ARRAY_LEN(resolved));
    SUITE_ADD(s, reserved_words_are_those_that_sqlite_reserves);
    SUITE_ADD(s, any_text_is_taken_apart_without_a_gap);
    return suite_run(s);
}
