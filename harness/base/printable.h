/*
 * Text that is safe to print on one line of a terminal, whatever it came from.
 */
#ifndef BELAY_PRINTABLE_H
#define BELAY_PRINTABLE_H

#include "harness/base/str.h"

/* Length of the UTF-8 character at the start of the n bytes; 0 when they begin with none. */
size_t utf8_char_length(const char *p, size_t n);

/* Adds n bytes: control characters, marks that turn the direction of text around, and bytes that are
 * not UTF-8 become \n, \t, \x1b. */
void str_add_printable(struct str *s, const char *text, size_t n);

/* A copy made so. The caller owns the result. */
char *text_printable(const char *text);

#endif
