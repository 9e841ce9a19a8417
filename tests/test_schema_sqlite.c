/*
 * The schema of SQLite databases: what differs, what does not, and the tracker.
 */
#include "tests/suite.h"

#include <string.h>
#include <time.h>
#include <unistd.h>

#include "harness/base/file.h"
#include "harness/engine/engine.h"
#include "harness/schema/diff.h"
#include "harness/schema/schema.h"
#include "harness/schema/sqlite_rows.h"

/* The test's database. */
static char *db_path(void)
{
    return xasprintf("%s/belay-test-%d.db", dir_exists("/dev/shm") ? "/dev/shm" : "/tmp",
                     (int)getpid());
}

static struct db *open_again(unsigned flags)
{
    _cleanup_err_ struct err e = {0};
    _cleanup_free_ char *path = db_path();
    _cleanup_free_ char *url = xasprintf("sqlite:///%s", path);
    struct db *db;

    ck_assert_msg(db_open(&engine_sqlite, url, flags, &db, &e) == 0, "%s", e.message);
    return db;
}

static struct db *open_db(void)
{
    _cleanup_free_ char *path = db_path();

    unlink(path);
    return open_again(DB_OPEN_CREATE | DB_OPEN_SCRATCH);
}

static void close_db(struct db *db)
{
    _cleanup_free_ char *path = db_path();

    db_close(db);
    unlink(path);
}

static void run(struct db *db, const char *sql)
{
    _cleanup_err_ struct err e = {0};

    ck_assert_msg(db_run(db, sql, DB_RUN_STATEMENTS, NULL, &e) == 0, "%s: %s", e.message, sql);
}

static struct snapshot *read_db(struct db *db, const struct schema_options *options)
{
    _cleanup_err_ struct err e = {0};
    struct snapshot *s = NULL;

    ck_assert_msg(schema_read(db, options, &s, &e) == 0, "%s", e.message);
    return s;
}

static struct snapshot *schema_of(const char *sql)
{
    struct db *db = open_db();

    run(db, sql);
    struct snapshot *s = read_db(db, NULL);
    close_db(db);
    return s;
}

static char *diff_text(const struct snapshot *before, const struct snapshot *after)
{
    _cleanup_diff_ struct diff d = {0};
    struct str s = {0};

    diff_snapshots(before, after, &d);
    for (size_t i = 0; i < d.n; i++) {
        _cleanup_free_ char *text = change_text(&d.changes[i], true);
        str_addf(&s, "%s\n", text);
    }
    return str_take(&s);
}

/* Parents and tables that some cases need; added to both sides. */
#define WORLD                                                                                      \
    "create table p (x int, y int, unique (x, y)); create table q (x int, y int, unique (x, y));"

/*
 * One attribute changed in each, and every line that the diff gives.
 */
