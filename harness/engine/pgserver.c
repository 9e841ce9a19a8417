#include "harness/engine/pgserver.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <pwd.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "harness/base/copy.h"
#include "harness/base/file.h"
#include "harness/base/str.h"
#include "harness/engine/pgprogram.h"
#include "harness/engine/scratch.h"
#include "harness/engine/url.h"

/* What a fresh cluster, a few hundred small tables and their WAL need. */
#define ROOM (400ull << 20)
#define START_MS 60000

struct pgserver {
    struct guard *guard;
    char *url, *version;
};

/* ---- the programs ---- */

/* Of the server programs in bindir, where initdb must not be missing. */
static bool server_version(const char *bindir, char **ret, int *ret_number)
{
    _cleanup_free_ char *program = path_join(bindir, "postgres");
    _cleanup_free_ char *initdb = path_join(bindir, "initdb");
    return access(initdb, X_OK) == 0 && pg_program_version(program, ret, ret_number);
}

int postgres_find_server(char **ret_bindir, char **ret_version, struct err *err)
{
    _cleanup_strv_ struct strv dirs = {0};
    _cleanup_free_ char *best = NULL, *version = NULL;
    int best_number = 0;
    pg_program_dirs("initdb", &dirs);
    for (size_t i = 0; i < dirs.n; i++) {
        _cleanup_free_ char *v = NULL;
        int number;
        if (!server_version(dirs.v[i], &v, &number) || number <= best_number)
            continue;
        free(best);
        free(version);
        best = xstrdup(dirs.v[i]);
        version = TAKE_PTR(v);
        best_number = number;
    }
    if (best_number < 120000) {
        if (best)
            err_set(err, ERR_ENV,
                    "the newest PostgreSQL server on this machine is %s, and belay "
                    "needs 12 or newer",
                    version);
        else
            err_set(err, ERR_ENV, "no PostgreSQL server programs found");
        return err_hint(err, "install them (Debian: apt-get install postgresql), or name a server "
                             "with --scratch-url");
    }
    *ret_bindir = TAKE_PTR(best);
    *ret_version = TAKE_PTR(version);
    return 0;
}

/* ---- the cluster ---- */

static int server_user(struct proc_user *ret, struct err *err)
{
    *ret = (struct proc_user){0};
    if (geteuid() != 0)
        return 0;
    static const char *const names[] = {"postgres", "nobody"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        const struct passwd *p = getpwnam(names[i]);
        if (!p)
            continue;
        *ret = (struct proc_user){.change = true, .uid = p->pw_uid, .gid = p->pw_gid};
        return 0;
    }
    err_set(err, ERR_ENV,
            "PostgreSQL refuses to run as root, and there is no user postgres or nobody");
    return err_hint(err, "run belay as another user, or name a server with --scratch-url");
}

/* Everything that makes it fast and quiet; none of it changes what a schema looks like. */
static const char settings[] = "\n"
                               "listen_addresses = ''\n"
                               "unix_socket_directories = '../run'\n"
                               /* in the data folder, not where a killed server would leave it */
                               "dynamic_shared_memory_type = mmap\n"
                               "unix_socket_permissions = 0700\n"
                               "fsync = off\n"
                               "synchronous_commit = off\n"
                               "full_page_writes = off\n"
                               "autovacuum = off\n"
                               "jit = off\n"
                               "max_connections = 50\n"
                               "shared_buffers = 64MB\n"
                               "max_locks_per_transaction = 512\n" /* tables in one transaction */
                               "max_prepared_transactions = 10\n"
                               "checkpoint_timeout = 1d\n"
                               "min_wal_size = 32MB\n"
                               "max_wal_size = 128MB\n"
                               "bgwriter_lru_maxpages = 0\n"
                               "timezone = 'UTC'\n"
                               "log_timezone = 'UTC'\n"
                               "log_min_messages = fatal\n";

