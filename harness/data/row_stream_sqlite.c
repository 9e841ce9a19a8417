#include <endian.h>
#include <inttypes.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

#include "harness/data/digest_impl.h"
#include "harness/data/row_stream.h"
#include "harness/engine/sqlite_handle.h"

static const char shape_sql[] = "select name, pk from pragma_table_xinfo($1, 'main')"
                                " where hidden <> 1 order by cid";
static const char key_sql[] = "select name from pragma_table_xinfo($1, 'main')"
                              " where pk > 0 order by pk";

static int shape(struct db *db, const char *table, struct table_shape *ret, struct err *err)
{
    _cleanup_rows_ struct rows *columns = NULL, *key = NULL;
    _cleanup_free_ char *name = digest_sqlite_unquoted(table);
    const char *value = name;
    if (db_query(db, shape_sql, &value, 1, &columns, err) < 0 ||
        db_query(db, key_sql, &value, 1, &key, err) < 0)
        return -1;
    if (rows_count(columns) == 0)
        return err_set(err, ERR_CONFIG, "there is no table %s", table);
    for (int i = 0; i < rows_count(columns); i++)
        strv_add(&ret->columns, rows_get(columns, i, 0));
    for (int i = 0; i < rows_count(key); i++)
        strv_add(&ret->key, rows_get(key, i, 0));
    return 0;
}

struct stream {
    struct row_stream base;
    struct db *db;
    sqlite3_stmt *stmt;
    size_t n; /* columns */
    struct str bytes;
    struct digest_value *values;
};

static void stream_free(struct row_stream *base)
{
    struct stream *s = (struct stream *)base;
    sqlite3_finalize(s->stmt);
    str_release(&s->bytes);
    free(s->values);
    free(s);
}

/* The key is the values as SQL literals. As a blob its order is that of its bytes. */
static int stream_open(struct db *db, const char *table, const struct strv *key,
                       const struct strv *columns, bool unique, struct row_stream **ret,
                       struct err *err)
{
    _cleanup_free_ char *keys = row_stream_list(db, key, "quote(", ")", " || ',' || ");
    _cleanup_free_ char *list = row_stream_list(db, columns, "", "", ", ");
    _cleanup_free_ char *ties = unique ? xstrdup("") : xasprintf(", %s", list);
    _cleanup_free_ char *sql =
        xasprintf("select cast(%s as blob), %s from main.%s order by 1%s", keys, list, table, ties);
    sqlite3_stmt *stmt;
    if (sqlite3_prepare_v2(db_handle(db), sql, -1, &stmt, NULL) != SQLITE_OK)
        return sqlite_handle_error(db, err);
    struct stream *s = xcalloc(1, sizeof(*s));
    s->db = db;
    s->stmt = stmt;
    s->n = columns->n;
    s->values = xcalloc(s->n, sizeof(*s->values));
    *ret = &s->base;
    return 0;
}

static int stream_next(struct row_stream *base, struct stream_row *ret, struct err *err)
{
    struct stream *s = (struct stream *)base;
    int rc = sqlite3_step(s->stmt);
    if (rc == SQLITE_DONE)
        return 0;
    if (rc != SQLITE_ROW)
        return sqlite_handle_error(s->db, err);
    digest_sqlite_row(&s->bytes, s->stmt, 1, s->values, s->n);
    ret->key.bytes = sqlite3_column_blob(s->stmt, 0);
    ret->key.len = (size_t)sqlite3_column_bytes(s->stmt, 0);
    ret->values = s->values;
    return 1;
}

static void add_text(const struct digest_value *value, struct str *ret)
{
    const char *p = value->bytes, *rest = p + 1;
    size_t len = value->len - 1;
    uint64_t bits = 0;
    double real;
    if (*p == 'i' || *p == 'r') {
        memcpy(&bits, rest, sizeof(bits));
        bits = be64toh(bits);
        memcpy(&real, &bits, sizeof(real));
    }
    switch (*p) {
    case 'i':
        str_addf(ret, "%" PRId64, (int64_t)bits);
        break;
    case 'r':
        str_addf(ret, "%.15g", real);
        break;
    case 'b':
        str_add(ret, "x'");
        for (size_t i = 0; i < len; i++)
            str_addf(ret, "%02x", (unsigned char)rest[i]);
        str_addc(ret, '\'');
        break;
    default:
        str_addn(ret, rest, len);
    }
}

const struct row_stream_ops row_stream_sqlite = {
    .shape = shape,
    .open = stream_open,
    .next = stream_next,
    .free = stream_free,
    .add_text = add_text,
};
