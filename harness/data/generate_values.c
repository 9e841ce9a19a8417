#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "harness/data/generate_impl.h"

/* Texts of unlimited length are at most this long: enough for any varchar that people narrow to. */
#define LONGEST 2000
#define LONGEST_UNLIMITED 300

/*
 * %n a number, %d a day, %h twelve hexadecimal digits, %a %b %c the number's three lowest bytes in
 * decimal, %x %y %z in hexadecimal, %m a minute.
 */
struct value_template {
    const char *type;
    const char *benign;
    const char *hostile[7];
};

static const struct value_template templates[] = {
    {"date", "%d", {"9999-12-30", "0001-01-02"}},
    {"timestamp", "%d 12:00:00", {"9999-12-30 23:59:59.999999", "0001-01-02 00:00:00"}},
    {"timestamptz", "%d 12:00:00+00", {"9999-12-30 23:59:59.999999+00", "0001-01-02 00:00:00+00"}},
    {"time", "12:%m:00", {"23:59:59.999999", "00:00:00"}},
    {"timetz", "12:%m:00+00", {"23:59:59.999999+00", "00:00:00-12"}},
    {"interval", "%n days", {"178000000 years", "-1 mons -2 days +03:04:05", "00:00:00"}},
    {"uuid",
     "00000000-0000-4000-8000-%h",
     {"ffffffff-ffff-ffff-ffff-ffffffffffff", "00000000-0000-0000-0000-000000000000"}},
    {"json",
     "{\"a\": %n}",
     {"{\"\u00e9'\\\"\": [1, null, {\"b\": \"''\"}]}", "{}", "[]", "null", "\"\"", "1", "true"}},
    {"jsonb",
     "{\"a\": %n}",
     {"{\"\u00e9'\\\"\": [1, null, {\"b\": \"''\"}]}", "{}", "[]", "null", "\"\"", "1", "true"}},
    {"jsonpath", "$.a%n", {"strict $[*]", "$"}},
    {"xml", "<a>%n</a>", {"<a b=\"'\">\u00e9<c/></a>", ""}},
    {"inet", "10.%a.%b.%c", {"2001:db8::ffff/64", "0.0.0.0/0"}},
    {"cidr", "10.%a.%b.%c/32", {"2001:db8::/32", "0.0.0.0/0"}},
    {"macaddr", "08:00:2b:%x:%y:%z", {"ff:ff:ff:ff:ff:ff", "00:00:00:00:00:00"}},
    {"macaddr8", "08:00:2b:01:02:%x:%y:%z", {"ff:ff:ff:ff:ff:ff:ff:ff"}},
    {"money", "%n.25", {"92233720368547758.07", "-92233720368547758.08"}},
    {"bytea", "\\x%h", {"\\x00ff275c", "\\x"}},
    {"tsvector", "a%n", {"'\u00e9''':1A b", ""}},
    {"tsquery", "a%n", {"'a' & !'b'", ""}},
    {"point", "(%n,%n)", {"(1e+300,-1e+300)", "(0,0)"}},
    {"line", "{1,%n,0}", {"{0,1,-1e+100}"}},
    {"lseg", "[(%n,0),(%n,1)]", {"[(0,0),(0,0)]"}},
    {"box", "((%n,%n),(%n.5,%n.5))", {"((-1e+100,-1e+100),(-2e+100,-2e+100))"}},
    {"path", "((0,0),(%n,1))", {"[(0,0)]"}},
    {"polygon", "((%n,%n),(%n.5,%n),(%n,%n.5))", {"((-5,-5))"}},
    {"circle", "<(%n,%n),0.25>", {"<(-9,-9),0>"}},
    {"oid", "%n", {"4294967295", "0"}},
    {"xid", "%n", {"4294967295", "0"}},
    {"cid", "%n", {"4294967295", "0"}},
    {"xid8", "%n", {"18446744073709551615", "0"}},
    {"tid", "(0,%n)", {"(4294967295,65535)"}},
    {"pg_lsn", "0/%n", {"FFFFFFFF/FFFFFFFF", "0/0"}},
    {"pg_snapshot", "1:%n:", {"1:1:"}},
    {"txid_snapshot", "1:%n:", {"1:1:"}},
    {"regclass", "pg_class", {"pg_type"}},
    {"regtype", "integer", {"text"}},
    {"regproc", "pg_catalog.now", {"-"}},
    {"regprocedure", "pg_catalog.now()", {"-"}},
    {"regrole", "pg_monitor", {"-"}},
    {"regnamespace", "pg_catalog", {"-"}},
    {"regconfig", "simple", {"english"}},
    {"regdictionary", "simple", {"simple"}},
    {"regcollation", "\"C\"", {"\"POSIX\""}},
    {"char", "%m", {"", "~"}},
    {"hstore", "a=>%n", {"\"\u00e9'\"=>NULL, \"\"=>\"\"", ""}},
    {"ltree", "a.b%n", {"a", ""}},
    {"lquery", "a.b%n", {"*"}},
    {"ltxtquery", "a%n", {"!a"}},
    {"cube", "(%n)", {"(0,0),(1,1)"}},
    {"seg", "%n", {"0 .. 1"}},
    {"geometry", "POINT(%n %n)", {"POINT EMPTY"}},
    {"geography", "POINT(1 1)", {"POINT EMPTY"}},
    {"semver", "%n.0.0", {"0.0.0"}},
};

