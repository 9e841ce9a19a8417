/*
 * The tracker: reads again only what the last step changed.
 *
 * Two event triggers write into a table which objects each command touched. A read empties that log
 * and compares a fingerprint of what event triggers do not see. When every logged command is one
 * whose reach is known, the scopes it touched (a relation with all that is rendered with it, a
 * routine, a type) are read again and take the place of the old ones. Whenever the reach may be
 * larger, the whole catalog is read: a name that others render was changed, a grant, a command that
 * is not in the list below. What nobody can see are writes to the catalogs themselves; the final
 * read of a check is therefore always a full one.
 */
#include <stdlib.h>
#include <string.h>

#include "harness/schema/schema_impl.h"
#include "harness/schema/schema_postgres.h"

/*
 * What is installed. The log has no index and no order: rows of a transaction appear when it
 * commits, and vanish with it when it is rolled back. The functions run as their owner, so that
 * every role may run DDL. ENABLE ALWAYS: also with session_replication_role = replica.
 *
 * What belongs to a table (its triggers, policies, rules, constraints, defaults) is logged as the
 * table when it is dropped: afterwards nothing would tell which table it was.
 */
static const char install_sql[] =
    "create schema " TRACKER_SCHEMA ";"
    "create unlogged table " TRACKER_SCHEMA ".log"
    " (class oid, oid oid, sub int, tag text, type text, identity text);"
    "create function " TRACKER_SCHEMA ".ddl() returns event_trigger language plpgsql"
    " security definer set search_path = pg_catalog as $$begin"
    " insert into " TRACKER_SCHEMA ".log select classid, objid, objsubid, command_tag, object_type,"
    "  null from pg_event_trigger_ddl_commands() where schema_name is distinct from 'pg_temp';"
    " end$$;"
    "create function " TRACKER_SCHEMA ".drop() returns event_trigger language plpgsql"
    " security definer set search_path = pg_catalog as $$begin"
    " insert into " TRACKER_SCHEMA ".log select case when part then 'pg_class'::regclass::oid"
    "  else classid end, case when part then to_regclass(format('%I.%I', address_names[1],"
    "  address_names[2]))::oid else objid end, objsubid, '" TRACKER_SCHEMA " drop', object_type,"
    "  object_identity from (select *, object_type in ('trigger', 'policy', 'rule',"
    "   'table constraint', 'default value') as part from pg_event_trigger_dropped_objects()"
    "   where not is_temporary and object_type <> 'toast table') d;"
    " end$$;"
    "create event trigger " TRACKER_SCHEMA "_ddl on ddl_command_end"
    " execute function " TRACKER_SCHEMA ".ddl();"
    "create event trigger " TRACKER_SCHEMA "_drop on sql_drop"
    " execute function " TRACKER_SCHEMA ".drop();"
    "alter event trigger " TRACKER_SCHEMA "_ddl enable always;"
    "alter event trigger " TRACKER_SCHEMA "_drop enable always;";

/* The event triggers first, so that they do not see the rest. */
static const char remove_sql[] = "set client_min_messages = warning;"
                                 "drop event trigger if exists " TRACKER_SCHEMA "_ddl;"
                                 "drop event trigger if exists " TRACKER_SCHEMA "_drop;"
                                 "drop schema if exists " TRACKER_SCHEMA " cascade;"
                                 "reset client_min_messages;";

/*
 * Planning a narrowed query costs more than running it. Its plan is kept, and made when the
 * database is small: what looks cheap then is a scan of catalogs that grow with every revision, so
 * only index scans are left to choose. A full read is planned freely.
 */
static const char narrow_plans_sql[] =
    "set plan_cache_mode = force_generic_plan; set enable_seqscan = off;"
    " set enable_hashjoin = off; set enable_mergejoin = off; set enable_material = off;"
    " set enable_memoize = off; set enable_bitmapscan = off;"
    /* what is read in one round trip is read in one view, without a BEGIN of its own */
    " set default_transaction_isolation = 'repeatable read'";

#define DROP_TAG TRACKER_SCHEMA " drop"

/*
 * Empties the log, and says in the same round trip what event triggers do not see: the database and
 * what belongs to the whole server, event triggers (also our own), indexes that CLUSTER or a failed
 * CREATE INDEX CONCURRENTLY marked, dependencies on extensions, collations that were imported. Rows
 * are known by their number and the sum of the transactions that wrote them: each that is written
 * or takes the place of another makes the sum larger.
 */
