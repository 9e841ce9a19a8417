/*
 * A rehearsal as text and as JSON; the findings in it look as in the reports of a check (report.h).
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

/* By the name that --format takes; NULL when a rehearsal has no such report. */
rehearsal_report_fn report_rehearsal_find(const char *format);

/* "12.3 MB", "-4.0 kB", "unknown"; the caller owns it. */
char *report_bytes(int64_t bytes);

#endif
