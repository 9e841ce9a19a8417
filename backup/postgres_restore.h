/*
 * The parts of restoring a PostgreSQL bundle, for `belay restore` and for the deploy.
 *
 *     struct pg_target t = {0};
 *     pg_target_open(&t, url, &options, err);        finds the server, sweeps what dead belays left
 *     pg_target_check(&t, manifest, notes, err);     whether it can hold the bundle
 *     pg_target_load(&t, &load, err);                into a new database beside, compared
 *     pg_target_swap(&t, &kept, err);                in the place of the old one, which is kept
 *     pg_target_close(&t);                           drops what was loaded and not swapped
 *
 * Until pg_target_swap() commits, the target is what it was, whatever happens to belay. The database
 * beside is a scratch database (scratch.h): a later belay drops it when this one is killed.
 */
#ifndef BELAY_POSTGRES_RESTORE_H
#define BELAY_POSTGRES_RESTORE_H

#include "backup/backup_impl.h"
#include "harness/engine/scratch.h"

struct pg_target {
    char *name;        /* of the target database */
    char *maintenance; /* URL of another database on its server; holds the password */
    struct scratch_pool *pool;
    struct scratch *beside; /* after pg_target_load(), until pg_target_swap() */
    bool exists;            /* when it was opened */
    char *tablespace;       /* of the existing one; what takes its place has the same */
    const struct manifest *manifest;
    bool no_owner;
};

int pg_target_open(struct pg_target *t, const char *url, struct err *err);
/* ERR_ENV when server, roles, extensions or rights are missing, naming all of them in err.detail. */
int pg_target_check(struct pg_target *t, const struct manifest *m, bool no_owner, struct err *err);
/* l->url is set. */
int pg_target_load(struct pg_target *t, struct load *l, struct err *err);
/*
 * One transaction renames both; sessions on the old database are ended, and nobody gets in
 * meanwhile. *ret_kept: the old database's new name, owned by the caller, NULL when there was none.
 */
int pg_target_swap(struct pg_target *t, char **ret_kept, struct err *err);
void pg_target_close(struct pg_target *t);

/*
 * The same swap between two databases by name: `database` becomes `name`, and what has that name
 * (or nobody) becomes *ret_kept. statements: run in the same transaction, :"database" is name.
 */
int pg_swap(const char *maintenance_url, const char *name, const char *database,
            const struct strv *statements, char **ret_kept, struct err *err);

/* Renames a database that is in use: its sessions are ended, and nobody gets in until it has the new name. */
int pg_rename(const char *maintenance_url, const char *from, const char *to, struct err *err);

/* What CREATE DATABASE must say for a database like the bundle's. The caller owns the result. */
char *pg_database_options(const struct manifest *m);

/* The tablespaces that tables and indexes of the bundle are in, added to ret. */
void pg_tablespaces(const struct manifest *m, struct strv *ret);

/* The digests of all tables in a database, read over several connections in one snapshot, and of the
 * sequences that are named. */
int pg_digests(const char *url, const struct strv *sequences, int jobs, struct meter *meter,
               const struct backup_control *control, struct digest_set *ret, struct err *err);

/* Settings of a database that wait for the swap: they would take the mark of a scratch database
 * away, or keep sessions out. */
bool pg_setting_is_late(const char *statement);

/* Compares snapshot and digests of the database with the manifest's. What cannot be the same is a
 * note in the summary: on a newer server, with other versions of extensions. */
int compare_postgres(const struct load *l, struct strv *problems, struct err *err);
/* The same; what differs is ERR_CONFIG. */
int pg_must_equal(const struct load *l, struct err *err);

/* struct backup_engine */
int dump_postgres(struct dump *d, struct err *err);
int load_postgres(struct load *l, struct err *err);

#endif
