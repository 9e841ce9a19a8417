#include "backup/sample.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "backup/sample_impl.h"

static size_t find(const struct sample *s, const char *name)
{
    for (size_t i = 0; i < s->n; i++)
        if (strcmp(s->tables[i].name, name) == 0)
            return i;
    return SIZE_MAX;
}

static bool is_named(const char *const *names, const char *table)
{
    for (; names && *names; names++) {
        size_t n = strlen(*names), len = strlen(table);
        if (len >= n && strcmp(table + len - n, *names) == 0 &&
            (len == n || table[len - n - 1] == '.'))
            return true;
    }
    return false;
}

/* The table that has the digest: of a partition, the one at the top. */
static const char *root_of(const struct snapshot *snapshot, const char *table)
{
    const struct object *o;
    const char *of;
    while (snapshot && (o = snapshot_find(snapshot, "table", table)) &&
           (of = object_get(o, "partition of")))
        table = of;
    return table;
}

static bool is_complete(const struct mask_link *l)
{
    for (size_t i = 0; i < l->to_columns.n; i++)
        if (!*l->to_columns.v[i])
            return false;
    return l->columns.n == l->to_columns.n;
}

struct sample *sample_new(const struct sample_options *o, struct mask_model *model,
                          const struct snapshot *snapshot)
{
    struct sample *s = xcalloc(1, sizeof(*s));
    struct mask_model *m = &s->model;
    s->percent = o->percent;
    s->seed = o->seed;
    *m = *model;
    *model = (struct mask_model){0};
    for (size_t i = 0; i < m->ncolumns; i++) {
        const char *name = m->columns[i].table;
        if (s->n && strcmp(s->tables[s->n - 1].name, name) == 0)
            continue;
        s->tables = xgrow(s->tables, s->n, &s->cap, sizeof(*s->tables));
        s->tables[s->n++] =
            (struct sample_table){.name = xstrdup(name), .must = is_named(o->whole, name)};
    }
    s->from = xcalloc(m->nlinks, sizeof(*s->from));
    s->to = xcalloc(m->nlinks, sizeof(*s->to));
    for (size_t i = 0; i < m->nlinks; i++) {
        const struct mask_link *l = &m->links[i];
        s->from[i] = find(s, root_of(snapshot, l->table));
        s->to[i] = find(s, root_of(snapshot, l->to));
        if (s->from[i] == SIZE_MAX || s->to[i] == SIZE_MAX || !is_complete(l))
            s->from[i] = s->to[i] = SIZE_MAX;
    }
    return s;
}

void sample_free(struct sample *s)
{
    if (!s)
        return;
    for (size_t i = 0; i < s->n; i++)
        free(s->tables[i].name);
    free(s->tables);
    free(s->from);
    free(s->to);
    mask_model_release(&s->model);
    free(s);
}

/* ---- how large, and what follows ---- */

void sample_count(struct sample *s, const struct digest_set *digests)
{
    for (size_t i = 0; i < s->n; i++) {
        const struct digest *d = digest_find(digests, s->tables[i].name);
        if (d)
            s->tables[i].rows = d->sum.rows;
    }
}

int sample_count_tables(struct sample *s, struct db *db, struct err *err)
{
    _cleanup_str_ struct str sql = {0};
    _cleanup_rows_ struct rows *rows = NULL;
    bool names = s->model.engine == &engine_postgres; /* they are as SQL takes them */
    if (!s->n)
        return 0;
    for (size_t i = 0; i < s->n; i++) {
        _cleanup_free_ char *quoted =
            names ? xstrdup(s->tables[i].name) : quote_with(s->tables[i].name, '"');
        str_addf(&sql, "%sselect %zu, count(*) from (select 1 from %s limit %d) as t%zu",
                 i ? " union all " : "", i, quoted, SAMPLE_WHOLE_ROWS + 1, i);
        /* SQLite takes 500 in one, and the server has to plan them */
        if (i + 1 < s->n && (i + 1) % 100 != 0)
            continue;
        if (db_query(db, str_get(&sql), NULL, 0, &rows, err) < 0)
            return -1;
        for (int r = 0; r < rows_count(rows); r++)
            s->tables[strtoull(rows_get(rows, r, 0), NULL, 10)].rows =
                strtoull(rows_get(rows, r, 1), NULL, 10);
        rows_free(TAKE_PTR(rows));
        str_clear(&sql);
    }
    return 0;
}

/* Marks the undecided tables that the table refers to, through any number of others. */
static size_t reach(const struct sample *s, size_t table, bool *seen)
{
    size_t count = 0;
    memset(seen, 0, s->n * sizeof(*seen));
    for (bool more = true; more;) {
        more = false;
        for (size_t i = 0; i < s->model.nlinks; i++) {
            size_t from = s->from[i], to = s->to[i];
            if (from == SIZE_MAX || seen[to] || s->tables[to].how != SAMPLE_OPEN ||
                (from != table && !seen[from]))
                continue;
            seen[to] = more = true;
            count++;
        }
    }
    return count;
}

/* Number of foreign keys that refer to the table; small ones count for less than any. */
static size_t weight(const struct sample *s, size_t table)
{
    size_t n = 0;
    if (s->tables[table].rows <= SAMPLE_WHOLE_ROWS)
        return 0;
    for (size_t i = 0; i < s->model.nlinks; i++)
        n += s->to[i] == table;
    return n;
}

/* Of the tables in a circle that refers to no other undecided table, the one that most refer to. How
 * many rows it has is not asked: of a live database nobody knows that without reading them. */
