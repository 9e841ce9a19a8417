/*
 * The container of a bundle: one tar file, readable without belay.
 *
 *     data/000001/000001.zst        a part of the rows of object 1: one zstd frame with a checksum
 *     data/000001/000002.zst        the next; cut between rows, so that each part can be loaded alone
 *     schema/pre-data.dump ...      what the engine's dump adds
 *     manifest.json                 last: a bundle without it is not a bundle
 *
 * Every member is written at once when it is complete, so that several threads can take turns; none is
 * larger than BUNDLE_PART_MAX unless a single row is. Names are made by belay alone: members are [a-z0-9./-],
 * object names stand in the manifest only.
 *
 * An encrypted bundle is the same tar file inside libsodium's secretstream
 * (crypto_secretstream_xchacha20poly1305): BUNDLE_MAGIC, the header, then messages of 64 KiB of
 * plain text each, the last with TAG_FINAL.
 *
 * Writing:
 *
 *     struct bundle_writer *w;
 *     bundle_create(path, &options, &w, err);          path + a temporary suffix, mode 0600
 *     bundle_add(w, "data/000001/000001.zst", data, len, &member, err);     from any thread
 *     bundle_finish(w, manifest, err);                 adds the manifest; fsync, rename, fsync of the folder
 *     bundle_writer_free(w);                           without bundle_finish(): removes the temporary file
 *
 * Reading is one pass from the beginning to the end; nothing is believed that was not checked:
 *
 *     struct bundle_reader *r;
 *     bundle_open(path, key, &r, err);                 reads the manifest (a first pass, which seeks where it can)
 *     bundle_manifest(r);
 *     while ((rc = bundle_next(r, &member, err)) > 0)  in the order of the file, then 0
 *         bundle_read(r, ...)                          the member's bytes; length and hash are checked against the manifest
 *     bundle_reader_free(r);
 */
#ifndef BELAY_BUNDLE_H
#define BELAY_BUNDLE_H

#include <stdint.h>

#include "backup/manifest.h"
#include "harness/base/cleanup.h"
#include "harness/base/err.h"

enum { BUNDLE_PART_MAX = 8 << 20 }; /* bytes of a stored member */

struct bundle_writer;
struct bundle_reader;

struct bundle_write_options {
    const char *key_file; /* 32 bytes, or 64 hexadecimal digits; NULL: not encrypted */
};

/* path must not exist. The folder's free space is the caller's to ask (bundle_free_space()). */
int bundle_create(const char *path, const struct bundle_write_options *o,
                  struct bundle_writer **ret, struct err *err);
/* Appends one member and fills in ret (name, length, hash; owned by the caller) for the manifest. */
int bundle_add(struct bundle_writer *w, const char *name, const void *data, size_t len,
               struct bundle_member *ret, struct err *err);
int bundle_finish(struct bundle_writer *w, const struct manifest *m, struct err *err);
void bundle_writer_free(struct bundle_writer *w);
DEFINE_CLEANUP(struct bundle_writer *, bundle_writer_free);

/* Refuses what is not a whole bundle of a known version: ERR_CONFIG, with err.file. Memory stays bounded
 * whatever the file claims. */
int bundle_open(const char *path, const char *key_file, struct bundle_reader **ret,
                struct err *err);
const struct manifest *bundle_manifest(const struct bundle_reader *r);
/* 1: *ret is the next member's entry in the manifest, in the order of the file; 0: the end, where everything the
 * manifest names has been seen; -1: damage. */
int bundle_next(struct bundle_reader *r, const struct bundle_member **ret, struct err *err);
/* The whole of the current member, checked; valid until the next call on r. */
int bundle_read(struct bundle_reader *r, const void **ret_data, size_t *ret_len, struct err *err);
void bundle_reader_free(struct bundle_reader *r);
DEFINE_CLEANUP(struct bundle_reader *, bundle_reader_free);

#endif
