/*
 * Reading a snapshot from a database. The readers leave out what belay itself or the engine put
 * there, and the version table of the source (options.version_table).
 *
 * schema_read() reads everything. A tracker reads only what the last step changed and gives the same
 * result, which a last full read proves.
 *
 *     struct schema_tracker *t;
 *     schema_tracker_new(db, &options, &t, err);     db: a session of belay's own on the scratch
 *     schema_tracker_read(t, &snapshot, err);        after each step
 *     schema_tracker_free(t);
 */
#ifndef BELAY_SCHEMA_H
#define BELAY_SCHEMA_H

#include "harness/engine/engine.h"
#include "harness/schema/snapshot.h"

struct schema_options {
    /* Tables to leave out with all that belongs to them (indexes, constraints, sequences they own):
     * names as the snapshot writes them, "schema_migrations" matches in any schema,
     * "public.schema_migrations" in that one. NULL-terminated or NULL. */
    const char *const *version_tables;
    bool roles;      /* PostgreSQL: roles, memberships and role settings of the whole server too */
    bool instrument; /* the tracker may install event triggers (a scratch database belay owns) */
};

/* Reads the whole schema in one consistent view. PostgreSQL: within the caller's transaction when
 * one is open, which then keeps the settings that reading needs until it ends. */
int schema_read(struct db *db, const struct schema_options *options, struct snapshot **ret,
                struct err *err);

struct schema_tracker;
int schema_tracker_new(struct db *db, const struct schema_options *options,
                       struct schema_tracker **ret, struct err *err);
/* The schema now. Call after every step; full: read everything (the step failed midway, or a last
 * proof). */
int schema_tracker_read(struct schema_tracker *t, bool full, struct snapshot **ret,
                        struct err *err);
/*
 * Rows that somebody has read since the last step, whole and committed: the next read takes them
 * instead of reading itself, unless it is a full one. Borrowed until then; NULL takes an offer back.
 * For SQLite; nothing happens on other engines.
 */
struct sqlite_rows;
void schema_tracker_offer(struct schema_tracker *t, const struct sqlite_rows *rows);
void schema_tracker_free(struct schema_tracker *t);
DEFINE_CLEANUP(struct schema_tracker *, schema_tracker_free);

/* Takes out of the database what trackers installed (options.instrument): for a scratch database
 * that is kept. No tracker may be open on it. */
int schema_tracker_remove(struct db *db, struct err *err);

#endif
