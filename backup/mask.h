/*
 * Masking: values of people are replaced on the way into a copy, so that nothing that sees the copy
 * sees them.
 *
 *     struct mask_rules rules: "users.email" hash, ...
 *     struct mask_model model = {0};
 *     mask_model_postgres(&model, snapshot);             tables, columns, keys; or ..._sqlite()
 *     struct mask_plan *plan;
 *     mask_plan_new(&rules, &model, &plan, err);         refuses rules that cannot hold
 *     mask_plan_find(plan, "public.users", "email");     what happens to a column, or NULL
 *     mask_value(column, "a@b.c", 5, &out);
 *
 * The same value gives the same result in every column of a plan that has the same rule, so that joins
 * hold; the key is random and forgotten with the plan. A rule on one side of a foreign key holds for
 * the other side too. NULL stays NULL.
 *
 *     hash         hexadecimal digits, a uuid, a number, as the type has it
 *     fake         something plausible: an address at example.com, a date, a number
 *     keep-length  text of the same length: letters become letters, digits become digits
 *     null         NULL
 *     keep         the value: it was looked at, and is nobody's
 */
#ifndef BELAY_MASK_H
#define BELAY_MASK_H

#include <stdbool.h>
#include <stdint.h>

#include "harness/base/str.h"
#include "harness/engine/engine.h"
#include "harness/schema/snapshot.h"

enum mask_how { MASK_HASH, MASK_FAKE, MASK_KEEP_LENGTH, MASK_NULL, MASK_KEEP, MASK_HOWS };
extern const char *const mask_names[MASK_HOWS + 1]; /* "hash", ...; NULL-terminated */

struct mask_rule {
    char *column; /* "users.email", "app.users.email" */
    enum mask_how how;
    int line; /* in the file that it stands in */
};
struct mask_rules {
    struct mask_rule *v;
    size_t n, cap;
    const char *file; /* for errors; the caller's */
};
void mask_rules_release(struct mask_rules *r);

/* What columns hold, as far as masking can replace it. */
enum mask_type {
    MASK_OTHER, /* only NULL can take its place */
    MASK_TEXT,
    MASK_UUID,
    MASK_SMALL,
    MASK_INTEGER,
    MASK_BIGINT,
    MASK_BYTES,
    MASK_ADDRESS, /* inet */
    MASK_DATE,
    MASK_TIME,    /* timestamps */
    MASK_DYNAMIC, /* SQLite: whatever the value is */
};

struct mask_column {
    char *table; /* identity; of the partitioned table, for its partitions */
    char *name;  /* without quotes */
    char *type;  /* as people know it */
    enum mask_type kind;
    size_t limit; /* characters; 0: none */
    size_t pad;   /* with blanks up to so many: character(n) */
    bool zoned;   /* a timestamp with a time zone; a cidr */
    bool not_null, unique, rowid;
    /* of the plan */
    bool masked; /* how is a rule's */
    enum mask_how how;
    const struct mask_rule *rule;
    const unsigned char *key;
};

/* A foreign key: n columns of one table, in the order of those that they refer to. */
struct mask_link {
    char *name;
    char *table, *to;
    struct strv columns, to_columns;
};

struct mask_model {
    const struct engine *engine;
    struct mask_column *columns; /* by table, then in order */
    size_t ncolumns, columns_cap;
    struct mask_link *links;
    size_t nlinks, links_cap;
    struct strv partitions; /* "partition table-it-is-of", so that a rule about one can say so */
};
/* From a snapshot of PostgreSQL. */
void mask_model_postgres(struct mask_model *m, const struct snapshot *s);
/* From an SQLite database. */
int mask_model_sqlite(struct mask_model *m, struct db *db, struct err *err);
void mask_model_release(struct mask_model *m);

struct mask_plan;
/* Takes the model's contents over. ERR_CONFIG with the rule's file and line. */
int mask_plan_new(const struct mask_rules *rules, struct mask_model *model, struct mask_plan **ret,
                  struct err *err);
void mask_plan_free(struct mask_plan *p);
const struct mask_model *mask_plan_model(const struct mask_plan *p);
/* NULL: nothing happens to it. */
const struct mask_column *mask_plan_find(const struct mask_plan *p, const char *table,
                                         const char *column);
/* True when some column of the table is masked. */
bool mask_plan_has(const struct mask_plan *p, const char *table);
/* "public.users.email: hash", a line each; what follows from a foreign key says so. */
void mask_plan_tell(const struct mask_plan *p, struct strv *ret);

/* In place of a value that is not NULL: true and the text in *ret, or false for NULL. */
bool mask_value(const struct mask_column *c, const char *value, size_t len, struct str *ret);

/* SQLite: masks the columns of a database that nobody else has open, and rewrites the file. */
int mask_sqlite(const struct mask_plan *p, const char *path, struct err *err);

/*
 * Columns of the copy that look personal, by their names or by some of their values, and that no rule
 * is about: "public.users.email: looks like e-mail addresses (its values)", with the rule to write in
 * *ret_rules. No value is told.
 */
int mask_suspects(const struct mask_plan *p, struct db *db, struct strv *ret,
                  struct strv *ret_rules, struct err *err);

#endif
