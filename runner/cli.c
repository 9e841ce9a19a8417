#include "runner/cli.h"

#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "harness/base/cleanup.h"
#include "harness/base/nearest.h"

const char *const report_formats[] = {"text", "json", "junit", NULL};

static const char *const colors[] = {"auto", "always", "never", NULL};
static const char *const engine_names[] = {"sqlite", "postgres", "postgresql", NULL};
static const char *const severities[] = {"error", "warning", "note", NULL};

const struct option_spec option_specs[OPT_COUNT] = {
    [OPT_BASELINE] = {"baseline", 0, "FILE", "SQL file to run before the first revision",
                      OPTION_CONFIG | OPTION_PATH, NULL},
    [OPT_COLOR] = {"color", 0, "WHEN", "colour: auto, always or never", 0, colors},
    [OPT_CONFIG] = {"config", 'c', "FILE", "read FILE instead of the nearest belay.yaml", 0, NULL},
    [OPT_DIR] = {"dir", 'd', "DIR", "the folder of the migrations, or one above it",
                 OPTION_CONFIG | OPTION_PATH, NULL},
    [OPT_ENGINE] = {"engine", 'e', "NAME", "sqlite or postgres", OPTION_CONFIG, engine_names},
    [OPT_FAIL_ON] = {"fail-on", 0, "LEVEL",
                     "exit 1 for findings of this severity on: error, warning or note",
                     OPTION_CONFIG, severities},
    [OPT_FORMAT] = {"format", 'f', "NAME",
                    "of the migrations or of the report; see below (repeatable)",
                    OPTION_CONFIG | OPTION_MANY, NULL},
    [OPT_GIT_BASE] = {"git-base", 0, "REF", "check only revisions added since REF", 0, NULL},
    [OPT_HELP] = {"help", 'h', NULL, "show help", OPTION_SWITCH | OPTION_BARE, NULL},
    [OPT_KEEP_SCRATCH] = {"keep-scratch", 0, NULL,
                          "leave the scratch databases and print their URL", OPTION_SWITCH, NULL},
    [OPT_LATEST] = {"latest", 0, "N", "check only the last N revisions", OPTION_NUMBER, NULL},
    [OPT_MIN_REVISION] = {"min-revision", 0, "REV", "never downgrade below REV", OPTION_CONFIG,
                          NULL},
    [OPT_OUTPUT] = {"output", 'o', "FILE", "write to FILE instead of stdout (repeatable)",
                    OPTION_MANY, NULL},
    [OPT_QUICK] = {"quick", 0, NULL, "the climb only: every revision up, nothing down",
                   OPTION_SWITCH | OPTION_CONFIG, NULL},
    [OPT_QUIET] = {"quiet", 'q', NULL, "only findings and the summary", OPTION_SWITCH, NULL},
    [OPT_SCRATCH_URL] = {"scratch-url", 0, "URL",
                         "make scratch databases on this PostgreSQL server", OPTION_CONFIG, NULL},
    [OPT_SINCE] = {"since", 0, "REV", "check only revisions that REV does not contain", 0, NULL},
    [OPT_URL] = {"url", 'u', "URL", "the project's database", OPTION_CONFIG, NULL},
    [OPT_VERBOSE] = {"verbose", 'v', NULL, "leave nothing out", OPTION_SWITCH, NULL},
    [OPT_VERSION] = {"version", 0, NULL, "show belay's version", OPTION_SWITCH | OPTION_BARE, NULL},
};

#define BIT(option) (UINT64_C(1) << (option))

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

/* "a, b or c" */
static char *list_text(const char *const *values)
{
    struct str s = {0};
    for (size_t i = 0; values[i]; i++)
        str_addf(&s, "%s%s", i == 0 ? "" : values[i + 1] ? ", " : " or ", values[i]);
    return str_take(&s);
}

static bool list_has(const char *const *values, const char *value)
{
    for (; *values; values++)
        if (strcmp(*values, value) == 0)
            return true;
    return false;
}

static int bad_value(const char *origin, const char *value, const char *const *values,
                     unsigned level, struct err *err)
{
    const char *near = nearest(value, values);
    _cleanup_free_ char *list = list_text(values);
    err_set(err, level == 0 ? ERR_CONFIG : ERR_USAGE, "%s: \"%s\" is not one of %s", origin, value,
            list);
    return near ? err_hint(err, "did you mean \"%s\"?", near) : -1;
}

