/*
 * What others have committed since the bundle was taken: what going back to its rows would lose.
 *
 * Nothing, when nobody else has committed anything: the fence has stood all the time; on PostgreSQL every transaction
 * number that was given out since is one of the deploy's own or was rolled back; on SQLite no other session has
 * changed the file (deploy_ours.c). Else, by tables:
 *
 *     the deploy wrote to it    its rows are         what that says
 *     no                        the bundle's         nothing is lost
 *     no                        different            others wrote
 *     yes                       the bundle's         nothing is lost (in the columns that the bundle has)
 *     yes                       different            PostgreSQL: rows whose last writer is another transaction are others';
 *                                                    below rows that the deploy wrote last, or took away, others' may be
 *                                                    hidden: undecided. SQLite: undecided
 *     made it, or dropped it    -                    the same
 *
 * Undecided counts as lost. Whether anybody else has committed anything is asked when the steps have ended as well: when
 * nobody had until then, nothing of others is below what the deploy wrote.
 */
#include "backup/deploy_impl.h"

#include <stdlib.h>
#include <string.h>

#include "harness/data/compare.h"
#include "harness/data/row_stream.h"

/* Numbers that are looked at one by one; more than that were certainly not the deploy's own. */
#define NUMBERS_MAX "1000000"

void deploy_lost_release(struct deploy_lost *l)
{
    strv_release(&l->others);
    strv_release(&l->undecided);
    strv_release(&l->tables);
    digest_set_release(&l->now);
}

bool deploy_lost_any(const struct deploy_lost *l)
{
    return l->others.n || l->undecided.n;
}

/* ---- has anybody else committed anything? ---- */

/* Transactions of the deploy's own as a PostgreSQL array. */
static char *own_numbers(const struct deploy *d)
{
    _cleanup_free_ char *list = strv_join(&d->transactions, ",");
    return xasprintf("{%s}", list);
}

/*
 * The renaming of the database and the making of its twin have numbers too, which stand in pg_database. Numbers there
 * are the lower half.
 */
static int nobody_else(const struct deploy *d, bool *ret, struct err *err)
{
    static const char sql[] =
        "with s as (select txid_snapshot_xmax(txid_current_snapshot()) as next)"
        " select case when next - $1::bigint > " NUMBERS_MAX " then 'f' when exists"
        " (select from generate_series($1::bigint, next - 1) n"
        "  where n <> all($2::bigint[]) and txid_status(n) is distinct from 'aborted'"
        "  and not exists (select from pg_database where datname in ($3, $4)"
        "                  and xmin::text::bigint = n & 4294967295)) then 'f' else 't' end from s";
    _cleanup_free_ char *horizon = xasprintf("%llu", (unsigned long long)d->horizon);
    _cleanup_free_ char *own = own_numbers(d), *answer = NULL;
    const char *values[] = {horizon, own, d->fenced ? d->fenced : "",
                            d->entry->twin ? d->entry->twin : ""};
    if (!d->horizon || !d->lock)
        return 0;
    if (db_query_text(deploy_lock_db(d->lock), sql, values, ARRAY_LEN(values), &answer, err) < 0)
        return -1;
    *ret = str_eq(answer, "t");
    return 0;
}

void deploy_lost_after_steps(struct deploy *d)
{
    _cleanup_err_ struct err ignored = {0}; /* then it is not known */
    bool alone = false;
    if (d->o->engine != &engine_postgres || d->sealed)
        return;
    d->alone = nobody_else(d, &alone, &ignored) == 0 && alone &&
               journal_note(d->journal, d->entry->id, "alone", "", &ignored) == 0;
}

static int is_alone(struct deploy *d, bool *ret, struct err *err)
{
    if (d->o->engine == &engine_postgres && !d->sealed)
        return nobody_else(d, ret, err);
    *ret = d->sealed || deploy_ours_alone(d);
    return 0;
}

/* ---- by tables ---- */

/* Who wrote the rows of a table last, of those that are newer than the bundle. */
static int count_writers(const struct deploy *d, struct db *db, const char *table, int64_t *others,
                         int64_t *own, struct err *err)
{
    _cleanup_free_ char *numbers = own_numbers(d), *kind = NULL;
    _cleanup_rows_ struct rows *rows = NULL;
    if (db_query_text(db, "select relkind from pg_class where oid = to_regclass($1)", &table, 1,
                      &kind, err) < 0)
        return -1;
    /* frozen rows are older than any bundle */
    _cleanup_free_ char *sql =
        xasprintf("select count(*) filter (where not own), count(*) filter (where own)"
                  " from (select xmin::text::bigint = any(array(select n & 4294967295"
                  "       from unnest($1::bigint[]) n)) as own from %s%s"
                  "       where age(xmin) <= age('%u'::xid)) t",
                  str_eq(kind, "p") ? "" : "only ", table, (unsigned)d->horizon);
    const char *values[] = {numbers};
    if (db_query(db, sql, values, 1, &rows, err) < 0)
        return -1;
    *others = strtoll(rows_get(rows, 0, 0), NULL, 10);
    *own = strtoll(rows_get(rows, 0, 1), NULL, 10);
    return 0;
}

