#include "tests/deploy_site.h"

#include <string.h>

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

void site_belay_with(struct site *s, int expect_exit, const char *args, const char *const *extra)
{
    _cleanup_err_ struct err err = {0};
    _cleanup_proc_result_ struct proc_result r = {0};
    _cleanup_free_ char *words = xstrdup(args), *url = xasprintf("BELAY_URL=%s", s->url),
                        *bundles = xasprintf("BELAY_BUNDLES=%s", s->bundles),
                        *scratch = xasprintf("BELAY_SCRATCH_URL=%s", s->server);
    const char *argv[40] = {getenv("BELAY_BIN")};
    const char *env[] = {"DATABASE_URL",
                         "ALEMBIC_CONFIG",
                         "VIRTUAL_ENV",
                         "BELAY_FORMAT",
                         "BELAY_PYTHON=/usr/bin/python3",
                         "NO_COLOR=1",
                         "LC_ALL=C.UTF-8",
                         url,
                         bundles,
                         scratch,
                         NULL};
    size_t n = 1;
    char *saved = NULL;
    for (char *w = strtok_r(words, " ", &saved); w; w = strtok_r(NULL, " ", &saved))
        argv[n++] = w;
    for (; extra && *extra; extra++)
        argv[n++] = *extra;
    ck_assert_uint_lt(n, ARRAY_LEN(argv));
    ASSERT_OK(
        proc_run(&(struct proc_options){.argv = argv, .env = env, .dir = s->project}, &r, &err),
        &err);
    free(s->out);
    free(s->errors);
    s->out = str_take(&r.output);
    s->errors = str_take(&r.errors);
    ck_assert_msg(r.status == expect_exit, "belay %s: exit %d, not %d\n%s\n%s", args, r.status,
                  expect_exit, MESSAGES(s));
}

void site_journal(struct site *s)
{
    _cleanup_err_ struct err err = {0};
    _cleanup_journal_ struct journal *j = NULL;
    _cleanup_(deploy_entries_release) struct deploy_entries list = {0};
    deploy_entry_release(&s->entry);
    s->entry = (struct deploy_entry){0};
    ASSERT_OK(journal_open(s->bundles, &j, &err), &err);
    ASSERT_OK(journal_list(j, NULL, &list, &err), &err);
    ck_assert_uint_gt(list.n, 0);
    s->entry = list.v[0];
    list.v[0] = (struct deploy_entry){0};
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
