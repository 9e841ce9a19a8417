/*
 * What the files of harness/data that read rows share.
 */
#ifndef BELAY_DIGEST_IMPL_H
#define BELAY_DIGEST_IMPL_H

#include "harness/data/digest.h"

/* Each fills an empty set in any order, in an open transaction. */
int digest_read_postgres(struct db *db, const struct strv *names, const struct digest_options *o,
                         struct digest_set *set, struct err *err);
int digest_read_sqlite(struct db *db, const struct strv *names, const struct digest_options *o,
                       struct digest_set *set, struct err *err);

/* Begins a transaction to read in, with PostgreSQL's settings; *ret_own is false when the caller had
 * one open. */
int reading_begin(struct db *db, bool *ret_own, struct err *err);
/* Ends it when it is an own one. result: of the reading; returned, or -1 when this fails. */
int reading_end(struct db *db, bool own, int result, struct err *err);

/* SQLite: the values of n columns of the row, from column first on, as digest.h says. *bytes holds
 * them and is reused. */
struct sqlite3_stmt;
void digest_sqlite_row(struct str *bytes, struct sqlite3_stmt *stmt, int first,
                       struct digest_value *values, size_t n);
/* The name that db_quote_ident() wrote. The caller owns the result. */
char *digest_sqlite_unquoted(const char *name);

/*
 * The field of a COPY line that begins at p. Its value is in place, or in *scratch (emptied first)
 * when it is escaped. Returns where it ends (a tab, or end), or NULL when an escape is wrong.
 */
const char *copy_field(const char *p, const char *end, struct str *scratch,
                       struct digest_value *ret);

/* As digest_settings_sql, until the end of the transaction. */
extern const char digest_settings_local_sql[];

/* Takes the columns that o->like does not have out of the row. */
void digest_like(const struct digest_options *o, const char *name, struct digest_sum *sum);

/* A new element, whose name is taken over. Valid until the next one is added. */
struct digest *digest_set_add(struct digest_set *s, char *name);

bool digest_left_out(const struct digest_options *o, const char *schema, const char *table);

#endif
