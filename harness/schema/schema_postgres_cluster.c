/*
 * Schemas, extensions, access methods, event triggers, default privileges, the database itself,
 * what was changed on objects that somebody else made, and the whole server's roles. The forms are
 * described in schema_postgres.h.
 */
#include "harness/schema/schema_postgres.h"

/* clang-format off */

/*
 * Schemas. Schema public is compared with a new schema, not with what initdb granted: a public that
 * was dropped and made again grants nothing to others, and must differ.
 */
static const char schemas_sql[] =
    "select 'schema', quote_ident(n.nspname), n.oid, n.oid,"
    " pg_get_userbyid(n.nspowner) as owner,"
    " d.description as comment,"
    " " GRANTS("n.nspacl", "acldefault('n', n.nspowner)", "n.nspowner")
    " from pg_namespace n"
    COMMENT_JOIN("pg_namespace", "n.oid")
    " where (n.oid >= " FIRST_USER_OID " or n.nspname = 'public') and" SCHEMA_FILTER
    "and" NOT_A_MEMBER("pg_namespace", "n.oid");

static const char extensions_sql[] =
    "select 'extension', quote_ident(x.extname), x.oid, x.oid,"
    " quote_ident(n.nspname) as schema,"
    " x.extversion as version,"
    " d.description as comment"
    " from pg_extension x join pg_namespace n on n.oid = x.extnamespace"
    COMMENT_JOIN("pg_extension", "x.oid");

/* ALTER ... DEPENDS ON EXTENSION. */
static const char extension_dependencies_sql[] =
    "select 'dependency on extension', quote_ident(x.extname) || ' of ' || o.type || ' '"
    "  || o.identity, p.refobjid, p.objid"
    " from pg_depend p join pg_extension x on x.oid = p.refobjid,"
    " lateral pg_identify_object(p.classid, p.objid, 0) o"
    " where p.refclassid = 'pg_extension'::regclass and p.deptype = 'x'"
    "  and not (p.classid = 'pg_class'::regclass and p.objid = any($1))";

static const char access_methods_sql[] =
    "select 'access method', quote_ident(m.amname), m.oid, m.oid,"
    " case m.amtype when 't' then 'table' else 'index' end as type,"
    " m.amhandler::regproc as handler,"
    " d.description as comment"
    " from pg_am m"
    COMMENT_JOIN("pg_am", "m.oid")
    " where m.oid >= " FIRST_USER_OID " and" NOT_A_MEMBER("pg_am", "m.oid");

static const char event_triggers_sql[] =
    "select 'event trigger', quote_ident(t.evtname), t.oid, t.oid,"
    " pg_get_userbyid(t.evtowner) as owner,"
    " t.evtevent as event,"
    " (select string_agg(quote_literal(g), ', ' order by g) from unnest(t.evttags) g) as tags,"
    " t.evtfoid::regproc as function,"
    " case t.evtenabled when 'D' then 'disabled' when 'R' then 'replica' when 'A' then 'always' end"
    "  as enabled,"
    " d.description as comment"
    " from pg_event_trigger t"
    COMMENT_JOIN("pg_event_trigger", "t.oid")
    " where t.evtname not in ('" TRACKER_SCHEMA "_ddl', '" TRACKER_SCHEMA "_drop')"
    "  and" NOT_A_MEMBER("pg_event_trigger", "t.oid");

/*
 * Default privileges. Those of one schema add to the others, so that their base is nothing; those of
 * the whole database replace the built-in ones.
 */
#define DEFAULT_PRIVILEGES_BASE                                                                    \
    "case when a.defaclnamespace <> 0 then acldefault('c', a.defaclrole)"                          \
    " else acldefault(case a.defaclobjtype when 'S' then 's' else a.defaclobjtype end::\"char\","  \
    " a.defaclrole) end"

static const char default_privileges_sql[] =
    "select 'default privileges', 'for role ' || quote_ident(pg_get_userbyid(a.defaclrole))"
    "  || coalesce(' in schema ' || quote_ident(n.nspname), '') || ' on ' || case a.defaclobjtype"
    "   when 'r' then 'tables' when 'S' then 'sequences' when 'f' then 'functions'"
    "   when 'T' then 'types' when 'n' then 'schemas' when 'L' then 'large objects' end,"
    " a.oid, a.oid,"
    " " GRANTS("a.defaclacl", DEFAULT_PRIVILEGES_BASE, "a.defaclrole")
    " from pg_default_acl a left join pg_namespace n on n.oid = a.defaclnamespace";

/*
 * Grants that were changed on what initdb or an extension made: only the difference from what they
 * were made with is the user's. Objects outside of pg_catalog have a schema of 0 where they have
 * none.
 */
