-- +goose Up
create view visit_count as select count(*) from visits;

-- +goose Down
drop view visit_count;
