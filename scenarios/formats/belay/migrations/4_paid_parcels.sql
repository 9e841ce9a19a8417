-- revision: 4
-- revises: 3
-- depends-on: 2

-- upgrade
create view paid_parcels as select p.id from parcels p join invoices i on i.account_id = p.account_id;

-- downgrade
drop view paid_parcels;
