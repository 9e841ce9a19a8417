#include "backup/journal.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "harness/base/file.h"
#include "harness/engine/engine.h"
#include "harness/engine/url.h"

/* "blay", in the header of the file. */
#define APPLICATION_ID "1651270009"
#define FORMAT_VERSION 1

struct journal {
    struct db *db;
    char *path;
};

static const char file_name[] = "journal.db";

/*
 * EXTRA: FULL alone does not sync the folder after it has removed the rollback journal, and a
 * power cut could bring that journal back, and with it the state before the last line.
 */
static const char settings_sql[] = "pragma synchronous = extra; pragma foreign_keys = on";

static const char create_sql[] =
    "create table deploy ("
    "  id integer primary key,"
    "  state text not null,"
    "  database text not null,"
    "  engine text not null,"
    "  project text,"
    "  from_revisions text, to_revisions text,"
    "  bundle text, twin text, rung text, evidence text, message text,"
    "  host text not null, pid integer not null, process text not null,"
    "  started text not null, finished text"
    ");"
    "create unique index one_unfinished on deploy (database) where finished is null;"
    "create table note ("
    "  id integer primary key,"
    "  deploy integer not null references deploy,"
    "  at text not null, what text not null, detail text"
    ");"
    "pragma application_id = " APPLICATION_ID ";"
    "pragma user_version = 1;";

#define NOW "strftime('%Y-%m-%dT%H:%M:%SZ', 'now')"

/* ---- states ---- */

static const struct {
    const char *name;
    bool end;
    unsigned next; /* a bit for each state that it may become */
} states[] = {
    [DEPLOY_PREPARING] = {"preparing", false, 1 << DEPLOY_UPGRADING | 1 << DEPLOY_ABORTED},
    [DEPLOY_UPGRADING] = {"upgrading", false, 1 << DEPLOY_CHECKING | 1 << DEPLOY_ROLLING_BACK},
    [DEPLOY_CHECKING] = {"checking", false, 1 << DEPLOY_DONE | 1 << DEPLOY_ROLLING_BACK},
    /* to itself: the next rung */
    [DEPLOY_ROLLING_BACK] = {"rolling back", false,
                             1 << DEPLOY_ROLLING_BACK | 1 << DEPLOY_RESTORED | 1 << DEPLOY_STUCK},
    [DEPLOY_DONE] = {"done", true, 0},
    [DEPLOY_RESTORED] = {"restored", true, 0},
    [DEPLOY_STUCK] = {"stuck", false, 1 << DEPLOY_ROLLING_BACK | 1 << DEPLOY_RESTORED},
    [DEPLOY_ABORTED] = {"aborted", true, 0},
};

const char *deploy_state_name(enum deploy_state s)
{
    return states[s].name;
}

bool deploy_state_is_end(enum deploy_state s)
{
    return states[s].end;
}

/* ---- who ---- */

/*
 * A process id is used again, after a restart of the machine even soon; the moment at which the
 * process began, counted from the start of the machine, and the start's own id tell them apart
 * (proc(5): field 22 of stat).
 */
static char *process_mark(int64_t pid)
{
    _cleanup_free_ char *path = xasprintf("/proc/%lld/stat", (long long)pid);
    _cleanup_fclose_ FILE *f = fopen(path, "re");
    _cleanup_fclose_ FILE *boot = fopen("/proc/sys/kernel/random/boot_id", "re");
    char line[1024], id[64] = "";
    if (!f || !fgets(line, sizeof(line), f))
        return NULL;
    if (boot && fgets(id, sizeof(id), boot))
        id[strcspn(id, "\n")] = '\0';
    char *p = strrchr(line, ')'); /* the name before it may hold anything */
    for (int field = 2; p && field < 22; field++)
        p = strchr(p + 1, ' ');
    return p ? xasprintf("%s/%lld", id, strtoll(p, NULL, 10)) : NULL;
}

static char *host_name(void)
{
    char name[256] = "";
    gethostname(name, sizeof(name) - 1);
    return xstrdup(name);
}

