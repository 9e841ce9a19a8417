/*
 * The project that the settings name: its source, opened with everything they say about it.
 */
#ifndef BELAY_PROJECT_H
#define BELAY_PROJECT_H

#include "harness/source/source.h"
#include "runner/config.h"
#include "runner/settings.h"

/* dir wins over --dir; NULL: --dir, else the current folder. */
int project_open(const struct settings *s, const struct config *c, const char *dir,
                 struct source **ret, struct err *err);

/* Loads what belay.yaml says under sqlite_extensions, where the engine is SQLite. */
int project_extensions(const struct config *c, const struct engine *e, struct err *err);

#endif
