#include "backup/postgres_restore.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "backup/canceller.h"
#include "backup/postgres_scan.h"
#include "harness/base/clock.h"
#include "harness/base/str.h"
#include "harness/engine/pgdatabase.h"
#include "harness/engine/pgpooler.h"
#include "harness/engine/url.h"

#define NAME_MAX_BYTES 63
/* For the lock on the database, which somebody may hold who copies it. */
#define SWAP_LOCK_TIMEOUT "10s"

/* ---- the target ---- */

static int target_name(const struct conninfo *c, char **ret, struct err *err)
{
    const char *name = conninfo_get(c, "dbname");
    if (!name)
        name = getenv("PGDATABASE");
    if (!name || !*name)
        return err_set(err, ERR_USAGE, "the URL names no database to restore to");
    if (strlen(name) > NAME_MAX_BYTES)
        return err_set(err, ERR_USAGE, "the database's name is longer than %d bytes",
                       NAME_MAX_BYTES);
    *ret = xstrdup(name);
    return 0;
}

/* A session on another database of the same server, from which the target can be renamed. */
static int open_maintenance(struct pg_target *t, struct conninfo *c, struct err *err)
{
    static const char *const databases[] = {"postgres", "template1"};
    for (size_t i = 0; i < ARRAY_LEN(databases); i++) {
        if (strcmp(databases[i], t->name) == 0)
            continue;
        conninfo_set(c, "dbname", databases[i]);
        free(t->maintenance);
        t->maintenance = conninfo_url(c);
        err_release(err);
        _cleanup_db_ struct db *db = NULL;
        if (db_open(&engine_postgres, t->maintenance, DB_OPEN_DEFAULT, &db, err) == 0 &&
            pg_refuse_pooler(db, t->maintenance, err) == 0 &&
            scratch_pool_open(&engine_postgres, &(struct scratch_options){.url = t->maintenance},
                              &t->pool, err) == 0)
            return 0;
        if (!strstr(err->message, "does not exist"))
            break;
    }
    return -1;
}

int pg_target_open(struct pg_target *t, const char *url, struct err *err)
{
    _cleanup_conninfo_ struct conninfo c = {0};
    if (conninfo_parse(url, &c, err) < 0 || target_name(&c, &t->name, err) < 0 ||
        open_maintenance(t, &c, err) < 0 ||

        db_query_text(scratch_pool_db(t->pool),
                      "select spcname from pg_database d join pg_tablespace t"
                      " on t.oid = d.dattablespace where datname = $1",
                      (const char *[]){t->name}, 1, &t->tablespace, err) < 0)
        return -1;
    t->exists = t->tablespace != NULL;
    return 0;
}

void pg_target_close(struct pg_target *t)
{
    scratch_free(t->beside);
    scratch_pool_close(t->pool);
    if (t->maintenance)
        explicit_bzero(t->maintenance, strlen(t->maintenance));
    free(t->maintenance);
    free(t->tablespace);
    free(t->name);
    *t = (struct pg_target){0};
}

/* ---- whether it can hold the bundle ---- */

/* Adds "what: name" for each name that the query, given it as $1, finds nothing for. */
static int add_missing(struct db *db, const char *what, const char *query, const char *name,
                       struct strv *missing, struct err *err)
{
    _cleanup_free_ char *found = NULL;
    if (db_query_text(db, query, (const char *[]){name}, 1, &found, err) < 0)
        return -1;
    if (!found)
        strv_add_take(missing, xasprintf("%s %s", what, name));
    return 0;
}

static int missing_roles(struct db *db, const struct manifest *m, struct strv *ret, struct err *err)
{
    for (size_t i = 0; i < m->roles.n; i++)
        if (add_missing(db, "role", "select 1 from pg_roles where rolname = $1", m->roles.v[i], ret,
                        err) < 0)
            return -1;
    return 0;
}

