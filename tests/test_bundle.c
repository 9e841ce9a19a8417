/* The container: what is written is read again, and whatever was changed in between is refused. */
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "harness/base/file.h"
#include "tests/bundle_fixture.h"

/* One bundle in the clear and one encrypted: every test of damage runs on both. */
struct sample {
    char *dir, *path, *key;
};

static void sample_open(struct sample *s, bool encrypted, size_t rows, size_t cut)
{
    _cleanup_err_ struct err err = {0};
    s->dir = dir_new();
    s->path = path_join(s->dir, "app.belay");
    s->key = NULL;
    if (encrypted) {
        s->key = path_join(s->dir, "key");
        key_write(s->key, 'k');
    }
    ASSERT_OK(sample_write(s->path, s->key, rows, cut, &err), &err);
}

static void sample_close(struct sample *s)
{
    free(s->path);
    free(s->key);
    dir_drop(s->dir);
}

START_TEST(what_was_written_is_read)
{
    struct sample s;
    sample_open(&s, _i, 1000, 100);
    _cleanup_err_ struct err err = {0};
    _cleanup_str_ struct str rows = {0}, expected = {0};
    ASSERT_OK(sample_read(s.path, s.key, &rows, &err), &err);
    for (size_t i = 0; i < 1000; i++) {
        _cleanup_free_ char *row = sample_row(i);
        str_add(&expected, row);
    }
    ck_assert_str_eq(str_get(&rows), str_get(&expected));
    _cleanup_bundle_reader_ struct bundle_reader *r = NULL;
    ASSERT_OK(bundle_open(s.path, s.key, &r, &err), &err);
    const struct manifest *m = bundle_manifest(r);
    ck_assert_uint_eq(m->nmembers, 11);
    ck_assert_str_eq(m->members[10].name, "data/000001/000010.zst");
    ck_assert_uint_eq(m->members[10].rows, 100);
    ck_assert_str_eq(m->database, "app");
    ck_assert_str_eq(m->revisions.v[0], "4f2a");
    ck_assert_int_eq(m->digests.v[1].next, -7);
    ck_assert_uint_eq(m->digests.v[0].sum.rows, 1000);
    ck_assert_uint_ne(m->digests.v[0].sum.lo, 0);
    ck_assert_ptr_null(m->host);
    const struct bundle_object *o = manifest_find(m, "table", "public.posts");
    ck_assert_uint_eq(o->nparts, 10);
    ck_assert_str_eq(o->columns, "id, title");
    struct stat st;
    ck_assert_int_eq(stat(s.path, &st), 0);
    ck_assert_uint_eq(st.st_mode & 07777, 0600);
    ck_assert_uint_eq(dir_count(s.dir), _i ? 2 : 1);
    sample_close(&s);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("bundle");
    SUITE_ADD_LOOP(s, what_was_written_is_read, 2);
    return suite_run(s);
}
