/*
 * Migrations that commands of the user's own list, apply and take back. This is the one place where
 * a shell runs: the user wrote shell.
 *
 * What keeps the commands away from other databases is argued in docs/commands.md, section "What is
 * proved"; the pieces are the environment (command_env.c), prove() before the first step, and
 * run_watched() around every command.
 */
#include "harness/source/source_impl.h"

#include <ctype.h>
#include <errno.h>
#include <glob.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "harness/base/clock.h"
#include "harness/base/file.h"
#include "harness/base/nearest.h"
#include "harness/base/proc.h"
#include "harness/engine/scratch.h"
#include "harness/source/command_env.h"

#define DEFAULT_TIMEOUT 120             /* seconds */
#define OUTPUT_LIMIT ((size_t)16 << 20) /* of one command; more is cut at its beginning */
#define SHOWN_LINES 12                  /* of the output of a command that failed */

enum command {
    LIST,
    UP,
    DOWN,
    CURRENT,
    UP_ALL,
    NCOMMANDS,
};

static const char *const command_names[] = {"list", "up", "down", "current", "up_all"};

struct command_source {
    struct source base;
    char *commands[NCOMMANDS]; /* NULL: not given */
    char *file;
    struct strv url_env, version_tables;
    int timeout;           /* seconds */
    struct revision *last; /* while the list is read: the one before */
};

struct command_migrator {
    struct migrator base;
    const struct command_source *source;
    struct command_env *env;
    int cancel_fd;
    bool scratch;     /* proved to be one: there is a witness, and a deadline for each step */
    bool verified[2]; /* by direction: a step was found in `current` */
};

static const struct command_source *self(const struct source *s)
{
    return (const struct command_source *)s;
}

static struct command_migrator *migrator(struct migrator *m)
{
    return (struct command_migrator *)m;
}

/* ---- places ---- */

/* "shop.0002_price" is 0002_price of the app shop; ids without a dot are of no app. */
static size_t app_length(const char *id)
{
    const char *dot = strchr(id, '.');
    return dot ? (size_t)(dot - id) : 0;
}

static const char *name_of(const char *id)
{
    size_t n = app_length(id);
    return n ? id + n + 1 : id;
}

static char *place_revision(const struct graph *g, const struct revision *r)
{
    (void)g;
    return xstrdup(r->id);
}

static char *place_previous(const struct graph *g, const struct revision *r)
{
    return xstrdup(r->position ? graph_at(g, r->position - 1)->id : "");
}

static char *place_app(const struct graph *g, const struct revision *r)
{
    (void)g;
    return xstrndup(r->id, app_length(r->id));
}

static char *place_name(const struct graph *g, const struct revision *r)
{
    (void)g;
    return xstrdup(name_of(r->id));
}

static char *place_previous_in_app(const struct graph *g, const struct revision *r)
{
    size_t n = app_length(r->id);
    for (size_t i = r->position; i-- > 0;) {
        const char *id = graph_at(g, i)->id;
        if (app_length(id) == n && strncmp(id, r->id, n) == 0)
            return xstrdup(name_of(id));
    }
    return xstrdup("zero"); /* Django's word */
}

static const struct place {
    const char *name, *variable;
    char *(*value)(const struct graph *g, const struct revision *r);
} places[] = {
    {"revision", "BELAY_REVISION", place_revision},
    {"previous", "BELAY_PREVIOUS", place_previous},
    {"app", "BELAY_APP", place_app},
    {"name", "BELAY_NAME", place_name},
    {"previous_in_app", "BELAY_PREVIOUS_IN_APP", place_previous_in_app},
};

/* The end of a place that begins at p, "{name}", or NULL. ${name} is the shell's. */
static const char *place_end(const char *text, const char *p)
{
    if (*p != '{' || (p > text && p[-1] == '$'))
        return NULL;
    size_t n = strspn(p + 1, "abcdefghijklmnopqrstuvwxyz_");
    return n && p[1 + n] == '}' ? p + n + 2 : NULL;
}

