/*
 * The walk, for a history in topological order with states S(0)..S(n):
 *
 *     climb      at each revision i:  up -> S(i)   down -> must equal S(i-1)   up -> must equal S(i)
 *     descent    from the last revision down, each stop must equal the state recorded on the way up
 *     straight   base to head in one go, on a fresh scratch; must equal S(n)
 *
 * A revision that cannot be taken back cleanly (its downgrade is missing, fails, raises on purpose
 * or leaves a trace) splits the history into segments: the line is replaced by a clean one at S(i),
 * and the segment below is descended on a copy of the clean S(i-1), so that every stop that can be
 * reached is compared and no revision is blamed for another's fault.
 *
 * Clean states come from the `clean` line, which only ever goes up, one revision at a time, and is
 * copied: over a whole check it costs one replay, however many revisions are at fault. Roles belong
 * to the whole server, so a history that makes roles cannot have two lines alive: there the clean
 * line is replayed for each use, after the roles were dropped (exclusive mode).
 *
 * A difference is reported only after the same steps, run a second time from a clean state, did not
 * differ from the first run by themselves; what did is `nondeterministic`.
 *
 * With rows, the state S(i) has rows R(i) as well. The upgrade runs on R(i-1), the downgrade must
 * bring R(i-1) back, and only after the second upgrade are the tables filled that are empty now: thus
 * no revision is blamed for rows that it never had in its hands on both ways. The descent then meets
 * the filled rows too. The straight run is about the schema alone, and starts empty.
 *
 * roundtrip.c begins and ends the walk, climb.c and descent.c do it, ahead.c does a part of it in a
 * second thread, walk.c has what they share; walk_rows.c fills and reads rows, blame_rows.c judges
 * rows that differ, blame_steps.c steps that fail where there are rows: for all of them only.
 */
#ifndef BELAY_WALK_H
#define BELAY_WALK_H

#include <pthread.h>

#include "harness/schema/delta.h"
#include "harness/schema/diff.h"
#include "runner/line.h"
#include "runner/policy.h"
#include "runner/rows.h"

/* A difference, with the snapshots it points into. */
struct noise {
    struct snapshot *first, *second;
    struct diff diff;
};

/* Rows begin, or begin anew: a line that came to S(at) without rows is filled. */
enum rows_kind {
    ROWS_NONE,   /* nothing passes: the tables stay empty until revision at has been applied */
    ROWS_BENIGN, /* benign rows alone */
    ROWS_ALL,
};
struct rows_start {
    size_t at;
    enum rows_kind kind;
};

/* What is filled after a revision was applied. */
struct rows_fill {
    bool all;            /* every table that is empty */
    struct strv tables;  /* these */
    struct strv columns; /* new ones of tables with rows: table, column, table, column, ... */
    struct strv left;    /* the same, of tables where writing might change more */
};

/* Rows that are no evidence: left out of comparisons. */
struct rows_mark {
    size_t revision; /* in the descent, from this position down; SIZE_MAX: everywhere */
    char *table;
    char *column; /* NULL: the whole table, or a sequence */
};

/* What is known about the rows along the walk. */
struct walk_rows {
    bool on;
    struct row_state now;     /* R(at), on the line */
    struct row_delta *deltas; /* deltas[i]: R(i) to R(i+1) */
    struct rows_fill *fills;  /* fills[i]: after revision i */
    struct rows_start *starts;
    size_t nstarts, starts_cap;
    struct rows_mark *marks;
    size_t nmarks, marks_cap;
    struct strv plain;    /* tables that get benign rows alone: others stopped a revision */
    struct strv unfilled; /* tables that were reported as not filled */
    size_t clean_start;   /* how many starts the clean line has behind it */
    struct line *next;    /* filled where rows are to begin anew, or NULL */
    struct line *empty;   /* at S(empty_at), without rows, or NULL */
    size_t empty_at;
    size_t stops; /* of the descent, that were judged */
};

struct walk {
    const struct check_options *o;
    const struct graph *graph;
    struct check_result *result;
    struct policy policy;
    struct line_env env;
    size_t n;

