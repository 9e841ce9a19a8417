-- migrate:up
create unique index posts_title on posts (title, id);

-- migrate:down
drop index posts_title;
