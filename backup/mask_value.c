#include <inttypes.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "backup/mask.h"

/* 128 bits that depend on the value, the kind of rule and the key. */
struct bits {
    uint64_t a, b;
};

static struct bits bits_of(const struct mask_column *c, const char *value, size_t len,
                           unsigned char round)
{
    struct bits r;
    unsigned char out[crypto_shorthash_siphashx24_BYTES], key[crypto_shorthash_siphashx24_KEYBYTES];
    memcpy(key, c->key, sizeof(key));
    key[0] ^= (unsigned char)c->how;
    key[1] ^= round;
    crypto_shorthash_siphashx24(out, (const unsigned char *)value, len, key);
    memcpy(&r.a, out, 8);
    memcpy(&r.b, out + 8, 8);
    return r;
}

static void add_hex(struct str *s, const struct bits *b, size_t n)
{
    char hex[33];
    snprintf(hex, sizeof(hex), "%016" PRIx64 "%016" PRIx64, b->a, b->b);
    str_addn(s, hex, n < 32 ? n : 32);
}

static void add_uuid(struct str *s, const struct bits *b)
{
    str_addf(s, "%08" PRIx64 "-%04" PRIx64 "-4%03" PRIx64 "-8%03" PRIx64 "-%012" PRIx64, b->a >> 32,
             b->a >> 16 & 0xffff, b->a & 0xfff, b->b >> 48 & 0xfff, b->b & 0xffffffffffff);
}

static void add_date(struct str *s, const struct bits *b)
{
    str_addf(s, "%04" PRIu64 "-%02" PRIu64 "-%02" PRIu64, 1940 + b->a % 65, 1 + (b->a >> 16) % 12,
             1 + (b->a >> 32) % 28);
}

static bool has_word(const char *name, const char *word)
{
    return strcasestr(name, word) != NULL;
}

/* What the rule's column asks for; all of them hold 40 bits or more where they must be unique. */
static void add_plausible(const struct mask_column *c, const struct bits *b, struct str *s)
{
    static const char *const first[] = {"Alex", "Bo",  "Chris", "Dana", "Eli", "Fran",
                                        "Gale", "Hal", "Iris",  "Jona", "Kim", "Lee",
                                        "Mika", "Noa", "Ode",   "Pat"};
    const char *about = c->rule->column; /* the same on both sides of a foreign key */
    if (has_word(about, "mail")) {
        add_hex(s, b, c->limit && c->limit < 28 ? c->limit - 12 : 16);
        str_add(s, "@example.com");
    } else if (has_word(about, "phone") || has_word(about, "mobile") || has_word(about, "fax")) {
        str_addf(s, "+999%012" PRIu64, b->a % 1000000000000);
    } else if (has_word(about, "name") && !has_word(about, "user")) {
        str_add(s, first[b->b % ARRAY_LEN(first)]);
        str_addc(s, ' ');
        add_hex(s, b, 12);
    } else {
        str_add(s, "fake-");
        add_hex(s, b, 16);
    }
}

static void add_text(const struct mask_column *c, const struct bits *b, struct str *s)
{
    if (c->how == MASK_HASH)
        add_hex(s, b, 32);
    else
        add_plausible(c, b, s);
    if (c->limit && s->len > c->limit) { /* all of it is ASCII */
        s->len = c->limit;
        s->p[s->len] = '\0';
    }
    while (s->len < c->pad)
        str_addc(s, ' ');
}

/* Characters of UTF-8 become one ASCII letter each. */
static void add_same_length(const struct mask_column *c, const char *value, size_t len,
                            struct str *s)
{
    struct bits b = {0};
    unsigned used = 0;
    for (size_t i = 0; i < len; i++) {
        unsigned char x = (unsigned char)value[i];
        if ((x & 0xc0) == 0x80)
            continue;
        if (used % 16 == 0)
            b = bits_of(c, value, len, (unsigned char)(1 + used / 16));
        uint64_t next = (used % 16 < 8 ? b.a : b.b) >> (used % 8 * 8) & 0xff;
        used++;
        if (x >= '0' && x <= '9')
            str_addc(s, (char)('0' + next % 10));
        else if (x >= 'A' && x <= 'Z')
            str_addc(s, (char)('A' + next % 26));
        else if ((x >= 'a' && x <= 'z') || x >= 0x80)
            str_addc(s, (char)('a' + next % 26));
        else
            str_addc(s, (char)x);
    }
}

bool mask_value(const struct mask_column *c, const char *value, size_t len, struct str *ret)
{
    if (c->how == MASK_NULL)
        return false;
    if (c->how == MASK_KEEP_LENGTH) {
        add_same_length(c, value, len, ret);
        str_addn(ret, "", 0);
        return true;
    }
    struct bits b = bits_of(c, value, len, 0);
    switch (c->kind) {
    case MASK_UUID:
        add_uuid(ret, &b);
        break;
    case MASK_SMALL:
        str_addf(ret, "%" PRIu64, b.a & INT16_MAX);
        break;
    case MASK_INTEGER:
        str_addf(ret, "%" PRIu64, b.a & INT32_MAX);
        break;
    case MASK_BIGINT:
        str_addf(ret, "%" PRIu64, b.a & INT64_MAX);
        break;
    case MASK_BYTES:
        str_add(ret, "\\x");
        add_hex(ret, &b, 32);
        break;
    case MASK_ADDRESS:
        str_addf(ret, "10.%u.%u.%u", (unsigned)(b.a & 0xff), (unsigned)(b.a >> 8 & 0xff),
                 (unsigned)(b.a >> 16 & 0xff));
        str_add(ret, c->zoned ? "/32" : "");
        break;
    case MASK_DATE:
    case MASK_TIME:
        add_date(ret, &b);
        if (c->kind == MASK_TIME)
            str_addf(ret, " %02u:%02u:00%s", (unsigned)(b.b % 24), (unsigned)((b.b >> 8) % 60),
                     c->zoned ? "+00" : "");
        break;
    case MASK_TEXT:
    case MASK_DYNAMIC:
    case MASK_OTHER:
        add_text(c, &b, ret);
        break;
    }
    return true;
}
