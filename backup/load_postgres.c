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
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "backup/canceller.h"
#include "backup/part.h"
#include "backup/postgres_load.h"
#include "backup/postgres_restore.h"
#include "backup/workers.h"
#include "harness/base/file.h"
#include "harness/engine/postgres_copy.h"

struct loader {
    struct load *l;
    struct pg_loader pg;
    size_t *owner; /* for each member its object */
};

/* A session that loads rows, for one thread at a time. */
struct session {
    struct db *db;
    struct rows_work *work;
    bool busy, has_object_table;
    struct row_pass pass; /* with a filter */
    struct str open, out; /* the beginning of a line whose end has not come yet; lines to send */
};

struct rows_work {
    struct loader *ld;
    struct session *sessions; /* one for each thread */
    bool raw;                 /* SQL_ASCII */
    pthread_mutex_t lock;     /* of busy */
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
    _cleanup_close_ int fd = open(ld->pg.archive, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return err_errno(err, "cannot create %s", ld->pg.archive);
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

/* ---- rows ---- */

/* A member on its way. */
struct member {
    const struct bundle_member *m;
    const struct str *stored;
    struct part_reader *parts;
};

/* Lines through the filter: a part ends with a line, a piece of it anywhere. */
static int put_filtered(struct session *s, const char *p, size_t len, struct err *err)
{
    const char *end = p + len, *newline;
    str_clear(&s->out);
    for (; (newline = memchr(p, '\n', (size_t)(end - p))); p = newline + 1) {
        size_t n = (size_t)(newline + 1 - p);
        bool whole = !s->open.len;
        if (!whole)
            str_addn(&s->open, p, n);
        if (row_pass_line(&s->pass, whole ? p : s->open.p, whole ? n : s->open.len, &s->out, err) <
            0)
            return -1;
        str_clear(&s->open);
    }
    str_addn(&s->open, p, (size_t)(end - p));
    return s->out.len ? pg_copy_in_put(s->db, s->out.p, s->out.len, err) : 0;
}

static int put_rows(void *data, const void *bytes, size_t len, struct err *err)
{
    struct session *s = data;
    if (meter_add(s->work->ld->l->meter, len, 0, err) < 0)
        return -1;
    return s->pass.table ? put_filtered(s, bytes, len, err)
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

static int load_objects(struct session *s, const struct member *m, struct err *err)
{
    if (pg_load_objects_begin(s->db, &s->has_object_table, err) < 0 ||
        copy_in(s, m, PG_LOAD_OBJECTS_SQL, err) < 0)
        return -1;
    return pg_load_objects_end(s->db, err);
}

static int load_table(struct session *s, const struct bundle_object *o, const struct member *m,
                      struct err *err)
{
    _cleanup_free_ char *sql =
        pg_load_copy_sql(o->name, o->columns ? o->columns : "", s->work->raw);
    row_pass_begin(&s->pass, s->work->ld->l->filter, o->digest);
    str_clear(&s->open);
    int rc = copy_in(s, m, sql, err);
    if (rc == 0)
        row_pass_end(&s->pass);
    else
        row_pass_hide(&s->pass, err);
    s->pass.table = NULL;
    return rc < 0 ? err_prefix(err, "%s", o->name) : 0;
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
    return rc < 0 ? -1 : meter_add(l->meter, 0, stored->len, err);
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
    struct canceller *canceller = NULL;
    uint64_t raw = 0;
    for (size_t i = 0; i < l->manifest->nmembers; i++)
        raw += is_rows(object_of(ld, i)) ? l->manifest->members[i].raw : 0;
    meter_phase(l->meter, "rows", raw);
    pthread_mutex_init(&work.lock, NULL);
    int rc = pg_load_sessions(l, dbs, err);
    if (rc == 0)
        rc = canceller_start(dbs, jobs, l->control, &canceller, err);
    for (size_t i = 0; i < jobs; i++)
        work.sessions[i] = (struct session){.db = dbs[i], .work = &work};
    if (rc == 0)
        rc = workers_read(l->jobs, l->reader, load_member, &work, canceller, err);
    canceller_stop(canceller);
    pg_load_sessions_close(l, dbs);
    free(dbs);
    for (size_t i = 0; i < jobs; i++) {
        row_pass_release(&work.sessions[i].pass);
        str_release(&work.sessions[i].open);
        str_release(&work.sessions[i].out);
    }
    free(work.sessions);
    pthread_mutex_destroy(&work.lock);
    return rc;
}

/* ---- the whole ---- */

static int run_load(struct loader *ld, struct err *err)
{
    _cleanup_str_ struct str sequences = {0};
    if (pg_loader_open(&ld->pg, err) < 0 || read_schema(ld, &sequences, err) < 0 ||
        pg_loader_tables(&ld->pg, err) < 0 || load_rows(ld, err) < 0)
        return -1;
    return pg_loader_finish(&ld->pg, str_get(&sequences), err);
}

int load_postgres(struct load *l, struct err *err)
{
    const struct manifest *m = l->manifest;
    struct loader ld = {.l = l, .pg = {.l = l}, .owner = xcalloc(m->nmembers, sizeof(size_t))};
    for (size_t i = 0; i < m->nobjects; i++)
        for (size_t k = 0; k < m->objects[i].nparts; k++)
            ld.owner[m->objects[i].parts[k]] = i;
    int rc = run_load(&ld, err);
    pg_loader_close(&ld.pg);
    free(ld.owner);
    return rc;
}
