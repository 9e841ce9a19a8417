/*
 * The manifest as JSON (docs/bundle-format.md). One member, object and digest a line, for people
 * and for grep. Everything that is read is looked at with suspicion: it came from a file.
 */
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "backup/bundle.h"
#include "backup/tar_header.h"
#include "harness/base/cleanup.h"

#define FORMAT_KEY "belay bundle"
#define _cleanup_json_ _cleanup_(json_decrefp)

/* The last line: ,"hash":"32 digits"} */
#define HASH_KEY ",\n\"hash\":\""
#define HASH_END "\"}\n"
enum { HASH_DIGITS = 32, HASH_LINE = sizeof(HASH_KEY) - 1 + HASH_DIGITS + sizeof(HASH_END) - 1 };

/* Strings of the manifest under their names, for both directions. */
static const struct {
    const char *key;
    size_t offset;
    bool needed;
} strings[] = {
    {"belay", offsetof(struct manifest, belay), true},
    {"created", offsetof(struct manifest, created), true},
    {"engine", offsetof(struct manifest, engine), true},
    {"server", offsetof(struct manifest, server), true},
    {"database", offsetof(struct manifest, database), true},
    {"host", offsetof(struct manifest, host), false},
    {"encoding", offsetof(struct manifest, encoding), false},
    {"collate", offsetof(struct manifest, collate), false},
    {"ctype", offsetof(struct manifest, ctype), false},
    {"locale_provider", offsetof(struct manifest, locale_provider), false},
    {"icu_locale", offsetof(struct manifest, icu_locale), false},
    {"version_table", offsetof(struct manifest, version_table), false},
};

static const struct {
    const char *key;
    size_t offset;
} lists[] = {
    {"revisions", offsetof(struct manifest, revisions)},
    {"roles", offsetof(struct manifest, roles)},
    {"settings", offsetof(struct manifest, settings)},
    {"checks", offsetof(struct manifest, checks)},
};

static char **string_at(const struct manifest *m, size_t i)
{
    return (char **)((char *)m + strings[i].offset);
}

static struct strv *list_at(const struct manifest *m, size_t i)
{
    return (struct strv *)((char *)m + lists[i].offset);
}

/* ---- writing ---- */

/* JSON is UTF-8; other bytes are {"bytes": hexadecimal}. */
static json_t *bytes_json(const char *s)
{
    size_t len = strlen(s), bad;
    if (utf8_valid(s, len, &bad))
        return json_stringn(s, len);
    _cleanup_str_ struct str hex = {0};
    for (size_t i = 0; i < len; i++)
        str_addf(&hex, "%02x", (unsigned char)s[i]);
    return json_pack("{s:s}", "bytes", str_get(&hex));
}

static void add_json(struct str *out, json_t *owned)
{
    _cleanup_json_ json_t *j = owned;
    _cleanup_free_ char *text = json_dumps(j, JSON_COMPACT | JSON_ENCODE_ANY);
    str_add(out, text);
}

static void add_key(struct str *out, const char *key)
{
    str_addf(out, "%s\"%s\":", out->len ? ",\n" : "{", key);
}

static void add_bytes(struct str *out, const char *before, const char *s)
{
    str_add(out, before);
    add_json(out, bytes_json(s));
}

static void add_digest(struct str *out, const struct digest *d)
{
    add_bytes(out, "{\"name\":", d->name);
    if (d->sequence) {
        str_addf(out, ",\"next\":%" PRId64 "}", d->next);
        return;
    }
    str_addf(out,
             ",\"rows\":%" PRIu64 ",\"lo\":\"%016" PRIx64 "\",\"hi\":\"%016" PRIx64
             "\",\"columns\":[",
             d->sum.rows, d->sum.lo, d->sum.hi);
    for (size_t i = 0; i < d->sum.ncolumns; i++) {
        const struct digest_column *c = &d->sum.columns[i];
        add_bytes(out, i ? ",{\"name\":" : "{\"name\":", c->name);
        str_addf(out, ",\"sum\":\"%016" PRIx64 "\",\"nulls\":%" PRIu64 "%s}", c->sum, c->nulls,
                 c->generated ? ",\"generated\":true" : "");
    }
    str_add(out, "]}");
}

