/*
 * Digests of SQLite's tables: each is stepped through once, its values as they are stored.
 */
#include <endian.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

#include "harness/data/digest_impl.h"
#include "harness/engine/sqlite_handle.h"

/* Without the engine's own (sqlite_sequence is read with the tables) and shadow tables. */
#define TABLES_SQL(list)                                                                           \
    "select name, type from " list " where schema = 'main' and type in ('table', 'virtual')"       \
    " and name not like 'sqlite\\_%' escape '\\'"
static const char all_sql[] = TABLES_SQL("pragma_table_list");
static const char named_sql[] = TABLES_SQL("pragma_table_list($1)");

/* hidden: 1 of a virtual table, not read; 2, 3: generated */
static const char columns_sql[] = "select name, hidden from pragma_table_xinfo($1, 'main')"
                                  " where hidden <> 1 order by cid";

static const char has_sequences_sql[] =
    "select 1 from main.sqlite_schema where name = 'sqlite_sequence'";

#define SEQUENCE_PREFIX "sqlite_sequence."

struct reading {
    struct db *db;
    sqlite3 *handle;
    const struct digest_options *options;
    struct digest_set *set;
    bool sequences; /* there is a table with AUTOINCREMENT */
    struct str bytes;
};

static int query(const struct reading *r, const char *sql, const char *value, struct rows **ret,
                 struct err *err)
{
    return (r->options->keep ? db_query_prepared : db_query)(r->db, sql, &value, value ? 1 : 0, ret,
                                                             err);
}

/* A class and eight bytes, most significant first. */
static void add_number(struct str *s, char class, uint64_t bits)
{
    bits = htobe64(bits);
    str_addc(s, class);
    str_addn(s, (const char *)&bits, sizeof(bits));
}

/* Adds the bytes of column i, its class in front; returns their number, 0 for NULL. */
static size_t add_bytes(struct str *s, sqlite3_stmt *stmt, int i)
{
    size_t before = s->len;
    switch (sqlite3_column_type(stmt, i)) {
    case SQLITE_NULL:
        break;
    case SQLITE_INTEGER:
        add_number(s, 'i', (uint64_t)sqlite3_column_int64(stmt, i));
        break;
    case SQLITE_FLOAT: {
        double value = sqlite3_column_double(stmt, i);
        uint64_t bits = 0; /* zero of either sign */
        if (value != 0)
            memcpy(&bits, &value, sizeof(bits));
        add_number(s, 'r', bits);
        break;
    }
    case SQLITE_TEXT: {
        const void *text = sqlite3_column_text(stmt, i); /* converts, so the length comes after */
        str_addc(s, 't');
        str_addn(s, text, (size_t)sqlite3_column_bytes(stmt, i));
        break;
    }
    default: {
        const void *blob = sqlite3_column_blob(stmt, i);
        str_addc(s, 'b');
        str_addn(s, blob, (size_t)sqlite3_column_bytes(stmt, i));
    }
    }
    return s->len - before;
}

void digest_sqlite_row(struct str *bytes, sqlite3_stmt *stmt, int first,
                       struct digest_value *values, size_t n)
{
    str_clear(bytes);
    for (size_t i = 0; i < n; i++)
        values[i].len = add_bytes(bytes, stmt, first + (int)i);
    const char *p = str_get(bytes); /* stands still from here on */
    for (size_t i = 0; i < n; i++) {
        values[i].bytes = values[i].len ? p : NULL;
        p += values[i].len;
    }
}

