/*
 * Made-up rows are not the user's: what they can prove and what they cannot. Each history shows a
 * verdict that real projects made necessary.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/alembic_project.h"
#include "tests/rows_check.h"

struct history {
    const char *name;
    unsigned engines;
    struct sql steps[4];
    const char *expected;
    const char *message;
};

static const struct history histories[] = {
    /* ---- reasons for losses ---- */
    {"a reason for a loss that there is not",
     BOTH,
     {{"create table t (id integer primary key, a text);", "drop table t;"},
      {"-- belay: lossy nobody reads it\nalter table t rename column a to b;",
       "alter table t rename column b to a;"}},
     "unused-waiver -",
     "\"belay: lossy\" of 2"},
    {"a reason is not unused where the downgrade refuses",
     PG,
     {{"create table t (id integer primary key, a text);", "drop table t;"},
      {"-- belay: lossy nobody reads it\nalter table t drop column a;",
       "do $$ begin raise 'no way back'; end $$;"}},
     "irreversible 2",
     NULL},

    /* ---- keys ---- */
    {"rows of two tables with keys of their own become one table's",
     BOTH,
     {{"create table a (id uuid primary key, n int); create table b (id uuid primary key, n int);",
       "drop table b; drop table a;"},
      {"create table moved (id uuid primary key); insert into moved select id from a; insert into "
       "b "
       "select id, n from a;",
       "delete from b where id in (select id from moved); drop table moved;"}},
     "",
     NULL},
    {"a key that is dropped and counted anew",
     PG,
     {{"create table likes (id serial primary key, user_id int not null, post_id int not null, "
       "score int, unique (user_id, post_id));",
       "drop table likes;"},
      {"alter table likes drop column id, add primary key (user_id, post_id);",
       "alter table likes drop constraint likes_pkey; alter table likes add column id serial "
       "primary key;"}},
     "data-lost-by-design 2: column likes.id; column-order-differs 2: column likes.id",
     NULL},
    {"NULLs filled before NOT NULL in a table without a key",
     PG,
     {{"create table t (id int not null unique, path text);", "drop table t;"},
      {"update t set path = 'p' || id where path is null; alter table t alter path set not null;",
       "alter table t alter path drop not null;"}},
     "data-lost-by-design 2: column t.path",
     "NULL -> 'p"},

    /* ---- values whose meaning nobody can know ---- */
    {"text that is to be an address",
     PG,
     {{"create table t (id int primary key, ip text not null);", "drop table t;"},
      {"alter table t alter ip type inet using ip::inet;", "alter table t alter ip type text;"}},
     "upgrade-depends-on-data 2",
     "invalid input syntax for type inet"},
    {"text that is looked at as an address, and stays text",
     PG,
     {{"create table t (id int primary key, ip text not null);", "drop table t;"},
      {"create table hosts as select distinct ip::inet from t;", "drop table hosts;"}},
     "upgrade-depends-on-data 2",
     NULL},
    {"a label that only the new enum has",
     PG,
     {{"create type mood as enum ('sad', 'glad'); create table t (id int primary key, m mood);",
       "drop table t; drop type mood;"},
      {"alter type mood rename to old; create type mood as enum ('new', 'sad', 'glad'); create "
       "table u (m mood not null); alter table t alter m type mood using m::text::mood; drop type "
       "old;",
       "alter type mood rename to old; create type mood as enum ('sad', 'glad'); alter table t "
       "alter m type mood using m::text::mood; create table x as select m::text::mood from u; drop "
       "table x; drop table u; drop type old;"}},
     "downgrade-depends-on-data 2",
     "invalid input value for enum mood"},
    {"a downgrade that only some rows stop",
     PG,
     {{"create table t (id int primary key, n bigint);", "drop table t;"},
      {"alter table t add column m int;",
       "alter table t drop column m; alter table t alter n type int; alter table t alter n type "
       "bigint;"}},
     "downgrade-depends-on-data 2",
     "integer out of range"},
};

START_TEST(the_verdict_is_as_sure_as_it_can_be)
{
    const struct history *h = &histories[_i / 2];
    const struct engine *e = rows_engine_of(_i, h->engines);
    const struct sql *steps[4];
    size_t n = 0;
    for (; n < 4 && h->steps[n].up; n++)
        steps[n] = &h->steps[n];
    if (e)
        rows_check_sql(h->name, steps, n, e, h->expected, h->message);
}
END_TEST

#define EACH_NAME                                                                                  \
    "for (name,) in op.get_bind().execute(sa.text('select name from t')).fetchall():\n    "

/* Revisions that look at the values themselves. */
START_TEST(a_value_that_python_does_not_want_is_an_affair_of_the_data)
{
    const struct engine *e = rows_engine_of(_i, BOTH);
    const struct rev revisions[] = {
        {"r1", "down_revision = None",
         "op.create_table('t', sa.Column('id', sa.Integer(), primary_key=True), sa.Column('name', "
         "sa.Text(), nullable=False))",
         "op.drop_table('t')"},
        {"r2", "down_revision = 'r1'", EACH_NAME "{'a': 1}[name]", "op.execute('select 1')"},
        {"r3", "down_revision = 'r2'", EACH_NAME "name.trim()", "op.execute('select 1')"},
        {"r4", "down_revision = 'r3'", EACH_NAME "sa.no_such_thing(name)",
         "op.execute('select 1')"},
        {0},
    };
    _cleanup_free_ char *env = env_with(sync_env, "");
    _cleanup_folder_ char *dir = project_write(driver_of(e), env, revisions);
    rows_check_folder("Python", dir,
                      &(struct source_options){.dir = dir, .python = PYTHON, .timeout = 60}, e,
                      "upgrade-depends-on-data r2; upgrade-depends-on-data r3; "
                      "upgrade-fails-on-rows r4",
                      "KeyError");
}
END_TEST

int main(void)
{
    const char *why = alembic_suite_begin();
    Suite *s = suite_create("rows_verdicts");
    SUITE_ADD_LOOP(s, the_verdict_is_as_sure_as_it_can_be, 2 * ARRAY_LEN(histories));
    if (why)
        fprintf(stderr, "no Alembic: %s\n", why);
    else
        SUITE_ADD_LOOP(s, a_value_that_python_does_not_want_is_an_affair_of_the_data, 2);
    return fixture_run(s);
}
