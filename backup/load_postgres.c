/*
 * A bundle into an empty PostgreSQL database:
 *
 *     pre-data     tables and what they need, by pg_restore
 *     rows         while there are no indexes, foreign keys and triggers; whoever is free takes the
 *                  next member of the file
 *     sequences
 *     post-data    indexes in parallel, constraints, triggers; materialised views are refreshed
 *     ANALYZE
 *     settings     of the database itself, last: they may be meant to keep sessions like ours out
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "backup/part.h"
#include "backup/canceller.h"
#include "backup/postgres_child.h"
#include "backup/postgres_restore.h"
#include "backup/postgres_scan.h"
#include "backup/workers.h"
#include "harness/base/file.h"
#include "harness/engine/guard.h"
#include "harness/engine/pgdatabase.h"
#include "harness/engine/pgprogram.h"
#include "harness/engine/postgres_copy.h"

/* For building indexes, at most: more helps none of them. */
#define SORT_MEMORY_MAX_MB 1024
/* What is lost when the server dies now is a scratch database. */
#define QUICK "-c synchronous_commit=off -c statement_timeout=0 -c lock_timeout=0"

struct loader {
    struct load *l;
    struct pg_child child;
    char *program; /* pg_restore */
    struct guard *guard;
    char *archive;
    struct db *db;
    size_t *owner; /* for each member its object */
};

/* A session that loads rows, for one thread at a time. */
struct session {
    struct db *db;
    struct rows_work *work;
    bool busy, has_object_table;
};

struct rows_work {
    struct loader *ld;
    struct session *sessions; /* one for each thread */
    bool raw;                 /* SQL_ASCII */
    pthread_mutex_t lock;     /* of busy and the error */
    struct err err;           /* the first: the others fail because they are cancelled */
    struct canceller *canceller;
};

static const struct bundle_object *object_of(const struct loader *ld, size_t member)
{
    return &ld->l->manifest->objects[ld->owner[member]];
}

static bool is_rows(const struct bundle_object *o)
{
    return strcmp(o->kind, "table") == 0 || strcmp(o->kind, "large objects") == 0;
}

/* ---- the archive of the schema, and the sequences ---- */

static int append_to_file(void *data, const void *bytes, size_t len, struct err *err)
{
    const int *fd = data;
    const char *p = bytes;
    while (len) {
        ssize_t n = write(*fd, p, len);
        if (n < 0 && errno != EINTR)
            return err_errno(err, "cannot write the schema's archive");
        p += n > 0 ? n : 0;
        len -= n > 0 ? (size_t)n : 0;
    }
    return 0;
}

static int append_to_text(void *data, const void *bytes, size_t len, struct err *err)
{
    (void)err;
    str_addn(data, bytes, len);
    return 0;
}

