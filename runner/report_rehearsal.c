/* A rehearsal for people: where the copy is from, a block for each revision with what it held up and
 * for how long, the findings, and the numbers that a team decides by. */
#include "runner/report_rehearsal.h"

#include <inttypes.h>
#include <string.h>

#include "harness/base/cleanup.h"
#include "runner/transfer.h"

#define STATEMENTS_SHOWN 5 /* of a revision, the longest ones */

rehearsal_report_fn report_rehearsal_find(const char *format)
{
    static const struct {
        const char *format;
        rehearsal_report_fn report;
    } all[] = {{"text", report_rehearsal_text},
               {"json", report_rehearsal_json},
               {"html", report_rehearsal_html},
               {"markdown", report_rehearsal_markdown}};
    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        if (str_eq(all[i].format, format))
            return all[i].report;
    return NULL;
}

char *report_bytes(int64_t bytes)
{
    if (bytes == MEASURE_UNKNOWN)
        return xstrdup("unknown");
    _cleanup_free_ char *size = size_text((uint64_t)(bytes < 0 ? -bytes : bytes));
    return xasprintf("%s%s", bytes < 0 ? "-" : "", size);
}

static const char *dot(const struct terminal *t)
{
    return t->utf8 ? " · " : " - ";
}

/* A line of the header: "copy of  ...". */
static void add_row(struct str *out, const struct terminal *t, const char *label, const char *text)
{
    _cleanup_free_ char *padded = xasprintf("%-9s ", label);
    _cleanup_free_ char *clean = text_printable(text);
    style_add(out, t, STYLE_DIM, padded);
    text_wrap(out, t, clean, 10, 10);
    str_addc(out, '\n');
}

char *report_sizes(const struct rehearsal_basis *b)
{
    struct str out = {0};
    _cleanup_free_ char *theirs = report_bytes(b->bytes), *ours = report_bytes(b->copy_bytes);
    str_addf(&out, "production %s", theirs);
    if (b->rows >= 0)
        str_addf(&out, ", %" PRId64 " rows", b->rows);
    str_addf(&out, "; the copy %s", ours);
    if (b->copy_rows >= 0)
        str_addf(&out, ", %" PRId64 " rows", b->copy_rows);
    return str_take(&out);
}

char *report_copied_from(const struct rehearsal_basis *b)
{
    struct str out = {0};
    str_addf(&out, "%s%s%s", b->from ? b->from : "?", b->taken ? ", as of " : "",
             b->taken ? b->taken : "");
    if (b->sample && b->sample < 100)
        str_addf(&out, ", %d %% of its rows", b->sample);
    return str_take(&out);
}

char *report_run_on(const struct rehearsal *r)
{
    const struct rehearsal_basis *b = &r->basis;
    return xasprintf("%s%s%s: times are this machine's, not production's",
                     b->copy_server ? b->copy_server : r->check.scratch,
                     b->server ? "; production on " : "", b->server ? b->server : "");
}

static void add_header(struct str *out, const struct rehearsal *r, const struct report_options *o)
{
    const struct terminal *t = &o->terminal;
    const struct rehearsal_basis *b = &r->basis;
    _cleanup_free_ char *project = text_printable(r->check.project ? r->check.project : "?");
    _cleanup_free_ char *from = report_copied_from(b), *on = report_run_on(r),
                        *sizes = report_sizes(b);
    _cleanup_str_ struct str rest = {0};
    style_add(out, t, STYLE_BOLD, project);
    str_addf(&rest, "%srehearsal%s%s%s%s", dot(t), dot(t), r->check.format, dot(t),
             r->check.engine);
    style_add(out, t, STYLE_DIM, str_get(&rest));
    str_add(out, "\n\n");
    add_row(out, t, "copy of", from);
    for (size_t i = 0; i < b->read.n; i++)
        add_row(out, t, i ? "" : "read", b->read.v[i]);
    add_row(out, t, "run on", on);
    add_row(out, t, "sizes", sizes);
    for (size_t i = 0; i < b->limits.n; i++)
        add_row(out, t, i ? "" : "limits", b->limits.v[i]);
    if (r->from)
        add_row(out, t, "from", r->from);
    if (r->to)
        add_row(out, t, "to", r->to);
    str_addc(out, '\n');
}

/* ---- a revision ---- */

static void add_line(struct str *out, const struct terminal *t, int indent, const char *text)
{
    _cleanup_free_ char *clean = text_printable(text);
    str_addf(out, "%*s", indent, "");
    text_wrap(out, t, clean, indent, indent + 2);
    str_addc(out, '\n');
}

