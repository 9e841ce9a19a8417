#include "runner/line.h"

#include <stdlib.h>
#include <string.h>

#include "harness/base/file.h"
#include "harness/base/str.h"
#include "runner/interrupt.h"

struct line {
    struct line_env *env;
    struct scratch *scratch;
    struct migrator *migrator; /* NULL while closed */
    struct db *reader;         /* a session of its own, for PostgreSQL; NULL while closed */
    struct db *rows;           /* the same for rows, which are read with other settings */
    struct schema_tracker *tracker;
    struct observer *observer; /* borrowed, or NULL */
};

void line_close_sessions(struct line *l)
{
    schema_tracker_free(TAKE_PTR(l->tracker)); /* it may read through the migrator's session */
    migrator_close(TAKE_PTR(l->migrator));
    db_close(TAKE_PTR(l->reader));
    db_close(TAKE_PTR(l->rows));
}

void line_free(struct line *l)
{
    if (!l)
        return;
    line_close_sessions(l);
    scratch_free(l->scratch);
    free(l);
}

static int check_stop(const struct line_env *env, struct err *err)
{
    return env->stop && *env->stop ? err_set(err, ERR_INTERRUPTED, "interrupted") : 0;
}

static int open_migrator(struct line *l, struct err *err)
{
    if (l->migrator)
        return 0;
    /* nothing is ever applied to a database that is not proved to be scratch */
    struct db_proof proof = scratch_proof(l->scratch);
    if (migrator_open(l->env->source, l->env->engine, scratch_url(l->scratch), DB_OPEN_SCRATCH,
                      &proof, &l->migrator, err) < 0)
        return -1;
    if (l->env->watch)
        migrator_watch(l->migrator);
    if (l->observer) {
        struct migrator_observer hook = observer_hook(l->observer);
        migrator_observe(l->migrator, &hook);
    }
    return 0;
}

/*
 * On SQLite the reader shares the migrator's session where it can: it knows the schema already, and
 * another would parse all of it again after every step. The migrator comes first in any case: what
 * its opening makes (a schema for the version table) belongs to no revision, and only then does
 * Alembic say how the version table is called.
 */
static int open_reader(struct line *l, struct err *err)
{
    if (l->tracker)
        return 0;
    if (open_migrator(l, err) < 0)
        return -1;
    struct db *shared = l->env->engine == &engine_sqlite ? migrator_db(l->migrator) : NULL;
    if (shared)
        return schema_tracker_new(shared, &l->env->schema, &l->tracker, err);
    if (db_open(l->env->engine, scratch_url(l->scratch), DB_OPEN_SCRATCH, &l->reader, err) < 0)
        return -1;
    return schema_tracker_new(l->reader, &l->env->schema, &l->tracker, err);
}

static int run_baseline(struct line *l, struct err *err)
{
    _cleanup_free_ char *sql = NULL;
    if (file_read_text(l->env->baseline, &sql, NULL, err) < 0)
        return err_prefix(err, "baseline");
    _cleanup_db_ struct db *db = NULL;
    if (db_open(l->env->engine, scratch_url(l->scratch), DB_OPEN_SCRATCH, &db, err) < 0)
        return -1;
    if (scratch_prove(l->scratch, db, err) < 0)
        return -1;
    if (db_run(db, sql, DB_RUN_STATEMENTS, NULL, err) < 0) {
        if (err->code == ERR_SQL)
            err->code = ERR_SOURCE; /* the file is at fault, there is nothing to check */
        err_at(err, l->env->baseline, err->line, err->column);
        return err_prefix(err, "baseline");
    }
    return 0;
}

int line_new(struct line_env *env, struct line **ret, struct err *err)
{
    _cleanup_line_ struct line *l = xcalloc(1, sizeof(*l));
    l->env = env;
    if (check_stop(env, err) < 0 || scratch_new(env->pool, &l->scratch, err) < 0)
        return -1;
    if (env->baseline && run_baseline(l, err) < 0)
        return -1;
    *ret = TAKE_PTR(l);
    return 0;
}

