/*
 * What the PostgreSQL reader's files share: the form of a catalog query, and the SQL fragments that
 * occur in many of them.
 *
 * A catalog query yields one row per object:
 *
 *     column 1   kind
 *     column 2   identity
 *     column 3   oid of the object it is rendered with (of the class that is the query's reach)
 *     column 4   its own oid (in own_class)
 *     others     one property each: the column's name is the property's name, NULL is left out
 *
 * A column whose name ends in "*" holds a JSON object with one property per key: "grant to *" with
 * {"app": "SELECT"} is the property "grant to app".
 *
 * The text is expanded before it is sent:
 *
 *     @14{...}     kept from PostgreSQL 14 on
 *     @<14{...}    kept before PostgreSQL 14
 *     @super{...}  kept when the session is a superuser
 *     @only{...}   kept when only the objects in $2 are read
 *     @rare{...}   kept unless it is known that the relations have nothing of what it reads
 *     @gaps{...}, @<gaps{...}   kept when columns of the relations may have been dropped, or not
 *     @comments{...}            kept unless it is known that there are no comments
 *
 * The server spends more on preparing to run a query than on the rows of one relation, and that
 * grows with the query: hence the last three.
 *
 * Blocks nest; other braces may stand outside of blocks only.
 *
 * Parameters, always both, of type oid[]:
 *
 *     $1   relations to leave out: version tables and what belongs to them, members of extensions
 *     $2   oids to read, see @only
 *
 * The session's search_path is pg_catalog alone, so that every deparsed name is qualified.
 */
#ifndef BELAY_SCHEMA_POSTGRES_H
#define BELAY_SCHEMA_POSTGRES_H

#include "harness/schema/schema.h"

/* Oids of the catalogs themselves: fixed by PostgreSQL for all versions. */
enum catalog_class {
    CLASS_TYPE = 1247,
    CLASS_PROC = 1255,
    CLASS_RELATION = 1259,
    CLASS_CONSTRAINT = 2606,
    CLASS_REWRITE = 2618,
    CLASS_TRIGGER = 2620,
    CLASS_POLICY = 3256,
    CLASS_STATISTICS = 3381,
};

/* What a query can be narrowed to with @only: the objects of this class, by oid. */
enum catalog_reach {
    REACH_ALL = 0, /* read as a whole or not at all */
    REACH_RELATION = CLASS_RELATION,
    REACH_ROUTINE = CLASS_PROC,
    REACH_TYPE = CLASS_TYPE,
};

struct catalog_query {
    const char *name; /* what it reads, for error messages */
    const char *sql;
    enum catalog_reach reach;
    enum catalog_class own_class; /* of column 4; 0: nobody asks */
    int since;                    /* major version that has the catalog; 0: all */
    bool roles;                   /* server-wide: only with options.roles */
    bool sparse;                  /* a row without properties is nothing */
    /* REACH_RELATION: which relations may have a row, as a condition on c of pg_class; NULL: any */
    const char *when;
};

/* Each ends with a NULL name. */
extern const struct catalog_query postgres_relation_queries[];
/* Expressions over c of pg_class; the others want postgres_relation_attrs as c.attrs. What follows
 * from them for a set of relations is struct catalog_needs. */
extern const char postgres_relation_attrs[], postgres_relation_rare[], postgres_relation_gaps[],
    postgres_relation_comments[];
extern const struct catalog_query postgres_routine_queries[];
extern const struct catalog_query postgres_type_queries[];
extern const struct catalog_query postgres_search_queries[];
extern const struct catalog_query postgres_cluster_queries[];
extern const struct catalog_query postgres_foreign_queries[];

/* What a read of scopes has to ask for. */
struct catalog_needs {
    unsigned queries; /* a bit for each query of the kind, in their order */
    bool rare, gaps, comments;
};
#define NEEDS_ALL ((struct catalog_needs){~0u, true, true, true})

/* What decides which blocks of a query's text are kept. */
struct catalog_text {
    int major; /* of the server */
    bool superuser;
    bool only;
    struct catalog_needs needs;
};
void catalog_expand(const char *sql, const struct catalog_text *t, struct str *ret);

/* One session that reads the catalog; embedded. */
struct catalog_reader {
    struct db *db;
    int version;
    bool superuser, roles;
    bool keep;            /* the session is belay's own: keep statements prepared */
    char *version_tables; /* text[] */
    char *left_out;       /* oid[], see $1 above */
    struct object_builder builder;
};
int catalog_reader_init(struct catalog_reader *r, struct db *db,
                        const struct schema_options *options, bool keep, struct err *err);
void catalog_reader_release(struct catalog_reader *r);

#define CATALOG_BEGIN "begin isolation level repeatable read, read only"

/* Pins what changes how the catalog is written, for a session of belay's own. */
extern const char catalog_settings_sql[];

