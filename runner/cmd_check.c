#include <stdio.h>

#include "harness/base/cleanup.h"
#include "runner/check.h"
#include "runner/cli.h"
#include "runner/output.h"
#include "runner/report.h"

/* A check without a verdict is reported too: a pipeline wants its file, and people want to see how
 * far it came. */
static int write_reports(const struct cli *cli, const struct outputs *outputs,
                         const struct check_result *r, const struct err *stopped, int code,
                         struct err *err)
{
    const struct settings *s = &cli->settings;
    for (size_t i = 0; i < outputs->n; i++) {
        const struct output *to = &outputs->v[i];
        bool text = str_eq(to->format, "text");
        if (text && r->nrevisions == 0)
            continue; /* it did not begin: the error says all */
        struct report_options o = {
            .terminal = to->path ? (struct terminal){.utf8 = true, .width = 80}
                                 : terminal_for(stdout, settings_get(s, OPT_COLOR)),
            .verbose = settings_on(s, OPT_VERBOSE),
            .quiet = settings_on(s, OPT_QUIET),
            .fail_on = settings_fail_on(s),
            .exit_code = code,
            .stopped = stopped,
        };
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
    return rc < 0 ? -1 : code;
}
