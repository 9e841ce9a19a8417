#include "backup/postgres_load.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "backup/canceller.h"
#include "backup/postgres_restore.h"
#include "backup/postgres_scan.h"
#include "backup/workers.h"
#include "harness/base/file.h"
#include "harness/engine/pgdatabase.h"
#include "harness/engine/pgprogram.h"

/* For building indexes, at most: more helps none of them. */
#define SORT_MEMORY_MAX_MB 1024
/* What is lost when the server dies now is a scratch database. */
#define QUICK                                                                                      \
    "-c synchronous_commit=off -c statement_timeout=0 -c lock_timeout=0"                           \
    " -c default_transaction_read_only=off"

static int run_pg_restore(struct pg_loader *ld, const char *const *more, const char *doing,
                          const char *options, struct err *err)
{
    const char *argv[12] = {ld->program, "--exit-on-error"};
    size_t n = 2;
    while (*more)
        argv[n++] = *more++;
    if (ld->l->no_owner) {
        argv[n++] = "--no-owner";
        argv[n++] = "--no-privileges";
    }
    argv[n++] = ld->archive;
    if (pg_child_run(&ld->child, argv, options, doing, ld->l->control, NULL, err) == 0)
        return 0;
    if (err->detail && (strstr(err->detail, "must be member of role") ||
                        strstr(err->detail, "must be able to SET ROLE")))
        err_hint(err, "restore as a superuser or a member of that role, or with --no-owner");
    return -1;
}

static int pre_data(struct pg_loader *ld, struct err *err)
{
    return run_pg_restore(ld, (const char *[]){"--section=pre-data", NULL}, "to make the tables",
                          QUICK, err);
}

static bool has_event_triggers(const struct manifest *m)
{
    for (size_t i = 0; i < m->snapshot->n; i++)
        if (strcmp(m->snapshot->objects[i]->kind, "event trigger") == 0)
            return true;
    return false;
}

/* A line of pg_restore's list: "12; 3466 16384 EVENT TRIGGER - name owner", and what belongs to one
 * "... COMMENT - EVENT TRIGGER name owner". */
static bool is_event_trigger(const char *line, size_t len)
{
    _cleanup_free_ char *text = xstrndup(line, len);
    unsigned id, class, oid;
    int at = 0;
    return sscanf(text, "%u; %u %u %n", &id, &class, &oid, &at) == 3 && at &&
           (str_starts(text + at, "EVENT TRIGGER ") ||
            str_starts(text + at, "COMMENT - EVENT TRIGGER ") ||
            str_starts(text + at, "SECURITY LABEL - EVENT TRIGGER "));
}

/* The archive's list in two files: without event triggers, and these alone. */
static int split_list(const struct str *list, const char *others, const char *triggers,
                      struct err *err)
{
    _cleanup_str_ struct str a = {0}, b = {0};
    for (const char *p = str_get(list); *p;) {
        size_t n = strcspn(p, "\n");
        n += p[n] == '\n';
        str_addn(is_event_trigger(p, n) ? &b : &a, p, n);
        p += n;
    }
    return file_replace(others, str_get(&a), a.len, 0600, err) < 0
               ? -1
               : file_replace(triggers, str_get(&b), b.len, 0600, err);
}

/*
 * Event triggers come last, alone: pg_restore makes them at the same time as it refreshes
 * materialised views in other sessions, and they would act on that.
 */
static int post_data(struct pg_loader *ld, const char *options, struct err *err)
{
    static const char doing[] = "to make indexes, constraints and triggers";
    _cleanup_free_ char *jobs = xasprintf("--jobs=%d", ld->l->jobs);
    const char *const all[] = {"--section=post-data", jobs, NULL};
    if (ld->l->jobs == 1 || !has_event_triggers(ld->l->manifest))
        return run_pg_restore(ld, all, doing, options, err);
    _cleanup_free_ char *others = path_join(guard_dir(ld->guard), "others.list"),
                        *triggers = path_join(guard_dir(ld->guard), "triggers.list");
    const char *argv[] = {ld->program, "--list", "--section=post-data", ld->archive, NULL};
    _cleanup_proc_result_ struct proc_result r = {0};
    const char *const first[] = {"--section=post-data", jobs, "--use-list", others, NULL};
    const char *const then[] = {"--section=post-data", "--use-list", triggers, NULL};
    if (proc_run(&(struct proc_options){.argv = argv}, &r, err) < 0)
        return -1;
    if (r.status != 0)
        return err_set(err, ERR_ENV, "pg_restore cannot list the schema: %s", str_get(&r.errors));
    if (split_list(&r.output, others, triggers, err) < 0 ||
        run_pg_restore(ld, first, doing, options, err) < 0)
        return -1;
    return run_pg_restore(ld, then, "to make event triggers", options, err);
}

/* ---- sessions ---- */

