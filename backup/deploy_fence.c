/*
 * The fence: nobody but the deploy is on the database, by the plainest means that holds for every role, the
 * application's own and superusers included: while it stands the database has another name. Whoever is on it is
 * ended with the rename, and whoever comes is told that there is no such database.
 *
 * What the journal has, each before it is done:
 *
 *     fence         the other name. If we die here the database has either name
 *     evidence      the fenced database stays under its other name: another one takes its place
 *     fence lifted  after it is done
 *
 * So whoever finishes the deploy finds the database under the one name or the other, and never has to guess which one
 * it is: of two, the fenced one is the failed one when the journal says "evidence".
 */
#include "backup/deploy_impl.h"

#include <libpq-fe.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "backup/postgres_restore.h"
#include "harness/engine/url.h"

enum { NAME_MAX_BYTES = 63 };

static void forget_url(char *url)
{
    if (url)
        explicit_bzero(url, strlen(url));
    free(url);
}

static void set_url(struct deploy *d, char *owned)
{
    forget_url(d->url);
    d->url = owned;
}

void deploy_url_release(struct deploy *d)
{
    set_url(d, NULL);
}

char *deploy_url_of(const struct deploy *d, const char *name, struct err *err)
{
    _cleanup_conninfo_ struct conninfo c = {0};
    if (conninfo_parse(d->o->url, &c, err) < 0)
        return NULL;
    conninfo_set(&c, "dbname", name);
    return conninfo_url(&c);
}

char *deploy_maintenance_url(const struct deploy *d, struct err *err)
{
    return deploy_url_of(d, PQdb(db_handle(deploy_lock_db(d->lock))), err);
}

char *deploy_second_name(const struct deploy *d, const char *what)
{
    const char *name = deploy_lock_name(d->lock);
    _cleanup_free_ char *end =
        xasprintf("_%s_%lld_%lld", what, (long long)d->entry->id, (long long)time(NULL));
    size_t keep = strlen(name), room = NAME_MAX_BYTES - strlen(end);
    if (keep > room)
        keep = room;
    while (keep && ((unsigned char)name[keep] & 0xc0) == 0x80) /* not within a character */
        keep--;
    return xasprintf("%.*s%s", (int)keep, name, end);
}

static int rename_database(const struct deploy *d, const char *from, const char *to,
                           struct err *err)
{
    char *url = deploy_maintenance_url(d, err);
    int rc = url ? pg_rename(url, from, to, err) : -1;
    forget_url(url);
    return rc;
}

static int is_there(const struct deploy *d, const char *name, bool *ret, struct err *err)
{
    _cleanup_free_ char *there = NULL;
    if (db_query_text(deploy_lock_db(d->lock), "select 1 from pg_database where datname = $1",
                      &name, 1, &there, err) < 0)
        return -1;
    *ret = there != NULL;
    return 0;
}

/* A server that went away may have renamed the database all the same. */
static bool may_stand(struct deploy *d, const char *name)
{
    _cleanup_err_ struct err ignored = {0}; /* the rename's error is the one to tell */
    bool there = true;
    return deploy_reach(d, &ignored) < 0 || is_there(d, name, &there, &ignored) < 0 || there;
}

int deploy_fence_raise(struct deploy *d, struct err *err)
{
    if (d->fenced)
        return 0;
    if (d->o->engine != &engine_postgres) {
        err_set(err, ERR_USAGE, "--fence is for PostgreSQL");
        return err_hint(err, "SQLite cannot lock others out and let the revisions in: stop what "
                             "writes to the file");
    }
    deploy_progress(d, "fence", NULL);
    _cleanup_free_ char *name = deploy_second_name(d, "fenced");
    char *url = deploy_url_of(d, name, err);
    if (!url || journal_note(d->journal, d->entry->id, "fence", name, err) < 0) {
        forget_url(url);
        return err_prefix(err, "the fence");
    }
    int rc = rename_database(d, deploy_lock_name(d->lock), name, err);
    if (rc < 0 && !may_stand(d, name)) {
        forget_url(url);
        return err_prefix(err, "the fence");
    }
    d->fenced = TAKE_PTR(name);
    set_url(d, url);
    return rc < 0 ? err_prefix(err, "the fence") : 0;
}

