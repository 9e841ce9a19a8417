/* URLs: what each form means, and that none shows its password. */
#include <string.h>
#include <unistd.h>

#include "harness/base/str.h"
#include "harness/engine/engine.h"
#include "harness/engine/url.h"
#include "tests/suite.h"

static const struct {
    const char *url;
    const char *path; /* NULL: ERR_USAGE */
} sqlite_urls[] = {
    {"sqlite:///relative.db", "relative.db"},
    {"sqlite:////abs/olute.db", "/abs/olute.db"},
    {"sqlite+aiosqlite:///x.db", "x.db"},
    {"sqlite+pysqlite:////x.db?timeout=5", "/x.db"},
    {"SQLite:///x.db", "x.db"},
    {"sqlite:x.db", "x.db"},
    {"sqlite:/abs/x.db", "/abs/x.db"},
    {"sqlite3://x.db", "x.db"},
    {"sqlite3:///abs/x.db", "/abs/x.db"},
    {"sqlite3:////abs/x.db", "/abs/x.db"},
    {"sqlite:///a%20b%25.db", "a b%.db"},
    {"sqlite:///100%.db", "100%.db"},
    {"sqlite:///a%00b.db", "a%00b.db"},
    {"sqlite:///gr\303\274n/\"q'.db", "gr\303\274n/\"q'.db"},
    {"file:x.db?mode=ro", "file:x.db?mode=ro"},
    {"plain.db", "plain.db"},
    {"sqlite://", NULL},
    {"sqlite:///", NULL},
    {"sqlite:///:memory:", NULL},
    {"sqlite://:memory:", NULL},
    {"sqlite://host/x.db", NULL},
};

START_TEST(sqlite_url_gives_its_path)
{
    _cleanup_err_ struct err err = {0};
    _cleanup_free_ char *path = NULL;
    const char *url = sqlite_urls[_i].url, *expected = sqlite_urls[_i].path;
    int r = url_sqlite_path(url, &path, &err);
    if (expected) {
        ck_assert_msg(r == 0, "%s: %s", url, err.message);
        ck_assert_str_eq(path, expected);
    } else {
        ck_assert_msg(r < 0, "%s gives %s", url, path);
        ck_assert_int_eq(err.code, ERR_USAGE);
        ck_assert_ptr_nonnull(err.hint);
        ck_assert_ptr_null(path);
    }
}
END_TEST

START_TEST(a_path_comes_back_from_the_url_made_for_it)
{
    static const char *const paths[] = {"/a/b.db", "/a b/%41.db", "/x?y#z.db",
                                        "/gr\303\274n/'\"\n.db", "/:memory:"};
    for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
        _cleanup_err_ struct err err = {0};
        _cleanup_free_ char *url = url_for_sqlite_path(paths[i]), *path = NULL;
        ck_assert_msg(url_sqlite_path(url, &path, &err) == 0, "%s: %s", url, err.message);
        ck_assert_str_eq(path, paths[i]);
    }
}
END_TEST

/* Every parameter that must be there, and there must be no others. */
static const struct {
    const char *url;
    const char *expected[8];
} postgres_urls[] = {
    {"postgresql://u@h/d", {"user=u", "host=h", "dbname=d"}},
    {"postgres://u:p%40ss@h:5433/d",
     {"user=u", "password=p@ss", "host=h", "port=5433", "dbname=d"}},
    {"postgresql+asyncpg://u@h/d?ssl=require", {"user=u", "host=h", "dbname=d", "sslmode=require"}},
    {"postgresql+asyncpg://u@h/d?ssl=true", {"user=u", "host=h", "dbname=d", "sslmode=require"}},
    {"postgresql+psycopg2:///d?host=/run/pg", {"host=/run/pg", "dbname=d"}},
    {"PostgreSQL://h/d", {"host=h", "dbname=d"}},
    {"postgresql://", {NULL}}, /* all from the environment */
    {"postgresql://[::1]:5432/d", {"host=::1", "port=5432", "dbname=d"}},
    {"postgresql://a,b:1/d", {"host=a,b", "port=,1", "dbname=d"}},
    {"postgres://h/d?sslmode=disable&x-migrations-table=m&statement_cache_size=0",
     {"host=h", "dbname=d", "sslmode=disable"}},
    {"postgres://h/d?search_path=a%20b", {"host=h", "dbname=d", "options=-c search_path=a\\ b"}},
    {"postgres:///d?socket=/run/pg", {"host=/run/pg", "dbname=d"}},
    {"postgresql+asyncpg://h/d?timeout=3", {"host=h", "dbname=d", "connect_timeout=3"}},
    {"postgresql://h/d%2Fe%25", {"host=h", "dbname=d/e%"}},
    {"host=/run/pg dbname='a b' user=u", {"host=/run/pg", "dbname=a b", "user=u"}},
    {"host=h password='it\\'s'", {"host=h", "password=it's"}},
};

