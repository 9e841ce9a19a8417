#include "harness/base/str.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void out_of_memory(void)
{
    fputs("belay: out of memory\n", stderr);
    abort();
}

void *xmalloc(size_t size)
{
    void *p = malloc(size ? size : 1);
    if (!p)
        out_of_memory();
    return p;
}

void *xcalloc(size_t n, size_t size)
{
    void *p = calloc(n ? n : 1, size ? size : 1);
    if (!p)
        out_of_memory();
    return p;
}

void *xrealloc(void *p, size_t n, size_t size)
{
    void *q = reallocarray(p, n ? n : 1, size ? size : 1);
    if (!q)
        out_of_memory();
    return q;
}

char *xstrdup(const char *s)
{
    return s ? xstrndup(s, strlen(s)) : NULL;
}

char *xstrndup(const char *s, size_t n)
{
    n = strnlen(s, n);
    char *copy = xmalloc(n + 1);
    memcpy(copy, s, n);
    copy[n] = '\0';
    return copy;
}

char *xvasprintf(const char *fmt, va_list ap)
{
    char *s;
    if (vasprintf(&s, fmt, ap) < 0)
        out_of_memory();
    return s;
}

char *xasprintf(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    char *s = xvasprintf(fmt, ap);
    va_end(ap);
    return s;
}

void *xgrow(void *array, size_t n, size_t *cap, size_t elem_size)
{
    if (n < *cap)
        return array;
    *cap = *cap ? *cap * 2 : 8;
    return xrealloc(array, *cap, elem_size);
}

static void str_reserve(struct str *s, size_t extra)
{
    size_t need = s->len + extra + 1;
    if (need <= s->cap)
        return;
    size_t cap = s->cap ? s->cap : 32;
    while (cap < need)
        cap *= 2;
    s->p = xrealloc(s->p, cap, 1);
    s->cap = cap;
}

void str_addn(struct str *s, const char *text, size_t n)
{
    str_reserve(s, n);
    if (n)
        memcpy(s->p + s->len, text, n);
    s->len += n;
    s->p[s->len] = '\0';
}

void str_add(struct str *s, const char *text)
{
    str_addn(s, text, strlen(text));
}

void str_addc(struct str *s, char c)
{
    str_addn(s, &c, 1);
}

void str_addf(struct str *s, const char *fmt, ...)
{
    va_list ap, again;
    va_start(ap, fmt);
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    if (n < 0)
        out_of_memory();
    str_reserve(s, (size_t)n);
    vsnprintf(s->p + s->len, (size_t)n + 1, fmt, again);
    va_end(again);
    s->len += (size_t)n;
}

void str_clear(struct str *s)
{
    s->len = 0;
    if (s->p)
        s->p[0] = '\0';
}

void str_release(struct str *s)
{
    free(s->p);
    memset(s, 0, sizeof(*s));
}

char *str_take(struct str *s)
{
    char *p = s->p ? s->p : xstrdup("");
    memset(s, 0, sizeof(*s));
    return p;
}

const char *str_get(const struct str *s)
{
    return s->p ? s->p : "";
}

bool str_starts(const char *s, const char *prefix)
{
    return strncmp(s, prefix, strlen(prefix)) == 0;
}

bool str_ends(const char *s, const char *suffix)
{
    size_t n = strlen(s), m = strlen(suffix);
    return n >= m && strcmp(s + n - m, suffix) == 0;
}

bool str_eq(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

/* Unicode 15, table 3-7: well-formed byte sequences. */
bool utf8_valid(const char *text, size_t n, size_t *ret_offset)
{
    const unsigned char *s = (const unsigned char *)text;
    size_t i = 0;
    while (i < n) {
        unsigned char c = s[i];
        size_t len;
        unsigned char low = 0x80, high = 0xbf; /* allowed range of the second byte */
        if (c < 0x80) {
            i++;
            continue;
        } else if (c >= 0xc2 && c <= 0xdf) {
            len = 2;
        } else if (c >= 0xe0 && c <= 0xef) {
            len = 3;
            low = c == 0xe0 ? 0xa0 : 0x80;
            high = c == 0xed ? 0x9f : 0xbf;
        } else if (c >= 0xf0 && c <= 0xf4) {
            len = 4;
            low = c == 0xf0 ? 0x90 : 0x80;
            high = c == 0xf4 ? 0x8f : 0xbf;
        } else {
            break;
        }
        if (i + len > n || s[i + 1] < low || s[i + 1] > high)
            break;
        bool bad = false;
        for (size_t k = 2; k < len; k++)
            bad = bad || s[i + k] < 0x80 || s[i + k] > 0xbf;
        if (bad)
            break;
        i += len;
    }
    if (i < n && ret_offset)
        *ret_offset = i;
    return i >= n;
}

char *quote_with(const char *name, char quote)
{
    struct str s = {0};
    str_addc(&s, quote);
    for (; *name; name++) {
        if (*name == quote)
            str_addc(&s, quote);
        str_addc(&s, *name);
    }
    str_addc(&s, quote);
    return str_take(&s);
}

void text_place(const char *text, size_t offset, int *ret_line, int *ret_column)
{
    int line = 1, column = 1;
    for (size_t i = 0; i < offset && text[i]; i++) {
        if (text[i] == '\n') {
            line++;
            column = 1;
        } else if (((unsigned char)text[i + 1] & 0xc0) != 0x80) {
            column++; /* a character ends where the next byte continues none */
        }
    }
    *ret_line = line;
    *ret_column = column;
}

void strv_add_take(struct strv *l, char *s)
{
    l->v = xgrow(l->v, l->n, &l->cap, sizeof(*l->v));
    l->v[l->n++] = s;
}

void strv_add(struct strv *l, const char *s)
{
    strv_add_take(l, xstrdup(s));
}

bool strv_has(const struct strv *l, const char *s)
{
    for (size_t i = 0; i < l->n; i++)
        if (strcmp(l->v[i], s) == 0)
            return true;
    return false;
}

static int compare_strings(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

void strv_sort(struct strv *l)
{
    if (l->n)
        qsort(l->v, l->n, sizeof(*l->v), compare_strings);
}

char *strv_join(const struct strv *l, const char *separator)
{
    struct str s = {0};
    for (size_t i = 0; i < l->n; i++) {
        if (i)
            str_add(&s, separator);
        str_add(&s, l->v[i]);
    }
    return str_take(&s);
}

void strv_release(struct strv *l)
{
    for (size_t i = 0; i < l->n; i++)
        free(l->v[i]);
    free(l->v);
    memset(l, 0, sizeof(*l));
}
