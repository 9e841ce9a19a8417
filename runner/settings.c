#include "runner/settings.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "harness/base/cleanup.h"
#include "harness/base/nearest.h"
#include "harness/base/str.h"
#include "harness/source/source.h"

const char *const report_formats[] = {"text", "json", "junit", "sarif", "markdown", "html", NULL};

static const char *const colors[] = {"auto", "always", "never", NULL};
static const char *const engine_names[] = {"sqlite", "postgres", "postgresql", NULL};
static const char *const isolations[] = {"run", "step", NULL};
static const char *const lost_writes[] = {"stop", "export", "accept", NULL};
static const char *const severities[] = {"error", "warning", "note", NULL};

const struct option_spec option_specs[OPT_COUNT] = {
    [OPT_ALEMBIC_CONFIG] = {"alembic-config", 0, "FILE", "Alembic's alembic.ini or pyproject.toml",
                            OPTION_CONFIG | OPTION_PATH, NULL},
    [OPT_ALLOW_DRIFT] = {"allow-drift", 0, NULL, "go on when the schema is not the revisions'",
                         OPTION_SWITCH | OPTION_CONFIG, NULL},
    [OPT_AUTOGENERATE] = {"autogenerate", 0, NULL,
                          "write what the models and the database differ in",
                          OPTION_SWITCH | OPTION_BARE, NULL},
    [OPT_BASELINE] = {"baseline", 0, "FILE", "SQL file to run before the first revision",
                      OPTION_CONFIG | OPTION_PATH, NULL},
    [OPT_BIG_TABLE] = {"big-table", 0, "SIZE",
                       "work on a whole table counts from this size on (64MB)",
                       OPTION_CONFIG | OPTION_SIZE, NULL},
    [OPT_BRANCH_LABEL] = {"branch-label", 0, "NAME", "label of the branch that begins here",
                          OPTION_BARE, NULL},
    [OPT_BUNDLES] = {"bundles", 0, "DIR", "of bundles and the journal (belay-bundles)",
                     OPTION_CONFIG | OPTION_PATH, NULL},
    [OPT_COLOR] = {"color", 0, "WHEN", "colour: auto, always or never", 0, colors},
    [OPT_CONFIG] = {"config", 'c', "FILE", "read FILE instead of the nearest belay.yaml", 0, NULL},
    [OPT_DEADLINE] = {"deadline", 0, "TIME", "the whole upgrade must end within",
                      OPTION_CONFIG | OPTION_DURATION, NULL},
    [OPT_DEPENDS_ON] = {"depends-on", 0, "REV", "must be applied before (repeatable)",
                        OPTION_MANY | OPTION_BARE, NULL},
    [OPT_DETECT] = {"detect", 0, NULL, "the revision that the schema is at",
                    OPTION_SWITCH | OPTION_BARE, NULL},
    [OPT_DIR] = {"dir", 'd', "DIR", "the folder of the migrations, or one above it",
                 OPTION_CONFIG | OPTION_PATH, NULL},
    [OPT_DRILL] = {"drill", 0, NULL, "restore the bundle into scratch and compare",
                   OPTION_SWITCH | OPTION_CONFIG, NULL},
    [OPT_DRY_RUN] = {"dry-run", 0, NULL, "print the plan, change nothing",
                     OPTION_SWITCH | OPTION_BARE, NULL},
    [OPT_ENCRYPT_TO] = {"encrypt-to", 0, "FILE", "encrypt with the key in FILE", OPTION_PATH, NULL},
    [OPT_ENGINE] = {"engine", 'e', "NAME", "sqlite or postgres", OPTION_CONFIG, engine_names},
    [OPT_FAIL_ON] = {"fail-on", 0, "LEVEL", "exit 1 from this severity on: error, warning, note",
                     OPTION_CONFIG, severities},
    [OPT_FENCE] = {"fence", 0, NULL, "PostgreSQL: keep everybody else out meanwhile",
                   OPTION_SWITCH | OPTION_CONFIG, NULL},
    [OPT_FORCE] = {"force", 0, NULL, "whether the schema fits or not", OPTION_SWITCH | OPTION_BARE,
                   NULL},
    [OPT_FORMAT] = {"format", 'f', "NAME", "of the migrations, or of the report (see below)",
                    OPTION_CONFIG | OPTION_MANY, NULL},
    [OPT_FROM] = {"from", 0, "BUNDLE|URL", "what to copy", 0, NULL},
    [OPT_GIT_BASE] = {"git-base", 0, "REF", "check only revisions added since REF", 0, NULL},
    [OPT_HEAD] = {"head", 0, "REV", "the revision to follow; base for a new one",
                  OPTION_MANY | OPTION_BARE, NULL},
    [OPT_HELP] = {"help", 'h', NULL, "show help", OPTION_SWITCH | OPTION_BARE, NULL},
    [OPT_INDICATE_CURRENT] = {"indicate-current", 'i', NULL, "mark what the database is at",
                              OPTION_SWITCH | OPTION_BARE, NULL},
    [OPT_ISOLATION] = {"isolation", 0, "HOW", "run Alembic's env.py once (run) or for each step",
                       OPTION_CONFIG, isolations},
    [OPT_JOBS] = {"jobs", 'j', "N", "connections and threads (the number of cores)",
                  OPTION_CONFIG | OPTION_NUMBER, NULL},
    [OPT_KEEP_DAYS] = {"keep-days", 0, "N", "bundles younger than N days stay", OPTION_NUMBER,
                       NULL},
    [OPT_KEEP_LAST] = {"keep-last", 0, "N", "the last N bundles of each database stay",
                       OPTION_NUMBER, NULL},
    [OPT_KEEP_SCRATCH] = {"keep-scratch", 0, NULL,
                          "leave the scratch databases and print their URL", OPTION_SWITCH, NULL},
    [OPT_KEY] = {"key", 0, "FILE", "the key of an encrypted bundle", OPTION_PATH, NULL},
    [OPT_LATEST] = {"latest", 0, "N", "check only the last N revisions",
                    OPTION_NUMBER | OPTION_SCENARIO, NULL},
    [OPT_LEVEL] = {"level", 0, "N", "of compression, 1 to 19 (3)", OPTION_CONFIG | OPTION_NUMBER,
                   NULL},
    [OPT_LOCK_RETRIES] = {"lock-retries", 0, "N", "of a revision that got no lock in time (5)",
                          OPTION_CONFIG | OPTION_NUMBER | OPTION_ZERO, NULL},
    [OPT_LOCK_TIMEOUT] = {"lock-timeout", 0, "TIME", "a revision waits for a lock no longer",
                          OPTION_CONFIG | OPTION_DURATION, NULL},
    [OPT_LONG_LOCK] = {"long-lock", 0, "TIME", "others may wait for a lock so long (500ms)",
                       OPTION_CONFIG | OPTION_DURATION, NULL},
    [OPT_LOST_WRITES] = {"lost-writes", 0, "HOW", "others' rows: stop, export or accept",
                         OPTION_CONFIG, lost_writes},
    [OPT_MAX_BLOCKED] = {"max-blocked", 0, "TIME", "budget: nobody may wait longer",
                         OPTION_CONFIG | OPTION_DURATION, NULL},
    [OPT_MAX_DURATION] = {"max-duration", 0, "TIME", "budget: of all upgrades together",
                          OPTION_CONFIG | OPTION_DURATION, NULL},
    [OPT_MAX_GROWTH] = {"max-growth", 0, "SIZE", "budget: of room that the upgrades need",
                        OPTION_CONFIG | OPTION_SIZE, NULL},
    [OPT_MESSAGE] = {"message", 'm', "TEXT", "what the revision does, in a few words", OPTION_BARE,
                     NULL},
    [OPT_MIN_REVISION] = {"min-revision", 0, "REV", "never downgrade below REV", OPTION_CONFIG,
                          NULL},
    [OPT_NO_CHECK] = {"no-check", 0, NULL, "do not check the new revision", OPTION_SWITCH, NULL},
    [OPT_NO_OWNER] = {"no-owner", 0, NULL, "restore without owners and privileges", OPTION_SWITCH,
                      NULL},
    [OPT_OUTPUT] = {"output", 'o', "FILE", "write to FILE instead of stdout (repeatable)",
                    OPTION_MANY, NULL},
    [OPT_PATIENCE] = {"patience", 0, "TIME", "for a server that goes away meanwhile (60s)",
                      OPTION_CONFIG | OPTION_DURATION, NULL},
    [OPT_PROBE] = {"probe", 0, "COMMAND", "must end with 0 after the upgrade (repeatable)",
                   OPTION_MANY, NULL},
    [OPT_PROBE_TIMEOUT] = {"probe-timeout", 0, "TIME", "each probe and hook must end within (60s)",
                           OPTION_CONFIG | OPTION_DURATION, NULL},
    [OPT_PRUNE] = {"prune", 0, NULL, "remove what need not stay", OPTION_SWITCH | OPTION_BARE,
                   NULL},
    [OPT_PYTHON] = {"python", 0, "PROGRAM", "the interpreter of an Alembic project",
                    OPTION_CONFIG | OPTION_PROGRAM, NULL},
    [OPT_QUERIES_FROM] = {"queries-from", 0, "URL",
                          "queries of the application: pg_stat_statements", OPTION_CONFIG, NULL},
    [OPT_QUICK] = {"quick", 0, NULL, "the climb only: every revision up, nothing down",
                   OPTION_SWITCH | OPTION_CONFIG, NULL},
    [OPT_QUIET] = {"quiet", 'q', NULL, "only findings and the summary", OPTION_SWITCH, NULL},
    [OPT_RECORD] = {"record", 0, "FILE", "write there which revisions passed", OPTION_PATH, NULL},
    [OPT_REQUIRE_CHECK] = {"require-check", 0, "FILE",
                           "deploy only what \"check --record\" wrote there",
                           OPTION_CONFIG | OPTION_PATH, NULL},
    [OPT_REQUIRE_MASKING] = {"require-masking", 0, NULL,
                             "refuse columns that look personal and are not masked",
                             OPTION_SWITCH | OPTION_CONFIG, NULL},
    [OPT_REV_ID] = {"rev-id", 0, "ID", "id of the new revision", OPTION_BARE, NULL},
    [OPT_REV_RANGE] = {"rev-range", 'r', "RANGE", "FROM:TO, either may be left out", OPTION_BARE,
                       NULL},
    [OPT_ROWS] = {"rows", 0, "N", "rows that a table gets", OPTION_NUMBER | OPTION_ZERO, NULL},
    [OPT_SAMPLE] = {"sample", 0, "PERCENT", "copy about that much of the rows (100)",
                    OPTION_CONFIG | OPTION_NUMBER | OPTION_PERCENT, NULL},
    [OPT_SCRATCH_URL] = {"scratch-url", 0, "URL",
                         "make scratch databases on this PostgreSQL server", OPTION_CONFIG, NULL},
    [OPT_SECTION] = {"section", 'n', "NAME", "section of alembic.ini, as alembic -n takes it",
                     OPTION_CONFIG, NULL},
    [OPT_SEED] = {"seed", 0, "N", "of generated values, or of a sample (1)", OPTION_NUMBER, NULL},
    [OPT_SINCE] = {"since", 0, "REV", "check only revisions that REV does not contain",
                   OPTION_SCENARIO, NULL},
    [OPT_SQL] = {"sql", 0, NULL, "print the SQL instead, without a database",
                 OPTION_SWITCH | OPTION_BARE, NULL},
    [OPT_STATEMENT_TIMEOUT] = {"statement-timeout", 0, "TIME",
                               "no statement of a revision may take longer",
                               OPTION_CONFIG | OPTION_DURATION, NULL},
    [OPT_TIMEOUT] = {"timeout", 0, "SECONDS", "when a project's Python counts as hung (120)",
                     OPTION_CONFIG | OPTION_NUMBER, NULL},
    [OPT_TO] = {"to", 0, "WHERE", "the URL to restore to; the revision to deploy", OPTION_BARE,
                NULL},
    [OPT_TWIN] = {"twin", 0, NULL, "copy the database on its server, to swap back to",
                  OPTION_SWITCH | OPTION_CONFIG, NULL},
    [OPT_URL] = {"url", 'u', "URL", "the project's database", OPTION_CONFIG, NULL},
    [OPT_VERBOSE] = {"verbose", 'v', NULL, "leave nothing out", OPTION_SWITCH, NULL},
    [OPT_VERSION] = {"version", 0, NULL, "show belay's version", OPTION_SWITCH | OPTION_BARE, NULL},
    [OPT_WAIT] = {"wait", 0, "TIME", "for a server, or another deploy",
                  OPTION_CONFIG | OPTION_DURATION, NULL},
    [OPT_X_ARG] = {"x-arg", 'x', "ARG", "for env.py, as alembic -x takes it (repeatable)",
                   OPTION_CONFIG | OPTION_MANY, NULL},
    [OPT_YES] = {"yes", 'y', NULL, "do not ask", OPTION_SWITCH | OPTION_BARE, NULL},
};

