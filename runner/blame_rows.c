/* Rows that differ where they should not: whose fault it is, and what is said. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "harness/base/clock.h"
#include "harness/data/compare.h"
#include "runner/walk.h"

#define EXAMPLES 3

/* --- sentences ------------------------------------------------------------------------------ */

/* A revision's findings about rows: one for each id and direction, with a line for each table or column. */
struct report {
    struct walk *w;
    const struct revision *r;
    const char *when; /* "up and down again" */
    size_t first;     /* of result->findings, that is of this report */
    bool blamed;
    const struct fitting *fitting; /* or NULL */
};

/* How rows fare that suit the constraints which the upgrade adds. */
struct fitting {
    struct row_state before, after; /* up and down again */
    struct digest_set before_view, after_view;
    struct digest_changes changes;
};

/* What is said of one table, column or sequence. */
struct said {
    const char *kind, *identity; /* "table", "public.posts" */
    const char
        *link;   /* " in ": what stands before the identity in the message; NULL: it begins it */
    char *cause; /* begins the message instead: "the upgrade drops column a.b"; taken over; or NULL
                  */
    char *what;  /* "12 of 40 rows lost"; taken over */
    const char *keys; /* " (first: id 3, 7, 9)"; or NULL */
};

static struct finding *add_line(struct report *p, const char *id, enum step_direction direction,
                                struct said l)
{
    struct check_result *r = p->w->result;
    const int place = direction == STEP_DOWN && p->r->down_file ? p->r->down_line : p->r->line;
    const char *keys = l.keys ? l.keys : "";
    struct finding *f = NULL;
    for (size_t i = p->first; i < r->nfindings && !f; i++)
        if (strcmp(r->findings[i].id->id, id) == 0 && r->findings[i].line == place)
            f = &r->findings[i];
    if (!f) {
        f = walk_add_finding(p->w, id, p->r, direction);
        f->message = l.cause  ? xasprintf("%s: %s, %s%s", l.cause, p->when, l.what, keys)
                     : l.link ? xasprintf("%s: %s%s%s%s", p->when, l.what, l.link, l.identity, keys)
                              : xasprintf("%s: %s: %s%s", p->when, l.identity, l.what, keys);
    }
    f->changes = xgrow(f->changes, f->nchanges, &f->changes_cap, sizeof(*f->changes));
    f->changes[f->nchanges++] = (struct finding_change){
        .object = xasprintf("%s %s", l.kind, l.identity),
        .text = xasprintf("%s %s: %s%s", l.kind, l.identity, l.what, keys),
    };
    free(l.what);
    free(l.cause);
    p->blamed = true;
    return f;
}

/* " (first: id 3, 7, 9)" */
static char *first_keys(const struct rows_changes *e, const struct strv *keys)
{
    if (!keys || !keys->n || !e->key)
        return xstrdup("");
    _cleanup_free_ char *list = strv_join(keys, ", ");
    return xasprintf(" (first: %s %s)", e->key, list);
}

static const char *plural(uint64_t n)
{
    return n == 1 ? "" : "s";
}

/* --- one table ------------------------------------------------------------------------------ */

static const struct digest_column *column_of(const struct digest *d, const char *name)
{
    for (size_t i = 0; d && i < d->sum.ncolumns; i++)
        if (strcmp(d->sum.columns[i].name, name) == 0)
            return &d->sum.columns[i];
    return NULL;
}

/* A table whose rows are not what they were. */
struct suspect {
    const struct digest *before, *after;
    const struct digest *top;      /* where the upgrade left it, or NULL */
    const struct snapshot *schema; /* the same; NULL: nothing is gone in between */
    const struct digest_change *change;
    const struct rows_changes *explained; /* or NULL */
    const char *kept;                     /* the table that the upgrade makes of it, or NULL */
    struct strv renamed;                  /* columns: old name, new name, ... */
};

static const char *renamed_to(const struct suspect *s, const char *column)
{
    for (size_t i = 0; i < s->renamed.n; i += 2)
        if (strcmp(s->renamed.v[i], column) == 0)
            return s->renamed.v[i + 1];
    return NULL;
}

