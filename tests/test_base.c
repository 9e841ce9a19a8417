/*
 * base/: the error value, strings and files.
 */
#include "tests/suite.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "harness/base/cleanup.h"
#include "harness/base/err.h"
#include "harness/base/file.h"
#include "harness/base/proc.h"
#include "harness/base/str.h"

/* A folder of the test's own, removed by folder_remove(). */
static char *folder_make(void)
{
    char *path = xstrdup("/tmp/belay-test-XXXXXX");

    ck_assert_ptr_nonnull(mkdtemp(path));
    return path;
}

static void folder_remove(char **path)
{
    _cleanup_err_ struct err e = {0};

    ck_assert_int_eq(tree_remove(*path, &e), 0);
    free(*path);
}

START_TEST(err_set_replaces_an_earlier_error)
{
    _cleanup_err_ struct err e = {0};

    ck_assert(!err_is_set(&e));
    ck_assert_int_eq(err_set(&e, ERR_SQL, "no table \"%s\"", "t"), -1);
    err_hint(&e, "make it");
    err_at(&e, "a.sql", 3, 7);
    err_set(&e, ERR_USAGE, "wrong");
    ck_assert_int_eq(e.code, ERR_USAGE);
    ck_assert_str_eq(e.message, "wrong");
    ck_assert_ptr_null(e.hint);
    ck_assert_ptr_null(e.file);
}
END_TEST

START_TEST(err_prefix_puts_context_before_the_cause)
{
    _cleanup_err_ struct err e = {0};

    err_set(&e, ERR_SQL, "no such table");
    err_prefix(&e, "revision %d", 4);
    ck_assert_str_eq(e.message, "revision 4: no such table");
    ck_assert_int_eq(e.code, ERR_SQL);
}
END_TEST

START_TEST(err_move_leaves_the_source_empty)
{
    _cleanup_err_ struct err from = {0}, to = {0};

    err_set(&to, ERR_USAGE, "old");
    err_set(&from, ERR_ENV, "new");
    err_move(&to, &from);
    ck_assert_str_eq(to.message, "new");
    ck_assert(!err_is_set(&from));
    ck_assert_ptr_null(from.message);
}
END_TEST

START_TEST(err_errno_names_the_cause_and_a_full_disk_gets_a_hint)
{
    _cleanup_err_ struct err e = {0};

    errno = ENOSPC;
    err_errno(&e, "cannot write \"x\"");
    ck_assert_int_eq(e.code, ERR_ENV);
    ck_assert_ptr_nonnull(strstr(e.message, "cannot write \"x\": "));
    ck_assert_ptr_nonnull(strstr(e.message, strerror(ENOSPC)));
    ck_assert_ptr_nonnull(e.hint);
}
END_TEST

START_TEST(str_grows_and_gives_its_text_away)
{
    struct str s = {0};

    ck_assert_str_eq(str_get(&s), "");
    for (int i = 0; i < 1000; i++)
        str_addf(&s, "%d,", i % 10);
    ck_assert_uint_eq(s.len, 2000);
    _cleanup_free_ char *text = str_take(&s);
    ck_assert_uint_eq(strlen(text), 2000);
    ck_assert_uint_eq(s.len, 0);
    _cleanup_free_ char *empty = str_take(&s);
    ck_assert_str_eq(empty, "");
}
END_TEST

START_TEST(utf8_valid_points_at_the_first_bad_byte)
{
    static const struct {
        const char *text;
        size_t len;
        bool valid;
        size_t offset;
    } cases[] = {
        {"", 0, true, 0},
        {"na\xc3\xafve \xe2\x9c\x93 \xf0\x9f\x98\x80", 15, true, 0},
        {"a\xff", 2, false, 1},
        {"ab\xc3", 3, false, 2},          /* cut short */
        {"\xc0\xaf", 2, false, 0},        /* overlong */
        {"x\xed\xa0\x80", 4, false, 1},   /* a surrogate */
        {"\xf4\x90\x80\x80", 4, false, 0} /* beyond U+10FFFF */
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        size_t offset = 99;
        ck_assert_msg(utf8_valid(cases[i].text, cases[i].len, &offset) == cases[i].valid,
                      "case %zu", i);
        if (!cases[i].valid)
            ck_assert_uint_eq(offset, cases[i].offset);
    }
}
END_TEST

