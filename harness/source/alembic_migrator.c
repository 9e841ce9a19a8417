/*
 * One database that a worker migrates. env.py runs once, and the steps run inside its
 * run_migrations(); a step that fails ends env.py with its exception, as under Alembic itself, and
 * the next request runs env.py anew. A worker that dies takes its session along; the next request
 * starts another.
 */
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "harness/schema/sqlite_rows.h"
#include "harness/source/alembic.h"
#include "harness/source/graph_private.h"
#include "harness/source/session_state.h"
#include "harness/source/touched.h"

struct alembic_migrator {
    struct migrator base;
    struct alembic_source *source;
    const struct engine *engine;
    char *url;
    bool readonly;
    struct db_proof proof; /* copies; query NULL: none */
    struct worker *worker; /* NULL: none at present */
    bool reused;           /* the worker has run env.py before */
    bool open;             /* env.py waits inside run_migrations() */
    struct session_state *state;
    struct sqlite_rows schema; /* as of the last step that told of it */
    bool schema_fresh;         /* which was the last call */
    bool watching;
    struct migrator_observer observer;
    char *backend[2];  /* PostgreSQL: process id and start of the session; NULL: not known */
    char *process[2];  /* the same, of the last step */
    char *transaction; /* that the last step began in; NULL: not known */
    char *shown;       /* for alembic_backend() */
    bool scratch;
    struct strv prepare; /* statements for every session */
    volatile sig_atomic_t cancelled;
};

static struct alembic_migrator *self(struct migrator *m)
{
    return (struct alembic_migrator *)m;
}

/* ---- the worker ---- */

static void forget_backend(struct alembic_migrator *m)
{
    for (size_t i = 0; i < ARRAY_LEN(m->backend); i++)
        free(TAKE_PTR(m->backend[i]));
}

/* The server does not notice that a client is gone before its statement ends. */
static void end_backend(struct alembic_migrator *m)
{
    _cleanup_err_ struct err ignored = {0}; /* gone already, or it ends with its statement */
    _cleanup_db_ struct db *db = NULL;
    _cleanup_free_ char *done = NULL;
    if (m->backend[0] && db_open(m->engine, m->url, DB_OPEN_DEFAULT, &db, &ignored) == 0)
        db_query_text(db,
                      "select pg_terminate_backend(pid) from pg_stat_activity"
                      " where pid = $1::int and backend_start = $2::timestamptz",
                      (const char *const *)m->backend, 2, &done, &ignored);
    forget_backend(m);
}

static void forget_step(struct alembic_migrator *m)
{
    for (size_t i = 0; i < ARRAY_LEN(m->process); i++)
        free(TAKE_PTR(m->process[i]));
    free(TAKE_PTR(m->transaction));
}

static void drop_worker(struct alembic_migrator *m)
{
    m->open = false;
    worker_free(TAKE_PTR(m->worker));
}

/* After env.py has ended: connections that it left open go with their process. */
static void env_ended(struct alembic_migrator *m, const json_t *answer)
{
    m->open = false;
    m->reused = true;
    forget_backend(m);
    if (json_integer_value(json_object_get(answer, "left_open")) > 0)
        drop_worker(m);
}

static int call(struct alembic_migrator *m, json_t *request, int timeout_ms, json_t **ret,
                struct err *err)
{
    m->schema_fresh = false;
    if (worker_call(m->worker, request, timeout_ms, ret, err) == 0)
        return 0;
    drop_worker(m);
    end_backend(m);
    if (err->code == ERR_INTERRUPTED)
        m->cancelled = 0;
    return -1;
}

static void add_database(const struct alembic_migrator *m, json_t *request)
{
    json_object_set_new(request, "url", json_string(m->url));
    if (m->proof.query)
        json_object_set_new(
            request, "proof",
            json_pack("{s:s, s:s}", "query", m->proof.query, "answer", m->proof.answer));
}

static int need_worker(struct alembic_migrator *m, struct err *err)
{
    if (m->cancelled) {
        m->cancelled = 0;
        return err_set(err, ERR_INTERRUPTED, "interrupted");
    }
    return m->worker ? 0 : alembic_take_worker(m->source, &m->worker, &m->reused, err);
}

/* A user's own database may take its time; a scratch database holds next to nothing. */
static int step_timeout(const struct alembic_migrator *m)
{
    return m->scratch ? 0 : -1;
}

