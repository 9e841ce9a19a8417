#include "runner/git.h"

#include <stdlib.h>
#include <string.h>

#include "harness/base/cleanup.h"
#include "harness/base/file.h"
#include "harness/base/proc.h"

/* Runs git in dir; *ret_ok tells whether it was content. */
static int git(const char *dir, const char *const *args, bool *ret_ok, struct str *ret_output,
               struct err *err)
{
    const char *argv[16] = {"git", "-C", dir};
    size_t n = 3;
    for (; *args && n + 1 < ARRAY_LEN(argv); args++)
        argv[n++] = *args;
    argv[n] = NULL;
    _cleanup_proc_result_ struct proc_result r = {0};
    if (proc_run(&(struct proc_options){.argv = argv}, &r, err) < 0)
        return err_hint(err, "--git-base needs git");
    *ret_ok = r.status == 0;
    *ret_output = r.output;
    r.output = (struct str){0};
    return 0;
}

/* One line of output, or an error when git is not content. */
static int git_line(const char *dir, const char *const *args, char **ret, struct err *err)
{
    _cleanup_str_ struct str out = {0};
    bool ok;
    if (git(dir, args, &ok, &out, err) < 0)
        return -1;
    if (!ok)
        return err_set(err, ERR_USAGE, "git %s failed", args[0]);
    *ret = xstrndup(str_get(&out), strcspn(str_get(&out), "\n"));
    return 0;
}

/* Names separated by NUL, relative to top, as real paths. */
static void add_names(const char *top, const struct str *names, struct strv *to)
{
    for (size_t at = 0; at < names->len; at += strlen(names->p + at) + 1) {
        _cleanup_free_ char *path = path_join(top, names->p + at);
        char *real = realpath(path, NULL);
        if (real) /* added once and removed since */
            strv_add_take(to, real);
    }
}

int git_added_files(const char *dir, const char *ref, struct strv *ret, struct err *err)
{
    _cleanup_free_ char *top = NULL, *commit = NULL, *base = NULL;
    if (git_line(dir, (const char *const[]){"rev-parse", "--show-toplevel", NULL}, &top, err) < 0) {
        if (err->code == ERR_USAGE)
            err_set(err, ERR_USAGE, "--git-base: %s is not in a git repository", dir);
        return -1;
    }
    _cleanup_free_ char *name = xasprintf("%s^{commit}", ref);
    /* a leading dash would be an option to git */
    bool odd = *ref == '-';
    if (odd || git_line(top, (const char *const[]){"rev-parse", "--verify", "--quiet", name, NULL},
                        &commit, err) < 0) {
        if (!odd && err->code != ERR_USAGE)
            return -1;
        err_set(err, ERR_USAGE, "--git-base: git knows no commit \"%s\"", ref);
        return err_hint(err,
                        "fetch it first, for instance \"git fetch origin %s\"; a shallow clone "
                        "has the last commit alone",
                        str_starts(ref, "origin/") ? ref + strlen("origin/") : ref);
    }
    if (git_line(top, (const char *const[]){"merge-base", commit, "HEAD", NULL}, &base, err) < 0) {
        if (err->code != ERR_USAGE)
            return -1;
        err_set(err, ERR_USAGE, "--git-base: \"%s\" and HEAD have no common ancestor here", ref);
        return err_hint(err, "in a shallow clone fetch more of the history: "
                             "\"git fetch --unshallow\", or fetch-depth: 0 in CI");
    }
    /* against the working tree, so that what is not committed yet is checked too; a renamed file is
     * a new revision to the tool */
    const char *const added[] = {"diff", "--name-only", "-z", "--no-renames", "--diff-filter=A",
                                 base,   "--",          NULL};
    const char *const untracked[] = {"ls-files", "-z", "--others", "--exclude-standard", NULL};
    const char *const *const lists[] = {added, untracked};
    for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
        _cleanup_str_ struct str out = {0};
        bool ok;
        if (git(top, lists[i], &ok, &out, err) < 0)
            return -1;
        if (!ok)
            return err_set(err, ERR_ENV, "git %s failed in %s", lists[i][0], top);
        add_names(top, &out, ret);
    }
    return 0;
}
