#include "harness/schema/sql_token.h"

#include <ctype.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

#include "harness/base/cleanup.h"

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\f' || c == '\r';
}

static bool is_name_start(char c)
{
    return isalpha((unsigned char)c) || c == '_' || (c & 0x80);
}

static bool is_name(char c)
{
    return is_name_start(c) || isdigit((unsigned char)c) || c == '$';
}

/* Bytes of white space and comments at s; a comment that is not closed ends with the text. */
static size_t blank_length(const char *s)
{
    size_t i = 0;
    for (;;) {
        if (is_space(s[i])) {
            i++;
        } else if (strncmp(s + i, "\xef\xbb\xbf", 3) == 0) {
            i += 3;
        } else if (s[i] == '-' && s[i + 1] == '-') {
            i += strcspn(s + i, "\n");
        } else if (s[i] == '/' && s[i + 1] == '*') {
            const char *end = strstr(s + i + 2, "*/");
            i = end ? (size_t)(end - s) + 2 : i + strlen(s + i);
        } else {
            return i;
        }
    }
}

/* Bytes of the quoted text at s; a doubled quote stands for itself. 0: it is not closed. */
static size_t quoted_length(const char *s, char quote)
{
    for (size_t i = 1; s[i]; i++) {
        if (s[i] != quote)
            continue;
        if (s[i + 1] != quote || quote == ']')
            return i + 1;
        i++;
    }
    return 0;
}

static size_t digits_length(const char *s)
{
    size_t i = 0;
    while (isdigit((unsigned char)s[i]) || (i && s[i] == '_' && isdigit((unsigned char)s[i + 1])))
        i++;
    return i;
}

static size_t number_length(const char *s)
{
    size_t i;
    if (s[0] == '0' && (s[1] == 'x' || s[1] == 'X') && isxdigit((unsigned char)s[2])) {
        for (i = 2; isxdigit((unsigned char)s[i]) || s[i] == '_';)
            i++;
        return i;
    }
    i = digits_length(s);
    if (s[i] == '.')
        i += 1 + digits_length(s + i + 1);
    if (s[i] == 'e' || s[i] == 'E') {
        size_t sign = s[i + 1] == '+' || s[i + 1] == '-';
        size_t digits = digits_length(s + i + 1 + sign);
        i += digits ? 1 + sign + digits : 0;
    }
    return i;
}

static size_t operator_length(const char *s)
{
    static const char *const longer[] = {"->>", "->", "||", "<<", ">>",
                                         "<=",  ">=", "==", "<>", "!="};
    for (size_t i = 0; i < ARRAY_LEN(longer); i++)
        if (str_starts(s, longer[i]))
            return strlen(longer[i]);
    return strchr("|&~<>=+-*/%(),;.", s[0]) ? 1 : 0;
}

static struct sql_token next_token(const char *s)
{
    struct sql_token t = {.kind = SQL_BAD, .text = s};
    switch (s[0]) {
    case '\'':
    case '"':
    case '`':
    case '[':
        t.n = quoted_length(s, s[0] == '[' ? ']' : s[0]);
        if (t.n)
            t.kind = s[0] == '\'' ? SQL_STRING : SQL_QUOTED;
        else
            t.n = strlen(s);
        return t;
    case '?':
        t.kind = SQL_PARAMETER;
        t.n = 1 + digits_length(s + 1);
        return t;
    case ':':
    case '@':
    case '#':
    case '$':
        for (t.n = 1; is_name(s[t.n]);)
            t.n++;
        if (t.n > 1)
            t.kind = SQL_PARAMETER;
        return t;
    }
    if (isdigit((unsigned char)s[0]) || (s[0] == '.' && isdigit((unsigned char)s[1]))) {
        t.n = number_length(s);
        t.kind = is_name(s[t.n]) ? SQL_BAD : SQL_NUMBER;
        while (is_name(s[t.n]))
            t.n++;
    } else if ((s[0] == 'x' || s[0] == 'X') && s[1] == '\'') {
        t.n = 2 + strspn(s + 2, "0123456789abcdefABCDEF");
        if (s[t.n] == '\'')
            t.kind = t.n++ % 2 ? SQL_BAD : SQL_BLOB;
    } else if (is_name_start(s[0])) {
        t.kind = SQL_WORD;
        while (is_name(s[t.n]))
            t.n++;
    } else {
        t.n = operator_length(s);
        if (t.n)
            t.kind = SQL_OPERATOR;
        else
            t.n = 1;
    }
    return t;
}

