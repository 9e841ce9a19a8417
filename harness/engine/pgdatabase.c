#include "harness/engine/pgdatabase.h"

#include <string.h>

#include "harness/base/str.h"

static const char variable[] = ":\"database\"";

/* What format('%I') makes of this name ends up as the variable: no other part of a statement before
 * it can be the same, since a quote within an identifier is doubled. */
static const char placeholder[] = ":database";
static const char quoted_placeholder[] = "\":database\"";

/* clang-format off */

/*
 * $1 and $2: the names of the databases. Most settings go back as one literal. A list such as
 * search_path is stored as the SQL text of its elements, an empty one as "", and goes back as that.
 */
static const char statements_sql[] =
    "select format('alter database %I owner to %I', $2::text, pg_get_userbyid(datdba))"
    " from pg_database where datname = $1"
    " union all"
    " select format('alter database %I connection limit %s', $2, datconnlimit)"
    " from pg_database where datname = $1 and datconnlimit <> -1"
    " union all"
    " select format(case when r.rolname is null then 'alter database %2$I set %3$s to %4$s'"
    "   else 'alter role %1$I in database %2$I set %3$s to %4$s' end,"
    "   r.rolname, $2,"
    "   (select string_agg(quote_ident(part), '.')"
    "    from regexp_split_to_table(c.name, '[.]') part),"
    "   case when c.name in ('local_preload_libraries', 'search_path',"
    "     'session_preload_libraries', 'temp_tablespaces')"
    "   then coalesce(nullif(regexp_replace(c.value, '(^|, )\"\"(?=$|, )', '\\1''''', 'g'), ''),"
    "     '''''')"
    "   else quote_literal(c.value) end)"
    " from pg_db_role_setting s join pg_database d on d.oid = s.setdatabase"
    " left join pg_roles r on r.oid = s.setrole,"
    " lateral (select split_part(o, '=', 1) as name, substr(o, position('=' in o) + 1) as value"
    "  from unnest(s.setconfig) o) c"
    " where d.datname = $1"
    " union all"
    " select format('revoke all on database %I from public', $2)"
    " from pg_database where datname = $1 and datacl is not null"
    " union all"
    /* the owner may have taken privileges from himself */
    " select format('revoke all on database %I from %I', $2, pg_get_userbyid(datdba))"
    " from pg_database where datname = $1 and datacl is not null"
    " union all"
    " select format('grant %s on database %I to ', a.privilege_type, $2) ||"
    " case a.grantee when 0 then 'public' else quote_ident(r.rolname) end ||"
    " case when a.is_grantable then ' with grant option' else '' end"
    " from pg_database d, aclexplode(d.datacl) a left join pg_roles r on r.oid = a.grantee"
    " where d.datname = $1"
    " union all"
    " select format('comment on database %I is %L', $2, shobj_description(oid, 'pg_database'))"
    " from pg_database where datname = $1"
    " and shobj_description(oid, 'pg_database') !~ '^belay (scratch|kept) '"
    " union all"
    " select format('security label for %I on database %I is %L', l.provider, $2, l.label)"
    " from pg_database d join pg_shseclabel l on l.objoid = d.oid"
    "  and l.classoid = 'pg_database'::regclass"
    " where d.datname = $1";

/* clang-format on */

/* statement with the first `what` replaced. */
static char *replace(const char *statement, const char *what, const char *by)
{
    const char *at = strstr(statement, what);
    if (!at)
        return xstrdup(statement);
    return xasprintf("%.*s%s%s", (int)(at - statement), statement, by, at + strlen(what));
}

int pg_database_statements(struct db *db, const char *from, const char *to, struct strv *ret,
                           struct err *err)
{
    _cleanup_rows_ struct rows *rows = NULL;
    if (db_query(db, statements_sql, (const char *[]){from, to ? to : placeholder}, 2, &rows, err) <
        0)
        return -1;
    for (int i = 0; i < rows_count(rows); i++) {
        const char *text = rows_get(rows, i, 0);
        strv_add_take(ret, to ? xstrdup(text) : replace(text, quoted_placeholder, variable));
    }
    return 0;
}

char *pg_database_statement(const struct db *db, const char *statement, const char *name)
{
    _cleanup_free_ char *quoted = db_quote_ident(db, name);
    return replace(statement, variable, quoted);
}
