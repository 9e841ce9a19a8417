#include "harness/source/source_impl.h"

#include <stdlib.h>
#include <string.h>

/* ---- sources ---- */

const char *const source_formats[] = {
    "alembic", "belay", "dbmate", "golang-migrate", "goose", "diesel", NULL,
};

int source_open(const struct source_options *o, struct source **ret, struct err *err)
{
    const char *format = o->format;
    bool known = !format;
    for (size_t i = 0; !known && source_formats[i]; i++)
        known = strcmp(source_formats[i], format) == 0;
    if (!known) {
        _cleanup_str_ struct str names = {0};
        for (size_t i = 0; source_formats[i]; i++)
            str_addf(&names, "%s%s", i ? ", " : "", source_formats[i]);
        err_set(err, ERR_USAGE, "there is no format \"%s\"", format);
        return err_hint(err, "formats: %s", str_get(&names));
    }
    if (o->command && format) {
        err_set(err, ERR_CONFIG, "both commands and the format %s are given", format);
        return err_hint(err, "take \"command\" or \"format\" out of belay.yaml");
    }
    if (o->command)
        return command_source_open(o, ret, err);
    const char *dir = o->dir ? o->dir : ".";
    bool alembic = str_eq(format, "alembic");
    _cleanup_free_ char *config = alembic || !format ? alembic_find_config(o) : NULL;
    if (config)
        return alembic_source_open(o, config, ret, err);
    if (!alembic && sql_source_open(dir, format, ret, err) == 0)
        return 0;
    if (format && !alembic)
        return -1;
    _cleanup_err_ struct err none = {0};
    if (alembic_find_below(dir, &config, &none) < 0) {
        err_move(err, &none);
        return -1;
    }
    if (config)
        return alembic_source_open(o, config, ret, err);
    if (!alembic)
        return -1;
    err_set(err, ERR_CONFIG, "no alembic.ini in %s", dir);
    return err_hint(err, "-c FILE or ALEMBIC_CONFIG names it");
}

void source_free(struct source *s)
{
    if (!s)
        return;
    graph_free(s->graph);
    strv_release(&s->skipped);
    free(s->dir);
    free(s->runtime);
    s->ops->free(s);
}

const char *source_format(const struct source *s)
{
    return s->format;
}

const char *source_dir(const struct source *s)
{
    return s->dir;
}

const struct graph *source_graph(const struct source *s)
{
    return s->graph;
}

const char *const *source_version_tables(const struct source *s)
{
    return s->version_tables;
}

const struct engine *source_engine_hint(const struct source *s)
{
    return s->engine_hint;
}

const struct strv *source_skipped(const struct source *s)
{
    return &s->skipped;
}

int source_own_url(const struct source *s, char **ret, struct err *err)
{
    if (s->ops->own_url)
        return s->ops->own_url(s, ret, err);
    *ret = NULL;
    return 0;
}

int source_tracks(const struct source *s, struct db *db, bool *ret, struct err *err)
{
    static const char in_postgres[] =
        "select 1 from pg_class c join pg_namespace n on n.oid = c.relnamespace"
        " where c.relkind in ('r', 'p', 'v') and c.relname = $1"
        " and case when $2 = '' then pg_table_is_visible(c.oid) else n.nspname = $2 end";
    static const char in_sqlite[] = "select 1 from sqlite_master where type in ('table', 'view')"
                                    " and lower(name) = lower($1) and $2 = $2";
    bool found = false;
    for (size_t i = 0; s->version_tables[i] && !found; i++) {
        const char *name = s->version_tables[i], *dot = strchr(name, '.');
        _cleanup_free_ char *schema = xstrndup(name, dot ? (size_t)(dot - name) : 0);
        const char *values[] = {dot ? dot + 1 : name, schema};
        _cleanup_free_ char *one = NULL;
        if (db_query_text(db, db_engine(db) == &engine_postgres ? in_postgres : in_sqlite, values,
                          2, &one, err) < 0)
            return err_prefix(err, "cannot look for the version table");
        found = one != NULL;
    }
    *ret = found;
    return 0;
}

int source_sql(const struct source *s, const struct engine *e, const struct revisions *list,
               enum step_direction direction, char **ret, struct err *err)
{
    return s->ops->sql(s, e, list, direction, ret, err);
}

int source_new_revision(const struct source *s, const struct new_revision *n, char **ret_id,
                        struct strv *ret_files, struct err *err)
{
    return s->ops->new_revision(s, n, ret_id, ret_files, err);
}

const char *source_runtime(const struct source *s)
{
    return s->runtime;
}

/* ---- migrators ---- */

void step_result_release(struct step_result *r)
{
    err_release(&r->err);
    free(r->session_change);
    strv_release(&r->notices);
    strv_release(&r->touched.names);
    memset(r, 0, sizeof(*r));
}

int migrator_open(const struct source *s, const struct engine *e, const char *url,
                  unsigned db_flags, const struct db_proof *proof, struct migrator **ret,
                  struct err *err)
{
    return s->ops->migrator_open(s, e, url, db_flags, proof, ret, err);
}

