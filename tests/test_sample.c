/* Copies with a part of the rows. */
#include <string.h>

#include "backup/copy.h"
#include "harness/base/file.h"
#include "harness/data/digest.h"
#include "tests/bundle_fixture.h"

/* Rows of both engines: n(i) counts from 1 to 4000. */
#define COUNT "with recursive n(i) as (select 1 union all select i + 1 from n where i < 4000) "

static const char shop[] =
    "create table kinds (id integer primary key, name text);"
    "create table users (id integer primary key, email varchar(60) unique, kind integer not null"
    "  references kinds (id));"
    "create table orders (id integer primary key, who integer references users (id),"
    "  shop integer, no integer, unique (shop, no));"
    "create table items (id integer primary key, shop integer, no integer,"
    "  foreign key (shop, no) references orders (shop, no));"
    "create table notes (id integer primary key, item integer not null references items (id));"
    "create table versions (id integer primary key);"
    "insert into kinds values (1, 'a'), (2, 'b');"
    "insert into users " COUNT "select i, 'user' || i || '@example.org', 1 + i % 2 from n;"
    "insert into orders " COUNT "select i, case when i % 10 = 0 then null else i end, i % 7, i"
    " from n;"
    "insert into items " COUNT "select i, case when i % 20 = 0 then null else i % 7 end, i from n;"
    "insert into notes " COUNT "select i, i from n;"
    "insert into versions " COUNT "select i from n;";

/* Whether every foreign key of the shop's holds, asked apart from them. */
static const char orphans[] =
    "select (select count(*) from users where kind not in (select id from kinds))"
    " + (select count(*) from orders where who not in (select id from users))"
    " + (select count(*) from items i where shop is not null and not exists"
    "     (select 1 from orders o where o.shop = i.shop and o.no = i.no))"
    " + (select count(*) from notes where item not in (select id from items))";

static const char *const whole[] = {"versions", NULL};

struct place {
    struct fixture f;
    const struct engine *e;
    char *dir, *bundle;
    struct copy_options options;
    struct copy_result result;
};

/* Each engine, alive and from a bundle. */
static void place_open(struct place *p, int i, const char *tables)
{
    _cleanup_err_ struct err err = {0};
    *p = (struct place){.e = i / 2 ? &engine_postgres : &engine_sqlite};
    fixture_open(&p->f, p->e);
    ASSERT_OK(db_run(p->f.db, tables, DB_RUN_STATEMENTS, NULL, &err), &err);
    p->dir = dir_new();
    p->bundle = path_join(p->dir, "app.belay");
    p->options = (struct copy_options){
        .from = scratch_url(p->f.scratch), .jobs = 2, .sample = 20, .whole = whole};
    if (i % 2 == 0)
        return;
    _cleanup_(backup_summary_release) struct backup_summary s = {0};
    ASSERT_OK(
        backup_create(&(struct backup_options){.url = scratch_url(p->f.scratch), .path = p->bundle},
                      &s, &err),
        &err);
    p->options.from = p->bundle;
}

static void place_close(struct place *p)
{
    copy_result_release(&p->result);
    dir_drop(p->dir);
    free(p->bundle);
    fixture_close(&p->f);
}

static struct scratch *copy(struct place *p)
{
    _cleanup_err_ struct err err = {0};
    struct scratch *s = NULL;
    copy_result_release(&p->result);
    int rc = copy_make(&p->options, fixture_pool(p->e), &s, &p->result, &err);
    ck_assert_msg(rc == 0, "%s\n%s", err.message, err.detail ? err.detail : "");
    return s;
}

static long number(const struct place *p, const struct scratch *s, const char *text)
{
    _cleanup_free_ char *value = fixture_value(p->e, scratch_url(s), text);
    return strtol(value, NULL, 10);
}

static void read_rows(const struct place *p, const struct scratch *s, struct digest_set *ret)
{
    _cleanup_err_ struct err err = {0};
    _cleanup_db_ struct db *db = NULL;
    ASSERT_OK(db_open(p->e, scratch_url(s), DB_OPEN_DEFAULT, &db, &err), &err);
    ASSERT_OK(digest_read(db, NULL, NULL, ret, &err), &err);
}

static bool is_told(const struct place *p, const char *table, long kept, long of)
{
    _cleanup_free_ char *line = xasprintf(
        "%s%s: %ld of %ld rows", p->e == &engine_postgres ? "public." : "", table, kept, of);
    for (size_t i = 0; i < p->result.sampled.n; i++)
        if (strcmp(p->result.sampled.v[i], line) == 0)
            return true;
    return false;
}

