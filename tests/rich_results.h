/*
 * Results with one of everything, and hostile text in it, for the tests of reports: a check, a rehearsal of six
 * revisions on PostgreSQL, a deploy that failed and went back.
 */
#ifndef BELAY_TESTS_RICH_RESULTS_H
#define BELAY_TESTS_RICH_RESULTS_H

#include "runner/rehearsal.h"
#include "runner/report_deploy.h"

/* Markup, quotes, control characters, an override of the writing direction, bytes that are not UTF-8. */
extern const char hostile_text[];

/* One line of a difference; property NULL: the object is added, or with `before` removed. */
void rich_change(struct finding *f, const char *object, const char *property, const char *before,
                 const char *after);

void rich_check(struct check_result *ret);
void rich_rehearsal(struct rehearsal *ret);

struct rich_deploy {
    struct deploy_result result;
    struct deploy_report report; /* points into the result */
};
/* ret stays where it is. */
void rich_deploy(enum deploy_outcome outcome, struct rich_deploy *ret);
void rich_deploy_release(struct rich_deploy *d);

#endif