static void add_object(struct str *out, const struct bundle_object *o)
{
    add_bytes(out, "{\"kind\":", o->kind);
    add_bytes(out, ",\"name\":", o->name);
    if (o->columns)
        add_bytes(out, ",\"columns\":", o->columns);
    if (o->digest != SIZE_MAX)
        str_addf(out, ",\"digest\":%zu", o->digest);
    str_add(out, ",\"parts\":[");
    for (size_t i = 0; i < o->nparts; i++)
        str_addf(out, "%s%zu", i ? "," : "", o->parts[i]);
    str_add(out, "]}");
}

static void add_member(struct str *out, const struct bundle_member *m)
{
    add_bytes(out, "{\"name\":", m->name);
    str_addf(out,
             ",\"length\":%" PRIu64 ",\"raw\":%" PRIu64 ",\"rows\":%" PRIu64
             ",\"hash\":\"%016" PRIx64 "%016" PRIx64 "\"}",
             m->length, m->raw, m->rows, m->hash[0], m->hash[1]);
}

static int manifest_check(const struct manifest *m, const char *name, struct err *err);

int manifest_to_json(const struct manifest *m, char **ret, size_t *ret_len, struct err *err)
{
    /* what belay writes it must be able to read */
    if (manifest_check(m, "the new manifest", err) < 0)
        return -1;
    _cleanup_str_ struct str out = {0};
    add_key(&out, FORMAT_KEY);
    str_addf(&out, "%d", MANIFEST_FORMAT);
    for (size_t i = 0; i < ARRAY_LEN(strings); i++) {
        if (!*string_at(m, i))
            continue;
        add_key(&out, strings[i].key);
        add_json(&out, bytes_json(*string_at(m, i)));
    }
    add_key(&out, "version");
    str_addf(&out, "%d", m->version);
    for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
        add_key(&out, lists[i].key);
        for (size_t k = 0; k < list_at(m, i)->n; k++)
            add_bytes(&out, k ? "," : "[", list_at(m, i)->v[k]);
        str_add(&out, list_at(m, i)->n ? "]" : "[]");
    }
    add_key(&out, "digest_version");
    str_addf(&out, "%d", m->digest_version);
    add_key(&out, "digests");
    for (size_t i = 0; i < m->digests.n; i++) {
        str_add(&out, i ? ",\n" : "[\n");
        add_digest(&out, &m->digests.v[i]);
    }
    str_add(&out, m->digests.n ? "]" : "[]");
    add_key(&out, "objects");
    for (size_t i = 0; i < m->nobjects; i++) {
        str_add(&out, i ? ",\n" : "[\n");
        add_object(&out, &m->objects[i]);
    }
    str_add(&out, m->nobjects ? "]" : "[]");
    add_key(&out, "members");
    for (size_t i = 0; i < m->nmembers; i++) {
        str_add(&out, i ? ",\n" : "[\n");
        add_member(&out, &m->members[i]);
    }
    str_add(&out, m->nmembers ? "]" : "[]");
    add_key(&out, "snapshot");
    _cleanup_free_ char *snapshot = snapshot_to_json(m->snapshot);
    str_addn(&out, snapshot, strlen(snapshot) - 1);

    XXH128_hash_t hash = XXH3_128bits(out.p, out.len);
    str_addf(&out, HASH_KEY "%016" PRIx64 "%016" PRIx64 HASH_END, (uint64_t)hash.high64,
             (uint64_t)hash.low64);
    if (out.len > MANIFEST_MAX)
        return err_set(err, ERR_ENV, "too many objects for one bundle: a manifest of %zu bytes",
                       out.len);
    *ret_len = out.len;
    *ret = str_take(&out);
    return 0;
}

/* ---- reading ---- */

