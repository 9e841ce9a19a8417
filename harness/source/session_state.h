/*
 * What a revision may change in its session and leave behind: role, search_path, settings, pragmas.
 * Private to harness/source.
 *
 *     struct session_state *state;
 *     session_state_read(db, &state, err);            when the session begins
 *     session_state_compare(state, db, keep, &text, err);   after each step
 *
 * A session that is not belay's own is asked by whoever holds it:
 *
 *     state = session_state_new(engine);
 *     values = what session_state_query(state) gives
 *     session_state_judge(state, values, keep, &text, &reset);
 */
#ifndef BELAY_SESSION_STATE_H
#define BELAY_SESSION_STATE_H

#include "harness/base/str.h"
#include "harness/engine/engine.h"

struct session_state;

int session_state_read(struct db *db, struct session_state **ret, struct err *err);

/* One value as it was when last read: "search_path". Owned by the state; NULL when there is none.
 */
const char *session_state_get(const struct session_state *s, const char *name);

/*
 * Compares the session with what it was. *ret_change says what differs ("role is now app"), NULL
 * when nothing does; the caller owns it. With keep the session stays as it is and counts as the
 * state to compare with next; otherwise it is put back.
 */
int session_state_compare(struct session_state *s, struct db *db, bool keep, char **ret_change,
                          struct err *err);

struct session_state *session_state_new(const struct engine *e);
/* The query that reads it: one row of session_state_size() values. Owned by the state. */
const char *session_state_query(const struct session_state *s);
size_t session_state_size(const struct session_state *s);
/* What session_state_compare() does, with values that were read elsewhere (taken over with the
 * array). The first values are the state to compare with. ret_reset: the statements that put the
 * session back. */
void session_state_judge(struct session_state *s, char **values, bool keep, char **ret_change,
                         struct strv *ret_reset);
void session_state_free(struct session_state *s);

#endif
