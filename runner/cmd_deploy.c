/* belay deploy, recover and status. */
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "backup/deploy.h"
#include "harness/base/cleanup.h"
#include "harness/base/proc.h"
#include "harness/base/clock.h"
#include "runner/check.h"
#include "runner/checked.h"
#include "runner/cli.h"
#include "runner/expectation.h"
#include "runner/interrupt.h"
#include "runner/report.h"
#include "runner/terminal.h"
#include "runner/verbs.h"

static const char default_dir[] = "belay-bundles";

enum { DEFAULT_PROBE_TIMEOUT_MS = 60000, DEFAULT_LOCK_RETRIES = 5 };

static const char *bundles_dir(const struct settings *s)
{
    const char *dir = settings_get(s, OPT_BUNDLES);
    return dir ? dir : default_dir;
}

/* ---- what is printed ---- */

static void show_progress(void *data, const char *phase, const char *what, double fraction)
{
    const struct progress *p = data;
    size_t done = fraction < 0 ? 0 : (size_t)(fraction * 1000), total = fraction < 0 ? 0 : 1000;
    p->step(p->data, done, total, phase, what);
}

static int exit_for(enum deploy_outcome o)
{
    switch (o) {
    case DEPLOY_OUTCOME_NOTHING:
    case DEPLOY_OUTCOME_DONE:
        break;
    case DEPLOY_OUTCOME_RESTORED:
        return EXIT_ROLLED_BACK;
    case DEPLOY_OUTCOME_STUCK:
        return EXIT_PERSON;
    case DEPLOY_OUTCOME_LOCKED:
        return EXIT_LOCKED;
    }
    return EXIT_CLEAN;
}

static const char *outcome_name(enum deploy_outcome o)
{
    static const char *const names[] = {[DEPLOY_OUTCOME_NOTHING] = "nothing",
                                        [DEPLOY_OUTCOME_DONE] = "done",
                                        [DEPLOY_OUTCOME_RESTORED] = "restored",
                                        [DEPLOY_OUTCOME_STUCK] = "stuck",
                                        [DEPLOY_OUTCOME_LOCKED] = "locked"};
    return names[o];
}

static const char *or_base(const char *revisions)
{
    return revisions && *revisions ? revisions : "base";
}

static void print_result(const struct database *d, struct deploy_result *r)
{
    const struct deploy_entry *e = &r->entry;
    bool bad = r->outcome == DEPLOY_OUTCOME_RESTORED || r->outcome == DEPLOY_OUTCOME_STUCK;
    fflush(stdout);
    if (bad) {
        error_print(&r->failure);
        if (r->failure.trace)
            error_print_trace(&r->failure);
    }
    for (size_t i = 0; i < r->words.n; i++) {
        _cleanup_free_ char *text = text_printable(r->words.v[i]);
        fprintf(stderr, "  %s\n", text);
    }
    switch (r->outcome) {
    case DEPLOY_OUTCOME_NOTHING:
        printf("nothing to deploy: %s is at %s\n", d->shown, or_base(e->from));
        break;
    case DEPLOY_OUTCOME_DONE:
        printf("deployed %s: %s -> %s\n", d->shown, or_base(e->from), or_base(e->to));
        break;
    case DEPLOY_OUTCOME_RESTORED:
        printf("%s is back at %s, proved equal to what it was\n", d->shown, or_base(e->from));
        break;
    case DEPLOY_OUTCOME_STUCK:
        printf("%s needs a person: it is neither proved old nor complete\n", d->shown);
        break;
    case DEPLOY_OUTCOME_LOCKED:
        fprintf(stderr, "another deploy of %s holds the lock: %s\n", d->shown, r->holder);
        break;
    }
    if (e->bundle && r->outcome != DEPLOY_OUTCOME_NOTHING)
        printf("bundle: %s\n", e->bundle);
    for (size_t i = 0; i < r->nphases; i++)
        printf("%s%s %.1f s%s", i ? ", " : "", r->phases[i].name, r->phases[i].seconds,
               i + 1 == r->nphases ? "\n" : "");
}

