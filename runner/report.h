/*
 * A check_result as text. Every report is a function that adds to a string, so that it can go to
 * stdout, to a file, or to a test.
 *
 *     struct report_options o = {.terminal = terminal_for(stdout, color), ...};
 *     _cleanup_str_ struct str s = {0};
 *     report_find("text")(&result, &o, &s);
 *
 * Reports read the result, and for excerpts the text report the files that findings name.
 */
#ifndef BELAY_REPORT_H
#define BELAY_REPORT_H

#include <jansson.h>

#include "harness/base/str.h"
#include "runner/result.h"
#include "runner/terminal.h"

struct report_options {
    struct terminal terminal;  /* text only */
    bool verbose;              /* text only: leave nothing out */
    bool quiet;                /* text only: findings and the summary alone */
    enum severity fail_on;     /* from this severity on a finding is a failure */
    int exit_code;             /* that belay will end with */
    const char *command;       /* html only: gives the same check again, or NULL */
    const struct err *stopped; /* why the check came to no verdict, or NULL */
};

typedef void (*report_fn)(const struct check_result *r, const struct report_options *o,
                          struct str *out);

void report_text(const struct check_result *r, const struct report_options *o, struct str *out);
void report_json(const struct check_result *r, const struct report_options *o, struct str *out);
void report_html(const struct check_result *r, const struct report_options *o, struct str *out);
void report_junit(const struct check_result *r, const struct report_options *o, struct str *out);
void report_markdown(const struct check_result *r, const struct report_options *o, struct str *out);
void report_sarif(const struct check_result *r, const struct report_options *o, struct str *out);

/* By the name that --format takes; NULL when unknown. */
report_fn report_find(const char *format);

/* Parts that reports share. */

/* How something went, at a glance. */
enum mark {
    MARK_OK,
    MARK_ERROR,
    MARK_WARNING,
    MARK_NOTE,
    MARK_WAIVED,
    MARK_REPLAYED,
    MARK_NOT_RUN,
};
/* One change of a diff, indented, with a newline. */
void report_change(const char *text, const struct terminal *t, int indent, struct str *out);
/* The findings of a text report. */
void report_text_findings(const struct check_result *r, const struct report_options *o,
                          struct str *out);
/* A mark and a blank behind it. */
void report_text_mark(struct str *out, const struct terminal *t, enum mark mark);
/* A finding as JSON. A new reference. */
json_t *report_finding_json(const struct finding *f);
json_t *report_revision_json(const struct revision_result *r);
/* Sets error, verdict, fail_on, exit_code and summary. */
void report_add_verdict_json(json_t *j, const struct check_result *r,
                             const struct report_options *o);
/* To the microsecond: more digits are noise. A new reference. */
json_t *report_seconds_json(double seconds);
/* The text of j, which is taken over. */
void report_add_json(json_t *j, struct str *out);
/* One change as JSON. A new reference. */
json_t *report_change_json(const char *object, const char *property, const char *before,
                           const char *after, const char *text);
/* A JSON string of any bytes, JSON null for NULL. A new reference. */
json_t *report_string(const char *text);
/* "file:line:col", as far as it is known; "" without a file. The caller owns it. */
char *report_place(const struct finding *f);
const char *report_mark_symbol(enum mark m); /* one column of UTF-8 */
const char *report_mark_word(enum mark m);   /* "ok", "error", "not-run" */
enum mark report_finding_mark(const struct finding *f);
/* worst is the revision's entry of report_worst(). */
enum mark report_revision_mark(const struct revision_result *r, int worst);
enum mark report_verdict_mark(const struct check_result *r, const struct report_options *o);

/* Revisions that were only upgraded share a line from so many in a row on. */
enum { REPORT_REPLAYED_SHOWN = 4 };
/* How many are in a row from the i-th on. */
size_t report_count_replayed(const struct check_result *r, size_t i);

/* "12 ms", at most six columns. */
void report_seconds(double seconds, char *text, size_t size);
/* What was done: "2 revisions, 11 steps, 805 ms", then descent and the like after separators. */
void report_work(const struct check_result *r, const char *separator, struct str *out);
/* "clean", "2 errors, 1 waived", or that there is no verdict. */
void report_verdict(const struct check_result *r, const struct report_options *o, struct str *out);
/* A finding as plain lines of any bytes, whole; each ends in a newline. */
void report_finding_lines(const struct finding *f, struct str *out);
/* The same without its first line. */
void report_finding_circumstances(const struct finding *f, struct str *out);
/* Text for XML 1.0 and HTML: what they cannot hold is replaced or left out. In an attribute newlines
 * are kept as references. */
void report_xml(struct str *out, const char *text, bool attribute);
/* What is wrong, in a line; never NULL. */
const char *report_message(const struct finding *f);
/* The file of a finding, or else that of its revision; NULL when neither is known. */
const char *report_file(const struct check_result *r, const struct finding *f);
/* The title of a revision; "" when it has none or is not in the result. */
const char *report_title(const struct check_result *r, const char *id);
/* Why a revision with REVISION_NOT_RUN was not; never NULL. */
const char *report_not_run_reason(const struct revision_result *r);
/* False when the check stopped early, so that the absence of findings says nothing. */
bool report_has_verdict(const struct check_result *r, const struct report_options *o);
/* A copy in which bytes that are not UTF-8 are replaced by U+FFFD. The caller owns it. */
char *utf8_clean(const char *text);
/* True when f counts as a failure under o. */
bool report_fails(const struct finding *f, const struct report_options *o);
/* The worst of what is not waived in the findings of each revision, -1 for none: owned by the
 * caller, r->nrevisions entries. */
int *report_worst(const struct check_result *r);

#endif
