/* belay revision and merge: write a new revision, and check it at once. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness/base/cleanup.h"
#include "runner/check.h"
#include "runner/cli.h"
#include "runner/output.h"
#include "runner/report.h"
#include "runner/terminal.h"
#include "runner/verbs.h"

/* The verdict on the revision that these files hold. Returns an exit code, or -1. */
static int check_new(struct cli *cli, const struct strv *files, struct err *err)
{
    const struct settings *s = &cli->settings;
    _cleanup_strv_ struct strv real = {0};
    for (size_t i = 0; i < files->n; i++) {
        char *path = realpath(files->v[i], NULL);
        if (path)
            strv_add_take(&real, path);
    }
    const struct check_request q = {
        .settings = s,
        .config = &cli->config,
        .only_files = &real,
        .progress = settings_on(s, OPT_QUIET) ? (struct progress){0} : live_progress(),
    };
    _cleanup_(check_result_release) struct check_result r = {0};
    int rc = check_run(&q, &r, err);
    live_clear();
    if (rc < 0)
        return err_prefix(err, "the new revision is written, but not checked");
    int code = result_worst(&r) >= (int)settings_fail_on(s) ? EXIT_FINDINGS : EXIT_CLEAN;
    const struct report_options o = {
        .terminal = terminal_for(stdout, settings_get(s, OPT_COLOR)),
        .verbose = settings_on(s, OPT_VERBOSE),
        .quiet = settings_on(s, OPT_QUIET),
        .fail_on = settings_fail_on(s),
        .exit_code = code,
    };
    _cleanup_str_ struct str out = {0};
    report_text(&r, &o, &out);
    return output_write(NULL, str_get(&out), err) < 0 ? -1 : code;
}

static int write_and_check(struct cli *cli, const struct source *source,
                           const struct new_revision *n, struct err *err)
{
    _cleanup_free_ char *id = NULL;
    _cleanup_strv_ struct strv files = {0};
    const struct engine *e;
    const struct check_request q = {.settings = &cli->settings};
    bool check = !settings_on(&cli->settings, OPT_NO_CHECK);
    if (check && check_engine(&q, source, &e, err) < 0)
        return -1; /* known before anything is written */
    if (source_new_revision(source, n, &id, &files, err) < 0)
        return -1;
    for (size_t i = 0; i < files.n; i++) {
        _cleanup_free_ char *path = text_printable(files.v[i]);
        printf("wrote %s\n", path);
    }
    if (!check)
        return EXIT_CLEAN;
    putchar('\n');
    return check_new(cli, &files, err);
}

/* The revisions to follow: --head, else the only head. */
static int find_parents(const struct cli *cli, const struct graph *g, struct revisions *ret,
                        struct err *err)
{
    _cleanup_strv_ struct strv names = {0};
    settings_list(&cli->settings, OPT_HEAD, &names);
    if (!names.n && !graph_size(g))
        return 0;
    for (size_t i = 0; i < names.n; i++) {
        _cleanup_revisions_ struct revisions one = {0};
        if (graph_resolve(g, names.v[i], NULL, &one, err) < 0)
            return err_prefix(err, "--head");
        for (size_t k = 0; k < one.n; k++)
            if (!revisions_has(ret, one.v[k]))
                revisions_add(ret, one.v[k]);
    }
    if (names.n)
        return 0;
    if (graph_resolve(g, "head", NULL, ret, err) < 0)
        return err_hint(err, "say which one to follow with --head, or join them with \"belay "
                             "merge\"");
    return 0;
}

int cmd_revision(struct cli *cli, struct err *err)
{
    const struct settings *s = &cli->settings;
    bool autogenerate = settings_on(s, OPT_AUTOGENERATE);
    const char *message = settings_get(s, OPT_MESSAGE);
    if (!message) {
        err_set(err, ERR_USAGE, "what does the revision do?");
        return err_hint(err, "say it in a few words: belay revision -m \"add users\"");
    }
    _cleanup_database_ struct database d = {0};
    _cleanup_revisions_ struct revisions parents = {0};
    _cleanup_strv_ struct strv needs = {0};
    if (database_find(cli, &d, err) < 0 ||
        find_parents(cli, source_graph(d.source), &parents, err) < 0)
        return -1;
    settings_list(s, OPT_DEPENDS_ON, &needs);
    for (size_t i = 0; i < needs.n; i++) {
        struct revision *r;
        if (graph_resolve_one(source_graph(d.source), needs.v[i], NULL, &r, err) < 0)
            return err_prefix(err, "--depends-on");
        free(needs.v[i]);
        needs.v[i] = xstrdup(r->id);
    }
    const struct new_revision n = {
        .message = message,
        .autogenerate = autogenerate,
        .url = settings_get(s, OPT_URL),
        .parents = &parents,
        .id = settings_get(s, OPT_REV_ID),
        .branch_label = settings_get(s, OPT_BRANCH_LABEL),
        .depends_on = &needs,
    };
    return write_and_check(cli, d.source, &n, err);
}

int cmd_merge(struct cli *cli, struct err *err)
{
    _cleanup_database_ struct database d = {0};
    _cleanup_revisions_ struct revisions parents = {0};
    if (database_find(cli, &d, err) < 0)
        return -1;
    const struct graph *g = source_graph(d.source);
    if (!cli->args.n)
        graph_heads(g, &parents);
    for (size_t i = 0; i < cli->args.n; i++) {
        _cleanup_revisions_ struct revisions one = {0};
        if (graph_resolve(g, cli->args.v[i], NULL, &one, err) < 0)
            return -1;
        for (size_t k = 0; k < one.n; k++)
            if (!revisions_has(&parents, one.v[k]))
                revisions_add(&parents, one.v[k]);
    }
    _cleanup_free_ char *names = verb_names(&parents);
    if (parents.n < 2) {
        err_set(err, ERR_USAGE, "a merge needs two revisions, and there is only %s", names);
        return err_hint(err, cli->args.n ? "name the other one too"
                                         : "nothing to do: the project "
                                           "has one head");
    }
    for (size_t i = 0; i < parents.n; i++)
        for (size_t k = 0; k < parents.n; k++)
            if (i != k && graph_is_ancestor(parents.v[i], parents.v[k])) {
                err_set(err, ERR_USAGE, "%s is an ancestor of %s: there is nothing to merge",
                        parents.v[i]->id, parents.v[k]->id);
                return err_hint(err, "\"belay heads\" lists what can be merged");
            }
    _cleanup_free_ char *words = xasprintf("merge %s", names);
    const char *message = settings_get(&cli->settings, OPT_MESSAGE);
    const struct new_revision n = {
        .message = message ? message : words,
        .url = settings_get(&cli->settings, OPT_URL),
        .parents = &parents,
        .id = settings_get(&cli->settings, OPT_REV_ID),
        .branch_label = settings_get(&cli->settings, OPT_BRANCH_LABEL),
    };
    return write_and_check(cli, d.source, &n, err);
}