static json_t *entry_json(const struct deploy_entry *e)
{
    json_t *j = json_object();
    json_object_set_new(j, "id", json_integer(e->id));
    json_object_set_new(j, "state", json_string(deploy_state_name(e->state)));
    json_object_set_new(j, "database", report_string(e->database));
    json_object_set_new(j, "from", report_string(e->from));
    json_object_set_new(j, "to", report_string(e->to));
    json_object_set_new(j, "bundle", report_string(e->bundle));
    json_object_set_new(j, "twin", report_string(e->twin));
    json_object_set_new(j, "rung", report_string(e->rung));
    json_object_set_new(j, "evidence", report_string(e->evidence));
    json_object_set_new(j, "message", report_string(e->message));
    json_object_set_new(j, "host", report_string(e->host));
    json_object_set_new(j, "pid", json_integer(e->pid));
    json_object_set_new(j, "started", report_string(e->started));
    json_object_set_new(j, "finished", report_string(e->finished));
    return j;
}

/* outcome: outcome_name(), or "aborted" when there is none. */
static int print_result_json(const struct deploy_result *r, const char *outcome,
                             const struct err *failure, int code, struct err *err)
{
    json_t *j = json_object(), *words = json_array(), *phases = json_object();
    for (size_t i = 0; i < r->words.n; i++)
        json_array_append_new(words, report_string(r->words.v[i]));
    for (size_t i = 0; i < r->nphases; i++)
        json_object_set_new(phases, r->phases[i].name, json_real(r->phases[i].seconds));
    json_object_set_new(j, "outcome", json_string(outcome));
    json_object_set_new(j, "exit_code", json_integer(code));
    json_object_set_new(j, "deploy", entry_json(&r->entry));
    json_object_set_new(j, "failure", report_string(failure->message));
    json_object_set_new(j, "file", report_string(failure->file));
    json_object_set_new(j, "line", failure->line ? json_integer(failure->line) : json_null());
    json_object_set_new(j, "hint", report_string(failure->hint));
    json_object_set_new(j, "details", report_string(failure->trace));
    json_object_set_new(j, "holder", report_string(r->holder));
    json_object_set_new(j, "exported", report_string(r->exported));
    json_object_set_new(j, "words", words);
    json_object_set_new(j, "seconds", phases);
    return verb_print_json("belay-deploy", j, err);
}

/* ---- deploy ---- */

/* What deploy and recover both need. */
struct guarded {
    struct database database;
    struct expectation expected;
    struct strv probes;
    struct progress live;
    struct deploy_options options; /* points into the others */
    struct deploy_result result;
};

static void guarded_release(struct guarded *g)
{
    deploy_result_release(&g->result);
    strv_release(&g->probes);
    expectation_release(&g->expected);
    database_release(&g->database);
}

/* g is zero, and stays where it is. */
static int guarded_init(struct guarded *g, const struct cli *cli, struct err *err)
{
    struct database *d = &g->database;
    struct strv *probes = &g->probes;
    const struct settings *s = &cli->settings;
    if (database_need(cli, d, err) < 0)
        return -1;
    const char *lost = settings_get(s, OPT_LOST_WRITES);
    const struct config *c = &cli->config;
    settings_list(s, OPT_PROBE, probes);
    for (size_t i = 0; !settings_get(s, OPT_PROBE) && i < c->probes.n; i++)
        strv_add(probes, c->probes.v[i]);
    if (probes->n)
        strv_add_take(probes, NULL);
    g->expected =
        (struct expectation){.database = d, .allow_drift = settings_on(s, OPT_ALLOW_DRIFT)};
    g->options = (struct deploy_options){
        .source = d->source,
        .engine = d->engine,
        .url = d->url,
        .dir = bundles_dir(s),
        .to = settings_get(s, OPT_TO),
        .key_file = settings_get(s, OPT_ENCRYPT_TO),
        .jobs = settings_number(s, OPT_JOBS),
        .level = settings_number(s, OPT_LEVEL),
        .drill = settings_on(s, OPT_DRILL),
        .lost_writes = str_eq(lost, "accept")   ? LOST_WRITES_ACCEPT
                       : str_eq(lost, "export") ? LOST_WRITES_EXPORT
                                                : LOST_WRITES_STOP,
        .scratch_url = d->engine == &engine_postgres ? settings_get(s, OPT_SCRATCH_URL) : NULL,
        .expect = expectation_compare,
        .data = &g->expected,
        .deadline_ms = settings_milliseconds(s, OPT_DEADLINE),
        .lock_timeout_ms = settings_milliseconds(s, OPT_LOCK_TIMEOUT),
        .statement_timeout_ms = settings_milliseconds(s, OPT_STATEMENT_TIMEOUT),
        .lock_retries = settings_get(s, OPT_LOCK_RETRIES) ? settings_number(s, OPT_LOCK_RETRIES)
                                                          : DEFAULT_LOCK_RETRIES,
        .twin = settings_on(s, OPT_TWIN),
        .fence = settings_on(s, OPT_FENCE),
        .patience_ms = settings_milliseconds(s, OPT_PATIENCE),
        .probes = probes->n ? (const char *const *)probes->v : NULL,
        .probe_timeout_ms = settings_get(s, OPT_PROBE_TIMEOUT)
                                ? settings_milliseconds(s, OPT_PROBE_TIMEOUT)
                                : DEFAULT_PROBE_TIMEOUT_MS,
        .after = c->after,
        .nafter = c->nafter,
        .admit = settings_get(s, OPT_REQUIRE_CHECK) ? checked_admit : NULL,
        .admit_data = (void *)settings_get(s, OPT_REQUIRE_CHECK),
        .hook_before = c->hooks.before,
        .hook_after = c->hooks.after,
        .hook_on_failure = c->hooks.on_failure,
        .stop = &interrupt_signal,
    };
    g->live = live_progress();
    if (g->live.step && !settings_on(s, OPT_QUIET))
        g->options.progress = (struct deploy_progress){&g->live, show_progress};
    return 0;
}

