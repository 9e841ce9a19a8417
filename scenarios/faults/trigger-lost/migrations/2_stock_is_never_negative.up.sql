create table stock_new (id integer primary key, amount integer not null check (amount >= 0));
insert into stock_new select id, amount from stock;
drop table stock;
alter table stock_new rename to stock;
