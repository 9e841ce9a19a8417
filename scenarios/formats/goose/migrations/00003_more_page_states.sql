-- +goose Up
create type page_state as enum ('draft', 'live');
alter table pages add column state page_state not null default 'draft';

-- +goose Down
alter table pages drop column state;
drop type page_state;
