/*
 * A project of one format on one engine: a folder, its source, a scratch database and a migrator on
 * it. A revision is written once, as SQL for up and down, and rendered as each format writes it.
 *
 *     struct project p;
 *     EACH_PROJECT(p, {"create table a (x int);", "drop table a;", false})
 *     {
 *         expect_step(&p, 0, STEP_UP, STEP_OK);
 *         expect_current(&p, "1");
 *     }
 */
#ifndef BELAY_TESTS_MIGRATION_PROJECT_H
#define BELAY_TESTS_MIGRATION_PROJECT_H

#include <string.h>

#include "harness/source/source.h"
#include "tests/fixture.h"
#include "tests/migration_folder.h"

struct revision_text {
    const char *up;
    const char *down; /* NULL: none */
    bool no_transaction;
};

struct project {
    const char *format;
    const struct engine *engine;
    char *dir;
    struct scratch *scratch;
    struct source *source;
    struct migrator *m;
    int up_line; /* where the SQL of an upgrade begins in its file */
};

static inline void add_revision(struct project *p, int n, const struct revision_text *r)
{
    _cleanup_str_ struct str text = {0};
    _cleanup_free_ char *name = NULL, *down = NULL;
    const char *off = r->no_transaction ? " transaction:false" : "";
    if (strcmp(p->format, "belay") == 0) {
        name = xasprintf("m/r%d.sql", n);
        str_addf(&text, "-- revision: r%d\n", n);
        str_addf(&text, n > 1 ? "-- revises: r%d\n" : "--\n", n - 1);
        str_addf(&text, "-- upgrade%s\n%s\n", off, r->up);
        if (r->down)
            str_addf(&text, "-- downgrade%s\n%s\n", off, r->down);
        p->up_line = 4;
    } else if (strcmp(p->format, "dbmate") == 0) {
        name = xasprintf("m/%d_x.sql", n);
        str_addf(&text, "-- migrate:up%s\n%s\n", off, r->up);
        if (r->down)
            str_addf(&text, "-- migrate:down%s\n%s\n", off, r->down);
        p->up_line = 2;
    } else if (strcmp(p->format, "goose") == 0) {
        name = xasprintf("m/%05d_x.sql", n);
        str_addf(&text, "%s\n-- +goose Up\n%s\n",
                 r->no_transaction ? "-- +goose NO TRANSACTION" : "", r->up);
        if (r->down)
            str_addf(&text, "-- +goose Down\n%s\n", r->down);
        p->up_line = 3;
    } else if (strcmp(p->format, "golang-migrate") == 0) {
        name = xasprintf("m/%d_x.up.sql", n);
        down = xasprintf("m/%d_x.down.sql", n);
        str_add(&text, r->up);
        p->up_line = 1;
    } else {
        name = xasprintf("m/2020-01-%02d-000000_x/up.sql", n);
        down = xasprintf("m/2020-01-%02d-000000_x/down.sql", n);
        str_add(&text, r->up);
        p->up_line = 1;
        if (r->no_transaction) {
            _cleanup_free_ char *toml = xasprintf("m/2020-01-%02d-000000_x/metadata.toml", n);
            const char *rule = "run_in_transaction = false\n";
            folder_write(p->dir, toml, rule, strlen(rule));
        }
    }
    folder_write(p->dir, name, str_get(&text), text.len);
    if (down && r->down)
        folder_write(p->dir, down, r->down, strlen(r->down));
}

static inline void project_close(struct project *p)
{
    migrator_close(p->m);
    source_free(p->source);
    scratch_free(p->scratch);
    folder_free(&p->dir);
}

/* Revisions end with up NULL. */
static inline void project_open(struct project *p, const char *format, const struct engine *e,
                                const struct revision_text *revisions)
{
    _cleanup_err_ struct err err = {0};
    memset(p, 0, sizeof(*p));
    p->format = format;
    p->engine = e;
    p->dir = folder_new();
    ASSERT_OK(scratch_new(fixture_pool(e), &p->scratch, &err), &err);
    for (int n = 0; revisions[n].up; n++)
        add_revision(p, n + 1, &revisions[n]);
    _cleanup_free_ char *folder = path_join(p->dir, "m");
    ck_assert_msg(source_open(&(struct source_options){.dir = folder}, &p->source, &err) == 0,
                  "%s: %s", format, err.message);
    ck_assert_str_eq(source_format(p->source), format);
    ck_assert_msg(migrator_open(p->source, e, scratch_url(p->scratch), DB_OPEN_SCRATCH, NULL, &p->m,
                                &err) == 0,
                  "%s: %s", format, err.message);
}

#define WHERE "%s on %s: "
#define WHERE_ARGS(p) (p)->format, engine_name((p)->engine)

static inline void step(struct project *p, size_t i, enum step_direction d, struct step_result *ret)
{
    _cleanup_err_ struct err err = {0};
    ck_assert_msg(migrator_step(p->m, graph_at(source_graph(p->source), i), d, false, ret, &err) ==
                      0,
                  WHERE "%s", WHERE_ARGS(p), err.message);
}

static inline void expect_step(struct project *p, size_t i, enum step_direction d,
                               enum step_outcome outcome)
{
    struct step_result r = {0};
    step(p, i, d, &r);
    ck_assert_msg(r.outcome == outcome, WHERE "step %zu: outcome %d: %s %s", WHERE_ARGS(p), i,
                  r.outcome, r.err.message, r.session_change);
    ck_assert_msg(!r.session_change, WHERE "%s", WHERE_ARGS(p), r.session_change);
    step_result_release(&r);
}

static inline void expect_current(struct project *p, const char *expected)
{
    _cleanup_err_ struct err err = {0};
    _cleanup_strv_ struct strv ids = {0};
    ck_assert_msg(migrator_current(p->m, &ids, &err) == 0, WHERE "%s", WHERE_ARGS(p), err.message);
    _cleanup_str_ struct str got = {0};
    /* the number that the test gave: the last digits of the id, for diesel the day */
    for (size_t i = 0; i < ids.n; i++) {
        const char *id = ids.v[i];
        bool diesel = strcmp(p->format, "diesel") == 0;
        str_addf(&got, "%s%d", i ? " " : "",
                 diesel         ? (id[6] - '0') * 10 + id[7] - '0'
                 : id[0] == 'r' ? atoi(id + 1)
                                : atoi(id));
    }
    ck_assert_msg(strcmp(str_get(&got), expected) == 0, WHERE "current is \"%s\", not \"%s\"",
                  WHERE_ARGS(p), str_get(&got), expected);
}

static inline bool table_exists(struct project *p, const char *name)
{
    _cleanup_err_ struct err err = {0};
    _cleanup_free_ char *sql = xasprintf("select count(*) from %s", name);
    _cleanup_rows_ struct rows *rows = NULL;
    return db_query(migrator_db(p->m), sql, NULL, 0, &rows, &err) == 0;
}

/* In every SQL format, on every engine. */
#define EACH_PROJECT(p, ...)                                                                       \
    for (size_t f_ = 1; source_formats[f_]; f_++)                                                  \
        for (size_t e_ = 0; engines[e_]; e_++)                                                     \
            for (bool once_ = (project_open(&(p), source_formats[f_], engines[e_],                 \
                                            (const struct revision_text[]){__VA_ARGS__, {0}}),     \
                               true);                                                              \
                 once_; once_ = false, project_close(&(p)))

#endif
