/*
 * From a file's text to what the format's own tool would send. Every rule here is the tool's, down
 * to the odd ones (goose looks for semicolons at line ends), because a file that its tool cannot
 * read must not pass with belay.
 */
#include "harness/source/sql_format.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "harness/base/nearest.h"
#include "harness/engine/pgsplit.h"

/* ---- lines ---- */

struct line {
    const char *p;
    size_t len;       /* without the line end, CR LF included */
    const char *next; /* the line after it, NULL for the last one */
    int number;
};

static bool line_next(struct line *l, const char *text)
{
    const char *p = l->number ? l->next : text;
    if (!p || !*p)
        return false;
    const char *end = strchr(p, '\n');
    l->p = p;
    l->len = end ? (size_t)(end - p) : strlen(p);
    l->next = end ? end + 1 : NULL;
    l->number++;
    if (l->len && p[l->len - 1] == '\r')
        l->len--;
    return true;
}

static bool is_blank(const char *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!isspace((unsigned char)p[i]))
            return false;
    return true;
}

static size_t skip_space(const char *p, size_t n)
{
    size_t i = 0;
    while (i < n && isspace((unsigned char)p[i]))
        i++;
    return i;
}

/* The text of a "--" comment that begins the line, white space trimmed; false when it is none. */
static bool comment_text(const char *p, size_t n, const char **ret, size_t *ret_len)
{
    if (n < 2 || p[0] != '-' || p[1] != '-')
        return false;
    size_t at = 2 + skip_space(p + 2, n - 2);
    while (n > at && isspace((unsigned char)p[n - 1]))
        n--;
    *ret = p + at;
    *ret_len = n - at;
    return true;
}

bool any_line(const char *text, bool (*is_marker)(const char *line, size_t len))
{
    struct line l = {0};
    while (line_next(&l, text))
        if (is_marker(l.p, l.len))
            return true;
    return false;
}

/* ---- sections ---- */

void section_release(struct section *s)
{
    for (size_t i = 0; i < s->n; i++)
        free(s->chunks[i].sql);
    free(s->chunks);
    free(s->file);
    memset(s, 0, sizeof(*s));
}

/* Length of white space, comments and empty statements. */
static size_t skip_nothing(const char *sql)
{
    size_t at = 0;
    for (;;) {
        at += sql_skip_blank(sql + at);
        if (sql[at] != ';')
            return at;
        at++;
    }
}

static void section_begin(struct section *s, const char *path, int line)
{
    s->present = s->empty = true;
    s->file = xstrdup(path);
    s->line = line;
}

static void section_add(struct section *s, const char *sql, size_t len, int line)
{
    s->chunks = xgrow(s->chunks, s->n, &s->cap, sizeof(*s->chunks));
    struct chunk *c = &s->chunks[s->n++];
    *c = (struct chunk){xstrndup(sql, len), line};
    size_t blank = skip_nothing(c->sql);
    if (!s->empty || !c->sql[blank])
        return;
    s->empty = false;
    s->line = line;
    for (size_t i = 0; i < blank; i++)
        s->line += c->sql[i] == '\n';
}

void section_whole(struct section *s, const char *path, const char *text)
{
    section_begin(s, path, 1);
    section_add(s, text, strlen(text), 1);
}

static int refuse(const char *path, int line, const char *hint, struct err *err, const char *fmt,
                  ...) __attribute__((format(printf, 5, 6)));

/* "FILE: <text>", with the place. */
static int refuse(const char *path, int line, const char *hint, struct err *err, const char *fmt,
                  ...)
{
    va_list ap;
    va_start(ap, fmt);
    _cleanup_free_ char *text = xvasprintf(fmt, ap);
    va_end(ap);
    err_set(err, ERR_SOURCE, "%s: %s", path, text);
    err_hint(err, "%s", hint);
    return err_at(err, path, line, 0);
}

/* ---- markers with options: dbmate and belay ---- */