/* clang-format off */
static const char changes_sql[] =
    "with gone as (delete from " TRACKER_SCHEMA ".log"
    "  returning class, oid, sub, tag, type, identity)"
    " select f.fingerprint, g.class, g.oid, g.sub, g.tag, g.type, g.identity, f.whole from (select"
    " (select count(*) from pg_event_trigger where evtenabled = 'A' and evtname in"
    "  ('" TRACKER_SCHEMA "_ddl', '" TRACKER_SCHEMA "_drop')) as whole, concat_ws("
    "' ', (select concat_ws(',', xmin, datacl::text, datconnlimit) from pg_database"
    "  where datname = current_database()),"
    " (select concat_ws(',', count(*), sum(w.xmin::text::int8)) from ("
    "  select xmin from pg_db_role_setting"
    "  union all select xmin from pg_authid"
    "  union all select xmin from pg_auth_members"
    "  union all select xmin from pg_tablespace"
    "  union all select xmin from pg_shdescription"
    "  union all select xmin from pg_shseclabel"
    "  union all select xmin from pg_event_trigger"
    "  union all select d.xmin from pg_event_trigger t, lateral (select c.xmin"
    "   from pg_description c where c.objoid = t.oid"
    "   and c.classoid = 'pg_event_trigger'::regclass offset 0) d"
    "  union all select xmin from pg_subscription"
    "@15{  union all select xmin from pg_parameter_acl}"
    "  union all select xmin from pg_largeobject_metadata where lomacl is not null"
    "  union all select xmin from pg_depend where refclassid = 'pg_extension'::regclass"
    "   and deptype = 'x'"
    "  union all select xmin from pg_collation where oid >= " FIRST_USER_OID ") w),"
    " (select string_agg(concat(indexrelid, indisclustered, indisvalid, indisready), ',')"
    "  from pg_index where (indisclustered or not indisvalid or not indisready)"
    "  and ctid >= '(0,0)')" /* the whole table, where index scans alone are allowed */
    ") as fingerprint) f left join gone g on true";
/* clang-format on */

/*
 * The relations that touched objects ($1 their classes, $2 their oids) are rendered with: an index
 * with its table. Descendants are included, for what is done to a parent may reach them, and the
 * sequences that a table owns. The second column says whether one of them has, or had, descendants;
 * the third, a digit for each query of relations in their order, whether it would find anything,
 * then one for each other member of struct catalog_needs, then whether one may be to leave out: its
 * name is somewhere in $3, or the tracker made it.
 * Sub-selects instead of joins, and OFFSET 0, because each row is to be one look into an index.
 *
 * @rare is left out when all objects are relations and indexes. Then no descendant is found: the
 * second column says whether the whole query has to be asked.
 */
static const char resolve_sql[] =
    "with recursive named(oid) as (select distinct oid from (select case t.class"
    "  when 'pg_class'::regclass then coalesce("
    "   (select i.indrelid from pg_index i where i.indexrelid = t.oid),"
    "   (select c.oid from pg_class c where c.oid = t.oid))"
    "@rare{"
    "  when 'pg_trigger'::regclass then"
    "   (select g.tgrelid from pg_trigger g where g.oid = t.oid)"
    "  when 'pg_policy'::regclass then"
    "   (select p.polrelid from pg_policy p where p.oid = t.oid)"
    "  when 'pg_rewrite'::regclass then"
    "   (select r.ev_class from pg_rewrite r where r.oid = t.oid)"
    "  when 'pg_constraint'::regclass then"
    "   (select nullif(k.conrelid, 0) from pg_constraint k where k.oid = t.oid)"
    "  when 'pg_statistic_ext'::regclass then"
    "   (select s.stxrelid from pg_statistic_ext s where s.oid = t.oid)"
    "  when 'pg_type'::regclass then"
    "   (select nullif(y.typrelid, 0) from pg_type y where y.oid = t.oid)"
    "} end as oid"
    "  from unnest($1::oid[], $2::oid[]) t(class, oid) offset 0) x where oid is not null),"
    "@<rare{ tree(oid) as not materialized (select oid from named),}"
    "@rare{ tree(oid) as (select oid from named"
    "  union select i.inhrelid from tree, lateral (select h.inhrelid from pg_inherits h"
    "   where h.inhparent = tree.oid offset 0) i),}"
    " related(oid) as (select oid from tree"
    "  union select d.objid from tree, lateral (select p.objid from pg_depend p"
    "   where p.refclassid = 'pg_class'::regclass and p.refobjid = tree.oid"
    "   and p.classid = 'pg_class'::regclass and p.deptype in ('a', 'i') offset 0) d"
    "   where (select s.relkind from pg_class s where s.oid = d.objid) = 'S')"
    " select array_agg(x.oid), (select bool_or((select c.relhassubclass from pg_class c"
    "  where c.oid = named.oid)) from named), concat(";

