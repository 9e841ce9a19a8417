/*
 * SQLite: one lock for the whole database, read from /proc/locks, where it can be seen of any process
 * and disturbs none: opening and closing the file here would release this process's own locks on it.
 */
#include <inttypes.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "harness/engine/url.h"
#include "harness/observe/observer_impl.h"

enum { SAMPLE_US = 1000 };

/* Of the file format: where the locks are, sqlite's os.h and wal.c. */
enum { PENDING_BYTE = 0x40000000, RESERVED_BYTE, SHARED_FIRST, WAL_WRITE_BYTE = 120 };

enum state { STATE_FREE, STATE_RESERVED, STATE_EXCLUSIVE, STATES };

/* A state that lasted. */
struct span {
    enum state state;
    double from, until; /* seen */
    double not_yet;     /* when it was not so */
};

struct table {
    char *name;
    int64_t root;
};

struct tables {
    struct table *v;
    size_t n, cap;
};

struct lite_observer {
    struct observer base;
    struct db *db;
    char *path, *wal, *shm, *journal;
    struct db *session; /* the migrator's, or NULL */
    int written;        /* pages it had written */
    struct tables before;
    int64_t before_bytes;
    pthread_t thread;
    bool running;
    atomic_bool stop;
    pthread_mutex_t lock; /* over what follows, until the thread has ended */
    struct span *spans;
    size_t nspans, spans_cap;
    int64_t peak, page_size;
    int64_t frames; /* bytes of the WAL at its largest */
    size_t samples;
    double sampled; /* when last */
};

static int64_t file_bytes(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 ? (int64_t)st.st_size : 0;
}

static int64_t all_bytes(const struct lite_observer *o)
{
    return file_bytes(o->path) + file_bytes(o->wal) + file_bytes(o->journal);
}

/* ---- the lock ---- */

/* A line of /proc/locks: "1: POSIX  ADVISORY  WRITE 4711 00:1b:5678 1073741825 1073741825". */
static enum state state_of_line(const char *line, unsigned long long db, unsigned long long shm)
{
    char mode[16];
    unsigned long long inode, from, until;
    char end[32];
    if (sscanf(line, "%*d: POSIX %*s %15s %*d %*x:%*x:%llu %llu %31s", mode, &inode, &from, end) !=
            4 ||
        strcmp(mode, "WRITE") != 0)
        return STATE_FREE;
    until = strtoull(end, NULL, 10); /* "EOF" covers all of it */
    if (strcmp(end, "EOF") == 0)
        until = ~0ull;
    if (inode == shm && shm)
        return from <= WAL_WRITE_BYTE && until >= WAL_WRITE_BYTE ? STATE_RESERVED : STATE_FREE;
    if (inode != db)
        return STATE_FREE;
    if ((from <= PENDING_BYTE && until >= PENDING_BYTE) ||
        (from <= SHARED_FIRST && until >= SHARED_FIRST))
        return STATE_EXCLUSIVE;
    return from <= RESERVED_BYTE && until >= RESERVED_BYTE ? STATE_RESERVED : STATE_FREE;
}

static unsigned long long inode_of(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 ? (unsigned long long)st.st_ino : 0;
}

static enum state state_now(const struct lite_observer *o)
{
    unsigned long long db = inode_of(o->path), shm = inode_of(o->shm);
    enum state state = STATE_FREE;
    char line[256];
    _cleanup_fclose_ FILE *f = fopen("/proc/locks", "re");
    while (f && fgets(line, sizeof(line), f)) {
        enum state s = state_of_line(line, db, shm);
        state = s > state ? s : state;
    }
    return state;
}

static void note_state(struct lite_observer *o, enum state state, double before, double now)
{
    struct span *last = o->nspans ? &o->spans[o->nspans - 1] : NULL;
    if (last && last->state == state) {
        last->until = now;
        return;
    }
    if (last)
        last->until = now;
    o->spans = xgrow(o->spans, o->nspans, &o->spans_cap, sizeof(*o->spans));
    o->spans[o->nspans++] = (struct span){state, now, now, before};
}

