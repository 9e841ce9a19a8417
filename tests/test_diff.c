/*
 * What differs between two snapshots, and how it is told.
 */
#include "tests/suite.h"

#include <string.h>
#include <time.h>

#include "harness/schema/diff.h"
#include "tests/snapshot_text.h"

/* Each case: two snapshots, and all lines that change_text() gives, in order. */
static const struct {
    const char *before, *after, *lines;
    enum change_class class;
} cases[] = {
    {"table|t\n", "table|t\n", "", CHANGE_COMMENT},
    {"constraint|public.posts.fk_posts_user|on delete=CASCADE\n",
     "constraint|public.posts.fk_posts_user|on delete=NO ACTION\n",
     "constraint public.posts.fk_posts_user: on delete CASCADE -> NO ACTION\n", CHANGE_REAL},
    {"", "index|public.i|table=public.t|columns=a, lower(b)\n",
     "+ index public.i (on public.t (a, lower(b)))\n", CHANGE_REAL},
    {"", "column|t.c|type=integer|not null=yes|position=1\n", "+ column t.c (integer, not null)\n",
     CHANGE_REAL},
    {"", "constraint|t.c|type=unique|columns=a, b\n", "+ constraint t.c (unique (a, b))\n",
     CHANGE_REAL},
    {"table|t\n", "", "- table t\n", CHANGE_REAL},
    {"view|v\n", "table|v\n", "+ table v\n- view v\n", CHANGE_REAL},
    {"column|t.a|default=1\n", "column|t.a\n", "column t.a: default 1 -> (none)\n", CHANGE_REAL},
    {"column|t.a\n", "column|t.a|default=\n", "column t.a: default (none) -> ''\n", CHANGE_REAL},
    {"table|t|comment=x\n", "table|t|comment=y\n", "table t: comment x -> y\n", CHANGE_COMMENT},
    {"table|t\n", "table|t|comment=y\n", "table t: comment (none) -> y\n", CHANGE_COMMENT},
    {"table|t|a=1|b=1|c=1\n", "table|t|b=2|c=1|d=1\n",
     "table t: a 1 -> (none)\ntable t: b 1 -> 2\ntable t: d (none) -> 1\n", CHANGE_REAL},
    /* white space */
    {"view|v|body=select  1\n", "view|v|body= select 1 \n",
     "view v: body select  1 ->  select 1 \n", CHANGE_WHITESPACE},
    {"view|v|body=f ( a , b )\n", "view|v|body=f(a,b)\n", "view v: body f ( a , b ) -> f(a,b)\n",
     CHANGE_WHITESPACE},
    {"view|v|body=a b\n", "view|v|body=ab\n", "view v: body a b -> ab\n", CHANGE_REAL},
    {"view|v|body=a b\n", "view|v|body=a c\n", "view v: body a b -> a c\n", CHANGE_REAL},
    {"view|v|body=a\n", "view|v|body=a b\n", "view v: body a -> a b\n", CHANGE_REAL},
    {"view|v|body=a\n", "view|v\n", "view v: body a -> (none)\n", CHANGE_REAL},
    {"view|v|other=a  b\n", "view|v|other=a b\n", "view v: other a  b -> a b\n", CHANGE_REAL},
    /* order of columns */
    {"column|t.a|position=1\ncolumn|t.b|position=2\ncolumn|t.c|position=3\ncolumn|t.d|position=4\n",
     "column|t.a|position=1\ncolumn|t.c|position=2\ncolumn|t.d|position=3\ncolumn|t.b|position=4\n",
     "column t.b: position 2 -> 4\n", CHANGE_COLUMN_ORDER},
    {"column|t.a|position=1\ncolumn|t.b|position=2\n",
     "column|t.a|position=2\ncolumn|t.b|position=1\n", "column t.a: position 1 -> 2\n",
     CHANGE_COLUMN_ORDER},
    {"column|t.a|position=1\ncolumn|t.b|position=2\ncolumn|t.c|position=3\n",
     "column|t.b|position=1\ncolumn|t.c|position=2\n", "- column t.a\n", CHANGE_REAL},
    {"column|t.a|position=1\ncolumn|t.c|position=2\n",
     "column|t.a|position=1\ncolumn|t.b|position=2\ncolumn|t.c|position=3\n", "+ column t.b\n",
     CHANGE_REAL},
    {"column|t.a|position=1\ncolumn|t.b|position=2|type=x\ncolumn|t.c|position=3\n",
     "column|t.a|position=1\ncolumn|t.b|position=3|type=y\ncolumn|t.c|position=2\n",
     "column t.b: position 2 -> 3\ncolumn t.b: type x -> y\n", CHANGE_REAL},
    /* a moved to its old number: the other one tells it */
    {"column|t.x|position=1\ncolumn|t.a|position=2\ncolumn|t.b|position=3\n",
     "column|t.b|position=1\ncolumn|t.a|position=2\n",
     "column t.b: position 3 -> 1\n- column t.x\n", CHANGE_REAL},
    /* two tables, one between them that changes nothing, names that begin alike or hold dots */
    {"column|s.t.a|position=1\ncolumn|s.t.b|position=2\ncolumn|s.t2.a|position=1\n"
     "column|s.\"t.a\".a|position=1\ncolumn|s.\"t.a\".b|position=2\n",
     "column|s.t.a|position=2\ncolumn|s.t.b|position=1\ncolumn|s.t2.a|position=1\n"
     "column|s.\"t.a\".a|position=2\ncolumn|s.\"t.a\".b|position=1\n",
     "column s.\"t.a\".a: position 1 -> 2\ncolumn s.t.a: position 1 -> 2\n", CHANGE_COLUMN_ORDER},
    /* escapes */
    {"", "table|a\tb\x7f\n", "+ table a\\tb\\x7F\n", CHANGE_REAL},
};