/* ---- env.py ---- */

/* The values of the session, as the answer holds them; NULL when it does not. */
static char **read_state(const struct alembic_migrator *m, const json_t *answer)
{
    const json_t *values = json_object_get(answer, "state");
    size_t n = session_state_size(m->state);
    if (json_array_size(values) != n)
        return NULL;
    char **v = xcalloc(n, sizeof(char *));
    for (size_t i = 0; i < n; i++)
        v[i] = xstrdup(json_string_value(json_array_get(values, i)));
    return v;
}

static int refused_code(const json_t *answer)
{
    const json_t *e = json_object_get(answer, "error");
    return json_is_true(json_object_get(e, "refused"))    ? ERR_CONFIG
           : json_is_true(json_object_get(e, "database")) ? ERR_ENV
                                                          : ERR_SOURCE;
}

static void opened(struct alembic_migrator *m, const json_t *answer)
{
    m->open = true;
    free(TAKE_PTR(m->base.versions[0])); /* another session's */
    forget_backend(m);
    const json_t *backend = json_object_get(answer, "backend");
    for (size_t i = 0; i < ARRAY_LEN(m->backend); i++)
        m->backend[i] = xstrdup(json_string_value(json_array_get(backend, i)));
    session_state_free(m->state);
    m->state = session_state_new(m->engine);
    char **values = read_state(m, answer);
    char *change = NULL;
    struct strv reset = {0};
    if (values)
        session_state_judge(m->state, values, true, &change, &reset);
    free(change);
    /* known only now that env.py has said it */
    const char *name = json_string_value(json_object_get(answer, "version_table"));
    const char *schema = json_string_value(json_object_get(answer, "version_schema"));
    _cleanup_free_ char *table =
        xasprintf("%s%s%s", schema ? schema : "", schema ? "." : "", name ? name : "");
    pthread_mutex_lock(&m->source->lock);
    if (!str_eq(table, m->source->version_table)) {
        free(m->source->version_table);
        m->source->version_table = TAKE_PTR(table);
        m->source->base.version_tables[0] = m->source->version_table;
    }
    pthread_mutex_unlock(&m->source->lock);
}

/* In the session that waits inside env.py. */
static int run_sql(struct alembic_migrator *m, const struct strv *statements, struct err *err)
{
    _cleanup_json_ json_t *done = NULL;
    json_t *request = json_pack("{s:s, s:o}", "op", "reset", "sql", alembic_strings(statements));
    if (call(m, request, 0, &done, err) < 0)
        return -1;
    return alembic_answer_ok(done) ? 0 : alembic_error(done, ERR_ENV, err);
}

static int open_once(struct alembic_migrator *m, bool *ret_again, struct err *err)
{
    if (need_worker(m, err) < 0)
        return -1;
    _cleanup_json_ json_t *answer = NULL;
    struct session_state *asking = session_state_new(m->engine);
    json_t *request = json_pack("{s:s, s:s, s:b}", "op", "open", "state_sql",
                                session_state_query(asking), "readonly", m->readonly);
    session_state_free(asking);
    add_database(m, request);
    bool reused = m->reused;
    if (call(m, request, 0, &answer, err) < 0)
        return -1;
    if (alembic_answer_ok(answer)) {
        opened(m, answer);
        return m->prepare.n ? run_sql(m, &m->prepare, err) : 0;
    }
    int code = refused_code(answer);
    env_ended(m, answer);
    if (reused && code != ERR_SOURCE) {
        /* env.py may hold on to the engine that it made the first time */
        drop_worker(m);
        pthread_mutex_lock(&m->source->lock);
        m->source->no_reuse = true;
        pthread_mutex_unlock(&m->source->lock);
        *ret_again = true;
        return -1;
    }
    return alembic_error(answer, (enum err_code)code, err);
}

static int need_open(struct alembic_migrator *m, struct err *err)
{
    bool again = false;
    if (m->open)
        return 0;
    if (open_once(m, &again, err) == 0)
        return 0;
    return again ? open_once(m, &again, err) : -1;
}

static void close_env(struct alembic_migrator *m)
{
    _cleanup_json_ json_t *answer = NULL;
    _cleanup_err_ struct err ignored = {0}; /* every step is committed: nothing is lost */
    if (m->open && call(m, json_pack("{s:s}", "op", "close"), 0, &answer, &ignored) == 0)
        env_ended(m, answer);
}

