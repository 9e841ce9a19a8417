/*
 * Targets as people type them. A target that could mean two revisions is never decided here:
 * Alembic takes one of two heads for "-1" in silence, and the wrong table is gone.
 */
#include "harness/source/graph_private.h"

#include "harness/base/nearest.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define MAX_NAMES 8

/* ---- naming candidates ---- */

char *graph_names(struct revision *const *v, size_t n)
{
    struct str s = {0};
    for (size_t i = 0; i < n && i < MAX_NAMES; i++)
        str_addf(&s, "%s%s", i ? ", " : "", v[i]->id);
    if (n > MAX_NAMES)
        str_addf(&s, " and %zu more", n - MAX_NAMES);
    return str_take(&s);
}

char *graph_nearest(const struct graph *g, const char *name)
{
    const char **candidates = xcalloc(g->n + g->nlabels + 1, sizeof(*candidates));
    for (size_t i = 0; i < g->n; i++)
        candidates[i] = g->added[i]->id;
    for (size_t i = 0; i < g->nlabels; i++)
        candidates[g->n + i] = g->labels[i].name;
    const char *found = nearest(name, candidates);
    /* people type the name of the file: 20240101_add_users for 20240101 */
    for (size_t i = 0; !found && i < g->n; i++)
        if (str_starts(name, candidates[i]) && strlen(candidates[i]) >= 4)
            found = candidates[i];
    free(candidates);
    return found ? xasprintf("did you mean %s?", found) : NULL;
}

/* ---- one revision by name ---- */

static const char *skip_zeros(const char *digits)
{
    while (digits[0] == '0' && digits[1])
        digits++;
    return digits;
}

static bool all_digits(const char *s)
{
    return *s && s[strspn(s, "0123456789")] == '\0';
}

/* The revisions whose id is the same number, else those whose id begins with name. */
static void find_by_prefix(const struct graph *g, const char *name, struct revisions *ret)
{
    if (all_digits(name))
        for (size_t i = 0; i < g->n; i++)
            if (all_digits(g->by_id[i]->id) &&
                strcmp(skip_zeros(g->by_id[i]->id), skip_zeros(name)) == 0)
                revisions_add(ret, g->by_id[i]);
    if (ret->n || !*name)
        return;
    for (size_t i = graph_lower_bound(g, name); i < g->n && str_starts(g->by_id[i]->id, name); i++)
        revisions_add(ret, g->by_id[i]);
}

static struct revision *find_exact(const struct graph *g, const char *name)
{
    const struct label *l = graph_label(g, name);
    return l ? l->revision : graph_find(g, name);
}

static int resolve_name(const struct graph *g, const char *name, struct revision **ret,
                        struct err *err)
{
    _cleanup_revisions_ struct revisions found = {0};
    struct revision *exact = find_exact(g, name);
    if (!exact)
        find_by_prefix(g, name, &found);
    if (!exact && found.n == 1)
        exact = found.v[0];
    if (exact) {
        *ret = exact;
        return 0;
    }
    if (found.n) {
        _cleanup_free_ char *names = graph_names(found.v, found.n);
        err_set(err, ERR_USAGE, "\"%s\" could be any of %zu revisions: %s", name, found.n, names);
        return err_hint(err, "type more of the id");
    }
    _cleanup_free_ char *near = graph_nearest(g, name);
    err_set(err, ERR_USAGE, "no revision \"%s\"", name);
    if (near)
        return err_hint(err, "%s", near);
    if (g->n == 0)
        return err_hint(err, "the project has no revisions");
    return err_hint(err, "there are %zu revisions, from %s to %s", g->n, g->order[0]->id,
                    g->order[g->n - 1]->id);
}

/* ---- branches ---- */

/* On the branch of x: for a label what carries it, for an id its line before and after it. */
static bool on_branch(const struct graph *g, const char *branch, const struct revision *x,
                      const struct revision *r)
{
    if (!branch)
        return true;
    if (graph_label(g, branch))
        return strv_has(&r->labels, branch);
    return graph_is_ancestor(x, r) || graph_is_ancestor(r, x);
}

