/*
 * The rows of others that going back would lose, as SQL that brings them into the old state:
 *
 *     BUNDLE.lost/others.sql      certainly written by others: to be run on the restored database
 *     BUNDLE.lost/undecided.sql   rows that the deploy wrote as well: for a person to choose from
 *
 * Made from the old state and the failed one, read side by side in the order of the key, while nobody writes to either.
 * Deletes come first, from referencing tables to referenced ones; then inserts and updates, the other way round. Thus
 * both databases are read twice, which only tables that differ cost.
 */
#include "backup/deploy_impl.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "backup/partial.h"
#include "harness/base/file.h"
#include "harness/data/row_stream.h"

enum { FLUSH_BYTES = 1 << 18 };

/* ---- the files ---- */

struct sheet {
    const char *name;
    struct partial file;
    struct str text; /* not yet written */
    uint64_t changes;
};

static int flush(struct sheet *s, struct err *err)
{
    if (s->text.len && file_write(s->file.fd, s->text.p, s->text.len) < 0)
        return err_errno(err, "cannot write the rows of others");
    str_clear(&s->text);
    return 0;
}

/* In the place of one that was written before: of the same rows, or fewer. */
static int publish(struct sheet *s, const char *dir, struct err *err)
{
    _cleanup_free_ char *path = path_join(dir, s->name);
    if (flush(s, err) < 0)
        return -1;
    unlink(path);
    return s->changes ? partial_publish(&s->file, path, err) : 0;
}

/* ---- values ---- */

struct side {
    struct row_stream *stream;
    struct stream_row row;
    bool more;
};

struct merge {
    const struct deploy *d;
    struct db *old, *failed;
    struct sheet *others, *undecided;
    const char *table;
    bool postgres, ours, deletes; /* deletes: this time only these, else only the others */
    struct strv columns;          /* of the old state that the failed one has too */
    struct strv key;              /* a part of them; all when there is none */
    bool primary;
    bool writer; /* the failed one's rows have their writer at the end */
    struct side before, now;
};

static void add_quoted(struct str *s, const char *bytes, size_t len)
{
    str_addc(s, '\'');
    for (size_t i = 0; i < len; i++) {
        if (bytes[i] == '\'')
            str_addc(s, '\'');
        str_addc(s, bytes[i]);
    }
    str_addc(s, '\'');
}

static void add_hex(struct str *s, const char *bytes, size_t len)
{
    str_add(s, "x'");
    for (size_t i = 0; i < len; i++)
        str_addf(s, "%02x", (unsigned char)bytes[i]);
    str_addc(s, '\'');
}

/* SQLite's: the storage class comes first (digest.h). */
static void add_sqlite(struct str *s, const struct merge *m, const struct digest_value *v)
{
    const char *bytes = v->bytes;
    size_t len = v->len - 1;
    if (*bytes == 'b') {
        add_hex(s, bytes + 1, len);
    } else if (*bytes == 't' && memchr(bytes + 1, 0, len)) {
        str_add(s, "cast(");
        add_hex(s, bytes + 1, len);
        str_add(s, " as text)");
    } else if (*bytes == 't') {
        add_quoted(s, bytes + 1, len);
    } else if (*bytes == 'r') {
        double value;
        uint64_t bits = 0;
        for (size_t i = 0; i < sizeof(bits); i++)
            bits = bits << 8 | (unsigned char)bytes[1 + i];
        memcpy(&value, &bits, sizeof(value));
        /* what has no literal is beyond the largest one */
        str_addf(s,
                 value > 1.7976931348623157e308    ? "9e999"
                 : value < -1.7976931348623157e308 ? "-9e999"
                                                   : "%.17e",
                 value);
    } else {
        row_stream_add_text(m->now.stream, v, s);
    }
}

static void add_value(struct str *s, const struct merge *m, const struct digest_value *v)
{
    if (!v->bytes)
        str_add(s, "NULL");
    else if (m->postgres)
        add_quoted(s, v->bytes, v->len);
    else
        add_sqlite(s, m, v);
}

static bool same_value(const struct digest_value *a, const struct digest_value *b)
{
    return !a->bytes || !b->bytes ? a->bytes == b->bytes
                                  : a->len == b->len && memcmp(a->bytes, b->bytes, a->len) == 0;
}