static const struct {
    const char *before, *after, *lines;
} mutations[] = {
    /* tables */
    {"", "create table t (a)", "+ column t.a\n+ table t\n"},
    {"create table t (a)", "create table T (a)",
     "+ column T.a\n- column t.a\n+ table T\n- table t\n"},
    {"create table t (a int) strict", "create table t (a int)", "table t: strict yes -> (none)\n"},
    {"create table t (a int primary key)", "create table t (a int primary key) without rowid",
     "table t: without rowid (none) -> yes\n"},
    {"create table t (a integer primary key)",
     "create table t (a integer primary key autoincrement)",
     "table t: autoincrement (none) -> yes\n"},
    {"create table t (a integer, primary key (a autoincrement))",
     "create table t (a integer, primary key (a))", "table t: autoincrement yes -> (none)\n"},
    {"create virtual table t using fts5(a)", "create virtual table t using fts5(a, b)",
     "table t: arguments a -> a, b\n"},
    {"create virtual table t using fts5(a)", "create virtual table t using fts4(a)",
     "table t: module fts5 -> fts4\n"},
    {"create virtual table t using fts5(a, tokenize='porter  ascii')",
     "create virtual table t using fts5(a, tokenize='porter ascii')",
     "table t: arguments a, tokenize = 'porter  ascii' -> a, tokenize = 'porter ascii'\n"},
    {"create table t (a)", "create view t as select 1 as a", "- column t.a\n- table t\n+ view t\n"},
    /* columns */
    {"create table t (a)", "create table t (a, b int not null)", "+ column t.b (int, not null)\n"},
    {"create table t (a, b)", "create table t (a)", "- column t.b\n"},
    {"create table t (a, b)", "create table t (b, a)", "column t.a: position 1 -> 2\n"},
    {"create table t (a, b, c, d)", "create table t (a, c, d, b)", "column t.b: position 2 -> 4\n"},
    {"create table t (a)", "create table t (A)", "+ column t.A\n- column t.a\n"},
    {"create table t (a int)", "create table t (a integer)", "column t.a: type int -> integer\n"},
    {"create table t (a int)", "create table t (a)", "column t.a: type int -> (none)\n"},
    {"create table t (a varchar(10))", "create table t (a varchar(11))",
     "column t.a: type varchar(10) -> varchar(11)\n"},
    {"create table t (a decimal(10,2))", "create table t (a decimal(10))",
     "column t.a: type decimal(10, 2) -> decimal(10)\n"},
    {"create table t (a unsigned big int)", "create table t (a big int)",
     "column t.a: type unsigned big int -> big int\n"},
    {"create table t (a)", "create table t (a not null)", "column t.a: not null (none) -> yes\n"},
    {"create table t (a not null)", "create table t (a not null on conflict replace)",
     "column t.a: not null on conflict (none) -> REPLACE\n"},
    {"create table t (a not null on conflict fail)",
     "create table t (a not null on conflict ignore)",
     "column t.a: not null on conflict FAIL -> IGNORE\n"},
    {"create table t (a not null)", "create table t (a constraint n not null)",
     "column t.a: not null constraint (none) -> n\n"},
    {"create table t (a)", "create table t (a default 1)", "column t.a: default (none) -> 1\n"},
    {"create table t (a default 1)", "create table t (a default '1')",
     "column t.a: default 1 -> '1'\n"},
    {"create table t (a default 'x')", "create table t (a default 'X')",
     "column t.a: default 'x' -> 'X'\n"},
    {"create table t (a default 'a b')", "create table t (a default 'a  b')",
     "column t.a: default 'a b' -> 'a  b'\n"},
    {"create table t (a default 1)", "create table t (a default -1)",
     "column t.a: default 1 -> -1\n"},
    {"create table t (a default null)", "create table t (a)",
     "column t.a: default null -> (none)\n"},
    {"create table t (a default current_time)", "create table t (a default current_timestamp)",
     "column t.a: default current_time -> current_timestamp\n"},
    {"create table t (a default current_date)", "create table t (a default 'current_date')",
     "column t.a: default current_date -> 'current_date'\n"},
    {"create table t (a default true)", "create table t (a default \"true\")",
     "column t.a: default true -> 'true'\n"},
    {"create table t (a default (1 + 2))", "create table t (a default (1 - 2))",
     "column t.a: default 1 + 2 -> 1 - 2\n"},
    {"create table t (a default x'00')", "create table t (a default x'01')",
     "column t.a: default x'00' -> x'01'\n"},
    {"create table t (a constraint d default 1)", "create table t (a constraint e default 1)",
     "column t.a: default constraint d -> e\n"},
    {"create table t (a)", "create table t (a collate nocase)",
     "column t.a: collate (none) -> nocase\n"},
    {"create table t (a collate rtrim)", "create table t (a collate nocase)",
     "column t.a: collate rtrim -> nocase\n"},
    {"create table t (a, b as (a + 1))", "create table t (a, b as (a + 2))",
     "column t.b: expression a + 1 -> a + 2\n"},
    {"create table t (a, b as (a + 1))", "create table t (a, b as (a + 1) stored)",
     "column t.b: generated virtual -> stored\n"},
    {"create table t (a, b as (a))", "create table t (a, b)",
     "column t.b: expression a -> (none)\ncolumn t.b: generated virtual -> (none)\n"},
    /* primary keys */
    {"create table t (a int)", "create table t (a int primary key)",
     "+ constraint t.primary key (primary key (a))\n"},
    {"create table t (a int primary key)", "create table t (a integer primary key)",
     "column t.a: type int -> integer\n"
     "constraint t.primary key: rowid alias (none) -> yes\n"},
    {"create table t (a, b, primary key (a, b))", "create table t (a, b, primary key (b, a))",
     "constraint t.primary key: columns a, b -> b, a\n"},
    {"create table t (a, b, primary key (a, b))", "create table t (a, b, primary key (a, b desc))",
     "constraint t.primary key: columns a, b -> a, b desc\n"},
    {"create table t (a integer primary key)", "create table t (a integer primary key desc)",
     "constraint t.primary key: columns a -> a desc\n"
     "constraint t.primary key: rowid alias yes -> (none)\n"},
    {"create table t (a integer primary key desc)",
     "create table t (a integer, primary key (a desc))",
     "constraint t.primary key: rowid alias (none) -> yes\n"},
    {"create table t (a, primary key (a collate nocase))", "create table t (a, primary key (a))",
     "constraint t.primary key: columns a collate nocase -> a\n"},
    {"create table t (a primary key on conflict replace)", "create table t (a primary key)",
     "constraint t.primary key: on conflict REPLACE -> (none)\n"},
    {"create table t (a, constraint k primary key (a))",
     "create table t (a, constraint l primary key (a))",
     "- constraint t.k\n+ constraint t.l (primary key (a))\n"},
    /* unique */
    {"create table t (a)", "create table t (a unique)", "+ constraint t.unique(a) (unique (a))\n"},
    {"create table t (a, constraint u unique (a))",
     "create table t (a, constraint u unique (a desc))", "constraint t.u: columns a -> a desc\n"},
    {"create table t (a unique)", "create table t (a unique on conflict rollback)",
     "constraint t.unique(a): on conflict (none) -> ROLLBACK\n"},
    {"create table t (a, b, unique (a, b))", "create table t (a, b, unique (b, a))",
     "- constraint t.unique(a, b)\n+ constraint t.unique(b, a) (unique (b, a))\n"},
    {"create table t (a, unique (a), unique (a))", "create table t (a, unique (a))",
     "- constraint t.unique(a)#2\n"},
    /* check */
    {"create table t (a check (a > 0))", "create table t (a check (a > 1))",
     "constraint t.check(a): expression a > 0 -> a > 1\n"},
    {"create table t (a check (a in ('x')))", "create table t (a check (a in ('X')))",
     "constraint t.check(a): expression a in ('x') -> a in ('X')\n"},
    {"create table t (a check ((a + 1) * (a)))", "create table t (a check (a + 1 * (a)))",
     "constraint t.check(a): expression (a + 1) * (a) -> a + 1 * (a)\n"},
    {"create table t (a, b, check (a > 0))", "create table t (a, b, check (b > 0))",
     "- constraint t.check(a)\n+ constraint t.check(b) (check b > 0)\n"},
    {"create table t (a, constraint c check (a > 0))", "create table t (a, check (a > 0))",
     "- constraint t.c\n+ constraint t.check(a) (check a > 0)\n"},
    {"create table t (a, check (a > 0), check (a < 9))", "create table t (a, check (a < 9))",
     "- constraint t.check(a)#2\n"},
    {"create table t (a, constraint c check (a > 0) on conflict fail)",
     "create table t (a, constraint c check (a > 0))",
     "constraint t.c: on conflict FAIL -> (none)\n"},
    /* foreign keys */
    {"create table t (a references p(x))", "create table t (a)", "- constraint t.foreign key(a)\n"},
    {"create table t (a references p(x))", "create table t (a references q(x))",
     "constraint t.foreign key(a): references p -> q\n"},
    {"create table t (a references p(x))", "create table t (a references p(y))",
     "constraint t.foreign key(a): referenced columns x -> y\n"},
    {"create table t (a references p(x))", "create table t (a references p)",
     "constraint t.foreign key(a): referenced columns x -> (none)\n"},
    {"create table t (a, b, foreign key (a, b) references p(x, y))",
     "create table t (a, b, foreign key (a, b) references p(y, x))",
     "constraint t.foreign key(a, b): referenced columns x, y -> y, x\n"},
    {"create table t (a references p(x) on delete cascade)", "create table t (a references p(x))",
     "constraint t.foreign key(a): on delete CASCADE -> NO ACTION\n"},
    {"create table t (a references p(x) on delete set null)",
     "create table t (a references p(x) on delete set default)",
     "constraint t.foreign key(a): on delete SET NULL -> SET DEFAULT\n"},
    {"create table t (a references p(x) on update cascade)",
     "create table t (a references p(x) on update restrict)",
     "constraint t.foreign key(a): on update CASCADE -> RESTRICT\n"},
    {"create table t (a references p(x) deferrable initially deferred)",
     "create table t (a references p(x) deferrable)",
     "constraint t.foreign key(a): initially deferred yes -> (none)\n"},
    {"create table t (a references p(x) deferrable)", "create table t (a references p(x))",
     "constraint t.foreign key(a): deferrable yes -> (none)\n"},
    {"create table t (a references p(x) match full)", "create table t (a references p(x))",
     "constraint t.foreign key(a): match full -> (none)\n"},
    {"create table t (a constraint f references p(x))",
     "create table t (a constraint g references p(x))",
     "- constraint t.f\n+ constraint t.g (foreign key (a))\n"},
    /* indexes */
    {"create table t (a)", "create table t (a); create index i on t (a)", "+ index i (on t (a))\n"},
    {"create table t (a); create index i on t (a)",
     "create table t (a); create unique index i on t (a)", "index i: unique (none) -> yes\n"},
    {"create table t (a, b); create index i on t (a, b)",
     "create table t (a, b); create index i on t (b, a)", "index i: columns a, b -> b, a\n"},
    {"create table t (a); create index i on t (a)",
     "create table t (a); create index i on t (a desc)", "index i: columns a -> a desc\n"},
    {"create table t (a); create index i on t (a)",
     "create table t (a); create index i on t (a collate nocase)",
     "index i: columns a -> a collate nocase\n"},
    {"create table t (a); create index i on t (lower(a))",
     "create table t (a); create index i on t (upper(a))",
     "index i: columns lower(a) -> upper(a)\n"},
    {"create table t (a); create index i on t (a) where a > 1",
     "create table t (a); create index i on t (a) where a > 2", "index i: where a > 1 -> a > 2\n"},
    {"create table t (a); create index i on t (a) where a > 1",
     "create table t (a); create index i on t (a)", "index i: where a > 1 -> (none)\n"},
    {"create table t (a); create table u (a); create index i on t (a)",
     "create table t (a); create table u (a); create index i on u (a)", "index i: table t -> u\n"},
    {"create table t (a); create index i on t (a)", "create table t (a); create index I on t (a)",
     "+ index I (on t (a))\n- index i\n"},
    /* triggers */
    {"create table t (a); create trigger r after insert on t begin select 1; end",
     "create table t (a)", "- trigger r\n"},
    {"create table t (a); create trigger r after insert on t begin select 1; end",
     "create table t (a); create trigger r before insert on t begin select 1; end",
     "trigger r: timing AFTER -> BEFORE\n"},
    {"create view t as select 1 as a; create trigger r instead of insert on t begin select 1; end",
     "create view t as select 1 as a; create trigger r instead of delete on t begin select 1; end",
     "trigger r: event INSERT -> DELETE\n"},
    {"create table t (a); create trigger r after update on t begin select 1; end",
     "create table t (a); create trigger r after update of a on t begin select 1; end",
     "trigger r: event UPDATE -> UPDATE OF a\n"},
    {"create table t (a, b); create trigger r after update of a on t begin select 1; end",
     "create table t (a, b); create trigger r after update of a, b on t begin select 1; end",
     "trigger r: event UPDATE OF a -> UPDATE OF a, b\n"},
    {"create table t (a); create trigger r after insert on t begin select 1; end",
     "create table t (a); create trigger r after insert on t when new.a > 1 begin select 1; end",
     "trigger r: when (none) -> new.a > 1\n"},
    {"create table t (a); create trigger r after insert on t begin select 'a'; end",
     "create table t (a); create trigger r after insert on t begin select 'A'; end",
     "trigger r: body select 'a'; -> select 'A';\n"},
    {"create table t (a); create trigger r after insert on t begin select 1; end",
     "create table t (a); create trigger r after insert on t begin select 1; select 2; end",
     "trigger r: body select 1; -> select 1; select 2;\n"},
    {"create table t (a); create table u (a); create trigger r after insert on t begin select 1; "
     "end",
     "create table t (a); create table u (a); create trigger r after insert on u begin select 1; "
     "end",
     "trigger r: table t -> u\n"},
    /* views */
    {"create view v as select 1 as a", "create view v as select 2 as a",
     "view v: body select 1 as a -> select 2 as a\n"},
    {"create view v as select 1 as a", "create view v as select 1 as A",
     "view v: body select 1 as a -> select 1 as A\n"},
    {"create view v as select 'a b'", "create view v as select 'a  b'",
     "view v: body select 'a b' -> select 'a  b'\n"},
    {"create view v as select x from p", "create view v as select 'x' from p",
     "view v: body select x from p -> select 'x' from p\n"},
    {"create view v (a) as select 1", "create view v (b) as select 1", "view v: columns a -> b\n"},
    {"create view v (a) as select 1", "create view v as select 1", "view v: columns a -> (none)\n"},
    /* the database */
    {"pragma user_version = 1", "pragma user_version = 2", "database main: user_version 1 -> 2\n"},
    {"pragma application_id = 1", "pragma application_id = -2",
     "database main: application_id 1 -> -2\n"},
    {"pragma encoding = 'UTF-8'; create table t (a)",
     "pragma encoding = 'UTF-16le'; create table t (a)",
     "database main: encoding UTF-8 -> UTF-16le\n"},
    /* what is not a part of the grammar belay knows is never dropped */
    {"create table t (a references p(x) on insert cascade)",
     "create table t (a references p(x) on insert set null)",
     "table t: definition create table t(a references p(x) on insert cascade) ->"
     " create table t(a references p(x) on insert set null)\n"},
};

