#include "harness/data/digest_impl.h"

#include <stdlib.h>
#include <string.h>

#include "harness/schema/schema_impl.h"

struct digest *digest_set_add(struct digest_set *s, char *name)
{
    s->v = xgrow(s->v, s->n, &s->cap, sizeof(*s->v));
    s->v[s->n] = (struct digest){.name = name};
    return &s->v[s->n++];
}

void digest_set_release(struct digest_set *s)
{
    for (size_t i = 0; i < s->n; i++) {
        digest_sum_release(&s->v[i].sum);
        free(s->v[i].name);
    }
    free(s->v);
    strv_release(&s->unread);
    *s = (struct digest_set){0};
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct digest *)a)->name, ((const struct digest *)b)->name);
}

const struct digest *digest_find(const struct digest_set *s, const char *name)
{
    struct digest key = {.name = (char *)(uintptr_t)name};
    return s->n ? bsearch(&key, s->v, s->n, sizeof(*s->v), by_name) : NULL;
}

void digest_like(const struct digest_options *o, const char *name, struct digest_sum *sum)
{
    const struct digest *like = o->like ? digest_find(o->like, name) : NULL;
    for (size_t i = 0; like && !like->sequence && i < sum->ncolumns; i++) {
        bool found = false;
        for (size_t k = 0; k < like->sum.ncolumns && !found; k++)
            found = strcmp(sum->columns[i].name, like->sum.columns[k].name) == 0;
        sum->columns[i].generated = sum->columns[i].generated || !found;
    }
}

bool digest_left_out(const struct digest_options *o, const char *schema, const char *table)
{
    const struct schema_options options = {.version_tables = o ? o->leave_out : NULL};
    return schema_is_version_table(&options, schema, table);
}

int reading_begin(struct db *db, bool *ret_own, struct err *err)
{
    bool postgres = db_engine(db) == &engine_postgres, own = !db_in_transaction(db);
    _cleanup_str_ struct str sql = {0};
    if (own)
        str_add(&sql, postgres ? "begin isolation level repeatable read, read only;" : "begin;");
    if (postgres)
        str_add(&sql, digest_settings_local_sql);
    *ret_own = own;
    if (!sql.len || db_run(db, sql.p, DB_RUN_WHOLE, NULL, err) == 0)
        return 0;
    return reading_end(db, own, -1, err);
}

int reading_end(struct db *db, bool own, int result, struct err *err)
{
    struct err after = {0};
    bool failed =
        own && db_in_transaction(db) && db_run(db, "rollback", DB_RUN_WHOLE, NULL, &after) < 0;
    /* a request to stop that came in between was consumed by the first try */
    _cleanup_err_ struct err ignored = {0};
    if (failed && db_in_transaction(db))
        db_run(db, "rollback", DB_RUN_WHOLE, NULL, &ignored);
    if (failed && result == 0)
        err_move(err, &after);
    err_release(&after);
    return failed ? -1 : result;
}

int digest_read(struct db *db, const struct strv *names, const struct digest_options *options,
                struct digest_set *ret, struct err *err)
{
    const struct digest_options none = {0};
    const struct digest_options *o = options ? options : &none;
    bool own, postgres = db_engine(db) == &engine_postgres;
    struct digest_set set = {0};
    if (reading_begin(db, &own, err) < 0)
        return -1;
    int r = (postgres ? digest_read_postgres : digest_read_sqlite)(db, names, o, &set, err);
    if (reading_end(db, own, r, err) < 0) {
        digest_set_release(&set);
        return -1;
    }
    if (set.n)
        qsort(set.v, set.n, sizeof(*set.v), by_name);
    *ret = set;
    return 0;
}