START_TEST(strv_sorts_joins_and_finds)
{
    _cleanup_strv_ struct strv l = {0};

    strv_add(&l, "b");
    strv_add_take(&l, xstrdup("a"));
    strv_add(&l, "c");
    strv_sort(&l);
    _cleanup_free_ char *joined = strv_join(&l, ", ");
    ck_assert_str_eq(joined, "a, b, c");
    ck_assert(strv_has(&l, "c"));
    ck_assert(!strv_has(&l, "d"));
}
END_TEST

START_TEST(file_replace_writes_the_whole_content_with_its_mode)
{
    _cleanup_(folder_remove) char *dir = folder_make();
    _cleanup_free_ char *path = path_join(dir, "f");
    _cleanup_free_ char *data = NULL;
    _cleanup_err_ struct err e = {0};
    struct stat st;
    size_t len;

    ck_assert_int_eq(file_replace(path, "old", 3, 0644, &e), 0);
    ck_assert_int_eq(file_replace(path, "ne\0w", 4, 0600, &e), 0);
    ck_assert_int_eq(file_read(path, &data, &len, &e), 0);
    ck_assert_uint_eq(len, 4);
    ck_assert_mem_eq(data, "ne\0w", 5);
    ck_assert_int_eq(stat(path, &st), 0);
    ck_assert_uint_eq(st.st_mode & 0777, 0600);
}
END_TEST

START_TEST(file_replace_that_fails_leaves_the_old_content_and_no_other_file)
{
    _cleanup_(folder_remove) char *dir = folder_make();
    _cleanup_free_ char *target = path_join(dir, "taken");
    _cleanup_err_ struct err e = {0};

    /* A folder cannot be renamed over by a file, for root neither. */
    ck_assert_int_eq(dir_make(target, 0700, &e), 0);
    ck_assert_int_eq(file_replace(target, "x", 1, 0600, &e), -1);
    ck_assert_int_eq(e.code, ERR_ENV);
    ck_assert(dir_exists(target));
    ck_assert_int_eq(rmdir(target), 0);
    ck_assert_msg(rmdir(dir) == 0, "a temporary file was left behind");
    ck_assert_int_eq(mkdir(dir, 0700), 0);
}
END_TEST

START_TEST(file_read_text_says_on_which_line_it_is_not_utf8)
{
    _cleanup_(folder_remove) char *dir = folder_make();
    _cleanup_free_ char *path = path_join(dir, "f.sql");
    _cleanup_free_ char *data = NULL;
    _cleanup_err_ struct err e = {0};

    ck_assert_int_eq(file_replace(path, "one\ntwo\nth\xe9n\n", 13, 0600, &e), 0);
    ck_assert_int_eq(file_read_text(path, &data, NULL, &e), -1);
    ck_assert_int_eq(e.line, 3);
    ck_assert_str_eq(e.file, path);
    ck_assert_ptr_null(data);
}
END_TEST

START_TEST(file_read_text_drops_a_byte_order_mark)
{
    _cleanup_(folder_remove) char *dir = folder_make();
    _cleanup_free_ char *path = path_join(dir, "f.sql");
    _cleanup_free_ char *data = NULL;
    _cleanup_err_ struct err e = {0};
    size_t len;

    ck_assert_int_eq(file_replace(path, "\xef\xbb\xbfselect", 9, 0600, &e), 0);
    ck_assert_int_eq(file_read_text(path, &data, &len, &e), 0);
    ck_assert_str_eq(data, "select");
    ck_assert_uint_eq(len, 6);
}
END_TEST