static const struct place *place_find(const char *p, const char *end)
{
    for (size_t i = 0; i < ARRAY_LEN(places); i++)
        if (strlen(places[i].name) == (size_t)(end - p) - 2 &&
            strncmp(places[i].name, p + 1, (size_t)(end - p) - 2) == 0)
            return &places[i];
    return NULL;
}

/* Ids hold nothing that the shell reads (see is_id()), so nothing needs quotes. */
static char *expand(const char *text, const struct graph *g, const struct revision *r)
{
    struct str s = {0};
    for (const char *p = text; *p;) {
        const char *end = place_end(text, p);
        const struct place *place = end ? place_find(p, end) : NULL;
        if (!place) {
            str_addc(&s, *p++);
            continue;
        }
        _cleanup_free_ char *value = place->value(g, r);
        str_add(&s, value);
        p = end;
    }
    return str_take(&s);
}

/* {revison} is a slip of the pen; what is like no place, as in awk '{print}', is the command's own.
 */
static int check_places(const char *name, const char *text, struct err *err)
{
    const char *names[ARRAY_LEN(places) + 1] = {NULL};
    for (size_t i = 0; i < ARRAY_LEN(places); i++)
        names[i] = places[i].name;
    for (const char *p = text; *p; p++) {
        const char *end = place_end(text, p);
        if (!end || place_find(p, end))
            continue;
        _cleanup_free_ char *word = xstrndup(p + 1, (size_t)(end - p) - 2);
        const char *near = nearest(word, names);
        if (!near)
            continue;
        err_set(err, ERR_CONFIG, "command: %s: there is no place {%s}", name, word);
        return err_hint(err, "did you mean {%s}?", near);
    }
    return 0;
}

/* ---- running ---- */

/* The last lines, without blank ones at the end. The caller owns the result. */
static char *last_lines(const char *text, int lines)
{
    size_t end = strlen(text);
    while (end && isspace((unsigned char)text[end - 1]))
        end--;
    size_t start = end;
    while (start && (text[start - 1] != '\n' || --lines > 0))
        start--;
    return xstrndup(text + start, end - start);
}

/* The line of the output that says most: the last that speaks of an error, else the last. The
 * caller owns it; "" when there is no output. */
static char *telling_line(const char *text)
{
    char *best = NULL;
    for (const char *p = text; *p;) {
        size_t n = strcspn(p, "\n");
        _cleanup_free_ char *line = xstrndup(p, n);
        if (!isspace((unsigned char)*line) &&
            (strcasestr(line, "error") || strcasestr(line, "fatal"))) {
            free(best);
            best = TAKE_PTR(line);
        }
        p += n + (p[n] == '\n');
    }
    return best ? best : last_lines(text, 1);
}

/* What a command says when it fails: stderr, or stdout when that is all there is. */
static const char *complaint(const struct proc_result *r)
{
    const char *errors = str_get(&r->errors);
    return errors[strspn(errors, " \t\r\n")] ? errors : str_get(&r->output);
}

static char *how_it_ended(int status, int timeout)
{
    if (status == PROC_LATE)
        return xasprintf("did not end within %d s", timeout);
    if (status > 128)
        return xasprintf("was ended by signal %d (%s)", status - 128, strsignal(status - 128));
    return xasprintf("ended with status %d", status);
}

static int command_failed(const struct command_source *s, enum command c, const char *text,
                          const struct proc_result *r, enum err_code code, struct err *err)
{
    const char *said = complaint(r);
    _cleanup_free_ char *end = how_it_ended(r->status, s->timeout);
    _cleanup_free_ char *line = telling_line(said);
    err_set(err, code, "the command \"%s\" %s%s%s", command_names[c], end, *line ? ": " : "", line);
    free(err->statement);
    err->statement = xstrdup(text);
    free(err->detail);
    err->detail = strchr(said, '\n') ? last_lines(said, SHOWN_LINES) : NULL;
    if (r->status == 127)
        err_hint(err,
                 "it runs in %s, with the environment that belay was started in less the "
                 "variables that lead to other databases",
                 s->base.dir);
    return -1;
}

