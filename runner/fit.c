#include "runner/fit.h"

#include <stdlib.h>
#include <string.h>

#include "harness/schema/diff.h"
#include "runner/interrupt.h"
#include "runner/line.h"
#include "runner/report.h"

#define DIFFERENCES_KEPT 10
#define PLACES_SHOWN 3
#define DIFFERENCES_SHOWN 5

/* ---- one comparison ---- */

bool fit_is_servers_own(const struct change *c)
{
    static const char *const kinds[] = {
        "database", "default privileges", "membership", "parameter",
        "role",     "role in database",   "tablespace", "security label"};
    const struct object *o = c->before ? c->before : c->after;
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
        if (strcmp(o->kind, kinds[i]) == 0)
            return true;
    return c->property &&
           (strcmp(c->property, "owner") == 0 || str_starts(c->property, "grant to ") ||
            (strcmp(o->kind, "extension") == 0 && strcmp(c->property, "version") == 0));
}

/* expected: of the revision; found: of the database. */
static void compare(const struct snapshot *expected, const struct snapshot *found, struct place *p)
{
    _cleanup_diff_ struct diff d = {0};
    diff_snapshots(expected, found, &d);
    size_t n = 0;
    for (size_t i = 0; i < d.n; i++) {
        if (fit_is_servers_own(&d.changes[i]))
            continue;
        d.changes[n++] = d.changes[i];
        bool real = d.changes[i].class == CHANGE_REAL;
        p->nreal += real;
        p->nminor += !real;
    }
    d.n = n;
    _cleanup_diff_lines_ struct diff_lines lines = {0};
    diff_lines(&d, &lines);
    for (size_t i = 0; i < lines.n && i < DIFFERENCES_KEPT; i++)
        strv_add_take(&p->differences, diff_line_text(&lines.v[i], false));
}

/* The first n of the list are applied. */
static void add_place(struct fit *f, const struct graph *g, const struct revisions *list, size_t n,
                      const struct snapshot *expected, const struct snapshot *found)
{
    f->places = xgrow(f->places, f->n, &f->cap, sizeof(*f->places));
    struct place *p = &f->places[f->n++];
    const struct revisions applied = {.v = list->v, .n = n};
    *p = (struct place){.napplied = n};
    graph_last(g, &applied, &p->heads);
    compare(expected, found, p);
}

static int compare_places(const void *x, const void *y)
{
    const struct place *a = x, *b = y;
    if (a->nreal != b->nreal)
        return a->nreal < b->nreal ? -1 : 1;
    if (a->nminor != b->nminor)
        return a->nminor < b->nminor ? -1 : 1;
    return a->napplied < b->napplied ? -1 : a->napplied > b->napplied;
}

static void rank(struct fit *f)
{
    f->nbest = 0;
    if (f->n)
        qsort(f->places, f->n, sizeof(*f->places), compare_places);
    while (f->nbest < f->n && f->places[f->nbest].nreal == 0 &&
           f->places[f->nbest].nminor == f->places[0].nminor)
        f->nbest++;
}

/* ---- the way up ---- */

/* Up the list; with each the schema is compared after every revision, else after the last. */
static int climb(struct line_env *env, const struct revisions *list, bool each,
                 const struct snapshot *schema, struct progress progress, struct fit *f,
                 struct err *err)
{
    _cleanup_line_ struct line *l = NULL;
    _cleanup_snapshot_ struct snapshot *s = NULL;
    if (line_new(env, &l, err) < 0)
        return -1;
    for (size_t i = 0;; i++) {
        if (each || i == list->n) {
            snapshot_free(TAKE_PTR(s));
            if (line_read(l, i == list->n, &s, err) < 0)
                return -1;
            add_place(f, source_graph(env->source), list, i, s, schema);
        }
        if (i == list->n)
            return 0;
        if (progress.step)
            progress.step(progress.data, i, list->n, "comparing", list->v[i]->id);
        struct step_result r = {0};
        if (line_step(l, list->v[i], STEP_UP, &r, err) < 0) {
            step_result_release(&r);
            return -1;
        }
        bool failed = r.outcome == STEP_FAILED;
        if (failed) {
            f->at = list->v[i];
            err_move(&f->stopped, &r.err);
        }
        step_result_release(&r);
        if (failed)
            return 0;
    }
}

/* The revision and what it needs are not the first revisions of the order: another place. */
static bool is_aside(const struct graph *g, struct revision *r, struct revisions *ret)
{
    const struct revisions nothing = {0};
    _cleanup_revisions_ struct revisions one = {0};
    revisions_add(&one, r);
    graph_upgrade_path(g, &nothing, &one, ret);
    return ret->n <= r->position;
}

static int climb_aside(struct line_env *env, const struct snapshot *schema,
                       struct progress progress, struct fit *f, struct err *err)
{
    const struct graph *g = source_graph(env->source);
    for (size_t i = 0; i < graph_size(g); i++) {
        _cleanup_revisions_ struct revisions list = {0};
        struct revision *r = graph_at(g, i);
        if (!is_aside(g, r, &list) || (f->at && graph_is_ancestor(f->at, r)))
            continue;
        if (climb(env, &list, false, schema, progress, f, err) < 0)
            return -1;
    }
    return 0;
}

