/*
 * One session that applies revisions of an SQL folder as the folder's own tool does.
 *
 * On PostgreSQL a step in a transaction is one round trip in all formats but goose, which sends
 * statement by statement: "begin", the section, the row of the version table and "commit" go to the
 * server as one text. The server runs them as it would run them apart (an explicit BEGIN ends the
 * implicit transaction of a text with several statements); positions in errors are moved back by
 * the one line that was put in front.
 */
#include "harness/source/sql_format.h"

#include <ctype.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

#include "harness/base/clock.h"
#include "harness/engine/pgsplit.h"
#include "harness/source/session_state.h"
#include "harness/source/touched.h"

struct sql_migrator {
    struct migrator base;
    const struct sql_source *source;
    const struct sql_format *format;
    struct db *db;
    bool scratch;
    char *table; /* as SQL writes it */
    struct session_state *state;
    bool watching;
    struct touched_watch *watch; /* SQLite */
    struct migrator_observer observer;
    /* PostgreSQL, not on scratch */
    char *url, *backend, *process[2];
    char *transaction; /* that the last step began in; NULL: none, or not known */
};

static struct sql_migrator *self(struct migrator *m)
{
    return (struct sql_migrator *)m;
}

static struct db *sql_db(struct migrator *m)
{
    return self(m)->db;
}

static void sql_cancel(struct migrator *m)
{
    db_cancel(self(m)->db);
}

static void sql_watch(struct migrator *base)
{
    struct sql_migrator *m = self(base);
    if (!m->watching && db_engine(m->db) == &engine_sqlite)
        m->watch = touched_watch_new(m->db);
    m->watching = true;
}

static void sql_observe(struct migrator *m, const struct migrator_observer *o)
{
    self(m)->observer = *o;
}

static void sql_close(struct migrator *base)
{
    struct sql_migrator *m = self(base);
    session_state_free(m->state);
    touched_watch_free(m->watch);
    db_close(m->db);
    free(m->table);
    if (m->url)
        explicit_bzero(m->url, strlen(m->url));
    free(m->url);
    free(m->backend);
    free(m->process[0]);
    free(m->process[1]);
    free(m->transaction);
    free(m);
}

static bool sql_rolled_back(struct migrator *base)
{
    struct sql_migrator *m = self(base);
    _cleanup_err_ struct err ignored = {0}; /* the server is asked in another session */
    if (m->transaction && db_in_transaction(m->db))
        db_run(m->db, "rollback", DB_RUN_WHOLE, NULL, &ignored);
    return touched_rolled_back(m->url, m->transaction, (const char *const *)m->process);
}

static const char *sql_backend(struct migrator *m)
{
    return self(m)->backend;
}

static char *sql_data_version(struct migrator *base)
{
    struct sql_migrator *m = self(base);
    _cleanup_err_ struct err ignored = {0}; /* then it is not known */
    char *version = NULL;
    return db_engine(m->db) == &engine_sqlite &&
                   db_query_text(m->db, "pragma data_version", NULL, 0, &version, &ignored) == 0
               ? version
               : NULL;
}

static int sql_prepare(struct migrator *m, const struct strv *statements, struct err *err)
{
    for (size_t i = 0; i < statements->n; i++)
        if (db_run(self(m)->db, statements->v[i], DB_RUN_WHOLE, NULL, err) < 0)
            return -1;
    return 0;
}

/* What serves the session, for when it can only be ended from another one. */
static int read_backend(struct sql_migrator *m, const char *url, struct err *err)
{
    _cleanup_rows_ struct rows *rows = NULL;
    if (m->scratch || db_engine(m->db) != &engine_postgres)
        return 0;
    if (db_query(m->db, touched_backend_sql, NULL, 0, &rows, err) < 0)
        return -1;
    if (!rows_count(rows))
        return 0;
    m->url = xstrdup(url);
    for (int i = 0; i < 2; i++)
        m->process[i] = xstrdup(rows_get(rows, 0, i));
    m->backend = xasprintf("%s %s", m->process[0], m->process[1]);
    return 0;
}

static bool has_word(const char *text, const char *word)
{
    return text && strcasestr(text, word);
}

/* ---- the version table ---- */

