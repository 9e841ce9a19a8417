/* SQLite databases of every kind: into a bundle and back. */
#include <sqlite3.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "backup/backup.h"
#include "backup/sqlite_copy.h"
#include "harness/base/file.h"
#include "tests/bundle_fixture.h"

/* A folder with a database, its bundle, and what was restored from it. */
struct place {
    char *dir, *database, *bundle, *restored;
};

static void place_open(struct place *p)
{
    p->dir = dir_new();
    p->database = path_join(p->dir, "app.db");
    p->bundle = path_join(p->dir, "app.belay");
    p->restored = path_join(p->dir, "restored.db");
}

static void place_close(struct place *p)
{
    free(p->database);
    free(p->bundle);
    free(p->restored);
    dir_drop(p->dir);
}

static void sql(const char *path, const char *text)
{
    _cleanup_err_ struct err err = {0};
    _cleanup_db_ struct db *db = NULL;
    int ran;
    ASSERT_OK(db_open(&engine_sqlite, path, DB_OPEN_CREATE, &db, &err), &err);
    ASSERT_OK(db_run(db, text, DB_RUN_WHOLE, &ran, &err), &err);
}

static void backup(const struct place *p)
{
    _cleanup_err_ struct err err = {0};
    struct backup_summary s = {0};
    ASSERT_OK(
        backup_create(&(struct backup_options){.url = p->database, .path = p->bundle}, &s, &err),
        &err);
    backup_summary_release(&s);
}

/* The number of problems. */
static size_t verify(const struct place *p)
{
    _cleanup_err_ struct err err = {0};
    struct verify_result r = {0};
    ASSERT_OK(backup_verify(&(struct verify_options){.path = p->bundle}, &r, &err), &err);
    size_t n = r.problems.n;
    for (size_t i = 0; i < n; i++)
        printf("# %s\n", r.problems.v[i]);
    verify_result_release(&r);
    return n;
}

static char *query(const char *path, const char *text)
{
    _cleanup_err_ struct err err = {0};
    _cleanup_db_ struct db *db = NULL;
    char *value = NULL;
    ASSERT_OK(db_open(&engine_sqlite, path, DB_OPEN_DEFAULT, &db, &err), &err);
    ASSERT_OK(db_query_text(db, text, NULL, 0, &value, &err), &err);
    return value;
}

static int restore(const struct place *p, const char *to, struct restore_result *ret,
                   struct err *err)
{
    return backup_restore(&(struct restore_options){.path = p->bundle, .url = to}, ret, err);
}

START_TEST(a_database_is_restored_to_a_new_file)
{
    struct place p;
    place_open(&p);
    sql(p.database, "create table t (a integer primary key, b text);"
                    "insert into t values (1, 'one'), (2, null)");
    backup(&p);
    ck_assert_uint_eq(verify(&p), 0);
    _cleanup_err_ struct err err = {0};
    _cleanup_(restore_result_release) struct restore_result r = {0};
    ASSERT_OK(restore(&p, p.restored, &r, &err), &err);
    ck_assert_ptr_null(r.kept);
    _cleanup_free_ char *b = query(p.restored, "select group_concat(a || coalesce(b, '-')) from t");
    ck_assert_str_eq(b, "1one,2-");
    place_close(&p);
}
END_TEST

START_TEST(a_restore_into_a_live_file_keeps_the_old_content_beside)
{
    struct place p;
    place_open(&p);
    sql(p.database, "create table t (a); insert into t values ('old')");
    backup(&p);
    sql(p.database, "update t set a = 'new'; create table more (x)");
    _cleanup_err_ struct err err = {0};
    _cleanup_(restore_result_release) struct restore_result r = {0};
    ASSERT_OK(restore(&p, p.database, &r, &err), &err);
    _cleanup_free_ char *now = query(p.database, "select a from t");
    _cleanup_free_ char *kept = query(r.kept, "select a from t");
    ck_assert_str_eq(now, "old");
    ck_assert_str_eq(kept, "new");
    ck_assert_uint_eq(dir_count(p.dir), 3);
    place_close(&p);
}
END_TEST

