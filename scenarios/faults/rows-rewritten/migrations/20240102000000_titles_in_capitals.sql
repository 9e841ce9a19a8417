-- migrate:up
update posts set title = upper(title || 'x');

-- migrate:down
update posts set title = lower(title);
