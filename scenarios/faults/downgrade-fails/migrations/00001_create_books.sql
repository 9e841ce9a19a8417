-- +goose Up
create table books (id integer primary key, isbn varchar(13) not null);

-- +goose Down
drop table books;
