#include "backup/mask.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "harness/base/nearest.h"

/* Digits of a hash below which two of a million values may well be equal. */
#define UNIQUE_DIGITS 12

const char *const mask_names[MASK_HOWS + 1] = {"hash", "fake", "keep-length", "null", "keep", NULL};

void mask_rules_release(struct mask_rules *r)
{
    for (size_t i = 0; i < r->n; i++)
        free(r->v[i].column);
    free(r->v);
    *r = (struct mask_rules){0};
}

void mask_model_release(struct mask_model *m)
{
    for (size_t i = 0; i < m->ncolumns; i++) {
        free(m->columns[i].table);
        free(m->columns[i].name);
        free(m->columns[i].type);
    }
    for (size_t i = 0; i < m->nlinks; i++) {
        free(m->links[i].name);
        free(m->links[i].table);
        free(m->links[i].to);
        strv_release(&m->links[i].columns);
        strv_release(&m->links[i].to_columns);
    }
    free(m->columns);
    free(m->links);
    strv_release(&m->partitions);
    *m = (struct mask_model){0};
}

/* ---- the plan ---- */

struct mask_plan {
    struct mask_model model;
    unsigned char key[crypto_shorthash_siphashx24_KEYBYTES];
};

static struct mask_column *find(const struct mask_model *m, const char *table, const char *name)
{
    for (size_t i = 0; i < m->ncolumns; i++)
        if (strcmp(m->columns[i].table, table) == 0 && strcmp(m->columns[i].name, name) == 0)
            return &m->columns[i];
    return NULL;
}

static char *full_name(const struct mask_model *m, const struct mask_column *c)
{
    _cleanup_free_ char *quoted = m->engine->quote_ident(c->name);
    return xasprintf("%s.%s", c->table, quoted);
}

/* Without the quotes that SQL needs. */
static char *plain(const char *name)
{
    struct str s = {0};
    for (const char *p = name; *p; p++)
        if (*p != '"' || (p[1] == '"' && *++p))
            str_addc(&s, *p);
    str_add(&s, "");
    return str_take(&s);
}

/* "users.email" for "public.users.email"; with or without quotes. */
static bool is_named(const struct mask_model *m, const struct mask_column *c, const char *name)
{
    _cleanup_free_ char *full = full_name(m, c);
    _cleanup_free_ char *bare = plain(full);
    const char *dot = strchr(full, '.'), *bare_dot = strchr(bare, '.');
    bool schema = m->engine == &engine_postgres;
    return strcmp(full, name) == 0 || strcmp(bare, name) == 0 ||
           (schema && (strcmp(dot + 1, name) == 0 || strcmp(bare_dot + 1, name) == 0));
}

static int bad_rule(const struct mask_rules *rules, const struct mask_rule *r, struct err *err,
                    const char *fmt, ...) __attribute__((format(printf, 4, 5)));

static int bad_rule(const struct mask_rules *rules, const struct mask_rule *r, struct err *err,
                    const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    _cleanup_free_ char *why = xvasprintf(fmt, ap);
    va_end(ap);
    err_set(err, ERR_CONFIG, "mask: %s: %s", r->column, why);
    return err_at(err, rules->file, r->line, 0);
}

static int unknown(const struct mask_rules *rules, const struct mask_rule *r,
                   const struct mask_model *m, struct err *err)
{
    _cleanup_strv_ struct strv names = {0};
    for (size_t i = 0; i < m->ncolumns; i++) {
        _cleanup_free_ char *full = full_name(m, &m->columns[i]);
        strv_add(&names, full);
        if (m->engine == &engine_postgres)
            strv_add(&names, strchr(full, '.') + 1);
    }
    for (size_t i = 0; i < m->partitions.n; i++) {
        const char *partition = m->partitions.v[i], *of = strchr(partition, ' ') + 1;
        _cleanup_free_ char *name = xstrndup(partition, (size_t)(of - partition - 1));
        size_t n = strlen(name);
        const char *dot = strchr(name, '.');
        if (strncmp(r->column, name, n) == 0 ||
            (dot && strncmp(r->column, dot + 1, strlen(dot + 1)) == 0)) {
            bad_rule(rules, r, err, "%s is a partition", name);
            return err_hint(err, "the rule must be about %s, and holds for its partitions", of);
        }
    }
    const char **list = xcalloc(names.n + 1, sizeof(*list));
    for (size_t i = 0; i < names.n; i++)
        list[i] = names.v[i];
    const char *near = nearest(r->column, list);
    bad_rule(rules, r, err, "there is no such column");
    if (near)
        err_hint(err, "did you mean %s?", near);
    free(list);
    return -1;
}

