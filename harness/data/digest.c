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

bool digest_left_out(const struct digest_options *o, const char *schema, const char *table)
{
    const struct schema_options options = {.version_tables = o ? o->leave_out : NULL};
    return schema_is_version_table(&options, schema, table);
}

/* Ends the transaction that only read. A request to stop that comes in between is consumed by the
 * first try. */
static int end_reading(struct db *db, struct err *err)
{
    if (db_run(db, "rollback", DB_RUN_WHOLE, NULL, err) == 0)
        return 0;
    _cleanup_err_ struct err ignored = {0};
    if (db_in_transaction(db))
        db_run(db, "rollback", DB_RUN_WHOLE, NULL, &ignored);
    return -1;
}

int digest_read(struct db *db, const struct strv *names, const struct digest_options *options,
                struct digest_set *ret, struct err *err)
{
    const struct digest_options none = {0};
    const struct digest_options *o = options ? options : &none;
    bool postgres = db_engine(db) == &engine_postgres, own = !db_in_transaction(db);
    _cleanup_str_ struct str begin = {0};
    if (own)
        str_add(&begin, postgres ? "begin isolation level repeatable read, read only;" : "begin;");
    if (postgres)
        str_add(&begin, digest_settings_local_sql);
    struct digest_set set = {0};
    int r = begin.len ? db_run(db, begin.p, DB_RUN_WHOLE, NULL, err) : 0;
    if (r == 0)
        r = (postgres ? digest_read_postgres : digest_read_sqlite)(db, names, o, &set, err);
    if (own && db_in_transaction(db)) {
        struct err after = {0};
        if (end_reading(db, &after) < 0 && r == 0) {
            err_move(err, &after);
            r = -1;
        }
        err_release(&after);
    }
    if (r < 0) {
        digest_set_release(&set);
        return -1;
    }
    if (set.n)
        qsort(set.v, set.n, sizeof(*set.v), by_name);
    *ret = set;
    return 0;
}
