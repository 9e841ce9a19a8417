/*
 * What the parts of the generator share: tables as they look to somebody who must fill them, read
 * by one reader per engine, and the values that a type has.
 *
 *     generate.c            which tables, in which order; the transaction
 *     generate_fill.c       one table (see generate_fill.h)
 *     generate_solve.c      what checks accept, found by asking the database
 *     generate_hints.c      values suggested by the literals in an expression
 *     generate_pattern.c    texts that a regular expression or LIKE matches
 *     generate_values.c     benign and hostile values of a type
 *     generate_postgres.c, generate_sqlite.c    the readers
 *
 * A value is plain text, as the type's input function takes it, until it becomes a cell: SQL text,
 * a literal or NULL, that stands in an INSERT.
 */
#ifndef BELAY_GENERATE_IMPL_H
#define BELAY_GENERATE_IMPL_H

#include "harness/data/generate.h"

/*
 * Types.
 */

enum value_class {
    VALUE_INTEGER,
    VALUE_NUMERIC,
    VALUE_FLOAT,
    VALUE_BOOL,
    VALUE_TEXT,
    VALUE_BYTES, /* SQLite's blobs */
    VALUE_BITS,
    VALUE_LABELS,   /* enums: one of `allowed` */
    VALUE_TEMPLATE, /* a row of the table in generate_values.c */
    VALUE_ARRAY,
    VALUE_COMPOSITE,
    VALUE_RANGE,
    VALUE_MULTIRANGE,
};

struct value_type {
    enum value_class class;
    char *cast;           /* PostgreSQL: the type below all domains, as a cast takes it */
    int bytes;            /* VALUE_INTEGER: 2, 4, 8 */
    int length;           /* VALUE_TEXT, VALUE_BITS: at most so many; 0: no limit */
    bool any;             /* SQLite: values of other classes are as good */
    bool fixed;           /* VALUE_BITS: exactly length */
    int precision, scale; /* VALUE_NUMERIC; precision 0: no limit */
    const struct value_template *template;
    struct value_type *element; /* of arrays, ranges and (the range) multiranges */
    struct value_type **fields; /* VALUE_COMPOSITE */
    size_t nfields;
    struct strv checks;  /* of a domain, about VALUE */
    struct strv allowed; /* the only values, best first: labels, or what a domain's checks accept */
    struct strv accepted; /* a domain accepts all benign values, and of the hostile ones these */
    bool not_null;        /* a domain that is NOT NULL */
};

struct value_type *value_type_new(enum value_class class);
void value_type_free(struct value_type *t);

/* The template for a type's name, or NULL. */
const struct value_template *value_template_find(const char *name);
/* For types that nobody knows. */
extern const struct value_template value_template_unknown;

/* Values for i = 0, 1, ... differ, as far as the type has so many. */
void value_benign(const struct value_type *t, uint64_t i, struct str *ret);
/* k = 0, 1, ...: false when there are no more. The first two matter most. */
bool value_hostile(const struct value_type *t, size_t k, struct str *ret);
/* The type has so few values that keys must count them. */
bool value_is_limited(const struct value_type *t);
/* A cell. plain NULL: NULL. */
void value_cell(const struct engine *e, const struct value_type *t, const char *plain,
                struct str *ret);
/* As an element of an array or a field of a composite value. */
void value_add_element(struct str *to, const char *plain, bool field);
/* The day, "2024-02-29", that lies so many days after the beginning of 1970. */
void value_day(long days, char ret[16]);

/*
 * Tables.
 */

struct columns {
    size_t *v; /* indexes into the table's columns */
    size_t n, cap;
};
void columns_add(struct columns *c, size_t column);
bool columns_has(const struct columns *c, size_t column);

struct gen_column {
    char *name, *quoted;
    int number; /* PostgreSQL: attnum */
    struct value_type *type;
    bool not_null;
    bool writable;  /* false: the database computes it */
    bool primary;   /* SQLite: part of the primary key */
    bool counted;   /* a sequence or rowid stands behind: 1, 2, 3, ... */
    bool key;       /* part of a key: no duplicates, no hostile values that may collide */
    char *sequence; /* PostgreSQL: that gives the default, as regclass takes it */
};

struct gen_key {
    char *name;
    struct columns columns;
    bool primary;
    bool nulls_equal;
    bool loose; /* partial or over expressions: only the database can tell whether rows collide */
};

struct gen_reference {
    char *name;
    struct columns columns;
    char *target;              /* identity */
    uint32_t target_oid;       /* PostgreSQL */
    struct strv target_quoted; /* its columns */
    struct strv target_names;
    bool deferrable;
    bool full; /* MATCH FULL: all columns NULL or none */
    bool self;
};

struct gen_check {
    char *name; /* or NULL */
    char *expression;
    struct columns columns;
};

enum gen_state {
    GEN_WAITS, /* empty, to be filled */
    GEN_DONE,  /* it held rows already */
    GEN_FILLED,
    GEN_FAILED,
};

