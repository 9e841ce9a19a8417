#include "tests/rich_results.h"

#include <string.h>

#include "harness/base/cleanup.h"

const char hostile_text[] =
    "</pre></code><script>alert(1)</script><img src=x onerror=alert(1)>\"'&`@all \x1b[31m\x01\xff "
    "\xe2\x80\xae"
    "desrever\xe2\x80\xac ]]><!-- ";

static const char long_name[] =
    "public.a_table_whose_name_goes_on_for_as_long_as_postgresql_lets_names_go_on_and_on";

/* ---- a check ---- */

static struct revision_result *add_revision(struct check_result *r, const char *id,
                                            const char *title, enum revision_status status)
{
    r->revisions = xgrow(r->revisions, r->nrevisions, &r->revisions_cap, sizeof(*r->revisions));
    struct revision_result *rev = &r->revisions[r->nrevisions++];
    *rev = (struct revision_result){
        .id = xstrdup(id),
        .title = xstrdup(title),
        .file = xasprintf("migrations/versions/%s_%s.py", id, "add_things"),
        .status = status,
        .up_seconds = 0.0021 * (double)(r->nrevisions * r->nrevisions),
        .down_seconds = 0.0004 * (double)r->nrevisions,
    };
    return rev;
}

void rich_change(struct finding *f, const char *object, const char *property, const char *before,
                 const char *after)
{
    f->changes = xgrow(f->changes, f->nchanges, &f->changes_cap, sizeof(*f->changes));
    f->changes[f->nchanges++] = (struct finding_change){
        .object = xstrdup(object),
        .property = xstrdup(property),
        .before = xstrdup(before),
        .after = xstrdup(after),
        .text = property ? xasprintf("%s: %s %s -> %s", object, property, before, after)
                : before ? xasprintf("- %s", object)
                         : xasprintf("+ %s", object),
    };
}

static struct finding *add_finding(struct check_result *r, const char *id, const char *revision,
                                   const char *message)
{
    struct finding *f = result_add_finding(r, id, revision);
    f->message = xstrdup(message);
    f->file = xstrdup("migrations/versions/0003_posts.py");
    f->line = 19;
    f->hint = xstrdup("do it in two steps: add it NOT VALID, then VALIDATE it in a revision of its "
                      "own, which lets others read and write meanwhile");
    return f;
}

void rich_check(struct check_result *r)
{
    *r = (struct check_result){
        .project = xstrdup("services/blog/migrations"),
        .format = xstrdup("alembic"),
        .engine = xstrdup("postgres"),
        .scratch = xstrdup("private PostgreSQL 15.18 on /dev/shm"),
        .nsteps = 31,
        .seconds = 12.4,
        .rows = 6,
        .straight_run = xstrdup("equal"),
        .descent = xstrdup("equal"),
    };
    add_revision(r, "ae10f4c2d7b1", "create users", REVISION_OK);
    add_revision(r, "b7", "posts belong to users, and go when the user goes", REVISION_OK);
    add_revision(r, hostile_text, hostile_text, REVISION_FINDINGS);
    add_revision(r, "d9_with_an_identifier_that_is_as_long_as_whole_sentences_are_and_has_no_blank",
                 "naïve 日本語", REVISION_FINDINGS);
    for (int i = 0; i < 6; i++)
        add_revision(r, "e1", "only upgraded", REVISION_REPLAYED)->down_seconds = 0;
    struct revision_result *last = add_revision(r, "f2", "tags", REVISION_NOT_RUN);
    last->up_seconds = last->down_seconds = 0;
    last->not_run_reason = xstrdup(hostile_text);

    struct finding *f = add_finding(r, "downgrade-leaves-trace", hostile_text, hostile_text);
    f->statement =
        xasprintf("ALTER TABLE %s ADD COLUMN x text DEFAULT '%s'", long_name, hostile_text);
    f->detail = xstrdup(hostile_text);
    f->trace = xstrdup("Traceback (most recent call last):\n  File \"env.py\", line 3\n");
    rich_change(f, hostile_text, "on delete", hostile_text, "NO ACTION");
    rich_change(f, long_name, NULL, NULL, "");
    for (int i = 0; i < 20; i++)
        rich_change(f, "column public.posts.slug", "type", "character varying(255)", "text");
    f = add_finding(r, "irreversible", "b7", "the downgrade raises: cannot be undone");
    f->waived_reason = xstrdup(hostile_text);
    f = add_finding(r, "column-order-differs", "b7", "the columns stand in another order");
    f->severity = SEVERITY_WARNING;
    add_finding(r, "straight-run-differs", NULL, "the schema after all upgrades is another one");
}

