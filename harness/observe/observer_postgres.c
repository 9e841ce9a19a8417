/*
 * PostgreSQL: what the watcher saw from outside and what the migrating session said after each of
 * its statements, put together.
 */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "harness/observe/watcher.h"

/* A relation as it was when the step began, or when it had ended. */
struct relation {
    uint32_t oid;
    char *name; /* as the snapshot writes identities */
    const char *kind;
    uint32_t file;
    int64_t bytes;
    int columns;      /* the highest number of one */
    json_t *not_null; /* numbers of columns */
    json_t *valid;    /* names of foreign keys and CHECKs that are */
    bool invalid;     /* an index that is not valid */
};

struct catalog {
    struct relation *v; /* by oid */
    size_t n;
    int64_t wal;
    int64_t bytes; /* of the database */
};

struct pg_observer {
    struct observer base;
    struct db *db;
    struct watcher *watcher;
    bool canaries;
    struct catalog before;
    struct canary_table *tables;
    size_t ntables;
};

/* ---- the catalog ---- */

#define KIND(relkind)                                                                              \
    "case " relkind " when 'r' then 'table' when 'p' then 'table' when 'i' then 'index' when 'I' " \
    "then 'index' when 'S' then 'sequence' when 'm' then 'materialized view' when 'v' then "       \
    "'view' "                                                                                      \
    "else 'relation' end"
/* Of a table its TOAST and maps too, which a rewrite moves along. */
static const char catalog_sql[] =
    "select c.oid::pg_catalog.int8,"
    " pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(c.relname), " KIND(
        "c.relkind") ","
                     " coalesce(pg_catalog.pg_relation_filenode(c.oid), 0)::pg_catalog.int8,"
                     " coalesce(pg_catalog.pg_table_size(c.oid), 0), c.relnatts,"
                     " (select pg_catalog.json_agg(a.attnum) from pg_catalog.pg_attribute a where"
                     " a.attrelid = c.oid and a.attnotnull and a.attnum > 0 and not "
                     "a.attisdropped),"
                     " (select pg_catalog.json_agg(k.conname) from pg_catalog.pg_constraint k where"
                     " k.conrelid = c.oid and k.convalidated and k.contype in ('c', 'f')),"
                     " exists (select 1 from pg_catalog.pg_index i where i.indexrelid = c.oid and "
                     "not"
                     " i.indisvalid and c.relkind = 'i')"
                     " from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = "
                     "c.relnamespace"
                     " where c.oid >= 16384 and c.relkind in ('r', 'p', 'i', 'I', 'S', 'm') and"
                     " c.relpersistence <> 't' and n.nspname !~ '^pg_' order by c.oid";

static const char sizes_sql[] =
    "select pg_catalog.pg_current_wal_insert_lsn() - '0/0'::pg_catalog.pg_lsn,"
    " pg_catalog.pg_database_size(pg_catalog.current_database())";

/*
 * What the migrating session sees after a statement, as one JSON text: where the WAL is, and for each
 * relation that it has locked since its transaction began [oid, [modes], file, rows read by scans,
 * rows written, columns that are NOT NULL, constraints that are valid]. The counters are those of the
 * transaction.
 */
static const char look_sql[] =
    "select pg_catalog.json_build_object('wal',"
    " pg_catalog.pg_current_wal_insert_lsn() - '0/0'::pg_catalog.pg_lsn, 'relations',"
    " (select pg_catalog.json_agg(pg_catalog.json_build_array(l.relation::pg_catalog.int8, l.modes,"
    " coalesce(pg_catalog.pg_relation_filenode(l.relation), 0)::pg_catalog.int8,"
    " pg_catalog.pg_stat_get_xact_tuples_returned(l.relation),"
    " pg_catalog.pg_stat_get_xact_tuples_inserted(l.relation)"
    " + pg_catalog.pg_stat_get_xact_tuples_updated(l.relation)"
    " + pg_catalog.pg_stat_get_xact_tuples_deleted(l.relation),"
    " (select pg_catalog.json_agg(a.attnum) from pg_catalog.pg_attribute a where a.attrelid ="
    " l.relation and a.attnotnull and a.attnum > 0 and not a.attisdropped),"
    " (select pg_catalog.json_agg(k.conname) from pg_catalog.pg_constraint k where k.conrelid ="
    " l.relation and k.convalidated and k.contype in ('c', 'f'))))"
    " from (select relation, pg_catalog.array_agg(mode) as modes from pg_catalog.pg_lock_status()"
    " where pid = pg_catalog.pg_backend_pid() and relation >= 16384 and locktype = 'relation' and"
    " granted group by relation) l))::pg_catalog.text";

