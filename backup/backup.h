/*
 * Backup, verification and restore of a whole database, for the commands and the deploy. Prints
 * nothing: progress goes through a callback, what a person should know comes back as notes.
 *
 *     struct backup_summary s = {0};
 *     backup_create(&(struct backup_options){.url = url, .path = "app.belay"}, &s, err);
 *     backup_verify(&(struct verify_options){.path = "app.belay", .drill = true}, &result, err);
 *     backup_restore(&(struct restore_options){.path = "app.belay", .url = url}, &result, err);
 */
#ifndef BELAY_BACKUP_H
#define BELAY_BACKUP_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

#include "harness/base/err.h"
#include "harness/base/str.h"

enum { BACKUP_LEVEL_MAX = 19 }; /* of zstd; higher ones need windows that a reader refuses */

struct backup_progress {
    const char *phase;    /* "rows", "indexes", "digests", ...: one word or two, lower case */
    uint64_t done, total; /* plain bytes; total 0: unknown. An estimate: done may end before or past
                             it */
    uint64_t stored;      /* bytes written or read of the bundle */
};

struct backup_control {
    const volatile sig_atomic_t *stop; /* not 0: end with ERR_INTERRUPTED; NULL: never */
    const int *cancel_fd; /* readable once *stop is set (struct proc_options); or NULL */
    /* Called from one thread at a time, a few times a second; or NULL. */
    void (*report)(void *data, const struct backup_progress *p);
    void *data;
};

struct backup_options {
    const char *url;
    const char *path;             /* of the bundle; must not exist */
    const char *key_file;         /* encrypt to it; or NULL */
    int level;                    /* zstd's; 0: PART_LEVEL */
    int jobs;                     /* 0: the number of cores */
    int lock_timeout_ms;          /* for the locks that reading takes; 0: 10 s */
    const struct strv *revisions; /* what the version table says; or NULL: unknown */
    const char *version_table;    /* or NULL */
    const char *database;         /* the name to write down; NULL: that of the database */
    struct backup_control control;
};

struct backup_summary {
    uint64_t rows, raw, stored; /* bytes */
    size_t tables;
    struct strv notes; /* "integrity_check: ...", one a line, for a person */
};
void backup_summary_release(struct backup_summary *s);

/* ERR_ENV when the database cannot be read whole or the disk has no room: then there is no file. */
int backup_create(const struct backup_options *o, struct backup_summary *ret, struct err *err);

struct verify_options {
    const char *path, *key_file;
    int jobs;
    bool drill;              /* restore into a scratch database and compare */
    const char *scratch_url; /* for the drill; NULL: a private server or tmpfs */
    struct backup_control control;
};

struct verify_result {
    struct backup_summary summary;
    struct strv problems; /* what is wrong with the bundle; empty: good */
    bool not_bundle;      /* the file does not even begin like one: so says the only problem */
    bool drilled;
};
void verify_result_release(struct verify_result *r);

/* -1 when no verdict was reached (no such file, no key, no room for the drill, interrupted). A damaged
 * bundle is a result, and so is a file that is none. */
int backup_verify(const struct verify_options *o, struct verify_result *ret, struct err *err);

struct restore_options {
    const char *path, *key_file;
    const char *url; /* of the database that shall hold it: existing, empty or new */
    bool no_owner;   /* PostgreSQL: leave owners and privileges out, and need none of the roles */
    int jobs;
    /*
     * Called when what was loaded, at that URL, is proved and about to take the place; or NULL. SQLite: `replaced` is
     * the URL of a copy of the old content, to which nobody can have added anything when it is replaced; called again
     * where that had to be made anew. NULL on PostgreSQL. -1: nothing is replaced.
     */
    int (*before)(void *data, const char *loaded, const char *replaced, struct err *err);
    void *before_data;
    struct backup_control control;
};

struct restore_result {
    struct backup_summary summary;
    char *kept; /* name of the old database, or path of the old file's copy; NULL: there was none */
    char *drop; /* how to remove it: "DROP DATABASE ...", "rm ..."; NULL with kept */
};
void restore_result_release(struct restore_result *r);

/* On failure the target is what it was. */
int backup_restore(const struct restore_options *o, struct restore_result *ret, struct err *err);

#endif
