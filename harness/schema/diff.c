#include "harness/schema/diff.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

static void add_change(struct diff *d, struct change c)
{
    d->changes = xgrow(d->changes, d->n, &d->cap, sizeof(*d->changes));
    d->changes[d->n++] = c;
}

static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static bool is_word(char c)
{
    return isalnum((unsigned char)c) || c == '_' || c == '$' || (c & 0x80);
}

/* White space may come and go between any two characters except inside what would be one word. */
static bool equal_but_for_space(const char *a, const char *b)
{
    char last = ' ';
    for (;;) {
        const char *next_a = a, *next_b = b;
        while (is_space(*next_a))
            next_a++;
        while (is_space(*next_b))
            next_b++;
        if (*next_a != *next_b)
            return false;
        if ((next_a == a) != (next_b == b) && is_word(last) && is_word(*next_a))
            return false;
        if (!*next_a)
            return true;
        last = *next_a;
        a = next_a + 1;
        b = next_b + 1;
    }
}

static enum change_class classify(const char *property, const char *old_value,
                                  const char *new_value)
{
    if (strcmp(property, "comment") == 0)
        return CHANGE_COMMENT;
    if (strcmp(property, "position") == 0)
        return CHANGE_COLUMN_ORDER;
    if (strcmp(property, "body") == 0 && old_value && new_value &&
        equal_but_for_space(old_value, new_value))
        return CHANGE_WHITESPACE;
    return CHANGE_REAL;
}

/* Returns whether the position is among the properties that differ. */
static bool diff_objects(struct object *before, struct object *after, struct diff *d)
{
    bool moved = false;
    size_t i = 0, k = 0;
    while (i < before->nprops || k < after->nprops) {
        const struct property *old = i < before->nprops ? &before->props[i] : NULL;
        const struct property *new = k < after->nprops ? &after->props[k] : NULL;
        int c = !old ? 1 : !new ? -1 : strcmp(old->name, new->name);
        struct change change = {.before = before, .after = after};
        if (c <= 0) {
            change.property = old->name;
            change.old_value = old->value;
            i++;
        }
        if (c >= 0) {
            change.property = new->name;
            change.new_value = new->value;
            k++;
        }
        if (c == 0 && strcmp(old->value, new->value) == 0)
            continue;
        change.class = classify(change.property, change.old_value, change.new_value);
        moved = moved || change.class == CHANGE_COLUMN_ORDER;
        add_change(d, change);
    }
    return moved;
}

/*
 * Order of columns.
 */

/* Bytes of the identity before its last part ("public.t" of public.t."a.b"), 0 when it has one. */
static size_t owner_length(const char *identity)
{
    size_t dot = 0;
    bool quoted = false;
    for (size_t i = 0; identity[i]; i++) {
        if (identity[i] == '"')
            quoted = !quoted;
        else if (identity[i] == '.' && !quoted)
            dot = i;
    }
    return dot;
}

/* One column that both sides have. */
struct place {
    const struct object *after;
    long old_position, new_position;
    bool stays;
};

static long position_of(const struct object *o)
{
    const char *position = object_get(o, "position");
    return position ? strtol(position, NULL, 10) : 0;
}

static int compare_places(const void *a, const void *b)
{
    const struct place *p = a, *q = b;
    return (p->new_position > q->new_position) - (p->new_position < q->new_position);
}

/*
 * Marks a longest run of columns that keep their order among each other. Of several longest ones it
 * takes the one that leaves out the latest columns: a column that was dropped and added again is
 * last, and that is the one to name.
 */
static void mark_staying(struct place *places, size_t n)
{
    size_t *length = xmalloc(n * sizeof(*length)); /* of the longest run that starts at i */
    long *best = xmalloc((n + 1) * sizeof(*best)); /* by length: the greatest start of such a run */
    size_t longest = 0;
    for (size_t i = n; i-- > 0;) {
        size_t low = 0, high = longest; /* the longest run that can follow places[i] */
        while (low < high) {
            size_t middle = (low + high + 1) / 2;
            if (best[middle] > places[i].old_position)
                low = middle;
            else
                high = middle - 1;
        }
        length[i] = low + 1;
        if (length[i] > longest || places[i].old_position > best[length[i]])
            best[length[i]] = places[i].old_position;
        if (length[i] > longest)
            longest = length[i];
    }
    long last = -1;
    for (size_t i = 0; i < n && longest; i++) {
        places[i].stays = length[i] == longest && places[i].old_position > last;
        if (places[i].stays) {
            last = places[i].old_position;
            longest--;
        }
    }
    free(length);
    free(best);
}

static bool is_part_of(const struct object *o, const char *kind, const char *owner, size_t n)
{
    return strcmp(o->kind, kind) == 0 && strncmp(o->identity, owner, n) == 0 &&
           o->identity[n] == '.' && owner_length(o->identity) == n;
}

/* The columns of one table that are in both snapshots; *i and *k are places of one of them in each.
 */
