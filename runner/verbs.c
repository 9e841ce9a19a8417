#include "runner/verbs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runner/check.h"
#include "runner/fit.h"
#include "runner/output.h"
#include "runner/report.h"
#include "runner/terminal.h"

/* ---- revisions ---- */

static size_t count_children(const struct revision *r)
{
    size_t n = 0;
    for (size_t i = 0; i < r->ndown; i++)
        n += strv_has(&r->down[i]->parents, r->id);
    return n;
}

char *verb_marks(const struct revision *r)
{
    struct str s = {0};
    size_t children = count_children(r);
    for (size_t i = 0; i < r->labels.n; i++) {
        _cleanup_free_ char *label = text_printable(r->labels.v[i]);
        str_addf(&s, " (%s)", label);
    }
    if (children == 0)
        str_add(&s, " (head)");
    if (children > 1)
        str_add(&s, " (branchpoint)");
    if (r->parents.n > 1)
        str_add(&s, " (mergepoint)");
    return str_take(&s);
}

char *verb_name(const struct revision *r)
{
    _cleanup_free_ char *marks = verb_marks(r), *id = text_printable(r->id);
    return xasprintf("%s%s", id, marks);
}

char *verb_names(const struct revisions *list)
{
    struct str s = {0};
    for (size_t i = 0; i < list->n; i++) {
        _cleanup_free_ char *id = text_printable(list->v[i]->id);
        str_addf(&s, "%s%s", i ? ", " : "", id);
    }
    if (!list->n)
        str_add(&s, "base");
    return str_take(&s);
}

static json_t *strings(const struct strv *l)
{
    json_t *a = json_array();
    for (size_t i = 0; i < l->n; i++)
        json_array_append_new(a, report_string(l->v[i]));
    return a;
}

json_t *verb_json(const struct revision *r)
{
    json_t *j = json_object();
    json_object_set_new(j, "revision", report_string(r->id));
    json_object_set_new(j, "title", report_string(r->title));
    json_object_set_new(j, "file", report_string(r->file));
    json_object_set_new(j, "parents", strings(&r->parents));
    json_object_set_new(j, "depends_on", strings(&r->depends_on));
    json_object_set_new(j, "labels", strings(&r->labels));
    json_object_set_new(j, "head", json_boolean(count_children(r) == 0));
    return j;
}

int verb_print_json(const char *type, json_t *members, struct err *err)
{
    json_t *j = json_object();
    json_object_set_new(j, "type", json_string(type));
    json_object_set_new(j, "version", json_integer(1));
    json_object_update(j, members);
    json_decref(members);
    _cleanup_free_ char *text = json_dumps(j, JSON_INDENT(2));
    json_decref(j);
    _cleanup_free_ char *line = xasprintf("%s\n", text);
    return output_write(NULL, line, err);
}

int verb_wants_json(const struct cli *cli, bool *ret, struct err *err)
{
    const char *format = settings_get(&cli->settings, OPT_REPORT);
    if (format && strcmp(format, "text") != 0 && strcmp(format, "json") != 0) {
        err_set(err, ERR_USAGE, "belay %s does not write %s", cli->command->name, format);
        return err_hint(err, "text and json are there");
    }
    *ret = str_eq(format, "json");
    return 0;
}

/* ---- databases ---- */

int verb_propose(const struct database *d, const struct snapshot *schema, struct err *err)
{
    const struct progress progress =
        settings_on(&d->cli->settings, OPT_QUIET) ? (struct progress){0} : live_progress();
    _cleanup_fit_ struct fit f = {0};
    int rc = fit_find(d, schema, progress, &f, err);
    live_clear();
    if (rc < 0)
        return err_prefix(err,
                          "%s has tables and no version table; cannot tell which revision it "
                          "is at",
                          d->shown);
    struct terminal t = terminal_for(stderr, settings_get(&d->cli->settings, OPT_COLOR));
    _cleanup_str_ struct str out = {0};
    fit_describe(&f, &t, &out);
    fflush(stdout);
    fprintf(stderr, "%s has tables and no version table (%s)\n%s", d->shown,
            source_version_tables(d->source)[0], str_get(&out));
    return 0;
}

int verb_admit(const struct database *d, const struct database_state *s, struct err *err)
{
    if (s->unknown.n) {
        _cleanup_err_ struct err why = {0};
        database_unknown(d, &s->unknown, &why);
        error_print(&why);
        return 0;
    }
    if (s->tracking == TRACKING_MISSING)
        return verb_propose(d, s->schema, err) < 0 ? -1 : 0;
    return 1;
}

int verb_range(const struct graph *g, const char *range, enum verb_ways ways, struct revisions *ret,
               enum step_direction *ret_direction, struct err *err)
{
    const char *colon = strchr(range, ':');
    if (ways == WAYS_DOWN && !colon) {
        err_set(err, ERR_USAGE, "without a database a downgrade needs to know where it begins");
        return err_hint(err, "write FROM:TO, as in \"belay downgrade head:%s --sql\"", range);
    }
    _cleanup_free_ char *from = xstrndup(range, colon ? (size_t)(colon - range) : 0);
    const char *to = colon ? colon + 1 : range;
    _cleanup_revisions_ struct revisions start = {0}, end = {0};
    if (*from && graph_resolve(g, from, NULL, &start, err) < 0)
        return -1;
    if (graph_resolve(g, *to ? to : "head", &start, &end, err) < 0)
        return -1;
    graph_upgrade_path(g, &start, &end, ret);
    *ret_direction = STEP_UP;
    if (ways == WAYS_UP || (ways == WAYS_BOTH && ret->n))
        return 0;
    revisions_release(ret);
    *ret_direction = STEP_DOWN;
    return start.n ? graph_downgrade_path(g, &start, &end, ret, err) : 0;
}
