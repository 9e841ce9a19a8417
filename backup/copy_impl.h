/*
 * Between copy.c and the engines.
 */
#ifndef BELAY_COPY_IMPL_H
#define BELAY_COPY_IMPL_H

#include "backup/backup_impl.h"
#include "backup/copy.h"

struct copying {
    const struct copy_options *options; /* jobs and lock_timeout_ms are filled in */
    struct scratch_pool *pool;
    struct scratch *scratch; /* made by the engine: dropped when it fails */
    struct meter *meter;
    struct copy_result *result; /* the engine fills in bytes, reading, read and notes */
    struct manifest manifest;   /* what was read, as a bundle's would say it: the engine's */
    struct mask_plan *plan;     /* or NULL: nothing is asked for */
    struct row_filter *filter;
    struct sample *sample;         /* or NULL: all rows */
    struct backup_summary summary; /* for struct load; its notes become the result's */
};

/* From a live database. */
int copy_postgres(struct copying *c, struct err *err);
int copy_sqlite(struct copying *c, struct err *err);

/* Makes the scratch database for what the manifest describes, and says how to load it. */
int copy_prepare_load(struct copying *c, const struct manifest *m, struct load *l, struct err *err);
/* PostgreSQL: plans what is masked, from the snapshot, and says so in *l. digests: of the tables. */
int copy_plan_filter(struct copying *c, const struct snapshot *schema,
                     const struct digest_set *digests, struct load *l, struct err *err);
/* PostgreSQL, before that: which rows stay, when that is asked for. digests: with the tables' rows; or
 * NULL: source is asked. */
int copy_plan_sample(struct copying *c, const struct snapshot *schema,
                     const struct digest_set *digests, struct db *source, struct load *l,
                     struct err *err);
/* After loading: what of that can be compared still. */
void copy_settle_sample(struct copying *c, struct digest_set *expected);
/* SQLite: takes the part of the file that is asked for; nobody has it open. */
int copy_sample_file(struct copying *c, const char *path, struct err *err);
/* SQLite: masks the file, which nobody has open. */
int copy_mask_file(struct copying *c, const char *path, struct err *err);
/* Compares the copy with the manifest; what differs is ERR_ENV. */
int copy_must_equal(const struct load *l, const struct backup_engine *e, struct err *err);
/* Fills in the result's tables and rows. */
void copy_count(struct copying *c, const struct manifest *m);

#endif
