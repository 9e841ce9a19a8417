#include "runner/result.h"

#include <stdlib.h>
#include <string.h>

#include "harness/base/cleanup.h"

const char *severity_name(enum severity s)
{
    static const char *const names[] = {
        [SEVERITY_NOTE] = "note",
        [SEVERITY_WARNING] = "warning",
        [SEVERITY_ERROR] = "error",
    };
    return names[s];
}

/* docs/findings.md explains each of these. */
const struct finding_id finding_ids[] = {
    {"upgrade-fails", SEVERITY_ERROR, "The upgrade fails on an empty database."},
    {"downgrade-fails", SEVERITY_ERROR, "The downgrade fails."},
    {"downgrade-missing", SEVERITY_ERROR, "There is no downgrade, or it holds nothing to run."},
    {"downgrade-leaves-trace", SEVERITY_ERROR,
     "After the downgrade the schema is not what it was before the upgrade."},
    {"upgrade-fails-on-rows", SEVERITY_ERROR,
     "The upgrade works on empty tables and fails as soon as they hold rows."},
    {"downgrade-fails-on-rows", SEVERITY_ERROR,
     "The downgrade works on empty tables and fails on rows."},
    {"rows-lost", SEVERITY_ERROR,
     "Rows that were there before the upgrade are gone after the downgrade."},
    {"rows-changed", SEVERITY_ERROR,
     "Values that were there before the upgrade are others after the downgrade."},
    {"rows-added", SEVERITY_ERROR,
     "After the downgrade there are rows that were not there before the upgrade."},
    {"sequence-changed", SEVERITY_ERROR,
     "After the downgrade a sequence gives values that it has given before."},
    {"reupgrade-fails", SEVERITY_ERROR,
     "The upgrade fails when it runs again after the downgrade."},
    {"reupgrade-differs", SEVERITY_ERROR,
     "The upgrade that runs again after the downgrade gives another schema than the first time."},
    {"descent-fails", SEVERITY_ERROR,
     "A downgrade that works right after its upgrade fails on the way from the head to the base."},
    {"descent-differs", SEVERITY_ERROR,
     "On the way from the head to the base the schema is not what it was on the way up."},
    {"straight-run-fails", SEVERITY_ERROR,
     "All upgrades in one go, as in production, fail where the single steps work."},
    {"straight-run-differs", SEVERITY_ERROR,
     "All upgrades in one go, as in production, give another schema than the single steps."},
    {"not-repeatable", SEVERITY_ERROR,
     "The revision works once and fails on a fresh database, so nothing after it could be "
     "checked."},
    {"half-applied", SEVERITY_WARNING, "The upgrade fails and leaves a part of its work behind."},
    {"leaves-transaction-open", SEVERITY_ERROR,
     "The revision begins a transaction and does not end it, so its work is rolled back."},
    {"invalid-index", SEVERITY_ERROR, "The revision leaves an invalid index that no query uses."},
    {"lossy-downgrade", SEVERITY_ERROR,
     "On the copy of production, the downgrade does not bring every row back."},
    {"breaks-running-code", SEVERITY_ERROR,
     "A query of the running application is no longer accepted after the revision."},
    {"invalid-index-left", SEVERITY_ERROR,
     "The revision left an invalid index on the copy of production."},
    {"budget-exceeded", SEVERITY_ERROR,
     "The rehearsal took more time, blocked longer or needed more room than belay.yaml allows."},
    {"expired-waiver", SEVERITY_ERROR, "A waiver or an ignored object has expired."},
    {"data-lost-by-design", SEVERITY_WARNING,
     "The upgrade drops a column or table that holds values, or clears away what a constraint that "
     "it adds refuses: no downgrade can bring them back."},
    {"upgrade-depends-on-data", SEVERITY_WARNING,
     "The upgrade works on plain rows and fails on others that the schema before it allows."},
    {"downgrade-depends-on-data", SEVERITY_WARNING,
     "The downgrade fails on some rows and works on others."},
    {"blocks-reads", SEVERITY_WARNING, "A lock that reads wait for was held for long."},
    {"blocks-writes", SEVERITY_WARNING, "A lock that writes wait for was held for long."},
    {"rewrites-table", SEVERITY_WARNING,
     "A big table was written anew, while nobody could use it."},
    {"long-validation", SEVERITY_WARNING,
     "A constraint was checked on every row of a big table, under a lock that others wait for."},
    {"not-null-scan", SEVERITY_WARNING,
     "A column became NOT NULL by reading a big table whole, under a lock that others wait for."},
    {"id-headroom", SEVERITY_WARNING,
     "The values of an integer key come near to what its type can hold."},
    {"column-order-differs", SEVERITY_WARNING,
     "After the downgrade the columns of a table stand in another order, and nothing else "
     "differs."},
    {"irreversible", SEVERITY_WARNING, "The downgrade raises an error on purpose."},
    {"nondeterministic", SEVERITY_WARNING,
     "Two runs of the same upgrade from the same state give different schemas."},
    {"multiple-heads", SEVERITY_WARNING,
     "The history has several heads, so \"head\" is ambiguous."},
    {"model-drift", SEVERITY_WARNING, "The project's models and what its revisions make differ."},
    {"changes-session", SEVERITY_WARNING,
     "The revision changes a setting of its session, which the next revision inherits."},
    {"unused-waiver", SEVERITY_WARNING,
     "A waiver, a \"belay: lossy\" comment or an ignored object covers nothing."},
    {"rows-not-generated", SEVERITY_NOTE,
     "A table that belay could make no rows for, so that it was empty in the check."},
    {"comment-differs", SEVERITY_NOTE,
     "After the downgrade a comment differs, and nothing else does."},
    {"whitespace-differs", SEVERITY_NOTE,
     "After the downgrade white space in a body differs, and nothing else does."},
    {0},
};

