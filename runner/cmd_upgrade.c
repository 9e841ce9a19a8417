/* belay upgrade, downgrade and sql. */
#include <stdio.h>
#include <string.h>

#include "harness/base/cleanup.h"
#include "runner/cli.h"
#include "runner/interrupt.h"
#include "runner/line.h"
#include "runner/project.h"
#include "runner/report.h"
#include "runner/terminal.h"
#include "runner/verbs.h"

/* ---- without a database ---- */

static int offline_engine(const struct database *d, const struct engine **ret, struct err *err)
{
    if (settings_engine(&d->cli->settings, ret, err) < 0)
        return -1;
    if (!*ret)
        *ret = d->engine;
    if (!*ret)
        *ret = source_engine_hint(d->source);
    if (*ret)
        return 0;
    err_set(err, ERR_USAGE,
            "SQL for which engine? Neither --engine, a URL nor the migrations in %s "
            "say it",
            source_dir(d->source));
    return err_hint(err, "add --engine sqlite or --engine postgres, or \"engine:\" to belay.yaml");
}

static int print_sql(struct cli *cli, const char *range, enum verb_ways ways, struct err *err)
{
    _cleanup_database_ struct database d = {0};
    _cleanup_revisions_ struct revisions list = {0};
    enum step_direction direction = STEP_UP;
    const struct engine *e = NULL;
    if (database_find(cli, &d, err) < 0 || offline_engine(&d, &e, err) < 0 ||
        verb_range(source_graph(d.source), range, ways, &list, &direction, err) < 0)
        return -1;
    if (!list.n) {
        fprintf(stderr, "nothing to do for %s\n", range);
        return EXIT_CLEAN;
    }
    _cleanup_free_ char *sql = NULL;
    if (source_sql(d.source, e, &list, direction, &sql, err) < 0)
        return -1;
    fputs(sql, stdout);
    return EXIT_CLEAN;
}

int cmd_sql(struct cli *cli, struct err *err)
{
    return print_sql(cli, cli->args.n ? cli->args.v[0] : "head", WAYS_BOTH, err);
}

/* ---- the steps ---- */

static void cancel_step(void *migrator)
{
    migrator_cancel(migrator);
}

/* "0001 -> 0002, add users" as Alembic writes it, the other way round for a downgrade. */
static void print_step(const struct revision *r, enum step_direction direction)
{
    _cleanup_str_ struct str parents = {0};
    for (size_t i = 0; i < r->parents.n; i++)
        str_addf(&parents, "%s%s", i ? ", " : "", r->parents.v[i]);
    if (!r->parents.n)
        str_add(&parents, "<base>");
    _cleanup_free_ char *from = text_printable(str_get(&parents)), *id = text_printable(r->id);
    _cleanup_free_ char *title = text_printable(r->title);
    if (direction == STEP_UP)
        printf("upgrade %s -> %s%s%s", from, id, *title ? ", " : "", title);
    else
        printf("downgrade %s -> %s%s%s", id, from, *title ? ", " : "", title);
    fflush(stdout);
}

static void print_seconds(double seconds)
{
    if (seconds < 0.9995)
        printf("  %.0f ms\n", seconds * 1e3);
    else
        printf("  %.1f s\n", seconds);
    fflush(stdout);
}

/* Where the database is now, as far as it can be asked: in a session of its own, because the one
 * that was stopped may be of no use any more. */
static void print_where(const struct database *d, FILE *to)
{
    _cleanup_err_ struct err err = {0};
    _cleanup_database_state_ struct database_state s = {0};
    _cleanup_revisions_ struct revisions last = {0};
    if (database_look(d, &s, &err) < 0) {
        fflush(stdout);
        _cleanup_free_ char *why = text_printable(err.message);
        fprintf(stderr, "what is applied now cannot be read: %s\n", why);
        return;
    }
    graph_last(source_graph(d->source), &s.current, &last);
    _cleanup_free_ char *names = verb_names(&last);
    fflush(stdout);
    fprintf(to, "applied now: %s\n", names);
}