START_TEST(mutation_is_told_by_the_property_that_changed)
{
    bool encoding = str_starts(mutations[_i].before, "pragma encoding");
    const char *world = encoding ? "" : WORLD;
    _cleanup_free_ char *before = xasprintf("%s%s", world, mutations[_i].before);
    _cleanup_free_ char *after = xasprintf("%s%s", world, mutations[_i].after);
    _cleanup_snapshot_ struct snapshot *a = schema_of(before);
    _cleanup_snapshot_ struct snapshot *b = schema_of(after);
    _cleanup_free_ char *text = diff_text(a, b);

    ck_assert_str_eq(text, mutations[_i].lines);
    ck_assert(!snapshot_equal(a, b));
}
END_TEST

/*
 * Written differently, and the same.
 */
static const struct {
    const char *before, *after;
} controls[] = {
    /* spacing, comments, case of keywords */
    {"create table t (a int, b text)", "CREATE  TABLE\n\tt(a int,b text)"},
    {"create table t (a int)", "create table t (a /* one */ int -- two\n)"},
    {"create table t (a int, b)", "create table t (a int -- the first, and only\n, b)"},
    {"create table t (a int)", "create table t (a int /* not closed well */ ) -- end"},
    {"create table t (a int)", "create table if not exists main.t (a int)"},
    {"create table t (a int not null default 1 check (a > 0 and a is not null))",
     "create table t (a INT NOT NULL DEFAULT 1 CHECK(a>0 AND a IS NOT NULL))"},
    {"create table t (a integer primary key) without rowid",
     "create table t (a integer primary key) WITHOUT  ROWID"},
    {"create table t (a int primary key) strict, without rowid",
     "create table t (a int primary key) without rowid, STRICT"},
    {"create table t (a varchar(10), b unsigned big int)",
     "create table t (a VARCHAR ( 10 ), b Unsigned  BIG\nint)"},
    {"create table t (a default x'ab')", "create table t (a default X'AB')"},
    {"create table t (a default 0xff)", "create table t (a default 0XFF)"},
    {"create table t (a collate nocase)", "create table t (a COLLATE NOCASE)"},
    {"create table t (a, b as (lower(a)))", "create table t (a, b AS (LOWER (a)))"},
    /* quoting */
    {"create table t (a int, b)", "create table \"t\" ([a] int, `b`)"},
    {"create table t (a int, b)", "create table 't' ('a' int, 'b')"},
    {"create table t (Key int, a)", "create table t (\"Key\" int, a)"},
    {"create table t (\"a\"\"b\", c)", "create table t ([a\"b], c)"},
    {"create table t (\"a`b\")", "create table t (`a``b`)"},
    {"create table t (a int check (a > 0))", "create table t (a int check (\"a\" > 0))"},
    {"create table t (a int check (a > 0))", "create table t (a int check ([A] > 0))"},
    {"create table t (a text check (a in ('x', 'Y')))",
     "create table t (a text check (a in (\"x\", \"Y\")))"},
    {"create table t (a primary key)", "create table t (a, primary key ('a'))"},
    {"create table t (a primary key)", "create table t (a, primary key (\"A\"))"},
    {"create table t (a \"varchar\")", "create table t (a varchar)"},
    {"create table t (a); create index i on t (a) where a > 'x'",
     "create table t (a); create index \"i\" on \"t\" (\"a\") where \"a\" > \"x\""},
    {"create table t (a); create index i on t (lower(a))",
     "create table t (a); create index i on t (LOWER([A]))"},
    {"create table t (a collate nocase)", "create table t (a collate \"nocase\")"},
    {"create view v as select x from p where y = 1",
     "create view \"v\" AS SELECT [x] FROM \"p\" -- all\nWHERE `y`=1"},
    {"create view v (a) as select 1", "create view v ([a]) as select 1"},
    {"create table t (a default 'abc')", "create table t (a default abc)"},
    {"create table t (a default 'abc')", "create table t (a default \"abc\")"},
    /* clauses that say what holds anyway */
    {"create table t (a)", "create table t (a null)"},
    {"create table t (a not null)", "create table t (a not null on conflict abort)"},
    {"create table t (a unique)", "create table t (a unique on conflict abort)"},
    {"create table t (a primary key)", "create table t (a primary key asc)"},
    {"create table t (a, primary key (a))", "create table t (a, primary key (a asc))"},
    {"create table t (a); create index i on t (a)",
     "create table t (a); create index i on t (a asc)"},
    {"create table t (a references p(x))",
     "create table t (a references p(x) on delete no action on update no action)"},
    {"create table t (a references p(x))",
     "create table t (a references p(x) not deferrable initially immediate)"},
    {"create table t (a references p(x) deferrable)",
     "create table t (a references p(x) deferrable initially immediate)"},
    {"create table t (a references p(x) on delete cascade on update set null)",
     "create table t (a references p(x) on update set null on delete cascade)"},
    {"create table t (a default 1)", "create table t (a default (1))"},
    /* parentheses round a whole expression */
    {"create table t (a default (lower('A') || 'b'))",
     "create table t (a default (((lower('A') || 'b'))))"},
    {"create table t (a default 'x')", "create table t (a default (('x')))"},
    {"create table t (a, b as (a + 1), check (a > 0))",
     "create table t (a, b as ((a + 1)), check (((a > 0))))"},
    {"create table t (a check ((a) = (1)))", "create table t (a check (((a) = (1))))"},
    {"create table t (a); create index i on t (a, a desc, a || 1 desc) where a > 0",
     "create table t (a); create index i on t ((a), (a) desc, ((a || 1)) desc) where ((a > 0))"},
    {"create table t (a); create trigger r after insert on t when new.a = 1 begin select 1; end",
     "create table t (a); create trigger r after insert on t when (new.a = 1) begin select 1; end"},
    {"create table t (a default 1 not null)", "create table t (a not null default 1)"},
    {"create table t (a, b generated always as (a) virtual)", "create table t (a, b as (a))"},
    {"create table t (a); create trigger r insert on t begin select 1; end",
     "create table t (a); create trigger r before insert on t for each row begin select 1; end"},
    {"create table t (a); create trigger r after insert on t when new.a = 1 begin select x from p; "
     "end",
     "create table t (a); create trigger if not exists main.\"r\" AFTER INSERT ON [t] FOR EACH ROW"
     " WHEN NEW.\"a\"=1 BEGIN\n  SELECT \"x\" -- all\n FROM p; END"},
    {"create table t (a); create trigger r update of a on t begin select 1; end",
     "create table t (a); create trigger r UPDATE OF \"a\" ON t BEGIN SELECT 1; END"},
    /* behind the column, or at the end of the table */
    {"create table t (a primary key)", "create table t (a, primary key (a))"},
    {"create table t (a integer primary key)", "create table t (a integer, primary key (a))"},
    {"create table t (a integer primary key autoincrement)",
     "create table t (a integer, primary key (a autoincrement))"},
    {"create table t (a unique)", "create table t (a, unique (a))"},
    {"create table t (a constraint u unique)", "create table t (a, constraint u unique (a))"},
    {"create table t (a check (a > 0))", "create table t (a, check (a > 0))"},
    {"create table t (a references p(x) on delete cascade)",
     "create table t (a, foreign key (a) references p(x) on delete cascade)"},
    {"create table t (a references p(x) deferrable initially deferred)",
     "create table t (a, foreign key (\"A\") references p(x) deferrable initially deferred)"},
    /* order of constraints, and commas that SQLite does not ask for */
    {"create table t (a, b, check (a > 0), unique (a), unique (b))",
     "create table t (a, b, unique (b), unique (a), check (a > 0))"},
    {"create table t (a, check (a > 0), check (a < 9))",
     "create table t (a, check (a < 9), check (a > 0))"},
    {"create table t (a, foreign key (a) references p(x), foreign key (a) references q(x))",
     "create table t (a, foreign key (a) references q(x), foreign key (a) references p(x))"},
    {"create table t (a, b, unique (a), unique (b), check (a > 0))",
     "create table t (a, b, unique (a) unique (b) check (a > 0))"},
    /* what ALTER TABLE and CREATE TABLE AS write */
    {"create table t (a, b int)", "create table t (a); alter table t add column b int"},
    {"create table t (a, b int not null default 1 references p(x))",
     "create table t (a); pragma foreign_keys = off;"
     " alter table t add b int not null default 1 references p(x)"},
    {"create table t (a)", "create table t (a, b int); alter table t drop column b"},
    {"create table t (a check (\"T\".a > 0), b)",
     "create table s (a check (s.a > 0), b); alter table s rename to t;"
     " create table u (x); drop table u"},
    {"create table t (a, b check (b > 0)); create index i on t (b) where b > 1;"
     " create view v as select b from t; create trigger r after update of b on t begin"
     " select b from t; end",
     "create table t (a, c check (c > 0)); create index i on t (c) where c > 1;"
     " create view v as select c from t; create trigger r after update of c on t begin"
     " select c from t; end; alter table t rename column c to b"},
    {"create table t (a); create index i on t (a); create view v as select a from t;"
     " create table k (a references t(a))",
     "create table s (a); create index i on s (a); create view v as select a from s;"
     " create table k (a references s(a)); alter table s rename to t"},
    {"create table t (a, b); create index i on t (b) where b = 'NEW'",
     "create table t (a, b, c); create index i on t (b) where b = \"NEW\"; alter table t drop c"},
    {"create table t (a text, b text)", "create table s (x text); create table t as select x as a,"
                                        " x as b from s; drop table s"},
    {"create table t (a)", "create table t (a); create table u (b); drop table u"},
    {"create table t (a)", "create table t (a); create temp table u (b); create temp view w as"
                           " select 1"},
    /* what SQLite keeps for itself */
    {"create table t (a integer primary key autoincrement)",
     "create table t (a integer primary key autoincrement); insert into t values (1); analyze"},
    {"create virtual table t using fts5(a)",
     "create virtual table t using fts5(a); insert into t values ('x')"},
};

