-- revision: 3
-- revises: 1
-- branch: shipping

-- upgrade
create table parcels (id integer primary key, account_id integer not null references accounts (id));

-- downgrade
drop table parcels;