START_TEST(file_read_of_a_missing_file_names_it)
{
    _cleanup_free_ char *data = NULL;
    _cleanup_err_ struct err e = {0};

    ck_assert_int_eq(file_read("/nonexistent/f", &data, NULL, &e), -1);
    ck_assert_int_eq(e.code, ERR_CONFIG);
    ck_assert_str_eq(e.file, "/nonexistent/f");
}
END_TEST

START_TEST(tree_remove_does_not_follow_symbolic_links)
{
    _cleanup_(folder_remove) char *kept = folder_make();
    _cleanup_free_ char *dir = folder_make();
    _cleanup_free_ char *file = path_join(kept, "f");
    _cleanup_free_ char *sub = path_join(dir, "a/b");
    _cleanup_free_ char *link = path_join(dir, "a/link");
    _cleanup_err_ struct err e = {0};

    ck_assert_int_eq(file_replace(file, "x", 1, 0600, &e), 0);
    ck_assert_int_eq(dir_make(sub, 0700, &e), 0);
    ck_assert_int_eq(symlink(kept, link), 0);
    ck_assert_int_eq(tree_remove(dir, &e), 0);
    ck_assert(!dir_exists(dir));
    ck_assert(file_exists(file));
    ck_assert_int_eq(tree_remove(dir, &e), 0);
}
END_TEST

START_TEST(paths_are_joined_and_taken_apart)
{
    _cleanup_free_ char *joined = path_join("a/b", "c");
    _cleanup_free_ char *absolute = path_join("a", "/c");
    _cleanup_free_ char *alone = path_join("", "c");
    _cleanup_free_ char *plain = path_join(".", "c");
    ck_assert_str_eq(plain, "c");
    _cleanup_free_ char *dir = path_dir("a/b/c");
    _cleanup_free_ char *here = path_dir("c");

    ck_assert_str_eq(joined, "a/b/c");
    ck_assert_str_eq(absolute, "/c");
    ck_assert_str_eq(alone, "c");
    ck_assert_str_eq(dir, "a/b");
    ck_assert_str_eq(here, ".");
    ck_assert_str_eq(path_base("a/b/c"), "c");
    ck_assert_str_eq(path_relative("a/b/c", "a"), "b/c");
    ck_assert_str_eq(path_relative("ab/c", "a"), "ab/c");
}
END_TEST

START_TEST(of_long_output_the_end_is_kept)
{
    _cleanup_err_ struct err e = {0};
    _cleanup_proc_result_ struct proc_result r = {0};
    const struct proc_options o = {.argv = (const char *[]){"seq", "100000", NULL}, .keep = 13};
    ck_assert_int_eq(proc_run(&o, &r, &e), 0);
    ck_assert_str_eq(str_get(&r.output), "99999\n100000\n");
    ck_assert_str_eq(str_get(&r.errors), "");
}
END_TEST

int main(void)
{
    Suite *s = suite_create("base");

    SUITE_ADD(s, err_set_replaces_an_earlier_error);
    SUITE_ADD(s, err_prefix_puts_context_before_the_cause);
    SUITE_ADD(s, err_move_leaves_the_source_empty);
    SUITE_ADD(s, err_errno_names_the_cause_and_a_full_disk_gets_a_hint);
    SUITE_ADD(s, str_grows_and_gives_its_text_away);
    SUITE_ADD(s, utf8_valid_points_at_the_first_bad_byte);
    SUITE_ADD(s, strv_sorts_joins_and_finds);
    SUITE_ADD(s, file_replace_writes_the_whole_content_with_its_mode);
    SUITE_ADD(s, file_replace_that_fails_leaves_the_old_content_and_no_other_file);
    SUITE_ADD(s, file_read_text_says_on_which_line_it_is_not_utf8);
    SUITE_ADD(s, file_read_text_drops_a_byte_order_mark);
    SUITE_ADD(s, file_read_of_a_missing_file_names_it);
    SUITE_ADD(s, tree_remove_does_not_follow_symbolic_links);
    SUITE_ADD(s, paths_are_joined_and_taken_apart);
    SUITE_ADD(s, of_long_output_the_end_is_kept);
    return suite_run(s);
}
