/*
 * Scratch databases: made by belay, proved to be belay's own, destroyed by belay.
 *
 * A pool is where scratch databases of one engine live: a 0700 folder on tmpfs (SQLite), a private
 * PostgreSQL server (PostgreSQL), or somebody's server on which belay may create databases
 * (--scratch-url).
 *
 *     struct scratch_pool *pool;
 *     scratch_pool_open(&engine_postgres, &(struct scratch_options){0}, &pool, err);
 *     struct scratch *a, *b;
 *     scratch_new(pool, &a, err);                 empty database
 *     db_open(engine, scratch_url(a), DB_OPEN_SCRATCH, &db, err);
 *     ... db_close(db);
 *     scratch_copy(a, &b, err);                   no session may be open on a
 *     scratch_free(a);                            drops the database
 *     scratch_pool_close(pool);                   drops what is left, stops the server
 *
 * Nothing outlives belay: a guardian process stops the private server and removes its folder when
 * belay dies in any way; databases on somebody's server are swept by the next scratch_pool_open()
 * on that server. A sweep touches only what carries belay's mark and whose owner is proved dead.
 *
 * A pool may be used from several threads; a struct scratch from one at a time.
 */
#ifndef BELAY_SCRATCH_H
#define BELAY_SCRATCH_H

#include <stdbool.h>

#include "harness/engine/engine.h"

struct scratch_options {
    const char
        *url;  /* server to create databases on (--scratch-url); NULL for a pool of belay's own */
    bool keep; /* --keep-scratch: leave databases (and the private server) running */
    unsigned long long room; /* bytes that the databases may come to: a pool of belay's own is on
                                tmpfs only where that much is free; 0: they are small */
};

struct scratch_pool;
struct scratch;

int scratch_pool_open(const struct engine *e, const struct scratch_options *options,
                      struct scratch_pool **ret, struct err *err);
/* Drops every scratch database that is left and stops the private server; with options.keep what is
 * left stays, with the server it is on. */
void scratch_pool_close(struct scratch_pool *pool);

/* What serves the pool, for the report: "private PostgreSQL 15.18 on /dev/shm", "/dev/shm". Owned
 * by the pool. */
const char *scratch_pool_describe(const struct scratch_pool *pool);
const struct engine *scratch_pool_engine(const struct scratch_pool *pool);
/* True when belay is alone on the server, so that server-wide changes are its own. */
bool scratch_pool_is_private(const struct scratch_pool *pool);

/* PostgreSQL: the session that makes and drops the databases; the pool's own. */
struct db *scratch_pool_db(struct scratch_pool *pool);

int scratch_new(struct scratch_pool *pool, struct scratch **ret, struct err *err);
/* PostgreSQL: made by CREATE DATABASE name <like>: "template template0 encoding 'LATIN1' ...". */
int scratch_new_like(struct scratch_pool *pool, const char *like, struct scratch **ret,
                     struct err *err);
int scratch_copy(struct scratch *from, struct scratch **ret, struct err *err);
const char *
scratch_url(const struct scratch *s); /* owned by s; holds no password that argv would show */

/* PostgreSQL: the database's name. */
const char *scratch_name(const struct scratch *s);

/* How a session shows that it is on exactly this database: by what belay wrote there when it made
 * it. The strings are owned by s. */
struct db_proof scratch_proof(const struct scratch *s);
/* The same at once, for a session of belay's own. ERR_ENV when it is on another database. */
int scratch_prove(const struct scratch *s, struct db *db, struct err *err);

void scratch_free(struct scratch *s); /* drops the database */
/* Forgets it and frees s: the database has become somebody's, under another name. */
void scratch_give_away(struct scratch *s);
DEFINE_CLEANUP(struct scratch *, scratch_free);
DEFINE_CLEANUP(struct scratch_pool *, scratch_pool_close);
#define _cleanup_scratch_ _cleanup_(cleanup_scratch_free)
#define _cleanup_pool_ _cleanup_(cleanup_scratch_pool_close)

/*
 * Where PostgreSQL server binaries are: the newest (12 or later) of PATH, `pg_config --bindir` and
 * /usr/lib/postgresql/N/bin. Fills *ret_bindir (owned by the caller) and *ret_version ("15.18");
 * ERR_ENV with a hint when none is found.
 */
int postgres_find_server(char **ret_bindir, char **ret_version, struct err *err);

#endif
