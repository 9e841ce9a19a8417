-- revision: 1

-- upgrade
create table accounts (id integer primary key, name text not null);

-- downgrade
drop table accounts;
