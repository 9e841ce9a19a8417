#include "backup/copy.h"

#include <stdlib.h>
#include <string.h>

#include "backup/copy_impl.h"
#include "backup/sqlite_copy.h"
#include "harness/base/clock.h"
#include "harness/engine/url.h"

enum { LOCK_TIMEOUT_MS = 10000 };

void copy_look_release(struct copy_look *l)
{
    free(l->from);
    free(l->database);
    free(l->server);
    free(l->taken);
    strv_release(&l->revisions);
    *l = (struct copy_look){0};
}

void copy_result_release(struct copy_result *r)
{
    strv_release(&r->read);
    strv_release(&r->masked);
    strv_release(&r->sampled);
    strv_release(&r->notes);
    *r = (struct copy_result){0};
}

static char *server_name(const struct engine *e, const char *version)
{
    return xasprintf("%s %s", e == &engine_postgres ? "PostgreSQL" : "SQLite", version);
}

/* ---- looking ---- */

static int look_at_bundle(const char *path, const char *key_file, struct copy_look *l,
                          struct err *err)
{
    _cleanup_bundle_reader_ struct bundle_reader *reader = NULL;
    const struct backup_engine *e;
    if (backup_open(path, key_file, &reader, &e, err) < 0)
        return -1;
    const struct manifest *m = bundle_manifest(reader);
    l->engine = e->engine;
    l->bundle = true;
    l->from = xstrdup(path);
    l->database = xstrdup(m->database);
    l->server = server_name(e->engine, m->server ? m->server : "of an unknown version");
    l->taken = xstrdup(m->created);
    for (size_t i = 0; i < m->nmembers; i++)
        l->bytes += m->members[i].raw;
    for (size_t i = 0; i < m->revisions.n; i++)
        strv_add(&l->revisions, m->revisions.v[i]);
    return 0;
}

static int look_at_database(const char *url, struct copy_look *l, struct err *err)
{
    _cleanup_db_ struct db *db = NULL;
    _cleanup_rows_ struct rows *rows = NULL;
    l->engine = engine_for_url(url, err);
    if (!l->engine || db_open(l->engine, url, DB_OPEN_READONLY, &db, err) < 0)
        return -1;
    const char *sql =
        l->engine == &engine_postgres
            ? "select current_database(), current_setting('server_version'),"
              " pg_database_size(current_database())"
            : "select file, sqlite_version(), (select page_size from pragma_page_size)"
              " * (select page_count from pragma_page_count)"
              " from pragma_database_list where name = 'main'";
    if (db_query(db, sql, NULL, 0, &rows, err) < 0)
        return -1;
    const char *version = rows_get(rows, 0, 1);
    /* packages add their own: "15.18 (Debian 15.18-0+deb12u1)" */
    _cleanup_free_ char *number = xstrndup(version, strcspn(version, " "));
    l->from = url_redact(url);
    l->database = xstrdup(rows_get(rows, 0, 0));
    l->server = server_name(l->engine, number);
    l->bytes = strtoull(rows_get(rows, 0, 2), NULL, 10);
    return 0;
}

int copy_look(const char *from, const char *key_file, struct copy_look *ret, struct err *err)
{
    _cleanup_(copy_look_release) struct copy_look l = {0};
    if ((bundle_is(from) ? look_at_bundle(from, key_file, &l, err)
                         : look_at_database(from, &l, err)) < 0)
        return -1;
    *ret = l;
    l = (struct copy_look){0};
    return 0;
}

/* ---- a part of the rows ---- */

static bool is_part(const struct copying *c)
{
    return c->options->sample && c->options->sample < 100;
}

static void start_sample(struct copying *c, struct mask_model *model, const struct snapshot *schema)
{
    const struct copy_options *o = c->options;
    const struct sample_options so = {.percent = o->sample, .seed = o->seed, .whole = o->whole};
    c->sample = sample_new(&so, model, schema);
}