/* What records the step in the version table. The caller owns the result. */
static char *record_sql(const struct sql_migrator *m, const struct script *script,
                        enum step_direction direction, bool dirty)
{
    const char *path =
        m->format->keeps_search_path ? session_state_get(m->state, "search_path") : NULL;
    char *sql = version_record(m->source, m->table, script, direction, dirty);
    if (!path)
        return sql;
    _cleanup_free_ char *record = sql;
    _cleanup_free_ char *quoted = quote_with(path, '\'');
    return xasprintf("select set_config('search_path', %s, false); %s", quoted, record);
}

static int create_table(struct sql_migrator *m, unsigned flags, struct err *err)
{
    const struct version_table *t = &m->format->table;
    bool postgres = db_engine(m->db) == &engine_postgres;
    _cleanup_free_ char *schema = NULL;
    if (postgres && t->qualified &&
        db_query_text(m->db, "select coalesce(quote_ident(current_schema()), 'public')", NULL, 0,
                      &schema, err) < 0)
        return -1;
    m->table = schema ? xasprintf("%s.%s", schema, t->name) : xstrdup(t->name);
    if (flags & DB_OPEN_READONLY)
        return 0;
    _cleanup_free_ char *sql =
        version_expand(postgres ? t->create_postgres : t->create_sqlite, m->table, "");
    if (db_run(m->db, sql, DB_RUN_WHOLE, NULL, err) < 0)
        return err_prefix(err, "cannot make the version table %s", m->table);
    struct strv ignored = {0}; /* "already exists, skipping" */
    db_take_notices(m->db, &ignored);
    strv_release(&ignored);
    return 0;
}

static int sql_open(const struct source *s, const struct engine *e, const char *url,
                    unsigned db_flags, const struct db_proof *proof, struct migrator **ret,
                    struct err *err)
{
    struct sql_migrator *m = xcalloc(1, sizeof(*m));
    _cleanup_(cleanup_migrator_close) struct migrator *base = &m->base;
    base->source = s;
    m->source = (const struct sql_source *)s;
    m->format = m->source->format;
    m->scratch = db_flags & DB_OPEN_SCRATCH;
    if (db_open(e, url, db_flags, &m->db, err) < 0 || (proof && db_prove(m->db, proof, err) < 0) ||
        create_table(m, db_flags, err) < 0 || session_state_read(m->db, &m->state, err) < 0 ||
        read_backend(m, url, err) < 0)
        return -1;
    *ret = TAKE_PTR(base);
    return 0;
}

static bool is_true(const char *value)
{
    return value && (value[0] == 't' || value[0] == '1');
}

static const struct script *script_of_version(const struct sql_source *s, const char *version)
{
    /* in most formats the id is the version */
    const struct revision *r = graph_find(s->base.graph, version);
    if (r && strcmp(s->by_position[r->position]->version, version) == 0)
        return s->by_position[r->position];
    for (size_t i = 0; i < s->n; i++)
        if (strcmp(s->scripts[i].version, version) == 0)
            return &s->scripts[i];
    return NULL;
}

static int dirty_database(const char *version, struct err *err)
{
    err_set(err, ERR_SOURCE,
            "the database is marked dirty at version %s: a migration failed midway", version);
    return err_hint(err,
                    "repair what it left, then tell golang-migrate with \"migrate force VERSION\"");
}

static int sql_current(struct migrator *base, struct strv *ret, struct err *err)
{
    struct sql_migrator *m = self(base);
    const struct sql_source *s = m->source;
    _cleanup_free_ char *sql = version_expand(m->format->table.select, m->table, "");
    _cleanup_rows_ struct rows *rows = NULL;
    _cleanup_free_ bool *applied = xcalloc(s->n, 1);
    _cleanup_strv_ struct strv unknown = {0};
    if (db_query(m->db, sql, NULL, 0, &rows, err) < 0)
        return err_prefix(err, "cannot read the version table %s", m->table);
    bool single_row = !m->format->table.up, flagged = rows_columns(rows) > 1 && !single_row;
    _cleanup_strv_ struct strv seen = {0};
    for (int i = 0; i < rows_count(rows); i++) {
        const char *version = rows_get(rows, i, 0);
        if (single_row && is_true(rows_get(rows, i, 1)))
            return dirty_database(version, err);
        /* goose, newest first: the last word on a version counts, and 0 is the table's own */
        if (flagged) {
            if (strcmp(version, "0") == 0 || strv_has(&seen, version))
                continue;
            strv_add(&seen, version);
            if (!is_true(rows_get(rows, i, 1)))
                continue;
        }
        const struct script *script = script_of_version(s, version);
        if (!script)
            strv_add(&unknown, version);
        for (const struct script *p = script; p; p = single_row && p != s->scripts ? p - 1 : NULL)
            applied[p->revision->position] = true;
    }
    strv_release(ret);
    for (size_t i = 0; i < s->n; i++)
        if (applied[i])
            strv_add(ret, graph_at(s->base.graph, i)->id);
    for (size_t i = 0; i < unknown.n; i++)
        strv_add(ret, unknown.v[i]);
    return 0;
}