static const char changed_grants_sql[] =
    "select regexp_replace(o.type, '^.* column$', 'column'), o.identity, a.oid, a.oid,"
    " " GRANTS("a.acl", "a.base", "a.owner")
    " from (select 'pg_class'::regclass as class, c.oid, 0 as sub, c.relnamespace as schema,"
    "   c.relacl as acl, acldefault(case c.relkind when 'S' then 's' else 'r' end::\"char\","
    "   c.relowner) as initial, c.relowner as owner"
    "   from pg_class c where c.relacl is not null and c.relpersistence <> 't'"
    "  union all select 'pg_class'::regclass, c.oid, t.attnum, c.relnamespace, t.attacl,"
    "   acldefault('c', c.relowner), c.relowner from pg_attribute t"
    "   join pg_class c on c.oid = t.attrelid"
    "   where t.attacl is not null and not t.attisdropped and c.relpersistence <> 't'"
    "  union all select 'pg_proc'::regclass, p.oid, 0, p.pronamespace, p.proacl,"
    "   acldefault('f', p.proowner), p.proowner from pg_proc p where p.proacl is not null"
    "  union all select 'pg_type'::regclass, t.oid, 0, t.typnamespace, t.typacl,"
    "   acldefault('T', t.typowner), t.typowner from pg_type t where t.typacl is not null"
    "  union all select 'pg_language'::regclass, l.oid, 0, 0, l.lanacl,"
    "   acldefault('l', l.lanowner), l.lanowner from pg_language l where l.lanacl is not null"
    "  union all select 'pg_namespace'::regclass, n.oid, 0, n.oid, n.nspacl,"
    "   acldefault('n', n.nspowner), n.nspowner from pg_namespace n"
    "   where n.nspacl is not null and n.nspname <> 'public'"
    "  union all select 'pg_foreign_data_wrapper'::regclass, w.oid, 0, 0, w.fdwacl,"
    "   acldefault('F', w.fdwowner), w.fdwowner from pg_foreign_data_wrapper w"
    "   where w.fdwacl is not null"
    "  union all select 'pg_foreign_server'::regclass, s.oid, 0, 0, s.srvacl,"
    "   acldefault('S', s.srvowner), s.srvowner from pg_foreign_server s where s.srvacl is not null"
    "  ) b left join pg_init_privs i on i.classoid = b.class and i.objoid = b.oid"
    "   and i.objsubid = b.sub,"
    " lateral (select b.class, b.oid, b.sub, b.acl, coalesce(i.initprivs, b.initial) as base,"
    "   b.owner) a,"
    " lateral pg_identify_object(a.class, a.oid, a.sub) o"
    " where a.acl <> a.base and ((a.oid < " FIRST_USER_OID
    "   and b.schema in (0, 'pg_catalog'::regnamespace))"
    "  or exists (select from pg_depend e where e.classid = a.class and e.objid = a.oid"
    "   and e.deptype = 'e'))";

/* Security labels of all kinds of objects; those on roles and databases are the server's. */
static const char security_labels_sql[] =
    "select 'security label', quote_ident(l.provider) || ' on ' || o.type || ' ' || o.identity,"
    " l.objoid, l.objoid,"
    " l.label"
    " from pg_seclabel l, lateral pg_identify_object(l.classoid, l.objoid, l.objsubid) o"
    " where l.objoid >= " FIRST_USER_OID
    "  and not (l.classoid = 'pg_class'::regclass and l.objoid = any($1))";

/*
 * Large objects are data; what was granted on them and said about them is not. Their numbers are
 * their names.
 */
static const char large_objects_sql[] =
    "select 'large object', m.oid, m.oid, m.oid,"
    " d.description as comment,"
    " " GRANTS("m.lomacl", "acldefault('L', m.lomowner)", "m.lomowner")
    " from pg_largeobject_metadata m"
    COMMENT_JOIN("pg_largeobject", "m.oid")
    " where m.lomacl is not null or d.description is not null";

/*
 * The database, by a name that all copies of it share. Its owner, encoding and locale are those of
 * the scratch database, not the migration's.
 */
static const char database_sql[] =
    "select 'database', 'current', b.oid, b.oid,"
    " case when b.datconnlimit <> -1 then b.datconnlimit end as \"connection limit\","
    " " OPTIONS("s.setconfig") " as \"setting *\","
    /* a scratch database is marked by its comment */
    " case when d.description !~ '^belay (scratch|kept) ' then d.description end as comment,"
    " " GRANTS("b.datacl", "acldefault('d', b.datdba)", "b.datdba")
    " from pg_database b left join pg_db_role_setting s on s.setdatabase = b.oid and s.setrole = 0"
    /* belay's mark on a scratch database is no comment of the project's */
    " left join pg_shdescription d on d.objoid = b.oid and d.classoid = 'pg_database'::regclass"
    " and d.description !~ '^belay (scratch|kept) [0-9a-f]{16}'"
    " where b.datname = current_database()";

static const char role_in_database_sql[] =
    "select 'role in database', quote_ident(pg_get_userbyid(s.setrole)), s.setrole, s.setrole,"
    " " OPTIONS("s.setconfig") " as \"setting *\""
    " from pg_db_role_setting s join pg_database b on b.oid = s.setdatabase"
    " where b.datname = current_database() and s.setrole <> 0";

/* Roles of the whole server. A password is a secret, and the same one is stored differently each
 * time: only whether there is one is seen, by a superuser. */