/* ---- without belay ---- */

START_TEST(the_commands_of_the_page_restore_without_belay)
{
    struct place p;
    place_open(&p);
    sql(p.database, "create table t (a, b); with recursive n(i) as (select 1 union all select i + 1"
                    " from n where i < 90000) insert into t select i, hex(randomblob(100)) from n");
    if (_i == 0) {
        backup(&p);
    } else {
        _cleanup_err_ struct err err = {0};
        _cleanup_free_ char *key = path_join(p.dir, "belay.key"),
                            *sealed = path_join(p.dir, "sealed.belay"),
                            *commands = page_commands("\n## Encryption");
        struct backup_summary s = {0};
        key_write(key, 'k');
        ASSERT_OK(backup_create(
                      &(struct backup_options){.url = p.database, .path = sealed, .key_file = key},
                      &s, &err),
                  &err);
        backup_summary_release(&s);
        page_run(p.dir, NULL, commands);
        ck_assert_uint_eq(verify(&p), 0);
    }
    _cleanup_free_ char *commands = page_commands("\n## SQLite without belay");
    page_run(p.dir, NULL, commands);
    static const char sum[] = "select count(*) || ' ' || total(a) || ' ' || max(b) from t";
    _cleanup_free_ char *before = query(p.database, sum), *after = query(p.restored, sum);
    ck_assert_str_eq(before, after);
    place_close(&p);
}
END_TEST

/* ---- the zoo ---- */

/* What is made, and how it can be told that it was restored. */
static const struct {
    const char *name, *make, *show;
} zoo[] = {
    {"nothing", "", "select count(*) from sqlite_schema"},
    {"an empty table", "create table t (a)", "select count(*) from t"},
    {"without rowid",
     "create table t (a text primary key, b) without rowid;"
     "insert into t values ('x', 1), ('y', x'00ff')",
     "select group_concat(a || hex(b)) from t"},
    {"strict", "create table t (a int, b any) strict; insert into t values (1, 2.5)",
     "select a || b from t"},
    {"generated columns",
     "create table t (a, b as (a + 1) stored, c as (a * 2));"
     "insert into t values (1), (2)",
     "select group_concat(b || c) from t"},
    {"autoincrement",
     "create table t (a integer primary key autoincrement);"
     "insert into t values (7); delete from t",
     "select seq from sqlite_sequence"},
    {"full text",
     "create virtual table f using fts5 (x);"
     "insert into f values ('one two'), ('two three')",
     "select count(*) from f where f match 'two'"},
    {"r-tree", "create virtual table r using rtree (i, a, b); insert into r values (1, 2, 3)",
     "select b from r"},
    {"views, triggers, indexes",
     "create table t (a); create view v as select a + 1 as b from t; create index i on t (abs(a));"
     "create trigger g after insert on t begin update t set a = -a; end; insert into t values (5)",
     "select b from v"},
    {"names",
     "create table \"a \"\"b\"\"\n\xc3\xa9\" (\"select\" text); "
     "insert into \"a \"\"b\"\"\n\xc3\xa9\" values ('\xf0\x9f\xa7\x97')",
     "select \"select\" from \"a \"\"b\"\"\n\xc3\xa9\""},
    {"pages of 512 bytes",
     "pragma page_size = 512; create table t (a);"
     "insert into t values (zeroblob(100000))",
     "select length(a) from t"},
    {"pages of 65536 bytes",
     "pragma page_size = 65536; create table t (a); insert into t values (1)", "select a from t"},
    {"UTF-16",
     "pragma encoding = 'UTF-16be'; create table t (a); insert into t values ('\xc3\xa9')",
     "select a from t"},
    {"a WAL", "pragma journal_mode = wal; create table t (a); insert into t values ('w')",
     "select a from t"},
    {"auto vacuum",
     "pragma auto_vacuum = full; create table t (a);"
     "insert into t values (zeroblob(50000)); delete from t; insert into t values (3)",
     "select a from t"},
    {"free pages",
     "create table t (a); insert into t values (zeroblob(900000)); delete from t;"
     "insert into t values (4)",
     "select a from t"},
    {"a large value", "create table t (a); insert into t values (randomblob(20000000))",
     "select length(a) from t"},
    {"broken foreign keys",
     "create table p (a primary key);"
     "create table t (a references p); insert into t values (9)",
     "select a from t"},
};