static void add_lock_hint(struct err *e)
{
    if (strcmp(e->sqlstate, "55P03") == 0 && !e->hint)
        err_hint(e, "another session holds a lock that the step needs: nothing of it was "
                    "applied; try again when that session is done");
}

/* Returns an exit code, or -1. */
static int step_failed(const struct database *d, const struct revision *r,
                       enum step_direction direction, struct step_result *s)
{
    const char *what = direction == STEP_UP              ? "does not upgrade"
                       : s->outcome == STEP_MISSING      ? "has no downgrade"
                       : s->outcome == STEP_IRREVERSIBLE ? "cannot be taken back, on purpose"
                                                         : "does not downgrade";
    printf("  failed\n");
    if (!err_is_set(&s->err))
        err_set(&s->err, ERR_SOURCE, "revision %s %s", r->id, what);
    else
        err_prefix(&s->err, "revision %s %s", r->id, what);
    if (!s->err.file)
        err_at(&s->err, direction == STEP_DOWN && r->down_file ? r->down_file : r->file, 0, 0);
    add_lock_hint(&s->err);
    bool environment = line_is_environment(&s->err) || strcmp(s->err.sqlstate, "55P03") == 0;
    if (settings_on(&d->cli->settings, OPT_VERBOSE))
        error_print_trace(&s->err);
    error_print(&s->err);
    print_where(d, stderr);
    return environment ? EXIT_ENVIRONMENT : EXIT_FINDINGS;
}

static void print_notes(const struct cli *cli, const struct revision *r,
                        enum step_direction direction, const struct step_result *s)
{
    for (size_t i = 0; settings_on(&cli->settings, OPT_VERBOSE) && i < s->notices.n; i++) {
        _cleanup_free_ char *notice = text_printable(s->notices.v[i]);
        fflush(stdout);
        fprintf(stderr, "  %s\n", notice);
    }
    if (s->session_change)
        warning_print("%s changes its session for the revisions after it: %s", r->id,
                      s->session_change);
    if (s->outcome == STEP_EMPTY && direction == STEP_DOWN)
        warning_print("the downgrade of %s is empty: only the version table was changed", r->id);
}

/* A step that is stopped closes the migrator. */
static int run_steps(const struct database *d, struct migrator **m, const struct revisions *list,
                     enum step_direction direction, struct err *err)
{
    for (size_t i = 0; i < list->n; i++) {
        const struct revision *r = list->v[i];
        struct step_result s = {0};
        if (interrupted()) {
            print_where(d, stderr);
            return err_set(err, ERR_INTERRUPTED, "interrupted before %s", r->id);
        }
        print_step(r, direction);
        interrupt_add(cancel_step, *m);
        int rc = migrator_step(*m, r, direction, true, &s, err);
        interrupt_remove(cancel_step, *m);
        bool ok = rc == 0 && (s.outcome == STEP_OK || s.outcome == STEP_EMPTY);
        int code = EXIT_CLEAN;
        if (ok) {
            print_seconds(s.seconds);
            print_notes(d->cli, r, direction, &s);
        } else if (rc == 0) {
            code = step_failed(d, r, direction, &s);
        } else {
            puts("  stopped");
            err_prefix(err, "revision %s", r->id);
            if (err->code == ERR_CONNECTION && !err->hint)
                err_hint(err, "\"belay current\" says whether the step was applied");
            else if (err->code != ERR_CONNECTION) {
                migrator_close(TAKE_PTR(*m)); /* and with it what the step left open */
                print_where(d, stderr);
            }
        }
        step_result_release(&s);
        if (!ok)
            return rc < 0 ? -1 : code;
    }
    if (settings_on(&d->cli->settings, OPT_QUIET))
        return EXIT_CLEAN;
    _cleanup_revisions_ struct revisions current = {0}, last = {0};
    _cleanup_strv_ struct strv unknown = {0};
    const struct graph *g = source_graph(d->source);
    if (migrator_applied(*m, g, &current, &unknown, err) < 0)
        return -1;
    graph_last(g, &current, &last);
    _cleanup_free_ char *names = verb_names(&last);
    printf("applied now: %s\n", names);
    return EXIT_CLEAN;
}

