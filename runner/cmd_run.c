/* belay run: scenarios, each a project with the findings that it must have and no others. */
#include <ftw.h>
#include <stdio.h>
#include <string.h>

#include "harness/base/cleanup.h"
#include "harness/base/file.h"
#include "runner/check.h"
#include "runner/cli.h"
#include "runner/interrupt.h"
#include "runner/terminal.h"

static struct strv *found_scenarios; /* nftw() has no argument for its callback */

static int visit(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)ftw;
    if (type == FTW_F && strcmp(path_base(path), "scenario.yaml") == 0)
        strv_add_take(found_scenarios, path_dir(path));
    return 0;
}

/* The folder itself when it is a scenario, else all below it, by name. */
static int find_scenarios(const char *dir, struct strv *ret, struct err *err)
{
    size_t len = strlen(dir);
    _cleanup_free_ char *clean = xstrndup(dir, len > 1 && dir[len - 1] == '/' ? len - 1 : len);
    if (!dir_exists(clean))
        return err_set(err, ERR_USAGE, "no folder %s", clean);
    _cleanup_strv_ struct strv found = {0};
    found_scenarios = &found;
    if (nftw(clean, visit, 16, FTW_PHYS) < 0)
        return err_errno(err, "cannot read %s", clean);
    if (!found.n) {
        err_set(err, ERR_USAGE, "no scenario.yaml in %s or below", clean);
        return err_hint(err, "a scenario is a folder with a scenario.yaml and migrations");
    }
    strv_sort(&found);
    for (size_t i = 0; i < found.n; i++)
        strv_add(ret, found.v[i]);
    return 0;
}

static void add_finding_line(struct str *out, const char *what, const char *id,
                             const char *revision, const char *text)
{
    _cleanup_free_ char *line =
        xasprintf("%s: %s%s%s%s%s", what, id, revision ? " of " : "", revision ? revision : "",
                  text ? ": " : "", text ? text : "");
    _cleanup_free_ char *clean = text_printable(line);
    str_addf(out, "    %s\n", clean);
}

/* What differs from the expectation, a line each; empty when all is as expected. A waived finding
 * is neither wanted nor in the way. */
static void compare(const struct config *scenario, const struct check_result *r, struct str *out)
{
    for (size_t e = 0; e < scenario->nexpected; e++) {
        bool met = false;
        for (size_t f = 0; f < r->nfindings && !met; f++)
            met = !r->findings[f].waived_reason &&
                  expected_meets(&scenario->expected[e], &r->findings[f]);
        if (!met)
            add_finding_line(out, "expected, not found", scenario->expected[e].finding,
                             scenario->expected[e].revision, scenario->expected[e].object);
    }
    for (size_t f = 0; f < r->nfindings; f++) {
        const struct finding *finding = &r->findings[f];
        bool expected = finding->waived_reason != NULL;
        for (size_t e = 0; e < scenario->nexpected && !expected; e++)
            expected = expected_meets(&scenario->expected[e], finding);
        if (expected)
            continue;
        add_finding_line(out, "found, not expected", finding->id->id, finding->revision,
                         finding->message);
        for (size_t i = 0; i < finding->nchanges && i < 5; i++) {
            _cleanup_free_ char *clean = text_printable(finding->changes[i].text);
            str_addf(out, "      %s\n", clean);
        }
    }
}

struct tally {
    size_t met, differ, not_run;
};

static int run_one(const struct cli *cli, const char *dir, const struct config *scenario,
                   const struct engine *engine, const struct settings *settings,
                   struct tally *tally, struct err *err)
{
    bool quiet = settings_on(&cli->settings, OPT_QUIET);
    struct terminal t = terminal_for(stdout, settings_get(&cli->settings, OPT_COLOR));
    _cleanup_free_ char *migrations = path_join(dir, "migrations");
    const char *set = scenario->options[OPT_DIR];
    const struct check_request q = {
        .settings = settings,
        .dir = set ? set : migrations,
        .engine = engine,
        .config = scenario,
        .progress = quiet ? (struct progress){0} : live_progress(),
    };
    _cleanup_(check_result_release) struct check_result r = {0};
    _cleanup_err_ struct err failed = {0};
    _cleanup_str_ struct str differences = {0}, out = {0};
    int rc = scenario->nsteps ? scenario_run(&q, scenario, &differences, &failed)
                              : check_run(&q, &r, &failed);
    live_clear();
    if (rc < 0 && failed.code == ERR_INTERRUPTED) {
        err_move(err, &failed);
        return -1;
    }

