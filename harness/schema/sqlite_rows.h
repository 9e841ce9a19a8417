/*
 * A copy of the rows of sqlite_schema that somebody keeps whose session knows the schema anyway. A
 * session of belay's own would parse all of it again after every step.
 *
 *     struct sqlite_rows known = {0};
 *     sqlite_rows_set(&known, 0, &row);              a row that is new, or takes another's place
 *     sqlite_rows_unset(&known, 0);                  it is gone
 *     schema_tracker_offer(tracker, &known);         see schema.h
 *
 * One row has the empty type: it holds what the file's header says, as name the user_version, as
 * table the application_id, as sql the encoding.
 */
#ifndef BELAY_SQLITE_ROWS_H
#define BELAY_SQLITE_ROWS_H

#include <stddef.h>

#include "harness/schema/sqlite_ddl.h"

struct sqlite_rows {
    struct ddl_row *v; /* by slot; type NULL: the slot is free */
    size_t n, cap;
    unsigned version; /* a higher one after every change */
};

/* The text is copied. Slots should be reused: there are as many as the highest that was set. */
void sqlite_rows_set(struct sqlite_rows *r, size_t slot, const struct ddl_row *row);
void sqlite_rows_unset(struct sqlite_rows *r, size_t slot);
/* No row is left, and the version goes on. */
void sqlite_rows_clear(struct sqlite_rows *r);
void sqlite_rows_release(struct sqlite_rows *r);

#endif
