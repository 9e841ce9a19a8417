#include "harness/schema/delta.h"

#include <stdlib.h>
#include <string.h>

struct list {
    struct object **v;
    size_t n, cap;
};

static void list_add(struct list *l, struct object *o)
{
    l->v = xgrow(l->v, l->n, &l->cap, sizeof(*l->v));
    l->v[l->n++] = object_ref(o);
}

void delta_between(const struct snapshot *before, const struct snapshot *after, struct delta *ret)
{
    struct list removed = {0}, added = {0};
    size_t i = 0, j = 0;
    while (i < before->n || j < after->n) {
        struct object *a = i < before->n ? before->objects[i] : NULL;
        struct object *b = j < after->n ? after->objects[j] : NULL;
        if (a == b) {
            i++, j++;
            continue;
        }
        int order = !a ? 1 : !b ? -1 : object_compare(a, b);
        if (order == 0 && object_equal(a, b)) {
            i++, j++;
            continue;
        }
        if (order <= 0) {
            list_add(&removed, a);
            i++;
        }
        if (order >= 0) {
            list_add(&added, b);
            j++;
        }
    }
    *ret = (struct delta){removed.v, removed.n, added.v, added.n};
}

struct snapshot *delta_apply(const struct snapshot *s, const struct delta *d, bool reverse)
{
    struct object **out = reverse ? d->added : d->removed;
    struct object **in = reverse ? d->removed : d->added;
    size_t nout = reverse ? d->nadded : d->nremoved;
    size_t nin = reverse ? d->nremoved : d->nadded;
    struct snapshot *r = snapshot_new(s->engine, s->version);
    size_t o = 0, k = 0;
    for (size_t i = 0; i <= s->n; i++) {
        struct object *next = i < s->n ? s->objects[i] : NULL;
        /* merged in order, so that snapshot_finish() finds it sorted */
        while (k < nin && (!next || object_compare(in[k], next) < 0))
            snapshot_add(r, object_ref(in[k++]));
        if (!next)
            break;
        if (o < nout && object_compare(out[o], next) == 0) {
            o++;
            if (k < nin && object_compare(in[k], next) == 0)
                snapshot_add(r, object_ref(in[k++]));
            continue;
        }
        snapshot_add(r, object_ref(next));
    }
    struct err impossible = {0}; /* both inputs are duplicate-free */
    snapshot_finish(r, &impossible);
    err_release(&impossible);
    return r;
}

static bool equal_lists(struct object *const *a, size_t na, struct object *const *b, size_t nb)
{
    bool equal = na == nb;
    for (size_t i = 0; equal && i < na; i++)
        equal = object_equal(a[i], b[i]);
    return equal;
}

bool delta_equal(const struct delta *a, const struct delta *b)
{
    return equal_lists(a->removed, a->nremoved, b->removed, b->nremoved) &&
           equal_lists(a->added, a->nadded, b->added, b->nadded);
}

static int compare_pointed(const void *a, const void *b)
{
    return object_compare(*(struct object *const *)a, *(struct object *const *)b);
}

bool delta_touches(const struct delta *d, const struct object *o)
{
    return (d->nremoved && bsearch(&o, d->removed, d->nremoved, sizeof(o), compare_pointed)) ||
           (d->nadded && bsearch(&o, d->added, d->nadded, sizeof(o), compare_pointed));
}

void delta_release(struct delta *d)
{
    for (size_t i = 0; i < d->nremoved; i++)
        object_unref(d->removed[i]);
    for (size_t i = 0; i < d->nadded; i++)
        object_unref(d->added[i]);
    free(d->removed);
    free(d->added);
    memset(d, 0, sizeof(*d));
}