static const char *switch_value(const char *value)
{
    static const char *const on[] = {"yes", "true", "on", "1", NULL};
    static const char *const off[] = {"no", "false", "off", "0", NULL};
    return list_has(on, value) ? "yes" : list_has(off, value) ? "no" : NULL;
}

static int add_one(struct settings *s, unsigned option, unsigned level, const char *value,
                   const char *origin, struct err *err)
{
    const struct option_spec *spec = &option_specs[option];
    enum err_code code = level == 0 ? ERR_CONFIG : ERR_USAGE;
    if (!*value)
        return err_set(err, code, "%s: empty value", origin);
    if (option == OPT_FORMAT && list_has(report_formats, value)) {
        option = OPT_REPORT;
    } else if (option == OPT_FORMAT) {
        /* checked by source_open() */
    } else if (spec->flags & OPTION_SWITCH) {
        const char *word = switch_value(value);
        if (!word)
            return err_set(err, code, "%s: \"%s\" is not yes or no", origin, value);
        value = word;
    } else if (spec->flags & OPTION_NUMBER) {
        char *end;
        long number = strtol(value, &end, 10);
        if (*end || number < 1 || number > 1000000)
            return err_set(err, code, "%s: \"%s\" is not a number from 1 to 1000000", origin,
                           value);
    } else if (spec->values && !list_has(spec->values, value)) {
        return bad_value(origin, value, spec->values, level, err);
    }
    s->v = xgrow(s->v, s->n, &s->cap, sizeof(*s->v));
    s->v[s->n++] = (struct setting){option, level, xstrdup(value), xstrdup(origin)};
    return 0;
}

int settings_add(struct settings *s, unsigned option, unsigned level, const char *value,
                 const char *origin, struct err *err)
{
    if (!(option_specs[option].flags & OPTION_MANY) || level == 2)
        return add_one(s, option, level, value, origin, err);
    for (const char *p = value;;) {
        size_t n = strcspn(p, ",");
        size_t lead = strspn(p, " ");
        lead = lead > n ? n : lead;
        size_t end = n;
        while (end > lead && p[end - 1] == ' ')
            end--;
        _cleanup_free_ char *part = xstrndup(p + lead, end - lead);
        if (add_one(s, option, level, part, origin, err) < 0)
            return -1;
        if (!p[n])
            return 0;
        p += n + 1;
    }
}

static const struct setting *find_setting(const struct settings *s, unsigned option)
{
    for (size_t i = s->n; i-- > 0;)
        if (s->v[i].option == option)
            return &s->v[i];
    return NULL;
}

const char *settings_get(const struct settings *s, unsigned option)
{
    const struct setting *found = find_setting(s, option);
    return found ? found->value : NULL;
}

const char *settings_origin(const struct settings *s, unsigned option)
{
    const struct setting *found = find_setting(s, option);
    return found ? found->origin : NULL;
}

bool settings_on(const struct settings *s, unsigned option)
{
    return str_eq(settings_get(s, option), "yes");
}

int settings_number(const struct settings *s, unsigned option)
{
    const char *value = settings_get(s, option);
    return value ? atoi(value) : 0; /* checked when it was added */
}

const char *settings_next(const struct settings *s, unsigned option, size_t *i)
{
    const struct setting *last = find_setting(s, option);
    for (; *i < s->n; ++*i)
        if (s->v[*i].option == option && s->v[*i].level == last->level)
            return s->v[(*i)++].value;
    return NULL;
}

void settings_release(struct settings *s)
{
    for (size_t i = 0; i < s->n; i++) {
        free(s->v[i].value);
        free(s->v[i].origin);
    }
    free(s->v);
    memset(s, 0, sizeof(*s));
}

/* c NULL: the options that any command takes. */
static bool takes_option(const struct command *c, unsigned option)
{
    return option == OPT_HELP || !c || (c->options & BIT(option));
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

int cli_parse(struct cli *cli, int argc, char **argv, struct err *err)
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
        struct flag f = {.option = -1, .value = optarg};
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
                return unknown_command(argv[i], err);
        } else {
            strv_add(&cli->args, argv[i]);
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
    if (nargs < c->min_args || (c->max_args >= 0 && nargs > c->max_args)) {
        err_set(err, ERR_USAGE, "too %s arguments for \"belay %s\"",
                nargs < c->min_args ? "few" : "many", c->name);
        return err_hint(err, "usage: belay %s %s", c->name, c->args);
    }
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
        if (!(c->options & BIT(o)))
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
