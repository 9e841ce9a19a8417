/*
 * What belay deploy refuses on PostgreSQL before it begins: each says what, where and what to do about it, and leaves the
 * database, the journal and the server as they were.
 */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness/base/file.h"
#include "harness/base/proc.h"
#include "harness/engine/url.h"
#include "tests/belay_process.h"
#include "tests/bundle_fixture.h"
#include "tests/deploy_site.h"
#include "tests/migration_folder.h"
#include "tests/own_server.h"

static struct own_server server;

#define UP(text) "-- migrate:up\n" text "\n-- migrate:down\n"
static const struct file plain[] = {
    {"db/migrations/1_base.sql",
     UP("create table people (id int primary key, name text);") "drop table people;\n"},
    {"db/migrations/2_x.sql",
     UP("alter table people add mail text;") "alter table people drop mail;\n"},
    {0}};

static void begin(struct site *s)
{
    char *dir = folder_new();
    folder_fill(dir, plain);
    site_open(s, server.url, dir);
    site_belay(s, 0, "upgrade 1");
    site_sql(s, "insert into people select i, 'person ' || i from generate_series(1, 20) i");
    site_begin(s);
}

static void expect_said(const struct site *s, const char *part)
{
    ck_assert_msg(strstr(s->errors, part) != NULL, "no \"%s\":\n%s", part, s->errors);
}

/* By the deploy and by its dry run; both parts are said, and nothing is changed. */
static void refused(struct site *s, int status, const char *args, const char *what,
                    const char *hint)
{
    for (int dry = 0; dry < 2; dry++) {
        _cleanup_free_ char *all = xasprintf("deploy %s%s", args, dry ? " --dry-run" : "");
        site_belay(s, status, all);
        expect_said(s, what);
        expect_said(s, hint);
        _cleanup_free_ char *now = site_state(s, s->name);
        ck_assert_str_eq(now, s->old);
    }
    _cleanup_free_ char *bundle = site_notes(s, "bundle");
    ck_assert_str_eq(bundle, "");
    ck_assert(!s->entry.database || s->entry.state == DEPLOY_ABORTED);
}

static void deploys_after_all(struct site *s)
{
    site_belay(s, 0, "deploy");
    site_is_at(s, DEPLOY_DONE);
    site_close(s);
}

START_TEST(prepared_transactions_are_named)
{
    struct site s;
    begin(&s);
    site_sql(&s, "begin; insert into people values (99, 'prepared'); prepare transaction 'of me'");
    refused(&s, 1, "", "there are prepared transactions ('of me')", "COMMIT PREPARED");
    site_sql(&s, "rollback prepared 'of me'");
    deploys_after_all(&s);
}
END_TEST

START_TEST(an_active_replication_slot_is_named)
{
    struct site s;
    begin(&s);
    site_sql(&s, "select pg_create_logical_replication_slot('watcher', 'test_decoding')");
    _cleanup_free_ char *bindir = path_dir(server.program);
    _cleanup_free_ char *program = path_join(bindir, "pg_recvlogical");
    pid_t reader = fork();
    if (reader == 0) {
        execl(program, program, "-d", s.url, "-S", "watcher", "--start", "-f", "/dev/null",
              (char *)NULL);
        _exit(127);
    }
    site_until(&s, "select bool_or(active) from pg_replication_slots");
    refused(&s, 1, "", "active replication slots (watcher)", "stop what reads from them");
    kill(reader, SIGTERM);
    site_wait(reader);
    site_until(&s, "select not bool_or(active) from pg_replication_slots");
    site_sql(&s, "select pg_drop_replication_slot('watcher')");
    deploys_after_all(&s);
}
END_TEST

static void use_role(struct site *s, const char *role)
{
    _cleanup_err_ struct err err = {0};
    _cleanup_conninfo_ struct conninfo c = {0};
    ASSERT_OK(conninfo_parse(s->url, &c, &err), &err);
    conninfo_set(&c, "user", role);
    free(s->url);
    s->url = conninfo_url(&c);
}

/* An ordinary role that owns its database and may create others is enough, for the way back too. */
START_TEST(a_role_that_could_not_restore_is_refused)
{
    struct site s;
    begin(&s);
    _cleanup_free_ char *own =
        xasprintf("create role app login; alter database %s owner to app", s.name);
    site_server_sql(&s, own);
    site_sql(&s, "alter table people owner to app; alter table schema_migrations owner to app;"
                 "grant all on schema public to app");
    site_begin(&s);
    use_role(&s, "app");
    refused(&s, 1, "", "the role app could not restore", "CREATEDB");
    site_server_sql(&s, "alter role app createdb");
    site_belay(&s, 4, "deploy --probe false");
    site_is_back(&s, "downgrade");
    deploys_after_all(&s);
}
END_TEST