int line_adopt(struct line_env *env, struct scratch *scratch, struct line **ret, struct err *err)
{
    _cleanup_line_ struct line *l = xcalloc(1, sizeof(*l));
    l->env = env;
    l->scratch = scratch;
    if (check_stop(env, err) < 0)
        return -1;
    *ret = TAKE_PTR(l);
    return 0;
}

int line_copy(struct line *from, struct line_env *env, struct line **ret, struct err *err)
{
    _cleanup_line_ struct line *l = xcalloc(1, sizeof(*l));
    l->env = env ? env : from->env;
    line_close_sessions(from); /* PostgreSQL copies only databases that nobody uses */
    if (check_stop(l->env, err) < 0 || scratch_copy(from->scratch, &l->scratch, err) < 0)
        return -1;
    *ret = TAKE_PTR(l);
    return 0;
}

/* SQLSTATE classes that speak of the server, not of the revision: insufficient resources, operator
 * intervention other than a cancelled statement, system error. */
bool line_is_environment(const struct err *e)
{
    return e->code == ERR_ENV || e->code == ERR_INTERRUPTED || str_starts(e->sqlstate, "53") ||
           str_starts(e->sqlstate, "58") || strcmp(e->sqlstate, "57P02") == 0;
}

static void cancel_step(void *migrator)
{
    migrator_cancel(migrator);
}

/* What the migrator said, with what only the line can tell. rc is the migrator's; r the revision
 * that was under way. */
static int judge(struct line *l, int rc, const struct revision *r, enum step_direction direction,
                 struct step_result *ret, struct err *err)
{
    bool stopped = l->env->stop && *l->env->stop; /* a failure may be of the cancel alone */
    if (rc < 0 && stopped)
        return err_set(err, ERR_INTERRUPTED, "interrupted");
    if (rc < 0 && err->code != ERR_CONNECTION)
        return -1;
    if (rc < 0) {
        /* did the revision end its own session, or is the server gone? */
        line_close_sessions(l);
        struct err probe = {0};
        _cleanup_db_ struct db *db = NULL;
        int answers =
            db_open(l->env->engine, scratch_url(l->scratch), DB_OPEN_SCRATCH, &db, &probe);
        err_release(&probe);
        if (answers < 0)
            return -1;
        step_result_release(ret);
        ret->outcome = STEP_FAILED;
        err_move(&ret->err, err);
        if (!ret->err.file)
            err_at(&ret->err, direction == STEP_UP ? r->file : r->down_file, 0, 0);
        return 0;
    }
    if (ret->outcome == STEP_FAILED && (stopped || line_is_environment(&ret->err))) {
        err_move(err, &ret->err);
        if (err->code != ERR_INTERRUPTED)
            err->code = ERR_ENV;
        return stopped ? err_set(err, ERR_INTERRUPTED, "interrupted") : -1;
    }
    return 0;
}

int line_step(struct line *l, const struct revision *r, enum step_direction direction,
              struct step_result *ret, struct err *err)
{
    if (check_stop(l->env, err) < 0 || open_migrator(l, err) < 0)
        return -1;
    l->env->steps++;
    interrupt_add(cancel_step, l->migrator);
    int rc = migrator_step(l->migrator, r, direction, false, ret, err);
    interrupt_remove(cancel_step, l->migrator);
    return judge(l, rc, r, direction, ret, err);
}

void line_observe(struct line *l, struct observer *o)
{
    static const struct migrator_observer nobody;
    l->observer = o;
    struct migrator_observer hook = o ? observer_hook(o) : nobody;
    if (l->migrator)
        migrator_observe(l->migrator, &hook);
}