static int refuse(const char *name, struct err *err, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

static int refuse(const char *name, struct err *err, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    _cleanup_free_ char *text = xvasprintf(fmt, ap);
    va_end(ap);
    err_set(err, ERR_CONFIG, "the manifest of %s is damaged: %s", name, text);
    return err_at(err, name, 0, 0);
}

/* The n hexadecimal digits at s, n at most 16; false where one is none. */
static bool hex_number(const char *s, int n, uint64_t *ret)
{
    static const char digits[] = "0123456789abcdef";
    uint64_t v = 0;
    for (int i = 0; i < n; i++) {
        const char *d = s[i] ? strchr(digits, s[i]) : NULL;
        if (!d)
            return false;
        v = v << 4 | (uint64_t)(d - digits);
    }
    *ret = v;
    return true;
}

/* The owned string of a value that bytes_json() wrote, or NULL. */
static char *json_bytes(const json_t *j)
{
    if (json_is_string(j))
        return xstrdup(json_string_value(j));
    const char *hex = json_string_value(json_object_get(j, "bytes"));
    size_t len = hex ? strlen(hex) : 1;
    if (len % 2)
        return NULL;
    _cleanup_free_ char *s = xcalloc(len / 2 + 1, 1);
    for (size_t i = 0; i < len / 2; i++) {
        uint64_t byte;
        if (!hex_number(hex + 2 * i, 2, &byte) || byte == 0)
            return NULL;
        s[i] = (char)byte;
    }
    return TAKE_PTR(s);
}

static bool get_u64(const json_t *o, const char *key, uint64_t *ret)
{
    const json_t *j = json_object_get(o, key);
    if (!json_is_integer(j) || json_integer_value(j) < 0)
        return false;
    *ret = (uint64_t)json_integer_value(j);
    return true;
}

static bool get_hex(const json_t *o, const char *key, uint64_t *ret, size_t n)
{
    const char *s = json_string_value(json_object_get(o, key));
    if (!s || strlen(s) != 16 * n)
        return false;
    for (size_t i = 0; i < n; i++)
        if (!hex_number(s + 16 * i, 16, &ret[i]))
            return false;
    return true;
}

static bool get_bytes(const json_t *o, const char *key, char **ret)
{
    char *s = json_bytes(json_object_get(o, key));
    if (s)
        *ret = s;
    return s != NULL;
}

static bool read_columns(const json_t *columns, struct digest_sum *ret)
{
    size_t n = json_array_size(columns), i;
    const json_t *c;
    _cleanup_strv_ struct strv names = {0};
    if (!json_is_array(columns))
        return false;
    json_array_foreach(columns, i, c)
    {
        char *name = json_bytes(json_object_get(c, "name"));
        if (!name)
            return false;
        strv_add_take(&names, name);
    }
    digest_sum_init(ret, (const char *const *)names.v, n);
    json_array_foreach(columns, i, c)
    {
        if (!get_hex(c, "sum", &ret->columns[i].sum, 1) ||
            !get_u64(c, "nulls", &ret->columns[i].nulls))
            return false;
        ret->columns[i].generated = json_is_true(json_object_get(c, "generated"));
    }
    return true;
}

static bool read_digest(const json_t *j, struct digest *ret)
{
    if (!get_bytes(j, "name", &ret->name))
        return false;
    const json_t *next = json_object_get(j, "next");
    if (next) {
        ret->sequence = true;
        ret->next = json_integer_value(next);
        return json_is_integer(next);
    }
    struct digest_sum *sum = &ret->sum;
    return read_columns(json_object_get(j, "columns"), sum) && get_u64(j, "rows", &sum->rows) &&
           get_hex(j, "lo", &sum->lo, 1) && get_hex(j, "hi", &sum->hi, 1);
}

static bool read_object(const json_t *j, struct bundle_object *ret)
{
    uint64_t digest = SIZE_MAX, position;
    const json_t *parts = json_object_get(j, "parts"), *part;
    if (!get_bytes(j, "kind", &ret->kind) || !get_bytes(j, "name", &ret->name) ||
        (json_object_get(j, "columns") && !get_bytes(j, "columns", &ret->columns)) ||
        (json_object_get(j, "digest") && !get_u64(j, "digest", &digest)) || !json_is_array(parts))
        return false;
    ret->digest = digest;
    size_t i;
    json_array_foreach(parts, i, part)
    {
        if (!json_is_integer(part) || json_integer_value(part) < 0)
            return false;
        position = (uint64_t)json_integer_value(part);
        bundle_object_part(ret, position);
    }
    return true;
}

static bool read_member(const json_t *j, struct bundle_member *ret)
{
    return get_bytes(j, "name", &ret->name) && get_u64(j, "length", &ret->length) &&
           get_u64(j, "raw", &ret->raw) && get_u64(j, "rows", &ret->rows) &&
           get_hex(j, "hash", ret->hash, 2);
}

static int read_strings(const json_t *root, const char *name, struct manifest *m, struct err *err)
{
    for (size_t i = 0; i < ARRAY_LEN(strings); i++) {
        const json_t *j = json_object_get(root, strings[i].key);
        if (!j && !strings[i].needed)
            continue;
        *string_at(m, i) = json_bytes(j);
        if (!*string_at(m, i))
            return refuse(name, err, "\"%s\" is not a string", strings[i].key);
    }
    for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
        const json_t *list = json_object_get(root, lists[i].key), *j;
        size_t k;
        if (!json_is_array(list))
            return refuse(name, err, "\"%s\" is not a list", lists[i].key);
        json_array_foreach(list, k, j)
        {
            char *s = json_bytes(j);
            if (!s)
                return refuse(name, err, "\"%s\" holds something else than strings", lists[i].key);
            strv_add_take(list_at(m, i), s);
        }
    }
    return 0;
}

