/*
 * The user's own database, for the verbs whose purpose it is: where it is, and what state it is in.
 * Nothing else in belay writes to it.
 *
 *     _cleanup_database_ struct database d = {0};
 *     database_find(cli, NULL, &d, err);              opens the source, finds the URL
 *     _cleanup_database_state_ struct database_state s = {0};
 *     database_look(&d, &s, err);                     reads only
 *     database_migrator(&d, DB_OPEN_DEFAULT, &m, err);
 */
#ifndef BELAY_DATABASE_H
#define BELAY_DATABASE_H

#include "harness/schema/snapshot.h"
#include "harness/source/source.h"
#include "runner/cli.h"

struct database {
    const struct cli *cli;
    struct source *source;
    const struct engine *engine;
    char *url;   /* password included, never printed; NULL: none is named anywhere */
    char *shown; /* for display */
};

/* Connects to nothing. Without a URL engine, url and shown are NULL. */
int database_find(const struct cli *cli, struct database *ret, struct err *err);
/* The same, and no URL is ERR_USAGE. */
int database_need(const struct cli *cli, struct database *ret, struct err *err);
void database_release(struct database *d);
#define _cleanup_database_ __attribute__((cleanup(database_release)))

enum tracking {
    TRACKING_EMPTY,   /* no version table, and nothing that a migration could have made */
    TRACKING_MISSING, /* tables, but no version table */
    TRACKING_YES,
};

struct database_state {
    enum tracking tracking;
    bool no_file;             /* SQLite: there is no such file yet (TRACKING_EMPTY) */
    struct revisions current; /* complete */
    struct strv unknown;      /* versions that the project does not have */
    struct snapshot *schema;  /* without the version table and what belay.yaml ignores; for
                                 TRACKING_YES NULL */
};

/* Reads only; the version table is not made. A missing SQLite file is a state, not an error. */
int database_look(const struct database *d, struct database_state *ret, struct err *err);
void database_state_release(struct database_state *s);
#define _cleanup_database_state_ __attribute__((cleanup(database_state_release)))

/* The schema, without the version table and what belay.yaml ignores. */
int database_schema(const struct database *d, struct snapshot **ret, struct err *err);

/* A migrator that has shown to be on this very database. */
int database_migrator(const struct database *d, unsigned db_flags, struct migrator **ret,
                      struct err *err);

/* Takes what belay.yaml ignores out of a snapshot. data: a struct cli; for struct line_env too. */
int database_filter(void *cli, struct snapshot **s, struct err *err);

/* The version table names versions that the project does not have: says so, with what they may
 * have been meant to be. */
int database_unknown(const struct database *d, const struct strv *unknown, struct err *err);

#endif
