#include "harness/source/alembic.h"

#include <errno.h>
#include <glob.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "harness/base/file.h"

#define PROTOCOL 1
#define DEFAULT_TIMEOUT_S 120

/* ---- answers ---- */

bool alembic_answer_ok(const json_t *answer)
{
    return json_is_true(json_object_get(answer, "ok"));
}

static const char *text_of(const json_t *object, const char *key)
{
    return json_string_value(json_object_get(object, key));
}

/* Files of the project as people see them from where they stand. */
static char *shown_path(const char *path)
{
    _cleanup_free_ char *here = realpath(".", NULL);
    _cleanup_free_ char *real = realpath(path, NULL);
    const char *p = real ? real : path;
    return xstrdup(here && strcmp(here, "/") != 0 ? path_relative(p, here) : p);
}

int alembic_error(const json_t *answer, enum err_code code, struct err *err)
{
    const json_t *e = json_object_get(answer, "error");
    const char *message = text_of(e, "message"), *hint = text_of(e, "hint");
    const char *state = text_of(e, "sqlstate"), *file = text_of(e, "file");
    err_set(err, code, "%s", message ? message : "the project's Python gave no reason");
    if (hint)
        err_hint(err, "%s", hint);
    if (state)
        snprintf(err->sqlstate, sizeof(err->sqlstate), "%s", state);
    err->statement = xstrdup(text_of(e, "statement"));
    if (file) {
        _cleanup_free_ char *shown = shown_path(file);
        err_at(err, shown, (int)json_integer_value(json_object_get(e, "line")),
               (int)json_integer_value(json_object_get(e, "column")));
    }
    err->detail = xstrdup(text_of(e, "detail"));
    err->trace = xstrdup(text_of(e, "traceback"));
    return -1;
}

json_t *alembic_strings(const struct strv *l)
{
    json_t *a = json_array();
    for (size_t i = 0; l && i < l->n; i++)
        json_array_append_new(a, json_string(l->v[i]));
    return a;
}

static void read_strings(const json_t *array, struct strv *ret)
{
    size_t i;
    json_t *value;
    json_array_foreach(array, i, value) strv_add(ret, json_string_value(value));
}

/* ---- workers ---- */

/* A process of that interpreter, or -1 with the reason why it cannot serve. */
static int start_with(struct alembic_source *s, const char *python, struct worker **ret,
                      struct err *err)
{
    _cleanup_(cleanup_worker_free) struct worker *w = NULL;
    _cleanup_json_ json_t *hello = NULL;
    const struct worker_options o = {
        .python = python, .dir = s->run_dir, .timeout_ms = s->timeout_ms};
    if (worker_start(&o, &w, &hello, err) < 0)
        return -1;
    if (!alembic_answer_ok(hello))
        return alembic_error(hello, ERR_ENV, err);
    if (json_integer_value(json_object_get(hello, "protocol")) != PROTOCOL) {
        err_set(err, ERR_ENV, "worker.py is of another version of belay");
        return err_hint(err, "install belay again, or see where BELAY_DATA_DIR points");
    }
    if (!s->base.runtime)
        s->base.runtime = xasprintf("Python %s, Alembic %s, SQLAlchemy %s (%s)",
                                    text_of(hello, "python"), text_of(hello, "alembic"),
                                    text_of(hello, "sqlalchemy"), text_of(hello, "executable"));
    *ret = TAKE_PTR(w);
    return 0;
}

static json_t *load_request(const struct alembic_source *s)
{
    return json_pack("{s:s, s:s, s:s, s:s?, s:o, s:o}", "op", "load", "config", s->config, "dir",
                     s->run_dir, "section", s->section, "x", alembic_strings(&s->x), "url_env",
                     alembic_strings(&s->url_env));
}

static int load(const struct alembic_source *s, struct worker *w, json_t **ret, struct err *err)
{
    _cleanup_json_ json_t *answer = NULL;
    if (worker_call(w, load_request(s), 0, &answer, err) < 0)
        return err_prefix(err, "cannot read the revisions of %s", s->config);
    if (!alembic_answer_ok(answer))
        return alembic_error(answer, ERR_SOURCE, err);
    *ret = TAKE_PTR(answer);
    return 0;
}

