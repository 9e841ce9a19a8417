/*
 * Scratch databases for tests: one pool an engine, opened before Check forks and shared by all
 * tests of the program.
 *
 *     START_TEST(...)
 *     {
 *         struct fixture f;
 *         fixture_open(&f, &engine_postgres);
 *         ... f.db, f.scratch ...
 *         fixture_close(&f);
 *     }
 *     int main(void) { ... return fixture_run(suite); }
 */
#ifndef BELAY_TESTS_FIXTURE_H
#define BELAY_TESTS_FIXTURE_H

#include "harness/engine/scratch.h"
#include "tests/suite.h"

struct fixture {
    struct scratch *scratch;
    struct db *db;
};

/* An empty scratch database with a session on it. */
void fixture_open(struct fixture *f, const struct engine *e);
void fixture_close(struct fixture *f);
struct scratch_pool *fixture_pool(const struct engine *e);
/* One value, read in a session of its own; the caller owns it. */
char *fixture_value(const struct engine *e, const char *url, const char *text);

/* suite_run() with the pools open. */
int fixture_run(Suite *s);

/* The call must succeed; what it says otherwise stands in the output. */
#define ASSERT_OK(call, err)                                                                       \
    ck_assert_msg((call) >= 0, "%s failed: %s", #call, (err)->message ? (err)->message : "?")

#endif