START_TEST(diff_names_the_property_that_differs)
{
    _cleanup_snapshot_ struct snapshot *before = snapshot_of(cases[_i].before);
    _cleanup_snapshot_ struct snapshot *after = snapshot_of(cases[_i].after);
    _cleanup_diff_ struct diff d = {0};
    _cleanup_str_ struct str lines = {0};

    diff_snapshots(before, after, &d);
    for (size_t i = 0; i < d.n; i++) {
        _cleanup_free_ char *text = change_text(&d.changes[i], false);
        str_addf(&lines, "%s\n", text);
    }
    ck_assert_str_eq(str_get(&lines), cases[_i].lines);
    ck_assert_int_eq(diff_class(&d), cases[_i].class);
    ck_assert_int_eq(snapshot_equal(before, after), d.n == 0);
}
END_TEST

/* Random permutations, compared with a search through all subsets. */
START_TEST(diff_names_as_few_moved_columns_as_explain_the_order)
{
    enum { COLUMNS = 7 };

    srand(11);
    for (int round = 0; round < 200; round++) {
        int order[COLUMNS];
        for (int i = 0; i < COLUMNS; i++) {
            int k = rand() % (i + 1);
            order[i] = order[k];
            order[k] = i;
        }
        size_t longest = 0;
        for (unsigned set = 0; set < 1u << COLUMNS; set++) {
            int last = -1;
            size_t n = 0;
            for (int i = 0; i < COLUMNS && n != SIZE_MAX; i++) {
                if (!(set & 1u << i))
                    continue;
                n = order[i] > last ? n + 1 : SIZE_MAX;
                last = order[i];
            }
            if (n != SIZE_MAX && n > longest)
                longest = n;
        }
        _cleanup_str_ struct str before = {0}, after = {0};
        for (int i = 0; i < COLUMNS; i++) {
            str_addf(&before, "column|t.c%d|position=%d\n", i, i + 1);
            str_addf(&after, "column|t.c%d|position=%d\n", order[i], i + 1);
        }
        _cleanup_snapshot_ struct snapshot *a = snapshot_of(str_get(&before));
        _cleanup_snapshot_ struct snapshot *b = snapshot_of(str_get(&after));
        _cleanup_diff_ struct diff d = {0};
        diff_snapshots(a, b, &d);
        /* less when one that moved has its old number again */
        ck_assert_uint_le(d.n, COLUMNS - longest);
        ck_assert_int_eq(d.n == 0, longest == COLUMNS);
    }
}
END_TEST

#define TEN "0123456789"
#define LONG TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN

