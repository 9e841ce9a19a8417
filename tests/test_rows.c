/* What is right although rows change or come and go, and histories of Alembic with faults. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/alembic_project.h"
#include "tests/rows_faults.h"

/* What is right although values change, or rows come and go. */
struct right {
    const char *name;
    unsigned engines;
    struct sql steps[4];
    const char *expected;
};

static const struct right rights[] = {
    {"a clock that rewrites rows is not blamed",
     PG,
     {{"create table t (id int primary key, n int, updated_at timestamptz not null); create "
       "function touch() returns trigger language plpgsql as $$ begin new.updated_at = now(); "
       "return new; end $$; create trigger touch before update on t for each row execute function "
       "touch();",
       "drop table t; drop function touch();"},
      {"update t set n = n;", "update t set n = n;"}},
     ""},
    {"the clock of SQLite is not blamed",
     LITE,
     {{"create table t (id integer primary key, updated_at text not null, day integer);",
       "drop table t;"},
      {"update t set updated_at = datetime('now'), day = strftime('%s', 'now');", "select 1;"}},
     ""},
    {"random values are not blamed",
     PG,
     {{"create table t (id int primary key, token uuid);", "drop table t;"},
      {"update t set token = gen_random_uuid();", "select 1;"}},
     ""},
    {"seed rows come and go, with a clock and keys of a sequence",
     PG,
     {{"create table roles (id serial primary key, title text, made timestamptz default now());"
       "create table grants (id serial primary key, role_id int references roles);",
       "drop table grants; drop table roles;"},
      {"insert into roles (title) values ('a'), ('b'); insert into grants (role_id) select id from "
       "roles where title in ('a', 'b');",
       "delete from grants where role_id in (select id from roles where title in ('a', 'b')); "
       "delete from roles where title in ('a', 'b');"},
      {"alter table roles add column note text;", "alter table roles drop column note;"}},
     ""},
    {"a table is filled from another and dropped again",
     BOTH,
     {USERS,
      {"create table names (name text); insert into names select distinct name from users where "
       "name is not null;",
       "drop table names;"},
      {"create table more (id integer primary key);", "drop table more;"}},
     ""},
    {"rows that are written after the upgrade may go with the downgrade",
     BOTH,
     {{"create table posts (id integer primary key, title text);", "drop table posts;"},
      {"create table drafts (id integer primary key, title text);",
       "insert into posts select id + 7000000, title from drafts; drop table drafts;"},
      {"create table more (id integer primary key);", "drop table more;"}},
     ""},
    {"a column that an ALTER adds holds values before it is dropped",
     BOTH,
     {{"create table users (id integer primary key);", "drop table users;"},
      {"alter table users add column nick text;", "alter table users drop column nick;"},
      {"alter table users drop column nick;", "alter table users add column nick text;"}},
     "data-lost-by-design 3: column users.nick"},
    {"a reason in the revision waives what is lost",
     BOTH,
     {USERS,
      {"-- belay: lossy nobody used nicks\nalter table users drop column nick;",
       "alter table users add column nick text;"}},
     "data-lost-by-design 2 waived (nobody used nicks): column users.nick"},
    {"the check goes on behind an upgrade that rows stop",
     BOTH,
     {USERS,
      {"alter table users add column email text not null;", "alter table users drop column email;"},
      {"delete from users;", "select 1;"}},
     "upgrade-fails-on-rows 2; rows-lost 3: table users"},
    {"the check goes on behind an upgrade that some rows stop",
     BOTH,
     {USERS,
      {"create unique index nicks on users (nick);", "drop index nicks;"},
      {"update users set name = 'x';", "select 1;"}},
     "upgrade-depends-on-data 2; rows-changed 3: column users.name"},
    {"an upgrade that fails on empty tables too is no affair of rows",
     BOTH,
     {USERS, {"insert into nowhere values (1);", "select 1;"}},
     "upgrade-fails 2"},
    {"a downgrade that fails on empty tables too is no affair of rows",
     BOTH,
     {USERS, {"create table x (id integer);", "drop table nowhere;"}},
     "downgrade-fails 2"},
    {"an index over another table's content is said to be empty",
     LITE,
     {{"create table d (id integer primary key, body text); create virtual table f using "
       "fts5(body, content='d', content_rowid='id');",
       "drop table f; drop table d;"}},
     "rows-not-generated 1: table f"},
    {"an index that a trigger fills is not",
     LITE,
     {{"create table d (id integer primary key, body text); create virtual table f using "
       "fts5(body, content='d', content_rowid='id'); create trigger enter after insert on d begin "
       "insert into f (rowid, body) values (new.id, new.body); end;",
       "drop table f; drop table d;"}},
     ""},
    {"a partitioned table without a partition is said to be empty",
     PG,
     {{"create table m (day date not null) partition by range (day);", "drop table m;"}},
     "rows-not-generated 1: table m"},
    {"a column that was added to rows without a key is said to hold nothing",
     BOTH,
     {{"create table t (a integer);", "drop table t;"},
      {"alter table t add column b integer;", "alter table t drop column b;"}},
     "rows-not-generated 2: column t.b"},
    {"a column that was added to rows with a trigger is said to hold nothing",
     LITE,
     {{"create table t (id integer primary key, a integer); create trigger touch after update on t "
       "begin update t set a = 1 where id = -1; end;",
       "drop table t;"},
      {"alter table t add column b integer;", "alter table t drop column b;"}},
     "rows-not-generated 2: column t.b"},
    {"a reference that was added to rows holds keys",
     BOTH,
     {{"create table u (id integer primary key); create table t (id integer primary key);",
       "drop table t; drop table u;"},
      {"alter table t add column u_id integer references u;", "alter table t drop column u_id;"},
      {"update t set u_id = null;", "select 1;"}},
     "rows-changed 3: column t.u_id"},
    {"a table that cannot be filled is said to be empty",
     PG,
     {{"create table t (id int check (id is null and id is not null and random() < -1), n int not "
       "null check (n < 0 and n > 0));",
       "drop table t;"}},
     "rows-not-generated 1: table t"},
};

