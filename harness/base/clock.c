#include "harness/base/clock.h"

#include <time.h>

#include "harness/base/str.h"

double clock_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

int64_t clock_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * INT64_C(1000) + t.tv_nsec / 1000000;
}

char *clock_utc(enum clock_format format)
{
    time_t now = time(NULL);
    struct tm tm;
    char text[32];
    gmtime_r(&now, &tm);
    switch (format) {
    case CLOCK_STAMP:
        strftime(text, sizeof(text), "%Y%m%dT%H%M%SZ", &tm);
        break;
    case CLOCK_ISO:
        strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm);
        break;
    case CLOCK_DATE:
        strftime(text, sizeof(text), "%Y-%m-%d", &tm);
        break;
    }
    return xstrdup(text);
}

char *clock_local_date(void)
{
    time_t now = time(NULL);
    struct tm tm;
    char text[16];
    strftime(text, sizeof(text), "%Y-%m-%d", localtime_r(&now, &tm));
    return xstrdup(text);
}
