/*
 * Which tables and sequences a step touched. Private to harness/source.
 *
 * PostgreSQL: the locks that its transaction holds just before it commits name them. The transaction
 * is marked when it begins, so that one which the revision itself ended and began again is found
 * out: what it did before is not known then.
 *
 *     begin; touched_mark_sql; ...the step...; touched_keep_sql; commit
 *     touched_read(db, &touched, err)
 *
 * Where the statements run one by one, touched_tell_sql gives the text for touched_parse() instead.
 *
 * SQLite: its compiler says which tables a statement writes, with those that triggers and foreign
 * keys write.
 *
 *     touched_watch_new(db) -> watch
 *     touched_watch_begin(watch); ...the step...; touched_watch_end(watch, &touched)
 */
#ifndef BELAY_TOUCHED_H
#define BELAY_TOUCHED_H

#include "harness/source/source.h"

extern const char touched_mark_sql[];
extern const char touched_keep_sql[]; /* one row that nobody needs to read */
extern const char touched_tell_sql[]; /* one text, empty when what was touched is not known */

int touched_read(struct db *db, struct step_touched *ret, struct err *err);
/* What touched_tell_sql gave. */
int touched_parse(const char *text, struct step_touched *ret, struct err *err);

/*
 * Whether the transaction that touched_transaction_sql named was rolled back. A session that still runs it is
 * ended: backend is its process id and start, as touched_backend_sql gives them. False when it was
 * committed, or nobody knows.
 */
extern const char touched_transaction_sql[]; /* within the transaction; gives it an id */
extern const char touched_backend_sql[];     /* two columns */
bool touched_rolled_back(const char *url, const char *transaction, const char *const backend[2]);

struct touched_watch;
struct touched_watch *touched_watch_new(struct db *db);
void touched_watch_free(struct touched_watch *w); /* before its session is closed */
void touched_watch_begin(struct touched_watch *w);
void touched_watch_end(struct touched_watch *w, struct step_touched *ret);

/* Adds a table once. schema NULL: an engine without them. */
void touched_add(struct step_touched *t, const struct engine *e, const char *schema,
                 const char *table);

#endif
