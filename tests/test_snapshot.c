/*
 * The schema model and its JSON form.
 */
#include "tests/suite.h"

#include <string.h>

#include "harness/schema/snapshot.h"
#include "tests/snapshot_text.h"

START_TEST(object_has_its_properties_in_order_whatever_order_they_came_in)
{
    struct object_builder b = {0};

    object_begin(&b, "column", "t.a");
    object_scope(&b, 1, 2);
    object_own(&b, 3, 4);
    object_prop(&b, "type", "text");
    object_prop(&b, "left out", NULL);
    object_propf(&b, "position", "%d", 3);
    object_prop(&b, "default", "");
    struct object *o = object_end(&b);
    ck_assert_str_eq(o->kind, "column");
    ck_assert_str_eq(o->identity, "t.a");
    ck_assert_uint_eq(o->nprops, 3);
    ck_assert_str_eq(o->props[0].name, "default");
    ck_assert_str_eq(o->props[0].value, "");
    ck_assert_str_eq(o->props[1].name, "position");
    ck_assert_str_eq(o->props[2].name, "type");
    ck_assert_str_eq(object_get(o, "position"), "3");
    ck_assert_ptr_null(object_get(o, "left out"));
    ck_assert_uint_eq(o->scope_oid, 2);
    ck_assert_uint_eq(o->own_class, 3);

    object_begin(&b, "column", "t.a");
    object_prop(&b, "default", "");
    object_prop(&b, "type", "text");
    object_prop(&b, "position", "3");
    struct object *same = object_end(&b);
    ck_assert(object_equal(o, same));
    ck_assert_uint_eq(same->scope_oid, 0);

    object_begin(&b, "column", "t.a");
    object_prop(&b, "type", "text");
    object_prop(&b, "position", "3");
    struct object *absent = object_end(&b);
    ck_assert(!object_equal(o, absent));
    object_unref(o);
    object_unref(same);
    object_unref(absent);
    object_builder_release(&b);
}
END_TEST

START_TEST(bytes_that_are_not_utf8_are_written_out)
{
    struct object_builder b = {0};

    object_begin(&b, "table",
                 "a\xff"
                 "b");
    object_prop(&b, "body", "\xc3\xa9\xc3");
    struct object *o = object_end(&b);
    ck_assert_str_eq(o->identity, "a\\xFFb");
    ck_assert_str_eq(object_get(o, "body"), "\xc3\xa9\\xC3");
    object_unref(o);
    object_builder_release(&b);
}
END_TEST

START_TEST(equal_objects_in_any_order_make_equal_snapshots)
{
    _cleanup_snapshot_ struct snapshot *a = snapshot_of("table|a\ntable|b\nindex|a\nview|v\n");
    _cleanup_snapshot_ struct snapshot *b = snapshot_of("view|v\nindex|a\ntable|b\ntable|a\n");
    _cleanup_snapshot_ struct snapshot *c = snapshot_of("view|v\nindex|a\ntable|b\ntable|c\n");

    ck_assert(snapshot_equal(a, b));
    ck_assert_uint_eq(a->hash[0], b->hash[0]);
    ck_assert_uint_eq(a->hash[1], b->hash[1]);
    ck_assert(!snapshot_equal(a, c));
    ck_assert_uint_ne(a->hash[0], c->hash[0]);
    ck_assert_uint_ne(a->hash[1], c->hash[1]);
    ck_assert_str_eq(a->objects[0]->kind, "index");
    ck_assert_str_eq(a->objects[1]->identity, "a");
    ck_assert_str_eq(a->objects[3]->kind, "view");
    ck_assert_ptr_nonnull(snapshot_find(a, "table", "b"));
    ck_assert_ptr_null(snapshot_find(a, "table", "c"));
    ck_assert_ptr_null(snapshot_find(a, "zebra", "c"));
}
END_TEST

static struct object *numbered(unsigned n)
{
    struct object_builder b = {0};
    _cleanup_free_ char *identity = xasprintf("t%u", n);

    object_begin(&b, "table", identity);
    struct object *o = object_end(&b);
    object_builder_release(&b);
    return o;
}

static bool drop_in_set(const struct object *o, void *data)
{
    const bool *set = data;
    return set[strtoul(o->identity + 1, NULL, 10)];
}

/* Random sets of objects: the copy with some left out and some added must equal the one built from
 * nothing, hash included. */