static int read_rows(struct reading *r, const char *quoted, struct digest_sum *sum, struct err *err)
{
    _cleanup_str_ struct str sql = {0};
    str_add(&sql, "select ");
    for (size_t i = 0; i < sum->ncolumns; i++) {
        _cleanup_free_ char *column = db_quote_ident(r->db, sum->columns[i].name);
        str_addf(&sql, "%s%s", i ? ", " : "", column);
    }
    str_addf(&sql, "%s from main.%s", sum->ncolumns ? "" : "1", quoted);
    sqlite3_stmt *stmt;
    if (sqlite3_prepare_v2(r->handle, sql.p, -1, &stmt, NULL) != SQLITE_OK)
        return sqlite_handle_error(r->db, err);
    struct digest_value *values = xcalloc(sum->ncolumns, sizeof(*values));
    int rc;
    while ((rc = sqlite3_step(stmt)) == SQLITE_ROW) {
        digest_sqlite_row(&r->bytes, stmt, 0, values, sum->ncolumns);
        digest_sum_row(sum, values);
    }
    int result = rc == SQLITE_DONE ? 0 : sqlite_handle_error(r->db, err);
    sqlite3_finalize(stmt);
    free(values);
    return result;
}

/* The value of the first row, or 0. */
static int read_number(const struct reading *r, const char *sql, const char *value, int64_t *ret,
                       struct err *err)
{
    _cleanup_rows_ struct rows *rows = NULL;
    if (db_query(r->db, sql, &value, value ? 1 : 0, &rows, err) < 0)
        return -1;
    const char *text = rows_count(rows) ? rows_get(rows, 0, 0) : NULL;
    *ret = text ? strtoll(text, NULL, 10) : 0;
    return 0;
}

/* AUTOINCREMENT goes on after the larger of what it remembers and what the table holds. */
static int read_sequence(struct reading *r, const char *name, const char *quoted,
                         const char *key_column, struct err *err)
{
    int64_t remembered, largest;
    _cleanup_free_ char *column = db_quote_ident(r->db, key_column);
    _cleanup_free_ char *sql = xasprintf("select max(%s) from main.%s", column, quoted);
    if (read_number(r, "select seq from main.sqlite_sequence where name = $1", name, &remembered,
                    err) < 0 ||
        read_number(r, sql, NULL, &largest, err) < 0)
        return -1;
    struct digest *d = digest_set_add(r->set, xasprintf(SEQUENCE_PREFIX "%s", quoted));
    d->sequence = true;
    d->next = remembered > largest ? remembered : largest;
    d->next = d->next < 0 ? 1 : d->next == INT64_MAX ? INT64_MAX : d->next + 1;
    return 0;
}

/* The column with AUTOINCREMENT, or NULL. */
static const char *autoincrement_column(const struct reading *r, const char *table,
                                        const struct rows *columns)
{
    for (int i = 0; r->sequences && i < rows_count(columns); i++) {
        int automatic = 0;
        const char *column = rows_get(columns, i, 0);
        sqlite3_table_column_metadata(r->handle, "main", table, column, NULL, NULL, NULL, NULL,
                                      &automatic);
        if (automatic)
            return column;
    }
    return NULL;
}

/* A virtual table is what its module makes of it, and the module may not be here. */
static bool cannot_be_read(const char *type, const struct err *e)
{
    return strcmp(type, "virtual") == 0 && e->code == ERR_SQL;
}

static int read_table(struct reading *r, const char *name, const char *type, bool rows,
                      struct err *err)
{
    _cleanup_free_ char *quoted = db_quote_ident(r->db, name);
    _cleanup_rows_ struct rows *columns = NULL;
    struct digest_sum sum = {0};
    struct err e = {0};
    if (digest_left_out(r->options, NULL, quoted))
        return 0;
    int result = query(r, columns_sql, name, &columns, &e);
    if (result == 0 && rows) {
        size_t n = (size_t)rows_count(columns);
        const char **names = xcalloc(n, sizeof(*names));
        for (size_t i = 0; i < n; i++)
            names[i] = rows_get(columns, (int)i, 0);
        digest_sum_init(&sum, names, n);
        free(names);
        for (size_t i = 0; i < n; i++)
            sum.columns[i].generated = strcmp(rows_get(columns, (int)i, 1), "0") != 0;
        digest_like(r->options, quoted, &sum);
        result = read_rows(r, quoted, &sum, &e);
    }
    const char *key = result == 0 ? autoincrement_column(r, name, columns) : NULL;
    if (key)
        result = read_sequence(r, name, quoted, key, &e);
    if (result == 0 && rows) {
        digest_set_add(r->set, xstrdup(quoted))->sum = sum;
        return 0;
    }
    digest_sum_release(&sum);
    if (result < 0 && cannot_be_read(type, &e)) {
        strv_add_take(&r->set->unread, xasprintf("%s: %s", quoted, e.message));
        err_release(&e);
        return 0;
    }
    if (result < 0) {
        err_move(err, &e);
        return err_prefix(err, "cannot read %s", quoted);
    }
    return 0;
}

