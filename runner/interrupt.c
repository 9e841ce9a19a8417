#include "runner/interrupt.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include "harness/base/str.h"

volatile sig_atomic_t interrupt_signal;

struct callback {
    void (*cancel)(void *data);
    void *data;
};

static struct {
    pthread_mutex_t lock; /* held while callbacks run, so that a removed one cannot be running */
    struct callback *v;
    size_t n, cap;
} callbacks = {.lock = PTHREAD_MUTEX_INITIALIZER};

static int self_pipe[2] = {-1, -1};

static void on_signal(int signal_number)
{
    int saved = errno;
    if (interrupt_signal) {
        /* the second time: do not wait for anything */
        signal(signal_number, SIG_DFL);
        raise(signal_number);
        errno = saved;
        return;
    }
    interrupt_signal = signal_number;
    /* the pipe is empty, so this cannot block; a lost byte would only lose the early cancel */
    ssize_t n = write(self_pipe[1], "!", 1);
    (void)n;
    errno = saved;
}

static void *watch(void *unused)
{
    (void)unused;
    char byte;
    ssize_t n;
    do
        n = read(self_pipe[0], &byte, 1);
    while (n < 0 && errno == EINTR);
    if (n != 1)
        return NULL;
    pthread_mutex_lock(&callbacks.lock);
    for (size_t i = 0; i < callbacks.n; i++)
        callbacks.v[i].cancel(callbacks.v[i].data);
    pthread_mutex_unlock(&callbacks.lock);
    return NULL;
}

int interrupt_install(struct err *err)
{
    if (pipe2(self_pipe, O_CLOEXEC) < 0)
        return err_errno(err, "cannot make a pipe");

    /* the watcher takes no signal itself: a handler that runs there would not interrupt the main
     * thread */
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pthread_t thread;
    int failed = pthread_create(&thread, NULL, watch, NULL);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (failed) {
        errno = failed;
        return err_errno(err, "cannot start a thread");
    }
    pthread_detach(thread);

    struct sigaction action = {.sa_handler = on_signal}; /* no SA_RESTART: waits end early */
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    return 0;
}

void interrupt_add(void (*cancel)(void *data), void *data)
{
    pthread_mutex_lock(&callbacks.lock);
    callbacks.v = xgrow(callbacks.v, callbacks.n, &callbacks.cap, sizeof(*callbacks.v));
    callbacks.v[callbacks.n++] = (struct callback){cancel, data};
    if (interrupted())
        cancel(data);
    pthread_mutex_unlock(&callbacks.lock);
}

void interrupt_remove(void (*cancel)(void *data), void *data)
{
    pthread_mutex_lock(&callbacks.lock);
    for (size_t i = callbacks.n; i-- > 0;) {
        if (callbacks.v[i].cancel == cancel && callbacks.v[i].data == data) {
            callbacks.v[i] = callbacks.v[--callbacks.n];
            break;
        }
    }
    if (callbacks.n == 0) { /* nothing left to lose at exit */
        free(callbacks.v);
        callbacks.v = NULL;
        callbacks.cap = 0;
    }
    pthread_mutex_unlock(&callbacks.lock);
}
