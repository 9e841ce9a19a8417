/* belay init: a belay.yaml that says what was found, and in comments what could be said. */
#include <stdio.h>
#include <string.h>

#include "harness/base/cleanup.h"
#include "harness/base/file.h"
#include "harness/source/source.h"
#include "runner/cli.h"
#include "runner/project.h"

static const char rest[] =
    "\n"
    "# The database of the project. belay check reads its engine from here and never connects to "
    "it.\n"
    "# Passwords belong into the environment: url_env names the variables (DATABASE_URL when left "
    "out).\n"
    "#url_env: [DATABASE_URL]\n"
    "\n"
    "# Where scratch databases are made. Without it belay starts a private PostgreSQL of its own.\n"
    "#scratch_url: postgresql://localhost/postgres\n"
    "\n"
    "# SQL to run first, for a history that starts from existing tables; relative to this file.\n"
    "#baseline: schema.sql\n"
    "\n"
    "# Functions that the project's driver registers with SQLite, as loadable extensions.\n"
    "#sqlite_extensions: [./functions.so]\n"
    "\n"
    "# Findings from this severity on end with exit code 1: error, warning or note.\n"
    "#fail_on: error\n"
    "\n"
    "# Never downgrade below this revision.\n"
    "#min_revision: \"0001\"\n"
    "\n"
    "# Findings that are known and accepted, each with its reason. docs/findings.md lists the "
    "ids.\n"
    "#waivers:\n"
    "#  - finding: irreversible\n"
    "#    revision: \"0002\"\n"
    "#    reason: the old values are gone for good\n"
    "#    expires: 2030-01-31\n"
    "\n"
    "# Objects to leave out of every comparison; * and ? are wildcards.\n"
    "#ignore:\n"
    "#  - object: table public.spatial_ref_sys\n"
    "#    reason: belongs to the extension\n";

/* A YAML scalar in double quotes where it could be read as anything but text. */
static char *yaml_scalar(const char *text)
{
    static const char plain[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./-";
    if (*text && *text != '-' && strspn(text, plain) == strlen(text))
        return xstrdup(text);
    struct str s = {0};
    str_addc(&s, '"');
    for (const char *p = text; *p; p++) {
        if ((unsigned char)*p < 0x20) {
            str_addf(&s, "\\x%02x", (unsigned char)*p);
            continue;
        }
        if (*p == '"' || *p == '\\')
            str_addc(&s, '\\');
        str_addc(&s, *p);
    }
    str_addc(&s, '"');
    return str_take(&s);
}

static void add_line(struct str *s, const char *key, const char *value)
{
    _cleanup_free_ char *scalar = yaml_scalar(value);
    str_addf(s, "%s: %s\n", key, scalar);
}

int cmd_init(struct cli *cli, struct err *err)
{
    const struct settings *set = &cli->settings;
    const char *dir = cli->args.n ? cli->args.v[0] : ".";
    if (!dir_exists(dir))
        return err_set(err, ERR_USAGE, "no folder %s", dir);
    _cleanup_free_ char *path = path_join(dir, "belay.yaml");
    if (file_exists(path)) {
        err_set(err, ERR_USAGE, "%s exists already", path);
        return err_hint(err, "edit it, or remove it first");
    }

    _cleanup_source_ struct source *source = NULL;
    _cleanup_err_ struct err none = {0};
    _cleanup_str_ struct str text = {0};
    str_add(&text, "# belay.yaml: what should last. Flags and BELAY_* variables win over it.\n\n"
                   "# The folder of the migrations, relative to this file, and their format.\n");
    const char *format = settings_get(set, OPT_FORMAT);
    const struct engine *engine = NULL;
    if (settings_engine(set, &engine, err) < 0)
        return -1;
    if (project_open(set, &cli->config, dir, &source, &none) == 0) {
        const char *below = path_relative(source_dir(source), dir);
        add_line(&text, "dir", strcmp(source_dir(source), dir) == 0 ? "." : below);
        add_line(&text, "format", source_format(source));
        engine = engine ? engine : source_engine_hint(source);
    } else if (format) {
        /* a format was asked for, so what is wrong with the folder matters */
        err_move(err, &none);
        return -1;
    } else {
        str_add(&text, "#dir: migrations\n#format: dbmate\n");
    }
    str_add(&text, "\n# sqlite or postgres.\n");
    if (engine)
        add_line(&text, "engine", engine_name(engine));
    else
        str_add(&text, "#engine: postgres\n");
    str_add(&text, rest);
    if (file_replace(path, str_get(&text), text.len, 0644, err) < 0)
        return -1;
    printf("wrote %s", path);
    if (source)
        printf(": %s, %zu revisions in %s", source_format(source), graph_size(source_graph(source)),
               source_dir(source));
    putchar('\n');
    return EXIT_CLEAN;
}
