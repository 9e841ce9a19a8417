#include "backup/part.h"

#include <stdlib.h>
#include <string.h>
#include <zstd.h>

/* ---- writing ---- */

struct part_writer {
    struct bundle_writer *bundle;
    ZSTD_CCtx *zstd;
    size_t object, part;   /* of the part that is being filled */
    struct str stored;     /* what zstd gave of it so far */
    uint64_t raw, rows;    /* what went into it */
    struct part_list done; /* since part_begin() */
};

void part_list_release(struct part_list *l)
{
    free(l->v);
    *l = (struct part_list){0};
}

static int zstd_failed(const char *what, size_t code, struct err *err)
{
    return err_set(err, ERR_ENV, "zstd %s: %s", what, ZSTD_getErrorName(code));
}

struct setting {
    ZSTD_cParameter parameter;
    int value;
};

/*
 * Rows and pages repeat in longer pieces than the text that zstd's levels are tuned for, and over
 * longer distances. Level 3 therefore looks for matches from 6 bytes on in tables that stay in a
 * core's cache beside all else that reads rows, and for long ones in the last 4 MB: against zstd's
 * own level 3 half the time, and between 12 % less room and 5 % more (rows of random values).
 */
static const struct setting rows_level[] = {
    {ZSTD_c_minMatch, 6},
    {ZSTD_c_hashLog, 14},
    {ZSTD_c_chainLog, 14},
    {ZSTD_c_windowLog, 22},
    {ZSTD_c_enableLongDistanceMatching, 1},
    {ZSTD_c_ldmHashLog, 17},
    {ZSTD_c_ldmMinMatch, 64},
    {ZSTD_c_ldmHashRateLog, 6},
};

static int set_all(ZSTD_CCtx *zstd, const struct setting *settings, size_t n, struct err *err)
{
    for (size_t i = 0; i < n; i++) {
        size_t rc = ZSTD_CCtx_setParameter(zstd, settings[i].parameter, settings[i].value);
        if (ZSTD_isError(rc))
            return zstd_failed("cannot be set up", rc, err);
    }
    return 0;
}

static int configure(ZSTD_CCtx *zstd, int level, struct err *err)
{
    const struct setting basic[] = {{ZSTD_c_compressionLevel, level}, {ZSTD_c_checksumFlag, 1}};
    return set_all(zstd, basic, ARRAY_LEN(basic), err) < 0
               ? -1
               : set_all(zstd, rows_level, level == PART_LEVEL ? ARRAY_LEN(rows_level) : 0, err);
}

int part_writer_new(struct bundle_writer *w, int level, struct part_writer **ret, struct err *err)
{
    _cleanup_part_writer_ struct part_writer *p = xcalloc(1, sizeof(*p));
    p->bundle = w;
    p->zstd = ZSTD_createCCtx();
    if (!p->zstd)
        return err_set(err, ERR_ENV, "zstd cannot be used: not enough memory");
    if (configure(p->zstd, level, err) < 0)
        return -1;
    part_begin(p, 1, 1);
    *ret = TAKE_PTR(p);
    return 0;
}

static void reset(struct part_writer *p)
{
    ZSTD_CCtx_reset(p->zstd, ZSTD_reset_session_only);
    str_clear(&p->stored);
    p->raw = p->rows = 0;
}

void part_begin(struct part_writer *p, size_t object, size_t part)
{
    reset(p);
    p->done.n = 0;
    p->object = object;
    p->part = part;
}

static int compress(struct part_writer *p, const void *data, size_t len, ZSTD_EndDirective how,
                    struct err *err)
{
    ZSTD_inBuffer in = {.src = data, .size = len};
    size_t left;
    do {
        size_t room = ZSTD_CStreamOutSize();
        if (p->stored.cap < p->stored.len + room) {
            p->stored.cap = (p->stored.len + room) * 3 / 2;
            p->stored.p = xrealloc(p->stored.p, p->stored.cap, 1);
        }
        ZSTD_outBuffer out = {.dst = p->stored.p + p->stored.len, .size = room};
        left = ZSTD_compressStream2(p->zstd, &out, &in, how);
        if (ZSTD_isError(left))
            return zstd_failed("cannot compress", left, err);
        p->stored.len += out.pos;
    } while (in.pos < in.size || (how == ZSTD_e_end && left));
    return 0;
}

