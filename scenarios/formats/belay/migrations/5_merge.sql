-- revision: 5
-- revises: 2, 4

-- upgrade
create index invoices_account_idx on invoices (account_id);

-- downgrade
drop index invoices_account_idx;
