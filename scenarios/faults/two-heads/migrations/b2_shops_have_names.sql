-- revision: b2
-- revises: a1

-- upgrade
alter table shops add column name text;

-- downgrade
alter table shops drop column name;
