/*
 * Faults that only rows show, each beside a correct twin: the check must find the one, with its
 * place, and say nothing about the other. Rows are those that belay makes up by itself.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/alembic_project.h"
#include "tests/rows_check.h"

struct fault {
    const char *name;
    unsigned engines;
    struct sql before;    /* revision 1, which is right */
    struct sql fault;     /* revision 2 */
    struct sql twin;      /* revision 2, done right */
    const char *expected; /* "finding revision: object, object; ..." */
    const char *message;  /* a part of the first finding's message or of its lines; or NULL */
};

#define USERS                                                                                      \
    {                                                                                              \
        "create table users (id integer primary key, name text, nick text);", "drop table users;"  \
    }
#define POSTS                                                                                      \
    {                                                                                              \
        "create table users (id integer primary key, name text);"                                  \
        "create table posts (id integer primary key, user_id integer not null references users,"   \
        " title text, kind text);",                                                                \
            "drop table posts; drop table users;"                                                  \
    }
#define NOTHING "select 1;"

static const struct fault faults[] = {
    /* ---- upgrades that rows stop ---- */
    {"an error raised over rows that the revision does not want",
     PG,
     USERS,
     {"do $$ begin if exists (select from users where name not like 'http%') then raise 'mend "
      "them'; end if; end $$;",
      NOTHING},
     {"do $$ begin if exists (select from users where id is null) then raise 'no'; end if; end $$;",
      NOTHING},
     "upgrade-depends-on-data 2",
     "mend them"},
    {"a NOT NULL column without a default",
     BOTH,
     USERS,
     {"alter table users add column email text not null;", "alter table users drop column email;"},
     {"alter table users add column email text not null default '';",
      "alter table users drop column email;"},
     "upgrade-fails-on-rows 2",
     "fails on any rows"},
    {"NOT NULL set where there are NULLs",
     PG,
     USERS,
     {"alter table users alter nick set not null;", "alter table users alter nick drop not null;"},
     {"alter table users add constraint there check (nick is not null) not valid;",
      "alter table users drop constraint there;"},
     "upgrade-depends-on-data 2",
     "column \"nick\" of relation \"users\" contains null values"},
    {"a text that becomes short",
     PG,
     USERS,
     {"alter table users alter name type varchar(50);", "alter table users alter name type text;"},
     {"alter table users alter name type varchar(5000);",
      "alter table users alter name type text;"},
     "upgrade-depends-on-data 2",
     "value too long"},
    {"a unique index over duplicates",
     BOTH,
     USERS,
     {"create unique index nicks on users (nick);", "drop index nicks;"},
     {"create unique index nicks on users (nick, id);", "drop index nicks;"},
     "upgrade-depends-on-data 2",
     NULL},
    {"a number that becomes small",
     PG,
     {"create table t (id int primary key, n bigint);", "drop table t;"},
     {"alter table t alter n type int;", "alter table t alter n type bigint;"},
     {"alter table t alter n type numeric;", "alter table t alter n type bigint;"},
     "upgrade-depends-on-data 2",
     "integer out of range"},
    {"a check that rows break",
     PG,
     USERS,
     {"alter table users add constraint named check (length(name) between 1 and 20);",
      "alter table users drop constraint named;"},
     {"alter table users add constraint named check (length(name) between 1 and 20) not valid;",
      "alter table users drop constraint named;"},
     "upgrade-depends-on-data 2",
     "check constraint \"named\" of relation \"users\""},
    {"a check that no generated row meets is no error",
     PG,
     USERS,
     {"alter table users add constraint kinds check (nick in ('red', 'green'));",
      "alter table users drop constraint kinds;"},
     {"alter table users add constraint kinds check (nick in ('red', 'green')) not valid;",
      "alter table users drop constraint kinds;"},
     "upgrade-depends-on-data 2",
     "check constraint \"kinds\" of relation \"users\""},
    {"a foreign key over orphans",
     PG,
     {"create table users (id int primary key); create table posts (id int primary key, "
      "user_id int);",
      "drop table posts; drop table users;"},
     {"alter table posts add constraint posts_user foreign key (user_id) references users;",
      "alter table posts drop constraint posts_user;"},
     {"alter table posts add constraint posts_user foreign key (user_id) references users not "
      "valid;",
      "alter table posts drop constraint posts_user;"},
     "upgrade-depends-on-data 2",
     "foreign key constraint \"posts_user\""},
    {"a cast that values refuse",
     PG,
     USERS,
     {"alter table users alter nick type int using nick::int;",
      "alter table users alter nick type text;"},
     {"alter table users add column number int; update users set number = nick::int where nick ~ "
      "'^[0-9]{1,9}$';",
      "alter table users drop column number;"},
     "upgrade-depends-on-data 2",
     "invalid input syntax for type integer"},
    {"a table that is altered after its rows",
     PG,
     {"create table users (id int primary key); create table posts (id int primary key, user_id "
      "int not null references users deferrable initially deferred);",
      "drop table posts; drop table users;"},
     {"update posts set user_id = user_id + 0, id = id; insert into posts select id + 7000000, "
      "user_id from posts; alter table posts add column n int;",
      "alter table posts drop column n; delete from posts where id > 7000000;"},
     {"alter table posts add column n int; update posts set n = 1;",
      "alter table posts drop column n;"},
     "upgrade-fails-on-rows 2",
     "pending trigger events"},
    {"a rebuild into a table that takes less",
     LITE,
     USERS,
     {"create table n (id integer primary key, name text not null, nick text); insert into n "
      "select * from users; drop table users; alter table n rename to users;",
      "create table n (id integer primary key, name text, nick text); insert into n "
      "select * from users; drop table users; alter table n rename to users;"},
     {"create table n (id integer primary key, name text default '-', nick text); insert into n "
      "select * from users; drop table users; alter table n rename to users;",
      "create table n (id integer primary key, name text, nick text); insert into n "
      "select * from users; drop table users; alter table n rename to users;"},
     "upgrade-depends-on-data 2",
     "NOT NULL constraint failed"},

    /* ---- downgrades that rows stop ---- */
    {"a downgrade to a type that the new values do not fit",
     PG,
     {"create table t (id int primary key, code varchar(8) not null);", "drop table t;"},
     {"alter table t alter code type text; update t set code = code || '-extended';",
      "alter table t alter code type varchar(8);"},
     {"alter table t alter code type text; update t set code = code || '-extended';",
      "alter table t alter code type varchar(8) using left(code, length(code) - 9);"},
     "downgrade-fails-on-rows 2",
     "value too long"},
    {"a downgrade that adds a NOT NULL column to rows",
     BOTH,
     {"create table t (id integer primary key, a integer);", "drop table t;"},
     {"alter table t add column b integer; create table log (id integer primary key);",
      "drop table log; alter table t drop column b; create table gone (id integer primary key, x "
      "integer not null); insert into gone (id) select id from t; drop table gone;"},
     {"alter table t add column b integer; create table log (id integer primary key);",
      "drop table log; alter table t drop column b;"},
     "downgrade-fails-on-rows 2",
     NULL},
    {"a downgrade that rows of a new table stop",
     BOTH,
     {"create table users (id integer primary key);", "drop table users;"},
     {"create table notes (id integer primary key, body text);",
      "create table empty (id integer not null check (id < 0)); insert into empty select id from "
      "notes; drop table empty; drop table notes;"},
     {"create table notes (id integer primary key, body text);", "drop table notes;"},
     "downgrade-fails-on-rows 2",
     "rows that are written after it"},

    /* ---- lost by design ---- */
    {"a column dropped and recreated empty",
     BOTH,
     USERS,
     {"alter table users drop column nick;", "alter table users add column nick text;"},
     {"alter table users rename column nick to alias;",
      "alter table users rename column alias to nick;"},
     "data-lost-by-design 2: column users.nick",
     "values became NULL"},
    {"a table dropped and recreated empty",
     BOTH,
     USERS,
     {"drop table users;", "create table users (id integer primary key, name text, nick text);"},
     {"alter table users rename to people;", "alter table people rename to users;"},
     "data-lost-by-design 2: table users",
     "users: up and down again, 6 of 6 rows lost"},
    {"a column moved to a table and not back",
     BOTH,
     USERS,
     {"create table nicks (id integer primary key, nick text); insert into nicks select id, nick "
      "from users; alter table users drop column nick;",
      "alter table users add column nick text; drop table nicks;"},
     {"create table nicks (id integer primary key, nick text); insert into nicks select id, nick "
      "from users; alter table users drop column nick;",
      "alter table users add column nick text; update users set nick = (select n.nick from nicks n "
      "where n.id = users.id); drop table nicks;"},
     "data-lost-by-design 2: column users.nick",
     "values became NULL"},
    {"a column split and not merged again",
     BOTH,
     USERS,
     {"alter table users add column head text; alter table users add column tail text; update "
      "users set head = substr(nick, 1, 2), tail = substr(nick, 3); alter table users drop column "
      "nick;",
      "alter table users add column nick text; update users set nick = head; alter table users "
      "drop column head; alter table users drop column tail;"},
     {"alter table users add column head text; alter table users add column tail text; update "
      "users set head = substr(nick, 1, 2), tail = substr(nick, 3); alter table users drop column "
      "nick;",
      "alter table users add column nick text; update users set nick = head || tail; alter table "
      "users drop column head; alter table users drop column tail;"},
     "data-lost-by-design 2: column users.nick",
     "values changed"},

    {"NULLs filled before NOT NULL is set",
     PG,
     USERS,
     {"update users set nick = '-' where nick is null; alter table users alter nick set not null;",
      "alter table users alter nick drop not null;"},
     {"create table nameless as select id from users where nick is null; update users set nick = "
      "'-' where nick is null; alter table users alter nick set not null;",
      "alter table users alter nick drop not null; update users set nick = null where id in "
      "(select "
      "id from nameless); drop table nameless;"},
     "data-lost-by-design 2: column users.nick",
     "values changed, first NULL -> '-'"},
    {"duplicates removed for a unique index",
     BOTH,
     USERS,
     {"delete from users where id not in (select min(id) from users group by nick); create unique "
      "index nicks on users (nick);",
      "drop index nicks;"},
     {"create table twice as select * from users where id not in (select min(id) from users group "
      "by nick); delete from users where id in (select id from twice); create unique index nicks "
      "on users (nick);",
      "drop index nicks; insert into users select * from twice; drop table twice;"},
     "data-lost-by-design 2: table users",
     "rows lost in "},
    {"orphans removed for a foreign key",
     PG,
     {"create table users (id integer primary key); create table notes (id integer primary key, "
      "user_id integer not null);",
      "drop table notes; drop table users;"},
     {"delete from notes where user_id not in (select id from users); alter table notes add "
      "foreign key (user_id) references users;",
      "alter table notes drop constraint notes_user_id_fkey;"},
     {"alter table notes add foreign key (user_id) references users not valid;",
      "alter table notes drop constraint notes_user_id_fkey;"},
     "data-lost-by-design 2: table notes",
     "6 of 6 rows lost in "},
    {"a table that comes back with its rows under other keys",
     BOTH,
     {"create table users (id integer primary key, name text);", "drop table users;"},
     {"create table people (id integer primary key, name text); insert into people select "
      "row_number() over (order by id), name from users; drop table users;",
      "create table users (id integer primary key, name text); insert into users select id, name "
      "from people; drop table people;"},
     {"alter table users rename to people;", "alter table people rename to users;"},
     "data-lost-by-design 2: column users.id",
     "users: up and down again, values of its 6 rows changed"},

    /* ---- rows lost ---- */
    {"rows deleted that a new constraint has nothing against",
     BOTH,
     USERS,
     {"delete from users where id > 0; create unique index nicks on users (nick);",
      "drop index nicks;"},
     {"create index nicks on users (nick);", "drop index nicks;"},
     "rows-lost 2: table users",
     "6 of 6 rows lost in "},
    {"rows that the upgrade deletes",
     BOTH,
     POSTS,
     {"delete from posts where id in (select id from posts order by id limit 2);", NOTHING},
     {"create table archive (id integer primary key, user_id integer, title text, kind text); "
      "insert into archive select * from posts where id in (select id from posts order by id limit "
      "2); delete from posts where id in (select id from archive);",
      "insert into posts select * from archive; drop table archive;"},
     "rows-lost 2: table posts",
     "2 of 6 rows lost in "},
    {"rows that the downgrade deletes",
     BOTH,
     POSTS,
     {"create table x (id integer primary key);", "delete from posts; drop table x;"},
     {"create table x (id integer primary key);", "drop table x;"},
     "rows-lost 2: table posts",
     "6 of 6 rows lost in "},
    {"a table that is truncated",
     PG,
     POSTS,
     {"truncate posts;", NOTHING},
     {"create table x (id int); insert into x values (1); truncate x;", "drop table x;"},
     "rows-lost 2: table posts",
     "6 of 6 rows lost in "},
    {"duplicates that are removed",
     BOTH,
     USERS,
     {"delete from users where id not in (select min(id) from users group by nick);", NOTHING},
     {"create index nicks on users (nick);", "drop index nicks;"},
     "rows-lost 2: table users",
     "rows lost in "},
    {"a downgrade that deletes more than the seed",
     BOTH,
     {"create table roles (code text primary key); create table people (id integer primary key, "
      "role text references roles);",
      "drop table people; drop table roles;"},
     {"insert into roles values ('auditor');",
      "update people set role = null where role is null; delete from roles where code not in "
      "(select role from people where role is not null);"},
     {"insert into roles values ('auditor');", "delete from roles where code = 'auditor';"},
     "rows-lost 2: table roles",
     "rows lost in "},
    {"a soft delete taken back the wrong way round",
     BOTH,
     USERS,
     {"alter table users add column deleted_at timestamp;",
      "delete from users where deleted_at is null; alter table users drop column deleted_at;"},
     {"alter table users add column deleted_at timestamp;",
      "delete from users where deleted_at is not null; alter table users drop column deleted_at;"},
     "rows-lost 2: table users",
     "6 of 6 rows lost in "},
    {"child rows that a rebuild takes along",
     LITE,
     {"create table users (id integer primary key, name text); create table posts (id integer "
      "primary key, user_id integer not null references users on delete cascade);",
      "drop table posts; drop table users;"},
     {"transaction:false\npragma foreign_keys = on; create table n (id integer primary key, name "
      "text, age integer); insert into n (id, name) select id, name from users; drop table users; "
      "alter table n rename to users; pragma foreign_keys = off;",
      "transaction:false\nalter table users drop column age;"},
     {"transaction:false\npragma foreign_keys = off; create table n (id integer primary key, name "
      "text, age integer); insert into n (id, name) select id, name from users; drop table users; "
      "alter table n rename to users;",
      "transaction:false\nalter table users drop column age;"},
     "rows-lost 2: table posts",
     "6 of 6 rows lost in "},
    {"a partition dropped and made again",
     PG,
     {"create table m (id int, day date not null) partition by range (day); create table m_old "
      "partition of m for values from (minvalue) to ('2000-01-01'); create table m_new partition "
      "of m for values from ('2000-01-01') to (maxvalue);",
      "drop table m;"},
     {"drop table m_new;", "create table m_new partition of m for values from ('2000-01-01') to "
                           "(maxvalue);"},
     {"alter table m detach partition m_new;",
      "alter table m attach partition m_new for values from ('2000-01-01') to (maxvalue);"},
     "rows-lost 2: table m",
     "rows lost in "},
    {"rows that a changed trigger deletes",
     PG,
     POSTS,
     {"create function f() returns trigger language plpgsql as $$ begin delete from posts where "
      "user_id = new.id; return new; end $$; create trigger t after update on users for each row "
      "execute function f(); update users set name = name;",
      "drop trigger t on users; drop function f();"},
     {"update users set name = name; create function f() returns trigger language plpgsql as $$ "
      "begin delete from posts where user_id = new.id; return new; end $$; create trigger t after "
      "update on users for each row execute function f();",
      "drop trigger t on users; drop function f();"},
     "rows-lost 2: table posts",
     "rows lost in "},

    /* ---- rows changed ---- */
    {"texts that are folded",
     BOTH,
     USERS,
     {"update users set name = lower(name) || '@';", NOTHING},
     {"create index folded on users (lower(name));", "drop index folded;"},
     "rows-changed 2: column users.name",
     "values changed, first "},
    {"NULLs that are filled where NULL stays allowed",
     BOTH,
     USERS,
     {"update users set nick = '-' where nick is null;", NOTHING},
     {"alter table users add column shown text; update users set shown = coalesce(nick, '-');",
      "alter table users drop column shown;"},
     "rows-changed 2: column users.nick",
     "values changed, first NULL -> '-'"},
    {"values that are set to NULL",
     BOTH,
     USERS,
     {"update users set nick = null;", NOTHING},
     {"alter table users add column moved text; update users set moved = nick, nick = null;",
      "update users set nick = moved; alter table users drop column moved;"},
     "rows-changed 2: column users.nick",
     "values became NULL"},
    {"texts that are folded for a unique index",
     BOTH,
     {"create table users (id integer primary key, name text); insert into users values (5000000, "
      "'Ann');",
      "drop table users;"},
     {"update users set name = lower(name); create unique index names on users (name);",
      "drop index names;"},
     {"create unique index names on users (lower(name));", "drop index names;"},
     "rows-changed 2: column users.name",
     "values changed, first 'Ann' -> 'ann'"},
    {"columns that are swapped and stay so",
     BOTH,
     USERS,
     {"update users set name = nick, nick = name;", NOTHING},
     {"update users set name = nick, nick = name;", "update users set name = nick, nick = name;"},
     "rows-changed 2: column users.name, column users.nick",
     NULL},
    {"a default that is written over values",
     BOTH,
     POSTS,
     {"update posts set kind = 'post';", NOTHING},
     {"alter table posts add column sort text default 'post';",
      "alter table posts drop column sort;"},
     "rows-changed 2: column posts.kind",
     "-> 'post'"},
    {"an enum that takes only some values",
     PG,
     USERS,
     {"create type mood as enum ('ok', 'sad'); alter table users alter nick type mood using "
      "case when nick = 'sad' then nick else 'ok' end::mood;",
      "alter table users alter nick type text; drop type mood;"},
     {"create type mood as enum ('ok', 'sad'); alter table users add column mood mood; update "
      "users set mood = 'sad' where nick = 'sad';",
      "alter table users drop column mood; drop type mood;"},
     "rows-changed 2: column users.nick",
     "-> 'ok'"},
    {"digits that are cut off",
     PG,
     {"create table prices (id int primary key, price numeric(12, 4));", "drop table prices;"},
     {"alter table prices alter price type numeric(12, 4) using trunc(price, 1);",
      "alter table prices alter price type numeric(12, 4);"},
     {"alter table prices alter price type numeric(14, 6);",
      "alter table prices alter price type numeric(12, 4);"},
     "rows-changed 2: column prices.price",
     "values changed"},
    {"times that move between zones",
     PG,
     {"create table events (id int primary key, at timestamptz);", "drop table events;"},
     {"alter table events alter at type timestamp using at at time zone 'UTC';",
      "alter table events alter at type timestamptz using at at time zone 'Etc/GMT-2';"},
     {"alter table events alter at type timestamp using at at time zone 'UTC';",
      "alter table events alter at type timestamptz using at at time zone 'UTC';"},
     "rows-changed 2: column events.at",
     "values changed"},
    {"a flag that comes back the wrong way round",
     PG,
     {"create table t (id int primary key, hidden boolean not null);", "drop table t;"},
     {"alter table t alter hidden type int using hidden::int;",
      "alter table t alter hidden type boolean using hidden = 0;"},
     {"alter table t alter hidden type int using hidden::int;",
      "alter table t alter hidden type boolean using hidden = 1;"},
     "rows-changed 2: column t.hidden",
     "values changed"},
    {"keys that are given anew",
     BOTH,
     USERS,
     {"update users set id = id + 5000000;", NOTHING},
     {"update users set id = id + 5000000;", "update users set id = id - 5000000;"},
     "rows-changed 2: column users.id",
     "values"},
    {"a rebuild that leaves a column out",
     LITE,
     USERS,
     {"create table n (id integer primary key, name text, nick text); insert into n (id, name) "
      "select id, name from users; drop table users; alter table n rename to users;",
      NOTHING},
     {"create table n (id integer primary key, name text, nick text); insert into n (id, name, "
      "nick) select id, name, nick from users; drop table users; alter table n rename to users;",
      NOTHING},
     "rows-changed 2: column users.nick",
     "became NULL"},
    {"a rebuild that copies by place",
     LITE,
     USERS,
     {"create table n (id integer primary key, nick text, name text); insert into n select * from "
      "users; drop table users; alter table n rename to users;",
      "create table n (id integer primary key, name text, nick text); insert into n (id, name, "
      "nick) select id, name, nick from users; drop table users; alter table n rename to users;"},
     {"create table n (id integer primary key, nick text, name text); insert into n (id, name, "
      "nick) select id, name, nick from users; drop table users; alter table n rename to users;",
      "create table n (id integer primary key, name text, nick text); insert into n (id, name, "
      "nick) select id, name, nick from users; drop table users; alter table n rename to users;"},
     "rows-changed 2: column users.name, column users.nick",
     NULL},
    {"a trigger that counts what the revision touches",
     PG,
     {"create table t (id int primary key, body text, version int not null); create function "
      "bump() returns trigger language plpgsql as $$ begin new.version = coalesce(old.version, 0) "
      "# 1; return new; end $$; create trigger bump before update on t for each row execute "
      "function bump();",
      "drop table t; drop function bump();"},
     {"update t set body = body;", NOTHING},
     {"alter table t disable trigger bump; update t set body = body; alter table t enable trigger "
      "bump;",
      NOTHING},
     "rows-changed 2: column t.version",
     "values changed"},

    /* ---- rows added ---- */
    {"seed rows that stay",
     BOTH,
     {"create table roles (code text primary key, title text);", "drop table roles;"},
     {"insert into roles values ('admin', 'Admin'), ('guest', 'Guest') on conflict do nothing;",
      NOTHING},
     {"insert into roles values ('admin', 'Admin'), ('guest', 'Guest');",
      "delete from roles where code in ('admin', 'guest');"},
     "rows-added 2: table roles",
     "2 rows added to "},
    {"seed rows with small keys that stay",
     BOTH,
     {"create table roles (id integer primary key, title text);", "drop table roles;"},
     {"insert into roles values (1, 'Admin'), (2, 'Guest') on conflict do nothing;", NOTHING},
     {"insert into roles values (1, 'Admin'), (2, 'Guest');",
      "delete from roles where id in (1, 2);"},
     "rows-added 2: table roles",
     "2 rows added to "},
    {"seed rows of a sequence of which one stays",
     PG,
     {"create table roles (id serial primary key, title text);", "drop table roles;"},
     {"insert into roles (title) values ('Admin'), ('Guest');",
      "delete from roles where title = 'Admin';"},
     {"insert into roles (title) values ('Admin'), ('Guest');",
      "delete from roles where title in ('Admin', 'Guest');"},
     "rows-added 2: table roles",
     "1 row added to "},
    {"rows that are copied and stay",
     BOTH,
     POSTS,
     {"insert into posts select id + 5000000, user_id, title, kind from posts;", NOTHING},
     {"insert into posts select id + 5000000, user_id, title, kind from posts;",
      "delete from posts where id > 5000000;"},
     "rows-added 2: table posts",
     "6 rows added to "},

    /* ---- sequences ---- */
    {"a sequence that starts again",
     PG,
     {"create table t (id serial primary key, n int);", "drop table t;"},
     {"alter sequence t_id_seq restart with 1;", NOTHING},
     {"select setval('t_id_seq', (select max(id) + 100 from t));", NOTHING},
     "sequence-changed 2: sequence t_id_seq",
     "gives 1 next"},
    {"an identity that is made again",
     PG,
     {"create table t (id int generated by default as identity primary key, n int);",
      "drop table t;"},
     {"alter table t alter id drop identity;",
      "alter table t alter id add generated by default as identity;"},
     {"alter table t alter id drop identity;",
      "alter table t alter id add generated by default as identity; select "
      "setval(pg_get_serial_sequence('t', 'id'), (select max(id) from t));"},
     "sequence-changed 2: sequence t_id_seq",
     "gives 1 next"},
    {"AUTOINCREMENT that starts again",
     LITE,
     {"create table t (id integer primary key autoincrement, n integer); insert into t values "
      "(5000000, 1); delete from t;",
      "drop table t;"},
     {"create table n (id integer primary key autoincrement, n integer); insert into n select * "
      "from t; drop table t; alter table n rename to t;",
      NOTHING},
     {"create table n (id integer primary key autoincrement, n integer); insert into n select * "
      "from t; update sqlite_sequence set seq = (select seq from sqlite_sequence where name = 't') "
      "where name = 'n'; drop table t; alter table n rename to t;",
      NOTHING},
     "sequence-changed 2: sequence sqlite_sequence.t",
     "gives "},
};

