/*
 * The way back, the least destructive rung first. A rung counts only when the database was read again
 * and is the old one; whatever stops it in between, trying it again is harmless, since each begins by
 * looking.
 */
#include "backup/deploy_impl.h"

#include <stdlib.h>
#include <string.h>

#include "backup/backup.h"
#include "harness/engine/url.h"

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

/*
 * Whether somebody else wrote since the bundle was taken, as far as it can be told. Where rows of a table differ that
 * the upgrade wrote to as well, nobody can say whose they are.
 */
static int others_wrote(struct deploy *d, struct strv *ret, struct err *err)
{
    _cleanup_(deploy_differences_release) struct deploy_differences l = {0};
    if (deploy_compare_old(d, true, &l, err) < 0)
        return -1;
    for (size_t i = 0; i < l.others.n; i++)
        strv_add(ret, l.others.v[i]);
    for (size_t i = 0; i < l.ours.n && !d->o->fence; i++)
        strv_add(ret, l.ours.v[i]);
    return 0;
}

static char *url_of_database(const struct deploy *d, const char *name, struct err *err)
{
    _cleanup_conninfo_ struct conninfo c = {0};
    if (conninfo_parse(d->url, &c, err) < 0)
        return NULL;
    conninfo_set(&c, "dbname", name);
    return conninfo_url(&c);
}

/* What was committed after the last look and before the swap; in the database that was put aside, where nobody
 * writes any more. */
static void export_late(struct deploy *d)
{
    _cleanup_err_ struct err err = {0};
    _cleanup_free_ char *url = url_of_database(d, d->entry->evidence, &err);
    if (!url || deploy_export(d, url, &err) < 0)
        deploy_say(
            d, "rows that others wrote meanwhile are in %s alone, and could not be exported: %s",
            d->entry->evidence, err.message);
    else if (d->result->exported)
        deploy_say(d, "rows that others wrote since the bundle was taken are in %s",
                   d->result->exported);
    if (url)
        explicit_bzero(url, strlen(url));
}

/* Before a rung that goes back to the rows of a copy. */
static int may_go_back(struct deploy *d, bool *ret, struct err *err)
{
    bool postgres = d->o->engine == &engine_postgres;
    _cleanup_strv_ struct strv others = {0};
    if (d->o->lost_writes == LOST_WRITES_STOP && others_wrote(d, &others, err) < 0)
        return -1;
    if (others.n && !d->refused) {
        _cleanup_free_ char *list = strv_join(&others, "; ");
        d->refused = true;
        deploy_say(d,
                   "not restored: rows may have been written since the bundle was taken, and would "
                   "be lost (%s). \"belay recover --lost-writes=export\" writes them to files and "
                   "goes back",
                   list);
    }
    if (others.n)
        return 0;
    if (postgres && d->o->lost_writes == LOST_WRITES_EXPORT && deploy_export(d, d->url, err) < 0)
        return -1;
    *ret = true;
    return deploy_lock_confirm(d->lock, err);
}

/* kept: the failed database, where there was one; drop: how to remove it. */
static void went_back(struct deploy *d, const char *kept, const char *drop)
{
    bool postgres = d->o->engine == &engine_postgres;
    free(d->entry->evidence);
    d->entry->evidence = kept ? xstrdup(kept) : NULL;
    if (!kept)
        return;
    deploy_say(d, "the failed database is kept as %s; to remove it: %s", kept, drop);
    if (postgres && d->o->lost_writes != LOST_WRITES_ACCEPT)
        export_late(d);
    else if (!postgres && d->o->lost_writes == LOST_WRITES_EXPORT)
        d->result->exported = xstrdup(kept); /* the whole of it */
}

/* A copy that the server made: what the upgrade wrote to is compared afterwards, as ever. */
static int rung_twin(struct deploy *d, bool *ret_tried, struct err *err)
{
    _cleanup_free_ char *kept = NULL;
    bool may = false;
    if (!d->entry->twin)
        return 0;
    if (may_go_back(d, &may, err) < 0)
        return -1;
    if (!may)
        return 0;
    if (deploy_twin_swap(d, &kept, err) < 0)
        return -1;
    *ret_tried = true;
    _cleanup_free_ char *quoted = quote_with(kept, '"'),
                        *drop = xasprintf("DROP DATABASE %s", quoted);
    went_back(d, kept, drop);
    return 0;
}

static int rung_restore(struct deploy *d, bool *ret_tried, struct err *err)
{
    bool may = false;
    if (may_go_back(d, &may, err) < 0)
        return -1;
    if (!may)
        return 0;
    _cleanup_(restore_result_release) struct restore_result r = {0};
    const struct restore_options o = {
        .path = d->entry->bundle,
        .key_file = d->o->key_file,
        .url = d->url,
        .jobs = d->o->jobs,
    };
    if (backup_restore(&o, &r, err) < 0)
        return -1;
    *ret_tried = true;
    if (d->o->engine == &engine_postgres) {
        /* compared before it took its place; what differs now was written since */
        strv_release(&d->ours.names);
        d->ours.known = true;
    }
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
    if (deploy_drop_version_tables(d, err) < 0 || deploy_compare_old(d, false, &l, err) < 0)
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
