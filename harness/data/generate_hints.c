/*
 * An expression is not understood here, only searched for literals. What stands in a check is
 * nearly always the value itself, its neighbour, a length or a pattern; which of them is right,
 * the database knows.
 */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "harness/base/cleanup.h"
#include "harness/data/generate_impl.h"

/* Longer texts are not made because a check speaks of a large number. */
#define LONGEST 4000
#define MOST_NUMBERS 64

struct literals {
    struct strv texts;
    struct strv numbers; /* as they stand there */
    long whole[MOST_NUMBERS];
    size_t nwhole;
};

static void add_number(struct literals *l, const char *text)
{
    if (strv_has(&l->numbers, text))
        return;
    strv_add(&l->numbers, text);
    char *end;
    long n = strtol(text, &end, 10);
    if (!*end && l->nwhole < MOST_NUMBERS)
        l->whole[l->nwhole++] = n;
}

static bool is_number(const char *text)
{
    char *end;
    if (!*text || (!isdigit((unsigned char)*text) && !strchr("+-.", *text)))
        return false;
    strtod(text, &end);
    return !*end;
}

static const char *scan_text(const char *p, bool escapes, struct str *text)
{
    for (p++; *p; p++) {
        if (*p == '\'' && p[1] != '\'')
            return p + 1;
        if (*p == '\'' || (escapes && *p == '\\' && p[1]))
            p++;
        str_addc(text, *p);
    }
    return p;
}

static void scan(const char *p, struct literals *ret)
{
    const char *minus = NULL;
    while (*p) {
        if (*p == '\'') {
            _cleanup_str_ struct str text = {0};
            p = scan_text(p, false, &text);
            if (!strv_has(&ret->texts, str_get(&text)))
                strv_add(&ret->texts, str_get(&text));
            if (is_number(str_get(&text)))
                add_number(ret, str_get(&text));
        } else if (*p == '"') {
            p += strcspn(p + 1, "\"") + 1;
            p += *p == '"';
        } else if (isdigit((unsigned char)*p) || (*p == '.' && isdigit((unsigned char)p[1]))) {
            size_t n = strspn(p, "0123456789.");
            if ((p[n] == 'e' || p[n] == 'E') && strspn(p + n + 1, "+-0123456789"))
                n += 1 + strspn(p + n + 1, "+-0123456789");
            _cleanup_free_ char *number = xasprintf("%s%.*s", minus ? "-" : "", (int)n, p);
            if (is_number(number))
                add_number(ret, number);
            if (minus && is_number(number + 1))
                add_number(ret, number + 1);
            p += n;
        } else if (isalpha((unsigned char)*p) || *p == '_' || (unsigned char)*p >= 0x80) {
            if ((*p == 'e' || *p == 'E') && p[1] == '\'') {
                _cleanup_str_ struct str text = {0};
                p = scan_text(p + 1, true, &text);
                strv_add(&ret->texts, str_get(&text));
            } else {
                while (isalnum((unsigned char)*p) || *p == '_' || (unsigned char)*p >= 0x80)
                    p++;
            }
        } else {
            if (*p == '-')
                minus = p;
            else if (*p != ' ')
                minus = NULL;
            p++;
            continue;
        }
        minus = NULL;
    }
}

static void add_cell(const struct engine *e, const struct value_type *t, const char *plain,
                     struct strv *cells)
{
    _cleanup_str_ struct str cell = {0};
    value_cell(e, t, plain, &cell);
    if (!strv_has(cells, str_get(&cell)))
        strv_add(cells, str_get(&cell));
}

/* ---- texts ---- */

/* LIKE, GLOB and SIMILAR TO: what their wildcards may stand for. */
static void add_like(const struct engine *e, const struct value_type *t, const char *pattern,
                     struct strv *cells)
{
    _cleanup_str_ struct str s = {0};
    for (const char *p = pattern; *p; p++) {
        if (*p == '\\' && p[1])
            str_addc(&s, *++p);
        else if (*p == '[') { /* GLOB */
            const char *first = p + 1 + (p[1] == '^');
            str_addc(&s, p[1] == '^' ? '~' : *first);
            p += strcspn(p, "]");
            if (!*p)
                break;
        } else
            str_addc(&s, strchr("%_*?", *p) ? 'a' : *p);
    }
    add_cell(e, t, str_get(&s), cells);
}

