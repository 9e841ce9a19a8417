/*
 * A YAML file as libyaml's document: what is where in it. For runner/config*.c only.
 */
#ifndef BELAY_CONFIG_YAML_H
#define BELAY_CONFIG_YAML_H

#include <stddef.h>
#include <yaml.h>

#include "harness/base/err.h"

/* Reads the first document; a second one is refused, because nobody would read it. */
int config_document(const char *path, const char *text, size_t len, yaml_document_t *ret,
                    struct err *err);

/* The value of a key; *ret_key (or NULL) is the key's own node. NULL when there is none. */
yaml_node_t *config_map_get(yaml_document_t *doc, yaml_node_t *map, const char *key,
                            yaml_node_t **ret_key);
/* NULL past the end. */
yaml_node_t *config_list_get(yaml_document_t *doc, yaml_node_t *list, size_t i);
/* 1-based; 1 for NULL. */
int config_node_line(const yaml_node_t *node);
/* The line of a key, of the mapping when it has no such key. */
int config_key_line(yaml_document_t *doc, yaml_node_t *map, const char *key);

#endif
