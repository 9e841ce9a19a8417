#include "harness/source/worker.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "harness/base/clock.h"
#include "harness/base/file.h"
#include "harness/base/str.h"

/* What the project prints is kept up to here, the end of it. */
#define MAX_OUTPUT (64 << 10)
/* How long a cancelled statement may take to stop, and a hung process to say where it hangs. */
#define GRACE_MS 2000

struct worker {
    pid_t pid;
    pid_t owner; /* the thread that started it, with which it dies */
    int pidfd; /* readable when the process has ended: a child of its own may keep the rest open */
    int channel; /* requests and answers */
    int printed; /* its stdout and stderr; -1 when closed */
    int cancel;  /* an eventfd that worker_cancel() writes to */
    int timeout_ms;
    bool broken;
    struct str input; /* received, not yet taken */
    struct str output;
    char *python;
};

/* ---- starting ---- */

/* The build folder's copy for a belay that runs from there, else where it was installed. */
static char *script_path(void)
{
    const char *set = getenv("BELAY_DATA_DIR");
    if (set && *set)
        return path_join(set, "worker.py");
    char exe[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", exe, sizeof(exe) - 1);
    if (n > 0) {
        exe[n] = '\0';
        _cleanup_free_ char *dir = path_dir(exe), *above = path_dir(dir);
        char *beside = path_join(above, "harness/worker.py");
        if (file_exists(beside))
            return beside;
        free(beside);
    }
    return xstrdup(BELAY_DATA_DIR "/worker.py");
}

/* In the child. An errno written to report tells the parent why there is no program. */
static void become_python(const char *dir, const char *const *argv, int channel, int printed,
                          int report)
{
    int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    signal(SIGPIPE, SIG_DFL);
    if (setpgid(0, 0) == 0 && null >= 0 && dup2(null, 0) >= 0 && dup2(printed, 1) >= 0 &&
        dup2(printed, 2) >= 0 && fcntl(channel, F_SETFD, 0) == 0 && chdir(dir) == 0 &&
        prctl(PR_SET_PDEATHSIG, SIGKILL) == 0)
        execvp(argv[0], (char *const *)argv);
    int why = errno;
    if (write(report, &why, sizeof(why)) < 0)
        _exit(126);
    _exit(127);
}

static int spawn(struct worker *w, const char *dir, const char *script, struct err *err)
{
    int channel[2], printed[2], report[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, channel) < 0)
        return err_errno(err, "cannot start %s", w->python);
    w->channel = channel[0];
    _cleanup_close_ int theirs = channel[1];
    if (pipe2(printed, O_CLOEXEC) < 0)
        return err_errno(err, "cannot start %s", w->python);
    w->printed = printed[0];
    _cleanup_close_ int their_output = printed[1];
    if (pipe2(report, O_CLOEXEC) < 0)
        return err_errno(err, "cannot start %s", w->python);
    _cleanup_close_ int report_read = report[0];
    w->cancel = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    fcntl(w->channel, F_SETFL, O_NONBLOCK);
    fcntl(w->printed, F_SETFL, O_NONBLOCK);
    char number[16];
    snprintf(number, sizeof(number), "%d", theirs);
    const char *const argv[] = {w->python, script, number, NULL};
    w->pid = w->cancel < 0 ? -1 : fork();
    if (w->pid == 0)
        become_python(dir, argv, theirs, their_output, report[1]);
    int why = errno;
    close(report[1]);
    if (w->pid < 0) {
        errno = why;
        return err_errno(err, "cannot start %s", w->python);
    }
    setpgid(w->pid, w->pid); /* both do it: whoever comes first */
    if (read(report_read, &why, sizeof(why)) == sizeof(why)) {
        errno = why;
        return err_errno(err, "cannot start %s", w->python);
    }
    w->pidfd = pidfd_open(w->pid, 0);
    return w->pidfd < 0 ? err_errno(err, "cannot watch %s", w->python) : 0;
}

static void kill_group(struct worker *w)
{
    if (w->pid > 0)
        kill(-w->pid, SIGKILL);
}

/* Waits for the end of the process, and takes along what it has forked. */
static void reap(struct worker *w, int *ret_status)
{
    int status = 0;
    siginfo_t info;
    while (w->pid > 0 && waitid(P_PID, (id_t)w->pid, &info, WEXITED | WNOWAIT) < 0 &&
           errno == EINTR)
        ;
    kill_group(w); /* while the dead process still holds the group's id */
    while (w->pid > 0 && waitpid(w->pid, &status, 0) < 0 && errno == EINTR)
        ;
    w->pid = -1;
    if (ret_status)
        *ret_status = status;
}