static int read_lists(const json_t *root, const char *name, struct manifest *m, struct err *err)
{
    const json_t *digests = json_object_get(root, "digests"),
                 *objects = json_object_get(root, "objects"),
                 *members = json_object_get(root, "members"), *j;
    size_t i;
    if (!json_is_array(digests) || !json_is_array(objects) || !json_is_array(members))
        return refuse(name, err, "it has no digests, objects or members");
    json_array_foreach(digests, i, j)
    {
        struct digest_set *set = &m->digests;
        set->v = xgrow(set->v, set->n, &set->cap, sizeof(*set->v));
        set->v[set->n++] = (struct digest){0};
        if (!read_digest(j, &set->v[i]))
            return refuse(name, err, "digest %zu", i);
    }
    json_array_foreach(objects, i, j)
    {
        if (!read_object(j, manifest_object(m, NULL, NULL)))
            return refuse(name, err, "object %zu", i);
    }
    json_array_foreach(members, i, j)
    {
        m->members = xgrow(m->members, m->nmembers, &m->members_cap, sizeof(*m->members));
        m->members[m->nmembers++] = (struct bundle_member){0};
        if (!read_member(j, &m->members[i]))
            return refuse(name, err, "member %zu", i);
    }
    return 0;
}

static int read_snapshot(const json_t *root, const char *name, struct manifest *m, struct err *err)
{
    const json_t *j = json_object_get(root, "snapshot");
    _cleanup_free_ char *text = j ? json_dumps(j, JSON_COMPACT) : NULL;
    _cleanup_err_ struct err why = {0};
    if (!text)
        return refuse(name, err, "it has no snapshot");
    if (snapshot_from_json(text, strlen(text), "snapshot", &m->snapshot, &why) < 0)
        return refuse(name, err, "%s", why.message);
    return 0;
}

static int read_root(const json_t *root, const char *name, struct manifest *m, struct err *err)
{
    uint64_t format, version, digest_version;
    if (!get_u64(root, FORMAT_KEY, &format))
        return refuse(name, err, "it has no \"" FORMAT_KEY "\"");
    if (format != MANIFEST_FORMAT) {
        err_set(err, ERR_CONFIG, "%s is a bundle of format %" PRIu64 ", this belay reads format %d",
                name, format, MANIFEST_FORMAT);
        err_at(err, name, 0, 0);
        return err_hint(err, "use the belay that wrote it, or a newer one");
    }
    if (!get_u64(root, "version", &version) || version > INT32_MAX ||
        !get_u64(root, "digest_version", &digest_version) || digest_version > INT32_MAX)
        return refuse(name, err, "it names no versions");
    m->version = (int)version;
    m->digest_version = (int)digest_version;
    return read_strings(root, name, m, err) < 0 || read_lists(root, name, m, err) < 0 ||
                   read_snapshot(root, name, m, err) < 0
               ? -1
               : manifest_check(m, name, err);
}

