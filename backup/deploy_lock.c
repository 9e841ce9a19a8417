#include "backup/deploy_lock.h"

#include <errno.h>
#include <fcntl.h>
#include <libpq-fe.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <xxhash.h>

#include "harness/base/str.h"
#include "harness/engine/url.h"

/* First key of the advisory lock, "blay"; the second is made of the database's name. */
#define LOCK_CLASS "1651270009"

enum { ORPHAN_MS = 2000, ORPHAN_STEP_MS = 50 };

struct deploy_lock {
    struct db *db; /* PostgreSQL */
    char *name;    /* of the database that is locked */
    char *backend; /* its process id: another one is another session */
    int fd;        /* SQLite */
    char *path;
    bool made; /* the file was missing */
};

void deploy_lock_free(struct deploy_lock *l)
{
    if (!l)
        return;
    db_close(l->db);
    if (l->fd >= 0) {
        struct stat st;
        if (l->made && fstat(l->fd, &st) == 0 && st.st_size == 0)
            unlink(l->path); /* nobody else can have begun to use it: the lock is still held */
        close(l->fd);
    }
    free(l->backend);
    free(l->name);
    free(l->path);
    free(l);
}

struct db *deploy_lock_db(struct deploy_lock *l)
{
    return l->db;
}

const char *deploy_lock_name(const struct deploy_lock *l)
{
    return l->name;
}

/* ---- PostgreSQL ---- */

/* As libpq would choose it, for a database that cannot be asked. */
static const char *name_in(const struct conninfo *c)
{
    const char *name = conninfo_get(c, "dbname");
    return name && *name ? name : getenv("PGDATABASE");
}

/*
 * A session on another database of the server. *name, owned by the caller, may be set before: the database that it must
 * not be.
 */
static int open_maintenance(struct conninfo *c, char **name, struct db **ret, struct err *err)
{
    static const char *const names[] = {"postgres", "template1"};
    if (!*name)
        *name = xstrdup(name_in(c));
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        conninfo_set(c, "dbname", names[i]);
        conninfo_set(c, "application_name", "belay deploy");
        _cleanup_free_ char *other = conninfo_url(c);
        if (str_eq(names[i], *name))
            continue;
        err_release(err);
        int rc = db_open(&engine_postgres, other, DB_OPEN_DEFAULT, ret, err);
        explicit_bzero(other, strlen(other));
        if (rc < 0)
            continue;
        if (!*name)
            *name = xstrdup(PQuser(db_handle(*ret)));
        return 0;
    }
    err_hint(err, "a deploy needs a second database beside the one that it deploys to, to hold its "
                  "lock and to swap databases from: \"postgres\" or \"template1\"");
    return err_prefix(err, "the maintenance database");
}

/*
 * libpq's defaults decide the name when the URL has none: the database itself is asked. That also tells a
 * database that cannot be reached from an unreachable maintenance database. One that is not there has another name
 * while a deploy fences it off: its lock is of its own name all the same.
 */
static int find_database(const char *url, struct deploy_lock *l, struct err *err)
{
    _cleanup_conninfo_ struct conninfo c = {0};
    _cleanup_db_ struct db *target = NULL;
    _cleanup_free_ char *there = NULL;
    _cleanup_err_ struct err closed = {0}, ignored = {0};
    if (conninfo_parse(url, &c, err) < 0)
        return -1;
    if (db_open(&engine_postgres, url, DB_OPEN_DEFAULT, &target, &closed) == 0)
        return deploy_refuse_pool(target, err) < 0 || /* which may know that database alone */
                       db_query_text(target, "select current_database()", NULL, 0, &l->name, err) <
                           0
                   ? -1
                   : open_maintenance(&c, &l->name, &l->db, err);
    static const char sql[] =
        "select 1 where not exists (select from pg_database where datname = $1) and exists"
        " (select from pg_database where datname ~ '_fenced_[0-9]+_[0-9]+$'"
        "  and starts_with($1, regexp_replace(datname, '_fenced_[0-9]+_[0-9]+$', '')))";
    if (open_maintenance(&c, &l->name, &l->db, &ignored) == 0 &&
        db_query_text(l->db, sql, (const char *[]){l->name}, 1, &there, &ignored) == 0 && there)
        return 0;
    err_move(err, &closed);
    return -1;
}

/* A pool that hands the session to others after each transaction takes session locks along. It shows
 * in that the process which answers is not the one that libpq was told of at the start. */
int deploy_refuse_pool(struct db *db, struct err *err)
{
    _cleanup_free_ char *backend = NULL;
    if (db_query_text(db, "select pg_backend_pid()", NULL, 0, &backend, err) < 0)
        return -1;
    if (atoi(backend) == PQbackendPID(db_handle(db)))
        return 0;
    err_set(err, ERR_ENV,
            "the connection goes through a pooler, which may give the session to "
            "others between transactions: locks do not hold there");
    return err_hint(err, "name the server itself in the URL, not pgbouncer's port");
}

