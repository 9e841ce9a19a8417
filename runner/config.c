/*
 * libcyaml checks the file against a schema, but its messages come through a log callback and name
 * the place of the event before the one at fault. So libyaml reads the same text into a document
 * first: that finds what is not YAML at all, and gives the line of any key or item by its path.
 * libcyaml's message and backtrace are then turned into one error.
 */
#include "runner/config.h"

#include <cyaml/cyaml.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#include "harness/base/cleanup.h"
#include "harness/base/file.h"
#include "harness/base/nearest.h"
#include "runner/config_rehearsal.h"
#include "runner/config_yaml.h"

/* As libcyaml fills it in; moved into struct config afterwards. */
struct raw_waiver {
    char *finding, *revision, *object, *reason, *expires;
};

struct raw_rows {
    char *query;
    char **are;
    unsigned are_count;
};

struct raw_expect {
    struct raw_rows *rows;
    unsigned rows_count;
    char **objects;
    unsigned objects_count;
    char **absent;
    unsigned absent_count;
    char **revision;
    unsigned revision_count;
    char *snapshot;
    struct raw_waiver *findings;
    unsigned findings_count;
};

struct raw_revision {
    char *message, *id, *head, *branch_label, *autogenerate;
};

struct raw_step {
    char *texts[SCENARIO_EXPECT]; /* by enum scenario_kind */
    struct raw_expect *expect;
    struct raw_revision *revision, *merge;
};

struct raw_command {
    char *list, *up, *down, *current, *up_all, *file;
    char **version_tables;
    unsigned version_tables_count;
};

struct raw_given {
    char *table, *sql, *file, *at;
};

struct raw_assertion {
    char *sql, *expect, *name;
};

struct raw_hooks {
    char *before, *after, *on_failure;
};

struct raw {
    char *options[OPT_COUNT];
    char **url_env;
    unsigned url_env_count;
    char **sqlite_extensions;
    unsigned sqlite_extensions_count;
    struct raw_command *command;
    struct raw_given *rows;
    unsigned rows_count;
    struct raw_assertion *after;
    unsigned after_count;
    char **probes;
    unsigned probes_count;
    struct raw_hooks *hooks;
    struct raw_waiver *waivers;
    unsigned waivers_count;
    struct raw_waiver *ignore; /* finding and revision are not in its schema */
    unsigned ignore_count;
    char *title;
    char **engines;
    unsigned engines_count;
    struct raw_waiver *expect;
    unsigned expect_count;
    struct raw_step *steps;
    unsigned steps_count;
};

#define TEXT(key, flags, type, member)                                                             \
    CYAML_FIELD_STRING_PTR(key, CYAML_FLAG_POINTER | (flags), type, member, 0, CYAML_UNLIMITED)
#define NEEDED CYAML_FLAG_DEFAULT
#define OPTIONAL CYAML_FLAG_OPTIONAL

static const cyaml_schema_field_t waiver_fields[] = {
    TEXT("finding", NEEDED, struct raw_waiver, finding),
    TEXT("revision", OPTIONAL, struct raw_waiver, revision),
    TEXT("object", OPTIONAL, struct raw_waiver, object),
    TEXT("reason", NEEDED, struct raw_waiver, reason),
    TEXT("expires", OPTIONAL, struct raw_waiver, expires),
    CYAML_FIELD_END,
};
static const cyaml_schema_field_t ignore_fields[] = {
    TEXT("object", NEEDED, struct raw_waiver, object),
    TEXT("reason", NEEDED, struct raw_waiver, reason),
    TEXT("expires", OPTIONAL, struct raw_waiver, expires),
    CYAML_FIELD_END,
};
static const cyaml_schema_field_t expect_fields[] = {
    TEXT("finding", NEEDED, struct raw_waiver, finding),
    TEXT("revision", OPTIONAL, struct raw_waiver, revision),
    TEXT("object", OPTIONAL, struct raw_waiver, object),
    CYAML_FIELD_END,
};
static const cyaml_schema_value_t waiver_value = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, struct raw_waiver, waiver_fields)};
static const cyaml_schema_value_t ignore_value = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, struct raw_waiver, ignore_fields)};
static const cyaml_schema_value_t expect_value = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, struct raw_waiver, expect_fields)};
static const cyaml_schema_value_t text_value = {
    CYAML_VALUE_STRING(CYAML_FLAG_POINTER, char *, 0, CYAML_UNLIMITED)};

#define LIST_IN(key, type, member, value)                                                          \
    CYAML_FIELD_SEQUENCE(key, CYAML_FLAG_POINTER | OPTIONAL, type, member, value, 0,               \
                         CYAML_UNLIMITED)
#define LIST(key, member, value) LIST_IN(key, struct raw, member, value)

