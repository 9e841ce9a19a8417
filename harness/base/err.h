/*
 * The error value. A function that can fail returns int (0, or -1 with *err filled) and takes a
 * struct err * as its last argument. The error is set once, where it happens; callers add context
 * with err_prefix() on the way up; only runner/ prints it.
 *
 *     struct err e = {0};
 *     if (thing_open(path, &thing, &e) < 0) { ... err_release(&e); }
 *
 * Setting an error that is already set replaces it. All strings are owned by the struct.
 */
#ifndef BELAY_ERR_H
#define BELAY_ERR_H

#include <stdarg.h>
#include <stdbool.h>

enum err_code {
    ERR_NONE = 0,
    ERR_USAGE,       /* the command line is wrong */
    ERR_CONFIG,      /* a configuration or scenario file is wrong, or no project was found */
    ERR_SOURCE,      /* the revisions themselves cannot be read or ordered */
    ERR_SQL,         /* the database refused a statement */
    ERR_CONNECTION,  /* the connection was lost while a statement ran */
    ERR_ENV,         /* no server, no permission, disk full, ...: nothing was decided */
    ERR_INTERRUPTED, /* a signal asked to stop */
};

struct err {
    enum err_code code;
    char *message;   /* lower case, no full stop: "cannot open \"x\": no such file" */
    char *hint;      /* what to do about it, or NULL */
    char *detail;    /* the server's DETAIL or CONTEXT, or NULL */
    char *trace;     /* many lines, to be shown as they are: a stack, what a program printed; or
                         NULL */
    char *statement; /* the statement that failed, or NULL */
    char *db_column; /* the names of what refused a row, where the engine gives them: or NULL */
    char *db_constraint;
    char *file;       /* file at fault, or NULL */
    int line;         /* 1-based, 0 when unknown */
    int column;       /* 1-based in characters, 0 when unknown */
    char sqlstate[6]; /* "" when there is none */
};

/* Both return -1, so that a failing function can say `return err_set(...)`. */
int err_set(struct err *e, enum err_code code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
int err_hint(struct err *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Like err_set with ": <strerror(errno)>" appended; ENOSPC gets a hint of its own. Code ERR_ENV. */
int err_errno(struct err *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Puts "<text>: " before the message. Returns -1. */
int err_prefix(struct err *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Records the place at fault; file may be NULL to keep it. Returns -1. */
int err_at(struct err *e, const char *file, int line, int column);

/* Moves *from into *to (released first) and leaves *from empty. */
void err_move(struct err *to, struct err *from);
void err_copy(struct err *to, const struct err *from);
void err_release(struct err *e);

static inline bool err_is_set(const struct err *e)
{
    return e->code != ERR_NONE;
}

#define _cleanup_err_ __attribute__((cleanup(err_release)))

#endif