START_TEST(a_sample_keeps_about_its_part_and_every_foreign_key)
{
    struct place p;
    place_open(&p, _i, shop);
    struct scratch *s = copy(&p);
    long users = number(&p, s, "select count(*) from users");
    ck_assert_int_gt(users, 600);
    ck_assert_int_lt(users, 1000);
    ck_assert_int_eq(number(&p, s, orphans), 0);
    ck_assert_int_eq(number(&p, s, "select count(*) from kinds"), 2);
    ck_assert_int_eq(number(&p, s, "select count(*) from versions"), 4000);
    /* whose parent is there, or who has none: no more and no fewer */
    long orders = number(&p, s, "select count(*) from orders");
    ck_assert_int_eq(number(&p, s, "select count(*) from orders where who is null"), 400);
    ck_assert_int_eq(orders, 400 + number(&p, s, "select count(*) from users where id % 10 <> 0"));
    ck_assert_int_eq(number(&p, s, "select count(*) from items where shop is null"), 200);
    ck_assert_int_eq(number(&p, s, "select count(*) from notes"),
                     number(&p, s, "select count(*) from items"));
    ck_assert(is_told(&p, "users", users, 4000));
    ck_assert(is_told(&p, "orders", orders, 4000));
    ck_assert_uint_eq(p.result.sampled.n, 4);
    ck_assert_uint_eq(p.result.rows, 20002);
    ck_assert_uint_eq(p.result.copy_rows, (uint64_t)number(&p, s,
                                                           "select (select count(*) from kinds)"
                                                           " + (select count(*) from users)"
                                                           " + (select count(*) from orders)"
                                                           " + (select count(*) from items)"
                                                           " + (select count(*) from notes)"
                                                           " + (select count(*) from versions)"));
    scratch_free(s);
    place_close(&p);
}
END_TEST

START_TEST(the_same_seed_keeps_the_same_rows)
{
    struct place p;
    struct digest_set rows[3] = {0};
    place_open(&p, _i, shop);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        p.options.seed = i / 2;
        struct scratch *s = copy(&p);
        read_rows(&p, s, &rows[i]);
        scratch_free(s);
    }
    bool other = false;
    for (size_t i = 0; i < rows[0].n; i++) {
        const struct digest *d = &rows[0].v[i];
        const struct digest *same = digest_find(&rows[1], d->name),
                            *seed = digest_find(&rows[2], d->name);
        ck_assert_msg(d->sum.rows == same->sum.rows && d->sum.lo == same->sum.lo, "%s", d->name);
        other = other || d->sum.lo != seed->sum.lo;
    }
    ck_assert(other);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        digest_set_release(&rows[i]);
    place_close(&p);
}
END_TEST

START_TEST(masks_hold_in_a_sample_too)
{
    struct place p;
    place_open(&p, _i, shop);
    char column[] = "users.email";
    struct mask_rule rule = {column, MASK_HASH, 1};
    const struct mask_rules rules = {.v = &rule, .n = 1, .file = "belay.yaml"};
    struct scratch *s = copy(&p);
    long users = number(&p, s, "select sum(id) from users");
    scratch_free(s);
    p.options.mask = &rules;
    s = copy(&p);
    ck_assert_int_eq(number(&p, s, "select sum(id) from users"), users);
    ck_assert_int_eq(number(&p, s, "select count(*) from users where email like '%@%'"), 0);
    ck_assert_int_eq(number(&p, s, orphans), 0);
    ck_assert_uint_eq(p.result.masked.n, 1);
    scratch_free(s);
    place_close(&p);
}
END_TEST

START_TEST(all_of_the_rows_are_no_sample)
{
    struct place p;
    place_open(&p, _i, shop);
    p.options.sample = 100;
    struct scratch *s = copy(&p);
    ck_assert_uint_eq(p.result.copy_rows, 20002);
    ck_assert_uint_eq(p.result.sampled.n, 0);
    scratch_free(s);
    place_close(&p);
}
END_TEST

/* users and teams refer to each other, a page to its parent, and logs to a user; the most keys refer
 * to logs, which are in no circle. */
