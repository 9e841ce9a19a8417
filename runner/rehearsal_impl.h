/*
 * Between rehearsal.c and its parts; for runner/rehearsal*.c only.
 */
#ifndef BELAY_REHEARSAL_IMPL_H
#define BELAY_REHEARSAL_IMPL_H

#include "runner/rehearsal.h"
#include "runner/walk.h"

/* What the copy held when it stood there on the way up. */
struct stop {
    struct snapshot *schema;
    struct row_state rows;
};

struct rehearse {
    const struct rehearsal_options *o;
    struct rehearsal *result;
    struct scratch *copy; /* until the line has it */
    char *url;            /* of the copy */
    /* findings, comparing and reading are those of the check; its lists are by place in the graph */
    struct walk walk;
    struct revisions pending;
    struct stop *stops; /* pending.n + 1: stops[i] is before pending.v[i] */
    size_t top;         /* how many of the pending revisions were applied, */
    size_t bottom;      /* and of these not taken back */
    struct observer *observer;
    bool stuck; /* an upgrade failed and left a part of its work */
};

/* rows are those after the downgrade of pending.v[i]. Adds findings; true: there are some. */
bool rehearse_compare_rows(struct rehearse *h, size_t i, const struct row_state *rows);

/* Findings about what was observed of the upgrade of pending.v[i]. */
void rehearse_judge(struct rehearse *h, size_t i);
/* And about all of them together. */
void rehearse_judge_budgets(struct rehearse *h);
/* Integer keys near their end, on the line as it is now. */
int rehearse_judge_ids(struct rehearse *h, struct err *err);

/* The queries on the first stop, and after the upgrade of r; nothing without queries. */
int rehearse_queries_begin(struct rehearse *h, struct err *err);
int rehearse_queries_check(struct rehearse *h, const struct revision *r, struct err *err);

#endif
