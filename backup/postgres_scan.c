#include "backup/postgres_scan.h"

#include <errno.h>
#include <libpq-fe.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "backup/canceller.h"
#include "backup/workers.h"
#include "harness/engine/pgpooler.h"
#include "harness/engine/postgres_copy.h"
#include "harness/schema/schema_postgres.h"

/* A large table is cut into ranges of pages of about this many bytes, its TOAST's share included. */
#define CHUNK_MIN (32ull << 20)
#define CHUNK_MAX (256ull << 20)
/* Small tables share a text until it reads this much. */
#define GROUP_BYTES (4ull << 20)
/* A chunk's parts are numbered from its number times this on. */
#define PARTS_A_CHUNK 10000
/* Bytes between two looks at whether to stop. */
#define LOOK_BYTES (1u << 20)
/* Large objects that one query reads, and bytes of each that one row holds. */
#define OBJECTS_AT_ONCE "1000"
#define OBJECT_PIECE "1048576"

enum catalog_column {
    OID,
    KIND,
    PARTITION,
    SCHEMA,
    NAME_,
    ROOT_SCHEMA,
    ROOT,
    PAGES,
    BYTES,
    HEAP,
    UNLOGGED,
    CONDITION,
    READABLE,
    POLICIES,
    COLUMN,
    GENERATED,
};

/* clang-format off */

/* Sizes and rights are asked for once a table, not once a column. */
static const char catalog_sql[] =
    "with r as materialized (select c.oid, c.relkind, c.relispartition, n.nspname, c.relname, c.relam,"
    "  c.relpersistence, coalesce(pg_partition_root(c.oid), c.oid) as root,"
    "  (select x.extcondition[array_position(x.extconfig, c.oid)] from pg_depend e"
    "   join pg_extension x on x.oid = e.refobjid where e.classid = 'pg_class'::regclass"
    "   and e.objid = c.oid and e.deptype = 'e' and e.refclassid = 'pg_extension'::regclass"
    "  ) as condition,"
    "  case when c.relkind = 'r' then"
    "   pg_relation_size(c.oid) / current_setting('block_size')::bigint else 0 end as pages,"
    "  case when c.relkind = 'r' then pg_table_size(c.oid) else 0 end as bytes,"
    "  has_table_privilege(c.oid, 'select') as readable, row_security_active(c.oid) as policies"
    "  from pg_class c join pg_namespace n on n.oid = c.relnamespace"
    "  where c.oid >= " FIRST_USER_OID " and c.relkind in ('r', 'p')"
    "  and c.relpersistence <> 't' and" SCHEMA_FILTER
    /* what an extension keeps for itself */
    "  and not exists (select from pg_depend e join pg_extension x on x.oid = e.refobjid"
    "   where e.classid = 'pg_class'::regclass and e.objid = c.oid and e.deptype = 'e'"
    "   and e.refclassid = 'pg_extension'::regclass"
    "   and c.oid <> all(coalesce(x.extconfig, '{}'))))"
    " select r.oid, r.relkind, r.relispartition, r.nspname, r.relname, n.nspname, o.relname,"
    "  r.pages, r.bytes, r.relam = (select oid from pg_am where amname = 'heap'), r.relpersistence = 'u',"
    "  r.condition, r.readable, r.policies, a.attname, a.attgenerated <> ''"
    " from r join pg_class o on o.oid = r.root join pg_namespace n on n.oid = o.relnamespace"
    " left join pg_attribute a on a.attrelid = r.root and a.attnum > 0 and not a.attisdropped"
    " order by r.oid, a.attnum";

static const char large_objects_sql[] =
    "select min(oid), max(oid), count(*), count(*) filter (where readable)"
    " from (select m.oid, (row_number() over (order by m.oid) - 1) / " OBJECTS_AT_ONCE " as range,"
    "  current_setting('is_superuser') = 'on' or pg_has_role(m.lomowner, 'usage')"
    "  or exists (select from aclexplode(m.lomacl) a where a.privilege_type = 'SELECT'"
    "   and (a.grantee = 0 or pg_has_role(a.grantee, 'usage'))) as readable"
    "  from pg_largeobject_metadata m) o"
    " group by range order by 1";

