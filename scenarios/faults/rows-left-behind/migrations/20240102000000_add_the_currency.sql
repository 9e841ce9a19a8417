-- migrate:up
insert into settings values ('currency', 'EUR');

-- migrate:down
update settings set value = '' where name = 'currency';