int cmd_upgrade(struct cli *cli, struct err *err)
{
    const char *target = cli->args.n ? cli->args.v[0] : "head";
    if (settings_on(&cli->settings, OPT_SQL))
        return print_sql(cli, target, WAYS_UP, err);
    _cleanup_database_ struct database d = {0};
    _cleanup_database_state_ struct database_state s = {0};
    _cleanup_revisions_ struct revisions targets = {0}, list = {0};
    _cleanup_(cleanup_migrator_close) struct migrator *m = NULL;
    if (database_need(cli, &d, err) < 0)
        return -1;
    const struct graph *g = source_graph(d.source);
    if (database_look(&d, &s, err) < 0)
        return -1;
    int admitted = verb_admit(&d, &s, err);
    if (admitted <= 0)
        return admitted < 0 ? -1 : EXIT_FINDINGS;
    if (graph_resolve(g, target, &s.current, &targets, err) < 0)
        return -1;
    graph_upgrade_path(g, &s.current, &targets, &list);
    if (!list.n) {
        _cleanup_revisions_ struct revisions last = {0};
        graph_last(g, &s.current, &last);
        _cleanup_free_ char *names = verb_names(&last);
        if (!settings_on(&cli->settings, OPT_QUIET))
            printf("nothing to upgrade; applied now: %s\n", names);
        return EXIT_CLEAN;
    }
    if (database_migrator(&d, s.no_file ? DB_OPEN_CREATE : DB_OPEN_DEFAULT, &m, err) < 0)
        return -1;
    if (s.no_file)
        fprintf(stderr, "%s is new\n", d.shown);
    return run_steps(&d, &m, &list, STEP_UP, err);
}

/* Found out before anything is taken back. */
static int check_downgrades(const struct revisions *list, struct err *err)
{
    for (size_t i = 0; i < list->n; i++) {
        const struct revision *r = list->v[i];
        if (r->down_file)
            continue;
        err_set(err, ERR_SOURCE, "revision %s has no downgrade: nothing was taken back", r->id);
        err_hint(err, "write it, or stop above %s", r->id);
        err_at(err, r->file, 0, 0);
        error_print(err);
        err_release(err);
        return -1;
    }
    return 0;
}

int cmd_downgrade(struct cli *cli, struct err *err)
{
    const char *target = cli->args.v[0];
    if (settings_on(&cli->settings, OPT_SQL))
        return print_sql(cli, target, WAYS_DOWN, err);
    _cleanup_database_ struct database d = {0};
    _cleanup_database_state_ struct database_state s = {0};
    _cleanup_revisions_ struct revisions targets = {0}, list = {0};
    _cleanup_(cleanup_migrator_close) struct migrator *m = NULL;
    if (database_need(cli, &d, err) < 0 || database_look(&d, &s, err) < 0)
        return -1;
    int admitted = verb_admit(&d, &s, err);
    if (admitted <= 0)
        return admitted < 0 ? -1 : EXIT_FINDINGS;
    const struct graph *g = source_graph(d.source);
    if (graph_resolve(g, target, &s.current, &targets, err) < 0 ||
        graph_downgrade_path(g, &s.current, &targets, &list, err) < 0)
        return -1;
    if (!list.n) {
        puts("nothing to downgrade");
        return EXIT_CLEAN;
    }
    if (check_downgrades(&list, err) < 0)
        return EXIT_FINDINGS;
    if (database_migrator(&d, DB_OPEN_DEFAULT, &m, err) < 0)
        return -1;
    return run_steps(&d, &m, &list, STEP_DOWN, err);
}
