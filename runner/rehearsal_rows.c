/* The rows after a downgrade against those before the upgrade, told from digests alone: there is no
 * second copy to look rows up in. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "harness/data/compare.h"
#include "runner/rehearsal_impl.h"

/* One finding to be: the objects it is about, and what is said of each. */
struct said {
    struct strv objects, texts;
};

static void say(struct said *s, const char *kind, const char *identity, char *what)
{
    strv_add_take(&s->objects, xasprintf("%s %s", kind, identity));
    strv_add_take(&s->texts, xasprintf("%s %s: %s", kind, identity, what));
    free(what);
}

static void said_release(struct said *s)
{
    strv_release(&s->objects);
    strv_release(&s->texts);
}

struct loss {
    struct rehearse *h;
    const struct revision *r;
    const struct row_state *top; /* what the upgrade left */
    struct said lost, added, sequences;
    bool avoidable; /* something is lost that the upgrade itself does not drop */
};

static const struct digest_column *column_of(const struct digest *d, const char *name)
{
    for (size_t i = 0; d && i < d->sum.ncolumns; i++)
        if (strcmp(d->sum.columns[i].name, name) == 0)
            return &d->sum.columns[i];
    return NULL;
}

static const char *plural(uint64_t n)
{
    return n == 1 ? "" : "s";
}

static char *column_sentence(const struct digest *before, const struct digest *after,
                             const char *column)
{
    uint64_t nulls = column_of(after, column)->nulls - column_of(before, column)->nulls;
    uint64_t rows = before->sum.rows;
    if (column_of(after, column)->nulls > column_of(before, column)->nulls)
        return xasprintf("%" PRIu64 " of %" PRIu64 " value%s became NULL", nulls, rows,
                         plural(rows));
    return xasprintf("values of its %" PRIu64 " row%s changed", rows, plural(rows));
}

static void compare_columns(struct loss *l, const struct digest_change *c)
{
    struct walk *w = &l->h->walk;
    const char *table = c->before->name;
    for (size_t i = 0; i < c->columns.n; i++) {
        const char *column = c->columns.v[i];
        if (walk_rows_marked(w, l->r->position, table, column))
            continue;
        _cleanup_free_ char *identity = xasprintf("%s.%s", table, column);
        bool gone = !column_of(row_state_find(l->top, table), column);
        char *what = column_sentence(c->before, c->after, column);
        if (gone) {
            char *whole = xasprintf("dropped by the upgrade, %s", what);
            free(what);
            what = whole;
        }
        l->avoidable = l->avoidable || !gone;
        say(&l->lost, "column", identity, what);
        walk_rows_add_mark(w, l->r->position, table, column);
    }
}

/* Rows are missing since a later revision was taken back: what else was lost shows only where a
 * dropped column came back empty. */
static void compare_dropped(struct loss *l, const struct digest_change *c)
{
    const struct digest *top = row_state_find(l->top, c->before->name);
    for (size_t i = 0; c->after && i < c->columns.n; i++) {
        const char *column = c->columns.v[i];
        const struct digest_column *before = column_of(c->before, column);
        if (column_of(top, column) || column_of(c->after, column)->nulls < c->after->sum.rows ||
            before->nulls == c->before->sum.rows)
            continue;
        _cleanup_free_ char *identity = xasprintf("%s.%s", c->before->name, column);
        say(&l->lost, "column", identity,
            xstrdup("dropped by the upgrade, all of its values became NULL"));
    }
}

static void compare_table(struct loss *l, const struct digest_change *c)
{
    const char *table = c->before->name;
    uint64_t before = c->before->sum.rows, after = c->after ? c->after->sum.rows : 0;
    bool dropped = !row_state_find(l->top, table);
    if (before > after) {
        say(&l->lost, "table", table,
            xasprintf("%s%" PRIu64 " of %" PRIu64 " row%s lost",
                      dropped ? "dropped by the upgrade, " : "", before - after, before,
                      plural(before)));
        l->avoidable = l->avoidable || !dropped;
    } else if (after > before) {
        say(&l->added, "table", table,
            xasprintf("%" PRIu64 " row%s added", after - before, plural(after - before)));
    } else if (c->difference & DIGEST_PAIRING) {
        say(&l->lost, "table", table,
            xstrdup("each column has the values it had, but not in the same rows"));
        l->avoidable = true;
    } else {
        /* with other rows every column is another: only where there are as many, columns tell */
        compare_columns(l, c);
        return;
    }
    walk_rows_add_mark(&l->h->walk, l->r->position, table, NULL);
}

