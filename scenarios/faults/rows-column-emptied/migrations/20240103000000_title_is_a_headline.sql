-- migrate:up
alter table posts rename column title to headline;

-- migrate:down
alter table posts rename column headline to title;