void pg_tablespaces(const struct manifest *m, struct strv *ret)
{
    static const char *const properties[] = {"tablespace", "index tablespace"};
    for (size_t i = 0; i < m->snapshot->n; i++)
        for (size_t k = 0; k < ARRAY_LEN(properties); k++) {
            const char *name = object_get(m->snapshot->objects[i], properties[k]);
            if (name && !strv_has(ret, name))
                strv_add(ret, name);
        }
}

static int missing_from_schema(struct db *db, const struct manifest *m, struct strv *ret,
                               struct err *err)
{
    _cleanup_strv_ struct strv tablespaces = {0};
    for (size_t i = 0; i < m->snapshot->n; i++) {
        const struct object *o = m->snapshot->objects[i];
        if (strcmp(o->kind, "extension") == 0 &&
            add_missing(db, "extension",
                        "select 1 from pg_available_extensions where quote_ident(name) = $1",
                        o->identity, ret, err) < 0)
            return -1;
    }
    pg_tablespaces(m, &tablespaces);
    for (size_t i = 0; i < tablespaces.n; i++)
        if (add_missing(
                db, "tablespace",
                "select 1 from pg_tablespace where $1::text in (spcname, quote_ident(spcname))",
                tablespaces.v[i], ret, err) < 0)
            return -1;
    return 0;
}

static int check_rights(const struct pg_target *t, struct db *db, struct err *err)
{
    /* clang-format off */
    static const char sql[] =
        "select pg_has_role(d.datdba, 'usage'), pg_get_userbyid(d.datdba), current_user,"
        " d.datistemplate, exists (select from pg_prepared_xacts x where x.database = d.datname)"
        " from pg_database d where d.datname = $1";
    /* clang-format on */
    _cleanup_rows_ struct rows *rows = NULL;
    if (db_query(db, sql, (const char *[]){t->name}, 1, &rows, err) < 0)
        return -1;
    if (!rows_count(rows))
        return 0;
    if (!str_eq(rows_get(rows, 0, 0), "t")) {
        err_set(err, ERR_ENV, "database \"%s\" belongs to %s, and %s may not rename it", t->name,
                rows_get(rows, 0, 1), rows_get(rows, 0, 2));
        return err_hint(err, "restore as its owner with CREATEDB, or as a superuser");
    }
    if (str_eq(rows_get(rows, 0, 3), "t"))
        return err_set(err, ERR_ENV, "database \"%s\" is a template", t->name);
    if (str_eq(rows_get(rows, 0, 4), "t")) {
        err_set(err, ERR_ENV, "database \"%s\" has prepared transactions, which block a rename",
                t->name);
        return err_hint(err, "finish them (pg_prepared_xacts lists them) with COMMIT PREPARED or "
                             "ROLLBACK PREPARED");
    }
    return 0;
}

int pg_target_check(struct pg_target *t, const struct manifest *m, bool no_owner, struct err *err)
{
    struct db *db = scratch_pool_db(t->pool);
    _cleanup_strv_ struct strv missing = {0};
    int target = db_version(db) / 10000, source = m->version / 10000;
    t->manifest = m;
    t->no_owner = no_owner;
    if (target < source) {
        err_set(err, ERR_ENV, "the bundle is of PostgreSQL %d, and the server is %d", source,
                target);
        return err_hint(err, "a database can be restored on the same or a newer major version");
    }
    if (check_rights(t, db, err) < 0 || (!no_owner && missing_roles(db, m, &missing, err) < 0))
        return -1;
    bool roles = missing.n > 0;
    if (missing_from_schema(db, m, &missing, err) < 0)
        return -1;
    if (!missing.n)
        return 0;
    _cleanup_free_ char *all = strv_join(&missing, ", ");
    err_set(err, ERR_ENV, "the server lacks what the bundle needs: %s", all);
    return err_hint(err, "%s",
                    roles ? "create the roles (CREATE ROLE ...), or restore with --no-owner"
                          : "install or create it first");
}

/* ---- loading beside ---- */