START_TEST(long_values_are_cut_around_the_first_difference)
{
    _cleanup_snapshot_ struct snapshot *a = snapshot_of("view|v|body=" LONG "X" LONG "\n");
    _cleanup_snapshot_ struct snapshot *b = snapshot_of("view|v|body=" LONG "Y" LONG "\n");
    _cleanup_diff_ struct diff d = {0};

    diff_snapshots(a, b, &d);
    ck_assert_uint_eq(d.n, 1);
    _cleanup_free_ char *text = change_text(&d.changes[0], false);
    _cleanup_free_ char *full = change_text(&d.changes[0], true);
    ck_assert_str_eq(text, "view v: body …6789" TEN TEN "X" TEN TEN TEN TEN
                           "0123456… -> …6789" TEN TEN "Y" TEN TEN TEN TEN "0123456…");
    ck_assert_str_eq(full, "view v: body " LONG "X" LONG " -> " LONG "Y" LONG);
}
END_TEST

/* A cut at any place must not split a character. */
START_TEST(cut_values_are_valid_utf8)
{
    for (int shift = 0; shift < 8; shift++) {
        _cleanup_str_ struct str before = {0}, after = {0};
        str_addf(&before, "view|v|body=%.*s", shift, TEN);
        str_addf(&after, "view|v|body=%.*s", shift, TEN);
        for (int i = 0; i < 80; i++) {
            str_add(&before, i == 40 ? "é" : "€");
            str_add(&after, i == 40 ? "è" : "€");
        }
        _cleanup_snapshot_ struct snapshot *a = snapshot_of(str_get(&before));
        _cleanup_snapshot_ struct snapshot *b = snapshot_of(str_get(&after));
        _cleanup_diff_ struct diff d = {0};
        diff_snapshots(a, b, &d);
        _cleanup_free_ char *text = change_text(&d.changes[0], false);
        ck_assert(utf8_valid(text, strlen(text), NULL));
        ck_assert_ptr_nonnull(strstr(text, "é"));
        ck_assert_ptr_nonnull(strstr(text, "è"));
    }
}
END_TEST

START_TEST(values_are_one_line)
{
    _cleanup_err_ struct err e = {0};
    _cleanup_snapshot_ struct snapshot *a = snapshot_new("sqlite", 1), *b = snapshot_of("");
    struct object_builder builder = {0};

    object_begin(&builder, "view", "\"a\nb\"");
    object_prop(&builder, "definition", "x\r\ny");
    snapshot_add(a, object_end(&builder));
    object_builder_release(&builder);
    ck_assert_int_eq(snapshot_finish(a, &e), 0);
    _cleanup_diff_ struct diff d = {0};
    diff_snapshots(b, a, &d);
    _cleanup_free_ char *text = change_text(&d.changes[0], false);
    ck_assert_str_eq(text, "+ view \"a\\nb\" (x\\r\\ny)");
}
END_TEST

static const struct {
    const char *before, *after, *lines;
} collapsed[] = {
    {"table|public.t\ncolumn|public.t.a\ncolumn|public.t.b\nindex|public.i|table=public.t\n"
     "constraint|public.t.c\ntable|public.u\ncolumn|public.u.a\n",
     "table|public.u\n",
     "- column public.u.a\n"
     "- table public.t (with 2 columns, 1 constraint, 1 index)\n"},
    {"",
     "table|t\ncolumn|t.a|type=text\nindex|i|table=t\nindex|j|table=t\nindex|k|table=u|columns=a\n"
     "trigger|r|table=t\n",
     "+ index k (on u (a))\n"
     "+ table t (with 1 column, 2 indexes, 1 trigger)\n"},
    /* what comes does not belong to what goes */
    {"table|t\n", "view|t\ncolumn|t.a\n", "- table t\n+ view t (with 1 column)\n"},
    /* a property that changed stays, though its table's other parts go */
    {"table|t\ncolumn|t.a|type=x\ncolumn|t.b\n", "table|t\ncolumn|t.a|type=y\n",
     "column t.a: type x -> y\n- column t.b\n"},
    /* a schema takes all that is in it along, through tables and columns */
    {"schema|s\ntable|s.t\ncolumn|s.t.id\nsequence|other.q|owned by=s.t.id\n"
     "policy|p|table=s.t\ntable|other.t\n",
     "", "- schema s (with 1 column, 1 policy, 1 sequence, 1 table)\n- table other.t\n"},
    {"table|\"a.b\"\ncolumn|\"a.b\".c\n", "", "- table \"a.b\" (with 1 column)\n"},
};

