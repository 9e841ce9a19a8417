-- migrate:up
create unique index users_email_key on users (email);

-- migrate:down
drop index users_email_key;
