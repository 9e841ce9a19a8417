/*
 * The report for people: what was checked, one line per revision, then the findings with place,
 * minimal diff, excerpt and hint, and one line that says how it ends.
 */
#include "runner/report.h"

#include <string.h>

#include "harness/base/cleanup.h"
#include "harness/base/file.h"

#define LIKE_SHOWN 3     /* findings that say the same, before the rest is counted */
#define CHANGES_SHOWN 10 /* lines of a diff */
#define TIMES_WIDTH 22   /* "up 999 ms  down 999 ms" */
#define ID_WIDTH 26

/* The marks as text alone, and their colours. */
static const struct {
    const char *ascii;
    enum style style;
} marks[] = {
    [MARK_OK] = {"ok  ", STYLE_GREEN},       [MARK_ERROR] = {"FAIL", STYLE_RED},
    [MARK_WARNING] = {"warn", STYLE_YELLOW}, [MARK_NOTE] = {"note", STYLE_BLUE},
    [MARK_WAIVED] = {"waiv", STYLE_DIM},     [MARK_REPLAYED] = {"skip", STYLE_DIM},
    [MARK_NOT_RUN] = {"none", STYLE_DIM},
};

void report_text_mark(struct str *out, const struct terminal *t, enum mark mark)
{
    style_add(out, t, marks[mark].style, t->utf8 ? report_mark_symbol(mark) : marks[mark].ascii);
    str_addc(out, ' ');
}

static int mark_width(const struct terminal *t)
{
    return t->utf8 ? 2 : 5;
}

static const char *dot(const struct terminal *t)
{
    return t->utf8 ? " · " : " - ";
}

static void add_header(struct str *out, const struct check_result *r, const struct terminal *t)
{
    const char *const parts[] = {r->format, r->engine, r->scratch, r->quick ? "quick" : NULL};
    _cleanup_free_ char *project = text_printable(r->project ? r->project : "?");
    style_add(out, t, STYLE_BOLD, project);
    _cleanup_str_ struct str rest = {0};
    for (size_t i = 0; i < ARRAY_LEN(parts); i++)
        if (parts[i])
            str_addf(&rest, "%s%s", dot(t), parts[i]);
    style_add(out, t, STYLE_DIM, str_get(&rest));
    str_add(out, "\n\n");
}

static void add_times(struct str *out, const struct revision_result *r, const struct terminal *t)
{
    char up[32], down[32];
    report_seconds(r->up_seconds, up, sizeof(up));
    report_seconds(r->down_seconds, down, sizeof(down));
    _cleanup_str_ struct str s = {0};
    if (r->up_seconds > 0)
        str_addf(&s, "up %6s", up);
    if (r->status == REVISION_REPLAYED)
        str_add(&s, "  not checked");
    else if (r->down_seconds > 0)
        str_addf(&s, "%*sdown %6s", s.len ? 2 : 11, "", down);
    style_add(out, t, STYLE_DIM, str_get(&s));
}

/* Nobody asked about these: with --latest and its like one line for all of them is enough. */
static void add_replayed(struct str *out, const struct check_result *r, size_t i, size_t n,
                         const struct terminal *t)
{
    _cleanup_free_ char *line =
        xasprintf("%s %s %s: %zu revisions, only upgraded", r->revisions[i].id,
                  t->utf8 ? "…" : "...", r->revisions[i + n - 1].id, n);
    _cleanup_free_ char *clean = text_printable(line);
    report_text_mark(out, t, MARK_REPLAYED);
    style_add(out, t, STYLE_DIM, clean);
    str_addc(out, '\n');
}

static void add_revisions(struct str *out, const struct check_result *r,
                          const struct report_options *o)
{
    const struct terminal *t = &o->terminal;
    int id_width = 1, title_width = 0;
    for (size_t i = 0; i < r->nrevisions; i++) {
        int n = text_width(r->revisions[i].id);
        id_width = n > id_width ? n : id_width;
        n = text_width(r->revisions[i].title ? r->revisions[i].title : "");
        title_width = n > title_width ? n : title_width;
    }
    id_width = id_width > ID_WIDTH ? ID_WIDTH : id_width;
    int room = t->width - mark_width(t) - id_width - 4 - TIMES_WIDTH;
    room = room < 8 ? 8 : room;
    title_width = title_width > room ? room : title_width;

    _cleanup_free_ int *worst = report_worst(r);
    for (size_t i = 0; i < r->nrevisions; i++) {
        const struct revision_result *rev = &r->revisions[i];
        size_t replayed = o->verbose ? 0 : report_count_replayed(r, i);
        if (replayed >= REPORT_REPLAYED_SHOWN) {
            add_replayed(out, r, i, replayed, t);
            i += replayed - 1;
            continue;
        }
        enum mark mark = report_revision_mark(rev, worst[i]);
        _cleanup_free_ char *id = text_printable(rev->id);
        _cleanup_free_ char *title = text_printable(rev->title ? rev->title : "");
        report_text_mark(out, t, mark);
        text_fit(out, t, id, id_width, true);
        str_add(out, "  ");
        if (rev->status == REVISION_NOT_RUN) {
            _cleanup_free_ char *why = xasprintf("not run: %s", report_not_run_reason(rev));
            _cleanup_free_ char *line = text_printable(why);
            _cleanup_str_ struct str cut = {0};
            text_fit(&cut, t, line, room + 2 + TIMES_WIDTH, false);
            style_add(out, t, STYLE_DIM, str_get(&cut));
        } else {
            text_fit(out, t, title, title_width, true);
            if (title_width)
                str_add(out, "  ");
            add_times(out, rev, t);
        }
        /* no blanks at the end of a line */
        while (out->len && out->p[out->len - 1] == ' ')
            out->p[--out->len] = '\0';
        str_addc(out, '\n');
    }
    if (r->nrevisions)
        str_addc(out, '\n');
}