static void add_length(const struct engine *e, const struct value_type *t, long n,
                       struct strv *cells)
{
    if (n < 0 || n > LONGEST)
        return;
    _cleanup_free_ char *text = xmalloc((size_t)n + 1);
    for (long i = 0; i < n; i++)
        text[i] = (char)('1' + i % 9);
    text[n] = '\0';
    add_cell(e, t, text, cells);
}

static void add_texts(const struct engine *e, const struct value_type *t, const struct literals *l,
                      struct strv *cells)
{
    for (size_t i = 0; i < l->texts.n; i++) {
        const char *text = l->texts.v[i];
        if (strpbrk(text, "^$[(\\|+*?.{")) {
            long lengths[MOST_NUMBERS * 2];
            size_t n = 0;
            for (size_t k = 0; k < l->nwhole; k++) {
                if (l->whole[k] > 0 && l->whole[k] <= LONGEST) {
                    lengths[n++] = l->whole[k];
                    lengths[n++] = l->whole[k] - 1;
                }
            }
            _cleanup_strv_ struct strv samples = {0};
            pattern_samples(text, lengths, n, &samples);
            for (size_t k = 0; k < samples.n; k++)
                add_cell(e, t, samples.v[k], cells);
        }
        if (strpbrk(text, "%_*?["))
            add_like(e, t, text, cells);
        add_cell(e, t, text, cells);
    }
    for (size_t i = 0; i < l->nwhole; i++)
        for (long d = 0; d <= 2; d++)
            add_length(e, t, l->whole[i] + (d == 2 ? -1 : d), cells);
    for (size_t i = 0; i < l->numbers.n; i++)
        add_cell(e, t, l->numbers.v[i], cells);
}

/* ---- numbers ---- */

static void add_numbers(const struct engine *e, const struct value_type *t,
                        const struct literals *l, struct strv *cells)
{
    for (size_t i = 0; i < l->nwhole; i++) {
        long n = l->whole[i];
        const long near[] = {n, n + 1, n - 1, n * 2, n / 2};
        for (size_t k = 0; k < ARRAY_LEN(near); k++) {
            if ((t->class == VALUE_INTEGER && t->bytes == 2 && labs(near[k]) > 32767) ||
                (t->class == VALUE_INTEGER && t->bytes == 4 && labs(near[k]) > 2147483647))
                continue;
            _cleanup_free_ char *text = xasprintf("%ld", near[k]);
            add_cell(e, t, text, cells);
        }
    }
    for (size_t i = 0; i < l->numbers.n; i++) {
        const char *text = l->numbers.v[i];
        double n = strtod(text, NULL);
        if (!strpbrk(text, ".eE") && n == (double)(long)n)
            continue;
        const double near[] = {n, n / 2, n * 2};
        if (t->class != VALUE_INTEGER)
            add_cell(e, t, text, cells);
        for (size_t k = 0; t->class != VALUE_INTEGER && k < ARRAY_LEN(near); k++) {
            _cleanup_free_ char *other = xasprintf("%.10g", near[k]);
            add_cell(e, t, other, cells);
        }
        for (int k = -1; k <= 1; k++) {
            if (n > 1e9 || n < -1e9)
                continue;
            _cleanup_free_ char *whole = xasprintf("%ld", (long)n + k);
            add_cell(e, t, whole, cells);
        }
    }
}

/* ---- days ---- */

static void add_days(const struct engine *e, const struct value_type *t, const struct literals *l,
                     struct strv *cells)
{
    for (size_t i = 0; i < l->texts.n; i++) {
        struct tm tm = {0};
        int end = 0;
        const char *text = l->texts.v[i];
        if (sscanf(text, "%4d-%2d-%2d%n", &tm.tm_year, &tm.tm_mon, &tm.tm_mday, &end) != 3 ||
            end != 10)
            continue;
        tm.tm_year -= 1900;
        tm.tm_mon--;
        long day = (long)(timegm(&tm) / 86400);
        for (int d = -1; d <= 1; d++) {
            char near[16];
            value_day(day + d, near);
            _cleanup_free_ char *full = xasprintf("%s%s", near, d || !text[end] ? "" : text + end);
            add_cell(e, t, full, cells);
        }
    }
}

