#include "harness/base/proc.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness/base/cleanup.h"
#include "harness/base/file.h"
#include "harness/base/clock.h"

int proc_become(const struct proc_user *user)
{
    if (!user->change)
        return 0;
    if (setgroups(1, &user->gid) < 0 || setgid(user->gid) < 0)
        return -1;
    return setuid(user->uid);
}

static bool is_program(const char *path)
{
    struct stat st;
    return access(path, X_OK) == 0 && stat(path, &st) == 0 && S_ISREG(st.st_mode);
}

bool proc_can_run(const char *program)
{
    const char *path = getenv("PATH");
    bool found = strchr(program, '/') && is_program(program);
    for (const char *p = path ? path : ""; !strchr(program, '/') && *p && !found;) {
        size_t n = strcspn(p, ":");
        _cleanup_free_ char *dir = xstrndup(p, n), *file = path_join(dir, program);
        found = is_program(file);
        p += n + (p[n] == ':');
    }
    return found;
}

char **proc_environment(const char *const *additions)
{
    size_t have = 0, more = 0, n = 0;
    while (environ[have])
        have++;
    while (additions && additions[more])
        more++;
    char **env = xcalloc(have + more + 1, sizeof(*env));
    for (size_t i = 0; i < have; i++) {
        size_t name = strcspn(environ[i], "=");
        bool replaced = false;
        for (size_t k = 0; k < more; k++)
            replaced = replaced || (strncmp(additions[k], environ[i], name) == 0 &&
                                    (additions[k][name] == '=' || additions[k][name] == '\0'));
        if (!replaced)
            env[n++] = environ[i];
    }
    for (size_t k = 0; k < more; k++)
        if (strchr(additions[k], '='))
            env[n++] = (char *)additions[k];
    return env;
}

/* In the child. An errno written to report_fd tells the parent why there is no program. */
static void become_program(const struct proc_options *o, char **env, int out, int errors,
                           int report_fd)
{
    int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    signal(SIGPIPE, SIG_DFL);
    if (setpgid(0, 0) == 0 && null >= 0 && dup2(null, 0) >= 0 && dup2(out, 1) >= 0 &&
        dup2(errors, 2) >= 0 && proc_become(&o->user) == 0 && (!o->dir || chdir(o->dir) == 0) &&
        prctl(PR_SET_PDEATHSIG, SIGKILL) == 0)
        execvpe(o->argv[0], (char *const *)o->argv, env);
    int why = errno;
    if (write(report_fd, &why, sizeof(why)) < 0)
        _exit(126);
    _exit(127);
}

static void keep_end(struct str *s, size_t keep)
{
    if (!keep || s->len <= keep)
        return;
    memmove(s->p, s->p + s->len - keep, keep + 1);
    s->len = keep;
}

/* Reads what there is; closes the descriptor at its end. */
static void drain(struct pollfd *p, struct str *s, size_t keep)
{
    char buf[16384];
    ssize_t n = read(p->fd, buf, sizeof(buf));
    if (n > 0) {
        str_addn(s, buf, (size_t)n);
        /* in steps, so that long output is not moved with every read */
        if (s->len > 2 * keep + sizeof(buf))
            keep_end(s, keep);
    } else if (n == 0 || errno != EINTR) {
        close(p->fd);
        p->fd = -1;
    }
}

enum ending {
    ENDED,
    LATE,
    CANCELLED,
};

enum { OUT, ERRORS, CHILD, CANCEL, NFDS };

/* Until the child has ended and its output is read. What it left behind may hold the pipes open for
 * longer: that is not waited for. */
