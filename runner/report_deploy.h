/*
 * What a deploy came to, and what one would do, as text, JSON (docs/deploy.schema.json), page (page.h) and
 * Markdown. Nothing in them holds a password.
 *
 *     struct deploy_report r = {.command = "deploy", .database = d.shown, .result = &result, ...};
 *     report_deploy_find("html")(&r, &options, &out);
 */
#ifndef BELAY_REPORT_DEPLOY_H
#define BELAY_REPORT_DEPLOY_H

#include "backup/deploy.h"
#include "runner/report.h"

struct deploy_report {
    const char *command;  /* "deploy", "recover" */
    const char *database; /* without its password */
    const char *project;  /* folder, or NULL */
    const char *engine;   /* "sqlite", "postgres" */
    const struct deploy_result *result;
    const struct err *failure; /* the result's, or why there is no outcome */
    bool aborted;              /* there is none: nothing was changed */
    bool idle;                 /* recover: no deploy was cut off */
};

/* What --dry-run tells. */
struct plan_report {
    const char *database, *project, *engine; /* as above */
    const char *dir;                         /* of the bundles */
    const struct deploy_plan *plan;
    const char *sql;           /* or NULL, and then why */
    const char *no_sql;        /* or NULL */
    const struct err *against; /* what the preflight says against it, or not set */
};

typedef void (*deploy_report_fn)(const struct deploy_report *r, const struct report_options *o,
                                 struct str *out);
typedef void (*plan_report_fn)(const struct plan_report *r, const struct report_options *o,
                               struct str *out);

/* By the names that --format takes; NULL when there is no such report. */
deploy_report_fn report_deploy_find(const char *format);
plan_report_fn report_plan_find(const char *format);

/* The end alone; before it belay tells why and how, on stderr or with report_deploy_failure(). */
void report_deploy_text(const struct deploy_report *r, const struct report_options *o,
                        struct str *out);
void report_deploy_json(const struct deploy_report *r, const struct report_options *o,
                        struct str *out);
void report_deploy_html(const struct deploy_report *r, const struct report_options *o,
                        struct str *out);
void report_deploy_markdown(const struct deploy_report *r, const struct report_options *o,
                            struct str *out);
/* What failed, and the story. */
void report_deploy_failure(const struct deploy_report *r, struct str *out);
/* What was done about a failure, indented lines. */
void report_deploy_story(const struct deploy_report *r, struct str *out);

void report_plan_text(const struct plan_report *r, const struct report_options *o, struct str *out);
void report_plan_json(const struct plan_report *r, const struct report_options *o, struct str *out);
void report_plan_html(const struct plan_report *r, const struct report_options *o, struct str *out);
void report_plan_markdown(const struct plan_report *r, const struct report_options *o,
                          struct str *out);

/* ---- parts that the reports share ---- */

/* A deploy of the journal as JSON. A new reference. */
json_t *report_entry_json(const struct deploy_entry *e);
/* "base" for none. */
const char *report_or_base(const char *revisions);
/* "done", "restored", ..., "aborted". */
const char *report_deploy_outcome(const struct deploy_report *r);
enum mark report_deploy_mark(const struct deploy_report *r);
/* "the upgrade failed; the database is back as it was, proved" */
const char *report_deploy_verdict(const struct deploy_report *r);
/* How the rung that counted, or was tried last, goes back, and how that was proved; NULL without one. */
const char *report_rung(const struct deploy_report *r);

/* Something that is left, or to be done: what it is, and what to do with it. */
struct deploy_advice {
    const char *label; /* "bundle" */
    char *what;        /* path or name; NULL: none */
    char *how;         /* a sentence, or NULL */
};
struct deploy_advices {
    struct deploy_advice v[8];
    size_t n;
};
void report_deploy_advices(const struct deploy_report *r, struct deploy_advices *ret);
void deploy_advices_release(struct deploy_advices *l);

#endif
