/*
 * The steps of filling an empty PostgreSQL database, whether from a bundle or from another database:
 *
 *     struct pg_loader ld = {.l = &load};
 *     pg_loader_open(&ld, err);
 *     ... write pg_dump's archive to ld.archive ...
 *     pg_loader_tables(&ld, err);             tables and what they need
 *     pg_load_sessions(&load, dbs, err);      rows, while there are no indexes, foreign keys, triggers
 *     pg_loader_finish(&ld, sequences, err);  sequences; of a sample, rows without their parents go;
 *                                             indexes in parallel, constraints, triggers;
 *                                             ANALYZE; the database's settings, last: they may be
 *                                             meant to keep sessions like ours out
 *     pg_loader_close(&ld);
 *
 * Of struct load the reader is not looked at, and of its manifest version, roles and settings.
 */
#ifndef BELAY_POSTGRES_LOAD_H
#define BELAY_POSTGRES_LOAD_H

#include "backup/backup_impl.h"
#include "backup/postgres_child.h"
#include "harness/engine/guard.h"

struct pg_loader {
    const struct load *l;
    struct pg_child child;
    char *program; /* pg_restore */
    struct guard *guard;
    char *archive; /* path of a file that does not exist yet */
    struct db *db;
};

int pg_loader_open(struct pg_loader *ld, struct err *err);
int pg_loader_tables(struct pg_loader *ld, struct err *err);
/* sequences: statements, or NULL. */
int pg_loader_finish(struct pg_loader *ld, const char *sequences, struct err *err);
void pg_loader_close(struct pg_loader *ld);

/* A session that loads rows. */
int pg_load_open(const char *url, struct db **ret, struct err *err);
/* l->jobs of them; after a failure those that are not NULL are open. */
int pg_load_sessions(const struct load *l, struct db **dbs, struct err *err);
void pg_load_sessions_close(const struct load *l, struct db **dbs);

/* One COPY statement into a table. columns: quoted; "" when there are none. The caller owns it. */
char *pg_load_copy_sql(const char *table, const char *columns, bool raw);

/* Large objects come as rows "oid, start, bytes" of any COPY: lo_put() is open to the object's owner,
 * COPY into pg_largeobject to nobody. In a transaction, between the two; the first makes a temporary
 * table unless *has_table. */
#define PG_LOAD_OBJECTS_SQL "copy pg_temp.belay_pieces from stdin"
int pg_load_objects_begin(struct db *db, bool *has_table, struct err *err);
int pg_load_objects_end(struct db *db, struct err *err);

#endif
