/*
 * Between queries.c and the engines.
 */
#ifndef BELAY_QUERIES_IMPL_H
#define BELAY_QUERIES_IMPL_H

#include "harness/observe/queries.h"

struct query_engine {
    const struct engine *engine;
    /* Fills in what the text alone tells. False: it is no query. */
    bool (*parse)(struct query *q);
    /* 1: accepted; 0: not, with the reason in *refusal; -1: could not be found out. */
    int (*accept)(struct queries *all, const struct query *q, struct db *db, struct err *refusal,
                  struct err *err);
    /* Columns that must be given a value and are not, of the INSERT's table. */
    int (*missing)(const struct query_insert *i, struct db *db, struct strv *ret, struct err *err);
};
extern const struct query_engine query_postgres, query_sqlite;

/* A new INSERT of the query; the table's name is taken over. Valid until the next one is added. */
struct query_insert *query_add_insert(struct query *q, char *table);

#endif
