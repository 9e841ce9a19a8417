#include "backup/deploy_impl.h"

#include <libpq-fe.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "backup/backup.h"
#include "harness/base/clock.h"
#include "harness/base/file.h"
#include "harness/engine/url.h"

void deploy_say(struct deploy *d, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    strv_add_take(&d->result->words, xvasprintf(fmt, ap));
    va_end(ap);
}

void deploy_progress(const struct deploy *d, const char *phase, const char *what)
{
    if (d->o->progress.step)
        d->o->progress.step(d->o->progress.data, phase, what, -1);
}

static void phase_took(struct deploy *d, const char *name, double *start)
{
    struct deploy_result *r = d->result;
    double now = clock_seconds();
    r->phases = xgrow(r->phases, r->nphases, &r->phases_cap, sizeof(*r->phases));
    r->phases[r->nphases++] = (struct deploy_phase){xstrdup(name), now - *start};
    *start = now;
}

/* ---- which database ---- */

/* One name for one database, however its URL is written. */
static int database_key(const struct deploy *d, char **ret, struct err *err)
{
    const struct deploy_options *o = d->o;
    if (o->engine == &engine_sqlite) {
        _cleanup_free_ char *path = NULL;
        if (url_sqlite_path(o->url, &path, err) < 0)
            return -1;
        char *real = realpath(path, NULL);
        if (!real)
            return err_errno(err, "%s", path);
        *ret = xstrdup(real);
        free(real);
        return 0;
    }
    const PGconn *c = db_handle(deploy_lock_db(d->lock));
    *ret = xasprintf("postgresql://%s:%s/%s", PQhost(c), PQport(c), deploy_lock_name(d->lock));
    return 0;
}

/* ---- the parts ---- */

static int check_stop(const struct deploy *d, struct err *err)
{
    return d->o->stop && *d->o->stop ? err_set(err, ERR_INTERRUPTED, "interrupted") : 0;
}

static void forward(void *data, const struct backup_progress *p)
{
    const struct deploy *d = data;
    if (d->o->progress.step)
        d->o->progress.step(d->o->progress.data, "bundle", p->phase,
                            p->total ? (double)p->done / (double)p->total : -1);
}

static char *bundle_path(const struct deploy *d)
{
    _cleanup_free_ char *stamp = clock_utc(CLOCK_STAMP);
    const char *base = path_base(d->entry->database);
    _cleanup_free_ char *name =
        xasprintf("%s-before-%lld-%s.belay", base, (long long)d->entry->id, stamp);
    /* whole, since whoever reads the journal may do so from another folder */
    char *dir = realpath(d->o->dir, NULL);
    char *path = path_join(dir ? dir : d->o->dir, name);
    free(dir);
    return path;
}

/* Beside the journal, wherever that folder is mounted now. */
static int open_old(struct deploy *d, struct err *err)
{
    _cleanup_free_ char *path = path_join(d->o->dir, path_base(d->entry->bundle));
    if (bundle_open(path, d->o->key_file, &d->bundle, err) < 0)
        return -1;
    free(d->entry->bundle);
    d->entry->bundle = realpath(path, NULL);
    return 0;
}