START_TEST(lines_tell_a_table_and_its_parts_in_one)
{
    _cleanup_snapshot_ struct snapshot *before = snapshot_of(collapsed[_i].before);
    _cleanup_snapshot_ struct snapshot *after = snapshot_of(collapsed[_i].after);
    _cleanup_diff_ struct diff d = {0};
    _cleanup_diff_lines_ struct diff_lines lines = {0};
    _cleanup_str_ struct str all = {0};

    diff_snapshots(before, after, &d);
    diff_lines(&d, &lines);
    for (size_t i = 0; i < lines.n; i++) {
        _cleanup_free_ char *text = diff_line_text(&lines.v[i], false);
        str_addf(&all, "%s\n", text);
    }
    ck_assert_str_eq(str_get(&all), collapsed[_i].lines);
}
END_TEST

START_TEST(subtract_takes_out_what_the_noise_changes_too)
{
    _cleanup_snapshot_ struct snapshot *a = snapshot_of("table|t|x=1|y=1\ntable|u\nview|v|x=1\n");
    _cleanup_snapshot_ struct snapshot *b = snapshot_of("table|t|x=2|y=2\nview|v|x=2\nview|w\n");
    _cleanup_snapshot_ struct snapshot *c =
        snapshot_of("table|t|x=3|y=1\ntable|u\nview|v|x=1\nview|w\n");
    _cleanup_diff_ struct diff d = {0}, noise = {0};

    diff_snapshots(a, b, &d);
    ck_assert_uint_eq(d.n, 5);
    diff_snapshots(a, c, &noise);
    diff_subtract(&d, &noise);
    ck_assert_uint_eq(d.n, 3);
    ck_assert_str_eq(d.changes[0].property, "y");
    ck_assert_str_eq(d.changes[1].before->identity, "u");
    ck_assert_str_eq(d.changes[2].before->identity, "v");
}
END_TEST

START_TEST(thirty_thousand_shared_objects_differ_in_one)
{
    _cleanup_snapshot_ struct snapshot *a = snapshot_new("sqlite", 1);
    _cleanup_err_ struct err e = {0};
    struct object_builder b = {0};

    for (int i = 0; i < 30000; i++) {
        _cleanup_free_ char *identity = xasprintf("t%d.c%d", i / 10, i % 10);
        object_begin(&b, "column", identity);
        object_prop(&b, "type", "text");
        object_propf(&b, "position", "%d", i % 10 + 1);
        snapshot_add(a, object_end(&b));
    }
    ck_assert_int_eq(snapshot_finish(a, &e), 0);
    _cleanup_snapshot_ struct snapshot *c = snapshot_copy(a);
    object_unref(c->objects[17000]);
    object_begin(&b, "column", a->objects[17000]->identity);
    object_prop(&b, "type", "integer");
    object_prop(&b, "position", object_get(a->objects[17000], "position"));
    c->objects[17000] = object_end(&b);
    object_builder_release(&b);

    struct timespec start, end;
    _cleanup_diff_ struct diff d = {0};
    clock_gettime(CLOCK_MONOTONIC, &start);
    diff_snapshots(a, c, &d);
    clock_gettime(CLOCK_MONOTONIC, &end);
    ck_assert_uint_eq(d.n, 1);
    ck_assert_str_eq(d.changes[0].property, "type");
    if (getenv("BELAY_TEST_TIMES"))
        fprintf(stderr, "# diff of 30,000 objects: %.3f ms\n",
                (double)(end.tv_sec - start.tv_sec) * 1e3 +
                    (double)(end.tv_nsec - start.tv_nsec) / 1e6);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("diff");

    SUITE_ADD_LOOP(s, diff_names_the_property_that_differs, ARRAY_LEN(cases));
    SUITE_ADD(s, diff_names_as_few_moved_columns_as_explain_the_order);
    SUITE_ADD(s, long_values_are_cut_around_the_first_difference);
    SUITE_ADD(s, cut_values_are_valid_utf8);
    SUITE_ADD(s, values_are_one_line);
    SUITE_ADD_LOOP(s, lines_tell_a_table_and_its_parts_in_one, ARRAY_LEN(collapsed));
    SUITE_ADD(s, subtract_takes_out_what_the_noise_changes_too);
    SUITE_ADD(s, thirty_thousand_shared_objects_differ_in_one);
    return suite_run(s);
}
