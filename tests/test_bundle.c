/* The container: what is written is read again, and whatever was changed in between is refused. */
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <xxhash.h>
#include <zstd.h>

#include "backup/bundle_stream.h"
#include "backup/tar_header.h"
#include "harness/base/file.h"
#include "tests/bundle_fixture.h"

/* One bundle in the clear and one encrypted: every test of damage runs on both. */
struct sample {
    char *dir, *path, *key;
};

static void sample_open(struct sample *s, bool encrypted, size_t rows, size_t cut)
{
    _cleanup_err_ struct err err = {0};
    s->dir = dir_new();
    s->path = path_join(s->dir, "app.belay");
    s->key = NULL;
    if (encrypted) {
        s->key = path_join(s->dir, "key");
        key_write(s->key, 'k');
    }
    ASSERT_OK(sample_write(s->path, s->key, rows, cut, &err), &err);
}

static void sample_close(struct sample *s)
{
    free(s->path);
    free(s->key);
    dir_drop(s->dir);
}

START_TEST(what_was_written_is_read)
{
    struct sample s;
    sample_open(&s, _i, 1000, 100);
    _cleanup_err_ struct err err = {0};
    _cleanup_str_ struct str rows = {0}, expected = {0};
    ASSERT_OK(sample_read(s.path, s.key, &rows, &err), &err);
    for (size_t i = 0; i < 1000; i++) {
        _cleanup_free_ char *row = sample_row(i);
        str_add(&expected, row);
    }
    ck_assert_str_eq(str_get(&rows), str_get(&expected));
    _cleanup_bundle_reader_ struct bundle_reader *r = NULL;
    ASSERT_OK(bundle_open(s.path, s.key, &r, &err), &err);
    const struct manifest *m = bundle_manifest(r);
    ck_assert_uint_eq(m->nmembers, 11);
    ck_assert_str_eq(m->members[10].name, "data/000001/000010.zst");
    ck_assert_uint_eq(m->members[10].rows, 100);
    ck_assert_str_eq(m->database, "app");
    ck_assert_str_eq(m->revisions.v[0], "4f2a");
    ck_assert_int_eq(m->digests.v[1].next, -7);
    ck_assert_uint_eq(m->digests.v[0].sum.rows, 1000);
    ck_assert_uint_ne(m->digests.v[0].sum.lo, 0);
    ck_assert_ptr_null(m->host);
    const struct bundle_object *o = manifest_find(m, "table", "public.posts");
    ck_assert_uint_eq(o->nparts, 10);
    ck_assert_str_eq(o->columns, "id, title");
    struct stat st;
    ck_assert_int_eq(stat(s.path, &st), 0);
    ck_assert_uint_eq(st.st_mode & 07777, 0600);
    ck_assert_uint_eq(dir_count(s.dir), _i ? 2 : 1);
    sample_close(&s);
}
END_TEST

/* ---- damage ---- */

static void load(const struct sample *s, struct str *ret)
{
    _cleanup_err_ struct err err = {0};
    char *data;
    size_t len;
    ASSERT_OK(file_read(s->path, &data, &len, &err), &err);
    *ret = (struct str){.p = data, .len = len, .cap = len + 1};
}

static void store(const struct sample *s, const struct str *bytes)
{
    /* thousands of times: without waiting for the disk */
    _cleanup_close_ int fd = open(s->path, O_WRONLY | O_TRUNC | O_CLOEXEC);
    ck_assert(fd >= 0 && file_write(fd, str_get(bytes), bytes->len) == 0);
}

/* The bundle must be refused, as damaged, with the words. */
static void refused(const struct sample *s, const char *words, const char *what)
{
    _cleanup_err_ struct err err = {0};
    _cleanup_str_ struct str rows = {0};
    ck_assert_msg(sample_read(s->path, s->key, &rows, &err) < 0, "%s was not noticed", what);
    ck_assert_msg(err.code == ERR_CONFIG, "%s: code %d: %s", what, (int)err.code, err.message);
    ck_assert_msg(strstr(err.message, words), "%s: \"%s\" lacks \"%s\"", what, err.message, words);
}

static void insert(struct str *s, size_t at, const void *bytes, size_t len)
{
    _cleanup_free_ char *tail = xmalloc(s->len - at);
    size_t n = s->len - at;
    memcpy(tail, s->p + at, n);
    s->len = at;
    str_addn(s, bytes, len);
    str_addn(s, tail, n);
}