/* What is right although values change, or rows come and go. */
struct right {
    const char *name;
    unsigned engines;
    struct sql steps[4];
    const char *expected;
};

static const struct right rights[] = {
    {"a clock that rewrites rows is not blamed",
     PG,
     {{"create table t (id int primary key, n int, updated_at timestamptz not null); create "
       "function touch() returns trigger language plpgsql as $$ begin new.updated_at = now(); "
       "return new; end $$; create trigger touch before update on t for each row execute function "
       "touch();",
       "drop table t; drop function touch();"},
      {"update t set n = n;", "update t set n = n;"}},
     ""},
    {"the clock of SQLite is not blamed",
     LITE,
     {{"create table t (id integer primary key, updated_at text not null, day integer);",
       "drop table t;"},
      {"update t set updated_at = datetime('now'), day = strftime('%s', 'now');", "select 1;"}},
     ""},
    {"random values are not blamed",
     PG,
     {{"create table t (id int primary key, token uuid);", "drop table t;"},
      {"update t set token = gen_random_uuid();", "select 1;"}},
     ""},
    {"seed rows come and go, with a clock and keys of a sequence",
     PG,
     {{"create table roles (id serial primary key, title text, made timestamptz default now());"
       "create table grants (id serial primary key, role_id int references roles);",
       "drop table grants; drop table roles;"},
      {"insert into roles (title) values ('a'), ('b'); insert into grants (role_id) select id from "
       "roles where title in ('a', 'b');",
       "delete from grants where role_id in (select id from roles where title in ('a', 'b')); "
       "delete from roles where title in ('a', 'b');"},
      {"alter table roles add column note text;", "alter table roles drop column note;"}},
     ""},
    {"a table is filled from another and dropped again",
     BOTH,
     {USERS,
      {"create table names (name text); insert into names select distinct name from users where "
       "name is not null;",
       "drop table names;"},
      {"create table more (id integer primary key);", "drop table more;"}},
     ""},
    {"rows that are written after the upgrade may go with the downgrade",
     BOTH,
     {{"create table posts (id integer primary key, title text);", "drop table posts;"},
      {"create table drafts (id integer primary key, title text);",
       "insert into posts select id + 7000000, title from drafts; drop table drafts;"},
      {"create table more (id integer primary key);", "drop table more;"}},
     ""},
    {"a column that an ALTER adds holds values before it is dropped",
     BOTH,
     {{"create table users (id integer primary key);", "drop table users;"},
      {"alter table users add column nick text;", "alter table users drop column nick;"},
      {"alter table users drop column nick;", "alter table users add column nick text;"}},
     "data-lost-by-design 3: column users.nick"},
    {"a reason in the revision waives what is lost",
     BOTH,
     {USERS,
      {"-- belay: lossy nobody used nicks\nalter table users drop column nick;",
       "alter table users add column nick text;"}},
     "data-lost-by-design 2 waived (nobody used nicks): column users.nick"},
    {"the check goes on behind an upgrade that rows stop",
     BOTH,
     {USERS,
      {"alter table users add column email text not null;", "alter table users drop column email;"},
      {"delete from users;", "select 1;"}},
     "upgrade-fails-on-rows 2; rows-lost 3: table users"},
    {"the check goes on behind an upgrade that some rows stop",
     BOTH,
     {USERS,
      {"create unique index nicks on users (nick);", "drop index nicks;"},
      {"update users set name = 'x';", "select 1;"}},
     "upgrade-depends-on-data 2; rows-changed 3: column users.name"},
    {"an upgrade that fails on empty tables too is no affair of rows",
     BOTH,
     {USERS, {"insert into nowhere values (1);", "select 1;"}},
     "upgrade-fails 2"},
    {"a downgrade that fails on empty tables too is no affair of rows",
     BOTH,
     {USERS, {"create table x (id integer);", "drop table nowhere;"}},
     "downgrade-fails 2"},
    {"a table that cannot be filled is said to be empty",
     PG,
     {{"create table t (id int check (id is null and id is not null and random() < -1), n int not "
       "null check (n < 0 and n > 0));",
       "drop table t;"}},
     "rows-not-generated 1: table t"},
};

