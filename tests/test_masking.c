/* Values of people on their way into a copy. */
#include <string.h>

#include "backup/copy.h"
#include "harness/base/file.h"
#include "tests/bundle_fixture.h"

#define SECRET "ada.lovelace@engines.example"

static const char schema[] =
    "create table users (id integer primary key, email varchar(60) not null unique,"
    "  name text, born date, note text, phone varchar(20));"
    "create table logins (id integer primary key,"
    "  who varchar(60) references users (email) on update cascade, at timestamp);"
    "insert into users values (1, '" SECRET
    "', 'Ada \\Lovelace', '1815-12-10', 'x', '+44 20 7946'),"
    " (2, 'bob@example.org', null, null, '', null), (3, 'c@d.ef', 'C', '2000-01-01', 'tab', '1');"
    "insert into logins values (1, '" SECRET "', '2020-01-01'), (2, null, null),"
    " (3, 'c@d.ef', '2021-01-01'), (4, '" SECRET "', null)";

struct place {
    struct fixture f;
    const struct engine *e;
    char *dir, *bundle;
    struct mask_rules rules;
};

static void sql(struct db *db, const char *text)
{
    _cleanup_err_ struct err err = {0};
    int ran;
    ck_assert_msg(db_run(db, text, DB_RUN_WHOLE, &ran, &err) == 0, "%s: %s", text, err.message);
}

static void place_open(struct place *p, const struct engine *e, const char *tables)
{
    *p = (struct place){.e = e, .rules.file = "belay.yaml"};
    fixture_open(&p->f, e);
    sql(p->f.db, tables);
    p->dir = dir_new();
    p->bundle = path_join(p->dir, "app.belay");
}

static void place_close(struct place *p)
{
    mask_rules_release(&p->rules);
    dir_drop(p->dir);
    free(p->bundle);
    fixture_close(&p->f);
}

static void rule(struct place *p, const char *column, enum mask_how how)
{
    struct mask_rules *r = &p->rules;
    r->v = xgrow(r->v, r->n, &r->cap, sizeof(*r->v));
    r->v[r->n] = (struct mask_rule){xstrdup(column), how, 10 + (int)r->n};
    r->n++;
}

/* bundle: of the database, instead of the database. */
static int try_copy(struct place *p, bool bundle, bool require, struct scratch **ret,
                    struct copy_result *r, struct err *err)
{
    if (bundle && !file_exists(p->bundle)) {
        _cleanup_(backup_summary_release) struct backup_summary s = {0};
        ASSERT_OK(backup_create(
                      &(struct backup_options){.url = scratch_url(p->f.scratch), .path = p->bundle},
                      &s, err),
                  err);
    }
    const struct copy_options o = {
        .from = bundle ? p->bundle : scratch_url(p->f.scratch),
        .jobs = 2,
        .mask = &p->rules,
        .require_masking = require,
    };
    return copy_make(&o, fixture_pool(p->e), ret, r, err);
}

static struct scratch *copy(struct place *p, bool bundle)
{
    _cleanup_err_ struct err err = {0};
    struct copy_result r = {0};
    struct scratch *s = NULL;
    int rc = try_copy(p, bundle, false, &s, &r, &err);
    ck_assert_msg(rc == 0, "%s\n%s", err.message, err.detail ? err.detail : "");
    copy_result_release(&r);
    return s;
}

static void ck_query(const struct place *p, const struct scratch *s, const char *text,
                     const char *want)
{
    _cleanup_free_ char *value = fixture_value(p->e, scratch_url(s), text);
    ck_assert_msg(str_eq(value, want), "%s: \"%s\", not \"%s\"", text, value ? value : "NULL",
                  want);
}

/* Each engine, alive and from a bundle. */
static const struct engine *engine_of(int i)
{
    return i / 2 ? &engine_postgres : &engine_sqlite;
}

