/*
 * What a bundle's reader does with any bytes: libFuzzer looks for inputs that crash it, leak or read
 * where nothing is. The first byte says what the rest is:
 *
 *     'f'   a whole file
 *     'm'   a manifest without its hash
 *     'c'   a manifest without its hash, a zero byte, and the stored bytes of one member: put into a
 *           container with headers and hashes that fit, so that what lies behind them is reached
 *     'p'   a frame
 *
 * ci/fuzz builds and runs it; tests/data/fuzz_bundle is what it begins with.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <xxhash.h>

#include "backup/part.h"
#include "backup/tar_header.h"
#include "harness/base/file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int discard(void *data, const void *bytes, size_t len, struct err *err)
{
    uint64_t *left = data;
    if (len > *left)
        abort(); /* more than was claimed */
    *left -= len;
    (void)bytes;
    (void)err;
    return 0;
}

static void read_frame(const struct bundle_member *m, const void *stored, size_t len)
{
    _cleanup_part_reader_ struct part_reader *d = NULL;
    _cleanup_err_ struct err err = {0};
    uint64_t left = m->raw;
    if (part_reader_new(&d, &err) == 0 && part_read(d, m, stored, len, discard, &left, &err) < 0 &&
        err.code != ERR_CONFIG)
        abort();
}

static void read_file(const void *bytes, size_t len)
{
    _cleanup_close_ int fd = memfd_create("bundle", MFD_CLOEXEC);
    _cleanup_free_ char *path = xasprintf("/proc/self/fd/%d", fd);
    _cleanup_bundle_reader_ struct bundle_reader *r = NULL;
    _cleanup_str_ struct str stored = {0};
    _cleanup_err_ struct err err = {0};
    size_t i;
    if (fd < 0 || file_write(fd, bytes, len) < 0 || bundle_open(path, NULL, &r, &err) < 0)
        return;
    while (bundle_next(r, &i, &err) > 0 && bundle_read(r, &stored, &err) == 0)
        read_frame(&bundle_manifest(r)->members[i], str_get(&stored), stored.len);
}

static void add_hash(struct str *text)
{
    XXH128_hash_t hash = XXH3_128bits(str_get(text), text->len);
    str_addf(text, ",\n\"hash\":\"%016" PRIx64 "%016" PRIx64 "\"}\n", (uint64_t)hash.high64,
             (uint64_t)hash.low64);
}

static void read_manifest(struct str *text)
{
    _cleanup_manifest_ struct manifest m = {0};
    _cleanup_err_ struct err err = {0};
    add_hash(text);
    if (manifest_from_json(text->p, text->len, "x", &m, &err) < 0) {
        if (err.code != ERR_CONFIG || !err.message)
            abort();
        return;
    }
    /* what was read can be written */
    char *again;
    size_t len;
    if (manifest_to_json(&m, &again, &len, &err) < 0)
        abort();
    free(again);
}

static void add_member(struct str *s, const char *name, const void *bytes, size_t len)
{
    static const char zeros[TAR_BLOCK];
    unsigned char header[TAR_BLOCK];
    tar_header(header, name, len);
    str_addn(s, (char *)header, sizeof(header));
    str_addn(s, bytes, len);
    str_addn(s, zeros, tar_padding(len));
}

static void read_container(const uint8_t *data, size_t size)
{
    static const char zeros[TAR_END];
    const uint8_t *zero = memchr(data, 0, size);
    size_t len = zero ? (size_t)(zero - data) : size, rest = zero ? size - len - 1 : 0;
    _cleanup_str_ struct str manifest = {0}, file = {0};
    XXH128_hash_t hash = XXH3_128bits(data + size - rest, rest);
    char digits[33];
    snprintf(digits, sizeof(digits), "%016" PRIx64 "%016" PRIx64, (uint64_t)hash.high64,
             (uint64_t)hash.low64);
    str_addn(&manifest, (const char *)data, len);
    /* the member's own hash, where the input left room for it */
    char *room = strstr(manifest.p, "00000000000000000000000000000000");
    if (room)
        memcpy(room, digits, 32);
    add_hash(&manifest);
    add_member(&file, "data/000001/000001.zst", data + size - rest, rest);
    add_member(&file, BUNDLE_MANIFEST, manifest.p, manifest.len);
    str_addn(&file, zeros, sizeof(zeros));
    read_file(file.p, file.len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    struct bundle_member m = {.name = (char[]){"data/x.zst"}, .length = size, .raw = 100000};
    _cleanup_str_ struct str text = {0};
    switch (data[0]) {
    case 'f':
        read_file(data + 1, size - 1);
        break;
    case 'm':
        str_addn(&text, (const char *)data + 1, size - 1);
        read_manifest(&text);
        break;
    case 'c':
        read_container(data + 1, size - 1);
        break;
    case 'p':
        read_frame(&m, data + 1, size - 1);
        break;
    }
    return 0;
}
