#include "backup/postgres_source.h"

#include <libpq-fe.h>
#include <stdlib.h>
#include <string.h>

#include "harness/engine/pgdatabase.h"
#include "harness/engine/pgprogram.h"
#include "harness/schema/schema.h"
#include "harness/schema/schema_postgres.h"

/* Others may create tables between the look and the lock. */
#define TRIES 5
#define TABLES_A_LOCK 100
#define SEQUENCES_AT_ONCE 100

/* ---- whether everything can be read ---- */

/* clang-format off */

/* Objects that pg_dump leaves out, with a warning or without, for a role that may not read them. */
static const char unreadable_sql[] =
    "select 'sequence ' || " NAME("c.relname") " || ': permission denied'"
    " from pg_class c join pg_namespace n on n.oid = c.relnamespace"
    " where c.oid >= " FIRST_USER_OID " and c.relkind = 'S' and c.relpersistence <> 't'"
    "  and" SCHEMA_FILTER
    /* in this order: the function refuses other relations */
    "  and case when c.relkind = 'S' then not has_sequence_privilege(c.oid, 'select') end"
    "  and not exists (select from pg_depend e where e.classid = 'pg_class'::regclass"
    "   and e.objid = c.oid and e.deptype = 'e')"
    " union all"
    " select 'subscription: only a superuser can read it'"
    " where current_setting('is_superuser') <> 'on' and exists (select from pg_subscription s"
    "  join pg_database b on b.oid = s.subdbid where b.datname = current_database())"
    " union all"
    " select 'user mapping for ' || m.usename || ' on server ' || quote_ident(m.srvname)"
    "  || ': only the server''s owner can read its options'"
    " from pg_user_mappings m join pg_foreign_server s on s.oid = m.srvid"
    " where m.umoptions is null and current_setting('is_superuser') <> 'on'"
    "  and not case when m.umuser = 0 then pg_has_role(s.srvowner, 'usage')"
    "   else m.usename = current_user and (pg_has_role(s.srvowner, 'usage')"
    "    or has_server_privilege(s.oid, 'usage')) end"
    " union all"
    " select 'unlogged table ' || " NAME("c.relname") " || ': a standby does not have its rows'"
    " from pg_class c join pg_namespace n on n.oid = c.relnamespace"
    " where pg_is_in_recovery() and c.relkind = 'r' and c.relpersistence = 'u'";

/* Roles that own or were granted something. The bootstrap superuser needs no such record, being
 * always there; its name is not the same everywhere. */
static const char roles_sql[] =
    "select quote_ident(rolname), rolname from pg_roles where oid in ("
    " select refobjid from pg_shdepend d join pg_database b on b.datname = current_database()"
    "  where d.refclassid = 'pg_authid'::regclass and (d.dbid = b.oid"
    "   or (d.classid = 'pg_database'::regclass and d.objid = b.oid))"
    " union select datdba from pg_database where datname = current_database()"
    " union select setrole from pg_db_role_setting s join pg_database b on b.oid = s.setdatabase"
    "  where b.datname = current_database()"
    " union select relowner from pg_class where oid >= " FIRST_USER_OID
    " union select nspowner from pg_namespace where oid >= " FIRST_USER_OID
    " union select proowner from pg_proc where oid >= " FIRST_USER_OID
    " union select typowner from pg_type where oid >= " FIRST_USER_OID
    " union select extowner from pg_extension where oid >= " FIRST_USER_OID
    " union select lomowner from pg_largeobject_metadata)"
    " and rolname not like 'pg\\_%' order by 1";

static const char database_sql[] =
    "select datname, pg_encoding_to_char(encoding), datcollate, datctype, %s, %s"
    " from pg_database where datname = current_database()";

static const char sequences_sql[] =
    "select n.nspname, c.relname, s.seqincrement, s.seqmin, s.seqmax, s.seqcycle"
    " from pg_sequence s join pg_class c on c.oid = s.seqrelid"
    " join pg_namespace n on n.oid = c.relnamespace"
    " where c.relpersistence <> 't' and" SCHEMA_FILTER
    " and c.oid >= " FIRST_USER_OID
    "  and not exists (select from pg_depend e join pg_extension x on x.oid = e.refobjid"
    "   where e.classid = 'pg_class'::regclass and e.objid = c.oid and e.deptype = 'e'"
    "   and e.refclassid = 'pg_extension'::regclass"
    "   and c.oid <> all(coalesce(x.extconfig, '{}')))"
    " order by 1, 2";

/* clang-format on */

static int check_readable(struct pg_source *s, struct err *err)
{
    _cleanup_rows_ struct rows *rows = NULL;
    if (db_query(s->db, unreadable_sql, NULL, 0, &rows, err) < 0)
        return -1;
    struct strv *list = &s->scan.unreadable;
    for (int i = 0; i < rows_count(rows); i++)
        strv_add(list, rows_get(rows, i, 0));
    if (!list->n)
        return 0;
    err_set(err, ERR_ENV, "cannot read all of the database: %s%s", list->v[0],
            list->n > 1 ? ", and more" : "");
    err->detail = strv_join(list, "\n");
    return err_hint(err, "back up as the owner of the objects, as a superuser, or as a member of "
                         "pg_read_all_data with BYPASSRLS");
}

