#include "harness/source/graph_private.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

struct graph *graph_new(void)
{
    return xcalloc(1, sizeof(struct graph));
}

static void revision_free(struct revision *r)
{
    free(r->id);
    free(r->title);
    free(r->file);
    free(r->down_file);
    strv_release(&r->parents);
    strv_release(&r->depends_on);
    strv_release(&r->labels);
    free(r->up);
    free(r->down);
    free(r);
}

void graph_free(struct graph *g)
{
    if (!g)
        return;
    for (size_t i = 0; i < g->n; i++)
        revision_free(g->added[i]);
    free(g->added);
    free(g->order);
    free(g->by_id);
    free(g->labels);
    free(g);
}

size_t graph_lower_bound(const struct graph *g, const char *id)
{
    size_t low = 0, high = g->n;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (strcmp(g->by_id[middle]->id, id) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

struct revision *graph_find(const struct graph *g, const char *id)
{
    size_t i = graph_lower_bound(g, id);
    return i < g->n && strcmp(g->by_id[i]->id, id) == 0 ? g->by_id[i] : NULL;
}

struct revision *graph_add(struct graph *g, const char *id, const char *file, struct err *err)
{
    size_t at = graph_lower_bound(g, id);
    if (at < g->n && strcmp(g->by_id[at]->id, id) == 0) {
        err_set(err, ERR_SOURCE, "revision \"%s\" is written twice: in %s and in %s", id,
                g->by_id[at]->file, file);
        err_hint(err, "give one of the two another id");
        err_at(err, file, 0, 0);
        return NULL;
    }
    struct revision *r = xcalloc(1, sizeof(*r));
    r->id = xstrdup(id);
    r->title = xstrdup("");
    r->file = xstrdup(file);
    r->position = SIZE_MAX;
    g->added = xgrow(g->added, g->n, &g->cap, sizeof(struct revision *));
    g->by_id = xgrow(g->by_id, g->n, &g->by_id_cap, sizeof(struct revision *));
    /* most sources add in order, so that nothing moves */
    memmove(g->by_id + at + 1, g->by_id + at, (g->n - at) * sizeof(struct revision *));
    g->by_id[at] = r;
    g->added[g->n++] = r;
    return r;
}

size_t graph_size(const struct graph *g)
{
    return g->n;
}

struct revision *graph_at(const struct graph *g, size_t position)
{
    return g->order[position];
}

void revisions_add(struct revisions *l, struct revision *r)
{
    l->v = xgrow(l->v, l->n, &l->cap, sizeof(struct revision *));
    l->v[l->n++] = r;
}

bool revisions_has(const struct revisions *l, const struct revision *r)
{
    for (size_t i = 0; i < l->n; i++)
        if (l->v[i] == r)
            return true;
    return false;
}

void revisions_release(struct revisions *l)
{
    free(l->v);
    memset(l, 0, sizeof(*l));
}

/* ---- labels ---- */

static int compare_labels(const void *a, const void *b)
{
    return strcmp(((const struct label *)a)->name, ((const struct label *)b)->name);
}

const struct label *graph_label(const struct graph *g, const char *name)
{
    struct label key = {.name = name};
    return g->nlabels ? bsearch(&key, g->labels, g->nlabels, sizeof(key), compare_labels) : NULL;
}

static int collect_labels(struct graph *g, struct err *err)
{
    size_t cap = 0;
    for (size_t i = 0; i < g->n; i++) {
        struct revision *r = g->added[i];
        for (size_t k = 0; k < r->labels.n; k++) {
            g->labels = xgrow(g->labels, g->nlabels, &cap, sizeof(struct label));
            g->labels[g->nlabels++] = (struct label){r->labels.v[k], r};
        }
    }
    if (g->nlabels)
        qsort(g->labels, g->nlabels, sizeof(struct label), compare_labels);
    for (size_t i = 0; i < g->nlabels; i++) {
        struct label *l = &g->labels[i];
        const struct revision *other = graph_find(g, l->name);
        if (other) {
            err_set(err, ERR_SOURCE,
                    "branch label \"%s\" of revision %s is also a revision id (%s)", l->name,
                    l->revision->id, other->file);
            return err_at(err, l->revision->file, 0, 0);
        }
        if (i + 1 < g->nlabels && strcmp(l->name, l[1].name) == 0) {
            err_set(err, ERR_SOURCE, "branch label \"%s\" is carried by two revisions: %s and %s",
                    l->name, l->revision->id, l[1].revision->id);
            err_hint(err, "a label stands on one revision; those after it inherit it");
            return err_at(err, l[1].revision->file, 0, 0);
        }
    }
    return 0;
}

static size_t count_children(const struct revision *r, struct revision **ret_last)
{
    size_t n = 0;
    for (size_t i = 0; i < r->ndown; i++)
        if (revision_is_child(r->down[i], r)) {
            *ret_last = r->down[i];
            n++;
        }
    return n;
}

/* As Alembic: everything after the carrier is on the branch, and what is before it down to the
 * point where the branch begins (a branch point or a merge is not on it). */
static void spread_labels(struct graph *g)
{
    for (size_t i = 0; i < g->nlabels; i++) {
        struct revision *carrier = g->labels[i].revision, *child;
        const char *name = g->labels[i].name;
        for (size_t p = carrier->position + 1; p < g->n; p++) {
            struct revision *r = g->order[p];
            for (size_t k = 0; k < r->nup && !strv_has(&r->labels, name); k++)
                if (revision_is_child(r, r->up[k]) && strv_has(&r->up[k]->labels, name))
                    strv_add(&r->labels, name);
        }
        for (struct revision *r = carrier; r->parents.n == 1;) {
            r = graph_find(g, r->parents.v[0]);
            if (r->parents.n > 1 || count_children(r, &child) > 1)
                break;
            if (!strv_has(&r->labels, name))
                strv_add(&r->labels, name);
        }
    }
}

/* ---- order ---- */

static void link_revisions(struct revision *r, struct revision *up)
{
    for (size_t i = 0; i < r->nup; i++)
        if (r->up[i] == up)
            return;
    r->up = xrealloc(r->up, r->nup + 1, sizeof(struct revision *));
    r->up[r->nup++] = up;
    /* a power of two is full: many revisions may hang on one */
    if ((up->ndown & (up->ndown - 1)) == 0)
        up->down = xrealloc(up->down, up->ndown ? up->ndown * 2 : 1, sizeof(struct revision *));
    up->down[up->ndown++] = r;
}

static int missing(const struct graph *g, const struct revision *r, const char *verb,
                   const char *name, struct err *err)
{
    _cleanup_free_ char *near = graph_nearest(g, name);
    err_set(err, ERR_SOURCE, "revision %s %s \"%s\", which does not exist", r->id, verb, name);
    err_hint(err, "%s", near ? near : "add the missing file, or name a revision that exists");
    return err_at(err, r->file, 0, 0);
}

static int link_all(struct graph *g, struct err *err)
{
    for (size_t i = 0; i < g->n; i++) {
        struct revision *r = g->added[i];
        for (size_t k = 0; k < r->parents.n; k++) {
            struct revision *up = graph_find(g, r->parents.v[k]);
            if (!up)
                return missing(g, r, "revises", r->parents.v[k], err);
            link_revisions(r, up);
        }
        for (size_t k = 0; k < r->depends_on.n; k++) {
            const char *name = r->depends_on.v[k];
            const struct label *l = graph_label(g, name);
            struct revision *up = l ? l->revision : graph_find(g, name);
            if (!up)
                return missing(g, r, "depends on", name, err);
            link_revisions(r, up);
        }
    }
    return 0;
}

/* A heap of places in `added`, so that among free revisions the first added goes first. */
struct heap {
    size_t *v;
    size_t n;
};

static void heap_push(struct heap *h, size_t value)
{
    size_t i = h->n++;
    while (i && h->v[(i - 1) / 2] > value) {
        h->v[i] = h->v[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    h->v[i] = value;
}

static size_t heap_pop(struct heap *h)
{
    size_t top = h->v[0], last = h->v[--h->n], i = 0;
    for (size_t child; (child = 2 * i + 1) < h->n; i = child) {
        if (child + 1 < h->n && h->v[child + 1] < h->v[child])
            child++;
        if (h->v[child] >= last)
            break;
        h->v[i] = h->v[child];
    }
    h->v[i] = last;
    return top;
}

/* What was not ordered holds a cycle: from any such revision, going up among them must come back.
 */
static int report_cycle(struct graph *g, struct err *err)
{
    struct revision *r = NULL;
    for (size_t i = 0; i < g->n && !r; i++)
        if (g->added[i]->position == SIZE_MAX)
            r = g->added[i];
    _cleanup_revisions_ struct revisions path = {0};
    while (!revisions_has(&path, r)) {
        revisions_add(&path, r);
        for (size_t i = 0; i < r->nup; i++)
            if (r->up[i]->position == SIZE_MAX) {
                r = r->up[i];
                break;
            }
    }
    size_t first = 0;
    while (path.v[first] != r)
        first++;
    _cleanup_str_ struct str text = {0};
    for (size_t i = first; i < path.n; i++)
        str_addf(&text, "%s needs ", path.v[i]->id);
    err_set(err, ERR_SOURCE, "the revisions go in a circle: %s%s", str_get(&text), r->id);
    err_hint(err, "one of them must name another parent or dependency");
    return err_at(err, r->file, 0, 0);
}

static int order(struct graph *g, struct err *err)
{
    g->order = xcalloc(g->n, sizeof(struct revision *));
    _cleanup_free_ size_t *waits = xcalloc(g->n, sizeof(size_t));
    _cleanup_free_ size_t *storage = xcalloc(g->n, sizeof(size_t));
    struct heap ready = {.v = storage};
    /* until it is ordered, a revision's position is free to hold its place in `added` */
    for (size_t i = 0; i < g->n; i++)
        g->added[i]->position = i;
    for (size_t i = 0; i < g->n; i++) {
        waits[i] = g->added[i]->nup;
        if (!waits[i])
            heap_push(&ready, i);
    }
    size_t done = 0;
    while (ready.n) {
        struct revision *r = g->added[heap_pop(&ready)];
        g->order[done++] = r;
        for (size_t i = 0; i < r->ndown; i++)
            if (--waits[r->down[i]->position] == 0)
                heap_push(&ready, r->down[i]->position);
    }
    for (size_t i = 0; i < g->n; i++)
        g->added[i]->position = SIZE_MAX;
    for (size_t i = 0; i < done; i++)
        g->order[i]->position = i;
    return done == g->n ? 0 : report_cycle(g, err);
}

int graph_finish(struct graph *g, struct err *err)
{
    if (collect_labels(g, err) < 0 || link_all(g, err) < 0 || order(g, err) < 0)
        return -1;
    spread_labels(g);
    return 0;
}

/* ---- walks ---- */

bool revision_is_child(const struct revision *r, const struct revision *parent)
{
    return strv_has(&r->parents, parent->id);
}

void graph_heads(const struct graph *g, struct revisions *ret)
{
    struct revision *child;
    for (size_t i = 0; i < g->n; i++)
        if (count_children(g->order[i], &child) == 0)
            revisions_add(ret, g->order[i]);
}

void graph_bases(const struct graph *g, struct revisions *ret)
{
    for (size_t i = 0; i < g->n; i++)
        if (g->order[i]->parents.n == 0)
            revisions_add(ret, g->order[i]);
}

bool graph_is_ancestor(const struct revision *a, const struct revision *b)
{
    if (a->position > b->position)
        return false;
    /* everything on the way lies between the two in the order */
    size_t n = b->position - a->position + 1;
    _cleanup_free_ bool *seen = xcalloc(n, 1);
    _cleanup_revisions_ struct revisions stack = {0};
    revisions_add(&stack, (struct revision *)b);
    while (stack.n) {
        struct revision *r = stack.v[--stack.n];
        if (r == a)
            return true;
        for (size_t i = 0; i < r->nup; i++)
            if (r->up[i]->position >= a->position && !seen[r->up[i]->position - a->position]) {
                seen[r->up[i]->position - a->position] = true;
                revisions_add(&stack, r->up[i]);
            }
    }
    return false;
}

/* Marks everything that the marked revisions need. */
static void mark_needed(const struct graph *g, bool *marks)
{
    for (size_t i = g->n; i-- > 0;)
        for (size_t k = 0; marks[i] && k < g->order[i]->nup; k++)
            marks[g->order[i]->up[k]->position] = true;
}

bool *graph_applied(const struct graph *g, const struct revisions *current)
{
    bool *marks = xcalloc(g->n, 1);
    for (size_t i = 0; current && i < current->n; i++)
        marks[current->v[i]->position] = true;
    if (current && !current->complete)
        mark_needed(g, marks);
    return marks;
}

void graph_last(const struct graph *g, const struct revisions *current, struct revisions *ret)
{
    for (size_t i = 0; i < graph_size(g); i++) {
        struct revision *r = graph_at(g, i);
        bool last = revisions_has(current, r);
        for (size_t k = 0; last && k < r->ndown; k++)
            last = !revisions_has(current, r->down[k]);
        if (last)
            revisions_add(ret, r);
    }
}

void graph_upgrade_path(const struct graph *g, const struct revisions *current,
                        const struct revisions *targets, struct revisions *ret)
{
    _cleanup_free_ bool *applied = graph_applied(g, current);
    _cleanup_free_ bool *wanted = xcalloc(g->n, 1);
    for (size_t i = 0; i < targets->n; i++)
        wanted[targets->v[i]->position] = true;
    mark_needed(g, wanted);
    for (size_t i = 0; i < g->n; i++)
        if (wanted[i] && !applied[i])
            revisions_add(ret, g->order[i]);
}

static int not_applied(const struct graph *g, const struct revision *r, const bool *applied,
                       struct err *err)
{
    _cleanup_revisions_ struct revisions last = {0};
    for (size_t i = 0; i < g->n; i++) {
        bool is_last = applied[i];
        for (size_t k = 0; is_last && k < g->order[i]->ndown; k++)
            is_last = !applied[g->order[i]->down[k]->position];
        if (is_last)
            revisions_add(&last, g->order[i]);
    }
    _cleanup_free_ char *names = graph_names(last.v, last.n);
    err_set(err, ERR_USAGE, "cannot downgrade to %s: it is not applied", r->id);
    return err_hint(err, last.n ? "applied last: %s" : "nothing is applied%s", last.n ? names : "");
}

int graph_downgrade_path(const struct graph *g, const struct revisions *current,
                         const struct revisions *targets, struct revisions *ret, struct err *err)
{
    _cleanup_free_ bool *applied = graph_applied(g, current);
    _cleanup_free_ bool *keep = xcalloc(g->n, 1);
    _cleanup_free_ bool *revert = xcalloc(g->n, 1);
    for (size_t i = 0; i < targets->n; i++) {
        const struct revision *t = targets->v[i];
        if (!applied[t->position])
            return not_applied(g, t, applied, err);
        keep[t->position] = true;
        /* children by parents go; what merely depends on the target may stay */
        for (size_t k = 0; !targets->below && k < t->ndown; k++)
            if (revision_is_child(t->down[k], t))
                revert[t->down[k]->position] = true;
    }
    if (targets->below) {
        if (!applied[targets->below->position])
            return not_applied(g, targets->below, applied, err);
        revert[targets->below->position] = true;
    } else if (targets->n == 0) {
        memset(revert, true, g->n);
    }
    mark_needed(g, keep);
    for (size_t i = 0; i < g->n; i++) {
        struct revision *r = g->order[i];
        for (size_t k = 0; k < r->nup; k++)
            revert[i] = revert[i] || revert[r->up[k]->position];
        /* several targets, one after the other: the later one stays with all it needs */
        revert[i] = revert[i] && !keep[i];
    }
    for (size_t i = g->n; i-- > 0;)
        if (revert[i] && applied[i])
            revisions_add(ret, g->order[i]);
    return 0;
}
