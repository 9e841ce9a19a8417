/*
 * What a bundle says about itself. In the file it is manifest.json (docs/bundle-format.md); here a
 * struct, filled by the dumps and read by verify, restore, diff and deploy.
 */
#ifndef BELAY_MANIFEST_H
#define BELAY_MANIFEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "harness/base/err.h"
#include "harness/base/str.h"
#include "harness/data/digest.h"
#include "harness/schema/snapshot.h"

struct bundle_member {
    char *name;
    uint64_t length;  /* stored bytes */
    uint64_t raw;     /* bytes when decompressed; as length when it is not compressed */
    uint64_t rows;    /* rows that begin in it; 0 where there are none */
    uint64_t hash[2]; /* XXH3_128bits of the stored bytes */
};

/* A table with its parts, or SQLite's database file with its. */
struct bundle_object {
    char *kind;    /* "table", "large objects", "file", "schema" */
    char *name;    /* as the snapshot writes identities; or the member's purpose: "pre-data" */
    char *columns; /* PostgreSQL: the column list for COPY, quoted */
    size_t first,
        n; /* its members: positions in manifest.members, in the order of the rows; they need
                        not be neighbours in the file */
    size_t digest; /* position in manifest.digests, or SIZE_MAX */
};

struct manifest {
    int format;     /* 1 */
    char *belay;    /* version that wrote it */
    char *created;  /* UTC, "2026-11-21T04:30:00Z" */
    char *engine;   /* "sqlite", "postgres" */
    char *server;   /* "15.18", "3.40.1" */
    int version;    /* db_version() */
    char *database; /* its name, or the file's */
    char *host;     /* without user and password; or NULL */
    char *encoding, *collate, *ctype, *locale_provider, *icu_locale; /* PostgreSQL; or NULL */
    struct strv revisions; /* what the version table said; empty: unknown */
    char *version_table;   /* or NULL */
    struct strv roles;     /* PostgreSQL: roles that objects and grants need */
    struct strv settings;  /* PostgreSQL: ALTER DATABASE ... SET and GRANT statements, as text */
    struct strv checks;    /* SQLite: what integrity_check and foreign_key_check said; empty: ok */
    struct snapshot *snapshot; /* the whole schema, version table included */
    struct digest_set digests; /* tables and sequences */
    struct bundle_object *objects;
    size_t nobjects, objects_cap;
    struct bundle_member *members; /* in the order of the file, without the manifest itself */
    size_t nmembers, members_cap;
    int digest_version;
    bool encrypted;
};

void manifest_release(struct manifest *m);
char *manifest_to_json(const struct manifest *m); /* owned by the caller */
/* Unknown formats, missing or repeated members, numbers out of range, names that belay would not make:
 * ERR_CONFIG with err.file set to name. */
int manifest_from_json(const char *text, size_t len, const char *name, struct manifest *ret,
                       struct err *err);

#endif
