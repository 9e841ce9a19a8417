#include "harness/schema/snapshot.h"

#include <assert.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

/*
 * Objects. One allocation: the struct, its property table, then all strings in order (kind,
 * identity, name, value, name, value, ..., each with its NUL), so that hashing and comparing an
 * object is hashing and comparing one piece of memory.
 */

struct object *object_ref(struct object *o)
{
    __atomic_fetch_add(&o->refs, 1, __ATOMIC_RELAXED);
    return o;
}

void object_unref(struct object *o)
{
    if (o && __atomic_sub_fetch(&o->refs, 1, __ATOMIC_ACQ_REL) == 0)
        free(o);
}

const char *object_get(const struct object *o, const char *property)
{
    size_t low = 0, high = o->nprops;
    while (low < high) {
        size_t middle = (low + high) / 2;
        int c = strcmp(o->props[middle].name, property);
        if (c == 0)
            return o->props[middle].value;
        if (c < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

bool object_equal(const struct object *a, const struct object *b)
{
    return a == b ||
           (a->hash == b->hash && a->len == b->len && memcmp(a->kind, b->kind, a->len) == 0);
}

int object_compare(const struct object *a, const struct object *b)
{
    int c = strcmp(a->kind, b->kind);
    return c ? c : strcmp(a->identity, b->identity);
}

/* Adds text with its NUL; bytes that are not UTF-8 become \xNN, so that reports and JSON can hold
 * whatever a database holds. */
static void add_text(struct str *s, const char *text)
{
    size_t n = strlen(text), bad = 0;
    while (!utf8_valid(text, n, &bad)) {
        str_addn(s, text, bad);
        str_addf(s, "\\x%02X", (unsigned char)text[bad]);
        text += bad + 1;
        n -= bad + 1;
    }
    str_addn(s, text, n + 1);
}

void object_begin(struct object_builder *b, const char *kind, const char *identity)
{
    str_clear(&b->text);
    b->nprops = 0;
    b->scope_class = b->scope_oid = b->own_class = b->own_oid = 0;
    add_text(&b->text, kind);
    b->identity = b->text.len;
    add_text(&b->text, identity);
}

void object_scope(struct object_builder *b, uint32_t scope_class, uint32_t scope_oid)
{
    b->scope_class = scope_class;
    b->scope_oid = scope_oid;
}

void object_own(struct object_builder *b, uint32_t own_class, uint32_t own_oid)
{
    b->own_class = own_class;
    b->own_oid = own_oid;
}

void object_prop(struct object_builder *b, const char *name, const char *value)
{
    if (!value)
        return;
    b->props = xgrow(b->props, b->nprops, &b->cap, sizeof(*b->props));
    b->props[b->nprops].name = b->text.len;
    add_text(&b->text, name);
    b->props[b->nprops].value = b->text.len;
    add_text(&b->text, value);
    b->nprops++;
}

void object_propf(struct object_builder *b, const char *name, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    _cleanup_free_ char *value = xvasprintf(fmt, ap);
    va_end(ap);
    object_prop(b, name, value);
}

static char *put_string(char **at, const char *text)
{
    char *start = *at;
    size_t n = strlen(text) + 1;
    memcpy(start, text, n);
    *at += n;
    return start;
}

struct object *object_end(struct object_builder *b)
{
    /* insertion sort: readers give properties in order, or nearly */
    for (size_t i = 1; i < b->nprops; i++) {
        for (size_t k = i; k > 0; k--) {
            int c = strcmp(b->text.p + b->props[k - 1].name, b->text.p + b->props[k].name);
            assert(c != 0);
            if (c < 0)
                break;
            __typeof__(b->props[0]) swap = b->props[k];
            b->props[k] = b->props[k - 1];
            b->props[k - 1] = swap;
        }
    }
    size_t table = b->nprops * sizeof(struct property);
    struct object *o = xmalloc(sizeof(*o) + table + b->text.len);
    memset(o, 0, sizeof(*o));
    o->refs = 1;
    o->scope_class = b->scope_class;
    o->scope_oid = b->scope_oid;
    o->own_class = b->own_class;
    o->own_oid = b->own_oid;
    o->nprops = b->nprops;
    o->len = b->text.len;
    char *at = (char *)o->props + table;
    o->kind = put_string(&at, b->text.p);
    o->identity = put_string(&at, b->text.p + b->identity);
    for (size_t i = 0; i < b->nprops; i++) {
        o->props[i].name = put_string(&at, b->text.p + b->props[i].name);
        o->props[i].value = put_string(&at, b->text.p + b->props[i].value);
    }
    o->hash = XXH3_64bits(o->kind, o->len);
    return o;
}

void object_builder_release(struct object_builder *b)
{
    str_release(&b->text);
    free(b->props);
    memset(b, 0, sizeof(*b));
}

/*
 * Snapshots. The hash is a sum, so that adding and leaving out objects keeps it up to date.
 */

struct snapshot *snapshot_new(const char *engine, int version)
{
    struct snapshot *s = xcalloc(1, sizeof(*s));
    s->refs = 1;
    s->engine = xstrdup(engine);
    s->version = version;
    return s;
}

struct snapshot *snapshot_ref(struct snapshot *s)
{
    __atomic_fetch_add(&s->refs, 1, __ATOMIC_RELAXED);
    return s;
}

static void hash_add(struct snapshot *s, const struct object *o)
{
    XXH128_hash_t h = XXH3_128bits(&o->hash, sizeof(o->hash));
    s->hash[0] += h.low64;
    s->hash[1] += h.high64;
}

static void hash_subtract(struct snapshot *s, const struct object *o)
{
    XXH128_hash_t h = XXH3_128bits(&o->hash, sizeof(o->hash));
    s->hash[0] -= h.low64;
    s->hash[1] -= h.high64;
}

struct snapshot *snapshot_copy_without(const struct snapshot *s,
                                       bool (*drop)(const struct object *o, void *data), void *data)
{
    struct snapshot *copy = snapshot_new(s->engine, s->version);
    copy->cap = s->n;
    copy->objects = xmalloc(s->n * sizeof(*copy->objects));
    copy->hash[0] = s->hash[0];
    copy->hash[1] = s->hash[1];
    for (size_t i = 0; i < s->n; i++) {
        if (drop && drop(s->objects[i], data))
            hash_subtract(copy, s->objects[i]);
        else
            copy->objects[copy->n++] = object_ref(s->objects[i]);
    }
    copy->nsorted = s->nsorted == s->n ? copy->n : 0;
    return copy;
}

struct snapshot *snapshot_copy(const struct snapshot *s)
{
    return snapshot_copy_without(s, NULL, NULL);
}

void snapshot_add(struct snapshot *s, struct object *o)
{
    s->objects = xgrow(s->objects, s->n, &s->cap, sizeof(*s->objects));
    if (s->nsorted == s->n && (s->n == 0 || object_compare(s->objects[s->n - 1], o) < 0))
        s->nsorted++;
    s->objects[s->n++] = o;
    hash_add(s, o);
}

static int compare_objects(const void *a, const void *b)
{
    return object_compare(*(struct object *const *)a, *(struct object *const *)b);
}

/* How many of the n sorted objects come before o. */
static size_t place_of(struct object *const *objects, size_t n, const struct object *o)
{
    size_t low = 0, high = n;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (object_compare(objects[middle], o) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

int snapshot_finish(struct snapshot *s, struct err *err)
{
    size_t n = s->n - s->nsorted, left = s->nsorted, end = s->n;
    if (n == 0)
        return 0;
    struct object **added = xmalloc(n * sizeof(*added));
    memcpy(added, s->objects + s->nsorted, n * sizeof(*added));
    qsort(added, n, sizeof(*added), compare_objects);
    /* merged from the end, whole runs at a time */
    while (n > 0) {
        size_t place = place_of(s->objects, left, added[n - 1]);
        end -= left - place;
        memmove(s->objects + end, s->objects + place, (left - place) * sizeof(*s->objects));
        left = place;
        s->objects[--end] = added[--n];
    }
    size_t nadded = s->n - s->nsorted;
    s->nsorted = s->n;
    const struct object *twice = NULL;
    for (size_t i = 0; i < nadded && !twice; i++) {
        size_t place = place_of(s->objects, s->n, added[i]);
        if (place + 1 < s->n && object_compare(s->objects[place], s->objects[place + 1]) == 0)
            twice = added[i];
    }
    free(added);
    if (twice)
        return err_set(err, ERR_SOURCE, "the schema has two objects called %s %s", twice->kind,
                       twice->identity);
    return 0;
}

/* An equal object that was dropped and made again is elsewhere in the catalog. */
static bool same_place(const struct object *a, const struct object *b)
{
    return a->scope_class == b->scope_class && a->scope_oid == b->scope_oid &&
           a->own_class == b->own_class && a->own_oid == b->own_oid;
}

void snapshot_share(struct snapshot *s, const struct snapshot *with)
{
    for (size_t i = 0, k = 0; i < s->n && k < with->n;) {
        int c =
            s->objects[i] == with->objects[k] ? 0 : object_compare(s->objects[i], with->objects[k]);
        if (c == 0 && s->objects[i] != with->objects[k] &&
            same_place(s->objects[i], with->objects[k]) &&
            object_equal(s->objects[i], with->objects[k])) {
            object_unref(s->objects[i]);
            s->objects[i] = object_ref(with->objects[k]);
        }
        i += c <= 0;
        k += c >= 0;
    }
}

const struct object *snapshot_find(const struct snapshot *s, const char *kind, const char *identity)
{
    const struct object key = {.kind = kind, .identity = identity};
    size_t place = place_of(s->objects, s->n, &key);
    if (place < s->n && object_compare(s->objects[place], &key) == 0)
        return s->objects[place];
    return NULL;
}

bool snapshot_equal(const struct snapshot *a, const struct snapshot *b)
{
    if (a == b)
        return true;
    if (a->n != b->n || a->hash[0] != b->hash[0] || a->hash[1] != b->hash[1])
        return false;
    for (size_t i = 0; i < a->n; i++)
        if (!object_equal(a->objects[i], b->objects[i]))
            return false;
    return true;
}

void snapshot_free(struct snapshot *s)
{
    if (!s || __atomic_sub_fetch(&s->refs, 1, __ATOMIC_ACQ_REL) > 0)
        return;
    for (size_t i = 0; i < s->n; i++)
        object_unref(s->objects[i]);
    free(s->objects);
    free(s->engine);
    free(s);
}
