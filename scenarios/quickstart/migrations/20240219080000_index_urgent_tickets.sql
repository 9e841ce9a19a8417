-- migrate:up
create index tickets_urgent_idx on tickets (opened_at) where priority = 1 and state <> 'solved';

-- migrate:down
drop index tickets_urgent_idx;
