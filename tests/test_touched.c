/*
 * What steps of SQL folders say they touched, in every format on every engine.
 */
#include "harness/data/digest.h"
#include "tests/migration_project.h"
#include "tests/touched_text.h"

/* golang-migrate runs one statement alone outside of a transaction. */
static bool is_golang(const struct project *p)
{
    return strcmp(p->format, "golang-migrate") == 0;
}

static bool is_postgres(const struct project *p)
{
    return p->engine == &engine_postgres;
}

static void expect_touched(struct project *p, size_t i, enum step_direction d, const char *expected)
{
    struct step_result r = {0};
    step(p, i, d, &r);
    ck_assert_msg(r.outcome == STEP_OK || r.outcome == STEP_EMPTY, WHERE "step %zu: %s",
                  WHERE_ARGS(p), i, r.err.message);
    _cleanup_free_ char *found = touched_text(p->source, &r.touched);
    ck_assert_msg(strcmp(found, expected) == 0, WHERE "step %zu touched \"%s\"", WHERE_ARGS(p), i,
                  found);
    step_result_release(&r);
}

START_TEST(nothing_is_known_unless_asked)
{
    struct project p;
    EACH_PROJECT(p, {"create table a (x int);\ninsert into a values (1);", "drop table a;", false})
    expect_touched(&p, 0, STEP_UP, "unknown");
}
END_TEST

START_TEST(tables_that_a_step_writes_are_named)
{
    struct project p;
    EACH_PROJECT(
        p,
        {"create table a (x int primary key);\ncreate table b (x int);\n"
         "create table \"C d\" (x int);",
         "drop table a;\ndrop table b;\ndrop table \"C d\";", false},
        {"insert into a values (1);\nselect * from b;", "delete from a;\nselect 1;", false},
        {"update \"C d\" set x = 2;\nalter table b add column y int;",
         "alter table b drop column y;\nselect 1;", false},
        {"alter table a rename to e;\ncreate table f (x int);",
         "drop table f;\nalter table e rename to a;", false})
    {
        migrator_watch(p.m);
        expect_touched(&p, 0, STEP_UP, "\"C d\" a b");
        expect_touched(&p, 1, STEP_UP, "a");
        expect_touched(&p, 2, STEP_UP, "\"C d\" b");
        /* SQLite names the old one; the new one is new in the snapshot */
        expect_touched(&p, 3, STEP_UP, is_postgres(&p) ? "e f" : "a f");
        expect_touched(&p, 3, STEP_DOWN, is_postgres(&p) ? "a" : "e f");
        expect_touched(&p, 2, STEP_DOWN, "b");
        expect_touched(&p, 1, STEP_DOWN, "a");
    }
}
END_TEST

START_TEST(a_table_that_is_made_again_under_its_name_is_touched)
{
    struct project p;
    EACH_PROJECT(p, {"create table a (x int);\ninsert into a values (1);", "drop table a;", false},
                 {"create table tmp (x int, y int);\ninsert into tmp select x, 1 from a;\n"
                  "drop table a;\nalter table tmp rename to a;",
                  NULL, false})
    {
        migrator_watch(p.m);
        expect_touched(&p, 0, STEP_UP, "a");
        expect_touched(&p, 1, STEP_UP, is_postgres(&p) ? "a" : "a tmp");
    }
}
END_TEST

START_TEST(what_foreign_keys_and_triggers_write_is_touched)
{
    struct project p;
    EACH_PROJECT(p,
                 {"create table parents (id int primary key);\n"
                  "create table children (p int references parents on delete cascade);\n"
                  "create table notes (p int references parents on delete set null);\n"
                  "create table spare (p int references parents);\n"
                  "insert into parents values (1);\ninsert into children values (1);",
                  NULL, false},
                 {"delete from parents;\nselect 1;", NULL, false})
    {
        migrator_watch(p.m);
        expect_touched(&p, 0, STEP_UP, "children notes parents spare");
        _cleanup_err_ struct err err = {0};
        if (!is_postgres(&p))
            ASSERT_OK(db_run(migrator_db(p.m), "pragma foreign_keys = on", 0, NULL, &err), &err);
        /* PostgreSQL runs the action for the tables, whether a row is there or not */
        expect_touched(&p, 1, STEP_UP, "children notes parents");
    }
}
END_TEST

