/* A JSON report against its documented schema in docs/. */
#ifndef BELAY_TESTS_REPORT_KEYS_H
#define BELAY_TESTS_REPORT_KEYS_H

#include <check.h>
#include <jansson.h>
#include <string.h>

#include "harness/base/str.h"

static inline bool has_type(json_t *type, json_t *value)
{
    static const char *const names[] = {
        [JSON_OBJECT] = "object",   [JSON_ARRAY] = "array", [JSON_STRING] = "string",
        [JSON_INTEGER] = "integer", [JSON_REAL] = "number", [JSON_TRUE] = "boolean",
        [JSON_FALSE] = "boolean",   [JSON_NULL] = "null"};
    const char *name = names[json_typeof(value)], *one = json_string_value(type);
    size_t i;
    json_t *item;
    if (one)
        return strcmp(one, name) == 0 || (json_is_integer(value) && strcmp(one, "number") == 0);
    json_array_foreach(type, i, item) if (has_type(item, value)) return true;
    return false;
}

/* Both name the same keys, and the values have their types. */
static inline void check_keys(json_t *schema, json_t *value, const char *where)
{
    json_t *properties = json_object_get(schema, "properties");
    ck_assert_msg(properties != NULL, "%s has no properties in the schema", where);
    const char *key;
    json_t *item;
    json_object_foreach(value, key, item)
    {
        json_t *sub = json_object_get(properties, key), *type = json_object_get(sub, "type");
        ck_assert_msg(sub != NULL, "%s.%s is not in the schema", where, key);
        ck_assert_msg(!type || has_type(type, item), "%s.%s is of another type", where, key);
        if (json_is_object(item) && json_object_get(sub, "properties"))
            check_keys(sub, item, key);
        else if (json_is_array(item) && json_is_object(json_array_get(item, 0)))
            check_keys(json_object_get(sub, "items"), json_array_get(item, 0), key);
    }
    json_object_foreach(properties, key, item)
    {
        ck_assert_msg(json_object_get(value, key) != NULL, "%s.%s is not in the report", where,
                      key);
    }
}

/* schema: the name of a file in docs/. */
static inline void check_report_keys(const char *schema, json_t *report)
{
    _cleanup_free_ char *path = xasprintf("%s/docs/%s", getenv("BELAY_SOURCE_DIR"), schema);
    json_error_t error;
    json_t *loaded = json_load_file(path, 0, &error);
    ck_assert_msg(loaded != NULL, "%s:%d: %s", path, error.line, error.text);
    check_keys(loaded, report, "report");
    json_decref(loaded);
}

#endif