/* ---- locks and the snapshot ---- */

/* The time it takes to get a lock is the same everywhere: asking for a table's size takes one, too. */
static int lock_failed(const struct pg_source *s, struct err *err)
{
    int ms = s->lock_timeout_ms;
    if (err->hint && strstr(err->hint, "max_locks_per_transaction")) {
        err_set(err, ERR_ENV,
                "the server's lock table has no room for a lock on each of %zu tables",
                s->scan.ntables);
        return err_hint(err, PG_LOCK_TABLE_HINT);
    }
    if (strcmp(err->sqlstate, "55P03") != 0)
        return -1;
    err_set(err, ERR_ENV, "no lock for reading the tables within %d.%d s", ms / 1000,
            ms % 1000 / 100);
    return err_hint(err, "another session changes a table, or waits to; try again when it is done");
}

static int look(struct pg_source *s, struct err *err)
{
    pg_scan_release(&s->scan);
    return pg_scan_catalog(&s->scan, s->db, err) < 0 ? lock_failed(s, err) : 0;
}

static int lock_tables(struct pg_source *s, struct err *err)
{
    const struct pg_scan *scan = &s->scan;
    for (size_t i = 0; i < scan->ntables;) {
        _cleanup_str_ struct str sql = {0};
        for (size_t n = 0; i < scan->ntables && n < TABLES_A_LOCK; i++, n++)
            str_addf(&sql, "%s only %s", n ? "," : "lock table", scan->tables[i].name);
        str_add(&sql, " in access share mode");
        if (db_run(s->db, sql.p, DB_RUN_WHOLE, NULL, err) < 0)
            return lock_failed(s, err);
    }
    return 0;
}

/* 1 when what there is has changed since it was looked at. */
static int try_lock(struct pg_source *s, struct err *err)
{
    if (db_run(s->db, "begin isolation level repeatable read, read only", DB_RUN_WHOLE, NULL, err) <
        0)
        return -1;
    if (lock_tables(s, err) < 0)
        return strcmp(err->sqlstate, "42P01") == 0 ? 1 : -1;
    _cleanup_free_ char *before = xstrdup(s->scan.identity);
    if (db_query_text(s->db, "select pg_export_snapshot()", NULL, 0, &s->snapshot, err) < 0 ||
        look(s, err) < 0)
        return -1;
    return strcmp(before, s->scan.identity) == 0 ? 0 : 1;
}

int pg_source_freeze(struct pg_source *s, int lock_timeout_ms, struct err *err)
{
    s->lock_timeout_ms = lock_timeout_ms;
    _cleanup_free_ char *timeout = xasprintf("set lock_timeout = %d", s->lock_timeout_ms);
    if (db_run(s->db, timeout, DB_RUN_WHOLE, NULL, err) < 0)
        return -1;
    for (int i = 0; i < TRIES; i++) {
        if (look(s, err) < 0 || check_readable(s, err) < 0)
            return -1;
        int r = try_lock(s, err);
        if (r <= 0)
            return r;
        err_release(err);
        free(TAKE_PTR(s->snapshot));
        if (db_run(s->db, "rollback", DB_RUN_WHOLE, NULL, err) < 0)
            return -1;
    }
    err_set(err, ERR_ENV, "tables come and go faster than they can be locked");
    return err_hint(err, "try again when the schema is not being changed");
}

/* ---- what is no table ---- */

int pg_source_schema(struct pg_source *s, const struct backup_control *control, struct str *archive,
                     struct err *err)
{
    _cleanup_free_ char *snapshot = xasprintf("--snapshot=%s", s->snapshot);
    _cleanup_free_ char *timeout = xasprintf("--lock-wait-timeout=%d", s->lock_timeout_ms);
    const char *argv[] = {s->program,
                          "--format=custom",
                          "--compress=0",
                          "--section=pre-data",
                          "--section=post-data",
                          snapshot,
                          timeout,
                          NULL};
    return pg_child_run(&s->child, argv, NULL, "to read the schema", control, archive, err);
}

static struct digest *add_sequence_digest(struct digest_set *set, const char *name)
{
    set->v = xgrow(set->v, set->n, &set->cap, sizeof(*set->v));
    set->v[set->n] = (struct digest){.name = xstrdup(name), .sequence = true};
    return &set->v[set->n++];
}

/* The savepoint gives the locks back: one for each sequence, beside those of the tables, would fill
 * the server's lock table. */
static int query_and_unlock(struct db *db, const char *sql, struct rows **ret, struct err *err)
{
    return db_run(db, "savepoint belay", DB_RUN_WHOLE, NULL, err) < 0 ||
                   db_query(db, sql, NULL, 0, ret, err) < 0
               ? -1
               : db_run(db, "rollback to savepoint belay; release savepoint belay", DB_RUN_WHOLE,
                        NULL, err);
}

