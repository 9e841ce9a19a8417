/*
 * Files: reading whole ones, replacing them so that a crash leaves the old or the new content,
 * and removing trees that belay made.
 */
#ifndef BELAY_FILE_H
#define BELAY_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "harness/base/err.h"

/*
 * Reads a whole regular file. *ret_data is NUL-terminated and owned by the caller; ret_len may be
 * NULL. A missing or unreadable file is ERR_CONFIG with err.file set.
 */
int file_read(const char *path, char **ret_data, size_t *ret_len, struct err *err);

/* Like file_read, and refuses bytes that are not UTF-8 (err.line says where). A leading byte order
 * mark is dropped. */
int file_read_text(const char *path, char **ret_data, size_t *ret_len, struct err *err);

/*
 * Replaces path: temporary file beside it, write, fsync, rename, fsync of the folder. On failure
 * the old content is untouched and the temporary file is gone.
 */
int file_replace(const char *path, const void *data, size_t len, unsigned mode, struct err *err);

/* Writes all of it; 0, or -1 with errno set. A short write goes on, EINTR too. */
int file_write(int fd, const void *data, size_t len);
/* fsync(), again after EINTR; 0, or -1 with errno set. */
int file_sync(int fd);
/* Makes what was created, renamed or removed in the folder durable. */
int dir_sync(const char *path, struct err *err);

/* ERR_ENV when the file system of the folder has less room than that for whoever runs belay. */
int dir_room(const char *path, uint64_t bytes, struct err *err);

bool file_exists(const char *path);
bool dir_exists(const char *path);

/* mkdir -p. Folders made get the mode. */
int dir_make(const char *path, unsigned mode, struct err *err);

/* Removes a file, or a folder with everything below it; symbolic links are not followed. Something
 * already gone is no error. */
int tree_remove(const char *path, struct err *err);

/* "dir/name"; an absolute name gives name alone, and so does an empty dir or ".". The caller owns
 * the result. */
char *path_join(const char *dir, const char *name);
/* The last component: a pointer into path. */
const char *path_base(const char *path);
/* Everything before the last component ("." when there is none). The caller owns the result. */
char *path_dir(const char *path);
/* path without the prefix "dir/" when it lies below dir: a pointer into path. */
const char *path_relative(const char *path, const char *dir);

#endif
