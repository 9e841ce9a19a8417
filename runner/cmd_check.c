#include <stdio.h>
#include <string.h>

#include "harness/base/cleanup.h"
#include "runner/check.h"
#include "runner/checked.h"
#include "runner/cli.h"
#include "runner/output.h"
#include "runner/report.h"

/* For a POSIX shell, as it is where that is harmless. */
static void add_word(struct str *out, const char *word)
{
    str_addc(out, ' ');
    if (*word && strspn(word, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                              "-_./:=@,+%") == strlen(word)) {
        str_add(out, word);
        return;
    }
    str_addc(out, '\'');
    for (const char *p = word; *p; p++) {
        if (*p == '\'')
            str_add(out, "'\\'");
        str_addc(out, *p);
    }
    str_addc(out, '\'');
}

/* The command that gives the same check again, from the command line and BELAY_*; belay.yaml belongs
 * to the project. URLs and what env.py is given may hold secrets, and other machines have others. */
static void reproduce(const struct cli *cli, const struct check_result *r, struct str *out)
{
    static const unsigned left_out[] = {OPT_COLOR,  OPT_ENGINE,      OPT_OUTPUT, OPT_QUIET,
                                        OPT_REPORT, OPT_SCRATCH_URL, OPT_URL,    OPT_VERBOSE};
    str_add(out, "belay check");
    for (size_t i = 0; i < cli->args.n; i++)
        add_word(out, cli->args.v[i]);
    if (r->engine)
        str_addf(out, " --engine %s", r->engine);
    for (size_t i = 0; i < cli->settings.n; i++) {
        const struct setting *v = &cli->settings.v[i];
        bool left = v->level == 0 || !settings_wins(&cli->settings, v);
        for (size_t k = 0; k < ARRAY_LEN(left_out); k++)
            left = left || v->option == left_out[k];
        if (left)
            continue;
        const struct option_spec *spec = &option_specs[v->option];
        str_addf(out, " --%s", spec->name);
        if (spec->flags & OPTION_SWITCH)
            str_add(out, str_eq(v->value, "yes") ? "" : "=no");
        else
            add_word(out, v->option == OPT_X_ARG ? "..." : v->value);
    }
}

/* A check without a verdict is reported too: a pipeline wants its file, and people want to see how
 * far it came. */
static int write_reports(const struct cli *cli, const struct outputs *outputs,
                         const struct check_result *r, const struct err *stopped, int code,
                         struct err *err)
{
    const struct settings *s = &cli->settings;
    _cleanup_str_ struct str command = {0};
    reproduce(cli, r, &command);
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
            .command = str_get(&command),
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
    const char *record = settings_get(&cli->settings, OPT_RECORD);
    if (code == EXIT_CLEAN && record && checked_write(record, &r, err) < 0)
        return -1;
    return rc < 0 ? -1 : code;
}
