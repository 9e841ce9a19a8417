/*
 * A rehearsal as text, JSON, page and Markdown; the findings in it look as in the reports of a check (report.h).
 */
#ifndef BELAY_REPORT_REHEARSAL_H
#define BELAY_REPORT_REHEARSAL_H

#include "runner/rehearsal.h"
#include "runner/report.h"

typedef void (*rehearsal_report_fn)(const struct rehearsal *r, const struct report_options *o,
                                    struct str *out);

void report_rehearsal_text(const struct rehearsal *r, const struct report_options *o,
                           struct str *out);
/* docs/report-json.md */
void report_rehearsal_json(const struct rehearsal *r, const struct report_options *o,
                           struct str *out);

/* One page, see page.h. */
void report_rehearsal_html(const struct rehearsal *r, const struct report_options *o,
                           struct str *out);
/* A few lines for a pull request. */
void report_rehearsal_markdown(const struct rehearsal *r, const struct report_options *o,
                               struct str *out);

/* By the name that --format takes; NULL when a rehearsal has no such report. */
rehearsal_report_fn report_rehearsal_find(const char *format);

/* "12.3 MB", "-4.0 kB", "unknown"; the caller owns it. */
char *report_bytes(int64_t bytes);

/* Parts that the reports share: a line of plain text each, without its end; the caller owns them. */
char *report_copied_from(const struct rehearsal_basis *b);
char *report_run_on(const struct rehearsal *r);
char *report_sizes(const struct rehearsal_basis *b);
char *report_lock(const struct measured_lock *l);
char *report_rewrite(const struct measured_rewrite *w);
char *report_wait(const struct measures *m, const struct measured_wait *w);
/* How much room a step took, and how much it wrote. */
char *report_room(const struct measures *m);
/* Who was blocked longest of all. */
char *report_longest(const struct rehearsal *r);

#endif
