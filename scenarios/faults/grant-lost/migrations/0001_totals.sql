-- revision: 0001

-- upgrade
create table sales (id bigint primary key, amount numeric not null);
create view totals as select sum(amount) as total from sales;
grant select on totals to public;

-- downgrade
drop view totals;
drop table sales;
