/*
 * What a check found, independent of how it is shown. The round trip fills a struct check_result;
 * the reports (report_*.c) read it, and for excerpts the files
 * that findings name.
 */
#ifndef BELAY_RESULT_H
#define BELAY_RESULT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "harness/base/err.h"
#include "harness/base/str.h"

enum severity {
    SEVERITY_NOTE,
    SEVERITY_WARNING,
    SEVERITY_ERROR,
};

const char *severity_name(enum severity s); /* "note", "warning", "error" */

/* The stable ids, with severity, title and what to do in general: finding_ids[]. */
struct finding_id {
    const char *id; /* "downgrade-leaves-trace" */
    enum severity severity;
    const char *meaning; /* one sentence, for the docs and SARIF/JSON reports */
};
extern const struct finding_id finding_ids[];             /* terminated by id NULL */
const struct finding_id *finding_id_find(const char *id); /* NULL when unknown */
/* True for what only a rehearsal can find. */
bool finding_id_is_rehearsals(const char *id);

/* One line of a diff, already rendered. */
struct finding_change {
    char *object;   /* "constraint public.posts.fk_posts_user" */
    char *property; /* NULL: the object was added or removed */
    char *before;   /* NULL when absent (for an added object) */
    char *after;    /* NULL when absent (for a removed object) */
    char *text;     /* change_text() */
};

struct finding {
    const struct finding_id *id;
    enum severity severity;
    char *revision;   /* id, or NULL for the project as a whole */
    char *file;       /* relative to the current folder where possible, or NULL */
    int line, column; /* 1-based, 0 unknown */
    char *message;    /* one line: cause */
    char *hint;       /* or NULL */
    char *statement;  /* or NULL */
    char *detail;     /* the server's DETAIL/CONTEXT, or NULL */
    char *trace;      /* as in struct err */
    char sqlstate[6];
    struct finding_change *changes;
    size_t nchanges, changes_cap;
    /* a waiver that covers it: reported, not counted */
    char *waived_reason;  /* NULL: not waived */
    char *waived_expires; /* "2027-01-31", or NULL */
};

enum revision_status {
    REVISION_OK,
    REVISION_FINDINGS, /* has findings (of any severity, waived ones included) */
    REVISION_REPLAYED, /* only upgraded on the way: --since, --latest, --git-base */
    REVISION_NOT_RUN,  /* needs a revision that could not be applied */
};

struct revision_result {
    char *id;
    char *title;
    char *file;
    enum revision_status status;
    char *not_run_reason; /* for REVISION_NOT_RUN: "needs 0004, which does not upgrade" */
    double up_seconds, down_seconds;
};

struct check_result {
    char *project;  /* folder, as the user named it */
    char *format;   /* source_format() */
    char *engine;   /* "sqlite", "postgres" */
    char *scratch;  /* scratch_pool_describe() */
    char *kept_url; /* --keep-scratch: URL of the kept database, or NULL */
    bool quick;
    int rows;         /* generated a table; 0: none */
    uint64_t seed;    /* of their values */
    bool interrupted; /* stopped by a signal: what is here is what was done so far */
    struct revision_result *revisions; /* in topological order */
    size_t nrevisions, revisions_cap;
    struct finding *findings; /* in the order of revisions; those of the project last */
    size_t nfindings, findings_cap;
    size_t nsteps; /* upgrades and downgrades run */
    double seconds;
    char *straight_run; /* "equal", "differs", "failed", "not run: <why>" */
    char *descent;      /* same words */
};

struct finding *result_add_finding(struct check_result *r, const char *id, const char *revision);
/* Fills message, hint, place, statement, sqlstate, detail, trace from e (copied). */
void finding_from_err(struct finding *f, const struct err *e);
/* True when f is about an object that matches the pattern ("kind identity" with * and ?). */
bool finding_matches_object(const struct finding *f, const char *pattern);
/* The pattern itself, for waivers and ignored objects: * any text, ? one character, else literal.
 */
bool object_matches(const char *pattern, const char *object);
/* The most severe finding that is not waived; -1 when there is none. */
int result_worst(const struct check_result *r);
size_t result_count(const struct check_result *r, enum severity s); /* not waived ones */
size_t result_count_waived(const struct check_result *r);
void check_result_release(struct check_result *r);

/* Told as the check goes along; any function may be NULL. */
struct progress {
    void *data;
    /* revision NULL: a phase without one ("starting PostgreSQL", "straight run"). */
    void (*step)(void *data, size_t done, size_t total, const char *phase, const char *revision);
};

#endif
