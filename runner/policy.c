#include "runner/policy.h"

#include <stdlib.h>
#include <string.h>

#include "harness/base/file.h"
#include "harness/base/str.h"

static bool written_in(const char *file, const struct strv *files)
{
    if (!file)
        return false;
    char *real = realpath(file, NULL);
    bool found = real && strv_has(files, real);
    free(real);
    return found;
}

static int resolve(const struct graph *g, const char *flag, const char *target,
                   struct revision **ret, struct err *err)
{
    if (graph_resolve_one(g, target, NULL, ret, err) < 0) {
        err->code = ERR_USAGE;
        return err_prefix(err, "%s", flag);
    }
    return 0;
}

int policy_init(struct policy *p, const struct check_options *o, const struct graph *g,
                struct err *err)
{
    size_t n = graph_size(g);
    struct revision *since = NULL, *min = NULL;
    memset(p, 0, sizeof(*p));
    if (o->since && resolve(g, "--since", o->since, &since, err) < 0)
        return -1;
    if (o->min_revision && resolve(g, "--min-revision", o->min_revision, &min, err) < 0)
        return -1;
    p->options = o;
    p->checked = xcalloc(n, sizeof(bool));
    p->may_downgrade = xcalloc(n, sizeof(bool));
    p->ignore_used = xcalloc(o->nignores, sizeof(bool));
    p->waiver_used = xcalloc(o->nwaivers, sizeof(bool));
    p->lossy_used = xcalloc(n, sizeof(bool));
    p->judged = xcalloc(n, sizeof(bool));
    for (size_t i = 0; i < n; i++) {
        const struct revision *r = graph_at(g, i);
        p->checked[i] = !(since && graph_is_ancestor(r, since)) &&
                        (o->latest <= 0 || i + (size_t)o->latest >= n) &&
                        (!o->only_files || written_in(r->file, o->only_files) ||
                         written_in(r->down_file, o->only_files));
        p->may_downgrade[i] = p->checked[i] && !o->quick && !(min && graph_is_ancestor(r, min));
    }
    return 0;
}

void policy_release(struct policy *p)
{
    free(p->checked);
    free(p->may_downgrade);
    free(p->ignore_used);
    free(p->waiver_used);
    free(p->lossy_used);
    free(p->judged);
    memset(p, 0, sizeof(*p));
}

static bool expired(const char *expires, const char *today)
{
    return expires && today && strcmp(expires, today) < 0; /* ISO dates sort as text */
}

static bool matches(const char *pattern, const char *kind, const char *identity)
{
    _cleanup_free_ char *name = xasprintf("%s %s", kind, identity);
    return object_matches(pattern, name);
}

/* An ignored table takes its columns, indexes and constraints with it. */
static bool belongs_to(const struct object *o, const struct object *owner)
{
    const char *table = object_get(o, "table");
    size_t n = strlen(owner->identity);
    return (table && strcmp(table, owner->identity) == 0) ||
           (strncmp(o->identity, owner->identity, n) == 0 && o->identity[n] == '.');
}

static bool is_relation(const struct object *o)
{
    static const char *const kinds[] = {"table", "view", "materialized view", "foreign table",
                                        "virtual table"};
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
        if (strcmp(o->kind, kinds[i]) == 0)
            return true;
    return false;
}

int policy_filter(struct policy *p, struct snapshot **s, struct err *err)
{
    const struct check_options *o = p->options;
    if (!o->nignores)
        return 0;
    const struct snapshot *all = *s;
    _cleanup_free_ bool *out = xcalloc(all->n, sizeof(bool));
    size_t nout = 0;
    for (size_t k = 0; k < o->nignores; k++) {
        const struct ignore *g = &o->ignores[k];
        if (expired(g->expires, o->today))
            continue;
        for (size_t i = 0; i < all->n; i++) {
            const struct object *owner = all->objects[i];
            if (!matches(g->object, owner->kind, owner->identity))
                continue;
            p->ignore_used[k] = true;
            nout += !out[i];
            out[i] = true;
            for (size_t j = 0; is_relation(owner) && j < all->n; j++) {
                if (!out[j] && belongs_to(all->objects[j], owner)) {
                    out[j] = true;
                    nout++;
                }
            }
        }
    }
    if (!nout)
        return 0;
    _cleanup_snapshot_ struct snapshot *rest = snapshot_new(all->engine, all->version);
    for (size_t i = 0; i < all->n; i++)
        if (!out[i])
            snapshot_add(rest, object_ref(all->objects[i]));
    if (snapshot_finish(rest, err) < 0)
        return -1;
    snapshot_free(*s);
    *s = TAKE_PTR(rest);
    return 0;
}

