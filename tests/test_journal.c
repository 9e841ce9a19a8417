#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "backup/journal.h"
#include "harness/base/file.h"
#include "harness/engine/engine.h"
#include "harness/engine/url.h"
#include "tests/fixture.h"

static char dir[64];
static struct journal *j;
static struct err err;

static void setup(void)
{
    strcpy(dir, "/tmp/belay-test-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    ASSERT_OK(journal_open(dir, &j, &err), &err);
}

static void teardown(void)
{
    journal_close(TAKE_PTR(j));
    err_release(&err);
    ASSERT_OK(tree_remove(dir, &err), &err);
}

static void reopen(void)
{
    journal_close(TAKE_PTR(j));
    ASSERT_OK(journal_open(dir, &j, &err), &err);
}

static struct deploy_entry begun(const char *database)
{
    struct deploy_entry e = {.database = xstrdup(database),
                             .engine = xstrdup("postgres"),
                             .from = xstrdup("0003"),
                             .to = xstrdup("0005")};
    ASSERT_OK(journal_begin(j, &e, &err), &err);
    return e;
}

START_TEST(a_deploy_reads_back_as_it_was_written)
{
    struct deploy_entry e = begun("postgresql://db/app"), read = {0};
    bool found = false;
    e.bundle = xstrdup("/b/app.belay");
    e.twin = xstrdup("app_twin");
    ASSERT_OK(journal_move(j, &e, DEPLOY_UPGRADING, NULL, &err), &err);
    reopen();
    ASSERT_OK(journal_unfinished(j, "postgresql://db/app", &read, &found, &err), &err);
    ck_assert(found);
    ck_assert_int_eq(read.id, e.id);
    ck_assert_int_eq(read.state, DEPLOY_UPGRADING);
    ck_assert_str_eq(read.engine, "postgres");
    ck_assert_str_eq(read.from, "0003");
    ck_assert_str_eq(read.to, "0005");
    ck_assert_str_eq(read.bundle, "/b/app.belay");
    ck_assert_str_eq(read.twin, "app_twin");
    ck_assert_ptr_null(read.rung);
    ck_assert_ptr_null(read.finished);
    ck_assert_str_eq(read.started, e.started);
    deploy_entry_release(&read);
    deploy_entry_release(&e);
}
END_TEST

START_TEST(one_database_has_one_unfinished_deploy)
{
    struct deploy_entry e = begun("a"),
                        second = {.database = xstrdup("a"), .engine = xstrdup("sqlite")};
    ck_assert_int_lt(journal_begin(j, &second, &err), 0);
    ck_assert_int_eq(err.code, ERR_CONFIG);
    ck_assert_ptr_nonnull(strstr(err.message, "preparing"));
    ck_assert_ptr_nonnull(strstr(err.hint, "belay recover"));
    err_release(&err);

    struct deploy_entry other = begun("b"); /* another database is free */
    ASSERT_OK(journal_move(j, &e, DEPLOY_ABORTED, "no room", &err), &err);
    ck_assert_ptr_nonnull(e.finished);
    ASSERT_OK(journal_begin(j, &second, &err), &err); /* and so is this one, at its end */
    ck_assert_int_gt(second.id, e.id);
    deploy_entry_release(&e);
    deploy_entry_release(&second);
    deploy_entry_release(&other);
}
END_TEST

START_TEST(of_two_processes_that_begin_at_once_one_wins)
{
    journal_close(TAKE_PTR(j));
    enum { RACERS = 6 };
    pid_t pids[RACERS];
    for (int i = 0; i < RACERS; i++) {
        pids[i] = fork();
        if (pids[i] == 0) {
            struct journal *mine = NULL;
            struct deploy_entry e = {.database = xstrdup("a"), .engine = xstrdup("sqlite")};
            int code = journal_open(dir, &mine, &err) < 0   ? 2
                       : journal_begin(mine, &e, &err) == 0 ? 0
                       : err.code == ERR_CONFIG             ? 1
                                                            : 2;
            _exit(code);
        }
    }
    int won = 0, lost = 0;
    for (int i = 0; i < RACERS; i++) {
        int status;
        ck_assert_int_eq(waitpid(pids[i], &status, 0), pids[i]);
        won += WIFEXITED(status) && WEXITSTATUS(status) == 0;
        lost += WIFEXITED(status) && WEXITSTATUS(status) == 1;
    }
    ck_assert_int_eq(won, 1);
    ck_assert_int_eq(lost, RACERS - 1);
}
END_TEST

START_TEST(a_move_keeps_the_message_unless_it_has_one)
{
    struct deploy_entry e = begun("a");
    struct deploy_entries list = {0};
    ASSERT_OK(journal_move(j, &e, DEPLOY_UPGRADING, NULL, &err), &err);
    e.rung = xstrdup("downgrade");
    ASSERT_OK(journal_move(j, &e, DEPLOY_ROLLING_BACK, "0004 does not upgrade", &err), &err);
    free(e.rung);
    e.rung = xstrdup("restore");
    ASSERT_OK(journal_move(j, &e, DEPLOY_ROLLING_BACK, NULL, &err), &err);
    e.evidence = xstrdup("app_failed");
    ASSERT_OK(journal_move(j, &e, DEPLOY_RESTORED, NULL, &err), &err);
    ASSERT_OK(journal_list(j, NULL, &list, &err), &err);
    ck_assert_uint_eq(list.n, 1);
    ck_assert_str_eq(list.v[0].message, "0004 does not upgrade");
    ck_assert_str_eq(list.v[0].rung, "restore");
    ck_assert_str_eq(list.v[0].evidence, "app_failed");
    ck_assert_ptr_nonnull(list.v[0].finished);
    deploy_entries_release(&list);
    deploy_entry_release(&e);
}
END_TEST

START_TEST(the_newest_deploy_is_listed_first)
{
    struct deploy_entry a = begun("a"), b = begun("b");
    struct deploy_entries list = {0}, of_a = {0};
    ASSERT_OK(journal_list(j, NULL, &list, &err), &err);
    ASSERT_OK(journal_list(j, "a", &of_a, &err), &err);
    ck_assert_uint_eq(list.n, 2);
    ck_assert_str_eq(list.v[0].database, "b");
    ck_assert_uint_eq(of_a.n, 1);
    ck_assert_int_eq(of_a.v[0].id, a.id);
    deploy_entries_release(&list);
    deploy_entries_release(&of_a);
    deploy_entry_release(&a);
    deploy_entry_release(&b);
}
END_TEST

START_TEST(notes_keep_their_order)
{
    struct deploy_entry e = begun("a");
    struct deploy_notes notes = {0};
    ASSERT_OK(journal_note(j, e.id, "step", "0004", &err), &err);
    ASSERT_OK(journal_note(j, e.id, "lock", NULL, &err), &err);
    ASSERT_OK(journal_notes(j, e.id, &notes, &err), &err);
    ck_assert_uint_eq(notes.n, 2);
    ck_assert_str_eq(notes.v[0].what, "step");
    ck_assert_str_eq(notes.v[0].detail, "0004");
    ck_assert_str_eq(notes.v[1].what, "lock");
    ck_assert_ptr_null(notes.v[1].detail);
    deploy_notes_release(&notes);
    deploy_entry_release(&e);
}
END_TEST

START_TEST(a_dead_owner_is_told_from_a_living_one_and_from_one_elsewhere)
{
    bool known = false;
    struct deploy_entry e = begun("a");
    ck_assert(deploy_entry_alive(&e, &known));
    ck_assert(known);

    /* the pid again, of another process */
    free(e.process);
    e.process = xstrdup("0/1");
    ck_assert(!deploy_entry_alive(&e, &known));

    /* a process that has ended */
    pid_t child = fork();
    if (child == 0)
        _exit(journal_adopt(j, &e, &err) < 0);
    int status;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_int_eq(status, 0);
    struct deploy_entry read = {0};
    bool found = false;
    reopen();
    ASSERT_OK(journal_unfinished(j, "a", &read, &found, &err), &err);
    ck_assert(found);
    ck_assert_int_eq(read.pid, child);
    ck_assert(!deploy_entry_alive(&read, &known));
    ck_assert(known);

    free(read.host);
    read.host = xstrdup("another-host");
    ck_assert(deploy_entry_alive(&read, &known));
    ck_assert(!known);
    deploy_entry_release(&read);
    deploy_entry_release(&e);
}
END_TEST

START_TEST(the_file_is_for_its_owner_alone)
{
    struct stat st;
    char *path = path_join(dir, "journal.db");
    ck_assert_int_eq(stat(path, &st), 0);
    ck_assert_int_eq(st.st_mode & 0777, 0600);
    free(path);
}
END_TEST

static void spoil(const char *sql)
{
    struct db *db = NULL;
    char *path = path_join(dir, "journal.db"), *url = url_for_sqlite_path(path);
    journal_close(TAKE_PTR(j));
    ASSERT_OK(db_open(&engine_sqlite, url, DB_OPEN_DEFAULT, &db, &err), &err);
    ASSERT_OK(db_run(db, sql, DB_RUN_STATEMENTS, NULL, &err), &err);
    db_close(db);
    free(path);
    free(url);
    ck_assert_int_lt(journal_open(dir, &j, &err), 0);
    ck_assert_int_eq(err.code, ERR_CONFIG);
}

START_TEST(a_database_of_somebody_else_is_refused)
{
    spoil("pragma application_id = 1");
    ck_assert_ptr_nonnull(strstr(err.message, "is not a journal"));
}
END_TEST

START_TEST(a_journal_of_a_newer_belay_is_refused)
{
    spoil("pragma user_version = 2");
    ck_assert_ptr_nonnull(strstr(err.message, "format 2"));
}
END_TEST

START_TEST(a_missing_folder_is_named)
{
    struct journal *none = NULL;
    ck_assert_int_lt(journal_open("/tmp/belay-test-no-such-folder", &none, &err), 0);
    ck_assert_ptr_nonnull(strstr(err.message, "/tmp/belay-test-no-such-folder"));
}
END_TEST

int main(void)
{
    Suite *s = suite_create("journal");
    TCase *tc = tcase_create("journal");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, a_deploy_reads_back_as_it_was_written);
    tcase_add_test(tc, one_database_has_one_unfinished_deploy);
    tcase_add_test(tc, of_two_processes_that_begin_at_once_one_wins);
    tcase_add_test(tc, a_move_keeps_the_message_unless_it_has_one);
    tcase_add_test(tc, the_newest_deploy_is_listed_first);
    tcase_add_test(tc, notes_keep_their_order);
    tcase_add_test(tc, a_dead_owner_is_told_from_a_living_one_and_from_one_elsewhere);
    tcase_add_test(tc, the_file_is_for_its_owner_alone);
    tcase_add_test(tc, a_database_of_somebody_else_is_refused);
    tcase_add_test(tc, a_journal_of_a_newer_belay_is_refused);
    tcase_add_test(tc, a_missing_folder_is_named);
    suite_add_tcase(s, tc);
    return suite_run(s);
}