int line_watched_step(struct line *l, const struct revision *r, enum step_direction direction,
                      struct step_result *ret, struct measures *ret_measures, struct err *err)
{
    struct err ending = {0};
    if (check_stop(l->env, err) < 0 || open_migrator(l, err) < 0 ||
        observer_begin(l->observer, migrator_db(l->migrator), err) < 0)
        return -1;
    int rc = line_step(l, r, direction, ret, err);
    if (observer_end(l->observer, ret_measures, &ending) == 0)
        return rc;
    if (rc == 0)
        err_move(err, &ending);
    err_release(&ending);
    return -1;
}

int line_straight(struct line *l, const struct revisions *list, size_t *ret_done,
                  struct step_result *ret, struct err *err)
{
    size_t done = 0;
    if (check_stop(l->env, err) < 0 || open_migrator(l, err) < 0)
        return -1;
    interrupt_add(cancel_step, l->migrator);
    int rc = migrator_straight(l->migrator, list, &done, ret, err);
    interrupt_remove(cancel_step, l->migrator);
    l->env->steps += done;
    *ret_done = done;
    return judge(l, rc, list->v[done < list->n ? done : list->n - 1], STEP_UP, ret, err);
}

int line_drift(struct line *l, struct strv *ret, struct err *err)
{
    if (check_stop(l->env, err) < 0 || open_migrator(l, err) < 0)
        return -1;
    return migrator_drift(l->migrator, ret, err);
}

int line_read(struct line *l, bool full, struct snapshot **ret, struct err *err)
{
    _cleanup_snapshot_ struct snapshot *s = NULL;
    if (check_stop(l->env, err) < 0 || open_reader(l, err) < 0)
        return -1;
    if (l->migrator && !l->env->full_reads)
        schema_tracker_offer(l->tracker, migrator_schema_rows(l->migrator));
    if (schema_tracker_read(l->tracker, full || l->env->full_reads, &s, err) < 0)
        return -1;
    if (l->env->filter && l->env->filter(l->env->data, &s, err) < 0)
        return -1;
    *ret = TAKE_PTR(s);
    return 0;
}

int line_proved(struct line *l, bool *ret, struct err *err)
{
    _cleanup_snapshot_ struct snapshot *quick = NULL, *full = NULL;
    if (line_read(l, false, &quick, err) < 0 || line_read(l, true, &full, err) < 0)
        return -1;
    *ret = snapshot_equal(quick, full);
    return 0;
}

int line_rows(struct line *l, struct db **ret, struct err *err)
{
    if (check_stop(l->env, err) < 0 || open_reader(l, err) < 0)
        return -1;
    if (l->env->engine == &engine_sqlite) {
        *ret = l->reader ? l->reader : migrator_db(l->migrator);
        return 0;
    }
    if (!l->rows &&
        db_open(l->env->engine, scratch_url(l->scratch), DB_OPEN_SCRATCH, &l->rows, err) < 0)
        return -1;
    *ret = l->rows;
    return 0;
}

int line_drop_roles(struct line_env *env, const struct strv *roles, struct err *err)
{
    _cleanup_scratch_ struct scratch *s = NULL;
    _cleanup_db_ struct db *db = NULL;
    if (scratch_new(env->pool, &s, err) < 0 ||
        db_open(env->engine, scratch_url(s), DB_OPEN_SCRATCH, &db, err) < 0)
        return -1;
    for (size_t i = 0; i < roles->n; i++) {
        /* the list holds identities, which are quoted already */
        _cleanup_free_ char *sql = xasprintf("drop role if exists %s", roles->v[i]);
        if (db_run(db, sql, DB_RUN_WHOLE, NULL, err) < 0)
            return err_prefix(err, "cannot put the scratch server back");
    }
    return 0;
}

int line_keep(struct line *l, char **ret_url, struct err *err)
{
    _cleanup_db_ struct db *db = NULL;
    line_close_sessions(l);
    if (db_open(l->env->engine, scratch_url(l->scratch), DB_OPEN_SCRATCH, &db, err) < 0 ||
        schema_tracker_remove(db, err) < 0)
        return -1;
    *ret_url = xstrdup(scratch_url(l->scratch));
    l->scratch = NULL;
    return 0;
}