START_TEST(an_unknown_version_is_named)
{
    struct site s;
    begin(&s);
    site_sql(&s, "insert into schema_migrations values ('77')");
    site_begin(&s);
    refused(&s, 1, "", "the database is at 77, which the project does not have", "stamp --detect");
    site_close(&s);
}
END_TEST

START_TEST(tables_without_a_version_table_are_refused)
{
    struct site s;
    begin(&s);
    site_sql(&s, "alter table schema_migrations rename to elsewhere");
    site_begin(&s);
    refused(&s, 1, "", "is not empty, and has no version table", "stamp --detect");
    site_close(&s);
}
END_TEST

START_TEST(drift_is_shown_object_by_object)
{
    struct site s;
    begin(&s);
    site_sql(&s, "create index odd on people (name)");
    site_begin(&s);
    refused(&s, 1, "", "+ index public.odd", "--allow-drift");
    site_close(&s);
}
END_TEST

START_TEST(several_heads_are_the_projects_fault)
{
    struct site s;
    char *dir = folder_new();
    folder_fill(dir, (const struct file[]){
                         {"m/1.sql", "-- revision: 1\n-- upgrade\ncreate table people (id int);\n"},
                         {"m/2.sql", "-- revision: 2\n-- revises: 1\n-- upgrade\nselect 1;\n"},
                         {"m/3.sql", "-- revision: 3\n-- revises: 1\n-- upgrade\nselect 1;\n"},
                         {"belay.yaml", "dir: m\n"},
                         {0}});
    site_open(&s, server.url, dir);
    site_belay(&s, 0, "upgrade 1");
    site_begin(&s);
    refused(&s, 1, "", "2 heads", "merge revision");
    refused(&s, 2, "--to 9", "no revision \"9\"", "from 1 to 3");
    site_belay(&s, 0, "deploy --to heads");
    site_close(&s);
}
END_TEST

START_TEST(only_what_a_check_has_passed_is_deployed_where_that_is_asked_for)
{
    struct site s;
    begin(&s);
    site_belay(&s, 0, "check -q --record checked.txt --fail-on error");
    folder_write(s.project, "db/migrations/3_x.sql", UP("select 1;"), strlen(UP("select 1;")));
    refused(&s, 1, "--require-check checked.txt", "no check has passed 3", "belay check --record");
    site_belay(&s, 0, "deploy --require-check checked.txt --to 2");
    site_close(&s);
}
END_TEST

/* ---- a pool ---- */

START_TEST(a_pool_is_refused_and_keeps_nothing_of_belays_session)
{
    static const char *const modes[] = {"transaction", "session"};
    struct site s;
    begin(&s);
    char *dir = dir_new();
    _cleanup_free_ char *ini =
        xasprintf("[databases]\n%s = host=%s user=postgres\n[pgbouncer]\npool_mode = %s\n"
                  "unix_socket_dir = %s\nlisten_port = 6543\nauth_type = any\nlogfile = log\n"
                  "default_pool_size = 1\n",
                  s.name, server.dir, modes[_i], dir);
    folder_write(dir, "pgbouncer.ini", ini, strlen(ini));
    if (geteuid() == 0)
        ck_assert_int_eq(chmod(dir, 0777), 0);
    pid_t pool = pooler_start(dir);
    char *direct = s.url;
    s.url = xasprintf("postgresql://postgres@/%s?host=%s&port=6543", s.name, dir);
    refused(&s, 3, "--wait 60s", "goes through a pooler", "name the server itself in the URL");
    _cleanup_free_ char *mode = site_value(&s, "show default_transaction_read_only");
    ck_assert_str_eq(mode, "off");
    kill(pool, SIGTERM);
    site_wait(pool);
    free(s.url);
    s.url = direct;
    deploys_after_all(&s);
    dir_drop(dir);
}
END_TEST

/* ---- what the machine lacks ---- */