/* The line of a file, without its newline; NULL when there is none. The caller owns it. */
static char *file_line(const char *path, int line)
{
    _cleanup_free_ char *text = NULL;
    _cleanup_err_ struct err err = {0};
    if (file_read(path, &text, NULL, &err) < 0)
        return NULL; /* the excerpt is an extra: the place itself is printed */
    const char *p = text;
    for (; line > 1 && p; line--) {
        p = strchr(p, '\n');
        p = p ? p + 1 : NULL;
    }
    return p && *p ? xstrndup(p, strcspn(p, "\r\n")) : NULL;
}

/*
 *     12 | ALTER TABLE post ADD COLUMN tag text;
 *        |             ^
 */
static bool add_excerpt(struct str *out, const struct finding *f, const struct terminal *t)
{
    _cleanup_free_ char *line = f->file && f->line ? file_line(f->file, f->line) : NULL;
    if (!line || !*line)
        return false;
    /* tabs become blanks; the caret goes under the character that the column counts */
    _cleanup_str_ struct str shown = {0};
    int caret = -1, column = 1;
    for (const char *p = line; *p; p++) {
        if (((unsigned char)*p & 0xc0) != 0x80) {
            if (column == f->column)
                caret = text_width(str_get(&shown));
            column++;
        }
        if (*p == '\t')
            str_add(&shown, "    ");
        else
            str_addc(&shown, *p);
    }
    _cleanup_free_ char *text = text_printable(str_get(&shown));

    char number[16];
    int digits = snprintf(number, sizeof(number), "%d", f->line);
    int room = t->width - 4 - digits - 3;
    const char *from = text;
    bool cut = false;
    if (caret >= room - 8) { /* so far to the right that the line must begin later */
        int skip = caret - room / 2, width = 0;
        while (*from && width < skip) {
            /* whole characters, never into one */
            do
                from++;
            while (((unsigned char)*from & 0xc0) == 0x80);
            width++;
        }
        caret -= width;
        cut = true;
    }
    const char *mark = cut ? (t->utf8 ? "…" : "...") : "";
    int mark_columns = text_width(mark);
    str_addf(out, "    %s | %s", number, mark);
    text_fit(out, t, from, room - mark_columns, false);
    str_addc(out, '\n');
    if (caret >= 0) {
        str_addf(out, "    %*s | %*s", digits, "", caret + mark_columns, "");
        style_add(out, t, STYLE_RED, "^");
        str_addc(out, '\n');
    }
    return true;
}

static void add_labelled(struct str *out, const struct terminal *t, const char *label,
                         const char *text)
{
    str_add(out, "  ");
    style_add(out, t, STYLE_BOLD, label);
    str_addc(out, ' ');
    int column = 3 + (int)strlen(label);
    /* lines stay lines: a traceback is not prose */
    for (const char *p = text; *p;) {
        size_t n = strcspn(p, "\n");
        _cleanup_free_ char *line = xstrndup(p, n);
        if (p > text)
            str_addf(out, "\n%*s", column, "");
        text_wrap(out, t, line, column, column);
        p += n + (p[n] == '\n');
    }
    str_addc(out, '\n');
}