/* A pass over the bundle that reads the schema and the sequences, wherever they stand. */
static int read_schema(struct loader *ld, struct str *sequences, struct err *err)
{
    struct bundle_reader *r = ld->l->reader;
    _cleanup_part_reader_ struct part_reader *parts = NULL;
    _cleanup_str_ struct str stored = {0};
    _cleanup_close_ int fd = open(ld->archive, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return err_errno(err, "cannot create %s", ld->archive);
    if (part_reader_new(&parts, err) < 0)
        return -1;
    size_t i;
    int rc;
    while ((rc = bundle_next(r, &i, err)) > 0) {
        const struct bundle_object *o = object_of(ld, i);
        if (is_rows(o))
            continue;
        bool schema = strcmp(o->kind, "schema") == 0;
        if (bundle_read(r, &stored, err) < 0 ||
            part_read(parts, &ld->l->manifest->members[i], str_get(&stored), stored.len,
                      schema ? append_to_file : append_to_text,
                      schema ? (void *)&fd : (void *)sequences, err) < 0)
            return -1;
    }
    return rc < 0 ? -1 : bundle_rewind(r, err);
}

static int run_pg_restore(struct loader *ld, const char *section, const char *doing,
                          const char *options, struct err *err)
{
    _cleanup_free_ char *what = xasprintf("--section=%s", section);
    _cleanup_free_ char *jobs = xasprintf("--jobs=%d", ld->l->jobs);
    const char *argv[10] = {ld->program, "--exit-on-error", what};
    size_t n = 3;
    if (ld->l->jobs > 1 && strcmp(section, "post-data") == 0)
        argv[n++] = jobs;
    if (ld->l->no_owner) {
        argv[n++] = "--no-owner";
        argv[n++] = "--no-privileges";
    }
    argv[n++] = ld->archive;
    return pg_child_run(&ld->child, argv, options, doing, ld->l->control, NULL, err);
}

/* ---- rows ---- */

/* A member on its way. */
struct member {
    const struct bundle_member *m;
    const struct str *stored;
    struct part_reader *parts;
};

static int put_rows(void *data, const void *bytes, size_t len, struct err *err)
{
    struct session *s = data;
    return meter_add(s->work->ld->l->meter, len, 0, err) < 0
               ? -1
               : pg_copy_in_put(s->db, bytes, len, err);
}

static int copy_in(struct session *s, const struct member *m, const char *sql, struct err *err)
{
    _cleanup_err_ struct err cause = {0};
    if (pg_copy_in_begin(s->db, sql, err) < 0)
        return -1;
    int r = part_read(m->parts, m->m, str_get(m->stored), m->stored->len, put_rows, s, &cause);
    bool ours = r < 0 && cause.code != ERR_CONNECTION;
    if (pg_copy_in_end(s->db, sql, r < 0 ? "given up" : NULL, err) < 0)
        r = -1;
    if (ours) /* the server only repeats that we gave up */
        err_move(err, &cause);
    return r;
}

/* lo_put() is open to the object's owner, COPY into pg_largeobject to nobody. */
static int load_objects(struct session *s, const struct member *m, struct err *err)
{
    if (!s->has_object_table &&
        db_run(s->db, "create temp table belay_pieces (id oid, start bigint, piece bytea)",
               DB_RUN_WHOLE, NULL, err) < 0)
        return -1;
    s->has_object_table = true;
    if (db_run(s->db, "begin; truncate pg_temp.belay_pieces", DB_RUN_WHOLE, NULL, err) < 0 ||
        copy_in(s, m, "copy pg_temp.belay_pieces from stdin", err) < 0)
        return -1;
    return db_run(s->db, "select lo_put(id, start, piece) from pg_temp.belay_pieces; commit",
                  DB_RUN_WHOLE, NULL, err);
}

static int load_table(struct session *s, const struct bundle_object *o, const struct member *m,
                      struct err *err)
{
    const char *columns = o->columns ? o->columns : "";
    _cleanup_free_ char *sql =
        xasprintf("copy %s %s%s%s from stdin%s", o->name, *columns ? "(" : "", columns,
                  *columns ? ")" : "", s->work->raw ? " with (encoding 'SQL_ASCII')" : "");
    return copy_in(s, m, sql, err) < 0 ? err_prefix(err, "%s", o->name) : 0;
}

static struct session *session_take(struct rows_work *work)
{
    struct session *s = work->sessions;
    pthread_mutex_lock(&work->lock);
    while (s->busy)
        s++;
    s->busy = true;
    pthread_mutex_unlock(&work->lock);
    return s;
}

static void session_give(struct session *s)
{
    pthread_mutex_lock(&s->work->lock);
    s->busy = false;
    pthread_mutex_unlock(&s->work->lock);
}

static int fail(struct rows_work *work, struct err *err)
{
    pthread_mutex_lock(&work->lock);
    bool first = !err_is_set(&work->err);
    if (first)
        err_move(&work->err, err);
    pthread_mutex_unlock(&work->lock);
    if (first)
        canceller_now(work->canceller);
    return -1;
}

static int load_member(void *data, size_t position, const struct str *stored,
                       struct part_reader *parts, struct err *err)
{
    struct rows_work *work = data;
    const struct load *l = work->ld->l;
    const struct bundle_object *o = object_of(work->ld, position);
    const struct member m = {&l->manifest->members[position], stored, parts};
    if (!is_rows(o))
        return 0;
    struct session *s = session_take(work);
    int rc = strcmp(o->kind, "table") == 0 ? load_table(s, o, &m, err) : load_objects(s, &m, err);
    session_give(s);
    if (rc == 0)
        rc = meter_add(l->meter, 0, stored->len, err);
    return rc < 0 ? fail(work, err) : 0;
}

static int open_session(const char *url, struct db **ret, struct err *err)
{
    return pg_scan_open(url, ret, err) < 0
               ? -1
               : db_run(*ret, "set synchronous_commit = off", DB_RUN_WHOLE, NULL, err);
}

static int open_sessions(const struct load *l, struct db **dbs, struct canceller **ret,
                         struct err *err)
{
    for (int i = 0; i < l->jobs; i++)
        if (open_session(l->url, &dbs[i], err) < 0)
            return -1;
    return canceller_start(dbs, (size_t)l->jobs, l->control, ret, err);
}

static void close_sessions(const struct load *l, struct db **dbs)
{
    for (int i = 0; i < l->jobs; i++)
        db_close(dbs[i]);
    free(dbs);
}

static int load_rows(struct loader *ld, struct err *err)
{
    struct load *l = ld->l;
    size_t jobs = (size_t)l->jobs;
    struct rows_work work = {
        .ld = ld,
        .sessions = xcalloc(jobs, sizeof(struct session)),
        .raw = str_eq(l->manifest->encoding, "SQL_ASCII"),
    };
    struct db **dbs = xcalloc(jobs, sizeof(struct db *));
    uint64_t raw = 0;
    for (size_t i = 0; i < l->manifest->nmembers; i++)
        raw += is_rows(object_of(ld, i)) ? l->manifest->members[i].raw : 0;
    meter_phase(l->meter, "rows", raw);
    pthread_mutex_init(&work.lock, NULL);
    int rc = open_sessions(l, dbs, &work.canceller, err);
    for (size_t i = 0; i < jobs; i++)
        work.sessions[i] = (struct session){.db = dbs[i], .work = &work};
    if (rc == 0)
        rc = workers_read(l->jobs, l->reader, load_member, &work, err);
    if (rc < 0 && err_is_set(&work.err))
        err_move(err, &work.err);
    canceller_stop(work.canceller);
    close_sessions(l, dbs);
    err_release(&work.err);
    free(work.sessions);
    pthread_mutex_destroy(&work.lock);
    return rc;
}

/* ---- before and after ---- */

/* maintenance_work_mem is for each session: what the server's machine has, were it this one. */
static char *index_options(const struct loader *ld, struct err *err)
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
static int make_roles(struct loader *ld, struct err *err)
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

static int analyze(struct loader *ld, struct err *err)
{
    struct load *l = ld->l;
    _cleanup_rows_ struct rows *statements = NULL;
    struct canceller *canceller = NULL;
    if (db_query(ld->db, analyze_sql, NULL, 0, &statements, err) < 0)
        return -1;
    struct analysis a = {.statements = statements, .dbs = xcalloc((size_t)l->jobs, sizeof(a.dbs))};
    int rc = open_sessions(l, a.dbs, &canceller, err);
    if (rc == 0)
        rc = workers_run(l->jobs, analyze_some, &a, err);
    canceller_stop(canceller);
    close_sessions(l, a.dbs);
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

static int apply_settings(struct loader *ld, struct err *err)
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

static int run_load(struct loader *ld, struct err *err)
{
    struct load *l = ld->l;
    const struct manifest *m = l->manifest;
    _cleanup_str_ struct str sequences = {0};
    if (open_session(l->url, &ld->db, err) < 0 || pg_child_init(&ld->child, l->url, err) < 0)
        return -1;
    int target = db_version(ld->db) / 10000, source = m->version / 10000;
    if (target < source) {
        err_set(err, ERR_ENV, "the bundle is of PostgreSQL %d, and the server is %d", source,
                target);
        return err_hint(err, "a database can be restored on the same or a newer major version");
    }
    if (pg_program_find("pg_restore", target, &ld->program, NULL, err) < 0 ||
        guard_open(&(struct guard_options){.room = 64ull << 20}, &ld->guard, err) < 0)
        return -1;
    ld->archive = path_join(guard_dir(ld->guard), "schema.dump");
    if ((l->scratch && make_roles(ld, err) < 0) || read_schema(ld, &sequences, err) < 0)
        return -1;
    meter_phase(l->meter, "tables", 0);
    if (run_pg_restore(ld, "pre-data", "to make the tables", QUICK, err) < 0 ||
        load_rows(ld, err) < 0 ||
        (sequences.len && db_run(ld->db, sequences.p, DB_RUN_WHOLE, NULL, err) < 0))
        return -1;
    meter_phase(l->meter, "indexes", 0);
    _cleanup_free_ char *options = index_options(ld, err);
    if (!options || run_pg_restore(ld, "post-data", "to make indexes, constraints and triggers",
                                   options, err) < 0)
        return -1;
    meter_phase(l->meter, "statistics", 0);
    return analyze(ld, err) < 0 ? -1 : apply_settings(ld, err);
}

int load_postgres(struct load *l, struct err *err)
{
    const struct manifest *m = l->manifest;
    struct loader ld = {.l = l, .owner = xcalloc(m->nmembers, sizeof(size_t))};
    for (size_t i = 0; i < m->nobjects; i++)
        for (size_t k = 0; k < m->objects[i].nparts; k++)
            ld.owner[m->objects[i].parts[k]] = i;
    int rc = run_load(&ld, err);
    db_close(ld.db);
    guard_close(ld.guard);
    pg_child_release(&ld.child);
    free(ld.program);
    free(ld.archive);
    free(ld.owner);
    return rc;
}
