#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "backup/bundle.h"
#include "backup/bundle_stream.h"
#include "backup/tar_header.h"

/* A member's bytes are asked for in pieces, so that one that only claims to be long costs nothing. */
enum { STEP = 16 << 20 };

struct bundle_reader {
    struct bundle_in in;
    struct manifest manifest;
    size_t next;     /* the member that bundle_next() gives */
    uint64_t unread; /* bytes of the current member with its padding that were not read yet */
};

static unsigned long long at(const struct bundle_reader *r)
{
    return (unsigned long long)r->in.offset;
}

/* Bytes that must all be 0. */
static int read_zeros(struct bundle_reader *r, size_t len, struct err *err)
{
    unsigned char block[TAR_END];
    unsigned long long from = at(r);
    if (bundle_in_read(&r->in, block, len, err) < 0)
        return -1;
    for (size_t i = 0; i < len; i++)
        if (block[i])
            return bundle_damaged(r->in.path, err, "byte %llu is not 0", from + i);
    return 0;
}

static int read_bytes(struct bundle_reader *r, uint64_t len, struct str *ret, struct err *err)
{
    str_clear(ret);
    while (len) {
        size_t n = len < STEP ? (size_t)len : STEP;
        if (ret->cap < ret->len + n + 1) {
            ret->cap = ret->len + n + 1;
            ret->p = xrealloc(ret->p, ret->cap, 1);
        }
        if (bundle_in_read(&r->in, ret->p + ret->len, n, err) < 0)
            return -1;
        ret->len += n;
        ret->p[ret->len] = '\0';
        len -= n;
    }
    return 0;
}

/* ---- the first pass: to the manifest ---- */

static int not_a_header(struct bundle_reader *r, const unsigned char block[TAR_BLOCK],
                        struct err *err)
{
    static const unsigned char zeros[TAR_BLOCK];
    unsigned long long from = at(r) - TAR_BLOCK;
    if (memcmp(block, zeros, sizeof(zeros)) == 0)
        return bundle_damaged(r->in.path, err, "it ends without a manifest");
    if (from > 0)
        return bundle_damaged(r->in.path, err, "byte %llu is not the header of a member", from);
    err_set(err, ERR_CONFIG, "%s is not a bundle", r->in.path);
    return err_at(err, r->in.path, 0, 0);
}

static int find_manifest(struct bundle_reader *r, struct str *ret, size_t *ret_members,
                         uint64_t *ret_before, struct err *err)
{
    for (size_t members = 0;; members++) {
        unsigned char block[TAR_BLOCK];
        char name[TAR_NAME_MAX + 1];
        uint64_t before = r->in.offset, size;
        if (bundle_in_read(&r->in, block, sizeof(block), err) < 0)
            return -1;
        if (!tar_header_read(block, name, &size))
            return not_a_header(r, block, err);
        if (strcmp(name, BUNDLE_MANIFEST) == 0) {
            if (size > MANIFEST_MAX)
                return bundle_damaged(r->in.path, err, "a manifest of %llu bytes",
                                      (unsigned long long)size);
            *ret_members = members;
            *ret_before = before;
            return read_bytes(r, size, ret, err) < 0 || read_zeros(r, tar_padding(size), err) < 0 ||
                           read_zeros(r, TAR_END, err) < 0
                       ? -1
                       : 0;
        }
        if (bundle_in_skip(&r->in, tar_extent(size) - TAR_BLOCK, err) < 0)
            return -1;
    }
}

static int read_manifest(struct bundle_reader *r, struct err *err)
{
    _cleanup_str_ struct str text = {0};
    size_t members;
    uint64_t before, expected = 0;
    if (find_manifest(r, &text, &members, &before, err) < 0)
        return -1;
    if (r->in.offset != r->in.size)
        return bundle_damaged(r->in.path, err, "something follows its end at byte %llu", at(r));
    if (manifest_from_json(str_get(&text), text.len, r->in.path, &r->manifest, err) < 0)
        return -1;
    for (size_t i = 0; i < r->manifest.nmembers; i++)
        expected += tar_extent(r->manifest.members[i].length);
    if (members != r->manifest.nmembers || before != expected)
        return bundle_damaged(r->in.path, err, "it holds other members than its manifest says");
    return bundle_rewind(r, err);
}

bool bundle_is(const char *path)
{
    unsigned char block[TAR_BLOCK];
    char name[TAR_NAME_MAX + 1];
    uint64_t size;
    _cleanup_fclose_ FILE *f = fopen(path, "re");
    return f && fread(block, 1, sizeof(block), f) == sizeof(block) &&
           (memcmp(block, BUNDLE_MAGIC, BUNDLE_MAGIC_SIZE) == 0 ||
            tar_header_read(block, name, &size));
}

int bundle_open(const char *path, const char *key_file, struct bundle_reader **ret, struct err *err)
{
    _cleanup_bundle_reader_ struct bundle_reader *r = xcalloc(1, sizeof(*r));
    r->in.fd = -1;
    if (bundle_in_open(&r->in, path, key_file, err) < 0 || read_manifest(r, err) < 0)
        return -1;
    *ret = TAKE_PTR(r);
    return 0;
}

/* ---- the second: the members ---- */

int bundle_rewind(struct bundle_reader *r, struct err *err)
{
    r->next = 0;
    r->unread = 0;
    return bundle_in_rewind(&r->in, err);
}

int bundle_next(struct bundle_reader *r, size_t *ret, struct err *err)
{
    if (bundle_in_skip(&r->in, r->unread, err) < 0)
        return -1;
    r->unread = 0;
    if (r->next == r->manifest.nmembers)
        return 0; /* what follows was read, and found to be the end, by bundle_open() */
    const struct bundle_member *m = &r->manifest.members[r->next];
    unsigned char block[TAR_BLOCK];
    char name[TAR_NAME_MAX + 1];
    uint64_t size;
    if (bundle_in_read(&r->in, block, sizeof(block), err) < 0)
        return -1;
    if (!tar_header_read(block, name, &size) || strcmp(name, m->name) != 0 || size != m->length)
        return bundle_damaged(r->in.path, err, "the header of %s is not the one it must have",
                              m->name);
    r->unread = m->length + tar_padding(m->length);
    *ret = r->next++;
    return 1;
}

int bundle_read(struct bundle_reader *r, struct str *ret, struct err *err)
{
    const struct bundle_member *m = &r->manifest.members[r->next - 1];
    if (read_bytes(r, m->length, ret, err) < 0 || read_zeros(r, tar_padding(m->length), err) < 0)
        return -1;
    r->unread = 0;
    XXH128_hash_t hash = XXH3_128bits(str_get(ret), ret->len);
    if (hash.high64 != m->hash[0] || hash.low64 != m->hash[1])
        return bundle_damaged(r->in.path, err, "the bytes of %s are not those that were stored",
                              m->name);
    return 0;
}

/* ---- what is there ---- */

const struct manifest *bundle_manifest(const struct bundle_reader *r)
{
    return &r->manifest;
}

uint64_t bundle_size(const struct bundle_reader *r)
{
    return r->in.file_size;
}

void bundle_reader_free(struct bundle_reader *r)
{
    if (!r)
        return;
    bundle_in_release(&r->in);
    manifest_release(&r->manifest);
    free(r);
}
