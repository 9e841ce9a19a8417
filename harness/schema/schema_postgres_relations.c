/*
 * Tables, views, sequences and everything that belongs to one of them. The forms are described in
 * schema_postgres.h.
 */
#include "harness/schema/schema_postgres.h"

/* clang-format off */

/* c is the relation, n its schema. */
#define RELATION_FILTER                                                                            \
    " c.oid >= " FIRST_USER_OID " and c.relpersistence <> 't' and c.oid <> all($1) "               \
    "@only{and c.oid = any($2)} "

/*
 * The beginning of a foreign key's definition up to its columns, and on to what it references. A
 * name that needs quotes may hold anything: it is read as such.
 */
#define QUOTED_OR(others) "(?:\"(?:[^\"]|\"\")*\"|" others ")*"
#define FOREIGN_KEY "^FOREIGN KEY \\((" QUOTED_OR("[^\")]") ")\\)"
#define REFERENCES " REFERENCES (" QUOTED_OR("[^\"(]") ")\\((" QUOTED_OR("[^\")]") ")\\)"

/* The index that i of pg_inherits is attached to. */
#define PARENT_INDEX(oid)                                                                          \
    "(select " NAME("p.relname") " from pg_inherits h join pg_class p on p.oid = h.inhparent "     \
    "join pg_namespace n on n.oid = p.relnamespace where h.inhrelid = " oid ")"

/* pg_get_viewdef() without pretty-printing, as pg_dump uses it, names every column. */
static const char relations_sql[] =
    "select case c.relkind when 'v' then 'view' when 'm' then 'materialized view'"
    "  when 'f' then 'foreign table' else 'table' end,"
    " " NAME("c.relname") ", c.oid, c.oid,"
    " pg_get_userbyid(c.relowner) as owner,"
    " case when c.relkind in ('r', 'p', 'm') then am.amname end as \"access method\""
    "@rare{,"
    " case c.relpersistence when 'u' then 'unlogged' end as persistence,"
    " s.spcname as tablespace,"
    " " OPTIONS("c.reloptions") " as \"option *\","
    " " OPTIONS("t.reloptions") " as \"toast option *\","
    " case c.relkind when 'p' then pg_get_partkeydef(c.oid) end as \"partition by\","
    " pg_get_expr(c.relpartbound, c.oid) as \"partition bound\","
    " h.partition_of as \"partition of\","
    " h.inherits,"
    "@14{ h.detaching as \"detach pending\",}"
    " case when c.reloftype <> 0 then format_type(c.reloftype, null) end as \"of type\","
    " case c.relreplident when 'n' then 'nothing' when 'f' then 'full' when 'i' then"
    "  coalesce((select 'index ' || quote_ident(ic.relname) from pg_index i"
    "   join pg_class ic on ic.oid = i.indexrelid"
    "   where i.indrelid = c.oid and i.indisreplident), 'index, which was dropped')"
    "  end as \"replica identity\","
    " case when c.relrowsecurity then 'yes' end as \"row level security\","
    " case when c.relforcerowsecurity then 'yes' end as \"force row level security\","
    " case when c.relkind in ('v', 'm') then pg_get_viewdef(c.oid) end as body,"
    " case when c.relkind = 'm' and not c.relispopulated then 'yes' end as \"not populated\","
    " quote_ident(fs.srvname) as server,"
    " " FOREIGN_OPTIONS("ft.ftoptions") " as \"foreign option *\","
    " " GRANTS("c.relacl", "acldefault('r', c.relowner)", "c.relowner")
    "}@comments{, d.description as comment}"
    " from pg_class c join pg_namespace n on n.oid = c.relnamespace"
    " left join pg_am am on am.oid = c.relam"
    "@rare{"
    " left join pg_tablespace s on s.oid = c.reltablespace"
    " left join pg_class t on t.oid = c.reltoastrelid"
    " left join pg_foreign_table ft on ft.ftrelid = c.oid"
    " left join pg_foreign_server fs on fs.oid = ft.ftserver"
    /* the order of several parents decides the order of columns in a dump */
    " left join lateral (select"
    "   string_agg(" NAME("p.relname") ", ', ' order by i.inhseqno)"
    "    filter (where c.relispartition) as partition_of,"
    "   string_agg(" NAME("p.relname") ", ', ' order by i.inhseqno)"
    "    filter (where not c.relispartition) as inherits"
    "@14{, max(case when i.inhdetachpending then 'yes' end) as detaching}"
    "   from pg_inherits i join pg_class p on p.oid = i.inhparent"
    "   join pg_namespace n on n.oid = p.relnamespace where i.inhrelid = c.oid) h on true}"
    "@comments{" COMMENT_JOIN("pg_class", "c.oid") "}"
    " where c.relkind in ('r', 'p', 'v', 'm', 'f') and" RELATION_FILTER;

