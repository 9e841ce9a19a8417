create table cities (id integer primary key, name text not null);