/* last_value and is_called of the sequences from row `first` on. */
static int read_sequences(struct pg_source *s, const struct rows *list, int first,
                          struct str *statements, struct err *err)
{
    _cleanup_str_ struct str sql = {0};
    _cleanup_rows_ struct rows *rows = NULL;
    _cleanup_strv_ struct strv names = {0};
    for (int i = first; i < rows_count(list) && i < first + SEQUENCES_AT_ONCE; i++) {
        _cleanup_free_ char *schema = db_quote_ident(s->db, rows_get(list, i, 0));
        _cleanup_free_ char *name = db_quote_ident(s->db, rows_get(list, i, 1));
        strv_add_take(&names, xasprintf("%s.%s", schema, name));
        str_addf(&sql, "%sselect %d, last_value, is_called from %s", sql.len ? " union all " : "",
                 i, names.v[names.n - 1]);
    }
    str_add(&sql, " order by 1");
    if (query_and_unlock(s->db, sql.p, &rows, err) < 0)
        return -1;
    for (int i = 0; i < rows_count(rows); i++) {
        const char *last = rows_get(rows, i, 1), *name = names.v[i];
        bool called = rows_get(rows, i, 2)[0] == 't';
        int of = first + i;
        struct digest *d = add_sequence_digest(&s->scan.digests, name);
        d->next = digest_sequence_next(
            strtoll(last, NULL, 10), called, strtoll(rows_get(list, of, 2), NULL, 10),
            strtoll(rows_get(list, of, 3), NULL, 10), strtoll(rows_get(list, of, 4), NULL, 10),
            rows_get(list, of, 5)[0] == 't');
        _cleanup_free_ char *literal = quote_with(name, '\'');
        str_addf(statements, "SELECT pg_catalog.setval(%s, %s, %s);\n", literal, last,
                 called ? "true" : "false");
    }
    return 0;
}

int pg_source_sequences(struct pg_source *s, struct str *statements, struct err *err)
{
    _cleanup_rows_ struct rows *list = NULL;
    if (db_query(s->db, sequences_sql, NULL, 0, &list, err) < 0)
        return -1;
    for (int i = 0; i < rows_count(list); i += SEQUENCES_AT_ONCE)
        if (read_sequences(s, list, i, statements, err) < 0)
            return -1;
    return pg_scan_object_owners(&s->scan, s->db, &s->scan.digests, err);
}

int pg_source_describe(struct pg_source *s, struct manifest *m, struct err *err)
{
    int version = db_version(s->db);
    _cleanup_free_ char *sql = xasprintf(
        database_sql,
        version >= 150000 ? "case datlocprovider when 'i' then 'icu' when 'b' then 'builtin'"
                            " else 'libc' end"
                          : "'libc'",
        version >= 170000   ? "datlocale"
        : version >= 150000 ? "daticulocale"
                            : "null");
    _cleanup_rows_ struct rows *rows = NULL, *roles = NULL;
    if (db_query(s->db, sql, NULL, 0, &rows, err) < 0 ||
        db_query(s->db, roles_sql, NULL, 0, &roles, err) < 0)
        return -1;
    char **fields[] = {&m->database, &m->encoding,        &m->collate,
                       &m->ctype,    &m->locale_provider, &m->icu_locale};
    for (size_t i = 0; i < ARRAY_LEN(fields); i++)
        *fields[i] = xstrdup(rows_get(rows, 0, (int)i));
    for (int i = 0; i < rows_count(roles); i++)
        strv_add(&m->roles, rows_get(roles, i, 1));
    m->version = version;
    m->server = xasprintf("%d.%d", version / 10000, version % 10000);
    m->host = xstrdup(PQhost(db_handle(s->db)));
    if (pg_database_statements(s->db, m->database, NULL, &m->settings, err) < 0)
        return -1;
    return schema_read(s->db, NULL, &m->snapshot, err);
}

/* ---- the whole ---- */

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct digest *)a)->name, ((const struct digest *)b)->name);
}

void pg_source_take_digests(struct pg_source *s, struct manifest *m)
{
    m->digest_version = DIGEST_VERSION;
    m->digests = s->scan.digests;
    s->scan.digests = (struct digest_set){0};
    if (m->digests.n)
        qsort(m->digests.v, m->digests.n, sizeof(*m->digests.v), by_name);
}

int pg_source_open(struct pg_source *s, const char *url, struct err *err)
{
    if (pg_child_init(&s->child, url, err) < 0 || pg_scan_open(url, &s->db, err) < 0)
        return -1;
    return pg_program_find("pg_dump", db_version(s->db) / 10000, &s->program, NULL, err);
}

void pg_source_close(struct pg_source *s)
{
    db_close(s->db); /* with its locks */
    pg_scan_release(&s->scan);
    pg_child_release(&s->child);
    free(s->program);
    free(s->snapshot);
    *s = (struct pg_source){0};
}