/*
 * Columns, and the attributes of composite types. A partition's columns are never told apart by
 * whether they are local: a dump restores a partition as a table that is then attached.
 */
static const char columns_sql[] =
    "select case c.relkind when 'c' then 'attribute' else 'column' end,"
    " " NAME("c.relname") " || '.' || quote_ident(a.attname), c.oid, c.oid,"
    "@gaps{ row_number() over (partition by a.attrelid order by a.attnum)}@<gaps{ a.attnum}"
    "  as position,"
    " format_type(a.atttypid, a.atttypmod) as type,"
    "@rare{ case when a.attcollation <> t.typcollation then (select " NAME("l.collname")
    "  from pg_collation l join pg_namespace n on n.oid = l.collnamespace"
    "  where l.oid = a.attcollation) end as collation,}"
    " case when a.attnotnull then 'yes' end as \"not null\","
    " case a.attgenerated when '' then pg_get_expr(ad.adbin, ad.adrelid) end as \"default\","
    "@rare{ case a.attgenerated when 's' then pg_get_expr(ad.adbin, ad.adrelid) || ' stored'"
    "  when 'v' then pg_get_expr(ad.adbin, ad.adrelid) || ' virtual' end as generated,}"
    " case a.attidentity when 'a' then 'always' when 'd' then 'by default' end as identity,"
    " case when a.attstorage <> t.typstorage then case a.attstorage when 'p' then 'plain'"
    "  when 'e' then 'external' when 'm' then 'main' when 'x' then 'extended' end end as storage"
    "@rare{,"
    "@14{ case a.attcompression when 'p' then 'pglz' when 'l' then 'lz4' end as compression,}"
    " case when a.attstattarget >= 0 then a.attstattarget end as statistics,"
    " " OPTIONS("a.attoptions") " as \"option *\","
    " " FOREIGN_OPTIONS("a.attfdwoptions") " as \"foreign option *\","
    " case when a.attinhcount > 0 and not c.relispartition then 'yes' end as inherited,"
    " case when not a.attislocal and not c.relispartition then 'yes' end as \"not local\","
    " " GRANTS("a.attacl", "acldefault('c', c.relowner)", "c.relowner")
    "}@comments{, d.description as comment}"
    " from pg_class c join pg_namespace n on n.oid = c.relnamespace"
    " join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped"
    " join pg_type t on t.oid = a.atttypid"
    " left join pg_attrdef ad on a.atthasdef and ad.adrelid = c.oid and ad.adnum = a.attnum"
    "@comments{ left join pg_description d on d.objoid = c.oid"
    "  and d.classoid = 'pg_class'::regclass and d.objsubid = a.attnum}"
    " where c.relkind in ('r', 'p', 'v', 'm', 'f', 'c') and" RELATION_FILTER;

#define REFERENTIAL_ACTION(action)                                                                 \
    "case " action " when 'a' then 'NO ACTION' when 'r' then 'RESTRICT' when 'c' then 'CASCADE' "  \
    "when 'n' then 'SET NULL' when 'd' then 'SET DEFAULT' end"

/*
 * Constraints of tables. The index behind a key is rendered with its constraint. The foreign keys
 * that PostgreSQL clones for partitions are left out, as pg_dump does: their names depend on the
 * order of events, and their parent says it all. Constraint triggers are with the triggers.
 */