START_TEST(postgres_url_gives_libpq_parameters)
{
    _cleanup_err_ struct err err = {0};
    _cleanup_conninfo_ struct conninfo c = {0};
    const char *url = postgres_urls[_i].url;
    ck_assert_msg(conninfo_parse(url, &c, &err) == 0, "%s: %s", url, err.message);
    int n = 0;
    for (; postgres_urls[_i].expected[n]; n++) {
        const char *part = postgres_urls[_i].expected[n];
        _cleanup_free_ char *keyword = xstrndup(part, strcspn(part, "="));
        const char *value = conninfo_get(&c, keyword);
        ck_assert_msg(str_eq(value, part + strlen(keyword) + 1), "%s: %s is %s", url, keyword,
                      value ? value : "missing");
    }
    ck_assert_msg(c.n == n, "%s: %d parameters instead of %d", url, c.n, n);

    /* and the URL made of them means the same */
    _cleanup_free_ char *again = conninfo_url(&c);
    _cleanup_conninfo_ struct conninfo d = {0};
    ck_assert_msg(conninfo_parse(again, &d, &err) == 0, "%s: %s", again, err.message);
    ck_assert_int_eq(d.n, c.n);
    for (int i = 0; i < c.n; i++)
        ck_assert_msg(str_eq(conninfo_get(&d, c.keywords[i]), c.values[i]), "%s: %s", again,
                      c.keywords[i]);
}
END_TEST

/* Every form that can carry a password, right and wrong; the password is "s3cret" throughout. */
static const char *const secret_urls[] = {
    "postgresql://u:s3cret@h/d",
    "postgresql+asyncpg://u:s3cret@h:1/d?ssl=require",
    "postgres://:s3cret@h/d",
    "postgresql://u:a@s3cret@h/d",
    "postgresql://u:a/s3cret@h/d",
    "postgresql://u:a#s3cret@h/d",
    "postgresql://u:a?s3cret@h/d",
    "postgresql://u:1?s3cret=x@h/d",
    "postgresql://u:1?host=s3cret@h/d",
    "postgresql://u:a:s3cret@h/d",
    "postgresql://u:a/@s3cret@h/d",
    "postgresql://u:%zzs3cret@h/d",
    "postgresql://u:s3cret @h/d",
    "postgresql://u:s3cret@h:port/d",
    "postgresql://u:s3cret@h/d?nonsense=1",
    "postgresql://h/d?user=u&password=s3cret",
    "postgresql://h/d?PASSWORD=s3cret",
    "postgresql://h/d?pass%77ord=s3cret",
    "postgresql://h/d?sslpassword=s3cret",
    "postgresql://h/d?password=a&password=s3cret",
    "host=h password=s3cret",
    "host=h password = 's3cret'",
    "host=h password='a s3cret' dbname=d",
    "host=h password='s3cret",
    "host=h passwrd=s3cret",
    "password=s3cret port=x",
    "mysql://u:s3cret@h/d",
    "u:s3cret@h/d",
    "sqlite://u:s3cret@h/x.db",
    "sqlite+pysqlcipher://:s3cret@/x.db",
    "file:///x.db?key=s3cret",
    "file:x.db?key=s3cret",
    "file:x.db?vfs=unix&key=s3cret",
};

static void no_secret(const char *url, const char *what, const char *text)
{
    ck_assert_msg(!text || !strstr(text, "s3cret"), "%s shows in the %s: %s", url, what, text);
}