/* Runs a command to its end. r: the revision it is about, or NULL. */
static int run(const struct command_source *s, enum command c, const struct command_env *env,
               const struct revision *r, int timeout, const int *cancel_fd, char **ret_text,
               struct proc_result *ret, struct err *err)
{
    const struct strv *base = command_env_variables(env);
    const char **variables = xcalloc(base->n + ARRAY_LEN(places) + 2, sizeof(*variables));
    _cleanup_free_ void *owned_variables = variables;
    _cleanup_strv_ struct strv own = {0};
    _cleanup_free_ char *text =
        r ? expand(s->commands[c], s->base.graph, r) : xstrdup(s->commands[c]);
    size_t n = 0;
    for (; n < base->n; n++)
        variables[n] = base->v[n];
    for (size_t i = 0; r && i < ARRAY_LEN(places); i++) {
        _cleanup_free_ char *value = places[i].value(s->base.graph, r);
        strv_add_take(&own, xasprintf("%s=%s", places[i].variable, value));
        variables[n++] = own.v[i];
    }
    variables[n++] = "NO_COLOR=1"; /* colours would stand in ids and messages */
    const struct proc_options o = {
        .argv = (const char *[]){"/bin/sh", "-e", "-c", text, NULL},
        .env = variables,
        .dir = s->base.dir,
        .timeout_ms = timeout * 1000,
        .late_is_result = true,
        .keep = OUTPUT_LIMIT,
        .cancel_fd = cancel_fd,
    };
    if (proc_run(&o, ret, err) < 0)
        return err->code == ERR_INTERRUPTED ? -1
                                            : err_prefix(err, "command \"%s\"", command_names[c]);
    *ret_text = TAKE_PTR(text);
    return 0;
}

/* Like run(); on a scratch database the command must have opened it. */
static int run_watched(struct command_migrator *m, enum command c, const struct revision *r,
                       char **ret_text, struct proc_result *ret, struct err *err)
{
    const struct command_source *s = m->source;
    int timeout = m->scratch || c == CURRENT || c == LIST ? s->timeout : 0;
    bool opened = true;
    if (m->scratch && command_env_watch(m->env, err) < 0)
        return -1;
    _cleanup_proc_result_ struct proc_result result = {0};
    _cleanup_free_ char *text = NULL;
    if (run(s, c, m->env, r, timeout, &m->cancel_fd, &text, &result, err) < 0) {
        uint64_t count;
        if (err->code == ERR_INTERRUPTED && read(m->cancel_fd, &count, sizeof(count)) < 0)
            return err_errno(err, "cannot read an event");
        return -1;
    }
    if (result.status == 126 || result.status == 127)
        return command_failed(s, c, text, &result, ERR_ENV, err);
    if (m->scratch && command_env_opened(m->env, &opened, err) < 0)
        return -1;
    if (!opened) {
        _cleanup_free_ char *end = how_it_ended(result.status, s->timeout), *line = NULL;
        line = telling_line(complaint(&result));
        err_set(err, ERR_CONFIG,
                "the command \"%s\" did not open the scratch database, so it %s another one; it %s"
                "%s%s",
                command_names[c],
                c == UP || c == DOWN || c == UP_ALL ? "may have changed" : "reads", end,
                *line ? ": " : "", line);
        err->statement = TAKE_PTR(text);
        return err_hint(
            err, "it must take the database from DATABASE_URL, from a variable that url_env "
                 "in belay.yaml names, or from PGHOST, PGDATABASE, ... (BELAY_SQLITE_FILE "
                 "for SQLite); a .env file or a default in the project may come before them");
    }
    *ret_text = TAKE_PTR(text);
    *ret = result;
    memset(&result, 0, sizeof(result));
    return 0;
}

/* ---- lists of revisions ---- */

