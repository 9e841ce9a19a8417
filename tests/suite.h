/*
 * What every test program needs. A suite is one file, tests/test_<module>.c, linked with Check:
 *
 *     START_TEST(diff_names_the_property_that_differs) { ... } END_TEST
 *
 *     int main(void)
 *     {
 *         Suite *s = suite_create("diff");
 *         SUITE_ADD(s, diff_names_the_property_that_differs);
 *         return suite_run(s);
 *     }
 *
 * Output is TAP, one point a test, so that meson and ci/test count each. A suite that cannot run
 * here says why: `if (...) return suite_skip("no PostgreSQL server found");` counts as skipped,
 * never as passed.
 */
#ifndef BELAY_TESTS_SUITE_H
#define BELAY_TESTS_SUITE_H

#include <check.h>
#include <stdio.h>
#include <stdlib.h>

/* One test case per test: its name stands in the output, and a fixture or timeout is its own. */
#define SUITE_ADD(suite, test)                                                                     \
    do {                                                                                           \
        TCase *_tc = tcase_create(#test);                                                          \
        tcase_set_timeout(_tc, 0); /* meson holds the deadline, for the program as a whole */      \
        tcase_add_test(_tc, test);                                                                 \
        suite_add_tcase((suite), _tc);                                                             \
    } while (0)

/* The same for a test that runs for _i = 0 .. n - 1, each counted. */
#define SUITE_ADD_LOOP(suite, test, n)                                                             \
    do {                                                                                           \
        TCase *_tc = tcase_create(#test);                                                          \
        tcase_set_timeout(_tc, 0);                                                                 \
        tcase_add_loop_test(_tc, test, 0, (int)(n));                                               \
        suite_add_tcase((suite), _tc);                                                             \
    } while (0)

/* Runs the suite (and frees it); the result is main's. */
static inline int suite_run(Suite *s)
{
    SRunner *runner = srunner_create(s);

    srunner_set_tap(runner, "-");
    srunner_run_all(runner, CK_SILENT);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

static inline int suite_skip(const char *reason)
{
    printf("1..0 # SKIP %s\n", reason);
    return EXIT_SUCCESS;
}

#endif