static void check_fault(int i)
{
    const struct fault *f = &faults[i / 2];
    const struct engine *e = rows_engine_of(i, f->engines);
    if (e)
        rows_check_sql(f->name, (const struct sql *const[]){&f->before, &f->fault}, 2, e,
                       f->expected, f->message);
}

START_TEST(a_fault_in_the_rows_is_found)
{
    check_fault(_i);
}
END_TEST

START_TEST(its_correct_twin_is_clean)
{
    const struct fault *f = &faults[_i / 2];
    const struct engine *e = rows_engine_of(_i, f->engines);
    if (e)
        rows_check_sql(f->name, (const struct sql *const[]){&f->before, &f->twin}, 2, e, "", NULL);
}
END_TEST

static void check_right(int i)
{
    const struct right *r = &rights[i / 2];
    const struct engine *e = rows_engine_of(i, r->engines);
    const struct sql *steps[4];
    size_t n = 0;
    while (n < 4 && r->steps[n].up) {
        steps[n] = &r->steps[n];
        n++;
    }
    if (e)
        rows_check_sql(r->name, steps, n, e, r->expected, NULL);
}

START_TEST(what_is_right_is_not_blamed)
{
    check_right(_i);
}
END_TEST

/* The lower part of the descent, or all of it in histories as short as these, is done in the second one. SQLite alone:
 * each check on PostgreSQL would start a server. */