bool deploy_entry_alive(const struct deploy_entry *e, bool *ret_known)
{
    _cleanup_free_ char *host = host_name();
    _cleanup_free_ char *self = process_mark(getpid());
    *ret_known = str_eq(host, e->host) && self;
    if (!*ret_known)
        return true;
    _cleanup_free_ char *mark = process_mark(e->pid);
    return str_eq(mark, e->process);
}

static void entry_own(struct deploy_entry *e)
{
    free(e->host);
    free(e->process);
    e->host = host_name();
    e->pid = getpid();
    e->process = process_mark(e->pid);
    if (!e->process) /* no /proc: nobody will be able to tell */
        e->process = xstrdup("");
}

/* ---- the file ---- */

static int set_up(struct journal *j, struct err *err)
{
    _cleanup_rows_ struct rows *r = NULL;
    /* one at a time: several containers may start at once */
    if (db_run(j->db, "begin immediate", DB_RUN_WHOLE, NULL, err) < 0 ||
        db_query(j->db,
                 "select (select application_id from pragma_application_id),"
                 " (select user_version from pragma_user_version),"
                 " (select count(*) from sqlite_schema)",
                 NULL, 0, &r, err) < 0)
        return -1;
    int version = atoi(rows_get(r, 0, 1));
    if (str_eq(rows_get(r, 0, 2), "0"))
        return db_run(j->db, create_sql, DB_RUN_STATEMENTS, NULL, err) < 0
                   ? -1
                   : db_run(j->db, "commit", DB_RUN_WHOLE, NULL, err);
    if (!str_eq(rows_get(r, 0, 0), APPLICATION_ID))
        return err_set(err, ERR_CONFIG, "%s is not a journal of belay", j->path);
    if (version != FORMAT_VERSION) {
        err_set(err, ERR_CONFIG, "%s is a journal of format %d, and this belay knows format %d",
                j->path, version, FORMAT_VERSION);
        return err_hint(err, "use the belay that wrote it");
    }
    return db_run(j->db, "commit", DB_RUN_WHOLE, NULL, err);
}

bool journal_exists(const char *dir)
{
    _cleanup_free_ char *path = path_join(dir, file_name);
    return file_exists(path);
}

int journal_open(const char *dir, struct journal **ret, struct err *err)
{
    _cleanup_journal_ struct journal *j = xcalloc(1, sizeof(*j));
    if (!dir_exists(dir)) {
        err_set(err, ERR_CONFIG, "there is no folder %s for the journal", dir);
        return err_hint(err, "make it, or name another with --bundles");
    }
    j->path = path_join(dir, file_name);
    _cleanup_free_ char *url = url_for_sqlite_path(j->path);
    mode_t mask = umask(077); /* it names databases and revisions: nobody else's business */
    int rc = db_open(&engine_sqlite, url, DB_OPEN_CREATE, &j->db, err);
    if (rc == 0)
        rc = db_run(j->db, settings_sql, DB_RUN_STATEMENTS, NULL, err);
    if (rc == 0)
        rc = set_up(j, err);
    umask(mask);
    if (rc < 0)
        return err_prefix(err, "the journal");
    *ret = TAKE_PTR(j);
    return 0;
}

void journal_close(struct journal *j)
{
    if (!j)
        return;
    db_close(j->db);
    free(j->path);
    free(j);
}

/* ---- writing ---- */

#define WRITE(j, sql, values, ret, err)                                                            \
    journal_write(j, sql, values, (int)ARRAY_LEN(values), ret, err)

static int journal_write(struct journal *j, const char *sql, const char *const *values, int n,
                         struct rows **ret, struct err *err)
{
    struct rows *r = NULL;
    if (db_query(j->db, sql, values, n, &r, err) < 0)
        return err_prefix(err, "the journal %s", j->path);
    if (ret)
        *ret = r;
    else
        rows_free(r);
    return 0;
}

