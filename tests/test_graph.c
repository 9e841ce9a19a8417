/*
 * source/graph.h: order, targets, and the way from one state to another. Graphs are written as
 * text, one word a revision: "id:parent,parent+dependency,dependency=label".
 */
#include "tests/suite.h"

#include <string.h>

#include "harness/source/graph.h"

static struct graph *build(const char *text, struct err *err)
{
    struct graph *g = graph_new();
    _cleanup_free_ char *copy = xstrdup(text);
    char *word_end;
    for (char *word = strtok_r(copy, " ", &word_end); word; word = strtok_r(NULL, " ", &word_end)) {
        char *label = strchr(word, '=');
        if (label)
            *label++ = '\0';
        char *depends = strchr(word, '+');
        if (depends)
            *depends++ = '\0';
        char *parents = strchr(word, ':');
        if (parents)
            *parents++ = '\0';
        _cleanup_free_ char *file = xasprintf("%s.sql", word);
        struct revision *r = graph_add(g, word, file, err);
        if (!r) {
            graph_free(g);
            return NULL;
        }
        char *end;
        for (char *p = parents ? strtok_r(parents, ",", &end) : NULL; p;
             p = strtok_r(NULL, ",", &end))
            strv_add(&r->parents, p);
        for (char *p = depends ? strtok_r(depends, ",", &end) : NULL; p;
             p = strtok_r(NULL, ",", &end))
            strv_add(&r->depends_on, p);
        if (label)
            strv_add(&r->labels, label);
    }
    if (graph_finish(g, err) < 0) {
        graph_free(g);
        return NULL;
    }
    return g;
}

static struct graph *built(const char *text)
{
    _cleanup_err_ struct err e = {0};
    struct graph *g = build(text, &e);
    ck_assert_msg(g, "%s: %s", text, e.message);
    return g;
}

static char *ids(const struct revisions *l)
{
    struct str s = {0};
    for (size_t i = 0; i < l->n; i++)
        str_addf(&s, "%s%s", i ? " " : "", l->v[i]->id);
    return str_take(&s);
}

static void list(const struct graph *g, const char *text, struct revisions *ret)
{
    _cleanup_free_ char *copy = xstrdup(text);
    char *end;
    for (char *w = strtok_r(copy, " ", &end); w; w = strtok_r(NULL, " ", &end)) {
        ck_assert_msg(graph_find(g, w), "no %s", w);
        revisions_add(ret, graph_find(g, w));
    }
}

/* Expects "a b", "a b < c" (the state just before c), or "!words of the message|words of the hint".
 */
static void expect_target(const struct graph *g, const char *current, const char *target,
                          const char *expected)
{
    _cleanup_err_ struct err e = {0};
    _cleanup_revisions_ struct revisions now = {0}, found = {0};
    list(g, current, &now);
    int result = graph_resolve(g, target, &now, &found, &e);
    if (expected[0] == '!') {
        _cleanup_free_ char *copy = xstrdup(expected + 1);
        char *hint = strchr(copy, '|');
        if (hint)
            *hint++ = '\0';
        ck_assert_msg(result < 0, "%s at [%s] did not fail", target, current);
        ck_assert_int_eq(e.code, ERR_USAGE);
        ck_assert_msg(strstr(e.message, copy), "%s at [%s]: %s", target, current, e.message);
        ck_assert_msg(e.hint, "%s: no hint", target);
        ck_assert_msg(!hint || strstr(e.hint, hint), "%s at [%s]: %s", target, current, e.hint);
        return;
    }
    ck_assert_msg(result == 0, "%s at [%s]: %s", target, current, e.message);
    _cleanup_free_ char *got = ids(&found);
    _cleanup_free_ char *whole =
        found.below ? xasprintf("%s < %s", got, found.below->id) : xstrdup(got);
    ck_assert_msg(strcmp(whole, expected) == 0, "%s at [%s] is \"%s\", not \"%s\"", target, current,
                  whole, expected);
}

