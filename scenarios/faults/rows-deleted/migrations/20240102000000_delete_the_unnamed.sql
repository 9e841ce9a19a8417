-- migrate:up
delete from posts where title is null;

-- migrate:down
update posts set title = title where id < 0;