/* Ids go into shell commands and file names as they are, so they hold nothing that means something
 * there. */
static bool is_id(const char *s, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!isalnum((unsigned char)s[i]) && !strchr("._-+:/@=,%", s[i]) &&
            (unsigned char)s[i] < 0x80)
            return false;
    return n && *s != '-' && memchr(s, '\0', n) == NULL;
}

/*
 * One line of what `list` and `current` print, with an optional mark, as Django writes it:
 *
 *     [X]  shop.0001_initial   Some title
 */
struct listed {
    char *id;
    char *title;
    bool marked, applied;
};

static void listed_release(struct listed *l)
{
    free(l->id);
    free(l->title);
}

/* Returns 1 for a line that names a revision, 0 for a blank one, -1 on failure. */
static int parse_line(const char *line, struct listed *ret)
{
    const char *p = line + strspn(line, " \t\r");
    bool marked = p[0] == '[' && strchr(" xX", p[1]) && p[1] && p[2] == ']';
    bool applied = !marked || p[1] != ' ';
    if (marked)
        p += 3 + strspn(p + 3, " \t");
    if (!*p)
        return marked ? -1 : 0;
    size_t n = strcspn(p, " \t\r");
    if (!is_id(p, n))
        return -1;
    const char *title = p + n + strspn(p + n, " \t\r");
    size_t len = strlen(title);
    while (len && isspace((unsigned char)title[len - 1]))
        len--;
    *ret = (struct listed){xstrndup(p, n), xstrndup(title, len), marked, applied};
    return 1;
}

static int bad_line(enum command c, const char *line, struct err *err)
{
    err_set(err, ERR_SOURCE,
            "the command \"%s\" printed a line that does not begin with an id: "
            "\"%.200s\"",
            command_names[c], line);
    return err_hint(err,
                    "one revision a line: an id of letters, digits and ._-+:/@=,%% and after a "
                    "blank its title; other output must be filtered out, or go to stderr");
}

/* Calls add for every revision that the output names. */
static int parse_output(enum command c, const struct proc_result *r,
                        int (*add)(void *data, const struct listed *l, struct err *err), void *data,
                        struct err *err)
{
    if (r->output.len >= OUTPUT_LIMIT)
        return err_set(err, ERR_SOURCE, "the command \"%s\" printed more than %zu MiB",
                       command_names[c], OUTPUT_LIMIT >> 20);
    for (const char *p = str_get(&r->output); *p;) {
        size_t n = strcspn(p, "\n");
        _cleanup_free_ char *line = xstrndup(p, n);
        _cleanup_(listed_release) struct listed l = {0};
        int found = parse_line(line, &l);
        if (found < 0)
            return bad_line(c, line, err);
        if (found && add(data, &l, err) < 0)
            return -1;
        p += n + (p[n] == '\n');
    }
    return 0;
}

/* ---- the source ---- */

static void command_free(struct source *base)
{
    struct command_source *s = (struct command_source *)base;
    for (size_t i = 0; i < NCOMMANDS; i++)
        free(s->commands[i]);
    free(s->file);
    strv_release(&s->url_env);
    strv_release(&s->version_tables);
    free(s);
}

/* The file that the pattern finds for a revision. The caller owns it; NULL when there is none. */
static char *find_file(const struct command_source *s, const struct graph *g,
                       const struct revision *r)
{
    if (!s->file)
        return NULL;
    _cleanup_free_ char *name = expand(s->file, g, r);
    _cleanup_free_ char *pattern = path_join(s->base.dir, name);
    glob_t found = {0};
    char *file = NULL;
    if (glob(pattern, 0, NULL, &found) == 0 && found.gl_pathc)
        file = xstrdup(found.gl_pathv[0]);
    globfree(&found);
    return file;
}

