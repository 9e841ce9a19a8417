#include "tests/backup_place.h"

#include "harness/base/file.h"
#include "harness/engine/url.h"

void place_open(struct place *p)
{
    *p = (struct place){0};
    fixture_open(&p->f, &engine_postgres);
    p->dir = dir_new();
    p->bundle = path_join(p->dir, "app.belay");
}

void place_close(struct place *p)
{
    struct db *db = scratch_pool_db(fixture_pool(&engine_postgres));
    _cleanup_err_ struct err ignored = {0};
    for (size_t i = 0; i < p->made.n; i++) {
        _cleanup_free_ char *sql =
            xasprintf("drop database if exists \"%s\" with (force)", p->made.v[i]);
        db_run(db, sql, DB_RUN_WHOLE, NULL, &ignored);
    }
    strv_release(&p->made);
    dir_drop(p->dir);
    free(p->bundle);
    fixture_close(&p->f);
}

void place_sql(struct db *db, const char *text)
{
    _cleanup_err_ struct err err = {0};
    ck_assert_msg(db_run(db, text, DB_RUN_WHOLE, NULL, &err) == 0, "%s: %s", text, err.message);
}

char *place_query(struct db *db, const char *text)
{
    _cleanup_err_ struct err err = {0};
    char *value = NULL;
    ASSERT_OK(db_query_text(db, text, NULL, 0, &value, &err), &err);
    return value;
}

/* The URL of another database of the fixture's server, which is dropped at the end. */
char *place_url(struct place *p, const char *name)
{
    _cleanup_err_ struct err err = {0};
    _cleanup_conninfo_ struct conninfo c = {0};
    ASSERT_OK(conninfo_parse(scratch_url(p->f.scratch), &c, &err), &err);
    conninfo_set(&c, "dbname", name);
    if (!strv_has(&p->made, name))
        strv_add(&p->made, name);
    return conninfo_url(&c);
}

struct db *place_db(const char *url)
{
    _cleanup_err_ struct err err = {0};
    struct db *db = NULL;
    ASSERT_OK(db_open(&engine_postgres, url, DB_OPEN_DEFAULT, &db, &err), &err);
    return db;
}

int place_backup_url(const struct place *p, const char *url, struct err *err)
{
    struct backup_summary s = {0};
    int rc = backup_create(
        &(struct backup_options){.url = url, .path = p->bundle, .jobs = 2, .lock_timeout_ms = 500},
        &s, err);
    backup_summary_release(&s);
    return rc;
}

void place_backup(const struct place *p)
{
    _cleanup_err_ struct err err = {0};
    ck_assert_msg(place_backup_url(p, scratch_url(p->f.scratch), &err) == 0, "%s\n%s", err.message,
                  err.detail ? err.detail : "");
}

void place_verify(const struct place *p, bool drill)
{
    _cleanup_err_ struct err err = {0};
    struct verify_result r = {0};
    int rc = backup_verify(&(struct verify_options){.path = p->bundle, .jobs = 2, .drill = drill},
                           &r, &err);
    ck_assert_msg(rc == 0, "%s\n%s", err.message, err.detail ? err.detail : "");
    _cleanup_free_ char *problems = strv_join(&r.problems, "\n");
    ck_assert_msg(r.problems.n == 0, "%s", problems);
    ck_assert_int_eq(r.drilled, drill);
    verify_result_release(&r);
}

int place_try_restore(struct place *p, const char *url, struct restore_result *r, struct err *err)
{
    int rc =
        backup_restore(&(struct restore_options){.path = p->bundle, .url = url, .jobs = 2}, r, err);
    if (rc == 0 && r->kept)
        strv_add(&p->made, r->kept);
    return rc;
}

/* The notes of the restore. */
char *place_restore(struct place *p, const char *url)
{
    _cleanup_err_ struct err err = {0};
    _cleanup_(restore_result_release) struct restore_result r = {0};
    int rc = place_try_restore(p, url, &r, &err);
    ck_assert_msg(rc == 0, "%s\n%s", err.message, err.detail ? err.detail : "");
    return strv_join(&r.summary.notes, "\n");
}