const struct value_template value_template_unknown = {"", "%n", {"{}", "a", "(%n)", ""}};

const struct value_template *value_template_find(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(templates); i++)
        if (strcmp(templates[i].type, name) == 0)
            return &templates[i];
    return NULL;
}

struct value_type *value_type_new(enum value_class class)
{
    struct value_type *t = xcalloc(1, sizeof(*t));
    t->class = class;
    return t;
}

void value_type_free(struct value_type *t)
{
    if (!t)
        return;
    value_type_free(t->element);
    for (size_t i = 0; i < t->nfields; i++)
        value_type_free(t->fields[i]);
    free(t->fields);
    strv_release(&t->checks);
    strv_release(&t->allowed);
    strv_release(&t->accepted);
    free(t->cast);
    free(t);
}

void value_day(long days, char ret[16])
{
    time_t seconds = (time_t)days * 86400;
    struct tm tm;
    gmtime_r(&seconds, &tm);
    snprintf(ret, 16, "%04u-%02u-%02u", (unsigned)(tm.tm_year + 1900) % 10000,
             (unsigned)(tm.tm_mon + 1) % 100, (unsigned)tm.tm_mday % 100);
}

static void add_template(const char *text, uint64_t i, struct str *ret)
{
    char day[16];
    for (const char *p = text; *p; p++) {
        if (*p != '%') {
            str_addc(ret, *p);
            continue;
        }
        switch (*++p) {
        case 'n':
            str_addf(ret, "%llu", (unsigned long long)i);
            break;
        case 'd':
            value_day(18262 + (long)(i % 2000000), day); /* from 2020-01-01 */
            str_add(ret, day);
            break;
        case 'h':
            str_addf(ret, "%012llx", (unsigned long long)(i & 0xffffffffffff));
            break;
        case 'm':
            str_addf(ret, "%02u", (unsigned)(i % 60));
            break;
        default:
            str_addf(ret, *p >= 'x' ? "%02x" : "%u",
                     (unsigned)(i >> (*p >= 'x' ? ('z' - *p) * 8 : ('c' - *p) * 8)) & 255);
        }
    }
}

/* ---- numbers ---- */

static uint64_t power_of_ten(int n)
{
    uint64_t p = 1;
    while (n-- > 0 && p < UINT64_MAX / 10)
        p *= 10;
    return p;
}

static void add_digits(struct str *ret, char digit, int n)
{
    for (; n > 0; n--)
        str_addc(ret, digit);
}

