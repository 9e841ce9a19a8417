#include "tests/deploy_site.h"

#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness/base/file.h"
#include "harness/base/proc.h"
#include "harness/engine/url.h"
#include "tests/bundle_fixture.h"

#define MESSAGES(s) (s)->out ? (s)->out : "", (s)->errors ? (s)->errors : ""

static char *url_with(const char *url, const char *name)
{
    _cleanup_err_ struct err err = {0};
    _cleanup_conninfo_ struct conninfo c = {0};
    ASSERT_OK(conninfo_parse(url, &c, &err), &err);
    conninfo_set(&c, "dbname", name);
    return conninfo_url(&c);
}

static void run_on(const char *url, const char *sql)
{
    _cleanup_err_ struct err err = {0};
    _cleanup_db_ struct db *db = NULL;
    ASSERT_OK(db_open(&engine_postgres, url, DB_OPEN_DEFAULT, &db, &err), &err);
    ck_assert_msg(db_run(db, sql, DB_RUN_STATEMENTS, NULL, &err) == 0, "%s: %s", sql, err.message);
}

void site_open(struct site *s, const char *server, char *project)
{
    _cleanup_err_ struct err err = {0};
    *s = (struct site){.project = project, .bundles = dir_new()};
    s->name = xasprintf("app_%d", (int)getpid());
    if (server) {
        s->server = url_with(server, "postgres");
    } else {
        struct scratch *any = NULL;
        ASSERT_OK(scratch_new(fixture_pool(&engine_postgres), &any, &err), &err);
        s->server = url_with(scratch_url(any), "postgres");
        scratch_free(any);
    }
    s->url = url_with(s->server, s->name);
    _cleanup_free_ char *sql = xasprintf("create database %s", s->name);
    run_on(s->server, sql);
}

void site_close(struct site *s)
{
    _cleanup_err_ struct err err = {0};
    _cleanup_db_ struct db *db = NULL;
    _cleanup_rows_ struct rows *rows = NULL;
    _cleanup_free_ char *mine = xasprintf("%s%%", s->name);
    ASSERT_OK(db_open(&engine_postgres, s->server, DB_OPEN_DEFAULT, &db, &err), &err);
    ASSERT_OK(db_query(db, "select datname from pg_database where datname like $1",
                       (const char *[]){mine}, 1, &rows, &err),
              &err);
    for (int i = 0; i < rows_count(rows); i++) {
        _cleanup_free_ char *sql =
            xasprintf("drop database \"%s\" with (force)", rows_get(rows, i, 0));
        ASSERT_OK(db_run(db, sql, DB_RUN_WHOLE, NULL, &err), &err);
    }
    dir_drop(s->bundles);
    dir_drop(s->project);
    free(s->name);
    free(s->url);
    free(s->server);
    free(s->old);
    free(s->out);
    free(s->errors);
    deploy_entry_release(&s->entry);
}

void site_sql(const struct site *s, const char *sql)
{
    run_on(s->url, sql);
}

char *site_value(const struct site *s, const char *sql)
{
    _cleanup_err_ struct err err = {0};
    _cleanup_db_ struct db *db = NULL;
    char *value = NULL;
    ASSERT_OK(db_open(&engine_postgres, s->url, DB_OPEN_DEFAULT, &db, &err), &err);
    ck_assert_msg(db_query_text(db, sql, NULL, 0, &value, &err) == 0, "%s: %s", sql, err.message);
    return value;
}

/* Connection limit and the like are the database's, not in pg_dump --schema-only. */
static void add_rows(struct db *db, const char *database, struct str *state)
{
    static const char tables[] =
        "select format('select coalesce(md5(string_agg(t::text, ''|'' order by t::text)), ''none'')"
        "   from %s t', c.oid::regclass), c.oid::regclass from pg_class c"
        " join pg_namespace n on n.oid = c.relnamespace"
        " where relkind = 'r' and nspname !~ '^pg_' and nspname <> 'information_schema' order by "
        "c.oid::regclass::text";
    _cleanup_err_ struct err err = {0};
    _cleanup_rows_ struct rows *rows = NULL;
    _cleanup_free_ char *limit = NULL;
    ASSERT_OK(db_query(db, tables, NULL, 0, &rows, &err), &err);
    for (int i = 0; i < rows_count(rows); i++) {
        _cleanup_free_ char *hash = NULL;
        ASSERT_OK(db_query_text(db, rows_get(rows, i, 0), NULL, 0, &hash, &err), &err);
        str_addf(state, "%s %s\n", rows_get(rows, i, 1), hash);
    }
    ASSERT_OK(db_query_text(db,
                            "select format('%s %s', datconnlimit, datallowconn) from pg_database"
                            " where datname = $1",
                            (const char *[]){database}, 1, &limit, &err),
              &err);
    str_addf(state, "%s\n", limit);
}

