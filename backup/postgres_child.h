/*
 * pg_dump and pg_restore on a database: the URL goes into argv without its password, which the child
 * finds in its environment.
 */
#ifndef BELAY_POSTGRES_CHILD_H
#define BELAY_POSTGRES_CHILD_H

#include "backup/backup.h"
#include "harness/base/proc.h"

struct pg_child {
    char *url;      /* without the password */
    char *password; /* "PGPASSWORD=..."; or NULL */
};

int pg_child_init(struct pg_child *c, const char *url, struct err *err);
void pg_child_release(struct pg_child *c);
#define _cleanup_pg_child_ __attribute__((cleanup(pg_child_release)))

/* For those who read or fill a database with more tables than the server has locks for. */
#define PG_LOCK_TABLE_HINT                                                                         \
    "raise max_locks_per_transaction in the server's configuration, and restart it"

/*
 * Runs argv with --no-password and --dbname added. options: settings of its sessions, "-c
 * synchronous_commit=off ...", or NULL. An exit code that is not 0 is ERR_ENV, "<program> failed
 * <doing>", with what it printed as the detail.
 */
int pg_child_run(const struct pg_child *c, const char *const *argv, const char *options,
                 const char *doing, const struct backup_control *control, struct str *ret_output,
                 struct err *err);

#endif
