#include "harness/base/proc.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "harness/base/cleanup.h"

int proc_become(const struct proc_user *user)
{
    if (!user->change)
        return 0;
    if (setgroups(1, &user->gid) < 0 || setgid(user->gid) < 0)
        return -1;
    return setuid(user->uid);
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

static long long now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000LL + t.tv_nsec / 1000000;
}

/* Reads what there is; closes the descriptor at its end. */
static void drain(struct pollfd *p, struct str *s)
{
    char buf[16384];
    if (!p->revents)
        return;
    ssize_t n = read(p->fd, buf, sizeof(buf));
    if (n > 0) {
        str_addn(s, buf, (size_t)n);
    } else if (n == 0 || errno != EINTR) {
        close(p->fd);
        p->fd = -1;
    }
}

int proc_run(const struct proc_options *o, struct proc_result *ret, struct err *err)
{
    int out[2], errors[2], report[2];
    if (pipe2(out, O_CLOEXEC) < 0)
        return err_errno(err, "cannot run %s", o->argv[0]);
    if (pipe2(errors, O_CLOEXEC) < 0) {
        err_errno(err, "cannot run %s", o->argv[0]);
        close(out[0]);
        close(out[1]);
        return -1;
    }
    if (pipe2(report, O_CLOEXEC) < 0) {
        err_errno(err, "cannot run %s", o->argv[0]);
        close(out[0]);
        close(out[1]);
        close(errors[0]);
        close(errors[1]);
        return -1;
    }
    _cleanup_free_ char **env = proc_environment(o->env);
    pid_t pid = fork();
    int fork_errno = errno;
    if (pid == 0)
        become_program(o, env, out[1], errors[1], report[1]);
    close(out[1]);
    close(errors[1]);
    close(report[1]);
    _cleanup_close_ int report_fd = report[0];
    struct pollfd fds[2] = {{.fd = out[0], .events = POLLIN}, {.fd = errors[0], .events = POLLIN}};
    struct proc_result r = {0};
    bool late = false;
    long long deadline = now_ms() + o->timeout_ms;
    while (pid > 0 && (fds[0].fd >= 0 || fds[1].fd >= 0)) {
        long long left = o->timeout_ms ? deadline - now_ms() : -1;
        if (o->timeout_ms && left <= 0) {
            late = true;
            kill(-pid, SIGKILL);
            break;
        }
        if (poll(fds, 2, (int)left) > 0) {
            drain(&fds[0], &r.output);
            drain(&fds[1], &r.errors);
        }
    }
    for (int i = 0; i < 2; i++)
        if (fds[i].fd >= 0)
            close(fds[i].fd);
    if (pid < 0) {
        errno = fork_errno;
        return err_errno(err, "cannot run %s", o->argv[0]);
    }
    int status = 0, why;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    if (read(report_fd, &why, sizeof(why)) == sizeof(why)) {
        proc_result_release(&r);
        errno = why;
        return err_errno(err, "cannot run %s", o->argv[0]);
    }
    if (late) {
        proc_result_release(&r);
        return err_set(err, ERR_ENV, "%s did not end within %d s", o->argv[0],
                       o->timeout_ms / 1000);
    }
    r.status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    *ret = r;
    return 0;
}

void proc_result_release(struct proc_result *r)
{
    str_release(&r->output);
    str_release(&r->errors);
}