static size_t choose(const struct sample *s)
{
    size_t best = SIZE_MAX, least = SIZE_MAX;
    bool *seen = xcalloc(s->n, sizeof(*seen));
    for (size_t i = 0; i < s->n; i++) {
        if (s->tables[i].how != SAMPLE_OPEN)
            continue;
        size_t n = reach(s, i, seen);
        if (seen[i] && (n < least || (n == least && weight(s, i) > weight(s, best)))) {
            best = i;
            least = n;
        }
    }
    free(seen);
    return best;
}

static bool follows(const struct sample *s, size_t table, bool *ret_ready)
{
    bool thin = false;
    *ret_ready = true;
    for (size_t i = 0; i < s->model.nlinks; i++) {
        if (s->from[i] != table || s->to[i] == table)
            continue;
        enum sample_how how = s->tables[s->to[i]].how;
        *ret_ready = *ret_ready && how != SAMPLE_OPEN;
        thin = thin || how > SAMPLE_WHOLE;
    }
    return thin;
}

static bool decide_ready(struct sample *s)
{
    bool any = false, ready;
    for (size_t i = 0; i < s->n; i++) {
        struct sample_table *t = &s->tables[i];
        if (t->how != SAMPLE_OPEN)
            continue;
        bool thin = follows(s, i, &ready);
        if (!ready)
            continue;
        t->how = thin                                      ? SAMPLE_FOLLOWS
                 : t->must || t->rows <= SAMPLE_WHOLE_ROWS ? SAMPLE_WHOLE
                                                           : SAMPLE_BY_HASH;
        any = true;
    }
    return any;
}

void sample_decide(struct sample *s)
{
    for (;;) {
        while (decide_ready(s))
            ;
        size_t i = choose(s);
        if (i == SIZE_MAX)
            return;
        bool ready;
        struct sample_table *t = &s->tables[i];
        t->how = follows(s, i, &ready) || t->must || t->rows <= SAMPLE_WHOLE_ROWS ? SAMPLE_FOLLOWS
                                                                                  : SAMPLE_BY_HASH;
    }
}

size_t sample_find(const struct sample *s, const char *table)
{
    size_t i = find(s, table);
    return i != SIZE_MAX && s->tables[i].how == SAMPLE_BY_HASH ? i : SIZE_MAX;
}

bool sample_keeps(const struct sample *s, const void *row, size_t len)
{
    return XXH3_64bits_withSeed(row, len, s->seed) % 100 < (uint64_t)s->percent;
}

/* ---- rows without their parents ---- */

/* Parents first, as far as there is an order. */
static size_t next_link(const struct sample *s, const bool *dirty)
{
    size_t first = SIZE_MAX;
    for (size_t i = 0; i < s->model.nlinks; i++) {
        bool wait = false;
        if (!dirty[i])
            continue;
        first = first == SIZE_MAX ? i : first;
        for (size_t k = 0; k < s->model.nlinks; k++)
            wait = wait || (dirty[k] && s->from[k] == s->to[i] && s->from[k] != s->from[i]);
        if (!wait)
            return i;
    }
    return first;
}

int sample_prune(struct sample *s, sample_prune_fn *prune, void *data, struct err *err)
{
    const struct mask_model *m = &s->model;
    bool *dirty = xcalloc(m->nlinks, sizeof(*dirty));
    int rc = 0;
    size_t i;
    for (i = 0; i < m->nlinks; i++)
        dirty[i] = s->to[i] != SIZE_MAX && s->tables[s->to[i]].how > SAMPLE_WHOLE;
    while (rc == 0 && (i = next_link(s, dirty)) != SIZE_MAX) {
        uint64_t n = 0;
        dirty[i] = false;
        rc = prune(data, &m->links[i], &n, err);
        if (rc < 0)
            err_prefix(err, "%s", m->links[i].name);
        s->tables[s->from[i]].pruned += n;
        for (size_t k = 0; n && k < m->nlinks; k++)
            dirty[k] = dirty[k] || s->to[k] == s->from[i];
    }
    free(dirty);
    return rc;
}

char *sample_delete_sql(const struct mask_link *link, const char *child, const char *parent)
{
    struct str sql = {0};
    _cleanup_str_ struct str equal = {0};
    str_addf(&sql, "delete from %s as c where ", child);
    for (size_t i = 0; i < link->columns.n; i++) {
        _cleanup_free_ char *from = quote_with(link->columns.v[i], '"'),
                            *to = quote_with(link->to_columns.v[i], '"');
        str_addf(&sql, "c.%s is not null and ", from);
        str_addf(&equal, "%sp.%s = c.%s", i ? " and " : "", to, from);
    }
    str_addf(&sql, "not exists (select 1 from %s as p where %s)", parent, str_get(&equal));
    return str_take(&sql);
}

/* ---- after all ---- */

size_t sample_settle(struct sample *s, struct digest_set *expected)
{
    size_t n = 0;
    for (size_t i = 0; i < expected->n; i++) {
        struct digest *d = &expected->v[i];
        size_t at = find(s, d->name);
        if (at != SIZE_MAX)
            s->tables[at].passed = d->sum.rows;
        if (at != SIZE_MAX && s->tables[at].pruned) {
            free(d->name);
            digest_sum_release(&d->sum);
            continue;
        }
        expected->v[n++] = *d;
    }
    size_t out = expected->n - n;
    expected->n = n;
    return out;
}

uint64_t sample_tell(const struct sample *s, struct strv *ret)
{
    uint64_t out = 0;
    for (size_t i = 0; i < s->n; i++) {
        const struct sample_table *t = &s->tables[i];
        uint64_t kept = t->passed - t->pruned;
        if (kept == t->rows)
            continue;
        out += t->rows - kept;
        strv_add_take(ret, xasprintf("%s: %llu of %llu rows", t->name, (unsigned long long)kept,
                                     (unsigned long long)t->rows));
    }
    return out;
}
