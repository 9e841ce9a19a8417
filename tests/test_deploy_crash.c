/*
 * belay, or the Python that runs its revisions, is killed at the n-th system call that changes a file, for n = 1,
 * 2, ... until a run is not hit; then `belay recover` must end with the old database or the new one.
 *
 * BELAY_CRASH_STEP=1 tries every n; without it only a few.
 */
#include <dirent.h>
#include <unistd.h>

#include "tests/alembic_project.h"
#include "tests/deploy_killed.h"
#include "tests/deploy_world.h"
#include "tests/suite.h"

static const struct change failing[] = {
    {"create table g2 (x)\ninsert into g2 values (1)", "drop table g2", false},
    {"insert into nowhere values (1)", "select 1", false},
    {0},
};
static const struct change no_way_down[] = {
    {"create table g2 (x)\ninsert into g2 values (1)", NULL, false},
    {"insert into nowhere values (1)", NULL, false},
    {0},
};

static const struct crash {
    const char *name;
    const struct change *changes;
    enum kind kind;
    const char *who; /* is killed */
} crashes[] = {
    {"an upgrade that works", two_changes, FOLDER, "belay"},
    {"an upgrade that is taken back", failing, FOLDER, "belay"},
    {"an upgrade that a bundle undoes", no_way_down, FOLDER, "belay"},
    {"Alembic's upgrade that works", two_changes, ALEMBIC, "belay"},
    {"Alembic's upgrade that a bundle undoes", no_way_down, ALEMBIC, "belay"},
    {"Alembic's own process", two_changes, ALEMBIC, "python3"},
};

static void copy(const char *from, const char *to)
{
    free(output_of((const char *const[]){"cp", from, to, NULL}));
}

/* As world_open() left it. */
static void put_back(const struct world *w, const char *kept)
{
    _cleanup_free_ char *all = xasprintf("rm -rf '%s'/belay-bundles '%s'/d.db*", w->dir, w->dir);
    free(output_of((const char *const[]){"sh", "-c", all, NULL}));
    copy(kept, w->path);
}

/* Names that say "not finished". */
static void expect_nothing_left(const struct world *w, const char *sub)
{
    _cleanup_free_ char *path = *sub ? path_join(w->dir, sub) : xstrdup(w->dir);
    DIR *d = opendir(path);
    for (struct dirent *e; d && (e = readdir(d));)
        ck_assert_msg(!str_ends(e->d_name, "-journal") && !str_ends(e->d_name, "-wal") &&
                          !strstr(e->d_name, ".tmp") && !strstr(e->d_name, "partial"),
                      "%s/%s is left", path, e->d_name);
    if (d)
        closedir(d);
}

static size_t bundles_left(const struct world *w)
{
    _cleanup_free_ char *path = path_join(w->dir, "belay-bundles");
    size_t n = 0;
    DIR *d = opendir(path);
    for (struct dirent *e; d && (e = readdir(d));)
        n += e->d_name[0] != '.' && strcmp(e->d_name, "journal.db") != 0;
    if (d)
        closedir(d);
    return n;
}

/* True when the run was hit. */
static bool run_killed(const struct world *w, const char *who, int n)
{
    struct killer killer;
    killer_init(&killer, who, n);
    _cleanup_run_ struct run r = belay_with(w, killer.env, "deploy --lost-writes=accept");
    killer_release(&killer);
    if (strcmp(who, "belay") == 0) {
        ck_assert_msg(r.r.status == 137 || r.r.status == 0 || r.r.status == 4, "call %d: " SAID, n,
                      SAID_ARGS(w, "deploy", r));
        return r.r.status == 137;
    }
    /* belay lives, and decides */
    ck_assert_msg(r.r.status == 0 || r.r.status == 3 || r.r.status == 4, "call %d: " SAID, n,
                  SAID_ARGS(w, "deploy", r));
    return r.r.status != 0;
}

static void expect_decided(const struct world *w, const struct crash *c, int n, const char *old,
                           const char *new)
{
    _cleanup_free_ char *journal = path_join(w->dir, "belay-bundles/journal.db");
    if (!file_exists(journal)) {
        _cleanup_free_ char *now = dump(w);
        ck_assert_str_eq(now, old);
        expect_run(w, "recover", 2, "no journal");
        return;
    }
    _cleanup_run_ struct run r = belay(w, "recover --lost-writes=accept");
    ck_assert_msg(r.r.status == 0 || r.r.status == 4, "%s, call %d: " SAID, c->name, n,
                  SAID_ARGS(w, "recover", r));
    _cleanup_free_ char *now = dump(w), *state = newest(w, "state");
    bool done = strcmp(state, "done") == 0;
    bool at_an_end = done || strcmp(state, "restored") == 0 || strcmp(state, "aborted") == 0 ||
                     strcmp(state, "null") == 0;
    ck_assert_msg(at_an_end, "%s, call %d: %s", c->name, n, state);
    ck_assert_msg(strcmp(now, done ? new : old) == 0, "%s, call %d: %s, and now\n%s\n" SAID,
                  c->name, n, state, now, SAID_ARGS(w, "recover", r));
    expect_run(w, "recover", 0, "nothing to recover");
}

/* What SQLite finds of its own that is not hot goes with the next transaction. */
static void expect_clean_afterwards(const struct world *w, const struct crash *c)
{
    bool works = c->changes == two_changes;
    expect_run(w, "deploy --lost-writes=accept", works ? 0 : 4, NULL);
    expect_nothing_left(w, "");
    expect_nothing_left(w, "belay-bundles");
}

START_TEST(killed_anywhere_it_ends_with_the_old_database_or_the_new)
{
    const struct crash *c = &crashes[_i];
    struct world w;
    world_open(&w, c->kind, c->changes);
    _cleanup_free_ char *kept = path_join(w.dir, "kept"), *old = dump(&w);
    copy(w.path, kept);
    bool hit = run_killed(&w, c->who, 1000000);
    ck_assert(!hit);
    _cleanup_free_ char *new = dump(&w);
    int step = killer_step(c->kind == ALEMBIC ? 97 : 41), n = killer_first(), runs = 0;
    for (hit = true; hit; n += step, runs++) {
        put_back(&w, kept);
        hit = run_killed(&w, c->who, n);
        expect_decided(&w, c, n, old, new);
        if (runs % 3 == 0)
            expect_clean_afterwards(&w, c);
        ck_assert_uint_le(bundles_left(&w), 2); /* each deploy has one */
    }
    ck_assert_int_gt(runs, strcmp(c->who, "belay") == 0 ? 1 : 0);
    world_close(&w);
}
END_TEST

int main(void)
{
    const char *why = alembic_suite_begin();
    if (why)
        return suite_skip(why);
    Suite *s = suite_create("deploy_crash");
    SUITE_ADD_LOOP(s, killed_anywhere_it_ends_with_the_old_database_or_the_new, ARRAY_LEN(crashes));
    return suite_run(s);
}
