#include "harness/base/err.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness/base/cleanup.h"
#include "harness/base/str.h"

void err_release(struct err *e)
{
    free(e->message);
    free(e->hint);
    free(e->detail);
    free(e->trace);
    free(e->statement);
    free(e->db_column);
    free(e->db_constraint);
    free(e->file);
    memset(e, 0, sizeof(*e));
}

int err_set(struct err *e, enum err_code code, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    /* formatted first: an argument may be a string of the error being replaced */
    char *message = xvasprintf(fmt, ap);
    va_end(ap);
    err_release(e);
    e->code = code;
    e->message = message;
    return -1;
}

int err_hint(struct err *e, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    char *hint = xvasprintf(fmt, ap);
    va_end(ap);
    free(e->hint);
    e->hint = hint;
    return -1;
}

int err_errno(struct err *e, const char *fmt, ...)
{
    int saved = errno;
    va_list ap;
    va_start(ap, fmt);
    _cleanup_free_ char *text = xvasprintf(fmt, ap);
    va_end(ap);
    err_set(e, ERR_ENV, "%s: %s", text, strerror(saved));
    if (saved == ENOSPC)
        err_hint(e, "the disk is full: free some space, or set TMPDIR to a larger one");
    return -1;
}

int err_prefix(struct err *e, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    _cleanup_free_ char *text = xvasprintf(fmt, ap);
    va_end(ap);
    char *message = xasprintf("%s: %s", text, e->message ? e->message : "unknown error");
    free(e->message);
    e->message = message;
    return -1;
}

int err_at(struct err *e, const char *file, int line, int column)
{
    if (file) {
        char *copy = xstrdup(file);
        free(e->file);
        e->file = copy;
    }
    e->line = line;
    e->column = column;
    return -1;
}

void err_move(struct err *to, struct err *from)
{
    struct err taken = *from;
    memset(from, 0, sizeof(*from));
    err_release(to);
    *to = taken;
}

void err_copy(struct err *to, const struct err *from)
{
    struct err copy = *from;
    copy.message = xstrdup(from->message);
    copy.hint = xstrdup(from->hint);
    copy.detail = xstrdup(from->detail);
    copy.trace = xstrdup(from->trace);
    copy.statement = xstrdup(from->statement);
    copy.db_column = xstrdup(from->db_column);
    copy.db_constraint = xstrdup(from->db_constraint);
    copy.file = xstrdup(from->file);
    err_release(to);
    *to = copy;
}