/* Each needs the one before it. */
static int add_revision(void *data, const struct listed *l, struct err *err)
{
    struct command_source *s = data;
    if (graph_find(s->base.graph, l->id))
        return err_set(err, ERR_SOURCE, "the command \"list\" names %s twice", l->id);
    struct revision *r = graph_add(s->base.graph, l->id, NULL, err);
    if (!r)
        return -1;
    free(r->title);
    r->title = xstrdup(l->title);
    if (s->last)
        strv_add(&r->parents, s->last->id);
    s->last = r;
    return 0;
}

/* Asks `list`, on an empty scratch database: most tools look into one before they answer. */
static int read_list(struct command_source *s, const char *scratch_url_option, struct err *err)
{
    const struct engine *e = s->base.engine_hint;
    _cleanup_pool_ struct scratch_pool *pool = NULL;
    _cleanup_scratch_ struct scratch *scratch = NULL;
    _cleanup_command_env_ struct command_env *env = NULL;
    _cleanup_proc_result_ struct proc_result result = {0};
    _cleanup_free_ char *text = NULL;
    const struct scratch_options o = {.url = e == &engine_postgres ? scratch_url_option : NULL};
    if (scratch_pool_open(e, &o, &pool, err) < 0 || scratch_new(pool, &scratch, err) < 0 ||
        command_env_open(e, scratch_url(scratch), &s->url_env, false, &env, err) < 0 ||
        run(s, LIST, env, NULL, s->timeout, NULL, &text, &result, err) < 0)
        return -1;
    if (result.status != 0)
        return command_failed(s, LIST, text, &result, ERR_SOURCE, err);
    if (parse_output(LIST, &result, add_revision, s, err) < 0)
        return -1;
    if (graph_size(s->base.graph))
        return 0;
    const char *said = complaint(&result);
    _cleanup_free_ char *line = last_lines(said, 1);
    err_set(err, ERR_SOURCE, "the command \"list\" printed no revision%s%s", *line ? ": " : "",
            line);
    return err_hint(err, "it runs in %s", s->base.dir);
}

static void fill_in_files(struct command_source *s)
{
    for (size_t i = 0; i < graph_size(s->base.graph); i++) {
        struct revision *r = graph_at(s->base.graph, i);
        r->file = find_file(s, s->base.graph, r);
        r->down_file = s->commands[DOWN] ? xstrdup(r->file) : NULL;
    }
}

static int check_command(const struct command_source *s, enum command c, struct err *err)
{
    if (!s->commands[c])
        return 0;
    if (check_places(command_names[c], s->commands[c], err) < 0)
        return -1;
    _cleanup_free_ char *url = command_own_url(s->commands[c]);
    if (!url)
        return 0;
    _cleanup_free_ char *shown = url_redact(url);
    err_set(err, ERR_CONFIG, "command: %s: names a database of its own, %s", command_names[c],
            shown);
    return err_hint(err, "take the URL from DATABASE_URL, which leads to the database that belay "
                         "means");
}

static const struct source_ops command_source_ops;

int command_source_open(const struct source_options *o, struct source **ret, struct err *err)
{
    const struct command_options *c = o->command;
    if (!o->engine) {
        err_set(err, ERR_CONFIG, "commands do not show which engine they migrate");
        return err_hint(err, "add \"engine: sqlite\" or \"engine: postgres\" to belay.yaml");
    }
    struct command_source *s = xcalloc(1, sizeof(*s));
    _cleanup_source_ struct source *base = &s->base;
    base->ops = &command_source_ops;
    base->format = "command";
    base->dir = xstrdup(o->dir ? o->dir : ".");
    base->graph = graph_new();
    base->engine_hint = o->engine;
    const char *const commands[NCOMMANDS] = {c->list, c->up, c->down, c->current, c->up_all};
    for (size_t i = 0; i < NCOMMANDS; i++)
        s->commands[i] = xstrdup(commands[i]);
    s->file = xstrdup(c->file);
    s->timeout = o->timeout ? o->timeout : DEFAULT_TIMEOUT;
    for (size_t i = 0; o->url_env && i < o->url_env->n; i++)
        strv_add(&s->url_env, o->url_env->v[i]);
    for (size_t i = 0; c->version_tables && i < c->version_tables->n; i++)
        strv_add(&s->version_tables, c->version_tables->v[i]);
    if (s->version_tables.n > MAX_VERSION_TABLES)
        return err_set(err, ERR_CONFIG, "command: more than %d version_tables", MAX_VERSION_TABLES);
    for (size_t i = 0; i < s->version_tables.n; i++)
        base->version_tables[i] = s->version_tables.v[i];
    for (size_t i = 0; i < NCOMMANDS; i++)
        if (check_command(s, (enum command)i, err) < 0)
            return -1;
    if (s->file && check_places("file", s->file, err) < 0)
        return -1;
    if (!dir_exists(base->dir))
        return err_set(err, ERR_CONFIG, "there is no folder %s for the commands to run in",
                       base->dir);
    if (read_list(s, o->scratch_url, err) < 0 || graph_finish(base->graph, err) < 0)
        return -1;
    fill_in_files(s);
    *ret = TAKE_PTR(base);
    return 0;
}

