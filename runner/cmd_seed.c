/* belay seed: fills the empty tables of a database that the user names. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "harness/base/cleanup.h"
#include "harness/base/printable.h"
#include "harness/data/generate.h"
#include "harness/engine/url.h"
#include "runner/cli.h"
#include "runner/project.h"

/* A row in one of these would be a revision that nobody applied. */
static const char *const version_tables[] = {
    "alembic_version", "schema_migrations",     "goose_db_version",   "__diesel_schema_migrations",
    "gorp_migrations", "flyway_schema_history", "_prisma_migrations", "django_migrations",
    "knex_migrations", "knex_migrations_lock",
};

/* The name that the user types: of the database, or the file's without its folder. */
static int database_name(struct db *db, const char *url, char **ret, struct err *err)
{
    if (db_engine(db) == &engine_postgres)
        return db_query_text(db, "select current_database()", NULL, 0, ret, err);
    _cleanup_free_ char *path = NULL;
    if (url_sqlite_path(url, &path, err) < 0)
        return -1;
    const char *slash = strrchr(path, '/');
    *ret = xstrdup(slash ? slash + 1 : path);
    return 0;
}

static int can_write(struct db *db, const char *shown, struct err *err)
{
    if (db_engine(db) == &engine_sqlite) {
        if (db_run(db, "begin immediate; rollback", 0, NULL, err) < 0)
            return err_prefix(err, "%s cannot be written to", shown);
        return 0;
    }
    _cleanup_free_ char *only = NULL;
    if (db_query_text(db, "select current_setting('transaction_read_only')", NULL, 0, &only, err) <
        0)
        return -1;
    if (strcmp(only, "on") != 0)
        return 0;
    err_set(err, ERR_ENV, "%s cannot be written to: its transactions are read-only", shown);
    return err_hint(err, "is it a standby, or default_transaction_read_only set?");
}

static int confirm(struct cli *cli, const char *shown, const char *name, struct err *err)
{
    if (settings_on(&cli->settings, OPT_YES))
        return 0;
    if (!isatty(STDIN_FILENO)) {
        err_set(err, ERR_USAGE, "nobody is there to confirm that rows may be written to %s", shown);
        return err_hint(err, "--yes says so");
    }
    fprintf(stderr,
            "Every empty table of %s gets rows.\nType the database's name, %s, to go on: ", shown,
            name);
    fflush(stderr);
    char line[256];
    if (!fgets(line, sizeof(line), stdin))
        line[0] = '\0';
    line[strcspn(line, "\r\n")] = '\0';
    if (strcmp(line, name) != 0)
        return err_set(err, ERR_USAGE, "not confirmed: nothing was written");
    return 0;
}

/* The version tables of the project that is named or found here, if there is one, and the usual
 * ones. */
static int leave_out(struct cli *cli, struct source **ret_source, struct strv *ret, struct err *err)
{
    _cleanup_err_ struct err none = {0};
    bool named = settings_get(&cli->settings, OPT_DIR) || settings_get(&cli->settings, OPT_FORMAT);
    if (project_open(&cli->settings, &cli->config, NULL, ret_source, &none) < 0 && named) {
        err_move(err, &none);
        return -1;
    }
    for (size_t i = 0; i < ARRAY_LEN(version_tables); i++)
        strv_add(ret, version_tables[i]);
    const char *const *own = *ret_source ? source_version_tables(*ret_source) : NULL;
    for (; own && *own; own++)
        strv_add(ret, *own);
    strv_add(ret, NULL);
    return 0;
}

static void print_line(const char *text)
{
    _cleanup_free_ char *shown = text_printable(text);
    puts(shown);
}

static int print_report(const struct cli *cli, const struct generate_report *r, int rows)
{
    bool quiet = settings_on(&cli->settings, OPT_QUIET);
    for (size_t i = 0; i < r->filled.n && !quiet; i++) {
        _cleanup_free_ char *line = xasprintf("filled  %s", r->filled.v[i]);
        print_line(line);
    }
    for (size_t i = 0; i < r->failed.n; i++) {
        _cleanup_free_ char *line = xasprintf("empty   %s: %s", r->failed.v[i], r->why.v[i]);
        print_line(line);
    }
    const char *seed = settings_get(&cli->settings, OPT_SEED);
    if (r->filled.n + r->failed.n == 0)
        puts("no table is empty: nothing was written");
    else
        printf("%zu tables filled, %d rows each, %zu not (seed %s)\n", r->filled.n, rows,
               r->failed.n, seed ? seed : "1");
    return r->failed.n ? EXIT_FINDINGS : EXIT_CLEAN;
}

int cmd_seed(struct cli *cli, struct err *err)
{
    const char *url = cli->args.v[0], *rows = settings_get(&cli->settings, OPT_ROWS);
    const struct engine *e = engine_for_url(url, err);
    _cleanup_db_ struct db *db = NULL;
    _cleanup_free_ char *shown = url_redact(url), *name = NULL;
    if (!e)
        return -1;
    if (project_extensions(&cli->config, e, err) < 0)
        return -1;
    if (db_open(e, url, DB_OPEN_DEFAULT, &db, err) < 0 || database_name(db, url, &name, err) < 0 ||
        can_write(db, shown, err) < 0)
        return -1;
    _cleanup_(cleanup_source_free) struct source *source = NULL;
    _cleanup_strv_ struct strv left_out = {0};
    if (leave_out(cli, &source, &left_out, err) < 0 || confirm(cli, shown, name, err) < 0)
        return -1;

    _cleanup_free_ struct given_rows *given =
        xcalloc(cli->config.nrows + 1, sizeof(struct given_rows));
    struct generate_options o = {
        .rows = rows ? settings_number(&cli->settings, OPT_ROWS) : GENERATE_ROWS,
        .seed = settings_get(&cli->settings, OPT_SEED)
                    ? (uint64_t)settings_number(&cli->settings, OPT_SEED)
                    : 1,
        .kind = GENERATE_ALL,
        .given = given,
        .leave_out = (const char *const *)left_out.v,
    };
    /* those of a revision may not fit the schema as it is now */
    for (size_t i = 0; i < cli->config.nrows; i++)
        if (!cli->config.rows[i].at)
            given[o.ngiven++] =
                (struct given_rows){cli->config.rows[i].table, cli->config.rows[i].sql};
    struct generate_report report = {0};
    int r = generate_rows(db, NULL, &o, &report, err);
    if (r == 0)
        r = print_report(cli, &report, o.rows);
    generate_report_release(&report);
    return r;
}
