/*
 * What a stream can show: colour, UTF-8, width. And text for people: cut and padded by columns, long
 * lines wrapped.
 */
#ifndef BELAY_TERMINAL_H
#define BELAY_TERMINAL_H

#include <stdbool.h>
#include <stdio.h>

#include "harness/base/err.h"
#include "harness/base/printable.h"
#include "harness/base/str.h"

struct terminal {
    bool color;
    bool utf8;
    int width; /* columns */
};

/* color is "always", "never", "auto" or NULL (auto: a terminal, no NO_COLOR, not TERM=dumb). */
struct terminal terminal_for(FILE *stream, const char *color);

enum style {
    STYLE_PLAIN,
    STYLE_BOLD,
    STYLE_DIM,
    STYLE_RED,
    STYLE_GREEN,
    STYLE_YELLOW,
    STYLE_BLUE,
};

/* Adds text in a style; the text itself must be printable. */
void style_add(struct str *s, const struct terminal *t, enum style style, const char *text);

/* Columns that printable text takes. */
int text_width(const char *text);
/* Adds printable text cut to width columns ("…" or "..." at its end) and, with pad, filled up with
 * spaces. */
void text_fit(struct str *s, const struct terminal *t, const char *text, int width, bool pad);
/* Adds text wrapped at blanks: the first line goes on from `column`, the others start at `indent`.
 */
void text_wrap(struct str *s, const struct terminal *t, const char *text, int column, int indent);

enum { STATEMENT_LINES = 6 };

/* Adds the first max lines of an SQL statement, -1 for all, indented and harmless. */
void statement_add(struct str *s, const struct terminal *t, const char *statement, int max);
/* Adds a trace (struct err) line by line, indented and harmless. */
void trace_add(struct str *s, const char *trace);

/* One error on stderr: place, message, the statement where the place is not SQL itself, detail,
 * hint. */
void error_print(const struct err *err);
/* Its trace, if any, for -v. */
void error_print_trace(const struct err *err);
/* One warning on stderr. */
void warning_print(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif
