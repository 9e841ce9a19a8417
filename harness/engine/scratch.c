#include "harness/engine/scratch.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>

#include "harness/base/copy.h"
#include "harness/base/file.h"
#include "harness/base/str.h"
#include "harness/engine/guard.h"
#include "harness/engine/pgdatabase.h"
#include "harness/engine/pgserver.h"
#include "harness/engine/url.h"

/*
 * Databases on a server carry their mark in COMMENT ON DATABASE:
 *
 *     belay scratch <number> by <database>
 *
 * where <number> stands in the database's name too: 64 random bits, so the name alone proves which
 * database a session is on. The pool's session holds an advisory lock in <database>, one for each
 * scratch database, whose key is that number. Advisory locks end with their session: a marked
 * database whose lock can be had is nobody's any more. Kept databases say "kept" instead of
 * "scratch".
 *
 * Until the comment is written, a connection limit that nobody would choose is the mark: it is made
 * together with the database, so there is no moment at which a death leaves it unmarked.
 */
#define NAME_PREFIX "belay_"
#define NEW_MARK                                                                                   \
    "(1650000000 + (select oid from pg_database where datname = current_database())::bigint % "    \
    "10000000)"

struct scratch_pool {
    const struct engine *engine;
    pthread_mutex_t lock; /* over everything below */
    bool keep;
    char *describe;
    struct scratch *list;

    struct guard *guard; /* SQLite: the folder */

    struct pgserver *server; /* PostgreSQL: belay's own server, or NULL */
    char *url;               /* of the session below */
    char *database;          /* its database, as it stands within an SQL string */
    char *new_mark;          /* the mark of new databases, as a number */
    struct db *db;
};

struct scratch {
    struct scratch_pool *pool;
    struct scratch *next;
    char *name; /* of the database; of the file */
    char *path; /* SQLite */
    char *url;
    char *nonce;
};

/* ---- names ---- */

static int random_hex(char ret[17], struct err *err)
{
    unsigned char bytes[8];
    if (getrandom(bytes, sizeof(bytes), 0) != sizeof(bytes))
        return err_errno(err, "no random numbers");
    for (size_t i = 0; i < sizeof(bytes); i++)
        snprintf(ret + 2 * i, 3, "%02x", bytes[i]);
    return 0;
}

static struct scratch *scratch_alloc(struct scratch_pool *pool, struct err *err)
{
    char hex[17];
    if (random_hex(hex, err) < 0)
        return NULL;
    struct scratch *s = xcalloc(1, sizeof(*s));
    s->pool = pool;
    s->name = xasprintf(NAME_PREFIX "%s", hex);
    s->nonce = xstrdup(s->name);
    return s;
}

/* The number in the name, as hexadecimal digits. */
static const char *number_of(const struct scratch *s)
{
    return s->name + strlen(NAME_PREFIX);
}

static void scratch_forget(struct scratch *s)
{
    free(s->name);
    free(s->path);
    free(s->url);
    free(s->nonce);
    free(s);
}

/* ---- SQLite: files in a guarded folder ---- */

static int lite_pool_open(struct scratch_pool *p, const struct scratch_options *o, struct err *err)
{
    if (o->url) {
        err_set(err, ERR_USAGE,
                "--scratch-url is for PostgreSQL; SQLite scratch databases are files");
        return err_hint(err,
                        "leave it out; TMPDIR says where scratch files go when /dev/shm is full");
    }
    if (guard_open(&(struct guard_options){.room = o->room + (64ull << 20)}, &p->guard, err) < 0)
        return -1;
    p->describe = xstrdup(guard_parent(p->guard));
    return 0;
}

static int lite_place(struct scratch *s, struct err *err)
{
    _cleanup_free_ char *file = xasprintf("%s.db", s->name);
    _cleanup_free_ char *path = path_join(guard_dir(s->pool->guard), file);
    /* the name as SQLite will report it, symbolic links resolved */
    _cleanup_close_ int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    char *real = fd < 0 ? NULL : realpath(path, NULL);
    if (!real)
        return err_errno(err, "cannot create %s", path);
    s->path = xstrdup(real);
    free(real);
    s->url = url_for_sqlite_path(s->path);
    free(s->nonce);
    s->nonce = xstrdup(s->path); /* nobody else has a file of this name */
    return 0;
}

static int lite_copy(const struct scratch *from, struct scratch *to, struct err *err)
{
    _cleanup_free_ char *wal = xasprintf("%s-wal", from->path);
    struct stat st;
    if (stat(wal, &st) == 0 && st.st_size > 0)
        return err_set(err, ERR_ENV, "%s is still in use", from->path);
    return unlink(to->path) < 0 ? err_errno(err, "cannot remove %s", to->path)
                                : file_copy(from->path, to->path, 0600, err);
}

