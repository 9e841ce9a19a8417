#include "harness/base/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "harness/base/cleanup.h"
#include "harness/base/str.h"

static int read_failed(const char *path, struct err *err)
{
    int saved = errno;
    err_set(err, ERR_CONFIG, "cannot read %s: %s", path, strerror(saved));
    return err_at(err, path, 0, 0);
}

int file_read(const char *path, char **ret_data, size_t *ret_len, struct err *err)
{
    _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0)
        return read_failed(path, err);
    if (!S_ISREG(st.st_mode)) {
        errno = S_ISDIR(st.st_mode) ? EISDIR : EINVAL;
        return read_failed(path, err);
    }
    _cleanup_str_ struct str s = {0};
    char buf[65536];
    ssize_t n;
    while ((n = read(fd, buf, sizeof(buf))) != 0) {
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return read_failed(path, err);
        str_addn(&s, buf, (size_t)n);
    }
    if (ret_len)
        *ret_len = s.len;
    *ret_data = str_take(&s);
    return 0;
}

int file_read_text(const char *path, char **ret_data, size_t *ret_len, struct err *err)
{
    _cleanup_free_ char *data = NULL;
    size_t len, bad = 0;
    if (file_read(path, &data, &len, err) < 0)
        return -1;
    if (len >= 3 && memcmp(data, "\xef\xbb\xbf", 3) == 0) {
        len -= 3;
        memmove(data, data + 3, len + 1);
    }
    bool valid = utf8_valid(data, len, &bad);
    if (valid && memchr(data, '\0', len)) {
        valid = false;
        bad = (size_t)((char *)memchr(data, '\0', len) - data);
    }
    if (!valid) {
        int line = 1;
        for (size_t i = 0; i < bad; i++)
            line += data[i] == '\n';
        err_set(err, ERR_SOURCE, "%s is not UTF-8 text: byte 0x%02x at offset %zu", path,
                (unsigned char)data[bad], bad);
        err_hint(err, "save the file as UTF-8");
        return err_at(err, path, line, 0);
    }
    if (ret_len)
        *ret_len = len;
    *ret_data = TAKE_PTR(data);
    return 0;
}

int file_write(int fd, const void *data, size_t len)
{
    const char *p = data;
    while (len) {
        ssize_t n = write(fd, p, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -1;
        p += n;
        len -= (size_t)n;
    }
    return 0;
}

int file_sync(int fd)
{
    int rc;
    do
        rc = fsync(fd);
    while (rc < 0 && errno == EINTR);
    return rc;
}

int dir_sync(const char *path, struct err *err)
{
    _cleanup_close_ int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || file_sync(fd) < 0)
        return err_errno(err, "cannot sync folder %s", path);
    return 0;
}

int dir_room(const char *path, uint64_t bytes, struct err *err)
{
    struct statvfs s;
    if (statvfs(path, &s) < 0)
        return err_errno(err, "cannot look at folder %s", path);
    uint64_t free_bytes = (uint64_t)s.f_bavail * s.f_frsize;
    if (free_bytes >= bytes)
        return 0;
    err_set(err, ERR_ENV, "%s has %llu MB free, %llu MB may be needed", path,
            (unsigned long long)(free_bytes >> 20), (unsigned long long)(bytes >> 20) + 1);
    return err_hint(err, "free some space, or choose another folder");
}

int file_replace(const char *path, const void *data, size_t len, unsigned mode, struct err *err)
{
    _cleanup_free_ char *temporary = xasprintf("%s.XXXXXX", path);
    _cleanup_free_ char *dir = path_dir(path);
    _cleanup_close_ int fd = mkostemp(temporary, O_CLOEXEC);
    if (fd < 0)
        return err_errno(err, "cannot create %s", temporary);
    /* until the rename the old content stands; after it, the new one, whole and on disk */
    if (fchmod(fd, mode) < 0 || file_write(fd, data, len) < 0 || file_sync(fd) < 0) {
        err_errno(err, "cannot write %s", temporary);
        unlink(temporary);
        return -1;
    }
    if (rename(temporary, path) < 0) {
        err_errno(err, "cannot replace %s", path);
        unlink(temporary);
        return -1;
    }
    return dir_sync(dir, err);
}

bool file_exists(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && !S_ISDIR(st.st_mode);
}

bool dir_exists(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

int dir_make(const char *path, unsigned mode, struct err *err)
{
    if (dir_exists(path))
        return 0;
    _cleanup_free_ char *parent = path_dir(path);
    if (strcmp(parent, path) != 0 && dir_make(parent, mode, err) < 0)
        return -1;
    if (mkdir(path, mode) < 0 && errno != EEXIST)
        return err_errno(err, "cannot create folder %s", path);
    return 0;
}

/* Through the folder's descriptor: whoever may write there cannot lead the removal elsewhere by
 * putting a symbolic link in the place of a folder. Goes on after a failure; errno is the first. */
static int remove_at(int parent, const char *name)
{
    if (unlinkat(parent, name, 0) == 0 || errno == ENOENT)
        return 0;
    if (errno != EISDIR)
        return -1;
    int first = 0;
    int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    if (!dir) {
        first = errno;
        if (fd >= 0)
            close(fd);
    }
    for (struct dirent *e; dir && (e = readdir(dir));) {
        bool self = strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0;
        if (!self && remove_at(fd, e->d_name) < 0 && !first)
            first = errno;
    }
    if (dir)
        closedir(dir);
    if (unlinkat(parent, name, AT_REMOVEDIR) == 0 || errno == ENOENT)
        return 0;
    errno = first ? first : errno;
    return -1;
}

int tree_remove(const char *path, struct err *err)
{
    return remove_at(AT_FDCWD, path) < 0 ? err_errno(err, "cannot remove %s", path) : 0;
}

char *path_join(const char *dir, const char *name)
{
    if (name[0] == '/' || dir[0] == '\0' || strcmp(dir, ".") == 0)
        return xstrdup(name);
    return xasprintf("%s%s%s", dir, str_ends(dir, "/") ? "" : "/", name);
}

const char *path_base(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

char *path_dir(const char *path)
{
    const char *slash = strrchr(path, '/');
    if (!slash)
        return xstrdup(".");
    return slash == path ? xstrdup("/") : xstrndup(path, (size_t)(slash - path));
}

const char *path_relative(const char *path, const char *dir)
{
    size_t n = strlen(dir);
    while (n && dir[n - 1] == '/')
        n--;
    if (n && strncmp(path, dir, n) == 0 && path[n] == '/')
        return path + n + 1;
    return path;
}
