#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "backup/backup_impl.h"
#include "backup/part.h"
#include "backup/partial.h"
#include "backup/sqlite_copy.h"
#include "backup/workers.h"
#include "harness/base/file.h"
#include "harness/engine/scratch.h"

/* What the threads share. */
struct pass {
    const struct manifest *manifest;
    bool sum_rows; /* struct backup_engine.rows_in_parts */
    struct meter *meter;
    size_t *owner;        /* for each member its object */
    pthread_mutex_t lock; /* of the sums */
    struct digest_sum
        *sums; /* for each digest whose rows are summed: what the parts came to, of all
                                objects that share it */
};

/* One member on its way through one thread. */
struct rows_sink {
    struct digest_sum *sum; /* NULL: bytes alone */
    uint64_t rows;
    struct str line; /* the beginning of a row whose end has not come yet */
    struct str scratch;
    struct meter *meter;
};

static int sink_row(struct rows_sink *s, const char *line, size_t len, struct err *err)
{
    s->rows++;
    return digest_sum_copy_row(s->sum, line, len, &s->scratch, err);
}

static int sink_rows(void *data, const void *bytes, size_t len, struct err *err)
{
    struct rows_sink *s = data;
    const char *p = bytes, *end = p + len, *newline;
    if (meter_add(s->meter, len, 0, err) < 0)
        return -1;
    if (!s->sum)
        return 0;
    for (; (newline = memchr(p, '\n', (size_t)(end - p))); p = newline + 1) {
        size_t n = (size_t)(newline + 1 - p);
        if (s->line.len) {
            str_addn(&s->line, p, n);
            if (sink_row(s, s->line.p, s->line.len, err) < 0)
                return -1;
            str_clear(&s->line);
        } else if (sink_row(s, p, n, err) < 0) {
            return -1;
        }
    }
    str_addn(&s->line, p, (size_t)(end - p));
    return 0;
}

static int read_part(struct pass *p, size_t i, const struct str *stored, struct part_reader *d,
                     struct rows_sink *sink, struct err *err)
{
    const struct bundle_member *m = &p->manifest->members[i];
    if (part_read(d, m, str_get(stored), stored->len, sink_rows, sink, err) < 0)
        return -1;
    if (!sink->sum)
        return 0;
    if (sink->line.len)
        return err_set(err, ERR_CONFIG, "%s is damaged: its last row has no end", m->name);
    if (sink->rows != m->rows)
        return err_set(err, ERR_CONFIG, "%s is damaged: it holds %llu rows instead of %llu",
                       m->name, (unsigned long long)sink->rows, (unsigned long long)m->rows);
    pthread_mutex_lock(&p->lock);
    digest_sum_add(&p->sums[p->manifest->objects[p->owner[i]].digest], sink->sum);
    pthread_mutex_unlock(&p->lock);
    return 0;
}

static int check_member(void *data, size_t i, const struct str *stored, struct part_reader *d,
                        struct err *err)
{
    struct pass *p = data;
    if (str_ends(p->manifest->members[i].name, ".zst")) {
        size_t digest = p->manifest->objects[p->owner[i]].digest;
        const struct digest_sum *like = digest == SIZE_MAX ? NULL : &p->sums[digest];
        struct digest_sum sum = {0};
        struct rows_sink sink = {.meter = p->meter};
        if (like && like->columns) {
            digest_sum_init_like(&sum, like);
            sink.sum = &sum;
        }
        int rc = read_part(p, i, stored, d, &sink, err);
        str_release(&sink.line);
        str_release(&sink.scratch);
        digest_sum_release(&sum);
        if (rc < 0)
            return -1;
    }
    return meter_add(p->meter, 0, stored->len, err);
}

/* The rows that were stored are those that the manifest's digests were made of. */
static void compare_sums(const struct pass *p, struct strv *problems)
{
    for (size_t i = 0; i < p->manifest->digests.n; i++) {
        const struct digest *o = &p->manifest->digests.v[i];
        if (!p->sums[i].columns)
            continue;
        const struct digest_sum *now = &p->sums[i], *then = &o->sum;
        if (now->rows != then->rows)
            strv_add_take(problems,
                          xasprintf("rows of %s: %llu are stored, %llu were read", o->name,
                                    (unsigned long long)now->rows, (unsigned long long)then->rows));
        else if (now->lo != then->lo || now->hi != then->hi)
            strv_add_take(problems,
                          xasprintf("rows of %s: other values are stored than were read", o->name));
    }
}

