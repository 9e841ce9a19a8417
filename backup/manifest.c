#include "backup/manifest.h"

#include <stdlib.h>
#include <string.h>

void bundle_member_release(struct bundle_member *m)
{
    free(m->name);
    *m = (struct bundle_member){0};
}

static void object_release(struct bundle_object *o)
{
    free(o->kind);
    free(o->name);
    free(o->columns);
    free(o->parts);
}

void manifest_release(struct manifest *m)
{
    char *const strings[] = {
        m->belay,    m->created, m->engine, m->server,          m->database,   m->host,
        m->encoding, m->collate, m->ctype,  m->locale_provider, m->icu_locale, m->version_table};
    for (size_t i = 0; i < ARRAY_LEN(strings); i++)
        free(strings[i]);
    struct strv *const lists[] = {&m->revisions, &m->roles, &m->settings, &m->checks};
    for (size_t i = 0; i < ARRAY_LEN(lists); i++)
        strv_release(lists[i]);
    snapshot_free(m->snapshot);
    digest_set_release(&m->digests);
    for (size_t i = 0; i < m->nobjects; i++)
        object_release(&m->objects[i]);
    free(m->objects);
    for (size_t i = 0; i < m->nmembers; i++)
        bundle_member_release(&m->members[i]);
    free(m->members);
    *m = (struct manifest){0};
}

struct bundle_object *manifest_object(struct manifest *m, const char *kind, const char *name)
{
    m->objects = xgrow(m->objects, m->nobjects, &m->objects_cap, sizeof(*m->objects));
    struct bundle_object *o = &m->objects[m->nobjects++];
    *o = (struct bundle_object){.kind = xstrdup(kind), .name = xstrdup(name), .digest = SIZE_MAX};
    return o;
}

const struct bundle_object *manifest_find(const struct manifest *m, const char *kind,
                                          const char *name)
{
    for (size_t i = 0; i < m->nobjects; i++)
        if (str_eq(m->objects[i].kind, kind) && str_eq(m->objects[i].name, name))
            return &m->objects[i];
    return NULL;
}

void bundle_object_part(struct bundle_object *o, size_t position)
{
    o->parts = xgrow(o->parts, o->nparts, &o->parts_cap, sizeof(*o->parts));
    o->parts[o->nparts++] = position;
}

char *bundle_part_name(size_t object, size_t part)
{
    return xasprintf("data/%06zu/%06zu.zst", object, part);
}

/* Neither a sequence nor PostgreSQL's large objects. */
static bool is_table(const struct manifest *m, const struct digest *d)
{
    return !d->sequence && (strcmp(m->engine, "postgres") != 0 || strchr(d->name, '.'));
}

void manifest_count(const struct manifest *m, size_t *ret_tables, uint64_t *ret_rows)
{
    *ret_tables = 0;
    *ret_rows = 0;
    for (size_t i = 0; i < m->digests.n; i++) {
        if (!is_table(m, &m->digests.v[i]))
            continue;
        *ret_rows += m->digests.v[i].sum.rows;
        ++*ret_tables;
    }
}
