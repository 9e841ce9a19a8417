/*
 * The steps of a scenario.yaml: what happens to one scratch database, and what must be there
 * afterwards. docs/scenarios.md is the manual of the language.
 */
#ifndef BELAY_SCENARIO_H
#define BELAY_SCENARIO_H

#include <stdbool.h>
#include <stddef.h>

#include "harness/base/err.h"
#include "harness/base/str.h"

/* A finding that a scenario expects. */
struct expected {
    char *finding;
    char *revision; /* NULL: any */
    char *object;   /* NULL: any; a pattern as in struct waiver */
    int line;
};

enum scenario_kind {
    SCENARIO_UPGRADE, /* text: the target */
    SCENARIO_DOWNGRADE,
    SCENARIO_STAMP,
    SCENARIO_SQL,      /* text: the SQL */
    SCENARIO_PREVIEW,  /* text: the range whose SQL is run as `belay sql` writes it */
    SCENARIO_SNAPSHOT, /* text: the name to keep it under */
    SCENARIO_CHECK,
    SCENARIO_EXPECT,
    SCENARIO_REVISION,
    SCENARIO_MERGE,
};

/* A revision that is written; but for the message, what is NULL is left to the tool. */
struct scenario_revision {
    char *message, *id;
    char *head; /* the revision to follow; NULL: the only head. Of SCENARIO_REVISION, as the rest */
    char *branch_label;
    bool autogenerate;
};

/* A query and its rows, columns joined by "|". */
struct scenario_rows {
    char *query;
    struct strv rows;
};

struct scenario_step {
    enum scenario_kind kind;
    char *text;
    int line;                          /* in the file */
    struct scenario_revision revision; /* SCENARIO_REVISION, SCENARIO_MERGE (of all heads) */
    /* SCENARIO_EXPECT; what is empty or NULL is not looked at */
    struct scenario_rows *rows;
    size_t nrows;
    /* patterns as in struct waiver, with ": PROPERTY VALUE" where a property must match too */
    struct strv objects, absent;
    struct strv revisions; /* exactly these are applied last; "base": none */
    char *snapshot;        /* the schema equals the one kept under this name */
    struct expected *findings;
    size_t nfindings;
};

void scenario_step_release(struct scenario_step *s);

struct check_request;
struct config;
struct finding;

bool expected_meets(const struct expected *e, const struct finding *f);

/* Runs the steps on a scratch database of their own. What is not as expected is added to
 * differences, a line each; it ends the run. -1: the environment failed, or the file is wrong. */
int scenario_run(const struct check_request *q, const struct config *scenario,
                 struct str *differences, struct err *err);

#endif