static void alembic_close(struct migrator *base)
{
    struct alembic_migrator *m = self(base);
    close_env(m);
    alembic_give_back(m->source, m->worker);
    session_state_free(m->state);
    forget_backend(m);
    forget_step(m);
    free(m->shown);
    strv_release(&m->prepare);
    sqlite_rows_release(&m->schema);
    free((char *)m->proof.query);
    free((char *)m->proof.answer);
    free(m->url);
    free(m);
}

static int alembic_open(const struct source *s, const struct engine *e, const char *url,
                        unsigned db_flags, const struct db_proof *proof, struct migrator **ret,
                        struct err *err)
{
    struct alembic_migrator *m = xcalloc(1, sizeof(*m));
    _cleanup_(cleanup_migrator_close) struct migrator *base = &m->base;
    base->source = s;
    m->source = (struct alembic_source *)s; /* its pool of workers is its own business */
    m->engine = e;
    m->url = xstrdup(url);
    m->readonly = db_flags & DB_OPEN_READONLY;
    m->scratch = db_flags & DB_OPEN_SCRATCH;
    if (proof)
        m->proof = (struct db_proof){xstrdup(proof->query), xstrdup(proof->answer)};
    if (need_open(m, err) < 0)
        return -1;
    *ret = TAKE_PTR(base);
    return 0;
}

static void alembic_watch(struct migrator *m)
{
    self(m)->watching = true;
}

static void alembic_observe(struct migrator *m, const struct migrator_observer *o)
{
    self(m)->observer = *o;
}

static bool alembic_rolled_back(struct migrator *base)
{
    struct alembic_migrator *m = self(base);
    return !m->scratch &&
           touched_rolled_back(m->url, m->transaction, (const char *const *)m->process);
}

static const char *alembic_backend(struct migrator *base)
{
    struct alembic_migrator *m = self(base);
    free(TAKE_PTR(m->shown));
    if (m->backend[0])
        m->shown = xasprintf("%s %s", m->backend[0], m->backend[1]);
    return m->shown;
}

static char *alembic_data_version(struct migrator *base)
{
    struct alembic_migrator *m = self(base);
    _cleanup_json_ json_t *answer = NULL;
    _cleanup_err_ struct err ignored = {0}; /* then it is not known */
    if (m->engine != &engine_sqlite || !m->open ||
        call(m, json_pack("{s:s}", "op", "data_version"), 0, &answer, &ignored) < 0 ||
        !alembic_answer_ok(answer))
        return NULL;
    return xstrdup(json_string_value(json_object_get(answer, "data_version")));
}

static int alembic_prepare(struct migrator *base, const struct strv *statements, struct err *err)
{
    struct alembic_migrator *m = self(base);
    for (size_t i = 0; i < statements->n; i++)
        strv_add(&m->prepare, statements->v[i]);
    return m->open ? run_sql(m, statements, err) : 0;
}

static struct db *alembic_db(struct migrator *m)
{
    (void)m;
    return NULL;
}

static void alembic_cancel(struct migrator *base)
{
    struct alembic_migrator *m = self(base);
    m->cancelled = 1;
    if (m->worker)
        worker_cancel(m->worker);
}

/* ---- steps ---- */

static bool is_full(const json_t *error)
{
    const char *message = json_string_value(json_object_get(error, "message"));
    return message && strcmp(message, "database or disk is full") == 0;
}

/* Fills the result from an answer that is not ok. -1: the connection was lost. */
static int step_failed(const json_t *answer, enum step_direction direction,
                       struct step_result *result, struct err *err)
{
    const json_t *e = json_object_get(answer, "error");
    if (json_is_true(json_object_get(e, "disconnected")))
        return alembic_error(answer, ERR_CONNECTION, err);
    bool sql = json_is_true(json_object_get(e, "database"));
    alembic_error(answer, is_full(e) ? ERR_ENV : sql ? ERR_SQL : ERR_SOURCE, &result->err);
    result->outcome = direction == STEP_DOWN && json_is_true(json_object_get(e, "on_purpose"))
                          ? STEP_IRREVERSIBLE
                          : STEP_FAILED;
    return 0;
}

