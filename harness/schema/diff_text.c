#include <stdlib.h>
#include <string.h>

#include "harness/schema/diff.h"

/*
 * One change as a line of text.
 */

/* A value longer than VALUE_MAX is shown VALUE_MAX bytes wide, LEAD of them before the first
 * difference. */
#define VALUE_MAX 72
#define LEAD 24
#define ELLIPSIS "…"

static void add_escaped(struct str *s, const char *text, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c == '\n')
            str_add(s, "\\n");
        else if (c == '\t')
            str_add(s, "\\t");
        else if (c == '\r')
            str_add(s, "\\r");
        else if (c < 0x20 || c == 0x7f)
            str_addf(s, "\\x%02X", c);
        else
            str_addc(s, text[i]);
    }
}

/* The nearest start of a UTF-8 character at or before place. */
static size_t character_start(const char *text, size_t place)
{
    while (place > 0 && ((unsigned char)text[place] & 0xc0) == 0x80)
        place--;
    return place;
}

/* The part of value around `place`, where it begins to differ from another. */
static void add_value(struct str *s, const char *value, size_t place, bool full)
{
    if (!value) {
        str_add(s, "(none)");
        return;
    }
    size_t n = strlen(value);
    if (n == 0) {
        str_add(s, "''");
        return;
    }
    size_t start = 0, end = n;
    if (!full && n > VALUE_MAX) {
        start = place > LEAD ? place - LEAD : 0;
        if (start + VALUE_MAX > n)
            start = n - VALUE_MAX;
        start = character_start(value, start);
        end = start + VALUE_MAX < n ? character_start(value, start + VALUE_MAX) : n;
    }
    if (start > 0)
        str_add(s, ELLIPSIS);
    add_escaped(s, value + start, end - start);
    if (end < n)
        str_add(s, ELLIPSIS);
}

static size_t first_difference(const char *a, const char *b)
{
    size_t i = 0;
    while (a && b && a[i] && a[i] == b[i])
        i++;
    return a && b ? character_start(a, i) : 0;
}

static void add_name(struct str *s, const struct object *o)
{
    add_escaped(s, o->kind, strlen(o->kind));
    str_addc(s, ' ');
    add_escaped(s, o->identity, strlen(o->identity));
}

/* " (on public.t (a))", " (integer, not null)", or nothing. */
static void add_summary(struct str *s, const struct object *o, bool full)
{
    const char *table = object_get(o, "table");
    const char *columns = object_get(o, "columns");
    const char *expression = object_get(o, "expression");
    const char *told = object_get(o, "type");
    if (!told)
        told = object_get(o, "definition");
    struct str inner = {0};
    if (table) {
        str_add(&inner, "on ");
        add_escaped(&inner, table, strlen(table));
        if (columns) {
            str_add(&inner, " (");
            add_value(&inner, columns, 0, full);
            str_addc(&inner, ')');
        }
    } else if (told) {
        add_value(&inner, told, 0, full);
        if (columns) {
            str_add(&inner, " (");
            add_value(&inner, columns, 0, full);
            str_addc(&inner, ')');
        }
        if (expression) {
            str_addc(&inner, ' ');
            add_value(&inner, expression, 0, full);
        }
        if (object_get(o, "not null"))
            str_add(&inner, ", not null");
    }
    if (inner.len)
        str_addf(s, " (%s)", str_get(&inner));
    str_release(&inner);
}

char *change_text(const struct change *c, bool full)
{
    struct str s = {0};
    if (!c->property) {
        str_add(&s, c->before ? "- " : "+ ");
        add_name(&s, c->before ? c->before : c->after);
        if (c->after)
            add_summary(&s, c->after, full);
        return str_take(&s);
    }
    size_t place = first_difference(c->old_value, c->new_value);
    add_name(&s, c->before);
    str_add(&s, ": ");
    add_escaped(&s, c->property, strlen(c->property));
    str_addc(&s, ' ');
    add_value(&s, c->old_value, place, full);
    str_add(&s, " -> ");
    add_value(&s, c->new_value, place, full);
    return str_take(&s);
}

/*
 * Changes that came or went together. The owners that were added (or removed) are kept sorted by
 * identity; what belongs to one of them is counted in its line and has none of its own.
 */

struct owner {
    const char *identity;
    size_t length;
    size_t change; /* its place in the diff */
};

struct owners {
    struct owner *v;
    size_t n, cap;
};

/* Kinds that are always a part of something else. */
static bool is_part(const char *kind)
{
    static const char *const parts[] = {"column", "constraint", "index",
                                        "policy", "rule",       "trigger"};
    for (size_t i = 0; i < ARRAY_LEN(parts); i++)
        if (strcmp(kind, parts[i]) == 0)
            return true;
    return false;
}

static int compare_owners(const void *a, const void *b)
{
    const struct owner *p = a, *q = b;
    size_t n = p->length < q->length ? p->length : q->length;
    int c = memcmp(p->identity, q->identity, n);
    return c ? c : (p->length > q->length) - (p->length < q->length);
}