static void catalog_release(struct catalog *c)
{
    for (size_t i = 0; i < c->n; i++) {
        free(c->v[i].name);
        json_decref(c->v[i].not_null);
        json_decref(c->v[i].valid);
    }
    free(c->v);
    *c = (struct catalog){0};
}

static const char *kind_of(const char *kind)
{
    static const char *const kinds[] = {"table", "index", "sequence", "materialized view"};
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
        if (strcmp(kinds[i], kind) == 0)
            return kinds[i];
    return "relation";
}

static json_t *list_of(const char *text)
{
    json_t *list = text ? json_loads(text, 0, NULL) : NULL;
    return list ? list : json_array();
}

static int64_t number_of(const char *text)
{
    return text ? strtoll(text, NULL, 10) : 0;
}

static int catalog_read(struct db *db, struct catalog *ret, struct err *err)
{
    _cleanup_rows_ struct rows *rows = NULL, *sizes = NULL;
    if (db_query(db, catalog_sql, NULL, 0, &rows, err) < 0 ||
        db_query(db, sizes_sql, NULL, 0, &sizes, err) < 0)
        return -1;
    struct catalog c = {.v = xcalloc((size_t)rows_count(rows), sizeof(*c.v)),
                        .n = (size_t)rows_count(rows),
                        .wal = number_of(rows_get(sizes, 0, 0)),
                        .bytes = number_of(rows_get(sizes, 0, 1))};
    for (size_t i = 0; i < c.n; i++) {
        int row = (int)i;
        c.v[i] = (struct relation){
            .oid = (uint32_t)number_of(rows_get(rows, row, 0)),
            .name = xstrdup(rows_get(rows, row, 1)),
            .kind = kind_of(rows_get(rows, row, 2)),
            .file = (uint32_t)number_of(rows_get(rows, row, 3)),
            .bytes = number_of(rows_get(rows, row, 4)),
            .columns = (int)number_of(rows_get(rows, row, 5)),
            .not_null = list_of(rows_get(rows, row, 6)),
            .valid = list_of(rows_get(rows, row, 7)),
            .invalid = *rows_get(rows, row, 8) == 't',
        };
    }
    *ret = c;
    return 0;
}

static int by_oid(const void *key, const void *relation)
{
    uint32_t oid = *(const uint32_t *)key, other = ((const struct relation *)relation)->oid;
    return oid < other ? -1 : oid > other;
}

static const struct relation *find(const struct catalog *c, uint32_t oid)
{
    return c->n ? bsearch(&oid, c->v, c->n, sizeof(*c->v), by_oid) : NULL;
}

/* ---- what the session said ---- */

struct seen_relation {
    uint32_t oid;
    uint32_t file;
    int64_t read, written;
    const json_t *modes, *not_null, *valid; /* of the look */
};

struct look {
    json_t *json; /* NULL: it was not asked, or could not answer */
    int64_t wal;
    struct seen_relation *v;
    size_t n;
};

