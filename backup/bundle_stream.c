#include "backup/bundle_stream.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "harness/base/cleanup.h"
#include "harness/base/file.h"
#include "harness/base/str.h"

enum {
    KEY_SIZE = crypto_secretstream_xchacha20poly1305_KEYBYTES,
    HEADER_SIZE = crypto_secretstream_xchacha20poly1305_HEADERBYTES,
    OVERHEAD = crypto_secretstream_xchacha20poly1305_ABYTES,
    PREAMBLE = BUNDLE_MAGIC_SIZE + HEADER_SIZE,
    SEALED = BUNDLE_MESSAGE + OVERHEAD,
};
_Static_assert(sizeof(BUNDLE_MAGIC) - 1 == BUNDLE_MAGIC_SIZE, "the magic's length");

struct bundle_crypt {
    unsigned char key[KEY_SIZE];
    crypto_secretstream_xchacha20poly1305_state state;
    size_t fill;  /* plain bytes in the buffer */
    size_t taken; /* reading: how many of them were handed out */
    unsigned char plain[BUNDLE_MESSAGE];
    unsigned char sealed[SEALED];
};

int bundle_damaged(const char *path, struct err *err, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    _cleanup_free_ char *text = xvasprintf(fmt, ap);
    va_end(ap);
    err_set(err, ERR_CONFIG, "%s is damaged: %s", path, text);
    return err_at(err, path, 0, 0);
}

/* ---- keys ---- */

static int bad_key(const char *path, const char *what, const char *hint, struct err *err)
{
    err_set(err, ERR_CONFIG, "key file %s %s", path, what);
    err_at(err, path, 0, 0);
    return err_hint(err, "%s", hint);
}

static int key_read(const char *path, unsigned char ret[KEY_SIZE], struct err *err)
{
    static const char how[] = "make one: (umask 077 && head -c 32 /dev/urandom > FILE)";
    _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0) {
        err_set(err, ERR_CONFIG, "cannot read key file %s: %s", path, strerror(errno));
        return err_at(err, path, 0, 0);
    }
    if (!S_ISREG(st.st_mode))
        return bad_key(path, "is not a regular file", how, err);
    if (st.st_mode & (S_IRWXG | S_IRWXO))
        return bad_key(path, "can be used by others", "chmod 600 it", err);
    unsigned char text[2 * KEY_SIZE + 2]; /* hexadecimal, a line's end, and one too many */
    ssize_t n;
    do
        n = read(fd, text, sizeof(text));
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return err_errno(err, "cannot read key file %s", path);
    int rc = -1;
    size_t len = (size_t)n, binary = 0;
    if (len == KEY_SIZE) {
        memcpy(ret, text, KEY_SIZE);
        rc = 0;
    } else {
        if (len == 2 * KEY_SIZE + 1 && text[len - 1] == '\n')
            len--;
        if (len == 2 * KEY_SIZE &&
            sodium_hex2bin(ret, KEY_SIZE, (char *)text, len, NULL, &binary, NULL) == 0 &&
            binary == KEY_SIZE)
            rc = 0;
    }
    sodium_memzero(text, sizeof(text));
    return rc == 0 ? 0
                   : bad_key(path, "holds neither 32 bytes nor 64 hexadecimal digits", how, err);
}

static int crypt_new(const char *key_file, struct bundle_crypt **ret, struct err *err)
{
    if (sodium_init() < 0)
        return err_set(err, ERR_ENV, "libsodium cannot be used on this machine");
    struct bundle_crypt *c = xcalloc(1, sizeof(*c));
    if (key_read(key_file, c->key, err) < 0) {
        free(c);
        return -1;
    }
    *ret = c;
    return 0;
}

static void crypt_free(struct bundle_crypt *c)
{
    if (c)
        sodium_memzero(c, sizeof(*c));
    free(c);
}

int bundle_key_check(const char *key_file, struct err *err)
{
    unsigned char key[KEY_SIZE];
    int rc = key_read(key_file, key, err);
    sodium_memzero(key, sizeof(key));
    return rc;
}

/* ---- writing ---- */

static int put(struct bundle_out *o, const void *data, size_t len, struct err *err)
{
    return file_write(o->fd, data, len) < 0 ? err_errno(err, "cannot write %s", o->path) : 0;
}