static char *size_text(uint64_t bytes)
{
    return bytes < 10 << 20 ? xasprintf("%llu kB", (unsigned long long)(bytes + 1023) >> 10)
                            : xasprintf("%llu MB", (unsigned long long)bytes >> 20);
}

static int plan_sql(const struct database *d, const struct deploy_plan *p, char **ret,
                    struct err *err)
{
    struct revisions list = p->list;
    list.complete = false;
    return source_sql(d->source, d->engine, &list, STEP_UP, ret, err);
}

static void print_plan(const struct database *d, const struct deploy_options *o,
                       const struct deploy_plan *p)
{
    printf("database   %s\nat         %s\nto         %s\nbundles    %s\n", d->shown,
           or_base(p->from), or_base(p->to), o->dir);
    for (size_t i = 0; i < p->list.n; i++) {
        const struct revision *r = p->list.v[i];
        _cleanup_free_ char *id = text_printable(r->id), *title = text_printable(r->title);
        printf("%s%s %s%s\n", i ? "           " : "pending    ", id, title,
               r->down_file ? "" : "  (no downgrade)");
    }
    if (!p->list.n) {
        puts("pending    nothing");
        return;
    }
    _cleanup_free_ char *size = size_text(p->bytes), *bundle = size_text(p->bundle_bytes);
    printf("size       %s; bundle: about %s in %.0f s, restored in %.0f s (rough)\n", size, bundle,
           p->bundle_seconds + 0.5, p->restore_seconds + 0.5);
    _cleanup_free_ char *sql = NULL;
    _cleanup_err_ struct err why = {0};
    if (plan_sql(d, p, &sql, &why) < 0)
        printf("SQL        not known without a database: %s\n", why.message);
    else
        printf("SQL\n%s", sql);
}

static int print_plan_json(const struct database *d, const struct deploy_options *o,
                           const struct deploy_plan *p, const struct err *against, struct err *err)
{
    json_t *j = json_object(), *pending = json_array();
    for (size_t i = 0; i < p->list.n; i++)
        json_array_append_new(pending, verb_json(p->list.v[i]));
    _cleanup_free_ char *sql = NULL;
    _cleanup_err_ struct err why = {0};
    plan_sql(d, p, &sql, &why);
    json_object_set_new(j, "database", report_string(d->shown));
    json_object_set_new(j, "from", report_string(p->from));
    json_object_set_new(j, "to", report_string(p->to));
    json_object_set_new(j, "bundles", report_string(o->dir));
    json_object_set_new(j, "pending", pending);
    json_object_set_new(j, "bytes", json_integer((json_int_t)p->bytes));
    json_object_set_new(j, "bundle_bytes", json_integer((json_int_t)p->bundle_bytes));
    json_object_set_new(j, "bundle_seconds", json_real(p->bundle_seconds));
    json_object_set_new(j, "restore_seconds", json_real(p->restore_seconds));
    json_object_set_new(j, "sql", report_string(sql));
    json_object_set_new(j, "against", report_string(against->message));
    json_object_set_new(j, "details", report_string(against->trace));
    return verb_print_json("belay-deploy-plan", j, err);
}

