#include "harness/data/generate.h"

#include <stdlib.h>
#include <string.h>

#include "harness/base/cleanup.h"
#include "harness/data/generate_impl.h"

void generate_report_release(struct generate_report *r)
{
    strv_release(&r->filled);
    strv_release(&r->failed);
    strv_release(&r->why);
}

/* ---- which tables are empty ---- */

/* Tables asked about in one statement: SQLite limits the columns of a result. */
#define AT_ONCE 500

static int mark_full(struct gen_context *c, enum gen_state now, enum gen_state then,
                     const char *why, struct err *err)
{
    struct gen_schema *s = &c->schema;
    for (size_t from = 0; from < s->n;) {
        _cleanup_str_ struct str sql = {0};
        size_t asked[AT_ONCE], n = 0;
        for (; from < s->n && n < AT_ONCE; from++) {
            if (s->v[from]->state != now)
                continue;
            str_addf(&sql, "%sexists(select 1 from %s%s)", n ? ", " : "select ",
                     c->engine == &engine_postgres ? "only " : "", s->v[from]->identity);
            asked[n++] = from;
        }
        if (!n)
            break;
        _cleanup_rows_ struct rows *rows = NULL;
        if (db_query(c->db, str_get(&sql), NULL, 0, &rows, err) < 0)
            return -1;
        for (size_t i = 0; i < n; i++) {
            struct gen_table *t = s->v[asked[i]];
            bool full = strchr("t1", *rows_get(rows, 0, (int)i)) != NULL;
            if (full != (now != GEN_FILLED))
                continue;
            t->state = then;
            free(t->why);
            t->why = xstrdup(why);
        }
    }
    return 0;
}

/* ---- the order ---- */

/* Whether a parent that r refers to is still to be filled. */
static bool waits_for(const struct gen_context *c, const struct gen_reference *r)
{
    for (size_t i = 0; !r->self && i < c->schema.n; i++)
        if (c->schema.v[i]->state == GEN_WAITS && gen_reference_is_to(r, c->schema.v[i]))
            return true;
    return false;
}

/* What stands between a table and its turn. */
enum {
    READY,
    NULLS,    /* parents that can be NULL at first */
    DEFERRED, /* parents whose keys can be checked later */
    STUCK,
};

static int obstacle(const struct gen_context *c, const struct gen_table *t)
{
    int worst = READY;
    for (size_t i = 0; i < t->nreferences; i++) {
        const struct gen_reference *r = &t->references[i];
        if (!waits_for(c, r))
            continue;
        int this = gen_reference_can_be_null(t, r) ? NULLS : r->deferrable ? DEFERRED : STUCK;
        worst = this > worst ? this : worst;
    }
    return worst;
}

static struct gen_table *next_table(const struct gen_context *c)
{
    struct gen_table *best = NULL;
    int least = STUCK + 1;
    for (size_t i = 0; i < c->schema.n && least > READY; i++) {
        struct gen_table *t = c->schema.v[i];
        if (t->state != GEN_WAITS)
            continue;
        int o = obstacle(c, t);
        if (o < least) {
            least = o;
            best = t;
        }
    }
    return best;
}

/* ---- rows that the user gives ---- */

static bool names_table(const char *given, const char *identity)
{
    const char *dot = strrchr(identity, '.');
    return strcmp(given, identity) == 0 || (dot && strcmp(given, dot + 1) == 0);
}

/* 1: there are some, and they were inserted. */
static int insert_given(struct gen_context *c, struct gen_table *t, struct err *err)
{
    const struct generate_options *o = c->options;
    int any = 0;
    for (size_t i = 0; i < o->ngiven; i++) {
        if (!names_table(o->given[i].table, t->identity))
            continue;
        any = 1;
        if (db_run(c->db, o->given[i].sql, 0, NULL, err) == 0)
            continue;
        if (err->code == ERR_SQL) {
            err->code = ERR_CONFIG;
            err_prefix(err, "rows of %s", t->identity);
        }
        return -1;
    }
    if (any)
        t->state = GEN_FILLED;
    return any;
}

/* ---- filling ---- */

/* A reference whose rows are NULL until its parent is filled. */
struct later {
    struct gen_table *table;
    size_t reference;
};

struct order {
    struct later *later;
    size_t nlater, later_cap;
    /* tables that were filled since references were last checked: only while a cycle is open */
    struct gen_table **open;
    size_t nopen, open_cap;
};

/* From here on references may be to rows that come later. */
static int open_cycle(struct gen_context *c, struct err *err)
{
    return db_run(c->db,
                  c->engine == &engine_postgres
                      ? "savepoint belay_cycle; set constraints all deferred"
                      : "savepoint belay_cycle; pragma defer_foreign_keys = on",
                  0, NULL, err);
}

