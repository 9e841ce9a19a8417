-- migrate:up
create table posts (id integer primary key, title text, slug text);

-- migrate:down
drop table posts;
