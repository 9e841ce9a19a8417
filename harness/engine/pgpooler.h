/*
 * Whether a pooler (pgbouncer, ...) stands between belay and the server that hands each transaction,
 * or each statement, to another session: settings, snapshots, locks and temporary tables do not
 * survive that. One that gives a client a session of its own is as good as the server.
 */
#ifndef BELAY_PGPOOLER_H
#define BELAY_PGPOOLER_H

#include "harness/engine/engine.h"

/* ERR_ENV when such a pooler answers. db: a new session on url, in which nothing was set yet: that would
 * stay, for the pooler's other clients. db_open() with DB_OPEN_READONLY sees to it by itself. */
int pg_refuse_pooler(struct db *db, const char *url, struct err *err);

#endif