static void cut(struct str *s, size_t at, size_t len)
{
    memmove(s->p + at, s->p + at + len, s->len - at - len);
    s->len -= len;
}

/* Where the header of member n begins; of the manifest when there are no more. */
static size_t header_at(const struct str *s, size_t n)
{
    size_t at = 0;
    char name[TAR_NAME_MAX + 1];
    uint64_t size;
    for (;; at += tar_extent(size)) {
        ck_assert(tar_header_read((unsigned char *)s->p + at, name, &size));
        if (n-- == 0 || strcmp(name, BUNDLE_MANIFEST) == 0)
            return at;
    }
}

static size_t extent_at(const struct str *s, size_t at, char ret_name[TAR_NAME_MAX + 1])
{
    uint64_t size;
    ck_assert(tar_header_read((unsigned char *)s->p + at, ret_name, &size));
    return tar_extent(size);
}

/* Another text in the manifest, with hash, length and padding that fit again. */
static void forge(struct str *s, const char *from, const char *to)
{
    size_t at = header_at(s, SIZE_MAX - 1);
    uint64_t size;
    char name[TAR_NAME_MAX + 1];
    ck_assert(tar_header_read((unsigned char *)s->p + at, name, &size));
    _cleanup_str_ struct str text = {0};
    const char *body = s->p + at + TAR_BLOCK;
    const char *hit = memmem(body, size, from, strlen(from));
    ck_assert_msg(hit != NULL, "the manifest has no %s", from);
    str_addn(&text, body, (size_t)(hit - body));
    str_add(&text, to);
    str_addn(&text, hit + strlen(from), size - (size_t)(hit - body) - strlen(from));
    char *key = strstr(text.p, ",\n\"hash\":\"");
    ck_assert_ptr_nonnull(key);
    while (strstr(key + 1, ",\n\"hash\":\""))
        key = strstr(key + 1, ",\n\"hash\":\"");
    text.len = (size_t)(key - text.p);
    XXH128_hash_t hash = XXH3_128bits(text.p, text.len);
    str_addf(&text, ",\n\"hash\":\"%016" PRIx64 "%016" PRIx64 "\"}\n", (uint64_t)hash.high64,
             (uint64_t)hash.low64);
    static const char zeros[TAR_END + TAR_BLOCK];
    unsigned char header[TAR_BLOCK];
    tar_header(header, BUNDLE_MANIFEST, text.len);
    s->len = at;
    str_addn(s, (char *)header, sizeof(header));
    str_addn(s, text.p, text.len);
    str_addn(s, zeros, tar_padding(text.len) + TAR_END);
}

/* A header that is whole, of another name or size. */
static void rewrite_header(struct str *s, size_t at, const char *name, uint64_t size)
{
    tar_header((unsigned char *)s->p + at, name, size);
}

static void mutilate_empty(struct str *s)
{
    s->len = 0;
}

static void mutilate_text(struct str *s)
{
    str_clear(s);
    for (int i = 0; i < 100; i++)
        str_add(s, "select * from posts;\n");
}

static void mutilate_garbage_after(struct str *s)
{
    str_add(s, "x");
}

static void mutilate_zeros_after(struct str *s)
{
    static const char zeros[TAR_BLOCK];
    str_addn(s, zeros, sizeof(zeros));
}

static void mutilate_no_manifest(struct str *s)
{
    static const char zeros[TAR_END];
    s->len = header_at(s, SIZE_MAX - 1);
    str_addn(s, zeros, sizeof(zeros));
}

static void mutilate_repeated(struct str *s)
{
    char name[TAR_NAME_MAX + 1];
    size_t at = header_at(s, 1), len = extent_at(s, at, name);
    _cleanup_free_ char *copy = xmalloc(len);
    memcpy(copy, s->p + at, len);
    insert(s, at, copy, len);
}

static void mutilate_missing(struct str *s)
{
    char name[TAR_NAME_MAX + 1];
    size_t at = header_at(s, 1);
    cut(s, at, extent_at(s, at, name));
}

static void mutilate_order(struct str *s)
{
    char name[TAR_NAME_MAX + 1];
    size_t at = header_at(s, 1), len = extent_at(s, at, name);
    _cleanup_free_ char *copy = xmalloc(len);
    memcpy(copy, s->p + at, len);
    cut(s, at, len);
    insert(s, header_at(s, 2), copy, len);
}