/* ---- the migrator ---- */

static void command_close(struct migrator *base)
{
    struct command_migrator *m = migrator(base);
    command_env_free(m->env);
    if (m->cancel_fd >= 0)
        close(m->cancel_fd);
    free(m);
}

static struct db *command_db(struct migrator *m)
{
    (void)m;
    return NULL;
}

/* write() to an eventfd is async-signal-safe, and what it says stays until it is read */
static void command_cancel(struct migrator *base)
{
    const uint64_t one = 1;
    if (write(migrator(base)->cancel_fd, &one, sizeof(one)) < 0)
        return; /* it is said already */
}

struct applied {
    const struct graph *graph;
    bool *known; /* by position */
    struct strv unknown;
    bool any_mark;
    size_t n;
};

static void applied_release(struct applied *a)
{
    free(a->known);
    strv_release(&a->unknown);
}

static int add_applied(void *data, const struct listed *l, struct err *err)
{
    struct applied *a = data;
    (void)err;
    a->any_mark = a->any_mark || l->marked;
    if (!l->applied)
        return 0;
    const struct revision *r = graph_find(a->graph, l->id);
    if (r)
        a->known[r->position] = true;
    else
        strv_add(&a->unknown, l->id);
    a->n++;
    return 0;
}

static int read_current(struct command_migrator *m, struct applied *ret, struct err *err)
{
    const struct graph *g = m->source->base.graph;
    enum command c = m->source->commands[CURRENT] ? CURRENT : LIST;
    _cleanup_proc_result_ struct proc_result result = {0};
    _cleanup_free_ char *text = NULL;
    _cleanup_(applied_release) struct applied a = {g, xcalloc(graph_size(g), 1), {0}, false, 0};
    if (run_watched(m, c, NULL, &text, &result, err) < 0)
        return -1;
    if (result.status != 0)
        return command_failed(m->source, c, text, &result, ERR_SOURCE, err);
    if (parse_output(c, &result, add_applied, &a, err) < 0)
        return -1;
    if (c == LIST && !a.any_mark) {
        err_set(err, ERR_CONFIG,
                "command: \"current\" is missing, and \"list\" does not mark what "
                "is applied");
        return err_hint(err, "add \"current\", a command that prints the ids of the revisions that "
                             "are applied");
    }
    *ret = a;
    memset(&a, 0, sizeof(a));
    return 0;
}

static int command_current(struct migrator *base, struct strv *ret, struct err *err)
{
    struct command_migrator *m = migrator(base);
    _cleanup_(applied_release) struct applied a = {0};
    if (read_current(m, &a, err) < 0)
        return -1;
    strv_release(ret);
    for (size_t i = 0; i < graph_size(a.graph); i++)
        if (a.known[i])
            strv_add(ret, graph_at(a.graph, i)->id);
    for (size_t i = 0; i < a.unknown.n; i++)
        strv_add(ret, a.unknown.v[i]);
    return 0;
}

