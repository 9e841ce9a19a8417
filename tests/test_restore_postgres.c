/* What can go wrong while a PostgreSQL database is backed up or restored, and what is left then. */
#include <pwd.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "backup/postgres_restore.h"
#include "harness/base/file.h"
#include "harness/base/proc.h"
#include "harness/engine/pgprogram.h"
#include "harness/engine/url.h"
#include "tests/backup_place.h"
#include "tests/belay_process.h"
#include "tests/own_server.h"

/* ---- at a phase of the restore, something is done to the database beside ---- */

struct meddler {
    struct place *place;
    const char *phase, *sql;
    bool done;
};

static char *beside_url(struct place *p)
{
    _cleanup_conninfo_ struct conninfo c = {0};
    _cleanup_err_ struct err err = {0};
    _cleanup_free_ char *name =
        place_query(p->f.db, "select datname from pg_database where datname like 'belay\\_%'"
                             " and datname <> current_database() order by oid desc limit 1");
    ck_assert_ptr_nonnull(name);
    ASSERT_OK(conninfo_parse(scratch_url(p->f.scratch), &c, &err), &err);
    conninfo_set(&c, "dbname", name);
    return conninfo_url(&c);
}

static void meddle(void *data, const struct backup_progress *progress)
{
    struct meddler *m = data;
    if (m->done || strcmp(progress->phase, m->phase) != 0)
        return;
    m->done = true;
    _cleanup_free_ char *url = beside_url(m->place);
    struct db *db = place_db(url);
    place_sql(db, m->sql);
    db_close(db);
}

static int meddled_restore(struct place *p, const char *url, const char *phase, const char *sql,
                           bool no_owner, struct err *err)
{
    struct meddler m = {.place = p, .phase = phase, .sql = sql};
    struct restore_result r = {0};
    int rc = backup_restore(&(struct restore_options){.path = p->bundle,
                                                      .url = url,
                                                      .jobs = 2,
                                                      .no_owner = no_owner,
                                                      .control = {.report = meddle, .data = &m}},
                            &r, err);
    ck_assert(m.done);
    if (rc == 0 && r.kept)
        strv_add(&p->made, r.kept);
    restore_result_release(&r);
    return rc;
}

static const struct {
    const char *sql, *expected;
    bool ownership;
} objects[] = {
    {"select lo_put(4711, 1000000, 'x')", "rows of large objects: other values in bytes", false},
    {"select lo_unlink(4711)",
     "- large object 4711\n"
     "rows of large object owners: 2 -> 1\n"
     "rows of large objects: 2 -> 0",
     false},
    {"alter large object 4712 owner to current_user",
     "rows of large object owners: other values in owner", true},
    {"revoke grant option for select on large object 4711 from object_reader",
     "large object 4711: grant to object_reader SELECT* -> SELECT", true},
    {"comment on large object 4712 is 'other'", "large object 4712: comment empty -> other", false},
};

START_TEST(large_objects_are_compared_before_they_take_their_place)
{
    struct place p;
    place_open(&p);
    place_sql(p.f.db, "do $$begin if not exists (select from pg_roles where rolname ="
                      " 'object_owner') then create role object_owner; create role object_reader;"
                      " end if; end$$;"
                      "select lo_from_bytea(4711, decode(repeat('00ff5c0a09', 300000), 'hex'));"
                      "select lo_create(4712); comment on large object 4712 is 'empty';"
                      "alter large object 4712 owner to object_owner;"
                      "grant select on large object 4711 to object_reader with grant option");
    place_backup(&p);
    place_verify(&p, true);
    _cleanup_free_ char *url = place_url(&p, "objects_back");
    _cleanup_free_ char *notes = place_restore(&p, url);
    struct db *db = place_db(url);
    place_sql(db, "create table mine ()");
    db_close(db);
    for (int no_owner = 0; no_owner < 2; no_owner++) {
        _cleanup_err_ struct err err = {0};
        bool harmless = no_owner && objects[_i].ownership;
        if (no_owner && strstr(objects[_i].sql, "revoke"))
            continue; /* there is nothing to revoke */
        int rc = meddled_restore(&p, url, "indexes", objects[_i].sql, no_owner, &err);
        ck_assert_msg(rc == (harmless ? 0 : -1), "%s", err.detail ? err.detail : "restored");
        if (harmless)
            continue;
        ck_assert_int_eq(err.code, ERR_CONFIG);
        if (!no_owner)
            ck_assert_str_eq(err.detail, objects[_i].expected);
        db = place_db(url);
        place_sql(db, "select from mine");
        db_close(db);
    }
    place_close(&p);
}
END_TEST

