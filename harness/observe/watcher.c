#include "harness/observe/watcher.h"

#include <libpq-fe.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum {
    SAMPLE_MS = 4,  /* between two samples of the locks */
    SIZE_MS = 200,  /* and of the sizes */
    CANARY_MS = 5,  /* between two tries of a canary */
    TURN_MS = 200,  /* a canary waits in turns shorter than any deadlock_timeout that is usual */
    CANARIES = 16,  /* at most; two a table */
    STOP_MS = 5000, /* for what still waits when the step is over */
};

const char *const watcher_modes[LOCK_MODES + 1] = {
    NULL,
    "AccessShareLock",
    "RowShareLock",
    "RowExclusiveLock",
    "ShareUpdateExclusiveLock",
    "ShareLock",
    "ShareRowExclusiveLock",
    "ExclusiveLock",
    "AccessExclusiveLock",
};

int watcher_mode(const char *name)
{
    for (int i = 1; i <= LOCK_MODES; i++)
        if (str_eq(watcher_modes[i], name))
            return i;
    return 0;
}

/* The table of the manual, "Conflicting Lock Modes": a bit for each mode. */
bool watcher_conflict(int a, int b)
{
    static const unsigned conflicts[LOCK_MODES + 1] = {
        0, 0x100, 0x180, 0x1e0, 0x1f0, 0x1d8, 0x1f8, 0x1fc, 0x1fe,
    };
    return conflicts[a] >> b & 1;
}

void sighting_add(struct sighting *s, size_t *cap, uint32_t relation, int mode)
{
    s->v = xgrow(s->v, s->n, cap, sizeof(*s->v));
    s->v[s->n++] = (struct held){relation, mode};
}

enum task { TASK_LOCKS, TASK_SIZES, TASK_CANARY };

/* One session, with what it is asked. */
struct session {
    struct db *db;
    PGconn *pg;
    enum task task;
    bool busy;
    double next; /* when it is to be asked again */
    double sent;
    /* a canary */
    const struct canary_table *table;
    bool writer;
    double from; /* of a try that goes over several turns */
    bool over;   /* the table is gone */
};

struct watching {
    struct watcher public;
    char *url;
    bool canaries;
    struct session look; /* locks and sizes in turn */
    struct session canary[CANARIES];
    size_t ncanaries; /* that have a table, in this step */
    size_t nsessions; /* of canaries, that are open */
    const struct canary_table *tables;
    size_t ntables;
    char *own; /* process ids, as an array's text */
    double size_next, size_took;
    bool no_temp; /* this role may not see temporary files */
    pthread_t thread;
    bool running;
    int wake; /* readable when the thread is to stop */
    atomic_bool stop;
};

/* ---- sessions ---- */

static int session_open(struct watching *w, struct session *s, struct err *err)
{
    if (db_open(&engine_postgres, w->url, DB_OPEN_DEFAULT, &s->db, err) < 0)
        return -1;
    s->pg = db_handle(s->db);
    _cleanup_free_ char *set = xasprintf(
        "set application_name = 'belay watches'; set lock_timeout = %d; set statement_timeout = 0; "
        "set search_path = ''; set max_parallel_workers_per_gather = 0",
        TURN_MS);
    return db_run(s->db, set, DB_RUN_WHOLE, NULL, err);
}

/* The process ids of the watcher's own sessions, which are not what is watched. */
static void note_own(struct watching *w)
{
    struct str s = {0};
    str_addf(&s, "{%d", PQbackendPID(w->look.pg));
    for (size_t i = 0; i < w->nsessions; i++)
        str_addf(&s, ",%d", PQbackendPID(w->canary[i].pg));
    str_addc(&s, '}');
    free(w->own);
    w->own = str_take(&s);
}

int watcher_open(const char *url, bool canaries, struct watcher **ret, struct err *err)
{
    struct watching *w = xcalloc(1, sizeof(*w));
    w->wake = -1;
    w->url = xstrdup(url);
    w->canaries = canaries;
    int rc = session_open(w, &w->look, err);
    for (size_t i = 0; rc == 0 && canaries && i < 4; i++) {
        rc = session_open(w, &w->canary[i], err);
        w->nsessions += rc == 0;
    }
    w->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (rc == 0 && w->wake < 0)
        rc = err_errno(err, "cannot make an event");
    if (rc < 0) {
        watcher_close(&w->public);
        return -1;
    }
    note_own(w);
    *ret = &w->public;
    return 0;
}

