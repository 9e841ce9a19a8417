/*
 * The tar headers of a bundle, made and read by libarchive: POSIX ustar, regular files, mode 0600,
 * uid, gid and mtime 0.
 */
#ifndef BELAY_TAR_HEADER_H
#define BELAY_TAR_HEADER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    TAR_BLOCK = 512,
    TAR_NAME_MAX = 100,
    TAR_END = 2 * TAR_BLOCK, /* zeros at the end of the file */
};
#define TAR_SIZE_MAX UINT64_C(077777777777) /* 8 GiB - 1 */

/* name: at most TAR_NAME_MAX bytes; size: at most TAR_SIZE_MAX. */
void tar_header(unsigned char ret[TAR_BLOCK], const char *name, uint64_t size);
/* Name and size of such a header; false for any other block, and for a damaged one. */
bool tar_header_read(const unsigned char block[TAR_BLOCK], char ret_name[TAR_NAME_MAX + 1],
                     uint64_t *ret_size);
/* Zeros after a member of that size. */
size_t tar_padding(uint64_t size);
/* Bytes that a member of that size takes, with header and padding. */
uint64_t tar_extent(uint64_t size);

#endif