char *site_state(const struct site *s, const char *database)
{
    _cleanup_err_ struct err err = {0};
    _cleanup_db_ struct db *db = NULL;
    _cleanup_proc_result_ struct proc_result r = {0};
    _cleanup_free_ char *url = url_with(s->server, database);
    struct str state = {0};
    const char *argv[] = {"sh", "-c",
                          "pg_dump --schema-only -d \"$URL\" |"
                          " grep -v -e '^.restrict' -e '^.unrestrict' -e '^--'",
                          NULL};
    _cleanup_free_ char *env = xasprintf("URL=%s", url);
    ASSERT_OK(proc_run(&(struct proc_options){.argv = argv, .env = (const char *[]){env, NULL}}, &r,
                       &err),
              &err);
    ck_assert_msg(r.status == 0 && r.output.len > 100, "%s", str_get(&r.errors));
    ASSERT_OK(db_open(&engine_postgres, url, DB_OPEN_DEFAULT, &db, &err), &err);
    str_add(&state, str_get(&r.output));
    add_rows(db, database, &state);
    return str_take(&state);
}

void site_begin(struct site *s)
{
    free(s->old);
    s->old = site_state(s, s->name);
}

void site_server_sql(const struct site *s, const char *sql)
{
    run_on(s->server, sql);
}

struct call {
    char *words, *set[4];
    const char *argv[40], *env[16];
};

static void call_prepare(struct call *c, const struct site *s, const char *args,
                         const char *const *extra, const char *const *env)
{
    static const char *const clean[] = {"DATABASE_URL", "ALEMBIC_CONFIG", "VIRTUAL_ENV",
                                        "BELAY_FORMAT", "NO_COLOR=1",     "LC_ALL=C.UTF-8"};
    *c = (struct call){.words = xstrdup(args), .argv = {getenv("BELAY_BIN")}};
    c->set[0] = xasprintf("BELAY_URL=%s", s->url);
    c->set[1] = xasprintf("BELAY_BUNDLES=%s", s->bundles);
    c->set[2] = xasprintf("BELAY_SCRATCH_URL=%s", s->server);
    c->set[3] = xstrdup("BELAY_PYTHON=/usr/bin/python3");
    size_t n = 1, nenv = 0;
    char *saved = NULL;
    for (char *w = strtok_r(c->words, " ", &saved); w; w = strtok_r(NULL, " ", &saved))
        c->argv[n++] = w;
    for (; extra && *extra; extra++)
        c->argv[n++] = *extra;
    ck_assert_uint_lt(n, ARRAY_LEN(c->argv));
    for (size_t i = 0; i < ARRAY_LEN(clean); i++)
        c->env[nenv++] = clean[i];
    for (size_t i = 0; i < ARRAY_LEN(c->set); i++)
        c->env[nenv++] = c->set[i];
    for (; env && *env; env++)
        c->env[nenv++] = *env;
    ck_assert_uint_lt(nenv, ARRAY_LEN(c->env));
}

static void call_release(struct call *c)
{
    for (size_t i = 0; i < ARRAY_LEN(c->set); i++)
        free(c->set[i]);
    free(c->words);
}

static int run_call(struct site *s, const char *args, const char *const *extra,
                    const char *const *env)
{
    _cleanup_err_ struct err err = {0};
    _cleanup_proc_result_ struct proc_result r = {0};
    struct call c;
    call_prepare(&c, s, args, extra, env);
    ASSERT_OK(
        proc_run(&(struct proc_options){.argv = c.argv, .env = c.env, .dir = s->project}, &r, &err),
        &err);
    call_release(&c);
    free(s->out);
    free(s->errors);
    s->out = str_take(&r.output);
    s->errors = str_take(&r.errors);
    return r.status;
}