START_TEST(an_action_that_a_trigger_takes_is_touched)
{
    struct project p;
    EACH_PROJECT(p,
                 {"create table a (x int);\ncreate table log (x int);\n"
                  "create function note() returns trigger language plpgsql as $$begin"
                  " insert into log values (new.x); return new; end$$;\n"
                  "create trigger t after insert on a for each row execute function note();",
                  NULL, false},
                 {"insert into a values (1);\nselect 1;", NULL, false})
    {
        if (!is_postgres(&p))
            continue;
        migrator_watch(p.m);
        expect_touched(&p, 0, STEP_UP, "a log");
        expect_touched(&p, 1, STEP_UP, "a log");
    }
    EACH_PROJECT(p,
                 {"create table a (x int);\ncreate table log (x int);\n"
                  "create trigger t after insert on a begin insert into log values (new.x); end;",
                  NULL, false},
                 {"insert into a values (1);\nselect 1;", NULL, false})
    {
        if (is_postgres(&p) || strcmp(p.format, "goose") == 0)
            continue;
        migrator_watch(p.m);
        expect_touched(&p, 0, STEP_UP, "a log");
        expect_touched(&p, 1, STEP_UP, "a log");
    }
}
END_TEST

START_TEST(sequences_and_partitions_are_touched)
{
    struct project p;
    EACH_PROJECT(p,
                 {"create table a (id serial, x int);\ncreate sequence s;\n"
                  "create table p (id int, x int) partition by list (id);\n"
                  "create table p1 partition of p for values in (1);",
                  NULL, false},
                 {"select nextval('s');\nselect 1;", NULL, false},
                 {"alter sequence s restart with 9;\nselect 1;", NULL, false},
                 {"insert into a (x) values (1);\nselect 1;", NULL, false},
                 {"insert into p values (1, 1);\nselect 1;", NULL, false},
                 {"update p1 set x = 2;\nselect 1;", NULL, false},
                 {"truncate a restart identity;\nselect 1;", NULL, false},
                 {"create table p2 (id int, x int);\n"
                  "alter table p attach partition p2 for values in (2);",
                  NULL, false},
                 {"select setval('s', 3);\nselect 1;", NULL, false})
    {
        if (!is_postgres(&p))
            continue;
        migrator_watch(p.m);
        expect_touched(&p, 0, STEP_UP, "a a_id_seq p s");
        expect_touched(&p, 1, STEP_UP, "s");
        expect_touched(&p, 2, STEP_UP, "s");
        expect_touched(&p, 3, STEP_UP, "a a_id_seq");
        expect_touched(&p, 4, STEP_UP, "p");
        expect_touched(&p, 5, STEP_UP, "p");
        expect_touched(&p, 6, STEP_UP, "a a_id_seq");
        expect_touched(&p, 7, STEP_UP, "p");
        expect_touched(&p, 8, STEP_UP, "s");
    }
}
END_TEST

START_TEST(what_is_not_changed_is_not_touched)
{
    struct project p;
    EACH_PROJECT(p, {"create table a (x int primary key);\ncreate table b (x int);", NULL, false},
                 {"create table c (x int references a);\ncreate index i on b (x);", NULL, false},
                 {"create view v as select * from a;\nselect count(*) from v;", NULL, false},
                 {"-- nothing", NULL, false})
    {
        migrator_watch(p.m);
        expect_touched(&p, 0, STEP_UP, "a b");
        expect_touched(&p, 1, STEP_UP, "c");
        expect_touched(&p, 2, STEP_UP, "");
        expect_touched(&p, 3, STEP_UP, is_postgres(&p) && is_golang(&p) ? "unknown" : "");
    }
}
END_TEST