static const char object_owners_sql[] =
    "copy (select oid, pg_get_userbyid(lomowner) from pg_largeobject_metadata) to stdout";

/* Of the objects between two oids. A superuser could read pg_largeobject itself; lo_get() is open to
 * everybody who may read the object. */
static const char copy_objects_sql[] =
    "copy (select m.oid, p.start, lo_get(m.oid, p.start, " OBJECT_PIECE ")"
    " from (select s.oid, (select f.size from (select lo_lseek64(s.fd, 0, 2) as size offset 0) f"
    "   where lo_close(s.fd) = 0) as size"
    "  from (select oid, lo_open(oid, 262144) as fd from pg_largeobject_metadata"
    "   where oid between %s and %s order by oid offset 0) s offset 0) m,"
    " generate_series(0, m.size - 1, " OBJECT_PIECE ") p(start)) to stdout";

/* clang-format on */

/* ---- the catalog ---- */

static bool is_true(const struct rows *rows, int row, int column)
{
    return str_eq(rows_get(rows, row, column), "t");
}

static char *qualified(const struct db *db, const struct rows *rows, int row, int schema)
{
    _cleanup_free_ char *s = db_quote_ident(db, rows_get(rows, row, schema));
    _cleanup_free_ char *n = db_quote_ident(db, rows_get(rows, row, schema + 1));
    return xasprintf("%s.%s", s, n);
}

static struct digest *add_digest(struct digest_set *set, const char *name,
                                 const char *const *columns, size_t ncolumns)
{
    set->v = xgrow(set->v, set->n, &set->cap, sizeof(*set->v));
    struct digest *d = &set->v[set->n++];
    *d = (struct digest){.name = xstrdup(name)};
    digest_sum_init(&d->sum, columns, ncolumns);
    return d;
}

/* One table from its rows of the catalog; returns the row after them. */
static int read_table(struct pg_scan *s, const struct db *db, const struct rows *rows, int row)
{
    int first = row;
    struct pg_table t = {
        .name = qualified(db, rows, row, SCHEMA),
        .root = qualified(db, rows, row, ROOT_SCHEMA),
        .condition = xstrdup(rows_get(rows, row, CONDITION)),
        .rows = rows_get(rows, row, KIND)[0] == 'r',
        .partition = is_true(rows, row, PARTITION),
        .heap = is_true(rows, row, HEAP),
        .unlogged = is_true(rows, row, UNLOGGED),
        .bytes = strtoull(rows_get(rows, row, BYTES), NULL, 10),
        .pages = strtoull(rows_get(rows, row, PAGES), NULL, 10),
    };
    if (t.condition && !*t.condition)
        free(TAKE_PTR(t.condition));
    if (!is_true(rows, row, READABLE))
        strv_add_take(&s->unreadable, xasprintf("table %s: permission denied", t.name));
    else if (is_true(rows, row, POLICIES))
        strv_add_take(&s->unreadable,
                      xasprintf("table %s: its row-level security may hide rows", t.name));
    _cleanup_strv_ struct strv columns = {0};
    struct str list = {0};
    for (; row < rows_count(rows) &&
           strcmp(rows_get(rows, row, OID), rows_get(rows, first, OID)) == 0;
         row++) {
        const char *name = rows_get(rows, row, COLUMN);
        if (!name || is_true(rows, row, GENERATED))
            continue;
        _cleanup_free_ char *quoted = db_quote_ident(db, name);
        str_addf(&list, "%s%s", columns.n ? ", " : "", quoted);
        strv_add(&columns, name);
    }
    t.columns = str_take(&list);
    s->bytes += t.bytes;
    if (!t.partition)
        add_digest(&s->digests, t.name, (const char *const *)columns.v, columns.n);
    s->tables = xgrow(s->tables, s->ntables, &s->tables_cap, sizeof(*s->tables));
    s->tables[s->ntables++] = t;
    return row;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct digest *)a)->name, ((const struct digest *)b)->name);
}

