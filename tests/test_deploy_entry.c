/*
 * belay deploy as what a container starts: it waits, deploys and becomes the server. On SQLite, an SQL folder and an
 * Alembic project; as the first process of a namespace where the machine lets us.
 */
#include <sys/stat.h>
#include <unistd.h>

#include "tests/alembic_project.h"
#include "tests/deploy_world.h"
#include "tests/suite.h"

#define ENDLESS                                                                                    \
    "with recursive n(i) as (select 1 union all select i + 1 from n) select max(i) from n"

START_TEST(ten_that_start_at_once_deploy_once)
{
    static const struct change counted[] = {
        {"create table runs (n)\ninsert into runs values (1)", "drop table runs", false}, {0}};
    struct world w;
    world_open(&w, FOLDER, counted);
    _cleanup_free_ char *url = xasprintf("DATABASE_URL=%s", w.url);
    _cleanup_proc_result_ struct proc_result r = {0};
    _cleanup_err_ struct err err = {0};
    const struct proc_options o = {
        .argv = (const char *const[]){"sh", "-c",
                                      "for i in 1 2 3 4 5 6 7 8 9 10; do"
                                      " \"$BELAY_BIN\" deploy --wait 120s -- echo started & done; "
                                      "wait",
                                      NULL},
        .env = (const char *const[]){url, "BELAY_DIR=m", NULL},
        .dir = w.dir,
    };
    ASSERT_OK(proc_run(&o, &r, &err), &err);
    size_t started = 0;
    for (const char *p = str_get(&r.output); (p = strstr(p, "started\n")); p++)
        started++;
    ck_assert_msg(started == 10, "%zu: %s%s", started, str_get(&r.output), str_get(&r.errors));
    ck_assert_uint_eq(deploys(&w), 1);
    expect_sql(&w, "select count(*) from runs", "1");
    world_close(&w);
}
END_TEST

/* The entrypoint of scenarios/plantrip, with a server of its own in the place of uvicorn, as PID 1 where the machine
 * lets us. */
START_TEST(an_entrypoint_becomes_the_server_and_signals_reach_it)
{
    static const char server[] = "#!/bin/sh\n"
                                 "trap 'echo \"ended as $$\" >ended; exit 7' TERM\n"
                                 "echo \"$@\" >started\n"
                                 "while :; do sleep 0.05; done\n";
    struct world w;
    world_open(&w, _i, two_changes);
    write_text(w.dir, "bin/uvicorn", server);
    _cleanup_free_ char *program = path_join(w.dir, "bin/uvicorn");
    ck_assert_int_eq(chmod(program, 0755), 0);
    _cleanup_free_ char *url = xasprintf("DATABASE_URL=%s", w.url);
    _cleanup_proc_result_ struct proc_result r = {0};
    _cleanup_err_ struct err err = {0};
    const struct proc_options o = {
        .argv =
            (const char *const[]){
                "sh", "-c",
                "ln -s \"$BELAY_BIN\" bin/belay; PATH=$PWD/bin:$PATH; BELAY_BUNDLES=b; export PATH "
                "BELAY_BUNDLES\n"
                "entry=$BELAY_SOURCE_DIR/scenarios/plantrip/backend/entrypoint.sh\n"
                "if unshare -pf --mount-proc true 2>/dev/null; then\n"
                "    unshare -pf --mount-proc --kill-child sh \"$entry\" & outer=$!\n"
                "    until test -s started || ! kill -0 $outer; do sleep 0.05; done\n"
                "    kill -TERM $(cat /proc/$outer/task/$outer/children)\n"
                "else\n"
                "    sh \"$entry\" & outer=$!\n"
                "    until test -s started || ! kill -0 $outer; do sleep 0.05; done\n"
                "    kill -TERM $outer\n"
                "fi\n"
                "wait $outer; echo \"status $?\"; cat started ended",
                NULL},
        .env = (const char *const[]){url, "BELAY_PYTHON=" PYTHON,
                                     w.kind == FOLDER ? "BELAY_DIR=m" : NULL, NULL},
        .dir = w.dir,
    };
    ASSERT_OK(proc_run(&o, &r, &err), &err);
    const char *out = str_get(&r.output);
    ck_assert_msg(strstr(out, "status 7\napp.main:app --host 0.0.0.0 --port 8000\nended as "),
                  "%s\n%s", out, str_get(&r.errors));
    expect_sql(&w, "select id from towns", "7");
    world_close(&w);
}
END_TEST

/* The first process of a container gets no signal that it has no handler for. */
START_TEST(a_signal_in_the_middle_goes_back_also_as_the_first_process)
{
    static const struct change endless[] = {
        {"create table g2 (x)", "drop table g2", false}, {ENDLESS, "select 1", false}, {0}};
    struct world w;
    world_open(&w, _i, endless);
    _cleanup_free_ char *before = dump(&w), *url = xasprintf("DATABASE_URL=%s", w.url);
    _cleanup_proc_result_ struct proc_result r = {0};
    _cleanup_err_ struct err err = {0};
    const struct proc_options o = {
        .argv =
            (const char *const[]){
                "sh", "-c",
                "alone=\n"
                "if unshare -pf --mount-proc true 2>/dev/null; then\n"
                "    alone='unshare -pf --mount-proc --kill-child'\n"
                "fi\n"
                "$alone \"$BELAY_BIN\" deploy -- touch started & outer=$!\n"
                "until sqlite3 belay-bundles/journal.db \"select detail from note where "
                "what = 'upgrade'\" 2>/dev/null | grep r3; do\n"
                "    kill -0 $outer || exit 1\n"
                "    sleep 0.05\n"
                "done\n"
                "kill -TERM $(test \"$alone\" && cat /proc/$outer/task/$outer/children || "
                "echo $outer)\n"
                "wait $outer; echo \"status $?\"; ls",
                NULL},
        .env = (const char *const[]){url, "BELAY_PYTHON=" PYTHON,
                                     w.kind == FOLDER ? "BELAY_DIR=m" : NULL, NULL},
        .dir = w.dir,
    };
    ASSERT_OK(proc_run(&o, &r, &err), &err);
    const char *out = str_get(&r.output);
    ck_assert_msg(strstr(out, "status 4\n") && !strstr(out, "started"), "%s\n%s", out,
                  str_get(&r.errors));
    _cleanup_free_ char *after = dump(&w);
    ck_assert_str_eq(before, after);
    expect_newest(&w, "rung", "downgrade");
    world_close(&w);
}
END_TEST

START_TEST(a_failed_deploy_starts_no_server)
{
    struct world w;
    world_open(&w, FOLDER, two_changes);
    expect_run(&w, "deploy --probe=false -- touch started", 4, NULL);
    _cleanup_free_ char *started = path_join(w.dir, "started");
    ck_assert(!file_exists(started));
    expect_run(&w, "deploy -- touch started", 0, NULL);
    ck_assert(file_exists(started));
    expect_run(&w, "deploy -- false", 1, "nothing to deploy");
    world_close(&w);
}
END_TEST

int main(void)
{
    const char *why = alembic_suite_begin();
    if (why)
        return suite_skip(why);
    Suite *s = suite_create("deploy_entry");
    SUITE_ADD(s, ten_that_start_at_once_deploy_once);
    SUITE_ADD_LOOP(s, an_entrypoint_becomes_the_server_and_signals_reach_it, KINDS);
    SUITE_ADD_LOOP(s, a_signal_in_the_middle_goes_back_also_as_the_first_process, KINDS);
    SUITE_ADD(s, a_failed_deploy_starts_no_server);
    return suite_run(s);
}