START_TEST(no_url_shows_its_password)
{
    const char *url = secret_urls[_i];
    _cleanup_free_ char *shown = url_redact(url), *path = NULL;
    no_secret(url, "redacted URL", shown);
    /* no name is looked up, and nobody listens */
    setenv("PGHOSTADDR", "127.0.0.1", 1);
    setenv("PGPORT", "1", 1);
    for (size_t i = 0; engines[i]; i++) {
        _cleanup_err_ struct err err = {0};
        struct db *db;
        if (!engines[i]->owns_url(url))
            continue;
        ck_assert_int_eq(db_open(engines[i], url, DB_OPEN_DEFAULT, &db, &err), -1);
        no_secret(url, "error", err.message);
        no_secret(url, "hint", err.hint);
        no_secret(url, "detail", err.detail);
    }
    struct err err = {0};
    if (!engine_for_url(url, &err)) {
        ck_assert_int_eq(err.code, ERR_USAGE);
        no_secret(url, "error", err.message);
        no_secret(url, "hint", err.hint);
    }
    err_release(&err);
}
END_TEST

START_TEST(redaction_keeps_what_is_no_secret)
{
    static const char *const pairs[][2] = {
        {"postgresql://u:p@h:5432/d?sslmode=require",
         "postgresql://u:***@h:5432/d?sslmode=require"},
        {"postgresql://u@h/d", "postgresql://u@h/d"},
        {"postgresql://h:5432/d", "postgresql://h:5432/d"},
        {"postgresql:///d?host=/run/pg", "postgresql:///d?host=/run/pg"},
        {"file:x.db?mode=ro", "file:x.db?mode=ro"},
        {"postgresql://h/d?user=u&password=p&sslmode=require",
         "postgresql://h/d?user=u&password=***&sslmode=require"},
        {"sqlite:////a:b@c.db", "sqlite:////a:b@c.db"},
        {"some/path.db", "some/path.db"},
        {"host=h password=p dbname='a b'", "password=*** dbname='a b' host=h"},
    };
    for (size_t i = 0; i < ARRAY_LEN(pairs); i++) {
        _cleanup_free_ char *shown = url_redact(pairs[i][0]);
        ck_assert_str_eq(shown, pairs[i][1]);
    }
}
END_TEST

START_TEST(url_belongs_to_one_engine)
{
    char empty[] = "/tmp/belay-test-XXXXXX", other[] = "/tmp/belay-test-XXXXXX";
    int fds[] = {mkstemp(empty), mkstemp(other)};
    ck_assert_int_eq(write(fds[1], "create table t (a);", 19), 19);
    const struct {
        const char *url;
        const struct engine *engine; /* NULL: to none */
    } table[] = {
        {"postgresql://h/d", &engine_postgres},
        {"postgres://h/d", &engine_postgres},
        {"postgresql+psycopg://h/d", &engine_postgres},
        {"host=h dbname=d", &engine_postgres},
        {"sqlite:///x.db", &engine_sqlite},
        {"sqlite+aiosqlite:///x.db", &engine_sqlite},
        {"sqlite3://x.db", &engine_sqlite},
        {"file:x.db", &engine_sqlite},
        {"mysql://h/d", NULL},
        {"postgresqlx://h/d", NULL},
        {"postgresql:/h/d", NULL},
        {"nosuch=1", NULL},
        {"/nonexistent/x.db", NULL},
        {"/etc/passwd", NULL},
        {"/tmp", NULL},
        {"", NULL},
        {empty, &engine_sqlite},
        {other, NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        _cleanup_err_ struct err err = {0};
        const struct engine *e = engine_for_url(table[i].url, &err);
        ck_assert_msg(e == table[i].engine, "%s belongs to %s", table[i].url,
                      e ? engine_name(e) : "none");
        ck_assert_int_eq(err.code, e ? ERR_NONE : ERR_USAGE);
        ck_assert(e || err.hint);
    }
    close(fds[0]);
    close(fds[1]);
    unlink(empty);
    unlink(other);
    ck_assert_ptr_eq(engine_by_name("postgresql"), &engine_postgres);
    ck_assert_ptr_eq(engine_by_name("sqlite"), &engine_sqlite);
    ck_assert_ptr_null(engine_by_name("oracle"));
}
END_TEST

int main(void)
{
    Suite *s = suite_create("url");
    SUITE_ADD_LOOP(s, sqlite_url_gives_its_path, ARRAY_LEN(sqlite_urls));
    SUITE_ADD(s, a_path_comes_back_from_the_url_made_for_it);
    SUITE_ADD_LOOP(s, postgres_url_gives_libpq_parameters, ARRAY_LEN(postgres_urls));
    SUITE_ADD_LOOP(s, no_url_shows_its_password, ARRAY_LEN(secret_urls));
    SUITE_ADD(s, redaction_keeps_what_is_no_secret);
    SUITE_ADD(s, url_belongs_to_one_engine);
    return suite_run(s);
}