void sql_tokenise(const char *sql, struct sql_tokens *ret)
{
    for (;;) {
        sql += blank_length(sql);
        if (!*sql)
            return;
        ret->v = xgrow(ret->v, ret->n, &ret->cap, sizeof(*ret->v));
        ret->v[ret->n++] = next_token(sql);
        sql += ret->v[ret->n - 1].n;
    }
}

void sql_tokens_release(struct sql_tokens *t)
{
    free(t->v);
    memset(t, 0, sizeof(*t));
}

bool sql_is(const struct sql_token *t, const char *word)
{
    if (t->kind != SQL_WORD && t->kind != SQL_OPERATOR)
        return false;
    return sqlite3_strnicmp(t->text, word, (int)t->n) == 0 && word[t->n] == '\0';
}

/* Sorted. SQLite's grammar lets all other keywords stand for names too; a test compares this list
 * with what the library accepts. */
static const char *const reserved[] = {
    "add",     "all",        "alter",       "and",     "as",       "autoincrement",
    "between", "case",       "check",       "collate", "commit",   "constraint",
    "create",  "default",    "deferrable",  "delete",  "distinct", "drop",
    "else",    "escape",     "except",      "exists",  "foreign",  "from",
    "group",   "having",     "in",          "index",   "insert",   "intersect",
    "into",    "is",         "isnull",      "join",    "limit",    "not",
    "nothing", "notnull",    "null",        "on",      "or",       "order",
    "primary", "references", "returning",   "select",  "set",      "table",
    "then",    "to",         "transaction", "union",   "unique",   "update",
    "using",   "values",     "when",        "where",
};

/* Names that mean something else without quotes, though a name may be spelled so. */
static const char *const special[] = {
    "cross",   "current_date", "current_time", "current_timestamp",
    "false",   "full",         "inner",        "left",
    "natural", "outer",        "right",        "true",
};

