/*
 * A scratch copy of a database: a bundle restored, or a live database streamed. Prints nothing.
 *
 *     struct copy_look look = {0};
 *     copy_look(from, key_file, &look, err);               what it is, before anything is made
 *     scratch_pool_open(look.engine, &(struct scratch_options){.url = ..., .room = look.bytes * 3},
 *                       &pool, err);
 *     struct scratch *copy;
 *     struct copy_result result = {0};
 *     copy_make(&(struct copy_options){.from = from}, pool, &copy, &result, err);
 *     ... scratch_url(copy) ...
 *     scratch_free(copy); copy_result_release(&result); copy_look_release(&look);
 *
 * A live database is only read, in one read-only snapshot, under a lock timeout. PostgreSQL: ACCESS
 * SHARE locks on its tables until the last row is read; indexes are made on the copy after that.
 * SQLite: the pages by the online backup; with a rollback journal other programs' writes wait that
 * long, with a WAL they do not.
 *
 * The copy is compared with what was read before it is handed out: schema, and digests of all tables
 * and sequences; on PostgreSQL masked values with what they were masked to, on SQLite before they are.
 * So it is with a sample: on PostgreSQL what was let through is compared, but for tables that lost
 * rows without a parent after that (a note says so). A difference is ERR_ENV. On any failure, and
 * when belay is killed, nothing is left (scratch.h).
 */
#ifndef BELAY_COPY_MAKE_H
#define BELAY_COPY_MAKE_H

#include "backup/backup.h"
#include "backup/mask.h"
#include "harness/engine/scratch.h"

struct copy_look {
    const struct engine *engine;
    bool bundle;
    char *from;            /* the bundle's path, or the URL without its password */
    char *database;        /* its name, or that of the file */
    char *server;          /* what it runs, or ran, on: "PostgreSQL 15.18", "SQLite 3.40.1" */
    char *taken;           /* of a bundle: when, in UTC, "2026-11-21T04:30:00Z"; else NULL */
    uint64_t bytes;        /* that the database takes there; of a bundle, those of its rows */
    struct strv revisions; /* of a bundle: what its version table said; empty: unknown */
};

/* Reads only. A path that exists is a bundle or an SQLite file, else from is a URL: ERR_USAGE when
 * it is neither. */
int copy_look(const char *from, const char *key_file, struct copy_look *ret, struct err *err);
void copy_look_release(struct copy_look *l);

struct copy_options {
    const char *from, *key_file;   /* as for copy_look() */
    int jobs;                      /* 0: the number of cores */
    int lock_timeout_ms;           /* for the locks that reading a live database takes; 0: 10 s */
    const struct mask_rules *mask; /* what is masked before anything else sees the copy; or NULL */
    bool
        require_masking; /* ERR_CONFIG, all of them in err.trace, when columns look personal that no
                             rule is about; what is looked at is the copy */
    int sample;          /* percent of the rows, about (sample.h); 0, 100: all */
    uint64_t seed;       /* of the sample: another one, other rows */
    const char *const
        *whole; /* tables that the sample has whole (sample.h): version tables; or NULL */
    struct backup_control control;
};

struct copy_result {
    size_t tables;
    uint64_t rows;       /* read */
    uint64_t bytes;      /* of rows read, as text; SQLite: of pages */
    uint64_t copy_rows;  /* that the copy holds */
    uint64_t copy_bytes; /* that the copy takes */
    double seconds;      /* in all, the comparison included */
    double reading;      /* of these, how long a live database was held by the snapshot */
    struct strv read;    /* what was read of the source, a sentence each, for people */
    struct strv masked;  /* "public.users.email: hash", a line each */
    struct strv sampled; /* "public.users: 1013 of 10000 rows", each table that is not whole */
    struct strv notes;   /* what is not the same on the copy, a line each */
};
void copy_result_release(struct copy_result *r);

/* The pool is of the engine that copy_look() told. ERR_ENV when the source cannot be read whole;
 * ERR_CONFIG for a damaged bundle. */
int copy_make(const struct copy_options *o, struct scratch_pool *pool, struct scratch **ret,
              struct copy_result *ret_result, struct err *err);

#endif