static void check_right(int i)
{
    const struct right *r = &rights[i / 2];
    const struct engine *e = rows_engine_of(i, r->engines);
    const struct sql *steps[4];
    size_t n = 0;
    while (n < 4 && r->steps[n].up) {
        steps[n] = &r->steps[n];
        n++;
    }
    if (e)
        rows_check_sql(r->name, steps, n, e, r->expected, NULL);
}

START_TEST(what_is_right_is_not_blamed)
{
    check_right(_i);
}
END_TEST

START_TEST(what_is_right_is_not_blamed_in_two_threads)
{
    rows_two_threads = 1;
    check_right(2 * _i);
    rows_two_threads = -1;
}
END_TEST

/* ---- Alembic ---- */

/*
 * All in one history, each revision on a table of its own, which the first one makes: a table
 * a_N with id, name (text, NULLs), n (a number, NULLs) and flag, and b_N that refers to it and goes
 * with it.
 */
struct python {
    unsigned engines;
    const char *up, *down;           /* with the fault; $t and $b: the tables */
    const char *twin_up, *twin_down; /* done right */
    const char *expected;            /* "finding: object", with $t and $b; NULL object: none */
};

#define NOOP "op.execute('select 1')"
#define BATCH(body) "with op.batch_alter_table('$t') as t:\n    " body
#define SEED "op.bulk_insert(sa.table('$t', sa.column('name'), sa.column('n')), "
#define SEEDS "[{'name': 'seed', 'n': 1}, {'name': 'other', 'n': 2}])"

