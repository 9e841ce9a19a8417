/*
 * Faults that only rows show, each beside a correct twin: the check must find the one, with its
 * place, and say nothing about the other. Rows are those that belay makes up by itself.
 *
 *     static const struct fault faults[] = {...};
 *     ROWS_FAULT_TESTS(faults)
 *     int main(void) { Suite *s = ...; ROWS_FAULT_SUITE(s, faults); return fixture_run(s); }
 */
#ifndef BELAY_TESTS_ROWS_FAULTS_H
#define BELAY_TESTS_ROWS_FAULTS_H

#include "tests/fixture.h"
#include "tests/rows_check.h"

struct fault {
    const char *name;
    unsigned engines;
    struct sql before;    /* revision 1, which is right */
    struct sql fault;     /* revision 2 */
    struct sql twin;      /* revision 2, done right */
    const char *expected; /* "finding revision: object, object; ..." */
    const char *message;  /* a part of the first finding's message or of its lines; or NULL */
};

#define USERS                                                                                      \
    {                                                                                              \
        "create table users (id integer primary key, name text, nick text);", "drop table users;"  \
    }
#define POSTS                                                                                      \
    {                                                                                              \
        "create table users (id integer primary key, name text);"                                  \
        "create table posts (id integer primary key, user_id integer not null references users,"   \
        " title text, kind text);",                                                                \
            "drop table posts; drop table users;"                                                  \
    }
#define NOTHING "select 1;"

/* i: as rows_engine_of() has it. */
static inline void rows_check_fault(const struct fault *f, int i, bool twin)
{
    const struct engine *e = rows_engine_of(i, f->engines);
    const struct sql *const steps[] = {&f->before, twin ? &f->twin : &f->fault};
    if (e)
        rows_check_sql(f->name, steps, 2, e, twin ? "" : f->expected, twin ? NULL : f->message);
}

/* The lower part of the descent, or all of it in histories as short as these, is done in a second
 * thread. SQLite alone: each check on PostgreSQL would start a server. */
#define ROWS_FAULT_TESTS(faults)                                                                   \
    START_TEST(a_fault_in_the_rows_is_found)                                                       \
    {                                                                                              \
        rows_check_fault(&(faults)[_i / 2], _i, false);                                            \
    }                                                                                              \
    END_TEST                                                                                       \
    START_TEST(its_correct_twin_is_clean)                                                          \
    {                                                                                              \
        rows_check_fault(&(faults)[_i / 2], _i, true);                                             \
    }                                                                                              \
    END_TEST                                                                                       \
    START_TEST(faults_are_found_in_two_threads)                                                    \
    {                                                                                              \
        rows_two_threads = 1;                                                                      \
        rows_check_fault(&(faults)[_i], 0, false);                                                 \
    }                                                                                              \
    END_TEST

#define ROWS_FAULT_SUITE(s, faults)                                                                \
    do {                                                                                           \
        SUITE_ADD_LOOP(s, a_fault_in_the_rows_is_found, 2 * ARRAY_LEN(faults));                    \
        SUITE_ADD_LOOP(s, its_correct_twin_is_clean, 2 * ARRAY_LEN(faults));                       \
        SUITE_ADD_LOOP(s, faults_are_found_in_two_threads, ARRAY_LEN(faults));                     \
    } while (0)

#endif
