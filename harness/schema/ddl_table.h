/*
 * CREATE TABLE, for sqlite_ddl.c.
 */
#ifndef BELAY_DDL_TABLE_H
#define BELAY_DDL_TABLE_H

#include "harness/schema/ddl_parser.h"
#include "harness/schema/sqlite_ddl.h"

/* Adds table, columns and constraints, or returns false and adds nothing when p holds something
 * that is not understood. identity is the table's; the builder's scope is set for each object. */
bool ddl_read_table(struct ddl_parser *p, const char *name, const char *identity, uint32_t scope,
                    struct object_builder *b, struct ddl_objects *ret);

#endif
