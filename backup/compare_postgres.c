/*
 * Whether a PostgreSQL database is what a bundle's manifest says, its rows read over several
 * connections.
 */
#include <stdlib.h>
#include <string.h>

#include "backup/postgres_restore.h"
#include "backup/postgres_scan.h"
#include "harness/data/compare.h"
#include "harness/schema/diff.h"
#include "harness/schema/schema.h"

enum { DIFFERENCES_MAX = 20, SEQUENCES_AT_ONCE = 100 };

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct digest *)a)->name, ((const struct digest *)b)->name);
}

/* The digests of both move into one. */
static void append(struct digest_set *to, struct digest_set *from)
{
    for (size_t i = 0; i < from->n; i++) {
        to->v = xgrow(to->v, to->n, &to->cap, sizeof(*to->v));
        to->v[to->n++] = from->v[i];
    }
    from->n = 0;
}

/* The savepoint gives their locks back: thousands of sequences would fill the server's lock table. */
static int read_sequences(struct db *db, const struct strv *names, struct digest_set *ret,
                          struct err *err)
{
    for (size_t i = 0; i < names->n; i += SEQUENCES_AT_ONCE) {
        const struct strv some = {
            .v = names->v + i,
            .n = names->n - i < SEQUENCES_AT_ONCE ? names->n - i : SEQUENCES_AT_ONCE,
        };
        _cleanup_(digest_set_release) struct digest_set more = {0};
        if (db_run(db, "savepoint belay", DB_RUN_WHOLE, NULL, err) < 0 ||
            digest_read(db, &some, NULL, &more, err) < 0 ||
            db_run(db, "rollback to savepoint belay; release savepoint belay", DB_RUN_WHOLE, NULL,
                   err) < 0)
            return -1;
        append(ret, &more);
    }
    return 0;
}

static int read_digests(struct db *db, struct pg_scan *scan, const struct strv *sequences,
                        struct pg_scan_options *o, struct digest_set *ret, struct err *err)
{
    _cleanup_free_ char *snapshot = NULL;
    _cleanup_(digest_set_release) struct digest_set more = {0};
    if (db_run(db, "begin isolation level repeatable read, read only", DB_RUN_WHOLE, NULL, err) <
            0 ||
        db_query_text(db, "select pg_export_snapshot()", NULL, 0, &snapshot, err) < 0 ||
        pg_scan_catalog(scan, db, err) < 0)
        return -1;
    o->snapshot = snapshot;
    meter_phase(o->meter, "digests", scan->bytes);
    if (pg_scan_run(scan, o, err) < 0 || read_sequences(db, sequences, &more, err) < 0 ||
        pg_scan_object_owners(scan, db, &more, err) < 0)
        return -1;
    append(&scan->digests, &more);
    if (scan->digests.n)
        qsort(scan->digests.v, scan->digests.n, sizeof(*scan->digests.v), by_name);
    *ret = scan->digests;
    scan->digests = (struct digest_set){0};
    return 0;
}

int pg_digests(const char *url, const struct strv *sequences, int jobs, struct meter *meter,
               const struct backup_control *control, struct digest_set *ret, struct err *err)
{
    _cleanup_db_ struct db *db = NULL;
    struct pg_scan scan = {0};
    struct pg_scan_options o = {.url = url, .jobs = jobs, .meter = meter, .control = control};
    if (pg_scan_open(url, &db, err) < 0)
        return -1;
    int rc = read_digests(db, &scan, sequences, &o, ret, err);
    pg_scan_release(&scan);
    return rc;
}

/* ---- the schema ---- */

static bool property_is(const struct change *c, const char *kind, const char *property)
{
    const struct object *o = c->before ? c->before : c->after;
    return c->property && strcmp(o->kind, kind) == 0 && strcmp(c->property, property) == 0;
}

/* What is set only when the database takes its place. */
static bool comes_later(const struct change *c)
{
    return property_is(c, "database", "comment") || property_is(c, "database", "connection limit");
}

/* What was left out on request. */
static bool is_ownership(const struct change *c)
{
    const struct object *o = c->before ? c->before : c->after;
    if (!c->property)
        return strcmp(o->kind, "role in database") == 0 ||
               strcmp(o->kind, "default privileges") == 0 ||
               /* that of a large object holds nothing else; the object itself is in the digests */
               (strcmp(o->kind, "large object") == 0 && !object_get(o, "comment"));
    return strcmp(c->property, "owner") == 0 || str_starts(c->property, "grant to ") ||
           strcmp(o->kind, "default privileges") == 0;
}

/* What cannot be the same on another server. */
static bool is_server(const struct change *c)
{
    return property_is(c, "extension", "version") || property_is(c, "subscription", "enabled");
}

