-- migrate:up
alter sequence posts_id_seq restart with 1;

-- migrate:down
select 1;