/* What a statement is called in a line: its first words. */
static char *short_statement(const struct measures *m, size_t i)
{
    if (i >= m->nstatements)
        return xstrdup("");
    _cleanup_str_ struct str words = {0};
    for (const char *p = m->statements[i].text; *p && words.len < 48; p++) {
        bool blank = *p == ' ' || *p == '\n' || *p == '\t' || *p == '\r';
        if (!blank)
            str_addc(&words, *p);
        else if (words.len && words.p[words.len - 1] != ' ')
            str_addc(&words, ' ');
    }
    size_t bad;
    if (words.len && !utf8_valid(words.p, words.len, &bad))
        words.p[bad] = '\0';
    return xasprintf("%s%s", str_get(&words), strlen(m->statements[i].text) > 48 ? "..." : "");
}

char *report_lock(const struct measured_lock *l)
{
    char held[32];
    report_seconds(l->until - l->from, held, sizeof(held));
    _cleanup_free_ char *bytes = report_bytes(l->bytes);
    return xasprintf("%s %s (%s): %s for %s, %s wait", l->kind, l->relation, bytes, l->mode, held,
                     l->blocks == LOCK_BLOCKS_READS ? "reads and writes" : "writes");
}

char *report_rewrite(const struct measured_rewrite *w)
{
    _cleanup_free_ char *before = report_bytes(w->before), *after = report_bytes(w->after);
    return xasprintf("%s %s: %s, then %s", w->kind, w->relation, before, after);
}

char *report_wait(const struct measures *m, const struct measured_wait *w)
{
    char seconds[32];
    report_seconds(w->seconds, seconds, sizeof(seconds));
    _cleanup_free_ char *statement = short_statement(m, w->statement);
    return xasprintf("a %s of %s for %s%s%s", w->writer ? "writer" : "reader", w->table, seconds,
                     *statement ? ", by " : "", statement);
}

char *report_room(const struct measures *m)
{
    struct str s = {0};
    _cleanup_free_ char *growth = report_bytes(m->after - m->before);
    _cleanup_free_ char *peak = report_bytes(m->peak - m->before);
    str_addf(&s, "%s more afterwards, up to %s more meanwhile", growth, peak);
    if (m->wal > 0) {
        _cleanup_free_ char *wal = report_bytes(m->wal);
        str_addf(&s, ", %s of WAL", wal);
    }
    if (m->temp > 0) {
        _cleanup_free_ char *temp = report_bytes(m->temp);
        str_addf(&s, ", %s of temporary files", temp);
    }
    if (m->pages > 0)
        str_addf(&s, ", %" PRId64 " pages written", m->pages);
    return str_take(&s);
}

/* Takes the text over. */
static void add_labelled(struct str *out, const struct terminal *t, const char *label, char *text)
{
    _cleanup_free_ char *owned = text, *line = xasprintf("%-9s %s", label, owned);
    add_line(out, t, 4, line);
}

static void add_measures(struct str *out, const struct measures *m, const struct terminal *t)
{
    for (size_t i = 0; i < m->nlocks; i++)
        if (m->locks[i].blocks != LOCK_BLOCKS_NOTHING)
            add_labelled(out, t, "lock", report_lock(&m->locks[i]));
    for (size_t i = 0; i < m->nrewrites; i++)
        add_labelled(out, t, "rewrite", report_rewrite(&m->rewrites[i]));
    for (size_t i = 0; i < m->nwaits; i++)
        add_labelled(out, t, "blocked", report_wait(m, &m->waits[i]));
    add_labelled(out, t, "room", report_room(m));
}

static void add_statements(struct str *out, const struct measures *m,
                           const struct report_options *o)
{
    const struct terminal *t = &o->terminal;
    size_t left = 0;
    for (size_t i = 0; i < m->nstatements; i++) {
        const struct measured_statement *s = &m->statements[i];
        if (!o->verbose && !measures_is_long(m, i, STATEMENTS_SHOWN)) {
            left++;
            continue;
        }
        char seconds[32];
        report_seconds(s->seconds, seconds, sizeof(seconds));
        _cleanup_free_ char *words = short_statement(m, i);
        _cleanup_str_ struct str line = {0};
        str_addf(&line, "%6s    %s", seconds, words);
        if (s->rows > 0)
            str_addf(&line, " (%" PRId64 " row%s)", s->rows, s->rows == 1 ? "" : "s");
        add_line(out, t, 4, str_get(&line));
    }
    if (left) {
        _cleanup_free_ char *line = xasprintf("          %s and %zu shorter ones (-v shows all)",
                                              t->utf8 ? "…" : "...", left);
        add_line(out, t, 4, line);
    }
}

