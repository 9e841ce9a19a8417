-- migrate:up
alter table posts add column published_on date;
create index posts_author_idx on posts (author);

-- migrate:down
alter table posts drop column published_on;
