#include <stdio.h>
#include <string.h>

#include "harness/base/cleanup.h"
#include "runner/check.h"
#include "runner/checked.h"
#include "runner/cli_report.h"

/* A check without a verdict is reported too: a pipeline wants its file, and people want to see how
 * far it came. */
static int write_reports(const struct cli *cli, const struct outputs *outputs,
                         const struct check_result *r, const struct err *stopped, int code,
                         struct err *err)
{
    _cleanup_str_ struct str command = {0};
    cli_reproduce(cli, r->engine, &command);
    for (size_t i = 0; i < outputs->n; i++) {
        const struct output *to = &outputs->v[i];
        bool text = str_eq(to->format, "text");
        if (text && r->nrevisions == 0)
            continue; /* it did not begin: the error says all */
        struct report_options o = cli_report_options(cli, to, code);
        o.stopped = stopped;
        o.command = str_get(&command);
        _cleanup_str_ struct str out = {0};
        report_find(to->format)(r, &o, &out);
        if (output_write(to->path, str_get(&out), err) < 0)
            return -1;
    }
    return 0;
}

int cmd_check(struct cli *cli, struct err *err)
{
    _cleanup_(outputs_release) struct outputs outputs = {0};
    if (outputs_plan(&cli->settings, &outputs, err) < 0)
        return -1;
    const struct check_request q = {
        .settings = &cli->settings,
        .dir = cli->args.n ? cli->args.v[0] : NULL,
        .config = &cli->config,
        .progress = settings_on(&cli->settings, OPT_QUIET) ? (struct progress){0} : live_progress(),
    };
    _cleanup_(check_result_release) struct check_result r = {0};
    int rc = check_run(&q, &r, err);
    live_clear();

    int code = rc < 0 ? exit_code_for(err->code)
               : result_worst(&r) >= (int)settings_fail_on(&cli->settings) ? EXIT_FINDINGS
                                                                           : EXIT_CLEAN;
    _cleanup_err_ struct err writing = {0};
    if (write_reports(cli, &outputs, &r, rc < 0 ? err : NULL, code, &writing) < 0 && rc == 0) {
        err_move(err, &writing);
        return -1;
    }
    const char *record = settings_get(&cli->settings, OPT_RECORD);
    if (code == EXIT_CLEAN && record && checked_write(record, &r, err) < 0)
        return -1;
    return rc < 0 ? -1 : code;
}