/* ---- what acts, and what belongs to the server ---- */

START_TEST(event_triggers_do_not_act_on_the_restore)
{
    struct place p;
    place_open(&p);
    place_sql(p.f.db, "create table ddl_log (tag text); create table t (a int primary key);"
                      "create materialized view m_a as select count(*) as n from t;"
                      "create materialized view m_b as select n from m_a;"
                      "create materialized view m_c as select n from m_b;"
                      "create function note() returns event_trigger language plpgsql as"
                      " $$begin insert into public.ddl_log values (tg_tag); end$$;"
                      "create event trigger noting on ddl_command_end execute function note();"
                      "comment on event trigger noting is 'notes'; alter event trigger noting"
                      " enable always;"
                      "alter event trigger noting owner to current_user; truncate ddl_log");
    place_backup(&p);
    place_verify(&p, true);
    _cleanup_free_ char *url = place_url(&p, "events_back");
    _cleanup_free_ char *notes = place_restore(&p, url);
    place_close(&p);
}
END_TEST

START_TEST(tablespaces_come_back_or_are_named_as_missing)
{
    struct place p;
    place_open(&p);
    struct db *server = scratch_pool_db(fixture_pool(&engine_postgres));
    place_sql(server, "set allow_in_place_tablespaces = on");
    place_sql(server, "create tablespace \"fast disk\" location ''");
    place_sql(server, "create tablespace index_disk location ''");
    place_sql(server, "create database on_fast tablespace \"fast disk\"");
    place_sql(p.f.db, "create table t (a int primary key using index tablespace index_disk)"
                      " tablespace \"fast disk\"; create index on t (a) tablespace \"fast disk\";"
                      "insert into t values (1)");
    place_backup(&p);
    place_verify(&p, true);
    _cleanup_free_ char *new = place_url(&p, "spaces_back");
    free(place_restore(&p, new));
    /* a database of that tablespace takes it along, and does not name it for its tables */
    _cleanup_free_ char *url = place_url(&p, "on_fast");
    free(place_restore(&p, url));
    struct db *db = place_db(url);
    _cleanup_free_ char *own = place_query(
        db, "select spcname from pg_database d join pg_tablespace s on s.oid = dattablespace"
            " where datname = current_database()");
    ck_assert_str_eq(own, "fast disk");
    db_close(db);
    free(place_restore(&p, url));
    place_close(&p);
}
END_TEST

START_TEST(subscriptions_do_not_start_and_do_not_hold_a_failed_restore)
{
    struct place p;
    place_open(&p);
    place_sql(p.f.db, "create table t (a int);"
                      "create subscription live connection 'host=/nowhere password=secret'"
                      " publication p with (connect = false, slot_name = live, enabled = false)");
    place_sql(p.f.db, "alter subscription live enable");
    place_backup(&p);
    _cleanup_free_ char *url = place_url(&p, "subscribed"),
                        *before = place_query(p.f.db, "select count(*) from pg_database");
    _cleanup_err_ struct err err = {0};
    ck_assert_int_eq(
        meddled_restore(&p, url, "statistics", "create table more (a int)", false, &err), -1);
    _cleanup_free_ char *after = place_query(p.f.db, "select count(*) from pg_database");
    ck_assert_str_eq(after, before);
    _cleanup_free_ char *notes = place_restore(&p, url);
    ck_assert_ptr_nonnull(strstr(notes, "subscription live: enabled"));
    ck_assert_ptr_null(strstr(notes, "secret"));
    struct db *db = place_db(url);
    _cleanup_free_ char *enabled = place_query(
        db, "select subenabled from pg_subscription s join pg_database d on d.oid = subdbid"
            " where datname = current_database()");
    ck_assert_str_eq(enabled, "f");
    static const char let_go[] = "alter subscription live disable; alter subscription live set"
                                 " (slot_name = none); drop subscription live";
    place_sql(db, let_go);
    place_sql(p.f.db, let_go);
    db_close(db);
    place_close(&p);
}
END_TEST

