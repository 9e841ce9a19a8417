#include "harness/source/command_env.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <time.h>
#include <unistd.h>

#include <libpq-fe.h>

#include "harness/base/str.h"
#include "harness/engine/url.h"
#include "harness/schema/schema_postgres.h"

struct command_env {
    const struct engine *engine;
    struct strv variables;
    char *path;     /* SQLite */
    int inotify_fd; /* SQLite, with a witness; else -1 */
    struct db *db;  /* PostgreSQL, with a witness; else NULL */
    long long sessions;
};

/* ---- what is taken away ---- */

/* Schemes that begin the URL of a database. */
static const char *const schemes[] = {
    "cockroachdb", "jdbc",       "mariadb", "mongodb", "mssql",     "mysql",   "oracle", "postgis",
    "postgres",    "postgresql", "psql",    "sqlite",  "sqlserver", "sqlite3", NULL};

/* The length of a scheme with its "://", ":" (jdbc:postgresql://) or "+driver://"; 0: none. */
static size_t scheme_length(const char *text)
{
    for (size_t i = 0; schemes[i]; i++) {
        size_t n = strlen(schemes[i]);
        if (strncasecmp(text, schemes[i], n) != 0)
            continue;
        const char *p = text + n;
        if (*p == '+' || (*p == ':' && strcmp(schemes[i], "jdbc") == 0))
            for (p++; isalnum((unsigned char)*p) || *p == '_'; p++)
                ;
        if (str_starts(p, "://") || (str_starts(p, ":") && str_starts(schemes[i], "sqlite")))
            return (size_t)(p - text) + 1;
    }
    return 0;
}

/* Variables by which programs find databases, beyond those that hold a URL. */
static bool finds_database(const char *entry)
{
    static const char *const prefixes[] = {"DATABASE_", "DB_",     "FLYWAY_",  "JDBC_",
                                           "MARIADB_",  "MYSQL_",  "POSTGRES", "SPRING_DATASOURCE_",
                                           "SQLITE_",   "TYPEORM_"};
    if (str_starts(entry, "PG") && isupper((unsigned char)entry[2]))
        return true;
    for (size_t i = 0; i < ARRAY_LEN(prefixes); i++)
        if (str_starts(entry, prefixes[i]))
            return true;
    const char *value = strchr(entry, '=');
    return value && scheme_length(value + 1);
}

char *command_own_url(const char *command)
{
    for (const char *p = command; *p; p++) {
        bool inside = p > command && (isalnum((unsigned char)p[-1]) || p[-1] == '_');
        if (inside || !scheme_length(p))
            continue;
        size_t n = strcspn(p, " \t\n\"'`;|&()<>");
        /* ${DATABASE_URL#sqlite://}, jdbc:postgresql://$PGHOST/...: made of the environment */
        if (memchr(p, '$', n) || memchr(p, '}', n))
            continue;
        return xstrndup(p, n);
    }
    return NULL;
}

/* ---- what is given ---- */

static void set_variable(struct command_env *env, const char *name, const char *value)
{
    strv_add_take(&env->variables, xasprintf("%s=%s", name, value));
}

static void set_urls(struct command_env *env, const char *url, const struct strv *url_env)
{
    set_variable(env, "DATABASE_URL", url);
    for (size_t i = 0; url_env && i < url_env->n; i++)
        if (strcmp(url_env->v[i], "DATABASE_URL") != 0)
            set_variable(env, url_env->v[i], url);
}

static bool is_set(const struct command_env *env, const char *name, size_t len)
{
    for (size_t i = 0; i < env->variables.n; i++)
        if (strncmp(env->variables.v[i], name, len) == 0 && env->variables.v[i][len] == '=')
            return true;
    return false;
}

static void remove_others(struct command_env *env)
{
    for (char **p = environ; *p; p++) {
        size_t len = strcspn(*p, "=");
        if (finds_database(*p) && !is_set(env, *p, len))
            strv_add_take(&env->variables, xstrndup(*p, len));
    }
}

static int sqlite_variables(struct command_env *env, const char *url, const struct strv *url_env,
                            struct err *err)
{
    _cleanup_free_ char *path = NULL;
    if (url_sqlite_path(url, &path, err) < 0)
        return -1;
    env->path = realpath(path, NULL);
    if (!env->path)
        return err_errno(err, "cannot open %s", path);
    _cleanup_free_ char *absolute = url_for_sqlite_path(env->path);
    set_urls(env, absolute, url_env);
    set_variable(env, "BELAY_SQLITE_FILE", env->path);
    return 0;
}

/* What belay sets for its own sessions alone. */
static bool is_belays_own(const char *keyword)
{
    static const char *const own[] = {"application_name", "client_encoding", "connect_timeout",
                                      "fallback_application_name", "options"};
    for (size_t i = 0; i < ARRAY_LEN(own); i++)
        if (strcmp(own[i], keyword) == 0)
            return true;
    return false;
}

/* libpq has looked everything up: variables, service and password files. The commands get the
 * results, and need none of these. */
