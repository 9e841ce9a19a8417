/* belay backup, verify and restore. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "backup/backup.h"
#include "backup/bundle.h"
#include "harness/base/clock.h"
#include "harness/base/file.h"
#include "harness/engine/url.h"
#include "runner/database.h"
#include "runner/transfer.h"
#include "runner/project.h"
#include "runner/report.h"
#include "runner/terminal.h"
#include "runner/verbs.h"

/* ---- which database, and at which revision ---- */

/* The project is needed for the revision alone: where a URL was given, a backup goes on without. */
static int find_database(const struct cli *cli, struct database *ret, struct err *err)
{
    if (!cli->args.n)
        return database_need(cli, ret, err);
    _cleanup_database_ struct database d = {.cli = cli, .url = xstrdup(cli->args.v[0])};
    _cleanup_err_ struct err why = {0};
    d.engine = engine_for_url(d.url, err);
    if (!d.engine)
        return -1;
    d.shown = url_redact(d.url);
    if (project_open(&cli->settings, &cli->config, NULL, &d.source, &why) < 0) {
        if (settings_get(&cli->settings, OPT_DIR) || settings_get(&cli->settings, OPT_FORMAT)) {
            err_move(err, &why);
            return -1;
        }
        if (why.code != ERR_CONFIG)
            warning_print("the revision is not recorded: %s", why.message);
    }
    *ret = d;
    d = (struct database){0};
    return 0;
}

/* What the version table says; what cannot be told is no reason to go without a backup. */
static void find_revisions(const struct database *d, struct strv *ret)
{
    _cleanup_err_ struct err why = {0};
    _cleanup_database_state_ struct database_state state = {0};
    _cleanup_revisions_ struct revisions last = {0};
    if (!d->source)
        return;
    if (database_look(d, &state, &why) < 0) {
        warning_print("the revision is not recorded: %s", why.message);
        return;
    }
    if (state.tracking != TRACKING_YES)
        return;
    graph_last(source_graph(d->source), &state.current, &last);
    for (size_t i = 0; i < last.n; i++)
        strv_add(ret, last.v[i]->id);
    for (size_t i = 0; i < state.unknown.n; i++)
        strv_add(ret, state.unknown.v[i]);
}

/* ---- the name of the file ---- */

static int database_name(const struct database *d, char **ret, struct err *err)
{
    _cleanup_free_ char *path = NULL;
    if (d->engine == &engine_sqlite) {
        if (url_sqlite_path(d->url, &path, err) < 0)
            return -1;
        const char *base = path_base(path), *dot = strrchr(base, '.');
        *ret = xstrndup(base, dot && dot != base ? (size_t)(dot - base) : strcspn(base, "?"));
        return 0;
    }
    _cleanup_db_ struct db *db = NULL;
    return db_open(d->engine, d->url, DB_OPEN_READONLY, &db, err) < 0
               ? -1
               : db_query_text(db, "select current_database()", NULL, 0, ret, err);
}

/* Characters that every shell and file system takes as they are, and not too many. */
static void add_plain(struct str *s, const char *text)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.+";
    for (size_t i = 0; text[i] && i < 40; i++)
        str_addc(s, strchr(plain, text[i]) && (i || text[i] != '.') ? text[i] : '_');
}

/* DATABASE-REVISION-20261121T043000Z.belay */
static int default_name(const struct database *d, const struct strv *revisions, char **ret,
                        struct err *err)
{
    _cleanup_free_ char *database = NULL, *revision = strv_join(revisions, "+");
    _cleanup_str_ struct str name = {0};
    _cleanup_free_ char *when = clock_utc(CLOCK_STAMP);
    if (database_name(d, &database, err) < 0)
        return -1;
    add_plain(&name, database);
    str_addc(&name, '-');
    add_plain(&name, revision);
    str_addf(&name, "%s%s.belay", revision[0] ? "-" : "", when);
    *ret = str_take(&name);
    return 0;
}

/* The folder of the bundle, and how much of it there was before. */
struct folder {
    char *path, *before;
};

static int folder_make(const char *path, struct folder *ret, struct err *err)
{
    *ret = (struct folder){.path = xstrdup(path), .before = xstrdup(path)};
    while (!dir_exists(ret->before)) {
        char *parent = path_dir(ret->before);
        bool top = strcmp(parent, ret->before) == 0;
        free(ret->before);
        ret->before = parent;
        if (top)
            break;
    }
    return dir_make(path, 0700, err);
}

