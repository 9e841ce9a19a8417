/* belay backup, verify, restore, bundles and diff, as a user runs them. */
#include <string.h>
#include <sys/stat.h>

#include "harness/base/file.h"
#include "tests/belay_run.h"
#include "tests/bundle_fixture.h"

static char *place;

/* A dbmate project with one revision, applied to app.db. */
static void setup(void)
{
    _cleanup_err_ struct err err = {0};
    place = dir_new();
    _cleanup_free_ char *dir = path_join(place, "migrations"),
                        *file = path_join(dir, "20240101_posts.sql");
    static const char sql[] = "-- migrate:up\ncreate table posts (id integer primary key);\n"
                              "-- migrate:down\ndrop table posts;\n";
    ASSERT_OK(dir_make(dir, 0755, &err), &err);
    ASSERT_OK(file_replace(file, sql, strlen(sql), 0644, &err), &err);
    _cleanup_free_ char *url = xasprintf("sqlite:///%s/app.db", place);
    _cleanup_db_ struct db *db = NULL;
    int ran;
    ASSERT_OK(db_open(&engine_sqlite, url, DB_OPEN_CREATE, &db, &err), &err);
    ASSERT_OK(
        db_run(db,
               "create table posts (id integer primary key); insert into posts values (1), (2);"
               "create table schema_migrations (version varchar(128) primary key);"
               "insert into schema_migrations values ('20240101')",
               DB_RUN_WHOLE, &ran, &err),
        &err);
}

static void teardown(void)
{
    dir_drop(place);
}

#define ASSERT_RUN(run, code)                                                                      \
    ck_assert_msg((run).r.status == (code), "exit %d\n%s%s", (run).r.status, (run).out,            \
                  (run).errors)

static void has(const char *text, const char *part)
{
    ck_assert_msg(strstr(text, part) != NULL, "no \"%s\" in\n%s", part, text);
}

START_TEST(a_backup_is_named_after_database_revision_and_time)
{
    setup();
    _cleanup_run_ struct run r = belay_run(place, NULL, "backup --url sqlite:///app.db");
    ASSERT_RUN(r, 0);
    ck_assert_msg(strncmp(r.out, "belay-bundles/app-20240101-2", 28) == 0, "%s", r.out);
    has(r.errors, "2 tables, 3 rows");
    _cleanup_run_ struct run list = belay_run(place, NULL, "bundles");
    ASSERT_RUN(list, 0);
    has(list.out, "at 20240101");
    char *end = strchr(r.r.output.p, '\n');
    *end = '\0';
    _cleanup_free_ char *args = xasprintf("verify --format json %s", r.out);
    _cleanup_run_ struct run verify = belay_run(place, NULL, args);
    ASSERT_RUN(verify, 0);
    has(verify.out, "\"good\": true");
    teardown();
}
END_TEST

START_TEST(a_backup_needs_no_project)
{
    setup();
    _cleanup_run_ struct run r = belay_run(place, NULL, "backup app.db -o x.belay --level 1 -j 1");
    ASSERT_RUN(r, 0);
    ck_assert_str_eq(r.out, "x.belay\n");
    _cleanup_run_ struct run again = belay_run(place, NULL, "backup app.db -o x.belay");
    ASSERT_RUN(again, 3);
    has(again.errors, "x.belay exists");
    _cleanup_run_ struct run elsewhere =
        belay_run("/", NULL, "backup /no/such/file.db -o /tmp/never.belay");
    ck_assert_int_ge(elsewhere.r.status, 2);
    teardown();
}
END_TEST

START_TEST(a_restore_says_where_the_old_content_is)
{
    setup();
    _cleanup_run_ struct run backup = belay_run(place, NULL, "backup app.db -o x.belay");
    ASSERT_RUN(backup, 0);
    _cleanup_run_ struct run over = belay_run(place, NULL, "restore x.belay --to sqlite:///app.db");
    ASSERT_RUN(over, 0);
    has(over.out, "what was there is kept: app.db_before_restore_2");
    has(over.out, "remove it with: rm '");
    _cleanup_run_ struct run fresh =
        belay_run(place, NULL, "restore x.belay --to sqlite:///fresh.db");
    ASSERT_RUN(fresh, 0);
    ck_assert_ptr_null(strstr(fresh.out, "kept"));
    _cleanup_run_ struct run diff = belay_run(place, NULL, "diff x.belay fresh.db");
    ASSERT_RUN(diff, 0);
    _cleanup_run_ struct run nowhere = belay_run(place, NULL, "restore x.belay");
    ASSERT_RUN(nowhere, 2);
    has(nowhere.errors, "--to URL");
    teardown();
}
END_TEST

START_TEST(a_damaged_bundle_ends_verify_with_1_and_restore_with_2)
{
    setup();
    _cleanup_err_ struct err err = {0};
    _cleanup_run_ struct run backup = belay_run(place, NULL, "backup app.db -o x.belay");
    ASSERT_RUN(backup, 0);
    _cleanup_free_ char *path = path_join(place, "x.belay"), *data = NULL;
    size_t len;
    ASSERT_OK(file_read(path, &data, &len, &err), &err);
    data[700] ^= 4;
    ASSERT_OK(file_replace(path, data, len, 0600, &err), &err);
    _cleanup_run_ struct run verify = belay_run(place, NULL, "verify x.belay");
    ASSERT_RUN(verify, 1);
    has(verify.out, "damaged  x.belay");
    _cleanup_run_ struct run restore = belay_run(place, NULL, "restore x.belay --to app.db");
    ASSERT_RUN(restore, 2);
    _cleanup_run_ struct run missing = belay_run(place, NULL, "verify no.belay");
    ASSERT_RUN(missing, 3);
    teardown();
}
END_TEST