/* Everything but sizes: they change while nobody changes a table's definition. */
static char *identity_of(const struct rows *rows)
{
    struct str s = {0};
    for (int row = 0; row < rows_count(rows); row++)
        for (int column = 0; column < rows_columns(rows); column++)
            if (column != PAGES && column != BYTES) {
                const char *value = rows_get(rows, row, column);
                str_add(&s, value ? value : "\1");
                str_addc(&s, column == GENERATED ? '\3' : '\2');
            }
    return str_take(&s);
}

static int read_large_objects(struct pg_scan *s, struct db *db, struct err *err)
{
    if (db_query(db, large_objects_sql, NULL, 0, &s->ranges, err) < 0)
        return -1;
    uint64_t readable = 0;
    for (int i = 0; i < rows_count(s->ranges); i++) {
        s->nlarge_objects += strtoull(rows_get(s->ranges, i, 2), NULL, 10);
        readable += strtoull(rows_get(s->ranges, i, 3), NULL, 10);
    }
    if (readable < s->nlarge_objects)
        strv_add_take(&s->unreadable,
                      xasprintf("%llu large objects: permission denied",
                                (unsigned long long)(s->nlarge_objects - readable)));
    return 0;
}

int pg_scan_catalog(struct pg_scan *s, struct db *db, struct err *err)
{
    _cleanup_rows_ struct rows *rows = NULL;
    *s = (struct pg_scan){0};
    if (db_query(db, catalog_sql, NULL, 0, &rows, err) < 0 || read_large_objects(s, db, err) < 0) {
        pg_scan_release(s);
        return -1;
    }
    const char *encoding = PQparameterStatus(db_handle(db), "server_encoding");
    s->raw = encoding && strcmp(encoding, "SQL_ASCII") == 0;
    s->identity = identity_of(rows);
    for (int row = 0; row < rows_count(rows);)
        row = read_table(s, db, rows, row);
    if (s->nlarge_objects)
        add_digest(&s->digests, PG_OBJECTS_DIGEST, (const char *[]){"oid", "start", "bytes"}, 3);
    if (s->digests.n)
        qsort(s->digests.v, s->digests.n, sizeof(*s->digests.v), by_name);
    for (size_t i = 0; i < s->ntables; i++) {
        const struct digest *d = digest_find(&s->digests, s->tables[i].root);
        s->tables[i].digest = d ? (size_t)(d - s->digests.v) : SIZE_MAX;
    }
    if (s->nlarge_objects)
        s->objects_digest = (size_t)(digest_find(&s->digests, PG_OBJECTS_DIGEST) - s->digests.v);
    return 0;
}

int pg_scan_object_owners(const struct pg_scan *s, struct db *db, struct digest_set *ret,
                          struct err *err)
{
    _cleanup_str_ struct str scratch = {0};
    struct pg_copy copy;
    const char *line;
    size_t len;
    int rc;
    if (!s->nlarge_objects)
        return 0;
    struct digest *d =
        add_digest(ret, PG_OBJECT_OWNERS_DIGEST, (const char *[]){"oid", "owner"}, 2);
    if (pg_copy_begin(&copy, db, object_owners_sql, err) < 0)
        return -1;
    while ((rc = pg_copy_next(&copy, &line, &len, err)) > 0)
        if (digest_sum_copy_row(&d->sum, line, len, &scratch, err) < 0) {
            rc = -1;
            break;
        }
    pg_copy_end(&copy);
    return rc;
}

void pg_scan_release(struct pg_scan *s)
{
    for (size_t i = 0; i < s->ntables; i++) {
        struct pg_table *t = &s->tables[i];
        free(t->name);
        free(t->root);
        free(t->columns);
        free(t->condition);
        part_list_release(&t->parts);
    }
    free(s->tables);
    digest_set_release(&s->digests);
    strv_release(&s->unreadable);
    free(s->identity);
    part_list_release(&s->large_objects);
    rows_free(s->ranges);
    *s = (struct pg_scan){0};
}

