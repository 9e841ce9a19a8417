#include "harness/schema/schema.h"

#include <string.h>

#include "harness/schema/schema_impl.h"

static const struct schema_reader *const readers[] = {
    &schema_reader_postgres,
    &schema_reader_sqlite,
    NULL,
};

static const struct schema_reader *reader_for(const struct db *db, struct err *err)
{
    const char *engine = engine_name(db_engine(db));
    for (size_t i = 0; readers[i]; i++)
        if (strcmp(readers[i]->engine, engine) == 0)
            return readers[i];
    err_set(err, ERR_ENV, "belay cannot read the schema of %s", engine);
    return NULL;
}

int schema_read(struct db *db, const struct schema_options *options, struct snapshot **ret,
                struct err *err)
{
    const struct schema_reader *reader = reader_for(db, err);
    return reader ? reader->read(db, options, ret, err) : -1;
}

int schema_tracker_new(struct db *db, const struct schema_options *options,
                       struct schema_tracker **ret, struct err *err)
{
    const struct schema_reader *reader = reader_for(db, err);
    struct schema_tracker *t;
    if (!reader || reader->tracker_new(db, options, &t, err) < 0)
        return -1;
    t->reader = reader;
    *ret = t;
    return 0;
}

int schema_tracker_read(struct schema_tracker *t, bool full, struct snapshot **ret, struct err *err)
{
    return t->reader->tracker_read(t, full, ret, err);
}

void schema_tracker_offer(struct schema_tracker *t, const struct sqlite_rows *rows)
{
    if (t->reader->tracker_offer)
        t->reader->tracker_offer(t, rows);
}

void schema_tracker_free(struct schema_tracker *t)
{
    if (t)
        t->reader->tracker_free(t);
}

int schema_tracker_remove(struct db *db, struct err *err)
{
    const struct schema_reader *reader = reader_for(db, err);
    if (!reader)
        return -1;
    return reader->tracker_remove ? reader->tracker_remove(db, err) : 0;
}

bool schema_is_version_table(const struct schema_options *options, const char *schema,
                             const char *table)
{
    if (!options || !options->version_tables)
        return false;
    size_t n = schema ? strlen(schema) : 0;
    for (const char *const *name = options->version_tables; *name; name++) {
        if (strcmp(*name, table) == 0)
            return true;
        if (n && strncmp(*name, schema, n) == 0 && (*name)[n] == '.' &&
            strcmp(*name + n + 1, table) == 0)
            return true;
    }
    return false;
}