static void add_option(struct str *s, const char *name, const char *value)
{
    if (!value)
        return;
    _cleanup_free_ char *literal = quote_with(value, '\'');
    str_addf(s, " %s %s", name, literal);
}

char *pg_database_options(const struct manifest *m)
{
    struct str s = {0};
    str_add(&s, "template template0");
    add_option(&s, "encoding", m->encoding);
    add_option(&s, "lc_collate", m->collate);
    add_option(&s, "lc_ctype", m->ctype);
    if (m->locale_provider && strcmp(m->locale_provider, "libc") != 0) {
        str_addf(&s, " locale_provider %s", m->locale_provider);
        add_option(&s, strcmp(m->locale_provider, "icu") == 0 ? "icu_locale" : "builtin_locale",
                   m->icu_locale);
    }
    return str_take(&s);
}

/* DROP DATABASE begins with a checkpoint, which a full disk does not allow: the largest tables go
 * before. */
static void give_space_back(const char *url)
{
    static const char largest[] =
        "select format('drop table if exists %I.%I cascade', n.nspname, c.relname) from pg_class c"
        " join pg_namespace n on n.oid = c.relnamespace"
        " where c.relkind = 'r' and c.oid >= 16384 order by pg_table_size(c.oid) desc limit 100";
    _cleanup_rows_ struct rows *rows = NULL;
    _cleanup_db_ struct db *db = NULL;
    _cleanup_err_ struct err ignored = {0}; /* what led here is the one to tell */
    if (pg_scan_open(url, &db, &ignored) < 0 || db_query(db, largest, NULL, 0, &rows, &ignored) < 0)
        return;
    for (int i = 0; i < rows_count(rows); i++)
        if (db_run(db, rows_get(rows, i, 0), DB_RUN_WHOLE, NULL, &ignored) < 0)
            return;
}

int pg_target_load(struct pg_target *t, struct load *l, struct err *err)
{
    _cleanup_str_ struct str like = {0};
    _cleanup_free_ char *options = pg_database_options(t->manifest);
    str_add(&like, options);
    /* the default needs no name, which would need a privilege */
    if (t->exists && strcmp(t->tablespace, "pg_default") != 0) {
        _cleanup_free_ char *quoted = quote_with(t->tablespace, '"');
        str_addf(&like, " tablespace %s", quoted);
    }
    if (scratch_new_like(t->pool, like.p, &t->beside, err) < 0)
        return -1;
    l->url = scratch_url(t->beside);
    l->no_owner = t->no_owner;
    int rc = load_postgres(l, err);
    if (rc == 0)
        rc = pg_must_equal(l, err);
    else if (strcmp(err->sqlstate, "53100") == 0 ||
             (err->detail && strstr(err->detail, "No space left on device")))
        give_space_back(l->url);
    l->url = NULL;
    return rc;
}

/* ---- the swap ---- */

/* Ends the sessions on a database, again and again, until it is told that nobody is left to end. */
struct ender {
    struct db *db;
    const char *name;
    atomic_bool done;
    pthread_t thread;
};

static void *end_sessions(void *data)
{
    struct ender *e = data;
    _cleanup_err_ struct err ignored = {0}; /* the rename says who is left */
    while (!atomic_load(&e->done)) {
        _cleanup_rows_ struct rows *rows = NULL;
        db_query(e->db,
                 "select pg_terminate_backend(pid) from pg_stat_activity where datname = $1"
                 " and pid <> pg_backend_pid()",
                 (const char *[]){e->name}, 1, &rows, &ignored);
        nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
    }
    return NULL;
}

/* NAME_before_restore_20261121T043000Z, of a length that the server keeps; number: of the second one
 * within a second, and so on. */
