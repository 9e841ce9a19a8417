/* Steps that fail where there are rows: are the rows why, and which rows? */
#include <stdlib.h>
#include <string.h>

#include "runner/walk.h"

/* *ret: the step worked on the line. Adds what it touched to touched, as far as it is known. */
static int try_step_of(struct walk *w, struct line *l, size_t i, enum step_direction direction,
                       bool *ret, struct strv *touched, struct err *err)
{
    struct step_result s = {0};
    int rc = line_step(l, graph_at(w->graph, i), direction, &s, err);
    *ret = rc == 0 && (s.outcome == STEP_OK || s.outcome == STEP_EMPTY);
    for (size_t k = 0; touched && k < s.touched.names.n; k++)
        strv_add(touched, s.touched.names.v[k]);
    step_result_release(&s);
    return rc;
}

static int try_step(struct walk *w, struct line *l, size_t i, enum step_direction direction,
                    bool *ret, struct err *err)
{
    return try_step_of(w, l, i, direction, ret, NULL, err);
}

/* Revision i from S(i) on benign rows, or on none. */
static int upgrade_works(struct walk *w, size_t i, enum rows_kind kind, bool *ret,
                         struct strv *touched, struct err *err)
{
    _cleanup_line_ struct line *l = NULL;
    if (walk_empty_line(w, i, &l, err) < 0 || walk_rows_start(w, l, i, kind, err) < 0)
        return -1;
    return try_step_of(w, l, i, STEP_UP, ret, touched, err);
}

/* The same on the rows with which the walk would go on: the line that holds them is kept for it. */
static int passes(struct walk *w, size_t i, bool *ret, struct err *err)
{
    _cleanup_line_ struct line *l = NULL, *copy = NULL;
    if (w->exclusive)
        return upgrade_works(w, i, ROWS_ALL, ret, NULL, err);
    if (walk_empty_line(w, i, &l, err) < 0 || walk_rows_start(w, l, i, ROWS_ALL, err) < 0 ||
        line_copy(l, NULL, &copy, err) < 0 || try_step(w, copy, i, STEP_UP, ret, err) < 0)
        return -1;
    if (*ret) {
        line_free(w->rows.next);
        w->rows.next = TAKE_PTR(l);
    }
    return 0;
}

/*
 * Does it work when only the tables that it touches hold benign rows? The others keep what may stop
 * later revisions.
 */
static int keep_hostile_rows(struct walk *w, size_t i, const struct strv *touched, bool *ret,
                             struct err *err)
{
    struct strv *plain = &w->rows.plain;
    size_t n = plain->n;
    *ret = false;
    for (size_t k = 0; k < touched->n; k++)
        if (!strv_has(plain, touched->v[k]))
            strv_add(plain, touched->v[k]);
    if (plain->n > n && passes(w, i, ret, err) < 0)
        return -1;
    while (!*ret && plain->n > n)
        free(plain->v[--plain->n]);
    return 0;
}

/* True when the database refused a value, or how values stand to each other. */
static bool speaks_of_values(const struct err *e)
{
    static const char *const words[] = {"UNIQUE constraint", "CHECK constraint",
                                        "FOREIGN KEY constraint"};
    if (*e->sqlstate)
        return str_starts(e->sqlstate, "22") ||
               (str_starts(e->sqlstate, "23") && strcmp(e->sqlstate, "23502") != 0);
    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        if (e->message && strstr(e->message, words[i]))
            return true;
    return false;
}

/* Which rows others refer to is an affair of the data alone. */
static bool speaks_of_references(const struct err *e)
{
    return strcmp(e->sqlstate, "23503") == 0 ||
           (e->message && strstr(e->message, "FOREIGN KEY constraint"));
}

/* An exception of Python itself, which met a value that it does not want. */
static bool is_value_exception(const char *message)
{
    static const char *const names[] = {
        "ValueError",       "KeyError",     "LookupError",        "IndexError",
        "JSONDecodeError",  "TypeError",    "UnicodeDecodeError", "UnicodeEncodeError",
        "InvalidOperation", "OverflowError"};
    static const char *const types[] = {"'NoneType'", "'int'",  "'float'", "'str'",
                                        "'bool'",     "'list'", "'dict'"};
    const char *colon = strchr(message, ':');
    size_t n = colon ? (size_t)(colon - message) : 0;
    if (strstr(message, "positional argument") || strstr(message, "keyword argument"))
        return false; /* a call that no value can make right */
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (n == strlen(names[i]) && strncmp(message, names[i], n) == 0)
            return true;
    for (size_t i = 0; str_starts(message, "AttributeError: ") && i < ARRAY_LEN(types); i++)
        if (str_starts(message + strlen("AttributeError: "), types[i]))
            return true;
    return false;
}

/*
 * What made-up values mean, nobody can know: text that is to be an address, a date, a label or a
 * document is none, and a revision that looks at values by itself knows more of them than the
 * schema says.
 */
static bool speaks_of_meaning(const struct err *e)
{
    static const char *const states[] = {
        "P0001",          /* raised */
        "22P02",          /* text that a type cannot read */
        "22007", "22008", /* dates and times */
        "22030", "22032", "22033", "22034", "22035", "22036", "22037", "22038", "22039", /* JSON */
        "2203A", "2203B", "2203C", "2203D", "2203E", "2203F",
    };
    for (size_t i = 0; *e->sqlstate && i < ARRAY_LEN(states); i++)
        if (strcmp(e->sqlstate, states[i]) == 0)
            return true;
    return e->code == ERR_SOURCE && e->message && is_value_exception(e->message);
}