int copy_plan_sample(struct copying *c, const struct snapshot *schema,
                     const struct digest_set *digests, struct db *source, struct load *l,
                     struct err *err)
{
    struct mask_model model;
    if (!is_part(c))
        return 0;
    mask_model_postgres(&model, schema);
    start_sample(c, &model, schema);
    if (digests)
        sample_count(c->sample, digests);
    else if (sample_count_tables(c->sample, source, err) < 0)
        return -1;
    sample_decide(c->sample);
    l->sample = c->sample;
    return 0;
}

void copy_settle_sample(struct copying *c, struct digest_set *expected)
{
    size_t n = c->sample ? sample_settle(c->sample, expected) : 0;
    if (n)
        strv_add_take(
            &c->result->notes,
            xasprintf("of %zu table%s the rows were not compared with what was read: those "
                      "without their parents were removed after loading",
                      n, n == 1 ? "" : "s"));
}

int copy_sample_file(struct copying *c, const char *path, struct err *err)
{
    _cleanup_db_ struct db *db = NULL;
    struct mask_model model;
    if (!is_part(c))
        return 0;
    meter_phase(c->meter, "sample", 0);
    if (db_open(&engine_sqlite, scratch_url(c->scratch), DB_OPEN_DEFAULT, &db, err) < 0 ||
        mask_model_sqlite(&model, db, err) < 0)
        return -1;
    start_sample(c, &model, NULL);
    if (sample_count_tables(c->sample, db, err) < 0)
        return -1;
    db_close(TAKE_PTR(db));
    sample_decide(c->sample);
    return sample_sqlite(c->sample, path, err);
}

/* ---- masking ---- */

static int plan_masks(struct copying *c, struct mask_model *model, struct err *err)
{
    static const struct mask_rules none = {0};
    const struct copy_options *o = c->options;
    if (mask_plan_new(o->mask ? o->mask : &none, model, &c->plan, err) < 0)
        return -1;
    mask_plan_tell(c->plan, &c->result->masked);
    return 0;
}

static bool masks_anything(const struct copying *c)
{
    return c->options->require_masking || (c->options->mask && c->options->mask->n);
}

int copy_plan_filter(struct copying *c, const struct snapshot *schema,
                     const struct digest_set *digests, struct load *l, struct err *err)
{
    struct mask_model model;
    if (masks_anything(c)) {
        mask_model_postgres(&model, schema);
        if (plan_masks(c, &model, err) < 0)
            return -1;
    }
    if (c->plan || c->sample)
        l->filter = c->filter = row_filter_new(c->plan, c->sample, digests);
    return 0;
}

/* A search index keeps what was in the columns that it was made of. */
static int note_virtual_tables(struct copying *c, struct db *db, struct err *err)
{
    _cleanup_free_ char *names = NULL;
    if (db_query_text(db,
                      "select group_concat(name, ', ') from pragma_table_list"
                      " where schema = 'main' and type = 'virtual'",
                      NULL, 0, &names, err) < 0)
        return -1;
    if (names)
        strv_add_take(&c->result->notes,
                      xasprintf("virtual tables are not masked, whatever they hold: %s", names));
    return 0;
}

int copy_mask_file(struct copying *c, const char *path, struct err *err)
{
    _cleanup_db_ struct db *db = NULL;
    struct mask_model model;
    if (!masks_anything(c))
        return 0;
    if (db_open(&engine_sqlite, scratch_url(c->scratch), DB_OPEN_DEFAULT, &db, err) < 0 ||
        note_virtual_tables(c, db, err) < 0 || mask_model_sqlite(&model, db, err) < 0 ||
        plan_masks(c, &model, err) < 0)
        return -1;
    db_close(TAKE_PTR(db));
    return c->result->masked.n ? mask_sqlite(c->plan, path, err) : 0;
}

static int refuse_suspects(struct copying *c, struct db *db, struct err *err)
{
    _cleanup_strv_ struct strv suspects = {0}, rules = {0};
    if (mask_suspects(c->plan, db, &suspects, &rules, err) < 0)
        return -1;
    if (!suspects.n)
        return 0;
    _cleanup_free_ char *list = strv_join(&suspects, "\n");
    _cleanup_free_ char *text = strv_join(&rules, "\n    ");
    err_set(err, ERR_CONFIG, "%zu column%s personal, and no rule masks %s", suspects.n,
            suspects.n == 1 ? " looks" : "s look", suspects.n == 1 ? "it" : "them");
    err->trace =
        xasprintf("%s\nin belay.yaml, with keep for what is nobody's:\nmask:\n    %s", list, text);
    return -1;
}