static int compare_all(const struct database *d, const struct snapshot *schema,
                       const struct revisions *list, bool each, struct progress progress,
                       struct fit *ret, struct err *err)
{
    const struct settings *s = &d->cli->settings;
    _cleanup_pool_ struct scratch_pool *pool = NULL;
    const struct scratch_options scratch = {
        .url = d->engine == &engine_postgres ? settings_get(s, OPT_SCRATCH_URL) : NULL,
    };
    if (progress.step)
        progress.step(progress.data, 0, 0, "scratch database", NULL);
    if (scratch_pool_open(d->engine, &scratch, &pool, err) < 0)
        return -1;
    struct line_env env = {
        .source = d->source,
        .engine = d->engine,
        .pool = pool,
        .baseline = settings_get(s, OPT_BASELINE),
        .schema = {.version_tables = source_version_tables(d->source), .instrument = true},
        .filter = database_filter,
        .data = (void *)d->cli,
        .stop = &interrupt_signal,
    };
    _cleanup_fit_ struct fit f = {0};
    if (climb(&env, list, each, schema, progress, &f, err) < 0)
        return -1;
    rank(&f);
    if (each && !f.nbest) {
        if (climb_aside(&env, schema, progress, &f, err) < 0)
            return -1;
        rank(&f);
    }
    *ret = f;
    f = (struct fit){0};
    return 0;
}

int fit_find(const struct database *d, const struct snapshot *schema, struct progress progress,
             struct fit *ret, struct err *err)
{
    const struct graph *g = source_graph(d->source);
    _cleanup_revisions_ struct revisions all = {0};
    for (size_t i = 0; i < graph_size(g); i++)
        revisions_add(&all, graph_at(g, i));
    return compare_all(d, schema, &all, true, progress, ret, err);
}

int fit_compare(const struct database *d, const struct snapshot *schema,
                const struct revisions *heads, struct progress progress, struct fit *ret,
                struct err *err)
{
    const struct revisions nothing = {0};
    _cleanup_revisions_ struct revisions list = {0};
    graph_upgrade_path(source_graph(d->source), &nothing, heads, &list);
    return compare_all(d, schema, &list, false, progress, ret, err);
}

void fit_release(struct fit *f)
{
    for (size_t i = 0; i < f->n; i++) {
        strv_release(&f->places[i].differences);
        revisions_release(&f->places[i].heads);
    }
    free(f->places);
    err_release(&f->stopped);
    memset(f, 0, sizeof(*f));
}

/* ---- text ---- */

void fit_differences(const struct place *p, const struct terminal *t, struct str *out)
{
    for (size_t i = 0; i < p->differences.n && i < DIFFERENCES_SHOWN; i++)
        report_change(p->differences.v[i], t, 4, out);
    size_t all = p->nreal + p->nminor;
    if (p->differences.n > DIFFERENCES_SHOWN)
        str_addf(out, "    %s %zu differences in all\n", t->utf8 ? "…" : "...", all);
}

static void add_name(const struct place *p, struct str *out)
{
    for (size_t i = 0; i < p->heads.n; i++) {
        _cleanup_free_ char *id = text_printable(p->heads.v[i]->id);
        _cleanup_free_ char *title = text_printable(p->heads.v[i]->title);
        str_addf(out, "%s%s%s%s", i ? " and " : "", id, *title ? " " : "", title);
    }
    if (!p->heads.n)
        str_add(out, "base (nothing applied)");
}

static void add_command(const struct place *p, struct str *out)
{
    str_add(out, "belay stamp");
    for (size_t i = 0; i < p->heads.n; i++) {
        _cleanup_free_ char *id = text_printable(p->heads.v[i]->id);
        str_addf(out, " %s", id);
    }
    if (!p->heads.n)
        str_add(out, " base");
}

const struct place *fit_exact(const struct fit *f)
{
    return f->nbest == 1 && !f->places[0].nminor && !f->at ? &f->places[0] : NULL;
}

void fit_describe(const struct fit *f, const struct terminal *t, struct str *out)
{
    if (f->nbest == 1) {
        const struct place *p = &f->places[0];
        str_add(out, "its schema is that of ");
        add_name(p, out);
        str_add(out, p->nminor ? ", but for:\n" : "\n");
        fit_differences(p, t, out);
        str_addc(out, '"');
        add_command(p, out);
        str_add(out, "\" records that, and upgrades go on from there\n");
    } else if (f->nbest) {
        str_add(out, "its schema is that of several revisions, which do not differ in it:\n");
        for (size_t i = 0; i < f->nbest; i++) {
            str_add(out, "  ");
            add_name(&f->places[i], out);
            str_add(out, ": \"");
            add_command(&f->places[i], out);
            str_add(out, "\"\n");
        }
        str_add(out, "say which one is right\n");
    } else {
        str_add(out, "no revision has its schema; the nearest, and what the database has "
                     "otherwise:\n");
        for (size_t i = 0; i < f->n && i < PLACES_SHOWN; i++) {
            str_add(out, "  ");
            add_name(&f->places[i], out);
            str_addf(out, ": %zu difference%s\n", f->places[i].nreal + f->places[i].nminor,
                     f->places[i].nreal + f->places[i].nminor == 1 ? "" : "s");
            fit_differences(&f->places[i], t, out);
        }
        str_add(out, "mend the difference, name what is not the project's under \"ignore:\" in "
                     "belay.yaml,\nor say what is true with \"belay stamp REVISION --force\"\n");
    }
    if (f->at) {
        _cleanup_free_ char *id = text_printable(f->at->id);
        _cleanup_free_ char *why = text_printable(f->stopped.message);
        str_addf(out,
                 "not compared with %s and what follows it, which does not upgrade on a "
                 "scratch database: %s\n",
                 id, why);
    }
}