/* The process died or hangs: that is the revision's doing. -1 when it is not. */
static int worker_failed(const struct revision *r, enum step_direction direction,
                         struct step_result *result, struct err *err)
{
    if (err->code == ERR_INTERRUPTED)
        return -1;
    err_move(&result->err, err);
    result->err.code =
        ERR_SOURCE; /* also when it was killed: the revision may have taken the memory */
    result->outcome = STEP_FAILED;
    if (!result->err.file && r)
        err_at(&result->err, direction == STEP_UP ? r->file : r->down_file,
               direction == STEP_UP ? r->line : r->down_line, 0);
    return 0;
}

static int look_at_session(struct alembic_migrator *m, const json_t *answer, bool keep,
                           struct step_result *result, struct err *err)
{
    char **values = read_state(m, answer);
    if (!values)
        return 0; /* nothing ran that could have changed it */
    _cleanup_strv_ struct strv reset = {0};
    session_state_judge(m->state, values, keep, &result->session_change, &reset);
    if (!reset.n)
        return 0;
    return run_sql(m, &reset, err);
}

/* The rows of sqlite_schema that changed, as SchemaRows in belay_worker_run.py tells them. */
static void read_schema(struct alembic_migrator *m, const json_t *answer)
{
    const json_t *told = json_object_get(answer, "schema");
    if (!json_is_object(told))
        return;
    if (json_is_true(json_object_get(told, "whole")))
        sqlite_rows_clear(&m->schema);
    size_t i;
    json_t *value;
    json_array_foreach(json_object_get(told, "gone"), i, value)
        sqlite_rows_unset(&m->schema, (size_t)json_integer_value(value));
    json_array_foreach(json_object_get(told, "new"), i, value)
    {
        const struct ddl_row row = {.type = json_string_value(json_array_get(value, 1)),
                                    .name = json_string_value(json_array_get(value, 2)),
                                    .table = json_string_value(json_array_get(value, 3)),
                                    .sql = json_string_value(json_array_get(value, 4))};
        sqlite_rows_set(&m->schema, (size_t)json_integer_value(json_array_get(value, 0)), &row);
    }
    m->schema_fresh = true;
}

static const struct sqlite_rows *alembic_schema_rows(const struct migrator *base)
{
    const struct alembic_migrator *m = (const struct alembic_migrator *)base;
    return m->schema_fresh ? &m->schema : NULL;
}

/* PostgreSQL tells it as a text, SQLite as names. */
static int read_touched(const struct alembic_migrator *m, const json_t *answer,
                        struct step_result *result, struct err *err)
{
    const json_t *told = json_object_get(answer, "touched");
    size_t i;
    json_t *name;
    if (json_is_string(told))
        return touched_parse(json_string_value(told), &result->touched, err);
    json_array_foreach(told, i, name)
        touched_add(&result->touched, m->engine, NULL, json_string_value(name));
    result->touched.known = json_is_array(told);
    return 0;
}

/* What Observed of belay_worker_observe.py sends. */
static void tell_statement(const struct alembic_migrator *m, const struct revision *r,
                           const json_t *told)
{
    int line = (int)json_integer_value(json_object_get(told, "line"));
    const char *text = json_string_value(json_object_get(told, "text"));
    const struct statement_event e = {
        .text = text ? text : "",
        .file = line ? r->file : NULL,
        .line = line,
        .begin = json_number_value(json_object_get(told, "begin")),
        .end = json_number_value(json_object_get(told, "end")),
        .failed = json_is_true(json_object_get(told, "failed")),
        .rows = json_integer_value(json_object_get(told, "rows")),
        .seen = json_string_value(json_object_get(told, "seen")),
    };
    m->observer.statement(m->observer.data, &e);
}

/* The step has begun to work; one that nobody could note must not go on. */
static int tell_transaction(struct alembic_migrator *m, const json_t *number, struct err *err)
{
    m->transaction = xstrdup(json_string_value(number));
    if (migrator_noted(&m->base, m->transaction, err) == 0)
        return 0;
    drop_worker(m);
    end_backend(m);
    return -1;
}

