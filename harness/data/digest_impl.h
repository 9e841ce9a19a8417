/*
 * What the two engines' readers of digests share with digest.c, which calls them.
 */
#ifndef BELAY_DIGEST_IMPL_H
#define BELAY_DIGEST_IMPL_H

#include "harness/data/digest.h"

/* Each fills an empty set in any order, in an open transaction. */
int digest_read_postgres(struct db *db, const struct strv *names, const struct digest_options *o,
                         struct digest_set *set, struct err *err);
int digest_read_sqlite(struct db *db, const struct strv *names, const struct digest_options *o,
                       struct digest_set *set, struct err *err);

/* As digest_settings_sql, until the end of the transaction. */
extern const char digest_settings_local_sql[];

/* A new element, whose name is taken over. Valid until the next one is added. */
struct digest *digest_set_add(struct digest_set *s, char *name);

bool digest_left_out(const struct digest_options *o, const char *schema, const char *table);

#endif