START_TEST(control_shows_no_difference)
{
    _cleanup_free_ char *before = xasprintf("%s%s", WORLD, controls[_i].before);
    _cleanup_free_ char *after = xasprintf("%s%s", WORLD, controls[_i].after);
    _cleanup_snapshot_ struct snapshot *a = schema_of(before);
    _cleanup_snapshot_ struct snapshot *b = schema_of(after);
    _cleanup_free_ char *text = diff_text(a, b);

    ck_assert_str_eq(text, "");
    ck_assert(snapshot_equal(a, b));
}
END_TEST

/*
 * Legacy and unusual text: everything understood, and as SQLite understands it.
 */
static const char *const unusual[] = {
    "create table t (a)",
    "create table t (a int b c d)",
    "create table t (a double precision, b character varying(20), c decimal(10,-2), d num(+5))",
    "create table t (a 'quoted type', b \"another type\", c [x])",
    "create table t (key int, action text, match, plan, query, desc, \"order\")",
    "create table t (temp, view, \"table\", row, of, no, end, begin, rowid int)",
    "create table t (a default -1, b default +1, c default - 1.5, d default 'x', e default x'00')",
    "create table t (a default (1), b default (-(1)), c default (lower('X') || ','), d default "
    "((1)))",
    "create table t (a default current_timestamp, b default current_date, c default null)",
    "create table t (a default true, b default false, c default abc, d default \"a b\")",
    "create table t (a check(a>0)check(a<9)not null default 1 unique)",
    "create table t (a int check (a in (1,(2),((3)))), b check (b like '%,)%'))",
    "create table t (a, b as (a+1), c generated always as (a) stored, d int as (a) virtual not "
    "null)",
    "create table t (a integer primary key on conflict replace autoincrement, b)",
    "create table t (a, b, primary key (a desc, b collate nocase asc) on conflict fail)",
    "create table t (a, b, primary key (a) unique (b) constraint c check (a > 0) unique (a, b))",
    "create table t (a constraint x primary key constraint y unique constraint z check (a))",
    "create table t (a references p, b references p(x) match simple on delete set null"
    " on update set default not deferrable)",
    "create table t (a, b, constraint f foreign key (a, b) references p (x, y) on delete cascade"
    " deferrable initially deferred)",
    "create table t (\"a\"\"b\", [c d], `e.f`, 'g%sh', \"i\nj\", \"\xc3\xa9\xe2\x82\xac\")",
    "create table \"a.b\" (\"c.d\" int, unique (\"c.d\"))",
    "create table \"x\"\"y\nz\" (a check (a > 0))",
    "create table \"%s%n\" (\"%d\" int)",
    "create table \"\" (\"\" int)",
    "create table \xc3\xa9t\xc3\xa9 (\xc3\xa0 int, check (\xc3\xa0 > 0))",
    "create table t (a int, b text) without rowid, strict",
    "create table t (a int primary key, b any) strict",
    "create table t (a /* ) */ int, -- , b int\n c 'x--y', d default '/*')",
    "create table t (generated int, always text, b stored)",
    "create table t (z, a int generated always as (1))",
    "create table t (a numeric(10,5)default(1)not null)",
};