/* ';'-separated statements in one transaction. */
static int run_stamp(struct sql_migrator *m, const char *statements, struct err *err)
{
    _cleanup_free_ char *sql = xasprintf("begin; %s commit", statements);
    if (db_run(m->db, sql, DB_RUN_WHOLE, NULL, err) == 0)
        return 0;
    _cleanup_err_ struct err ignored = {0}; /* the first error is the one to tell */
    if (db_in_transaction(m->db))
        db_run(m->db, "rollback", DB_RUN_WHOLE, NULL, &ignored);
    return err_prefix(err, "cannot write the version table %s", m->table);
}

/* golang-migrate's one row; a mark of dirt goes too, as with its "force". */
static int stamp_single_row(struct sql_migrator *m, const struct revisions *wanted, struct err *err)
{
    const struct script *last =
        wanted->n ? m->source->by_position[wanted->v[wanted->n - 1]->position] : NULL;
    _cleanup_free_ char *sql =
        last ? version_record(m->source, m->table, last, STEP_UP, false)
             : version_record(m->source, m->table, m->source->scripts, STEP_DOWN, false);
    return db_run(m->db, sql, DB_RUN_WHOLE, NULL, err) < 0
               ? err_prefix(err, "cannot write the version table %s", m->table)
               : 0;
}

/* Rows that are right already stay as they are: they may say when they were written. */
static int sql_stamp(struct migrator *base, const struct revisions *heads, struct err *err)
{
    struct sql_migrator *m = self(base);
    const struct graph *g = m->source->base.graph;
    const struct version_table *t = &m->format->table;
    const struct revisions nothing = {0};
    _cleanup_revisions_ struct revisions wanted = {0};
    _cleanup_strv_ struct strv applied = {0};
    graph_upgrade_path(g, &nothing, heads, &wanted);
    if (!t->up)
        return stamp_single_row(m, &wanted, err);
    if (sql_current(base, &applied, err) < 0)
        return -1;
    _cleanup_str_ struct str sql = {0};
    for (size_t i = 0; i < applied.n; i++) {
        const struct revision *r = graph_find(g, applied.v[i]);
        if (r && revisions_has(&wanted, r))
            continue;
        const char *version = r ? m->source->by_position[r->position]->version : applied.v[i];
        _cleanup_free_ char *down = version_expand(t->down, m->table, version);
        str_addf(&sql, "%s; ", down);
    }
    for (size_t i = 0; i < wanted.n; i++) {
        if (strv_has(&applied, wanted.v[i]->id))
            continue;
        const struct script *script = m->source->by_position[wanted.v[i]->position];
        _cleanup_free_ char *up = version_expand(t->up, m->table, script->version);
        str_addf(&sql, "%s; ", up);
    }
    return sql.len ? run_stamp(m, str_get(&sql), err) : 0;
}

/* ---- errors ---- */

static const char *line_text(const char *sql, int line)
{
    for (; line > 1 && sql; line--) {
        sql = strchr(sql, '\n');
        sql = sql ? sql + 1 : NULL;
    }
    return sql ? sql : "";
}

/* "\connect app" where the server found a "\": a command of psql. */
static bool is_psql_command(const char *sql, const struct err *e)
{
    if (strcmp(e->sqlstate, "42601") != 0 || e->line < 1 || e->column < 1)
        return false;
    const char *p = line_text(sql, e->line);
    for (int i = 1; *p && i < e->column; p++)
        i += ((unsigned char)p[1] & 0xc0) != 0x80;
    return *p == '\\';
}