static const cyaml_schema_field_t command_fields[] = {
    TEXT("list", NEEDED, struct raw_command, list),
    TEXT("up", NEEDED, struct raw_command, up),
    TEXT("down", OPTIONAL, struct raw_command, down),
    TEXT("current", OPTIONAL, struct raw_command, current),
    TEXT("up_all", OPTIONAL, struct raw_command, up_all),
    TEXT("file", OPTIONAL, struct raw_command, file),
    LIST_IN("version_tables", struct raw_command, version_tables, &text_value),
    CYAML_FIELD_END,
};

/* ---- the steps of a scenario ---- */

static const cyaml_schema_field_t rows_fields[] = {
    TEXT("query", NEEDED, struct raw_rows, query),
    LIST_IN("are", struct raw_rows, are, &text_value),
    CYAML_FIELD_END,
};
static const cyaml_schema_value_t rows_value = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, struct raw_rows, rows_fields)};
static const cyaml_schema_field_t step_expect_fields[] = {
    LIST_IN("rows", struct raw_expect, rows, &rows_value),
    LIST_IN("objects", struct raw_expect, objects, &text_value),
    LIST_IN("absent", struct raw_expect, absent, &text_value),
    LIST_IN("revision", struct raw_expect, revision, &text_value),
    TEXT("snapshot", OPTIONAL, struct raw_expect, snapshot),
    LIST_IN("findings", struct raw_expect, findings, &expect_value),
    CYAML_FIELD_END,
};
static const cyaml_schema_field_t revision_fields[] = {
    TEXT("message", NEEDED, struct raw_revision, message),
    TEXT("id", OPTIONAL, struct raw_revision, id),
    TEXT("head", OPTIONAL, struct raw_revision, head),
    TEXT("branch_label", OPTIONAL, struct raw_revision, branch_label),
    TEXT("autogenerate", OPTIONAL, struct raw_revision, autogenerate),
    CYAML_FIELD_END,
};
static const cyaml_schema_field_t merge_fields[] = {
    TEXT("message", NEEDED, struct raw_revision, message),
    TEXT("id", OPTIONAL, struct raw_revision, id),
    CYAML_FIELD_END,
};
static const char *const step_keys[] = {
    [SCENARIO_UPGRADE] = "upgrade",   [SCENARIO_DOWNGRADE] = "downgrade",
    [SCENARIO_STAMP] = "stamp",       [SCENARIO_SQL] = "sql",
    [SCENARIO_SNAPSHOT] = "snapshot", [SCENARIO_CHECK] = "check",
    [SCENARIO_EXPECT] = "expect",     [SCENARIO_PREVIEW] = "preview",
    [SCENARIO_REVISION] = "revision", [SCENARIO_MERGE] = "merge",
};
static const cyaml_schema_field_t step_fields[] = {
    TEXT("upgrade", OPTIONAL, struct raw_step, texts[SCENARIO_UPGRADE]),
    TEXT("downgrade", OPTIONAL, struct raw_step, texts[SCENARIO_DOWNGRADE]),
    TEXT("stamp", OPTIONAL, struct raw_step, texts[SCENARIO_STAMP]),
    TEXT("sql", OPTIONAL, struct raw_step, texts[SCENARIO_SQL]),
    TEXT("preview", OPTIONAL, struct raw_step, texts[SCENARIO_PREVIEW]),
    TEXT("snapshot", OPTIONAL, struct raw_step, texts[SCENARIO_SNAPSHOT]),
    TEXT("check", OPTIONAL, struct raw_step, texts[SCENARIO_CHECK]),
    CYAML_FIELD_MAPPING_PTR("expect", OPTIONAL, struct raw_step, expect, step_expect_fields),
    CYAML_FIELD_MAPPING_PTR("revision", OPTIONAL, struct raw_step, revision, revision_fields),
    CYAML_FIELD_MAPPING_PTR("merge", OPTIONAL, struct raw_step, merge, merge_fields),
    CYAML_FIELD_END,
};
static const cyaml_schema_value_t step_value = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, struct raw_step, step_fields)};

/* ---- the file ---- */