/* ---- from a bundle ---- */

/* A server that is not belay's gets no roles from us. */
static int missing_roles(const struct manifest *m, struct scratch_pool *pool, struct strv *ret,
                         struct err *err)
{
    for (size_t i = 0; i < m->roles.n; i++) {
        _cleanup_free_ char *there = NULL;
        if (db_query_text(scratch_pool_db(pool), "select 1 from pg_roles where rolname = $1",
                          (const char *[]){m->roles.v[i]}, 1, &there, err) < 0)
            return -1;
        if (!there)
            strv_add(ret, m->roles.v[i]);
    }
    return 0;
}

int copy_prepare_load(struct copying *c, const struct manifest *m, struct load *l, struct err *err)
{
    const struct backup_engine *e = backup_engine_find(m->engine);
    _cleanup_free_ char *like = e->scratch_like ? e->scratch_like(m) : NULL;
    if ((like ? scratch_new_like(c->pool, like, &c->scratch, err)
              : scratch_new(c->pool, &c->scratch, err)) < 0)
        return -1;
    *l = (struct load){
        .manifest = m,
        .url = scratch_url(c->scratch),
        .scratch = scratch_pool_is_private(c->pool),
        .jobs = c->options->jobs,
        .control = &c->options->control,
        .summary = &c->summary,
        .meter = c->meter,
    };
    _cleanup_strv_ struct strv missing = {0};
    if (!l->scratch && missing_roles(m, c->pool, &missing, err) < 0)
        return -1;
    if (!missing.n)
        return 0;
    _cleanup_free_ char *names = strv_join(&missing, ", ");
    l->no_owner = true;
    strv_add_take(
        &c->result->notes,
        xasprintf("owners and privileges are left out: the scratch server has no role %s", names));
    return 0;
}

int copy_must_equal(const struct load *l, const struct backup_engine *e, struct err *err)
{
    _cleanup_strv_ struct strv problems = {0};
    if ((e->compare ? e->compare(l, &problems, err)
                    : load_compare(l->manifest, l->url, l->control, &problems, err)) < 0)
        return -1;
    if (!problems.n)
        return 0;
    err_set(err, ERR_ENV, "the copy is not what was read");
    err->detail = strv_join(&problems, "\n");
    return -1;
}

/* With the rows that were let through, and what they were masked to. */
static int compare_bundle(struct copying *c, struct load *l, const struct backup_engine *e,
                          struct err *err)
{
    if (!c->filter)
        return copy_must_equal(l, e, err);
    struct manifest expected = *l->manifest;
    expected.digests = (struct digest_set){0};
    for (size_t i = 0; i < l->manifest->digests.n; i++) {
        const struct digest *from = &l->manifest->digests.v[i];
        struct digest_set *to = &expected.digests;
        to->v = xgrow(to->v, to->n, &to->cap, sizeof(*to->v));
        to->v[to->n] = (struct digest){
            .name = xstrdup(from->name), .sequence = from->sequence, .next = from->next};
        digest_sum_init_like(&to->v[to->n].sum, &from->sum);
        digest_sum_add(&to->v[to->n++].sum, &from->sum);
    }
    row_filter_digests(c->filter, &expected.digests);
    copy_settle_sample(c, &expected.digests);
    l->manifest = &expected;
    int rc = copy_must_equal(l, e, err);
    digest_set_release(&expected.digests);
    return rc;
}