/* Who is at fault: the upgrade, when what it left is what is wrong in the end. */
static enum step_direction rows_direction(const struct suspect *s)
{
    return s->top && s->top->sum.rows == s->after->sum.rows ? STEP_UP : STEP_DOWN;
}

static enum step_direction column_direction(const struct suspect *s, const char *column)
{
    const struct digest_column *top = column_of(s->top, column);
    return top && top->sum == column_of(s->after, column)->sum ? STEP_UP : STEP_DOWN;
}

static const struct column_change *explained_column(const struct suspect *s, const char *column)
{
    for (size_t i = 0; s->explained && i < s->explained->ncolumns; i++)
        if (strcmp(s->explained->columns[i].name, column) == 0)
            return &s->explained->columns[i];
    return NULL;
}

static char *value_text(const char *value)
{
    return value ? xasprintf("'%s'", value) : xstrdup("NULL");
}

/* "10 values became NULL", "4 of 6 values changed (first: id 3, 'a' -> 'b')" */
static char *column_sentence(const struct suspect *s, const char *column)
{
    const struct column_change *c = explained_column(s, column);
    const struct digest_column *before = column_of(s->before, column);
    const struct digest_column *after = column_of(s->after, column);
    uint64_t rows = s->before->sum.rows;
    if (!c) {
        if (after->nulls > before->nulls && after->nulls == s->after->sum.rows)
            return xasprintf("%" PRIu64 " value%s became NULL", after->nulls - before->nulls,
                             plural(after->nulls - before->nulls));
        return xasprintf("values of its %" PRIu64 " row%s changed", rows, plural(rows));
    }
    _cleanup_free_ char *keys = first_keys(s->explained, &s->explained->changed_keys);
    if (c->became_null == c->rows)
        return xasprintf("%" PRIu64 " value%s became NULL%s", c->rows, plural(c->rows), keys);
    _cleanup_free_ char *old = value_text(c->before), *new = value_text(c->after);
    return xasprintf("%" PRIu64 " of %" PRIu64 " values changed, first %s -> %s", c->rows, rows,
                     old, new);
}

/* A value that the database's clock gave; generated rows know no time of today. */
static bool from_clock(const struct column_change *c)
{
    if (!c || !c->after)
        return false;
    time_t now = time(NULL);
    _cleanup_free_ char *local = clock_local_date(), *utc = clock_utc(CLOCK_DATE);
    char *end;
    if (strstr(c->after, local) || strstr(c->after, utc))
        return true;
    double seconds = strtod(c->after, &end); /* since 1970, or milliseconds */
    if (seconds > 1e12)
        seconds /= 1000;
    return end != c->after && !*end && seconds > (double)now - 86400 &&
           seconds < (double)now + 86400;
}

/* The hint of data-lost-by-design, and the waiver that the revision itself may hold. */
static void explain_loss(const struct report *p, struct finding *f, bool gone)
{
    if (!f->hint)
        f->hint = xasprintf(
            "%s: a waiver in belay.yaml, or a comment \"belay: lossy REASON\" in the revision",
            gone ? "keep it (in another column or table) for as long as the downgrade may be "
                   "needed, or say why it may go"
                 : "rows that suit the constraints which the upgrade adds are left alone, the "
                   "others cannot come back; where that is meant, say so");
    if (!f->waived_reason)
        f->waived_reason = policy_lossy_reason(&p->w->policy, p->r);
}

/* Where the upgrade takes the table or the column away, the values cannot come back. */
static bool is_gone(const struct suspect *s, const char *column)
{
    if (!s->schema)
        return false;
    if (!snapshot_find(s->schema, "table", s->before->name))
        return true;
    if (!column)
        return false;
    for (size_t i = 0; s->top && i < s->top->sum.ncolumns; i++)
        if (strcmp(s->top->sum.columns[i].name, column) == 0)
            return false;
    return true;
}