static const cyaml_schema_field_t given_fields[] = {
    TEXT("table", NEEDED, struct raw_given, table),
    TEXT("sql", OPTIONAL, struct raw_given, sql),
    TEXT("file", OPTIONAL, struct raw_given, file),
    TEXT("at", OPTIONAL, struct raw_given, at),
    CYAML_FIELD_END,
};
static const cyaml_schema_value_t given_value = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, struct raw_given, given_fields)};
static const cyaml_schema_field_t assertion_fields[] = {
    TEXT("sql", NEEDED, struct raw_assertion, sql),
    TEXT("expect", OPTIONAL, struct raw_assertion, expect),
    TEXT("name", OPTIONAL, struct raw_assertion, name),
    CYAML_FIELD_END,
};
static const cyaml_schema_value_t assertion_value = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, struct raw_assertion, assertion_fields)};
static const cyaml_schema_field_t hooks_fields[] = {
    TEXT("before", OPTIONAL, struct raw_hooks, before),
    TEXT("after", OPTIONAL, struct raw_hooks, after),
    TEXT("on_failure", OPTIONAL, struct raw_hooks, on_failure),
    CYAML_FIELD_END,
};
static const cyaml_schema_field_t common_fields[] = {
    LIST("url_env", url_env, &text_value),
    LIST("sqlite_extensions", sqlite_extensions, &text_value),
    CYAML_FIELD_MAPPING_PTR("command", CYAML_FLAG_POINTER | OPTIONAL, struct raw, command,
                            command_fields),
    LIST("rows", rows, &given_value),
    LIST("after", after, &assertion_value),
    LIST("probes", probes, &text_value),
    CYAML_FIELD_MAPPING_PTR("hooks", CYAML_FLAG_POINTER | OPTIONAL, struct raw, hooks,
                            hooks_fields),
    LIST("waivers", waivers, &waiver_value),
    LIST("ignore", ignore, &ignore_value),
    /* keys of their own, or two kinds of items: config_rehearsal.h reads them */
    CYAML_FIELD_IGNORE("mask", CYAML_FLAG_OPTIONAL),
    CYAML_FIELD_IGNORE("queries", CYAML_FLAG_OPTIONAL),
};
static const cyaml_schema_field_t scenario_fields[] = {
    TEXT("title", NEEDED, struct raw, title),
    LIST("engines", engines, &text_value),
    LIST("expect", expect, &expect_value),
    LIST("steps", steps, &step_value),
};

/* The schema: options that may stand in the file, under their names with '_', and the lists. */
struct schema {
    cyaml_schema_field_t
        fields[OPT_COUNT + ARRAY_LEN(common_fields) + ARRAY_LEN(scenario_fields) + 1];
    char names[OPT_COUNT][24];
    cyaml_schema_value_t value;
};

/* "fail_on": how an option is written in the file. */
static void option_key(unsigned option, char *key, size_t size)
{
    snprintf(key, size, "%s", option_specs[option].name);
    for (char *p = key; *p; p++)
        *p = *p == '-' ? '_' : *p;
}

static void schema_init(struct schema *s, bool scenario)
{
    size_t n = 0;
    unsigned wanted = scenario ? OPTION_CONFIG | OPTION_SCENARIO : OPTION_CONFIG;
    for (unsigned o = 0; o < OPT_COUNT; o++) {
        if (!(option_specs[o].flags & wanted))
            continue;
        option_key(o, s->names[o], sizeof(s->names[o]));
        cyaml_schema_field_t field = TEXT(s->names[o], OPTIONAL, struct raw, options[0]);
        field.data_offset = (uint32_t)(offsetof(struct raw, options) + o * sizeof(char *));
        s->fields[n++] = field;
    }
    memcpy(s->fields + n, common_fields, sizeof(common_fields));
    n += ARRAY_LEN(common_fields);
    if (scenario) {
        memcpy(s->fields + n, scenario_fields, sizeof(scenario_fields));
        n += ARRAY_LEN(scenario_fields);
    }
    s->fields[n] = (cyaml_schema_field_t)CYAML_FIELD_END;
    s->value =
        (cyaml_schema_value_t){CYAML_VALUE_MAPPING(CYAML_FLAG_POINTER, struct raw, s->fields)};
}

static int item_key_line(yaml_document_t *doc, const char *list, size_t i, const char *key)
{
    yaml_node_t *root = yaml_document_get_root_node(doc);
    return config_key_line(doc, config_list_get(doc, config_map_get(doc, root, list, NULL), i),
                           key);
}

/*
 * libcyaml's log, turned into an error.
 */

static void on_log(cyaml_log_t level, void *data, const char *fmt, va_list args)
{
    (void)level;
    _cleanup_free_ char *line = xvasprintf(fmt, args);
    str_add(data, line);
}

/* The rest of the line after the first place where `before` stands, or NULL. Owned by the caller.
 */
static char *after(const char *text, const char *before)
{
    const char *p = strstr(text, before);
    return p ? xstrndup(p + strlen(before), strcspn(p + strlen(before), "\n")) : NULL;
}

/* Walks libcyaml's backtrace, innermost first, down the document: the mapping at fault, and the
 * names of its list and of the last field on the way. */
struct fault {
    yaml_node_t *map; /* innermost mapping that the backtrace is about */
    char list[64];    /* the key at the top that it is in: "waivers", "command"; or "" */
    char field[64];   /* the field that libcyaml was in, or "" */
    bool deep;        /* in a list inside of a list */
};

