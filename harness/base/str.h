/*
 * Growable string, and the allocation functions that cannot fail: running out of memory ends the
 * process with a message, the one place below main that does (a half-built message about missing
 * memory helps nobody, and scratch databases are swept by the guardian or the next run).
 *
 *     _cleanup_str_ struct str s = {0};
 *     str_addf(&s, "%s.%s", schema, name);
 *     char *owned = str_take(&s);      // never NULL
 */
#ifndef BELAY_STR_H
#define BELAY_STR_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

void *xmalloc(size_t size);
void *xcalloc(size_t n, size_t size);
void *xrealloc(void *p, size_t n, size_t size);
char *xstrdup(const char *s); /* NULL stays NULL */
char *xstrndup(const char *s, size_t n);
char *xasprintf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
char *xvasprintf(const char *fmt, va_list ap) __attribute__((format(printf, 1, 0)));

/* Makes room for one more element in an array that has n of *cap in use; returns the array. */
void *xgrow(void *array, size_t n, size_t *cap, size_t elem_size);

struct str {
    char *p; /* NUL-terminated once anything was added, else NULL */
    size_t len;
    size_t cap;
};

void str_add(struct str *s, const char *text);
void str_addn(struct str *s, const char *text, size_t n);
void str_addc(struct str *s, char c);
void str_addf(struct str *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void str_clear(struct str *s); /* empties, keeps the storage */
void str_release(struct str *s);
char *str_take(struct str *s);            /* the caller owns the result; *s is empty again */
const char *str_get(const struct str *s); /* never NULL */

#define _cleanup_str_ __attribute__((cleanup(str_release)))

bool str_starts(const char *s, const char *prefix);
bool str_ends(const char *s, const char *suffix);
bool str_eq(const char *a, const char *b); /* NULL equals only NULL */

/* True when the n bytes are valid UTF-8; otherwise *ret_offset is the first bad byte. */
bool utf8_valid(const char *s, size_t n, size_t *ret_offset);

/* name between two quotes, the quotes inside it doubled. The caller owns the result. */
char *quote_with(const char *name, char quote);

/* The place of the byte at offset in UTF-8 text: line and column, 1-based, the column in
 * characters. */
void text_place(const char *text, size_t offset, int *ret_line, int *ret_column);

/* A list of owned strings. */
struct strv {
    char **v;
    size_t n;
    size_t cap;
};

void strv_add(struct strv *l, const char *s);
void strv_add_take(struct strv *l, char *s);
bool strv_has(const struct strv *l, const char *s);
void strv_sort(struct strv *l);
char *strv_join(const struct strv *l, const char *separator); /* the caller owns the result */
void strv_release(struct strv *l);

#define _cleanup_strv_ __attribute__((cleanup(strv_release)))

#endif
