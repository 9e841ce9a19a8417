#include "runner/cli.h"

#include <ctype.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "harness/base/cleanup.h"
#include "harness/base/file.h"
#include "harness/base/nearest.h"

const struct command *command_find(const char *name)
{
    for (const struct command *c = commands; c->name; c++)
        if (strcmp(c->name, name) == 0)
            return c;
    return NULL;
}

int exit_code_for(enum err_code code)
{
    switch (code) {
    case ERR_NONE:
        return EXIT_CLEAN;
    case ERR_USAGE:
    case ERR_CONFIG:
    case ERR_SOURCE:
        return EXIT_USAGE;
    case ERR_SQL:
    case ERR_CONNECTION:
    case ERR_ENV:
    case ERR_INTERRUPTED:
        break;
    }
    return EXIT_ENVIRONMENT;
}

/* c NULL: the options that any command takes. */
static bool takes_option(const struct command *c, unsigned option)
{
    return option == OPT_HELP || !c || (c->options & OPTION_BIT(option));
}

static int unknown_option(const char *given, const struct command *c, struct err *err)
{
    const char *names[OPT_COUNT + 1];
    size_t n = 0;
    for (unsigned o = 0; o < OPT_COUNT; o++)
        if (takes_option(c, o))
            names[n++] = option_specs[o].name;
    names[n] = NULL;
    _cleanup_free_ char *word = xstrndup(given, strcspn(given, "="));
    err_set(err, ERR_USAGE, "unknown option %s", word);
    const char *near = nearest(word + strspn(word, "-"), names);
    if (near)
        return err_hint(err, "did you mean --%s?", near);
    return c ? err_hint(err, "\"belay help %s\" lists the options", c->name)
             : err_hint(err, "\"belay help\" lists the commands");
}

static int unknown_command(const char *name, struct err *err)
{
    const char *names[64];
    size_t n = 0;
    for (const struct command *c = commands; c->name; c++)
        names[n++] = c->name;
    names[n] = NULL;
    err_set(err, ERR_USAGE, "unknown command \"%s\"", name);
    const char *near = nearest(name, names);
    return near ? err_hint(err, "did you mean \"belay %s\"?", near)
                : err_hint(err, "\"belay help\" lists the commands");
}

/* A flag as it was given, before the command is known. */
struct flag {
    int option;        /* -1: unknown, -2: its argument is missing */
    const char *value; /* of getopt, or NULL */
    char text[64];     /* as it was written, for errors */
};

/* Everything getopt_long needs, from the table. */
static void getopt_tables(struct option *longs, char *shorts)
{
    *shorts++ = ':'; /* tells a missing argument from an unknown option */
    for (unsigned o = 0; o < OPT_COUNT; o++) {
        const struct option_spec *spec = &option_specs[o];
        longs[o] = (struct option){
            .name = spec->name,
            .has_arg = spec->flags & OPTION_SWITCH ? optional_argument : required_argument,
            .val = 256 + (int)o,
        };
        if (spec->letter) {
            *shorts++ = spec->letter;
            if (!(spec->flags & OPTION_SWITCH))
                *shorts++ = ':';
        }
    }
    longs[OPT_COUNT] = (struct option){0};
    *shorts = '\0';
}

static int option_by_letter(int letter)
{
    for (unsigned o = 0; o < OPT_COUNT; o++)
        if (option_specs[o].letter && option_specs[o].letter == letter)
            return (int)o;
    return -1;
}

/* "-1" is a target, not an option: while getopt looks, it begins with this. */
#define TARGET_MARK '\x1f'

static bool is_relative_target(const char *arg)
{
    return arg[0] == '-' && arg[1] && !arg[1 + strspn(arg + 1, "0123456789")];
}

static const char *unmark(const char *arg)
{
    return arg && *arg == TARGET_MARK ? arg + 1 : arg;
}

static int parse_marked(struct cli *cli, int argc, char **argv, struct err *err);

int cli_parse(struct cli *cli, int argc, char **argv, struct err *err)
{
    _cleanup_strv_ struct strv marked = {0};
    _cleanup_free_ char **args = xcalloc((size_t)argc + 1, sizeof(*args)); /* getopt sorts it */
    for (int i = 0; i < argc; i++)
        strv_add_take(&marked, is_relative_target(argv[i]) ? xasprintf("%c%s", TARGET_MARK, argv[i])
                                                           : xstrdup(argv[i]));
    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], "--") == 0) {
            cli->after_dashes = (size_t)(argc - i - 1);
            break;
        }
    memcpy(args, marked.v, (size_t)argc * sizeof(*args));
    return parse_marked(cli, argc, args, err);
}

