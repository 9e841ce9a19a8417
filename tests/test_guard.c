/* Guarded folders: gone with their owner however it ends, and swept only when they are ours. */
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness/base/cleanup.h"
#include "harness/base/file.h"
#include "harness/engine/guard.h"
#include "tests/belay_process.h"
#include "tests/migration_folder.h"
#include "tests/suite.h"

/* A folder that everybody may write to, to make guarded folders in, and a program in it that
 * behaves as a server does: it works in its data folder and says so in postmaster.pid. */
static char parent[] = "/tmp/belay-test-XXXXXX";
static char *server;
static const char *const parents[] = {parent, NULL};

static void set_up(void)
{
    static const char script[] =
        "#!/bin/sh\ncd \"$2\" && echo $$ > postmaster.pid && exec sleep 600\n";
    strcpy(parent + strlen(parent) - 6, "XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(parent));
    ck_assert_int_eq(chmod(parent, 01777), 0);
    server = path_join(parent, "server");
    folder_write(parent, "server", script, strlen(script));
    ck_assert_int_eq(chmod(server, 0755), 0);
}

static void tear_down(void)
{
    struct err err = {0};
    ck_assert_int_eq(tree_remove(parent, &err), 0);
    free(server);
}

/* How many guarded folders are there. */
static int count_folders(void)
{
    _cleanup_free_ char *command = xasprintf("ls -d %s/belay.* 2>/dev/null | wc -l", parent);
    FILE *f = popen(command, "re");
    int n = -1;
    ck_assert_int_eq(fscanf(f, "%d", &n), 1);
    pclose(f);
    return n;
}

static struct guard *open_guard(const char *program)
{
    _cleanup_err_ struct err err = {0};
    struct guard *g;
    struct guard_options o = {.parents = parents, .server = program};
    if (guard_open(&o, &g, &err) < 0)
        ck_abort_msg("%s", err.message);
    return g;
}

static void start_server(struct guard *g)
{
    _cleanup_err_ struct err err = {0};
    _cleanup_free_ char *data = path_join(guard_dir(g), "data");
    ck_assert_int_eq(mkdir(data, 0700), 0);
    ck_assert_int_eq(guard_start(g, &err), 0);
}

enum { WITH_SERVER = 1, AS_NOBODY = 2, FEW_DESCRIPTORS = 4, ALL = 8 };

static bool server_serves(void *data)
{
    struct belay_process *b = data;
    _cleanup_free_ char *file = path_join(b->dir, "data/postmaster.pid");
    return file_exists(file) && belay_process_server(b) > 0;
}

/* A process that opens a guard and waits to be killed. */
static struct belay_process start_victim(int how)
{
    struct belay_process b = {.pid = fork()};
    if (b.pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (how & AS_NOBODY)
            become_nobody();
        if (how & FEW_DESCRIPTORS)
            setrlimit(RLIMIT_NOFILE, &(struct rlimit){64, 64});
        struct guard *g = open_guard(how & WITH_SERVER ? server : NULL);
        if (how & WITH_SERVER)
            start_server(g);
        for (;;)
            pause();
    }
    ck_assert(belay_process_find(&b));
    if (how & WITH_SERVER)
        ck_assert(wait_until(server_serves, &b));
    return b;
}

START_TEST(a_folder_goes_when_its_guard_is_closed)
{
    struct guard *g = open_guard(server);
    _cleanup_free_ char *dir = xstrdup(guard_dir(g));
    struct stat st;
    ck_assert_int_eq(stat(dir, &st), 0);
    ck_assert_int_eq(st.st_mode & 0777, 0700);
    ck_assert_str_eq(guard_parent(g), parent);
    start_server(g);
    folder_write(dir, "a/b", "x", 1);
    guard_close(g);
    ck_assert_int_eq(count_folders(), 0);
}
END_TEST

START_TEST(killed_owner_leaves_nothing)
{
    struct belay_process b = start_victim(_i);
    kill(b.pid, SIGKILL);
    ck_assert_int_eq(waitpid(b.pid, NULL, 0), b.pid);
    belay_process_left_nothing(&b);
}
END_TEST

START_TEST(killed_with_its_guardian_the_kernel_stops_the_server_and_a_sweep_clears)
{
    struct belay_process b = start_victim(_i | WITH_SERVER);
    kill(b.guardian, SIGSTOP); /* it must not be quicker than we are */
    kill(b.pid, SIGKILL);
    ck_assert_int_eq(waitpid(b.pid, NULL, 0), b.pid);
    kill(b.guardian, SIGKILL);
    belay_process_stopped(&b);
    ck_assert(dir_exists(b.dir));
    if (_i & AS_NOBODY && geteuid() == 0) { /* a folder of another user's is not root's to sweep */
        guard_sweep(parents);
        ck_assert(dir_exists(b.dir));
    }
    pid_t sweeper = fork();
    if (sweeper == 0) {
        if (_i & AS_NOBODY)
            become_nobody();
        guard_sweep(parents);
        _exit(0);
    }
    ck_assert_int_eq(waitpid(sweeper, NULL, 0), sweeper);
    ck_assert(!dir_exists(b.dir));
}
END_TEST

START_TEST(a_sweep_stops_a_server_that_nobody_owns)
{
    /* as when the kernel's signal was lost: a server of ours without guardian */
    _cleanup_free_ char *dir = path_join(parent, "belay.00000001");
    ck_assert_int_eq(mkdir(dir, 01700), 0);
    _cleanup_free_ char *data = path_join(dir, "data");
    ck_assert_int_eq(mkdir(data, 0700), 0);
    pid_t pid = fork();
    if (pid == 0) {
        signal(SIGQUIT, SIG_DFL); /* a job in the background of a script ignores it */
        execl(server, server, "-D", data, (char *)NULL);
        _exit(91);
    }
    struct belay_process b = {.pid = pid, .guardian = getpid()};
    snprintf(b.dir, sizeof(b.dir), "%s", dir);
    ck_assert(wait_until(server_serves, &b));
    /* seen through a symbolic link too */
    char link[] = "/tmp/belay-test-link-XXXXXX";
    ck_assert_int_ge(close(mkstemp(link)), 0);
    unlink(link);
    ck_assert_int_eq(symlink(parent, link), 0);
    guard_sweep((const char *const[]){link, NULL});
    unlink(link);
    int status;
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGQUIT);
    ck_assert(!dir_exists(dir));
}
END_TEST