static int read_listed(struct reading *r, const char *sql, const char *name, bool rows,
                       struct err *err)
{
    _cleanup_rows_ struct rows *tables = NULL;
    if (query(r, sql, name, &tables, err) < 0)
        return -1;
    for (int i = 0; i < rows_count(tables); i++)
        if (read_table(r, rows_get(tables, i, 0), rows_get(tables, i, 1), rows, err) < 0)
            return -1;
    return 0;
}

char *digest_sqlite_unquoted(const char *name)
{
    if (*name != '"')
        return xstrdup(name);
    struct str s = {0};
    for (const char *p = name + 1; *p && (*p != '"' || p[1] == '"'); p++) {
        str_addc(&s, *p);
        p += *p == '"';
    }
    return str_take(&s);
}

/* Of the tables that are not named: the others bring theirs along. */
static int read_every_sequence(struct reading *r, const struct strv *names, struct err *err)
{
    _cleanup_rows_ struct rows *tables = NULL;
    if (r->sequences && query(r, all_sql, NULL, &tables, err) < 0)
        return -1;
    for (int i = 0; tables && i < rows_count(tables); i++) {
        const char *name = rows_get(tables, i, 0);
        _cleanup_free_ char *quoted = db_quote_ident(r->db, name);
        _cleanup_free_ char *sequence = xasprintf(SEQUENCE_PREFIX "%s", quoted);
        if (!strv_has(names, quoted) && !strv_has(names, sequence) &&
            read_table(r, name, rows_get(tables, i, 1), false, err) < 0)
            return -1;
    }
    return 0;
}

static int read_named(struct reading *r, const struct strv *names, struct err *err)
{
    const size_t prefix = strlen(SEQUENCE_PREFIX);
    _cleanup_strv_ struct strv sorted = {0};
    for (size_t i = 0; i < names->n; i++)
        strv_add(&sorted, names->v[i]);
    strv_sort(&sorted);
    for (size_t i = 0; i < sorted.n; i++) {
        const char *name = sorted.v[i];
        if (strcmp(name, "sqlite_sequence") == 0) {
            if (read_every_sequence(r, names, err) < 0)
                return -1;
            continue;
        }
        bool sequence = str_starts(name, SEQUENCE_PREFIX);
        /* twice, or a sequence that its table brings along */
        if ((i && strcmp(name, sorted.v[i - 1]) == 0) ||
            (sequence && strv_has(names, name + prefix)))
            continue;
        _cleanup_free_ char *table = digest_sqlite_unquoted(sequence ? name + prefix : name);
        if (read_listed(r, named_sql, table, !sequence, err) < 0)
            return -1;
    }
    return 0;
}

int digest_read_sqlite(struct db *db, const struct strv *names, const struct digest_options *o,
                       struct digest_set *set, struct err *err)
{
    struct reading r = {.db = db, .handle = db_handle(db), .options = o, .set = set};
    int64_t sequences;
    if (read_number(&r, has_sequences_sql, NULL, &sequences, err) < 0)
        return -1;
    r.sequences = sequences != 0;
    int result = names ? read_named(&r, names, err) : read_listed(&r, all_sql, NULL, true, err);
    str_release(&r.bytes);
    return result;
}
