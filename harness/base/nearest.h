/*
 * "Did you mean ...?": the candidate that a word was probably meant to be.
 */
#ifndef BELAY_NEAREST_H
#define BELAY_NEAREST_H

/* The nearest of a NULL-terminated list, a pointer into it; NULL when none is near enough. */
const char *nearest(const char *word, const char *const *candidates);

#endif
