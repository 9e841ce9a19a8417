#include "harness/engine/url.h"

#include <fcntl.h>
#include <libpq-fe.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "harness/base/str.h"
#include "harness/engine/engine.h"

/* True when url is "<scheme>:..." or "<scheme>+<driver>:..."; *ret_rest is what follows the colon.
 */
static bool has_scheme(const char *url, const char *scheme, const char **ret_rest)
{
    size_t n = strlen(scheme);
    if (strncasecmp(url, scheme, n) != 0)
        return false;
    const char *p = url + n;
    if (*p == '+')
        p += 1 + strspn(p + 1, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.");
    if (*p != ':')
        return false;
    *ret_rest = p + 1;
    return true;
}

/* What follows "postgresql:" when it begins with "//". */
static const char *postgres_rest(const char *url)
{
    const char *rest = NULL;
    if ((has_scheme(url, "postgresql", &rest) || has_scheme(url, "postgres", &rest)) &&
        str_starts(rest, "//"))
        return rest + 2;
    return NULL;
}

bool url_is_postgres(const char *url)
{
    if (postgres_rest(url))
        return true;
    if (!strchr(url, '=') || strstr(url, "://"))
        return false;
    PQconninfoOption *options = PQconninfoParse(url, NULL);
    bool parsed = options != NULL;
    PQconninfoFree(options);
    return parsed;
}

static bool is_sqlite_file(const char *path)
{
    struct stat st;
    if (stat(path, &st) < 0 || !S_ISREG(st.st_mode))
        return false;
    if (st.st_size == 0)
        return true;
    _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
    char head[16];
    return fd >= 0 && read(fd, head, sizeof(head)) == sizeof(head) &&
           memcmp(head, "SQLite format 3", sizeof(head)) == 0;
}

bool url_is_sqlite(const char *url)
{
    const char *rest;
    return has_scheme(url, "sqlite", &rest) || has_scheme(url, "sqlite3", &rest) ||
           str_starts(url, "file:") || (!url_is_postgres(url) && is_sqlite_file(url));
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* %XX becomes a byte; a percent sign that starts no such thing stays (SQLAlchemy does not decode
 * SQLite paths, so a path may hold one). */
static char *percent_decode(const char *s, size_t n)
{
    struct str out = {0};
    for (size_t i = 0; i < n; i++) {
        int high = s[i] == '%' && i + 2 < n ? hex_value(s[i + 1]) : -1;
        int low = high >= 0 ? hex_value(s[i + 2]) : -1;
        if (low >= 0 && (high || low)) {
            str_addc(&out, (char)(high * 16 + low));
            i += 2;
        } else {
            str_addc(&out, s[i]);
        }
    }
    return str_take(&out);
}

static void percent_encode(struct str *out, const char *s, const char *plain)
{
    for (; *s; s++) {
        unsigned char c = (unsigned char)*s;
        bool safe = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                    strchr("-._~", c) || strchr(plain, c);
        if (safe)
            str_addc(out, *s);
        else
            str_addf(out, "%%%02X", c);
    }
}

int url_sqlite_path(const char *url, char **ret, struct err *err)
{
    const char *rest;
    bool three = has_scheme(url, "sqlite3", &rest);
    if (!three && !has_scheme(url, "sqlite", &rest)) {
        *ret = xstrdup(url); /* a bare path, or SQLite's own file: URI */
        return 0;
    }
    if (str_starts(rest, "//")) {
        rest += 2;
        /* SQLAlchemy and dbmate: an empty authority, then a slash that is not part of the path.
         * golang-migrate's sqlite3:// has no authority at all. */
        if (*rest == '/' && (!three || rest[1] == '/'))
            rest++;
        else if (!three && *rest && *rest != '?') {
            _cleanup_free_ char *shown = url_redact(url);
            err_set(err, ERR_USAGE, "the SQLite URL \"%s\" has a host", shown);
            return err_hint(
                err, "write sqlite:///relative.db (three slashes) or sqlite:////absolute.db");
        }
    }
    _cleanup_free_ char *path = percent_decode(rest, strcspn(rest, "?#"));
    if (path[0] == '\0' || strcmp(path, ":memory:") == 0) {
        err_set(err, ERR_USAGE, "an in-memory SQLite database cannot be shared between sessions");
        return err_hint(err, "give a file: sqlite:///relative.db or sqlite:////absolute.db");
    }
    *ret = TAKE_PTR(path);
    return 0;
}

char *url_for_sqlite_path(const char *path)
{
    struct str url = {0};
    str_add(&url, "sqlite:///");
    percent_encode(&url, path, "/ :@!$&'()*+,;=");
    return str_take(&url);
}

/* ---- PostgreSQL ---- */

void conninfo_release(struct conninfo *c)
{
    for (int i = 0; i < c->n; i++) {
        free(c->keywords[i]);
        free(c->values[i]);
    }
    free(c->keywords);
    free(c->values);
    memset(c, 0, sizeof(*c));
}

static int conninfo_index(const struct conninfo *c, const char *keyword)
{
    for (int i = 0; i < c->n; i++)
        if (strcmp(c->keywords[i], keyword) == 0)
            return i;
    return -1;
}

const char *conninfo_get(const struct conninfo *c, const char *keyword)
{
    int i = conninfo_index(c, keyword);
    return i < 0 ? NULL : c->values[i];
}

void conninfo_set(struct conninfo *c, const char *keyword, const char *value)
{
    int i = conninfo_index(c, keyword);
    char *copy = xstrdup(value);
    if (i >= 0) {
        free(c->values[i]);
        c->values[i] = copy;
    }
    if (i >= 0 && !copy) {
        free(c->keywords[i]);
        for (; i < c->n; i++) { /* the NULL at the end comes along */
            c->keywords[i] = c->keywords[i + 1];
            c->values[i] = c->values[i + 1];
        }
        c->n--;
    }
    if (i >= 0 || !copy)
        return;
    size_t n = (size_t)c->n + 2;
    c->keywords = xrealloc(c->keywords, n, sizeof(*c->keywords));
    c->values = xrealloc(c->values, n, sizeof(*c->values));
    c->keywords[c->n] = xstrdup(keyword);
    c->values[c->n] = copy;
    c->n++;
    c->keywords[c->n] = c->values[c->n] = NULL;
}

void conninfo_add_setting(struct conninfo *c, const char *name, const char *value)
{
    const char *old = conninfo_get(c, "options");
    if (!old)
        old = getenv("PGOPTIONS"); /* which libpq ignores once there are options of ours */
    _cleanup_str_ struct str options = {0};
    if (old && *old)
        str_addf(&options, "%s ", old);
    str_addf(&options, "-c %s=", name);
    for (; *value; value++) {
        if (strchr(" \t\n\\", *value))
            str_addc(&options, '\\');
        str_addc(&options, *value);
    }
    conninfo_set(c, "options", str_get(&options));
}

/* Parameters that drivers and migration tools read themselves. golang-migrate's begin with "x-". */
static const char *const driver_parameters[] = {
    "async_creator_fn",
    "async_fallback",
    "binary_parameters",
    "command_timeout",
    "executemany_mode",
    "plugin",
    "pool_size",
    "prepare_threshold",
    "prepared_statement_cache_size",
    "prepared_statement_name_func",
    "prepared_statements",
    "server_version",
    "serverVersion",
    "statement_cache_mode",
    "statement_cache_size",
    "charset",
    "socket",
};

static bool is_driver_parameter(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(driver_parameters); i++)
        if (strcmp(driver_parameters[i], name) == 0)
            return true;
    return str_starts(name, "x-");
}

/* One "name=value" of the query: what libpq reads stays; the rest is converted, dropped, or left
 * for libpq to refuse by name. */
static void convert_parameter(const char *p, size_t n, struct str *query, char **search_path)
{
    size_t name_len = strcspn(p, "=");
    if (name_len > n)
        name_len = n;
    _cleanup_free_ char *name = percent_decode(p, name_len);
    _cleanup_free_ char *value =
        name_len < n ? percent_decode(p + name_len + 1, n - name_len - 1) : xstrdup("");
    if (strcmp(name, "search_path") == 0) {
        free(*search_path);
        *search_path = TAKE_PTR(value);
        return;
    }
    if (strcmp(name, "socket") == 0 && value[0] == '/') { /* dbmate */
        str_add(query, query->len ? "&host=" : "host=");
        percent_encode(query, value, "");
        return;
    }
    if (is_driver_parameter(name))
        return;
    if (strcmp(name, "timeout") == 0) { /* asyncpg */
        str_addf(query, "%sconnect_timeout=%s", query->len ? "&" : "", value);
        return;
    }
    if (strcmp(name, "ssl") == 0) { /* asyncpg */
        const char *mode = strcmp(value, "true") == 0 || strcmp(value, "True") == 0     ? "require"
                           : strcmp(value, "false") == 0 || strcmp(value, "False") == 0 ? "disable"
                                                                                        : value;
        str_addf(query, "%ssslmode=%s", query->len ? "&" : "", mode);
        return;
    }
    if (query->len)
        str_addc(query, '&');
    str_addn(query, p, n);
}

/* The text of libpq's complaint may quote a piece of a password that was not percent-encoded. */
static int unreadable(const char *url, const char *why, struct err *err)
{
    _cleanup_free_ char *shown = url_redact(url);
    bool quiet = !why || strchr(url, '@') || strcasestr(url, "password");
    err_set(err, ERR_USAGE, "cannot read the database URL %s%s%.*s", shown, quiet ? "" : ": ",
            quiet ? 0 : (int)strcspn(why, "\n"), quiet ? "" : why);
    return err_hint(err,
                    "write postgresql://user@host:port/name; percent-encode special characters in "
                    "user name, password and database name (@ is %%40, / is %%2F)");
}

int conninfo_parse(const char *url, struct conninfo *ret, struct err *err)
{
    const char *rest = postgres_rest(url);
    _cleanup_str_ struct str normal = {0}, query = {0};
    _cleanup_free_ char *search_path = NULL;
    if (rest) {
        size_t authority = strcspn(rest, "/?#");
        size_t path = strcspn(rest, "?");
        const char *first_at = memchr(rest, '@', path);
        const char *last_at = memrchr(rest, '@', path);
        if (first_at != last_at || (first_at && first_at >= rest + authority))
            return unreadable(url, NULL, err);
        const char *p = rest + path;
        while (*p) {
            p++;
            size_t n = strcspn(p, "&");
            if (n)
                convert_parameter(p, n, &query, &search_path);
            p += n;
        }
        str_add(&normal, "postgresql://");
        str_addn(&normal, rest, path);
        if (query.len)
            str_addf(&normal, "?%s", str_get(&query));
    } else {
        str_add(&normal, url);
    }
    char *why = NULL;
    PQconninfoOption *parsed = PQconninfoParse(str_get(&normal), &why);
    if (!parsed) {
        unreadable(url, why, err);
        PQfreemem(why);
        return -1;
    }
    struct conninfo c = {0};
    for (PQconninfoOption *o = parsed; o->keyword; o++)
        if (o->val && o->val[0])
            conninfo_set(&c, o->keyword, o->val);
    PQconninfoFree(parsed);
    if (search_path)
        conninfo_add_setting(&c, "search_path", search_path);
    const char *port = conninfo_get(&c, "port");
    if (port && port[strspn(port, "0123456789,")]) {
        conninfo_release(&c);
        return unreadable(url, NULL, err);
    }
    *ret = c;
    return 0;
}

char *conninfo_url(const struct conninfo *c)
{
    struct str url = {0};
    str_add(&url, "postgresql://");
    const char *user = conninfo_get(c, "user"), *password = conninfo_get(c, "password");
    const char *host = conninfo_get(c, "host"), *port = conninfo_get(c, "port");
    const char *name = conninfo_get(c, "dbname");
    if (user) {
        percent_encode(&url, user, "");
        if (password) {
            str_addc(&url, ':');
            percent_encode(&url, password, "");
        }
        str_addc(&url, '@');
    }
    /* a socket folder, or several hosts, must go into the query */
    bool plain_host = host && !strpbrk(host, "/,@%");
    if (plain_host) {
        bool v6 = strchr(host, ':');
        str_addf(&url, v6 ? "[%s]" : "%s", host);
        if (port)
            str_addf(&url, ":%s", port);
    }
    str_addc(&url, '/');
    if (name)
        percent_encode(&url, name, "");
    char separator = '?';
    for (int i = 0; i < c->n; i++) {
        const char *k = c->keywords[i];
        bool done = strcmp(k, "dbname") == 0 || strcmp(k, "user") == 0 ||
                    (strcmp(k, "password") == 0 && user) ||
                    (plain_host && (strcmp(k, "host") == 0 || strcmp(k, "port") == 0));
        if (done)
            continue;
        str_addf(&url, "%c%s=", separator, k);
        percent_encode(&url, c->values[i], "/,");
        separator = '&';
    }
    return str_take(&url);
}

/* ---- display ---- */

static char *redact_keywords(const char *text)
{
    PQconninfoOption *options = PQconninfoParse(text, NULL);
    if (!options)
        return xstrdup("<unreadable url>");
    struct str out = {0};
    for (PQconninfoOption *o = options; o->keyword; o++) {
        if (!o->val || !o->val[0])
            continue;
        bool secret = o->dispchar && o->dispchar[0] == '*';
        bool quoted = o->val[strcspn(o->val, " '\\")] != '\0';
        str_addf(&out, "%s%s=", out.len ? " " : "", o->keyword);
        if (secret)
            str_add(&out, "***");
        else if (!quoted)
            str_add(&out, o->val);
        else {
            str_addc(&out, '\'');
            for (const char *v = o->val; *v; v++) {
                if (*v == '\'' || *v == '\\')
                    str_addc(&out, '\\');
                str_addc(&out, *v);
            }
            str_addc(&out, '\'');
        }
    }
    PQconninfoFree(options);
    return str_take(&out);
}

static bool is_secret(const char *name, size_t n)
{
    static const char *const secrets[] = {"password", "sslpassword", "passphrase",
                                          "pwd",      "pass",        "key"};
    for (size_t i = 0; i < ARRAY_LEN(secrets); i++)
        if (strlen(secrets[i]) == n && strncasecmp(secrets[i], name, n) == 0)
            return true;
    return memchr(name, '%', n) != NULL; /* an encoded name may spell any of them */
}

char *url_redact(const char *url)
{
    const char *rest = strstr(url, "://"), *scheme_rest;
    bool file = str_starts(url, "file:") || has_scheme(url, "sqlite", &scheme_rest);
    bool path_only = file && !rest;
    if (!rest && !file) {
        bool is_path = !strchr(url, '=') && !strchr(url, '@');
        return is_path || url_is_sqlite(url) ? xstrdup(url) : redact_keywords(url);
    }
    rest = rest ? rest + 3 : url;
    struct str out = {0};
    str_addn(&out, url, (size_t)(rest - url));
    /* A password may hold any character when its owner did not encode it, so everything between the
     * first colon and the very last @ counts as password. An SQLite path has no authority, and may
     * hold both. */
    path_only = path_only || (file && *rest == '/');
    const char *at = path_only ? NULL : strrchr(rest, '@');
    const char *colon = at ? memchr(rest, ':', (size_t)(at - rest)) : NULL;
    if (colon) {
        str_addn(&out, rest, (size_t)(colon - rest));
        str_add(&out, ":***");
        rest = at;
    }
    size_t before_query = strcspn(rest, "?");
    str_addn(&out, rest, before_query);
    for (const char *p = rest + before_query; *p;) {
        str_addc(&out, *p++);
        size_t n = strcspn(p, "&"), name = strcspn(p, "=&");
        if (is_secret(p, name)) {
            str_addn(&out, p, name);
            str_add(&out, "=***");
        } else {
            str_addn(&out, p, n);
        }
        p += n;
    }
    return str_take(&out);
}
