/*
 * A PostgreSQL server of the test's own, which it stops and starts.
 *
 *     struct own_server server;
 *     own_server_start(&server);
 *     ... server.url ...
 *     own_server_down(&server);        at once, as in a crash
 *     own_server_up(&server);
 *     own_server_stop(&server);
 *
 * A test that fails leaves it to the kernel: the server dies with the test's process.
 */
#ifndef BELAY_TESTS_OWN_SERVER_H
#define BELAY_TESTS_OWN_SERVER_H

#include <sys/types.h>

struct own_server {
    char *dir, *program, *url;
    pid_t pid;
};

void own_server_start(struct own_server *s);
void own_server_down(struct own_server *s);
void own_server_up(struct own_server *s);
/* Adds lines to its configuration and starts it anew. */
void own_server_configure(struct own_server *s, const char *lines);
void own_server_stop(struct own_server *s);

#endif