static int make_bundle(struct deploy *d, struct err *err)
{
    _cleanup_free_ char *path = bundle_path(d);
    _cleanup_(backup_summary_release) struct backup_summary summary = {0};
    _cleanup_(verify_result_release) struct verify_result verified = {0};
    _cleanup_strv_ struct strv revisions = {0};
    const struct backup_control control = {.stop = d->o->stop, .report = forward, .data = d};
    for (size_t i = 0; i < d->current.n; i++)
        strv_add(&revisions, d->current.v[i]->id);
    const struct backup_options backup = {
        .url = d->url,
        .path = path,
        .key_file = d->o->key_file,
        .database = d->fenced ? deploy_lock_name(d->lock) : NULL,
        .level = d->o->level,
        .jobs = d->o->jobs,
        .lock_timeout_ms = d->o->lock_timeout_ms,
        .revisions = &revisions,
        .control = control,
    };
    const struct verify_options verify = {
        .path = path,
        .key_file = d->o->key_file,
        .jobs = d->o->jobs,
        .drill = d->o->drill,
        .scratch_url = d->o->scratch_url,
        .control = control,
    };
    deploy_progress(d, "bundle", NULL);
    if (deploy_ours_horizon(d, err) < 0 ||
        journal_note(d->journal, d->entry->id, "bundle", path, err) < 0 ||
        backup_create(&backup, &summary, err) < 0)
        return err_prefix(err, "the bundle");
    free(d->entry->bundle);
    d->entry->bundle = TAKE_PTR(path);
    deploy_progress(d, "verify", NULL);
    if (backup_verify(&verify, &verified, err) < 0)
        return err_prefix(err, "the bundle cannot be verified");
    if (verified.problems.n) {
        _cleanup_free_ char *problems = strv_join(&verified.problems, "\n");
        err_set(err, ERR_ENV, "the bundle %s is not good: the upgrade was not begun",
                d->entry->bundle);
        err->detail = TAKE_PTR(problems);
        return -1;
    }
    return open_old(d, err);
}

static int run_hook(struct deploy *d, const char *name, const char *command, const char *outcome,
                    struct err *err)
{
    const struct deploy_entry *e = d->entry;
    if (!command)
        return 0;
    _cleanup_free_ char *id = xasprintf("%lld", (long long)e->id);
    const char *const values[][2] = {
        {"OUTCOME", outcome},    {"DEPLOY", id},
        {"FROM", e->from},       {"TO", e->to},
        {"RUNG", e->rung},       {"BUNDLE", e->bundle},
        {"MESSAGE", e->message}, {"EVIDENCE", e->evidence},
    };
    _cleanup_strv_ struct strv env = {0};
    for (size_t i = 0; i < ARRAY_LEN(values); i++)
        strv_add_take(&env,
                      xasprintf("BELAY_%s=%s", values[i][0], values[i][1] ? values[i][1] : ""));
    strv_add_take(&env, NULL);
    return deploy_shell(d, name, command, (const char *const *)env.v, d->o->probe_timeout_ms, err);
}

/* After the decision a hook changes nothing any more: its failure is a word. */
static void tell_hook(struct deploy *d, const char *outcome)
{
    _cleanup_err_ struct err err = {0};
    bool good = str_eq(outcome, "done");
    if (run_hook(d, good ? "hook after" : "hook on_failure",
                 good ? d->o->hook_after : d->o->hook_on_failure, outcome, &err) < 0)
        deploy_say(d, "%s", err.message);
}

/* ---- the decision ---- */

static int go_back(struct deploy *d, struct err *err)
{
    double start = clock_seconds();
    if (deploy_ladder(d, err) < 0)
        return -1;
    phase_took(d, "roll back", &start);
    tell_hook(d, d->result->outcome == DEPLOY_OUTCOME_RESTORED ? "restored" : "stuck");
    return 0;
}

static int roll_back(struct deploy *d, struct err *failure, struct err *err)
{
    err_move(&d->result->failure, failure);
    return journal_move(d->journal, d->entry, DEPLOY_ROLLING_BACK, d->result->failure.message,
                        err) < 0
               ? -1
               : go_back(d, err);
}

/* With the patience that a server is worth which goes away just now. */
static int lift_fence(struct deploy *d, struct err *err)
{
    _cleanup_err_ struct err first = {0};
    if (deploy_fence_lift(d, &first) == 0)
        return 0;
    return deploy_reach(d, err) < 0 ? -1 : deploy_fence_lift(d, err);
}