static bool is_listed(const char *const *list, size_t n, const char *word, size_t length)
{
    size_t low = 0, high = n;
    while (low < high) {
        size_t middle = (low + high) / 2;
        int c = sqlite3_strnicmp(list[middle], word, (int)length);
        if (c == 0 && list[middle][length])
            c = 1;
        if (c == 0)
            return true;
        if (c < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return false;
}

static bool is_reserved(const char *word, size_t n)
{
    return is_listed(reserved, ARRAY_LEN(reserved), word, n);
}

static bool is_special(const char *word, size_t n)
{
    return is_listed(special, ARRAY_LEN(special), word, n);
}

bool sql_is_reserved(const struct sql_token *t)
{
    return t->kind == SQL_WORD && is_reserved(t->text, t->n);
}

char *sql_name(const struct sql_token *t)
{
    if (t->kind != SQL_QUOTED && t->kind != SQL_STRING)
        return xstrndup(t->text, t->n);
    char quote = t->text[0] == '[' ? ']' : t->text[0];
    char *name = xmalloc(t->n), *at = name;
    for (size_t i = 1; i + 1 < t->n; i++) {
        *at++ = t->text[i];
        i += t->text[i] == quote;
    }
    *at = '\0';
    return name;
}

long sql_scope_find(const struct sql_scope *scope, const char *name)
{
    size_t low = 0, high = scope->n;
    while (low < high) {
        size_t middle = (low + high) / 2;
        int c = sqlite3_stricmp(scope->columns[middle], name);
        if (c == 0)
            return (long)middle;
        if (c < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return -1;
}

/*
 * Canonical text.
 */

static void add_lower(struct str *out, const char *text, size_t n)
{
    for (size_t i = 0; i < n; i++)
        str_addc(out, (char)(text[i] >= 'A' && text[i] <= 'Z' ? text[i] + 32 : text[i]));
}

static void add_quoted(struct str *out, const char *text, char quote)
{
    str_addc(out, quote);
    for (; *text; text++) {
        if (*text == quote)
            str_addc(out, quote);
        str_addc(out, *text);
    }
    str_addc(out, quote);
}

void sql_add_string(struct str *out, const char *text)
{
    add_quoted(out, text, '\'');
}

void sql_add_name(struct str *out, const char *name)
{
    size_t n = 0;
    while (is_name(name[n]))
        n++;
    if (n == 0 || name[n] || !is_name_start(name[0]) || is_reserved(name, n) || is_special(name, n))
        add_quoted(out, name, '"');
    else if (sqlite3_keyword_check(name, (int)n))
        add_lower(out, name, n); /* without quotes it could not be told from the keyword */
    else
        str_add(out, name);
}

static bool ends_operand(const struct sql_token *t)
{
    return t->kind == SQL_OPERATOR ? t->text[0] == ')' : !sql_is_reserved(t);
}

/* Whether a sign at t[i] belongs to what follows. */
static bool is_sign(const struct sql_token *t, size_t i)
{
    return t[i].kind == SQL_OPERATOR && t[i].n == 1 && strchr("+-~", t[i].text[0]) &&
           (i == 0 || !ends_operand(&t[i - 1]));
}

/* A name before a parenthesis: a function, or a table with a list of columns. */
static bool is_called(const struct sql_token *t, size_t i, size_t n)
{
    return i + 1 < n && sql_is(&t[i + 1], "(") &&
           (t[i].kind == SQL_QUOTED || (t[i].kind == SQL_WORD && !sql_is_reserved(&t[i])));
}

static bool has_space_before(const struct sql_token *t, size_t i, size_t n)
{
    if (i == 0)
        return false;
    const struct sql_token *last = &t[i - 1];
    if (last->kind == SQL_OPERATOR && (last->text[0] == '(' || last->text[0] == '.'))
        return false;
    if (t[i].kind == SQL_OPERATOR && t[i].n == 1) {
        if (strchr(",;).", t[i].text[0]))
            return false;
        if (t[i].text[0] == '(' && is_called(t, i - 1, n))
            return false;
    }
    return !is_sign(t, i - 1);
}

static bool is_dot(const struct sql_token *t, size_t i, size_t n)
{
    return i < n && sql_is(&t[i], ".");
}

/* A name in a table's own SQL. */
static void add_resolved(const struct sql_token *t, size_t i, size_t n,
                         const struct sql_scope *scope, const char *name, struct str *out)
{
    if (is_dot(t, i + 1, n) && sqlite3_stricmp(name, scope->table) == 0) {
        sql_add_name(out, scope->table);
        return;
    }
    bool other = i > 0 && (sql_is(&t[i - 1], "collate") || sql_is(&t[i - 1], "as"));
    long column = other || is_dot(t, i + 1, n) ? -1 : sql_scope_find(scope, name);
    if (column >= 0) {
        if (scope->used)
            scope->used[column] = true;
        sql_add_name(out, scope->columns[column]);
        return;
    }
    static const char *const rowids[] = {"_rowid_", "oid", "rowid"};
    bool rowid = is_listed(rowids, ARRAY_LEN(rowids), name, strlen(name));
    if (t[i].kind == SQL_QUOTED && t[i].text[0] == '"' && !other && !rowid &&
        !is_dot(t, i + 1, n) && !(i > 0 && is_dot(t, i - 1, n))) {
        sql_add_string(out, name);
        return;
    }
    _cleanup_str_ struct str lower = {0};
    add_lower(&lower, name, strlen(name));
    if (t[i].kind == SQL_WORD)
        str_add(out, str_get(&lower));
    else
        sql_add_name(out, str_get(&lower));
}

static void add_token(const struct sql_token *t, size_t i, size_t n, const struct sql_scope *scope,
                      struct str *out)
{
    if (t[i].kind != SQL_WORD && t[i].kind != SQL_QUOTED) {
        if (t[i].kind == SQL_NUMBER || t[i].kind == SQL_BLOB)
            add_lower(out, t[i].text, t[i].n);
        else
            str_addn(out, t[i].text, t[i].n);
        return;
    }
    if (sql_is_reserved(&t[i])) {
        add_lower(out, t[i].text, t[i].n);
        return;
    }
    _cleanup_free_ char *name = sql_name(&t[i]);
    bool row = is_dot(t, i + 1, n) &&
               (sqlite3_stricmp(name, "new") == 0 || sqlite3_stricmp(name, "old") == 0);
    bool folds = row || is_called(t, i, n) || (i > 0 && sql_is(&t[i - 1], "collate"));
    if (folds)
        for (char *c = name; *c; c++)
            *c = (char)(*c >= 'A' && *c <= 'Z' ? *c + 32 : *c);
    if (scope && !folds)
        add_resolved(t, i, n, scope, name, out);
    else if (t[i].kind == SQL_WORD &&
             (is_special(name, t[i].n) || sqlite3_keyword_check(name, (int)t[i].n)))
        add_lower(out, name, t[i].n);
    else
        sql_add_name(out, name);
}

void sql_render(const struct sql_token *t, size_t n, const struct sql_scope *scope, struct str *out)
{
    for (size_t i = 0; i < n; i++) {
        if (has_space_before(t, i, n))
            str_addc(out, ' ');
        add_token(t, i, n, scope, out);
    }
}

void sql_render_raw(const struct sql_token *t, size_t n, struct str *out)
{
    for (size_t i = 0; i < n; i++) {
        if (has_space_before(t, i, n))
            str_addc(out, ' ');
        str_addn(out, t[i].text, t[i].n);
    }
}
