/*
 * A place in a list of tokens, for the recursive descent through SQLite's grammar. The first
 * unexpected token sets `failed`, and from then on nothing matches: callers test it once at the
 * end.
 */
#ifndef BELAY_DDL_PARSER_H
#define BELAY_DDL_PARSER_H

#include "harness/schema/sql_token.h"

struct ddl_parser {
    struct sql_token *t;
    size_t n, at;
    bool failed;
};

/* Some tokens of the parser. */
struct ddl_range {
    size_t from, n;
};

bool ddl_at_end(const struct ddl_parser *p);
bool ddl_next_is(const struct ddl_parser *p, const char *word);
bool ddl_following_is(const struct ddl_parser *p, size_t ahead, const char *word);
bool ddl_accept(struct ddl_parser *p, const char *word);
bool ddl_accept2(struct ddl_parser *p, const char *first, const char *second);
void ddl_expect(struct ddl_parser *p, const char *word);

/* A name, quoted, not, or as a string; NULL (and failed) when there is none. Owned by the caller.
 */
char *ddl_name(struct ddl_parser *p);
/* (a, b): the names. */
void ddl_names(struct ddl_parser *p, struct strv *ret);
/* The tokens between parentheses, the parentheses left out. */
struct ddl_range ddl_parenthesised(struct ddl_parser *p);
/* CREATE ... name, up to and with [schema.]name; `words` may come between CREATE and `what`. */
void ddl_create(struct ddl_parser *p, const char *const *words, const char *what);

/* Adds the canonical text. */
void ddl_render(const struct ddl_parser *p, struct ddl_range r, const struct sql_scope *scope,
                struct str *out);
/* The same as a string of its own, parentheses round the whole left out; NULL for an empty range. */
char *ddl_text(const struct ddl_parser *p, struct ddl_range r, const struct sql_scope *scope);
/*
 * The columns of an index or key: "a, lower(b) desc". ASC is the same as nothing.
 */
char *ddl_columns(struct ddl_parser *p, struct ddl_range r, const struct sql_scope *scope);

/* Names sorted for a scope. The caller owns scope->columns. */
void ddl_scope_init(struct sql_scope *scope, const char *table, const struct strv *columns);

#endif