static void find_fault(yaml_document_t *doc, const char *log, struct fault *f)
{
    *f = (struct fault){.map = yaml_document_get_root_node(doc)};
    long item = 0;
    for (const char *p = strstr(log, "Backtrace"); p; p = strchr(p, '\n')) {
        p += *p == '\n';
        char name[64];
        if (sscanf(p, "  in mapping field '%63[^']'", name) == 1) {
            /* outermost comes last: the first field seen is where it happened */
            if (item || *f->field)
                snprintf(f->list, sizeof(f->list), "%s", name);
            else
                snprintf(f->field, sizeof(f->field), "%s", name);
        } else {
            long outer = 0;
            if (sscanf(p, "  in sequence entry '%ld'", &outer) == 1) {
                f->deep = item != 0;
                item = outer;
            }
        }
        if (!*p)
            break;
    }
    if (*f->list) {
        yaml_node_t *list = config_map_get(doc, f->map, f->list, NULL);
        yaml_node_t *entry = item ? config_list_get(doc, list, (size_t)item - 1) : NULL;
        f->map = entry ? entry : list;
    }
}

/* A key that is missing or unknown within "command" is reported as of the field "command". */
static void enter_field(yaml_document_t *doc, struct fault *f)
{
    yaml_node_t *map = *f->list ? NULL : config_map_get(doc, f->map, f->field, NULL);
    if (!map || map->type != YAML_MAPPING_NODE)
        return;
    memcpy(f->list, f->field, sizeof(f->list));
    f->map = map;
}

static int unknown_key(const char *path, yaml_document_t *doc, const struct fault *f,
                       const struct schema *schema, const char *key, struct err *err)
{
    const cyaml_schema_field_t *fields = schema->fields;
    for (const cyaml_schema_field_t *top = fields; *f->list && top->key; top++)
        if (strcmp(top->key, f->list) == 0)
            fields = top->value.type == CYAML_MAPPING ? top->value.mapping.fields
                                                      : top->value.sequence.entry->mapping.fields;
    /* a mapping inside of a step */
    for (const cyaml_schema_field_t *in = fields; *f->list && in->key; in++)
        if (strcmp(in->key, f->field) == 0 && in->value.type == CYAML_MAPPING) {
            fields = in->value.mapping.fields;
            break;
        }
    const char *names[OPT_COUNT + 16];
    size_t n = 0;
    for (; fields[n].key; n++)
        names[n] = fields[n].key;
    names[n] = NULL;

    /* an option by its name on the command line is the likeliest mistake */
    _cleanup_free_ char *spelt = xstrdup(key);
    for (char *p = spelt; *p; p++)
        *p = *p == '-' ? '_' : *p;
    const char *near = nearest(spelt, names);
    if (near)
        err_set(err, ERR_CONFIG, "unknown key \"%s\" (did you mean \"%s\"?)", key, near);
    else
        err_set(err, ERR_CONFIG, "unknown key \"%s\"", key);
    err_at(err, path, config_key_line(doc, f->map, key), 0);
    if (near || f->deep)
        return -1;
    struct strv all = {0};
    for (size_t i = 0; i < n; i++)
        strv_add(&all, names[i]);
    _cleanup_free_ char *list = strv_join(&all, ", ");
    strv_release(&all);
    return err_hint(err, "the keys here are %s", list);
}

static const char *event_words(const char *name)
{
    return str_starts(name, "SEQUENCE")  ? "a list"
           : str_starts(name, "MAPPING") ? "a mapping (key: value)"
                                         : "a single value";
}

static int wrong_type(const char *path, yaml_document_t *doc, const struct fault *f,
                      const char *message, struct err *err)
{
    char want[32] = "", got[32] = "";
    sscanf(message, "%31[A-Z_], got event: %31[A-Z_]", want, got);
    _cleanup_free_ char *where =
        *f->list ? xasprintf("%s: %s", f->list, f->field) : xstrdup(f->field);
    if (str_ends(where, ": "))
        where[strlen(where) - 2] = '\0';
    err_set(err, ERR_CONFIG, "%s%sexpected %s, found %s", where, *where ? ": " : "",
            event_words(want), event_words(got));
    err_at(err, path, *f->field ? config_key_line(doc, f->map, f->field) : config_node_line(f->map),
           0);
    if (!*where)
        err_hint(err, "write one \"key: value\" a line");
    return -1;
}

static int schema_error(const char *path, yaml_document_t *doc, const struct schema *schema,
                        const char *log, cyaml_err_t code, struct err *err)
{
    struct fault f;
    find_fault(doc, log, &f);
    _cleanup_free_ char *key = NULL;
    if (strstr(log, "Unexpected key: ") || strstr(log, "Missing required mapping field: "))
        enter_field(doc, &f);
    if ((key = after(log, "Unexpected key: ")))
        return unknown_key(path, doc, &f, schema, key, err);
    if ((key = after(log, "Missing required mapping field: "))) {
        err_set(err, ERR_CONFIG, "%s%s\"%s\" is missing", f.list, *f.list ? ": " : "", key);
        err_at(err, path, config_node_line(f.map), 0);
        return strcmp(key, "reason") == 0
                   ? err_hint(err, "say why; the report shows it beside what is waived")
                   : -1;
    }
    if ((key = after(log, "Mapping field already seen: "))) {
        err_set(err, ERR_CONFIG, "key \"%s\" stands twice", key);
        return err_at(err, path, config_key_line(doc, f.map, key), 0);
    }
    if ((key = after(log, "Expecting ")))
        return wrong_type(path, doc, &f, key, err);
    key = code == CYAML_ERR_ALIAS ? xstrdup("aliases (*name) are not read here")
                                  : after(log, "Load: ");
    bool said = key && *key && !str_starts(key, "Backtrace");
    err_set(err, ERR_CONFIG, "%s%s%s", f.field, *f.field ? ": " : "",
            said ? key : cyaml_strerror(code));
    return err_at(err, path,
                  *f.field ? config_key_line(doc, f.map, f.field) : config_node_line(f.map), 0);
}