/* Calls until the step's own answer is there: what comes before is news of it. */
static int call_step(struct alembic_migrator *m, const struct revision *r, json_t *request,
                     json_t **ret, struct err *err)
{
    bool looked = false;
    for (bool go_on = false;; request = go_on ? json_pack("{s:s}", "op", "go on") : NULL) {
        _cleanup_json_ json_t *answer = NULL;
        go_on = false;
        if (call(m, request, step_timeout(m), &answer, err) < 0)
            return -1;
        const json_t *told = json_object_get(answer, "statement");
        const json_t *number = json_object_get(answer, "transaction");
        if (told) {
            tell_statement(m, r, told);
            go_on = m->observer.wait;
        } else if (number) {
            if (tell_transaction(m, number, err) < 0)
                return -1;
        } else if (json_is_true(json_object_get(answer, "raised"))) {
            /* the session that sees whether others have written is about to end with env.py */
            migrator_look(&m->base);
            looked = go_on = true;
        } else {
            if (looked) {
                free(m->base.versions[1]);
                m->base.versions[1] =
                    xstrdup(json_string_value(json_object_get(answer, "data_version")));
            }
            *ret = TAKE_PTR(answer);
            return 0;
        }
    }
}

static int run_step(struct alembic_migrator *m, const struct revision *r,
                    enum step_direction direction, bool keep_session, struct step_result *result,
                    struct err *err)
{
    _cleanup_json_ json_t *answer = NULL;
    /* only who checks reads the schema after each step */
    bool tell = m->engine == &engine_sqlite && m->proof.query;
    json_t *request = json_pack("{s:s, s:s, s:s, s:b}", "op", "step", "revision", r->id,
                                "direction", direction == STEP_UP ? "up" : "down", "schema", tell);
    if (m->watching)
        json_object_set_new(
            request, "touched",
            json_pack("{s:s, s:s}", "mark", touched_mark_sql, "tell", touched_tell_sql));
    if (m->watching && !m->scratch && m->engine == &engine_postgres)
        json_object_set_new(json_object_get(request, "touched"), "transaction",
                            json_string(touched_transaction_sql));
    if (m->observer.statement)
        json_object_set_new(
            request, "observe",
            json_pack("{s:s?, s:b}", "look", m->observer.look, "wait", m->observer.wait));
    if (m->base.look)
        json_object_set_new(request, "guard", json_true());
    forget_step(m);
    for (size_t i = 0; i < ARRAY_LEN(m->process); i++)
        m->process[i] = m->backend[i] ? xstrdup(m->backend[i]) : NULL;
    if (call_step(m, r, request, &answer, err) < 0)
        return worker_failed(r, direction, result, err);
    if (!alembic_answer_ok(answer)) {
        env_ended(m, answer);
        return step_failed(answer, direction, result, err);
    }
    result->seconds = json_real_value(json_object_get(answer, "seconds"));
    size_t n;
    json_t *notice;
    json_array_foreach(json_object_get(answer, "notices"), n, notice)
        strv_add(&result->notices, json_string_value(notice));
    read_schema(m, answer);
    if (read_touched(m, answer, result, err) < 0)
        return -1;
    return look_at_session(m, answer, keep_session, result, err);
}

static int alembic_step(struct migrator *base, const struct revision *r,
                        enum step_direction direction, bool keep_session, struct step_result *ret,
                        struct err *err)
{
    struct alembic_migrator *m = self(base);
    const struct alembic_body *body =
        direction == STEP_UP ? &m->source->up[r->position] : &m->source->down[r->position];
    struct step_result result = {.outcome = body->empty ? STEP_EMPTY : STEP_OK};
    if (!body->present) {
        result.outcome = direction == STEP_UP ? STEP_FAILED : STEP_MISSING;
        if (direction == STEP_UP) {
            err_set(&result.err, ERR_SOURCE, "there is no function upgrade()");
            err_at(&result.err, r->file, 0, 0);
        }
    } else if (need_open(m, err) < 0 || run_step(m, r, direction, keep_session, &result, err) < 0) {
        step_result_release(&result);
        return -1;
    }
    if (m->source->isolate_steps)
        close_env(m);
    step_result_release(ret);
    *ret = result;
    return 0;
}

