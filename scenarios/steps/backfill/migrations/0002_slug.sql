-- revision: 0002
-- revises: 0001
-- title: posts have a slug

-- upgrade
alter table posts add column slug varchar(200);
update posts set slug = coalesce(replace(lower(title), ' ', '-'), 'untitled');

-- downgrade
alter table posts drop column slug;
