#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "harness/schema/snapshot.h"

#define FORMAT_KEY "belay snapshot"
#define FORMAT_VERSION 1

#define _cleanup_json_ _cleanup_(json_decrefp)

static void add_json(struct str *s, const json_t *value)
{
    _cleanup_free_ char *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
    str_add(s, text);
}

char *snapshot_to_json(const struct snapshot *s)
{
    struct str out = {0};
    _cleanup_json_ json_t *engine = json_string(s->engine);
    str_addf(&out, "{\"" FORMAT_KEY "\":%d,\"engine\":", FORMAT_VERSION);
    add_json(&out, engine);
    str_addf(&out, ",\"version\":%d,\"objects\":[\n", s->version);
    for (size_t i = 0; i < s->n; i++) {
        const struct object *o = s->objects[i];
        _cleanup_json_ json_t *line = json_object();
        json_t *properties = json_object();
        json_object_set_new(line, "kind", json_string(o->kind));
        json_object_set_new(line, "identity", json_string(o->identity));
        json_object_set_new(line, "properties", properties);
        for (size_t k = 0; k < o->nprops; k++)
            json_object_set_new(properties, o->props[k].name, json_string(o->props[k].value));
        add_json(&out, line);
        str_add(&out, i + 1 < s->n ? ",\n" : "\n");
    }
    str_add(&out, "]}\n");
    return str_take(&out);
}

/*
 * jansson keeps no positions of values, but in the form that belay writes, object i stands alone on
 * line i + 2. In a file that somebody reformatted the line stays unknown.
 */
static int line_of_object(const char *text, size_t index)
{
    size_t line = 1;
    for (const char *at = text; at; at = strchr(at, '\n'), line++) {
        at += *at == '\n';
        if (line == index + 2)
            return str_starts(at, "{\"kind\":") ? (int)line : 0;
    }
    return 0;
}

static int refuse(const char *name, int line, struct err *err)
{
    err_at(err, name, line, 0);
    return err_hint(err, "write it anew with `belay snapshot`");
}

static int read_object(const json_t *line, struct object_builder *b, struct snapshot *s,
                       struct err *err)
{
    const char *kind, *identity, *key;
    json_t *properties, *value;
    json_error_t why;
    if (json_unpack_ex((json_t *)line, &why, JSON_STRICT, "{s:s,s:s,s:o!}", "kind", &kind,
                       "identity", &identity, "properties", &properties) < 0)
        return err_set(err, ERR_CONFIG, "%s", why.text);
    if (!json_is_object(properties))
        return err_set(err, ERR_CONFIG, "\"properties\" of %s %s is not an object", kind, identity);
    object_begin(b, kind, identity);
    json_object_foreach(properties, key, value)
    {
        if (!json_is_string(value))
            return err_set(err, ERR_CONFIG, "property \"%s\" of %s %s is not a string", key, kind,
                           identity);
        object_prop(b, key, json_string_value(value));
    }
    snapshot_add(s, object_end(b));
    return 0;
}

/* The place in the array of the second of two objects with one kind and identity. */
static size_t second_of(const struct snapshot *s, const json_t *objects)
{
    size_t at = 1, i, seen = 0;
    while (object_compare(s->objects[at - 1], s->objects[at]) != 0)
        at++;
    json_t *line;
    json_array_foreach(objects, i, line)
    {
        const struct object o = {.kind = json_string_value(json_object_get(line, "kind")),
                                 .identity = json_string_value(json_object_get(line, "identity"))};
        if (object_compare(&o, s->objects[at]) == 0 && seen++)
            break;
    }
    return i;
}

int snapshot_from_json(const char *text, size_t len, const char *name, struct snapshot **ret,
                       struct err *err)
{
    json_error_t why;
    _cleanup_json_ json_t *root = json_loadb(text, len, JSON_REJECT_DUPLICATES, &why);
    if (!root) {
        err_set(err, ERR_CONFIG, "%s is not a whole snapshot: %s", name, why.text);
        return refuse(name, why.line, err);
    }
    int format = 0, version;
    const char *engine;
    json_t *objects;
    if (json_unpack(root, "{s:i}", FORMAT_KEY, &format) < 0) {
        err_set(err, ERR_CONFIG, "%s is not a snapshot: it has no \"" FORMAT_KEY "\"", name);
        return refuse(name, 1, err);
    }
    if (format != FORMAT_VERSION) {
        err_set(err, ERR_CONFIG, "%s is a snapshot of format %d, this belay reads format %d", name,
                format, FORMAT_VERSION);
        return refuse(name, 1, err);
    }
    if (json_unpack_ex(root, &why, JSON_STRICT, "{s:i,s:s,s:i,s:o!}", FORMAT_KEY, &format, "engine",
                       &engine, "version", &version, "objects", &objects) < 0) {
        err_set(err, ERR_CONFIG, "%s is not a snapshot: %s", name, why.text);
        return refuse(name, 1, err);
    }
    if (!json_is_array(objects)) {
        err_set(err, ERR_CONFIG, "%s is not a snapshot: \"objects\" is not an array", name);
        return refuse(name, 1, err);
    }
    _cleanup_snapshot_ struct snapshot *s = snapshot_new(engine, version);
    struct object_builder b = {0};
    size_t i;
    json_t *line;
    int result = 0;
    json_array_foreach(objects, i, line)
    {
        result = read_object(line, &b, s, err);
        if (result < 0) {
            err_prefix(err, "%s: object %zu", name, i + 1);
            refuse(name, line_of_object(text, i), err);
            break;
        }
    }
    object_builder_release(&b);
    if (result < 0)
        return -1;
    struct err twice = {0};
    if (snapshot_finish(s, &twice) < 0) {
        err_set(err, ERR_CONFIG, "%s: %s", name, twice.message);
        err_release(&twice);
        return refuse(name, line_of_object(text, second_of(s, objects)), err);
    }
    *ret = TAKE_PTR(s);
    return 0;
}
