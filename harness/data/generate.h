/*
 * Generated rows: fills tables so that migrations meet data.
 *
 *     struct generate_options o = {.rows = 6, .seed = 1, .kind = GENERATE_ALL};
 *     struct generate_report report = {0};
 *     generate_rows(db, &names, &o, &report, err);      in one transaction
 *
 * Every named table that is empty gets rows (one that holds rows is left alone), parents before
 * children; cycles are closed through nullable or deferrable columns. Values follow the types, NOT
 * NULL, UNIQUE, PRIMARY KEY, FOREIGN KEY, CHECK, EXCLUDE, partition bounds, domains and enums.
 * What the catalog does not tell, the database is asked: a row is inserted under a savepoint, and
 * its refusal tells which value to try next, for a bounded number of attempts. A table that
 * defeats this is in the report, never silently empty.
 *
 * The same schema, options and seed give the same rows. Every column that can be written is
 * written, so that no value depends on the time or on a random function; only generated columns and
 * what triggers change are left to the database. Single integer keys are counted from 1, and the
 * sequences behind them are moved along, as if an application had inserted the rows.
 *
 * A partition is a table like others; its parents hold its rows and are not named in the report.
 *
 * Two kinds of rows, told apart so that a failure can be judged:
 *     benign     distinct, not NULL, short, in the middle of the range; text is digits, which most
 *                casts accept
 *     hostile    what the schema allows just as well: NULL, duplicates, the empty text, the
 *                longest, non-ASCII, quotes, the extremes of numbers and dates
 * GENERATE_ALL makes a third of the rows benign; at most 16 are hostile, further ones benign.
 */
#ifndef BELAY_GENERATE_H
#define BELAY_GENERATE_H

#include <stdint.h>

#include "harness/base/str.h"
#include "harness/engine/engine.h"

enum generate_kind {
    GENERATE_BENIGN, /* benign rows only */
    GENERATE_ALL,    /* hostile rows too */
};

/* Rows that the user gives for a table, instead of generated ones. */
struct given_rows {
    const char *table; /* as the snapshot writes identities; without a schema: in any */
    const char *sql;   /* statements that insert them */
};

enum { GENERATE_ROWS = 6 }; /* where nobody says how many */

struct generate_options {
    int rows; /* a table; 0: nothing is done */
    uint64_t seed;
    enum generate_kind kind;
    const struct strv *plain; /* tables that get benign rows alone, whatever the kind; or NULL */
    const struct given_rows *given;
    size_t ngiven;
    const char *const *leave_out; /* version tables, as struct schema_options has them; or NULL */
};

struct generate_report {
    struct strv filled; /* tables that got rows */
    struct strv failed; /* tables that got none, and ... */
    struct strv why;    /* ... for each of them what the database said last */
};
void generate_report_release(struct generate_report *r);

/*
 * db: a session of belay's own (it keeps queries prepared), with no transaction open. names:
 * identities of tables, or NULL for all. All is done in one transaction: when it fails (-1:
 * the environment, or given rows that the database refuses, ERR_CONFIG), nothing was inserted.
 */
int generate_rows(struct db *db, const struct strv *names, const struct generate_options *o,
                  struct generate_report *ret, struct err *err);

/*
 * Gives values to a column that was added to a table with rows, where it holds one value alone (its
 * default) or none: in the first rows by primary key, at most 64, in one transaction. A column that
 * refers to a table gets keys of it. leave: why it is not to be written (it is looked at, though), or
 * NULL. The report gets the table when something was written, the column ("public.posts.slug") and
 * why when nothing was.
 */
int generate_column(struct db *db, const char *table, const char *column, const char *leave,
                    const struct generate_options *o, struct generate_report *ret, struct err *err);

#endif
