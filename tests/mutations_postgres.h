/*
 * The mutation suite of the PostgreSQL reader: statements that each change one attribute of a
 * schema, and what the diff of the snapshots before and after must say. The statements of a group
 * build on each other; the group's setup runs first, on an empty database.
 *
 * Run as the superuser mut_owner. " DB " stands for the name of the database.
 */
#ifndef BELAY_TESTS_MUTATIONS_POSTGRES_H
#define BELAY_TESTS_MUTATIONS_POSTGRES_H

#include <stdbool.h>

struct mutation {
    const char *sql;    /* NULL ends the list */
    const char *change; /* change_text() of the first change; NULL: a control, nothing may differ */
    bool beyond_dump;   /* a real difference that pg_dump does not show */
};

struct mutation_group {
    const char *name;         /* NULL ends the list */
    const char *const *setup; /* ends with NULL */
    const struct mutation *mutations;
    bool roles; /* compare roles too, with pg_dumpall */
};

extern const struct mutation_group mutation_groups[];

#endif