static void lite_drop(const struct scratch *s)
{
    static const char *const suffixes[] = {"", "-journal", "-wal", "-shm"};
    for (size_t i = 0; i < ARRAY_LEN(suffixes); i++) {
        _cleanup_free_ char *path = xasprintf("%s%s", s->path, suffixes[i]);
        unlink(path); /* the guardian removes what does not go now */
    }
}

/* ---- PostgreSQL: databases on a server ---- */

static char *database_url(const char *url, const char *database, struct err *err)
{
    _cleanup_conninfo_ struct conninfo c = {0};
    if (conninfo_parse(url, &c, err) < 0)
        return NULL;
    conninfo_set(&c, "dbname", database);
    return conninfo_url(&c);
}

static int run_format(struct scratch_pool *p, struct err *err, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

static int run_format(struct scratch_pool *p, struct err *err, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    _cleanup_free_ char *sql = xvasprintf(fmt, ap);
    va_end(ap);
    return db_run(p->db, sql, DB_RUN_WHOLE, NULL, err);
}

/* A session that was just closed lives on for a moment, and the server would wait for it in steps
 * of 100 ms. What does not go by itself is left to the server's own message. */
static int wait_unused(struct scratch_pool *p, const char *name, struct err *err)
{
    for (int i = 0; i < 100; i++) {
        _cleanup_free_ char *used = NULL;
        if (db_query_text(p->db, "select 1 from pg_stat_activity where datname = $1",
                          (const char *[]){name}, 1, &used, err) < 0)
            return -1;
        if (!used)
            break;
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
    return 0;
}

/* Event triggers first: they would act on what follows. */
static const char let_go_sql[] =
    "select 'drop event trigger ' || quote_ident(evtname) from pg_event_trigger"
    " union all select format('alter subscription %1$I disable; alter subscription %1$I"
    " set (slot_name = none); drop subscription %1$I', subname) from pg_subscription s"
    " join pg_database d on d.oid = s.subdbid where d.datname = current_database() order by 1 desc";

/* A database with subscriptions cannot be dropped. These go without a word to the publisher: their
 * slots there may be those of the database that this one is a copy of. */
static int drop_subscriptions(struct scratch_pool *p, const char *name, struct err *err)
{
    _cleanup_free_ char *any = NULL, *url = NULL;
    _cleanup_rows_ struct rows *rows = NULL;
    _cleanup_db_ struct db *db = NULL;
    if (db_query_text(p->db,
                      "select 1 from pg_subscription s join pg_database d on d.oid = s.subdbid"
                      " where d.datname = $1 limit 1",
                      (const char *[]){name}, 1, &any, err) < 0)
        return -1;
    if (!any)
        return 0;
    url = database_url(p->url, name, err);
    if (!url || db_open(p->engine, url, DB_OPEN_DEFAULT, &db, err) < 0 ||
        db_run(db, "set default_transaction_read_only = off", DB_RUN_WHOLE, NULL, err) < 0 ||
        db_query(db, let_go_sql, NULL, 0, &rows, err) < 0)
        return -1;
    for (int i = 0; i < rows_count(rows); i++)
        if (db_run(db, rows_get(rows, i, 0), DB_RUN_STATEMENTS, NULL, err) < 0)
            return -1;
    return 0;
}

static int drop_database(struct scratch_pool *p, const char *name, struct err *err)
{
    if (drop_subscriptions(p, name, err) < 0 || wait_unused(p, name, err) < 0)
        return -1;
    if (db_version(p->db) >= 130000)
        return run_format(p, err, "drop database if exists \"%s\" with (force)", name);
    if (run_format(p, err,
                   "select pg_terminate_backend(pid) from pg_stat_activity where datname = '%s'",
                   name) < 0)
        return -1;
    return run_format(p, err, "drop database if exists \"%s\"", name);
}

/* Drops the databases of belays that died. Whatever cannot be dropped now is left to the next one.
 */
static int sweep(struct scratch_pool *p, struct err *err)
{
    static const char dead[] =
        "select datname from pg_database d"
        " where datname ~ '^belay_[0-9a-f]{16}$'"
        " and (datconnlimit = " NEW_MARK "  or shobj_description(d.oid, 'pg_database') ="
        "   'belay scratch ' || substr(datname, 7) || ' by ' || current_database())"
        " and pg_has_role(d.datdba, 'usage')";
    _cleanup_rows_ struct rows *rows = NULL;
    if (db_query(p->db, dead, NULL, 0, &rows, err) < 0)
        return -1;
    for (int i = 0; i < rows_count(rows); i++) {
        const char *name = rows_get(rows, i, 0);
        _cleanup_free_ char *free_now = NULL;
        _cleanup_free_ char *sql =
            xasprintf("select pg_try_advisory_lock(x'%s'::bigint)", name + strlen(NAME_PREFIX));
        _cleanup_err_ struct err ignored = {0};
        if (db_query_text(p->db, sql, NULL, 0, &free_now, err) < 0)
            return -1;
        if (!str_eq(free_now, "t"))
            continue;
        drop_database(p, name, &ignored);
        if (run_format(p, err, "select pg_advisory_unlock(x'%s'::bigint)",
                       name + strlen(NAME_PREFIX)) < 0)
            return -1;
    }
    return 0;
}

static int pg_may_create(struct scratch_pool *p, struct err *err)
{
    _cleanup_free_ char *may = NULL, *user = NULL;
    if (db_query_text(p->db,
                      "select rolsuper or rolcreatedb from pg_roles where rolname = current_user",
                      NULL, 0, &may, err) < 0 ||
        db_query_text(p->db, "select current_user", NULL, 0, &user, err) < 0)
        return -1;
    if (str_eq(may, "t"))
        return 0;
    err_set(err, ERR_ENV, "role \"%s\" of the scratch server may not create databases", user);
    return err_hint(err,
                    "grant it: ALTER ROLE \"%s\" CREATEDB; or leave out --scratch-url, and belay "
                    "starts a server of its own",
                    user);
}

static int pg_pool_open(struct scratch_pool *p, const struct scratch_options *o, struct err *err)
{
    if (!o->url && pgserver_start(o->room, &p->server, err) < 0)
        return -1;
    p->url = xstrdup(o->url ? o->url : pgserver_url(p->server));
    if (db_open(p->engine, p->url, DB_OPEN_DEFAULT, &p->db, err) < 0 ||
        db_query_text(p->db, "select replace(current_database(), '''', '''''')", NULL, 0,
                      &p->database, err) < 0 ||
        db_query_text(p->db, "select " NEW_MARK, NULL, 0, &p->new_mark, err) < 0)
        return -1;
    if (p->server) {
        p->describe = xasprintf("private PostgreSQL %s on %s", pgserver_version(p->server),
                                pgserver_place(p->server));
        return 0;
    }
    _cleanup_free_ char *shown = url_redact(p->url);
    int v = db_version(p->db);
    p->describe = xasprintf("PostgreSQL %d.%d at %s", v / 10000, v % 10000, shown);
    return pg_may_create(p, err) < 0 ? -1 : sweep(p, err);
}

/* Replaces the mark of a new database. One text, so one transaction. */
static int mark(const struct scratch *s, struct err *err)
{
    return run_format(s->pool, err,
                      "comment on database \"%s\" is 'belay scratch %s by %s';"
                      " alter database \"%s\" connection limit -1",
                      s->name, number_of(s), s->pool->database, s->name);
}

/* What a copy does not get of the database that it is a copy of. */
static int copy_belongings(const struct scratch *from, const struct scratch *to, struct err *err)
{
    struct db *db = from->pool->db;
    _cleanup_strv_ struct strv statements = {0};
    if (pg_database_statements(db, from->name, to->name, &statements, err) < 0)
        return -1;
    for (size_t i = 0; i < statements.n; i++)
        if (db_run(db, statements.v[i], DB_RUN_WHOLE, NULL, err) < 0)
            return -1;
    return 0;
}

/* like: the rest of CREATE DATABASE, TEMPLATE and what else. */
static int pg_create(struct scratch *s, const struct scratch *from, const char *like,
                     struct err *err)
{
    struct scratch_pool *p = s->pool;
    _cleanup_free_ char *url = database_url(p->url, s->name, err);
    if (!url)
        return -1;
    /* the lock first: a marked database without it would be swept */
    if (run_format(p, err, "select pg_advisory_lock(x'%s'::bigint)", number_of(s)) < 0)
        return -1;
    if (from && wait_unused(p, from->name, err) < 0)
        return -1;
    _cleanup_free_ char *copy = from ? xasprintf("template %s", from->name) : NULL;
    if (run_format(p, err, "create database \"%s\" %s connection limit %s", s->name,
                   copy ? copy : like, p->new_mark) < 0) {
        if (strcmp(err->sqlstate, "42501") == 0 || strcmp(err->sqlstate, "55006") == 0)
            err->code = ERR_ENV;
        return err_prefix(err, "cannot create a scratch database");
    }
    if (mark(s, err) < 0 || (from && copy_belongings(from, s, err) < 0)) {
        _cleanup_err_ struct err ignored = {0}; /* the first error is the one to tell */
        drop_database(p, s->name, &ignored);
        return -1;
    }
    s->url = TAKE_PTR(url);
    return 0;
}

static void pg_drop(const struct scratch *s)
{
    _cleanup_err_ struct err ignored = {
        0}; /* what stays is swept: its lock goes with our session */
    drop_database(s->pool, s->name, &ignored);
    run_format(s->pool, &ignored, "select pg_advisory_unlock(x'%s'::bigint)", number_of(s));
}

/* ---- both ---- */

static bool is_lite(const struct scratch_pool *p)
{
    return p->engine == &engine_sqlite;
}

int scratch_pool_open(const struct engine *e, const struct scratch_options *options,
                      struct scratch_pool **ret, struct err *err)
{
    struct scratch_pool *p = xcalloc(1, sizeof(*p));
    p->engine = e;
    pthread_mutex_init(&p->lock, NULL);
    int rc = is_lite(p) ? lite_pool_open(p, options, err) : pg_pool_open(p, options, err);
    if (rc < 0) {
        scratch_pool_close(p);
        return -1;
    }
    p->keep = options->keep;
    *ret = p;
    return 0;
}

static void release(struct scratch *s, bool drop)
{
    struct scratch_pool *p = s->pool;
    for (struct scratch **link = &p->list; *link; link = &(*link)->next) {
        if (*link != s)
            continue;
        *link = s->next;
        break;
    }
    if (drop && is_lite(p))
        lite_drop(s);
    else if (drop)
        pg_drop(s);
    scratch_forget(s);
}

/* From now on nobody sweeps it. */
static void mark_kept(struct scratch *s)
{
    _cleanup_err_ struct err ignored = {0}; /* then the next belay sweeps it */
    if (!is_lite(s->pool))
        run_format(s->pool, &ignored, "comment on database \"%s\" is 'belay kept %s'", s->name,
                   number_of(s));
}

void scratch_pool_close(struct scratch_pool *p)
{
    if (!p)
        return;
    bool kept = p->keep && p->list;
    while (p->list) {
        if (kept)
            mark_kept(p->list);
        release(p->list, !kept && !p->server); /* a private server goes as a whole */
    }
    db_close(p->db);
    if (p->server && kept)
        pgserver_detach(p->server);
    else
        pgserver_stop(p->server);
    if (p->guard && kept)
        guard_detach(p->guard);
    else
        guard_close(p->guard);
    pthread_mutex_destroy(&p->lock);
    free(p->describe);
    free(p->url);
    free(p->database);
    free(p->new_mark);
    free(p);
}

const char *scratch_pool_describe(const struct scratch_pool *pool)
{
    return pool->describe;
}

const struct engine *scratch_pool_engine(const struct scratch_pool *pool)
{
    return pool->engine;
}

bool scratch_pool_is_private(const struct scratch_pool *pool)
{
    return is_lite(pool) || pool->server;
}

static int create(struct scratch_pool *p, struct scratch *from, const char *like,
                  struct scratch **ret, struct err *err)
{
    struct scratch *s = scratch_alloc(p, err);
    if (!s)
        return -1;
    pthread_mutex_lock(&p->lock);
    int rc;
    if (is_lite(p)) {
        rc = lite_place(s, err);
        if (rc == 0 && from)
            rc = lite_copy(from, s, err);
    } else {
        rc = pg_create(s, from, like, err);
    }
    if (rc == 0) {
        s->next = p->list;
        p->list = s;
    }
    pthread_mutex_unlock(&p->lock);
    if (rc < 0) {
        scratch_forget(s);
        return -1;
    }
    *ret = s;
    return 0;
}

int scratch_new(struct scratch_pool *pool, struct scratch **ret, struct err *err)
{
    return create(pool, NULL, "template template1", ret, err);
}

int scratch_new_like(struct scratch_pool *pool, const char *like, struct scratch **ret,
                     struct err *err)
{
    return create(pool, NULL, like, ret, err);
}

int scratch_copy(struct scratch *from, struct scratch **ret, struct err *err)
{
    return create(from->pool, from, NULL, ret, err);
}

struct db *scratch_pool_db(struct scratch_pool *pool)
{
    return pool->db;
}

const char *scratch_name(const struct scratch *s)
{
    return s->name;
}

void scratch_give_away(struct scratch *s)
{
    struct scratch_pool *p = s->pool;
    pthread_mutex_lock(&p->lock);
    release(s, false);
    pthread_mutex_unlock(&p->lock);
}

const char *scratch_url(const struct scratch *s)
{
    return s->url;
}

struct db_proof scratch_proof(const struct scratch *s)
{
    return (struct db_proof){
        .query = is_lite(s->pool) ? "select file from pragma_database_list where name = 'main'"
                                  : "select current_database()",
        .answer = s->nonce,
    };
}

int scratch_prove(const struct scratch *s, struct db *db, struct err *err)
{
    struct db_proof proof = scratch_proof(s);
    return db_prove(db, &proof, err);
}

void scratch_free(struct scratch *s)
{
    if (!s)
        return;
    struct scratch_pool *p = s->pool;
    pthread_mutex_lock(&p->lock);
    release(s, true);
    pthread_mutex_unlock(&p->lock);
}