/* "a, b or c" */
static char *list_text(const char *const *values)
{
    struct str s = {0};
    for (size_t i = 0; values[i]; i++)
        str_addf(&s, "%s%s", i == 0 ? "" : values[i + 1] ? ", " : " or ", values[i]);
    return str_take(&s);
}

static bool list_has(const char *const *values, const char *value)
{
    for (; *values; values++)
        if (strcmp(*values, value) == 0)
            return true;
    return false;
}

static int bad_value(const char *origin, const char *value, const char *const *values,
                     unsigned level, struct err *err)
{
    const char *near = nearest(value, values);
    _cleanup_free_ char *list = list_text(values);
    err_set(err, level == 0 ? ERR_CONFIG : ERR_USAGE, "%s: \"%s\" is not one of %s", origin, value,
            list);
    return near ? err_hint(err, "did you mean \"%s\"?", near) : -1;
}

static const char *switch_value(const char *value)
{
    static const char *const on[] = {"yes", "true", "on", "1", NULL};
    static const char *const off[] = {"no", "false", "off", "0", NULL};
    return list_has(on, value) ? "yes" : list_has(off, value) ? "no" : NULL;
}

/* -1 when it is none. */
static long duration_milliseconds(const char *value)
{
    static const struct {
        const char *unit;
        long milliseconds;
    } units[] = {{"ms", 1}, {"s", 1000}, {"", 1000}, {"m", 60000}, {"h", 3600000}};
    char *end;
    long number = strtol(value, &end, 10);
    for (size_t i = 0; i < ARRAY_LEN(units); i++)
        if (end != value && strcmp(end, units[i].unit) == 0 && number >= 0 &&
            number <= INT_MAX / units[i].milliseconds)
            return number * units[i].milliseconds;
    return -1;
}