/* ---- a rehearsal ---- */

static size_t add_statement(struct measures *m, const char *text, double start, double seconds,
                            int64_t rows)
{
    m->statements =
        xgrow(m->statements, m->nstatements, &m->statements_cap, sizeof(*m->statements));
    m->statements[m->nstatements] = (struct measured_statement){
        .text = xstrdup(text),
        .file = xstrdup("migrations/versions/0003_posts.py"),
        .line = 19,
        .start = start,
        .seconds = seconds,
        .rows = rows,
        .wal = 1 << 20,
        .pages = MEASURE_UNKNOWN,
    };
    return m->nstatements++;
}

static void add_lock(struct measures *m, const char *relation, const char *mode,
                     enum lock_blocks blocks, double from, double until, size_t statement)
{
    m->locks = xgrow(m->locks, m->nlocks, &m->locks_cap, sizeof(*m->locks));
    m->locks[m->nlocks++] = (struct measured_lock){
        .relation = xstrdup(relation),
        .kind = xstrdup("table"),
        .mode = xstrdup(mode),
        .blocks = blocks,
        .from = from,
        .until = until,
        .bytes = (int64_t)512 << 20,
        .statement = statement,
    };
}

static void add_wait(struct measures *m, const char *table, bool writer, double seconds,
                     size_t statement)
{
    m->waits = xgrow(m->waits, m->nwaits, &m->waits_cap, sizeof(*m->waits));
    m->waits[m->nwaits++] = (struct measured_wait){xstrdup(table), writer, 0.1, seconds, statement};
}

static void measure(struct rehearsed *step, size_t i)
{
    struct measures *m = &step->up.measures;
    double all = step->up.seconds;
    *m = (struct measures){.seconds = all,
                           .before = (int64_t)900 << 20,
                           .after = ((int64_t)900 << 20) + ((int64_t)i << 22),
                           .peak = (int64_t)1 << 30,
                           .wal = (int64_t)30 << 20,
                           .tries = 400};
    size_t first = add_statement(m, "SET lock_timeout = '2s'", 0, 0.0004, MEASURE_UNKNOWN);
    size_t at = add_statement(
        m, "CREATE INDEX posts_author_created_idx ON public.posts USING btree (author_id, created)",
        0.0005, all / 3, MEASURE_UNKNOWN);
    add_lock(m, "public.posts", "ShareLock", LOCK_BLOCKS_WRITES, 0.0005, all, at);
    if (i == 1)
        return;
    at =
        add_statement(m,
                      "UPDATE public.posts SET slug = lower(regexp_replace(title, '[^a-zA-Z0-9]+', "
                      "'-', 'g')) || '-' || id\nWHERE slug IS NULL\n  AND created > now() - "
                      "interval '10 years'\n  AND author_id IN (SELECT id FROM public.users WHERE "
                      "active)",
                      all / 3, all / 3, 1234567);
    add_lock(m, long_name, "AccessExclusiveLock", LOCK_BLOCKS_READS, all / 3, all * 0.9, at);
    add_lock(m, "public.users", "RowExclusiveLock", LOCK_BLOCKS_NOTHING, all / 3, all, at);
    add_wait(m, long_name, false, all / 2, at);
    add_wait(m, "public.posts", true, all / 4, first);
    m->rewrites = xgrow(m->rewrites, 0, &m->rewrites_cap, sizeof(*m->rewrites));
    m->rewrites[m->nrewrites++] = (struct measured_rewrite){
        xstrdup("public.posts"), xstrdup("table"), (int64_t)400 << 20, (int64_t)420 << 20, at};
    if (i != 3)
        return;
    at = add_statement(m, hostile_text, all * 0.9, all / 10, 3);
    m->statements[at].failed = true;
    add_lock(m, hostile_text, "AccessExclusiveLock", LOCK_BLOCKS_READS, all * 0.9, all, at);
    add_wait(m, hostile_text, true, 0.01, at);
    m->invalid_indexes = xgrow(NULL, 0, &m->invalid_cap, sizeof(*m->invalid_indexes));
    m->invalid_indexes[m->ninvalid++] = xstrdup(hostile_text);
    for (int k = 0; k < 30; k++)
        add_statement(m, "INSERT INTO public.tags (name) VALUES ('a')", all * 0.9, 0.0001, 1);
}

