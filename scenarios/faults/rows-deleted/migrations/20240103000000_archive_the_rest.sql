-- migrate:up
create table archive (id integer primary key, title text, slug text);
insert into archive select id, title, slug from posts where slug is null;
delete from posts where slug is null;

-- migrate:down
insert into posts select id, title, slug from archive;
drop table archive;