static void look_parse(const char *text, struct look *ret)
{
    *ret = (struct look){.json = text ? json_loads(text, 0, NULL) : NULL, .wal = MEASURE_UNKNOWN};
    const json_t *list = json_object_get(ret->json, "relations"), *item;
    size_t i;
    if (!ret->json)
        return;
    ret->wal = (int64_t)json_number_value(json_object_get(ret->json, "wal"));
    ret->v = xcalloc(json_array_size(list), sizeof(*ret->v));
    json_array_foreach(list, i, item)
    {
        ret->v[ret->n++] = (struct seen_relation){
            .oid = (uint32_t)json_integer_value(json_array_get(item, 0)),
            .modes = json_array_get(item, 1),
            .file = (uint32_t)json_integer_value(json_array_get(item, 2)),
            .read = json_integer_value(json_array_get(item, 3)),
            .written = json_integer_value(json_array_get(item, 4)),
            .not_null = json_array_get(item, 5),
            .valid = json_array_get(item, 6),
        };
    }
}

static const struct seen_relation *look_find(const struct look *l, uint32_t oid)
{
    for (size_t i = 0; i < l->n; i++)
        if (l->v[i].oid == oid)
            return &l->v[i];
    return NULL;
}

static bool has(const json_t *list, const json_t *value)
{
    size_t i;
    const json_t *item;
    json_array_foreach(list, i, item) if (json_equal(item, value)) return true;
    return false;
}

/* ---- locks ---- */

/* A lock from when it was first seen until it was not there any more. */
struct hold {
    uint32_t relation;
    int mode;
    double from, until;
    bool open;
};

struct holds {
    struct hold *v;
    size_t n, cap;
};

static struct hold *open_hold(struct holds *h, const struct held *x)
{
    for (size_t i = h->n; i-- > 0;)
        if (h->v[i].open && h->v[i].relation == x->relation && h->v[i].mode == x->mode)
            return &h->v[i];
    return NULL;
}

static bool sighting_has(const struct sighting *s, const struct hold *h)
{
    for (size_t i = 0; i < s->n; i++)
        if (s->v[i].relation == h->relation && s->v[i].mode == h->mode)
            return true;
    return false;
}

static int by_time(const void *a, const void *b)
{
    double x = ((const struct sighting *)a)->seen, y = ((const struct sighting *)b)->seen;
    return (x > y) - (x < y);
}

/* Samples from outside and the session's own words, in the order of time. */
static struct sighting *all_sightings(const struct pg_observer *o, const struct look *looks,
                                      size_t *ret_n)
{
    const struct watcher *w = o->watcher;
    struct sighting *all = xcalloc(w->seen.n + o->base.ntold, sizeof(*all));
    size_t n = 0;
    for (size_t i = 0; i < w->seen.n; i++) {
        all[n] = w->seen.v[i];
        all[n].v = NULL;
        size_t cap = 0;
        all[n].n = 0;
        for (size_t k = 0; k < w->seen.v[i].n; k++)
            sighting_add(&all[n], &cap, w->seen.v[i].v[k].relation, w->seen.v[i].v[k].mode);
        n++;
    }
    for (size_t i = 0; i < o->base.ntold; i++) {
        if (!looks[i].json)
            continue;
        double end = o->base.told[i].event.end;
        size_t cap = 0, m;
        const json_t *mode;
        all[n] = (struct sighting){end, end, end, end, NULL, 0};
        for (size_t k = 0; k < looks[i].n; k++)
            json_array_foreach(looks[i].v[k].modes, m, mode) sighting_add(
                &all[n], &cap, looks[i].v[k].oid, watcher_mode(json_string_value(mode)));
        n++;
    }
    if (n)
        qsort(all, n, sizeof(*all), by_time);
    *ret_n = n;
    return all;
}