static size_t position(const struct strv *l, const char *name)
{
    size_t i = 0;
    while (strcmp(l->v[i], name) != 0)
        i++;
    return i;
}

/* ---- statements ---- */

/* "a = '1' and b is not distinct from NULL": which row it is. */
static void add_condition(struct str *s, const struct merge *m, const struct stream_row *row)
{
    for (size_t i = 0; i < m->key.n; i++) {
        const struct digest_value *v = &row->values[position(&m->columns, m->key.v[i])];
        _cleanup_free_ char *name = db_quote_ident(m->old, m->key.v[i]);
        str_add(s, i ? " and " : "");
        if (!v->bytes)
            str_addf(s, "%s is null", name);
        else if (m->postgres &&
                 !m->primary) /* not every type can be compared, every one has a text */
            str_addf(s, "%s::text = ", name);
        else
            str_addf(s, "%s = ", name);
        if (v->bytes)
            add_value(s, m, v);
    }
}

/* Without a key: one of the rows that are like it. */
static void add_where(struct str *s, const struct merge *m, const struct stream_row *row)
{
    const char *id = m->postgres ? "ctid" : "rowid";
    if (!m->primary)
        str_addf(s, "%s = (select %s from %s where ", id, id, m->table);
    add_condition(s, m, row);
    str_add(s, m->primary ? ";\n" : " limit 1);\n");
}

static void add_insert(struct str *s, const struct merge *m)
{
    _cleanup_free_ char *list = row_stream_list(m->old, &m->columns, "", "", ", ");
    str_addf(s, "insert into %s (%s)%s values (", m->table, list,
             m->postgres ? " overriding system value" : "");
    for (size_t i = 0; i < m->columns.n; i++) {
        str_add(s, i ? ", " : "");
        add_value(s, m, &m->now.row.values[i]);
    }
    str_add(s, ");\n");
}

/* False: the two rows are equal. */
static bool add_update(struct str *s, const struct merge *m)
{
    bool any = false;
    for (size_t i = 0; i < m->columns.n; i++) {
        const struct digest_value *v = &m->now.row.values[i];
        if (same_value(&m->before.row.values[i], v))
            continue;
        _cleanup_free_ char *name = db_quote_ident(m->old, m->columns.v[i]);
        if (any)
            str_add(s, ", ");
        else
            str_addf(s, "update %s set ", m->table);
        str_addf(s, "%s = ", name);
        add_value(s, m, v);
        any = true;
    }
    if (!any)
        return false;
    str_add(s, " where ");
    add_where(s, m, &m->before.row);
    return true;
}

/* ---- whose ---- */

/* Whether the deploy itself wrote the row of the failed database last. */
static bool is_own(const struct merge *m)
{
    if (!m->ours)
        return false;
    if (!m->writer)
        return true;
    const struct digest_value *v = &m->now.row.values[m->columns.n];
    _cleanup_free_ char *text = xstrndup(v->bytes, v->len);
    unsigned long writer = strtoul(text, NULL, 10);
    for (size_t i = 0; i < m->d->transactions.n; i++)
        if ((strtoull(m->d->transactions.v[i], NULL, 10) & UINT32_MAX) == writer)
            return true;
    return false;
}

static int write_change(struct merge *m, int order, struct err *err)
{
    if ((order < 0) != m->deletes)
        return 0;
    bool own = order < 0 ? m->ours : is_own(m);
    if (own && order >= 0 && m->d->alone)
        return 0; /* and nothing of others is below it */
    struct sheet *s = own ? m->undecided : m->others;
    if (order < 0) {
        str_addf(&s->text, "delete from %s where ", m->table);
        add_where(&s->text, m, &m->before.row);
    } else if (order > 0) {
        add_insert(&s->text, m);
    } else if (!add_update(&s->text, m)) {
        return 0;
    }
    s->changes++;
    return s->text.len > FLUSH_BYTES ? flush(s, err) : 0;
}

/* ---- side by side ---- */

static int advance(struct side *s, struct err *err)
{
    int r = s->stream ? row_stream_next(s->stream, &s->row, err) : 0;
    s->more = r > 0;
    return r < 0 ? -1 : 0;
}

