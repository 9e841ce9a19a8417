/*
 * How far a long piece of work is: a line on stderr that replaces itself, with rate and time left.
 * Only on a terminal.
 *
 *     struct transfer p;
 *     transfer_init(&p, quiet);
 *     ... .control = transfer_control(&p) ...
 *     transfer_end(&p);                         takes the line away
 */
#ifndef BELAY_TRANSFER_H
#define BELAY_TRANSFER_H

#include "backup/backup.h"

struct transfer {
    bool shown; /* stderr is a terminal, and not --quiet */
    bool line;  /* something stands in the line */
    const char *phase;
    double since; /* seconds: when the phase began */
    int cancel_fd;
};

int transfer_init(struct transfer *p, bool quiet, struct err *err);
/* Stops on the first signal. p must live as long as it. */
struct backup_control transfer_control(struct transfer *p);
void transfer_end(struct transfer *p);

/* "12.3 MB"; the caller owns it. */
char *size_text(uint64_t bytes);

#endif