START_TEST(every_kind_of_database_comes_back)
{
    struct place p;
    place_open(&p);
    sql(p.database, zoo[_i].make);
    backup(&p);
    ck_assert_msg(verify(&p) == 0, "%s", zoo[_i].name);
    _cleanup_err_ struct err err = {0};
    _cleanup_(restore_result_release) struct restore_result fresh = {0}, over = {0};
    ASSERT_OK(restore(&p, p.restored, &fresh, &err), &err);
    _cleanup_free_ char *expected = query(p.database, zoo[_i].show),
                        *now = query(p.restored, zoo[_i].show),
                        *sound = query(p.restored, "pragma integrity_check");
    ck_assert_str_eq(now, expected);
    ck_assert_str_eq(sound, "ok");
    /* and over another database, of other pages */
    _cleanup_free_ char *other = path_join(p.dir, "other.db"), *again = NULL;
    sql(other, "pragma page_size = 1024; create table mine (a); insert into mine values ('m')");
    ASSERT_OK(restore(&p, other, &over, &err), &err);
    again = query(other, zoo[_i].show);
    ck_assert_str_eq(again, expected);
    _cleanup_free_ char *mine = query(over.kept, "select a from mine");
    ck_assert_str_eq(mine, "m");
    place_close(&p);
}
END_TEST

START_TEST(what_checks_say_is_recorded)
{
    struct place p;
    place_open(&p);
    sql(p.database, "create table p (a primary key); create table t (a references p);"
                    "insert into t values (9)");
    _cleanup_err_ struct err err = {0};
    _cleanup_(backup_summary_release) struct backup_summary s = {0};
    _cleanup_bundle_reader_ struct bundle_reader *r = NULL;
    ASSERT_OK(
        backup_create(&(struct backup_options){.url = p.database, .path = p.bundle}, &s, &err),
        &err);
    ck_assert_uint_eq(s.notes.n, 1);
    ASSERT_OK(bundle_open(p.bundle, NULL, &r, &err), &err);
    ck_assert_str_eq(bundle_manifest(r)->checks.v[0], "foreign_key_check: t 1 p 0");
    place_close(&p);
}
END_TEST

/* ---- what a crash left, and other programs ---- */

/* Another process that dies with the database in the middle of something, or stays until the pipe is
 * closed. */
static pid_t other_program(const char *path, const char *text, bool stay, int *ret_pipe)
{
    int ready[2], go[2];
    ck_assert(pipe(ready) == 0 && pipe(go) == 0);
    pid_t pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        sqlite3 *db;
        close(go[1]);
        char byte = 'x';
        bool ok = sqlite3_open(path, &db) == SQLITE_OK &&
                  sqlite3_exec(db, text, NULL, NULL, NULL) == SQLITE_OK;
        if (!ok)
            byte = 'f';
        if (write(ready[1], &byte, 1) != 1 || (stay && read(go[0], &byte, 1) < 0))
            _exit(1);
        _exit(0); /* closes nothing: as a crash would */
    }
    char byte = 0;
    close(ready[1]);
    close(go[0]);
    ck_assert(read(ready[0], &byte, 1) == 1);
    ck_assert_int_eq(byte, 'x');
    close(ready[0]);
    if (stay)
        *ret_pipe = go[1];
    else
        close(go[1]);
    return pid;
}

static void other_ends(pid_t pid)
{
    int status;
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
}

