-- migrate:up
create table tickets (
    id integer primary key,
    account_id integer not null
        constraint tickets_account_fk references accounts (id) on delete cascade,
    subject varchar(200) not null,
    state varchar(10) not null default 'new'
        constraint tickets_state_check check (state in ('new', 'open', 'solved')),
    opened_at timestamp not null default current_timestamp
);

create index tickets_account_idx on tickets (account_id, opened_at);

-- migrate:down
drop table tickets;