    struct snapshot *base;  /* S(0) */
    struct snapshot *state; /* S(at), as recorded */
    size_t at;              /* revisions applied on the line, topologically */
    struct delta *deltas;   /* deltas[i]: S(i) to S(i+1); empty where revision i is not applied */
    bool *skipped;          /* the revision does not upgrade, or needs one that does not */
    size_t segment;         /* position below which the line cannot go down */

    struct line *line;
    struct line *clean; /* at S(clean_at), or NULL */
    size_t clean_at;
    bool exclusive;      /* the history makes roles */
    bool stopped;        /* the verdict is in the findings; nothing more can be run */
    struct strv roles;   /* roles the history made so far */
    struct noise *noise; /* what is known to differ between two runs of the same steps */
    size_t nnoise, noise_cap;
    size_t done, total;  /* for the progress line */
    struct ahead *ahead; /* what runs at the same time, or NULL */
    struct relay *relay;
    struct walk_rows rows;
};

/* ---- the walk itself ---- */

/* Says in the result what is walked, and where. */
void walk_name(struct walk *w);
void walk_release(struct walk *w);
int walk_climb(struct walk *w, struct err *err);
/* Takes the line from S(from) down to S(to), comparing each stop. The line may be replaced. state
 * is S(from) and is used up; rows are R(from). */
int walk_descend(struct walk *w, struct line **line, struct snapshot *state,
                 const struct row_state *rows, size_t from, size_t to, struct err *err);
/* Descends the segment that ends at S(end), on a copy of the clean state. rows are R(end). */
int walk_descend_segment(struct walk *w, size_t end, const struct snapshot *state,
                         const struct row_state *rows, struct err *err);
/* *ret: how it went, as struct check_result says it; owned by the caller. */
int walk_straight_run(struct walk *w, char **ret, struct err *err);

/*
 * The straight run and the descent depend on nothing that the climb does, so that in a long history
 * they run while it climbs: in a thread, on a private server of their own, the descent from where
 * the straight run arrived. What comes out equal at every stop is as good as run afterwards; when
 * anything at all differs or fails, all of it is forgotten and run again in its turn, on the lines
 * and with the judgement that it always had. Findings thus never depend on the thread.
 */
void walk_ahead_start(struct walk *w); /* does nothing when it does not pay, or cannot be done */
/* Waits for the end; after the climb. *ret_straight: the straight run was equal; *ret_descent: so
 * was every stop from S(n) down to S(segment). Adds the steps that count to w. */
void walk_ahead_finish(struct walk *w, bool *ret_straight, bool *ret_descent);
void walk_ahead_free(struct walk *w); /* tells it to stop, and waits */
/* Whether the walk is one to run things beside. */
bool walk_may_go_ahead(const struct walk *w);
int walk_start_thread(pthread_t *ret, void *(*run)(void *),
                      void *data); /* without signals; 0: it runs */

/*
 * With rows the descent needs those of the climb. What is left of the second thread's time goes to its lower
 * part: once three quarters are climbed, a copy of the line goes down from there while the climb goes on. Where the
 * descent from the end arrives at the same state, to the row, and the copy met what was recorded at every stop, the
 * rest has been descended. Otherwise it is forgotten, as above.
 */
void walk_relay_start(struct walk *w); /* when the line has come to where it pays */
/* The descent is at S(from), where the line holds what is given. True: it is done, down to S(to); the steps are added to
 * w. */
bool walk_relay_take(struct walk *w, size_t from, size_t to, const struct snapshot *state,
                     const struct row_state *rows, const struct row_state *actual);
void walk_relay_free(struct walk *w); /* tells it to stop, and waits */

/* ---- findings ---- */

void walk_progress(struct walk *w, const char *phase, const char *revision);
struct revision_result *walk_revision(struct walk *w, size_t i);
/* With the place of the direction that is at fault. r NULL: of the project. */
struct finding *walk_add_finding(struct walk *w, const char *id, const struct revision *r,
                                 enum step_direction direction);
/* A finding that lists the differences. What matters least has ids of its own, else it is real_id.
 */