static void mutilate_parent_path(struct str *s)
{
    rewrite_header(s, 0, "../../etc/passwd", strlen("create table posts (id int, title text)"));
}

static void mutilate_long_member(struct str *s)
{
    rewrite_header(s, 0, "schema/pre-data.sql", TAR_SIZE_MAX);
}

static void mutilate_longer_member(struct str *s)
{
    rewrite_header(s, 0, "schema/pre-data.sql", 40);
}

static void mutilate_long_manifest(struct str *s)
{
    rewrite_header(s, header_at(s, SIZE_MAX - 1), BUNDLE_MANIFEST, TAR_SIZE_MAX);
}

static void mutilate_owner(struct str *s)
{
    s->p[108 + 6] = '1'; /* the last digit of the uid, and of the checksum */
    s->p[148 + 5]++;
}

static void mutilate_symlink(struct str *s)
{
    s->p[156] = '2'; /* the type, and the last digit of the checksum */
    s->p[148 + 5] = (char)((s->p[148 + 5] - '0' + 2) % 8 + '0');
}

static void mutilate_padding(struct str *s)
{
    s->p[TAR_BLOCK + strlen("create table posts (id int, title text)")] = ' ';
}

static void mutilate_manifest_number(struct str *s)
{
    char *rows = memmem(s->p, s->len, "\"version\":150018", 16);
    rows[15] = '9';
}

static void mutilate_frame(struct str *s)
{
    s->p[header_at(s, 1) + TAR_BLOCK + 20] ^= 1;
}

#define FORGE(function, from, to)                                                                  \
    static void function(struct str *s)                                                            \
    {                                                                                              \
        forge(s, from, to);                                                                        \
    }                                                                                              \
    struct function##_semicolon

FORGE(forge_format, "{\"belay bundle\":1", "{\"belay bundle\":2");
FORGE(forge_no_format, "{\"belay bundle\":1", "{\"some bundle\":1");
FORGE(forge_digest_version, "\"digest_version\":1", "\"digest_version\":7");
FORGE(forge_parent, "\"name\":\"schema/pre-data.sql\"", "\"name\":\"../pre-data.sql\"");
FORGE(forge_absolute, "\"name\":\"schema/pre-data.sql\"", "\"name\":\"/schema/pre-data.sql\"");
FORGE(forge_twice, "\"name\":\"data/000001/000002.zst\"", "\"name\":\"data/000001/000001.zst\"");
FORGE(forge_manifest_name, "\"name\":\"schema/pre-data.sql\"", "\"name\":\"manifest.json\"");
FORGE(forge_negative, "\"length\":39", "\"length\":-9");
FORGE(forge_huge, "\"length\":39,\"raw\":39", "\"length\":9223372036854775807,\"raw\":39");
FORGE(forge_large, "\"length\":39,\"raw\":39", "\"length\":1258291201,\"raw\":1258291201");
FORGE(forge_other_length, "\"length\":39,\"raw\":39", "\"length\":551,\"raw\":551");
FORGE(forge_two_owners, "\"parts\":[0]", "\"parts\":[0,1]");
FORGE(forge_no_owner, "\"parts\":[0]", "\"parts\":[]");
FORGE(forge_far_part, "\"parts\":[0]", "\"parts\":[99999999999]");
FORGE(forge_digest, "\"digest\":0", "\"digest\":2");
FORGE(forge_engine, "\"engine\":\"postgres\"", "\"engine\":\"sqlite\"");
FORGE(forge_key_twice, "{\"belay bundle\":1", "{\"belay\":\"x\",\"belay bundle\":1");
FORGE(forge_no_json, "{\"belay bundle\":1", "[\"belay bundle\":1");
FORGE(forge_bytes, "\"database\":\"app\"", "\"database\":{\"bytes\":\"6g\"}");
FORGE(forge_raw_less, "\"raw\":1085", "\"raw\":1084");
FORGE(forge_raw_more, "\"raw\":1085", "\"raw\":1086");
FORGE(forge_raw_end, "\"raw\":1085", "\"raw\":9223372036854775807");
FORGE(forge_hash, "\"hash\":\"", "\"hash\":\"0123456789abcdef0123456789abcdef\",\"was\":\"");

