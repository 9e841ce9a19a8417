/*
 * A scratch database and two sessions on it, for the suites of the PostgreSQL reader.
 */
#ifndef BELAY_TESTS_SCHEMA_POSTGRES_FIXTURE_H
#define BELAY_TESTS_SCHEMA_POSTGRES_FIXTURE_H

#include <string.h>

#include "harness/engine/scratch.h"
#include "harness/schema/diff.h"
#include "harness/schema/schema.h"
#include "tests/fixture.h"
#include "tests/suite.h"

static struct scratch *scratch;
static struct db *db;     /* what the test changes */
static struct db *reader; /* what it reads with */

#define ck_ok(call)                                                                                \
    do {                                                                                           \
        struct err _e = {0};                                                                       \
        struct err *err = &_e;                                                                     \
        if ((call) < 0)                                                                            \
            ck_abort_msg("%s: %s (%s)", #call, _e.message, _e.statement ? _e.statement : "");      \
    } while (0)

/* Roles outlive the database of the test that made them. */
static const char drop_roles[] =
    "do $$declare r name; begin"
    " for r in select rolname from pg_roles where oid >= 16384 and rolname not like 'pg\\_%' loop"
    "  execute format('drop role %I', r);"
    " end loop; end$$";

static inline void begin(void)
{
    ck_ok(scratch_new(fixture_pool(&engine_postgres), &scratch, err));
    ck_ok(db_open(&engine_postgres, scratch_url(scratch), DB_OPEN_SCRATCH, &db, err));
    ck_ok(db_open(&engine_postgres, scratch_url(scratch), DB_OPEN_SCRATCH, &reader, err));
    ck_ok(db_run(db, drop_roles, DB_RUN_WHOLE, NULL, err));
}

static inline void end(void)
{
    db_close(db);
    db_close(reader);
    scratch_free(scratch);
}

static inline void run(const char *sql)
{
    ck_ok(db_run(db, sql, DB_RUN_WHOLE, NULL, err));
}

static inline struct snapshot *read_schema(struct db *with, const struct schema_options *options)
{
    struct snapshot *s = NULL;
    ck_ok(schema_read(with, options, &s, err));
    return s;
}

/* The names of what changed, a line each, for messages. Empty when nothing did. */
static inline char *changes(const struct snapshot *before, const struct snapshot *after)
{
    _cleanup_str_ struct str s = {0};
    struct diff d = {0};
    diff_snapshots(before, after, &d);
    for (size_t i = 0; i < d.n; i++) {
        _cleanup_free_ char *text = change_text(&d.changes[i], false);
        str_addf(&s, "%s\n", text);
    }
    diff_release(&d);
    return xstrdup(str_get(&s));
}

#define ck_same(before, after)                                                                     \
    do {                                                                                           \
        char *_changes = changes(before, after);                                                   \
        ck_assert_msg(snapshot_equal(before, after) && !*_changes, "they differ:\n%s", _changes);  \
        free(_changes);                                                                            \
    } while (0)

/* sql with the database's name for " DB ". */
static inline char *with_database(const char *sql)
{
    const char *at = strstr(sql, " DB ");
    if (!at)
        return xstrdup(sql);
    _cleanup_free_ char *name = NULL;
    ck_ok(db_query_text(reader, "select quote_ident(current_database())", NULL, 0, &name, err));
    return xasprintf("%.*s %s %s", (int)(at - sql), sql, name, at + 4);
}

#endif
