-- migrate:up
create table messages (
    ticket_id integer not null
        constraint messages_ticket_fk references tickets (id) on delete cascade,
    position integer not null,
    body text not null,
    constraint messages_pkey primary key (ticket_id, position)
);

-- migrate:down
drop table messages;
