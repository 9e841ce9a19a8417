/*
 * A project with a database of its own on the fixture's PostgreSQL server (or another one), deployed to by the
 * program as a user runs it.
 *
 *     struct site s;
 *     site_open(&s, NULL, project_folder);
 *     site_belay(&s, 0, "upgrade 1");
 *     site_begin(&s);                          remembers the old state
 *     site_belay(&s, 4, "deploy");
 *     site_is_back(&s, "downgrade");
 *     site_close(&s);
 *
 * States are compared by pg_dump and by plain SQL, not by anything of belay's.
 */
#ifndef BELAY_TESTS_DEPLOY_SITE_H
#define BELAY_TESTS_DEPLOY_SITE_H

#include <sys/types.h>

#include "backup/journal.h"
#include "harness/engine/engine.h"
#include "tests/fixture.h"

struct site {
    char *project, *bundles; /* folders */
    char *url, *server;      /* of the database; of "postgres" beside it */
    char *name;
    char *old;                 /* state_of() at site_begin() */
    char *out, *errors;        /* of the last belay */
    struct deploy_entry entry; /* after site_journal(): the newest deploy */
};

/* server: URL of a database of another server, NULL: the fixture's. The folder is taken over. */
void site_open(struct site *s, const char *server, char *project);
void site_close(struct site *s);

/* Schema as pg_dump tells it, and the hash of each table's rows. The caller owns it. */
char *site_state(const struct site *s, const char *database);
void site_begin(struct site *s);
void site_sql(const struct site *s, const char *sql);
char *site_value(const struct site *s, const char *sql);
/* In the database beside it. */
void site_server_sql(const struct site *s, const char *sql);

/* Runs belay with the site's options; args are separated by blanks, extra arguments follow, NULL-terminated (or NULL). */
void site_belay_with(struct site *s, int expect_exit, const char *args, const char *const *extra);
#define site_belay(s, expect, args) site_belay_with(s, expect, args, NULL)

/* The same with additions to the environment (NULL-terminated, or NULL); returns the exit code, whatever it is. */
int site_try(struct site *s, const char *args, const char *const *env);

/* Waits until the journal has the newest deploy in that state. */
void site_until_journal(struct site *s, enum deploy_state state);

/* Starts belay and returns its process; its output goes to the test's own stderr. */
pid_t site_start(struct site *s, const char *args);
/* Waits for it; returns its exit code, or 128 + the signal that ended it. */
int site_wait(pid_t pid);
/* Waits until the query, asked in database postgres, answers "t"; fails the test after two minutes. */
void site_until(const struct site *s, const char *sql);
/* The text of notes of the newest deploy with that name, a line each; empty while there is no deploy. The caller owns
 * it. */
char *site_notes(struct site *s, const char *what);

/* The newest deploy of the journal. */
void site_journal(struct site *s);
/* The database is what it was; the journal says so, and by which rung. */
void site_is_back(struct site *s, const char *rung);
/* The journal is at that state. */
void site_is_at(struct site *s, enum deploy_state state);

#endif