START_TEST(a_hot_journal_is_rolled_back_and_a_hot_wal_is_read)
{
    struct place p;
    place_open(&p);
    /* a cache of one page, so that uncommitted pages reach the file */
    static const char *const crashes[] = {
        "pragma cache_size = 1; begin; update t set a = 'uncommitted', b = zeroblob(50000);"
        "insert into t select a, b from t",
        "pragma journal_mode = wal; pragma wal_autocheckpoint = 0; update t set a = 'committed'",
    };
    sql(p.database, "create table t (a, b); insert into t values ('old', zeroblob(20000))");
    other_ends(other_program(p.database, crashes[_i], false, NULL));
    _cleanup_free_ char *left = xasprintf("%s%s", p.database, _i ? "-wal" : "-journal");
    ck_assert(file_exists(left));
    backup(&p);
    _cleanup_err_ struct err err = {0};
    _cleanup_(restore_result_release) struct restore_result r = {0};
    ASSERT_OK(restore(&p, p.restored, &r, &err), &err);
    _cleanup_free_ char *a = query(p.restored, "select group_concat(a) from t");
    ck_assert_str_eq(a, _i ? "committed" : "old");
    place_close(&p);
}
END_TEST

START_TEST(others_write_while_a_wal_database_is_copied)
{
    struct place p;
    place_open(&p);
    sql(p.database, "pragma journal_mode = wal; create table t (a); insert into t values (1)");
    int go;
    pid_t writer =
        other_program(p.database, "begin immediate; insert into t values (2)", true, &go);
    backup(&p); /* does not wait for it */
    close(go);
    other_ends(writer);
    ck_assert_uint_eq(verify(&p), 0);
    _cleanup_err_ struct err err = {0};
    _cleanup_(restore_result_release) struct restore_result r = {0};
    ASSERT_OK(restore(&p, p.restored, &r, &err), &err);
    _cleanup_free_ char *a = query(p.restored, "select group_concat(a) from t");
    ck_assert_str_eq(a, "1");
    place_close(&p);
}
END_TEST

START_TEST(a_writer_that_does_not_end_is_an_error_and_leaves_no_file)
{
    struct place p;
    place_open(&p);
    sql(p.database, "create table t (a)");
    int go;
    pid_t writer =
        other_program(p.database, "begin immediate; insert into t values (2)", true, &go);
    _cleanup_err_ struct err err = {0};
    struct backup_summary s = {0};
    ck_assert_int_lt(
        backup_create(
            &(struct backup_options){.url = p.database, .path = p.bundle, .lock_timeout_ms = 1}, &s,
            &err),
        0);
    ck_assert_int_eq(err.code, ERR_ENV);
    ck_assert_ptr_nonnull(err.hint);
    close(go);
    other_ends(writer);
    ck_assert(!file_exists(p.bundle));
    place_close(&p);
}
END_TEST

/* The target must be as it was, and nothing else be left. */
static void restore_is_refused(const struct place *p, const char *words)
{
    _cleanup_err_ struct err err = {0};
    _cleanup_(restore_result_release) struct restore_result r = {0};
    size_t files = dir_count(p->dir);
    ck_assert_int_lt(restore(p, p->restored, &r, &err), 0);
    ck_assert_msg(strstr(err.message, words), "%s", err.message);
    ck_assert_int_eq(err.code, ERR_ENV);
    ck_assert_ptr_nonnull(err.hint);
    ck_assert_uint_eq(dir_count(p->dir), files);
}

START_TEST(a_reader_that_holds_the_target_is_an_error)
{
    struct place p;
    place_open(&p);
    sql(p.database, "create table t (a); insert into t values ('bundled')");
    sql(p.restored, "create table t (a); insert into t values ('mine')");
    backup(&p);
    int go;
    pid_t reader = other_program(p.restored, "begin; select * from t", true, &go);
    restore_is_refused(&p, "locked");
    close(go);
    other_ends(reader);
    _cleanup_free_ char *a = query(p.restored, "select a from t");
    ck_assert_str_eq(a, "mine");
    place_close(&p);
}
END_TEST

START_TEST(a_wal_of_another_page_size_is_an_error)
{
    struct place p;
    place_open(&p);
    sql(p.database,
        "pragma page_size = 8192; create table t (a); insert into t values ('bundled')");
    sql(p.restored, "pragma journal_mode = wal; create table t (a); insert into t values ('mine')");
    backup(&p);
    restore_is_refused(&p, "has a WAL and pages of 4096 bytes, the bundle's have 8192");
    _cleanup_free_ char *a = query(p.restored, "select a from t");
    ck_assert_str_eq(a, "mine");
    place_close(&p);
}
END_TEST

