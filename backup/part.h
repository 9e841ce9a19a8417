/*
 * Parts: rows as zstd frames, cut between rows. One frame a part, with a checksum; a part is closed
 * at the first end of a row past PART_TARGET stored bytes (or PART_RAW plain ones), so that it stays
 * well below BUNDLE_PART_MAX unless a single row is larger.
 *
 * Writing, one struct part_writer a thread (about 6 MB at level 3, and the part):
 *
 *     struct part_writer *p;
 *     part_writer_new(w, 3, &p, err);
 *     part_begin(p, object_number, first_part);       names the parts that follow
 *     part_row(p, line, len, err);                    a whole row: one more row
 *     part_bytes(p, data, len, err);                  or bytes that no row ends in ...
 *     part_cut(p, err);                               ... and where they may be cut
 *     part_end(p, &positions, err);                   writes what is left; their positions, in order
 *     part_writer_free(p);
 *
 * Reading:
 *
 *     part_reader_new(&d, err);
 *     part_read(d, member, bytes, len, sink, data, err);
 */
#ifndef BELAY_PART_H
#define BELAY_PART_H

#include "backup/bundle.h"

enum {
    PART_TARGET = 4 << 20,   /* stored bytes at which a part is closed */
    PART_RAW = 32 << 20,     /* plain bytes at which it is */
    PART_LEVEL = 3,          /* when nothing else is asked for */
    PART_WINDOW_LOG_MAX = 23 /* 8 MiB */
};

/* Positions of members, in the order in which they were written. */
struct part_list {
    size_t *v;
    size_t n, cap;
};
void part_list_release(struct part_list *l);

struct part_writer;
int part_writer_new(struct bundle_writer *w, int level, struct part_writer **ret, struct err *err);
/* object and part are numbers from 1 on, as in bundle_part_name(); drops what was not ended. */
void part_begin(struct part_writer *p, size_t object, size_t part);
int part_row(struct part_writer *p, const void *row, size_t len, struct err *err);
int part_bytes(struct part_writer *p, const void *data, size_t len, struct err *err);
/* Here a part may end: it does when it is large enough. part_row() does the same after its row. */
int part_cut(struct part_writer *p, struct err *err);
/* Appends the positions of all parts since part_begin() to *ret; none when nothing was fed. */
int part_end(struct part_writer *p, struct part_list *ret, struct err *err);
void part_writer_free(struct part_writer *p);
DEFINE_CLEANUP(struct part_writer *, part_writer_free);
#define _cleanup_part_writer_ _cleanup_(cleanup_part_writer_free)

/* Takes decompressed bytes; -1 with err set stops the reading. */
typedef int part_sink(void *data, const void *bytes, size_t len, struct err *err);

struct part_reader;
int part_reader_new(struct part_reader **ret, struct err *err);
/*
 * Decompresses the stored bytes of a member, a bounded piece at a time. Anything but one whole frame
 * of exactly m->raw bytes is ERR_CONFIG; the sink never gets more than m->raw bytes, but may have got
 * some before damage shows.
 */
int part_read(struct part_reader *d, const struct bundle_member *m, const void *stored, size_t len,
              part_sink *sink, void *data, struct err *err);
void part_reader_free(struct part_reader *d);
DEFINE_CLEANUP(struct part_reader *, part_reader_free);
#define _cleanup_part_reader_ _cleanup_(cleanup_part_reader_free)

#endif
