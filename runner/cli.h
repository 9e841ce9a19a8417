/*
 * The command line: commands and options as data. One table says everything about an option, and
 * getopt_long, `belay help`, BELAY_<OPTION> and belay.yaml all read it.
 *
 * Settings come from belay.yaml, then DATABASE_URL and BELAY_*, then the command line; the later
 * wins, option by option.
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
#include <stdint.h>

#include "harness/base/err.h"
#include "harness/base/str.h"
#include "runner/config.h"

enum exit_code {
    EXIT_CLEAN = 0,
    EXIT_FINDINGS = 1,
    EXIT_USAGE = 2,
    EXIT_ENVIRONMENT = 3, /* nothing was decided; interrupted by a signal too */
    EXIT_ROLLED_BACK = 4,
    EXIT_PERSON = 5,
    EXIT_LOCKED = 6,
};

enum option_id {
    OPT_BASELINE,
    OPT_COLOR,
    OPT_CONFIG,
    OPT_DIR,
    OPT_ENGINE,
    OPT_FAIL_ON,
    OPT_FORMAT,
    OPT_GIT_BASE,
    OPT_HELP,
    OPT_KEEP_SCRATCH,
    OPT_LATEST,
    OPT_MIN_REVISION,
    OPT_OUTPUT,
    OPT_QUICK,
    OPT_QUIET,
    OPT_SCRATCH_URL,
    OPT_SINCE,
    OPT_URL,
    OPT_VERBOSE,
    OPT_VERSION,
    OPT_COUNT, /* of the rows of the table */
    /* --format takes a report format too; it is kept apart, so that the two kinds do not hide each
       other */
    OPT_REPORT = OPT_COUNT,
};

enum option_flags {
    OPTION_SWITCH = 1, /* takes no argument, or =yes and =no */
    OPTION_CONFIG = 2, /* may stand in belay.yaml, '-' written '_' */
    OPTION_PATH = 4,   /* relative to belay.yaml when it stands there */
    OPTION_NUMBER = 8,
    OPTION_MANY = 16, /* repeatable; in BELAY_* and belay.yaml separated by commas */
    OPTION_BARE = 32, /* about the command line itself: no BELAY_* */
};

struct option_spec {
    const char *name;
    char letter;               /* 0: none */
    const char *arg;           /* "FILE" in the help; NULL for a switch */
    const char *help;          /* one line */
    unsigned flags;            /* enum option_flags */
    const char *const *values; /* what it may be, NULL-terminated; NULL: anything */
};
extern const struct option_spec option_specs[OPT_COUNT];

/* Report formats of --format, NULL-terminated. */
extern const char *const report_formats[];

/* One value given for one option. */
struct setting {
    unsigned option; /* enum option_id */
    unsigned level;  /* 0 belay.yaml, 1 environment, 2 command line */
    char *value;
    char *origin; /* "--fail-on", "BELAY_FAIL_ON", "belay.yaml:3: fail_on", for errors */
};

struct settings {
    struct setting *v; /* levels never decrease */
    size_t n, cap;
};

/* Checks the value against the option's table row; ERR_USAGE, or ERR_CONFIG from belay.yaml. */
int settings_add(struct settings *s, unsigned option, unsigned level, const char *value,
                 const char *origin, struct err *err);
/* The value that wins, or NULL. */
const char *settings_get(const struct settings *s, unsigned option);
bool settings_on(const struct settings *s, unsigned option);
int settings_number(const struct settings *s, unsigned option); /* 0 when not given */
/* Where the winning value comes from, or NULL. */
const char *settings_origin(const struct settings *s, unsigned option);
/* The next value at or after *i of the level that wins, for repeatable options; NULL at the end. */
const char *settings_next(const struct settings *s, unsigned option, size_t *i);
void settings_release(struct settings *s);

struct cli;

struct command {
    const char *name;
    /* Returns an exit code, or -1 with err set. */
    int (*run)(struct cli *cli, struct err *err);
    const char *args;       /* "[DIR]", "A B", "" */
    int min_args, max_args; /* max -1: any number */
    const char *help;       /* one line, no full stop */
    const char *more;       /* paragraphs for `belay help COMMAND`, or NULL */
    uint64_t options;       /* bit per enum option_id; --help is always taken */
    bool config;            /* reads belay.yaml */
};
extern const struct command commands[]; /* terminated by name NULL */
const struct command *command_find(const char *name);

struct cli {
    const struct command *command; /* NULL: none was named */
    struct settings settings;
    struct strv args;     /* what is neither command nor option */
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
int cmd_check(struct cli *cli, struct err *err);
int cmd_diff(struct cli *cli, struct err *err);
int cmd_doctor(struct cli *cli, struct err *err);
int cmd_help(struct cli *cli, struct err *err);
int cmd_init(struct cli *cli, struct err *err);
int cmd_run(struct cli *cli, struct err *err);
int cmd_snapshot(struct cli *cli, struct err *err);
int cmd_version(struct cli *cli, struct err *err);

#endif
