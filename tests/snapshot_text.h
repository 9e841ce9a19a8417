/*
 * A snapshot written by hand, for tests: one object a line, parts between bars.
 *
 *     snapshot_of("column|t.a|type=integer|position=1\n"
 *                 "table|t\n")
 */
#ifndef BELAY_TESTS_SNAPSHOT_TEXT_H
#define BELAY_TESTS_SNAPSHOT_TEXT_H

#include <string.h>

#include "harness/base/cleanup.h"
#include "harness/base/str.h"
#include "harness/schema/snapshot.h"
#include "tests/suite.h"

static inline struct snapshot *snapshot_of(const char *text)
{
    struct snapshot *s = snapshot_new("sqlite", 3040001);
    struct object_builder b = {0};
    _cleanup_err_ struct err e = {0};
    _cleanup_free_ char *copy = xstrdup(text);
    char *lines = copy, *line;

    while ((line = strsep(&lines, "\n"))) {
        if (!*line)
            continue;
        char *kind = strsep(&line, "|"), *identity = strsep(&line, "|"), *property;
        object_begin(&b, kind, identity);
        while ((property = strsep(&line, "|"))) {
            char *name = strsep(&property, "=");
            object_prop(&b, name, property);
        }
        snapshot_add(s, object_end(&b));
    }
    object_builder_release(&b);
    ck_assert_int_eq(snapshot_finish(s, &e), 0);
    return s;
}

#endif