/*
 * What the upgrade takes away is what the constraints refuse that it adds (duplicates, orphans, NULL):
 * rows that suit them come through unharmed. column NULL: whole rows.
 */
static bool is_cleared(const struct report *p, const char *table, const char *column)
{
    const struct fitting *f = p->fitting;
    const struct digest *d = f ? row_state_find(&f->before, table) : NULL;
    if (!d || !d->sum.rows)
        return false;
    for (size_t i = 0; i < f->changes.n; i++) {
        const struct digest_change *c = &f->changes.v[i];
        if (strcmp(c->before->name, table) == 0)
            return !(c->difference & (DIGEST_ROWS | DIGEST_MISSING | DIGEST_PAIRING)) && column &&
                   !strv_has(&c->columns, column);
    }
    return true;
}

/* Nothing but NULLs that were filled, or values that became NULL: what a constraint asks for. Other
 * values are converted, and that rows which were converted once stay as they are excuses nothing. */
static bool to_or_from_null(const struct suspect *s, const char *column)
{
    const struct column_change *c = explained_column(s, column);
    if (!c || c->became_null == c->rows)
        return c != NULL;
    uint64_t before = column_of(s->before, column)->nulls,
             after = column_of(s->after, column)->nulls;
    return !c->became_null && before - after == c->rows;
}

static char *drops(const char *kind, const char *identity)
{
    return xasprintf("the upgrade drops %s %s", kind, identity);
}

static char *keeps(const char *identity, const char *as)
{
    return xasprintf("the upgrade keeps the values of %s in %s, and the downgrade does not bring "
                     "them back",
                     identity, as);
}

static void report_column(struct report *p, const struct suspect *s, const char *column)
{
    _cleanup_free_ char *identity = xasprintf("%s.%s", s->before->name, column);
    const char *kept = s->kept ? s->kept : renamed_to(s, column);
    bool gone = !kept && is_gone(s, column), whole = gone && is_gone(s, NULL);
    enum step_direction direction = gone ? STEP_UP : kept ? STEP_DOWN : column_direction(s, column);
    bool meant = gone || (!kept && direction == STEP_UP && to_or_from_null(s, column) &&
                          is_cleared(p, s->before->name, column));
    char *cause = kept    ? keeps(identity, kept)
                  : whole ? drops("table", s->before->name)
                  : gone  ? drops("column", identity)
                          : NULL;
    struct finding *f = add_line(p, meant ? "data-lost-by-design" : "rows-changed", direction,
                                 (struct said){.kind = "column",
                                               .identity = identity,
                                               .cause = cause,
                                               .what = column_sentence(s, column)});
    if (meant)
        explain_loss(p, f, gone);
    walk_rows_add_mark(p->w, p->r->position, s->before->name, column);
}

static bool is_evidence(struct walk *w, const struct suspect *s, const char *column)
{
    const char *table = s->before->name;
    if (!walk_rows_marked(w, SIZE_MAX, table, column) && from_clock(explained_column(s, column)))
        walk_rows_add_mark(w, SIZE_MAX, table, column);
    return !walk_rows_marked(w, SIZE_MAX, table, column);
}

