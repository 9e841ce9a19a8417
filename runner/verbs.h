/*
 * What the everyday verbs share: how a revision and the state of a database are written.
 */
#ifndef BELAY_VERBS_H
#define BELAY_VERBS_H

#include <jansson.h>

#include "runner/database.h"

/* " (billing) (head)": labels and place in the graph, as Alembic writes them. The caller owns it. */
char *verb_marks(const struct revision *r);
/* "0002 (head)". The caller owns it. */
char *verb_name(const struct revision *r);
/* "0001, 0002"; "base" for none. The caller owns it. */
char *verb_names(const struct revisions *list);
/* A revision as JSON. A new reference. */
json_t *verb_json(const struct revision *r);
/* Prints an object with "type" and "version" in front, and takes the reference. */
int verb_print_json(const char *type, json_t *members, struct err *err);

/* True for --format json; another report format is ERR_USAGE. */
int verb_wants_json(const struct cli *cli, bool *ret, struct err *err);

/*
 * The database must be empty or tracked, and know no foreign revision; otherwise the reason and the
 * way out go to stderr. Returns 1 when it may go on, 0 when it was refused, -1 on failure.
 */
int verb_admit(const struct database *d, const struct database_state *s, struct err *err);

/* The proposal for a database with tables and no version table, on stderr. */
int verb_propose(const struct database *d, const struct snapshot *schema, struct err *err);

/* What a range may ask for. */
enum verb_ways {
    WAYS_UP,
    WAYS_DOWN,
    WAYS_BOTH,
};

/* The revisions between "FROM:TO", "TO", ":TO", "FROM:", without a database, and which way. */
int verb_range(const struct graph *g, const char *range, enum verb_ways ways, struct revisions *ret,
               enum step_direction *ret_direction, struct err *err);

#endif