int journal_begin(struct journal *j, struct deploy_entry *e, struct err *err)
{
    struct deploy_entry other = {0};
    bool found = false;
    if (db_run(j->db, "begin immediate", DB_RUN_WHOLE, NULL, err) < 0)
        return err_prefix(err, "the journal %s", j->path);
    int rc = journal_unfinished(j, e->database, &other, &found, err);
    if (rc == 0 && found) {
        rc = err_set(err, ERR_CONFIG, "deploy %lld of %s, begun at %s, is not at an end (%s)",
                     (long long)other.id, other.database, other.started,
                     deploy_state_name(other.state));
        err_hint(err, "\"belay recover\" finishes it");
    }
    deploy_entry_release(&other);
    entry_own(e);
    _cleanup_free_ char *pid = xasprintf("%lld", (long long)e->pid);
    const char *values[] = {deploy_state_name(DEPLOY_PREPARING),
                            e->database,
                            e->engine,
                            e->project,
                            e->from,
                            e->to,
                            e->host,
                            pid,
                            e->process};
    _cleanup_rows_ struct rows *r = NULL;
    if (rc == 0)
        rc = WRITE(j,
                   "insert into deploy (state, database, engine, project, from_revisions,"
                   " to_revisions, host, pid, process, started)"
                   " values ($1, $2, $3, $4, $5, $6, $7, $8, $9, " NOW ") returning id, started",
                   values, &r, err);
    if (rc == 0)
        rc = db_run(j->db, "commit", DB_RUN_WHOLE, NULL, err);
    if (rc < 0) {
        _cleanup_err_ struct err ignored = {0}; /* the first error says more */
        if (db_in_transaction(j->db))
            db_run(j->db, "rollback", DB_RUN_WHOLE, NULL, &ignored);
        return -1;
    }
    e->state = DEPLOY_PREPARING;
    e->id = strtoll(rows_get(r, 0, 0), NULL, 10);
    free(e->started);
    e->started = xstrdup(rows_get(r, 0, 1));
    return 0;
}

int journal_move(struct journal *j, struct deploy_entry *e, enum deploy_state to,
                 const char *message, struct err *err)
{
    assert(states[e->state].next & 1u << to);
    _cleanup_free_ char *id = xasprintf("%lld", (long long)e->id);
    const char *values[] = {
        id,      deploy_state_name(to), e->bundle, e->twin,
        e->rung, e->evidence,           message,   deploy_state_is_end(to) ? "1" : NULL};
    _cleanup_rows_ struct rows *r = NULL;
    if (WRITE(j,
              "update deploy set state = $2, bundle = $3, twin = $4, rung = $5, evidence = $6,"
              " message = coalesce($7, message),"
              " finished = case when $8 is null then null else " NOW " end"
              " where id = $1 returning finished",
              values, &r, err) < 0)
        return -1;
    if (rows_count(r) != 1)
        return err_set(err, ERR_ENV, "deploy %s is not in the journal %s any more", id, j->path);
    e->state = to;
    free(e->finished);
    e->finished = xstrdup(rows_get(r, 0, 0));
    if (message) {
        char *copy = xstrdup(message);
        free(e->message);
        e->message = copy;
    }
    return 0;
}

int journal_adopt(struct journal *j, struct deploy_entry *e, struct err *err)
{
    entry_own(e);
    _cleanup_free_ char *id = xasprintf("%lld", (long long)e->id);
    _cleanup_free_ char *pid = xasprintf("%lld", (long long)e->pid);
    const char *values[] = {id, e->host, pid, e->process};
    return WRITE(j, "update deploy set host = $2, pid = $3, process = $4 where id = $1", values,
                 NULL, err);
}

int journal_note(struct journal *j, int64_t id, const char *what, const char *detail,
                 struct err *err)
{
    _cleanup_free_ char *deploy = xasprintf("%lld", (long long)id);
    const char *values[] = {deploy, what, detail};
    return WRITE(j, "insert into note (deploy, at, what, detail) values ($1, " NOW ", $2, $3)",
                 values, NULL, err);
}

/* ---- reading ---- */

static char *cell(const struct rows *r, int row, int column)
{
    return xstrdup(rows_get(r, row, column));
}

#define DEPLOY_COLUMNS                                                                             \
    "id, state, database, engine, project, from_revisions, to_revisions, bundle, twin, rung,"      \
    " evidence, message, host, pid, process, started, finished"