void rich_rehearsal(struct rehearsal *r)
{
    static const struct {
        const char *id, *title;
        double up;
    } revisions[] = {
        {"0002", "users have a display name", 0.4},
        {"0003", "an index for the front page", 11.2},
        {"0004_with_an_identifier_that_is_as_long_as_whole_sentences_are", "slugs", 38.5},
        {"0005", hostile_text, 2.25},
        {"0006", "tags", 0.031},
        {"0007", "what needs tags", 0},
    };
    size_t n = ARRAY_LEN(revisions);
    *r = (struct rehearsal){
        .basis = {.from = xstrdup("postgresql://belay@db.example.org/app"),
                  .kind = xstrdup("database"),
                  .taken = xstrdup("2026-11-20 22:30:00Z"),
                  .server = xstrdup("PostgreSQL 15.18"),
                  .copy_server = xstrdup("private PostgreSQL 15.18 on /dev/shm"),
                  .bytes = (int64_t)12 << 30,
                  .rows = 123456789,
                  .copy_bytes = (int64_t)11 << 30,
                  .copy_rows = 123456789,
                  .sample = 100,
                  .seconds = 312},
        .from = xstrdup("0001"),
        .to = xstrdup("0007"),
        .steps = xcalloc(n, sizeof(*r->steps)),
        .budgets = {.max_blocked = 2},
        .growth = (int64_t)60 << 20,
        .peak = (int64_t)480 << 20,
        .descent = xstrdup("differs"),
        .reupgrade = xstrdup("equal"),
    };
    struct check_result *c = &r->check;
    c->project = xstrdup("services/blog/migrations");
    c->format = xstrdup("alembic");
    c->engine = xstrdup("postgres");
    strv_add(&r->basis.read, "every table, in one read transaction, under a lock timeout of 2 s");
    strv_add(&r->basis.limits, "the copy has no other load than one reader and one writer a table");
    strv_add(&r->basis.limits, hostile_text);
    for (size_t i = 0; i < n; i++) {
        bool ran = i + 1 < n;
        struct rehearsed *step = &r->steps[i];
        struct revision_result *rev = add_revision(c, revisions[i].id, revisions[i].title,
                                                   !ran             ? REVISION_NOT_RUN
                                                   : i > 0 && i < 4 ? REVISION_FINDINGS
                                                                    : REVISION_OK);
        rev->up_seconds = step->up.seconds = revisions[i].up;
        step->up.ran = step->up.worked = ran;
        step->down = (struct rehearsed_pass){.ran = ran, .worked = i != 3, .seconds = 0.2};
        step->again = (struct rehearsed_pass){.ran = ran, .worked = ran, .seconds = 0.3};
        r->up_seconds += revisions[i].up;
        if (!ran)
            continue;
        measure(step, i);
        for (size_t k = 0; k < (i == 2 ? 40 : 2); k++)
            strv_add(&step->changes, k % 2 ? "- column public.posts.body"
                                           : "+ index public.posts_author_created_idx");
        strv_add(&step->changes, i == 3 ? hostile_text : long_name);
    }
    add_finding(c, "blocks-writes", "0003",
                "creating posts_author_created_idx let nobody write to public.posts for 11.2 s")
        ->statement = xstrdup("CREATE INDEX posts_author_created_idx ON public.posts");
    add_finding(c, "rewrites-table", revisions[2].id, "public.posts (400 MB) was written anew");
    add_finding(c, "lossy-downgrade", "0005", hostile_text)->detail = xstrdup(hostile_text);
}

