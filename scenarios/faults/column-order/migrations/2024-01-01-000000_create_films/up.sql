create table films (id integer primary key, genre text, title text not null);
