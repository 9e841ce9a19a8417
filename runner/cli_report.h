/*
 * What the commands with reports (check, rehearse, deploy, recover) do alike about them: which formats
 * there are, how they are shown, and the command that gives the same again.
 */
#ifndef BELAY_CLI_REPORT_H
#define BELAY_CLI_REPORT_H

#include "runner/cli.h"
#include "runner/output.h"
#include "runner/report.h"

/* ERR_USAGE for a format that the command does not write: all but check's write text, json, html and markdown. */
int cli_check_formats(const struct cli *cli, const struct outputs *outputs, struct err *err);

/* Options of a report that goes there, as the command line has them; stopped and command are the caller's to add. */
struct report_options cli_report_options(const struct cli *cli, const struct output *to,
                                         int exit_code);

/*
 * The command that gives the same again, from the command line and BELAY_*; belay.yaml belongs to the
 * project. What may hold secrets, or is another on other machines, is left out: --url and --scratch-url, the
 * values of --x-arg and --probe, the password in --from, and a program after "--". engine: that of the
 * scratch database, or NULL.
 */
void cli_reproduce(const struct cli *cli, const char *engine, struct str *out);

#endif
