#include "harness/engine/guard.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/shm.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "harness/base/cleanup.h"
#include "harness/base/file.h"
#include "harness/base/str.h"

#define PREFIX "belay."
/* The sticky bit, on the folder from its first moment on: it marks the folder as ours. Nobody makes
 * a private folder with it by hand, and a name such as /tmp/belay.master may well be somebody's. */
#define MARK S_ISVTX
/* How long a server may take to end after SIGQUIT before it is killed. */
#define STOP_MS 10000

struct guard {
    char *parent, *dir, *server;
    struct proc_user user;
    pid_t owner; /* the process that opened it */
    pid_t guardian;
    int lock;    /* the folder, with an flock on it that the guardian shares */
    int control; /* one byte commands to the guardian; its end of file means that belay is gone */
};

const char *guard_dir(const struct guard *g)
{
    return g->dir;
}

const char *guard_parent(const struct guard *g)
{
    return g->parent;
}

pid_t guard_pid(const struct guard *g)
{
    return g->guardian;
}

static void sleep_ms(long ms)
{
    nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000}, NULL);
}

/* ---- ending a server and its folder ---- */

struct postmaster {
    pid_t pid;
    unsigned long shm_key;
    int shm_id;
};

/* What the server says of itself in postmaster.pid: line 1 the process, line 7 the System V
 * segment. */
static bool read_postmaster(const char *dir, struct postmaster *ret)
{
    char path[4096], line[256];
    snprintf(path, sizeof(path), "%s/data/postmaster.pid", dir);
    _cleanup_fclose_ FILE *f = fopen(path, "re");
    *ret = (struct postmaster){.shm_id = -1};
    for (int i = 1; f && fgets(line, sizeof(line), f); i++) {
        if (i == 1)
            ret->pid = (pid_t)atoi(line);
        if (i == 7 && sscanf(line, "%lu %d", &ret->shm_key, &ret->shm_id) != 2)
            ret->shm_id = -1;
    }
    return ret->pid > 0;
}

/* A process id from a file may meanwhile be somebody else's: a server works inside its data folder.
 */
static bool serves(pid_t pid, const char *dir)
{
    char link[64], data[4096];
    struct stat a, b;
    snprintf(link, sizeof(link), "/proc/%d/cwd", (int)pid);
    snprintf(data, sizeof(data), "%s/data", dir);
    return stat(link, &a) == 0 && stat(data, &b) == 0 && a.st_dev == b.st_dev &&
           a.st_ino == b.st_ino;
}

/* A killed server leaves its segment behind; one that others still use is left alone. */
static void remove_segment(const struct postmaster *p)
{
    struct shmid_ds ds;
    if (p->shm_id >= 0 && shmctl(p->shm_id, IPC_STAT, &ds) == 0 &&
        (unsigned long)(unsigned int)ds.shm_perm.__key == p->shm_key && ds.shm_nattch == 0)
        shmctl(p->shm_id, IPC_RMID, NULL);
}

static void remove_folder(const char *dir)
{
    struct err e = {0};
    /* the processes of a killed server end one by one, and may still write */
    for (int i = 0; i < 100 && tree_remove(dir, &e) < 0; i++)
        sleep_ms(20);
    err_release(&e);
}

/* For a server that is nobody's child any more. */
static void stop_orphan(const char *dir)
{
    struct postmaster p;
    if (!read_postmaster(dir, &p))
        return;
    if (serves(p.pid, dir)) {
        kill(p.pid, SIGQUIT);
        for (int i = 0; i < STOP_MS / 10 && serves(p.pid, dir); i++)
            sleep_ms(10);
        if (serves(p.pid, dir))
            kill(p.pid, SIGKILL);
        for (int i = 0; i < 100 && serves(p.pid, dir); i++)
            sleep_ms(10);
    }
    remove_segment(&p);
}

/* ---- the guardian ---- */

static void start_server(const struct guard *g, pid_t *ret)
{
    char data[4096], log[4096];
    snprintf(data, sizeof(data), "%s/data", g->dir);
    snprintf(log, sizeof(log), "%s/run/log", g->dir);
    char *const argv[] = {g->server, (char *)"-D", data, NULL};
    char *const env[] = {(char *)"PATH=/usr/bin:/bin", (char *)"LC_ALL=C", NULL};
    pid_t guardian_pid = getpid();
    *ret = fork();
    if (*ret != 0)
        return;
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    for (int i = 1; i < NSIG; i++)
        signal(i, SIG_DFL);
    setsid();
    if (proc_become(&g->user) < 0 || prctl(PR_SET_PDEATHSIG, SIGQUIT) < 0 ||
        getppid() != guardian_pid) /* dead already: then no signal comes */
        _exit(126);
    int fd = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);
    if (fd >= 0) {
        dup2(fd, 1);
        dup2(fd, 2);
    }
    /* the server inherits the lock and the socket only until exec */
    execve(g->server, argv, env);
    dprintf(2, "cannot run %s: %s\n", g->server, strerror(errno));
    _exit(127);
}

