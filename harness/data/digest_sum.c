/*
 * The arithmetic of digests. Rows come in by the million: the hash is inlined, and a line of COPY
 * is looked at once, eight bytes at a time.
 */
#define XXH_INLINE_ALL
#include <xxhash.h>

#include <string.h>

#include "harness/data/digest_impl.h"

static uint64_t avalanche(uint64_t x)
{
    x ^= x >> 33;
    x *= 0xff51afd7ed558ccdu;
    x ^= x >> 33;
    x *= 0xc4ceb9fe1a85ec53u;
    return x ^ x >> 33;
}

void digest_sum_init(struct digest_sum *d, const char *const *names, size_t n)
{
    *d = (struct digest_sum){.columns = xcalloc(n, sizeof(*d->columns)), .ncolumns = n};
    for (size_t i = 0; i < n; i++) {
        struct digest_column *c = &d->columns[i];
        c->name = xstrdup(names[i]);
        c->seed = XXH3_64bits(names[i], strlen(names[i]));
        c->null = XXH3_64bits_withSeed("", 0, ~c->seed);
    }
}

void digest_sum_init_like(struct digest_sum *d, const struct digest_sum *like)
{
    *d = (struct digest_sum){.columns = xcalloc(like->ncolumns, sizeof(*d->columns)),
                             .ncolumns = like->ncolumns};
    for (size_t i = 0; i < like->ncolumns; i++) {
        const struct digest_column *c = &like->columns[i];
        d->columns[i] = (struct digest_column){
            .name = xstrdup(c->name), .generated = c->generated, .seed = c->seed, .null = c->null};
    }
}

void digest_sum_release(struct digest_sum *d)
{
    for (size_t i = 0; i < d->ncolumns; i++)
        free(d->columns[i].name);
    free(d->columns);
    *d = (struct digest_sum){0};
}

/* Adds one value and returns its share of the row. */
static inline uint64_t add_value(struct digest_column *c, const void *bytes, size_t len)
{
    uint64_t h = bytes ? XXH3_64bits_withSeed(bytes, len, c->seed) : c->null;
    c->sum += h;
    c->nulls += !bytes;
    return c->generated ? 0 : h;
}

static inline void add_row(struct digest_sum *d, uint64_t row)
{
    d->rows++;
    d->lo += avalanche(row);
    d->hi += avalanche(row ^ DIGEST_SECOND);
}

void digest_sum_row(struct digest_sum *d, const struct digest_value *values)
{
    uint64_t row = 0;
    for (size_t i = 0; i < d->ncolumns; i++)
        row += add_value(&d->columns[i], values[i].bytes, values[i].len);
    add_row(d, row);
}

void digest_sum_add(struct digest_sum *to, const struct digest_sum *part)
{
    to->rows += part->rows;
    to->lo += part->lo;
    to->hi += part->hi;
    for (size_t i = 0; i < to->ncolumns; i++) {
        to->columns[i].sum += part->columns[i].sum;
        to->columns[i].nulls += part->columns[i].nulls;
    }
}

/*
 * Lines of COPY.
 */

#define EACH_BYTE(c) (0x0101010101010101u * (uint64_t)(c))

/* The bytes of w that are zero have their high bit set; above the lowest one there may be more. */
static inline uint64_t zero_bytes(uint64_t w)
{
    return (w - EACH_BYTE(1)) & ~w & EACH_BYTE(0x80);
}

/* The first tab or backslash, or end. */
static inline const char *next_special(const char *p, const char *end)
{
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    for (; end - p >= 8; p += 8) {
        uint64_t w;
        memcpy(&w, p, 8);
        uint64_t found = zero_bytes(w ^ EACH_BYTE('\t')) | zero_bytes(w ^ EACH_BYTE('\\'));
        if (found)
            return p + __builtin_ctzll(found) / 8;
    }
#endif
    while (p < end && *p != '\t' && *p != '\\')
        p++;
    return p;
}

/* What follows a backslash, or 0. */
static char unescaped(char c)
{
    switch (c) {
    case 'b':
        return '\b';
    case 'f':
        return '\f';
    case 'n':
        return '\n';
    case 'r':
        return '\r';
    case 't':
        return '\t';
    case 'v':
        return '\v';
    case '\\':
        return '\\';
    default:
        return 0;
    }
}

/* Unescapes the field at p, whose first backslash is at special, into out. Returns where it ends,
 * or NULL when an escape is wrong. */
static const char *unescape(const char *p, const char *special, const char *end, struct str *out)
{
    str_clear(out);
    while (special < end && *special == '\\') {
        str_addn(out, p, (size_t)(special - p));
        char c = special + 1 < end ? unescaped(special[1]) : 0;
        if (!c)
            return NULL;
        str_addc(out, c);
        p = special + 2;
        special = next_special(p, end);
    }
    str_addn(out, p, (size_t)(special - p));
    return special;
}

static bool is_null(const char *p, const char *end)
{
    return end - p >= 2 && p[0] == '\\' && p[1] == 'N' && (end - p == 2 || p[2] == '\t');
}

static inline const char *field(const char *p, const char *end, struct str *scratch,
                                struct digest_value *ret)
{
    const char *stop = next_special(p, end);
    if (stop == end || *stop == '\t') {
        *ret = (struct digest_value){p, (size_t)(stop - p)};
        return stop;
    }
    if (is_null(p, end)) {
        *ret = (struct digest_value){NULL, 0};
        return p + 2;
    }
    stop = unescape(p, stop, end, scratch);
    if (stop)
        *ret = (struct digest_value){scratch->p, scratch->len};
    return stop;
}

const char *copy_field(const char *p, const char *end, struct str *scratch,
                       struct digest_value *ret)
{
    return field(p, end, scratch, ret);
}

int digest_sum_copy_row(struct digest_sum *d, const char *line, size_t len, struct str *scratch,
                        struct err *err)
{
    const char *p = line, *end = line + len;
    if (end > p && end[-1] == '\n')
        end--;
    uint64_t row = 0;
    for (size_t i = 0; i < d->ncolumns; i++) {
        struct digest_column *c = &d->columns[i];
        struct digest_value value;
        const char *stop = field(p, end, scratch, &value);
        if (!stop)
            return err_set(err, ERR_CONFIG, "a line of COPY has a wrong escape in column %s",
                           c->name);
        row += add_value(c, value.bytes, value.len);
        if ((stop < end) != (i + 1 < d->ncolumns))
            return err_set(err, ERR_CONFIG, "a line of COPY has %s values than columns (%zu)",
                           stop < end ? "more" : "fewer", d->ncolumns);
        p = stop + 1;
    }
    if (!d->ncolumns && p < end)
        return err_set(err, ERR_CONFIG, "a line of COPY has values, but its table no columns");
    add_row(d, row);
    return 0;
}