static const struct {
    const char *name;
    void (*mutilate)(struct str *s);
    const char *words;
} damage[] = {
    {"an empty file", mutilate_empty, "it ends in the middle"},
    {"a text file", mutilate_text, "is not a bundle"},
    {"a byte after the end", mutilate_garbage_after, "something follows its end"},
    {"zeros after the end", mutilate_zeros_after, "something follows its end"},
    {"a bundle without manifest", mutilate_no_manifest, "it ends without a manifest"},
    {"a member that is there twice", mutilate_repeated, "other members than its manifest says"},
    {"a member that is missing", mutilate_missing, "other members than its manifest says"},
    {"members in another order", mutilate_order, "the header of data/000001/000001.zst"},
    {"a member above the folder", mutilate_parent_path, "the header of schema/pre-data.sql"},
    {"a member longer than the file", mutilate_long_member, "it ends in the middle"},
    {"a member one byte longer", mutilate_longer_member, "the header of schema/pre-data.sql"},
    {"a manifest longer than the file", mutilate_long_manifest, "a manifest of 8589934591 bytes"},
    {"another owner in a header", mutilate_owner, "is not a bundle"},
    {"a symbolic link", mutilate_symlink, "is not a bundle"},
    {"padding that is not zero", mutilate_padding, "is not 0"},
    {"another number in the manifest", mutilate_manifest_number, "its hash was made of"},
    {"a bit of a frame", mutilate_frame, "are not those that were stored"},
    {"an unknown format", forge_format, "a bundle of format 2, this belay reads format 1"},
    {"no format", forge_no_format, "it has no \"belay bundle\""},
    {"digests of an unknown version", forge_digest_version, "digests of version 7"},
    {"a name above the folder", forge_parent, "a name that belay does not give"},
    {"an absolute name", forge_absolute, "a name that belay does not give"},
    {"a name twice", forge_twice, "data/000001/000001.zst is there twice"},
    {"a member named like the manifest", forge_manifest_name, "a name that belay does not give"},
    {"a negative length", forge_negative, "member 0"},
    {"a huge length", forge_huge, "the length of schema/pre-data.sql"},
    {"more than any row", forge_large, "the length of schema/pre-data.sql"},
    {"another length", forge_other_length, "other members than its manifest says"},
    {"a part of two objects", forge_two_owners, "the parts of table public.posts"},
    {"a member of no object", forge_no_owner, "a member belongs to no object"},
    {"a part that is not there", forge_far_part, "the parts of schema pre-data"},
    {"a digest that is not there", forge_digest, "the digest of table public.posts"},
    {"a snapshot of another engine", forge_engine, "a snapshot of another engine"},
    {"a key twice", forge_key_twice, "duplicate object key"},
    {"no JSON", forge_no_json, "line 1"},
    {"bytes that are no hexadecimal", forge_bytes, "\"database\" is not a string"},
    {"more bytes than claimed", forge_raw_less, "it holds more than the manifest says"},
    {"fewer bytes than claimed", forge_raw_more, "it holds less than the manifest says"},
    {"the largest claim", forge_raw_end, "it holds less than the manifest says"},
    {"another hash of a member", forge_hash, "are not those that were stored"},
};

START_TEST(damage_is_refused)
{
    struct sample s;
    sample_open(&s, false, 90, 30);
    _cleanup_str_ struct str bytes = {0};
    load(&s, &bytes);
    damage[_i].mutilate(&bytes);
    store(&s, &bytes);
    refused(&s, damage[_i].words, damage[_i].name);
    sample_close(&s);
}
END_TEST

/* Every region of the file: headers, names, frames, checksums, padding, manifest, end. */
START_TEST(a_flipped_bit_anywhere_is_refused)
{
    struct sample s;
    sample_open(&s, _i, 90, 30);
    _cleanup_str_ struct str bytes = {0};
    load(&s, &bytes);
    unsigned seed = 4711;
    for (size_t at = 0; at < bytes.len; at += 1 + (size_t)rand_r(&seed) % 5) {
        char bit = (char)(1 << rand_r(&seed) % 8);
        _cleanup_err_ struct err err = {0};
        _cleanup_str_ struct str rows = {0};
        bytes.p[at] ^= bit;
        store(&s, &bytes);
        bytes.p[at] ^= bit;
        int rc = sample_read(s.path, s.key, &rows, &err);
        ck_assert_msg(rc < 0, "byte %zu of %zu, bit %02x", at, bytes.len, (unsigned char)bit);
        /* the magic alone tells an encrypted bundle from others */
        ck_assert_msg(err.code == ERR_CONFIG || (s.key && at < BUNDLE_MAGIC_SIZE), "byte %zu: %s",
                      at, err.message);
    }
    sample_close(&s);
}
END_TEST

