/* Signals: what the first does, what the second does, and who is told. */
#include <semaphore.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness/base/cleanup.h"
#include "runner/interrupt.h"
#include "tests/suite.h"

/* A handler is of the whole process, so each test runs its part in a child of its own and tells by
 * the exit code how it went. */
static int in_child(void (*part)(void))
{
    fflush(stdout);
    pid_t pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        struct err err = {0};
        if (interrupt_install(&err) == 0)
            part();
        _exit(99);
    }
    int status;
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static sem_t told;

static void tell(void *data)
{
    (void)data;
    sem_post(&told);
}

static void must_not_be_called(void *data)
{
    (void)data;
    _exit(98);
}

static void wait_until_told(void)
{
    while (sem_wait(&told) < 0)
        continue; /* a signal came between */
}

static void first_signal(void)
{
    sem_init(&told, 0, 0);
    int mine, other;
    interrupt_add(must_not_be_called, &mine);
    interrupt_add(tell, &mine);
    interrupt_add(tell, &other);
    interrupt_remove(must_not_be_called, &mine);
    if (interrupted())
        _exit(97);
    raise(SIGINT);
    if (interrupt_signal != SIGINT)
        _exit(96);
    wait_until_told();
    wait_until_told();
    _exit(0);
}

START_TEST(the_first_signal_sets_the_flag_and_tells_everyone_who_asked)
{
    ck_assert_int_eq(in_child(first_signal), 0);
}
END_TEST

static void late_comer(void)
{
    sem_init(&told, 0, 0);
    raise(SIGTERM);
    if (interrupt_signal != SIGTERM)
        _exit(96);
    interrupt_add(tell, NULL);
    wait_until_told();
    _exit(0);
}

START_TEST(who_asks_after_the_signal_is_told_at_once)
{
    ck_assert_int_eq(in_child(late_comer), 0);
}
END_TEST

static void twice(void)
{
    raise(SIGINT);
    raise(SIGINT);
    _exit(0);
}

static void twice_in_two_kinds(void)
{
    raise(SIGINT);
    raise(SIGTERM);
    _exit(0);
}

START_TEST(the_second_signal_ends_the_process)
{
    ck_assert_int_eq(in_child(twice), -SIGINT);
    ck_assert_int_eq(in_child(twice_in_two_kinds), -SIGTERM);
}
END_TEST

START_TEST(without_a_handler_nothing_happens)
{
    interrupt_add(must_not_be_called, NULL);
    interrupt_remove(must_not_be_called, NULL);
    interrupt_remove(must_not_be_called, NULL);
    ck_assert(!interrupted());
}
END_TEST

int main(void)
{
    Suite *s = suite_create("interrupt");
    SUITE_ADD(s, the_first_signal_sets_the_flag_and_tells_everyone_who_asked);
    SUITE_ADD(s, who_asks_after_the_signal_is_told_at_once);
    SUITE_ADD(s, the_second_signal_ends_the_process);
    SUITE_ADD(s, without_a_handler_nothing_happens);
    return suite_run(s);
}
