#include "harness/observe/observer_impl.h"

#include <stdlib.h>
#include <string.h>

static void told_clear(struct observer *o)
{
    for (size_t i = 0; i < o->ntold; i++) {
        free((char *)o->told[i].event.text);
        free((char *)o->told[i].event.file);
        free((char *)o->told[i].event.seen);
    }
    o->ntold = 0;
}

static void hear(void *observer, const struct statement_event *e)
{
    struct observer *o = observer;
    o->told = xgrow(o->told, o->ntold, &o->told_cap, sizeof(*o->told));
    struct told *t = &o->told[o->ntold++];
    t->event = *e;
    t->event.text = xstrdup(e->text);
    t->event.file = xstrdup(e->file);
    t->event.seen = xstrdup(e->seen);
    if (o->ops->heard)
        o->ops->heard(o);
}

int observer_open(const struct observer_options *o, struct observer **ret, struct err *err)
{
    const struct observer_ops *ops =
        o->engine == &engine_postgres ? &observer_postgres : &observer_sqlite;
    if (ops->open(o, ret, err) < 0)
        return err_prefix(err, "cannot watch the database");
    (*ret)->ops = ops;
    return 0;
}

struct migrator_observer observer_hook(struct observer *o)
{
    return (struct migrator_observer){
        .data = o, .statement = hear, .look = o->ops->look, .wait = o->ops->heard != NULL};
}

void observer_close(struct observer *o)
{
    if (!o)
        return;
    told_clear(o);
    free(o->told);
    o->ops->close(o);
}

int observer_begin(struct observer *o, struct db *session, struct err *err)
{
    told_clear(o);
    if (o->ops->begin(o, session, err) < 0)
        return err_prefix(err, "cannot watch the database");
    o->began = clock_seconds();
    return 0;
}

size_t observer_statement_at(const struct observer *o, double time)
{
    size_t found = SIZE_MAX;
    for (size_t i = 0; i < o->ntold && o->told[i].event.begin <= time; i++)
        found = i;
    return found;
}

double observer_taken(const struct observer *o, double not_yet, double seen)
{
    size_t i = observer_statement_at(o, seen);
    double begun = i == SIZE_MAX ? o->began : o->told[i].event.begin;
    return begun > not_yet ? begun : not_yet;
}

static void add_statements(const struct observer *o, struct measures *m)
{
    m->statements = xcalloc(o->ntold, sizeof(*m->statements));
    m->nstatements = m->statements_cap = o->ntold;
    for (size_t i = 0; i < o->ntold; i++) {
        const struct statement_event *e = &o->told[i].event;
        m->statements[i] = (struct measured_statement){
            .text = xstrdup(e->text),
            .file = xstrdup(e->file),
            .line = e->line,
            .start = e->begin,
            .seconds = e->end - e->begin,
            .failed = e->failed,
            .rows = e->rows < 0 ? MEASURE_UNKNOWN : e->rows,
            .wal = MEASURE_UNKNOWN,
            .pages = MEASURE_UNKNOWN,
        };
    }
}

static double since(const struct observer *o, double time)
{
    return time > o->began ? time - o->began : 0;
}

static int longer_first(const void *a, const void *b)
{
    double x = ((const struct measured_wait *)a)->seconds;
    double y = ((const struct measured_wait *)b)->seconds;
    return (x < y) - (x > y);
}

int observer_end(struct observer *o, struct measures *ret, struct err *err)
{
    double ended = clock_seconds();
    struct measures m = {.seconds = ended - o->began};
    o->ops->stop(o);
    add_statements(o, &m);
    if (o->ops->end(o, &m, err) < 0) {
        measures_release(&m);
        return err_prefix(err, "cannot watch the database");
    }
    for (size_t i = 0; i < m.nstatements; i++)
        m.statements[i].start = since(o, m.statements[i].start);
    for (size_t i = 0; i < m.nlocks; i++) {
        m.locks[i].from = since(o, m.locks[i].from);
        m.locks[i].until = since(o, m.locks[i].until < ended ? m.locks[i].until : ended);
    }
    for (size_t i = 0; i < m.nwaits; i++)
        m.waits[i].from = since(o, m.waits[i].from);
    if (m.nwaits)
        qsort(m.waits, m.nwaits, sizeof(*m.waits), longer_first);
    *ret = m;
    return 0;
}
