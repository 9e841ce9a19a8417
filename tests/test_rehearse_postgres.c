/* Hazards on PostgreSQL, planted and told apart from their safe twins by what they do, not by how long
 * it takes: every table counts as big here, and no lock as long. */
#include <pthread.h>
#include <string.h>
#include <unistd.h>

#include "harness/base/clock.h"
#include "tests/alembic_project.h"
#include "tests/rehearse_world.h"

static const struct file tables[] = {
    {"migrations/1_tables.up.sql",
     "create table teams (id integer primary key, name text);\n"
     "create table users (id integer primary key, email varchar(50), age "
     "integer, team integer, bio text);"},
    {"migrations/1_tables.down.sql", "drop table users; drop table teams;"},
    {NULL, NULL},
};

static const char rows[] =
    "insert into teams select i, 't' || i from generate_series(1, 100) i;"
    "insert into users select i, 'u' || i, i % 90, i % 100 + 1, repeat('b', 100) from "
    "generate_series(1, 20000) i;"
    "vacuum analyze users; vacuum analyze teams;";

/* One pending revision, or two where the safe way needs them. */
struct hazard {
    const char *name;
    const char *id; /* NULL: a safe twin, nothing at all is found */
    const char *up, *down;
    const char *up_after, *down_after; /* of a third revision, or NULL */
};

static const struct hazard hazards[] = {
    {"an index is built", "blocks-writes", "create index users_email on users (email);",
     "drop index users_email;", NULL, NULL},
    {"an index is built concurrently", NULL,
     "create index concurrently users_email on users (email);",
     "drop index concurrently users_email;", NULL, NULL},
    {"a type changes its storage", "rewrites-table",
     "alter table users alter column age type bigint;",
     "alter table users alter column age type integer;", NULL, NULL},
    {"a column comes with a volatile default", "rewrites-table",
     "alter table users add column token uuid default gen_random_uuid();",
     "alter table users drop column token;", NULL, NULL},
    {"a column comes with a constant default", NULL,
     "alter table users add column state text not null default 'new';",
     "alter table users drop column state;", NULL, NULL},
    {"a type becomes wider without a rewrite", NULL,
     "alter table users alter column email type varchar(500);",
     "alter table users alter column email type varchar(50);", NULL, NULL},
    {"a column becomes NOT NULL", "not-null-scan",
     "alter table users alter column email set not null;",
     "alter table users alter column email drop not null;", NULL, NULL},
    {"a column becomes NOT NULL by a valid CHECK", NULL,
     "alter table users add constraint email_there check (email is not null) not valid;",
     "alter table users drop constraint email_there;",
     "alter table users validate constraint email_there;", "select 1;"},
    {"a CHECK is added", "long-validation",
     "alter table users add constraint grown check (age < 100);",
     "alter table users drop constraint grown;", NULL, NULL},
    {"a foreign key is added", "long-validation",
     "alter table users add constraint in_team foreign key (team) references teams (id);",
     "alter table users drop constraint in_team;", NULL, NULL},
    {"a foreign key is added and validated later", NULL,
     "alter table users add constraint in_team foreign key (team) references teams (id) not valid;",
     "alter table users drop constraint in_team;", "alter table users validate constraint in_team;",
     "select 1;"},
    {"a foreign key is validated in the same transaction", "long-validation",
     "alter table users add constraint in_team foreign key (team) references teams (id) not valid;"
     "alter table users validate constraint in_team;",
     "alter table users drop constraint in_team;", NULL, NULL},
    {"rows are counted under a lock that readers wait for", "blocks-reads",
     "alter table users add column n integer; select count(*) from users;",
     "alter table users drop column n;", NULL, NULL},
    {"all rows are changed at once", "blocks-writes", "update users set bio = bio || 'x';",
     "update users set bio = left(bio, 100);", NULL, NULL},
    {"some rows are changed", NULL, "update users set bio = bio || 'x' where id < 10;",
     "update users set bio = left(bio, 100) where id < 10;", NULL, NULL},
};