/*
 * Before the first step: `current` must open the scratch database (run_watched() sees to that), and
 * on an empty one it must find nothing applied.
 */
static int prove(struct command_migrator *m, struct err *err)
{
    bool tables = false;
    _cleanup_(applied_release) struct applied a = {0};
    if (command_env_has_tables(m->env, &tables, err) < 0 || read_current(m, &a, err) < 0)
        return -1;
    if (tables || a.n == 0)
        return 0;
    const char *c = command_names[m->source->commands[CURRENT] ? CURRENT : LIST];
    err_set(err, ERR_CONFIG,
            "the command \"%s\" says that %zu revisions are applied to the scratch "
            "database, which is empty",
            c, a.n);
    return err_hint(err, "does it read another database, or print what is pending as well?");
}

static int command_open(const struct source *source, const struct engine *e, const char *url,
                        unsigned db_flags, const struct db_proof *proof, struct migrator **ret,
                        struct err *err)
{
    const struct command_source *s = self(source);
    _cleanup_db_ struct db *db = NULL;
    struct command_migrator *m = xcalloc(1, sizeof(*m));
    _cleanup_(cleanup_migrator_close) struct migrator *base = &m->base;
    base->source = source;
    m->source = s;
    m->scratch = proof;
    m->cancel_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (m->cancel_fd < 0)
        return err_errno(err, "cannot make an event");
    /* the file is made, or the error told, before any command runs */
    if (db_open(e, url, db_flags, &db, err) < 0 || (proof && db_prove(db, proof, err) < 0))
        return -1;
    db_close(TAKE_PTR(db));
    if (command_env_open(e, url, &s->url_env, m->scratch, &m->env, err) < 0 ||
        (m->scratch && prove(m, err) < 0))
        return -1;
    *ret = TAKE_PTR(base);
    return 0;
}

/* A command that ended well must have done what it is for. Once for each direction shows that. */
static int verify(struct command_migrator *m, const struct revision *r,
                  enum step_direction direction, struct err *err)
{
    if (m->verified[direction])
        return 0;
    _cleanup_(applied_release) struct applied a = {0};
    if (read_current(m, &a, err) < 0)
        return -1;
    size_t next = r->position + 1;
    bool more = direction == STEP_UP && next < graph_size(a.graph) && a.known[next];
    if (a.known[r->position] != (direction == STEP_UP) || more) {
        err_set(err, ERR_CONFIG, "the command \"%s\" for %s ended well, but then %s%s is %sapplied",
                command_names[direction == STEP_UP ? UP : DOWN], r->id,
                more ? "the next one, " : "", more ? graph_at(a.graph, next)->id : "it",
                more                     ? "also "
                : direction == STEP_DOWN ? "still "
                                         : "not ");
        return err_hint(err, "it must apply or take back one revision alone: {revision}");
    }
    m->verified[direction] = true;
    return 0;
}

/* Returns -1 when the failure is not the revision's. */
static int judge(const struct command_migrator *m, enum command c, const struct revision *r,
                 const char *text, const struct proc_result *p, struct step_result *ret,
                 struct err *err)
{
    const char *said = complaint(p);
    if (p->status == 0)
        return 0;
    if (strstr(said, "No space left on device") || strstr(said, "database or disk is full"))
        return command_failed(m->source, c, text, p, ERR_ENV, err);
    ret->outcome = c == DOWN && strcasestr(said, "irreversible") ? STEP_IRREVERSIBLE : STEP_FAILED;
    command_failed(m->source, c, text, p, ERR_SOURCE, &ret->err);
    err_at(&ret->err, c == DOWN ? r->down_file : r->file, 0, 0);
    return 0;
}