START_TEST(copy_without_and_add_equals_a_snapshot_built_anew)
{
    enum { OBJECTS = 60 };
    bool has[OBJECTS] = {0};
    struct snapshot *s = snapshot_new("sqlite", 1);
    _cleanup_err_ struct err e = {0};

    srand(7);
    for (int round = 0; round < 300; round++) {
        bool drop[OBJECTS];
        for (int i = 0; i < OBJECTS; i++)
            drop[i] = rand() % 8 == 0;
        struct snapshot *next = snapshot_copy_without(s, drop_in_set, drop);
        for (int i = 0; i < OBJECTS; i++) {
            has[i] = has[i] && !drop[i];
            if (!has[i] && rand() % 6 == 0) {
                has[i] = true;
                snapshot_add(next, numbered((unsigned)i));
            }
        }
        ck_assert_int_eq(snapshot_finish(next, &e), 0);
        _cleanup_snapshot_ struct snapshot *anew = snapshot_new("sqlite", 1);
        for (int i = OBJECTS - 1; i >= 0; i--)
            if (has[i])
                snapshot_add(anew, numbered((unsigned)i));
        ck_assert_int_eq(snapshot_finish(anew, &e), 0);
        ck_assert(snapshot_equal(next, anew));
        for (size_t i = 1; i < next->n; i++)
            ck_assert_int_lt(object_compare(next->objects[i - 1], next->objects[i]), 0);
        snapshot_free(s);
        s = next;
    }
    snapshot_free(s);
}
END_TEST

START_TEST(two_objects_of_one_name_are_refused)
{
    _cleanup_snapshot_ struct snapshot *s = snapshot_new("sqlite", 1);
    _cleanup_err_ struct err e = {0};

    snapshot_add(s, numbered(1));
    snapshot_add(s, numbered(2));
    ck_assert_int_eq(snapshot_finish(s, &e), 0);
    snapshot_add(s, numbered(1));
    ck_assert_int_eq(snapshot_finish(s, &e), -1);
    ck_assert_str_eq(e.message, "the schema has two objects called table t1");
}
END_TEST

START_TEST(share_leaves_one_copy_of_equal_objects)
{
    _cleanup_snapshot_ struct snapshot *a = snapshot_of("table|a\ntable|b|strict=yes\ntable|d\n");
    _cleanup_snapshot_ struct snapshot *b = snapshot_of("table|a\ntable|b\ntable|c\ntable|d\n");

    snapshot_share(b, a);
    ck_assert_ptr_eq(a->objects[0], b->objects[0]);
    ck_assert_ptr_ne(a->objects[1], b->objects[1]);
    ck_assert_ptr_eq(a->objects[2], b->objects[3]);
}
END_TEST

START_TEST(json_is_canonical_one_object_a_line)
{
    _cleanup_snapshot_ struct snapshot *s =
        snapshot_of("table|t|strict=yes\ncolumn|t.a|type=text|position=1\n");
    _cleanup_free_ char *json = snapshot_to_json(s);
    _cleanup_snapshot_ struct snapshot *none = snapshot_of("");
    _cleanup_free_ char *empty = snapshot_to_json(none);

    ck_assert_str_eq(empty, "{\"belay snapshot\":1,\"engine\":\"sqlite\",\"version\":3040001,"
                            "\"objects\":[\n]}\n");
    ck_assert_str_eq(json, "{\"belay snapshot\":1,\"engine\":\"sqlite\",\"version\":3040001,"
                           "\"objects\":[\n"
                           "{\"kind\":\"column\",\"identity\":\"t.a\",\"properties\":{\"position\":"
                           "\"1\",\"type\":\"text\"}},\n"
                           "{\"kind\":\"table\",\"identity\":\"t\",\"properties\":{\"strict\":"
                           "\"yes\"}}\n"
                           "]}\n");
}
END_TEST

START_TEST(json_gives_back_what_was_written)
{
    _cleanup_snapshot_ struct snapshot *s = snapshot_new("postgres", 150018), *back = NULL;
    _cleanup_err_ struct err e = {0};
    struct object_builder b = {0};

    object_begin(&b, "column", "public.\"a\nb\"\"\\%d\".\xc3\xa9");
    object_prop(&b, "default", "'\t\x01'");
    object_prop(&b, "comment", "");
    snapshot_add(s, object_end(&b));
    object_begin(&b, "schema", "public");
    snapshot_add(s, object_end(&b));
    object_builder_release(&b);
    ck_assert_int_eq(snapshot_finish(s, &e), 0);
    _cleanup_free_ char *json = snapshot_to_json(s);
    ck_assert_int_eq(snapshot_from_json(json, strlen(json), "s.json", &back, &e), 0);
    ck_assert(snapshot_equal(s, back));
    ck_assert_str_eq(back->engine, "postgres");
    ck_assert_int_eq(back->version, 150018);
    _cleanup_free_ char *again = snapshot_to_json(back);
    ck_assert_str_eq(json, again);
}
END_TEST

