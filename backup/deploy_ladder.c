/*
 * The way back, the least destructive rung first. A rung counts only when the database was read again
 * and is the old one; whatever stops it in between, trying it again is harmless, since each begins by
 * looking.
 */
#include "backup/deploy_impl.h"

#include <stdlib.h>
#include <string.h>

#include "backup/backup.h"

enum { DIFFERENCES_KEPT = 20, RUNG_TRIES = 5 };

enum verdict {
    NOT_PROVED,
    PROVED,
};

struct rung {
    const char *name;
    /* Does what it can; the proof follows. *ret_why: why it could not, for a person; -1: the environment. */
    int (*climb)(struct deploy *d, bool *ret_tried, struct err *err);
    const char *done; /* what is said when it is proved */
};

static int rung_unchanged(struct deploy *d, bool *ret_tried, struct err *err)
{
    (void)d, (void)err;
    *ret_tried = true; /* there is nothing to do but to look */
    return 0;
}

static int rung_downgrade(struct deploy *d, bool *ret_tried, struct err *err)
{
    const struct graph *g = source_graph(d->o->source);
    _cleanup_revisions_ struct revisions now = {0}, list = {0}, back = {0};
    _cleanup_strv_ struct strv unknown = {0};
    _cleanup_err_ struct err failure = {0};
    if (deploy_current(d, &now, &unknown, NULL, err) < 0)
        return -1;
    /* what the upgrade applied, and nothing else */
    for (size_t i = graph_size(g); i-- > 0;) {
        struct revision *r = graph_at(g, i);
        if (revisions_has(&now, r) && !revisions_has(&d->current, r))
            revisions_add(&list, r);
    }
    if (unknown.n || !list.n)
        return 0;
    *ret_tried = true;
    for (size_t i = 0; i < list.n; i++)
        if (!list.v[i]->down_file) {
            deploy_say(d, "no downgrade: %s has none", list.v[i]->id);
            *ret_tried = false;
            return 0;
        }
    if (deploy_steps(d, &list, STEP_DOWN, &failure, err) < 0)
        return -1;
    if (err_is_set(&failure)) {
        deploy_say(d, "the %s", failure.message);
        *ret_tried = false;
    }
    return 0;
}

/* ---- going back to the rows of a copy ---- */

static void refuse(struct deploy *d, const struct deploy_lost *lost, struct err *err)
{
    _cleanup_str_ struct str text = {0};
    if (lost->others.n) {
        _cleanup_free_ char *list = strv_join(&lost->others, "; ");
        str_addf(&text, "others have written since the bundle was taken, which would be lost (%s)",
                 list);
    }
    if (lost->undecided.n) {
        _cleanup_free_ char *list = strv_join(&lost->undecided, "; ");
        str_addf(&text, "%swhether others have written %s cannot be told (%s)",
                 text.len ? "; " : "", lost->others.n ? "more" : "since the bundle was taken",
                 list);
    }
    d->refused = true;
    err_set(err, ERR_SOURCE,
            "%s. \"belay recover --lost-writes=export\" writes it to files and goes back",
            str_get(&text));
}

/*
 * Whether the policy lets the database be given up. old: one in the old state, for the export; NULL: it is not there
 * yet, and only what stands in the way is looked for.
 */
static int may_go_back(struct deploy *d, const char *url, const char *old_url, struct err *err)
{
    _cleanup_(deploy_lost_release) struct deploy_lost lost = {0};
    _cleanup_db_ struct db *failed = NULL, *old = NULL;
    enum lost_writes policy = d->o->lost_writes;
    if (policy == LOST_WRITES_ACCEPT || (policy == LOST_WRITES_EXPORT && !old_url))
        return 0;
    if (db_open(d->o->engine, url, DB_OPEN_READONLY, &failed, err) < 0 ||
        deploy_find_lost(d, failed, &lost, err) < 0)
        return -1;
    if (!deploy_lost_any(&lost))
        return 0;
    if (policy == LOST_WRITES_STOP) {
        refuse(d, &lost, err);
        return -1;
    }
    return db_open(d->o->engine, old_url, DB_OPEN_READONLY, &old, err) < 0
               ? -1
               : deploy_export(d, &lost, old, failed, err);
}