/* From CHECKING to DONE, or down the ladder. */
static int check_and_decide(struct deploy *d, struct err *err)
{
    _cleanup_err_ struct err failure = {0}, lost = {0};
    double start = clock_seconds();
    int failed = deploy_check(d, &failure);
    if (failed && deploy_lock_confirm(d->lock, &lost) < 0 && deploy_reach(d, &lost) == 0) {
        /* a server that went away in the middle says nothing against the new state */
        err_release(&failure);
        failed = deploy_check(d, &failure);
    }
    if (failed)
        return roll_back(d, &failure, err);
    if (lift_fence(d, err) < 0 || journal_move(d->journal, d->entry, DEPLOY_DONE, NULL, err) < 0)
        return -1;
    phase_took(d, "check", &start);
    d->result->outcome = DEPLOY_OUTCOME_DONE;
    deploy_twin_drop(d);
    tell_hook(d, "done");
    return 0;
}

static int upgrade_and_decide(struct deploy *d, struct err *err)
{
    _cleanup_err_ struct err failure = {0};
    double start = clock_seconds();
    d->ours.known = true; /* nothing yet */
    if (deploy_steps(d, &d->list, STEP_UP, &failure, err) < 0)
        return -1;
    phase_took(d, "upgrade", &start);
    if (err_is_set(&failure))
        return roll_back(d, &failure, err);
    if (journal_move(d->journal, d->entry, DEPLOY_CHECKING, NULL, err) < 0)
        return -1;
    return check_and_decide(d, err);
}

/*
 * For what has failed in the middle of the upgrade, of its check or of the way back: the journal cannot be written, or
 * the fence not be lifted. The journal says how far it came.
 */
static int or_undecided(struct deploy *d, int rc, struct err *err)
{
    if (rc == 0)
        return 0;
    if (err_is_set(&d->result->failure))
        deploy_say(d, "%s", err->message);
    else
        err_move(&d->result->failure, err);
    deploy_say(d, "the deploy is not at its end: once that is mended, \"belay recover\" goes on");
    d->result->outcome = DEPLOY_OUTCOME_STUCK;
    tell_hook(d, "stuck");
    return 0;
}

/* Until the upgrade begins every failure is an error, and the database was only read. */
static int prepare(struct deploy *d, struct err *err)
{
    double start = clock_seconds();
    if (deploy_preflight(d, err) < 0 || check_stop(d, err) < 0)
        return -1;
    phase_took(d, "preflight", &start);
    d->begun = true;
    if (run_hook(d, "hook before", d->o->hook_before, "begun", err) < 0) {
        err->code = ERR_ENV;
        return -1;
    }
    if (d->o->fence) {
        if (deploy_fence_raise(d, err) < 0)
            return -1;
        d->sealed = true;
        phase_took(d, "fence", &start);
    }
    if (make_bundle(d, err) < 0)
        return -1;
    phase_took(d, "bundle", &start);
    if (deploy_twin_make(d, err) < 0)
        return -1;
    if (d->entry->twin)
        phase_took(d, "twin", &start);
    if (check_stop(d, err) < 0 || deploy_lock_confirm(d->lock, err) < 0)
        return -1;
    return journal_move(d->journal, d->entry, DEPLOY_UPGRADING, NULL, err);
}

/* ---- what was cut off ---- */

static int resume_plan(struct deploy *d, struct err *err)
{
    const struct graph *g = source_graph(d->o->source);
    _cleanup_revisions_ struct revisions nothing = {0}, from = {0};
    const struct strv *ids = &deploy_old(d)->revisions;
    d->current.complete = true;
    for (size_t i = 0; i < ids->n; i++) {
        struct revision *r = graph_find(g, ids->v[i]);
        if (!r)
            return err_set(err, ERR_SOURCE,
                           "the project has no revision %s any more, which the "
                           "database was at before the deploy",
                           ids->v[i]);
        revisions_add(&d->current, r);
    }
    _cleanup_free_ char *to = xstrdup(d->entry->to);
    for (char *save = NULL, *id = strtok_r(to, ",", &save); id; id = strtok_r(NULL, ",", &save)) {
        struct revision *r = graph_find(g, id);
        if (r)
            revisions_add(&d->targets, r);
        else
            return err_set(err, ERR_SOURCE,
                           "the project has no revision %s, which the deploy was "
                           "on its way to",
                           id);
    }
    graph_upgrade_path(g, &d->current, &d->targets, &d->list);
    return 0;
}