/* ---- the work ---- */

#define NO_TABLE SIZE_MAX

/* A range of pages of a table, a whole table, or a range of large objects. */
struct piece {
    size_t table;             /* NO_TABLE: large objects */
    size_t chunk;             /* of the table; which range of large objects */
    uint64_t from, to, bytes; /* pages; to 0: to the end */
    bool whole;
    struct part_list parts;
};

/* Pieces that one text reads. */
struct group {
    size_t first, n;
    uint64_t bytes;
};

struct work {
    struct pg_scan *scan;
    const struct pg_scan_options *o;
    struct piece *pieces;
    size_t npieces, pieces_cap;
    struct group *groups; /* the largest first */
    size_t ngroups, groups_cap;
    struct reader *readers;
    atomic_size_t next_group, next_reader;
    atomic_bool meanwhile_taken;
    pthread_mutex_t lock; /* over the digests */
    struct canceller *canceller;
};

struct reader {
    struct work *work;
    struct db *db;
    struct part_writer *writer;
    void *sink;
};

static void add_piece(struct work *w, struct piece p)
{
    w->pieces = xgrow(w->pieces, w->npieces, &w->pieces_cap, sizeof(*w->pieces));
    w->pieces[w->npieces++] = p;
}

static void add_group(struct work *w, size_t first)
{
    struct group g = {.first = first, .n = w->npieces - first};
    for (size_t i = first; i < w->npieces; i++)
        g.bytes += w->pieces[i].bytes;
    if (!g.n)
        return;
    w->groups = xgrow(w->groups, w->ngroups, &w->groups_cap, sizeof(*w->groups));
    w->groups[w->ngroups++] = g;
}

static uint64_t chunk_bytes(const struct work *w)
{
    uint64_t each = w->scan->bytes / ((uint64_t)w->o->jobs * 8);
    return each < CHUNK_MIN ? CHUNK_MIN : each > CHUNK_MAX ? CHUNK_MAX : each;
}

/* TID range scans came with PostgreSQL 14: before, each range would read the whole table. */
static bool can_be_cut(const struct pg_table *t, int version)
{
    return t->heap && !t->condition && version >= 140000 && t->pages > 1;
}

static void plan_table(struct work *w, size_t table, int version)
{
    const struct pg_table *t = &w->scan->tables[table];
    uint64_t n = can_be_cut(t, version) ? t->bytes / chunk_bytes(w) : 1;
    n = n < 1 ? 1 : n > t->pages && t->pages ? t->pages : n;
    for (uint64_t i = 0; i < n; i++) {
        size_t first = w->npieces;
        /* rows that others add while we read are not in the snapshot, but the size is older than
         * it: the last range has no end */
        add_piece(w, (struct piece){.table = table,
                                    .chunk = i,
                                    .from = t->pages * i / n,
                                    .to = i + 1 < n ? t->pages * (i + 1) / n : 0,
                                    .bytes = t->bytes / n,
                                    .whole = n == 1});
        add_group(w, first);
    }
}

static int largest_first(const void *a, const void *b)
{
    const struct group *x = a, *y = b;
    if (x->bytes != y->bytes)
        return x->bytes < y->bytes ? 1 : -1;
    return x->first < y->first ? -1 : x->first > y->first;
}

static bool is_small(const struct pg_table *t)
{
    return t->bytes < GROUP_BYTES / 4;
}