/* What there is to be said against it comes after the plan. */
static int dry_run(const struct database *d, const struct deploy_options *o, struct err *err)
{
    struct deploy_plan plan = {0};
    bool json = false;
    if (verb_wants_json(d->cli, &json, err) < 0)
        return -1;
    int rc = deploy_plan(o, &plan, err);
    live_clear(); /* before the plan is printed */
    if (plan.to && json) {
        _cleanup_err_ struct err lost = {0};
        if (print_plan_json(d, o, &plan, err, &lost) < 0) {
            err_move(err, &lost);
            rc = -1;
        }
    } else if (plan.to) {
        print_plan(d, o, &plan);
    }
    deploy_plan_release(&plan);
    return rc;
}

/* The database or the project does not fit: that is this command's to say, with the differences. */
static int refused(const struct err *err)
{
    error_print(err);
    if (err->trace)
        error_print_trace(err);
    return EXIT_FINDINGS;
}

/* Nothing was changed. A report tells it, too: r is NULL for a dry run, which has another one. */
static int not_begun(const struct cli *cli, const struct deploy_result *r, struct err *err)
{
    int code = err->code == ERR_SOURCE ? EXIT_FINDINGS : exit_code_for(err->code);
    bool json = false;
    _cleanup_err_ struct err ignored = {0}; /* the first error says more */
    if (r && verb_wants_json(cli, &json, &ignored) == 0 && json)
        print_result_json(r, "aborted", err, code, &ignored);
    return err->code == ERR_SOURCE ? refused(err) : -1;
}

/* Waits for a server that is not up yet, and for a lock that somebody else holds. */
static int deploy_waiting(const struct database *d, const struct deploy_options *o,
                          struct deploy_result *ret, struct err *err)
{
    int wait = settings_milliseconds(&d->cli->settings, OPT_WAIT);
    double until = clock_seconds() + wait / 1e3;
    bool told = false;
    for (;;) {
        _cleanup_db_ struct db *db = NULL;
        _cleanup_err_ struct err failed = {0};
        bool answers = d->engine == &engine_sqlite ||
                       db_open(d->engine, d->url, DB_OPEN_DEFAULT, &db, &failed) == 0;
        db_close(TAKE_PTR(db));
        /* one that is fenced off answers nobody: the deploy that did it runs, or was cut off */
        answers = answers || deploy_is_fenced(o);
        bool last = clock_seconds() >= until || interrupted();
        if (answers) {
            deploy_result_release(ret);
            int rc = deploy_run(o, ret, err);
            if (rc < 0 || ret->outcome != DEPLOY_OUTCOME_LOCKED || last)
                return rc;
        } else if (last || failed.code != ERR_ENV) {
            err_move(err, &failed);
            return -1;
        }
        if (!told)
            fprintf(stderr, answers ? "waiting for another deploy\n" : "waiting for the server\n");
        told = true;
        nanosleep(&(struct timespec){.tv_nsec = 250000000}, NULL);
    }
}

/* What the container is for, in this process: signals reach it as they reached belay. */
static int run_command(struct cli *cli, struct err *err)
{
    sigset_t none;
    sigemptyset(&none);
    strv_add_take(&cli->args, NULL);
    for (int s = 1; s < NSIG; s++)
        signal(s, SIG_DFL);
    sigprocmask(SIG_SETMASK, &none, NULL);
    fflush(NULL);
    execvp(cli->args.v[0], cli->args.v);
    err_errno(err, "cannot run %s", cli->args.v[0]);
    err->code = ERR_USAGE;
    return -1;
}

static int finish(struct cli *cli, const struct database *d, struct deploy_result *r,
                  struct err *err)
{
    bool json = false;
    if (verb_wants_json(cli, &json, err) < 0)
        return -1;
    if (json) {
        if (print_result_json(r, outcome_name(r->outcome), &r->failure, exit_for(r->outcome), err) <
            0)
            return -1;
    } else {
        print_result(d, r);
    }
    return exit_for(r->outcome);
}

/* Returns the exit code; what belongs to the deploy is released before a command takes over. */
static int deploy(struct cli *cli, struct err *err)
{
    _cleanup_(guarded_release) struct guarded g = {0};
    if (guarded_init(&g, cli, err) < 0)
        return -1;
    bool dry = settings_on(&cli->settings, OPT_DRY_RUN);
    int rc = dry ? dry_run(&g.database, &g.options, err)
                 : deploy_waiting(&g.database, &g.options, &g.result, err);
    live_clear();
    if (rc < 0)
        return not_begun(cli, dry ? NULL : &g.result, err);
    return dry ? EXIT_CLEAN : finish(cli, &g.database, &g.result, err);
}

