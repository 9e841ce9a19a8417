/*
 * Columns that look personal: by their names, and by a sample of their values. What is looked at is
 * never told.
 */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "backup/mask.h"

enum { SAMPLE = 500 };
/* One value in so many that looks like something makes the column look like it. */
#define SHARE 5

/* ---- values ---- */

static bool is_mail(const char *s, size_t n)
{
    const char *at = memchr(s, '@', n), *end = s + n;
    if (!at || at == s || memchr(at + 1, '@', (size_t)(end - at - 1)) || memchr(s, ' ', n))
        return false;
    const char *dot = memrchr(at, '.', (size_t)(end - at));
    return dot && dot > at + 1 && end - dot >= 3;
}

static bool is_iban(const char *s, size_t n)
{
    size_t digits = 0, letters = 0;
    if (n < 15 || n > 42 || !isupper((unsigned char)s[0]) || !isupper((unsigned char)s[1]) ||
        !isdigit((unsigned char)s[2]) || !isdigit((unsigned char)s[3]))
        return false;
    for (size_t i = 4; i < n; i++) {
        digits += isdigit((unsigned char)s[i]) != 0;
        letters += isupper((unsigned char)s[i]) != 0;
        if (!isdigit((unsigned char)s[i]) && !isupper((unsigned char)s[i]) && s[i] != ' ')
            return false;
    }
    return digits + letters >= 11 && digits >= 6;
}

static bool is_phone(const char *s, size_t n)
{
    size_t digits = 0;
    if (n < 8 || n > 24 || (s[0] != '+' && !(s[0] == '0' && s[1] == '0')))
        return false;
    for (size_t i = 1; i < n; i++) {
        if (!isdigit((unsigned char)s[i]) && !strchr(" -/().", s[i]))
            return false;
        digits += isdigit((unsigned char)s[i]) != 0;
    }
    return digits >= 7;
}

static bool is_address(const char *s, size_t n)
{
    int parts = 1, value = -1;
    for (size_t i = 0; i < n; i++) {
        if (s[i] == '/' && parts == 4 && value >= 0)
            return true;
        if (isdigit((unsigned char)s[i])) {
            value = (value < 0 ? 0 : value) * 10 + (s[i] - '0');
        } else if (s[i] == '.' && value >= 0) {
            parts++;
            value = -1;
        } else {
            return false;
        }
        if (value > 255)
            return false;
    }
    return parts == 4 && value >= 0;
}

/* The check digit of payment cards. */
static bool is_card(const char *s, size_t n)
{
    int digits = 0, sum = 0;
    for (size_t i = n; i-- > 0;) {
        if (s[i] == ' ' || s[i] == '-')
            continue;
        if (!isdigit((unsigned char)s[i]))
            return false;
        int d = (s[i] - '0') << (digits % 2);
        sum += d > 9 ? d - 9 : d;
        digits++;
    }
    return digits >= 13 && digits <= 19 && sum % 10 == 0;
}

static bool is_secret(const char *s, size_t n)
{
    static const char *const begin[] = {"$2a$",       "$2b$",      "$2y$",   "$argon2",  "pbkdf2_",
                                        "$scrypt",    "{SSHA",     "eyJ",    "sk_live_", "ghp_",
                                        "-----BEGIN", "SCRAM-SHA", "bcrypt$"};
    for (size_t i = 0; i < ARRAY_LEN(begin); i++)
        if (n > 12 && strncmp(s, begin[i], strlen(begin[i])) == 0)
            return true;
    return false;
}

static const struct {
    bool (*is)(const char *s, size_t n);
    const char *what;
    enum mask_how how;
} kinds[] = {
    {is_mail, "e-mail addresses", MASK_FAKE}, {is_iban, "bank accounts", MASK_HASH},
    {is_phone, "phone numbers", MASK_FAKE},   {is_address, "network addresses", MASK_FAKE},
    {is_card, "payment cards", MASK_HASH},    {is_secret, "passwords or tokens", MASK_HASH},
};

/* ---- names ---- */

/* Parts of names, between underscores or capitals; a part may end in a plural's s. */
static const struct {
    const char *word, *what;
    enum mask_how how;
} words[] = {
    {"email", "an e-mail address", MASK_FAKE},
    {"mail", "an e-mail address", MASK_FAKE},
    {"phone", "a phone number", MASK_FAKE},
    {"telephone", "a phone number", MASK_FAKE},
    {"tel", "a phone number", MASK_FAKE},
    {"mobile", "a phone number", MASK_FAKE},
    {"fax", "a phone number", MASK_FAKE},
    {"name", "a name", MASK_FAKE},
    {"firstname", "a name", MASK_FAKE},
    {"lastname", "a name", MASK_FAKE},
    {"surname", "a name", MASK_FAKE},
    {"fullname", "a name", MASK_FAKE},
    {"username", "a name", MASK_HASH},
    {"login", "a name", MASK_HASH},
    {"address", "an address", MASK_KEEP_LENGTH},
    {"street", "an address", MASK_KEEP_LENGTH},
    {"zip", "an address", MASK_KEEP_LENGTH},
    {"postcode", "an address", MASK_KEEP_LENGTH},
    {"birth", "a date of birth", MASK_FAKE},
    {"birthdate", "a date of birth", MASK_FAKE},
    {"birthday", "a date of birth", MASK_FAKE},
    {"dob", "a date of birth", MASK_FAKE},
    {"born", "a date of birth", MASK_FAKE},
    {"iban", "a bank account", MASK_HASH},
    {"bic", "a bank account", MASK_HASH},
    {"ssn", "a person's number", MASK_HASH},
    {"passport", "a person's number", MASK_HASH},
    {"ip", "a network address", MASK_FAKE},
    {"password", "a password", MASK_HASH},
    {"passwd", "a password", MASK_HASH},
    {"pwd", "a password", MASK_HASH},
    {"secret", "a secret", MASK_HASH},
    {"token", "a token", MASK_HASH},
    {"apikey", "a token", MASK_HASH},
    {"cvv", "a payment card", MASK_HASH},
    {"salary", "a salary", MASK_NULL},
};

