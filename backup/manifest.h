/*
 * What a bundle says about itself. In the file it is manifest.json (docs/bundle-format.md); here a
 * struct, filled by the dumps and read by verify, restore, diff and deploy.
 *
 *     struct manifest m = {.engine = xstrdup("postgres"), ...};
 *     struct bundle_object *o = manifest_object(&m, "table", "public.posts");
 *     bundle_add(w, name, data, len, raw, rows, &position, err);
 *     bundle_object_part(o, position);
 *     bundle_finish(w, &m, err);
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

#define BUNDLE_MANIFEST "manifest.json"
enum { MANIFEST_FORMAT = 1, MANIFEST_MAX = 256 << 20 /* bytes of its text */ };

struct bundle_member {
    char *name; /* [a-z0-9_.-] in folders, made by belay; ends in .zst when it is zstd frames */
    uint64_t length;  /* stored bytes */
    uint64_t raw;     /* bytes when decompressed; as length when it is not compressed */
    uint64_t rows;    /* rows in it; 0 where there are none */
    uint64_t hash[2]; /* XXH3_128bits of the stored bytes: the high half, the low half */
};

/* A table with its parts, or SQLite's database file with its. Every member belongs to one. */
struct bundle_object {
    char *kind;    /* "table", "large objects", "file", "schema" */
    char *name;    /* as the snapshot writes identities; or the purpose: "pre-data" */
    char *columns; /* PostgreSQL: the column list for COPY, quoted; or NULL */
    size_t *parts; /* its members, positions in manifest.members, in the order of the rows; they
                      need not be neighbours in the file */
    size_t nparts, parts_cap;
    size_t digest; /* position in manifest.digests, or SIZE_MAX */
};

/* Strings are bytes: what is not UTF-8 (names in an SQL_ASCII database) is kept as it is. */
struct manifest {
    char *belay;    /* version that wrote it */
    char *created;  /* UTC, "2026-11-21T04:30:00Z" */
    char *engine;   /* "sqlite", "postgres" */
    char *server;   /* "15.18", "3.40.1" */
    int version;    /* db_version() */
    char *database; /* its name, or the file's */
    char *host;     /* without user and password; SQLite: the file's folder; or NULL */
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
    struct bundle_member *members; /* in the order of the file, without the manifest itself; filled
                                      in by bundle_finish() */
    size_t nmembers, members_cap;
    int digest_version;
};

void manifest_release(struct manifest *m);
#define _cleanup_manifest_ __attribute__((cleanup(manifest_release)))

/* A new object without parts and digest; valid until the next one is made. */
struct bundle_object *manifest_object(struct manifest *m, const char *kind, const char *name);
/* The first object of that kind and name, or NULL. */
const struct bundle_object *manifest_find(const struct manifest *m, const char *kind,
                                          const char *name);
void bundle_object_part(struct bundle_object *o, size_t position);
/* Tables and the rows in all of them. */
void manifest_count(const struct manifest *m, size_t *ret_tables, uint64_t *ret_rows);

void bundle_member_release(struct bundle_member *m);
/* The name of part `part` (1, 2, ...) of object `object` (1, 2, ...): data/000001/000001.zst. The
 * caller owns the result. */
char *bundle_part_name(size_t object, size_t part);

/*
 * The text ends with its own hash, so that damage to it shows; the caller owns it. A manifest that
 * manifest_from_json() would refuse, or of more than MANIFEST_MAX bytes, is an error.
 */
int manifest_to_json(const struct manifest *m, char **ret, size_t *ret_len, struct err *err);
/*
 * Damage, unknown formats, missing or repeated members, members that belong to no object or to two,
 * numbers out of range, names that belay would not make: ERR_CONFIG with err.file set to name.
 */
int manifest_from_json(const char *text, size_t len, const char *name, struct manifest *ret,
                       struct err *err);

#endif
