/* belay rehearse */
#include <string.h>

#include "backup/copy.h"
#include "harness/base/cleanup.h"
#include "harness/base/clock.h"
#include "harness/engine/scratch.h"
#include "runner/check.h"
#include "runner/cli_report.h"
#include "runner/interrupt.h"
#include "runner/project.h"
#include "runner/report_rehearsal.h"
#include "runner/transfer.h"

enum { UNCHECKED_SHOWN = 5, SAMPLED_SHOWN = 20 };

/* What a part of the rows cannot show. */
static void tell_sample(const struct copy_result *made, struct strv *limits)
{
    strv_add_take(limits,
                  xasprintf("a sample: %llu of %llu rows. Work on whole tables takes longer "
                            "and needs more room with all of them, indexes more than in "
                            "proportion; findings and budgets were judged by the sample",
                            (unsigned long long)made->copy_rows, (unsigned long long)made->rows));
    strv_add(limits,
             "duplicates, violations and extreme values among the rows left out are not seen");
    for (size_t i = 0; i < made->sampled.n && i < SAMPLED_SHOWN; i++)
        strv_add_take(limits, xasprintf("of %s", made->sampled.v[i]));
    if (made->sampled.n > SAMPLED_SHOWN)
        strv_add_take(limits, xasprintf("and %zu more tables are not whole",
                                        made->sampled.n - SAMPLED_SHOWN));
}

/* What the report says about where the copy is from. */
static void fill_basis(const struct copy_look *look, const struct copy_result *made,
                       struct scratch_pool *pool, int sample, struct rehearsal_basis *basis)
{
    *basis = (struct rehearsal_basis){
        .from = xstrdup(look->from),
        .kind = xstrdup(look->bundle ? "bundle" : "database"),
        .taken = xstrdup(look->taken),
        .server = xstrdup(look->server),
        .copy_server = xstrdup(scratch_pool_describe(pool)),
        .bytes = (int64_t)look->bytes,
        .rows = (int64_t)made->rows,
        .copy_bytes = (int64_t)made->copy_bytes,
        .copy_rows = (int64_t)made->copy_rows,
        .sample = sample,
        .seconds = made->seconds,
    };
    for (size_t i = 0; i < made->read.n; i++)
        strv_add(&basis->read, made->read.v[i]);
    if (made->masked.n) {
        _cleanup_free_ char *masked = strv_join(&made->masked, "; ");
        strv_add_take(&basis->limits,
                      xasprintf("masked, so that revisions met made-up values there: %s", masked));
    }
    if (sample < 100)
        tell_sample(made, &basis->limits);
    for (size_t i = 0; i < made->notes.n; i++)
        strv_add(&basis->limits, made->notes.v[i]);
}

/* What was asked of the application's queries, and which could not be. */
static void tell_queries(struct rehearsal *r)
{
    const struct rehearsal_queries *q = &r->queries;
    if (!q->checked && !q->unchecked.n && !q->unseen)
        return;
    strv_add_take(&r->basis.limits,
                  xasprintf("%zu queries of the running application were prepared at every stop; "
                            "values that constraints or types refuse are not seen that way",
                            q->checked));
    if (q->unseen)
        strv_add_take(&r->basis.limits,
                      xasprintf("%zu queries were not checked: their text is hidden from this role",
                                q->unseen));
    for (size_t i = 0; i < q->unchecked.n && i < UNCHECKED_SHOWN; i++)
        strv_add_take(&r->basis.limits,
                      xasprintf("not checked, being refused before the first revision: %s",
                                q->unchecked.v[i]));
    if (q->unchecked.n > UNCHECKED_SHOWN)
        strv_add_take(&r->basis.limits, xasprintf("and %zu more queries were not checked",
                                                  q->unchecked.n - UNCHECKED_SHOWN));
}

static int make_copy(const struct cli *cli, const struct copy_look *look, struct scratch_pool *pool,
                     const char *const *whole, struct rehearsal_basis *basis, struct scratch **ret,
                     struct err *err)
{
    const struct settings *s = &cli->settings;
    struct transfer transfer;
    struct copy_result made = {0};
    int sample = settings_number(s, OPT_SAMPLE);
    if (transfer_init(&transfer, settings_on(s, OPT_QUIET), err) < 0)
        return -1;
    const struct copy_options o = {
        .from = settings_get(s, OPT_FROM),
        .key_file = settings_get(s, OPT_KEY),
        .jobs = settings_number(s, OPT_JOBS),
        .lock_timeout_ms = settings_milliseconds(s, OPT_LOCK_TIMEOUT),
        .mask = &cli->config.masks,
        .require_masking = settings_on(s, OPT_REQUIRE_MASKING),
        .sample = sample ? sample : 100,
        .seed = (uint64_t)settings_number(s, OPT_SEED),
        .whole = whole,
        .control = transfer_control(&transfer),
    };
    int rc = copy_make(&o, pool, ret, &made, err);
    transfer_end(&transfer);
    if (rc == 0)
        fill_basis(look, &made, pool, o.sample, basis);
    copy_result_release(&made);
    return rc;
}

