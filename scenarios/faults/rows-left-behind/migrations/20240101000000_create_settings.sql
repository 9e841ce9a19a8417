-- migrate:up
create table settings (name varchar(40) primary key, value text not null);

-- migrate:down
drop table settings;