static const char constraints_sql[] =
    "select 'constraint', " NAME("c.relname") " || '.' || quote_ident(k.conname), c.oid, k.oid,"
    " case k.contype when 'p' then 'primary key' when 'u' then 'unique' when 'x' then 'exclude'"
    "  when 'c' then 'check' when 'f' then 'foreign key' when 'n' then 'not null' end as type,"
    " case when k.contype <> 'f' then regexp_replace(pg_get_constraintdef(k.oid),"
    "  '( DEFERRABLE| INITIALLY DEFERRED| NOT VALID| NO INHERIT| NOT ENFORCED)+$', '')"
    "  end as definition,"
    " case k.contype when 'f' then substring(pg_get_constraintdef(k.oid) from"
    "  '" FOREIGN_KEY "') end as columns,"
    " case k.contype when 'f' then regexp_replace(pg_get_constraintdef(k.oid),"
    "  '" FOREIGN_KEY REFERENCES ".*$', '\\2 (\\3)') end as \"references\","
    " case when k.contype = 'f' then case k.confmatchtype when 'f' then 'FULL' when 'p' then"
    "  'PARTIAL' else 'SIMPLE' end end as match,"
    " case k.contype when 'f' then " REFERENTIAL_ACTION("k.confupdtype") " end as \"on update\","
    " case k.contype when 'f' then " REFERENTIAL_ACTION("k.confdeltype")
    "@15{  || case when k.confdelsetcols is null then '' else regexp_replace("
    "   pg_get_constraintdef(k.oid), '" FOREIGN_KEY REFERENCES "[A-Z ]* ON DELETE SET"
    " (?:NULL|DEFAULT) (\\(" QUOTED_OR("[^\")]") "\\)).*$', ' \\4') end}"
    "  end as \"on delete\","
    "@18{ case when k.conperiod then 'yes' end as period,"
    "  case when not k.conenforced then 'yes' end as \"not enforced\",}"
    " case when k.condeferrable then case when k.condeferred then 'initially deferred'"
    "  else 'initially immediate' end end as deferrable,"
    " case when not k.convalidated then 'yes' end as \"not valid\","
    " case when k.connoinherit and k.contype in ('c', 'n') then 'yes' end as \"no inherit\""
    "@rare{,"
    " case when k.coninhcount > 0 and k.contype in ('c', 'n') and not c.relispartition then 'yes'"
    "  end as inherited,"
    " case when not k.conislocal and k.contype in ('c', 'n') and not c.relispartition then 'yes'"
    "  end as \"not local\","
    " " OPTIONS("ic.reloptions") " as \"index option *\","
    " s.spcname as \"index tablespace\","
    " case when i.indisclustered then 'yes' end as clustered,"
    " case when i.indisreplident then 'yes' end as \"replica identity\","
    " case when not i.indisvalid then 'yes' end as invalid,"
    " case when not i.indisready then 'yes' end as \"not ready\","
    " case when ic.relispartition then " PARENT_INDEX("ic.oid") " end as \"partition of\"}"
    "@comments{, id.description as \"index comment\", d.description as comment}"
    " from pg_constraint k join pg_class c on c.oid = k.conrelid"
    " join pg_namespace n on n.oid = c.relnamespace"
    "@rare{ left join pg_index i on k.contype in ('p', 'u', 'x') and i.indexrelid = k.conindid"
    " left join pg_class ic on ic.oid = i.indexrelid"
    " left join pg_tablespace s on s.oid = ic.reltablespace}"
    "@comments{ left join pg_description id on k.contype in ('p', 'u', 'x')"
    "  and id.objoid = k.conindid and id.classoid = 'pg_class'::regclass and id.objsubid = 0"
    COMMENT_JOIN("pg_constraint", "k.oid") "}"
    " where k.contype <> 't' and not (k.contype = 'f' and k.conparentid <> 0)"
    "  and" RELATION_FILTER "@only{and k.conrelid = any($2)}";

/*
 * Indexes that are not behind a constraint. pg_get_indexdef() is taken from its access method on:
 * what comes before are the names, which are the identity and a property of their own.
 */
