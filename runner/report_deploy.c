/* A deploy as text and JSON, and what its reports have in common. */
#include "runner/report_deploy.h"

#include <stdlib.h>
#include <string.h>

#include "harness/base/cleanup.h"

deploy_report_fn report_deploy_find(const char *format)
{
    static const struct {
        const char *name;
        deploy_report_fn report;
    } reports[] = {
        {"text", report_deploy_text},
        {"json", report_deploy_json},
        {"html", report_deploy_html},
        {"markdown", report_deploy_markdown},
    };
    for (size_t i = 0; i < ARRAY_LEN(reports); i++)
        if (strcmp(reports[i].name, format) == 0)
            return reports[i].report;
    return NULL;
}

const char *report_or_base(const char *revisions)
{
    return revisions && *revisions ? revisions : "base";
}

const char *report_deploy_outcome(const struct deploy_report *r)
{
    static const char *const names[] = {[DEPLOY_OUTCOME_NOTHING] = "nothing",
                                        [DEPLOY_OUTCOME_DONE] = "done",
                                        [DEPLOY_OUTCOME_RESTORED] = "restored",
                                        [DEPLOY_OUTCOME_STUCK] = "stuck",
                                        [DEPLOY_OUTCOME_LOCKED] = "locked"};
    return r->aborted ? "aborted" : names[r->result->outcome];
}

enum mark report_deploy_mark(const struct deploy_report *r)
{
    if (r->aborted)
        return MARK_ERROR;
    switch (r->result->outcome) {
    case DEPLOY_OUTCOME_NOTHING:
    case DEPLOY_OUTCOME_DONE:
        return MARK_OK;
    case DEPLOY_OUTCOME_LOCKED:
        return MARK_NOT_RUN;
    case DEPLOY_OUTCOME_RESTORED:
    case DEPLOY_OUTCOME_STUCK:
        break;
    }
    return MARK_ERROR;
}

const char *report_deploy_verdict(const struct deploy_report *r)
{
    static const char *const words[] = {
        [DEPLOY_OUTCOME_NOTHING] = "nothing to deploy",
        [DEPLOY_OUTCOME_DONE] = "deployed",
        [DEPLOY_OUTCOME_RESTORED] = "the upgrade failed; the database is back as it was, proved",
        [DEPLOY_OUTCOME_STUCK] = "a person must look",
        [DEPLOY_OUTCOME_LOCKED] = "another deploy holds the lock",
    };
    return r->aborted ? "nothing was changed"
           : r->idle  ? "nothing to recover"
                      : words[r->result->outcome];
}

const char *report_rung(const struct deploy_report *r)
{
    static const struct {
        const char *rung, *tried, *proved;
    } rungs[] = {
        {"unchanged", "nothing of the upgrade was committed",
         "nothing of the upgrade was committed: the schema, the applied revisions and the rows of "
         "the tables that it wrote to are those of the bundle"},
        {"downgrade", "the revisions' own downgrades",
         "the revisions' own downgrades took back what was applied: the schema, the applied "
         "revisions and the rows of the tables that the upgrade wrote to are those of the bundle "
         "again"},
        {"twin", "the copy on the server, swapped in by rename",
         "the copy on the server was swapped in by rename, and is what the bundle recorded"},
        {"restore", "the bundle, restored beside and swapped in",
         "the bundle was restored beside, compared with what it recorded, and swapped in"},
    };
    const struct deploy_result *d = r->result;
    for (size_t i = 0; d->entry.rung && i < ARRAY_LEN(rungs); i++)
        if (strcmp(rungs[i].rung, d->entry.rung) == 0)
            return d->outcome == DEPLOY_OUTCOME_RESTORED ? rungs[i].proved : rungs[i].tried;
    return d->entry.rung;
}

/* ---- what is left ---- */

static void advise(struct deploy_advices *l, const char *label, const char *what, char *how)
{
    l->v[l->n++] = (struct deploy_advice){label, xstrdup(what), how};
}

void report_deploy_advices(const struct deploy_report *r, struct deploy_advices *ret)
{
    const struct deploy_result *d = r->result;
    const struct deploy_entry *e = &d->entry;
    bool postgres = str_eq(r->engine, "postgres");
    bool ended = !r->aborted && d->outcome != DEPLOY_OUTCOME_STUCK;
    if (e->bundle && (r->aborted || d->outcome != DEPLOY_OUTCOME_NOTHING))
        advise(ret, "bundle", e->bundle,
               xstrdup(
                   "the database before the upgrade; \"belay verify\" checks it, \"belay restore\" "
                   "makes a database of it"));
    if (e->evidence)
        advise(ret, "failed database", e->evidence,
               xstrdup(postgres ? "kept on the server for whoever looks for the cause; drop it then"
                                : "kept for whoever looks for the cause; remove it then"));
    if (d->exported)
        advise(ret, "rows of others", d->exported,
               xstrdup(postgres ? "written since the bundle was taken, and not in the database any "
                                  "more: CSV, a file a table, for you to load again"
                                : "written since the bundle was taken, and not in the database any "
                                  "more: the failed database whole, for you to copy them from"));
    if (e->twin && !ended && !r->aborted)
        advise(ret, "twin", e->twin,
               xstrdup("the database before the upgrade, on the same server; it stays until "
                       "\"belay recover\" has ended the deploy"));
    if (r->aborted)
        return;
    if (d->outcome == DEPLOY_OUTCOME_RESTORED)
        advise(ret, "next", NULL,
               xstrdup("correct the revision, prove it with \"belay check\", measure it with "
                       "\"belay rehearse\", and deploy again"));
    if (d->outcome == DEPLOY_OUTCOME_STUCK)
        advise(ret, "next", NULL,
               xstrdup("the database is neither proved old nor complete: do what the message says, "
                       "then \"belay recover\" goes on; \"belay status -v\" shows every step"));
    if (d->outcome == DEPLOY_OUTCOME_LOCKED)
        advise(ret, "next", NULL,
               xstrdup("wait for the other deploy, with --wait, or see \"belay status\""));
}