static const struct hazard *open_hazard(struct world *w, int i)
{
    const struct hazard *h = &hazards[i];
    world_open(w, &engine_postgres, tables, 1, rows);
    const struct file files[] = {
        {"migrations/2_hazard.up.sql", h->up},
        {"migrations/2_hazard.down.sql", h->down},
        {h->up_after ? "migrations/3_after.up.sql" : NULL, h->up_after},
        {"migrations/3_after.down.sql", h->down_after},
        {NULL, NULL},
    };
    world_add(w, files);
    w->thresholds = (struct rehearsal_thresholds){.long_lock = 1e9, .big_table = 1 << 20};
    return h;
}

START_TEST(hazards_are_found_and_their_safe_twins_are_not)
{
    struct world w;
    const struct hazard *h = open_hazard(&w, _i);
    world_rehearse(&w);
    if (h->id) {
        const struct finding *f = world_finding(&w, h->id, "2");
        ck_assert_msg(strstr(f->message, "public.users") != NULL, "%s: %s", h->name, f->message);
        ck_assert_msg(f->hint && f->statement, "%s", h->name);
        ck_assert_msg(f->file && str_ends(f->file, "2_hazard.up.sql") && f->line == 1, "%s",
                      h->name);
    }
    for (size_t i = 0; i < w.result.check.nfindings; i++) {
        const struct finding *f = &w.result.check.findings[i];
        bool other = finding_id_is_rehearsals(f->id->id) && !str_eq(f->id->id, h->id) &&
                     strcmp(f->id->id, "lossy-downgrade") != 0;
        ck_assert_msg(!other, "%s: %s: %s", h->name, f->id->id, f->message);
    }
    world_close(&w);
}
END_TEST

/* ---- what stays behind, and what is running out ---- */

START_TEST(index_that_could_not_be_built_is_left_invalid)
{
    struct world w;
    world_open(&w, &engine_postgres, tables, 1, rows);
    world_add(&w, (const struct file[]){
                      {"migrations/2_unique.up.sql",
                       "create unique index concurrently users_age on users (age);"},
                      {"migrations/2_unique.down.sql", "drop index users_age;"},
                      {NULL, NULL},
                  });
    world_rehearse(&w);
    ck_assert_str_eq(world_finding(&w, "invalid-index-left", "2")->changes[0].object,
                     "index public.users_age");
    world_finding(&w, "upgrade-fails", "2");
    world_close(&w);
}
END_TEST

START_TEST(integer_key_that_is_nearly_used_up_is_found_by_its_rows_and_by_its_sequence)
{
    struct world w;
    world_open(&w, &engine_postgres, tables, 1,
               "create table full_by_rows (id integer primary key);"
               "insert into full_by_rows values (2000000000);"
               "create table full_by_sequence (id serial, at date);"
               "select setval('full_by_sequence_id_seq', 2100000000);"
               "create table wide (id bigint primary key); insert into wide values (2000000000);"
               "create table becomes_wide (id integer primary key);"
               "insert into becomes_wide values (2147483647);");
    world_add(&w,
              (const struct file[]){
                  {"migrations/2_wide.up.sql", "alter table becomes_wide alter id type bigint;"},
                  {"migrations/2_wide.down.sql", "alter table becomes_wide alter id type int;"},
                  {NULL, NULL},
              });
    world_rehearse(&w);
    ck_assert_uint_eq(w.result.check.nfindings, 2);
    ck_assert_str_eq(w.result.check.findings[0].changes[0].object, "column public.full_by_rows.id");
    ck_assert_str_eq(w.result.check.findings[1].changes[0].object,
                     "column public.full_by_sequence.id");
    ck_assert_ptr_nonnull(strstr(w.result.check.findings[1].message, "by its sequence, 97 %"));
    world_close(&w);
}
END_TEST

/* ---- measures ---- */

static const struct measured_lock *lock_of(const struct measures *m, const char *relation,
                                           const char *mode)
{
    for (size_t i = 0; i < m->nlocks; i++)
        if (strcmp(m->locks[i].relation, relation) == 0 && strcmp(m->locks[i].mode, mode) == 0)
            return &m->locks[i];
    return NULL;
}