/* What the pragmas know must be what the parser read. */
START_TEST(parser_and_pragmas_agree)
{
    struct db *db = open_db();
    _cleanup_err_ struct err e = {0};
    _cleanup_rows_ struct rows *columns = NULL, *keys = NULL, *tables = NULL;
    const char *name;

    run(db, WORLD);
    if (db_run(db, unusual[_i], DB_RUN_STATEMENTS, NULL, &e) < 0) {
        /* "without rowid" needs a key: the text is here for the parser's sake */
        ck_assert_msg(strstr(e.message, "PRIMARY KEY missing"), "%s", e.message);
        close_db(db);
        return;
    }
    _cleanup_snapshot_ struct snapshot *s = read_db(db, NULL);
    ck_assert_int_eq(db_query(db,
                              "select name from sqlite_schema where type = 'table' and name"
                              " not in ('p', 'q') and name not like 'sqlite%'",
                              NULL, 0, &tables, &e),
                     0);
    ck_assert_int_eq(rows_count(tables), 1);
    name = rows_get(tables, 0, 0);
    _cleanup_free_ char *table = db_quote_ident(db, name);
    const struct object *o = snapshot_find(s, "table", table);
    ck_assert_ptr_nonnull(o);
    ck_assert_ptr_null(object_get(o, "definition"));

    ck_assert_int_eq(db_query(db,
                              "select name, type, \"notnull\", dflt_value, hidden, pk from"
                              " pragma_table_xinfo($1) order by cid",
                              &name, 1, &columns, &e),
                     0);
    size_t parsed = 0;
    _cleanup_free_ char *prefix = xasprintf("%s.", table);
    for (size_t i = 0; i < s->n; i++)
        parsed += strcmp(s->objects[i]->kind, "column") == 0 &&
                  str_starts(s->objects[i]->identity, prefix);
    ck_assert_uint_eq(parsed, (size_t)rows_count(columns));
    for (int i = 0; i < rows_count(columns); i++) {
        _cleanup_free_ char *column = db_quote_ident(db, rows_get(columns, i, 0));
        _cleanup_free_ char *identity = xasprintf("%s.%s", table, column);
        const struct object *c = snapshot_find(s, "column", identity);
        _cleanup_free_ char *position = xasprintf("%d", i + 1);
        ck_assert_msg(c, "%s", identity);
        ck_assert_str_eq(object_get(c, "position"), position);
        /* types differ in case, quotes and spaces alone */
        const char *type = object_get(c, "type"), *theirs = rows_get(columns, i, 1);
        for (type = type ? type : ""; *type || *theirs;) {
            if (*type && strchr(" \"'[]`", *type)) {
                type++;
            } else if (*theirs && strchr(" \"'[]`", *theirs)) {
                theirs++;
            } else {
                ck_assert_msg((*type | 32) == (*theirs | 32), "%s: %s, %s", identity,
                              object_get(c, "type"), rows_get(columns, i, 1));
                type++;
                theirs++;
            }
        }
        if (strcmp(rows_get(columns, i, 5), "0") == 0)
            ck_assert_int_eq(object_get(c, "not null") != NULL,
                             strcmp(rows_get(columns, i, 2), "0") != 0);
        ck_assert_int_eq(object_get(c, "default") != NULL, rows_get(columns, i, 3) != NULL);
        const char *hidden = rows_get(columns, i, 4), *generated = object_get(c, "generated");
        ck_assert_str_eq(generated ? generated : "", strcmp(hidden, "2") == 0   ? "virtual"
                                                     : strcmp(hidden, "3") == 0 ? "stored"
                                                                                : "");
    }
    /* keys: how many there are, and foreign keys with all their parts */
    ck_assert_int_eq(db_query(db, "select count(distinct id) from pragma_foreign_key_list($1)",
                              &name, 1, &keys, &e),
                     0);
    int foreign = 0;
    for (size_t i = 0; i < s->n; i++)
        if (strcmp(s->objects[i]->kind, "constraint") == 0 &&
            str_starts(s->objects[i]->identity, prefix))
            foreign += strcmp(object_get(s->objects[i], "type"), "foreign key") == 0;
    ck_assert_int_eq(foreign, atoi(rows_get(keys, 0, 0)));
    close_db(db);
}
END_TEST

