/*
 * SQLite's SQL as tokens, and tokens as canonical text, for comparing what sqlite_schema stores.
 *
 * Canonical text depends on the tokens alone, so comments and white space fold. So do:
 *   - keywords, functions and collations: lower case;
 *   - quoting: "a", `a` and [a] are written a, unless quotes change the meaning ("order", "true");
 *   - numbers and blobs: 0XFF is 0xff.
 * String literals and the spelling of other names stay as they are.
 *
 * Inside a table (its checks, defaults, generated columns, indexes) the columns are known, and
 * names are resolved as SQLite does it: a name of a column is written as the column is declared,
 * and a name in double quotes that is no column is a string.
 */
#ifndef BELAY_SQL_TOKEN_H
#define BELAY_SQL_TOKEN_H

#include <stdbool.h>
#include <stddef.h>

#include "harness/base/str.h"

enum sql_kind {
    SQL_WORD,   /* a name without quotes, or a keyword */
    SQL_QUOTED, /* "a", `a` or [a] */
    SQL_STRING, /* 'a' */
    SQL_BLOB,   /* x'00' */
    SQL_NUMBER,
    SQL_PARAMETER, /* ?1, :a, @a, $a */
    SQL_OPERATOR,  /* and all other punctuation */
    SQL_BAD,       /* what SQLite would refuse: one character, or all that an open quote leaves */
};

struct sql_token {
    enum sql_kind kind;
    const char *text; /* points into the SQL */
    size_t n;
};

struct sql_tokens {
    struct sql_token *v;
    size_t n, cap;
};

/* The text must outlive the tokens. */
void sql_tokenise(const char *sql, struct sql_tokens *ret);
void sql_tokens_release(struct sql_tokens *t);
#define _cleanup_tokens_ __attribute__((cleanup(sql_tokens_release)))

/* True for the keyword (in lower case) without quotes, in any case, and for punctuation. */
bool sql_is(const struct sql_token *t, const char *word);
/* True for a word that cannot be a name without quotes. */
bool sql_is_reserved(const struct sql_token *t);
/* The name behind the quotes, those of a string included. The caller owns the result. */
char *sql_name(const struct sql_token *t);

/* The columns that names are resolved against. */
struct sql_scope {
    const char *table;    /* the table's name */
    const char **columns; /* as declared, sorted by sqlite3_stricmp() */
    size_t n;
    bool *used; /* set for each column that was named; or NULL */
};

/* Index into scope->columns, or -1. */
long sql_scope_find(const struct sql_scope *scope, const char *name);

/* Adds the canonical text of n tokens. Without a scope, names are not resolved. */
void sql_render(const struct sql_token *t, size_t n, const struct sql_scope *scope,
                struct str *out);
/* Adds the tokens as they are written, in canonical spacing: for text whose rules are not SQL's. */
void sql_render_raw(const struct sql_token *t, size_t n, struct str *out);
/* Adds a name as sql_render() writes it. */
void sql_add_name(struct str *out, const char *name);
/* Adds a string literal. */
void sql_add_string(struct str *out, const char *text);

#endif
