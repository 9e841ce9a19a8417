/*
 * The schema of an SQLite database: the rows of sqlite_schema, each turned into objects by
 * sqlite_ddl.c, and what the file's header says.
 *
 * The tracker keeps the objects of every row it has seen last, by what the row holds: a read after
 * a step parses only the rows that the step wrote. It asks no pragma for each table, since the text
 * alone says all that the pragmas say (a test proves it).
 */
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "harness/schema/schema_impl.h"
#include "harness/schema/sqlite_rows.h"

static const char header_sql[] = "select v.schema_version, d.data_version, u.user_version,"
                                 " a.application_id, e.encoding from pragma_schema_version v,"
                                 " pragma_data_version d, pragma_user_version u,"
                                 " pragma_application_id a, pragma_encoding e";

static const char rows_sql[] = "select type, name, tbl_name, sql from main.sqlite_schema"
                               " where sql is not null"; /* not the indexes of constraints */

/* Tables in which virtual tables keep their content. */
static const char shadows_sql[] = "select name from pragma_table_list"
                                  " where schema = 'main' and type = 'shadow'";

/* For a table whose text is not understood. */
static const char columns_sql[] = "select name, type, \"notnull\", dflt_value, pk, hidden"
                                  " from pragma_table_xinfo($1) order by cid";

/* One row of sqlite_schema that was turned into objects. */
struct entry {
    XXH128_hash_t key;     /* over the row, and for an index the columns of its table */
    XXH128_hash_t name;    /* over the name of a table; 0 otherwise */
    struct strv columns;   /* of a table */
    uint64_t columns_hash; /* over them */
    unsigned seen;         /* the read that saw it last; 0: the slot is free */
};

/* Slots by hash, in open addressing: a power of two, at most half full. */
struct slots {
    uint32_t *v; /* slot, 0 for none */
    size_t size;
};

struct sqlite_tracker {
    struct schema_tracker base;
    struct db *db;
    const struct schema_options *options;
    struct snapshot *last; /* NULL before the first read */
    struct rows *header;   /* as of the last read */
    int changes;           /* sqlite3_total_changes() then */
    struct entry *entries; /* objects carry their slot here as scope_oid; 0 is the header's */
    size_t nentries, entries_cap;
    unsigned reads;
    struct slots by_key, by_name;
    const struct sqlite_rows *offered; /* for the next read, or NULL */
    unsigned taken;                    /* the version that last was made from; 0: from none */
};

static struct sqlite_tracker *self(struct schema_tracker *t)
{
    return (struct sqlite_tracker *)t;
}

static void slots_reset(struct slots *s, size_t n)
{
    size_t size = 16;
    while (size < n * 2)
        size *= 2;
    if (size != s->size) {
        free(s->v);
        s->v = xmalloc(size * sizeof(*s->v));
        s->size = size;
    }
    memset(s->v, 0, size * sizeof(*s->v));
}

static void slots_put(struct slots *s, XXH128_hash_t key, size_t slot)
{
    size_t i = key.low64 & (s->size - 1);
    while (s->v[i])
        i = (i + 1) & (s->size - 1);
    s->v[i] = (uint32_t)slot;
}

static struct entry *find_entry(const struct sqlite_tracker *t, XXH128_hash_t key)
{
    const struct slots *s = &t->by_key;
    for (size_t i = key.low64 & (s->size - 1); s->v[i]; i = (i + 1) & (s->size - 1))
        if (XXH128_isEqual(t->entries[s->v[i]].key, key))
            return &t->entries[s->v[i]];
    return NULL;
}

static const struct entry *find_table(const struct sqlite_tracker *t, const char *name)
{
    const struct slots *s = &t->by_name;
    XXH128_hash_t key = XXH3_128bits(name, strlen(name));
    for (size_t i = key.low64 & (s->size - 1); s->v[i]; i = (i + 1) & (s->size - 1))
        if (XXH128_isEqual(t->entries[s->v[i]].name, key))
            return &t->entries[s->v[i]];
    return NULL;
}

static void entry_release(struct entry *e)
{
    strv_release(&e->columns);
    memset(e, 0, sizeof(*e));
}