START_TEST(foreign_keys_are_those_of_the_pragma)
{
    struct db *db = open_db();
    _cleanup_err_ struct err e = {0};
    _cleanup_rows_ struct rows *keys = NULL;

    run(db, WORLD "create table t (a references p(x) on delete set null on update cascade, b, c,"
                  " foreign key (b, c) references q (x, y) on delete restrict)");
    _cleanup_snapshot_ struct snapshot *s = read_db(db, NULL);
    ck_assert_int_eq(
        db_query(db,
                 "select group_concat(\"from\", ', '), group_concat(\"to\", ', '), \"table\","
                 " on_update, on_delete from pragma_foreign_key_list('t') group by id",
                 NULL, 0, &keys, &e),
        0);
    ck_assert_int_eq(rows_count(keys), 2);
    for (int i = 0; i < 2; i++) {
        _cleanup_free_ char *identity = xasprintf("t.foreign key(%s)", rows_get(keys, i, 0));
        const struct object *o = snapshot_find(s, "constraint", identity);
        ck_assert_ptr_nonnull(o);
        ck_assert_str_eq(object_get(o, "referenced columns"), rows_get(keys, i, 1));
        ck_assert_str_eq(object_get(o, "references"), rows_get(keys, i, 2));
        ck_assert_str_eq(object_get(o, "on update"), rows_get(keys, i, 3));
        ck_assert_str_eq(object_get(o, "on delete"), rows_get(keys, i, 4));
    }
    close_db(db);
}
END_TEST

START_TEST(version_table_is_left_out_with_all_that_belongs_to_it)
{
    const char *const names[] = {"schema_migrations", "\"other versions\"", NULL};
    const struct schema_options options = {.version_tables = names};
    struct db *db = open_db();

    run(db, "create table schema_migrations (version text primary key, x);"
            " create index si on schema_migrations (x);"
            " create trigger st after insert on schema_migrations begin select 1; end;"
            " create table \"other versions\" (a); create table schema_migrations2 (a);");
    _cleanup_snapshot_ struct snapshot *s = read_db(db, &options);
    ck_assert_uint_eq(s->n, 3);
    ck_assert_ptr_nonnull(snapshot_find(s, "table", "schema_migrations2"));
    ck_assert_ptr_nonnull(snapshot_find(s, "column", "schema_migrations2.a"));
    ck_assert_ptr_nonnull(snapshot_find(s, "database", "main"));
    close_db(db);
}
END_TEST

START_TEST(virtual_table_of_an_unknown_module_is_read)
{
    struct db *db = open_db();

    run(db, "create table t (a); create virtual table f using fts5(x); pragma writable_schema = on;"
            " insert into sqlite_schema values ('table', 'v', 'v', 0,"
            " 'CREATE VIRTUAL TABLE v USING no_such_module(a, \"B c\")');"
            " pragma writable_schema = reset;");
    _cleanup_snapshot_ struct snapshot *s = read_db(db, NULL);
    const struct object *v = snapshot_find(s, "table", "v");
    ck_assert_ptr_nonnull(v);
    ck_assert_str_eq(object_get(v, "module"), "no_such_module");
    ck_assert_str_eq(object_get(v, "arguments"), "a, \"B c\"");
    ck_assert_ptr_nonnull(snapshot_find(s, "table", "t"));
    ck_assert_ptr_nonnull(snapshot_find(s, "table", "f"));
    ck_assert_ptr_null(snapshot_find(s, "table", "f_data"));
    close_db(db);
}
END_TEST

/* A table that the parser does not understand keeps its columns, and its text. */
START_TEST(what_is_not_understood_is_kept_whole)
{
    _cleanup_snapshot_ struct snapshot *s =
        schema_of("create table t (a int not null, b constraint loose)");
    const struct object *t = snapshot_find(s, "table", "t"), *a = snapshot_find(s, "column", "t.a");

    ck_assert_str_eq(object_get(t, "definition"),
                     "create table t(a int not null, b constraint loose)");
    ck_assert_str_eq(object_get(a, "not null"), "yes");
    ck_assert_str_eq(object_get(a, "position"), "1");
    ck_assert_ptr_nonnull(snapshot_find(s, "column", "t.b"));
}
END_TEST

/* Damaged text of every kind: no crash, no leak, and always an object that tells of it. */
START_TEST(damaged_text_still_gives_an_object)
{
    static const char *const types[] = {"table", "index", "trigger", "view"};
    static const char junk[] = "()'\"[]`,.;-/*x0 \n\xff";

    srand(9);
    for (int round = 0; round < 20000; round++) {
        const char *whole = rand() % 2 ? unusual[(size_t)rand() % ARRAY_LEN(unusual)]
                                       : controls[(size_t)rand() % ARRAY_LEN(controls)].after;
        _cleanup_free_ char *sql = xstrdup(whole);
        size_t n = strlen(sql);
        for (int i = rand() % 4; i >= 0 && n; i--) {
            size_t at = (size_t)rand() % n, cut = (size_t)rand() % (n - at);
            if (rand() % 2) {
                sql[at] = junk[(size_t)rand() % (sizeof(junk) - 1)];
            } else {
                memmove(sql + at, sql + at + cut, n - at - cut + 1);
                n -= cut;
            }
        }
        const struct ddl_row row = {types[rand() % 4], "n", "t", sql};
        struct ddl_objects objects = {0};
        ddl_read(&row, NULL, 1, &objects);
        ck_assert_uint_ge(objects.n, 1);
        ck_assert(objects.understood || object_get(objects.v[0], "definition"));
        ddl_objects_release(&objects);
    }
}
END_TEST

START_TEST(table_with_1600_columns_is_read)
{
    _cleanup_str_ struct str sql = {0};

    str_add(&sql, "create table t (c0 int");
    for (int i = 1; i < 1600; i++)
        str_addf(&sql, ", c%d int default %d check (c%d > c%d)", i, i, i, i - 1);
    str_add(&sql, ")");
    _cleanup_snapshot_ struct snapshot *s = schema_of(str_get(&sql));
    ck_assert_uint_eq(s->n, 1600 + 1599 + 2);
    const struct object *last = snapshot_find(s, "column", "t.c1599");
    ck_assert_str_eq(object_get(last, "position"), "1600");
    ck_assert_str_eq(object_get(last, "default"), "1599");
    ck_assert_ptr_nonnull(snapshot_find(s, "constraint", "t.check(c1598, c1599)"));
}
END_TEST