START_TEST(faults_are_found_in_two_threads)
{
    rows_two_threads = 1;
    check_fault(2 * _i);
    rows_two_threads = -1;
}
END_TEST

START_TEST(what_is_right_is_not_blamed_in_two_threads)
{
    rows_two_threads = 1;
    check_right(2 * _i);
    rows_two_threads = -1;
}
END_TEST

/* ---- Alembic ---- */

/*
 * All in one history, each revision on a table of its own, which the first one makes: a table
 * a_N with id, name (text, NULLs), n (a number, NULLs) and flag, and b_N that refers to it and goes
 * with it.
 */
struct python {
    unsigned engines;
    const char *up, *down;           /* with the fault; $t and $b: the tables */
    const char *twin_up, *twin_down; /* done right */
    const char *expected;            /* "finding: object", with $t and $b; NULL object: none */
};

#define NOOP "op.execute('select 1')"
#define BATCH(body) "with op.batch_alter_table('$t') as t:\n    " body
#define SEED "op.bulk_insert(sa.table('$t', sa.column('name'), sa.column('n')), "
#define SEEDS "[{'name': 'seed', 'n': 1}, {'name': 'other', 'n': 2}])"

static const struct python pythons[] = {
    {BOTH, BATCH("t.add_column(sa.Column('x', sa.Text(), nullable=False))"),
     BATCH("t.drop_column('x')"),
     BATCH("t.add_column(sa.Column('x', sa.Text(), nullable=False, server_default=''))"),
     BATCH("t.drop_column('x')"), "upgrade-fails-on-rows"},
    {BOTH, BATCH("t.alter_column('name', nullable=False)"),
     BATCH("t.alter_column('name', nullable=True)"),
     BATCH("t.alter_column('name', new_column_name='title')"),
     BATCH("t.alter_column('title', new_column_name='name')"), "upgrade-depends-on-data"},
    {BOTH, BATCH("t.create_unique_constraint('$t_names', ['name'])"),
     BATCH("t.drop_constraint('$t_names', type_='unique')"),
     BATCH("t.create_unique_constraint('$t_names', ['name', 'id'])"),
     BATCH("t.drop_constraint('$t_names', type_='unique')"), "upgrade-depends-on-data"},
    {BOTH, BATCH("t.drop_column('flag')"), BATCH("t.add_column(sa.Column('flag', sa.Integer()))"),
     "op.rename_table('$t', '$t_old')", "op.rename_table('$t_old', '$t')",
     "data-lost-by-design: column $t.flag"},
    {BOTH, SEED SEEDS, NOOP, SEED SEEDS,
     "op.execute(\"delete from $t where name in ('seed', 'other')\")", "rows-added: table $t"},
    {BOTH, "op.execute('update $t set n = 0')", NOOP,
     BATCH(
         "t.add_column(sa.Column('m', sa.Integer()))") "\nop.execute('update $t set m = n, n = 0')",
     "op.execute('update $t set n = m')\n" BATCH("t.drop_column('m')"),
     "rows-changed: column $t.n"},
    {BOTH,
     "t = sa.table('$t', sa.column('id'), sa.column('name'))\n"
     "bind = op.get_bind()\n"
     "for row in bind.execute(sa.select([t.c.id, t.c.name])).fetchall():\n"
     "    bind.execute(t.update().where(t.c.id == row[0]).values(name='<%s>' % (row[1] or '')))",
     "t = sa.table('$t', sa.column('id'), sa.column('name'))\n"
     "bind = op.get_bind()\n"
     "for row in bind.execute(sa.select([t.c.id, t.c.name])).fetchall():\n"
     "    bind.execute(t.update().where(t.c.id == row[0]).values(name=row[1][1:-1]))",
     "t = sa.table('$t', sa.column('id'), sa.column('name'))\n"
     "bind = op.get_bind()\n"
     "for row in bind.execute(sa.select([t.c.id, t.c.name])).fetchall():\n"
     "    if row[1] is not None:\n"
     "        bind.execute(t.update().where(t.c.id == row[0]).values(name='<%s>' % row[1]))",
     "t = sa.table('$t', sa.column('id'), sa.column('name'))\n"
     "bind = op.get_bind()\n"
     "for row in bind.execute(sa.select([t.c.id, t.c.name])).fetchall():\n"
     "    if row[1] is not None:\n"
     "        bind.execute(t.update().where(t.c.id == row[0]).values(name=row[1][1:-1]))",
     "rows-changed: column $t.name"},
    {BOTH, "op.execute('delete from $b')", NOOP, "op.execute('delete from $b where id < 0')", NOOP,
     "rows-lost: table $b"},
    {BOTH, "op.drop_table('$b')",
     "op.create_table('$b', sa.Column('id', sa.Integer(), primary_key=True),\n"
     "    sa.Column('a_id', sa.Integer(), sa.ForeignKey('$t.id', ondelete='CASCADE')))",
     "op.rename_table('$b', '$b_old')", "op.rename_table('$b_old', '$b')",
     "data-lost-by-design: table $b"},
    {PG, "op.alter_column('$t', 'name', type_=sa.String(20), postgresql_using='left(name, 20)')",
     "op.alter_column('$t', 'name', type_=sa.Text())",
     "op.alter_column('$t', 'name', type_=sa.String(4000))",
     "op.alter_column('$t', 'name', type_=sa.Text())", "rows-changed: column $t.name"},
    {PG, "op.execute('alter sequence $t_id_seq restart')", NOOP,
     "op.execute('alter sequence $t_id_seq increment by 1')", NOOP,
     "sequence-changed: sequence $t_id_seq"},
    {PG, "op.execute('truncate $t cascade')", NOOP,
     "op.execute('create table $t_x as select 1 as x')\nop.execute('truncate $t_x')",
     "op.drop_table('$t_x')", "rows-lost: table $t, table $b"},
    /* the batch drops the table, and with foreign_keys the rows that refer to it */
    {LITE,
     "with op.get_context().autocommit_block():\n"
     "    op.execute('pragma foreign_keys = on')\n"
     "with op.batch_alter_table('$t', recreate='always') as t:\n"
     "    t.add_column(sa.Column('x', sa.Text()))\n"
     "with op.get_context().autocommit_block():\n"
     "    op.execute('pragma foreign_keys = off')",
     BATCH("t.drop_column('x')"),
     "with op.batch_alter_table('$t', recreate='always') as t:\n"
     "    t.add_column(sa.Column('x', sa.Text()))",
     BATCH("t.drop_column('x')"), "rows-lost: table $b"},
};