/* "transaction:false foo:bar": the options of a marker. False when it is not made of options. */
static bool marker_options(const char *p, size_t n, bool *ret_no_transaction)
{
    bool no_transaction = false;
    for (size_t at = skip_space(p, n); at < n; at += skip_space(p + at, n - at)) {
        size_t end = at;
        while (end < n && !isspace((unsigned char)p[end]))
            end++;
        if (!memchr(p + at, ':', end - at))
            return false;
        if (end - at == strlen("transaction:false") &&
            memcmp(p + at, "transaction:false", end - at) == 0)
            no_transaction = true;
        at = end;
    }
    *ret_no_transaction = no_transaction;
    return true;
}

/* The comment is word, alone or followed by white space and more. */
static bool comment_is(const char *comment, size_t n, const char *word)
{
    size_t len = strlen(word);
    return n >= len && memcmp(comment, word, len) == 0 &&
           (n == len || isspace((unsigned char)comment[len]));
}

enum marker {
    MARKER_NONE,
    MARKER_UP,
    MARKER_DOWN,
};

static enum marker dbmate_marker(const char *line, size_t len, bool *no_transaction)
{
    const char *c;
    size_t n;
    if (!comment_text(line, len, &c, &n))
        return MARKER_NONE;
    enum marker m = comment_is(c, n, "migrate:up")     ? MARKER_UP
                    : comment_is(c, n, "migrate:down") ? MARKER_DOWN
                                                       : MARKER_NONE;
    /* dbmate ignores what is no option */
    size_t word = m == MARKER_UP ? strlen("migrate:up") : strlen("migrate:down");
    if (m && !marker_options(c + word, n - word, no_transaction))
        *no_transaction = false;
    return m;
}

bool is_dbmate_marker(const char *line, size_t len)
{
    bool ignored;
    return dbmate_marker(line, len, &ignored) != MARKER_NONE;
}

static enum marker belay_marker(const char *line, size_t len, bool *no_transaction)
{
    const char *c;
    size_t n;
    if (!comment_text(line, len, &c, &n))
        return MARKER_NONE;
    enum marker m = comment_is(c, n, "upgrade")     ? MARKER_UP
                    : comment_is(c, n, "downgrade") ? MARKER_DOWN
                                                    : MARKER_NONE;
    /* "-- upgrade the users" is a comment like any other */
    size_t word = m == MARKER_UP ? strlen("upgrade") : strlen("downgrade");
    return m && marker_options(c + word, n - word, no_transaction) ? m : MARKER_NONE;
}

struct dialect {
    const char *up, *down; /* as written, for messages */
    const char *twice;     /* the way out when one stands there a second time */
    enum marker (*marker)(const char *line, size_t len, bool *no_transaction);
};

/* Cuts text at one up marker and at most one down marker, in this order. */
static int cut_at_markers(struct script *s, const struct dialect *d, const char *path,
                          const char *text, struct err *err)
{
    struct line l = {0};
    struct section *open = NULL;
    const char *start = NULL;
    int start_line = 0;
    while (line_next(&l, text)) {
        bool no_transaction = false;
        enum marker m = d->marker(l.p, l.len, &no_transaction);
        if (!m && !open) {
            size_t at = skip_space(l.p, l.len);
            if (at < l.len && !(at + 1 < l.len && l.p[at] == '-' && l.p[at + 1] == '-'))
                return refuse(path, l.number, "move it below the marker", err,
                              "a statement stands before \"%s\"", d->up);
        }
        if (!m)
            continue;
        if (open)
            section_add(open, start, (size_t)(l.p - start), start_line);
        struct section *next = m == MARKER_UP ? &s->up : &s->down;
        if (next->present)
            return refuse(path, l.number, d->twice, err, "\"%s\" stands here a second time",
                          m == MARKER_UP ? d->up : d->down);
        if (m == MARKER_DOWN && !s->up.present)
            return refuse(path, l.number, "the upgrade comes first", err,
                          "\"%s\" stands before \"%s\"", d->down, d->up);
        open = next;
        section_begin(open, path, l.number);
        open->no_transaction = no_transaction;
        start = l.next ? l.next : "";
        start_line = l.number + 1;
    }
    if (!open) {
        _cleanup_free_ char *hint = xasprintf(
            "begin the upgrade with a line \"%s\" and the downgrade with \"%s\"", d->up, d->down);
        return refuse(path, 1, hint, err, "there is no \"%s\" in the file", d->up);
    }
    section_add(open, start, strlen(start), start_line);
    return 0;
}

