#include <stdlib.h>

#include "harness/schema/schema_impl.h"
#include "harness/schema/schema_postgres.h"

/* Reads everything each time. */
struct postgres_tracker {
    struct schema_tracker base;
    struct catalog_reader reader;
    struct snapshot *last;
};

int postgres_tracker_new(struct db *db, const struct schema_options *options,
                         struct schema_tracker **ret, struct err *err)
{
    struct postgres_tracker *t = xcalloc(1, sizeof(*t));
    if (catalog_reader_init(&t->reader, db, options, true, err) < 0) {
        free(t);
        return -1;
    }
    *ret = &t->base;
    return 0;
}

int postgres_tracker_read(struct schema_tracker *tracker, bool full, struct snapshot **ret,
                          struct err *err)
{
    struct postgres_tracker *t = (struct postgres_tracker *)tracker;
    (void)full;
    _cleanup_snapshot_ struct snapshot *s = NULL;
    if (db_run(t->reader.db, catalog_begin_sql, DB_RUN_WHOLE, NULL, err) < 0 ||
        catalog_read_all(&t->reader, &s, err) < 0)
        return -1;
    if (db_run(t->reader.db, "rollback", DB_RUN_WHOLE, NULL, err) < 0)
        return -1;
    if (t->last)
        snapshot_share(s, t->last);
    snapshot_free(t->last);
    t->last = snapshot_copy(s);
    *ret = TAKE_PTR(s);
    return 0;
}

void postgres_tracker_free(struct schema_tracker *tracker)
{
    struct postgres_tracker *t = (struct postgres_tracker *)tracker;
    catalog_reader_release(&t->reader);
    snapshot_free(t->last);
    free(t);
}