START_TEST(order_is_topological_and_keeps_the_order_of_adding)
{
    static const char *const cases[][2] = {
        {"a b:a c:b", "a b c"},
        {"c:b b:a a", "a b c"},
        {"x a y:x b:a", "x a y b"},
        {"m:b,c b:a c:a a", "a b c m"},
        {"a1 a2:a1+b2 b1 b2:b1", "a1 b1 b2 a2"},
        {"z y x", "z y x"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        _cleanup_(cleanup_graph_free) struct graph *g = built(cases[i][0]);
        _cleanup_revisions_ struct revisions all = {0};
        for (size_t k = 0; k < graph_size(g); k++) {
            ck_assert_uint_eq(graph_at(g, k)->position, k);
            revisions_add(&all, graph_at(g, k));
        }
        _cleanup_free_ char *got = ids(&all);
        ck_assert_str_eq(got, cases[i][1]);
    }
}
END_TEST

START_TEST(heads_and_bases_follow_parents_alone)
{
    _cleanup_(cleanup_graph_free) struct graph *g = built("a1 a2:a1 b1 b2:b1+a2 b3:b1");
    _cleanup_revisions_ struct revisions heads = {0}, bases = {0};
    graph_heads(g, &heads);
    graph_bases(g, &bases);
    _cleanup_free_ char *h = ids(&heads), *b = ids(&bases);
    ck_assert_str_eq(h, "a2 b2 b3");
    ck_assert_str_eq(b, "a1 b1");
    ck_assert(graph_is_ancestor(graph_find(g, "a1"), graph_find(g, "b2")));
    ck_assert(graph_is_ancestor(graph_find(g, "b2"), graph_find(g, "b2")));
    ck_assert(!graph_is_ancestor(graph_find(g, "a1"), graph_find(g, "b3")));
    ck_assert(!graph_is_ancestor(graph_find(g, "b2"), graph_find(g, "a1")));
}
END_TEST

START_TEST(bad_graphs_are_refused_by_name)
{
    static const struct {
        const char *graph, *message, *hint, *file;
    } cases[] = {
        {"a b:a b:a", "revision \"b\" is written twice: in b.sql and in b.sql", "another id",
         "b.sql"},
        {"users posts:user", "revision posts revises \"user\", which does not exist",
         "did you mean users?", "posts.sql"},
        {"a b:zzz", "revision b revises \"zzz\"", "missing file", "b.sql"},
        {"a b:a+q", "revision b depends on \"q\", which does not exist", "", "b.sql"},
        {"a:c b:a c:b d", "a needs c needs b needs a", "another parent", "a.sql"},
        {"r a:r+c b:a c:b", "a needs c needs b needs a", "", "a.sql"},
        {"a:a", "a needs a", "", "a.sql"},
        {"a=x b:a=x", "branch label \"x\" is carried by two revisions: a and b", "inherit",
         "b.sql"},
        {"a=b b:a", "branch label \"b\" of revision a is also a revision id (b.sql)", NULL,
         "a.sql"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        _cleanup_err_ struct err e = {0};
        ck_assert_msg(!build(cases[i].graph, &e), "%s", cases[i].graph);
        ck_assert_int_eq(e.code, ERR_SOURCE);
        ck_assert_msg(strstr(e.message, cases[i].message), "%s: %s", cases[i].graph, e.message);
        ck_assert_msg(!cases[i].hint || (e.hint && strstr(e.hint, cases[i].hint)), "%s: %s",
                      cases[i].graph, e.hint);
        ck_assert_str_eq(e.file, cases[i].file);
    }
}
END_TEST

START_TEST(targets_in_a_line)
{
    _cleanup_(cleanup_graph_free) struct graph *g = built("ab10 ab20:ab10 cd30:ab20 ef40:cd30");
    static const char *const cases[][3] = {
        {"", "head", "ef40"},
        {"", "heads", "ef40"},
        {"ef40", "base", ""},
        {"", "cd30", "cd30"},
        {"", "c", "cd30"},
        {"", "ab2", "ab20"},
        {"", "+1", "ab10"},
        {"", "+4", "ef40"},
        {"ab10", "+2", "cd30"},
        {"ab10", "ab10+2", "cd30"},
        {"", "ab10+3", "ef40"},
        {"", "c+1", "ef40"},
        {"", "cd30-1", "ab20 < cd30"},
        {"", "cd30-2", "ab10 < ab20"},
        {"", "cd30-3", " < ab10"},
        {"cd30", "-1", "ab20 < cd30"},
        {"cd30", "-3", " < ab10"},
        {"ab10", "-1", " < ab10"},
        {"", "ab10@head", "ef40"},
        {"", "ab", "!\"ab\" could be any of 2 revisions: ab10, ab20|type more"},
        {"", "zz99", "!no revision \"zz99\"|from ab10 to ef40"},
        {"", "ab10_add_users", "!no revision|did you mean ab10?"},
        {"", "ef41", "!no revision \"ef41\"|did you mean ef40?"},
        {"", "fe40", "!no revision \"fe40\"|did you mean ef40?"},
        {"", "", "!an empty target|"},
        {"", "zzz+1", "!no revision \"zzz\""},
        {"", "-1", "!nothing is applied"},
        {"cd30", "+2", "!\"+2\" goes too far: there are only 1 revisions after|head"},
        {"cd30", "-4", "!\"-4\" goes too far: there are only 3 revisions to take back|base"},
        {"", "ef40+1", "!goes too far: there are only 0"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        expect_target(g, cases[i][0], cases[i][1], cases[i][2]);
}
END_TEST

START_TEST(numbers_need_no_leading_zeros)
{
    _cleanup_(cleanup_graph_free) struct graph *g = built("0001 0002:0001 0010:0002 1000:0010");
    expect_target(g, "", "1", "0001");
    expect_target(g, "", "10", "0010");
    expect_target(g, "", "100", "1000");
    expect_target(g, "", "00001", "0001");
    expect_target(g, "", "2+1", "0010");
    expect_target(g, "", "000", "!could be any of 2 revisions: 0001, 0002");
}
END_TEST

START_TEST(ids_may_look_like_steps)
{
    _cleanup_(cleanup_graph_free) struct graph *g =
        built("fix fix-1:fix fix-12:fix-1 add-20:fix-12");
    expect_target(g, "", "fix-1", "fix-1");
    expect_target(g, "", "fix-12", "fix-12");
    expect_target(g, "", "add-2", "add-20");
    expect_target(g, "", "fix+2", "fix-12");
    expect_target(g, "", "fix-12-1", "fix-1 < fix-12");
    expect_target(g, "", "fix-12+1", "add-20");
}
END_TEST

START_TEST(several_heads_are_never_chosen_from)
{
    _cleanup_(cleanup_graph_free) struct graph *g = built("r a1:r a2:a1 b1:r b2:b1");
    static const char *const cases[][3] = {
        {"", "heads", "a2 b2"},
        {"", "head", "!the project has 2 heads: a2, b2|merge"},
        {"", "r@head", "!branch \"r\" has 2 heads: a2, b2|heads"},
        {"", "r@heads", "a2 b2"},
        {"", "a1@head", "a2"},
        {"a2 b2", "-1", "!the database has several heads: a2, b2|\"a2@-1\""},
        {"a2 b2", "a2@-1", "a1 < a2"},
        {"a2 b2", "b1@-1", "b1 < b2"},
        {"a2 b1", "+1", "b2"},
        {"a1 b1", "+1", "!\"+1\" is ambiguous: it could go to a2, b2"},
        {"a1 b1", "b1@+1", "b2"},
        {"r", "+1", "!it could go to a1, b1"},
        {"", "r+1", "!it could go to a1, b1"},
        {"", "r+9", "!it could go to a1, b1"},
        {"", "a2-1", "a1 < a2"},
        {"", "a1-1", "r < a1"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        expect_target(g, cases[i][0], cases[i][1], cases[i][2]);
}
END_TEST

START_TEST(a_merge_can_be_stepped_over_but_not_walked_through)
{
    _cleanup_(cleanup_graph_free) struct graph *g = built("r a:r b:r m:a,b t:m");
    expect_target(g, "m", "-1", "a b < m");
    expect_target(g, "t", "-2", "a b < m");
    expect_target(g, "t", "-3", "!\"-3\" is ambiguous: m merges a, b");
    expect_target(g, "", "m-1", "a b < m");
    expect_target(g, "a b", "+1", "m");
    expect_target(g, "", "a+1", "m");
    expect_target(g, "", "a@head", "t");
}
END_TEST

START_TEST(labels_cover_their_branch)
{
    _cleanup_(cleanup_graph_free) struct graph *g =
        built("r a0:r a1:a0=auth a2:a1 b1:r=blog b2:b1 c1=cms c2:c1");
    static const char *const cases[][3] = {
        {"", "auth", "a1"},
        {"", "auth@head", "a2"},
        {"", "auth@base", "r < a0"},
        {"", "cms@base", " < c1"},
        {"", "blog@head", "b2"},
        {"a1 b1", "auth@+1", "a2"},
        {"b1", "auth@+1", "a0"},
        {"", "auth@+2", "a1"},
        {"c2", "cms@+1", "!there are only 0"},
        {"a2 b2", "blog@-1", "b1 < b2"},
        {"", "auth@a2", "a2"},
        {"", "auth@b2", "!revision b2 is not on branch \"auth\""},
        {"", "aut", "!no revision \"aut\"|did you mean auth?"},
        {"c1 r", "cms@+1", "c2"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        expect_target(g, cases[i][0], cases[i][1], cases[i][2]);
    ck_assert(strv_has(&graph_find(g, "a2")->labels, "auth"));
    ck_assert(strv_has(&graph_find(g, "a0")->labels, "auth"));
    ck_assert(!strv_has(&graph_find(g, "r")->labels, "auth"));
}
END_TEST

START_TEST(one_revision_is_asked_for)
{
    _cleanup_(cleanup_graph_free) struct graph *g = built("a b:a c:a");
    struct revision *r = NULL;
    _cleanup_err_ struct err e = {0};
    ck_assert_int_eq(graph_resolve_one(g, "b-1", NULL, &r, &e), 0);
    ck_assert_str_eq(r->id, "a");
    ck_assert_int_eq(graph_resolve_one(g, "base", NULL, &r, &e), -1);
    ck_assert(strstr(e.message, "empty database"));
    ck_assert_int_eq(graph_resolve_one(g, "heads", NULL, &r, &e), -1);
    ck_assert(strstr(e.message, "b, c"));
    ck_assert_int_eq(graph_resolve_one(g, "+1", NULL, &r, &e), -1);
    ck_assert(strstr(e.message, "relative to a database"));
}
END_TEST

START_TEST(paths_lead_from_state_to_state)
{
    static const struct {
        const char *graph, *current, *target, *up, *down;
    } cases[] = {
        {"a b:a c:b", "", "c", "a b c", NULL},
        {"a b:a c:b", "b", "head", "c", NULL},
        {"a b:a c:b", "c", "a", "", "c b"},
        {"a b:a c:b", "c", "base", "", "c b a"},
        {"a b:a c:b", "c", "-1", "", "c"},
        {"a b:a c:b", "a", "-1", "", "a"},
        {"a b:a c:b", "a", "c", "b c", "!cannot downgrade to c: it is not applied"},
        /* siblings stay */
        {"r a1:r a2:a1 b1:r", "a2 b1", "a1", "", "a2"},
        {"r a1:r a2:a1 b1:r", "a2 b1", "a1-1", "", "a2 a1"},
        {"r a1:r a2:a1 b1:r", "a2 b1", "r", "", "b1 a2 a1"},
        {"a1 a2:a1 b1 b2:b1", "a2 b2", "a2@base", "", "a2 a1"},
        /* dependencies */
        {"a1 a2:a1+b1 b1 b2:b1", "", "a2", "a1 b1 a2", NULL},
        {"a1 a2:a1+b1 b1 b2:b1", "a2 b2", "b1", "", "b2"},
        {"a1 a2:a1+b1 b1 b2:b1", "a2 b2", "b1-1", "", "b2 a2 b1"},
        {"a1 a2:a1+b1 b1 b2:b1", "a2", "a1", "", "a2"},
        /* merges */
        {"r a:r b:r m:a,b", "m", "-1", "", "m"},
        {"r a:r b:r m:a,b", "m", "a", "", "m"},
        {"r a:r b:r m:a,b", "a", "heads", "b m", NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        _cleanup_(cleanup_graph_free) struct graph *g = built(cases[i].graph);
        _cleanup_err_ struct err e = {0};
        _cleanup_revisions_ struct revisions now = {0}, target = {0}, up = {0}, down = {0};
        list(g, cases[i].current, &now);
        ck_assert_int_eq(graph_resolve(g, cases[i].target, &now, &target, &e), 0);
        graph_upgrade_path(g, &now, &target, &up);
        _cleanup_free_ char *got_up = ids(&up);
        ck_assert_msg(strcmp(got_up, cases[i].up) == 0, "case %zu up: %s", i, got_up);
        if (!cases[i].down)
            continue;
        int result = graph_downgrade_path(g, &now, &target, &down, &e);
        _cleanup_free_ char *got = result < 0 ? xasprintf("!%s", e.message) : ids(&down);
        ck_assert_msg(strcmp(got, cases[i].down) == 0, "case %zu down: %s", i, got);
    }
}
END_TEST

START_TEST(what_one_target_needs_stays_although_another_is_below_it)
{
    _cleanup_(cleanup_graph_free) struct graph *g = built("a b:a c:b d:c x:a");
    _cleanup_revisions_ struct revisions now = {0}, target = {0}, down = {0};
    _cleanup_err_ struct err e = {0};
    list(g, "d x", &now);
    list(g, "a c", &target);
    ck_assert_int_eq(graph_downgrade_path(g, &now, &target, &down, &e), 0);
    _cleanup_free_ char *got = ids(&down);
    ck_assert_str_eq(got, "x d");
}
END_TEST

START_TEST(a_complete_list_may_have_gaps)
{
    _cleanup_(cleanup_graph_free) struct graph *g = built("a b:a c:b d:c");
    _cleanup_revisions_ struct revisions now = {.complete = true}, target = {0}, up = {0},
                                         down = {0};
    _cleanup_err_ struct err e = {0};
    list(g, "a c", &now);
    list(g, "d", &target);
    graph_upgrade_path(g, &now, &target, &up);
    _cleanup_free_ char *got = ids(&up);
    ck_assert_str_eq(got, "b d");
    revisions_release(&target);
    ck_assert_int_eq(graph_downgrade_path(g, &now, &target, &down, &e), 0);
    _cleanup_free_ char *reverted = ids(&down);
    ck_assert_str_eq(reverted, "c a");
}
END_TEST

START_TEST(five_thousand_revisions_are_no_burden)
{
    enum { N = 5000 };
    struct graph *g = graph_new();
    _cleanup_err_ struct err e = {0};
    /* the last first, and ids that sort backwards: the worst order to insert in */
    for (int i = N - 1; i >= 0; i--) {
        _cleanup_free_ char *id = xasprintf("r%05d", i), *parent = xasprintf("r%05d", i - 1);
        struct revision *r = graph_add(g, id, "x.sql", &e);
        if (i)
            strv_add(&r->parents, parent);
    }
    ck_assert_int_eq(graph_finish(g, &e), 0);
    ck_assert_str_eq(graph_at(g, N - 1)->id, "r04999");
    _cleanup_revisions_ struct revisions now = {0}, target = {0}, path = {0};
    ck_assert_int_eq(graph_resolve(g, "+5000", &now, &target, &e), 0);
    graph_upgrade_path(g, &now, &target, &path);
    ck_assert_uint_eq(path.n, N);
    ck_assert(graph_is_ancestor(graph_at(g, 0), graph_at(g, N - 1)));
    graph_free(g);
}
END_TEST

START_TEST(many_revisions_may_hang_on_one)
{
    struct graph *g = graph_new();
    _cleanup_err_ struct err e = {0};
    graph_add(g, "root", "root.sql", &e);
    for (int i = 0; i < 100; i++) {
        _cleanup_free_ char *id = xasprintf("leaf%d", i);
        strv_add(&graph_add(g, id, "leaf.sql", &e)->parents, "root");
    }
    ck_assert_int_eq(graph_finish(g, &e), 0);
    ck_assert_uint_eq(graph_find(g, "root")->ndown, 100);
    _cleanup_revisions_ struct revisions target = {0};
    ck_assert_int_eq(graph_resolve(g, "head", NULL, &target, &e), -1);
    ck_assert(strstr(e.message, "and 92 more"));
    graph_free(g);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("graph");
    SUITE_ADD(s, order_is_topological_and_keeps_the_order_of_adding);
    SUITE_ADD(s, heads_and_bases_follow_parents_alone);
    SUITE_ADD(s, bad_graphs_are_refused_by_name);
    SUITE_ADD(s, targets_in_a_line);
    SUITE_ADD(s, numbers_need_no_leading_zeros);
    SUITE_ADD(s, ids_may_look_like_steps);
    SUITE_ADD(s, several_heads_are_never_chosen_from);
    SUITE_ADD(s, a_merge_can_be_stepped_over_but_not_walked_through);
    SUITE_ADD(s, labels_cover_their_branch);
    SUITE_ADD(s, one_revision_is_asked_for);
    SUITE_ADD(s, paths_lead_from_state_to_state);
    SUITE_ADD(s, what_one_target_needs_stays_although_another_is_below_it);
    SUITE_ADD(s, a_complete_list_may_have_gaps);
    SUITE_ADD(s, five_thousand_revisions_are_no_burden);
    SUITE_ADD(s, many_revisions_may_hang_on_one);
    return suite_run(s);
}