/* Takes away again what is empty of what was made; nothing once there is a bundle in it. */
static void folder_release(struct folder *f)
{
    while (f->path && strcmp(f->path, f->before) != 0 && (rmdir(f->path) == 0 || errno == ENOENT)) {
        char *parent = path_dir(f->path);
        free(f->path);
        f->path = parent;
    }
    free(f->path);
    free(f->before);
}

static int bundle_path(const struct cli *cli, const struct database *d,
                       const struct strv *revisions, struct folder *folder, char **ret,
                       struct err *err)
{
    const char *output = settings_get(&cli->settings, OPT_OUTPUT);
    const char *dir = settings_get(&cli->settings, OPT_BUNDLES);
    _cleanup_free_ char *name = NULL;
    if (output && !dir_exists(output) && !str_ends(output, "/")) {
        *ret = xstrdup(output);
        return 0;
    }
    dir = output ? output : dir ? dir : "belay-bundles";
    if (default_name(d, revisions, &name, err) < 0 || folder_make(dir, folder, err) < 0)
        return -1;
    *ret = path_join(dir, name);
    return 0;
}

/* ---- output ---- */

static void add_summary(struct str *s, const struct backup_summary *b)
{
    _cleanup_free_ char *raw = size_text(b->raw), *stored = size_text(b->stored);
    str_addf(s, "%zu table%s, %llu row%s, %s in %s", b->tables, b->tables == 1 ? "" : "s",
             (unsigned long long)b->rows, b->rows == 1 ? "" : "s", raw, stored);
}

static json_t *summary_json(const char *path, const struct backup_summary *b)
{
    json_t *j = json_object(), *notes = json_array();
    for (size_t i = 0; i < b->notes.n; i++)
        json_array_append_new(notes, report_string(b->notes.v[i]));
    json_object_set_new(j, "bundle", report_string(path));
    json_object_set_new(j, "tables", json_integer((json_int_t)b->tables));
    json_object_set_new(j, "rows", json_integer((json_int_t)b->rows));
    json_object_set_new(j, "bytes", json_integer((json_int_t)b->raw));
    json_object_set_new(j, "stored", json_integer((json_int_t)b->stored));
    json_object_set_new(j, "notes", notes);
    return j;
}

static void print_notes(const struct backup_summary *b)
{
    for (size_t i = 0; i < b->notes.n; i++) {
        _cleanup_free_ char *text = text_printable(b->notes.v[i]);
        warning_print("%s", text);
    }
}

/* ---- commands ---- */

static int check_level(const struct cli *cli, struct err *err)
{
    int level = settings_number(&cli->settings, OPT_LEVEL);
    return level <= BACKUP_LEVEL_MAX
               ? 0
               : err_set(err, ERR_USAGE, "%s: levels go from 1 to %d",
                         settings_origin(&cli->settings, OPT_LEVEL), BACKUP_LEVEL_MAX);
}

int cmd_backup(struct cli *cli, struct err *err)
{
    const struct settings *s = &cli->settings;
    _cleanup_database_ struct database d = {0};
    _cleanup_strv_ struct strv revisions = {0};
    _cleanup_(folder_release) struct folder folder = {0};
    _cleanup_free_ char *path = NULL;
    _cleanup_(backup_summary_release) struct backup_summary summary = {0};
    _cleanup_(transfer_end) struct transfer transfer = {.cancel_fd = -1};
    bool json;
    if (verb_wants_json(cli, &json, err) < 0 || check_level(cli, err) < 0 ||
        find_database(cli, &d, err) < 0)
        return -1;
    find_revisions(&d, &revisions);
    if (bundle_path(cli, &d, &revisions, &folder, &path, err) < 0 ||
        transfer_init(&transfer, settings_on(s, OPT_QUIET), err) < 0)
        return -1;
    const char *const *tables = d.source ? source_version_tables(d.source) : NULL;
    const struct backup_options o = {
        .url = d.url,
        .path = path,
        .key_file = settings_get(s, OPT_ENCRYPT_TO),
        .level = settings_number(s, OPT_LEVEL),
        .jobs = settings_number(s, OPT_JOBS),
        .revisions = &revisions,
        .version_table = revisions.n && tables ? tables[0] : NULL,
        .control = transfer_control(&transfer),
    };
    if (backup_create(&o, &summary, err) < 0)
        return -1;
    transfer_end(&transfer);
    print_notes(&summary);
    if (json)
        return verb_print_json("belay-backup", summary_json(path, &summary), err) < 0 ? -1
                                                                                      : EXIT_CLEAN;
    _cleanup_str_ struct str text = {0};
    add_summary(&text, &summary);
    puts(path);
    if (!settings_on(s, OPT_QUIET))
        fprintf(stderr, "%s\n", str_get(&text));
    return EXIT_CLEAN;
}