void worker_free(struct worker *w)
{
    if (!w)
        return;
    kill_group(w);
    reap(w, NULL);
    const int fds[] = {w->pidfd, w->channel, w->printed, w->cancel};
    for (size_t i = 0; i < ARRAY_LEN(fds); i++)
        if (fds[i] >= 0)
            close(fds[i]);
    str_release(&w->input);
    str_release(&w->output);
    free(w->python);
    free(w);
}

int worker_start(const struct worker_options *o, struct worker **ret, json_t **ret_hello,
                 struct err *err)
{
    _cleanup_(cleanup_worker_free) struct worker *w = xcalloc(1, sizeof(*w));
    w->pid = w->pidfd = w->channel = w->printed = w->cancel = -1;
    w->owner = gettid();
    w->timeout_ms = o->timeout_ms;
    w->python = xstrdup(o->python);
    _cleanup_free_ char *script = script_path();
    if (!file_exists(script)) {
        err_set(err, ERR_ENV, "%s is missing", script);
        return err_hint(err, "it belongs to belay: install it again, or set BELAY_DATA_DIR");
    }
    if (spawn(w, o->dir, script, err) < 0 || worker_call(w, NULL, 0, ret_hello, err) < 0) {
        err->code = err->code == ERR_INTERRUPTED ? err->code : ERR_ENV;
        return -1;
    }
    *ret = TAKE_PTR(w);
    return 0;
}

/* ---- what it prints ---- */

static void drain(struct worker *w)
{
    char buf[16384];
    ssize_t n;
    while (w->printed >= 0 && (n = read(w->printed, buf, sizeof(buf))) != 0) {
        if (n < 0)
            return;
        str_addn(&w->output, buf, (size_t)n);
        if (w->output.len > 2 * MAX_OUTPUT) {
            memmove(w->output.p, w->output.p + w->output.len - MAX_OUTPUT, MAX_OUTPUT + 1);
            w->output.len = MAX_OUTPUT;
        }
    }
    if (w->printed >= 0)
        close(TAKE_FD(w->printed));
}

/* ---- a call ---- */

static void receive(struct worker *w)
{
    char buf[65536];
    ssize_t n;
    while ((n = recv(w->channel, buf, sizeof(buf), 0)) > 0)
        str_addn(&w->input, buf, (size_t)n);
}

enum waited { WAITED_LINE, WAITED_ENDED, WAITED_LATE, WAITED_CANCELLED };

/* Serves all descriptors until a whole line has come, the process has ended, or time is up. */
static enum waited wait_for_line(struct worker *w, const char *out, size_t nout, int timeout_ms,
                                 bool cancellable)
{
    long long deadline = clock_ms() + timeout_ms;
    for (;;) {
        drain(w);
        receive(w);
        if (w->input.len && memchr(w->input.p, '\n', w->input.len))
            return WAITED_LINE;
        struct pollfd fds[] = {
            {.fd = w->channel, .events = (short)(POLLIN | (nout ? POLLOUT : 0))},
            {.fd = w->printed, .events = POLLIN},
            {.fd = w->pidfd, .events = POLLIN},
            {.fd = cancellable ? w->cancel : -1, .events = POLLIN},
        };
        long long left = timeout_ms < 0 ? -1 : deadline - clock_ms();
        if (timeout_ms >= 0 && left <= 0)
            return WAITED_LATE;
        if (poll(fds, ARRAY_LEN(fds), left > INT_MAX ? INT_MAX : (int)left) < 0)
            continue; /* a signal: whoever it was for has set what it had to */
        if (fds[3].revents)
            return WAITED_CANCELLED;
        if (nout && fds[0].revents & POLLOUT) {
            ssize_t n = send(w->channel, out, nout, MSG_NOSIGNAL);
            out += n > 0 ? n : 0;
            nout -= n > 0 ? (size_t)n : 0;
        }
        if (fds[2].revents) {
            receive(w); /* its last words */
            drain(w);
            return w->input.len && memchr(w->input.p, '\n', w->input.len) ? WAITED_LINE
                                                                          : WAITED_ENDED;
        }
        if (fds[0].revents & POLLHUP && !(fds[0].revents & POLLIN)) {
            /* it closed the channel and lives on: it is of no use */
            kill_group(w);
            return WAITED_ENDED;
        }
    }
}

/* The last lines of what it printed. */
static void add_output(struct worker *w, struct err *err)
{
    const char *text = str_get(&w->output);
    size_t len = w->output.len, lines = 0;
    while (len && text[len - 1] == '\n')
        len--;
    size_t start = len;
    while (start && lines < 30) {
        start--;
        lines += text[start] == '\n';
    }
    start += lines == 30;
    if (len == start)
        return;
    err->trace = xasprintf("it printed:\n%.*s", (int)(len - start), text + start);
}