/* ---- documents and lists ---- */

static void add_documents(const struct engine *e, const struct value_type *t,
                          const struct literals *l, struct strv *cells)
{
    static const char *const values[] = {"1", "\"a\"", "{}", "[]", "true"};
    struct str all[ARRAY_LEN(values)] = {0};
    for (size_t k = 0; k < ARRAY_LEN(values); k++) {
        size_t keys = 0;
        str_addc(&all[k], '{');
        for (size_t i = 0; i < l->texts.n; i++) {
            const char *key = l->texts.v[i];
            if (strpbrk(key, "\"\\{}[]$"))
                continue;
            _cleanup_free_ char *one = xasprintf("{\"%s\": %s}", key, values[k]);
            add_cell(e, t, one, cells);
            str_addf(&all[k], "%s\"%s\": %s", keys++ ? ", " : "", key, values[k]);
        }
        str_addc(&all[k], '}');
        if (keys > 1)
            add_cell(e, t, all[k].p, cells);
    }
    for (size_t k = 0; k < ARRAY_LEN(values); k++)
        str_release(&all[k]);
}

static void add_lists(const struct engine *e, const struct value_type *t, const struct literals *l,
                      struct strv *cells)
{
    for (size_t i = 0; i < l->nwhole; i++) {
        for (long n = l->whole[i] - 1; n <= l->whole[i] + 1; n++) {
            if (n < 0 || n > 64)
                continue;
            _cleanup_str_ struct str list = {0};
            str_addc(&list, '{');
            for (long k = 0; k < n; k++) {
                _cleanup_str_ struct str item = {0};
                value_benign(t->element, (uint64_t)k, &item);
                str_add(&list, k ? "," : "");
                value_add_element(&list, str_get(&item), false);
            }
            str_addc(&list, '}');
            add_cell(e, t, str_get(&list), cells);
        }
    }
    if (t->element->class != VALUE_TEXT)
        return;
    for (size_t i = 0; i < l->texts.n; i++) {
        _cleanup_str_ struct str list = {0};
        str_addc(&list, '{');
        value_add_element(&list, l->texts.v[i], false);
        str_addc(&list, '}');
        add_cell(e, t, str_get(&list), cells);
    }
}

void hints_add(const struct engine *e, const struct value_type *t, const char *expression,
               struct strv *cells)
{
    struct literals l = {0};
    scan(expression, &l);
    static const char *const any[] = {"1", "2", "3", "1.5", "x'01'"};
    for (size_t i = 0; t->any && i < ARRAY_LEN(any); i++)
        strv_add(cells, any[i]);
    if (t->allowed.n) {
        for (size_t i = 0; i < t->allowed.n; i++)
            add_cell(e, t, t->allowed.v[i], cells);
    } else if (t->class == VALUE_TEXT || t->class == VALUE_BYTES) {
        add_texts(e, t, &l, cells);
    } else if (t->class == VALUE_INTEGER || t->class == VALUE_NUMERIC || t->class == VALUE_FLOAT) {
        add_numbers(e, t, &l, cells);
    } else if (t->class == VALUE_ARRAY) {
        add_lists(e, t, &l, cells);
    } else if (t->class == VALUE_TEMPLATE) {
        _cleanup_str_ struct str benign = {0};
        value_benign(t, 0, &benign);
        if (str_starts(str_get(&benign), "{\""))
            add_documents(e, t, &l, cells);
        if (str_starts(str_get(&benign), "\\x")) /* bytea takes plain digits as well */
            add_texts(e, t, &l, cells);
        if (str_starts(str_get(&benign), "2020-"))
            add_days(e, t, &l, cells);
        for (size_t i = 0; i < l.texts.n; i++)
            if (*l.texts.v[i] && !str_starts(str_get(&benign), "2020-"))
                add_cell(e, t, l.texts.v[i], cells);
    }
    strv_release(&l.texts);
    strv_release(&l.numbers);
}
