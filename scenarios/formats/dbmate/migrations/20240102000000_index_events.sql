-- migrate:up transaction:false
create index concurrently events_at_idx on events (at);

-- migrate:down transaction:false
drop index concurrently events_at_idx;