static void add_hint(const struct sql_migrator *m, bool in_transaction, const char *sql,
                     struct err *e)
{
    if (is_psql_command(sql, e)) {
        const char *p = strchr(line_text(sql, e->line), '\\');
        _cleanup_free_ char *command = xstrndup(p, strcspn(p, " \t\r\n;"));
        err_hint(
            e,
            "%s is a command of psql, not SQL, and %s does not run psql: write it in SQL, or take "
            "the line out",
            command, m->format->name);
    } else if (strcmp(e->sqlstate, "25001") == 0 && has_word(e->message, "transaction block")) {
        if (in_transaction)
            err_hint(e, "%s runs it in a transaction: %s", m->format->name,
                     m->format->without_transaction);
        else
            err_hint(
                e, "PostgreSQL runs statements that are sent together in one transaction: put this "
                   "one alone into a revision");
    } else if (has_word(e->message, "no such function: ")) {
        err_hint(e,
                 "SQLite itself has no such function: the project's own program registers it; give "
                 "belay the same in an extension, with sqlite_extensions in belay.yaml");
    } else if (strcmp(e->sqlstate, "55P04") == 0) {
        err_hint(e,
                 "a new enum value can be used after its transaction has ended: use it in a later "
                 "revision");
    }
}

/*
 * How people say "there is no way back": a RAISE in the downgrade's own DO block (the context shows
 * that no trigger or function did it), RAISE() where SQLite knows it only in triggers, or a
 * statement that can only fail and has the word in it.
 */
static bool raises_on_purpose(const struct err *e)
{
    static const char block[] = "PL/pgSQL function inline_code_block line ";
    const char *frame = e->detail ? strstr(e->detail, block) : NULL;
    if (frame) {
        size_t n = strcspn(frame, "\n"), raise = strlen(" at RAISE");
        /* elsewhere the frame says what the block was doing: at PERFORM, at SQL statement */
        if (n > raise && memcmp(frame + n - raise, " at RAISE", raise) == 0)
            return true;
    }
    return has_word(e->message, "RAISE() may only be used within a trigger-program") ||
           has_word(e->message, "irreversible") ||
           (e->code == ERR_SQL && has_word(e->statement, "irreversible"));
}

/* ---- a step ---- */

struct step {
    struct sql_migrator *m;
    const struct script *script;
    const struct section *section;
    enum step_direction direction;
    bool in_transaction; /* begun here */
    bool touched;        /* the server keeps what the step touched */
    struct step_result *result;
};

static int line_count(const char *text)
{
    int n = 1;
    for (; (text = strchr(text, '\n')); text++)
        n++;
    return n;
}

/* The error is the environment's, not the revision's. */
static bool is_fatal(const struct err *e)
{
    return e->code == ERR_CONNECTION || e->code == ERR_ENV || e->code == ERR_INTERRUPTED;
}

/* Hands an error of the revision over as its result: returns 0, or -1 when it is not the
 * revision's. */
static int step_failed(const struct step *s, struct err *e, struct err *err)
{
    bool fatal = is_fatal(e);
    if (!fatal && s->direction == STEP_DOWN && raises_on_purpose(e))
        s->result->outcome = STEP_IRREVERSIBLE;
    else
        s->result->outcome = STEP_FAILED;
    err_move(fatal ? err : &s->result->err, e);
    return fatal ? -1 : 0;
}

static int record_failed(const struct step *s, struct err *e, struct err *err)
{
    if (is_fatal(e)) {
        err_move(err, e);
        return -1;
    }
    if (has_word(e->message, "no transaction is active")) { /* SQLite; PostgreSQL only warns */
        err_set(e, ERR_SQL, "the revision ends the transaction that %s runs it in",
                s->m->format->name);
        err_hint(e, "take COMMIT or ROLLBACK out, or ask for no transaction: %s",
                 s->m->format->without_transaction);
    } else {
        err_prefix(e, "the SQL ran, but %s cannot be written", s->m->table);
        err_hint(e, "does the revision drop or change the version table, the role or search_path?");
    }
    err_at(e, s->section->file, s->section->line, 0);
    s->result->outcome = STEP_FAILED;
    err_move(&s->result->err, e);
    return 0;
}

