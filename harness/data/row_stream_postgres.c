#include <stdlib.h>
#include <string.h>

#include <libpq-fe.h>

#include "harness/data/digest_impl.h"
#include "harness/data/row_stream.h"
#include "harness/engine/postgres_copy.h"

/* One row a column, NULL for a table without any. */
static const char shape_sql[] =
    "select a.attname from pg_class c left join pg_attribute a on a.attrelid = c.oid"
    "  and a.attnum > 0 and not a.attisdropped"
    " where c.oid = to_regclass($1) order by a.attnum";

static const char key_sql[] =
    "select a.attname from pg_index i, unnest(i.indkey::int2[]) with ordinality k(num, ord),"
    "  pg_attribute a"
    " where i.indrelid = to_regclass($1) and i.indisprimary and k.ord <= i.indnkeyatts"
    "  and a.attrelid = i.indrelid and a.attnum = k.num order by k.ord";

static int shape(struct db *db, const char *table, struct table_shape *ret, struct err *err)
{
    _cleanup_rows_ struct rows *columns = NULL, *key = NULL;
    if (db_query(db, shape_sql, &table, 1, &columns, err) < 0 ||
        db_query(db, key_sql, &table, 1, &key, err) < 0)
        return -1;
    if (rows_count(columns) == 0)
        return err_set(err, ERR_CONFIG, "there is no table %s", table);
    for (int i = 0; i < rows_count(columns) && rows_get(columns, i, 0); i++)
        strv_add(&ret->columns, rows_get(columns, i, 0));
    for (int i = 0; i < rows_count(key); i++)
        strv_add(&ret->key, rows_get(key, i, 0));
    return 0;
}

struct stream {
    struct row_stream base;
    char *sql;
    struct pg_copy copy;
    size_t n; /* fields: the key and the columns */
    struct str *scratch;
    struct digest_value *values;
};

static void stream_free(struct row_stream *base)
{
    struct stream *s = (struct stream *)base;
    pg_copy_end(&s->copy);
    for (size_t i = 0; i < s->n; i++)
        str_release(&s->scratch[i]);
    free(s->scratch);
    free(s->values);
    free(s->sql);
    free(s);
}

/*
 * The key is the text of a row of the key's columns: it tells NULL from '', and all types have one.
 * Its order must be that of the bytes that arrive here, which are UTF-8.
 */
static int stream_open(struct db *db, const char *table, const struct strv *key,
                       const struct strv *columns, bool unique, struct row_stream **ret,
                       struct err *err)
{
    _cleanup_free_ char *kind = NULL;
    if (db_query_text(db, "select relkind from pg_class where oid = to_regclass($1)", &table, 1,
                      &kind, err) < 0)
        return -1;
    const char *encoding = PQparameterStatus(db_handle(db), "server_encoding");
    bool raw = str_eq(encoding, "SQL_ASCII"), utf8 = str_eq(encoding, "UTF8");
    _cleanup_free_ char *keys = row_stream_list(db, key, "", "", ", ");
    _cleanup_free_ char *list = row_stream_list(db, columns, "", "", ", ");
    struct stream *s = xcalloc(1, sizeof(*s));
    s->n = columns->n + 1;
    s->scratch = xcalloc(s->n, sizeof(*s->scratch));
    s->values = xcalloc(s->n, sizeof(*s->values));
    const char *before = raw || utf8 ? "row(" : "convert_to(row(",
               *after = raw || utf8 ? ")::text collate \"C\"" : ")::text, 'UTF8')";
    _cleanup_free_ char *ties = unique ? xstrdup("") : xasprintf(", %s%s%s", before, list, after);
    s->sql = xasprintf("copy (select row(%s)::text, %s from %s%s order by %s%s%s%s) to stdout%s",
                       keys, list, str_eq(kind, "p") ? "" : "only ", table, before, keys, after,
                       ties, raw ? " with (encoding 'SQL_ASCII')" : "");
    if (pg_copy_begin(&s->copy, db, s->sql, err) < 0) {
        stream_free(&s->base);
        return -1;
    }
    *ret = &s->base;
    return 0;
}

static int stream_next(struct row_stream *base, struct stream_row *ret, struct err *err)
{
    struct stream *s = (struct stream *)base;
    const char *p;
    size_t len;
    int r = pg_copy_next(&s->copy, &p, &len, err);
    if (r <= 0)
        return r;
    const char *end = p + len - (len && p[len - 1] == '\n');
    for (size_t i = 0; i < s->n; i++) {
        p = copy_field(p, end, &s->scratch[i], &s->values[i]);
        if (!p || (p < end) != (i + 1 < s->n))
            return err_set(err, ERR_ENV, "the server sent a malformed line of COPY");
        p++;
    }
    *ret = (struct stream_row){.key = s->values[0], .values = s->values + 1};
    return 1;
}

static void add_text(const struct digest_value *value, struct str *ret)
{
    str_addn(ret, value->bytes, value->len);
}

const struct row_stream_ops row_stream_postgres = {
    .shape = shape,
    .open = stream_open,
    .next = stream_next,
    .free = stream_free,
    .add_text = add_text,
};
