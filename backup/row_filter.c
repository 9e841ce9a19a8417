#include "backup/row_filter.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "harness/data/digest_impl.h"

struct table_filter {
    struct row_filter *filter;
    char *name;
    const struct mask_column **columns; /* for each column of the table, NULL where it stays; NULL:
                                           none is masked */
    const struct sample *sample;        /* some rows stay; NULL: all */
    struct digest_sum through;          /* with one of the two */
};

struct row_filter {
    struct table_filter *tables; /* for each digest, as the set had them */
    size_t n;
    pthread_mutex_t lock; /* of what went through */
};

/* Otherwise the table is left alone. */
static bool is_filtered(const struct table_filter *t)
{
    return t->columns || t->sample;
}

struct row_filter *row_filter_new(const struct mask_plan *plan, const struct sample *sample,
                                  const struct digest_set *digests)
{
    struct row_filter *f = xcalloc(1, sizeof(*f));
    f->n = digests->n;
    f->tables = xcalloc(digests->n, sizeof(*f->tables));
    pthread_mutex_init(&f->lock, NULL);
    for (size_t i = 0; i < digests->n; i++) {
        const struct digest *d = &digests->v[i];
        struct table_filter *t = &f->tables[i];
        t->filter = f;
        t->name = xstrdup(d->name);
        if (d->sequence)
            continue;
        if (sample && sample_find(sample, d->name) != SIZE_MAX)
            t->sample = sample;
        if (plan && mask_plan_has(plan, d->name)) {
            t->columns = xcalloc(d->sum.ncolumns, sizeof(struct mask_column *));
            for (size_t k = 0; k < d->sum.ncolumns; k++)
                t->columns[k] = mask_plan_find(plan, d->name, d->sum.columns[k].name);
        }
        if (is_filtered(t))
            digest_sum_init_like(&t->through, &d->sum);
    }
    return f;
}

void row_filter_free(struct row_filter *f)
{
    if (!f)
        return;
    for (size_t i = 0; i < f->n; i++) {
        free(f->tables[i].name);
        free(f->tables[i].columns);
        digest_sum_release(&f->tables[i].through);
    }
    free(f->tables);
    pthread_mutex_destroy(&f->lock);
    free(f);
}

void row_pass_begin(struct row_pass *p, struct row_filter *f, size_t digest)
{
    struct table_filter *t = f && digest != SIZE_MAX ? &f->tables[digest] : NULL;
    p->table = t && is_filtered(t) ? t : NULL;
    digest_sum_release(&p->sum);
    if (p->table)
        digest_sum_init_like(&p->sum, &t->through);
}

/* As COPY's text format wants it. */
static void add_escaped(struct str *s, const struct str *value)
{
    static const char special[] = "\\\b\f\n\r\t\v", letters[] = "\\bfnrtv";
    for (size_t i = 0; i < value->len; i++) {
        const char *at = memchr(special, value->p[i], sizeof(special) - 1);
        if (at)
            str_addc(s, '\\');
        str_addc(s, at ? letters[at - special] : value->p[i]);
    }
}

static void mask_field(struct row_pass *p, const struct mask_column *c, const char *from,
                       const char *to, const struct digest_value *value)
{
    if (!c || !value->bytes) {
        str_addn(&p->line, from, (size_t)(to - from));
        return;
    }
    str_clear(&p->value);
    if (mask_value(c, value->bytes, value->len, &p->value))
        add_escaped(&p->line, &p->value);
    else
        str_add(&p->line, "\\N");
}

static int mask_line(struct row_pass *p, const char *line, size_t len, struct err *err)
{
    const struct table_filter *t = p->table;
    const char *end = line + len - (len && line[len - 1] == '\n'), *at = line;
    str_clear(&p->line);
    for (size_t i = 0; i < t->through.ncolumns; i++) {
        struct digest_value value;
        const char *field = at;
        at = copy_field(field, end, &p->scratch, &value);
        if (!at)
            return err_set(err, ERR_CONFIG, "a row of COPY's has a wrong escape");
        if (i)
            str_addc(&p->line, '\t');
        mask_field(p, t->columns[i], field, at, &value);
        at += at < end;
    }
    str_addc(&p->line, '\n');
    return 0;
}

int row_pass_line(struct row_pass *p, const char *line, size_t len, struct str *out,
                  struct err *err)
{
    const struct table_filter *t = p->table;
    if (t && t->sample && !sample_keeps(t->sample, line, len))
        return 0;
    if (t && t->columns) {
        if (mask_line(p, line, len, err) < 0)
            return -1;
        line = p->line.p;
        len = p->line.len;
    }
    str_addn(out, line, len);
    return t ? digest_sum_copy_row(&p->sum, line, len, &p->scratch, err) : 0;
}

void row_pass_end(struct row_pass *p)
{
    if (!p->table)
        return;
    pthread_mutex_lock(&p->table->filter->lock);
    digest_sum_add(&p->table->through, &p->sum);
    pthread_mutex_unlock(&p->table->filter->lock);
    digest_sum_release(&p->sum);
}

void row_pass_hide(const struct row_pass *p, struct err *err)
{
    if (!p->table || !p->table->columns)
        return;
    free(TAKE_PTR(err->detail));
    free(TAKE_PTR(err->hint));
    if (str_starts(err->sqlstate, "22") || str_starts(err->sqlstate, "23"))
        err_hint(err,
                 "a masked value may not suit the column: another rule may; values are not shown");
}

void row_pass_release(struct row_pass *p)
{
    digest_sum_release(&p->sum);
    str_release(&p->value);
    str_release(&p->line);
    str_release(&p->scratch);
    *p = (struct row_pass){0};
}

void row_filter_digests(struct row_filter *f, struct digest_set *set)
{
    for (size_t i = 0; i < f->n; i++) {
        struct table_filter *t = &f->tables[i];
        const struct digest *d = is_filtered(t) ? digest_find(set, t->name) : NULL;
        if (!d)
            continue;
        struct digest_sum *sum = &set->v[d - set->v].sum;
        digest_sum_release(sum);
        *sum = t->through;
        t->through = (struct digest_sum){0};
    }
}