/* Moves the place from the text that was sent to the file. skip: lines put in front. */
static void place_error(const struct step *s, const struct chunk *chunk, int skip, const char *sql,
                        struct err *e)
{
    add_hint(s->m, s->in_transaction, sql, e);
    bool known = e->line > skip;
    err_at(e, s->section->file, known ? chunk->line + e->line - skip - 1 : s->section->line,
           known ? e->column : 0);
}

static int run_own(const struct step *s, const char *sql, struct err *err)
{
    struct err e = {0};
    return db_run(s->m->db, sql, DB_RUN_WHOLE, NULL, &e) == 0 ? 1 : record_failed(s, &e, err);
}

static bool is_postgres(const struct step *s)
{
    return db_engine(s->m->db) == &engine_postgres;
}

static bool is_observed(const struct step *s)
{
    return s->m->observer.statement != NULL;
}

/* What of a chunk runs next: [*start, *start + *len). */
struct cut {
    const char *sql;
    struct statements all; /* PostgreSQL */
    size_t at;             /* the next of them; SQLite: bytes */
};

/* One of the statements ends or begins a transaction: what is sent together matters then. */
static bool controls_transactions(const struct statements *all, const char *sql)
{
    static const char *const words[] = {"begin", "start",     "commit",  "end",    "rollback",
                                        "abort", "savepoint", "release", "prepare"};
    for (size_t i = 0; i < all->n; i++) {
        const char *p = sql + all->v[i].start;
        size_t n = 0;
        while (isalpha((unsigned char)p[n]))
            n++;
        for (size_t k = 0; k < ARRAY_LEN(words); k++)
            if (n == strlen(words[k]) && strncasecmp(p, words[k], n) == 0)
                return true;
    }
    return false;
}

static bool has_first_word(const char *sql, const char *const *words)
{
    for (; *words; words++) {
        size_t n = strlen(*words);
        if (strncasecmp(sql, *words, n) == 0 && !isalnum((unsigned char)sql[n]) && sql[n] != '_')
            return true;
    }
    return false;
}

/*
 * A statement that means the same alone and within a transaction of its own, in which it can be looked
 * at before its end. What is not known to be one runs alone: CONCURRENTLY, VACUUM, CALL.
 */
static bool may_be_wrapped(const struct statements *all, const char *sql)
{
    static const char *const may[] = {"alter",  "comment",  "create", "delete", "drop",
                                      "insert", "truncate", "update", NULL};
    static const char *const server[] = {"database", "subscription", "system", "tablespace", NULL};
    if (all->n != 1)
        return false;
    _cleanup_free_ char *text = xstrndup(sql + all->v[0].start, all->v[0].len);
    const char *second = text;
    while (isalpha((unsigned char)*second))
        second++;
    second += sql_skip_blank(second);
    return has_first_word(text, may) && !has_first_word(second, server) &&
           !strcasestr(text, "concurrently");
}

static bool next_statement(const struct step *s, struct cut *c, size_t *start, size_t *len)
{
    if (is_postgres(s)) {
        if (c->at >= c->all.n)
            return false;
        *start = c->all.v[c->at].start;
        *len = c->all.v[c->at++].len;
        return true;
    }
    /* only its compiler knows where a statement of SQLite ends; what it refuses runs to say why */
    sqlite3_stmt *stmt = NULL;
    const char *tail = NULL;
    for (;;) {
        c->at += sql_skip_blank(c->sql + c->at);
        if (!c->sql[c->at])
            return false;
        *start = c->at;
        int rc = sqlite3_prepare_v2(db_handle(s->m->db), c->sql + c->at, -1, &stmt, &tail);
        bool empty = rc == SQLITE_OK && !stmt;
        *len = rc == SQLITE_OK ? (size_t)(tail - c->sql) - c->at : strlen(c->sql + c->at);
        c->at += *len;
        sqlite3_finalize(stmt);
        if (!empty)
            return true;
    }
}

/* What the session itself sees now; owned by the caller. NULL when it cannot be asked. */
static char *look(const struct step *s)
{
    _cleanup_err_ struct err ignored = {0}; /* the next statement meets it too */
    char *seen = NULL;
    if (s->m->observer.look)
        db_query_text(s->m->db, s->m->observer.look, NULL, 0, &seen, &ignored);
    return seen;
}