static int resume(struct deploy *d, struct err *err)
{
    struct deploy_entry *e = d->entry;
    _cleanup_revisions_ struct revisions now = {0}, left = {0};
    _cleanup_strv_ struct strv unknown = {0};
    _cleanup_err_ struct err failure = {0};
    deploy_say(d, "deploy %lld, begun at %s, was cut off while %s", (long long)e->id, e->started,
               deploy_state_name(e->state));
    if (e->state == DEPLOY_PREPARING) {
        /* what is left of its bundle is swept with the next one */
        d->result->outcome = DEPLOY_OUTCOME_NOTHING;
        deploy_say(d, "nothing had been changed");
        deploy_twin_drop(d);
        if (deploy_fence_lift(d, err) < 0 ||
            journal_move(d->journal, e, DEPLOY_ABORTED, "cut off before the upgrade", err) < 0)
            return -1;
        tell_hook(d, "aborted"); /* whether \"before\" had run nobody knows */
        return 0;
    }
    if (open_old(d, err) < 0 || resume_plan(d, err) < 0 || deploy_ours_end(d, err) < 0 ||
        deploy_ours_read(d, err) < 0)
        return -1;
    if (e->state == DEPLOY_UPGRADING) {
        /* the last step may have been committed, and only the word of it be missing */
        if (deploy_current(d, &now, &unknown, NULL, err) < 0)
            return -1;
        graph_upgrade_path(source_graph(d->o->source), &now, &d->targets, &left);
        if (left.n) {
            err_set(&failure, ERR_INTERRUPTED, "the upgrade was cut off before the end of %s",
                    left.v[0]->id);
            return or_undecided(d, roll_back(d, &failure, err), err);
        }
        if (journal_move(d->journal, e, DEPLOY_CHECKING, NULL, err) < 0)
            return -1;
    }
    if (e->state == DEPLOY_CHECKING)
        return or_undecided(d, check_and_decide(d, err), err);
    err_set(&d->result->failure, ERR_SOURCE, "%s", e->message ? e->message : "cut off");
    if (e->state == DEPLOY_STUCK) {
        _cleanup_(deploy_differences_release) struct deploy_differences l = {0};
        if (deploy_compare_old(d, false, &l, err) < 0)
            return -1;
        if (deploy_is_old(&l)) {
            deploy_say(d, "the database is proved to be what it was");
            d->result->outcome = DEPLOY_OUTCOME_RESTORED;
            if (deploy_fence_lift(d, err) < 0 ||
                journal_move(d->journal, e, DEPLOY_RESTORED, NULL, err) < 0)
                return -1;
            deploy_twin_drop(d);
            tell_hook(d, "restored");
            return 0;
        }
    }
    return or_undecided(d, go_back(d, err), err);
}

/* ---- all of it ---- */

void deploy_release(struct deploy *d)
{
    bundle_reader_free(d->bundle);
    revisions_release(&d->current);
    revisions_release(&d->targets);
    revisions_release(&d->list);
    strv_release(&d->invalid_before);
    strv_release(&d->ours.names);
    strv_release(&d->transactions);
    db_close(d->observer);
    free(d->seen);
    free(d->seen_meanwhile);
    free(d->session);
    free(d->fenced);
    deploy_url_release(d);
    journal_close(d->journal);
    deploy_lock_free(d->lock);
}

/* What somebody who was killed in the middle of a commit left beside an SQLite database takes a session that may write to
 * be rolled back; those that only read are refused until then. */
static int settle(const struct deploy_options *o, struct err *err)
{
    _cleanup_db_ struct db *db = NULL;
    _cleanup_free_ char *count = NULL;
    if (o->engine != &engine_sqlite)
        return 0;
    return db_open(o->engine, o->url, DB_OPEN_DEFAULT, &db, err) < 0 ||
                   db_query_text(db, "select count(*) from sqlite_schema", NULL, 0, &count, err) < 0
               ? -1
               : 0;
}

