/*
 * Types without columns (composite types are with the relations), collations, conversions and text
 * search. The forms are described in schema_postgres.h.
 */
#include "harness/schema/schema_postgres.h"

/* clang-format off */

/* Array types, row types of tables and multiranges come and go with what they are made for. */
#define TYPE_FILTER                                                                                \
    " t.oid >= " FIRST_USER_OID " and" SCHEMA_FILTER "and" NOT_A_MEMBER("pg_type", "t.oid")        \
    "@only{and $1::oid[] is not null and t.oid = any($2)}"

#define TYPE_PROPERTIES                                                                            \
    " pg_get_userbyid(t.typowner) as owner,"                                                       \
    " d.description as comment,"                                                                   \
    " " GRANTS("t.typacl", "acldefault('T', t.typowner)", "t.typowner")

static const char enums_sql[] =
    "select 'enum', " NAME("t.typname") ", t.oid, t.oid,"
    " (select string_agg(quote_literal(l.enumlabel), ', ' order by l.enumsortorder)"
    "  from pg_enum l where l.enumtypid = t.oid) as labels,"
    TYPE_PROPERTIES
    " from pg_type t join pg_namespace n on n.oid = t.typnamespace"
    COMMENT_JOIN("pg_type", "t.oid")
    " where t.typtype = 'e' and" TYPE_FILTER;

#define COLLATION_NAME(oid)                                                                        \
    "(select " NAME("l.collname") " from pg_collation l join pg_namespace n"                       \
    "  on n.oid = l.collnamespace where l.oid = " oid ")"

static const char domains_sql[] =
    "select 'domain', " NAME("t.typname") ", t.oid, t.oid,"
    " format_type(t.typbasetype, t.typtypmod) as type,"
    " case when t.typcollation <> b.typcollation then " COLLATION_NAME("t.typcollation")
    "  end as collation,"
    " coalesce(pg_get_expr(t.typdefaultbin, 'pg_type'::regclass), t.typdefault) as \"default\","
    " case when t.typnotnull then 'yes' end as \"not null\","
    TYPE_PROPERTIES
    " from pg_type t join pg_namespace n on n.oid = t.typnamespace"
    " join pg_type b on b.oid = t.typbasetype"
    COMMENT_JOIN("pg_type", "t.oid")
    " where t.typtype = 'd' and" TYPE_FILTER;

/* A domain and a table cannot have the same name, so that identities stay unique. */
static const char domain_constraints_sql[] =
    "select 'constraint', " NAME("t.typname") " || '.' || quote_ident(k.conname), t.oid, k.oid,"
    " case k.contype when 'n' then 'not null' else 'check' end as type,"
    " regexp_replace(pg_get_constraintdef(k.oid), ' NOT VALID$', '') as definition,"
    " case when not k.convalidated then 'yes' end as \"not valid\","
    " d.description as comment"
    " from pg_constraint k join pg_type t on t.oid = k.contypid"
    " join pg_namespace n on n.oid = t.typnamespace"
    COMMENT_JOIN("pg_constraint", "k.oid")
    " where" TYPE_FILTER "@only{and k.contypid = any($2)}";

#define ROUTINE_OR_NULL(oid) "case when " oid " <> 0 then " oid "::regproc end"

static const char ranges_sql[] =
    "select 'range', " NAME("t.typname") ", t.oid, t.oid,"
    " format_type(r.rngsubtype, null) as subtype,"
    " (select " NAME("c.opcname") " from pg_opclass c join pg_namespace n"
    "   on n.oid = c.opcnamespace where c.oid = r.rngsubopc) as \"operator class\","
    " case when r.rngcollation <> b.typcollation then " COLLATION_NAME("r.rngcollation")
    "  end as collation,"
    " " ROUTINE_OR_NULL("r.rngcanonical") " as canonical,"
    " " ROUTINE_OR_NULL("r.rngsubdiff") " as subtype_diff,"
    "@14{ format_type(r.rngmultitypid, null) as multirange,}"
    TYPE_PROPERTIES
    " from pg_type t join pg_namespace n on n.oid = t.typnamespace"
    " join pg_range r on r.rngtypid = t.oid join pg_type b on b.oid = r.rngsubtype"
    COMMENT_JOIN("pg_type", "t.oid")
    " where t.typtype = 'r' and" TYPE_FILTER;