START_TEST(readers_of_a_wal_target_see_the_restored_rows_next)
{
    struct place p;
    place_open(&p);
    sql(p.database, "create table t (a); insert into t values ('bundled')");
    sql(p.restored, "pragma journal_mode = wal; create table t (a); insert into t values ('mine')");
    backup(&p);
    _cleanup_sqlite_ sqlite3 *reader = NULL;
    ck_assert_int_eq(sqlite3_open(p.restored, &reader), SQLITE_OK);
    ck_assert_int_eq(sqlite3_exec(reader, "begin; select * from t", NULL, NULL, NULL), SQLITE_OK);
    _cleanup_err_ struct err err = {0};
    _cleanup_(restore_result_release) struct restore_result r = {0};
    ASSERT_OK(restore(&p, p.restored, &r, &err), &err);
    ck_assert_int_eq(sqlite3_exec(reader, "commit", NULL, NULL, NULL), SQLITE_OK);
    _cleanup_free_ char *a = query(p.restored, "select a from t");
    ck_assert_str_eq(a, "bundled");
    place_close(&p);
}
END_TEST

START_TEST(a_journal_without_its_database_is_an_error)
{
    struct place p;
    place_open(&p);
    sql(p.database, "create table t (a)");
    backup(&p);
    _cleanup_err_ struct err err = {0};
    _cleanup_free_ char *orphan = xasprintf("%s-wal", p.restored);
    ASSERT_OK(file_replace(orphan, "x", 1, 0600, &err), &err);
    restore_is_refused(&p, "is there, but not its database");
    ck_assert(!file_exists(p.restored));
    place_close(&p);
}
END_TEST

START_TEST(a_target_that_is_no_database_is_an_error_and_stays)
{
    struct place p;
    place_open(&p);
    _cleanup_err_ struct err err = {0};
    _cleanup_free_ char *text = NULL;
    sql(p.database, "create table t (a)");
    backup(&p);
    ASSERT_OK(
        file_replace(p.restored, "garbage, and more than one page of nothing", 42, 0600, &err),
        &err);
    restore_is_refused(&p, "not a database");
    ASSERT_OK(file_read(p.restored, &text, NULL, &err), &err);
    ck_assert(str_starts(text, "garbage"));
    place_close(&p);
}
END_TEST

/* Bytes of a page that no check of SQLite's looks at. */
START_TEST(a_bundle_whose_rows_are_not_those_of_its_digests_is_not_restored)
{
    struct place p;
    place_open(&p);
    _cleanup_err_ struct err err = {0};
    sql(p.database, "create table t (a); insert into t values ('abcdefgh')");
    sql(p.restored, "create table t (a); insert into t values ('mine')");
    /* written by hand: the pages of one database with the digests of another */
    struct backup_summary s = {0};
    ASSERT_OK(
        backup_create(&(struct backup_options){.url = p.database, .path = p.bundle}, &s, &err),
        &err);
    backup_summary_release(&s);
    _cleanup_bundle_reader_ struct bundle_reader *r = NULL;
    _cleanup_bundle_writer_ struct bundle_writer *w = NULL;
    _cleanup_part_reader_ struct part_reader *d = NULL;
    _cleanup_part_writer_ struct part_writer *pw = NULL;
    _cleanup_(part_list_release) struct part_list parts = {0};
    _cleanup_str_ struct str stored = {0};
    _cleanup_free_ char *pages = NULL;
    size_t i, len;
    ASSERT_OK(bundle_open(p.bundle, NULL, &r, &err), &err);
    ASSERT_OK(file_read(p.database, &pages, &len, &err), &err);
    char *value = memmem(pages, len, "abcdefgh", 8);
    ck_assert_ptr_nonnull(value);
    value[3] ^= 1;
    ASSERT_OK(tree_remove(p.bundle, &err), &err);
    ASSERT_OK(bundle_create(p.bundle, NULL, &w, &err), &err);
    ASSERT_OK(part_writer_new(w, 3, &pw, &err), &err);
    ASSERT_OK(part_bytes(pw, pages, len, &err), &err);
    ASSERT_OK(part_end(pw, &parts, &err), &err);
    ck_assert_int_eq(bundle_next(r, &i, &err), 1);
    struct manifest *m = (struct manifest *)bundle_manifest(r);
    for (i = 0; i < m->nmembers; i++)
        bundle_member_release(&m->members[i]);
    free(m->members);
    m->nmembers = 0;
    ASSERT_OK(bundle_finish(w, m, &err), &err);
    ck_assert_uint_eq(verify(&p), 1);
    _cleanup_(restore_result_release) struct restore_result result = {0};
    ck_assert_int_lt(restore(&p, p.restored, &result, &err), 0);
    ck_assert_int_eq(err.code, ERR_CONFIG);
    ck_assert_str_eq(err.detail, "rows of t: other values in a");
    _cleanup_free_ char *a = query(p.restored, "select a from t");
    ck_assert_str_eq(a, "mine");
    place_close(&p);
}
END_TEST

