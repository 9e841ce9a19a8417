/* Rehearsals on SQLite: the walk up, down and up again on a copy, and the command around it. */
#include <sqlite3.h>
#include <string.h>

#include "runner/rehearsal.h"
#include "tests/fixture.h"
#include "tests/migration_folder.h"
#include "tests/rehearse_world.h"

static const struct file users[] = {
    {"migrations/1_users.up.sql",
     "create table users (id integer primary key, email text, bio text);"},
    {"migrations/1_users.down.sql", "drop table users;"},
    {NULL, NULL},
};

static const char rows[] = "insert into users with recursive n(i) as (select 1 union all select i "
                           "+ 1 from n where i < 100) select i, 'u' || i, 'b' from n;";

START_TEST(rehearsal_of_reversible_revisions_is_clean)
{
    struct world w;
    world_open(&w, &engine_sqlite, users, 1, rows);
    world_add(&w, (const struct file[]){
                      {"migrations/2_index.up.sql", "create index users_email on users (email);"},
                      {"migrations/2_index.down.sql", "drop index users_email;"},
                      {"migrations/3_posts.up.sql", "create table posts (id integer primary key);"},
                      {"migrations/3_posts.down.sql", "drop table posts;"},
                      {NULL, NULL},
                  });
    world_rehearse(&w);
    ck_assert_uint_eq(w.result.check.nfindings, 0);
    ck_assert_uint_eq(w.result.check.nrevisions, 2);
    ck_assert_str_eq(w.result.from, "1");
    ck_assert_str_eq(w.result.to, "3");
    ck_assert_str_eq(w.result.descent, "equal");
    ck_assert_str_eq(w.result.reupgrade, "equal");
    ck_assert(w.result.steps[1].up.worked && w.result.steps[1].down.worked &&
              w.result.steps[1].again.worked);
    ck_assert_str_eq(w.result.steps[1].changes.v[0], "+ table posts (with 1 column, 1 constraint)");
    world_close(&w);
}
END_TEST

START_TEST(rows_that_do_not_come_back_are_a_lossy_downgrade)
{
    struct world w;
    world_open(&w, &engine_sqlite, users, 1, rows);
    world_add(&w, (const struct file[]){
                      {"migrations/2_less.up.sql", "delete from users where id % 10 = 0;"},
                      {"migrations/2_less.down.sql", "select 1;"},
                      {NULL, NULL},
                  });
    world_rehearse(&w);
    const struct finding *f = world_finding(&w, "lossy-downgrade", "2");
    ck_assert_int_eq(f->severity, SEVERITY_ERROR);
    ck_assert_str_eq(f->changes[0].text, "table users: 10 of 100 rows lost");
    ck_assert_str_eq(w.result.descent, "differs");
    world_close(&w);
}
END_TEST

START_TEST(dropped_column_is_lost_also_when_later_rows_are_lost)
{
    struct world w;
    world_open(&w, &engine_sqlite, users, 1, rows);
    world_add(&w, (const struct file[]){
                      {"migrations/2_bio.up.sql", "alter table users drop column bio;"},
                      {"migrations/2_bio.down.sql", "alter table users add column bio text;"},
                      {"migrations/3_less.up.sql", "delete from users where id % 10 = 0;"},
                      {"migrations/3_less.down.sql", "select 1;"},
                      {NULL, NULL},
                  });
    world_rehearse(&w);
    const struct finding *f = world_finding(&w, "lossy-downgrade", "2");
    ck_assert_int_eq(f->severity, SEVERITY_WARNING);
    ck_assert_ptr_nonnull(strstr(f->changes[0].text, "column users.bio: dropped by the upgrade"));
    ck_assert_int_eq(world_finding(&w, "lossy-downgrade", "3")->severity, SEVERITY_ERROR);
    world_close(&w);
}
END_TEST

START_TEST(failing_upgrade_ends_the_way_up_and_the_way_down_is_still_walked)
{
    struct world w;
    world_open(&w, &engine_sqlite, users, 1, rows);
    world_add(&w,
              (const struct file[]){
                  {"migrations/2_index.up.sql", "create index users_email on users (email);"},
                  {"migrations/2_index.down.sql", "drop index users_email;"},
                  {"migrations/3_unique.up.sql", "create unique index users_bio on users (bio);"},
                  {"migrations/3_unique.down.sql", "drop index users_bio;"},
                  {"migrations/4_more.up.sql", "create table more (id int);"},
                  {"migrations/4_more.down.sql", "drop table more;"},
                  {NULL, NULL},
              });
    world_rehearse(&w);
    ck_assert_ptr_nonnull(
        strstr(world_finding(&w, "upgrade-fails", "3")->message, "on the copy of the data"));
    ck_assert_int_eq(w.result.check.revisions[2].status, REVISION_NOT_RUN);
    ck_assert_str_eq(w.result.descent, "equal");
    ck_assert(w.result.steps[0].down.worked);
    world_close(&w);
}
END_TEST

START_TEST(nothing_pending_is_a_clean_rehearsal)
{
    struct world w;
    world_open(&w, &engine_sqlite, users, 1, rows);
    world_rehearse(&w);
    ck_assert_uint_eq(w.result.check.nrevisions, 0);
    ck_assert_uint_eq(w.result.check.nfindings, 0);
    world_close(&w);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("rehearse");
    SUITE_ADD(s, rehearsal_of_reversible_revisions_is_clean);
    SUITE_ADD(s, rows_that_do_not_come_back_are_a_lossy_downgrade);
    SUITE_ADD(s, dropped_column_is_lost_also_when_later_rows_are_lost);
    SUITE_ADD(s, failing_upgrade_ends_the_way_up_and_the_way_down_is_still_walked);
    SUITE_ADD(s, nothing_pending_is_a_clean_rehearsal);
    return fixture_run(s);
}