/* Found out before the upgrade, not after it. */
static int need_command(const struct cli *cli, struct err *err)
{
    if (!cli->args.n || proc_can_run(cli->args.v[0]))
        return 0;
    err_set(err, ERR_USAGE, "cannot run %s: there is no such program", cli->args.v[0]);
    return err_hint(err, "nothing was deployed; belay looks where a shell would, along PATH");
}

int cmd_deploy(struct cli *cli, struct err *err)
{
    if (need_command(cli, err) < 0)
        return -1;
    int code = deploy(cli, err);
    if (code != EXIT_CLEAN || !cli->args.n || settings_on(&cli->settings, OPT_DRY_RUN))
        return code;
    return run_command(cli, err);
}

int cmd_recover(struct cli *cli, struct err *err)
{
    _cleanup_(guarded_release) struct guarded g = {0};
    bool found = false;
    if (guarded_init(&g, cli, err) < 0)
        return -1;
    int rc = deploy_recover(&g.options, &found, &g.result, err);
    live_clear();
    if (rc < 0)
        return -1;
    if (!found && g.result.outcome != DEPLOY_OUTCOME_LOCKED) {
        printf("nothing to recover: no deploy of %s was cut off\n", g.database.shown);
        return EXIT_CLEAN;
    }
    return finish(cli, &g.database, &g.result, err);
}

/* ---- status ---- */

static void print_entry(struct journal *j, const struct deploy_entry *e, bool verbose)
{
    bool known = false;
    _cleanup_free_ char *database = text_printable(e->database);
    printf("%lld  %s  %-12s  %s  %s -> %s\n", (long long)e->id, e->started,
           deploy_state_name(e->state), database, or_base(e->from), or_base(e->to));
    if (!e->finished) {
        bool alive = deploy_entry_alive(e, &known);
        printf("    %s on %s, process %lld\n",
               !known  ? "belongs to a belay"
               : alive ? "runs"
                       : "was cut off (\"belay recover\" finishes it); it ran",
               e->host, (long long)e->pid);
    }
    const char *const lines[][2] = {
        {"why", e->message},   {"rung", e->rung},
        {"bundle", e->bundle}, {"twin", deploy_state_is_end(e->state) ? NULL : e->twin},
        {"kept", e->evidence}, {"ended", e->finished}};
    for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
        _cleanup_free_ char *text = text_printable(lines[i][1] ? lines[i][1] : "");
        if (*text)
            printf("    %-7s %s\n", lines[i][0], text);
    }
    struct deploy_notes notes = {0};
    _cleanup_err_ struct err ignored = {0}; /* the entry itself was read a moment ago */
    if (verbose && journal_notes(j, e->id, &notes, &ignored) == 0)
        for (size_t i = 0; i < notes.n; i++) {
            _cleanup_free_ char *detail =
                text_printable(notes.v[i].detail ? notes.v[i].detail : "");
            printf("    %s  %s %s\n", notes.v[i].at, notes.v[i].what, detail);
        }
    deploy_notes_release(&notes);
}

int cmd_status(struct cli *cli, struct err *err)
{
    bool json = false;
    const char *dir = bundles_dir(&cli->settings);
    _cleanup_journal_ struct journal *j = NULL;
    _cleanup_(deploy_entries_release) struct deploy_entries list = {0};
    if (verb_wants_json(cli, &json, err) < 0)
        return -1;
    if (journal_exists(dir) &&
        (journal_open(dir, &j, err) < 0 || journal_list(j, NULL, &list, err) < 0))
        return -1;
    if (json) {
        json_t *members = json_object(), *array = json_array();
        for (size_t i = 0; i < list.n; i++)
            json_array_append_new(array, entry_json(&list.v[i]));
        json_object_set_new(members, "deploys", array);
        return verb_print_json("belay-status", members, err) < 0 ? -1 : EXIT_CLEAN;
    }
    if (!list.n)
        printf("no deploys in %s\n", dir);
    for (size_t i = 0; i < list.n; i++)
        print_entry(j, &list.v[i], settings_on(&cli->settings, OPT_VERBOSE));
    return EXIT_CLEAN;
}
