/*
 * Ownership by scope. A variable marked _cleanup_(f) is passed to f when it goes out of scope;
 * TAKE_PTR hands its value over to the caller and leaves NULL behind, so that the cleanup does
 * nothing. Every destructor in belay accepts NULL (or a zeroed struct).
 *
 *     _cleanup_free_ char *path = xasprintf("%s/x", dir);
 *     ...
 *     *ret_path = TAKE_PTR(path);
 */
#ifndef BELAY_CLEANUP_H
#define BELAY_CLEANUP_H

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define _cleanup_(f) __attribute__((cleanup(f)))

#define TAKE_PTR(ptr)                                                                              \
    ({                                                                                             \
        __typeof__(ptr) _taken = (ptr);                                                            \
        (ptr) = NULL;                                                                              \
        _taken;                                                                                    \
    })

#define TAKE_FD(fd)                                                                                \
    ({                                                                                             \
        int _taken = (fd);                                                                         \
        (fd) = -1;                                                                                 \
        _taken;                                                                                    \
    })

/* Defines cleanup_<func>(type *p), which calls func(*p) on a pointer variable. */
#define DEFINE_CLEANUP(type, func)                                                                 \
    static inline void cleanup_##func(type *p)                                                     \
    {                                                                                              \
        if (*p)                                                                                    \
            func(*p);                                                                              \
    }                                                                                              \
    struct cleanup_##func##_semicolon

static inline void cleanup_freep(void *p)
{
    free(*(void **)p);
}

static inline void cleanup_closep(int *fd)
{
    if (*fd >= 0)
        close(*fd);
}

static inline void cleanup_fclosep(FILE **f)
{
    if (*f)
        fclose(*f);
}

#define _cleanup_free_ _cleanup_(cleanup_freep)
#define _cleanup_close_ _cleanup_(cleanup_closep)
#define _cleanup_fclose_ _cleanup_(cleanup_fclosep)

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

#endif