static int parse_marked(struct cli *cli, int argc, char **argv, struct err *err)
{
    struct option longs[OPT_COUNT + 1];
    char shorts[2 * OPT_COUNT + 2];
    getopt_tables(longs, shorts);

    _cleanup_free_ struct flag *flags = NULL;
    size_t nflags = 0, flags_cap = 0;
    opterr = 0;
    optind = 0; /* glibc: start again, so that tests may parse twice */
    for (;;) {
        int got = getopt_long(argc, argv, shorts, longs, NULL);
        if (got == -1)
            break;
        struct flag f = {.option = -1, .value = unmark(optarg)};
        /* for a letter optopt says which; a long option is the word just read */
        if ((got == '?' || got == ':') && optopt > 0 && optopt < 256)
            snprintf(f.text, sizeof(f.text), "-%c", optopt);
        else
            snprintf(f.text, sizeof(f.text), "%s", argv[optind - 1]);
        if (got >= 256)
            f.option = got - 256;
        else if (got == ':')
            f.option = -2;
        else if (got != '?')
            f.option = option_by_letter(got);
        flags = xgrow(flags, nflags, &flags_cap, sizeof(*flags));
        flags[nflags++] = f;
    }
    for (int i = optind; i < argc; i++) {
        if (i == optind) {
            cli->command = command_find(argv[i]);
            if (!cli->command)
                return unknown_command(unmark(argv[i]), err);
        } else {
            strv_add(&cli->args, unmark(argv[i]));
        }
    }

    for (size_t i = 0; i < nflags; i++) {
        const struct flag *f = &flags[i];
        if (f->option == -1)
            return unknown_option(f->text, cli->command, err);
        if (f->option == -2)
            return err_set(err, ERR_USAGE, "option %s needs an argument", f->text);
        const struct option_spec *spec = &option_specs[f->option];
        if (!takes_option(cli->command, (unsigned)f->option)) {
            err_set(err, ERR_USAGE, "option --%s does not go with \"belay %s\"", spec->name,
                    cli->command->name);
            return err_hint(err, "\"belay help %s\" lists its options", cli->command->name);
        }
        _cleanup_free_ char *origin = xasprintf("--%s", spec->name);
        if (settings_add(&cli->settings, (unsigned)f->option, 2, f->value ? f->value : "yes",
                         origin, err) < 0)
            return -1;
    }
    if (!cli->command || settings_on(&cli->settings, OPT_HELP))
        return 0;
    const struct command *c = cli->command;
    int nargs = (int)cli->args.n;
    if (str_starts(c->args, "[-- ") && cli->args.n > cli->after_dashes) {
        err_set(err, ERR_USAGE, "unexpected argument \"%s\"", cli->args.v[0]);
        return err_hint(err, "a command to run stands after \"--\"; --to names the target");
    }
    if (nargs < c->min_args || (c->max_args >= 0 && nargs > c->max_args)) {
        err_set(err, ERR_USAGE, "too %s arguments for \"belay %s\"",
                nargs < c->min_args ? "few" : "many", c->name);
        return err_hint(err, "usage: belay %s %s", c->name, c->args);
    }
    return 0;
}

/* The folder whose belay.yaml counts: that of the project named on the command line. */
static const char *project_dir(const struct cli *cli)
{
    bool named = cli->args.n && strcmp(cli->command->args, "[DIR]") == 0;
    const char *dir = named ? cli->args.v[0] : ".";
    return dir_exists(dir) ? dir : ".";
}

static int add_config(struct cli *cli, struct settings *to, struct err *err)
{
    _cleanup_free_ char *found = NULL;
    const char *path = settings_get(&cli->settings, OPT_CONFIG);
    const char *from_environment = getenv("BELAY_CONFIG");
    if (!path && from_environment && *from_environment)
        path = from_environment;
    if (!path) {
        config_find(project_dir(cli), &found);
        path = found;
    }
    if (!path)
        return 0;
    if (config_read(path, &cli->config, err) < 0)
        return -1;
    return config_settings(&cli->config, to, err);
}

