/* belay history, heads, branches, show and current: what there is and what is applied. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness/base/cleanup.h"
#include "runner/cli.h"
#include "runner/project.h"
#include "runner/report.h"
#include "runner/terminal.h"
#include "runner/verbs.h"

/* ---- revisions as text ---- */

static char *ids_text(const struct strv *ids, const char *none)
{
    if (!ids->n)
        return xstrdup(none);
    _cleanup_free_ char *all = strv_join(ids, ", ");
    return text_printable(all);
}

/* Alembic's form: a heading line each, then the title. */
static void add_verbose(const struct revision *r, const char *marks, struct str *out)
{
    _cleanup_free_ char *id = text_printable(r->id), *title = text_printable(r->title);
    _cleanup_free_ char *file = text_printable(r->file);
    _cleanup_free_ char *parents = ids_text(&r->parents, "<base>");
    str_addf(out, "Rev: %s%s\n", id, marks);
    str_addf(out, "%s: %s\n", r->parents.n > 1 ? "Merges" : "Parent", parents);
    if (r->depends_on.n) {
        _cleanup_free_ char *needs = ids_text(&r->depends_on, "");
        str_addf(out, "Depends on: %s\n", needs);
    }
    _cleanup_strv_ struct strv next = {0};
    for (size_t i = 0; i < r->ndown; i++)
        if (strv_has(&r->down[i]->parents, r->id))
            strv_add(&next, r->down[i]->id);
    if (next.n > 1) {
        _cleanup_free_ char *children = ids_text(&next, "");
        str_addf(out, "Branches into: %s\n", children);
    }
    str_addf(out, "Path: %s", file);
    if (r->line)
        str_addf(out, ":%d", r->line);
    str_addc(out, '\n');
    if (!r->down_file)
        str_add(out, "No downgrade\n");
    if (*title)
        str_addf(out, "\n    %s\n", title);
    str_addc(out, '\n');
}

static int open_source(const struct cli *cli, struct source **ret, struct err *err)
{
    return project_open(&cli->settings, &cli->config, NULL, ret, err);
}

/* A list of revisions in the form that the settings ask for. */
static int print_list(struct cli *cli, const char *type, const struct revisions *list,
                      struct err *err)
{
    bool json;
    if (verb_wants_json(cli, &json, err) < 0)
        return -1;
    if (json) {
        json_t *all = json_array();
        for (size_t i = 0; i < list->n; i++)
            json_array_append_new(all, verb_json(list->v[i]));
        json_t *j = json_object();
        json_object_set_new(j, "revisions", all);
        return verb_print_json(type, j, err) < 0 ? -1 : EXIT_CLEAN;
    }
    _cleanup_str_ struct str out = {0};
    for (size_t i = 0; i < list->n; i++) {
        _cleanup_free_ char *marks = verb_marks(list->v[i]), *name = verb_name(list->v[i]);
        if (settings_on(&cli->settings, OPT_VERBOSE))
            add_verbose(list->v[i], marks, &out);
        else
            str_addf(&out, "%s\n", name);
    }
    fputs(str_get(&out), stdout);
    return EXIT_CLEAN;
}

int cmd_heads(struct cli *cli, struct err *err)
{
    _cleanup_source_ struct source *source = NULL;
    _cleanup_revisions_ struct revisions heads = {0};
    if (open_source(cli, &source, err) < 0)
        return -1;
    graph_heads(source_graph(source), &heads);
    return print_list(cli, "belay-heads", &heads, err);
}

int cmd_branches(struct cli *cli, struct err *err)
{
    _cleanup_source_ struct source *source = NULL;
    if (open_source(cli, &source, err) < 0)
        return -1;
    const struct graph *g = source_graph(source);
    for (size_t i = 0; i < graph_size(g); i++) {
        const struct revision *r = graph_at(g, i);
        _cleanup_free_ char *name = verb_name(r);
        if (!strstr(name, " (branchpoint)"))
            continue;
        _cleanup_free_ char *title = text_printable(r->title), *id = text_printable(r->id);
        printf("%s%s%s\n", name, *title ? ", " : "", title);
        for (size_t k = 0; k < r->ndown; k++) {
            if (!strv_has(&r->down[k]->parents, r->id))
                continue;
            _cleanup_free_ char *child = verb_name(r->down[k]);
            printf("%*s -> %s\n", text_width(id), "", child);
        }
    }
    return EXIT_CLEAN;
}

