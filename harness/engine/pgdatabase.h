/*
 * What belongs to a PostgreSQL database but is not in it: owner, connection limit, settings,
 * privileges, comment and security labels. Neither CREATE DATABASE ... TEMPLATE nor pg_dump copies
 * it.
 */
#ifndef BELAY_PGDATABASE_H
#define BELAY_PGDATABASE_H

#include "harness/engine/engine.h"

/*
 * Appends the statements that give all that `from` has to the database `to`, in the order in which
 * they must run; a comment that is belay's own mark is left out. to NULL: the statements say
 * :"database" once, as psql's variables are written; see pg_database_statement().
 */
int pg_database_statements(struct db *db, const char *from, const char *to, struct strv *ret,
                           struct err *err);

/* A statement with a database's name in place of :"database". The caller owns the result. */
char *pg_database_statement(const struct db *db, const char *statement, const char *name);

#endif