START_TEST(statements_are_told_with_rows_and_the_locks_that_they_took)
{
    struct world w;
    world_open(&w, &engine_postgres, tables, 1, rows);
    world_add(&w, (const struct file[]){
                      {"migrations/2_three.up.sql", "-- adds a column\n"
                                                    "alter table users add column n integer;\n"
                                                    "update users set n = age;\n"
                                                    "create index users_n on users (n);\n"},
                      {"migrations/2_three.down.sql", "alter table users drop column n;"},
                      {NULL, NULL},
                  });
    world_rehearse(&w);
    const struct measures *m = &w.result.steps[0].up.measures;
    ck_assert_uint_eq(m->nstatements, 3);
    ck_assert_str_eq(m->statements[1].text, "update users set n = age");
    ck_assert_int_eq(m->statements[0].line, 2);
    ck_assert_int_eq(m->statements[1].line, 3);
    ck_assert_int_eq(m->statements[0].rows, 0);
    ck_assert_int_eq(m->statements[1].rows, 20000);
    ck_assert_int_gt(m->statements[1].wal, 1000000);
    const struct measured_lock *exclusive = lock_of(m, "public.users", "AccessExclusiveLock");
    ck_assert_ptr_nonnull(exclusive);
    ck_assert_uint_eq(exclusive->statement, 0);
    ck_assert_int_eq(exclusive->blocks, LOCK_BLOCKS_READS);
    /* until the commit, after the last statement */
    ck_assert(exclusive->until >= m->statements[2].start + m->statements[2].seconds);
    const struct measured_lock *share = lock_of(m, "public.users", "ShareLock");
    ck_assert_ptr_nonnull(share);
    ck_assert_uint_eq(share->statement, 2);
    ck_assert_int_gt(m->after, m->before);
    ck_assert_int_ge(m->peak, m->after);
    world_close(&w);
}
END_TEST

/* Somebody else on the copy. */
struct client {
    char *url;
    pthread_t thread;
    double longest; /* that a query of its own took */
};

/* A transaction that a concurrent build waits for, until it has been under way for a while. */
static void *hold_up(void *data)
{
    const struct client *c = data;
    struct err err = {0};
    _cleanup_db_ struct db *db = NULL;
    if (db_open(&engine_postgres, c->url, DB_OPEN_DEFAULT, &db, &err) < 0 ||
        db_run(db, "begin isolation level repeatable read; select 1 from teams", DB_RUN_WHOLE, NULL,
               &err) < 0)
        abort();
    for (bool there = false; !there; usleep(1000)) {
        _cleanup_free_ char *n = NULL;
        if (db_query_text(
                db,
                "select 1 from pg_locks where relation = 'users'::regclass and granted and "
                "mode = 'ShareUpdateExclusiveLock' and pid <> pg_backend_pid()",
                NULL, 0, &n, &err) < 0)
            abort();
        there = n != NULL;
    }
    usleep(1000000);
    return NULL;
}

START_TEST(locks_of_concurrent_builds_are_seen_while_they_run)
{
    struct world w;
    world_open(&w, &engine_postgres, tables, 1, rows);
    world_add(&w, (const struct file[]){
                      {"migrations/2_index.up.sql",
                       "create index concurrently users_bio on users (bio, email, age);"},
                      {"migrations/2_index.down.sql", "drop index users_bio;"},
                      {NULL, NULL},
                  });
    struct client c = {.url = xstrdup(scratch_url(w.copy))};
    ck_assert_int_eq(pthread_create(&c.thread, NULL, hold_up, &c), 0);
    world_rehearse(&w);
    pthread_join(c.thread, NULL);
    free(c.url);
    const struct measures *m = &w.result.steps[0].up.measures;
    const struct measured_lock *l = lock_of(m, "public.users", "ShareUpdateExclusiveLock");
    ck_assert_ptr_nonnull(l);
    ck_assert_int_eq(l->blocks, LOCK_BLOCKS_NOTHING);
    ck_assert_uint_eq(m->nwaits, 0);
    world_close(&w);
}
END_TEST