START_TEST(a_stop_leaves_everything_as_it_was)
{
    struct place p;
    place_open(&p);
    static const volatile sig_atomic_t stop = 1;
    const struct backup_control control = {.stop = &stop};
    _cleanup_err_ struct err err = {0};
    _cleanup_free_ char *other = path_join(p.dir, "other.belay"), *a = NULL;
    struct backup_summary s = {0};
    struct verify_result v = {0};
    struct restore_result r = {0};
    sql(p.database, "create table t (a); insert into t values ('bundled')");
    sql(p.restored, "create table t (a); insert into t values ('mine')");
    backup(&p);
    const struct backup_options create = {.url = p.database, .path = other, .control = control};
    const struct verify_options check = {.path = p.bundle, .control = control};
    const struct restore_options to = {.path = p.bundle, .url = p.restored, .control = control};
    ck_assert_int_lt(backup_create(&create, &s, &err), 0);
    ck_assert_int_eq(err.code, ERR_INTERRUPTED);
    ck_assert_int_lt(backup_verify(&check, &v, &err), 0);
    ck_assert_int_eq(err.code, ERR_INTERRUPTED);
    ck_assert_int_lt(backup_restore(&to, &r, &err), 0);
    ck_assert_int_eq(err.code, ERR_INTERRUPTED);
    ck_assert_uint_eq(dir_count(p.dir), 3);
    a = query(p.restored, "select a from t");
    ck_assert_str_eq(a, "mine");
    place_close(&p);
}
END_TEST

int main(void)
{
    if (!getenv("BELAY_SOURCE_DIR"))
        return suite_skip("BELAY_SOURCE_DIR does not name the source");
    Suite *s = suite_create("backup_sqlite");
    SUITE_ADD(s, a_database_is_restored_to_a_new_file);
    SUITE_ADD(s, a_restore_into_a_live_file_keeps_the_old_content_beside);
    SUITE_ADD_LOOP(s, the_commands_of_the_page_restore_without_belay, 2);
    SUITE_ADD_LOOP(s, every_kind_of_database_comes_back, ARRAY_LEN(zoo));
    SUITE_ADD(s, what_checks_say_is_recorded);
    SUITE_ADD_LOOP(s, a_hot_journal_is_rolled_back_and_a_hot_wal_is_read, 2);
    SUITE_ADD(s, others_write_while_a_wal_database_is_copied);
    SUITE_ADD(s, a_writer_that_does_not_end_is_an_error_and_leaves_no_file);
    SUITE_ADD(s, a_reader_that_holds_the_target_is_an_error);
    SUITE_ADD(s, a_wal_of_another_page_size_is_an_error);
    SUITE_ADD(s, readers_of_a_wal_target_see_the_restored_rows_next);
    SUITE_ADD(s, a_journal_without_its_database_is_an_error);
    SUITE_ADD(s, a_target_that_is_no_database_is_an_error_and_stays);
    SUITE_ADD(s, a_bundle_whose_rows_are_not_those_of_its_digests_is_not_restored);
    SUITE_ADD(s, a_stop_leaves_everything_as_it_was);
    return suite_run(s);
}