static void plan(struct work *w, int version)
{
    struct pg_scan *s = w->scan;
    for (size_t i = 0; i < s->ntables; i++)
        if (s->tables[i].rows && !is_small(&s->tables[i]))
            plan_table(w, i, version);
    size_t first = w->npieces;
    uint64_t bytes = 0;
    for (size_t i = 0; i < s->ntables; i++) {
        if (!s->tables[i].rows || !is_small(&s->tables[i]))
            continue;
        add_piece(w, (struct piece){.table = i, .bytes = s->tables[i].bytes, .whole = true});
        bytes += s->tables[i].bytes;
        if (bytes < GROUP_BYTES && w->npieces - first < PG_SCAN_GROUP)
            continue;
        add_group(w, first);
        first = w->npieces;
        bytes = 0;
    }
    add_group(w, first);
    for (int i = 0; i < rows_count(s->ranges); i++) {
        first = w->npieces;
        /* their size is not known; it may well be large */
        add_piece(w,
                  (struct piece){.table = NO_TABLE, .chunk = (size_t)i, .bytes = UINT64_MAX / 2});
        add_group(w, first);
    }
    if (w->ngroups)
        qsort(w->groups, w->ngroups, sizeof(*w->groups), largest_first);
}

static void add_copy(const struct work *w, const struct piece *p, struct str *sql)
{
    if (p->table == NO_TABLE) {
        const struct rows *ranges = w->scan->ranges;
        str_addf(sql, copy_objects_sql, rows_get(ranges, (int)p->chunk, 0),
                 rows_get(ranges, (int)p->chunk, 1));
        str_addc(sql, ';');
        return;
    }
    const struct pg_table *t = &w->scan->tables[p->table];
    if (p->whole && !t->condition) {
        str_addf(sql, *t->columns ? "copy %s (%s)" : "copy %s%s", t->name, t->columns);
    } else {
        str_addf(sql, "copy (select %s from only %s ", t->columns, t->name);
        if (t->condition)
            str_add(sql, t->condition);
        else
            str_addf(sql, "where ctid >= '(%llu,0)'", (unsigned long long)p->from);
        if (p->to)
            str_addf(sql, " and ctid < '(%llu,0)'", (unsigned long long)p->to);
        str_addc(sql, ')');
    }
    str_addf(sql, " to stdout%s;", w->scan->raw ? " with (encoding 'SQL_ASCII')" : "");
}

/* The savepoint gives the locks back: thousands of tables would fill the server's lock table. */
static void group_text(const struct work *w, const struct group *g, struct str *sql)
{
    bool any = false;
    str_clear(sql);
    str_add(sql, "savepoint belay;");
    for (size_t i = g->first; i < g->first + g->n; i++) {
        if (w->pieces[i].table == NO_TABLE)
            continue;
        str_addf(sql, "%s only %s", any ? "," : "lock table",
                 w->scan->tables[w->pieces[i].table].name);
        any = true;
    }
    if (any)
        str_add(sql, " in access share mode nowait;");
    for (size_t i = g->first; i < g->first + g->n; i++)
        add_copy(w, &w->pieces[i], sql);
    str_add(sql, "rollback to savepoint belay; release savepoint belay");
}

/* ---- reading ---- */

/* What one thread has in its hands. */
struct stream {
    struct reader *reader;
    struct workers *workers;
    struct piece *piece; /* NULL: none yet */
    struct digest_sum sum;
    struct str scratch;
    uint64_t bytes; /* since the last look */
};

static struct digest *digest_of(const struct work *w, const struct piece *p)
{
    const struct pg_scan *s = w->scan;
    return &s->digests.v[p->table == NO_TABLE ? s->objects_digest : s->tables[p->table].digest];
}

static int piece_begin(struct stream *st, struct piece *p, struct err *err)
{
    struct work *w = st->reader->work;
    st->piece = p;
    size_t object = p->table == NO_TABLE ? PG_LARGE_OBJECTS : pg_scan_object(p->table);
    if (st->reader->writer)
        part_begin(st->reader->writer, object, p->chunk * PARTS_A_CHUNK + 1);
    if (w->o->sink && w->o->sink->begin(st->reader->sink, p->table, err) < 0)
        return -1;
    digest_sum_init_like(&st->sum, &digest_of(w, p)->sum);
    return 0;
}