static const char roles_sql[] =
    "select 'role', quote_ident(r.rolname), r.oid, r.oid,"
    " case when r.rolsuper then 'yes' end as superuser,"
    " case when r.rolinherit then 'yes' end as inherit,"
    " case when r.rolcreaterole then 'yes' end as createrole,"
    " case when r.rolcreatedb then 'yes' end as createdb,"
    " case when r.rolcanlogin then 'yes' end as login,"
    " case when r.rolreplication then 'yes' end as replication,"
    " case when r.rolbypassrls then 'yes' end as bypassrls,"
    " case when r.rolconnlimit <> -1 then r.rolconnlimit end as \"connection limit\","
    " r.rolvaliduntil as \"valid until\","
    "@super{ (select case when i.rolpassword is not null then 'set' end from pg_authid i"
    "  where i.oid = r.oid) as password,}"
    " " OPTIONS("s.setconfig") " as \"setting *\","
    " d.description as comment"
    " from pg_roles r"
    " left join pg_db_role_setting s on s.setdatabase = 0 and s.setrole = r.oid"
    " left join pg_shdescription d on d.objoid = r.oid and d.classoid = 'pg_authid'::regclass"
    " where r.rolname not like 'pg\\_%'";

/* From 16 on several grantors can each grant the same membership. Memberships among the roles that
 * PostgreSQL made itself are left out. */
static const char memberships_sql[] =
    "select 'membership', quote_ident(pg_get_userbyid(m.member)) || ' in '"
    "  || quote_ident(pg_get_userbyid(m.roleid))"
    "@16{ || ' by ' || quote_ident(pg_get_userbyid(m.grantor))},"
    " m.roleid, m.member,"
    " case when m.admin_option then 'yes' end as \"admin option\""
    "@16{, case when m.inherit_option then 'yes' end as \"inherit option\","
    "  case when m.set_option then 'yes' end as \"set option\"}"
    "@<16{, (select quote_ident(r.rolname) from pg_roles r where r.oid = m.grantor)"
    "  as \"granted by\"}"
    " from pg_auth_members m"
    " where m.member >= " FIRST_USER_OID " or m.member = 10";

/* The two that every server has show only once something was changed on them. */
static const char tablespaces_sql[] =
    "select 'tablespace', quote_ident(t.spcname), t.oid, t.oid,"
    " pg_get_userbyid(t.spcowner) as owner,"
    " nullif(pg_tablespace_location(t.oid), '') as location,"
    " " OPTIONS("t.spcoptions") " as \"option *\","
    " d.description as comment,"
    " " GRANTS("t.spcacl", "acldefault('t', t.spcowner)", "t.spcowner")
    " from pg_tablespace t left join pg_shdescription d on d.objoid = t.oid"
    "  and d.classoid = 'pg_tablespace'::regclass"
    " where t.spcname not in ('pg_default', 'pg_global') or t.spcacl is not null"
    "  or t.spcoptions is not null";

/* Grants on configuration parameters, which belong to the bootstrap superuser. */
static const char parameters_sql[] =
    "select 'parameter', a.parname, a.oid, a.oid,"
    " " GRANTS("a.paracl", "acldefault('p', 10)", "10")
    " from pg_parameter_acl a";

static const char shared_security_labels_sql[] =
    "select 'security label', quote_ident(l.provider) || ' on ' || o.type || ' ' || o.identity,"
    " l.objoid, l.objoid,"
    " l.label"
    " from pg_shseclabel l, lateral pg_identify_object(l.classoid, l.objoid, 0) o"
    " where l.classoid <> 'pg_database'::regclass";

static const char database_security_labels_sql[] =
    "select 'security label', quote_ident(l.provider) || ' on database current',"
    " l.objoid, l.objoid,"
    " l.label"
    " from pg_shseclabel l join pg_database b on b.oid = l.objoid"
    " where l.classoid = 'pg_database'::regclass and b.datname = current_database()";

/* clang-format on */

const struct catalog_query postgres_cluster_queries[] = {
    {.name = "schemas", .sql = schemas_sql},
    {.name = "extensions", .sql = extensions_sql},
    {.name = "dependencies on extensions", .sql = extension_dependencies_sql},
    {.name = "access methods", .sql = access_methods_sql},
    {.name = "event triggers", .sql = event_triggers_sql},
    {.name = "default privileges", .sql = default_privileges_sql, .sparse = true},
    {.name = "changed grants", .sql = changed_grants_sql, .sparse = true},
    {.name = "security labels", .sql = security_labels_sql},
    {.name = "large objects", .sql = large_objects_sql, .sparse = true},
    {.name = "the database", .sql = database_sql},
    {.name = "security labels of the database", .sql = database_security_labels_sql},
    {.name = "roles in the database", .sql = role_in_database_sql},
    {.name = "roles", .sql = roles_sql, .roles = true},
    {.name = "memberships", .sql = memberships_sql, .roles = true},
    {.name = "tablespaces", .sql = tablespaces_sql, .roles = true},
    {.name = "parameters", .sql = parameters_sql, .since = 15, .roles = true, .sparse = true},
    {.name = "security labels of roles", .sql = shared_security_labels_sql, .roles = true},
    {.name = NULL},
};