int site_try(struct site *s, const char *args, const char *const *env)
{
    return run_call(s, args, NULL, env);
}

void site_belay_with(struct site *s, int expect_exit, const char *args, const char *const *extra)
{
    int status = run_call(s, args, extra, NULL);
    ck_assert_msg(status == expect_exit, "belay %s: exit %d, not %d\n%s\n%s", args, status,
                  expect_exit, MESSAGES(s));
}

pid_t site_start(struct site *s, const char *args)
{
    struct call c;
    call_prepare(&c, s, args, NULL, NULL);
    char **env = proc_environment(c.env);
    pid_t pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        if (chdir(s->project) == 0 && dup2(STDERR_FILENO, STDOUT_FILENO) >= 0)
            execve(c.argv[0], (char *const *)c.argv, env);
        _exit(127);
    }
    free(env);
    call_release(&c);
    return pid;
}

int site_wait(pid_t pid)
{
    int status;
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

void site_until(const struct site *s, const char *sql)
{
    _cleanup_db_ struct db *db = NULL;
    for (int i = 0; i < 12000; i++) {
        _cleanup_err_ struct err err = {0};
        _cleanup_free_ char *value = NULL;
        if (!db && db_open(&engine_postgres, s->server, DB_OPEN_DEFAULT, &db, &err) < 0)
            db = NULL;
        if (db && db_query_text(db, sql, NULL, 0, &value, &err) == 0 && str_eq(value, "t"))
            return;
        usleep(10000);
    }
    ck_abort_msg("waited in vain for %s", sql);
}

/* The newest deploy; false when there is none yet. */
static bool read_newest(struct site *s)
{
    _cleanup_err_ struct err err = {0};
    _cleanup_journal_ struct journal *j = NULL;
    _cleanup_(deploy_entries_release) struct deploy_entries list = {0};
    deploy_entry_release(&s->entry);
    s->entry = (struct deploy_entry){0};
    ASSERT_OK(journal_open(s->bundles, &j, &err), &err);
    ASSERT_OK(journal_list(j, NULL, &list, &err), &err);
    if (!list.n)
        return false;
    s->entry = list.v[0];
    list.v[0] = (struct deploy_entry){0};
    return true;
}

void site_journal(struct site *s)
{
    ck_assert(read_newest(s));
}

char *site_notes(struct site *s, const char *what)
{
    _cleanup_err_ struct err err = {0};
    _cleanup_journal_ struct journal *j = NULL;
    struct deploy_notes notes = {0};
    struct str text = {0};
    str_add(&text, "");
    if (!read_newest(s))
        return str_take(&text);
    ASSERT_OK(journal_open(s->bundles, &j, &err), &err);
    ASSERT_OK(journal_notes(j, s->entry.id, &notes, &err), &err);
    for (size_t i = 0; i < notes.n; i++)
        if (str_eq(notes.v[i].what, what))
            str_addf(&text, "%s\n", notes.v[i].detail ? notes.v[i].detail : "");
    deploy_notes_release(&notes);
    return str_take(&text);
}

void site_is_at(struct site *s, enum deploy_state state)
{
    site_journal(s);
    ck_assert_msg(s->entry.state == state, "the journal says %s, not %s\n%s\n%s",
                  deploy_state_name(s->entry.state), deploy_state_name(state), MESSAGES(s));
}

void site_is_back(struct site *s, const char *rung)
{
    _cleanup_free_ char *now = site_state(s, s->name);
    site_is_at(s, DEPLOY_RESTORED);
    ck_assert_msg(str_eq(s->entry.rung, rung), "rung %s, not %s\n%s\n%s", s->entry.rung, rung,
                  MESSAGES(s));
    ck_assert_msg(strcmp(now, s->old) == 0, "was:\n%s\nis:\n%s\n%s\n%s", s->old, now, MESSAGES(s));
}

void site_until_journal(struct site *s, enum deploy_state state)
{
    for (int i = 0; i < 12000; i++) {
        site_journal(s);
        if (s->entry.state == state)
            return;
        usleep(10000);
    }
    ck_abort_msg("the journal never says %s", deploy_state_name(state));
}