START_TEST(a_bundle_that_was_cut_off_is_refused)
{
    struct sample s;
    sample_open(&s, _i, 90, 30);
    _cleanup_str_ struct str bytes = {0};
    load(&s, &bytes);
    size_t whole = bytes.len;
    /* every block, a byte before and after it; frames begin and end there */
    for (size_t block = 0; block < whole; block += TAR_BLOCK) {
        for (int off = -1; off <= 1; off++) {
            if ((block == 0 && off < 0) || (s.key && block == 0))
                continue;
            bytes.len = block + (size_t)off;
            store(&s, &bytes);
            refused(&s, "", "a cut");
        }
    }
    sample_close(&s);
}
END_TEST

static int count(void *data, const void *bytes, size_t len, struct err *err)
{
    (void)bytes;
    (void)err;
    *(size_t *)data += len;
    return 0;
}

START_TEST(a_decompression_bomb_stops_at_what_the_manifest_says)
{
    _cleanup_err_ struct err err = {0};
    _cleanup_part_reader_ struct part_reader *d = NULL;
    size_t size = 64 << 20, room = ZSTD_compressBound(size), seen = 0;
    _cleanup_free_ char *zeros = xcalloc(size, 1), *bomb = xmalloc(room);
    size_t len = ZSTD_compress(bomb, room, zeros, size, 3);
    ck_assert_uint_lt(len, 10000);
    struct bundle_member m = {.name = (char[]){"x.zst"}, .length = len, .raw = 300000};
    ASSERT_OK(part_reader_new(&d, &err), &err);
    ck_assert_int_lt(part_read(d, &m, bomb, len, count, &seen, &err), 0);
    ck_assert_uint_le(seen, m.raw);
    ck_assert_int_eq(err.code, ERR_CONFIG);
}
END_TEST

START_TEST(a_window_larger_than_belay_writes_is_refused)
{
    _cleanup_err_ struct err err = {0};
    _cleanup_part_reader_ struct part_reader *d = NULL;
    size_t size = 20 << 20, room = ZSTD_compressBound(size), seen = 0;
    _cleanup_free_ char *zeros = xcalloc(size, 1), *frame = xmalloc(room);
    ZSTD_CCtx *z = ZSTD_createCCtx();
    ZSTD_CCtx_setParameter(z, ZSTD_c_windowLog, 25);
    ZSTD_inBuffer in = {zeros, size, 0};
    ZSTD_outBuffer out = {frame, room, 0};
    while (ZSTD_compressStream2(z, &out, &in, ZSTD_e_continue), in.pos < in.size)
        ;
    ck_assert_uint_eq(ZSTD_compressStream2(z, &out, &in, ZSTD_e_end), 0);
    ZSTD_freeCCtx(z);
    struct bundle_member m = {.name = (char[]){"x.zst"}, .length = out.pos, .raw = size};
    ASSERT_OK(part_reader_new(&d, &err), &err);
    ck_assert_int_lt(part_read(d, &m, frame, out.pos, count, &seen, &err), 0);
    ck_assert_uint_eq(seen, 0);
}
END_TEST

/* ---- writing ---- */

START_TEST(parts_are_cut_between_rows)
{
    _cleanup_err_ struct err err = {0};
    char *dir = dir_new();
    _cleanup_free_ char *path = path_join(dir, "x.belay"), *row = xmalloc(200000);
    _cleanup_(part_list_release) struct part_list parts = {0};
    struct bundle_writer *w;
    struct part_writer *p;
    ASSERT_OK(bundle_create(path, NULL, &w, &err), &err);
    ASSERT_OK(part_writer_new(w, 1, &p, &err), &err);
    part_begin(p, 3, 1);
    unsigned seed = 1;
    for (int i = 0; i < 60; i++) { /* 12 MB that hardly compress */
        for (size_t k = 0; k < 200000; k++)
            row[k] = (char)(rand_r(&seed) >> 7);
        ASSERT_OK(part_row(p, row, 200000, &err), &err);
    }
    ASSERT_OK(part_end(p, &parts, &err), &err);
    ck_assert_uint_eq(parts.n, 3);
    part_writer_free(p);
    struct manifest m;
    sample_manifest(&m);
    struct bundle_object *o = manifest_object(&m, "table", "public.posts");
    for (size_t i = 0; i < parts.n; i++)
        bundle_object_part(o, parts.v[i]);
    ASSERT_OK(bundle_finish(w, &m, &err), &err);
    uint64_t rows = 0;
    for (size_t i = 0; i < m.nmembers; i++) {
        rows += m.members[i].rows;
        ck_assert_uint_eq(m.members[i].raw, m.members[i].rows * 200000);
        ck_assert_uint_le(m.members[i].length, BUNDLE_PART_MAX);
    }
    ck_assert_uint_eq(rows, 60);
    bundle_writer_free(w);
    manifest_release(&m);
    dir_drop(dir);
}
END_TEST

