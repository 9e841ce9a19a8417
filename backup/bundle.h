/*
 * The container of a bundle: one tar file, readable without belay (docs/bundle-format.md).
 *
 *     data/000001/000001.zst        a part of the rows of object 1: one zstd frame with a checksum
 *     data/000001/000002.zst        the next; cut between rows, so that each part can be loaded
 *                                   alone (part.h)
 *     schema/pre-data.dump ...      what the engine's dump adds
 *     manifest.json                 last: a bundle without it is not a bundle
 *
 * Every member is written at once when it is complete, so that several threads can take turns; none
 * is larger than BUNDLE_PART_MAX unless a single row is. Names are made by belay alone: folders and
 * names of [a-z0-9_.-]; object names stand in the manifest only.
 *
 * Every byte of a bundle is determined by the members' names and contents: a tar header holds
 * nothing else that could vary. A reader therefore compares headers and padding with what must
 * stand there and interprets none of it.
 *
 * An encrypted bundle is the same tar file inside libsodium's secretstream.
 *
 * Writing:
 *
 *     struct bundle_writer *w;
 *     bundle_create(path, &options, &w, err);          a temporary file beside it, mode 0600
 *     bundle_add(w, "data/000001/000001.zst", data, len, raw, rows, &position, err);  from any
 *                                                      thread
 *     bundle_finish(w, &manifest, err);                adds the manifest; fsync, rename, fsync of
 *                                                      the folder
 *     bundle_writer_free(w);                           without bundle_finish(): removes the file
 *
 * Until bundle_finish() has returned 0 there is no bundle. What a killed belay left behind is
 * removed by the next bundle_create() in that folder: the temporary file is locked while its writer
 * lives.
 *
 * Reading is one pass from the beginning to the end; nothing is believed that was not checked:
 *
 *     struct bundle_reader *r;
 *     bundle_open(path, key, &r, err);                 finds the manifest, a pass that skips the
 *                                                      rest where it can
 *     bundle_manifest(r);
 *     while ((rc = bundle_next(r, &position, err)) > 0)       in the order of the file, then 0
 *         bundle_read(r, &bytes, err);                 length and hash are those of the manifest
 *     bundle_reader_free(r);
 */
#ifndef BELAY_BUNDLE_H
#define BELAY_BUNDLE_H

#include <stdint.h>

#include "backup/manifest.h"
#include "harness/base/cleanup.h"
#include "harness/base/err.h"
#include "harness/base/str.h"

enum { BUNDLE_PART_MAX = 8 << 20 }; /* bytes of a stored member */
/* Of one with a single huge row: PostgreSQL's rows end at 1 GB. A reader needs no more memory. */
#define BUNDLE_MEMBER_MAX (UINT64_C(1200) << 20)

struct bundle_writer;
struct bundle_reader;

struct bundle_write_options {
    const char *key_file; /* 32 bytes, or 64 hexadecimal digits; NULL: not encrypted */
};

/* What bundle_create() would refuse: a path that exists, a key that cannot be used. */
int bundle_create_check(const char *path, const char *key_file, struct err *err);
/* path must not exist. */
int bundle_create(const char *path, const struct bundle_write_options *o,
                  struct bundle_writer **ret, struct err *err);
/*
 * Appends one member of len bytes; raw: how many they are when decompressed (len when they are not
 * compressed); rows: that are in it. The position, for bundle_object_part(), is its place in the
 * manifest's members. After a failure everything that follows fails too.
 */
int bundle_add(struct bundle_writer *w, const char *name, const void *data, size_t len,
               uint64_t raw, uint64_t rows, size_t *ret_position, struct err *err);
/* Bytes written so far, from any thread; after bundle_finish() the size of the file. */
uint64_t bundle_written(const struct bundle_writer *w);
/* Fills in the manifest's members, belay and created. */
int bundle_finish(struct bundle_writer *w, struct manifest *m, struct err *err);
void bundle_writer_free(struct bundle_writer *w);
DEFINE_CLEANUP(struct bundle_writer *, bundle_writer_free);

/* True for a file that begins like a bundle, encrypted or not. */
bool bundle_is(const char *path);
/* Refuses what is not a whole bundle of a known version: ERR_CONFIG, with err.file. Memory stays
 * bounded whatever the file claims. */
int bundle_open(const char *path, const char *key_file, struct bundle_reader **ret,
                struct err *err);
const struct manifest *bundle_manifest(const struct bundle_reader *r);
/* Bytes of the file. */
uint64_t bundle_size(const struct bundle_reader *r);
/* Goes back to before the first member. */
int bundle_rewind(struct bundle_reader *r, struct err *err);
/* 1: *ret is the next member's position in the manifest, counted up from 0; 0: the end, and the
 * file ends where it must; -1: damage, ERR_CONFIG. A member that is not read is skipped unchecked. */
int bundle_next(struct bundle_reader *r, size_t *ret, struct err *err);
/* The whole of the current member, once, in place of what was in *ret; its hash is that of the
 * manifest. */
int bundle_read(struct bundle_reader *r, struct str *ret, struct err *err);
void bundle_reader_free(struct bundle_reader *r);
DEFINE_CLEANUP(struct bundle_reader *, bundle_reader_free);

#define _cleanup_bundle_writer_ _cleanup_(cleanup_bundle_writer_free)
#define _cleanup_bundle_reader_ _cleanup_(cleanup_bundle_reader_free)

#endif
