-- migrate:up
create table posts (id integer primary key, title text not null, slug text not null);

-- migrate:down
drop table posts;