/* ---- the children ---- */

/* A folder with a program of that name, which runs the shell text; "$real" is the true one. */
static char *make_program(const struct place *p, const char *name, const char *text)
{
    _cleanup_err_ struct err err = {0};
    _cleanup_free_ char *real = NULL;
    ASSERT_OK(pg_program_find(name, 12, &real, NULL, &err), &err);
    char *dir = path_join(p->dir, "bin");
    _cleanup_free_ char *file = path_join(dir, name);
    _cleanup_free_ char *script = xasprintf(
        "#!/bin/sh\nreal=%s\n[ \"$1\" = --version ] && exec \"$real\" --version\n%s\n", real, text);
    if (!dir_exists(dir))
        ASSERT_OK(dir_make(dir, 0755, &err), &err);
    ASSERT_OK(file_replace(file, script, strlen(script), 0755, &err), &err);
    return dir;
}

static void path_begins_with(const char *dir)
{
    _cleanup_free_ char *path = xasprintf("%s:%s", dir, getenv("PATH"));
    setenv("PATH", path, 1);
}

START_TEST(passwords_are_not_in_the_arguments_of_children)
{
    struct place p;
    place_open(&p);
    place_sql(p.f.db, "create table t (a int primary key)");
    static const char *const programs[] = {"pg_dump", "pg_restore"};
    for (size_t i = 0; i < ARRAY_LEN(programs); i++) {
        _cleanup_free_ char *seen =
            xasprintf("{ tr '\\0' ' ' < /proc/$$/cmdline; echo; } >> %s/args; env >> %s/env;"
                      " exec \"$real\" \"$@\"",
                      p.dir, p.dir);
        _cleanup_free_ char *dir = make_program(&p, programs[i], seen);
        if (i == 0)
            path_begins_with(dir);
    }
    _cleanup_err_ struct err err = {0};
    _cleanup_conninfo_ struct conninfo c = {0};
    _cleanup_free_ char *args = NULL, *env = NULL, *args_path = path_join(p.dir, "args"),
                        *env_path = path_join(p.dir, "env");
    ASSERT_OK(conninfo_parse(scratch_url(p.f.scratch), &c, &err), &err);
    conninfo_set(&c, "password", "s3cr3t'\"%40");
    _cleanup_free_ char *url = conninfo_url(&c);
    ASSERT_OK(place_backup_url(&p, url, &err), &err);
    _cleanup_free_ char *to = place_url(&p, "passwords_back");
    conninfo_set(&c, "dbname", "passwords_back");
    _cleanup_free_ char *with_password = conninfo_url(&c);
    _cleanup_free_ char *notes = place_restore(&p, with_password);
    size_t len;
    ASSERT_OK(file_read(args_path, &args, &len, &err), &err);
    ASSERT_OK(file_read(env_path, &env, &len, &err), &err);
    ck_assert_ptr_null(strstr(args, "s3cr3t"));
    ck_assert_ptr_nonnull(strstr(args, "pg_dump"));
    ck_assert_ptr_nonnull(strstr(args, "pg_restore"));
    ck_assert_ptr_nonnull(strstr(env, "PGPASSWORD=s3cr3t'\"%40\n"));
    place_close(&p);
}
END_TEST

/* Ends what copies in the databases but for the session that asks. */
static void end_copies(void *data, const struct backup_progress *progress)
{
    struct meddler *m = data;
    if (strcmp(progress->phase, m->phase) != 0)
        return;
    if (progress->done == 0) { /* reports come 200 ms apart: the next is one with rows */
        usleep(250000);
        return;
    }
    _cleanup_free_ char *n = place_query(m->place->f.db, m->sql);
    m->done = m->done || strcmp(n, "0") != 0;
}