/* Reads the table all the time, and notes the longest that it took. */
static void *read_all_the_time(void *data)
{
    struct client *c = data;
    struct err err = {0};
    _cleanup_db_ struct db *db = NULL;
    if (db_open(&engine_postgres, c->url, DB_OPEN_DEFAULT, &db, &err) < 0)
        abort();
    /* until it was held up once: the copy is dropped in the end */
    while (c->longest < 0.2) {
        _cleanup_free_ char *one = NULL;
        double begun = clock_seconds();
        if (db_query_text(db, "select id from users limit 1", NULL, 0, &one, &err) < 0)
            break;
        double took = clock_seconds() - begun;
        c->longest = took > c->longest ? took : c->longest;
        usleep(2000);
    }
    err_release(&err);
    return NULL;
}

START_TEST(canaries_wait_as_long_as_a_client_of_its_own)
{
    struct world w;
    world_open(&w, &engine_postgres, tables, 1, rows);
    world_add(&w, (const struct file[]){
                      {"migrations/2_slow.up.sql", "alter table users add column n integer;\n"
                                                   "select pg_sleep(1);\n"},
                      {"migrations/2_slow.down.sql", "alter table users drop column n;"},
                      {NULL, NULL},
                  });
    w.budgets.max_blocked = 0.3;
    struct client c = {.url = xstrdup(scratch_url(w.copy))};
    ck_assert_int_eq(pthread_create(&c.thread, NULL, read_all_the_time, &c), 0);
    world_rehearse(&w);
    pthread_join(c.thread, NULL);
    free(c.url);
    const struct measures *m = &w.result.steps[0].up.measures;
    size_t step = 7;
    const struct measured_wait *longest = rehearsal_longest(&w.result, &step);
    ck_assert_ptr_nonnull(longest);
    ck_assert_uint_eq(step, 0);
    ck_assert_str_eq(longest->table, "public.users");
    ck_assert_uint_eq(longest->statement, 0); /* that took the lock, not the one that was slow */
    ck_assert_msg(longest->seconds > c.longest * 0.5 && longest->seconds < c.longest * 2,
                  "a canary waited %.3f s, the client %.3f s", longest->seconds, c.longest);
    /* nobody waits longer than the lock was held, but for the time to notice */
    const struct measured_lock *l = lock_of(m, "public.users", "AccessExclusiveLock");
    ck_assert_ptr_nonnull(l);
    ck_assert(longest->seconds < (l->until - l->from) * 1.5 + 0.5);
    ck_assert_ptr_nonnull(
        strstr(world_finding(&w, "budget-exceeded", "2")->message, "max_blocked: a "));
    const struct finding *f = world_finding(&w, "blocks-reads", "2");
    ck_assert_str_eq(f->statement, "select pg_sleep(1)");
    world_close(&w);
}
END_TEST

START_TEST(budgets_of_time_and_room_are_findings)
{
    struct world w;
    world_open(&w, &engine_postgres, tables, 1, rows);
    world_add(&w, (const struct file[]){
                      {"migrations/2_copy.up.sql", "create table copy as select * from users;"},
                      {"migrations/2_copy.down.sql", "drop table copy;"},
                      {NULL, NULL},
                  });
    w.budgets = (struct rehearsal_budgets){.max_duration = 1e-9, .max_growth = 100000};
    world_rehearse(&w);
    ck_assert_uint_eq(w.result.check.nfindings, 2);
    ck_assert_ptr_nonnull(strstr(w.result.check.findings[0].message, "max_duration"));
    ck_assert_ptr_nonnull(strstr(w.result.check.findings[1].message, "max_growth"));
    world_close(&w);
}
END_TEST

