#include "tests/zoo_postgres.h"

#include <stddef.h>

const char zoo_roles[] = "do $$begin"
                         " if not exists (select from pg_roles where rolname = 'zoo keeper') then"
                         "  create role \"zoo keeper\"; create role zoo_reader; end if; end$$";

/* clang-format off */

const char *const zoo_postgres[] = {
    /* names */
    "create schema \"a \"\"quoted\"\" schema\"; create schema \"ζῷα\";"
    "create table \"a \"\"quoted\"\" schema\".\"ta\nble\" (\"co\tl\" int, \"c\"\"2\" text, \"\\.\" text);"
    "insert into \"a \"\"quoted\"\" schema\".\"ta\nble\""
    " select i, e'\\\\N\\n\\t\\r\\b\\f\\v\\x01' || i, case when i % 3 = 0 then null when i % 3 = 1 then '' else '\\N' end"
    " from generate_series(1, 100) i;"
    "create table \"ζῷα\".\"表\" (\"naïve\" text primary key); insert into \"ζῷα\".\"表\" values ('日本'), ('🐘');",

    /* columns of all sorts */
    "create type mood as enum ('sad', 'so-so', 'it''s'); create domain posint as int check (value > 0);"
    "create type pair as (a int, b text);"
    "create table kinds (id bigint generated always as identity primary key, gone int, s smallint,"
    " n numeric, f real, d double precision, t text collate \"C\", v varchar(20), c char(5), b bytea,"
    " bo boolean, da date, ti time, ts timestamp, tz timestamptz, iv interval, u uuid, j json, jb jsonb,"
    " x xml, a int[], aa text[][], r int4range, mr int4multirange, p point, inet inet, bits bit(3),"
    " m mood, dom posint, pr pair, mo money, o oid, rc regclass, vec tsvector,"
    " twice int generated always as (s * 2) stored);"
    "alter table kinds drop column gone;"
    "insert into kinds (s, n, f, d, t, v, c, b, bo, da, ti, ts, tz, iv, u, j, jb, x, a, aa, r, mr, p, inet,"
    "  bits, m, dom, pr, mo, o, rc, vec)"
    " select i, i / 7.0, 1.0 / i, case i % 4 when 0 then 'NaN' when 1 then 'Infinity' else 1.0 / i end,"
    " repeat('x', i), 'v' || i, 'c', decode(lpad(to_hex(i), 8, '0'), 'hex'), i % 2 = 0, date '2000-01-01' + i,"
    " '12:34:56.789', timestamp '1999-12-31' + i * interval '1 hour', timestamptz '2020-03-29 01:30+01'"
    " + i * interval '1 minute', i * interval '1 month 2 days', md5(i::text)::uuid, '{\"a\": 1}', '{\"b\":[1]}',"
    " '<a>&lt;</a>', array[i, null, 3], array[['a', 'b,'], ['\"', '\\']], int4range(1, i + 1),"
    " '{[1,2),[5,9)}', point(i, 1.5), '10.0.0.1/24', b'101', 'it''s', i, row(i, 'x,\"y'::text)::pair, i, i,"
    " 'pg_class', to_tsvector('simple', 'a b ' || i) from generate_series(1, 200) i;"
    "insert into kinds (s) select null from generate_series(1, 10);",

    /* tables of all sorts */
    "create table no_columns (); insert into no_columns default values; insert into no_columns default values;"
    "create table empty_one (a int); create unlogged table unlogged_one (a int);"
    "insert into unlogged_one select generate_series(1, 50);"
    "create table only_generated (g int generated always as (1) stored); insert into only_generated default values;"
    "create table parent (a int primary key, b text); create table child (c int) inherits (parent);"
    "insert into parent values (1, 'p'); insert into child values (1, 'c', 3), (2, 'c', 4);"
    "create table parts (id int, at date, note text, double int generated always as (id * 2) stored)"
    " partition by range (id);"
    "create table parts_low partition of parts for values from (0) to (100);"
    /* another order of columns, and one that was dropped */
    "create table parts_high (note text, gone int, id int, double int generated always as (id * 2) stored, at date);"
    "alter table parts_high drop column gone;"
    "alter table parts attach partition parts_high for values from (100) to (1000);"
    "create table parts_deep partition of parts for values from (1000) to (2000) partition by list (note);"
    "create table parts_deepest partition of parts_deep default; create table parts_default partition of parts default;"
    "insert into parts (id, at, note) select i * 7, date '2020-01-01' + i, 'n' || i from generate_series(1, 400) i;"
    "create table no_partitions (a int) partition by hash (a);"
    "create table a_parent_of_keys (id int primary key); create table circle_a (id int primary key, b int);"
    "create table circle_b (id int primary key, a int references circle_a deferrable);"
    "alter table circle_a add foreign key (b) references circle_b;"
    "insert into circle_a values (1, null); insert into circle_b values (1, 1); update circle_a set b = 1;",

    /* what stands beside the rows */
    "create sequence seq_untouched; create sequence seq_used increment 5; select nextval('seq_used');"
    "create sequence seq_down increment -1 start -3; select nextval('seq_down'), nextval('seq_down');"
    "create sequence \"seq 'q' \\\" as smallint maxvalue 3 cycle;"
    "select nextval('\"seq ''q'' \\\"') from generate_series(1, 4);"
    "select lo_from_bytea(4711, decode(repeat('00ff5c0a09', 200000), 'hex')); select lo_create(4712);"
    "comment on large object 4711 is 'a large one'; grant select on large object 4711 to zoo_reader;"
    "alter large object 4711 owner to \"zoo keeper\";"
    "create materialized view m_first as select count(*) as n from kinds;"
    "create materialized view m_second as select n + 1 as n from m_first; create unique index on m_second (n);"
    "create materialized view m_never as select 1 as a with no data;"
    "create index on kinds (t text_pattern_ops) where s > 3; create statistics st on s, n from kinds;"
    "create view looks as select id, s from kinds where s > 1 with check option;",

    /* what acts */
    "create function audit() returns trigger language plpgsql as $$begin insert into empty_one values (1);"
    " return new; end$$; create trigger t_audit after insert on kinds for each row execute function audit();"
    "create rule r_nothing as on insert to circle_a do instead nothing;"
    "create function checks(int) returns boolean language sql immutable as 'select $1 is not null';"
    "alter table circle_b add constraint c_checks check (checks(a)); create procedure proc() language sql as 'select 1';"
    "create function veto() returns event_trigger language plpgsql as 'begin end';"
    "create event trigger et on ddl_command_start execute function veto();",

    /* who may */
    "alter table parent owner to \"zoo keeper\"; grant select, insert (b) on parent to zoo_reader with grant option;"
    "alter table parent enable row level security; alter table parent force row level security;"
    "create policy mine on parent for select to zoo_reader using (a > 1);"
    "alter default privileges for role \"zoo keeper\" grant select on tables to zoo_reader;"
    "revoke execute on function checks(int) from public; grant usage on schema \"ζῷα\" to zoo_reader;"
    "comment on table parent is 'it''s \"commented\"'; comment on column parent.b is e'two\\nlines';",

    /* elsewhere */
    "create extension file_fdw; create server files foreign data wrapper file_fdw;"
    "create user mapping for zoo_reader server files; create foreign table f (a text) server files"
    " options (filename '/dev/null');"
    "create publication pub for table kinds (id, s) where (s > 1), circle_a;"
    "create subscription sub connection 'host=nowhere' publication p with (connect = false, slot_name = none,"
    " enabled = false);",
    NULL,
};
