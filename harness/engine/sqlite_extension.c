#include "harness/engine/sqlite_extension.h"

#include <ctype.h>
#include <dlfcn.h>
#include <sqlite3.h>

#include "harness/base/cleanup.h"
#include "harness/base/file.h"
#include "harness/base/str.h"

/* SQLite's rule: letters of the file's name in lower case, without "lib", up to the first dot. */
static char *entry_name(const char *path)
{
    _cleanup_str_ struct str s = {0};
    const char *p = path_base(path);
    str_add(&s, "sqlite3_");
    if (str_starts(p, "lib"))
        p += 3;
    for (; *p && *p != '.'; p++)
        if (isalpha((unsigned char)*p))
            str_addc(&s, (char)tolower((unsigned char)*p));
    str_add(&s, "_init");
    return str_take(&s);
}

int sqlite_extension_load(const char *path, struct err *err)
{
    if (!file_exists(path)) {
        err_set(err, ERR_CONFIG, "there is no SQLite extension %s", path);
        return err_hint(err,
                        "sqlite_extensions in belay.yaml names shared libraries, relative to the "
                        "file");
    }
    /* a name without a slash would be looked for in the system's folders */
    char *real = realpath(path, NULL);
    void *library = real ? dlopen(real, RTLD_NOW | RTLD_LOCAL) : NULL;
    free(real);
    if (!library) {
        const char *why = dlerror();
        return err_set(err, ERR_CONFIG, "cannot load the SQLite extension %s: %s", path,
                       why ? why : "not readable");
    }
    _cleanup_free_ char *own = entry_name(path);
    void *entry = dlsym(library, "sqlite3_extension_init");
    if (!entry)
        entry = dlsym(library, own);
    if (!entry) {
        dlclose(library);
        return err_set(err, ERR_CONFIG,
                       "%s is no SQLite extension: it has neither "
                       "sqlite3_extension_init nor %s",
                       path, own);
    }
    /* ISO C knows no conversion from object to function pointers; POSIX demands that it works */
    void (*function)(void);
    *(void **)&function = entry;
    if (sqlite3_auto_extension(function) != SQLITE_OK)
        return err_set(err, ERR_ENV, "cannot register the SQLite extension %s", path);
    return 0;
}