START_TEST(a_process_id_that_is_somebody_elses_is_left_alone)
{
    pid_t pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        for (;;)
            pause();
    }
    _cleanup_free_ char *dir = path_join(parent, "belay.00000002");
    ck_assert_int_eq(mkdir(dir, 01700), 0);
    _cleanup_free_ char *text = xasprintf("%d\n", (int)pid);
    folder_write(dir, "data/postmaster.pid", text, strlen(text));
    guard_sweep(parents);
    ck_assert(!dir_exists(dir));
    ck_assert_int_eq(waitpid(pid, NULL, WNOHANG), 0);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
}
END_TEST

START_TEST(a_sweep_takes_nothing_that_is_not_ours)
{
    struct guard *live = open_guard(NULL);
    folder_write(parent, "belay.master/README", "x", 1);
    folder_write(parent, "belay.00000003", "a file", 6);
    folder_write(parent, "outside/file", "x", 1);
    _cleanup_free_ char *link = path_join(parent, "belay.00000004");
    _cleanup_free_ char *outside = path_join(parent, "outside");
    ck_assert_int_eq(symlink(outside, link), 0);
    ck_assert_int_eq(chmod(outside, 01700), 0);
    /* ours, with links to what is not */
    _cleanup_free_ char *dead = path_join(parent, "belay.00000005");
    _cleanup_free_ char *inner = path_join(dead, "link");
    ck_assert_int_eq(mkdir(dead, 01700), 0);
    ck_assert_int_eq(symlink(outside, inner), 0);

    guard_sweep(parents);

    static const char *const stay[] = {"belay.master/README", "belay.00000003", "belay.00000004",
                                       "outside/file"};
    for (size_t i = 0; i < ARRAY_LEN(stay); i++) {
        _cleanup_free_ char *path = path_join(parent, stay[i]);
        ck_assert_msg(access(path, F_OK) == 0, "%s is gone", stay[i]);
    }
    ck_assert(dir_exists(guard_dir(live)));
    ck_assert(!dir_exists(dead));
    guard_close(live);
}
END_TEST

START_TEST(closing_clears_although_the_guardian_was_killed)
{
    struct guard *g = open_guard(server);
    start_server(g);
    struct belay_process b = {.pid = getpid(), .guardian = guard_pid(g)};
    snprintf(b.dir, sizeof(b.dir), "%s", guard_dir(g));
    ck_assert(wait_until(server_serves, &b));
    kill(b.guardian, SIGKILL);
    ck_assert(guard_server_ended(g, 30000));
    guard_close(g);
    belay_process_left_nothing(&b);
}
END_TEST

START_TEST(a_detached_guard_stays_until_its_guardian_is_told)
{
    struct guard *g = open_guard(server);
    start_server(g);
    struct belay_process b = {.pid = getpid(), .guardian = guard_pid(g)};
    snprintf(b.dir, sizeof(b.dir), "%s", guard_dir(g));
    ck_assert(wait_until(server_serves, &b));
    ck_assert_int_eq(guard_detach(g), b.guardian);
    guard_sweep(parents);
    ck_assert(dir_exists(b.dir));
    ck_assert(belay_process_server(&b) > 0);
    kill(b.guardian, SIGTERM);
    ck_assert_int_eq(waitpid(b.guardian, NULL, 0), b.guardian);
    belay_process_left_nothing(&b);
}
END_TEST

START_TEST(the_guardian_keeps_no_descriptor_of_its_owner)
{
    int fds[2];
    char byte;
    ck_assert_int_eq(pipe(fds), 0); /* inherited by whoever does not take care */
    struct guard *g = open_guard(NULL);
    close(fds[1]);
    struct pollfd p = {.fd = fds[0], .events = POLLIN};
    ck_assert_int_eq(poll(&p, 1, 30000), 1);
    ck_assert_int_eq(read(fds[0], &byte, 1), 0);
    guard_close(g);
}
END_TEST

