/*
 * What happens to the rows of a PostgreSQL copy between reading and loading: some are left out,
 * values are masked. The digests of what is let through are kept, so that the copy can be compared
 * with them.
 *
 *     struct row_filter *f = row_filter_new(plan, sample, &digests);
 *     struct row_pass pass = {0};
 *     row_pass_begin(&pass, f, digest);                a piece of a table, in one thread
 *     row_pass_line(&pass, line, len, &out, err);      appends what goes on
 *     row_pass_end(&pass);
 *     row_pass_release(&pass);
 *     row_filter_digests(f, &set);                     instead of what was read
 */
#ifndef BELAY_ROW_FILTER_H
#define BELAY_ROW_FILTER_H

#include "backup/mask.h"
#include "backup/sample.h"
#include "harness/data/digest.h"

struct row_filter;

/* plan, sample: or NULL; must stay. digests: of the tables, whose columns are in the order of
 * COPY's. */
struct row_filter *row_filter_new(const struct mask_plan *plan, const struct sample *sample,
                                  const struct digest_set *digests);
void row_filter_free(struct row_filter *f);

struct row_pass {
    struct table_filter *table; /* NULL: lines go through as they are */
    struct digest_sum sum;
    struct str value, line, scratch;
};

/* digest: in the set; SIZE_MAX for what has none. */
void row_pass_begin(struct row_pass *p, struct row_filter *f, size_t digest);
/* line: as COPY writes it, its end included. */
int row_pass_line(struct row_pass *p, const char *line, size_t len, struct str *out,
                  struct err *err);
void row_pass_end(struct row_pass *p);
/* What the server has against a masked row tells the row: only what is wrong stays in the error. */
void row_pass_hide(const struct row_pass *p, struct err *err);
void row_pass_release(struct row_pass *p);

/* Puts what was let through in place of what was read, in a set of the same tables in any order. */
void row_filter_digests(struct row_filter *f, struct digest_set *set);

#endif
