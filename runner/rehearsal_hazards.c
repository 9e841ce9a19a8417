/*
 * What was observed of a revision, judged: not what a statement looks like, but what it held and
 * did on the copy. A table counts when others had to wait for it long (long_lock), or when it is big
 * (big_table) and was read or written whole under a lock that others wait for: on another machine,
 * or with more rows, that takes long.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "runner/rehearsal_impl.h"
#include "runner/report_rehearsal.h"

/* One table in one revision. */
struct subject {
    struct rehearse *h;
    size_t i; /* the revision, among the pending ones */
    const struct measures *m;
    const char *table;
    int64_t bytes;
    const struct measured_lock *lock;       /* the one that stands most in the way; or NULL */
    const struct measured_rewrite *rewrite; /* of the table; or NULL */
    const struct measured_work *not_null, *valid;
    int64_t read, written; /* rows, while others waited */
    int64_t updated;       /* rows, in a transaction that then went on: their locks last */
    double updating;       /* seconds from the first of them until the end */
    size_t statement;      /* the one to name */
};

static double held(const struct measured_lock *l)
{
    return l ? l->until - l->from : 0;
}

static const struct rehearsal_thresholds *thresholds(const struct subject *s)
{
    return &s->h->o->thresholds;
}

/* A stronger lock first, then the longer one. SQLite's writers all keep readers out for a moment in the
 * end: only where that is long does it count. */
static bool is_worse(const struct subject *s, const struct measured_lock *a,
                     const struct measured_lock *b)
{
    bool database = strcmp(a->kind, "database") == 0;
    if (!b)
        return true;
    if (a->blocks == b->blocks ||
        (database && held(a) < thresholds(s)->long_lock && held(b) < thresholds(s)->long_lock))
        return database && a->blocks != b->blocks ? a->blocks < b->blocks : held(a) > held(b);
    return a->blocks > b->blocks;
}

static bool is_big(const struct subject *s)
{
    return s->bytes >= thresholds(s)->big_table;
}

static bool is_long(const struct subject *s)
{
    return s->lock && held(s->lock) >= thresholds(s)->long_lock;
}

/* The statement ran while the lock was held. */
static bool under_lock(const struct subject *s, size_t statement)
{
    if (!s->lock || statement >= s->m->nstatements)
        return false;
    if (statement == s->lock->statement)
        return true;
    const struct measured_statement *x = &s->m->statements[statement];
    return x->start + x->seconds > s->lock->from && x->start < s->lock->until;
}

static void look_at_work(struct subject *s)
{
    for (size_t i = 0; i < s->m->nwork; i++) {
        const struct measured_work *w = &s->m->work[i];
        if (strcmp(w->table, s->table) != 0)
            continue;
        const struct measured_statement *x = &s->m->statements[w->statement];
        s->bytes = w->bytes;
        if (w->written && !s->updated)
            s->updating = s->m->seconds - x->start;
        s->updated += w->written;
        if (!under_lock(s, w->statement))
            continue;
        s->read += w->read;
        s->written += w->written;
        if (w->not_null && w->read)
            s->not_null = w;
        if (w->constraint && w->read)
            s->valid = w;
    }
}

static void look_at(struct subject *s)
{
    for (size_t i = 0; i < s->m->nlocks; i++) {
        const struct measured_lock *l = &s->m->locks[i];
        if (l->blocks != LOCK_BLOCKS_NOTHING && strcmp(l->relation, s->table) == 0 &&
            is_worse(s, l, s->lock))
            s->lock = l;
    }
    if (s->lock)
        s->bytes = s->lock->bytes;
    for (size_t i = 0; i < s->m->nrewrites; i++) {
        const struct measured_rewrite *w = &s->m->rewrites[i];
        if (strcmp(w->relation, s->table) == 0 && strcmp(w->kind, "table") == 0 && w->after)
            s->rewrite = w;
    }
    look_at_work(s);
}

/* ---- findings ---- */

/* "reads and writes of public.users (12 MB) wait 340 ms" */
static char *sentence_of_lock(const struct subject *s)
{
    char seconds[32];
    _cleanup_free_ char *bytes = report_bytes(s->bytes);
    report_seconds(held(s->lock), seconds, sizeof(seconds));
    return xasprintf("%s of %s (%s) had to wait for up to %s, while the revision held %s",
                     s->lock->blocks == LOCK_BLOCKS_READS ? "reads and writes" : "writes", s->table,
                     bytes, seconds, s->lock->mode);
}

static struct finding *add(const struct subject *s, const char *id, size_t statement, char *message,
                           const char *hint)
{
    struct finding *f = walk_add_finding(&s->h->walk, id, s->h->pending.v[s->i], STEP_UP);
    f->message = message;
    f->hint = xstrdup(hint);
    f->changes = xgrow(f->changes, f->nchanges, &f->changes_cap, sizeof(*f->changes));
    _cleanup_free_ char *bytes = report_bytes(s->bytes);
    f->changes[f->nchanges++] =
        (struct finding_change){.object = xasprintf("table %s", s->table),
                                .text = xasprintf("table %s: %s", s->table, bytes)};
    if (statement < s->m->nstatements) {
        const struct measured_statement *x = &s->m->statements[statement];
        f->statement = xstrdup(x->text);
        if (x->file) {
            free(f->file);
            f->file = xstrdup(x->file);
            f->line = x->line;
        }
    }
    return f;
}