static struct place *common_places(const struct snapshot *before, size_t i,
                                   const struct snapshot *after, size_t k, size_t *ret_n)
{
    const char *kind = before->objects[i]->kind, *owner = before->objects[i]->identity;
    size_t length = owner_length(owner) + 1; /* all that begin so stand together */
    while (i > 0 && strcmp(before->objects[i - 1]->kind, kind) == 0 &&
           strncmp(before->objects[i - 1]->identity, owner, length) == 0)
        i--;
    while (k > 0 && strcmp(after->objects[k - 1]->kind, kind) == 0 &&
           strncmp(after->objects[k - 1]->identity, owner, length) == 0)
        k--;
    struct place *places = NULL;
    size_t n = 0, cap = 0;
    while (i < before->n && k < after->n && strcmp(before->objects[i]->kind, kind) == 0 &&
           strncmp(before->objects[i]->identity, owner, length) == 0) {
        int c = object_compare(before->objects[i], after->objects[k]);
        if (c == 0 && is_part_of(before->objects[i], kind, owner, length - 1)) {
            places = xgrow(places, n, &cap, sizeof(*places));
            places[n++] = (struct place){
                .after = after->objects[k],
                .old_position = position_of(before->objects[i]),
                .new_position = position_of(after->objects[k]),
            };
        }
        i += c <= 0;
        k += c >= 0;
    }
    if (n)
        qsort(places, n, sizeof(*places), compare_places);
    *ret_n = n;
    return places;
}

static bool is_staying(const struct place *places, size_t n, const struct object *after)
{
    for (size_t i = 0; i < n; i++)
        if (places[i].after == after)
            return places[i].stays;
    return false;
}

/* A column can move among the others and keep its number. When that is so of all that moved, the
 * numbers that changed have to tell it. */
static bool moved_by_number(const struct place *places, size_t n)
{
    bool moved = false;
    for (size_t i = 0; i < n; i++) {
        if (!places[i].stays && places[i].old_position != places[i].new_position)
            return true;
        moved = moved || !places[i].stays;
    }
    return !moved;
}

/* Takes the changes of position from `first` on out of d, except of the columns that really moved.
 */
static void keep_moved(struct diff *d, size_t first, const struct place *places, size_t n)
{
    size_t kept = first;
    for (size_t i = first; i < d->n; i++)
        if (d->changes[i].class != CHANGE_COLUMN_ORDER ||
            !is_staying(places, n, d->changes[i].after))
            d->changes[kept++] = d->changes[i];
    d->n = kept;
}

void diff_snapshots(const struct snapshot *before, const struct snapshot *after, struct diff *d)
{
    /* the table whose columns are at hand, when one of them changed its position */
    struct {
        const char *kind, *identity;
        size_t first, i, k; /* first change; one column in before and after */
    } table = {0};
    size_t i = 0, k = 0;
    for (;;) {
        struct object *old = i < before->n ? before->objects[i] : NULL;
        struct object *new = k < after->n ? after->objects[k] : NULL;
        if (old && old == new) {
            i++;
            k++;
            continue;
        }
        int c = !old ? (new ? 1 : 0) : !new ? -1 : object_compare(old, new);
        const struct object *o = c > 0 ? new : old;
        if (table.kind &&
            !(o && is_part_of(o, table.kind, table.identity, owner_length(table.identity)))) {
            size_t n;
            struct place *places = common_places(before, table.i, after, table.k, &n);
            mark_staying(places, n);
            if (moved_by_number(places, n))
                keep_moved(d, table.first, places, n);
            free(places);
            table.kind = NULL;
        }
        if (!o)
            break;
        size_t first = d->n;
        if (c < 0)
            add_change(d, (struct change){.class = CHANGE_REAL, .before = old});
        else if (c > 0)
            add_change(d, (struct change){.class = CHANGE_REAL, .after = new});
        else if (!object_equal(old, new) && diff_objects(old, new, d) && !table.kind) {
            table.kind = old->kind;
            table.identity = old->identity;
            table.first = first;
            table.i = i;
            table.k = k;
        }
        i += c <= 0;
        k += c >= 0;
    }
}

void diff_release(struct diff *d)
{
    free(d->changes);
    memset(d, 0, sizeof(*d));
}

enum change_class diff_class(const struct diff *d)
{
    enum change_class class = CHANGE_COMMENT;
    for (size_t i = 0; i < d->n; i++)
        if (d->changes[i].class > class)
            class = d->changes[i].class;
    return class;
}

static const struct object *change_object(const struct change *c)
{
    return c->before ? c->before : c->after;
}

static int compare_changes(const struct change *a, const struct change *b)
{
    int c = object_compare(change_object(a), change_object(b));
    return c ? c : strcmp(a->property ? a->property : "", b->property ? b->property : "");
}

void diff_subtract(struct diff *d, const struct diff *noise)
{
    size_t kept = 0, k = 0;
    for (size_t i = 0; i < d->n; i++) {
        while (k < noise->n && compare_changes(&noise->changes[k], &d->changes[i]) < 0)
            k++;
        if (k == noise->n || compare_changes(&noise->changes[k], &d->changes[i]) != 0)
            d->changes[kept++] = d->changes[i];
    }
    d->n = kept;
}
