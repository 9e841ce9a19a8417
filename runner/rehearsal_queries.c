/* Whether the application's queries outlive each revision. */
#include <stdlib.h>
#include <string.h>

#include "runner/cli.h"
#include "runner/rehearsal_impl.h"

/* Queries that one finding names; the others are counted. */
enum { NAMED_MAX = 10 };

int rehearsal_gather_queries(const struct cli *cli, const struct engine *e, struct queries *ret,
                             struct err *err)
{
    const char *url = settings_get(&cli->settings, OPT_QUERIES_FROM);
    const struct config *c = &cli->config;
    for (size_t i = 0; i < c->nqueries; i++)
        queries_add(ret, e, c->queries[i].file, c->queries[i].line, c->queries[i].text);
    if (url && e != &engine_postgres)
        return err_set(err, ERR_USAGE,
                       "--queries-from: the copy is of SQLite, which counts no queries");
    return url && queries_add_statistics(ret, url, err) < 0 ? err_prefix(err, "--queries-from") : 0;
}

/* A session as the application's: line sessions have settings of their own. */
static int open_session(const struct rehearse *h, struct db **ret, struct err *err)
{
    return db_open(h->o->check.engine, h->url, DB_OPEN_SCRATCH, ret, err);
}

int rehearse_queries_begin(struct rehearse *h, struct err *err)
{
    struct queries *q = h->o->queries;
    _cleanup_db_ struct db *db = NULL;
    if (!q || (!q->n && !q->utility && !q->unseen))
        return 0;
    if (open_session(h, &db, err) < 0 || queries_begin(q, db, err) < 0)
        return -1;
    struct rehearsal *r = h->result;
    r->queries.checked = queries_checked(q);
    r->queries.utility = q->utility;
    r->queries.unseen = q->unseen;
    for (size_t i = 0; i < q->n; i++)
        if (q->v[i].reason)
            strv_add_take(&r->queries.unchecked, xasprintf("%s: %s", q->v[i].name, q->v[i].reason));
    return 0;
}

/* One finding for all queries that are refused for the same reason. */
static void add_finding(struct rehearse *h, const struct revision *r, const struct query_breaks *b,
                        size_t first, bool *told)
{
    const struct query_break *one = &b->v[first];
    _cleanup_strv_ struct strv names = {0};
    size_t n = 0;
    for (size_t i = first; i < b->n; i++) {
        if (told[i] || strcmp(b->v[i].message, one->message) != 0)
            continue;
        told[i] = true;
        if (n++ < NAMED_MAX)
            strv_add(&names, b->v[i].query->name);
    }
    if (n > NAMED_MAX)
        strv_add_take(&names, xasprintf("and %zu more", n - NAMED_MAX));
    _cleanup_free_ char *list = strv_join(&names, "; ");
    struct finding *f = walk_add_finding(&h->walk, "breaks-running-code", r, STEP_UP);
    f->message = n == 1
                     ? xasprintf("a query of the running application is refused after it: %s (%s)",
                                 one->message, list)
                     : xasprintf("%zu queries of the running application are refused after it: %s "
                                 "(%s)",
                                 n, one->message, list);
    f->statement = xstrdup(one->query->text);
    memcpy(f->sqlstate, one->sqlstate, sizeof(f->sqlstate));
    f->hint = xstrdup(one->hint ? one->hint
                                : "change it in two deploys: first add what is new beside the old, "
                                  "and drop the old when no running code uses it any more");
}

int rehearse_queries_check(struct rehearse *h, const struct revision *r, struct err *err)
{
    _cleanup_db_ struct db *db = NULL;
    struct query_breaks b = {0};
    if (!h->result->queries.checked)
        return 0;
    if (open_session(h, &db, err) < 0 || queries_check(h->o->queries, db, &b, err) < 0)
        return -1;
    _cleanup_free_ bool *told = xcalloc(b.n, sizeof(*told));
    for (size_t i = 0; i < b.n; i++)
        if (!told[i])
            add_finding(h, r, &b, i, told);
    h->result->queries.broken += b.n;
    query_breaks_release(&b);
    return 0;
}
