#include "harness/engine/engine.h"

#include <stdlib.h>
#include <string.h>

#include "harness/base/str.h"

const struct engine *const engines[] = {&engine_sqlite, &engine_postgres, NULL};

const char *engine_name(const struct engine *e)
{
    return e->name;
}

const struct engine *engine_by_name(const char *name)
{
    if (strcmp(name, "postgresql") == 0)
        return &engine_postgres;
    for (size_t i = 0; engines[i]; i++)
        if (strcmp(engines[i]->name, name) == 0)
            return engines[i];
    return NULL;
}

const struct engine *engine_for_url(const char *url, struct err *err)
{
    for (size_t i = 0; engines[i]; i++)
        if (engines[i]->owns_url(url))
            return engines[i];
    _cleanup_free_ char *shown = url_redact(url);
    err_set(err, ERR_USAGE, "cannot tell which database \"%s\" is", shown);
    if (strstr(url, "://"))
        err_hint(err, "belay works on sqlite:// and postgresql:// URLs");
    else
        err_hint(err,
                 "give a URL such as postgresql://host/name or sqlite:///file.db, or the path of "
                 "an SQLite file that exists");
    return NULL;
}

int db_open(const struct engine *e, const char *url, unsigned flags, struct db **ret,
            struct err *err)
{
    return e->open(url, flags, ret, err);
}

void db_close(struct db *db)
{
    if (db)
        db->engine->close(db);
}

const struct engine *db_engine(const struct db *db)
{
    return db->engine;
}

int db_version(const struct db *db)
{
    return db->engine->version(db);
}

int db_run(struct db *db, const char *sql, unsigned flags, int *ret_ran, struct err *err)
{
    int ran = 0;
    int r = db->engine->run(db, sql, flags, &ran, err);
    if (ret_ran)
        *ret_ran = ran;
    return r;
}

bool db_in_transaction(const struct db *db)
{
    return db->engine->in_transaction(db);
}

void db_cancel(struct db *db)
{
    db->engine->cancel(db);
}

void db_take_notices(struct db *db, struct strv *ret)
{
    db->engine->take_notices(db, ret);
}

int db_query(struct db *db, const char *sql, const char *const *values, int nvalues,
             struct rows **ret, struct err *err)
{
    return db->engine->query(db, sql, values, nvalues, false, ret, err);
}

int db_query_prepared(struct db *db, const char *sql, const char *const *values, int nvalues,
                      struct rows **ret, struct err *err)
{
    return db->engine->query(db, sql, values, nvalues, true, ret, err);
}

int db_query_batch(struct db *db, const char *const *sql, size_t n, const char *const *values,
                   int nvalues, struct rows **ret, struct err *err)
{
    if (db->engine->query_batch)
        return db->engine->query_batch(db, sql, n, values, nvalues, ret, err);
    struct rows **rows = xcalloc(n, sizeof(*rows));
    size_t done = 0;
    while (done < n && db_query_prepared(db, sql[done], values, nvalues, &rows[done], err) == 0)
        done++;
    if (done == n)
        memcpy(ret, rows, n * sizeof(*rows));
    else
        while (done > 0)
            rows_free(rows[--done]);
    free(rows);
    return done == n ? 0 : -1;
}

int db_query_text(struct db *db, const char *sql, const char *const *values, int nvalues,
                  char **ret, struct err *err)
{
    _cleanup_rows_ struct rows *rows = NULL;
    if (db_query(db, sql, values, nvalues, &rows, err) < 0)
        return -1;
    bool some = rows_count(rows) > 0 && rows_columns(rows) > 0;
    *ret = some ? xstrdup(rows_get(rows, 0, 0)) : NULL;
    return 0;
}

char *db_quote_ident(const struct db *db, const char *name)
{
    return db->engine->quote_ident(name);
}

void *db_handle(struct db *db)
{
    return db->engine->handle(db);
}

int rows_count(const struct rows *r)
{
    return r->nrows;
}

int rows_columns(const struct rows *r)
{
    return r->ncolumns;
}

const char *rows_get(const struct rows *r, int row, int column)
{
    return r->cells[(size_t)row * (size_t)r->ncolumns + (size_t)column].value;
}

size_t rows_length(const struct rows *r, int row, int column)
{
    return r->cells[(size_t)row * (size_t)r->ncolumns + (size_t)column].length;
}

void rows_free(struct rows *r)
{
    if (!r)
        return;
    r->free_owner(r->owner);
    free(r->cells);
    free(r);
}

int db_prove(struct db *db, const struct db_proof *proof, struct err *err)
{
    _cleanup_free_ char *found = NULL;
    if (db_query_text(db, proof->query, NULL, 0, &found, err) < 0)
        return err_prefix(err, "cannot prove which database the session is on");
    if (!str_eq(found, proof->answer))
        return err_set(err, ERR_ENV,
                       "the session is on another database than it should be: nothing was run");
    return 0;
}