/* -1 when it is none. */
static int64_t size_bytes(const char *value)
{
    static const struct {
        const char *unit;
        int64_t bytes;
    } units[] = {{"", 1}, {"kB", 1000}, {"MB", 1000000}, {"GB", 1000000000}, {"TB", 1000000000000}};
    char *end;
    long long number = strtoll(value, &end, 10);
    for (size_t i = 0; i < ARRAY_LEN(units); i++)
        if (end != value && strcasecmp(end, units[i].unit) == 0 && number >= 0 &&
            number <= INT64_MAX / units[i].bytes)
            return number * units[i].bytes;
    return -1;
}

static int add_one(struct settings *s, unsigned option, unsigned level, const char *value,
                   const char *origin, struct err *err)
{
    const struct option_spec *spec = &option_specs[option];
    enum err_code code = level == 0 ? ERR_CONFIG : ERR_USAGE;
    if (!*value)
        return err_set(err, code, "%s: empty value", origin);
    /* as people type it for alembic itself */
    if (option == OPT_CONFIG && (str_ends(value, ".ini") || str_ends(value, ".toml")))
        option = OPT_ALEMBIC_CONFIG;
    if (option == OPT_FORMAT && list_has(report_formats, value)) {
        option = OPT_REPORT;
    } else if (option == OPT_FORMAT) {
        if (!list_has(source_formats, value)) {
            const char *all[32];
            size_t n = 0;
            for (size_t i = 0; source_formats[i]; i++)
                all[n++] = source_formats[i];
            for (size_t i = 0; report_formats[i]; i++)
                all[n++] = report_formats[i];
            all[n] = NULL;
            return bad_value(origin, value, all, level, err);
        }
    } else if (spec->flags & OPTION_SWITCH) {
        const char *word = switch_value(value);
        if (!word)
            return err_set(err, code, "%s: \"%s\" is not yes or no", origin, value);
        value = word;
    } else if (spec->flags & OPTION_NUMBER) {
        char *end;
        long number = strtol(value, &end, 10);
        int least = spec->flags & OPTION_ZERO ? 0 : 1;
        int most = spec->flags & OPTION_PERCENT ? 100 : 1000000;
        if (*end || end == value || number < least || number > most)
            return err_set(err, code, "%s: \"%s\" is not a number from %d to %d", origin, value,
                           least, most);
    } else if ((spec->flags & OPTION_DURATION) && duration_milliseconds(value) < 0) {
        return err_set(err, code, "%s: \"%s\" is not a time such as 30s, 500ms or 5m", origin,
                       value);
    } else if ((spec->flags & OPTION_SIZE) && size_bytes(value) < 0) {
        return err_set(err, code, "%s: \"%s\" is not a size such as 64MB or 2GB", origin, value);
    } else if (spec->values && !list_has(spec->values, value)) {
        return bad_value(origin, value, spec->values, level, err);
    }
    s->v = xgrow(s->v, s->n, &s->cap, sizeof(*s->v));
    s->v[s->n++] = (struct setting){option, level, xstrdup(value), xstrdup(origin)};
    return 0;
}

