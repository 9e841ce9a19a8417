/*
 * Old code on a new schema: whether the queries of the running application would still be accepted.
 * Between a migration and the end of a rollout, old code meets the new schema.
 *
 *     struct queries q = {0};
 *     queries_add(&q, &engine_postgres, "app/queries.sql", 1, text);          or
 *     queries_add_statistics(&q, url, err);                 what pg_stat_statements has seen
 *     queries_begin(&q, db, err);                           on the schema before the first revision
 *     ... a revision ...
 *     struct query_breaks b = {0};
 *     queries_check(&q, db, &b, err);                       what is no longer accepted since the last
 *     query_breaks_release(&b);                             queries_begin() or queries_check()
 *     queries_release(&q);
 *
 * Nothing is executed. PostgreSQL parses and analyses each (PREPARE), and plans those with an ON
 * CONFLICT clause (EXPLAIN), since whether there is an index for it is found out no earlier; SQLite
 * compiles each. Beyond that an INSERT is broken when it leaves out a column that became NOT NULL
 * without a default, unless a BEFORE INSERT trigger may fill it in.
 *
 * What this does not see: values that a new constraint or a narrower type refuses, privileges, other
 * results. A query that is not accepted on the schema before is not checked, and says why.
 */
#ifndef BELAY_QUERIES_H
#define BELAY_QUERIES_H

#include "harness/base/str.h"
#include "harness/engine/engine.h"

/* An INSERT within a query. */
struct query_insert {
    char *table;         /* quoted where SQL needs it, and as the query writes it */
    struct strv columns; /* that it names and gives a value */
    bool positional;     /* it names none: the first `given` columns get a value */
    size_t given;
    struct strv missing; /* columns that the schema requires and it does not give, when last seen */
};

struct query {
    char *name; /* for people: "app/queries.sql:4", "pg_stat_statements 7201…, 340 calls" */
    char *text;
    char *reason; /* why it is not checked; NULL: it is */
    bool broken;  /* when last seen */
    /* from the parse tree */
    bool catalog;  /* it asks the system catalogs */
    bool conflict; /* it has an ON CONFLICT clause */
    int parameters;
    struct query_insert *inserts;
    size_t ninserts, inserts_cap;
};

struct queries {
    struct query *v;
    size_t n, cap;
    size_t utility; /* statements that no schema breaks, left out: SET, BEGIN, DDL */
    size_t unseen;  /* entries of pg_stat_statements whose text this role may not see */
    unsigned serial;
};
void queries_release(struct queries *q);

/* Splits text into statements and adds them. line: of the text's first line in the file. */
void queries_add(struct queries *q, const struct engine *e, const char *file, int line,
                 const char *text);

/* What pg_stat_statements has seen in that database, the most often called first, without what asks
 * the system catalogs. ERR_ENV when it is not installed there. */
int queries_add_statistics(struct queries *q, const char *url, struct err *err);

/* db: a session as the application has them (search_path!), in no transaction. Fills in the reasons. */
int queries_begin(struct queries *q, struct db *db, struct err *err);

struct query_break {
    const struct query *query;
    char *message; /* "column \"name\" does not exist" */
    char *hint;    /* or NULL */
    char sqlstate[6];
};
struct query_breaks {
    struct query_break *v;
    size_t n, cap;
};
void query_breaks_release(struct query_breaks *b);

int queries_check(struct queries *q, struct db *db, struct query_breaks *ret, struct err *err);

/* Queries that are checked. */
size_t queries_checked(const struct queries *q);

#endif