START_TEST(masked_values_are_gone_and_joins_still_hold)
{
    struct place p;
    place_open(&p, engine_of(_i), schema);
    rule(&p, "users.email", MASK_HASH);
    rule(&p, "users.name", MASK_KEEP_LENGTH);
    rule(&p, "users.note", MASK_NULL);
    rule(&p, "users.phone", MASK_FAKE);
    struct scratch *s = copy(&p, _i % 2);
    ck_query(&p, s, "select count(*) from users where email like '%@%' or note is not null", "0");
    ck_query(&p, s, "select count(*) from users where length(email) = 32", "3");
    ck_query(&p, s, "select count(*) from users u join logins l on l.who = u.email", "3");
    ck_query(&p, s, "select count(*) from logins where who is null", "1");
    ck_query(&p, s,
             "select count(*) from users where length(name) = 13 and name like '___ \\________'",
             _i / 2 ? "0" : "1");
    ck_query(&p, s, "select count(*) from users where name is null", "1");
    ck_query(&p, s, "select count(*) from users where phone like '+999%'", "2");
    ck_query(&p, s, "select cast(born as text) from users where id = 1", "1815-12-10");
    scratch_free(s);
    place_close(&p);
}
END_TEST

static bool holds(const char *path, const char *text)
{
    _cleanup_err_ struct err err = {0};
    _cleanup_free_ char *data = NULL;
    size_t len;
    ASSERT_OK(file_read(path, &data, &len, &err), &err);
    return memmem(data, len, text, strlen(text)) != NULL;
}

START_TEST(nothing_of_a_masked_value_is_left_in_the_file)
{
    struct place p;
    place_open(&p, &engine_sqlite, schema);
    rule(&p, "users.email", MASK_FAKE);
    ck_assert(holds(scratch_url(p.f.scratch) + strlen("sqlite:///"), SECRET));
    struct scratch *s = copy(&p, false);
    ck_assert(!holds(scratch_url(s) + strlen("sqlite:///"), SECRET));
    scratch_free(s);
    place_close(&p);
}
END_TEST

/* pageinspect would need its extension: the heap's pages as the server's own files are read. */
START_TEST(nothing_of_a_masked_value_was_ever_in_the_table)
{
    struct place p;
    place_open(&p, &engine_postgres, schema);
    rule(&p, "users.email", MASK_FAKE);
    struct scratch *s = copy(&p, false);
    ck_query(&p, s,
             "select count(*) from (select pg_read_binary_file(pg_relation_filepath(c.oid)) as b"
             " from pg_class c where c.relname in ('users', 'logins', 'users_email_key')) f"
             " where position('lovelace'::bytea in b) > 0",
             "0");
    ck_query(&p, s, "select sum(n_dead_tup) from pg_stat_user_tables", "0");
    scratch_free(s);
    place_close(&p);
}
END_TEST

START_TEST(the_key_is_another_one_each_time)
{
    struct place p;
    place_open(&p, &engine_postgres, schema);
    rule(&p, "public.users.email", MASK_HASH);
    struct scratch *a = copy(&p, false), *b = copy(&p, false);
    _cleanup_free_ char *one = fixture_value(p.e, scratch_url(a),
                                             "select email from users where id = 1"),
                        *two = fixture_value(p.e, scratch_url(b),
                                             "select email from users where id = 1");
    ck_assert_str_ne(one, two);
    scratch_free(a);
    scratch_free(b);
    place_close(&p);
}
END_TEST

START_TEST(types_that_are_not_text_get_values_of_their_own)
{
    struct place p;
    place_open(
        &p, &engine_postgres,
        "create domain mail as text check (value <> ''); create schema \"A b\";"
        "create table \"A b\".\"T.x\" (u uuid, i int, b bigint, y bytea, ip inet, net cidr,"
        " d date, t timestamptz, c char(40), m mail, \"Odd \"\"one\" text);"
        "insert into \"A b\".\"T.x\" values ('a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', -5, 9,"
        " '\\xdeadbeef', '192.168.1.1', '192.168.0.0/16', '2000-02-29', now(), 'c', 'm', 'o'),"
        " (null, null, null, null, null, null, null, null, null, null, null)");
    static const char *const columns[] = {"u", "i", "b", "y", "m", "c", "Odd \"one"};
    for (size_t i = 0; i < ARRAY_LEN(columns); i++) {
        _cleanup_free_ char *quoted = quote_with(columns[i], '"');
        _cleanup_free_ char *name = xasprintf("\"A b\".\"T.x\".%s", i < 6 ? columns[i] : quoted);
        rule(&p, name, MASK_HASH);
    }
    rule(&p, "\"T.x\".ip", MASK_FAKE);
    rule(&p, "\"T.x\".net", MASK_FAKE);
    rule(&p, "\"T.x\".d", MASK_FAKE);
    rule(&p, "\"T.x\".t", MASK_FAKE);
    struct scratch *s = copy(&p, false);
    ck_query(
        &p, s,
        "select (i <> -5) and b <> 9 and y <> '\\xdeadbeef' and ip <> '192.168.1.1' and c <> 'c'"
        " and m <> 'm' and u <> 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11' and d <> '2000-02-29'"
        " and t < '2010-01-01' from \"A b\".\"T.x\" where i is not null",
        "t");
    ck_query(&p, s,
             "select count(*) from \"A b\".\"T.x\" where num_nulls(u, i, b, y, m, c, ip) = 7", "1");
    scratch_free(s);
    place_close(&p);
}
END_TEST

