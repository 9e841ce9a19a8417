#include "harness/engine/pgprogram.h"

#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "harness/base/cleanup.h"
#include "harness/base/file.h"
#include "harness/base/proc.h"

#define ANSWER_MS 10000

static void add_dir(struct strv *dirs, const char *dir)
{
    if (!strv_has(dirs, dir))
        strv_add(dirs, dir);
}

static void add_path(const char *program, struct strv *dirs)
{
    const char *path = getenv("PATH");
    _cleanup_free_ char *copy = xstrdup(path ? path : "");
    char *state = NULL;
    for (char *dir = strtok_r(copy, ":", &state); dir; dir = strtok_r(NULL, ":", &state)) {
        _cleanup_free_ char *file = path_join(dir, program);
        /* a link leads to where the other programs are */
        char *real = realpath(file, NULL);
        _cleanup_free_ char *where = real ? path_dir(real) : NULL;
        if (where)
            add_dir(dirs, where);
        free(real);
    }
}

static void add_pg_config(struct strv *dirs)
{
    _cleanup_proc_result_ struct proc_result r = {0};
    _cleanup_err_ struct err ignored = {0}; /* no pg_config: look elsewhere */
    const char *argv[] = {"pg_config", "--bindir", NULL};
    if (proc_run(&(struct proc_options){.argv = argv, .timeout_ms = ANSWER_MS}, &r, &ignored) < 0 ||
        r.status != 0)
        return;
    _cleanup_free_ char *dir = xstrndup(str_get(&r.output), strcspn(str_get(&r.output), "\n"));
    add_dir(dirs, dir);
}

void pg_program_dirs(const char *program, struct strv *ret)
{
    add_path(program, ret);
    add_pg_config(ret);
    glob_t found;
    if (glob("/usr/lib/postgresql/*/bin", 0, NULL, &found) == 0)
        for (size_t i = 0; i < found.gl_pathc; i++)
            add_dir(ret, found.gl_pathv[i]);
    globfree(&found);
}

/* "pg_dump (PostgreSQL) 15.18 (Debian ...)" */
bool pg_program_version(const char *path, char **ret_text, int *ret_number)
{
    _cleanup_proc_result_ struct proc_result r = {0};
    _cleanup_err_ struct err ignored = {0}; /* a program that does not run is no candidate */
    const char *argv[] = {path, "--version", NULL};
    int major = 0, minor = 0;
    if (access(path, X_OK) < 0 ||
        proc_run(&(struct proc_options){.argv = argv, .timeout_ms = ANSWER_MS}, &r, &ignored) < 0 ||
        r.status != 0)
        return false;
    const char *text = strstr(str_get(&r.output), ") ");
    if (!text || sscanf(text + 2, "%d.%d", &major, &minor) < 1)
        return false;
    *ret_text = xstrndup(text + 2, strcspn(text + 2, " \n"));
    *ret_number = major * 10000 + minor;
    return true;
}

int pg_program_find(const char *program, int major, char **ret_path, int *ret_number,
                    struct err *err)
{
    _cleanup_strv_ struct strv dirs = {0};
    _cleanup_free_ char *best = NULL;
    int best_number = 0, newest = 0;
    pg_program_dirs(program, &dirs);
    for (size_t i = 0; i < dirs.n; i++) {
        _cleanup_free_ char *path = path_join(dirs.v[i], program), *text = NULL;
        int number;
        if (!pg_program_version(path, &text, &number))
            continue;
        newest = number > newest ? number : newest;
        if (number / 10000 < major || (best && number / 10000 >= best_number / 10000))
            continue;
        free(best);
        best = TAKE_PTR(path);
        best_number = number;
    }
    if (!best) {
        if (newest)
            err_set(err, ERR_ENV,
                    "the newest %s on this machine is of PostgreSQL %d, and %d is needed", program,
                    newest / 10000, major);
        else
            err_set(err, ERR_ENV, "%s is not installed", program);
        return err_hint(err, "install it (Debian: apt-get install postgresql-client-%d)", major);
    }
    if (ret_number)
        *ret_number = best_number;
    *ret_path = TAKE_PTR(best);
    return 0;
}