#define FIND "coalesce(bool_or(%s), false)::int"
#define RESOLVE_END_SQL                                                                            \
    ") from (select oid from related) x left join lateral (select *, %s as attrs from pg_class c"  \
    " where c.oid = x.oid offset 0) c on true"

/* Commands whose reach is the scopes of the objects they name. ALTER TABLE has a longer one when
 * the table has descendants: what it detaches is no longer among them. */
static const char *const known_tags[] = {
    "ALTER AGGREGATE",
    "ALTER FUNCTION",
    "ALTER INDEX",
    "ALTER MATERIALIZED VIEW",
    "ALTER POLICY",
    "ALTER PROCEDURE",
    "ALTER ROUTINE",
    "ALTER SEQUENCE",
    "ALTER STATISTICS",
    "ALTER TABLE",
    "ALTER TRIGGER",
    "ALTER VIEW",
    "COMMENT",
    "CREATE AGGREGATE",
    "CREATE DOMAIN",
    "CREATE FOREIGN TABLE",
    "CREATE FUNCTION",
    "CREATE INDEX",
    "CREATE MATERIALIZED VIEW",
    "CREATE POLICY",
    "CREATE PROCEDURE",
    "CREATE RULE",
    "CREATE SEQUENCE",
    "CREATE STATISTICS",
    "CREATE TABLE",
    "CREATE TABLE AS",
    "CREATE TRIGGER",
    "CREATE TYPE",
    "CREATE VIEW",
    "REFRESH MATERIALIZED VIEW",
    "SELECT INTO",
    DROP_TAG,
};

/* Classes of objects that are scopes or are rendered with one. */
static const uint32_t known_classes[] = {
    CLASS_RELATION, CLASS_TYPE,   CLASS_PROC,       CLASS_CONSTRAINT,
    CLASS_TRIGGER,  CLASS_POLICY, CLASS_STATISTICS, CLASS_REWRITE,
};

/* With more scopes than this a full read costs less. */
#define MANY_SCOPES 200

struct oids {
    uint32_t *v;
    size_t n, cap;
};

struct postgres_tracker {
    struct schema_tracker base;
    struct catalog_reader reader;
    bool instrumented;
    char *fingerprint; /* as of last; NULL: unknown */
    char *resolve[2];  /* resolve_sql with what the relation queries want to know: lean, whole */
    char *names;       /* of version tables, one after the other */
    struct snapshot *last; /* NULL: nothing read yet, or the last read failed */
    uint32_t sorted_out;   /* relations up to this oid were sorted into those to leave out or not */
    size_t full_reads;
    bool labelled; /* last holds objects that others are named in, see find_labels() */
};

/* What one log says. */
struct change_log {
    struct oids classes, objects;           /* touched, and not gone: pairs */
    struct oids relations, routines, types; /* scopes to read again */
    struct strv dropped_columns;            /* identities */
    struct catalog_needs needs;             /* of relations */
    bool suspects;                          /* some relations may be version tables */
    bool routines_live, types_live;         /* some of them were not dropped */
    bool alters_table;
    bool unknown; /* the reach is not known: read everything */
};

static void oids_add(struct oids *o, uint32_t oid)
{
    for (size_t i = 0; i < o->n; i++)
        if (o->v[i] == oid)
            return;
    o->v = xgrow(o->v, o->n, &o->cap, sizeof(*o->v));
    o->v[o->n++] = oid;
}