static const char indexes_sql[] =
    "select 'index', " NAME("ic.relname") ", c.oid, ic.oid,"
    " " NAME("c.relname") " as table,"
    " case when i.indisunique then 'yes' end as unique,"
    " substr(pg_get_indexdef(ic.oid), length('CREATE ' || case when i.indisunique then 'UNIQUE '"
    "   else '' end || 'INDEX ' || quote_ident(ic.relname) || ' ON ' || case ic.relkind when 'I'"
    "   then 'ONLY ' else '' end || " NAME("c.relname") " || ' USING ') + 1) as definition"
    "@rare{,"
    " s.spcname as tablespace,"
    " (select json_object_agg(a.attnum, a.attstattarget) from pg_attribute a"
    "  where a.attrelid = ic.oid and a.attstattarget >= 0) as \"statistics of column *\","
    " case when i.indisclustered then 'yes' end as clustered,"
    " case when i.indisreplident then 'yes' end as \"replica identity\","
    " case when not i.indisvalid then 'yes' end as invalid,"
    " case when not i.indisready then 'yes' end as \"not ready\","
    " case when ic.relispartition then " PARENT_INDEX("ic.oid") " end as \"partition of\"}"
    "@comments{, d.description as comment}"
    " from pg_index i join pg_class ic on ic.oid = i.indexrelid"
    " join pg_class c on c.oid = i.indrelid join pg_namespace n on n.oid = c.relnamespace"
    "@rare{ left join pg_tablespace s on s.oid = ic.reltablespace}"
    "@comments{" COMMENT_JOIN("pg_class", "ic.oid") "}"
    " where c.relkind in ('r', 'p', 'm') and not exists (select from pg_constraint k"
    "   where k.conrelid = i.indrelid and k.conindid = i.indexrelid and k.contype in ('p', 'u', 'x'))"
    "  and" RELATION_FILTER "@only{and i.indrelid = any($2)}";

/* Extended statistics may live in another schema than their table. */
static const char statistics_sql[] =
    "select 'statistics', x.name, c.oid, x.oid,"
    " " NAME("c.relname") " as table,"
    " pg_get_userbyid(x.stxowner) as owner,"
    " ltrim(substr(pg_get_statisticsobjdef(x.oid), length('CREATE STATISTICS ' || x.name) + 1))"
    "  as definition,"
    "@13{ case when x.stxstattarget >= 0 then x.stxstattarget end as statistics,}"
    " d.description as comment"
    " from (select s.*, " NAME("s.stxname") " as name from pg_statistic_ext s"
    "  join pg_namespace n on n.oid = s.stxnamespace) x"
    " join pg_class c on c.oid = x.stxrelid join pg_namespace n on n.oid = c.relnamespace"
    COMMENT_JOIN("pg_statistic_ext", "x.oid")
    " where" RELATION_FILTER "@only{and x.stxrelid = any($2)}";

/*
 * Triggers. Those that PostgreSQL clones for partitions are left out unless they are enabled in
 * another way than the one they come from.
 */
static const char triggers_sql[] =
    "select 'trigger', " NAME("c.relname") " || '.' || quote_ident(t.tgname), c.oid, t.oid,"
    " regexp_replace(substr(pg_get_triggerdef(t.oid), 1, strpos(pg_get_triggerdef(t.oid),"
    "   ' TRIGGER ')), '^CREATE ', '') || substr(pg_get_triggerdef(t.oid), strpos("
    "   pg_get_triggerdef(t.oid), ' TRIGGER ') + length(' TRIGGER ' || quote_ident(t.tgname) || ' '))"
    "  as definition,"
    " case t.tgenabled when 'D' then 'disabled' when 'R' then 'replica' when 'A' then 'always' end"
    "  as enabled,"
    " d.description as comment"
    " from pg_trigger t join pg_class c on c.oid = t.tgrelid"
    " join pg_namespace n on n.oid = c.relnamespace"
    COMMENT_JOIN("pg_trigger", "t.oid")
    " where not t.tgisinternal"
    "@13{ and (t.tgparentid = 0 or t.tgenabled <> (select u.tgenabled from pg_trigger u"
    "   where u.oid = t.tgparentid))}"
    "  and" RELATION_FILTER "@only{and t.tgrelid = any($2)}";

/* Rules. A view's own SELECT rule is its definition. */
static const char rules_sql[] =
    "select 'rule', " NAME("c.relname") " || '.' || quote_ident(r.rulename), c.oid, r.oid,"
    " substr(pg_get_ruledef(r.oid), length('CREATE RULE ' || quote_ident(r.rulename) || ' ') + 1)"
    "  as body,"
    " case r.ev_enabled when 'D' then 'disabled' when 'R' then 'replica' when 'A' then 'always' end"
    "  as enabled,"
    " d.description as comment"
    " from pg_rewrite r join pg_class c on c.oid = r.ev_class"
    " join pg_namespace n on n.oid = c.relnamespace"
    COMMENT_JOIN("pg_rewrite", "r.oid")
    " where r.rulename <> '_RETURN' and" RELATION_FILTER "@only{and r.ev_class = any($2)}";

