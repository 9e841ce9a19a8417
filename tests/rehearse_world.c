#include "tests/rehearse_world.h"

#include <string.h>

#include "harness/source/source.h"

void world_open(struct world *w, const struct engine *e, const struct file *files, size_t applied,
                const char *sql)
{
    char *dir = folder_new();
    folder_fill(dir, files);
    world_open_in(w, e, dir, NULL, applied, sql);
}

static int open_source_of(const struct world *w, struct source **ret, struct err *err)
{
    return source_open(&(struct source_options){.dir = w->dir, .python = w->python}, ret, err);
}

void world_open_in(struct world *w, const struct engine *e, char *dir, const char *python,
                   size_t applied, const char *sql)
{
    struct err err = {0};
    *w = (struct world){.engine = e,
                        .dir = dir,
                        .python = python,
                        .thresholds = {REHEARSAL_LONG_LOCK, REHEARSAL_BIG_TABLE}};
    ASSERT_OK(scratch_new(fixture_pool(e), &w->copy, &err), &err);
    struct db_proof proof = scratch_proof(w->copy);
    _cleanup_source_ struct source *source = NULL;
    _cleanup_(cleanup_migrator_close) struct migrator *m = NULL;
    ASSERT_OK(open_source_of(w, &source, &err), &err);
    ASSERT_OK(migrator_open(source, e, scratch_url(w->copy), DB_OPEN_SCRATCH, &proof, &m, &err),
              &err);
    for (size_t i = 0; i < applied; i++) {
        struct step_result r = {0};
        ASSERT_OK(migrator_step(m, graph_at(source_graph(source), i), STEP_UP, false, &r, &err),
                  &err);
        ck_assert_msg(r.outcome == STEP_OK, "%s", r.err.message);
        step_result_release(&r);
    }
    migrator_close(TAKE_PTR(m));
    _cleanup_db_ struct db *db = NULL;
    ASSERT_OK(db_open(e, scratch_url(w->copy), DB_OPEN_SCRATCH, &db, &err), &err);
    ASSERT_OK(db_run(db, sql, DB_RUN_STATEMENTS, NULL, &err), &err);
}

void world_add(struct world *w, const struct file *files)
{
    folder_fill(w->dir, files);
}

void world_rehearse(struct world *w)
{
    struct err err = {0};
    _cleanup_source_ struct source *source = NULL;
    ASSERT_OK(open_source_of(w, &source, &err), &err);
    const struct rehearsal_options o = {
        .check = {.source = source,
                  .engine = w->engine,
                  .pool = fixture_pool(w->engine),
                  .project = w->dir,
                  .rehearsal = true,
                  .today = "2026-11-21"},
        .copy = TAKE_PTR(w->copy),
        .budgets = w->budgets,
        .thresholds = w->thresholds,
        .queries = &w->queries,
        .no_canaries = w->no_canaries,
    };
    ASSERT_OK(rehearsal_run(&o, &w->result, &err), &err);
}

bool world_has(const struct world *w, const char *id)
{
    for (size_t i = 0; i < w->result.check.nfindings; i++)
        if (strcmp(w->result.check.findings[i].id->id, id) == 0)
            return true;
    return false;
}

const struct finding *world_finding(const struct world *w, const char *id, const char *revision)
{
    _cleanup_str_ struct str all = {0};
    for (size_t i = 0; i < w->result.check.nfindings; i++) {
        const struct finding *f = &w->result.check.findings[i];
        if (strcmp(f->id->id, id) == 0 && str_eq(f->revision, revision))
            return f;
        str_addf(&all, " %s of %s;", f->id->id, f->revision ? f->revision : "the project");
    }
    ck_abort_msg("no %s of %s among%s", id, revision ? revision : "the project", str_get(&all));
    return NULL;
}

void world_close(struct world *w)
{
    queries_release(&w->queries);
    rehearsal_release(&w->result);
    scratch_free(w->copy);
    folder_free(&w->dir);
}
