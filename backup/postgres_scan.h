/*
 * Reading the rows of a whole PostgreSQL database over several connections that share one snapshot:
 * for a backup, which stores them, and for a comparison, which only adds up their digests.
 *
 *     struct pg_scan scan = {0};
 *     pg_scan_catalog(&scan, db, err);            what there is; says what cannot be read
 *     ... lock, export a snapshot, see that the catalog is still the same ...
 *     pg_scan_run(&scan, &options, err);          fills digests, and the parts of tables
 *     pg_scan_release(&scan);
 *
 * Each connection takes ACCESS SHARE locks without waiting: whoever holds the snapshot's locks would
 * make it wait for somebody who waits for him.
 */
#ifndef BELAY_POSTGRES_SCAN_H
#define BELAY_POSTGRES_SCAN_H

#include "backup/backup_impl.h"
#include "backup/part.h"

/* Tables in one text of LOCK and COPY statements; more would make the text long, not fast. */
enum { PG_SCAN_GROUP = 64 };

struct pg_table {
    char *name;    /* schema.table, quoted where SQL needs it */
    char *root;    /* of the partitioned table at the top; its own name otherwise */
    char *columns; /* for COPY: quoted, in the root's order, without generated ones; may be empty */
    char *condition; /* "WHERE ...": which rows an extension's table has that are not the
                        extension's; or NULL */
    bool rows;       /* it has rows of its own: not a partitioned table */
    bool partition;
    bool heap;
    bool unlogged;
    uint64_t bytes, pages;
    size_t digest;          /* in the scan's digests: the root's */
    struct part_list parts; /* after pg_scan_run() with a writer: in the order of the rows */
};

struct pg_scan {
    struct pg_table *tables; /* by oid */
    size_t ntables, tables_cap;
    struct digest_set digests; /* of tables that are no partitions; by name */
    struct strv unreadable;    /* "table public.t: permission denied", a line each */
    char *identity;            /* equal when what there is to read is equal */
    uint64_t bytes;            /* of all tables, TOAST included */
    bool raw;                  /* SQL_ASCII: bytes are read as they are */
    struct part_list large_objects;
    uint64_t nlarge_objects; /* number of large objects */
    size_t objects_digest;   /* theirs, when there are any */
    struct rows *ranges;     /* of their oids */
};

/*
 * Where rows go besides the digests, instead of into a bundle: one for each of the jobs, in that
 * one's thread. After a failure there is no end.
 */
struct pg_scan_sink {
    /* A piece of the table, or (SIZE_MAX) of the large objects: "oid, start, bytes". */
    int (*begin)(void *sink, size_t table, struct err *err);
    /* A line as COPY writes it, its end included. */
    int (*row)(void *sink, const char *line, size_t len, struct err *err);
    int (*end)(void *sink, struct err *err);
};

int pg_scan_catalog(struct pg_scan *s, struct db *db, struct err *err);
void pg_scan_release(struct pg_scan *s);

struct pg_scan_options {
    const char *url;
    const char *snapshot; /* exported */
    int jobs;
    struct bundle_writer *writer; /* rows are stored there; or NULL */
    int level;
    const struct pg_scan_sink *sink; /* or go there; NULL: only the digests */
    void *const *sinks;              /* with sink: jobs of them */
    struct meter *meter;
    const struct backup_control *control; /* or NULL */
    /* Runs in one thread while the others read; or NULL. Its failure stops them; *stop_fd can be read
     * from once one of them has failed or a stop was asked for (struct proc_options). */
    int (*meanwhile)(void *data, const int *stop_fd, struct err *err);
    void *data;
};

int pg_scan_run(struct pg_scan *s, const struct pg_scan_options *o, struct err *err);

/* A session with everything set that reading rows depends on. */
int pg_scan_open(const char *url, struct db **ret, struct err *err);

/*
 * Large objects are read as rows of a table, in pieces; their digest has a name that no table has.
 * Which there are, and whose, is a digest of its own, which this reads in the transaction of db and
 * adds; nothing when there are none.
 */
#define PG_OBJECTS_DIGEST "large objects"
#define PG_OBJECT_OWNERS_DIGEST "large object owners"
int pg_scan_object_owners(const struct pg_scan *s, struct db *db, struct digest_set *ret,
                          struct err *err);

/* The numbers of an object of the bundle: of table i, and of the large objects. */
size_t pg_scan_object(size_t table);
enum { PG_LARGE_OBJECTS = 1, PG_SCHEMA, PG_SEQUENCES, PG_FIRST_TABLE };

#endif
