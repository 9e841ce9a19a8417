-- migrate:up
select setval('posts_id_seq', 5000000);

-- migrate:down
select 1;
