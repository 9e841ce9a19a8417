#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "harness/data/generate_impl.h"

void columns_add(struct columns *c, size_t column)
{
    c->v = xgrow(c->v, c->n, &c->cap, sizeof(*c->v));
    c->v[c->n++] = column;
}

bool columns_has(const struct columns *c, size_t column)
{
    for (size_t i = 0; i < c->n; i++)
        if (c->v[i] == column)
            return true;
    return false;
}

struct gen_table *gen_schema_add(struct gen_schema *s, const char *identity)
{
    s->v = xgrow(s->v, s->n, &s->cap, sizeof(*s->v));
    struct gen_table *t = s->v[s->n++] = xcalloc(1, sizeof(*t));
    t->identity = xstrdup(identity);
    return t;
}

struct gen_column *gen_table_column(struct gen_table *t, const char *name)
{
    t->columns = xgrow(t->columns, t->ncolumns, &t->columns_cap, sizeof(*t->columns));
    struct gen_column *c = &t->columns[t->ncolumns++];
    *c = (struct gen_column){.name = xstrdup(name)};
    return c;
}

struct gen_key *gen_table_key(struct gen_table *t, const char *name)
{
    t->keys = xgrow(t->keys, t->nkeys, &t->keys_cap, sizeof(*t->keys));
    struct gen_key *k = &t->keys[t->nkeys++];
    *k = (struct gen_key){.name = xstrdup(name)};
    return k;
}

struct gen_reference *gen_table_reference(struct gen_table *t, const char *name)
{
    t->references =
        xgrow(t->references, t->nreferences, &t->references_cap, sizeof(*t->references));
    struct gen_reference *r = &t->references[t->nreferences++];
    *r = (struct gen_reference){.name = xstrdup(name)};
    return r;
}

struct gen_check *gen_table_check(struct gen_table *t, const char *name, const char *expression)
{
    t->checks = xgrow(t->checks, t->nchecks, &t->checks_cap, sizeof(*t->checks));
    struct gen_check *c = &t->checks[t->nchecks++];
    *c = (struct gen_check){.name = xstrdup(name), .expression = xstrdup(expression)};
    return c;
}

void gen_table_finish(struct gen_table *t)
{
    for (size_t i = 0; i < t->nkeys; i++) {
        struct gen_key *k = &t->keys[i];
        for (size_t j = 0; j < k->columns.n; j++)
            t->columns[k->columns.v[j]].key = true;
        /* rows are counted in such a key, whether a sequence stands behind it or not: an extreme
         * would leave no room for the next one */
        if (k->primary && k->columns.n == 1) {
            struct gen_column *c = &t->columns[k->columns.v[0]];
            c->counted = c->counted || c->type->class == VALUE_INTEGER;
        }
    }
}

static void table_free(struct gen_table *t)
{
    for (size_t i = 0; i < t->ncolumns; i++) {
        free(t->columns[i].name);
        free(t->columns[i].quoted);
        free(t->columns[i].sequence);
        value_type_free(t->columns[i].type);
    }
    for (size_t i = 0; i < t->nkeys; i++) {
        free(t->keys[i].name);
        free(t->keys[i].columns.v);
    }
    for (size_t i = 0; i < t->nreferences; i++) {
        struct gen_reference *r = &t->references[i];
        free(r->name);
        free(r->target);
        free(r->columns.v);
        strv_release(&r->target_quoted);
        strv_release(&r->target_names);
    }
    for (size_t i = 0; i < t->nchecks; i++) {
        free(t->checks[i].name);
        free(t->checks[i].expression);
        free(t->checks[i].columns.v);
    }
    free(t->columns);
    free(t->keys);
    free(t->references);
    free(t->checks);
    str_release(&t->hints);
    free(t->ancestors);
    free(t->identity);
    free(t->name);
    free(t->why);
    free(t);
}

void gen_schema_release(struct gen_schema *s)
{
    for (size_t i = 0; i < s->n; i++)
        table_free(s->v[i]);
    free(s->v);
    strv_release(&s->closed);
    strv_release(&s->closed_why);
    strv_release(&s->closed_filled);
    *s = (struct gen_schema){0};
}

bool gen_reference_is_to(const struct gen_reference *r, const struct gen_table *t)
{
    if (!r->target_oid) /* SQLite compares names so */
        return strcasecmp(r->target, t->identity) == 0;
    if (r->target_oid == t->oid)
        return true;
    char oid[16];
    snprintf(oid, sizeof(oid), " %u ", r->target_oid);
    return t->ancestors && strstr(t->ancestors, oid);
}

bool gen_reference_can_be_null(const struct gen_table *t, const struct gen_reference *r)
{
    size_t nullable = 0;
    for (size_t i = 0; i < r->columns.n; i++)
        nullable += !t->columns[r->columns.v[i]].not_null;
    return r->full ? nullable == r->columns.n : nullable > 0;
}

bool gen_is_random_key(const struct gen_table *t, size_t column)
{
    const struct gen_column *c = &t->columns[column];
    bool alone = false;
    for (size_t i = 0; i < t->nkeys; i++)
        alone |=
            t->keys[i].primary && t->keys[i].columns.n == 1 && t->keys[i].columns.v[0] == column;
    return alone && !c->counted &&
           (c->type->template == value_template_find("uuid") ||
            (c->type->class == VALUE_TEXT && (!c->type->length || c->type->length >= 12)));
}

uint64_t gen_base(const struct gen_table *t, size_t column, uint64_t seed)
{
    const struct gen_column *c = &t->columns[column];
    uint64_t base = 0;
    /* far from the keys of the rows that revisions bring along, which begin at 1 */
    if (c->counted)
        return 100001;
    /* the name, not the place: a column added before it changes nothing */
    if (gen_is_random_key(t, column)) /* below the largest int */
        base = XXH3_64bits_withSeed(t->identity, strlen(t->identity), seed) % 200000 * 10000;
    return base + 1 + XXH3_64bits_withSeed(c->name, strlen(c->name), seed) % 80;
}