static int verify_json(const char *path, const struct verify_result *r, struct err *err)
{
    json_t *j = summary_json(path, &r->summary), *problems = json_array();
    for (size_t i = 0; i < r->problems.n; i++)
        json_array_append_new(problems, report_string(r->problems.v[i]));
    json_object_set_new(j, "good", json_boolean(r->problems.n == 0));
    json_object_set_new(j, "drill", json_boolean(r->drilled));
    json_object_set_new(j, "problems", problems);
    return verb_print_json("belay-verify", j, err);
}

static void verify_text(const struct cli *cli, const char *path, const struct verify_result *r)
{
    struct terminal t = terminal_for(stdout, settings_get(&cli->settings, OPT_COLOR));
    _cleanup_str_ struct str out = {0};
    bool good = r->problems.n == 0;
    style_add(&out, &t, good ? STYLE_GREEN : STYLE_RED,
              good            ? "good"
              : r->not_bundle ? "not a bundle"
                              : "damaged");
    _cleanup_free_ char *name = text_printable(path);
    str_addf(&out, "  %s", name);
    for (size_t i = 0; !r->not_bundle && i < r->problems.n; i++) {
        _cleanup_free_ char *problem = text_printable(r->problems.v[i]);
        str_addf(&out, "\n    %s", problem);
    }
    if (good) {
        str_add(&out, ": ");
        add_summary(&out, &r->summary);
        if (r->drilled)
            str_add(&out, "; restored and compared");
    }
    puts(str_get(&out));
}

int cmd_verify(struct cli *cli, struct err *err)
{
    const struct settings *s = &cli->settings;
    const char *path = cli->args.v[0];
    _cleanup_(verify_result_release) struct verify_result r = {0};
    _cleanup_(transfer_end) struct transfer transfer = {.cancel_fd = -1};
    bool json;
    if (verb_wants_json(cli, &json, err) < 0 ||
        transfer_init(&transfer, settings_on(s, OPT_QUIET), err) < 0)
        return -1;
    const struct verify_options o = {
        .path = path,
        .key_file = settings_get(s, OPT_KEY),
        .jobs = settings_number(s, OPT_JOBS),
        .drill = settings_on(s, OPT_DRILL),
        .scratch_url = settings_get(s, OPT_SCRATCH_URL),
        .control = transfer_control(&transfer),
    };
    if (backup_verify(&o, &r, err) < 0)
        return -1;
    transfer_end(&transfer);
    print_notes(&r.summary);
    if (json && verify_json(path, &r, err) < 0)
        return -1;
    if (!json)
        verify_text(cli, path, &r);
    return r.problems.n ? EXIT_FINDINGS : EXIT_CLEAN;
}

int cmd_restore(struct cli *cli, struct err *err)
{
    const struct settings *s = &cli->settings;
    const char *path = cli->args.v[0], *url = settings_get(s, OPT_TO);
    _cleanup_(restore_result_release) struct restore_result r = {0};
    _cleanup_(transfer_end) struct transfer transfer = {.cancel_fd = -1};
    if (!url) {
        err_set(err, ERR_USAGE, "restore to which database?");
        return err_hint(err, "name it: --to URL");
    }
    if (transfer_init(&transfer, settings_on(s, OPT_QUIET), err) < 0)
        return -1;
    const struct restore_options o = {
        .path = path,
        .key_file = settings_get(s, OPT_KEY),
        .url = url,
        .no_owner = settings_on(s, OPT_NO_OWNER),
        .jobs = settings_number(s, OPT_JOBS),
        .control = transfer_control(&transfer),
    };
    if (backup_restore(&o, &r, err) < 0)
        return -1;
    transfer_end(&transfer);
    print_notes(&r.summary);
    if (settings_on(s, OPT_QUIET))
        return EXIT_CLEAN;
    _cleanup_free_ char *shown = url_redact(url);
    printf("%s is restored from %s\n", shown, path);
    if (r.kept)
        printf("what was there is kept: %s\nremove it with: %s\n", r.kept, r.drop);
    return EXIT_CLEAN;
}
