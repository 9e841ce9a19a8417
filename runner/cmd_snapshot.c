/* belay snapshot and belay diff. */
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "backup/bundle.h"
#include "harness/base/cleanup.h"
#include "harness/base/file.h"
#include "harness/schema/diff.h"
#include "harness/schema/schema.h"
#include "harness/source/source.h"
#include "runner/cli.h"
#include "runner/output.h"
#include "runner/project.h"
#include "runner/report.h"

static int snapshot_of_url(const char *url, const struct source *source, struct snapshot **ret,
                           struct err *err)
{
    const struct engine *e = engine_for_url(url, err);
    if (!e)
        return -1;
    _cleanup_db_ struct db *db = NULL;
    if (db_open(e, url, DB_OPEN_READONLY, &db, err) < 0)
        return -1;
    const struct schema_options o = {
        .version_tables = source ? source_version_tables(source) : NULL,
    };
    return schema_read(db, &o, ret, err);
}

static int snapshot_of_text(const char *text, size_t len, const char *name, struct snapshot **ret,
                            struct err *err)
{
    if (snapshot_from_json(text, len, name, ret, err) == 0)
        return 0;
    /* a file that the user named, whatever the reader makes of it */
    err->code = ERR_CONFIG;
    return -1;
}

static int snapshot_of_stdin(struct snapshot **ret, struct err *err)
{
    _cleanup_str_ struct str text = {0};
    char buffer[65536];
    size_t n;
    while ((n = fread(buffer, 1, sizeof(buffer), stdin)) > 0)
        str_addn(&text, buffer, n);
    if (ferror(stdin))
        return err_errno(err, "cannot read stdin");
    return snapshot_of_text(str_get(&text), text.len, "stdin", ret, err);
}

/* An SQLite file begins with these bytes; a new one is empty. */
static bool is_sqlite_file(const char *path)
{
    static const char magic[16] = "SQLite format 3";
    char head[sizeof(magic)];
    _cleanup_fclose_ FILE *f = fopen(path, "re");
    size_t n = f ? fread(head, 1, sizeof(head), f) : 0;
    return n == 0 || (n == sizeof(head) && memcmp(head, magic, sizeof(head)) == 0);
}

static int snapshot_of_bundle(const char *path, const char *key_file, struct snapshot **ret,
                              struct err *err)
{
    _cleanup_bundle_reader_ struct bundle_reader *r = NULL;
    if (bundle_open(path, key_file, &r, err) < 0)
        return -1;
    *ret = snapshot_ref(bundle_manifest(r)->snapshot);
    return 0;
}

/* A URL, a snapshot file, a bundle, an SQLite file, or "-" for a snapshot on stdin. */
static int snapshot_of(const struct cli *cli, const char *what, const struct source *source,
                       struct snapshot **ret, struct err *err)
{
    if (strcmp(what, "-") == 0)
        return snapshot_of_stdin(ret, err);
    if (bundle_is(what))
        return snapshot_of_bundle(what, settings_get(&cli->settings, OPT_KEY), ret, err);
    if (file_exists(what) && !is_sqlite_file(what)) {
        _cleanup_free_ char *text = NULL;
        size_t len;
        if (file_read(what, &text, &len, err) < 0)
            return -1;
        return snapshot_of_text(text, len, what, ret, err);
    }
    return snapshot_of_url(what, source, ret, err);
}

/* The source whose version tables are left out: where a folder or a format was named. A bundle holds
 * them all, so that what is compared with one keeps its own. */
static int named_source(const struct cli *cli, struct source **ret, struct err *err)
{
    for (size_t i = 0; i < cli->args.n; i++)
        if (bundle_is(cli->args.v[i])) {
            *ret = NULL;
            return 0;
        }
    const char *dir = settings_get(&cli->settings, OPT_DIR);
    const char *format = settings_get(&cli->settings, OPT_FORMAT);
    *ret = NULL;
    return dir || format ? project_open(&cli->settings, &cli->config, dir, ret, err) : 0;
}

