#include "tests/rows_check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness/base/file.h"
#include "runner/roundtrip.h"
#include "tests/fixture.h"
#include "tests/migration_folder.h"

static char *folder_of(const struct sql *const *steps, size_t n)
{
    char *dir = folder_new();
    for (size_t i = 0; i < n; i++) {
        _cleanup_str_ struct str s = {0};
        const char *sections[] = {"-- migrate:up", "-- migrate:down"};
        const char *texts[] = {steps[i]->up, steps[i]->down};
        for (size_t k = 0; k < 2; k++) /* options stand on the marker's own line */
            str_addf(&s, "%s%s%s\n", sections[k],
                     str_starts(texts[k], "transaction:false") ? " " : "\n", texts[k]);
        _cleanup_free_ char *name = xasprintf("%zu_step.sql", i + 1);
        folder_write(dir, name, str_get(&s), s.len);
    }
    return dir;
}

/* "id revision: object, object; ..." without "public.". */
static char *findings_of(const struct check_result *r)
{
    struct str s = {0}, out = {0};
    for (size_t i = 0; i < r->nfindings; i++) {
        const struct finding *f = &r->findings[i];
        str_addf(&s, "%s%s %s", s.len ? "; " : "", f->id->id, f->revision ? f->revision : "-");
        if (f->waived_reason)
            str_addf(&s, " waived (%s)", f->waived_reason);
        for (size_t k = 0; k < f->nchanges; k++)
            str_addf(&s, "%s %s", k ? "," : ":", f->changes[k].object);
    }
    for (const char *p = str_get(&s); *p;) {
        if (str_starts(p, "public."))
            p += strlen("public.");
        else
            str_addc(&out, *p++);
    }
    str_release(&s);
    return str_take(&out);
}

static void print_findings(const struct check_result *r)
{
    for (size_t i = 0; getenv("BELAY_SHOW") && i < r->nfindings; i++) {
        const struct finding *f = &r->findings[i];
        printf("# %s:%d %s %s\n", f->file, f->line, f->id->id, f->message);
        for (size_t k = 0; k < f->nchanges; k++)
            printf("#     %s\n", f->changes[k].text);
    }
}

int rows_two_threads = -1;

void rows_check_folder(const char *name, const char *dir, const struct source_options *o,
                       const struct engine *e, const char *expected, const char *message)
{
    _cleanup_err_ struct err err = {0};
    _cleanup_source_ struct source *source = NULL;
    struct check_result r = {0};
    ck_assert_msg(source_open(o, &source, &err) == 0, "%s: %s", name, err.message);
    struct check_options c = {.source = source,
                              .engine = e,
                              .pool = fixture_pool(e),
                              .project = dir,
                              .two_threads = rows_two_threads,
                              .rows = 6,
                              .seed = 1,
                              .today = "2026-01-01"};
    ck_assert_msg(roundtrip_check(&c, &r, &err) == 0, "%s: %s", name, err.message);
    print_findings(&r);
    _cleanup_free_ char *found = findings_of(&r);
    ck_assert_msg(strcmp(found, expected) == 0, "%s (%s):\n  expected %s\n  found    %s\n  %s",
                  name, engine_name(e), expected, found, r.nfindings ? r.findings[0].message : "");
    bool said = !message;
    for (size_t i = 0; i < r.nfindings && !said; i++)
        said = strstr(r.findings[i].message, message) != NULL;
    ck_assert_msg(said, "%s (%s): \"%s\" does not say \"%s\"", name, engine_name(e),
                  r.findings[0].message, message);
    check_result_release(&r);
}

void rows_check_sql(const char *name, const struct sql *const *steps, size_t n,
                    const struct engine *e, const char *expected, const char *message)
{
    _cleanup_folder_ char *dir = folder_of(steps, n);
    rows_check_folder(name, dir, &(struct source_options){.dir = dir, .format = "dbmate"}, e,
                      expected, message);
}

const struct engine *rows_engine_of(int i, unsigned wanted)
{
    if (i % 2 == 0)
        return wanted & LITE ? &engine_sqlite : NULL;
    return wanted & PG ? &engine_postgres : NULL;
}
