-- migrate:up
create schema app;
set search_path to app, public;
create table users (id bigint primary key);

-- migrate:down
drop schema app cascade;
