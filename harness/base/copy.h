/*
 * Copying files and folders that nobody changes meanwhile, the cheapest way the file system offers
 * (shared blocks, a copy inside the kernel, bytes). Nothing is synced: for scratch data.
 */
#ifndef BELAY_COPY_H
#define BELAY_COPY_H

#include "harness/base/err.h"
#include "harness/base/proc.h"

/* to must not exist; a failed copy is removed. */
int file_copy(const char *from, const char *to, unsigned mode, struct err *err);

/* Copies folders and regular files with their modes; other kinds are ERR_ENV. `to` is created, the
 * copies belong to owner. A failed copy is left where it stopped. */
int tree_copy(const char *from, const char *to, const struct proc_user *owner, struct err *err);

#endif