/* ---- a deploy ---- */

static void add_phase(struct deploy_result *d, const char *name, double seconds)
{
    d->phases = xgrow(d->phases, d->nphases, &d->phases_cap, sizeof(*d->phases));
    d->phases[d->nphases++] = (struct deploy_phase){xstrdup(name), seconds};
}

void rich_deploy(enum deploy_outcome outcome, struct rich_deploy *ret)
{
    struct deploy_result *d = &ret->result;
    bool failed = outcome == DEPLOY_OUTCOME_RESTORED || outcome == DEPLOY_OUTCOME_STUCK;
    *ret = (struct rich_deploy){0};
    d->outcome = outcome;
    d->entry = (struct deploy_entry){
        .id = 17,
        .state = outcome == DEPLOY_OUTCOME_STUCK ? DEPLOY_STUCK : DEPLOY_RESTORED,
        .database = xstrdup("postgresql://app@db.example.org/app"),
        .engine = xstrdup("postgres"),
        .project = xstrdup("services/blog/migrations"),
        .from = xstrdup("0001"),
        .to = xstrdup("0007_with_an_identifier_that_is_as_long_as_whole_sentences_are"),
        .host = xstrdup("build-7"),
        .pid = 4711,
        .started = xstrdup("2026-11-21T04:30:00Z"),
        .finished = xstrdup("2026-11-21T04:31:12Z"),
    };
    add_phase(d, "preflight", 0.4);
    add_phase(d, "bundle", 21.7);
    add_phase(d, "upgrade", 3.2);
    if (outcome != DEPLOY_OUTCOME_NOTHING)
        d->entry.bundle = xstrdup("/var/lib/belay/app-before-17-20261121T043000Z.belay");
    if (outcome == DEPLOY_OUTCOME_LOCKED)
        d->holder = xstrdup(hostile_text);
    if (failed) {
        d->entry.rung = xstrdup("restore");
        d->entry.evidence = xstrdup("app_failed_17_20261121T043112Z");
        d->exported = xstrdup("/var/lib/belay/app-before-17-20261121T043000Z.belay.lost");
        err_set(&d->failure, ERR_SQL, "upgrade of 0005: %s", hostile_text);
        err_hint(&d->failure, "%s", hostile_text);
        err_at(&d->failure, "migrations/versions/0005_slugs.py", 31, 5);
        d->failure.statement = xasprintf("UPDATE %s SET a = '%s'", long_name, hostile_text);
        d->failure.detail = xstrdup(hostile_text);
        d->failure.trace = xasprintf("Traceback:\n  %s\n", hostile_text);
        memcpy(d->failure.sqlstate, "40P01", 6);
        add_phase(d, "roll back", 41.3);
        strv_add(&d->words, "the downgrade of 0004 failed; the next rung was tried");
        strv_add(&d->words, hostile_text);
    }
    ret->report = (struct deploy_report){
        .command = "deploy",
        .database = "postgresql://app@db.example.org/app",
        .project = "services/blog/migrations",
        .engine = "postgres",
        .result = d,
        .failure = &d->failure,
    };
}

void rich_deploy_release(struct rich_deploy *d)
{
    deploy_result_release(&d->result);
}