static void forget(struct watching *w)
{
    struct watcher *p = &w->public;
    for (size_t i = 0; i < p->seen.n; i++)
        free(p->seen.v[i].v);
    p->seen.n = p->waits.n = 0;
    p->tries = 0;
    p->peak = p->temp = 0;
}

void watcher_close(struct watcher *public)
{
    struct watching *w = (struct watching *)public;
    if (!w)
        return;
    watcher_stop(public);
    forget(w);
    free(public->seen.v);
    free(public->waits.v);
    db_close(w->look.db);
    for (size_t i = 0; i < CANARIES; i++)
        db_close(w->canary[i].db);
    if (w->wake >= 0)
        close(w->wake);
    explicit_bzero(w->url, strlen(w->url));
    free(w->url);
    free(w->own);
    free(w);
}

/* ---- asking ---- */

/* Locks of every other client on the database; one row, an array's text: "{16385 AccessShareLock,...}".
 * The function beneath the view spares the server the view. */
static const char locks_sql[] =
    "select l.relation, l.mode from pg_catalog.pg_lock_status() l"
    " where l.locktype = 'relation' and l.granted and l.relation >= 16384 and l.pid <> all "
    "($1::int[])"
    " and l.database = (select oid from pg_catalog.pg_database"
    " where datname = pg_catalog.current_database())"
    " and exists (select 1 from pg_catalog.pg_stat_get_activity(l.pid) a"
    " where a.backend_type = 'client backend')";

static const char sizes_sql[] = "select pg_catalog.pg_database_size(pg_catalog.current_database()),"
                                " (select coalesce(sum(size), 0) from pg_catalog.pg_ls_tmpdir())";
static const char sizes_without_temp_sql[] =
    "select pg_catalog.pg_database_size(pg_catalog.current_database()), 0";

/* The session has ended: nothing more is seen through it. */
static void gone(struct watching *w, struct session *s)
{
    s->over = true;
    w->public.lost = w->public.lost || s == &w->look;
}

static void ask(struct watching *w, struct session *s)
{
    const char *const own = w->own;
    int sent = 0;
    s->sent = clock_seconds();
    if (s->task == TASK_CANARY) {
        if (!s->from)
            s->from = s->sent;
        _cleanup_free_ char *sql = xasprintf(
            s->writer ? "explain delete from %s" : "explain select 1 from %s", s->table->name);
        sent = PQsendQuery(s->pg, sql);
    } else if (s->sent >= w->size_next) {
        s->task = TASK_SIZES;
        sent = PQsendQuery(s->pg, w->no_temp ? sizes_without_temp_sql : sizes_sql);
    } else {
        s->task = TASK_LOCKS;
        sent = PQsendQueryParams(s->pg, locks_sql, 1, NULL, &own, NULL, NULL, 0);
    }
    s->busy = sent;
    if (!sent)
        gone(w, s);
}

static void add_canary(struct watching *w, const struct canary_table *t, bool writer)
{
    struct session *s = &w->canary[w->ncanaries];
    _cleanup_err_ struct err ignored = {0}; /* without a canary the locks still tell */
    if (w->ncanaries == w->nsessions) {
        if (session_open(w, s, &ignored) < 0)
            return;
        w->nsessions++;
        note_own(w);
    }
    struct session begun = {
        .db = s->db, .pg = s->pg, .task = TASK_CANARY, .table = t, .writer = writer};
    *s = begun;
    w->ncanaries++;
}

/* Others would wait for this lock: let some. */
static void try_table(struct watching *w, uint32_t relation)
{
    for (size_t i = 0; i < w->ncanaries; i++)
        if (w->canary[i].table->relation == relation)
            return;
    for (size_t i = 0; i < w->ntables && w->ncanaries + 2 <= CANARIES; i++) {
        if (w->tables[i].relation != relation)
            continue;
        add_canary(w, &w->tables[i], false);
        add_canary(w, &w->tables[i], true);
        return;
    }
}

static bool same_locks(const struct sighting *a, const struct sighting *b)
{
    return a->n == b->n && (!a->n || memcmp(a->v, b->v, a->n * sizeof(*a->v)) == 0);
}

