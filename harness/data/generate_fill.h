/*
 * What the files that fill one table share.
 *
 *     generate_pools.c      what a column can be: keys of parents, what checks accept
 *     generate_plan.c       one row after the other, chosen from that
 *     generate_refusal.c    a row that was refused, changed until it goes in
 *     generate_fill.c       the rows of a table, in batches where they go
 */
#ifndef BELAY_GENERATE_FILL_H
#define BELAY_GENERATE_FILL_H

#include "harness/data/generate_impl.h"

struct row {
    char **cells; /* one a column; NULL where the database decides */
    long hostile; /* number among the hostile rows, -1: benign */
};

struct fill {
    struct gen_context *c;
    struct gen_table *t;
    const bool *open;
    uint64_t rows, seed;
    uint64_t benign, hostile; /* rows of each kind; what is left over is benign too */
    struct pool *pools;       /* references first, those of most columns first */
    size_t npools, pools_cap;
    struct strv *bad;   /* hostile cells, by column */
    struct strv *other; /* cells to try when nothing else goes, by column */
    char **fixed;       /* cells that proved to be necessary, by column */
    bool *tracked;      /* keys whose tuples must be remembered */
    uint64_t *seen;     /* them, in open addressing */
    size_t nseen, seen_size;
    uint64_t next; /* number of the next plan */
    char **last;   /* cells of the row inserted last, for references to the table itself */
    uint64_t inserted;
    struct err why; /* the last refusal */
};

/* Sets t->why when the table cannot be filled because of a parent. */
int fill_prepare(struct fill *f, struct err *err);

/*
 * Plans a new row; before: the cells of the one that stands before it, or NULL. False when there
 * is no row whose keys are new.
 */
bool plan_row(struct fill *f, struct row *row, char *const *before);
/* Rows that were planned since are not there: their keys may be used again. */
void plan_forget(struct fill *f);
/* Puts benign cells in place of hostile ones among those at fault; where nobody knows whose
 * fault it is, of one column. False when there are none. */
bool plan_soften(struct fill *f, struct row *row, const bool *fault, bool known);
bool in_pool(const struct fill *f, size_t column);
void benign_cell(const struct fill *f, size_t column, uint64_t m, struct str *ret);
void set_cell(char **cells, size_t column, const char *cell);
bool is_null(const char *cell);
/* A parent's keys may be used once each, because they alone are a key of this table. */
bool used_once(const struct gen_table *t, const struct gen_reference *r);

/* "insert into t (a, b) values", and a row of it. ret_ends: where each cell ends in sql; or
 * NULL. */
void begin_insert(const struct fill *f, struct str *sql);
void add_row(const struct fill *f, const struct row *row, bool first, struct str *sql,
             size_t *ret_ends);
/* The row is in. */
void keep_last(struct fill *f, const struct row *row);
/* One row, changed until it goes in. 1: it did; 0: not within so many attempts. */
int insert_one(struct fill *f, struct row *row, int most, struct err *err);
/* A key was there already. */
bool is_collision(const struct err *why);

#endif
