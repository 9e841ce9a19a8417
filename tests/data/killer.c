/*
 * Preloaded into the program under test: kills it at the n-th system call that changes a file, or tells a server
 * something.
 *
 *     LD_PRELOAD=killer.so BELAY_TEST_KILL=belay:17
 *
 * Counts in processes of that name alone, and in none that they fork.
 */
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static atomic_int countdown = -1;
static pid_t own;

__attribute__((constructor)) static void begin(void)
{
    const char *text = getenv("BELAY_TEST_KILL");
    const char *colon = text ? strchr(text, ':') : NULL;
    size_t len = colon ? (size_t)(colon - text) : 0;
    if (!colon || strlen(program_invocation_short_name) != len ||
        strncmp(program_invocation_short_name, text, len) != 0)
        return;
    own = getpid();
    atomic_store(&countdown, atoi(colon + 1));
}

static void count(void)
{
    if (own && atomic_fetch_sub(&countdown, 1) == 1 && getpid() == own)
        kill(own, SIGKILL);
}

#define WRAP(type, name, number, parameters, ...)                                                  \
    type name parameters;                                                                          \
    type name parameters                                                                           \
    {                                                                                              \
        count();                                                                                   \
        return (type)syscall(number, __VA_ARGS__);                                                 \
    }                                                                                              \
    struct wrap_##name##_semicolon

WRAP(ssize_t, write, SYS_write, (int fd, const void *p, size_t n), fd, p, n);
WRAP(ssize_t, pwrite64, SYS_pwrite64, (int fd, const void *p, size_t n, off_t at), fd, p, n, at);
WRAP(ssize_t, send, SYS_sendto, (int fd, const void *p, size_t n, int flags), fd, p, n, flags, NULL,
     0);
WRAP(int, fsync, SYS_fsync, (int fd), fd);
WRAP(int, fdatasync, SYS_fdatasync, (int fd), fd);
WRAP(int, ftruncate64, SYS_ftruncate, (int fd, off_t n), fd, n);
WRAP(int, unlink, SYS_unlinkat, (const char *path), -100, path, 0);
WRAP(int, rename, SYS_renameat2, (const char *from, const char *to), -100, from, -100, to, 0);
WRAP(int, renameat2, SYS_renameat2, (int a, const char *from, int b, const char *to, unsigned f), a,
     from, b, to, f);
