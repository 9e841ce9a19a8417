-- migrate:up
create table accounts (
    id integer primary key,
    email varchar(320) not null,
    name varchar(200) not null default '',
    created_at timestamp not null default current_timestamp,
    constraint accounts_email_key unique (email)
);

-- migrate:down
drop table accounts;