static void compare_sequence(struct loss *l, const struct digest_change *c)
{
    if (!c->after || c->after->next >= c->before->next)
        return; /* the schema tells that it is gone; that it went on is nobody's loss */
    say(&l->sequences, "sequence", c->before->name,
        xasprintf("gives %" PRId64 " next, before the upgrade it was %" PRId64, c->after->next,
                  c->before->next));
    walk_rows_add_mark(&l->h->walk, l->r->position, c->before->name, NULL);
}

static struct finding *add(struct loss *l, const char *id, const struct said *s)
{
    struct finding *f = walk_add_finding(&l->h->walk, id, l->r, STEP_DOWN);
    for (size_t i = 0; i < s->texts.n; i++) {
        f->changes = xgrow(f->changes, f->nchanges, &f->changes_cap, sizeof(*f->changes));
        f->changes[f->nchanges++] = (struct finding_change){.object = xstrdup(s->objects.v[i]),
                                                            .text = xstrdup(s->texts.v[i])};
    }
    return f;
}

static void add_lost(struct loss *l)
{
    struct finding *f = add(l, "lossy-downgrade", &l->lost);
    f->message = xstrdup("up and down again, not everything is there that was");
    if (l->avoidable) {
        f->hint = xstrdup("make the downgrade the opposite of the upgrade for rows too: keep what "
                          "is deleted or overwritten in a table or column of its own until nobody "
                          "needs to go back");
        return;
    }
    /* everybody drops a column one day: worth knowing, not a mistake */
    f->severity = SEVERITY_WARNING;
    f->hint =
        xstrdup("after this revision there is no way back that keeps these values but a "
                "backup. Drop in two phases: first release code that does not use it, drop it "
                "when nobody needs to go back; or say why it may go: a waiver in belay.yaml, "
                "or a comment \"belay: lossy REASON\" in the revision");
    f->waived_reason = policy_lossy_reason(&l->h->walk.policy, l->r);
}

bool rehearse_compare_rows(struct rehearse *h, size_t i, const struct row_state *rows)
{
    struct loss l = {.h = h, .r = h->pending.v[i], .top = &h->stops[i + 1].rows};
    struct digest_set before, after;
    struct digest_changes changes = {0};
    row_state_view(&h->stops[i].rows, NULL, &before);
    row_state_view(rows, NULL, &after);
    digest_compare(&before, &after, &changes);
    for (size_t k = 0; k < changes.n; k++) {
        const struct digest_change *c = &changes.v[k];
        bool known = walk_rows_marked(&h->walk, l.r->position, c->before->name, NULL);
        if (known && !c->before->sequence)
            compare_dropped(&l, c);
        else if (known)
            continue;
        else if (c->before->sequence)
            compare_sequence(&l, c);
        else
            compare_table(&l, c);
    }
    if (l.lost.texts.n)
        add_lost(&l);
    if (l.added.texts.n) {
        struct finding *f = add(&l, "rows-added", &l.added);
        f->message = xstrdup("up and down again, there are rows that were not there before");
        f->hint = xstrdup("the downgrade must delete the rows that the upgrade inserts");
    }
    if (l.sequences.texts.n) {
        struct finding *f = add(&l, "sequence-changed", &l.sequences);
        f->message = xstrdup("up and down again, a sequence gives values that it has given before");
    }
    bool blamed = l.lost.texts.n || l.added.texts.n || l.sequences.texts.n;
    said_release(&l.lost);
    said_release(&l.added);
    said_release(&l.sequences);
    digest_changes_release(&changes);
    free(before.v);
    free(after.v);
    return blamed;
}
