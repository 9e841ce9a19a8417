-- migrate:up
alter table posts drop column slug;

-- migrate:down
alter table posts add column slug text;
