#include "runner/output.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "harness/base/cleanup.h"
#include "harness/base/file.h"
#include "harness/base/str.h"

int output_write(const char *path, const char *text, struct err *err)
{
    if (!path) {
        fputs(text, stdout);
        /* EPIPE: the reader has seen enough */
        return fflush(stdout) == 0 || errno == EPIPE ? 0 : err_errno(err, "cannot write to stdout");
    }
    struct stat st;
    if (stat(path, &st) < 0 || S_ISREG(st.st_mode))
        return file_replace(path, text, strlen(text), 0644, err);
    /* a rename would put a file in the place of a pipe */
    _cleanup_fclose_ FILE *f = fopen(path, "we");
    if (!f || fputs(text, f) == EOF || fflush(f) != 0)
        return err_errno(err, "cannot write %s", path);
    return 0;
}

static void add(struct outputs *o, const char *format, const char *path)
{
    o->v = xgrow(o->v, o->n, &o->cap, sizeof(*o->v));
    o->v[o->n++] = (struct output){format, path && strcmp(path, "-") == 0 ? NULL : path};
}

static const char *format_of_name(const char *path)
{
    static const struct {
        const char *ending, *format;
    } endings[] = {
        {".html", "html"},   {".json", "json"}, {".md", "markdown"},
        {".sarif", "sarif"}, {".txt", "text"},  {".xml", "junit"},
    };
    for (size_t i = 0; i < ARRAY_LEN(endings); i++)
        if (str_ends(path, endings[i].ending))
            return endings[i].format;
    return NULL;
}

int outputs_plan(const struct settings *s, struct outputs *ret, struct err *err)
{
    const char *pending = NULL;
    for (size_t i = 0; i < s->n; i++) {
        const struct setting *v = &s->v[i];
        if (!settings_wins(s, v))
            continue;
        if (v->option == OPT_REPORT) {
            if (pending)
                add(ret, pending, NULL);
            pending = v->value;
        } else if (v->option == OPT_OUTPUT) {
            const char *format = pending ? pending : format_of_name(v->value);
            if (!format) {
                err_set(err, ERR_USAGE, "which report should go to %s?", v->value);
                return err_hint(err, "put --format text, json or another report before --output");
            }
            add(ret, format, v->value);
            pending = NULL;
        }
    }
    if (pending)
        add(ret, pending, NULL);
    size_t on_stdout = 0;
    for (size_t i = 0; i < ret->n; i++)
        on_stdout += ret->v[i].path == NULL;
    if (on_stdout > 1) {
        err_set(err, ERR_USAGE, "two reports cannot share stdout");
        return err_hint(err, "put --output FILE after one --format");
    }
    if (!on_stdout)
        add(ret, "text", NULL);
    return 0;
}

void outputs_release(struct outputs *o)
{
    free(o->v);
    memset(o, 0, sizeof(*o));
}
