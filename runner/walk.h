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
 * roundtrip.c begins and ends the walk, climb.c and descent.c do it, ahead.c does a part of it in a
 * second thread, walk.c has what they share: for the five of them only.
 */
#ifndef BELAY_WALK_H
#define BELAY_WALK_H

#include "harness/schema/delta.h"
#include "harness/schema/diff.h"
#include "runner/line.h"
#include "runner/policy.h"

/* A difference, with the snapshots it points into. */
struct noise {
    struct snapshot *first, *second;
    struct diff diff;
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
};

/* ---- the walk itself ---- */

int walk_climb(struct walk *w, struct err *err);
/* Takes the line from S(from) down to S(to), comparing each stop. The line may be replaced. state
 * is S(from) and is used up. */
int walk_descend(struct walk *w, struct line **line, struct snapshot *state, size_t from, size_t to,
                 struct err *err);
/* Descends the segment that ends at S(end), on a copy of the clean state. */
int walk_descend_segment(struct walk *w, size_t end, const struct snapshot *state, struct err *err);
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
/* A change of the highest class in d; NULL in an empty one. */
const struct change *diff_worst(const struct diff *d);
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
/* A line at the clean S(upto), for any use. In exclusive mode it takes the place of w->line. */
int walk_clean_line(struct walk *w, size_t upto, struct line **ret, struct err *err);
/* Replaces the line by a clean one at S(upto), which must be the recorded state. */
int walk_restore(struct walk *w, size_t upto, struct err *err);

#endif
