-- migrate:up
create index concurrently events_at_idx on events (at);

-- migrate:down
drop index events_at_idx;