static int several_heads(const struct revisions *heads, const char *what, struct err *err)
{
    _cleanup_free_ char *names = graph_names(heads->v, heads->n);
    err_set(err, ERR_USAGE, "%s has %zu heads: %s", what, heads->n, names);
    return err_hint(err,
                    "name one of them, use \"heads\" for all, or join them with a merge revision");
}

static int resolve_heads(const struct graph *g, const char *branch, struct revision *x, bool all,
                         struct revisions *ret, struct err *err)
{
    _cleanup_revisions_ struct revisions heads = {0};
    graph_heads(g, &heads);
    size_t n = 0;
    for (size_t i = 0; i < heads.n; i++)
        if (!branch || (graph_label(g, branch) ? strv_has(&heads.v[i]->labels, branch)
                                               : graph_is_ancestor(x, heads.v[i])))
            heads.v[n++] = heads.v[i];
    heads.n = n;
    if (heads.n == 0) {
        err_set(err, ERR_USAGE, "the project has no revisions");
        return err_hint(err, "write one first");
    }
    if (heads.n > 1 && !all) {
        _cleanup_free_ char *what = branch ? xasprintf("branch \"%s\"", branch) : NULL;
        return several_heads(&heads, what ? what : "the project", err);
    }
    for (size_t i = 0; i < heads.n; i++)
        revisions_add(ret, heads.v[i]);
    return 0;
}

static void state_below(const struct graph *g, struct revision *r, struct revisions *ret)
{
    for (size_t i = 0; i < r->parents.n; i++)
        revisions_add(ret, graph_find(g, r->parents.v[i]));
    ret->below = r;
}

static int resolve_branch_base(const struct graph *g, const char *branch, struct revision *x,
                               struct revisions *ret, struct err *err)
{
    while (x->parents.n == 1) {
        struct revision *up = graph_find(g, x->parents.v[0]);
        if (graph_label(g, branch) && !strv_has(&up->labels, branch))
            break;
        x = up;
    }
    if (x->parents.n > 1 && !graph_label(g, branch)) {
        err_set(err, ERR_USAGE, "the base of \"%s\" is not one revision: %s merges %zu branches",
                branch, x->id, x->parents.n);
        return err_hint(err, "name the revision to go below: \"ID-1\"");
    }
    state_below(g, x, ret);
    return 0;
}

/* ---- steps ---- */

static int ambiguous_step(const struct revisions *candidates, const char *target, const char *why,
                          const char *example, struct err *err)
{
    _cleanup_free_ char *names = graph_names(candidates->v, candidates->n);
    err_set(err, ERR_USAGE, "\"%s\" is ambiguous: %s %s", target, why, names);
    return err_hint(err, "name the revision, or the branch: \"%s%s\"", candidates->v[0]->id,
                    example);
}

static int too_far(const char *target, size_t possible, const char *direction, struct err *err)
{
    err_set(err, ERR_USAGE, "\"%s\" goes too far: there are only %zu revisions %s", target,
            possible, direction);
    return err_hint(err, "use \"%s\"", strcmp(direction, "after") == 0 ? "head" : "base");
}

/* n steps down from r. The last step needs no choice: it is the state below the last revision. */
static int walk_down(const struct graph *g, struct revision *r, size_t n, const char *target,
                     struct revisions *ret, struct err *err)
{
    for (size_t i = 1; i < n; i++) {
        if (r->parents.n > 1) {
            _cleanup_revisions_ struct revisions up = {0};
            state_below(g, r, &up);
            _cleanup_free_ char *why = xasprintf("%s merges", r->id);
            return ambiguous_step(&up, target, why, "", err);
        }
        if (r->parents.n == 0)
            return too_far(target, i, "to take back", err);
        r = graph_find(g, r->parents.v[0]);
    }
    state_below(g, r, ret);
    return 0;
}

