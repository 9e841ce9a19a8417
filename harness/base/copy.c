#include "harness/base/copy.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include "harness/base/cleanup.h"
#include "harness/base/file.h"

static int copy_content(int in, int out)
{
    if (ioctl(out, FICLONE, in) == 0)
        return 0;
    for (;;) {
        ssize_t n = copy_file_range(in, NULL, out, NULL, 1 << 30, 0);
        if (n == 0)
            break; /* the end, or a file system that cannot: sendfile finds out which */
        if (n < 0 && errno != EINTR)
            break;
    }
    for (;;) {
        ssize_t n = sendfile(out, in, NULL, 1 << 30);
        if (n == 0)
            return 0;
        if (n < 0 && errno != EINTR)
            return -1;
    }
}

static int copy_owned(const char *from, const char *to, unsigned mode,
                      const struct proc_user *owner, struct err *err)
{
    _cleanup_close_ int in = open(from, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (in < 0)
        return err_errno(err, "cannot read %s", from);
    _cleanup_close_ int out = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
    if (out < 0)
        return err_errno(err, "cannot create %s", to);
    if (copy_content(in, out) < 0 || (owner->change && fchown(out, owner->uid, owner->gid) < 0)) {
        err_errno(err, "cannot copy %s to %s", from, to);
        unlink(to);
        return -1;
    }
    return 0;
}

int file_copy(const char *from, const char *to, unsigned mode, struct err *err)
{
    return copy_owned(from, to, mode, &(struct proc_user){0}, err);
}

static void close_dir(DIR **dir)
{
    if (*dir)
        closedir(*dir);
}

int tree_copy(const char *from, const char *to, const struct proc_user *owner, struct err *err)
{
    struct stat st;
    __attribute__((cleanup(close_dir))) DIR *dir = opendir(from);
    if (!dir || fstat(dirfd(dir), &st) < 0)
        return err_errno(err, "cannot read %s", from);
    if (mkdir(to, st.st_mode & 07777) < 0 ||
        (owner->change && chown(to, owner->uid, owner->gid) < 0))
        return err_errno(err, "cannot create folder %s", to);
    struct dirent *e;
    while ((e = readdir(dir))) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        _cleanup_free_ char *source = path_join(from, e->d_name);
        _cleanup_free_ char *target = path_join(to, e->d_name);
        if (lstat(source, &st) < 0)
            return err_errno(err, "cannot read %s", source);
        int r;
        if (S_ISDIR(st.st_mode))
            r = tree_copy(source, target, owner, err);
        else if (S_ISREG(st.st_mode))
            r = copy_owned(source, target, st.st_mode & 07777, owner, err);
        else
            r = err_set(err, ERR_ENV, "cannot copy %s: neither file nor folder", source);
        if (r < 0)
            return -1;
    }
    return 0;
}