static bool is_part(const char *name, const char *word)
{
    size_t n = strlen(word);
    for (const char *p = name; (p = strcasestr(p, word)); p++) {
        bool begins = p == name || !isalpha((unsigned char)p[-1]) ||
                      (isupper((unsigned char)p[0]) && islower((unsigned char)p[-1]));
        size_t end = n + (tolower((unsigned char)p[n]) == 's');
        bool ends = !isalpha((unsigned char)p[end]) ||
                    (isupper((unsigned char)p[end]) && islower((unsigned char)p[end - 1]));
        if (begins && ends)
            return true;
    }
    return false;
}

/* SQLite's columns may hold anything; those that are declared to hold numbers are believed. */
static bool is_text(const struct mask_column *c)
{
    static const char *const numbers[] = {"int", "real", "num", "dec", "bool", "floa", "doub"};
    for (size_t i = 0; c->kind == MASK_DYNAMIC && i < ARRAY_LEN(numbers); i++)
        if (strcasestr(c->type, numbers[i]))
            return false;
    return c->kind == MASK_TEXT || c->kind == MASK_DYNAMIC;
}

static bool by_name(const struct mask_column *c, size_t *ret)
{
    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        bool date = strcmp(words[i].what, "a date of birth") == 0;
        bool fits = is_text(c) || c->kind == MASK_ADDRESS || c->kind == MASK_BYTES ||
                    (date && (c->kind == MASK_DATE || c->kind == MASK_TIME)) ||
                    words[i].how == MASK_NULL;
        if (fits && is_part(c->name, words[i].word)) {
            *ret = i;
            return true;
        }
    }
    return false;
}

/* ---- both ---- */

static int by_values(const struct mask_model *m, const struct mask_column *c, struct db *db,
                     size_t *ret, bool *ret_found, struct err *err)
{
    _cleanup_free_ char *name = db_quote_ident(db, c->name);
    _cleanup_free_ char *table =
        m->engine == &engine_sqlite ? db_quote_ident(db, c->table) : xstrdup(c->table);
    _cleanup_free_ char *sql = xasprintf(
        "select cast(%s as text) from %s where %s is not null limit %d", name, table, name, SAMPLE);
    _cleanup_rows_ struct rows *rows = NULL;
    size_t hits[ARRAY_LEN(kinds)] = {0};
    *ret_found = false;
    if (db_query(db, sql, NULL, 0, &rows, err) < 0)
        return -1;
    for (int i = 0; i < rows_count(rows); i++)
        for (size_t k = 0; k < ARRAY_LEN(kinds); k++)
            hits[k] += kinds[k].is(rows_get(rows, i, 0), rows_length(rows, i, 0));
    for (size_t k = 0; k < ARRAY_LEN(kinds) && !*ret_found; k++)
        if (hits[k] && hits[k] * SHARE >= (size_t)rows_count(rows)) {
            *ret = k;
            *ret_found = true;
        }
    return 0;
}

/* A rule that this column can have. */
static enum mask_how fitting(const struct mask_column *c, enum mask_how how)
{
    if (how == MASK_KEEP_LENGTH && (c->unique || !is_text(c)))
        how = MASK_HASH;
    if ((c->kind == MASK_DATE || c->kind == MASK_TIME || c->kind == MASK_ADDRESS) &&
        how == MASK_HASH)
        how = MASK_FAKE;
    if (how == MASK_FAKE && c->limit && c->limit < 24)
        how = MASK_HASH;
    if (how == MASK_NULL && c->not_null)
        how = MASK_KEEP;
    return how;
}

static int look_at(const struct mask_model *m, const struct mask_column *c, struct db *db,
                   struct strv *ret, struct strv *ret_rules, struct err *err)
{
    size_t i = 0;
    bool found = false;
    const char *what, *why;
    enum mask_how how;
    _cleanup_free_ char *name = db_quote_ident(db, c->name);
    if (by_name(c, &i)) {
        what = words[i].what;
        how = words[i].how;
        why = "name";
    } else {
        if ((is_text(c) || c->kind == MASK_ADDRESS) && by_values(m, c, db, &i, &found, err) < 0)
            return -1;
        if (!found)
            return 0;
        what = kinds[i].what;
        how = kinds[i].how;
        why = "values";
    }
    strv_add_take(ret, xasprintf("%s.%s looks like %s (its %s)", c->table, name, what, why));
    strv_add_take(ret_rules, xasprintf("%s.%s: %s", c->table, name, mask_names[fitting(c, how)]));
    return 0;
}

int mask_suspects(const struct mask_plan *p, struct db *db, struct strv *ret,
                  struct strv *ret_rules, struct err *err)
{
    const struct mask_model *m = mask_plan_model(p);
    for (size_t i = 0; i < m->ncolumns; i++)
        if (!m->columns[i].masked && !m->columns[i].rowid &&
            look_at(m, &m->columns[i], db, ret, ret_rules, err) < 0)
            return -1;
    return 0;
}
