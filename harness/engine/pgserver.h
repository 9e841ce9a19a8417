/*
 * A private PostgreSQL server: made by belay in a guarded folder, reachable through a unix socket
 * in it and nowhere else, gone when belay is gone (see guard.h).
 *
 *     struct pgserver *s;
 *     pgserver_start(0, &s, err);
 *     db_open(&engine_postgres, pgserver_url(s), ...);   database postgres, superuser postgres
 *     pgserver_stop(s);
 *
 * Run by root, the server itself runs as the user postgres (or nobody): PostgreSQL refuses root.
 * The result of initdb is cached per version and user below $XDG_CACHE_HOME or ~/.cache.
 */
#ifndef BELAY_PGSERVER_H
#define BELAY_PGSERVER_H

#include "harness/engine/guard.h"

struct pgserver;

/* room: bytes that its databases may come to, beyond a few hundred small tables. */
int pgserver_start(unsigned long long room, struct pgserver **ret, struct err *err);
const char *pgserver_url(const struct pgserver *s);     /* owned by s */
const char *pgserver_version(const struct pgserver *s); /* "15.18" */
const char *pgserver_place(const struct pgserver *s);   /* "/dev/shm" */
void pgserver_stop(struct pgserver *s);
/* Leaves the server running (--keep-scratch); the process to send SIGTERM to when it may go. */
pid_t pgserver_detach(struct pgserver *s);

#endif