int parse_dbmate(struct script *s, const char *path, const char *text, struct err *err)
{
    static const struct dialect dialect = {
        "-- migrate:up",
        "-- migrate:down",
        "versions of dbmate differ over files with several sections: move the second one to a file "
        "of "
        "its own",
        dbmate_marker,
    };
    return cut_at_markers(s, &dialect, path, text, err);
}

/* ---- belay's own header ---- */

/* "-- key: value" with a key of one word. */
static bool header_line(const char *line, size_t len, const char **key, size_t *nkey,
                        const char **value, size_t *nvalue)
{
    const char *c;
    size_t n;
    if (!comment_text(line, len, &c, &n))
        return false;
    size_t word = 0;
    while (word < n && (isalpha((unsigned char)c[word]) || c[word] == '-' || c[word] == '_'))
        word++;
    if (word == 0 || word == n || c[word] != ':')
        return false;
    *key = c;
    *nkey = word;
    size_t at = word + 1;
    at += skip_space(c + at, n - at);
    *value = c + at;
    *nvalue = n - at;
    return true;
}

static bool key_is(const char *key, size_t n, const char *name)
{
    return strlen(name) == n && strncasecmp(key, name, n) == 0;
}

bool is_belay_marker(const char *line, size_t len)
{
    const char *key, *value;
    size_t nkey, nvalue;
    return header_line(line, len, &key, &nkey, &value, &nvalue) && key_is(key, nkey, "revision");
}

char *belay_revision_id(const char *text)
{
    struct line l = {0};
    const char *key, *value;
    size_t nkey, nvalue;
    while (line_next(&l, text))
        if (header_line(l.p, l.len, &key, &nkey, &value, &nvalue) && key_is(key, nkey, "revision"))
            return xstrndup(value, nvalue);
    return NULL;
}

static void add_names(struct strv *list, const char *p, size_t n)
{
    for (size_t at = 0; at < n;) {
        size_t end = at;
        while (end < n && p[end] != ',' && !isspace((unsigned char)p[end]))
            end++;
        if (end > at)
            strv_add_take(list, xstrndup(p + at, end - at));
        at = end + 1;
    }
}

static int check_id(const char *id, const char *path, int line, struct err *err)
{
    const char *hint = "use letters, digits, \".\", \"_\" and \"-\"";
    static const char *const words[] = {"head", "heads", "base", NULL};
    if (!*id)
        return refuse(path, line, hint, err, "the revision has no id");
    for (size_t i = 0; words[i]; i++)
        if (strcmp(id, words[i]) == 0)
            return refuse(path, line, hint, err, "\"%s\" cannot be an id: it names a target", id);
    size_t n = strcspn(id, " \t,@\\+");
    if (id[n])
        return refuse(path, line, hint, err, "the id \"%s\" holds \"%c\"", id, id[n]);
    return 0;
}