static int by_relation(const void *a, const void *b)
{
    const struct held *x = a, *y = b;
    return x->relation != y->relation ? (x->relation < y->relation ? -1 : 1) : x->mode - y->mode;
}

static void take_locks(struct watching *w, const struct session *s, const PGresult *r, double now)
{
    struct watcher *p = &w->public;
    struct sighting seen = {s->sent, now, s->sent, now, NULL, 0};
    size_t cap = 0;
    for (int i = 0; i < PQntuples(r); i++) {
        uint32_t relation = (uint32_t)strtoul(PQgetvalue(r, i, 0), NULL, 10);
        int mode = watcher_mode(PQgetvalue(r, i, 1));
        sighting_add(&seen, &cap, relation, mode);
        if (w->canaries && mode >= 4) /* ShareUpdateExclusiveLock: what plain queries never take */
            try_table(w, relation);
    }
    if (seen.n)
        qsort(seen.v, seen.n, sizeof(*seen.v), by_relation);
    struct sighting *last = p->seen.n ? &p->seen.v[p->seen.n - 1] : NULL;
    if (last && same_locks(last, &seen)) {
        last->asked_last = seen.asked; /* it was so all the time */
        last->seen_last = seen.seen;
        free(seen.v);
        return;
    }
    p->seen.v = xgrow(p->seen.v, p->seen.n, &p->seen.cap, sizeof(*p->seen.v));
    p->seen.v[p->seen.n++] = seen;
}

static void take_sizes(struct watching *w, const struct session *s, const PGresult *r, double now)
{
    struct watcher *p = &w->public;
    double took = now - s->sent;
    w->size_next = now + (took * 20 > SIZE_MS / 1e3 ? took * 20 : SIZE_MS / 1e3);
    if (PQntuples(r) != 1)
        return;
    int64_t size = strtoll(PQgetvalue(r, 0, 0), NULL, 10),
            temp = strtoll(PQgetvalue(r, 0, 1), NULL, 10);
    p->peak = size + temp > p->peak ? size + temp : p->peak;
    p->temp = temp > p->temp ? temp : p->temp;
}

static void canary_through(struct watching *w, struct session *s, double now)
{
    struct watcher *p = &w->public;
    p->waits.v = xgrow(p->waits.v, p->waits.n, &p->waits.cap, sizeof(*p->waits.v));
    p->waits.v[p->waits.n++] = (struct canary_wait){s->table->relation, s->writer, s->from, now};
    s->from = 0;
    s->next = now + CANARY_MS / 1e3;
}

static void take_canary(struct watching *w, struct session *s, const PGresult *r, double now)
{
    const char *state = PQresultErrorField(r, PG_DIAG_SQLSTATE);
    if (state && strcmp(state, "55P03") == 0) { /* its turn is over; the next goes on waiting */
        s->next = now;
        return;
    }
    w->public.tries += !state;
    canary_through(w, s, now);
    s->over = state != NULL; /* the table is gone, or is none any more */
}

static void take(struct watching *w, struct session *s, const PGresult *r)
{
    double now = clock_seconds();
    bool failed = PQresultStatus(r) != PGRES_TUPLES_OK;
    if (s->task == TASK_CANARY) {
        take_canary(w, s, r, now);
        return;
    }
    if (s->task == TASK_SIZES && failed)
        w->no_temp = true;
    else if (s->task == TASK_SIZES)
        take_sizes(w, s, r, now);
    else if (failed)
        w->public.lost = true;
    else
        take_locks(w, s, r, now);
    double took = now - s->sent;
    s->next = now + (took * 4 > SAMPLE_MS / 1e3 ? took * 4 : SAMPLE_MS / 1e3);
}

/* Reads what has come. */
static void receive(struct watching *w, struct session *s)
{
    PGresult *r;
    if (!PQconsumeInput(s->pg)) {
        s->busy = false;
        gone(w, s);
        return;
    }
    while (!PQisBusy(s->pg)) {
        r = PQgetResult(s->pg);
        if (!r) {
            s->busy = false;
            return;
        }
        take(w, s, r);
        PQclear(r);
    }
}

/* ---- the thread ---- */

static struct session *session_at(struct watching *w, size_t i)
{
    return i == 0 ? &w->look : &w->canary[i - 1];
}