int pg_load_open(const char *url, struct db **ret, struct err *err)
{
    return pg_scan_open(url, ret, err) < 0
               ? -1
               : db_run(*ret, "set synchronous_commit = off", DB_RUN_WHOLE, NULL, err);
}

int pg_load_sessions(const struct load *l, struct db **dbs, struct err *err)
{
    for (int i = 0; i < l->jobs; i++)
        if (pg_load_open(l->url, &dbs[i], err) < 0)
            return -1;
    return 0;
}

void pg_load_sessions_close(const struct load *l, struct db **dbs)
{
    for (int i = 0; i < l->jobs; i++)
        db_close(TAKE_PTR(dbs[i]));
}

char *pg_load_copy_sql(const char *table, const char *columns, bool raw)
{
    return xasprintf("copy %s %s%s%s from stdin%s", table, *columns ? "(" : "", columns,
                     *columns ? ")" : "", raw ? " with (encoding 'SQL_ASCII')" : "");
}

int pg_load_objects_begin(struct db *db, bool *has_table, struct err *err)
{
    if (!*has_table &&
        db_run(db, "create temp table belay_pieces (id oid, start bigint, piece bytea)",
               DB_RUN_WHOLE, NULL, err) < 0)
        return -1;
    *has_table = true;
    return db_run(db, "begin; truncate pg_temp.belay_pieces", DB_RUN_WHOLE, NULL, err);
}

int pg_load_objects_end(struct db *db, struct err *err)
{
    return db_run(db, "select lo_put(id, start, piece) from pg_temp.belay_pieces; commit",
                  DB_RUN_WHOLE, NULL, err);
}

/* ---- before and after ---- */

/* maintenance_work_mem is for each session: what the server's machine has, were it this one. */
static char *index_options(const struct pg_loader *ld, struct err *err)
{
    _cleanup_free_ char *local = NULL;
    if (db_query_text(ld->db, "select inet_server_addr() is null", NULL, 0, &local, err) < 0)
        return NULL;
    long long mb =
        (long long)sysconf(_SC_PHYS_PAGES) * sysconf(_SC_PAGE_SIZE) / (1 << 20) / 4 / ld->l->jobs;
    mb = mb > SORT_MEMORY_MAX_MB ? SORT_MEMORY_MAX_MB : mb;
    if (!str_eq(local, "t") || mb < 64)
        return xstrdup(QUICK);
    return xasprintf(QUICK " -c maintenance_work_mem=%lldMB", mb);
}

/* On a server of belay's own: whoever owns something must be there to own it. */
static int make_roles(struct pg_loader *ld, struct err *err)
{
    const struct strv *roles = &ld->l->manifest->roles;
    for (size_t i = 0; i < roles->n; i++) {
        _cleanup_free_ char *there = NULL;
        _cleanup_free_ char *name = quote_with(roles->v[i], '"');
        _cleanup_free_ char *sql = xasprintf("create role %s", name);
        if (db_query_text(ld->db, "select 1 from pg_roles where rolname = $1",
                          (const char *[]){roles->v[i]}, 1, &there, err) < 0)
            return -1;
        if (!there && db_run(ld->db, sql, DB_RUN_WHOLE, NULL, err) < 0)
            return -1;
    }
    return 0;
}

/* There, too: tablespaces within the server's own folder. */
static int make_tablespaces(struct pg_loader *ld, struct err *err)
{
    _cleanup_strv_ struct strv names = {0};
    pg_tablespaces(ld->l->manifest, &names);
    for (size_t i = 0; i < names.n; i++) {
        _cleanup_free_ char *there = NULL;
        _cleanup_free_ char *name = quote_with(names.v[i], '"');
        _cleanup_free_ char *sql = xasprintf("set allow_in_place_tablespaces = on;"
                                             " create tablespace %s location ''",
                                             name);
        if (db_query_text(ld->db, "select 1 from pg_tablespace where spcname = $1",
                          (const char *[]){names.v[i]}, 1, &there, err) < 0)
            return -1;
        if (!there && db_run(ld->db, sql, DB_RUN_STATEMENTS, NULL, err) < 0)
            return -1;
    }
    return 0;
}

/* clang-format off */

/* Partitioned tables bring their partitions along. Large ones first. */
static const char analyze_sql[] =
    "select 'analyze ' || c.oid::regclass from pg_class c join pg_namespace n"
    " on n.oid = c.relnamespace where c.oid >= 16384 and c.relkind in ('r', 'p', 'm')"
    " and not c.relispartition and c.relpersistence <> 't' and n.nspname not like 'pg\\_toast%'"
    " order by pg_table_size(c.oid) desc, c.oid";

/* clang-format on */

struct analysis {
    const struct rows *statements;
    struct db **dbs;
    atomic_int next, next_db;
};