static char *with_tables(const char *text, int number)
{
    struct str s = {0};
    for (const char *p = text; *p; p++) {
        if (*p == '$' && (p[1] == 't' || p[1] == 'b'))
            str_addf(&s, "%c_%d", *++p == 't' ? 'a' : 'b', number);
        else
            str_addc(&s, *p);
    }
    return str_take(&s);
}

static void check_alembic(const struct engine *e, bool twins)
{
    enum { N = ARRAY_LEN(pythons) };
    struct rev revisions[N + 2] = {0};
    _cleanup_str_ struct str tables = {0}, drops = {0}, expected = {0};
    unsigned wanted = e == &engine_sqlite ? LITE : PG;
    char *texts[N][4] = {0};
    size_t n = 1;
    for (int i = 0; i < N; i++) {
        const struct python *p = &pythons[i];
        if (!(p->engines & wanted))
            continue;
        str_addf(&tables,
                 "op.create_table('a_%d', sa.Column('id', sa.Integer(), primary_key=True), "
                 "sa.Column('name', sa.Text()), sa.Column('n', sa.Integer()), sa.Column('flag', "
                 "sa.Integer()))\n"
                 "op.create_table('b_%d', sa.Column('id', sa.Integer(), primary_key=True), "
                 "sa.Column('a_id', sa.Integer(), sa.ForeignKey('a_%d.id', ondelete='CASCADE')))\n",
                 i, i, i);
        str_addf(&drops, "op.drop_table('b_%d')\nop.drop_table('a_%d')\n", i, i);
        texts[i][0] = xasprintf("r%02d", i + 1);
        texts[i][1] =
            xasprintf("down_revision = '%s'", revisions[n - 1].id ? revisions[n - 1].id : "r00");
        texts[i][2] = with_tables(twins ? p->twin_up : p->up, i);
        texts[i][3] = with_tables(twins ? p->twin_down : p->down, i);
        revisions[n++] = (struct rev){texts[i][0], texts[i][1], texts[i][2], texts[i][3]};
        if (twins)
            continue;
        _cleanup_free_ char *said = with_tables(p->expected, i);
        size_t id = strcspn(said, ":");
        str_addf(&expected, "; %.*s r%02d%s", (int)id, said, i + 1, said + id);
    }
    revisions[0] = (struct rev){"r00", "down_revision = None", str_get(&tables), str_get(&drops)};
    _cleanup_free_ char *env = env_with(sync_env, "render_as_batch=True");
    _cleanup_folder_ char *dir = project_write(driver_of(e), env, revisions);
    rows_check_folder("Alembic", dir,
                      &(struct source_options){.dir = dir, .python = PYTHON, .timeout = 60}, e,
                      expected.len ? str_get(&expected) + 2 : "", NULL);
    for (int i = 0; i < N; i++)
        for (int k = 0; k < 4; k++)
            free(texts[i][k]);
}

START_TEST(alembic_projects_are_judged_the_same_way)
{
    check_alembic(engines[_i / 2], _i % 2);
}
END_TEST

int main(void)
{
    const char *why = alembic_suite_begin();
    Suite *s = suite_create("rows");
    SUITE_ADD_LOOP(s, a_fault_in_the_rows_is_found, 2 * ARRAY_LEN(faults));
    SUITE_ADD_LOOP(s, its_correct_twin_is_clean, 2 * ARRAY_LEN(faults));
    SUITE_ADD_LOOP(s, what_is_right_is_not_blamed, 2 * ARRAY_LEN(rights));
    SUITE_ADD_LOOP(s, faults_are_found_in_two_threads, ARRAY_LEN(faults));
    SUITE_ADD_LOOP(s, what_is_right_is_not_blamed_in_two_threads, ARRAY_LEN(rights));
    if (why)
        fprintf(stderr, "no Alembic: %s\n", why);
    else
        SUITE_ADD_LOOP(s, alembic_projects_are_judged_the_same_way, 4);
    return fixture_run(s);
}