START_TEST(an_encrypted_bundle_needs_its_key)
{
    setup();
    _cleanup_free_ char *key = path_join(place, "key");
    key_write(key, 'k');
    _cleanup_run_ struct run backup =
        belay_run(place, NULL, "backup app.db -o x.belay --encrypt-to key");
    ASSERT_RUN(backup, 0);
    _cleanup_run_ struct run without = belay_run(place, NULL, "verify x.belay");
    ASSERT_RUN(without, 2);
    has(without.errors, "--key");
    _cleanup_run_ struct run with = belay_run(place, NULL, "verify x.belay --key key");
    ASSERT_RUN(with, 0);
    _cleanup_run_ struct run diff = belay_run(place, NULL, "diff x.belay app.db --key key");
    ASSERT_RUN(diff, 0);
    chmod(key, 0644);
    _cleanup_run_ struct run open = belay_run(place, NULL, "verify x.belay --key key");
    ASSERT_RUN(open, 2);
    has(open.errors, "chmod 600");
    teardown();
}
END_TEST

START_TEST(a_backup_that_fails_leaves_no_folder)
{
    setup();
    _cleanup_run_ struct run plain = belay_run(place, NULL, "backup app.db --encrypt-to no-key");
    ASSERT_RUN(plain, 2);
    _cleanup_run_ struct run named =
        belay_run(place, NULL, "backup app.db --encrypt-to no-key -o deep/er/");
    ASSERT_RUN(named, 2);
    _cleanup_free_ char *usual = path_join(place, "belay-bundles"),
                        *deep = path_join(place, "deep");
    ck_assert(!dir_exists(usual));
    ck_assert(!dir_exists(deep));
    ck_assert_int_eq(mkdir(deep, 0700), 0); /* one that was there stays */
    _cleanup_run_ struct run kept =
        belay_run(place, NULL, "backup app.db --encrypt-to no-key -o deep");
    ASSERT_RUN(kept, 2);
    ck_assert(dir_exists(deep));
    teardown();
}
END_TEST

START_TEST(a_file_that_is_no_bundle_is_called_none)
{
    setup();
    _cleanup_run_ struct run verify = belay_run(place, NULL, "verify app.db");
    ASSERT_RUN(verify, 1);
    ck_assert_str_eq(verify.out, "not a bundle  app.db\n");
    _cleanup_run_ struct run json = belay_run(place, NULL, "verify --format json app.db");
    ASSERT_RUN(json, 1);
    has(json.out, "\"app.db is not a bundle\"");
    teardown();
}
END_TEST

START_TEST(a_folder_or_bundle_that_is_not_there_is_said_and_not_made)
{
    static const struct {
        const char *args;
        int code;
        const char *words;
    } table[] = {
        {"recover --bundles nope --url sqlite:///app.db", 2, "there is no journal of deploys"},
        {"status --bundles nope", 0, "no deploys in nope"},
        {"bundles nope", 3, "cannot read folder nope"},
        {"rehearse --from nope.belay", 2, "give the path of a bundle"},
    };
    setup();
    size_t before = dir_count(place);
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        _cleanup_run_ struct run r = belay_run(place, NULL, table[i].args);
        ASSERT_RUN(r, table[i].code);
        has(table[i].code ? r.errors : r.out, table[i].words);
    }
    ck_assert_uint_eq(dir_count(place), before);
    teardown();
}
END_TEST

START_TEST(old_bundles_go_when_it_is_asked_for)
{
    setup();
    _cleanup_run_ struct run a = belay_run(place, NULL, "backup app.db -o shelf/a.belay"),
                             b = belay_run(place, NULL, "backup app.db -o shelf/");
    ASSERT_RUN(b, 0);
    ASSERT_RUN(a, 3); /* the folder of a named file must exist */
    _cleanup_run_ struct run c = belay_run(place, NULL, "backup app.db -o shelf/c.belay");
    ASSERT_RUN(c, 0);
    _cleanup_run_ struct run which = belay_run(place, NULL, "bundles shelf --prune");
    ASSERT_RUN(which, 2);
    _cleanup_run_ struct run plan = belay_run(place, NULL, "bundles shelf --keep-last 1");
    ASSERT_RUN(plan, 0);
    has(plan.out, "would be removed by --prune");
    _cleanup_run_ struct run prune = belay_run(place, NULL, "bundles shelf --keep-last 1 --prune");
    ASSERT_RUN(prune, 0);
    has(prune.out, "(removed)");
    _cleanup_free_ char *dir = path_join(place, "shelf");
    ck_assert_uint_eq(dir_count(dir), 1);
    teardown();
}
END_TEST

int main(void)
{
    if (!getenv("BELAY_BIN"))
        return suite_skip("BELAY_BIN does not name the program");
    Suite *s = suite_create("backup_verbs");
    SUITE_ADD(s, a_backup_is_named_after_database_revision_and_time);
    SUITE_ADD(s, a_backup_needs_no_project);
    SUITE_ADD(s, a_restore_says_where_the_old_content_is);
    SUITE_ADD(s, a_damaged_bundle_ends_verify_with_1_and_restore_with_2);
    SUITE_ADD(s, an_encrypted_bundle_needs_its_key);
    SUITE_ADD(s, a_backup_that_fails_leaves_no_folder);
    SUITE_ADD(s, a_file_that_is_no_bundle_is_called_none);
    SUITE_ADD(s, a_folder_or_bundle_that_is_not_there_is_said_and_not_made);
    SUITE_ADD(s, old_bundles_go_when_it_is_asked_for);
    return suite_run(s);
}
