#include "harness/data/row_stream.h"

#include "harness/data/digest_impl.h"

static const struct row_stream_ops *ops_for(const struct db *db)
{
    return db_engine(db) == &engine_postgres ? &row_stream_postgres : &row_stream_sqlite;
}

void table_shape_release(struct table_shape *s)
{
    strv_release(&s->columns);
    strv_release(&s->key);
}

int row_stream_shape(struct db *db, const char *table, struct table_shape *ret, struct err *err)
{
    return ops_for(db)->shape(db, table, ret, err);
}

int row_stream_open(struct db *db, const char *table, const struct strv *key,
                    const struct strv *columns, bool unique, struct row_stream **ret,
                    struct err *err)
{
    bool own;
    struct row_stream *s;
    if (reading_begin(db, &own, err) < 0)
        return -1;
    if (ops_for(db)->open(db, table, key, columns, unique, &s, err) < 0)
        return reading_end(db, own, -1, err);
    s->ops = ops_for(db);
    s->db = db;
    s->own = own;
    *ret = s;
    return 0;
}

int row_stream_next(struct row_stream *s, struct stream_row *ret, struct err *err)
{
    return s->ops->next(s, ret, err);
}

void row_stream_free(struct row_stream *s)
{
    if (!s)
        return;
    struct db *db = s->db;
    bool own = s->own;
    _cleanup_err_ struct err ignored = {0}; /* only read: nothing is lost */
    s->ops->free(s);
    reading_end(db, own, 0, &ignored);
}

void row_stream_add_text(const struct row_stream *s, const struct digest_value *value,
                         struct str *ret)
{
    s->ops->add_text(value, ret);
}

char *row_stream_list(struct db *db, const struct strv *names, const char *before,
                      const char *after, const char *separator)
{
    struct str s = {0};
    for (size_t i = 0; i < names->n; i++) {
        _cleanup_free_ char *name = db_quote_ident(db, names->v[i]);
        str_addf(&s, "%s%s%s%s", i ? separator : "", before, name, after);
    }
    return str_take(&s);
}
