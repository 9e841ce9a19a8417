#include "tests/belay_process.h"

#include <check.h>
#include <dirent.h>
#include <grp.h>
#include <limits.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include "harness/base/cleanup.h"
#include "harness/base/file.h"

bool wait_until(bool (*holds)(void *data), void *data)
{
    for (int i = 0; i < 12000; i++) {
        if (holds(data))
            return true;
        nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
    }
    return holds(data);
}

/* State and parent from /proc/PID/stat; false when there is no such process. */
static bool read_stat(pid_t pid, char *state, int *parent)
{
    char path[64], line[1024];
    snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    _cleanup_fclose_ FILE *f = fopen(path, "re");
    if (!f || !fgets(line, sizeof(line), f))
        return false;
    const char *name_end = strrchr(line, ')');
    return name_end && sscanf(name_end + 1, " %c %d", state, parent) == 2;
}

bool process_alive(pid_t pid)
{
    char state;
    int parent;
    return read_stat(pid, &state, &parent) && state != 'Z' && state != 'X';
}

/* The first process, or descriptor, for which a test holds. */
static long find_number(const char *dir, bool (*is_it)(long number, void *data), void *data)
{
    long found = -1;
    DIR *d = opendir(dir);
    for (struct dirent *e; d && found < 0 && (e = readdir(d));)
        if (e->d_name[0] >= '0' && e->d_name[0] <= '9' && is_it(atol(e->d_name), data))
            found = atol(e->d_name);
    if (d)
        closedir(d);
    return found;
}

static bool is_folder(long fd, void *data)
{
    struct belay_process *b = data;
    char link[64], target[PATH_MAX];
    snprintf(link, sizeof(link), "/proc/%d/fd/%ld", (int)b->pid, fd);
    ssize_t n = readlink(link, target, sizeof(target) - 1);
    if (n < 0)
        return false;
    target[n] = '\0';
    if (strncmp(path_base(target), "belay.", 6) != 0 || !dir_exists(target))
        return false;
    memcpy(b->dir, target, (size_t)n + 1);
    return true;
}

static bool is_guardian(long pid, void *data)
{
    struct belay_process *b = data;
    char path[64], name[64] = "", state;
    int parent;
    if (!read_stat((pid_t)pid, &state, &parent) || parent != b->pid)
        return false;
    snprintf(path, sizeof(path), "/proc/%ld/comm", pid);
    _cleanup_fclose_ FILE *f = fopen(path, "re");
    return f && fgets(name, sizeof(name), f) && strcmp(name, "belay-guardian\n") == 0;
}

static bool found_or_ended(void *data)
{
    struct belay_process *b = data;
    char fds[64];
    snprintf(fds, sizeof(fds), "/proc/%d/fd", (int)b->pid);
    if (!process_alive(b->pid))
        return true;
    if (find_number(fds, is_folder, b) < 0)
        return false;
    long guardian = find_number("/proc", is_guardian, b);
    b->guardian = guardian > 0 ? (pid_t)guardian : 0;
    return guardian > 0;
}

bool belay_process_find(struct belay_process *b)
{
    ck_assert_msg(wait_until(found_or_ended, b), "process %d makes no folder", (int)b->pid);
    return b->guardian > 0;
}

static bool works_in_folder(long pid, void *data)
{
    struct belay_process *b = data;
    char link[64], cwd[PATH_MAX];
    snprintf(link, sizeof(link), "/proc/%ld/cwd", pid);
    ssize_t n = readlink(link, cwd, sizeof(cwd) - 1);
    if (n < 0 || !process_alive((pid_t)pid))
        return false;
    cwd[n] = '\0'; /* "... (deleted)" when the folder is gone */
    return strncmp(cwd, b->dir, strlen(b->dir)) == 0;
}

static bool is_server(long pid, void *data)
{
    struct belay_process *b = data;
    char state;
    int parent;
    return read_stat((pid_t)pid, &state, &parent) && parent == b->guardian;
}

pid_t belay_process_server(const struct belay_process *b)
{
    long pid = find_number("/proc", is_server, (void *)b);
    return pid > 0 ? (pid_t)pid : 0;
}

static bool stopped(void *data)
{
    struct belay_process *b = data;
    return !process_alive(b->guardian) && find_number("/proc", works_in_folder, b) < 0;
}

static bool left_nothing(void *data)
{
    struct belay_process *b = data;
    return stopped(b) && !dir_exists(b->dir);
}

void belay_process_stopped(struct belay_process *b)
{
    ck_assert_msg(wait_until(stopped, b), "%s: guardian %d %s, process %ld works there", b->dir,
                  (int)b->guardian, process_alive(b->guardian) ? "lives" : "is gone",
                  find_number("/proc", works_in_folder, b));
}

void belay_process_left_nothing(struct belay_process *b)
{
    belay_process_stopped(b);
    ck_assert_msg(wait_until(left_nothing, b), "%s stays", b->dir);
}

void become_nobody(void)
{
    const struct passwd *p = geteuid() == 0 ? getpwnam("nobody") : NULL;
    if (p && (setgroups(0, NULL) < 0 || setgid(p->pw_gid) < 0 || setuid(p->pw_uid) < 0))
        _exit(90);
}

pid_t pooler_start(const char *dir)
{
    pid_t pool = fork();
    if (pool == 0) {
        become_nobody();
        prctl(PR_SET_PDEATHSIG, SIGTERM);
        if (chdir(dir) == 0)
            execlp("pgbouncer", "pgbouncer", "-q", "pgbouncer.ini", (char *)NULL);
        _exit(127);
    }
    return pool;
}
