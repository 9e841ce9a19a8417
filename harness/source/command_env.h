/*
 * The environment of the user's own commands: one database can be found in it and no other; and the
 * witness, which tells whether a command opened that database. Private to harness/source.
 *
 *     struct command_env *env;
 *     command_env_open(engine, url, url_env, true, &env, err);
 *     command_env_watch(env, err);
 *     ... run a command with command_env_variables(env) ...
 *     command_env_opened(env, &opened, err);
 *     command_env_free(env);
 *
 * The witness on SQLite is inotify: the kernel tells of every open() of the file. On PostgreSQL it
 * is the server's own count of client sessions on the database (pg_stat_database.sessions). Neither
 * can be passed over by a program that uses the database, and neither says who opened it: on a
 * scratch database belay itself must open nothing meanwhile, and nobody else has a reason to.
 */
#ifndef BELAY_COMMAND_ENV_H
#define BELAY_COMMAND_ENV_H

#include "harness/engine/engine.h"

struct command_env;

/*
 * url_env: further variables that the commands read the URL from, or NULL. With a witness the
 * PostgreSQL server must be 15 or newer, and a session stays open on the database until
 * command_env_free().
 */
int command_env_open(const struct engine *e, const char *url, const struct strv *url_env,
                     bool witness, struct command_env **ret, struct err *err);
/* As struct proc_options takes them. */
const struct strv *command_env_variables(const struct command_env *env);

int command_env_watch(struct command_env *env, struct err *err);
/* True when the database was opened since command_env_watch(). */
int command_env_opened(struct command_env *env, bool *ret, struct err *err);

/* True when the database has a table or view, other than those that belay keeps there. */
int command_env_has_tables(struct command_env *env, bool *ret, struct err *err);

void command_env_free(struct command_env *env);
DEFINE_CLEANUP(struct command_env *, command_env_free);
#define _cleanup_command_env_ _cleanup_(cleanup_command_env_free)

/* The first URL in a command that leads to a database of its own, wherever the environment points:
 * "postgresql://localhost/app". The caller owns it; NULL when there is none. */
char *command_own_url(const char *command);

#endif