static size_t free_slot(struct sqlite_tracker *t, size_t from)
{
    while (from < t->nentries && t->entries[from].seen)
        from++;
    if (from == t->nentries) {
        t->entries = xgrow(t->entries, t->nentries, &t->entries_cap, sizeof(*t->entries));
        t->entries[t->nentries++] = (struct entry){0};
    }
    return from;
}

/*
 * The header.
 */

enum header_column {
    SCHEMA_VERSION,
    DATA_VERSION,
    USER_VERSION,
    APPLICATION_ID,
    ENCODING,
};

static bool same_header(const struct rows *a, const struct rows *b)
{
    for (int i = 0; i <= ENCODING; i++)
        if (!str_eq(rows_get(a, 0, i), rows_get(b, 0, i)))
            return false;
    return true;
}

static struct object *header_object(const struct rows *header)
{
    struct object_builder b = {0};
    object_begin(&b, "database", "main");
    object_prop(&b, "application_id", rows_get(header, 0, APPLICATION_ID));
    object_prop(&b, "encoding", rows_get(header, 0, ENCODING));
    object_prop(&b, "user_version", rows_get(header, 0, USER_VERSION));
    struct object *o = object_end(&b);
    object_builder_release(&b);
    return o;
}

/*
 * The rows.
 */

static bool is_virtual(const char *sql)
{
    return sqlite3_strnicmp(sql, "create virtual", 14) == 0;
}

/* All NULL for a row to leave out: the index of a constraint has no text, and what begins with
 * sqlite_ is the engine's own. */
static struct ddl_row row_at(const struct rows *rows, int i)
{
    const struct ddl_row row = {.type = rows_get(rows, i, 0),
                                .name = rows_get(rows, i, 1),
                                .table = rows_get(rows, i, 2),
                                .sql = rows_get(rows, i, 3)};
    bool whole = row.type && row.name && row.table && row.sql;
    return whole && sqlite3_strnicmp(row.name, "sqlite_", 7) != 0 ? row : (struct ddl_row){0};
}

/* What the snapshot leaves out: tables of virtual tables, and the source's own. */
static bool is_left_out(const struct sqlite_tracker *t, const struct rows *shadows,
                        const struct ddl_row *row)
{
    for (int i = 0; shadows && i < rows_count(shadows); i++)
        if (strcmp(rows_get(shadows, i, 0), row->table) == 0)
            return true;
    if (!t->options || !t->options->version_tables)
        return false;
    _cleanup_free_ char *quoted = engine_sqlite.quote_ident(row->table);
    return schema_is_version_table(t->options, NULL, quoted);
}

/* Over all that the objects of a row depend on. */
static XXH128_hash_t row_key(const struct ddl_row *row, uint64_t columns_hash)
{
    XXH128_hash_t key = XXH3_128bits_withSeed(row->sql, strlen(row->sql), columns_hash);
    const char *const others[] = {row->type, row->name, row->table};
    for (size_t i = 0; i < ARRAY_LEN(others); i++) {
        XXH128_hash_t h = XXH3_128bits_withSeed(others[i], strlen(others[i]), key.low64 + i);
        key.low64 = h.low64;
        key.high64 ^= h.high64;
    }
    return key;
}

/* The columns of a table whose text is not understood, as far as the pragma knows them. */
static int add_pragma_columns(struct sqlite_tracker *t, const struct ddl_row *row, uint32_t slot,
                              struct ddl_objects *objects, struct err *err)
{
    _cleanup_rows_ struct rows *rows = NULL;
    if (db_query_prepared(t->db, columns_sql, &row->name, 1, &rows, err) < 0)
        return -1;
    struct object_builder b = {0};
    _cleanup_free_ char *table = engine_sqlite.quote_ident(row->name);
    for (int i = 0; i < rows_count(rows); i++) {
        _cleanup_free_ char *name = engine_sqlite.quote_ident(rows_get(rows, i, 0));
        _cleanup_free_ char *identity = xasprintf("%s.%s", table, name);
        object_begin(&b, "column", identity);
        object_scope(&b, 0, slot);
        object_prop(&b, "type", rows_length(rows, i, 1) ? rows_get(rows, i, 1) : NULL);
        object_prop(&b, "not null", strcmp(rows_get(rows, i, 2), "0") == 0 ? NULL : "yes");
        object_prop(&b, "default", rows_get(rows, i, 3));
        object_propf(&b, "position", "%d", i + 1);
        ddl_objects_add(objects, object_end(&b));
        strv_add(&objects->columns, rows_get(rows, i, 0));
    }
    object_builder_release(&b);
    return 0;
}

