#include "runner/scenario.h"

#include <stdlib.h>
#include <string.h>

#include "harness/base/copy.h"
#include "harness/base/file.h"
#include "harness/engine/guard.h"
#include "harness/schema/diff.h"
#include "harness/schema/schema.h"
#include "runner/check.h"
#include "runner/database.h"
#include "runner/project.h"
#include "runner/terminal.h"
#include "runner/verbs.h"

struct shot {
    const char *name;
    struct snapshot *snapshot;
};

struct play {
    struct check_request q;
    const struct config *scenario;
    struct source *source;
    const struct engine *engine;
    struct scratch *scratch;
    struct guard *guard; /* of the copy of the scenario that revisions are written into, or NULL */
    char *copied_dir;    /* the project in it */
    struct shot *shots;
    size_t nshots, shots_cap;
    struct check_result found; /* findings that no expect has met yet */
    struct str *differences;
};

void scenario_step_release(struct scenario_step *s)
{
    free(s->text);
    for (size_t i = 0; i < s->nrows; i++) {
        free(s->rows[i].query);
        strv_release(&s->rows[i].rows);
    }
    free(s->rows);
    strv_release(&s->objects);
    strv_release(&s->absent);
    strv_release(&s->revisions);
    free(s->snapshot);
    free(s->revision.message);
    free(s->revision.id);
    free(s->revision.head);
    free(s->revision.branch_label);
    for (size_t i = 0; i < s->nfindings; i++) {
        free(s->findings[i].finding);
        free(s->findings[i].revision);
        free(s->findings[i].object);
    }
    free(s->findings);
    memset(s, 0, sizeof(*s));
}

