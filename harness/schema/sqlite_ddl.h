/*
 * SQLite's stored CREATE text as objects of the schema model. The pragmas cannot tell conflict
 * clauses, CHECK, COLLATE, constraint names, AUTOINCREMENT and what DEFAULT was written as, so the
 * text itself is parsed; the grammar is SQLite's own, legacy forms included (constraints without
 * commas between them, strings as names).
 *
 * What is not understood is never dropped: the object then carries the whole canonical text as its
 * property "definition".
 *
 * Kinds, identities and properties:
 *
 *   table       t            strict, without rowid, autoincrement; module and arguments of a
 *                            virtual table
 *   column      t.a          position, type (lower case), not null, not null on conflict, default,
 *                            collate, generated (virtual, stored), expression; "<what> constraint"
 *                            is the name given to a NOT NULL, DEFAULT, ... of a column
 *   constraint  t.name       type (primary key, unique, check, foreign key), on conflict, and
 *                            primary key, unique: columns; rowid alias
 *                            check: expression
 *                            foreign key: columns, references, referenced columns, on delete,
 *                            on update, match, deferrable, initially deferred
 *   index       i            table, unique, columns, where
 *   trigger     r            table, timing, event, when, body
 *   view        v            columns, body
 *
 * A constraint without a name is called after what it is and the columns it speaks of: t.primary
 * key, t.unique(a, b), t.check(a), t.foreign key(a). Several of one name are numbered:
 * t.check(a)#2. Whether a constraint was written behind a column or at the end of the table, and in
 * which order, is not told apart.
 *
 * Parentheses round a whole expression (DEFAULT ((1))) are left out, as SQLite's parser does.
 * Keywords, types, functions and collations fold to lower case; names are compared as they are
 * spelled, because SQLite shows them so.
 */
#ifndef BELAY_SQLITE_DDL_H
#define BELAY_SQLITE_DDL_H

#include "harness/schema/snapshot.h"
#include "harness/schema/sql_token.h"

/* One row of sqlite_schema. */
struct ddl_row {
    const char *type, *name, *table, *sql;
};

struct ddl_objects {
    struct object **v; /* one reference each */
    size_t n, cap;
    struct strv columns; /* of a table, as declared; none when it was not understood */
    bool understood;     /* false: by its "definition" alone */
};

void ddl_objects_add(struct ddl_objects *o, struct object *object); /* takes the reference */
void ddl_objects_release(struct ddl_objects *o);

/*
 * Adds the objects of one row, all with the given scope (object_scope()). columns are those of the
 * row's table, for an index; NULL otherwise.
 */
void ddl_read(const struct ddl_row *row, const struct strv *columns, uint32_t scope,
              struct ddl_objects *ret);

#endif