static void sample(struct lite_observer *o)
{
    pthread_mutex_lock(&o->lock);
    double now = clock_seconds();
    int64_t bytes = all_bytes(o), frames = file_bytes(o->wal);
    note_state(o, state_now(o), o->sampled, now);
    o->peak = bytes > o->peak ? bytes : o->peak;
    o->frames = frames > o->frames ? frames : o->frames;
    o->samples++;
    o->sampled = now;
    pthread_mutex_unlock(&o->lock);
}

static void *watch(void *data)
{
    struct lite_observer *o = data;
    while (!atomic_load(&o->stop)) {
        sample(o);
        usleep(SAMPLE_US);
    }
    return NULL;
}

/* However busy the machine is, it is seen at least once what a statement left locked. */
static void lite_heard(struct observer *base)
{
    sample((struct lite_observer *)base);
}

/* ---- tables ---- */

static void tables_release(struct tables *t)
{
    for (size_t i = 0; i < t->n; i++)
        free(t->v[i].name);
    free(t->v);
    *t = (struct tables){0};
}

static int tables_read(struct db *db, struct tables *ret, struct err *err)
{
    _cleanup_rows_ struct rows *rows = NULL;
    if (db_query(
            db,
            "select name, rootpage from main.sqlite_master where type = 'table' and rootpage > 0",
            NULL, 0, &rows, err) < 0)
        return -1;
    tables_release(ret);
    for (int i = 0; i < rows_count(rows); i++) {
        ret->v = xgrow(ret->v, ret->n, &ret->cap, sizeof(*ret->v));
        ret->v[ret->n++] =
            (struct table){xstrdup(rows_get(rows, i, 0)), strtoll(rows_get(rows, i, 1), NULL, 10)};
    }
    return 0;
}

static const struct table *table_find(const struct tables *t, const char *name)
{
    for (size_t i = 0; i < t->n; i++)
        if (strcmp(t->v[i].name, name) == 0)
            return &t->v[i];
    return NULL;
}

/* Of its b-tree; MEASURE_UNKNOWN where this SQLite has no dbstat. */
static int64_t table_bytes(struct db *db, const char *name)
{
    _cleanup_err_ struct err ignored = {0};
    _cleanup_free_ char *bytes = NULL;
    if (db_query_text(db, "select sum(pgsize) from dbstat where name = $1 and aggregate = 1", &name,
                      1, &bytes, &ignored) < 0 ||
        !bytes)
        return MEASURE_UNKNOWN;
    return strtoll(bytes, NULL, 10);
}

/* ---- what the session said ---- */

/* Rows written by the session so far, by the last statement that wrote any, and root:name of every
 * table, the names in hexadecimal. */
static const char look_sql[] =
    "select total_changes() || ' ' || changes() || ' ' || coalesce((select group_concat(rootpage "
    "|| "
    "':' || hex(name), ' ') from main.sqlite_master where type = 'table' and rootpage > 0), '')";

static bool writes_rows(const char *sql)
{
    static const char *const words[] = {"insert", "update", "delete", "replace"};
    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        if (strncasecmp(sql, words[i], strlen(words[i])) == 0)
            return true;
    return false;
}

static void add_rows(const struct lite_observer *o, struct measures *m)
{
    int64_t before = MEASURE_UNKNOWN;
    for (size_t i = 0; i < o->base.ntold; i++) {
        int64_t total, last;
        const struct statement_event *e = &o->base.told[i].event;
        if (!e->seen || sscanf(e->seen, "%" SCNd64 " %" SCNd64, &total, &last) != 2)
            continue;
        m->statements[i].rows = before != MEASURE_UNKNOWN ? total - before
                                : writes_rows(e->text)    ? last
                                                          : m->statements[i].rows;
        before = total;
    }
}

