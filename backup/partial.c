#include "backup/partial.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "harness/base/cleanup.h"
#include "harness/base/file.h"
#include "harness/base/str.h"

#define PREFIX ".belay-partial-"
#define RANDOM "XXXXXX"

static bool is_partial(const char *name)
{
    return str_starts(name, PREFIX) && strlen(name) == strlen(PREFIX RANDOM);
}

/*
 * A lock dies with its process, so that one that can be had proves the writer dead. Its children
 * do not keep it: they get no descriptor of belay's.
 */
static void sweep_one(int dir, const char *name)
{
    _cleanup_close_ int fd =
        openat(dir, name, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    struct stat st;
    if (fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_uid == geteuid() &&
        flock(fd, LOCK_EX | LOCK_NB) == 0)
        unlinkat(dir, name, 0);
}

/* What cannot be removed stays for the next one: no reason to fail. */
static void sweep(const char *path)
{
    DIR *dir = opendir(path);
    for (struct dirent *e; dir && (e = readdir(dir));)
        if (is_partial(e->d_name))
            sweep_one(dirfd(dir), e->d_name);
    if (dir)
        closedir(dir);
}

int partial_create(const char *dir, struct partial *ret, struct err *err)
{
    sweep(dir);
    for (int attempt = 0; attempt < 100; attempt++) {
        _cleanup_free_ char *path = xasprintf("%s/" PREFIX RANDOM, dir);
        _cleanup_close_ int fd = mkostemp(path, O_CLOEXEC);
        if (fd < 0)
            return err_errno(err, "cannot create a file in %s", dir);
        /* Between creation and lock somebody's sweep may have taken it for a dead one's. Where there
         * are no locks (ENOLCK, EOPNOTSUPP), nobody can sweep either. */
        struct stat st;
        bool taken = flock(fd, LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK;
        if (!taken && fstat(fd, &st) == 0 && st.st_nlink == 1) {
            *ret = (struct partial){.dir = xstrdup(dir), .path = TAKE_PTR(path), .fd = TAKE_FD(fd)};
            return 0;
        }
        unlink(path);
    }
    return err_set(err, ERR_ENV, "cannot keep a file in %s", dir);
}

/* rename() that never replaces. Where the file system cannot, link() has the same guarantee. */
static int rename_new(const char *from, const char *to)
{
    if (renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE) == 0)
        return 0;
    if (errno != EINVAL && errno != ENOSYS)
        return -1;
    if (link(from, to) < 0)
        return -1;
    unlink(from); /* or the next sweep does */
    return 0;
}

int partial_publish(struct partial *p, const char *path, struct err *err)
{
    if (fchmod(p->fd, 0600) < 0 || file_sync(p->fd) < 0)
        return err_errno(err, "cannot write %s", path);
    if (rename_new(p->path, path) < 0)
        return err_errno(err, "cannot create %s", path);
    /* from here on partial_release() removes it under its name */
    free(p->path);
    p->path = xstrdup(path);
    if (dir_sync(p->dir, err) < 0)
        return -1;
    p->published = true;
    return 0;
}

void partial_release(struct partial *p)
{
    if (!p->path)
        return;
    if (!p->published)
        unlink(p->path);
    close(p->fd);
    free(p->path);
    free(p->dir);
    *p = (struct partial){.fd = -1};
}
