#include "harness/data/compare.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "harness/base/printable.h"
#include "harness/data/row_stream.h"

/* ---- digests ---- */

static const struct digest_column *find_column(const struct digest_sum *s, size_t hint,
                                               const char *name)
{
    /* mostly at the same place */
    if (hint < s->ncolumns && strcmp(s->columns[hint].name, name) == 0)
        return &s->columns[hint];
    for (size_t i = 0; i < s->ncolumns; i++)
        if (strcmp(s->columns[i].name, name) == 0)
            return &s->columns[i];
    return NULL;
}

static size_t plain_columns(const struct digest_sum *s)
{
    size_t n = 0;
    for (size_t i = 0; i < s->ncolumns; i++)
        n += !s->columns[i].generated;
    return n;
}

static unsigned compare_sums(const struct digest_sum *a, const struct digest_sum *b,
                             struct strv *columns)
{
    unsigned difference = a->rows == b->rows ? DIGEST_EQUAL : DIGEST_ROWS;
    size_t shared = 0; /* columns that take part in the row of both */
    for (size_t i = 0; i < a->ncolumns; i++) {
        const struct digest_column *x = &a->columns[i], *y = find_column(b, i, x->name);
        if (!y)
            continue;
        shared += !x->generated && !y->generated;
        if (x->sum != y->sum || x->nulls != y->nulls) {
            difference |= DIGEST_COLUMNS;
            strv_add(columns, x->name);
        }
    }
    bool same_columns = shared == plain_columns(a) && shared == plain_columns(b);
    if (difference == DIGEST_EQUAL && same_columns && (a->lo != b->lo || a->hi != b->hi))
        difference = DIGEST_PAIRING;
    return difference;
}

void digest_compare(const struct digest_set *before, const struct digest_set *after,
                    struct digest_changes *ret)
{
    for (size_t i = 0; i < before->n; i++) {
        const struct digest *a = &before->v[i], *b = digest_find(after, a->name);
        struct digest_change c = {.before = a, .after = b};
        if (!b || a->sequence != b->sequence) {
            c.difference = DIGEST_MISSING;
            c.after = NULL;
        } else if (a->sequence) {
            c.difference = a->next == b->next ? DIGEST_EQUAL : DIGEST_SEQUENCE;
        } else {
            c.difference = compare_sums(&a->sum, &b->sum, &c.columns);
        }
        if (c.difference == DIGEST_EQUAL)
            continue;
        ret->v = xgrow(ret->v, ret->n, &ret->cap, sizeof(*ret->v));
        ret->v[ret->n++] = c;
    }
}

void digest_changes_release(struct digest_changes *c)
{
    for (size_t i = 0; i < c->n; i++)
        strv_release(&c->v[i].columns);
    free(c->v);
    *c = (struct digest_changes){0};
}

char *digest_change_text(const struct digest_change *c)
{
    const struct digest *a = c->before, *b = c->after;
    if (!b)
        return xasprintf("%s %s: it is not there", a->sequence ? "sequence" : "rows of", a->name);
    if (c->difference & DIGEST_SEQUENCE)
        return xasprintf("sequence %s: next value %" PRId64 " -> %" PRId64, a->name, a->next,
                         b->next);
    if (c->difference & DIGEST_ROWS)
        return xasprintf("rows of %s: %" PRIu64 " -> %" PRIu64, a->name, a->sum.rows, b->sum.rows);
    _cleanup_free_ char *columns = strv_join(&c->columns, ", ");
    return xasprintf("rows of %s: other values%s%s", a->name, *columns ? " in " : "", columns);
}

/* ---- rows ---- */

/* A value longer than this is cut. In bytes. */
#define SHOWN_BYTES 60

static void column_change_release(struct column_change *c)
{
    free(c->name);
    free(c->before);
    free(c->after);
}

void rows_changes_release(struct rows_changes *c)
{
    free(c->key);
    strv_release(&c->lost_keys);
    strv_release(&c->added_keys);
    strv_release(&c->changed_keys);
    for (size_t i = 0; i < c->ncolumns; i++)
        column_change_release(&c->columns[i]);
    free(c->columns);
    *c = (struct rows_changes){0};
}

struct side {
    struct db *db;
    struct table_shape shape;
    struct row_stream *stream;
    struct stream_row row; /* where more */
    bool more;
    uint64_t rows;
    struct str last; /* the key of the row before */
    bool twice;      /* two rows have the same key */
};

struct explaining {
    const char *table;
    size_t examples;
    struct side before, after;
    struct strv columns; /* that both have */
    struct strv key;     /* a part of them */
    const struct strv *differ;
    bool primary;                /* the key is a primary key, or as good: else it is all columns */
    struct column_change *found; /* for each of columns */
    struct rows_changes changes;
};

