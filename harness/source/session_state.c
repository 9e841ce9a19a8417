#include "harness/source/session_state.h"

#include <stdlib.h>
#include <string.h>

#include "harness/base/str.h"

enum kind {
    KIND_ROLE,
    KIND_SETTING,   /* PostgreSQL: set_config() */
    KIND_PRAGMA,    /* SQLite */
    KIND_TEMPORARY, /* something temporary exists: dropped, never reported */
};

struct item {
    const char *name;
    const char *sql; /* the expression that reads it */
    enum kind kind;
};

#define SETTING(name)                                                                              \
    {                                                                                              \
        name, "current_setting('" name "')", KIND_SETTING                                          \
    }
#define PRAGMA(name)                                                                               \
    {                                                                                              \
#name, "(select " #name " from pragma_" #name ")", KIND_PRAGMA                             \
    }

/* What changes how later statements run, or which objects they meet. */
static const struct item postgres_items[] = {
    {"role", "current_user", KIND_ROLE},
    {"session user", "session_user", KIND_ROLE},
    {"temporary objects",
     "case when pg_my_temp_schema() = 0 then false else exists (select from pg_class"
     " where relnamespace = pg_my_temp_schema()) end",
     KIND_TEMPORARY},
    SETTING("search_path"),
    SETTING("session_replication_role"),
    SETTING("check_function_bodies"),
    SETTING("row_security"),
    SETTING("default_tablespace"),
    SETTING("default_table_access_method"),
    SETTING("default_transaction_read_only"),
    SETTING("default_transaction_isolation"),
    SETTING("standard_conforming_strings"),
    SETTING("client_encoding"),
    SETTING("timezone"),
    SETTING("datestyle"),
    SETTING("intervalstyle"),
    SETTING("bytea_output"),
    SETTING("xmloption"),
    SETTING("lock_timeout"),
    SETTING("statement_timeout"),
    SETTING("idle_in_transaction_session_timeout"),
    {NULL, NULL, KIND_SETTING},
};

static const struct item sqlite_items[] = {
    PRAGMA(foreign_keys),       PRAGMA(recursive_triggers),
    PRAGMA(legacy_alter_table), PRAGMA(ignore_check_constraints),
    PRAGMA(writable_schema),    PRAGMA(reverse_unordered_selects),
    {NULL, NULL, KIND_PRAGMA},
};

struct session_state {
    const struct item *items;
    char *query;
    char **values;
    size_t n;
    bool statement_lost; /* the revision dropped the prepared statement (DISCARD ALL) */
};

static int query_values(struct session_state *s, struct db *db, struct rows **ret, struct err *err)
{
    if (!s->statement_lost && db_query_prepared(db, s->query, NULL, 0, ret, err) == 0)
        return 0;
    if (!s->statement_lost && strcmp(err->sqlstate, "26000") != 0)
        return -1;
    s->statement_lost = true;
    return db_query(db, s->query, NULL, 0, ret, err);
}

static int read_values(struct session_state *s, struct db *db, char **ret, struct err *err)
{
    _cleanup_rows_ struct rows *rows = NULL;
    if (query_values(s, db, &rows, err) < 0)
        return err_prefix(err, "cannot read the settings of the session");
    for (size_t i = 0; i < s->n; i++) {
        const char *value = rows_get(rows, 0, (int)i);
        ret[i] = xstrdup(value ? value : "");
    }
    return 0;
}

static void free_values(char **values, size_t n)
{
    for (size_t i = 0; values && i < n; i++)
        free(values[i]);
    free(values);
}

void session_state_free(struct session_state *s)
{
    if (!s)
        return;
    free_values(s->values, s->n);
    free(s->query);
    free(s);
}

struct session_state *session_state_new(const struct engine *e)
{
    struct session_state *s = xcalloc(1, sizeof(*s));
    s->items = e == &engine_sqlite ? sqlite_items : postgres_items;
    struct str query = {0};
    for (; s->items[s->n].name; s->n++)
        str_addf(&query, "%s%s", s->n ? ", " : "select ", s->items[s->n].sql);
    s->query = str_take(&query);
    return s;
}

const char *session_state_query(const struct session_state *s)
{
    return s->query;
}

size_t session_state_size(const struct session_state *s)
{
    return s->n;
}

int session_state_read(struct db *db, struct session_state **ret, struct err *err)
{
    struct session_state *s = session_state_new(db_engine(db));
    s->values = xcalloc(s->n, sizeof(char *));
    if (read_values(s, db, s->values, err) < 0) {
        session_state_free(s);
        return -1;
    }
    *ret = s;
    return 0;
}

const char *session_state_get(const struct session_state *s, const char *name)
{
    for (size_t i = 0; i < s->n; i++)
        if (strcmp(s->items[i].name, name) == 0)
            return s->values[i];
    return NULL;
}

static void add_reset(struct strv *reset, const struct item *item, const char *value)
{
    struct str sql = {0};
    switch (item->kind) {
    case KIND_ROLE:
        return; /* together, and before everything else: the role may lack the right to set */
    case KIND_SETTING:
        str_addf(&sql, "select set_config('%s', '", item->name);
        for (const char *c = value; *c; c++)
            str_addf(&sql, *c == '\'' ? "''" : "%c", *c);
        str_add(&sql, "', false)");
        break;
    case KIND_PRAGMA:
        str_addf(&sql, "pragma %s = %s", item->name, value);
        break;
    case KIND_TEMPORARY:
        str_add(&sql, "discard temp");
        break;
    }
    strv_add_take(reset, str_take(&sql));
}

void session_state_judge(struct session_state *s, char **now, bool keep, char **ret_change,
                         struct strv *ret_reset)
{
    _cleanup_str_ struct str change = {0};
    _cleanup_strv_ struct strv reset = {0};
    bool role = false;
    for (size_t i = 0; s->values && i < s->n; i++) {
        if (strcmp(now[i], s->values[i]) == 0)
            continue;
        const struct item *item = &s->items[i];
        role |= item->kind == KIND_ROLE;
        add_reset(&reset, item, s->values[i]);
        /* the session user changes the role with it: one of the two is enough */
        if (item->kind == KIND_TEMPORARY ||
            (i > 0 && item->kind == KIND_ROLE && strcmp(now[i], now[0]) == 0))
            continue;
        str_addf(&change, "%s%s is now %s", change.len ? ", " : "", item->name,
                 *now[i] ? now[i] : "\"\"");
    }
    if (keep || !s->values) {
        free_values(s->values, s->n);
        s->values = now;
    } else {
        free_values(now, s->n);
        if (role) {
            strv_add(ret_reset, "reset session authorization");
            strv_add(ret_reset, "reset role");
        }
        for (size_t i = 0; i < reset.n; i++)
            strv_add(ret_reset, reset.v[i]);
    }
    *ret_change = change.len ? str_take(&change) : NULL;
}

int session_state_compare(struct session_state *s, struct db *db, bool keep, char **ret_change,
                          struct err *err)
{
    char **now = xcalloc(s->n, sizeof(char *));
    if (read_values(s, db, now, err) < 0) {
        free_values(now, s->n);
        return -1;
    }
    _cleanup_free_ char *change = NULL;
    _cleanup_strv_ struct strv reset = {0};
    session_state_judge(s, now, keep, &change, &reset);
    _cleanup_free_ char *sql = strv_join(&reset, "; ");
    if (*sql && db_run(db, sql, DB_RUN_STATEMENTS, NULL, err) < 0)
        return err_prefix(err, "cannot put the session back");
    *ret_change = TAKE_PTR(change);
    return 0;
}
