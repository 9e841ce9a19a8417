#include "runner/config_yaml.h"

#include <string.h>

#include "harness/base/str.h"

yaml_node_t *config_map_get(yaml_document_t *doc, yaml_node_t *map, const char *key,
                            yaml_node_t **ret_key)
{
    if (!map || map->type != YAML_MAPPING_NODE)
        return NULL;
    for (yaml_node_pair_t *p = map->data.mapping.pairs.start; p < map->data.mapping.pairs.top;
         p++) {
        yaml_node_t *k = yaml_document_get_node(doc, p->key);
        if (k->type != YAML_SCALAR_NODE || strcmp((char *)k->data.scalar.value, key) != 0)
            continue;
        if (ret_key)
            *ret_key = k;
        return yaml_document_get_node(doc, p->value);
    }
    return NULL;
}

yaml_node_t *config_list_get(yaml_document_t *doc, yaml_node_t *list, size_t i)
{
    if (!list || list->type != YAML_SEQUENCE_NODE ||
        i >= (size_t)(list->data.sequence.items.top - list->data.sequence.items.start))
        return NULL;
    return yaml_document_get_node(doc, list->data.sequence.items.start[i]);
}

int config_node_line(const yaml_node_t *node)
{
    return node ? (int)node->start_mark.line + 1 : 1;
}

int config_key_line(yaml_document_t *doc, yaml_node_t *map, const char *key)
{
    yaml_node_t *k = NULL;
    config_map_get(doc, map, key, &k);
    return config_node_line(k ? k : map);
}

int config_document(const char *path, const char *text, size_t len, yaml_document_t *ret,
                    struct err *err)
{
    yaml_parser_t parser;
    yaml_document_t second;
    if (!yaml_parser_initialize(&parser))
        return err_set(err, ERR_ENV, "out of memory");
    yaml_parser_set_input_string(&parser, (const unsigned char *)text, len);
    bool loaded = yaml_parser_load(&parser, ret);
    bool more = loaded && yaml_parser_load(&parser, &second);
    if (!loaded || !more) {
        int line = (int)parser.problem_mark.line + 1;
        bool at_end = parser.problem_mark.index >= len;
        err_set(err, ERR_CONFIG, "%s%s%s", parser.problem ? parser.problem : "not YAML",
                parser.context ? ", " : "", parser.context ? parser.context : "");
        err_at(err, path, line, (int)parser.problem_mark.column + 1);
        if (at_end)
            err_hint(err, "the file ends too early: is it truncated?");
        else if (parser.problem && strstr(parser.problem, "mapping values are not allowed"))
            err_hint(err, "text that holds a colon and a blank must stand in quotes");
        if (loaded)
            yaml_document_delete(ret);
        yaml_parser_delete(&parser);
        return -1;
    }
    yaml_node_t *root = yaml_document_get_root_node(&second);
    int line = config_node_line(root);
    yaml_document_delete(&second);
    yaml_parser_delete(&parser);
    if (root) {
        yaml_document_delete(ret);
        err_set(err, ERR_CONFIG, "a second document begins here");
        return err_at(err, path, line, 0);
    }
    return 0;
}
