/*
 * Between backup.c and the engines: what one engine does for backup, verify and restore.
 */
#ifndef BELAY_BACKUP_IMPL_H
#define BELAY_BACKUP_IMPL_H

#include "backup/backup.h"
#include "backup/bundle.h"
#include "harness/engine/engine.h"

struct dump {
    const struct backup_options *options; /* level, jobs, lock_timeout_ms are filled in */
    struct bundle_writer *writer;         /* after dump_begin() */
    struct manifest manifest; /* belay, engine, revisions and version_table are set; the rest is the
                                 engine's */
    struct backup_summary *summary;
    struct meter *meter;
};

/* To be called once, when everything is known to be readable: checks that the disk has room for
 * `stored` bytes and creates the bundle. raw: plain bytes to come, for the progress. */
int dump_begin(struct dump *d, uint64_t raw, uint64_t stored, struct err *err);

struct load {
    struct bundle_reader *reader;
    const struct manifest *manifest;
    const char
        *url;     /* of an empty database (SQLite: a file that does not exist) that may be spoilt */
    bool scratch; /* it is on a server of belay's own: missing roles may be made */
    int jobs;
    const struct backup_control *control;
    struct backup_summary *summary;
    struct meter *meter;
};

struct restore {
    const struct restore_options *options;
    struct load load; /* without url */
    struct restore_result *result;
};

struct backup_engine {
    const struct engine *engine;
    int (*dump)(struct dump *d, struct err *err);
    /* Loads the bundle into the database, ready for use. Problems of the bundle are errors. */
    int (*load)(struct load *l, struct err *err);
    /* Makes options->url the bundle's database: load() beside, load_compare(), then in its place. */
    int (*restore)(struct restore *r, struct err *err);
};
extern const struct backup_engine backup_sqlite;
extern const struct backup_engine backup_postgres;

/* Reads snapshot and digests of l->url and compares them with the manifest's; what differs is added
 * to problems, a line each (the first 20 objects). */
int load_compare(const struct load *l, struct strv *problems, struct err *err);
/* The same, and a difference is ERR_ENV with the problems in err.detail. */
int load_must_equal(const struct load *l, struct err *err);

/*
 * Progress and the wish to stop, from any thread. meter_add() returns -1 with ERR_INTERRUPTED once a
 * stop was asked for: call it at least a few times a second.
 */
void meter_phase(struct meter *m, const char *phase, uint64_t total);
int meter_add(struct meter *m, uint64_t plain, uint64_t stored, struct err *err);

#endif
