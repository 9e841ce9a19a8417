-- +goose Up
create table visits (id bigint primary key, seen_at timestamptz not null default timestamptz 'now');

-- +goose Down
drop table visits;
