#include "runner/rehearsal.h"

#include <stdlib.h>
#include <string.h>

static void basis_release(struct rehearsal_basis *b)
{
    free(b->from);
    free(b->kind);
    free(b->taken);
    free(b->server);
    free(b->copy_server);
    strv_release(&b->read);
    strv_release(&b->limits);
}

void rehearsal_release(struct rehearsal *r)
{
    for (size_t i = 0; r->steps && i < r->check.nrevisions; i++) {
        measures_release(&r->steps[i].up.measures);
        measures_release(&r->steps[i].down.measures);
        measures_release(&r->steps[i].again.measures);
        strv_release(&r->steps[i].changes);
    }
    free(r->steps);
    free(r->from);
    free(r->to);
    free(r->descent);
    free(r->reupgrade);
    strv_release(&r->queries.unchecked);
    basis_release(&r->basis);
    check_result_release(&r->check);
    memset(r, 0, sizeof(*r));
}

const struct measured_wait *rehearsal_longest(const struct rehearsal *r, size_t *ret_step)
{
    const struct measured_wait *longest = NULL;
    for (size_t i = 0; i < r->check.nrevisions; i++) {
        const struct measured_wait *w = measures_longest(&r->steps[i].up.measures);
        if (!w || (longest && w->seconds <= longest->seconds))
            continue;
        longest = w;
        *ret_step = i;
    }
    return longest;
}
