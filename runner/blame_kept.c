/* Columns and tables that the upgrade only gives another name: their values need not be lost. */
#include <stdlib.h>
#include <string.h>

#include "harness/base/cleanup.h"
#include "harness/data/row_stream.h"
#include "runner/walk.h"

static int open_column(struct db *db, const char *table, const char *column,
                       struct row_stream **ret, struct err *err)
{
    _cleanup_strv_ struct strv columns = {0};
    strv_add(&columns, column);
    return row_stream_open(db, table, &columns, &columns, false, ret, err);
}

/* *ret: the column of the one database holds the values of that of the other, not all of them the
 * same. Both are read in order: which row holds which is not asked. */
static int holds_the_same(struct db *a, const char *a_column, struct db *b, const char *b_column,
                          const char *table, bool *ret, struct err *err)
{
    _cleanup_(cleanup_row_stream_free) struct row_stream *x = NULL, *y = NULL;
    _cleanup_str_ struct str first = {0};
    bool differ = false, any = false;
    *ret = false;
    if (open_column(a, table, a_column, &x, err) < 0 ||
        open_column(b, table, b_column, &y, err) < 0)
        return -1;
    for (;;) {
        struct stream_row p, q;
        int m = row_stream_next(x, &p, err), n = m < 0 ? -1 : row_stream_next(y, &q, err);
        if (m < 0 || n < 0)
            return -1;
        if (!m && !n)
            break;
        const struct digest_value *v = m ? p.values : NULL, *u = n ? q.values : NULL;
        if (!v || !u || !v->bytes != !u->bytes || v->len != u->len ||
            (v->len && memcmp(v->bytes, u->bytes, v->len) != 0))
            return 0;
        if (!v->bytes)
            continue;
        differ = differ || (any && (first.len != v->len ||
                                    (v->len && memcmp(str_get(&first), v->bytes, v->len) != 0)));
        if (!any)
            str_addn(&first, v->bytes, v->len);
        any = true;
    }
    *ret = differ;
    return 0;
}

static bool has_column(const struct digest *d, const char *name)
{
    for (size_t i = 0; i < d->sum.ncolumns; i++)
        if (strcmp(d->sum.columns[i].name, name) == 0)
            return true;
    return false;
}

int walk_kept_column(struct walk *w, size_t i, const struct digest *before,
                     const struct digest *top, const char *column, char **ret, struct err *err)
{
    _cleanup_line_ struct line *l = NULL;
    *ret = NULL;
    for (size_t k = 0; !w->exclusive && k < top->sum.ncolumns && !*ret; k++) {
        const char *name = top->sum.columns[k].name;
        struct db *a = NULL, *b = NULL;
        bool same = false;
        if (has_column(before, name))
            continue;
        if (!l && (walk_clean_line(w, i, &l, err) < 0 || walk_replay(w, l, i, STEP_UP, err) < 0))
            return -1;
        if (line_rows(w->clean, &a, err) < 0 || line_rows(l, &b, err) < 0 ||
            holds_the_same(a, column, b, name, before->name, &same, err) < 0)
            return -1;
        if (same)
            *ret = xstrdup(name);
    }
    return 0;
}

const char *walk_kept_table(const struct row_state *before, const struct row_state *top,
                            const struct digest *table)
{
    for (size_t i = 0; table->sum.rows && i < top->n; i++) {
        const struct digest *d = &top->v[i]->digest;
        if (!d->sequence && d->sum.rows == table->sum.rows && d->sum.lo == table->sum.lo &&
            d->sum.hi == table->sum.hi && d->sum.ncolumns == table->sum.ncolumns &&
            !row_state_find(before, d->name))
            return d->name;
    }
    return NULL;
}