static int postgres_take(const char *url, struct deploy_lock *l, char **ret_holder, struct err *err)
{
    _cleanup_free_ char *got = NULL;
    if (find_database(url, l, err) < 0 || deploy_refuse_pool(l->db, err) < 0 ||
        db_query_text(l->db, "select pg_backend_pid()", NULL, 0, &l->backend, err) < 0)
        return -1;
    int32_t hash = (int32_t)XXH32(l->name, strlen(l->name), 0);
    _cleanup_free_ char *key = xasprintf("%d", hash);
    const char *values[] = {key};
    if (db_query_text(l->db, "select pg_try_advisory_lock(" LOCK_CLASS ", $1::int)::text", values,
                      1, &got, err) < 0)
        return -1;
    if (str_eq(got, "true"))
        return 1;
    /* oid on the left: a negative key stands in pg_locks as an unsigned number */
    if (db_query_text(l->db,
                      "select format('%s%s, process %s on the server, since %s',"
                      "   coalesce(a.usename, 'another user'),"
                      "   coalesce(' at ' || host(a.client_addr), ' on this machine'), l.pid,"
                      "   coalesce(to_char(a.backend_start at time zone 'UTC',"
                      "                    'YYYY-MM-DD HH24:MI:SS') || ' UTC', 'some time'))"
                      " from pg_locks l left join pg_stat_activity a on a.pid = l.pid"
                      " where l.locktype = 'advisory' and l.granted and l.classid = " LOCK_CLASS
                      "   and l.objid = ($1::bigint & 4294967295)::oid and l.objsubid = 2"
                      "   and l.database = (select oid from pg_database"
                      "                     where datname = current_database())",
                      values, 1, ret_holder, err) < 0)
        return -1;
    if (!*ret_holder)
        *ret_holder = xstrdup("a session that has just ended");
    return 0;
}

/* ---- SQLite ---- */

/* /proc/locks knows which process holds a flock: "1: FLOCK  ADVISORY  WRITE 4711 08:01:1234 0 EOF". */
static int flock_holder(const struct stat *st)
{
    _cleanup_fclose_ FILE *f = fopen("/proc/locks", "re");
    char line[256];
    _cleanup_free_ char *inode = xasprintf(":%llu", (unsigned long long)st->st_ino);
    while (f && fgets(line, sizeof(line), f)) {
        char kind[16], file[64];
        int pid;
        if (sscanf(line, "%*s %15s %*s %*s %d %63s", kind, &pid, file) == 3 &&
            strcmp(kind, "FLOCK") == 0 && str_ends(file, inode))
            return pid;
    }
    return 0; /* or it is in another container */
}

/*
 * 1: taken, 0: *ret_holder has it, as far as it is known. What a killed process had opened may live on for a moment in a
 * child that it was about to start: a lock without a living holder is waited for.
 */
static int take_flock(int fd, const struct stat *st, int *ret_holder)
{
    for (int waited = 0;; waited += ORPHAN_STEP_MS) {
        if (flock(fd, LOCK_EX | LOCK_NB) == 0)
            return 1;
        if (errno != EWOULDBLOCK)
            return -1;
        *ret_holder = flock_holder(st);
        bool lives = *ret_holder > 0 && (kill(*ret_holder, 0) == 0 || errno == EPERM);
        if (lives || waited >= ORPHAN_MS)
            return 0;
        nanosleep(&(struct timespec){.tv_nsec = ORPHAN_STEP_MS * 1000000L}, NULL);
    }
}

static int sqlite_take(const char *url, struct deploy_lock *l, char **ret_holder, struct err *err)
{
    if (url_sqlite_path(url, &l->path, err) < 0)
        return -1;
    if (str_starts(l->path, "file:")) {
        err_set(err, ERR_USAGE, "a deploy needs the path of the database, not a URI");
        return err_hint(err, "write sqlite:///relative.db or sqlite:////absolute.db");
    }
    l->fd = open(l->path, O_RDWR | O_CLOEXEC);
    if (l->fd < 0 && errno == ENOENT) {
        l->fd = open(l->path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
        l->made = true;
    }
    struct stat st;
    if (l->fd < 0 || fstat(l->fd, &st) < 0)
        return err_errno(err, "cannot open %s", l->path);
    int holder = 0, taken = take_flock(l->fd, &st, &holder);
    if (taken < 0)
        return err_errno(err, "cannot lock %s", l->path);
    if (taken)
        return 1;
    l->made = false;
    *ret_holder = holder > 0 ? xasprintf("process %d", holder) : xstrdup("another process");
    return 0;
}

/* ---- both ---- */

int deploy_lock_take(const struct engine *e, const char *url, struct deploy_lock **ret,
                     char **ret_holder, struct err *err)
{
    _cleanup_(cleanup_deploy_lock_free) struct deploy_lock *l = xcalloc(1, sizeof(*l));
    _cleanup_free_ char *holder = NULL;
    l->fd = -1;
    int rc = e == &engine_postgres ? postgres_take(url, l, &holder, err)
                                   : sqlite_take(url, l, &holder, err);
    if (rc > 0)
        *ret = TAKE_PTR(l);
    else if (rc == 0)
        *ret_holder = TAKE_PTR(holder);
    return rc;
}

int deploy_lock_confirm(struct deploy_lock *l, struct err *err)
{
    if (!l->db)
        return 0; /* only this process can let go of it */
    _cleanup_free_ char *backend = NULL;
    _cleanup_err_ struct err why = {0};
    if (db_query_text(l->db, "select pg_backend_pid()", NULL, 0, &backend, &why) < 0)
        return err_set(err, ERR_ENV, "the lock of this deploy was lost with its session: %s",
                       why.message);
    if (!str_eq(backend, l->backend))
        return err_set(err, ERR_ENV,
                       "the lock of this deploy was lost: its session is another one");
    return 0;
}