static void side_release(struct side *s)
{
    row_stream_free(s->stream);
    table_shape_release(&s->shape);
    str_release(&s->last);
}

static void explaining_release(struct explaining *x)
{
    side_release(&x->before);
    side_release(&x->after);
    for (size_t i = 0; x->found && i < x->columns.n; i++)
        column_change_release(&x->found[i]);
    free(x->found);
    strv_release(&x->columns);
    strv_release(&x->key);
    rows_changes_release(&x->changes);
}

static bool has_all(const struct strv *list, const struct strv *names)
{
    for (size_t i = 0; i < names->n; i++)
        if (!strv_has(list, names->v[i]))
            return false;
    return true;
}

static void copy_names(struct strv *to, const struct strv *from)
{
    for (size_t i = 0; i < from->n; i++)
        strv_add(to, from->v[i]);
}

/* The columns that do not differ, where those that do are no small matter. */
static bool choose_other_key(struct explaining *x, const struct strv *key)
{
    bool changes = !key;
    for (size_t i = 0; key && i < key->n; i++)
        changes |= strv_has(x->differ, key->v[i]);
    for (size_t i = 0; changes && i < x->columns.n; i++)
        if (!strv_has(x->differ, x->columns.v[i]))
            strv_add(&x->key, x->columns.v[i]);
    return x->key.n > 0;
}

static void choose_columns(struct explaining *x)
{
    const struct table_shape *a = &x->before.shape, *b = &x->after.shape;
    for (size_t i = 0; i < a->columns.n; i++)
        if (strv_has(&b->columns, a->columns.v[i]))
            strv_add(&x->columns, a->columns.v[i]);
    const struct strv *key = a->key.n && has_all(&x->columns, &a->key)   ? &a->key
                             : b->key.n && has_all(&x->columns, &b->key) ? &b->key
                                                                         : NULL;
    x->found = xcalloc(x->columns.n, sizeof(*x->found));
    x->primary = true;
    if (x->differ && x->differ->n && choose_other_key(x, key))
        return;
    x->differ = NULL;
    x->primary = key != NULL;
    copy_names(&x->key, key ? key : &x->columns);
    if (key)
        x->changes.key = strv_join(key, ", ");
}

static void add_value(struct str *s, const struct row_stream *stream,
                      const struct digest_value *value)
{
    _cleanup_str_ struct str text = {0};
    if (!value->bytes) {
        str_add(s, "NULL");
        return;
    }
    row_stream_add_text(stream, value, &text);
    size_t n = text.len;
    if (n > SHOWN_BYTES) {
        /* the start of the character that crosses the bound; other bytes are no UTF-8 anyway */
        n = SHOWN_BYTES;
        while (n > SHOWN_BYTES - 4 && ((unsigned char)text.p[n] & 0xc0) == 0x80)
            n--;
    }
    str_add_printable(s, str_get(&text), n);
    if (n < text.len)
        str_add(s, "…");
}

static size_t column_position(const struct strv *columns, const char *name)
{
    size_t i = 0;
    while (strcmp(columns->v[i], name) != 0)
        i++;
    return i;
}

static void add_example(const struct explaining *x, const struct side *s, struct strv *ret)
{
    if (ret->n >= x->examples)
        return;
    struct str text = {0};
    bool several = x->key.n > 1;
    if (several)
        str_addc(&text, '(');
    for (size_t i = 0; i < x->key.n; i++) {
        if (i)
            str_add(&text, ", ");
        add_value(&text, s->stream, &s->row.values[column_position(&x->columns, x->key.v[i])]);
    }
    if (several)
        str_addc(&text, ')');
    strv_add_take(ret, str_take(&text));
}

static bool same_value(const struct digest_value *a, const struct digest_value *b)
{
    if (!a->bytes || !b->bytes)
        return !a->bytes && !b->bytes;
    return a->len == b->len && (a->len == 0 || memcmp(a->bytes, b->bytes, a->len) == 0);
}

static char *value_text(const struct side *s, const struct digest_value *value)
{
    if (!value->bytes)
        return NULL;
    struct str text = {0};
    add_value(&text, s->stream, value);
    return str_take(&text);
}

/* Two rows of the same key. */
static void compare_row(struct explaining *x)
{
    bool changed = false;
    for (size_t i = 0; i < x->columns.n; i++) {
        const struct digest_value *a = &x->before.row.values[i], *b = &x->after.row.values[i];
        struct column_change *c = &x->found[i];
        if (same_value(a, b))
            continue;
        if (c->rows++ == 0) {
            c->before = value_text(&x->before, a);
            c->after = value_text(&x->after, b);
        }
        c->became_null += !b->bytes;
        changed = true;
    }
    if (changed) {
        x->changes.changed++;
        add_example(x, &x->before, &x->changes.changed_keys);
    }
}

