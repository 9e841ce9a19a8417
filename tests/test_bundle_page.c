/* docs/bundle-format.md restores a bundle of PostgreSQL without belay: its commands, as they stand. */
#include <string.h>

#include "backup/backup.h"
#include "harness/base/file.h"
#include "harness/engine/url.h"
#include "tests/bundle_fixture.h"

static void sql(struct db *db, const char *text)
{
    _cleanup_err_ struct err err = {0};
    ck_assert_msg(db_run(db, text, DB_RUN_WHOLE, NULL, &err) == 0, "%s: %s", text, err.message);
}

static const char tables[] =
    "create table posts (id serial primary key, title text, half numeric generated always as "
    "(id / 2.0) stored);"
    "insert into posts (title) select 'it''s \\ ' || i || e'\\t' from generate_series(1, 5000) i;"
    "insert into posts (title) values (null), ('');"
    "create table \"a 'b'\\\n\xc3\xa9\" (\"x'y\\\" int, z bytea);"
    "insert into \"a 'b'\\\n\xc3\xa9\" values (1, '\\x00ff');"
    "create table child (post int references posts, at timestamptz default now());"
    "insert into child select id from posts;"
    "create table measured (at date, v float8) partition by range (at);"
    "create table measured_2026 partition of measured for values from ('2026-01-01') to "
    "('2027-01-01');"
    "insert into measured select date '2026-01-01' + i, i / 3.0 from generate_series(0, 300) i;"
    "create table nothing (); insert into nothing default values;"
    "create materialized view late as select count(*) from child;"
    "select lo_from_bytea(0, '\\x0102030405');";

static const char sums[] =
    "select (select count(*) || md5(string_agg(p::text, ',' order by id)) from posts p),"
    " (select md5(string_agg(a::text, ',')) from \"a 'b'\\\n\xc3\xa9\" a),"
    " (select count(*) || min(at)::text from child), (select sum(v) from measured),"
    " (select count(*) from nothing), (select count from late), nextval('posts_id_seq'),"
    " (select md5(string_agg(lo_get(oid), '')) from pg_largeobject_metadata),"
    " (select count(*) from pg_constraint where conrelid = 'child'::regclass)";

static char *row_of(struct db *db)
{
    _cleanup_err_ struct err err = {0};
    _cleanup_rows_ struct rows *rows = NULL;
    struct str all = {0};
    ASSERT_OK(db_query(db, sums, NULL, 0, &rows, &err), &err);
    for (int i = 0; i < rows_columns(rows); i++)
        str_addf(&all, "%s\n", rows_get(rows, 0, i) ? rows_get(rows, 0, i) : "NULL");
    return str_take(&all);
}

START_TEST(the_commands_of_the_page_restore_without_belay)
{
    struct fixture f;
    char *dir = dir_new();
    _cleanup_err_ struct err err = {0};
    _cleanup_conninfo_ struct conninfo c = {0};
    _cleanup_free_ char *bundle = path_join(dir, "app.belay");
    struct backup_summary s = {0};
    fixture_open(&f, &engine_postgres);
    sql(f.db, tables);
    ASSERT_OK(conninfo_parse(scratch_url(f.scratch), &c, &err), &err);
    const struct backup_options o = {.url = scratch_url(f.scratch), .path = bundle};
    ASSERT_OK(backup_create(&o, &s, &err), &err);
    backup_summary_release(&s);

    _cleanup_free_ char *commands = page_commands("\n## PostgreSQL without belay"),
                        *host = xasprintf("PGHOST=%s", conninfo_get(&c, "host")),
                        *user = xasprintf("PGUSER=%s", conninfo_get(&c, "user")),
                        *port =
                            xasprintf("PGPORT=%s",
                                      conninfo_get(&c, "port") ? conninfo_get(&c, "port") : "5432");
    page_run(dir, (const char *[]){host, user, port, NULL}, commands);

    conninfo_set(&c, "dbname", "restored");
    _cleanup_free_ char *url = conninfo_url(&c);
    struct db *restored;
    ASSERT_OK(db_open(&engine_postgres, url, DB_OPEN_DEFAULT, &restored, &err), &err);
    _cleanup_free_ char *before = row_of(f.db), *after = row_of(restored);
    ck_assert_str_eq(before, after);
    db_close(restored);
    sql(f.db, "drop database restored");
    dir_drop(dir);
    fixture_close(&f);
}
END_TEST

int main(void)
{
    if (!getenv("BELAY_SOURCE_DIR"))
        return suite_skip("BELAY_SOURCE_DIR does not name the source");
    Suite *s = suite_create("bundle_page");
    SUITE_ADD(s, the_commands_of_the_page_restore_without_belay);
    return fixture_run(s);
}