static int compare_keys(const struct merge *m)
{
    if (!m->before.more || !m->now.more)
        return m->before.more ? -1 : 1;
    const struct digest_value *a = &m->before.row.key, *b = &m->now.row.key;
    int order = memcmp(a->bytes, b->bytes, a->len < b->len ? a->len : b->len);
    return order ? order : a->len < b->len ? -1 : a->len > b->len;
}

static int run(struct merge *m, struct err *err)
{
    if (advance(&m->before, err) < 0 || advance(&m->now, err) < 0)
        return -1;
    while (m->before.more || m->now.more) {
        int order = compare_keys(m);
        if (write_change(m, order, err) < 0 || (order <= 0 && advance(&m->before, err) < 0) ||
            (order >= 0 && advance(&m->now, err) < 0))
            return -1;
    }
    return 0;
}

static bool has_all(const struct strv *list, const struct strv *names)
{
    for (size_t i = 0; i < names->n; i++)
        if (!strv_has(list, names->v[i]))
            return false;
    return true;
}

/* Generated columns follow from the others; what the old state does not have has no place there. */
static void choose_columns(struct merge *m, const struct table_shape *before,
                           const struct table_shape *now, const struct digest *digest)
{
    for (size_t i = 0; i < digest->sum.ncolumns; i++) {
        const struct digest_column *c = &digest->sum.columns[i];
        if (!c->generated && (!now || strv_has(&now->columns, c->name)))
            strv_add(&m->columns, c->name);
    }
    const struct strv *key = before ? &before->key : &now->key;
    m->primary = key->n && has_all(&m->columns, key);
    if (!m->primary)
        key = &m->columns;
    for (size_t i = 0; i < key->n; i++)
        strv_add(&m->key, key->v[i]);
}

static int open_sides(struct merge *m, const struct table_shape *before,
                      const struct table_shape *now, struct err *err)
{
    _cleanup_strv_ struct strv with = {0};
    bool unique = now && m->primary && now->key.n && has_all(&m->key, &now->key);
    if (before && row_stream_open(m->old, m->table, &m->key, &m->columns, m->primary,
                                  &m->before.stream, err) < 0)
        return -1;
    for (size_t i = 0; i < m->columns.n; i++)
        strv_add(&with, m->columns.v[i]);
    m->writer = m->postgres && m->d->horizon;
    if (m->writer)
        strv_add(&with, "xmin");
    return row_stream_open(m->failed, m->table, &m->key, &with, unique, &m->now.stream, err);
}

static void merge_end(struct merge *m)
{
    row_stream_free(TAKE_PTR(m->before.stream));
    row_stream_free(TAKE_PTR(m->now.stream));
    strv_release(&m->columns);
    strv_release(&m->key);
}

static int compare_table(struct merge *m, const struct digest *digest, bool is_old, struct err *err)
{
    struct table_shape before = {0}, now = {0};
    int rc = -1;
    if ((!is_old || row_stream_shape(m->old, m->table, &before, err) == 0) &&
        row_stream_shape(m->failed, m->table, &now, err) == 0) {
        choose_columns(m, is_old ? &before : NULL, &now, digest);
        rc = m->columns.n ? open_sides(m, is_old ? &before : NULL, &now, err) : 0;
        if (rc == 0 && m->columns.n)
            rc = run(m, err);
    }
    merge_end(m);
    table_shape_release(&before);
    table_shape_release(&now);
    return rc < 0 ? err_prefix(err, "rows of %s", m->table) : 0;
}

static int export_table(struct merge *m, const struct deploy_lost *lost, const char *table,
                        struct err *err)
{
    const struct digest *was = digest_find(&deploy_old(m->d)->digests, table);
    const struct digest *is = digest_find(&lost->now, table);
    m->table = table;
    m->ours = !m->d->ours.known || strv_has(&m->d->ours.names, table);
    if (was && is)
        return compare_table(m, was, true, err);
    if (m->deletes)
        return 0;
    /* only in the failed database; whoever wrote the rows, they have no place to go to */
    struct sheet *others = m->others;
    m->others = m->undecided;
    str_addf(&m->undecided->text,
             is ? "-- the old state has no table %s\n"
                : "-- %s: what others wrote to it before the upgrade dropped or renamed it is not "
                  "known\n",
             table);
    m->undecided->changes++;
    int rc = is ? compare_table(m, is, false, err) : 0;
    m->others = others;
    return rc;
}

