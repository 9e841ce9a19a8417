#include "tests/own_server.h"

#include <fcntl.h>
#include <pwd.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness/base/file.h"
#include "harness/base/proc.h"
#include "tests/belay_process.h"
#include "tests/bundle_fixture.h"

static void initdb(const char *bindir, const char *data)
{
    _cleanup_free_ char *program = path_join(bindir, "initdb");
    pid_t pid = fork();
    if (pid == 0) {
        become_nobody();
        if (dup2(open("/dev/null", O_WRONLY), STDOUT_FILENO) >= 0)
            execl(program, program, "-D", data, "-U", "postgres", "-A", "trust", "--no-sync",
                  "--locale=C.UTF-8", "--encoding=UTF8", (char *)NULL);
        _exit(127);
    }
    int status;
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_int_eq(status, 0);
}

void own_server_start(struct own_server *s)
{
    _cleanup_err_ struct err err = {0};
    _cleanup_free_ char *bindir = NULL, *version = NULL;
    *s = (struct own_server){.dir = dir_new()};
    ASSERT_OK(postgres_find_server(&bindir, &version, &err), &err);
    const struct passwd *p = getpwnam("nobody");
    if (geteuid() == 0)
        ck_assert_int_eq(chown(s->dir, p->pw_uid, p->pw_gid), 0);
    _cleanup_free_ char *data = path_join(s->dir, "data");
    initdb(bindir, data);
    s->program = path_join(bindir, "postgres");
    s->url = xasprintf("postgresql://postgres@/postgres?host=%s", s->dir);
    own_server_up(s);
}

static bool answers(void *data)
{
    const struct own_server *s = data;
    _cleanup_err_ struct err ignored = {0};
    _cleanup_db_ struct db *db = NULL;
    return db_open(&engine_postgres, s->url, DB_OPEN_DEFAULT, &db, &ignored) == 0;
}

void own_server_up(struct own_server *s)
{
    _cleanup_free_ char *data = path_join(s->dir, "data"), *log = path_join(s->dir, "log");
    s->pid = fork();
    ck_assert_int_ge(s->pid, 0);
    if (s->pid == 0) {
        become_nobody();
        prctl(PR_SET_PDEATHSIG, SIGQUIT);
        int fd = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);
        if (dup2(fd, STDOUT_FILENO) >= 0 && dup2(fd, STDERR_FILENO) >= 0)
            execl(s->program, s->program, "-D", data, "-k", s->dir, "-c", "listen_addresses=", "-c",
                  "fsync=off", (char *)NULL);
        _exit(127);
    }
    ck_assert(wait_until(answers, s));
}

/* An immediate shutdown: sessions end in the middle, and the next start recovers. */
void own_server_down(struct own_server *s)
{
    int status;
    kill(s->pid, SIGQUIT);
    ck_assert_int_eq(waitpid(s->pid, &status, 0), s->pid);
}

void own_server_configure(struct own_server *s, const char *lines)
{
    _cleanup_free_ char *path = path_join(s->dir, "data/postgresql.conf");
    _cleanup_fclose_ FILE *f = fopen(path, "ae");
    ck_assert_ptr_nonnull(f);
    fputs(lines, f);
    fflush(f);
    own_server_down(s);
    own_server_up(s);
}

void own_server_stop(struct own_server *s)
{
    own_server_down(s);
    dir_drop(s->dir);
    free(s->program);
    free(s->url);
}