/* Asks who is due; the time until the next is, in milliseconds. */
static int ask_due(struct watching *w, bool stopping)
{
    double now = clock_seconds(), next = now + 1;
    for (size_t i = 0; i <= w->ncanaries; i++) {
        struct session *s = session_at(w, i);
        /* a try that has begun is ended, so that its time is known */
        bool due = !stopping || (s->task == TASK_CANARY && s->from);
        if (s->busy || s->over || !due)
            continue;
        if (s->next <= now)
            ask(w, s);
        else if (s->next < next)
            next = s->next;
    }
    return (int)((next - now) * 1e3) + 1;
}

static bool idle(struct watching *w)
{
    for (size_t i = 0; i <= w->ncanaries; i++) {
        struct session *s = session_at(w, i);
        if (s->busy || (s->task == TASK_CANARY && s->from && !s->over))
            return false;
    }
    return true;
}

static void wait_for_news(struct watching *w, int timeout_ms, bool stopping)
{
    struct pollfd fds[CANARIES + 2];
    struct session *of[CANARIES + 2];
    nfds_t n = 0;
    for (size_t i = 0; i <= w->ncanaries; i++) {
        struct session *s = session_at(w, i);
        if (!s->busy)
            continue;
        of[n] = s;
        fds[n++] = (struct pollfd){.fd = PQsocket(s->pg), .events = POLLIN};
    }
    nfds_t sessions = n;
    if (!stopping)
        fds[n++] = (struct pollfd){.fd = w->wake, .events = POLLIN};
    if (poll(fds, n, timeout_ms) <= 0)
        return;
    for (nfds_t i = 0; i < sessions; i++)
        if (fds[i].revents)
            receive(w, of[i]);
}

/* Once more at the end, so that what is held no longer is seen to be released. */
static void look_again(struct watching *w)
{
    if (w->look.busy || w->look.over)
        return;
    w->size_next = clock_seconds() + 1e6;
    ask(w, &w->look);
}

/* What hangs even now is told to stop. */
static void cancel(struct session *s)
{
    char ignored[256];
    PGcancel *c = s->busy ? PQgetCancel(s->pg) : NULL;
    if (c && PQcancel(c, ignored, sizeof(ignored)))
        while (s->busy) {
            PGresult *r = PQgetResult(s->pg);
            s->busy = r != NULL;
            PQclear(r);
        }
    PQfreeCancel(c);
}

static void *watch(void *data)
{
    struct watching *w = data;
    bool stopping = false, looked = false;
    double deadline = 0;
    for (;;) {
        if (!stopping && atomic_load(&w->stop)) {
            stopping = true;
            deadline = clock_seconds() + STOP_MS / 1e3;
        }
        int timeout_ms = ask_due(w, stopping);
        if (stopping && !looked && !w->look.busy) {
            look_again(w);
            looked = true;
        }
        if (stopping && looked && (idle(w) || clock_seconds() > deadline))
            break;
        wait_for_news(w, timeout_ms, stopping);
    }
    for (size_t i = 0; i <= w->ncanaries; i++)
        cancel(session_at(w, i));
    return NULL;
}

int watcher_begin(struct watcher *public, const struct canary_table *tables, size_t n,
                  struct err *err)
{
    struct watching *w = (struct watching *)public;
    uint64_t ignored;
    forget(w);
    public->lost = w->look.over;
    w->tables = tables;
    w->ntables = n;
    w->ncanaries = 0;
    w->look.next = 0;
    w->size_next = clock_seconds() + SIZE_MS / 1e3;
    atomic_store(&w->stop, false);
    while (read(w->wake, &ignored, sizeof(ignored)) > 0)
        ;
    int rc = pthread_create(&w->thread, NULL, watch, w);
    if (rc)
        return err_set(err, ERR_ENV, "cannot start a thread: %s", strerror(rc));
    w->running = true;
    return 0;
}

void watcher_stop(struct watcher *public)
{
    struct watching *w = (struct watching *)public;
    if (!w->running)
        return;
    atomic_store(&w->stop, true);
    if (eventfd_write(w->wake, 1) < 0)
        abort(); /* an event that was just emptied is never full */
    pthread_join(w->thread, NULL);
    w->running = false;
}
