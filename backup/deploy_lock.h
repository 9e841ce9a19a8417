/*
 * The lock that makes deploys of one database take turns: belays on any host, in any container.
 *
 * PostgreSQL: an advisory lock, keyed by the database's name, of a session on another database of the
 * server ("postgres", else template1), because the database itself is renamed when a bundle is
 * restored. It ends with the session: nothing is left behind by a belay that dies.
 * SQLite: flock() on the database file, which ends with the process. The file is made when it is
 * missing, and removed again when it is still empty at the end.
 *
 *     struct deploy_lock *lock = NULL;
 *     char *holder = NULL;
 *     rc = deploy_lock_take(engine, url, &lock, &holder, err);   1: taken, 0: somebody else has it
 *     deploy_lock_confirm(lock, err);                            before anything that cannot be undone
 *     deploy_lock_free(lock);
 */
#ifndef BELAY_DEPLOY_LOCK_H
#define BELAY_DEPLOY_LOCK_H

#include "harness/base/cleanup.h"
#include "harness/engine/engine.h"

struct deploy_lock;

/*
 * Does not wait. *ret_holder, owned by the caller, is set with 0: who has the lock, as far as the
 * server or the kernel tells. A connection on which locks do not hold (a pool that shares server
 * sessions between transactions) is ERR_ENV. The lock of a PostgreSQL database that has another name
 * because it was fenced off is taken like any other.
 */
int deploy_lock_take(const struct engine *e, const char *url, struct deploy_lock **ret,
                     char **ret_holder, struct err *err);
/* ERR_ENV when the session goes through a pool, where neither locks nor settings of a session hold. It must be
 * one that has set nothing (DB_OPEN_DEFAULT): the pool would hand that on to others. */
int deploy_refuse_pool(struct db *db, struct err *err);
/* ERR_ENV when the lock was lost: the session is gone, and somebody else may have it now. */
int deploy_lock_confirm(struct deploy_lock *l, struct err *err);
/* PostgreSQL: the database's name, which it may not have at present (deploy_fence.c). Owned by the lock. */
const char *deploy_lock_name(const struct deploy_lock *l);
/* The session that holds it, on the maintenance database (PostgreSQL); else NULL. */
struct db *deploy_lock_db(struct deploy_lock *l);
/* For SQLite: when no session of this process is open on the file any more, since closing the file would
 * take their locks away (fcntl(2)). */
void deploy_lock_free(struct deploy_lock *l);
DEFINE_CLEANUP(struct deploy_lock *, deploy_lock_free);

#endif
