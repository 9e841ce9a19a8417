/*
 * A user with a project, an SQLite database at its first revision with rows in it, and revisions that
 * are pending: for tests that run the program. What the database holds is told by the shell of SQLite, not
 * by belay.
 *
 *     struct world w;
 *     world_open(&w, FOLDER, two_changes);
 *     expect_run(&w, "deploy", 0, "r1 -> r3");
 *     expect_sql(&w, "select id from towns", "7");
 *     world_close(&w);
 *
 * Strings that functions return are the caller's.
 */
#ifndef BELAY_TESTS_DEPLOY_WORLD_H
#define BELAY_TESTS_DEPLOY_WORLD_H

#include "tests/belay_run.h"

enum kind { FOLDER, ALEMBIC, KINDS };
extern const char *const kind_names[];

/* A revision in SQL, one statement a line; down NULL: none. The first is r2. Lists end with up NULL. */
struct change {
    const char *up, *down;
    bool no_transaction; /* SQL folder */
};
extern const struct change two_changes[];

struct world {
    enum kind kind;
    char *dir, *path, *url; /* path: of the database, d.db in dir */
};

void world_open(struct world *w, enum kind kind, const struct change *changes);
void world_close(struct world *w);

/* Runs belay in the folder; more: additions to the environment, or NULL. */
struct run belay(const struct world *w, const char *args);
struct run belay_with(const struct world *w, const char *const *more, const char *args);
/* part: of what it prints on either stream; NULL: anything. */
void expect_run(const struct world *w, const char *args, int status, const char *part);

#define SAID "%s: \"%s\" ended with %d\n-- out:\n%s-- errors:\n%s"
#define SAID_ARGS(w, args, r) kind_names[(w)->kind], args, (r).r.status, (r).out, (r).errors

/* The output of a program that must work. */
char *output_of(const char *const *argv);
/* Everything that the database holds. */
char *dump(const struct world *w);
void sql(const struct world *w, const char *text);
void expect_sql(const struct world *w, const char *query, const char *value);

/* A member of the newest deploy in the journal, "null" for none. */
char *newest(const struct world *w, const char *member);
void expect_newest(const struct world *w, const char *member, const char *value);
size_t deploys(const struct world *w);

#endif