static const struct {
    const char *column;
    enum mask_how how;
    const char *message, *hint;
} refused[] = {
    {"users.emial", MASK_HASH, "mask: users.emial: there is no such column",
     "did you mean users.email?"},
    {"user.email", MASK_HASH, "mask: user.email: there is no such column",
     "did you mean users.email?"},
    {"users.email", MASK_NULL, "mask: users.email: public.users.email is NOT NULL", NULL},
    {"users.email", MASK_KEEP_LENGTH,
     "mask: users.email: public.users.email is unique or part of a foreign key, and texts of the "
     "same length may become equal; hash and fake do not",
     NULL},
    {"users.born", MASK_HASH, "mask: users.born: hash is not for date; fake is", NULL},
    {"users.born", MASK_KEEP_LENGTH, "mask: users.born: keep-length is for text, not for date",
     NULL},
    {"users.id", MASK_HASH,
     "mask: users.id: public.users.id is unique or part of a foreign key, and integer has too few "
     "values",
     NULL},
    {"extra.j", MASK_HASH, "mask: extra.j: hash cannot replace a value of type jsonb; null can",
     NULL},
    {"extra.short", MASK_HASH,
     "mask: extra.short: public.extra.short is unique or part of a foreign key, and character "
     "varying(5) is too short",
     NULL},
    {"parts_1.a", MASK_HASH, "mask: parts_1.a: public.parts_1 is a partition",
     "the rule must be about public.parts, and holds for its partitions"},
    {"twice.a", MASK_HASH, "mask: twice.a: it may be other.twice.a or public.twice.a", NULL},
};

START_TEST(a_rule_that_cannot_hold_is_refused)
{
    struct place p;
    _cleanup_err_ struct err err = {0};
    struct copy_result r = {0};
    struct scratch *s = NULL;
    place_open(&p, &engine_postgres, schema);
    sql(p.f.db,
        "create table extra (j jsonb, short varchar(5) unique);"
        "create table parts (a text, k int) partition by list (k);"
        "create table parts_1 partition of parts for values in (1);"
        "create schema other; create table other.twice (a text); create table twice (a text)");
    rule(&p, refused[_i].column, refused[_i].how);
    ck_assert_int_eq(try_copy(&p, false, false, &s, &r, &err), -1);
    ck_assert_str_eq(err.message, refused[_i].message);
    ck_assert_int_eq(err.code, ERR_CONFIG);
    ck_assert_str_eq(err.file, "belay.yaml");
    ck_assert_int_eq(err.line, 10);
    if (refused[_i].hint)
        ck_assert_str_eq(err.hint, refused[_i].hint);
    place_close(&p);
}
END_TEST

START_TEST(a_row_that_the_copy_refuses_is_not_shown)
{
    struct place p;
    _cleanup_err_ struct err err = {0};
    struct copy_result r = {0};
    struct scratch *s = NULL;
    place_open(&p, &engine_postgres,
               "create table t (mail text check (mail like '%@%'), name text);"
               "insert into t values ('" SECRET "', 'Ada')");
    rule(&p, "t.mail", MASK_HASH);
    ck_assert_int_eq(try_copy(&p, _i, false, &s, &r, &err), -1);
    ck_assert_ptr_nonnull(strstr(err.message, "violates check constraint"));
    ck_assert_ptr_null(strstr(err.message, "Ada"));
    ck_assert_ptr_null(err.detail);
    ck_assert_ptr_null(err.statement ? strstr(err.statement, "Ada") : NULL);
    ck_assert_ptr_nonnull(err.hint);
    place_close(&p);
}
END_TEST

