-- migrate:up
create table events (id bigint primary key, at timestamptz not null);

-- migrate:down
drop table events;
