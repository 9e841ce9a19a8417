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
    return db_open(d->o->engine, d->o->url, DB_OPEN_READONLY, &db, err) < 0 ||
                   source_tracks(d->o->source, db, ret, err) < 0
               ? -1
               : 0;
}

int deploy_current(const struct deploy *d, struct revisions *ret, struct strv *ret_unknown,
                   bool *ret_tracked, struct err *err)
{
    const struct graph *g = source_graph(d->o->source);
    _cleanup_strv_ struct strv ids = {0};
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
    if (migrator_open_own(d->o->source, d->o->engine, d->o->url, DB_OPEN_READONLY, &m, err) < 0 ||
        migrator_current(m, &ids, err) < 0)
        return -1;
    revisions_release(ret);
    *ret = (struct revisions){.complete = true};
    for (size_t i = 0; i < ids.n; i++) {
        struct revision *r = graph_find(g, ids.v[i]);
        if (r)
            revisions_add(ret, r);
        else
            strv_add(ret_unknown, ids.v[i]);
    }
    return 0;
}

bool deploy_same_revisions(const struct revisions *a, const struct revisions *b)
{
    for (size_t i = 0; i < a->n; i++)
        if (!revisions_has(b, a->v[i]))
            return false;
    return a->n == b->n;
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

static void add_rows(const struct digest_set *old, const struct digest_set *now, struct strv *ret)
{
    _cleanup_(digest_changes_release) struct digest_changes changes = {0};
    digest_compare(old, now, &changes);
    for (size_t i = 0; i < changes.n; i++) {
        const struct digest_change *c = &changes.v[i];
        if (c->difference & DIGEST_MISSING)
            continue; /* the schema says so */
        if (c->difference & DIGEST_SEQUENCE) {
            strv_add_take(ret, xasprintf("sequence %s: next value %lld -> %lld", c->before->name,
                                         (long long)c->before->next, (long long)c->after->next));
        } else if (c->difference & DIGEST_ROWS) {
            strv_add_take(ret, xasprintf("rows of %s: %llu -> %llu", c->before->name,
                                         (unsigned long long)c->before->sum.rows,
                                         (unsigned long long)c->after->sum.rows));
        } else {
            _cleanup_free_ char *columns = strv_join(&c->columns, ", ");
            strv_add_take(ret, xasprintf("rows of %s: other values%s%s", c->before->name,
                                         *columns ? " in " : "", columns));
        }
    }
}

/* Schema and rows in two reads: whoever writes between them shows up in the rows. */
int deploy_compare_old(const struct deploy *d, struct strv *ret_differences, struct err *err)
{
    const struct manifest *old = deploy_old(d);
    _cleanup_db_ struct db *db = NULL;
    _cleanup_snapshot_ struct snapshot *schema = NULL;
    _cleanup_(digest_set_release) struct digest_set rows = {0};
    if (db_open(d->o->engine, d->o->url, DB_OPEN_READONLY, &db, err) < 0 ||
        schema_read(db, &(struct schema_options){0}, &schema, err) < 0 ||
        digest_read(db, NULL, &(struct digest_options){0}, &rows, err) < 0)
        return -1;
    add_schema(old->snapshot, schema, ret_differences);
    add_rows(&old->digests, &rows, ret_differences);
    return 0;
}