static int read_header_line(struct script *s, const struct line *l, const char *path,
                            bool *no_transaction, bool *seen_id, struct err *err)
{
    static const char *const keys[] = {
        "revision", "revises", "depends-on", "branch", "title", "transaction", NULL,
    };
    struct revision *r = s->revision;
    const char *key, *value, *comment;
    size_t nkey, nvalue, ncomment;
    if (!header_line(l->p, l->len, &key, &nkey, &value, &nvalue)) {
        /* the first other comment says what the revision is about */
        if (!*r->title && comment_text(l->p, l->len, &comment, &ncomment) && ncomment) {
            free(r->title);
            r->title = xstrndup(comment, ncomment);
        }
        return 0;
    }
    if (key_is(key, nkey, "revision")) {
        if (*seen_id)
            return refuse(path, l->number, "one revision a file", err,
                          "\"-- revision:\" stands here a second time");
        *seen_id = true;
        return check_id(r->id, path, l->number, err);
    }
    if (key_is(key, nkey, "revises")) {
        add_names(&r->parents, value, nvalue);
    } else if (key_is(key, nkey, "depends-on")) {
        add_names(&r->depends_on, value, nvalue);
    } else if (key_is(key, nkey, "branch")) {
        add_names(&r->labels, value, nvalue);
    } else if (key_is(key, nkey, "title")) {
        free(r->title);
        r->title = xstrndup(value, nvalue);
    } else if (key_is(key, nkey, "transaction")) {
        if (!key_is(value, nvalue, "false") && !key_is(value, nvalue, "true"))
            return refuse(path, l->number, "write true or false", err,
                          "\"transaction\" is neither true nor false");
        *no_transaction = key_is(value, nvalue, "false");
    } else {
        _cleanup_free_ char *name = xstrndup(key, nkey);
        const char *meant = nearest(name, keys);
        /* any other comment may have a colon; a misspelt "revises" would make a second base */
        if (meant) {
            _cleanup_free_ char *hint = xasprintf("did you mean \"%s\"?", meant);
            return refuse(path, l->number, hint, err, "the header has no key \"%s\"", name);
        }
    }
    return 0;
}

int parse_belay(struct script *s, const char *path, const char *text, struct err *err)
{
    static const struct dialect dialect = {
        "-- upgrade",
        "-- downgrade",
        "one revision a file: move the second one to a file of its own",
        belay_marker,
    };
    struct line l = {0};
    bool no_transaction = false, seen_id = false, ignored;
    while (line_next(&l, text) && !belay_marker(l.p, l.len, &ignored))
        if (read_header_line(s, &l, path, &no_transaction, &seen_id, err) < 0)
            return -1;
    if (!seen_id)
        return refuse(path, 1, "begin the file with \"-- revision: ID\"", err,
                      "\"-- revision:\" does not stand before \"-- upgrade\"");
    if (cut_at_markers(s, &dialect, path, text, err) < 0)
        return -1;
    s->up.no_transaction |= no_transaction;
    s->down.no_transaction |= no_transaction;
    return 0;
}

/* ---- goose ---- */

enum goose_word {
    GOOSE_UP,
    GOOSE_DOWN,
    GOOSE_BEGIN,
    GOOSE_END,
    GOOSE_NO_TRANSACTION,
    GOOSE_ENVSUB_ON,
    GOOSE_ENVSUB_OFF,
    GOOSE_UNKNOWN,
};

struct goose {
    struct script *script;
    const char *path;
    struct section *open; /* up or down; NULL before the first annotation */
    bool block;           /* between StatementBegin and StatementEnd */
    int block_line;
    bool envsub;
    struct str statement; /* what was read of the next one */
    int statement_line;
};

bool is_goose_marker(const char *line, size_t len)
{
    size_t at = skip_space(line, len);
    return len - at >= 2 && line[at] == '-' && line[at + 1] == '-' &&
           memmem(line, len, "+goose", strlen("+goose"));
}

/* "-- +goose Up": what stands there without dashes and "+goose". */
static enum goose_word goose_word(const char *line, size_t len)
{
    static const char *const words[] = {
        [GOOSE_UP] = "Up",
        [GOOSE_DOWN] = "Down",
        [GOOSE_BEGIN] = "StatementBegin",
        [GOOSE_END] = "StatementEnd",
        [GOOSE_NO_TRANSACTION] = "NO TRANSACTION",
        [GOOSE_ENVSUB_ON] = "ENVSUB ON",
        [GOOSE_ENVSUB_OFF] = "ENVSUB OFF",
    };
    const char *name = memmem(line, len, "+goose", strlen("+goose"));
    const char *end = line + len;
    const char *p = name + strlen("+goose");
    p += skip_space(p, (size_t)(end - p));
    while (end > p && isspace((unsigned char)end[-1]))
        end--;
    for (size_t i = 0; i < GOOSE_UNKNOWN; i++)
        if (key_is(p, (size_t)(end - p), words[i]))
            return (enum goose_word)i;
    return GOOSE_UNKNOWN;
}

