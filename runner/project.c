#include "runner/project.h"

#include "harness/base/cleanup.h"
#include "harness/base/file.h"
#include "harness/engine/sqlite_extension.h"

int project_open(const struct settings *s, const struct config *c, const char *dir,
                 struct source **ret, struct err *err)
{
    _cleanup_strv_ struct strv x = {0};
    settings_list(s, OPT_X_ARG, &x);
    const struct engine *engine = NULL;
    _cleanup_free_ char *config_dir = NULL;
    struct command_options command = {0};
    if (c->command) {
        const struct config_command *k = c->command;
        command = (struct command_options){k->list,   k->up,   k->down,           k->current,
                                           k->up_all, k->file, &k->version_tables};
        if (settings_engine(s, &engine, err) < 0)
            return -1;
        if (!engine && c->engines.n) /* any will do to list the revisions */
            engine = engine_by_name(c->engines.v[0]);
        /* commands are written to run where their file is */
        config_dir = path_dir(c->path);
        if (!dir && !settings_get(s, OPT_DIR))
            dir = config_dir;
    }
    const struct source_options o = {
        .dir = settings_dir(s, dir),
        .format = settings_get(s, OPT_FORMAT),
        .config_file = settings_get(s, OPT_ALEMBIC_CONFIG),
        .section = settings_get(s, OPT_SECTION),
        .python = settings_get(s, OPT_PYTHON),
        .x = &x,
        .url_env = &c->url_env,
        .isolate_steps = str_eq(settings_get(s, OPT_ISOLATION), "step"),
        .timeout = settings_number(s, OPT_TIMEOUT),
        .command = c->command ? &command : NULL,
        .engine = engine,
        .scratch_url = settings_get(s, OPT_SCRATCH_URL),
    };
    return source_open(&o, ret, err);
}

int project_extensions(const struct config *c, const struct engine *e, struct err *err)
{
    const struct strv *extensions = &c->sqlite_extensions;
    for (size_t i = 0; e == &engine_sqlite && i < extensions->n; i++)
        if (sqlite_extension_load(extensions->v[i], err) < 0)
            return -1;
    return 0;
}
