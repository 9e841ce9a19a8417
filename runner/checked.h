/*
 * Which revisions a check has passed: a text file that `belay check --record` writes and `belay deploy
 * --require-check` reads, on whatever machine. A line a revision, "HASH ID": BLAKE2b of the file that its upgrade
 * is written in.
 */
#ifndef BELAY_CHECKED_H
#define BELAY_CHECKED_H

#include "harness/source/source.h"
#include "runner/result.h"

/* The revisions that were taken up and down; those that were only replayed or not run are left out. */
int checked_write(const char *path, const struct check_result *r, struct err *err);
/* For struct deploy_options.admit: data is the path. ERR_SOURCE names the pending ones that are not in the file as they are
 * now. */
int checked_admit(void *data, const struct revisions *pending, struct err *err);

#endif