static void benign_numeric(const struct value_type *t, uint64_t i, struct str *ret)
{
    int whole = t->precision ? t->precision - t->scale : 18;
    if (whole > 0)
        str_addf(ret, "%llu", (unsigned long long)(i % power_of_ten(whole)));
    else
        str_add(ret, "0");
    if (t->scale < 0) /* rounds to tens, hundreds, ... */
        add_digits(ret, '0', -t->scale < 9 ? -t->scale : 9);
    if (t->scale <= 0 || (whole > 0 && !t->precision))
        return;
    if (whole > 0)
        str_add(ret, t->scale == 1 ? ".5" : ".25");
    else
        str_addf(ret, ".%0*llu", t->scale < 18 ? t->scale : 18,
                 (unsigned long long)(i % power_of_ten(t->precision)));
}

static void extreme_numeric(const struct value_type *t, struct str *ret)
{
    if (!t->precision) {
        str_add(ret, "123456789012345678901234567890.123456789");
        return;
    }
    int whole = t->precision - (t->scale > 0 ? t->scale : 0);
    str_add(ret, whole > 0 ? "" : "0");
    add_digits(ret, '9', whole);
    if (t->scale > 0) {
        str_addc(ret, '.');
        add_digits(ret, '0', whole < 0 ? -whole : 0);
        add_digits(ret, '9', whole < 0 ? t->precision : t->scale);
    } else {
        add_digits(ret, '0', -t->scale);
    }
}

/* ---- texts ---- */

static void benign_text(int length, uint64_t i, struct str *ret)
{
    uint64_t n = length == 1 ? i : length == 2 ? 10 + i : 100 + i;
    if (length <= 0 || length > 18 || n < power_of_ten(length)) {
        str_addf(ret, "%llu", (unsigned long long)n);
        return;
    }
    /* more values than so many digits have: letters as digits */
    char text[20];
    for (int k = length; k-- > 0; n /= 36)
        text[k] = "0123456789abcdefghijklmnopqrstuvwxyz"[n % 36];
    str_addn(ret, text, (size_t)length);
}

static void longest_text(int length, struct str *ret)
{
    static const char *const pieces[] = {" ", "\u00e9", "'", "\"", "\\", "\u65e5", "%", "Z"};
    int n = length <= 0 ? LONGEST_UNLIMITED : length < LONGEST ? length : LONGEST;
    for (int i = 0; i < n; i++)
        str_add(ret, i == n - 1 ? "z" : pieces[i % (int)ARRAY_LEN(pieces)]);
}

static bool hostile_text(int length, size_t k, struct str *ret)
{
    static const char *const more[] = {" a ", "\u00e9", "'", "\"\\", "NULL", "A"};
    if (k == 0) {
        longest_text(length, ret);
        return true;
    }
    if (k == 1)
        return true; /* the empty text */
    if (k - 2 >= ARRAY_LEN(more))
        return false;
    const char *text = more[k - 2];
    if (length > 0 && length < 4 && strlen(text) > 2)
        text = "a";
    str_add(ret, text);
    return true;
}

/* ---- values made of values ---- */

void value_add_element(struct str *to, const char *plain, bool field)
{
    if (!plain) {
        str_add(to, field ? "" : "NULL");
        return;
    }
    str_addc(to, '"');
    for (; *plain; plain++) {
        if (*plain == '"' || *plain == '\\')
            str_addc(to, '\\');
        str_addc(to, *plain);
    }
    str_addc(to, '"');
}

static void benign_range(const struct value_type *t, uint64_t i, struct str *ret)
{
    _cleanup_str_ struct str lower = {0}, upper = {0};
    value_benign(t->element, i * 2, &lower);
    value_benign(t->element, i * 2 + 1, &upper);
    str_addc(ret, '[');
    value_add_element(ret, str_get(&lower), true);
    str_addc(ret, ',');
    value_add_element(ret, str_get(&upper), true);
    str_addc(ret, ')');
}

static void benign_bits(const struct value_type *t, uint64_t i, struct str *ret)
{
    int n = t->length ? t->length : 16;
    for (int k = n - 1; k >= 0; k--)
        str_addc(ret, k < 64 && (i >> k) & 1 ? '1' : '0');
}