#define HEAD "{\"belay snapshot\":1,\"engine\":\"sqlite\",\"version\":3040001,\"objects\":[\n"
#define TABLE_A "{\"kind\":\"table\",\"identity\":\"a\",\"properties\":{}}"
#define TABLE_B "{\"kind\":\"table\",\"identity\":\"b\",\"properties\":{}}"

static const struct {
    const char *what, *text, *says;
    int line;
} bad_json[] = {
    {"empty", "", "is not a whole snapshot", 1},
    {"not JSON", "create table t (a)", "is not a whole snapshot", 1},
    {"another document", "{\"a\":1}", "has no \"belay snapshot\"", 1},
    {"an array", "[]", "has no \"belay snapshot\"", 1},
    {"cut in an object", HEAD TABLE_A ",\n{\"kind\":\"ta", "is not a whole snapshot", 3},
    {"cut after an object", HEAD TABLE_A ",\n", "is not a whole snapshot", 3},
    {"cut before the end", HEAD TABLE_A "\n]", "is not a whole snapshot", 3},
    {"text after the end", HEAD TABLE_A "\n]}\n{}", "is not a whole snapshot", 4},
    {"later format", "{\"belay snapshot\":2}", "of format 2, this belay reads format 1", 1},
    {"no engine", "{\"belay snapshot\":1,\"version\":1,\"objects\":[]}", "engine", 1},
    {"unknown key", HEAD "\n],\"more\":1}", "more", 1},
    {"objects of another type",
     "{\"belay snapshot\":1,\"engine\":\"e\",\"version\":1,\"objects\":1}",
     "\"objects\" is not an array", 1},
    {"repeated key", HEAD "{\"kind\":\"table\",\"kind\":\"view\"}\n]}", "duplicate", 2},
    {"unknown key of an object",
     HEAD TABLE_A ",\n{\"kind\":\"table\",\"identity\":\"b\",\"properties\":{},\"x\":1}\n]}",
     "object 2: 1 object item(s) left unpacked: x", 3},
    {"object without identity", HEAD "{\"kind\":\"table\",\"properties\":{}}\n]}", "identity", 2},
    {"property that is a number",
     HEAD "{\"kind\":\"table\",\"identity\":\"b\",\"properties\":{\"x\":1}}\n]}",
     "property \"x\" of table b is not a string", 2},
    {"properties of another type",
     HEAD "{\"kind\":\"table\",\"identity\":\"b\",\"properties\":[]}\n]}",
     "\"properties\" of table b is not an object", 2},
    {"object that is a string", HEAD "\"x\"\n]}", "object 1", 0},
    {"object twice", HEAD TABLE_A ",\n" TABLE_B ",\n" TABLE_A "\n]}", "two objects called table a",
     4},
    {"object twice, on one line", HEAD TABLE_B "," TABLE_A "," TABLE_A "\n]}",
     "two objects called table a", 0},
};

START_TEST(json_that_is_not_whole_is_refused_with_its_line)
{
    _cleanup_err_ struct err e = {0};
    struct snapshot *s = NULL;
    __typeof__(bad_json[0]) *bad = &bad_json[_i];

    ck_assert_msg(snapshot_from_json(bad->text, strlen(bad->text), "s.json", &s, &e) < 0, "%s",
                  bad->what);
    ck_assert_ptr_null(s);
    ck_assert_int_eq(e.code, ERR_CONFIG);
    ck_assert_msg(strstr(e.message, bad->says), "%s: %s", bad->what, e.message);
    ck_assert_ptr_nonnull(strstr(e.message, "s.json"));
    ck_assert_str_eq(e.file, "s.json");
    ck_assert_msg(e.line == bad->line, "%s: line %d", bad->what, e.line);
    ck_assert_ptr_nonnull(e.hint);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("snapshot");

    SUITE_ADD(s, object_has_its_properties_in_order_whatever_order_they_came_in);
    SUITE_ADD(s, bytes_that_are_not_utf8_are_written_out);
    SUITE_ADD(s, equal_objects_in_any_order_make_equal_snapshots);
    SUITE_ADD(s, copy_without_and_add_equals_a_snapshot_built_anew);
    SUITE_ADD(s, two_objects_of_one_name_are_refused);
    SUITE_ADD(s, share_leaves_one_copy_of_equal_objects);
    SUITE_ADD(s, json_is_canonical_one_object_a_line);
    SUITE_ADD(s, json_gives_back_what_was_written);
    SUITE_ADD_LOOP(s, json_that_is_not_whole_is_refused_with_its_line, ARRAY_LEN(bad_json));
    return suite_run(s);
}