/* Turns one row into objects, added to s, and remembers it in a free slot at or after *slot. */
static int read_row(struct sqlite_tracker *t, const struct ddl_row *row, XXH128_hash_t key,
                    size_t *slot, struct snapshot *s, struct err *err)
{
    *slot = free_slot(t, *slot);
    const struct entry *table = row->type[0] == 'i' ? find_table(t, row->table) : NULL;
    struct ddl_objects objects = {0};
    ddl_read(row, table ? &table->columns : NULL, (uint32_t)*slot, &objects);
    bool unsure = !objects.understood && strcmp(row->type, "table") == 0 && !is_virtual(row->sql);
    if (unsure && add_pragma_columns(t, row, (uint32_t)*slot, &objects, err) < 0) {
        ddl_objects_release(&objects);
        return -1;
    }
    for (size_t i = 0; i < objects.n; i++)
        snapshot_add(s, object_ref(objects.v[i]));
    struct entry *e = &t->entries[*slot];
    *e = (struct entry){.key = key, .seen = t->reads};
    e->columns = objects.columns;
    objects.columns = (struct strv){0};
    for (size_t i = 0; i < e->columns.n; i++)
        e->columns_hash =
            XXH3_64bits_withSeed(e->columns.v[i], strlen(e->columns.v[i]) + 1, e->columns_hash);
    ddl_objects_release(&objects);
    return 0;
}

/*
 * Goes through the rows of one pass: tables, then the rest, whose indexes need the columns of their
 * tables. Rows seen before are marked; others are read and added to s.
 */
static int read_pass(struct sqlite_tracker *t, const struct rows *rows, const struct rows *shadows,
                     bool tables, struct snapshot *s, struct err *err)
{
    size_t slot = 1;
    for (int i = 0; i < rows_count(rows); i++) {
        const struct ddl_row row = row_at(rows, i);
        if (!row.sql || (row.type[0] == 't' && row.type[1] == 'a') != tables ||
            is_left_out(t, shadows, &row))
            continue;
        uint64_t columns_hash = 0;
        if (row.type[0] == 'i') {
            const struct entry *table = find_table(t, row.table);
            columns_hash = table ? table->columns_hash : 0;
        }
        XXH128_hash_t key = row_key(&row, columns_hash);
        struct entry *e = find_entry(t, key);
        if (e)
            e->seen = t->reads;
        else if (read_row(t, &row, key, &slot, s, err) < 0)
            return -1;
        else
            e = &t->entries[slot];
        if (tables) {
            e->name = XXH3_128bits(row.name, strlen(row.name));
            slots_put(&t->by_name, e->name, (size_t)(e - t->entries));
        }
    }
    return 0;
}

static bool is_gone(const struct object *o, void *data)
{
    const struct sqlite_tracker *t = data;
    return t->entries[o->scope_oid].seen != t->reads;
}

/* Forgets all, so that the next read reads everything. */
static void forget(struct sqlite_tracker *t)
{
    for (size_t i = 1; i < t->nentries; i++)
        entry_release(&t->entries[i]);
    t->nentries = 1;
    slots_reset(&t->by_key, 0);
    t->taken = 0;
    snapshot_free(TAKE_PTR(t->last));
    rows_free(TAKE_PTR(t->header));
}

