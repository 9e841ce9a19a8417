-- revision: c3
-- revises: a1

-- upgrade
create table staff (id integer primary key, shop_id integer references shops (id));

-- downgrade
drop table staff;
