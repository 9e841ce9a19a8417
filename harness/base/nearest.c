#include "harness/base/nearest.h"

#include <stddef.h>
#include <string.h>

#define LONGEST 64 /* option and key names are short; longer words have no neighbour */

static size_t min3(size_t a, size_t b, size_t c)
{
    size_t m = a < b ? a : b;
    return m < c ? m : c;
}

/* Insertions, deletions, substitutions and swaps of neighbours (optimal string alignment). */
static size_t distance(const char *a, size_t n, const char *b, size_t m)
{
    size_t rows[3][LONGEST + 1];
    size_t *before_last = rows[0], *last = rows[1], *row = rows[2];
    for (size_t j = 0; j <= m; j++)
        last[j] = j;
    for (size_t i = 1; i <= n; i++) {
        row[0] = i;
        for (size_t j = 1; j <= m; j++) {
            size_t change = last[j - 1] + (a[i - 1] != b[j - 1]);
            row[j] = min3(last[j] + 1, row[j - 1] + 1, change);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
                before_last[j - 2] + 1 < row[j])
                row[j] = before_last[j - 2] + 1;
        }
        size_t *free_row = before_last;
        before_last = last;
        last = row;
        row = free_row;
    }
    return last[m];
}

const char *nearest(const char *word, const char *const *candidates)
{
    size_t n = strlen(word);
    if (n == 0 || n > LONGEST)
        return NULL;
    const char *best = NULL;
    size_t best_distance = 1 + n / 3; /* farther than this is another word */
    for (; *candidates; candidates++) {
        size_t m = strlen(*candidates);
        if (m > LONGEST)
            continue;
        size_t d = distance(word, n, *candidates, m);
        if (d < best_distance || (d == best_distance && !best && d < n)) {
            best = *candidates;
            best_distance = d;
        }
    }
    return best;
}
