-- revision: a1

-- upgrade
create table shops (id integer primary key);

-- downgrade
drop table shops;
