/*
 * belay.yaml, and the parts of it that a scenario.yaml shares: schema-checked by libcyaml, every
 * error with file, line and key.
 *
 *     _cleanup_config_ struct config c = {0};
 *     config_find(".", &path);                  NULL when there is none up to the root
 *     config_read(path, &c, err);
 *
 * The keys are the options of the command line that have OPTION_CONFIG (their values are checked
 * there), and:
 *
 *     url_env: [NAME, ...]   environment variables that hold the URL, instead of DATABASE_URL
 *     sqlite_extensions: [FILE, ...]   shared libraries that every SQLite session loads
 *     command: {list, up, down, current, up_all, file, version_tables}   for the shell
 *     rows:    [{table, sql or file, at}, ...]   rows given instead of generated ones
 *     after:   [{sql, expect, name}, ...]   what must hold after a deploy
 *     probes:  [COMMAND, ...]               shell commands that must end with 0 then
 *     hooks:   {before, after, on_failure}  shell commands around a deploy
 *     mask:    {COLUMN: RULE, ...}          of a rehearsal's copy (backup/mask.h)
 *     queries: [SQL or FILE, ...]           of the running application
 *     waivers: [{finding, revision, object, reason, expires}, ...]
 *     ignore:  [{object, reason, expires}, ...]
 */
#ifndef BELAY_CONFIG_H
#define BELAY_CONFIG_H

#include <stddef.h>

#include "backup/deploy.h"
#include "backup/mask.h"
#include "harness/base/err.h"
#include "harness/base/str.h"
#include "runner/roundtrip.h"
#include "runner/scenario.h"
#include "runner/settings.h"

/* `command`: as struct command_options in harness/source/source.h; NULL where a key is absent. */
struct config_command {
    char *list, *up, *down, *current, *up_all, *file;
    struct strv version_tables;
};

/* An item of `rows`: statements that insert the rows of a table, for struct given_rows. */
struct config_rows {
    char *table; /* as reports write it; without a schema: in any */
    char *sql;   /* what is in the file, where one is given */
    char *file;  /* where that came from, else NULL */
    char *at;    /* id of the revision (or its beginning) after which they are inserted; NULL: as
                    soon as the table is there */
    int line;
};

/* An item of `queries`. */
struct config_query {
    char *file; /* where it stands: belay.yaml, or the file that it names */
    int line;   /* of the text's first line there */
    char *text;
};

struct config {
    char *path; /* of the file as it was opened; NULL: none was read */
    /* scalar keys as written, by enum option_id; NULL when absent; a path is already relative to
     * the current folder (or absolute) */
    char **options;
    int *option_lines;
    struct strv url_env;
    struct strv sqlite_extensions;  /* paths, relative to the current folder */
    struct config_command *command; /* NULL: none */
    struct config_rows *rows;
    size_t nrows;
    struct deploy_assertion *after;
    size_t nafter;
    struct strv probes;
    struct mask_rules masks;
    struct config_query *queries;
    size_t nqueries, queries_cap;
    struct config_hooks {
        char *before, *after, *on_failure; /* NULL: none */
    } hooks;
    struct waiver *waivers;
    size_t nwaivers;
    struct ignore *ignores;
    size_t nignores;
    /* scenario.yaml only */
    char *title;
    struct strv engines;
    struct expected *expected;
    size_t nexpected;
    struct scenario_step *steps; /* instead of expected */
    size_t nsteps;
};

/* The nearest belay.yaml in dir or above it; *ret is owned by the caller, NULL when there is none.
 */
void config_find(const char *dir, char **ret);

/* ERR_CONFIG with the place for anything that is wrong. */
int config_read(const char *path, struct config *ret, struct err *err);
/* The same for a scenario.yaml: title, engines, expect and steps as well. */
int config_read_scenario(const char *path, struct config *ret, struct err *err);

/* The options that a belay.yaml or scenario.yaml holds, as level 0. */
int config_settings(const struct config *c, struct settings *to, struct err *err);

/* True for "YYYY-MM-DD" that is a day of the calendar. */
bool config_is_date(const char *text);

void config_release(struct config *c);
#define _cleanup_config_ __attribute__((cleanup(config_release)))

#endif
