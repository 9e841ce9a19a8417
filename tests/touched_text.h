/* What a step touched, in words. */
#ifndef BELAY_TESTS_TOUCHED_TEXT_H
#define BELAY_TESTS_TOUCHED_TEXT_H

#include <string.h>

#include "harness/source/source.h"

/* "a b" sorted and without the schema public and version tables; "unknown". The caller owns it. */
static inline char *touched_text(const struct source *s, const struct step_touched *t)
{
    if (!t->known)
        return xstrdup("unknown");
    _cleanup_strv_ struct strv names = {0};
    for (size_t i = 0; i < t->names.n; i++) {
        const char *name = t->names.v[i];
        name += str_starts(name, "public.") ? strlen("public.") : 0;
        bool version = false;
        for (const char *const *v = source_version_tables(s); *v; v++)
            version = version || str_starts(name, strchr(*v, '.') ? strchr(*v, '.') + 1 : *v);
        /* DROP and RENAME write it wherever there is AUTOINCREMENT, as in goose's version table */
        if (!version && strcmp(name, "sqlite_sequence") != 0)
            strv_add(&names, name);
    }
    strv_sort(&names);
    return strv_join(&names, " ");
}

#endif
