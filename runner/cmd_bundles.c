/* belay bundles: what is in a folder of bundles, and the removal of old ones. */
#include <stdio.h>
#include <string.h>

#include "backup/shelf.h"
#include "runner/cli.h"
#include "runner/transfer.h"
#include "runner/report.h"
#include "runner/terminal.h"
#include "runner/verbs.h"

static const char *fate(const struct shelf_item *i, bool pruned)
{
    return i->only_good ? "kept: the only good one"
           : !i->remove ? NULL
           : pruned     ? "removed"
                        : "would be removed by --prune";
}

static void set_string(json_t *j, const char *key, const char *value)
{
    if (value)
        json_object_set_new(j, key, report_string(value));
}

static json_t *item_json(const struct shelf_item *i, bool pruned)
{
    json_t *j = json_object(), *revisions = json_array();
    for (size_t k = 0; k < i->revisions.n; k++)
        json_array_append_new(revisions, report_string(i->revisions.v[k]));
    set_string(j, "bundle", i->path);
    json_object_set_new(j, "size", json_integer((json_int_t)i->size));
    json_object_set_new(j, "encrypted", json_boolean(i->encrypted));
    set_string(j, "problem", i->problem);
    set_string(j, "created", i->created);
    set_string(j, "engine", i->engine);
    set_string(j, "server", i->server);
    set_string(j, "host", i->host);
    set_string(j, "database", i->database);
    set_string(j, "belay", i->belay);
    json_object_set_new(j, "revisions", revisions);
    json_object_set_new(j, "tables", json_integer((json_int_t)i->tables));
    json_object_set_new(j, "rows", json_integer((json_int_t)i->rows));
    json_object_set_new(j, "removed", json_boolean(i->remove && pruned));
    return j;
}

static int print_json(const struct shelf *s, bool pruned, struct err *err)
{
    json_t *j = json_object(), *all = json_array();
    for (size_t i = 0; i < s->n; i++)
        json_array_append_new(all, item_json(&s->v[i], pruned));
    json_object_set_new(j, "bundles", all);
    return verb_print_json("belay-bundles", j, err);
}

static void print_item(const struct shelf_item *i, const struct terminal *t, bool pruned)
{
    _cleanup_str_ struct str line = {0}, what = {0};
    _cleanup_free_ char *size = size_text(i->size), *revisions = strv_join(&i->revisions, "+");
    if (i->problem)
        str_addf(&what, "%s", i->problem);
    else
        str_addf(&what, "%.10s %.5s  %s%s%s  %s %s  %s%s", i->created, i->created + 11, i->database,
                 i->host ? " on " : "", i->host ? i->host : "", i->engine, i->server,
                 revisions[0] ? "at " : "", revisions);
    _cleanup_free_ char *name = text_printable(i->name), *text = text_printable(str_get(&what));
    str_addf(&line, "%8s  ", size);
    style_add(&line, t, STYLE_BOLD, name);
    str_addc(&line, ' ');
    str_addc(&line, ' ');
    style_add(&line, t, i->problem && !str_eq(i->problem, "encrypted") ? STYLE_RED : STYLE_PLAIN,
              text);
    const char *end = fate(i, pruned);
    if (end)
        str_addf(&line, "  (%s)", end);
    puts(str_get(&line));
}

static int prune(const struct cli *cli, struct shelf *s, struct err *err)
{
    _cleanup_(transfer_end) struct transfer transfer = {.cancel_fd = -1};
    if (transfer_init(&transfer, settings_on(&cli->settings, OPT_QUIET), err) < 0)
        return -1;
    const struct verify_options verify = {
        .key_file = settings_get(&cli->settings, OPT_KEY),
        .jobs = settings_number(&cli->settings, OPT_JOBS),
        .control = transfer_control(&transfer),
    };
    return shelf_secure(s, &verify, err) < 0 ? -1 : shelf_remove(s, err);
}

int cmd_bundles(struct cli *cli, struct err *err)
{
    const struct settings *s = &cli->settings;
    const char *named = settings_get(s, OPT_BUNDLES);
    const char *dir = cli->args.n ? cli->args.v[0] : named ? named : "belay-bundles";
    int last = settings_number(s, OPT_KEEP_LAST), days = settings_number(s, OPT_KEEP_DAYS);
    bool json, pruning = settings_on(s, OPT_PRUNE), bad = false;
    _cleanup_(shelf_release) struct shelf shelf = {0};
    if (pruning && !last && !days) {
        err_set(err, ERR_USAGE, "which bundles shall stay?");
        return err_hint(err, "say it with --keep-last N, --keep-days N, or both");
    }
    if (verb_wants_json(cli, &json, err) < 0 ||
        shelf_read(dir, settings_get(s, OPT_KEY), &shelf, err) < 0)
        return -1;
    if (last || days)
        shelf_plan(&shelf, last, days, time(NULL));
    if (pruning && prune(cli, &shelf, err) < 0)
        return -1;
    if (json && print_json(&shelf, pruning, err) < 0)
        return -1;
    struct terminal t = terminal_for(stdout, settings_get(s, OPT_COLOR));
    for (size_t i = 0; i < shelf.n; i++) {
        const struct shelf_item *item = &shelf.v[i];
        bad |= item->problem && !str_eq(item->problem, "encrypted");
        if (!json)
            print_item(item, &t, pruning);
    }
    if (!shelf.n && !json && !settings_on(s, OPT_QUIET))
        fprintf(stderr, "no bundles in %s\n", dir);
    return bad ? EXIT_FINDINGS : EXIT_CLEAN;
}