static bool oids_have(const struct oids *o, uint32_t oid)
{
    for (size_t i = 0; i < o->n; i++)
        if (o->v[i] == oid)
            return true;
    return false;
}

/* The caller owns the result: "{1,2}". */
static char *oids_literal(const struct oids *o)
{
    struct str s = {0};
    for (size_t i = 0; i < o->n; i++)
        str_addf(&s, "%c%u", i ? ',' : '{', o->v[i]);
    str_add(&s, o->n ? "}" : "{}");
    return str_take(&s);
}

static void oids_parse(struct oids *o, const char *literal)
{
    for (const char *p = literal; p && (*p == '{' || *p == ',') && p[1] != '}';) {
        char *end;
        oids_add(o, (uint32_t)strtoul(p + 1, &end, 10));
        p = end;
    }
}

static void change_log_release(struct change_log *l)
{
    free(l->classes.v);
    free(l->objects.v);
    free(l->relations.v);
    free(l->routines.v);
    free(l->types.v);
    strv_release(&l->dropped_columns);
}

static bool known_tag(const char *tag)
{
    for (size_t i = 0; i < ARRAY_LEN(known_tags); i++)
        if (strcmp(known_tags[i], tag) == 0)
            return true;
    return false;
}

/* What is logged as the table that it belonged to; the list is that of the drop trigger. */
static bool is_part(const char *type)
{
    static const char *const parts[] = {"trigger", "policy", "rule", "table constraint",
                                        "default value"};
    for (size_t i = 0; i < ARRAY_LEN(parts); i++)
        if (strcmp(parts[i], type) == 0)
            return true;
    return false;
}

static bool known_class(uint32_t class)
{
    for (size_t i = 0; i < ARRAY_LEN(known_classes); i++)
        if (known_classes[i] == class)
            return true;
    return false;
}

static void touch(struct change_log *l, uint32_t class, uint32_t oid, bool gone)
{
    if (class == CLASS_RELATION)
        oids_add(&l->relations, oid);
    else if (class == CLASS_PROC)
        oids_add(&l->routines, oid);
    else if (class == CLASS_TYPE)
        oids_add(&l->types, oid);
    if (gone)
        return;
    l->routines_live |= class == CLASS_PROC;
    l->types_live |= class == CLASS_TYPE;
    l->classes.v = xgrow(l->classes.v, l->classes.n, &l->classes.cap, sizeof(uint32_t));
    l->classes.v[l->classes.n++] = class;
    l->objects.v = xgrow(l->objects.v, l->objects.n, &l->objects.cap, sizeof(uint32_t));
    l->objects.v[l->objects.n++] = oid;
}

/* An index or statistics object was dropped: its table is rendered again. */
static void touch_table_of(struct change_log *l, const struct snapshot *last, const char *type,
                           const char *identity)
{
    const char *kind = strcmp(type, "index") == 0               ? "index"
                       : strcmp(type, "statistics object") == 0 ? "statistics"
                                                                : NULL;
    const struct object *o = kind ? snapshot_find(last, kind, identity) : NULL;
    if (o)
        touch(l, CLASS_RELATION, o->scope_oid, false);
}

static void change_log_read(struct change_log *l, const struct postgres_tracker *t,
                            const struct rows *rows)
{
    for (int i = 0; i < rows_count(rows) && !l->unknown; i++) {
        const char *class = rows_get(rows, i, 1), *oid = rows_get(rows, i, 2);
        const char *sub = rows_get(rows, i, 3), *tag = rows_get(rows, i, 4);
        const char *type = rows_get(rows, i, 5), *identity = rows_get(rows, i, 6);
        if (!tag) /* no row: only the fingerprint */
            continue;
        bool dropped = strcmp(tag, DROP_TAG) == 0;
        if (dropped && class && !oid) /* part of a table that is gone too */
            continue;
        uint32_t class_oid = class ? (uint32_t)strtoul(class, NULL, 10) : 0;
        if (!oid || !type || !known_tag(tag) || !known_class(class_oid) ||
            strcmp(type, "domain constraint") == 0 || (dropped && t->labelled)) {
            l->unknown = true;
            return;
        }
        l->alters_table |= strcmp(tag, "ALTER TABLE") == 0;
        bool whole = dropped && strcmp(sub, "0") == 0;
        touch(l, class_oid, (uint32_t)strtoul(oid, NULL, 10), whole && !is_part(type));
        if (dropped && !whole)
            strv_add(&l->dropped_columns, identity);
        else if (dropped)
            touch_table_of(l, t->last, type, identity);
    }
}