/*
 * What is written from now on would be lost: on PostgreSQL nobody gets in any more until the old state is back, or it
 * is said that it will not be. SQLite has its own way (restore_sqlite.c).
 */
static int give_up(struct deploy *d, struct err *err)
{
    /* without keeping anybody out, where that is enough */
    if (may_go_back(d, d->url, NULL, err) < 0 || deploy_lock_confirm(d->lock, err) < 0)
        return -1;
    if (d->o->engine != &engine_postgres || d->fenced)
        return 0;
    return deploy_fence_raise(d, err) < 0 ? -1 : may_go_back(d, d->url, NULL, err);
}

/* Just before the copy, which is at that URL, takes the place. */
static int before_swap(void *data, const char *loaded, const char *replaced, struct err *err)
{
    struct deploy *d = data;
    if (d->o->engine != &engine_postgres)
        return may_go_back(d, replaced, loaded, err);
    /* nobody has been there since give_up() */
    if (d->o->lost_writes == LOST_WRITES_EXPORT && may_go_back(d, d->url, loaded, err) < 0)
        return -1;
    return deploy_fence_leave(d, err);
}

/* kept: SQLite: the copy of the failed database. */
static void went_back(struct deploy *d, const char *kept, const char *drop)
{
    _cleanup_free_ char *sql = NULL;
    /* compared before it took its place; what differs now was written since */
    strv_release(&d->ours.names);
    d->ours.known = true;
    if (d->o->engine == &engine_postgres) {
        _cleanup_free_ char *quoted = quote_with(d->fenced, '"');
        drop = sql = xasprintf("DROP DATABASE %s", quoted);
        deploy_fence_replaced(d);
    } else {
        free(d->entry->evidence);
        d->entry->evidence = xstrdup(kept);
    }
    if (d->entry->evidence)
        deploy_say(d, "the failed database is kept as %s; to remove it: %s", d->entry->evidence,
                   drop);
}

static int rung_twin(struct deploy *d, bool *ret_tried, struct err *err)
{
    if (!d->entry->twin || d->refused)
        return 0;
    char *twin = deploy_url_of(d, d->entry->twin, err);
    int rc = twin && give_up(d, err) == 0 && before_swap(d, twin, NULL, err) == 0 &&
                     deploy_twin_swap(d, err) == 0
                 ? 0
                 : -1;
    if (twin)
        explicit_bzero(twin, strlen(twin));
    free(twin);
    if (rc < 0)
        return -1;
    *ret_tried = true;
    went_back(d, NULL, NULL);
    return 0;
}

static int rung_restore(struct deploy *d, bool *ret_tried, struct err *err)
{
    if (d->refused)
        return 0;
    if (give_up(d, err) < 0)
        return -1;
    _cleanup_(restore_result_release) struct restore_result r = {0};
    const struct restore_options o = {
        .path = d->entry->bundle,
        .key_file = d->o->key_file,
        .url = d->o->url,
        .jobs = d->o->jobs,
        .before = before_swap,
        .before_data = d,
    };
    if (backup_restore(&o, &r, err) < 0)
        return -1;
    *ret_tried = true;
    went_back(d, r.kept, r.drop);
    return 0;
}

static const struct rung ladder[] = {
    {"unchanged", rung_unchanged, "nothing of the upgrade was committed"},
    {"downgrade", rung_downgrade, "the revisions were taken back"},
    {"twin", rung_twin, "the twin took its place"},
    {"restore", rung_restore, "the bundle was restored"},
};

static char *first_of(const struct strv *wrong, const struct strv *more)
{
    struct str text = {0};
    size_t n = wrong->n + more->n;
    for (size_t i = 0; i < n && i < DIFFERENCES_KEPT; i++)
        str_addf(&text, "%s%s", i ? "; " : "", i < wrong->n ? wrong->v[i] : more->v[i - wrong->n]);
    if (n > DIFFERENCES_KEPT)
        str_addf(&text, "; and %zu more", n - DIFFERENCES_KEPT);
    return str_take(&text);
}

