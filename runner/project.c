#include "runner/project.h"

int project_open(const struct settings *s, const struct config *c, const char *dir,
                 struct source **ret, struct err *err)
{
    _cleanup_strv_ struct strv x = {0};
    settings_list(s, OPT_X_ARG, &x);
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
    };
    return source_open(&o, ret, err);
}
