#include "runner/config_rehearsal.h"

#include <string.h>

#include "harness/base/file.h"
#include "harness/base/nearest.h"

static int bad(const struct config *c, const yaml_node_t *node, struct err *err, const char *fmt,
               ...) __attribute__((format(printf, 4, 5)));

static int bad(const struct config *c, const yaml_node_t *node, struct err *err, const char *fmt,
               ...)
{
    va_list ap;
    va_start(ap, fmt);
    _cleanup_free_ char *why = xvasprintf(fmt, ap);
    va_end(ap);
    err_set(err, ERR_CONFIG, "%s", why);
    return err_at(err, c->path, config_node_line(node), 0);
}

static const char *scalar(const yaml_node_t *node)
{
    return node && node->type == YAML_SCALAR_NODE ? (const char *)node->data.scalar.value : NULL;
}

static int find_how(const char *name)
{
    for (int how = 0; how < MASK_HOWS; how++)
        if (strcmp(mask_names[how], name) == 0)
            return how;
    return -1;
}

static int add_mask(struct config *c, const yaml_node_t *key, const yaml_node_t *value,
                    struct err *err)
{
    const char *column = scalar(key), *name = scalar(value);
    struct mask_rules *r = &c->masks;
    if (!column || !name || !*column)
        return bad(c, key, err, "mask: expected column: rule");
    /* YAML's null is written without quotes */
    int how = *name ? find_how(name) : MASK_NULL;
    if (how < 0 && strcmp(name, "~") == 0)
        how = MASK_NULL;
    if (how < 0) {
        const char *near = nearest(name, mask_names);
        bad(c, value, err, "mask: %s: \"%s\" is not one of hash, fake, keep-length, null or keep",
            column, name);
        return near ? err_hint(err, "did you mean \"%s\"?", near) : -1;
    }
    for (size_t i = 0; i < r->n; i++)
        if (strcmp(r->v[i].column, column) == 0)
            return bad(c, key, err, "mask: %s stands twice", column);
    r->v = xgrow(r->v, r->n, &r->cap, sizeof(*r->v));
    r->v[r->n++] = (struct mask_rule){
        .column = xstrdup(column), .how = (enum mask_how)how, .line = config_node_line(key)};
    return 0;
}

static int read_masks(struct config *c, yaml_document_t *doc, struct err *err)
{
    yaml_node_t *root = yaml_document_get_root_node(doc), *key = NULL;
    const yaml_node_t *map = config_map_get(doc, root, "mask", &key);
    c->masks.file = c->path;
    if (!map)
        return 0;
    if (map->type != YAML_MAPPING_NODE)
        return bad(c, key, err, "mask: expected a mapping (users.email: hash)");
    for (yaml_node_pair_t *p = map->data.mapping.pairs.start; p < map->data.mapping.pairs.top; p++)
        if (add_mask(c, yaml_document_get_node(doc, p->key), yaml_document_get_node(doc, p->value),
                     err) < 0)
            return -1;
    return 0;
}

/* A query has blanks, a file that is meant to be kept has none. */
static int add_query(struct config *c, const yaml_node_t *node, struct err *err)
{
    const char *text = scalar(node);
    if (!text || !*text)
        return bad(c, node, err, "queries: expected SQL, or a file of it");
    struct config_query q = {.line = config_node_line(node)};
    if (text[strcspn(text, " \t\n")]) {
        /* the text of a block begins in the line after its | */
        q.line += node->data.scalar.style == YAML_LITERAL_SCALAR_STYLE;
        q.file = xstrdup(c->path);
        q.text = xstrdup(text);
    } else {
        _cleanup_free_ char *dir = path_dir(c->path);
        q.file = path_join(dir, text);
        q.line = 1;
        if (file_read_text(q.file, &q.text, NULL, err) < 0) {
            free(q.file);
            err_prefix(err, "queries");
            return err_at(err, c->path, config_node_line(node), 0);
        }
    }
    c->queries = xgrow(c->queries, c->nqueries, &c->queries_cap, sizeof(*c->queries));
    c->queries[c->nqueries++] = q;
    return 0;
}

static int read_queries(struct config *c, yaml_document_t *doc, struct err *err)
{
    yaml_node_t *root = yaml_document_get_root_node(doc), *key = NULL;
    yaml_node_t *list = config_map_get(doc, root, "queries", &key);
    const yaml_node_t *item;
    if (!list)
        return 0;
    if (list->type != YAML_SEQUENCE_NODE)
        return bad(c, key, err, "queries: expected a list of SQL, or of files of it");
    for (size_t i = 0; (item = config_list_get(doc, list, i)); i++)
        if (add_query(c, item, err) < 0)
            return -1;
    return 0;
}

int config_read_rehearsal(struct config *c, yaml_document_t *doc, struct err *err)
{
    return read_masks(c, doc, err) < 0 ? -1 : read_queries(c, doc, err);
}
