/* PostgreSQL databases into a bundle and back. */
#include <libpq-fe.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>

#include "backup/backup.h"
#include "harness/base/file.h"
#include "harness/base/proc.h"
#include "harness/engine/pgprogram.h"
#include "harness/engine/url.h"
#include "harness/schema/schema.h"
#include "tests/bundle_fixture.h"
#include "tests/zoo_postgres.h"

/* A database, and a folder for its bundle. Restored databases have names of the test's own. */
struct place {
    struct fixture f;
    char *dir, *bundle;
    struct strv made; /* databases to drop */
};

static void place_open(struct place *p)
{
    *p = (struct place){0};
    fixture_open(&p->f, &engine_postgres);
    p->dir = dir_new();
    p->bundle = path_join(p->dir, "app.belay");
}

static void place_close(struct place *p)
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

static void sql(struct db *db, const char *text)
{
    _cleanup_err_ struct err err = {0};
    ck_assert_msg(db_run(db, text, DB_RUN_WHOLE, NULL, &err) == 0, "%s: %s", text, err.message);
}

__attribute__((unused)) static char *query(struct db *db, const char *text)
{
    _cleanup_err_ struct err err = {0};
    char *value = NULL;
    ASSERT_OK(db_query_text(db, text, NULL, 0, &value, &err), &err);
    return value;
}

/* The URL of another database of the fixture's server, which is dropped at the end. */
static char *url_of(struct place *p, const char *name)
{
    _cleanup_err_ struct err err = {0};
    _cleanup_conninfo_ struct conninfo c = {0};
    ASSERT_OK(conninfo_parse(scratch_url(p->f.scratch), &c, &err), &err);
    conninfo_set(&c, "dbname", name);
    if (!strv_has(&p->made, name))
        strv_add(&p->made, name);
    return conninfo_url(&c);
}

__attribute__((unused)) static struct db *open_db(const char *url)
{
    _cleanup_err_ struct err err = {0};
    struct db *db = NULL;
    ASSERT_OK(db_open(&engine_postgres, url, DB_OPEN_DEFAULT, &db, &err), &err);
    return db;
}

static int backup_url(const struct place *p, const char *url, struct err *err)
{
    struct backup_summary s = {0};
    int rc = backup_create(
        &(struct backup_options){.url = url, .path = p->bundle, .jobs = 2, .lock_timeout_ms = 500},
        &s, err);
    backup_summary_release(&s);
    return rc;
}

static void backup(const struct place *p)
{
    _cleanup_err_ struct err err = {0};
    ck_assert_msg(backup_url(p, scratch_url(p->f.scratch), &err) == 0, "%s\n%s", err.message,
                  err.detail ? err.detail : "");
}

static void verify(const struct place *p, bool drill)
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

static int try_restore(struct place *p, const char *url, struct restore_result *r, struct err *err)
{
    int rc =
        backup_restore(&(struct restore_options){.path = p->bundle, .url = url, .jobs = 2}, r, err);
    if (rc == 0 && r->kept)
        strv_add(&p->made, r->kept);
    return rc;
}

/* The notes of the restore. */
static char *restore(struct place *p, const char *url)
{
    _cleanup_err_ struct err err = {0};
    _cleanup_(restore_result_release) struct restore_result r = {0};
    int rc = try_restore(p, url, &r, &err);
    ck_assert_msg(rc == 0, "%s\n%s", err.message, err.detail ? err.detail : "");
    return strv_join(&r.summary.notes, "\n");
}

/* pg_dump's whole text, without the random key and the name. Rows in their order in the table:
 * tables here are loaded by one session, in order. */
static char *text_of(const char *url, const char *more)
{
    _cleanup_err_ struct err err = {0};
    _cleanup_free_ char *program = NULL;
    _cleanup_proc_result_ struct proc_result r = {0};
    ASSERT_OK(pg_program_find("pg_dump", 12, &program, NULL, &err), &err);
    const char *argv[] = {program, "--dbname", url, more, NULL};
    ASSERT_OK(proc_run(&(struct proc_options){.argv = argv}, &r, &err), &err);
    ck_assert_msg(r.status == 0, "%s", str_get(&r.errors));
    struct str out = {0};
    const char *p = str_get(&r.output);
    while (*p) {
        size_t n = strcspn(p, "\n");
        if (!str_starts(p, "\\restrict") && !str_starts(p, "\\unrestrict"))
            str_addn(&out, p, n + (p[n] == '\n'));
        p += n + (p[n] == '\n');
    }
    return str_take(&out);
}

/* Rows of a table may come back in another order: lines are compared sorted. */
static int by_line(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static char *sorted_lines(const char *text)
{
    _cleanup_strv_ struct strv lines = {0};
    while (*text) {
        size_t n = strcspn(text, "\n");
        strv_add_take(&lines, xstrndup(text, n));
        text += n + (text[n] == '\n');
    }
    if (lines.n)
        qsort(lines.v, lines.n, sizeof(*lines.v), by_line);
    return strv_join(&lines, "\n");
}

static void must_be_same_text(const char *url_a, const char *url_b)
{
    _cleanup_free_ char *a = text_of(url_a, "--section=pre-data"),
                        *b = text_of(url_b, "--section=pre-data");
    _cleanup_free_ char *c = text_of(url_a, "--section=post-data"),
                        *d = text_of(url_b, "--section=post-data");
    ck_assert_str_eq(a, b);
    ck_assert_str_eq(c, d);
    _cleanup_free_ char *e = text_of(url_a, "--section=data"),
                        *f = text_of(url_b, "--section=data");
    _cleanup_free_ char *g = sorted_lines(e), *h = sorted_lines(f);
    ck_assert_str_eq(g, h);
}

static void fill_zoo(struct db *db)
{
    sql(scratch_pool_db(fixture_pool(&engine_postgres)), zoo_roles);
    for (size_t i = 0; zoo_postgres[i]; i++)
        sql(db, zoo_postgres[i]);
}

/* ---- back and forth ---- */

START_TEST(the_zoo_comes_back_as_it_was)
{
    struct place p;
    place_open(&p);
    fill_zoo(p.f.db);
    backup(&p);
    verify(&p, false);
    _cleanup_free_ char *url = url_of(&p, "zoo_back");
    _cleanup_free_ char *notes = restore(&p, url);
    ck_assert_str_eq(notes, "");
    must_be_same_text(scratch_url(p.f.scratch), url);
    place_close(&p);
}
END_TEST

START_TEST(a_drill_finds_the_zoo_whole)
{
    struct place p;
    place_open(&p);
    fill_zoo(p.f.db);
    backup(&p);
    verify(&p, true);
    place_close(&p);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("backup_postgres");
    SUITE_ADD(s, the_zoo_comes_back_as_it_was);
    SUITE_ADD(s, a_drill_finds_the_zoo_whole);
    return fixture_run(s);
}