void value_benign(const struct value_type *t, uint64_t i, struct str *ret)
{
    if (t->allowed.n) {
        str_add(ret, t->allowed.v[i % t->allowed.n]);
        return;
    }
    _cleanup_str_ struct str part = {0};
    switch (t->class) {
    case VALUE_INTEGER:
        str_addf(ret, "%llu", (unsigned long long)(t->bytes == 2 ? i % 32768 : i));
        break;
    case VALUE_NUMERIC:
        benign_numeric(t, i, ret);
        break;
    case VALUE_FLOAT:
        str_addf(ret, "%llu.5", (unsigned long long)i);
        break;
    case VALUE_BOOL:
        str_add(ret, i & 1 ? "true" : "false");
        break;
    case VALUE_TEXT:
        benign_text(t->length, i, ret);
        break;
    case VALUE_BYTES:
        str_addf(ret, "%llu", (unsigned long long)i);
        break;
    case VALUE_BITS:
        benign_bits(t, i, ret);
        break;
    case VALUE_LABELS: /* an enum without labels has no value */
        break;
    case VALUE_TEMPLATE:
        add_template(t->template->benign, i, ret);
        break;
    case VALUE_ARRAY:
        value_benign(t->element, i, &part);
        str_addc(ret, '{');
        value_add_element(ret, str_get(&part), false);
        str_addc(ret, '}');
        break;
    case VALUE_COMPOSITE:
        str_addc(ret, '(');
        for (size_t k = 0; k < t->nfields; k++) {
            str_clear(&part);
            value_benign(t->fields[k], i, &part);
            str_add(ret, k ? "," : "");
            value_add_element(ret, str_get(&part), true);
        }
        str_addc(ret, ')');
        break;
    case VALUE_RANGE:
        benign_range(t, i, ret);
        break;
    case VALUE_MULTIRANGE:
        str_addc(ret, '{');
        value_benign(t->element, i, ret);
        str_addc(ret, '}');
        break;
    }
}

static bool add_one_of(const char *const *texts, size_t n, size_t k, struct str *ret)
{
    if (k >= n || !texts[k])
        return false;
    str_add(ret, texts[k]);
    return true;
}

static bool hostile_integer(const struct value_type *t, size_t k, struct str *ret)
{
    static const char *const small[] = {"32767", "0", "-32768", "-1"};
    static const char *const middle[] = {"2147483647", "0", "-2147483648", "-1"};
    static const char *const big[] = {"9223372036854775807", "0", "-9223372036854775808", "-1"};
    return add_one_of(t->bytes == 2 ? small : t->bytes == 4 ? middle : big, 4, k, ret);
}

static bool hostile_array(const struct value_type *t, size_t k, struct str *ret)
{
    if (k == 1) {
        str_add(ret, "{}");
        return true;
    }
    if (k == 2 && !t->element->not_null) {
        str_add(ret, "{NULL}");
        return true;
    }
    _cleanup_str_ struct str first = {0}, second = {0};
    if (k || !value_hostile(t->element, 0, &first))
        return false;
    value_benign(t->element, 1, &second);
    str_addc(ret, '{');
    for (int i = 0; i < 3; i++) {
        str_add(ret, i ? "," : "");
        value_add_element(ret, str_get(i == 0 ? &first : &second), false);
    }
    str_addc(ret, '}');
    return true;
}

static bool hostile_composite(const struct value_type *t, size_t k, struct str *ret)
{
    if (k > 1)
        return false;
    str_addc(ret, '(');
    for (size_t i = 0; i < t->nfields; i++) {
        _cleanup_str_ struct str part = {0};
        bool is = k == 0 && value_hostile(t->fields[i], 0, &part);
        if (t->fields[i]->not_null && !is) {
            value_benign(t->fields[i], 0, &part);
            is = true;
        }
        str_add(ret, i ? "," : "");
        value_add_element(ret, is ? str_get(&part) : NULL, true);
    }
    str_addc(ret, ')');
    return true;
}