START_TEST(partitions_are_masked_by_the_rule_of_their_table)
{
    struct place p;
    place_open(&p, &engine_postgres,
               "create table parts (k int, a text) partition by list (k);"
               "create table parts_1 partition of parts for values in (1);"
               "create table parts_2 (a text, k int);"
               "alter table parts attach partition parts_2 for values in (2);"
               "insert into parts values (1, '" SECRET "'), (2, '" SECRET "')");
    rule(&p, "parts.a", MASK_HASH);
    struct scratch *s = copy(&p, _i);
    ck_query(&p, s,
             "select count(distinct a) || '/' || count(*) || '/' || min(length(a)) from parts",
             "1/2/32");
    scratch_free(s);
    place_close(&p);
}
END_TEST

START_TEST(columns_that_look_personal_are_refused_without_a_rule)
{
    struct place p;
    _cleanup_err_ struct err err = {0};
    struct copy_result r = {0};
    struct scratch *s = NULL;
    place_open(&p, engine_of(_i), schema);
    sql(p.f.db,
        "create table misc (id integer primary key, a varchar(50), b text, c text, file_rename "
        "text,"
        " count_of_names integer);"
        "insert into misc values (1, '" SECRET "', 'DE89 3704 0044 0532 0130 00', 'hello', 'x',"
        " 1), (2, 'x@y.de', 'GB29NWBK60161331926819', 'world', 'y', 2)");
    rule(&p, "users.email", MASK_HASH);
    rule(&p, "users.name", MASK_KEEP);
    ck_assert_int_eq(try_copy(&p, _i % 2, true, &s, &r, &err), -1);
    ck_assert_int_eq(err.code, ERR_CONFIG);
    ck_assert_ptr_nonnull(err.trace);
    const char *schema_name = _i / 2 ? "public." : "";
    static const char *const wanted[] = {
        "users.born looks like a date of birth (its name)",
        "users.phone looks like a phone number (its name)",
        "misc.a looks like e-mail addresses (its values)",
        "misc.b looks like bank accounts (its values)",
    };
    for (size_t i = 0; i < ARRAY_LEN(wanted); i++) {
        _cleanup_free_ char *want = xasprintf("%s%s", schema_name, wanted[i]);
        ck_assert_msg(strstr(err.trace, want) != NULL, "%s\n%s", want, err.trace);
    }
    ck_assert_str_eq(err.message, "4 columns look personal, and no rule masks them");
    ck_assert_ptr_null(strstr(err.trace, "engines"));
    ck_assert_ptr_nonnull(strstr(err.trace, "misc.a: fake"));
    /* the rules that it tells can be used as they are */
    for (const char *line = strstr(err.trace, "mask:\n");
         line && (line = strstr(line, "\n    "));) {
        line += 5;
        _cleanup_free_ char *text = xstrndup(line, strcspn(line, "\n"));
        char *colon = strstr(text, ": ");
        ck_assert_ptr_nonnull(colon);
        *colon = '\0';
        for (int how = 0; how < MASK_HOWS; how++)
            if (strcmp(colon + 2, mask_names[how]) == 0)
                rule(&p, text, (enum mask_how)how);
    }
    ck_assert_uint_eq(p.rules.n, 6);
    err_release(&err);
    ck_assert_msg(try_copy(&p, _i % 2, true, &s, &r, &err) == 0, "%s\n%s", err.message,
                  err.trace ? err.trace : "");
    ck_assert_uint_eq(r.masked.n, 6); /* with logins.who, without users.name */
    copy_result_release(&r);
    scratch_free(s);
    place_close(&p);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("masking");
    SUITE_ADD_LOOP(s, masked_values_are_gone_and_joins_still_hold, 4);
    SUITE_ADD(s, nothing_of_a_masked_value_is_left_in_the_file);
    SUITE_ADD(s, nothing_of_a_masked_value_was_ever_in_the_table);
    SUITE_ADD(s, the_key_is_another_one_each_time);
    SUITE_ADD(s, types_that_are_not_text_get_values_of_their_own);
    SUITE_ADD_LOOP(s, a_rule_that_cannot_hold_is_refused, ARRAY_LEN(refused));
    SUITE_ADD_LOOP(s, a_row_that_the_copy_refuses_is_not_shown, 2);
    SUITE_ADD_LOOP(s, partitions_are_masked_by_the_rule_of_their_table, 2);
    SUITE_ADD_LOOP(s, columns_that_look_personal_are_refused_without_a_rule, 4);
    return fixture_run(s);
}
