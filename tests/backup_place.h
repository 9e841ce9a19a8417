/*
 * A PostgreSQL database, a folder for its bundle, and what is restored from it, for tests. All that
 * fails here fails the test.
 *
 *     struct place p;
 *     place_open(&p);
 *     place_sql(p.f.db, "create table t (a int)");
 *     place_backup(&p);                                    into p.bundle
 *     _cleanup_free_ char *url = place_url(&p, "back");    a name of the test's own
 *     _cleanup_free_ char *notes = place_restore(&p, url);
 *     place_close(&p);                                     drops "back"
 */
#ifndef BELAY_TESTS_BACKUP_PLACE_H
#define BELAY_TESTS_BACKUP_PLACE_H

#include "backup/backup.h"
#include "tests/bundle_fixture.h"

struct place {
    struct fixture f;
    char *dir, *bundle;
    struct strv made; /* databases to drop */
};

void place_open(struct place *p);
void place_close(struct place *p);

void place_sql(struct db *db, const char *text);
char *place_query(struct db *db, const char *text);
/* The URL of another database of the fixture's server, which is dropped at the end. */
char *place_url(struct place *p, const char *name);
struct db *place_db(const char *url);

/* The first of these can fail. */
int place_backup_url(const struct place *p, const char *url, struct err *err);
void place_backup(const struct place *p);
void place_verify(const struct place *p, bool drill);
int place_try_restore(struct place *p, const char *url, struct restore_result *r, struct err *err);
/* The notes of the restore. */
char *place_restore(struct place *p, const char *url);

#endif