/* Lock first, journal second: whoever holds the lock is the only one to write about this database.
 * 1: an unfinished deploy was found. 0: none. */
static int begin(struct deploy *d, struct err *err)
{
    bool found = false;
    char *key = NULL;
    if (dir_make(d->o->dir, 0700, err) < 0)
        return -1;
    int got = deploy_lock_take(d->o->engine, d->o->url, &d->lock, &d->result->holder, err);
    if (got < 0)
        return -1;
    if (got == 0) {
        d->result->outcome = DEPLOY_OUTCOME_LOCKED;
        return 0;
    }
    if (settle(d->o, err) < 0 || journal_open(d->o->dir, &d->journal, err) < 0 ||
        database_key(d, &key, err) < 0)
        return -1;
    d->entry->database = key;
    d->entry->engine = xstrdup(engine_name(d->o->engine));
    d->entry->project = xstrdup(source_dir(d->o->source));
    struct deploy_entry old = {0};
    if (journal_unfinished(d->journal, key, &old, &found, err) < 0)
        return -1;
    if (!found)
        return 0;
    deploy_entry_release(d->entry);
    *d->entry = old;
    return deploy_fence_adopt(d, err) < 0 || journal_adopt(d->journal, d->entry, err) < 0 ? -1 : 1;
}

static int run_new(struct deploy *d, struct err *err)
{
    if (deploy_make_plan(d, err) < 0)
        return -1;
    if (!d->list.n) {
        d->result->outcome = DEPLOY_OUTCOME_NOTHING;
        return 0;
    }
    if (journal_begin(d->journal, d->entry, err) < 0)
        return -1;
    if (prepare(d, err) < 0) {
        _cleanup_err_ struct err ignored = {0}; /* the first error says more */
        deploy_twin_drop(d);
        if (deploy_fence_lift(d, &ignored) == 0)
            journal_move(d->journal, d->entry, DEPLOY_ABORTED, err->message, &ignored);
        else /* `belay recover` has that to do */
            err_hint(err, "%s; %s", ignored.message, ignored.hint ? ignored.hint : "");
        if (d->begun)
            tell_hook(d, "aborted");
        return -1;
    }
    return or_undecided(d, upgrade_and_decide(d, err), err);
}

int deploy_run(const struct deploy_options *o, struct deploy_result *ret, struct err *err)
{
    _cleanup_(deploy_release) struct deploy d = {
        .o = o, .result = ret, .entry = &ret->entry, .url = xstrdup(o->url)};
    int found = begin(&d, err);
    if (found < 0 || ret->outcome == DEPLOY_OUTCOME_LOCKED)
        return found;
    if (found && resume(&d, err) < 0)
        return -1;
    if (found && d.entry->state != DEPLOY_ABORTED)
        return 0;
    return run_new(&d, err);
}

int deploy_recover(const struct deploy_options *o, bool *ret_found, struct deploy_result *ret,
                   struct err *err)
{
    _cleanup_(deploy_release) struct deploy d = {
        .o = o, .result = ret, .entry = &ret->entry, .url = xstrdup(o->url)};
    if (!journal_exists(o->dir)) {
        err_set(err, ERR_USAGE, "there is no journal of deploys in %s", o->dir);
        return err_hint(err, "run it in the folder that the deploy ran in, or name the folder of "
                             "its bundles with --bundles");
    }
    int found = begin(&d, err);
    if (found < 0 || ret->outcome == DEPLOY_OUTCOME_LOCKED)
        return found;
    *ret_found = found > 0;
    return found ? resume(&d, err) : 0;
}

void deploy_result_release(struct deploy_result *r)
{
    deploy_entry_release(&r->entry);
    err_release(&r->failure);
    strv_release(&r->words);
    free(r->holder);
    free(r->exported);
    for (size_t i = 0; i < r->nphases; i++)
        free(r->phases[i].name);
    free(r->phases);
    *r = (struct deploy_result){0};
}