const struct finding_id *finding_id_find(const char *id)
{
    for (const struct finding_id *f = finding_ids; f->id; f++)
        if (strcmp(f->id, id) == 0)
            return f;
    return NULL;
}

bool finding_id_is_rehearsals(const char *id)
{
    static const char *const ids[] = {
        "blocks-reads",  "blocks-writes",      "breaks-running-code", "budget-exceeded",
        "id-headroom",   "invalid-index-left", "long-validation",     "lossy-downgrade",
        "not-null-scan", "rewrites-table",
    };
    for (size_t i = 0; i < ARRAY_LEN(ids); i++)
        if (strcmp(ids[i], id) == 0)
            return true;
    return false;
}

struct finding *result_add_finding(struct check_result *r, const char *id, const char *revision)
{
    r->findings = xgrow(r->findings, r->nfindings, &r->findings_cap, sizeof(*r->findings));
    struct finding *f = &r->findings[r->nfindings++];
    memset(f, 0, sizeof(*f));
    f->id = finding_id_find(id);
    if (!f->id)
        abort(); /* a finding id is a constant of the program: finding_ids[] lacks it */
    f->severity = f->id->severity;
    f->revision = xstrdup(revision);
    return f;
}

static void replace(char **to, const char *from)
{
    free(*to);
    *to = xstrdup(from);
}

void finding_from_err(struct finding *f, const struct err *e)
{
    replace(&f->message, e->message);
    replace(&f->hint, e->hint);
    replace(&f->statement, e->statement);
    replace(&f->detail, e->detail);
    replace(&f->trace, e->trace);
    memcpy(f->sqlstate, e->sqlstate, sizeof(f->sqlstate));
    if (e->file) {
        replace(&f->file, e->file);
        f->line = e->line;
        f->column = e->column;
    }
}

/* fnmatch() would give [ a meaning, and "integer[]" is an ordinary name here. */
bool object_matches(const char *pattern, const char *object)
{
    const char *star = NULL, *resume = NULL;
    while (*object) {
        if (*pattern == '*') {
            star = pattern++;
            resume = object;
        } else if (*pattern == '?' || *pattern == *object) {
            /* ? stands for a whole character */
            bool whole = *pattern == '?';
            pattern++;
            object++;
            while (whole && ((unsigned char)*object & 0xc0) == 0x80)
                object++;
        } else if (star) {
            pattern = star + 1;
            object = ++resume;
        } else {
            return false;
        }
    }
    while (*pattern == '*')
        pattern++;
    return !*pattern;
}

bool finding_matches_object(const struct finding *f, const char *pattern)
{
    for (size_t i = 0; i < f->nchanges; i++)
        if (object_matches(pattern, f->changes[i].object))
            return true;
    return false;
}

int result_worst(const struct check_result *r)
{
    int worst = -1;
    for (size_t i = 0; i < r->nfindings; i++)
        if (!r->findings[i].waived_reason && (int)r->findings[i].severity > worst)
            worst = (int)r->findings[i].severity;
    return worst;
}

size_t result_count(const struct check_result *r, enum severity s)
{
    size_t n = 0;
    for (size_t i = 0; i < r->nfindings; i++)
        n += !r->findings[i].waived_reason && r->findings[i].severity == s;
    return n;
}

size_t result_count_waived(const struct check_result *r)
{
    size_t n = 0;
    for (size_t i = 0; i < r->nfindings; i++)
        n += r->findings[i].waived_reason != NULL;
    return n;
}

static void finding_release(struct finding *f)
{
    for (size_t i = 0; i < f->nchanges; i++) {
        free(f->changes[i].object);
        free(f->changes[i].property);
        free(f->changes[i].before);
        free(f->changes[i].after);
        free(f->changes[i].text);
    }
    free(f->changes);
    free(f->revision);
    free(f->file);
    free(f->message);
    free(f->hint);
    free(f->statement);
    free(f->detail);
    free(f->trace);
    free(f->waived_reason);
    free(f->waived_expires);
}

void check_result_release(struct check_result *r)
{
    for (size_t i = 0; i < r->nfindings; i++)
        finding_release(&r->findings[i]);
    for (size_t i = 0; i < r->nrevisions; i++) {
        free(r->revisions[i].id);
        free(r->revisions[i].title);
        free(r->revisions[i].file);
        free(r->revisions[i].not_run_reason);
    }
    free(r->findings);
    free(r->revisions);
    free(r->project);
    free(r->format);
    free(r->engine);
    free(r->scratch);
    free(r->kept_url);
    free(r->straight_run);
    free(r->descent);
    memset(r, 0, sizeof(*r));
}