static int advance(struct explaining *x, struct side *s, struct err *err)
{
    int r = row_stream_next(s->stream, &s->row, err);
    s->more = r > 0;
    s->rows += r > 0;
    if (x->differ && s->more) {
        const struct digest_value *key = &s->row.key;
        s->twice |= s->rows > 1 && s->last.len == key->len &&
                    memcmp(str_get(&s->last), key->bytes, key->len) == 0;
        str_clear(&s->last);
        str_addn(&s->last, (const char *)key->bytes, key->len);
    }
    return r < 0 ? -1 : 0;
}

/* Less than 0: the row of before is lost; more than 0: that of after was added. */
static int compare_keys(const struct explaining *x)
{
    if (!x->before.more || !x->after.more)
        return x->before.more ? -1 : 1;
    const struct digest_value *a = &x->before.row.key, *b = &x->after.row.key;
    size_t n = a->len < b->len ? a->len : b->len;
    int order = n ? memcmp(a->bytes, b->bytes, n) : 0;
    return order ? order : a->len < b->len ? -1 : a->len > b->len;
}

static int merge(struct explaining *x, struct err *err)
{
    if (advance(x, &x->before, err) < 0 || advance(x, &x->after, err) < 0)
        return -1;
    while (x->before.more || x->after.more) {
        int order = compare_keys(x);
        if (order < 0) {
            x->changes.lost++;
            add_example(x, &x->before, &x->changes.lost_keys);
        } else if (order > 0) {
            x->changes.added++;
            add_example(x, &x->after, &x->changes.added_keys);
        } else if (x->primary) {
            compare_row(x);
        }
        if ((order <= 0 && advance(x, &x->before, err) < 0) ||
            (order >= 0 && advance(x, &x->after, err) < 0))
            return -1;
    }
    x->changes.before = x->before.rows;
    x->changes.after = x->after.rows;
    return 0;
}

/* Tables without a column in common. */
static int count_only(struct explaining *x, struct err *err)
{
    struct side *const sides[] = {&x->before, &x->after};
    for (size_t i = 0; i < ARRAY_LEN(sides); i++) {
        struct digest_set set = {0};
        char *name = (char *)(uintptr_t)x->table;
        const struct strv names = {.v = &name, .n = 1};
        if (digest_read(sides[i]->db, &names, NULL, &set, err) < 0)
            return -1;
        sides[i]->rows = set.n ? set.v[0].sum.rows : 0;
        digest_set_release(&set);
    }
    uint64_t before = x->before.rows, after = x->after.rows;
    x->changes.before = before;
    x->changes.after = after;
    x->changes.lost = before > after ? before - after : 0;
    x->changes.added = after > before ? after - before : 0;
    return 0;
}

static void collect_columns(struct explaining *x)
{
    struct rows_changes *c = &x->changes;
    for (size_t i = 0; i < x->columns.n; i++) {
        if (x->found[i].rows == 0)
            continue;
        c->columns = xgrow(c->columns, c->ncolumns, &c->columns_cap, sizeof(*c->columns));
        c->columns[c->ncolumns] = x->found[i];
        c->columns[c->ncolumns++].name = xstrdup(x->columns.v[i]);
        x->found[i] = (struct column_change){0};
    }
}

static int side_open(const struct explaining *x, struct side *s, struct err *err)
{
    bool unique =
        (!x->primary && !x->differ) || (s->shape.key.n && has_all(&x->key, &s->shape.key));
    return row_stream_open(s->db, x->table, &x->key, &x->columns, unique, &s->stream, err);
}

static int explain(struct explaining *x, struct err *err)
{
    struct side *a = &x->before, *b = &x->after;
    if (row_stream_shape(a->db, x->table, &a->shape, err) < 0 ||
        row_stream_shape(b->db, x->table, &b->shape, err) < 0)
        return -1;
    choose_columns(x);
    if (!x->columns.n)
        return count_only(x, err);
    if (side_open(x, a, err) < 0 || side_open(x, b, err) < 0 || merge(x, err) < 0)
        return -1;
    collect_columns(x);
    return 0;
}

int rows_explain(struct db *before, struct db *after, const char *table, const struct strv *differ,
                 int examples, struct rows_changes *ret, struct err *err)
{
    struct explaining x = {.table = table,
                           .examples = examples > 0 ? (size_t)examples : 0,
                           .differ = differ,
                           .before = {.db = before},
                           .after = {.db = after}};
    int r = explain(&x, err);
    bool vague = r == 0 && x.differ && (x.before.twice || x.after.twice);
    if (r == 0 && !vague) {
        *ret = x.changes;
        x.changes = (struct rows_changes){0};
    } else if (r < 0) {
        err_prefix(err, "cannot compare the rows of %s", table);
    }
    explaining_release(&x);
    return vague ? rows_explain(before, after, table, NULL, examples, ret, err) : r;
}
