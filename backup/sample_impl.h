/*
 * Between sample.c and the engines.
 */
#ifndef BELAY_SAMPLE_IMPL_H
#define BELAY_SAMPLE_IMPL_H

#include "backup/sample.h"

enum sample_how {
    SAMPLE_OPEN,    /* not decided yet */
    SAMPLE_WHOLE,   /* all rows */
    SAMPLE_BY_HASH, /* some rows */
    SAMPLE_FOLLOWS, /* the rows whose parents are there */
};

struct sample_table {
    char *name;
    bool must; /* stay whole */
    enum sample_how how;
    uint64_t rows;   /* of the database */
    uint64_t passed; /* let through by their hash */
    uint64_t pruned; /* of these, removed without a parent */
};

struct sample {
    int percent;
    uint64_t seed;
    struct mask_model model;
    struct sample_table *tables; /* as the model has them; no partitions */
    size_t n, cap;
    size_t *from, *to; /* for each of the model's links the tables; SIZE_MAX: it says nothing */
};

/*
 * Removes what has no parent, foreign key by foreign key, until nothing more is found. prune: deletes
 * the rows that break one; *ret: how many.
 */
typedef int sample_prune_fn(void *data, const struct mask_link *link, uint64_t *ret,
                            struct err *err);
int sample_prune(struct sample *s, sample_prune_fn *prune, void *data, struct err *err);

/* "delete from CHILD as c where ...": the rows that break the foreign key. child and parent: as SQL
 * names them. The caller owns the result. */
char *sample_delete_sql(const struct mask_link *link, const char *child, const char *parent);

#endif
