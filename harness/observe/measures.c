#include "harness/observe/measures.h"

#include <stdlib.h>
#include <string.h>

void measures_release(struct measures *m)
{
    for (size_t i = 0; i < m->nstatements; i++) {
        free(m->statements[i].text);
        free(m->statements[i].file);
    }
    for (size_t i = 0; i < m->nlocks; i++) {
        free(m->locks[i].relation);
        free(m->locks[i].kind);
        free(m->locks[i].mode);
    }
    for (size_t i = 0; i < m->nrewrites; i++) {
        free(m->rewrites[i].relation);
        free(m->rewrites[i].kind);
    }
    for (size_t i = 0; i < m->nwork; i++) {
        free(m->work[i].table);
        free(m->work[i].constraint);
    }
    for (size_t i = 0; i < m->nwaits; i++)
        free(m->waits[i].table);
    for (size_t i = 0; i < m->ninvalid; i++)
        free(m->invalid_indexes[i]);
    free(m->statements);
    free(m->locks);
    free(m->rewrites);
    free(m->work);
    free(m->waits);
    free(m->invalid_indexes);
    memset(m, 0, sizeof(*m));
}

const struct measured_wait *measures_longest(const struct measures *m)
{
    const struct measured_wait *longest = NULL;
    for (size_t i = 0; i < m->nwaits; i++)
        if (!longest || m->waits[i].seconds > longest->seconds)
            longest = &m->waits[i];
    return longest;
}

bool measures_is_long(const struct measures *m, size_t i, size_t n)
{
    size_t longer = 0;
    for (size_t k = 0; k < m->nstatements; k++)
        longer += m->statements[k].seconds > m->statements[i].seconds ||
                  (m->statements[k].seconds == m->statements[i].seconds && k < i);
    return longer < n;
}
