-- migrate:up
alter table posts add column state text not null default 'draft';

-- migrate:down
alter table posts drop column state;