static int copy_bundle(struct copying *c, struct err *err)
{
    const struct copy_options *o = c->options;
    _cleanup_bundle_reader_ struct bundle_reader *reader = NULL;
    const struct backup_engine *e;
    struct load l;
    if (backup_open(o->from, o->key_file, &reader, &e, err) < 0)
        return -1;
    const struct manifest *m = bundle_manifest(reader);
    if (copy_prepare_load(c, m, &l, err) < 0)
        return -1;
    _cleanup_free_ char *path = NULL, *frozen = NULL;
    if (e->engine == &engine_sqlite) { /* load() wants the file itself */
        if (url_sqlite_path(l.url, &path, err) < 0)
            return -1;
        frozen = sqlite_url_frozen(path);
        l.url = path;
    }
    l.reader = reader;
    if ((e->engine == &engine_postgres &&
         (copy_plan_sample(c, m->snapshot, &m->digests, NULL, &l, err) < 0 ||
          copy_plan_filter(c, m->snapshot, &m->digests, &l, err) < 0)) ||
        e->load(&l, err) < 0)
        return -1;
    if (frozen)
        l.url = frozen;
    if (compare_bundle(c, &l, e, err) < 0)
        return -1;
    if (path && (copy_sample_file(c, path, err) < 0 || copy_mask_file(c, path, err) < 0))
        return -1;
    copy_count(c, m);
    for (size_t i = 0; i < m->nmembers; i++)
        c->result->bytes += m->members[i].raw;
    strv_add_take(&c->result->read,
                  xasprintf("the bundle %s: %zu tables, %llu rows", o->from, c->result->tables,
                            (unsigned long long)c->result->rows));
    return 0;
}

/* ---- both ---- */

void copy_count(struct copying *c, const struct manifest *m)
{
    for (size_t i = 0; i < m->digests.n; i++) {
        c->result->tables += !m->digests.v[i].sequence;
        c->result->rows += m->digests.v[i].sum.rows;
    }
    c->result->copy_rows = c->result->rows;
}

static int measure(struct copying *c, const struct engine *e, struct err *err)
{
    _cleanup_db_ struct db *db = NULL;
    _cleanup_free_ char *size = NULL;
    const char *sql = e == &engine_postgres ? "select pg_database_size(current_database())"
                                            : "select (select page_size from pragma_page_size)"
                                              " * (select page_count from pragma_page_count)";
    if (db_open(e, scratch_url(c->scratch), DB_OPEN_DEFAULT, &db, err) < 0 ||
        scratch_prove(c->scratch, db, err) < 0 || db_query_text(db, sql, NULL, 0, &size, err) < 0)
        return -1;
    c->result->copy_bytes = strtoull(size, NULL, 10);
    return c->options->require_masking ? refuse_suspects(c, db, err) : 0;
}

static int make(struct copying *c, struct err *err)
{
    const struct engine *e = scratch_pool_engine(c->pool);
    if ((bundle_is(c->options->from) ? copy_bundle(c, err)
         : e == &engine_postgres     ? copy_postgres(c, err)
                                     : copy_sqlite(c, err)) < 0)
        return -1;
    if (c->sample)
        c->result->copy_rows -= sample_tell(c->sample, &c->result->sampled);
    /* the last moment to stop */
    return measure(c, e, err) < 0 ? -1 : meter_add(c->meter, 0, 0, err);
}

int copy_make(const struct copy_options *options, struct scratch_pool *pool, struct scratch **ret,
              struct copy_result *ret_result, struct err *err)
{
    struct copy_options o = *options;
    _cleanup_(copy_result_release) struct copy_result result = {0};
    double start = clock_seconds();
    o.jobs = backup_jobs(o.jobs);
    o.lock_timeout_ms = o.lock_timeout_ms ? o.lock_timeout_ms : LOCK_TIMEOUT_MS;
    struct copying c = {
        .options = &o, .pool = pool, .meter = meter_new(&o.control), .result = &result};
    int rc = make(&c, err);
    if (rc == 0) {
        for (size_t i = 0; i < c.summary.notes.n; i++)
            strv_add(&result.notes, c.summary.notes.v[i]);
        result.seconds = clock_seconds() - start;
        *ret = TAKE_PTR(c.scratch);
        *ret_result = result;
        result = (struct copy_result){0};
    }
    scratch_free(c.scratch);
    row_filter_free(c.filter);
    sample_free(c.sample);
    mask_plan_free(c.plan);
    backup_summary_release(&c.summary);
    manifest_release(&c.manifest);
    meter_free(c.meter);
    return rc;
}
