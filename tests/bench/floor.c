/*
 * The floor of the benchmark: replays the revisions of a dbmate folder through one connection and
 * looks at nothing. What belay takes beyond this is the price of its comparisons.
 *
 *     floor ENGINE URL FOLDER STEPS
 *
 * URL is libpq's, or the path of a new SQLite file. STEPS is
 *     round     each revision up, down and up again
 *     check     the steps of a whole check: the above, then all of them down, then all of them up
 * Every step is a transaction of its own that keeps dbmate's version table, as dbmate does it.
 */
#include <dirent.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <libpq-fe.h>
#include <sqlite3.h>

#include "harness/base/file.h"
#include "harness/base/str.h"

struct step {
    char *up, *down; /* whole transactions */
};

static PGconn *pg;
static sqlite3 *lite;

static void die(const char *what, const char *why)
{
    fprintf(stderr, "floor: %s: %s\n", what, why);
    exit(1);
}

static void execute(const char *sql)
{
    if (lite) {
        char *message = NULL;
        if (sqlite3_exec(lite, sql, NULL, NULL, &message) != SQLITE_OK)
            die(sql, message);
        return;
    }
    PGresult *r = PQexec(pg, sql);
    if (PQresultStatus(r) != PGRES_COMMAND_OK && PQresultStatus(r) != PGRES_TUPLES_OK)
        die(sql, PQerrorMessage(pg));
    PQclear(r);
}

static void run(const char *sql, const char *version_change)
{
    execute("begin");
    execute(sql);
    execute(version_change);
    execute("commit");
}

static void connect_to(const char *engine, const char *url)
{
    if (strcmp(engine, "sqlite") == 0) {
        if (sqlite3_open(url, &lite) != SQLITE_OK)
            die(url, sqlite3_errmsg(lite));
        /* as belay opens its scratch databases */
        execute("pragma synchronous = off");
        execute("pragma journal_mode = memory");
    } else {
        pg = PQconnectdb(url);
        if (PQstatus(pg) != CONNECTION_OK)
            die("cannot connect", PQerrorMessage(pg));
        execute("set client_min_messages = warning");
    }
    execute("create table schema_migrations (version varchar(128) primary key)");
}

static int is_sql(const struct dirent *e)
{
    return str_ends(e->d_name, ".sql");
}

int main(int argc, char **argv)
{
    struct dirent **names;
    struct err err = {0};

    if (argc != 5)
        die("usage", "floor ENGINE URL FOLDER round|check");
    int n = scandir(argv[3], &names, is_sql, alphasort);
    if (n <= 0)
        die(argv[3], "no migrations");

    struct step *steps = xcalloc((size_t)n, sizeof(*steps));
    char **add = xcalloc((size_t)n, sizeof(*add)), **take = xcalloc((size_t)n, sizeof(*take));
    for (int i = 0; i < n; i++) {
        char *path = path_join(argv[3], names[i]->d_name), *text;
        if (file_read(path, &text, NULL, &err) < 0)
            die(path, err.message);
        char *down = strstr(text, "-- migrate:down");
        if (!down)
            die(path, "no downgrade");
        steps[i].up = xstrndup(text, (size_t)(down - text));
        steps[i].down = xstrdup(down);
        int digits = (int)strcspn(names[i]->d_name, "_");
        add[i] =
            xasprintf("insert into schema_migrations values ('%.*s')", digits, names[i]->d_name);
        take[i] = xasprintf("delete from schema_migrations where version = '%.*s'", digits,
                            names[i]->d_name);
    }

    connect_to(argv[1], argv[2]);
    for (int i = 0; i < n; i++) {
        run(steps[i].up, add[i]);
        run(steps[i].down, take[i]);
        run(steps[i].up, add[i]);
    }
    if (strcmp(argv[4], "check") == 0) {
        for (int i = n; i-- > 0;)
            run(steps[i].down, take[i]);
        for (int i = 0; i < n; i++)
            run(steps[i].up, add[i]);
    }
    /* the process ends here: freeing what is left would only cost time */
    PQfinish(pg);
    sqlite3_close(lite);
    return 0;
}