/* Policies, also those that were put on the tables of extensions. */
static const char policies_sql[] =
    "select 'policy', " NAME("c.relname") " || '.' || quote_ident(p.polname), c.oid, p.oid,"
    " case p.polcmd when 'r' then 'SELECT' when 'a' then 'INSERT' when 'w' then 'UPDATE'"
    "  when 'd' then 'DELETE' else 'ALL' end as command,"
    " case when p.polpermissive then 'permissive' else 'restrictive' end as type,"
    " (select string_agg(case o when 0 then 'PUBLIC' else quote_ident(pg_get_userbyid(o)) end, ', '"
    "   order by case o when 0 then 'PUBLIC' else quote_ident(pg_get_userbyid(o)) end)"
    "  from unnest(p.polroles) o) as roles,"
    " pg_get_expr(p.polqual, p.polrelid) as using,"
    " pg_get_expr(p.polwithcheck, p.polrelid) as \"with check\","
    " d.description as comment"
    " from pg_policy p join pg_class c on c.oid = p.polrelid"
    " join pg_namespace n on n.oid = c.relnamespace"
    COMMENT_JOIN("pg_policy", "p.oid")
    " where (c.oid <> all($1) or exists (select from pg_depend e"
    "   where e.classid = 'pg_class'::regclass and e.objid = c.oid and e.deptype = 'e'))"
    " @only{and p.polrelid = any($2)}";

/* Sequences, those behind identity columns included. The value they stand at is data. */
static const char sequences_sql[] =
    "select 'sequence', " NAME("c.relname") ", c.oid, c.oid,"
    " pg_get_userbyid(c.relowner) as owner,"
    " case c.relpersistence when 'u' then 'unlogged' end as persistence,"
    " format_type(q.seqtypid, null) as type,"
    " q.seqstart as start,"
    " q.seqincrement as increment,"
    " q.seqmin as minvalue,"
    " q.seqmax as maxvalue,"
    " q.seqcache as cache,"
    " case when q.seqcycle then 'yes' end as cycle,"
    " case o.deptype when 'a' then o.owner end as \"owned by\","
    " case o.deptype when 'i' then o.owner end as \"identity of\""
    "@rare{, " GRANTS("c.relacl", "acldefault('s', c.relowner)", "c.relowner") "}"
    "@comments{, d.description as comment}"
    " from pg_sequence q join pg_class c on c.oid = q.seqrelid"
    " join pg_namespace n on n.oid = c.relnamespace"
    " left join lateral (select p.deptype, " NAME("r.relname") " || '.' || quote_ident(a.attname)"
    "   as owner from pg_depend p join pg_class r on r.oid = p.refobjid"
    "   join pg_namespace n on n.oid = r.relnamespace"
    "   join pg_attribute a on a.attrelid = r.oid and a.attnum = p.refobjsubid"
    "   where p.classid = 'pg_class'::regclass and p.objid = c.oid and p.objsubid = 0"
    "   and p.refclassid = 'pg_class'::regclass and p.deptype in ('a', 'i')) o on true"
    "@comments{" COMMENT_JOIN("pg_class", "c.oid") "}"
    " where" RELATION_FILTER "@only{and q.seqrelid = any($2)}";

/* Composite types. Comment and grants are their row type's. */
static const char composite_types_sql[] =
    "select 'composite type', " NAME("c.relname") ", c.oid, t.oid,"
    " pg_get_userbyid(t.typowner) as owner,"
    " d.description as comment,"
    " " GRANTS("t.typacl", "acldefault('T', t.typowner)", "t.typowner")
    " from pg_class c join pg_type t on t.oid = c.reltype"
    " join pg_namespace n on n.oid = c.relnamespace"
    COMMENT_JOIN("pg_type", "t.oid")
    " where c.relkind = 'c' and" RELATION_FILTER;

/* clang-format on */

/*
 * What the blocks @rare, @gaps and @comments render, as conditions on c of pg_class with `attrs`,
 * what its columns have: each is true whenever one of its blocks has something to say.
 */