static int entry_read(const struct journal *j, const struct rows *r, int row,
                      struct deploy_entry *ret, struct err *err)
{
    size_t s = 0;
    while (s < ARRAY_LEN(states) && !str_eq(states[s].name, rows_get(r, row, 1)))
        s++;
    if (s == ARRAY_LEN(states))
        return err_set(err, ERR_CONFIG, "%s: deploy %s is in the unknown state \"%s\"", j->path,
                       rows_get(r, row, 0), rows_get(r, row, 1));
    *ret = (struct deploy_entry){
        .id = strtoll(rows_get(r, row, 0), NULL, 10),
        .state = (enum deploy_state)s,
        .database = cell(r, row, 2),
        .engine = cell(r, row, 3),
        .project = cell(r, row, 4),
        .from = cell(r, row, 5),
        .to = cell(r, row, 6),
        .bundle = cell(r, row, 7),
        .twin = cell(r, row, 8),
        .rung = cell(r, row, 9),
        .evidence = cell(r, row, 10),
        .message = cell(r, row, 11),
        .host = cell(r, row, 12),
        .pid = strtoll(rows_get(r, row, 13), NULL, 10),
        .process = cell(r, row, 14),
        .started = cell(r, row, 15),
        .finished = cell(r, row, 16),
    };
    return 0;
}

int journal_unfinished(struct journal *j, const char *database, struct deploy_entry *ret,
                       bool *ret_found, struct err *err)
{
    _cleanup_rows_ struct rows *r = NULL;
    const char *values[] = {database};
    if (WRITE(j, "select " DEPLOY_COLUMNS " from deploy where database = $1 and finished is null",
              values, &r, err) < 0)
        return -1;
    if (rows_count(r) && entry_read(j, r, 0, ret, err) < 0)
        return -1;
    *ret_found = rows_count(r) > 0;
    return 0;
}

int journal_list(struct journal *j, const char *database, struct deploy_entries *ret,
                 struct err *err)
{
    _cleanup_rows_ struct rows *r = NULL;
    const char *values[] = {database};
    if (WRITE(j,
              "select " DEPLOY_COLUMNS " from deploy"
              " where $1 is null or database = $1 order by id desc",
              values, &r, err) < 0)
        return -1;
    struct deploy_entries list = {0};
    for (int i = 0; i < rows_count(r); i++) {
        list.v = xgrow(list.v, list.n, &list.cap, sizeof(*list.v));
        if (entry_read(j, r, i, &list.v[list.n], err) < 0) {
            deploy_entries_release(&list);
            return -1;
        }
        list.n++;
    }
    *ret = list;
    return 0;
}

int journal_notes(struct journal *j, int64_t id, struct deploy_notes *ret, struct err *err)
{
    _cleanup_free_ char *deploy = xasprintf("%lld", (long long)id);
    _cleanup_rows_ struct rows *r = NULL;
    const char *values[] = {deploy};
    if (WRITE(j, "select at, what, detail from note where deploy = $1 order by id", values, &r,
              err) < 0)
        return -1;
    struct deploy_notes list = {0};
    for (int i = 0; i < rows_count(r); i++) {
        list.v = xgrow(list.v, list.n, &list.cap, sizeof(*list.v));
        list.v[list.n++] = (struct deploy_note){
            .at = cell(r, i, 0), .what = cell(r, i, 1), .detail = cell(r, i, 2)};
    }
    *ret = list;
    return 0;
}

void deploy_entry_release(struct deploy_entry *e)
{
    char *const strings[] = {e->database, e->engine,  e->project, e->from,     e->to,
                             e->bundle,   e->twin,    e->rung,    e->evidence, e->message,
                             e->host,     e->process, e->started, e->finished};
    for (size_t i = 0; i < ARRAY_LEN(strings); i++)
        free(strings[i]);
    *e = (struct deploy_entry){0};
}

void deploy_entries_release(struct deploy_entries *l)
{
    for (size_t i = 0; i < l->n; i++)
        deploy_entry_release(&l->v[i]);
    free(l->v);
    *l = (struct deploy_entries){0};
}

void deploy_notes_release(struct deploy_notes *l)
{
    for (size_t i = 0; i < l->n; i++) {
        free(l->v[i].at);
        free(l->v[i].what);
        free(l->v[i].detail);
    }
    free(l->v);
    *l = (struct deploy_notes){0};
}