/*
 * The tracker.
 */

static struct snapshot *track(struct schema_tracker *t, bool full)
{
    _cleanup_err_ struct err e = {0};
    struct snapshot *s = NULL;

    ck_assert_msg(schema_tracker_read(t, full, &s, &e) == 0, "%s", e.message);
    return s;
}

static double seconds_since(const struct timespec *start)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)(now.tv_sec - start->tv_sec) + (double)(now.tv_nsec - start->tv_nsec) / 1e9;
}

static void tell_time(const char *what, double seconds)
{
    if (getenv("BELAY_TEST_TIMES"))
        fprintf(stderr, "# %s: %.3f ms\n", what, seconds * 1e3);
}

static void make_tables(struct db *db, int n)
{
    _cleanup_str_ struct str sql = {0};

    str_add(&sql, "begin;");
    for (int i = 0; i < n; i++)
        str_addf(&sql,
                 "create table t%d (id integer primary key, a text not null default 'x',"
                 " b int references t0(id) on delete cascade, c varchar(20) collate nocase,"
                 " d decimal(10, 2), e text check (length(e) > 3), f text unique, g int, h int);"
                 " create index i%d on t%d (a, b); create index j%d on t%d (c);",
                 i, i, i, i, i);
    str_add(&sql, "commit;");
    run(db, str_get(&sql));
}

START_TEST(tracker_shares_the_objects_of_unchanged_tables)
{
    struct db *db = open_db();
    struct schema_tracker *t;
    _cleanup_err_ struct err e = {0};
    struct timespec start;

    make_tables(db, 300);
    ck_assert_int_eq(schema_tracker_new(db, NULL, &t, &e), 0);
    clock_gettime(CLOCK_MONOTONIC, &start);
    _cleanup_snapshot_ struct snapshot *a = track(t, false);
    tell_time("300 tables, first read", seconds_since(&start));
    clock_gettime(CLOCK_MONOTONIC, &start);
    _cleanup_snapshot_ struct snapshot *same = track(t, false);
    tell_time("300 tables, nothing changed", seconds_since(&start));
    run(db, "create table n (a)");
    clock_gettime(CLOCK_MONOTONIC, &start);
    _cleanup_snapshot_ struct snapshot *b = track(t, false);
    tell_time("300 tables, one added", seconds_since(&start));
    run(db, "alter table t7 add z int");
    clock_gettime(CLOCK_MONOTONIC, &start);
    _cleanup_snapshot_ struct snapshot *c = track(t, false);
    tell_time("300 tables, one altered", seconds_since(&start));
    clock_gettime(CLOCK_MONOTONIC, &start);
    _cleanup_free_ char *text = diff_text(a, c);
    tell_time("300 tables, diff", seconds_since(&start));

    ck_assert(snapshot_equal(a, same));
    ck_assert_str_eq(text, "+ column n.a\n+ column t7.z (int)\n+ table n\n");
    ck_assert_uint_eq(a->n + 2, b->n);
    size_t shared = 0;
    for (size_t i = 0, k = 0; i < a->n && k < c->n;) {
        int order = object_compare(a->objects[i], c->objects[k]);
        shared += a->objects[i] == c->objects[k];
        i += order <= 0;
        k += order >= 0;
    }
    /* all but the table that changed, and the two indexes that hang on its columns */
    ck_assert_uint_ge(shared, a->n - (1 + 9 + 4 + 2 + 1));
    schema_tracker_free(t);
    close_db(db);
}
END_TEST

START_TEST(tracker_notices_a_schema_that_was_written_by_hand)
{
    struct db *db = open_db(), *other;
    _cleanup_err_ struct err e = {0};
    struct schema_tracker *t;

    run(db, "create table t (a int)");
    ck_assert_int_eq(schema_tracker_new(db, NULL, &t, &e), 0);
    _cleanup_snapshot_ struct snapshot *a = track(t, false);
    other = open_again(DB_OPEN_DEFAULT);
    /* the schema's version stays as it was */
    run(other, "pragma writable_schema = on;"
               " update sqlite_schema set sql = 'CREATE TABLE t (a text)' where name = 't'");
    db_close(other);
    _cleanup_snapshot_ struct snapshot *b = track(t, false);
    _cleanup_free_ char *text = diff_text(a, b);
    ck_assert_str_eq(text, "column t.a: type int -> text\n");
    run(db, "pragma user_version = 7");
    _cleanup_snapshot_ struct snapshot *c = track(t, false);
    _cleanup_free_ char *version = diff_text(b, c);
    ck_assert_str_eq(version, "database main: user_version 0 -> 7\n");
    schema_tracker_free(t);
    close_db(db);
}
END_TEST

static const char *const steps[] = {
    "create table %s (a int, b text default 'x', check (a > 0))",
    "create table %s (id integer primary key autoincrement, b text collate nocase, a references "
    "%s)",
    "drop table if exists %s",
    "alter table %s add column c%d int default 1",
    "alter table %s drop column b",
    "alter table %s rename column a to a%d",
    "alter table %s rename to %s",
    "create index i%d on %s (b)",
    "create unique index j%d on %s (lower(b)) where b <> \"a\"",
    "drop index if exists i%d",
    "create view v%d as select * from %s",
    "drop view if exists v%d",
    "create trigger r%d after insert on %s begin delete from %s; end",
    "drop trigger if exists r%d",
    "insert into %s default values",
    "pragma user_version = %d",
    "vacuum",
    "begin; create table %s (x); rollback",
    "create virtual table f%d using fts5(a)",
    "drop table if exists f%d",
    "create temp table tmp%d (a)",
    "analyze",
};

/* Fills the %s and %d of a step with random names and numbers. */
static char *random_step(void)
{
    static const char *const names[] = {"t", "u", "\"w x\"", "Y", "z", "schema_migrations"};
    struct str s = {0};

    for (const char *at = steps[(size_t)rand() % ARRAY_LEN(steps)]; *at; at++) {
        if (*at == '%' && at[1] == 's')
            str_add(&s, names[(size_t)rand() % ARRAY_LEN(names)]);
        else if (*at == '%')
            str_addf(&s, "%d", rand() % 4);
        else
            str_addc(&s, *at);
        at += *at == '%';
    }
    return str_take(&s);
}

