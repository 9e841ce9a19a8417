#include "tests/deploy_world.h"

#include <jansson.h>

#include "tests/alembic_project.h"
#include "tests/migration_folder.h"

const char *const kind_names[] = {"SQL folder", "Alembic"};

/* ---- a user with a project and a database ---- */

static const struct change first = {
    "create table people (id integer primary key, name text not null, born int)",
    "drop table people", false};

const struct change two_changes[] = {
    {"alter table people add column mail text\nupdate people set mail = name || '@x'",
     "alter table people drop column mail", false},
    {"create table towns (id integer primary key)\ninsert into towns values (7)",
     "drop table towns", false},
    {0},
};

static void folder_revision(const char *dir, int n, const struct change *c)
{
    _cleanup_str_ struct str s = {0};
    const char *off = c->no_transaction ? " transaction:false" : "";
    str_addf(&s, "-- revision: r%d\n", n);
    if (n > 1)
        str_addf(&s, "-- revises: r%d\n", n - 1);
    for (int down = 0; down < (c->down ? 2 : 1); down++) {
        str_addf(&s, "-- %s%s\n", down ? "downgrade" : "upgrade", off);
        for (const char *p = down ? c->down : c->up; *p;) {
            size_t len = strcspn(p, "\n");
            str_addf(&s, "%.*s;\n", (int)len, p);
            p += len + (p[len] == '\n');
        }
    }
    _cleanup_free_ char *name = xasprintf("m/r%d.sql", n);
    folder_write(dir, name, str_get(&s), s.len);
}

static char *python_body(const char *sql)
{
    struct str s = {0};
    if (!sql || !*sql)
        return xstrdup("pass");
    for (const char *p = sql; *p;) {
        size_t len = strcspn(p, "\n");
        str_addf(&s, "op.execute(\"\"\"%.*s\"\"\")\n", (int)len, p);
        p += len + (p[len] == '\n');
    }
    return str_take(&s);
}

/* changes follow `first` and end with up NULL. */
static char *alembic_folder(const struct change *changes)
{
    struct rev revs[8] = {{0}};
    size_t n = 0;
    for (const struct change *c = &first; c->up; c = n == 1 ? changes : c + 1) {
        revs[n] = (struct rev){
            .id = xasprintf("r%zu", n + 1),
            .head = n ? xasprintf("down_revision = 'r%zu'", n) : xstrdup("down_revision = None"),
            .up = python_body(c->up),
            .down = c->down ? python_body(c->down) : NULL,
        };
        n++;
    }
    _cleanup_free_ char *env = env_with(sync_env, "");
    char *dir = project_write("sqlite", env, revs);
    for (size_t i = 0; i < n; i++) {
        free((char *)revs[i].id);
        free((char *)revs[i].head);
        free((char *)revs[i].up);
        free((char *)revs[i].down);
    }
    return dir;
}

struct run belay(const struct world *w, const char *args)
{
    return belay_with(w, NULL, args);
}

struct run belay_with(const struct world *w, const char *const *more, const char *args)
{
    _cleanup_free_ char *url = xasprintf("DATABASE_URL=%s", w->url);
    const char *env[8] = {url, "BELAY_PYTHON=" PYTHON};
    size_t n = 2;
    if (w->kind == FOLDER)
        env[n++] = "BELAY_DIR=m";
    for (; more && *more && n + 1 < ARRAY_LEN(env); more++)
        env[n++] = *more;
    return belay_run(w->dir, env, args);
}

/* part NULL: any output. */
void expect_run(const struct world *w, const char *args, int status, const char *part)
{
    _cleanup_run_ struct run r = belay(w, args);
    ck_assert_msg(r.r.status == status, "not %d: " SAID, status, SAID_ARGS(w, args, r));
    ck_assert_msg(!part || strstr(r.out, part) || strstr(r.errors, part), "no \"%s\": " SAID, part,
                  SAID_ARGS(w, args, r));
}

/* A program that must work; its output, owned by the caller. */
char *output_of(const char *const *argv)
{
    _cleanup_proc_result_ struct proc_result r = {0};
    _cleanup_err_ struct err err = {0};
    ASSERT_OK(proc_run(&(struct proc_options){.argv = argv}, &r, &err), &err);
    ck_assert_msg(r.status == 0, "%s: %s", argv[0], str_get(&r.errors));
    return xstrdup(str_get(&r.output));
}

/* Everything that the database holds, as SQLite's own shell writes it. */
char *dump(const struct world *w)
{
    return output_of((const char *const[]){"sqlite3", w->path, ".dump", NULL});
}

void sql(const struct world *w, const char *text)
{
    free(output_of((const char *const[]){"sqlite3", "-bail", w->path, text, NULL}));
}

void expect_sql(const struct world *w, const char *query, const char *value)
{
    _cleanup_free_ char *got = output_of((const char *const[]){"sqlite3", w->path, query, NULL});
    got[strcspn(got, "\n")] = '\0';
    ck_assert_msg(strcmp(got, value) == 0, "%s: %s, not %s", query, got, value);
}

/* At revision r1, with rows; changes are pending. */
void world_open(struct world *w, enum kind kind, const struct change *changes)
{
    w->kind = kind;
    if (kind == ALEMBIC) {
        w->dir = alembic_folder(changes);
    } else {
        w->dir = folder_new();
        folder_revision(w->dir, 1, &first);
        for (int n = 0; changes[n].up; n++)
            folder_revision(w->dir, n + 2, &changes[n]);
    }
    w->path = path_join(w->dir, "d.db");
    w->url = xasprintf("sqlite:///%s", w->path);
    expect_run(w, "upgrade r1 -q", 0, NULL);
    sql(w, "with recursive n(i) as (select 1 union all select i + 1 from n where i < 300)"
           " insert into people select i, 'name ' || i, 1900 + i % 100 from n");
}

void world_close(struct world *w)
{
    free(w->url);
    free(w->path);
    folder_free(&w->dir);
}

/* ---- the journal ---- */

/* A member of the newest deploy, "null" for none; owned by the caller. */
char *newest(const struct world *w, const char *member)
{
    _cleanup_run_ struct run r = belay(w, "status --format json");
    json_error_t e;
    json_t *j = json_loads(r.out, 0, &e);
    ck_assert_msg(j != NULL, SAID, SAID_ARGS(w, "status", r));
    const json_t *first_of = json_array_get(json_object_get(j, "deploys"), 0);
    const char *text = json_string_value(json_object_get(first_of, member));
    char *copy = xstrdup(text ? text : "null");
    json_decref(j);
    return copy;
}

void expect_newest(const struct world *w, const char *member, const char *value)
{
    _cleanup_free_ char *got = newest(w, member);
    ck_assert_msg(strcmp(got, value) == 0, "%s: %s is %s, not %s", kind_names[w->kind], member, got,
                  value);
}

size_t deploys(const struct world *w)
{
    _cleanup_run_ struct run r = belay(w, "status --format json");
    json_t *j = json_loads(r.out, 0, NULL);
    size_t n = json_array_size(json_object_get(j, "deploys"));
    json_decref(j);
    return n;
}