static int rehearse(struct cli *cli, struct rehearsal *r, struct err *err)
{
    const struct settings *s = &cli->settings;
    const char *from = settings_get(s, OPT_FROM);
    if (!from) {
        err_set(err, ERR_USAGE, "what is to be copied?");
        return err_hint(err, "name a bundle or a database with --from; it is only read");
    }
    _cleanup_source_ struct source *source = NULL;
    if (project_open(s, &cli->config, cli->args.n ? cli->args.v[0] : NULL, &source, err) < 0)
        return -1;
    _cleanup_(copy_look_release) struct copy_look look = {0};
    if (copy_look(from, settings_get(s, OPT_KEY), &look, err) < 0) {
        if (err->code == ERR_USAGE && !strstr(from, "://"))
            err_hint(err, "give the path of a bundle or of an SQLite file that exists, or a URL "
                          "such as postgresql://host/name");
        return err_prefix(err, "--from");
    }
    const struct engine *engine = look.engine;
    if (project_extensions(&cli->config, engine, err) < 0)
        return -1;
    _cleanup_(queries_release) struct queries queries = {0};
    if (rehearsal_gather_queries(cli, engine, &queries, err) < 0)
        return -1;
    struct progress progress = settings_on(s, OPT_QUIET) ? (struct progress){0} : live_progress();
    _cleanup_pool_ struct scratch_pool *pool = NULL;
    const struct scratch_options scratch = {
        .url = engine == &engine_postgres ? settings_get(s, OPT_SCRATCH_URL) : NULL,
        .room = look.bytes * 3, /* the copy, and what its upgrades need besides */
    };
    struct scratch *copy = NULL;
    if (scratch_pool_open(engine, &scratch, &pool, err) < 0 ||
        make_copy(cli, &look, pool, source_version_tables(source), &r->basis, &copy, err) < 0)
        return -1;
    _cleanup_free_ char *today = clock_local_date();
    const struct rehearsal_options o = {
        .check = {.source = source,
                  .engine = engine,
                  .pool = pool,
                  .project = source_dir(source),
                  .waivers = cli->config.waivers,
                  .nwaivers = cli->config.nwaivers,
                  .ignores = cli->config.ignores,
                  .nignores = cli->config.nignores,
                  .rehearsal = true,
                  .today = today,
                  .progress = progress,
                  .stop = &interrupt_signal},
        .copy = copy,
        .to = settings_get(s, OPT_TO),
        .queries = &queries,
        .budgets = {.max_blocked = settings_milliseconds(s, OPT_MAX_BLOCKED) / 1e3,
                    .max_duration = settings_milliseconds(s, OPT_MAX_DURATION) / 1e3,
                    .max_growth = settings_bytes(s, OPT_MAX_GROWTH)},
        .thresholds = {.long_lock = settings_get(s, OPT_LONG_LOCK)
                                        ? settings_milliseconds(s, OPT_LONG_LOCK) / 1e3
                                        : REHEARSAL_LONG_LOCK,
                       .big_table = settings_get(s, OPT_BIG_TABLE)
                                        ? settings_bytes(s, OPT_BIG_TABLE)
                                        : REHEARSAL_BIG_TABLE},
    };
    int rc = rehearsal_run(&o, r, err);
    tell_queries(r);
    return rc;
}

static int write_reports(const struct cli *cli, const struct outputs *outputs,
                         const struct rehearsal *r, const struct err *stopped, int code,
                         struct err *err)
{
    _cleanup_str_ struct str command = {0};
    cli_reproduce(cli, NULL, &command);
    for (size_t i = 0; i < outputs->n; i++) {
        const struct output *to = &outputs->v[i];
        if (!r->from && str_eq(to->format, "text"))
            continue; /* it did not begin: the error says all */
        struct report_options o = cli_report_options(cli, to, code);
        o.stopped = stopped;
        o.command = str_get(&command);
        _cleanup_str_ struct str out = {0};
        report_rehearsal_find(to->format)(r, &o, &out);
        if (output_write(to->path, str_get(&out), err) < 0)
            return -1;
    }
    return 0;
}

int cmd_rehearse(struct cli *cli, struct err *err)
{
    _cleanup_(outputs_release) struct outputs outputs = {0};
    if (outputs_plan(&cli->settings, &outputs, err) < 0 ||
        cli_check_formats(cli, &outputs, err) < 0)
        return -1;
    _cleanup_(rehearsal_release) struct rehearsal r = {0};
    int rc = rehearse(cli, &r, err);
    live_clear();
    int code = rc < 0 ? exit_code_for(err->code)
               : result_worst(&r.check) >= (int)settings_fail_on(&cli->settings) ? EXIT_FINDINGS
                                                                                 : EXIT_CLEAN;
    _cleanup_err_ struct err writing = {0};
    if (write_reports(cli, &outputs, &r, rc < 0 ? err : NULL, code, &writing) < 0 && rc == 0) {
        err_move(err, &writing);
        return -1;
    }
    return rc < 0 ? -1 : code;
}