/* The longest statement that ran under the lock: what others waited for. */
static size_t slowest(const struct subject *s)
{
    size_t found = s->lock->statement;
    for (size_t i = 0; i < s->m->nstatements; i++)
        if (under_lock(s, i) && (found >= s->m->nstatements ||
                                 s->m->statements[i].seconds > s->m->statements[found].seconds))
            found = i;
    return found;
}

static void add_rewrite(const struct subject *s)
{
    _cleanup_free_ char *after = report_bytes(s->rewrite->after);
    _cleanup_free_ char *lock = s->lock ? sentence_of_lock(s) : NULL;
    add(s, "rewrites-table", s->rewrite->statement,
        xasprintf("%s was written anew (%s)%s%s", s->table, after, lock ? "; " : "",
                  lock ? lock : ""),
        s->h->o->check.engine == &engine_sqlite
            ? "SQLite changes a table by copying it, and nobody else writes meanwhile: ADD COLUMN, "
              "RENAME COLUMN and DROP COLUMN (3.35) mostly need no copy; else let the application "
              "pause, or move the rows in batches into a new table"
            : "in two phases: add a new column that may be NULL (or has a constant default, which "
              "rewrites nothing), write both from the application, fill it in batches, each in a "
              "transaction of its own, then switch and drop the old one");
}

static void add_blocks(const struct subject *s)
{
    bool reads = s->lock->blocks == LOCK_BLOCKS_READS;
    const char *hint;
    if (s->h->o->check.engine == &engine_sqlite)
        hint =
            "SQLite has one lock for all writers: write in batches of some thousand rows, each in "
            "a transaction of its own";
    else if (reads)
        hint = "the lock is held until the transaction ends: let the statement that takes it stand "
               "in a revision of its own, with a lock_timeout, and do what is slow before or after "
               "it; rows in batches, each in a transaction of its own";
    else
        hint =
            "build indexes with CREATE INDEX CONCURRENTLY, outside of a transaction; change rows "
            "in batches, each in a transaction of its own";
    add(s, reads ? "blocks-reads" : "blocks-writes", slowest(s), sentence_of_lock(s), hint);
}

/* Rows that were changed stay locked until the end. */
static void add_row_locks(const struct subject *s)
{
    char seconds[32];
    report_seconds(s->updating, seconds, sizeof(seconds));
    size_t statement = SIZE_MAX;
    for (size_t i = 0; i < s->m->nwork; i++)
        if (strcmp(s->m->work[i].table, s->table) == 0 && s->m->work[i].written)
            statement = s->m->work[i].statement;
    add(s, "blocks-writes", statement,
        xasprintf("writes to %" PRId64
                  " rows of %s had to wait for up to %s: they stay locked until "
                  "the transaction ends",
                  s->updated, s->table, seconds),
        "in batches of some thousand rows, each in a transaction of its own");
}

/* How much of the table's bytes the changed rows are. */
static bool changed_much(const struct subject *s)
{
    const struct digest *d = row_state_find(&s->h->stops[s->i].rows, s->table);
    if (!s->updated || !d || !d->sum.rows)
        return false;
    double share = (double)s->updated / (double)d->sum.rows;
    return (share > 1 ? 1 : share) * (double)s->bytes >= (double)thresholds(s)->big_table ||
           s->updating >= thresholds(s)->long_lock;
}

/* SQLite's lock is on all of it: what counts is how much was written under it. */
static bool wrote_much(const struct subject *s)
{
    return s->lock && strcmp(s->lock->kind, "database") == 0 && s->m->pages > 0 &&
           s->m->pages * s->m->page_size >= thresholds(s)->big_table;
}

static void judge(const struct subject *s)
{
    bool heavy = is_long(s) || (is_big(s) && (s->read || s->written)) || wrote_much(s);
    int64_t rewritten = s->rewrite ? s->rewrite->after : 0;
    if (s->rewrite && (is_long(s) || rewritten >= thresholds(s)->big_table || is_big(s))) {
        add_rewrite(s);
    } else if (heavy && s->lock && s->not_null) {
        add(s, "not-null-scan", s->not_null->statement, sentence_of_lock(s),
            "add CHECK (column IS NOT NULL) NOT VALID, VALIDATE it in a later revision, then SET "
            "NOT "
            "NULL, which believes it and reads nothing; drop the CHECK");
    } else if (heavy && s->lock && s->valid) {
        char *lock = sentence_of_lock(s);
        add(s, "long-validation", s->valid->statement,
            xasprintf("constraint %s: %s", s->valid->constraint, lock),
            "ADD CONSTRAINT ... NOT VALID in one revision, VALIDATE CONSTRAINT in a later one, "
            "which "
            "lets reads and writes go on");
        free(lock);
    } else if (heavy && s->lock) {
        add_blocks(s);
    } else if (changed_much(s)) {
        add_row_locks(s);
    }
}

