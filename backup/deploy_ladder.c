/*
 * The way back, the least destructive rung first. A rung counts only when the database was read again
 * and is the old one; whatever stops it in between, trying it again is harmless, since each begins by
 * looking.
 */
#include "backup/deploy_impl.h"

#include <stdlib.h>
#include <string.h>

#include "backup/backup.h"

enum { DIFFERENCES_KEPT = 20 };

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

/* "rows of public.alembic_version: ...": the upgrade's own. */
static bool is_version_table(const struct deploy *d, const char *difference)
{
    const char *const *tables = source_version_tables(d->o->source);
    if (!str_starts(difference, "rows of "))
        return false;
    _cleanup_free_ char *name = xstrdup(difference + strlen("rows of "));
    name[strcspn(name, ":")] = '\0';
    for (size_t i = 0; tables && tables[i]; i++) {
        const char *bare = strchr(tables[i], '.') ? NULL : strrchr(name, '.');
        if (strcmp(name, tables[i]) == 0 || (bare && strcmp(bare + 1, tables[i]) == 0))
            return true;
    }
    return false;
}

/*
 * Whether somebody else wrote since the bundle was taken, as far as it can be told: rows of a table differ that
 * no revision touched. Where rows of a table that one did touch differ, nobody can say whose they are.
 */
static int others_wrote(struct deploy *d, struct strv *ret, struct err *err)
{
    _cleanup_strv_ struct strv differences = {0};
    if (d->o->fence)
        return 0;
    if (deploy_compare_old(d, &differences, err) < 0)
        return -1;
    for (size_t i = 0; i < differences.n; i++) {
        bool rows =
            str_starts(differences.v[i], "rows of ") || str_starts(differences.v[i], "sequence ");
        if (rows && !is_version_table(d, differences.v[i]))
            strv_add(ret, differences.v[i]);
    }
    return 0;
}

static int rung_restore(struct deploy *d, bool *ret_tried, struct err *err)
{
    _cleanup_strv_ struct strv others = {0};
    if (d->o->lost_writes == LOST_WRITES_STOP && others_wrote(d, &others, err) < 0)
        return -1;
    if (others.n) {
        _cleanup_free_ char *list = strv_join(&others, "; ");
        deploy_say(d,
                   "not restored: rows may have been written since the bundle was taken, and would "
                   "be lost (%s). \"belay recover --lost-writes=accept\" goes back all the same",
                   list);
        return 0;
    }
    _cleanup_(restore_result_release) struct restore_result r = {0};
    const struct restore_options o = {
        .path = d->entry->bundle,
        .key_file = d->o->key_file,
        .url = d->o->url,
        .jobs = d->o->jobs,
    };
    if (deploy_lock_confirm(d->lock, err) < 0 || backup_restore(&o, &r, err) < 0)
        return -1;
    *ret_tried = true;
    free(d->entry->evidence);
    d->entry->evidence = xstrdup(r.kept);
    if (r.kept)
        deploy_say(d, "the failed database is kept as %s; to remove it: %s", r.kept, r.drop);
    return 0;
}

static const struct rung ladder[] = {
    {"unchanged", rung_unchanged, "nothing of the upgrade was committed"},
    {"downgrade", rung_downgrade, "the revisions were taken back"},
    {"restore", rung_restore, "the bundle was restored"},
};

static int prove(struct deploy *d, const struct rung *rung, enum verdict *ret, struct err *err)
{
    _cleanup_strv_ struct strv differences = {0};
    if (deploy_compare_old(d, &differences, err) < 0)
        return -1;
    *ret = differences.n ? NOT_PROVED : PROVED;
    if (*ret == PROVED)
        return 0;
    _cleanup_str_ struct str text = {0};
    for (size_t i = 0; i < differences.n && i < DIFFERENCES_KEPT; i++)
        str_addf(&text, "%s%s", i ? "; " : "", differences.v[i]);
    if (differences.n > DIFFERENCES_KEPT)
        str_addf(&text, "; and %zu more", differences.n - DIFFERENCES_KEPT);
    return journal_note(d->journal, d->entry->id, rung->name, str_get(&text), err);
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

int deploy_ladder(struct deploy *d, struct err *err)
{
    for (size_t i = 0; i < ARRAY_LEN(ladder); i++) {
        int rc = try_rung(d, &ladder[i], err);
        if (rc < 0)
            return -1;
        if (rc > 0) {
            d->result->outcome = DEPLOY_OUTCOME_RESTORED;
            return journal_move(d->journal, d->entry, DEPLOY_RESTORED, NULL, err);
        }
    }
    d->result->outcome = DEPLOY_OUTCOME_STUCK;
    return journal_move(d->journal, d->entry, DEPLOY_STUCK, NULL, err);
}
