/*
 * Functions, procedures, aggregates, operators with their classes and families, casts, transforms,
 * languages. The forms are described in schema_postgres.h.
 */
#include "harness/schema/schema_postgres.h"

/* clang-format off */

/* Functions that a type made for itself (constructors of ranges) belong to that type. */
#define ROUTINE_FILTER                                                                             \
    " p.oid >= " FIRST_USER_OID " and" SCHEMA_FILTER                                               \
    "and not exists (select from pg_depend e where e.classid = 'pg_proc'::regclass"                \
    "  and e.objid = p.oid and e.deptype in ('e', 'i')) @only{and $1::oid[] is not null and p.oid = any($2)}"

#define ROUTINE_NAME NAME("p.proname") " || '(' || oidvectortypes(p.proargtypes) || ')'"

/* What functions and aggregates have in common. For C functions the source is a link symbol. */
#define ROUTINE_PROPERTIES                                                                         \
    " pg_get_userbyid(p.proowner) as owner,"                                                       \
    " pg_get_function_arguments(p.oid) as arguments,"                                              \
    " case p.proparallel when 's' then 'safe' when 'r' then 'restricted' else 'unsafe' end"        \
    "  as parallel,"                                                                               \
    " d.description as comment,"                                                                   \
    " " GRANTS("p.proacl", "acldefault('f', p.proowner)", "p.proowner")

static const char functions_sql[] =
    "select case p.prokind when 'p' then 'procedure' else 'function' end, " ROUTINE_NAME ","
    " p.oid, p.oid,"
    " pg_get_function_result(p.oid) as returns,"
    " case p.prokind when 'w' then 'yes' end as \"window\","
    " quote_ident(l.lanname) as language,"
    "@14{ pg_get_function_sqlbody(p.oid) as \"sql body\","
    "  case when p.prosqlbody is null then p.prosrc end as body,}"
    "@<14{ p.prosrc as body,}"
    " p.probin as library,"
    " case p.provolatile when 'i' then 'immutable' when 's' then 'stable' else 'volatile' end"
    "  as volatility,"
    " case when p.proisstrict then 'yes' end as strict,"
    " case when p.prosecdef then 'yes' end as \"security definer\","
    " case when p.proleakproof then 'yes' end as leakproof,"
    " p.procost as cost,"
    " case when p.proretset then p.prorows end as rows,"
    " case when p.prosupport <> 0 then p.prosupport::regproc end as support,"
    " " OPTIONS("p.proconfig") " as \"setting *\","
    " (select string_agg(format_type(u.o, null), ', ' order by u.ord)"
    "  from unnest(p.protrftypes) with ordinality u(o, ord)) as transforms,"
    ROUTINE_PROPERTIES
    " from pg_proc p join pg_namespace n on n.oid = p.pronamespace"
    " join pg_language l on l.oid = p.prolang"
    COMMENT_JOIN("pg_proc", "p.oid")
    " where p.prokind <> 'a' and" ROUTINE_FILTER;

#define ROUTINE_OR_NULL(oid) "case when " oid " <> 0 then " oid "::regprocedure end"
#define MODIFY(code)                                                                               \
    "case " code " when 'r' then 'read only' when 's' then 'shareable' else 'read write' end"

/* As pg_dump writes CREATE AGGREGATE; the words are those of its options. */
static const char aggregates_sql[] =
    "select 'aggregate', " ROUTINE_NAME ", p.oid, p.oid,"
    " case g.aggkind when 'o' then 'ordered set' when 'h' then 'hypothetical' end as \"aggregate\","
    " case when g.aggkind <> 'n' then g.aggnumdirectargs end as \"direct arguments\","
    " " ROUTINE_OR_NULL("g.aggtransfn") " as sfunc,"
    " format_type(g.aggtranstype, null) as stype,"
    " g.aggtransspace as sspace,"
    " " ROUTINE_OR_NULL("g.aggfinalfn") " as finalfunc,"
    " case when g.aggfinalextra then 'yes' end as finalfunc_extra,"
    " " MODIFY("g.aggfinalmodify") " as finalfunc_modify,"
    " " ROUTINE_OR_NULL("g.aggcombinefn") " as combinefunc,"
    " " ROUTINE_OR_NULL("g.aggserialfn") " as serialfunc,"
    " " ROUTINE_OR_NULL("g.aggdeserialfn") " as deserialfunc,"
    " g.agginitval as initcond,"
    " " ROUTINE_OR_NULL("g.aggmtransfn") " as msfunc,"
    " " ROUTINE_OR_NULL("g.aggminvtransfn") " as minvfunc,"
    " case when g.aggmtranstype <> 0 then format_type(g.aggmtranstype, null) end as mstype,"
    " case when g.aggmtranstype <> 0 then g.aggmtransspace end as msspace,"
    " " ROUTINE_OR_NULL("g.aggmfinalfn") " as mfinalfunc,"
    " case when g.aggmfinalextra then 'yes' end as mfinalfunc_extra,"
    " case when g.aggmtranstype <> 0 then " MODIFY("g.aggmfinalmodify") " end as mfinalfunc_modify,"
    " g.aggminitval as minitcond,"
    " case when g.aggsortop <> 0 then g.aggsortop::regoperator end as sortop,"
    ROUTINE_PROPERTIES
    " from pg_proc p join pg_namespace n on n.oid = p.pronamespace"
    " join pg_aggregate g on g.aggfnoid = p.oid"
    COMMENT_JOIN("pg_proc", "p.oid")
    " where" ROUTINE_FILTER;

