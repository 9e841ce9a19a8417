#include "backup/deploy_impl.h"

#include <stdlib.h>
#include <string.h>

#include "harness/data/compare.h"
#include "harness/schema/diff.h"
#include "harness/schema/schema.h"

const struct manifest *deploy_old(const struct deploy *d)
{
    return d->bundle ? bundle_manifest(d->bundle) : NULL;
}

static int is_tracked(const struct deploy *d, bool *ret, struct err *err)
{
    _cleanup_db_ struct db *db = NULL;
    return db_open(d->o->engine, d->url, DB_OPEN_READONLY, &db, err) < 0 ||
                   source_tracks(d->o->source, db, ret, err) < 0
               ? -1
               : 0;
}

int deploy_current(const struct deploy *d, struct revisions *ret, struct strv *ret_unknown,
                   bool *ret_tracked, struct err *err)
{
    const struct graph *g = source_graph(d->o->source);
    _cleanup_(cleanup_migrator_close) struct migrator *m = NULL;
    bool tracked = false;
    if (is_tracked(d, &tracked, err) < 0)
        return -1;
    if (ret_tracked)
        *ret_tracked = tracked;
    if (!tracked) {
        revisions_release(ret);
        *ret = (struct revisions){.complete = true};
        return 0;
    }
    return migrator_open_own(d->o->source, d->o->engine, d->url, DB_OPEN_READONLY, &m, err) < 0
               ? -1
               : migrator_applied(m, g, ret, ret_unknown, err);
}

static void add_schema(const struct snapshot *old, const struct snapshot *now, struct strv *ret)
{
    _cleanup_diff_ struct diff diff = {0};
    _cleanup_diff_lines_ struct diff_lines lines = {0};
    if (snapshot_equal(old, now))
        return;
    diff_snapshots(old, now, &diff);
    diff_lines(&diff, &lines);
    for (size_t i = 0; i < lines.n; i++)
        strv_add_take(ret, diff_line_text(&lines.v[i], false));
}

bool deploy_is_version_table(const struct deploy *d, const char *name)
{
    const char *const *tables = source_version_tables(d->o->source);
    for (size_t i = 0; tables && tables[i]; i++) {
        const char *bare = strchr(tables[i], '.') ? NULL : strrchr(name, '.');
        if (strcmp(name, tables[i]) == 0 || (bare && strcmp(bare + 1, tables[i]) == 0))
            return true;
    }
    return false;
}

int deploy_drop_version_tables(const struct deploy *d, struct err *err)
{
    _cleanup_db_ struct db *db = NULL;
    _cleanup_snapshot_ struct snapshot *now = NULL;
    const struct snapshot *old = deploy_old(d)->snapshot;
    for (size_t i = 0; i < old->n; i++)
        if (str_eq(old->objects[i]->kind, "table") &&
            deploy_is_version_table(d, old->objects[i]->identity))
            return 0;
    if (db_open(d->o->engine, d->url, DB_OPEN_DEFAULT, &db, err) < 0 ||
        schema_read(db, &(struct schema_options){0}, &now, err) < 0)
        return -1;
    for (size_t i = 0; i < now->n; i++) {
        const char *name = now->objects[i]->identity;
        if (!str_eq(now->objects[i]->kind, "table") || !deploy_is_version_table(d, name))
            continue;
        bool postgres = d->o->engine == &engine_postgres; /* identities are quoted there */
        _cleanup_free_ char *quoted = postgres ? xstrdup(name) : db_quote_ident(db, name);
        _cleanup_free_ char *look = xasprintf("select 1 from %s limit 1", quoted), *row = NULL;
        _cleanup_free_ char *drop = xasprintf("drop table %s", quoted);
        if (db_query_text(db, look, NULL, 0, &row, err) < 0 ||
            (!row && db_run(db, drop, DB_RUN_WHOLE, NULL, err) < 0))
            return -1;
    }
    return 0;
}

/* Whether the sequence went the way it counts; no transaction of PostgreSQL's takes that back. */
static bool went_on(const struct deploy *d, const struct digest_change *c)
{
    const struct object *o = snapshot_find(deploy_old(d)->snapshot, "sequence", c->before->name);
    const char *increment = o ? object_get(o, "increment") : NULL;
    bool down = increment && *increment == '-';
    return d->o->engine == &engine_postgres &&
           (down ? c->after->next < c->before->next : c->after->next > c->before->next);
}

static void add_rows(const struct deploy *d, const struct digest_set *now,
                     struct deploy_differences *ret)
{
    _cleanup_(digest_changes_release) struct digest_changes changes = {0};
    digest_compare(&deploy_old(d)->digests, now, &changes);
    for (size_t i = 0; i < changes.n; i++) {
        const struct digest_change *c = &changes.v[i];
        if (c->difference & DIGEST_MISSING)
            continue; /* the schema says so */
        const char *name = c->before->name;
        bool ours = !d->ours.known || strv_has(&d->ours.names, name);
        struct strv *list = deploy_is_version_table(d, name)                     ? &ret->wrong
                            : (c->difference & DIGEST_SEQUENCE) && went_on(d, c) ? &ret->moved
                            : ours                                               ? &ret->ours
                                                                                 : &ret->others;
        strv_add_take(list, digest_change_text(c));
    }
}

static int add_revisions(const struct deploy *d, struct strv *ret, struct err *err)
{
    _cleanup_revisions_ struct revisions now = {0};
    _cleanup_strv_ struct strv unknown = {0};
    if (deploy_current(d, &now, &unknown, NULL, err) < 0)
        return -1;
    for (size_t i = 0; i < now.n; i++)
        if (!revisions_has(&d->current, now.v[i]))
            strv_add_take(ret, xasprintf("revision %s is applied", now.v[i]->id));
    for (size_t i = 0; i < d->current.n; i++)
        if (!revisions_has(&now, d->current.v[i]))
            strv_add_take(ret, xasprintf("revision %s is not applied", d->current.v[i]->id));
    for (size_t i = 0; i < unknown.n; i++)
        strv_add_take(ret, xasprintf("revision %s, which the project does not have, is applied",
                                     unknown.v[i]));
    return 0;
}

/* Schema and rows in two reads: whoever writes between them shows up in the rows. */
int deploy_compare_old(const struct deploy *d, bool everything, struct deploy_differences *ret,
                       struct err *err)
{
    _cleanup_db_ struct db *db = NULL;
    _cleanup_snapshot_ struct snapshot *schema = NULL;
    _cleanup_(digest_set_release) struct digest_set rows = {0};
    const struct strv *names = d->ours.known && !everything ? &d->ours.names : NULL;
    if (add_revisions(d, &ret->wrong, err) < 0 ||
        db_open(d->o->engine, d->url, DB_OPEN_READONLY, &db, err) < 0 ||
        schema_read(db, &(struct schema_options){0}, &schema, err) < 0)
        return -1;
    add_schema(deploy_old(d)->snapshot, schema, &ret->wrong);
    if (ret->wrong.n && !everything)
        return 0; /* not the old state, whatever its rows are: they may take long to read */
    if (digest_read(db, names, &(struct digest_options){0}, &rows, err) < 0)
        return -1;
    add_rows(d, &rows, ret);
    return 0;
}

void deploy_differences_release(struct deploy_differences *l)
{
    strv_release(&l->wrong);
    strv_release(&l->ours);
    strv_release(&l->others);
    strv_release(&l->moved);
}

bool deploy_is_old(const struct deploy_differences *l)
{
    return !l->wrong.n && !l->ours.n;
}
