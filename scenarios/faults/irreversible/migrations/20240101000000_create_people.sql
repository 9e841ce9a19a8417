-- migrate:up
create table people (id bigint primary key, name text, birthday date);

-- migrate:down
drop table people;