int settings_add(struct settings *s, unsigned option, unsigned level, const char *value,
                 const char *origin, struct err *err)
{
    if (!(option_specs[option].flags & OPTION_MANY) || level == 2)
        return add_one(s, option, level, value, origin, err);
    for (const char *p = value;;) {
        size_t n = strcspn(p, ",");
        size_t lead = strspn(p, " ");
        lead = lead > n ? n : lead;
        size_t end = n;
        while (end > lead && p[end - 1] == ' ')
            end--;
        _cleanup_free_ char *part = xstrndup(p + lead, end - lead);
        if (add_one(s, option, level, part, origin, err) < 0)
            return -1;
        if (!p[n])
            return 0;
        p += n + 1;
    }
}

static const struct setting *find_setting(const struct settings *s, unsigned option)
{
    for (size_t i = s->n; i-- > 0;)
        if (s->v[i].option == option)
            return &s->v[i];
    return NULL;
}

const char *settings_get(const struct settings *s, unsigned option)
{
    const struct setting *found = find_setting(s, option);
    return found ? found->value : NULL;
}

const char *settings_origin(const struct settings *s, unsigned option)
{
    const struct setting *found = find_setting(s, option);
    return found ? found->origin : NULL;
}

void settings_list(const struct settings *s, unsigned option, struct strv *ret)
{
    for (size_t i = 0; i < s->n; i++)
        if (s->v[i].option == option && settings_wins(s, &s->v[i]))
            strv_add(ret, s->v[i].value);
}

