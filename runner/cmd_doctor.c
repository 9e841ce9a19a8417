/* belay doctor: what belay finds on this machine and in this folder, and what is missing. */
#include <glob.h>
#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>

#include "harness/base/cleanup.h"
#include "harness/base/file.h"
#include "harness/base/proc.h"
#include "harness/engine/scratch.h"
#include "harness/source/source.h"
#include "runner/cli.h"
#include "runner/project.h"
#include "runner/terminal.h"

#define LABEL_WIDTH 16
#define TMPFS_MAGIC_NUMBER 0x01021994

struct doctor {
    const struct cli *cli;
    struct terminal terminal;
    bool failed; /* something that this project needs is missing */
};

enum health {
    HEALTHY,
    ABSENT, /* not there, and nothing needs it */
    MISSING,
};

static void say(struct doctor *d, enum health health, const char *label, const char *text,
                const char *hint)
{
    static const struct {
        const char *utf8, *ascii;
        enum style style;
    } marks[] = {
        [HEALTHY] = {"✓", "ok  ", STYLE_GREEN},
        [ABSENT] = {"-", "none", STYLE_DIM},
        [MISSING] = {"✗", "FAIL", STYLE_RED},
    };
    const struct terminal *t = &d->terminal;
    _cleanup_str_ struct str s = {0};
    _cleanup_free_ char *clean = text_printable(text);
    style_add(&s, t, marks[health].style, t->utf8 ? marks[health].utf8 : marks[health].ascii);
    str_addc(&s, ' ');
    text_fit(&s, t, label, LABEL_WIDTH, true);
    int indent = (t->utf8 ? 2 : 5) + LABEL_WIDTH + 1;
    str_addc(&s, ' ');
    text_wrap(&s, t, clean, indent, indent);
    if (hint) {
        str_addf(&s, "\n%*s", indent, "");
        text_wrap(&s, t, hint, indent, indent);
    }
    puts(str_get(&s));
    d->failed = d->failed || health == MISSING;
}

/* The first line that a program prints, or NULL when it cannot be run or fails. */
static char *first_line(const char *const *argv)
{
    _cleanup_proc_result_ struct proc_result r = {0};
    _cleanup_err_ struct err err = {0};
    if (proc_run(&(struct proc_options){.argv = argv, .timeout_ms = 10000}, &r, &err) < 0 ||
        r.status != 0)
        return NULL;
    return xstrndup(str_get(&r.output), strcspn(str_get(&r.output), "\n"));
}

static void say_program(struct doctor *d, const char *name, const char *for_what,
                        const char *package)
{
    _cleanup_free_ char *version = first_line((const char *const[]){name, "--version", NULL});
    _cleanup_free_ char *hint = xasprintf("for %s; in Debian's package %s", for_what, package);
    say(d, version ? HEALTHY : ABSENT, name, version ? version : "not found",
        version ? NULL : hint);
}

/* needed: the project is PostgreSQL's, and has no server named for scratch databases. */
static void say_server(struct doctor *d, bool needed)
{
    _cleanup_free_ char *bindir = NULL, *version = NULL;
    _cleanup_err_ struct err err = {0};
    if (postgres_find_server(&bindir, &version, &err) < 0) {
        say(d, needed ? MISSING : ABSENT, "PostgreSQL", err.message,
            "install Debian's package postgresql, or name a server with --scratch-url");
        return;
    }
    _cleanup_free_ char *text = xasprintf("server %s in %s", version, bindir);
    say(d, HEALTHY, "PostgreSQL", text, NULL);
    glob_t others;
    if (glob("/usr/lib/postgresql/*/bin/postgres", 0, NULL, &others) == 0) {
        for (size_t i = 0; i < others.gl_pathc; i++) {
            _cleanup_free_ char *dir = path_dir(others.gl_pathv[i]);
            if (strcmp(dir, bindir) != 0)
                say(d, HEALTHY, "", dir, NULL);
        }
    }
    globfree(&others);
}

static void say_tmpfs(struct doctor *d)
{
    struct statfs kind;
    struct statvfs room;
    bool tmpfs = statfs("/dev/shm", &kind) == 0 && kind.f_type == TMPFS_MAGIC_NUMBER;
    if (!tmpfs || statvfs("/dev/shm", &room) < 0) {
        say(d, ABSENT, "tmpfs", "no tmpfs on /dev/shm: scratch databases go to TMPDIR, more slowly",
            NULL);
        return;
    }
    double free_gb = (double)room.f_bavail * (double)room.f_frsize / 1e9;
    _cleanup_free_ char *text = xasprintf("/dev/shm, %.1f GB free", free_gb);
    say(d, HEALTHY, "tmpfs", text,
        free_gb < 0.2 ? "that is little: containers want --shm-size=1g or more" : NULL);
}

