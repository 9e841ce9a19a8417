/*
 * Ends what sessions wait for once a stop was asked for: a thread that looks at the wish several
 * times a second and cancels what runs.
 *
 *     struct canceller *c;
 *     canceller_start(dbs, n, control, &c, err);
 *     ...
 *     canceller_stop(c);                   before any of the sessions is closed
 */
#ifndef BELAY_CANCELLER_H
#define BELAY_CANCELLER_H

#include "backup/backup.h"
#include "harness/engine/engine.h"

struct canceller;

/* dbs: copied; NULL entries are left out. control NULL: only canceller_now(). */
int canceller_start(struct db *const *dbs, size_t n, const struct backup_control *control,
                    struct canceller **ret, struct err *err);
/* Cancels all of them, from any thread. */
void canceller_now(struct canceller *c);
/* Can be read from once they are cancelled, for child processes that shall end too (struct
 * proc_options). */
const int *canceller_fd(const struct canceller *c);
void canceller_stop(struct canceller *c);
DEFINE_CLEANUP(struct canceller *, canceller_stop);
#define _cleanup_canceller_ _cleanup_(cleanup_canceller_stop)

#endif
