/* belay stamp: says in the version table what is applied, and runs nothing. */
#include <stdio.h>
#include <string.h>

#include "harness/base/cleanup.h"
#include "runner/check.h"
#include "runner/cli.h"
#include "runner/fit.h"
#include "runner/terminal.h"
#include "runner/verbs.h"

static struct progress progress_for(const struct cli *cli)
{
    return settings_on(&cli->settings, OPT_QUIET) ? (struct progress){0} : live_progress();
}

/* The revision whose schema the database has. Returns 1, 0 when there is not exactly one (stderr
 * says what there is), or -1. */
static int detect(const struct database *d, struct revisions *ret, struct err *err)
{
    _cleanup_snapshot_ struct snapshot *schema = NULL;
    _cleanup_fit_ struct fit f = {0};
    if (database_schema(d, &schema, err) < 0)
        return -1;
    int rc = fit_find(d, schema, progress_for(d->cli), &f, err);
    live_clear();
    if (rc < 0)
        return -1;
    /* what is minor is still a difference: a person says whether it matters */
    const struct place *p = fit_exact(&f);
    for (size_t i = 0; p && i < p->heads.n; i++)
        revisions_add(ret, p->heads.v[i]);
    if (p)
        return 1;
    struct terminal t = terminal_for(stderr, settings_get(&d->cli->settings, OPT_COLOR));
    _cleanup_str_ struct str out = {0};
    fit_describe(&f, &t, &out);
    fprintf(stderr, "%s: nothing was stamped\n%s", d->shown, str_get(&out));
    return 0;
}

/* Returns 1 when the schema is that of the heads, 0 when it is not (stderr says how), or -1. */
static int compare(const struct database *d, const struct revisions *heads, struct err *err)
{
    _cleanup_snapshot_ struct snapshot *schema = NULL;
    _cleanup_fit_ struct fit f = {0};
    if (database_schema(d, &schema, err) < 0)
        return -1;
    int rc = fit_compare(d, schema, heads, progress_for(d->cli), &f, err);
    live_clear();
    if (rc < 0)
        return -1;
    _cleanup_free_ char *names = verb_names(heads);
    if (!f.n) {
        err_set(err, ERR_SOURCE,
                "cannot compare with %s: %s does not upgrade on a scratch database", names,
                f.at->id);
        return err_hint(err, "%s; --force stamps without comparing", f.stopped.message);
    }
    if (!f.places[0].nreal && !f.places[0].nminor)
        return 1;
    struct terminal t = terminal_for(stderr, settings_get(&d->cli->settings, OPT_COLOR));
    _cleanup_str_ struct str out = {0};
    fit_differences(&f.places[0], &t, &out);
    if (!f.places[0].nreal) {
        warning_print("the schema is that of %s but for:", names);
        fputs(str_get(&out), stderr);
        return 1;
    }
    fprintf(stderr,
            "%s is not at %s, nothing was stamped; what it has otherwise:\n%s"
            "\"belay stamp --detect\" looks for the revision that fits; --force stamps all the "
            "same\n",
            d->shown, names, str_get(&out));
    return 0;
}

static int resolve(struct cli *cli, const struct database *d, struct revisions *ret,
                   struct err *err)
{
    _cleanup_database_state_ struct database_state s = {0};
    _cleanup_err_ struct err unreadable = {0};
    /* only relative targets need it, and a version table that cannot be read is a reason to stamp */
    bool known = database_look(d, &s, &unreadable) == 0;
    if (!known && unreadable.code != ERR_SOURCE) {
        err_move(err, &unreadable);
        return -1;
    }
    if (s.no_file) {
        err_set(err, ERR_ENV, "there is no database at %s", d->shown);
        return err_hint(err, "\"belay upgrade\" makes it");
    }
    for (size_t i = 0; i < cli->args.n; i++) {
        _cleanup_revisions_ struct revisions one = {0};
        if (graph_resolve(source_graph(d->source), cli->args.v[i], known ? &s.current : NULL, &one,
                          err) < 0)
            return -1;
        for (size_t k = 0; k < one.n; k++)
            if (!revisions_has(ret, one.v[k]))
                revisions_add(ret, one.v[k]);
    }
    return 0;
}

int cmd_stamp(struct cli *cli, struct err *err)
{
    bool find = settings_on(&cli->settings, OPT_DETECT);
    bool force = settings_on(&cli->settings, OPT_FORCE);
    _cleanup_database_ struct database d = {0};
    _cleanup_revisions_ struct revisions heads = {0}, last = {0};
    _cleanup_(cleanup_migrator_close) struct migrator *m = NULL;
    if (find == (cli->args.n > 0)) {
        err_set(err, ERR_USAGE, find ? "--detect finds the revision itself" : "stamp what?");
        return err_hint(err, "belay stamp TARGET, or belay stamp --detect");
    }
    if (find && force)
        return err_set(err, ERR_USAGE, "--detect and --force do not go together");
    if (database_need(cli, &d, err) < 0)
        return -1;
    const struct graph *g = source_graph(d.source);
    int fits = find ? detect(&d, &heads, err) : resolve(cli, &d, &heads, err);
    if (!find && fits == 0)
        fits = force ? 1 : compare(&d, &heads, err);
    if (fits <= 0)
        return fits < 0 ? -1 : EXIT_FINDINGS;
    if (database_migrator(&d, DB_OPEN_DEFAULT, &m, err) < 0 || migrator_stamp(m, &heads, err) < 0)
        return -1;
    graph_last(g, &heads, &last);
    _cleanup_free_ char *names = verb_names(&last);
    if (!settings_on(&cli->settings, OPT_QUIET))
        printf("stamped %s\n", names);
    return EXIT_CLEAN;
}