int cmd_snapshot(struct cli *cli, struct err *err)
{
    const struct settings *s = &cli->settings;
    const char *url = cli->args.n ? cli->args.v[0] : settings_get(s, OPT_URL);
    if (!url) {
        err_set(err, ERR_USAGE, "which database?");
        return err_hint(err, "name its URL, or set DATABASE_URL");
    }
    _cleanup_source_ struct source *source = NULL;
    _cleanup_snapshot_ struct snapshot *snapshot = NULL;
    if (named_source(cli, &source, err) < 0 || snapshot_of(cli, url, source, &snapshot, err) < 0)
        return -1;
    _cleanup_free_ char *json = snapshot_to_json(snapshot);
    const char *path = settings_get(s, OPT_OUTPUT);
    return output_write(str_eq(path, "-") ? NULL : path, json, err) < 0 ? -1 : EXIT_CLEAN;
}

static void diff_text(const struct cli *cli, const struct diff *d, bool to_file, struct str *out)
{
    const struct settings *s = &cli->settings;
    struct terminal t = to_file ? (struct terminal){.utf8 = true, .width = 80}
                                : terminal_for(stdout, settings_get(s, OPT_COLOR));
    for (size_t i = 0; i < d->n; i++) {
        _cleanup_free_ char *text = change_text(&d->changes[i], settings_on(s, OPT_VERBOSE));
        report_change(text, &t, 0, out);
    }
    if (!settings_on(s, OPT_QUIET) && d->n)
        str_addf(out, "\n%zu difference%s\n", d->n, d->n == 1 ? "" : "s");
    else if (!settings_on(s, OPT_QUIET))
        str_add(out, "no differences\n");
}

static void diff_json(const struct diff *d, struct str *out)
{
    json_t *changes = json_array();
    for (size_t i = 0; i < d->n; i++) {
        const struct change *c = &d->changes[i];
        const struct object *o = c->before ? c->before : c->after;
        _cleanup_free_ char *object = xasprintf("%s %s", o->kind, o->identity);
        _cleanup_free_ char *text = change_text(c, true);
        /* a whole object has no value: "" stands for the side that has it */
        const char *before = c->property ? c->old_value : c->before ? "" : NULL;
        const char *after = c->property ? c->new_value : c->after ? "" : NULL;
        json_array_append_new(changes,
                              report_change_json(object, c->property, before, after, text));
    }
    json_t *j = json_object();
    json_object_set_new(j, "type", json_string("belay-diff"));
    json_object_set_new(j, "version", json_integer(1));
    json_object_set_new(j, "equal", json_boolean(d->n == 0));
    json_object_set_new(j, "changes", changes);
    _cleanup_free_ char *text = json_dumps(j, JSON_INDENT(2));
    json_decref(j);
    str_addf(out, "%s\n", text);
}

int cmd_diff(struct cli *cli, struct err *err)
{
    const char *const *args = (const char *const *)cli->args.v;
    if (strcmp(args[0], "-") == 0 && strcmp(args[1], "-") == 0)
        return err_set(err, ERR_USAGE, "stdin can be one side only");
    _cleanup_(outputs_release) struct outputs outputs = {0};
    _cleanup_source_ struct source *source = NULL;
    _cleanup_snapshot_ struct snapshot *a = NULL, *b = NULL;
    if (outputs_plan(&cli->settings, &outputs, err) < 0 || named_source(cli, &source, err) < 0 ||
        snapshot_of(cli, args[0], source, &a, err) < 0 ||
        snapshot_of(cli, args[1], source, &b, err) < 0)
        return -1;
    if (strcmp(a->engine, b->engine) != 0)
        return err_set(err, ERR_USAGE, "cannot compare %s with %s", a->engine, b->engine);
    _cleanup_diff_ struct diff d = {0};
    diff_snapshots(a, b, &d);
    for (size_t i = 0; i < outputs.n; i++) {
        _cleanup_str_ struct str out = {0};
        if (str_eq(outputs.v[i].format, "json")) {
            diff_json(&d, &out);
        } else if (str_eq(outputs.v[i].format, "text")) {
            diff_text(cli, &d, outputs.v[i].path != NULL, &out);
        } else {
            err_set(err, ERR_USAGE, "a diff has no report in the format %s", outputs.v[i].format);
            return err_hint(err, "text and json are there");
        }
        if (output_write(outputs.v[i].path, str_get(&out), err) < 0)
            return -1;
    }
    return d.n ? EXIT_FINDINGS : EXIT_CLEAN;
}