/* The owner whose identity is all of name, or what stands before one of its dots; the outermost. */
static const struct owner *find_owner(const struct owners *owners, const char *name, bool whole)
{
    if (!name || owners->n == 0)
        return NULL;
    for (size_t i = 1;; i++) {
        if (!name[i - 1])
            return NULL;
        if (name[i] != '.' && !(whole && !name[i]))
            continue;
        struct owner key = {.identity = name, .length = i};
        const struct owner *found =
            bsearch(&key, owners->v, owners->n, sizeof(*owners->v), compare_owners);
        if (found)
            return found;
        if (!name[i])
            return NULL;
    }
}

/* The change that this one is a part of, or `none`. */
static size_t owner_of(const struct diff *d, const struct owners owners[2], size_t change)
{
    const struct change *c = &d->changes[change];
    if (c->property)
        return change;
    const struct object *o = c->before ? c->before : c->after;
    const struct owners *side = &owners[c->before ? 0 : 1];
    const struct owner *owner = find_owner(side, o->identity, false);
    if (!owner)
        owner = find_owner(side, object_get(o, "table"), true);
    if (!owner)
        owner = find_owner(side, object_get(o, "owned by"), true);
    return owner ? owner->change : change;
}

static void add_count(struct str *s, size_t n, const char *kind)
{
    const char *plural = "s";
    size_t length = strlen(kind);
    if (str_ends(kind, "x") || str_ends(kind, "s"))
        plural = "es";
    if (str_ends(kind, "y")) {
        plural = "ies";
        length--;
    }
    if (n == 1)
        str_addf(s, "%s1 %s", s->len ? ", " : "", kind);
    else
        str_addf(s, "%s%zu %.*s%s", s->len ? ", " : "", n, (int)length, kind, plural);
}

/* Parts of one owner stand in the order of the diff, so by kind. */
struct part {
    size_t owner, change;
};

static int compare_parts(const void *a, const void *b)
{
    const struct part *p = a, *q = b;
    if (p->owner != q->owner)
        return p->owner < q->owner ? -1 : 1;
    return (p->change > q->change) - (p->change < q->change);
}

static const char *part_kind(const struct diff *d, const struct part *p)
{
    const struct change *c = &d->changes[p->change];
    return c->before ? c->before->kind : c->after->kind;
}

/* Tells the n parts of one owner: "5 columns, 1 index". */
static char *count_parts(const struct diff *d, const struct part *parts, size_t n)
{
    struct str s = {0};
    for (size_t i = 0, k; i < n; i = k) {
        for (k = i; k < n && strcmp(part_kind(d, &parts[i]), part_kind(d, &parts[k])) == 0;)
            k++;
        add_count(&s, k - i, part_kind(d, &parts[i]));
    }
    return str_take(&s);
}

void diff_lines(const struct diff *d, struct diff_lines *ret)
{
    struct owners owners[2] = {0}; /* removed, added */
    for (size_t i = 0; i < d->n; i++) {
        const struct change *c = &d->changes[i];
        const struct object *o = c->before ? c->before : c->after;
        if (c->property || is_part(o->kind))
            continue;
        struct owners *side = &owners[c->before ? 0 : 1];
        side->v = xgrow(side->v, side->n, &side->cap, sizeof(*side->v));
        side->v[side->n++] =
            (struct owner){.identity = o->identity, .length = strlen(o->identity), .change = i};
    }
    for (int i = 0; i < 2; i++)
        if (owners[i].n)
            qsort(owners[i].v, owners[i].n, sizeof(struct owner), compare_owners);

    struct part *parts = xmalloc((d->n + 1) * sizeof(*parts));
    size_t nparts = 0;
    bool *hidden = xcalloc(d->n + 1, sizeof(*hidden));
    for (size_t i = 0; i < d->n; i++) {
        size_t owner = owner_of(d, owners, i);
        /* an index of a table of a schema is the schema's */
        for (size_t next; owner != i && (next = owner_of(d, owners, owner)) != owner;)
            owner = next;
        hidden[i] = owner != i;
        if (hidden[i])
            parts[nparts++] = (struct part){.owner = owner, .change = i};
    }
    if (nparts)
        qsort(parts, nparts, sizeof(*parts), compare_parts);
    for (size_t i = 0; i < d->n; i++) {
        if (hidden[i])
            continue;
        struct diff_line line = {.change = &d->changes[i]};
        const struct part key = {.owner = i};
        size_t low = 0, high = nparts;
        while (low < high) {
            size_t middle = (low + high) / 2;
            if (compare_parts(&parts[middle], &key) < 0)
                low = middle + 1;
            else
                high = middle;
        }
        while (high < nparts && parts[high].owner == i)
            high++;
        if (high > low)
            line.with = count_parts(d, parts + low, high - low);
        ret->v = xgrow(ret->v, ret->n, &ret->cap, sizeof(*ret->v));
        ret->v[ret->n++] = line;
    }
    free(parts);
    free(hidden);
    free(owners[0].v);
    free(owners[1].v);
}

void diff_lines_release(struct diff_lines *lines)
{
    for (size_t i = 0; i < lines->n; i++)
        free(lines->v[i].with);
    free(lines->v);
    memset(lines, 0, sizeof(*lines));
}

char *diff_line_text(const struct diff_line *line, bool full)
{
    char *text = change_text(line->change, full);
    if (!line->with)
        return text;
    char *all = xasprintf("%s (with %s)", text, line->with);
    free(text);
    return all;
}
