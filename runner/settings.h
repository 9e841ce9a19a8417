/*
 * Options as data: one table says everything about an option, and getopt_long, `belay help`,
 * BELAY_<OPTION> and belay.yaml all read it.
 *
 * Settings come from belay.yaml, then DATABASE_URL and BELAY_*, then the command line; the later
 * wins, option by option.
 */
#ifndef BELAY_SETTINGS_H
#define BELAY_SETTINGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "harness/base/err.h"
#include "harness/base/str.h"
#include "harness/engine/engine.h"
#include "runner/result.h"

enum option_id {
    OPT_ALEMBIC_CONFIG,
    OPT_ALLOW_DRIFT,
    OPT_AUTOGENERATE,
    OPT_BASELINE,
    OPT_BIG_TABLE,
    OPT_BRANCH_LABEL,
    OPT_BUNDLES,
    OPT_COLOR,
    OPT_CONFIG,
    OPT_DEADLINE,
    OPT_DEPENDS_ON,
    OPT_DETECT,
    OPT_DIR,
    OPT_DRILL,
    OPT_DRY_RUN,
    OPT_ENCRYPT_TO,
    OPT_ENGINE,
    OPT_FAIL_ON,
    OPT_FENCE,
    OPT_FORCE,
    OPT_FORMAT,
    OPT_FROM,
    OPT_GIT_BASE,
    OPT_HEAD,
    OPT_HELP,
    OPT_INDICATE_CURRENT,
    OPT_ISOLATION,
    OPT_JOBS,
    OPT_KEEP_DAYS,
    OPT_KEEP_LAST,
    OPT_KEEP_SCRATCH,
    OPT_KEY,
    OPT_LATEST,
    OPT_LEVEL,
    OPT_LOCK_RETRIES,
    OPT_LOCK_TIMEOUT,
    OPT_LONG_LOCK,
    OPT_LOST_WRITES,
    OPT_MAX_BLOCKED,
    OPT_MAX_DURATION,
    OPT_MAX_GROWTH,
    OPT_MESSAGE,
    OPT_MIN_REVISION,
    OPT_NO_CHECK,
    OPT_NO_OWNER,
    OPT_OUTPUT,
    OPT_PATIENCE,
    OPT_PROBE,
    OPT_PROBE_TIMEOUT,
    OPT_PRUNE,
    OPT_PYTHON,
    OPT_QUERIES_FROM,
    OPT_QUICK,
    OPT_QUIET,
    OPT_RECORD,
    OPT_REQUIRE_CHECK,
    OPT_REQUIRE_MASKING,
    OPT_REV_ID,
    OPT_REV_RANGE,
    OPT_ROWS,
    OPT_SAMPLE,
    OPT_SCRATCH_URL,
    OPT_SECTION,
    OPT_SEED,
    OPT_SINCE,
    OPT_SQL,
    OPT_STATEMENT_TIMEOUT,
    OPT_TIMEOUT,
    OPT_TO,
    OPT_TWIN,
    OPT_URL,
    OPT_VERBOSE,
    OPT_VERSION,
    OPT_WAIT,
    OPT_X_ARG,
    OPT_YES,
    OPT_COUNT, /* of the rows of the table */
    /* --format takes a report format too; it is kept apart, so that the two kinds do not hide each
       other */
    OPT_REPORT = OPT_COUNT,
};

enum option_flags {
    OPTION_SWITCH = 1, /* takes no argument, or =yes and =no */
    OPTION_CONFIG = 2, /* may stand in belay.yaml, '-' written '_' */
    OPTION_PATH = 4,   /* relative to belay.yaml when it stands there */
    OPTION_NUMBER = 8,
    OPTION_MANY = 16, /* repeatable; in BELAY_* and belay.yaml separated by commas */
    OPTION_SCENARIO =
        64,           /* may stand in a scenario.yaml too, where OPTION_CONFIG alone would not do */
    OPTION_BARE = 32, /* about the command line itself: no BELAY_* */
    OPTION_ZERO = 256,     /* with OPTION_NUMBER: 0 is one too */
    OPTION_DURATION = 512, /* "60s", "500ms", "2m", "1h"; a bare number is seconds */
    OPTION_SIZE = 1024,    /* "64MB", "2GB"; a bare number is bytes */
    OPTION_PROGRAM = 128,  /* a program: a path when it holds a slash, else looked up in PATH */
    OPTION_PERCENT = 2048, /* with OPTION_NUMBER: up to 100 */
};

struct option_spec {
    const char *name;
    char letter;               /* 0: none */
    const char *arg;           /* "FILE" in the help; NULL for a switch */
    const char *help;          /* one line */
    unsigned flags;            /* enum option_flags */
    const char *const *values; /* what it may be, NULL-terminated; NULL: anything */
};
extern const struct option_spec option_specs[OPT_COUNT];

/* Report formats of --format, NULL-terminated. */
extern const char *const report_formats[];

/* One value given for one option. */
struct setting {
    unsigned option; /* enum option_id */
    unsigned level;  /* 0 belay.yaml, 1 environment, 2 command line */
    char *value;
    char *origin; /* "--fail-on", "BELAY_FAIL_ON", "belay.yaml:3: fail_on", for errors */
};

struct settings {
    struct setting *v; /* levels never decrease */
    size_t n, cap;
};

/* Checks the value against the option's table row; ERR_USAGE, or ERR_CONFIG from belay.yaml. */
int settings_add(struct settings *s, unsigned option, unsigned level, const char *value,
                 const char *origin, struct err *err);
/* The value that wins, or NULL. */
const char *settings_get(const struct settings *s, unsigned option);
bool settings_on(const struct settings *s, unsigned option);
/* Every value that the level which wins gives, in order; the caller owns them. */
void settings_list(const struct settings *s, unsigned option, struct strv *ret);
int settings_number(const struct settings *s, unsigned option); /* 0 when not given */
/* Of an OPTION_DURATION; 0 when not given. */
int settings_milliseconds(const struct settings *s, unsigned option);
/* Of an OPTION_SIZE, in bytes; 0 when not given. */
int64_t settings_bytes(const struct settings *s, unsigned option);
/* Where the winning value comes from, or NULL. */
const char *settings_origin(const struct settings *s, unsigned option);
/* True when no later level sets the same option. */
bool settings_wins(const struct settings *s, const struct setting *v);

/* The engine that --engine, --url or --scratch-url ask for; *ret is NULL when none does. */
int settings_engine(const struct settings *s, const struct engine **ret, struct err *err);
/* The folder of the migrations or one above it: dir unless it is NULL, else --dir, else ".". */
const char *settings_dir(const struct settings *s, const char *dir);
enum severity settings_fail_on(const struct settings *s); /* SEVERITY_ERROR when not said */
void settings_release(struct settings *s);

#endif