static void differ(struct play *p, const struct scenario_step *s, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

static void differ(struct play *p, const struct scenario_step *s, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    _cleanup_free_ char *text = xvasprintf(fmt, ap);
    va_end(ap);
    _cleanup_free_ char *clean = text_printable(text);
    str_addf(p->differences, "    %s:%d: %s\n", p->scenario->path, s->line, clean);
}

/* ---- acting ---- */

static int open_migrator(struct play *p, struct migrator **ret, struct err *err)
{
    struct db_proof proof = scratch_proof(p->scratch);
    return migrator_open(p->source, p->engine, scratch_url(p->scratch), DB_OPEN_SCRATCH, &proof,
                         ret, err);
}

static void note_failure(struct play *p, const struct revision *r, enum step_direction direction,
                         const struct step_result *s)
{
    const char *id = direction == STEP_UP              ? "upgrade-fails"
                     : s->outcome == STEP_MISSING      ? "downgrade-missing"
                     : s->outcome == STEP_IRREVERSIBLE ? "irreversible"
                                                       : "downgrade-fails";
    struct finding *f = result_add_finding(&p->found, id, r->id);
    finding_from_err(f, &s->err);
}

static int move(struct play *p, const struct scenario_step *step, enum step_direction direction,
                struct err *err)
{
    const struct graph *g = source_graph(p->source);
    _cleanup_(cleanup_migrator_close) struct migrator *m = NULL;
    _cleanup_revisions_ struct revisions current = {0}, targets = {0}, list = {0};
    _cleanup_strv_ struct strv unknown = {0};
    if (open_migrator(p, &m, err) < 0 || migrator_applied(m, g, &current, &unknown, err) < 0)
        return -1;
    int rc = graph_resolve(g, step->text, &current, &targets, err);
    if (rc == 0 && direction == STEP_UP)
        graph_upgrade_path(g, &current, &targets, &list);
    else if (rc == 0)
        rc = graph_downgrade_path(g, &current, &targets, &list, err);
    if (rc < 0)
        return err_at(err, p->scenario->path, step->line, 0);
    bool ok = true;
    for (size_t i = 0; i < list.n && ok; i++) {
        struct step_result s = {0};
        rc = migrator_step(m, list.v[i], direction, true, &s, err);
        ok = rc == 0 && (s.outcome == STEP_OK || s.outcome == STEP_EMPTY);
        if (rc == 0 && !ok)
            note_failure(p, list.v[i], direction, &s);
        step_result_release(&s);
        if (rc < 0)
            return -1;
    }
    return 0;
}

static int stamp(struct play *p, const struct scenario_step *step, struct err *err)
{
    const struct graph *g = source_graph(p->source);
    _cleanup_(cleanup_migrator_close) struct migrator *m = NULL;
    _cleanup_revisions_ struct revisions current = {0}, targets = {0};
    _cleanup_strv_ struct strv unknown = {0};
    if (open_migrator(p, &m, err) < 0 || migrator_applied(m, g, &current, &unknown, err) < 0)
        return -1;
    if (graph_resolve(g, step->text, &current, &targets, err) < 0)
        return err_at(err, p->scenario->path, step->line, 0);
    return migrator_stamp(m, &targets, err);
}

static int open_db(struct play *p, struct db **ret, struct err *err)
{
    return db_open(p->engine, scratch_url(p->scratch), DB_OPEN_SCRATCH, ret, err);
}

static int run_sql(struct play *p, const char *sql, struct err *err)
{
    _cleanup_db_ struct db *db = NULL;
    return open_db(p, &db, err) < 0 || scratch_prove(p->scratch, db, err) < 0
               ? -1
               : db_run(db, sql, DB_RUN_STATEMENTS, NULL, err);
}

/* SQL of the scenario or of its revisions: that it fails is not as expected. */
static int try_sql(struct play *p, const struct scenario_step *s, const char *sql, struct err *err)
{
    if (run_sql(p, sql, err) == 0)
        return 0;
    if (err->code != ERR_SQL)
        return -1;
    differ(p, s, "%s: %s", s->kind == SCENARIO_SQL ? "sql" : "preview", err->message);
    err_release(err);
    return 0;
}

static int preview(struct play *p, const struct scenario_step *step, struct err *err)
{
    _cleanup_revisions_ struct revisions list = {0};
    _cleanup_free_ char *sql = NULL;
    enum step_direction direction;
    if (verb_range(source_graph(p->source), step->text, WAYS_BOTH, &list, &direction, err) < 0)
        return err_at(err, p->scenario->path, step->line, 0);
    if (source_sql(p->source, p->engine, &list, direction, &sql, err) < 0)
        return -1;
    return try_sql(p, step, sql, err);
}

static int read_schema(struct play *p, struct snapshot **ret, struct err *err)
{
    _cleanup_db_ struct db *db = NULL;
    const struct schema_options o = {.version_tables = source_version_tables(p->source)};
    return open_db(p, &db, err) < 0 ? -1 : schema_read(db, &o, ret, err);
}

static struct shot *find_shot(struct play *p, const char *name)
{
    for (size_t i = p->nshots; i-- > 0;) /* the last one of a name counts */
        if (strcmp(p->shots[i].name, name) == 0)
            return &p->shots[i];
    return NULL;
}

static int keep_snapshot(struct play *p, const char *name, struct err *err)
{
    struct snapshot *s = NULL;
    if (read_schema(p, &s, err) < 0)
        return -1;
    p->shots = xgrow(p->shots, p->nshots, &p->shots_cap, sizeof(*p->shots));
    p->shots[p->nshots++] = (struct shot){name, s};
    return 0;
}

/* ---- writing revisions ---- */

enum { COPY_ROOM = 64 << 20 };

/* From here on the scenario plays in a copy: its own folder stays as it is. */
static int move_to_copy(struct play *p, struct err *err)
{
    _cleanup_free_ char *folder = path_dir(p->scenario->path);
    _cleanup_free_ char *from = realpath(folder, NULL), *dir = realpath(p->q.dir, NULL);
    if (p->guard)
        return 0;
    if (!from || !dir)
        return err_errno(err, "cannot find %s", from ? p->q.dir : folder);
    bool whole = strcmp(from, dir) == 0;
    const char *inside = whole ? "." : path_relative(dir, from);
    if (*inside == '/') {
        err_set(err, ERR_CONFIG,
                "revisions are written into a copy of %s, and the project is not "
                "in it",
                folder);
        return err_at(err, p->scenario->path, 0, 0);
    }
    if (guard_open(&(struct guard_options){.room = COPY_ROOM}, &p->guard, err) < 0)
        return -1;
    _cleanup_free_ char *to = path_join(guard_dir(p->guard), "scenario");
    if (tree_copy(from, to, &(struct proc_user){0}, err) < 0)
        return err_prefix(err, "cannot copy the scenario");
    p->copied_dir = path_join(to, inside);
    p->q.dir = p->copied_dir;
    return 0;
}

static int open_again(struct play *p, struct err *err)
{
    source_free(TAKE_PTR(p->source));
    return project_open(p->q.settings, p->q.config, p->q.dir, &p->source, err);
}

/* What the new revision follows. */
static int find_parents(struct play *p, const struct scenario_step *step, struct revisions *ret,
                        struct err *err)
{
    const struct graph *g = source_graph(p->source);
    const char *head = step->revision.head ? step->revision.head : "head";
    if (step->kind == SCENARIO_MERGE)
        graph_heads(g, ret);
    else if (graph_resolve(g, head, NULL, ret, err) < 0)
        return err_at(err, p->scenario->path, step->line, 0);
    if (step->kind == SCENARIO_REVISION || ret->n > 1)
        return 0;
    err_set(err, ERR_CONFIG, "merge: there is one head");
    return err_at(err, p->scenario->path, step->line, 0);
}

/* Writes a revision and checks it at once, as the verbs do. */
static int write_revision(struct play *p, const struct scenario_step *step, struct err *err)
{
    _cleanup_revisions_ struct revisions parents = {0};
    _cleanup_strv_ struct strv files = {0}, real = {0};
    _cleanup_free_ char *id = NULL;
    if (!p->guard && (move_to_copy(p, err) < 0 || open_again(p, err) < 0))
        return -1;
    if (find_parents(p, step, &parents, err) < 0)
        return -1;
    const struct new_revision n = {
        .message = step->revision.message,
        .autogenerate = step->revision.autogenerate,
        .url = scratch_url(p->scratch),
        .parents = &parents,
        .id = step->revision.id,
        .branch_label = step->revision.branch_label,
    };
    if (source_new_revision(p->source, &n, &id, &files, err) < 0 || open_again(p, err) < 0)
        return -1;
    for (size_t i = 0; i < files.n; i++) {
        char *path = realpath(files.v[i], NULL);
        if (path)
            strv_add_take(&real, path);
    }
    struct check_request q = p->q;
    q.only_files = &real;
    return check_run(&q, &p->found, err);
}

/* ---- expecting ---- */

static char *row_text(const struct rows *rows, int row)
{
    struct str s = {0};
    for (int c = 0; c < rows_columns(rows); c++) {
        const char *value = rows_get(rows, row, c);
        str_addf(&s, "%s%s", c ? "|" : "", value ? value : "NULL");
    }
    return str_take(&s);
}

static int expect_rows(struct play *p, const struct scenario_step *s, struct err *err)
{
    _cleanup_db_ struct db *db = NULL;
    if (s->nrows && open_db(p, &db, err) < 0)
        return -1;
    for (size_t i = 0; i < s->nrows; i++) {
        const struct scenario_rows *wanted = &s->rows[i];
        _cleanup_rows_ struct rows *rows = NULL;
        if (db_query(db, wanted->query, NULL, 0, &rows, err) < 0) {
            if (err->code != ERR_SQL)
                return -1;
            differ(p, s, "%s: %s", wanted->query, err->message);
            err_release(err);
            continue;
        }
        size_t n = (size_t)rows_count(rows);
        if (n != wanted->rows.n)
            differ(p, s, "%s: %zu rows, expected %zu", wanted->query, n, wanted->rows.n);
        for (size_t k = 0; k < n && k < wanted->rows.n; k++) {
            _cleanup_free_ char *row = row_text(rows, (int)k);
            if (strcmp(row, wanted->rows.v[k]) != 0)
                differ(p, s, "%s: row %zu is %s, expected %s", wanted->query, k + 1, row,
                       wanted->rows.v[k]);
        }
    }
    return 0;
}

static bool has_property(const struct object *o, const char *pattern)
{
    bool has = false;
    for (size_t i = 0; i < o->nprops && !has; i++) {
        _cleanup_free_ char *text = xasprintf("%s %s", o->props[i].name, o->props[i].value);
        has = object_matches(pattern, text);
    }
    return has;
}

/* wanted: "KIND IDENTITY" or "KIND IDENTITY: PROPERTY VALUE", both patterns. */
static bool has_object(const struct snapshot *s, const char *wanted)
{
    const char *colon = strstr(wanted, ": ");
    _cleanup_free_ char *pattern =
        xstrndup(wanted, colon ? (size_t)(colon - wanted) : strlen(wanted));
    for (size_t i = 0; i < s->n; i++) {
        const struct object *o = s->objects[i];
        _cleanup_free_ char *name = xasprintf("%s %s", o->kind, o->identity);
        if (object_matches(pattern, name) && (!colon || has_property(o, colon + 2)))
            return true;
    }
    return false;
}

static int expect_schema(struct play *p, const struct scenario_step *s, struct err *err)
{
    _cleanup_snapshot_ struct snapshot *now = NULL;
    if (!s->objects.n && !s->absent.n && !s->snapshot)
        return 0;
    if (read_schema(p, &now, err) < 0)
        return -1;
    for (size_t i = 0; i < s->objects.n; i++)
        if (!has_object(now, s->objects.v[i]))
            differ(p, s, "there is no %s", s->objects.v[i]);
    for (size_t i = 0; i < s->absent.n; i++)
        if (has_object(now, s->absent.v[i]))
            differ(p, s, "there is %s, which should be absent", s->absent.v[i]);
    if (!s->snapshot)
        return 0;
    const struct shot *then = find_shot(p, s->snapshot);
    if (!then) {
        err_set(err, ERR_CONFIG, "expect: no snapshot \"%s\" was taken before", s->snapshot);
        return err_at(err, p->scenario->path, s->line, 0);
    }
    _cleanup_diff_ struct diff d = {0};
    diff_snapshots(then->snapshot, now, &d);
    for (size_t i = 0; i < d.n && i < 5; i++) {
        _cleanup_free_ char *text = change_text(&d.changes[i], false);
        differ(p, s, "differs from snapshot %s: %s", s->snapshot, text);
    }
    return 0;
}

static int expect_revisions(struct play *p, const struct scenario_step *s, struct err *err)
{
    const struct graph *g = source_graph(p->source);
    _cleanup_(cleanup_migrator_close) struct migrator *m = NULL;
    _cleanup_revisions_ struct revisions current = {0}, last = {0};
    _cleanup_strv_ struct strv ids = {0}, wanted = {0};
    if (!s->revisions.n)
        return 0;
    if (open_migrator(p, &m, err) < 0 || migrator_applied(m, g, &current, &ids, err) < 0)
        return -1;
    graph_last(g, &current, &last);
    for (size_t i = 0; i < last.n; i++)
        strv_add(&ids, last.v[i]->id);
    for (size_t i = 0; i < s->revisions.n; i++)
        if (strcmp(s->revisions.v[i], "base") != 0)
            strv_add(&wanted, s->revisions.v[i]);
    strv_sort(&ids);
    strv_sort(&wanted);
    _cleanup_free_ char *is = strv_join(&ids, ", "), *should = strv_join(&wanted, ", ");
    if (strcmp(is, should) != 0)
        differ(p, s, "at %s, expected %s", *is ? is : "base", *should ? should : "base");
    return 0;
}

bool expected_meets(const struct expected *e, const struct finding *f)
{
    return strcmp(e->finding, f->id->id) == 0 &&
           (!e->revision || (f->revision && str_starts(f->revision, e->revision))) &&
           (!e->object || finding_matches_object(f, e->object));
}

static void expect_findings(struct play *p, const struct scenario_step *s)
{
    for (size_t e = 0; e < s->nfindings; e++) {
        bool met = false;
        for (size_t f = 0; f < p->found.nfindings && !met; f++)
            met = expected_meets(&s->findings[e], &p->found.findings[f]);
        if (!met)
            differ(p, s, "expected, not found: %s", s->findings[e].finding);
    }
    for (size_t f = 0; f < p->found.nfindings; f++) {
        const struct finding *found = &p->found.findings[f];
        bool wanted = found->waived_reason != NULL;
        for (size_t e = 0; e < s->nfindings && !wanted; e++)
            wanted = expected_meets(&s->findings[e], found);
        if (!wanted)
            differ(p, s, "found, not expected: %s%s%s: %s", found->id->id,
                   found->revision ? " of " : "", found->revision ? found->revision : "",
                   found->message ? found->message : "");
    }
    check_result_release(&p->found);
}

static int expect(struct play *p, const struct scenario_step *s, struct err *err)
{
    expect_findings(p, s);
    return expect_rows(p, s, err) < 0 || expect_schema(p, s, err) < 0 ||
                   expect_revisions(p, s, err) < 0
               ? -1
               : 0;
}

/* ---- all of it ---- */

static int run_step(struct play *p, const struct scenario_step *s, struct err *err)
{
    switch (s->kind) {
    case SCENARIO_UPGRADE:
        return move(p, s, STEP_UP, err);
    case SCENARIO_DOWNGRADE:
        return move(p, s, STEP_DOWN, err);
    case SCENARIO_STAMP:
        return stamp(p, s, err);
    case SCENARIO_SQL:
        return try_sql(p, s, s->text, err);
    case SCENARIO_PREVIEW:
        return preview(p, s, err);
    case SCENARIO_SNAPSHOT:
        return keep_snapshot(p, s->text, err);
    case SCENARIO_CHECK:
        return check_run(&p->q, &p->found, err);
    case SCENARIO_REVISION:
    case SCENARIO_MERGE:
        return write_revision(p, s, err);
    case SCENARIO_EXPECT:
        return expect(p, s, err);
    }
    return 0;
}

static int play(struct play *p, struct err *err)
{
    const struct config *c = p->scenario;
    const char *baseline = settings_get(p->q.settings, OPT_BASELINE);
    _cleanup_free_ char *sql = NULL;
    if (baseline && (file_read_text(baseline, &sql, NULL, err) < 0 || run_sql(p, sql, err) < 0))
        return err_prefix(err, "baseline");
    for (size_t i = 0; i < c->nsteps && !p->differences->len; i++) {
        const struct scenario_step *s = &c->steps[i];
        /* what a step found must be expected by the very next one */
        const struct scenario_step none = {.line = s->line};
        if (s->kind != SCENARIO_EXPECT)
            expect_findings(p, &none);
        if (!p->differences->len && run_step(p, s, err) < 0)
            return -1;
    }
    if (!p->differences->len) {
        const struct scenario_step end = {.line = c->steps[c->nsteps - 1].line};
        expect_findings(p, &end);
    }
    return 0;
}

int scenario_run(const struct check_request *q, const struct config *scenario,
                 struct str *differences, struct err *err)
{
    _cleanup_source_ struct source *source = NULL;
    _cleanup_pool_ struct scratch_pool *pool = NULL;
    _cleanup_scratch_ struct scratch *scratch = NULL;
    const struct engine *engine = NULL;
    if (project_open(q->settings, q->config, q->dir, &source, err) < 0 ||
        check_engine(q, source, &engine, err) < 0)
        return -1;
    const struct scratch_options o = {
        .url = engine == &engine_postgres ? settings_get(q->settings, OPT_SCRATCH_URL) : NULL,
    };
    if (scratch_pool_open(engine, &o, &pool, err) < 0 || scratch_new(pool, &scratch, err) < 0)
        return -1;
    struct play p = {
        .q = *q,
        .scenario = scenario,
        .source = TAKE_PTR(source),
        .engine = engine,
        .scratch = scratch,
        .differences = differences,
    };
    int rc = play(&p, err);
    for (size_t i = 0; i < p.nshots; i++)
        snapshot_free(p.shots[i].snapshot);
    free(p.shots);
    check_result_release(&p.found);
    source_free(p.source);
    guard_close(p.guard);
    free(p.copied_dir);
    return rc;
}