static const struct python pythons[] = {
    {BOTH, BATCH("t.add_column(sa.Column('x', sa.Text(), nullable=False))"),
     BATCH("t.drop_column('x')"),
     BATCH("t.add_column(sa.Column('x', sa.Text(), nullable=False, server_default=''))"),
     BATCH("t.drop_column('x')"), "upgrade-fails-on-rows"},
    {BOTH, BATCH("t.alter_column('name', nullable=False)"),
     BATCH("t.alter_column('name', nullable=True)"),
     BATCH("t.alter_column('name', new_column_name='title')"),
     BATCH("t.alter_column('title', new_column_name='name')"), "upgrade-depends-on-data"},
    {BOTH, BATCH("t.create_unique_constraint('$t_names', ['name'])"),
     BATCH("t.drop_constraint('$t_names', type_='unique')"),
     BATCH("t.create_unique_constraint('$t_names', ['name', 'id'])"),
     BATCH("t.drop_constraint('$t_names', type_='unique')"), "upgrade-depends-on-data"},
    {BOTH, BATCH("t.drop_column('flag')"), BATCH("t.add_column(sa.Column('flag', sa.Integer()))"),
     "op.rename_table('$t', '$t_old')", "op.rename_table('$t_old', '$t')",
     "data-lost-by-design: column $t.flag"},
    {BOTH, SEED SEEDS, NOOP, SEED SEEDS,
     "op.execute(\"delete from $t where name in ('seed', 'other')\")", "rows-added: table $t"},
    {BOTH, "op.execute('update $t set n = 0')", NOOP,
     BATCH(
         "t.add_column(sa.Column('m', sa.Integer()))") "\nop.execute('update $t set m = n, n = 0')",
     "op.execute('update $t set n = m')\n" BATCH("t.drop_column('m')"),
     "rows-changed: column $t.n"},
    {BOTH,
     "t = sa.table('$t', sa.column('id'), sa.column('name'))\n"
     "bind = op.get_bind()\n"
     "for row in bind.execute(sa.select([t.c.id, t.c.name])).fetchall():\n"
     "    bind.execute(t.update().where(t.c.id == row[0]).values(name='<%s>' % (row[1] or '')))",
     "t = sa.table('$t', sa.column('id'), sa.column('name'))\n"
     "bind = op.get_bind()\n"
     "for row in bind.execute(sa.select([t.c.id, t.c.name])).fetchall():\n"
     "    bind.execute(t.update().where(t.c.id == row[0]).values(name=row[1][1:-1]))",
     "t = sa.table('$t', sa.column('id'), sa.column('name'))\n"
     "bind = op.get_bind()\n"
     "for row in bind.execute(sa.select([t.c.id, t.c.name])).fetchall():\n"
     "    if row[1] is not None:\n"
     "        bind.execute(t.update().where(t.c.id == row[0]).values(name='<%s>' % row[1]))",
     "t = sa.table('$t', sa.column('id'), sa.column('name'))\n"
     "bind = op.get_bind()\n"
     "for row in bind.execute(sa.select([t.c.id, t.c.name])).fetchall():\n"
     "    if row[1] is not None:\n"
     "        bind.execute(t.update().where(t.c.id == row[0]).values(name=row[1][1:-1]))",
     "rows-changed: column $t.name"},
    {BOTH, "op.execute('delete from $b')", NOOP, "op.execute('delete from $b where id < 0')", NOOP,
     "rows-lost: table $b"},
    {BOTH, "op.drop_table('$b')",
     "op.create_table('$b', sa.Column('id', sa.Integer(), primary_key=True),\n"
     "    sa.Column('a_id', sa.Integer(), sa.ForeignKey('$t.id', ondelete='CASCADE')))",
     "op.rename_table('$b', '$b_old')", "op.rename_table('$b_old', '$b')",
     "data-lost-by-design: table $b"},
    {PG, "op.alter_column('$t', 'name', type_=sa.String(20), postgresql_using='left(name, 20)')",
     "op.alter_column('$t', 'name', type_=sa.Text())",
     "op.alter_column('$t', 'name', type_=sa.String(4000))",
     "op.alter_column('$t', 'name', type_=sa.Text())", "rows-changed: column $t.name"},
    {PG, "op.execute('alter sequence $t_id_seq restart')", NOOP,
     "op.execute('alter sequence $t_id_seq increment by 1')", NOOP,
     "sequence-changed: sequence $t_id_seq"},
    {PG, "op.execute('truncate $t cascade')", NOOP,
     "op.execute('create table $t_x as select 1 as x')\nop.execute('truncate $t_x')",
     "op.drop_table('$t_x')", "rows-lost: table $t, table $b"},
    /* the batch drops the table, and with foreign_keys the rows that refer to it */
    {LITE,
     "with op.get_context().autocommit_block():\n"
     "    op.execute('pragma foreign_keys = on')\n"
     "with op.batch_alter_table('$t', recreate='always') as t:\n"
     "    t.add_column(sa.Column('x', sa.Text()))\n"
     "with op.get_context().autocommit_block():\n"
     "    op.execute('pragma foreign_keys = off')",
     BATCH("t.drop_column('x')"),
     "with op.batch_alter_table('$t', recreate='always') as t:\n"
     "    t.add_column(sa.Column('x', sa.Text()))",
     BATCH("t.drop_column('x')"), "rows-lost: table $b"},
};

