/*
 * What the everyday verbs ask of a source, on every format and every engine: stamping, SQL without
 * a database, new revisions.
 */
#include "tests/migration_project.h"

static const struct revision_text three[] = {
    {"create table a (x int);", "drop table a;", false},
    {"create table b (x int);\ninsert into b values (1);", "drop table b;", false},
    {"create table c (x int)\n;\n-- the end", "drop table c;", false},
    {0},
};

#define EACH_THREE(p) EACH_PROJECT(p, three[0], three[1], three[2])

static void stamp(struct project *p, int n)
{
    _cleanup_err_ struct err err = {0};
    _cleanup_revisions_ struct revisions heads = {0};
    if (n)
        revisions_add(&heads, graph_at(source_graph(p->source), (size_t)n - 1));
    ck_assert_msg(migrator_stamp(p->m, &heads, &err) == 0, WHERE "%s", WHERE_ARGS(p), err.message);
}

START_TEST(a_stamp_writes_the_version_table_and_nothing_else)
{
    struct project p;
    EACH_THREE(p)
    {
        stamp(&p, 2);
        expect_current(&p, "1 2");
        ck_assert(!table_exists(&p, "a"));
        stamp(&p, 2);
        expect_current(&p, "1 2");
        stamp(&p, 3);
        expect_current(&p, "1 2 3");
        stamp(&p, 1);
        expect_current(&p, "1");
        expect_step(&p, 1, STEP_UP, STEP_OK);
        stamp(&p, 0);
        expect_current(&p, "");
        ck_assert(table_exists(&p, "b"));
    }
}
END_TEST

START_TEST(a_stamp_takes_unknown_versions_out)
{
    struct project p;
    EACH_THREE(p)
    {
        _cleanup_err_ struct err err = {0};
        const char *table = source_version_tables(p.source)[0];
        bool single = strcmp(p.format, "golang-migrate") == 0;
        _cleanup_free_ char *sql =
            xasprintf(strcmp(p.format, "belay") == 0 ? "insert into %s (revision) values ('99')"
                      : strcmp(p.format, "goose") == 0
                          ? "insert into %s (version_id, is_applied) values (99, true)"
                      : single ? "insert into %s (version, dirty) values (99, true)"
                               : "insert into %s (version) values ('99')",
                      table);
        ASSERT_OK(db_run(migrator_db(p.m), sql, DB_RUN_WHOLE, NULL, &err), &err);
        stamp(&p, 1);
        expect_current(&p, "1");
    }
}
END_TEST

START_TEST(rows_that_stay_stamped_keep_when_they_were_written)
{
    struct project p;
    EACH_THREE(p)
    {
        if (strcmp(p.format, "diesel") != 0)
            continue;
        _cleanup_err_ struct err err = {0};
        _cleanup_free_ char *when = NULL;
        stamp(&p, 1);
        ASSERT_OK(db_run(migrator_db(p.m),
                         "update __diesel_schema_migrations set run_on = '2001-02-03'",
                         DB_RUN_WHOLE, NULL, &err),
                  &err);
        stamp(&p, 2);
        ASSERT_OK(db_query_text(migrator_db(p.m),
                                "select min(run_on) from __diesel_schema_migrations", NULL, 0,
                                &when, &err),
                  &err);
        ck_assert_msg(str_starts(when, "2001-02-03"), "%s", when);
    }
}
END_TEST

static void run_offline(struct project *p, const struct revisions *list, enum step_direction d)
{
    _cleanup_err_ struct err err = {0};
    _cleanup_free_ char *sql = NULL;
    ASSERT_OK(source_sql(p->source, p->engine, list, d, &sql, &err), &err);
    ck_assert_msg(db_run(migrator_db(p->m), sql, DB_RUN_STATEMENTS, NULL, &err) == 0,
                  WHERE "%s\n%s", WHERE_ARGS(p), err.message, sql);
    ck_assert(!db_in_transaction(migrator_db(p->m)));
}

START_TEST(offline_sql_does_what_the_steps_do)
{
    struct project p;
    EACH_THREE(p)
    {
        const struct graph *g = source_graph(p.source);
        _cleanup_revisions_ struct revisions up = {0}, down = {0};
        for (size_t i = 0; i < 3; i++)
            revisions_add(&up, graph_at(g, i));
        revisions_add(&down, graph_at(g, 2));
        revisions_add(&down, graph_at(g, 1));
        run_offline(&p, &up, STEP_UP);
        expect_current(&p, "1 2 3");
        ck_assert(table_exists(&p, "a") && table_exists(&p, "b") && table_exists(&p, "c"));
        run_offline(&p, &down, STEP_DOWN);
        expect_current(&p, "1");
        ck_assert(table_exists(&p, "a") && !table_exists(&p, "b") && !table_exists(&p, "c"));
        /* the session goes on from there */
        expect_step(&p, 1, STEP_UP, STEP_OK);
        expect_current(&p, "1 2");
    }
}
END_TEST

