/*
 * An Alembic project. alembic.c finds it, its interpreter and its revisions, and keeps the workers;
 * alembic_migrator.c drives one. For these two alone.
 */
#ifndef BELAY_ALEMBIC_H
#define BELAY_ALEMBIC_H

#include <pthread.h>

#include "harness/source/source_impl.h"
#include "harness/source/worker.h"

/* What the functions of a revision hold. */
struct alembic_body {
    bool present, empty; /* empty: `pass`, a docstring */
};

struct alembic_source {
    struct source base;
    char *config;  /* alembic.ini or pyproject.toml, absolute */
    char *run_dir; /* absolute */
    char *section; /* or NULL */
    char *python;  /* the interpreter that was chosen */
    struct strv x, url_env;
    bool isolate_steps;
    int timeout_ms;
    struct alembic_body *up, *down; /* by revision->position */
    char *version_table;            /* "alembic_version", "ops.alembic_version" */
    char *driver;                   /* as SQLAlchemy writes it, or NULL: it is not known */

    pthread_mutex_t lock; /* of what follows */
    struct worker *idle[4];
    bool no_reuse; /* env.py holds on to the first database it saw */
};

extern const struct source_ops alembic_source_ops;

/* A worker that has loaded the project; *ret_reused when it has run env.py before. Thread-safe. */
int alembic_take_worker(struct alembic_source *s, struct worker **ret, bool *ret_reused,
                        struct err *err);
/* For another use, when it is fit for one; NULL is fine. */
void alembic_give_back(struct alembic_source *s, struct worker *w);

/* Turns an answer that is not ok into an error. Returns -1. */
int alembic_error(const json_t *answer, enum err_code code, struct err *err);
bool alembic_answer_ok(const json_t *answer);

/* One call on a worker of the pool. An answer that is not ok is ERR_SOURCE. */
int alembic_ask(struct alembic_source *s, json_t *request, json_t **ret, struct err *err);

json_t *alembic_strings(const struct strv *l);
void alembic_source_free(struct source *s);

#endif
