/*
 * What connects the database with others: foreign data wrappers, servers, user mappings,
 * publications and subscriptions. The forms are described in schema_postgres.h.
 */
#include "harness/schema/schema_postgres.h"

/* clang-format off */

static const char wrappers_sql[] =
    "select 'foreign data wrapper', quote_ident(w.fdwname), w.oid, w.oid,"
    " pg_get_userbyid(w.fdwowner) as owner,"
    " case when w.fdwhandler <> 0 then w.fdwhandler::regproc end as handler,"
    " case when w.fdwvalidator <> 0 then w.fdwvalidator::regproc end as validator,"
    " " FOREIGN_OPTIONS("w.fdwoptions") " as \"foreign option *\","
    " d.description as comment,"
    " " GRANTS("w.fdwacl", "acldefault('F', w.fdwowner)", "w.fdwowner")
    " from pg_foreign_data_wrapper w"
    COMMENT_JOIN("pg_foreign_data_wrapper", "w.oid")
    " where w.oid >= " FIRST_USER_OID " and" NOT_A_MEMBER("pg_foreign_data_wrapper", "w.oid");

static const char servers_sql[] =
    "select 'server', quote_ident(s.srvname), s.oid, s.oid,"
    " pg_get_userbyid(s.srvowner) as owner,"
    " (select quote_ident(w.fdwname) from pg_foreign_data_wrapper w where w.oid = s.srvfdw)"
    "  as \"foreign data wrapper\","
    " s.srvtype as type,"
    " s.srvversion as version,"
    " " FOREIGN_OPTIONS("s.srvoptions") " as \"foreign option *\","
    " d.description as comment,"
    " " GRANTS("s.srvacl", "acldefault('S', s.srvowner)", "s.srvowner")
    " from pg_foreign_server s"
    COMMENT_JOIN("pg_foreign_server", "s.oid")
    " where s.oid >= " FIRST_USER_OID " and" NOT_A_MEMBER("pg_foreign_server", "s.oid");

/* The view shows options only to those who may see them. */
static const char user_mappings_sql[] =
    "select 'user mapping', case m.umuser when 0 then 'PUBLIC' else quote_ident(m.usename) end"
    "  || ' on ' || quote_ident(m.srvname), m.umid, m.umid,"
    " " FOREIGN_OPTIONS("m.umoptions") " as \"foreign option *\""
    " from pg_user_mappings m";

/* A table without a column list or row filter is published as a whole. */
static const char publications_sql[] =
    "select 'publication', quote_ident(p.pubname), p.oid, p.oid,"
    " pg_get_userbyid(p.pubowner) as owner,"
    " case when p.puballtables then 'yes' end as \"all tables\","
    " concat_ws(', ', case when p.pubinsert then 'insert' end, case when p.pubupdate then 'update'"
    "  end, case when p.pubdelete then 'delete' end, case when p.pubtruncate then 'truncate' end)"
    "  as publish,"
    "@13{ case when p.pubviaroot then 'yes' end as publish_via_partition_root,}"
    "@18{ case p.pubgencols when 's' then 'stored' end as publish_generated_columns,}"
    " (select json_object_agg(" NAME("c.relname") ", coalesce(nullif(concat_ws(' ',"
    "@15{  '(' || (select string_agg(quote_ident(a.attname), ', ' order by a.attnum)"
    "    from pg_attribute a where a.attrelid = r.prrelid and a.attnum = any(r.prattrs)) || ')',"
    "   'where ' || pg_get_expr(r.prqual, r.prrelid),}"
    "   null), ''), 'as a whole'))"
    "  from pg_publication_rel r join pg_class c on c.oid = r.prrelid"
    "  join pg_namespace n on n.oid = c.relnamespace where r.prpubid = p.oid) as \"table *\","
    "@15{ (select string_agg(quote_ident(n.nspname), ', ' order by quote_ident(n.nspname))"
    "  from pg_publication_namespace r join pg_namespace n on n.oid = r.pnnspid"
    "  where r.pnpubid = p.oid) as \"tables in schema\",}"
    " d.description as comment"
    " from pg_publication p"
    COMMENT_JOIN("pg_publication", "p.oid")
    " where" NOT_A_MEMBER("pg_publication", "p.oid");

/*
 * Subscriptions, without the connection string: it may hold a password. Before 14 some columns are
 * the superuser's alone.
 */
static const char subscriptions_sql[] =
    "select 'subscription', quote_ident(s.subname), 0, 0,"
    " pg_get_userbyid(s.subowner) as owner,"
    " case when s.subenabled then 'yes' end as enabled,"
    " s.subslotname as slot_name,"
    " (select string_agg(quote_ident(p), ', ' order by p) from unnest(s.subpublications) p)"
    "  as publications"
    "@<14{@super{, s.subsynccommit as synchronous_commit}}"
    "@14{, s.subsynccommit as synchronous_commit,"
    "  case when s.subbinary then 'yes' end as binary,"
    "  s.substream::text as streaming,"
    "  (select d.description from pg_description d where d.objoid = s.oid"
    "   and d.classoid = 'pg_subscription'::regclass) as comment}"
    "@15{, case when s.subtwophasestate <> 'd' then 'yes' end as two_phase,"
    "  case when s.subdisableonerr then 'yes' end as disable_on_error}"
    "@16{, case when s.subpasswordrequired then 'yes' end as password_required,"
    "  case when s.subrunasowner then 'yes' end as run_as_owner, s.suborigin as origin}"
    "@17{, case when s.subfailover then 'yes' end as failover}"
    " from pg_subscription s"
    " where s.subdbid = (select oid from pg_database where datname = current_database())";

/* clang-format on */

const struct catalog_query postgres_foreign_queries[] = {
    {.name = "foreign data wrappers", .sql = wrappers_sql},
    {.name = "servers", .sql = servers_sql},
    {.name = "user mappings", .sql = user_mappings_sql},
    {.name = "publications", .sql = publications_sql},
    {.name = "subscriptions", .sql = subscriptions_sql},
    {.name = NULL},
};