static bool ends_statement(const char *p, size_t n)
{
    bool semicolon = false;
    for (size_t at = skip_space(p, n); at < n; at += skip_space(p + at, n - at)) {
        size_t end = at;
        while (end < n && !isspace((unsigned char)p[end]))
            end++;
        if (end - at >= 2 && p[at] == '-' && p[at + 1] == '-')
            break;
        semicolon = p[end - 1] == ';';
        at = end;
    }
    return semicolon;
}

/* $VAR, ${VAR}, ${VAR-default}, ${VAR:-default}, ${VAR?message}; $$ stands for one $. */
static int substitute(const char *p, size_t n, struct str *out, struct err *err)
{
    for (size_t i = 0; i < n; i++) {
        if (p[i] != '$') {
            str_addc(out, p[i]);
            continue;
        }
        if (i + 1 < n && p[i + 1] == '$') {
            str_addc(out, '$');
            i++;
            continue;
        }
        bool brace = i + 1 < n && p[i + 1] == '{';
        size_t start = i + 1 + brace, end = start;
        while (end < n && (isalnum((unsigned char)p[end]) || p[end] == '_'))
            end++;
        size_t close = end;
        while (brace && close < n && p[close] != '}')
            close++;
        if (end == start || isdigit((unsigned char)p[start]) || (brace && close == n))
            return err_set(err, ERR_SOURCE, "\"$\" does not begin the name of a variable");
        _cleanup_free_ char *name = xstrndup(p + start, end - start);
        const char *value = getenv(name);
        const char *rule = p + end;
        size_t nrule = close - end;
        if (nrule && rule[0] == '-') {
            if (!value)
                str_addn(out, rule + 1, nrule - 1);
        } else if (nrule > 1 && rule[0] == ':' && rule[1] == '-') {
            if (!value || !*value) {
                str_addn(out, rule + 2, nrule - 2);
                value = NULL;
            }
        } else if (nrule && rule[0] == '?') {
            if (!value)
                return err_set(err, ERR_SOURCE, "the variable %s is not set: %.*s", name,
                               (int)nrule - 1, rule + 1);
        } else if (nrule) {
            return err_set(err, ERR_SOURCE, "the expansion \"%.*s\" is not supported",
                           (int)(close + 1 - i), p + i);
        }
        str_add(out, value ? value : "");
        i = brace ? close : end - 1;
    }
    return 0;
}

static void goose_emit(struct goose *g)
{
    section_add(g->open, str_get(&g->statement), g->statement.len, g->statement_line);
    str_clear(&g->statement);
}

static int goose_unfinished(const struct goose *g, struct err *err)
{
    if (is_blank(str_get(&g->statement), g->statement.len))
        return 0;
    return refuse(g->path, g->statement_line,
                  "end it with a semicolon at the end of a line, or put it between \"-- +goose "
                  "StatementBegin\" and \"-- +goose StatementEnd\"",
                  err, "goose finds no end of the statement that begins here");
}