int alembic_take_worker(struct alembic_source *s, struct worker **ret, bool *ret_reused,
                        struct err *err)
{
    _cleanup_(cleanup_worker_free) struct worker *w = NULL;
    pthread_mutex_lock(&s->lock);
    for (size_t i = 0; i < ARRAY_LEN(s->idle) && !w; i++)
        if (s->idle[i] && worker_usable(s->idle[i]))
            w = TAKE_PTR(s->idle[i]);
    pthread_mutex_unlock(&s->lock);
    *ret_reused = w != NULL;
    if (!w) {
        _cleanup_json_ json_t *answer = NULL;
        if (start_with(s, s->python, &w, err) < 0 || load(s, w, &answer, err) < 0)
            return -1;
    }
    *ret = TAKE_PTR(w);
    return 0;
}

void alembic_give_back(struct alembic_source *s, struct worker *given)
{
    _cleanup_(cleanup_worker_free) struct worker *w = given;
    pthread_mutex_lock(&s->lock);
    for (size_t i = 0; i < ARRAY_LEN(s->idle) && w && worker_usable(w) && !s->no_reuse; i++)
        if (!s->idle[i])
            s->idle[i] = TAKE_PTR(w);
    pthread_mutex_unlock(&s->lock);
}

int alembic_ask(struct alembic_source *s, json_t *request, json_t **ret, struct err *err)
{
    struct worker *w = NULL;
    bool reused;
    _cleanup_json_ json_t *answer = NULL;
    if (alembic_take_worker(s, &w, &reused, err) < 0) {
        json_decref(request);
        return -1;
    }
    int rc = worker_call(w, request, 0, &answer, err);
    if (rc == 0 && !alembic_answer_ok(answer))
        rc = alembic_error(answer, ERR_SOURCE, err);
    alembic_give_back(s, w);
    if (rc == 0)
        *ret = TAKE_PTR(answer);
    return rc;
}

/* ---- the interpreter ---- */

static void add_candidate(struct strv *l, char *python)
{
    _cleanup_free_ char *p = python;
    if (p && !strv_has(l, p) && (!strchr(p, '/') || file_exists(p)))
        strv_add(l, p);
}

/* The program that the first line of a script names: that of `alembic` on PATH knows Alembic. */
static char *shebang_of(const char *program)
{
    const char *path = getenv("PATH");
    for (const char *p = path ? path : ""; *p;) {
        size_t n = strcspn(p, ":");
        _cleanup_free_ char *dir = xstrndup(p, n), *file = path_join(dir, program);
        p += n + (p[n] == ':');
        _cleanup_fclose_ FILE *f = fopen(file, "re");
        char line[PATH_MAX];
        if (!f || !fgets(line, sizeof(line), f))
            continue;
        if (!str_starts(line, "#!/") || strstr(line, "/env "))
            return NULL;
        return xstrndup(line + 2, strcspn(line + 2, " \n"));
    }
    return NULL;
}

/* .venv and venv of the project: its folder and those above it, up to the repository's. */
static void add_environments(struct strv *l, const char *dir)
{
    _cleanup_free_ char *d = xstrdup(dir);
    for (;;) {
        add_candidate(l, path_join(d, ".venv/bin/python"));
        add_candidate(l, path_join(d, "venv/bin/python"));
        _cleanup_free_ char *git = path_join(d, ".git");
        if (file_exists(git) || dir_exists(git) || strcmp(d, "/") == 0)
            return;
        char *above = path_dir(d);
        free(d);
        d = above;
    }
}

static int choose_python(struct alembic_source *s, const char *asked, struct worker **ret,
                         struct err *err)
{
    _cleanup_strv_ struct strv candidates = {0};
    const char *venv = getenv("VIRTUAL_ENV");
    if (asked) {
        strv_add(&candidates, asked);
    } else {
        if (venv && *venv)
            add_candidate(&candidates, path_join(venv, "bin/python"));
        add_environments(&candidates, s->run_dir);
        add_candidate(&candidates, shebang_of("alembic"));
        add_candidate(&candidates, xstrdup("python3"));
        add_candidate(&candidates, xstrdup("/usr/bin/python3"));
    }
    _cleanup_str_ struct str tried = {0};
    for (size_t i = 0; i < candidates.n; i++) {
        struct err why = {0};
        if (start_with(s, candidates.v[i], ret, &why) == 0) {
            s->python = xstrdup(candidates.v[i]);
            return 0;
        }
        if (why.code == ERR_INTERRUPTED) {
            err_move(err, &why);
            return -1;
        }
        str_addf(&tried, "%s%s: %s", tried.len ? "; " : "", candidates.v[i], why.message);
        err_release(&why);
    }
    err_set(err, ERR_ENV, "no Python interpreter with Alembic found (%s)", str_get(&tried));
    return err_hint(err, asked ? "install Alembic there, or name another with --python"
                               : "activate the project's virtual environment, or name its "
                                 "interpreter with --python");
}