/* Checks them. What does not fit is taken back, with all tables since the cycle was opened. */
static int close_cycle(struct gen_context *c, struct order *o, struct err *err)
{
    static const char check_sqlite[] = "select count(*) from pragma_foreign_key_check($1)";
    _cleanup_err_ struct err why = {0};
    bool fits = true;
    if (c->engine == &engine_postgres) {
        fits = db_run(c->db, "set constraints all immediate; release savepoint belay_cycle", 0,
                      NULL, &why) == 0;
        if (!fits && why.code != ERR_SQL) {
            err_move(err, &why);
            return -1;
        }
    } else {
        for (size_t i = 0; i < o->nopen && fits; i++) {
            _cleanup_free_ char *wrong = NULL;
            if (db_query_text(c->db, check_sqlite, (const char *[]){o->open[i]->name}, 1, &wrong,
                              err) < 0)
                return -1;
            fits = wrong && strcmp(wrong, "0") == 0;
        }
        if (!fits)
            err_set(&why, ERR_SQL, "FOREIGN KEY constraint failed");
    }
    if (!fits && db_run(c->db, "rollback to savepoint belay_cycle; release savepoint belay_cycle",
                        0, NULL, err) < 0)
        return -1;
    for (size_t i = 0; i < o->nopen && !fits; i++) {
        o->open[i]->state = GEN_FAILED;
        free(o->open[i]->why);
        o->open[i]->why = xstrdup(why.message);
    }
    o->nopen = 0;
    return c->engine == &engine_postgres
               ? 0
               : db_run(c->db,
                        fits ? "release savepoint belay_cycle; pragma defer_foreign_keys = off"
                             : "pragma defer_foreign_keys = off",
                        0, NULL, err);
}

/* Whether a table among those of the cycle refers to one that is not filled. */
static bool cycle_is_open(const struct gen_context *c, const struct order *o)
{
    for (size_t i = 0; i < o->nopen; i++)
        for (size_t k = 0; k < o->open[i]->nreferences; k++) {
            const struct gen_reference *r = &o->open[i]->references[k];
            if (!gen_reference_can_be_null(o->open[i], r) && waits_for(c, r))
                return true;
        }
    return false;
}

static int fill_one(struct gen_context *c, struct gen_table *t, struct order *o, struct err *err)
{
    int given = insert_given(c, t, err);
    if (given)
        return given < 0 ? -1 : 0;
    _cleanup_free_ bool *open = xcalloc(t->nreferences + 1, sizeof(*open));
    bool cycle = false;
    for (size_t i = 0; i < t->nreferences; i++) {
        const struct gen_reference *r = &t->references[i];
        open[i] = waits_for(c, r);
        if (!open[i])
            continue;
        if (!gen_reference_can_be_null(t, r)) {
            cycle = true;
            continue;
        }
        o->later = xgrow(o->later, o->nlater, &o->later_cap, sizeof(*o->later));
        o->later[o->nlater++] = (struct later){t, i};
    }
    if (cycle && !o->nopen && open_cycle(c, err) < 0)
        return -1;
    if (cycle || o->nopen) {
        o->open = xgrow(o->open, o->nopen, &o->open_cap, sizeof(*o->open));
        o->open[o->nopen++] = t;
    }
    if (gen_fill(c, t, open, err) < 0)
        return -1;
    return o->nopen && !cycle_is_open(c, o) ? close_cycle(c, o, err) : 0;
}

static int fill_all(struct gen_context *c, struct err *err)
{
    struct order o = {0};
    struct gen_table *t;
    int r = 0;
    while (r == 0 && (t = next_table(c)))
        r = fill_one(c, t, &o, err);
    for (size_t i = 0; i < o.nlater && r == 0; i++) {
        struct later *l = &o.later[i];
        if (l->table->state == GEN_FILLED)
            r = gen_close_cycle(c, l->table, &l->table->references[l->reference], err);
    }
    free(o.later);
    free(o.open);
    if (r == 0 && c->finish.len)
        r = db_run(c->db, str_get(&c->finish), 0, NULL, err);
    return r;
}

static int fill(struct gen_context *c, struct err *err)
{
    if (mark_full(c, GEN_WAITS, GEN_DONE, NULL, err) < 0)
        return -1;
    for (size_t i = 0; i < c->schema.n; i++) {
        for (size_t k = 0; k < c->enders.n; k++) {
            if (strcmp(c->enders.v[k], c->schema.v[i]->identity) != 0)
                continue;
            c->schema.v[i]->state = GEN_FAILED;
            c->schema.v[i]->why = xstrdup(c->enders_why.v[k]);
        }
    }
    if (fill_all(c, err) < 0)
        return -1;
    /* rows that refuse ours may be those that the triggers of other tables made */
    if (mark_full(c, GEN_FAILED, GEN_FILLED, NULL, err) < 0)
        return -1;
    return mark_full(c, GEN_FILLED, GEN_FAILED, "no row stayed: a trigger or rule kept them out",
                     err);
}

