/* Rows and values that are gone, by design or not, each beside a correct twin. */
#include "tests/rows_faults.h"

static const struct fault faults[] = {
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
    {"NULLs deleted for a unique index that allows them",
     BOTH,
     USERS,
     {"delete from users where nick is null or id not in (select min(id) from users group by nick);"
      " create unique index nicks on users (nick);",
      "drop index nicks;"},
     {"create index nicks on users (nick);", "drop index nicks;"},
     "rows-lost 2: table users",
     "rows lost in "},
    {"rows without a parent that a join leaves out",
     LITE,
     {"create table owners (id integer primary key, name text); create table pets (id integer "
      "primary key, owner_id integer references owners, name text);",
      "drop table pets; drop table owners;"},
     {"create table n (id integer primary key, owner_id integer references owners, name text, "
      "owner text); insert into n select p.id, p.owner_id, p.name, o.name from pets p join owners "
      "o "
      "on o.id = p.owner_id; drop table pets; alter table n rename to pets;",
      "alter table pets drop column owner;"},
     {"create table n (id integer primary key, owner_id integer references owners, name text, "
      "owner text); insert into n select p.id, p.owner_id, p.name, o.name from pets p left join "
      "owners o on o.id = p.owner_id; drop table pets; alter table n rename to pets;",
      "alter table pets drop column owner;"},
     "rows-lost 2: table pets",
     "2 of 6 rows lost in pets"},
    {"many references of which one is kept",
     BOTH,
     {"create table a (id integer primary key); create table b (id integer primary key); create "
      "table ab (a_id integer not null references a, b_id integer not null references b, primary "
      "key (a_id, b_id));",
      "drop table ab; drop table b; drop table a;"},
     {"alter table b add column a_id integer; update b set a_id = (select min(a_id) from ab where "
      "b_id = b.id); drop table ab;",
      "create table ab (a_id integer not null references a, b_id integer not null references b, "
      "primary key (a_id, b_id)); insert into ab select a_id, id from b where a_id is not null; "
      "alter table b drop column a_id;"},
     {"alter table b add column a_id integer; update b set a_id = (select min(a_id) from ab where "
      "b_id = b.id);",
      "alter table b drop column a_id;"},
     "data-lost-by-design 2: table ab",
     "rows lost"},
    {"a table that is renamed and comes back empty",
     BOTH,
     {"create table users (id integer primary key, name text);", "drop table users;"},
     {"alter table users rename to people;",
      "drop table people; create table users (id integer primary key, name text);"},
     {"alter table users rename to people;", "alter table people rename to users;"},
     "rows-lost 2: table users",
     "people, and the downgrade does not bring them back"},
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
};

ROWS_FAULT_TESTS(faults)

int main(void)
{
    Suite *s = suite_create("rows_lost");
    ROWS_FAULT_SUITE(s, faults);
    return fixture_run(s);
}