static void report_table(struct report *p, const struct suspect *s)
{
    const char *name = s->before->name;
    const struct rows_changes *e = s->explained;
    const struct digest_change *c = s->change;
    uint64_t before = s->before->sum.rows, after = s->after->sum.rows;
    uint64_t lost = e && e->key ? e->lost : before > after ? before - after : 0;
    uint64_t added = e && e->key ? e->added : after > before ? after - before : 0;
    bool whole = !s->kept && is_gone(s, NULL);
    if (before == after && lost == added && lost) {
        /* as many as before under other keys: that the keys changed is told by their columns */
        bool keys_differ = c->difference & DIGEST_COLUMNS;
        lost = keys_differ ? 0 : lost;
        added = keys_differ ? 0 : added;
    }
    if (lost) {
        _cleanup_free_ char *keys = e ? first_keys(e, &e->lost_keys) : xstrdup("");
        enum step_direction direction = whole ? STEP_UP : s->kept ? STEP_DOWN : rows_direction(s);
        bool meant = whole || (!s->kept && direction == STEP_UP && is_cleared(p, name, NULL));
        struct finding *f =
            add_line(p, meant ? "data-lost-by-design" : "rows-lost", direction,
                     (struct said){.kind = "table",
                                   .identity = name,
                                   .link = " in ",
                                   .cause = whole     ? drops("table", name)
                                            : s->kept ? keeps(name, s->kept)
                                                      : NULL,
                                   .what = xasprintf("%" PRIu64 " of %" PRIu64 " row%s lost", lost,
                                                     before, plural(before)),
                                   .keys = keys});
        if (meant)
            explain_loss(p, f, whole);
    }
    /* a table that went and came back with some of its rows may have them under other keys */
    if (added && !(whole && added <= lost)) {
        _cleanup_free_ char *keys = e ? first_keys(e, &e->added_keys) : xstrdup("");
        struct finding *f = add_line(
            p, "rows-added", STEP_DOWN,
            (struct said){.kind = "table",
                          .identity = name,
                          .link = " to ",
                          .what = xasprintf("%" PRIu64 " row%s added", added, plural(added)),
                          .keys = keys});
        if (!f->hint)
            f->hint = xstrdup("the downgrade must delete the rows that the upgrade inserts");
    }
    if (lost || added)
        walk_rows_add_mark(p->w, p->r->position, name, NULL);
    /* with other rows every column is another: only rows on both sides tell */
    bool columns = before == after || (e && e->key && e->changed);
    bool any = false;
    for (size_t i = 0; columns && i < c->columns.n; i++) {
        const char *column = c->columns.v[i];
        if ((before != after || lost) && !explained_column(s, column))
            continue;
        if (!is_evidence(p->w, s, column))
            continue;
        report_column(p, s, column);
        any = true;
    }
    if (c->difference != DIGEST_PAIRING || lost || added)
        return;
    for (size_t i = 0; e && e->key && i < e->ncolumns; i++) {
        if (!is_evidence(p->w, s, e->columns[i].name))
            continue;
        report_column(p, s, e->columns[i].name);
        any = true;
    }
    if (!any && !(e && e->key))
        add_line(p, "rows-changed", STEP_DOWN,
                 (struct said){.kind = "table",
                               .identity = name,
                               .what = xstrdup("each column has the values it had, but not in the "
                                               "same rows")});
}

/* Where the rows of its table are others, so is its place, and that is said already. */
static bool follows_its_table(struct walk *w, size_t revision, const char *sequence)
{
    static const char sqlite[] = "sqlite_sequence.";
    const struct object *o = snapshot_find(w->state, "sequence", sequence);
    const char *owner = o ? object_get(o, "owned by") : NULL;
    if (o && !owner)
        owner = object_get(o, "identity of");
    if (str_starts(sequence, sqlite))
        owner = sequence + strlen(sqlite);
    for (size_t i = 0; owner && i < w->rows.nmarks; i++) {
        const struct rows_mark *m = &w->rows.marks[i];
        size_t n = strlen(m->table);
        if (m->revision == revision && strncmp(owner, m->table, n) == 0 &&
            (owner[n] == '.' || owner[n] == '\0'))
            return true;
    }
    return false;
}

static void report_sequence(struct report *p, const struct suspect *s)
{
    if (follows_its_table(p->w, p->r->position, s->before->name))
        return;
    int64_t before = s->before->next, after = s->after->next;
    /* forward is away from 0: keys that were given are not given again */
    if (before >= 0 ? after >= before : after <= before)
        return;
    struct finding *f = add_line(
        p, "sequence-changed", STEP_DOWN,
        (struct said){.kind = "sequence",
                      .identity = s->before->name,
                      .what = xasprintf("gives %" PRId64 " next, where it would have given "
                                        "%" PRId64,
                                        after, before)});
    if (!f->hint)
        f->hint = xstrdup("the next rows would get keys that are taken: set it to where it was "
                          "(setval, or RESTART WITH)");
    walk_rows_add_mark(p->w, p->r->position, s->before->name, NULL);
}

