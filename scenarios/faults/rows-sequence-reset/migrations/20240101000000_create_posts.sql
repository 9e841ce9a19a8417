-- migrate:up
create table posts (id serial primary key, title text);

-- migrate:down
drop table posts;
