/*
 * A PostgreSQL database into a bundle: what postgres_source.h reads, rows over several connections.
 * The locks are given back before the file is finished.
 */
#include <stdlib.h>

#include "backup/backup_impl.h"
#include "backup/canceller.h"
#include "backup/part.h"
#include "backup/postgres_restore.h"
#include "backup/postgres_source.h"

/* Of what a database takes on disk, what its rows take in a bundle, for asking whether there is
 * room. */
#define STORED_SHARE 5

struct pg_dump {
    struct dump *d;
    struct pg_source source;
    struct part_writer *writer; /* of what the main thread writes */
};

static int add_object(struct pg_dump *p, const char *kind, const char *name, struct err *err)
{
    struct part_list parts = {0};
    if (part_end(p->writer, &parts, err) < 0) {
        part_list_release(&parts);
        return -1;
    }
    struct bundle_object *o = manifest_object(&p->d->manifest, kind, name);
    for (size_t i = 0; i < parts.n; i++)
        bundle_object_part(o, parts.v[i]);
    part_list_release(&parts);
    return 0;
}

/* Bytes without rows, in pieces of a part's size. */
static int write_bytes(struct pg_dump *p, const char *data, size_t len, struct err *err)
{
    const size_t piece = 1 << 20;
    for (size_t at = 0; at < len; at += piece)
        if (part_bytes(p->writer, data + at, len - at < piece ? len - at : piece, err) < 0 ||
            part_cut(p->writer, err) < 0)
            return -1;
    return 0;
}

static int dump_schema(struct pg_dump *p, const int *stop_fd, struct err *err)
{
    const struct backup_control control = {.cancel_fd = stop_fd};
    _cleanup_str_ struct str archive = {0};
    if (pg_source_schema(&p->source, &control, &archive, err) < 0)
        return -1;
    part_begin(p->writer, PG_SCHEMA, 1);
    return write_bytes(p, archive.p, archive.len, err) < 0
               ? -1
               : add_object(p, "schema", "archive", err);
}

static int dump_sequences(struct pg_dump *p, struct err *err)
{
    _cleanup_str_ struct str sql = {0};
    if (pg_source_sequences(&p->source, &sql, err) < 0)
        return -1;
    if (!sql.len)
        return 0;
    part_begin(p->writer, PG_SEQUENCES, 1);
    return write_bytes(p, sql.p, sql.len, err) < 0 ? -1 : add_object(p, "sequences", "values", err);
}

/* In the main thread, while the others read rows. */
static int meanwhile(void *data, const int *stop_fd, struct err *err)
{
    struct pg_dump *p = data;
    return dump_schema(p, stop_fd, err) < 0 ? -1
                                            : pg_source_describe(&p->source, &p->d->manifest, err);
}

/* ---- the whole ---- */

static struct bundle_object *add_rows(struct manifest *m, const char *kind, const char *name,
                                      const char *digest, const struct part_list *parts)
{
    const struct digest *d = digest_find(&m->digests, digest);
    struct bundle_object *o = manifest_object(m, kind, name);
    o->digest = d ? (size_t)(d - m->digests.v) : SIZE_MAX;
    for (size_t i = 0; i < parts->n; i++)
        bundle_object_part(o, parts->v[i]);
    return o;
}

/* Tables that are empty are objects, too: without parts. */
static void fill_manifest(struct pg_dump *p)
{
    struct manifest *m = &p->d->manifest;
    const struct pg_scan *s = &p->source.scan;
    pg_source_take_digests(&p->source, m);
    if (s->nlarge_objects)
        add_rows(m, "large objects", PG_OBJECTS_DIGEST, PG_OBJECTS_DIGEST, &s->large_objects);
    for (size_t i = 0; i < s->ntables; i++) {
        const struct pg_table *t = &s->tables[i];
        if (t->rows)
            add_rows(m, "table", t->name, t->root, &t->parts)->columns = xstrdup(t->columns);
    }
}

static int read_everything(struct pg_dump *p, struct err *err)
{
    struct dump *d = p->d;
    const struct backup_options *o = d->options;
    struct pg_source *s = &p->source;
    if (pg_source_open(s, o->url, err) < 0)
        return -1;
    _cleanup_canceller_ struct canceller *canceller = NULL;
    if (canceller_start(&s->db, 1, &o->control, &canceller, err) < 0 ||
        pg_source_freeze(s, o->lock_timeout_ms, err) < 0 ||
        dump_begin(d, s->scan.bytes, s->scan.bytes / STORED_SHARE, err) < 0 ||
        part_writer_new(d->writer, o->level, &p->writer, err) < 0)
        return -1;
    meter_phase(d->meter, "rows", s->scan.bytes);
    const struct pg_scan_options options = {
        .url = o->url,
        .snapshot = s->snapshot,
        .jobs = o->jobs,
        .writer = d->writer,
        .level = o->level,
        .meter = d->meter,
        .control = &o->control,
        .meanwhile = meanwhile,
        .data = p,
    };
    if (pg_scan_run(&s->scan, &options, err) < 0 || dump_sequences(p, err) < 0)
        return -1;
    fill_manifest(p);
    return 0;
}

int dump_postgres(struct dump *d, struct err *err)
{
    struct pg_dump p = {.d = d};
    int result = read_everything(&p, err);
    part_writer_free(p.writer);
    pg_source_close(&p.source);
    return result;
}