/* --- the climb ------------------------------------------------------------------------------ */

/* Two readings of the same steps: what differs is no evidence anywhere. */
static void add_row_noise(struct walk *w, const struct digest_set *first,
                          const struct digest_set *second)
{
    struct digest_changes changes = {0};
    digest_compare(first, second, &changes);
    for (size_t i = 0; i < changes.n; i++) {
        const struct digest_change *c = &changes.v[i];
        if (c->difference & DIGEST_ROWS)
            walk_rows_add_mark(w, SIZE_MAX, c->before->name, NULL);
        for (size_t k = 0; k < c->columns.n; k++)
            walk_rows_add_mark(w, SIZE_MAX, c->before->name, c->columns.v[k]);
    }
    digest_changes_release(&changes);
}

/* Leaves out what is no evidence. */
static bool still_suspect(struct walk *w, const struct digest_change *c)
{
    if (!c->after || walk_rows_marked(w, SIZE_MAX, c->before->name, NULL))
        return false;
    if (c->difference & (DIGEST_ROWS | DIGEST_SEQUENCE))
        return true;
    for (size_t i = 0; i < c->columns.n; i++)
        if (!walk_rows_marked(w, SIZE_MAX, c->before->name, c->columns.v[i]))
            return true;
    return c->difference == DIGEST_PAIRING;
}

static size_t count_suspects(struct walk *w, const struct digest_changes *changes,
                             struct strv *ret_names)
{
    size_t n = 0;
    for (size_t i = 0; i < changes->n; i++) {
        if (!still_suspect(w, &changes->v[i]))
            continue;
        strv_add(ret_names, changes->v[i].before->name);
        n++;
    }
    return n;
}

/* Ignored objects are not in the snapshot. */
static bool is_compared(const struct walk *w, const struct digest *d)
{
    return snapshot_find(w->state, "table", d->name) || d->sequence;
}

/* The same steps once more; *ret is the line after them. */
static int run_again(struct walk *w, const struct rows_suspicion *s, const struct strv *names,
                     struct line **ret, struct err *err)
{
    _cleanup_line_ struct line *l = NULL;
    struct row_state before = {0}, after = {0};
    struct digest_set first, second;
    if (w->exclusive)
        line_free(TAKE_PTR(w->line));
    if (walk_clean_line(w, s->i, &l, err) < 0)
        return -1;
    int rc = walk_rows_read(w, l, names, &before, NULL, err);
    if (rc == 0 &&
        (walk_replay(w, l, s->i, STEP_UP, err) < 0 || walk_replay(w, l, s->i, STEP_DOWN, err) < 0 ||
         walk_rows_read(w, l, names, &after, NULL, err) < 0))
        rc = -1;
    if (rc == 0) {
        row_state_view(s->before, names, &first);
        row_state_view(&before, names, &second);
        add_row_noise(w, &first, &second);
        free(first.v);
        free(second.v);
        row_state_view(s->after, names, &first);
        row_state_view(&after, names, &second);
        add_row_noise(w, &first, &second);
        free(first.v);
        free(second.v);
        *ret = TAKE_PTR(l);
    }
    row_state_release(&before);
    row_state_release(&after);
    return rc;
}

/* Clean rows beside those after the steps: which rows differ. Left out where only one database can
 * be alive. */
static int explain(struct walk *w, struct line *after, const struct digest_change *c,
                   struct rows_changes *ret, struct err *err)
{
    struct db *a = NULL, *b = NULL;
    if (w->exclusive)
        return 0;
    /* run_again() has left the clean line at S(i) */
    if (line_rows(w->clean, &a, err) < 0 || line_rows(after, &b, err) < 0)
        return -1;
    return rows_explain(a, b, c->before->name, &c->columns, EXAMPLES, ret, err);
}