/* Which database a session is on, as both belay's own session and the project's can tell. No ':'
 * and no '%': drivers give them a meaning. */
static const char *identity_query(const struct engine *e)
{
    return e == &engine_sqlite ? "select file from pragma_database_list where name = 'main'"
                               : "select current_database() || ' ' ||"
                                 " cast(extract(epoch from pg_postmaster_start_time()) as text)";
}

int migrator_open_own(const struct source *s, const struct engine *e, const char *url,
                      unsigned db_flags, struct migrator **ret, struct err *err)
{
    _cleanup_db_ struct db *db = NULL;
    _cleanup_free_ char *answer = NULL;
    const char *query = identity_query(e);
    unsigned flags = db_flags & DB_OPEN_CREATE ? DB_OPEN_CREATE : DB_OPEN_READONLY;
    if (db_open(e, url, flags, &db, err) < 0 || db_query_text(db, query, NULL, 0, &answer, err) < 0)
        return -1;
    const struct db_proof proof = {query, answer};
    return migrator_open(s, e, url, db_flags, answer ? &proof : NULL, ret, err);
}

void migrator_close(struct migrator *m)
{
    if (!m)
        return;
    free(TAKE_PTR(m->versions[0]));
    free(TAKE_PTR(m->versions[1]));
    m->source->ops->close(m);
}

void migrator_on_transaction(struct migrator *m,
                             int (*noted)(void *data, const char *number, struct err *err),
                             void *data)
{
    m->noted = noted;
    m->noted_data = data;
}

int migrator_noted(struct migrator *m, const char *number, struct err *err)
{
    return m->noted && number ? m->noted(m->noted_data, number, err) : 0;
}

static char *data_version(struct migrator *m)
{
    return m->source->ops->data_version ? m->source->ops->data_version(m) : NULL;
}

void migrator_guard(struct migrator *m, void (*look)(void *data), void *data)
{
    free(m->versions[0]);
    m->versions[0] = data_version(m);
    m->look = look;
    m->look_data = data;
}

void migrator_look(struct migrator *m)
{
    if (m->look)
        m->look(m->look_data);
    m->look = NULL;
}

bool migrator_alone(struct migrator *m)
{
    if (m->look) {
        migrator_look(m);
        free(m->versions[1]);
        m->versions[1] = data_version(m);
    }
    return m->versions[0] && str_eq(m->versions[0], m->versions[1]);
}

void migrator_watch(struct migrator *m)
{
    if (m->source->ops->watch)
        m->source->ops->watch(m);
}

void migrator_observe(struct migrator *m, const struct migrator_observer *o)
{
    if (m->source->ops->observe)
        m->source->ops->observe(m, o);
}

bool migrator_rolled_back(struct migrator *m)
{
    return m->source->ops->rolled_back && m->source->ops->rolled_back(m);
}

const char *migrator_backend(struct migrator *m)
{
    return m->source->ops->backend ? m->source->ops->backend(m) : NULL;
}

int migrator_prepare(struct migrator *m, const struct strv *statements, struct err *err)
{
    if (m->source->ops->prepare)
        return m->source->ops->prepare(m, statements, err);
    return err_set(err, ERR_ENV, "the sessions of %s are not belay's to set up", m->source->format);
}

struct db *migrator_db(struct migrator *m)
{
    return m->source->ops->db(m);
}

const struct sqlite_rows *migrator_schema_rows(const struct migrator *m)
{
    return m->source->ops->schema_rows ? m->source->ops->schema_rows(m) : NULL;
}

int migrator_step(struct migrator *m, const struct revision *r, enum step_direction direction,
                  bool keep_session, struct step_result *ret, struct err *err)
{
    return m->source->ops->step(m, r, direction, keep_session, ret, err);
}

int migrator_straight(struct migrator *m, const struct revisions *list, size_t *ret_done,
                      struct step_result *ret, struct err *err)
{
    return m->source->ops->straight(m, list, ret_done, ret, err);
}

int migrator_current(struct migrator *m, struct strv *ret, struct err *err)
{
    return m->source->ops->current(m, ret, err);
}

int migrator_stamp(struct migrator *m, const struct revisions *heads, struct err *err)
{
    return m->source->ops->stamp(m, heads, err);
}

int migrator_drift(struct migrator *m, struct strv *ret, struct err *err)
{
    return m->source->ops->drift ? m->source->ops->drift(m, ret, err) : 0;
}

void migrator_cancel(struct migrator *m)
{
    m->source->ops->cancel(m);
}

int migrator_applied(struct migrator *m, const struct graph *g, struct revisions *ret,
                     struct strv *ret_unknown, struct err *err)
{
    _cleanup_strv_ struct strv ids = {0};
    if (migrator_current(m, &ids, err) < 0)
        return -1;
    revisions_release(ret);
    *ret = (struct revisions){.complete = true};
    strv_release(ret_unknown);
    for (size_t i = 0; i < ids.n; i++) {
        struct revision *r = graph_find(g, ids.v[i]);
        if (r)
            revisions_add(ret, r);
        else
            strv_add(ret_unknown, ids.v[i]);
    }
    return 0;
}