struct finding *walk_add_difference(struct walk *w, const char *real_id, const struct revision *r,
                                    enum step_direction direction, const struct diff *d,
                                    const char *message);
/* Puts what it means before what the database said. */
void finding_explain(struct finding *f, const char *meaning);
/* The id, unless the step left a transaction open, which has one of its own. */
const char *step_failure_id(const struct step_result *s, const char *id);
/* What the revision left changed in its session. */
void walk_note_session(struct walk *w, const struct revision *r, enum step_direction direction,
                       const struct step_result *s);
/* What the downgrade should have done about it; owned by the caller, or NULL. */
char *diff_hint(const struct diff *d);

/* ---- comparing ---- */

/* The difference less the noise; *ret is empty when the snapshots are as good as equal. */
bool walk_differs(struct walk *w, const struct snapshot *expected, const struct snapshot *actual,
                  struct diff *ret);
/* Differences between two runs of the same steps: reported once, then left out of every comparison.
 */
void walk_add_noise(struct walk *w, const struct revision *r, const struct snapshot *first,
                    const struct snapshot *second);

/* ---- lines ---- */

/* For struct line_env. data is the struct policy. */
int walk_filter(void *data, struct snapshot **s, struct err *err);
/* Runs a step that worked before on a line that is not under test. When it does not work this time,
 * that is a finding, and the walk is at its end (w->stopped). */
int walk_replay(struct walk *w, struct line *l, size_t i, enum step_direction direction,
                struct err *err);
/* Notes the roles that the history made. */
void walk_note_roles(struct walk *w, const struct snapshot *s);
/* Drops them; no line may be alive. On a server that is not belay's own nobody can tell whose a role is:
 * there the walk is at its end (w->stopped), with a finding that says so. */
int walk_reset_server(struct walk *w, struct err *err);
/* A line at S(upto) with its rows, replayed from the beginning. In exclusive mode no other line may
 * be alive. */
int walk_new_line(struct walk *w, size_t upto, struct line **ret, struct err *err);
/* A line at the clean S(upto), for any use. In exclusive mode it takes the place of w->line. */
int walk_clean_line(struct walk *w, size_t upto, struct line **ret, struct err *err);
/* The rows of a stop of the descent are read. *ret: what to compare, what the step touched and what the revision had
 * changed on the way up: in names, or NULL for all. */
int walk_read_stop(struct walk *w, struct line *l, size_t i, const struct step_result *s,
                   struct row_state *actual, struct strv *names, const struct strv **ret,
                   struct err *err);
/* Replaces the line by a clean one at S(upto), which must be the recorded state. */
int walk_restore(struct walk *w, size_t upto, struct err *err);

/* ---- rows ---- */

/* Before revision i: fills the line where rows are to begin. */
int walk_rows_begin(struct walk *w, size_t i, struct err *err);
/* True where the line has rows. */
bool walk_has_rows(const struct walk *w);
/* The tables and sequences whose rows a step of revision i may have changed, up or down: in names,
 * which is returned, or NULL when any may be. The schema's delta of the revision must be known. */
const struct strv *walk_rows_touched(const struct walk *w, size_t i, const struct step_result *s,
                                     struct strv *names);
/* Reads what a step touched, on a line that is at the state. delta may be NULL. */
int walk_rows_read(struct walk *w, struct line *l, const struct strv *touched,
                   struct row_state *state, struct row_delta *delta, struct err *err);
/* Decides what to fill after revision i, from what it did: schema and rows after it, rows before. */
void walk_rows_plan(struct walk *w, size_t i, const struct snapshot *schema,
                    const struct row_state *before, const struct row_state *after);
/* Fills the line after revision i as planned, and records R(i+1). */
int walk_rows_fill(struct walk *w, size_t i, struct err *err);
/* Records R(upto) of a line that took the place of another. */
int walk_rows_restored(struct walk *w, size_t upto, struct err *err);
/* The same on a line that is not under test. fills[i] was planned. */
int walk_rows_refill(struct walk *w, struct line *l, size_t i, struct err *err);
/* Fills a line that came to S(at) without rows. */
int walk_rows_start(struct walk *w, struct line *l, size_t at, enum rows_kind kind,
                    struct err *err);
