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
#include "runner/cli_report.h"
#include "runner/expectation.h"
#include "runner/interrupt.h"
#include "runner/report_deploy.h"
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

static struct report_options options_for(const struct cli *cli, const struct output *to, int code,
                                         struct str *command)
{
    struct report_options o = cli_report_options(cli, to, code);
    if (!command->len)
        cli_reproduce(cli, NULL, command);
    o.command = str_get(command);
    return o;
}

/* Where text is read on a terminal, what failed and was done about it goes to stderr. */
static void tell(const struct deploy_report *r)
{
    _cleanup_str_ struct str story = {0};
    if (err_is_set(r->failure)) {
        error_print(r->failure);
        if (r->failure->trace)
            error_print_trace(r->failure);
    }
    report_deploy_story(r, &story);
    fflush(stdout);
    fputs(str_get(&story), stderr);
}

static int write_reports(const struct cli *cli, const struct outputs *outputs,
                         const struct deploy_report *r, int code, struct err *err)
{
    _cleanup_str_ struct str command = {0};
    for (size_t i = 0; i < outputs->n; i++) {
        const struct output *to = &outputs->v[i];
        struct report_options o = options_for(cli, to, code, &command);
        _cleanup_str_ struct str out = {0};
        if (str_eq(to->format, "text") && to->path)
            report_deploy_failure(r, &out);
        else if (str_eq(to->format, "text") && !r->aborted)
            tell(r);
        report_deploy_find(to->format)(r, &o, &out);
        if (output_write(to->path, str_get(&out), err) < 0)
            return -1;
    }
    return 0;
}

/* ---- deploy ---- */

/* What deploy and recover both need. */
struct guarded {
    struct outputs outputs;
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
    outputs_release(&g->outputs);
}

/* g is zero, and stays where it is. */
static int guarded_init(struct guarded *g, const struct cli *cli, struct err *err)
{
    struct database *d = &g->database;
    struct strv *probes = &g->probes;
    const struct settings *s = &cli->settings;
    if (outputs_plan(s, &g->outputs, err) < 0 || cli_check_formats(cli, &g->outputs, err) < 0 ||
        database_need(cli, d, err) < 0)
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

static int write_plan(const struct cli *cli, const struct guarded *g,
                      const struct deploy_plan *plan, const struct err *against, struct err *err)
{
    const struct database *d = &g->database;
    _cleanup_free_ char *sql = NULL;
    _cleanup_err_ struct err why = {0};
    struct revisions list = plan->list;
    list.complete = false;
    if (list.n)
        source_sql(d->source, d->engine, &list, STEP_UP, &sql, &why);
    const struct plan_report r = {
        .database = d->shown,
        .project = source_dir(d->source),
        .engine = d->engine->name,
        .dir = g->options.dir,
        .plan = plan,
        .sql = sql,
        .no_sql = why.message,
        .against = against,
    };
    int code = against->code == ERR_SOURCE ? EXIT_FINDINGS : exit_code_for(against->code);
    _cleanup_str_ struct str command = {0};
    for (size_t i = 0; i < g->outputs.n; i++) {
        const struct output *to = &g->outputs.v[i];
        struct report_options o = options_for(cli, to, code, &command);
        _cleanup_str_ struct str out = {0};
        report_plan_find(to->format)(&r, &o, &out);
        if (output_write(to->path, str_get(&out), err) < 0)
            return -1;
    }
    return 0;
}

/* What there is to be said against it comes after the plan. */
static int dry_run(const struct cli *cli, const struct guarded *g, struct err *err)
{
    struct deploy_plan plan = {0};
    int rc = deploy_plan(&g->options, &plan, err);
    live_clear(); /* before the plan is printed */
    _cleanup_err_ struct err writing = {0};
    if (plan.to && write_plan(cli, g, &plan, err, &writing) < 0 && rc == 0) {
        err_move(err, &writing);
        rc = -1;
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

static struct deploy_report report_of(const struct cli *cli, const struct guarded *g,
                                      const struct err *failure)
{
    return (struct deploy_report){
        .command = cli->command->name,
        .database = g->database.shown,
        .project = source_dir(g->database.source),
        .engine = g->database.engine->name,
        .result = &g->result,
        .failure = failure,
    };
}

/* Nothing was changed. A report tells it, too; a dry run has written its own. */
static int not_begun(const struct cli *cli, const struct guarded *g, struct err *err)
{
    int code = err->code == ERR_SOURCE ? EXIT_FINDINGS : exit_code_for(err->code);
    _cleanup_err_ struct err ignored = {0}; /* the first error says more */
    struct deploy_report r = report_of(cli, g, err);
    r.aborted = true;
    if (!settings_on(&cli->settings, OPT_DRY_RUN))
        write_reports(cli, &g->outputs, &r, code, &ignored);
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

static int finish(const struct cli *cli, const struct guarded *g, bool idle, struct err *err)
{
    struct deploy_report r = report_of(cli, g, &g->result.failure);
    r.idle = idle;
    int code = exit_for(g->result.outcome);
    return write_reports(cli, &g->outputs, &r, code, err) < 0 ? -1 : code;
}

/* Returns the exit code; what belongs to the deploy is released before a command takes over. */
static int deploy(struct cli *cli, struct err *err)
{
    _cleanup_(guarded_release) struct guarded g = {0};
    if (guarded_init(&g, cli, err) < 0)
        return -1;
    bool dry = settings_on(&cli->settings, OPT_DRY_RUN);
    int rc = dry ? dry_run(cli, &g, err) : deploy_waiting(&g.database, &g.options, &g.result, err);
    live_clear();
    if (rc < 0)
        return not_begun(cli, &g, err);
    return dry ? EXIT_CLEAN : finish(cli, &g, false, err);
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
        return not_begun(cli, &g, err);
    return finish(cli, &g, !found && g.result.outcome != DEPLOY_OUTCOME_LOCKED, err);
}

/* ---- status ---- */

static void print_entry(struct journal *j, const struct deploy_entry *e, bool verbose)
{
    bool known = false;
    _cleanup_free_ char *database = text_printable(e->database);
    printf("%lld  %s  %-12s  %s  %s -> %s\n", (long long)e->id, e->started,
           deploy_state_name(e->state), database, report_or_base(e->from), report_or_base(e->to));
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
            json_array_append_new(array, report_entry_json(&list.v[i]));
        json_object_set_new(members, "deploys", array);
        return verb_print_json("belay-status", members, err) < 0 ? -1 : EXIT_CLEAN;
    }
    if (!list.n)
        printf("no deploys in %s\n", dir);
    for (size_t i = 0; i < list.n; i++)
        print_entry(j, &list.v[i], settings_on(&cli->settings, OPT_VERBOSE));
    return EXIT_CLEAN;
}