START_TEST(offline_sql_finds_the_version_table_whatever_the_revision_sets)
{
    static const char pg_dump[] = "select pg_catalog.set_config('search_path', '', false);\n"
                                  "create table public.a (x int);";
    for (size_t f = 1; source_formats[f]; f++) {
        struct project p;
        _cleanup_revisions_ struct revisions up = {0};
        project_open(&p, source_formats[f], &engine_postgres,
                     (const struct revision_text[]){{pg_dump, "drop table a;", false}, {0}});
        revisions_add(&up, graph_at(source_graph(p.source), 0));
        run_offline(&p, &up, STEP_UP);
        expect_current(&p, "1");
        project_close(&p);
    }
}
END_TEST

START_TEST(offline_sql_of_a_missing_downgrade_is_an_error)
{
    struct project p;
    EACH_PROJECT(p, {"create table a (x int);", NULL, false})
    {
        _cleanup_err_ struct err err = {0};
        _cleanup_free_ char *sql = NULL;
        _cleanup_revisions_ struct revisions down = {0};
        revisions_add(&down, graph_at(source_graph(p.source), 0));
        ck_assert_int_eq(source_sql(p.source, p.engine, &down, STEP_DOWN, &sql, &err), -1);
        ck_assert_int_eq(err.code, ERR_SOURCE);
        ck_assert_ptr_nonnull(strstr(err.message, "no downgrade"));
        ck_assert_ptr_null(sql);
    }
}
END_TEST

START_TEST(a_source_tracks_a_database_once_its_version_table_is_there)
{
    struct project p;
    EACH_THREE(p)
    {
        _cleanup_err_ struct err err = {0};
        bool tracked = false;
        ASSERT_OK(source_tracks(p.source, migrator_db(p.m), &tracked, &err), &err);
        ck_assert(tracked);
        _cleanup_free_ char *sql = xasprintf("drop table %s", source_version_tables(p.source)[0]);
        ASSERT_OK(db_run(migrator_db(p.m), sql, DB_RUN_WHOLE, NULL, &err), &err);
        ASSERT_OK(source_tracks(p.source, migrator_db(p.m), &tracked, &err), &err);
        ck_assert(!tracked);
    }
}
END_TEST

/* ---- new revisions ---- */

/* Opens the project's folder again. */
static void reopen(struct project *p)
{
    _cleanup_err_ struct err err = {0};
    _cleanup_free_ char *dir = xstrdup(source_dir(p->source));
    migrator_close(TAKE_PTR(p->m));
    source_free(TAKE_PTR(p->source));
    ck_assert_msg(source_open(&(struct source_options){.dir = dir}, &p->source, &err) == 0, "%s",
                  err.message);
    ASSERT_OK(migrator_open(p->source, p->engine, scratch_url(p->scratch), DB_OPEN_SCRATCH, NULL,
                            &p->m, &err),
              &err);
}

START_TEST(a_new_revision_follows_the_last_one)
{
    struct project p;
    EACH_THREE(p)
    {
        for (int i = 0; i < 2; i++) { /* within a second */
            _cleanup_err_ struct err err = {0};
            _cleanup_free_ char *id = NULL;
            _cleanup_strv_ struct strv files = {0};
            _cleanup_revisions_ struct revisions heads = {0};
            graph_heads(source_graph(p.source), &heads);
            const struct new_revision n = {.message = "Add users' names!", .parents = &heads};
            ck_assert_msg(source_new_revision(p.source, &n, &id, &files, &err) == 0, "%s: %s",
                          p.format, err.message);
            ck_assert_uint_ge(files.n, 1);
            for (size_t k = 0; k < files.n; k++)
                ck_assert(file_exists(files.v[k]));
            ck_assert_ptr_nonnull(strstr(files.v[0], "_add_users_names"));
            reopen(&p);
            const struct graph *g = source_graph(p.source);
            ck_assert_uint_eq(graph_size(g), 4 + (size_t)i);
            ck_assert_str_eq(graph_at(g, 3 + (size_t)i)->id, id);
            ck_assert_ptr_nonnull(graph_at(g, 3 + (size_t)i)->down_file);
        }
        for (size_t i = 0; i < 5; i++)
            expect_step(&p, i, STEP_UP, i < 3 ? STEP_OK : STEP_EMPTY);
    }
}
END_TEST