/* Runs read(r, data, err) in one transaction that begins with `begin`. */
int catalog_transaction(struct catalog_reader *r, const char *begin,
                        int (*read)(struct catalog_reader *r, void *data, struct err *err),
                        void *data, struct err *err);

/* Finds out what to leave out: of everything, or among oids, added to what is known. */
int catalog_left_out(struct catalog_reader *r, const char *oids, struct err *err);
/*
 * Adds the objects to s that belong to the scopes of one kind with these oids (an oid[] literal).
 * What is not needed would find nothing.
 */
int catalog_read_scopes(struct catalog_reader *r, enum catalog_reach reach, const char *oids,
                        const struct catalog_needs *needs, struct snapshot *s, struct err *err);
/* The whole schema, finished; data is a struct snapshot **. */
int catalog_read_all(struct catalog_reader *r, void *data, struct err *err);

int postgres_tracker_new(struct db *db, const struct schema_options *options,
                         struct schema_tracker **ret, struct err *err);
int postgres_tracker_read(struct schema_tracker *t, bool full, struct snapshot **ret,
                          struct err *err);
void postgres_tracker_free(struct schema_tracker *t);
int postgres_tracker_remove(struct db *db, struct err *err);
/* How many of its reads were full ones. */
size_t postgres_tracker_full_reads(const struct schema_tracker *t);

/* The schema in a scratch database that holds what the tracker installs, and the prefix of the
 * names of its event triggers; never part of a snapshot. */
#define TRACKER_SCHEMA "belay_tracker"

/* Objects with lower oids were made by initdb. */
#define FIRST_USER_OID "16384"

/* The qualified name of a row of a catalog that has a name and a schema n. */
#define NAME(column) "quote_ident(n.nspname) || '.' || quote_ident(" column ")"

/* Schemas that are nobody's: other sessions' temporary objects, TOAST, the tracker's. */
#define SCHEMA_FILTER                                                                              \
    " n.nspname not like 'pg\\_temp\\_%' and n.nspname not like 'pg\\_toast%'"                     \
    " and n.nspname <> '" TRACKER_SCHEMA "' "

/* Objects that an extension's script made belong to the extension. */
#define NOT_A_MEMBER(catalog, oid)                                                                 \
    " not exists (select from pg_depend e where e.classid = '" catalog                             \
    "'::regclass and e.objid = " oid " and e.deptype = 'e') "

#define COMMENT_JOIN(catalog, oid)                                                                 \
    " left join pg_description d on d.objoid = " oid " and d.classoid = '" catalog                 \
    "'::regclass and d.objsubid = 0 "

/*
 * The grants in acl that are not in base, and the other way round, per grantee: {"app": "INSERT,
 * SELECT*"}; "*" is WITH GRANT OPTION, "none" says that what base grants was revoked. A grantor is
 * named when it is not the owner.
 */
#define GRANTS(acl, base, owner)                                                                   \
    "case when " acl " is not null then (select json_object_agg(g.who, g.privileges) from ("       \
    "select case x.grantee when 0 then 'PUBLIC' else quote_ident(pg_get_userbyid(x.grantee)) end " \
    "as who, coalesce(string_agg(x.privilege, ', ' order by x.privilege) "                         \
    "filter (where x.granted), 'none') as privileges from ("                                       \
    "select grantee, true as granted, privilege_type || case when is_grantable then '*' else '' "  \
    "end || case when grantor <> " owner " then ' by ' || quote_ident(pg_get_userbyid(grantor)) "  \
    "else '' end as privilege from aclexplode(" acl ") "                                           \
    "union all "                                                                                   \
    "select grantee, false, privilege_type || case when is_grantable then '*' else '' "            \
    "end || case when grantor <> " owner " then ' by ' || quote_ident(pg_get_userbyid(grantor)) "  \
    "else '' end from aclexplode(" base ")) x group by x.grantee "                                 \
    "having array_agg(x.privilege order by x.privilege) filter (where x.granted) is distinct "     \
    "from array_agg(x.privilege order by x.privilege) filter (where not x.granted)) g) end as "    \
    "\"grant to *\""

/* text[] of name=value as a JSON object. */
#define OPTIONS(options)                                                                           \
    "(select json_object_agg(split_part(o, '=', 1), substr(o, strpos(o, '=') + 1)) from "          \
    "unnest(" options ") o)"

/* The same for foreign data wrappers, whose options may be secrets: these appear as the beginning
 * of a hash, enough to see that one changed and too little to find it out. */
#define FOREIGN_OPTIONS(options)                                                                   \
    "(select json_object_agg(split_part(o, '=', 1), case when split_part(o, '=', 1) ~* "           \
    "'pass|secret|token|key|credential' then 'hidden ' || left(encode(sha256(convert_to("          \
    "substr(o, strpos(o, '=') + 1), 'UTF8')), 'hex'), 8) else substr(o, strpos(o, '=') + 1) end) " \
    "from unnest(" options ") o)"

#endif