int cmd_show(struct cli *cli, struct err *err)
{
    _cleanup_source_ struct source *source = NULL;
    _cleanup_revisions_ struct revisions found = {0};
    bool json;
    if (open_source(cli, &source, err) < 0 || verb_wants_json(cli, &json, err) < 0 ||
        graph_resolve(source_graph(source), cli->args.v[0], NULL, &found, err) < 0)
        return -1;
    if (!found.n) {
        err_set(err, ERR_USAGE, "\"%s\" is the empty database, and a revision is needed",
                cli->args.v[0]);
        return err_hint(err, "\"belay history\" lists the revisions");
    }
    if (json)
        return print_list(cli, "belay-show", &found, err);
    _cleanup_str_ struct str out = {0};
    for (size_t i = 0; i < found.n; i++) {
        _cleanup_free_ char *marks = verb_marks(found.v[i]);
        add_verbose(found.v[i], marks, &out);
    }
    fputs(str_get(&out), stdout);
    return EXIT_CLEAN;
}

/* ---- history ---- */

/* One end of a range; "current" and relative targets ask the database. */
static int resolve_end(struct cli *cli, const struct graph *g, const char *text, bool *looked,
                       struct database_state *state, struct revisions *ret, struct err *err)
{
    bool is_current = strcmp(text, "current") == 0;
    bool relative = *text == '-' || *text == '+' || strstr(text, "@-") || strstr(text, "@+");
    if ((is_current || relative) && !*looked) {
        _cleanup_database_ struct database d = {0};
        if (database_need(cli, &d, err) < 0 || database_look(&d, state, err) < 0)
            return -1;
        *looked = true;
        /* the state points into the graph of its own source: name what it has in this one */
        for (size_t i = 0; i < state->current.n; i++)
            state->current.v[i] = graph_find(g, state->current.v[i]->id);
    }
    if (!is_current)
        return graph_resolve(g, text, *looked ? &state->current : NULL, ret, err);
    graph_last(g, &state->current, ret);
    return 0;
}

/* Marks, by position, what lies in the range: what TO needs and FROM's ancestors are not. FROM
 * itself is in it, as with Alembic. */
static int mark_range(struct cli *cli, const struct graph *g, const char *range, bool *marks,
                      bool *looked, struct database_state *state, struct err *err)
{
    const char *colon = range ? strchr(range, ':') : NULL;
    for (size_t i = 0; i < graph_size(g); i++)
        marks[i] = true;
    if (!range)
        return 0;
    if (!colon) {
        err_set(err, ERR_USAGE, "\"%s\" is not a range", range);
        return err_hint(err, "write FROM:TO; either may be left out, as in \"%s:\"", range);
    }
    _cleanup_free_ char *from = xstrndup(range, (size_t)(colon - range));
    _cleanup_revisions_ struct revisions start = {0}, end = {0};
    if ((*from && resolve_end(cli, g, from, looked, state, &start, err) < 0) ||
        (colon[1] && resolve_end(cli, g, colon + 1, looked, state, &end, err) < 0))
        return -1;
    for (size_t i = 0; i < graph_size(g); i++) {
        const struct revision *r = graph_at(g, i);
        bool below = false, above = !*from || !start.n;
        for (size_t k = 0; k < end.n; k++)
            below |= graph_is_ancestor(r, end.v[k]);
        for (size_t k = 0; k < start.n; k++)
            above |= graph_is_ancestor(start.v[k], r);
        marks[i] = above && (below || !colon[1]);
    }
    return 0;
}

int cmd_history(struct cli *cli, struct err *err)
{
    _cleanup_source_ struct source *source = NULL;
    _cleanup_database_state_ struct database_state state = {0};
    _cleanup_revisions_ struct revisions last = {0}, list = {0};
    bool json, looked = false, verbose = settings_on(&cli->settings, OPT_VERBOSE);
    const char *flag = settings_get(&cli->settings, OPT_REV_RANGE);
    if (open_source(cli, &source, err) < 0 || verb_wants_json(cli, &json, err) < 0)
        return -1;
    const struct graph *g = source_graph(source);
    size_t n = graph_size(g);
    _cleanup_free_ bool *marks = xcalloc(n + 1, sizeof(bool));
    if (mark_range(cli, g, cli->args.n ? cli->args.v[0] : flag, marks, &looked, &state, err) < 0)
        return -1;
    if (settings_on(&cli->settings, OPT_INDICATE_CURRENT)) {
        _cleanup_revisions_ struct revisions unused = {0};
        if (resolve_end(cli, g, "current", &looked, &state, &unused, err) < 0)
            return -1;
    }
    graph_last(g, &state.current, &last);
    for (size_t i = n; i-- > 0;)
        if (marks[i])
            revisions_add(&list, graph_at(g, i));
    if (json)
        return print_list(cli, "belay-history", &list, err);
    _cleanup_str_ struct str out = {0};
    for (size_t i = 0; i < list.n; i++) {
        const struct revision *r = list.v[i];
        _cleanup_free_ char *plain = verb_marks(r);
        _cleanup_free_ char *all =
            xasprintf("%s%s", plain, revisions_has(&last, r) ? " (current)" : "");
        if (verbose) {
            add_verbose(r, all, &out);
            continue;
        }
        _cleanup_free_ char *parents = ids_text(&r->parents, "<base>");
        _cleanup_free_ char *id = text_printable(r->id), *title = text_printable(r->title);
        str_addf(&out, "%s -> %s%s%s%s\n", parents, id, all, *title ? ", " : "", title);
    }
    fputs(str_get(&out), stdout);
    return EXIT_CLEAN;
}