static int postgres_variables(struct command_env *env, const char *url, const struct strv *url_env,
                              struct err *err)
{
    _cleanup_conninfo_ struct conninfo given = {0}, all = {0};
    if (conninfo_parse(url, &given, err) < 0)
        return -1;
    PGconn *session = db_handle(env->db);
    PQconninfoOption *options = PQconninfo(session);
    for (PQconninfoOption *o = options; o && o->keyword; o++) {
        const char *value = o->val;
        if (strcmp(o->keyword, "password") == 0)
            value = PQconnectionUsedPassword(session) ? PQpass(session) : NULL;
        else if (strcmp(o->keyword, "host") == 0 && !(value && *value))
            value = PQhost(session);
        else if (is_belays_own(o->keyword))
            value = conninfo_get(&given, o->keyword);
        if (!value || !*value || !o->envvar)
            continue;
        bool basic = strcmp(o->keyword, "host") == 0 || strcmp(o->keyword, "port") == 0 ||
                     strcmp(o->keyword, "user") == 0 || strcmp(o->keyword, "dbname") == 0;
        if (!basic && o->compiled && strcmp(o->compiled, value) == 0)
            continue; /* libpq's default; other drivers may not know it by this name */
        set_variable(env, o->envvar, value);
        conninfo_set(&all, o->keyword, value);
    }
    PQconninfoFree(options);
    _cleanup_free_ char *complete = conninfo_url(&all);
    set_urls(env, complete, url_env);
    return 0;
}

/* ---- the witness ---- */

static int start_witness(struct command_env *env, struct err *err)
{
    if (env->engine == &engine_postgres) {
        int version = db_version(env->db);
        if (version >= 150000)
            return 0;
        err_set(err, ERR_ENV,
                "the scratch server is PostgreSQL %d: for commands it must be 15 or "
                "newer",
                version / 10000);
        return err_hint(err, "older servers do not tell in time whether a command opened the "
                             "scratch database; leave out --scratch-url, or name a newer server");
    }
    env->inotify_fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    if (env->inotify_fd < 0 || inotify_add_watch(env->inotify_fd, env->path, IN_OPEN) < 0)
        return err_errno(err, "cannot watch %s", env->path);
    return 0;
}

static int count_sessions(struct command_env *env, long long *ret, struct err *err)
{
    _cleanup_free_ char *count = NULL;
    if (db_query_text(env->db,
                      "select sessions from pg_stat_database where datname = current_database()",
                      NULL, 0, &count, err) < 0)
        return -1;
    *ret = count ? atoll(count) : 0;
    return 0;
}

/* Reads the events that wait; true when there were any. */
static bool take_events(int fd)
{
    char buf[4096] __attribute__((aligned(__alignof__(struct inotify_event))));
    bool any = false;
    for (ssize_t n; (n = read(fd, buf, sizeof(buf))) > 0 || (n < 0 && errno == EINTR);)
        any = any || n > 0;
    return any;
}

int command_env_watch(struct command_env *env, struct err *err)
{
    if (env->db)
        return count_sessions(env, &env->sessions, err);
    take_events(env->inotify_fd);
    return 0;
}

/* A session is counted before it may send its first query; but where the server is busy, the count
 * may be put off until the session ends. */
int command_env_opened(struct command_env *env, bool *ret, struct err *err)
{
    if (!env->db) {
        *ret = take_events(env->inotify_fd);
        return 0;
    }
    long long now = env->sessions;
    for (int i = 0; i < 200 && now == env->sessions; i++) {
        if (i)
            nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
        if (count_sessions(env, &now, err) < 0)
            return -1;
    }
    *ret = now > env->sessions;
    return 0;
}

int command_env_has_tables(struct command_env *env, bool *ret, struct err *err)
{
    static const char in_postgres[] =
        "select 1 from pg_class c join pg_namespace n on n.oid = c.relnamespace"
        " where c.relkind in ('r', 'p', 'v', 'm', 'f') and n.nspname !~ '^pg_'"
        " and n.nspname not in ('information_schema', '" TRACKER_SCHEMA "') limit 1";
    static const char in_sqlite[] = "select 1 from sqlite_master limit 1";
    _cleanup_free_ char *one = NULL;
    _cleanup_db_ struct db *own = NULL;
    if (!env->db && db_open(env->engine, env->path, DB_OPEN_DEFAULT, &own, err) < 0)
        return -1;
    if (db_query_text(env->db ? env->db : own, env->db ? in_postgres : in_sqlite, NULL, 0, &one,
                      err) < 0)
        return -1;
    *ret = one != NULL;
    return 0;
}

/* ---- lifetime ---- */

int command_env_open(const struct engine *e, const char *url, const struct strv *url_env,
                     bool witness, struct command_env **ret, struct err *err)
{
    _cleanup_command_env_ struct command_env *env = xcalloc(1, sizeof(*env));
    env->engine = e;
    env->inotify_fd = -1;
    if (e == &engine_postgres && db_open(e, url, DB_OPEN_DEFAULT, &env->db, err) < 0)
        return -1;
    int rc = e == &engine_postgres ? postgres_variables(env, url, url_env, err)
                                   : sqlite_variables(env, url, url_env, err);
    if (rc < 0 || (witness && start_witness(env, err) < 0))
        return -1;
    remove_others(env);
    if (!witness)
        db_close(TAKE_PTR(env->db)); /* it was there to be asked */
    *ret = TAKE_PTR(env);
    return 0;
}

const struct strv *command_env_variables(const struct command_env *env)
{
    return &env->variables;
}

void command_env_free(struct command_env *env)
{
    if (!env)
        return;
    db_close(env->db);
    if (env->inotify_fd >= 0)
        close(env->inotify_fd);
    strv_release(&env->variables);
    free(env->path);
    free(env);
}