static int close_part(struct part_writer *p, struct err *err)
{
    if (compress(p, NULL, 0, ZSTD_e_end, err) < 0)
        return -1;
    _cleanup_free_ char *name = bundle_part_name(p->object, p->part);
    struct part_list *done = &p->done;
    done->v = xgrow(done->v, done->n, &done->cap, sizeof(*done->v));
    if (bundle_add(p->bundle, name, p->stored.p, p->stored.len, p->raw, p->rows, &done->v[done->n],
                   err) < 0)
        return -1;
    done->n++;
    p->part++;
    reset(p);
    return 0;
}

int part_bytes(struct part_writer *p, const void *data, size_t len, struct err *err)
{
    p->raw += len;
    return compress(p, data, len, ZSTD_e_continue, err);
}

int part_cut(struct part_writer *p, struct err *err)
{
    return p->stored.len >= PART_TARGET || p->raw >= PART_RAW ? close_part(p, err) : 0;
}

int part_row(struct part_writer *p, const void *row, size_t len, struct err *err)
{
    p->rows++;
    return part_bytes(p, row, len, err) < 0 ? -1 : part_cut(p, err);
}

int part_end(struct part_writer *p, struct part_list *ret, struct err *err)
{
    if (p->raw && close_part(p, err) < 0)
        return -1;
    for (size_t i = 0; i < p->done.n; i++) {
        ret->v = xgrow(ret->v, ret->n, &ret->cap, sizeof(*ret->v));
        ret->v[ret->n++] = p->done.v[i];
    }
    p->done.n = 0;
    return 0;
}

void part_writer_free(struct part_writer *p)
{
    if (!p)
        return;
    ZSTD_freeCCtx(p->zstd);
    str_release(&p->stored);
    part_list_release(&p->done);
    free(p);
}

/* ---- reading ---- */

struct part_reader {
    ZSTD_DCtx *zstd;
    size_t size;
    char *buffer;
};

int part_reader_new(struct part_reader **ret, struct err *err)
{
    _cleanup_part_reader_ struct part_reader *d = xcalloc(1, sizeof(*d));
    d->zstd = ZSTD_createDCtx();
    if (!d->zstd)
        return err_set(err, ERR_ENV, "zstd cannot be used: not enough memory");
    size_t rc = ZSTD_DCtx_setParameter(d->zstd, ZSTD_d_windowLogMax, PART_WINDOW_LOG_MAX);
    if (ZSTD_isError(rc))
        return zstd_failed("cannot be set up", rc, err);
    d->size = ZSTD_DStreamOutSize();
    d->buffer = xmalloc(d->size);
    *ret = TAKE_PTR(d);
    return 0;
}

static int bad_part(const struct bundle_member *m, const char *why, struct err *err)
{
    return err_set(err, ERR_CONFIG, "%s is damaged: %s", m->name, why);
}

int part_read(struct part_reader *d, const struct bundle_member *m, const void *stored, size_t len,
              part_sink *sink, void *data, struct err *err)
{
    ZSTD_inBuffer in = {.src = stored, .size = len};
    uint64_t raw = 0;
    size_t left = 1;
    ZSTD_DCtx_reset(d->zstd, ZSTD_reset_session_only);
    while (left) {
        ZSTD_outBuffer out = {.dst = d->buffer, .size = d->size};
        size_t before = in.pos;
        left = ZSTD_decompressStream(d->zstd, &out, &in);
        if (ZSTD_isError(left))
            return bad_part(m, ZSTD_getErrorName(left), err);
        if (left && in.pos == before && out.pos == 0)
            return bad_part(m, "it ends in the middle", err);
        raw += out.pos;
        if (raw > m->raw)
            return bad_part(m, "it holds more than the manifest says", err);
        if (out.pos && sink(data, d->buffer, out.pos, err) < 0)
            return -1;
    }
    if (in.pos < in.size)
        return bad_part(m, "something follows its frame", err);
    return raw == m->raw ? 0 : bad_part(m, "it holds less than the manifest says", err);
}

void part_reader_free(struct part_reader *d)
{
    if (!d)
        return;
    ZSTD_freeDCtx(d->zstd);
    free(d->buffer);
    free(d);
}