/* ---- around the statements ---- */

/* Referenced tables before those that refer to them; where they refer to each other, as they come. */
static int order_tables(struct db *old, const struct strv *tables, struct strv *ret,
                        struct err *err)
{
    static const char sql[] =
        "select c.oid::regclass::text, quote_ident(n.nspname) || '.' || quote_ident(c.relname),"
        " quote_ident(m.nspname) || '.' || quote_ident(r.relname)"
        " from pg_constraint f join pg_class c on c.oid = f.conrelid"
        " join pg_namespace n on n.oid = c.relnamespace join pg_class r on r.oid = f.confrelid"
        " join pg_namespace m on m.oid = r.relnamespace"
        " where f.contype = 'f' and f.conrelid <> f.confrelid";
    _cleanup_rows_ struct rows *keys = NULL;
    if (db_engine(old) == &engine_postgres && db_query(old, sql, NULL, 0, &keys, err) < 0)
        return -1;
    while (ret->n < tables->n) {
        size_t before = ret->n;
        for (size_t pass = 0; pass < 2 && ret->n == before; pass++)
            for (size_t i = 0; i < tables->n; i++) {
                bool ready = !strv_has(ret, tables->v[i]) && (pass == 0 || ret->n == before);
                for (int k = 0; keys && pass == 0 && ready && k < rows_count(keys); k++)
                    ready = !str_eq(rows_get(keys, k, 1), tables->v[i]) ||
                            !strv_has(tables, rows_get(keys, k, 2)) ||
                            strv_has(ret, rows_get(keys, k, 2));
                if (ready)
                    strv_add(ret, tables->v[i]);
            }
    }
    return 0;
}

/* Triggers did their work when the rows were written: what they wrote is exported as well. */
static int add_triggers(struct str *s, struct db *old, const struct strv *tables, bool on,
                        struct err *err)
{
    static const char sql[] =
        "select quote_ident(tgname), case tgenabled when 'A' then 'always ' else '' end"
        " from pg_trigger where tgrelid = to_regclass($1) and not tgisinternal"
        "  and tgenabled in ('O', 'A') order by 1";
    for (size_t i = 0; i < tables->n; i++) {
        _cleanup_rows_ struct rows *rows = NULL;
        const char *values[] = {tables->v[i]};
        if (db_query(old, sql, values, 1, &rows, err) < 0)
            return -1;
        for (int k = 0; k < rows_count(rows); k++)
            str_addf(s, "alter table %s %s %strigger %s;\n", tables->v[i],
                     on ? "enable" : "disable", on ? rows_get(rows, k, 1) : "",
                     rows_get(rows, k, 0));
    }
    return 0;
}

static void add_sequences(struct str *s, const struct deploy *d, const struct deploy_lost *lost)
{
    const struct digest_set *old = &deploy_old(d)->digests;
    for (size_t i = 0; i < old->n; i++) {
        const struct digest *was = &old->v[i], *is = digest_find(&lost->now, was->name);
        if (!was->sequence || !is || !is->sequence || is->next == was->next)
            continue;
        _cleanup_free_ char *name = quote_with(was->name, '\'');
        str_addf(s, "select pg_catalog.setval(%s, %" PRId64 ", false);\n", name, is->next);
    }
}

static const char says_others[] =
    "-- What others wrote to the database between the bundle and the failed upgrade's end.\n"
    "-- To be run once on the database in the state of the bundle: ";
static const char says_undecided[] =
    "-- Rows that the upgrade wrote or took away last, where others may have written before.\n"
    "-- What stands here is the failed database's; nobody can tell whose it is. For a person\n"
    "-- to choose from, after others.sql: ";
static const char begin_postgres[] = "set client_encoding = '%s';\n"
                                     "set standard_conforming_strings = on;\n"
                                     "set search_path = pg_catalog;\n"
                                     "set timezone = 'UTC';\n"
                                     "set datestyle = 'ISO, YMD';\n"
                                     "set intervalstyle = 'postgres';\n"
                                     "set extra_float_digits = 3;\n"
                                     "set bytea_output = 'hex';\n"
                                     "set lc_monetary = 'C';\n"
                                     "set row_security = off;\n"
                                     "begin;\n";