/* The first statement after which the table stood at another page than before the step. */
static size_t rewriter(const struct lite_observer *o, const struct table *was)
{
    _cleanup_str_ struct str hex = {0};
    str_add(&hex, ":");
    for (const char *p = was->name; *p; p++)
        str_addf(&hex, "%02X", (unsigned)(unsigned char)*p);
    for (size_t i = 0; i < o->base.ntold; i++) {
        const char *seen = o->base.told[i].event.seen;
        const char *p = seen ? strstr(seen, str_get(&hex)) : NULL;
        if (!p || (p[hex.len] != ' ' && p[hex.len]))
            continue;
        while (p > seen && p[-1] != ' ')
            p--;
        if (strtoll(p, NULL, 10) != was->root)
            return i;
    }
    return o->base.ntold == 1 ? 0 : SIZE_MAX;
}

static void add_rewrites(const struct lite_observer *o, const struct tables *after,
                         struct measures *m)
{
    for (size_t i = 0; i < after->n; i++) {
        const struct table *was = table_find(&o->before, after->v[i].name);
        if (!was || was->root == after->v[i].root)
            continue;
        m->rewrites = xgrow(m->rewrites, m->nrewrites, &m->rewrites_cap, sizeof(*m->rewrites));
        m->rewrites[m->nrewrites++] = (struct measured_rewrite){
            .relation = engine_sqlite.quote_ident(was->name),
            .kind = xstrdup("table"),
            .before = MEASURE_UNKNOWN, /* there is nothing left to count */
            .after = table_bytes(o->db, was->name),
            .statement = rewriter(o, was),
        };
    }
}

/* ---- locks and waits ---- */

static void add_lock(const struct lite_observer *o, const struct span *s, struct measures *m)
{
    m->locks = xgrow(m->locks, m->nlocks, &m->locks_cap, sizeof(*m->locks));
    m->locks[m->nlocks++] = (struct measured_lock){
        .relation = xstrdup("main"),
        .kind = xstrdup("database"),
        .mode = xstrdup(s->state == STATE_EXCLUSIVE ? "EXCLUSIVE" : "RESERVED"),
        .blocks = s->state == STATE_EXCLUSIVE ? LOCK_BLOCKS_READS : LOCK_BLOCKS_WRITES,
        .from = s->from,
        .until = s->until,
        .bytes = o->before_bytes,
        .statement = observer_statement_at(&o->base, s->from),
    };
}

static void add_wait(const struct lite_observer *o, bool writer, double from, double until,
                     struct measures *m)
{
    struct measured_wait *same = NULL;
    for (size_t i = 0; i < m->nwaits; i++)
        if (m->waits[i].writer == writer)
            same = &m->waits[i];
    if (same && same->seconds >= until - from)
        return;
    if (!same) {
        m->waits = xgrow(m->waits, m->nwaits, &m->waits_cap, sizeof(*m->waits));
        same = &m->waits[m->nwaits++];
        *same = (struct measured_wait){.table = xstrdup("main"), .writer = writer};
    }
    same->from = from;
    same->seconds = until - from;
    same->statement = observer_statement_at(&o->base, from);
}

/* Who came when the lock was taken would have waited until it was free: a writer from the first
 * byte on, a reader where the file itself was being written. */
static void add_locks(struct lite_observer *o, struct measures *m)
{
    for (size_t i = 0; i < o->nspans; i++)
        o->spans[i].from = observer_taken(&o->base, o->spans[i].not_yet, o->spans[i].from);
    for (size_t i = 0; i < o->nspans; i++) {
        const struct span *s = &o->spans[i];
        if (s->state == STATE_FREE)
            continue;
        add_lock(o, s, m);
        if (s->state == STATE_EXCLUSIVE)
            add_wait(o, false, s->from, s->until, m);
        double from = s->from;
        while (i + 1 < o->nspans && o->spans[i + 1].state != STATE_FREE) {
            s = &o->spans[++i];
            add_lock(o, s, m);
            if (s->state == STATE_EXCLUSIVE)
                add_wait(o, false, s->from, s->until, m);
        }
        add_wait(o, true, from, s->until, m);
    }
    m->tries = o->samples;
}

