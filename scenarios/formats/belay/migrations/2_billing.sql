-- revision: 2
-- revises: 1
-- branch: billing

-- upgrade
create table invoices (id integer primary key, account_id integer not null references accounts (id));

-- downgrade
drop table invoices;