/* ---- the revisions ---- */

static void read_body(const json_t *row, const char *key, struct alembic_body *ret, int *ret_line)
{
    const json_t *f = json_object_get(row, key);
    const char *body = text_of(f, "body");
    *ret = (struct alembic_body){.present = json_is_object(f),
                                 .empty = body && strcmp(body, "empty") == 0};
    *ret_line = (int)json_integer_value(json_object_get(f, "line"));
}

static int add_revision(struct alembic_source *s, const json_t *row, struct alembic_body *up,
                        struct alembic_body *down, struct err *err)
{
    const char *path = text_of(row, "file");
    _cleanup_free_ char *file = shown_path(path ? path : "");
    struct revision *r = graph_add(s->base.graph, text_of(row, "id"), file, err);
    if (!r)
        return -1;
    free(r->title);
    r->title = xstrdup(text_of(row, "title"));
    read_strings(json_object_get(row, "parents"), &r->parents);
    read_strings(json_object_get(row, "depends_on"), &r->depends_on);
    read_strings(json_object_get(row, "labels"), &r->labels);
    read_body(row, "upgrade", up, &r->line);
    read_body(row, "downgrade", down, &r->down_line);
    if (down->present)
        r->down_file = xstrdup(file);
    return 0;
}

static int no_revisions(const struct alembic_source *s, const json_t *answer, struct err *err)
{
    const char *location = text_of(answer, "script_location");
    err_set(err, ERR_CONFIG, "there are no revisions in %s", location ? location : s->config);
    return err_hint(err, "\"alembic revision -m MESSAGE\" writes the first one");
}

static int read_revisions(struct alembic_source *s, const json_t *answer, struct err *err)
{
    const json_t *rows = json_object_get(answer, "revisions");
    size_t n = json_array_size(rows);
    if (!n)
        return no_revisions(s, answer, err);
    struct alembic_body *up = xcalloc(n, sizeof(*up)), *down = xcalloc(n, sizeof(*down));
    struct revision **added = xcalloc(n, sizeof(*added));
    int rc = 0;
    for (size_t i = 0; i < n && rc == 0; i++) {
        const json_t *row = json_array_get(rows, i);
        rc = add_revision(s, row, &up[i], &down[i], err);
        if (rc == 0)
            added[i] = graph_find(s->base.graph, text_of(row, "id"));
    }
    if (rc == 0)
        rc = graph_finish(s->base.graph, err);
    if (rc == 0) {
        s->up = xcalloc(n, sizeof(*s->up));
        s->down = xcalloc(n, sizeof(*s->down));
        for (size_t i = 0; i < n; i++) {
            s->up[added[i]->position] = up[i];
            s->down[added[i]->position] = down[i];
        }
    }
    free(up);
    free(down);
    free(added);
    return rc;
}

static int read_project(struct alembic_source *s, const json_t *answer, struct err *err)
{
    const char *driver = text_of(answer, "driver");
    const json_t *table = json_object_get(answer, "version_table");
    const char *name = json_string_value(json_array_get(table, 0));
    const char *schema = json_string_value(json_array_get(table, 1));
    s->driver = xstrdup(driver);
    if (driver)
        s->base.engine_hint = str_starts(driver, "sqlite") ? &engine_sqlite : &engine_postgres;
    s->version_table =
        xasprintf("%s%s%s", schema ? schema : "", schema ? "." : "", name ? name : "");
    s->base.version_tables[0] = s->version_table;
    return read_revisions(s, answer, err);
}

/* ---- finding the project ---- */

