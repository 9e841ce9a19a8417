/*
 * Which revision a database without a version table is at: its schema, compared with that of every
 * revision on the way up a scratch database.
 *
 *     _cleanup_fit_ struct fit f = {0};
 *     fit_find(&d, schema, &progress, &f, err);
 *     if (f.nbest == 1) ... f.places[0] ...
 *
 * Owners, grants, roles and settings of the server are left out of the comparison: they belong to
 * the server, not to the revisions.
 */
#ifndef BELAY_FIT_H
#define BELAY_FIT_H

#include "runner/database.h"
#include "runner/result.h"
#include "runner/terminal.h"

/* A state on the way up. */
struct place {
    struct revisions heads; /* last applied; what they need is applied too. None: base */
    size_t napplied;
    size_t nreal, nminor;    /* differences; comments, white space, column order are minor */
    struct strv differences; /* as text, the database's side first; the first few of them */
};

struct fit {
    struct place *places; /* the nearest first */
    size_t n, cap;
    size_t nbest;        /* leading places that fit equally well: no real difference */
    struct err stopped;  /* why the way up ended before its end; or empty */
    struct revision *at; /* where it did */
};

/* Every state from base on, in topological order; and where none of them fits, every revision with
 * nothing but what it needs (one branch applied and its sibling not). */
int fit_find(const struct database *d, const struct snapshot *schema, struct progress progress,
             struct fit *ret, struct err *err);
/* The one state in which the heads and what they need are applied. */
int fit_compare(const struct database *d, const struct snapshot *schema,
                const struct revisions *heads, struct progress progress, struct fit *ret,
                struct err *err);
/* A change that belongs to the server or to who set it up: left out of every comparison. */
struct change;
bool fit_is_servers_own(const struct change *c);
void fit_release(struct fit *f);
#define _cleanup_fit_ __attribute__((cleanup(fit_release)))

/* The one state that fits, without any difference and after a way up that reached its end; or NULL. */
const struct place *fit_exact(const struct fit *f);
/* What was found and what to type, for people. */
void fit_describe(const struct fit *f, const struct terminal *t, struct str *out);
/* The differences of one place, a line each. */
void fit_differences(const struct place *p, const struct terminal *t, struct str *out);

#endif
