/*
 * Between backup.c, verify.c and the engines: what one engine does for backup, verify and restore.
 */
#ifndef BELAY_BACKUP_IMPL_H
#define BELAY_BACKUP_IMPL_H

#include "backup/backup.h"
#include "backup/bundle.h"
#include "backup/meter.h"
#include "backup/row_filter.h"
#include "harness/engine/engine.h"

struct dump {
    const struct backup_options *options; /* level, jobs and lock_timeout_ms are filled in */
    struct bundle_writer *writer;         /* after dump_begin() */
    struct manifest manifest;       /* engine, revisions and version_table are set; the rest is the
                                 engine's */
    struct backup_summary *summary; /* the engine fills in rows, raw and tables */
    struct meter *meter;
};

/* To be called once, when everything is known to be readable: checks that the disk has room for
 * `stored` bytes and creates the bundle. raw: plain bytes to come, for the progress. */
int dump_begin(struct dump *d, uint64_t raw, uint64_t stored, struct err *err);

/* The counts of a summary, from what the manifest says. */
void backup_summarise(const struct manifest *m, uint64_t stored, struct backup_summary *s);

struct load {
    struct bundle_reader *reader; /* before the first member */
    const struct manifest *manifest;
    const char *url; /* of an empty database that may be spoilt; SQLite: path of an empty file that
                        nobody else uses */
    bool scratch;    /* it is on a server of belay's own: missing roles may be made */
    bool no_owner;   /* struct restore_options */
    int jobs;
    struct row_filter
        *filter;           /* PostgreSQL: what rows go through, over the manifest's digests; NULL:
                                  they stay as they are */
    struct sample *sample; /* PostgreSQL: which rows stay, the filter's; or NULL */
    const struct backup_control *control;
    struct backup_summary *summary; /* the engine adds notes */
    struct meter *meter;
};

struct restore {
    const struct restore_options *options;
    struct load load; /* without url */
    struct restore_result *result;
};

struct backup_engine {
    const struct engine *engine;
    bool
        rows_in_parts; /* parts of kind "table" hold rows as COPY writes them, so that their digests
                           can be computed without a database; otherwise verify loads them */
    int (*dump)(struct dump *d, struct err *err);
    /* Loads the bundle into the database, ready for use. A damaged bundle is ERR_CONFIG. */
    int (*load)(struct load *l, struct err *err);
    /* Adds to problems what differs between the database at l->url and the manifest, a line each;
     * NULL: load_compare(). */
    int (*compare)(const struct load *l, struct strv *problems, struct err *err);
    /* What CREATE DATABASE must say for a scratch database that load() can fill, owned by the
     * caller; NULL: nothing. */
    char *(*scratch_like)(const struct manifest *m);
    /* Makes options->url the bundle's database: load() beside, load_must_equal(), then in its place. */
    int (*restore)(struct restore *r, struct err *err);
};
extern const struct backup_engine backup_postgres;
extern const struct backup_engine backup_sqlite;

/* The number of threads: as asked for, or of the cores. */
int backup_jobs(int jobs);

/* NULL when the bundle's engine is unknown. */
const struct backup_engine *backup_engine_find(const char *name);
/* bundle_open(), with what the bundle's engine does; an engine that is unknown is ERR_CONFIG. */
int backup_open(const char *path, const char *key_file, struct bundle_reader **ret,
                const struct backup_engine **ret_engine, struct err *err);

/* Reads snapshot and digests of the database and compares them with the manifest's; what differs is
 * added to problems, a line each. */
int load_compare(const struct manifest *m, const char *url, const struct backup_control *control,
                 struct strv *problems, struct err *err);
/* The same, and a difference is ERR_CONFIG with the problems in err.detail. */
int load_must_equal(const struct manifest *m, const char *url, const struct backup_control *control,
                    struct err *err);

#endif
