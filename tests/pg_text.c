#include "tests/pg_text.h"

#include <string.h>

#include "harness/base/proc.h"
#include "harness/engine/pgprogram.h"
#include "tests/fixture.h"

char *pg_text(const char *url, const char *more)
{
    _cleanup_err_ struct err err = {0};
    _cleanup_free_ char *program = NULL;
    _cleanup_proc_result_ struct proc_result r = {0};
    ASSERT_OK(pg_program_find("pg_dump", 12, &program, NULL, &err), &err);
    const char *argv[] = {program, "--dbname", url, more, NULL};
    ASSERT_OK(proc_run(&(struct proc_options){.argv = argv}, &r, &err), &err);
    ck_assert_msg(r.status == 0, "%s", str_get(&r.errors));
    struct str out = {0};
    const char *p = str_get(&r.output);
    while (*p) {
        size_t n = strcspn(p, "\n");
        if (!str_starts(p, "\\restrict") && !str_starts(p, "\\unrestrict"))
            str_addn(&out, p, n + (p[n] == '\n'));
        p += n + (p[n] == '\n');
    }
    return str_take(&out);
}

/* Rows of a table may come back in another order: lines are compared sorted. */
static int by_line(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static char *sorted_lines(const char *text)
{
    _cleanup_strv_ struct strv lines = {0};
    while (*text) {
        size_t n = strcspn(text, "\n");
        strv_add_take(&lines, xstrndup(text, n));
        text += n + (text[n] == '\n');
    }
    if (lines.n)
        qsort(lines.v, lines.n, sizeof(*lines.v), by_line);
    return strv_join(&lines, "\n");
}

void pg_must_be_same_text(const char *url_a, const char *url_b)
{
    _cleanup_free_ char *a = pg_text(url_a, "--section=pre-data"),
                        *b = pg_text(url_b, "--section=pre-data");
    _cleanup_free_ char *c = pg_text(url_a, "--section=post-data"),
                        *d = pg_text(url_b, "--section=post-data");
    ck_assert_str_eq(a, b);
    ck_assert_str_eq(c, d);
    _cleanup_free_ char *e = pg_text(url_a, "--section=data"),
                        *f = pg_text(url_b, "--section=data");
    _cleanup_free_ char *g = sorted_lines(e), *h = sorted_lines(f);
    ck_assert_str_eq(g, h);
}
