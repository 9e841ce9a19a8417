-- migrate:up
create table tags (post_id integer not null references posts (id), tag text not null);

-- migrate:down
drop table tags;