/* One env.py run, as `alembic upgrade heads` is; it says which revision it has come to. */
static int alembic_straight(struct migrator *base, const struct revisions *list, size_t *ret_done,
                            struct step_result *ret, struct err *err)
{
    struct alembic_migrator *m = self(base);
    struct step_result result = {.outcome = STEP_OK};
    _cleanup_json_ json_t *answer = NULL;
    size_t begun = 0;
    close_env(m);
    if (need_worker(m, err) < 0)
        return -1;
    json_t *ids = json_array();
    for (size_t i = 0; i < list->n; i++)
        json_array_append_new(ids, json_string(list->v[i]->id));
    json_t *request = json_pack("{s:s, s:o}", "op", "straight", "revisions", ids);
    add_database(m, request);
    int rc;
    while ((rc = call(m, request, step_timeout(m), &answer, err)) == 0 &&
           json_object_get(answer, "begun")) {
        begun = (size_t)json_integer_value(json_object_get(answer, "begun"));
        json_decref(TAKE_PTR(answer));
        request = NULL;
    }
    size_t done = begun ? begun - 1 : 0;
    if (rc < 0) {
        rc = worker_failed(list->v[done], STEP_UP, &result, err);
    } else {
        env_ended(m, answer);
        if (alembic_answer_ok(answer)) {
            done = list->n;
        } else {
            rc = step_failed(answer, STEP_UP, &result, err);
            if (!json_is_true(json_object_get(answer, "in_step")))
                done = begun;
        }
    }
    if (rc < 0) {
        step_result_release(&result);
        return -1;
    }
    *ret_done = done;
    step_result_release(ret);
    *ret = result;
    return 0;
}

/* ---- the version table ---- */

static int alembic_current(struct migrator *base, struct strv *ret, struct err *err)
{
    struct alembic_migrator *m = self(base);
    const struct graph *g = m->source->base.graph;
    _cleanup_json_ json_t *answer = NULL;
    if (need_open(m, err) < 0 || call(m, json_pack("{s:s}", "op", "current"), 0, &answer, err) < 0)
        return -1;
    if (!alembic_answer_ok(answer))
        return alembic_error(answer, ERR_ENV, err);
    _cleanup_revisions_ struct revisions heads = {0};
    _cleanup_strv_ struct strv unknown = {0};
    size_t i;
    json_t *value;
    json_array_foreach(json_object_get(answer, "heads"), i, value)
    {
        struct revision *r = graph_find(g, json_string_value(value));
        if (r)
            revisions_add(&heads, r);
        else
            strv_add(&unknown, json_string_value(value));
    }
    _cleanup_free_ bool *applied = graph_applied(g, &heads);
    strv_release(ret);
    for (i = 0; i < graph_size(g); i++)
        if (applied[i])
            strv_add(ret, graph_at(g, i)->id);
    for (i = 0; i < unknown.n; i++)
        strv_add(ret, unknown.v[i]);
    return 0;
}

static json_t *ids_of(const struct revisions *l)
{
    json_t *a = json_array();
    for (size_t i = 0; l && i < l->n; i++)
        json_array_append_new(a, json_string(l->v[i]->id));
    return a;
}

static int alembic_stamp(struct migrator *base, const struct revisions *heads, struct err *err)
{
    struct alembic_migrator *m = self(base);
    _cleanup_json_ json_t *answer = NULL;
    if (need_open(m, err) < 0 ||
        call(m, json_pack("{s:s, s:o}", "op", "stamp", "revisions", ids_of(heads)), 0, &answer,
             err) < 0)
        return -1;
    if (!alembic_answer_ok(answer))
        return alembic_error(answer, ERR_SQL, err);
    close_env(m); /* the run that waits there knows the old versions */
    return 0;
}

static int alembic_drift(struct migrator *base, struct strv *ret, struct err *err)
{
    struct alembic_migrator *m = self(base);
    _cleanup_json_ json_t *answer = NULL;
    if (need_open(m, err) < 0 || call(m, json_pack("{s:s}", "op", "drift"), 0, &answer, err) < 0)
        return -1;
    if (!alembic_answer_ok(answer))
        return alembic_error(answer, ERR_SOURCE, err);
    size_t i;
    json_t *value;
    json_array_foreach(json_object_get(answer, "operations"), i, value)
        strv_add(ret, json_string_value(value));
    return 0;
}

/* ---- without a database ---- */