/* What makes values read and written the same everywhere. Deferrable constraints speak at once.
 * A scratch database has no statistics, and the catalog grows while queries on it stay prepared:
 * they are to use its indexes. */
const char gen_begin_postgres[] =
    "begin; set local timezone = 'UTC'; set local datestyle = 'ISO, YMD';"
    " set local intervalstyle = postgres; set local extra_float_digits = 3;"
    " set local bytea_output = hex; set local standard_conforming_strings = on;"
    " set local xmloption = content; set local jit = off;"
    " set local plan_cache_mode = force_generic_plan; set local enable_seqscan = off;"
    " set local enable_hashjoin = off; set local enable_mergejoin = off; set constraints all "
    "immediate";

static int run_postgres(struct gen_context *c, const struct strv *names, struct err *err)
{
    int r = db_run(c->db, gen_begin_postgres, 0, NULL, err);
    if (r == 0)
        r = gen_read_postgres(c->db, names, c->options->leave_out, &c->schema, err);
    return r == 0 && c->schema.n ? fill(c, err) : r;
}

/* foreign_keys cannot be changed within a transaction. */
static int run_sqlite(struct gen_context *c, const struct strv *names, struct err *err)
{
    bool enforce = true;
    if (db_run(c->db, "pragma foreign_keys = on", 0, NULL, err) < 0 ||
        gen_read_sqlite(c->db, names, c->options->leave_out, &c->schema, err) < 0 ||
        gen_sqlite_can_enforce(c->db, &c->schema, &enforce, err) < 0)
        return -1;
    if (!c->schema.n)
        return 0;
    if (!enforce && db_run(c->db, "pragma foreign_keys = off", 0, NULL, err) < 0)
        return -1;
    return db_run(c->db, "begin", 0, NULL, err) == 0 ? fill(c, err) : -1;
}

int generate_rows(struct db *db, const struct strv *names, const struct generate_options *o,
                  struct generate_report *ret, struct err *err)
{
    struct gen_context c = {.db = db, .engine = db_engine(db), .options = o};
    _cleanup_free_ char *keys = NULL;
    _cleanup_err_ struct err ignored = {0};
    bool sqlite = c.engine == &engine_sqlite;
    if (o->rows <= 0)
        return 0;
    if (sqlite && db_query_text(db, "pragma foreign_keys", NULL, 0, &keys, err) < 0)
        return -1;
    int r;
    size_t enders;
    do {
        enders = c.enders.n;
        err_release(err);
        gen_schema_release(&c.schema);
        str_clear(&c.finish);
        r = sqlite ? run_sqlite(&c, names, err) : run_postgres(&c, names, err);
    } while (r < 0 && c.enders.n > enders);
    if (r == 0 && db_in_transaction(db))
        r = db_run(db, "commit", 0, NULL, err);
    if (r < 0 && db_in_transaction(db))
        db_run(db, "rollback", 0, NULL, &ignored);
    if (sqlite &&
        db_run(db, *keys == '1' ? "pragma foreign_keys = on" : "pragma foreign_keys = off", 0, NULL,
               r < 0 ? &ignored : err) < 0)
        r = -1;
    for (size_t i = 0; r == 0 && i < c.schema.n; i++) {
        const struct gen_table *t = c.schema.v[i];
        if (t->state == GEN_FILLED)
            strv_add(&ret->filled, t->identity);
        if (t->state != GEN_FAILED)
            continue;
        strv_add(&ret->failed, t->identity);
        strv_add(&ret->why, t->why);
    }
    for (size_t i = 0; r == 0 && i < c.schema.closed.n; i++) {
        _cleanup_free_ char *filled = NULL;
        const char *ask = c.schema.closed_filled.v[i];
        if (*ask && db_query_text(db, ask, NULL, 0, &filled, &ignored) < 0)
            err_release(&ignored); /* an index that keeps no such record */
        if (filled && *filled == '1')
            continue;
        strv_add(&ret->failed, c.schema.closed.v[i]);
        strv_add(&ret->why, c.schema.closed_why.v[i]);
    }
    gen_schema_release(&c.schema);
    str_release(&c.finish);
    strv_release(&c.enders);
    strv_release(&c.enders_why);
    return r;
}