static int find_column(const struct mask_rules *rules, const struct mask_rule *r,
                       const struct mask_model *m, struct mask_column **ret, struct err *err)
{
    *ret = NULL;
    for (size_t i = 0; i < m->ncolumns; i++) {
        struct mask_column *c = &m->columns[i];
        if (!is_named(m, c, r->column))
            continue;
        if (*ret) {
            _cleanup_free_ char *a = full_name(m, *ret), *b = full_name(m, c);
            return bad_rule(rules, r, err, "it may be %s or %s", a, b);
        }
        *ret = c;
    }
    return *ret ? 0 : unknown(rules, r, m, err);
}

static bool is_referenced(const struct mask_model *m, const struct mask_column *c)
{
    for (size_t i = 0; i < m->nlinks; i++)
        if (strcmp(m->links[i].to, c->table) == 0 && strv_has(&m->links[i].to_columns, c->name))
            return true;
    return false;
}

static bool is_key(const struct mask_model *m, const struct mask_column *c)
{
    bool key = c->unique || is_referenced(m, c);
    for (size_t i = 0; !key && i < m->nlinks; i++)
        key = strcmp(m->links[i].table, c->table) == 0 && strv_has(&m->links[i].columns, c->name);
    return key;
}

/* Whether the rule can hold for the column. */
static int check_column(const struct mask_rules *rules, const struct mask_rule *r,
                        const struct mask_model *m, const struct mask_column *c, struct err *err)
{
    bool key = is_key(m, c);
    const char *how = mask_names[r->how];
    if (r->how == MASK_KEEP)
        return 0;
    if (r->how == MASK_NULL) {
        if (c->not_null || c->rowid)
            return bad_rule(rules, r, err, "%s.%s is NOT NULL", c->table, c->name);
        if (is_referenced(m, c))
            return bad_rule(rules, r, err, "a foreign key refers to %s.%s", c->table, c->name);
        return 0;
    }
    if (c->rowid)
        return bad_rule(rules, r, err, "%s.%s numbers the rows", c->table, c->name);
    if (c->kind == MASK_OTHER)
        return bad_rule(rules, r, err, "%s cannot replace a value of type %s; null can", how,
                        c->type);
    if (r->how == MASK_KEEP_LENGTH) {
        if (c->kind != MASK_TEXT && c->kind != MASK_DYNAMIC)
            return bad_rule(rules, r, err, "keep-length is for text, not for %s", c->type);
        if (key)
            return bad_rule(rules, r, err,
                            "%s.%s is unique or part of a foreign key, and texts of the same "
                            "length may become equal; hash and fake do not",
                            c->table, c->name);
    }
    if (r->how == MASK_HASH &&
        (c->kind == MASK_ADDRESS || c->kind == MASK_DATE || c->kind == MASK_TIME))
        return bad_rule(rules, r, err, "hash is not for %s; fake is", c->type);
    bool narrow = c->kind == MASK_SMALL || c->kind == MASK_INTEGER || c->kind == MASK_ADDRESS ||
                  c->kind == MASK_DATE || c->kind == MASK_TIME;
    if (key && narrow)
        return bad_rule(rules, r, err,
                        "%s.%s is unique or part of a foreign key, and %s has too few values",
                        c->table, c->name, c->type);
    size_t need = r->how == MASK_FAKE ? 24 : UNIQUE_DIGITS;
    if (key && c->limit && c->limit < need)
        return bad_rule(rules, r, err,
                        "%s.%s is unique or part of a foreign key, and %s is too short", c->table,
                        c->name, c->type);
    if (r->how == MASK_FAKE && c->limit && c->limit < 16)
        return bad_rule(rules, r, err, "%s is too short for something plausible; hash is not",
                        c->type);
    return 0;
}

static int set(struct mask_plan *p, const struct mask_rules *rules, const struct mask_rule *r,
               struct mask_column *c, struct err *err);

/* The other sides of the foreign keys that the column is part of. NULL and keep concern one side. */
static int spread(struct mask_plan *p, const struct mask_rules *rules, const struct mask_rule *r,
                  const struct mask_column *c, struct err *err)
{
    struct mask_model *m = &p->model;
    if (r->how == MASK_NULL || r->how == MASK_KEEP)
        return 0;
    for (size_t i = 0; i < m->nlinks; i++) {
        const struct mask_link *l = &m->links[i];
        for (size_t k = 0; k < l->columns.n; k++) {
            bool from = strcmp(l->table, c->table) == 0 && strcmp(l->columns.v[k], c->name) == 0;
            bool to = strcmp(l->to, c->table) == 0 && strcmp(l->to_columns.v[k], c->name) == 0;
            struct mask_column *other = from ? find(m, l->to, l->to_columns.v[k])
                                        : to ? find(m, l->table, l->columns.v[k])
                                             : NULL;
            if (other && set(p, rules, r, other, err) < 0)
                return -1;
        }
    }
    return 0;
}

