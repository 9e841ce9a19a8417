/* Migration folders that a test writes for itself. */
#ifndef BELAY_TESTS_MIGRATION_FOLDER_H
#define BELAY_TESTS_MIGRATION_FOLDER_H

#include <check.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "harness/base/file.h"
#include "harness/base/str.h"

/* A file of a folder; text NULL makes a folder. Lists end with path NULL. */
struct file {
    const char *path;
    const char *text;
};

/* A folder of the test's own. */
static inline char *folder_new(void)
{
    char *dir = xstrdup("/tmp/belay-test-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    return dir;
}

static inline void folder_write(const char *dir, const char *name, const char *text, size_t len)
{
    struct err e = {0};
    char *path = path_join(dir, name), *parent = path_dir(path);
    ck_assert_msg(dir_make(parent, 0700, &e) == 0, "%s", e.message);
    FILE *f = fopen(path, "wb");
    ck_assert_ptr_nonnull(f);
    ck_assert_uint_eq(fwrite(text, 1, len, f), len);
    fclose(f);
    free(path);
    free(parent);
}

static inline void folder_fill(const char *dir, const struct file *files)
{
    for (; files->path; files++)
        folder_write(dir, files->path, files->text, strlen(files->text));
}

static inline void folder_free(char **dir)
{
    struct err e = {0};
    if (*dir)
        tree_remove(*dir, &e);
    err_release(&e);
    free(*dir);
}

#define _cleanup_folder_ __attribute__((cleanup(folder_free)))

#endif
