/*
 * An SQLite database that others use, read page by page.
 *
 *     struct sqlite_source s = {0};
 *     sqlite_source_open(&s, url, 10000, err);
 *     sqlite_source_copy(&s, path, page_size, meter, err);
 *     sqlite_source_close(&s);
 *
 * Two sessions. One reads in a transaction, so that the database stays as it is. With a rollback
 * journal the other takes the lock that keeps writers from beginning: a mere reader would let one come
 * as far as locking other readers out (and sqlite3_backup refuses a source that holds that lock
 * itself). With a WAL nobody waits.
 */
#ifndef BELAY_SQLITE_SOURCE_H
#define BELAY_SQLITE_SOURCE_H

#include "backup/meter.h"
#include "harness/engine/engine.h"

struct sqlite_source {
    struct db *db; /* reads, in a transaction */
    struct db *guard;
    bool locked; /* writers wait */
};

int sqlite_source_open(struct sqlite_source *s, const char *url, int lock_timeout_ms,
                       struct err *err);
/* Into an existing, empty file, without syncing it. */
int sqlite_source_copy(struct sqlite_source *s, const char *path, int page_size,
                       struct meter *meter, struct err *err);
/* Ends both sessions; locked stays. */
void sqlite_source_close(struct sqlite_source *s);

/* What integrity_check and foreign_key_check have to say of a database, a line each. */
int sqlite_check(struct db *db, struct strv *ret, struct err *err);

#endif