static int run_initdb(const char *bindir, const char *data, const struct proc_user *user,
                      struct err *err)
{
    _cleanup_free_ char *program = path_join(bindir, "initdb");
    /* the locale that packages choose is the machine's; C.UTF-8 is the same everywhere */
    static const char *const locales[] = {"--locale=C.UTF-8", "--locale=C"};
    for (size_t i = 0; i < ARRAY_LEN(locales); i++) {
        _cleanup_proc_result_ struct proc_result r = {0};
        const char *argv[] = {program, "-D",         data,   "-U",       "postgres",  "-A",
                              "trust", "--encoding", "UTF8", locales[i], "--no-sync", NULL};
        const char *env[] = {"LC_ALL=C", NULL};
        if (proc_run(
                &(struct proc_options){
                    .argv = argv, .env = env, .dir = "/", .user = *user, .timeout_ms = START_MS},
                &r, err) < 0)
            return -1;
        if (r.status == 0)
            return 0;
        if (i + 1 < ARRAY_LEN(locales) && strstr(str_get(&r.errors), "locale"))
            continue;
        err_set(err, ERR_ENV, "%s failed to prepare the private PostgreSQL server", program);
        err->detail = str_take(&r.errors);
        return err_hint(err, "%s",
                        strstr(err->detail, strerror(ENOSPC))
                            ? "the disk is full: free some space, or set TMPDIR to a larger one"
                            : "name a server with --scratch-url instead");
    }
    return 0;
}

/* ~/.cache/belay/initdb-15.18-119; NULL when there is no such place. */
static char *cache_path(const char *version, const struct proc_user *user)
{
    const char *base = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    uid_t uid = user->change ? user->uid : geteuid();
    if (base && base[0] == '/')
        return xasprintf("%s/belay/initdb-%s-%u", base, version, (unsigned)uid);
    if (home && home[0] == '/')
        return xasprintf("%s/.cache/belay/initdb-%s-%u", home, version, (unsigned)uid);
    return NULL;
}

/* Somebody else's folder there would become our server's configuration. */
static bool cache_usable(const char *path)
{
    struct stat st;
    return lstat(path, &st) == 0 && S_ISDIR(st.st_mode) && st.st_uid == geteuid() &&
           (st.st_mode & 022) == 0;
}

/* What belays left that were killed while they filled the cache: "<cache>.<process id>". */
static void cache_sweep(const char *cache)
{
    _cleanup_free_ char *pattern = xasprintf("%s.*", cache);
    glob_t found = {0};
    if (glob(pattern, GLOB_NOSORT, NULL, &found) == 0) {
        for (size_t i = 0; i < found.gl_pathc; i++) {
            _cleanup_err_ struct err ignored = {0}; /* the next one tries again */
            pid_t pid = (pid_t)atoi(found.gl_pathv[i] + strlen(cache) + 1);
            if (pid > 0 && kill(pid, 0) < 0 && errno == ESRCH)
                tree_remove(found.gl_pathv[i], &ignored);
        }
    }
    globfree(&found);
}

/* Best effort: without a cache the next start is slower. */
static void cache_fill(const char *cache, const char *data)
{
    _cleanup_err_ struct err ignored = {0};
    _cleanup_free_ char *dir = path_dir(cache);
    _cleanup_free_ char *temporary = xasprintf("%s.%d", cache, (int)getpid());
    if (dir_make(dir, 0700, &ignored) < 0)
        return;
    cache_sweep(cache);
    _cleanup_close_ int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    /* synced once: after a power failure it must not be there and be empty */
    if (tree_copy(data, temporary, &(struct proc_user){0}, &ignored) < 0 || fd < 0 ||
        syncfs(fd) < 0 || rename(temporary, cache) < 0) /* another belay may have been first */
        tree_remove(temporary, &ignored);
}

static int make_cluster(const struct guard *g, const char *bindir, const char *version,
                        const struct proc_user *user, struct err *err)
{
    _cleanup_free_ char *data = path_join(guard_dir(g), "data");
    _cleanup_free_ char *cache = cache_path(version, user);
    if (cache && cache_usable(cache)) {
        if (tree_copy(cache, data, user, err) == 0)
            return 0;
        if (err->code == ERR_ENV && errno == ENOSPC)
            return -1;
        tree_remove(data, err);
        err_release(err);
    }
    if (mkdir(data, 0700) < 0 || (user->change && chown(data, user->uid, user->gid) < 0))
        return err_errno(err, "cannot create folder %s", data);
    if (run_initdb(bindir, data, user, err) < 0)
        return -1;
    if (cache)
        cache_fill(cache, data);
    return 0;
}

