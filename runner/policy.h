/*
 * What the user said about a check: which revisions to check, which findings are waived, which
 * objects are left out. Keeps count of what was used, because an unused or expired waiver is a
 * finding itself.
 *
 *     struct policy p;
 *     policy_init(&p, options, graph, err);
 *     p.checked[i], p.may_downgrade[i]           by position in the graph
 *     policy_filter(&p, &snapshot, err);         takes ignored objects out
 *     policy_apply_waivers(&p, graph, result);   once, when all findings are there
 *     policy_release(&p);
 */
#ifndef BELAY_POLICY_H
#define BELAY_POLICY_H

#include "harness/schema/snapshot.h"
#include "runner/roundtrip.h"

struct policy {
    const struct check_options *options;
    bool *checked;       /* up, down, up; else only upgraded on the way */
    bool *may_downgrade; /* false at and below --min-revision, and for what is not checked */
    bool *ignore_used;
    bool *waiver_used;
    bool *lossy_used;
    bool *judged; /* set by the walk: it saw what became of rows in all tables that the revision
                     touched, so that an unused "belay: lossy" can be told */
};

int policy_init(struct policy *p, const struct check_options *o, const struct graph *g,
                struct err *err);
void policy_release(struct policy *p);
/* Replaces *s when it holds ignored objects. */
int policy_filter(struct policy *p, struct snapshot **s, struct err *err);
/* The reason in a line "belay: lossy REASON" of a comment or docstring in the revision's files, which
 * is used by that; NULL when there is none. The caller owns it. */
char *policy_lossy_reason(struct policy *p, const struct revision *r);
/* Marks waived findings, and adds unused-waiver and expired-waiver. */
void policy_apply_waivers(struct policy *p, const struct graph *g, struct check_result *r);

#endif