/* Keeps a copy of the rows, each row in the first slot that is free, as who tells of them may. */
static void copy_rows(struct db *db, struct sqlite_rows *known)
{
    static const char sql[] =
        "select type, name, tbl_name, sql from main.sqlite_schema where sql is not null union all"
        " select '', user_version, application_id, encoding from pragma_user_version,"
        " pragma_application_id, pragma_encoding";
    _cleanup_err_ struct err e = {0};
    _cleanup_rows_ struct rows *rows = NULL;
    bool seen[1000] = {false};

    ck_assert_msg(db_query(db, sql, NULL, 0, &rows, &e) == 0, "%s", e.message);
    ck_assert_uint_lt(known->n, 1000);
    for (size_t k = 0; k < known->n; k++) {
        const struct ddl_row *old = &known->v[k];
        int i = 0;
        while (old->type && i < rows_count(rows) &&
               (seen[i] || strcmp(old->type, rows_get(rows, i, 0)) != 0 ||
                strcmp(old->name, rows_get(rows, i, 1)) != 0 ||
                strcmp(old->table, rows_get(rows, i, 2)) != 0 ||
                strcmp(old->sql, rows_get(rows, i, 3)) != 0))
            i++;
        if (old->type && i < rows_count(rows))
            seen[i] = true;
        else if (old->type)
            sqlite_rows_unset(known, k);
    }
    for (int i = 0; i < rows_count(rows); i++) {
        size_t slot = 0;
        while (slot < known->n && known->v[slot].type)
            slot++;
        const struct ddl_row row = {rows_get(rows, i, 0), rows_get(rows, i, 1),
                                    rows_get(rows, i, 2), rows_get(rows, i, 3)};
        if (!seen[i])
            sqlite_rows_set(known, slot, &row);
    }
}

/* Random steps, most of which SQLite accepts: after each, the tracker must say what a full read
 * says. Three trackers: one on the session that writes, one on a session of its own, and one that is
 * told the rows every now and then. */
START_TEST(tracker_equals_a_full_read_after_every_step)
{
    const char *const version_tables[] = {"schema_migrations", NULL};
    const struct schema_options options = {.version_tables = version_tables};
    struct db *db = open_db(), *own;
    struct schema_tracker *here, *there, *told;
    struct sqlite_rows known = {0};
    _cleanup_err_ struct err e = {0};
    int accepted = 0, differed = 0;

    run(db, "create table t (a, b)");
    own = open_again(DB_OPEN_SCRATCH);
    ck_assert_int_eq(schema_tracker_new(db, &options, &here, &e), 0);
    ck_assert_int_eq(schema_tracker_new(own, &options, &there, &e), 0);
    ck_assert_int_eq(schema_tracker_new(own, &options, &told, &e), 0);
    struct snapshot *last = track(here, false);
    srand(3);
    for (int i = 0; i < 1500; i++) {
        _cleanup_free_ char *sql = random_step();
        accepted += db_run(db, sql, DB_RUN_STATEMENTS, NULL, &e) == 0;
        if (db_in_transaction(db))
            run(db, "rollback");
        struct snapshot *a = track(here, false);
        _cleanup_snapshot_ struct snapshot *b = track(there, rand() % 50 == 0);
        _cleanup_snapshot_ struct snapshot *full = read_db(db, &options);
        copy_rows(db, &known);
        if (rand() % 8)
            schema_tracker_offer(told, &known);
        _cleanup_snapshot_ struct snapshot *c = track(told, rand() % 50 == 0);
        _cleanup_free_ char *third = diff_text(full, c);
        ck_assert_msg(snapshot_equal(full, c) && !*third, "after %s:\n%s", sql, third);
        _cleanup_free_ char *first = diff_text(full, a);
        _cleanup_free_ char *second = diff_text(full, b);
        ck_assert_msg(snapshot_equal(full, a) && !*first, "after %s:\n%s", sql, first);
        ck_assert_msg(snapshot_equal(full, b) && !*second, "after %s:\n%s", sql, second);
        differed += !snapshot_equal(last, a);
        snapshot_free(last);
        last = a;
    }
    snapshot_free(last);
    ck_assert_int_gt(accepted, 700);
    ck_assert_int_gt(differed, 300);
    schema_tracker_free(here);
    schema_tracker_free(there);
    schema_tracker_free(told);
    sqlite_rows_release(&known);
    db_close(own);
    close_db(db);
}
END_TEST

START_TEST(five_thousand_tables_are_read)
{
    struct db *db = open_db();
    _cleanup_err_ struct err e = {0};
    struct schema_tracker *t;
    struct timespec start;

    make_tables(db, 5000);
    ck_assert_int_eq(schema_tracker_new(db, NULL, &t, &e), 0);
    clock_gettime(CLOCK_MONOTONIC, &start);
    _cleanup_snapshot_ struct snapshot *a = track(t, false);
    tell_time("5,000 tables, first read", seconds_since(&start));
    run(db, "alter table t7 add z int");
    clock_gettime(CLOCK_MONOTONIC, &start);
    _cleanup_snapshot_ struct snapshot *b = track(t, false);
    tell_time("5,000 tables, one altered", seconds_since(&start));
    _cleanup_free_ char *text = diff_text(a, b);
    ck_assert_uint_eq(a->n, 5000u * (1 + 9 + 4 + 2) + 1);
    ck_assert_str_eq(text, "+ column t7.z (int)\n");
    schema_tracker_free(t);
    close_db(db);
}
END_TEST

START_TEST(a_database_that_is_damaged_is_an_error_and_not_an_empty_schema)
{
    struct db *db = open_db();
    _cleanup_err_ struct err e = {0};
    struct snapshot *s = NULL;

    run(db, "create table t (a); pragma writable_schema = on;"
            " update sqlite_schema set sql = 'create table t (' where name = 't';");
    struct db *fresh = open_again(DB_OPEN_DEFAULT);
    ck_assert_int_eq(schema_read(fresh, NULL, &s, &e), -1);
    ck_assert_ptr_null(s);
    ck_assert_ptr_nonnull(strstr(e.message, "malformed"));
    db_close(fresh);
    close_db(db);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("schema_sqlite");

    SUITE_ADD_LOOP(s, mutation_is_told_by_the_property_that_changed, ARRAY_LEN(mutations));
    SUITE_ADD_LOOP(s, control_shows_no_difference, ARRAY_LEN(controls));
    SUITE_ADD_LOOP(s, parser_and_pragmas_agree, ARRAY_LEN(unusual));
    SUITE_ADD(s, foreign_keys_are_those_of_the_pragma);
    SUITE_ADD(s, version_table_is_left_out_with_all_that_belongs_to_it);
    SUITE_ADD(s, virtual_table_of_an_unknown_module_is_read);
    SUITE_ADD(s, what_is_not_understood_is_kept_whole);
    SUITE_ADD(s, damaged_text_still_gives_an_object);
    SUITE_ADD(s, table_with_1600_columns_is_read);
    SUITE_ADD(s, tracker_shares_the_objects_of_unchanged_tables);
    SUITE_ADD(s, tracker_notices_a_schema_that_was_written_by_hand);
    SUITE_ADD(s, tracker_equals_a_full_read_after_every_step);
    SUITE_ADD(s, five_thousand_tables_are_read);
    SUITE_ADD(s, a_database_that_is_damaged_is_an_error_and_not_an_empty_schema);
    return suite_run(s);
}
