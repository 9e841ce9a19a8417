-- revision: 0003
-- revises: 0002
-- title: posts are found by their slug

-- upgrade
create index posts_slug_idx on posts (slug);

-- downgrade
drop index posts_slug_idx;