bool config_is_date(const char *text)
{
    static const int days[] = {31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    int year, month, day, end = 0;
    if (strlen(text) != 10 || strspn(text, "0123456789-") != 10 ||
        sscanf(text, "%4d-%2d-%2d%n", &year, &month, &day, &end) != 3 || end != 10)
        return false;
    if (month < 1 || month > 12 || day < 1 || day > days[month - 1])
        return false;
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return month != 2 || day < 29 || leap;
}

static int check_item(const struct raw_waiver *w, const char *path, yaml_document_t *doc,
                      const char *list, size_t i, bool reason, struct err *err)
{
    const char *key = NULL;
    if (w->finding && !finding_id_find(w->finding)) {
        const char *ids[64];
        size_t n = 0;
        for (const struct finding_id *f = finding_ids; f->id; f++)
            ids[n++] = f->id;
        ids[n] = NULL;
        const char *near = nearest(w->finding, ids);
        key = "finding";
        err_set(err, ERR_CONFIG, "%s: unknown finding \"%s\"", list, w->finding);
        if (near)
            err_hint(err, "did you mean \"%s\"?", near);
        else
            err_hint(err, "docs/findings.md lists them");
    } else if (reason && (!w->reason || !w->reason[strspn(w->reason, " \t\n")])) {
        key = "reason";
        err_set(err, ERR_CONFIG, "%s: the reason is empty", list);
        err_hint(err, "say why; the report shows it beside what is waived");
    } else if (w->expires && !config_is_date(w->expires)) {
        key = "expires";
        err_set(err, ERR_CONFIG, "%s: expires: \"%s\" is not a date", list, w->expires);
        err_hint(err, "write it as YYYY-MM-DD");
    }
    return key ? err_at(err, path, item_key_line(doc, list, i, key), 0) : 0;
}

/* An empty value means the key was left blank: as if it were not there. */
static char *copy_value(const char *s)
{
    return s && *s ? xstrdup(s) : NULL;
}

static void copy_list(struct strv *to, char **from, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        strv_add(to, from[i]);
}

static int fill_steps(struct config *c, const struct raw *raw, yaml_document_t *doc,
                      struct err *err);

static int fill_command(struct config *c, const struct raw_command *raw, yaml_document_t *doc,
                        struct err *err)
{
    c->command = xcalloc(1, sizeof(*c->command));
    *c->command = (struct config_command){
        .list = copy_value(raw->list),
        .up = copy_value(raw->up),
        .down = copy_value(raw->down),
        .current = copy_value(raw->current),
        .up_all = copy_value(raw->up_all),
        .file = copy_value(raw->file),
    };
    copy_list(&c->command->version_tables, raw->version_tables, raw->version_tables_count);
    if (c->command->list && c->command->up)
        return 0;
    const char *key = c->command->list ? "up" : "list";
    err_set(err, ERR_CONFIG, "command: \"%s\" is empty", key);
    yaml_node_t *root = yaml_document_get_root_node(doc);
    return err_at(err, c->path,
                  config_key_line(doc, config_map_get(doc, root, "command", NULL), key), 0);
}

/* A file is read here, so that whoever inserts the rows meets nothing but SQL. */
static int fill_rows(struct config *c, const struct raw *raw, yaml_document_t *doc, struct err *err)
{
    _cleanup_free_ char *dir = path_dir(c->path);
    c->rows = xcalloc(raw->rows_count + 1, sizeof(*c->rows));
    for (unsigned i = 0; i < raw->rows_count; i++) {
        const struct raw_given *g = &raw->rows[i];
        struct config_rows *r = &c->rows[c->nrows++];
        *r = (struct config_rows){
            .table = xstrdup(g->table),
            .at = copy_value(g->at),
            .sql = copy_value(g->sql),
            .line = item_key_line(doc, "rows", i, "table"),
        };
        char *file = copy_value(g->file);
        if (!*r->table || !r->sql == !file) {
            free(file);
            err_set(err, ERR_CONFIG, "rows: %s",
                    !*r->table ? "\"table\" is empty" : "give either \"sql\" or \"file\"");
            err_hint(err, "write {table: public.posts, sql: \"insert into posts ...\"}");
            return err_at(err, c->path, r->line, 0);
        }
        if (!file)
            continue;
        r->file = path_join(dir, file);
        free(file);
        size_t len;
        if (file_read_text(r->file, &r->sql, &len, err) < 0) {
            err->code = ERR_CONFIG;
            err_prefix(err, "rows");
            return err_at(err, c->path, item_key_line(doc, "rows", i, "file"), 0);
        }
    }
    return 0;
}

static int fill_deploy(struct config *c, const struct raw *raw, yaml_document_t *doc,
                       struct err *err)
{
    c->after = xcalloc(raw->after_count + 1, sizeof(*c->after));
    for (unsigned i = 0; i < raw->after_count; i++) {
        const struct raw_assertion *a = &raw->after[i];
        if (!*a->sql) {
            err_set(err, ERR_CONFIG, "after: \"sql\" is empty");
            return err_at(err, c->path, item_key_line(doc, "after", i, "sql"), 0);
        }
        c->after[c->nafter++] = (struct deploy_assertion){
            .sql = xstrdup(a->sql),
            .expect = a->expect ? xstrdup(a->expect) : NULL, /* an empty text is a value */
            .name = copy_value(a->name),
        };
    }
    copy_list(&c->probes, raw->probes, raw->probes_count);
    if (raw->hooks)
        c->hooks = (struct config_hooks){
            .before = copy_value(raw->hooks->before),
            .after = copy_value(raw->hooks->after),
            .on_failure = copy_value(raw->hooks->on_failure),
        };
    return 0;
}

static int fill(struct config *c, const struct raw *raw, yaml_document_t *doc, struct err *err)
{
    yaml_node_t *root = yaml_document_get_root_node(doc);
    c->options = xcalloc(OPT_COUNT, sizeof(*c->options));
    c->option_lines = xcalloc(OPT_COUNT, sizeof(*c->option_lines));
    _cleanup_free_ char *dir = path_dir(c->path);
    for (unsigned o = 0; o < OPT_COUNT; o++) {
        if (!raw->options[o] || !*raw->options[o])
            continue;
        char name[24];
        option_key(o, name, sizeof(name));
        c->option_lines[o] = config_key_line(doc, root, name);
        unsigned flags = option_specs[o].flags;
        bool relative =
            flags & OPTION_PATH || (flags & OPTION_PROGRAM && strchr(raw->options[o], '/'));
        c->options[o] = relative ? path_join(dir, raw->options[o]) : xstrdup(raw->options[o]);
    }
    copy_list(&c->url_env, raw->url_env, raw->url_env_count);
    for (unsigned i = 0; i < raw->sqlite_extensions_count; i++)
        strv_add_take(&c->sqlite_extensions, path_join(dir, raw->sqlite_extensions[i]));

    if (raw->command && fill_command(c, raw->command, doc, err) < 0)
        return -1;
    if (fill_rows(c, raw, doc, err) < 0 || fill_deploy(c, raw, doc, err) < 0)
        return -1;

    c->waivers = xcalloc(raw->waivers_count + 1, sizeof(*c->waivers));
    for (unsigned i = 0; i < raw->waivers_count; i++) {
        const struct raw_waiver *w = &raw->waivers[i];
        if (check_item(w, c->path, doc, "waivers", i, true, err) < 0)
            return -1;
        c->waivers[c->nwaivers++] = (struct waiver){
            .finding = xstrdup(w->finding),
            .revision = copy_value(w->revision),
            .object = copy_value(w->object),
            .reason = xstrdup(w->reason),
            .expires = copy_value(w->expires),
            .file = xstrdup(c->path),
            .line = item_key_line(doc, "waivers", i, "finding"),
        };
    }
    c->ignores = xcalloc(raw->ignore_count + 1, sizeof(*c->ignores));
    for (unsigned i = 0; i < raw->ignore_count; i++) {
        const struct raw_waiver *w = &raw->ignore[i];
        if (check_item(w, c->path, doc, "ignore", i, true, err) < 0)
            return -1;
        c->ignores[c->nignores++] = (struct ignore){
            .object = xstrdup(w->object),
            .reason = xstrdup(w->reason),
            .expires = copy_value(w->expires),
            .file = xstrdup(c->path),
            .line = item_key_line(doc, "ignore", i, "object"),
        };
    }
    c->title = copy_value(raw->title);
    copy_list(&c->engines, raw->engines, raw->engines_count);
    c->expected = xcalloc(raw->expect_count + 1, sizeof(*c->expected));
    for (unsigned i = 0; i < raw->expect_count; i++) {
        const struct raw_waiver *w = &raw->expect[i];
        if (check_item(w, c->path, doc, "expect", i, false, err) < 0)
            return -1;
        c->expected[c->nexpected++] = (struct expected){
            .finding = xstrdup(w->finding),
            .revision = copy_value(w->revision),
            .object = copy_value(w->object),
            .line = item_key_line(doc, "expect", i, "finding"),
        };
    }
    return fill_steps(c, raw, doc, err);
}

static void copy_findings(struct scenario_step *s, const struct raw_expect *e)
{
    s->findings = xcalloc(e->findings_count + 1, sizeof(*s->findings));
    for (unsigned i = 0; i < e->findings_count; i++)
        s->findings[s->nfindings++] = (struct expected){
            .finding = xstrdup(e->findings[i].finding),
            .revision = copy_value(e->findings[i].revision),
            .object = copy_value(e->findings[i].object),
            .line = s->line,
        };
    s->rows = xcalloc(e->rows_count + 1, sizeof(*s->rows));
    for (unsigned i = 0; i < e->rows_count; i++) {
        s->rows[s->nrows].query = xstrdup(e->rows[i].query);
        copy_list(&s->rows[s->nrows++].rows, e->rows[i].are, e->rows[i].are_count);
    }
    copy_list(&s->objects, e->objects, e->objects_count);
    copy_list(&s->absent, e->absent, e->absent_count);
    copy_list(&s->revisions, e->revision, e->revision_count);
    s->snapshot = copy_value(e->snapshot);
}

static int copy_revision(struct scenario_step *s, const struct raw_revision *raw, const char *path,
                         struct err *err)
{
    const char *autogenerate = raw->autogenerate;
    if (!*raw->message || (autogenerate && strcmp(autogenerate, "yes") != 0)) {
        err_set(err, ERR_CONFIG, "steps: %s: %s", step_keys[s->kind],
                *raw->message ? "there is only \"autogenerate: yes\"" : "the message is empty");
        return err_at(err, path, s->line, 0);
    }
    s->revision = (struct scenario_revision){
        .message = xstrdup(raw->message),
        .id = copy_value(raw->id),
        .head = copy_value(raw->head),
        .branch_label = copy_value(raw->branch_label),
        .autogenerate = autogenerate != NULL,
    };
    return 0;
}

/* A step is a mapping of one key. */
static int fill_step(struct config *c, const struct raw_step *raw, yaml_document_t *doc, size_t i,
                     struct err *err)
{
    struct scenario_step *s = &c->steps[c->nsteps++];
    size_t keys = (raw->expect != NULL) + (raw->revision != NULL) + (raw->merge != NULL);
    s->kind = raw->revision ? SCENARIO_REVISION : raw->merge ? SCENARIO_MERGE : SCENARIO_EXPECT;
    for (int k = 0; k < SCENARIO_EXPECT; k++)
        if (raw->texts[k]) {
            s->kind = (enum scenario_kind)k;
            keys++;
        }
    if (s->kind < SCENARIO_EXPECT)
        s->text = xstrdup(raw->texts[s->kind]);
    s->line = item_key_line(doc, "steps", i, step_keys[s->kind]);
    if (keys != 1) {
        err_set(err, ERR_CONFIG, "steps: a step does one thing, and this one does %zu", keys);
        err_hint(err, "begin each with a dash of its own");
        return err_at(err, c->path, s->line, 0);
    }
    if (s->text && (!*s->text || (s->kind == SCENARIO_CHECK && strcmp(s->text, "yes") != 0))) {
        err_set(err, ERR_CONFIG, "steps: %s: %s", step_keys[s->kind],
                *s->text ? "there is only \"check: yes\"" : "empty");
        return err_at(err, c->path, s->line, 0);
    }
    const struct raw_revision *new = raw->revision ? raw->revision : raw->merge;
    if (new &&copy_revision(s, new, c->path, err) < 0)
        return -1;
    for (unsigned k = 0; raw->expect && k < raw->expect->findings_count; k++)
        if (check_item(&raw->expect->findings[k], c->path, doc, "steps", i, false, err) < 0)
            return -1;
    if (raw->expect)
        copy_findings(s, raw->expect);
    return 0;
}

static int fill_steps(struct config *c, const struct raw *raw, yaml_document_t *doc,
                      struct err *err)
{
    c->steps = xcalloc(raw->steps_count + 1, sizeof(*c->steps));
    if (raw->steps_count && raw->expect_count) {
        err_set(err, ERR_CONFIG, "expect stands among the steps, where there are steps");
        err_hint(err, "write \"- check: yes\" and \"- expect: {findings: [...]}\"");
        return err_at(err, c->path,
                      config_key_line(doc, yaml_document_get_root_node(doc), "expect"), 0);
    }
    for (unsigned i = 0; i < raw->steps_count; i++)
        if (fill_step(c, &raw->steps[i], doc, i, err) < 0)
            return -1;
    return 0;
}

static int read_file(const char *path, bool scenario, struct config *ret, struct err *err)
{
    _cleanup_free_ char *text = NULL;
    size_t len;
    if (file_read_text(path, &text, &len, err) < 0) {
        err->code = ERR_CONFIG;
        return -1;
    }
    yaml_document_t doc;
    if (config_document(path, text, len, &doc, err) < 0)
        return -1;

    struct schema schema;
    schema_init(&schema, scenario);
    _cleanup_str_ struct str log = {0};
    const cyaml_config_t how = {
        .log_fn = on_log,
        .log_ctx = &log,
        .log_level = CYAML_LOG_ERROR,
        .mem_fn = cyaml_mem,
        .flags = CYAML_CFG_NO_ALIAS,
    };
    struct raw *raw = NULL;
    cyaml_err_t code = cyaml_load_data((const uint8_t *)text, len, &how, &schema.value,
                                       (cyaml_data_t **)&raw, NULL);
    _cleanup_config_ struct config c = {.path = xstrdup(path)};
    static const struct raw empty; /* of a file with comments alone */
    int result = code == CYAML_OK ? fill(&c, raw ? raw : &empty, &doc, err)
                                  : schema_error(path, &doc, &schema, str_get(&log), code, err);
    if (result == 0)
        result = config_read_rehearsal(&c, &doc, err);
    cyaml_free(&how, &schema.value, raw, 0);
    yaml_document_delete(&doc);
    if (result == 0) {
        *ret = c;
        memset(&c, 0, sizeof(c));
    }
    return result;
}

int config_read(const char *path, struct config *ret, struct err *err)
{
    return read_file(path, false, ret, err);
}

int config_read_scenario(const char *path, struct config *ret, struct err *err)
{
    return read_file(path, true, ret, err);
}

int config_settings(const struct config *c, struct settings *to, struct err *err)
{
    for (unsigned o = 0; o < OPT_COUNT; o++) {
        if (!c->options[o])
            continue;
        char key[24];
        option_key(o, key, sizeof(key));
        if (settings_add(to, o, 0, c->options[o], key, err) < 0)
            return err_at(err, c->path, c->option_lines[o], 0);
    }
    return 0;
}

void config_find(const char *dir, char **ret)
{
    *ret = NULL;
    /* the path as it was given, so that errors say "belay.yaml" and not "/home/..."; above the
     * current folder there are only absolute names */
    _cleanup_free_ char *here = path_join(dir, "belay.yaml");
    if (file_exists(here)) {
        *ret = TAKE_PTR(here);
        return;
    }
    _cleanup_free_ char *folder = realpath(dir, NULL);
    while (folder && strcmp(folder, "/") != 0) {
        _cleanup_free_ char *parent = path_dir(folder);
        free(folder);
        folder = TAKE_PTR(parent);
        _cleanup_free_ char *path = path_join(folder, "belay.yaml");
        if (file_exists(path)) {
            *ret = TAKE_PTR(path);
            return;
        }
    }
}

void config_release(struct config *c)
{
    for (unsigned o = 0; c->options && o < OPT_COUNT; o++)
        free(c->options[o]);
    free(c->options);
    free(c->option_lines);
    strv_release(&c->url_env);
    strv_release(&c->sqlite_extensions);
    struct config_command *k = c->command;
    if (k) {
        free(k->list);
        free(k->up);
        free(k->down);
        free(k->current);
        free(k->up_all);
        free(k->file);
        strv_release(&k->version_tables);
        free(k);
    }
    for (size_t i = 0; i < c->nrows; i++) {
        free(c->rows[i].table);
        free(c->rows[i].sql);
        free(c->rows[i].file);
        free(c->rows[i].at);
    }
    free(c->rows);
    for (size_t i = 0; i < c->nafter; i++) {
        free(c->after[i].sql);
        free(c->after[i].expect);
        free(c->after[i].name);
    }
    free(c->after);
    strv_release(&c->probes);
    mask_rules_release(&c->masks);
    for (size_t i = 0; i < c->nqueries; i++) {
        free(c->queries[i].file);
        free(c->queries[i].text);
    }
    free(c->queries);
    free(c->hooks.before);
    free(c->hooks.after);
    free(c->hooks.on_failure);
    for (size_t i = 0; i < c->nwaivers; i++) {
        struct waiver *w = &c->waivers[i];
        free(w->finding);
        free(w->revision);
        free(w->object);
        free(w->reason);
        free(w->expires);
        free(w->file);
    }
    free(c->waivers);
    for (size_t i = 0; i < c->nignores; i++) {
        struct ignore *g = &c->ignores[i];
        free(g->object);
        free(g->reason);
        free(g->expires);
        free(g->file);
    }
    free(c->ignores);
    for (size_t i = 0; i < c->nexpected; i++) {
        free(c->expected[i].finding);
        free(c->expected[i].revision);
        free(c->expected[i].object);
    }
    free(c->expected);
    for (size_t i = 0; i < c->nsteps; i++)
        scenario_step_release(&c->steps[i]);
    free(c->steps);
    strv_release(&c->engines);
    free(c->title);
    free(c->path);
    memset(c, 0, sizeof(*c));
}