/* Runs belay deploy after the shell commands, in a mount namespace of their own. */
static void deploy_mounted(struct site *s, const char *commands, int status, const char *what,
                           const char *hint)
{
    _cleanup_err_ struct err err = {0};
    _cleanup_proc_result_ struct proc_result r = {0};
    _cleanup_free_ char *script = xasprintf("%s && exec \"$BELAY_BIN\" deploy", commands);
    _cleanup_free_ char *url = xasprintf("BELAY_URL=%s", s->url);
    _cleanup_free_ char *scratch = xasprintf("BELAY_SCRATCH_URL=%s", s->server);
    _cleanup_free_ char *bundles = xasprintf("BELAY_BUNDLES=%s", s->bundles);
    const struct proc_options o = {
        .argv = (const char *const[]){"unshare", "-m", "sh", "-c", script, NULL},
        .env = (const char *const[]){url, scratch, bundles, "LC_ALL=C.UTF-8", NULL},
        .dir = s->project,
    };
    ASSERT_OK(proc_run(&o, &r, &err), &err);
    const char *said = str_get(&r.errors);
    ck_assert_msg(r.status == status && strstr(said, what) && strstr(said, hint), "exit %d\n%s",
                  r.status, said);
    _cleanup_free_ char *now = site_state(s, s->name);
    ck_assert_str_eq(now, s->old);
}

START_TEST(a_pg_dump_that_is_older_than_the_server_is_refused)
{
    static const char old[] = "#!/bin/sh\necho 'pg_dump (PostgreSQL) 9.6.24'\n";
    struct site s;
    begin(&s);
    folder_write(s.project, "old/9.6/bin/pg_dump", old, strlen(old));
    deploy_mounted(&s,
                   "chmod +x old/9.6/bin/pg_dump && mount --bind old /usr/lib/postgresql"
                   " && export PATH=$PWD/old/9.6/bin:/usr/bin:/bin",
                   3, "the newest pg_dump on this machine is of PostgreSQL 9, and",
                   "postgresql-client-");
    deploys_after_all(&s);
}
END_TEST

/* Found out before, as far as the size of the database tells; and when the disk is full in the middle. */
START_TEST(a_disk_without_room_for_the_bundle_changes_nothing)
{
    struct site s;
    begin(&s);
    site_sql(&s,
             "insert into people select i, (select string_agg(encode(sha512(random()::text::bytea),"
             " 'base64'), '') from generate_series(1, 115) where i > 0)"
             " from generate_series(100, 1000) i");
    site_begin(&s);
    /* 18 MB with the catalogs, a third of which is what is asked for: random rows make up 6.7 MB in the bundle */
    _cleanup_free_ char *mount =
        xasprintf("mount -t tmpfs -o size=%dk none '%s'", _i ? 6300 : 1000, s.bundles);
    deploy_mounted(&s, mount, 3, _i ? "the bundle: " : "no room for the bundle",
                   _i ? "No space left" : "free");
    deploys_after_all(&s);
}
END_TEST

static bool can(const char *command)
{
    int status = system(command);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static void server_begin(void)
{
    own_server_start(&server);
    own_server_configure(&server, "max_prepared_transactions = 2\nwal_level = logical\n");
}

static void server_end(void)
{
    own_server_stop(&server);
}

int main(void)
{
    Suite *s = suite_create("deploy_preflight");
    TCase *t = tcase_create("all");
    tcase_set_timeout(t, 0);
    tcase_add_unchecked_fixture(t, server_begin, server_end); /* one server for all */
    tcase_add_test(t, prepared_transactions_are_named);
    tcase_add_test(t, an_active_replication_slot_is_named);
    tcase_add_test(t, a_role_that_could_not_restore_is_refused);
    tcase_add_test(t, an_unknown_version_is_named);
    tcase_add_test(t, tables_without_a_version_table_are_refused);
    tcase_add_test(t, drift_is_shown_object_by_object);
    tcase_add_test(t, several_heads_are_the_projects_fault);
    tcase_add_test(t, only_what_a_check_has_passed_is_deployed_where_that_is_asked_for);
    if (can("command -v pgbouncer >/dev/null"))
        tcase_add_loop_test(t, a_pool_is_refused_and_keeps_nothing_of_belays_session, 0, 2);
    else
        puts("# pools are not tested: there is no pgbouncer");
    if (can("unshare -m mount -t tmpfs none /mnt 2>/dev/null")) {
        tcase_add_test(t, a_pg_dump_that_is_older_than_the_server_is_refused);
        tcase_add_loop_test(t, a_disk_without_room_for_the_bundle_changes_nothing, 0, 2);
    } else {
        puts("# an old pg_dump and a full disk are not tested: mounts are not allowed here");
    }
    suite_add_tcase(s, t);
    return suite_run(s);
}