/* ---- the observer ---- */

static void lite_stop(struct observer *base)
{
    struct lite_observer *o = (struct lite_observer *)base;
    if (!o->running)
        return;
    atomic_store(&o->stop, true);
    pthread_join(o->thread, NULL);
    note_state(o, STATE_FREE, o->sampled, clock_seconds());
    o->running = false;
}

static void lite_close(struct observer *base)
{
    struct lite_observer *o = (struct lite_observer *)base;
    lite_stop(base);
    pthread_mutex_destroy(&o->lock);
    db_close(o->db);
    tables_release(&o->before);
    free(o->path);
    free(o->wal);
    free(o->shm);
    free(o->journal);
    free(o->spans);
    free(o);
}

static int lite_open(const struct observer_options *options, struct observer **ret, struct err *err)
{
    if (access("/proc/locks", R_OK) < 0)
        return err_errno(err, "cannot read /proc/locks, where locks of SQLite are seen");
    struct lite_observer *o = xcalloc(1, sizeof(*o));
    pthread_mutex_init(&o->lock, NULL);
    _cleanup_free_ char *size = NULL;
    if (url_sqlite_path(options->url, &o->path, err) < 0 ||
        db_open(&engine_sqlite, options->url, DB_OPEN_SCRATCH, &o->db, err) < 0 ||
        db_query_text(o->db, "pragma page_size", NULL, 0, &size, err) < 0) {
        lite_close(&o->base);
        return -1;
    }
    o->page_size = size ? strtoll(size, NULL, 10) : 4096;
    o->wal = xasprintf("%s-wal", o->path);
    o->shm = xasprintf("%s-shm", o->path);
    o->journal = xasprintf("%s-journal", o->path);
    *ret = &o->base;
    return 0;
}

static int pages_written(struct db *session)
{
    int now = 0, highest = 0;
    if (session)
        sqlite3_db_status(db_handle(session), SQLITE_DBSTATUS_CACHE_WRITE, &now, &highest, 0);
    return now;
}

static int lite_begin(struct observer *base, struct db *session, struct err *err)
{
    struct lite_observer *o = (struct lite_observer *)base;
    if (tables_read(o->db, &o->before, err) < 0)
        return -1;
    o->session = session;
    o->written = pages_written(session);
    o->before_bytes = o->peak = all_bytes(o);
    o->nspans = o->samples = 0;
    o->frames = 0;
    o->sampled = clock_seconds();
    atomic_store(&o->stop, false);
    int rc = pthread_create(&o->thread, NULL, watch, o);
    if (rc)
        return err_set(err, ERR_ENV, "cannot start a thread: %s", strerror(rc));
    o->running = true;
    return 0;
}

static int lite_end(struct observer *base, struct measures *m, struct err *err)
{
    struct lite_observer *o = (struct lite_observer *)base;
    struct tables after = {0};
    if (tables_read(o->db, &after, err) < 0)
        return -1;
    add_rows(o, m);
    add_rewrites(o, &after, m);
    add_locks(o, m);
    tables_release(&after);
    m->before = o->before_bytes;
    m->after = all_bytes(o);
    m->peak = o->peak > m->after ? o->peak : m->after;
    m->wal = MEASURE_UNKNOWN;
    m->page_size = o->page_size;
    /* a session of another process tells nothing; its WAL does, where it has one */
    m->pages = o->session  ? pages_written(o->session) - o->written
               : o->frames ? o->frames / (o->page_size + 24)
                           : MEASURE_UNKNOWN;
    return 0;
}

const struct observer_ops observer_sqlite = {
    .open = lite_open,
    .close = lite_close,
    .look = look_sql,
    .heard = lite_heard,
    .begin = lite_begin,
    .stop = lite_stop,
    .end = lite_end,
};
