/* Whether a page is well-formed XML. */
#ifndef BELAY_TESTS_WELL_FORMED_H
#define BELAY_TESTS_WELL_FORMED_H

#include <string.h>
#include <unistd.h>

#include "harness/base/cleanup.h"
#include "harness/base/file.h"
#include "tests/suite.h"

/* xmllint says why it is not. Not by proc_run(), which waits in a way that valgrind does not know. */
static inline void check_well_formed(const char *text)
{
    _cleanup_free_ char *path = xasprintf("/tmp/belay-test-report-%d.html", getpid());
    _cleanup_free_ char *command = xasprintf("xmllint --noout %s", path);
    _cleanup_err_ struct err err = {0};
    ck_assert_int_eq(file_replace(path, text, strlen(text), 0600, &err), 0);
    int status = system(command);
    unlink(path);
    ck_assert_int_eq(status, 0);
}

#endif