static char *with_tables(const char *text, int number)
{
    struct str s = {0};
    for (const char *p = text; *p; p++) {
        if (*p == '$' && (p[1] == 't' || p[1] == 'b'))
            str_addf(&s, "%c_%d", *++p == 't' ? 'a' : 'b', number);
        else
            str_addc(&s, *p);
    }
    return str_take(&s);
}

static void check_alembic(const struct engine *e, bool twins)
{
    enum { N = ARRAY_LEN(pythons) };
    struct rev revisions[N + 2] = {0};
    _cleanup_str_ struct str tables = {0}, drops = {0}, expected = {0};
    unsigned wanted = e == &engine_sqlite ? LITE : PG;
    char *texts[N][4] = {0};
    size_t n = 1;
    for (int i = 0; i < N; i++) {
        const struct python *p = &pythons[i];
        if (!(p->engines & wanted))
            continue;
        str_addf(&tables,
                 "op.create_table('a_%d', sa.Column('id', sa.Integer(), primary_key=True), "
                 "sa.Column('name', sa.Text()), sa.Column('n', sa.Integer()), sa.Column('flag', "
                 "sa.Integer()))\n"
                 "op.create_table('b_%d', sa.Column('id', sa.Integer(), primary_key=True), "
                 "sa.Column('a_id', sa.Integer(), sa.ForeignKey('a_%d.id', ondelete='CASCADE')))\n",
                 i, i, i);
        str_addf(&drops, "op.drop_table('b_%d')\nop.drop_table('a_%d')\n", i, i);
        texts[i][0] = xasprintf("r%02d", i + 1);
        texts[i][1] =
            xasprintf("down_revision = '%s'", revisions[n - 1].id ? revisions[n - 1].id : "r00");
        texts[i][2] = with_tables(twins ? p->twin_up : p->up, i);
        texts[i][3] = with_tables(twins ? p->twin_down : p->down, i);
        revisions[n++] = (struct rev){texts[i][0], texts[i][1], texts[i][2], texts[i][3]};
        if (twins)
            continue;
        _cleanup_free_ char *said = with_tables(p->expected, i);
        size_t id = strcspn(said, ":");
        str_addf(&expected, "; %.*s r%02d%s", (int)id, said, i + 1, said + id);
    }
    revisions[0] = (struct rev){"r00", "down_revision = None", str_get(&tables), str_get(&drops)};
    _cleanup_free_ char *env = env_with(sync_env, "render_as_batch=True");
    _cleanup_folder_ char *dir = project_write(driver_of(e), env, revisions);
    rows_check_folder("Alembic", dir,
                      &(struct source_options){.dir = dir, .python = PYTHON, .timeout = 60}, e,
                      expected.len ? str_get(&expected) + 2 : "", NULL);
    for (int i = 0; i < N; i++)
        for (int k = 0; k < 4; k++)
            free(texts[i][k]);
}

START_TEST(alembic_projects_are_judged_the_same_way)
{
    check_alembic(engines[_i / 2], _i % 2);
}
END_TEST

int main(void)
{
    const char *why = alembic_suite_begin();
    Suite *s = suite_create("rows");
    SUITE_ADD_LOOP(s, what_is_right_is_not_blamed, 2 * ARRAY_LEN(rights));
    SUITE_ADD_LOOP(s, what_is_right_is_not_blamed_in_two_threads, ARRAY_LEN(rights));
    if (why)
        fprintf(stderr, "no Alembic: %s\n", why);
    else
        SUITE_ADD_LOOP(s, alembic_projects_are_judged_the_same_way, 4);
    return fixture_run(s);
}