/* The text of the query that resolve() runs; owned by the caller. */
static char *resolve_text(int major, bool rare)
{
    _cleanup_str_ struct str s = {0};
    str_add(&s, resolve_sql);
    for (const struct catalog_query *q = postgres_relation_queries; q->name; q++)
        str_addf(&s, FIND ", ", q->when ? q->when : "true");
    str_addf(&s, FIND ", " FIND ", (%s)::int, " FIND, postgres_relation_rare,
             postgres_relation_gaps, postgres_relation_comments,
             "strpos($3, quote_ident(c.relname)) > 0 or c.relnamespace::regnamespace::text = "
             "'" TRACKER_SCHEMA "'");
    str_addf(&s, RESOLVE_END_SQL, postgres_relation_attrs);
    struct str expanded = {0};
    catalog_expand(s.p, &(struct catalog_text){.major = major, .needs = {.rare = rare}}, &expanded);
    return str_take(&expanded);
}

static int resolve(struct postgres_tracker *t, struct change_log *l, struct err *err)
{
    if (l->objects.n == 0) /* everything is gone */
        return 0;
    bool rare = false;
    for (size_t i = 0; i < l->classes.n; i++)
        rare |= l->classes.v[i] != CLASS_RELATION;
    _cleanup_free_ char *classes = oids_literal(&l->classes);
    _cleanup_free_ char *objects = oids_literal(&l->objects);
    _cleanup_rows_ struct rows *rows = NULL;
    const char *const values[] = {classes, objects, t->names};
    if (db_query_prepared(t->reader.db, t->resolve[rare], values, 3, &rows, err) < 0)
        return -1;
    if (!rare && str_eq(rows_get(rows, 0, 1), "t")) {
        rows_free(TAKE_PTR(rows));
        if (db_query_prepared(t->reader.db, t->resolve[1], values, 3, &rows, err) < 0)
            return -1;
    }
    oids_parse(&l->relations, rows_get(rows, 0, 0));
    const char *finds = rows_get(rows, 0, 2);
    size_t i = 0;
    l->needs.queries = 0;
    for (const struct catalog_query *q = postgres_relation_queries; q->name; q++, i++)
        l->needs.queries |= (finds[i] == '1' ? 1u : 0u) << i;
    l->needs.rare = finds[i] == '1';
    l->needs.gaps = finds[i + 1] == '1';
    l->needs.comments = finds[i + 2] == '1';
    l->suspects = finds[i + 3] == '1';
    if (l->relations.n + l->routines.n + l->types.n > MANY_SCOPES)
        l->unknown = true;
    if (l->alters_table && str_eq(rows_get(rows, 0, 1), "t"))
        l->unknown = true;
    return 0;
}

static bool in_scope(const struct change_log *l, const struct object *o)
{
    switch (o->scope_class) {
    case CLASS_RELATION:
        return oids_have(&l->relations, o->scope_oid);
    case CLASS_PROC:
        return oids_have(&l->routines, o->scope_oid);
    case CLASS_TYPE:
        return oids_have(&l->types, o->scope_oid);
    default:
        return false;
    }
}

static bool drop_in_scope(const struct object *o, void *log)
{
    return in_scope(log, o);
}

/* The object that gives a scope its name. */
static bool is_scope_itself(const struct object *o)
{
    return o->own_oid == o->scope_oid && strcmp(o->kind, "column") != 0 &&
           strcmp(o->kind, "attribute") != 0;
}

/*
 * True when what changed shows in other scopes: a name was changed, the scope's own or a column's
 * (it vanished and was not dropped; or was dropped and is there again, under what may have been
 * another column's name), or a column lost its identity, and with it a sequence that no event tells
 * of.
 */
