/*
 * One check from what the user asked for: opens the source, chooses the engine, makes the scratch
 * pool, runs the round trip. `belay check` and `belay run` share it.
 */
#ifndef BELAY_CHECK_H
#define BELAY_CHECK_H

#include "harness/source/source.h"
#include "runner/config.h"
#include "runner/result.h"
#include "runner/settings.h"

struct check_request {
    const struct settings *settings;
    const char *dir; /* the folder, or one above it; NULL: from the settings, else "." */
    const struct engine *engine;   /* NULL: from the settings, the URLs, or the SQL itself */
    const struct config *config;   /* waivers and ignored objects */
    const struct strv *only_files; /* check only revisions written in these files (real paths);
                                      NULL: as the settings say */
    struct progress progress;
};

/* The engine that a check of the source would use; ERR_USAGE when nothing shows it. */
int check_engine(const struct check_request *q, const struct source *source,
                 const struct engine **ret, struct err *err);

/* 0: a verdict is in *ret. -1: none; *ret holds what was seen until then, and may be empty. */
int check_run(const struct check_request *q, struct check_result *ret, struct err *err);

/* A progress line on stderr, on a terminal only. Clear it before anything else is printed. */
struct progress live_progress(void);
void live_clear(void);

#endif