/* n steps up from what is marked as applied, along parents, on one branch. */
static int walk_up(const struct graph *g, bool *applied, bool any_applied, struct revision *from,
                   size_t n, const char *branch, const struct revision *x, const char *target,
                   struct revisions *ret, struct err *err)
{
    struct revision *r = from;
    for (size_t i = 0; i < n; i++) {
        _cleanup_revisions_ struct revisions next = {0};
        for (size_t p = 0; p < g->n; p++) {
            struct revision *c = g->order[p];
            /* on a branch of which nothing is applied yet, its first revision is next */
            bool follows = !any_applied;
            for (size_t k = 0; k < c->nup; k++) {
                struct revision *up = c->up[k];
                if (!revision_is_child(c, up))
                    continue;
                if (any_applied)
                    follows = follows || (r ? up == r : applied[up->position]);
                else
                    follows = follows && !on_branch(g, branch, x, up);
            }
            if (!applied[p] && follows && on_branch(g, branch, x, c))
                revisions_add(&next, c);
        }
        if (next.n == 0)
            return too_far(target, i, "after", err);
        if (next.n > 1)
            return ambiguous_step(&next, target, "it could go to", "", err);
        r = next.v[0];
        applied[r->position] = any_applied = true;
    }
    revisions_add(ret, r);
    return 0;
}

/* "+2", "-1", "X@+1": relative to what the database has. */
static int resolve_relative(const struct graph *g, const struct revisions *current, long steps,
                            const char *branch, struct revision *x, const char *target,
                            struct revisions *ret, struct err *err)
{
    if (!current) {
        err_set(err, ERR_USAGE, "\"%s\" is relative to a database, and there is none here", target);
        return err_hint(err, "name a revision: \"ID%+ld\"", steps);
    }
    _cleanup_free_ bool *applied = graph_applied(g, current);
    _cleanup_revisions_ struct revisions last = {0};
    bool any = false;
    for (size_t i = 0; i < g->n; i++) {
        struct revision *r = g->order[i];
        if (!applied[i] || !on_branch(g, branch, x, r))
            continue;
        any = true;
        bool is_last = true;
        for (size_t k = 0; is_last && k < r->ndown; k++)
            is_last = !applied[r->down[k]->position] || !revision_is_child(r->down[k], r);
        if (is_last)
            revisions_add(&last, r);
    }
    if (steps > 0)
        return walk_up(g, applied, any, NULL, (size_t)steps, branch, x, target, ret, err);
    if (last.n == 0) {
        err_set(err, ERR_USAGE, "\"%s\" goes too far: nothing is applied", target);
        return err_hint(err, "upgrade first");
    }
    if (last.n > 1)
        return ambiguous_step(&last, target, "the database has several heads:", "@-1", err);
    return walk_down(g, last.v[0], (size_t)-steps, target, ret, err);
}

/* ---- the grammar ---- */

/* Splits "X+2" into X and 2. False when it does not end in a sign and digits. */
static bool split_steps(const char *target, char **ret_name, long *ret_steps)
{
    size_t n = strlen(target), i = n;
    while (i && target[i - 1] >= '0' && target[i - 1] <= '9')
        i--;
    if (i == n || i == 0 || (target[i - 1] != '+' && target[i - 1] != '-'))
        return false;
    errno = 0;
    long steps = strtol(target + i - 1, NULL, 10);
    if (errno || steps == 0)
        return false;
    *ret_name = xstrndup(target, i - 1);
    *ret_steps = steps;
    return true;
}

static int resolve_steps(const struct graph *g, struct revision *r, long steps, const char *target,
                         struct revisions *ret, struct err *err)
{
    if (steps < 0)
        return walk_down(g, r, (size_t)-steps, target, ret, err);
    _cleanup_free_ bool *applied = xcalloc(g->n, 1);
    return walk_up(g, applied, true, r, (size_t)steps, NULL, NULL, target, ret, err);
}

