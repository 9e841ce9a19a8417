/*
 * What was seen of one step of a migration: its statements, the locks it held, what it rewrote, and
 * for how long others had to wait. Filled by an observer (observer.h), read by the rehearsal.
 *
 * Times are seconds from the step's beginning, sizes bytes. What an engine does not have is 0 or
 * empty; what could not be known is -1.
 */
#ifndef BELAY_MEASURES_H
#define BELAY_MEASURES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MEASURE_UNKNOWN (-1)

struct measured_statement {
    char *text;
    char *file; /* or NULL: where it is written is not known */
    int line;   /* 1-based, 0 unknown */
    double start, seconds;
    bool failed;
    int64_t rows;  /* inserted, updated and deleted; MEASURE_UNKNOWN */
    int64_t wal;   /* PostgreSQL: bytes of write-ahead log meanwhile; MEASURE_UNKNOWN */
    int64_t pages; /* SQLite: pages written meanwhile; MEASURE_UNKNOWN */
};

/* How a lock stands in the way of others. */
enum lock_blocks {
    LOCK_BLOCKS_NOTHING, /* but other schema changes */
    LOCK_BLOCKS_WRITES,
    LOCK_BLOCKS_READS, /* and writes */
};

struct measured_lock {
    char *relation; /* identity as the snapshot writes it; SQLite: "main" */
    char *kind;     /* "table", "index", "sequence", ...; SQLite: "database" */
    char *mode;     /* "AccessExclusiveLock"; SQLite: "RESERVED", "EXCLUSIVE" */
    enum lock_blocks blocks;
    double from, until;
    int64_t bytes;    /* size of the relation, its TOAST included, when the lock was seen */
    size_t statement; /* that took it; SIZE_MAX: unknown */
};

/* A relation that has another file now than before: its rows were written anew. */
struct measured_rewrite {
    char *relation;
    char *kind;            /* "table", "index", "materialized view" */
    int64_t before, after; /* bytes */
    size_t statement;
};

/* Work on a table that was there before the step. */
struct measured_work {
    char *table;
    int64_t bytes; /* when the step began */
    size_t statement;
    int64_t read;     /* rows read one after the other, by a scan of the whole table */
    int64_t written;  /* rows inserted, updated and deleted */
    bool not_null;    /* a column of it became NOT NULL */
    bool validated;   /* a foreign key or CHECK of it became valid */
    char *constraint; /* that one; or NULL */
};

/* The longest time that a small reader or writer had to wait for a table. */
struct measured_wait {
    char *table; /* SQLite: "main" */
    bool writer; /* else a reader */
    double from, seconds;
    size_t statement; /* that held it up; SIZE_MAX: unknown */
};

struct measures {
    double seconds; /* of the whole step */
    struct measured_statement *statements;
    size_t nstatements, statements_cap;
    struct measured_lock *locks; /* in the order in which they were taken */
    size_t nlocks, locks_cap;
    struct measured_rewrite *rewrites;
    size_t nrewrites, rewrites_cap;
    struct measured_work *work;
    size_t nwork, work_cap;
    struct measured_wait *waits; /* the longest first; at most one for each table and kind */
    size_t nwaits, waits_cap;
    char **invalid_indexes; /* that were valid or not there before */
    size_t ninvalid, invalid_cap;
    int64_t before, after; /* bytes of the database */
    int64_t peak;          /* of the database at its largest meanwhile, temporary files included */
    int64_t temp;          /* of temporary files at their largest */
    int64_t wal;           /* PostgreSQL */
    int64_t pages;         /* SQLite: written */
    int64_t page_size;     /* SQLite: bytes of one */
    size_t tries;          /* of the readers and writers, that got through */
};

void measures_release(struct measures *m);
/* The longest wait; NULL when nobody waited. */
const struct measured_wait *measures_longest(const struct measures *m);
/* Whether the i-th statement is one of the n longest. */
bool measures_is_long(const struct measures *m, size_t i, size_t n);

#endif