int bundle_out_init(struct bundle_out *ret, int fd, const char *path, const char *key_file,
                    struct err *err)
{
    struct bundle_out o = {.fd = fd, .path = path};
    if (key_file) {
        unsigned char preamble[PREAMBLE];
        if (crypt_new(key_file, &o.crypt, err) < 0)
            return -1;
        memcpy(preamble, BUNDLE_MAGIC, BUNDLE_MAGIC_SIZE);
        crypto_secretstream_xchacha20poly1305_init_push(&o.crypt->state,
                                                        preamble + BUNDLE_MAGIC_SIZE, o.crypt->key);
        if (put(&o, preamble, sizeof(preamble), err) < 0) {
            bundle_out_release(&o);
            return -1;
        }
    }
    *ret = o;
    return 0;
}

static int seal(struct bundle_out *o, unsigned char tag, struct err *err)
{
    struct bundle_crypt *c = o->crypt;
    crypto_secretstream_xchacha20poly1305_push(&c->state, c->sealed, NULL, c->plain, c->fill, NULL,
                                               0, tag);
    size_t len = c->fill + OVERHEAD;
    c->fill = 0;
    return put(o, c->sealed, len, err);
}

int bundle_out_write(struct bundle_out *o, const void *data, size_t len, struct err *err)
{
    const unsigned char *p = data;
    o->offset += len;
    if (!o->crypt)
        return put(o, data, len, err);
    struct bundle_crypt *c = o->crypt;
    while (len) {
        /* a full message waits until more follows: the last one gets another tag */
        if (c->fill == BUNDLE_MESSAGE &&
            seal(o, crypto_secretstream_xchacha20poly1305_TAG_MESSAGE, err) < 0)
            return -1;
        size_t n = BUNDLE_MESSAGE - c->fill < len ? BUNDLE_MESSAGE - c->fill : len;
        memcpy(c->plain + c->fill, p, n);
        c->fill += n;
        p += n;
        len -= n;
    }
    return 0;
}

int bundle_out_end(struct bundle_out *o, struct err *err)
{
    return o->crypt ? seal(o, crypto_secretstream_xchacha20poly1305_TAG_FINAL, err) : 0;
}

void bundle_out_release(struct bundle_out *o)
{
    crypt_free(o->crypt);
    *o = (struct bundle_out){.fd = -1};
}

/* ---- reading ---- */

