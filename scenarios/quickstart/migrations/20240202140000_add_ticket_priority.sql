-- migrate:up
alter table tickets add column priority integer not null default 3
    constraint tickets_priority_check check (priority between 1 and 5);

-- migrate:down
alter table tickets drop column priority;
