/*
 * PostgreSQL's programs on this machine: in the folders of PATH, where `pg_config --bindir` says,
 * and in /usr/lib/postgresql/N/bin.
 */
#ifndef BELAY_PGPROGRAM_H
#define BELAY_PGPROGRAM_H

#include <stdbool.h>

#include "harness/base/err.h"
#include "harness/base/str.h"

/* Folders that may hold the program, each once, in that order. */
void pg_program_dirs(const char *program, struct strv *ret);

/* What path says of itself, "15.18" (owned by the caller) and 150018; false when it does not run. */
bool pg_program_version(const char *path, char **ret_text, int *ret_number);

/*
 * The client program (pg_dump, pg_restore) whose major version is the lowest that is not below
 * `major`: *ret_path is owned by the caller, *ret_number like 150018 (NULL: not wanted). ERR_ENV with
 * a hint when there is none.
 */
int pg_program_find(const char *program, int major, char **ret_path, int *ret_number,
                    struct err *err);

#endif