static char *kept_name(const char *name, int number)
{
    _cleanup_free_ char *stamp = clock_utc(CLOCK_STAMP);
    _cleanup_str_ struct str when = {0};
    str_addf(&when, "_before_restore_%s", stamp);
    if (number > 1)
        str_addf(&when, "_%d", number);
    size_t n = when.len, keep = strlen(name);
    if (keep > NAME_MAX_BYTES - n)
        keep = NAME_MAX_BYTES - n;
    while (keep && ((unsigned char)name[keep] & 0xc0) == 0x80) /* not within a character */
        keep--;
    return xasprintf("%.*s%s", (int)keep, name, when.p);
}

static int rename_in(struct db *db, const char *from, const char *to, struct err *err)
{
    _cleanup_free_ char *a = db_quote_ident(db, from), *b = db_quote_ident(db, to);
    _cleanup_free_ char *sql = xasprintf("alter database %s rename to %s", a, b);
    return db_run(db, sql, DB_RUN_WHOLE, NULL, err);
}

/* The rename locks the database first, which makes new sessions wait, and then waits up to 5 s for
 * the others to end, while the ender ends them. */
static int rename_used(struct db *db, struct db *second, const char *from, const char *to,
                       struct err *err)
{
    struct ender ender = {.db = second, .name = from};
    if (pthread_create(&ender.thread, NULL, end_sessions, &ender) != 0)
        return err_set(err, ERR_ENV, "cannot start a thread");
    int rc = rename_in(db, from, to, err);
    atomic_store(&ender.done, true);
    pthread_join(ender.thread, NULL);
    return rc;
}

/* Nothing is changed for anybody until the commit, and when we die before it, the server rolls
 * back. */
static int rename_both(struct db *db, struct db *second, const char *name, const char *database,
                       const char *kept, const struct strv *statements, struct err *err)
{
    if (db_run(db, "begin; set local lock_timeout = '" SWAP_LOCK_TIMEOUT "'", DB_RUN_WHOLE, NULL,
               err) < 0 ||
        (kept && rename_used(db, second, name, kept, err) < 0) ||
        /* a pooler may have kept sessions of ours when we had closed them */
        rename_used(db, second, database, name, err) < 0)
        return -1;
    for (size_t i = 0; statements && i < statements->n; i++) {
        _cleanup_free_ char *sql = pg_database_statement(db, statements->v[i], name);
        if (db_run(db, sql, DB_RUN_WHOLE, NULL, err) < 0)
            return -1;
    }
    return db_run(db, "commit", DB_RUN_WHOLE, NULL, err);
}

static int swap_in(struct db *db, struct db *second, const char *name, const char *database,
                   const char *kept, const struct strv *statements, struct err *err)
{
    if (rename_both(db, second, name, database, kept, statements, err) == 0)
        return 0;
    _cleanup_err_ struct err ignored = {0}; /* the first error is the one to tell */
    if (db_in_transaction(db))
        db_run(db, "rollback", DB_RUN_WHOLE, NULL, &ignored);
    if (strcmp(err->sqlstate, "55006") == 0 || strcmp(err->sqlstate, "55P03") == 0) {
        err->code = ERR_ENV;
        err_hint(err, "sessions that this role may not end use it: stop what connects, and restore "
                      "again");
    }
    return err_prefix(err, "the restored database cannot take the place of \"%s\"", name);
}

static int exists(struct db *db, const char *name, bool *ret, struct err *err)
{
    _cleanup_free_ char *there = NULL;
    if (db_query_text(db, "select 1 from pg_database where datname = $1", (const char *[]){name}, 1,
                      &there, err) < 0)
        return -1;
    *ret = there != NULL;
    return 0;
}

static int choose_kept_name(struct db *db, const char *name, char **ret, struct err *err)
{
    bool taken = true;
    for (int i = 1; taken; i++) {
        free(TAKE_PTR(*ret));
        *ret = kept_name(name, i);
        if (exists(db, *ret, &taken, err) < 0)
            return -1;
    }
    return 0;
}