static bool is_ours(const struct deploy *d, const char *table)
{
    return !d->ours.known || strv_has(&d->ours.names, table);
}

static bool lacks_columns(const struct digest *before, const struct digest *now)
{
    for (size_t i = 0; i < before->sum.ncolumns; i++) {
        bool found = before->sum.columns[i].generated;
        for (size_t k = 0; k < now->sum.ncolumns && !found; k++)
            found = strcmp(before->sum.columns[i].name, now->sum.columns[k].name) == 0;
        if (!found)
            return true;
    }
    return false;
}

/* A table that the deploy wrote to as well: as far as the rows tell. */
static int look_at_writers(const struct deploy *d, struct db *failed, const char *table,
                           const struct digest *before, struct deploy_lost *ret, struct err *err)
{
    int64_t others = 0, own = 0;
    const struct digest *now = digest_find(&ret->now, table);
    if (d->o->engine != &engine_postgres || !d->horizon) {
        strv_add_take(&ret->undecided,
                      xasprintf("rows of %s, which the upgrade wrote to as well", table));
        return 0;
    }
    if (count_writers(d, failed, table, &others, &own, err) < 0)
        return -1;
    if (others)
        strv_add_take(&ret->others, xasprintf("rows of %s: %lld", table, (long long)others));
    /* a row that is not there any more has no writer */
    bool fewer = before && now->sum.rows < before->sum.rows + (uint64_t)others;
    if ((own && !d->alone) || fewer)
        strv_add_take(&ret->undecided,
                      xasprintf("rows of %s, which the upgrade wrote to as well", table));
    return 0;
}

static int look_at_old(const struct deploy *d, struct db *failed, const struct digest *before,
                       const struct digest_changes *changes, struct deploy_lost *ret,
                       struct err *err)
{
    const char *name = before->name;
    const struct digest *now = digest_find(&ret->now, name);
    const struct digest_change *change = NULL;
    for (size_t i = 0; i < changes->n && !change; i++)
        if (changes->v[i].before == before)
            change = &changes->v[i];
    if (!now || now->sequence) {
        strv_add(&ret->tables, name);
        strv_add_take(&ret->undecided, xasprintf("rows of %s, which is not there any more", name));
        return 0;
    }
    if (!change && !lacks_columns(before, now))
        return 0;
    strv_add(&ret->tables, name);
    if (is_ours(d, name))
        return look_at_writers(d, failed, name, before, ret, err);
    strv_add_take(&ret->others,
                  xasprintf("rows of %s: %llu -> %llu", name, (unsigned long long)before->sum.rows,
                            (unsigned long long)now->sum.rows));
    return 0;
}

/* Made by the upgrade, or by somebody else. */
static int look_at_new(const struct deploy *d, struct db *failed, const struct digest *now,
                       struct deploy_lost *ret, struct err *err)
{
    int64_t others = 0, own = 0;
    bool postgres = d->o->engine == &engine_postgres && d->horizon;
    if (now->sum.rows == 0)
        return 0;
    if (postgres && count_writers(d, failed, now->name, &others, &own, err) < 0)
        return -1;
    if (postgres && !others)
        return 0;
    strv_add(&ret->tables, now->name);
    strv_add_take(postgres ? &ret->others : &ret->undecided,
                  xasprintf("rows of %s, which the bundle does not have", now->name));
    return 0;
}

int deploy_find_lost(struct deploy *d, struct db *failed, struct deploy_lost *ret, struct err *err)
{
    const struct digest_set *old = &deploy_old(d)->digests;
    _cleanup_(digest_changes_release) struct digest_changes changes = {0};
    bool alone = false;
    if (is_alone(d, &alone, err) < 0)
        return -1;
    if (alone)
        return 0;
    deploy_progress(d, "roll back", "looking for rows of others");
    if (digest_read(failed, NULL, &(struct digest_options){.like = old}, &ret->now, err) < 0)
        return -1;
    digest_compare(old, &ret->now, &changes);
    for (size_t i = 0; i < old->n; i++)
        if (!old->v[i].sequence && !deploy_is_version_table(d, old->v[i].name) &&
            look_at_old(d, failed, &old->v[i], &changes, ret, err) < 0)
            return -1;
    for (size_t i = 0; i < ret->now.n; i++)
        if (!ret->now.v[i].sequence && !digest_find(old, ret->now.v[i].name) &&
            !deploy_is_version_table(d, ret->now.v[i].name) &&
            look_at_new(d, failed, &ret->now.v[i], ret, err) < 0)
            return -1;
    return 0;
}
