-- +goose Up
create table rooms (id bigint primary key);

-- +goose Down
drop table rooms;