START_TEST(an_unfinished_bundle_leaves_nothing)
{
    _cleanup_err_ struct err err = {0};
    char *dir = dir_new();
    _cleanup_free_ char *path = path_join(dir, "x.belay");
    struct bundle_writer *w;
    size_t position;
    ASSERT_OK(bundle_create(path, NULL, &w, &err), &err);
    ASSERT_OK(bundle_add(w, "schema/x", "x", 1, 1, 0, &position, &err), &err);
    ck_assert_uint_eq(dir_count(dir), 1);
    ck_assert(!file_exists(path));
    bundle_writer_free(w);
    ck_assert_uint_eq(dir_count(dir), 0);
    dir_drop(dir);
}
END_TEST

START_TEST(what_a_dead_writer_left_is_removed_and_a_living_one_is_left_alone)
{
    _cleanup_err_ struct err err = {0};
    char *dir = dir_new();
    _cleanup_free_ char *dead = path_join(dir, ".belay-partial-dEaD00"),
                        *other = path_join(dir, ".belay-partial-of-somebody"),
                        *path = path_join(dir, "x.belay"), *second = path_join(dir, "y.belay");
    ASSERT_OK(file_replace(dead, "x", 1, 0600, &err), &err);
    ASSERT_OK(file_replace(other, "x", 1, 0600, &err), &err);
    struct bundle_writer *w, *v;
    ASSERT_OK(bundle_create(path, NULL, &w, &err), &err);
    ck_assert(!file_exists(dead));
    ck_assert(file_exists(other));
    ASSERT_OK(bundle_create(second, NULL, &v, &err), &err);
    ck_assert_uint_eq(dir_count(dir), 3); /* both writers' files, and somebody's */
    bundle_writer_free(v);
    struct manifest m;
    sample_manifest(&m);
    ASSERT_OK(bundle_finish(w, &m, &err), &err);
    ck_assert(file_exists(path));
    bundle_writer_free(w);
    manifest_release(&m);
    dir_drop(dir);
}
END_TEST

START_TEST(a_file_that_appeared_meanwhile_is_not_replaced)
{
    _cleanup_err_ struct err err = {0};
    char *dir = dir_new();
    _cleanup_free_ char *path = path_join(dir, "x.belay"), *text = NULL;
    struct bundle_writer *w;
    struct manifest m;
    ASSERT_OK(bundle_create(path, NULL, &w, &err), &err);
    ASSERT_OK(file_replace(path, "mine", 4, 0600, &err), &err);
    sample_manifest(&m);
    ck_assert_int_lt(bundle_finish(w, &m, &err), 0);
    bundle_writer_free(w);
    manifest_release(&m);
    ASSERT_OK(file_read(path, &text, NULL, &err), &err);
    ck_assert_str_eq(text, "mine");
    ck_assert_uint_eq(dir_count(dir), 1);
    dir_drop(dir);
}
END_TEST

START_TEST(names_that_are_not_utf8_survive)
{
    _cleanup_err_ struct err err = {0};
    struct manifest m, back;
    char *text;
    size_t len;
    sample_manifest(&m);
    free(m.database);
    m.database = xstrdup("caf\xe9 \"x\"\n");
    strv_add(&m.roles, "\xff\xfe");
    m.belay = xstrdup("0");
    m.created = xstrdup("now");
    m.digest_version = DIGEST_VERSION;
    ASSERT_OK(manifest_to_json(&m, &text, &len, &err), &err);
    ASSERT_OK(manifest_from_json(text, len, "x", &back, &err), &err);
    ck_assert_str_eq(back.database, m.database);
    ck_assert_str_eq(back.roles.v[0], "\xff\xfe");
    free(text);
    manifest_release(&m);
    manifest_release(&back);
}
END_TEST