static enum ending wait_for(const struct proc_options *o, pid_t pid, struct pollfd *fds,
                            struct proc_result *r)
{
    enum ending ending = ENDED;
    bool gone = false;
    long long deadline = o->timeout_ms ? clock_ms() + o->timeout_ms : -1;
    while (!gone || fds[OUT].fd >= 0 || fds[ERRORS].fd >= 0) {
        long long left = deadline < 0 ? -1 : deadline - clock_ms();
        if (deadline >= 0 && left <= 0) {
            kill(-pid, SIGKILL);
            return ending == ENDED ? LATE : ending;
        }
        int n = poll(fds, NFDS, gone ? 0 : (int)left);
        if (n < 0)
            continue;
        if (gone && n == 0)
            break; /* somebody else holds a pipe */
        if (fds[OUT].fd >= 0 && fds[OUT].revents)
            drain(&fds[OUT], &r->output, o->keep);
        if (fds[ERRORS].fd >= 0 && fds[ERRORS].revents)
            drain(&fds[ERRORS], &r->errors, o->keep);
        if (fds[CHILD].revents) {
            gone = true;
            fds[CHILD].fd = -1;
            kill(-pid, SIGKILL); /* the group: the child is a zombie, so the id is still its own */
        }
        if (fds[CANCEL].revents && ending == ENDED) {
            ending = CANCELLED;
            fds[CANCEL].fd = -1;
            deadline = clock_ms() + 5000;
            kill(-pid, SIGTERM);
        }
    }
    return ending;
}

int proc_run(const struct proc_options *o, struct proc_result *ret, struct err *err)
{
    int pipes[3][2] = {{-1, -1}, {-1, -1}, {-1, -1}};
    for (int i = 0; i < 3; i++) {
        if (pipe2(pipes[i], O_CLOEXEC) == 0)
            continue;
        err_errno(err, "cannot run %s", o->argv[0]);
        for (int k = 0; k < i; k++) {
            close(pipes[k][0]);
            close(pipes[k][1]);
        }
        return -1;
    }
    _cleanup_free_ char **env = proc_environment(o->env);
    pid_t pid = fork();
    int why = errno;
    if (pid == 0)
        become_program(o, env, pipes[0][1], pipes[1][1], pipes[2][1]);
    if (pid > 0)
        setpgid(pid, pid); /* the child does it too: whoever comes first, the group is there now */
    for (int i = 0; i < 3; i++)
        close(pipes[i][1]);
    _cleanup_close_ int report_fd = pipes[2][0];
    _cleanup_close_ int child_fd = pid > 0 ? pidfd_open(pid, 0) : -1;
    if (pid > 0 && child_fd < 0) {
        why = errno;
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
    }
    struct pollfd fds[NFDS] = {
        [OUT] = {.fd = pipes[0][0], .events = POLLIN},
        [ERRORS] = {.fd = pipes[1][0], .events = POLLIN},
        [CHILD] = {.fd = child_fd, .events = POLLIN},
        [CANCEL] = {.fd = o->cancel_fd ? *o->cancel_fd : -1, .events = POLLIN},
    };
    struct proc_result r = {0};
    enum ending ending = child_fd >= 0 ? wait_for(o, pid, fds, &r) : ENDED;
    for (int i = 0; i <= ERRORS; i++)
        if (fds[i].fd >= 0)
            close(fds[i].fd);
    if (child_fd < 0) {
        errno = why;
        return err_errno(err, "cannot run %s", o->argv[0]);
    }
    int status = 0;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    bool started = read(report_fd, &why, sizeof(why)) != sizeof(why);
    if (!started || ending == CANCELLED || (ending == LATE && !o->late_is_result))
        proc_result_release(&r);
    if (!started) {
        errno = why;
        return err_errno(err, "cannot run %s", o->argv[0]);
    }
    if (ending == CANCELLED)
        return err_set(err, ERR_INTERRUPTED, "interrupted");
    if (ending == LATE && !o->late_is_result)
        return err_set(err, ERR_ENV, "%s did not end within %d s", o->argv[0],
                       o->timeout_ms / 1000);
    r.status = ending == LATE      ? PROC_LATE
               : WIFEXITED(status) ? WEXITSTATUS(status)
                                   : 128 + WTERMSIG(status);
    keep_end(&r.output, o->keep);
    keep_end(&r.errors, o->keep);
    *ret = r;
    return 0;
}

void proc_result_release(struct proc_result *r)
{
    str_release(&r->output);
    str_release(&r->errors);
}
