/*
 * Watches a migration from outside while its steps run, and from inside through the hook that
 * migrator_observe() gives: statements, locks, rewrites, work on tables, room, and how long small
 * readers and writers (canaries) of the same tables had to wait.
 *
 *     struct observer *o;
 *     observer_open(&(struct observer_options){.engine = e, .url = url}, &o, err);
 *     struct migrator_observer hook = observer_hook(o);
 *     migrator_observe(m, &hook);
 *     observer_begin(o, migrator_db(m), err);
 *     migrator_step(m, ...);
 *     observer_end(o, &measures, err);            once for each begin, also after a failed step
 *     observer_close(o);                          after the migrator
 *
 * PostgreSQL: a thread with sessions of its own samples pg_locks of every other session on the
 * database, a few hundred times a second; after each statement the migrating session itself says
 * which locks it holds, how many rows it has read and written, and which files its relations have
 * now, uncommitted as that is. Once a lock is seen that others would wait for, a reader and a writer
 * try the table again and again: "explain select" and "explain delete", which take the very locks
 * that a query takes, and run nothing. They wait in short turns, so that they can never be the ones
 * that a deadlock leaves alive, and their time adds up over the turns.
 *
 * SQLite: has one lock for the whole database, and any canary that took it could make the migration
 * fail. Its state is read from /proc/locks instead: a writer that came when it was taken would have
 * waited until it was released.
 *
 * Nothing here changes the database.
 */
#ifndef BELAY_OBSERVER_H
#define BELAY_OBSERVER_H

#include "harness/observe/measures.h"
#include "harness/source/source.h"

struct observer;

struct observer_options {
    const struct engine *engine;
    const char *url;
    bool no_canaries;
};

int observer_open(const struct observer_options *o, struct observer **ret, struct err *err);
/* Points into o. */
struct migrator_observer observer_hook(struct observer *o);
/* No session may be in a transaction on the database. session: migrator_db(), or NULL. */
int observer_begin(struct observer *o, struct db *session, struct err *err);
/* Stops watching. On failure *ret is untouched, and the observer may begin again; ERR_ENV when what watched the locks
 * was ended meanwhile: nobody knows then who would have waited. */
int observer_end(struct observer *o, struct measures *ret, struct err *err);
void observer_close(struct observer *o);
DEFINE_CLEANUP(struct observer *, observer_close);
#define _cleanup_observer_ _cleanup_(cleanup_observer_close)

#endif