START_TEST(a_step_without_a_transaction_of_its_own_is_not_known)
{
    struct project p;
    EACH_PROJECT(p, {"create table a (x int);\ninsert into a values (1);", NULL, true})
    {
        migrator_watch(p.m);
        bool known = !is_postgres(&p) || is_golang(&p); /* which has no such option */
        expect_touched(&p, 0, STEP_UP, known ? "a" : "unknown");
    }
    EACH_PROJECT(p,
                 {"create table a (x int);\ncommit;\nbegin;\ncreate table b (x int);", NULL, false})
    {
        if (!is_postgres(&p))
            continue;
        struct step_result r = {0};
        migrator_watch(p.m);
        step(&p, 0, STEP_UP, &r);
        ck_assert_msg(!r.touched.known, WHERE "known", WHERE_ARGS(&p));
        step_result_release(&r);
    }
}
END_TEST

START_TEST(what_the_revision_sets_in_its_session_does_not_matter)
{
    struct project p;
    EACH_PROJECT(p, {"create schema \"other S\";\nset search_path = \"other S\";\n"
                     "set quote_all_identifiers = on;\ncreate table a (x int);",
                     NULL, false})
    {
        if (!is_postgres(&p))
            continue;
        migrator_watch(p.m);
        struct step_result r = {0};
        step(&p, 0, STEP_UP, &r);
        if (r.outcome != STEP_OK) /* the version table cannot be found: the format's own rule */
            ck_assert(!r.touched.known);
        else
            ck_assert_msg(strv_has(&r.touched.names, "\"other S\".a"), WHERE "not named",
                          WHERE_ARGS(&p));
        step_result_release(&r);
    }
}
END_TEST

START_TEST(autoincrement_that_is_written_directly_is_touched)
{
    struct project p;
    EACH_PROJECT(p,
                 {"create table a (id integer primary key autoincrement);\n"
                  "create table b (id integer primary key autoincrement);\n"
                  "insert into a values (1);\ninsert into b values (7);",
                  NULL, false},
                 {"update sqlite_sequence set seq = 9;\nselect 1;", NULL, false})
    {
        if (is_postgres(&p))
            continue;
        struct step_result r = {0};
        struct digest_set set = {0};
        _cleanup_err_ struct err err = {0};
        migrator_watch(p.m);
        expect_step(&p, 0, STEP_UP, STEP_OK);
        step(&p, 1, STEP_UP, &r);
        ck_assert(strv_has(&r.touched.names, "sqlite_sequence"));
        ASSERT_OK(digest_read(migrator_db(p.m), &r.touched.names, NULL, &set, &err), &err);
        const struct digest *a = digest_find(&set, "sqlite_sequence.a");
        ck_assert(a && digest_find(&set, "sqlite_sequence.b") && !digest_find(&set, "a"));
        ck_assert_int_eq(a->next, 10);
        digest_set_release(&set);
        step_result_release(&r);
    }
}
END_TEST

int main(void)
{
    Suite *s = suite_create("touched");
    SUITE_ADD(s, nothing_is_known_unless_asked);
    SUITE_ADD(s, tables_that_a_step_writes_are_named);
    SUITE_ADD(s, a_table_that_is_made_again_under_its_name_is_touched);
    SUITE_ADD(s, what_foreign_keys_and_triggers_write_is_touched);
    SUITE_ADD(s, an_action_that_a_trigger_takes_is_touched);
    SUITE_ADD(s, sequences_and_partitions_are_touched);
    SUITE_ADD(s, what_is_not_changed_is_not_touched);
    SUITE_ADD(s, a_step_without_a_transaction_of_its_own_is_not_known);
    SUITE_ADD(s, what_the_revision_sets_in_its_session_does_not_matter);
    SUITE_ADD(s, autoincrement_that_is_written_directly_is_touched);
    return fixture_run(s);
}
