/*
 * The rows of others that going back to the bundle would lose, as CSV files beside it: BUNDLE.lost/N-TABLE.csv.
 *
 * Twice: before anything is replaced, so that a crash loses nothing; and once the failed database has been put
 * aside, where nobody writes any more, for what was committed in between. The second takes the first's place.
 */
#include "backup/deploy_impl.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "backup/partial.h"
#include "harness/base/file.h"
#include "harness/engine/postgres_copy.h"

/* A name for the file that every file system takes, and that is not there yet. */
static char *file_for(const char *dir, const char *table)
{
    _cleanup_free_ char *name = xstrndup(table, 100);
    for (char *p = name; *p; p++)
        if (!isalnum((unsigned char)*p) && !strchr("._-", *p))
            *p = '_';
    for (int n = 1;; n++) {
        _cleanup_free_ char *file = xasprintf("%d-%s.csv", n, name);
        char *path = path_join(dir, file);
        if (!file_exists(path))
            return path;
        free(path);
    }
}

/* *ret_rows: without the line of names. Values may hold line breaks, so rows are counted as lines of COPY, which has one
 * message each. */
static int copy_rows(struct db *db, const char *sql, int fd, size_t *ret_rows, struct err *err)
{
    struct pg_copy copy;
    const char *line;
    size_t len, n = 0;
    int rc;
    if (pg_copy_begin(&copy, db, sql, err) < 0)
        return -1;
    while ((rc = pg_copy_next(&copy, &line, &len, err)) > 0) {
        n++;
        if (file_write(fd, line, len) < 0) {
            rc = err_errno(err, "cannot write the rows of others");
            break;
        }
    }
    pg_copy_end(&copy);
    *ret_rows = n ? n - 1 : 0;
    return rc;
}

static int export_table(struct deploy *d, struct db *db, const char *dir, const char *table,
                        struct strv *ret_files, struct err *err)
{
    /* frozen rows are older than any bundle */
    _cleanup_free_ char *since =
        d->horizon ? xasprintf(" where pg_catalog.age(xmin) <= pg_catalog.age('%u'::xid)",
                               (unsigned)d->horizon)
                   : xstrdup("");
    _cleanup_free_ char *sql =
        xasprintf("copy (select * from %s%s) to stdout (format csv, header)", table, since);
    struct partial p;
    size_t rows = 0;
    if (partial_create(dir, &p, err) < 0)
        return -1;
    int rc = copy_rows(db, sql, p.fd, &rows, err);
    if (rc == 0 && rows) {
        char *path = file_for(dir, table);
        rc = partial_publish(&p, path, err);
        strv_add_take(ret_files, path);
    }
    partial_release(&p);
    return rc < 0 ? err_prefix(err, "rows of %s", table) : 0;
}

int deploy_export(struct deploy *d, const char *url, struct err *err)
{
    _cleanup_strv_ struct strv tables = {0}, files = {0};
    _cleanup_free_ char *dir = xasprintf("%s.lost", d->entry->bundle);
    _cleanup_db_ struct db *db = NULL;
    if (deploy_other_rows(d, url, &tables, err) < 0)
        return -1;
    if (!tables.n)
        return 0;
    if (dir_make(dir, 0700, err) < 0 ||
        db_open(&engine_postgres, url, DB_OPEN_READONLY, &db, err) < 0)
        return -1;
    for (size_t i = 0; i < tables.n; i++)
        if (export_table(d, db, dir, tables.v[i], &files, err) < 0)
            return -1;
    for (size_t i = 0; i < d->exported.n; i++)
        unlink(d->exported.v[i]); /* the same rows, and perhaps fewer */
    strv_release(&d->exported);
    d->exported = files;
    files = (struct strv){0};
    free(d->result->exported);
    d->result->exported = d->exported.n ? xstrdup(dir) : NULL;
    return d->exported.n ? journal_note(d->journal, d->entry->id, "exported", dir, err) : 0;
}