static int set(struct mask_plan *p, const struct mask_rules *rules, const struct mask_rule *r,
               struct mask_column *c, struct err *err)
{
    if (c->masked && c->how == r->how)
        return 0;
    if (c->masked && c->how == MASK_NULL)
        return 0; /* of a foreign key, the referring side */
    if (c->masked)
        return bad_rule(rules, r, err, "%s says %s for the other side of a foreign key",
                        c->rule->column, mask_names[c->how]);
    if (check_column(rules, r, &p->model, c, err) < 0)
        return -1;
    c->masked = true;
    c->how = r->how;
    c->rule = r;
    c->key = p->key;
    return spread(p, rules, r, c, err);
}

/* Both sides of a foreign key must come to the same text: the shorter limit holds for both. */
static void even_limits(struct mask_model *m)
{
    for (bool changed = true; changed;) {
        changed = false;
        for (size_t i = 0; i < m->nlinks; i++)
            for (size_t k = 0; k < m->links[i].columns.n; k++) {
                struct mask_column *a = find(m, m->links[i].table, m->links[i].columns.v[k]),
                                   *b = find(m, m->links[i].to, m->links[i].to_columns.v[k]);
                if (!a || !b || a->limit == b->limit)
                    continue;
                size_t least = !a->limit || (b->limit && b->limit < a->limit) ? b->limit : a->limit;
                a->limit = b->limit = least;
                changed = true;
            }
    }
}

int mask_plan_new(const struct mask_rules *rules, struct mask_model *model, struct mask_plan **ret,
                  struct err *err)
{
    struct mask_plan *p = xcalloc(1, sizeof(*p));
    p->model = *model;
    *model = (struct mask_model){0};
    if (sodium_init() < 0) {
        mask_plan_free(p);
        return err_set(err, ERR_ENV, "libsodium cannot be used");
    }
    randombytes_buf(p->key, sizeof(p->key));
    even_limits(&p->model);
    /* what sets NULL and what keeps goes first: it does not spread */
    for (int pass = 0; pass < 2; pass++)
        for (size_t i = 0; i < rules->n; i++) {
            const struct mask_rule *r = &rules->v[i];
            struct mask_column *c;
            if ((pass == 0) != (r->how == MASK_NULL || r->how == MASK_KEEP))
                continue;
            if (find_column(rules, r, &p->model, &c, err) < 0 || set(p, rules, r, c, err) < 0) {
                mask_plan_free(p);
                return -1;
            }
        }
    *ret = p;
    return 0;
}

void mask_plan_free(struct mask_plan *p)
{
    if (!p)
        return;
    sodium_memzero(p->key, sizeof(p->key));
    mask_model_release(&p->model);
    free(p);
}

const struct mask_model *mask_plan_model(const struct mask_plan *p)
{
    return &p->model;
}

const struct mask_column *mask_plan_find(const struct mask_plan *p, const char *table,
                                         const char *column)
{
    const struct mask_column *c = find(&p->model, table, column);
    return c && c->masked && c->how != MASK_KEEP ? c : NULL;
}

bool mask_plan_has(const struct mask_plan *p, const char *table)
{
    for (size_t i = 0; i < p->model.ncolumns; i++) {
        const struct mask_column *c = &p->model.columns[i];
        if (c->masked && c->how != MASK_KEEP && strcmp(c->table, table) == 0)
            return true;
    }
    return false;
}

void mask_plan_tell(const struct mask_plan *p, struct strv *ret)
{
    const struct mask_model *m = &p->model;
    for (size_t i = 0; i < m->ncolumns; i++) {
        const struct mask_column *c = &m->columns[i];
        if (!c->masked || c->how == MASK_KEEP)
            continue;
        _cleanup_free_ char *name = full_name(m, c);
        if (is_named(m, c, c->rule->column))
            strv_add_take(ret, xasprintf("%s: %s", name, mask_names[c->how]));
        else
            strv_add_take(ret, xasprintf("%s: %s, as %s, by a foreign key", name,
                                         mask_names[c->how], c->rule->column));
    }
}
