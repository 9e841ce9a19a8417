/*
 * What a schema reader of one engine gives to schema.c, which dispatches on the engine of the
 * session; for the readers only.
 */
#ifndef BELAY_SCHEMA_IMPL_H
#define BELAY_SCHEMA_IMPL_H

#include "harness/schema/schema.h"

struct schema_reader {
    const char *engine; /* engine_name() */
    int (*read)(struct db *db, const struct schema_options *options, struct snapshot **ret,
                struct err *err);
    int (*tracker_new)(struct db *db, const struct schema_options *options,
                       struct schema_tracker **ret, struct err *err);
    int (*tracker_read)(struct schema_tracker *t, bool full, struct snapshot **ret,
                        struct err *err);
    void (*tracker_offer)(struct schema_tracker *t, const struct sqlite_rows *rows); /* or NULL */
    void (*tracker_free)(struct schema_tracker *t);
    int (*tracker_remove)(struct db *db, struct err *err); /* NULL: nothing is ever installed */
};

extern const struct schema_reader schema_reader_sqlite;
extern const struct schema_reader schema_reader_postgres;

/* Every reader's tracker begins with this; schema.c sets it after tracker_new(). */
struct schema_tracker {
    const struct schema_reader *reader;
};

/* True when options.version_tables names the table. Both names as identities write them; schema is
 * NULL where the engine has none. */
bool schema_is_version_table(const struct schema_options *options, const char *schema,
                             const char *table);

#endif
