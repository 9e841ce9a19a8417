-- +goose NO TRANSACTION
-- +goose Up
begin;
alter table rooms add column name text;

-- +goose Down
alter table rooms drop column name;