int manifest_from_json(const char *text, size_t len, const char *name, struct manifest *ret,
                       struct err *err)
{
    const char *line = len < HASH_LINE ? NULL : text + len - HASH_LINE;
    const char *digits = line ? line + sizeof(HASH_KEY) - 1 : NULL;
    uint64_t stored[2];
    if (!line || memcmp(line, HASH_KEY, sizeof(HASH_KEY) - 1) != 0 ||
        !hex_number(digits, 16, &stored[0]) || !hex_number(digits + 16, 16, &stored[1]) ||
        memcmp(digits + HASH_DIGITS, HASH_END, sizeof(HASH_END) - 1) != 0)
        return refuse(name, err, "it does not end with its hash");
    XXH128_hash_t hash = XXH3_128bits(text, len - HASH_LINE);
    if (hash.high64 != stored[0] || hash.low64 != stored[1])
        return refuse(name, err, "it is not the text that its hash was made of");
    json_error_t why;
    _cleanup_json_ json_t *root = json_loadb(text, len, JSON_REJECT_DUPLICATES, &why);
    if (!root)
        return refuse(name, err, "line %d: %s", why.line, why.text);
    struct manifest m = {0};
    if (read_root(root, name, &m, err) < 0) {
        manifest_release(&m);
        return -1;
    }
    *ret = m;
    return 0;
}

/* ---- what holds for every manifest ---- */

/* Folders and names of [a-z0-9_.-], none of which begins with a dot. */
static bool name_is_ours(const char *name)
{
    if (strlen(name) > TAR_NAME_MAX || strcmp(name, BUNDLE_MANIFEST) == 0 || !*name)
        return false;
    for (const char *p = name; *p; p++) {
        bool begins = p == name || p[-1] == '/';
        if (!strchr("abcdefghijklmnopqrstuvwxyz0123456789_.-/", *p) ||
            (begins && (*p == '.' || *p == '-' || *p == '/')) || (*p == '/' && !p[1]))
            return false;
    }
    return true;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static int check_members(const struct manifest *m, const char *name, struct err *err)
{
    _cleanup_free_ const char **names = xcalloc(m->nmembers, sizeof(*names));
    for (size_t i = 0; i < m->nmembers; i++) {
        const struct bundle_member *b = &m->members[i];
        if (!name_is_ours(b->name))
            return refuse(name, err, "member %zu has a name that belay does not give", i);
        if (b->length > BUNDLE_MEMBER_MAX || (!str_ends(b->name, ".zst") && b->raw != b->length))
            return refuse(name, err, "the length of %s", b->name);
        names[i] = b->name;
    }
    qsort(names, m->nmembers, sizeof(*names), by_name);
    for (size_t i = 1; i < m->nmembers; i++)
        if (strcmp(names[i - 1], names[i]) == 0)
            return refuse(name, err, "%s is there twice", names[i]);
    return 0;
}

static int check_objects(const struct manifest *m, const char *name, struct err *err)
{
    _cleanup_free_ bool *owned = xcalloc(m->nmembers, sizeof(*owned));
    size_t seen = 0;
    for (size_t i = 0; i < m->nobjects; i++) {
        const struct bundle_object *o = &m->objects[i];
        if (o->digest != SIZE_MAX && o->digest >= m->digests.n)
            return refuse(name, err, "the digest of %s %s", o->kind, o->name);
        for (size_t k = 0; k < o->nparts; k++, seen++) {
            if (o->parts[k] >= m->nmembers || owned[o->parts[k]])
                return refuse(name, err, "the parts of %s %s", o->kind, o->name);
            owned[o->parts[k]] = true;
        }
    }
    return seen == m->nmembers ? 0 : refuse(name, err, "a member belongs to no object");
}

static int manifest_check(const struct manifest *m, const char *name, struct err *err)
{
    if (m->digest_version != DIGEST_VERSION) {
        err_set(err, ERR_CONFIG, "%s has digests of version %d, this belay knows version %d", name,
                m->digest_version, DIGEST_VERSION);
        return err_at(err, name, 0, 0);
    }
    if (!str_eq(m->engine, m->snapshot->engine))
        return refuse(name, err, "a snapshot of another engine");
    return check_members(m, name, err) < 0 ? -1 : check_objects(m, name, err);
}
