#include "runner/database.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "harness/base/clock.h"
#include "harness/base/nearest.h"
#include "harness/engine/url.h"
#include "harness/schema/schema.h"
#include "runner/policy.h"
#include "runner/project.h"

/* ---- where it is ---- */

int database_find(const struct cli *cli, struct database *ret, struct err *err)
{
    _cleanup_database_ struct database d = {.cli = cli};
    const struct settings *s = &cli->settings;
    if (project_open(s, &cli->config, NULL, &d.source, err) < 0)
        return -1;
    const char *url = settings_get(s, OPT_URL);
    d.url = xstrdup(url);
    if (!url && source_own_url(d.source, &d.url, err) < 0)
        return -1;
    if (d.url) {
        d.shown = url_redact(d.url);
        d.engine = engine_for_url(d.url, err);
        if (!d.engine)
            return err_prefix(err, "%s", url ? settings_origin(s, OPT_URL) : "the project's URL");
    }
    if (project_extensions(&cli->config, d.engine, err) < 0)
        return -1;
    *ret = d;
    d = (struct database){0};
    return 0;
}

int database_need(const struct cli *cli, struct database *ret, struct err *err)
{
    if (database_find(cli, ret, err) < 0)
        return -1;
    if (ret->url)
        return 0;
    err_set(err, ERR_USAGE, "which database?");
    return err_hint(err, "name it with --url, DATABASE_URL, or \"url:\" in belay.yaml");
}

void database_release(struct database *d)
{
    source_free(d->source);
    free(d->url);
    free(d->shown);
    memset(d, 0, sizeof(*d));
}

/* ---- what is in it ---- */

int database_filter(void *data, struct snapshot **s, struct err *err)
{
    const struct cli *cli = data;
    _cleanup_free_ char *today = clock_local_date();
    const struct check_options o = {
        .ignores = cli->config.ignores,
        .nignores = cli->config.nignores,
        .today = today,
    };
    _cleanup_free_ bool *used = xcalloc(o.nignores + 1, sizeof(bool));
    struct policy p = {.options = &o, .ignore_used = used};
    return policy_filter(&p, s, err);
}

static int read_schema(const struct database *d, struct db *db, struct snapshot **ret,
                       struct err *err)
{
    const struct schema_options o = {.version_tables = source_version_tables(d->source)};
    _cleanup_snapshot_ struct snapshot *s = NULL;
    if (schema_read(db, &o, &s, err) < 0 || database_filter((void *)d->cli, &s, err) < 0)
        return -1;
    *ret = TAKE_PTR(s);
    return 0;
}

int database_schema(const struct database *d, struct snapshot **ret, struct err *err)
{
    _cleanup_db_ struct db *db = NULL;
    return db_open(d->engine, d->url, DB_OPEN_READONLY, &db, err) < 0
               ? -1
               : read_schema(d, db, ret, err);
}

/* What a database that nobody has used yet does not have. */
static bool has_relations(const struct snapshot *s)
{
    static const char *const kinds[] = {"table", "view", "materialized view", "foreign table",
                                        "virtual table"};
    for (size_t i = 0; i < s->n; i++)
        for (size_t k = 0; k < ARRAY_LEN(kinds); k++)
            if (strcmp(s->objects[i]->kind, kinds[k]) == 0)
                return true;
    return false;
}

static bool is_new_file(const struct database *d)
{
    _cleanup_free_ char *path = NULL;
    _cleanup_err_ struct err ignored = {0}; /* opening it tells the same */
    struct stat st;
    return d->engine == &engine_sqlite && url_sqlite_path(d->url, &path, &ignored) == 0 &&
           !str_starts(path, "file:") && stat(path, &st) < 0 && errno == ENOENT;
}

int database_look(const struct database *d, struct database_state *ret, struct err *err)
{
    _cleanup_database_state_ struct database_state s = {0};
    _cleanup_db_ struct db *db = NULL;
    bool tracked = false;
    if (is_new_file(d)) {
        ret->tracking = TRACKING_EMPTY;
        ret->no_file = true;
        ret->current.complete = true;
        return 0;
    }
    if (db_open(d->engine, d->url, DB_OPEN_READONLY, &db, err) < 0)
        return -1;
    if (source_tracks(d->source, db, &tracked, err) < 0)
        return -1;
    if (!tracked) {
        if (read_schema(d, db, &s.schema, err) < 0)
            return -1;
        s.tracking = has_relations(s.schema) ? TRACKING_MISSING : TRACKING_EMPTY;
        s.current.complete = true;
    } else {
        _cleanup_(cleanup_migrator_close) struct migrator *m = NULL;
        db_close(TAKE_PTR(db));
        s.tracking = TRACKING_YES;
        if (database_migrator(d, DB_OPEN_READONLY, &m, err) < 0 ||
            migrator_applied(m, source_graph(d->source), &s.current, &s.unknown, err) < 0)
            return -1;
    }
    *ret = s;
    s = (struct database_state){0};
    return 0;
}

void database_state_release(struct database_state *s)
{
    revisions_release(&s->current);
    strv_release(&s->unknown);
    snapshot_free(s->schema);
    memset(s, 0, sizeof(*s));
}

/* ---- the migrator on it ---- */

int database_migrator(const struct database *d, unsigned db_flags, struct migrator **ret,
                      struct err *err)
{
    return migrator_open_own(d->source, d->engine, d->url, db_flags, ret, err);
}

int database_unknown(const struct database *d, const struct strv *unknown, struct err *err)
{
    const struct graph *g = source_graph(d->source);
    size_t n = graph_size(g);
    _cleanup_free_ const char **ids = xcalloc(n + 1, sizeof(*ids));
    for (size_t i = 0; i < n; i++)
        ids[i] = graph_at(g, i)->id;
    _cleanup_strv_ struct strv near = {0}, last = {0};
    for (size_t i = 0; i < unknown->n; i++) {
        const char *found = nearest(unknown->v[i], ids);
        if (found && !strv_has(&near, found))
            strv_add(&near, found);
    }
    _cleanup_revisions_ struct revisions heads = {0};
    graph_heads(g, &heads);
    for (size_t i = 0; i < heads.n && !near.n; i++)
        strv_add(&last, heads.v[i]->id);
    _cleanup_free_ char *names = strv_join(unknown, ", ");
    _cleanup_free_ char *candidates = strv_join(near.n ? &near : &last, ", ");
    err_set(err, ERR_SOURCE, "%s is at %s, and there is no such revision in %s", d->shown, names,
            source_dir(d->source));
    return err_hint(err,
                    "%s%s; a newer or another checkout of the project may have it. \"belay stamp "
                    "--detect\" finds the revision that the schema is at",
                    near.n ? "the nearest is " : "the last here is ", candidates);
}