static void say_python(struct doctor *d)
{
    const char *venv = getenv("VIRTUAL_ENV");
    _cleanup_free_ char *in_venv = venv && *venv ? path_join(venv, "bin/python") : NULL;
    const char *const candidates[] = {in_venv, ".venv/bin/python", "venv/bin/python", "python3"};
    size_t found = 0;
    for (size_t i = 0; i < ARRAY_LEN(candidates); i++) {
        const char *python = candidates[i];
        if (!python || (strchr(python, '/') && !file_exists(python)))
            continue;
        static const char script[] =
            "import sys\n"
            "try:\n"
            "    import alembic\n"
            "    found = 'Alembic ' + alembic.__version__\n"
            "except ImportError:\n"
            "    found = 'no Alembic'\n"
            "print('Python', sys.version.split()[0] + ',', found + ',', sys.executable)\n";
        _cleanup_free_ char *line = first_line((const char *const[]){python, "-c", script, NULL});
        if (!line)
            continue;
        say(d, HEALTHY, found++ ? "" : "Python", line, NULL);
    }
    if (!found)
        say(d, ABSENT, "Python", "no interpreter found; only Alembic projects need one", NULL);
}

static void say_project(struct doctor *d, const struct engine **ret_engine)
{
    const struct settings *s = &d->cli->settings;
    _cleanup_source_ struct source *source = NULL;
    _cleanup_err_ struct err err = {0};
    const char *dir = d->cli->args.n ? d->cli->args.v[0] : NULL;
    if (project_open(s, &d->cli->config, dir, &source, &err) < 0) {
        say(d, err.code == ERR_ENV ? MISSING : ABSENT, "migrations", err.message, err.hint);
        return;
    }
    if (!*ret_engine)
        *ret_engine = source_engine_hint(source);
    size_t n = graph_size(source_graph(source));
    _cleanup_free_ char *text =
        xasprintf("%s, %zu revision%s in %s, %s", source_format(source), n, n == 1 ? "" : "s",
                  source_dir(source),
                  *ret_engine ? engine_name(*ret_engine) : "engine unknown: say it with --engine");
    say(d, HEALTHY, "migrations", text, NULL);
    if (source_runtime(source))
        say(d, HEALTHY, "", source_runtime(source), NULL);
}

static void say_formats(struct doctor *d)
{
    _cleanup_str_ struct str s = {0};
    for (size_t i = 0; source_formats[i]; i++)
        str_addf(&s, "%s%s", i ? ", " : "", source_formats[i]);
    say(d, HEALTHY, "formats", str_get(&s), NULL);
}

/* The project's own database is named and not touched. */
static void say_url(struct doctor *d)
{
    const char *url = settings_get(&d->cli->settings, OPT_URL);
    if (!url) {
        say(d, ABSENT, "database URL", "none set; belay check needs none", NULL);
        return;
    }
    _cleanup_free_ char *shown = url_redact(url);
    _cleanup_free_ char *text =
        xasprintf("%s (from %s)", shown, settings_origin(&d->cli->settings, OPT_URL));
    say(d, HEALTHY, "database URL", text, NULL);
}

static void say_scratch(struct doctor *d)
{
    const char *url = settings_get(&d->cli->settings, OPT_SCRATCH_URL);
    if (!url) {
        say(d, ABSENT, "scratch server", "none named; belay starts its own", NULL);
        return;
    }
    _cleanup_free_ char *shown = url_redact(url);
    _cleanup_err_ struct err err = {0};
    _cleanup_db_ struct db *db = NULL;
    if (db_open(&engine_postgres, url, DB_OPEN_READONLY, &db, &err) < 0) {
        _cleanup_free_ char *text = xasprintf("%s: %s", shown, err.message);
        say(d, MISSING, "scratch server", text, err.hint);
        return;
    }
    _cleanup_free_ char *may = NULL;
    if (db_query_text(db,
                      "select rolcreatedb or rolsuper from pg_catalog.pg_roles"
                      " where rolname = current_user",
                      NULL, 0, &may, &err) < 0) {
        say(d, MISSING, "scratch server", err.message, err.hint);
        return;
    }
    bool ok = str_eq(may, "t");
    _cleanup_free_ char *text =
        xasprintf("%s, PostgreSQL %d.%d%s", shown, db_version(db) / 10000, db_version(db) % 10000,
                  ok ? "" : ": the role may not create databases");
    say(d, ok ? HEALTHY : MISSING, "scratch server", text,
        ok ? NULL : "ALTER ROLE ... CREATEDB is enough");
}

int cmd_doctor(struct cli *cli, struct err *err)
{
    struct doctor d = {
        .cli = cli,
        .terminal = terminal_for(stdout, settings_get(&cli->settings, OPT_COLOR)),
    };
    const struct engine *engine = NULL;
    if (settings_engine(&cli->settings, &engine, err) < 0)
        return -1;

    say(&d, cli->config.path ? HEALTHY : ABSENT, "belay.yaml",
        cli->config.path ? cli->config.path : "none here or above", NULL);
    say_project(&d, &engine);
    say_formats(&d);
    say_url(&d);
    putchar('\n');
    say_server(&d, engine == &engine_postgres && !settings_get(&cli->settings, OPT_SCRATCH_URL));
    say_scratch(&d);
    say_program(&d, "psql", "looking into kept scratch databases", "postgresql-client");
    say_program(&d, "pg_dump", "backups of PostgreSQL", "postgresql-client");
    say_tmpfs(&d);
    putchar('\n');
    say_program(&d, "git", "--git-base", "git");
    say_python(&d);
    if (d.failed)
        puts("\nsomething that this project needs is missing");
    return d.failed ? EXIT_ENVIRONMENT : EXIT_CLEAN;
}
