/*
 * The schema model: a snapshot is a sorted list of objects; an object has a kind, an identity and a
 * sorted list of properties. Objects are immutable and shared by reference count, so that snapshots
 * of neighbouring revisions cost only what differs, and equal objects are mostly the same pointer.
 *
 *     struct object_builder b = {0};
 *     object_begin(&b, "column", "public.posts.title");
 *     object_scope(&b, 1259, 16384);
 *     object_prop(&b, "type", "text");
 *     snapshot_add(s, object_end(&b));     takes the reference
 *     snapshot_finish(s);                  sorts; needed before any other call
 *
 * Kinds are lower-case words as SQL uses them: "table", "column", "index", "constraint", "view",
 * "trigger", "function", ... Identities are SQL names, quoted where SQL needs quotes, from schema
 * to the smallest part: public.posts.fk_posts_user. Functions carry their argument types.
 *
 * Property names are SQL words too ("type", "default", "not null", "on delete", "order"). A
 * property that an object does not have is absent: an absent property and an empty one differ.
 *
 * A property that is either on or off is "yes" or absent.
 *
 * Some properties have a meaning to the diff:
 *     "position"  the place of a column in its table (1 is first, dropped columns not counted)
 *     "comment"   COMMENT ON, or for SQLite nothing
 *     "body"      text in which white space alone is a lesser difference (function bodies, views)
 *     "table"     identity of the table (or view) that an object belongs to, where its own identity
 *                 does not begin with it: indexes, SQLite's triggers
 *     "owned by"  identity of the column that a sequence belongs to
 *
 * All text is valid UTF-8: a byte that is not is written as \xNN when the object is built.
 */
#ifndef BELAY_SNAPSHOT_H
#define BELAY_SNAPSHOT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "harness/base/cleanup.h"
#include "harness/base/err.h"
#include "harness/base/str.h"

struct property {
    const char *name;
    const char *value;
};

struct object {
    unsigned refs;
    const char *kind;
    const char *identity;
    /* Where it was read from, for replacing it when that part of the catalog changes; not compared
     * and not serialised. PostgreSQL: class and oid of the object it is rendered with (a column's
     * is its table's), own_class and own_oid its own. */
    uint32_t scope_class, scope_oid, own_class, own_oid;
    uint64_t hash; /* over kind, identity and properties */
    size_t len;    /* bytes of all strings together */
    size_t nprops;
    struct property props[]; /* sorted by name; the strings follow in the same allocation */
};

/* Counted atomically: snapshots in two threads may share objects. */
struct object *object_ref(struct object *o);
void object_unref(struct object *o);
const char *object_get(const struct object *o, const char *property); /* NULL when absent */
bool object_equal(const struct object *a, const struct object *b);
/* By kind, then identity. */
int object_compare(const struct object *a, const struct object *b);

/* Collects one object; reused for the next by object_begin(). Values are copied. A property is
 * given once. */
struct object_builder {
    struct str text;
    struct {
        size_t name, value;
    } * props;
    size_t nprops, cap;
    size_t identity;
    uint32_t scope_class, scope_oid, own_class, own_oid;
};

void object_begin(struct object_builder *b, const char *kind, const char *identity);
void object_scope(struct object_builder *b, uint32_t scope_class, uint32_t scope_oid);
void object_own(struct object_builder *b, uint32_t own_class, uint32_t own_oid);
void object_prop(struct object_builder *b, const char *name,
                 const char *value); /* NULL: left out */
void object_propf(struct object_builder *b, const char *name, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
struct object *object_end(struct object_builder *b); /* a new reference */
void object_builder_release(struct object_builder *b);

/* Not changed any more once it is finished and has been handed out. */
struct snapshot {
    unsigned refs;
    char *engine; /* "sqlite", "postgres" */
    int version;  /* db_version() */
    struct object **objects;
    size_t n, cap;
    size_t
        nsorted; /* leading objects that are in order; snapshot_finish() sorts the rest into them */
    uint64_t hash[2]; /* order-independent over the objects: equal snapshots have equal hashes */
};

struct snapshot *snapshot_new(const char *engine, int version);
struct snapshot *
snapshot_ref(struct snapshot *s); /* counted atomically; snapshot_free() gives back */
struct snapshot *snapshot_copy(const struct snapshot *s); /* shares the objects */
/*
 * The copy without the objects that drop() is true for, to be added to and finished: this way a
 * snapshot in which little changed costs a copy of pointers and no sort.
 */
struct snapshot *snapshot_copy_without(const struct snapshot *s,
                                       bool (*drop)(const struct object *o, void *data),
                                       void *data);
void snapshot_add(struct snapshot *s, struct object *o); /* takes the reference */
/* Sorts. Two objects of one kind and identity are ERR_SOURCE. */
int snapshot_finish(struct snapshot *s, struct err *err);
/* Puts the objects of `with` in place of equal ones in s that were read from the same place, so
 * that both share them. */
void snapshot_share(struct snapshot *s, const struct snapshot *with);
const struct object *snapshot_find(const struct snapshot *s, const char *kind,
                                   const char *identity);
/* Equal objects; engine and version are not compared. */
bool snapshot_equal(const struct snapshot *a, const struct snapshot *b);
void snapshot_free(struct snapshot *s);
DEFINE_CLEANUP(struct snapshot *, snapshot_free);
#define _cleanup_snapshot_ _cleanup_(cleanup_snapshot_free)

/* The JSON form (documented in docs/snapshot.md): canonical, one object a line. Text that is not
 * whole, has unknown or repeated keys, or two objects of one kind and identity is ERR_CONFIG with
 * err.file set to name and the line where it is known. */
char *snapshot_to_json(const struct snapshot *s); /* owned by the caller */
int snapshot_from_json(const char *text, size_t len, const char *name, struct snapshot **ret,
                       struct err *err);

#endif