static int analyze_some(struct workers *w, void *data, struct err *err)
{
    struct analysis *a = data;
    struct db *db = a->dbs[atomic_fetch_add(&a->next_db, 1)];
    int i;
    while (!workers_stopped(w) && (i = atomic_fetch_add(&a->next, 1)) < rows_count(a->statements))
        if (db_run(db, rows_get(a->statements, i, 0), DB_RUN_WHOLE, NULL, err) < 0)
            return -1;
    return 0;
}

static int analyze(struct pg_loader *ld, struct err *err)
{
    const struct load *l = ld->l;
    _cleanup_rows_ struct rows *statements = NULL;
    struct canceller *canceller = NULL;
    if (db_query(ld->db, analyze_sql, NULL, 0, &statements, err) < 0)
        return -1;
    struct analysis a = {.statements = statements, .dbs = xcalloc((size_t)l->jobs, sizeof(a.dbs))};
    int rc = pg_load_sessions(l, a.dbs, err);
    if (rc == 0)
        rc = canceller_start(a.dbs, (size_t)l->jobs, l->control, &canceller, err);
    if (rc == 0)
        rc = workers_run(l->jobs, analyze_some, &a, canceller, err);
    canceller_stop(canceller);
    pg_load_sessions_close(l, a.dbs);
    free(a.dbs);
    return rc;
}

bool pg_setting_is_late(const char *statement)
{
    return str_starts(statement, "comment on ") ||
           str_starts(statement, "alter database :\"database\" connection limit ");
}

static bool is_ownership(const char *statement)
{
    return str_starts(statement, "grant ") || str_starts(statement, "revoke ") ||
           str_starts(statement, "alter role ") ||
           str_starts(statement, "alter database :\"database\" owner to ");
}

static int apply_settings(struct pg_loader *ld, struct err *err)
{
    const struct strv *settings = &ld->l->manifest->settings;
    _cleanup_free_ char *name = NULL;
    if (db_query_text(ld->db, "select current_database()", NULL, 0, &name, err) < 0)
        return -1;
    for (size_t i = 0; i < settings->n; i++) {
        if ((!ld->l->scratch && pg_setting_is_late(settings->v[i])) ||
            (ld->l->no_owner && is_ownership(settings->v[i])))
            continue;
        _cleanup_free_ char *sql = pg_database_statement(ld->db, settings->v[i], name);
        if (db_run(ld->db, sql, DB_RUN_WHOLE, NULL, err) < 0)
            return err_prefix(err, "the database's settings");
    }
    return 0;
}

int pg_loader_open(struct pg_loader *ld, struct err *err)
{
    const struct load *l = ld->l;
    if (pg_load_open(l->url, &ld->db, err) < 0 || pg_child_init(&ld->child, l->url, err) < 0)
        return -1;
    int target = db_version(ld->db) / 10000, source = l->manifest->version / 10000;
    if (target < source) {
        err_set(err, ERR_ENV, "the bundle is of PostgreSQL %d, and the server is %d", source,
                target);
        return err_hint(err, "a database can be restored on the same or a newer major version");
    }
    if (pg_program_find("pg_restore", target, &ld->program, NULL, err) < 0 ||
        guard_open(&(struct guard_options){.room = 64ull << 20}, &ld->guard, err) < 0)
        return -1;
    ld->archive = path_join(guard_dir(ld->guard), "schema.dump");
    return l->scratch && (make_roles(ld, err) < 0 || make_tablespaces(ld, err) < 0) ? -1 : 0;
}

int pg_loader_tables(struct pg_loader *ld, struct err *err)
{
    meter_phase(ld->l->meter, "tables", 0);
    return pre_data(ld, err);
}

static int prune(struct pg_loader *ld, struct err *err)
{
    _cleanup_canceller_ struct canceller *canceller = NULL;
    meter_phase(ld->l->meter, "sample", 0);
    return canceller_start(&ld->db, 1, ld->l->control, &canceller, err) < 0
               ? -1
               : sample_prune_postgres(ld->l->sample, ld->db, err);
}

int pg_loader_finish(struct pg_loader *ld, const char *sequences, struct err *err)
{
    const struct load *l = ld->l;
    /* one by one: a lock on each, held to the end of a transaction, would fill the server's lock
     * table */
    if ((sequences && *sequences && db_run(ld->db, sequences, DB_RUN_STATEMENTS, NULL, err) < 0) ||
        (l->sample && prune(ld, err) < 0))
        return -1;
    meter_phase(l->meter, "indexes", 0);
    _cleanup_free_ char *options = index_options(ld, err);
    if (!options || post_data(ld, options, err) < 0)
        return -1;
    meter_phase(l->meter, "statistics", 0);
    return analyze(ld, err) < 0 ? -1 : apply_settings(ld, err);
}

void pg_loader_close(struct pg_loader *ld)
{
    db_close(ld->db);
    guard_close(ld->guard);
    pg_child_release(&ld->child);
    free(ld->program);
    free(ld->archive);
    *ld = (struct pg_loader){0};
}