static int goose_annotation(struct goose *g, const struct line *l, struct err *err)
{
    static const char *const order = "a file has \"-- +goose Up\" first, then \"-- +goose Down\"";
    if (isspace((unsigned char)l->p[0]))
        return refuse(g->path, l->number, "remove the white space", err,
                      "goose refuses white space before \"-- +goose\"");
    switch (goose_word(l->p, l->len)) {
    case GOOSE_UP:
        if (g->open)
            return refuse(g->path, l->number, order, err,
                          "\"-- +goose Up\" stands here a second time");
        g->open = &g->script->up;
        section_begin(g->open, g->path, l->number);
        return 0;
    case GOOSE_DOWN:
        if (g->open != &g->script->up || g->block)
            return refuse(g->path, l->number, order, err, "\"-- +goose Down\" cannot stand here");
        if (goose_unfinished(g, err) < 0)
            return -1;
        str_clear(&g->statement);
        g->open = &g->script->down;
        section_begin(g->open, g->path, l->number);
        return 0;
    case GOOSE_BEGIN:
        if (!g->open || g->block)
            return refuse(
                g->path, l->number,
                "it stands below \"-- +goose Up\" or \"-- +goose Down\", once a statement", err,
                "\"-- +goose StatementBegin\" cannot stand here");
        g->block = true;
        g->block_line = l->number;
        return 0;
    case GOOSE_END:
        if (!g->block)
            return refuse(g->path, l->number,
                          "write \"-- +goose StatementBegin\" before the statement", err,
                          "\"-- +goose StatementEnd\" ends nothing");
        g->block = false;
        if (g->statement.len)
            goose_emit(g);
        return 0;
    case GOOSE_NO_TRANSACTION:
        g->script->up.no_transaction = g->script->down.no_transaction = true;
        return 0;
    case GOOSE_ENVSUB_ON:
        g->envsub = true;
        return 0;
    case GOOSE_ENVSUB_OFF:
        g->envsub = false;
        return 0;
    case GOOSE_UNKNOWN:
        break;
    }
    return refuse(
        g->path, l->number,
        "goose knows Up, Down, StatementBegin, StatementEnd, NO TRANSACTION, ENVSUB ON and "
        "ENVSUB OFF",
        err, "goose does not know \"%.*s\"", (int)l->len, l->p);
}

static int goose_line(struct goose *g, const struct line *l, struct err *err)
{
    size_t at = skip_space(l->p, l->len);
    bool comment = l->len - at >= 2 && l->p[at] == '-' && l->p[at + 1] == '-';
    /* comments before a statement are dropped, those in it are sent */
    if (g->statement.len == 0 && (comment || l->len == 0))
        return 0;
    if (!g->open)
        return at == l->len ? 0
                            : refuse(g->path, l->number, "move it below \"-- +goose Up\"", err,
                                     "a statement stands before \"-- +goose Up\"");
    if (g->statement.len == 0)
        g->statement_line = l->number;
    if (g->envsub) {
        if (substitute(l->p, l->len, &g->statement, err) < 0) {
            err_prefix(err, "%s", g->path);
            err_hint(err, "set it, or turn substitution off here with \"-- +goose ENVSUB OFF\"");
            return err_at(err, g->path, l->number, 0);
        }
    } else {
        str_addn(&g->statement, l->p, l->len);
    }
    str_addc(&g->statement, '\n');
    if (!g->block && ends_statement(l->p, l->len))
        goose_emit(g);
    return 0;
}

static int goose_lines(struct goose *g, const char *text, struct err *err)
{
    struct line l = {0};
    while (line_next(&l, text))
        if ((is_goose_marker(l.p, l.len) ? goose_annotation(g, &l, err) : goose_line(g, &l, err)) <
            0)
            return -1;
    if (!g->open)
        return refuse(g->path, 1, "begin the upgrade with a line \"-- +goose Up\"", err,
                      "there is no \"-- +goose Up\" in the file");
    if (g->block)
        return refuse(g->path, g->block_line, "write it after the statement", err,
                      "\"-- +goose StatementBegin\" has no \"-- +goose StatementEnd\"");
    return goose_unfinished(g, err);
}

int parse_goose(struct script *s, const char *path, const char *text, struct err *err)
{
    struct goose g = {.script = s, .path = path};
    int r = goose_lines(&g, text, err);
    str_release(&g.statement);
    return r;
}
