/*
 * A PostgreSQL database that is read whole, for a bundle or for a copy: nothing is written there, the
 * session is read-only and holds one snapshot.
 *
 *     struct pg_source s = {0};
 *     pg_source_open(&s, url, err);              finds pg_dump; refuses a pooler
 *     pg_source_freeze(&s, 10000, err);          s.scan: what there is; s.snapshot
 *     pg_scan_run(&s.scan, ... s.snapshot ...)   its rows, on sessions of their own; and meanwhile
 *     pg_source_schema(&s, ..., &archive, err);  what pg_dump says
 *     pg_source_describe(&s, &manifest, err);    everything else
 *     pg_source_sequences(&s, &sql, err);        after the rows
 *     pg_source_close(&s);                       lets go of the locks
 *
 *     look       what there is, and whether all of it can be read: nothing is locked before
 *     lock       ACCESS SHARE on every table, before the snapshot is taken, so that what the snapshot
 *                shows is what the locks hold still; then look again
 *     export     the snapshot
 */
#ifndef BELAY_POSTGRES_SOURCE_H
#define BELAY_POSTGRES_SOURCE_H

#include "backup/postgres_child.h"
#include "backup/postgres_scan.h"

struct pg_source {
    struct db *db; /* holds the locks and exports the snapshot; canceller_start() may have it */
    struct pg_scan scan;
    struct pg_child child;
    char *program; /* pg_dump */
    char *snapshot;
    int lock_timeout_ms;
};

int pg_source_open(struct pg_source *s, const char *url, struct err *err);
/* ERR_ENV when something cannot be read (all of it in err.detail), or a lock cannot be had in time. */
int pg_source_freeze(struct pg_source *s, int lock_timeout_ms, struct err *err);
/* Appends pg_dump's archive, of all but the rows. */
int pg_source_schema(struct pg_source *s, const struct backup_control *control, struct str *archive,
                     struct err *err);
/* Fills in what the manifest says of the database, its snapshot included; members, objects and
 * digests are left alone. */
int pg_source_describe(struct pg_source *s, struct manifest *m, struct err *err);
/* Adds the digests of sequences and of large objects' owners to the scan's, and the statements that
 * set sequences. They know no snapshot: read after the rows they are at least as far. */
int pg_source_sequences(struct pg_source *s, struct str *statements, struct err *err);
/* The scan's digests, those of the sequences among them, become the manifest's, by name. */
void pg_source_take_digests(struct pg_source *s, struct manifest *m);
void pg_source_close(struct pg_source *s);

#endif