/* Brings t->last up to date with all rows of sqlite_schema. */
static int take_rows(struct sqlite_tracker *t, const struct rows *rows, const struct rows *header,
                     struct err *err)
{
    _cleanup_rows_ struct rows *shadows = NULL;
    bool virtual = false;
    for (int i = 0; i < rows_count(rows) && !virtual; i++)
        virtual = is_virtual(rows_get(rows, i, 3));
    if (virtual && db_query_prepared(t->db, shadows_sql, NULL, 0, &shadows, err) < 0)
        return -1;

    t->reads++;
    _cleanup_snapshot_ struct snapshot *added = snapshot_new("sqlite", db_version(t->db));
    slots_reset(&t->by_name, (size_t)rows_count(rows));
    if (read_pass(t, rows, shadows, true, added, err) < 0 ||
        read_pass(t, rows, shadows, false, added, err) < 0)
        return -1;
    /* the header's slot is never "gone" unless it changed */
    bool new_header = !t->header || !same_header(t->header, header);
    t->entries[0].seen = new_header ? 0 : t->reads;
    _cleanup_snapshot_ struct snapshot *s = t->last ? snapshot_copy_without(t->last, is_gone, t)
                                                    : snapshot_new("sqlite", db_version(t->db));
    for (size_t i = 0; i < added->n; i++)
        snapshot_add(s, object_ref(added->objects[i]));
    if (new_header)
        snapshot_add(s, header_object(header));
    if (snapshot_finish(s, err) < 0)
        return -1;

    size_t kept = 0;
    for (size_t i = 1; i < t->nentries; i++) {
        if (t->entries[i].seen && t->entries[i].seen != t->reads)
            entry_release(&t->entries[i]);
        kept += t->entries[i].seen != 0;
    }
    slots_reset(&t->by_key, kept);
    for (size_t i = 1; i < t->nentries; i++)
        if (t->entries[i].seen)
            slots_put(&t->by_key, t->entries[i].key, i);
    snapshot_free(t->last);
    t->last = TAKE_PTR(s);
    return 0;
}

static int read_all(struct sqlite_tracker *t, struct err *err)
{
    _cleanup_rows_ struct rows *header = NULL, *rows = NULL;
    t->taken = 0;
    if (db_query_prepared(t->db, header_sql, NULL, 0, &header, err) < 0)
        return -1;
    int changes = sqlite3_total_changes(db_handle(t->db));
    if (t->last && changes == t->changes && same_header(t->header, header))
        return 0;
    if (db_query_prepared(t->db, rows_sql, NULL, 0, &rows, err) < 0 ||
        take_rows(t, rows, header, err) < 0) {
        forget(t); /* what was read so far is not whole */
        return -1;
    }
    rows_free(t->header);
    t->header = TAKE_PTR(header);
    t->changes = changes;
    return 0;
}

/*
 * Rows that were offered.
 */

static void owns_nothing(void *owner)
{
    (void)owner;
}

static struct rows *rows_new(size_t nrows, int ncolumns, void *owner, void (*free_owner)(void *))
{
    struct rows *r = xcalloc(1, sizeof(*r));
    *r = (struct rows){.nrows = (int)nrows,
                       .ncolumns = ncolumns,
                       .cells = xcalloc(nrows * (size_t)ncolumns, sizeof(struct cell)),
                       .owner = owner,
                       .free_owner = free_owner};
    return r;
}

static void set_cell(struct rows *r, size_t row, int column, const char *value)
{
    r->cells[row * (size_t)r->ncolumns + (size_t)column] =
        (struct cell){value, value ? strlen(value) : 0};
}

static bool is_header(const struct ddl_row *row)
{
    return row->type && !*row->type;
}

/* As header_sql gives it, without the versions, which mean nothing to another session; outlives the
 * rows. NULL when they are not whole. */
static struct rows *offered_header(const struct sqlite_rows *known)
{
    size_t i = 0;
    while (i < known->n && !is_header(&known->v[i]))
        i++;
    if (i == known->n)
        return NULL;
    const struct ddl_row *row = &known->v[i];
    const size_t nname = strlen(row->name) + 1, ntable = strlen(row->table) + 1;
    char *text = xasprintf("%s%c%s%c%s", row->name, '\0', row->table, '\0', row->sql);
    struct rows *r = rows_new(1, ENCODING + 1, text, free);
    set_cell(r, 0, USER_VERSION, text);
    set_cell(r, 0, APPLICATION_ID, text + nname);
    set_cell(r, 0, ENCODING, text + nname + ntable);
    return r;
}

