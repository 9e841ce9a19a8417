#include <archive.h>
#include <cyaml/cyaml.h>
#include <jansson.h>
#include <libpq-fe.h>
#include <pg_query.h>
#include <sodium.h>
#include <sqlite3.h>
#include <stdio.h>
#include <xxhash.h>
#include <zstd.h>

#include "harness/base/cleanup.h"
#include "runner/cli.h"

/* "libpq  15.18": the version that runs, and the one belay was built with where that differs. */
static void print_library(const char *name, const char *running, const char *built)
{
    printf("  %-12s %s", name, running);
    if (built && !str_eq(running, built))
        printf(" (built with %s)", built);
    putchar('\n');
}

int cmd_version(struct cli *cli, struct err *err)
{
    (void)cli;
    (void)err;
    _cleanup_free_ char *pq = xasprintf("%d.%d", PQlibVersion() / 10000, PQlibVersion() % 10000);
    _cleanup_free_ char *xxh =
        xasprintf("%u.%u.%u", XXH_versionNumber() / 10000, XXH_versionNumber() / 100 % 100,
                  XXH_versionNumber() % 100);
    _cleanup_free_ char *xxh_built =
        xasprintf("%d.%d.%d", XXH_VERSION_MAJOR, XXH_VERSION_MINOR, XXH_VERSION_RELEASE);
    printf("belay %s\n", BELAY_VERSION);
    print_library("libpq", pq, NULL); /* its headers have the version of the server packages only */
    print_library("sqlite", sqlite3_libversion(), SQLITE_VERSION);
    print_library("zstd", ZSTD_versionString(), ZSTD_VERSION_STRING);
    print_library("libarchive", archive_version_string() + sizeof("libarchive"),
                  ARCHIVE_VERSION_ONLY_STRING);
    print_library("libsodium", sodium_version_string(), SODIUM_VERSION_STRING);
    print_library("jansson", jansson_version_str(), JANSSON_VERSION);
    print_library("libcyaml", cyaml_version_str, NULL); /* has no version macro */
    print_library("xxhash", xxh, xxh_built);
    print_library("libpg_query", "PostgreSQL " PG_VERSION " parser",
                  NULL); /* static version only */
    return EXIT_CLEAN;
}