START_TEST(canaries_that_wait_never_make_the_migration_a_deadlock_s_victim)
{
    struct world w;
    world_open(&w, &engine_postgres, tables, 1, rows);
    /* an index's lock first, the table's later: a reader holds one and waits for the other */
    world_add(&w, (const struct file[]){
                      {"migrations/2_order.up.sql", "reindex index users_pkey;\n"
                                                    "select pg_sleep(0.5);\n"
                                                    "alter table users add column n integer;\n"},
                      {"migrations/2_order.down.sql", "alter table users drop column n;"},
                      {NULL, NULL},
                  });
    world_rehearse(&w);
    ck_assert(w.result.steps[0].up.worked);
    world_close(&w);
}
END_TEST

/* ---- Alembic ---- */

static const struct rev alembic[] = {
    {"r1", "down_revision = None",
     "op.create_table('users', sa.Column('id', sa.Integer, primary_key=True),\n"
     "                sa.Column('email', sa.Text), sa.Column('age', sa.Integer))",
     "op.drop_table('users')"},
    {"r2", "down_revision = 'r1'",
     "op.add_column('users', sa.Column('n', sa.Integer))\n"
     "op.execute('update users set n = age')\n"
     "op.create_index('users_email', 'users', ['email'])",
     "op.drop_index('users_email')\nop.drop_column('users', 'n')"},
    {"r3", "down_revision = 'r2'",
     "with op.get_context().autocommit_block():\n"
     "    op.create_index('users_age', 'users', ['age'], postgresql_concurrently=True)",
     "op.drop_index('users_age')"},
    {0}};

static const char alembic_rows[] =
    "insert into users select i, 'u' || i, i % 90 from generate_series(1, 20000) i;";

START_TEST(alembic_tells_its_statements_with_their_lines)
{
    static const char *const drivers[] = {"postgresql", "postgresql+asyncpg"};
    struct world w;
    const char *env = _i ? async_env : sync_env;
    _cleanup_free_ char *text = env_with(env, "target_metadata=None");
    world_open_in(&w, &engine_postgres, project_write(drivers[_i], text, alembic), PYTHON, 1,
                  alembic_rows);
    w.thresholds = (struct rehearsal_thresholds){.long_lock = 1e9, .big_table = 500000};
    world_rehearse(&w);
    const struct measures *m = &w.result.steps[0].up.measures;
    ck_assert_uint_eq(m->nstatements, 3);
    ck_assert_str_eq(m->statements[1].text, "update users set n = age");
    ck_assert_int_eq(m->statements[1].rows, 20000);
    ck_assert(str_ends(m->statements[1].file, "r2_x.py"));
    ck_assert_int_eq(m->statements[1].line, m->statements[0].line + 1);
    ck_assert_ptr_nonnull(lock_of(m, "public.users", "AccessExclusiveLock"));
    const struct finding *f = world_finding(&w, "blocks-reads", "r2");
    ck_assert(str_ends(f->file, "r2_x.py"));
    ck_assert_uint_eq(w.result.steps[1].up.measures.nstatements, 1);
    ck_assert_uint_eq(w.result.check.nfindings, 1);
    ck_assert_str_eq(w.result.reupgrade, "equal");
    world_close(&w);
}
END_TEST

int main(void)
{
    const char *why = alembic_suite_begin();
    Suite *s = suite_create("rehearse_postgres");
    SUITE_ADD_LOOP(s, hazards_are_found_and_their_safe_twins_are_not, ARRAY_LEN(hazards));
    SUITE_ADD(s, index_that_could_not_be_built_is_left_invalid);
    SUITE_ADD(s, integer_key_that_is_nearly_used_up_is_found_by_its_rows_and_by_its_sequence);
    SUITE_ADD(s, statements_are_told_with_rows_and_the_locks_that_they_took);
    SUITE_ADD(s, locks_of_concurrent_builds_are_seen_while_they_run);
    SUITE_ADD(s, canaries_wait_as_long_as_a_client_of_its_own);
    SUITE_ADD(s, budgets_of_time_and_room_are_findings);
    SUITE_ADD(s, canaries_that_wait_never_make_the_migration_a_deadlock_s_victim);
    if (why)
        printf("# not run: Alembic: %s\n", why);
    else
        SUITE_ADD_LOOP(s, alembic_tells_its_statements_with_their_lines, 2);
    return fixture_run(s);
}