static void add_pass(struct str *out, const char *label, const struct rehearsed_pass *p)
{
    char seconds[32];
    if (!p->ran)
        return;
    report_seconds(p->seconds, seconds, sizeof(seconds));
    str_addf(out, "  %s %s%s", label, seconds, p->worked ? "" : " (failed)");
}

static void add_revisions(struct str *out, const struct rehearsal *r,
                          const struct report_options *o)
{
    const struct terminal *t = &o->terminal;
    _cleanup_free_ int *worst = report_worst(&r->check);
    for (size_t i = 0; i < r->check.nrevisions; i++) {
        const struct revision_result *rev = &r->check.revisions[i];
        const struct rehearsed *step = &r->steps[i];
        _cleanup_free_ char *name = xasprintf("%s  %s", rev->id, rev->title ? rev->title : "");
        _cleanup_free_ char *clean = text_printable(name);
        _cleanup_str_ struct str times = {0};
        report_text_mark(out, t, report_revision_mark(rev, worst[i]));
        style_add(out, t, STYLE_BOLD, clean);
        if (rev->status == REVISION_NOT_RUN)
            str_addf(&times, "  not run: %s", report_not_run_reason(rev));
        add_pass(&times, "up", &step->up);
        add_pass(&times, "down", &step->down);
        add_pass(&times, "up again", &step->again);
        style_add(out, t, STYLE_DIM, str_get(&times));
        str_addc(out, '\n');
        const struct measures *m = &step->up.measures;
        if (step->up.ran) {
            add_statements(out, m, o);
            add_measures(out, m, t);
        }
        str_addc(out, '\n');
    }
}

/* ---- the end ---- */

char *report_longest(const struct rehearsal *r)
{
    size_t step = 0;
    const struct measured_wait *w = rehearsal_longest(r, &step);
    char seconds[32];
    if (!w)
        return xstrdup("nobody was blocked");
    report_seconds(w->seconds, seconds, sizeof(seconds));
    return xasprintf("longest block %s (a %s of %s, in %s)", seconds,
                     w->writer ? "writer" : "reader", w->table, r->check.revisions[step].id);
}

static void add_summary(struct str *out, const struct rehearsal *r, const struct report_options *o)
{
    const struct terminal *t = &o->terminal;
    char up[32], down[32], again[32];
    _cleanup_str_ struct str decide = {0}, work = {0}, verdict = {0};
    _cleanup_free_ char *growth = report_bytes(r->growth), *peak = report_bytes(r->peak);
    report_seconds(r->up_seconds, up, sizeof(up));
    report_seconds(r->down_seconds, down, sizeof(down));
    report_seconds(r->again_seconds, again, sizeof(again));
    if (r->check.nrevisions) {
        _cleanup_free_ char *longest = report_longest(r);
        str_addf(&decide, "up %s%s%s%sgrowth %s, at its largest %s", up, dot(t), longest, dot(t),
                 growth, peak);
        text_wrap(out, t, str_get(&decide), 0, 2);
        str_addc(out, '\n');
        str_addf(&work, "down %s: %s%sup again %s: %s", down, r->descent ? r->descent : "?", dot(t),
                 again, r->reupgrade ? r->reupgrade : "?");
        text_wrap(out, t, str_get(&work), 0, 2);
        str_addc(out, '\n');
    } else if (report_has_verdict(&r->check, o)) {
        str_addf(out, "nothing is pending: the copy is at %s\n", r->to);
    }
    report_verdict(&r->check, o, &verdict);
    if (o->exit_code)
        str_addf(&verdict, "%sexit %d", dot(t), o->exit_code);
    report_text_mark(out, t, report_verdict_mark(&r->check, o));
    style_add(out, t, STYLE_BOLD, str_get(&verdict));
    str_addc(out, '\n');
}

void report_rehearsal_text(const struct rehearsal *r, const struct report_options *o,
                           struct str *out)
{
    if (!o->quiet) {
        add_header(out, r, o);
        add_revisions(out, r, o);
    }
    report_text_findings(&r->check, o, out);
    add_summary(out, r, o);
}