bool settings_on(const struct settings *s, unsigned option)
{
    return str_eq(settings_get(s, option), "yes");
}

int settings_number(const struct settings *s, unsigned option)
{
    const char *value = settings_get(s, option);
    return value ? atoi(value) : 0; /* checked when it was added */
}

int settings_milliseconds(const struct settings *s, unsigned option)
{
    const char *value = settings_get(s, option);
    return value ? (int)duration_milliseconds(value) : 0; /* checked when it was added */
}

int64_t settings_bytes(const struct settings *s, unsigned option)
{
    const char *value = settings_get(s, option);
    return value ? size_bytes(value) : 0; /* checked when it was added */
}

bool settings_wins(const struct settings *s, const struct setting *v)
{
    return find_setting(s, v->option)->level == v->level;
}

void settings_release(struct settings *s)
{
    for (size_t i = 0; i < s->n; i++) {
        free(s->v[i].value);
        free(s->v[i].origin);
    }
    free(s->v);
    memset(s, 0, sizeof(*s));
}

const char *settings_dir(const struct settings *s, const char *dir)
{
    const char *set = settings_get(s, OPT_DIR);
    return dir ? dir : set ? set : ".";
}

enum severity settings_fail_on(const struct settings *s)
{
    const char *name = settings_get(s, OPT_FAIL_ON);
    for (int i = SEVERITY_NOTE; name && i <= SEVERITY_ERROR; i++)
        if (strcmp(severity_name((enum severity)i), name) == 0)
            return (enum severity)i;
    return SEVERITY_ERROR;
}

int settings_engine(const struct settings *s, const struct engine **ret, struct err *err)
{
    const char *name = settings_get(s, OPT_ENGINE);
    *ret = name ? engine_by_name(name) : NULL;
    static const unsigned urls[] = {OPT_URL, OPT_SCRATCH_URL};
    for (size_t i = 0; i < ARRAY_LEN(urls) && !*ret; i++) {
        const char *url = settings_get(s, urls[i]);
        if (!url)
            continue;
        *ret = engine_for_url(url, err);
        if (!*ret) {
            err_prefix(err, "%s", settings_origin(s, urls[i]));
            return err_hint(err, "belay knows SQLite and PostgreSQL; --engine says which one the "
                                 "migrations are for");
        }
    }
    return 0;
}
