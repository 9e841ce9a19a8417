/*
 * Texts that a regular expression matches, made by walking along it. What is not understood
 * (look-ahead, back references) is passed over: whoever asks tries the texts anyway.
 */
#include <stdlib.h>
#include <string.h>

#include "harness/base/cleanup.h"
#include "harness/data/generate_impl.h"

struct sampler {
    const char *p;
    unsigned variant; /* which of several ways */
    long repeat;      /* how often + and * repeat */
    struct str out;
    int depth;
};

static void sample_alternatives(struct sampler *s);

static bool in_class(const char *from, const char *to, char c)
{
    bool found = false;
    for (const char *p = from; p < to; p++) {
        if (*p == '\\' && p + 1 < to) {
            p++;
            bool digit = c >= '0' && c <= '9';
            bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
            found = found || (*p == 'd'   ? digit
                              : *p == 'w' ? digit || letter || c == '_'
                              : *p == 's' ? c == ' '
                                          : *p == c);
        } else if (*p == '[' && p + 1 < to && p[1] == ':') {
            const char *name = p + 2;
            bool digit = c >= '0' && c <= '9', lower = c >= 'a' && c <= 'z',
                 upper = c >= 'A' && c <= 'Z';
            found = found || (str_starts(name, "digit")   ? digit
                              : str_starts(name, "lower") ? lower
                              : str_starts(name, "upper") ? upper
                              : str_starts(name, "alpha") ? lower || upper
                              : str_starts(name, "alnum") ? digit || lower || upper
                              : str_starts(name, "space") ? c == ' '
                                                          : false);
            const char *end = strstr(p, ":]");
            if (!end || end >= to)
                break;
            p = end + 1;
        } else if (p + 2 < to && p[1] == '-') {
            found = found || (c >= p[0] && c <= p[2]);
            p += 2;
        } else {
            found = found || *p == c;
        }
    }
    return found;
}

/* At '['. Adds a character of the class. */
static void sample_class(struct sampler *s)
{
    static const char tries[] =
        "a1A0bB2-_.@ +/:,#%xX9zZ!$&'()*;<=>?[]^`{|}~\"\\cdefghijklmnopqrstuvwy"
        "CDEFGHIJKLMNOPQRSTUVWY345678";
    const char *from = s->p + 1;
    bool not = *from == '^';
    from += not ;
    const char *to = from + (*from == ']');
    while (*to && *to != ']') {
        if (*to == '\\' && to[1]) {
            to += 2;
        } else if (*to == '[' && to[1] == ':' && strstr(to, ":]")) {
            to = strstr(to, ":]") + 2;
        } else {
            to++;
        }
    }
    s->p = *to ? to + 1 : to;
    char found[8];
    size_t n = 0;
    for (const char *c = tries; *c && n < sizeof(found); c++)
        if (in_class(from, to, *c) != not )
            found[n++] = *c;
    if (n)
        str_addc(&s->out, found[s->variant % n]);
    else if (to > from && !not ) /* characters beyond ASCII: the first */
        str_addn(&s->out, from, (unsigned char)*from >= 0xc0 && to - from > 1 ? 2 : 1);
}

static void sample_escape(struct sampler *s)
{
    char c = *++s->p;
    if (!c)
        return;
    s->p++;
    switch (c) {
    case 'd':
        str_addc(&s->out, (char)('1' + s->variant % 9));
        break;
    case 'w':
    case 'S':
    case 'D':
        str_addc(&s->out, (char)('a' + s->variant % 26));
        break;
    case 's':
        str_addc(&s->out, ' ');
        break;
    case 'W':
        str_addc(&s->out, '-');
        break;
    case 'n':
        str_addc(&s->out, '\n');
        break;
    case 't':
        str_addc(&s->out, '\t');
        break;
    case 'A': /* places, not characters */
    case 'Z':
    case 'z':
    case 'm':
    case 'M':
    case 'y':
    case 'Y':
    case 'b':
    case 'B':
        break;
    default:
        if (c < '0' || c > '9')
            str_addc(&s->out, c);
    }
}