static bool is_pyproject(const char *path)
{
    _cleanup_free_ char *text = NULL;
    _cleanup_err_ struct err ignored = {0};
    return file_exists(path) && file_read(path, &text, NULL, &ignored) == 0 &&
           strstr(text, "[tool.alembic");
}

/* The configuration in a folder; NULL when there is none. The caller owns it. */
static char *config_in(const char *dir)
{
    char *ini = path_join(dir, "alembic.ini");
    if (file_exists(ini))
        return ini;
    free(ini);
    char *toml = path_join(dir, "pyproject.toml");
    if (is_pyproject(toml))
        return toml;
    free(toml);
    return NULL;
}

char *alembic_find_config(const struct source_options *o)
{
    const char *dir = o->dir ? o->dir : ".";
    const char *set = getenv("ALEMBIC_CONFIG");
    if (o->config_file)
        return xstrdup(o->config_file);
    if (set && *set && strcmp(dir, ".") == 0)
        return xstrdup(set);
    char *config = config_in(dir);
    if (config)
        return config;
    /* the folder of the scripts was named */
    _cleanup_free_ char *env = path_join(dir, "env.py"), *real = realpath(dir, NULL);
    if (!file_exists(env) || !real)
        return NULL;
    _cleanup_free_ char *above = path_dir(real);
    return config_in(above);
}

int alembic_find_below(const char *dir, char **ret, struct err *err)
{
    _cleanup_free_ char *pattern = path_join(dir, "*/alembic.ini");
    glob_t found;
    *ret = NULL;
    if (glob(pattern, 0, NULL, &found) != 0)
        return 0;
    if (found.gl_pathc == 1)
        *ret = xstrdup(found.gl_pathv[0]);
    else
        err_set(err, ERR_CONFIG, "several Alembic projects below %s: %s, %s%s", dir,
                found.gl_pathv[0], found.gl_pathv[1], found.gl_pathc > 2 ? ", ..." : "");
    globfree(&found);
    return *ret ? 0 : err_hint(err, "name one of their folders");
}

int alembic_source_open(const struct source_options *o, const char *config, struct source **ret,
                        struct err *err)
{
    struct alembic_source *s = xcalloc(1, sizeof(*s));
    _cleanup_source_ struct source *base = &s->base;
    const char *dir = o->dir ? o->dir : ".";
    pthread_mutex_init(&s->lock, NULL);
    s->base.ops = &alembic_source_ops;
    s->base.format = "alembic";
    s->base.graph = graph_new();
    s->base.dir = xstrdup(dir);
    s->config = realpath(config, NULL);
    if (!s->config) {
        err_set(err, ERR_CONFIG, "cannot read %s: %s", config, strerror(errno));
        return err_hint(err, "-c FILE or ALEMBIC_CONFIG names the configuration of Alembic");
    }
    s->run_dir = realpath(dir, NULL);
    if (!s->run_dir)
        return err_errno(err, "cannot enter %s", dir);
    s->section = xstrdup(o->section);
    s->isolate_steps = o->isolate_steps;
    s->timeout_ms = (o->timeout ? o->timeout : DEFAULT_TIMEOUT_S) * 1000;
    for (size_t i = 0; o->x && i < o->x->n; i++)
        strv_add(&s->x, o->x->v[i]);
    for (size_t i = 0; o->url_env && i < o->url_env->n; i++)
        strv_add(&s->url_env, o->url_env->v[i]);

    _cleanup_(cleanup_worker_free) struct worker *w = NULL;
    _cleanup_json_ json_t *answer = NULL;
    if (choose_python(s, o->python, &w, err) < 0 || load(s, w, &answer, err) < 0 ||
        read_project(s, answer, err) < 0)
        return -1;
    alembic_give_back(s, TAKE_PTR(w));
    *ret = TAKE_PTR(base);
    return 0;
}

void alembic_source_free(struct source *base)
{
    struct alembic_source *s = (struct alembic_source *)base;
    for (size_t i = 0; i < ARRAY_LEN(s->idle); i++)
        worker_free(s->idle[i]);
    pthread_mutex_destroy(&s->lock);
    free(s->config);
    free(s->run_dir);
    free(s->section);
    free(s->python);
    strv_release(&s->x);
    strv_release(&s->url_env);
    free(s->up);
    free(s->down);
    free(s->version_table);
    free(s->driver);
    free(s);
}