static void add_finding(struct str *out, const struct check_result *r, const struct finding *f,
                        const struct report_options *o)
{
    const struct terminal *t = &o->terminal;
    enum mark mark = report_finding_mark(f);
    report_text_mark(out, t, mark);
    _cleanup_free_ char *name = f->revision
                                    ? xasprintf("%s %s", f->revision, report_title(r, f->revision))
                                    : xstrdup("the project");
    _cleanup_free_ char *head = text_printable(name);
    while (str_ends(head, " "))
        head[strlen(head) - 1] = '\0';
    _cleanup_str_ struct str cut = {0};
    text_fit(&cut, t, head, t->width - mark_width(t) - 2 - (int)strlen(f->id->id), false);
    style_add(out, t, STYLE_BOLD, str_get(&cut));
    str_add(out, ": ");
    style_add(out, t, marks[mark].style, f->id->id);
    str_addc(out, '\n');

    str_add(out, "  ");
    text_wrap(out, t, report_message(f), 2, 2);
    if (*f->sqlstate) {
        _cleanup_free_ char *state = xasprintf(" (SQLSTATE %s)", f->sqlstate);
        style_add(out, t, STYLE_DIM, state);
    }
    str_addc(out, '\n');
    if (f->waived_reason) {
        _cleanup_free_ char *reason =
            f->waived_expires ? xasprintf("%s (until %s)", f->waived_reason, f->waived_expires)
                              : xstrdup(f->waived_reason);
        add_labelled(out, t, "waived:", reason);
    }
    _cleanup_free_ char *raw_place = report_place(f);
    _cleanup_free_ char *place = text_printable(raw_place);
    if (*place)
        str_addf(out, "  %s\n", place);
    if (f->waived_reason && !o->verbose) {
        str_addc(out, '\n');
        return; /* known and accepted: the details are with -v */
    }
    /* an excerpt where something failed that ran; elsewhere the place alone says enough */
    bool ran = f->statement || *f->sqlstate || f->trace;
    bool shown = ran && add_excerpt(out, f, t) && str_ends(f->file, ".sql");
    if (f->statement && (o->verbose || !shown))
        statement_add(out, t, f->statement, o->verbose ? -1 : STATEMENT_LINES);
    size_t max = o->verbose || f->nchanges <= CHANGES_SHOWN + 1 ? f->nchanges : CHANGES_SHOWN;
    for (size_t i = 0; i < max; i++)
        report_change(f->changes[i].text, t, 4, out);
    if (max < f->nchanges)
        str_addf(out, "    %s and %zu more (-v shows all)\n", t->utf8 ? "…" : "...",
                 f->nchanges - max);
    if (f->detail)
        add_labelled(out, t, "detail:", f->detail);
    if (f->trace && o->verbose)
        trace_add(out, f->trace);
    if (f->hint)
        add_labelled(out, t, "hint:", f->hint);
    str_addc(out, '\n');
}

/* True when two findings say the same of two revisions, with nothing of their own to show. */
static bool alike(const struct finding *a, const struct finding *b)
{
    return a->id == b->id && a->severity == b->severity && !a->nchanges && !b->nchanges &&
           !a->statement && !b->statement && a->revision && b->revision &&
           str_eq(a->message, b->message) && str_eq(a->waived_reason, b->waived_reason);
}

static void add_others(struct str *out, const struct check_result *r, size_t first,
                       const struct terminal *t)
{
    const char *dots = t->utf8 ? "…" : "...";
    size_t n = 0;
    _cleanup_str_ struct str names = {0};
    for (size_t i = first; i < r->nfindings; i++) {
        if (!alike(&r->findings[first], &r->findings[i]))
            continue;
        if (n++ < 8)
            str_addf(&names, "%s%s", n > 1 ? ", " : "", r->findings[i].revision);
    }
    _cleanup_free_ char *line =
        xasprintf("%s and %zu more with %s: %s%s (-v shows all)", dots, n,
                  r->findings[first].id->id, str_get(&names), n > 8 ? ", and so on" : "");
    str_add(out, "  ");
    text_wrap(out, t, line, 2, 2);
    str_add(out, "\n\n");
}

void report_text_findings(const struct check_result *r, const struct report_options *o,
                          struct str *out)
{
    for (size_t i = 0; i < r->nfindings; i++) {
        size_t before = 0;
        for (size_t k = 0; k < i && before <= LIKE_SHOWN && !o->verbose; k++)
            before += alike(&r->findings[k], &r->findings[i]);
        if (before < LIKE_SHOWN)
            add_finding(out, r, &r->findings[i], o);
        else if (before == LIKE_SHOWN)
            add_others(out, r, i, &o->terminal);
    }
}

static void add_summary(struct str *out, const struct check_result *r,
                        const struct report_options *o)
{
    const struct terminal *t = &o->terminal;
    _cleanup_str_ struct str work = {0}, verdict = {0};
    report_work(r, dot(t), &work);
    text_wrap(out, t, str_get(&work), 0, 2);
    str_addc(out, '\n');
    if (r->kept_url)
        str_addf(out, "scratch database kept: %s\n", r->kept_url);

    report_verdict(r, o, &verdict);
    int worst = result_worst(r);
    if (o->exit_code)
        str_addf(&verdict, "%sexit %d", dot(t), o->exit_code);
    else if (worst >= 0)
        str_addf(&verdict, "%sexit 0 (1 with --fail-on %s)", dot(t),
                 severity_name((enum severity)worst));
    report_text_mark(out, t, report_verdict_mark(r, o));
    style_add(out, t, STYLE_BOLD, str_get(&verdict));
    str_addc(out, '\n');
}

void report_text(const struct check_result *r, const struct report_options *o, struct str *out)
{
    if (!o->quiet) {
        add_header(out, r, &o->terminal);
        add_revisions(out, r, o);
    }
    report_text_findings(r, o, out);
    add_summary(out, r, o);
}
