create table stock_old (id integer primary key, amount integer not null);
insert into stock_old select id, amount from stock;
drop table stock;
alter table stock_old rename to stock;
