/*
 * The command line: commands as data, the options of settings.h.
 *
 *     struct cli cli = {0};
 *     cli_parse(&cli, argc, argv, &err);      finds the command, its arguments and flags
 *     cli_load(&cli, &err);                   adds belay.yaml and the environment below the flags
 *     cli.command->run(&cli, &err);
 *     cli_release(&cli);
 */
#ifndef BELAY_CLI_H
#define BELAY_CLI_H

#include <stdbool.h>

#include "harness/base/err.h"
#include "harness/base/str.h"
#include "runner/config.h"
#include "runner/settings.h"

enum exit_code {
    EXIT_CLEAN = 0,
    EXIT_FINDINGS = 1,
    EXIT_USAGE = 2,
    EXIT_ENVIRONMENT = 3, /* nothing was decided; interrupted by a signal too */
    EXIT_ROLLED_BACK = 4,
    EXIT_PERSON = 5,
    EXIT_LOCKED = 6,
};

/* A bit for each enum option_id: there are more than 64. */
typedef unsigned __int128 option_set;
#define OPTION_BIT(option) ((option_set)1 << (option))

struct cli;

struct command {
    const char *name;
    /* Returns an exit code, or -1 with err set. */
    int (*run)(struct cli *cli, struct err *err);
    const char *args;       /* "[DIR]", "A B", "" */
    int min_args, max_args; /* max -1: any number */
    const char *help;       /* one line, no full stop */
    const char *more;       /* paragraphs for `belay help COMMAND`, or NULL */
    option_set options;     /* --help is always taken */
    bool config;            /* reads belay.yaml */
};
extern const struct command commands[]; /* terminated by name NULL */
const struct command *command_find(const char *name);

struct cli {
    const struct command *command; /* NULL: none was named */
    struct settings settings;
    struct strv args;     /* what is neither command nor option */
    size_t after_dashes;  /* how many of them stand after "--" */
    struct config config; /* belay.yaml; config.path NULL when there is none */
};

int cli_parse(struct cli *cli, int argc, char **argv, struct err *err);
int cli_load(struct cli *cli, struct err *err);
void cli_release(struct cli *cli);

/* The texts of `belay help` and `belay help COMMAND`; the caller owns them. */
char *cli_help(void);
char *cli_help_command(const struct command *c);

int exit_code_for(enum err_code code);

/* One function per command. */
int cmd_backup(struct cli *cli, struct err *err);
int cmd_branches(struct cli *cli, struct err *err);
int cmd_bundles(struct cli *cli, struct err *err);
int cmd_check(struct cli *cli, struct err *err);
int cmd_current(struct cli *cli, struct err *err);
int cmd_deploy(struct cli *cli, struct err *err);
int cmd_diff(struct cli *cli, struct err *err);
int cmd_doctor(struct cli *cli, struct err *err);
int cmd_downgrade(struct cli *cli, struct err *err);
int cmd_heads(struct cli *cli, struct err *err);
int cmd_help(struct cli *cli, struct err *err);
int cmd_history(struct cli *cli, struct err *err);
int cmd_init(struct cli *cli, struct err *err);
int cmd_merge(struct cli *cli, struct err *err);
int cmd_recover(struct cli *cli, struct err *err);
int cmd_rehearse(struct cli *cli, struct err *err);
int cmd_restore(struct cli *cli, struct err *err);
int cmd_revision(struct cli *cli, struct err *err);
int cmd_run(struct cli *cli, struct err *err);
int cmd_seed(struct cli *cli, struct err *err);
int cmd_show(struct cli *cli, struct err *err);
int cmd_snapshot(struct cli *cli, struct err *err);
int cmd_sql(struct cli *cli, struct err *err);
int cmd_stamp(struct cli *cli, struct err *err);
int cmd_status(struct cli *cli, struct err *err);
int cmd_upgrade(struct cli *cli, struct err *err);
int cmd_verify(struct cli *cli, struct err *err);
int cmd_version(struct cli *cli, struct err *err);

#endif