START_TEST(pg_dump_is_ended_when_a_reader_fails)
{
    struct place p;
    place_open(&p);
    place_sql(p.f.db, "create table long (t text); insert into long"
                      " select repeat(md5(i::text), 30) from generate_series(1, 40000) i");
    _cleanup_free_ char *pid_path = path_join(p.dir, "pid");
    _cleanup_free_ char *text = xasprintf("echo $$ > %s; exec sleep 1000", pid_path);
    _cleanup_free_ char *dir = make_program(&p, "pg_dump", text);
    path_begins_with(dir);
    _cleanup_err_ struct err err = {0};
    struct backup_summary s = {0};
    struct meddler m = {.place = &p,
                        .phase = "rows",
                        .sql = "select count(pg_terminate_backend(pid)) from pg_stat_activity"
                               " where datname = current_database()"
                               " and query like 'savepoint belay%'"};
    int rc = backup_create(&(struct backup_options){.url = scratch_url(p.f.scratch),
                                                    .path = p.bundle,
                                                    .jobs = 2,
                                                    .control = {.report = end_copies, .data = &m}},
                           &s, &err);
    ck_assert_int_eq(rc, -1);
    ck_assert(m.done);
    ck_assert_msg(err.code == ERR_CONNECTION || strcmp(err.sqlstate, "57P01") == 0, "%s",
                  err.message);
    ck_assert(!file_exists(p.bundle));
    place_close(&p);
}
END_TEST

/* ---- kills ---- */

/* "victim": as a bundle of it was made, changed since. */
static char *make_victim(struct place *p)
{
    char *url = place_url(p, "victim");
    _cleanup_err_ struct err err = {0};
    place_sql(p->f.db, "create database victim");
    struct db *db = place_db(url);
    place_sql(db, "create table t (id serial primary key, a text); insert into t (a) select 'old'"
                  " from generate_series(1, 40000) i");
    ASSERT_OK(place_backup_url(p, url, &err), &err);
    place_sql(db, "update t set a = 'new'");
    db_close(db);
    return url;
}

static char *content(const char *url)
{
    struct db *db = place_db(url);
    char *a = place_query(db, "select string_agg(distinct a, ',') || count(*) from t");
    db_close(db);
    return a;
}

START_TEST(a_backend_ended_while_rows_are_loaded_leaves_the_target_as_it_was)
{
    struct place p;
    place_open(&p);
    _cleanup_free_ char *url = make_victim(&p),
                        *before = place_query(p.f.db, "select count(*) from pg_database");
    _cleanup_err_ struct err err = {0};
    struct restore_result r = {0};
    struct meddler m = {.place = &p,
                        .phase = "rows",
                        .sql = "select count(pg_terminate_backend(pid)) from pg_stat_activity"
                               " where datname like 'belay%' and datname <> current_database()"
                               " and query like 'copy %'"};
    int rc = backup_restore(
        &(struct restore_options){
            .path = p.bundle, .url = url, .jobs = 1, .control = {.report = end_copies, .data = &m}},
        &r, &err);
    ck_assert_int_eq(rc, -1);
    ck_assert(m.done);
    _cleanup_free_ char *now = content(url);
    ck_assert_str_eq(now, "new40000");
    _cleanup_free_ char *after = place_query(p.f.db, "select count(*) from pg_database");
    ck_assert_str_eq(after, before);
    place_close(&p);
}
END_TEST

static struct {
    int countdown; /* statements of the swap until the kill */
    bool after, armed;
} swap_plan;

int __real_db_run(struct db *db, const char *sql, unsigned flags, int *ret_ran, struct err *err);
int __wrap_db_run(struct db *db, const char *sql, unsigned flags, int *ret_ran, struct err *err);

/* From the swap's first statement on, belay is killed before or after a certain one. */
int __wrap_db_run(struct db *db, const char *sql, unsigned flags, int *ret_ran, struct err *err)
{
    if (str_starts(sql, "begin; set local lock_timeout"))
        swap_plan.armed = swap_plan.countdown >= 0;
    bool here = swap_plan.armed && swap_plan.countdown-- == 0;
    if (here && !swap_plan.after)
        kill(getpid(), SIGKILL);
    int rc = __real_db_run(db, sql, flags, ret_ran, err);
    if (here)
        kill(getpid(), SIGKILL);
    return rc;
}

