/*
 * Where results go: stdout, or files named by --output.
 */
#ifndef BELAY_OUTPUT_H
#define BELAY_OUTPUT_H

#include <stddef.h>

#include "harness/base/err.h"
#include "runner/settings.h"

/* Writes the text to the file, whole or not at all; NULL and "-" are stdout. A pipe or device is
 * written as it is. */
int output_write(const char *path, const char *text, struct err *err);

/* A report and where it goes. */
struct output {
    const char *format; /* of report_formats */
    const char *path;   /* NULL: stdout */
};

struct outputs {
    struct output *v;
    size_t n, cap;
};

/*
 * Pairs --format with --output: a file takes the report format before it, or the one that its name
 * shows (.sarif, .txt, ...; .xml is junit); a format without a file goes to stdout, and text does when no other does.
 */
int outputs_plan(const struct settings *s, struct outputs *ret, struct err *err);
void outputs_release(struct outputs *o);

#endif
