/*
 * What a revision may change in its session and leave behind: role, search_path, settings, pragmas.
 * Private to harness/source.
 *
 *     struct session_state *state;
 *     session_state_read(db, &state, err);            when the session begins
 *     session_state_compare(state, db, keep, &text, err);   after each step
 */
#ifndef BELAY_SESSION_STATE_H
#define BELAY_SESSION_STATE_H

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
void session_state_free(struct session_state *s);

#endif