int deploy_fence_lift(struct deploy *d, struct err *err)
{
    if (!d->fenced)
        return 0;
    if (!d->lock)
        err_set(err, ERR_ENV, "the server does not answer");
    if (!d->lock || rename_database(d, d->fenced, deploy_lock_name(d->lock), err) < 0) {
        err_hint(err, "nobody can use the database until it has its name again: \"belay recover\" "
                      "sees to it");
        return err_prefix(err, "the fence cannot be lifted");
    }
    d->sealed = false;
    set_url(d, xstrdup(d->o->url));
    if (str_eq(d->entry->evidence, d->fenced)) /* nothing has taken its place */
        free(TAKE_PTR(d->entry->evidence));
    _cleanup_free_ char *name = TAKE_PTR(d->fenced);
    return journal_note(d->journal, d->entry->id, "fence lifted", name, err);
}

int deploy_fence_leave(struct deploy *d, struct err *err)
{
    if (journal_note(d->journal, d->entry->id, "evidence", d->fenced, err) < 0)
        return -1;
    free(d->entry->evidence);
    d->entry->evidence = xstrdup(d->fenced);
    return 0;
}

void deploy_fence_replaced(struct deploy *d)
{
    free(TAKE_PTR(d->fenced));
    d->sealed = false;
    set_url(d, xstrdup(d->o->url));
}

/* ---- what a deploy that was cut off has left ---- */

struct left {
    char *name;    /* of the last fence; NULL: there was none */
    bool evidence; /* it was to stay */
    bool sealed;   /* it stood before the bundle was taken, and was never lifted */
};

static int read_notes(const struct deploy *d, struct left *ret, struct err *err)
{
    struct deploy_notes notes = {0};
    bool bundle = false;
    if (journal_notes(d->journal, d->entry->id, &notes, err) < 0)
        return -1;
    for (size_t i = 0; i < notes.n; i++) {
        const struct deploy_note *n = &notes.v[i];
        if (str_eq(n->what, "fence")) {
            free(ret->name);
            *ret = (struct left){.name = xstrdup(n->detail), .sealed = !bundle};
        } else if (str_eq(n->what, "evidence")) {
            ret->evidence = str_eq(n->detail, ret->name);
        } else if (str_eq(n->what, "fence lifted")) {
            ret->sealed = false;
        } else if (str_eq(n->what, "bundle")) {
            bundle = true;
        }
    }
    deploy_notes_release(&notes);
    return 0;
}

static int adopt(struct deploy *d, struct left *left, struct err *err)
{
    const char *name = deploy_lock_name(d->lock);
    bool fenced = false, there = false;
    if (is_there(d, left->name, &fenced, err) < 0 || is_there(d, name, &there, err) < 0)
        return -1;
    if (!fenced)
        return 0;
    if (!there) {
        char *url = deploy_url_of(d, left->name, err);
        if (!url)
            return -1;
        set_url(d, url);
        d->fenced = TAKE_PTR(left->name);
        d->sealed = left->sealed;
        return 0;
    }
    if (left->evidence) {
        free(d->entry->evidence);
        d->entry->evidence = TAKE_PTR(left->name);
        return 0;
    }
    err_set(err, ERR_ENV,
            "the deploy has fenced off database \"%s\" as \"%s\", and meanwhile somebody has made "
            "another \"%s\"",
            name, left->name, name);
    return err_hint(err, "give the new one another name, or drop it: \"belay recover\" then goes "
                         "on with the deploy's own");
}

int deploy_fence_adopt(struct deploy *d, struct err *err)
{
    struct left left = {0};
    if (d->o->engine != &engine_postgres)
        return 0;
    int rc = read_notes(d, &left, err);
    if (rc == 0 && left.name)
        rc = adopt(d, &left, err);
    free(left.name);
    return rc;
}

bool deploy_is_fenced(const struct deploy_options *o)
{
    _cleanup_(cleanup_deploy_lock_free) struct deploy_lock *lock = NULL;
    _cleanup_err_ struct err ignored = {0};
    _cleanup_free_ char *holder = NULL, *there = NULL;
    if (o->engine != &engine_postgres)
        return false;
    int got = deploy_lock_take(o->engine, o->url, &lock, &holder, &ignored);
    if (got <= 0)
        return got == 0;
    const char *name = deploy_lock_name(lock);
    return db_query_text(deploy_lock_db(lock), "select 1 from pg_database where datname = $1",
                         &name, 1, &there, &ignored) == 0 &&
           !there;
}
