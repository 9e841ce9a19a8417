/*
 * What git knows about the project: for --git-base.
 */
#ifndef BELAY_GIT_H
#define BELAY_GIT_H

#include "harness/base/err.h"
#include "harness/base/str.h"

/*
 * The files of the repository around dir that were added since the common ancestor of ref and HEAD:
 * committed, staged or not yet tracked (ignored ones are not). Real paths, absolute. Not a
 * repository, or an unknown ref: ERR_USAGE.
 */
int git_added_files(const char *dir, const char *ref, struct strv *ret, struct err *err);

#endif