/* Reads every member; with sum_rows also what the rows of each table come to. */
static int read_all(const struct verify_options *o, struct bundle_reader *reader,
                    const struct backup_engine *e, struct meter *meter, struct strv *problems,
                    struct err *err)
{
    const struct manifest *m = bundle_manifest(reader);
    struct pass p = {.manifest = m,
                     .sum_rows = e->rows_in_parts,
                     .meter = meter,
                     .owner = xcalloc(m->nmembers, sizeof(*p.owner)),
                     .sums = xcalloc(m->digests.n, sizeof(*p.sums))};
    uint64_t raw = 0;
    pthread_mutex_init(&p.lock, NULL);
    for (size_t i = 0; i < m->nobjects; i++) {
        const struct bundle_object *object = &m->objects[i];
        for (size_t k = 0; k < object->nparts; k++)
            p.owner[object->parts[k]] = i;
        size_t digest = object->digest;
        if (p.sum_rows && digest != SIZE_MAX && !p.sums[digest].columns)
            digest_sum_init_like(&p.sums[digest], &m->digests.v[digest].sum);
    }
    for (size_t i = 0; i < m->nmembers; i++)
        raw += m->members[i].raw;
    meter_phase(meter, "rows", raw);
    int rc = workers_read(backup_jobs(o->jobs), reader, check_member, &p, NULL, err);
    if (rc == 0)
        compare_sums(&p, problems);
    for (size_t i = 0; i < m->digests.n; i++)
        digest_sum_release(&p.sums[i]);
    free(p.sums);
    free(p.owner);
    pthread_mutex_destroy(&p.lock);
    return rc;
}

/* ---- drill ---- */

/* On a scratch database of the pool. */
static int drill_in_pool(const struct verify_options *o, struct load *l,
                         const struct backup_engine *e, struct strv *problems, struct err *err)
{
    _cleanup_pool_ struct scratch_pool *pool = NULL;
    _cleanup_scratch_ struct scratch *scratch = NULL;
    if (scratch_pool_open(e->engine, &(struct scratch_options){.url = o->scratch_url}, &pool, err) <
        0)
        return -1;
    _cleanup_free_ char *like = e->scratch_like ? e->scratch_like(l->manifest) : NULL;
    if ((like ? scratch_new_like(pool, like, &scratch, err) : scratch_new(pool, &scratch, err)) < 0)
        return -1;
    l->url = scratch_url(scratch);
    l->scratch = scratch_pool_is_private(pool);
    if (bundle_rewind(l->reader, err) < 0 || e->load(l, err) < 0)
        return -1;
    return e->compare ? e->compare(l, problems, err)
                      : load_compare(l->manifest, l->url, l->control, problems, err);
}

/* In a file of its own: tmpfs may be too small for what somebody has on a disk. */
static int drill_in_file(struct load *l, const struct backup_engine *e, struct strv *problems,
                         uint64_t size, struct err *err)
{
    const char *tmp = getenv("TMPDIR");
    const char *dir = tmp && *tmp ? tmp : "/var/tmp";
    struct partial file;
    if (dir_room(dir, size, err) < 0 || partial_create(dir, &file, err) < 0)
        return -1;
    _cleanup_free_ char *url = sqlite_url_frozen(file.path);
    l->url = file.path;
    int rc = e->load(l, err) < 0 ? -1 : load_compare(l->manifest, url, l->control, problems, err);
    partial_release(&file);
    return rc;
}

/* ---- verify ---- */

void verify_result_release(struct verify_result *r)
{
    backup_summary_release(&r->summary);
    strv_release(&r->problems);
    *r = (struct verify_result){0};
}

static int verify(const struct verify_options *o, struct verify_result *result, struct err *err)
{
    _cleanup_bundle_reader_ struct bundle_reader *reader = NULL;
    _cleanup_meter_ struct meter *meter = meter_new(&o->control);
    const struct backup_engine *e;
    if (backup_open(o->path, o->key_file, &reader, &e, err) < 0)
        return -1;
    const struct manifest *m = bundle_manifest(reader);
    backup_summarise(m, bundle_size(reader), &result->summary);
    struct load l = {.reader = reader,
                     .manifest = m,
                     .jobs = backup_jobs(o->jobs),
                     .control = &o->control,
                     .summary = &result->summary,
                     .meter = meter};
    if (!e->rows_in_parts) {
        result->drilled = true;
        return drill_in_file(&l, e, &result->problems, result->summary.raw, err);
    }
    if (read_all(o, reader, e, meter, &result->problems, err) < 0)
        return -1;
    result->drilled = o->drill;
    return o->drill ? drill_in_pool(o, &l, e, &result->problems, err) : 0;
}

/* What the bundle is to blame for; a key that cannot be used has its own file in the error. */
static bool is_damage(const struct verify_options *o, const struct err *e)
{
    return e->code == ERR_CONFIG && !str_eq(e->file, o->key_file);
}

int backup_verify(const struct verify_options *o, struct verify_result *ret, struct err *err)
{
    _cleanup_(verify_result_release) struct verify_result result = {0};
    _cleanup_err_ struct err why = {0};
    if (verify(o, &result, &why) < 0) {
        if (!is_damage(o, &why)) {
            err_move(err, &why);
            return -1;
        }
        result.not_bundle = !bundle_is(o->path);
        if (result.not_bundle)
            strv_add_take(&result.problems, xasprintf("%s is not a bundle", o->path));
        else
            strv_add(&result.problems, why.message);
    }
    *ret = result;
    result = (struct verify_result){0};
    return 0;
}