/* An operator that a commutator or negator only announced has no function yet. */
static const char operators_sql[] =
    "select 'operator', quote_ident(n.nspname) || '.' || o.oprname || '('"
    "  || case when o.oprleft = 0 then 'none' else format_type(o.oprleft, null) end || ', '"
    "  || case when o.oprright = 0 then 'none' else format_type(o.oprright, null) end || ')',"
    " o.oid, o.oid,"
    " pg_get_userbyid(o.oprowner) as owner,"
    " case when o.oprcode <> 0 then o.oprcode::regprocedure::text else 'not defined yet' end"
    "  as function,"
    " case when o.oprcom <> 0 then o.oprcom::regoperator end as commutator,"
    " case when o.oprnegate <> 0 then o.oprnegate::regoperator end as negator,"
    " case when o.oprrest <> 0 then o.oprrest::regprocedure end as restrict,"
    " case when o.oprjoin <> 0 then o.oprjoin::regprocedure end as join,"
    " case when o.oprcanhash then 'yes' end as hashes,"
    " case when o.oprcanmerge then 'yes' end as merges,"
    " d.description as comment"
    " from pg_operator o join pg_namespace n on n.oid = o.oprnamespace"
    COMMENT_JOIN("pg_operator", "o.oid")
    " where o.oid >= " FIRST_USER_OID " and" NOT_A_MEMBER("pg_operator", "o.oid");

/* The operators and functions whose dependency is on the class or family itself: which of the two
 * holds a member is what CREATE OPERATOR CLASS and ALTER OPERATOR FAMILY ADD tell apart. */
#define MEMBERS(catalog, oid)                                                                      \
    " (select json_object_agg(o.amopstrategy || ' (' || format_type(o.amoplefttype, null) || ', '" \
    "   || format_type(o.amoprighttype, null) || ')' || case o.amoppurpose when 'o' then"          \
    "   ' for order by' else '' end, o.amopopr::regoperator || case when o.amopsortfamily <> 0"    \
    "   then ' for order by ' || (select " NAME("f.opfname") " from pg_opfamily f"                 \
    "   join pg_namespace n on n.oid = f.opfnamespace where f.oid = o.amopsortfamily) else '' end)" \
    "  from pg_depend m join pg_amop o on o.oid = m.objid"                                         \
    "  where m.classid = 'pg_amop'::regclass and m.refclassid = '" catalog "'::regclass"           \
    "  and m.refobjid = " oid ") as \"operator *\","                                               \
    " (select json_object_agg(o.amprocnum || ' (' || format_type(o.amproclefttype, null) || ', '"  \
    "   || format_type(o.amprocrighttype, null) || ')', o.amproc::regprocedure)"                   \
    "  from pg_depend m join pg_amproc o on o.oid = m.objid"                                       \
    "  where m.classid = 'pg_amproc'::regclass and m.refclassid = '" catalog "'::regclass"         \
    "  and m.refobjid = " oid ") as \"function *\","