static int prove(struct deploy *d, const struct rung *rung, enum verdict *ret, struct err *err)
{
    _cleanup_(deploy_differences_release) struct deploy_differences l = {0};
    if (deploy_ours_alone(d) && d->untracked) {
        if (deploy_drop_version_tables(d, err) < 0)
            return -1;
        deploy_ours_expect(d);
    } else if (deploy_drop_version_tables(d, err) < 0) {
        return -1;
    }
    if (deploy_compare_old(d, false, &l, err) < 0)
        return -1;
    *ret = deploy_is_old(&l) ? PROVED : NOT_PROVED;
    if (*ret == PROVED) {
        for (size_t i = 0; i < l.moved.n; i++)
            deploy_say(d, "%s: the server never gives back what a sequence has given",
                       l.moved.v[i]);
        return 0;
    }
    _cleanup_free_ char *text = first_of(&l.wrong, &l.ours);
    return journal_note(d->journal, d->entry->id, rung->name, text, err);
}

/* 1: the database is the old one. */
static int try_rung(struct deploy *d, const struct rung *rung, struct err *err)
{
    bool tried = false;
    enum verdict verdict = NOT_PROVED;
    deploy_progress(d, "roll back", rung->name);
    free(d->entry->rung);
    d->entry->rung = xstrdup(rung->name);
    if (journal_move(d->journal, d->entry, DEPLOY_ROLLING_BACK, NULL, err) < 0)
        return -1;
    _cleanup_err_ struct err failed = {0};
    if (rung->climb(d, &tried, &failed) < 0 || (tried && prove(d, rung, &verdict, &failed) < 0)) {
        deploy_say(d, "%s: %s", rung->name, failed.message);
        return journal_note(d->journal, d->entry->id, rung->name, failed.message, err);
    }
    if (verdict == PROVED)
        deploy_say(d, "%s, and the database is proved to be what it was", rung->done);
    else if (tried && rung != &ladder[0])
        deploy_say(d, "%s, and yet the database is not what it was", rung->done);
    return verdict == PROVED;
}

/* The server is away for longer than it is waited for: `belay recover` goes on from here. */
static int leave_rolling_back(struct deploy *d, struct err *why)
{
    deploy_say(d, "%s", why->message);
    err_hint(&d->result->failure,
             "the database is between the old and the new state, as far as anybody knows: once the "
             "server answers, \"belay recover\" goes on");
    d->result->outcome = DEPLOY_OUTCOME_STUCK;
    return 0;
}

/* Whatever the outcome, others get in again before the journal says that it is the end. */
static int end(struct deploy *d, enum deploy_state state, struct err *err)
{
    _cleanup_err_ struct err away = {0};
    if (deploy_fence_lift(d, &away) < 0 &&
        (deploy_reach(d, &away) < 0 || deploy_fence_lift(d, &away) < 0))
        return leave_rolling_back(d, &away);
    bool back = state == DEPLOY_RESTORED;
    d->result->outcome = back ? DEPLOY_OUTCOME_RESTORED : DEPLOY_OUTCOME_STUCK;
    if (journal_move(d->journal, d->entry, state, NULL, err) < 0)
        return -1;
    if (back)
        deploy_twin_drop(d);
    return 0;
}

int deploy_ladder(struct deploy *d, struct err *err)
{
    for (size_t i = 0, tries = 0; i < ARRAY_LEN(ladder);) {
        _cleanup_err_ struct err away = {0};
        if (deploy_reach(d, &away) < 0 || deploy_ours_end(d, &away) < 0)
            return leave_rolling_back(d, &away);
        int rc = try_rung(d, &ladder[i], err);
        if (rc < 0)
            return -1;
        if (rc > 0)
            return end(d, DEPLOY_RESTORED, err);
        /* a server that went away in the middle says nothing against the rung */
        bool there = deploy_lock_confirm(d->lock, &away) == 0;
        if (!there && ++tries < RUNG_TRIES)
            continue;
        tries = 0;
        i++;
    }
    return end(d, DEPLOY_STUCK, err);
}
