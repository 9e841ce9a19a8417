/*
 * Statement bounds in PostgreSQL SQL, by PostgreSQL's own parser (libpg_query), and by its scanner
 * alone where the parser refuses the text (a syntax error, or syntax newer than the parser).
 */
#ifndef BELAY_PGSPLIT_H
#define BELAY_PGSPLIT_H

#include <stdbool.h>
#include <stddef.h>

/* Byte bounds in the text, leading and trailing white space and leading comments left out, without
 * the semicolon. */
struct statement {
    size_t start, len;
};

struct statements {
    struct statement *v;
    size_t n, cap;
    bool parsed; /* the parser accepted the whole text */
};

/* Never fails: text that even the scanner refuses (an unterminated quote) is one statement. Text
 * without a statement gives n == 0. */
void pg_split(const char *sql, struct statements *ret);
void statements_release(struct statements *s);
#define _cleanup_statements_ __attribute__((cleanup(statements_release)))

/* The number of bytes of white space and comments (of either engine) at the start of text. */
size_t sql_skip_blank(const char *text);

#endif