START_TEST(belays_own_format_writes_branches_and_merges)
{
    struct project p;
    project_open(&p, "belay", &engine_sqlite, three);
    _cleanup_err_ struct err err = {0};
    _cleanup_free_ char *branch = NULL, *merge = NULL;
    _cleanup_strv_ struct strv files = {0}, needs = {0};
    _cleanup_revisions_ struct revisions first = {0}, heads = {0};
    strv_add(&needs, "r2");
    revisions_add(&first, graph_find(source_graph(p.source), "r1"));
    const struct new_revision n = {
        .message = "billing", .parents = &first, .branch_label = "money", .depends_on = &needs};
    ASSERT_OK(source_new_revision(p.source, &n, &branch, &files, &err), &err);
    reopen(&p);
    const struct revision *r = graph_find(source_graph(p.source), branch);
    ck_assert_ptr_nonnull(r);
    ck_assert(strv_has(&r->parents, "r1") && strv_has(&r->labels, "money") &&
              strv_has(&r->depends_on, "r2"));
    ck_assert_str_eq(r->title, "billing");
    graph_heads(source_graph(p.source), &heads);
    ck_assert_uint_eq(heads.n, 2);
    const struct new_revision m = {.message = "join", .parents = &heads, .id = "joined"};
    ASSERT_OK(source_new_revision(p.source, &m, &merge, &files, &err), &err);
    reopen(&p);
    r = graph_find(source_graph(p.source), "joined");
    ck_assert_ptr_nonnull(r);
    ck_assert_uint_eq(r->parents.n, 2);
    project_close(&p);
}
END_TEST

START_TEST(what_a_format_cannot_say_is_refused_and_nothing_written)
{
    struct project p;
    EACH_THREE(p)
    {
        const struct graph *g = source_graph(p.source);
        _cleanup_revisions_ struct revisions heads = {0}, first = {0}, two = {0};
        _cleanup_strv_ struct strv needs = {0};
        graph_heads(g, &heads);
        revisions_add(&first, graph_at(g, 0));
        revisions_add(&two, graph_at(g, 0));
        revisions_add(&two, graph_at(g, 2));
        strv_add(&needs, graph_at(g, 0)->id);
        bool belay = strcmp(p.format, "belay") == 0;
        const struct {
            struct new_revision n;
            bool refused;
        } cases[] = {
            {{.message = "x", .parents = &heads, .autogenerate = true}, true},
            {{.message = "!?", .parents = &heads}, true},
            {{.message = "bad \xff", .parents = &heads}, true},
            {{.message = "x", .parents = &heads, .id = graph_at(g, 1)->id}, true},
            {{.message = "x", .parents = &heads, .id = "../x"}, true},
            {{.message = "x", .parents = &heads, .id = "head"}, true},
            {{.message = "x", .parents = &heads, .id = ""}, true},
            {{.message = "x", .parents = &first}, !belay},
            {{.message = "x", .parents = &two}, !belay},
            {{.message = "x", .parents = &heads, .branch_label = "l"}, !belay},
            {{.message = "x", .parents = &heads, .depends_on = &needs}, !belay},
        };
        for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
            if (!cases[i].refused)
                continue;
            _cleanup_err_ struct err err = {0};
            _cleanup_strv_ struct strv files = {0};
            char *id = NULL;
            int rc = source_new_revision(p.source, &cases[i].n, &id, &files, &err);
            ck_assert_msg(rc == -1, "%s: case %zu", p.format, i);
            ck_assert_int_eq(err.code, ERR_USAGE);
            ck_assert_ptr_nonnull(err.hint);
            ck_assert_uint_eq(files.n, 0);
        }
        reopen(&p);
        ck_assert_uint_eq(graph_size(source_graph(p.source)), 3);
    }
}
END_TEST

int main(void)
{
    Suite *s = suite_create("source_verbs");
    SUITE_ADD(s, a_stamp_writes_the_version_table_and_nothing_else);
    SUITE_ADD(s, a_stamp_takes_unknown_versions_out);
    SUITE_ADD(s, rows_that_stay_stamped_keep_when_they_were_written);
    SUITE_ADD(s, offline_sql_does_what_the_steps_do);
    SUITE_ADD(s, offline_sql_finds_the_version_table_whatever_the_revision_sets);
    SUITE_ADD(s, offline_sql_of_a_missing_downgrade_is_an_error);
    SUITE_ADD(s, a_source_tracks_a_database_once_its_version_table_is_there);
    SUITE_ADD(s, a_new_revision_follows_the_last_one);
    SUITE_ADD(s, belays_own_format_writes_branches_and_merges);
    SUITE_ADD(s, what_a_format_cannot_say_is_refused_and_nothing_written);
    return fixture_run(s);
}