bool value_hostile(const struct value_type *t, size_t k, struct str *ret)
{
    static const char *const floats[] = {"1.7e+38", "-1.7e+38", "0", "1e-37"};
    static const char *const booleans[] = {"true", "false"};
    static const char *const ranges[] = {"(,)", "empty"};
    static const char *const multiranges[] = {"{(,)}", "{}"};
    const struct strv *only = t->accepted.n ? &t->accepted : &t->allowed;
    if (only->n) {
        if (k >= only->n)
            return false;
        str_add(ret, only->v[only->n - 1 - k]);
        return true;
    }
    switch (t->class) {
    case VALUE_INTEGER:
        return hostile_integer(t, k, ret);
    case VALUE_NUMERIC:
        if (k > 2)
            return false;
        str_add(ret, k == 1 ? "-" : "");
        if (k == 2)
            str_addc(ret, '0');
        else
            extreme_numeric(t, ret);
        return true;
    case VALUE_FLOAT:
        return add_one_of(floats, ARRAY_LEN(floats), k, ret);
    case VALUE_BOOL:
        return add_one_of(booleans, ARRAY_LEN(booleans), k, ret);
    case VALUE_TEXT:
        return hostile_text(t->length, k, ret);
    case VALUE_BYTES:
        return hostile_text((t->length + 3) / 4, k, ret); /* characters take up to 4 bytes */
    case VALUE_BITS:
        if (k > 1 || (k == 1 && t->fixed))
            return false;
        add_digits(ret, '1', k ? 0 : t->length ? t->length : 64);
        return true;
    case VALUE_LABELS:
        return false;
    case VALUE_TEMPLATE:
        if (k >= ARRAY_LEN(t->template->hostile) || !t->template->hostile[k])
            return false;
        add_template(t->template->hostile[k], k, ret);
        return true;
    case VALUE_ARRAY:
        return hostile_array(t, k, ret);
    case VALUE_COMPOSITE:
        return hostile_composite(t, k, ret);
    case VALUE_RANGE:
        return add_one_of(ranges, ARRAY_LEN(ranges), k, ret);
    case VALUE_MULTIRANGE:
        return add_one_of(multiranges, ARRAY_LEN(multiranges), k, ret);
    }
    return false;
}

bool value_is_limited(const struct value_type *t)
{
    if (t->allowed.n || t->class == VALUE_BOOL || t->class == VALUE_LABELS)
        return true;
    if (t->class == VALUE_TEXT)
        return t->length > 0 && t->length < 4;
    if (t->class == VALUE_BITS)
        return t->length > 0 && t->length < 20;
    if (t->class == VALUE_NUMERIC)
        return t->precision > 0 && t->precision < 6;
    if (t->class == VALUE_TEMPLATE)
        return !strstr(t->template->benign, "%n") && !strstr(t->template->benign, "%d") &&
               !strstr(t->template->benign, "%h") && !strstr(t->template->benign, "%a") &&
               !strstr(t->template->benign, "%x");
    if (t->class == VALUE_ARRAY || t->class == VALUE_RANGE || t->class == VALUE_MULTIRANGE)
        return value_is_limited(t->element);
    for (size_t i = 0; t->class == VALUE_COMPOSITE && i < t->nfields; i++)
        if (!value_is_limited(t->fields[i]))
            return false;
    return t->class == VALUE_COMPOSITE;
}

static void add_quoted(struct str *ret, const char *text)
{
    str_addc(ret, '\'');
    for (; *text; text++) {
        if (*text == '\'')
            str_addc(ret, '\'');
        str_addc(ret, *text);
    }
    str_addc(ret, '\'');
}

void value_cell(const struct engine *e, const struct value_type *t, const char *plain,
                struct str *ret)
{
    if (!plain) {
        str_add(ret, "NULL");
    } else if (e == &engine_postgres) {
        add_quoted(ret, plain);
    } else if (t->class == VALUE_INTEGER || t->class == VALUE_NUMERIC || t->class == VALUE_FLOAT) {
        str_add(ret, plain);
    } else if (t->class == VALUE_BOOL) {
        str_add(ret, *plain == 't' ? "1" : "0");
    } else if (t->class == VALUE_BYTES) {
        str_add(ret, "x'");
        for (; *plain; plain++)
            str_addf(ret, "%02x", (unsigned char)*plain);
        str_addc(ret, '\'');
    } else {
        add_quoted(ret, plain);
    }
}