int pg_swap(const char *maintenance_url, const char *name, const char *database,
            const struct strv *statements, char **ret_kept, struct err *err)
{
    _cleanup_db_ struct db *db = NULL, *second = NULL;
    _cleanup_free_ char *kept = NULL;
    bool there;
    if (db_open(&engine_postgres, maintenance_url, DB_OPEN_DEFAULT, &db, err) < 0 ||
        db_open(&engine_postgres, maintenance_url, DB_OPEN_DEFAULT, &second, err) < 0 ||
        db_run(db, "set synchronous_commit = on; set statement_timeout = 0", DB_RUN_WHOLE, NULL,
               err) < 0 ||
        exists(db, name, &there, err) < 0 ||
        (there && choose_kept_name(db, name, &kept, err) < 0) ||
        swap_in(db, second, name, database, kept, statements, err) < 0)
        return -1;
    *ret_kept = TAKE_PTR(kept);
    return 0;
}

int pg_rename(const char *maintenance_url, const char *from, const char *to, struct err *err)
{
    _cleanup_db_ struct db *db = NULL, *second = NULL;
    if (db_open(&engine_postgres, maintenance_url, DB_OPEN_DEFAULT, &db, err) < 0 ||
        db_open(&engine_postgres, maintenance_url, DB_OPEN_DEFAULT, &second, err) < 0 ||
        db_run(db,
               "set synchronous_commit = on; set statement_timeout = 0;"
               " set lock_timeout = '" SWAP_LOCK_TIMEOUT "'",
               DB_RUN_WHOLE, NULL, err) < 0)
        return -1;
    if (rename_used(db, second, from, to, err) == 0)
        return 0;
    if (strcmp(err->sqlstate, "55006") == 0 || strcmp(err->sqlstate, "55P03") == 0) {
        err->code = ERR_ENV;
        err_hint(err, "sessions that this role may not end use it: stop what connects");
    }
    return err_prefix(err, "cannot rename \"%s\" to \"%s\"", from, to);
}

int pg_target_swap(struct pg_target *t, char **ret_kept, struct err *err)
{
    _cleanup_strv_ struct strv statements = {0};
    bool comment = false;
    for (size_t i = 0; i < t->manifest->settings.n; i++) {
        const char *s = t->manifest->settings.v[i];
        if (!pg_setting_is_late(s))
            continue;
        strv_add(&statements, s);
        comment = comment || str_starts(s, "comment ");
    }
    if (!comment) /* the mark of a scratch database goes */
        strv_add(&statements, "comment on database :\"database\" is null");
    if (pg_swap(t->maintenance, t->name, scratch_name(t->beside), &statements, ret_kept, err) < 0)
        return -1;
    scratch_give_away(TAKE_PTR(t->beside));
    return 0;
}

/* ---- the whole ---- */

static int before_swap(const struct restore_options *o, const struct pg_target *t, struct err *err)
{
    return o->before ? o->before(o->before_data, scratch_url(t->beside), NULL, err) : 0;
}

static int restore_postgres(struct restore *r, struct err *err)
{
    struct pg_target t = {0};
    int rc = -1;
    if (pg_target_open(&t, r->options->url, err) == 0 &&
        pg_target_check(&t, r->load.manifest, r->options->no_owner, err) == 0 &&
        pg_target_load(&t, &r->load, err) == 0 &&
        meter_add(r->load.meter, 0, 0, err) == 0 /* the last moment to stop */ &&
        before_swap(r->options, &t, err) == 0)
        rc = pg_target_swap(&t, &r->result->kept, err);
    if (rc == 0 && r->result->kept) {
        _cleanup_free_ char *quoted = quote_with(r->result->kept, '"');
        r->result->drop = xasprintf("DROP DATABASE %s", quoted);
    }
    pg_target_close(&t);
    return rc;
}

const struct backup_engine backup_postgres = {
    .engine = &engine_postgres,
    .rows_in_parts = true,
    .dump = dump_postgres,
    .load = load_postgres,
    .compare = compare_postgres,
    .scratch_like = pg_database_options,
    .restore = restore_postgres,
};