static int resolve_plain(const struct graph *g, const char *target, const struct revisions *current,
                         struct revisions *ret, struct err *err)
{
    _cleanup_free_ char *name = NULL;
    long steps = 0;
    bool relative = split_steps(target, &name, &steps);
    if (relative && !*name)
        return resolve_relative(g, current, steps, NULL, NULL, target, ret, err);

    /* ids may hold signs and digits themselves: what exists wins */
    struct revision *r = find_exact(g, target);
    if (!r && relative) {
        struct revision *from = find_exact(g, name);
        _cleanup_revisions_ struct revisions whole = {0};
        find_by_prefix(g, target, &whole);
        if (from || whole.n == 0) {
            if (!from && resolve_name(g, name, &from, err) < 0)
                return -1;
            return resolve_steps(g, from, steps, target, ret, err);
        }
    }
    if (!r && resolve_name(g, target, &r, err) < 0)
        return -1;
    revisions_add(ret, r);
    return 0;
}

static int resolve_on_branch(const struct graph *g, const char *target, const char *at,
                             const struct revisions *current, struct revisions *ret,
                             struct err *err)
{
    _cleanup_free_ char *branch = xstrndup(target, (size_t)(at - target));
    const char *rest = at + 1;
    struct revision *x;
    if (resolve_name(g, branch, &x, err) < 0)
        return -1;
    if (!graph_label(g, branch) && strcmp(branch, x->id) != 0) {
        free(branch);
        branch = xstrdup(x->id);
    }
    if (strcmp(rest, "head") == 0 || strcmp(rest, "heads") == 0)
        return resolve_heads(g, branch, x, rest[4] == 's', ret, err);
    if (strcmp(rest, "base") == 0)
        return resolve_branch_base(g, branch, x, ret, err);
    _cleanup_free_ char *name = NULL;
    long steps = 0;
    if (split_steps(rest, &name, &steps) && !*name)
        return resolve_relative(g, current, steps, branch, x, target, ret, err);
    struct revision *r;
    if (resolve_name(g, rest, &r, err) < 0)
        return -1;
    if (!on_branch(g, branch, x, r)) {
        err_set(err, ERR_USAGE, "revision %s is not on branch \"%s\"", r->id, branch);
        return err_hint(err, "name it without the branch, or another one");
    }
    revisions_add(ret, r);
    return 0;
}

static int empty_target(struct err *err)
{
    err_set(err, ERR_USAGE, "an empty target names no revision");
    return err_hint(err, "use an id, \"head\" or \"base\"");
}

int graph_resolve(const struct graph *g, const char *target, const struct revisions *current,
                  struct revisions *ret, struct err *err)
{
    _cleanup_revisions_ struct revisions found = {0};
    const char *at = strrchr(target, '@');
    int result = 0;
    if (!*target)
        result = empty_target(err);
    else if (strcmp(target, "head") == 0 || strcmp(target, "heads") == 0)
        result = resolve_heads(g, NULL, NULL, target[4] == 's', &found, err);
    else if (at && at != target && at[1])
        result = resolve_on_branch(g, target, at, current, &found, err);
    else if (strcmp(target, "base") != 0)
        result = resolve_plain(g, target, current, &found, err);
    if (result < 0)
        return -1;
    revisions_release(ret);
    *ret = found;
    memset(&found, 0, sizeof(found));
    return 0;
}

int graph_resolve_one(const struct graph *g, const char *target, const struct revisions *current,
                      struct revision **ret, struct err *err)
{
    _cleanup_revisions_ struct revisions found = {0};
    if (graph_resolve(g, target, current, &found, err) < 0)
        return -1;
    if (found.n == 1) {
        *ret = found.v[0];
        return 0;
    }
    if (found.n == 0) {
        err_set(err, ERR_USAGE, "\"%s\" is the empty database, and a revision is needed", target);
        return err_hint(err, "name a revision");
    }
    _cleanup_free_ char *names = graph_names(found.v, found.n);
    err_set(err, ERR_USAGE, "\"%s\" is %zu revisions, and one is needed: %s", target, found.n,
            names);
    return err_hint(err, "name one of them");
}
