#include <sqlite3.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "harness/engine/sqlite_handle.h"
#include "harness/observe/queries_impl.h"
#include "harness/schema/sql_token.h"

static bool at(const struct sql_tokens *t, size_t i, const char *word)
{
    return i < t->n && sql_is(&t->v[i], word);
}

static bool is_name(const struct sql_tokens *t, size_t i)
{
    return i < t->n &&
           (t->v[i].kind == SQL_WORD || t->v[i].kind == SQL_QUOTED || t->v[i].kind == SQL_STRING);
}

/* INTO name, or schema.name, with an alias and its columns: SQLite has no other INSERT, and none
 * within a query. Without columns all of them must be given. */
static void read_insert(struct query *q, const struct sql_tokens *t, size_t i)
{
    if (!is_name(t, i))
        return;
    char *table = sql_name(&t->v[i++]);
    if (at(t, i, ".") && is_name(t, i + 1)) {
        free(table);
        table = sql_name(&t->v[i + 1]);
        i += 2;
    }
    struct query_insert *insert = query_add_insert(q, table);
    if (at(t, i, "as"))
        i += 2;
    bool columns = at(t, i, "(");
    for (i++; columns && is_name(t, i); i += 2) {
        strv_add_take(&insert->columns, sql_name(&t->v[i]));
        if (!at(t, i + 1, ","))
            break;
    }
    insert->positional = !columns && !at(t, i - 1, "default");
    insert->given = SIZE_MAX;
}

static bool parse(struct query *q)
{
    static const char *const kinds[] = {"select", "insert", "replace", "update",
                                        "delete", "values", "with"};
    _cleanup_tokens_ struct sql_tokens t = {0};
    sql_tokenise(q->text, &t);
    bool query = false;
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
        query = query || at(&t, 0, kinds[i]);
    int depth = 0;
    for (size_t i = 0; query && i < t.n; i++) {
        depth += at(&t, i, "(") ? 1 : at(&t, i, ")") ? -1 : 0;
        if (depth == 0 && at(&t, i, "into")) {
            read_insert(q, &t, i + 1);
            break;
        }
    }
    return query;
}

static int accept_query(struct queries *all, const struct query *q, struct db *db,
                        struct err *refusal, struct err *err)
{
    (void)all;
    sqlite3_stmt *stmt = NULL;
    int rc = sqlite3_prepare_v2(db_handle(db), q->text, -1, &stmt, NULL);
    sqlite3_finalize(stmt);
    if (rc == SQLITE_OK)
        return 1;
    if ((rc & 0xff) == SQLITE_ERROR) {
        err_set(refusal, ERR_SQL, "%s", sqlite3_errmsg(db_handle(db)));
        return 0;
    }
    return sqlite_handle_error(db, err);
}

/* The only column that a NULL is welcome in though it is declared NOT NULL is a rowid's name. */
static const char required_sql[] =
    "select name from pragma_table_info($1) i where \"notnull\" and dflt_value is null"
    " and not (pk = 1 and type = 'INTEGER' collate nocase"
    "  and (select count(*) from pragma_table_info($1) where pk) = 1)"
    " and exists (select 1 from pragma_table_list where name = $1 collate nocase"
    "  and type = 'table') order by cid";

static bool has_name(const struct strv *names, const char *name)
{
    for (size_t i = 0; i < names->n; i++)
        if (sqlite3_stricmp(names->v[i], name) == 0)
            return true;
    return false;
}

static int missing(const struct query_insert *i, struct db *db, struct strv *ret, struct err *err)
{
    _cleanup_rows_ struct rows *rows = NULL;
    if (i->positional)
        return 0;
    if (db_query(db, required_sql, (const char *[]){i->table}, 1, &rows, err) < 0)
        return -1;
    for (int k = 0; k < rows_count(rows); k++)
        if (!has_name(&i->columns, rows_get(rows, k, 0)))
            strv_add(ret, rows_get(rows, k, 0));
    return 0;
}

const struct query_engine query_sqlite = {&engine_sqlite, parse, accept_query, missing};
