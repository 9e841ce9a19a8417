#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

#include "backup/bundle.h"
#include "backup/bundle_stream.h"
#include "backup/partial.h"
#include "backup/tar_header.h"
#include "harness/base/clock.h"
#include "harness/base/file.h"

struct bundle_writer {
    char *path;
    struct partial file;
    struct bundle_out out;
    pthread_mutex_t lock; /* of everything below, and of out */
    struct bundle_member *members;
    size_t nmembers, members_cap;
    bool failed; /* what a failed write left behind is no place to go on from */
    _Atomic uint64_t written;
};

int bundle_create_check(const char *path, const char *key_file, struct err *err)
{
    if (file_exists(path) || dir_exists(path)) {
        err_set(err, ERR_ENV, "%s exists", path);
        return err_hint(err, "a bundle never replaces a file: choose another name");
    }
    return key_file ? bundle_key_check(key_file, err) : 0;
}

int bundle_create(const char *path, const struct bundle_write_options *o,
                  struct bundle_writer **ret, struct err *err)
{
    if (bundle_create_check(path, NULL, err) < 0)
        return -1;
    struct bundle_writer *w = xcalloc(1, sizeof(*w));
    _cleanup_free_ char *dir = path_dir(path);
    w->path = xstrdup(path);
    w->file.fd = w->out.fd = -1;
    pthread_mutex_init(&w->lock, NULL);
    if (partial_create(dir, &w->file, err) < 0 ||
        bundle_out_init(&w->out, w->file.fd, w->path, o ? o->key_file : NULL, err) < 0) {
        bundle_writer_free(w);
        return -1;
    }
    *ret = w;
    return 0;
}

/* Header, bytes and padding of one member. */
static int append(struct bundle_writer *w, const char *name, const void *data, size_t len,
                  struct err *err)
{
    static const unsigned char zeros[TAR_BLOCK];
    unsigned char header[TAR_BLOCK];
    tar_header(header, name, len);
    if (bundle_out_write(&w->out, header, sizeof(header), err) < 0 ||
        bundle_out_write(&w->out, data, len, err) < 0 ||
        bundle_out_write(&w->out, zeros, tar_padding(len), err) < 0)
        return -1;
    atomic_store(&w->written, w->out.offset);
    return 0;
}

static int add(struct bundle_writer *w, struct bundle_member *m, const void *data,
               size_t *ret_position, struct err *err)
{
    if (w->failed)
        return err_set(err, ERR_ENV, "an earlier write to %s failed", w->path);
    w->failed = true;
    if (append(w, m->name, data, m->length, err) < 0)
        return -1;
    w->failed = false;
    w->members = xgrow(w->members, w->nmembers, &w->members_cap, sizeof(*w->members));
    w->members[w->nmembers] = *m;
    *m = (struct bundle_member){0};
    *ret_position = w->nmembers++;
    return 0;
}

int bundle_add(struct bundle_writer *w, const char *name, const void *data, size_t len,
               uint64_t raw, uint64_t rows, size_t *ret_position, struct err *err)
{
    if (strlen(name) > TAR_NAME_MAX || len > BUNDLE_MEMBER_MAX)
        return err_set(err, ERR_ENV, "%s is too large for a bundle", name);
    XXH128_hash_t hash = XXH3_128bits(data, len);
    struct bundle_member m = {.name = xstrdup(name),
                              .length = len,
                              .raw = raw,
                              .rows = rows,
                              .hash = {hash.high64, hash.low64}};
    pthread_mutex_lock(&w->lock);
    int rc = add(w, &m, data, ret_position, err);
    pthread_mutex_unlock(&w->lock);
    bundle_member_release(&m);
    return rc;
}

uint64_t bundle_written(const struct bundle_writer *w)
{
    return atomic_load(&w->written);
}

int bundle_finish(struct bundle_writer *w, struct manifest *m, struct err *err)
{
    static const unsigned char end[TAR_END];
    if (w->failed)
        return err_set(err, ERR_ENV, "an earlier write to %s failed", w->path);
    w->failed = true;
    m->members = TAKE_PTR(w->members);
    m->nmembers = w->nmembers;
    m->members_cap = w->members_cap;
    w->nmembers = w->members_cap = 0;
    free(m->belay);
    free(m->created);
    m->belay = xstrdup(BELAY_VERSION);
    m->created = clock_utc(CLOCK_ISO);
    m->digest_version = DIGEST_VERSION;
    _cleanup_free_ char *text = NULL;
    size_t len;
    if (manifest_to_json(m, &text, &len, err) < 0)
        return -1;
    if (append(w, BUNDLE_MANIFEST, text, len, err) < 0 ||
        bundle_out_write(&w->out, end, sizeof(end), err) < 0 || bundle_out_end(&w->out, err) < 0)
        return -1;
    off_t size = lseek(w->file.fd, 0, SEEK_END);
    if (size >= 0)
        atomic_store(&w->written, (uint64_t)size);
    return partial_publish(&w->file, w->path, err);
}

void bundle_writer_free(struct bundle_writer *w)
{
    if (!w)
        return;
    bundle_out_release(&w->out);
    partial_release(&w->file);
    for (size_t i = 0; i < w->nmembers; i++)
        bundle_member_release(&w->members[i]);
    free(w->members);
    free(w->path);
    pthread_mutex_destroy(&w->lock);
    free(w);
}
