#include "harness/schema/sqlite_rows.h"

#include <stdlib.h>

static void free_row(struct ddl_row *row)
{
    free((char *)row->type);
    free((char *)row->name);
    free((char *)row->table);
    free((char *)row->sql);
    *row = (struct ddl_row){0};
}

void sqlite_rows_set(struct sqlite_rows *r, size_t slot, const struct ddl_row *row)
{
    while (r->n <= slot) {
        r->v = xgrow(r->v, r->n, &r->cap, sizeof(*r->v));
        r->v[r->n++] = (struct ddl_row){0};
    }
    free_row(&r->v[slot]);
    r->v[slot] = (struct ddl_row){.type = xstrdup(row->type),
                                  .name = xstrdup(row->name),
                                  .table = xstrdup(row->table),
                                  .sql = xstrdup(row->sql)};
    r->version++;
}

void sqlite_rows_unset(struct sqlite_rows *r, size_t slot)
{
    if (slot < r->n)
        free_row(&r->v[slot]);
    r->version++;
}

void sqlite_rows_clear(struct sqlite_rows *r)
{
    for (size_t i = 0; i < r->n; i++)
        free_row(&r->v[i]);
    r->n = 0;
    r->version++;
}

void sqlite_rows_release(struct sqlite_rows *r)
{
    sqlite_rows_clear(r);
    free(r->v);
    *r = (struct sqlite_rows){0};
}