/* ---- a revision ---- */

static void add_name(struct strv *names, const char *name)
{
    if (!strv_has(names, name))
        strv_add(names, name);
}

static void judge_tables(struct rehearse *h, size_t i)
{
    const struct measures *m = &h->result->steps[i].up.measures;
    _cleanup_strv_ struct strv names = {0};
    for (size_t k = 0; k < m->nrewrites; k++)
        if (strcmp(m->rewrites[k].kind, "table") == 0)
            add_name(&names, m->rewrites[k].relation);
    for (size_t k = 0; k < m->nlocks; k++)
        if (strcmp(m->locks[k].kind, "table") == 0 || strcmp(m->locks[k].kind, "database") == 0)
            add_name(&names, m->locks[k].relation);
    for (size_t k = 0; k < m->nwork; k++)
        add_name(&names, m->work[k].table);
    bool rewritten = false;
    for (size_t k = 0; k < names.n; k++) {
        struct subject s = {.h = h, .i = i, .m = m, .table = names.v[k]};
        size_t before = h->result->check.nfindings;
        look_at(&s);
        /* SQLite's one lock: where a rewrite was why, that is said already */
        if (s.lock && strcmp(s.lock->kind, "database") == 0 && rewritten)
            continue;
        judge(&s);
        rewritten = rewritten || (s.rewrite && h->result->check.nfindings > before);
    }
}

void rehearse_judge(struct rehearse *h, size_t i)
{
    const struct measures *m = &h->result->steps[i].up.measures;
    judge_tables(h, i);
    for (size_t k = 0; k < m->ninvalid; k++) {
        struct finding *f =
            walk_add_finding(&h->walk, "invalid-index-left", h->pending.v[i], STEP_UP);
        f->message = xasprintf("index %s is invalid after the revision", m->invalid_indexes[k]);
        f->hint = xasprintf("DROP INDEX CONCURRENTLY %s, mend the rows that it refuses, build it "
                            "again; IF NOT EXISTS would take it for the real one",
                            m->invalid_indexes[k]);
        f->changes = xgrow(f->changes, f->nchanges, &f->changes_cap, sizeof(*f->changes));
        f->changes[f->nchanges++] =
            (struct finding_change){.object = xasprintf("index %s", m->invalid_indexes[k]),
                                    .text = xasprintf("index %s: invalid", m->invalid_indexes[k])};
    }
}

/* ---- budgets ---- */

static void judge_blocked(struct rehearse *h)
{
    double most = h->o->budgets.max_blocked;
    for (size_t i = 0; most > 0 && i < h->pending.n; i++) {
        const struct measures *m = &h->result->steps[i].up.measures;
        const struct measured_wait *w = measures_longest(m);
        if (!w || w->seconds <= most)
            continue;
        char seconds[32], budget[32];
        report_seconds(w->seconds, seconds, sizeof(seconds));
        report_seconds(most, budget, sizeof(budget));
        struct finding *f = walk_add_finding(&h->walk, "budget-exceeded", h->pending.v[i], STEP_UP);
        f->message = xasprintf("max_blocked: a %s of %s was blocked for %s, %s are allowed",
                               w->writer ? "writer" : "reader", w->table, seconds, budget);
        if (w->statement < m->nstatements)
            f->statement = xstrdup(m->statements[w->statement].text);
    }
}

void rehearse_judge_budgets(struct rehearse *h)
{
    const struct rehearsal *r = h->result;
    const struct rehearsal_budgets *b = &h->o->budgets;
    judge_blocked(h);
    if (b->max_duration > 0 && r->up_seconds > b->max_duration) {
        char seconds[32], budget[32];
        size_t slow = 0;
        for (size_t i = 0; i < h->pending.n; i++)
            if (r->steps[i].up.seconds > r->steps[slow].up.seconds)
                slow = i;
        report_seconds(r->up_seconds, seconds, sizeof(seconds));
        report_seconds(b->max_duration, budget, sizeof(budget));
        struct finding *f = walk_add_finding(&h->walk, "budget-exceeded", NULL, STEP_UP);
        f->message = xasprintf("max_duration: the upgrades took %s, %s are allowed; most of it %s",
                               seconds, budget, h->pending.v[slow]->id);
    }
    if (b->max_growth && r->peak > b->max_growth) {
        _cleanup_free_ char *peak = report_bytes(r->peak), *budget = report_bytes(b->max_growth);
        struct finding *f = walk_add_finding(&h->walk, "budget-exceeded", NULL, STEP_UP);
        f->message =
            xasprintf("max_growth: the upgrades needed %s more room, %s are allowed", peak, budget);
    }
}
