/*
 * Which engine a folder is written for. Only words that the other engine would refuse count, and
 * only outside of strings and comments; when both engines show, nothing is said.
 */
#include "harness/source/sql_format.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "harness/engine/pgsplit.h"

static const char *const postgres_words[] = {
    "serial",    "bigserial",    "smallserial", "jsonb",    "timestamptz", "timetz",
    "bytea",     "tsvector",     "plpgsql",     "citext",   "inet",        "cidr",
    "extension", "concurrently", "nextval",     "regclass", "gin",         "gist",
    "returns",   "setof",        "domain",      "grant",    "revoke",      "owner",
};
static const char *const sqlite_words[] = {
    "autoincrement", "pragma",   "rowid", "sqlite_sequence",
    "sqlite_master", "strftime", "fts5",  "glob",
};

static bool is_word(const char *p, size_t n, const char *const *words, size_t nwords)
{
    for (size_t i = 0; i < nwords; i++)
        if (strlen(words[i]) == n && strncasecmp(p, words[i], n) == 0)
            return true;
    return false;
}

/* Past a quoted text that begins at p with its quote; a doubled quote is one more piece of it. */
static const char *skip_quoted(const char *p)
{
    const char *end = strchr(p + 1, *p);
    return end ? end + 1 : p + strlen(p);
}

void engine_signs_read(struct engine_signs *signs, const char *sql)
{
    const char *p = sql;
    while (*p) {
        size_t blank = sql_skip_blank(p);
        if (blank) {
            p += blank;
        } else if (*p == '\'' || *p == '"' || *p == '`') {
            signs->sqlite += *p == '`';
            p = skip_quoted(p);
        } else if (isalpha((unsigned char)*p) || *p == '_') {
            const char *end = p;
            while (isalnum((unsigned char)*end) || *end == '_')
                end++;
            size_t n = (size_t)(end - p);
            signs->postgres += is_word(p, n, postgres_words, ARRAY_LEN(postgres_words));
            signs->sqlite += is_word(p, n, sqlite_words, ARRAY_LEN(sqlite_words));
            p = end;
        } else {
            signs->postgres += (p[0] == ':' && p[1] == ':') || (p[0] == '$' && p[1] == '$');
            p++;
        }
    }
}

/* The folder may say it too: migrations/postgres, db/sqlite3. */
static const struct engine *engine_of_path(const char *dir)
{
    static const struct {
        const char *word;
        const struct engine *engine;
    } names[] = {
        {"postgres", &engine_postgres}, {"postgresql", &engine_postgres},
        {"pg", &engine_postgres},       {"psql", &engine_postgres},
        {"sqlite", &engine_sqlite},     {"sqlite3", &engine_sqlite},
    };
    const struct engine *found = NULL;
    for (const char *p = dir; *p;) {
        size_t n = strcspn(p, "/");
        for (size_t i = 0; i < ARRAY_LEN(names); i++)
            if (strlen(names[i].word) == n && strncasecmp(p, names[i].word, n) == 0)
                found = names[i].engine; /* the innermost folder counts */
        p += n + (p[n] == '/');
    }
    return found;
}

const struct engine *engine_signs_judge(const struct engine_signs *signs, const char *dir)
{
    if (signs->postgres && !signs->sqlite)
        return &engine_postgres;
    if (signs->sqlite && !signs->postgres)
        return &engine_sqlite;
    return engine_of_path(dir);
}