const char postgres_relation_attrs[] =
    "case when c.relkind = 'S' then 0 else (select bit_or(case when a.attisdropped then 2"
    " when a.attcollation not in (0, 100)" /* 100: the default collation; 19, 1003: name, name[] */
    "  or (a.attcollation <> 0 and (a.atttypid in (19, 1003) or a.atttypid >= 10000))"
    "  or a.attgenerated <> ''@14{ or a.attcompression <> ''} or a.attstattarget >= 0"
    "  or a.attoptions is not null or a.attfdwoptions is not null or a.attinhcount > 0"
    "  or not a.attislocal or a.attacl is not null then 1 else 0 end)"
    " from pg_attribute a where a.attrelid = c.oid and a.attnum > 0) end";
const char postgres_relation_rare[] =
    "c.relkind not in ('r', 'S') or c.relpersistence <> 'p' or c.reltablespace <> 0"
    " or c.reloptions is not null or c.relacl is not null or c.relispartition"
    " or c.reloftype <> 0 or (c.relkind = 'r' and c.relreplident <> 'd')"
    " or c.relrowsecurity or c.relforcerowsecurity or c.attrs & 1 <> 0"
    " or (c.reltoastrelid <> 0 and (select t.reloptions is not null from pg_class t"
    "  where t.oid = c.reltoastrelid))"
    " or exists (select from pg_inherits h where h.inhrelid = c.oid)"
    " or (c.relhasindex and exists (select from pg_index i where i.indrelid = c.oid"
    "  and (i.indisclustered or i.indisreplident or not i.indisvalid or not i.indisready"
    "   or i.indexprs is not null or (select x.reloptions is not null or x.reltablespace <> 0"
    "    or x.relispartition from pg_class x where x.oid = i.indexrelid))))";
const char postgres_relation_gaps[] = "c.attrs & 2 <> 0";
const char postgres_relation_comments[] =
    "exists (select from pg_description where objoid >= " FIRST_USER_OID ")";

#define TABLE_LIKE "c.relkind in ('r', 'p', 'v', 'm', 'f')"

const struct catalog_query postgres_relation_queries[] = {
    {.name = "relations",
     .sql = relations_sql,
     .reach = REACH_RELATION,
     .own_class = CLASS_RELATION,
     .when = TABLE_LIKE},
    {.name = "columns",
     .sql = columns_sql,
     .reach = REACH_RELATION,
     .own_class = CLASS_RELATION,
     .when = TABLE_LIKE " or c.relkind = 'c'"},
    {.name = "constraints",
     .sql = constraints_sql,
     .reach = REACH_RELATION,
     .own_class = CLASS_CONSTRAINT,
     .when = "c.relkind in ('r', 'p', 'f')"},
    {.name = "indexes",
     .sql = indexes_sql,
     .reach = REACH_RELATION,
     .own_class = CLASS_RELATION,
     .when = "c.relhasindex"},
    {.name = "statistics",
     .sql = statistics_sql,
     .reach = REACH_RELATION,
     .own_class = CLASS_STATISTICS,
     .when = "exists (select from pg_statistic_ext s where s.stxrelid = c.oid)"},
    {.name = "triggers",
     .sql = triggers_sql,
     .reach = REACH_RELATION,
     .own_class = CLASS_TRIGGER,
     .when = "c.relhastriggers and exists (select from pg_trigger t where t.tgrelid = c.oid and "
             "not t.tgisinternal)"},
    {.name = "rules",
     .sql = rules_sql,
     .reach = REACH_RELATION,
     .own_class = CLASS_REWRITE,
     .when = "c.relhasrules"},
    {.name = "policies",
     .sql = policies_sql,
     .reach = REACH_RELATION,
     .own_class = CLASS_POLICY,
     .when = "exists (select from pg_policy p where p.polrelid = c.oid)"},
    {.name = "sequences",
     .sql = sequences_sql,
     .reach = REACH_RELATION,
     .own_class = CLASS_RELATION,
     .when = "c.relkind = 'S'"},
    {.name = "composite types",
     .sql = composite_types_sql,
     .reach = REACH_RELATION,
     .own_class = CLASS_TYPE,
     .when = "c.relkind = 'c'"},
    {.name = NULL},
};