static void sample_group(struct sampler *s)
{
    s->p++;
    bool look = false;
    if (*s->p == '?') {
        s->p++;
        look = *s->p != ':';
        while (*s->p && strchr(":=!<", *s->p))
            s->p++;
    }
    size_t before = s->out.len;
    if (++s->depth > 50)
        s->p += strlen(s->p);
    sample_alternatives(s);
    s->depth--;
    if (*s->p == ')')
        s->p++;
    if (look) {
        s->out.len = before;
        if (s->out.p)
            s->out.p[before] = '\0';
    }
}

/* How often what stands before is to be repeated; 1 without a quantifier. */
static long sample_count(struct sampler *s)
{
    long low = 1, high = 1;
    if (*s->p == '*' || *s->p == '+') {
        low = *s->p++ == '+';
        high = 4000;
    } else if (*s->p == '?') {
        s->p++;
        low = 0;
        high = s->variant & 1 ? 0 : 1;
    } else if (*s->p == '{' && s->p[1] >= '0' && s->p[1] <= '9') {
        char *end;
        low = high = strtol(s->p + 1, &end, 10);
        if (*end == ',') {
            high = end[1] == '}' ? 4000 : strtol(end + 1, &end, 10);
            if (high == 4000)
                end++;
        }
        s->p = *end == '}' ? end + 1 : end;
    } else {
        return 1;
    }
    if (*s->p == '?' || *s->p == '+')
        s->p++;
    long n = s->repeat < low ? low : s->repeat > high ? high : s->repeat;
    return n > 4000 ? 4000 : n;
}

static void sample_one(struct sampler *s)
{
    if (*s->p == '[') {
        sample_class(s);
    } else if (*s->p == '(') {
        sample_group(s);
    } else if (*s->p == '\\') {
        sample_escape(s);
    } else {
        if (*s->p == '.')
            str_addc(&s->out, (char)('a' + s->variant % 26));
        else if (*s->p != '^' && *s->p != '$')
            str_addc(&s->out, *s->p);
        s->p++;
        while (((unsigned char)*s->p & 0xc0) == 0x80) /* the rest of a character */
            str_addc(&s->out, *s->p++);
    }
}

static void sample_sequence(struct sampler *s)
{
    while (*s->p && *s->p != '|' && *s->p != ')') {
        size_t before = s->out.len;
        sample_one(s);
        size_t len = s->out.len - before;
        long count = sample_count(s);
        if (count == 0) {
            s->out.len = before;
            if (s->out.p)
                s->out.p[before] = '\0';
            continue;
        }
        _cleanup_free_ char *part = xstrndup(str_get(&s->out) + before, len);
        for (long i = 1; i < count && s->out.len < 8000; i++)
            str_addn(&s->out, part, len);
    }
}

static void sample_alternatives(struct sampler *s)
{
    _cleanup_strv_ struct strv ways = {0};
    struct str outer = s->out;
    for (;;) {
        s->out = (struct str){0};
        sample_sequence(s);
        strv_add_take(&ways, str_take(&s->out));
        if (*s->p != '|')
            break;
        s->p++;
    }
    s->out = outer;
    str_add(&s->out, ways.v[s->variant % ways.n]);
}

void pattern_samples(const char *regex, const long *lengths, size_t nlengths, struct strv *ret)
{
    static const long usual[] = {1, 2, 3, 5};
    for (size_t k = 0; k < ARRAY_LEN(usual) + nlengths; k++) {
        for (unsigned variant = 0; variant < (k ? 3 : 6); variant++) {
            struct sampler s = {.p = regex, .variant = variant};
            s.repeat = k < ARRAY_LEN(usual) ? usual[k] : lengths[k - ARRAY_LEN(usual)];
            sample_alternatives(&s);
            if (*s.p == '\0' && !strv_has(ret, str_get(&s.out)))
                strv_add(ret, str_get(&s.out));
            str_release(&s.out);
        }
    }
}