/* Returns false when the swap has fewer statements. */
static bool killed_in_swap(const struct place *p, const char *url, int n, bool after)
{
    pid_t pid = fork();
    if (pid == 0) {
        struct err err = {0};
        struct restore_result r = {0};
        swap_plan.countdown = n;
        swap_plan.after = after;
        int rc = backup_restore(&(struct restore_options){.path = p->bundle, .url = url, .jobs = 1},
                                &r, &err);
        _exit(rc < 0);
    }
    int status;
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert(WIFSIGNALED(status) || WEXITSTATUS(status) == 0);
    return WIFSIGNALED(status);
}

/* The server may still be at what a dead client asked for. */
static bool nobody_renames(void *data)
{
    struct place *p = data;
    _cleanup_free_ char *n =
        place_query(p->f.db, "select count(*) from pg_stat_activity where state <> 'idle'"
                             " and pid <> pg_backend_pid()");
    return strcmp(n, "0") == 0;
}

START_TEST(killed_within_the_swap_the_target_is_the_old_one_or_the_new_one)
{
    struct place p;
    place_open(&p);
    _cleanup_free_ char *url = make_victim(&p);
    int old = 0, new = 0;
    bool hit = true;
    for (int n = 0; hit; n++) {
        hit = killed_in_swap(&p, url, n, _i);
        ck_assert(wait_until(nobody_renames, &p));
        _cleanup_free_ char *now = content(url),
                            *kept = place_query(
                                p.f.db,
                                "select string_agg(quote_ident(datname), '') from pg_database"
                                " where datname like 'victim\\_before\\_restore\\_%'");
        bool is_new = strcmp(now, "old40000") == 0;
        ck_assert_msg(is_new || strcmp(now, "new40000") == 0, "statement %d: %s", n, now);
        ck_assert_msg(is_new == (kept != NULL), "statement %d", n);
        ck_assert(is_new || hit);
        old += !is_new;
        new += is_new;
        if (!is_new)
            continue;
        _cleanup_free_ char *drop = xasprintf("drop database victim");
        _cleanup_free_ char *back = xasprintf("alter database %s rename to victim", kept);
        place_sql(p.f.db, drop);
        place_sql(p.f.db, back);
    }
    ck_assert_int_ge(old, 4);
    ck_assert_int_eq(new, _i ? 2 : 1);
    /* the next one clears what was beside */
    _cleanup_free_ char *notes = place_restore(&p, url);
    _cleanup_free_ char *left =
        place_query(p.f.db, "select count(*) from pg_database where datname like 'belay\\_%'"
                            " and datname <> current_database()");
    ck_assert_str_eq(left, "0");
    place_close(&p);
}
END_TEST

/* ---- targets ---- */

START_TEST(a_bundle_goes_to_its_own_engine_alone)
{
    struct place p;
    place_open(&p);
    place_sql(p.f.db, "create table t (a int)");
    place_backup(&p);
    _cleanup_free_ char *file = path_join(p.dir, "x.db"), *url = xasprintf("sqlite:///%s", file);
    _cleanup_err_ struct err err = {0};
    struct restore_result r = {0};
    ck_assert_int_eq(place_try_restore(&p, url, &r, &err), -1);
    ck_assert_int_eq(err.code, ERR_USAGE);
    ck_assert(!file_exists(file));
    place_close(&p);
}
END_TEST

START_TEST(an_older_server_is_refused_before_anything_happens)
{
    struct place p;
    place_open(&p);
    place_sql(p.f.db, "create table t (a int)");
    place_backup(&p);
    _cleanup_err_ struct err err = {0};
    _cleanup_bundle_reader_ struct bundle_reader *reader = NULL;
    ASSERT_OK(bundle_open(p.bundle, NULL, &reader, &err), &err);
    struct manifest m = *bundle_manifest(reader);
    m.version = 990000;
    struct pg_target t = {0};
    ASSERT_OK(pg_target_open(&t, scratch_url(p.f.scratch), &err), &err);
    ck_assert_int_eq(pg_target_check(&t, &m, false, &err), -1);
    ck_assert_int_eq(err.code, ERR_ENV);
    ck_assert_ptr_nonnull(strstr(err.message, "the bundle is of PostgreSQL 99"));
    pg_target_close(&t);
    place_close(&p);
}
END_TEST