static void find_holds(const struct pg_observer *o, const struct look *looks, struct holds *ret)
{
    size_t n;
    struct sighting *all = all_sightings(o, looks, &n);
    for (size_t i = 0; i < n; i++) {
        const struct sighting *s = &all[i];
        double not_yet = i ? all[i - 1].asked_last : o->base.began;
        for (size_t k = 0; k < ret->n; k++) {
            struct hold *h = &ret->v[k];
            if (!h->open)
                continue;
            h->open = sighting_has(s, h) || s->asked < h->until; /* an old answer, come late */
            h->until = sighting_has(s, h) ? s->seen_last : h->open ? h->until : s->seen;
        }
        for (size_t k = 0; k < s->n; k++) {
            if (open_hold(ret, &s->v[k]))
                continue;
            ret->v = xgrow(ret->v, ret->n, &ret->cap, sizeof(*ret->v));
            ret->v[ret->n++] = (struct hold){.relation = s->v[k].relation,
                                             .mode = s->v[k].mode,
                                             .from = observer_taken(&o->base, not_yet, s->seen),
                                             .until = s->seen_last,
                                             .open = true};
        }
    }
    for (size_t i = 0; i < n; i++)
        free(all[i].v);
    free(all);
}

static enum lock_blocks blocks_of(int mode)
{
    return watcher_conflict(1, mode)   ? LOCK_BLOCKS_READS
           : watcher_conflict(3, mode) ? LOCK_BLOCKS_WRITES
                                       : LOCK_BLOCKS_NOTHING;
}

static void add_locks(const struct pg_observer *o, const struct holds *holds, struct measures *m)
{
    for (size_t i = 0; i < holds->n; i++) {
        const struct hold *h = &holds->v[i];
        const struct relation *r = find(&o->before, h->relation);
        if (!r) /* made by the step: nobody else can know it */
            continue;
        m->locks = xgrow(m->locks, m->nlocks, &m->locks_cap, sizeof(*m->locks));
        m->locks[m->nlocks++] = (struct measured_lock){
            .relation = xstrdup(r->name),
            .kind = xstrdup(r->kind),
            .mode = xstrdup(watcher_modes[h->mode]),
            .blocks = blocks_of(h->mode),
            .from = h->from,
            .until = h->until,
            .bytes = r->bytes,
            .statement = observer_statement_at(&o->base, h->from),
        };
    }
}

/* ---- canaries ---- */

/* The lock that a try had to wait for; NULL: it was only slow. */
static const struct hold *cause_of(const struct holds *holds, const struct canary_wait *w)
{
    const struct hold *cause = NULL;
    double most = 0;
    for (size_t i = 0; i < holds->n; i++) {
        const struct hold *h = &holds->v[i];
        double from = h->from > w->from ? h->from : w->from;
        double until = h->until < w->until ? h->until : w->until;
        if (h->relation != w->relation || !watcher_conflict(w->writer ? 3 : 1, h->mode) ||
            until - from <= most)
            continue;
        most = until - from;
        cause = h;
    }
    return cause;
}

static void add_wait(struct measures *m, const char *table, const struct canary_wait *w,
                     size_t statement)
{
    struct measured_wait *same = NULL;
    for (size_t i = 0; i < m->nwaits; i++)
        if (m->waits[i].writer == w->writer && strcmp(m->waits[i].table, table) == 0)
            same = &m->waits[i];
    if (same && same->seconds >= w->until - w->from)
        return;
    if (!same) {
        m->waits = xgrow(m->waits, m->nwaits, &m->waits_cap, sizeof(*m->waits));
        same = &m->waits[m->nwaits++];
        *same = (struct measured_wait){.table = xstrdup(table), .writer = w->writer};
    }
    same->from = w->from;
    same->seconds = w->until - w->from;
    same->statement = statement;
}

static void add_waits(const struct pg_observer *o, const struct holds *holds, struct measures *m)
{
    for (size_t i = 0; i < o->watcher->waits.n; i++) {
        const struct canary_wait *w = &o->watcher->waits.v[i];
        const struct hold *cause = cause_of(holds, w);
        const struct relation *r = find(&o->before, w->relation);
        if (cause && r)
            add_wait(m, r->name, w, observer_statement_at(&o->base, cause->from));
    }
    m->tries = o->watcher->tries;
}

/* ---- statements, rewrites, work ---- */