static int write_settings(const struct guard *g, struct err *err)
{
    _cleanup_free_ char *path = xasprintf("%s/data/postgresql.conf", guard_dir(g));
    _cleanup_fclose_ FILE *f = fopen(path, "ae"); /* appending keeps the owner */
    if (!f || fputs(settings, f) < 0 || fflush(f) != 0)
        return err_errno(err, "cannot write %s", path);
    return 0;
}

/* Line 8 of postmaster.pid says "ready" once sessions are accepted. */
static bool is_ready(const struct guard *g)
{
    _cleanup_free_ char *path = xasprintf("%s/data/postmaster.pid", guard_dir(g));
    _cleanup_fclose_ FILE *f = fopen(path, "re");
    char line[256];
    int n = 0;
    while (f && fgets(line, sizeof(line), f))
        if (++n == 8)
            return str_starts(line, "ready");
    return false;
}

static int start_failed(const struct guard *g, const char *what, struct err *err)
{
    _cleanup_free_ char *path = xasprintf("%s/run/log", guard_dir(g)), *log = NULL;
    _cleanup_err_ struct err ignored = {0}; /* without a log the message stands alone */
    file_read(path, &log, NULL, &ignored);
    err_set(err, ERR_ENV, "the private PostgreSQL server %s", what);
    if (log && *log)
        err->detail = TAKE_PTR(log);
    return err_hint(err, "name a server with --scratch-url instead");
}

static int wait_ready(struct guard *g, struct err *err)
{
    for (int waited = 0; waited < START_MS; waited += 2) {
        if (is_ready(g))
            return 0;
        if (guard_server_ended(g, 2))
            return start_failed(g, "ended while it started", err);
    }
    return start_failed(g, "did not start within a minute", err);
}

int pgserver_start(unsigned long long room, struct pgserver **ret, struct err *err)
{
    _cleanup_free_ char *bindir = NULL, *version = NULL;
    struct proc_user user;
    if (getenv("PGHOSTADDR")) { /* libpq would go there instead of to our socket */
        err_set(err, ERR_ENV, "PGHOSTADDR leads every connection to one server");
        return err_hint(err, "unset it, or name a server with --scratch-url");
    }
    if (postgres_find_server(&bindir, &version, err) < 0 || server_user(&user, err) < 0)
        return -1;
    _cleanup_free_ char *program = path_join(bindir, "postgres");
    struct guard *g;
    if (guard_open(&(struct guard_options){.room = ROOM + room, .server = program, .user = user},
                   &g, err) < 0)
        return -1;
    if (make_cluster(g, bindir, version, &user, err) < 0 || write_settings(g, err) < 0 ||
        guard_start(g, err) < 0 || wait_ready(g, err) < 0) {
        guard_close(g);
        return -1;
    }
    struct pgserver *s = xcalloc(1, sizeof(*s));
    _cleanup_free_ char *socket = path_join(guard_dir(g), "run");
    _cleanup_conninfo_ struct conninfo c = {0};
    conninfo_set(&c, "host", socket);
    conninfo_set(&c, "port", "5432");
    conninfo_set(&c, "user", "postgres");
    conninfo_set(&c, "dbname", "postgres");
    s->url = conninfo_url(&c);
    s->version = TAKE_PTR(version);
    s->guard = g;
    *ret = s;
    return 0;
}

const char *pgserver_url(const struct pgserver *s)
{
    return s->url;
}

const char *pgserver_version(const struct pgserver *s)
{
    return s->version;
}

const char *pgserver_place(const struct pgserver *s)
{
    return guard_parent(s->guard);
}

static void pgserver_forget(struct pgserver *s)
{
    free(s->url);
    free(s->version);
    free(s);
}

void pgserver_stop(struct pgserver *s)
{
    if (!s)
        return;
    guard_close(s->guard);
    pgserver_forget(s);
}

pid_t pgserver_detach(struct pgserver *s)
{
    pid_t pid = guard_detach(s->guard);
    pgserver_forget(s);
    return pid;
}
