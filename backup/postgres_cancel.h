/*
 * Ends what sessions wait for once a stop was asked for: a thread that looks at the wish several
 * times a second and cancels what runs.
 *
 *     struct pg_canceller *c;
 *     pg_canceller_start(dbs, n, control, &c, err);
 *     ...
 *     pg_canceller_stop(c);                   before any of the sessions is closed
 */
#ifndef BELAY_POSTGRES_CANCEL_H
#define BELAY_POSTGRES_CANCEL_H

#include "backup/backup.h"
#include "harness/engine/engine.h"

struct pg_canceller;

/* dbs: copied; NULL entries are left out. control NULL: only pg_canceller_now(). */
int pg_canceller_start(struct db *const *dbs, size_t n, const struct backup_control *control,
                       struct pg_canceller **ret, struct err *err);
/* Cancels all of them, from any thread. */
void pg_canceller_now(struct pg_canceller *c);
void pg_canceller_stop(struct pg_canceller *c);
DEFINE_CLEANUP(struct pg_canceller *, pg_canceller_stop);
#define _cleanup_pg_canceller_ _cleanup_(cleanup_pg_canceller_stop)

#endif
