/*
 * A bundle into an SQLite file.
 */
#ifndef BELAY_RESTORE_SQLITE_H
#define BELAY_RESTORE_SQLITE_H

#include "backup/backup_impl.h"

int load_sqlite(struct load *l, struct err *err);
int restore_sqlite(struct restore *r, struct err *err);

#endif
