/*
 * A file that appears under its name only when it is complete: written beside it under a name of
 * belay's, locked while its writer lives, so that the next one can tell what a killed belay left
 * behind.
 *
 *     struct partial p;
 *     partial_create(dir, &p, err);        mode 0600; p.fd is open for reading and writing
 *     ... write to p.fd ...
 *     partial_publish(&p, path, err);      fsync, rename, fsync of the folder
 *     partial_release(&p);                 removes the file unless it was published
 *
 * After a crash of the machine the file is there under its name and whole, or it is not there.
 */
#ifndef BELAY_PARTIAL_H
#define BELAY_PARTIAL_H

#include <stdbool.h>

#include "harness/base/err.h"

struct partial {
    char *dir, *path; /* path: where the file is now */
    int fd;
    bool published;
};

/* Removes first what dead writers left in the folder. */
int partial_create(const char *dir, struct partial *ret, struct err *err);
/* path is in the same folder and must not exist. On failure there is nothing under that name. */
int partial_publish(struct partial *p, const char *path, struct err *err);
void partial_release(struct partial *p);

#endif