/* That is where rows begin from now on, and what was kept in rows.next is the clean line. */
void walk_rows_add_start(struct walk *w, size_t at, enum rows_kind kind);
void walk_rows_add_mark(struct walk *w, size_t revision, const char *table, const char *column);
/* True when that is no evidence: at revision (SIZE_MAX: in the climb). column NULL: the table. */
bool walk_rows_marked(const struct walk *w, size_t revision, const char *table, const char *column);
/* A line at S(upto) without rows. In exclusive mode it takes the place of w->line. */
int walk_empty_line(struct walk *w, size_t upto, struct line **ret, struct err *err);
/* *ret: reading only what steps touched has missed nothing on the line. */
int walk_rows_proved(struct walk *w, bool *ret, struct err *err);
void walk_rows_release(struct walk *w);

/* What the database held before and after, where its tables should be the same. */
struct rows_suspicion {
    size_t i;                                     /* the revision */
    const struct row_state *before, *top, *after; /* R(i), after the upgrade, after the downgrade */
    const struct snapshot *schema;                /* after the upgrade */
    const struct strv *names;                     /* tables to look at; NULL: all */
};
/*
 * The rows after the downgrade of revision i are compared with R(i). What differs is judged: the
 * same steps from a clean state tell what differs from run to run by itself. Adds findings;
 * *ret_blamed: there are some. In exclusive mode w->line may be gone.
 */
int walk_judge_rows(struct walk *w, const struct rows_suspicion *s, bool *ret_blamed,
                    struct err *err);
/* *ret: the new column of the same table in which the values of a column are after revision i that
 * the upgrade takes away, so that the downgrade could bring them back; or NULL. The clean line stands
 * at S(i). The caller owns it. */
int walk_kept_column(struct walk *w, size_t i, const struct digest *before,
                     const struct digest *top, const char *column, char **ret, struct err *err);
/* The same of a table: one of top, or NULL. */
const char *walk_kept_table(const struct row_state *before, const struct row_state *top,
                            const struct digest *table);
/* The rows after the second upgrade against those after the first, both before any filling. */
void walk_judge_again(struct walk *w, size_t i, const struct row_state *first,
                      const struct row_state *second, const struct strv *names, bool *ret_blamed);
/* A stop of the descent: rows against R(i). */
int walk_judge_stop(struct walk *w, size_t i, size_t from, const struct row_state *expected,
                    const struct row_state *actual, const struct strv *names, bool *ret_blamed,
                    struct err *err);

/* Why a step fails where there are rows. */
enum rows_guilt {
    ROWS_INNOCENT, /* it fails on empty tables too */
    ROWS_SOME,     /* it works on some rows: others break it */
    ROWS_ANY,      /* it works on empty tables alone */
};
/* said: how the upgrade failed. *ret_passing: the rows on which the walk can go on. */
int walk_judge_upgrade(struct walk *w, size_t i, const struct err *said, enum rows_guilt *ret,
                       enum rows_kind *ret_passing, struct err *err);
/* A line at S(i) with rows of the kind that suit S(i+1): made there, and taken along by the
 * downgrade. *ret is NULL where that fails. */
int walk_fitting_line(struct walk *w, size_t i, enum rows_kind kind, struct line **ret,
                      struct err *err);
/* *ret: both steps worked. */
int walk_up_and_down(struct walk *w, struct line *l, size_t i, bool *ret, struct err *err);
/* said: how the downgrade failed. *ret_down: the schema after it on empty tables, where it works there. */
int walk_judge_downgrade(struct walk *w, size_t i, const struct err *said, enum rows_guilt *ret,
                         struct snapshot **ret_down, struct err *err);
/* A downgrade that worked in the climb fails in the descent, which meets filled rows too. */
int walk_judge_stop_failure(struct walk *w, size_t i, const struct err *said, enum rows_guilt *ret,
                            struct err *err);

#endif
