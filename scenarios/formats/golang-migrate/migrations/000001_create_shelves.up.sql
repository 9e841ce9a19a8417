create table shelves (id integer primary key, name text not null);
create table books (
    id integer primary key,
    shelf_id integer not null references shelves (id),
    title text not null
);
create index books_shelf_idx on books (shelf_id);
