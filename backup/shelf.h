/*
 * The bundles in a folder: what they say about themselves, and which of them may go.
 *
 *     struct shelf s = {0};
 *     shelf_read(dir, key_file, &s, err);
 *     shelf_plan(&s, 7, 30, time(NULL));         what shall stay, by age and number
 *     shelf_secure(&s, &verify, err);            of each database a bundle that was verified stays
 *     shelf_remove(&s, err);
 *     shelf_release(&s);
 *
 * What cannot be read, damaged or encrypted without its key, is listed and never removed.
 */
#ifndef BELAY_SHELF_H
#define BELAY_SHELF_H

#include <time.h>

#include "backup/backup.h"
#include "backup/manifest.h"

struct shelf_item {
    char *path, *name; /* name: without the folder */
    uint64_t size;
    char *problem; /* why it cannot be read; NULL: what follows is known */
    bool encrypted;
    char *created, *database, *host, *engine, *server, *belay;
    struct strv revisions;
    uint64_t rows;
    size_t tables;
    time_t time;    /* created */
    bool remove;    /* after shelf_plan() */
    bool only_good; /* stays though it is old: no younger bundle of the database is good */
};

struct shelf {
    char *dir;
    struct shelf_item *v; /* newest first; those with a problem last */
    size_t n, cap;
};

/* Every file named *.belay. A folder that cannot be read is ERR_ENV. */
int shelf_read(const char *dir, const char *key_file, struct shelf *ret, struct err *err);
void shelf_release(struct shelf *s);

/* Of each database (engine, host and name) the last ones stay, and those of the last days; 0: none for that
 * reason. */
void shelf_plan(struct shelf *s, int keep_last, int keep_days, time_t now);
/*
 * Verifies, newest first, until it knows a good bundle of every database that is to lose one; where
 * none of those that stay is good, one that was to go stays; where none is good at all, all stay.
 * o: without a path.
 */
int shelf_secure(struct shelf *s, const struct verify_options *o, struct err *err);
/* Removes what is marked; goes on after a failure, which is the result. */
int shelf_remove(struct shelf *s, struct err *err);

#endif
