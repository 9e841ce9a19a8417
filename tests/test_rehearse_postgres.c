/* Hazards on PostgreSQL, planted and told apart from their safe twins by what they do, not by how long
 * it takes: every table counts as big here, and no lock as long. */
#include <string.h>

#include "tests/rehearse_world.h"

static const struct file tables[] = {
    {"migrations/1_tables.up.sql",
     "create table teams (id integer primary key, name text);\n"
     "create table users (id integer primary key, email varchar(50), age "
     "integer, team integer, bio text);"},
    {"migrations/1_tables.down.sql", "drop table users; drop table teams;"},
    {NULL, NULL},
};

static const char rows[] =
    "insert into teams select i, 't' || i from generate_series(1, 100) i;"
    "insert into users select i, 'u' || i, i % 90, i % 100 + 1, repeat('b', 100) from "
    "generate_series(1, 20000) i;"
    "vacuum analyze users; vacuum analyze teams;";

/* One pending revision, or two where the safe way needs them. */
struct hazard {
    const char *name;
    const char *id; /* NULL: a safe twin, nothing at all is found */
    const char *up, *down;
    const char *up_after, *down_after; /* of a third revision, or NULL */
};

static const struct hazard hazards[] = {
    {"an index is built", "blocks-writes", "create index users_email on users (email);",
     "drop index users_email;", NULL, NULL},
    {"an index is built concurrently", NULL,
     "create index concurrently users_email on users (email);",
     "drop index concurrently users_email;", NULL, NULL},
    {"a type changes its storage", "rewrites-table",
     "alter table users alter column age type bigint;",
     "alter table users alter column age type integer;", NULL, NULL},
    {"a column comes with a volatile default", "rewrites-table",
     "alter table users add column token uuid default gen_random_uuid();",
     "alter table users drop column token;", NULL, NULL},
    {"a column comes with a constant default", NULL,
     "alter table users add column state text not null default 'new';",
     "alter table users drop column state;", NULL, NULL},
    {"a type becomes wider without a rewrite", NULL,
     "alter table users alter column email type varchar(500);",
     "alter table users alter column email type varchar(50);", NULL, NULL},
    {"a column becomes NOT NULL", "not-null-scan",
     "alter table users alter column email set not null;",
     "alter table users alter column email drop not null;", NULL, NULL},
    {"a column becomes NOT NULL by a valid CHECK", NULL,
     "alter table users add constraint email_there check (email is not null) not valid;",
     "alter table users drop constraint email_there;",
     "alter table users validate constraint email_there;", "select 1;"},
    {"a CHECK is added", "long-validation",
     "alter table users add constraint grown check (age < 100);",
     "alter table users drop constraint grown;", NULL, NULL},
    {"a foreign key is added", "long-validation",
     "alter table users add constraint in_team foreign key (team) references teams (id);",
     "alter table users drop constraint in_team;", NULL, NULL},
    {"a foreign key is added and validated later", NULL,
     "alter table users add constraint in_team foreign key (team) references teams (id) not valid;",
     "alter table users drop constraint in_team;", "alter table users validate constraint in_team;",
     "select 1;"},
    {"a foreign key is validated in the same transaction", "long-validation",
     "alter table users add constraint in_team foreign key (team) references teams (id) not valid;"
     "alter table users validate constraint in_team;",
     "alter table users drop constraint in_team;", NULL, NULL},
    {"rows are counted under a lock that readers wait for", "blocks-reads",
     "alter table users add column n integer; select count(*) from users;",
     "alter table users drop column n;", NULL, NULL},
    {"all rows are changed at once", "blocks-writes", "update users set bio = bio || 'x';",
     "update users set bio = left(bio, 100);", NULL, NULL},
    {"some rows are changed", NULL, "update users set bio = bio || 'x' where id < 10;",
     "update users set bio = left(bio, 100) where id < 10;", NULL, NULL},
};

static const struct hazard *open_hazard(struct world *w, int i)
{
    const struct hazard *h = &hazards[i];
    world_open(w, &engine_postgres, tables, 1, rows);
    const struct file files[] = {
        {"migrations/2_hazard.up.sql", h->up},
        {"migrations/2_hazard.down.sql", h->down},
        {h->up_after ? "migrations/3_after.up.sql" : NULL, h->up_after},
        {"migrations/3_after.down.sql", h->down_after},
        {NULL, NULL},
    };
    world_add(w, files);
    w->thresholds = (struct rehearsal_thresholds){.long_lock = 1e9, .big_table = 1 << 20};
    return h;
}

START_TEST(hazards_are_found_and_their_safe_twins_are_not)
{
    struct world w;
    const struct hazard *h = open_hazard(&w, _i);
    world_rehearse(&w);
    if (h->id) {
        const struct finding *f = world_finding(&w, h->id, "2");
        ck_assert_msg(strstr(f->message, "public.users") != NULL, "%s: %s", h->name, f->message);
        ck_assert_msg(f->hint && f->statement, "%s", h->name);
        ck_assert_msg(f->file && str_ends(f->file, "2_hazard.up.sql") && f->line == 1, "%s",
                      h->name);
    }
    for (size_t i = 0; i < w.result.check.nfindings; i++) {
        const struct finding *f = &w.result.check.findings[i];
        bool other = finding_id_is_rehearsals(f->id->id) && !str_eq(f->id->id, h->id) &&
                     strcmp(f->id->id, "lossy-downgrade") != 0;
        ck_assert_msg(!other, "%s: %s: %s", h->name, f->id->id, f->message);
    }
    world_close(&w);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("rehearse_postgres");
    SUITE_ADD_LOOP(s, hazards_are_found_and_their_safe_twins_are_not, ARRAY_LEN(hazards));
    return fixture_run(s);
}
