/* SQLite databases of every kind: into a bundle and back. */
#include <string.h>
#include <sys/stat.h>

#include "backup/backup.h"
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

int main(void)
{
    Suite *s = suite_create("backup_sqlite");
    SUITE_ADD(s, a_database_is_restored_to_a_new_file);
    SUITE_ADD(s, a_restore_into_a_live_file_keeps_the_old_content_beside);
    return suite_run(s);
}