int walk_fitting_line(struct walk *w, size_t i, enum rows_kind kind, struct line **ret,
                      struct err *err)
{
    _cleanup_line_ struct line *l = NULL;
    bool works;
    *ret = NULL;
    if (walk_empty_line(w, i, &l, err) < 0 || try_step(w, l, i, STEP_UP, &works, err) < 0)
        return -1;
    if (works && (walk_rows_start(w, l, i + 1, kind, err) < 0 ||
                  try_step(w, l, i, STEP_DOWN, &works, err) < 0))
        return -1;
    if (works)
        *ret = TAKE_PTR(l);
    return 0;
}

int walk_up_and_down(struct walk *w, struct line *l, size_t i, bool *ret, struct err *err)
{
    if (try_step(w, l, i, STEP_UP, ret, err) < 0)
        return -1;
    return *ret ? try_step(w, l, i, STEP_DOWN, ret, err) : 0;
}

/*
 * Benign rows know nothing of what the upgrade demands: of a new foreign key, or a list of words. Rows
 * that meet it come down from above. Where there is none, the error must tell.
 */
static int fitting_rows_pass(struct walk *w, size_t i, const struct err *said, bool *ret,
                             struct err *err)
{
    _cleanup_line_ struct line *l = NULL;
    if (walk_fitting_line(w, i, ROWS_BENIGN, &l, err) < 0)
        return -1;
    if (!l) {
        *ret = speaks_of_values(said);
        return 0;
    }
    if (try_step(w, l, i, STEP_UP, ret, err) < 0)
        return -1;
    *ret = *ret || speaks_of_references(said);
    return 0;
}

int walk_judge_upgrade(struct walk *w, size_t i, const struct err *said, enum rows_guilt *ret,
                       enum rows_kind *ret_passing, struct err *err)
{
    _cleanup_strv_ struct strv touched = {0}, more = {0};
    bool works;
    *ret_passing = ROWS_NONE;
    if (upgrade_works(w, i, ROWS_NONE, &works, &touched, err) < 0)
        return -1;
    *ret = ROWS_INNOCENT;
    if (!works)
        return 0;
    *ret = ROWS_SOME;
    if (keep_hostile_rows(w, i, &touched, &works, err) < 0)
        return -1;
    if (works) {
        *ret_passing = ROWS_ALL;
        return 0;
    }
    if (upgrade_works(w, i, ROWS_BENIGN, &works, &more, err) < 0)
        return -1;
    if (works) {
        bool others = false; /* which it touches only where there are rows */
        for (size_t k = 0; k < more.n; k++)
            others = others || !strv_has(&touched, more.v[k]);
        if (others && keep_hostile_rows(w, i, &more, &others, err) < 0)
            return -1;
        *ret_passing = others ? ROWS_ALL : ROWS_BENIGN;
        return 0;
    }
    if (fitting_rows_pass(w, i, said, &works, err) < 0)
        return -1;
    if (!works && !speaks_of_meaning(said))
        *ret = ROWS_ANY;
    return 0;
}

int walk_judge_downgrade(struct walk *w, size_t i, const struct err *said, enum rows_guilt *ret,
                         struct snapshot **ret_down, struct err *err)
{
    _cleanup_line_ struct line *l = NULL;
    bool works;
    if (walk_empty_line(w, i, &l, err) < 0 || try_step(w, l, i, STEP_UP, &works, err) < 0 ||
        (works && try_step(w, l, i, STEP_DOWN, &works, err) < 0))
        return -1;
    *ret = ROWS_INNOCENT;
    if (!works)
        return 0;
    if (line_read(l, true, ret_down, err) < 0)
        return -1;
    line_free(TAKE_PTR(l));
    if (walk_empty_line(w, i, &l, err) < 0 || walk_rows_start(w, l, i, ROWS_BENIGN, err) < 0 ||
        walk_up_and_down(w, l, i, &works, err) < 0)
        return -1;
    *ret = works || speaks_of_meaning(said) ? ROWS_SOME : ROWS_ANY;
    return 0;
}

/* Revision i taken back from S(i+1) where all tables were filled there. */
static int downgrade_works(struct walk *w, size_t i, enum rows_kind kind, bool *ret,
                           struct err *err)
{
    _cleanup_line_ struct line *l = NULL;
    if (walk_empty_line(w, i + 1, &l, err) < 0 || walk_rows_start(w, l, i + 1, kind, err) < 0)
        return -1;
    return try_step(w, l, i, STEP_DOWN, ret, err);
}

int walk_judge_stop_failure(struct walk *w, size_t i, const struct err *said, enum rows_guilt *ret,
                            struct err *err)
{
    bool works;
    if (downgrade_works(w, i, ROWS_ALL, &works, err) < 0)
        return -1;
    *ret = ROWS_INNOCENT;
    if (works)
        return 0;
    if (downgrade_works(w, i, ROWS_BENIGN, &works, err) < 0)
        return -1;
    *ret = works || speaks_of_meaning(said) ? ROWS_SOME : ROWS_ANY;
    return 0;
}