/* One statement of a chunk, told to the observer. */
static int run_told(const struct step *s, const struct chunk *chunk, size_t start, size_t len,
                    struct err *err)
{
    struct err e = {0};
    int line, column;
    _cleanup_free_ char *sql = xstrndup(chunk->sql + start, len);
    text_place(chunk->sql, start, &line, &column);
    struct statement_event event = {.text = sql,
                                    .file = s->section->file,
                                    .line = chunk->line + line - 1,
                                    .begin = clock_seconds(),
                                    .rows = -1};
    event.failed = db_run(s->m->db, sql, DB_RUN_WHOLE, NULL, &e) < 0;
    event.end = clock_seconds();
    _cleanup_free_ char *seen = event.failed ? NULL : look(s);
    event.seen = seen;
    s->m->observer.statement(s->m->observer.data, &event);
    if (!event.failed)
        return 1;
    if (e.line == 1 && e.column)
        e.column += column - 1;
    const struct chunk here = {.sql = chunk->sql, .line = event.line};
    place_error(s, &here, 0, sql, &e);
    return step_failed(s, &e, err);
}

/* transaction: the statements share one that has been begun, or there is to be none. */
static int run_observed(const struct step *s, const struct chunk *chunk, bool transaction,
                        struct err *err)
{
    struct cut cut = {.sql = chunk->sql};
    size_t start, len;
    int r = 1;
    if (is_postgres(s))
        pg_split(chunk->sql, &cut.all);
    bool whole = is_postgres(s) && controls_transactions(&cut.all, chunk->sql);
    /* the server would run a text of several in one transaction */
    bool own = is_postgres(s) && !transaction && !whole &&
               (cut.all.n > 1 || may_be_wrapped(&cut.all, chunk->sql));
    if (own)
        r = run_own(s, "begin", err);
    if (whole)
        r = run_told(s, chunk, 0, strlen(chunk->sql), err);
    while (!whole && r == 1 && next_statement(s, &cut, &start, &len))
        r = run_told(s, chunk, start, len, err);
    if (own && r == 1)
        r = run_own(s, "commit", err);
    statements_release(&cut.all);
    return r;
}

/* Returns 1 when the step goes on, 0 when it ended with a result, -1 on failure. */
static int run_chunk(const struct step *s, const struct chunk *chunk, const char *before,
                     const char *after, struct err *err)
{
    struct err e = {0};
    int skip = *before ? 1 : 0;
    bool alone = !*before && !*after;
    if (is_observed(s) && alone)
        return run_observed(s, chunk, s->in_transaction, err);
    _cleanup_free_ char *joined = alone ? NULL : xasprintf("%s%s%s", before, chunk->sql, after);
    const char *sql = alone ? chunk->sql : joined;
    if (db_run(s->m->db, sql, DB_RUN_WHOLE, NULL, &e) == 0)
        return 1;
    if (*after && e.line > skip + line_count(chunk->sql))
        return record_failed(s, &e, err);
    place_error(s, chunk, skip, sql, &e);
    return step_failed(s, &e, err);
}

static int run_record(const struct step *s, bool dirty, struct err *err)
{
    _cleanup_free_ char *sql = record_sql(s->m, s->script, s->direction, dirty);
    return run_own(s, sql, err);
}

/* The section and the record (NULL: none) in one transaction. */
static int run_in_transaction(struct step *s, const char *record, struct err *err)
{
    const struct section *section = s->section;
    /* SQLite has no round trips to save, and reads an unfinished comment up to the end of the text
     */
    bool join = is_postgres(s) && section->n > 0 && !is_observed(s);
    s->touched = is_postgres(s) && s->m->watching;
    _cleanup_free_ char *begin = xasprintf("begin%s%s%s", s->touched ? "; " : "",
                                           s->touched ? touched_mark_sql : "", join ? ";\n" : "");
    /* on a line of its own: the section may end in a comment or without a semicolon */
    _cleanup_free_ char *end =
        xasprintf("%s%s%s%s%scommit", join ? "\n;\n" : "", record ? record : "",
                  record ? ";\n" : "", s->touched ? touched_keep_sql : "", s->touched ? ";\n" : "");
    /* on a database of the user's the transaction is worth a round trip */
    bool apart = !join || (s->touched && s->m->url);
    int r = apart ? run_own(s, begin, err) : 1;
    s->in_transaction = true;
    if (r == 1 && section->n && s->touched && s->m->url &&
        (db_query_text(s->m->db, touched_transaction_sql, NULL, 0, &s->m->transaction, err) < 0 ||
         migrator_noted(&s->m->base, s->m->transaction, err) < 0))
        return -1;
    for (size_t i = 0; i < section->n && r == 1; i++)
        r = run_chunk(s, &section->chunks[i], apart || i ? "" : begin,
                      join && i + 1 == section->n ? end : "", err);
    return r == 1 && !join ? run_own(s, end, err) : r;
}