static const char circle[] =
    "create table teams (id integer primary key, lead integer);"
    "create table users (id integer primary key, team integer references teams (id));"
    "create table pages (id integer primary key, parent integer references pages (id));"
    "create table logs (id integer primary key, who integer not null references users (id));"
    "create table reads (log integer references logs (id));"
    "create table marks (log integer references logs (id));"
    "create table hides (log integer references logs (id));"
    "insert into teams " COUNT "select i, i from n where i <= 2000;"
    "insert into users " COUNT "select i, case when i <= 2000 then i end from n;"
    "insert into pages " COUNT "select i, case when i % 4 <> 1 then i - 1 end from n;"
    "insert into logs " COUNT "select i, i from n;"
    "insert into logs " COUNT "select i + 4000, i from n;";

static const char circle_orphans[] =
    "select (select count(*) from users where team not in (select id from teams))"
    " + (select count(*) from teams where lead not in (select id from users))"
    " + (select count(*) from pages where parent not in (select id from pages))"
    " + (select count(*) from logs where who not in (select id from users))";

START_TEST(tables_in_a_circle_are_sampled)
{
    struct place p;
    _cleanup_free_ char *tables = NULL;
    /* SQLite declares a key with its table only */
    if (_i / 2) {
        tables =
            xasprintf("%s alter table teams add foreign key (lead) references users (id)", circle);
    } else {
        _cleanup_free_ char *rest = xstrdup(strchr(circle, ';') + 1);
        tables = xasprintf("create table teams (id integer primary key, lead integer references"
                           " users (id));%s",
                           rest);
    }
    place_open(&p, _i, tables);
    struct scratch *s = copy(&p);
    ck_assert_int_eq(number(&p, s, circle_orphans), 0);
    long users = number(&p, s, "select count(*) from users");
    ck_assert_int_gt(users, 600);
    ck_assert_int_lt(users, 1000);
    ck_assert_int_eq(number(&p, s, "select count(*) from users where team is not null"),
                     number(&p, s, "select count(*) from teams"));
    ck_assert_int_eq(number(&p, s, "select count(*) from logs"), 2 * users);
    ck_assert_int_gt(number(&p, s, "select count(*) from pages where parent is null"), 100);
    scratch_free(s);
    place_close(&p);
}
END_TEST

START_TEST(partitions_and_types_of_extensions_are_sampled)
{
    struct place p;
    place_open(&p, 2 + _i,
               "create schema ext; create extension citext schema ext; create schema \"A b\";"
               "create table \"A b\".\"T.x\" (\"k K\" ext.citext primary key);"
               "create table events (k ext.citext references \"A b\".\"T.x\", at int)"
               " partition by list (at);"
               "create table events_1 partition of events for values in (0);"
               "create table events_2 partition of events for values in (1) partition by list (at);"
               "create table events_3 partition of events_2 for values in (1);"
               "create table parent (id int); create table child () inherits (parent);"
               "insert into \"A b\".\"T.x\" select 'k' || i from generate_series(1, 4000) i;"
               "insert into events select 'K' || i, i % 2 from generate_series(1, 4000) i;"
               "insert into child select generate_series(1, 4000)");
    struct scratch *s = copy(&p);
    long kept = number(&p, s, "select count(*) from \"A b\".\"T.x\"");
    ck_assert_int_gt(kept, 600);
    ck_assert_int_lt(kept, 1000);
    ck_assert_int_eq(number(&p, s, "select count(*) from events"), kept);
    ck_assert(is_told(&p, "events", kept, 4000));
    ck_assert_int_gt(number(&p, s, "select count(*) from events_3"), 200);
    ck_assert_int_gt(number(&p, s, "select count(*) from child"), 600);
    ck_assert_int_lt(number(&p, s, "select count(*) from child"), 1000);
    /* what was removed takes no room */
    ck_assert_int_lt(number(&p, s, "select pg_relation_size('events_3')"),
                     number(&p, p.f.scratch, "select pg_relation_size('events_3')") / 2);
    scratch_free(s);
    place_close(&p);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("sample");
    SUITE_ADD_LOOP(s, a_sample_keeps_about_its_part_and_every_foreign_key, 4);
    SUITE_ADD_LOOP(s, the_same_seed_keeps_the_same_rows, 4);
    SUITE_ADD_LOOP(s, masks_hold_in_a_sample_too, 4);
    SUITE_ADD_LOOP(s, all_of_the_rows_are_no_sample, 4);
    SUITE_ADD_LOOP(s, tables_in_a_circle_are_sampled, 4);
    SUITE_ADD_LOOP(s, partitions_and_types_of_extensions_are_sampled, 2);
    return fixture_run(s);
}