/* What the upgrade only gives another name. */
static int find_kept(struct walk *w, const struct rows_suspicion *s, struct suspect *suspect,
                     struct err *err)
{
    const struct strv *columns = &suspect->change->columns;
    if (is_gone(suspect, NULL)) {
        suspect->kept = walk_kept_table(s->before, s->top, suspect->before);
        return 0;
    }
    for (size_t i = 0; suspect->top && i < columns->n; i++) {
        _cleanup_free_ char *kept = NULL;
        if (!is_gone(suspect, columns->v[i]))
            continue;
        if (walk_kept_column(w, s->i, suspect->before, suspect->top, columns->v[i], &kept, err) < 0)
            return -1;
        if (!kept)
            continue;
        strv_add(&suspect->renamed, columns->v[i]);
        strv_add(&suspect->renamed, kept);
    }
    return 0;
}

static int judge(struct walk *w, const struct rows_suspicion *s,
                 const struct digest_changes *changes, const struct fitting *fitting,
                 struct line *again, bool *ret_blamed, struct err *err)
{
    struct report p = {
        w, graph_at(w->graph, s->i), "up and down again", w->result->nfindings, false, fitting};
    for (size_t k = 0; k < 2 * changes->n; k++) { /* tables first */
        const struct digest_change *c = &changes->v[k % changes->n];
        if (c->before->sequence != (k >= changes->n) || !still_suspect(w, c) ||
            !is_compared(w, c->before))
            continue;
        struct rows_changes explained = {0};
        struct suspect suspect = {.before = c->before,
                                  .top = row_state_find(s->top, c->before->name),
                                  .after = c->after,
                                  .schema = s->schema,
                                  .change = c};
        if (c->before->sequence) {
            report_sequence(&p, &suspect);
            continue;
        }
        if (explain(w, again, c, &explained, err) < 0) {
            rows_changes_release(&explained);
            return -1;
        }
        suspect.explained = w->exclusive ? NULL : &explained;
        int rc = find_kept(w, s, &suspect, err);
        if (rc == 0)
            report_table(&p, &suspect);
        rows_changes_release(&explained);
        strv_release(&suspect.renamed);
        if (rc < 0)
            return -1;
    }
    *ret_blamed = p.blamed;
    return 0;
}

/* The upgrade adds a constraint, a unique index or NOT NULL to a table that was there. */
static bool adds_constraints(const struct walk *w, size_t i)
{
    const struct delta *d = &w->deltas[i];
    for (size_t k = 0; k < d->nadded; k++) {
        const struct object *o = d->added[k];
        const char *table = object_get(o, "table"), *dot = strrchr(o->identity, '.');
        const struct object *before = snapshot_find(w->state, o->kind, o->identity);
        bool column = strcmp(o->kind, "column") == 0;
        if (column ? !before || object_get(before, "not null") || !object_get(o, "not null")
                   : strcmp(o->kind, "constraint") != 0 &&
                         (strcmp(o->kind, "index") != 0 || !object_get(o, "unique")))
            continue;
        _cleanup_free_ char *owner =
            table ? xstrdup(table) : xstrndup(o->identity, dot ? (size_t)(dot - o->identity) : 0);
        if (snapshot_find(w->state, "table", owner))
            return true;
    }
    return false;
}

static void fitting_release(struct fitting *f)
{
    digest_changes_release(&f->changes);
    free(f->before_view.v);
    free(f->after_view.v);
    row_state_release(&f->before);
    row_state_release(&f->after);
}

/* Rows made where the revision is applied, and taken down, up and down by it. *ret: that worked. */
static int try_fitting_kind(struct walk *w, size_t i, enum rows_kind kind, const struct strv *names,
                            struct fitting *fitting, bool *ret, struct err *err)
{
    _cleanup_line_ struct line *l = NULL;
    if (walk_fitting_line(w, i, kind, &l, err) < 0)
        return -1;
    if (!l)
        return 0;
    if (walk_rows_read(w, l, names, &fitting->before, NULL, err) < 0 ||
        walk_up_and_down(w, l, i, ret, err) < 0)
        return -1;
    if (!*ret)
        return 0;
    if (walk_rows_read(w, l, names, &fitting->after, NULL, err) < 0)
        return -1;
    row_state_view(&fitting->before, names, &fitting->before_view);
    row_state_view(&fitting->after, names, &fitting->after_view);
    digest_compare(&fitting->before_view, &fitting->after_view, &fitting->changes);
    return 0;
}

