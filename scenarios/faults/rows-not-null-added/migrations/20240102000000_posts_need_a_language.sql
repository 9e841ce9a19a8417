-- migrate:up
alter table posts add column language text not null;

-- migrate:down
alter table posts drop column language;
