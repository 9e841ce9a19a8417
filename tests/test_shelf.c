/* Folders of bundles: what is listed, what may go, and what never goes. */
#include <string.h>

#include "backup/shelf.h"
#include "harness/base/file.h"
#include "tests/bundle_fixture.h"

enum { DAY = 24 * 60 * 60 };

/* A bundle of an SQLite database of that name; damaged in a place where the list does not look. */
static void put(const char *dir, const char *name, const char *database, bool damaged)
{
    _cleanup_err_ struct err err = {0};
    _cleanup_free_ char *bundle = path_join(dir, name), *base = xasprintf("%s.db", database),
                        *file = path_join(dir, base), *url = xasprintf("sqlite:///%s", file);
    _cleanup_db_ struct db *db = NULL;
    struct backup_summary s = {0};
    int ran;
    ASSERT_OK(db_open(&engine_sqlite, url, DB_OPEN_CREATE, &db, &err), &err);
    ASSERT_OK(db_run(db, "create table if not exists t (a)", DB_RUN_WHOLE, &ran, &err), &err);
    ASSERT_OK(backup_create(&(struct backup_options){.url = url, .path = bundle}, &s, &err), &err);
    backup_summary_release(&s);
    if (damaged) {
        char *data;
        size_t len;
        ASSERT_OK(file_read(bundle, &data, &len, &err), &err);
        data[600] ^= 1;
        ASSERT_OK(file_replace(bundle, data, len, 0600, &err), &err);
        free(data);
    }
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct shelf_item *)a)->name, ((const struct shelf_item *)b)->name);
}

/* The bundles in the order of their names, as if each were a day older than the one before. */
static void shelf_of(const char *dir, struct shelf *s)
{
    _cleanup_err_ struct err err = {0};
    ASSERT_OK(shelf_read(dir, NULL, s, &err), &err);
    qsort(s->v, s->n, sizeof(*s->v), by_name);
    for (size_t i = 0; i < s->n; i++)
        if (!s->v[i].problem)
            s->v[i].time = 1000 * DAY - (time_t)i * DAY;
}

static char *removed(const struct shelf *s)
{
    _cleanup_strv_ struct strv names = {0};
    for (size_t i = 0; i < s->n; i++)
        if (s->v[i].remove)
            strv_add(&names, s->v[i].name);
    return strv_join(&names, " ");
}

static void prune(struct shelf *s)
{
    _cleanup_err_ struct err err = {0};
    ASSERT_OK(shelf_secure(s, &(struct verify_options){.jobs = 1}, &err), &err);
    ASSERT_OK(shelf_remove(s, &err), &err);
}

START_TEST(a_list_tells_what_each_bundle_is_of)
{
    char *dir = dir_new();
    _cleanup_(shelf_release) struct shelf s = {0};
    _cleanup_err_ struct err err = {0};
    _cleanup_free_ char *no = path_join(dir, "text.belay"), *sealed = path_join(dir, "z.belay"),
                        *key = path_join(dir, "key");
    put(dir, "1.belay", "app", false);
    key_write(key, 'k');
    ASSERT_OK(sample_write(sealed, key, 1, 1, &err), &err);
    ASSERT_OK(file_replace(no, "text", 4, 0600, &err), &err);
    ASSERT_OK(shelf_read(dir, NULL, &s, &err), &err);
    ck_assert_uint_eq(s.n, 3);
    ck_assert_str_eq(s.v[0].name, "1.belay");
    ck_assert_str_eq(s.v[0].database, "app.db");
    ck_assert_str_eq(s.v[0].host, dir);
    ck_assert_uint_eq(s.v[0].tables, 1);
    ck_assert_ptr_nonnull(strstr(s.v[1].problem, "damaged"));
    ck_assert_str_eq(s.v[2].problem, "encrypted");
    shelf_release(&s);
    ASSERT_OK(shelf_read(dir, key, &s, &err), &err);
    ck_assert_uint_eq(s.n, 3);
    ck_assert_ptr_null(s.v[1].problem);
    ck_assert(s.v[1].encrypted);
    dir_drop(dir);
}
END_TEST

static const struct {
    int keep_last, keep_days;
    const char *removed;
} plans[] = {
    {1, 0, "2.belay 3.belay 4.belay"}, {3, 0, "4.belay"}, {9, 0, ""},
    {0, 2, "3.belay 4.belay"},         {1, 3, "4.belay"}, {0, 0, "1.belay 2.belay 3.belay 4.belay"},
};

START_TEST(number_and_age_keep_bundles)
{
    char *dir = dir_new();
    _cleanup_(shelf_release) struct shelf s = {0};
    for (int i = 1; i <= 4; i++) {
        _cleanup_free_ char *name = xasprintf("%d.belay", i);
        put(dir, name, "app", false);
    }
    shelf_of(dir, &s);
    shelf_plan(&s, plans[_i].keep_last, plans[_i].keep_days, 1000 * DAY);
    _cleanup_free_ char *names = removed(&s);
    ck_assert_str_eq(names, plans[_i].removed);
    dir_drop(dir);
}
END_TEST

START_TEST(each_database_keeps_its_own)
{
    char *dir = dir_new();
    _cleanup_(shelf_release) struct shelf s = {0};
    put(dir, "1.belay", "app", false);
    put(dir, "2.belay", "other", false);
    put(dir, "3.belay", "app", false);
    shelf_of(dir, &s);
    shelf_plan(&s, 1, 0, 1000 * DAY);
    prune(&s);
    _cleanup_free_ char *names = removed(&s), *kept = path_join(dir, "2.belay");
    ck_assert_str_eq(names, "3.belay");
    ck_assert(file_exists(kept));
    ck_assert(!file_exists(s.v[2].path));
    dir_drop(dir);
}
END_TEST

START_TEST(the_only_good_one_stays)
{
    char *dir = dir_new();
    _cleanup_(shelf_release) struct shelf s = {0};
    put(dir, "1.belay", "app", true);
    put(dir, "2.belay", "app", true);
    put(dir, "3.belay", "app", false);
    put(dir, "4.belay", "app", false);
    shelf_of(dir, &s);
    shelf_plan(&s, 1, 0, 1000 * DAY);
    prune(&s);
    _cleanup_free_ char *names = removed(&s);
    ck_assert_str_eq(names, "2.belay 4.belay");
    ck_assert(s.v[2].only_good);
    ck_assert(file_exists(s.v[2].path));
    dir_drop(dir);
}
END_TEST

START_TEST(nothing_goes_while_none_is_good)
{
    char *dir = dir_new();
    _cleanup_(shelf_release) struct shelf s = {0};
    put(dir, "1.belay", "app", true);
    put(dir, "2.belay", "app", true);
    shelf_of(dir, &s);
    shelf_plan(&s, 1, 0, 1000 * DAY);
    prune(&s);
    _cleanup_free_ char *names = removed(&s);
    ck_assert_str_eq(names, "");
    ck_assert(file_exists(s.v[1].path));
    dir_drop(dir);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("shelf");
    SUITE_ADD(s, a_list_tells_what_each_bundle_is_of);
    SUITE_ADD_LOOP(s, number_and_age_keep_bundles, ARRAY_LEN(plans));
    SUITE_ADD(s, each_database_keeps_its_own);
    SUITE_ADD(s, the_only_good_one_stays);
    SUITE_ADD(s, nothing_goes_while_none_is_good);
    return suite_run(s);
}
