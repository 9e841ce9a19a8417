-- migrate:up
create unique index posts_slug on posts (slug);

-- migrate:down
drop index posts_slug;