/* Of a counter that begins anew with each transaction. */
static int64_t counted(int64_t before, int64_t now)
{
    return now >= before ? now - before : now;
}

static void add_rewrite(struct measures *m, const struct relation *before,
                        const struct relation *after, size_t statement)
{
    m->rewrites = xgrow(m->rewrites, m->nrewrites, &m->rewrites_cap, sizeof(*m->rewrites));
    m->rewrites[m->nrewrites++] = (struct measured_rewrite){
        .relation = xstrdup(after->name),
        .kind = xstrdup(after->kind),
        .before = before->bytes,
        .after = after->bytes,
        .statement = statement,
    };
}

/* The statement after which the relation had another file; a statement outside of a transaction holds
 * nothing any more when it is asked: then the one that held the strongest lock. */
static size_t rewriter(const struct pg_observer *o, const struct look *looks,
                       const struct holds *holds, const struct relation *before)
{
    for (size_t i = 0; i < o->base.ntold; i++) {
        const struct seen_relation *s = look_find(&looks[i], before->oid);
        if (s && s->file != before->file)
            return i;
    }
    for (size_t i = 0; i < holds->n; i++)
        if (holds->v[i].relation == before->oid && holds->v[i].mode == LOCK_MODES)
            return observer_statement_at(&o->base, holds->v[i].from);
    return o->base.ntold == 1 ? 0 : SIZE_MAX;
}

static void add_rewrites(const struct pg_observer *o, const struct catalog *after,
                         const struct look *looks, const struct holds *holds, struct measures *m)
{
    for (size_t i = 0; i < after->n; i++) {
        const struct relation *r = &after->v[i], *was = find(&o->before, r->oid);
        if (was && was->file != r->file && was->file && r->file)
            add_rewrite(m, was, r, rewriter(o, looks, holds, was));
        if (r->invalid && !(was && was->invalid)) {
            m->invalid_indexes = xgrow(m->invalid_indexes, m->ninvalid, &m->invalid_cap,
                                       sizeof(*m->invalid_indexes));
            m->invalid_indexes[m->ninvalid++] = xstrdup(r->name);
        }
    }
}

/* A column that was there before and has become NOT NULL with this statement. */
static bool became_not_null(const struct relation *r, const struct seen_relation *before,
                            const struct seen_relation *now)
{
    size_t i;
    const json_t *number;
    json_array_foreach(now->not_null, i,
                       number) if (json_integer_value(number) <= r->columns &&
                                   !has(r->not_null, number) &&
                                   !(before && has(before->not_null, number))) return true;
    return false;
}

static const char *became_valid(const struct relation *r, const struct seen_relation *before,
                                const struct seen_relation *now)
{
    size_t i;
    const json_t *name;
    json_array_foreach(
        now->valid, i,
        name) if (!has(r->valid, name) &&
                  !(before && has(before->valid, name))) return json_string_value(name);
    return NULL;
}

static void add_work(const struct pg_observer *o, size_t statement, const struct look *before,
                     const struct look *now, struct measures *m)
{
    struct measured_statement *s = &m->statements[statement];
    int64_t rows = 0;
    for (size_t i = 0; i < now->n; i++) {
        const struct seen_relation *x = &now->v[i];
        const struct seen_relation *was = before ? look_find(before, x->oid) : NULL;
        const struct relation *r = find(&o->before, x->oid);
        int64_t read = counted(was ? was->read : 0, x->read);
        int64_t written = counted(was ? was->written : 0, x->written);
        rows += written;
        if (!r || strcmp(r->kind, "table") != 0)
            continue;
        bool not_null = became_not_null(r, was, x);
        const char *valid = became_valid(r, was, x);
        if (!read && !written && !not_null && !valid)
            continue;
        m->work = xgrow(m->work, m->nwork, &m->work_cap, sizeof(*m->work));
        m->work[m->nwork++] = (struct measured_work){.table = xstrdup(r->name),
                                                     .bytes = r->bytes,
                                                     .statement = statement,
                                                     .read = read,
                                                     .written = written,
                                                     .not_null = not_null,
                                                     .validated = valid != NULL,
                                                     .constraint = xstrdup(valid)};
    }
    /* outside of a transaction nothing is held when it is asked, and the counters are gone */
    if (now->n)
        s->rows = rows;
}