static bool left_open(const struct step *s)
{
    if (!db_in_transaction(s->m->db))
        return false;
    struct step_result *r = s->result;
    r->transaction_open = true;
    r->outcome = STEP_FAILED;
    err_set(&r->err, ERR_SQL,
            "the revision leaves a transaction open: all of it is lost when the "
            "session ends");
    err_hint(&r->err, "end it with COMMIT, or leave transactions to %s", s->m->format->name);
    err_at(&r->err, s->section->file, s->section->line, 0);
    return true;
}

static int run_chunks(const struct step *s, struct err *err)
{
    int r = 1;
    for (size_t i = 0; i < s->section->n && r == 1; i++)
        r = run_chunk(s, &s->section->chunks[i], "", "", err);
    return r == 1 && left_open(s) ? 0 : r;
}

static int run_without_transaction(const struct step *s, struct err *err)
{
    int r = run_chunks(s, err);
    return r == 1 ? run_record(s, false, err) : r;
}

/*
 * The server runs a text of several statements in one transaction, to which more may be added. One
 * statement alone runs outside of any, as VACUUM must.
 */
static int run_as_one(struct step *s, struct err *err)
{
    const struct section *section = s->section;
    _cleanup_statements_ struct statements all = {0};
    if (s->m->watching && section->n == 1)
        pg_split(section->chunks[0].sql, &all);
    const char *sql = section->n ? section->chunks[0].sql : "";
    if (is_observed(s) &&
        ((all.n > 1 && !controls_transactions(&all, sql)) || may_be_wrapped(&all, sql)))
        return run_in_transaction(s, NULL, err);
    if (all.n < 2 || is_observed(s))
        return run_chunks(s, err);
    s->touched = true;
    _cleanup_free_ char *before = xasprintf("%s;\n", touched_mark_sql);
    _cleanup_free_ char *after = xasprintf("\n;\n%s", touched_keep_sql);
    int r = run_chunk(s, &section->chunks[0], before, after, err);
    return r == 1 && left_open(s) ? 0 : r;
}

/* A failed golang-migrate step leaves the mark; the first error is the one to tell. */
static void mark_dirty(const struct step *s)
{
    struct sql_migrator *m = s->m;
    _cleanup_err_ struct err ignored = {0};
    if (db_in_transaction(m->db))
        db_run(m->db, "rollback", DB_RUN_WHOLE, NULL, &ignored);
    _cleanup_free_ char *sql = record_sql(m, s->script, s->direction, true);
    db_run(m->db, sql, DB_RUN_WHOLE, NULL, &ignored);
}

/*
 * golang-migrate: marks the database dirty, runs the file, marks it clean. Nobody reads the mark of
 * a scratch database while the step runs, so there it is only written when the step has failed.
 */
static int run_marked(struct step *s, struct err *err)
{
    int r = s->m->scratch ? 1 : run_record(s, true, err);
    if (r == 1)
        r = is_postgres(s) ? run_as_one(s, err) : run_in_transaction(s, NULL, err);
    if (r == 1)
        return run_record(s, false, err);
    if (r == 0 && s->m->scratch)
        mark_dirty(s);
    return r;
}

static int run_step(struct step *s, struct err *err)
{
    if (s->m->format->transactions == TRANSACTION_IMPLICIT)
        return run_marked(s, err);
    if (s->section->no_transaction)
        return run_without_transaction(s, err);
    _cleanup_free_ char *record = record_sql(s->m, s->script, s->direction, false);
    return run_in_transaction(s, record, err);
}