/* As rows_sql gives them; they point into known. */
static struct rows *offered_rows(const struct sqlite_rows *known)
{
    struct rows *r = rows_new(known->n, 4, NULL, owns_nothing);
    size_t n = 0;
    for (size_t i = 0; i < known->n; i++) {
        const struct ddl_row *row = &known->v[i];
        if (!row->type || is_header(row))
            continue;
        const char *const values[] = {row->type, row->name, row->table, row->sql};
        for (int k = 0; k < 4; k++)
            set_cell(r, n, k, values[k]);
        n++;
    }
    r->nrows = (int)n;
    return r;
}

/* Takes the header over. */
static int take_offer(struct sqlite_tracker *t, const struct sqlite_rows *known,
                      struct rows **header, struct err *err)
{
    if (t->last && t->taken == known->version)
        return 0;
    _cleanup_rows_ struct rows *rows = offered_rows(known);
    if (take_rows(t, rows, *header, err) < 0) {
        forget(t);
        return -1;
    }
    rows_free(t->header);
    t->header = TAKE_PTR(*header);
    t->taken = known->version;
    return 0;
}

static void sqlite_tracker_offer(struct schema_tracker *base, const struct sqlite_rows *rows)
{
    self(base)->offered = rows;
}

static int sqlite_tracker_read(struct schema_tracker *base, bool full, struct snapshot **ret,
                               struct err *err)
{
    struct sqlite_tracker *t = self(base);
    const struct sqlite_rows *known = TAKE_PTR(t->offered);
    _cleanup_rows_ struct rows *header = known && !full ? offered_header(known) : NULL;
    if (header) {
        if (take_offer(t, known, &header, err) < 0)
            return -1;
        *ret = snapshot_ref(t->last);
        return 0;
    }
    bool own = !db_in_transaction(t->db); /* several statements, one view */
    if (full)
        forget(t);
    if (own && db_run(t->db, "begin", DB_RUN_WHOLE, NULL, err) < 0)
        return -1;
    int result = read_all(t, err);
    if (own) {
        struct err after = {0};
        if (db_run(t->db, "rollback", DB_RUN_WHOLE, NULL, &after) < 0 && result == 0) {
            err_move(err, &after);
            result = -1;
        }
        err_release(&after);
    }
    if (result < 0)
        return -1;
    *ret = snapshot_ref(t->last);
    return 0;
}

static int sqlite_tracker_new(struct db *db, const struct schema_options *options,
                              struct schema_tracker **ret, struct err *err)
{
    (void)err;
    struct sqlite_tracker *t = xcalloc(1, sizeof(*t));
    t->db = db;
    t->options = options;
    t->entries = xgrow(t->entries, 0, &t->entries_cap, sizeof(*t->entries));
    t->entries[0] = (struct entry){0};
    t->nentries = 1;
    slots_reset(&t->by_key, 0);
    *ret = &t->base;
    return 0;
}

static void sqlite_tracker_free(struct schema_tracker *base)
{
    struct sqlite_tracker *t = self(base);
    forget(t);
    free(t->entries);
    free(t->by_key.v);
    free(t->by_name.v);
    free(t);
}

static int sqlite_read(struct db *db, const struct schema_options *options, struct snapshot **ret,
                       struct err *err)
{
    struct schema_tracker *t;
    if (sqlite_tracker_new(db, options, &t, err) < 0)
        return -1;
    int result = sqlite_tracker_read(t, true, ret, err);
    sqlite_tracker_free(t);
    return result;
}

const struct schema_reader schema_reader_sqlite = {
    .engine = "sqlite",
    .read = sqlite_read,
    .tracker_new = sqlite_tracker_new,
    .tracker_read = sqlite_tracker_read,
    .tracker_offer = sqlite_tracker_offer,
    .tracker_free = sqlite_tracker_free,
};
