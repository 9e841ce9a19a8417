/*
 * A project and a copy of its production: a folder of migrations, a scratch database at some of its
 * revisions, with rows.
 *
 *     struct world w;
 *     world_open(&w, &engine_postgres, files, 1, "insert ...");     one revision applied
 *     world_add(&w, more);                                          pending ones
 *     w.thresholds.big_table = 0;
 *     world_rehearse(&w);
 *     world_finding(&w, "blocks-writes", "2")->...
 *     world_close(&w);
 */
#ifndef BELAY_TESTS_REHEARSE_WORLD_H
#define BELAY_TESTS_REHEARSE_WORLD_H

#include "runner/rehearsal.h"
#include "tests/fixture.h"
#include "tests/migration_folder.h"

struct world {
    const struct engine *engine;
    char *dir;
    struct scratch *copy;
    const char *python; /* of an Alembic project; or NULL */
    bool no_canaries;
    struct rehearsal_thresholds thresholds;
    struct rehearsal_budgets budgets;
    struct queries queries; /* released with the world */
    struct rehearsal result;
};

/* The first `applied` revisions of the files run, then sql. */
void world_open(struct world *w, const struct engine *e, const struct file *files, size_t applied,
                const char *sql);
/* The same with a folder that is there, taken over. */
void world_open_in(struct world *w, const struct engine *e, char *dir, const char *python,
                   size_t applied, const char *sql);
void world_add(struct world *w, const struct file *files);
/* Must come to a verdict. */
void world_rehearse(struct world *w);
/* Must be there. */
const struct finding *world_finding(const struct world *w, const char *id, const char *revision);
bool world_has(const struct world *w, const char *id);
void world_close(struct world *w);

#endif