static int command_step(struct migrator *base, const struct revision *r,
                        enum step_direction direction, bool keep_session, struct step_result *ret,
                        struct err *err)
{
    (void)keep_session; /* each command has a session of its own */
    struct command_migrator *m = migrator(base);
    enum command c = direction == STEP_UP ? UP : DOWN;
    _cleanup_(step_result_release) struct step_result result = {.outcome = STEP_OK};
    _cleanup_proc_result_ struct proc_result p = {0};
    _cleanup_free_ char *text = NULL;
    if (!m->source->commands[c]) {
        result.outcome = STEP_MISSING;
    } else {
        double start = clock_seconds();
        if (run_watched(m, c, r, &text, &p, err) < 0)
            return -1;
        result.seconds = clock_seconds() - start;
        if (judge(m, c, r, text, &p, &result, err) < 0 ||
            (result.outcome == STEP_OK && verify(m, r, direction, err) < 0))
            return -1;
    }
    step_result_release(ret);
    *ret = result;
    memset(&result, 0, sizeof(result));
    return 0;
}

static int straight_by_steps(struct migrator *m, const struct revisions *list, size_t *ret_done,
                             struct step_result *ret, struct err *err)
{
    size_t done = 0;
    for (; done < list->n; done++) {
        if (command_step(m, list->v[done], STEP_UP, true, ret, err) < 0)
            return -1;
        if (ret->outcome != STEP_OK)
            break;
    }
    *ret_done = done;
    return 0;
}

static int command_straight(struct migrator *base, const struct revisions *list, size_t *ret_done,
                            struct step_result *ret, struct err *err)
{
    struct command_migrator *m = migrator(base);
    if (!m->source->commands[UP_ALL] || !list->n)
        return straight_by_steps(base, list, ret_done, ret, err);
    _cleanup_(step_result_release) struct step_result result = {.outcome = STEP_OK};
    _cleanup_proc_result_ struct proc_result p = {0};
    _cleanup_(applied_release) struct applied a = {0};
    _cleanup_free_ char *text = NULL;
    double start = clock_seconds();
    if (run_watched(m, UP_ALL, list->v[list->n - 1], &text, &p, err) < 0)
        return -1;
    result.seconds = clock_seconds() - start;
    if (read_current(m, &a, err) < 0)
        return -1;
    size_t done = 0;
    while (done < list->n && a.known[list->v[done]->position])
        done++;
    if (p.status == 0 && done < list->n) {
        err_set(err, ERR_CONFIG, "the command \"up_all\" ended well, but then %s is not applied",
                list->v[done]->id);
        return -1;
    }
    if (p.status != 0 && done == list->n)
        done--; /* the last one is as good a guess as any */
    if (judge(m, UP_ALL, list->v[done < list->n ? done : 0], text, &p, &result, err) < 0)
        return -1;
    *ret_done = done;
    step_result_release(ret);
    *ret = result;
    memset(&result, 0, sizeof(result));
    return 0;
}

/* ---- what commands cannot do ---- */

static int left_to_the_tool(const char *what, struct err *err)
{
    err_set(err, ERR_USAGE, "belay does not know how these commands %s", what);
    return err_hint(err, "use the project's own tool for it");
}

static int command_stamp(struct migrator *m, const struct revisions *heads, struct err *err)
{
    (void)m;
    (void)heads;
    return left_to_the_tool("mark revisions as applied", err);
}

static int command_sql(const struct source *s, const struct engine *e, const struct revisions *list,
                       enum step_direction direction, char **ret, struct err *err)
{
    (void)s;
    (void)e;
    (void)list;
    (void)direction;
    (void)ret;
    return left_to_the_tool("write SQL", err);
}

static int command_new_revision(const struct source *s, const struct new_revision *n, char **ret_id,
                                struct strv *ret_files, struct err *err)
{
    (void)s;
    (void)n;
    (void)ret_id;
    (void)ret_files;
    return left_to_the_tool("make new revisions", err);
}

static const struct source_ops command_source_ops = {
    .free = command_free,
    .migrator_open = command_open,
    .close = command_close,
    .db = command_db,
    .step = command_step,
    .straight = command_straight,
    .current = command_current,
    .stamp = command_stamp,
    .cancel = command_cancel,
    .sql = command_sql,
    .new_revision = command_new_revision,
};
