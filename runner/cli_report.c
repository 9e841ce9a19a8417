#include "runner/cli_report.h"

#include <stdio.h>
#include <string.h>

#include "harness/base/cleanup.h"
#include "harness/engine/engine.h"

int cli_check_formats(const struct cli *cli, const struct outputs *outputs, struct err *err)
{
    static const char *const there[] = {"text", "json", "html", "markdown"};
    for (size_t i = 0; i < outputs->n; i++) {
        bool known = false;
        for (size_t k = 0; k < ARRAY_LEN(there); k++)
            known = known || str_eq(outputs->v[i].format, there[k]);
        if (known)
            continue;
        err_set(err, ERR_USAGE, "belay %s does not write %s", cli->command->name,
                outputs->v[i].format);
        return err_hint(err, "text, json, html and markdown are there");
    }
    return 0;
}

struct report_options cli_report_options(const struct cli *cli, const struct output *to,
                                         int exit_code)
{
    const struct settings *s = &cli->settings;
    return (struct report_options){
        .terminal = to->path ? (struct terminal){.utf8 = true, .width = 80}
                             : terminal_for(stdout, settings_get(s, OPT_COLOR)),
        .verbose = settings_on(s, OPT_VERBOSE),
        .quiet = settings_on(s, OPT_QUIET),
        .fail_on = settings_fail_on(s),
        .exit_code = exit_code,
    };
}

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

static void add_value(struct str *out, const struct setting *v)
{
    if (v->option == OPT_X_ARG || v->option == OPT_PROBE) {
        str_add(out, " ...");
        return;
    }
    _cleanup_free_ char *shown = v->option == OPT_FROM || v->option == OPT_QUERIES_FROM
                                     ? url_redact(v->value)
                                     : xstrdup(v->value);
    add_word(out, shown);
}

void cli_reproduce(const struct cli *cli, const char *engine, struct str *out)
{
    static const unsigned left_out[] = {OPT_COLOR,  OPT_ENGINE,      OPT_OUTPUT, OPT_QUIET,
                                        OPT_REPORT, OPT_SCRATCH_URL, OPT_URL,    OPT_VERBOSE};
    bool program = str_starts(cli->command->args, "[-- "); /* after the dashes, and not belay's */
    str_addf(out, "belay %s", cli->command->name);
    for (size_t i = 0; i < cli->args.n - (program ? cli->after_dashes : 0); i++)
        add_word(out, cli->args.v[i]);
    if (engine)
        str_addf(out, " --engine %s", engine);
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
            add_value(out, v);
    }
}
