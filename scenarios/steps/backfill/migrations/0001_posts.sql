-- revision: 0001
-- title: posts

-- upgrade
create table posts (id integer primary key, title varchar(200));

-- downgrade
drop table posts;