START_TEST(a_server_that_ends_is_noticed)
{
    static const char script[] = "#!/bin/sh\necho no luck >&2; exit 1\n";
    folder_write(parent, "failing", script, strlen(script));
    _cleanup_free_ char *failing = path_join(parent, "failing"), *log = NULL;
    ck_assert_int_eq(chmod(failing, 0755), 0);
    struct guard *g = open_guard(failing);
    start_server(g);
    ck_assert(guard_server_ended(g, 30000));
    _cleanup_err_ struct err err = {0};
    _cleanup_free_ char *path = path_join(guard_dir(g), "run/log");
    ck_assert_int_eq(file_read(path, &log, NULL, &err), 0);
    ck_assert_str_eq(log, "no luck\n");
    guard_close(g);
}
END_TEST

START_TEST(the_first_folder_that_can_be_used_is_taken)
{
    _cleanup_err_ struct err err = {0};
    struct guard *g = NULL;
    /* a socket below this one has no name that fits */
    _cleanup_free_ char *deep = path_join(parent, "a-folder-that-is-so-deep-that-a-socket-in-it-has"
                                                  "-a-path-longer-than-the-kernel-takes");
    ck_assert_int_eq(mkdir(deep, 0700), 0);
    const char *const list[] = {"/nonexistent", deep, parent, NULL};
    struct guard_options o = {.parents = list, .server = server};
    ck_assert_int_eq(guard_open(&o, &g, &err), 0);
    ck_assert(!err_is_set(&err));
    ck_assert_str_eq(guard_parent(g), parent);
    guard_close(g);

    o.server = NULL; /* without a socket it will do */
    ck_assert_int_eq(guard_open(&o, &g, &err), 0);
    ck_assert_str_eq(guard_parent(g), deep);
    guard_close(g);

    o.parents = (const char *const[]){"/nonexistent", "/proc", NULL};
    ck_assert_int_eq(guard_open(&o, &g, &err), -1);
    ck_assert_int_eq(err.code, ERR_ENV);
    ck_assert_ptr_nonnull(strstr(err.message, "cannot make a folder in /proc"));
}
END_TEST

START_TEST(many_may_open_and_sweep_at_once)
{
    pid_t pids[6];
    for (size_t i = 0; i < ARRAY_LEN(pids); i++) {
        pids[i] = fork();
        if (pids[i] != 0)
            continue;
        for (int k = 0; k < 20; k++) {
            _cleanup_err_ struct err err = {0};
            struct guard *g;
            if (guard_open(&(struct guard_options){.parents = parents}, &g, &err) < 0)
                _exit(1);
            if (!dir_exists(guard_dir(g)))
                _exit(2);
            guard_close(g);
        }
        _exit(0);
    }
    for (size_t i = 0; i < ARRAY_LEN(pids); i++) {
        int status;
        ck_assert_int_eq(waitpid(pids[i], &status, 0), pids[i]);
        ck_assert_int_eq(status, 0);
    }
    ck_assert_int_eq(count_folders(), 0);
}
END_TEST

START_TEST(a_forked_child_only_forgets)
{
    struct guard *g = open_guard(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        guard_close(g);
        _exit(0);
    }
    ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
    ck_assert(dir_exists(guard_dir(g)));
    ck_assert(process_alive(guard_pid(g)));
    guard_close(g);
    ck_assert_int_eq(count_folders(), 0);
}
END_TEST

static void add(Suite *s, const char *name, const TTest *test, int n)
{
    TCase *c = tcase_create(name);
    tcase_set_timeout(c, 0);
    tcase_add_checked_fixture(c, set_up, tear_down);
    tcase_add_loop_test(c, test, 0, n);
    suite_add_tcase(s, c);
}
#define ADD(s, test, n) add(s, #test, test, n)

int main(void)
{
    Suite *s = suite_create("guard");
    ADD(s, a_folder_goes_when_its_guard_is_closed, 1);
    ADD(s, killed_owner_leaves_nothing, ALL);
    ADD(s, killed_with_its_guardian_the_kernel_stops_the_server_and_a_sweep_clears, ALL);
    ADD(s, a_sweep_stops_a_server_that_nobody_owns, 1);
    ADD(s, a_process_id_that_is_somebody_elses_is_left_alone, 1);
    ADD(s, a_sweep_takes_nothing_that_is_not_ours, 1);
    ADD(s, closing_clears_although_the_guardian_was_killed, 1);
    ADD(s, a_detached_guard_stays_until_its_guardian_is_told, 1);
    ADD(s, the_guardian_keeps_no_descriptor_of_its_owner, 1);
    ADD(s, a_server_that_ends_is_noticed, 1);
    ADD(s, the_first_folder_that_can_be_used_is_taken, 1);
    ADD(s, many_may_open_and_sweep_at_once, 1);
    ADD(s, a_forked_child_only_forgets, 1);
    return suite_run(s);
}