static int alembic_own_url(const struct source *s, char **ret, struct err *err)
{
    _cleanup_json_ json_t *answer = NULL;
    if (alembic_ask((struct alembic_source *)s, json_pack("{s:s}", "op", "url"), &answer, err) < 0)
        return -1;
    *ret = xstrdup(json_string_value(json_object_get(answer, "url")));
    return 0;
}

static bool in_list(const struct revisions *list, const struct revision *r)
{
    return revisions_has(list, r);
}

/* What the version table holds before the steps: the last of what is applied then. */
static void state_before(const struct revisions *list, enum step_direction direction,
                         struct revisions *ret)
{
    struct revisions all = {0};
    for (size_t i = 0; i < list->n; i++) {
        struct revision *r = list->v[i];
        for (size_t k = 0; direction == STEP_UP && k < r->nup; k++)
            if (!in_list(list, r->up[k]) && !revisions_has(&all, r->up[k]))
                revisions_add(&all, r->up[k]);
        if (direction == STEP_DOWN)
            revisions_add(&all, r);
    }
    for (size_t i = 0; i < all.n; i++) {
        bool last = true;
        for (size_t k = 0; k < all.n && last; k++)
            last = k == i || !graph_is_ancestor(all.v[i], all.v[k]);
        if (last)
            revisions_add(ret, all.v[i]);
    }
    revisions_release(&all);
}

static int alembic_sql(const struct source *s, const struct engine *e, const struct revisions *list,
                       enum step_direction direction, char **ret, struct err *err)
{
    const struct alembic_source *a = (const struct alembic_source *)s;
    _cleanup_revisions_ struct revisions before = {0};
    _cleanup_json_ json_t *answer = NULL;
    state_before(list, direction, &before);
    for (size_t i = 0; i < list->n; i++) {
        const struct revision *r = list->v[i];
        if (direction == STEP_DOWN && !a->down[r->position].present) {
            err_set(err, ERR_SOURCE, "revision %s has no downgrade", r->id);
            return err_at(err, r->file, 0, 0);
        }
    }
    json_t *request = json_pack(
        "{s:s, s:s, s:o, s:o, s:s}", "op", "sql", "direction", direction == STEP_UP ? "up" : "down",
        "revisions", ids_of(list), "current", ids_of(&before), "url",
        e == &engine_sqlite ? "sqlite:///offline.db" : "postgresql://localhost/offline");
    if (alembic_ask((struct alembic_source *)s, request, &answer, err) < 0)
        return -1;
    *ret = xstrdup(json_string_value(json_object_get(answer, "sql")));
    return 0;
}

static int alembic_new_revision(const struct source *s, const struct new_revision *n, char **ret_id,
                                struct strv *ret_files, struct err *err)
{
    _cleanup_json_ json_t *answer = NULL;
    json_t *request = json_pack("{s:s, s:s, s:b, s:s?, s:o, s:s?, s:s?, s:o}", "op", "revision",
                                "message", n->message, "autogenerate", n->autogenerate, "url",
                                n->url, "parents", ids_of(n->parents), "id", n->id, "branch_label",
                                n->branch_label, "depends_on", alembic_strings(n->depends_on));
    if (alembic_ask((struct alembic_source *)s, request, &answer, err) < 0)
        return -1;
    const json_t *made = json_object_get(answer, "made");
    if (!json_array_size(made))
        return err_set(err, ERR_SOURCE, "Alembic wrote no revision");
    size_t i;
    json_t *value;
    json_array_foreach(made, i, value)
        strv_add(ret_files, json_string_value(json_object_get(value, "file")));
    *ret_id = xstrdup(json_string_value(json_object_get(json_array_get(made, 0), "id")));
    return 0;
}

const struct source_ops alembic_source_ops = {
    .free = alembic_source_free,
    .own_url = alembic_own_url,
    .migrator_open = alembic_open,
    .close = alembic_close,
    .watch = alembic_watch,
    .observe = alembic_observe,
    .rolled_back = alembic_rolled_back,
    .backend = alembic_backend,
    .data_version = alembic_data_version,
    .prepare = alembic_prepare,
    .db = alembic_db,
    .schema_rows = alembic_schema_rows,
    .step = alembic_step,
    .straight = alembic_straight,
    .current = alembic_current,
    .stamp = alembic_stamp,
    .drift = alembic_drift,
    .cancel = alembic_cancel,
    .sql = alembic_sql,
    .new_revision = alembic_new_revision,
};
