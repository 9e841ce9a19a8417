/*
 * Time: how long something takes, and what the calendar says.
 *
 *     int64_t end = clock_ms() + 5000;
 *     _cleanup_free_ char *name = clock_utc(CLOCK_STAMP);
 */
#ifndef BELAY_CLOCK_H
#define BELAY_CLOCK_H

#include <stdint.h>

/* Since some moment in the past; never goes back, whatever is done to the calendar. */
double clock_seconds(void);
int64_t clock_ms(void);

enum clock_format {
    CLOCK_STAMP, /* 20261121T043000Z: in names of files and databases */
    CLOCK_ISO,   /* 2026-11-21T04:30:00Z: in records */
    CLOCK_DATE,  /* 2026-11-21 */
};

/* Now; the caller owns it. */
char *clock_utc(enum clock_format format);
char *clock_local_date(void);

#endif