/* All that the new constraints allow, NULLs too: what suits them is not to be lost. Where the
 * downgrade does not take that along, plain rows must do. */
static int try_fitting_rows(struct walk *w, size_t i, const struct strv *names,
                            struct fitting *fitting, bool *ret, struct err *err)
{
    *ret = false;
    if (w->exclusive || !adds_constraints(w, i))
        return 0;
    if (try_fitting_kind(w, i, ROWS_ALL, names, fitting, ret, err) < 0)
        return -1;
    if (*ret)
        return 0;
    row_state_release(&fitting->before);
    return try_fitting_kind(w, i, ROWS_BENIGN, names, fitting, ret, err);
}

int walk_judge_rows(struct walk *w, const struct rows_suspicion *s, bool *ret_blamed,
                    struct err *err)
{
    struct digest_set before, after;
    struct digest_changes changes = {0};
    _cleanup_strv_ struct strv names = {0};
    _cleanup_line_ struct line *again = NULL;
    int rc = 0;
    *ret_blamed = false;
    row_state_view(s->before, s->names, &before);
    row_state_view(s->after, s->names, &after);
    digest_compare(&before, &after, &changes);
    if (count_suspects(w, &changes, &names)) {
        struct fitting fitting = {0};
        bool fits;
        rc = run_again(w, s, &names, &again, err);
        if (rc == 0)
            rc = try_fitting_rows(w, s->i, &names, &fitting, &fits, err);
        if (rc == 0)
            rc = judge(w, s, &changes, fits ? &fitting : NULL, again, ret_blamed, err);
        fitting_release(&fitting);
    }
    digest_changes_release(&changes);
    free(before.v);
    free(after.v);
    return rc;
}

void walk_judge_again(struct walk *w, size_t i, const struct row_state *first,
                      const struct row_state *second, const struct strv *names, bool *ret_blamed)
{
    struct report p = {
        w, graph_at(w->graph, i), "upgraded a second time", w->result->nfindings, false, NULL};
    struct digest_set a, b;
    struct digest_changes changes = {0};
    row_state_view(first, names, &a);
    row_state_view(second, names, &b);
    digest_compare(&a, &b, &changes);
    for (size_t k = 0; k < changes.n; k++) {
        const struct digest_change *c = &changes.v[k];
        const char *name = c->before->name;
        if (!c->after || c->before->sequence || walk_rows_marked(w, SIZE_MAX, name, NULL))
            continue;
        uint64_t was = c->before->sum.rows, is = c->after->sum.rows;
        if (was != is)
            add_line(
                &p, was < is ? "rows-added" : "rows-lost", STEP_DOWN,
                (struct said){.kind = "table",
                              .identity = name,
                              .what = xasprintf("%" PRIu64 " row%s, where the first time there "
                                                "were %" PRIu64,
                                                is, plural(is), was)});
        /* keys from a sequence that moved on, the time, random values: not blamed, and no
         * evidence from here on */
        for (size_t n = 0; n < c->columns.n; n++)
            walk_rows_add_mark(w, SIZE_MAX, name, c->columns.v[n]);
    }
    *ret_blamed = p.blamed;
    digest_changes_release(&changes);
    free(a.v);
    free(b.v);
}

/* --- the descent ---------------------------------------------------------------------------- */

/* How many stops are judged: each costs the way up and down once more. */
#define MAX_STOPS 8