/* ---- keys ---- */

static const struct {
    const char *name, *content;
    size_t len;
    unsigned mode;
    const char *words; /* NULL: it is taken */
} keys[] = {
    {"32 bytes", "kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk", 32, 0600, NULL},
    {"64 digits", "6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b", 64, 0400,
     NULL},
    {"64 digits and a line's end",
     "6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b\n", 65, 0600, NULL},
    {"31 bytes", "kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk", 31, 0600, "neither 32 bytes nor"},
    {"33 bytes", "kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk", 33, 0600, "neither 32 bytes nor"},
    {"64 other characters", "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", 64,
     0600, "neither 32 bytes nor"},
    {"nothing", "", 0, 0600, "neither 32 bytes nor"},
    {"for all to read", "kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk", 32, 0644, "can be used by others"},
};

START_TEST(a_key_file_is_checked)
{
    struct sample s;
    sample_open(&s, true, 3, 3);
    _cleanup_err_ struct err err = {0};
    _cleanup_str_ struct str rows = {0};
    ASSERT_OK(file_replace(s.key, keys[_i].content, keys[_i].len, keys[_i].mode, &err), &err);
    int rc = sample_read(s.path, s.key, &rows, &err);
    ck_assert_msg((rc < 0) == (keys[_i].words != NULL), "%s: %s", keys[_i].name, err.message);
    if (rc < 0) {
        ck_assert_msg(strstr(err.message, keys[_i].words), "%s: %s", keys[_i].name, err.message);
        ck_assert_str_eq(err.file, s.key);
    }
    sample_close(&s);
}
END_TEST

START_TEST(another_key_decrypts_nothing)
{
    struct sample s;
    sample_open(&s, true, 3, 3);
    key_write(s.key, 'x');
    refused(&s, "cannot be decrypted", "another key");
    sample_close(&s);
}
END_TEST

START_TEST(a_key_is_needed_where_it_is_needed_only)
{
    for (int encrypted = 0; encrypted < 2; encrypted++) {
        struct sample s;
        sample_open(&s, encrypted, 3, 3);
        _cleanup_err_ struct err err = {0};
        _cleanup_str_ struct str rows = {0};
        _cleanup_free_ char *key = path_join(s.dir, "other");
        key_write(key, 'k');
        ck_assert_int_lt(sample_read(s.path, encrypted ? NULL : key, &rows, &err), 0);
        ck_assert_int_eq(err.code, ERR_USAGE);
        sample_close(&s);
    }
}
END_TEST

START_TEST(nothing_of_the_rows_shows_in_an_encrypted_bundle)
{
    struct sample s;
    sample_open(&s, true, 3, 3);
    _cleanup_str_ struct str bytes = {0};
    load(&s, &bytes);
    ck_assert_ptr_null(memmem(bytes.p, bytes.len, "manifest", 8));
    ck_assert_ptr_null(memmem(bytes.p, bytes.len, "ustar", 5));
    sample_close(&s);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("bundle");
    SUITE_ADD_LOOP(s, what_was_written_is_read, 2);
    SUITE_ADD_LOOP(s, damage_is_refused, ARRAY_LEN(damage));
    SUITE_ADD_LOOP(s, a_flipped_bit_anywhere_is_refused, 2);
    SUITE_ADD_LOOP(s, a_bundle_that_was_cut_off_is_refused, 2);
    SUITE_ADD(s, a_decompression_bomb_stops_at_what_the_manifest_says);
    SUITE_ADD(s, a_window_larger_than_belay_writes_is_refused);
    SUITE_ADD(s, parts_are_cut_between_rows);
    SUITE_ADD(s, an_unfinished_bundle_leaves_nothing);
    SUITE_ADD(s, what_a_dead_writer_left_is_removed_and_a_living_one_is_left_alone);
    SUITE_ADD(s, a_file_that_appeared_meanwhile_is_not_replaced);
    SUITE_ADD(s, names_that_are_not_utf8_survive);
    SUITE_ADD_LOOP(s, a_key_file_is_checked, ARRAY_LEN(keys));
    SUITE_ADD(s, another_key_decrypts_nothing);
    SUITE_ADD(s, a_key_is_needed_where_it_is_needed_only);
    SUITE_ADD(s, nothing_of_the_rows_shows_in_an_encrypted_bundle);
    return suite_run(s);
}