static int piece_end(struct stream *st, struct err *err)
{
    struct work *w = st->reader->work;
    struct piece *p = st->piece;
    if (!p)
        return 0;
    if (st->reader->writer && part_end(st->reader->writer, &p->parts, err) < 0)
        return -1;
    if (w->o->sink && w->o->sink->end(st->reader->sink, err) < 0)
        return -1;
    pthread_mutex_lock(&w->lock);
    digest_sum_add(&digest_of(w, p)->sum, &st->sum);
    pthread_mutex_unlock(&w->lock);
    digest_sum_release(&st->sum);
    st->piece = NULL;
    return 0;
}

static int look(struct stream *st, struct err *err)
{
    struct work *w = st->reader->work;
    uint64_t bytes = st->bytes;
    st->bytes = 0;
    if (workers_stopped(st->workers))
        return err_set(err, ERR_INTERRUPTED, "interrupted");
    return w->o->meter ? meter_add(w->o->meter, bytes, 0, err) : 0;
}

static int stream_row(struct stream *st, const char *line, size_t len, struct err *err)
{
    const struct work *w = st->reader->work;
    st->bytes += len;
    if (digest_sum_copy_row(&st->sum, line, len, &st->scratch, err) < 0)
        return err_prefix(err, "%s", digest_of(w, st->piece)->name);
    if (st->reader->writer && part_row(st->reader->writer, line, len, err) < 0)
        return -1;
    if (w->o->sink && w->o->sink->row(st->reader->sink, line, len, err) < 0)
        return -1;
    return st->bytes >= LOOK_BYTES ? look(st, err) : 0;
}

static int explain(struct err *err)
{
    if (strcmp(err->sqlstate, "55P03") != 0)
        return -1;
    err->code = ERR_ENV;
    return err_hint(err, "another session holds or waits for a lock that keeps readers out; try "
                         "again when it is done");
}

static int read_group(struct stream *st, const struct group *g, struct str *sql, struct err *err)
{
    struct work *w = st->reader->work;
    struct pg_copy copy;
    const char *line;
    size_t len, at = 0;
    int result;
    group_text(w, g, sql);
    if (pg_copy_begin(&copy, st->reader->db, sql->p, err) < 0)
        return -1;
    if (piece_begin(st, &w->pieces[g->first], err) < 0) {
        pg_copy_end(&copy);
        return -1;
    }
    while ((result = pg_copy_next(&copy, &line, &len, err)) > 0) {
        for (; result > 0 && at < copy.statement; at++)
            if (piece_end(st, err) < 0 || piece_begin(st, &w->pieces[g->first + at + 1], err) < 0)
                result = -1;
        if (result < 0 || stream_row(st, line, len, err) < 0) {
            result = -1;
            break;
        }
    }
    pg_copy_end(&copy);
    for (; result == 0 && at < g->n; at++)
        if (piece_end(st, err) < 0 ||
            (at + 1 < g->n && piece_begin(st, &w->pieces[g->first + at + 1], err) < 0))
            result = -1;
    return result < 0 ? explain(err) : look(st, err);
}

static int read_groups(struct reader *r, struct workers *workers, struct err *err)
{
    struct work *w = r->work;
    struct stream st = {.reader = r, .workers = workers};
    _cleanup_str_ struct str sql = {0};
    size_t i;
    int rc = 0;
    while (rc == 0 && !workers_stopped(workers) &&
           (i = atomic_fetch_add(&w->next_group, 1)) < w->ngroups)
        rc = read_group(&st, &w->groups[i], &sql, err);
    digest_sum_release(&st.sum);
    str_release(&st.scratch);
    return rc;
}

/* Who did what is to be done meanwhile reads as well, unless every session is taken: there may be no
 * other thread. */
static int take_part(struct workers *workers, void *data, struct err *err)
{
    struct work *w = data;
    if (w->o->meanwhile && !atomic_exchange(&w->meanwhile_taken, true) &&
        w->o->meanwhile(w->o->data, canceller_fd(w->canceller), err) < 0)
        return -1;
    size_t reader = atomic_fetch_add(&w->next_reader, 1);
    return reader < (size_t)w->o->jobs ? read_groups(&w->readers[reader], workers, err) : 0;
}

