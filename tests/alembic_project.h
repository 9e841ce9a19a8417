/*
 * An Alembic project that a test writes into a folder of its own, run by Debian's Python, with a
 * scratch database and a migrator on it.
 *
 *     static const struct rev revisions[] = {
 *         {"r1", "down_revision = None", "op.execute('create table a (id int)')", "pass"}, {0}};
 *     struct project p;
 *     project_open(&p, &engine_sqlite, revisions);
 *     expect(&p, "r1", STEP_UP, STEP_OK);
 *     project_close(&p);
 *
 * What goes wrong in a helper fails the test. A suite that uses this begins its main() with
 * alembic_suite_begin().
 */
#ifndef BELAY_TESTS_ALEMBIC_PROJECT_H
#define BELAY_TESTS_ALEMBIC_PROJECT_H

#include <string.h>

#include "harness/source/source.h"
#include "tests/fixture.h"
#include "tests/migration_folder.h"

#define PYTHON "/usr/bin/python3"

/* A file alembic/versions/ID_x.py. Bodies are Python, one statement a line; NULL: there is no such
 * function. Lists end with id NULL. */
struct rev {
    const char *id, *head; /* head: further lines at the top; must set down_revision */
    const char *up, *down;
};

struct project {
    const struct engine *engine;
    char *dir;
    struct scratch *scratch;
    struct source *source;
    struct migrator *m;
};

/* Two revisions that every engine and driver takes. */
extern const struct rev two_revisions[];

/* ---- env.py ---- */

/* As the templates of Alembic write them; %s: what configure() is given besides. */
extern const char sync_env[], async_env[];
/* The template with the options in place. The caller owns it. */
char *env_with(const char *env, const char *options);

/* The beginning and the end of a smaller one, which reads `url`. */
#define ENGINE                                                                                     \
    "from alembic import context\n"                                                                \
    "from sqlalchemy import create_engine, pool\n"                                                 \
    "url = context.config.get_main_option('sqlalchemy.url')\n"
#define RUN                                                                                        \
    "with create_engine(url, poolclass=pool.NullPool).connect() as connection:\n"                  \
    "    context.configure(connection=connection)\n"                                               \
    "    with context.begin_transaction():\n"                                                      \
    "        context.run_migrations()\n"

/* ---- a project ---- */

/* Writes the project; its alembic.ini has a URL of that driver which leads nowhere, with the
 * password "secret". The caller owns the folder. */
char *project_write(const char *driver, const char *env, const struct rev *revisions);
void write_text(const char *dir, const char *name, const char *text);
const char *driver_of(const struct engine *e);

int open_source(const char *dir, struct source **ret, struct err *err);
/* With source and scratch database; dir is taken over. */
void project_begin(struct project *p, const struct engine *e, char *dir);
/* The same with options of its own (dir and python are filled in), and the migrator. */
void project_open_with(struct project *p, const struct engine *e, char *dir,
                       struct source_options o);
int project_migrator(struct project *p, struct err *err);
/* All of it. */
void project_open_env(struct project *p, const struct engine *e, const char *driver,
                      const char *env, const struct rev *revisions);
void project_open(struct project *p, const struct engine *e, const struct rev *revisions);
void project_close(struct project *p);

/* ---- what it does ---- */

const struct revision *revision_of(struct project *p, const char *id);
void step(struct project *p, const char *id, enum step_direction d, struct step_result *ret);
/* A step with that outcome, which leaves the session as it was. */
void expect(struct project *p, const char *id, enum step_direction d, enum step_outcome outcome);
/* ids: separated by blanks */
void expect_current(struct project *p, const char *ids);
/* Every revision in one go. */
void run_straight(struct project *p, size_t expect_done, enum step_outcome outcome,
                  struct step_result *ret);
/* From a session of the test's own; "error" when the SQL fails, "null". The caller owns it. */
char *value_of(struct project *p, const char *sql);
void expect_value(struct project *p, const char *sql, const char *expected);

/* ---- the suite ---- */

/* True when the interpreter runs this without an exception: "import asyncpg". */
bool python_runs(const char *code);
/* NULL, or why no test of Alembic can run here. Takes what the tester's environment says away. */
const char *alembic_suite_begin(void);

#endif
