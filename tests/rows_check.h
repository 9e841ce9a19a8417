/*
 * A check with rows of a small project, and what it must find: all of it, and nothing else.
 *
 *     const struct sql *steps[] = {&first, &second};
 *     rows_check_sql("a name", steps, 2, engine, "rows-lost 2: table posts", "6 of 6 rows lost");
 */
#ifndef BELAY_TESTS_ROWS_CHECK_H
#define BELAY_TESTS_ROWS_CHECK_H

#include "harness/engine/engine.h"
#include "harness/source/source.h"

enum {
    LITE = 1,
    PG = 2,
    BOTH = 3,
};

/* SQL of a revision. Sections that begin with "transaction:false\n" run without one. */
struct sql {
    const char *up, *down;
};

/* As struct check_options has it; -1 unless a test says otherwise. */
extern int rows_two_threads;

/* Looped over engines: an even i is SQLite, an odd one PostgreSQL; NULL where it is not wanted. */
const struct engine *rows_engine_of(int i, unsigned wanted);

/*
 * expected: "finding revision: object, object; ..." without "public.", "-" for a finding of the
 * project. message: a part of one finding's message, or NULL. BELAY_SHOW prints what was found.
 */
void rows_check_sql(const char *name, const struct sql *const *steps, size_t n,
                    const struct engine *e, const char *expected, const char *message);
void rows_check_folder(const char *name, const char *dir, const struct source_options *o,
                       const struct engine *e, const char *expected, const char *message);

#endif