static void add_lines(struct diff *d, struct strv *ret)
{
    _cleanup_diff_lines_ struct diff_lines lines = {0};
    diff_lines(d, &lines);
    for (size_t i = 0; i < lines.n; i++)
        strv_add_take(ret, diff_line_text(&lines.v[i], false));
}

/* What is in the database's own tablespace does not name it. */
static bool is_in_own_tablespace(const struct change *c, const char *own)
{
    return c->property && c->old_value && !c->new_value && strcmp(c->old_value, own) == 0 &&
           (strcmp(c->property, "tablespace") == 0 || strcmp(c->property, "index tablespace") == 0);
}

/* Takes out of *d what is to be expected; what of that a person should know goes to notes. */
static void sort_out(const struct load *l, struct diff *d, bool newer, const char *tablespace,
                     struct strv *notes)
{
    size_t n = 0;
    for (size_t i = 0; i < d->n; i++) {
        struct change *c = &d->changes[i];
        if (comes_later(c) || is_in_own_tablespace(c, tablespace) ||
            (l->no_owner && is_ownership(c)))
            continue;
        if (newer || is_server(c)) {
            if (notes)
                strv_add_take(notes, change_text(c, false));
            continue;
        }
        d->changes[n++] = *c;
    }
    d->n = n;
}

static int compare_schema(const struct load *l, struct db *db, struct strv *problems,
                          struct strv *notes, struct err *err)
{
    _cleanup_snapshot_ struct snapshot *now = NULL;
    _cleanup_free_ char *tablespace = NULL;
    if (schema_read(db, NULL, &now, err) < 0 ||
        db_query_text(db,
                      "select spcname from pg_database d join pg_tablespace t"
                      " on t.oid = d.dattablespace where datname = current_database()",
                      NULL, 0, &tablespace, err) < 0)
        return -1;
    _cleanup_diff_ struct diff d = {0};
    diff_snapshots(l->manifest->snapshot, now, &d);
    sort_out(l, &d, db_version(db) / 10000 > l->manifest->version / 10000, tablespace, notes);
    add_lines(&d, problems);
    return 0;
}

/* ---- rows ---- */

/* Large objects of another owner, as was asked for. */
static bool is_object_ownership(const struct digest_change *c)
{
    return strcmp(c->before->name, PG_OBJECT_OWNERS_DIGEST) == 0 &&
           !(c->difference & (DIGEST_ROWS | DIGEST_MISSING)) && c->columns.n == 1 &&
           strcmp(c->columns.v[0], "owner") == 0;
}

static int compare_rows(const struct load *l, struct strv *problems, struct err *err)
{
    const struct digest_set *then = &l->manifest->digests;
    _cleanup_(digest_set_release) struct digest_set now = {0};
    _cleanup_strv_ struct strv sequences = {0};
    struct digest_changes changes = {0};
    for (size_t i = 0; i < then->n; i++)
        if (then->v[i].sequence)
            strv_add(&sequences, then->v[i].name);
    if (pg_digests(l->url, &sequences, l->jobs, l->meter, l->control, &now, err) < 0)
        return -1;
    digest_compare(then, &now, &changes);
    for (size_t i = 0; i < changes.n; i++)
        if (!l->no_owner || !is_object_ownership(&changes.v[i]))
            strv_add_take(problems, digest_change_text(&changes.v[i]));
    digest_changes_release(&changes);
    return 0;
}

static int compare(const struct load *l, struct strv *problems, struct strv *notes, struct err *err)
{
    _cleanup_db_ struct db *db = NULL;
    if (db_open(&engine_postgres, l->url, DB_OPEN_READONLY, &db, err) < 0 ||
        compare_schema(l, db, problems, notes, err) < 0 || compare_rows(l, problems, err) < 0)
        return -1;
    if (problems->n <= DIFFERENCES_MAX)
        return 0;
    size_t more = problems->n - DIFFERENCES_MAX;
    while (problems->n > DIFFERENCES_MAX)
        free(problems->v[--problems->n]);
    strv_add_take(problems, xasprintf("and %zu more differences", more));
    return 0;
}

int compare_postgres(const struct load *l, struct strv *problems, struct err *err)
{
    return compare(l, problems, l->summary ? &l->summary->notes : NULL, err);
}

int pg_must_equal(const struct load *l, struct err *err)
{
    _cleanup_strv_ struct strv problems = {0};
    if (compare_postgres(l, &problems, err) < 0)
        return -1;
    if (!problems.n)
        return 0;
    err_set(err, ERR_CONFIG, "what was loaded is not what the bundle's manifest says");
    err->detail = strv_join(&problems, "\n");
    return -1;
}
