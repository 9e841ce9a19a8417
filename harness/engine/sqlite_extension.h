/*
 * Loadable extensions of SQLite, for migrations that use functions which the project's own driver
 * registers. Loaded once into the process, they are there in every session that is opened afterwards.
 * https://sqlite.org/loadext.html describes the format and the name of the entry point.
 */
#ifndef BELAY_SQLITE_EXTENSION_H
#define BELAY_SQLITE_EXTENSION_H

#include "harness/base/err.h"

/* path: of a shared library. It stays loaded until the process ends. ERR_CONFIG when it is none. */
int sqlite_extension_load(const char *path, struct err *err);

#endif