/* Base types, and the shell types that announce them. */
static const char base_types_sql[] =
    "select case when t.typisdefined then 'type' else 'shell type' end, " NAME("t.typname") ","
    " t.oid, t.oid,"
    " " ROUTINE_OR_NULL("t.typinput") " as input,"
    " " ROUTINE_OR_NULL("t.typoutput") " as output,"
    " " ROUTINE_OR_NULL("t.typreceive") " as receive,"
    " " ROUTINE_OR_NULL("t.typsend") " as send,"
    " " ROUTINE_OR_NULL("t.typmodin") " as typmod_in,"
    " " ROUTINE_OR_NULL("t.typmodout") " as typmod_out,"
    " " ROUTINE_OR_NULL("t.typanalyze") " as analyze,"
    "@14{ " ROUTINE_OR_NULL("t.typsubscript") " as subscript,}"
    " case when t.typlen = -1 then 'variable' else t.typlen::text end as internallength,"
    " case when t.typbyval then 'yes' end as passedbyvalue,"
    " case t.typalign when 'c' then 'char' when 's' then 'int2' when 'i' then 'int4'"
    "  when 'd' then 'double' end as alignment,"
    " case t.typstorage when 'p' then 'plain' when 'e' then 'external' when 'x' then 'extended'"
    "  when 'm' then 'main' end as storage,"
    " t.typcategory as category,"
    " case when t.typispreferred then 'yes' end as preferred,"
    " coalesce(pg_get_expr(t.typdefaultbin, 'pg_type'::regclass), t.typdefault) as \"default\","
    " case when t.typelem <> 0 then format_type(t.typelem, null) end as element,"
    " t.typdelim as delimiter,"
    " case when t.typcollation <> 0 then 'yes' end as collatable,"
    TYPE_PROPERTIES
    " from pg_type t join pg_namespace n on n.oid = t.typnamespace"
    COMMENT_JOIN("pg_type", "t.oid")
    " where t.typtype in ('b', 'p') and not exists"
    "  (select from pg_type e where e.oid = t.typelem and e.typarray = t.oid) and" TYPE_FILTER;

/* The version that the operating system gave a collation is not part of it. */
static const char collations_sql[] =
    "select 'collation', " NAME("c.collname") ", c.oid, c.oid,"
    " pg_get_userbyid(c.collowner) as owner,"
    " case c.collprovider when 'i' then 'icu' when 'c' then 'libc' when 'd' then 'default'"
    "  when 'b' then 'builtin' end as provider,"
    " case when not c.collisdeterministic then 'yes' end as \"not deterministic\","
    " c.collcollate as lc_collate,"
    " c.collctype as lc_ctype,"
    "@15{@<17{ c.colliculocale as locale,}}"
    "@17{ c.colllocale as locale,}"
    "@16{ c.collicurules as rules,}"
    " d.description as comment"
    " from pg_collation c join pg_namespace n on n.oid = c.collnamespace"
    COMMENT_JOIN("pg_collation", "c.oid")
    " where c.oid >= " FIRST_USER_OID " and" NOT_A_MEMBER("pg_collation", "c.oid");

static const char conversions_sql[] =
    "select 'conversion', " NAME("c.conname") ", c.oid, c.oid,"
    " pg_get_userbyid(c.conowner) as owner,"
    " pg_encoding_to_char(c.conforencoding) as \"from\","
    " pg_encoding_to_char(c.contoencoding) as \"to\","
    " c.conproc::regprocedure as function,"
    " case when c.condefault then 'yes' end as \"default\","
    " d.description as comment"
    " from pg_conversion c join pg_namespace n on n.oid = c.connamespace"
    COMMENT_JOIN("pg_conversion", "c.oid")
    " where c.oid >= " FIRST_USER_OID " and" NOT_A_MEMBER("pg_conversion", "c.oid");

/* clang-format on */

