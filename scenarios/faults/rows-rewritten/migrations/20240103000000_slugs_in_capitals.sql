-- migrate:up
alter table posts add column old_slug text;
update posts set old_slug = slug, slug = upper(slug);

-- migrate:down
update posts set slug = old_slug;
alter table posts drop column old_slug;