    if (rc == 0 && !scenario->nsteps)
        compare(scenario, &r, &differences);
    bool met = rc == 0 && !differences.len;
    if (met)
        style_add(&out, &t, STYLE_GREEN, t.utf8 ? "✓" : "ok  ");
    else
        style_add(&out, &t, STYLE_RED, t.utf8 ? "✗" : "FAIL");
    _cleanup_free_ char *name = text_printable(dir);
    str_addf(&out, " %s", name);
    if (engine)
        str_addf(&out, " %s", engine_name(engine));
    _cleanup_free_ char *title = text_printable(scenario->title);
    int room = t.width - text_width(name) - (engine ? (int)strlen(engine_name(engine)) + 1 : 0) - 8;
    if (room > 10) {
        _cleanup_str_ struct str cut = {0};
        str_add(&cut, t.utf8 ? " · " : " - ");
        text_fit(&cut, &t, title, room, false);
        style_add(&out, &t, STYLE_DIM, str_get(&cut));
    }
    str_addc(&out, '\n');
    if (!met || !quiet)
        fputs(str_get(&out), stdout);
    fputs(str_get(&differences), stdout);
    if (rc < 0) {
        error_print(&failed);
        tally->not_run++;
    } else {
        *(met ? &tally->met : &tally->differ) += 1;
    }
    return 0;
}

/* Settings of the scenario, below those of the command line. */
static int scenario_settings(const struct cli *cli, const struct config *scenario,
                             struct settings *ret, struct err *err)
{
    if (config_settings(scenario, ret, err) < 0)
        return -1;
    for (size_t i = 0; i < cli->settings.n; i++) {
        const struct setting *v = &cli->settings.v[i];
        if (v->option < OPT_COUNT &&
            settings_add(ret, v->option, v->level, v->value, v->origin, err) < 0)
            return -1;
    }
    return 0;
}

static int run_scenario(const struct cli *cli, const char *dir, struct tally *tally,
                        struct err *err)
{
    _cleanup_free_ char *path = path_join(dir, "scenario.yaml");
    _cleanup_config_ struct config scenario = {0};
    _cleanup_(settings_release) struct settings settings = {0};
    if (config_read_scenario(path, &scenario, err) < 0 ||
        scenario_settings(cli, &scenario, &settings, err) < 0)
        return -1;
    const char *only = settings_get(&cli->settings, OPT_ENGINE);
    if (!scenario.engines.n) {
        const struct engine *e = only ? engine_by_name(only) : NULL;
        return run_one(cli, dir, &scenario, e, &settings, tally, err);
    }
    for (size_t i = 0; i < scenario.engines.n; i++) {
        const struct engine *e = engine_by_name(scenario.engines.v[i]);
        if (!e) {
            err_set(err, ERR_CONFIG, "engines: \"%s\" is not one of sqlite or postgres",
                    scenario.engines.v[i]);
            return err_at(err, path, 0, 0);
        }
        if (only && engine_by_name(only) != e)
            continue;
        if (run_one(cli, dir, &scenario, e, &settings, tally, err) < 0)
            return -1;
    }
    return 0;
}

int cmd_run(struct cli *cli, struct err *err)
{
    _cleanup_strv_ struct strv dirs = {0};
    for (size_t i = 0; i < cli->args.n; i++)
        if (find_scenarios(cli->args.v[i], &dirs, err) < 0)
            return -1;
    struct tally tally = {0};
    for (size_t i = 0; i < dirs.n; i++)
        if (run_scenario(cli, dirs.v[i], &tally, err) < 0)
            return -1;
    if (!settings_on(&cli->settings, OPT_QUIET)) {
        printf("\n%zu as expected", tally.met);
        if (tally.differ)
            printf(", %zu differ", tally.differ);
        if (tally.not_run)
            printf(", %zu could not run", tally.not_run);
        putchar('\n');
    }
    return tally.differ ? EXIT_FINDINGS : tally.not_run ? EXIT_ENVIRONMENT : EXIT_CLEAN;
}