/* Exactly len bytes of the file. */
static int get(struct bundle_in *in, void *ret, size_t len, struct err *err)
{
    char *p = ret;
    while (len) {
        ssize_t n = read(in->fd, p, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_errno(err, "cannot read %s", in->path);
        if (n == 0)
            return bundle_damaged(in->path, err, "it ends in the middle");
        p += n;
        len -= (size_t)n;
    }
    return 0;
}

/* False where the length is none that an encrypted bundle can have. */
static bool plain_size(uint64_t file_size, uint64_t *ret)
{
    uint64_t sealed = file_size - PREAMBLE, rest = sealed % SEALED;
    if (file_size <= PREAMBLE || (rest && rest <= OVERHEAD))
        return false;
    *ret = sealed / SEALED * BUNDLE_MESSAGE + (rest ? rest - OVERHEAD : 0);
    return true;
}

/* Reads what comes before the messages. */
static int begin(struct bundle_in *in, struct err *err)
{
    unsigned char preamble[PREAMBLE];
    struct bundle_crypt *c = in->crypt;
    if (get(in, preamble, sizeof(preamble), err) < 0)
        return -1;
    c->fill = c->taken = 0;
    if (crypto_secretstream_xchacha20poly1305_init_pull(&c->state, preamble + BUNDLE_MAGIC_SIZE,
                                                        c->key) < 0)
        return bundle_damaged(in->path, err, "its header is not one of libsodium's");
    return 0;
}

static int encrypted(struct bundle_in *in, const char *key_file, bool *ret, struct err *err)
{
    char magic[BUNDLE_MAGIC_SIZE];
    size_t n = in->file_size < sizeof(magic) ? (size_t)in->file_size : sizeof(magic);
    if (get(in, magic, n, err) < 0)
        return -1;
    *ret = n == sizeof(magic) && memcmp(magic, BUNDLE_MAGIC, sizeof(magic)) == 0;
    if (*ret && !key_file) {
        err_set(err, ERR_USAGE, "%s is encrypted", in->path);
        return err_hint(err, "name the file of its key with --key");
    }
    if (!*ret && key_file)
        return err_set(err, ERR_USAGE, "%s is not encrypted, but a key was given", in->path);
    return 0;
}

static int open_file(struct bundle_in *in, const char *key_file, struct err *err)
{
    in->fd = open(in->path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    struct stat st;
    if (in->fd < 0 || fstat(in->fd, &st) < 0)
        return err_errno(err, "cannot open %s", in->path);
    if (!S_ISREG(st.st_mode)) {
        err_set(err, ERR_CONFIG, "%s is not a regular file", in->path);
        return err_at(err, in->path, 0, 0);
    }
    in->file_size = in->size = (uint64_t)st.st_size;
    bool is_encrypted;
    if (encrypted(in, key_file, &is_encrypted, err) < 0)
        return -1;
    if (is_encrypted) {
        if (crypt_new(key_file, &in->crypt, err) < 0)
            return -1;
        if (!plain_size(in->file_size, &in->size))
            return bundle_damaged(in->path, err, "it ends in the middle");
    }
    return bundle_in_rewind(in, err);
}

int bundle_in_open(struct bundle_in *ret, const char *path, const char *key_file, struct err *err)
{
    struct bundle_in in = {.fd = -1, .path = xstrdup(path)};
    if (open_file(&in, key_file, err) < 0) {
        bundle_in_release(&in);
        return -1;
    }
    *ret = in;
    return 0;
}

int bundle_in_rewind(struct bundle_in *in, struct err *err)
{
    if (lseek(in->fd, 0, SEEK_SET) < 0)
        return err_errno(err, "cannot read %s", in->path);
    in->offset = 0;
    return in->crypt ? begin(in, err) : 0;
}

static int next_message(struct bundle_in *in, struct err *err)
{
    struct bundle_crypt *c = in->crypt;
    uint64_t left = in->size - in->offset;
    bool last = left <= BUNDLE_MESSAGE;
    size_t len = last ? (size_t)left : BUNDLE_MESSAGE;
    unsigned char tag;
    if (get(in, c->sealed, len + OVERHEAD, err) < 0)
        return -1;
    if (crypto_secretstream_xchacha20poly1305_pull(&c->state, c->plain, NULL, &tag, c->sealed,
                                                   len + OVERHEAD, NULL, 0) < 0) {
        bundle_damaged(in->path, err, "byte %llu cannot be decrypted",
                       (unsigned long long)in->offset);
        return in->offset == 0 ? err_hint(err, "or the key is another one") : -1;
    }
    if (tag != (last ? crypto_secretstream_xchacha20poly1305_TAG_FINAL
                     : crypto_secretstream_xchacha20poly1305_TAG_MESSAGE))
        return bundle_damaged(in->path, err, "it was cut off");
    c->fill = len;
    c->taken = 0;
    return 0;
}

int bundle_in_read(struct bundle_in *in, void *ret, size_t len, struct err *err)
{
    if (len > in->size - in->offset)
        return bundle_damaged(in->path, err, "it ends in the middle");
    if (!in->crypt) {
        if (get(in, ret, len, err) < 0)
            return -1;
        in->offset += len;
        return 0;
    }
    struct bundle_crypt *c = in->crypt;
    unsigned char *p = ret;
    while (len) {
        if (c->taken == c->fill && next_message(in, err) < 0)
            return -1;
        size_t n = c->fill - c->taken < len ? c->fill - c->taken : len;
        if (p) {
            memcpy(p, c->plain + c->taken, n);
            p += n;
        }
        c->taken += n;
        in->offset += n;
        len -= n;
    }
    return 0;
}

int bundle_in_skip(struct bundle_in *in, uint64_t len, struct err *err)
{
    if (len > in->size - in->offset)
        return bundle_damaged(in->path, err, "it ends in the middle");
    if (in->crypt)
        return bundle_in_read(in, NULL, (size_t)len, err);
    if (lseek(in->fd, (off_t)len, SEEK_CUR) < 0)
        return err_errno(err, "cannot read %s", in->path);
    in->offset += len;
    return 0;
}

void bundle_in_release(struct bundle_in *in)
{
    crypt_free(in->crypt);
    free(in->path);
    if (in->fd >= 0)
        close(in->fd);
    *in = (struct bundle_in){.fd = -1};
}