/* ---- a server of the test's own ---- */

static char *server_url(const struct own_server *s, const char *dir, const char *port,
                        const char *database)
{
    return xasprintf("postgresql://postgres@/%s?host=%s&port=%s", database, dir ? dir : s->dir,
                     port);
}

static void server_sql(const struct own_server *s, const char *database, const char *sql)
{
    _cleanup_free_ char *url = server_url(s, NULL, "5432", database);
    struct db *db = place_db(url);
    place_sql(db, sql);
    db_close(db);
}

static void must_have_no_scratch(const struct own_server *s)
{
    struct db *db = place_db(s->url);
    _cleanup_free_ char *left =
        place_query(db, "select count(*) from pg_database where datname like 'belay\\_%'");
    ck_assert_str_eq(left, "0");
    db_close(db);
}

static int backup_to(const char *url, const char *bundle, struct err *err)
{
    struct backup_summary s = {0};
    int rc =
        backup_create(&(struct backup_options){.url = url, .path = bundle, .jobs = 2}, &s, err);
    backup_summary_release(&s);
    return rc;
}

static int restore_to(const char *bundle, const char *url, struct err *err)
{
    struct restore_result r = {0};
    int rc =
        backup_restore(&(struct restore_options){.path = bundle, .url = url, .jobs = 2}, &r, err);
    restore_result_release(&r);
    return rc;
}

