/*
 * For code that steps through SQLite's statements with the driver's own handle (db_handle()).
 */
#ifndef BELAY_SQLITE_HANDLE_H
#define BELAY_SQLITE_HANDLE_H

#include "harness/engine/engine.h"

/* The handle's last error as *err; an interruption consumes the request to stop. Returns -1. */
int sqlite_handle_error(struct db *db, struct err *err);

#endif