static bool shows_elsewhere(const struct change_log *l, const struct snapshot *last,
                            const struct snapshot *fresh)
{
    for (size_t i = 0; i < l->dropped_columns.n; i++)
        if (snapshot_find(fresh, "column", l->dropped_columns.v[i]))
            return true;
    for (size_t i = 0; i < last->n; i++) {
        const struct object *old = last->objects[i];
        bool column = strcmp(old->kind, "column") == 0;
        if (!in_scope(l, old) || (!column && !is_scope_itself(old)))
            continue;
        const struct object *now = snapshot_find(fresh, old->kind, old->identity);
        if (now) {
            if (object_get(old, "identity") && !object_get(now, "identity"))
                return true;
            continue;
        }
        if (column && strv_has(&l->dropped_columns, old->identity))
            continue;
        for (size_t k = 0; k < fresh->n; k++) {
            const struct object *new = fresh->objects[k];
            if (new->scope_class == old->scope_class &&new->scope_oid == old->scope_oid)
                return true; /* the scope lives on, with another name in it */
        }
    }
    return false;
}

/* Oids grow: only relations that are new can be version tables that are not yet known as such.
 * What extensions make is read in full. */
static int sort_out(struct postgres_tracker *t, const struct oids *relations, const char *literal,
                    struct err *err)
{
    uint32_t newest = 0;
    for (size_t i = 0; i < relations->n; i++)
        newest = relations->v[i] > newest ? relations->v[i] : newest;
    if (newest <= t->sorted_out)
        return 0;
    if (catalog_left_out(&t->reader, literal, err) < 0)
        return -1;
    t->sorted_out = newest;
    return 0;
}

/* Adds the scopes of l as they are now to s. */
static int read_scopes(struct postgres_tracker *t, const struct change_log *l, struct snapshot *s,
                       struct err *err)
{
    const struct {
        enum catalog_reach reach;
        const struct oids *oids;
        struct catalog_needs needs;
        bool live;
    } scopes[] = {
        {REACH_RELATION, &l->relations, l->needs, l->needs.queries != 0},
        {REACH_ROUTINE, &l->routines, NEEDS_ALL, l->routines_live},
        {REACH_TYPE, &l->types, NEEDS_ALL, l->types_live},
    };
    for (size_t i = 0; i < ARRAY_LEN(scopes); i++) {
        if (!scopes[i].live) /* all of them are gone */
            continue;
        _cleanup_free_ char *oids = oids_literal(scopes[i].oids);
        if (i == 0 && l->suspects && sort_out(t, scopes[i].oids, oids, err) < 0)
            return -1;
        if (catalog_read_scopes(&t->reader, scopes[i].reach, oids, &scopes[i].needs, s, err) < 0)
            return -1;
    }
    return snapshot_finish(s, err);
}

/* Replaces t->last by what it is after the changes in l. Leaves it alone and sets l->unknown when
 * that takes a full read. */
static int apply(struct postgres_tracker *t, struct change_log *l, struct err *err)
{
    _cleanup_snapshot_ struct snapshot *fresh = snapshot_new(t->last->engine, t->last->version);
    if (resolve(t, l, err) < 0 || (!l->unknown && read_scopes(t, l, fresh, err) < 0))
        return -1;
    if (l->unknown || shows_elsewhere(l, t->last, fresh)) {
        l->unknown = true;
        return 0;
    }
    snapshot_share(fresh, t->last);
    _cleanup_snapshot_ struct snapshot *s = snapshot_copy_without(t->last, drop_in_scope, l);
    for (size_t i = 0; i < fresh->n; i++)
        snapshot_add(s, object_ref(fresh->objects[i]));
    if (snapshot_finish(s, err) < 0)
        return -1;
    snapshot_free(t->last);
    t->last = TAKE_PTR(s);
    return 0;
}

/* Objects that name others by class and oid, whatever they are: after a drop one may be gone. */
static bool find_labels(const struct snapshot *s)
{
    for (size_t i = 0; i < s->n; i++)
        if (strcmp(s->objects[i]->kind, "dependency on extension") == 0 ||
            strcmp(s->objects[i]->kind, "security label") == 0)
            return true;
    return false;
}

static int read_everything(struct postgres_tracker *t, struct err *err)
{
    _cleanup_snapshot_ struct snapshot *s = NULL;
    if (catalog_transaction(&t->reader, CATALOG_BEGIN, catalog_read_all, &s, err) < 0)
        return -1;
    if (t->last)
        snapshot_share(s, t->last);
    snapshot_free(t->last);
    t->last = TAKE_PTR(s);
    t->sorted_out = 0;
    t->labelled = find_labels(t->last);
    t->full_reads++;
    return 0;
}

