-- revision: 0002
-- revises: 0001

-- upgrade
drop view totals;
create view totals as select sum(amount) as total, count(*) as sales from sales;
grant select on totals to public;

-- downgrade
drop view totals;
create view totals as select sum(amount) as total from sales;
