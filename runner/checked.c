#include "runner/checked.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "harness/base/cleanup.h"
#include "harness/base/file.h"

/* The line of a revision, with its end. */
static int add_line(const char *id, const char *file, struct str *s, struct err *err)
{
    unsigned char hash[32];
    char hex[2 * sizeof(hash) + 1];
    size_t len;
    _cleanup_free_ char *text = NULL;
    if (file_read_text(file, &text, &len, err) < 0)
        return -1;
    crypto_generichash(hash, sizeof(hash), (const unsigned char *)text, len, NULL, 0);
    sodium_bin2hex(hex, sizeof(hex), hash, sizeof(hash));
    str_addf(s, "%s %s\n", hex, id);
    return 0;
}

int checked_write(const char *path, const struct check_result *r, struct err *err)
{
    _cleanup_str_ struct str s = {0};
    for (size_t i = 0; i < r->nrevisions; i++) {
        const struct revision_result *v = &r->revisions[i];
        if ((v->status == REVISION_OK || v->status == REVISION_FINDINGS) &&
            add_line(v->id, v->file, &s, err) < 0)
            return -1;
    }
    return file_replace(path, str_get(&s), s.len, 0644, err);
}

/* The line stands in the text from the beginning of a line on. */
static bool has_line(const char *text, const char *line)
{
    const char *p = strstr(text, line);
    return p && (p == text || p[-1] == '\n');
}

int checked_admit(void *data, const struct revisions *pending, struct err *err)
{
    const char *path = data;
    size_t len;
    _cleanup_free_ char *text = NULL;
    _cleanup_strv_ struct strv missing = {0};
    if (file_read_text(path, &text, &len, err) < 0)
        return err_prefix(err, "--require-check");
    for (size_t i = 0; i < pending->n; i++) {
        _cleanup_str_ struct str line = {0};
        if (add_line(pending->v[i]->id, pending->v[i]->file, &line, err) < 0)
            return -1;
        if (!has_line(text, str_get(&line)))
            strv_add(&missing, pending->v[i]->id);
    }
    if (!missing.n)
        return 0;
    _cleanup_free_ char *names = strv_join(&missing, ", ");
    err_set(err, ERR_SOURCE, "no check has passed %s as it is now, says %s", names, path);
    return err_hint(err, "run \"belay check --record %s\" and deploy what it has seen", path);
}