static const char begin_sqlite[] = ".dbconfig enable_trigger off\n"
                                   "pragma foreign_keys = off;\n"
                                   "begin immediate;\n";

static int begin_sheet(struct sheet *s, const char *says, struct db *old, const struct strv *tables,
                       struct err *err)
{
    bool postgres = db_engine(old) == &engine_postgres;
    _cleanup_free_ char *encoding = NULL;
    str_addf(&s->text, "%s%s\n", says,
             postgres ? "psql -v ON_ERROR_STOP=1 -f FILE" : "sqlite3 -bail DATABASE < FILE");
    if (!postgres) {
        str_add(&s->text, begin_sqlite);
        return 0;
    }
    if (db_query_text(old,
                      "select case when current_setting('server_encoding') = 'SQL_ASCII'"
                      " then 'SQL_ASCII' else 'UTF8' end",
                      NULL, 0, &encoding, err) < 0)
        return -1;
    str_addf(&s->text, begin_postgres, encoding);
    return add_triggers(&s->text, old, tables, false, err);
}

static int end_sheet(struct sheet *s, struct db *old, const struct strv *tables, struct err *err)
{
    if (db_engine(old) == &engine_postgres && add_triggers(&s->text, old, tables, true, err) < 0)
        return -1;
    str_add(&s->text, "commit;\n");
    return 0;
}

static int write_all(struct merge *m, const struct deploy_lost *lost, struct err *err)
{
    _cleanup_strv_ struct strv tables = {0};
    if (order_tables(m->old, &lost->tables, &tables, err) < 0 ||
        begin_sheet(m->others, says_others, m->old, &tables, err) < 0 ||
        begin_sheet(m->undecided, says_undecided, m->old, &tables, err) < 0)
        return -1;
    m->deletes = true;
    for (size_t i = tables.n; i-- > 0;)
        if (export_table(m, lost, tables.v[i], err) < 0)
            return -1;
    m->deletes = false;
    for (size_t i = 0; i < tables.n; i++)
        if (export_table(m, lost, tables.v[i], err) < 0)
            return -1;
    if (m->postgres)
        add_sequences(&m->others->text, m->d, lost);
    return end_sheet(m->others, m->old, &tables, err) < 0 ||
                   end_sheet(m->undecided, m->old, &tables, err) < 0
               ? -1
               : 0;
}

int deploy_export(struct deploy *d, const struct deploy_lost *lost, struct db *old,
                  struct db *failed, struct err *err)
{
    _cleanup_free_ char *dir = xasprintf("%s.lost", d->entry->bundle);
    struct sheet others = {.name = "others.sql", .file.fd = -1},
                 undecided = {.name = "undecided.sql", .file.fd = -1};
    struct merge m = {.d = d,
                      .old = old,
                      .failed = failed,
                      .others = &others,
                      .undecided = &undecided,
                      .postgres = d->o->engine == &engine_postgres};
    deploy_progress(d, "roll back", "exporting rows of others");
    int rc = dir_make(dir, 0700, err);
    if (rc == 0 && (rc = partial_create(dir, &others.file, err)) == 0) {
        if ((rc = partial_create(dir, &undecided.file, err)) == 0) {
            rc = write_all(&m, lost, err) < 0 || publish(&others, dir, err) < 0 ||
                         publish(&undecided, dir, err) < 0
                     ? -1
                     : 0;
            partial_release(&undecided.file);
        }
        partial_release(&others.file);
    }
    str_release(&others.text);
    str_release(&undecided.text);
    if (rc < 0)
        return err_prefix(err, "the rows of others cannot be exported");
    if (!others.changes && !undecided.changes)
        return 0;
    free(d->result->exported);
    d->result->exported = xstrdup(dir);
    deploy_say(d, "%llu changes of others since the bundle was taken are in %s%s",
               (unsigned long long)others.changes, dir,
               undecided.changes ? "; those in undecided.sql a person must look at" : "");
    return journal_note(d->journal, d->entry->id, "exported", dir, err);
}
