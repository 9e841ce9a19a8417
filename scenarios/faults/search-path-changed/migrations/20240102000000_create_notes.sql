-- migrate:up
create table notes (id bigint primary key, body text not null);

-- migrate:down
drop table notes;