/* Only blanks and what begins a comment or a docstring may stand before it. */
static char *lossy_reason_in(const char *text, int *ret_line)
{
    static const char mark[] = "belay: lossy";
    for (const char *p = text; (p = strstr(p, mark)); p += strlen(mark)) {
        const char *line = p;
        while (line > text && line[-1] != '\n')
            line--;
        const char *reason = p + strlen(mark);
        if (strspn(line, " \t-#*/\"'") != (size_t)(p - line) || !strchr(" \t", *reason))
            continue;
        reason += strspn(reason, " \t");
        size_t n = strcspn(reason, "\r\n");
        while (n > 0 && strchr(" \t*/\"'", reason[n - 1]))
            n--;
        if (!n)
            continue;
        *ret_line = 1;
        for (const char *c = text; c < line; c++)
            *ret_line += *c == '\n';
        return xstrndup(reason, n);
    }
    return NULL;
}

static char *find_lossy(const struct revision *r, const char **ret_file, int *ret_line)
{
    const char *const files[] = {r->file, r->down_file};
    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        _cleanup_free_ char *text = NULL;
        _cleanup_err_ struct err ignored = {0}; /* a file that is gone by now gives no reason */
        if (!files[i] || file_read_text(files[i], &text, NULL, &ignored) < 0)
            continue;
        char *reason = lossy_reason_in(text, ret_line);
        *ret_file = files[i];
        if (reason)
            return reason;
    }
    return NULL;
}

char *policy_lossy_reason(struct policy *p, const struct revision *r)
{
    const char *file;
    int line;
    p->lossy_used[r->position] = true;
    return find_lossy(r, &file, &line);
}

static bool waiver_covers(const struct waiver *w, const struct finding *f)
{
    if (strcmp(w->finding, f->id->id) != 0)
        return false;
    if (w->revision && (!f->revision || !str_starts(f->revision, w->revision)))
        return false;
    if (!w->object)
        return true;
    /* every difference must be covered: a waiver for one object does not hide another */
    for (size_t i = 0; i < f->nchanges; i++)
        if (!object_matches(w->object, f->changes[i].object))
            return false;
    return f->nchanges > 0;
}

static void add_waiver_finding(struct check_result *r, const char *id, const char *what,
                               const char *object, const char *expires, const char *file, int line)
{
    struct finding *f = result_add_finding(r, id, NULL);
    f->message = expires ? xasprintf("%s %s expired on %s", what, object, expires)
                         : xasprintf("%s %s matches nothing", what, object);
    f->hint = xstrdup(expires ? "renew it with a new reason, or mend what it covers"
                              : "remove it, or correct the name");
    f->file = xstrdup(file);
    f->line = line;
}

/* Where rows went through a revision, and it lost none. */
static void find_unused_lossy(const struct policy *p, const struct graph *g, struct check_result *r)
{
    for (size_t i = 0; i < graph_size(g); i++) {
        const struct revision *rev = graph_at(g, i);
        const char *file;
        int line;
        if (!p->judged[i] || p->lossy_used[i])
            continue;
        _cleanup_free_ char *reason = find_lossy(rev, &file, &line);
        if (!reason)
            continue;
        _cleanup_free_ char *name = xasprintf("\"belay: lossy\" of %s", rev->id);
        add_waiver_finding(r, "unused-waiver", "the comment", name, NULL, file, line);
    }
}

void policy_apply_waivers(struct policy *p, const struct graph *g, struct check_result *r)
{
    const struct check_options *o = p->options;
    for (size_t i = 0; i < r->nfindings; i++) {
        struct finding *f = &r->findings[i];
        for (size_t k = 0; k < o->nwaivers; k++) {
            const struct waiver *w = &o->waivers[k];
            if (!waiver_covers(w, f))
                continue;
            p->waiver_used[k] = true;
            if (expired(w->expires, o->today) || f->waived_reason)
                continue;
            f->waived_reason = xstrdup(w->reason);
            f->waived_expires = xstrdup(w->expires);
        }
    }
    /* a check of a part of the history, or one that was stopped, cannot tell what is unused */
    bool whole = !o->since && !o->latest && !o->only_files && !o->quick && !o->min_revision &&
                 !o->rehearsal && !r->interrupted;
    for (size_t k = 0; k < o->nwaivers; k++) {
        const struct waiver *w = &o->waivers[k];
        _cleanup_free_ char *name = xasprintf("%s%s%s", w->finding, w->revision ? " of " : "",
                                              w->revision ? w->revision : "");
        if (expired(w->expires, o->today))
            add_waiver_finding(r, "expired-waiver", "the waiver for", name, w->expires, w->file,
                               w->line);
        else if (whole && !p->waiver_used[k] && !finding_id_is_rehearsals(w->finding))
            add_waiver_finding(r, "unused-waiver", "the waiver for", name, NULL, w->file, w->line);
    }
    for (size_t k = 0; k < o->nignores; k++) {
        const struct ignore *i = &o->ignores[k];
        if (expired(i->expires, o->today))
            add_waiver_finding(r, "expired-waiver", "ignoring", i->object, i->expires, i->file,
                               i->line);
        else if (whole && !p->ignore_used[k])
            add_waiver_finding(r, "unused-waiver", "ignoring", i->object, NULL, i->file, i->line);
    }
    find_unused_lossy(p, g, r);
}