/* Waits up to ms for a signal, and reaps the server; true once it has ended. */
static bool reap(int signals, pid_t server, int ms)
{
    struct pollfd p = {.fd = signals, .events = POLLIN};
    struct signalfd_siginfo info;
    if (server <= 0 || waitpid(server, NULL, WNOHANG) == server)
        return true;
    if (poll(&p, 1, ms) > 0 && read(signals, &info, sizeof(info)) < 0)
        return false;
    return waitpid(server, NULL, WNOHANG) == server;
}

static void stop_server(const struct guard *g, int signals, pid_t server)
{
    struct postmaster p;
    bool known = read_postmaster(g->dir, &p);
    kill(server, SIGQUIT);
    bool ended = false;
    for (int i = 0; i < STOP_MS / 100 && !ended; i++)
        ended = reap(signals, server, 100);
    if (!ended) {
        kill(server, SIGKILL);
        waitpid(server, NULL, 0);
    }
    if (known)
        remove_segment(&p);
}

/* Descriptors of belay's must not live on in here: a shell that reads belay's output waits for them
 * all to close. */
static void drop_descriptors(int *control, int *lock)
{
    int null = open("/dev/null", O_RDWR);
    for (int i = 0; i < 3; i++)
        dup2(null, i);
    /* out of the way first: either may be 3 or 4 */
    int c = fcntl(*control, F_DUPFD_CLOEXEC, 5), l = fcntl(*lock, F_DUPFD_CLOEXEC, 5);
    *control = dup3(c, 3, O_CLOEXEC);
    *lock = dup3(l, 4, O_CLOEXEC);
    if (*control < 0 || *lock < 0)
        _exit(1);
    closefrom(5);
}

static void guardian(struct guard *g, int control, int lock)
{
    pid_t server = 0;
    bool attached = true, stop = false;
    sigset_t wanted, all;

    setsid(); /* away from the terminal's signals */
    prctl(PR_SET_NAME, "belay-guardian");
    drop_descriptors(&control, &lock);
    if (chdir("/") < 0)
        _exit(1);
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, NULL);
    signal(SIGCHLD, SIG_DFL);
    sigemptyset(&wanted);
    sigaddset(&wanted, SIGTERM);
    sigaddset(&wanted, SIGCHLD);
    int signals = signalfd(-1, &wanted, SFD_CLOEXEC);
    while (!stop) {
        struct pollfd fds[2] = {{.fd = signals, .events = POLLIN},
                                {.fd = attached ? control : -1, .events = POLLIN}};
        if (poll(fds, 2, -1) < 0)
            continue;
        if (fds[0].revents) {
            struct signalfd_siginfo info;
            if (read(signals, &info, sizeof(info)) == sizeof(info))
                stop = info.ssi_signo == SIGTERM;
            if (server > 0 && waitpid(server, NULL, WNOHANG) == server) {
                server = 0;
                stop = stop || !attached;
                send(control, "x", 1, MSG_NOSIGNAL | MSG_DONTWAIT);
            }
        }
        if (fds[1].revents) {
            char command;
            ssize_t n = read(control, &command, 1);
            if (n <= 0)
                stop = true;
            else if (command == 's')
                start_server(g, &server);
            else if (command == 'k')
                attached = false;
        }
    }
    if (server > 0)
        stop_server(g, signals, server);
    remove_folder(g->dir);
    _exit(0);
}

/* ---- making and sweeping folders ---- */

#define MAX_PARENTS 8

/* The folders to use, in order of preference; count. */
static size_t list_parents(const char *const *given, const char *list[MAX_PARENTS])
{
    size_t n = 0;
    const char *tmp = getenv("TMPDIR");
    const char *usual[] = {"/dev/shm", tmp && tmp[0] == '/' ? tmp : NULL, "/tmp"};
    for (size_t i = 0; given && given[i] && n < MAX_PARENTS; i++)
        list[n++] = given[i];
    for (size_t i = 0; !given && i < ARRAY_LEN(usual); i++)
        if (usual[i])
            list[n++] = usual[i];
    return n;
}

static void sweep_folder(const char *dir)
{
    _cleanup_close_ int fd = open(dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0 || st.st_uid != geteuid() || !(st.st_mode & MARK))
        return;
    if (flock(fd, LOCK_EX | LOCK_NB) < 0)
        return; /* its belay or its guardian is alive */
    stop_orphan(dir);
    remove_folder(dir);
}

void guard_sweep(const char *const *parents)
{
    const char *list[MAX_PARENTS];
    size_t n = list_parents(parents, list);
    for (size_t i = 0; i < n; i++) {
        DIR *d = opendir(list[i]);
        struct dirent *e;
        while (d && (e = readdir(d))) {
            if (!str_starts(e->d_name, PREFIX))
                continue;
            _cleanup_free_ char *path = path_join(list[i], e->d_name);
            sweep_folder(path);
        }
        if (d)
            closedir(d);
    }
}

/* tmpfs must have the room; a disk is taken as it is. */
static bool has_room(const char *parent, unsigned long long room)
{
    struct statfs fs;
    if (statfs(parent, &fs) < 0)
        return true; /* making the folder will say what is wrong */
    bool memory = fs.f_type == TMPFS_MAGIC;
    return !memory || (unsigned long long)fs.f_bavail * (unsigned long long)fs.f_bsize >= room;
}

