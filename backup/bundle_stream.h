/*
 * The bytes of a bundle's tar file on their way to and from the disk, in the clear or encrypted:
 *
 *     BUNDLE_MAGIC             16 bytes
 *     header                   24 bytes, of crypto_secretstream_xchacha20poly1305
 *     messages                 of BUNDLE_MESSAGE plain bytes each, 17 more when encrypted, without
 *                              additional data; the last, which may be shorter, has TAG_FINAL
 */
#ifndef BELAY_BUNDLE_STREAM_H
#define BELAY_BUNDLE_STREAM_H

#include <sodium.h>
#include <stdbool.h>
#include <stdint.h>

#include "harness/base/err.h"

#define BUNDLE_MAGIC "BELAY-SEALED-01\n"
enum { BUNDLE_MAGIC_SIZE = 16, BUNDLE_MESSAGE = 64 << 10 };

struct bundle_crypt; /* the key, the state and a message's buffers */

struct bundle_out {
    int fd;           /* the caller's */
    const char *path; /* for errors; the caller's */
    uint64_t offset;  /* plain bytes so far */
    struct bundle_crypt *crypt;
};

/* Whether the file holds a key that can be used. */
int bundle_key_check(const char *key_file, struct err *err);

int bundle_out_init(struct bundle_out *ret, int fd, const char *path, const char *key_file,
                    struct err *err);
int bundle_out_write(struct bundle_out *o, const void *data, size_t len, struct err *err);
/* Writes what is left. */
int bundle_out_end(struct bundle_out *o, struct err *err);
void bundle_out_release(struct bundle_out *o);

struct bundle_in {
    int fd;
    char *path;
    uint64_t file_size;
    uint64_t size;   /* plain bytes, as the length of the file has it */
    uint64_t offset; /* of the next plain byte */
    struct bundle_crypt *crypt;
};

/* An encrypted file without key_file, or the other way round, is ERR_USAGE. */
int bundle_in_open(struct bundle_in *ret, const char *path, const char *key_file, struct err *err);
/* Exactly len bytes. ERR_CONFIG where the file has no more, or they are damaged. */
int bundle_in_read(struct bundle_in *in, void *ret, size_t len, struct err *err);
int bundle_in_skip(struct bundle_in *in, uint64_t len, struct err *err);
int bundle_in_rewind(struct bundle_in *in, struct err *err);
void bundle_in_release(struct bundle_in *in);

/* "PATH is damaged: ...", ERR_CONFIG with err.file. Returns -1. */
int bundle_damaged(const char *path, struct err *err, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

#endif