/* ---- current ---- */

/* Revisions that are not applied although one that needs them is. */
static void find_gaps(const struct graph *g, const struct revisions *current, struct revisions *ret)
{
    for (size_t i = 0; i < graph_size(g); i++) {
        struct revision *r = graph_at(g, i);
        bool needed = false;
        for (size_t k = 0; k < r->ndown && !needed; k++)
            needed = revisions_has(current, r->down[k]);
        if (needed && !revisions_has(current, r))
            revisions_add(ret, r);
    }
}

static json_t *ids_json(const struct revisions *list)
{
    json_t *a = json_array();
    for (size_t i = 0; i < list->n; i++)
        json_array_append_new(a, report_string(list->v[i]->id));
    return a;
}

static int current_json(const struct database *d, const struct database_state *s,
                        const struct revisions *last, struct err *err)
{
    const struct graph *g = source_graph(d->source);
    _cleanup_revisions_ struct revisions pending = {0};
    for (size_t i = 0; i < graph_size(g); i++)
        if (!revisions_has(&s->current, graph_at(g, i)))
            revisions_add(&pending, graph_at(g, i));
    json_t *unknown = json_array(), *j = json_object();
    for (size_t i = 0; i < s->unknown.n; i++)
        json_array_append_new(unknown, report_string(s->unknown.v[i]));
    json_object_set_new(j, "url", report_string(d->shown));
    json_object_set_new(j, "state",
                        json_string(s->tracking == TRACKING_YES     ? "tracked"
                                    : s->tracking == TRACKING_EMPTY ? "empty"
                                                                    : "untracked"));
    json_object_set_new(j, "current", ids_json(last));
    json_object_set_new(j, "applied", ids_json(&s->current));
    json_object_set_new(j, "pending", ids_json(&pending));
    json_object_set_new(j, "unknown", unknown);
    return verb_print_json("belay-current", j, err);
}

int cmd_current(struct cli *cli, struct err *err)
{
    _cleanup_database_ struct database d = {0};
    _cleanup_database_state_ struct database_state s = {0};
    _cleanup_revisions_ struct revisions last = {0}, gaps = {0};
    bool json, quiet = settings_on(&cli->settings, OPT_QUIET);
    if (verb_wants_json(cli, &json, err) < 0 || database_need(cli, &d, err) < 0 ||
        database_look(&d, &s, err) < 0)
        return -1;
    if (s.no_file) {
        err_set(err, ERR_ENV, "there is no database at %s", d.shown);
        return err_hint(err, "\"belay upgrade\" makes it");
    }
    const struct graph *g = source_graph(d.source);
    graph_last(g, &s.current, &last);
    bool at_fault = s.tracking == TRACKING_MISSING || s.unknown.n;
    if (json)
        return current_json(&d, &s, &last, err) < 0 ? -1 : at_fault ? EXIT_FINDINGS : EXIT_CLEAN;
    if (settings_on(&cli->settings, OPT_VERBOSE))
        printf("Current revision(s) for %s:\n", d.shown);
    if (print_list(cli, "", &last, err) < 0)
        return -1;
    fflush(stdout);
    int admitted = verb_admit(&d, &s, err);
    if (admitted < 0)
        return -1;
    find_gaps(g, &s.current, &gaps);
    if (gaps.n) {
        _cleanup_free_ char *names = verb_names(&gaps);
        warning_print("not applied, although later revisions are: %s", names);
    }
    size_t pending = graph_size(g) - s.current.n;
    if (!quiet && s.tracking == TRACKING_EMPTY)
        fprintf(stderr, "%s is empty: nothing is applied\n", d.shown);
    else if (!quiet && admitted && pending)
        fprintf(stderr, "%zu of %zu revisions applied\n", s.current.n, graph_size(g));
    return admitted ? EXIT_CLEAN : EXIT_FINDINGS;
}