void deploy_advices_release(struct deploy_advices *l)
{
    for (size_t i = 0; i < l->n; i++) {
        free(l->v[i].what);
        free(l->v[i].how);
    }
    l->n = 0;
}

/* ---- text ---- */

void report_deploy_story(const struct deploy_report *r, struct str *out)
{
    for (size_t i = 0; i < r->result->words.n; i++) {
        _cleanup_free_ char *text = text_printable(r->result->words.v[i]);
        str_addf(out, "  %s\n", text);
    }
    if (!r->aborted && r->result->outcome == DEPLOY_OUTCOME_LOCKED)
        str_addf(out, "another deploy of %s holds the lock: %s\n", r->database, r->result->holder);
}

void report_deploy_failure(const struct deploy_report *r, struct str *out)
{
    const char *const lines[][2] = {{"", r->failure->message},
                                    {"  statement: ", r->failure->statement},
                                    {"  detail: ", r->failure->detail},
                                    {"  hint: ", r->failure->hint}};
    for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
        _cleanup_free_ char *text = text_printable(lines[i][1] ? lines[i][1] : "");
        if (*text)
            str_addf(out, "%s%s\n", lines[i][0], text);
    }
    report_deploy_story(r, out);
}

static void add_outcome(const struct deploy_report *r, struct str *out)
{
    const struct deploy_entry *e = &r->result->entry;
    if (r->idle) {
        str_addf(out, "nothing to recover: no deploy of %s was cut off\n", r->database);
        return;
    }
    switch (r->result->outcome) {
    case DEPLOY_OUTCOME_NOTHING:
        str_addf(out, "nothing to deploy: %s is at %s\n", r->database, report_or_base(e->from));
        break;
    case DEPLOY_OUTCOME_DONE:
        str_addf(out, "deployed %s: %s -> %s\n", r->database, report_or_base(e->from),
                 report_or_base(e->to));
        break;
    case DEPLOY_OUTCOME_RESTORED:
        str_addf(out, "%s is back at %s, proved equal to what it was\n", r->database,
                 report_or_base(e->from));
        break;
    case DEPLOY_OUTCOME_STUCK:
        str_addf(out, "%s needs a person: it is neither proved old nor complete\n", r->database);
        break;
    case DEPLOY_OUTCOME_LOCKED: /* on stderr */
        break;
    }
}

void report_deploy_text(const struct deploy_report *r, const struct report_options *o,
                        struct str *out)
{
    (void)o;
    const struct deploy_result *d = r->result;
    if (r->aborted)
        return; /* the error says all */
    add_outcome(r, out);
    if (d->entry.bundle && d->outcome != DEPLOY_OUTCOME_NOTHING)
        str_addf(out, "bundle: %s\n", d->entry.bundle);
    for (size_t i = 0; i < d->nphases; i++)
        str_addf(out, "%s%s %.1f s%s", i ? ", " : "", d->phases[i].name, d->phases[i].seconds,
                 i + 1 == d->nphases ? "\n" : "");
}

/* ---- JSON ---- */

json_t *report_entry_json(const struct deploy_entry *e)
{
    json_t *j = json_object();
    json_object_set_new(j, "id", json_integer(e->id));
    json_object_set_new(j, "state", json_string(deploy_state_name(e->state)));
    json_object_set_new(j, "database", report_string(e->database));
    json_object_set_new(j, "from", report_string(e->from));
    json_object_set_new(j, "to", report_string(e->to));
    json_object_set_new(j, "bundle", report_string(e->bundle));
    json_object_set_new(j, "twin", report_string(e->twin));
    json_object_set_new(j, "rung", report_string(e->rung));
    json_object_set_new(j, "evidence", report_string(e->evidence));
    json_object_set_new(j, "message", report_string(e->message));
    json_object_set_new(j, "host", report_string(e->host));
    json_object_set_new(j, "pid", json_integer(e->pid));
    json_object_set_new(j, "started", report_string(e->started));
    json_object_set_new(j, "finished", report_string(e->finished));
    return j;
}

void report_deploy_json(const struct deploy_report *r, const struct report_options *o,
                        struct str *out)
{
    const struct deploy_result *d = r->result;
    const struct err *f = r->failure;
    json_t *j = json_object(), *words = json_array(), *phases = json_object();
    for (size_t i = 0; i < d->words.n; i++)
        json_array_append_new(words, report_string(d->words.v[i]));
    for (size_t i = 0; i < d->nphases; i++)
        json_object_set_new(phases, d->phases[i].name, report_seconds_json(d->phases[i].seconds));
    json_object_set_new(j, "type", json_string("belay-deploy"));
    json_object_set_new(j, "version", json_integer(1));
    json_object_set_new(j, "outcome", json_string(report_deploy_outcome(r)));
    json_object_set_new(j, "exit_code", json_integer(o->exit_code));
    json_object_set_new(j, "deploy", report_entry_json(&d->entry));
    json_object_set_new(j, "failure", report_string(f->message));
    json_object_set_new(j, "file", report_string(f->file));
    json_object_set_new(j, "line", f->line ? json_integer(f->line) : json_null());
    json_object_set_new(j, "hint", report_string(f->hint));
    json_object_set_new(j, "details", report_string(f->trace));
    json_object_set_new(j, "holder", report_string(d->holder));
    json_object_set_new(j, "exported", report_string(d->exported));
    json_object_set_new(j, "words", words);
    json_object_set_new(j, "seconds", phases);
    report_add_json(j, out);
}