/* Empties the log into l and takes the fingerprint. Instrumentation that a migration damaged is
 * given up: from then on everything is read each time. */
static int take_changes(struct postgres_tracker *t, struct change_log *l, struct err *err)
{
    const struct catalog_text text = {.major = t->reader.version / 10000};
    _cleanup_str_ struct str sql = {0};
    catalog_expand(changes_sql, &text, &sql);
    _cleanup_rows_ struct rows *rows = NULL;
    int result = db_query_prepared(t->reader.db, sql.p, NULL, 0, &rows, err);
    if (result < 0 && err->code != ERR_SQL)
        return -1;
    if (result < 0 || !str_eq(rows_get(rows, 0, 7), "2")) {
        err_release(err);
        t->instrumented = false;
        l->unknown = true;
        return 0;
    }
    const char *fingerprint = rows_get(rows, 0, 0);
    if (!t->last || !str_eq(t->fingerprint, fingerprint))
        l->unknown = true;
    free(t->fingerprint);
    t->fingerprint = xstrdup(fingerprint);
    change_log_read(l, t, rows);
    return 0;
}

/* Brings t->last up to date. */
static int update(struct postgres_tracker *t, bool full, struct err *err)
{
    __attribute__((cleanup(change_log_release))) struct change_log l = {.unknown = full};
    if (t->instrumented && take_changes(t, &l, err) < 0)
        return -1;
    if (t->instrumented && !l.unknown && l.objects.n == 0 &&
        l.relations.n + l.routines.n + l.types.n == 0)
        return 0;
    if (t->instrumented && !l.unknown && apply(t, &l, err) < 0)
        return -1;
    if (!t->instrumented || l.unknown)
        return read_everything(t, err);
    return 0;
}

int postgres_tracker_read(struct schema_tracker *tracker, bool full, struct snapshot **ret,
                          struct err *err)
{
    struct postgres_tracker *t = (struct postgres_tracker *)tracker;
    if (update(t, full, err) < 0) {
        /* the log is read, but not applied */
        snapshot_free(t->last);
        t->last = NULL;
        return -1;
    }
    *ret = snapshot_copy(t->last);
    return 0;
}

size_t postgres_tracker_full_reads(const struct schema_tracker *tracker)
{
    return ((const struct postgres_tracker *)tracker)->full_reads;
}

int postgres_tracker_remove(struct db *db, struct err *err)
{
    return db_run(db, remove_sql, DB_RUN_WHOLE, NULL, err);
}

int postgres_tracker_new(struct db *db, const struct schema_options *options,
                         struct schema_tracker **ret, struct err *err)
{
    struct postgres_tracker *t = xcalloc(1, sizeof(*t));
    if (catalog_reader_init(&t->reader, db, options, true, err) < 0) {
        free(t);
        return -1;
    }
    t->instrumented = options && options->instrument && t->reader.superuser;
    struct str names = {0};
    for (size_t i = 0; options && options->version_tables && options->version_tables[i]; i++)
        str_addf(&names, "%s\n", options->version_tables[i]);
    t->names = str_take(&names);
    for (int rare = 0; rare < 2; rare++)
        t->resolve[rare] = resolve_text(t->reader.version / 10000, rare);
    /* A copy of an instrumented database has it all, perhaps with rows in its log. */
    if (db_run(db, catalog_settings_sql, DB_RUN_WHOLE, NULL, err) < 0 ||
        (t->instrumented && (postgres_tracker_remove(db, err) < 0 ||
                             db_run(db, install_sql, DB_RUN_WHOLE, NULL, err) < 0 ||
                             db_run(db, narrow_plans_sql, DB_RUN_WHOLE, NULL, err) < 0))) {
        postgres_tracker_free(&t->base);
        return -1;
    }
    *ret = &t->base;
    return 0;
}

void postgres_tracker_free(struct schema_tracker *tracker)
{
    struct postgres_tracker *t = (struct postgres_tracker *)tracker;
    catalog_reader_release(&t->reader);
    snapshot_free(t->last);
    free(t->fingerprint);
    free(t->names);
    free(t->resolve[0]);
    free(t->resolve[1]);
    free(t);
}