/* From S(i) up to S(from) and down again, filling nothing. *ret: it worked. */
static int there_and_back(struct walk *w, struct line *l, size_t i, size_t from, bool *ret,
                          struct err *err)
{
    *ret = true;
    for (size_t k = 2 * i; k < 2 * from && *ret; k++) {
        /* i .. from-1 up, then from-1 .. i down */
        size_t n = k - 2 * i;
        bool up = n < from - i;
        size_t at = up ? i + n : from - 1 - (n - (from - i));
        struct step_result s = {0};
        if (w->skipped[at])
            continue;
        int rc = line_step(l, graph_at(w->graph, at), up ? STEP_UP : STEP_DOWN, &s, err);
        *ret = s.outcome == STEP_OK || s.outcome == STEP_EMPTY;
        step_result_release(&s);
        if (rc < 0)
            return -1;
    }
    return 0;
}

/*
 * On the way up nothing was filled in between, on the way down everything was: what a downgrade does
 * to rows that were never there on its way up is its own affair. So the way is gone once more
 * without filling, and only what differs there too is blamed.
 */
static int judge_stop(struct walk *w, size_t i, size_t from, const struct strv *names,
                      bool *ret_blamed, struct err *err)
{
    _cleanup_line_ struct line *l = NULL;
    _cleanup_free_ char *when =
        xasprintf("on the way down from %s", graph_at(w->graph, from - 1)->id);
    struct report p = {w, graph_at(w->graph, i), when, w->result->nfindings, false, NULL};
    struct row_state expected = {0}, again = {0};
    struct digest_set before, after;
    struct digest_changes changes = {0};
    bool worked = false;
    int rc = walk_new_line(w, i, &l, err);
    if (rc == 0)
        rc = walk_rows_read(w, l, names, &expected, NULL, err);
    if (rc == 0)
        rc = there_and_back(w, l, i, from, &worked, err);
    if (rc == 0 && worked)
        rc = walk_rows_read(w, l, names, &again, NULL, err);
    if (rc < 0 || !worked) {
        row_state_release(&expected);
        row_state_release(&again);
        return rc;
    }
    row_state_view(&expected, names, &before);
    row_state_view(&again, names, &after);
    digest_compare(&before, &after, &changes);
    for (size_t k = 0; k < changes.n; k++) {
        const struct digest_change *c = &changes.v[k];
        struct suspect s = {.before = c->before, .after = c->after, .top = c->before, .change = c};
        if (!still_suspect(w, c))
            continue;
        if (c->before->sequence)
            report_sequence(&p, &s);
        else
            report_table(&p, &s);
    }
    *ret_blamed = p.blamed;
    digest_changes_release(&changes);
    free(before.v);
    free(after.v);
    row_state_release(&expected);
    row_state_release(&again);
    return 0;
}

int walk_judge_stop(struct walk *w, size_t i, size_t from, const struct row_state *expected,
                    const struct row_state *actual, const struct strv *names, bool *ret_blamed,
                    struct err *err)
{
    struct digest_set before, after;
    struct digest_changes changes = {0};
    _cleanup_strv_ struct strv suspects = {0};
    int rc = 0;
    *ret_blamed = false;
    row_state_view(expected, names, &before);
    row_state_view(actual, names, &after);
    digest_compare(&before, &after, &changes);
    for (size_t k = 0; k < changes.n; k++) {
        const struct digest_change *c = &changes.v[k];
        const char *name = c->before->name;
        bool suspect = false;
        if (!c->after || walk_rows_marked(w, i, name, NULL))
            continue;
        if (c->before->sequence) /* filling moves them on: the climb has compared them */
            continue;
        for (size_t n = 0; n < c->columns.n; n++)
            suspect |= !walk_rows_marked(w, i, name, c->columns.v[n]);
        suspect |= c->difference & DIGEST_ROWS || c->difference == DIGEST_PAIRING;
        if (suspect)
            strv_add(&suspects, name);
    }
    digest_changes_release(&changes);
    free(before.v);
    free(after.v);
    if (suspects.n && !w->exclusive && w->rows.stops++ < MAX_STOPS)
        rc = judge_stop(w, i, from, &suspects, ret_blamed, err);
    for (size_t k = 0; k < suspects.n; k++)
        walk_rows_add_mark(w, i, suspects.v[k], NULL); /* said once, or nobody's fault */
    return rc;
}
