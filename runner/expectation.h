/*
 * The schema that revisions give on a scratch database, held against the user's own database before
 * and after an upgrade of it.
 *
 *     struct expectation e = {.database = &d, .allow_drift = false};
 *     expectation_compare(&e, url, &current, &nothing, &differences, err);      before
 *     ... the upgrade ...
 *     expectation_compare(&e, url, &current, &list, &differences, err);         after
 *     expectation_release(&e);
 *
 * The scratch database stays between the two, so that each revision runs there once. What belongs to
 * the server (fit.h) and what belay.yaml ignores is left out, and so are comments, white space and column
 * order.
 */
#ifndef BELAY_EXPECTATION_H
#define BELAY_EXPECTATION_H

#include "harness/schema/diff.h"
#include "runner/database.h"
#include "runner/line.h"

struct expectation {
    const struct database *database;
    bool allow_drift; /* what differs before is no difference, then and afterwards */
    /* private */
    struct scratch_pool *pool;
    struct line_env env;
    struct line *line;
    struct revisions applied;
    struct snapshot *before[2]; /* expected and found, when they differed before */
    struct diff drift;
};

/* For struct deploy_options.expect: data is a struct expectation. Differences a line each; a revision that does not
 * upgrade on scratch is ERR_SOURCE. */
int expectation_compare(void *data, const char *url, const struct revisions *applied,
                        const struct revisions *more, struct strv *ret_differences,
                        struct err *err);
void expectation_release(struct expectation *e);

#endif