/* A folder with our mark and our lock on it. */
static int make_folder(struct guard *g, const char *parent, struct err *err)
{
    for (;;) {
        uint32_t number;
        if (getrandom(&number, sizeof(number), 0) != sizeof(number))
            return err_errno(err, "no random numbers");
        _cleanup_free_ char *dir = xasprintf("%s/" PREFIX "%08x", parent, number);
        if (mkdir(dir, MARK | 0700) < 0) {
            if (errno == EEXIST)
                continue;
            return err_errno(err, "cannot make a folder in %s", parent);
        }
        _cleanup_close_ int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        struct stat st;
        if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0 && stat(dir, &st) == 0) {
            g->dir = TAKE_PTR(dir);
            g->parent = xstrdup(parent);
            g->lock = TAKE_FD(fd);
            return 0;
        }
        /* until it is locked a sweep may take it for a dead one: then make another */
        if (errno != ENOENT && errno != EWOULDBLOCK) {
            err_errno(err, "cannot lock the folder %s", dir);
            rmdir(dir);
            return -1;
        }
    }
}

/* The folder stays belay's own, so that nobody else can put links into it; the server gets a folder
 * inside, and the right to pass. */
static int make_run_folder(struct guard *g, struct err *err)
{
    _cleanup_free_ char *run = path_join(g->dir, "run");
    if (mkdir(run, 0700) < 0)
        return err_errno(err, "cannot create folder %s", run);
    if (!g->user.change)
        return 0;
    if (chown(run, g->user.uid, g->user.gid) < 0 || chown(g->dir, (uid_t)-1, g->user.gid) < 0 ||
        chmod(g->dir, MARK | 0710) < 0)
        return err_errno(err, "cannot hand %s to the server's user", run);
    return 0;
}

static void forget(struct guard *g)
{
    if (g->lock >= 0)
        close(g->lock);
    if (g->control >= 0)
        close(g->control);
    free(g->parent);
    free(g->dir);
    free(g->server);
    free(g);
}

static int open_in(const struct guard_options *o, const char *parent, struct guard **ret,
                   struct err *err)
{
    struct guard *g = xcalloc(1, sizeof(*g));
    g->lock = g->control = -1;
    g->owner = getpid();
    g->server = xstrdup(o->server);
    g->user = o->user;
    if (make_folder(g, parent, err) < 0) {
        forget(g);
        return -1;
    }
    int pair[2];
    if (make_run_folder(g, err) < 0 ||
        socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0) {
        if (!err_is_set(err))
            err_errno(err, "cannot make a socket");
        remove_folder(g->dir);
        forget(g);
        return -1;
    }
    g->control = pair[0];
    g->guardian = fork();
    if (g->guardian == 0) {
        close(pair[0]);
        guardian(g, pair[1], g->lock);
    }
    close(pair[1]);
    if (g->guardian < 0) {
        err_errno(err, "cannot start a process");
        remove_folder(g->dir);
        forget(g);
        return -1;
    }
    *ret = g;
    return 0;
}

/* A path that the server's socket cannot have, being too long, would fail only when it starts. */
static bool socket_fits(const char *parent)
{
    static const char below[] = "/" PREFIX "12345678/run/.s.PGSQL.5432";
    return strlen(parent) + sizeof(below) <= sizeof(((struct sockaddr_un *)0)->sun_path);
}

int guard_open(const struct guard_options *o, struct guard **ret, struct err *err)
{
    const char *list[MAX_PARENTS];
    size_t n = list_parents(o->parents, list);
    guard_sweep(o->parents);
    for (size_t i = 0; i < n; i++) {
        if (i + 1 < n && (!has_room(list[i], o->room) || (o->server && !socket_fits(list[i]))))
            continue;
        err_release(err);
        if (open_in(o, list[i], ret, err) == 0)
            return 0;
    }
    return -1;
}

int guard_start(struct guard *g, struct err *err)
{
    if (send(g->control, "s", 1, MSG_NOSIGNAL) != 1)
        return err_errno(err, "the guardian process is gone");
    return 0;
}

bool guard_server_ended(struct guard *g, int timeout_ms)
{
    struct pollfd p = {.fd = g->control, .events = POLLIN};
    return poll(&p, 1, timeout_ms) > 0;
}

void guard_close(struct guard *g)
{
    if (!g)
        return;
    pid_t guardian_pid = getpid() == g->owner ? g->guardian : 0;
    if (guardian_pid) {
        /* shutdown, not close: a forked child of belay's may still hold a copy of the socket */
        shutdown(g->control, SHUT_RDWR);
        while (waitpid(guardian_pid, NULL, 0) < 0 && errno == EINTR)
            ;
        stop_orphan(g->dir); /* both find nothing to do unless somebody killed the guardian */
        remove_folder(g->dir);
    }
    forget(g);
}

pid_t guard_detach(struct guard *g)
{
    pid_t pid = g->guardian;
    send(g->control, "k", 1, MSG_NOSIGNAL);
    forget(g);
    return pid;
}