static const char operator_classes_sql[] =
    "select 'operator class', " NAME("c.opcname") " || ' using ' || quote_ident(m.amname),"
    " c.oid, c.oid,"
    " pg_get_userbyid(c.opcowner) as owner,"
    " format_type(c.opcintype, null) as type,"
    " case when c.opcdefault then 'yes' end as \"default\","
    " (select " NAME("f.opfname") " from pg_opfamily f join pg_namespace n"
    "   on n.oid = f.opfnamespace where f.oid = c.opcfamily) as family,"
    " case when c.opckeytype <> 0 then format_type(c.opckeytype, null) end as storage,"
    MEMBERS("pg_opclass", "c.oid")
    " d.description as comment"
    " from pg_opclass c join pg_am m on m.oid = c.opcmethod"
    " join pg_namespace n on n.oid = c.opcnamespace"
    COMMENT_JOIN("pg_opclass", "c.oid")
    " where c.oid >= " FIRST_USER_OID " and" NOT_A_MEMBER("pg_opclass", "c.oid");

static const char operator_families_sql[] =
    "select 'operator family', " NAME("f.opfname") " || ' using ' || quote_ident(m.amname),"
    " f.oid, f.oid,"
    " pg_get_userbyid(f.opfowner) as owner,"
    MEMBERS("pg_opfamily", "f.oid")
    " d.description as comment"
    " from pg_opfamily f join pg_am m on m.oid = f.opfmethod"
    " join pg_namespace n on n.oid = f.opfnamespace"
    COMMENT_JOIN("pg_opfamily", "f.oid")
    " where f.oid >= " FIRST_USER_OID " and" NOT_A_MEMBER("pg_opfamily", "f.oid");

static const char casts_sql[] =
    "select 'cast', format_type(c.castsource, null) || ' as ' || format_type(c.casttarget, null),"
    " c.oid, c.oid,"
    " case when c.castfunc <> 0 then c.castfunc::regprocedure end as function,"
    " case c.castcontext when 'a' then 'assignment' when 'i' then 'implicit' else 'explicit' end"
    "  as context,"
    " case c.castmethod when 'b' then 'binary' when 'i' then 'inout' else 'function' end as method,"
    " d.description as comment"
    " from pg_cast c" COMMENT_JOIN("pg_cast", "c.oid")
    " where c.oid >= " FIRST_USER_OID
    /* made with a range type */
    "@14{ and not exists (select from pg_range r where r.rngtypid = c.castsource"
    "  and r.rngmultitypid = c.casttarget)}"
    " and" NOT_A_MEMBER("pg_cast", "c.oid");

static const char transforms_sql[] =
    "select 'transform', 'for ' || format_type(t.trftype, null) || ' language '"
    "  || quote_ident(l.lanname), t.oid, t.oid,"
    " " ROUTINE_OR_NULL("t.trffromsql") " as \"from sql\","
    " " ROUTINE_OR_NULL("t.trftosql") " as \"to sql\","
    " d.description as comment"
    " from pg_transform t join pg_language l on l.oid = t.trflang"
    COMMENT_JOIN("pg_transform", "t.oid")
    " where t.oid >= " FIRST_USER_OID " and" NOT_A_MEMBER("pg_transform", "t.oid");

static const char languages_sql[] =
    "select 'language', quote_ident(l.lanname), l.oid, l.oid,"
    " pg_get_userbyid(l.lanowner) as owner,"
    " case when l.lanpltrusted then 'yes' end as trusted,"
    " " ROUTINE_OR_NULL("l.lanplcallfoid") " as handler,"
    " " ROUTINE_OR_NULL("l.laninline") " as inline,"
    " " ROUTINE_OR_NULL("l.lanvalidator") " as validator,"
    " d.description as comment,"
    " " GRANTS("l.lanacl", "acldefault('l', l.lanowner)", "l.lanowner")
    " from pg_language l" COMMENT_JOIN("pg_language", "l.oid")
    " where l.oid >= " FIRST_USER_OID " and" NOT_A_MEMBER("pg_language", "l.oid");

/* clang-format on */

const struct catalog_query postgres_routine_queries[] = {
    {.name = "functions", .sql = functions_sql, .reach = REACH_ROUTINE, .own_class = CLASS_PROC},
    {.name = "aggregates", .sql = aggregates_sql, .reach = REACH_ROUTINE, .own_class = CLASS_PROC},
    {.name = "operators", .sql = operators_sql},
    {.name = "operator classes", .sql = operator_classes_sql},
    {.name = "operator families", .sql = operator_families_sql},
    {.name = "casts", .sql = casts_sql},
    {.name = "transforms", .sql = transforms_sql},
    {.name = "languages", .sql = languages_sql},
    {.name = NULL},
};