START_TEST(a_server_whose_disk_is_full_is_left_as_it_was)
{
    struct own_server s;
    _cleanup_err_ struct err err = {0};
    ck_assert_int_eq(unshare(CLONE_NEWNS), 0);
    ck_assert_int_eq(mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
    own_server_start(&s);
    _cleanup_free_ char *small = path_join(s.dir, "small"), *bundle = path_join(s.dir, "x.belay"),
                        *space = xasprintf("create tablespace small location '%s'", small);
    const struct passwd *nobody = getpwnam("nobody");
    _cleanup_free_ char *options = xasprintf("size=24m,mode=0700,uid=%u", (unsigned)nobody->pw_uid);
    ck_assert_int_eq(mkdir(small, 0700), 0);
    ck_assert_int_eq(mount("none", small, "tmpfs", 0, options), 0);
    server_sql(&s, "postgres", space);
    server_sql(&s, "postgres", "create database victim tablespace small");
    server_sql(&s, "victim", "create table mine as select 1 as a");
    server_sql(&s, "postgres",
               "create table large as select repeat(md5(i::text), 30) as t from"
               " generate_series(1, 30000) i");
    _cleanup_free_ char *url = server_url(&s, NULL, "5432", "victim");
    ASSERT_OK(backup_to(s.url, bundle, &err), &err);
    ck_assert_int_eq(restore_to(bundle, url, &err), -1);
    ck_assert_str_eq(err.sqlstate, "53100");
    must_have_no_scratch(&s);
    server_sql(&s, "victim", "select a from mine");
    server_sql(&s, "postgres", "checkpoint");
    ck_assert_int_eq(umount2(small, MNT_DETACH), 0);
    own_server_stop(&s);
}
END_TEST

static bool answers(void *data)
{
    _cleanup_err_ struct err ignored = {0};
    _cleanup_db_ struct db *db = NULL;
    return db_open(&engine_postgres, data, DB_OPEN_DEFAULT, &db, &ignored) == 0;
}

START_TEST(a_pool_in_session_mode_is_as_good_as_the_server_and_others_are_refused)
{
    static const char *const modes[] = {"session", "transaction", "statement"};
    struct own_server s;
    own_server_start(&s);
    char *dir = dir_new();
    _cleanup_free_ char *file = path_join(dir, "pgbouncer.ini"),
                        *bundle = path_join(dir, "x.belay"),
                        *direct = path_join(dir, "direct.belay"),
                        *pooled = server_url(&s, dir, "6543", "app"),
                        *ini = xasprintf("[databases]\n* = host=%s user=postgres\n[pgbouncer]\n"
                                         "pool_mode = %s\nunix_socket_dir = %s\n"
                                         "listen_port = 6543\nauth_type = any\nlogfile = log\n"
                                         "ignore_startup_parameters = options\n",
                                         s.dir, modes[_i], dir),
                        *app = server_url(&s, NULL, "5432", "app");
    _cleanup_err_ struct err err = {0};
    server_sql(&s, "postgres", "create database app");
    server_sql(&s, "app", "create table t as select i as a from generate_series(1, 100) i");
    ASSERT_OK(backup_to(app, direct, &err), &err);
    ASSERT_OK(file_replace(file, ini, strlen(ini), 0644, &err), &err);
    ck_assert_int_eq(chmod(dir, 0777), 0);
    pid_t pool = pooler_start(dir);
    ck_assert(wait_until(answers, pooled));
    int backed_up = backup_to(pooled, bundle, &err);
    if (_i == 0) {
        ASSERT_OK(backed_up, &err);
        ASSERT_OK(restore_to(bundle, pooled, &err), &err);
        server_sql(&s, "app", "select a from t");
    } else {
        ck_assert_int_eq(backed_up, -1);
        ck_assert_int_eq(err.code, ERR_ENV);
        ck_assert_ptr_nonnull(strstr(err.message, "a connection pooler"));
        ck_assert(!file_exists(bundle));
        ck_assert_int_eq(restore_to(direct, pooled, &err), -1);
        ck_assert_ptr_nonnull(strstr(err.message, "a connection pooler"));
        struct db *db = NULL; /* which would set its session read-only, for others */
        ck_assert_int_eq(db_open(&engine_postgres, pooled, DB_OPEN_READONLY, &db, &err), -1);
    }
    must_have_no_scratch(&s);
    kill(pool, SIGTERM);
    ck_assert_int_eq(waitpid(pool, NULL, 0), pool);
    own_server_stop(&s);
    dir_drop(dir);
}
END_TEST

/* Whether this machine lets a shell do that. */
static bool can(const char *command)
{
    _cleanup_proc_result_ struct proc_result r = {0};
    _cleanup_err_ struct err ignored = {0};
    const char *argv[] = {"sh", "-c", command, NULL};
    return proc_run(&(struct proc_options){.argv = argv}, &r, &ignored) == 0 && r.status == 0;
}

int main(void)
{
    swap_plan.countdown = -1;
    Suite *s = suite_create("restore_postgres");
    SUITE_ADD_LOOP(s, large_objects_are_compared_before_they_take_their_place, ARRAY_LEN(objects));
    SUITE_ADD(s, event_triggers_do_not_act_on_the_restore);
    SUITE_ADD(s, tablespaces_come_back_or_are_named_as_missing);
    SUITE_ADD(s, subscriptions_do_not_start_and_do_not_hold_a_failed_restore);
    SUITE_ADD(s, passwords_are_not_in_the_arguments_of_children);
    SUITE_ADD(s, pg_dump_is_ended_when_a_reader_fails);
    SUITE_ADD(s, a_backend_ended_while_rows_are_loaded_leaves_the_target_as_it_was);
    SUITE_ADD_LOOP(s, killed_within_the_swap_the_target_is_the_old_one_or_the_new_one, 2);
    SUITE_ADD(s, a_bundle_goes_to_its_own_engine_alone);
    SUITE_ADD(s, an_older_server_is_refused_before_anything_happens);
    if (can("unshare -m mount -t tmpfs none /mnt 2>/dev/null"))
        SUITE_ADD(s, a_server_whose_disk_is_full_is_left_as_it_was);
    else
        puts("# a full disk is not tested: mounts are not allowed here");
    if (can("command -v pgbouncer >/dev/null"))
        SUITE_ADD_LOOP(s, a_pool_in_session_mode_is_as_good_as_the_server_and_others_are_refused,
                       3);
    else
        puts("# pools are not tested: there is no pgbouncer");
    return fixture_run(s);
}
