-- +goose Up
create table pages (id bigint primary key, body text not null, changed_at timestamptz);

-- +goose Down
drop table pages;