const struct catalog_query postgres_type_queries[] = {
    {.name = "enums", .sql = enums_sql, .reach = REACH_TYPE, .own_class = CLASS_TYPE},
    {.name = "domains", .sql = domains_sql, .reach = REACH_TYPE, .own_class = CLASS_TYPE},
    {.name = "domain constraints",
     .sql = domain_constraints_sql,
     .reach = REACH_TYPE,
     .own_class = CLASS_CONSTRAINT},
    {.name = "ranges", .sql = ranges_sql, .reach = REACH_TYPE, .own_class = CLASS_TYPE},
    {.name = "types", .sql = base_types_sql, .reach = REACH_TYPE, .own_class = CLASS_TYPE},
    {.name = "collations", .sql = collations_sql},
    {.name = "conversions", .sql = conversions_sql},
    {.name = NULL},
};

/* clang-format off */

static const char search_configurations_sql[] =
    "select 'text search configuration', " NAME("c.cfgname") ", c.oid, c.oid,"
    " pg_get_userbyid(c.cfgowner) as owner,"
    " (select " NAME("p.prsname") " from pg_ts_parser p join pg_namespace n"
    "   on n.oid = p.prsnamespace where p.oid = c.cfgparser) as parser,"
    " (select json_object_agg(m.alias, m.dictionaries) from (select t.alias,"
    "   string_agg(" NAME("x.dictname") ", ', ' order by m.mapseqno) as dictionaries"
    "   from pg_ts_config_map m join ts_token_type(c.cfgparser) t on t.tokid = m.maptokentype"
    "   join pg_ts_dict x on x.oid = m.mapdict join pg_namespace n on n.oid = x.dictnamespace"
    "   where m.mapcfg = c.oid group by t.alias) m) as \"mapping for *\","
    " d.description as comment"
    " from pg_ts_config c join pg_namespace n on n.oid = c.cfgnamespace"
    COMMENT_JOIN("pg_ts_config", "c.oid")
    " where c.oid >= " FIRST_USER_OID " and" NOT_A_MEMBER("pg_ts_config", "c.oid");

static const char search_dictionaries_sql[] =
    "select 'text search dictionary', " NAME("x.dictname") ", x.oid, x.oid,"
    " pg_get_userbyid(x.dictowner) as owner,"
    " (select " NAME("t.tmplname") " from pg_ts_template t join pg_namespace n"
    "   on n.oid = t.tmplnamespace where t.oid = x.dicttemplate) as template,"
    " x.dictinitoption as options,"
    " d.description as comment"
    " from pg_ts_dict x join pg_namespace n on n.oid = x.dictnamespace"
    COMMENT_JOIN("pg_ts_dict", "x.oid")
    " where x.oid >= " FIRST_USER_OID " and" NOT_A_MEMBER("pg_ts_dict", "x.oid");

static const char search_parsers_sql[] =
    "select 'text search parser', " NAME("p.prsname") ", p.oid, p.oid,"
    " p.prsstart as start,"
    " p.prstoken as gettoken,"
    " p.prsend as \"end\","
    " p.prslextype as lextypes,"
    " " ROUTINE_OR_NULL("p.prsheadline") " as headline,"
    " d.description as comment"
    " from pg_ts_parser p join pg_namespace n on n.oid = p.prsnamespace"
    COMMENT_JOIN("pg_ts_parser", "p.oid")
    " where p.oid >= " FIRST_USER_OID " and" NOT_A_MEMBER("pg_ts_parser", "p.oid");

static const char search_templates_sql[] =
    "select 'text search template', " NAME("t.tmplname") ", t.oid, t.oid,"
    " " ROUTINE_OR_NULL("t.tmplinit") " as init,"
    " t.tmpllexize as lexize,"
    " d.description as comment"
    " from pg_ts_template t join pg_namespace n on n.oid = t.tmplnamespace"
    COMMENT_JOIN("pg_ts_template", "t.oid")
    " where t.oid >= " FIRST_USER_OID " and" NOT_A_MEMBER("pg_ts_template", "t.oid");

/* clang-format on */

const struct catalog_query postgres_search_queries[] = {
    {.name = "text search configurations", .sql = search_configurations_sql},
    {.name = "text search dictionaries", .sql = search_dictionaries_sql},
    {.name = "text search parsers", .sql = search_parsers_sql},
    {.name = "text search templates", .sql = search_templates_sql},
    {.name = NULL},
};