/* The URL: BELAY_URL, else the variables that url_env names, else DATABASE_URL. */
static int add_url(const struct cli *cli, struct settings *to, struct err *err)
{
    const char *names[2] = {"DATABASE_URL", NULL};
    const char *const *from =
        cli->config.url_env.n ? (const char *const *)cli->config.url_env.v : names;
    size_t n = cli->config.url_env.n ? cli->config.url_env.n : 1;
    for (size_t i = 0; i < n; i++) {
        const char *value = getenv(from[i]);
        if (value && *value)
            return settings_add(to, OPT_URL, 1, value, from[i], err);
    }
    return 0;
}

static int add_environment(const struct cli *cli, struct settings *to, struct err *err)
{
    for (unsigned o = 0; o < OPT_COUNT; o++) {
        const struct option_spec *spec = &option_specs[o];
        if ((spec->flags & OPTION_BARE) || !(cli->command->options & OPTION_BIT(o)))
            continue;
        _cleanup_free_ char *name = xasprintf("BELAY_%s", spec->name);
        for (char *p = name; *p; p++)
            *p = *p == '-' ? '_' : (char)toupper((unsigned char)*p);
        const char *value = getenv(name);
        if (value && *value) {
            if (settings_add(to, o, 1, value, name, err) < 0)
                return -1;
        } else if (o == OPT_URL && add_url(cli, to, err) < 0) {
            return -1;
        }
    }
    return 0;
}

int cli_load(struct cli *cli, struct err *err)
{
    /* flags were read first, because they say which command it is and where belay.yaml lies; they
     * go on top */
    _cleanup_(settings_release) struct settings all = {0};
    if (cli->command->config && add_config(cli, &all, err) < 0)
        return -1;
    if (add_environment(cli, &all, err) < 0)
        return -1;
    for (size_t i = 0; i < cli->settings.n; i++) {
        all.v = xgrow(all.v, all.n, &all.cap, sizeof(*all.v));
        all.v[all.n++] = cli->settings.v[i];
        cli->settings.v[i] = (struct setting){0};
    }
    settings_release(&cli->settings);
    cli->settings = all;
    all = (struct settings){0};
    return 0;
}

void cli_release(struct cli *cli)
{
    settings_release(&cli->settings);
    strv_release(&cli->args);
    config_release(&cli->config);
    memset(cli, 0, sizeof(*cli));
}

char *cli_help(void)
{
    struct str s = {0};
    str_add(&s, "belay makes database migrations safe: it proves on scratch databases that every\n"
                "revision goes up, comes down without a trace, and goes up again.\n"
                "\n"
                "usage: belay COMMAND [ARGUMENTS] [OPTIONS]\n"
                "\n");
    for (const struct command *c = commands; c->name; c++)
        str_addf(&s, "  %-10s %s\n", c->name, c->help);
    str_add(&s,
            "\n"
            "\"belay help COMMAND\" says more. Every option can also be set as BELAY_<OPTION>,\n"
            "and what should last in belay.yaml; the command line wins.\n"
            "\n"
            "exit: 0 clean, 1 findings, 2 usage or configuration, 3 the environment failed\n");
    return str_take(&s);
}

char *cli_help_command(const struct command *c)
{
    struct str s = {0};
    str_addf(&s, "belay %s: %s\n\nusage: belay %s%s%s%s\n", c->name, c->help, c->name,
             *c->args ? " " : "", c->args, c->options ? " [OPTIONS]" : "");
    if (c->options)
        str_add(&s, "\n");
    for (unsigned o = 0; o < OPT_COUNT; o++) {
        const struct option_spec *spec = &option_specs[o];
        if (!(c->options & OPTION_BIT(o)))
            continue;
        char letter[5] = "";
        if (spec->letter)
            snprintf(letter, sizeof(letter), "-%c,", spec->letter);
        _cleanup_free_ char *name =
            xasprintf("--%s%s%s", spec->name, spec->arg ? " " : "", spec->arg ? spec->arg : "");
        str_addf(&s, "  %3s %-20s %s\n", letter, name, spec->help);
    }
    if (c->more)
        str_addf(&s, "\n%s", c->more);
    return str_take(&s);
}