static int ended(struct worker *w, struct err *err)
{
    int status = 0;
    reap(w, &status);
    if (WIFSIGNALED(status)) {
        int sig = WTERMSIG(status);
        /* SIGSEGV and the like are the project's own doing, these are somebody else's */
        bool others = sig == SIGKILL || sig == SIGTERM || sig == SIGHUP || sig == SIGINT;
        err_set(err, others ? ERR_ENV : ERR_SOURCE,
                "the project's Python process was killed by SIG%s (%s)",
                sigabbrev_np(sig) ? sigabbrev_np(sig) : "?", sigdescr_np(sig));
        if (sig == SIGKILL)
            err_hint(err, "the kernel does that when memory runs out: \"dmesg\" tells");
    } else {
        err_set(err, ERR_SOURCE, "the project's Python process ended by itself (exit status %d)",
                WEXITSTATUS(status));
    }
    add_output(w, err);
    return -1;
}

/* The innermost line of the stack that faulthandler dumped which is not of a library. */
static void add_place(const char *stack, struct err *err)
{
    _cleanup_free_ char *script = script_path();
    for (const char *p = stack; (p = strstr(p, "  File \"")); p++) {
        const char *name = p + strlen("  File \"");
        const char *end = strchr(name, '"');
        const char *newline = strchr(name, '\n');
        if (!end || !newline || end > newline)
            return;
        _cleanup_free_ char *file = xstrndup(name, (size_t)(end - name));
        if (strstr(file, "/lib/python") || strstr(file, "-packages/") || *file == '<' ||
            str_eq(file, script) || strstr(file, "/belay_worker_"))
            continue;
        err_at(err, file, atoi(end + strlen("\", line ")), 0);
        return;
    }
}

/* worker.py has told faulthandler to write the stack to stderr at SIGUSR1. */
static int hangs(struct worker *w, int timeout_ms, struct err *err)
{
    str_clear(&w->output);
    kill(w->pid, SIGUSR1);
    /* a process that is stuck in the kernel, or has another handler, says nothing */
    for (long long end = clock_ms() + GRACE_MS; clock_ms() < end && !w->output.len;) {
        struct pollfd p = {.fd = w->printed, .events = POLLIN};
        poll(&p, 1, (int)(end - clock_ms()));
        drain(w);
    }
    struct timespec rest = {.tv_nsec = 50000000}; /* the dump is several writes */
    nanosleep(&rest, NULL);
    drain(w);
    kill_group(w);
    reap(w, NULL);
    err_set(err, ERR_SOURCE, "the project's Python did not answer within %d s", timeout_ms / 1000);
    err_hint(err, "--timeout gives it more time");
    if (w->output.len)
        err->trace = xstrdup(str_get(&w->output));
    add_place(str_get(&w->output), err);
    return -1;
}

static int cancelled(struct worker *w, struct err *err)
{
    kill(w->pid, SIGTERM);
    wait_for_line(w, NULL, 0, GRACE_MS, false);
    kill_group(w);
    return err_set(err, ERR_INTERRUPTED, "interrupted");
}

int worker_call(struct worker *w, json_t *request, int timeout_ms, json_t **ret, struct err *err)
{
    _cleanup_free_ char *text = request ? json_dumps(request, JSON_COMPACT) : NULL;
    _cleanup_str_ struct str line = {0};
    json_decref(request);
    if (text)
        str_addf(&line, "%s\n", text);
    timeout_ms = timeout_ms ? timeout_ms : w->timeout_ms;
    drain(w);
    str_clear(&w->output);
    w->broken = true; /* unless it answers */
    switch (wait_for_line(w, str_get(&line), line.len, timeout_ms, true)) {
    case WAITED_ENDED:
        return ended(w, err);
    case WAITED_LATE:
        return hangs(w, timeout_ms, err);
    case WAITED_CANCELLED:
        return cancelled(w, err);
    case WAITED_LINE:
        break;
    }
    size_t len = strcspn(w->input.p, "\n");
    json_error_t why;
    json_t *answer = json_loadb(w->input.p, len, 0, &why);
    memmove(w->input.p, w->input.p + len + 1, w->input.len - len);
    w->input.len -= len + 1;
    if (!json_is_object(answer)) {
        json_decref(answer);
        return err_set(err, ERR_SOURCE, "the project's Python gave no readable answer: %s",
                       why.text);
    }
    w->broken = false;
    *ret = answer;
    return 0;
}

bool worker_usable(const struct worker *w)
{
    struct pollfd p = {.fd = w->pidfd, .events = POLLIN};
    bool stays = w->owner == getpid() || w->owner == gettid();
    return !w->broken && stays && poll(&p, 1, 0) == 0;
}

void worker_cancel(struct worker *w)
{
    int saved = errno;
    if (eventfd_write(w->cancel, 1) < 0) { /* full of requests: one is enough */
    }
    errno = saved;
}