/* ---- sessions and threads ---- */

int pg_scan_open(const char *url, struct db **ret, struct err *err)
{
    _cleanup_db_ struct db *db = NULL;
    if (db_open(&engine_postgres, url, DB_OPEN_DEFAULT, &db, err) < 0 ||
        pg_refuse_pooler(db, url, err) < 0 ||
        db_run(db,
               "set synchronize_seqscans = off; set lock_timeout = 0;"
               " set idle_in_transaction_session_timeout = 0; set default_transaction_read_only = "
               "off",
               DB_RUN_WHOLE, NULL, err) < 0 ||
        db_run(db, digest_settings_sql, DB_RUN_WHOLE, NULL, err) < 0)
        return -1;
    if (db_version(db) >= 170000 &&
        db_run(db, "set transaction_timeout = 0", DB_RUN_WHOLE, NULL, err) < 0)
        return -1;
    *ret = TAKE_PTR(db);
    return 0;
}

static int open_reader(struct reader *r, struct err *err)
{
    const struct pg_scan_options *o = r->work->o;
    if (pg_scan_open(o->url, &r->db, err) < 0)
        return -1;
    _cleanup_free_ char *begin =
        xasprintf("begin isolation level repeatable read, read only; set transaction snapshot '%s'",
                  o->snapshot);
    if (db_run(r->db, begin, DB_RUN_WHOLE, NULL, err) < 0)
        return -1;
    return o->writer ? part_writer_new(o->writer, o->level, &r->writer, err) : 0;
}

size_t pg_scan_object(size_t table)
{
    return PG_FIRST_TABLE + table;
}

/* In the order of chunks: groups were read in any. */
static void collect_parts(struct work *w)
{
    for (size_t i = 0; i < w->npieces; i++) {
        struct piece *p = &w->pieces[i];
        struct part_list *to =
            p->table == NO_TABLE ? &w->scan->large_objects : &w->scan->tables[p->table].parts;
        for (size_t k = 0; k < p->parts.n; k++) {
            to->v = xgrow(to->v, to->n, &to->cap, sizeof(*to->v));
            to->v[to->n++] = p->parts.v[k];
        }
        part_list_release(&p->parts);
    }
}

static int open_all(struct work *w, struct db **dbs, struct err *err)
{
    size_t n = (size_t)w->o->jobs;
    for (size_t i = 0; i < n; i++) {
        w->readers[i].work = w;
        w->readers[i].sink = w->o->sink ? w->o->sinks[i] : NULL;
        if (open_reader(&w->readers[i], err) < 0)
            return -1;
        dbs[i] = w->readers[i].db;
    }
    plan(w, db_version(dbs[0]));
    return canceller_start(dbs, n, w->o->control, &w->canceller, err);
}

int pg_scan_run(struct pg_scan *s, const struct pg_scan_options *o, struct err *err)
{
    size_t n = (size_t)o->jobs;
    struct work w = {.scan = s, .o = o, .readers = xcalloc(n, sizeof(*w.readers))};
    struct db **dbs = xcalloc(n, sizeof(struct db *));
    pthread_mutex_init(&w.lock, NULL);
    int rc = open_all(&w, dbs, err);
    if (rc == 0)
        rc = workers_run(o->jobs + (o->meanwhile ? 1 : 0), take_part, &w, w.canceller, err);
    canceller_stop(w.canceller);
    if (rc == 0)
        collect_parts(&w);
    for (size_t i = 0; i < n; i++) {
        part_writer_free(w.readers[i].writer);
        db_close(w.readers[i].db);
    }
    for (size_t i = 0; i < w.npieces; i++)
        part_list_release(&w.pieces[i].parts);
    free(w.pieces);
    free(w.groups);
    free(w.readers);
    free(dbs);
    pthread_mutex_destroy(&w.lock);
    return rc;
}