/* In SQLite nothing but a pragma changes the session; PostgreSQL has functions that do. */
static bool may_change_session(const struct step *s)
{
    bool may = is_postgres(s);
    for (size_t i = 0; i < s->section->n && !may; i++)
        may = has_word(s->section->chunks[i].sql, "pragma");
    return may;
}

/* Ends what is still open, and looks at what the revision left in the session. */
static int clean_up(const struct step *s, bool keep_session, struct err *err)
{
    struct sql_migrator *m = s->m;
    if (db_in_transaction(m->db) && db_run(m->db, "rollback", DB_RUN_WHOLE, NULL, err) < 0)
        return -1;
    db_take_notices(m->db, &s->result->notices);
    if (!may_change_session(s))
        return 0;
    return session_state_compare(m->state, m->db, keep_session, &s->result->session_change, err);
}

/* What the step touched, where it worked and belay was asked. */
static int look_at_touched(const struct step *s, struct err *err)
{
    struct step_result *r = s->result;
    bool worked = r->outcome == STEP_OK || r->outcome == STEP_EMPTY;
    if (s->m->watch) {
        struct step_touched touched = {0};
        touched_watch_end(s->m->watch, worked ? &r->touched : &touched);
        strv_release(&touched.names);
    }
    return s->touched && worked ? touched_read(s->m->db, &r->touched, err) : 0;
}

/* diesel refuses a file of no bytes, and so has no way back where down.sql is one. */
static bool is_missing(const struct sql_format *f, const struct section *s)
{
    return !s->present || (f->layout == LAYOUT_FOLDER && !*s->chunks[0].sql);
}

static int sql_step(struct migrator *base, const struct revision *r, enum step_direction direction,
                    bool keep_session, struct step_result *ret, struct err *err)
{
    struct sql_migrator *m = self(base);
    const struct script *script = m->source->by_position[r->position];
    const struct section *section = direction == STEP_UP ? &script->up : &script->down;
    struct step_result result = {0};
    struct step s = {
        .m = m, .script = script, .section = section, .direction = direction, .result = &result};
    if (is_missing(m->format, section)) {
        if (direction == STEP_UP) {
            err_set(&result.err, ERR_SOURCE, "%s refuses an empty file", m->format->name);
            err_at(&result.err, section->file, 1, 0);
            err_hint(&result.err, "write the upgrade, or a comment that says why there is none");
        }
        result.outcome = direction == STEP_UP ? STEP_FAILED : STEP_MISSING;
        step_result_release(ret);
        *ret = result;
        return 0;
    }
    result.outcome = section->empty ? STEP_EMPTY : STEP_OK;
    if (m->watch)
        touched_watch_begin(m->watch);
    free(TAKE_PTR(m->transaction));
    double start = clock_seconds();
    int rc = run_step(&s, err);
    result.seconds = clock_seconds() - start;
    if (rc < 0 || clean_up(&s, keep_session, err) < 0 || look_at_touched(&s, err) < 0) {
        step_result_release(&result);
        if (!err->file)
            err_at(err, section->file, section->line, 0);
        return -1;
    }
    step_result_release(ret);
    *ret = result;
    return 0;
}

/* The tools run one revision after the other in one session, each as when it runs alone. */
static int sql_straight(struct migrator *m, const struct revisions *list, size_t *ret_done,
                        struct step_result *ret, struct err *err)
{
    struct step_result r = {.outcome = STEP_OK};
    size_t done = 0;
    while (done < list->n && r.outcome != STEP_FAILED) {
        step_result_release(&r);
        if (sql_step(m, list->v[done], STEP_UP, true, &r, err) < 0)
            return -1;
        done += r.outcome != STEP_FAILED;
    }
    *ret_done = done;
    step_result_release(ret);
    *ret = r;
    return 0;
}

const struct source_ops sql_source_ops = {
    .free = sql_source_free,
    .migrator_open = sql_open,
    .close = sql_close,
    .watch = sql_watch,
    .observe = sql_observe,
    .rolled_back = sql_rolled_back,
    .backend = sql_backend,
    .data_version = sql_data_version,
    .prepare = sql_prepare,
    .db = sql_db,
    .step = sql_step,
    .straight = sql_straight,
    .current = sql_current,
    .stamp = sql_stamp,
    .cancel = sql_cancel,
    .sql = sql_offline,
    .new_revision = sql_new_revision,
};