struct gen_table {
    char *identity; /* also its name in SQL */
    char *name;     /* SQLite: without quotes */
    uint32_t oid;
    char *ancestors; /* PostgreSQL: " 123 456 ": the partitioned tables above */
    struct gen_column *columns;
    size_t ncolumns, columns_cap;
    struct gen_key *keys;
    size_t nkeys, keys_cap;
    struct gen_reference *references;
    size_t nreferences, references_cap;
    struct gen_check *checks;
    size_t nchecks, checks_cap;
    struct str hints; /* bodies of triggers, policies: their literals may be what they want */
    enum gen_state state;
    char *why; /* GEN_FAILED */
};

struct gen_schema {
    struct gen_table **v; /* by identity */
    size_t n, cap;
    /* What no row can be inserted into; for each of them why, and a query that is 1 when triggers
     * have filled it ("": none can). */
    struct strv closed, closed_why, closed_filled;
};

struct gen_table *gen_schema_add(struct gen_schema *s, const char *identity);
void gen_schema_release(struct gen_schema *s);
struct gen_column *gen_table_column(struct gen_table *t, const char *name);
struct gen_key *gen_table_key(struct gen_table *t, const char *name);
struct gen_reference *gen_table_reference(struct gen_table *t, const char *name);
struct gen_check *gen_table_check(struct gen_table *t, const char *name, const char *expression);
/* Ends the reading: works out which columns are part of keys. */
void gen_table_finish(struct gen_table *t);
bool gen_reference_is_to(const struct gen_reference *r, const struct gen_table *t);
bool gen_reference_can_be_null(const struct gen_table *t, const struct gen_reference *r);

/* Begins a transaction in which values are read and written the same everywhere. */
extern const char gen_begin_postgres[];

/* The readers: only tables that can be written and are empty, or are named. */
int gen_read_postgres(struct db *db, const struct strv *names, const char *const *leave_out,
                      struct gen_schema *ret, struct err *err);
int gen_read_sqlite(struct db *db, const struct strv *names, const char *const *leave_out,
                    struct gen_schema *ret, struct err *err);
/* Whether inserting is possible at all while foreign_keys is on: *ret is false when a table
 * refers to one that is missing, or to columns that are no key there. */
int gen_sqlite_can_enforce(struct db *db, const struct gen_schema *s, bool *ret, struct err *err);

/*
 * Hints and solving.
 */

/* Adds cells for a column of the type, suggested by the literals of expression. */
void hints_add(const struct engine *e, const struct value_type *t, const char *expression,
               struct strv *cells);
/* Adds plain texts that the pattern matches, for lengths around those of `lengths`. */
void pattern_samples(const char *regex, const long *lengths, size_t nlengths, struct strv *ret);

/* Cells for some columns that go together: what checks accept, or the keys of a parent. */
struct pool {
    struct columns columns;
    char **cells; /* n * columns.n */
    size_t n, cap;
    bool reference;
    bool free; /* benign values pass as they are: only for hostile ones */
};
void pool_release(struct pool *p);
/* Takes the cells. */
void pool_add(struct pool *p, char **cells);

/*
 * One pool for each group of columns that checks tie together. references are those pools that are
 * there already: a column that refers to a parent takes its cells. What cannot be evaluated apart
 * from its table gives no pool. Only ERR_SQL is caught.
 */
int solve_checks(struct db *db, const struct gen_table *t, uint64_t rows, uint64_t seed,
                 const struct pool *references, size_t nreferences, struct pool **ret,
                 size_t *ret_n, struct err *err);
/* Fills `allowed` or `accepted` of every domain in the columns' types. */
int solve_domains(struct db *db, const struct gen_schema *s, struct err *err);

/* A primary key that applications make up themselves, mostly a uuid: no two tables share a value, so
 * that a revision may copy the rows of one table into another with their keys. */
bool gen_is_random_key(const struct gen_table *t, size_t column);
/* Where benign values of a column begin. */
uint64_t gen_base(const struct gen_table *t, size_t column, uint64_t seed);

/*
 * Filling.
 */

struct gen_context {
    struct db *db;
    const struct engine *engine;
    const struct generate_options *options;
    struct gen_schema schema;
    struct str finish; /* SQL to run when all tables are filled */
    /* tables whose triggers or constraints roll the whole transaction back, and what they said:
     * all begins again without them */
    struct strv enders, enders_why;
};

/*
 * Fills one table whose parents are filled, but for those that `open` says: they get NULL where
 * they can, else the keys that the parent is going to have. Sets state and why; -1 only for what
 * is not the schema's fault.
 */
int gen_fill(struct gen_context *c, struct gen_table *t, const bool *open, struct err *err);
/* Lets rows that a cycle left at NULL refer to the parent, which has rows now. */
int gen_close_cycle(struct gen_context *c, struct gen_table *t, const struct gen_reference *r,
                    struct err *err);
#define GEN_TRY_BEGINS "savepoint belay_row; "
/* Runs sql under a savepoint, after that text. 1: done; 0: refused, rolled back, *why says how;
 * -1: err. */
int gen_try(struct db *db, const char *sql, struct err *why, struct err *err);

#endif