static void add_statements(const struct pg_observer *o, const struct look *looks,
                           struct measures *m)
{
    int64_t wal = o->before.wal;
    const struct look *before = NULL;
    for (size_t i = 0; i < o->base.ntold; i++) {
        const struct look *l = &looks[i];
        if (!l->json)
            continue;
        m->statements[i].wal = l->wal - wal;
        wal = l->wal;
        add_work(o, i, before, l, m);
        before = l;
    }
}

/* ---- the observer ---- */

static void pg_close(struct observer *base)
{
    struct pg_observer *o = (struct pg_observer *)base;
    watcher_close(o->watcher);
    db_close(o->db);
    catalog_release(&o->before);
    free(o->tables);
    free(o);
}

static int pg_open(const struct observer_options *options, struct observer **ret, struct err *err)
{
    struct pg_observer *o = xcalloc(1, sizeof(*o));
    o->canaries = !options->no_canaries;
    if (db_open(&engine_postgres, options->url, DB_OPEN_DEFAULT, &o->db, err) < 0 ||
        watcher_open(options->url, o->canaries, &o->watcher, err) < 0) {
        pg_close(&o->base);
        return -1;
    }
    *ret = &o->base;
    return 0;
}

static int pg_begin(struct observer *base, struct db *session, struct err *err)
{
    (void)session;
    struct pg_observer *o = (struct pg_observer *)base;
    struct catalog now = {0};
    if (catalog_read(o->db, &now, err) < 0)
        return -1;
    catalog_release(&o->before);
    o->before = now;
    free(o->tables);
    o->tables = xcalloc(now.n, sizeof(*o->tables));
    o->ntables = 0;
    for (size_t i = 0; i < now.n; i++)
        if (strcmp(now.v[i].kind, "table") == 0)
            o->tables[o->ntables++] = (struct canary_table){now.v[i].oid, now.v[i].name};
    return watcher_begin(o->watcher, o->tables, o->ntables, err);
}

static void pg_stop(struct observer *base)
{
    watcher_stop(((struct pg_observer *)base)->watcher);
}

static int pg_end(struct observer *base, struct measures *m, struct err *err)
{
    struct pg_observer *o = (struct pg_observer *)base;
    struct catalog after = {0};
    struct holds holds = {0};
    if (o->watcher->lost)
        return err_set(err, ERR_ENV, "the session that saw the locks was ended meanwhile");
    if (catalog_read(o->db, &after, err) < 0)
        return -1;
    struct look *looks = xcalloc(base->ntold, sizeof(*looks));
    for (size_t i = 0; i < base->ntold; i++)
        look_parse(base->told[i].event.seen, &looks[i]);
    find_holds(o, looks, &holds);
    add_locks(o, &holds, m);
    add_waits(o, &holds, m);
    add_rewrites(o, &after, looks, &holds, m);
    add_statements(o, looks, m);
    m->before = o->before.bytes;
    m->after = after.bytes;
    m->temp = o->watcher->temp;
    m->peak = o->watcher->peak;
    m->peak = m->peak > m->after ? m->peak : m->after;
    m->peak = m->peak > m->before ? m->peak : m->before;
    m->wal = after.wal - o->before.wal;
    m->pages = MEASURE_UNKNOWN;
    for (size_t i = 0; i < base->ntold; i++) {
        json_decref(looks[i].json);
        free(looks[i].v);
    }
    free(looks);
    free(holds.v);
    catalog_release(&after);
    return 0;
}

const struct observer_ops observer_postgres = {
    .open = pg_open,
    .close = pg_close,
    .look = look_sql,
    .begin = pg_begin,
    .stop = pg_stop,
    .end = pg_end,
};
