#include "runner/rows.h"

#include <stdlib.h>
#include <string.h>

static struct row_digest *row_digest_ref(struct row_digest *d)
{
    if (d)
        __atomic_add_fetch(&d->refs, 1, __ATOMIC_RELAXED);
    return d;
}

static void row_digest_unref(struct row_digest *d)
{
    if (!d || __atomic_sub_fetch(&d->refs, 1, __ATOMIC_ACQ_REL) > 0)
        return;
    free(d->digest.name);
    digest_sum_release(&d->digest.sum);
    free(d);
}

/* Where name is, or would be. */
static size_t place_of(const struct row_state *s, const char *name, bool *ret_found)
{
    size_t low = 0, high = s->n;
    *ret_found = false;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        int order = strcmp(s->v[mid]->digest.name, name);
        if (order == 0) {
            *ret_found = true;
            return mid;
        }
        if (order < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

const struct digest *row_state_find(const struct row_state *s, const char *name)
{
    bool found;
    size_t i = place_of(s, name, &found);
    return found ? &s->v[i]->digest : NULL;
}

/* Takes the reference; NULL removes. */
static void put(struct row_state *s, const char *name, struct row_digest *d)
{
    bool found;
    size_t i = place_of(s, name, &found);
    if (found && d) {
        row_digest_unref(s->v[i]);
        s->v[i] = d;
    } else if (found) {
        row_digest_unref(s->v[i]);
        memmove(&s->v[i], &s->v[i + 1], (s->n - i - 1) * sizeof(struct row_digest *));
        s->n--;
    } else if (d) {
        s->v = xgrow(s->v, s->n, &s->cap, sizeof(struct row_digest *));
        memmove(&s->v[i + 1], &s->v[i], (s->n - i) * sizeof(struct row_digest *));
        s->v[i] = d;
        s->n++;
    }
}

static bool same(const struct digest *a, const struct digest *b)
{
    if (a->sequence != b->sequence || a->next != b->next || a->sum.rows != b->sum.rows ||
        a->sum.lo != b->sum.lo || a->sum.hi != b->sum.hi || a->sum.ncolumns != b->sum.ncolumns)
        return false;
    /* a column that was renamed leaves the rows' sums as they are only when nothing is in it */
    for (size_t i = 0; i < a->sum.ncolumns; i++)
        if (strcmp(a->sum.columns[i].name, b->sum.columns[i].name) != 0)
            return false;
    return true;
}

/* after is used up. */
static void change(struct row_state *s, const char *name, struct row_digest *after,
                   struct row_delta *delta)
{
    bool found;
    size_t i = place_of(s, name, &found);
    struct row_digest *before = found ? s->v[i] : NULL;
    if (before && after && same(&before->digest, &after->digest)) {
        row_digest_unref(after);
        return;
    }
    if (!before && !after)
        return;
    if (delta) {
        delta->v = xgrow(delta->v, delta->n, &delta->cap, sizeof(*delta->v));
        delta->v[delta->n++] = (struct row_change){row_digest_ref(before), row_digest_ref(after)};
    }
    _cleanup_free_ char *kept = xstrdup(name); /* it may go with before */
    put(s, kept, after);
}

void row_state_record(struct row_state *s, const struct strv *names, struct digest_set *set,
                      struct row_delta *delta)
{
    /* what is gone first; from the end, for it shrinks */
    for (size_t i = names ? names->n : s->n; i-- > 0;) {
        const char *name = names ? names->v[i] : s->v[i]->digest.name;
        if (digest_find(set, name))
            continue;
        change(s, name, NULL, delta);
        if (names) { /* SQLite's sequence goes with its table */
            _cleanup_free_ char *sequence = xasprintf("sqlite_sequence.%s", name);
            change(s, sequence, NULL, delta);
        }
    }
    for (size_t i = 0; i < set->n; i++) {
        struct row_digest *d = xcalloc(1, sizeof(*d));
        *d = (struct row_digest){.refs = 1, .digest = set->v[i]};
        memset(&set->v[i], 0, sizeof(set->v[i]));
        change(s, d->digest.name, d, delta);
    }
    free(set->v);
    memset(set, 0, sizeof(*set));
}

void row_state_undo(struct row_state *s, const struct row_delta *delta)
{
    for (size_t i = delta->n; i-- > 0;) {
        const struct row_change *c = &delta->v[i];
        _cleanup_free_ char *name = xstrdup((c->before ? c->before : c->after)->digest.name);
        put(s, name, row_digest_ref(c->before));
    }
}

void row_state_copy(const struct row_state *s, struct row_state *ret)
{
    *ret = (struct row_state){.v = xcalloc(s->n, sizeof(*s->v)), .n = s->n, .cap = s->n};
    for (size_t i = 0; i < s->n; i++)
        ret->v[i] = row_digest_ref(s->v[i]);
}

void row_state_release(struct row_state *s)
{
    for (size_t i = 0; i < s->n; i++)
        row_digest_unref(s->v[i]);
    free(s->v);
    memset(s, 0, sizeof(*s));
}

void row_delta_release(struct row_delta *d)
{
    for (size_t i = 0; i < d->n; i++) {
        row_digest_unref(d->v[i].before);
        row_digest_unref(d->v[i].after);
    }
    free(d->v);
    memset(d, 0, sizeof(*d));
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct digest *)a)->name, ((const struct digest *)b)->name);
}

void row_state_view(const struct row_state *s, const struct strv *names, struct digest_set *ret)
{
    size_t n = names ? names->n : s->n;
    *ret = (struct digest_set){.v = xcalloc(n, sizeof(*ret->v)), .cap = n};
    for (size_t i = 0; i < n; i++) {
        const struct digest *d = names ? row_state_find(s, names->v[i]) : &s->v[i]->digest;
        if (d)
            ret->v[ret->n++] = *d;
    }
    if (names)
        qsort(ret->v, ret->n, sizeof(*ret->v), by_name);
}
